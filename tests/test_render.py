"""Map tiles: PNG bytes, palettes, no seams, and rio-tiler as the oracle."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from fieldflux.models.variables import VARIABLES, variable
from fieldflux.tiles.grid import Grid, Window
from fieldflux.tiles.legend import legend_json, legend_png, legend_svg, meaning_of, round_ticks
from fieldflux.tiles.lru import Lru
from fieldflux.tiles.mercator import BadTile, Mesh, TileAddress, lonlat, lonlat_bounds, mesh, pixel_m, tile_at
from fieldflux.tiles.packing import FILL, unpack
from fieldflux.tiles.palettes import CONTROL, NODATA, Style, UnknownStyle, lightness, ramp, style_of
from fieldflux.tiles.png import palette_png, palette_webp
from fieldflux.tiles.pyramid import coarse_counts, coarse_values
from fieldflux.tiles.render import Place, grid_place, level_at, mercator_place, tag, tile, values
from fieldflux.tiles.run import run
from fieldflux.tiles.store import NotInStore, Store, create_store
from fieldflux.tiles.when import (
    Anomaly,
    BadMoment,
    Difference,
    Span,
    between,
    check,
    days_of,
    ends,
    parse,
    pieces,
    unit_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from .toy_cube import build_toy
from .toy_model import ToyModel

GRID = Grid()
WINDOW = Window(4096, 4608, 10240, 10752)
DAY = date(2020, 7, 1)


@dataclass
class Plane:
    """A day and a year in memory, to draw from: waves, noise and a hole, with negative values."""

    window: Window = WINDOW
    grid: Grid = GRID
    years: tuple[int, ...] = (2020,)
    variables: tuple[str, ...] = ("nee", "yield")
    snapshot: str = "1"
    reads: list[Window] = field(default_factory=list)

    def __post_init__(self) -> None:
        w = self.window
        r, c = np.mgrid[w.row0 : w.row1, w.col0 : w.col1]
        rng = np.random.default_rng(3)
        values = 6 * np.sin(r / 19) + 5 * np.cos(c / 23) + rng.normal(0, 1, w.shape)
        self.counts = np.round(values / 0.002).astype(np.int16)
        self.counts[(r - w.row0 - 200) ** 2 + (c - w.col0 - 300) ** 2 < 900] = FILL
        self.there = np.ones((w.shape[0] // 32, w.shape[1] // 32), bool)

    def computed(self, _: int) -> np.ndarray:
        return self.there

    def read_counts(self, variable: str, day: date, window: Window, level: int = 0) -> np.ndarray:
        assert (variable, day) == ("nee", DAY)
        self.reads.append(window)
        return coarse_counts(self.cells(window, level), level)

    def read_year(
        self, variable: str, window: Window, year: int, member: int | None = None, level: int = 0
    ) -> np.ndarray:
        assert (variable, year, member) == ("yield", 2020, None)
        fine = self.cells(window, level)
        return coarse_values(np.where(fine == FILL, np.nan, fine * 0.02).astype(np.float32), level)

    def cells(self, window: Window, level: int) -> np.ndarray:
        rows = slice((window.row0 << level) - self.window.row0, (window.row1 << level) - self.window.row0)
        cols = slice((window.col0 << level) - self.window.col0, (window.col1 << level) - self.window.col0)
        return self.counts[rows, cols]


PLANE = Plane()
LON, LAT = (float(v) for v in GRID.to_lonlat(*GRID.centres(4352, 10496)))


def pixels(content: bytes) -> np.ndarray:
    """[height, width, 4] of an encoded picture."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))


def indices(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


# --- pictures


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.integers(1, 256))
def test_png_and_pillow_agree_on_every_pixel(height: int, width: int, seed: int, colours: int) -> None:
    rng = np.random.default_rng(seed)
    index = rng.integers(0, colours, (height, width)).astype(np.uint8)
    palette = rng.integers(0, 256, (colours, 4)).astype(np.uint8)
    assert np.array_equal(pixels(palette_png(index, palette)), palette[index])


def test_png_without_isal_is_the_same_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    import zlib

    from fieldflux.tiles import png

    index, palette = np.arange(256, dtype=np.uint8).reshape(16, 16), Style("viridis", 0, 1).colours()
    quick = palette_png(index, palette)
    monkeypatch.setattr(png, "_deflate", lambda: lambda raw: zlib.compress(raw, 1))
    assert np.array_equal(pixels(palette_png(index, palette)), pixels(quick))


