"""What runs and stores ask of an input cube; `tiles.cube.Cube` is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from fieldflux.models.contract import Forcing
from numpy.typing import NDArray

from .grid import Grid, Window


class CubeLike(Protocol):
    """Inputs of the cells of a window, for whole calendar years."""

    @property
    def id(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def statement(self) -> str: ...

    @property
    def synthetic(self) -> bool: ...

    @property
    def licence(self) -> str: ...

    @property
    def hash(self) -> str: ...

    @property
    def grid(self) -> Grid: ...

    @property
    def window(self) -> Window: ...

    @property
    def years(self) -> tuple[int, ...]: ...

    def available(self) -> Mapping[str, str]: ...

    def mask(self) -> NDArray[np.bool_]: ...

    def forcing(
        self, rows: NDArray[np.integer[Any]], cols: NDArray[np.integer[Any]], years: Sequence[int]
    ) -> Forcing: ...
