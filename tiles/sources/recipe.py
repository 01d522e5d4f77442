"""A cube from a user's own files, by a recipe in TOML or JSON.

    id = "smith-farms"
    title = "Smith farms, Reno County, Kansas"
    licence = "own data"
    years = [2019, 2021]                          # first and last, whole calendar years

    [region]                                      # bounds in degrees: west, south, east, north; or an outline
    outline = "farms.geojson"                     # GeoJSON, TopoJSON, shapefile, GeoPackage; `feature` picks one by id

    [weather]
    files = ["weather/*.csv"]                     # or .nc, or Zarr folders
    station = "site"                              # columns that tell places and days; year and day_of_year also do
    date = "date"
    lon = "lon"
    lat = "lat"
    missing = [-9999]
    estimate = ["range"]                          # what may be estimated: range, srad, vpd
    fill_gaps = 3                                 # days to bridge by straight lines, rain excepted

    [weather.columns]                             # quantity = [column, unit]
    tmin = ["tmin_f", "degF"]
    tmax = ["tmax_f", "degF"]
    precip = ["rain", "in d-1"]
    srad = ["rs", "W m-2"]
    relative_humidity = ["rh", "%"]               # or vpd, vapour_pressure, dewpoint
    wind = ["u2", "m s-1"]

    [soil]                                        # what comes first wins, cell by cell
    ssurgo = ["ssurgo/KS155"]
    rasters.clay = { file = "clay.tif", factor = 10 }

    [soil.values]
    bulk_density = 1.35
    sand = 300
    field_capacity = 0.31
    wilting_point = 0.15
    ksat = 12
    soc_content = 15

    [crops]
    rasters = { 2021 = "cdl_2021.tif" }           # codes of the Cropland Data Layer; `codes` renames other ones
    otherwise = "maize-soybean"                   # years without a raster: this declared rotation, or one code

    [calendar]
    maize = { sowing = 125, harvest = 280 }

    [management]
    tillage = 0.5

Paths are relative to the recipe. A mistake in it is told by the place where it stands.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import Any, Literal

import numpy as np
from fieldflux.models.crops import CROPS
from fieldflux.models.variables import VARIABLES
from fieldflux.tiles.atmosphere import CO2_SOURCE
from fieldflux.tiles.cubefile import OPTIONAL_STATIC, About, CubeWriter, Progress, Source, sha256_of
from fieldflux.tiles.grid import BadGrid, Grid, Window
from fieldflux.tiles.readers.errors import BadSource
from fieldflux.tiles.readers.outlines import find, on_grid, read_outlines
from fieldflux.tiles.readers.rasters import check_raster, read_classes, read_means
from fieldflux.tiles.readers.ssurgo import PROPERTIES, Survey, read_ssurgo, soil_on_grid
from fieldflux.tiles.readers.weather import Column, Weather, complete, nearest, read_csv, read_gridded
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .parts import Season, alternating, geojson, inside, latitudes, put_management, window_around
from .progress import quiet

REQUIRED_SOIL = tuple(name for name in PROPERTIES if name not in OPTIONAL_STATIC)


class BadRecipe(ValueError):
    """A recipe that cannot be followed."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RegionPart(_Part):
    bounds: tuple[float, float, float, float] | None = None
    outline: str | None = None
    layer: str | None = None
    feature: str | None = None


class WeatherPart(_Part):
    files: list[str] = Field(min_length=1)
    columns: dict[str, tuple[str, str]]
    licence: str = ""
    date: str | None = "date"
    year: str | None = None
    day_of_year: str | None = None
    station: str | None = None
    time: str = "time"
    lon: str | float | None = None
    lat: str | float | None = None
    missing: list[float] = []
    estimate: list[str] = []
    fill_gaps: int = Field(default=0, ge=0, le=30)


class RasterPart(_Part):
    file: str
    band: int = 1
    factor: float = 1.0
    offset: float = 0.0


class SoilPart(_Part):
    ssurgo: list[str] = []
    rasters: dict[str, RasterPart] = {}
    values: dict[str, float] = {}
    licence: str = ""


class CropsPart(_Part):
    rasters: dict[int, str] = {}
    codes: dict[int, int] = {}
    otherwise: Literal["maize-soybean"] | int | None = None
    licence: str = ""


