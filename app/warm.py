"""Warm-up: what the first tile and the first series would otherwise wait for (imports, compiled loops, open arrays)."""

from __future__ import annotations

import logging
from datetime import date
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from .answer import answer
from .ask import Ask
from .picture import draw, tile_at
from .settings import Settings
from .workspace import Place, Workspace

if TYPE_CHECKING:
    from fieldflux.models.contract import Model
    from fieldflux.tiles.cube import Cube

log = logging.getLogger("fieldflux")


def warm(workspace: Workspace) -> None:
    """Draw a tile of the default cube, where one is computed, and answer a question: from the store, or by the model.

    Never fails: it is a courtesy.
    """
    started = perf_counter()
    try:
        from fieldflux.tiles import render, series  # noqa: F401

        if not workspace.cube_paths():
            # The demo is being built; meanwhile its model is made ready.
            compile_model(workspace.model())
            return
        place = workspace.place()
        store = workspace.store(place)
        whole = [year for year in store.years if store.computed(year).any()] if store else []
        # A run begins with the first of the inputs: that year alone costs least.
        year = whole[-1] if whole else place.cube.years[0]
        middle = _middle(place.cube)
        if whole:
            _draw(workspace, place, year, *middle)
        # Without a store the model answers: it is loaded, and compiled where it never was on this machine.
        _ask(workspace, place, year, *middle)
    except Exception as error:
        log.info("no warm-up: %s", error)
    log.debug("warm after %.1f s", perf_counter() - started)


def compile_model(model: Model) -> None:
    """Run one cell through one year of zeros, without a crop: what is compiled at a first run is compiled then."""
    from fieldflux.models.contract import Forcing

    needs = model.needs
    model.predict(
        Forcing(
            start=date(2001, 1, 1),
            years=(2001,),
            daily={name: np.zeros((1, 365), np.float32) for name in needs.daily},
            weather=np.zeros(1, np.int64),
            annual={name: np.zeros((1, 1), np.float32) for name in needs.annual},
            static={name: np.zeros(1, np.float32) for name in needs.static},
        )
    )


def _middle(cube: Cube) -> tuple[float, float]:
    """Longitude and latitude of the centre of the cell with inputs that is nearest to the cube's middle."""
    rows, cols = np.nonzero(cube.mask())
    height, width = cube.window.shape
    i = int(np.argmin(np.hypot(rows - height / 2, cols - width / 2)))
    grid = cube.grid
    x = grid.x0 + (cube.window.col0 + int(cols[i]) + 0.5) * grid.size
    y = grid.y0 - (cube.window.row0 + int(rows[i]) + 0.5) * grid.size
    lon, lat = grid.to_lonlat([x], [y])
    return float(lon[0]), float(lat[0])


def _draw(workspace: Workspace, place: Place, year: int, lon: float, lat: float) -> None:
    daily = next((name for name in place.card.outputs if name in ("gpp", "nee", "et")), place.card.outputs[0])
    for when in (f"{year}-07-01", str(year)):
        draw(workspace, place, daily, when, tile_at(lon, lat, 10))


def _ask(workspace: Workspace, place: Place, year: int, lon: float, lat: float) -> None:
    # Well inside one cell: the model may have to run for it.
    d = 0.0003
    ring = [[lon - d, lat - d], [lon + d, lat - d], [lon + d, lat + d], [lon - d, lat + d], [lon - d, lat - d]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    fluxes = tuple(name for name in ("gpp", "ra", "rh", "reco", "nee") if name in place.card.outputs)
    answer(workspace, Ask(geometry=geometry, years=(year,), variables=fluxes or place.card.outputs[:1]))


if __name__ == "__main__":  # at set-up time, so that the first start need not wait for it
    compile_model(Workspace(Settings()).model())
