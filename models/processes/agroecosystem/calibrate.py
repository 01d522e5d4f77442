"""Calibration of the agro-ecosystem model by gradient descent through its own days.

One element of training is one calendar year at one site: it starts from the state that the model itself has at the end
of the year before (run on from spin-up with the parameters of the moment, renewed every `renew` steps), and is
differentiated through all its days. Each member of the ensemble starts elsewhere and sees its own bootstrap of the
site-years.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from statistics import NormalDist

import numpy as np
import torch
from fieldflux.models.card import Card
from fieldflux.models.contract import Floats, Forcing, Integers, State
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from .inputs import derive_seasons, derive_soil, derive_weather
from .model import Agroecosystem
from .parameters import CROP_NAMES, ETA_H, LEARNED, M_THETA, bounds, default_table, to_unit
from .rolled import Batch, Day, roll, torch_day
from .step import OUTPUT, SOIL_S, STATE, W1, W4

DAYS = 365
FEWEST = 60  # observed days in a site-year below which a variable does not count there


class CalibrationRecipe(BaseModel):
    """What a calibration is made of; saved with the checkpoint."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 0
    members: int = Field(default=5, ge=1, le=64)
    steps: int = Field(default=150, ge=0)
    rate: float = Field(default=0.06, gt=0)
    renew: int = Field(default=15, ge=1)
    prior: float = Field(default=0.002, ge=0)
    """Weight of the squared distance from the defaults, in logits."""
    balance: float = Field(default=0.5, ge=0, le=1)
    """How far rare crops are weighted up: a site-year counts as (site-years of its crop) ** -balance."""
    compiled: bool = False
    """Compile the day with torch.compile: many times faster, where the machine has a C++ compiler."""
    scatter: float = Field(default=0.4, ge=0)
    """Standard deviation of the members' starts around the defaults, in logits."""
    history: float = Field(default=0.25, ge=0)
    """Standard deviation among the members of the logarithm of eta_h, around balance. What the towers say of it is the
    history of those fields, and goes no further."""
    weights: dict[str, float] = Field(
        default_factory=lambda: {"gpp": 1.0, "reco": 1.0, "nee": 1.5, "le": 0.7, "h": 0.3, "lai": 0.3, "yield": 0.5}
    )


