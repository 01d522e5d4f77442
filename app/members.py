"""Members that several requests have: one type, one meaning and one description each.

Numbers and switches are taken as they are meant: `true` is no number, "2021" none either, and 0 is not `false`. A day
is written out; pydantic by itself would take 0 for 1 January 1970.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import date
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema

from .openapi.outlines import OUTLINE, OUTLINES

FIELD: Any = {
    "type": "Polygon",
    "coordinates": [[[-93.66, 42.03], [-93.65, 42.03], [-93.65, 42.036], [-93.66, 42.036], [-93.66, 42.03]]],
}
"""A field of the demo landscape, for examples."""
OTHER_FIELD: Any = {
    "type": "Polygon",
    "coordinates": [[[-93.70, 42.03], [-93.69, 42.03], [-93.69, 42.036], [-93.70, 42.036], [-93.70, 42.03]]],
}


def _day(given: object) -> object:
    if isinstance(given, date) or (isinstance(given, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", given, re.ASCII)):
        return given
    raise ValueError("give a day as 2021-04-01")


def _number(given: object) -> object:
    if isinstance(given, bool | str):
        raise ValueError("give a number, without quotes")
    return given


Day: TypeAlias = Annotated[date, BeforeValidator(_day)]
Number: TypeAlias = Annotated[float, BeforeValidator(_number)]
Whole: TypeAlias = Annotated[int, BeforeValidator(_number)]
Switch: TypeAlias = Annotated[bool, Field(strict=True)]

Outline: TypeAlias = Annotated[dict[str, Any], WithJsonSchema(OUTLINE)]
"""GeoJSON of a polygon. What is wrong with one is told by where it is read, more precisely than a schema can."""

Geometry: TypeAlias = Annotated[
    Outline | None,
    Field(
        description="GeoJSON Polygon or MultiPolygon, a Feature of one, or a collection of one feature; WGS 84 "
        "[longitude, latitude]."
    ),
]
Features: TypeAlias = Annotated[
    Annotated[dict[str, Any] | tuple[dict[str, Any], ...], WithJsonSchema(OUTLINES)] | None,
    Field(
        description="Many polygons instead: a GeoJSON FeatureCollection, or an array of Features. Each is answered by "
        "itself, in order, with a `status`; one that is wrong does not spoil the others."
    ),
]
FieldIds: TypeAlias = Annotated[
    Annotated[tuple[str, ...], WithJsonSchema({"type": "array", "items": {"type": "string"}, "minItems": 1})] | None,
    Field(description="Registered fields instead, by their ids (`fld_…`), with their current outlines."),
]
Years: TypeAlias = tuple[Whole, ...]
Intervals: TypeAlias = Annotated[
    Switch, Field(description="Intervals, where the model is an ensemble; a county is quicker without.")
]
Combine: TypeAlias = Annotated[
    Switch,
    Field(
        description="Of many: also their sum, as `combined`. Land under several outlines is counted once, for the "
        "first of them (`overlap_ha`). Its interval knows that errors of different fields hang together: see "
        "`errors_together`."
    ),
]
Level: TypeAlias = Annotated[
    Number,
    Field(
        gt=0,
        lt=1,
        description="Level of the intervals: 0.5, 0.8, 0.9 or 0.95, where the model's card has no others. "
        "`interval_basis` in the answer tells what their width rests on: `conformal` intervals are calibrated on "
        "`groups` held-out sites, so that a new field's value lies inside with this probability; `factor` and `spread` "
        "are the ensemble's spread, with and without a factor from held-out days.",
        examples=[0.9],
    ),
]
CubeId: TypeAlias = Annotated[str, Field(max_length=200, description="Cube, by its id; the default one if empty.")]
ModelId: TypeAlias = Annotated[
    str, Field(max_length=200, description="Model, as name or name/version; the default one if empty.")
]


def check_one(of: object, names: Collection[str]) -> None:
    """Raises ValueError unless exactly one of the members is given."""
    given = [name for name in names if getattr(of, name) is not None]
    if len(given) != 1:
        *most, last = (f"`{name}`" for name in names)
        raise ValueError(f"give one of {', '.join(most)} and {last}; given: {' and '.join(given) or 'none of them'}")


def one_of(names: Collection[str]) -> Any:
    """The same as a part of a JSON schema."""
    return {"oneOf": [{"required": [name], "properties": {name: {"not": {"type": "null"}}}} for name in names]}
