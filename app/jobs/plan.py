"""What a job will be: everything checked, cut into batches, and what it will cost on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from fieldflux.app.answer import asked_of
from fieldflux.app.ask import over
from fieldflux.app.database import Database
from fieldflux.app.problems import Refused, problem_of
from fieldflux.app.workspace import Place, Workspace

from . import pace, queue
from .asked import BBox, ExportJob, FieldQuery, Job, RunJob, SeriesJob, about_of

if TYPE_CHECKING:
    from fieldflux.tiles.grid import Block, Window
    from fieldflux.tiles.question import SeriesRequest, Source
    from fieldflux.tiles.store import Store
    from fieldflux.tiles.zonal import Coverage

CELL_YEARS_IN_BATCH = 20_000
SAMPLE = 50
"""Fields that are answered to see how long they take here."""
SAMPLE_SECONDS = 0.4
START_SECONDS = 3.0
"""What a worker process takes to start."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A job that passed all checks. unit: what its items are. parts: items and what is given to each batch.

    cost: what it takes, by name; `seconds`, with its range, is None where nothing of the kind was ever measured here,
    and `note` says so. rejected: features that will fail, with their problems.
    """

    unit: str
    parts: Sequence[tuple[int, Any]]
    cost: Mapping[str, Any]
    rejected: Sequence[Mapping[str, Any]] = field(default_factory=tuple)

    @property
    def items(self) -> int:
        return sum(items for items, _ in self.parts)


def plan(
    workspace: Workspace, database: Database, tenant: str, job: Job, features: Sequence[Any] | None = None
) -> Plan:
    """Check a job and work out its batches and cost. features: of a file, instead of those in the body.

    Raises Refused and what questions raise for what is wrong with the whole; DatabaseFault.
    """
    if isinstance(job, SeriesJob):
        return _series(workspace, database, job, _rows(workspace, database, tenant, job, features))
    return _run(workspace, database, job) if isinstance(job, RunJob) else _export(workspace, database, job)


# Series


def _rows(
    workspace: Workspace, database: Database, tenant: str, job: SeriesJob, features: Sequence[Any] | None
) -> list[dict[str, Any]]:
    """The features as batches are given them, in order."""
    chosen = [name for name in ("features", "fields", "query") if getattr(job, name) is not None]
    if (features is None) == (not chosen):
        raise Refused(
            "invalid-request",
            "Give the fields once: as `features`, `fields` or `query` in the body, or as the body's file.",
        )
    limit = workspace.settings.jobs.features
    if job.fields is not None:
        _check_count(len(job.fields), limit)
        return _registered(database, tenant, job.fields)
    if job.query is not None:
        return _queried(database, tenant, job.query, limit)
    found = features if features is not None else _features(job.features)
    _check_count(len(found), limit)
    return [{"index": i, "id": _id(feature), "feature": _outline(feature)} for i, feature in enumerate(found)]


def _features(given: Any) -> Sequence[Any]:
    if isinstance(given, Mapping):
        found = given.get("features")
        if given.get("type") != "FeatureCollection" or not isinstance(found, list | tuple):
            raise Refused("invalid-geometry", "`features` is a GeoJSON FeatureCollection, or an array of Features.")
        if given.get("crs") is not None:
            from fieldflux.tiles.shape import check_crs

            check_crs(given["crs"])
        return found
    return given or ()


def _id(feature: Any) -> str | int | None:
    name = feature.get("id") if isinstance(feature, Mapping) else None
    return name if isinstance(name, str | int) else None


def _outline(feature: Any) -> Any:
    """A feature without its properties, which no answer needs."""
    if not isinstance(feature, Mapping):
        return feature
    return {name: value for name, value in feature.items() if name != "properties"}


def _registered(database: Database, tenant: str, names: Sequence[str]) -> list[dict[str, Any]]:
    from fieldflux.app.fields.find import by_ids
    from fieldflux.app.fields.register import unknown

    held = by_ids(database, tenant, names)
    return [
        _of_field(i, held[name]) if name in held else {"index": i, "id": name, "error": _error(unknown(name))}
        for i, name in enumerate(names)
    ]


def _queried(database: Database, tenant: str, query: FieldQuery, limit: int) -> list[dict[str, Any]]:
    from fieldflux.app.fields.find import Filter, page

    wanted = Filter(query.bbox, query.external_ids, tuple(query.properties.items()))
    found = page(database, tenant, wanted, limit + 1)
    if not found:
        raise Refused("invalid-request", "None of your registered fields fits the query. GET /v1/fields lists them.")
    _check_count(len(found), limit)
    return [_of_field(i, each) for i, each in enumerate(found)]


def _of_field(index: int, found: Any) -> dict[str, Any]:
    import orjson

    outline = {"type": "Feature", "geometry": orjson.loads(found.geometry)}
    return {"index": index, "id": found.id, "external_id": found.external_id, "feature": outline}


def _error(error: ValueError) -> dict[str, Any]:
    problem = problem_of(error)
    assert problem is not None
    return {"code": problem.kind.slug, "detail": problem.detail, "members": dict(problem.members)}


def _check_count(count: int, limit: int) -> None:
    if count > limit:
        raise over("features", count, limit, "Send them in several jobs.")
    if count == 0:
        raise Refused("invalid-request", "There are no features in it. Send at least one.")


def _series(workspace: Workspace, database: Database, job: SeriesJob, rows: list[dict[str, Any]]) -> Plan:
    from fieldflux.tiles.question import check_request, read_names
    from fieldflux.tiles.steps import Steps
    from fieldflux.tiles.zonal import BadGeometry, coverages

    from .series import asked_collection

    rules, limits = workspace.settings.jobs, workspace.settings.limits
    place, source, request = asked_of(workspace, about_of(job))
    daily, _ = check_request(request, source)
    columns = len(request.variables) * (1 + len(request.statistics))
    each = len(Steps.of(request.step, request.first, request.last).labels()) * columns
    values = each * len(rows)
    if values > rules.values:
        raise over("values", values, rules.values, "Ask for fewer fields, variables or years in a job.")

    checked = asked_collection(workspace, job, rows).given
    shapes = [given.shape for given in checked]
    found = iter(
        coverages(
            [shape for shape in shapes if shape is not None],
            place.cube.grid,
            place.cube.window,
            source.mask(),
            limits=source.limits,
        )
    )
    covers = [None if shape is None else next(found) for shape in shapes]
    per_cell = request.days * max(len(read_names(daily, source.card)), 1)
    lacking = _Lacking(source, request)
    cut = _Cut(rules.batch, rules.batch_values // max(each, 1), limits.cell_days)
    rejected: list[dict[str, Any]] = []
    cells = compute = to_read = 0
    cells_of: list[int] = []
    for i, (row, cover) in enumerate(zip(rows, covers, strict=True)):
        reading = runs = 0
        if cover is None or isinstance(cover, BadGeometry):
            error = checked[i].error or (cover if isinstance(cover, BadGeometry) else None)
            assert error is not None
            rows[i] = row = {**{k: v for k, v in row.items() if k != "feature"}, "error": _error(error)}
        else:
            reading, runs = cover.cells * per_cell, lacking.cell_years(cover)
            if reading > limits.cell_days:
                error = over("cell_days", reading, limits.cell_days, "Ask for fewer days, or split the outline.")
                rows[i] = row = {**{k: v for k, v in row.items() if k != "feature"}, "error": _error(error)}
                reading = runs = 0
            else:
                cells += cover.cells
                compute += runs
                to_read += 0 if runs else reading
        if "error" in row:
            rejected.append({"index": row["index"], "id": row["id"], "problem": row["error"]})
        cells_of.append(0 if "error" in row else reading // per_cell if not runs else -1)
        cut.add(row, reading, runs)
    if job.combine:
        from .sums import once_in

        if values > rules.combined_values:
            raise over(
                "combined_values", values, rules.combined_values, "Ask for longer steps, fewer variables or fields."
            )
        once_in(rows, shapes)
    if compute > rules.cell_years:
        raise over("cell_years", compute, rules.cell_years, "Run the region first, by a job of the kind `run`.")

    parts = [(len(part), part) for part in cut.parts()]
    seconds, size = _sampled(workspace, job, rows, cells_of)
    note = ""
    if compute:
        rate = queue.rate(database, run_rate(place)) or store_rate(source.store)
        if rate is None:
            note = f"No run of {place.card.id} was measured here yet: how long it takes to compute is not known."
        seconds = None if rate is None else (seconds or 0.0) + compute / rate
    cost = {
        "features": len(rows),
        "rejected": len(rejected),
        "cells": cells,
        "cell_days_to_read": to_read,
        "cell_years_to_compute": compute,
        "values": values,
        "batches": len(parts),
        "bytes": size,
        **_time(workspace, database, job, place, request.step, seconds, parts),
        "note": note,
    }
    return Plan("features", parts, cost, rejected)


def _time(
    workspace: Workspace,
    database: Database,
    job: Job,
    place: Place,
    step: str,
    expected: float | None,
    parts: Sequence[tuple[int, Any]],
) -> dict[str, Any]:
    """Seconds of work, and of waiting for it with this server's workers, by what their batches took before.

    expected: before that is known.
    """
    workers = max(1, min(workspace.settings.jobs.workers, len(parts)))
    items = sum(count for count, _ in parts)
    name = pace.name_of(job.kind, place.card.id, step)
    return pace.times(database, name, expected, items, job.kind, workers, START_SECONDS)


class _Cut:
    """Cuts rows into batches, in order."""

    def __init__(self, most: int, by_values: int, cell_days: int) -> None:
        self._most, self._cell_days = max(1, min(most, by_values)), cell_days // 2
        self._parts: list[list[dict[str, Any]]] = [[]]
        self._reading = self._runs = 0

    def add(self, row: dict[str, Any], reading: int, runs: int) -> None:
        part = self._parts[-1]
        full = len(part) >= self._most or (
            part and (self._reading + reading > self._cell_days or self._runs + runs > CELL_YEARS_IN_BATCH)
        )
        if full:
            self._parts.append([])
            self._reading = self._runs = 0
        self._parts[-1].append(row)
        self._reading += reading
        self._runs += runs

    def parts(self) -> list[list[dict[str, Any]]]:
        return [part for part in self._parts if part]


class _Lacking:
    """Cell-years that have to be computed for a polygon. Where the store is full, that is told without a look."""

    def __init__(self, source: Source, request: SeriesRequest) -> None:
        self._source, store = source, source.store
        self._years = [
            year
            for year in request.years
            if store is None or not store.computed(year)[store.occupied.astype(bool)].all()
        ]

    def cell_years(self, cover: Coverage) -> int:
        from fieldflux.tiles.reading import lacking_chunks, work_of

        lacking = [year for year in self._years if lacking_chunks(self._source, cover, year)]
        return work_of(self._source, cover, lacking) if lacking else 0


def _sampled(
    workspace: Workspace, job: SeriesJob, rows: Sequence[Mapping[str, Any]], cells: Sequence[int]
) -> tuple[float | None, int | None]:
    """Seconds and bytes of the features that the store holds, from some that are answered now.

    cells: of each; 0 where it fails, -1 where it has to be computed.
    """
    from .series import answer

    there = [i for i, n in enumerate(cells) if n > 0]
    if not there:
        return 0.0, None
    middle = max(0, len(there) // 2 - SAMPLE // 2)
    chosen = there[middle : middle + SAMPLE]
    # What comes once (libraries, compiled code) is not what each costs.
    answer(workspace, job, [rows[i] for i in chosen[:3]])
    seconds, size, used, begin = 0.0, 0, 0, 0
    step = min(10, len(chosen))
    while begin < len(chosen) and seconds < SAMPLE_SECONDS:
        part = chosen[begin : begin + step]
        started = perf_counter()
        made = answer(workspace, job, [rows[i] for i in part])
        seconds += perf_counter() - started
        size += len(made.files["parquet"])
        used += len(part)
        begin += len(part)
        step = SAMPLE
    of_used = sum(cells[i] for i in chosen[:used])
    # By fields and by cells, half of each: neither alone tells what one costs.
    factor = 0.5 * (len(there) / used + sum(cells[i] for i in there) / of_used)
    return seconds * factor, round(size * len(there) / used)


# Runs


def run_rate(place: Place) -> str:
    """Under which name the pace of runs is kept: cell-years a second."""
    return f"run:{place.card.id}"


def store_rate(store: Store | None) -> float | None:
    """Cell-years a second of what was computed before, by the store's own records; None where there are none."""
    if store is None:
        return None
    records = [r for r in store.records() if r.cells]
    seconds = sum(r.seconds for r in records)
    return sum(r.cells for r in records) / seconds if seconds > 0 else None


