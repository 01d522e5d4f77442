"""KGML-ag-Carbon behind the contract: GPP, water and energy of the process model, networks for the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from threading import Lock

import numpy as np
import torch
from fieldflux.models.card import Card
from fieldflux.models.checkpoint import BadCheckpoint, Checkpoint
from fieldflux.models.contract import Floats, Forcing, Needs, Prediction, State, check_inputs
from fieldflux.models.processes.agroecosystem.inputs import crop_index
from fieldflux.models.processes.agroecosystem.model import NEEDS as PROCESS_NEEDS
from fieldflux.models.processes.agroecosystem.model import Agroecosystem, closing_years, first_years, whole_years
from fieldflux.models.processes.agroecosystem.parameters import COUNT, CROP_NAMES
from numba import get_num_threads
from numpy.typing import NDArray
from torch import Tensor

from .closed import Closed
from .inputs import CLOSED, OTHER_CROPS, Days, calendar_years, closed_days, paper_days, span_of
from .network import Carry
from .paper import Paper
from .plain import Plain

NEEDS = Needs(
    PROCESS_NEEDS.daily, PROCESS_NEEDS.annual, PROCESS_NEEDS.static, (*PROCESS_NEEDS.optional, "yield_expected")
)
DAILY = ("gpp", "ra", "rh", "reco", "nee", "et", "transpiration", "le", "h", "soil_moisture", "snow", "runoff", "lai",
         "biomass")  # fmt: skip
OF_PROCESS = ("et", "transpiration", "le", "h", "soil_moisture", "snow", "runoff", "lai", "biomass")
ANNUAL = ("yield", "residue", "delta_soc")
SUMS = ("year_gpp", "year_ra", "year_rh", "year_harvest")  # of the year so far
FAILED = 150.0  # gC m-2 yr-1; the usual bound of a site-year of cropland that counts
SPIN_UP_YEARS = 2  # the first years of a record, after which it begins again
CELLS = 96  # of one pass through a network: its days then stay in the processor's cache

AnyNetwork = Closed | Paper | Plain


@dataclass(frozen=True, slots=True, eq=False)
class Kgml:
    """An ensemble. networks: one per member; process: the process model of the same members, for GPP and water."""

    card: Card
    networks: Sequence[AnyNetwork]
    process: Agroecosystem
    device: str = "cpu"

    @property
    def needs(self) -> Needs:
        return NEEDS

    @property
    def outputs(self) -> tuple[str, ...]:
        return (*DAILY, *ANNUAL)

    @property
    def members(self) -> int:
        return len(self.networks)

    def initial_state(self, forcing: Forcing) -> State:
        """Spin up the process model (see there), then the networks on the first two years of the record.

        Raises ValueError where the forcing holds no whole year.
        """
        self._check(forcing)
        start = self.process.initial_state(forcing)
        loop = first_years(forcing, min(SPIN_UP_YEARS, whole_years(forcing)))
        spun = self._run(loop, np.array(start.arrays["state"]), None, {})[2]
        return State(start.day, {**spun, "process": start.arrays["state"], **self._no_sums(forcing.cells)})

    def predict(self, forcing: Forcing, state: State | None = None) -> Prediction:
        """Run the batch; see the contract.

        Cells of a crop without a process model, but cultivated, run where GPP is given: respiration and NEE, no yield.
        """
        self._check(forcing)
        if state is None:
            state = self.initial_state(forcing)
        if state.day != forcing.start - timedelta(days=1):
            raise ValueError(
                f"The state is of the end of {state.day}, but the forcing starts on {forcing.start}; it must start on "
                f"{state.day + timedelta(days=1)}. Use the state of the day before, or none to spin up."
            )
        carry = {n: v for n, v in state.arrays.items() if n not in ("process", *SUMS)}
        sums = {n: np.array(state.arrays[n], dtype=np.float64) for n in SUMS}
        daily, annual, arrays, flags = self._run(forcing, np.array(state.arrays["process"]), carry, sums)
        return Prediction(forcing.start, daily, closing_years(forcing), annual, State(forcing.end, arrays), flags)

    def _check(self, forcing: Forcing) -> None:
        check_inputs(self.card.id, NEEDS, forcing.names(), "the forcing")

    def _no_sums(self, cells: int) -> dict[str, Floats]:
        return {n: np.zeros((self.members, cells)) for n in SUMS}

    def _run(
        self, forcing: Forcing, process: Floats, carry: Mapping[str, Floats] | None, sums: Mapping[str, Floats]
    ) -> tuple[dict[str, Floats], dict[str, Floats], dict[str, Floats], dict[str, NDArray[np.bool_]]]:
        """Daily and annual outputs, memory at the end, flags. sums: of the year so far; empty while spinning up."""
        done = self.process.predict(forcing, State(forcing.start - timedelta(days=1), {"state": process}))
        members, cells = self.members, forcing.cells
        of_member = np.arange(members) % self.process.members
        given, measured = _given(forcing)
        # the median member: single members let a crop fail, in single years of single soils, that stood in all others
        own = np.median(done.daily["gpp"], axis=0)
        runs = _cultivated(forcing)[:, forcing_years(forcing)]  # [C, D]
        of_all = np.where(runs, np.where(measured, given, own), np.nan).astype(np.float32)
        gpp = np.repeat(of_all[None], members, axis=0)

        ra, rh = np.empty_like(gpp), np.empty_like(gpp)
        harvest = np.zeros((members, cells, len(calendar_years(forcing))))
        memory: dict[str, Floats] = {}
        making = Lock()

        def some(part: slice, chosen: range) -> None:
            """Some members over some cells; what they read of the days is the same for all of them."""
            own_days = self._days(_cells(forcing, part), of_all[part], measured[part])
            for m in chosen:
                before = None if carry is None else {n: _tensor(v[m, part], self.device) for n, v in carry.items()}
                after = self._member(self.networks[m], own_days, before, ra[m, part], rh[m, part], harvest[m, part])
                for name, value in after.items():
                    shape = (members, cells, *value.shape[1:])
                    with making:
                        whole = memory.setdefault(name, np.empty(shape, dtype=np.float32))
                    whole[m, part] = value.cpu().numpy()

        parts = [slice(at, min(at + CELLS, cells)) for at in range(0, cells, CELLS)]
        threads = get_num_threads() if self.device == "cpu" else 0
        # few cells: the members are shared out among the threads instead
        shares = max(1, min(members, -(-threads // max(len(parts), 1))))
        _in_threads(some, [(part, range(k, members, shares)) for part in parts for k in range(shares)], threads)
        lost = np.isnan(gpp)
        ra[lost] = rh[lost] = np.nan
        daily = {n: done.daily[n][of_member] for n in OF_PROCESS}
        daily |= {"gpp": gpp, "ra": ra, "rh": rh}
        daily["reco"] = ra + rh
        daily["nee"] = daily["reco"] - gpp
        annual, after = self._years(forcing, daily, harvest, sums) if sums else ({}, {})
        arrays = {**memory, "process": np.asarray(done.state.arrays["state"]), **after}
        failed = _failed(forcing, own, measured)
        return {n: daily[n] for n in DAILY}, annual, arrays, self._flags(forcing, done.flags, lost, failed)

    def _days(self, forcing: Forcing, gpp: Floats, measured: NDArray[np.bool_]) -> list[tuple[slice, Days]]:
        """What the networks read of each calendar year, and where its days lie among the forcing's. gpp: [C, D]."""
        usable = np.nan_to_num(gpp)  # a day without GPP is told by its missing outputs; what follows it goes on
        seen = measured.astype(np.float32)
        found = []
        for year in calendar_years(forcing):
            if isinstance(self.networks[0], Paper):
                days = paper_days(forcing, usable, year)
            else:
                days = closed_days(forcing, usable, seen, year)
            found.append((span_of(forcing, year), days.to(self.device)))
        return found

    def _member(
        self,
        network: AnyNetwork,
        of_years: list[tuple[slice, Days]],
        carry: Carry | None,
        ra: Floats,
        rh: Floats,
        harvest: Floats,
    ) -> Carry:
        """One network over the years, into ra, rh [C, D] and harvest [C, calendar year]; gives its last memory."""
        for k, (span, days) in enumerate(of_years):
            out, carry = network(days, carry)
            # the paper's years have 365 days: 31 December of a leap year is as the day before
            count = out.ra.shape[1]
            for kept, value in ((ra, out.ra), (rh, out.rh)):
                kept[:, span.start : span.start + count] = value.cpu().numpy()
                kept[:, span.start + count : span.stop] = kept[:, [span.start + count - 1]]
            harvest[:, k] = out.harvest.cpu().numpy()
        assert carry is not None
        return carry

    def _years(
        self, forcing: Forcing, daily: Mapping[str, Floats], harvest: Floats, sums: Mapping[str, Floats]
    ) -> tuple[dict[str, Floats], dict[str, Floats]]:
        """Annual outputs of the years that end, and the sums of the one that does not; float64 inside."""
        so_far = {n: np.array(v) for n, v in sums.items()}
        closing = closing_years(forcing)
        known = crop_index(np.asarray(forcing.annual["crop"])) >= 0
        found: dict[str, list[Floats]] = {n: [] for n in ANNUAL}
        for k, year in enumerate(calendar_years(forcing)):
            span = span_of(forcing, year)
            for name in ("gpp", "ra", "rh"):
                so_far[f"year_{name}"] += daily[name][:, :, span].sum(axis=2, dtype=np.float64)
            so_far["year_harvest"] += np.where(known[:, forcing.years.index(year)], harvest[:, :, k], np.nan)
            if year not in closing:
                continue
            gpp, ra, rh, taken = (so_far[n] for n in SUMS)
            found["yield"].append(taken)
            found["residue"].append(gpp - ra - taken)
            found["delta_soc"].append(gpp - ra - rh - taken)
            so_far = self._no_sums(forcing.cells)
        shape = (self.members, forcing.cells, 0)
        stacked = {n: np.stack(v, axis=-1) if v else np.zeros(shape) for n, v in found.items()}
        return {n: v.astype(np.float32) for n, v in stacked.items()}, so_far

    def _flags(
        self,
        forcing: Forcing,
        of_process: Mapping[str, NDArray[np.bool_]],
        lost: NDArray[np.bool_],
        failed: NDArray[np.bool_],
    ) -> dict[str, NDArray[np.bool_]]:
        known = crop_index(np.asarray(forcing.annual["crop"]))[:, sorted(set(forcing_years(forcing)))] >= 0
        flags = dict(of_process)
        flags["crop_unknown"] = np.asarray(~known.all(axis=1))
        flags["gpp_missing"] = np.logical_or.reduce(np.logical_and.reduce(lost, axis=0), axis=1)
        flags["crop_failed"] = failed
        outside = np.zeros(forcing.daily["tmean"].shape[0], dtype=bool)
        for name, (low, high) in self.card.domain.ranges.items():
            if name in forcing.daily:
                rows = np.asarray(forcing.daily[name])
                outside |= ((rows < low) | (rows > high)).any(axis=1)
        flags["weather_outside_domain"] = outside[forcing.weather]
        return flags


