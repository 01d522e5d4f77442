"""The output store: packing, identities, reading, CF metadata, damage, closed and full disks."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from fieldflux.models.variables import VARIABLES
from fieldflux.tiles import packing, pyramid
from fieldflux.tiles.cells import run_cells
from fieldflux.tiles.cube import Cube
from fieldflux.tiles.grid import Block, Window
from fieldflux.tiles.run import run
from fieldflux.tiles.store import (
    BadStore,
    Store,
    StoreFull,
    StoreReadOnly,
    WrongStore,
    create_store,
    open_or_create_store,
    open_store,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from .toy_cube import HOLE, WINDOW, build_toy
from .toy_model import ToyModel

FIRST, LAST = date(2019, 1, 1), date(2020, 12, 31)
EXTENT = Window(64, 128, 96, 160)


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Cube:
    return build_toy(tmp_path_factory.mktemp("cube") / "toy.zarr", (2019, 2020))


@pytest.fixture(scope="module")
def whole(cube: Cube, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store that was run from end to end; not to be changed."""
    store = create_store(tmp_path_factory.mktemp("store") / "whole", ToyModel(), cube)
    assert run(ToyModel(), cube, store).faults == []
    return store


@pytest.fixture
def copied(whole: Store, tmp_path: Path) -> Path:
    """A copy of that store, to be damaged."""
    shutil.copytree(whole.path, tmp_path / "copy")
    return tmp_path / "copy"


# Packing


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.floats(-80, 80, width=32) | st.just(float("nan")), min_size=1, max_size=40))
def test_a_packed_value_is_half_a_step_off_at_most_or_missing_and_told(values: list[float]) -> None:
    array = np.array([values], np.float32)
    counts, lost, outside = packing.pack("nee", array)
    back = packing.unpack("nee", counts)[:, 0]
    fits = np.abs(np.rint(array[0].astype(float) / 0.002)) <= 32767
    assert np.isnan(back[~fits]).all()
    np.testing.assert_allclose(back[fits], array[0][fits], atol=0.00101)
    assert lost[0] == np.count_nonzero(np.abs(np.rint(array[0].astype(float) / 0.002)) > 32767)
    assert outside[0] == np.count_nonzero(fits & (np.abs(array[0]) > 60.001))


def test_the_largest_counts_are_kept_and_nothing_wraps_around() -> None:
    values = np.array([[65.534, 65.536, -65.534, -65.536, np.inf]], np.float32)
    counts, lost, _ = packing.pack("nee", values)
    assert counts[:, 0].tolist() == [32767, -32768, -32767, -32768, -32768]
    assert lost.tolist() == [3]


@settings(deadline=None)
@given(st.data())
def test_sums_of_counts_that_do_not_fit_are_missing(data: st.DataObject) -> None:
    some = st.lists(st.integers(-32768, 32767), min_size=8, max_size=8)
    a, b = (np.array([data.draw(some)], np.int16) for _ in range(2))
    total = packing.plus(a, b)
    exact = a.astype(int) + b.astype(int)
    missing = (a == packing.FILL) | (b == packing.FILL) | (np.abs(exact) > 32767)
    assert np.array_equal(total, np.where(missing, packing.FILL, exact))
    told = packing.did_not_fit(a, b, total)
    assert np.array_equal(told, ((np.abs(exact) > 32767) & (a != packing.FILL) & (b != packing.FILL)).sum(axis=0))


def test_small_and_large_arrays_of_counts_are_combined_alike() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(-32768, 32768, (2, 3, 400_000), dtype=np.int16)
    a[rng.random(a.shape) < 0.1] = packing.FILL
    for combine in (packing.plus, packing.minus):
        parts = [combine(a[:, k : k + 100_000], b[:, k : k + 100_000]) for k in range(0, 400_000, 100_000)]
        assert np.array_equal(combine(a, b), np.concatenate(parts, axis=1))


def test_a_variable_without_a_step_cannot_be_packed() -> None:
    with pytest.raises(packing.NotPackable, match="'tmean' has no step"):
        packing.pack("tmean", np.zeros((1, 1), np.float32))


