"""Files that appear whole or not at all, and disk faults as sentences."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}


class StoreReadOnly(ValueError):
    """A store that has to be written and may not be."""


class StoreFull(ValueError):
    """No room left for what a store has to hold."""


@contextlib.contextmanager
def disk_faults(what: str, root: Path) -> Iterator[None]:
    """Turn "disk full" and "may not write" into StoreFull and StoreReadOnly; other faults pass."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise StoreFull(
                f"There is no room left for {what} in {root} ({error.strerror}). Nothing half-written will be read: "
                f"free some space there, or raise the quota or file-size limit, and start again; the run resumes."
            ) from error
        if error.errno in CLOSED:
            raise StoreReadOnly(
                f"{what[:1].upper()}{what[1:]} cannot be written in {root} ({error.strerror}). Give this user write "
                f"permission there, or choose another folder for the store."
            ) from error
        raise


def scratch(root: Path) -> Path:
    """A new name for an unfinished file or folder, on the file system of `root`."""
    folder = root / ".unfinished"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / uuid.uuid4().hex


def write_whole(path: Path, blob: bytes, root: Path, sync: bool = False) -> None:
    """Write a file that other processes see whole or not at all; with `sync`, also after a power cut."""
    name = scratch(root)
    try:
        with open(name, "wb") as file:
            file.write(blob)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(name, path)
    except BaseException:
        name.unlink(missing_ok=True)
        raise


def write_folder(path: Path, files: Mapping[str, bytes], root: Path) -> None:
    """Write a folder of files that other processes see whole or not at all; one that is there already is kept."""
    name = scratch(root)
    try:
        for at, blob in files.items():
            file = name / at
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(blob)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.rename(name, path)
    except OSError:
        # Another process may have made the same one a moment ago.
        if not path.exists():
            raise
    finally:
        shutil.rmtree(name, ignore_errors=True)


def sweep(root: Path, seconds: float = 3600.0) -> None:
    """Remove unfinished files and folders, older than that, of processes that were killed."""
    try:
        for entry in (root / ".unfinished").iterdir():
            if time.time() - entry.stat().st_mtime > seconds:
                if entry.is_dir():
                    shutil.rmtree(entry, ignore_errors=True)
                else:
                    entry.unlink(missing_ok=True)
    except OSError:
        # Nothing there, or not ours to remove: whoever writes next is told about the latter.
        return
