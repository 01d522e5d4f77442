"""A tile's numbers as a GeoTIFF, with all that it takes to use them elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def geotiff(
    values: NDArray[np.float32],
    bounds: tuple[float, float, float, float],
    crs: str,
    unit: str,
    description: str,
    tags: Mapping[str, str],
) -> bytes:
    """One band of float32 [rows, cols], north up, deflated; NaN is "no data".

    bounds: west, south, east, north of the outer edges, in `crs`.
    """
    import rasterio
    from rasterio.io import MemoryFile
    from rasterio.transform import from_bounds

    rows, cols = values.shape
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", dtype="float32", count=1, height=rows, width=cols, nodata=float("nan"),
            crs=rasterio.CRS.from_user_input(crs), transform=from_bounds(*bounds, cols, rows), compress="deflate",
            predictor=3, zlevel=1, tiled=True, blockxsize=256, blockysize=256,
        ) as file:  # fmt: skip
            file.write(values, 1)
            file.set_band_unit(1, unit)
            file.set_band_description(1, description)
            file.update_tags(**tags)
        return bytes(memory.read())
