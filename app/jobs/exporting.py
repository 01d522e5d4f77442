"""A batch of an export: some steps of a variable over a window of the grid, as a file."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from fieldflux.app.answer import asked_of
from fieldflux.app.workspace import Place, Workspace
from fieldflux.models.variables import variable
from numpy.typing import NDArray

from .asked import ExportJob, about_of
from .plan import window_of

if TYPE_CHECKING:
    from fieldflux.tiles.grid import Window
    from fieldflux.tiles.steps import Steps
    from fieldflux.tiles.store import Store


def about(workspace: Workspace, job: ExportJob) -> tuple[Place, Store, Window, Steps]:
    """What an export reads. Raises as planning it did."""
    from fieldflux.tiles.steps import Steps

    place, source, request = asked_of(workspace, about_of(job))
    assert source.store is not None
    window = place.cube.window if job.bbox is None else window_of(place, job.bbox)
    return place, source.store, window, Steps.of(job.step, request.first, request.last)


def values_of(store: Store, window: Window, job: ExportJob, steps: Steps, begin: int, end: int) -> NDArray[np.float32]:
    """[step, row, col] of steps begin to end: sums of fluxes, means of states; NaN where any day has no value."""
    found = np.full((end - begin, *window.shape), np.nan, np.float32)
    v = variable(job.variable)
    for i in range(begin, end):
        first = steps.starts[i].astype(date)
        last = (steps.starts[i] + steps.lengths[i] - 1).astype(date)
        if v.period != "day":
            found[i - begin] = store.read_year(job.variable, window, first.year)
        elif job.step == "day" or v.over_time == "last":
            found[i - begin] = store.read_days(job.variable, window, last, last)[0]
        else:
            # Month by month: a year of days of a large window takes too much memory.
            total = np.zeros(window.shape)
            for a, b in _pieces(first, last):
                total += store.read_days(job.variable, window, a, b).sum(axis=0, dtype=np.float64)
            found[i - begin] = total if v.over_time == "sum" else total / steps.lengths[i]
    return found


def unit_of(job: ExportJob) -> str:
    """The unit of an export's values."""
    v = variable(job.variable)
    return v.unit_over("day" if job.step == "day" else "year")


def write_geotiff(
    path: Path, values: NDArray[np.float32], place: Place, window: Window, unit: str, labels: list[str], tags: Any
) -> None:
    """A cloud-optimized GeoTIFF in the grid's own projection, a band for each step; NaN is "no data"."""
    import rasterio
    import rasterio.shutil
    from rasterio.io import MemoryFile
    from rasterio.transform import Affine

    grid = place.cube.grid
    transform = Affine(
        grid.size, 0, grid.x0 + window.col0 * grid.size, 0, -grid.size, grid.y0 - window.row0 * grid.size
    )
    count, rows, cols = values.shape
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", dtype="float32", count=count, height=rows, width=cols, nodata=float("nan"),
            crs=rasterio.CRS.from_user_input(grid.crs), transform=transform,
        ) as file:  # fmt: skip
            file.write(values)
            for band, label in enumerate(labels, 1):
                file.set_band_description(band, label)
                file.set_band_unit(band, unit)
            file.update_tags(**tags)
        with memory.open() as source:
            rasterio.shutil.copy(
                source, path, driver="COG", compress="DEFLATE", predictor="YES", overview_resampling="AVERAGE"
            )


def tags_of(place: Place, store: Store, job: ExportJob) -> dict[str, str]:
    """What to know of an export, wherever it goes."""
    v = variable(job.variable)
    return {
        "variable": v.name,
        "long_name": v.long_name,
        "units": unit_of(job),
        **({"sign": v.sign} if v.sign else {}),
        "step": job.step,
        "model": place.card.id,
        "weights_sha256": place.card.weights_sha256,
        "cube": place.cube.id,
        "cube_hash": place.cube.hash,
        "snapshot": store.snapshot,
        "statement": place.cube.statement,
        "synthetic": str(place.cube.synthetic).lower(),
        "licence": place.cube.licence,
    }


