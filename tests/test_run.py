"""Runs: one path for blocks and cells, identical cells once, resume, cancel, pools, kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from datetime import date
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from fieldflux.models.contract import MissingInputs
from fieldflux.tiles import state as states
from fieldflux.tiles.cells import identical, run_cells, take_state
from fieldflux.tiles.cube import Cube, OutsideCube
from fieldflux.tiles.grid import Block, Window
from fieldflux.tiles.packing import FILL
from fieldflux.tiles.run import Progress, RunStopped, run, run_block
from fieldflux.tiles.state import BadState, CellState
from fieldflux.tiles.store import Store, create_store, open_store

from .toy_cube import UNKNOWN, WINDOW, build_toy
from .toy_model import ToyModel

YEARS = (2019, 2020, 2021)
EXTENT = Window(64, 128, 96, 160)
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Cube:
    return build_toy(tmp_path_factory.mktemp("cube") / "toy.zarr", YEARS)


@pytest.fixture(scope="module")
def whole(cube: Cube, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store that was run from end to end; not to be changed."""
    store = create_store(tmp_path_factory.mktemp("store") / "whole", ToyModel(), cube)
    assert run(ToyModel(), cube, store).faults == []
    return store


def same(one: Store, other: Store, years: tuple[int, ...] = YEARS) -> bool:
    """Whether two stores hold the same days and years of everything."""
    first, last = date(years[0], 1, 1), date(years[-1], 12, 31)
    days = all(
        np.array_equal(one.read_packed(n, EXTENT, first, last), other.read_packed(n, EXTENT, first, last))
        for n in one.daily
    )
    return days and all(
        np.array_equal(one.read_year(n, EXTENT, y), other.read_year(n, EXTENT, y), equal_nan=True)
        for n in one.variables
        for y in years
    )


# Cells


def test_identical_cells_are_run_once_and_give_what_each_gives_alone(cube: Cube) -> None:
    rows, cols = (a.ravel() for a in np.meshgrid(np.arange(82, 90), np.arange(115, 125), indexing="ij"))
    model = ToyModel()
    together = run_cells(model, cube, rows, cols, YEARS)
    assert together.computed < len(rows) / 4
    assert model.seen[-1] == together.computed
    for k in (0, 37, 79):
        alone = run_cells(ToyModel(), cube, rows[k : k + 1], cols[k : k + 1], YEARS)
        assert alone.computed == 1
        for name in together.daily:
            np.testing.assert_array_equal(alone.daily[name][:, 0], together.daily[name][:, k])
        for name in together.annual:
            np.testing.assert_array_equal(alone.annual[name][:, 0], together.annual[name][:, k])


def test_cells_differ_by_weather_soil_crop_and_given_gpp_alone(cube: Cube) -> None:
    cells = {
        "base": (82, 120),
        "alike": (83, 120),
        "weather": (82, 119),
        "soil": (82, 121),
        "crop": (81, 120),
        "given": (79, 145),
        "not given": (80, 145),
    }
    rows, cols = (list(a) for a in zip(*cells.values(), strict=True))
    forcing = cube.forcing(rows, cols, [2019, 2020])
    group, first = identical(forcing)
    of = dict(zip(cells, group.tolist(), strict=True))
    assert of["base"] == of["alike"]
    assert len({of[n] for n in cells if n != "alike"}) == 6
    assert (group[first] == np.arange(len(first))).all()
    # weather cells come in order, so that a batch holds few of them
    assert (np.diff(forcing.weather[first]) >= 0).all()
    past = np.array([0, 1, 0, 0, 0, 0, 0], np.int32)
    apart, _ = identical(forcing, past)
    assert apart[0] != apart[1]


def test_only_inputs_that_the_model_reads_make_cells_differ(cube: Cube) -> None:
    class Blind(ToyModel):
        @property
        def needs(self):  # type: ignore[no-untyped-def]
            return replace(super().needs, optional=())

    rows, cols = np.array([79, 80]), np.array([145, 145])
    assert run_cells(ToyModel(), cube, rows, cols, [2020]).computed == 2
    assert run_cells(Blind(), cube, rows, cols, [2020]).computed == 1


