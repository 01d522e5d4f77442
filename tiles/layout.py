"""How a store lies on disk: Zarr v3 groups, arrays, shards and their CF attributes.

manifest.json                     model, cube, code, extent: what the numbers came from
epoch, generation                 change whenever content is added, or replaced: readers watch them
blocks/2019/b016-039.json         marker and record: this block and year is whole
2019/                             a plain CF data set: gpp (time, y, x), yield (y, x), gpp_year (y, x), x, y, time
2019/level1/ … level4/            the same at cells 2, 4, 8 and 16 times as wide
2019/members/                     gpp, ra, rh and yearly values of each member of an ensemble
flags/2019/b016-039.npz           cells that the model flagged, by flag; not in stores of before they were kept
states/2019/b016-039.safetensors  the model's memory at the end of the year
overlay/2019/                     chunks computed on demand, one file each for days and years; not in 2019/
sums/2019/                        of whole chunks, in blocks and on demand: see `chunksums`; not in earlier stores
series/2019/                      gpp, ra and rh once more, cut for series: see `squares`; not in earlier stores
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from fieldflux.models.variables import VARIABLES, Variable
from numpy.typing import NDArray

from .geozarr import multiscales, placed
from .grid import Grid, Window, transformer
from .packing import FILL, step_of
from .pyramid import levels_of

DAYS_IN_CHUNK = 61
DAYS_IN_SHARD = 366
SQUARE = 4
LEVEL_DAYS_IN_CHUNK = 16
LEVEL_DAYS_IN_SHARD = 368
FLUXES = ("gpp", "ra", "rh", "reco", "nee")
"""Kept as yearly values of each member."""
MEMBER_DAYS = ("gpp", "ra", "rh")
"""Kept day by day of each member: reco and nee follow from them."""
CROP_DAYS = ("biomass", "grain", "lai")
"""Kept day by day of each member of a model of crops, which gives no fluxes."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What a store's arrays hold and how they are cut."""

    grid: Grid
    window: Window
    daily: tuple[str, ...]
    annual: tuple[str, ...]
    members: int

    @property
    def yearly(self) -> tuple[str, ...]:
        """Names of the arrays with one value a year: annual variables, then daily ones over the year."""
        return (*self.annual, *(f"{name}_year" for name in self.daily))

    @property
    def levels(self) -> tuple[int, ...]:
        return levels_of(self.grid.block)

    @property
    def member_daily(self) -> tuple[str, ...]:
        if self.members == 1:
            return ()
        return tuple(n for n in MEMBER_DAYS if n in self.daily) or tuple(n for n in CROP_DAYS if n in self.daily)

    @property
    def member_yearly(self) -> tuple[str, ...]:
        if self.members == 1:
            return ()
        return (*self.annual, *(f"{n}_year" for n in FLUXES if n in self.daily))

    @property
    def square(self) -> int:
        """Cells on a side of the squares whose whole years series are made from."""
        n = self.grid.chunk
        return SQUARE if n % SQUARE == 0 else n

    @property
    def series_daily(self) -> tuple[str, ...]:
        """What is kept a second time, cut for series: all that series of fluxes are made of."""
        return MEMBER_DAYS if set(MEMBER_DAYS) <= set(self.daily) else ()

    @property
    def chunks(self) -> tuple[int, int]:
        """Rows and columns of chunks in the extent."""
        rows, cols = self.window.shape
        return rows // self.grid.chunk, cols // self.grid.chunk


def days_in(year: int) -> int:
    """366 in leap years, else 365."""
    return (date(year, 12, 31) - date(year, 1, 1)).days + 1


Files = dict[str, bytes]
"""Path in a store -> content."""


def root_group(title: str, source: str) -> Files:
    """The group that holds the years."""
    return {"zarr.json": _json(_group({"Conventions": "CF-1.10", "title": title, "source": source}))}


def year_group(layout: Layout, year: int, title: str, source: str) -> Files:
    """Metadata and coordinates of a year's groups; data come later, shard by shard.

    Written here, not by zarr-python, whose way through an event loop takes a second for these hundred arrays.
    """
    about: dict[str, Any] = {"Conventions": "CF-1.10", "title": title, "source": source}
    grid, window = layout.grid, layout.window
    group = _Writer()
    _raster_group(group, layout, year, 0)
    for level in layout.levels:
        text = f"Mean of the valid cells in each square of {2**level} x {2**level}."
        of_level = {**about, "comment": text, **placed(grid, window, level)}
        _raster_group(group.inside(f"level{level}", of_level), layout, year, level)
    if layout.members > 1:
        text = "Each member of the ensemble; reco = ra + rh, nee = ra + rh - gpp."
        _member_group(group.inside("members", {**about, "comment": text, **placed(grid, window)}), layout, year)
    # The text of Zarr v3 does not name metadata in one place yet; xarray and zarr read it.
    below = {"kind": "inline", "must_understand": False, "metadata": group.metadata}
    top = {**about, **multiscales(grid, window, layout.levels)}
    group.files["zarr.json"] = _json({**_group(top), "consolidated_metadata": below})
    return group.files


