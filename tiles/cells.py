"""Cells through a model, year by year with carried memory; cells that are alike in every input are computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
from fieldflux.models.contract import Forcing, Model, Needs, Prediction, State, check_inputs
from fieldflux.models.variables import of_record
from numpy.typing import NDArray

from .grid import Window
from .layout import days_in
from .state import CellState
from .surface import CubeLike

SPIN_UP_YEARS = 4
"""First years of a cube that a model spins up on: two turns of a two-year rotation, one of a four-year one."""
BATCH_BYTES = 256 * 2**20

Integers = NDArray[np.integer[Any]]


class Cancelled(Exception):
    """The caller asked to stop."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Predictions of one year for the groups first..last (last excluded) of identical cells.

    cells: positions of all cells in these groups. group: their group, counted from `first`.
    """

    prediction: Prediction
    cells: NDArray[np.intp]
    group: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class CellResult:
    """What a model says of some cells, unpacked.

    daily: name -> float32 [member, cell, day], from `start` on. annual: name -> float32 [member, cell, year].
    flags: name -> bool [cell]. computed: number of different cells among them.
    """

    start: date
    daily: Mapping[str, NDArray[np.float32]]
    years: tuple[int, ...]
    annual: Mapping[str, NDArray[np.float32]]
    flags: Mapping[str, NDArray[np.bool_]]
    computed: int


def run_cells(
    model: Model,
    cube: CubeLike,
    rows: Integers,
    cols: Integers,
    years: Sequence[int],
    variables: Sequence[str] | None = None,
    batch_bytes: int = BATCH_BYTES,
) -> CellResult:
    """Run a model for some cells from the cube's first year to the last of `years`; nothing is stored.

    rows, cols: [C] absolute cells. years: consecutive; only they are returned. variables: only these are, or all.
    Raises MissingInputs; OutsideCube.
    """
    wanted = tuple(sorted(set(years)))
    check_inputs(model.card.id, model.needs, cube.available(), f"the cube '{cube.id}'")
    names = tuple(variables) if variables is not None else model.outputs
    count, days = len(rows), sum(days_in(y) for y in wanted)
    daily: dict[str, NDArray[np.float32]] = {}
    annual: dict[str, NDArray[np.float32]] = {}
    flags: dict[str, NDArray[np.bool_]] = {}
    state = start(model, cube, rows, cols, batch_bytes)
    for year in range(cube.years[0], wanted[-1] + 1):
        keep = year in wanted
        at = sum(days_in(y) for y in wanted if y < year)
        for batch in (run := Year(model, cube, rows, cols, year, state, batch_bytes)):
            for name, flag in batch.prediction.flags.items():
                flags.setdefault(name, np.zeros(count, bool))[batch.cells] |= flag[batch.group]
            if not keep:
                continue
            for name, values in batch.prediction.daily.items():
                if name in names:
                    out = daily.setdefault(name, np.full((model.members, count, days), np.nan, np.float32))
                    out[:, batch.cells, at : at + values.shape[2]] = values[:, batch.group]
            for name, values in batch.prediction.annual.items():
                if name in names:
                    out = annual.setdefault(name, np.full((model.members, count, len(wanted)), np.nan, np.float32))
                    out[:, batch.cells, wanted.index(year)] = values[:, batch.group, 0]
        state = run.state
    computed = int(state.group.max(initial=-1)) + 1
    return CellResult(date(wanted[0], 1, 1), daily, wanted, annual, flags, computed)


def start(
    model: Model,
    cube: CubeLike,
    rows: Integers,
    cols: Integers,
    batch_bytes: int = BATCH_BYTES,
    told: Callable[[float], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> CellState:
    """The memory of cells before the cube's first year, spun up on its first years.

    told: gets the share that is done, 0 to 1, after each batch. cancelled: as in `Year`.
    """
    years = cube.years[:SPIN_UP_YEARS]
    forcing = narrow(cube.forcing(rows, cols, years), model.needs)
    group, first = identical(forcing)
    batches = _batches(len(first), model, batch_bytes // len(years))
    parts: list[State] = []
    for b in batches:
        if cancelled():
            raise Cancelled
        parts.append(model.initial_state(taken(forcing, first[b])))
        told(b.stop / len(first))
    return CellState(parts[0].day, group, _join(parts))


class Year:
    """One year of some cells, as an iterator of batches; `state` holds the memory at its end when they are through.

    state: memory at the end of the year before. cancelled: asked between batches; Cancelled is raised when it says so.
    """

    def __init__(
        self,
        model: Model,
        cube: CubeLike,
        rows: Integers,
        cols: Integers,
        year: int,
        state: CellState,
        batch_bytes: int = BATCH_BYTES,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self.model, self.year = model, year
        self._before = state
        self._batch_bytes = batch_bytes
        self._cancelled = cancelled
        self._forcing = narrow(cube.forcing(rows, cols, [year]), model.needs)
        self.group, self._first = identical(self._forcing, state.group)
        self._parts: list[State] = []

    @property
    def groups(self) -> int:
        """Number of different cells."""
        return len(self._first)

    @property
    def state(self) -> CellState:
        return CellState(self._parts[0].day, self.group, _join(self._parts))

    def __iter__(self) -> Iterator[Batch]:
        order = np.argsort(self.group, kind="stable")
        sorted_groups = self.group[order]
        for b in _batches(len(self._first), self.model, self._batch_bytes):
            if self._cancelled():
                raise Cancelled
            members = self._before.group[self._first[b]]
            memory = State(self._before.day, {n: a[:, members] for n, a in self._before.arrays.items()})
            prediction = self.model.predict(taken(self._forcing, self._first[b]), memory)
            self._parts.append(prediction.state)
            low, high = np.searchsorted(sorted_groups, (b.start, b.stop))
            cells = np.sort(order[low:high])
            yield Batch(prediction, cells, self.group[cells] - np.int32(b.start))


def advance(
    model: Model,
    cube: CubeLike,
    rows: Integers,
    cols: Integers,
    state: CellState,
    last: int,
    batch_bytes: int = BATCH_BYTES,
    cancelled: Callable[[], bool] = lambda: False,
) -> CellState:
    """The memory of cells at the end of the year `last`, from that at the end of an earlier one."""
    for year in range(state.day.year + 1, last + 1):
        batches = Year(model, cube, rows, cols, year, state, batch_bytes, cancelled)
        for _ in batches:
            pass
        state = batches.state
    return state


def cells_in(mask: NDArray[np.bool_], of: Window, window: Window) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Absolute rows and columns of the cells of `window` that the mask, which covers `of`, holds; row by row."""
    part = window.intersect(of)
    if part is None:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    rows, cols = np.nonzero(mask[part.slices(of)])
    return rows + part.row0, cols + part.col0