def test_asked_years_are_the_last_of_a_record_that_starts_with_the_cube(cube: Cube) -> None:
    rows, cols = np.array([85, 100]), np.array([110, 140])
    every = run_cells(ToyModel(), cube, rows, cols, YEARS)
    model = ToyModel()
    last = run_cells(model, cube, rows, cols, [2021], variables=["gpp", "nee", "yield"])
    assert model.spun_up == [YEARS]
    assert sorted(last.daily) == ["gpp", "nee"]
    assert sorted(last.annual) == ["yield"]
    assert last.start.isoformat() == "2021-01-01"
    np.testing.assert_array_equal(last.daily["nee"], every.daily["nee"][:, :, -365:])
    np.testing.assert_array_equal(last.annual["yield"][:, :, 0], every.annual["yield"][:, :, 2])
    np.testing.assert_array_equal(every.daily["nee"], every.daily["reco"] - every.daily["gpp"])


def test_batches_do_not_change_the_answer(cube: Cube) -> None:
    rows, cols = np.nonzero(cube.mask())
    rows, cols = rows + WINDOW.row0, cols + WINDOW.col0
    model = ToyModel()
    small = run_cells(model, cube, rows, cols, [2020], batch_bytes=1)
    assert max(model.seen) == 16
    large = run_cells(ToyModel(), cube, rows, cols, [2020])
    for name in small.daily:
        np.testing.assert_array_equal(small.daily[name], large.daily[name])


def test_an_unknown_crop_is_missing_and_flagged(cube: Cube) -> None:
    found = run_cells(ToyModel(), cube, np.array([UNKNOWN[0], 91]), np.array([UNKNOWN[1], 121]), [2020])
    assert found.flags["crop_unknown"].tolist() == [True, False]
    assert np.isnan(found.daily["gpp"][:, 0]).all()
    assert not np.isnan(found.daily["gpp"][:, 1]).any()


def test_years_and_cells_outside_the_cube_and_missing_inputs_are_sentences(cube: Cube) -> None:
    with pytest.raises(OutsideCube, match="no year 2022"):
        run_cells(ToyModel(), cube, np.array([85]), np.array([110]), [2022])
    with pytest.raises(OutsideCube, match="row 10, column 110"):
        run_cells(ToyModel(), cube, np.array([10]), np.array([110]), [2020])

    class Thirsty(ToyModel):
        @property
        def needs(self):  # type: ignore[no-untyped-def]
            return replace(super().needs, daily=("tmean", "vpd"))

    with pytest.raises(MissingInputs, match=r"needs vpd .* which the cube 'toy' does not have"):
        run_cells(Thirsty(), cube, np.array([85]), np.array([110]), [2020])


# Memory


def test_memory_survives_the_disk_and_can_be_taken_for_some_cells() -> None:
    group = np.array([0, 2, 1, 2], np.int32)
    pool = np.arange(6.0).reshape(2, 3)
    kept = CellState(date(2020, 12, 31), group, {"pool": pool, "layers": np.zeros((2, 3, 4), np.float32)})
    back = states.load(states.dump(kept), "here")
    assert back.day == kept.day
    assert np.array_equal(back.group, group)
    assert np.array_equal(back.arrays["pool"], pool)
    assert back.arrays["layers"].dtype == np.float32
    some = take_state(kept, np.array([3, 1]))
    assert np.array_equal(some.arrays["pool"][:, some.group], pool[:, [2, 2]])
    with pytest.raises(BadState, match="state there is damaged"):
        states.load(states.dump(kept)[:30], "there")


# Blocks


def test_a_block_is_run_once_and_remembers(cube: Cube, whole: Store, tmp_path: Path) -> None:
    store = create_store(tmp_path / "store", ToyModel(), cube)
    model, block = ToyModel(), Block(3, 3)
    first = run_block(model, cube, store, block, 2019)
    calls = len(model.seen)
    again = run_block(model, cube, store, block, 2019)
    assert len(model.seen) == calls
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(array[:, first.group], again.arrays[name][:, again.group])
    run_block(model, cube, store, block, 2020, first)
    assert len(model.spun_up) == 1
    # by the memory on the disk, as after a restart
    run_block(model, cube, open_store(store.path), block, 2021)
    assert len(model.spun_up) == 1
    assert np.array_equal(
        store.read_packed("soc", block.window(cube.grid), store_day(2021), store_day(2021)),
        whole.read_packed("soc", block.window(cube.grid), store_day(2021), store_day(2021)),
    )


def store_day(year: int) -> date:
    return date(year, 12, 31)


def test_a_late_year_alone_is_that_of_the_whole_run(cube: Cube, whole: Store, tmp_path: Path) -> None:
    store = create_store(tmp_path / "store", ToyModel(), cube)
    report = run(ToyModel(), cube, store, years=[2021])
    assert report.computed == 4
    assert not (store.path / "2019").exists()
    assert same(store, whole, (2021,))


# Runs


