"""Series of a field and of a county over a year, beside rio-tiler on the same cells. `make bench` prints the table.

The store is open, its chunks decoded where they fit in its cache. "Anew": neither the polygon's cells nor its sums are
kept from an earlier question. Processor time is of the whole process: on a busy machine, it is the number to look at.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import shapely
from fieldflux.tiles.lru import Lru
from fieldflux.tiles.many import many_series
from fieldflux.tiles.series import SeriesRequest, Source, series
from fieldflux.tiles.store import Store, open_store
from fieldflux.tiles.zonal import coverage, read_shape

from .synthetic import WINDOW, SyntheticCube, make_store, row, synthetic_model, timed

FIRST, LAST = date(2020, 1, 1), date(2020, 12, 31)
NUMPY = orjson.OPT_SERIALIZE_NUMPY


def square(store: Store, cells: float, row: float = 0.0, col: float = 0.0) -> dict[str, Any]:
    """A rectangle of `cells` cells on a side, GeoJSON, not along the grid, so far from the middle of the store."""
    x, y = store.grid.centres((WINDOW.row0 + WINDOW.row1) / 2 + row, (WINDOW.col0 + WINDOW.col1) / 2 + col)
    half = cells * store.grid.size / 2
    lon, lat = store.grid.to_lonlat([x - half, x + half], [y - half, y + half])
    found: dict[str, Any] = shapely.geometry.mapping(shapely.box(lon[0], lat[0], lon[1], lat[1]))
    return found


def test_series(tmp_path: Path) -> None:
    print(f"\n\n{'a year of days, ms':<52}{'p50':>9}{'p99':>9}{'cpu':>9}{'/cpu-s':>9}")
    cube = SyntheticCube()
    for members in (1, 5):
        model = synthetic_model(members)
        store = make_store(tmp_path / str(members), members)
        for place, geometry, rounds in (("field", square(store, 3.8), 50), ("county", square(store, 190.0), 5)):
            cover = coverage(geometry, store.grid, store.window)
            for variables in (("et",), ("gpp", "reco", "nee")):
                kept = Source(cube, model.card, store, memory=Lru(64 << 20))
                request = SeriesRequest(geometry, FIRST, LAST, variables)

                def anew(request: SeriesRequest = request, kept: Source = kept) -> Any:
                    kept.memory.clear()
                    return series(request, kept)

                def again(request: SeriesRequest = request, kept: Source = kept) -> bytes:
                    found = series(request, kept)
                    return orjson.dumps(
                        {"time": found.labels(), **{n: v.value for n, v in found.values.items()}}, option=NUMPY
                    )

                told = f"{place} ({cover.cells} cells), {'+'.join(variables)}, {members} member(s)"
                numbers = timed(anew, rounds)
                row(f"{told}: anew", numbers, width=52)
                row("  asked again, and written as JSON", timed(again, rounds), width=52)
                if place == "field" and members == 1:
                    # the budget, with slack for a busy machine
                    assert numbers[2] < 10.0
            found = timed(lambda g=geometry, s=store: coverage(g, s.grid, s.window), rounds)  # type: ignore[misc]
            row(f"  {place}: cells and fractions", found, width=52)
        without_sums(store, members)
        many_fields(store, members)
        if members == 1:
            beside_rio_tiler(store, tmp_path)


def without_sums(store: Store, members: int) -> None:
    """The county in a store of before sums over whole chunks were kept: every cell is looked at."""
    sums = store.path / "sums"
    sums.rename(store.path / "not-kept")
    old = Source(SyntheticCube(), synthetic_model(members).card, open_store(store.path), memory=Lru(64 << 20))
    request = SeriesRequest(square(store, 190.0), FIRST, LAST, ("gpp", "reco", "nee"))

    def anew() -> Any:
        old.memory.clear()
        return series(request, old)

    row(f"county, {members} member(s), without sums of chunks", timed(anew, 3), width=52)
    (store.path / "not-kept").rename(sums)


def many_fields(store: Store, members: int) -> None:
    """1,000 fields in one question, spread over the store."""
    places = np.random.default_rng(0).uniform(-240, 240, (1000, 2))
    shapes = [read_shape(square(store, 3.8, *place)) for place in places.tolist()]
    source = Source(SyntheticCube(), synthetic_model(members).card, store, memory=Lru(64 << 20))
    request = SeriesRequest(shapes[0], FIRST, LAST, ("gpp", "reco", "nee"))

    def anew() -> Any:
        source.memory.clear()
        return many_series(shapes, request, source)

    row(f"1,000 fields, {members} member(s)", timed(anew, 2), width=52)


def beside_rio_tiler(store: Store, folder: Path) -> None:
    """One day as a GeoTIFF; its mean over the polygon, weighted by coverage, by rio-tiler; times 366 for a year."""
    import rasterio
    from rio_tiler.io import Reader

    path = folder / "day.tif"
    counts = store.read_counts("nee", date(2020, 7, 15), store.window)
    with rasterio.open(
        path, "w", driver="GTiff", dtype="int16", count=1, height=counts.shape[0], width=counts.shape[1],
        crs=store.grid.crs, nodata=-32768, transform=rasterio.Affine(*store.grid.affine(store.window)), tiled=True,
        blockxsize=256, blockysize=256, compress="zstd", predictor=2,
    ) as file:  # fmt: skip
        file.write(counts, 1)
    for place, cells, rounds in (("field", 3.8, 10), ("county", 190.0, 5)):
        geometry = square(store, cells)
        feature = {"type": "Feature", "properties": {}, "geometry": geometry}
        means: list[float] = []

        def theirs(feature: Any = feature, means: list[float] = means) -> None:
            with Reader(str(path)) as reader:
                image = reader.feature(feature, shape_crs="epsg:4326", dst_crs=store.grid.crs)
                weights = image.get_coverage_array(feature["geometry"], shape_crs="epsg:4326")
                means.append(next(iter(image.statistics(coverage=weights).values())).mean * 0.002)

        numbers = timed(theirs, rounds)
        ours = series(
            SeriesRequest(geometry, date(2020, 7, 15), date(2020, 7, 15), ("nee",)),
            Source(SyntheticCube(), synthetic_model(1).card, store),
        )
        exact = float(ours.values["nee"].value[0])
        row(f"rio-tiler, {place}, nee, ONE day", numbers, f"a year: {numbers[2] * 366 / 1000:.1f} cpu-s", width=52)
        print(f"  mean of that day: fieldflux {exact:.5f}, rio-tiler {means[-1]:.5f} ({means[-1] / exact - 1:+.2%})")