def _run(workspace: Workspace, database: Database, job: RunJob) -> Plan:
    from fieldflux.tiles.cells import cells_in

    place = workspace.place(job.cube, job.model)
    cube, store = place.cube, workspace.own_store(place)
    years = _years(job.years, cube.years, cube.id)
    blocks: list[Block] = cube.window.block_aligned(cube.grid).blocks(cube.grid)
    if job.blocks is not None:
        known = {block.name: block for block in blocks}
        unknown = [name for name in job.blocks if name not in known]
        if unknown:
            listed = ", ".join(list(known)[:20]) + (", …" if len(known) > 20 else "")
            raise Refused(
                "invalid-request",
                f"There is no block '{unknown[0][:40]}'. The blocks are: {listed}.",
                allowed=list(known),
            )
        blocks = [known[name] for name in dict.fromkeys(job.blocks)]
    if job.bbox is not None:
        window = window_of(place, job.bbox)
        blocks = [b for b in blocks if b.window(cube.grid).intersect(window) is not None]
    mask = cube.mask()
    parts: list[tuple[int, Any]] = []
    compute = there = 0
    for block in blocks:
        cells = len(cells_in(mask, cube.window, block.window(cube.grid))[0])
        if not cells:
            continue
        lacking = [y for y in years if store is None or not store.complete(block, y)]
        there += cells * (len(years) - len(lacking))
        compute += cells * len(lacking)
        parts.append((cells * len(years), {"block": block.name, "cells": cells}))
    if not parts:
        raise Refused("outside-cube", f"No cell of the cube '{cube.id}' with inputs lies in this region.")
    rules = workspace.settings.jobs
    if compute > rules.cell_years:
        raise over("cell_years", compute, rules.cell_years, "Run the region in several jobs.")
    rate = queue.rate(database, run_rate(place)) or store_rate(store)
    note = "" if rate or not compute else f"No run of {place.card.id} was measured here yet: its time is not known."
    cost = {
        "blocks": len(parts),
        "years": len(years),
        "cell_years_to_compute": compute,
        "cell_years_there": there,
        "batches": len(parts),
        "bytes": _store_bytes(store, compute),
        **_time(workspace, database, job, place, "year", compute / rate if rate else None if compute else 0.0, parts),
        "note": note,
    }
    return Plan("cell-years", parts, cost)


