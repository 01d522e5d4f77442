"""What is in a pushed store: each file with its size, its SHA-256, and the CRC-32C of each of its pages.

The list is itself cut by block (or chunk on demand) and year, so that a reader of a field needs a few kB of it, of
however large a store.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

import orjson
from fieldflux.tiles.manifest import BadStore

FORMAT = 1
PAGE = 256 * 1024
"""Bytes that are fetched, checked and kept together: a shard's index, or the squares of some dozen fields."""
POINTER = "store.json"

_SHARD = re.compile(r"(?P<array>.+?)/c/(?:\d+/)*(?P<row>\d+)/(?P<col>\d+)")
_YEAR = re.compile(r"(.*?\b\d{4})/")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file: its size in bytes, its SHA-256, and the CRC-32C of each page of `PAGE` bytes."""

    size: int
    sha256: str
    pages: tuple[int, ...]

    def page_size(self, page: int) -> int:
        return min(PAGE, self.size - page * PAGE)


Entries = dict[str, Entry]
"""Path in the store -> file."""


@dataclass(frozen=True, slots=True)
class Contents:
    """A whole pushed store: files of no year, the hashes of the parts of the list, and the names of what is marked."""

    entries: Entries
    parts: Mapping[str, str]
    marked: Mapping[str, Mapping[int, frozenset[str]]]


@dataclass(frozen=True, slots=True)
class Pointer:
    """What is at an address now. tokens: of the store, as when it was pushed. contents: SHA-256 of the list."""

    tokens: Mapping[str, str]
    contents: str

    @property
    def edition(self) -> str:
        return self.tokens["generation"]


def part_of(at: str) -> str:
    """Which part of the list a file stands in: of its block, or chunk on demand, and year; else of its year.

    >>> part_of("2019/members/gpp/c/0/0/1/2"), part_of("overlay/2019/daily/c/0/0/17/4"), part_of("flags/2019/b1.npz")
    ('2019/blocks/1-2', '2019/chunks/17-4', 'flags/2019')
    >>> part_of("2019/gpp/zarr.json"), part_of("2019/x/c/0"), part_of("zarr.json")
    ('2019', '2019', '')
    """
    shard = _SHARD.fullmatch(at)
    year = _YEAR.match(at)
    if year is None:
        return ""
    if shard is None:
        return year[1]
    kind = "chunks" if at.startswith("overlay/") or shard["array"].endswith("/chunks") else "blocks"
    return f"{year[1][-4:]}/{kind}/{shard['row']}-{shard['col']}"


def contents_at(pointer: Pointer, sha256: str) -> str:
    """Where a list, or a part of it, lies below the address."""
    return f"{pointer.edition}/contents/{sha256}.json"


def sha256_of(blob: bytes) -> str:
    return hashlib.sha256(blob).hexdigest()


# As they are kept


def entries_to(entries: Entries) -> bytes:
    return orjson.dumps({at: _entry_to(entries[at]) for at in sorted(entries)})


def entries_from(blob: bytes) -> Entries:
    return {at: _entry_from(*found) for at, found in orjson.loads(blob).items()}


def contents_to(contents: Contents) -> bytes:
    marked = {
        folder: {str(year): sorted(names) for year, names in sorted(years.items())}
        for folder, years in contents.marked.items()
    }
    entries = {at: _entry_to(contents.entries[at]) for at in sorted(contents.entries)}
    parts = dict(sorted(contents.parts.items()))
    return orjson.dumps({"page": PAGE, "files": entries, "parts": parts, "marked": marked})


def contents_from(blob: bytes) -> Contents:
    found = orjson.loads(blob)
    if found["page"] != PAGE:
        raise BadStore(
            f"The list of contents has pages of {found['page']} bytes; this version of Fieldflux reads {PAGE}."
        )
    marked = {
        folder: {int(year): frozenset(names) for year, names in years.items()}
        for folder, years in found["marked"].items()
    }
    return Contents({at: _entry_from(*entry) for at, entry in found["files"].items()}, found["parts"], marked)


def pointer_to(pointer: Pointer) -> bytes:
    return orjson.dumps({"format": FORMAT, "tokens": dict(pointer.tokens), "contents": pointer.contents})


def pointer_from(blob: bytes, address: str) -> Pointer:
    """Raises BadStore for what is none."""
    try:
        found = orjson.loads(blob)
        form, pointer = found["format"], Pointer(dict(found["tokens"]), str(found["contents"]))
        known = bool(pointer.edition)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        known, form = False, None
    if not known or form != FORMAT:
        raise BadStore(
            f"{address}/{POINTER} is none of a store, or one of a newer Fieldflux (format {form!r}; this one reads "
            f"{FORMAT}). Give the address that `fieldflux stores push` was given."
        )
    return pointer


def _entry_to(entry: Entry) -> list[object]:
    return [entry.size, entry.sha256, "".join(f"{page:08x}" for page in entry.pages)]


def _entry_from(size: int, sha256: str, pages: str) -> Entry:
    return Entry(size, sha256, tuple(int(pages[k : k + 8], 16) for k in range(0, len(pages), 8)))
