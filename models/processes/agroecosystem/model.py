"""The agro-ecosystem process model behind the contract: parameters per member and crop, spin-up, prediction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
from fieldflux.models.card import Card
from fieldflux.models.checkpoint import BadCheckpoint, Checkpoint
from fieldflux.models.contract import Floats, Forcing, Integers, Needs, Prediction, State, check_inputs
from numpy.typing import NDArray

from .compiled import compute
from .inputs import AUTUMN, MIN_SOIL, Seasons, derive_seasons, derive_soil, derive_weather, soc_stock
from .parameters import COUNT, CROP_NAMES, ETA_H, M_THETA, NAMES, SEED
from .step import (
    GDD,
    GW,
    LIT_F,
    LIT_S,
    OUT_A,
    OUT_S,
    OUTPUT,
    RESERVE,
    ROOT,
    SOIL_A,
    SOIL_O,
    SOIL_S,
    STATE,
    T_SOIL,
    W1,
    W2,
    W3,
    W4,
    YTD_GPP,
    YTD_HARVEST,
    Z1,
    Z2,
    Z3,
    Z4,
)

NEEDS = Needs(
    daily=("tmean", "tmin", "tmax", "precip", "srad", "vpd"),
    annual=("crop", "sowing_doy", "harvest_doy"),
    static=("latitude", "bulk_density", "field_capacity", "wilting_point", "ksat", "soc_content"),
    optional=("rnet", "co2", "irrigation", "gpp_given", "elevation", "irrigated", "residue_removed", "tillage"),
)
DAILY = ("gpp", "ra", "rh", "reco", "nee", "et", "transpiration", "le", "h", "soil_moisture", "snow", "runoff", "lai",
         "biomass", "soc")  # fmt: skip
ANNUAL = ("yield", "residue", "delta_soc")
SPIN_UP_YEARS = 4  # the first years of a record, run twice
SPIN_UP_PASSES = 2


@dataclass(frozen=True, slots=True)
class Agroecosystem:
    """The model. table: [member, crop of CROP_NAMES, parameter of NAMES] float64. device: "cpu" (numba) or torch's."""

    card: Card
    table: Floats
    device: str = "cpu"

    @property
    def needs(self) -> Needs:
        return NEEDS

    @property
    def outputs(self) -> tuple[str, ...]:
        return (*DAILY, *ANNUAL)

    @property
    def members(self) -> int:
        return int(self.table.shape[0])

    def initial_state(self, forcing: Forcing) -> State:
        """Spin up to the declared state before the first day of `forcing`.

        Its first whole years (up to four) are run twice. After each pass active and slow soil carbon are set to the
        balance of what entered and left them, slow carbon times `eta_h`; old carbon is the rest of the cell's measured
        stock of 0-30 cm, and at least a tenth of it. Water, snow, temperature and litter are as they came.
        """
        self._check(forcing)
        seasons = derive_seasons(forcing)
        years = min(SPIN_UP_YEARS, whole_years(forcing))
        if years == 0:
            raise ValueError(
                f"Spin-up needs a whole year; the forcing runs from {forcing.start} to {forcing.end}. Give it at least "
                f"one year, or give a state."
            )
        if years == 3:  # odd: a two-year rotation would not close
            years = 2
        loop = first_years(forcing, years)
        kinds = np.maximum(seasons.crop[:, 0], 0)
        parameters = self.table[:, kinds]  # [M, C, P]
        stock = soc_stock({n: np.asarray(v, dtype=np.float64) for n, v in forcing.static.items()})
        arrays = self._rested(forcing, seasons, parameters, stock)
        for _ in range(SPIN_UP_PASSES):
            before = arrays.copy()
            arrays[..., OUT_A] = arrays[..., OUT_S] = 0.0
            arrays = self._roll(loop, arrays, keep=False)[2]
            for pool, out in ((SOIL_A, OUT_A), (SOIL_S, OUT_S)):
                gained = arrays[..., pool] - before[..., pool] + arrays[..., out]
                mean = 0.5 * (arrays[..., pool] + before[..., pool])
                arrays[..., pool] = mean * np.maximum(gained, 0.0) / np.maximum(arrays[..., out], 1e-9)
            arrays[..., SOIL_S] *= parameters[..., ETA_H]
            quick = arrays[..., SOIL_A] + arrays[..., SOIL_S]
            fits = np.minimum(1.0, 0.9 * stock / np.maximum(quick, 1e-9))
            arrays[..., SOIL_A] *= fits
            arrays[..., SOIL_S] *= fits
            arrays[..., SOIL_O] = stock - fits * quick
        arrays[..., YTD_GPP : YTD_HARVEST + 1] = 0.0
        arrays[..., OUT_A] = arrays[..., OUT_S] = 0.0
        return State(forcing.start - timedelta(days=1), {"state": arrays})

    def predict(self, forcing: Forcing, state: State | None = None) -> Prediction:
        """Run the batch; see the contract. Daily arrays are float32, annual ones float32 from float64 sums."""
        self._check(forcing)
        if state is None:
            state = self.initial_state(forcing)
        if state.day != forcing.start - timedelta(days=1):
            raise ValueError(
                f"The state is of the end of {state.day}, but the forcing starts on {forcing.start}; it must start on "
                f"{state.day + timedelta(days=1)}. Use the state of the day before, or none to spin up."
            )
        out, closed, arrays = self._roll(forcing, np.array(state.arrays["state"], dtype=np.float64), keep=True)
        daily = {name: out[i] for i, name in enumerate(OUTPUT) if name != "harvested"}
        daily["reco"] = daily["ra"] + daily["rh"]
        daily["nee"] = daily["reco"] - daily["gpp"]
        gpp, ra, rh, harvested = closed
        annual = {"yield": harvested, "residue": gpp - ra - harvested, "delta_soc": gpp - ra - rh - harvested}
        return Prediction(
            start=forcing.start,
            daily={name: daily[name] for name in DAILY},
            years=closing_years(forcing),
            annual={name: values.astype(np.float32) for name, values in annual.items()},
            state=State(forcing.end, {"state": arrays}),
            flags=self._flags(forcing),
        )

    def _check(self, forcing: Forcing) -> None:
        check_inputs(self.card.id, NEEDS, forcing.names(), "the forcing")

    def _roll(self, forcing: Forcing, arrays: Floats, keep: bool) -> tuple[Floats, Floats, Floats]:
        """Outputs [V, M, C, D] (no days unless `keep`), closed years [4, M, C, years], state at the end [M, C, S]."""
        (weather, row), soil, seasons = _weather(forcing), _soil(forcing), derive_seasons(forcing)
        dates = forcing.dates()
        day_of_year, year, closes = _calendar(forcing, dates)
        members, cells = self.members, forcing.cells
        gpp = (
            np.zeros((1, len(dates))) if forcing.gpp_given is None else np.asarray(forcing.gpp_given, dtype=np.float64)
        )
        unit = _units(forcing)
        closed = np.zeros((4, members, cells, int(closes.sum())))
        out = np.empty((len(OUTPUT), members, cells, len(dates) if keep else 0), dtype=np.float32)
        arrays = np.ascontiguousarray(arrays)
        if self.device == "cpu":
            compute(
                arrays, weather, row, gpp, unit, day_of_year, year,
                closes.astype(np.int64), seasons.crop, seasons.sow, seasons.harvest, seasons.switch, seasons.irrigated,
                seasons.removed, seasons.tillage, np.ascontiguousarray(self.table, dtype=np.float64), soil, out, closed,
            )  # fmt: skip
            return out, closed, arrays
        from .on_device import roll_on_device

        return roll_on_device(
            self.device, self.table, arrays, weather, row, gpp, unit, seasons, soil,
            day_of_year, year, closes, keep,
        )  # fmt: skip

    def _rested(self, forcing: Forcing, seasons: Seasons, parameters: Floats, stock: Floats) -> Floats:
        """[M, C, S] where spin-up starts: soil at field capacity, a guess of the pools."""
        arrays = np.zeros((self.members, forcing.cells, len(STATE)))
        capacity = _soil(forcing)[:, 1] * parameters[..., M_THETA]
        for layer, depth in ((W1, Z1), (W2, Z2), (W3, Z3), (W4, Z4)):
            arrays[..., layer] = capacity * depth
        arrays[..., GW] = 50.0
        arrays[..., LIT_F], arrays[..., LIT_S] = 20.0, 200.0
        arrays[..., SOIL_A], arrays[..., SOIL_S], arrays[..., SOIL_O] = 0.03 * stock, 0.3 * stock, 0.67 * stock
        arrays[..., T_SOIL] = np.nanmean(forcing.daily["tmean"][:, :31], axis=1)[forcing.weather]
        perennial = seasons.harvest[:, 0] == 0
        arrays[..., RESERVE] = np.where(perennial, 150.0, 0.0)
        arrays[..., ROOT] = np.where(perennial, 150.0, 0.0)
        # a winter crop stands already on the first day
        autumn = seasons.sow[:, 0] > AUTUMN
        arrays[..., RESERVE] += np.where(autumn, parameters[..., SEED], 0.0)
        arrays[..., GDD] = np.where(autumn, 150.0, 0.0)
        return arrays

    def _flags(self, forcing: Forcing) -> dict[str, NDArray[np.bool_]]:
        static = forcing.static
        outside = np.zeros(forcing.cells, dtype=bool)
        for name, (low, high) in self.card.domain.ranges.items():
            if name in static:
                values = np.asarray(static[name])
                outside |= (values < low) | (values > high)
        missing = np.zeros(forcing.daily["tmean"].shape[0], dtype=bool)
        for name in NEEDS.daily:
            missing |= np.isnan(forcing.daily[name]).any(axis=1)
        soil_missing = np.zeros(forcing.cells, dtype=bool)
        for name in NEEDS.static:
            soil_missing |= np.isnan(np.asarray(static[name], dtype=np.float64))
        crop = derive_seasons(forcing).crop[:, : len(_touched(forcing))]
        return {
            "crop_unknown": np.asarray((crop < 0).any(axis=1)),
            "weather_missing": missing[forcing.weather],
            "soil_missing": soil_missing,
            "outside_domain": outside,
        }