def test_a_run_tells_progress_and_what_it_did(cube: Cube, tmp_path: Path) -> None:
    store = create_store(tmp_path / "store", ToyModel(), cube)
    told: list[Progress] = []
    report = run(ToyModel(), cube, store, progress=told.append, batch_bytes=1)
    cells = int(cube.mask().sum())
    assert (report.computed, report.skipped, report.cells) == (12, 0, 3 * cells)
    assert report.flags == {"crop_unknown": 1}
    assert report.missing == 1
    assert report.different < report.cells / 10
    assert told[-1].cells_done == told[-1].cells_total == 3 * cells
    assert (told[-1].blocks_done, told[-1].blocks_total, told[-1].seconds_left) == (12, 12, 0.0)
    done = [p.cells_done for p in told]
    assert done == sorted(done)
    assert len(set(done)) > 12
    assert all(p.seconds_left is not None and p.seconds_left >= 0 for p in told if p.cells_done)
    spun = [p.spin_up for p in told if p.cells_done == 0]
    assert None in spun
    assert all(0 < share < 1 for share in spun if share is not None)
    assert len({share for share in spun if share is not None}) > 1
    assert any("1 cell-years carry the flag 'crop_unknown'" in s for s in report.sentences())
    again = run(ToyModel(), cube, store, progress=told.append)
    assert (again.computed, again.skipped) == (0, 12)


def test_values_that_do_not_fit_are_missing_and_reported(cube: Cube, tmp_path: Path) -> None:
    model = ToyModel(1, extreme=8.0)
    store = create_store(tmp_path / "store", model, cube)
    report = run(model, cube, store, blocks=[Block(2, 3)], years=[2019])
    rows, cols = Window(80, 96, 104, 128).cells()
    said = run_cells(model, cube, rows, cols, [2019]).daily["gpp"][0]
    lost = np.abs(np.rint(said.astype(float) / 0.002)) > 32767
    assert 0 < lost.sum() < lost.size
    found = store.read_packed("gpp", Window(80, 96, 104, 128), date(2019, 1, 1), date(2019, 12, 31))
    assert np.array_equal((found == FILL).reshape(365, -1).T, lost)
    nee = store.read_packed("nee", Window(80, 96, 104, 128), date(2019, 1, 1), date(2019, 12, 31))
    assert (nee[found == FILL] == FILL).all()
    year = store.read_year("gpp", Window(80, 96, 104, 128), 2019)
    assert np.array_equal(np.isnan(year).ravel(), lost.any(axis=1))
    assert report.saturated["gpp"] >= lost.sum()
    assert report.outside["gpp"] > 0
    assert store.record(Block(2, 3), 2019).saturated == dict(report.saturated)
    assert any("daily values of gpp are too large to be packed" in s for s in report.sentences())


def test_a_cancelled_run_stops_between_batches_and_resumes(cube: Cube, whole: Store, tmp_path: Path) -> None:
    store = create_store(tmp_path / "store", ToyModel(), cube)
    cancel = Event()

    def stop_in_the_second_block(progress: Progress) -> None:
        if progress.blocks_done == 3 and progress.cells_done > 0:
            cancel.set()

    report = run(ToyModel(), cube, store, progress=stop_in_the_second_block, cancel=cancel, batch_bytes=1)
    assert report.cancelled
    assert 3 <= report.computed < 12
    assert any("cancelled" in s for s in report.sentences())
    rest = run(ToyModel(), cube, store)
    assert (rest.computed, rest.skipped) == (12 - report.computed, report.computed)
    assert same(store, whole)


def test_a_fault_of_one_block_is_reported_and_others_go_on(cube: Cube, tmp_path: Path) -> None:
    class Fragile(ToyModel):
        def predict(self, forcing, state=None):  # type: ignore[no-untyped-def]
            if forcing.start.year == 2020 and (forcing.static["clay"] < 160).any():
                raise ValueError("The soil is too sandy.")
            return super().predict(forcing, state)

    store = create_store(tmp_path / "store", Fragile(), cube)
    report = run(Fragile(), cube, store, years=[2019, 2020])
    assert report.faults
    assert all(s.startswith("Block b00") and s.endswith("2020: The soil is too sandy.") for s in report.faults)
    assert report.computed + len(report.faults) == 8
    assert store.complete(Block(2, 3), 2019)
    assert not store.complete(Block(2, 3), 2020)


def test_blocks_and_years_that_are_not_there_are_sentences(cube: Cube, whole: Store) -> None:
    with pytest.raises(RunStopped, match="Block b009-009 lies outside"):
        run(ToyModel(), cube, whole, blocks=[Block(9, 9)])
    with pytest.raises(RunStopped, match="no year 2030; it covers 2019 to 2021"):
        run(ToyModel(), cube, whole, years=[2030])