@dataclass(frozen=True, slots=True, eq=False)
class SiteRecord:
    """A site for calibration: its whole forcing (one cell), what was observed, and the calendar years to train on.

    observed: variable -> [day] over the forcing's days, NaN where not to be scored. harvested: year -> gC m-2.
    """

    site: str
    forcing: Forcing
    observed: Mapping[str, Floats]
    train_years: tuple[int, ...]
    harvested: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a calibration is: the step, the steps in all, the loss of each member."""

    step: int
    steps: int
    loss: tuple[float, ...]


def calibrate(
    records: Sequence[SiteRecord],
    recipe: CalibrationRecipe,
    card: Card,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Floats:
    """[member, crop, parameter] float64, the calibrated table.

    The loss is the mean over site-years, weighted by the member's bootstrap and by rarity, of the sum over variables of
    w (1 - 1 / (2 - NSE)), plus for the yield w (error / observed)^2, plus the prior. Of each member's steps, that with
    the lowest loss is kept.
    """
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    elements = [(record, year) for record in records for year in record.train_years]
    counts = rng.multinomial(len(elements), np.full(len(elements), 1.0 / len(elements)), size=recipe.members)
    share = torch.tensor(_shares(elements, counts, recipe.balance), dtype=torch.float32)

    start = _logits(to_unit(default_table()))
    shared = torch.tensor([q.shared for q in LEARNED])
    first = torch.tensor(start, dtype=torch.float32)
    z = (first + recipe.scatter * torch.randn(recipe.members, *first.shape)).requires_grad_()
    constants = torch.tensor(default_table()[:, len(LEARNED) :], dtype=torch.float32)
    optimiser = torch.optim.Adam([z], lr=recipe.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(recipe.steps, 1), recipe.rate * 0.05)
    day = torch_day(recipe.compiled)
    fixed = _fixed(elements, recipe.members)
    states: Tensor | None = None
    renewed = torch.zeros(())
    best, kept = torch.full((recipe.members,), torch.inf), z.detach().clone()
    overflowed = 0
    for turn in range(recipe.steps):
        table = _table(z, shared, constants)
        if turn % recipe.renew == 0:
            plain = table.detach().double().numpy()
            states = torch.tensor(_states(records, elements, plain, card), dtype=torch.float32)
            renewed = table.detach()
        assert states is not None
        loss = _loss(day, table, renewed, states, fixed, share, recipe)
        better = loss.detach() < best
        best, kept = torch.where(better, loss.detach(), best), torch.where(better[:, None, None], z.detach(), kept)
        distance = ((z - first) ** 2).mean(dim=(1, 2)) * first.numel()
        total = (loss + recipe.prior * distance).sum()
        optimiser.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        assert z.grad is not None
        # each member by itself: one member's steep slope must neither slow the others nor, where it overflows, move it
        norm = z.grad.flatten(1).norm(dim=1)
        steady = torch.isfinite(norm)
        z.grad = torch.where(steady[:, None, None], z.grad / norm.clamp(min=1.0)[:, None, None], torch.zeros_like(z))
        overflowed += int((~steady).sum())
        if overflowed > 0.1 * recipe.steps * recipe.members:
            raise ArithmeticError(
                f"The gradient overflowed {overflowed} times in {turn + 1} steps. Lower the recipe's rate or scatter."
            )
        optimiser.step()
        schedule.step()
        progress(Progress(turn + 1, recipe.steps, tuple(loss.detach().tolist())))
    with torch.no_grad():
        return _with_histories(_table(kept, shared, constants).double().numpy(), recipe.history)


def _with_histories(table: Floats, history: float) -> Floats:
    """The table with eta_h at the normal quantiles of the members, lowest first, the mean of their logarithms 0."""
    members = table.shape[0]
    at = [NormalDist().inv_cdf((m + 0.5) / members) for m in range(members)]
    return np.concatenate(
        [
            table[..., :ETA_H],
            np.broadcast_to(np.exp(history * np.array(at))[:, None, None], (*table.shape[:2], 1)),
            table[..., ETA_H + 1 :],
        ],
        axis=-1,
    )


def _shares(elements: Sequence[tuple[SiteRecord, int]], counts: Integers, balance: float) -> Floats:
    """[M, E] weight of each site-year in each member's loss, summing to 1."""
    crops = [derive_seasons(r.forcing).crop[0, r.forcing.years.index(y)] for r, y in elements]
    rarity = np.array([crops.count(crop) for crop in crops], dtype=np.float64) ** -balance
    weighted = counts * rarity
    return np.asarray(weighted / weighted.sum(axis=1, keepdims=True))


def _logits(unit: Floats) -> Floats:
    clipped = np.clip(unit, 1e-3, 1 - 1e-3)
    return np.asarray(np.log(clipped / (1 - clipped)))


def _table(z: Tensor, shared: Tensor, constants: Tensor) -> Tensor:
    """[M, crop, P] parameters of logits z [M, crop, learned]; a shared one is its first crop's."""
    low, high, log = (torch.tensor(b) for b in bounds())
    low, high = low.float(), high.float()
    tied = torch.where(shared, z[:, :1].expand_as(z), z)
    u = torch.sigmoid(tied)
    safe = torch.where(log, low, torch.ones_like(low))
    ratio = torch.where(log, high / safe, torch.ones_like(low))
    learned = torch.where(log, safe * torch.exp(u * torch.log(ratio)), low + u * (high - low))
    return torch.cat([learned, constants.expand(z.shape[0], -1, -1)], dim=-1)


@dataclass(frozen=True, slots=True)
class _Fixed:
    """What does not change from step to step: the batch of E site-years x M members, and what was observed in it."""

    batch: Batch
    kinds: Tensor  # [E, 2]
    observed: Mapping[str, Tensor]  # [E, D], NaN where none
    harvested: Tensor  # [E], NaN where none


