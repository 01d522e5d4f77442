"""Warm-up: what the first tile and the first series would otherwise wait for (imports, compiled loops, open arrays)."""

from __future__ import annotations

import logging
from time import perf_counter

from .answer import answer
from .ask import Ask
from .picture import draw, tile_at
from .workspace import Place, Workspace

log = logging.getLogger("fieldflux")


def warm(workspace: Workspace) -> None:
    """Draw a tile and answer a question of the default cube, as far as there is one. Never fails: it is a courtesy."""
    started = perf_counter()
    try:
        from fieldflux.tiles import render, series  # noqa: F401

        place = workspace.place()
        store = workspace.store(place)
        if store is None:
            return
        whole = [year for year in store.years if store.computed(year).any()]
        if whole:
            _use(workspace, place, whole[-1])
    except Exception as error:
        log.info("no warm-up: %s", error)
    log.debug("warm after %.1f s", perf_counter() - started)


def _use(workspace: Workspace, place: Place, year: int) -> None:
    west, south, east, north = place.cube.bounds_lonlat()
    lon, lat = (west + east) / 2, (south + north) / 2
    daily = next(name for name in place.card.outputs if name in ("gpp", "nee", "et"))
    for when in (f"{year}-07-01", str(year)):
        draw(workspace, place, daily, when, tile_at(lon, lat, 10))
    d = 0.002
    ring = [[lon - d, lat - d], [lon + d, lat - d], [lon + d, lat + d], [lon - d, lat + d], [lon - d, lat - d]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    fluxes = tuple(name for name in ("gpp", "ra", "rh", "reco", "nee") if name in place.card.outputs)
    answer(workspace, Ask(geometry=geometry, years=(year,), variables=fluxes or (daily,)))