def test_webp_keeps_what_is_transparent() -> None:
    index = np.zeros((64, 64), np.uint8)
    index[16:48, 16:48] = 200
    found = pixels(palette_webp(index, Style("greens", 0, 1).colours()))
    assert (found[:12, :, 3] == 0).all()
    assert (found[20:44, 20:44, 3] == 255).all()
    assert np.abs(found[32, 32, :3].astype(int) - ramp("greens")[199]).max() < 12


@pytest.mark.parametrize("bad", [np.zeros((4, 4), np.int16), np.zeros(4, np.uint8)])
def test_png_refuses_what_is_no_picture(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="palette picture"):
        palette_png(bad, np.zeros((1, 4), np.uint8))


# --- palettes


@pytest.mark.parametrize("name", sorted(CONTROL))
def test_palettes_change_evenly_in_lightness(name: str) -> None:
    steps = np.diff(lightness(name))
    if Style(name, -1, 1).diverging:
        assert (steps[:127] > -2e-3).all()
        assert (steps[128:] < 2e-3).all()
        assert lightness(name)[127] > 0.93
    else:
        assert (np.sign(steps.sum()) * steps > -2e-3).all()
        assert abs(steps.sum()) > 0.5
    # in OKLab, no step stands out
    assert np.abs(steps).max() < 4 * np.abs(steps).mean() + 1e-3


def test_the_two_ends_of_balance_differ_for_colour_blind_eyes() -> None:
    # Machado et al. (2009), complete deuteranopia and protanopia, on linear RGB
    for matrix in (
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    ):
        seen = np.clip((ramp("balance") / 255.0) ** 2.2 @ np.array(matrix).T, 0, 1) ** (1 / 2.2) * 255
        for reach in (40, 80, 120):
            assert np.abs(seen[127 - reach] - seen[127 + reach]).max() > 25


@pytest.mark.parametrize("name", ["nee", "delta_soc", "h"])
def test_zero_is_the_middle_of_a_diverging_palette(name: str) -> None:
    style = style_of(variable(name))
    assert style.index(np.array([0.0]))[0] == 128
    red, green, blue = (int(style.hex(0.0)[i : i + 2], 16) for i in (1, 3, 5))
    assert min(red, green, blue) > 225
    minus, plus = (int(i) for i in style.index(np.array([-5.0, 5.0])))
    assert minus + plus == 2 * 128


def test_what_the_land_gains_is_teal() -> None:
    def is_teal(colour: str) -> bool:
        return int(colour[1:3], 16) < int(colour[5:7], 16)

    assert is_teal(style_of(variable("nee")).hex(-8.0))
    assert not is_teal(style_of(variable("nee")).hex(8.0))
    assert is_teal(style_of(variable("delta_soc")).hex(200.0))
    assert not is_teal(style_of(variable("delta_soc")).hex(-200.0))


def test_values_outside_the_range_take_the_colour_of_the_end() -> None:
    style = Style("heat", 0.0, 10.0)
    values = np.array([-5.0, 0.0, 10.0, 99.0, np.nan, 5.0], np.float32)
    assert style.index(values).tolist() == [1, 1, 255, 255, NODATA, 128]


@pytest.mark.parametrize(("palette", "shown"), [("jet", (0, 1)), ("heat", (1, 1)), ("heat", (0, float("inf")))])
def test_styles_that_cannot_be(palette: str, shown: tuple[float, float]) -> None:
    with pytest.raises(UnknownStyle):
        style_of(variable("gpp"), palette, shown)


# --- where pixels lie


def exact_cells(at: TileAddress) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns, as real numbers, of a tile's pixels, each projected by itself."""
    n = at.size << at.z
    step = np.arange(at.size) + 0.5
    lon, lat = lonlat((at.x * at.size + step) / n, (at.y * at.size + step) / n)
    x, y = GRID.from_lonlat(np.tile(lon, at.size), np.repeat(lat, at.size))
    shape = (at.size, at.size)
    return ((GRID.y0 - y) / GRID.size).reshape(shape), ((x - GRID.x0) / GRID.size).reshape(shape)


