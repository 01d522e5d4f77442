"""What a job has found: pages of answers and files, complete or of what is done so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldflux.app.database import Database
from fieldflux.app.paging import to_cursor
from fieldflux.app.problems import Refused

from . import book, files, join
from .files import ATTEMPT


@dataclass(frozen=True, slots=True)
class Found:
    """A file to send. key: the same for the same content. complete: of the whole job."""

    path: Path
    name: str
    media: str
    key: str
    complete: bool


def page(home: Path, database: Database, tenant: str, job: str, after: tuple[int, int], limit: int) -> dict[str, Any]:
    """A page of results. after: batch and place in it from which to go on.

    Raises Refused (unknown-job, results-removed), DatabaseFault.
    """
    row, done, names = _look(database, tenant, job)
    head = {"state": row["state"], "complete": row["state"] == "done"}
    if row["kind"] != "series":
        listed = [_as_file(home, job, name, path) for name, path in names.items()]
        return {**head, "items": listed, "next": None, "notes": {}}
    attempts = dict(done)
    folder = files.folder_of(home, job)
    items: list[Any] = []
    shared: dict[str, Any] = {}
    notes: dict[str, str] = {}
    number, place = after
    while number in attempts and len(items) < limit:
        answer = join.answer_of(folder, number, attempts[number])
        part = answer["features"][place : place + limit - len(items)]
        items += part
        notes |= answer["notes"]
        shared = shared or join.shared_of(iter([answer]))
        place += len(part)
        if place >= len(answer["features"]):
            number, place = number + 1, 0
    head |= join.sum_in(folder, _with_sum(folder, row, done))
    over = number >= row["batches"] or (row["state"] in book.ENDED and number not in attempts)
    return {**head, "items": items, "next": None if over else to_cursor(number, place), **shared, "notes": notes}


def series_file(home: Path, database: Database, tenant: str, job: str, format: str) -> Found:
    """One file of a series job, made now where it is not there yet.

    Raises Refused (unknown-job, results-removed, not-found, not-acceptable), StoreFull, StoreReadOnly, DatabaseFault.
    """
    row, done, names = _look(database, tenant, job)
    if row["kind"] != "series":
        raise Refused("not-found", f"A job of the kind '{row['kind']}' has its files in `links.files`.")
    ending = join.ENDINGS[format]
    folder, name = files.folder_of(home, job), f"results.{ending}"
    every = _with_sum(folder, row, done)
    complete = len(done) == row["batches"]
    if not done:
        raise Refused("not-found", f"The job is {row['state']}, and no batch is done yet. Ask again later.")
    key = f"{job} {format} {done}"
    shown = f"{job}.{ending}"
    if name in names and (folder / name).exists():
        return Found(folder / name, shown, files.MEDIA[ending], key, True)
    held = f"results.{ending}" if complete and row["state"] == "done" else f"so-far-{len(done)}.{ending}"
    if not (folder / held).exists() or not complete:
        try:
            join.series_file(folder, every, held, format)
        except FileNotFoundError:
            raise Refused("not-found", "The job's files are being put in order, or are gone. Ask again.") from None
    return Found(folder / held, shown, files.MEDIA[ending], key, complete)


def named(home: Path, database: Database, tenant: str, job: str, name: str) -> Found:
    """A file by its name. Raises Refused (unknown-job, results-removed, not-found), DatabaseFault."""
    row, done, names = _look(database, tenant, job)
    if name not in names:
        listed = ", ".join(names) or f"none, as the job is {row['state']}"
        raise Refused("not-found", f"The job has no file '{name[:80]}'. Its files are: {listed[:500]}.")
    path = files.folder_of(home, job) / names[name]
    if not path.is_file():
        raise Refused("results-removed", f"The file '{name[:80]}' is no longer there. Send the job again.")
    return Found(
        path, name, files.MEDIA.get(name.rsplit(".", 1)[-1], "application/octet-stream"), f"{job} {name} {done}", True
    )


def _with_sum(folder: Path, row: Mapping[str, Any], done: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The batches that are done, and the sum over all, which lies beside them once the job is."""
    last = (row["batches"], ATTEMPT)
    return [*done, last] if row["state"] == "done" and (folder / files.part(*last, "json.gz")).exists() else done


def _look(database: Database, tenant: str, job: str) -> tuple[Mapping[str, Any], list[tuple[int, int]], dict[str, str]]:
    with database.read() as connection:
        row = book.row_of(connection, tenant, job)
        if row["removed"]:
            raise Refused("results-removed", f"The results were kept until {row['expires']}. Send the job again.")
        return row, book.done_batches(connection, row), book.file_names(connection, row)


def _as_file(home: Path, job: str, name: str, path: str) -> dict[str, Any]:
    at = files.folder_of(home, job) / path
    return {
        "name": name,
        "href": f"/v1/jobs/{job}/results/{name}",
        "media": files.MEDIA.get(name.rsplit(".", 1)[-1], "application/octet-stream"),
        "bytes": at.stat().st_size if at.is_file() else None,
    }
