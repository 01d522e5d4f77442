"""Cubes from real files: their numbers are those of the files, and what is not real is said."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fieldflux.models.crops import CROPS
from fieldflux.tiles.cube import Cube, open_cube
from fieldflux.tiles.cubefile import CubeNotWritten
from fieldflux.tiles.grid import Window
from fieldflux.tiles.readers.errors import BadSource
from fieldflux.tiles.sources import UnknownCube, build
from fieldflux.tiles.sources.parts import alternating
from fieldflux.tiles.sources.recipe import BadRecipe, read_recipe

ADAMS_FILE = "kgml_da/il_17001_17003_inputs_daily_2000_2020.csv.gz"
SLOPE_FILE = "vegetation/slope_gpp_il_17001_17003_daily_2000_2020.csv.gz"


@pytest.fixture(scope="module")
def adams(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Cube:
    return open_cube(build("adams", tmp_path_factory.mktemp("adams") / "adams.zarr", data_dir))


@pytest.fixture(scope="module")
def iowa(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Cube:
    return open_cube(build("iowa", tmp_path_factory.mktemp("iowa") / "iowa.zarr", data_dir))


def some_cell(cube: Cube) -> tuple[int, int]:
    row, col = np.argwhere(cube.mask())[cube.mask().sum() // 2]
    return int(row) + cube.window.row0, int(col) + cube.window.col0


def test_adams_has_the_weather_and_soil_of_the_file(adams: Cube, data_dir: Path) -> None:
    table = pd.read_csv(data_dir / ADAMS_FILE, dtype={"fips": str}).query("fips == '17001'")
    row, col = some_cell(adams)
    forcing = adams.forcing([row], [col], adams.years)
    assert adams.years == tuple(range(2000, 2021))
    assert forcing.days == len(table) == 21 * 365 + 6
    for name, column in (("tmean", "Tair"), ("precip", "Precipitation"), ("srad", "Radiation"), ("wind", "Wind")):
        np.testing.assert_array_equal(forcing.daily[name][0], table[column].to_numpy(np.float32))
    for name, column in (("bulk_density", "Bulk density"), ("sand", "Sand content"), ("soc_content", "SOC")):
        assert forcing.static[name][0] == pytest.approx(table[column].iloc[0], rel=1e-6)
    assert forcing.static["clay"][0] == pytest.approx(1000 - 57.2444 - 683.7556, abs=1e-3)
    spread = forcing.daily["tmax"] - forcing.daily["tmin"]
    assert (spread >= 1.99).all()
    assert (spread <= 22.01).all()
    np.testing.assert_allclose((forcing.daily["tmax"] + forcing.daily["tmin"]) / 2, forcing.daily["tmean"], atol=1e-4)
    assert any("estimated" in note for note in adams.notes)
    assert forcing.daily["co2"][0, -1] == pytest.approx(413.6, abs=0.5)


def test_adams_gives_each_crop_its_satellite_gpp(adams: Cube, data_dir: Path) -> None:
    table = pd.read_csv(data_dir / SLOPE_FILE, dtype={"fips": str}).query("fips == '17001'")
    rows, cols = (a[:400] for a in np.nonzero(adams.mask()))
    forcing = adams.forcing(rows + adams.window.row0, cols + adams.window.col0, [2004])
    assert forcing.gpp_given is not None
    assert forcing.gpp_unit is not None
    for code, crop in ((1, "corn"), (5, "soy")):
        unit = forcing.gpp_unit[forcing.annual["crop"][:, 0] == code, 0]
        assert unit.size > 50
        assert len(set(unit.tolist())) == 1
        series = forcing.gpp_given[unit[0]]
        expected = table[(table.year == 2004) & table.crop.str.startswith(crop)].sort_values("doy").GPP_gC_m2_d
        np.testing.assert_array_equal(series[:365], expected.to_numpy(np.float32))
        assert np.isnan(series[365]), "31 December of a leap year is not in the file"


def test_adams_covers_its_county_and_says_what_is_declared(adams: Cube) -> None:
    assert adams.mask().sum() * 0.0625 == pytest.approx(2256, rel=0.01)
    assert "not a map" in adams.statement
    assert not adams.synthetic
    outline = adams.outline()
    assert outline is not None
    assert outline["id"] == "17001"
    assert {s.name for s in adams.sources} >= {Path(ADAMS_FILE).name, Path(SLOPE_FILE).name}
    assert all(len(s.sha256 or "") in (0, 64) for s in adams.sources)
    crops = np.stack([adams.crops(y) for y in adams.years])
    inside = adams.mask()
    assert set(np.unique(crops[:, inside])) == {1, 5}
    assert (crops[:, ~inside] == 0).all()
    assert ((crops[1:] != crops[:-1]) | ~inside).all(), "maize and soybean in turn"
    assert 0.45 < (crops[0, inside] == 1).mean() < 0.55


@pytest.mark.parametrize(("name", "fips", "year"), [("adams", "17001", 2004), ("iowa", "19015", 2018)])
def test_a_cell_expects_what_its_countys_earlier_reports_say(
    name: str, fips: str, year: int, request: pytest.FixtureRequest, data_dir: Path
) -> None:
    cube: Cube = request.getfixturevalue(name)
    names = cube.weather_names()
    assert names is not None
    county = names.index("Boone") if name == "iowa" else 0
    rows, cols = (a[:400] for a in np.nonzero(cube.read("weather_index") == county))
    forcing = cube.forcing(rows + cube.window.row0, cols + cube.window.col0, [year])
    table = pd.read_csv(data_dir / "yield/us_county_yields.csv.gz", dtype={"fips": str})
    for crop, trade in (("maize", "corn"), ("soybean", "soybean")):
        here = forcing.annual["crop"][:, 0] == CROPS[crop].cdl[0]
        rows_of = table[(table.fips == fips) & (table.crop == trade) & (table.year < year)].sort_values("year")[-30:]
        slope, level = np.polyfit(rows_of.year, rows_of.yield_t_ha, 1)
        expected = CROPS[crop].carbon_m2(slope * year + level)
        assert here.sum() > 50
        np.testing.assert_allclose(forcing.annual["yield_expected"][here, 0], expected, rtol=1e-4)
    assert any("yield_expected" in note for note in cube.notes)
    assert "us_county_yields.csv.gz" in {s.name for s in cube.sources}
    none = cube.crops(year) == 0
    assert np.isnan(cube.read("yield_expected")[cube.years.index(year)][none]).all()


def test_without_reported_yields_there_is_no_expected_one_and_it_is_said(data_dir: Path, tmp_path: Path) -> None:
    for part in ("kgml_da", "vegetation", "boundaries"):
        (tmp_path / part).symlink_to(data_dir.absolute() / part)
    cube = open_cube(build("adams", tmp_path / "adams.zarr", tmp_path))
    assert "yield_expected" not in cube.available()
    assert any("yield_expected is not here" in note for note in cube.notes)
    assert cube.mask().any()


def test_the_declared_rotation_does_not_depend_on_the_window() -> None:
    whole = alternating(Window(90, 150, 30, 90), [2000, 2001])
    part = alternating(Window(100, 120, 40, 71), [2001])
    np.testing.assert_array_equal(part[0], whole[1, 10:30, 10:41])
    patch = alternating(Window(99, 102, 33, 36), [2000])
    assert len(np.unique(patch)) == 1


def test_iowa_keeps_the_files_numbers_and_flags_its_faults(iowa: Cube, data_dir: Path) -> None:
    table = pd.read_csv(data_dir / "weather" / "iowa35_hrrr_daily_2017_2022.csv.gz", dtype={"fips": str})
    names = iowa.weather_names()
    assert names is not None
    assert len(names) == 35
    boone = names.index("Boone")
    rows = table[table.county == "BOONE"].sort_values("date")
    np.testing.assert_array_equal(iowa.read("precip")[boone], rows.precip_mm.to_numpy(np.float32))
    flag, srad = iowa.read("srad_flag")[boone], iowa.read("srad")[boone]
    np.testing.assert_array_equal(flag, rows.srad_flag.to_numpy())
    measured = flag != 2
    np.testing.assert_array_equal(srad[measured], rows.srad_mj_m2.to_numpy(np.float32)[measured])
    assert np.isfinite(srad).all()
    assert int((iowa.read("srad_flag") == 2).sum()) == 487
    assert any("1.5 times too high in 2017" in note for note in iowa.notes)
    assert any("487 days of srad are estimated" in note for note in iowa.notes)


def test_iowa_has_surveyed_soil_on_the_farms_and_a_default_elsewhere(iowa: Cube) -> None:
    sand, mask = iowa.read("sand"), iowa.mask()
    values, count = np.unique(sand[mask], return_counts=True)
    assert count.max() > 0.99 * mask.sum()
    assert len(values) > 1
    total = sand + iowa.read("silt") + iowa.read("clay")
    np.testing.assert_allclose(total[mask], 1000, atol=0.1)
    assert any("a declared default" in note for note in iowa.notes)
    county = iowa.read("weather_index")
    assert len(np.unique(county[county >= 0])) == 35


def test_what_cannot_be_built_is_said(data_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownCube, match=r"no cube 'ohio' to build. The names are demo, adams, iowa"):
        build("ohio", tmp_path / "x.zarr", data_dir)
    with pytest.raises(UnknownCube, match="say in which folder"):
        build("adams", tmp_path / "x.zarr")
    with pytest.raises(BadSource, match=r"data folder .* does not exist"):
        build("adams", tmp_path / "x.zarr", tmp_path / "nowhere")
    half = _copy(data_dir, tmp_path / "half", ["weather/iowa35_hrrr_daily_2017_2022.csv.gz"])
    with pytest.raises(BadSource, match=r"county outlines .* does not exist"):
        build("iowa", tmp_path / "x.zarr", half)
    cut = _copy(data_dir, tmp_path / "cut", [ADAMS_FILE, SLOPE_FILE, "boundaries/us-atlas_counties-10m.json"])
    whole = (cut / ADAMS_FILE).read_bytes()
    (cut / ADAMS_FILE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadSource, match="cannot be read as CSV"):
        build("adams", tmp_path / "x.zarr", cut)
    (cut / ADAMS_FILE).write_bytes(gzip.compress(b"fips,Year,Day\n17001,2000,1\n"))
    with pytest.raises(BadSource, match="has no column 'Tair'"):
        build("adams", tmp_path / "x.zarr", cut)
    assert not (tmp_path / "x.zarr").exists()


def _copy(data_dir: Path, to: Path, names: list[str]) -> Path:
    for name in names:
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(data_dir / name, to / name)
    return to


# -- a user's own files

RECIPE = """
id = "my-place"
title = "A place in Kansas"
licence = "mixed"
years = [2016, 2017]

