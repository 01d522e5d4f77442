"""Copying a store into an object store: what is lacking there, then the list of contents, then the pointer to it."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from fieldflux.tiles.manifest import NAME, BadStore, Manifest, manifest_of, read_token
from fieldflux.tiles.store import open_store
from fieldflux.tiles.view import View

from .bucket import Bucket
from .contents import (
    PAGE,
    POINTER,
    Contents,
    Entries,
    Entry,
    Pointer,
    contents_at,
    contents_to,
    entries_to,
    part_of,
    pointer_to,
    sha256_of,
)
from .pull import AT_ONCE, Told, all_entries, check_same, look

TOKENS = ("epoch", "generation", "shortcuts")


@dataclass(frozen=True, slots=True)
class Sent:
    """What a push did. files: of the store; sent: those of them that were lacking; bytes: of these.

    snapshot, edition: of the store, as it is there now. finished: False where it was stopped before that.
    """

    files: int
    sent: int
    bytes: int
    snapshot: str
    edition: str
    finished: bool


def push(root: Path, address: str, told: Told = lambda _done, _of: None, cancel: Event | None = None) -> Sent:
    """Copy a store to an address, where it can be read as soon as all of it is there.

    It can be stopped at any time; again, it sends what is lacking. Readers of what was there go on undisturbed.
    Raises BadStore, WrongStore where another store is at the address, StoreAway, BadAddress.
    """
    bucket, store = Bucket(address), open_store(root, look_every=0.0)
    tokens = {name: found for name in TOKENS if (found := read_token(root, name))}
    pointer = Pointer(tokens, "")
    before, known = _there(bucket, store.manifest)
    marked = {folder: store.view.files.marked(folder) for folder in ("blocks", "overlay/chunks")}
    view = store.view
    files = {at: path for at, path in _files(root) if _whole(at, view)}
    sizes = {at: path.stat().st_size for at, path in files.items()}
    same = known if before is not None and before.edition == pointer.edition else {}
    # In an edition nothing is replaced (but for the root's metadata), and an object is there whole or not at all.
    lying = bucket.sizes(f"{pointer.edition}/")
    lacking = [at for at in files if at == "zarr.json" or lying.get(f"{pointer.edition}/{at}") != sizes[at]]
    done, total = sum(sizes.values()) - sum(sizes[at] for at in lacking), sum(sizes.values())
    told(done, total)
    entries: Entries = {}
    sent = 0

    def one(at: str) -> tuple[str, Entry, bool]:
        send = at in wanted
        if not send and at in same:
            return at, same[at], False
        if cancel is not None and cancel.is_set():
            raise _Cancelled
        content: bytes | Path = files[at].read_bytes() if at == "zarr.json" else files[at]
        entry = entry_of(content)
        if send:
            bucket.put(f"{pointer.edition}/{at}", content)
        return at, entry, send

    wanted = set(lacking)
    with ThreadPoolExecutor(AT_ONCE, "push") as pool:
        begun = [pool.submit(one, at) for at in files]
        try:
            for future in as_completed(begun):
                at, entry, send = future.result()
                entries[at] = entry
                if send:
                    sent, done = sent + entry.size, done + sizes[at]
                    told(done, total)
        except _Cancelled:
            return Sent(len(files), len(wanted & set(entries)), sent, "", "", False)
        finally:
            pool.shutdown(cancel_futures=True)
    if read_token(root, "generation") != pointer.edition:
        raise BadStore(f"The store {root} was computed again while it was pushed. Push it again.")
    _point(bucket, tokens, entries, marked, lying)
    return Sent(len(files), len(wanted), sent, tokens["epoch"], pointer.edition, True)


class _Cancelled(Exception):
    pass


def entry_of(content: bytes | Path) -> Entry:
    """Size and checksums of a file, read page by page."""
    import google_crc32c

    whole, pages, size = hashlib.sha256(), [], 0
    for page in _pages(content):
        whole.update(page)
        pages.append(int(google_crc32c.value(page)))
        size += len(page)
    return Entry(size, whole.hexdigest(), tuple(pages))


def _pages(content: bytes | Path) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield from (content[k : k + PAGE] for k in range(0, len(content), PAGE))
        return
    with open(content, "rb") as file:
        while page := file.read(PAGE):
            yield page


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    """Files of a store by their paths in it, but for what is unfinished and the tokens, which the pointer has."""
    for folder, inside, names in os.walk(root):
        inside[:] = [name for name in inside if not name.startswith(".")]
        for name in names:
            path = Path(folder) / name
            at = path.relative_to(root).as_posix()
            if at not in TOKENS and not name.startswith("."):
                yield at, path


def _whole(at: str, view: View) -> bool:
    """Whether a file is no shard, or one of a block or chunk that is marked as whole."""
    year, kind, place = (*part_of(at).split("/"), "", "")[:3]
    if kind not in ("blocks", "chunks") or not place[:1].isdigit():
        return True
    i, j = map(int, place.split("-"))
    flags = (view.blocks if kind == "blocks" else view.chunks).get(int(year))
    return flags is not None and bool(flags[i, j])


def _there(bucket: Bucket, manifest: Manifest) -> tuple[Pointer | None, Entries]:
    """What was pushed before, with what is known of its files. Raises WrongStore for another store."""
    found = look(bucket)
    if found is None:
        return None, {}
    pointer, contents = found
    theirs = manifest_of(bucket.get(f"{pointer.edition}/{NAME}"), Path(bucket.address) / NAME)
    check_same(theirs, manifest, bucket.address)
    return pointer, all_entries(bucket, pointer, contents)


def _point(
    bucket: Bucket,
    tokens: Mapping[str, str],
    entries: Entries,
    marked: Mapping[str, Mapping[int, frozenset[str]]],
    lying: Mapping[str, int],
) -> None:
    """Write the lists, and at last the pointer: from then on it is what readers see."""
    parts: dict[str, Entries] = defaultdict(dict)
    for at, entry in entries.items():
        parts[part_of(at)][at] = entry
    pointer = Pointer(tokens, "")
    blobs = {name: entries_to(found) for name, found in parts.items() if name}
    hashes = {name: sha256_of(blob) for name, blob in blobs.items()}
    whole = contents_to(Contents(parts[""], hashes, marked))
    by_hash = {hashes[name]: blob for name, blob in blobs.items()} | {sha256_of(whole): whole}
    lacking = {at: blob for sha256, blob in by_hash.items() if (at := contents_at(pointer, sha256)) not in lying}
    with ThreadPoolExecutor(AT_ONCE, "push") as pool:
        list(pool.map(bucket.put, lacking, lacking.values()))
    bucket.put(POINTER, pointer_to(Pointer(tokens, sha256_of(whole))))