class SeasonPart(_Part):
    sowing: float = Field(ge=1, le=366)
    harvest: float = Field(ge=1, le=366)


class ManagementPart(_Part):
    tillage: float = Field(default=0.5, ge=0, le=1)
    irrigated: float = Field(default=0.0, ge=0, le=1)
    residue_removed: float = Field(default=0.0, ge=0, le=1)


class Recipe(_Part):
    """The tables of a recipe."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    title: str
    licence: str
    years: tuple[int, int]
    region: RegionPart
    weather: WeatherPart
    soil: SoilPart
    crops: CropsPart
    calendar: dict[str, SeasonPart]
    management: ManagementPart = ManagementPart()
    statement: str = ""
    grid: dict[str, Any] = {}


def read_recipe(path: Path | str) -> Recipe:
    """Read and check a recipe. Raises BadRecipe with the place of each mistake."""
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
        stated = json.loads(text) if file.suffix.lower() == ".json" else tomllib.loads(text)
    except OSError as error:
        raise BadRecipe(f"The recipe {file} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise BadRecipe(f"The recipe {file} is not valid TOML or JSON: {error}.") from error
    try:
        recipe = Recipe.model_validate(stated)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in error.errors())
        raise BadRecipe(f"The recipe {file} has mistakes: {wrong}.") from error
    first, last = recipe.years
    unknown = [c for c in recipe.calendar if c not in CROPS]
    soil = [n for n in (*recipe.soil.values, *recipe.soil.rasters) if n not in (*PROPERTIES, "elevation")]
    problems = [
        f"years: the last year {last} comes before the first, {first}" if last < first else "",
        f"calendar: no crop '{unknown[0]}'; the crops are {', '.join(CROPS)}" if unknown else "",
        f"soil: no property '{soil[0]}'; the properties are {', '.join(PROPERTIES)}, elevation" if soil else "",
        "region: give either bounds or an outline"
        if (recipe.region.bounds is None) == (recipe.region.outline is None)
        else "",
        _crop_problem(recipe),
    ]
    found = [p for p in problems if p]
    if found:
        raise BadRecipe(f"The recipe {file} has mistakes: {'; '.join(found)}.")
    return recipe


def build_from_files(path: Path | str, out: Path | str | None = None, progress: Progress = quiet) -> Path:
    """Build the cube of a recipe at `out`, "<id>.zarr" here where it is not given.

    Raises BadRecipe, BadSource, CubeNotWritten.
    """
    recipe = read_recipe(path)
    files = _Files(Path(path).resolve().parent)
    years = tuple(range(recipe.years[0], recipe.years[1] + 1))
    progress(0.0, "reading the region")
    try:
        grid = Grid(**recipe.grid)
    except (TypeError, BadGrid) as error:
        raise BadRecipe(f"The recipe {path} has mistakes: grid: {error}.") from error
    window, shape, outline = _region(recipe.region, grid, files)
    progress(0.1, "reading weather")
    weather = _weather(recipe.weather, years, grid, window, files)
    progress(0.3, "reading soils")
    surveys = [read_ssurgo(files.one(folder, "soil", recipe.soil.licence)) for folder in recipe.soil.ssurgo]
    soil = _Soil(recipe.soil, surveys, files, grid, window)
    crops = _Crops(recipe.crops, years, files, grid, window)
    calendar = {crop: Season(s.sowing, s.harvest) for crop, s in recipe.calendar.items()}

    notes = [*weather.notes, *soil.notes, *crops.notes]
    notes.append("Sowing, harvest, tillage, irrigation and residue removal are the same every year, by the recipe.")
    sources = [*files.used, Source(name=CO2_SOURCE, used_for="co2", licence="public domain")]
    statement = recipe.statement or f"{recipe.title}. Inputs: {', '.join(s.name for s in files.used)}."
    about = About(recipe.id, recipe.title, statement, recipe.licence, False, sources, notes)
    with CubeWriter(out or f"{recipe.id}.zarr", about, grid, window, years) as cube:
        cube.weather(weather.daily, weather.lon, weather.lat, weather.names, weather.flags)
        if surveys:
            from fieldflux.tiles.readers.ssurgo import LAYERS

            cube.layers([top for top, _ in LAYERS], [bottom for _, bottom in LAYERS])
        parts = [p for b in window.blocks(grid) if (p := b.window(grid).intersect(window)) is not None]
        for k, part in enumerate(parts):
            progress(0.35 + 0.55 * k / len(parts), f"writing block {k + 1} of {len(parts)}")
            here = inside([shape], grid, part) >= 0 if shape is not None else np.ones(part.shape, bool)
            _place_weather(cube, weather, grid, part, here)
            soil.put(cube, grid, part, here)
            cube.static("latitude", latitudes(grid, part), part)
            codes = np.where(here[None], crops.of(grid, part), 0)
            put_management(cube, codes, calendar, part, **recipe.management.model_dump())
        if outline is not None:
            cube.outline(outline)
        progress(0.95, "checking and hashing")
        built = cube.finish()
    progress(1.0, "done")
    return built


class _Files:
    """Finds files relative to the recipe, and remembers what was used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.used: list[Source] = []

    def one(self, name: str, used_for: str, licence: str) -> Path:
        path = self.folder / name
        if not path.exists():
            raise BadSource(f"The recipe names {path} for {used_for}, which does not exist.")
        self.used.append(Source(name=path.name, used_for=used_for, licence=licence, sha256=sha256_of(path)))
        return path

    def all(self, patterns: Sequence[str], used_for: str, licence: str) -> list[Path]:
        found: list[Path] = []
        for pattern in patterns:
            matching = sorted(glob(pattern, root_dir=self.folder)) if has_magic(pattern) else [pattern]
            if not matching:
                raise BadSource(f"No file matches '{pattern}' in {self.folder}.")
            found += [self.one(name, used_for, licence) for name in matching]
        return found