def _store_bytes(store: Store | None, cell_years: int) -> int | None:
    """Bytes that so many cell-years take, by what those take that are there; None where there are none."""
    if store is None:
        return None
    held = sum(r.cells for r in store.records())
    if not held:
        return None
    size = sum(f.stat().st_size for f in store.path.rglob("*") if f.is_file())
    return round(size / held * cell_years)


def _years(given: tuple[int, ...] | None, there: Sequence[int], cube: str) -> list[int]:
    wanted = sorted(set(there if given is None else given))
    beyond = [y for y in wanted if y not in there]
    if beyond:
        raise Refused(
            "invalid-dates", f"The year {beyond[0]} lies outside: the cube '{cube}' covers {there[0]} to {there[-1]}."
        )
    return wanted


def window_of(place: Place, bbox: BBox) -> Window:
    """Rows and columns of the cube that a box touches. Raises Refused (outside-cube)."""
    from fieldflux.tiles.grid import Window

    grid, w = place.cube.grid, place.cube.window
    west, south, east, north = bbox
    # Edges of a box in degrees bend on the grid's plane: so do these points.
    t = np.linspace(0.0, 1.0, 33)
    lon = np.concatenate([west + t * (east - west)] * 2 + [np.full(33, west), np.full(33, east)])
    lat = np.concatenate([np.full(33, south), np.full(33, north)] + [south + t * (north - south)] * 2)
    x, y = grid.from_lonlat(lon, lat)
    fits = np.isfinite(x) & np.isfinite(y)
    if fits.any():
        rows, cols = grid.cell_at(x[fits], y[fits])
        box = Window(int(rows.min()), int(rows.max()) + 1, int(cols.min()), int(cols.max()) + 1)
        found = box.intersect(w)
        if found is not None:
            return found
    raise Refused("outside-cube", f"The box lies outside the cube '{place.cube.id}'. GET /v1/cubes tells where it is.")


