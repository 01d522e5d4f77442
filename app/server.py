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
from .accounts.access import Access, access_of, trouble
from .accounts.gate import Gate
from .database import Database, database_url
from .jobs.keeper import Keeper
from .middleware import BodyLimit, Compress, RequestContext
from .observe.log import log_request
from .observe.metrics import Metrics
from .observe.tracing import Traces
from .openapi import describe
from .routes import (
    calendar,
    catalog,
    edr,
    fields,
    fieldtiles,
    forecast,
    health,
    jobs,
    keys,
    ogc,
    pages,
    series,
    soil,
    stac,
    statements,
    stores,
    styles,
    tiles,
    usage,
    wmts,
)
from .routes import metrics as measured
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

_CORS_TAKEN = [
    *("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "X-API-Key", "X-Request-Id"),
    "traceparent",
]
_CORS_SHOWN = [
    *("ETag", "Link", "Location", "RateLimit", "RateLimit-Policy", "Retry-After", "Server-Timing", "WWW-Authenticate"),
    *(f"X-Fieldflux-{name}" for name in ("Cube", "Field", "Field-Version", "Left-Out", "Missing", "Model", "Snapshot")),
    *(f"X-Fieldflux-{name}" for name in ("Synthetic", "Time", "Unit", "Variable")),
    "X-Request-Id",
]


# In the order of the pages at /docs.
_CHAPTERS = {
    "series": "Values over time of polygons, forecasts within the season, calendars of crops.",
    "soil": "Profiles of soil carbon, and scenarios of management.",
    "carbon statements": "Signed accounts of soil-carbon change, and the keys that they are checked with.",
    "fields": "Polygons that the server keeps, their series and vector tiles.",
    "jobs": "Work for thousands of polygons or whole regions.",
    "map": "Tiles, TileJSON, legends and styles.",
    "OGC API – Tiles": "Map tiles as the OGC describes them.",
    "OGC API – EDR": "Positions, areas and fields as the OGC describes them.",
    "WMTS": "Map tiles for GIS programs.",
    "STAC": "What there is, for catalogues.",
    "stores": "The stores themselves, as Zarr.",
    "catalogue": "Models, cubes, variables, limits.",
    "accounts": "Keys, and what was used.",
    "health": "How the server is.",
}


def create_app(settings: Settings | None = None, registry: Registry | None = None) -> FastAPI:
    """The application. settings: from the environment unless given. registry: where models come from."""
    chosen = settings or Settings()
    workspace = Workspace(chosen, registry)
    filler = fill.Filler(chosen)
    keeper = Keeper(chosen)
    database = Database(database_url(chosen.database_url, chosen.home))
    access = access_of(chosen, database)
    metrics = Metrics(workspace, database)
    traces = Traces() if chosen.otel else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # Few threads: more of them only share the same cores, and each keeps its own arena of memory.
        to_thread.current_default_thread_limiter().total_tokens = max(4, chosen.cores)
        with ThreadPoolExecutor(chosen.cores, "series") as pool:
            app.state.pool = pool
            await to_thread.run_sync(_begin, workspace, filler)
            pool.submit(warm, workspace)
            pool.submit(_open, database, access)
            access.meter.start()
            keeper.start(database)
            stop_metrics = metrics.serve(chosen.host, chosen.metrics_port) if chosen.metrics_port else None
            try:
                yield
            finally:
                if stop_metrics is not None:
                    await to_thread.run_sync(stop_metrics)
                await to_thread.run_sync(keeper.stop)
                await to_thread.run_sync(filler.stop)
                await to_thread.run_sync(workspace.close)
                await to_thread.run_sync(access.meter.stop)
                if traces is not None:
                    await to_thread.run_sync(traces.close)
                await to_thread.run_sync(database.close)

    app = FastAPI(
        title="Fieldflux",
        version=version("fieldflux"),
        description=_DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        openapi_tags=[{"name": name, "description": text} for name, text in _CHAPTERS.items()],
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses=problems.RESPONSES,
    )
    app.state.workspace = workspace
    app.state.filler = filler
    app.state.keeper = keeper
    app.state.flights = SingleFlight()
    app.state.database = database
    app.state.access = access
    app.state.allowances = access.allowances
    app.state.metrics = metrics

    problems.install(app)
    describe.install(app)
    # The last one added is the first one a request passes.
    app.add_middleware(Compress)
    uploads = dict.fromkeys(("/v1/fields", "/v1/jobs", "/v1/statements/verify"), chosen.limits.upload_bytes)
    app.add_middleware(BodyLimit, limit=chosen.limits.body_bytes, uploads=uploads)
    app.add_middleware(
        Gate, ring=access.ring, allowances=access.allowances, by_address=access.ring is None and chosen.rates.by_address
    )
    if chosen.cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=chosen.cors,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=_CORS_TAKEN,
            expose_headers=_CORS_SHOWN,
            max_age=86400,
        )
    observers = (access.meter, metrics, log_request, *((traces,) if traces else ()))
    app.add_middleware(RequestContext, limits=chosen.limits, observers=observers)

    # In this order they are looked through for each request: those that are asked most come first.
    for router in (
        tiles.router,
        series.router,
        health.router,
        soil.router,
        forecast.router,
        statements.router,
        calendar.router,
        fields.router,
        fieldtiles.router,
        jobs.router,
        styles.router,
        ogc.router,
        edr.router,
        wmts.router,
        stac.router,
        stores.router,
        catalog.router,
        keys.router,
        usage.router,
        measured.router,
        pages.pages(),
    ):
        app.include_router(router)
    return app


def _open(database: Database, access: Access) -> None:
    try:
        log.info("database: %s", database.check())
        if wrong := trouble(access):
            log.error("accounts: %s", wrong)
    except ValueError as error:
        # It is opened again when it is needed; maps and series of polygons do without it.
        log.error("database: %s", error)


def _begin(workspace: Workspace, filler: fill.Filler) -> None:
    try:
        workspace.elsewhere.look()
        if fill.wanted(workspace):
            filler.start()
    except ValueError as error:
        # The server starts all the same: /readyz says what is wrong, and other cubes are served.
        filler.fail(str(error))
