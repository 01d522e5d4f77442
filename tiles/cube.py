"""The input cube: everything that a model reads about the cells of a region. `cubefile.py` tells its format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from fieldflux.models.contract import Forcing
from fieldflux.models.variables import VARIABLES
from numpy.typing import ArrayLike, NDArray
from pydantic import ValidationError

from .cubefile import DOCUMENTS, FORMAT, BadCube, Manifest, Source, check_years, days_of, spec
from .grid import BadGrid, Grid, Window

__all__ = ["BadCube", "Cube", "OutsideCube", "open_cube"]

CACHE_BYTES = 64 << 20


class OutsideCube(BadCube):
    """Cells or years that the cube does not cover."""


@dataclass(frozen=True, eq=False)
class Cube:
    """An open input cube. Safe to share between threads; a copy sent to another process opens it there.

    statement: origin of the inputs, to be shown with every answer made from them. synthetic: they were made in code.
    at_once: a view for models without day or year: its one year, the last, stands for all, and whoever asks for the
    forcing of that year gets the whole record's.
    """

    path: Path
    manifest: Manifest
    grid: Grid
    window: Window
    _arrays: _Arrays = field(repr=False)
    at_once: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.path, self.at_once)

    def as_record(self) -> Cube:
        """The same cube, its years as one record."""
        return replace(self, at_once=True)

    def same_files(self, other: Cube) -> bool:
        """Whether it reads the open files that another does."""
        return self._arrays is other._arrays

    @property
    def id(self) -> str:
        return self.manifest.id

    @property
    def title(self) -> str:
        return self.manifest.title

    @property
    def statement(self) -> str:
        return self.manifest.statement

    @property
    def notes(self) -> tuple[str, ...]:
        """Faults, estimates and defaults in the inputs."""
        return self.manifest.notes

    @property
    def sources(self) -> tuple[Source, ...]:
        return self.manifest.sources

    @property
    def licence(self) -> str:
        return self.manifest.licence

    @property
    def synthetic(self) -> bool:
        return self.manifest.synthetic

    @property
    def years(self) -> tuple[int, ...]:
        return self.manifest.years[-1:] if self.at_once else self.manifest.years

    @property
    def record(self) -> tuple[date, date]:
        """First and last day of all there is."""
        return date(self.manifest.years[0], 1, 1), date(self.manifest.years[-1], 12, 31)

    @property
    def hash(self) -> str:
        """sha256 of the content."""
        return self.manifest.hash

    def available(self) -> dict[str, str]:
        """Inputs that are here: name -> unit, for `contract.check_inputs`."""
        return dict(self.manifest.inputs)

    def mask(self) -> NDArray[np.bool_]:
        """[rows, cols] of the window: cells with weather and all needed static inputs."""
        return self.read("mask").astype(bool)

    def crops(self, year: int) -> NDArray[np.int16]:
        """[rows, cols] of the window: code of the Cropland Data Layer in that year, 0 = none. Raises OutsideCube."""
        values: NDArray[np.int16] = self._arrays.read("crop", (self._year(year), ...))
        return values

    def annual(self, name: str, window: Window) -> NDArray[Any]:
        """[years, rows, cols] of a yearly input over a window inside the cube's. Raises BadCube."""
        w = self.window
        rows = slice(window.row0 - w.row0, window.row1 - w.row0)
        cols = slice(window.col0 - w.col0, window.col1 - w.col0)
        return self._arrays.read(name, (slice(None), rows, cols))

    def read(self, name: str) -> NDArray[Any]:
        """A whole array of the cube, by its name in the file. Raises BadCube with the names there are."""
        return self._arrays.read(name, ...)

    def outline(self) -> dict[str, Any] | None:
        """Outline of the region, GeoJSON in longitude and latitude; None where it has none."""
        found: dict[str, Any] | None = self._json("outline.geojson")
        return found

    def fields(self) -> dict[str, Any] | None:
        """Outlines of its fields, a GeoJSON FeatureCollection in longitude and latitude; None where it has none."""
        found: dict[str, Any] | None = self._json("fields.geojson")
        return found

    def documents(self) -> frozenset[str]:
        """What there is of outline.geojson, fields.geojson and weather_names.json, without reading it."""
        return frozenset(p.name for p in (self.path / DOCUMENTS).glob("*json") if p.name != "zarr.json")

    def weather_names(self) -> list[str] | None:
        """Names of the weather cells, where they have any."""
        names: Any = self._json("weather_names.json")
        return names if isinstance(names, list) else None

    def bounds_lonlat(self) -> tuple[float, float, float, float]:
        """West, south, east, north of the window, degrees."""
        x, y = self.grid.edges(self.window)
        around_x = np.concatenate([x, x, np.full(y.size, x[0]), np.full(y.size, x[-1])])
        around_y = np.concatenate([np.full(x.size, y[0]), np.full(x.size, y[-1]), y, y])
        lon, lat = self.grid.to_lonlat(around_x, around_y)
        return float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())

    def forcing(self, rows: ArrayLike, cols: ArrayLike, years: Sequence[int]) -> Forcing:
        """Inputs of cells over whole calendar years.

        rows, cols: absolute cells [C]. years: consecutive. The annual inputs are of these and, where the cube has it,
        of the next. Only the weather rows and GPP rows that these cells need are
        given, each once. A cell without weather points at a row of NaN.
        Raises OutsideCube where a cell or a year is not in the cube.
        """
        wanted = self.manifest.years if self.at_once else check_years(years)
        first, _ = self._year(wanted[0]), self._year(wanted[-1])
        r, c = self._inside(rows, cols)
        days = days_of(wanted)
        start = int((days[0] - np.datetime64(f"{self.record[0]}")).astype(int))
        span = slice(start, start + days.size)

        inputs = self.manifest.inputs
        daily = [n for n in inputs if VARIABLES[n].period == "day" and n != "gpp_given"]
        annual = [n for n in inputs if VARIABLES[n].period == "year"]
        static = [n for n in inputs if VARIABLES[n].period == "static"]
        has_gpp = "gpp_given" in inputs
        at = _Cells(r, c)
        # a winter crop of the next year is sown in the autumn of this one
        known_years = wanted if wanted[-1] == self.manifest.years[-1] else (*wanted, wanted[-1] + 1)
        of_years = slice(first, first + len(known_years))

        placed = ["weather_index", *static]
        yearly = [*annual, *(["gpp_unit"] if has_gpp else [])]
        got = self._arrays.read_many(
            [*((n, at.region) for n in placed), *((n, (of_years, *at.region)) for n in yearly)]
        )
        placed_values = {n: at.pick(v) for n, v in zip(placed, got, strict=False)}
        yearly_values = {n: at.pick(v).T for n, v in zip(yearly, got[len(placed) :], strict=True)}

        used, weather = np.unique(placed_values["weather_index"], return_inverse=True)
        weather_rows = used[used >= 0]
        got = self._arrays.read_many(
            [(n, (weather_rows, span) if self._arrays.rank(n) == 2 else (span,)) for n in daily]
        )
        rows_of = {n: _rows(v, used.size, weather_rows.size) for n, v in zip(daily, got, strict=True)}

        given = unit = None
        if has_gpp:
            of_cells = yearly_values.pop("gpp_unit")
            of_cells[:, len(wanted) :] = -1
            units, inverse = np.unique(of_cells, return_inverse=True)
            known = units[units >= 0]
            if known.size:
                given = self._arrays.read("gpp_given", (known, span))
                unit = inverse.reshape(of_cells.shape) - (units.size - known.size)
        return Forcing(
            start=date(wanted[0], 1, 1),
            years=known_years,
            daily=rows_of,
            weather=weather.reshape(-1),
            annual={n: np.ascontiguousarray(yearly_values[n], np.float32) for n in annual},
            static={n: placed_values[n] for n in static},
            gpp_given=given,
            gpp_unit=unit,
        )

    def _year(self, year: int) -> int:
        years = self.manifest.years
        if year not in years:
            raise OutsideCube(
                f"The cube '{self.id}' has no year {year}; it covers {years[0]} to {years[-1]}. "
                f"Choose dates inside that period."
            )
        return year - years[0]

    def _inside(self, rows: ArrayLike, cols: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        r, c = np.atleast_1d(np.asarray(rows, np.int64)), np.atleast_1d(np.asarray(cols, np.int64))
        if r.shape != c.shape or r.ndim != 1 or not r.size:
            raise OutsideCube(
                f"Cells are given by as many rows as columns, at least one; got shapes {r.shape} and {c.shape}."
            )
        w = self.window
        inside = w.contains(r, c)
        if not inside.all():
            k = int(np.argmin(inside))
            raise OutsideCube(
                f"Cell (row {int(r[k])}, column {int(c[k])}) lies outside the cube '{self.id}', whose rows are "
                f"{w.row0} to {w.row1 - 1} and columns {w.col0} to {w.col1 - 1}."
            )
        return r - w.row0, c - w.col0

    def _json(self, name: str) -> Any:
        file = self.path / DOCUMENTS / name
        if not file.exists():
            return None
        try:
            return json.loads(file.read_text())
        except (OSError, ValueError) as error:
            raise BadCube(f"{file} cannot be read: {error}. Build the cube again.") from error


def _again(path: Path, at_once: bool) -> Cube:
    found = open_cube(path)
    return found.as_record() if at_once else found


def open_cube(path: Path | str) -> Cube:
    """Open a cube.

    Raises BadCube where there is none, it is damaged, or it was written in another format.
    """
    folder = Path(path).absolute()
    file = folder / "zarr.json"
    if not file.is_file():
        raise BadCube(
            f"There is no input cube at {folder}: the file zarr.json is missing. Build one with `fieldflux cube build`."
        )
    try:
        stated = json.loads(file.read_text())["attributes"]["fieldflux"]
        if stated.get("format") != FORMAT:
            raise BadCube(
                f"The cube at {folder} has format {stated.get('format')}, but this version of Fieldflux reads format "
                f"{FORMAT}. Build it again with `fieldflux cube build`."
            )
        manifest = Manifest.model_validate(stated)
        grid, window = Grid(**manifest.grid), Window(*manifest.window)
        check_years(manifest.years)
        unknown = [n for n in manifest.inputs if n not in VARIABLES]
        if unknown:
            raise BadCube(f"The cube at {folder} has inputs of unknown names: {', '.join(unknown)}. Build it again.")
    except (OSError, KeyError, TypeError, AttributeError, BadGrid, ValidationError, json.JSONDecodeError) as error:
        raise BadCube(
            f"The folder {folder} is not a Fieldflux input cube, or its manifest is damaged: {error}. "
            f"Build the cube again with `fieldflux cube build`."
        ) from error
    missing = [n for n in (*manifest.inputs, "weather_index", "mask") if not (folder / n / "zarr.json").is_file()]
    if missing:
        raise BadCube(
            f"The cube at {folder} is damaged: its arrays {', '.join(missing)} are missing. Build it again with "
            f"`fieldflux cube build`."
        )
    return Cube(folder, manifest, grid, window, _Arrays(folder))


class _Arrays:
    """Arrays of a cube, opened when first read and kept, with one cache of decoded chunks for all of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, Any] = {}
        self._context: Any = None
        self._lock = Lock()

    def rank(self, name: str) -> int:
        return len(self._get([name])[name].shape)

    def read(self, name: str, where: Any) -> NDArray[Any]:
        return self.read_many([(name, where)])[0]

    def read_many(self, wanted: Sequence[tuple[str, Any]]) -> list[NDArray[Any]]:
        """Read parts of arrays, all at once."""
        arrays = self._get([name for name, _ in wanted])
        futures = [arrays[name][where].read() for name, where in wanted]
        values = []
        for (name, _), future in zip(wanted, futures, strict=True):
            try:
                values.append(np.asarray(future.result()))
            except (OSError, ValueError) as error:
                raise BadCube(
                    f"The array '{name}' of the cube at {self._folder} cannot be read: {error}. The cube is damaged; "
                    f"build it again with `fieldflux cube build`."
                ) from error
        return values

    def _get(self, names: Sequence[str]) -> dict[str, Any]:
        lacking = [n for n in names if n not in self._open]
        if lacking:
            with self._lock:
                self._open_all([n for n in lacking if n not in self._open])
        return self._open

    def _open_all(self, names: Sequence[str]) -> None:
        import tensorstore as ts

        if self._context is None:
            self._context = ts.Context({"cache_pool": {"total_bytes_limit": CACHE_BYTES}})
        for name in names:
            if not (self._folder / name / "zarr.json").is_file():
                there = sorted(p.parent.name for p in self._folder.glob("*/zarr.json"))
                raise BadCube(f"The cube at {self._folder} has no array '{name}'; it has: {', '.join(there)}.")
        opening = {
            name: ts.open(
                {**spec(self._folder / name), "recheck_cached_data": "open"},
                open=True,
                read=True,
                context=self._context,
            )
            for name in names
        }
        for name, future in opening.items():
            try:
                self._open[name] = future.result()
            except (OSError, ValueError) as error:
                raise BadCube(
                    f"The array '{name}' of the cube at {self._folder} cannot be opened: {error}. The cube is damaged; "
                    f"build it again with `fieldflux cube build`."
                ) from error


class _Cells:
    """How some cells are read: by their bounding box where it is not much larger than they are, else one by one."""

    def __init__(self, rows: NDArray[np.int64], cols: NDArray[np.int64]) -> None:
        row0, row1, col0, col1 = int(rows.min()), int(rows.max()) + 1, int(cols.min()), int(cols.max()) + 1
        self._box = (row1 - row0) * (col1 - col0) <= 4 * rows.size + 1024
        if self._box:
            self.region: tuple[Any, Any] = (slice(row0, row1), slice(col0, col1))
            self._flat = (rows - row0) * (col1 - col0) + (cols - col0)
        else:
            self.region = (rows, cols)

    def pick(self, values: NDArray[Any]) -> NDArray[Any]:
        """[..., C] from what was read of `region`."""
        if not self._box:
            return values
        return values.reshape(*values.shape[:-2], -1)[..., self._flat]


def _rows(values: NDArray[Any], used: int, found: int) -> NDArray[np.float32]:
    if values.ndim == 1:
        values = np.repeat(values[None], found, axis=0)
    if used > found:  # np.unique puts the -1 of cells without weather first
        values = np.concatenate([np.full((1, values.shape[1]), np.nan, np.float32), values])
    return np.ascontiguousarray(values, np.float32)
