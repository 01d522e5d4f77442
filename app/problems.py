"""Errors over HTTP: RFC 9457 problem details, from one table of exceptions.

Code that raises knows nothing of HTTP. Its sentences are passed on; a stack trace never is.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException

log = logging.getLogger("fieldflux")

LONGEST_DETAIL = 1800
"""Characters."""

MEDIA = "application/problem+json"

# How problems appear in the API's description.
RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "A problem (RFC 9457)",
        "content": {
            MEDIA: {
                "schema": {
                    "type": "object",
                    "required": ["type", "title", "status", "detail"],
                    "properties": {
                        "type": {"type": "string", "format": "uri-reference"},
                        "title": {"type": "string"},
                        "status": {"type": "integer"},
                        "detail": {"type": "string"},
                        "instance": {"type": "string"},
                    },
                },
                "example": {
                    "type": "/problems/unknown-variable",
                    "title": "There is no such variable",
                    "status": 404,
                    "detail": "There is no variable 'npp'. The variables are: biomass, et, gpp, h, lai, le, nee, …",
                    "instance": "/v1/legend/npp.json",
                },
            }
        },
    }
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of problem: its URI is /problems/{slug}, which is also a page that explains it.

    retry_after: seconds after which the same request may succeed; None where repeating it does not help.
    """

    slug: str
    status: int
    title: str
    help: str
    retry_after: int | None = None


