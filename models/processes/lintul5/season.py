"""Seasons of LINTUL5: weather, parameters and day of sowing in, daily series out, with gradients to the parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from fieldflux.models.processes.soilcarbon.threads import in_threads
from torch import Tensor

from . import parameters as p_
from .crops import Crop
from .kernels import CONTIGUOUS, SCATTERED, SHARED, kernels
from .operations import TorchOperations, held
from .step import (
    DEEPENING,
    DEPTH,
    DRY_DAYS,
    N_INDEX,
    N_MINERAL,
    N_ORGANIC,
    OUTPUT,
    STATE,
    WATER,
    WATER_BELOW,
    Variant,
    build_step,
)
from .weather import Engine, Weather
from .weather_step import COLUMN


@dataclass(frozen=True, slots=True)
class Season:
    """What a season gave. outputs: [O, C, D], in the order of `names`. state: [STATE, C] after the last day."""

    names: tuple[str, ...]
    outputs: Tensor
    state: Tensor

    def __getitem__(self, name: str) -> Tensor:
        """[C, D] one output. Raises KeyError where it was not asked for."""
        if name not in self.names:
            raise KeyError(f"The season has no {name!r}. It has: {', '.join(self.names)}.")
        return self.outputs[self.names.index(name)]


def start(crop: Crop, table: Tensor) -> Tensor:
    """[STATE, C] the state before the first day, for parameters [COUNT, C]: no plants yet. Differentiable."""
    zero = torch.zeros_like(table[0])
    state = [zero] * len(STATE)
    o = TorchOperations()
    first, second = (
        held(o, table[place], table[p_.WILTING], table[p_.CAPACITY]) for place in (p_.START, p_.START_BELOW)
    )
    deepest = o.least(table[p_.RDMCR], table[p_.RDMSO])
    state[DEPTH] = zero + crop.start_depth
    state[WATER] = 1000.0 * crop.start_depth * first
    state[WATER_BELOW] = 1000.0 * o.most(deepest - crop.start_depth, 1e-4) * second
    state[DRY_DAYS] = zero + 3.0
    state[N_ORGANIC], state[N_MINERAL] = table[p_.N_ORGANIC], table[p_.N_MINERAL]
    state[N_INDEX], state[DEEPENING] = zero + 1.0, zero
    return torch.stack(state)


def simulate(
    crop: Crop,
    weather: Weather,
    table: Tensor,
    sow: Tensor | int,
    *,
    rows: Tensor | None = None,
    variant: Variant | None = None,
    state: Tensor | None = None,
    daily: Tensor | None = None,
    outputs: Sequence[str] = OUTPUT,
    engine: Engine = "compiled",
) -> Season:
    """Run C cells through the days of their weather.

    table: [COUNT, C] of `parameters.table`. sow: [C] or one day's number within the weather, from 0; a day before it
    (negative) says that the crop already stands in `state`. rows: [C] each cell's weather row; without them cell c
    has row c. state: [STATE, C] in the morning of the first day, as a season returns it; without it, `start`.
    daily: [C, D] factor on light use. outputs: names of OUTPUT.
    Gradients flow to `table`, `state` and `daily`. engine: "torch" runs the same equations day by day in torch, as is
    always done on another device than the processor.
    Raises ValueError where shapes, types or names do not fit.
    """
    variant = variant or Variant()
    count = table.shape[1]
    names = tuple(outputs)
    unknown = [name for name in names if name not in OUTPUT]
    if unknown:
        raise ValueError(f"LINTUL5 has no output {unknown[0]!r}. It has: {', '.join(OUTPUT)}.")
    if table.shape[0] != p_.COUNT or table.dtype != weather.columns.dtype:
        raise ValueError(
            f"The table is {list(table.shape)} of {table.dtype}, but must be [{p_.COUNT}, cells] of the weather's, "
            f"{weather.columns.dtype}."
        )
    if table.device != weather.columns.device:
        raise ValueError(
            f"The table is on {table.device}, but the weather on {weather.columns.device}: move one of them."
        )
    if table.device.type != "cpu":
        engine = "torch"
    if rows is None:
        if count != weather.rows:
            raise ValueError(f"{count} cells and {weather.rows} weather rows: say which row each cell has (rows).")
        rows = torch.arange(count)
    rows = rows.to(table.device)
    if rows.shape != (count,) or bool(((rows < 0) | (rows >= weather.rows)).any()):
        raise ValueError(f"rows must hold {count} numbers from 0 to {weather.rows - 1}, one for each cell.")
    if daily is not None and daily.shape != (count, weather.days):
        raise ValueError(f"daily is {list(daily.shape)}, but must be [{count}, {weather.days}], cells and days.")
    sown = torch.as_tensor(sow, dtype=table.dtype, device=table.device).expand(count)
    begin = start(crop, table) if state is None else state
    if engine == "torch":
        after, series = _roll(crop, weather, table, begin, sown, rows, variant, daily, names)
    else:
        after, series = _compiled(crop, weather, table, begin, sown, rows, variant, daily, names)
    missing = weather.missing[rows]
    if bool(missing.any()):
        after = torch.where(missing, torch.nan, after)
        series = torch.where(missing, torch.nan, series)
    return Season(names, series.transpose(1, 2), after)


def _roll(
    crop: Crop, weather: Weather, table: Tensor, state: Tensor, sow: Tensor, rows: Tensor, variant: Variant,
    daily: Tensor | None, names: tuple[str, ...],
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """State [STATE, C] and series [O, D, C], by torch operations."""
    step, o = build_step(crop, variant), TorchOperations()
    columns = weather.columns[:, : weather.rows * weather.days].view(len(COLUMN), weather.days, weather.rows)
    wanted = [OUTPUT.index(name) for name in names]
    p, s, series = table.unbind(0), list(state.unbind(0)), []
    one = torch.ones_like(sow)
    for d in range(weather.days):
        factor = one if daily is None else daily[:, d]
        s, out = step(o, s, p, columns[:, d].index_select(1, rows).unbind(0), one * d, sow, factor)
        if wanted:
            series.append(torch.stack([out[i] for i in wanted]))
    shape = (0, weather.days, table.shape[1])
    return torch.stack(s), torch.stack(series, dim=1) if series else table.new_empty(shape)


def _compiled(
    crop: Crop, weather: Weather, table: Tensor, state: Tensor, sow: Tensor, rows: Tensor, variant: Variant,
    daily: Tensor | None, names: tuple[str, ...],
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The same by the compiled engine: cells padded to whole vectors."""
    lanes, count = 64 // table.element_size(), table.shape[1]
    extra = -count % lanes

    def padded(values: Tensor) -> Tensor:
        if extra:
            values = torch.cat([values, values[..., -1:].expand(*values.shape[:-1], extra)], dim=-1)
        return values.contiguous()

    lines = padded(rows.to(torch.int32))
    grouped = lines.view(-1, lanes)
    shift = grouped - grouped[:, :1]
    layout = torch.full((grouped.shape[0],), SCATTERED, dtype=torch.int32)
    layout[(shift == torch.arange(lanes)).all(dim=1)] = CONTIGUOUS
    layout[(shift == 0).all(dim=1)] = SHARED
    factors = None if daily is None else padded(daily.T)
    single = table.dtype == torch.float32
    fixed = _Fixed(crop, variant, single, weather, lines, layout, padded(sow), tuple(OUTPUT.index(n) for n in names))
    after, series = _Roll.apply(fixed, padded(state), padded(table), factors)  # type: ignore[no-untyped-call]
    return (after[:, :count], series[..., :count]) if extra else (after, series)