def identical(forcing: Forcing, before: NDArray[np.int32] | None = None) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """Groups of cells that are alike in all inputs and, by `before`, in their past.

    Returns the group of each cell [C] and the first cell of each group [G]; groups are in order of weather cells.
    """
    columns: list[NDArray[Any]] = [forcing.weather]
    columns += [forcing.static[n] for n in sorted(forcing.static)]
    for name in sorted(forcing.annual):
        columns += list(forcing.annual[name].T)
    if forcing.gpp_unit is not None:
        columns += list(forcing.gpp_unit.T)
    if before is not None:
        columns.append(before)
    code = np.zeros(forcing.cells, np.int64)
    for column in columns:
        values, position = np.unique(column, return_inverse=True)
        if len(values) > 1:
            # Numbered anew after each column: products of the columns' sizes would not fit in 64 bits.
            code = np.unique(code * len(values) + position.reshape(-1), return_inverse=True)[1].reshape(-1)
    _, first, group = np.unique(code, return_index=True, return_inverse=True)
    return group.reshape(-1).astype(np.int32), first


def take_state(state: CellState, cells: Integers) -> CellState:
    """The memory of some of the cells, by position."""
    used, group = np.unique(state.group[cells], return_inverse=True)
    return CellState(state.day, group.reshape(-1).astype(np.int32), {n: a[:, used] for n, a in state.arrays.items()})


def narrow(forcing: Forcing, needs: Needs) -> Forcing:
    """Only what the model reads: other inputs would make alike cells differ."""
    read = {*needs.daily, *needs.annual, *needs.static, *needs.optional}
    has_gpp = "gpp_given" in read
    return replace(
        forcing,
        daily={n: a for n, a in forcing.daily.items() if n in read},
        annual={n: a for n, a in forcing.annual.items() if n in read},
        static={n: a for n, a in forcing.static.items() if n in read},
        gpp_given=forcing.gpp_given if has_gpp else None,
        gpp_unit=forcing.gpp_unit if has_gpp else None,
    )


def taken(forcing: Forcing, cells: NDArray[np.intp]) -> Forcing:
    """The forcing of some of the cells, with the weather rows that they need."""
    used, weather = np.unique(forcing.weather[cells], return_inverse=True)
    return replace(
        forcing,
        daily={n: a[used] for n, a in forcing.daily.items()},
        weather=weather.reshape(-1),
        annual={n: a[cells] for n, a in forcing.annual.items()},
        static={n: a[cells] for n, a in forcing.static.items()},
        gpp_unit=None if forcing.gpp_unit is None else forcing.gpp_unit[cells],
    )


def _batches(groups: int, model: Model, batch_bytes: int) -> list[slice]:
    """Batches whose outputs, with as much again for the model's own work, fit in `batch_bytes`."""
    # A model without days works with more numbers a cell than it gives.
    days = 100 if of_record(model.outputs) else 366
    per_cell = 2 * 4 * days * max(len(model.outputs), 1) * model.members
    size = max(16, batch_bytes // per_cell)
    return [slice(k, min(k + size, groups)) for k in range(0, groups, size)]


def _join(parts: Sequence[State]) -> dict[str, NDArray[Any]]:
    return {n: np.concatenate([p.arrays[n] for p in parts], axis=1) for n in parts[0].arrays}