def overlay_group(layout: Layout, year: int) -> Files:
    """Metadata of a year's overlay: one file a chunk for all daily values, one for all yearly ones."""
    group = _Writer()
    rows, cols = layout.window.shape
    n, days = layout.grid.chunk, days_in(year)
    for name, daily, yearly, members in (
        ("", layout.daily, layout.yearly, 1),
        ("members_", layout.member_daily, layout.member_yearly, layout.members),
    ):
        if daily:
            k, side, last = len(daily) * members, layout.square, bool(name)
            inner = (members, DAYS_IN_SHARD, side, side) if last else (1, DAYS_IN_CHUNK, n, n)
            cut = inner, (k, DAYS_IN_SHARD, n, n)
            dims = ("variable", "time", "y", "x")
            about = {"variables": list(daily), "scale_factors": [step_of(v) for v in daily], "members": members}
            group.array(f"{name}daily", (k, days, rows, cols), "int16", dims, about, *cut, last)
        if yearly:
            k = len(yearly) * members
            about = {"variables": list(yearly), "members": members}
            group.array(f"{name}yearly", (k, rows, cols), "float32", ("variable", "y", "x"), about, (k, n, n))
    group.files["zarr.json"] = _json(_group({}))
    return group.files


def sums_group(layout: Layout, year: int, quantities: Sequence[tuple[str, str, int | None]]) -> Files:
    """Metadata of a year's sums over whole chunks: `blocks`, a file a block; `chunks`, a file a chunk on demand."""
    group = _Writer()
    (rows, cols), days, q = layout.chunks, days_in(year), len(quantities)
    k = layout.grid.block // layout.grid.chunk
    dims = ("quantity", "time", "chunk_row", "chunk_column")
    about = {
        "long_name": "sums of packed counts over the cells of a chunk that have a value, and how many these are",
        "quantities": [list(quantity) for quantity in quantities],
    }
    shape, kind = (q, days, rows, cols), "int32"
    group.array("blocks", shape, kind, dims, about, (1, DAYS_IN_SHARD, k, k), (q, DAYS_IN_SHARD, k, k))
    group.array("chunks", shape, kind, dims, about, (q, DAYS_IN_SHARD, 1, 1))
    group.files["zarr.json"] = _json(_group({}))
    return group.files


def series_group(layout: Layout, year: int) -> Files:
    """Metadata of a year's fluxes, cut for series: `blocks`, a file a block; `chunks`, a file a chunk on demand."""
    group = _Writer()
    (rows, cols), days, names = layout.window.shape, days_in(year), layout.series_daily
    about = {"variables": list(names), "scale_factors": [step_of(v) for v in names], "_FillValue": FILL}
    dims, k, side = ("variable", "time", "y", "x"), len(names), layout.square
    for name, n in (("blocks", layout.grid.block), ("chunks", layout.grid.chunk)):
        cut = (k, DAYS_IN_SHARD, side, side), (k, DAYS_IN_SHARD, n, n)
        group.array(name, (k, days, rows, cols), "int16", dims, about, *cut, days_last=True)
    group.files["zarr.json"] = _json(_group({}))
    return group.files


def gather_root(root: Path) -> bytes:
    """The root group's metadata with those of all years in it, so that xarray opens a year with one request."""
    group = json.loads((root / "zarr.json").read_bytes())
    metadata: dict[str, Any] = {}
    for year in sorted(year_folders(root)):
        own = json.loads((root / str(year) / "zarr.json").read_bytes())
        below = own.pop("consolidated_metadata")["metadata"]
        metadata[str(year)] = own
        metadata |= {f"{year}/{name}": found for name, found in below.items()}
    group["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": metadata}
    return _json(group)


