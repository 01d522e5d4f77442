"""The agro-ecosystem model: balances, published values, two engines, gradients, memory, and what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from fieldflux.models.contract import Forcing, MissingInputs, State
from fieldflux.models.processes.agroecosystem import inputs, parameters
from fieldflux.models.processes.agroecosystem.model import Agroecosystem
from fieldflux.models.processes.agroecosystem.on_device import roll_on_device
from fieldflux.models.processes.agroecosystem.parameters import LEARNED, NAMES, default_table
from fieldflux.models.processes.agroecosystem.rolled import Batch, roll, torch_day
from fieldflux.models.processes.agroecosystem.step import OUTPUT, STATE
from fieldflux.models.registry import Registry
from hypothesis import given, settings
from hypothesis import strategies as st

from .small_forcing import ALFALFA, MAIZE, RICE, SOYBEAN, WHEAT, small_forcing

WATER = [STATE.index(name) for name in ("swe", "w1", "w2", "w3", "w4", "gw")]
PER_ELEMENT = ("row", "unit", "crop", "sow", "harvest", "switch", "irrigated", "removed", "tillage")
CARBON = [STATE.index(name) for name in STATE[6:16]]


@pytest.fixture(scope="module")
def shipped() -> Agroecosystem:
    model = Registry().load("agroecosystem/1")
    assert isinstance(model, Agroecosystem)
    return model


@pytest.fixture(scope="module")
def plain(shipped: Agroecosystem) -> Agroecosystem:
    """One member with the default parameters."""
    return replace(shipped, table=default_table()[None])


def _table(position: float | np.ndarray) -> np.ndarray:
    """[crop, parameter] with the learned ones at a position between their bounds."""
    low, high, log = parameters.bounds()
    table = default_table()
    table[:, : len(LEARNED)] = np.where(
        log, low * (high / np.where(log, low, 1)) ** position, low + (high - low) * position
    )
    return table


# -- balances


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    crop=st.sampled_from([MAIZE, SOYBEAN, WHEAT, ALFALFA]),
    positions=st.lists(st.floats(0.02, 0.98), min_size=len(LEARNED), max_size=len(LEARNED)),
    straw=st.floats(0, 1),
)
def test_water_and_carbon_close_for_any_parameters(
    shipped: Agroecosystem, seed: int, crop: int, positions: list[float], straw: float
) -> None:
    model = replace(shipped, table=_table(np.array(positions))[None])
    forcing = small_forcing([[crop, MAIZE]], seed=seed)
    forcing = replace(forcing, annual={**forcing.annual, "residue_removed": np.full((1, 2), straw)})
    before = model.initial_state(forcing)
    after = model.predict(forcing, before)
    change = after.state.arrays["state"][0, 0] - before.arrays["state"][0, 0]

    def total(name: str) -> float:
        return float(after.daily[name][0, 0].astype(np.float64).sum())

    rain = float(forcing.daily["precip"].astype(np.float64).sum())
    water = rain - total("et") - total("runoff")
    assert change[WATER].sum() == pytest.approx(water, abs=1e-6 * rain + 2e-3)
    harvested = float(after.annual["yield"].astype(np.float64).sum())
    carbon = total("gpp") - total("ra") - total("rh") - harvested
    assert change[CARBON].sum() == pytest.approx(carbon, abs=1e-6 * total("gpp") + 5e-3)
    for name in ("gpp", "ra", "rh", "lai", "biomass", "soc", "snow", "runoff", "transpiration"):
        assert after.daily[name].min() >= 0, name
    assert (after.state.arrays["state"][0, 0][WATER + CARBON] >= -1e-9).all()


def test_identities_hold_exactly(plain: Agroecosystem) -> None:
    p = plain.predict(small_forcing([[MAIZE, SOYBEAN, WHEAT, ALFALFA]]))
    assert np.array_equal(p.daily["reco"], p.daily["ra"] + p.daily["rh"])
    assert np.array_equal(p.daily["nee"], p.daily["reco"] - p.daily["gpp"])
    days = np.datetime64("2019-01-01") + np.arange(p.daily["nee"].shape[2])
    for column, year in enumerate(p.years):
        of_year = days.astype("datetime64[Y]").astype(int) + 1970 == year
        nee = p.daily["nee"][0, 0, of_year].astype(np.float64).sum()
        assert p.annual["delta_soc"][0, 0, column] == pytest.approx(-nee - p.annual["yield"][0, 0, column], abs=0.02)
        assert p.annual["residue"][0, 0, column] == pytest.approx(
            p.daily["gpp"][0, 0, of_year].sum() - p.daily["ra"][0, 0, of_year].sum() - p.annual["yield"][0, 0, column],
            abs=0.02,
        )


# -- equations against published values


def test_radiation_and_vapour_pressure_are_those_of_fao56() -> None:
    # FAO-56 example 8: 20 degrees south, 3 September: 32.2 MJ m-2 d-1; table 2.3: 24.5 degC: 3.075 kPa
    assert inputs.extraterrestrial(np.array([-20.0]), np.array([246]))[0, 0] == pytest.approx(32.2, abs=0.1)
    assert inputs.saturation_pressure(np.array(24.5)) == pytest.approx(3.075, abs=0.002)


def test_net_radiation_is_that_of_fao56() -> None:
    # FAO-56 examples 11 and 12: Rio de Janeiro (22.9 S), May: Tmax 25.1, Tmin 19.1,
    # ea 2.1, Rs 14.5: Rn 7.6
    tmin, tmax = np.array([[19.1]]), np.array([[25.1]])
    mean = 0.5 * (inputs.saturation_pressure(tmax) + inputs.saturation_pressure(tmin))
    daily = {
        "tmean": np.array([[22.1]]),
        "tmin": tmin,
        "tmax": tmax,
        "srad": np.array([[14.5]]),
        "vpd": mean - 2.1,
        "precip": np.zeros((1, 1)),
    }
    columns = inputs.derive_weather(daily, np.array([-22.9]), np.zeros(1), np.array([135]))
    assert columns[0, 0, inputs.WEATHER.index("rn")] == pytest.approx(7.6, abs=0.15)


def test_retention_exponent_joins_the_two_points() -> None:
    static = {"field_capacity": np.array([0.3]), "wilting_point": np.array([0.15]), "bulk_density": np.array([1.3])}
    soil = inputs.derive_soil({**static, "ksat": np.array([10.0])})[0]
    suction = 33.0 * (soil[1] / soil[2]) ** soil[3]
    assert suction == pytest.approx(1500.0)
    assert soil[0] == pytest.approx(1 - 1.3 / 2.65)


# -- two engines, one model


@pytest.mark.parametrize("crop", [MAIZE, SOYBEAN, WHEAT, ALFALFA])
def test_torch_and_compiled_engines_agree(plain: Agroecosystem, crop: int) -> None:
    forcing = small_forcing([[crop, SOYBEAN], [crop, crop]], irrigated=1.0)
    start = plain.initial_state(forcing)
    compiled = plain.predict(forcing, start)
    other = replace(plain, device="cpu:0").predict(forcing, start)
    for name in plain.outputs:
        both = [np.asarray((p.daily | p.annual)[name], dtype=np.float64) for p in (compiled, other)]
        scale = np.abs(both[0]).max()
        # float32 rounding moves the day of a cut by a hair: compare in the mean there
        assert np.abs(both[1] - both[0]).mean() <= 2e-4 * scale + 1e-6, name


def test_float64_torch_is_the_compiled_engine_to_rounding(plain: Agroecosystem) -> None:
    forcing = small_forcing([[MAIZE, WHEAT]])
    state = plain.initial_state(forcing)
    compiled = plain.predict(forcing, state)
    out, _, after = roll_on_device(
        "cpu", plain.table, np.array(state.arrays["state"]), *_arrays(forcing), keep=True, dtype=torch.float64
    )
    assert np.allclose(out[OUTPUT.index("gpp")], compiled.daily["gpp"], atol=1e-5)
    assert np.allclose(after, compiled.state.arrays["state"], rtol=1e-8, atol=1e-8)


def _arrays(forcing: Forcing) -> tuple:  # type: ignore[type-arg]
    days = forcing.dates()
    starts = days.astype("datetime64[Y]")
    doy = (days - starts.astype("datetime64[D]")).astype(int) + 1
    column = starts.astype(int) + 1970 - forcing.years[0]
    closes = (days + 1).astype("datetime64[Y]") != starts
    daily = {n: v.astype(np.float64) for n, v in forcing.daily.items()}
    weather = inputs.derive_weather(daily, forcing.static["latitude"][:1], np.zeros(1), doy)
    unit = np.full((forcing.cells, len(forcing.years)), -1)
    soil = inputs.derive_soil(dict(forcing.static))
    seasons = inputs.derive_seasons(forcing)
    return weather, forcing.weather, np.zeros((1, len(days))), unit, seasons, soil, doy, column, closes


def test_gradients_are_those_of_finite_differences() -> None:
    """Every learned parameter, through 200 days of a maize season, float64."""
    forcing = small_forcing([[MAIZE, MAIZE]], irrigated=1.0)
    weather, row, gpp, unit, seasons, soil, doy, column, closes = _arrays(forcing)
    begin, days = 100, 200
    real = torch.float64

    def tensor(values: np.ndarray, kind: torch.dtype = real) -> torch.Tensor:
        return torch.as_tensor(values).to(kind)

    whole = torch.int64
    batch = Batch(
        tensor(weather[:, begin : begin + days]), tensor(row, whole), tensor(gpp[:, :days]), tensor(unit, whole),
        tensor(seasons.crop, whole), tensor(seasons.sow, whole), tensor(seasons.harvest, whole),
        tensor(seasons.switch, whole), tensor(seasons.irrigated), tensor(seasons.removed), tensor(seasons.tillage),
        tensor(soil).T, doy[begin : begin + days].tolist(), column[begin : begin + days].tolist(),
        closes[begin : begin + days].tolist(),
    )  # fmt: skip
    start = np.zeros(len(STATE))
    start[1:6] = 14, 56, 200, 280, 40
    start[0], start[11:18] = 5.0, (30.0, 250.0, 150.0, 2000.0, 5000.0, 8.0, 0.0)

    def outcome(values: torch.Tensor) -> torch.Tensor:
        """[B] of parameters [P, B]."""
        size = values.shape[1]
        state = tensor(start)[:, None].expand(-1, size)
        wide = replace(
            batch,
            **{n: getattr(batch, n).expand(size, *[-1] * (getattr(batch, n).ndim - 1)) for n in PER_ELEMENT},
            soil=batch.soil.expand(-1, size),
        )
        _, out, _ = roll(torch_day(), state, values[:, :, None].expand(-1, -1, 2), wide)
        pick = [OUTPUT.index(n) for n in ("gpp", "ra", "rh", "et", "h", "harvested", "lai")]
        weights = torch.linspace(0.5, 1.5, days, dtype=real)[:, None]
        return torch.tensor([1, 0.7, 1.3, 0.5, 0.02, 1.1, 1.7], dtype=real) @ (out[pick] * weights).sum(dim=1)

    default = tensor(default_table()[0])
    variable = default.clone().requires_grad_()
    outcome(variable[:, None]).sum().backward()  # type: ignore[no-untyped-call]
    assert variable.grad is not None
    h = torch.tensor([1e-6 * max(abs(q.default[0]), 0.1) for q in LEARNED], dtype=real)
    moved = torch.zeros(len(default), len(LEARNED), dtype=real)
    moved[range(len(LEARNED)), range(len(LEARNED))] = h
    both = torch.cat([default[:, None] + moved, default[:, None] - moved], dim=1)
    up, down = outcome(both).chunk(2)
    numeric = ((up - down) / (2 * h)).tolist()
    for i, q in enumerate(LEARNED):
        assert float(variable.grad[i]) == pytest.approx(numeric[i], rel=2e-3, abs=2e-3), q.name
    # snow is absent in summer, and eta_h acts in spin-up only: all others must move the season
    assert sum(abs(n) > 1e-6 for n in numeric) >= 30


# -- memory


def test_a_record_in_one_go_or_day_by_day_is_the_same(plain: Agroecosystem) -> None:
    forcing = small_forcing([[SOYBEAN, WHEAT], [MAIZE, SOYBEAN]])
    start = plain.initial_state(forcing)
    whole = plain.predict(forcing, start)
    state: State = start
    pieces, yields = [], []
    cuts = [0, 1, 2, 200, 364, 365, 366, 500, forcing.days]
    for first, last in pairwise(cuts):
        part = replace(
            forcing,
            start=forcing.start + timedelta(days=first),
            daily={n: v[:, first:last] for n, v in forcing.daily.items()},
        )
        p = plain.predict(part, state)
        state = p.state
        pieces.append(p.daily["nee"])
        if p.years:
            yields.append(p.annual["yield"])
    assert np.array_equal(np.concatenate(pieces, axis=2), whole.daily["nee"])
    assert np.array_equal(np.concatenate(yields, axis=2), whole.annual["yield"])
    assert np.array_equal(state.arrays["state"], whole.state.arrays["state"])
    with pytest.raises(ValueError, match="must start on 2021-01-01"):
        plain.predict(forcing, state)


def test_spin_up_starts_from_the_measured_soil_carbon(plain: Agroecosystem) -> None:
    forcing = small_forcing([[MAIZE, SOYBEAN]])
    state = plain.initial_state(forcing)
    assert state.day == date(2018, 12, 31)
    pools = state.arrays["state"][0, 0, [STATE.index(n) for n in ("soil_a", "soil_s", "soil_o")]]
    assert pools.sum() == pytest.approx(22.0 * 1.35 * 300)
    assert pools[2] >= 0.0999 * pools.sum()


def test_a_cell_is_the_same_alone_and_among_many(plain: Agroecosystem) -> None:
    """Enough cells for several threads, in all crops."""
    crops = [[MAIZE, SOYBEAN], [WHEAT, MAIZE], [ALFALFA, ALFALFA], [SOYBEAN, WHEAT]] * 40
    together = plain.predict(small_forcing(crops))
    for cell in (0, 1, 2, 3, 79, 159):
        alone = plain.predict(small_forcing([crops[cell]]))
        assert np.array_equal(alone.daily["nee"][0, 0], together.daily["nee"][0, cell])
        assert np.array_equal(alone.annual["yield"][0, 0], together.annual["yield"][0, cell])


def test_a_cell_is_the_same_whatever_latitudes_share_its_weather(plain: Agroecosystem) -> None:
    alone = small_forcing([[MAIZE, SOYBEAN]])
    among = small_forcing([[MAIZE, SOYBEAN]] * 3)
    among = replace(among, static={**among.static, "latitude": np.array([42.0, 44.5, 40.2])})
    a, b = plain.predict(alone), plain.predict(among)
    assert np.array_equal(a.daily["gpp"][:, 0], b.daily["gpp"][:, 0])
    assert not np.array_equal(b.daily["le"][:, 0], b.daily["le"][:, 1])


# -- crops and management


def test_a_soaked_soil_drains_to_field_capacity_and_no_further(plain: Agroecosystem) -> None:
    """Saturated soil in a rainless April loses what is above field capacity to depth, and below it to evaporation."""
    forcing = small_forcing([[MAIZE, SOYBEAN]])
    dry = {**forcing.daily, "precip": np.zeros_like(forcing.daily["precip"])}
    forcing = replace(forcing, daily={name: rows[:, :91] for name, rows in dry.items()})
    state = plain.initial_state(small_forcing([[MAIZE, SOYBEAN]]))
    soaked = state.arrays["state"].copy()
    depths = np.array([50.0, 200.0, 750.0, 1000.0])
    soaked[0, 0, WATER[1:5]] = (1.0 - 1.35 / 2.65) * depths
    p = plain.predict(forcing, State(state.day, {"state": soaked}))
    lost = p.daily["et"][0, 0].sum()
    left = p.state.arrays["state"][0, 0, WATER[1:5]].sum()
    assert left >= 0.32 * depths.sum() - lost - 1e-6
    assert left <= 0.345 * depths.sum()


@pytest.mark.parametrize("crop", [MAIZE, SOYBEAN])
def test_a_stand_lives_through_a_late_frost(plain: Agroecosystem, crop: int) -> None:
    forcing = small_forcing([[crop, crop]])
    frost = {name: rows.copy() for name, rows in forcing.daily.items()}
    frost["tmin"][0, 150:154] = -5.0  # a few leaves are out
    hit, spared = plain.predict(replace(forcing, daily=frost)), plain.predict(forcing)
    assert hit.daily["lai"][0, 0, 155] < 0.6 * spared.daily["lai"][0, 0, 155]
    assert 0.5 < hit.daily["gpp"][0, 0, :365].sum() / spared.daily["gpp"][0, 0, :365].sum() < 1.0


def test_wheat_waits_for_long_days(plain: Agroecosystem) -> None:
    """In a winter as mild as spring it is the day's length that keeps wheat from ripening before June."""
    forcing = small_forcing([[MAIZE, WHEAT]])
    mild = {**forcing.daily}
    for name, warmth in (("tmean", 9.0), ("tmin", 4.0), ("tmax", 14.0)):
        mild[name] = np.maximum(forcing.daily[name], warmth)
    lai = plain.predict(replace(forcing, daily=mild)).daily["lai"][0, 0, 365:]
    assert lai[100:150].min() > 1.0
    assert lai[185] < 0.5 * lai[:180].max()