def forcing_years(forcing: Forcing) -> NDArray[np.int64]:
    """[D] column of each day's calendar year among the forcing's years."""
    return forcing.dates().astype("datetime64[Y]").astype(np.int64) + 1970 - forcing.years[0]


def _failed(forcing: Forcing, own: Floats, measured: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[C] where the process model's crop took up less than FAILED in a whole year of a known crop, and no GPP is given.

    Its crops can die of a late frost or a drought, and are not sown again: its own GPP is then not to be believed.
    """
    column = forcing_years(forcing)
    found = np.zeros(forcing.cells, dtype=bool)
    known = crop_index(np.asarray(forcing.annual["crop"])) >= 0
    for year in closing_years(forcing):
        k = forcing.years.index(year)
        days = column == k
        if days.sum() >= 365:
            found |= known[:, k] & ~measured[:, days].any(axis=1) & (own[:, days].sum(axis=1) < FAILED)
    return found


def _given(forcing: Forcing) -> tuple[Floats, NDArray[np.bool_]]:
    """[C, D] given GPP, NaN where there is none, and where there is."""
    shape = (forcing.cells, forcing.days)
    if forcing.gpp_given is None or forcing.gpp_unit is None:
        return np.full(shape, np.nan, dtype=np.float32), np.zeros(shape, dtype=bool)
    unit = np.asarray(forcing.gpp_unit)[:, forcing_years(forcing)]  # [C, D]
    values = np.asarray(forcing.gpp_given, dtype=np.float32)[np.maximum(unit, 0), np.arange(forcing.days)[None]]
    found = np.where(unit >= 0, values, np.nan).astype(np.float32)
    return found, np.isfinite(found)


def _cultivated(forcing: Forcing) -> NDArray[np.bool_]:
    """[C, Y] where the crop is one that the model runs: cultivated, known or other."""
    codes = np.asarray(forcing.annual["crop"], dtype=np.float64)
    return np.isin(codes, np.array(OTHER_CROPS, dtype=np.float64))


def _cells(forcing: Forcing, part: slice) -> Forcing:
    """Some cells of a forcing; weather rows stay shared."""
    return replace(
        forcing,
        weather=forcing.weather[part],
        annual={n: np.asarray(v)[part] for n, v in forcing.annual.items()},
        static={n: np.asarray(v)[part] for n, v in forcing.static.items()},
        gpp_given=None,
        gpp_unit=None,
    )


def _in_threads(work: Callable[[slice, range], None], tasks: Sequence[tuple[slice, range]], threads: int) -> None:
    """Call work(*task) for all tasks without gradients, in at most so many threads; 0: in the caller's own."""

    def one(task: tuple[slice, range]) -> None:
        with torch.inference_mode():  # a thread's own setting
            work(*task)

    if threads == 0:
        for task in tasks:
            one(task)
        return
    # Also for a single one: torch's own threads wait for each other with the processor busy, and where other work
    # takes a core, the same days take eight times as long.
    before = torch.get_num_threads()
    count = max(1, min(threads, len(tasks)))
    try:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(one, tasks))
    finally:
        torch.set_num_threads(before)  # of threads still to come; those above are gone


