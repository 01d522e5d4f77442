"""Series asked for by the parameters of an address, which say the same as the body of POST /v1/series."""

from __future__ import annotations

from typing import Any

from fastapi.exceptions import RequestValidationError
from fieldflux.tiles.steps import Step
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .ask import Ask
from .formats.negotiate import FORMATS
from .members import CubeId, Day, ModelId
from .problems import Refused


class SeriesQuery(BaseModel):
    """What is asked, whatever of."""

    model_config = ConfigDict(frozen=True)

    first: Day | None = Field(default=None, description="First day.", examples=["2021-04-01"])
    last: Day | None = Field(default=None, description="Last day, included.", examples=["2021-10-31"])
    years: str = Field(default="", description="Years instead: 2021, or 2019,2020, or 2019-2021.", max_length=400)
    variables: str = Field(
        default="gpp,reco,nee",
        description="Variables, with commas between.",
        examples=["gpp,reco,nee"],
        max_length=2000,
    )
    step: Step = Field(default="day", description="Step of time.", examples=["month"])
    statistics: str = Field(
        default="", description="Statistics over cells: std,min,max,q05.", examples=["std,q05,q95"], max_length=400
    )
    units: str = Field(
        default="",
        description="Units: variable:unit, with commas between.",
        examples=["nee:tCO2 ha-1"],
        max_length=2000,
    )
    intervals: bool = Field(default=True, description="With intervals.")
    level: float = Field(default=0.9, description="Level of the intervals.", gt=0, lt=1, examples=[0.9])
    cube: CubeId = Field(default="", examples=["demo"])
    model: ModelId = Field(default="", examples=["kgml-ag-carbon/1"])
    f: str = Field(
        default="",
        description=f"Format, instead of by `Accept`: {', '.join(FORMATS)}.",
        examples=["csv"],
        max_length=40,
        json_schema_extra={"enum": ["", *FORMATS]},
    )

    def ask(self, geometry: Any) -> Ask:
        """The question about an outline. Raises Refused (invalid-dates, unknown-unit), RequestValidationError."""
        return asked(
            geometry=geometry,
            first=self.first,
            last=self.last,
            years=_years(self.years),
            variables=names_of(self.variables),
            step=self.step,
            statistics=names_of(self.statistics),
            units=_units(self.units),
            intervals=self.intervals,
            level=self.level,
            cube=self.cube,
            model=self.model,
        )


class PolygonQuery(SeriesQuery):
    """The same, of a polygon."""

    geometry: str = Field(
        default="",
        description="Outline as WKT, POLYGON or MULTIPOLYGON, longitude latitude.",
        examples=["POLYGON((-93.66 42.03, -93.65 42.03, -93.65 42.036, -93.66 42.036, -93.66 42.03))"],
    )
    bbox: str = Field(
        default="",
        description="Instead: west,south,east,north in degrees.",
        examples=["-93.66,42.03,-93.65,42.036"],
        max_length=200,
    )

    def outline(self) -> dict[str, Any]:
        """GeoJSON of what is given. Raises Refused (invalid-geometry)."""
        if bool(self.geometry) == bool(self.bbox):
            raise Refused("invalid-geometry", "Give either `geometry`, as WKT, or `bbox`, as west,south,east,north.")
        return _of_wkt(self.geometry) if self.geometry else _of_bbox(self.bbox)


class FieldSeriesQuery(SeriesQuery):
    """The same, of a registered field."""

    version: int | None = Field(
        default=None, ge=1, le=2**31 - 1, description="Version of the outline; the current one."
    )


def asked(**members: Any) -> Ask:
    """A question from what an address says. Raises RequestValidationError, which tells what is wrong there."""
    try:
        return Ask(**members)
    except ValidationError as error:
        raise RequestValidationError(
            [{**e, "loc": ("query", *e["loc"])} for e in error.errors(include_url=False)]
        ) from error


def names_of(given: str) -> tuple[str, ...]:
    """Names with commas between."""
    return tuple(name.strip() for name in given.split(",") if name.strip())


def _of_bbox(bbox: str) -> dict[str, Any]:
    try:
        west, south, east, north = (float(part) for part in bbox.split(","))
    except ValueError:
        raise Refused(
            "invalid-geometry",
            f"`bbox` is four numbers, west,south,east,north, as in -93.66,42.03,-93.65,42.036; given: '{bbox[:80]}'.",
        ) from None
    if not (west < east and south < north):
        raise Refused(
            "invalid-geometry",
            f"`bbox` goes from west to east and south to north; given: {west:g},{south:g},{east:g},{north:g}.",
        )
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def _of_wkt(geometry: str) -> dict[str, Any]:
    import shapely

    try:
        found = shapely.from_wkt(geometry)
    except shapely.GEOSException as error:
        raise Refused("invalid-geometry", f"`geometry` is not WKT: {str(error)[:200].rstrip('.')}.") from None
    given: dict[str, Any] = shapely.geometry.mapping(found)
    return given


def _years(given: str) -> tuple[int, ...] | None:
    if not given:
        return None
    found: list[int] = []
    for part in given.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.isdecimal() and len(first) == 4 and (not dash or (last.isdecimal() and len(last) == 4))):
            raise Refused("invalid-dates", f"`years` are as in 2021, 2019,2020 or 2019-2021; given: '{given[:80]}'.")
        found += range(int(first), int(last or first) + 1)
    return tuple(found)


def _units(given: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in names_of(given):
        name, colon, unit = part.partition(":")
        if not colon or not unit.strip():
            raise Refused("unknown-unit", f"`units` are as in nee:tCO2 ha-1,et:mm; given: '{part[:80]}'.")
        found[name.strip()] = unit.strip()
    return found