def test_day_length_is_that_of_fao56() -> None:
    """FAO-56 example 9's latitude: 20 degrees S on 3 September has 11.7 h (table 2.7)."""
    assert inputs.day_length(np.array([-20.0]), np.array([246]))[0, 0] == pytest.approx(11.7, abs=0.05)


def test_seasons_follow_the_calendar(plain: Agroecosystem) -> None:
    p = plain.predict(small_forcing([[MAIZE, SOYBEAN], [SOYBEAN, WHEAT], [ALFALFA, ALFALFA]]))
    lai = p.daily["lai"][0]
    assert lai[0, :120].max() < 0.02  # before sowing
    assert lai[0, 150:250].max() > 0.5
    assert lai[0, 290:365].max() < 0.02  # after harvest
    assert lai[1, 330] > 0.01  # winter wheat, sown in the autumn of the soybean year
    assert lai[1, 365 + 150] > lai[1, 330]
    assert p.annual["yield"][0, 2].min() > 50  # alfalfa is cut
    assert p.annual["yield"][0, 0].min() > 50


def test_straw_that_leaves_the_field_is_yield_and_soil_loses_it(plain: Agroecosystem) -> None:
    forcing = small_forcing([[MAIZE, MAIZE, MAIZE]])
    state = plain.initial_state(forcing)
    bare = replace(forcing, annual={**forcing.annual, "residue_removed": np.ones((1, 3))})
    kept, taken = plain.predict(forcing, state), plain.predict(bare, state)
    assert (taken.annual["yield"] > kept.annual["yield"] * 1.1).all()
    assert taken.daily["soc"][0, 0, -1] < kept.daily["soc"][0, 0, -1] - 50


