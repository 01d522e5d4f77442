"""Fieldflux from Python: series, fields, jobs and tiles of a server, as pandas and xarray.

    from fieldflux.app.client import Client

    with Client("http://localhost:8000") as flux:
        found = flux.series(polygon, years=[2020, 2021], variables=["nee", "yield"], step="month")
    print(found.to_pandas())

`AsyncClient` has the same methods, to be awaited. What can be asked is what POST /v1/series takes; polygons are
GeoJSON, shapely geometries, or GeoSeries and GeoDataFrames with a CRS. Errors of the server are `FluxError`s, whose
text is the server's sentence. Requests that the server is too busy for are sent again when it says so.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import time
import uuid
import warnings
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypedDict, TypeVar
from urllib.parse import quote

import httpx

if TYPE_CHECKING:
    from typing import Self, Unpack

    import numpy as np
    import pandas as pd
    import xarray as xr

Json = dict[str, Any]
T = TypeVar("T")
U = TypeVar("U")
Progress = Callable[["Job"], None]

AT_ONCE = 100
"""Polygons in one request; more are sent one hundred after the other."""


class Asked(TypedDict, total=False):
    """What can be asked of polygons and fields; what is left out is as POST /v1/series has it."""

    first: date | str
    last: date | str
    years: Sequence[int]
    variables: Sequence[str]
    step: Literal["day", "month", "season", "year", "period"]
    statistics: Sequence[str | Mapping[str, float]]
    units: Mapping[str, str]
    intervals: bool
    level: float
    combine: bool
    cube: str
    model: str


class FluxError(Exception):
    """The server refused, or failed. `str()` of it is the server's sentence, with its code and the request's id.

    status: of HTTP. code: stable, explained at /problems. problem: the whole of it (RFC 9457).
    """

    def __init__(self, status: int, code: str, detail: str, request_id: str, problem: Mapping[str, Any]) -> None:
        super().__init__(f"{detail} [{status} {code}{f', request {request_id}' if request_id else ''}]")
        self.status, self.code, self.detail, self.request_id, self.problem = status, code, detail, request_id, problem


class JobFailed(Exception):
    """A job that was waited for ended without being done. `job` tells how far it came; what was done can be had."""

    def __init__(self, job: Job) -> None:
        super().__init__(f"The job {job.id} is {job.state}. {job.body.get('message') or ''}".rstrip())
        self.job = job


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the server told of it. total: items in it, of which `done` are done and kept."""

    id: str
    kind: str
    state: str
    done: int
    total: int
    body: Json = field(repr=False)

    @property
    def ended(self) -> bool:
        """Whether nothing more happens by itself; a paused job waits for `resume`."""
        return self.state in ("done", "failed", "cancelled", "paused")


