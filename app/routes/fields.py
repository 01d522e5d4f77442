"""Fields that users register: outlines with versions, their series, and their tiles."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal, TypeVar

import orjson
from anyio import to_thread
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fieldflux.app.accounts.who import Caller, needs
from fieldflux.app.address import FieldSeriesQuery
from fieldflux.app.ask import Ask
from fieldflux.app.database import Database, database_of
from fieldflux.app.fields.given import LONGEST_ID
from fieldflux.app.members import FIELD, Day
from fieldflux.app.paging import Cursor, PageLimit, from_cursor, to_cursor
from fieldflux.app.problems import Refused
from fieldflux.app.reply import as_json, dumps, same, workspace_of
from fieldflux.app.routes.series import DESCRIBED, answer_to
from fieldflux.app.workspace import Workspace
from pydantic import StringConstraints

router = APIRouter(prefix="/v1/fields", tags=["fields"])

Reader = Annotated[Caller, Depends(needs("read"))]
Writer = Annotated[Caller, Depends(needs("fields"))]
FieldId = Annotated[
    str, Path(description="The field's id, as the server gave it", examples=["fld_01kxyz"], max_length=60)
]
VersionNumber = Annotated[int | None, Query(ge=1, le=2**31 - 1, description="Version of the outline; the current one.")]
ValidFrom = Annotated[
    Day | None,
    Query(
        description="First day of the outlines in the body, where they are new. Without: the day in a feature's "
        "property `determination_datetime` (fiboa), or today."
    ),
]
OwnId = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_ID)]
IdProperty = Annotated[
    str, Query(description="Property that holds your own id, instead of the Feature's `id`.", max_length=200)
]

Result = TypeVar("Result")

_FEATURE: Any = {
    "type": "Feature",
    "id": "north-40",
    "geometry": FIELD,
    "properties": {"crop": "corn", "sowing": "2021-05-02", "harvest": "2021-10-20"},
}
_NEXT: Any = {
    "type": "Feature",
    "id": "south-40",
    "geometry": {
        "type": "Polygon",
        "coordinates": [[[-93.66, 42.02], [-93.65, 42.02], [-93.65, 42.03], [-93.66, 42.03], [-93.66, 42.02]]],
    },
    "properties": {"crop": "soybean"},
}


def _body(examples: dict[str, Any], *, files: bool = False, whole: bool = True) -> dict[str, Any]:
    """The description of a body that the handler reads itself, so that a bad feature does not refuse all others."""
    schema = {"type": "object", "properties": {"type": {"type": "string"}}} | ({"required": ["type"]} if whole else {})
    named = {name: {"value": value} for name, value in examples.items()}
    content: dict[str, Any] = {
        "application/geo+json": {"schema": schema, "examples": named},
        "application/json": {"schema": schema, "examples": named},
    }
    if files:
        binary = {"schema": {"type": "string", "format": "binary"}}
        content |= {"application/vnd.apache.parquet": binary, "application/zip": binary}
    return {"requestBody": {"required": True, "content": content}}


_JSON: dict[int | str, dict[str, Any]] = {200: {"content": {"application/json": {}}}}
_GEOJSON: dict[int | str, dict[str, Any]] = {200: {"content": {"application/geo+json": {}}, "description": "A Feature"}}


@router.post(
    "",
    summary="Register fields: GeoJSON, GeoParquet (fiboa) or a zipped shapefile",
    response_class=Response,
    status_code=201,
    responses={
        200: {"content": {"application/json": {}}, "description": "Nothing new; the report tells of each feature"},
        201: {
            "content": {"application/json": {}},
            "description": "Some were created; the report tells of each feature",
        },
    },
    openapi_extra=_body(
        {
            "one": _FEATURE,
            "many": {"type": "FeatureCollection", "features": [_FEATURE, _NEXT]},
        },
        files=True,
    ),
)
async def register(
    request: Request,
    who: Writer,
    id_property: IdProperty = "",
    valid_from: ValidFrom = None,
    atomic: Annotated[bool, Query(description="Take all features or, where one is rejected, none.")] = False,
) -> Response:
    """A feature whose own id is known already updates that field: its properties are replaced, another outline becomes
    a new version. The report tells for each feature whether it was created, updated, left unchanged or rejected and
    why, with its area, its cells on the default cube, overlaps and duplicates among your fields.

    422 where every feature is rejected, or, with `atomic`, any. The file's kind is told by its first bytes;
    coordinates of a file are transformed to WGS 84 by the reference system that it names.
    """
    body = await request.body()
    workspace, database = workspace_of(request), database_of(request)

    def work() -> tuple[dict[str, Any], str]:
        from fieldflux.app.fields.given import Rules, check_all
        from fieldflux.app.fields.register import register as write
        from fieldflux.app.fields.uploads import read_features

        limits = workspace.settings.limits
        checked = check_all(read_features(body, limits), Rules(limits, id_property, valid_from))
        outcomes = write(workspace, database, who.tenant, checked, atomic)
        return _report(workspace, database, who.tenant, outcomes, len(checked))

    report, first = await _run(request, work)
    headers = {"Location": f"/v1/fields/{first}"} if first and len(report["features"]) == 1 else {}
    return as_json(report, 201 if report["created"] else 200, headers)


@router.get(
    "",
    summary="Your fields, page by page",
    response_class=Response,
    responses={
        200: {"content": {"application/json": {}, "application/geo+json": {}}},
        304: {"description": "Unchanged"},
    },
)
async def list_fields(
    request: Request,
    who: Reader,
    limit: PageLimit = 100,
    cursor: Cursor = "",
    bbox: Annotated[
        str,
        Query(description="west,south,east,north, degrees: fields that it touches.", examples=["-94,42,-93,43"]),
    ] = "",
    external_id: Annotated[
        list[OwnId] | None, Query(description="Your own id; may be given many times.", max_length=500)
    ] = None,
    property: Annotated[
        list[str] | None,
        Query(description="name:value of a property, as in crop:corn; all that are given must fit.", max_length=20),
    ] = None,
    overlaps: Annotated[bool, Query(description="Work out overlaps and duplicates of each, too.")] = False,
    f: Annotated[Literal["json", "geojson"], Query(description="json, or geojson: a FeatureCollection.")] = "json",
) -> Response:
    """In the order in which they were registered. New fields come at the end: none is skipped or shown twice while
    others are added or deleted."""
    from fieldflux.app.fields.find import Filter

    after = from_cursor(cursor)
    wanted = Filter(
        _bbox(bbox), tuple(_text(v) for v in external_id or ()), tuple(_name_and_value(p) for p in property or ())
    )
    workspace, database = workspace_of(request), database_of(request)

    def work() -> dict[str, Any]:
        from fieldflux.app.fields.find import page
        from fieldflux.app.fields.view import as_feature

        place = _place(workspace)
        found = page(database, who.tenant, wanted, limit + 1, str(after[0]) if after else "", place, overlaps)
        shown = [as_feature(field, place is not None) for field in found[:limit]]
        if not overlaps:
            # Not looked for is not the same as none.
            shown = [{k: v for k, v in one.items() if k not in ("overlaps", "duplicates")} for one in shown]
        return {"items": shown, "next": to_cursor(found[limit - 1].id) if len(found) > limit else None}

    answer = await _run(request, work)
    if f == "geojson":
        answer = {"type": "FeatureCollection", "features": answer["items"], "next": answer["next"]}
    return _tagged(request, answer, "application/geo+json" if f == "geojson" else "application/json")


@router.get("/{field}", summary="A field", response_class=Response, responses=_GEOJSON)
async def get_field(request: Request, who: Reader, field: FieldId, version: VersionNumber = None) -> Response:
    """A GeoJSON Feature: `properties` as they were given; beside them area, cells, flags, overlaps with your other
    fields (hectares, and as a fraction of this field) and duplicates."""
    return _tagged(request, await _one(request, who, field, version), "application/geo+json")


@router.put(
    "/{field}",
    summary="Replace a field",
    response_class=Response,
    responses=_GEOJSON,
    openapi_extra=_body({"one": _FEATURE}),
)
async def put_field(
    request: Request, who: Writer, field: FieldId, id_property: IdProperty = "", valid_from: ValidFrom = None
) -> Response:
    """By a GeoJSON Feature. Properties are replaced as a whole; another outline becomes a new version; an `id` becomes
    its own id."""
    body = await request.body()
    workspace, database = workspace_of(request), database_of(request)

    def work() -> None:
        from fieldflux.app.fields.given import Rules, check, own_id, read_json
        from fieldflux.app.fields.register import replace

        feature = read_json(body)
        rules = Rules(workspace.settings.limits, id_property, valid_from)
        replace(workspace, database, who.tenant, _text(field), check(feature, 0, own_id(feature, id_property), rules))

    await _run(request, work)
    return _tagged(request, await _one(request, who, field), "application/geo+json")


@router.patch(
    "/{field}",
    summary="Change a field in part",
    response_class=Response,
    responses=_GEOJSON,
    openapi_extra=_body(
        {
            "properties": {"type": "Feature", "properties": {"crop": "soybean", "harvest": None}},
            "outline": {"type": "Feature", "geometry": FIELD},
        },
        whole=False,
    ),
)
async def patch_field(request: Request, who: Writer, field: FieldId, valid_from: ValidFrom = None) -> Response:
    """By a Feature of which only what changes is given: `properties` by name (null removes one), `geometry`, `id`."""
    body = await request.body()
    workspace, database = workspace_of(request), database_of(request)

    def work() -> None:
        from fieldflux.app.fields.given import Rules, check, check_properties, own_id, read_json
        from fieldflux.app.fields.register import merge

        change = read_json(body)
        if not isinstance(change, dict) or change.get("type", "Feature") != "Feature":
            raise Refused("invalid-request", "A field is changed by a GeoJSON Feature; its `type` is 'Feature'.")
        if not change.keys() & {"properties", "geometry", "id"}:
            raise Refused("invalid-request", "Give a Feature with at least one of `properties`, `geometry` and `id`.")
        change = {**change, "type": change.get("type", "Feature")}
        properties = check_properties(change.get("properties"))
        rules = Rules(workspace.settings.limits, "", valid_from)
        outline = check({**change, "properties": {}}, 0, None, rules) if "geometry" in change else None
        merge(workspace, database, who.tenant, _text(field), properties, own_id(change), outline)

    await _run(request, work)
    return _tagged(request, await _one(request, who, field), "application/geo+json")


@router.delete("/{field}", summary="Delete a field and its versions", status_code=204, response_class=Response)
async def delete_field(request: Request, who: Writer, field: FieldId) -> Response:
    """For good, with all its outlines; statements and results of jobs made with it stay."""
    from fieldflux.app.fields.register import delete

    await _run(request, partial(delete, database_of(request), who.tenant, _text(field)))
    return Response(status_code=204)


@router.get("/{field}/versions", summary="The outlines of a field over time", response_class=Response, responses=_JSON)
async def versions(request: Request, who: Reader, field: FieldId) -> Response:
    """By the first day of each. `valid_to` is the last day, null for the one that holds now. A version that another one
    replaced for the same first day is `superseded`: it never held, but is kept."""
    from fieldflux.app.fields.find import versions_of
    from fieldflux.app.fields.view import as_version

    found = await _run(request, partial(versions_of, database_of(request), who.tenant, _text(field)))
    return _tagged(request, {"id": field, "versions": [as_version(v) for v in found]}, "application/json")


@router.get(
    "/{field}/series",
    summary="Daily, monthly or yearly values of a field",
    response_class=Response,
    responses={**DESCRIBED, 304: {"description": "The caller has it already"}},
)
async def field_series(
    request: Request,
    who: Reader,
    field: FieldId,
    asked: Annotated[FieldSeriesQuery, Query()],
) -> Response:
    """The same answer as GET /v1/series with the field's outline, from weights that were worked out when it was
    registered. Headers tell which outline it is of."""
    workspace, database = workspace_of(request), database_of(request)

    def work() -> tuple[Ask, int]:
        from fieldflux.app.fields import weights
        from fieldflux.app.fields.find import one

        with database.read() as connection:
            found = one(connection, who.tenant, _text(field), asked.version)
        ask = asked.ask(orjson.loads(found.geometry))
        weights.of_field(workspace, database, workspace.cube(asked.cube), found.shape)
        return ask, found.version

    ask, shown = await _run(request, work)
    response = await answer_to(request, ask, asked.f)
    response.headers["X-Fieldflux-Field"] = field
    response.headers["X-Fieldflux-Field-Version"] = str(shown)
    return response


async def _run(request: Request, work: Callable[[], Result]) -> Result:
    """Off the event loop: databases and geometries block."""
    _ = request
    return await to_thread.run_sync(work)


async def _one(request: Request, who: Caller, name: str, version: int | None = None) -> dict[str, Any]:
    workspace, database = workspace_of(request), database_of(request)

    def work() -> dict[str, Any]:
        from fieldflux.app.fields.find import field
        from fieldflux.app.fields.view import as_feature

        place = _place(workspace)
        return as_feature(field(database, who.tenant, _text(name), version, place), place is not None)

    return await _run(request, work)


def _report(
    workspace: Workspace, database: Database, tenant: str, outcomes: Any, count: int
) -> tuple[dict[str, Any], str]:
    """The report, and the id of the first field that was taken. Raises Refused, or a single feature's own error."""
    from fieldflux.app.fields.find import by_ids
    from fieldflux.app.fields.view import as_problem, as_report

    rejected = [o for o in outcomes if o.error is not None]
    taken = [o for o in outcomes if o.error is None]
    if not taken:
        if count == 1:
            raise rejected[0].error
        listed = [{"index": o.index, "external_id": o.external_id, "problem": as_problem(o.error)} for o in rejected]
        what = f"All {count} features" if len(rejected) == count else f"{len(rejected)} of {count} features"
        why = listed[0]["problem"]["detail"]
        raise Refused(
            "rejected-fields",
            f"{what} were rejected, and nothing was changed. The first, feature {rejected[0].index}: {why}",
            features=listed,
        )
    place = _place(workspace)
    fields = by_ids(database, tenant, [o.id for o in taken], place, overlapping=True)
    return as_report(outcomes, fields, place is not None), taken[0].id


