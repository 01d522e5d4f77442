"""Probes for response checks: a real or made-up field, its inputs varied one at a time, and what a model says then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
from fieldflux.models.contract import Forcing, Model, Needs, State
from fieldflux.tiles.atmosphere import co2_of
from fieldflux.tiles.landscape import SOIL_PROPERTIES, SOILS
from fieldflux.tiles.measurements import read_towers, tower_forcing
from fieldflux.tiles.sources.parts import CORN, IOWA, SOYBEAN
from fieldflux.tiles.weathergen import AMES, generate
from numpy.typing import NDArray

Array = NDArray[np.float64]

VARIABLES = ("rh", "ra", "nee", "yield", "delta_soc")
YEARS = 4
"""Of a probe's weather, all spun up on; the first two, one turn of a rotation, are run with the changed inputs."""
RUN_YEARS = 2
TOWERS = MappingProxyType({"US-Ne1": 2003, "US-Ne3": 2003})
"""Mead towers with maize every year and in turn with soybean, and a first year with whole years after it."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One input and the values that it takes.

    kind: where it stands in a forcing; "gpp" is given GPP. how: the value replaces, is added to or multiplies the
    probe's own. moved: the inputs it is applied to. usual: range that a cropland model may be expected to have seen,
    where its card gives none. log: its steps are ratios.
    """

    name: str
    kind: Literal["static", "daily", "annual", "gpp"]
    how: Literal["set", "add", "scale"]
    values: tuple[float, ...]
    usual: tuple[float, float]
    moved: tuple[str, ...]
    log: bool = False

    @property
    def label(self) -> str:
        return self.name if self.how == "set" else f"{self.name} {'+' if self.how == 'add' else 'x'}"

    def between(self, low: float, high: float, parts: int) -> tuple[float, ...]:
        """The values that cut low..high into equal parts, both ends included."""
        cuts = np.geomspace(low, high, parts + 1) if self.log else np.linspace(low, high, parts + 1)
        return tuple(float(v) for v in cuts)


def _steps(low: float, high: float, n: int) -> tuple[float, ...]:
    return tuple(float(round(v, 6)) for v in np.linspace(low, high, n))


def _static(name: str, values: Sequence[float], usual: tuple[float, float], log: bool = False) -> Axis:
    return Axis(name, "static", "set", tuple(values), usual, (name,), log)


# Usual ranges of soils: most of SSURGO's mineral cropland soils of the Midwest. Of weather: about what years differ by.
AXES: tuple[Axis, ...] = (
    _static("soc_content", (1, 2, 5, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 150), (5.0, 50.0)),
    Axis("gpp_given", "gpp", "scale", _steps(0.0, 1.5, 16), (0.7, 1.2), ("gpp_given",)),
    Axis("temperature", "daily", "add", _steps(-10, 10, 21), (-2.0, 2.0), ("tmean", "tmin", "tmax")),
    Axis("precip", "daily", "scale", _steps(0.0, 3.0, 16), (0.6, 1.4), ("precip",)),
    Axis("vpd", "daily", "scale", _steps(0.2, 3.0, 15), (0.8, 1.25), ("vpd",)),
    Axis("srad", "daily", "scale", _steps(0.4, 1.4, 11), (0.9, 1.1), ("srad",)),
    Axis("co2", "daily", "set", _steps(300, 800, 11), (350.0, 420.0), ("co2",)),
    _static("bulk_density", _steps(0.5, 2.1, 17), (1.1, 1.7)),
    _static("field_capacity", _steps(0.05, 0.6, 12), (0.15, 0.45)),
    _static("wilting_point", _steps(0.02, 0.4, 20), (0.05, 0.25)),
    _static("ksat", (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0), (1.0, 200.0), log=True),
    _static("sand", _steps(0, 1000, 11), (50.0, 800.0)),
    _static("silt", _steps(0, 1000, 11), (50.0, 800.0)),
    _static("clay", _steps(0, 900, 10), (50.0, 450.0)),
    _static("ph", _steps(3.5, 10, 14), (5.0, 8.2)),
    _static("cec", _steps(0, 100, 11), (5.0, 45.0)),
    Axis("sowing_doy", "annual", "add", _steps(-60, 60, 13), (-20.0, 20.0), ("sowing_doy",)),
    Axis("residue_removed", "annual", "set", _steps(0, 1, 6), (0.0, 1.0), ("residue_removed",)),
    Axis("tillage", "annual", "set", _steps(0, 1, 5), (0.0, 1.0), ("tillage",)),
    Axis("irrigated", "annual", "set", (0.0, 1.0), (0.0, 1.0), ("irrigated",)),
)