def load(checkpoint: Checkpoint, device: str = "cpu") -> Agroecosystem:
    """The model of a checkpoint. Raises BadCheckpoint unless its table is [member, crop, parameter] of this version."""
    table = checkpoint.weights.get("table")
    expected = (checkpoint.card.members, len(CROP_NAMES), COUNT)
    if table is None or table.shape != expected:
        found = "none" if table is None else str(table.shape)
        raise BadCheckpoint(
            f"Model '{checkpoint.card.id}' needs weights 'table' of shape {expected} (member, crop, parameter); found: "
            f"{found}. It was made by another version of Fieldflux: train it again, or install that version."
        )
    named = checkpoint.card.recipe.get("parameters")
    if named is not None and tuple(named) != NAMES:
        raise BadCheckpoint(
            f"Model '{checkpoint.card.id}' lists other parameters than this version of Fieldflux has. Train it again."
        )
    return Agroecosystem(checkpoint.card, np.asarray(table, dtype=np.float64), device)


LATITUDE_STEP, ELEVATION_STEP = 0.1, 50.0


def _weather(forcing: Forcing) -> tuple[Floats, Integers]:
    """[R, D, len(WEATHER)] what the step reads, and the row of each cell in it, [C].

    Cells of one weather row share a row here where latitude and height agree to 0.1 degree and 50 m. Both are rounded,
    never averaged over the batch, so that a cell's days are the same in whatever company it is computed.
    """

    weather = np.asarray(forcing.weather, dtype=np.int64)
    latitude = np.asarray(forcing.static["latitude"], dtype=np.float64)
    elevation = np.nan_to_num(np.asarray(forcing.static.get("elevation", np.zeros(forcing.cells)), dtype=np.float64))
    kinds = np.stack([weather, np.round(latitude / LATITUDE_STEP), np.round(elevation / ELEVATION_STEP)], axis=1)
    unique, row = np.unique(kinds, axis=0, return_inverse=True)
    of = unique[:, 0].astype(np.int64)
    daily = {name: np.asarray(rows, dtype=np.float64)[of] for name, rows in forcing.daily.items()}
    doy = _calendar(forcing, forcing.dates())[0]
    derived = derive_weather(daily, unique[:, 1] * LATITUDE_STEP, unique[:, 2] * ELEVATION_STEP, doy)
    return np.ascontiguousarray(derived), np.ascontiguousarray(row.reshape(-1), dtype=np.int64)