def _place(workspace: Workspace) -> tuple[str, str] | None:
    """The default cube's id and the key of its cells, or None where there is none."""
    from fieldflux.app.fields.register import default_cube
    from fieldflux.app.fields.weights import place_key

    cube = default_cube(workspace)
    return None if cube is None else (cube.id, place_key(workspace, cube))


def _tagged(request: Request, content: Any, media: str) -> Response:
    """JSON for this caller only, with an entity tag."""
    body = dumps(content)
    tag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if same(request, tag):
        return Response(status_code=304, headers=headers)
    return Response(body, 200, headers, media)


def _bbox(given: str) -> tuple[float, float, float, float] | None:
    if not given:
        return None
    try:
        west, south, east, north = (float(part) for part in given.split(","))
    except ValueError:
        west = south = east = north = float("nan")
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        raise Refused(
            "invalid-request",
            f"`bbox` is west,south,east,north in degrees, as in -94,42,-93,43; given: '{given[:80]}'.",
        )
    return west, south, east, north


def _name_and_value(given: str) -> tuple[str, str]:
    name, colon, value = given.partition(":")
    # SQLite reads a name that begins with $ as a path.
    if not colon or not name or name.startswith("$"):
        raise Refused("invalid-request", f"`property` is name:value, as in crop:corn; given: '{given[:80]}'.")
    return _text(name), _text(value) if value else ""


def _text(given: str) -> str:
    from fieldflux.app.fields.given import check_text

    return check_text(given, "A text in the address")
