"""Real places as lessons: their years one after another, what was measured, and samples of single years from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from fieldflux.models.contract import Floats, Forcing
from torch import Tensor

from .inputs import Days, calendar_years, closed_days, joined, paper_days, span_of
from .losses import Targets
from .network import Carry, Network, Outputs, detached
from .recipe import Variant

SPIN_UP_YEARS = 2


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """A place of B cells over consecutive years.

    group: places of one group are held out together. days: year -> its days. reco, nee: year -> [B, D], NaN where not
    measured. harvest: year -> [B], NaN where none was weighed. train: the years to learn from.
    """

    name: str
    group: str
    days: Mapping[int, Days]
    reco: Mapping[int, Tensor]
    nee: Mapping[int, Tensor]
    harvest: Mapping[int, Tensor]
    train: tuple[int, ...]

    @property
    def years(self) -> tuple[int, ...]:
        return tuple(self.days)


def lesson(
    name: str,
    group: str,
    forcing: Forcing,
    gpp: Floats,
    measured: Floats,
    variant: Variant,
    train: Sequence[int],
    observed: Mapping[str, Floats] | None = None,
    harvest: Mapping[int, Floats] | None = None,
) -> Lesson:
    """A lesson of a forcing's whole calendar years.

    gpp, measured: [C, D], see `closed_days`. observed: "reco", "nee" -> [D], NaN where missing. harvest: year -> [C],
    gC m-2.
    """
    paper = variant == "paper"
    years = [y for y in calendar_years(forcing) if span_of(forcing, y).stop - span_of(forcing, y).start >= 365]
    days: dict[int, Days] = {}
    reco: dict[int, Tensor] = {}
    nee: dict[int, Tensor] = {}
    weighed: dict[int, Tensor] = {}
    for year in years:
        days[year] = paper_days(forcing, gpp, year) if paper else closed_days(forcing, gpp, measured, year)
        length = days[year].gpp.shape[1]
        for kept, what in ((reco, "reco"), (nee, "nee")):
            seen = (observed or {}).get(what)
            part = np.full(length, np.nan) if seen is None else seen[span_of(forcing, year)][:length]
            kept[year] = torch.tensor(np.broadcast_to(part, (forcing.cells, length)).copy(), dtype=torch.float32)
        found = (harvest or {}).get(year)
        none = np.full(forcing.cells, np.nan)
        weighed[year] = torch.tensor(none if found is None else found, dtype=torch.float32)
    return Lesson(name, group, days, reco, nee, weighed, tuple(y for y in train if y in days))


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Single years of lessons, cells of all together: their days, the memory that they start from, the targets.

    All on the network's device but `place` and `year`.

    place: [B], index of the lesson. year: [B].
    """

    days: Days
    carry: Carry
    targets: Targets
    place: Tensor
    year: Tensor

    def take(self, chosen: Tensor) -> Samples:
        """Some of the cells."""
        there = chosen.to(self.days.x.device)
        return Samples(
            self.days.take(there), {n: v[there] for n, v in self.carry.items()}, self.targets.take(there),
            self.place[chosen], self.year[chosen],
        )  # fmt: skip


def walk(
    network: Network,
    lessons: Sequence[Lesson],
    visit: Callable[[Lesson, int, Carry, Outputs], None],
    until: Callable[[Lesson], int] = lambda one: max(one.years),
) -> None:
    """Every lesson through its years in order, after a spin-up on its first two; `visit` sees the memory before a year.

    Lessons of one calendar year run as one batch. No gradient.
    """
    carries: dict[int, Carry] = {}
    device = network.device()

    def through(year: int, seen: bool, there: Sequence[int]) -> None:
        parts = [lessons[i].days[year] for i in there]
        days = joined(parts).to(device)
        before = _together([carries.get(i) for i in there], parts, network, days)
        out, after = network(days, before)
        at = 0
        for i, part in zip(there, parts, strict=True):
            cells = slice(at, at + part.cells)
            if seen:
                own = {n: v[cells] for n, v in before.items()}
                visit(lessons[i], year, own, Outputs(*(getattr(out, n)[cells] for n in Outputs.__slots__)))
            carries[i] = {n: v[cells] for n, v in after.items()}
            at += part.cells

    with torch.no_grad():
        for spin in (True, False):
            for year in sorted({y for one in lessons for y in one.years}):
                there = [
                    i for i, one in enumerate(lessons)
                    if year in one.days and (year in one.years[:SPIN_UP_YEARS] if spin else year <= until(one))
                ]  # fmt: skip
                if there:
                    through(year, not spin, there)


def _together(
    carries: Sequence[Carry | None], parts: Sequence[Days], network: Network, days: Days
) -> dict[str, Tensor]:
    fresh = network.fresh(days)
    for name, values in fresh.items():
        at = 0
        for carry, part in zip(carries, parts, strict=True):
            if carry is not None:
                values[at : at + part.cells] = carry[name]
            at += part.cells
    return fresh


def samples(network: Network, lessons: Sequence[Lesson], weights: Mapping[str, float] | None = None) -> Samples:
    """The training years of lessons, each with the memory that `network` has at its start.

    weights: lesson's name -> weight of each of its site-years; default 1.
    """
    days: list[Days] = []
    carries: list[Carry] = []
    found: dict[str, list[Tensor]] = {"reco": [], "nee": [], "harvest": [], "weight": [], "place": [], "year": []}
    order = {one.name: i for i, one in enumerate(lessons)}

    def visit(one: Lesson, year: int, before: Carry, _: Outputs) -> None:
        if year not in one.train:
            return
        part = one.days[year]
        days.append(part)
        carries.append(detached(before))
        found["reco"].append(one.reco[year])
        found["nee"].append(one.nee[year])
        found["harvest"].append(one.harvest[year])
        found["weight"].append(torch.full((part.cells,), 1.0 if weights is None else weights.get(one.name, 0.0)))
        found["place"].append(torch.full((part.cells,), order[one.name]))
        found["year"].append(torch.full((part.cells,), year))

    learning = [one for one in lessons if one.train]
    if not learning:
        raise ValueError("No lesson has a year to learn from. Give at least one training year.")
    walk(network, learning, visit, lambda one: max(one.train))
    whole = joined(days).to(network.device())
    longest = whole.gpp.shape[1]

    def padded(values: list[Tensor]) -> Tensor:
        return torch.cat([torch.nn.functional.pad(v, (0, longest - v.shape[1]), value=torch.nan) for v in values])

    place, year = torch.cat(found["place"]), torch.cat(found["year"])
    # points of one place, year and crop are one county's
    targets = Targets(
        reco=padded(found["reco"]), nee=padded(found["nee"]), harvest=torch.cat(found["harvest"]),
        weight=torch.cat(found["weight"]), owner=(place * 10000 + year) * 8 + whole.crop.argmax(1).cpu(),
    )  # fmt: skip
    carry = {n: torch.cat([c[n] for c in carries]) for n in carries[0]}
    return Samples(whole, carry, targets.to(network.device()), place, year)