# Read by column.
# fmt: off
KINDS: MappingProxyType[str, Kind] = MappingProxyType({kind.slug: kind for kind in (
    Kind("invalid-json", 400, "The body is not JSON",
         "The body could not be parsed. The detail says at which character."),
    Kind("invalid-request", 422, "A value of the request is missing or not valid",
         "`errors` lists each value with its place in the request, what was given and what is allowed."),
    Kind("invalid-geometry", 422, "The geometry is not a valid polygon",
         "Send a GeoJSON Polygon or MultiPolygon, in longitude and latitude, whose rings do not cross themselves or "
         "each other and enclose an area. The detail says what is wrong, and where."),
    Kind("wrong-crs", 422, "The coordinates are in another reference system",
         "GeoJSON (RFC 7946) is in WGS 84 longitude and latitude. Transform the geometry, and drop its `crs` member."),
    Kind("swapped-coordinates", 422, "Longitude and latitude look swapped",
         "GeoJSON positions are [longitude, latitude], as in [-93.6, 42.0]."),
    Kind("outside-cube", 422, "The geometry lies outside the cube",
         "GET /v1/cubes lists the cubes with their bounds."),
    Kind("invalid-dates", 422, "The dates are reversed, or outside the cube",
         "GET /v1/cubes lists the years of each cube. `first` and `last` are both included."),
    Kind("unknown-variable", 404, "There is no such variable", "GET /v1/variables lists them, with their units."),
    Kind("unknown-level", 422, "Intervals cannot be had at this level",
         "`allowed` lists the levels at which the model's intervals are calibrated."),
    Kind("unknown-statistic", 422, "There is no such statistic",
         "`allowed` lists the statistics; quantiles are q05 to q95 or {\"quantile\": 0.025}."),
    Kind("unknown-ruleset", 422, "There is no such ruleset",
         "`allowed` lists the rulesets; GET /v1/statements/rulesets describes them."),
    Kind("bad-ruleset", 503, "A ruleset cannot be read",
         "The operator has to correct the file in `rulesets/` of the work folder. The detail says what is wrong."),
    Kind("unknown-statement", 404, "There is no such statement", "GET /v1/statements lists yours."),
    Kind("superseded", 409, "The statement was corrected before",
         "`superseded_by` names the statement that corrects it: correct that one."),
    Kind("use-not-supported", 422, "The model is no evidence for this use",
         "`lacking` tells what the use needs and is not there; `allowed`, what the statement can be used for."),
    Kind("fields-overlap", 422, "Two fields of a statement overlap",
         "Land counts once. Correct the outlines, or leave one of the fields out."),
    Kind("unknown-unit", 422, "The variable cannot be given in this unit",
         "`allowed` lists the units of the variable. The time (d-1, yr-1) is added by itself."),
    Kind("not-acceptable", 406, "The answer cannot be had in this format",
         "`allowed` lists the formats by their `f=` and their media types for `Accept`."),
    Kind("unknown-model", 404, "There is no such model", "GET /v1/models lists them."),
    Kind("unknown-style", 422, "There is no such style",
         "`allowed` lists the styles; GET /v1/styles describes them, and gives each variable's own."),
    Kind("unknown-collection", 404, "There is no such collection or layer",
         "/v1/ogc/collections, /v1/edr/collections, /v1/stac and the WMTS capabilities name them all."),
    Kind("unknown-cube", 404, "There is no such cube", "GET /v1/cubes lists them."),
    Kind("not-in-store", 404, "The store does not hold this variable, day or year",
         "GET /v1/tiles/{variable}/tilejson.json tells which days and years there are."),
    Kind("invalid-tile", 404, "There is no such tile", "At zoom z, x and y go from 0 to 2^z - 1."),
    Kind("missing-inputs", 409, "The cube does not have what the model needs",
         "Choose another model or cube, or add the missing inputs to the cube."),
    Kind("over-limit", 413, "The request is larger than this server allows",
         "GET /v1/limits lists the limits. Ask for less at a time, or run the region with `fieldflux run`."),
    Kind("not-computed-yet", 503, "This has not been computed yet",
         "It is queued where the server may compute it: ask again after `Retry-After` seconds.", 10),
    Kind("bad-checkpoint", 503, "A model's files are damaged",
         "The operator has to restore the checkpoint. The detail says which file, and what is wrong with it."),
    Kind("bad-cube", 503, "A cube cannot be read",
         "The operator has to restore or rebuild the cube. The detail says what is wrong with it."),
    Kind("bad-store", 503, "A store cannot be read",
         "The operator has to restore the store, or delete it and run the model again."),
    Kind("unknown-field", 404, "There is no such field",
         "GET /v1/fields lists yours; its `external_id` finds your own id."),
    Kind("duplicate-id", 409, "Another field has this id",
         "Your own ids are unique among your fields. Change one of them, or send the field by PUT to its address."),
    Kind("invalid-upload", 422, "The file of fields cannot be read",
         "Send GeoJSON, GeoParquet, or a zip with one shapefile (.shp, .shx, .dbf and .prj)."),
    Kind("rejected-fields", 422, "No field was taken",
         "`features` tells of each what is wrong with it. Nothing was changed."),
    Kind("unknown-job", 404, "There is no such job", "GET /v1/jobs lists yours."),
    Kind("job-state", 409, "The job's state does not allow this",
         "`state` tells what it is: queued and running jobs can be cancelled, failed and paused ones be resumed."),
    Kind("idempotency-mismatch", 422, "This Idempotency-Key came with another body before",
         "`job` names the job that was made then. Send another key for another job."),
    Kind("results-removed", 410, "The job's results are no longer kept",
         "`expires` of a job tells until when. Send the job again."),
    Kind("webhook-refused", 422, "This server calls no such address",
         "The operator allows hosts by FIELDFLUX_WEBHOOK_HOSTS; private and loopback addresses only by their name."),
    Kind("no-key", 401, "A key is needed",
         "Send one as `Authorization: Bearer ff_…` or `X-API-Key: ff_…`. The operator makes keys with "
         "`fieldflux keys create`, an administrator of yours with POST /v1/keys."),
    Kind("invalid-key", 401, "The key is not valid",
         "It is mistyped, expired or revoked, or of another server; the detail says which, as far as that is known."),
    Kind("unknown-key", 404, "There is no such key", "GET /v1/keys lists yours."),
    Kind("rate-limited", 429, "Too much was asked for in a short time",
         "Ask again after `Retry-After` seconds. `RateLimit` in each answer tells what is left; GET /v1/usage tells "
         "what each kind of request costs.", 1),
    Kind("quota-exhausted", 429, "The day's quota is used up",
         "It is given again at midnight UTC; `Retry-After` tells the seconds until then. GET /v1/usage tells what it "
         "was used for.", 3600),
    Kind("address-too-long", 414, "The address is too long",
         "GET /v1/limits tells how long it may be (`url_bytes`). Send a long geometry by POST."),
    Kind("headers-too-long", 431, "The header fields are too long",
         "GET /v1/limits tells how long they may be all together (`header_bytes`)."),
    Kind("bad-request", 400, "The request cannot be read", "The detail says what is wrong with it."),
    Kind("missing-scope", 403, "The key does not allow this",
         "`scope` names what the key lacks. Ask for a key that has it."),
    Kind("invalid-cursor", 422, "This is no cursor of this list",
         "Take `next` of the page before as it is; leave `cursor` out for the first page."),
    Kind("database-unavailable", 503, "The database does not answer",
         "Nothing was changed. Ask again after `Retry-After` seconds; maps and series of polygons do not need it.", 5),
    Kind("bad-database", 503, "The database cannot be used",
         "The operator has to give another one, or the version of the server that it was made by."),
    Kind("store-away", 503, "The store cannot be reached",
         "It lies in an object store that does not answer, or refuses. Ask again after `Retry-After` seconds; what "
         "this server keeps of it is answered meanwhile.", 5),
    Kind("read-only", 503, "The server cannot write its files",
         "The work folder is on a read-only disk, or belongs to another user."),
    Kind("disk-full", 507, "The server's disk is full", "The operator has to free space. What was computed is kept."),
    Kind("not-found", 404, "There is nothing at this address",
         "GET /openapi.json describes all addresses; /docs shows them."),
    Kind("gone", 410, "This snapshot of the store is gone",
         "What it held was computed again since. TileJSON gives the present addresses; `latest` leads to them."),
    Kind("method-not-allowed", 405, "This address does not take this method",
         "The `Allow` header lists those that it takes."),
    Kind("internal", 500, "The server failed",
         "This is a fault of the server. Report it with the request id; its log says more."),
)})
# fmt: on


