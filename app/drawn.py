"""Tiles over HTTP: tags before any read, what a tile holds in its headers, and what it lacks put into the queue."""

from __future__ import annotations

import io
import logging
from asyncio import Future
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from fastapi import Request, Response
from fieldflux.models.variables import Variable

from .middleware import timing
from .problems import problem_of
from .reply import same, workspace_of
from .workspace import Place

if TYPE_CHECKING:
    from fieldflux.tiles import render
    from fieldflux.tiles.palettes import Style
    from fieldflux.tiles.store import Store
    from fieldflux.tiles.when import When

log = logging.getLogger("fieldflux")

Format: TypeAlias = Literal["png", "webp", "tif", "npy"]
Matrix: TypeAlias = Literal["WebMercatorQuad", "grid"]
MEDIA: dict[Format, str] = {
    "png": "image/png",
    "webp": "image/webp",
    "tif": "image/tiff; application=geotiff",
    "npy": "application/octet-stream",
}

# A tile's address may name the snapshot it is of: its content then never changes.
FOREVER = "public, max-age=31536000, immutable"
# Without, a cache may keep it, but asks each time; that costs a 304.
ASK = "public, no-cache"
# Something is still being computed.
SOON = "no-store"

Chunks: TypeAlias = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class TileAsk:
    """A tile that is wanted.

    z, x, y: zoom, column, row; in the matrix of the grid itself, z is the level of the pyramid, 0 for the cells.
    """

    place: Place
    variable: Variable
    when: When
    z: int
    x: int
    y: int
    size: int
    format: Format
    style: Style
    matrix: Matrix = "WebMercatorQuad"

    @property
    def is_picture(self) -> bool:
        return self.format in ("png", "webp")


@dataclass(frozen=True, slots=True)
class Sent:
    """A tile as it is sent, and the chunks that it lacks."""

    content: bytes
    missing: Chunks


async def drawn(request: Request, ask: TileAsk, kept: bool = False) -> Response:
    """The tile, or 304 where the caller has it. kept: whether the address names the store's present content.

    It is drawn from what is computed, and never waits for computing.
    """
    from fieldflux.tiles import render

    stages = timing(request.scope)
    workspace = workspace_of(request)
    store = workspace.store(ask.place)
    holds = _holds(ask, store)
    if store is None:
        content = await _blank(request, ask)
        _behind(request, ("store", ask.place.cube.hash, ask.place.card.id), lambda: workspace.queue(ask.place))
        return Response(content, 200, {**holds, "Cache-Control": SOON, "X-Fieldflux-Missing": "all"}, MEDIA[ask.format])

    named = f"{ask.place.card.id} {store.snapshot} {ask.matrix}"
    style = ask.style if ask.is_picture else None
    tag = render.tag(named, ask.variable.name, ask.when, ask.z, ask.x, ask.y, ask.size, ask.format, style)
    caching = {"ETag": f'"{tag}"', "Cache-Control": FOREVER if kept else ASK}
    if same(request, caching["ETag"]):
        return Response(status_code=304, headers=caching)
    started = perf_counter()

    def make() -> Sent:
        return workspace.pictures.get(tag, lambda: _make(request, ask, store), lambda s: len(s.content) + 200)

    if _is_quick(ask) and not store.waits:
        found = make()
    else:
        found = await request.app.state.flights.run(("tile", tag), request.app.state.pool, make)
    stages["draw"] = 1000 * (perf_counter() - started)
    # Chunks without any farm land stay as they are.
    missing = tuple(chunk for chunk in found.missing if store.occupied[chunk[1:]])
    if missing:
        queue_chunks(request, ask.place, missing)
        caching |= {"Cache-Control": SOON, "X-Fieldflux-Missing": str(len(missing))}
    return Response(found.content, 200, {**caching, **holds}, MEDIA[ask.format])


def _is_quick(ask: TileAsk) -> bool:
    """Whether it takes a few milliseconds, less than handing it to a thread would cost the others."""
    from fieldflux.tiles.when import is_plain

    return is_plain(ask.when) and (ask.format == "png" or (ask.format == "webp" and ask.size == 256))


