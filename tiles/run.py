"""Runs: a model over blocks and years of a cube, into a store. What is done is kept; a run that stops is resumed.

One idempotent function, `run_block`, does the work; `run` calls it for blocks and years in order, in this process or in
a pool of them. Blocks are independent; a block's years follow each other, each from the memory that the last one left.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, Protocol

import numpy as np
from fieldflux.models.contract import Model, check_inputs
from numpy.typing import NDArray

from .cells import BATCH_BYTES, Cancelled, CellResult, Integers, Year, advance, cells_in, run_cells, start
from .collect import Collector
from .files import StoreFull, StoreReadOnly, sweep
from .grid import Block
from .manifest import Record
from .state import BadState, CellState
from .store import Store, open_store
from .surface import CubeLike

__all__ = [
    "CellResult",
    "Outcome",
    "Progress",
    "RunReport",
    "RunStopped",
    "run",
    "run_block",
    "run_cells",
]

Loader = Callable[[], Model]


class RunStopped(ValueError):
    """A run that cannot go on."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is. cells: cell-years. blocks: blocks and years. seconds_left: None until there is an estimate.

    spin_up: share of the present block's cells that are spun up, 0 to 1, while that goes on in this process.
    """

    cells_done: int
    cells_total: int
    blocks_done: int
    blocks_total: int
    seconds: float
    seconds_left: float | None
    spin_up: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one block and year: a record, "skipped" where it was there, or what went wrong."""

    block: Block
    year: int
    record: Record | None = None
    skipped: bool = False
    fault: str | None = None


@dataclass(slots=True)
class RunReport:
    """What a run did. Values that could not be stored, and cells that the model could not run, are counted here.

    flags, missing: cell-years. saturated, outside: cell-days by variable (see `Record`). faults: a sentence each.
    """

    computed: int = 0
    skipped: int = 0
    cells: int = 0
    different: int = 0
    seconds: float = 0.0
    cancelled: bool = False
    missing: int = 0
    flags: Counter[str] = field(default_factory=Counter)
    saturated: Counter[str] = field(default_factory=Counter)
    outside: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        if outcome.fault is not None:
            self.faults.append(f"Block {outcome.block.name}, {outcome.year}: {outcome.fault}")
        elif outcome.record is None:
            self.skipped += 1
        else:
            record = outcome.record
            self.computed += 1
            self.cells += record.cells
            self.different += record.computed
            self.missing += record.missing
            self.flags.update(record.flags)
            self.saturated.update(record.saturated)
            self.outside.update(record.outside)

    def sentences(self) -> list[str]:
        """The report in words, a sentence a line."""
        said = [
            f"{self.computed} blocks and years were computed ({self.cells} cell-years, {self.different} of them "
            f"different) in {self.seconds:.1f} s; {self.skipped} were there already."
        ]
        if self.cancelled:
            said.append("The run was cancelled; started again, it goes on where it stopped.")
        for name, n in sorted(self.flags.items()):
            said.append(f"{n} cell-years carry the flag '{name}'.")
        if self.missing:
            said.append(f"{self.missing} cell-years have no value on some or all days.")
        for name, n in sorted(self.saturated.items()):
            said.append(f"{n} daily values of {name} are too large to be packed and are stored as missing.")
        for name, n in sorted(self.outside.items()):
            said.append(
                f"{n} daily values of {name} lie outside the variable's valid range: a fault of model or input."
            )
        return said + self.faults


@dataclass(frozen=True, slots=True)
class Task:
    """One block and year to run."""

    block: Block
    year: int


@dataclass(frozen=True)
class Worker:
    """What a task needs, in whatever process it is run.

    mask: the cube's, [rows, cols] of its window. advance: told of each batch's cells; spun: of the share
    of a block that is spun up. cancelled: asked before each batch.
    """

    model: Model
    cube: CubeLike
    store: Store
    mask: NDArray[np.bool_]
    batch_bytes: int = BATCH_BYTES
    advance: Callable[[int], None] = lambda _: None
    cancelled: Callable[[], bool] = lambda: False
    spun: Callable[[float], None] = lambda _: None

    def do(self, task: Task) -> Outcome:
        """Run a task; faults of this block and year are told, those of the disk are raised."""
        block, year = task.block, task.year
        if self.store.complete(block, year):
            return Outcome(block, year, skipped=True)
        try:
            _, record = self.block_year(block, year, None)
        except (StoreFull, StoreReadOnly):
            raise
        except ValueError as error:
            return Outcome(block, year, fault=str(error))
        return Outcome(block, year, record)

    def block_year(self, block: Block, year: int, state: CellState | None) -> tuple[CellState, Record]:
        """Run a block and year into the store. state: memory at the end of the year before, where the caller has it."""
        began = time.monotonic()
        window = block.window(self.cube.grid)
        rows, cols = cells_in(self.mask, self.cube.window, window)
        at = (rows - window.row0) * self.cube.grid.block + (cols - window.col0)
        if not len(rows):
            after = CellState(date(year, 12, 31), np.zeros(0, np.int32), {})
            collector = Collector(self.store.layout, self.cube.grid.block, year, at)
            record = collector.record(block.name, 0, 0, time.monotonic() - began)
        else:
            before = state or self._before(block, year, rows, cols)
            batches = Year(self.model, self.cube, rows, cols, year, before, self.batch_bytes, self.cancelled)
            # The largest arrays of a run: made only when the memory for a spin-up is free again.
            collector = Collector(self.store.layout, self.cube.grid.block, year, at)
            for batch in batches:
                collector.add(batch)
                self.advance(len(batch.cells))
            after = batches.state
            record = collector.record(block.name, len(rows), batches.groups, time.monotonic() - began)
        self.store.write_block(block, year, collector.data(), record, after)
        return after, record

    def _before(self, block: Block, year: int, rows: Integers, cols: Integers) -> CellState:
        """The memory of a block's cells at the end of the year before, from the nearest that is kept."""
        state = None
        for kept in range(year - 1, self.cube.years[0] - 1, -1):
            state = _state_at(self.store, block, kept)
            if state is not None:
                break
        if state is None:
            state = start(self.model, self.cube, rows, cols, self.batch_bytes, self.spun, self.cancelled)
        return advance(self.model, self.cube, rows, cols, state, year - 1, self.batch_bytes, self.cancelled)


