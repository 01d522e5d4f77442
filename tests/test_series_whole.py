"""Large polygons, whose sums are made from those of whole chunks: the same to the last bit as cell by cell."""

from __future__ import annotations

import shutil
from contextlib import closing
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from fieldflux.tiles.cube import Cube
from fieldflux.tiles.grid import Block
from fieldflux.tiles.ondemand import ChunkQueue
from fieldflux.tiles.packing import FILL
from fieldflux.tiles.run import run
from fieldflux.tiles.store import Store, YearData, create_store, open_store
from fieldflux.tiles.sums import DailySums, daily_sums, member_sums, parts_of_store
from fieldflux.tiles.whole import cut_by_chunks, sums_by_chunks
from fieldflux.tiles.zonal import BadGeometry, Coverage, coverage
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from shapely import affinity
from shapely.geometry import Polygon, box

from .toy_cube import GRID, WINDOW, build_toy
from .toy_model import ToyModel

FIRST, LAST = date(2020, 2, 27), date(2020, 12, 31)
DAYS = (LAST - FIRST).days + 1
PARTS = ("gpp", "ra", "rh")
GROUPS = (PARTS, ("gpp",), ("rh",), ("et",))
MEMBERS = 2


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Cube:
    return build_toy(tmp_path_factory.mktemp("cube") / "toy.zarr", (2019, 2020))