@dataclass(frozen=True, slots=True)
class Answer:
    """Series of one polygon, or of many in the order in which they were given.

    shared: what all have in common: units, step, model, cube, hashes, statement. features: a member for each polygon,
    with `values`, `intervals`, `totals`, `summary` and `flags`; or, where its `status` is FAILED, with the `problem`.
    """

    shared: Json
    features: list[Json]
    alone: bool = False

    @property
    def failures(self) -> list[tuple[str | int, str]]:
        """The polygons without an answer: their names, and why."""
        return [(name, f["problem"]["detail"]) for name, f in zip(self.names, self.features, strict=True) if _failed(f)]

    @property
    def names(self) -> list[str | int]:
        """Of each polygon: its own id, the server's, or its place in what was asked."""
        found = []
        for place, feature in enumerate(self.features):
            given = (feature.get(key) for key in ("external_id", "id"))
            found.append(next((name for name in given if name is not None), place))
        return found

    @property
    def combined(self) -> Answer | None:
        """The sum over all polygons as an answer of its own, where `combine=True` was asked for and any has a series.

        Its totals are the sums, its values the means by area. `shared["errors_together"]` tells why its interval is as
        wide as it is, `shared["not_counted"]` which polygons are not in it, `shared["overlap_ha"]` what land lies
        under several and is counted once.
        """
        found = self.shared.get("combined")
        if found is None:
            return None
        known = self.shared.get("notes", {})
        shared = {name: value for name, value in self.shared.items() if name != "combined"}
        notes = [known.get(flag, "") for flag in found.get("flags", ())]
        return Answer({**shared, **found, "notes": notes}, [found], alone=True)

    @property
    def notes(self) -> dict[str, str]:
        """What to know before using the values: flag -> sentence."""
        if self.alone:
            return dict(zip(self.shared.get("flags", ()), self.shared.get("notes", ()), strict=True))
        return dict(self.shared.get("notes", {}))

    def to_pandas(self, yearly: bool = False) -> pd.DataFrame:
        """A row for each step, by the first day of it; for each polygon and step where there are many.

        Columns: each variable, its interval (`nee_low`, `nee_high`), statistics (`nee_std`), totals in tonnes of carbon
        (`nee_total`) and `nee_valid_fraction`. Missing is NaN; units stand in `attrs["units"]`. Polygons that failed
        are warned of. yearly: the yearly variables that were asked for beside days, months or seasons.
        """
        import pandas as pd

        if self.failures:
            told = "; ".join(f"{name}: {why}" for name, why in self.failures[:3])
            warnings.warn(f"{len(self.failures)} of {len(self.features)} polygons have no values. {told}", stacklevel=2)
        frames: dict[str | int, pd.DataFrame] = {}
        units: dict[str, str] = {}
        for name, feature in zip(self.names, self.features, strict=True):
            if _failed(feature):
                continue
            steps, columns = self._block(feature, yearly)
            units |= {column: unit for column, (_, unit) in columns.items()}
            data: Json = {column: values for column, (values, _) in columns.items()}
            if not yearly and self.shared["step"] != "day":
                data["status"] = feature.get("step_status", feature.get("status"))
            frames[name] = pd.DataFrame(data, index=pd.DatetimeIndex(steps, name="time"))
        if not frames:
            return pd.DataFrame()
        frame = next(iter(frames.values())) if self.alone else pd.concat(frames, names=["feature", "time"])
        frame.attrs |= {"units": units, **self._origin()}
        return frame

    def to_xarray(self) -> xr.Dataset:
        """The same as a Dataset over `time`, and `feature` where there are many; yearly variables over `year`.

        Polygons that failed are NaN, and `status` tells it. Variables have `units` and the sign; the Dataset's
        attributes tell model, cube, their hashes, and the level of the intervals.
        """
        import numpy as np
        import xarray as xr

        told = [f for f in self.features if not _failed(f)]
        data: Json = {}
        coords: Json = {}
        for yearly, axis in ((False, "time"), (True, "year")):
            if not told or (yearly and "years" not in told[0]):
                continue
            steps, example = self._block(told[0], yearly)
            if not example:
                continue
            coords[axis] = steps if not yearly else [int(label) for label in told[0]["years"]["time"]]
            blocks = [{} if _failed(f) else self._block(f, yearly)[1] for f in self.features]
            for name, (first, unit) in example.items():
                missing = (np.full(len(first), np.nan), unit)
                values = np.stack([block.get(name, missing)[0] for block in blocks])
                sign = self.shared.get("signs", {}).get(name)
                about = {"units": unit} | ({"sign": sign} if sign else {})
                data[name] = ((axis,), values[0], about) if self.alone else (("feature", axis), values, about)
        if not self.alone:
            coords["feature"] = self.names
            coords["status"] = ("feature", [f["status"] for f in self.features])
            areas = np.array([f.get("area_ha", np.nan) for f in self.features])
            data["area"] = ("feature", areas, {"units": "ha"})
        attrs = {name: "" if v is None else v for name, v in self._origin().items()}
        return xr.Dataset(data, coords, attrs)

    def _origin(self) -> Json:
        names = ("step", "model", "weights_sha256", "cube", "cube_hash", "snapshot", "statement", "licence")
        return {name: self.shared[name] for name in (*names, "interval_level") if name in self.shared}

    def _block(self, feature: Json, yearly: bool) -> tuple[np.ndarray[Any, Any], dict[str, tuple[Any, str]]]:
        """First days of steps, and columns with their units."""
        import numpy as np

        block = feature.get("years", {"values": {}, "time": []}) if yearly else feature
        units = block["units"] if yearly else self.shared["units"]
        if yearly:
            steps = np.array([f"{year}-01-01" for year in block["time"]], "M8[D]")
        elif self.shared["step"] == "day":
            steps = np.array(self.shared["time"], "M8[D]")
        else:
            before = np.concatenate([[0], np.cumsum(self.shared["days"])[:-1]]).astype("m8[D]")
            steps = np.datetime64(self.shared["first"], "D") + before
        columns: dict[str, tuple[Any, str]] = {}

        def add(column: str, values: Sequence[float | None] | None, unit: str) -> None:
            if values is not None:
                columns[column] = (np.array(values, float), unit)

        for name, values in block["values"].items():
            add(name, values, units[name])
            for end, of in (block.get("intervals", {}).get(name) or {}).items():
                add(f"{name}_{end}", of, units[name])
            for statistic, of in (block.get("statistics", {}).get(name) or {}).items():
                add(f"{name}_{statistic}", of, units[name])
            total = block.get("totals", {}).get(name) or {}
            for key, column in (("value", "total"), ("low", "total_low"), ("high", "total_high")):
                add(f"{name}_{column}", total.get(key), total.get("unit", ""))
            add(f"{name}_valid_fraction", block.get("valid_fraction", {}).get(name), "1")
        return steps, columns


