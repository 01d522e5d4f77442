"""The crop calendar of a piece of land."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fieldflux.app.members import FIELD, CubeId, Outline
from fieldflux.app.reply import as_json, workspace_of
from pydantic import BaseModel, ConfigDict, Field

router = APIRouter(prefix="/v1", tags=["series"])


class CalendarAsk(BaseModel):
    """A polygon, and the cube that is meant."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra={"examples": [{"geometry": FIELD}]})

    geometry: Outline = Field(
        description="GeoJSON Polygon or MultiPolygon, or a Feature of one; WGS 84 [longitude, latitude]."
    )
    cube: CubeId = Field(default="", examples=["demo"])


@router.post(
    "/calendar",
    summary="Crops of a polygon with their days of sowing and harvest, year by year",
    response_class=Response,
    responses={200: {"content": {"application/json": {}}, "description": "Seasons by harvest year, largest first"}},
)
def calendar(request: Request, ask: CalendarAsk) -> Response:
    """As the cube's inputs have them: `fraction` is of the covered area, days are means over the crop's cells weighted
    by area, and null where the inputs have none. Crops on less than 1 % of the area are left out.
    """
    from fieldflux.tiles import calendar as crops
    from fieldflux.tiles.zonal import Limits, coverage

    workspace = workspace_of(request)
    cube, limits = workspace.cube(ask.cube), workspace.settings.limits
    cover = coverage(
        ask.geometry,
        cube.grid,
        cube.window,
        cube.mask(),
        limits=Limits(limits.vertices, limits.area_km2),
        memory=workspace.memory,
        place=cube.hash,
    )
    seasons = [
        {
            "year": season.year,
            "code": season.code,
            "name": season.name,
            "fraction": season.fraction,
            "sown": season.sown,
            "harvested": season.harvested,
        }
        for season in crops.calendar(cube, cover)
    ]
    body = {"cube": cube.id, "synthetic": cube.synthetic, "years": cube.years, "seasons": seasons}
    return as_json(body, headers={"Cache-Control": "no-store"})
