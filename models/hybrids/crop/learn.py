"""Training of the served networks: yields of counties, courses of measured fields, and dates of harvest."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from fieldflux.models.processes.lintul5.parameters import LEARNED
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from .drive import Part
from .seasonnet import SHARE, Grown, SeasonNetwork, grow, harvest

Told = Callable[[int, float], None]
FEW = 5  # days before the harvest by which a crop is ripe
LATE = 45  # days before the harvest before which it is not


class Training(BaseModel):
    """How a network is trained. spread: of the weather's factor on light, and `hold`, of the place's parameters, by
    which going from the crop's own is charged. ripe: weight of the calendar's maturity. blind: share of county years
    whose expected yield is hidden in a step, so that the network can do without. field: weight of measured fields.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rounds: int = Field(default=120, ge=1)
    batch: int = Field(default=32, ge=1)
    rate: float = Field(default=1e-2, gt=0)
    wait: int = Field(default=20, ge=1, description="rounds without a better check before it stops")
    clip: float = 1.0
    hold: float = Field(default=0.02, ge=0)
    light: float = Field(default=0.3, ge=0)
    ripe: float = Field(default=0.3, ge=0)
    blind: float = Field(default=0.4, ge=0, lt=1)
    field: float = Field(default=1.0, ge=0)


@dataclass(frozen=True, slots=True, eq=False)
class Yields:
    """Years of counties. part: C cells, several soils a county. unit: [C] place of each cell's county year among U.
    observed: [U] t ha-1 at market moisture."""

    part: Part
    unit: Tensor
    observed: Tensor

    def of(self, units: Tensor) -> Yields:
        """Some of the county years."""
        place = torch.full((len(self.observed),), -1)
        place[units] = torch.arange(len(units))
        cells = torch.nonzero(place[self.unit] >= 0)[:, 0]
        return Yields(self.part.only(cells), place[self.unit[cells]], self.observed[units])


@dataclass(frozen=True, slots=True, eq=False)
class Fields:
    """Courses of measured fields. part: C cells. measured: "biomass" (all above ground) and "grain", g m-2 of dry
    matter, and "lai" -> [C, D], NaN where nothing was measured. flowering: [C] the day's number, NaN unknown."""

    part: Part
    measured: dict[str, Tensor]
    flowering: Tensor | None = None


FIELD_SCALES = {"biomass": 500.0, "grain": 250.0, "lai": 2.0}
FLOWERING = 0.2
"""Of the stage on the day of flowering: about a week and a half."""


def yields_of(networks: list[SeasonNetwork], lessons: Yields, part: Part | None = None) -> tuple[Tensor, Grown]:
    """[M, U] yields, t ha-1 at market moisture, means over a county's soils, and what grew."""
    part = part or lessons.part
    grown = grow(networks, part)
    on = part.harvest.clamp(0, part.days - 1).expand(len(networks), -1)[..., None]
    grain = grown.course["grain"].gather(2, on)[..., 0]
    made = harvest(networks, part, grown, grain) * part.kind.market.t_ha(1.0)
    count = torch.bincount(lessons.unit, minlength=len(lessons.observed)).to(made.dtype)
    sums = made.new_zeros(len(networks), len(lessons.observed)).index_add(1, lessons.unit, made)
    return sums / count, grown


def begin(network: SeasonNetwork, lessons: Yields) -> None:
    """Set where share and normal grain start, so that the first yields are right on the average."""
    with torch.no_grad():
        part = lessons.part
        grown = grow([network], part)
        on = part.harvest.clamp(0, part.days - 1).expand(1, -1)[..., None]
        grain = grown.course["grain"].gather(2, on)[0, :, 0] * part.kind.market.carbon * part.kind.market.t_ha(1.0)
        last = network.place[2]
        assert isinstance(last, nn.Linear)
        last.bias[-1] += (torch.log(grain.clamp(min=0.1) / part.kind.yields[0]) - grown.normal[0]).mean()
        share = (lessons.observed.mean() / grain.mean()).clamp(SHARE[0] + 0.05, SHARE[1] - 0.05)
        one, low, high = torch.tensor(1.0), *SHARE
        last.bias[-2] += torch.logit((share - low) / (high - low)) - torch.logit((one - low) / (high - low))