class Executor(Protocol):
    """Where tasks are done. slots: how many at once. cells_done: cell-years so far, unfinished blocks included.

    spin_up: as in `Progress`; None where other processes spin up.
    """

    spin_up: float | None

    @property
    def slots(self) -> int: ...

    def submit(self, task: Task) -> Future[Outcome]: ...

    def cells_done(self) -> int: ...

    def close(self, cancel: bool) -> None: ...


class Serial:
    """Tasks in this process, when they are submitted."""

    slots = 1

    def __init__(
        self, model: Model, cube: CubeLike, store: Store, batch_bytes: int, told: Callable[[], None], cancel: Event
    ) -> None:
        self._done = 0
        self.spin_up: float | None = None
        self._told = told
        mask = cube.mask()
        self._worker = Worker(model, cube, store, mask, batch_bytes, self._advance, cancel.is_set, self._spun)

    def _advance(self, cells: int) -> None:
        self._done += cells
        self._told()

    def _spun(self, share: float) -> None:
        self.spin_up = share if share < 1 else None
        self._told()

    def submit(self, task: Task) -> Future[Outcome]:
        future: Future[Outcome] = Future()
        try:
            future.set_result(self._worker.do(task))
        except Exception as error:
            future.set_exception(error)
        return future

    def cells_done(self) -> int:
        return self._done

    def close(self, cancel: bool) -> None:
        """Nothing to end."""


class Pool:
    """Tasks in processes of their own, one thread each: threads shared between them collapse."""

    def __init__(self, load: Loader, cube: CubeLike, store: Path, batch_bytes: int, workers: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.slots = workers
        self.spin_up: float | None = None
        self._done = context.Value("q", 0)
        self._cancel = context.Event()
        self._pool = ProcessPoolExecutor(
            workers, context, _prepare, (_Setting(load, cube, store, batch_bytes), self._done, self._cancel)
        )

    def submit(self, task: Task) -> Future[Outcome]:
        return self._pool.submit(_do, task)

    def cells_done(self) -> int:
        return int(self._done.value)

    def close(self, cancel: bool) -> None:
        if cancel:
            self._cancel.set()
        self._pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True)
class _Setting:
    """What a worker process is started with."""

    load: Loader
    cube: CubeLike
    store: Path
    batch_bytes: int


# A pool's process has no other place to keep its model between tasks.
_here: dict[str, Any] = {}


def _prepare(setting: _Setting, done: Any, cancel: Any) -> None:
    _here.update(setting=setting, done=done, cancel=cancel)


def _do(task: Task) -> Outcome:
    if "worker" not in _here:
        setting: _Setting = _here["setting"]
        done, cancel = _here["done"], _here["cancel"]

        def told(cells: int) -> None:
            with done.get_lock():
                done.value += cells

        model = setting.load()
        _one_thread()
        store = open_store(setting.store, model, setting.cube)
        cube = setting.cube
        _here["worker"] = Worker(model, cube, store, cube.mask(), setting.batch_bytes, told, cancel.is_set)
    worker: Worker = _here["worker"]
    return worker.do(task)


def _one_thread() -> None:
    import numba

    numba.set_num_threads(1)
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(1)