@runtime_checkable
class Coded(Protocol):
    """An error that names its kind of problem itself, by slug, and brings members for programs."""

    code: str
    members: Mapping[str, object]


class Refused(ValueError):
    """A request that the app itself refuses, as the problem of that slug, with members of its own.

    headers: what is sent beside it, such as `WWW-Authenticate`.
    """

    def __init__(self, code: str, detail: str, **members: object) -> None:
        super().__init__(detail)
        self.code = code
        self.members = members
        self.headers: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem as it is sent."""

    kind: Kind
    detail: str
    members: Mapping[str, object] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self, instance: str) -> dict[str, object]:
        return {
            "type": f"/problems/{self.kind.slug}" if self.kind.slug else "about:blank",
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": cut(self.detail),
            "instance": instance,
            **self.members,
        }

    def response(self, instance: str, headers: Mapping[str, str] | None = None) -> Response:
        extra = {**self.headers, **(headers or {})}
        if self.kind.retry_after is not None:
            extra.setdefault("Retry-After", str(self.kind.retry_after))
        extra.setdefault("Cache-Control", "no-store")
        return Response(_dumps(self.body(instance)), self.kind.status, extra, MEDIA)


# By name, so that this module loads none of them: some bring libraries that take a second to import.
EXCEPTIONS: MappingProxyType[str, str] = MappingProxyType(
    {
        "fieldflux.models.variables.UnknownVariable": "unknown-variable",
        "fieldflux.models.registry.UnknownModel": "unknown-model",
        "fieldflux.models.contract.MissingInputs": "missing-inputs",
        "fieldflux.models.checkpoint.BadCheckpoint": "bad-checkpoint",
        "fieldflux.tiles.palettes.UnknownStyle": "unknown-style",
        "fieldflux.tiles.cube.OutsideCube": "outside-cube",
        "fieldflux.tiles.cubefile.CubeNotWritten": "read-only",
        "fieldflux.tiles.cubefile.BadCube": "bad-cube",
        "fieldflux.tiles.manifest.BadStore": "bad-store",
        "fieldflux.tiles.manifest.WrongStore": "bad-store",
        "fieldflux.tiles.site.NotInStore": "not-in-store",
        "fieldflux.tiles.state.BadState": "bad-store",
        "fieldflux.tiles.mercator.BadTile": "invalid-tile",
        "fieldflux.tiles.when.BadMoment": "invalid-dates",
        "fieldflux.tiles.folder.StoreAway": "store-away",
        "fieldflux.tiles.objects.bucket.BadAddress": "bad-store",
        "fieldflux.tiles.files.StoreReadOnly": "read-only",
        "fieldflux.tiles.files.StoreFull": "disk-full",
    }
)


def problem_of(error: BaseException) -> Problem | None:
    """The problem that an exception means, or None for one that nobody foresaw."""
    if isinstance(error, Coded) and error.code in KINDS:
        return Problem(KINDS[error.code], str(error), error.members, getattr(error, "headers", {}))
    for kind in type(error).__mro__:
        slug = EXCEPTIONS.get(f"{kind.__module__}.{kind.__qualname__}")
        if slug is not None:
            return Problem(KINDS[slug], shorten_paths(str(error)))
    return None


def cut(sentence: str) -> str:
    """The sentence without the most of a word that nobody reads: it may repeat what was given, of any length.

    >>> cut(f"There is no cube '{'x' * 300}'.")[-30:]
    'xxxxxxxxxxxxxxxxxxxxxxxxxxxxx…'
    """
    short = re.sub(r"\S{161,}", lambda word: f"{word[0][:120]}…", sentence)
    return short if len(short) <= LONGEST_DETAIL else f"{short[:LONGEST_DETAIL]}…"


def shorten_paths(sentence: str) -> str:
    """The sentence with absolute paths cut to their last two names: a caller needs the file, not the server's folders.

    >>> shorten_paths("No card at /srv/fieldflux/models/agroecosystem/1/card.json.")
    'No card at …/1/card.json.'
    """
    return re.sub(r"(?<![\w.:/…])/(?:[^/\s'\"]+/)+([^/\s'\"]+/[^/\s'\"]+)", r"…/\1", sentence)


def install(app: FastAPI) -> None:
    """Answer every error of `app` with a problem. Unexpected exceptions are left to `middleware.RequestContext`."""

    async def foreseen(request: Request, error: Exception) -> Response:
        problem = problem_of(error)
        if problem is None:
            raise error
        if problem.kind.status >= 500 and problem.kind.retry_after is None:
            log.error("%s: %s", problem.kind.slug, error)
        return problem.response(request.url.path)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return _validation(error).response(request.url.path)

    async def by_status(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers |= _allowed(app, request)
        return _status(request, error).response(request.url.path, headers)

    # Every error that models and tiles raise on purpose is a ValueError.
    app.add_exception_handler(ValueError, foreseen)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, by_status)


def _dumps(body: Mapping[str, object]) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError:
        # JSON can name halves of characters ("\\ud800"), and the sentence repeats what was given.
        return json.dumps(body, ensure_ascii=False, default=str).encode("utf-8", "replace")


def _allowed(app: FastAPI, request: Request) -> dict[str, str]:
    """All methods of an address, by its description: the router names those of the first route that fits."""
    route = request.scope.get("route")
    described = app.openapi()["paths"].get(getattr(route, "path_format", ""), {})
    # Those that are not described, such as HEAD, are the route's own.
    methods = {method.upper() for method in described} | set(getattr(route, "methods", None) or ())
    return {"Allow": ", ".join(sorted(methods))} if methods else {}


def _status(request: Request, error: HTTPException) -> Problem:
    if error.status_code == 404:
        return Problem(KINDS["not-found"], f"There is nothing at {request.url.path}.")
    if error.status_code == 405:
        return Problem(KINDS["method-not-allowed"], f"{request.url.path} does not take {request.method}.")
    if error.status_code == 400:
        return Problem(KINDS["bad-request"], f"{str(error.detail).rstrip('.')}.")
    # By RFC 9457, the type of a problem that says no more than its status.
    kind = Kind("", error.status_code, HTTPStatus(error.status_code).phrase, "")
    return Problem(kind, str(error.detail))


def _validation(error: RequestValidationError) -> Problem:
    found = list(_errors(error.errors()))
    broken = next((e for e in error.errors() if e["type"] == "json_invalid"), None)
    if broken is not None:
        why = broken.get("ctx", {}).get("error", "it is not JSON")
        at = f" at character {broken['loc'][-1]}" if broken["loc"] else ""
        return Problem(KINDS["invalid-json"], f"The body is not JSON: {str(why)[:300].rstrip('.')}{at}.")
    more = f" ({len(found) - 1} more in `errors`)" if len(found) > 1 else ""
    return Problem(KINDS["invalid-request"], f"{_sentence(found[0])}{more}", {"errors": found})


def first_wrong(error: ValidationError) -> str:
    """What is wrong first in values that pydantic refused, as a sentence."""
    return _sentence(next(_errors(error.errors()))).removeprefix("body: ")


def _errors(errors: Any) -> Iterator[dict[str, object]]:
    for e in errors:
        # Of a union, pydantic names the type that it tried, as in `features.dict[str,any]`.
        parts = (cut(str(part)) for part in e["loc"] if part != "body" and "[" not in str(part))
        place = ".".join(parts) or "body"
        given = e.get("input")
        given = cut(given) if isinstance(given, str) else given
        yield {
            "place": place,
            # Where pydantic speaks of Python, of JSON.
            "message": e["msg"]
            .removeprefix("Value error, ")
            .replace("Input should be a valid dictionary", "give a JSON object")
            .rstrip("."),
            **({"given": given} if isinstance(given, str | int | float | bool) else {}),
        }


def _sentence(found: Mapping[str, object]) -> str:
    value = found.get("given")
    shown = repr(value[:80]) if isinstance(value, str) else json.dumps(value)
    given = f"; given: {shown}" if "given" in found else ""
    return f"{found['place']}: {found['message']}{given}."
