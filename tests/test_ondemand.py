"""Chunks on demand: once, in the background, kept; never a dead thread."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from fieldflux.tiles.cube import Cube
from fieldflux.tiles.grid import Block, Window
from fieldflux.tiles.ondemand import ChunkQueue
from fieldflux.tiles.packing import FILL
from fieldflux.tiles.pyramid import coarse_counts
from fieldflux.tiles.run import run
from fieldflux.tiles.store import BadStore, Store, create_store, open_store

from .toy_cube import build_toy
from .toy_model import ToyModel

YEARS = (2019, 2020, 2021)
FIRST, LAST = date(2019, 1, 1), date(2021, 12, 31)
EXTENT = Window(64, 128, 96, 160)


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Cube:
    return build_toy(tmp_path_factory.mktemp("cube") / "toy.zarr", YEARS)


@pytest.fixture(scope="module")
def whole(cube: Cube, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store that was run from end to end; not to be changed."""
    store = create_store(tmp_path_factory.mktemp("store") / "whole", ToyModel(), cube)
    assert run(ToyModel(), cube, store).faults == []
    return store


@pytest.fixture
def store(cube: Cube, tmp_path: Path) -> Store:
    return create_store(tmp_path / "store", ToyModel(), cube)


@pytest.fixture
def model() -> ToyModel:
    return ToyModel()


@pytest.fixture
def queue(store: Store, cube: Cube, model: ToyModel) -> Iterator[ChunkQueue]:
    made = ChunkQueue(store, cube, model)
    yield made
    made.close()


