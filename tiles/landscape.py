"""A made-up farm landscape of the Des Moines Lobe near Ames, Iowa: fields, rotations, management, soils, weather.

Everything here is synthetic and comes from one seed. It looks like the place, so that a map and a model have something
true to life to work on, and tells nothing about any real farm. Sections follow the Public Land Survey: a mile on a
side, squared to true north, split into quarters and what people make of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .grid import Grid, Window
from .weathergen import AMES, generate

Floats = NDArray[np.float64]

MILE = 1609.344
ROAD = 10.0  # half the width of a section road with its ditches, m
SUB = 10  # sub-cells on a side of a cell, to find what covers most of it
WEATHER_CELLS = 48  # cells on a side of a weather cell: 12 km

# Ames lies at row 4223, column 10203, in block 16, 39, whose columns end at 10240. So that the landscape lies in that
# one block, it reaches farther west of Ames than east.
WINDOW = Window(4160, 4320, 10080, 10240)
YEARS = (2018, 2019, 2020, 2021, 2022, 2023)

CORN, SOYBEAN, WHEAT, ALFALFA, PASTURE = 1, 5, 24, 36, 176
FOREST, TOWN, WATER, ROADSIDE = 141, 122, 111, 121
NAMES = {CORN: "maize", SOYBEAN: "soybean", WHEAT: "winter_wheat", ALFALFA: "alfalfa", PASTURE: "pasture"}

LAYERS_TOP = (0.0, 0.05, 0.15, 0.30, 0.60)
LAYERS_BOTTOM = (0.05, 0.15, 0.30, 0.60, 1.00)


@dataclass(frozen=True, slots=True)
class Soil:
    """A map unit: values of its layers (LAYERS_TOP, LAYERS_BOTTOM), from the top down, in units of the vocabulary.

    The values are plausible ones for soils of that name, chosen for this landscape; they are not survey data.
    """

    name: str
    sand: tuple[float, ...]
    clay: tuple[float, ...]
    bulk_density: tuple[float, ...]
    field_capacity: tuple[float, ...]
    wilting_point: tuple[float, ...]
    ksat: tuple[float, ...]
    soc_content: tuple[float, ...]
    ph: tuple[float, ...]
    cec: tuple[float, ...]

    def layer(self, prop: str) -> Floats:
        """[L] values of a property; silt is what sand and clay leave."""
        if prop == "silt":
            return 1000.0 - self.layer("sand") - self.layer("clay")
        return np.array(getattr(self, prop), float)

    def topsoil(self, prop: str) -> float:
        """Mean over 0-30 cm, by thickness; of soil carbon by mass, so that the stock is kept."""
        thickness = np.array(LAYERS_BOTTOM[:3]) - np.array(LAYERS_TOP[:3])
        weight = thickness * (self.layer("bulk_density")[:3] if prop == "soc_content" else 1.0)
        return float(np.average(self.layer(prop)[:3], weights=weight))


# fmt: off
SOILS = (
    Soil("Storden", (430, 430, 440, 450, 460), (200, 200, 205, 200, 190), (1.42, 1.45, 1.50, 1.58, 1.65),
         (0.27, 0.27, 0.265, 0.26, 0.25), (0.125, 0.125, 0.125, 0.12, 0.115), (33, 33, 30, 26, 20),
         (15, 14, 9, 4, 2), (7.9, 7.9, 8.0, 8.1, 8.2), (17, 17, 15, 12, 10)),
    Soil("Clarion", (380, 380, 385, 400, 440), (230, 230, 240, 240, 210), (1.35, 1.38, 1.42, 1.50, 1.60),
         (0.29, 0.29, 0.285, 0.28, 0.265), (0.145, 0.145, 0.145, 0.145, 0.13), (33, 33, 33, 30, 24),
         (24, 22, 17, 7, 3), (6.2, 6.1, 6.2, 6.6, 7.8), (21, 21, 19, 17, 13)),
    Soil("Nicollet", (320, 320, 325, 350, 410), (265, 265, 275, 270, 230), (1.30, 1.33, 1.38, 1.46, 1.58),
         (0.315, 0.315, 0.31, 0.295, 0.275), (0.165, 0.165, 0.17, 0.165, 0.14), (30, 30, 28, 26, 22),
         (30, 28, 22, 10, 4), (6.3, 6.2, 6.3, 6.8, 7.8), (26, 26, 24, 20, 15)),
    Soil("Webster", (210, 210, 215, 260, 380), (320, 320, 325, 310, 250), (1.27, 1.30, 1.34, 1.42, 1.56),
         (0.35, 0.35, 0.345, 0.33, 0.285), (0.20, 0.20, 0.20, 0.19, 0.15), (24, 24, 22, 20, 20),
         (37, 35, 28, 13, 5), (6.9, 6.9, 7.0, 7.3, 7.9), (33, 33, 31, 26, 17)),
    Soil("Canisteo", (250, 250, 255, 290, 390), (305, 305, 310, 300, 245), (1.27, 1.30, 1.34, 1.42, 1.56),
         (0.34, 0.34, 0.335, 0.32, 0.28), (0.19, 0.19, 0.19, 0.185, 0.15), (24, 24, 22, 20, 20),
         (36, 34, 27, 12, 5), (7.8, 7.8, 7.9, 8.0, 8.1), (32, 32, 30, 25, 17)),
    Soil("Okoboji", (90, 90, 90, 100, 150), (365, 365, 375, 390, 360), (1.20, 1.24, 1.28, 1.33, 1.42),
         (0.385, 0.385, 0.38, 0.375, 0.355), (0.225, 0.225, 0.23, 0.235, 0.215), (9, 9, 8, 6, 5),
         (54, 51, 44, 28, 11), (7.1, 7.1, 7.2, 7.4, 7.7), (43, 43, 41, 37, 30)),
    Soil("Coland", (220, 220, 225, 240, 330), (305, 305, 310, 305, 250), (1.30, 1.33, 1.36, 1.40, 1.46),
         (0.345, 0.345, 0.34, 0.335, 0.30), (0.19, 0.19, 0.19, 0.19, 0.155), (28, 28, 26, 24, 28),
         (32, 30, 26, 20, 11), (6.8, 6.8, 6.9, 7.0, 7.1), (31, 31, 30, 28, 21)),
)
# fmt: on
SOIL_PROPERTIES = (
    *("bulk_density", "sand", "silt", "clay", "field_capacity", "wilting_point", "ksat", "soc_content", "ph", "cec"),
)


@dataclass(frozen=True, slots=True)
class Landscape:
    """Inputs of every cell of `window` and of every day of `years`, in the shapes of a cube."""

    grid: Grid
    window: Window
    years: tuple[int, ...]
    weather: Mapping[str, Floats]
    weather_lon: Floats
    weather_lat: Floats
    weather_index: NDArray[np.int64]
    static: Mapping[str, NDArray[Any]]
    by_layer: Mapping[str, NDArray[Any]]
    annual: Mapping[str, NDArray[Any]]
    fields: Mapping[str, Any]


def make_landscape(
    seed: int = 7,
    grid: Grid | None = None,
    window: Window = WINDOW,
    years: Sequence[int] = YEARS,
) -> Landscape:
    """The landscape of a seed. The same seed gives the same landscape."""
    grid = grid or Grid()
    rng = np.random.default_rng(seed)
    country = _Country(grid, window, rng)
    fields, kinds, shapes = country.fields_and_cover()
    cover = _majority(grid, window, shapes)

    from .cubefile import days_of

    days = days_of(years)
    weather, lon, lat, index = _weather(grid, window, days, seed)
    spring = _spring_rain(weather["precip"].mean(axis=0), days, years)
    history = _histories(len(fields), years, spring, rng)

    elevation = country.elevation
    soil = _soils(elevation, cover, {code: len(fields) + k for k, code in enumerate(kinds)}, rng)
    static = {name: np.array([s.topsoil(name) for s in SOILS] + [np.nan])[soil] for name in SOIL_PROPERTIES}
    by_layer = {
        name: np.moveaxis(np.array([s.layer(name) for s in SOILS] + [np.full(5, np.nan)])[soil], -1, 0)
        for name in SOIL_PROPERTIES
    }
    rows, cols = window.cells()
    latitude = grid.to_lonlat(*grid.centres(rows, cols))[1].reshape(window.shape)
    # Steps far below what fluxes feel (seconds of daylight, a thousandth of the air's pressure), so that like cells are
    # alike and are run once.
    static |= {"latitude": np.round(latitude / 0.05) * 0.05, "elevation": np.round(elevation, -1)}

    is_field = cover < len(fields)
    safe = np.where(is_field, cover, 0)
    annual: dict[str, NDArray[Any]] = {}
    for name, values in history.items():
        outside = 0 if name == "crop" else np.nan
        annual[name] = np.where(is_field[None], values[:, safe], outside)
    codes = np.array([*([0] * len(fields)), *kinds])
    annual["crop"] = np.where(is_field[None], annual["crop"], codes[cover][None]).astype(np.int16)
    collection = _collection(grid, window, fields, history, years)
    return Landscape(grid, window, tuple(years), weather, lon, lat, index, static, by_layer, annual, collection)


def _smooth(rng: np.random.Generator, shape: tuple[int, int], length: float) -> Floats:
    """Smooth noise of zero mean and unit variance; `length` in cells."""
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(rng.standard_normal(shape), length, mode="wrap")
    return np.asarray((field - field.mean()) / field.std(), np.float64)


class _Country:
    """Sections, town, creek and ponds, in a plane that stands square to true north."""

    def __init__(self, grid: Grid, window: Window, rng: np.random.Generator) -> None:
        self.grid, self.window, self.rng = grid, window, rng
        xmin, ymin, xmax, ymax = window.bounds(grid)
        self.cx, self.cy = (xmin + xmax) / 2, (ymin + ymax) / 2
        self.half = max(xmax - xmin, ymax - ymin) / 2
        lon, lat = grid.to_lonlat(self.cx, self.cy)
        nx, ny = grid.from_lonlat(lon, lat + 0.01)
        self.angle = -math.atan2(float(nx) - self.cx, float(ny) - self.cy)
        rise = _smooth(rng, window.shape, 24) * 7 + _smooth(rng, window.shape, 6) * 2 + _smooth(rng, window.shape, 2)
        self.elevation = 318.0 + rise

    def place(self, geometry: Any) -> Any:
        """From the plane of true north to the grid's."""
        from shapely import affinity

        turned = affinity.rotate(geometry, self.angle, origin=(0, 0), use_radians=True)
        return affinity.translate(turned, self.cx, self.cy)

    def fields_and_cover(self) -> tuple[list[Any], list[int], list[Any]]:
        """Fields, codes of what is no field, and the shapes of both on the grid's plane: fields first."""
        import shapely

        town, water, belt = self._town(), self._ponds(), self._creek().buffer(170)
        blocked = shapely.union_all([town, water, belt])
        shapely.prepare(blocked)
        reach = self.half + MILE
        n = math.ceil(reach / MILE)
        pieces = [p for i in range(-n, n) for j in range(-n, n) for p in self._section(i * MILE, j * MILE)]
        touched = shapely.intersects(blocked, pieces)
        cut = [shapely.difference(p, blocked) if t else p for p, t in zip(pieces, touched, strict=True)]
        parts = [part for part in shapely.get_parts(cut) if part.area > 15e3]
        # what is left of a field after the creek took its share is smoothed as a tractor would drive it
        parts = [p if len(p.exterior.coords) < 9 else p.buffer(-15).buffer(15).simplify(8) for p in parts]
        placed = [self.place(p) for p in parts if p.geom_type == "Polygon" and not p.is_empty]
        frame = shapely.box(*self.window.bounds(self.grid))
        fields = [p for p in placed if frame.intersects(p)]
        others = [(FOREST, belt), (TOWN, town), (WATER, water)]
        return fields, [ROADSIDE, *(code for code, _ in others)], [*fields, None, *(self.place(g) for _, g in others)]

    def _section(self, x: float, y: float) -> Iterator[Any]:
        from shapely import box

        rng, half, a = self.rng, MILE / 2, ROAD
        x0, x1, y0, y1 = x + a, x + MILE - a, y + a, y + MILE - a
        kind = rng.random()
        if kind < 0.05:
            yield box(x0, y0, x1, y1)
            return
        if kind < 0.17:
            yield box(x0, y0, x + half - 2, y1)
            yield box(x + half + 2, y0, x1, y1)
            return
        if kind < 0.27:
            yield box(x0, y0, x1, y + half - 2)
            yield box(x0, y + half + 2, x1, y1)
            return
        for left, right in ((x0, x + half - 2), (x + half + 2, x1)):
            for low, high in ((y0, y + half - 2), (y + half + 2, y1)):
                yield from self._quarter(left, right, low, high)

    def _quarter(self, x0: float, x1: float, y0: float, y1: float) -> Iterator[Any]:
        from shapely import Polygon, box

        rng = self.rng
        kind = rng.random()
        mx, my = (x0 + x1) / 2, (y0 + y1) / 2
        if kind < 0.46:
            yield box(x0, y0, x1, y1)
        elif kind < 0.60:
            yield box(x0, y0, mx - 1, y1)
            yield box(mx + 1, y0, x1, y1)
        elif kind < 0.70:
            yield box(x0, y0, x1, my - 1)
            yield box(x0, my + 1, x1, y1)
        elif kind < 0.75:
            for left, right in ((x0, mx - 1), (mx + 1, x1)):
                for low, high in ((y0, my - 1), (my + 1, y1)):
                    yield box(left, low, right, high)
        elif kind < 0.79:
            edges = np.linspace(x0, x1, int(rng.integers(4, 7)) + 1)
            for left, right in pairwise(edges):
                yield box(left + 1, y0, right - 1, y1)
        elif kind < 0.89:
            # a farmstead in the corner by the road, with a small paddock beside it
            w, d = rng.uniform(110, 190), rng.uniform(90, 160)
            yield Polygon([(x0 + w, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0 + d), (x0 + w, y0 + d)])
            yield box(x0 + 60, y0, x0 + w - 4, y0 + d - 4)
        else:
            # a waterway runs across and leaves two odd fields
            cut0, cut1 = rng.uniform(0.25, 0.75, 2)
            west, east = y0 + cut0 * (y1 - y0), y0 + cut1 * (y1 - y0)
            bend = (mx + rng.uniform(-150, 150), (west + east) / 2 + rng.uniform(-120, 120))
            yield Polygon([(x0, y0), (x1, y0), (x1, east - 12), (bend[0], bend[1] - 12), (x0, west - 12)])
            yield Polygon([(x0, west + 12), (bend[0], bend[1] + 12), (x1, east + 12), (x1, y1), (x0, y1)])

    def _creek(self) -> Any:
        from shapely import LineString

        rng = self.rng
        y = np.linspace(self.half + MILE, -self.half - MILE, 300)
        wander = np.cumsum(rng.standard_normal(300)) * 70
        wander -= np.linspace(wander[0], wander[-1], 300)
        bends = 320 * np.sin(y / 700 + rng.uniform(0, 6)) + 130 * np.sin(y / 260 + rng.uniform(0, 6))
        return LineString(np.column_stack([self.half * 0.62 - 0.12 * y + wander + bends, y]))

    def _town(self) -> Any:
        """A town where Ames stands and two villages."""
        from shapely import union_all

        x, y = self.grid.from_lonlat(-93.63, 42.03)
        dx, dy = float(x) - self.cx, float(y) - self.cy
        c, s = math.cos(-self.angle), math.sin(-self.angle)
        return union_all(
            [
                self._blob(c * dx - s * dy, s * dx + c * dy, 2600),
                self._blob(-0.55 * self.half, 0.45 * self.half, 650),
                self._blob(-0.2 * self.half, -0.7 * self.half, 800),
            ]
        )

    def _ponds(self) -> Any:
        from shapely import union_all

        places = self.rng.uniform(-0.9, 0.9, (5, 2)) * self.half
        return union_all([self._blob(x, y, r) for (x, y), r in zip(places, (520, 300, 240, 200, 420), strict=True)])

    def _blob(self, x: float, y: float, radius: float) -> Any:
        from shapely import Polygon

        turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        waves = sum(
            self.rng.uniform(0.02, 0.12) * np.sin(k * turn + self.rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4, 5)
        )
        r = radius * (1 + waves)
        return Polygon(np.column_stack([x + r * np.cos(turn), y + r * np.sin(turn)]))