@pytest.fixture(scope="module")
def whole(cube: Cube, tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = create_store(tmp_path_factory.mktemp("store") / "toy", ToyModel(), cube)
    assert run(ToyModel(), cube, made).faults == []
    return made


@pytest.fixture
def copied(whole: Store, tmp_path: Path) -> Path:
    shutil.copytree(whole.path, tmp_path / "copy")
    return tmp_path / "copy"


def turned(width: float, height: float, angle: float, x: float, y: float) -> Polygon:
    """A rectangle, sides in cells, around a place from the window's corner, in longitude and latitude."""
    plane = affinity.rotate(box(x - width / 2, y - height / 2, x + width / 2, y + height / 2), angle)
    at = np.array(plane.exterior.coords) + np.array([WINDOW.col0, WINDOW.row0])
    lon, lat = GRID.to_lonlat(GRID.x0 + at[:, 0] * GRID.size, GRID.y0 - at[:, 1] * GRID.size)
    return Polygon(np.column_stack([lon, lat]))


EVERYTHING = turned(120, 120, 0, 25, 27)


def cell_by_cell(store: Store, cover: Coverage, names: tuple[str, ...], members: bool) -> tuple[DailySums, ...]:
    parts = list(parts_of_store(store, cover, 2020, FIRST, LAST))
    return member_sums(parts, names, DAYS, MEMBERS) if members else (daily_sums(parts, names, DAYS),)


def same(cube: Cube, store: Store, cover: Coverage) -> bool:
    """Whether both ways say the same, to the last bit, of the mean and of each member."""
    cut = cut_by_chunks(store, cover, cube.mask(), cube.window)
    assert cut is not None
    for names in GROUPS:
        for members in (False, True) if names != ("et",) else (False,):
            short = sums_by_chunks(store, cut, names, FIRST, LAST, members)
            long = cell_by_cell(store, cover, names, members)
            for a, b in zip(short, long, strict=True):
                if not (np.array_equal(a.sums, b.sums) and np.array_equal(a.weight, b.weight)):
                    return False
    return True


def taken(cube: Cube, store: Store, cover: Coverage, names: tuple[str, ...] = PARTS, members: bool = True) -> int:
    """How many chunks' sums are made from those of all their cells."""
    cut = cut_by_chunks(store, cover, cube.mask(), cube.window)
    assert cut is not None
    at = np.flatnonzero(cut.from_whole)
    return int(store.read_chunk_sums(names, cut.rows[at], cut.cols[at], FIRST, LAST, members)[2].sum())


@settings(max_examples=15, deadline=None)
@given(st.floats(10, 70), st.floats(10, 70), st.floats(0, 90), st.floats(0, 50), st.floats(0, 55))
@example(120, 120, 0, 25, 27)
@example(40, 40, 0, 25, 27)
def test_sums_by_chunks_are_those_of_the_cells(
    cube: Cube, whole: Store, width: float, height: float, angle: float, x: float, y: float
) -> None:
    try:
        cover = coverage(turned(width, height, angle, x, y), GRID, cube.window, cube.mask())
    except BadGeometry:
        assume(False)
    assume(cover.cells >= 128)
    assert same(cube, whole, cover)


def test_of_chunks_that_are_covered_only_edges_are_read(cube: Cube, whole: Store) -> None:
    cover = coverage(EVERYTHING, GRID, cube.window, cube.mask())
    cut = cut_by_chunks(whole, cover, cube.mask(), cube.window)
    assert cut is not None
    # all cells with inputs are covered: nothing is left to be read, also where there is a hole
    assert cut.from_whole.all()
    assert set(cut.rest) == {None}
    assert taken(cube, whole, cover) == cut.rows.size == int(whole.occupied.sum())
    small = coverage(turned(20, 20, 30, 25, 27), GRID, cube.window, cube.mask())
    cut = cut_by_chunks(whole, small, cube.mask(), cube.window)
    assert cut is not None
    read = sum(c.weights.size for c in [*cut.covered, *cut.rest] if c is not None)
    assert 0 < read < 2 * 64 * cut.rows.size
    assert cut_by_chunks(whole, coverage(turned(6, 6, 30, 25, 27), GRID, cube.window), cube.mask(), cube.window) is None


def test_variables_valid_in_different_cells_are_read_cell_by_cell(cube: Cube, tmp_path: Path) -> None:
    model = ToyModel(extreme=9.0)
    store = create_store(tmp_path / "extreme", model, cube)
    run(model, cube, store)
    gpp, ra, _ = store.read_packed_together(PARTS, store.window, FIRST, LAST)
    assert ((gpp == FILL) != (ra == FILL)).any()
    cover = coverage(EVERYTHING, GRID, cube.window, cube.mask())
    assert taken(cube, store, cover) == 0 < taken(cube, store, cover, ("gpp",))
    assert same(cube, store, cover)


def test_a_store_of_before_sums_were_kept_says_the_same(cube: Cube, whole: Store, copied: Path) -> None:
    shutil.rmtree(copied / "sums")
    old = open_store(copied)
    cover = coverage(EVERYTHING, GRID, cube.window, cube.mask())
    assert taken(cube, old, cover) == 0
    assert same(cube, old, cover)
    # what is written from now on has sums
    old.forget(old.blocks[0], 2020)
    assert run(ToyModel(), cube, old).faults == []
    assert 0 < taken(cube, old, cover) < taken(cube, whole, cover)
    assert same(cube, old, cover)


def test_damaged_or_lost_sums_are_not_used(
    cube: Cube, whole: Store, copied: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cover = coverage(EVERYTHING, GRID, cube.window, cube.mask())
    files = sorted(p for p in (copied / "sums" / "2020" / "blocks").rglob("*") if p.is_file() and "c" in p.parts)
    files[0].write_bytes(files[0].read_bytes()[:-40] + bytes(40))
    files[1].unlink()
    damaged = open_store(copied)
    assert 0 < taken(cube, damaged, cover) < taken(cube, whole, cover)
    assert same(cube, damaged, cover)
    assert "damaged, cells are read instead" in caplog.text


def test_a_write_that_is_cut_short_leaves_no_sums_of_other_cells(
    cube: Cube, whole: Store, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fieldflux.tiles import writing as module

    cover = coverage(EVERYTHING, GRID, cube.window, cube.mask())
    writer, block = open_store(copied), whole.blocks[0]
    other = ToyModel(extreme=1.5)
    other_store = create_store(copied.parent / "other", other, cube)
    assert run(other, cube, other_store).faults == []
    data = data_of(other_store, block)
    replaced = []
    move = module.os.replace

    def stop(a: object, b: object) -> None:
        if "/c/" in str(b):
            if len(replaced) == 5:
                raise OSError("power cut")
            replaced.append(b)
        move(a, b)  # type: ignore[arg-type]

    monkeypatch.setattr(module.os, "replace", stop)
    with pytest.raises(OSError, match="power cut"):
        writer.write_block(block, 2020, data, whole.record(block, 2020), None)
    monkeypatch.undo()
    left = open_store(copied)
    assert taken(cube, left, cover) < taken(cube, whole, cover)
    assert same(cube, left, cover)
    left.write_block(block, 2020, data, whole.record(block, 2020), None)
    assert taken(cube, left, cover) == taken(cube, whole, cover)
    assert same(cube, left, cover)
    mended = sums_of_members(cube, left, cover)
    assert not np.array_equal(mended, sums_of_members(cube, whole, cover))


def test_chunks_computed_on_demand_have_sums(cube: Cube, whole: Store, tmp_path: Path) -> None:
    store = create_store(tmp_path / "store", ToyModel(), cube)
    cover = coverage(turned(21, 21, 0, 30, 27), GRID, cube.window, cube.mask())
    cut = cut_by_chunks(store, cover, cube.mask(), cube.window)
    assert cut is not None
    with closing(ChunkQueue(store, cube, ToyModel())) as queue:
        for row, col in zip(cut.rows.tolist(), cut.cols.tolist(), strict=True):
            queue.request(row, col, 2020)
        assert queue.wait(60)
    assert taken(cube, store, cover) == int(cut.from_whole.sum()) > 1
    assert same(cube, store, cover)
    assert np.array_equal(sums_of_members(cube, store, cover), sums_of_members(cube, whole, cover))
    # a block that is computed later is read instead of them
    assert run(ToyModel(), cube, store).faults == []
    assert taken(cube, store, cover) == int(cut.from_whole.sum())
    assert same(cube, store, cover)


def data_of(store: Store, block: Block) -> YearData:
    """What a store holds of a block in 2020, except the members' yearly values."""
    window, (first, last) = block.window(GRID), (date(2020, 1, 1), date(2020, 12, 31))
    annual = {name: store.read_year(name, window, 2020) for name in store.annual}
    return YearData(
        dict(zip(store.daily, store.read_packed_together(store.daily, window, first, last), strict=True)),
        annual | {f"{name}_year": store.read_year(name, window, 2020) for name in store.daily},
        dict(zip(PARTS, store.read_members(PARTS, window, first, last), strict=True)),
    )


def sums_of_members(cube: Cube, store: Store, cover: Coverage) -> np.ndarray:
    cut = cut_by_chunks(store, cover, cube.mask(), cube.window)
    assert cut is not None
    return np.stack([s.sums for s in sums_by_chunks(store, cut, PARTS, FIRST, LAST, True)])
