"""Copying a store out of an object store, and checking that what lies there is what was pushed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TypeVar

from fieldflux.tiles.files import disk_faults, scratch, sweep, write_whole
from fieldflux.tiles.manifest import NAME, BadStore, Manifest, WrongStore, manifest_of, read_manifest, read_token

from .bucket import Bucket
from .contents import (
    POINTER,
    Contents,
    Entries,
    Entry,
    Pointer,
    contents_at,
    contents_from,
    entries_from,
    pointer_from,
    sha256_of,
)

_Result = TypeVar("_Result")

AT_ONCE = 8
Told = Callable[[int, int], None]
"""Gets bytes that are done, and of how many."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull did. files: of the store; fetched: those of them that were lacking; bytes: of these.

    snapshot: of the store as it is in the folder now. finished: False where it was stopped before that.
    """

    files: int
    fetched: int
    bytes: int
    snapshot: str
    finished: bool


def pull(
    address: str,
    folder: Callable[[Manifest], Path],
    told: Told = lambda _done, _of: None,
    cancel: Event | None = None,
) -> Pulled:
    """Copy a store from an address into a folder, each file checked by its SHA-256.

    folder: where to, by what the store is of. It can be stopped at any time; again, it fetches what is lacking.
    Raises StoreAway, BadAddress, BadStore, WrongStore, StoreFull, StoreReadOnly.
    """
    bucket = Bucket(address)
    pointer, contents = _found(bucket)
    manifest = manifest_of(_listed(bucket, f"{pointer.edition}/{NAME}", contents.entries[NAME].sha256), Path(NAME))
    root = folder(manifest)
    _check_folder(root, manifest, pointer, address)
    entries = all_entries(bucket, pointer, contents)
    sweep(root)
    # Marks after what they mark, and last the file without which there is no store.
    marks = {at for at in entries if at.startswith(("blocks/", "overlay/chunks/"))}
    groups = [[at for at in entries if at not in marks and at != NAME], sorted(marks)]
    done, total, fetched, files = 0, sum(entry.size for entry in entries.values()), 0, 0

    def one(at: str) -> tuple[int, bool]:
        if cancel is not None and cancel.is_set():
            raise _Cancelled
        if _lies(root / at, entries[at]):
            return entries[at].size, False
        with disk_faults("a store", root):
            _fetch(bucket, f"{pointer.edition}/{at}", entries[at], root / at, root)
        return entries[at].size, True

    try:
        for group in groups:
            for size, new in _all(one, group):
                done, fetched, files = done + size, fetched + size * new, files + new
                told(done, total)
    except _Cancelled:
        return Pulled(len(entries), files, fetched, "", False)
    with disk_faults("a store", root):
        for name in sorted(pointer.tokens):
            write_whole(root / name, pointer.tokens[name].encode(), root)
        _fetch(bucket, f"{pointer.edition}/{NAME}", entries[NAME], root / NAME, root)
    return Pulled(len(entries), files, fetched, pointer.tokens.get("epoch", ""), True)


def verify(address: str, told: Told = lambda _done, _of: None) -> tuple[int, list[str]]:
    """Read all that lies at an address: how many files, and the names of those that are not what was pushed.

    Raises StoreAway, BadAddress, BadStore.
    """
    bucket = Bucket(address)
    pointer, contents = _found(bucket)
    entries = all_entries(bucket, pointer, contents)
    done, total, wrong = 0, sum(entry.size for entry in entries.values()), []

    def one(at: str) -> tuple[str, bool]:
        try:
            whole = hashlib.sha256()
            for blob in bucket.stream(f"{pointer.edition}/{at}"):
                whole.update(blob)
            return at, whole.hexdigest() == entries[at].sha256
        except FileNotFoundError:
            return at, False

    for at, right in _all(one, list(entries)):
        done += entries[at].size
        told(done, total)
        if not right:
            wrong.append(at)
    return len(entries), sorted(wrong)


def look(bucket: Bucket) -> tuple[Pointer, Contents] | None:
    """What is at an address; None where nothing is. Raises StoreAway, BadStore."""
    try:
        pointer = pointer_from(bucket.get(POINTER), bucket.address)
    except FileNotFoundError:
        return None
    return pointer, contents_from(_listed(bucket, contents_at(pointer, pointer.contents), pointer.contents))


def all_entries(bucket: Bucket, pointer: Pointer, contents: Contents) -> Entries:
    """All files of a pushed store, by their paths in it. Raises StoreAway, BadStore."""

    def one(sha256: str) -> Entries:
        return entries_from(_listed(bucket, contents_at(pointer, sha256), sha256))

    found = dict(contents.entries)
    for part in _all(one, list(contents.parts.values())):
        found |= part
    return found


def check_same(theirs: Manifest, manifest: Manifest, where: str) -> None:
    """Raises WrongStore unless two stores are of the same model and cube."""
    a, b = ((m.model.id, m.model.weights_sha256, m.cube.id, m.cube.hash) for m in (theirs, manifest))
    if a != b:
        raise WrongStore(
            f"Another store is at {where}: of model '{theirs.model.id}' and cube '{theirs.cube.id}' with content "
            f"{theirs.cube.hash[:12]}…. Choose another place for this one."
        )


class _Cancelled(Exception):
    pass


def _all(work: Callable[[str], _Result], of: Sequence[str]) -> Iterator[_Result]:
    """Work on each, several at the same time; results as they come. The first error ends it."""
    with ThreadPoolExecutor(AT_ONCE, "objects") as pool:
        try:
            for future in as_completed([pool.submit(work, one) for one in of]):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _found(bucket: Bucket) -> tuple[Pointer, Contents]:
    found = look(bucket)
    if found is None:
        raise BadStore(
            f"There is no store at {bucket.address}. Give the address that `fieldflux stores push` was given."
        )
    return found


def _listed(bucket: Bucket, at: str, sha256: str) -> bytes:
    try:
        blob = bucket.get(at)
    except FileNotFoundError:
        raise BadStore(f"The object {bucket.address}/{at} is gone. Push the store again.") from None
    if sha256_of(blob) != sha256:
        raise BadStore(f"The object {bucket.address}/{at} is not what was pushed. Push the store again.")
    return blob


def _check_folder(root: Path, manifest: Manifest, pointer: Pointer, address: str) -> None:
    if not (root / NAME).exists():
        return
    check_same(read_manifest(root), manifest, str(root))
    if read_token(root, "generation") != pointer.edition:
        raise WrongStore(
            f"The store in {root} was computed apart from that at {address}: they hold other numbers. Pull it into "
            f"another folder."
        )


def _lies(path: Path, entry: Entry) -> bool:
    """Whether a file is there already, by its size and hash."""
    try:
        if path.stat().st_size != entry.size:
            return False
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256
    except FileNotFoundError:
        return False


def _fetch(bucket: Bucket, at: str, entry: Entry, path: Path, root: Path) -> None:
    name = scratch(root)
    try:
        for _ in range(2):
            whole = hashlib.sha256()
            with open(name, "wb") as file:
                for blob in bucket.stream(at):
                    whole.update(blob)
                    file.write(blob)
            if whole.hexdigest() == entry.sha256:
                path.parent.mkdir(parents=True, exist_ok=True)
                os.replace(name, path)
                return
    except FileNotFoundError:
        raise BadStore(f"The object {bucket.address}/{at} is gone. Push the store again.") from None
    finally:
        name.unlink(missing_ok=True)
    raise BadStore(f"The object {bucket.address}/{at} is not what was pushed: its SHA-256 is another, twice.")