@dataclass(frozen=True, slots=True)
class Probe:
    """A place: forcing of its own inputs, YEARS whole years on one weather row; more cells are turns of a rotation."""

    name: str
    title: str
    forcing: Forcing


def axes_for(needs: Needs, probe: Probe) -> tuple[Axis, ...]:
    """Those that move an input which the model reads and the probe has; given GPP is always there to be given."""
    read = {*needs.daily, *needs.annual, *needs.static, *needs.optional}
    has = probe.forcing.names() | {"gpp_given"}
    return tuple(axis for axis in AXES if read & has & set(axis.moved))


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What a model says at points: values: variable -> [member, point], means over days and turns, per year. flags:
    name -> [point]."""

    values: Mapping[str, Array]
    flags: Mapping[str, NDArray[np.bool_]]


Point = tuple[Axis, float]


def synthetic_probe(seed: int = 3) -> Probe:
    """A made-up field near Ames, Iowa: generated weather, Clarion loam, maize and soybean in both turns."""
    first = 2016
    days = np.arange(np.datetime64(f"{first}-01-01"), np.datetime64(f"{first + YEARS}-01-01"))
    place, latitude = np.zeros(1), np.array([42.03])
    daily = generate(AMES, days, place, place, latitude, seed)
    co2 = co2_of(days)
    if co2 is not None:
        daily = {**daily, "co2": np.broadcast_to(co2, (1, len(days)))}
    crop = np.array([[(CORN, SOYBEAN)[(y + turn) % 2] for y in range(YEARS)] for turn in range(2)])
    season = {CORN: IOWA["maize"], SOYBEAN: IOWA["soybean"]}
    soil = next(s for s in SOILS if s.name == "Clarion")
    shape = crop.shape
    forcing = Forcing(
        start=date(first, 1, 1),
        years=tuple(range(first, first + YEARS)),
        daily={name: np.asarray(values, np.float32) for name, values in daily.items()},
        weather=np.zeros(2, np.int64),
        annual={
            "crop": crop.astype(np.float32),
            "sowing_doy": np.vectorize(lambda c: season[int(c)].sowing)(crop).astype(np.float32),
            "harvest_doy": np.vectorize(lambda c: season[int(c)].harvest)(crop).astype(np.float32),
            "irrigated": np.zeros(shape, np.float32),
            "residue_removed": np.zeros(shape, np.float32),
            "tillage": np.full(shape, 0.5, np.float32),
        },
        static={
            **{name: np.full(2, soil.topsoil(name), np.float32) for name in SOIL_PROPERTIES},
            "latitude": np.full(2, latitude[0], np.float32),
            "elevation": np.full(2, 300.0, np.float32),
        },
    )
    return Probe("made-up field, Iowa", "generated weather of Ames, Clarion loam, maize and soybean in turn", forcing)


def tower_probes(data_dir: Path) -> list[Probe]:
    """The Mead towers among a folder's towers: measured weather, own crops and soil; [] where it has none."""
    found = []
    for tower in read_towers(data_dir):
        first = TOWERS.get(tower.site)
        if first is not None and first in tower.years and first + YEARS - 1 in tower.years:
            forcing = tower_forcing(tower, years=range(first, first + YEARS))
            if all(np.isfinite(values).all() for values in forcing.daily.values()):
                found.append(Probe(tower.site, f"{tower.title}, {first}-{first + YEARS - 1}", forcing))
    return found


def ask(model: Model, probe: Probe, points: Sequence[Point], own_gpp: Array | None) -> Answers:
    """A model's answers at points, each a single change of the probe.

    The soil's properties hold from the spin-up on. Weather, management and given GPP change after it, from the memory
    of the unchanged probe: spun up on the change, a model would be in balance with it and show less of a response.
    own_gpp: [turn, day] what given GPP is a multiple of; None where no point gives GPP.
    """
    turns, many = probe.forcing.cells, len(points)
    fixed, of_point = _soils(probe, points)
    spun = model.initial_state(fixed)
    # [point, turn] -> cell of the spin-up
    cell = (of_point[:, None] * turns + np.arange(turns)).reshape(-1)
    state = State(spun.day, {name: values[:, cell] for name, values in spun.arrays.items()})
    found = model.predict(_changed(probe, points, own_gpp), state)
    values = {}
    for name in VARIABLES:
        if name in found.daily:
            mean = np.asarray(found.daily[name], np.float64).mean(axis=2) * 365.25
        elif name in found.annual:
            mean = np.asarray(found.annual[name], np.float64).mean(axis=2)
        else:
            continue
        values[name] = mean.reshape(len(mean), many, turns).mean(axis=2)
    flags = {name: np.asarray(flag.reshape(many, turns).any(axis=1), bool) for name, flag in found.flags.items()}
    return Answers(values, flags)


