"""What a job may be asked for: the body of POST /v1/jobs."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from fastapi.exceptions import RequestValidationError
from fieldflux.app.ask import About
from fieldflux.app.members import Combine, CubeId, Day, Features, FieldIds, ModelId, Number, Years
from fieldflux.app.problems import Refused
from fieldflux.tiles.steps import Step
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

SeriesFormat: TypeAlias = Literal["parquet", "csv", "ndjson", "netcdf", "json"]
ExportFormat: TypeAlias = Literal["geotiff", "netcdf", "zarr"]
Event: TypeAlias = Literal["job.started", "job.done", "job.failed", "job.cancelled", "job.paused"]
BBox: TypeAlias = tuple[Number, Number, Number, Number]

_BBOX = "west, south, east, north in degrees."


class Webhook(BaseModel):
    """Who is told when the job ends."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(max_length=2000, description="Address that gets a POST, signed as Standard Webhooks have it.")
    events: tuple[Event, ...] = Field(
        default=("job.done", "job.failed", "job.cancelled", "job.paused"),
        min_length=1,
        description="Which events it is told of.",
    )


class FieldQuery(BaseModel):
    """Which of the registered fields; all of them if empty."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bbox: BBox | None = Field(default=None, description=f"Fields whose boxes touch it: {_BBOX}")
    properties: dict[str, str] = Field(default={}, max_length=20, description="Values of properties that must fit.")
    external_ids: tuple[str, ...] = Field(default=(), max_length=10_000, description="Your own ids.")

    @model_validator(mode="after")
    def _in_order(self) -> FieldQuery:
        _check_bbox(self.bbox)
        return self


class SeriesJob(About):
    """Series of up to 10,000 fields, as POST /v1/series gives them for a hundred."""

    kind: Literal["series"] = "series"
    name: str = Field(default="", max_length=200, description="A name for yourself.")
    features: Features = None
    fields: FieldIds = None
    query: FieldQuery | None = Field(default=None, description="Registered fields instead, by a query; `{}`: all.")
    combine: Combine = False
    format: SeriesFormat = Field(default="parquet", description="Format of the file that is ready when the job is.")
    webhook: Webhook | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> SeriesJob:
        given = [name for name in ("features", "fields", "query") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of `features`, `fields` and `query`; given: {' and '.join(given)}")
        return self


class RunJob(BaseModel):
    """A model over a region of a cube, into the store: what tiles and series are then read from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["run"]
    name: str = Field(default="", max_length=200, description="A name for yourself.")
    cube: CubeId = ""
    model: ModelId = ""
    years: Years | None = Field(default=None, min_length=1, description="Years; all of the cube's without.")
    bbox: BBox | None = Field(default=None, description=f"Blocks that it touches: {_BBOX} The whole cube without.")
    blocks: tuple[str, ...] | None = Field(default=None, min_length=1, description="Blocks instead, by their names.")
    webhook: Webhook | None = None

    @model_validator(mode="after")
    def _in_order(self) -> RunJob:
        _check_bbox(self.bbox)
        if self.bbox is not None and self.blocks is not None:
            raise ValueError("give one of `bbox` and `blocks`")
        return self


class ExportJob(BaseModel):
    """A variable's values on the grid: a cloud-optimized GeoTIFF by year, one NetCDF, or one Zarr in a zip."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["export"]
    name: str = Field(default="", max_length=200, description="A name for yourself.")
    variable: str = Field(max_length=60, description="Variable, by its name.", examples=["nee"])
    first: Day | None = Field(default=None, description="First day.")
    last: Day | None = Field(default=None, description="Last day, included.")
    years: Years | None = Field(default=None, description="Years instead; all of the cube's without.")
    step: Step = Field(
        default="year", description="Sums of fluxes and means of states over it; yearly variables by year only."
    )
    bbox: BBox | None = Field(default=None, description=f"{_BBOX} The whole cube without.")
    format: ExportFormat = Field(default="geotiff", description="What it is written as.")
    cube: CubeId = ""
    model: ModelId = ""
    webhook: Webhook | None = None

    @model_validator(mode="after")
    def _in_order(self) -> ExportJob:
        _check_bbox(self.bbox)
        return self


Job: TypeAlias = SeriesJob | RunJob | ExportJob


def read_job(body: bytes) -> Job:
    """A job from JSON. Raises Refused (invalid-json, invalid-request), RequestValidationError."""
    try:
        return _adapter().validate_json(body)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False)) from error


def job_of(kind: str, ask: dict[str, Any]) -> Job:
    """A job as the database kept it."""
    return _adapter().validate_python({**ask, "kind": kind})


def to_keep(job: Job) -> dict[str, Any]:
    """What the database keeps of it: all but the outlines, which its batches have, and the webhook."""
    dropped = {"features", "fields", "query", "webhook"} if isinstance(job, SeriesJob) else {"webhook"}
    return job.model_dump(mode="json", exclude=dropped)


def body_schema() -> dict[str, Any]:
    """JSON Schema of the body, without references, for the description of the API."""
    schema = _adapter().json_schema()
    known = schema.pop("$defs", {})

    def plain(part: Any) -> Any:
        if isinstance(part, dict):
            name = str(part.get("$ref", ""))
            if name.startswith("#/$defs/"):
                return {**plain(known[name.removeprefix("#/$defs/")]), **{k: v for k, v in part.items() if k != "$ref"}}
            return {k: plain(v) for k, v in part.items() if k != "discriminator"}
        return [plain(each) for each in part] if isinstance(part, list) else part

    found: dict[str, Any] = plain(schema)
    return found


def _adapter() -> TypeAdapter[Job]:
    return TypeAdapter(Annotated[SeriesJob | RunJob | ExportJob, Field(discriminator="kind")])


def _check_bbox(bbox: BBox | None) -> None:
    if bbox is not None:
        west, south, east, north = bbox
        if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
            raise ValueError(f"`bbox` is west, south, east, north in degrees; given: {list(bbox)}")


def about_of(job: SeriesJob | ExportJob) -> About:
    """The question about time and variables. Raises Refused."""
    if isinstance(job, SeriesJob):
        return About(**{name: getattr(job, name) for name in About.model_fields})
    try:
        return About(
            first=job.first,
            last=job.last,
            years=job.years,
            variables=(job.variable,),
            step=job.step,
            intervals=False,
            cube=job.cube,
            model=job.model,
        )
    except ValidationError as error:
        raise Refused("invalid-request", str(error.errors(include_url=False)[0]["msg"])) from error
