"""The HTTP server: one function makes the application from its settings."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib.metadata import version

from anyio import to_thread
from fastapi import FastAPI
from fieldflux.models.registry import Registry
from starlette.middleware.cors import CORSMiddleware

from . import fill, problems
from .database import Database, database_url
from .middleware import BodyLimit, Compress, RequestContext
from .routes import catalog, edr, fields, fieldtiles, health, ogc, pages, series, stac, stores, styles, tiles, wmts
from .settings import Settings
from .single import SingleFlight
from .warm import warm
from .workspace import Workspace

log = logging.getLogger("fieldflux")

_DESCRIPTION = """
What a field does with its carbon: daily CO2 fluxes, crop yield and soil-carbon change from process and hybrid models on
250 m cells, as series for polygons and as map tiles.

Carbon is gC per ground area. `nee` is positive to the atmosphere; `delta_soc` is positive when the soil gains.
`reco = ra + rh` and `nee = reco - gpp`. Missing values are `null`, never filled. Errors are problem details
(RFC 9457, `application/problem+json`); [/problems](/problems) explains each. Each answer names the model, the hash of
its weights, the cube and the origin of the inputs.
"""


def create_app(settings: Settings | None = None, registry: Registry | None = None) -> FastAPI:
    """The application. settings: from the environment unless given. registry: where models come from."""
    chosen = settings or Settings()
    workspace = Workspace(chosen, registry)
    filler = fill.Filler(chosen)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # Few threads: more of them only share the same cores, and each keeps its own arena of memory.
        to_thread.current_default_thread_limiter().total_tokens = max(4, chosen.cores)
        with ThreadPoolExecutor(chosen.cores, "series") as pool:
            app.state.pool = pool
            app.state.database = Database(database_url(chosen.database_url, chosen.home))
            await to_thread.run_sync(_begin, workspace, filler)
            pool.submit(warm, workspace)
            pool.submit(_open, app.state.database)
            try:
                yield
            finally:
                await to_thread.run_sync(filler.stop)
                await to_thread.run_sync(workspace.close)
                await to_thread.run_sync(app.state.database.close)

    app = FastAPI(
        title="Fieldflux",
        version=version("fieldflux"),
        description=_DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses=problems.RESPONSES,
    )
    app.state.workspace = workspace
    app.state.filler = filler
    app.state.flights = SingleFlight()

    problems.install(app)
    # The last one added is the first one a request passes.
    app.add_middleware(Compress)
    app.add_middleware(BodyLimit, limit=chosen.limits.body_bytes, uploads={"/v1/fields": chosen.limits.upload_bytes})
    if chosen.cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=chosen.cors,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Content-Type", "If-None-Match", "X-Request-Id"],
            expose_headers=["ETag", "Location", "Retry-After", "Server-Timing", "X-Fieldflux-Missing", "X-Request-Id"],
            max_age=86400,
        )
    app.add_middleware(RequestContext)

    for router in (
        series.router,
        fields.router,
        fieldtiles.router,
        tiles.router,
        styles.router,
        ogc.router,
        edr.router,
        wmts.router,
        stac.router,
        stores.router,
        catalog.router,
        health.router,
        pages.pages(),
    ):
        app.include_router(router)
    return app


def _open(database: Database) -> None:
    try:
        log.info("database: %s", database.check())
    except ValueError as error:
        # It is opened again when it is needed; maps and series of polygons do without it.
        log.error("database: %s", error)


def _begin(workspace: Workspace, filler: fill.Filler) -> None:
    try:
        if fill.wanted(workspace):
            filler.start()
    except ValueError as error:
        # The server starts all the same: /readyz says what is wrong, and other cubes are served.
        filler.fail(str(error))
