"""What readers say of files that they cannot use."""

from __future__ import annotations

from pathlib import Path


class BadSource(ValueError):
    """A file that is missing, damaged, or not what it was said to be."""


def existing(path: Path | str, what: str) -> Path:
    """The path, if something is there. Raises BadSource."""
    found = Path(path)
    if not found.exists():
        raise BadSource(f"The {what} {found} does not exist. Check the path, and the folder that it is relative to.")
    return found