def blinded(part: Part, hidden: Tensor) -> Part:
    """The part with the expected yield unknown in the cells of the mask [C]."""
    statics = part.statics.clone()
    statics[hidden, -2:] = 0.0
    return replace(part, statics=statics, expected=torch.where(hidden, torch.nan, part.expected))


def charges(grown: Grown, part: Part, training: Training) -> Tensor:
    """What going from the crop's own parameters, from steady light use and from the calendar's maturity costs."""
    stage = grown.course["stage"]
    off = grown.moved[..., : len(LEARNED)]
    cost = training.hold * (off**2).mean() + training.light * (((grown.light - 1.0) / 0.1) ** 2).mean()
    days = stage.shape[2]
    ends = (part.harvest - FEW).clamp(0, days - 1).expand(len(stage), -1)[..., None]
    early = (part.harvest - LATE).clamp(0, days - 1).expand(len(stage), -1)[..., None]
    green = torch.relu(2.0 - stage.gather(2, ends)) ** 2
    brown = torch.relu(stage.gather(2, early) - 1.9) ** 2
    return cost + training.ripe * 25.0 * (green + brown).mean()


def field_error(networks: list[SeasonNetwork], fields: Fields) -> Tensor:
    """Mean square of the errors of measured fields, each quantity by its scale."""
    grown = grow(networks, fields.part)
    terms = []
    for name, seen in fields.measured.items():
        there = torch.isfinite(seen)
        if bool(there.any()):
            off = (grown.course[name][0] - seen)[there] / FIELD_SCALES[name]
            terms.append((off**2).mean())
    if fields.flowering is not None and bool((known := torch.isfinite(fields.flowering)).any()):
        on = fields.flowering[known].long().clamp(0, fields.part.days - 1)
        stage = grown.course["stage"][0][known].gather(1, on[:, None])[:, 0]
        terms.append((((stage - 1.0) / FLOWERING) ** 2).mean())
    return torch.stack(terms).mean()


def judged(network: SeasonNetwork, check: Yields) -> float:
    """RMSE of yields, t ha-1: the mean of those with the expected yield told, and hidden."""
    hidden = torch.ones(check.part.cells, dtype=torch.bool)
    with torch.no_grad():
        both = [yields_of([network], check, part)[0][0] for part in (check.part, blinded(check.part, hidden))]
        return sum(float(((made - check.observed) ** 2).mean().sqrt()) for made in both) / 2.0


def fit(
    network: SeasonNetwork, training: Training, lessons: Yields | None, check: Yields | None, fields: Fields | None,
    seed: int, told: Told = lambda *_: None,
) -> list[float]:  # fmt: skip
    """Train in place; keeps the weights that are best at the check (of the last round without one).

    Returns what `judged` says of the check before the first round and after each. Raises ValueError without any lesson.
    """
    if lessons is None and fields is None:
        raise ValueError("There is nothing to learn from: neither yields nor measured fields.")
    g = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=training.rate)
    count = 0 if lessons is None else len(lessons.observed)
    course: list[float] = []
    if lessons is not None:
        begin(network, lessons)
    best, kept, waited = math.inf, copy.deepcopy(network.state_dict()), 0
    for turn in range(training.rounds + 1):
        if turn:
            order = torch.randperm(count, generator=g)
            for first in range(0, max(count, 1), training.batch):
                loss = torch.zeros(())
                if lessons is not None:
                    some = lessons.of(order[first : first + training.batch])
                    dark = torch.rand(len(some.observed), generator=g) < training.blind
                    part = blinded(some.part, dark[some.unit])
                    made, grown = yields_of([network], some, part)
                    scale = 0.5 * part.kind.yields[1]
                    off = (made[0] - some.observed) / scale
                    # beyond two scales an error counts linearly: floods and hail are no weather that is given here
                    loss = nn.functional.huber_loss(off, torch.zeros_like(off), delta=2.0)
                    loss = loss + charges(grown, part, training)
                if fields is not None:
                    loss = loss + training.field * field_error([network], fields)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(network.parameters(), training.clip)
                optimiser.step()
        if check is None:
            kept = network.state_dict()
            continue
        course.append(judged(network, check))
        told(turn, course[-1])
        if course[-1] < best:
            best, kept, waited = course[-1], copy.deepcopy(network.state_dict()), 0
        else:
            waited += 1
            if waited >= training.wait:
                break
    network.load_state_dict(kept)
    return course


__all__ = ["Fields", "Training", "Yields", "begin", "blinded", "field_error", "fit", "yields_of"]
