"""Readers of weather, rasters, outlines and SSURGO exports: numbers by hand, mistakes as sentences."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fieldflux.tiles import atmosphere
from fieldflux.tiles.grid import Grid, Window
from fieldflux.tiles.readers.errors import BadSource
from fieldflux.tiles.readers.outlines import find, on_grid, read_outlines, read_topojson
from fieldflux.tiles.readers.rasters import check_raster, read_classes, read_means
from fieldflux.tiles.readers.ssurgo import (
    PROPERTIES,
    Component,
    Horizon,
    Survey,
    read_ssurgo,
    soil_on_grid,
    unit_mean,
)
from fieldflux.tiles.readers.units import convert
from fieldflux.tiles.readers.weather import Column, Weather, complete, nearest, read_csv, read_gridded

GRID = Grid()
KANSAS = Window(5400, 5520, 9000, 9120)


# -- rasters


def test_the_majority_of_the_cropland_data_layer(data_dir: Path) -> None:
    """25 pixels of 30 m are 3 cells: on sub-pixels of 10 m the majority is exact."""
    import rasterio

    file = data_dir / "landcover" / "2021_30m_cdls.tif"
    got = read_classes(file, GRID, Window(5400, 5430, 9000, 9030))
    with rasterio.open(file) as layer:
        pixels = layer.read(1)[:250, :250]
    fine = np.kron(pixels, np.ones((3, 3), np.uint8)).reshape(30, 25, 30, 25).transpose(0, 2, 1, 3).reshape(900, 625)
    expected = np.array([np.bincount(cell).argmax() for cell in fine]).reshape(30, 30)
    np.testing.assert_array_equal(got, expected)


def test_the_area_mean_of_a_continuous_raster(data_dir: Path) -> None:
    import rasterio

    file = data_dir / "landcover" / "crop_frequency_corn_2008-2021.tif"
    got = read_means(file, GRID, Window(5400, 5403, 9000, 9003))
    with rasterio.open(file) as layer:
        fine = np.kron(layer.read(1)[:25, :25].astype(float), np.ones((3, 3)))
    np.testing.assert_allclose(got, fine.reshape(3, 25, 3, 25).mean(axis=(1, 3)))


def test_beyond_the_edge_of_a_raster_there_is_nothing(data_dir: Path) -> None:
    file = data_dir / "landcover" / "2021_30m_cdls.tif"
    window = Window(5398, 5402, 8998, 9002)
    classes, means = read_classes(file, GRID, window), read_means(file, GRID, window)
    assert (classes[:2] == -1).all()
    assert (classes[2:, 2:] > 0).all()
    assert np.isnan(means[:, :2]).all()
    assert np.isfinite(means[2:, 2:]).all()
    check_raster(file, GRID, window)
    with pytest.raises(BadSource, match="does not reach the region: it covers x -106095 to -76095"):
        check_raster(file, GRID, Window(0, 10, 0, 10))


def geotiff(path: Path, values: Any, crs: str | None, transform: Any, nodata: float | None = None) -> Path:
    import rasterio

    height, width = values.shape
    with rasterio.open(
        path, "w", "GTiff", width, height, 1, crs=crs, transform=transform, dtype=values.dtype, nodata=nodata
    ) as file:
        file.write(values, 1)
    return path


def test_missing_pixels_do_not_count(tmp_path: Path) -> None:
    from rasterio.transform import from_origin

    x, y = GRID.edges(Window(100, 101, 100, 101))
    values = np.arange(25, dtype=np.float32).reshape(5, 5)
    values[0, 0] = -9999
    file = geotiff(tmp_path / "soil.tif", values, "EPSG:5070", from_origin(x[0], y[0], 50, 50), -9999)
    got = read_means(file, GRID, Window(100, 101, 100, 102))
    assert got[0, 0] == pytest.approx(300 / 24)
    assert np.isnan(got[0, 1])


def test_a_raster_in_degrees_lands_where_it_belongs(tmp_path: Path) -> None:
    from rasterio.transform import from_origin

    lon0, lat0, step = -94.0, 42.5, 0.001
    lat = lat0 - (np.arange(1000)[:, None] + 0.5) * step
    values = np.broadcast_to(lat, (1000, 1000)).astype(np.float32)
    file = geotiff(tmp_path / "lat.tif", values, "EPSG:4326", from_origin(lon0, lat0, step, step))
    window = Window(4200, 4210, 10150, 10160)
    rows, cols = window.cells()
    expected = GRID.to_lonlat(*GRID.centres(rows, cols))[1].reshape(window.shape)
    np.testing.assert_allclose(read_means(file, GRID, window), expected, atol=3e-4)


def test_rasters_that_cannot_be_used(tmp_path: Path) -> None:
    from rasterio.transform import from_origin

    plain = geotiff(tmp_path / "plain.tif", np.ones((2, 2), np.uint8), None, from_origin(0, 2, 1, 1))
    with pytest.raises(BadSource, match="names no reference system"):
        read_means(plain, GRID, KANSAS)
    with pytest.raises(BadSource, match="does not exist"):
        read_classes(tmp_path / "none.tif", GRID, KANSAS)
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(BadSource, match="cannot be read as a raster"):
        read_classes(tmp_path / "text.tif", GRID, KANSAS)
    good = geotiff(tmp_path / "good.tif", np.ones((2, 2), np.uint8), "EPSG:5070", from_origin(0, 2, 1, 1))
    with pytest.raises(BadSource, match="has 1 bands; there is no band 2"):
        read_means(good, GRID, KANSAS, band=2)


# -- outlines


def test_a_county_of_the_topology_has_its_area(data_dir: Path) -> None:
    """Census: Adams County, Illinois 2256 km2 (871 sq mi), Story County, Iowa 1486 km2 (574 sq mi), water included."""
    counties = read_outlines(data_dir / "boundaries" / "us-atlas_counties-10m.json", "counties")
    assert len(counties) > 3100
    for fips, name, km2 in (("17001", "Adams", 2256), ("19169", "Story", 1486)):
        county = find(counties, fips, "us-atlas")
        assert county.properties["name"] == name
        assert county.geometry.is_valid
        assert on_grid(county.geometry, GRID.crs).area / 1e6 == pytest.approx(km2, rel=0.01)


def test_neighbours_of_a_topology_share_their_arc(tmp_path: Path) -> None:
    """Two unit squares side by side: the arc between them is used backwards by the second."""
    topology = {
        "type": "Topology",
        "transform": {"scale": [0.5, 0.5], "translate": [10.0, 40.0]},
        "objects": {
            "two": {
                "type": "GeometryCollection",
                "geometries": [
                    {"type": "Polygon", "id": "west", "arcs": [[0, 1]]},
                    {"type": "MultiPolygon", "id": "east", "arcs": [[[~0, 2]]]},
                ],
            }
        },
        "arcs": [[[2, 0], [0, 2]], [[2, 2], [-2, 0], [0, -2], [2, 0]], [[2, 0], [2, 0], [0, 2], [-2, 0]]],
    }
    file = tmp_path / "two.json"
    file.write_text(json.dumps(topology))
    west, east = read_topojson(file)
    assert west.geometry.bounds == (10.0, 40.0, 11.0, 41.0)
    assert east.geometry.bounds == (11.0, 40.0, 12.0, 41.0)
    assert west.geometry.area == east.geometry.area == 1.0
    assert west.geometry.intersection(east.geometry).length == 1.0
    with pytest.raises(BadSource, match="no layer 'three'; its layers are: two"):
        read_topojson(file, "three")
    with pytest.raises(BadSource, match=r"no outline with the id 'north'; its 2 ids begin: west, east"):
        find([west, east], "north", file)
    file.write_text(file.read_text()[:200])
    with pytest.raises(BadSource, match="cut off"):
        read_topojson(file)


def test_geojson_and_shapefiles_come_in_longitude_and_latitude(tmp_path: Path) -> None:
    import geopandas
    from shapely import box

    x, y = GRID.from_lonlat(-93.6, 42.0)
    table = geopandas.GeoDataFrame(
        {"id": ["a"], "name": ["field"]}, geometry=[box(x, y, x + 500, y + 500)], crs="EPSG:5070"
    )
    table.to_file(tmp_path / "f.shp")
    table.to_crs(4326).to_file(tmp_path / "f.geojson")
    for name in ("f.shp", "f.geojson"):
        (feature,) = read_outlines(tmp_path / name)
        assert feature.id == "a"
        assert on_grid(feature.geometry, GRID.crs).area == pytest.approx(250000, rel=1e-4)
        assert feature.geometry.bounds[0] == pytest.approx(-93.6, abs=0.01)
    (tmp_path / "f.prj").unlink()
    with pytest.raises(BadSource, match="names no reference system"):
        read_outlines(tmp_path / "f.shp")
    (tmp_path / "bad.geojson").write_text("{")
    with pytest.raises(BadSource, match="cannot be read as outlines"):
        read_outlines(tmp_path / "bad.geojson")


# -- SSURGO


def horizon(top: float, bottom: float, **values: float) -> Horizon:
    return Horizon(top, bottom, {**dict.fromkeys(PROPERTIES, float("nan")), **values})


def test_means_weigh_depth_and_share_by_hand() -> None:
    first = Component(
        "1",
        "A",
        75,
        (
            horizon(0, 0.20, sand=300, bulk_density=1.2, soc_content=30),
            horizon(0.20, 0.80, sand=420, bulk_density=1.5, soc_content=10),
        ),
    )
    second = Component("2", "B", 25, (horizon(0, 1.0, sand=100, bulk_density=1.0, soc_content=50),))
    unit = (first, second)
    # sand: 75 % of (20 cm of 300 and 10 cm of 420), 25 % of 30 cm of 100
    assert unit_mean(unit, "sand", 0, 0.30) == pytest.approx(0.75 * (300 * 20 + 420 * 10) / 30 + 0.25 * 100)
    # carbon by mass, so that the stock of 0-30 cm is kept
    stock = 0.75 * (1.2 * 20 * 30 + 1.5 * 10 * 10) + 0.25 * (1.0 * 30 * 50)
    mass = 0.75 * (1.2 * 20 + 1.5 * 10) + 0.25 * (1.0 * 30)
    assert unit_mean(unit, "soc_content", 0, 0.30) == pytest.approx(stock / mass)
    assert unit_mean(unit, "bulk_density", 0, 0.30) == pytest.approx(mass / 30)
    assert np.isnan(unit_mean(unit, "sand", 0.80, 1.0)), "only a quarter of the soil is known there"
    assert np.isnan(unit_mean(unit, "ph", 0, 0.30))
    assert np.isnan(unit_mean((), "sand", 0, 0.30))


def test_a_real_map_unit_by_hand(data_dir: Path) -> None:
    """Boone County, Clarion loam L138B: the values of its tables, weighed with a pencil."""
    survey = read_ssurgo(data_dir / "soil" / "ssurgo_boone_ia")
    key = next(k for k, name in survey.names.items() if name.startswith("Clarion loam, Bemis"))
    shares = {c.name: c.percent for c in survey.units[key]}
    assert shares == {"Clarion": 85, "Nicollet": 5, "Storden": 10}
    tables = data_dir / "soil" / "ssurgo_boone_ia" / "tabular"
    rows = [line.split("|") for line in (tables / "chorizon.txt").read_text().splitlines()]
    total = 0.0
    for component in survey.units[key]:
        of_it = [r for r in rows if r[-2].strip('"') == component.key]
        depth = sum(
            float(r[60]) * 10 * max(0.0, min(float(r[9]), 30) - float(r[6])) for r in of_it
        )  # clay, %, times cm
        total += component.percent * depth / 30 / 100
    assert unit_mean(survey.units[key], "clay", 0, 0.30) == pytest.approx(total)
    top = min(next(c for c in survey.units[key] if c.name == "Clarion").horizons, key=lambda h: h.top)
    raw = next(r for r in rows if r[-2].strip('"') == next(c.key for c in survey.units[key] if c.name == "Clarion"))
    assert top.values["sand"] + top.values["silt"] + top.values["clay"] == pytest.approx(1000)
    assert 5 < top.values["ph"] < 8
    assert 10 < top.values["cec"] < 35
    assert len(raw) == 171


def test_soil_of_cells_is_the_mean_of_their_area() -> None:
    """A cell of which 40 % is one map unit and 60 % another; a cell that is a quarter covered has none."""
    from shapely import box, transform

    window = Window(4000, 4001, 10000, 10003)
    x, y = GRID.edges(window)

    def lonlat(x0: float, x1: float) -> Any:
        plane = box(x[0] + x0, y[1], x[0] + x1, y[0])
        return transform(plane, lambda p: np.column_stack(GRID.to_lonlat(p[:, 0], p[:, 1])))

    def unit(sand: float, density: float, carbon: float) -> tuple[Component, ...]:
        return (Component("c", "C", 100, (horizon(0, 1, sand=sand, bulk_density=density, soc_content=carbon),)),)

    survey = Survey(
        {"1": unit(200, 1.0, 40), "2": unit(700, 1.5, 10)},
        {},
        [("1", lonlat(0, 100)), ("2", lonlat(100, 562.5))],
    )
    top, layers = soil_on_grid(survey, GRID, window)
    assert top["sand"][0, 0] == pytest.approx(0.4 * 200 + 0.6 * 700)
    assert top["soc_content"][0, 0] == pytest.approx((0.4 * 40 + 0.6 * 15) / (0.4 * 1.0 + 0.6 * 1.5))
    assert top["sand"][0, 1] == pytest.approx(700)
    assert np.isnan(top["sand"][0, 2])
    assert layers["sand"].shape == (5, 1, 3)


def test_ssurgo_folders_that_cannot_be_used(data_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(BadSource, match="does not exist"):
        read_ssurgo(tmp_path / "none")
    copy = shutil.copytree(data_dir / "soil" / "ssurgo_boone_ia", tmp_path / "copy", copy_function=shutil.copyfile)
    copy.chmod(0o755)
    for folder in ("tabular", "spatial"):
        (copy / folder).chmod(0o755)
    table = copy / "tabular" / "chorizon.txt"
    whole = table.read_text()
    table.write_text(whole[: whole.index("\n") - 40] + "\n")
    with pytest.raises(
        BadSource, match=r"chorizon.txt has \d+ columns; the table 'chorizon' of SSURGO version 2 has 171"
    ):
        read_ssurgo(copy)
    table.write_text(whole)
    for part in (copy / "spatial").glob("soilmu*"):
        part.unlink()
    with pytest.raises(BadSource, match="has no map-unit polygons"):
        read_ssurgo(copy)


# -- weather

COLUMNS = {"tmin": Column("low", "degF"), "tmax": Column("high", "degF"), "precip": Column("rain", "in d-1")}
TEXT = """site,day,low,high,rain,x,y
b,2021-01-02,32,50,1,-92,42
a,2021-01-01,14,32,-99,-93,41
b,2020-12-31,0,0,0,-92,42
"""


@pytest.mark.parametrize(
    ("name", "value", "unit", "expected"),
    [
        ("tmean", 300.0, "K", 26.85),
        ("tmax", 212.0, "degF", 100.0),
        ("srad", 200.0, "W m-2", 17.28),
        ("srad", 12345.0, "kJ m-2 d-1", 12.345),
        ("precip", 1.0, "in d-1", 25.4),
        ("precip", 1e-4, "kg m-2 s-1", 8.64),
        ("vpd", 8.0, "hPa", 0.8),
        ("wind", 36.0, "km h-1", 10.0),
        ("relative_humidity", 0.5, "1", 50.0),
    ],
)
def test_units_become_those_of_the_vocabulary(name: str, value: float, unit: str, expected: float) -> None:
    assert convert(name, value, unit) == pytest.approx(expected)


def test_unknown_units_are_told() -> None:
    with pytest.raises(BadSource, match=r"unit 'feet' of precip is not known. Give one of: mm d-1"):
        convert("precip", 1, "feet")
    with pytest.raises(BadSource, match="'snow' is no weather quantity"):
        convert("snow", 1, "mm")


def test_a_table_of_stations(tmp_path: Path) -> None:
    file = tmp_path / "w.csv"
    file.write_text(TEXT)
    weather = read_csv([file], COLUMNS, [2021], date="day", station="site", lon="x", lat="y", missing=[-99])
    assert weather.names == ("a", "b")
    assert weather.lon.tolist() == [-93, -92]
    assert weather.daily["tmin"][0, 0] == pytest.approx(-10)
    assert weather.daily["tmax"][1, 1] == pytest.approx(10)
    assert weather.daily["precip"][1, 1] == pytest.approx(25.4)
    assert np.isnan(weather.daily["precip"][0, 0]), "a code of missing values"
    assert np.isnan(weather.daily["tmin"][1, 0]), "a day that no row gives"
    assert weather.daily["tmin"].shape == (2, 365)


def test_days_by_year_and_number_keep_leap_days(tmp_path: Path) -> None:
    file = tmp_path / "w.csv"
    rows = [f"2020,{d},{d}" for d in range(1, 367)]
    file.write_text("\n".join(["y,d,t", *rows]))
    columns = {"tmean": Column("t", "degC")}
    weather = read_csv([file], columns, [2020], year="y", day_of_year="d", lon=-93.0, lat=42.0)
    np.testing.assert_array_equal(weather.daily["tmean"][0], np.arange(1, 367))


@pytest.mark.parametrize(
    ("text", "arguments", "says"),
    [
        (TEXT, {"station": "farm"}, "has no column 'farm'; its columns are: site, day"),
        (TEXT, {}, r"gives 2021-01-0\d of station"),
        (TEXT.replace("2021-01-02", "someday"), {"station": "site"}, "dates of .* cannot be read"),
        (TEXT.replace("50", "warm"), {"station": "site"}, "column 'high' of .* is not numeric"),
        (TEXT, {"station": "site", "years": [1990]}, "has no day of 1990-1990; it covers 2020-12-31 to 2021-01-02"),
        (TEXT, {"station": "site", "lon": None}, "Say where the stations"),
        ("", {}, "cannot be read as CSV"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, text: str, arguments: dict[str, Any], says: str) -> None:
    file = tmp_path / "w.csv"
    file.write_text(text.replace("2021-01-02", "2021-01-01") if not arguments else text)
    given: dict[str, Any] = {"date": "day", "lon": "x", "lat": "y", **arguments}
    years = given.pop("years", [2021])
    with pytest.raises(BadSource, match=says):
        read_csv([file], COLUMNS, years, **given)


def netcdf(path: Path, zarr: bool = False) -> Path:
    import pandas as pd
    import xarray as xr

    time = pd.date_range("2020-12-01", "2021-12-31")
    lat, lon = [43.0, 42.0, 41.0], [266.0, 267.0]
    kelvin = 273.15 + np.arange(time.size)[:, None, None] * 0.01 + np.arange(6).reshape(3, 2)
    data = xr.Dataset({"tas": (("time", "lat", "lon"), kelvin)}, coords={"time": time, "lat": lat, "lon": lon})
    if zarr:
        data.to_zarr(path, consolidated=False)
    else:
        data.to_netcdf(path, engine="h5netcdf")
    return path


@pytest.mark.parametrize("zarr", [False, True])
def test_gridded_weather_of_the_points_around(tmp_path: Path, zarr: bool) -> None:
    file = netcdf(tmp_path / ("w.zarr" if zarr else "w.nc"), zarr)
    columns = {"tmean": Column("tas", "K")}
    weather = read_gridded([file], columns, [2021], bounds=(-94.5, 41.5, -92.5, 43.5))
    assert weather.lon.tolist() == [-94, -93, -94, -93]
    assert weather.lat.tolist() == [43, 43, 42, 42]
    np.testing.assert_allclose(weather.daily["tmean"][:, 0], 0.31 + np.array([0, 1, 2, 3]))
    with pytest.raises(BadSource, match="has no point within"):
        read_gridded([file], columns, [2021], bounds=(0, 0, 1, 1))
    with pytest.raises(BadSource, match="has no variable 'pr'"):
        read_gridded([file], {"precip": Column("pr", "mm d-1")}, [2021])
    with pytest.raises(BadSource, match="has no day of 1999"):
        read_gridded([file], columns, [1999])


def test_a_broken_netcdf_is_told(tmp_path: Path) -> None:
    file = tmp_path / "w.nc"
    file.write_bytes(b"CDF?")
    with pytest.raises(BadSource, match="cannot be opened as NetCDF or Zarr"):
        read_gridded([file], {"tmean": Column("t", "K")}, [2021])


def some_weather(**daily: Any) -> Weather:
    days = np.arange(np.datetime64("2021-01-01"), np.datetime64("2022-01-01"))
    full = {name: np.full((1, 365), value, float) for name, value in daily.items()}
    return Weather(days, np.array([-93.0]), np.array([42.0]), ("a",), full)


def test_what_is_missing_is_derived_by_published_relations() -> None:
    weather = complete(some_weather(tmin=10, tmax=20, precip=0, srad=15, dewpoint=8))
    assert (weather.daily["tmean"] == 15).all()
    es = (atmosphere.saturation_pressure(10) + atmosphere.saturation_pressure(20)) / 2
    assert weather.daily["vpd"][0, 0] == pytest.approx(float(es - atmosphere.saturation_pressure(8)))
    assert "dewpoint" not in weather.daily
    assert weather.daily["co2"].shape == (365,)
    assert any("dew point" in note for note in weather.notes)


def test_estimates_need_leave_and_leave_a_note() -> None:
    have = some_weather(tmean=15, precip=0, srad=15, relative_humidity=70)
    with pytest.raises(BadSource, match=r"lacks tmin .*, tmax .*, vpd"):
        complete(have)
    done = complete(have, ["range"])
    middle = (done.daily["tmin"] + done.daily["tmax"]) / 2
    np.testing.assert_allclose(middle, 15)
    assert any("estimated" in note for note in done.notes)
    with pytest.raises(BadSource, match="'magic' cannot be estimated"):
        complete(have, ["magic"])
    bare = some_weather(tmin=10, tmax=20, precip=0, vpd=1)
    filled = complete(bare, ["srad"])
    assert (filled.flags["srad"][0] == 2).all()
    assert (filled.daily["srad"] > 0).all()


def test_gaps_stay_unless_bridged_and_rain_is_never_invented() -> None:
    have = some_weather(tmin=10, tmax=20, precip=1, srad=15, vpd=1)
    have.daily["tmax"][0, 10] = have.daily["tmax"][0, 20:25] = np.nan
    have.daily["tmax"][0, 9] = 18
    have.daily["precip"][0, 30] = np.nan
    left = complete(have)
    assert np.isnan(left.daily["tmax"]).sum() == 6
    assert any("6 of 365 days of tmax are missing" in note for note in left.notes)
    bridged = complete(have, fill_gaps=3)
    assert bridged.daily["tmax"][0, 10] == pytest.approx(19)
    assert np.isnan(bridged.daily["tmax"]).sum() == 5
    assert np.isnan(bridged.daily["precip"][0, 30])


def test_the_nearest_place_over_the_sphere() -> None:
    got = nearest(np.array([179.9, -93.0]), np.array([10.0, 42.0]), np.array([-179.9, -90.0]), np.array([10.0, 42.0]))
    assert got.tolist() == [0, 1]
