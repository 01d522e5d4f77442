"""What there is: variables, models, cubes, limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Path, Query, Request, Response
from fieldflux.app.problems import Refused
from fieldflux.app.reply import cached, workspace_of
from fieldflux.app.workspace import Workspace
from fieldflux.models.crops import CROP_OF_CDL
from fieldflux.models.variables import VARIABLES

if TYPE_CHECKING:
    from fieldflux.tiles.cube import Cube

_GEOJSON: Any = {200: {"content": {"application/geo+json": {}}}}

router = APIRouter(prefix="/v1", tags=["catalogue"])

CubeName = Annotated[str, Query(description="Cube, by its id; the default one if empty.", examples=["demo"])]
CubePath = Annotated[str, Path(description="Cube, by its id", examples=["demo"])]
ModelName = Annotated[
    str, Query(description="Model, as name or name/version; the default one if empty.", examples=["kgml-ag-carbon/1"])
]


@router.get("/variables", summary="Variables, with their units, signs, ranges and colours")
async def variables(request: Request) -> Response:
    """`units` has the unit over a day, a month, a year and a period; `served`, whether a model here gives it."""
    served = _served(request)
    listed = [
        {
            "name": v.name,
            "long_name": v.long_name,
            "unit": v.unit,
            "units": {period: v.unit_over(period) for period in ("day", "month", "year", "total")},
            "period": v.period,
            "over_time": v.over_time,
            "sign": v.sign,
            "standard_name": v.standard_name,
            "range": [v.low, v.high],
            "shown": list(v.shown),
            "palette": v.palette,
            "digits": v.digits,
            "served": v.name in served,
        }
        for v in VARIABLES.values()
    ]
    return cached(request, {"variables": listed})


@router.get("/models", summary="Models, newest version last")
async def models(request: Request) -> Response:
    """`default` is the one that is meant where a request names none."""
    workspace = workspace_of(request)
    listed = [
        {
            "id": card.id,
            "name": card.name,
            "version": card.version,
            "title": card.title,
            "family": card.family,
            "description": card.description,
            "members": card.members,
            "outputs": card.outputs,
            "crops": card.domain.crops,
            "answers": card.answers,
            "weights_sha256": card.weights_sha256,
            "card": f"/v1/models/{card.id}",
        }
        for card in workspace.registry.cards()
    ]
    return cached(request, {"default": workspace.card().id if listed else None, "models": listed})


@router.get("/models/{name}/{version}", summary="The card of a model: inputs, outputs, data, scores, known faults")
async def model_card(
    request: Request,
    name: Annotated[str, Path(description="Model, by its name", examples=["kgml-ag-carbon"])],
    version: Annotated[str, Path(description="Its version", examples=["1"])],
) -> Response:
    """All that is known of it, scores on held-out data with their intervals included."""
    return cached(request, workspace_of(request).card(f"{name}/{version}").model_dump(mode="json"))


@router.get("/cubes", summary="Cubes: where and when there are inputs, and where these come from")
async def cubes(request: Request) -> Response:
    """`default` is the one that is meant where a request names none; `damaged` lists those that cannot be read."""
    workspace = workspace_of(request)
    listed, damaged = [], []
    for name in workspace.cube_paths():
        try:
            listed.append(_cube(workspace, workspace.cube(name)))
        except ValueError as error:
            damaged.append({"id": name, "detail": str(error)})
    return cached(
        request, {"default": workspace.default_cube() if listed else None, "cubes": listed, "damaged": damaged}
    )


@router.get("/cubes/{cube}", summary="One cube")
async def cube(request: Request, cube: CubePath) -> Response:
    """Its years, bounds, inputs with units, crops, and the sources with their licences."""
    return cached(request, _cube(workspace_of(request), workspace_of(request).cube(cube)))


@router.get(
    "/cubes/{cube}/outline", summary="Outline of a cube's region, GeoJSON", response_class=Response, responses=_GEOJSON
)
async def outline(request: Request, cube: CubePath) -> Response:
    """A Feature in longitude and latitude."""
    return _geojson(request, cube, "outline")


@router.get(
    "/cubes/{cube}/fields",
    summary="Fields of a cube with their crops, GeoJSON",
    response_class=Response,
    responses=_GEOJSON,
)
async def fields(request: Request, cube: CubePath) -> Response:
    """A FeatureCollection; not every cube has one. Any of them can be sent to POST /v1/series."""
    return _geojson(request, cube, "fields")


@router.get("/limits", summary="What one request may ask for")
async def limits(request: Request) -> Response:
    """Each with what it is of. A request beyond one is refused before any work, and told what is allowed."""
    allowed = workspace_of(request).settings.limits
    described = {name: field.description for name, field in type(allowed).model_fields.items()}
    return cached(request, {**allowed.model_dump(), "descriptions": described})


def _served(request: Request) -> frozenset[str]:
    try:
        return frozenset(workspace_of(request).card().outputs)
    except ValueError:
        return frozenset()


def _cube(workspace: Workspace, found: Cube) -> dict[str, Any]:
    codes = workspace.memory.get(("codes", found.hash), lambda: np.unique(found.read("crop")), lambda a: int(a.nbytes))
    crops = [
        {"code": int(code), "name": CROP_OF_CDL[code].name if code in CROP_OF_CDL else None}
        for code in codes
        if code > 0
    ]
    west, south, east, north = found.bounds_lonlat()
    return {
        "id": found.id,
        "title": found.title,
        "statement": found.statement,
        "synthetic": found.synthetic,
        "licence": found.licence,
        "notes": found.notes,
        "sources": [source.model_dump(mode="json") for source in found.sources],
        "hash": found.hash,
        "years": found.years,
        "bounds": [west, south, east, north],
        "center": [round((west + east) / 2, 5), round((south + north) / 2, 5)],
        "cell_m": found.grid.size,
        "crs": found.grid.crs,
        "crops": crops,
        "inputs": found.available(),
        "outline": f"/v1/cubes/{found.id}/outline" if "outline.geojson" in found.documents() else None,
        "fields": f"/v1/cubes/{found.id}/fields" if "fields.geojson" in found.documents() else None,
    }


def _geojson(request: Request, name: str, what: Literal["outline", "fields"]) -> Response:
    found = workspace_of(request).cube(name)
    shape = found.outline() if what == "outline" else found.fields()
    if shape is None:
        raise Refused("not-found", f"The cube '{found.id}' has no {what}.")
    return cached(request, shape, media="application/geo+json")
