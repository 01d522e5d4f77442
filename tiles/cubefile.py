"""The file format of an input cube, and its writer. `cube.py` reads what this writes.

A cube is a Zarr v3 folder, one flat group that plain xarray opens:

    daily inputs     (weather, time) float32, or (time) where all weather cells share it (co2)
    weather_index    (y, x) int32, row of each cell's weather; -1 = none
    static inputs    (y, x) float32; <name>_by_layer (layer, y, x) where layers are known
    annual inputs    (year, y, x), crop int16, the others float32
    gpp_given        (gpp_row, time) float32 and gpp_unit (year, y, x) int16; -1 = none
    mask             (y, x) uint8, 1 where a cell has weather and all needed static inputs
    <input>_flag     (weather, time) uint8, where a day's weather was repaired or estimated

with coordinates and a grid mapping, the manifest in the group's attributes under "fieldflux", and in the folder
`documents` (a group without arrays, so that Zarr readers pass it by) outline.geojson, fields.geojson and
weather_names.json where there are any. Missing is NaN. Every chunk is stored, so that a lost one is
noticed and never read as missing data.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from fieldflux.models.variables import VARIABLES, variable
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field

from .geozarr import placed
from .grid import Grid, Window

Progress = Callable[[float, str], None]
"""Called with the fraction done, 0 to 1, and what is being done."""

FORMAT = 1
DOCUMENTS = "documents"
OPTIONAL_STATIC = frozenset({"elevation", "ph", "cec"})
"""Static inputs that a cell may lack and still be run."""


class BadCube(ValueError):
    """A cube that is not one, is damaged, or is asked for what it does not hold."""


class CubeNotWritten(ValueError):
    """A cube could not be written."""


class Source(BaseModel):
    """A file that a cube was made from, or a table in the code."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    used_for: str
    licence: str = ""
    sha256: str | None = None


class Manifest(BaseModel):
    """What a cube says about itself.

    statement: origin of the inputs, shown to users with every answer. notes: faults, estimates and defaults in them.
    hash: sha256 of the content (arrays, grid, window, years, outline, fields), the same for the same inputs. window:
    row0, row1, col0, col1. inputs: name -> unit. created, code: when, and by which version.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: int
    id: str
    title: str
    statement: str
    licence: str
    synthetic: bool
    grid: dict[str, Any]
    window: tuple[int, int, int, int]
    years: tuple[int, ...]
    inputs: dict[str, str]
    sources: tuple[Source, ...] = ()
    notes: tuple[str, ...] = ()
    hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    created: str
    code: str


@dataclass(frozen=True, slots=True)
class About:
    """Words of a cube: see Manifest."""

    id: str
    title: str
    statement: str
    licence: str
    synthetic: bool = False
    sources: Sequence[Source] = ()
    notes: Sequence[str] = ()


def days_of(years: Sequence[int]) -> NDArray[np.datetime64]:
    """[D] every day of consecutive calendar years, leap days included, datetime64[D]."""
    return np.arange(np.datetime64(f"{years[0]}-01-01"), np.datetime64(f"{years[-1] + 1}-01-01"))


def check_years(years: Sequence[int]) -> tuple[int, ...]:
    """Whole consecutive calendar years, as a tuple. Raises BadCube."""
    found = tuple(int(y) for y in years)
    if not found or found != tuple(range(found[0], found[0] + len(found))):
        raise BadCube(f"Years must be consecutive calendar years, in order, not {list(found)}.")
    return found


def sha256_of(path: Path) -> str:
    """sha256 of a file, or of all files of a folder, by name and content."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for file in files:
        if path.is_dir():
            digest.update(str(file.relative_to(path)).encode())
        with file.open("rb") as stream:
            while part := stream.read(1 << 20):
                digest.update(part)
    return digest.hexdigest()


def code_version() -> str:
    try:
        return version("fieldflux")
    except PackageNotFoundError:
        return "unknown"


def spec(path: Path) -> dict[str, Any]:
    """How tensorstore opens an array of a cube."""
    return {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": str(path)},
        "fill_missing_data_reads": False,
        "store_data_equal_to_fill_value": True,
    }