def _fixed(elements: Sequence[tuple[SiteRecord, int]], members: int) -> _Fixed:
    weather, soils, seasons = [], [], []
    for record, year in elements:
        part = _year(record.forcing, year)
        one = {n: np.asarray(v, dtype=np.float64) for n, v in part.static.items()}
        doy = np.arange(1, DAYS + 1)
        daily = {n: np.asarray(v, dtype=np.float64) for n, v in part.daily.items()}
        weather.append(derive_weather(daily, one["latitude"], one.get("elevation", np.zeros(1)), doy)[0])
        soils.append(derive_soil(one)[0])
        seasons.append(derive_seasons(part))

    def per_element(name: str) -> NDArray[np.generic]:
        return np.concatenate([getattr(s, name) for s in seasons])

    def tiled(values: NDArray[np.generic], kind: torch.dtype) -> Tensor:
        return torch.as_tensor(values).to(kind).repeat(members, *[1] * (values.ndim - 1))

    whole, real = torch.int64, torch.float32
    count = len(elements)
    soil = tiled(np.stack(soils), real)
    batch = Batch(
        weather=torch.as_tensor(np.stack(weather)).to(real),
        row=tiled(np.arange(count), whole),
        gpp=torch.zeros(1, DAYS), unit=torch.full((count * members, 2), -1), crop=tiled(per_element("crop"), whole),
        sow=tiled(per_element("sow"), whole), harvest=tiled(per_element("harvest"), whole),
        switch=tiled(per_element("switch"), whole), irrigated=tiled(per_element("irrigated"), real),
        removed=tiled(per_element("removed"), real), tillage=tiled(per_element("tillage"), real),
        soil=soil.T.contiguous(),
        day_of_year=list(range(1, DAYS + 1)), year=[0] * DAYS, closes=[False] * DAYS,
    )  # fmt: skip
    names = sorted({name for record, _ in elements for name in record.observed})
    observed = {name: torch.tensor(np.stack([_seen(r, y, name) for r, y in elements]), dtype=real) for name in names}
    harvested = torch.tensor([r.harvested.get(y, np.nan) for r, y in elements], dtype=real)
    kinds = torch.as_tensor(np.maximum(per_element("crop").astype(np.int64), 0))
    return _Fixed(batch, kinds, observed, harvested)


def _year(forcing: Forcing, year: int) -> Forcing:
    """365 days of a forcing from 1 January of `year`, with the annual inputs of that year and the next."""
    begin = (date(year, 1, 1) - forcing.start).days
    if begin < 0 or begin + DAYS > forcing.days:
        raise ValueError(f"The forcing from {forcing.start} to {forcing.end} does not cover {DAYS} days of {year}.")
    k = forcing.years.index(year)
    following = min(k + 1, len(forcing.years) - 1)
    return replace(
        forcing,
        start=date(year, 1, 1),
        years=(year, year + 1),
        daily={n: v[:, begin : begin + DAYS] for n, v in forcing.daily.items()},
        annual={n: np.asarray(v)[:, [k, following]] for n, v in forcing.annual.items()},
    )


def _seen(record: SiteRecord, year: int, name: str) -> Floats:
    if name not in record.observed:
        return np.full(DAYS, np.nan)
    begin = (date(year, 1, 1) - record.forcing.start).days
    return record.observed[name][begin : begin + DAYS]


def _states(
    records: Sequence[SiteRecord], elements: Sequence[tuple[SiteRecord, int]], table: Floats, card: Card
) -> Floats:
    """[M, E, S] the model's own state before each site-year, with that table."""
    model = Agroecosystem(card, table)
    found: dict[tuple[str, int], Floats] = {}
    for record in records:
        forcing = record.forcing
        state: State | None = model.initial_state(forcing)
        for year in forcing.years:
            if year > max(record.train_years):
                break
            found[record.site, year] = state.arrays["state"] if state else np.zeros(0)
            part = _calendar_year(forcing, year)
            state = model.predict(part, state).state
    return np.stack([found[record.site, year][:, 0] for record, year in elements], axis=1)