# Exports


def _export(workspace: Workspace, database: Database, job: ExportJob) -> Plan:
    from fieldflux.models.variables import variable
    from fieldflux.tiles.steps import Steps

    place, source, request = asked_of(workspace, about_of(job))
    v, store = variable(job.variable), source.store
    if store is None:
        raise Refused(
            "not-in-store", "Nothing of this cube and model has been computed: send a job of kind `run` first."
        )
    if v.period != "day" and job.step != "year":
        raise Refused("invalid-request", f"'{job.variable}' has no days; `step` can only be 'year'.")
    whole_years = request.first.month == request.first.day == 1 and (request.last.month, request.last.day) == (12, 31)
    if v.period == "year" and not whole_years:
        raise Refused("invalid-dates", f"'{job.variable}' is of whole years; give `years`.")
    window = place.cube.window if job.bbox is None else window_of(place, job.bbox)
    steps = Steps.of(job.step, request.first, request.last)
    rows, cols = window.shape
    years = request.years
    cell_years = rows * cols * len(years)
    rules = workspace.settings.jobs
    values = len(steps.labels()) * rows * cols
    if values > 10 * rules.values:
        raise over("values", values, 10 * rules.values, "Ask for a smaller box, fewer days, or a longer step.")
    missing = sum(int((store.occupied.astype(bool) & ~store.computed(year)).sum()) for year in years)
    parts = export_parts(steps, rows * cols)
    rate = queue.rate(database, "export")
    days = request.days if v.period == "day" else 1
    read = rows * cols * days
    note = "" if rate else "No export was measured here yet: its time is a guess from what disks usually give."
    cost = {
        "steps": len(steps.labels()),
        "rows": rows,
        "cols": cols,
        "values": values,
        "cell_years_to_read": cell_years,
        "chunks_not_computed": missing,
        "batches": len(parts),
        "bytes": values * 2,
        **_time(workspace, database, job, place, job.step, read / (rate or 30e6), parts),
        "note": note,
    }
    return Plan("steps", parts, cost)


def export_parts(steps: Any, cells: int) -> list[tuple[int, Any]]:
    """Steps by year, in parts that fit in memory; a period or a winter is in the part of its last day."""
    last = steps.starts + steps.lengths - 1
    of_year = last.astype("M8[Y]").astype(int) + 1970
    most = max(1, 60_000_000 // cells)
    parts: list[tuple[int, Any]] = []
    for year in np.unique(of_year).tolist():
        at = np.flatnonzero(of_year == year)
        for i in range(0, len(at), most):
            part = at[i : i + most].tolist()
            parts.append((len(part), {"year": year, "steps": [part[0], part[-1] + 1], "piece": i // most}))
    return parts