def test_a_pool_gives_the_same_store_and_survives_a_cancel(cube: Cube, whole: Store, tmp_path: Path) -> None:
    store = create_store(tmp_path / "store", ToyModel(), cube)
    cancel = Event()
    told: list[Progress] = []

    def stop_soon(progress: Progress) -> None:
        told.append(progress)
        if progress.cells_done:
            cancel.set()

    report = run(ToyModel(), cube, store, workers=2, load=ToyModel, progress=stop_soon, cancel=cancel)
    assert report.cancelled
    assert len(store.records()) < 12
    report = run(ToyModel(), cube, store, workers=2, load=ToyModel, progress=told.append)
    assert not report.cancelled
    assert report.faults == []
    assert told[-1].cells_done == told[-1].cells_total
    assert same(store, whole)


def dying_model() -> ToyModel:
    """As a worker whose memory ran out."""
    os.kill(os.getpid(), signal.SIGKILL)
    return ToyModel()


def test_a_worker_that_the_system_ends_is_a_sentence(cube: Cube, tmp_path: Path) -> None:
    store = create_store(tmp_path / "store", ToyModel(), cube)
    with pytest.raises(RunStopped, match=r"memory ran out with 2 workers.*Start again with fewer"):
        run(ToyModel(), cube, store, workers=2, load=dying_model)


KILLED = """
import sys
from pathlib import Path
from fieldflux.tiles import store as stores
from fieldflux.tiles.cube import open_cube
from fieldflux.tiles.run import run
from tests.toy_model import ToyModel
cube = open_cube(sys.argv[1])
store = stores.open_or_create_store(sys.argv[2], ToyModel(), cube)
print("begun", flush=True)
run(ToyModel(), cube, store, batch_bytes=1)
"""


def test_a_run_that_is_killed_is_never_half_read_and_resumes(cube: Cube, whole: Store, tmp_path: Path) -> None:
    path = tmp_path / "store"
    rng = np.random.default_rng(0)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    killed = 0
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(KILLED), str(cube.path), str(path)],
            stdout=subprocess.PIPE,
            env=env,
            cwd=ROOT,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        time.sleep(float(rng.uniform(0.2, 1.0)))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        # whatever is marked is whole and right, whatever is not reads as missing
        store = open_store(path)
        for block in store.blocks:
            for year in YEARS:
                window = block.window(store.grid)
                found = store.read_packed("nee", window, date(year, 1, 1), date(year, 12, 31))
                expected = whole.read_packed("nee", window, date(year, 1, 1), date(year, 12, 31))
                assert np.array_equal(found, expected if store.complete(block, year) else np.full_like(found, FILL))
    assert killed >= 1
    run(ToyModel(), cube, open_store(path))
    assert same(open_store(path), whole)


def test_a_kill_between_the_shards_and_the_marker_leaves_the_block_unread(
    cube: Cube, whole: Store, tmp_path: Path
) -> None:
    path = tmp_path / "store"
    code = KILLED.replace(
        "cube = open_cube",
        "import os, signal\n"
        "whole = os.replace\n"
        "count = 0\n"
        "def die(source, target):\n"
        "    global count\n"
        "    count += '/2019/' in str(target) and '/c/' in str(target)\n"
        "    if count == 30: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return whole(source, target)\n"
        "os.replace = die\n"
        "cube = open_cube",
        1,
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", code, str(cube.path), str(path)], env=env, cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL
    store = open_store(path)
    coordinates = ("x/c", "y/c", "time/c", "member/c")
    files = [str(p) for p in (path / "2019").rglob("*") if "/c/" in str(p) and p.is_file()]
    shards = [p for p in files if not any(f"/{c}/" in p for c in coordinates)]
    assert len(shards) == 29
    assert not store.complete(store.blocks[0], 2019)
    first = store.blocks[0].window(store.grid)
    assert (store.read_counts("gpp", store_day(2019), first) == FILL).all()
    # what the killed process left is swept when it is old
    left = list((path / ".unfinished").iterdir())
    assert left
    os.utime(left[0], (0, 0))
    run(ToyModel(), cube, store, blocks=[store.blocks[0]], years=[2019])
    assert not left[0].exists()
    for name in store.daily:
        found = store.read_packed(name, first, date(2019, 1, 1), date(2019, 12, 31))
        assert np.array_equal(found, whole.read_packed(name, first, date(2019, 1, 1), date(2019, 12, 31)))
