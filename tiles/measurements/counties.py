"""Climate and topsoil of counties of the United States where maize is grown, and which county a place lies in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .tables import Array, BadMeasurements, find, numbers, read_table

if TYPE_CHECKING:
    import geopandas as gpd

BIOPHYSICS = "yield/schumacher_us_corn_biophys_2008_2018.csv.gz"
YIELDS = "yield/us_county_yields.csv.gz"
SHAPES = "boundaries/us-atlas_counties-10m.json"
FEWEST_YEARS = 3
REACH = 60.0  # km to the centre of another county; beyond it, climate and soils are another's
YIELD_YEARS = (2008, 2018)

# name -> (column, factor to the unit). The file's T_SAND is a copy of T_GRAVEL: sand is what clay and silt leave.
_COLUMNS: Mapping[str, tuple[str, float]] = {
    "mean_temperature": ("BV1", 1.0),  # degC
    "diurnal_range": ("BV2", 1.0),  # K
    "temperature_sd": ("BV4", 0.01),  # K, of monthly means
    "warm_quarter_temperature": ("BV10", 1.0),  # degC
    "cold_quarter_temperature": ("BV11", 1.0),  # degC
    "precipitation": ("BV12", 1.0),  # mm yr-1
    "precipitation_cv": ("BV15", 1.0),  # %, of monthly sums
    "warm_quarter_precipitation": ("BV18", 1.0),  # mm
    "cold_quarter_precipitation": ("BV19", 1.0),  # mm
    "clay": ("T_CLAY", 10.0),  # g kg-1
    "silt": ("T_SILT", 10.0),  # g kg-1
    "bulk_density": ("T_REF_BULK_DENSITY", 1.0),  # Mg m-3
    "gravel": ("T_GRAVEL", 0.01),  # volume share
    "ph": ("T_PH_H2O", 1.0),
    "cec": ("T_CEC_SOIL", 1.0),  # cmol kg-1
    "map_carbon": ("T_OC", 10.0),  # gC kg-1 of a soil map: an estimate of what is to be predicted
    "elevation": ("ELEVATION", 1.0),  # m
    "slope": ("SLOPE", 1.0),  # degrees
    "irrigated": ("PERC_IRR", 0.01),  # share of the cropland
}


@dataclass(frozen=True, slots=True, eq=False)
class Counties:
    """k counties. fips: [k], rising. latitude, longitude: [k] of the centre. years: [k] how many were averaged.

    values: name -> [k], means of the years 2008 to 2018 that the county has (climate) or constants (topsoil 0-30 cm of
    HWSD); sand, g kg-1, is what clay and silt leave. corn_yield: t ha-1 at market moisture, 2008-2018, NaN where none.
    """

    fips: NDArray[np.int64]
    latitude: Array
    longitude: Array
    years: NDArray[np.int64]
    values: Mapping[str, Array]


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Counties of n places. inside: [n] FIPS of the county around the place, -1 in none (sea, abroad).

    row: [n] index of the county whose values stand for the place: the one around it, otherwise the one with the nearest
    centre within 60 km, otherwise -1. distance: [n] km to the centre of that county, NaN without one.
    """

    inside: NDArray[np.int64]
    row: NDArray[np.int64]
    distance: Array


def read_counties(data_dir: Path) -> Counties | None:
    """The counties with at least three years of climate; None without the files. Raises BadMeasurements."""
    path, shapes = find(data_dir, BIOPHYSICS), _shapes(data_dir)
    if path is None or shapes is None:
        return None
    needed = ("GEOID", "YEAR", *(column for column, _ in _COLUMNS.values()))
    table = read_table(path, needed)
    doubled = table.duplicated(["GEOID", "YEAR"])
    if bool(doubled.any()):
        raise BadMeasurements(
            f"{path} has a county and year twice, first in line {int(doubled.to_numpy().argmax()) + 2}."
        )
    grouped = table.groupby("GEOID")
    mean, count = grouped[[column for column, _ in _COLUMNS.values()]].mean(), grouped.size()
    centres = shapes.to_crs(5070).geometry.centroid.to_crs(4326)
    kept = [int(f) for f in mean.index if int(count[f]) >= FEWEST_YEARS and int(f) in centres.index]
    rows = mean.loc[kept]
    values = {name: rows[column].to_numpy(np.float64) * factor for name, (column, factor) in _COLUMNS.items()}
    values["sand"] = 1000.0 - values["clay"] - values["silt"]
    values["corn_yield"] = _corn(data_dir, kept)
    at = centres.loc[kept]
    years = np.array([int(count[f]) for f in kept], np.int64)
    return Counties(np.array(kept, np.int64), at.y.to_numpy(np.float64), at.x.to_numpy(np.float64), years, values)


