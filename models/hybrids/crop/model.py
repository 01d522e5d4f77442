"""The hybrid crop model behind the contract: seasons of maize, soybean and winter wheat, day by day.

A season belongs to the year of its harvest. Memory has two places: the season of the calendar year ("now"), and that of
a winter crop sown in it for the next one ("next"), which overlap where wheat follows maize.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import torch
from fieldflux.models.card import Card
from fieldflux.models.checkpoint import BadCheckpoint, Checkpoint
from fieldflux.models.contract import Floats, Forcing, Needs, Prediction, State, check_inputs
from numpy.typing import NDArray
from torch import Tensor

from .drive import Part, soil_of, statics_of
from .seasonnet import SeasonNetwork, carbon, grow, harvest, width
from .served import ANNUAL, DAILY, KINDS, NEEDS, OUTPUTS, Kind

Flags = dict[str, NDArray[np.bool_]]
Bools = NDArray[np.bool_]

NOW, NEXT, TAKEN = "now", "next", "taken"
NOT_BEGUN = -1.0  # in the memory of a season; a heat sum, its first number, is never negative
GROUPS = tuple((kind, irrigated) for kind in KINDS for irrigated in (False, True))
YEAR = 365
RIPE = 1.95
LATITUDE_STEP, ELEVATION_STEP = 0.1, 50.0


@dataclass(frozen=True, slots=True, eq=False)
class HybridCrop:
    """An ensemble. networks: crop -> one network a member."""

    card: Card
    networks: Mapping[str, Sequence[SeasonNetwork]]

    @property
    def needs(self) -> Needs:
        return NEEDS

    @property
    def outputs(self) -> tuple[str, ...]:
        return OUTPUTS

    @property
    def members(self) -> int:
        return len(next(iter(self.networks.values())))

    def initial_state(self, forcing: Forcing) -> State:
        """The memory on the day before the forcing: seasons that have begun by then, on the weather of its first year.

        So a winter crop stands on the first day. Raises MissingInputs; ValueError for less than a year.
        """
        check_inputs(self.card.id, NEEDS, forcing.names(), "the forcing")
        if forcing.days < YEAR:
            raise ValueError(
                f"Spin-up needs a whole year; the forcing runs from {forcing.start} to {forcing.end}. Give it at least "
                f"one year, or give a state."
            )
        first = date(forcing.start.year - 1, 1, 1) + timedelta(days=min(k.begins for k in KINDS if k.autumn) - 1)
        back = (forcing.start - first).days
        same = (np.arange(back) - back) % YEAR
        none = np.full((forcing.cells, 1), np.nan)
        earlier = replace(
            forcing, start=first, years=(first.year, *forcing.years),
            daily={n: np.asarray(v)[:, same] for n, v in forcing.daily.items()},
            annual={n: np.concatenate([none, np.asarray(v, np.float64)], axis=1) for n, v in forcing.annual.items()},
        )  # fmt: skip
        return self._run(earlier, self._empty(forcing.cells))[2]

    def predict(self, forcing: Forcing, state: State | None = None) -> Prediction:
        """Run the batch; see the contract. Masses are 0, as is the stage, on days without a crop."""
        check_inputs(self.card.id, NEEDS, forcing.names(), "the forcing")
        if state is None:
            state = self.initial_state(forcing)
        if state.day != forcing.start - timedelta(days=1):
            raise ValueError(
                f"The state is of the end of {state.day}, but the forcing starts on {forcing.start}; it must start on "
                f"{state.day + timedelta(days=1)}. Use the state of the day before, or none to spin up."
            )
        daily, yields, after, flags = self._run(forcing, dict(state.arrays))
        closing = tuple(
            y for y in forcing.years if y >= forcing.start.year and date(y, 12, 31) <= forcing.end
        )  # fmt: skip
        return Prediction(
            start=forcing.start,
            daily=daily,
            years=closing,
            annual={"yield": np.stack(yields, axis=-1) if yields else np.zeros((self.members, forcing.cells, 0), "f4")},
            state=after,
            flags=flags,
        )

    def _empty(self, cells: int) -> dict[str, Floats]:
        shape = (self.members, cells, width(next(iter(self.networks.values()))[0].hidden))
        nothing = np.full(shape, NOT_BEGUN, np.float32)
        return {NOW: nothing, NEXT: nothing.copy(), TAKEN: np.full(shape[:2], np.nan, np.float32)}

    def _run(self, forcing: Forcing, memory: dict[str, Floats]) -> tuple[dict[str, Floats], list[Floats], State, Flags]:
        """Daily outputs, yields of the years that end, memory at the end, flags."""
        shape = (self.members, forcing.cells, forcing.days)
        daily = {name: np.full(shape, np.nan, np.float32) for name in DAILY}
        yields: list[Floats] = []
        flags = _flags(forcing, self.card)
        year_of_day = forcing.dates().astype("datetime64[Y]").astype(np.int64) + 1970
        now, later, taken = (np.array(memory[n]) for n in (NOW, NEXT, TAKEN))
        for year in np.unique(year_of_day).tolist():
            at = np.flatnonzero(year_of_day == year)
            days = slice(int(at[0]), int(at[-1]) + 1)
            first = int((forcing.dates()[days.start] - np.datetime64(f"{year}-01-01")).astype(int)) + 1
            column = forcing.years.index(year)
            if first == 1:
                now, taken = later, np.full_like(taken, np.nan)
                later = np.full_like(now, NOT_BEGUN)
            for kind, irrigated in GROUPS:
                cells = _standing(forcing, kind, irrigated, column)
                if len(cells):
                    self._season(forcing, kind, irrigated, cells, column, days, first, now, taken, daily, flags)
            for kind, irrigated in GROUPS:
                begins = max(first, kind.begins)
                if not kind.autumn or column + 1 >= len(forcing.years) or first + len(at) <= begins:
                    continue
                cells = _standing(forcing, kind, irrigated, column + 1)
                part = slice(days.start + begins - first, days.stop)
                if len(cells):
                    self._season(forcing, kind, irrigated, cells, column + 1, part, begins, later, None, daily, flags)
            if forcing.dates()[days.stop - 1] == np.datetime64(f"{year}-12-31"):
                yields.append(taken.copy())
        arrays = {NOW: now, NEXT: later, TAKEN: taken}
        return daily, yields, State(forcing.end, arrays), flags

    def _season(
        self, forcing: Forcing, kind: Kind, irrigated: bool, cells: NDArray[np.intp], column: int, days: slice,
        first: int, slot: Floats, taken: Floats | None, daily: dict[str, Floats], flags: Flags,
    ) -> None:  # fmt: skip
        """Some days of one season: fills `slot`, `taken`, `daily` and `flags`. first: day of the year of its first."""
        in_autumn = taken is None
        begins = first == (kind.begins if in_autumn or not kind.autumn else 0)
        before = None if begins else slot[:, cells]
        lost = np.zeros(len(cells), bool)
        if before is not None:
            lost = np.asarray((before[..., 0] < 0.0).all(axis=0))
        for fresh in (False, True):
            some = np.flatnonzero(lost == fresh)
            if not len(some):
                continue
            here = cells[some]
            part = _part(forcing, kind, irrigated, here, column, days, first, in_autumn)
            carried = None if before is None or fresh else torch.from_numpy(np.ascontiguousarray(before[:, some]))
            if fresh and before is not None:
                # its autumn, or spring, is not in the record: it is taken to be sown on the first day there is
                part = replace(part, offset=0, sow=torch.clamp(part.sow, min=0))
                flags["assumed_sowing"][here] = True
            self._grow(kind, part, carried, here, days, slot, taken, daily, flags)

    def _grow(
        self, kind: Kind, part: Part, carried: Tensor | None, cells: NDArray[np.intp], days: slice, slot: Floats,
        taken: Floats | None, daily: dict[str, Floats], flags: Flags,
    ) -> None:  # fmt: skip
        networks = self.networks[kind.name]
        with torch.inference_mode():
            grown = grow(networks, part, carried)
            slot[:, cells] = grown.memory.numpy()
            day = torch.arange(part.days)
            stands = (day >= part.sow[:, None]) & (day <= part.harvest[:, None])
            course = grown.course
            mass, grain = carbon(kind, course["biomass"], course["grain"])
            stress = torch.where(course["stage"] > 0.0, 1.0 - course["drought"], 0.0)
            given = {"biomass": mass, "grain": grain, "lai": course["lai"], "stage": course["stage"]}
            given["water_stress"] = stress.clamp(0.0, 1.0)
            for name, values in given.items():
                # a missing value stays missing where nothing stands, so that it is not taken for bare soil
                shown = torch.where(stands | torch.isnan(values), values, 0.0).numpy()
                target = daily[name][:, cells, days]
                if taken is None:
                    keep = stands.numpy()[None]
                    shown = np.where(keep, shown, target)
                daily[name][:, cells, days] = shown
            if taken is not None:
                reaped = ((part.harvest >= 0) & (part.harvest < part.days)).numpy()
                if reaped.any():
                    on = part.harvest.clamp(0, part.days - 1)
                    of_day = course["grain"].gather(2, on.expand(len(networks), -1)[..., None])[..., 0]
                    found = harvest(networks, part, grown, of_day).numpy()
                    taken[:, cells] = np.where(reaped, found, taken[:, cells])
                    stage = course["stage"].gather(2, on.expand(len(networks), -1)[..., None])[..., 0]
                    flags["unripe"][cells] |= reaped & (stage.median(dim=0).values < RIPE).numpy()


def _standing(forcing: Forcing, kind: Kind, irrigated: bool, column: int) -> NDArray[np.intp]:
    """Cells that bear the crop in a year, with its dates."""
    annual = forcing.annual
    fits = np.isin(np.asarray(annual["crop"])[:, column], kind.market.cdl)
    sow, reap = (np.asarray(annual[n], np.float64)[:, column] for n in ("sowing_doy", "harvest_doy"))
    with np.errstate(invalid="ignore"):
        fits &= (sow >= 1) & (reap >= 1) & ((sow > reap) == kind.autumn)
    wet = (
        np.nan_to_num(np.asarray(annual["irrigated"], np.float64)[:, column]) > 0.5 if "irrigated" in annual else False
    )
    return np.flatnonzero(fits & (wet == irrigated))


def _part(
    forcing: Forcing, kind: Kind, irrigated: bool, cells: NDArray[np.intp], column: int, days: slice, first: int,
    in_autumn: bool,
) -> Part:  # fmt: skip
    static = {n: np.asarray(v, np.float64)[cells] for n, v in forcing.static.items()}
    latitude = np.round(static["latitude"] / LATITUDE_STEP)
    elevation = np.nan_to_num(np.round(static.get("elevation", np.zeros(len(cells))) / ELEVATION_STEP))
    # rounded, never averaged over the batch: a cell's days are the same in whatever company it is computed
    keys = np.stack([np.asarray(forcing.weather)[cells], np.nan_to_num(latitude), elevation], axis=1)
    rows, row = np.unique(keys, axis=0, return_inverse=True)
    annual = {n: np.asarray(v, np.float64)[cells, column] for n, v in forcing.annual.items()}
    dates = forcing.dates()[days]
    starts = dates.astype("datetime64[Y]").astype("datetime64[D]")
    year = forcing.years[column]
    # day numbers of sowing and harvest among the part's days
    long = _length(year - 1)
    of_first = first - long if in_autumn else first  # as a day of the harvest's year
    sow = annual["sowing_doy"] - (long if kind.autumn else 0) - of_first
    begun = kind.begins - long if kind.autumn else kind.begins
    static["latitude"] = np.where(np.isnan(static["latitude"]), np.nan, latitude * LATITUDE_STEP)
    expected = annual.get("yield_expected", np.full(len(cells), np.nan)) * kind.market.t_ha(1.0)
    used = rows[:, 0].astype(np.int64)
    names = [n for n in (*NEEDS.daily, "co2", "irrigation") if n in forcing.daily]
    return Part(
        kind,
        {n: np.asarray(forcing.daily[n])[used][:, days] for n in names},
        rows[:, 1] * LATITUDE_STEP,
        rows[:, 2] * ELEVATION_STEP,
        (dates - starts).astype(np.float64) + 1.0,
        of_first - begun,
        torch.from_numpy(row.reshape(-1).astype(np.int64)),
        torch.from_numpy(sow.astype(np.int64)),
        torch.from_numpy((annual["harvest_doy"] - of_first).astype(np.int64)),
        statics_of(kind, static, annual["sowing_doy"], np.full(len(cells), year), expected),
        soil_of(kind, static),
        torch.from_numpy(expected.astype(np.float32)),
        irrigated,
    )


def _length(year: int) -> int:
    return (date(year + 1, 1, 1) - date(year, 1, 1)).days


def _flags(forcing: Forcing, card: Card) -> Flags:
    cells = forcing.cells
    touched = [k for k, y in enumerate(forcing.years) if forcing.start.year <= y <= forcing.end.year]
    known = np.zeros((cells, len(touched)), bool)
    unexpected = np.zeros(cells, bool)
    for kind in KINDS:
        for i, k in enumerate(touched):
            for irrigated in (False, True):
                here = _standing(forcing, kind, irrigated, k)
                known[here, i] = True
                given = forcing.annual.get("yield_expected", np.full((cells, len(forcing.years)), np.nan))
                unexpected[here] |= np.isnan(np.asarray(given, np.float64)[here, k])
    missing = np.zeros(len(forcing.daily["tmin"]), bool)
    for name in NEEDS.daily:
        missing |= np.isnan(forcing.daily[name]).any(axis=1)
    soil = np.zeros(cells, bool)
    for name in NEEDS.static:
        soil |= np.isnan(np.asarray(forcing.static[name], np.float64))
    outside = np.zeros(cells, bool)
    for name, (low, high) in card.domain.ranges.items():
        if name in forcing.static:
            values = np.asarray(forcing.static[name], np.float64)
            outside |= (values < low) | (values > high)
    return {
        "crop_unknown": np.asarray(~known.all(axis=1)), "weather_missing": missing[forcing.weather],
        "soil_missing": soil, "outside_domain": outside, "assumed_yield_expected": unexpected,
        "assumed_sowing": np.zeros(cells, bool), "unripe": np.zeros(cells, bool),
    }  # fmt: skip


def weights_of(networks: Mapping[str, Sequence[SeasonNetwork]]) -> dict[str, Floats]:
    """All weights as arrays: "crop.member.name"."""
    return {
        f"{crop}.{m}.{n}": v.detach().numpy()
        for crop, several in networks.items()
        for m, one in enumerate(several)
        for n, v in one.state_dict().items()
    }


def load(checkpoint: Checkpoint, device: str = "cpu") -> HybridCrop:  # noqa: ARG001
    """The ensemble of a checkpoint; it runs on the processor, whatever the device. Raises BadCheckpoint."""
    card = checkpoint.card
    size: Any = card.recipe.get("network", {})
    found: dict[str, list[SeasonNetwork]] = {}
    for kind in KINDS:
        for m in range(card.members):
            network = SeasonNetwork(kind, int(size.get("hidden", 16)), int(size.get("wide", 16)))
            begin = f"{kind.name}.{m}."
            own = {n.removeprefix(begin): v for n, v in checkpoint.weights.items() if n.startswith(begin)}
            try:
                network.load_state_dict({n: torch.from_numpy(np.array(v)) for n, v in own.items()})
            except RuntimeError as error:
                raise BadCheckpoint(
                    f"The weights of member {m} of model '{card.id}' for {kind.name} are not those of its network: "
                    f"{error}. It was made by another version of Fieldflux: train it again, or install that version."
                ) from error
            found.setdefault(kind.name, []).append(network.eval())
    return HybridCrop(card, found)


__all__ = ["ANNUAL", "DAILY", "HybridCrop", "load", "weights_of"]