def _calendar_year(forcing: Forcing, year: int) -> Forcing:
    first, last = max(forcing.start, date(year, 1, 1)), min(forcing.end, date(year, 12, 31))
    days = slice((first - forcing.start).days, (last - forcing.start).days + 1)
    k = forcing.years.index(year)
    columns = slice(k, k + 2)
    return replace(
        forcing,
        start=first,
        years=forcing.years[columns],
        daily={n: v[:, days] for n, v in forcing.daily.items()},
        annual={n: np.asarray(v)[:, columns] for n, v in forcing.annual.items()},
    )


def _loss(
    day: Day,
    table: Tensor,
    renewed: Tensor,
    states: Tensor,
    fixed: _Fixed,
    share: Tensor,
    recipe: CalibrationRecipe,
) -> Tensor:
    """[M] loss of each member."""
    members, count = states.shape[:2]
    parameters = table[:, fixed.kinds]  # [M, E, 2, P]
    old = renewed[:, fixed.kinds]
    flat = parameters.permute(3, 0, 1, 2).reshape(table.shape[-1], members * count, 2)
    # the state came without a gradient; what scales it directly keeps its own
    factor = torch.ones(members, count, len(STATE))
    change = parameters[:, :, 0] / torch.where(old[:, :, 0] == 0, torch.ones_like(old[:, :, 0]), old[:, :, 0])
    of_state = torch.zeros(len(STATE), dtype=torch.int64)
    of_state[W1 : W4 + 1], of_state[SOIL_S] = M_THETA, ETA_H
    factor = torch.where(of_state > 0, change[:, :, of_state], factor)
    start = (states * factor).reshape(members * count, len(STATE)).T
    _, outputs, _ = roll(day, start, flat, fixed.batch)
    outputs = outputs.reshape(len(OUTPUT), DAYS, members, count)
    modelled = {name: outputs[i].permute(1, 2, 0) for i, name in enumerate(OUTPUT)}  # [M, E, D]
    modelled["reco"] = modelled["ra"] + modelled["rh"]
    modelled["nee"] = modelled["reco"] - modelled["gpp"]
    total = torch.zeros(members, count)
    for name, weight in recipe.weights.items():
        if name == "yield":
            weighed = ~torch.isnan(fixed.harvested)
            # NaN must not enter the graph, not even where it is masked: its gradient would be NaN
            target = torch.where(weighed, fixed.harvested, torch.ones_like(fixed.harvested))
            error = torch.where(weighed, modelled["harvested"].sum(dim=2) / target - 1.0, torch.zeros_like(target))
            total = total + weight * error * error
        elif name in fixed.observed:
            seen = fixed.observed[name]
            there = ~torch.isnan(seen)
            number = there.sum(dim=1)
            value = torch.where(there, seen, torch.zeros_like(seen))
            mean = value.sum(dim=1) / number.clamp(min=1)
            spread = torch.where(there, (seen - mean[:, None]) ** 2, torch.zeros_like(seen)).sum(dim=1)
            miss = torch.where(there, modelled[name] - value, torch.zeros_like(value))
            ratio_of_squares = (miss * miss).sum(dim=2) / spread.clamp(min=1e-6)
            term = 1.0 - 1.0 / (1.0 + ratio_of_squares)  # 1 - 1 / (2 - NSE)
            total = total + weight * torch.where(number >= FEWEST, term, torch.zeros_like(term))
    return (share * total).sum(dim=1)


def crops_trained(records: Sequence[SiteRecord]) -> tuple[str, ...]:
    """Names of the crops that the records' training years hold."""
    found = set()
    for record in records:
        crops = derive_seasons(record.forcing).crop[0]
        found |= {CROP_NAMES[crops[record.forcing.years.index(y)]] for y in record.train_years}
    return tuple(name for name in CROP_NAMES if name in found)
