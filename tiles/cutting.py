"""Exact fractions of cells by exactextract: of very large polygons, and of ones that reach beyond the inputs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import shapely
from numpy.typing import NDArray

from .edges import SLIVER
from .grid import Window
from .shape import Area

CELLS_AT_ONCE = 4_000_000

Fractions: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
"""Rows, columns and covered fractions of cells."""


def cut(parts: Sequence[tuple[Area, Window]]) -> list[Fractions]:
    """Rows, columns and covered fractions of the cells of each box; polygons in columns and rows.

    All are cut in one pass over a raster that is as large as the largest of the boxes: each is moved to its own corner
    of it, where numbers are small and exact, so that company changes no fraction.
    """
    from exactextract.operation import Operation
    from exactextract.processor import FeatureSequentialProcessor
    from exactextract.raster import NumPyRasterSource

    boxes = [box for _, box in parts]
    height, width = max(box.shape[0] for box in boxes), max(box.shape[1] for box in boxes)
    # exactextract counts rows northward from its lowest y
    polygons = np.array([polygon for polygon, _ in parts], object)
    points, of = shapely.get_coordinates(polygons, return_index=True)
    points[:, 0] -= np.array([box.col0 for box in boxes])[of]
    points[:, 1] = np.array([box.row1 for box in boxes])[of] - points[:, 1]
    local = shapely.to_wkb(shapely.set_coordinates(polygons.copy(), points))
    raster = NumPyRasterSource(np.broadcast_to(np.zeros(1, np.uint8), (height, width)), 0, 0, width, height)
    # The processor keeps bare pointers to these: they must outlive it
    source, writer = _exactextract_ends()
    features, result = source(local), writer()
    operations = [Operation("cell_id", "cell", raster), Operation("coverage", "fraction", raster)]
    processor = FeatureSequentialProcessor(features, result, operations)
    processor.set_max_cells_in_memory(CELLS_AT_ONCE)
    processor.process()
    found = []
    for box, of in zip(boxes, result.features, strict=True):
        cell = np.asarray(of.get("cell"), np.int64)
        fraction = np.minimum(np.asarray(of.get("fraction"), np.float64), 1.0)
        rows, cols = cell // width + box.row1 - height, cell % width + box.col0
        # What the raster holds beyond this box lies outside the window
        real = (fraction > SLIVER) & (rows >= box.row0) & (cols < box.col1)
        rows, cols, fraction = rows[real], cols[real], fraction[real]
        order = np.argsort((rows - box.row0) * box.shape[1] + cols - box.col0, kind="stable")
        found.append((rows[order], cols[order], fraction[order]))
    return found


@lru_cache(maxsize=1)
def _exactextract_ends() -> tuple[Any, Any]:
    """Where exactextract reads polygons from and writes its results to: WKB in, arrays out, no GeoJSON between."""
    from exactextract.feature import FeatureSource, JSONFeature
    from exactextract.writer import Writer

    class Wkb(JSONFeature):  # type: ignore[misc]
        def __init__(self, wkb: bytes) -> None:
            super().__init__()
            self.wkb = wkb

        def geometry(self) -> bytes:
            return self.wkb

        def set_geometry_format(self) -> str:
            return "wkb"

    class All(FeatureSource):  # type: ignore[misc]
        def __init__(self, wkbs: Sequence[bytes]) -> None:
            super().__init__()
            self.features = [Wkb(wkb) for wkb in wkbs]

        def count(self) -> int:
            return len(self.features)

        def __iter__(self) -> Any:
            yield from self.features

        def srs_wkt(self) -> None:
            return None

    class Keep(Writer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.features: list[Any] = []

        def add_operation(self, operation: Any) -> None:
            pass

        def write(self, feature: Any) -> None:
            kept = JSONFeature()
            feature.copy_to(kept)
            self.features.append(kept)

    return All, Keep
