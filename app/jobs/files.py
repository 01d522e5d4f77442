"""Files of jobs: <home>/jobs/<job>/, with what each batch left and what was made of it. Each appears whole or not at
all.

A batch's files have its number and its try in their names, so that a worker that comes late changes nothing that
counts.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fieldflux.tiles.files import disk_faults, scratch, write_whole

WHAT = "the results of a job"
MEDIA: Mapping[str, str] = {
    "parquet": "application/vnd.apache.parquet",
    "csv": "text/csv; charset=utf-8",
    "ndjson": "application/x-ndjson",
    "json": "application/json",
    "nc": "application/x-netcdf",
    "tif": "image/tiff; application=geotiff; profile=cloud-optimized",
    "zip": "application/zip",
}
"""Media type by ending."""

ATTEMPT = 0
"""The try in the names of files that are the same whoever makes them: those of a job's sum over all features."""


def root_of(home: Path) -> Path:
    return home / "jobs"


def folder_of(home: Path, job: str) -> Path:
    """Where a job's files are. job: an id of the database's, never what a caller sent."""
    return root_of(home) / job


def part(number: int, attempt: int, ending: str) -> str:
    """Name of a batch's file: "00007-1.parquet"."""
    return f"{number:05d}-{attempt}.{ending}"


def write(folder: Path, name: str, content: bytes) -> None:
    """Raises StoreFull, StoreReadOnly."""
    with disk_faults(WHAT, folder):
        write_whole(folder / name, content, folder.parent, sync=True)


@contextmanager
def written_beside(folder: Path, name: str) -> Iterator[Path]:
    """A path to write a large file to, which is moved to its name at the end. Raises StoreFull, StoreReadOnly."""
    with disk_faults(WHAT, folder):
        beside = scratch(folder.parent)
        try:
            yield beside
            folder.mkdir(parents=True, exist_ok=True)
            os.replace(beside, folder / name)
        finally:
            if beside.is_dir():
                shutil.rmtree(beside, ignore_errors=True)
            else:
                beside.unlink(missing_ok=True)


def clear(folder: Path, keep: frozenset[str]) -> None:
    """Remove all files but these."""
    try:
        for entry in folder.iterdir():
            if entry.name not in keep and entry.is_file():
                entry.unlink(missing_ok=True)
    except OSError:
        # What cannot be removed now is removed with the job.
        return


def remove(home: Path, job: str) -> None:
    shutil.rmtree(folder_of(home, job), ignore_errors=True)


def orphans(home: Path, older_seconds: float = 3600.0) -> list[str]:
    """Names of folders that have been there for a while: the caller knows which of them belong to a job."""
    try:
        return [
            entry.name
            for entry in root_of(home).iterdir()
            if entry.name.startswith("job_") and time.time() - entry.stat().st_mtime > older_seconds
        ]
    except OSError:
        return []