def _tensor(values: Floats, device: str) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(device)


def weights_of(networks: Sequence[AnyNetwork], table: Floats) -> dict[str, Floats]:
    """All weights of an ensemble as arrays: "member.name" of the networks, and the process model's table."""
    found = {
        f"{m}.{n}": v.detach().cpu().numpy() for m, one in enumerate(networks) for n, v in one.state_dict().items()
    }
    return {**found, "table": np.asarray(table, dtype=np.float64)}


def _network(variant: str, hidden: int) -> AnyNetwork:
    if variant == "paper":
        return Paper()
    return Plain(len(CLOSED), hidden) if variant == "plain" else Closed(hidden)


def load(checkpoint: Checkpoint, device: str = "cpu") -> Kgml:
    """The ensemble of a checkpoint. Raises BadCheckpoint where its weights are not those of this version's networks."""
    card = checkpoint.card
    table = checkpoint.weights.get("table")
    if table is None or table.ndim != 3 or table.shape[1:] != (len(CROP_NAMES), COUNT):
        raise BadCheckpoint(
            f"Model '{card.id}' needs weights 'table' of shape (member, {len(CROP_NAMES)}, {COUNT}), the process model "
            f"inside it. It was made by another version of Fieldflux: train it again, or install that version."
        )
    of_recipe = card.recipe.get("network", {})
    networks: list[AnyNetwork] = []
    for m in range(card.members):
        network = _network(str(of_recipe.get("variant", "closed")), int(of_recipe.get("hidden", 32)))
        own = {n.split(".", 1)[1]: v for n, v in checkpoint.weights.items() if n.startswith(f"{m}.")}
        try:
            network.load_state_dict({n: torch.from_numpy(np.array(v)) for n, v in own.items()})
        except RuntimeError as error:
            raise BadCheckpoint(
                f"The weights of member {m} of model '{card.id}' are not those of its network: {error}. It was made by "
                f"another version of Fieldflux: train it again, or install that version."
            ) from error
        networks.append(network.eval().to(device))
    return Kgml(card, tuple(networks), Agroecosystem(card, np.asarray(table, dtype=np.float64), "cpu"), device)


__all__ = ["Kgml", "load", "weights_of"]
