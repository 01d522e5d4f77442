"""CoverageJSON: for each feature a coverage of the domain PolygonSeries, and a second one for yearly variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from fieldflux.app.collection import Collection, Feature, problem_body
from fieldflux.app.problems import Refused
from fieldflux.models.variables import VARIABLES
from numpy.typing import NDArray

from .table import table_of
from .text import about_of

if TYPE_CHECKING:
    from fieldflux.tiles.series import Values
    from fieldflux.tiles.zonal import Shape

_REFERENCES: list[dict[str, Any]] = [
    {
        "coordinates": ["x", "y"],
        "system": {"type": "GeographicCRS", "id": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"},
    },
    {"coordinates": ["t"], "system": {"type": "TemporalRS", "calendar": "Gregorian"}},
]


def as_covjson(asked: Collection, features: Sequence[Feature]) -> bytes:
    """A CoverageCollection (a single Coverage of one polygon with one kind of step).

    Steps longer than a day stand at their first day, with bounds. Failed features are in the member
    `fieldflux:problems`; the sum over all, which has no polygon of one part, is in `fieldflux:about`.
    Raises Refused (not-acceptable) for polygons of several parts, for which there is no domain.
    """
    coverages: list[dict[str, Any]] = []
    parameters: dict[str, Any] = {}
    for feature in features:
        found = feature.series
        if found is None or feature.given.shape is None:
            continue
        steps = found.steps
        name = feature.given.id if feature.given.id is not None else feature.given.index
        if found.values:
            ends = (steps.starts, steps.starts + steps.lengths - 1)
            coverages.append(_coverage(f"{name}", feature.given.shape, *ends, found.values, parameters))
        if found.annual:
            ends = found.year_ends()
            coverages.append(_coverage(f"{name}/years", feature.given.shape, *ends, found.annual, parameters))
    about = about_of(asked, features, table_of(asked, features))
    failed = [problem_body(f) for f in features if f.problem is not None]
    if asked.alone and len(coverages) == 1:
        whole = {**coverages[0], "parameters": parameters, "fieldflux:about": about}
    else:
        whole = {
            "type": "CoverageCollection",
            "domainType": "PolygonSeries",
            "parameters": parameters,
            "referencing": _REFERENCES,
            "coverages": coverages,
            "fieldflux:about": about,
        }
    if failed:
        whole["fieldflux:problems"] = failed
    return orjson.dumps(whole, option=orjson.OPT_SERIALIZE_NUMPY)


def _coverage(
    name: str,
    shape: Shape,
    first: NDArray[np.datetime64],
    last: NDArray[np.datetime64],
    values: Mapping[str, Values],
    parameters: dict[str, Any],
) -> dict[str, Any]:
    ranges: dict[str, Any] = {}
    for variable, v in values.items():
        columns = {variable: v.value}
        if v.low is not None and v.high is not None:
            columns |= {f"{variable}_low": v.low, f"{variable}_high": v.high}
        columns |= {f"{variable}_{s}": of for s, of in v.statistics.items()}
        for column, numbers in columns.items():
            parameters.setdefault(column, _parameter(column, variable, v.unit))
            ranges[column] = {
                "type": "NdArray",
                "dataType": "float",
                "axisNames": ["t"],
                "shape": [int(numbers.size)],
                "values": numbers,
            }
    # Instants, as CoverageJSON has it: from midnight of the first day to that after the last.
    begins, ends = ([f"{day}T00:00:00Z" for day in np.datetime_as_string(days, unit="D")] for days in (first, last + 1))
    axis: dict[str, Any] = {"values": begins}
    if (last > first).any():
        axis["bounds"] = [day for pair in zip(begins, ends, strict=True) for day in pair]
    return {
        "type": "Coverage",
        "id": name,
        "domain": {
            "type": "Domain",
            "domainType": "PolygonSeries",
            "axes": {
                "t": axis,
                "composite": {"dataType": "polygon", "coordinates": ["x", "y"], "values": [_rings(shape)]},
            },
            "referencing": _REFERENCES,
        },
        "ranges": ranges,
    }


def _rings(shape: Shape) -> list[Any]:
    from shapely.geometry import MultiPolygon, mapping

    outline = shape.geometry
    if isinstance(outline, MultiPolygon):
        if len(outline.geoms) > 1:
            raise Refused(
                "not-acceptable",
                f"CoverageJSON has no domain for a series of a polygon in several parts, as one with "
                f"{len(outline.geoms)} is asked for. Ask for it as JSON, CSV, NDJSON, Parquet or NetCDF.",
            )
        outline = outline.geoms[0]
    rings: list[Any] = [[list(point) for point in ring] for ring in mapping(outline)["coordinates"]]
    return rings


def _parameter(column: str, variable: str, unit: str) -> dict[str, Any]:
    v = VARIABLES[variable]
    what = column.removeprefix(variable).strip("_")
    label = v.long_name + (f", {what}" if what else "") + (f" ({v.sign})" if v.sign else "")
    return {
        "type": "Parameter",
        "description": {"en": label},
        "unit": {"symbol": unit, "label": {"en": unit}},
        "observedProperty": {"id": v.standard_name, "label": {"en": v.long_name}}
        if v.standard_name
        else {"label": {"en": v.long_name}},
    }
