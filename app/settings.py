"""Settings of the server and the command line: one typed class, filled from FIELDFLUX_* variables."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class Rates(BaseModel):
    """What a caller may use, in units of cost. A tile costs 1, a field's year 2; GET /v1/usage has the list."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    per_second: float = Field(default=100.0, gt=0, description="Units that come back each second.")
    burst: float = Field(default=3000.0, ge=1, description="Units that can be saved up.")
    daily: float = Field(default=2_000_000.0, ge=1, description="Units of a day, UTC.")
    by_address: bool = Field(
        default=False, description="Limit callers by their network address where accounts are off."
    )


class Limits(BaseModel):
    """What one request may ask for. Published at /v1/limits; checked before any work starts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url_bytes: int = Field(default=8_192, ge=256, description="Length of an address with its query, bytes.")
    header_bytes: int = Field(
        default=32_768, ge=1024, description="Length of the address and all header fields together, bytes."
    )
    body_bytes: int = Field(default=2_097_152, ge=1024, description="Size of a request's body, bytes.")
    vertices: int = Field(default=50_000, ge=4, description="Vertices of a geometry, all rings together.")
    area_km2: float = Field(default=25_000.0, gt=0, description="Area of a geometry, km2. A county of Iowa has 1 500.")
    days: int = Field(default=11_000, ge=1, description="Days between first and last, both included.")
    values: int = Field(default=200_000, ge=1, description="Values in an answer: steps times variables.")
    series_features: int = Field(
        default=100, ge=1, description="Polygons or fields in one request for series; jobs take more."
    )
    series_values: int = Field(
        default=2_000_000,
        ge=1,
        description="Values in an answer of many polygons: polygons times steps times variables.",
    )
    cell_days: int = Field(
        default=400_000_000, ge=1, description="Cells times days read for one request: a county and 21 years fit."
    )
    upload_bytes: int = Field(
        default=33_554_432, ge=1024, description="Size of a file of fields (GeoJSON, GeoParquet, zip), bytes."
    )
    unpacked_bytes: int = Field(
        default=268_435_456, ge=1024, description="Size of a file of fields once unpacked, bytes."
    )
    features: int = Field(default=10_000, ge=1, description="Fields registered by one request.")
    statement_features: int = Field(default=1_000, ge=1, description="Fields in a carbon statement.")
    live_cell_years: int = Field(
        default=2_000,
        ge=1,
        description="Cells times years computed on the spot where the store lacks them; a field and 20 years fit.",
    )


class Jobs(BaseModel):
    """How long work is done and kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    workers: int = Field(
        default_factory=lambda: max(1, (os.cpu_count() or 2) // 2),
        ge=0,
        le=256,
        description="Worker processes that the server starts when there are jobs; 0 where `fieldflux worker` runs.",
    )
    idle_seconds: float = Field(default=60.0, gt=0, description="After so long without work, a worker process ends.")
    nice: int = Field(default=10, ge=0, le=19, description="How far the worker processes stand back for the server.")
    lease_seconds: float = Field(
        default=30.0, ge=1, description="After so long without a sign of its worker, a batch is done again by another."
    )
    attempts: int = Field(default=5, ge=1, description="Times that a batch is begun before its job fails.")
    keep_days: float = Field(default=7.0, gt=0, description="Days for which results are kept.")
    forget_days: float = Field(default=365.0, gt=0, description="Days after which a job without results is forgotten.")
    features: int = Field(default=10_000, ge=1, description="Fields in a job.")
    batch: int = Field(default=100, ge=1, le=1000, description="Fields in a batch: what is done again after a kill.")
    batch_values: int = Field(default=2_000_000, ge=1, description="Values in a batch, at most.")
    values: int = Field(default=200_000_000, ge=1, description="Values in the results of a job, at most.")
    combined_values: int = Field(
        default=3_000_000, ge=1, description="Values that a job may put together into one sum (`combine`): 300 MB."
    )
    cell_years: int = Field(default=50_000_000, ge=1, description="Cells times years that a job may compute.")
    open_jobs: int = Field(default=50, ge=1, description="Jobs of a tenant that are queued, running or paused.")


class Settings(BaseSettings):
    """How this server runs. Every field can be set by its FIELDFLUX_ variable: FIELDFLUX_PORT=9000."""

    model_config = SettingsConfigDict(env_prefix="FIELDFLUX_", env_nested_delimiter="__", extra="ignore", frozen=True)

    home: Path = Field(default=Path(".fieldflux"), description="Work folder: cubes/ and stores/ live in it.")
    host: str = Field(default="127.0.0.1", description="Address to listen on. 0.0.0.0 for all of this machine's.")
    port: int = Field(default=8000, ge=0, le=65535)
    cubes: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(), description="Cubes outside the work folder, as paths with ':' between them."
    )
    stores: Annotated[tuple[Path | str, ...], NoDecode] = Field(
        default=(),
        description="Stores outside the work folder: paths, and addresses in an object store as s3://bucket/prefix "
        "(the extra `objects`; credentials from AWS_* variables), with ':' between them.",
    )
    store_cache_bytes: int = Field(
        default=4_294_967_296,
        ge=67_108_864,
        description="Room on the disk, in the work folder, for what is read from stores in an object store.",
    )
    checkpoints: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(), description="Folders of checkpoints, searched before the shipped ones; ':' between them."
    )
    cube: str = Field(default="", description="Cube that is meant where a request names none; the first one if empty.")
    model: str = Field(default="kgml-ag-carbon", description="Model that is meant where a request names none.")
    demo: bool = Field(default=True, description="Build the demo landscape where there is no other cube.")
    fill: bool = Field(default=True, description="Compute what the demo's store lacks, in the background.")
    cores: int = Field(
        default_factory=lambda: os.cpu_count() or 1,
        ge=1,
        description="Threads for series that are not answered inline.",
    )
    cors: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Origins whose pages may call, with ',' between them; '*' for any."
    )
    database_url: str = Field(
        default="",
        # Hosting platforms set the plain name.
        validation_alias=AliasChoices("fieldflux_database_url", "database_url"),
        description="PostgreSQL for fields, jobs and accounts, as postgresql://user:password@host/name; DATABASE_URL "
        "is read as well. A SQLite file in the work folder if empty.",
    )
    accounts: bool = Field(
        default=False, description="on: every request for data needs an API key; `fieldflux keys create` makes one."
    )
    open: bool = Field(
        default=False, description="1: listen on other addresses than this machine's own without accounts."
    )
    secret: SecretStr = Field(
        default=SecretStr(""),
        description="What keys are hashed with and tokens signed with, 32 characters or more, the same for all servers "
        "of a database; a file in the work folder if empty.",
    )
    proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("127.0.0.1", "::1"),
        description="Proxies whose X-Forwarded-For and X-Forwarded-Proto are believed: addresses or networks, ',' "
        "between them.",
    )
    log: Literal["text", "json"] = Field(
        default="text", description="json: a line of JSON for each request and event, for programs that collect logs."
    )
    otel: bool = Field(
        default=False,
        description="on: a span for each request and stage by OpenTelemetry, sent to OTEL_EXPORTER_OTLP_ENDPOINT; "
        "needs the extra `otel`.",
    )
    metrics_port: int = Field(
        default=0, ge=0, le=65535, description="Port of its own for /metrics, which then is not on the public one."
    )
    rates: Rates = Rates()
    limits: Limits = Limits()
    jobs: Jobs = Jobs()
    webhook_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Hosts that jobs may call when they end, with ',' between them; '.example.org' allows all below "
        "it. Without, no webhook is taken.",
    )

    @field_validator("stores", mode="before")
    @classmethod
    def _places(cls, value: object) -> object:
        # A ':' between two places, and not that of an address.
        given = re.split(f"{re.escape(os.pathsep)}(?!//)", value) if isinstance(value, str) else value
        if not isinstance(given, list | tuple):
            return given
        return tuple(part if "://" in str(part) else Path(part) for part in given if part)

    @field_validator("cubes", "checkpoints", mode="before")
    @classmethod
    def _paths(cls, value: object) -> object:
        return tuple(part for part in value.split(os.pathsep) if part) if isinstance(value, str) else value

    @field_validator("cors", "proxies", "webhook_hosts", mode="before")
    @classmethod
    def _origins(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