# Requests: what both clients send, and how they read what comes back


@dataclass(frozen=True, slots=True)
class _Call(Generic[T]):
    method: str
    path: str
    read: Callable[[httpx.Response], T]
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def request(self, http: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        content = None if self.body is None else json.dumps(self.body, allow_nan=False, default=_plain).encode()
        headers = dict(self.headers) | ({"Content-Type": "application/json"} if content is not None else {})
        query = {k: v for k, v in self.query.items() if v is not None and v != ""}
        return http.build_request(self.method, self.path, params=query, content=content, headers=headers)


def _json(response: httpx.Response) -> Json:
    found: Json = response.json()
    return found


def _member(name: str) -> Callable[[httpx.Response], list[Json]]:
    return lambda response: response.json()[name]  # type: ignore[no-any-return]


def _series(polygons: Any, asked: Mapping[str, Any]) -> tuple[list[_Call[Json]], bool]:
    """The requests for polygons, and whether there is one polygon alone."""
    shapes = _shapes(polygons)
    if isinstance(shapes, dict):
        return [_Call("POST", "/v1/series", _json, body={"geometry": shapes, **asked})], True
    _check_sum(len(shapes), asked)
    parts = [shapes[i : i + AT_ONCE] for i in range(0, len(shapes), AT_ONCE)]
    plain = [[{**f, "properties": {}} for f in part] for part in parts]
    return [_Call("POST", "/v1/series", _json, body={"features": part, **asked}) for part in plain], False


def _check_sum(count: int, asked: Mapping[str, Any]) -> None:
    if asked.get("combine") and count > AT_ONCE:
        raise ValueError(
            f"At most {AT_ONCE} polygons are summed in one request; given: {count}. Send a job, which sums up to "
            f"10,000: `flux.results(flux.wait(flux.submit(polygons, combine=True, ...))).combined`."
        )


def _field_series(names: Sequence[str], asked: Mapping[str, Any]) -> list[_Call[Json]]:
    _check_sum(len(names), asked)
    parts = [names[i : i + AT_ONCE] for i in range(0, len(names), AT_ONCE)]
    return [_Call("POST", "/v1/series", _json, body={"fields": part, **asked}) for part in parts]


def _soil(what: str, land: Any, asked: Mapping[str, Any]) -> _Call[Json]:
    """land: a polygon, or the id of a registered field."""
    if isinstance(land, str):
        return _Call("POST", f"/v1/soil/{what}", _json, body={"field": land, **asked})
    shapes = _shapes(land)
    if not isinstance(shapes, dict):
        raise ValueError(f"Soil is asked of one polygon at a time; given: {len(shapes)}. Ask for one after the other.")
    return _Call("POST", f"/v1/soil/{what}", _json, body={"geometry": shapes, **asked})


def _forecast(land: Any, issue_day: Any, asked: Mapping[str, Any]) -> _Call[Json]:
    """land: a polygon, or the id of a registered field."""
    body = {"issue_day": str(issue_day), **asked}
    if isinstance(land, str):
        return _Call("POST", "/v1/forecast", _json, body={"field": land, **body})
    shapes = _shapes(land)
    if not isinstance(shapes, dict):
        raise ValueError(f"A forecast is of one polygon at a time; given: {len(shapes)}. Ask for one after the other.")
    return _Call("POST", "/v1/forecast", _json, body={"geometry": shapes, **body})


def _statement(land: Any, asked: Mapping[str, Any]) -> _Call[Json]:
    """land: polygons, or the ids of registered fields. The same request twice makes one statement."""
    body = dict(asked)
    headers = {"Idempotency-Key": str(body.pop("idempotency_key", None) or uuid.uuid4().hex)}
    names = [land] if isinstance(land, str) else land
    if isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names):
        return _Call("POST", "/v1/statements", _json, body={"fields": names, **body}, headers=headers)
    shapes = _shapes(land)
    of = {"geometry": shapes} if isinstance(shapes, dict) else {"features": [{**f, "properties": {}} for f in shapes]}
    return _Call("POST", "/v1/statements", _json, body={**of, **body}, headers=headers)