def _soil(forcing: Forcing) -> Floats:
    static = {n: np.asarray(v, dtype=np.float64) for n, v in forcing.static.items()}
    for name, low in MIN_SOIL.items():
        static[name] = np.where(static[name] < low, np.nan, static[name])
    return np.ascontiguousarray(derive_soil(static))


def _units(forcing: Forcing) -> NDArray[np.int64]:
    if forcing.gpp_given is None or forcing.gpp_unit is None:
        return np.full((forcing.cells, len(forcing.years)), -1, dtype=np.int64)
    return np.ascontiguousarray(forcing.gpp_unit, dtype=np.int64)


def _calendar(
    forcing: Forcing, dates: NDArray[np.datetime64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Day of year, column of the calendar year, and whether it is 31 December, of each day."""
    starts = dates.astype("datetime64[Y]")
    day_of_year = (dates - starts.astype("datetime64[D]")).astype(np.int64) + 1
    column = starts.astype(np.int64) + 1970 - forcing.years[0]
    closes = (dates + 1).astype("datetime64[Y]") != starts
    return day_of_year, column, closes


def _touched(forcing: Forcing) -> tuple[int, ...]:
    return tuple(y for y in forcing.years if forcing.start.year <= y <= forcing.end.year)


def closing_years(forcing: Forcing) -> tuple[int, ...]:
    """Calendar years whose last day is in the forcing."""
    return tuple(y for y in _touched(forcing) if forcing.end >= date(y, 12, 31))


def whole_years(forcing: Forcing) -> int:
    """Years from the first day, whatever day of the year it is, that the forcing covers to the end."""
    years = forcing.end.year - forcing.start.year + 1
    while years > 0 and _anniversary(forcing.start, years) > forcing.end + timedelta(days=1):
        years -= 1
    return years


def _anniversary(day: date, years: int) -> date:
    # 29 February has its anniversary on 1 March
    return date(day.year + years, 3, 1) if (day.month, day.day) == (2, 29) else day.replace(year=day.year + years)


def first_years(forcing: Forcing, years: int) -> Forcing:
    """The first whole years of a forcing, to be run in a loop: of whole calendar years, the next is the first again."""
    days = (_anniversary(forcing.start, years) - forcing.start).days
    whole = (forcing.start.month, forcing.start.day) == (1, 1)

    def loop(values: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([values[:, :years], values[:, :1]], axis=1) if whole else values[:, : years + 1]

    return replace(
        forcing,
        years=tuple(range(forcing.start.year, forcing.start.year + years + 1)),
        daily={name: rows[:, :days] for name, rows in forcing.daily.items()},
        annual={name: loop(np.asarray(values)) for name, values in forcing.annual.items()},
        gpp_given=None if forcing.gpp_given is None else forcing.gpp_given[:, :days],
        gpp_unit=None if forcing.gpp_unit is None else loop(np.asarray(forcing.gpp_unit)),
    )