def _region(part: RegionPart, grid: Grid, files: _Files) -> tuple[Window, Any, dict[str, Any] | None]:
    """The window, the outline on the grid's plane (None for bounds), and the outline as GeoJSON."""
    from shapely import box, segmentize, union_all

    if part.bounds is not None:
        west, south, east, north = part.bounds
        if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
            raise BadRecipe(
                f"region.bounds are west, south, east, north in degrees, not {list(part.bounds)}. Check their order."
            )
        return window_around(on_grid(segmentize(box(*part.bounds), 0.05), grid.crs), grid), None, None
    file = files.one(str(part.outline), "outline", "")
    features = read_outlines(file, part.layer)
    chosen = [find(features, part.feature, file)] if part.feature else features
    whole = union_all([f.geometry for f in chosen])
    shape = on_grid(whole, grid.crs)
    return window_around(shape, grid), shape, {"type": "Feature", "properties": {}, "geometry": geojson(whole)}


def _weather(part: WeatherPart, years: Sequence[int], grid: Grid, window: Window, files: _Files) -> Weather:
    paths = files.all(part.files, "weather", part.licence)
    columns = {name: Column(*where) for name, where in part.columns.items()}
    if paths[0].suffix in (".nc", ".nc4", ".cdf", ".zarr") or paths[0].is_dir():
        x, y = grid.edges(window)
        lon, lat = grid.to_lonlat(*np.meshgrid(x, y))
        margin = 0.5
        bounds = (
            float(lon.min()) - margin,
            float(lat.min()) - margin,
            float(lon.max()) + margin,
            float(lat.max()) + margin,
        )
        lon_name, lat_name = (v if isinstance(v, str) else d for v, d in ((part.lon, "lon"), (part.lat, "lat")))
        weather = read_gridded(paths, columns, years, time=part.time, lon=lon_name, lat=lat_name, bounds=bounds)
    else:
        weather = read_csv(
            paths,
            columns,
            years,
            date=part.date,
            year=part.year,
            day_of_year=part.day_of_year,
            station=part.station,
            lon=part.lon,
            lat=part.lat,
            missing=part.missing,
        )
    return complete(weather, part.estimate, part.fill_gaps)


def _place_weather(cube: CubeWriter, weather: Weather, grid: Grid, part: Window, here: NDArray[np.bool_]) -> None:
    rows, cols = part.cells()
    lon, lat = grid.to_lonlat(*grid.centres(rows, cols))
    index = nearest(weather.lon, weather.lat, lon, lat).reshape(part.shape)
    cube.weather_index(np.where(here, index, -1), part)


