"""A truth that is known: seasons of three made-up places, grown by LINTUL5 with hidden parameters.

The hidden parameters differ by place, answer to the spring's weather and scatter from year to year, so that some
can be learned and some cannot. Since the truth is LINTUL5's, it favours the models that contain LINTUL5; the scores say
what noise and few data do to each model, not which model is right about crops.

Noise of level m: on each weather input, m x 10 % of its standard deviation, in training and test; on the biomass that
training sees, m x 5 % of its greatest. The test's biomass is without noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from fieldflux.models.hybrids.crop.fit import Seasons
from fieldflux.models.hybrids.crop.inputs import DAYS, features, statics
from fieldflux.models.processes.lintul5 import parameters as p_
from fieldflux.models.processes.lintul5.crops import Crop, crop_named
from fieldflux.models.processes.lintul5.season import simulate
from fieldflux.models.processes.lintul5.weather import prepare
from torch import Tensor

INPUT_NOISE, TARGET_NOISE = 0.10, 0.05
EVERY = 3  # steps between measurements of biomass
SOWN = {"maize": 115, "soybean": 125, "winter_wheat": 3}


@dataclass(frozen=True, slots=True)
class Place:
    """A made-up place: its climate and soil."""

    warmth: float
    rain: float
    latitude: float
    soil: tuple[float, float, float]
    """Wilting point, field capacity, rootable depth."""


PLACES = (
    Place(0.0, 1.0, 42.0, (0.14, 0.32, 1.5)),
    Place(2.5, 0.75, 40.0, (0.10, 0.24, 1.2)),
    Place(-1.5, 0.55, 45.0, (0.17, 0.33, 0.9)),
)
HIDDEN = (p_.RUE, p_.TSUM1, p_.TSUM2, p_.SLA, p_.RDMCR)


@dataclass(frozen=True, slots=True)
class Twin:
    """seasons: all of them, biomass as training sees it. truth: [C, steps] without noise. growing: [C, steps] steps
    before flowering, when biomass cannot fall. place, year: [C]."""

    seasons: Seasons
    truth: Tensor
    growing: Tensor
    place: Tensor
    year: Tensor


def weather_of(places: tuple[Place, ...], years: int, g: torch.Generator) -> dict[str, Tensor]:
    """[places * years, 365] daily weather with warm and cool years, dry and wet spells."""
    rows = len(places) * years
    day = torch.arange(1, 366, dtype=torch.float32)
    season = -torch.cos(2.0 * math.pi * (day - 15.0) / 365.0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g)

    warmth = torch.tensor([p.warmth for p in places]).repeat_interleave(years)[:, None]
    wetness = torch.tensor([p.rain for p in places]).repeat_interleave(years)[:, None]
    months = torch.nn.functional.interpolate(normal(rows, 1, 14), size=365, mode="linear")[:, 0]
    t = 10.0 + warmth + 12.5 * season + 2.0 * months + 2.5 * normal(rows, 365)
    wet = torch.nn.functional.interpolate(normal(rows, 1, 10), size=365, mode="linear")[:, 0]
    rains = torch.rand(rows, 365, generator=g) < (0.28 * wetness * torch.exp(0.5 * wet)).clamp(max=0.9)
    amount = -8.0 * torch.log(torch.rand(rows, 365, generator=g).clamp(min=1e-6))
    rain = torch.where(rains, amount, 0.0)
    span = 9.0 + 3.0 * torch.rand(rows, 365, generator=g) - 2.0 * rains
    radiation = (13.5 + 9.0 * season - 3.0 * rains + 2.5 * normal(rows, 365)).clamp(1.0, 33.0)
    low = t - 0.5 * span
    return {
        "t_min": low, "t_max": t + 0.5 * span, "radiation": radiation, "rain": rain,
        "vapour": 0.6108 * torch.exp(17.27 * low / (low + 237.3)),
        "wind": 1.5 + 2.0 * torch.rand(rows, 365, generator=g), "day_of_year": day,
    }  # fmt: skip


def noisy(weather: dict[str, Tensor], level: float, g: torch.Generator) -> dict[str, Tensor]:
    """The weather with noise, kept possible: no negative rain, the minimum not above the maximum."""
    out = dict(weather)
    for name in ("t_min", "t_max", "radiation", "rain", "vapour", "wind"):
        value = weather[name]
        out[name] = value + level * INPUT_NOISE * value.std() * torch.randn(value.shape, generator=g)
    for name, least in (("radiation", 0.5), ("rain", 0.0), ("vapour", 0.01), ("wind", 0.1)):
        out[name] = out[name].clamp(min=least)
    out["t_min"], out["t_max"] = torch.minimum(out["t_min"], out["t_max"]), torch.maximum(out["t_min"], out["t_max"])
    return out


def twin(crop_name: str, years: int, level: float, seed: int) -> Twin:
    """Three places of `years` seasons each, with noise of a level."""
    crop: Crop = crop_named(crop_name)
    g = torch.Generator().manual_seed(seed)
    count = len(PLACES) * years
    place, year = torch.arange(count) // years, torch.arange(count) % years
    true_weather = weather_of(PLACES, years, g)
    spring = true_weather["t_min"][:, 90:150].mean(1)
    spring = (spring - spring.mean()) / spring.std()
    low, high = p_.ranges(crop)
    of_place = torch.randn(len(PLACES), len(HIDDEN), generator=g)[place]
    answer = torch.randn(len(HIDDEN), generator=g).sign()
    scatter = torch.randn(count, len(HIDDEN), generator=g)
    unit = (0.5 + 0.15 * of_place + 0.15 * torch.tanh(spring)[:, None] * answer + 0.04 * scatter).clamp(0.05, 0.95)
    soil = torch.tensor([p.soil for p in PLACES])[place]
    given: dict[str, Tensor | float] = {
        "wilting": soil[:, 0], "air_dry": 0.5 * soil[:, 0], "capacity": soil[:, 1], "saturation": soil[:, 1] + 0.12,
        "rdmso": soil[:, 2], "start": soil[:, 1], "start_below": soil[:, 1],
    }  # fmt: skip
    table = p_.table(crop, count, given)
    hidden = table.clone()
    for k, row in enumerate(HIDDEN):
        hidden[row] = low[row] + unit[:, k] * (high[row] - low[row])
    latitude = torch.tensor([p.latitude for p in PLACES])[place]
    sow = torch.full((count,), SOWN[crop_name])
    clear = prepare(crop, latitude=latitude, **true_weather)  # type: ignore[arg-type]
    grown = simulate(crop, clear, hidden, sow, outputs=("biomass", "stage"))
    steps = 365 // DAYS
    last = slice(DAYS - 1, steps * DAYS, DAYS)
    truth, stage = grown["biomass"][:, last], grown["stage"][:, last]

    seen_weather = noisy(true_weather, level, g) if level else true_weather
    measured = truth + level * TARGET_NOISE * truth.max() * torch.randn(truth.shape, generator=g)
    measured[:, torch.arange(steps) % EVERY != 0] = torch.nan
    measured[:, torch.arange(steps) * DAYS < SOWN[crop_name]] = torch.nan
    own = torch.cat([statics(table[:, place == i], p.latitude) for i, p in enumerate(PLACES)])
    radiation = seen_weather["radiation"][:, : steps * DAYS].reshape(-1, steps, DAYS).mean(2)
    seen = prepare(crop, latitude=latitude, **seen_weather)  # type: ignore[arg-type]
    seasons = Seasons(
        features(seen_weather), own, seen, torch.arange(count), table, sow,
        radiation, measured,
    )  # fmt: skip
    return Twin(seasons, truth, stage < 1.0, place, year)