def dataset(
    place: Place, store: Store, window: Window, job: ExportJob, steps: Steps, begin: int, end: int, values: Any
) -> Any:
    """The steps begin to end as an xarray.Dataset after CF-1.11, on the grid's own projection."""
    import xarray as xr
    from pyproj import CRS

    grid = place.cube.grid
    rows, cols = np.arange(window.row0, window.row1), np.arange(window.col0, window.col1)
    x, y = grid.x0 + (cols + 0.5) * grid.size, grid.y0 - (rows + 0.5) * grid.size
    epoch = np.datetime64("1970-01-01", "D")
    first = (steps.starts[begin:end] - epoch).astype(np.int32)
    after = first + steps.lengths[begin:end].astype(np.int32)
    tags = tags_of(place, store, job)
    v = variable(job.variable)
    how = {"sum": "sum", "mean": "mean", "last": "point"}[v.over_time] if job.step != "day" else "mean"
    said = {
        "long_name": v.long_name,
        "units": unit_of(job),
        "grid_mapping": "crs",
        "cell_methods": f"area: mean time: {how}",
        **({"comment": f"Sign: {v.sign}."} if v.sign else {}),
    }
    on_x = {"standard_name": "projection_x_coordinate", "units": "m", "axis": "X"}
    on_y = {"standard_name": "projection_y_coordinate", "units": "m", "axis": "Y"}
    on_time = {"standard_name": "time", "units": "days since 1970-01-01", "calendar": "standard", "axis": "T"}
    return xr.Dataset(
        {
            job.variable: (("time", "y", "x"), values, said),
            "crs": ((), np.int32(0), CRS.from_user_input(grid.crs).to_cf()),
            "time_bnds": (("time", "nv"), np.stack([first, after], axis=1)),
        },
        coords={
            "time": ("time", first, {**on_time, "bounds": "time_bnds"}),
            "y": ("y", y, on_y),
            "x": ("x", x, on_x),
        },
        attrs={"Conventions": "CF-1.11", **{k: t for k, t in tags.items() if k not in ("units", "long_name")}},
    )


def _pieces(first: date, last: date) -> list[tuple[date, date]]:
    ends = np.arange(np.datetime64(first, "M") + 1, np.datetime64(last, "M") + 1).astype("M8[D]")
    begins = [np.datetime64(first), *ends]
    return [(a.astype(date), b.astype(date)) for a, b in zip(begins, [*(ends - 1), np.datetime64(last)], strict=True)]


def join_netcdf(parts: Any, path: Path, name: str) -> None:
    """One NetCDF of datasets one behind the other in time, written part by part."""
    import h5netcdf

    steps = sum(part.sizes["time"] for part in parts)
    with h5netcdf.File(path, "w") as whole:
        for dimension, size in parts[0].sizes.items():
            whole.dimensions[str(dimension)] = steps if dimension == "time" else size
        for key, variable in parts[0].variables.items():
            kwargs: dict[str, Any] = {}
            if key == name:
                rows, cols = (min(int(n), 256) for n in variable.shape[1:])
                kwargs = {"chunks": (1, rows, cols), "compression": "gzip", "compression_opts": 1, "fillvalue": np.nan}
            made = whole.create_variable(str(key), variable.dims, variable.dtype, **kwargs)
            for attribute, value in variable.attrs.items():
                made.attrs[attribute] = value
        for attribute, value in parts[0].attrs.items():
            whole.attrs[attribute] = value
        begin = 0
        for part in parts:
            count = part.sizes["time"]
            for key, variable in part.variables.items():
                if "time" in variable.dims:
                    whole.variables[str(key)][begin : begin + count] = variable.values
                elif not begin:
                    whole.variables[str(key)][...] = variable.values
            begin += count


def join_zarr(parts: Any, path: Path, name: str) -> None:
    """One Zarr (v3, in a zip) of datasets one behind the other in time, written part by part."""
    import shutil
    import tempfile

    chunks = [1, *(min(int(n), 256) for n in parts[0][name].shape[1:])]
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        at = Path(folder) / "zarr"
        for i, part in enumerate(parts):
            # Encodings are those of the NetCDF file it comes from.
            plain = part.drop_encoding()
            if not i:
                plain.to_zarr(at, mode="w", consolidated=False, zarr_format=3, encoding={name: {"chunks": chunks}})
            else:
                timeless = [key for key, variable in plain.variables.items() if "time" not in variable.dims]
                plain.drop_vars(timeless).to_zarr(at, append_dim="time", consolidated=False, zarr_format=3)
        made = shutil.make_archive(str(Path(folder) / "packed"), "zip", at)
        shutil.move(made, path)
