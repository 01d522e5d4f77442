"""What a store's numbers came from, and which blocks and years of it are whole."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .files import write_whole
from .grid import Grid, Window

FORMAT = 1
NAME = "manifest.json"


class BadStore(ValueError):
    """A store that is missing, damaged, or of another kind."""


class WrongStore(ValueError):
    """A store that was made by another model, or from another cube, than it is to be used with."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelUsed(_Part):
    """The model of a store, with what a reader of its numbers wants to know of it."""

    id: str
    title: str
    family: str
    weights_sha256: str
    members: int
    made: str = ""


class CubeUsed(_Part):
    """The cube of a store."""

    id: str
    title: str
    statement: str
    synthetic: bool
    licence: str
    hash: str
    years: tuple[int, ...]


class Manifest(_Part):
    """Made once, when the store is."""

    format: int
    model: ModelUsed
    cube: CubeUsed
    code: str
    made: str
    grid: dict[str, Any]
    window: tuple[int, int, int, int]
    daily: tuple[str, ...]
    annual: tuple[str, ...]

    def the_grid(self) -> Grid:
        return Grid(**self.grid)

    def the_window(self) -> Window:
        return Window(*self.window)


class Record(_Part):
    """How one block (or chunk) and year was made; its file is the marker that it is whole.

    cells: with inputs. computed: different ones among them; the rest are their like. flags: cells by flag of the model.
    missing: cells without a value of the first daily variable on some day. saturated: daily values, by variable, that
    did not fit in 16 bits and are stored as missing. outside: those that fit but are not in the variable's valid range.
    """

    name: str
    year: int
    made: str
    seconds: float
    cells: int
    computed: int
    flags: dict[str, int] = Field(default_factory=dict)
    missing: int = 0
    saturated: dict[str, int] = Field(default_factory=dict)
    outside: dict[str, int] = Field(default_factory=dict)
    code: str = ""


def now() -> str:
    """Time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def code_version() -> str:
    """Version of Fieldflux, with the commit where it runs from a working tree."""
    try:
        found = version("fieldflux")
    except PackageNotFoundError:
        found = "unknown"
    commit = _commit(Path(__file__).resolve().parents[1] / ".git")
    return f"{found}+{commit[:12]}" if commit else found


def _commit(git: Path) -> str:
    try:
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        return (git / head.removeprefix("ref: ")).read_text().strip()
    except OSError:
        return ""


def read_manifest(root: Path) -> Manifest:
    """Raises BadStore, saying what is wrong with which file."""
    path = root / NAME
    try:
        return manifest_of(path.read_bytes(), path)
    except FileNotFoundError:
        raise BadStore(
            f"There is no store at {root}: it has no {NAME}. Give the folder of a store, or make one with "
            f"`fieldflux run`."
        ) from None
    except OSError as error:
        raise BadStore(f"The store's manifest {path} cannot be read: {error.strerror}.") from error


def manifest_of(blob: bytes, path: Path) -> Manifest:
    """A manifest by the content of its file. Raises BadStore, naming the file."""
    try:
        found = json.loads(blob)
        stated = found.get("format")
        if stated != FORMAT:
            raise BadStore(
                f"The store {path.parent} is of format {stated!r}; this version of Fieldflux reads format {FORMAT}. "
                f"Update Fieldflux, or run the model again into a new folder."
            )
        return Manifest.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"]) or "the file"
        raise _damaged(path, f"{where}: {first['msg']}") from error
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, why: str) -> BadStore:
    return BadStore(
        f"The store's manifest {path} is damaged: {why}. Restore the file from a copy, or run the model again into a "
        f"new folder."
    )


def marker(root: Path, name: str, year: int) -> Path:
    """The file that says that a block and year is whole."""
    return root / marker_at(name, year)


def marker_at(name: str, year: int) -> str:
    """The same, in its store."""
    return f"blocks/{year}/{name}.json"


def chunk_marker(root: Path, name: str, year: int) -> Path:
    """The file that says that a chunk computed on demand is whole."""
    return root / "overlay" / "chunks" / str(year) / f"{name}.json"


def record_of(read: Callable[[str], bytes], at: str, path: Path) -> Record:
    """A record by its path in the store. Raises BadStore, naming the file."""
    try:
        return Record.model_validate_json(read(at))
    except OSError as error:
        raise BadStore(f"The record {path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        raise BadStore(
            f"The record {path} is damaged. Delete it and run the model again; only that block and year is recomputed."
        ) from error


def marked(folder: Path) -> dict[int, frozenset[str]]:
    """Year -> names that have a marker there."""
    found: dict[int, frozenset[str]] = {}
    try:
        years = [entry for entry in os.scandir(folder) if entry.name.isdigit()]
    except FileNotFoundError:
        return found
    for entry in years:
        names = (e.name for e in os.scandir(entry.path))
        found[int(entry.name)] = frozenset(n.removesuffix(".json") for n in names if n.endswith(".json"))
    return found


def write_token(root: Path, name: str) -> None:
    """Give the file `name` a new content: readers that watch it then look again."""
    write_whole(root / name, uuid.uuid4().hex[:16].encode(), root)


def read_token(root: Path, name: str) -> str:
    """Content of a watched file; empty where there is none."""
    try:
        return (root / name).read_text()
    except FileNotFoundError:
        return ""
