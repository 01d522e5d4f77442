"""A gated recurrent unit that trains fast on two CPU cores: torch.nn.GRU's parameters and results, its own days.

On a CPU in float32 the days run in `gru_kernels` (numba), forward and backward; on other devices and in other
precisions torch's own GRU runs on the same parameters. Equations: Cho et al. (2014), doi:10.3115/v1/D14-1179.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from math import sqrt
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .gru_kernels import DAY_PAD, back_days, keep_days, pass_days

CHUNK = 24  # cells that go through the days together: a day's rows of them stay in a core's first cache


class GRU(nn.Module):
    """Layers of gated recurrent units over days, with the parameters of torch.nn.GRU (their names, shapes and start).

    inputs: features a day. hidden: units of a layer; layers: how many, each reading the one before. dropout: share of
    the values between layers set to zero in training. A state_dict of torch.nn.GRU(inputs, hidden, layers) loads.
    Fast on a CPU in float32 with `hidden` a multiple of 16 (with another, torch's GRU runs). No second derivatives
    there. Threads: torch.get_num_threads().
    """

    def __init__(self, inputs: int, hidden: int, layers: int = 1, dropout: float = 0.0) -> None:
        """Raises ValueError for sizes below 1 and for a dropout outside 0..1."""
        super().__init__()
        for name, value in (("inputs", inputs), ("hidden", hidden), ("layers", layers)):
            if value < 1:
                raise ValueError(f"{name} is {value}, but a GRU needs at least 1: give a positive whole number.")
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout is {dropout}, but must be from 0 to below 1: give the share to drop.")
        self.inputs, self.hidden, self.layers, self.dropout = inputs, hidden, layers, dropout
        for k in range(layers):
            width = inputs if k == 0 else hidden
            for name, shape in (
                ("weight_ih", (3 * hidden, width)),
                ("weight_hh", (3 * hidden, hidden)),
                ("bias_ih", (3 * hidden,)),
                ("bias_hh", (3 * hidden,)),
            ):
                self.register_parameter(f"{name}_l{k}", nn.Parameter(torch.empty(shape)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters from U(-1/sqrt(hidden), 1/sqrt(hidden)), as torch.nn.GRU does."""
        bound = 1.0 / sqrt(self.hidden)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: Tensor, h0: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run the days. x: [B, T, inputs]; h0: [layers, B, hidden], zeros if None.

        Gives y [B, T, hidden], the last layer's state of each day, and h [layers, B, hidden], the state after the
        last day, from which the next days can go on. y is time-major in memory (not contiguous).
        Raises ValueError for other shapes, and for no cells or no days.
        """
        if x.dim() != 3 or x.shape[2] != self.inputs or x.shape[0] == 0 or x.shape[1] == 0:
            raise ValueError(f"x has shape {list(x.shape)}, but must be [cells >= 1, days >= 1, {self.inputs}].")
        shape = (self.layers, x.shape[0], self.hidden)
        if h0 is None:
            h0 = x.new_zeros(shape)
        elif h0.shape != shape:
            raise ValueError(f"h0 has shape {list(h0.shape)}, but must be {list(shape)}: give one state per cell.")
        weights = [self._layer(k) for k in range(self.layers)]
        flat = [x, h0, *(w for layer in weights for w in layer)]
        if self.hidden % 16 or any(v.device.type != "cpu" or v.dtype != torch.float32 for v in flat):
            active = self.dropout if self.training else 0.0
            y, h = torch._VF.gru(  # type: ignore[attr-defined]
                x, h0.contiguous(), flat[2:], True, self.layers, active, self.training, False, True
            )
            return y, h
        drops = self.training and self.dropout > 0.0 and self.layers > 1
        if not drops and not (torch.is_grad_enabled() and any(v.requires_grad for v in flat)):
            return _infer(x, h0, weights)
        states = []
        for k, layer in enumerate(weights):
            if k and drops:
                x = nn.functional.dropout(x, self.dropout)
            x = cast(Tensor, _Days.apply(x, h0[k], *layer))  # type: ignore[no-untyped-call]
            states.append(x[:, -1])
        return x, torch.stack(states)

    def _layer(self, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return tuple(  # type: ignore[return-value]
            getattr(self, f"{name}_l{k}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )


class _Days(torch.autograd.Function):
    """One layer: x [B, T, F], h0 [B, H], weight_ih, weight_hh, bias_ih, bias_hh -> y [B, T, H]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, h0: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> Tensor:
        cells, days, width = x.shape
        hidden = h0.shape[1]
        x = _rows(x)
        w, bias = _pack(w_ih, w_hh, b_ih, b_hh)
        states, gates = _big(days + 1, cells, hidden), _big(days, cells, 4, hidden)
        states[0] = h0

        def run(_part: int, low: int, high: int) -> None:
            keep_days(
                days, low, high, CHUNK, width, hidden, x.data_ptr(), 4 * x.stride(0), 4 * x.stride(1),
                states.data_ptr(), 4 * states.stride(0), gates.data_ptr(), 4 * gates.stride(0), w.data_ptr(),
                bias.data_ptr(),
            )  # fmt: skip

        _run(run, _parts(cells))
        ctx.save_for_backward(x, w_ih, w_hh, states, gates)
        return states[1:].transpose(0, 1)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, w_ih, w_hh, states, gates = ctx.saved_tensors
        need_x, need_h, need_ih, need_hh, need_bi, need_bh = ctx.needs_input_grad
        days, cells, _, hidden = gates.shape
        dy = _rows(dy)
        missing = -x.shape[2] % 16
        width = x.shape[2] + missing
        if missing and need_ih:
            x = nn.functional.pad(x, (0, missing))
        # the days' gradients stand in the order n, r, z, q: the input's gates are the first three, the state's the last
        w_in = _columns(nn.functional.pad(w_ih.roll(hidden, 0), (0, missing)))
        w = _columns(w_hh)
        parts = list(_parts(cells))
        carry = dy.new_zeros(cells, hidden)
        # of each chunk apart: one sum over all days of all cells would lose digits
        d_bias = dy.new_zeros(len(parts), -(-cells // CHUNK), 4, hidden)
        dx = _big(days, cells, width).zero_() if need_x else None
        d_hh, d_ih = dy.new_zeros(len(parts), 3 * hidden, hidden), dy.new_zeros(len(parts), 3 * hidden, width)
        day = dy.new_empty(len(parts), CHUNK * (4 * hidden + DAY_PAD))

        def run(part: int, low: int, high: int) -> None:
            back_days(
                days, low, high, CHUNK, width, hidden, states.data_ptr(), 4 * states.stride(0), gates.data_ptr(),
                4 * gates.stride(0), dy.data_ptr(), 4 * dy.stride(0), 4 * dy.stride(1), carry.data_ptr(), w.data_ptr(),
                x.data_ptr(), 4 * x.stride(0), 4 * x.stride(1), 0 if dx is None else dx.data_ptr(), 4 * cells * width,
                w_in.data_ptr(), day[part].data_ptr(), d_bias[part].data_ptr(), d_hh[part].data_ptr() if need_hh else 0,
                d_ih[part].data_ptr() if need_ih else 0,
            )  # fmt: skip

        _run(run, parts)
        n, r, z, q = d_bias.sum((0, 1))
        return (
            None if dx is None else dx[..., : width - missing].transpose(0, 1),
            carry if need_h else None,
            d_ih.sum(0)[:, : width - missing].roll(-hidden, 0) if need_ih else None,
            d_hh.sum(0) if need_hh else None,
            torch.cat((r, z, n)) if need_bi else None,
            torch.cat((r, z, q)) if need_bh else None,
        )


def _infer(x: Tensor, h0: Tensor, weights: list[tuple[Tensor, Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """All layers, nothing kept for a backward pass: y [B, T, H] and h [L, B, H]."""
    cells, days, width = x.shape
    layers, _, hidden = h0.shape
    x = _rows(x.detach())
    packed = [_pack(*(v.detach() for v in layer)) for layer in weights]
    w, bias = torch.cat([p[0].flatten() for p in packed]), torch.cat([p[1].flatten() for p in packed])
    last = h0.detach().clone(memory_format=torch.contiguous_format)
    y = _big(days, cells, hidden)

    def run(_part: int, low: int, high: int) -> None:
        scratch = x.new_empty(layers, 2, CHUNK, hidden)
        pass_days(
            days, low, high, CHUNK, layers, width, hidden, x.data_ptr(), 4 * x.stride(0), 4 * x.stride(1), y.data_ptr(),
            4 * y.stride(1), 4 * y.stride(0), last.data_ptr(), 4 * last.stride(0), scratch.data_ptr(), w.data_ptr(),
            bias.data_ptr(),
        )  # fmt: skip

    _run(run, _parts(cells))
    return y.transpose(0, 1), last


def _rows(x: Tensor) -> Tensor:
    """x with its last axis dense, as the kernels read rows."""
    return x if x.stride(2) == 1 or x.shape[2] == 1 else x.contiguous()


def _pack(w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> tuple[Tensor, Tensor]:
    """Weights [H / 8, F + H, 3, 8] and biases [H / 8, 4, 8] in the order in which the kernels read them."""
    hidden = w_hh.shape[1]
    w = torch.cat((w_ih, w_hh), 1).view(3, hidden // 8, 8, -1).permute(1, 3, 0, 2).contiguous()
    both = (b_ih + b_hh)[: 2 * hidden]
    bias = torch.cat((both, b_ih[2 * hidden :], b_hh[2 * hidden :])).view(4, hidden // 8, 8)
    return w, bias.transpose(0, 1).contiguous()


def _columns(w: Tensor) -> Tensor:
    """Weights [3 H, columns] as [columns / 16, 3 H, 16]."""
    return w.reshape(w.shape[0], -1, 16).transpose(0, 1).contiguous()


def _big(*shape: int) -> Tensor:
    """An empty float32 tensor in numpy's memory: numpy asks the system for large pages, torch does not, and the first
    touch of a hundred megabytes in small ones costs as much as a layer's days."""
    return torch.from_numpy(np.empty(shape, np.float32))


def _parts(cells: int) -> list[tuple[int, int]]:
    """Ranges of cells, one for each of torch's threads, of at least half a chunk each."""
    count = max(1, min(torch.get_num_threads(), 2 * cells // CHUNK))
    return list(pairwise(cells * k // count for k in range(count + 1)))


def _run(run: Callable[[int, int, int], None], parts: list[tuple[int, int]]) -> None:
    """Call run(part, low, high) for all parts, each in its thread (the kernels let go of the interpreter)."""
    if len(parts) == 1:
        run(0, *parts[0])
        return
    with ThreadPoolExecutor(len(parts) - 1) as pool:
        rest = [pool.submit(run, k, *part) for k, part in enumerate(parts) if k]
        run(0, *parts[0])
        for future in rest:
            future.result()
