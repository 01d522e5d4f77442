"""Pictures of a cube and a model: which variable, when, in which colours; for the server and the command line."""

from __future__ import annotations

import math
from datetime import date
from typing import TYPE_CHECKING, Literal

from fieldflux.models.variables import Variable, variable

from .problems import Refused
from .workspace import Place, Workspace

if TYPE_CHECKING:
    from fieldflux.tiles.palettes import Style
    from fieldflux.tiles.render import Tile


def draw(
    workspace: Workspace,
    place: Place,
    name: str,
    when: str,
    at: tuple[int, int, int],
    size: int = 256,
    fmt: Literal["png", "webp"] = "png",
    palette: str = "",
) -> Tile:
    """A tile of what the store holds; at: zoom, x, y.

    Raises Refused (not-computed-yet) where there is no store, and what the parts of this module raise.
    """
    from fieldflux.tiles import render

    v = served(place, name)
    moment = moment_of(place, v, when)
    store = workspace.store(place)
    if store is None:
        raise Refused(
            "not-computed-yet",
            f"Nothing is computed yet for the cube '{place.cube.id}' with '{place.card.id}'. "
            f"`fieldflux run {place.cube.id}` computes it.",
        )
    colours = style_of(v, palette, "", isinstance(moment, int))
    return render.tile(store, v.name, moment, *at, size=size, fmt=fmt, style=colours, memory=workspace.memory)


def served(place: Place, name: str) -> Variable:
    """The variable, if the model gives it. Raises UnknownVariable; Refused (unknown-variable)."""
    found = variable(name)
    if found.name not in place.card.outputs:
        raise Refused(
            "unknown-variable",
            f"The model '{place.card.id}' does not give '{found.name}'; it gives: {', '.join(place.card.outputs)}.",
        )
    return found


def style_of(v: Variable, palette: str, shown: str, over_year: bool) -> Style:
    """Colours of a variable, or those asked for. Raises UnknownStyle; Refused (unknown-style)."""
    from fieldflux.tiles import palettes

    ends: tuple[float, float] | None = None
    if shown:
        try:
            low, high = (float(part) for part in shown.split(","))
        except ValueError:
            raise Refused("unknown-style", f"A range is two numbers, as in 0,20; given: {shown[:40]}.") from None
        ends = (low, high)
    return palettes.style_of(v, palette or None, ends, over_year=over_year)


def moment_of(place: Place, v: Variable, when: str) -> date | int:
    years = place.cube.years
    try:
        moment: date | int = int(when) if len(when) == 4 and when.isdigit() else date.fromisoformat(when)
    except ValueError:
        raise Refused("invalid-dates", f"'{when[:40]}' is neither a day (2021-07-15) nor a year (2021).") from None
    year = moment if isinstance(moment, int) else moment.year
    if year not in years:
        raise Refused(
            "invalid-dates",
            f"{when} lies outside the cube '{place.cube.id}', which covers {years[0]}-01-01 to {years[-1]}-12-31.",
            first=f"{years[0]}-01-01",
            last=f"{years[-1]}-12-31",
        )
    if v.period == "year" and not isinstance(moment, int):
        raise Refused("invalid-dates", f"'{v.name}' has one value a year: ask for {year} instead of {when}.")
    return moment


def tile_at(lon: float, lat: float, zoom: int) -> tuple[int, int, int]:
    """Zoom, x and y of the Web Mercator tile that holds a place."""
    side = 1 << zoom
    y = (1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2
    return zoom, int((lon + 180) / 360 * side), int(y * side)