def _majority(grid: Grid, window: Window, shapes: Sequence[Any]) -> NDArray[np.int64]:
    """[rows, cols] number of the shape that covers most of each cell; the one that is None covers what is left."""
    from rasterio.features import rasterize
    from rasterio.transform import Affine

    rows, cols = window.shape
    rest = next(k for k, shape in enumerate(shapes) if shape is None)
    xmin, _, _, ymax = window.bounds(grid)
    step = grid.size / SUB
    fine = rasterize(
        [(shape, k) for k, shape in enumerate(shapes) if shape is not None and not shape.is_empty],
        out_shape=(rows * SUB, cols * SUB),
        fill=rest,
        transform=Affine(step, 0, xmin, 0, -step, ymax),
        dtype="int32",
    )
    parts = fine.reshape(rows, SUB, cols, SUB).transpose(0, 2, 1, 3).reshape(rows * cols, SUB * SUB)
    parts = np.sort(parts, axis=1)
    count = np.stack([(parts == parts[:, k : k + 1]).sum(axis=1) for k in range(0, SUB * SUB, 5)])
    best = count.argmax(axis=0) * 5
    return np.take_along_axis(parts, best[:, None], axis=1)[:, 0].reshape(rows, cols).astype(np.int64)


def _weather(
    grid: Grid, window: Window, days: NDArray[np.datetime64], seed: int
) -> tuple[dict[str, Floats], Floats, Floats, NDArray[np.int64]]:
    n = WEATHER_CELLS
    row, col = np.arange(window.row0, window.row1) // n, np.arange(window.col0, window.col1) // n
    across = int(col[-1] - col[0]) + 1
    index = (row - row[0])[:, None] * across + (col - col[0])[None]
    wr, wc = np.meshgrid(np.unique(row), np.unique(col), indexing="ij")
    x, y = grid.centres(wr.ravel() * n + (n - 1) / 2, wc.ravel() * n + (n - 1) / 2)
    lon, lat = grid.to_lonlat(x, y)
    return generate(AMES, days, x, y, lat, seed), lon, lat, index