def _verify(statement: Mapping[str, Any], recompute: bool) -> _Call[Json]:
    query = {"recompute": str(recompute).lower()}
    return _Call("POST", "/v1/statements/verify", _json, query, dict(statement))


def _frame(response: httpx.Response) -> pd.DataFrame:
    import io

    import pandas as pd

    return pd.read_csv(io.BytesIO(response.content))


def _answer(bodies: Sequence[Json], alone: bool) -> Answer:
    if alone:
        return Answer(bodies[0], [bodies[0]], True)
    shared: Json = {}
    notes: dict[str, str] = {}
    for body in bodies:
        notes |= body.get("notes", {})
        if not shared.get("units"):
            shared = {k: v for k, v in body.items() if k not in ("features", "items", "counts", "status", "next")}
    features = [feature for body in bodies for feature in body.get("features") or body.get("items", ())]
    return Answer({**shared, "notes": notes}, features)


def _register(features: Any, id_property: str, atomic: bool) -> _Call[Json]:
    shapes = _shapes(features)
    body = _as_feature(shapes) if isinstance(shapes, dict) else {"type": "FeatureCollection", "features": shapes}
    query = {"id_property": id_property, "atomic": "true" if atomic else None}
    return _Call("POST", "/v1/fields", _json, query, body)


def _field(name: str, method: str = "GET") -> _Call[Json]:
    return _Call(method, f"/v1/fields/{_part(name)}", lambda r: r.json() if r.content else {})


def _page(path: str, query: Mapping[str, Any], cursor: str) -> _Call[Json]:
    return _Call("GET", path, _json, {"limit": 1000, **query, "cursor": cursor})


def _field_query(bbox: Sequence[float] | None, external_id: str, property: Mapping[str, str] | None) -> Json:
    return {
        "bbox": None if bbox is None else ",".join(f"{v:.10g}" for v in bbox),
        "external_id": external_id,
        "property": [f"{name}:{value}" for name, value in (property or {}).items()] or None,
    }


def _submit(polygons: Any, body: Mapping[str, Any], read: Callable[[httpx.Response], T], dry_run: bool) -> _Call[T]:
    whole: Json = {"kind": "series", **body}
    if polygons is not None:
        shapes = _shapes(polygons)
        listed = shapes if isinstance(shapes, list) else [_as_feature(shapes)]
        whole["features"] = [{**f, "properties": {}} for f in listed]
    # The same request twice, since the answer to the first was lost, makes one job.
    headers = {} if dry_run else {"Idempotency-Key": uuid.uuid4().hex}
    return _Call("POST", "/v1/jobs", read, {"dry_run": "true" if dry_run else None}, whole, headers)


def _job(response: httpx.Response) -> Job:
    body = response.json()
    progress = body["progress"] or {"done": 0, "total": 0}
    return Job(body["id"], body["kind"], body["state"], progress["done"], progress["total"], body)


def _of_job(job: Job | str, action: str = "") -> _Call[Job]:
    name = job if isinstance(job, str) else job.id
    return _Call("POST" if action else "GET", f"/v1/jobs/{_part(name)}{f'/{action}' if action else ''}", _job)


def _file(job: Job | str, name: str) -> str:
    """Address of a job's file: of one table by its format, of an export by its name."""
    at = f"/v1/jobs/{_part(job if isinstance(job, str) else job.id)}/results"
    return f"{at}.{name}" if name in ("parquet", "csv", "ndjson", "json", "netcdf") else f"{at}/{_part(name)}"


def _tile(variable: str, when: str, z: int, x: int, y: int, format: str, look: Mapping[str, Any]) -> _Call[bytes]:
    path = f"/v1/tiles/{_part(variable)}/{_part(str(when))}/{z:d}/{x:d}/{y:d}.{format}"
    return _Call("GET", path, lambda r: r.content, look)


def _part(name: str) -> str:
    return quote(name, safe="")


