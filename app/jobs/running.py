"""A batch of a run: a block's years into the store. Years that are there are skipped, so a second try goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Event
from typing import Any

from fieldflux.app.problems import shorten_paths
from fieldflux.app.workspace import Workspace

from .asked import RunJob
from .queue import Outcome


def run_block(
    workspace: Workspace, job: RunJob, given: Mapping[str, Any], told: Callable[[int], None], cancel: Event
) -> tuple[Outcome, float]:
    """Run a block's years; what came of it, and cell-years computed. told: gets cell-years done.

    Raises MissingInputs, StoreFull, StoreReadOnly, and what opening cubes, models and stores raises.
    """
    from fieldflux.tiles.run import run

    place = workspace.place(job.cube, job.model)
    store = workspace.store_to_fill(place)
    model = workspace.model(place.card.id)
    block = next(b for b in store.blocks if b.name == given["block"])
    years = sorted(set(place.cube.years if job.years is None else job.years))
    cells = int(given["cells"])
    there = sum(store.complete(block, year) for year in years)
    report = run(
        model,
        place.cube,
        store,
        [block],
        years,
        progress=lambda p: told(there * cells + p.cells_done),
        cancel=cancel,
    )
    done = cells * (report.computed + report.skipped)
    failed = cells * len(years) - done
    faults = [shorten_paths(fault) for fault in report.faults]
    detail: dict[str, Any] = {
        "block": block.name,
        "computed": report.computed,
        "skipped": report.skipped,
        "cells_computed": report.different,
        "model_flags": dict(report.flags),
        "saturated": dict(report.saturated),
        "outside": dict(report.outside),
    }
    if faults:
        detail["failures"] = [
            {"index": None, "id": block.name, "problem": {"code": "run-failed", "detail": fault}} for fault in faults
        ]
    missing = min(report.missing, done)
    return Outcome(done - missing, missing, failed, 0, detail), float(report.cells)