class _Writer:
    """Collects the files of a group and, by their paths, the metadata of all that is in it."""

    def __init__(self, at: str = "", files: Files | None = None, metadata: dict[str, Any] | None = None) -> None:
        self._at = at
        self.files: Files = {} if files is None else files
        self.metadata: dict[str, Any] = {} if metadata is None else metadata

    def inside(self, name: str, attributes: dict[str, Any]) -> _Writer:
        """A group in this one."""
        self._put(name, _group(attributes))
        return _Writer(f"{self._at}{name}/", self.files, self.metadata)

    def array(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: str,
        dims: tuple[str, ...],
        attributes: dict[str, Any],
        chunks: tuple[int, ...],
        shards: tuple[int, ...] | None = None,
        days_last: bool = False,
    ) -> None:
        """A packed array: lz4 after bit-shuffle, and a checksum that makes a flipped bit an error, not a number.

        days_last: in a chunk, the days of a cell lie behind each other, and bytes are shuffled instead: measured on
        the demo's members, that is half the size, and read in a third of the time.
        """
        size, shuffle = np.dtype(dtype).itemsize, "shuffle" if days_last else "bitshuffle"
        blosc = {"cname": "lz4", "clevel": 5, "shuffle": shuffle, "typesize": size, "blocksize": 0}
        crc = {"name": "crc32c"}
        codecs: list[dict[str, Any]] = [_LITTLE, {"name": "blosc", "configuration": blosc}, crc]
        if days_last:
            codecs.insert(0, {"name": "transpose", "configuration": {"order": [0, 2, 3, 1]}})
        if shards is not None:
            inner = {"chunk_shape": chunks, "codecs": codecs, "index_codecs": [_LITTLE, crc], "index_location": "end"}
            codecs = [{"name": "sharding_indexed", "configuration": inner}]
        fill = {"int16": FILL, "int32": 0}.get(dtype, "NaN")
        self._put(name, _array(shape, dtype, dims, attributes, shards or chunks, codecs, fill))

    def coordinate(self, name: str, values: NDArray[Any], attributes: dict[str, Any]) -> None:
        """A coordinate, in one plain chunk: xarray reads coordinates when it opens a group, one request each."""
        self._put(name, _array(values.shape, values.dtype.name, (name,), attributes, values.shape, [_LITTLE], 0))
        self.files[f"{self._at}{name}/c/0"] = values.astype(values.dtype.newbyteorder("<")).tobytes()

    def scalar(self, name: str, attributes: dict[str, Any]) -> None:
        """A variable that is there for its attributes."""
        self._put(name, _array((), "int32", (), attributes, (), [_LITTLE], 0))

    def _put(self, name: str, metadata: dict[str, Any]) -> None:
        self.metadata[f"{self._at}{name}"] = metadata
        self.files[f"{self._at}{name}/zarr.json"] = _json(metadata)


_LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}


def _group(attributes: dict[str, Any]) -> dict[str, Any]:
    return {"zarr_format": 3, "node_type": "group", "attributes": attributes}


def _array(
    shape: tuple[int, ...],
    dtype: str,
    dims: tuple[str, ...],
    attributes: dict[str, Any],
    chunks: tuple[int, ...],
    codecs: list[dict[str, Any]],
    fill: Any,
) -> dict[str, Any]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": codecs,
        "fill_value": fill,
        "dimension_names": dims,
        "attributes": attributes,
        "storage_transformers": [],
    }


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def _raster_group(group: _Writer, layout: Layout, year: int, level: int) -> None:
    rows, cols = (n >> level for n in layout.window.shape)
    n = layout.grid.block >> level
    _place(group, layout, level)
    _time(group, year)
    if level:
        chunk = 64 if n % 64 == 0 else n
        cut = (LEVEL_DAYS_IN_CHUNK, chunk, chunk), (LEVEL_DAYS_IN_SHARD, n, n)
    else:
        cut = (DAYS_IN_CHUNK, layout.grid.chunk, layout.grid.chunk), (DAYS_IN_SHARD, n, n)
    for name in layout.daily:
        about = _daily_attributes(VARIABLES[name])
        group.array(name, (days_in(year), rows, cols), "int16", ("time", "y", "x"), about, *cut)
    for name in layout.yearly:
        group.array(name, (rows, cols), "float32", ("y", "x"), _yearly_attributes(name, year), (n, n))