def test_a_given_gpp_is_taken_as_it_is(plain: Agroecosystem) -> None:
    forcing = small_forcing([[MAIZE, SOYBEAN]])
    gpp = np.abs(np.sin(np.arange(forcing.days) / 40.0))[None] * 12
    gpp[0, 200:210] = np.nan
    p = plain.predict(replace(forcing, gpp_given=gpp, gpp_unit=np.array([[0, -1]])))
    first = p.daily["gpp"][0, 0, :365]
    there = ~np.isnan(gpp[0, :365])
    assert np.allclose(first[there], gpp[0, :365][there], atol=1e-5)
    assert np.isfinite(first).all()
    own = plain.predict(forcing).daily["gpp"][0, 0, 365:]
    assert np.abs(p.daily["gpp"][0, 0, 365:] - own).mean() < 1.0  # year 2 has no unit: the model's own


# -- missing and unknown


def test_missing_weather_and_unknown_crops_are_missing_not_filled(plain: Agroecosystem) -> None:
    forcing = small_forcing([[MAIZE, SOYBEAN], [RICE, SOYBEAN]])
    p = plain.predict(forcing)
    assert np.isnan(p.daily["nee"][0, 1, :365]).all()
    assert np.isfinite(p.daily["nee"][0, 1, 365:]).all()
    assert np.isnan(p.annual["yield"][0, 1, 0])
    assert p.flags["crop_unknown"].tolist() == [False, True]
    holed = {n: v.copy() for n, v in forcing.daily.items()}
    holed["precip"][0, 500] = np.nan
    q = plain.predict(replace(forcing, daily=holed), plain.initial_state(forcing))
    assert np.isfinite(q.daily["nee"][0, 0, :500]).all()
    assert np.isnan(q.daily["nee"][0, 0, 500:]).all()
    assert q.flags["weather_missing"].all()


