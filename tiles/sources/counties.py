"""Cubes of whole counties from the measurements that the project is evaluated on (see their README)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fieldflux.tiles.atmosphere import CO2_SOURCE
from fieldflux.tiles.cubefile import About, CubeWriter, Progress, Source, days_of, sha256_of
from fieldflux.tiles.grid import Grid, Window
from fieldflux.tiles.measurements.panel import PANEL_CROPS
from fieldflux.tiles.measurements.tables import BadMeasurements
from fieldflux.tiles.measurements.tables import find as find_table
from fieldflux.tiles.measurements.trend import FEWEST, WINDOW, lines_before
from fieldflux.tiles.measurements.yields import YIELDS, read_histories
from fieldflux.tiles.readers.errors import BadSource, existing
from fieldflux.tiles.readers.outlines import Feature, find, on_grid, read_outlines
from fieldflux.tiles.readers.ssurgo import LAYERS, PROPERTIES, read_ssurgo, soil_on_grid
from fieldflux.tiles.readers.weather import Column, Weather, complete, read_csv

from .parts import (
    CALENDAR_SOURCE,
    CORN,
    ILLINOIS,
    IOWA,
    SOYBEAN,
    Floats,
    alternating,
    geojson,
    inside,
    latitudes,
    put_expected,
    put_management,
    window_around,
)
from .progress import quiet

ADAMS = "17001"
OUTLINES = "boundaries/us-atlas_counties-10m.json"
CENSUS = "US Census Bureau cartographic boundaries, public domain, through us-atlas (ISC)"
ROTATION = (
    "There is no crop map here: maize and soybean alternate on patches of 750 m, a declared rotation, on every cell of "
    "the outline, town and woods included. Read values per area of crop, never totals of a county."
)
TILLAGE = "Tillage is set to reduced (0.5), irrigation and residue removal to none, everywhere."

# column of the county file -> input; the units are those of the vocabulary
_ADAMS_SOIL = {
    "Bulk density": "bulk_density",
    "Field capacity": "field_capacity",
    "Wilting point": "wilting_point",
    "Ks": "ksat",
    "Sand content": "sand",
    "Silt content": "silt",
    "SOC": "soc_content",
}


def build_adams(data_dir: Path | str, path: Path | str, progress: Progress = quiet) -> Path:
    """Adams County, Illinois (FIPS 17001), 2000-2020: county weather and soil, satellite GPP of maize and soybean.

    Raises BadSource where a file is missing or wrong, CubeNotWritten.
    """
    import pandas as pd

    root = existing(data_dir, "data folder")
    years = range(2000, 2021)
    inputs = root / "kgml_da" / "il_17001_17003_inputs_daily_2000_2020.csv.gz"
    given = root / "vegetation" / "slope_gpp_il_17001_17003_daily_2000_2020.csv.gz"
    progress(0.0, "reading the county's weather, soil and GPP")
    columns = {
        "tmean": Column("Tair", "degC"),
        "relative_humidity": Column("RH", "%"),
        "wind": Column("Wind", "m s-1"),
        "precip": Column("Precipitation", "mm d-1"),
        "srad": Column("Radiation", "MJ m-2 d-1"),
    }
    county = find(read_outlines(existing(root / OUTLINES, "county outlines"), "counties"), ADAMS, OUTLINES)
    middle = county.geometry.centroid
    everyone = read_csv(
        [inputs], columns, years, year="Year", day_of_year="Day", station="fips", lon=middle.x, lat=middle.y
    )
    weather = complete(_only(everyone, ADAMS), estimate=["range"])
    table = pd.read_csv(inputs, dtype={"fips": str}).query("fips == @ADAMS")
    lacking = [c for c in _ADAMS_SOIL if c not in table.columns]
    if lacking or table.empty:
        raise BadSource(f"{inputs} has no {', '.join(lacking) or 'row of ' + ADAMS}. Take the file of the data folder.")
    soil = {name: float(table[column].iloc[0]) for column, name in _ADAMS_SOIL.items()}
    soil["clay"] = 1000.0 - soil["sand"] - soil["silt"]
    gpp = _slope(given, ADAMS, days_of(list(years)))
    expected = _expected(root, [ADAMS], years)

    grid = Grid()
    shape = on_grid(county.geometry, grid.crs)
    window = window_around(shape, grid)
    here = inside([shape], grid, window) >= 0
    progress(0.4, "writing the cube")
    notes = (
        *weather.notes,
        "Weather and soil are county means: all cells of a crop and rotation are alike.",
        "Given GPP (SLOPE) is a county mean per crop. Its years have 365 days, counted from 1 January: 31 December of "
        "leap years has none.",
        "clay is 1000 g kg-1 less sand and silt.",
        ROTATION,
        TILLAGE,
        expected.note,
        f"Sowing and harvest are the same every year: {CALENDAR_SOURCE}.",
    )
    about = About(
        id="adams",
        title="Adams County, Illinois, 2000-2020",
        statement=(
            "Adams County, Illinois, 2000-2020: county-mean weather (NLDAS-2), soil (gSSURGO) and satellite GPP "
            "(SLOPE) as published with KGML-DA; the daily extremes of temperature are estimated from radiation. The "
            "crop of each cell is a declared maize-soybean rotation, not a map; sowing and harvest are typical "
            "Illinois dates."
        ),
        licence="Evaluation only: the compilation states no licence (DigitalAgUMN/KGML-DA). Outline: public domain.",
        sources=(
            _source(inputs, "weather and soil", "none stated (KGML-DA; NLDAS-2, gSSURGO)"),
            _source(given, "given GPP", "none stated (KGML-DA; SLOPE, Jiang and Guan)"),
            _source(root / OUTLINES, "outline", CENSUS),
            *expected.sources,
            Source(name=CALENDAR_SOURCE, used_for="sowing and harvest", licence="public domain"),
            Source(name=CO2_SOURCE, used_for="co2", licence="public domain"),
        ),
        notes=notes,
    )
    with CubeWriter(path, about, grid, window, years) as cube:
        cube.weather(weather.daily, weather.lon, weather.lat, ["Adams County"], weather.flags)
        cube.weather_index(np.where(here, 0, -1))
        cube.static("latitude", latitudes(grid, window))
        for name, value in soil.items():
            cube.static(name, np.where(here, value, np.nan))
        crop = np.where(here[None], alternating(window, list(years)), 0)
        put_management(cube, crop, ILLINOIS, window)
        if expected.t_ha:
            put_expected(cube, crop, expected.t_ha, np.where(here, 0, -1), window)
        cube.gpp(gpp)
        cube.gpp_unit(np.select([crop == CORN, crop == SOYBEAN], [0, 1], -1))
        cube.outline(_feature(county))
        built = cube.finish()
    progress(1.0, "done")
    return built


def build_iowa(data_dir: Path | str, path: Path | str, progress: Progress = quiet) -> Path:
    """35 counties of Iowa, 2017-2022: county weather (HRRR), soils of SSURGO where there are any, else their mean.

    Raises BadSource where a file is missing or wrong, CubeNotWritten.
    """
    root = existing(data_dir, "data folder")
    years = range(2017, 2023)
    file = root / "weather" / "iowa35_hrrr_daily_2017_2022.csv.gz"
    progress(0.0, "reading weather")
    units = {
        "tmean": ("tmean_c", "degC"),
        "tmin": ("tmin_c", "degC"),
        "tmax": ("tmax_c", "degC"),
        "precip": ("precip_mm", "mm d-1"),
        "srad": ("srad_mj_m2", "MJ m-2 d-1"),
        "vpd": ("vpd_kpa", "kPa"),
        "wind": ("wind_ms", "m s-1"),
    }
    columns = {name: Column(*where) for name, where in units.items()}
    weather = complete(
        _with_flags(read_csv([file], columns, years, station="fips", lon="lon", lat="lat"), file), ["srad"]
    )
    features = read_outlines(existing(root / OUTLINES, "county outlines"), "counties")
    counties = [find(features, name, OUTLINES) for name in weather.names]

    grid = Grid()
    shapes = [on_grid(c.geometry, grid.crs) for c in counties]
    from shapely import union_all

    window = window_around(union_all(shapes), grid)
    county = inside(shapes, grid, window)

    expected = _expected(root, list(weather.names), years)

    progress(0.2, "reading soils")
    folders = sorted((root / "soil").glob("ssurgo_*_ia"))
    soil, default = _iowa_soils(folders, grid, window, county >= 0)
    surveyed = int(np.isfinite(soil["sand"]).sum()) if soil else 0
    notes = (
        *weather.notes,
        "Radiation of April and May 2021 was double in the source and is halved (srad_flag 1).",
        "Rain of the source is about 1.5 times too high in 2017 and too low from 2020; it is given here as it is.",
        f"Soil: {surveyed} cells lie on the SSURGO samples of three farms; every other cell has the mean of those "
        f"samples' map units by area, a declared default: "
        + ", ".join(f"{name} {value:.4g}" for name, value in default.items())
        + ".",
        ROTATION,
        TILLAGE,
        expected.note,
        f"Sowing and harvest are the same every year: {CALENDAR_SOURCE}.",
    )
    about = About(
        id="iowa",
        title="35 counties of Iowa, 2017-2022",
        statement=(
            "35 counties of Iowa, 2017-2022: county-mean weather from HRRR through CropNet, with known faults in "
            "radiation (repaired) and rain (not repaired: 2017 too wet, 2020 on too dry). Soils are one default for "
            "all but a few cells. The crop of each cell is a declared maize-soybean rotation, not a map; sowing and "
            "harvest are typical Iowa dates."
        ),
        licence="CropNet CC-BY-4.0 (weather); public domain (SSURGO, outlines)",
        sources=(
            _source(file, "weather", "CropNet (CC-BY-4.0) from NOAA HRRR (public domain)"),
            *(_source(f, "soil", "USDA SSURGO, public domain") for f in folders),
            _source(root / OUTLINES, "outlines", CENSUS),
            *expected.sources,
            Source(name=CALENDAR_SOURCE, used_for="sowing and harvest", licence="public domain"),
            Source(name=CO2_SOURCE, used_for="co2", licence="public domain"),
        ),
        notes=notes,
    )
    with CubeWriter(path, about, grid, window, years) as cube:
        cube.weather(
            weather.daily, weather.lon, weather.lat, [c.properties.get("name", c.id) for c in counties], weather.flags
        )
        cube.weather_index(county)
        cube.static("latitude", latitudes(grid, window))
        for name in PROPERTIES:
            filled = np.where(np.isfinite(soil[name]), soil[name], default[name])
            cube.static(name, np.where(county >= 0, filled, np.nan))
        bands = [
            Window(top, min(top + grid.block, window.row1), window.col0, window.col1)
            for top in range(window.row0, window.row1, grid.block)
        ]
        for k, band in enumerate(bands):
            progress(0.4 + 0.4 * k / len(bands), "writing crops and management")
            there = county[band.slices(window)]
            crop = np.where(there[None] >= 0, alternating(band, list(years)), 0)
            put_management(cube, crop, IOWA, band)
            if expected.t_ha:
                put_expected(cube, crop, expected.t_ha, there, band)
        cube.outline(_collection(counties))
        progress(0.8, "checking and hashing")
        built = cube.finish()
    progress(1.0, "done")
    return built


def _only(weather: Weather, name: str) -> Weather:
    if name not in weather.names:
        raise BadSource(f"The weather has no rows of '{name}'; it has: {', '.join(weather.names)}.")
    k = weather.names.index(name)
    daily = {n: v[k : k + 1] for n, v in weather.daily.items()}
    return Weather(weather.days, weather.lon[k : k + 1], weather.lat[k : k + 1], (name,), daily)


@dataclass(frozen=True, slots=True)
class _Expected:
    """t_ha: crop -> [county, year] at market moisture, NaN where unknown; empty where nothing is known of any."""

    t_ha: dict[str, Floats]
    note: str
    sources: tuple[Source, ...]


def _expected(root: Path, counties: Sequence[str], years: Sequence[int]) -> _Expected:
    """What the counties' reported yields of earlier years let expect of each year."""
    file = find_table(root, YIELDS)
    try:
        _, reported = read_histories(root, counties)
    except BadMeasurements as error:
        raise BadSource(str(error)) from error
    t_ha = {
        crop: np.array([lines_before(years, reported.get(fips, {}).get(crop)) for fips in counties])
        for crop in PANEL_CROPS
    }
    known = {crop: int(np.isfinite(values).any(axis=1).sum()) for crop, values in t_ha.items()}
    if file is None or not any(known.values()):
        return _Expected({}, f"yield_expected is not here: {YIELDS} has too few reports of these counties.", ())
    note = (
        f"yield_expected is the straight line through a county's last {WINDOW} reported yields before the year in "
        f"question, missing with fewer than {FEWEST}; it is known in some year of "
        + ", ".join(f"{count} of {len(counties)} counties for {crop}" for crop, count in known.items())
        + ", and the same on all cells of a county and crop."
    )
    return _Expected(t_ha, note, (_source(file, "expected yield", "USDA NASS, public domain"),))