[region]
bounds = [-97.15, 39.20, -97.05, 39.28]

[weather]
files = ["{data}/weather/champaign_il_warm_daily.csv.gz"]
lon = -97.1
lat = 39.2
fill_gaps = 5

[weather.columns]
tmean = ["tmean_c", "degC"]
tmin = ["tmin_c", "degC"]
tmax = ["tmax_c", "degC"]
srad = ["srad_mj_m2", "MJ m-2 d-1"]
precip = ["precip_mm", "mm d-1"]
wind = ["wind_ms", "m s-1"]
relative_humidity = ["rh_pct", "%"]

[soil]
ssurgo = ["{data}/soil/ssurgo_greene_ia"]
rasters.elevation = {{ file = "height.tif", factor = 0.3048 }}

[soil.values]
bulk_density = 1.35
sand = 300
clay = 250
field_capacity = 0.3
wilting_point = 0.15
ksat = 12
soc_content = 15

[crops]
rasters = {{ 2017 = "{data}/landcover/2021_30m_cdls.tif" }}
otherwise = "maize-soybean"

[calendar]
maize = {{ sowing = 115, harvest = 265 }}
soybean = {{ sowing = 135, harvest = 275 }}
winter_wheat = {{ sowing = 280, harvest = 175 }}

[management]
tillage = 1.0
"""


@pytest.fixture
def recipe(data_dir: Path, tmp_path: Path) -> Path:
    import rasterio
    from rasterio.transform import from_origin

    heights = np.full((300, 300), 1000.0, np.float32)
    with rasterio.open(
        tmp_path / "height.tif", "w", "GTiff", 300, 300, 1, crs="EPSG:5070", dtype="float32",
        transform=from_origin(-130000, 1850000, 250, 250),
    ) as file:  # fmt: skip
        file.write(heights, 1)
    path = tmp_path / "place.toml"
    path.write_text(RECIPE.format(data=data_dir))
    return path


def test_a_recipe_makes_a_cube_of_ones_own_files(recipe: Path, data_dir: Path) -> None:
    from fieldflux.tiles.readers.rasters import read_classes

    cube = open_cube(build(recipe, recipe.parent / "k.zarr"))
    assert cube.id == "my-place"
    assert cube.mask().all()
    expected = read_classes(data_dir / "landcover" / "2021_30m_cdls.tif", cube.grid, cube.window)
    np.testing.assert_array_equal(cube.crops(2017), np.where(expected < 0, 0, expected))
    assert set(np.unique(cube.crops(2016))) == {1, 5}
    rows, cols = cube.window.cells()
    forcing = cube.forcing(rows, cols, [2017])
    wheat, maize = forcing.annual["crop"] == 24, forcing.annual["crop"] == 1
    assert wheat.any()
    assert (forcing.annual["sowing_doy"][wheat] == 280).all()
    assert (forcing.annual["harvest_doy"][maize] == 265).all()
    assert (forcing.annual["tillage"][maize] == 1).all()
    assert np.isnan(forcing.annual["sowing_doy"][forcing.annual["crop"] == 111]).all()
    assert (forcing.static["silt"] == 450).all()
    np.testing.assert_allclose(forcing.static["elevation"], 304.8, rtol=1e-5)
    assert "ph" not in cube.available()
    assert any("Crops of 2016 are declared" in note for note in cube.notes)
    assert any("values of the recipe" in note for note in cube.notes)
    assert {s.name for s in cube.sources} >= {"2021_30m_cdls.tif", "height.tif", "ssurgo_greene_ia"}


def test_an_outline_and_ssurgo_give_a_farm_its_soil(recipe: Path, data_dir: Path) -> None:
    text = recipe.read_text()
    outline = data_dir / "soil" / "ssurgo_greene_ia" / "spatial" / "aoi_a_aoi.shp"
    text = text.replace("bounds = [-97.15, 39.20, -97.05, 39.28]", f'outline = "{outline}"')
    text = text.replace(f'rasters = {{ 2017 = "{data_dir}/landcover/2021_30m_cdls.tif" }}', "")
    recipe.write_text(text.replace('rasters.elevation = { file = "height.tif", factor = 0.3048 }', ""))
    cube = open_cube(build(recipe, recipe.parent / "farm.zarr"))
    inside = cube.read("weather_index") >= 0
    assert 1 <= inside.sum() <= 6
    clay, default = cube.read("clay")[inside], 250
    assert ((clay != default) & (clay > 150) & (clay < 330)).any()
    assert cube.read("clay_by_layer").shape[0] == 5
    assert "ph" in cube.available()
    assert cube.outline() is not None


@pytest.mark.parametrize(
    ("old", "new", "kind", "says"),
    [
        ("years = [2016, 2017]", "years = [2017, 2016]", BadRecipe, "last year 2016 comes before the first"),
        ('title = "A place in Kansas"', "", BadRecipe, "title: Field required"),
        ("fill_gaps = 5", "fill_gap = 5", BadRecipe, "weather.fill_gap: Extra inputs are not permitted"),
        ("maize = {", "corn = {", BadRecipe, "calendar: no crop 'corn'; the crops are maize"),
        ('otherwise = "maize-soybean"', "", BadRecipe, "crops: no raster for 2016"),
        ("ksat = 12", "conductivity = 12", BadRecipe, "soil: no property 'conductivity'"),
        ("bounds = [-97.15, 39.20, -97.05, 39.28]", "", BadRecipe, "either bounds or an outline"),
        ("-97.15, 39.20, -97.05, 39.28", "39.20, -97.15, 39.28, -97.05", BadRecipe, "west, south, east, north"),
        ("-97.15, 39.20, -97.05, 39.28", "-94.15, 39.20, -94.05, 39.28", BadSource, "does not reach the region"),
        ("height.tif", "hills.tif", BadSource, "hills.tif for soil: elevation, which does not exist"),
        ("factor = 0.3048", "factor = 3048", CubeNotWritten, "elevation has .* values outside -430 to 9000 m"),
        ('"tmin_c", "degC"', '"tmin_c", "C"', BadSource, "unit 'C' of tmin is not known"),
        ("champaign_il_warm", "nothing*", BadSource, "No file matches"),
        ("[region]", "[region", BadRecipe, "not valid TOML"),
    ],
)
def test_mistakes_in_a_recipe_are_told(recipe: Path, old: str, new: str, kind: type[Exception], says: str) -> None:
    text = recipe.read_text()
    assert old in text
    recipe.write_text(text.replace(old, new))
    with pytest.raises(kind, match=says):
        build(recipe, recipe.parent / "wrong.zarr")
    assert not (recipe.parent / "wrong.zarr").exists()


def test_a_recipe_without_soil_or_file(recipe: Path) -> None:
    text = recipe.read_text()
    start, end = text.index("[soil]"), text.index("[crops]")
    recipe.write_text(text[:start] + "[soil.values]\nsand = 300\nclay = 200\n\n" + text[end:])
    with pytest.raises(BadRecipe, match=r"lacks bulk_density \(Mg m-3\), field_capacity"):
        build(recipe, recipe.parent / "wrong.zarr")
    with pytest.raises(BadRecipe, match="cannot be read"):
        read_recipe(recipe.parent / "none.toml")
