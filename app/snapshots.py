"""Addresses that name a store's content: what they may name, and what is said when that is gone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .problems import Refused
from .workspace import Place, Workspace

if TYPE_CHECKING:
    from fieldflux.tiles.store import Store

LATEST = "latest"
_TOKEN = re.compile(r"[0-9a-f]{16}")


def store_of(workspace: Workspace, place: Place) -> Store:
    """The store of a cube and a model. Raises Refused (not-computed-yet) where there is none."""
    store = workspace.store(place)
    if store is None:
        raise Refused(
            "not-computed-yet",
            f"Nothing is computed yet for the cube '{place.cube.id}' with '{place.card.id}'. A tile of a day or a year "
            f"has it computed.",
        )
    return store


def check_snapshot(store: Store | None, named: str, must: bool) -> bool:
    """Whether the name is that of the store's present content: its snapshot, or its edition.

    An edition stays while blocks are added: what was whole does not change, and what was not is never kept.
    must: whether another one is an error. Raises Refused (gone, not-found).
    """
    if store is not None and named in (store.snapshot, store.edition):
        return True
    if not must:
        return False
    if not _TOKEN.fullmatch(named):
        raise Refused(
            "not-found",
            f"'{named[:40]}' is not the name of a snapshot. TileJSON names the present one, or use 'latest'.",
        )
    raise Refused(
        "gone",
        f"The snapshot {named} is gone: what it held was computed again since. Take the present address from TileJSON, "
        f"or use 'latest'.",
        **({"edition": store.edition} if store else {}),
    )
