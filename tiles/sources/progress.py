"""Progress of builders."""

from __future__ import annotations


def quiet(fraction: float, doing: str) -> None:
    """Tell nobody."""
