"""The demo landscape: deterministic, in one block, with the climate and crops of central Iowa, named synthetic."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fieldflux.models.crops import CROP_OF_CDL
from fieldflux.tiles import atmosphere
from fieldflux.tiles.cube import Cube, open_cube
from fieldflux.tiles.cubefile import days_of
from fieldflux.tiles.grid import Block, Grid, Window
from fieldflux.tiles.landscape import SOILS, make_landscape
from fieldflux.tiles.sources import build
from fieldflux.tiles.weathergen import AMES, generate
from shapely.geometry import shape


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Cube:
    return open_cube(build("demo", tmp_path_factory.mktemp("demo") / "demo.zarr"))


def test_it_is_built_quickly_and_always_the_same(demo: Cube, tmp_path: Path) -> None:
    told: list[float] = []
    start = time.process_time()
    again = open_cube(build("demo", tmp_path / "again.zarr", progress=lambda fraction, _: told.append(fraction)))
    assert time.process_time() - start < 20
    assert again.hash == demo.hash
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_another_seed_is_another_landscape() -> None:
    first, second = (make_landscape(s, window=Window(4160, 4192, 10080, 10112), years=(2020,)) for s in (1, 2))
    assert (first.annual["crop"] != second.annual["crop"]).mean() > 0.3
    assert not np.array_equal(first.weather["precip"], second.weather["precip"])


def test_it_lies_in_one_block_around_ames(demo: Cube) -> None:
    assert demo.window.blocks(Grid()) == [Block(16, 39)]
    assert demo.window.shape == (160, 160)
    west, south, east, north = demo.bounds_lonlat()
    assert west < -93.63 < east
    assert south < 42.03 < north


def test_it_says_that_it_is_synthetic(demo: Cube) -> None:
    assert demo.synthetic
    assert demo.statement.startswith("SYNTHETIC")
    collection = demo.fields()
    assert collection is not None
    assert all(f["properties"]["synthetic"] for f in collection["features"])


def test_crops_are_those_of_central_iowa(demo: Cube) -> None:
    for year in demo.years:
        crops = demo.crops(year)
        share = {code: (crops == code).mean() for code in (1, 5, 24, 36, 176)}
        assert 0.45 < share[1] < 0.60
        assert 0.33 < share[5] < 0.46
        assert 0 < share[24] < 0.02
        assert 0.01 < share[36] < 0.05
        assert 0.01 < share[176] < 0.06
    first, second = demo.crops(2020), demo.crops(2021)
    assert (second[first == 5] == 1).mean() > 0.85, "maize mostly follows soybean"
    assert 0.05 < (second[first == 1] == 1).mean() < 0.35, "and sometimes itself"


def test_management_belongs_to_the_crop(demo: Cube) -> None:
    rows, cols = demo.window.cells()
    forcing = demo.forcing(rows, cols, demo.years)
    crop, annual = forcing.annual["crop"], forcing.annual
    known = np.isin(crop, list(CROP_OF_CDL))
    for name in ("sowing_doy", "harvest_doy", "irrigated", "residue_removed", "tillage"):
        np.testing.assert_array_equal(np.isfinite(annual[name]), known)
    maize, soybean, wheat = crop == 1, crop == 5, crop == 24
    assert 115 < annual["sowing_doy"][maize].mean() < 140
    assert annual["sowing_doy"][soybean].mean() > annual["sowing_doy"][maize].mean() + 8
    assert (annual["harvest_doy"][maize | soybean] > annual["sowing_doy"][maize | soybean] + 90).all()
    assert (annual["sowing_doy"][wheat] > annual["harvest_doy"][wheat]).all(), "sown in the autumn before"
    assert annual["sowing_doy"][maize].std() > 3
    assert set(np.unique(annual["tillage"][known])) == {0.0, 0.5, 1.0}
    assert 0 < (annual["irrigated"][maize] > 0).mean() < 0.02


def test_fields_lie_in_the_cube_and_tell_their_crops(demo: Cube) -> None:
    collection = demo.fields()
    assert collection is not None
    features = collection["features"]
    assert len(features) > 2000
    west, south, east, north = demo.bounds_lonlat()
    areas = []
    for feature in features[::25]:
        polygon = shape(feature["geometry"])
        assert polygon.is_valid
        assert polygon.geom_type == "Polygon"
        x0, y0, x1, y1 = polygon.bounds
        assert west < x0 < x1 < east
        assert south < y0 < y1 < north
        point = polygon.representative_point()
        row, col = demo.grid.cell_at(*demo.grid.from_lonlat(point.x, point.y))
        assert demo.window.contains(row, col).all()
        areas.append(feature["properties"]["area_ha"])
        assert set(feature["properties"]["crops"]) == {str(y) for y in demo.years}
    assert min(areas) < 16 < 60 < max(areas), "small and merged fields beside quarters"
    # a whole quarter section is 64 ha less its roads: its inner cells grow what the field grows
    quarter = next(f for f in features if 62 < f["properties"]["area_ha"] < 64)
    centre = shape(quarter["geometry"]).centroid
    row, col = demo.grid.cell_at(*demo.grid.from_lonlat(centre.x, centre.y))
    for year in demo.years:
        code = demo.crops(year)[int(row) - demo.window.row0, int(col) - demo.window.col0]
        expected = quarter["properties"]["crops"][str(year)]
        assert expected == ("pasture" if code == 176 else CROP_OF_CDL[int(code)].name)


def test_soils_are_whole_and_masked_where_there_are_none(demo: Cube) -> None:
    mask = demo.mask()
    assert 0.95 < mask.mean() < 0.995
    assert np.isin(demo.crops(2020)[~mask], (111, 122)).all()
    total = demo.read("sand") + demo.read("silt") + demo.read("clay")
    np.testing.assert_allclose(total[mask], 1000, atol=1e-3)
    assert (demo.read("field_capacity")[mask] > demo.read("wilting_point")[mask] + 0.08).all()
    porosity = 1 - demo.read("bulk_density")[mask] / 2.65
    assert (porosity > demo.read("field_capacity")[mask]).all()
    stock = demo.read("soc_content") * demo.read("bulk_density") * 300
    assert 5000 < np.nanmean(stock) < 14000
    # 0-30 cm of the map unit Clarion by hand: carbon by mass over 5, 10 and 15 cm
    clarion = SOILS[1]
    mass = 1.35 * 5 + 1.38 * 10 + 1.42 * 15
    assert clarion.topsoil("soc_content") == pytest.approx((24 * 1.35 * 5 + 22 * 1.38 * 10 + 17 * 1.42 * 15) / mass)
    assert demo.read("soc_content_by_layer").shape == (5, 160, 160)
    assert demo.read("layer_bottom")[2] == pytest.approx(0.30)


def test_weather_of_the_demo_is_near_normal_and_consistent(demo: Cube) -> None:
    names = ("tmean", "tmin", "tmax", "precip", "srad", "vpd", "wind")
    weather = {name: demo.read(name) for name in names}
    assert all(np.isfinite(v).all() and v.shape == (16, 2191) for v in weather.values())
    assert (weather["tmin"] < weather["tmax"]).all()
    month = days_of(demo.years).astype("datetime64[M]").astype(int) % 12
    mean = np.array([weather["tmax"][:, month == m].mean() for m in range(12)])
    np.testing.assert_allclose(mean, AMES.tmax, atol=2.0)
    assert weather["precip"].sum() / 16 / 6 == pytest.approx(sum(AMES.rain), rel=0.15)
    neighbours = np.corrcoef(weather["precip"])
    assert 0.6 < neighbours[0, 1] < 0.99
    assert neighbours[0, 1] > neighbours[0, 15]


def test_the_generator_keeps_the_normals_in_the_long_run() -> None:
    days = np.arange(np.datetime64("1900-01-01"), np.datetime64("2020-01-01"))
    place = np.zeros(1)
    weather = generate(AMES, days, place, place, np.array([42.0]), seed=11)
    month = days.astype("datetime64[M]").astype(int) % 12
    years = 120

    def monthly(values: Any) -> Any:
        return np.array([values[0, month == m].mean() for m in range(12)])

    np.testing.assert_allclose(monthly(weather["tmax"]), AMES.tmax, atol=0.9)
    np.testing.assert_allclose(monthly(weather["tmin"]), AMES.tmin, atol=0.9)
    np.testing.assert_allclose(monthly(weather["srad"]), AMES.srad(), rtol=0.06)
    np.testing.assert_allclose(monthly(weather["wind"]), AMES.wind, rtol=0.06)
    rain = np.array([weather["precip"][0, month == m].sum() / years for m in range(12)])
    np.testing.assert_allclose(rain, AMES.rain, rtol=0.17)
    assert rain.sum() == pytest.approx(sum(AMES.rain), rel=0.04)
    np.testing.assert_allclose(monthly(weather["precip"] > 0), AMES.wet_fraction(), atol=0.03)
    wet = weather["precip"][0] > 0
    assert weather["srad"][0, wet].mean() < weather["srad"][0, ~wet].mean() - 2
    residual = weather["tmax"][0] - np.array(AMES.tmax)[month]
    assert 0.5 < np.corrcoef(residual[1:], residual[:-1])[0, 1] < 0.85
    assert weather["vpd"].min() >= 0


def test_known_values_of_the_air() -> None:
    # FAO-56: table 2.3, example 5 (VPD), example 8 (radiation above the atmosphere, 3 September, 20 degrees south)
    assert atmosphere.saturation_pressure(15.0) == pytest.approx(1.705, abs=0.001)
    vpd = atmosphere.vpd_from_humidity(18.0, 25.0, (82 + 54) / 2)
    assert vpd == pytest.approx(2.62 * 0.32, abs=0.01)
    september = np.array([np.datetime64("2022-09-03")])
    assert atmosphere.extraterrestrial(-20.0, september)[0] == pytest.approx(32.2, abs=0.1)
    assert atmosphere.vpd_from_pressure(10.0, 20.0, 9.0) == 0.0


def test_range_and_radiation_are_each_others_inverse() -> None:
    above = np.array([10.0, 25.0, 41.0])
    srad = atmosphere.radiation_from_range(np.zeros(3), np.full(3, 9.0), above)
    np.testing.assert_allclose(srad, 0.16 * 3 * above)
    np.testing.assert_allclose(atmosphere.range_from_radiation(srad, above), 9.0)
    np.testing.assert_allclose(atmosphere.range_from_radiation(0.01 * above, above), 2.0)


def test_co2_follows_the_table_of_means() -> None:
    days = days_of([2019, 2020])
    co2 = atmosphere.co2_of(days)
    assert co2 is not None
    assert co2[365 + 183] == pytest.approx(412.44, abs=0.01), "mid-2020"
    assert (np.diff(co2) > 0).all()
    assert atmosphere.co2_of(days_of([1978])) is None
