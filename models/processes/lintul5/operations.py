"""The operations that the equations are written over, so that one source serves torch and the compiled engine."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import Tensor

from .crops import Table


class Operations(Protocol):
    """Beside + - * / of its values. Any argument but the first may be a plain number; a mask is what `less` gives."""

    def exp(self, x: Any) -> Any: ...

    def sqrt(self, x: Any) -> Any: ...

    def least(self, x: Any, y: Any) -> Any:
        """The smaller; x where they are equal."""
        ...

    def most(self, x: Any, y: Any) -> Any:
        """The larger; x where they are equal."""
        ...

    def less(self, x: Any, y: Any) -> Any:
        """Whether x < y."""
        ...

    def both(self, a: Any, b: Any) -> Any: ...

    def where(self, mask: Any, x: Any, y: Any) -> Any:
        """x where the mask holds, else y. Either may be a number."""
        ...


class TorchOperations:
    """Over tensors of any device. Gradients at ties go to the first argument, as in the compiled engine. Numbers are
    handed on as they are: made into tensors, each would be copied to the device."""

    def exp(self, x: Tensor) -> Tensor:
        return torch.exp(x)

    def sqrt(self, x: Tensor) -> Tensor:
        return torch.sqrt(x)

    def least(self, x: Tensor, y: Tensor | float) -> Tensor:
        return torch.where(y < x, y, x)

    def most(self, x: Tensor, y: Tensor | float) -> Tensor:
        return torch.where(y > x, y, x)

    def less(self, x: Tensor, y: Tensor | float) -> Tensor:
        return x < y

    def both(self, a: Tensor, b: Tensor) -> Tensor:
        return a & b

    def where(self, mask: Tensor, x: Tensor | float, y: Tensor | float) -> Tensor:
        if not isinstance(x, Tensor) and not isinstance(y, Tensor):
            raise TypeError("One side of a choice must be a tensor.")
        return torch.where(mask, x, y)


def held(o: Operations, x: Any, low: Any, high: Any) -> Any:
    """x, but not below low nor above high."""
    return o.least(o.most(x, low), high)


def ramp(o: Operations, knots: Table, x: Any) -> Any:
    """The table at x: straight between the knots, flat outside."""
    slopes = [(y1 - y0) / (x1 - x0) for (x0, y0), (x1, y1) in pairwise(knots)]
    bends = [
        (after - before, at)
        for before, after, (at, _) in zip([0.0, *slopes], [*slopes, 0.0], knots, strict=True)
        if after != before
    ]
    value = x * 0.0 + knots[0][1]
    base = knots[0][1] - sum(bend * at for bend, at in bends)
    if bends:
        value = base
        for bend, at in bends:
            value = o.most(x, at) * bend + value
    return value
