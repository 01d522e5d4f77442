"""Units by name: every figure of an answer goes along, and what cannot be is refused with what can."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from fieldflux.models.crops import MAIZE, SOYBEAN
from fieldflux.models.variables import VARIABLES
from fieldflux.tiles.cube import Cube
from fieldflux.tiles.series import Series, SeriesRequest, Source, series
from fieldflux.tiles.spatial import statistic
from fieldflux.tiles.units import CO2_PER_C, UnknownUnit, check_units, in_units, units_of
from fieldflux.tiles.zonal import read_shape

from .serving import square
from .toy_cube import build_toy
from .toy_model import ToyModel, card

YEARS = (date(2019, 1, 1), date(2020, 12, 31))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    cube = build_toy(tmp_path_factory.mktemp("cube") / "toy.zarr", (2019, 2020))
    model = ToyModel()
    return Source(cube, card(), None, lambda: model)


def asked(source: Source, step: str, *variables: str, rows: int = 2, statistics: tuple[str, ...] = ()) -> Series:
    cube = source.cube
    assert isinstance(cube, Cube)
    shape = read_shape(square(cube, 100, 130, rows, 1))
    wanted = tuple(statistic(s) for s in statistics)
    return series(SeriesRequest(shape, *YEARS, variables, step, statistics=wanted), source)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("unit", "factor", "total_factor", "total_unit"),
    [
        ("gC m-2", 1.0, 1.0, "tC"),
        ("kgC ha-1", 10.0, 1.0, "tC"),
        ("tC ha-1", 0.01, 1.0, "tC"),
        ("gCO2 m-2", 44 / 12, 44 / 12, "tCO2"),
        ("kgCO2e ha-1", 440 / 12, 44 / 12, "tCO2e"),
        ("tCO2 ha-1", 0.44 / 12, 44 / 12, "tCO2"),
    ],
)
def test_carbon_goes_along_with_its_interval_statistics_and_totals(
    source: Source, unit: str, factor: float, total_factor: float, total_unit: str
) -> None:
    before = asked(source, "season", "nee", "gpp", statistics=("std", "q05"))
    after = in_units(before, {"nee": unit})
    a, b = before.values["nee"], after.values["nee"]
    assert (b.unit, b.total_unit) == (unit, total_unit)
    assert after.summary["nee"].unit == unit
    for name in ("value", "low", "high"):
        assert getattr(b, name) == pytest.approx(factor * getattr(a, name), rel=1e-6, abs=1e-4 * factor)
    for name in ("total", "total_low", "total_high"):
        assert getattr(b, name) == pytest.approx(total_factor * getattr(a, name), rel=1e-12)
    assert b.statistics["std"] == pytest.approx(factor * a.statistics["std"], rel=1e-5, abs=1e-4 * factor)
    assert after.values["gpp"] is before.values["gpp"]
    # Tonnes are tonnes per hectare times the hectares that have values.
    if unit.startswith("t"):
        assert b.total == pytest.approx(b.value * before.coverage.covered_m2 / 1e4, rel=1e-4, abs=1e-4)


def test_a_mean_flux_in_micromoles_is_that_of_the_days_of_its_step(source: Source) -> None:
    day, month = (in_units(asked(source, s, "gpp"), {"gpp": "umol m-2 s-1"}) for s in ("day", "month"))
    grams = asked(source, "day", "gpp").values["gpp"].value
    assert day.values["gpp"].unit == month.values["gpp"].unit == "umol m-2 s-1"
    assert day.values["gpp"].value == pytest.approx(grams / 12.011 * 1e6 / 86400, abs=1e-5)
    assert month.values["gpp"].value[1] == pytest.approx(day.values["gpp"].value[31:59].mean(), abs=1e-5)
    assert month.summary["gpp"].value[0] == pytest.approx(day.values["gpp"].value.mean(), abs=1e-5)


def test_market_yields_are_those_of_the_crops(source: Source) -> None:
    before = asked(source, "year", "yield", rows=1)
    for unit, of in (("t ha-1", "t_ha"), ("bu ac-1", "bu_ac")):
        after = in_units(before, {"yield": unit})
        found = after.annual["yield"]
        assert found.unit == f"{unit} yr-1"
        for k, year in enumerate(after.years):
            (share,) = [c for c in after.crops if c.year == year]
            assert found.value[k] == pytest.approx(getattr(share, of), rel=2e-4)
        assert found.total_unit == ("t yr-1" if unit == "t ha-1" else "bu yr-1")
        ha = before.coverage.covered_m2 / 1e4
        area = ha if unit == "t ha-1" else ha * 2.4710538
        assert found.total == pytest.approx(found.value * area, rel=1e-6)
        assert after.summary["yield"].value[0] == pytest.approx(found.value.sum(), rel=1e-6)
        assert found.low is not None
        assert found.high is not None
        assert ((found.low <= found.value) & (found.value <= found.high)).all()


def test_bushels_of_two_crops_are_not_added_and_tonnes_are(source: Source) -> None:
    mixed = asked(source, "year", "yield", rows=9)
    assert {c.name for c in mixed.crops if c.year == 2019} == {"maize", "soybean"}
    tonnes = in_units(mixed, {"yield": "t ha-1"})
    expected = sum(
        c.fraction * (MAIZE if c.name == "maize" else SOYBEAN).t_ha(c.yield_carbon or 0.0)
        for c in mixed.crops
        if c.year == 2019
    )
    assert tonnes.annual["yield"].value[0] == pytest.approx(expected, rel=1e-4)
    bushels = in_units(mixed, {"yield": "bu ac-1"})
    assert np.isnan(bushels.annual["yield"].value).all()
    assert "mixed_crops" in bushels.flags


def test_water_and_what_cannot_be(source: Source) -> None:
    water = in_units(asked(source, "month", "et"), {"et": "m3 ha-1"}).values["et"]
    assert water.unit == "m3 ha-1"
    assert water.value == pytest.approx(10 * asked(source, "month", "et").values["et"].value, rel=1e-9)
    with pytest.raises(UnknownUnit, match=r"'et' cannot be given in 'tC ha-1'; it can in: mm, m3 ha-1, in") as refused:
        check_units({"et": "tC ha-1"}, ("et",))
    assert refused.value.members == {"allowed": ["mm", "m3 ha-1", "in"]}
    with pytest.raises(UnknownUnit, match="not among the variables"):
        check_units({"gpp": "tC ha-1"}, ("nee",))
    with pytest.raises(UnknownUnit):
        check_units({"nee": "bu ac-1"}, ("nee",))


def test_the_table_agrees_with_itself() -> None:
    assert pytest.approx(44 / 12) == CO2_PER_C
    for name, v in VARIABLES.items():
        allowed = units_of(name)
        assert v.unit.startswith(allowed[0]), name
        assert len(set(allowed)) == len(allowed)
    assert "bu ac-1" in units_of("yield")
    assert "umol m-2 s-1" not in units_of("soc")
    assert "MJ m-2" in units_of("le")