def _slope(file: Path, fips: str, days: Any) -> Any:
    """[2, D] given GPP of maize and soybean; NaN on 31 December of leap years, which the file does not have."""
    import pandas as pd

    table = pd.read_csv(existing(file, "file of given GPP"), dtype={"fips": str})
    if not {"fips", "crop", "year", "doy", "GPP_gC_m2_d"} <= set(table.columns):
        raise BadSource(
            f"{file} has the columns {', '.join(table.columns)}; it needs fips, crop, year, doy, GPP_gC_m2_d."
        )
    table = table[table["fips"] == fips]
    result = np.full((2, days.size), np.nan)
    for k, crop in enumerate(("corn", "soy")):
        rows = table[table["crop"].str.startswith(crop)]
        first = rows["year"].astype(str).to_numpy(str).astype("datetime64[Y]").astype("datetime64[D]")
        slot = (first + (rows["doy"].to_numpy(int) - 1) - days[0]).astype(int)
        keep = (slot >= 0) & (slot < days.size)
        if not keep.any():
            raise BadSource(f"{file} has no GPP of {crop} for {fips} in {days[0]} to {days[-1]}.")
        result[k, slot[keep]] = rows["GPP_gC_m2_d"].to_numpy(float)[keep]
    return result


def _with_flags(weather: Weather, file: Path) -> Weather:
    import pandas as pd

    table = pd.read_csv(file, dtype={"fips": str}, usecols=["fips", "date", "srad_flag"])
    flag = np.zeros((len(weather.names), weather.days.size), np.uint8)
    row = np.searchsorted(np.array(weather.names), table["fips"].to_numpy(str))
    slot = (pd.to_datetime(table["date"]).to_numpy("datetime64[D]") - weather.days[0]).astype(int)
    flag[row, slot] = table["srad_flag"].to_numpy()
    meaning = "0 as in the source; 1 halved, double in the source; 2 estimated, missing in the source"
    return Weather(
        weather.days, weather.lon, weather.lat, weather.names, weather.daily, {"srad": (flag, meaning)}, weather.notes
    )