def _holds(ask: TileAsk, store: Store | None) -> dict[str, str]:
    from fieldflux.tiles.when import unit_of

    cube = ask.place.cube
    holds = {
        "X-Fieldflux-Variable": ask.variable.name,
        "X-Fieldflux-Time": str(ask.when),
        "X-Fieldflux-Unit": unit_of(ask.variable, ask.when),
        "X-Fieldflux-Model": ask.place.card.id,
        "X-Fieldflux-Cube": cube.id,
        "X-Fieldflux-Synthetic": "yes" if cube.synthetic else "no",
    }
    return holds | ({"X-Fieldflux-Snapshot": store.snapshot} if store else {})


async def _blank(request: Request, ask: TileAsk) -> bytes:
    """A tile without anything on it."""
    from fieldflux.tiles import render
    from fieldflux.tiles.mercator import TileAddress

    if ask.matrix == "WebMercatorQuad":
        TileAddress(ask.z, ask.x, ask.y, ask.size)
    if ask.format == "png" or ask.format == "webp":
        return render.empty_tile(ask.size, ask.format, workspace_of(request).memory).content
    blank = np.full((ask.size, ask.size), np.nan, np.float32)
    content: bytes = await request.app.state.flights.run(
        ("blank", ask.format, ask.z, ask.x, ask.y, ask.size), request.app.state.pool, lambda: _numbers(ask, blank, None)
    )
    return content


def _make(request: Request, ask: TileAsk, store: Store) -> Sent:
    from fieldflux.tiles import render
    from fieldflux.tiles.mercator import TileAddress

    memory = workspace_of(request).memory
    if ask.matrix == "grid":
        at = render.grid_place(store, ask.z, ask.y, ask.x, ask.size)
    else:
        at = render.mercator_place(store, TileAddress(ask.z, ask.x, ask.y, ask.size), memory)
    if ask.format == "png" or ask.format == "webp":
        picture = render.picture(store, ask.variable.name, ask.when, at, ask.format, ask.style, memory)
        return Sent(picture.content, picture.missing)
    numbers = render.values(store, ask.variable.name, ask.when, at, memory)
    return Sent(_numbers(ask, numbers.values, store), numbers.missing)


def _numbers(ask: TileAsk, values: render.Floats, store: Store | None) -> bytes:
    from fieldflux.tiles.geotiff import geotiff
    from fieldflux.tiles.mercator import TileAddress
    from fieldflux.tiles.when import unit_of

    if ask.format == "npy":
        out = io.BytesIO()
        np.save(out, values)
        return out.getvalue()
    place, v = ask.place, ask.variable
    if ask.matrix == "grid":
        grid = place.cube.grid
        cell = grid.size * 2**ask.z
        west, north = grid.x0 + ask.x * ask.size * cell, grid.y0 - ask.y * ask.size * cell
        bounds, crs = (west, north - ask.size * cell, west + ask.size * cell, north), grid.crs
    else:
        bounds, crs = TileAddress(ask.z, ask.x, ask.y, ask.size).bounds(), "EPSG:3857"
    tags = {
        "variable": v.name,
        "time": str(ask.when),
        "unit": unit_of(v, ask.when),
        "sign": v.sign,
        "model": place.card.id,
        "weights_sha256": place.card.weights_sha256,
        "cube": place.cube.id,
        "cube_hash": place.cube.hash,
        "snapshot": store.snapshot if store else "",
        "statement": place.cube.statement,
        "synthetic": "yes" if place.cube.synthetic else "no",
    }
    return geotiff(values, bounds, crs, unit_of(v, ask.when), f"{v.long_name}, {ask.when}", tags)


def queue_chunks(request: Request, place: Place, missing: Chunks) -> None:
    """Have chunks (year, row, column) computed, behind the answer."""
    workspace = workspace_of(request)

    def ask() -> None:
        queue = workspace.queue(place)
        for year, row, col in missing:
            queue.request(row, col, year)

    _behind(request, ("queue", place.cube.hash, place.card.id, missing), ask)


def _behind(request: Request, key: Hashable, work: Callable[[], object]) -> None:
    """Do work behind the answer, off the event loop: the first time, the model is loaded, which takes seconds."""
    # What fills the store will come to these chunks; computing them here as well would only slow it down.
    if request.app.state.filler.running:
        return
    workspace = workspace_of(request)

    def done(future: Future[object]) -> None:
        error = None if future.cancelled() else future.exception()
        workspace.trouble = str(error or "")
        if error is not None and problem_of(error) is None:
            workspace.trouble = "Computing in the background failed; the server's log says more."
            log.error("computing in the background failed", exc_info=error)

    request.app.state.flights.start(key, request.app.state.pool, work).add_done_callback(done)