def test_a_year_of_counts_is_summed_exactly_and_missing_where_a_day_is() -> None:
    counts = np.full((365, 3), 30000, np.int16)
    counts[100, 1] = packing.FILL
    counts[-1, 2] = 5
    assert packing.over_year("gpp", counts)[0] == 365 * 30000 * 0.002
    assert np.isnan(packing.over_year("gpp", counts)[1])
    assert packing.over_year("soc", counts)[2] == 5 * 2.0
    assert packing.over_year("le", counts)[0] == 30000 * 0.05


# Pyramid


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_each_level_is_the_mean_of_the_valid_cells_below(seed: int, gaps: float) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(-32767, 32768, (2, 16, 32), dtype=np.int16)
    counts[rng.random(counts.shape) < gaps] = packing.FILL
    for level, means in pyramid.count_levels(counts, (1, 2, 3, 4)):
        n = 2**level
        for (day, i, j), found in np.ndenumerate(means):
            cells = counts[day, i * n : (i + 1) * n, j * n : (j + 1) * n].astype(float)
            valid = cells[cells != packing.FILL]
            assert found == (np.rint(valid.mean()) if valid.size else packing.FILL)
        assert np.array_equal(pyramid.coarse_counts(counts[0], level), means[0])


# Reading


def test_the_store_reads_what_the_model_said(cube: Cube, whole: Store) -> None:
    window = Window(84, 92, 118, 130)  # over the edge of two blocks
    rows, cols = window.cells()
    said = run_cells(ToyModel(), cube, rows, cols, (2019, 2020))
    for name in whole.daily:
        mean = said.daily[name].mean(axis=0).T.reshape(731, *window.shape)
        # reco and nee are made of two and three rounded fluxes
        steps = {"reco": 1.0, "nee": 1.5}.get(name, 0.5)
        found = whole.read_days(name, window, FIRST, LAST)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, mean, atol=steps * VARIABLES[name].step * 1.01 + 1e-3 * (name == "soc"))
    for k, year in enumerate((2019, 2020)):
        mean = said.annual["yield"][:, :, k].mean(axis=0).reshape(window.shape)
        np.testing.assert_allclose(whole.read_year("yield", window, year), mean, rtol=1e-6)
        mean = said.annual["delta_soc"][:, :, k].mean(axis=0).reshape(window.shape)
        np.testing.assert_allclose(whole.read_year("delta_soc", window, year), mean, atol=0.6)


def test_days_are_those_of_the_calendar_across_years_and_outside(whole: Store) -> None:
    window = Window(100, 103, 110, 115)
    all_days = whole.read_packed("gpp", window, date(2018, 12, 30), date(2021, 1, 2))
    assert all_days.shape == (2 + 365 + 366 + 2, 3, 5)
    assert (all_days[[0, 1, -1, -2]] == packing.FILL).all()
    assert (all_days[2:-2] != packing.FILL).all()
    leap = (date(2020, 2, 29) - date(2018, 12, 30)).days
    assert np.array_equal(whole.read_counts("gpp", date(2020, 2, 29), window), all_days[leap])
    assert np.array_equal(whole.read_packed("gpp", window, date(2019, 12, 31), date(2020, 1, 1)), all_days[366:368])


def test_identities_hold_exactly_on_counts_at_every_level_and_member(whole: Store) -> None:
    def exact(gpp: np.ndarray, ra: np.ndarray, rh: np.ndarray, reco: np.ndarray, nee: np.ndarray) -> None:
        there = gpp != packing.FILL
        assert there.any()
        assert np.array_equal(reco[there].astype(int), ra[there].astype(int) + rh[there])
        assert np.array_equal(nee[there].astype(int), reco[there].astype(int) - gpp[there])
        assert (nee[~there] == packing.FILL).all()

    fluxes = ("gpp", "ra", "rh", "reco", "nee")
    for member in (None, 0, 1):
        exact(*(whole.read_packed(n, EXTENT, FIRST, LAST, member) for n in fluxes))
    for level in whole.levels:
        n = 2**level
        window = Window(64 // n, 128 // n, 96 // n, 160 // n)
        exact(*(whole.read_counts(v, date(2020, 7, 1), window, level) for v in fluxes))


def test_yearly_values_follow_from_the_stored_days(whole: Store) -> None:
    for year in (2019, 2020):
        first, last = date(year, 1, 1), date(year, 12, 31)
        for member in (None, 1):
            days = {n: whole.read_days(n, EXTENT, first, last, member).astype(float) for n in ("gpp", "ra", "nee")}
            harvest = whole.read_year("yield", EXTENT, year, member).astype(float)
            total = {n: (np.rint(a / 0.002) * 0.002).sum(axis=0) for n, a in days.items()}
            for name, expected in (
                ("gpp", total["gpp"]),
                ("nee", total["nee"]),
                ("delta_soc", -total["nee"] - harvest),
                ("residue", total["gpp"] - total["ra"] - harvest),
            ):
                found = whole.read_year(name, EXTENT, year, member)
                np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-4)
    soc = whole.read_year("soc", EXTENT, 2020)
    np.testing.assert_array_equal(soc, whole.read_days("soc", EXTENT, LAST, LAST)[0])
    moist = whole.read_days("soil_moisture", EXTENT, date(2019, 1, 1), date(2019, 12, 31)).astype(float)
    np.testing.assert_allclose(whole.read_year("soil_moisture", EXTENT, 2019), moist.mean(axis=0), rtol=1e-5)