def _shapes(given: Any) -> Json | list[Json]:
    """GeoJSON of what was given: one geometry or Feature, or a list of Features. Raises ValueError."""
    if hasattr(given, "to_crs"):
        if given.crs is None:
            raise ValueError("The polygons have no CRS: say which by set_crs, as in frame.set_crs('EPSG:4326').")
        given = json.loads(given.to_crs("EPSG:4326").to_json(default=str))
    elif hasattr(given, "__geo_interface__"):
        given = given.__geo_interface__
    if isinstance(given, Mapping):
        if given.get("type") == "FeatureCollection":
            return [dict(feature) for feature in given["features"]]
        return dict(given)
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ValueError(
            f"Give GeoJSON, shapely geometries, a GeoSeries or a GeoDataFrame; given: {type(given).__name__}."
        )
    found = [_shapes(each) for each in given]
    if not found or any(isinstance(each, list) for each in found):
        raise ValueError("Give at least one polygon, and no collections within a list.")
    return [_as_feature(each) for each in found if isinstance(each, dict)]


def _as_feature(shape: Json) -> Json:
    feature = shape if shape.get("type") == "Feature" else {"type": "Feature", "geometry": shape}
    return {"properties": {}, **feature}


def _plain(value: Any) -> Any:
    """Dates, and numpy's numbers and arrays, as JSON has them."""
    if isinstance(value, date):
        return value.isoformat()
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be sent as JSON.")


def _failed(feature: Json) -> bool:
    return "problem" in feature


def _check(response: httpx.Response) -> httpx.Response:
    """Raises FluxError for what is no answer. The body has been read."""
    if response.is_success:
        return response
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    problem = problem if isinstance(problem, dict) else {}
    code = str(problem.get("type", "")).rsplit("/", 1)[-1] or "http"
    detail = str(problem.get("detail") or f"{response.reason_phrase or 'No answer'} from {response.url}.")
    raise FluxError(response.status_code, code, detail, response.headers.get("x-request-id", ""), problem)


def _pause(response: httpx.Response, tries: int) -> float | None:
    """Seconds until the request may be sent again, None if that is of no use."""
    if response.status_code not in (429, 503):
        return None
    after = response.headers.get("retry-after", "")
    if after.isdigit():
        # A little later than told, and not all clients at once.
        return float(after) + random.uniform(0, 0.25)
    # The server itself always says when, where waiting helps; a proxy may not.
    from_server = response.headers.get("content-type", "").startswith("application/problem+json")
    return None if from_server else min(30.0, 0.5 * 2**tries) * random.uniform(0.75, 1.25)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """How often a request is sent again. patience: seconds of waiting for it, all in all."""

    patience: float

    def before(self, response: httpx.Response, tries: int, waited: float) -> float | None:
        pause = _pause(response, tries)
        return None if pause is None or waited + pause > self.patience else pause


def _headers(key: str | None) -> dict[str, str]:
    given = os.environ.get("FIELDFLUX_KEY", "") if key is None else key
    return {"User-Agent": "fieldflux-python"} | ({"Authorization": f"Bearer {given}"} if given else {})


def _next_look(job: Job) -> float:
    """Seconds until a job is looked at again: a tenth of what it will take, at least half and at most ten."""
    left = job.body.get("seconds_left")
    return 1.0 if left is None or not math.isfinite(left) else min(10.0, max(0.5, left / 10))