class CubeWriter:
    """Writes a cube into a hidden folder beside `path`, and puts it in place when finished.

    Used as a context: leaving it by an error removes what was written and keeps a cube that was there before.
    """

    def __init__(self, path: Path | str, about: About, grid: Grid, window: Window, years: Sequence[int]) -> None:
        self.path = Path(path).absolute()
        self.about, self.grid, self.window = about, grid, window
        self.years = check_years(years)
        self.days = days_of(self.years)
        self._inputs: dict[str, str] = {}
        self._arrays: dict[str, Any] = {}
        self._weather = -1
        self._jsons: dict[str, str] = {}
        self._folder = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        try:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True)
        except OSError as error:
            raise CubeNotWritten(_cannot_write(self.path, error)) from error
        self._coordinates()

    def __enter__(self) -> CubeWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def weather(
        self,
        daily: Mapping[str, ArrayLike],
        lon: ArrayLike,
        lat: ArrayLike,
        names: Sequence[str] = (),
        flags: Mapping[str, tuple[ArrayLike, str]] | None = None,
    ) -> None:
        """Daily inputs of the weather cells: name -> [W, D], or [D] where all share it.

        lon, lat, names: of the W weather cells. flags: input -> ([W, D] codes, "0 ...; 1 ..." their meaning).
        """
        lons, lats = np.asarray(lon, float), np.asarray(lat, float)
        self._weather = lons.size
        attrs = {"long_name": "longitude of the weather cell", "units": "degrees_east"}
        self._put_all("weather_lon", lons, ("weather",), attrs)
        attrs = {"long_name": "latitude of the weather cell", "units": "degrees_north"}
        self._put_all("weather_lat", lats, ("weather",), attrs)
        if names:
            self._jsons["weather_names.json"] = json.dumps(list(names), ensure_ascii=False)
        for name, values in daily.items():
            array = np.asarray(values, np.float32)
            self._check_shape(name, array.shape, (self._weather, self.days.size), (self.days.size,))
            self._check_range(name, array)
            dims = ("weather", "time")[-array.ndim :]
            self._put_all(name, array, dims, self._describe(name), (64, 1461)[-array.ndim :])
        for name, (values, meaning) in (flags or {}).items():
            codes = np.asarray(values, np.uint8)
            self._check_shape(f"{name}_flag", codes.shape, (self._weather, self.days.size))
            attrs = {"long_name": f"origin of {VARIABLES[name].long_name}", "comment": meaning}
            self._put_all(f"{name}_flag", codes, ("weather", "time"), attrs, (64, 1461))

    def weather_index(self, index: ArrayLike, window: Window | None = None) -> None:
        """Row of each cell's weather [rows, cols] of `window` (the whole by default); -1 where there is none."""
        values = np.asarray(index, np.int32)
        if self._weather < 0 or values.max(initial=-1) >= self._weather:
            raise CubeNotWritten(
                f"A weather index points at row {values.max(initial=-1)}, but there are {max(self._weather, 0)} "
                f"weather cells. Give the weather first."
            )
        attrs = {"long_name": "row of the weather of the cell; -1: none"}
        self._put("weather_index", values, ("y", "x"), window, attrs, np.int32, -1)

    def static(self, name: str, values: ArrayLike, window: Window | None = None) -> None:
        """A static input [rows, cols] of `window`, NaN where it is missing."""
        array = np.asarray(values, np.float32)
        self._check_range(name, array)
        self._put(name, array, ("y", "x"), window, self._describe(name), np.float32, np.nan)

    def layers(self, tops: ArrayLike, bottoms: ArrayLike) -> None:
        """Depths of the soil layers [L], metres below the surface."""
        attrs = {"long_name": "upper edge of the soil layer", "units": "m", "positive": "down"}
        self._put_all("layer_top", np.asarray(tops, np.float32), ("layer",), attrs)
        attrs = {"long_name": "lower edge of the soil layer", "units": "m", "positive": "down"}
        self._put_all("layer_bottom", np.asarray(bottoms, np.float32), ("layer",), attrs)

    def by_layer(self, name: str, values: ArrayLike, window: Window | None = None) -> None:
        """A soil property by layer [L, rows, cols], in the unit of the static input of that name."""
        array = np.asarray(values, np.float32)
        self._check_range(name, array)
        long_name = VARIABLES[name].long_name.replace(", 0-30 cm", "") + ", by layer"
        attrs = {"long_name": long_name, "units": VARIABLES[name].unit}
        self._put(f"{name}_by_layer", array, ("layer", "y", "x"), window, attrs, np.float32, np.nan)

    def annual(self, name: str, values: ArrayLike, window: Window | None = None) -> None:
        """An annual input [Y, rows, cols]; crops are codes of the Cropland Data Layer, 0 = none."""
        dtype, fill = (np.int16, 0) if name == "crop" else (np.float32, np.nan)
        array = np.asarray(values, dtype)
        self._check_range(name, array)
        self._put(name, array, ("year", "y", "x"), window, self._describe(name), dtype, fill)

    def gpp(self, given: ArrayLike) -> None:
        """Given GPP [G, D], gC m-2 d-1; NaN on days that have none."""
        array = np.asarray(given, np.float32)
        self._check_shape("gpp_given", array.shape, (array.shape[0], self.days.size))
        self._check_range("gpp_given", array)
        self._put_all("gpp_given", array, ("gpp_row", "time"), self._describe("gpp_given"), (64, 1461))

    def gpp_unit(self, units: ArrayLike, window: Window | None = None) -> None:
        """Row of the given GPP of each year and cell [Y, rows, cols]; -1 where a model must make its own."""
        attrs = {"long_name": "row of the given GPP of the cell; -1: none"}
        self._put("gpp_unit", np.asarray(units, np.int16), ("year", "y", "x"), window, attrs, np.int16, -1)

    def outline(self, geojson: Mapping[str, Any]) -> None:
        """The outline of the region, GeoJSON in longitude and latitude."""
        self._jsons["outline.geojson"] = json.dumps(geojson, separators=(",", ":"), ensure_ascii=False)

    def fields(self, collection: Mapping[str, Any]) -> None:
        """Outlines of fields, a GeoJSON FeatureCollection in longitude and latitude."""
        self._jsons["fields.geojson"] = json.dumps(collection, separators=(",", ":"), ensure_ascii=False)

    def finish(self) -> Path:
        """Complete the cube and put it at `path`, in place of one that is there.

        Inputs without any value are left out. Raises CubeNotWritten.
        """
        missing = [name for name in ("weather_index", "crop") if name not in self._arrays]
        if missing or not any("time" in self._arrays[n].domain.labels for n in self._inputs):
            raise CubeNotWritten(f"The cube has no {' and no '.join([*missing, *([] if missing else ['weather'])])}.")
        self._drop_empty()
        self._mask()
        try:
            documents = self._folder / DOCUMENTS
            documents.mkdir()
            (documents / "zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "group"}))
            for name, text in self._jsons.items():
                (documents / name).write_text(text)
            manifest = Manifest(
                format=FORMAT,
                id=self.about.id,
                title=self.about.title,
                statement=self.about.statement,
                licence=self.about.licence,
                synthetic=self.about.synthetic,
                grid=self.grid.to_dict(),
                window=(self.window.row0, self.window.row1, self.window.col0, self.window.col1),
                years=self.years,
                inputs=dict(sorted(self._inputs.items())),
                sources=tuple(self.about.sources),
                notes=tuple(self.about.notes),
                hash=self._hash(),
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                code=f"fieldflux {code_version()}",
            )
            attributes = {
                "Conventions": "CF-1.11",
                "title": self.about.title,
                "comment": self.about.statement,
                "license": self.about.licence,
                "history": f"{manifest.created} made by {manifest.code}",
                "fieldflux": manifest.model_dump(mode="json"),
                **placed(self.grid, self.window),
            }
            group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
            (self._folder / "zarr.json").write_text(json.dumps(group, indent=1, ensure_ascii=False))
            _replace(self._folder, self.path)
        except OSError as error:
            raise CubeNotWritten(_cannot_write(self.path, error)) from error
        return self.path

    def _describe(self, name: str) -> dict[str, Any]:
        v = variable(name)
        self._inputs[name] = v.unit
        attrs = {"long_name": v.long_name, "units": v.unit}
        if v.standard_name:
            attrs["standard_name"] = v.standard_name
        return attrs

    def _check_shape(self, name: str, shape: tuple[int, ...], *allowed: tuple[int, ...]) -> None:
        if shape not in allowed:
            raise CubeNotWritten(
                f"{name} has the shape {list(shape)}, but this cube needs {' or '.join(str(list(a)) for a in allowed)} "
                f"({self.days.size} days of {self.years[0]}-{self.years[-1]})."
            )

    def _check_range(self, name: str, array: NDArray[Any]) -> None:
        v = variable(name)
        with np.errstate(invalid="ignore"):
            wrong = (array < v.low) | (array > v.high) | np.isinf(array)
        if wrong.any():
            where = np.argwhere(wrong)[0]
            raise CubeNotWritten(
                f"{name} has {int(wrong.sum())} values outside {v.low:g} to {v.high:g} {v.unit}, the first of them "
                f"{float(array[tuple(where)]):g}. Check its unit, and the code that marks missing values."
            )

    def _coordinates(self) -> None:
        from pyproj import CRS

        crs = CRS.from_user_input(self.grid.crs)
        self._put_all("crs", np.int32(0), (), crs.to_cf())
        rows = np.arange(self.window.row0, self.window.row1)
        cols = np.arange(self.window.col0, self.window.col1)
        x, _ = self.grid.centres(np.zeros_like(cols), cols)
        _, y = self.grid.centres(rows, np.zeros_like(rows))
        for name, values in (("x", x), ("y", y)):
            attrs = {"standard_name": f"projection_{name}_coordinate", "units": "m", "axis": name.upper()}
            self._put_all(name, values, (name,), attrs)
        attrs = {"units": "days since 1970-01-01", "calendar": "standard", "standard_name": "time", "axis": "T"}
        self._put_all("time", self.days.astype(np.int64).astype(np.int32), ("time",), attrs)
        self._put_all("year", np.array(self.years, np.int32), ("year",), {"long_name": "calendar year"})

    def _put_all(
        self,
        name: str,
        values: ArrayLike,
        dims: tuple[str, ...],
        attrs: Mapping[str, Any],
        chunks: tuple[int, ...] | None = None,
    ) -> None:
        array = np.asarray(values)
        fill = np.nan if array.dtype.kind == "f" else 0
        try:
            store = self._create(name, array.shape, array.dtype, dims, chunks or array.shape, attrs, fill)
            store.write(array).result()
        except (OSError, ValueError) as error:
            raise CubeNotWritten(_cannot_write(self.path, error)) from error

    def _put(
        self,
        name: str,
        values: NDArray[Any],
        dims: tuple[str, ...],
        window: Window | None,
        attrs: Mapping[str, Any],
        dtype: Any,
        fill: float,
    ) -> None:
        part = window or self.window
        lead = values.shape[:-2]
        self._check_shape(name, values.shape, (*lead, *part.shape))
        if dims[0] == "year":
            self._check_shape(name, values.shape, (len(self.years), *part.shape))
        try:
            if name not in self._arrays:
                side = 128 if lead else 256
                chunks = (*(min(n, 32) for n in lead), *(min(side, n) for n in self.window.shape))
                shape = (*lead, *self.window.shape)
                attrs = {**attrs, "grid_mapping": "crs"}
                self._create(name, shape, np.dtype(dtype), dims, chunks, attrs, fill)
                if part != self.window:
                    self._arrays[name].write(np.full(shape, fill, dtype)).result()
            where = (..., *part.slices(self.window))
            self._arrays[name][where].write(values).result()
        except (OSError, ValueError) as error:
            raise CubeNotWritten(_cannot_write(self.path, error)) from error

    def _create(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        dims: tuple[str, ...],
        chunks: tuple[int, ...],
        attrs: Mapping[str, Any],
        fill: float,
    ) -> Any:
        import tensorstore as ts

        codecs: list[dict[str, Any]] = [{"name": "bytes", "configuration": {"endian": "little"}}]
        if dtype.itemsize == 1:
            codecs[0] = {"name": "bytes"}
        blosc = {"cname": "zstd", "clevel": 3, "shuffle": "bitshuffle", "typesize": dtype.itemsize, "blocksize": 0}
        if shape:
            codecs.append({"name": "blosc", "configuration": blosc})
        metadata = {
            "shape": list(shape),
            "data_type": dtype.name,
            "chunk_grid": {
                "name": "regular",
                "configuration": {"chunk_shape": [max(1, min(c, n)) for c, n in zip(chunks, shape, strict=True)]},
            },
            "fill_value": "NaN" if np.isnan(fill) else int(fill),
            "codecs": codecs,
            "dimension_names": list(dims),
            "attributes": dict(attrs),
        }
        store = ts.open({**spec(self._folder / name), "metadata": metadata, "create": True}).result()
        self._arrays[name] = store
        return store

    def _drop_empty(self) -> None:
        for name in list(self._inputs):
            if VARIABLES[name].period != "year" and not np.isfinite(np.asarray(self._arrays[name])).any():
                del self._inputs[name], self._arrays[name]
                shutil.rmtree(self._folder / name)

    def _mask(self) -> None:
        ok = np.asarray(self._arrays["weather_index"]) >= 0
        for name in self._inputs:
            if VARIABLES[name].period == "static" and name not in OPTIONAL_STATIC:
                ok &= np.isfinite(np.asarray(self._arrays[name]))
        attrs = {"long_name": "cells with weather and all needed static inputs"}
        self._put("mask", ok.astype(np.uint8), ("y", "x"), None, attrs, np.uint8, 0)

    def _hash(self) -> str:
        digest = hashlib.sha256()
        head = {"format": FORMAT, "grid": self.grid.to_dict(), "window": str(self.window), "years": self.years}
        digest.update(json.dumps(head, sort_keys=True).encode())
        for name in sorted(self._arrays):
            store = self._arrays[name]
            digest.update(f"{name} {store.dtype.name} {list(store.shape)}".encode())
            parts = [store[k] for k in range(store.shape[0])] if len(store.shape) == 3 else [store]
            for part in parts:
                digest.update(np.ascontiguousarray(part.read().result()).tobytes())
        for name in sorted(self._jsons):
            digest.update(name.encode() + self._jsons[name].encode())
        return digest.hexdigest()


def _replace(new: Path, path: Path) -> None:
    old = new.with_suffix(".old")
    if path.exists():
        path.rename(old)
    new.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def _cannot_write(path: Path, error: Exception) -> str:
    text = str(error)
    reason = next(
        (r for r in ("No space left on device", "Read-only file system", "Permission denied") if r in text), ""
    )
    return f"The cube cannot be written to {path}: {reason or text}. Choose another place, or make room there."