def own_gpp(model: Model, probe: Probe) -> Array:
    """[turn, day] the model's own GPP at the unchanged probe, mean over members, gC m-2 d-1."""
    found = model.predict(_shortened(probe.forcing), model.initial_state(probe.forcing))
    return np.asarray(found.daily["gpp"].mean(axis=0), np.float64)


def _soils(probe: Probe, points: Sequence[Point]) -> tuple[Forcing, NDArray[np.int64]]:
    """The probe's own forcing with as many cells as there are soils among the points; [point] the soil of each."""
    changes: dict[tuple[str, float], int] = {("", 0.0): 0}
    of_point = np.zeros(len(points), np.int64)
    for i, (axis, value) in enumerate(points):
        if axis.kind == "static":
            of_point[i] = changes.setdefault((axis.name, value), len(changes))
    forcing, turns = probe.forcing, probe.forcing.cells
    static = {n: np.tile(np.asarray(v, np.float32), len(changes)) for n, v in forcing.static.items()}
    for (name, value), k in changes.items():
        if name:
            static[name][k * turns : (k + 1) * turns] = value
    return replace(
        forcing,
        weather=np.zeros(len(changes) * turns, np.int64),
        annual={n: np.tile(np.asarray(v), (len(changes), 1)) for n, v in forcing.annual.items()},
        static=static,
    ), of_point


def _shortened(forcing: Forcing) -> Forcing:
    """Its first RUN_YEARS years, with the next one's annual inputs."""
    end = np.datetime64(f"{forcing.years[0] + RUN_YEARS}-01-01")
    days = int((end - np.datetime64(forcing.start)).astype(int))
    return replace(
        forcing,
        years=forcing.years[: RUN_YEARS + 1],
        daily={n: v[:, :days] for n, v in forcing.daily.items()},
        annual={n: v[:, : RUN_YEARS + 1] for n, v in forcing.annual.items()},
    )


def _changed(probe: Probe, points: Sequence[Point], own: Array | None) -> Forcing:
    short, turns = _shortened(probe.forcing), probe.forcing.cells
    daily = {name: [np.asarray(rows[0], np.float32)] for name, rows in short.daily.items()}
    weather = np.zeros((len(points), turns), np.int64)
    annual = {n: np.tile(np.asarray(v, np.float32)[None], (len(points), 1, 1)) for n, v in short.annual.items()}
    static = {n: np.tile(np.asarray(v, np.float32), (len(points), 1)) for n, v in short.static.items()}
    given: list[Array] = []
    unit = np.full((len(points), turns, len(short.years)), -1, np.int64)
    for i, (axis, value) in enumerate(points):
        if axis.kind == "static":
            static[axis.name][i] = value
        elif axis.kind == "annual":
            for name in axis.moved:
                if name in annual:
                    annual[name][i] = np.clip(_moved(annual[name][i], axis, value), *_bounds(name))
        elif axis.kind == "gpp" and own is not None:
            for turn in range(turns):
                unit[i, turn] = len(given)
                given.append(own[turn] * value)
        elif axis.kind == "daily":
            weather[i] = len(daily["tmean"])
            for name, rows in daily.items():
                rows.append(_moved(rows[0], axis, value) if name in axis.moved else rows[0])
    cells = len(points) * turns
    return replace(
        short,
        daily={name: np.stack(rows) for name, rows in daily.items()},
        weather=weather.reshape(cells),
        annual={n: v.reshape(cells, -1) for n, v in annual.items()},
        static={n: v.reshape(cells) for n, v in static.items()},
        gpp_given=np.stack(given).astype(np.float32) if given else None,
        gpp_unit=unit.reshape(cells, -1) if given else None,
    )


def _moved(values: NDArray[np.float32], axis: Axis, value: float) -> NDArray[np.float32]:
    if axis.how == "add":
        return np.asarray(values + value, np.float32)
    return np.asarray(values * value if axis.how == "scale" else np.full_like(values, value), np.float32)


def _bounds(name: str) -> tuple[float, float]:
    from fieldflux.models.variables import VARIABLES as VOCABULARY

    return VOCABULARY[name].low, VOCABULARY[name].high