class Client:
    """A server's client.

    url: its address. key: an API key, where the server asks for one; `FIELDFLUX_KEY` of the environment if not given.
    timeout: seconds for an answer. patience: seconds for which a request is sent again while the server is too busy
    (429 and 503, after `Retry-After`); then FluxError. Methods raise FluxError, and httpx.TransportError where no
    server is.
    """

    def __init__(
        self, url: str = "http://localhost:8000", key: str | None = None, timeout: float = 60.0, patience: float = 120.0
    ) -> None:
        self._http = httpx.Client(base_url=url, headers=_headers(key), timeout=timeout, follow_redirects=True)
        self._waiting = _Waiting(patience)

    def series(self, polygons: Any, **asked: Unpack[Asked]) -> Answer:
        """Values over time of one polygon or of many."""
        calls, alone = _series(polygons, asked)
        return _answer([self._send(call) for call in calls], alone)

    def register_fields(self, features: Any, id_property: str = "", atomic: bool = False) -> Json:
        """Register fields, or update those with the same own id; tells of each what became of it.

        id_property: property that holds your ids, instead of the Feature's `id`. atomic: all or none.
        """
        return self._send(_register(features, id_property, atomic))

    def fields(
        self,
        bbox: Sequence[float] | None = None,
        external_id: str = "",
        property: Mapping[str, str] | None = None,
    ) -> Iterator[Json]:
        """Your fields as GeoJSON Features, page after page; `GeoDataFrame.from_features(flux.fields())` reads them."""
        return self._pages("/v1/fields", _field_query(bbox, external_id, property))

    def field(self, name: str) -> Json:
        """A field by its id, as a GeoJSON Feature."""
        return self._send(_field(name))

    def delete_field(self, name: str) -> None:
        """Delete a field with its versions."""
        self._send(_field(name, "DELETE"))

    def field_series(self, names: str | Sequence[str], **asked: Unpack[Asked]) -> Answer:
        """Values over time of registered fields, by the ids that the server gave."""
        listed = [names] if isinstance(names, str) else list(names)
        return _answer([self._send(call) for call in _field_series(listed, asked)], False)

    def soil_profile(self, land: Any, **asked: Any) -> Json:
        """Soil organic carbon by depth of a polygon or of a registered field, by its id, and what it results from.

        asked: as POST /v1/soil/profile takes it: level, intervals, cube, model.
        """
        return self._send(_soil("profile", land, asked))

    def soil_scenario(self, land: Any, **asked: Any) -> Json:
        """Change of soil organic carbon under other management, year by year; year 0 is the present.

        asked: as POST /v1/soil/scenario takes it: years, tillage, residue_removed, added_carbon, cover_crop and so on.
        """
        return self._send(_soil("scenario", land, asked))

    def forecast(self, land: Any, issue_day: Any, **asked: Any) -> Json:
        """The yield of each crop of a polygon or of a registered field, by its id, as seen on the morning of a day.

        issue_day: a date, or text as 2020-07-01. asked: as POST /v1/forecast takes it: level, intervals, cube, model.
        """
        return self._send(_forecast(land, issue_day, asked))

    def make_statement(self, land: Any, **asked: Any) -> Json:
        """A signed carbon statement of polygons, or of registered fields by their ids. It issues no credits.

        asked: as POST /v1/statements takes it: `years`, or `scenario` with baseline and project; use_class and so on.
        `json.dump` of what is returned keeps it for `fieldflux verify`. An `idempotency_key` of your own gives the same
        statement again for the same request.
        """
        return self._send(_statement(land, asked))

    def statements(self) -> Iterator[Json]:
        """Your statements, the newest first, page after page; `superseded_by` names the correction of one."""
        return self._pages("/v1/statements", {})

    def statement(self, name: str) -> Json:
        """A statement by its id, as it was signed."""
        return self._send(_Call("GET", f"/v1/statements/{_part(name)}", _json))

    def statement_table(self, name: str) -> pd.DataFrame:
        """A statement as a table: a row for each field, then the row `total`, the one that counts."""
        return self._send(_Call("GET", f"/v1/statements/{_part(name)}/table.csv", _frame))

    def verify_statement(self, statement: Mapping[str, Any], recompute: bool = True) -> Json:
        """Whether a statement's signature is this server's, and its numbers come out again; `good` is both."""
        return self._send(_verify(statement, recompute))

    def cost(self, polygons: Any = None, **body: Any) -> Json:
        """What a job would cost, and what is wrong with it; nothing is kept. As `submit`."""
        return self._send(_submit(polygons, body, _json, True))

    def submit(self, polygons: Any = None, **body: Any) -> Job:
        """Send a job: series of up to 10,000 polygons, of `fields=[...]` or of a `query={}` of registered fields; or
        another `kind`: "run" or "export". body: what POST /v1/jobs takes, and what series take."""
        return self._send(_submit(polygons, body, _job, False))

    def job(self, job: Job | str) -> Job:
        """How a job is now."""
        return self._send(_of_job(job))

    def jobs(self, state: str = "") -> Iterator[Json]:
        """Your jobs, the newest first."""
        return self._pages("/v1/jobs", {"state": state})

    def wait(self, job: Job | str, progress: Progress | None = None) -> Job:
        """Wait until a job is done. progress: called each time it was looked at. Raises JobFailed if it ends
        otherwise."""
        while True:
            found = self.job(job)
            if progress:
                progress(found)
            if found.state == "done":
                return found
            if found.ended:
                raise JobFailed(found)
            time.sleep(_next_look(found))

    def cancel(self, job: Job | str) -> Job:
        """Stop a job; what is done is kept."""
        return self._send(_of_job(job, "cancel"))

    def resume(self, job: Job | str) -> Job:
        """Let a paused or failed job go on."""
        return self._send(_of_job(job, "resume"))

    def results(self, job: Job | str) -> Answer:
        """The series of a job, as far as they are there."""
        path, bodies, cursor = f"/v1/jobs/{_part(job if isinstance(job, str) else job.id)}/results", [], ""
        while True:
            page = self._send(_page(path, {}, cursor))
            bodies.append(page)
            # While the job runs, `next` stays: an empty page is the end of what there is.
            if not page["next"] or not page["items"]:
                return _answer(bodies, False)
            cursor = page["next"]

    def download(self, job: Job | str, name: str, path: Path | str) -> Path:
        """Write a job's file: parquet, csv, ndjson, json or netcdf of a series job, or one of an export by its name."""
        target, part = Path(path), Path(f"{path}.part")
        with self._http.stream("GET", _file(job, name)) as response:
            if not response.is_success:
                response.read()
            _check(response)
            with part.open("wb") as file:
                for chunk in response.iter_bytes():
                    file.write(chunk)
        return part.replace(target)

    def tile(
        self,
        variable: str,
        when: str | int,
        z: int,
        x: int,
        y: int,
        format: Literal["png", "webp", "tif", "npy"] = "png",
        **look: Any,
    ) -> bytes:
        """A map tile. when: a day, month, year, span or "latest". look: style, colormap, range, size, minus, …"""
        return self._send(_tile(variable, str(when), z, x, y, format, look))

    def models(self) -> list[Json]:
        """The models of the server."""
        return self._send(_Call("GET", "/v1/models", _member("models")))

    def model(self, name: str) -> Json:
        """The card of a model, by name/version: data, scores, known faults."""
        return self._send(_Call("GET", f"/v1/models/{quote(name)}", _json))

    def cubes(self) -> list[Json]:
        """Where and when there are inputs."""
        return self._send(_Call("GET", "/v1/cubes", _member("cubes")))

    def variables(self) -> list[Json]:
        """The variables with their units, signs and ranges."""
        return self._send(_Call("GET", "/v1/variables", _member("variables")))

    def limits(self) -> Json:
        """What one request may ask for."""
        return self._send(_Call("GET", "/v1/limits", _json))

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _pages(self, path: str, query: Mapping[str, Any]) -> Iterator[Json]:
        cursor: str | None = ""
        while cursor is not None:
            page = self._send(_page(path, query, cursor))
            yield from page["items"]
            cursor = page["next"]

    def _send(self, call: _Call[U]) -> U:
        tries, waited = 0, 0.0
        while True:
            response = self._http.send(call.request(self._http))
            pause = self._waiting.before(response, tries, waited)
            if pause is None:
                return call.read(_check(response))
            time.sleep(pause)
            tries, waited = tries + 1, waited + pause


