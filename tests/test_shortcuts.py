"""What a store keeps a second time: it says the same as the days, and older stores are brought up to date."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import closing
from datetime import date
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import xarray as xr
from fieldflux.app.cli import app
from fieldflux.tiles.cellsums import sums_of_cells
from fieldflux.tiles.cube import Cube
from fieldflux.tiles.ondemand import ChunkQueue
from fieldflux.tiles.packing import FILL, Counts
from fieldflux.tiles.run import run
from fieldflux.tiles.store import Store, create_store, open_store
from typer.testing import CliRunner

from .toy_cube import build_toy
from .toy_model import ToyModel

PARTS = ("gpp", "ra", "rh")
YEAR = 2020
FIRST, LAST = date(YEAR, 1, 1), date(YEAR, 12, 31)


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Cube:
    return build_toy(tmp_path_factory.mktemp("cube") / "toy.zarr", (2019, 2020))


@pytest.fixture(scope="module")
def whole(cube: Cube, tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = create_store(tmp_path_factory.mktemp("store") / "toy.zarr", ToyModel(), cube)
    assert run(ToyModel(), cube, made).faults == []
    return made


@pytest.fixture
def copied(whole: Store, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole.path, tmp_path / "toy.zarr"))


def days_by_squares(store: Store, names: Sequence[str], members: bool) -> list[Counts]:
    """[member, day, row, col] of the whole extent, put together from squares."""
    rows, cols = (a.reshape(-1) for a in np.indices(store.window.shape))
    under = store.squares_under(rows + store.window.row0, cols + store.window.col0)
    out = [np.full((store.members if members else 1, 366, *store.window.shape), 7, np.int16) for _ in names]
    for square in store.read_squares(names, under, YEAR, members):
        for k, counts in enumerate(square.counts):
            out[k][:, :, rows[square.cells], cols[square.cells]] = np.swapaxes(counts[:, square.at], 1, 2)
    return out


def same(store: Store) -> bool:
    """Whether squares hold what windows do, of the mean and of each member."""
    mean = store.read_packed_together(PARTS, store.window, FIRST, LAST)
    each = store.read_members(PARTS, store.window, FIRST, LAST)
    return all(
        np.array_equal(a[0], b) for a, b in zip(days_by_squares(store, PARTS, False), mean, strict=True)
    ) and all(np.array_equal(a, b) for a, b in zip(days_by_squares(store, PARTS, True), each, strict=True))


def test_squares_hold_the_days_of_mean_and_members(whole: Store) -> None:
    assert same(whole)
    (et,) = days_by_squares(whole, ("et",), False)
    assert np.array_equal(et[0], whole.read_packed("et", whole.window, FIRST, LAST))
    assert (et != FILL).any()
    assert (et == FILL).any()


def test_plain_xarray_reads_the_members_days(whole: Store) -> None:
    found = xr.open_zarr(whole.path / str(YEAR) / "members", consolidated=False, mask_and_scale=False)["gpp"]
    assert found.dims == ("member", "time", "y", "x")
    assert np.array_equal(found.values, whole.read_members(("gpp",), whole.window, FIRST, LAST)[0])


def test_chunks_on_demand_are_cut_for_series_too(cube: Cube, tmp_path: Path) -> None:
    store = create_store(tmp_path / "store", ToyModel(), cube)
    with closing(ChunkQueue(store, cube, ToyModel())) as queue:
        for row, col in np.argwhere(store.occupied)[:3].tolist():
            queue.request(row, col, YEAR)
        assert queue.wait(60)
    assert same(store)
    assert store.lacks_shortcuts() == 0
    shutil.rmtree(store.path / "series")
    shutil.rmtree(store.path / "sums")
    old = open_store(store.path)
    assert same(old)
    assert old.lacks_shortcuts() == old.bring_up_to_date(lambda _done, _of: None) > 0
    assert same(open_store(store.path))


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_an_older_store_is_brought_up_to_date_and_can_be_stopped(whole: Store, copied: Path) -> None:
    for name in ("series", "sums"):
        shutil.rmtree(copied / name)
    reader = open_store(copied, look_every=0)
    assert same(reader)
    edition, lacking = reader.edition, reader.lacks_shortcuts()
    assert lacking == len(whole.records()) > 2
    stop = Event()

    def told(done: int, of: int) -> None:
        assert of == lacking
        if done == 1:
            stop.set()

    assert open_store(copied).bring_up_to_date(told, stop) == 1
    assert reader.lacks_shortcuts() == lacking - 1
    assert same(reader)
    done = CliRunner().invoke(app, ["stores", "update", str(copied)])
    assert done.exit_code == 0, done.output
    assert reader.lacks_shortcuts() == 0
    for name in ("series", "sums"):
        assert files(copied / name) == files(whole.path / name)
    # readers are told, and no address of a map changes
    assert reader.edition == edition
    assert same(reader)
    assert open_store(copied).bring_up_to_date(lambda _done, _of: None) == 0


def test_damage_to_the_second_copy_costs_time_only(copied: Path, caplog: pytest.LogCaptureFixture) -> None:
    shards = sorted((copied / "series" / str(YEAR) / "blocks" / "c").rglob("*"))
    shard = next(p for p in shards if p.is_file())
    shard.write_bytes(shard.read_bytes()[:-20] + bytes(20))
    damaged = open_store(copied)
    assert same(damaged)
    assert "days are read instead" in caplog.text
    under = damaged.squares_under(np.array([damaged.window.row0]), np.array([damaged.window.col0]))
    sums = sums_of_cells(damaged, PARTS, under, np.ones(1), np.zeros(1, np.int64), 1, FIRST, LAST, False)
    assert sums[0][0].sums.shape == (3, 366)
