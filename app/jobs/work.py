"""Doing a claimed batch, whatever its kind; its files are there when this returns."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from time import perf_counter
from typing import Any

from fieldflux.app.database import Database
from fieldflux.app.workspace import Workspace

from . import files, join, queue
from .asked import ExportJob, RunJob, SeriesJob, job_of
from .queue import Claim, Outcome


def do(workspace: Workspace, database: Database, held: Claim, told: Callable[[int], None], cancel: Event) -> Outcome:
    """Do a batch. told: gets items done. cancel: set when nobody wants it any more; what it returns then is not used.

    Raises StoreFull, StoreReadOnly, and what reading and running raise for the whole batch.
    """
    job = job_of(held.kind, dict(held.ask))
    folder = files.folder_of(workspace.settings.home, held.job)
    if held.last:
        return _joined(workspace, held, job, folder)
    if isinstance(job, SeriesJob):
        from .series import answer

        made = answer(workspace, job, held.given)
        join.store_json(folder, held.number, held.attempt, made.files["json"])
        size = len(made.files["json"])
        for ending, content in made.files.items():
            if ending != "json":
                files.write(folder, files.part(held.number, held.attempt, ending), content)
                size += len(content)
        counts = made.counts
        detail = {"failures": list(made.failures)} if made.failures else {}
        return Outcome(counts["OK"], counts["PARTIAL"], counts["FAILED"], size, detail)
    if isinstance(job, RunJob):
        from .plan import run_rate
        from .running import run_block

        started = perf_counter()
        outcome, cells = run_block(workspace, job, held.given, told, cancel)
        if cells and not cancel.is_set():
            queue.learn(database, run_rate(workspace.place(job.cube, job.model)), cells, perf_counter() - started)
        return outcome
    return _export(workspace, database, held, job, folder)


def _export(workspace: Workspace, database: Database, held: Claim, job: ExportJob, folder: Any) -> Outcome:
    import numpy as np

    from .exporting import about, dataset, tags_of, unit_of, values_of, write_geotiff

    started = perf_counter()
    place, store, window, steps = about(workspace, job)
    begin, end = held.given["steps"]
    values = values_of(store, window, job, steps, begin, end)
    there = np.asarray(np.isfinite(values).reshape(len(values), -1).any(axis=1))
    ending = {"geotiff": "tif", "netcdf": "nc", "zarr": "nc"}[job.format]
    name = files.part(held.number, held.attempt, ending)
    with files.written_beside(folder, name) as path:
        if job.format == "geotiff":
            labels = steps.labels()[begin:end]
            write_geotiff(path, values, place, window, unit_of(job), labels, tags_of(place, store, job))
        else:
            made = dataset(place, store, window, job, steps, begin, end, values)
            made.to_netcdf(path, engine="h5netcdf", encoding={job.variable: {"zlib": True, "complevel": 1}})
    days = int(steps.lengths[begin:end].sum()) if job.step != "year" else end - begin
    queue.learn(database, "export", float(window.shape[0] * window.shape[1] * days), perf_counter() - started)
    size = (folder / name).stat().st_size
    empty = int((~there).sum())
    detail: dict[str, Any] = {}
    if empty:
        labels = steps.labels()
        detail["failures"] = [
            {
                "index": i,
                "id": labels[i],
                "problem": {
                    "code": "not-computed-yet",
                    "detail": f"The store holds no value of {job.variable} for {labels[i]} in this box.",
                },
            }
            for i in range(begin, end)
            if not there[i - begin]
        ]
    return Outcome(end - begin - empty, 0, empty, size, detail)


def _joined(workspace: Workspace, held: Claim, job: Any, folder: Any) -> Outcome:
    """Make one file, or name the files, of all batches; then drop what nobody needs any more."""
    named: dict[str, str] = {}
    keep = {files.part(number, attempt, ending) for number, attempt in held.done for ending in _KEPT}
    if isinstance(job, SeriesJob):
        name = f"results.{join.ENDINGS[job.format]}"
        done = list(held.done)
        if job.combine:
            from .sums import put_together

            if put_together(workspace, job, folder, held.done, held.number):
                done.append((held.number, files.ATTEMPT))
                keep |= {files.part(held.number, files.ATTEMPT, ending) for ending in _KEPT}
        try:
            join.series_file(folder, done, name, job.format)
            named = {name: name}
        except ValueError as error:
            # A file that cannot be had (NetCDF of nothing) does not spoil the rest.
            if getattr(error, "code", "") != "not-acceptable":
                raise
            return Outcome(detail={"files": {}, "note": str(error)})
    elif isinstance(job, ExportJob):
        named = _export_files(workspace, held, job, folder)
    size = sum((folder / path).stat().st_size for path in named.values())
    files.clear(folder, frozenset({*named.values(), *keep}))
    return Outcome(bytes=size, detail={"files": named})


_KEPT = ("json.gz", "parquet", "tif", "nc")


def _export_files(workspace: Workspace, held: Claim, job: ExportJob, folder: Any) -> dict[str, str]:
    from .exporting import about

    _, _, window, steps = about(workspace, job)
    if job.format == "geotiff":
        from .plan import export_parts

        named = {}
        labels, parts = steps.labels(), export_parts(steps, window.shape[0] * window.shape[1])
        for number, attempt in held.done:
            begin, end = parts[number][1]["steps"]
            span = labels[begin] if end - begin == 1 else f"{labels[begin]}_{labels[end - 1]}"
            named[f"{job.variable}-{span.replace('/', '_')}.tif"] = files.part(number, attempt, "tif")
        return named
    import xarray as xr

    paths = [folder / files.part(number, attempt, "nc") for number, attempt in held.done]
    opened = [xr.open_dataset(path, engine="h5netcdf", decode_times=False, chunks=None) for path in paths]
    try:
        if job.format == "netcdf":
            from .exporting import join_netcdf

            name = f"{job.variable}.nc"
            with files.written_beside(folder, name) as path:
                join_netcdf(opened, path, job.variable)
        else:
            from .exporting import join_zarr

            name = f"{job.variable}.zarr.zip"
            with files.written_beside(folder, name) as path:
                join_zarr(opened, path, job.variable)
    finally:
        for each in opened:
            each.close()
    return {name: name}
