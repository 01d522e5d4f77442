"""Pictures of a cube and a model: which variable, when, in which colours; for the server and the command line."""

from __future__ import annotations

import math
from datetime import date
from typing import TYPE_CHECKING, Literal

from fieldflux.models.variables import Variable, variable

from .look import DEFAULT_STYLE, Look
from .problems import Refused
from .workspace import Place, Workspace

if TYPE_CHECKING:
    from fieldflux.tiles.palettes import Style
    from fieldflux.tiles.render import Tile
    from fieldflux.tiles.store import Store
    from fieldflux.tiles.when import Period, When


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
    moment = when_of(place, v, when)
    store = workspace.store(place)
    if store is None:
        raise Refused(
            "not-computed-yet",
            f"Nothing is computed yet for the cube '{place.cube.id}' with '{place.card.id}'. "
            f"`fieldflux run {place.cube.id}` computes it.",
        )
    colours = style_of(v, Look(colormap=palette), moment)
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


def style_of(v: Variable, look: Look, when: When | None) -> Style:
    """Colours of a variable, or those asked for. Raises Refused (unknown-style), with the palettes there are."""
    from fieldflux.tiles import palettes

    ends: tuple[float, float] | None = None
    if look.range:
        try:
            low, high = (float(part) for part in look.range.split(","))
        except ValueError:
            raise Refused("unknown-style", f"A range is two numbers, as in 0,20; given: {look.range[:40]}.") from None
        ends = (low, high)
    named = "" if look.style == DEFAULT_STYLE else look.style
    try:
        return palettes.style_of(v, look.colormap or named or None, ends, when=when, steps=look.steps)
    except palettes.UnknownStyle as error:
        raise Refused("unknown-style", str(error), allowed=[DEFAULT_STYLE, *style_names()]) from None


def style_names() -> list[str]:
    """Names of palettes, each also turned round."""
    from fieldflux.tiles.palettes import CONTROL

    return [name + end for name in sorted(CONTROL) for end in ("", "_r")]


def when_of(place: Place, v: Variable, text: str, minus: str = "", anomaly: str = "") -> When:
    """The time that a map shows, within the cube's years; of what is said of a whole record always its last year.

    minus: another time that is taken away. anomaly: "1", or the years whose mean is taken away, as in 2015..2020.
    Raises Refused (invalid-dates), BadMoment.
    """
    from fieldflux.tiles.when import Anomaly, Difference, check, parse, years_of

    if v.period == "static":
        parse(text)
        if minus or anomaly:
            raise Refused(
                "invalid-dates",
                f"'{v.name}' has one value for the whole record of the cube: there is no other time to compare with.",
            )
        return place.cube.years[-1]
    of = _within(place, parse(text), text)
    when: When = of
    if minus and anomaly:
        raise Refused("invalid-dates", "Give either `minus` or `anomaly`, not both.")
    if minus:
        when = Difference(of, _within(place, parse(minus), minus))
    if anomaly:
        named = place.cube.years if anomaly in ("1", "true") else years_of(_within(place, parse(anomaly), anomaly))
        when = Anomaly(of, named[0], named[-1])
    check(v, when)
    return when


def _within(place: Place, period: Period, text: str) -> Period:
    from fieldflux.tiles.when import ends

    years = place.cube.years
    first, last = ends(period)
    if first.year < years[0] or last.year > years[-1]:
        raise Refused(
            "invalid-dates",
            f"{text} lies outside the cube '{place.cube.id}', which covers {years[0]}-01-01 to {years[-1]}-12-31.",
            first=f"{years[0]}-01-01",
            last=f"{years[-1]}-12-31",
        )
    return period


def latest_of(store: Store, v: Variable) -> date | int:
    """The last day, or year, of which anything is computed. Raises Refused (not-computed-yet)."""
    for year in sorted(store.years, reverse=True):
        if (store.computed(year) & store.occupied).any():
            return year if v.period != "day" else date(year, 12, 31)
    raise Refused("not-computed-yet", f"Nothing is computed yet of '{store.cube_id}' with '{store.model_id}'.")


def default_of(place: Place, v: Variable) -> str:
    """The time that a map shows first: a day of summer in the last year."""
    last = place.cube.years[-1]
    return str(last) if v.period != "day" else f"{last}-07-15"


def tile_at(lon: float, lat: float, zoom: int) -> tuple[int, int, int]:
    """Zoom, x and y of the Web Mercator tile that holds a place."""
    side = 1 << zoom
    y = (1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2
    return zoom, int((lon + 180) / 360 * side), int(y * side)