def test_the_mean_of_members_is_the_value_served(whole: Store) -> None:
    one, two = (whole.read_days("ra", EXTENT, FIRST, LAST, m) for m in (0, 1))
    np.testing.assert_allclose(whole.read_days("ra", EXTENT, FIRST, LAST), (one + two) / 2, atol=0.0021)
    assert np.nanmax(two - one) > 0.1


def test_cells_outside_the_cube_without_soil_or_with_an_unknown_crop_are_missing(cube: Cube, whole: Store) -> None:
    gpp = whole.read_counts("gpp", date(2020, 7, 1), EXTENT)
    expected = np.zeros(EXTENT.shape, bool)
    expected[WINDOW.slices(EXTENT)] = cube.mask()
    expected[90 - 64, 120 - 96] = False
    assert np.array_equal(gpp != packing.FILL, expected)
    record = whole.record(Block(2, 3), 2020)
    assert record.flags == {"crop_unknown": 1}
    assert record.missing == 1
    assert np.isnan(whole.read_year("yield", Window(90, 91, 120, 121), 2020)).all()
    beyond = whole.read_days("gpp", Window(0, 3, 0, 4), FIRST, FIRST)
    assert beyond.shape == (1, 3, 4)
    assert np.isnan(beyond).all()


def test_levels_are_area_means_of_days_and_years(whole: Store) -> None:
    cells = whole.read_counts("et", date(2019, 6, 1), EXTENT)
    years = whole.read_year("yield", EXTENT, 2019)
    for level in (1, 2, 3, 4):
        n = 2**level
        window = Window(64 // n, 128 // n, 96 // n, 160 // n)
        assert np.array_equal(
            whole.read_counts("et", date(2019, 6, 1), window, level), pyramid.coarse_counts(cells, level)
        )
        found = whole.read_year("yield", window, 2019, level=level)
        np.testing.assert_array_equal(found, pyramid.coarse_values(years, level))
        part = Window(window.row0 + 1, window.row1, window.col0, window.col1 - 1)
        np.testing.assert_array_equal(whole.read_year("yield", part, 2019, level=level), found[1:, :-1])


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda s: s.read_days("snow", EXTENT, FIRST, LAST), "no variable 'snow'; it has: gpp"),
        (lambda s: s.read_days("nonsense", EXTENT, FIRST, LAST), "no variable 'nonsense'"),
        (lambda s: s.read_days("yield", EXTENT, FIRST, LAST), "one value a year"),
        (lambda s: s.read_days("gpp", EXTENT, LAST, FIRST), "lies before the first"),
        (lambda s: s.read_days("gpp", EXTENT, FIRST, LAST, 2), "no member 2; members are 0 to 1"),
        (lambda s: s.read_days("et", EXTENT, FIRST, LAST, 1), "not for 'et'"),
        (lambda s: s.read_counts("gpp", FIRST, EXTENT, 5), "no level 5"),
        (lambda s: s.record(Block(9, 9), 2019), "cannot be read"),
    ],
)
def test_what_a_store_does_not_hold_is_a_sentence(whole: Store, ask, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=words) as caught:
        ask(whole)
    assert str(caught.value).endswith(".")


