"""Runs and the store, measured: cell-years per second, write, read, memory. `make bench` prints the table.

The demo cube (25,165 cells, about a quarter of them different) and the shipped model. Rates are per second of CPU time
of one process (the machine may be shared); latencies are wall time, cold (just opened) and median warm.
FIELDFLUX_BENCH_MODEL chooses another model.
"""

from __future__ import annotations

import os
import resource
import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fieldflux.models.registry import Registry
from fieldflux.tiles.cells import Year, cells_in, start
from fieldflux.tiles.cube import Cube, open_cube
from fieldflux.tiles.grid import Window
from fieldflux.tiles.ondemand import ChunkQueue
from fieldflux.tiles.run import run, run_cells
from fieldflux.tiles.sources.demo import build_demo
from fieldflux.tiles.store import Store, create_store, open_store

MODEL = os.environ.get("FIELDFLUX_BENCH_MODEL", "agroecosystem")
YEAR = 2018
pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Cube:
    return open_cube(build_demo(tmp_path_factory.mktemp("bench") / "demo.zarr"))


@pytest.fixture(scope="module")
def store(cube: Cube, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One block and two years, run in full."""
    model = Registry().load(MODEL)
    made = create_store(tmp_path_factory.mktemp("bench") / "store", model, cube)
    before = peak()
    wall, cpu, _ = timed(lambda: run(model, cube, made, years=[YEAR]))
    print()
    show("run of the first year, spin-up included: wall, CPU", f"{wall:.1f} s, {cpu:.1f} s")
    wrote: list[float] = []
    write = made.write_block

    def watched(*args):  # type: ignore[no-untyped-def]
        wrote.append(timed(lambda: write(*args))[0])

    made.write_block = watched  # type: ignore[method-assign]
    wall, cpu, report = timed(lambda: run(model, cube, made, years=[YEAR + 1]))
    assert report.faults == []
    show("run of another year, input and output included: wall, CPU", f"{wall:.1f} s, {cpu:.1f} s")
    show("  cells", f"{report.cells / cpu:.0f} cell-years per CPU-s")
    show("  of which different", f"{report.different / cpu:.0f} cell-years per CPU-s")
    show(f"  writing {len(made.daily)} daily variables, {made.members} members", f"{wrote[0]:.1f} s wall")
    size = sum(p.stat().st_size for p in (made.path / str(YEAR)).rglob("*") if p.is_file())
    show("  on disk", f"{size / 1e6:.0f} MB, {size / report.cells / 1e3:.1f} kB a cell")
    show("  memory, largest; before the runs", f"{peak():.0f} MB; {before:.0f} MB")
    return made


def show(what: str, value: str) -> None:
    print(f"  {what:<62} {value}")


def timed(do: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds of wall and of CPU time, and what it gives."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = do()
    return time.perf_counter() - wall, time.process_time() - cpu, found


def peak() -> float:
    """Largest memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def latency(ask: Callable[[], object], times: int = 60) -> str:
    """Milliseconds of the first call and the median of others."""
    found = []
    for _ in range(times + 1):
        began = time.perf_counter()
        ask()
        found.append((time.perf_counter() - began) * 1e3)
    return f"{found[0]:6.2f} ms cold, {statistics.median(found[1:]):6.3f} ms warm"


def test_model_alone(cube: Cube) -> None:
    model = Registry().load(MODEL)
    window = Window(cube.window.row0, cube.window.row0 + 32, cube.window.col0, cube.window.col0 + 32)
    rows, cols = cells_in(cube.mask(), cube.window, window)
    state = start(model, cube, rows[:64], cols[:64])  # compiles
    cpu = time.process_time()
    state = start(model, cube, rows, cols)
    spun_up = time.process_time() - cpu
    year = Year(model, cube, rows, cols, YEAR, state)
    cpu = time.process_time()
    for batch in year:
        assert batch.prediction.daily
    cpu = time.process_time() - cpu
    print()
    show(
        f"model alone, {year.groups} different cells x {model.members} members", f"{year.groups / cpu:.0f} cells-years"
    )
    show("  the same", f"{year.groups * model.members / cpu:.0f} member-cell-years per CPU-s")
    show("  its spin-up", f"{year.groups * model.members / spun_up:.0f} member-cells per CPU-s")


def test_reading(store: Store) -> None:
    fresh = open_store(store.path)
    block = store.blocks[0].window(store.grid)
    rows, cols = np.nonzero(store.read_counts("gpp", date(YEAR, 7, 1), block) != -32768)
    row, col = block.row0 + int(rows[len(rows) // 2]), block.col0 + int(cols[len(cols) // 2])
    field = Window(row, row + 4, col, col + 5)
    first, last, day = date(YEAR, 1, 1), date(YEAR, 12, 31), date(YEAR, 7, 1)
    half = Window(block.row0 // 2, block.row1 // 2, block.col0 // 2, block.col1 // 2)
    print()
    show("field-year, 20 cells x 365 days", latency(lambda: fresh.read_days("gpp", field, first, last)))
    show("one day of 256 x 256 cells", latency(lambda: fresh.read_counts("ra", day, block)))
    show("one day of 128 x 128 cells of level 1", latency(lambda: fresh.read_counts("ra", day, half, 1)))
    show("one year of 256 x 256 cells", latency(lambda: fresh.read_year("gpp", block, YEAR)))
    county = Window(block.row0 + 64, block.row1, block.col0 + 64, block.col1)
    show("county-year, 192 x 192 cells x 365 days", latency(lambda: fresh.read_days("rh", county, first, last), 5))
    show("look for news (snapshot)", latency(lambda: fresh.snapshot))
    show("open a store", latency(lambda: open_store(store.path).snapshot, 20))


def test_on_demand(cube: Cube, tmp_path: Path) -> None:
    model = Registry().load(MODEL)
    rows, cols = cells_in(cube.mask(), cube.window, cube.window)
    middle = len(rows) // 2
    some = slice(middle, middle + 20)
    print()
    run_cells(model, cube, rows[:2], cols[:2], [YEAR])
    field = latency(lambda: run_cells(model, cube, rows[some], cols[some], [YEAR]), 4)
    show("20 cells x 1 year, run live with spin-up", field)
    empty = create_store(tmp_path / "store", model, cube)
    queue = ChunkQueue(empty, cube, model)
    try:
        at = np.argwhere(empty.occupied)[6]
        began = time.perf_counter()
        assert queue.request(int(at[0]), int(at[1]), YEAR) == "queued"
        assert queue.wait(300)
        assert queue.status().done == 1
        show("a chunk (1024 cells) and its first year, on demand", f"{time.perf_counter() - began:.1f} s")
    finally:
        queue.close()