class _Soil:
    """Soil of a window: SSURGO first, then rasters, then the values of the recipe."""

    def __init__(self, part: SoilPart, surveys: Sequence[Survey], files: _Files, grid: Grid, window: Window) -> None:
        self._surveys, self._values = surveys, part.values
        self._rasters = {n: (files.one(r.file, f"soil: {n}", part.licence), r) for n, r in part.rasters.items()}
        for file, how in self._rasters.values():
            check_raster(file, grid, window, how.band)
        self.notes: list[str] = []
        given = {*part.values, *part.rasters, *(PROPERTIES if surveys else ())}
        if {"sand", "clay"} <= given or {"sand", "silt"} <= given or {"silt", "clay"} <= given:
            given |= {"sand", "silt", "clay"}
        lacking = [n for n in REQUIRED_SOIL if n not in given]
        if lacking:
            raise BadRecipe(
                f"The soil of the recipe lacks {', '.join(f'{n} ({VARIABLES[n].unit})' for n in lacking)}. Give "
                f"rasters, values, or a SSURGO folder."
            )
        self._names = [n for n in (*PROPERTIES, "elevation") if n in given]
        if part.values:
            values = ", ".join(f"{n} {v:g}" for n, v in part.values.items())
            self.notes.append(f"Where nothing else is known of the soil, it has these values of the recipe: {values}.")

    def put(self, cube: CubeWriter, grid: Grid, window: Window, here: NDArray[np.bool_]) -> None:
        found = {n: np.full(window.shape, np.nan) for n in (*PROPERTIES, "elevation")}
        layers: dict[str, NDArray[Any]] = {}
        for survey in self._surveys:
            top, deep = soil_on_grid(survey, grid, window)
            for name in PROPERTIES:
                found[name] = np.where(np.isnan(found[name]), top[name], found[name])
                before = layers.get(name, deep[name])
                layers[name] = np.where(np.isnan(before), deep[name], before)
        for name, (file, how) in self._rasters.items():
            values = read_means(file, grid, window, how.band) * how.factor + how.offset
            found[name] = np.where(np.isnan(found[name]), values, found[name])
        for name, value in self._values.items():
            found[name] = np.where(np.isnan(found[name]), value, found[name])
        for name, others in (("clay", ("sand", "silt")), ("silt", ("sand", "clay")), ("sand", ("silt", "clay"))):
            rest = 1000.0 - found[others[0]] - found[others[1]]
            found[name] = np.where(np.isnan(found[name]), rest, found[name])
        for name in self._names:
            cube.static(name, np.where(here, found[name], np.nan), window)
        for name, values in layers.items():
            cube.by_layer(name, np.where(here[None], values, np.nan), window)


class _Crops:
    """Crops of a window: rasters of some years, a declared rotation or one crop for the others."""

    def __init__(self, part: CropsPart, years: Sequence[int], files: _Files, grid: Grid, window: Window) -> None:
        self._part, self._years = part, years
        self._files = {y: files.one(f, f"crops {y}", part.licence) for y, f in part.rasters.items() if y in years}
        for file in self._files.values():
            check_raster(file, grid, window)
        rest = [y for y in years if y not in self._files]
        self.notes: list[str] = []
        if rest:
            what = "maize and soybean in turn" if part.otherwise == "maize-soybean" else f"code {part.otherwise}"
            self.notes.append(f"Crops of {', '.join(map(str, rest))} are declared, not mapped: {what}.")

    def of(self, grid: Grid, window: Window) -> NDArray[np.int64]:
        """[Y, rows, cols] codes of the Cropland Data Layer, 0 = none."""
        rotation = alternating(window, list(self._years))
        result = np.zeros_like(rotation)
        for k, year in enumerate(self._years):
            if year in self._files:
                classes = read_classes(self._files[year], grid, window)
                renamed = classes.copy()
                for theirs, ours in self._part.codes.items():
                    renamed[classes == theirs] = ours
                result[k] = np.where((renamed > 0) & (renamed < 256), renamed, 0)
            else:
                result[k] = rotation[k] if self._part.otherwise == "maize-soybean" else (self._part.otherwise or 0)
        return result


def _crop_problem(recipe: Recipe) -> str:
    rest = [y for y in range(recipe.years[0], recipe.years[1] + 1) if y not in recipe.crops.rasters]
    if rest and recipe.crops.otherwise is None:
        return (
            f"crops: no raster for {', '.join(map(str, rest))}, and no 'otherwise' (\"maize-soybean\" or a code) that "
            f"says what grew then"
        )
    return ""