def test_a_single_model_has_no_members_group_and_member_0_is_itself(cube: Cube, tmp_path: Path) -> None:
    store = create_store(tmp_path / "one", ToyModel(1), cube)
    run(ToyModel(1), cube, store, blocks=[Block(2, 3)], years=[2019])
    assert not (store.path / "2019" / "members").exists()
    for name in ("nee", "et"):
        assert np.array_equal(
            store.read_packed(name, EXTENT, FIRST, FIRST, 0), store.read_packed(name, EXTENT, FIRST, FIRST)
        )


# Other programs


def test_plain_xarray_reads_values_units_times_and_place(whole: Store) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = xr.open_zarr(whole.path, group="2020")
    assert found.attrs["Conventions"] == "CF-1.10"
    assert found.sizes == {"time": 366, "y": 64, "x": 64}
    assert found.time.values[59] == np.datetime64("2020-02-29")
    assert found.time.values[-1] == np.datetime64("2020-12-31")
    gpp = found["gpp"]
    assert gpp.attrs["units"] == "gC m-2 d-1"
    assert gpp.attrs["long_name"] == "gross primary production"
    assert gpp.attrs["standard_name"] == "gross_primary_productivity_of_biomass_expressed_as_carbon"
    assert gpp.attrs["cell_methods"] == "time: mean area: mean"
    assert gpp.encoding["scale_factor"] == 0.002
    day = whole.read_days("gpp", EXTENT, date(2020, 7, 1), date(2020, 7, 1))[0]
    np.testing.assert_allclose(gpp.sel(time="2020-07-01").values, day, rtol=1e-6)
    assert np.isnan(gpp.values[:, 0, 0]).all()
    np.testing.assert_array_equal(found["yield"].values, whole.read_year("yield", EXTENT, 2020))
    assert found["gpp_year"].attrs["units"] == "gC m-2"
    np.testing.assert_array_equal(found["gpp_year"].values, whole.read_year("gpp", EXTENT, 2020))
    x, y = whole.grid.centres(np.array([64, 127]), np.array([96, 159]))
    assert found.x.values[[0, -1]].tolist() == x.tolist()
    assert found.y.values[[0, -1]].tolist() == y.tolist()
    import pyproj

    place = found["spatial_ref"].attrs
    assert found["gpp"].attrs["grid_mapping"] == "spatial_ref"
    assert pyproj.CRS.from_wkt(place["crs_wkt"]) == pyproj.CRS("EPSG:5070")
    corner = [float(p) for p in place["GeoTransform"].split()]
    assert corner == [x[0] - 125.0, 250.0, 0.0, y[0] + 125.0, 0.0, -250.0]
    level = xr.open_zarr(whole.path, group="2020/level2")
    assert level.sizes == {"time": 366, "y": 16, "x": 16}
    assert level.x.values[0] == x[0] + 1.5 * 250.0
    members = xr.open_zarr(whole.path, group="2020/members")
    np.testing.assert_allclose(
        members["gpp"].sel(member=1, time="2020-07-01").values,
        whole.read_days("gpp", EXTENT, date(2020, 7, 1), date(2020, 7, 1), 1)[0],
        rtol=1e-6,
    )


# What it came from


def test_the_manifest_tells_model_cube_code_and_blocks(cube: Cube, whole: Store) -> None:
    used = whole.manifest
    assert (used.model.id, used.model.weights_sha256, used.model.members) == ("toy/1", "a" * 64, 2)
    assert (used.cube.id, used.cube.hash, used.cube.synthetic) == ("toy", cube.hash, True)
    assert used.code.startswith("0.")
    records = whole.records()
    assert [(r.name, r.year) for r in records] == sorted(
        (b.name, y) for b in (Block(2, 3), Block(2, 4), Block(3, 3), Block(3, 4)) for y in (2019, 2020)
    )
    assert sum(r.cells for r in records) == 2 * cube.mask().sum()
    assert all(r.seconds > 0 and r.made and r.code == used.code for r in records)