def run(
    model: Model,
    cube: CubeLike,
    store: Store,
    blocks: Sequence[Block] | None = None,
    years: Sequence[int] | None = None,
    workers: int = 1,
    progress: Callable[[Progress], None] | None = None,
    cancel: Event | None = None,
    load: Loader | None = None,
    batch_bytes: int = BATCH_BYTES,
) -> RunReport:
    """Run a model over blocks and years of a cube, into a store; what is there already is skipped.

    blocks, years: all by default. workers: processes; 1 runs in this one. load: gives a worker process its model; by
    default the registry's, by the model's id. batch_bytes: bounds a batch's memory.
    progress: called after each batch (or, with workers, a few times a second). cancel: set it to stop between batches.
    Raises MissingInputs, WrongStore before any work; StoreFull, StoreReadOnly, RunStopped. What one block cannot do is
    told in the report.
    """
    began = time.monotonic()
    check_inputs(model.card.id, model.needs, cube.available(), f"the cube '{cube.id}'")
    store.check(model, cube)
    wanted = _years(cube, years)
    chosen = _blocks(store, blocks)
    sweep(store.path)
    mask = cube.mask()
    cells = {b: len(cells_in(mask, cube.window, b.window(cube.grid))[0]) for b in chosen}
    todo = {b: [y for y in wanted if not store.complete(b, y)] for b in chosen}
    report = RunReport(skipped=sum(len(wanted) - len(ys) for ys in todo.values()))
    total_cells = sum(cells[b] * len(ys) for b, ys in todo.items())
    total_blocks = sum(len(ys) for ys in todo.values())
    stop = cancel or Event()
    executor: Executor

    def tell() -> None:
        if progress is not None:
            seconds, done = time.monotonic() - began, min(executor.cells_done(), total_cells)
            left = seconds / done * (total_cells - done) if done else None
            at = Progress(done, total_cells, report.computed, total_blocks, seconds, left, executor.spin_up)
            progress(at)

    if workers > 1 and total_blocks > 1:
        executor = Pool(load or partial(_load, model.card.id), cube, store.path, batch_bytes, min(workers, len(todo)))
    else:
        executor = Serial(model, cube, store, batch_bytes, tell, stop)
    try:
        for outcome in _outcomes(executor, todo, stop, tell):
            report.add(outcome)
    except Cancelled:
        report.cancelled = True
    except BrokenProcessPool as error:
        raise RunStopped(
            f"A worker process ended in the middle of its work: most likely the system ended it because memory ran out "
            f"with {workers} workers (each takes 1 to 3 GB for a block). Start again with fewer; what was done is kept."
        ) from error
    finally:
        executor.close(cancel=True)
    report.cancelled = report.cancelled or stop.is_set()
    report.seconds = time.monotonic() - began
    tell()
    return report


def run_block(
    model: Model,
    cube: CubeLike,
    store: Store,
    block: Block,
    year: int,
    state: CellState | None = None,
    batch_bytes: int = BATCH_BYTES,
) -> CellState:
    """Run one block and year into the store, if it is not there yet; returns the memory at its end.

    state: memory at the end of the year before, of the block's cells (those of the cube's mask, row by row). Without
    it, from the nearest year whose memory the store keeps, else from the cube's first year on; years between are run
    but not stored. Raises as `run`.
    """
    if store.complete(block, year):
        kept = _state_at(store, block, year)
        if kept is not None:
            return kept
    found, _ = Worker(model, cube, store, cube.mask(), batch_bytes).block_year(block, year, state)
    return found


def _state_at(store: Store, block: Block, year: int) -> CellState | None:
    try:
        return store.state(block, year)
    except BadState:
        # Only a short cut: an earlier year's memory leads to the same one.
        return None


def _outcomes(
    executor: Executor, todo: dict[Block, list[int]], stop: Event, tell: Callable[[], None]
) -> Iterator[Outcome]:
    """Outcomes as they come; a block's next year is begun when the one before is stored."""
    waiting = deque((b, years) for b, years in todo.items() if years)
    running: dict[Future[Outcome], tuple[Block, list[int]]] = {}
    while waiting or running:
        while waiting and len(running) < executor.slots and not stop.is_set():
            block, years = waiting.popleft()
            running[executor.submit(Task(block, years[0]))] = block, years[1:]
        if not running:
            return
        done, _ = wait(running, timeout=0.25, return_when=FIRST_COMPLETED)
        for future in done:
            block, years = running.pop(future)
            outcome = future.result()
            yield outcome
            # Without one year, those after it would start from nothing again and again.
            if years and outcome.fault is None:
                waiting.appendleft((block, years))
        tell()
        if stop.is_set():
            return


def _blocks(store: Store, blocks: Sequence[Block] | None) -> list[Block]:
    chosen = list(store.blocks if blocks is None else blocks)
    beyond = [b for b in chosen if b not in store.blocks]
    if beyond:
        raise RunStopped(
            f"Block {beyond[0].name} lies outside the store; its blocks are {store.blocks[0].name} to "
            f"{store.blocks[-1].name}."
        )
    return chosen


def _years(cube: CubeLike, years: Sequence[int] | None) -> list[int]:
    wanted = sorted(set(cube.years if years is None else years))
    beyond = [y for y in wanted if y not in cube.years]
    if beyond:
        raise RunStopped(
            f"The cube '{cube.id}' has no year {beyond[0]}; it covers {cube.years[0]} to {cube.years[-1]}. Choose "
            f"years inside that period."
        )
    return wanted


def _load(model: str) -> Model:
    from fieldflux.models.registry import Registry

    return Registry().load(model)