def join(data_dir: Path, counties: Counties, latitude: Array, longitude: Array) -> Joined:
    """Which county each place [n] takes its values from. Raises BadMeasurements without the file of boundaries."""
    shapes = _shapes(data_dir)
    if shapes is None:
        raise BadMeasurements(f"The folder {data_dir} has no {SHAPES}: counties cannot be told without it.")
    return Joined(*_join(shapes, counties, latitude, longitude))


def _join(
    shapes: gpd.GeoDataFrame, counties: Counties, latitude: Array, longitude: Array
) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    import shapely

    points = shapely.points(longitude, latitude)
    place, shape = shapes.sindex.query(points, predicate="within")
    inside = np.full(len(latitude), -1, np.int64)
    inside[place] = shapes.index.to_numpy(np.int64)[shape]
    row_of = {int(f): i for i, f in enumerate(counties.fips)}
    row = np.array([row_of.get(int(f), -1) for f in inside], np.int64)
    nearest, away = _nearest(counties, latitude, longitude)
    row = np.where((row < 0) & (away <= REACH), nearest, row)
    distance = np.full(len(latitude), np.nan)
    has = row >= 0
    distance[has] = kilometres(latitude[has], longitude[has], counties.latitude[row[has]], counties.longitude[row[has]])
    return inside, row, distance


def _nearest(counties: Counties, latitude: Array, longitude: Array) -> tuple[NDArray[np.int64], Array]:
    from scipy.spatial import cKDTree

    def sphere(lat: Array, lon: Array) -> Array:
        a, b = np.radians(lat), np.radians(lon)
        return np.column_stack([np.cos(a) * np.cos(b), np.cos(a) * np.sin(b), np.sin(a)])

    chord, nearest = cKDTree(sphere(counties.latitude, counties.longitude)).query(sphere(latitude, longitude))
    return np.asarray(nearest, np.int64), np.asarray(2.0 * 6371.0 * np.arcsin(np.clip(chord / 2.0, 0.0, 1.0)))


def kilometres(lat: Array, lon: Array, to_lat: Array, to_lon: Array) -> Array:
    """Great-circle distance, km, on a sphere of 6371 km.

    >>> round(float(kilometres(np.array(0.0), np.array(0.0), np.array(1.0), np.array(0.0))), 2)
    111.19
    """
    a, b = np.radians(lat), np.radians(to_lat)
    half = np.sin((b - a) / 2) ** 2 + np.cos(a) * np.cos(b) * np.sin(np.radians(to_lon - lon) / 2) ** 2
    return np.asarray(2.0 * 6371.0 * np.arcsin(np.sqrt(np.clip(half, 0.0, 1.0))), np.float64)


def _corn(data_dir: Path, fips: list[int]) -> Array:
    path = find(data_dir, YIELDS)
    if path is None:
        return np.full(len(fips), np.nan)
    table = read_table(path, ("fips", "year", "crop", "yield_t_ha"), ("crop",))
    first, last = YIELD_YEARS
    table = table[(table["crop"] == "corn") & table["year"].between(first, last)]
    mean = table.assign(fips=numbers(table, "fips", path).astype(int)).groupby("fips")["yield_t_ha"].mean()
    return mean.reindex(fips).to_numpy(np.float64)


def _shapes(data_dir: Path) -> gpd.GeoDataFrame | None:
    """County shapes by FIPS, WGS84; None without the file."""
    import geopandas as gpd
    import shapely

    path = find(data_dir, SHAPES)
    if path is None:
        return None
    table = gpd.read_file(path, engine="pyogrio", layer="counties")
    table = table.set_index(table["id"].astype(int)).set_crs(4326, allow_override=True)
    # A few outlines touch themselves after the file's coarse rounding.
    table["geometry"] = shapely.make_valid(table.geometry.to_numpy())
    return table[["geometry"]]