def _member_group(group: _Writer, layout: Layout, year: int) -> None:
    rows, cols = layout.window.shape
    n, side, m, days = layout.grid.block, layout.square, layout.members, days_in(year)
    _place(group, layout, 0)
    _time(group, year)
    group.coordinate("member", np.arange(m, dtype=np.int32), {"long_name": "member of the ensemble"})
    for name in layout.member_daily:
        about, dims = _daily_attributes(VARIABLES[name]), ("member", "time", "y", "x")
        # No map is drawn of members: their days are read by series only, a year of all of them at once.
        cut = (m, DAYS_IN_SHARD, side, side), (m, DAYS_IN_SHARD, n, n)
        group.array(name, (m, days, rows, cols), "int16", dims, about, *cut, days_last=True)
    for name in layout.member_yearly:
        group.array(name, (m, rows, cols), "float32", ("member", "y", "x"), _yearly_attributes(name, year), (m, n, n))


def _daily_attributes(v: Variable) -> dict[str, Any]:
    step = step_of(v.name)
    when = "point" if v.over_time == "last" else "mean"
    found = {
        "long_name": v.long_name,
        "units": v.unit,
        "scale_factor": step,
        "_FillValue": FILL,
        "valid_min": max(round(v.low / step), -32767),
        "valid_max": min(round(v.high / step), 32767),
        "cell_methods": f"time: {when} area: mean",
        "grid_mapping": "spatial_ref",
    }
    return found | _named(v)


def _yearly_attributes(name: str, year: int) -> dict[str, Any]:
    v = VARIABLES[name.removesuffix("_year")]
    over = {"sum": "sum", "mean": "mean", "last": "point"}[v.over_time]
    text = v.long_name if v.period != "day" else f"{v.long_name}, {_over_words(v)} {year}"
    found = {
        "long_name": text,
        "units": v.unit if v.period != "day" else v.unit_over("year"),
        "cell_methods": f"time: {over} area: mean",
        "grid_mapping": "spatial_ref",
        "year": year,
    }
    # A sum over the year has another unit than CF's name for the daily rate allows.
    return found | (_named(v) if v.over_time != "sum" else {})


def _over_words(v: Variable) -> str:
    return {"sum": "sum of", "mean": "mean of", "last": "at the end of"}[v.over_time]


def _named(v: Variable) -> dict[str, str]:
    named = {"standard_name": v.standard_name} if v.standard_name else {}
    return named | ({"comment": f"Sign: {v.sign}."} if v.sign else {})


def _place(group: _Writer, layout: Layout, level: int) -> None:
    """x, y and the grid mapping."""
    g, w = layout.grid, layout.window
    size = g.size * 2**level
    rows, cols = (n >> level for n in w.shape)
    x0, y0 = g.x0 + w.col0 * g.size, g.y0 - w.row0 * g.size
    x = x0 + (np.arange(cols) + 0.5) * size
    y = y0 - (np.arange(rows) + 0.5) * size
    for name, values, text in (("x", x, "easting of the cell's centre"), ("y", y, "northing of the cell's centre")):
        about = {
            "standard_name": f"projection_{name}_coordinate",
            "long_name": text,
            "units": "m",
            "axis": name.upper(),
        }
        group.coordinate(name, values, about)
    mapping = {**_crs(g.crs), "GeoTransform": f"{x0!r} {size!r} 0.0 {y0!r} 0.0 {-size!r}"}
    group.scalar("spatial_ref", mapping)


def _crs(crs: str) -> dict[str, Any]:
    from pyproj import CRS

    transformer("EPSG:4326", crs)  # a clear error for an unknown system
    found: dict[str, Any] = json.loads(json.dumps(CRS.from_user_input(crs).to_cf(), default=float))
    return found


def _time(group: _Writer, year: int) -> None:
    about = {
        "standard_name": "time",
        "long_name": "local standard day",
        "units": f"days since {year}-01-01",
        "calendar": "standard",
        "axis": "T",
    }
    group.coordinate("time", np.arange(days_in(year), dtype=np.int32), about)


def shards(dimensions: int, row: int, col: int) -> str:
    """Path, under its array, of the shard of the block or chunk (row, col) of the extent."""
    return "/".join(["c", *["0"] * (dimensions - 2), str(row), str(col)])


def year_folders(root: Path) -> Iterator[int]:
    """Years whose group exists."""
    for entry in root.iterdir():
        if entry.name.isdigit() and len(entry.name) == 4:
            yield int(entry.name)


def split(outputs: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Daily variables among a model's outputs, and those with one value a year or for the whole record.

    Raises NotPackable, UnknownVariable.
    """
    from fieldflux.models.variables import variable

    daily = tuple(n for n in outputs if variable(n).period == "day")
    for name in daily:
        step_of(name)
    return daily, tuple(n for n in outputs if variable(n).period != "day")