def test_another_model_other_weights_or_another_cube_is_refused(cube: Cube, whole: Store, tmp_path: Path) -> None:
    assert open_store(whole.path, ToyModel(), cube).snapshot == whole.snapshot
    with pytest.raises(WrongStore, match="weights aaaaaaaaaaaa…, not by 'toy/1' with weights bbbbbbbbbbbb…"):
        open_store(whole.path, ToyModel(weights="b" * 64))
    other = build_toy(tmp_path / "other.zarr", (2019, 2020), seed=2)
    with pytest.raises(WrongStore, match="from cube 'toy' with content"):
        open_or_create_store(whole.path, ToyModel(), other)
    with pytest.raises(BadStore, match="something is there already"):
        create_store(whole.path, ToyModel(), cube)


def test_a_missing_damaged_or_newer_manifest_is_a_sentence(copied: Path, tmp_path: Path) -> None:
    with pytest.raises(BadStore, match="There is no store at"):
        open_store(tmp_path / "nothing")
    text = (copied / "manifest.json").read_text()
    for changed, words in (
        (text[: len(text) // 2], "is damaged"),
        ("[]", "is damaged"),
        (text.replace('"format": 1', '"format": 9'), "of format 9"),
        (text.replace('"weights_sha256"', '"wheights"'), "is damaged: model"),
    ):
        (copied / "manifest.json").write_text(changed)
        with pytest.raises(BadStore, match=words):
            open_store(copied)


# Damage


SHARD = "2019/gpp/c/0/0/1"


@pytest.mark.parametrize("harm", ["cut", "emptied", "bit", "gone"])
def test_a_damaged_shard_names_file_block_and_remedy_and_a_run_mends_it(
    cube: Cube, whole: Store, copied: Path, harm: str
) -> None:
    path = copied / SHARD
    blob = path.read_bytes()
    if harm == "gone":
        path.unlink()
    else:
        flipped = blob[:2000] + bytes([blob[2000] ^ 1]) + blob[2001:]
        path.write_bytes({"cut": blob[: len(blob) // 2], "emptied": b"", "bit": flipped}[harm])
    store = open_store(copied)
    with pytest.raises(BadStore) as caught:
        store.read_days("gpp", EXTENT, FIRST, LAST)
    sentence = str(caught.value)
    marker = copied / "blocks" / "2019" / "b002-004.json"
    for part in (str(path), "block b002-004, 2019", f"Delete its marker {marker}", "run the model again"):
        assert part in sentence
    assert "zarr3" not in sentence
    # its neighbours and other years can still be read
    assert (store.read_packed("gpp", Window(90, 95, 110, 115), FIRST, LAST) != packing.FILL).all()
    assert (store.read_packed("gpp", Window(90, 92, 130, 135), date(2020, 1, 1), LAST) != packing.FILL).all()
    marker.unlink()
    report = run(ToyModel(), cube, open_store(copied))
    assert (report.computed, report.skipped) == (1, 7)
    again = open_store(copied)
    assert np.array_equal(again.read_packed("gpp", EXTENT, FIRST, LAST), whole.read_packed("gpp", EXTENT, FIRST, LAST))
    # and a reader that was open all the time sees the mended block
    store._next_look = 0.0
    assert np.array_equal(store.read_packed("gpp", EXTENT, FIRST, LAST), again.read_packed("gpp", EXTENT, FIRST, LAST))


def test_damaged_metadata_and_records_are_sentences(copied: Path) -> None:
    (copied / "2019" / "gpp" / "zarr.json").write_text("{")
    with pytest.raises(BadStore, match=r"2019/gpp/zarr.json is missing or damaged.*Delete the folders 2019"):
        open_store(copied).read_counts("gpp", FIRST, EXTENT)
    (copied / "blocks" / "2020" / "b002-003.json").write_text("{")
    with pytest.raises(BadStore, match=r"b002-003.json is damaged. Delete it"):
        open_store(copied).records()


def test_a_damaged_state_only_costs_time(cube: Cube, whole: Store, copied: Path) -> None:
    store = open_store(copied)
    store.forget(Block(2, 3), 2020)
    path = copied / "states" / "2019" / "b002-003.safetensors"
    path.write_bytes(path.read_bytes()[:50])
    assert run(ToyModel(), cube, store).computed == 1
    assert np.array_equal(store.read_packed("nee", EXTENT, FIRST, LAST), whole.read_packed("nee", EXTENT, FIRST, LAST))


# Closed and full disks


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of root, who may write anywhere."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def closed(whole: Store) -> Iterator[Path]:
    """A copy of the store, without its last block, that may be read and not be written."""
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        shutil.copytree(whole.path, folder / "store")
        open_store(folder / "store").forget(Block(3, 4), 2020)
        for path in (folder / "store", *(folder / "store").rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield folder / "store"
    finally:
        for path in (folder / "store", *(folder / "store").rglob("*")):
            path.chmod(0o755)
        shutil.rmtree(folder)


def test_a_read_only_store_is_read_and_writing_it_is_a_sentence(cube: Cube, closed: Path) -> None:
    store = open_store(closed, ToyModel(), cube)
    with as_nobody():
        assert (store.read_counts("gpp", FIRST, Window(90, 95, 110, 115)) != packing.FILL).all()
        with pytest.raises(StoreReadOnly, match=r"cannot be written in .*write permission"):
            run(ToyModel(), cube, store)
        with pytest.raises(StoreReadOnly, match="A new store cannot be written"):
            create_store(closed.parent / "new", ToyModel(), cube)
    assert not store.complete(Block(3, 4), 2020)


@contextlib.contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """As if the disk ended there: larger files fail to be written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [2_000, 60_000])
def test_a_file_that_may_not_grow_is_a_sentence_and_leaves_the_store_as_it_was(
    cube: Cube, whole: Store, copied: Path, room: int
) -> None:
    store = open_store(copied)
    store.forget(Block(3, 4), 2020)
    before = store.snapshot
    with files_up_to(room), pytest.raises(StoreFull, match="no room left for new data"):
        run(ToyModel(), cube, store)
    assert not store.complete(Block(3, 4), 2020)
    assert store.snapshot == before
    assert list((copied / ".unfinished").iterdir()) == []
    assert run(ToyModel(), cube, store).computed == 1
    assert np.array_equal(store.read_packed("gpp", EXTENT, FIRST, LAST), whole.read_packed("gpp", EXTENT, FIRST, LAST))


def test_a_full_disk_is_a_sentence_and_leaves_the_store_as_it_was(cube: Cube, tmp_path: Path) -> None:
    if shutil.which("mount") is None or os.geteuid():
        pytest.skip("needs a small file system of its own, which only root can mount")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no small file system can be mounted here")
    try:
        store = create_store(disk / "store", ToyModel(), cube)
        with pytest.raises(StoreFull, match="No space left on device"):
            run(ToyModel(), cube, store)
        done = len(store.records())
        assert 0 < done < 8
        again = open_store(disk / "store")
        for record in store.records():
            row, col = (int(p) for p in record.name[1:].split("-"))
            assert again.complete(Block(row, col), record.year)
        assert (again.read_counts("gpp", FIRST, Window(90, 95, 110, 115)) != packing.FILL).all()
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        report = run(ToyModel(), cube, again)
        assert (report.computed, report.skipped) == (8 - done, done)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# News


def test_a_reader_sees_what_another_writes_and_its_snapshot_changes(cube: Cube, tmp_path: Path) -> None:
    writer = create_store(tmp_path / "store", ToyModel(), cube)
    reader = open_store(tmp_path / "store", look_every=0.05)
    window = Window(84, 86, 110, 115)
    empty = reader.snapshot
    assert (reader.read_packed("gpp", window, FIRST, LAST) == packing.FILL).all()
    assert reader.computed(2019).sum() == (~reader.occupied).sum()
    run(ToyModel(), cube, writer, blocks=[Block(2, 3)], years=[2019])
    deadline = time.monotonic() + 2
    while reader.snapshot == empty and time.monotonic() < deadline:
        time.sleep(0.01)
    assert reader.snapshot not in ("", empty)
    assert reader.snapshot == writer.snapshot
    found = reader.read_packed("gpp", window, FIRST, LAST)
    assert (found[:365] != packing.FILL).all()
    assert (found[365:] == packing.FILL).all()
    assert reader.complete(Block(2, 3), 2019)
    assert not reader.complete(Block(2, 3), 2020)
    assert not reader.complete(Block(99, 99), 2019)
    there = reader.computed(2019)
    assert there[:4, :4].all()
    assert np.array_equal(there[4:], ~reader.occupied[4:])
    assert not reader.occupied[HOLE.slices(EXTENT)[0].start // 8, 0]