def at_pixels(found: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns, as real numbers, at pixel centres: between the corners of the mesh, in two steps."""

    def between(corners: np.ndarray) -> np.ndarray:
        n, t = corners.shape[0] - 1, (np.arange(found.step) + 0.5) / found.step
        lines = (corners[:-1, None, :] + (corners[1:] - corners[:-1])[:, None, :] * t[:, None]).reshape(-1, n + 1)
        return ((lines[:, 1:] - lines[:, :-1])[:, :, None] * t + lines[:, :-1, None]).reshape(n * found.step, -1)

    return between(found.rows), between(found.cols)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 14), st.floats(-120, -75), st.floats(27, 48))
def test_the_mesh_is_as_good_as_projecting_every_pixel(z: int, lon: float, lat: float) -> None:
    window = Window(0, GRID.rows, 0, GRID.cols)
    at = tile_at(lon, lat, z)
    found = mesh(GRID, at, lonlat_bounds(GRID, window))
    assert found is not None
    rows, cols = at_pixels(found)
    true_rows, true_cols = exact_cells(at)
    inside = (true_rows >= 0) & (true_rows < GRID.rows) & (true_cols >= 0) & (true_cols < GRID.cols)
    off = np.maximum(np.abs(rows - true_rows), np.abs(cols - true_cols))[inside]
    assert off.max(initial=0) * 250 < 0.05 * pixel_m(z, 256, 35.0)


@settings(max_examples=25, deadline=None)
@given(st.integers(4, 13), st.integers(0, 1000), st.sampled_from(["day", "year"]))
def test_neighbours_agree_with_one_larger_picture(z: int, seed: int, when: str) -> None:
    rng = np.random.default_rng(seed)
    at = tile_at(LON + rng.uniform(-0.6, 0.6), LAT + rng.uniform(-0.5, 0.5), z)
    memory = Lru(32 << 20)
    asked = ("nee", DAY) if when == "day" else ("yield", 2020)
    large = tile(PLANE, *asked, at.z, at.x, at.y, size=512, memory=memory)
    whole = pixels(large.content)
    for i in (0, 1):
        for j in (0, 1):
            part = tile(PLANE, *asked, z + 1, 2 * at.x + j, 2 * at.y + i, memory=memory)
            assert np.array_equal(pixels(part.content), whole[i * 256 : i * 256 + 256, j * 256 : j * 256 + 256])


def test_no_pixel_inside_the_data_is_transparent() -> None:
    plane = Plane()
    plane.counts[plane.counts == FILL] = 0
    memory = Lru(32 << 20)
    for z in (7, 9, 11):
        at = tile_at(LON, LAT, z)
        found = mesh(GRID, at, lonlat_bounds(GRID, plane.window))
        assert found is not None
        rows, cols = at_pixels(found)
        w = plane.window
        inside = (rows >= w.row0) & (rows < w.row1) & (cols >= w.col0) & (cols < w.col1)
        drawn = indices(tile(plane, "nee", DAY, z, at.x, at.y, memory=memory).content)
        assert np.array_equal(drawn != NODATA, inside)


@pytest.mark.parametrize("z", [9, 11, 13])
def test_rio_tiler_draws_the_same(z: int, tmp_path: Path) -> None:
    """The oracle: GDAL's warper on a GeoTIFF of the same counts, nearest neighbour."""
    import rasterio
    from rio_tiler.io import Reader

    path = tmp_path / "day.tif"
    with rasterio.open(
        path, "w", driver="GTiff", dtype="int16", count=1, height=512, width=512, crs="EPSG:5070", nodata=FILL,
        transform=rasterio.Affine(*GRID.affine(PLANE.window)),
    ) as file:  # fmt: skip
        file.write(PLANE.counts, 1)
    style = style_of(variable("nee"))
    assert level_at(GRID, lonlat_bounds(GRID, PLANE.window), z, 256) == 0
    with Reader(str(path)) as reader:
        for dx in (-1, 0, 1):
            at = tile_at(LON + dx * 0.15, LAT, z)
            image = reader.tile(at.x, at.y, z, tilesize=256, resampling_method="nearest")
            counts = np.where(image.mask > 0, image.data[0], FILL)
            theirs = style.index(np.where(counts == FILL, np.nan, counts * 0.002))
            ours = indices(tile(PLANE, "nee", DAY, z, at.x, at.y).content)
            rows, cols = exact_cells(at)
            r, c = np.floor(rows).astype(int) - WINDOW.row0, np.floor(cols).astype(int) - WINDOW.col0
            inside = (r >= 0) & (r < 512) & (c >= 0) & (c < 512)
            counts = np.where(inside, PLANE.counts[r.clip(0, 511), c.clip(0, 511)], FILL)
            exact = style.index(np.where(counts == FILL, np.nan, counts * 0.002))
            assert (ours != exact).mean() < 0.002
            # GDAL's coordinates are good to an eighth of a pixel: theirs may differ there, beside a cell's edge
            to_edge = np.minimum(np.abs(rows - np.rint(rows)), np.abs(cols - np.rint(cols)))
            differ = ours != theirs
            assert differ.mean() < 0.06
            assert to_edge[differ].max(initial=0) < 0.2 * pixel_m(z, 256, LAT) / 250
            assert (exact != theirs).mean() >= (exact != ours).mean()


def test_zoomed_out_pixels_are_means_of_their_cells() -> None:
    near = lonlat_bounds(GRID, PLANE.window)
    z = 7
    level = level_at(GRID, near, z, 256)
    assert level == 2
    at = tile_at(LON, LAT, z)
    memory = Lru(32 << 20)
    drawn = indices(tile(PLANE, "nee", DAY, z, at.x, at.y, memory=memory).content)
    found = mesh(GRID, at, near)
    assert found is not None
    rows, cols = at_pixels(found)
    inside = np.argwhere(drawn != NODATA)
    style = style_of(variable("nee"))
    for i, j in inside[:: max(1, len(inside) // 50)]:
        r, c = (int(rows[i, j]) - 4096) // 4 * 4, (int(cols[i, j]) - 10240) // 4 * 4
        block = PLANE.counts[r : r + 4, c : c + 4]
        expected = style.index(np.array([block[block != FILL].mean() * 0.002]))[0]
        assert abs(int(drawn[i, j]) - int(expected)) <= 1


# --- what cannot be drawn, and what is missing


def test_missing_chunks_are_told_and_transparent() -> None:
    plane = Plane()
    plane.there[:] = True
    plane.there[4:6, 7] = False
    plane.counts[4 * 32 : 6 * 32, 7 * 32 : 8 * 32] = FILL
    lon, lat = (float(v) for v in GRID.to_lonlat(*GRID.centres(4096 + 5 * 32, 10240 + 7 * 32 + 16)))
    at = tile_at(lon, lat, 11)
    found = tile(plane, "nee", DAY, 11, at.x, at.y)
    assert set(found.missing) == {(2020, 4, 7), (2020, 5, 7)}
    assert not found.empty
    assert (pixels(found.content)[..., 3] == 0).any()
    far = tile_at(LON + 0.5, LAT, 12)
    assert tile(plane, "nee", DAY, 12, far.x, far.y).missing == ()


def test_a_tile_elsewhere_is_transparent_and_reads_nothing() -> None:
    plane = Plane()
    for lon, lat in ((10.0, 50.0), (-120.0, 35.0), (84.0, -60.0)):
        for z in (3, 8):
            at = tile_at(lon, lat, z)
            found = tile(plane, "nee", DAY, z, at.x, at.y)
            if found.empty:
                assert (pixels(found.content)[..., 3] == 0).all()
    at = tile_at(10.0, 50.0, 8)
    plane.reads.clear()
    assert tile(plane, "nee", DAY, 8, at.x, at.y).empty
    assert plane.reads == []


def test_the_whole_world_is_drawn_once() -> None:
    """At zoom 0 the cone of the projection is cut on the other side of the Earth: nothing may appear there."""
    coarse = Grid(size=4000.0, rows=768, cols=1280)
    conus = Plane(Window(0, 768, 0, 1280), coarse)
    drawn = indices(tile(conus, "nee", DAY, 0, 0, 0).content)
    i, j = np.nonzero(drawn != NODATA)
    west, south, east, north = lonlat_bounds(coarse, conus.window)
    lon, lat = lonlat((j + 0.5) / 256, (i + 0.5) / 256)
    assert len(i) > 500
    assert lon.min() > west - 1
    assert lon.max() < east + 1
    assert lat.min() > south - 1
    assert lat.max() < north + 1


@pytest.mark.parametrize(
    ("z", "x", "y", "size"), [(-1, 0, 0, 256), (3, 8, 0, 256), (3, 0, -1, 256), (23, 0, 0, 256), (3, 0, 0, 300)]
)
def test_addresses_outside_the_matrix_are_refused(z: int, x: int, y: int, size: int) -> None:
    with pytest.raises(BadTile):
        TileAddress(z, x, y, size)


@pytest.mark.parametrize(
    ("name", "when", "says"),
    [("gpp", DAY, "has no 'gpp'"), ("yield", DAY, "one value a year"), ("nee", 1999, "no year 1999")],
)
def test_what_the_store_does_not_hold(name: str, when: date | int, says: str) -> None:
    with pytest.raises((NotInStore, BadMoment), match=says):
        tile(PLANE, name, when, 8, 0, 0)


def test_tags_differ_where_tiles_may() -> None:
    base = ("s1", "nee", DAY, 8, 60, 95, 256, "png", None)
    others = [
        ("s2", *base[1:]),
        (*base[:2], 2020, *base[3:]),
        (*base[:6], 512, *base[7:]),
        (*base[:7], "webp", None),
        (*base[:8], Style("heat", 0, 1)),
    ]
    assert len({tag(*b) for b in [base, *others]}) == 6  # type: ignore[arg-type]
    assert tag(*base) == tag(*base)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("toy")
    cube = build_toy(folder / "toy.zarr", (2019, 2020))
    made = create_store(folder / "store", ToyModel(), cube)
    run(ToyModel(), cube, made, years=(2019,))
    return made


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Both years."""
    folder = tmp_path_factory.mktemp("whole")
    cube = build_toy(folder / "toy.zarr", (2019, 2020))
    made = create_store(folder / "store", ToyModel(), cube)
    run(ToyModel(), cube, made)
    return made


@pytest.mark.parametrize("z", [6, 8, 12])
@pytest.mark.parametrize(("name", "when"), [("gpp", date(2019, 7, 1)), ("nee", 2019), ("delta_soc", 2019)])
def test_a_real_store_is_drawn(store: Store, z: int, name: str, when: date | int) -> None:
    memory = Lru(8 << 20)
    lon, lat = (float(v) for v in store.grid.to_lonlat(*store.grid.centres(98, 125)))
    at = tile_at(lon, lat, z)
    found = tile(store, name, when, z, at.x, at.y, memory=memory)
    assert not found.empty
    assert found.missing == ()
    again = tile(store, name, when, z, at.x, at.y, memory=memory)
    assert again.content == found.content
    webp = tile(store, name, when, z, at.x, at.y, fmt="webp", memory=memory)
    assert webp.media_type == "image/webp"
    assert pixels(webp.content).shape == (256, 256, 4)
    # the colour in the middle is that of the cell there
    near = lonlat_bounds(store.grid, store.window)
    if level_at(store.grid, near, z, 256) == 0:
        corners = mesh(store.grid, at, near)
        assert corners is not None
        rows, cols = at_pixels(corners)
        row, col = int(rows[128, 128]), int(cols[128, 128])
        cell = Window(row, row + 1, col, col + 1)
        value = store.read_year(name, cell, when) if isinstance(when, int) else store.read_days(name, cell, when, when)
        style = style_of(variable(name), when=when)
        assert indices(found.content)[128, 128] == style.index(value.reshape(1).astype(np.float64))[0]


def test_a_year_that_is_not_computed_is_missing(store: Store) -> None:
    lon, lat = (float(v) for v in store.grid.to_lonlat(*store.grid.centres(98, 125)))
    at = tile_at(lon, lat, 9)
    found = tile(store, "gpp", date(2020, 7, 1), 9, at.x, at.y)
    assert found.empty
    assert {year for year, _, _ in found.missing} == {2020}
    assert {(row, col) for _, row, col in found.missing} <= set(map(tuple, np.argwhere(~store.computed(2020)).tolist()))
    assert len(found.missing) > 40


# --- other times


@settings(max_examples=100, deadline=None)
@given(st.dates(date(1990, 1, 1), date(2030, 12, 31)), st.integers(0, 1500))
def test_periods_are_read_as_they_are_written(first: date, more: int) -> None:
    period = between(first, first + timedelta(days=more))
    assert parse(str(period)) == period
    parts = pieces(period)
    assert sum(days_of(part) for part in parts) == more + 1 == days_of(period)
    assert all(ends(a)[1] + timedelta(days=1) == ends(b)[0] for a, b in pairwise(parts))


@pytest.mark.parametrize("text", ["", "2020-13", "2020-02-30", "0000", "20", "2020..", "2020-05..2020-02", "1..2..3"])
def test_times_that_cannot_be_read(text: str) -> None:
    with pytest.raises(BadMoment):
        parse(text)


def test_what_cannot_be_compared() -> None:
    nee, harvest = VARIABLES["nee"], VARIABLES["yield"]
    with pytest.raises(BadMoment, match="gC m-2 d-1"):
        check(nee, Difference(DAY, 2020))
    with pytest.raises(BadMoment, match="one value a year"):
        check(harvest, parse("2020-07"))
    with pytest.raises(BadMoment, match="No 2019"):
        check(nee, Anomaly(parse("2019..2021"), 2019, 2020))
    check(VARIABLES["soc"], Difference(DAY, 2020))
    assert unit_of(nee, parse("2020-07")) == "gC m-2"
    assert unit_of(harvest, parse("2019..2020")) == "gC m-2 yr-1"


def test_the_same_days_of_other_years_end_with_february() -> None:
    assert Anomaly(parse("2020-02"), 2019, 2021).normal() == tuple(map(parse, ("2019-02", "2020-02", "2021-02")))
    winter = parse("2019-12..2020-02")
    assert [str(p) for p in Anomaly(winter, 2018, 2021).normal()] == [
        "2018-12-01..2019-02-28", "2019-12-01..2020-02-29", "2020-12-01..2021-02-28",
    ]  # fmt: skip


def at_middle(store: Store, z: int) -> Place:
    lon, lat = (float(v) for v in store.grid.to_lonlat(*store.grid.centres(98, 125)))
    return mercator_place(store, tile_at(lon, lat, z), Lru(0))


@pytest.mark.parametrize("z", [7, 12])
@pytest.mark.parametrize("name", ["nee", "soil_moisture", "soc"])
def test_a_span_is_what_its_days_are(whole: Store, z: int, name: str) -> None:
    span, place = parse("2019-11-15..2020-03-10"), at_middle(whole, z)
    assert isinstance(span, Span)
    found = values(whole, name, span, place, Lru(8 << 20)).values
    assert place.cells is not None
    level = place.cells.level
    w = whole.window
    window = Window(w.row0 >> level, w.row1 >> level, w.col0 >> level, w.col1 >> level)
    days = unpack(name, whole.read_packed(name, window, span.first, span.last, level=level)).astype(np.float64)
    how = {"sum": days.sum(axis=0), "mean": days.mean(axis=0), "last": days[-1]}[variable(name).over_time]
    rows, cols = at_pixels(place.cells.mesh)
    inside = (rows >= 0) & (rows < how.shape[0]) & (cols >= 0) & (cols < how.shape[1])
    expected = np.full(rows.shape, np.nan)
    expected[inside] = how[rows[inside].astype(int), cols[inside].astype(int)]
    assert np.isfinite(expected).any()
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-5)


def test_twelve_months_are_a_year_and_a_difference_is_of_the_two(whole: Store) -> None:
    place, memory = at_middle(whole, 12), Lru(8 << 20)
    months = [values(whole, "gpp", parse(f"2020-{m:02}"), place, memory).values for m in range(1, 13)]
    year = values(whole, "gpp", 2020, place, memory).values
    np.testing.assert_allclose(np.sum(months, axis=0), year, rtol=1e-5)
    before = values(whole, "gpp", 2019, place, memory).values
    np.testing.assert_allclose(values(whole, "gpp", Difference(2020, 2019), place, memory).values, year - before)
    anomaly = values(whole, "gpp", Anomaly(2020, 2019, 2020), place, memory).values
    np.testing.assert_allclose(anomaly, (year - before) / 2, rtol=1e-4, atol=1e-3)
    two = values(whole, "gpp", parse("2019..2020"), place, memory).values
    np.testing.assert_allclose(two, year + before, rtol=1e-6)
    mean = values(whole, "yield", parse("2019..2020"), place, memory).values
    each = [values(whole, "yield", y, place, memory).values for y in (2019, 2020)]
    np.testing.assert_allclose(mean, np.mean(each, axis=0), rtol=1e-6)


def test_what_a_difference_lacks_is_missing_in_both_years(store: Store) -> None:
    found = values(store, "nee", Difference(2019, 2020), at_middle(store, 12), Lru(0))
    assert found.empty
    assert {year for year, _, _ in found.missing} == {2020}


def test_a_tile_of_the_grid_is_its_cells(whole: Store) -> None:
    # rows 0 to 255 and columns 0 to 255 hold the whole of the store's window
    for level in (0, 1, 2):
        found = values(whole, "gpp", date(2020, 7, 1), grid_place(whole, level, 0, 0), Lru(0)).values
        w = whole.window
        window = Window(w.row0 >> level, w.row1 >> level, w.col0 >> level, w.col1 >> level)
        expected = unpack("gpp", whole.read_counts("gpp", date(2020, 7, 1), window, level))
        inside = found[window.row0 : window.row1, window.col0 : window.col1]
        np.testing.assert_array_equal(inside, expected)
        assert np.isfinite(found).sum() == np.isfinite(expected).sum() > 0
    with pytest.raises(BadTile, match="rows go from 0 to 12"):
        grid_place(whole, 0, 13, 0)
    with pytest.raises(BadTile, match="levels 0 to 4"):
        grid_place(whole, 5, 0, 0)


# --- legends


@pytest.mark.parametrize("name", ["gpp", "nee", "delta_soc", "soil_moisture", "soc", "h", "snow"])
def test_legends_say_unit_range_and_no_data(name: str) -> None:
    v = VARIABLES[name]
    for when in (None, 2020, parse("2020-07"), Difference(2020, 2019)):
        style, meaning = style_of(v, when=when), meaning_of(v, when)
        told = legend_json(v, style, meaning)
        assert told["unit"] == (v.unit_over("year") if when else v.unit)
        assert (told["stops"][0]["value"], told["stops"][-1]["value"]) == (style.low, style.high)
        assert told["stops"][0]["color"] == style.hex(style.low)
        assert told["no_data"]["label"] == "no data"
        drawing = ElementTree.fromstring(legend_svg(v, style, meaning))
        text = " ".join(drawing.itertext())
        assert "no data" in text
        assert all(t["label"] in text for t in told["ticks"])
        picture = pixels(legend_png(v, style, meaning))
        assert picture.shape == (172, 720, 4)
        first = tuple(int(style.hex(style.low)[i : i + 2], 16) for i in (1, 3, 5))
        assert np.abs(picture[80, 52, :3].astype(int) - first).max() < 12


@pytest.mark.parametrize("steps", [2, 5, 32])
def test_a_stepped_style_has_as_many_colours_and_says_where_they_change(steps: int) -> None:
    v = VARIABLES["gpp"]
    style = style_of(v, steps=steps)
    low, high = style.scale
    values = np.linspace(low - 1, high + 1, 5001)
    index = style.index(values)
    assert len(set(index.tolist())) == steps
    told = legend_json(v, style)["classes"]
    assert [c["low"] for c in told] == pytest.approx(np.linspace(low, high, steps + 1)[:-1])
    for c in told:
        inside = (values > c["low"] + 1e-9) & (values < c["high"] - 1e-9)
        assert {style.hex(float(x)) for x in values[inside]} == {c["color"]}
    assert legend_svg(v, style).count("<stop ") == 2 * steps


def test_steps_that_cannot_be() -> None:
    for steps in (-1, 1, 33):
        with pytest.raises(UnknownStyle, match=f"not {steps}"):
            Style("viridis", 0, 1, steps=steps)


@settings(max_examples=200, deadline=None)
@given(st.floats(-1e4, 1e4), st.floats(0.01, 2e4))
def test_ticks_are_few_and_inside(low: float, span: float) -> None:
    ticks = round_ticks(low, low + span)
    assert ticks[0] == low
    assert ticks[-1] == low + span
    assert 2 <= len(ticks) <= 9
    assert ticks == sorted(set(ticks))