class AsyncClient:
    """The same, to be awaited: `async with AsyncClient() as flux: found = await flux.series(...)`."""

    def __init__(
        self, url: str = "http://localhost:8000", key: str | None = None, timeout: float = 60.0, patience: float = 120.0
    ) -> None:
        self._http = httpx.AsyncClient(base_url=url, headers=_headers(key), timeout=timeout, follow_redirects=True)
        self._waiting = _Waiting(patience)

    async def series(self, polygons: Any, **asked: Unpack[Asked]) -> Answer:
        """As Client.series."""
        calls, alone = _series(polygons, asked)
        return _answer([await self._send(call) for call in calls], alone)

    async def register_fields(self, features: Any, id_property: str = "", atomic: bool = False) -> Json:
        """As Client.register_fields."""
        return await self._send(_register(features, id_property, atomic))

    def fields(
        self,
        bbox: Sequence[float] | None = None,
        external_id: str = "",
        property: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Json]:
        """As Client.fields, for `async for`."""
        return self._pages("/v1/fields", _field_query(bbox, external_id, property))

    async def field(self, name: str) -> Json:
        """As Client.field."""
        return await self._send(_field(name))

    async def delete_field(self, name: str) -> None:
        """As Client.delete_field."""
        await self._send(_field(name, "DELETE"))

    async def field_series(self, names: str | Sequence[str], **asked: Unpack[Asked]) -> Answer:
        """As Client.field_series."""
        listed = [names] if isinstance(names, str) else list(names)
        return _answer([await self._send(call) for call in _field_series(listed, asked)], False)

    async def soil_profile(self, land: Any, **asked: Any) -> Json:
        """As Client.soil_profile."""
        return await self._send(_soil("profile", land, asked))

    async def soil_scenario(self, land: Any, **asked: Any) -> Json:
        """As Client.soil_scenario."""
        return await self._send(_soil("scenario", land, asked))

    async def forecast(self, land: Any, issue_day: Any, **asked: Any) -> Json:
        """As Client.forecast."""
        return await self._send(_forecast(land, issue_day, asked))

    async def make_statement(self, land: Any, **asked: Any) -> Json:
        """As Client.make_statement."""
        return await self._send(_statement(land, asked))

    def statements(self) -> AsyncIterator[Json]:
        """As Client.statements, for `async for`."""
        return self._pages("/v1/statements", {})

    async def statement(self, name: str) -> Json:
        """As Client.statement."""
        return await self._send(_Call("GET", f"/v1/statements/{_part(name)}", _json))

    async def statement_table(self, name: str) -> pd.DataFrame:
        """As Client.statement_table."""
        return await self._send(_Call("GET", f"/v1/statements/{_part(name)}/table.csv", _frame))

    async def verify_statement(self, statement: Mapping[str, Any], recompute: bool = True) -> Json:
        """As Client.verify_statement."""
        return await self._send(_verify(statement, recompute))

    async def cost(self, polygons: Any = None, **body: Any) -> Json:
        """As Client.cost."""
        return await self._send(_submit(polygons, body, _json, True))

    async def submit(self, polygons: Any = None, **body: Any) -> Job:
        """As Client.submit."""
        return await self._send(_submit(polygons, body, _job, False))

    async def job(self, job: Job | str) -> Job:
        """As Client.job."""
        return await self._send(_of_job(job))

    def jobs(self, state: str = "") -> AsyncIterator[Json]:
        """As Client.jobs, for `async for`."""
        return self._pages("/v1/jobs", {"state": state})

    async def wait(self, job: Job | str, progress: Progress | None = None) -> Job:
        """As Client.wait."""
        while True:
            found = await self.job(job)
            if progress:
                progress(found)
            if found.state == "done":
                return found
            if found.ended:
                raise JobFailed(found)
            await asyncio.sleep(_next_look(found))

    async def cancel(self, job: Job | str) -> Job:
        """As Client.cancel."""
        return await self._send(_of_job(job, "cancel"))

    async def resume(self, job: Job | str) -> Job:
        """As Client.resume."""
        return await self._send(_of_job(job, "resume"))

    async def results(self, job: Job | str) -> Answer:
        """As Client.results."""
        path, bodies, cursor = f"/v1/jobs/{_part(job if isinstance(job, str) else job.id)}/results", [], ""
        while True:
            page = await self._send(_page(path, {}, cursor))
            bodies.append(page)
            if not page["next"] or not page["items"]:
                return _answer(bodies, False)
            cursor = page["next"]

    async def download(self, job: Job | str, name: str, path: Path | str) -> Path:
        """As Client.download."""
        target, part = Path(path), Path(f"{path}.part")
        async with self._http.stream("GET", _file(job, name)) as response:
            if not response.is_success:
                await response.aread()
            _check(response)
            with part.open("wb") as file:
                async for chunk in response.aiter_bytes():
                    file.write(chunk)
        return part.replace(target)

    async def tile(
        self,
        variable: str,
        when: str | int,
        z: int,
        x: int,
        y: int,
        format: Literal["png", "webp", "tif", "npy"] = "png",
        **look: Any,
    ) -> bytes:
        """As Client.tile."""
        return await self._send(_tile(variable, str(when), z, x, y, format, look))

    async def models(self) -> list[Json]:
        """As Client.models."""
        return await self._send(_Call("GET", "/v1/models", _member("models")))

    async def model(self, name: str) -> Json:
        """As Client.model."""
        return await self._send(_Call("GET", f"/v1/models/{quote(name)}", _json))

    async def cubes(self) -> list[Json]:
        """As Client.cubes."""
        return await self._send(_Call("GET", "/v1/cubes", _member("cubes")))

    async def variables(self) -> list[Json]:
        """As Client.variables."""
        return await self._send(_Call("GET", "/v1/variables", _member("variables")))

    async def limits(self) -> Json:
        """As Client.limits."""
        return await self._send(_Call("GET", "/v1/limits", _json))

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def _pages(self, path: str, query: Mapping[str, Any]) -> AsyncIterator[Json]:
        cursor: str | None = ""
        while cursor is not None:
            page = await self._send(_page(path, query, cursor))
            for item in page["items"]:
                yield item
            cursor = page["next"]

    async def _send(self, call: _Call[U]) -> U:
        tries, waited = 0, 0.0
        while True:
            response = await self._http.send(call.request(self._http))
            pause = self._waiting.before(response, tries, waited)
            if pause is None:
                return call.read(_check(response))
            await asyncio.sleep(pause)
            tries, waited = tries + 1, waited + pause