class Gate(ToyModel):
    """Waits in its first prediction until it is let go."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.let_go = threading.Event()
        self.began = threading.Event()

    def predict(self, forcing, state=None):  # type: ignore[no-untyped-def]
        self.began.set()
        assert self.let_go.wait(20)
        return super().predict(forcing, state)


def test_a_chunk_on_demand_is_that_of_the_run(whole: Store, store: Store, queue: ChunkQueue) -> None:
    before = store.snapshot
    assert queue.request(2, 2, 2020) == "queued"
    assert queue.wait(30)
    window = store.chunk_window(2, 2)
    assert window == Window(80, 88, 112, 120)
    there = store.computed(2020)
    assert there[2, 2]
    assert not there[2, 3]
    assert store.computed(2019)[2, 2]
    assert not store.computed(2021)[2, 2]
    for name in store.daily:
        found = store.read_packed(name, EXTENT, FIRST, LAST)
        expected = whole.read_packed(name, EXTENT, FIRST, LAST)
        expected[365 + 366 :] = FILL
        mask = np.ones(EXTENT.shape, bool)
        mask[window.slices(EXTENT)] = False
        expected[:, mask] = FILL
        assert np.array_equal(found, expected)
    for name in store.variables:
        for member in (None, *((0, 1) if name in ("gpp", "nee", "yield", "delta_soc") else ())):
            expected = whole.read_year(name, window, 2020, member)
            np.testing.assert_array_equal(store.read_year(name, window, 2020, member), expected)
    for member in (0, 1):
        for name in ("ra", "nee"):
            expected = whole.read_packed(name, window, FIRST, date(2020, 12, 31), member)
            assert np.array_equal(store.read_packed(name, window, FIRST, date(2020, 12, 31), member), expected)
    assert store.snapshot != before
    assert queue.status().done == 1
    # over the chunk's edge, and at a level that the overlay has no pyramid for
    day = date(2020, 7, 1)
    for level in (1, 2, 3):
        n = 2**level
        cells = store.read_counts("gpp", day, EXTENT)
        level_window = Window(64 // n, 128 // n, 96 // n, 160 // n)
        assert np.array_equal(store.read_counts("gpp", day, level_window, level), coarse_counts(cells, level))


def test_many_requests_for_one_chunk_compute_it_once(store: Store, cube: Cube) -> None:
    gate = Gate()
    queue = ChunkQueue(store, cube, gate)
    try:
        assert queue.request(2, 2, 2021) == "queued"
        assert gate.began.wait(10)
        with ThreadPoolExecutor(8) as pool:
            answers = set(pool.map(lambda k: queue.request(2, 2, YEARS[k % 3]), range(100)))
        assert answers == {"running"}
        assert queue.status().running == (store.chunk_name(2, 2), 2021)
        assert queue.status().queued == 0
        gate.let_go.set()
        assert queue.wait(30)
        # spun up once, and one batch of each year
        assert len(gate.spun_up) == 1
        assert len(gate.seen) == 3
        assert queue.request(2, 2, 2019) == "there"
        assert queue.status().done == 1
    finally:
        gate.let_go.set()
        queue.close()


def test_what_was_asked_for_last_comes_first_and_the_queue_is_bounded(store: Store, cube: Cube) -> None:
    gate = Gate()
    queue = ChunkQueue(store, cube, gate, limit=3)
    order: list[tuple[int, int]] = []
    write = store.write_chunk

    def watched(row, col, year, data, record, state):  # type: ignore[no-untyped-def]
        order.append((row, col))
        write(row, col, year, data, record, state)

    store.write_chunk = watched  # type: ignore[method-assign]
    try:
        queue.request(2, 2, 2019)
        assert gate.began.wait(10)
        for col in (3, 4, 5, 3, 6):
            queue.request(2, col, 2019)
        status = queue.status()
        assert (status.queued, status.dropped) == (3, 1)
        gate.let_go.set()
        assert queue.wait(30)
        assert order == [(2, 2), (2, 6), (2, 3), (2, 5)]
    finally:
        gate.let_go.set()
        queue.close()


def test_a_later_year_goes_on_from_what_is_kept(
    cube: Cube, whole: Store, store: Store, model: ToyModel, queue: ChunkQueue
) -> None:
    queue.request(3, 3, 2019)
    assert queue.wait(30)
    queue.request(3, 3, 2021)
    assert queue.wait(30)
    assert len(model.spun_up) == 1
    assert len(model.seen) == 3
    window = store.chunk_window(3, 3)
    assert np.array_equal(store.read_packed("soc", window, FIRST, LAST), whole.read_packed("soc", window, FIRST, LAST))
    # and from a block that was run, of which the chunk is a part
    run(model, cube, store, blocks=[Block(3, 4)], years=[2019, 2020])
    seen = len(model.seen)
    assert queue.request(6, 5, 2020) == "there"
    assert queue.request(6, 5, 2021) == "queued"
    assert queue.wait(30)
    assert len(model.seen) == seen + 1
    assert len(model.spun_up) == 2
    window = store.chunk_window(6, 5)
    assert np.array_equal(store.read_packed("soc", window, FIRST, LAST), whole.read_packed("soc", window, FIRST, LAST))


def test_a_block_that_is_run_later_takes_the_place_of_its_chunks(
    cube: Cube, whole: Store, store: Store, queue: ChunkQueue
) -> None:
    queue.request(2, 2, 2019)
    assert queue.wait(30)
    assert run(ToyModel(), cube, store).computed == 12
    assert np.array_equal(store.read_packed("nee", EXTENT, FIRST, LAST), whole.read_packed("nee", EXTENT, FIRST, LAST))


def test_nothing_is_computed_where_nothing_can_be(queue: ChunkQueue) -> None:
    assert queue.request(0, 0, 2019) == "empty"
    assert queue.request(-1, 2, 2019) == "empty"
    assert queue.request(2, 99, 2019) == "empty"
    assert queue.request(2, 2, 1999) == "empty"
    assert queue.status().queued == 0


def test_a_chunk_with_few_cells_is_computed(whole: Store, store: Store, queue: ChunkQueue) -> None:
    assert queue.request(7, 6, 2019) == "queued"
    assert queue.wait(30)
    window = store.chunk_window(7, 6)
    found = store.read_counts("gpp", FIRST, window)
    assert 0 < (found != FILL).sum() < 64
    assert np.array_equal(found, whole.read_counts("gpp", FIRST, window))


def test_the_thread_outlives_faults_and_tells_them(store: Store, cube: Cube) -> None:
    class Broken(ToyModel):
        def predict(self, forcing, state=None):  # type: ignore[no-untyped-def]
            if forcing.weather.size and (forcing.static["clay"] < 160).any():
                raise ValueError("The soil is too sandy.")
            return super().predict(forcing, state)

    queue = ChunkQueue(store, cube, Broken())
    try:
        queue.request(2, 2, 2019)
        assert queue.wait(30)
        status = queue.status()
        assert (status.alive, status.failed, status.done) == (True, 1, 0)
        assert status.faults == (f"Chunk {store.chunk_name(2, 2)} to 2019: The soil is too sandy.",)
        assert queue.request(2, 2, 2019) == "failed"
        queue.request(6, 6, 2019)
        assert queue.wait(30)
        assert queue.status().done == 1
    finally:
        queue.close()
    assert not queue.status().alive
    assert queue.request(3, 3, 2019) == "closed"


def test_closing_does_not_wait_for_the_queue(store: Store, cube: Cube) -> None:
    class Slow(ToyModel):
        def predict(self, forcing, state=None):  # type: ignore[no-untyped-def]
            time.sleep(0.2)
            return super().predict(forcing, state)

    queue = ChunkQueue(store, cube, Slow())
    for col in range(2, 7):
        queue.request(2, col, 2021)
    began = time.monotonic()
    queue.close()
    assert time.monotonic() - began < 3
    assert not queue.status().alive
    assert queue.status().faults == ()


def test_another_process_sees_the_chunk_and_damage_to_it_is_a_sentence(
    store: Store, queue: ChunkQueue, tmp_path: Path
) -> None:
    reader = open_store(store.path, look_every=0.05)
    assert not reader.computed(2019)[2, 2]
    queue.request(2, 2, 2019)
    assert queue.wait(30)
    deadline = time.monotonic() + 2
    while not reader.computed(2019)[2, 2] and time.monotonic() < deadline:
        time.sleep(0.02)
    window = store.chunk_window(2, 2)
    assert (reader.read_counts("gpp", FIRST, window) != FILL).all()
    files = [p for p in (store.path / "overlay" / "2019").rglob("*") if "/c/" in str(p) and p.is_file()]
    assert len(files) == 4  # days and years, of the mean and of the members
    shutil.copytree(store.path, tmp_path / "copy")
    path = tmp_path / "copy" / "overlay/2019/daily/c/0/0/2/2"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(BadStore, match=r"daily/c/0/0/2/2 \(chunk c0010-0014, 2019\) is damaged.*Delete its marker"):
        open_store(tmp_path / "copy").read_counts("gpp", FIRST, window)
    path.unlink()
    with pytest.raises(BadStore, match="it is not there"):
        open_store(tmp_path / "copy").read_counts("gpp", FIRST, window)


def there_after(store: Store) -> int:
    return int((store.computed(2019) & store.occupied).sum())


def test_reading_goes_on_while_chunks_are_added(whole: Store, store: Store, queue: ChunkQueue) -> None:
    for row in range(2, 6):
        for col in range(1, 6):
            queue.request(row, col, 2019)
    expected = whole.read_packed("nee", EXTENT, FIRST, date(2019, 12, 31))
    stop = threading.Event()

    def read(_: int) -> int:
        reads = 0
        while not stop.is_set():
            found = store.read_packed("nee", EXTENT, FIRST, date(2019, 12, 31))
            there = found[0] != FILL
            assert np.array_equal(found[:, there], expected[:, there])
            reads += 1
        return reads

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read, k) for k in range(3)]
        done = queue.wait(60)
        stop.set()
        assert all(r.result() > 0 for r in readers)
    assert done
    assert there_after(store) == 20
    assert queue.status().done == 20
