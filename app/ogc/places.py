"""Ids of collections and layers: a cube and a model, `demo~kgml-ag-carbon~1`; a variable of it, `…~1~gpp`."""

from __future__ import annotations

from collections.abc import Iterator

from fieldflux.app.picture import served
from fieldflux.app.problems import Refused
from fieldflux.app.workspace import Place, Workspace
from fieldflux.models.variables import Variable

BETWEEN = "~"


def id_of(place: Place, v: Variable | None = None) -> str:
    """The id of a collection, or of a layer of it."""
    parts = (place.cube.id, place.card.name, place.card.version)
    return BETWEEN.join((*parts, v.name) if v else parts)


def places(workspace: Workspace) -> Iterator[Place]:
    """Every cube with every model that can run on it; those that are damaged are told by /v1/cubes and /readyz."""
    for cube in workspace.cube_paths():
        for card in workspace.registry.cards():
            try:
                yield workspace.place(cube, card.id)
            except ValueError:
                continue


def place_of(workspace: Workspace, collection: str) -> Place:
    """Raises Refused (unknown-collection)."""
    parts = collection.split(BETWEEN)
    if len(parts) != 3:
        raise _unknown(collection)
    return _place(workspace, parts, collection)


def layer_of(workspace: Workspace, layer: str) -> tuple[Place, Variable]:
    """Raises Refused (unknown-collection)."""
    parts = layer.split(BETWEEN)
    if len(parts) != 4:
        raise _unknown(layer)
    place = _place(workspace, parts[:3], layer)
    try:
        return place, served(place, parts[3])
    except ValueError:
        raise _unknown(layer) from None


def _place(workspace: Workspace, parts: list[str], named: str) -> Place:
    cube, name, version = parts
    if cube not in workspace.cube_paths() or f"{name}/{version}" not in {c.id for c in workspace.registry.cards()}:
        raise _unknown(named)
    return workspace.place(cube, f"{name}/{version}")


def _unknown(named: str) -> Refused:
    return Refused(
        "unknown-collection",
        f"There is no collection or layer '{named[:120]}'. The list of collections has all of them.",
    )