def test_what_is_needed_is_said_before_any_work(plain: Agroecosystem) -> None:
    forcing = small_forcing([[MAIZE]])
    lacking = replace(forcing, daily={n: v for n, v in forcing.daily.items() if n != "vpd"})
    with pytest.raises(MissingInputs, match=r"needs vpd \(vapour pressure deficit, day mean, kPa\)"):
        plain.predict(lacking)
    short = small_forcing([[MAIZE]], days=200)
    with pytest.raises(ValueError, match="Give it at least one year"):
        plain.predict(short)


def test_members_are_separate_runs(shipped: Agroecosystem) -> None:
    forcing = small_forcing([[MAIZE, SOYBEAN]])
    together = shipped.predict(forcing)
    assert together.daily["nee"].shape == (shipped.members, 1, forcing.days)
    alone = replace(shipped, table=shipped.table[1:2]).predict(forcing)
    assert np.array_equal(alone.daily["nee"][0], together.daily["nee"][1])


def test_the_shipped_parameters_are_within_their_bounds(shipped: Agroecosystem) -> None:
    low, high, _ = parameters.bounds()
    learned = shipped.table[..., : len(LEARNED)]
    assert (learned >= low - 1e-6).all()
    assert (learned <= high + 1e-6).all()
    assert len(NAMES) == shipped.table.shape[-1]


def test_the_compiled_kernel_is_found_by_the_next_process(tmp_path: Path) -> None:
    """Compiling takes seconds: it must be done once per machine, not once per process."""
    code = (
        "from fieldflux.models.registry import Registry; from tests.small_forcing import small_forcing; "
        "Registry().load('agroecosystem/1').predict(small_forcing([[1]])); "
        "from fieldflux.models.processes.agroecosystem.compiled import kernel; "
        "s = kernel().stats; print(sum(s.cache_hits.values()), sum(s.cache_misses.values()))"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True,
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
        ).stdout.split()
        for _ in range(2)
    ]  # fmt: skip
    assert said == [["0", "1"], ["1", "0"]]