@dataclass(frozen=True, slots=True)
class _Fixed:
    """What a run reads beside what gradients flow to."""

    crop: Crop
    variant: Variant
    single: bool
    weather: Weather
    rows: Tensor
    layout: Tensor
    sow: Tensor
    wanted: tuple[int, ...]


def _places(series: Tensor, wanted: tuple[int, ...], spare: Tensor) -> Any:
    """Addresses and day strides [2, OUTPUT] of the outputs' places in series [O, D, C]; the spare's for the others."""
    out = np.zeros((2, len(OUTPUT)), dtype=np.int64)
    out[0] = spare.data_ptr()
    for k, i in enumerate(wanted):
        out[0, i] = series[k].data_ptr()
        out[1, i] = series.stride(1) * series.element_size()
    return out


class _Roll(torch.autograd.Function):
    """Days in the compiled engine; backward runs them again instead of remembering them."""

    @staticmethod
    def forward(ctx: Any, fixed: _Fixed, state: Tensor, table: Tensor, daily: Tensor | None) -> tuple[Tensor, Tensor]:
        state, table = state.detach(), table.detach()
        ctx.fixed = fixed
        ctx.save_for_backward(state, table, daily)
        run = kernels(fixed.crop, fixed.variant, fixed.single)
        weather, cells = fixed.weather, table.shape[1]
        series = table.new_empty(len(fixed.wanted), weather.days, cells)
        after = torch.empty_like(state)
        spares = table.new_ones(1, run.lanes)
        arguments = _arguments(fixed, state, table, daily, spares)

        def part(low: int, high: int) -> None:
            spare = table.new_zeros(run.lanes)
            places = _places(series, fixed.wanted, spare)
            run.forward(low, high, *arguments, places[0].ctypes.data, places[1].ctypes.data, after.data_ptr())

        in_threads(part, cells // run.lanes)
        return after, series

    @staticmethod
    def backward(ctx: Any, after_slope: Tensor, series_slope: Tensor) -> tuple[None, Tensor, Tensor, Tensor | None]:  # type: ignore[override]
        fixed: _Fixed = ctx.fixed
        state, table, daily = ctx.saved_tensors
        run = kernels(fixed.crop, fixed.variant, fixed.single)
        weather, cells = fixed.weather, table.shape[1]
        after_slope, series_slope = after_slope.contiguous(), series_slope.contiguous()
        state_slope, table_slope = torch.empty_like(state), torch.empty_like(table)
        daily_slope = None if daily is None else torch.empty_like(daily)
        spares = table.new_ones(1, run.lanes)
        arguments = _arguments(fixed, state, table, daily, spares)

        def part(low: int, high: int) -> None:
            spare, nothing = table.new_zeros(run.lanes), table.new_zeros(run.lanes)
            places = _places(series_slope, fixed.wanted, nothing)
            mornings = table.new_empty(weather.days * len(STATE) * run.lanes)
            target = spare if daily_slope is None else daily_slope
            stride = 0 if daily_slope is None else cells * table.element_size()
            run.backward(
                low, high, *arguments, places[0].ctypes.data, places[1].ctypes.data, after_slope.data_ptr(),
                state_slope.data_ptr(), table_slope.data_ptr(), target.data_ptr(), stride, mornings.data_ptr(),
            )  # fmt: skip

        in_threads(part, cells // run.lanes)
        return None, state_slope, table_slope, daily_slope


def _arguments(fixed: _Fixed, state: Tensor, table: Tensor, daily: Tensor | None, ones: Tensor) -> list[int]:
    """The arguments that both directions share, from `days` to `daily_stride`."""
    weather, size = fixed.weather, table.element_size()
    factors = ones if daily is None else daily
    return [
        weather.days, table.shape[1], weather.rows, state.data_ptr(), table.data_ptr(), weather.columns.data_ptr(),
        weather.columns.shape[1] * size, fixed.rows.data_ptr(), fixed.layout.data_ptr(), fixed.sow.data_ptr(),
        factors.data_ptr(), 0 if daily is None else table.shape[1] * size,
    ]  # fmt: skip