def _spring_rain(rain: Floats, days: NDArray[np.datetime64], years: Sequence[int]) -> Floats:
    """[Y] rain of April and May over its normal, less 1: wet springs delay sowing."""
    month = days.astype("datetime64[M]").astype(int) % 12
    year = days.astype("datetime64[Y]").astype(int) + 1970
    normal = AMES.rain[3] + AMES.rain[4]
    return np.array([rain[(year == y) & ((month == 3) | (month == 4))].sum() / normal - 1 for y in years])


def _histories(n: int, years: Sequence[int], spring: Floats, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Crops and management [Y, fields]: rotations of central Iowa, maize and soybean mostly."""
    rotations: list[tuple[float, tuple[int, ...]]] = [
        (0.74, (CORN, SOYBEAN)),
        (0.11, (CORN,)),
        (0.06, (CORN, CORN, SOYBEAN)),
        (0.04, (ALFALFA, ALFALFA, ALFALFA, CORN, SOYBEAN)),
        (0.02, (CORN, SOYBEAN, WHEAT)),
        (0.03, (PASTURE,)),
    ]
    y = len(years)
    kind = rng.choice(len(rotations), n, p=[share for share, _ in rotations])
    phase = rng.integers(0, 60, n)
    crop = np.empty((y, n), np.int64)
    for k, (_, order) in enumerate(rotations):
        mine = np.flatnonzero(kind == k)
        steps = (np.arange(y)[:, None] + phase[None, mine]) % len(order)
        crop[:, mine] = np.array(order)[steps]

    early = rng.normal(0, 4, n)  # a farmer's habit, days
    late_year = np.clip(12 * spring, -8, 14)[:, None]
    autumn = rng.normal(0, 4, (y, 1))
    noise = rng.normal(0, 3, (2, y, n))
    # Near the middle of the most active weeks: USDA NASS, Usual Planting and Harvesting Dates (Handbook 628, 2010).
    sowing = {CORN: 126, SOYBEAN: 140, WHEAT: 274, ALFALFA: 95, PASTURE: 95}
    harvest = {CORN: 295, SOYBEAN: 282, WHEAT: 198, ALFALFA: 275, PASTURE: 285}
    sow = np.vectorize(sowing.get)(crop).astype(float)
    reap = np.vectorize(harvest.get)(crop).astype(float)
    spring_sown = (crop == CORN) | (crop == SOYBEAN)
    sow += np.where(spring_sown, late_year + early + noise[0], 0.4 * noise[0])
    reap += np.where(spring_sown, 0.4 * late_year + autumn + 0.5 * early + noise[1], noise[1])
    # who sows wheat in autumn has an early soybean off the field by then
    before_wheat = np.zeros(crop.shape, bool)
    before_wheat[:-1] = crop[1:] == WHEAT
    reap = np.where(before_wheat, np.minimum(reap, np.roll(sow, -1, axis=0) - 4), reap)

    habit = rng.choice(3, n, p=[0.34, 0.46, 0.20])  # no-till, reduced, ploughed
    tillage = np.array([0.0, 0.5, 1.0])[habit][None].repeat(y, axis=0)
    tillage[(crop == SOYBEAN) & (rng.random(n) < 0.4)[None]] = 0.0  # soybean drilled into maize stalks
    tillage[(crop == ALFALFA) | (crop == PASTURE)] = 0.0
    baled = rng.random(n) < 0.07
    removed = np.where((crop == CORN) & baled[None], 0.35, 0.0)
    removed[crop == WHEAT] = 0.5
    irrigated = (rng.random(n) < 0.004)[None].repeat(y, axis=0) & spring_sown
    return {
        "crop": crop,
        "sowing_doy": np.round(sow),
        "harvest_doy": np.round(reap),
        "irrigated": irrigated.astype(float),
        "residue_removed": removed,
        "tillage": tillage,
    }


def _soils(
    elevation: Floats, cover: NDArray[np.int64], number: Mapping[int, int], rng: np.random.Generator
) -> NDArray[np.int64]:
    """[rows, cols] number of the soil: by height above the surroundings, as on a young till plain; the last is none."""
    from scipy.ndimage import binary_dilation, gaussian_filter

    relative = elevation - gaussian_filter(elevation, 8)
    relative = relative / relative.std() + 0.5 * _smooth(rng, elevation.shape, 2)
    order = np.argsort(np.argsort(relative.ravel())).reshape(relative.shape) / relative.size
    lime = _smooth(rng, elevation.shape, 4) > 0.3
    by_name = {soil.name: k for k, soil in enumerate(SOILS)}
    soil = np.full(elevation.shape, by_name["Clarion"])
    soil[order < 0.62] = by_name["Nicollet"]
    soil[order < 0.38] = by_name["Webster"]
    soil[(order < 0.38) & lime] = by_name["Canisteo"]
    soil[order < 0.06] = by_name["Okoboji"]
    soil[order > 0.93] = by_name["Storden"]
    soil[binary_dilation(cover == number[FOREST])] = by_name["Coland"]
    soil[(cover == number[TOWN]) | (cover == number[WATER])] = len(SOILS)
    return soil


def _collection(
    grid: Grid, window: Window, fields: Sequence[Any], history: Mapping[str, NDArray[Any]], years: Sequence[int]
) -> dict[str, Any]:
    """Fields that lie wholly in the window, as GeoJSON in longitude and latitude."""
    import shapely

    frame = shapely.box(*window.bounds(grid))
    tilled = {0.0: "no-till", 0.5: "reduced", 1.0: "ploughed"}
    features = []
    for k, field in enumerate(fields):
        if not frame.contains(field):
            continue
        rings = []
        for ring in (field.exterior, *field.interiors):
            lon, lat = grid.to_lonlat(*np.asarray(ring.coords).T)
            rings.append(np.column_stack([lon, lat]).round(6).tolist())
        features.append(
            {
                "type": "Feature",
                "id": f"demo-{k:04d}",
                "properties": {
                    "id": f"demo-{k:04d}",
                    "area_ha": round(field.area / 1e4, 2),
                    "crops": {str(y): NAMES[int(c)] for y, c in zip(years, history["crop"][:, k], strict=True)},
                    "tillage": tilled[float(history["tillage"][:, k].max())],
                    "irrigated": bool(history["irrigated"][:, k].any()),
                    "synthetic": True,
                },
                "geometry": {"type": "Polygon", "coordinates": rings},
            }
        )
    return {"type": "FeatureCollection", "features": features}
