"""Ids of what users register: sortable by the time they were made, as ULIDs are, behind a prefix that tells what."""

from __future__ import annotations

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(prefix: str) -> str:
    """An id such as "fld_06f7c8…": 26 characters after the prefix, 48 bits of milliseconds and 80 of chance."""
    return new_ids(prefix, 1)[0]


def new_ids(prefix: str, count: int) -> list[str]:
    """That many ids in ascending order, so that what comes together is listed as it came."""
    first = (time.time_ns() // 1_000_000 << 80) | secrets.randbits(79)
    return [f"{prefix}_{_text(first + i)}" for i in range(count)]


def _text(number: int) -> str:
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
