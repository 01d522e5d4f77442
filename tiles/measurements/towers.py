"""Flux towers: weather, management and measured fluxes of a place, day by day, in the vocabulary's names and units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from .own import own
from .sources import bouldin, fluxnet, mead, twitchell
from .tower import Tower, tower_forcing

__all__ = ["Tower", "read_towers", "tower_forcing"]

# A tower that two files hold is taken from the first: the user's own, then the richer file.
READERS: Sequence[Callable[[Path], list[Tower]]] = (own, mead, bouldin, twitchell, fluxnet)


def read_towers(data_dir: Path) -> list[Tower]:
    """Every tower of a folder of measurements (see the package), sorted by site; [] where there is none.

    Raises BadMeasurements where a file is there and cannot be understood.
    """
    found: dict[str, Tower] = {}
    for read in READERS:
        for tower in read(data_dir):
            found.setdefault(tower.site, tower)
    return [found[site] for site in sorted(found)]
