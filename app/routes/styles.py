"""Styles of maps, and legends."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Path, Query, Request, Response
from fieldflux.app.look import DEFAULT_STYLE, LegendQuery, Look
from fieldflux.app.picture import style_of
from fieldflux.app.problems import Refused
from fieldflux.app.reply import cached, tagged, workspace_of
from fieldflux.models.variables import VARIABLES, Variable, variable

router = APIRouter(prefix="/v1", tags=["map"])

VariableName = Annotated[str, Path(description="Variable", examples=["nee"])]


@router.get("/styles", summary="Styles: palettes, and each variable's own")
async def styles(request: Request) -> Response:
    """A style is asked for by `style=` or `colormap=`, `range=` and `steps=` on tiles, TileJSON and legends alike."""
    from fieldflux.tiles.palettes import CONTROL, DIVERGING, MOST_STEPS, ramp

    palettes = [
        {
            "name": name,
            "kind": "diverging" if name in DIVERGING else "sequential",
            "colors": [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in ramp(name)[np.linspace(0, 254, 9).astype(int)]],
        }
        for name in sorted(CONTROL)
    ]
    return cached(
        request,
        {
            "default": DEFAULT_STYLE,
            "palettes": palettes,
            "reversed": "_r",
            "steps": [2, MOST_STEPS],
            "variables": {v.name: _own(v) for v in VARIABLES.values()},
        },
    )


@router.get("/styles/{name}", summary="Styles of a variable")
async def styles_of(request: Request, name: VariableName) -> Response:
    """The variable's own palette and range, and the names that `style=` takes."""
    from fieldflux.app.picture import style_names

    v = variable(name)
    return cached(
        request, {"variable": v.name, "default": DEFAULT_STYLE, "styles": [DEFAULT_STYLE, *style_names()], **_own(v)}
    )


@router.get(
    "/legend/{name}.{format}",
    summary="Legend of a variable's colours: data, SVG or PNG",
    response_class=Response,
    responses={200: {"content": {"application/json": {}, "image/svg+xml": {}, "image/png": {}}}},
)
async def legend(
    request: Request,
    name: VariableName,
    format: Annotated[Literal["json", "svg", "png"], Path(description="json, svg or png", examples=["json"])],
    asked: Annotated[LegendQuery, Query()],
) -> Response:
    """In the colours of the tiles that are asked for with the same parameters."""
    from fieldflux.tiles.legend import legend_json, legend_png, legend_svg, meaning_of

    v = variable(name)
    when = _when(request, v, asked)
    meaning, colours = meaning_of(v, when), style_of(v, asked, when)
    if format == "json":
        return cached(request, legend_json(v, colours, meaning))
    if format == "svg":
        return tagged(request, legend_svg(v, colours, meaning).encode(), "image/svg+xml")
    return tagged(request, legend_png(v, colours, meaning), "image/png")


def _when(request: Request, v: Variable, asked: LegendQuery) -> Any:
    """The time that the legend is of, None for a day's value."""
    from fieldflux.tiles.when import Anomaly, Difference, check, parse, years_of

    if not asked.when:
        if asked.minus or asked.anomaly:
            raise Refused("invalid-dates", "A legend of a difference needs `when` as well.")
        return 2021 if asked.year and v.period == "day" else None
    of = parse(asked.when)
    if v.period == "static" and not (asked.minus or asked.anomaly):
        return None
    when: Any = of
    if asked.minus:
        when = Difference(of, parse(asked.minus))
    elif asked.anomaly:
        every = asked.anomaly in ("1", "true")
        named = workspace_of(request).cube(asked.cube).years if every else years_of(parse(asked.anomaly))
        when = Anomaly(of, named[0], named[-1])
    check(v, when)
    return when


def _own(v: Variable) -> dict[str, Any]:
    """The variable's style by day and by year."""
    from datetime import date

    from fieldflux.tiles.when import Difference, unit_of

    day = date(2021, 7, 15)
    times: dict[str, Any] = {"year": 2021, "difference of years": Difference(2021, 2020)}
    if v.period == "day":
        times = {"day": day, **times, "difference of days": Difference(day, day)}
    elif v.period == "static":
        times = {"record": 2021}
    found = {}
    for name, when in times.items():
        style = style_of(v, Look(), when)
        found[name] = {
            "colormap": style.name,
            "range": [style.low, style.high],
            "diverging": style.diverging,
            "unit": unit_of(v, when),
        }
    return {"own": found}
