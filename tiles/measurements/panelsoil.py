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


def points_of(fips: str, surveys: Mapping[str, Soils]) -> tuple[Mapping[str, Array], str] | None:
    """name -> [point] of a county and a sentence on where they are from; None where there is no survey at all.

    The survey of the county if it has one, otherwise all of them: map units drawn by area, always the same for a
    county.
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
    return {name: soils.values[drawn, k] for k, name in enumerate(NAMES)}, said


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
