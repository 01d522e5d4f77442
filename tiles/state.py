"""A model's memory of many cells, kept once for cells that are alike in every way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

GROUP = "group of cell"


class BadState(ValueError):
    """A stored state that is damaged."""


@dataclass(frozen=True, slots=True)
class CellState:
    """Memory of C cells at the end of a day, in G groups of identical ones.

    group: [C] int32, the group of each cell. arrays: name -> [member, G, ...], as the model's State has them.
    """

    day: date
    group: NDArray[np.int32]
    arrays: Mapping[str, NDArray[Any]]


def dump(state: CellState) -> bytes:
    """The state as safetensors."""
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(a) for name, a in state.arrays.items()}
    return bytes(save({GROUP: state.group, **arrays}, metadata={"day": state.day.isoformat()}))


def load(blob: bytes, where: str) -> CellState:
    """The state of `dump`. Raises BadState, naming `where` it came from."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as load_arrays

    try:
        arrays = dict(load_arrays(blob))
        # safetensors' own reader gives metadata only for a file on disk; the header is 8 bytes of length, then JSON.
        day = date.fromisoformat(_header(blob)["__metadata__"]["day"])
        return CellState(day, arrays.pop(GROUP), arrays)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise BadState(
            f"The state {where} is damaged: {error}. Delete it; the run then starts again from the first year there."
        ) from error


def _header(blob: bytes) -> Any:
    import json

    return json.loads(blob[8 : 8 + int.from_bytes(blob[:8], "little")])
