"""The yield panel: what is read is what the files say, and a forcing bears what it says it bears."""

from __future__ import annotations

import csv
import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fieldflux.models.contract import Forcing
from fieldflux.models.crops import CROPS
from fieldflux.models.variables import VARIABLES
from fieldflux.tiles.measurements import (
    BadMeasurements,
    CountyRecord,
    bearing,
    county_forcing,
    read_panel,
    stack,
)
from fieldflux.tiles.measurements.panel import PANEL_CROPS
from fieldflux.tiles.measurements.panelsoil import Pedons, Soils, points_of
from fieldflux.tiles.measurements.trend import line_before, lines_before


@pytest.fixture(scope="module")
def panel(data_dir: Path) -> dict[str, CountyRecord]:
    return {record.fips: record for record in read_panel(data_dir)}


def record(
    fips: str = "19999", years: tuple[int, ...] = (2019, 2020), points: int = 2, gpp: bool = False
) -> CountyRecord:
    days = int(sum(366 if year % 4 == 0 else 365 for year in years))
    ones = np.ones(days)
    return CountyRecord(
        fips=fips, name="Made Up", state="Iowa", longitude=-93.0, years=years,
        weather={name: float(fips) * ones for name in ("tmean", "tmin", "tmax", "precip", "srad", "vpd")},
        points={"latitude": np.full(points, 42.0), "sand": np.arange(points, dtype=float)},
        yields={crop: np.full(len(years), 10.0) for crop in PANEL_CROPS},
        history={}, gpp={"maize": 1.0 * ones, "soybean": 2.0 * ones} if gpp else None,
        sowing={"maize": np.full(len(years), 126.0), "soybean": np.full(len(years), 140.0)},
        harvest={"maize": np.full(len(years), 295.0), "soybean": np.full(len(years), 282.0)},
        sources=(), notes=(),
    )  # fmt: skip


# --- what the files say ----------------------------------------------------------------------------------


def test_every_county_has_whole_years_of_weather_in_range(panel: dict[str, CountyRecord]) -> None:
    assert len(panel) == 39
    for one in panel.values():
        assert one.years == tuple(range(one.years[0], one.years[-1] + 1))
        for name, values in one.weather.items():
            assert values.shape == one.days.shape
            assert np.isfinite(values).all(), (one.fips, name)
            assert VARIABLES[name].low <= values.min() <= values.max() <= VARIABLES[name].high, (one.fips, name)
        for name, values in one.points.items():
            assert VARIABLES[name].low <= values.min() <= values.max() <= VARIABLES[name].high, (one.fips, name)


def test_yields_are_the_published_ones_and_nan_elsewhere(panel: dict[str, CountyRecord], data_dir: Path) -> None:
    with gzip.open(data_dir / "yield/us_county_yields.csv.gz", "rt") as file:
        raw = {
            (r["fips"], r["crop"], int(r["year"])): float(r["yield_t_ha"])
            for r in csv.DictReader(file)
            if r["fips"] in panel
        }
    for one in panel.values():
        for crop, trade in (("maize", "corn"), ("soybean", "soybean")):
            expected = [raw.get((one.fips, trade, year), np.nan) for year in one.years]
            np.testing.assert_allclose(one.yields[crop], expected)
    assert not any(np.isfinite(values).any() for values in panel["17003"].yields.values())


def test_satellite_gpp_lies_on_its_day_and_a_leap_year_lacks_its_last(
    panel: dict[str, CountyRecord], data_dir: Path
) -> None:
    name = "vegetation/slope_gpp_il_17001_17003_daily_2000_2020.csv.gz"
    with gzip.open(data_dir / name, "rt") as file:
        raw = [r for r in csv.DictReader(file) if (r["fips"], r["crop"], r["year"]) == ("17001", "corn", "2004")]
    gpp = panel["17001"].gpp
    assert gpp is not None
    first = int((np.datetime64("2004-01-01") - panel["17001"].days[0]).astype(int))
    by_day = {int(r["doy"]): float(r["GPP_gC_m2_d"]) for r in raw}
    np.testing.assert_allclose(gpp["maize"][first : first + 365], [by_day[day] for day in range(1, 366)])
    assert np.isnan(gpp["maize"][first + 365])
    assert [fips for fips, one in panel.items() if one.gpp is not None] == ["17001", "17003"]


