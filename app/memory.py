"""Memory of a server that runs for months."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import time
from pathlib import Path
from threading import Thread

_MMAP_THRESHOLD = -3
_ARENA_MAX = -8
_DONTNEED = 4
_TRIM_EVERY = 2.0


def give_back() -> None:
    """Let freed memory go back to the system, where the C library is glibc; elsewhere nothing is changed.

    glibc keeps freed pieces of a few hundred kB in the arena of the thread that took them. Decoded chunks are of that
    size, and a dozen threads decode them: without this, the server was measured to grow from 0.5 to 1.9 GB.

    Pieces that blosc takes for the time of one chunk, 250 kB, are left to the arenas: taken from the system each time,
    their pages would make decoding three times slower. What lies free in the arenas is given back every few seconds.

    So is the code of LLVM, 50 MB of which come into memory whenever a compiled function is loaded, and are not looked
    at again until the next one is.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(_MMAP_THRESHOLD, 300_000)
        library.mallopt(_ARENA_MAX, 2)
        library.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        Thread(target=_trim, args=(library,), name="memory", daemon=True).start()


def _trim(library: ctypes.CDLL) -> None:
    while True:
        time.sleep(_TRIM_EVERY)
        library.malloc_trim(0)
        for begin, size in _code_of("libllvmlite"):
            library.madvise(begin, size, _DONTNEED)


def _code_of(name: str) -> list[tuple[int, int]]:
    """Where the code of a shared library lies: address and size. It is never written to: what is dropped of it is read
    again from its file."""
    found = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        where, kind, *_, path = line.split(maxsplit=5)
        if kind == "r-xp" and name in path:
            begin, end = (int(part, 16) for part in where.split("-"))
            found.append((begin, end - begin))
    return found
