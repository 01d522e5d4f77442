"""Soils of the counties of the yield panel: a few points each, whole map units, so that properties belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fieldflux.tiles.readers.errors import BadSource
from fieldflux.tiles.readers.ssurgo import read_ssurgo, unit_mean

from .tables import Array, BadMeasurements, find, numbers, read_table

COUNTY = "kgml_da/il_17001_17003_inputs_daily_2000_2020.csv.gz"
SURVEYS = {"19015": "ssurgo_boone_ia", "19073": "ssurgo_greene_ia", "19183": "ssurgo_washington_ia"}
NAMES = ("bulk_density", "sand", "silt", "clay", "field_capacity", "wilting_point", "ksat", "soc_content")
PEDONS = "soc/raca_soc_pedons.csv.gz"
REACH = 60.0  # km
FEWEST = 3
POINTS = 5
SEED = 17

# column of the county file -> input; the units are those of the vocabulary
_COLUMNS = {
    "Bulk density": "bulk_density",
    "Field capacity": "field_capacity",
    "Wilting point": "wilting_point",
    "Ks": "ksat",
    "Sand content": "sand",
    "Silt content": "silt",
    "SOC": "soc_content",
}


@dataclass(frozen=True, slots=True, eq=False)
class Soils:
    """Map units of a survey. values: [unit, property of NAMES], 0-30 cm. weight: [unit], their share of the area."""

    values: Array
    weight: Array


def read_surveys(data_dir: Path) -> dict[str, Soils]:
    """County (FIPS) -> map units of the survey that lies in it; {} without any. Raises BadMeasurements."""
    found = {}
    for fips, folder in SURVEYS.items():
        path = data_dir / "soil" / folder
        if not path.is_dir():
            continue
        try:
            survey = read_ssurgo(path)
        except BadSource as error:
            raise BadMeasurements(str(error)) from error
        area: dict[str, float] = {}
        for key, shape in survey.polygons:
            # Square degrees: within one farm they are as good as hectares for a share.
            area[key] = area.get(key, 0.0) + shape.area
        values = np.array([[unit_mean(survey.units.get(k, ()), name, 0.0, 0.30) for name in NAMES] for k in area])
        weight = np.array(list(area.values()))
        whole = np.isfinite(values).all(axis=1)
        found[fips] = _merged(values[whole], weight[whole])
    return found


def _merged(values: Array, weight: Array) -> Soils:
    """Units with the same soil as one: kept apart (they differ by slope), they would be drawn as if they were two."""
    alike, which = np.unique(np.round(values, 6), axis=0, return_inverse=True)
    share = np.bincount(which.ravel(), weight, len(alike))
    return Soils(alike, share / share.sum())


@dataclass(frozen=True, slots=True, eq=False)
class Pedons:
    """Cropland pedons of the Rapid Carbon Assessment. stock: [pedon], organic carbon of 0-30 cm, Mg ha-1."""

    latitude: Array
    longitude: Array
    stock: Array

    def near(self, latitude: float, longitude: float) -> float | None:
        """Mean stock around a place, Mg ha-1, weighed by distance (Gaussian); None with too few within two reaches."""
        north = 111.2 * (self.latitude - latitude)
        east = 111.2 * np.cos(np.radians(latitude)) * (self.longitude - longitude)
        distance = np.hypot(north, east)
        if (distance < 2 * REACH).sum() < FEWEST:
            return None
        weight = np.exp(-0.5 * (distance / REACH) ** 2)
        return float((weight * self.stock).sum() / weight.sum())


def read_pedons(data_dir: Path) -> Pedons | None:
    """Mineral cropland soils of the Rapid Carbon Assessment; None without the file. Raises BadMeasurements."""
    path = find(data_dir, PEDONS)
    if path is None:
        return None
    table = read_table(path, ("LU", "Gen_lat", "Gen_long", "SOCstock30"), ("LU",))
    columns = np.column_stack([numbers(table, name, path) for name in ("Gen_lat", "Gen_long", "SOCstock30")])
    # Above 300 Mg ha-1 they are organic soils, or a fault.
    kept = columns[(table["LU"] == "C").to_numpy() & np.isfinite(columns).all(axis=1) & (columns[:, 2] <= 300)]
    return Pedons(kept[:, 0], kept[:, 1], kept[:, 2])


def points_of(
    fips: str, surveys: Mapping[str, Soils], stock: float | None = None
) -> tuple[Mapping[str, Array], str] | None:
    """name -> [point] of a county and a sentence on where they are from; None where there is no survey at all.

    The survey of the county if it has one, otherwise all of them: map units drawn by area, always the same for a
    county. stock: carbon of the cropland around, Mg ha-1 in 0-30 cm, which units from elsewhere are scaled to have on
    average: it tells counties apart, as the units do not.
    """
    if not surveys:
        return None
    own = fips in surveys
    chosen = [surveys[fips]] if own else list(surveys.values())
    soils = _merged(np.concatenate([s.values for s in chosen]), np.concatenate([s.weight for s in chosen]))
    size = len(soils.weight)
    drawn = np.random.default_rng([SEED, int(fips)]).choice(size, POINTS, replace=size < POINTS, p=soils.weight)
    where = "the SSURGO sample of the county" if own else "the SSURGO samples of three farms in Iowa, not of the county"
    said = f"Soil: {POINTS} map units drawn by area (seed {SEED}) from {where}."
    points = {name: soils.values[drawn, k] for k, name in enumerate(NAMES)}
    if not own and stock is not None:
        # g kg-1 x Mg m-3 over 0.3 m is 3 Mg ha-1
        points["soc_content"] = (
            points["soc_content"] * stock / (3.0 * points["soc_content"] * points["bulk_density"]).mean()
        )
        said += f" Their carbon is scaled to the mean of RaCA cropland pedons around, {stock:.0f} Mg ha-1 in 0-30 cm."
    return points, said


def county_soil(data_dir: Path, fips: str) -> tuple[Mapping[str, Array], str] | None:
    """The one soil, a county mean, of Adams or Alexander County, Illinois; None where the file has none.

    Raises BadMeasurements.
    """
    path = find(data_dir, COUNTY)
    if path is None:
        return None
    table = read_table(path, ("fips", *_COLUMNS))
    rows = table[numbers(table, "fips", path) == int(fips)]
    if rows.empty:
        return None
    soil = {name: np.array([float(rows[column].iloc[0])]) for column, name in _COLUMNS.items()}
    soil["clay"] = 1000.0 - soil["sand"] - soil["silt"]
    return soil, "Soil: one county mean (gSSURGO); clay is 1000 g kg-1 less sand and silt."