def test_soils_are_the_same_each_time_and_different_between_counties(
    panel: dict[str, CountyRecord], data_dir: Path
) -> None:
    again = {one.fips: one for one in read_panel(data_dir)}
    for fips, one in panel.items():
        np.testing.assert_array_equal(one.points["sand"], again[fips].points["sand"])
        texture = one.points["sand"] + one.points["silt"] + one.points["clay"]
        np.testing.assert_allclose(texture, 1000.0, atol=15.0)
    assert len({tuple(one.points["sand"]) for one in panel.values()}) > 10


def test_carbon_of_units_from_elsewhere_is_that_of_the_cropland_around() -> None:
    pedons = Pedons(np.array([42.0, 42.0, 42.0, 10.0]), np.full(4, -93.0), np.array([80.0, 80.0, 110.0, 999.0]))
    assert pedons.near(42.0, -93.0) == pytest.approx(90.0)
    assert pedons.near(30.0, -93.0) is None
    values = np.tile([1.3, 200.0, 500.0, 300.0, 0.3, 0.15, 10.0, 0.0], (6, 1))
    values[:, -1] = np.arange(10.0, 16.0)
    surveys = {"19015": Soils(values, np.full(6, 1 / 6))}
    found, said = points_of("19001", surveys, 90.0) or ({}, "")
    assert (3.0 * found["soc_content"] * found["bulk_density"]).mean() == pytest.approx(90.0)
    assert "90 Mg ha-1" in said
    own, _ = points_of("19015", surveys, 90.0) or ({}, "")
    assert set(own["soc_content"]) <= set(values[:, -1])


def test_a_folder_without_weather_has_no_counties_and_a_bad_file_is_a_sentence(tmp_path: Path) -> None:
    assert read_panel(tmp_path) == ()
    (tmp_path / "weather").mkdir()
    (tmp_path / "weather" / "ames_ia_daily_1980_2019.csv").write_text("date,maxt_c\n1980-01-01,3\n")
    with pytest.raises(BadMeasurements, match="no column 'mint_c', 'rain_mm', 'radn_MJm2'"):
        read_panel(tmp_path)


# --- the expected yield ---------------------------------------------------------------------------------


def test_a_line_knows_earlier_years_alone_and_needs_enough_of_them() -> None:
    years = np.arange(2000, 2020)
    values = np.where(years < 2015, 3.0 + 0.5 * (years - 2000), 99.0)
    assert line_before(2015, years, values) == pytest.approx(3.0 + 0.5 * 15)
    assert np.isnan(line_before(2009, years, values))
    long = np.arange(1940, 2000)
    bent = np.where(long < 1970, 0.0, long - 1970.0)
    assert line_before(2000, long, bent) == pytest.approx(30.0)


def test_what_is_expected_does_not_know_its_own_year_nor_later_ones() -> None:
    years = np.arange(2000, 2021)
    history = (years, 5.0 + 0.1 * (years - 2000))
    spoiled = (years, np.where(years < 2015, history[1], 50.0))
    wanted = (2008, 2012, 2015)
    found = lines_before(wanted, history)
    np.testing.assert_allclose(found, [np.nan, 6.2, 6.5])
    np.testing.assert_array_equal(lines_before(wanted, spoiled), found)
    assert np.isnan(lines_before(wanted, None)).all()


def test_the_expected_yield_is_that_of_the_crop_that_stands() -> None:
    years = np.arange(2000, 2021)
    known = replace(record(), history={"maize": (years, np.full(21, 11.0))})
    forcing = county_forcing(known)
    maize = forcing.annual["crop"] == 1
    np.testing.assert_allclose(forcing.annual["yield_expected"][maize], CROPS["maize"].carbon_m2(11.0))
    assert np.isnan(forcing.annual["yield_expected"][~maize]).all()
    assert np.isnan(county_forcing(record()).annual["yield_expected"]).all()
    both = stack([forcing, county_forcing(record("2"))])
    assert np.isfinite(both.annual["yield_expected"]).sum() == maize.sum()


