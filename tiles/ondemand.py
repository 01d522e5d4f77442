"""Chunks that somebody looks at and nobody has run yet: computed in the background, once, and kept in the store."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Literal

import numpy as np
from fieldflux.models.contract import Model, check_inputs
from numpy.typing import NDArray

from .cells import BATCH_BYTES, Cancelled, Integers, Year, advance, cells_in, start, take_state
from .collect import Collector
from .grid import Block
from .state import BadState, CellState
from .store import Store
from .surface import CubeLike

Answer = Literal["there", "empty", "queued", "running", "failed", "closed"]
RETRY_AFTER = 60.0
Key = tuple[int, int]


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """What the queue does. alive: its thread runs. running: name of the chunk and the year it is run to.

    dropped: requests that newer ones pushed out of the full queue; who still wants them asks again.
    faults: the last few, a sentence each.
    """

    alive: bool
    queued: int
    running: tuple[str, int] | None
    done: int
    dropped: int
    failed: int
    seconds: float
    faults: tuple[str, ...]


class ChunkQueue:
    """A background thread that computes chunks of a store on demand, what was asked for last first.

    limit: chunks that wait at most. Safe to share between threads.
    """

    def __init__(
        self, store: Store, cube: CubeLike, model: Model, limit: int = 256, batch_bytes: int = BATCH_BYTES
    ) -> None:
        check_inputs(model.card.id, model.needs, cube.available(), f"the cube '{cube.id}'")
        store.check(model, cube)
        self._store, self._cube, self._model = store, cube, model
        self._mask = cube.mask()
        self._limit, self._batch_bytes = limit, batch_bytes
        self._waiting: OrderedDict[Key, int] = OrderedDict()
        self._running: tuple[Key, int] | None = None
        self._refused: dict[Key, float] = {}
        self._faults: deque[str] = deque(maxlen=10)
        self._done = self._dropped = self._failed = 0
        self._seconds = 0.0
        self._closing = False
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="fieldflux chunks", daemon=True)
        self._thread.start()

    def request(self, chunk_row: int, chunk_col: int, year: int) -> Answer:
        """Ask for a chunk and year, numbered as in `Store.computed`; returns at once.

        "queued" and "running" turn into "there"; "empty": no cell of it can be computed; "failed": it could not be
        computed within the last minute, see `status`.
        """
        rows, cols = self._store.layout.chunks
        if not (0 <= chunk_row < rows and 0 <= chunk_col < cols) or year not in self._cube.years:
            return "empty"
        if not self._store.occupied[chunk_row, chunk_col]:
            return "empty"
        if self._store.computed(year)[chunk_row, chunk_col]:
            return "there"
        key = chunk_row, chunk_col
        with self._change:
            if self._closing:
                return "closed"
            if self._running is not None and self._running[0] == key and self._running[1] >= year:
                return "running"
            if time.monotonic() < self._refused.get(key, 0.0):
                return "failed"
            self._waiting[key] = max(year, self._waiting.pop(key, year))
            if len(self._waiting) > self._limit:
                self._waiting.popitem(last=False)
                self._dropped += 1
            self._change.notify_all()
        return "queued"

    def status(self) -> QueueStatus:
        """What the queue does now."""
        with self._change:
            running = None
            if self._running is not None:
                running = self._store.chunk_name(*self._running[0]), self._running[1]
            return QueueStatus(
                alive=self._thread.is_alive(),
                queued=len(self._waiting),
                running=running,
                done=self._done,
                dropped=self._dropped,
                failed=self._failed,
                seconds=self._seconds,
                faults=tuple(self._faults),
            )

    def wait(self, timeout: float | None = None) -> bool:
        """Until nothing is queued or running; False where that took longer than `timeout` seconds."""
        with self._change:
            return self._change.wait_for(lambda: not self._waiting and self._running is None, timeout)

    def close(self, timeout: float = 30.0) -> None:
        """Forget what waits, stop after the batch that is running, and end the thread."""
        with self._change:
            self._closing = True
            self._waiting.clear()
            self._change.notify_all()
        self._thread.join(timeout)

    def _work(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: bool(self._waiting) or self._closing)
                if self._closing:
                    return
                key, year = self._waiting.popitem(last=True)
                self._running = key, year
            began = time.monotonic()
            fault: str | None = None
            cancelled = False
            try:
                self._compute(key, year)
            except Cancelled:
                cancelled = True
            except Exception as error:
                # The thread has to outlive whatever a chunk does; the fault is kept for `status`.
                sentence = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
                fault = f"Chunk {self._store.chunk_name(*key)} to {year}: {sentence}"
            with self._change:
                self._running = None
                self._seconds += time.monotonic() - began
                if fault is not None:
                    self._failed += 1
                    self._faults.append(fault)
                    self._refused[key] = time.monotonic() + RETRY_AFTER
                elif not cancelled:
                    self._done += 1
                    self._refused.pop(key, None)
                self._change.notify_all()

    def _compute(self, key: Key, last: int) -> None:
        store, cube, model = self._store, self._cube, self._model
        window = store.chunk_window(*key)
        rows, cols = cells_in(self._mask, cube.window, window)
        at = (rows - window.row0) * cube.grid.chunk + (cols - window.col0)
        first, state = self._nearest(key, rows, cols, last)
        for year in range(first, last + 1):
            began = time.monotonic()
            if store.computed(year)[key]:
                state = advance(model, cube, rows, cols, state, year, self._batch_bytes, self._stopped)
                continue
            collector = Collector(store.layout, cube.grid.chunk, year, at)
            batches = Year(model, cube, rows, cols, year, state, self._batch_bytes, self._stopped)
            for batch in batches:
                collector.add(batch)
            state = batches.state
            name, seconds = store.chunk_name(*key), time.monotonic() - began
            record = collector.record(name, len(rows), batches.groups, seconds)
            store.write_chunk(*key, year, collector.data(), record, state)

    def _nearest(self, key: Key, rows: Integers, cols: Integers, last: int) -> tuple[int, CellState]:
        """The first year to run, and the memory before it: the nearest that is kept for the chunk or its block."""
        for year in range(last - 1, self._cube.years[0] - 1, -1):
            state = self._kept(key, rows, cols, year)
            if state is not None:
                return year + 1, state
        return self._cube.years[0], start(self._model, self._cube, rows, cols, self._batch_bytes)

    def _kept(self, key: Key, rows: Integers, cols: Integers, year: int) -> CellState | None:
        store = self._store
        block = Block(int(rows[0]) // store.grid.block, int(cols[0]) // store.grid.block)
        try:
            own = store.chunk_state(*key, year)
            if own is not None:
                return own
            whole = store.state(block, year)
        except BadState:
            return None
        if whole is None:
            return None
        block_rows, block_cols = cells_in(self._mask, self._cube.window, block.window(store.grid))
        mine: NDArray[np.intp] = np.flatnonzero(store.chunk_window(*key).contains(block_rows, block_cols))
        return take_state(whole, mine)

    def _stopped(self) -> bool:
        return self._closing
