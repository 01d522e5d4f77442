"""Three made-up places: their climates and soils, daily weather, and what is peculiar to their crops but not known.

The hidden peculiarities differ by place, answer to the spring's weather and scatter from year to year, so that some
can be learned and some cannot. They move five quantities between the ends of LINTUL5's ranges: light use, thermal time
to flowering and to maturity, specific leaf area, deepest rooting.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

CHANNELS = ("t_min", "t_max", "radiation", "rain", "vapour", "wind")
HIDDEN = ("rue_factor", "tsum1", "tsum2", "sla_factor", "rdmcr")
SOWN = {"maize": 115, "soybean": 125, "winter_wheat": 3}
WINDOW = {"maize": (90, 220), "soybean": (90, 220), "winter_wheat": (0, 260)}
"""First day of the year (from 0) that is looked at, and how many: what lies outside does not touch the crop."""


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


@dataclass(frozen=True, slots=True)
class Draw:
    """Seasons before anything grows. weather: CHANNELS [C, days] and day_of_year [days] of the crop's window; unit:
    [C, HIDDEN] where the hidden quantities lie between their ranges' ends; latitude [C], soil [C, 3]; place, year [C];
    sow: day of sowing within the window."""

    weather: dict[str, Tensor]
    unit: Tensor
    latitude: Tensor
    soil: Tensor
    place: Tensor
    year: Tensor
    sow: int


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


def draw(crop: str, years: int, seed: int) -> Draw:
    """`years` seasons of each place; the same for the same seed, whatever grows in them."""
    g = torch.Generator().manual_seed(seed)
    count = len(PLACES) * years
    place, year = torch.arange(count) // years, torch.arange(count) % years
    whole = weather_of(PLACES, years, g)
    spring = whole["t_min"][:, 90:150].mean(1)
    spring = (spring - spring.mean()) / spring.std()
    of_place = torch.randn(len(PLACES), len(HIDDEN), generator=g)[place]
    answer = torch.randn(len(HIDDEN), generator=g).sign()
    scatter = torch.randn(count, len(HIDDEN), generator=g)
    unit = (0.5 + 0.15 * of_place + 0.15 * torch.tanh(spring)[:, None] * answer + 0.04 * scatter).clamp(0.05, 0.95)
    first, days = WINDOW[crop]
    weather = {name: values[..., first : first + days].contiguous() for name, values in whole.items()}
    latitude = torch.tensor([p.latitude for p in PLACES])[place]
    soil = torch.tensor([p.soil for p in PLACES])[place]
    return Draw(weather, unit, latitude, soil, place, year, SOWN[crop] - first)