def test_counties_with_a_history_expect_a_yield_within_the_range(panel: dict[str, CountyRecord]) -> None:
    low, high = VARIABLES["yield_expected"].low, VARIABLES["yield_expected"].high
    for one in panel.values():
        for crop, expected in one.expected.items():
            assert expected.shape == (len(one.years),)
            values = CROPS[crop].carbon_m2(1.0) * expected[np.isfinite(expected)]
            assert ((values > low) & (values < high)).all(), (one.fips, crop)
    assert not any(np.isfinite(values).any() for values in panel["17003"].expected.values())
    assert np.isfinite(panel["17001"].expected["maize"]).all()


# --- forcing ---------------------------------------------------------------------------------------------


def test_every_crop_stands_on_half_of_the_cells_in_every_year() -> None:
    forcing = county_forcing(record(points=3))
    assert (forcing.cells, forcing.days, forcing.years) == (6, 731, (2019, 2020))
    for year in forcing.years:
        maize, soybean = (bearing(forcing, crop, year) for crop in PANEL_CROPS)
        assert maize.sum() == soybean.sum() == 3
        assert (maize ^ soybean).all()
    assert (bearing(forcing, "maize", 2019) == bearing(forcing, "soybean", 2020)).all()
    assert (forcing.annual["sowing_doy"] == np.where(forcing.annual["crop"] == 1, 126.0, 140.0)).all()
    assert forcing.static["sand"].tolist() == [0, 0, 1, 1, 2, 2]
    with pytest.raises(ValueError, match="2019-2020, not 2021"):
        bearing(forcing, "maize", 2021)


def test_years_of_a_record_can_be_chosen_if_it_has_them() -> None:
    assert county_forcing(record(), [2020]).days == 366
    for wrong in ([2018, 2019], [], [2020, 2019]):
        with pytest.raises(ValueError, match=r"weather of 2019-2020; consecutive"):
            county_forcing(record(), wrong)


def test_a_cell_is_given_the_gpp_of_its_crop() -> None:
    forcing = county_forcing(record(gpp=True), given_gpp=True)
    assert forcing.gpp_given is not None
    assert forcing.gpp_unit is not None
    for crop, value in (("maize", 1.0), ("soybean", 2.0)):
        here = bearing(forcing, crop, 2020)
        assert (forcing.gpp_given[forcing.gpp_unit[here, 1]] == value).all()
    assert county_forcing(record(gpp=True)).gpp_given is None
    assert county_forcing(record(), given_gpp=True).gpp_unit is None


def test_stacked_counties_keep_their_own_weather_and_gpp() -> None:
    parts = [record("1"), record("2", gpp=True), record("3", points=1, gpp=True)]
    whole = stack([county_forcing(part, given_gpp=True) for part in parts])
    assert whole.cells == 10
    assert whole.daily["tmean"][whole.weather, 0].tolist() == [1] * 4 + [2] * 4 + [3] * 2
    assert whole.gpp_given is not None
    assert whole.gpp_given[:, 0].tolist() == [1, 2, 1, 2]
    assert whole.gpp_unit is not None
    assert (whole.gpp_unit[:4] == -1).all()
    assert set(whole.gpp_unit[4:8].ravel().tolist()) == {0, 1}
    assert set(whole.gpp_unit[8:].ravel().tolist()) == {2, 3}
    with pytest.raises(ValueError, match="the same days"):
        stack([county_forcing(parts[0]), county_forcing(parts[0], [2020])])


def test_one_forcing_is_itself() -> None:
    one = county_forcing(record())
    same: Forcing = stack([one])
    assert same.cells == one.cells
    assert same.gpp_given is None
