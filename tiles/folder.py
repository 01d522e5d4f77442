"""Where the files of a store lie: in a folder, or elsewhere behind the same few methods (see `objects`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .manifest import marked, read_token

if TYPE_CHECKING:
    from .view import Opened

_Of = TypeVar("_Of")
_Found = TypeVar("_Found")


class StoreAway(ValueError):
    """A store that cannot be read at the moment: what holds it does not answer, or refuses. Not a damaged one."""


Range = tuple[int, int]
"""Offset and size."""


class File(Protocol):
    """A file that is open for reading. Safe between threads; closed when nobody holds it."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def tag(self) -> str:
        """Changes when the content does."""

    @property
    def read(self) -> Callable[[int, int], bytes]:
        """So many bytes from an offset on: `read(size, offset)`."""

    @property
    def want(self) -> Callable[[Sequence[Range]], None] | None:
        """Told what will be read next, a file far away fetches it all at once; None where that saves nothing."""


class Files(Protocol):
    """The files of a store, by their paths in it. What is not there raises FileNotFoundError."""

    @property
    def waits(self) -> bool:
        """Whether reading may wait for a network: then it is not done on an event loop, and nothing can be written."""

    def latest(self) -> Files:
        """The files as they are now. What is marked in these can still be read."""

    def token(self, name: str) -> str:
        """Content of a watched file; empty where there is none."""

    def marked(self, folder: str) -> dict[int, frozenset[str]]:
        """Year -> names of the blocks, or chunks on demand, that have a marker in that folder."""

    def exists(self, at: str) -> bool:
        """Whether there is that file."""

    def read(self, at: str) -> bytes:
        """A small file."""

    def open(self, at: str) -> File:
        """A large one."""

    def each(self, work: Callable[[_Of], _Found], of: Iterable[_Of]) -> Iterator[_Found]:
        """Work on each, in order; where reading waits for a network, on all of them at the same time."""

    def array(self, at: str, opened: Opened) -> Any:
        """An array for reading, indexed as tensorstore's are. Raises ValueError."""


class LocalFile:
    """A file of this machine."""

    def __init__(self, path: str) -> None:
        """Raises FileNotFoundError."""
        self._file = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        status = os.fstat(self._file)
        self.size, self.tag = status.st_size, f"{status.st_mtime_ns:x}-{status.st_size:x}"
        self.read: Callable[[int, int], bytes] = partial(os.pread, self._file)
        self.want: Callable[[Sequence[Range]], None] | None = None

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)


@dataclass(frozen=True, slots=True)
class Folder:
    """The files of a store in a folder of this machine."""

    root: Path

    @property
    def waits(self) -> bool:
        return False

    def latest(self) -> Folder:
        return self

    def token(self, name: str) -> str:
        return read_token(self.root, name)

    def marked(self, folder: str) -> dict[int, frozenset[str]]:
        return marked(self.root / folder)

    def exists(self, at: str) -> bool:
        return (self.root / at).exists()

    def read(self, at: str) -> bytes:
        return (self.root / at).read_bytes()

    def open(self, at: str) -> LocalFile:
        return LocalFile(f"{self.root}/{at}")

    def each(self, work: Callable[[_Of], _Found], of: Iterable[_Of]) -> Iterator[_Found]:
        return map(work, of)

    def array(self, at: str, opened: Opened) -> Any:
        return opened.open(f"{self.root / at}/")