def _iowa_soils(folders: list[Path], grid: Grid, window: Window, here: Any) -> tuple[dict[str, Any], dict[str, float]]:
    """Soil of the surveyed cells, NaN elsewhere, and the mean over all map units of the samples by area."""
    from fieldflux.tiles.readers.ssurgo import unit_mean
    from shapely import union_all

    if not folders:
        raise BadSource("The data folder has no SSURGO samples (soil/ssurgo_*_ia) to take soils from.")
    soil = {name: np.full(window.shape, np.nan) for name in PROPERTIES}
    area: list[float] = []
    values: list[list[float]] = []
    for folder in folders:
        survey = read_ssurgo(folder)
        placed = [(key, on_grid(geometry, grid.crs)) for key, geometry in survey.polygons]
        part = grid.window_of(*union_all([g for _, g in placed]).bounds).intersect(window)
        if part is not None:
            top, _ = soil_on_grid(survey, grid, part, LAYERS[:1])
            for name in PROPERTIES:
                soil[name][part.slices(window)] = np.where(here[part.slices(window)], top[name], np.nan)
        for key, geometry in placed:
            area.append(geometry.area)
            values.append([unit_mean(survey.units.get(key, ()), name, 0.0, 0.30) for name in PROPERTIES])
    table, weight = np.array(values), np.array(area)[:, None]
    known = np.isfinite(table)
    mean = np.where(known, table * weight, 0).sum(axis=0) / (known * weight).sum(axis=0)
    default = dict(zip(PROPERTIES, mean.tolist(), strict=True))
    default["silt"] = 1000.0 - default["sand"] - default["clay"]
    return soil, default


def _source(path: Path, used_for: str, licence: str) -> Source:
    return Source(name=path.name, used_for=used_for, licence=licence, sha256=sha256_of(path))


def _feature(feature: Feature) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": feature.id,
        "properties": dict(feature.properties),
        "geometry": geojson(feature.geometry),
    }


def _collection(features: list[Feature]) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": [_feature(f) for f in features]}
