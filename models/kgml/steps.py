"""The five training steps: pre-training on synthetic runs, fine-tuning on county yields and on flux towers.

Each step starts from the best weights of the one before. A step can be broken off and resumed at the epoch: weights,
optimiser and best weights are in the keeper's file, and every random draw comes from (seed, step, epoch).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from fieldflux.models.contract import Floats, Forcing
from numpy.typing import NDArray
from torch import Tensor, nn

from . import losses
from .closed import Closed
from .inputs import CLOSED, GPP, PAPER, Days, closed_days, paper_days
from .lessons import Lesson, Samples, samples
from .losses import Targets
from .network import Carry, Outputs, detached, taken
from .paper import Paper
from .plain import Plain
from .recipe import NetworkRecipe, Stage
from .responses import (
    CLOSED_GRIDS,
    PAPER_GPP,
    PAPER_GRIDS,
    PAPER_SOC,
    PAPER_YEAR,
    SLOPE_GRID,
    YEAR_GRID,
    Curve,
    Probe,
    drift,
    falling,
    means,
    paper_drift,
    varied,
)

Runs = NDArray[np.int64]
YIELD_MODULES = ("attention", "share", "technology", "straw", "trust", "yields")
FLUX_MODULES = ("gru_ra", "head_ra", "gru_rh", "head_rh", "gru_nee", "head_nee", "gru_flux", "head_flux")
CLIP = 1.0
KNOWN = 0.5  # share of synthetic runs whose usual harvest the network is told
RENEW = 8  # epochs between two walks that renew the memories at the start of the samples
VALIDATED_YEARS = 4


class Cancelled(Exception):
    """The caller asked to stop; what was kept resumes."""


class Taught(Protocol):
    """Synthetic runs; `tiles.teaching.Teaching`."""

    @property
    def years(self) -> tuple[int, ...]: ...

    def forcing(self, runs: Runs, year: int) -> Forcing:
        """One calendar year, cells = runs, with the teacher's GPP given."""
        ...

    def targets(self, runs: Runs, year: int) -> Mapping[str, Floats]:
        """ "gpp", "ra", "rh" [n, D]; "yield" [n], NaN for none."""
        ...

    def usual_harvest(self, runs: Runs, year: int) -> Floats:
        """[n] mean harvest of the same crop in the run's other years, gC m-2; NaN where it has none."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training is."""

    step: str
    epoch: int
    epochs: int
    loss: float
    validation: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told of the progress, who may stop it, and where it is kept (None: nowhere)."""

    told: Callable[[Progress], None] = lambda _: None
    cancelled: Callable[[], bool] = lambda: False
    folder: Path | None = None


def build(recipe: NetworkRecipe, seed: int) -> Closed | Paper | Plain:
    """A network with fresh weights."""
    torch.manual_seed(seed)
    if recipe.variant == "paper":
        return Paper(recipe.dropout)
    if recipe.variant == "plain":
        return Plain(len(CLOSED), recipe.hidden, recipe.dropout)
    return Closed(recipe.hidden, recipe.dropout)


# ---------------------------------------------------------------- one step, whatever it learns from

Batch = tuple[Callable[[], Tensor], int]
"""A function that runs a batch forward and gives its loss, and how many cell-years it holds."""


def _learn(
    network: nn.Module,
    step: str,
    stage: Stage,
    rates: Mapping[str, float],
    seed: int,
    batches: Callable[[np.random.Generator, int], Iterator[Batch]],
    validate: Callable[[], float],
    watch: Watch,
    mixed: bool = False,
) -> None:
    """Train the modules that `rates` names (prefix -> share of the stage's rate); the rest stays as it is."""
    chosen = {n: p for n, p in network.named_parameters() if n.split(".")[0] in rates}
    for name, p in network.named_parameters():
        p.requires_grad_(name in chosen)
    groups = [{"params": [p], "lr": stage.rate * rates[n.split(".")[0]]} for n, p in chosen.items()]
    optimiser = torch.optim.Adam(groups, lr=stage.rate)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, stage.every, stage.decay)
    file = None if watch.folder is None else watch.folder / f"{step}.pt"
    first, best, kept, waited = 0, float("inf"), _copy(network), 0
    if file is not None and file.exists():
        saved = torch.load(file, weights_only=True, map_location=next(network.parameters()).device)
        network.load_state_dict(saved["network"])
        first, best, kept, waited = saved["epoch"], saved["best"], saved["kept"], saved["waited"]
        optimiser.load_state_dict(saved["optimiser"])
        schedule.load_state_dict(saved["schedule"])
    begun = time.monotonic()
    device = next(network.parameters()).device
    for epoch in range(first, stage.epochs):
        if waited >= stage.patience:
            break
        if watch.cancelled():
            raise Cancelled(
                f"Training was stopped in step '{step}', epoch {epoch}. Start it again to go on from there."
            )
        torch.manual_seed(_number(seed, step, epoch))
        network.train()
        total, count = 0.0, 0
        for forward, number in batches(np.random.default_rng([seed, _number(0, step, 0), epoch]), epoch):
            optimiser.zero_grad(set_to_none=True)
            with torch.autocast(device.type, torch.bfloat16, enabled=mixed and device.type == "cuda"):
                loss = forward()
            loss.backward()  # type: ignore[no-untyped-call]
            norm = torch.nn.utils.clip_grad_norm_(list(chosen.values()), CLIP)
            if torch.isfinite(norm):
                optimiser.step()
            total, count = total + float(loss.detach()) * number, count + number
        schedule.step()
        network.eval()
        now = validate()
        if now < best:
            best, kept, waited = now, _copy(network), 0
        else:
            waited += 1
        watch.told(Progress(step, epoch + 1, stage.epochs, total / max(count, 1), now, time.monotonic() - begun))
        if file is not None:
            parts: dict[str, Any] = {"network": network, "optimiser": optimiser, "schedule": schedule}
            states = {name: part.state_dict() for name, part in parts.items()}
            _keep(file, {**states, "epoch": epoch + 1, "best": best, "kept": kept, "waited": waited})
    network.load_state_dict(kept)
    network.eval()
    for p in network.parameters():
        p.requires_grad_(True)


def _number(seed: int, step: str, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, *step.encode(), epoch]).generate_state(1)[0])


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _keep(file: Path, what: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(what, file.with_suffix(".part"))
    os.replace(file.with_suffix(".part"), file)


# ---------------------------------------------------------------- synthetic runs


@dataclass(frozen=True, slots=True)
class Synthetic:
    """Synthetic runs as batches. train, validation: positions of runs."""

    taught: Taught
    train: Runs
    validation: Runs
    recipe: NetworkRecipe
    device: str = "cpu"

    def year(self, runs: Runs, year: int, rng: np.random.Generator | None) -> tuple[Days, Targets]:
        """A year of some runs. rng (the same for each year of a batch): hides dates, spoils GPP; None: neither."""
        forcing, truth = self.taught.forcing(runs, year), self.taught.targets(runs, year)
        ra, rh, gpp = (np.asarray(truth[n], dtype=np.float32) for n in ("ra", "rh", "gpp"))
        nee = ra + rh - gpp
        harvest = np.asarray(truth["yield"], dtype=np.float32).copy()
        given, hidden = gpp, np.zeros(len(runs), dtype=bool)
        measured = np.ones_like(gpp)
        if rng is not None and self.recipe.variant != "paper":
            usual = np.where(rng.random(len(runs)) < KNOWN, self.taught.usual_harvest(runs, year), np.nan)
            usual = usual * np.exp(0.1 * rng.normal(size=len(runs)))
            forcing = replace(forcing, annual={**forcing.annual, "yield_expected": np.stack([usual, usual], axis=1)})
            draw = rng.random(len(runs))
            hidden = draw < self.recipe.undated
            wrong = (draw >= self.recipe.undated) & (draw < self.recipe.undated + self.recipe.noisy)
            given, nee = gpp.copy(), nee.copy()
            given[wrong] *= _errors_of_gpp(rng, int(wrong.sum()), gpp.shape[1])
            nee[wrong] = np.nan
            measured[wrong] = 0.0
        if not self.recipe.gpp:
            given = np.full_like(gpp, CLOSED[GPP][1])
        if self.recipe.variant == "paper":
            days = paper_days(forcing, given, year)
            ra, rh, nee = (v[:, : days.gpp.shape[1]] for v in (ra, rh, nee))
        else:
            days = closed_days(forcing, given, measured, year)
            if hidden.any():
                days = undated(days, torch.from_numpy(hidden))
                harvest[hidden] = np.nan
        real = torch.from_numpy
        targets = Targets(ra=real(ra), rh=real(rh), nee=real(nee), harvest=real(harvest))
        return days.to(self.device), targets.to(self.device)


def undated(days: Days, hidden: Tensor) -> Days:
    """The same days, with crop and dates of some cells unknown."""
    x, standing, event = days.x.clone(), days.standing.clone(), days.event.clone()
    for name in ("maize", "soybean", "winter_wheat", "alfalfa", "standing", "dated", "age"):
        i = [n for n, _, _ in CLOSED].index(name)
        x[hidden, :, i] = -CLOSED[i][1] / CLOSED[i][2]
    standing[hidden] = torch.nan
    event[hidden] = -1
    crop = torch.where(hidden[:, None], torch.zeros_like(days.crop), days.crop)
    return Days(x, days.gpp, standing, event, days.weighed & ~hidden, crop, days.year, days.soc, days.removed,
                days.expected, days.length)  # fmt: skip


def _errors_of_gpp(rng: np.random.Generator, count: int, length: int) -> Floats:
    """[count, length] factors on GPP: log-normal; the year's 15 %, the days' 20 % with a memory of 30 days."""
    steps = rng.normal(0, 1, (count, length))
    out = np.empty_like(steps)
    value = rng.normal(0, 1, count)
    keep = np.exp(-1 / 30)
    for day in range(length):
        value = keep * value + np.sqrt(1 - keep**2) * steps[:, day]
        out[:, day] = value
    return np.exp(0.2 * out + 0.15 * rng.normal(0, 1, (count, 1))).astype(np.float32)


def pretrain(
    network: Closed | Paper | Plain,
    synthetic: Synthetic,
    step: str,
    stage: Stage,
    seed: int,
    watch: Watch,
    threshold: Callable[[int], float] | None = None,
) -> None:
    """Steps 1 ("yield_and_ra"), 2 ("fluxes"), 4 ("fluxes_again"); "everything" trains all at once on plain errors."""
    rates = {
        "yield_and_ra": dict.fromkeys(("basis", *YIELD_MODULES, "gru_ra", "head_ra"), 1.0),
        "fluxes": dict.fromkeys(FLUX_MODULES, 1.0),
        "fluxes_again": dict.fromkeys(FLUX_MODULES, 1.0),
        "everything": dict.fromkeys(("basis", *YIELD_MODULES, *FLUX_MODULES), 1.0),
    }[step]
    years = synthetic.taught.years

    def loss_of(out: Outputs, days: Days, targets: Targets, epoch: int | None) -> Tensor:
        if step == "yield_and_ra":
            limit = float("inf") if threshold is None or epoch is None else threshold(epoch)
            return losses.self_paced(out, targets, limit)
        if step == "everything":
            return losses.plain_errors(out, targets)
        return losses.fluxes(out, targets) + losses.balance(out, days)

    def batches(rng: np.random.Generator, epoch: int) -> Iterator[Batch]:
        order = rng.permutation(synthetic.train)
        order = order[: stage.runs] if stage.runs else order
        for at in range(0, len(order), stage.batch):
            runs = np.sort(order[at : at + stage.batch])
            span = min(stage.span, len(years))
            first = int(rng.integers(0, len(years) - span + 1))
            chosen = years[first : first + span]
            key = int(rng.integers(2**31))
            carry: Carry | None = None
            with torch.no_grad():
                for year in chosen[:2]:
                    days, _ = synthetic.year(runs, year, np.random.default_rng(key))
                    _, carry = network(days, carry)
            box: list[Any] = [carry]
            for year in chosen:

                def forward(year: int = year, runs: Runs = runs, key: int = key, box: list[Any] = box) -> Tensor:
                    days, targets = synthetic.year(runs, year, np.random.default_rng(key))
                    out, after = network(days, box[0])
                    box[0] = detached(after)
                    return loss_of(out, days, targets, epoch)

                yield forward, len(runs)
            if synthetic.recipe.knowledge and isinstance(network, Paper) and step != "yield_and_ra" and epoch > 0:
                features = (PAPER_SOC, PAPER_GPP) if step == "fluxes_again" else (PAPER_SOC,)
                probe = _probe(synthetic, box[0], runs, chosen[0], 2)

                def slopes(probe: Probe = probe, features: tuple[int, ...] = features) -> Tensor:
                    return _slopes(network, probe, features)

                yield slopes, 1

    def validate() -> float:
        total = 0.0
        with torch.no_grad():
            carry: Carry | None = None
            for year in years[:VALIDATED_YEARS]:
                days, targets = synthetic.year(synthetic.validation, year, None)
                out, carry = network(days, carry)
                if year != years[0]:
                    total += float(loss_of(out, days, targets, None))
        return total / (VALIDATED_YEARS - 1)

    _learn(network, step, stage, rates, seed, batches, validate, watch, synthetic.recipe.mixed)


def _probe(synthetic: Synthetic, carry: Carry, runs: Runs, year: int, count: int) -> Probe:
    days, _ = synthetic.year(runs[:count], year, None)
    paper = synthetic.recipe.variant == "paper"
    _, mean, sd = PAPER[PAPER_GPP] if paper else CLOSED[GPP]
    return Probe(days, taken(carry, torch.arange(count)), PAPER_GPP if paper else GPP, mean, sd)


def probe_of(network: Closed | Paper | Plain, synthetic: Synthetic, runs: Runs, span: int) -> Probe:
    """A probe of synthetic runs, with the memory that the network has of them after `span` years."""
    carry: Carry | None = None
    with torch.no_grad():
        for year in synthetic.taught.years[:span]:
            days, _ = synthetic.year(runs, year, None)
            _, carry = network(days, carry)
    assert carry is not None
    return _probe(synthetic, carry, runs, synthetic.taught.years[min(span, len(synthetic.taught.years) - 1)], len(runs))


def _slopes(network: nn.Module, probe: Probe, features: Sequence[int]) -> Tensor:
    """L6 of the published network: Rh must not fall with soil organic carbon, nor with GPP."""
    total = torch.zeros(())
    for feature in features:
        days, carry = varied(probe, feature, SLOPE_GRID)
        out, _ = network(days, carry)
        total = total + falling(means(out.rh, len(SLOPE_GRID)))
    return total


# ---------------------------------------------------------------- real places


def tune_yields(
    network: Closed | Paper | Plain,
    counties: Sequence[Lesson],
    validation: Sequence[Lesson],
    recipe: NetworkRecipe,
    seed: int,
    watch: Watch,
    weights: Mapping[str, float] | None = None,
) -> None:
    """Step 3: yields of counties; attention and yield head, and GRU_Basis at a fifth of the rate."""
    stage = recipe.stages.county_yields
    knowing = recipe.knowledge
    rates = {**dict.fromkeys(YIELD_MODULES, 1.0), "basis": 0.2 if knowing else 1.0}
    held: dict[str, Samples] = {"": samples(network, counties, weights)}
    checked = samples(network, validation)

    def batches(rng: np.random.Generator, epoch: int) -> Iterator[Batch]:
        if epoch and epoch % RENEW == 0:
            held[""] = samples(network, counties, weights)
        every = held[""]
        targets = every.targets
        assert targets.harvest is not None
        assert targets.owner is not None
        learnable = torch.nonzero(~torch.isnan(targets.harvest))[:, 0]
        limit = recipe.pace.start * recipe.pace.growth**epoch if knowing else float("inf")
        # all points of a county and year stay together
        owners = targets.owner[learnable]
        shuffled = rng.permutation(torch.unique(owners).numpy())
        rank = {int(o): i for i, o in enumerate(shuffled)}
        ordered = learnable[torch.argsort(torch.tensor([rank[int(o)] for o in owners]), stable=True)]
        for at in range(0, len(ordered), stage.batch):
            part = every.take(ordered[at : at + stage.batch])

            def forward(part: Samples = part) -> Tensor:
                out, _ = network(part.days, part.carry)
                loss = losses.county_yields(out, part.targets, limit)
                if not knowing:
                    return loss
                loss = loss + losses.yield_bounds(out, part.days)
                if isinstance(network, Paper):
                    loss = loss + _yield_slopes(network, part)
                return loss

            yield forward, len(part.place)

    def validate() -> float:
        with torch.no_grad():
            out, _ = network(checked.days, checked.carry)
            return float(losses.county_yields(out, checked.targets, float("inf")))

    _learn(
        network,
        "county_yields",
        stage,
        rates,
        seed,
        batches,
        validate,
        watch,
        recipe.mixed,
    )


def tune_harvest(
    network: Closed,
    counties: Sequence[Lesson],
    recipe: NetworkRecipe,
    seed: int,
    watch: Watch,
) -> None:
    """After step 5, of the closed variant: its harvest is a share of what grew, and step 5 changed what respires.

    A handful of numbers learn the counties' yields once more: of the network's own estimate the level, by crop and
    source of GPP, and the trend; and the trust in what earlier years let expect. A few hundred yields would let the
    yield head as a whole learn the years by heart; for these few no year has to be kept to check by. All else stays,
    and is computed but once.
    """
    stage = recipe.stages.harvest
    network.eval()

    every = samples(network, counties)
    assert every.targets.harvest is not None
    every = every.take(torch.nonzero(~torch.isnan(every.targets.harvest))[:, 0].cpu())
    with torch.no_grad():
        h, basis = network.basis_of(every.days, every.carry)
        ra = network.after_basis(every.days, every.carry, h, basis)[0].ra

    def loss_of(part: Samples, h: Tensor, ra: Tensor) -> Tensor:
        network.eval()  # no dropout: a handful of numbers learns no year by heart
        harvest, alone = network.harvest_of(part.days, part.carry, h, ra)
        return losses.relative_yields(harvest, part.targets) + losses.relative_yields(alone, part.targets)

    def batches(rng: np.random.Generator, _: int) -> Iterator[Batch]:
        assert every.targets.owner is not None
        owners = every.targets.owner.cpu()
        shuffled = torch.from_numpy(rng.permutation(torch.unique(owners).numpy()))
        # all points of a county and year stay together
        rank = torch.argsort(torch.argsort(shuffled))[torch.searchsorted(torch.unique(owners), owners)]
        order = torch.argsort(rank, stable=True)
        for at in range(0, len(order), stage.batch):
            chosen = order[at : at + stage.batch]
            there = chosen.to(h.device)

            def forward(chosen: Tensor = chosen, there: Tensor = there) -> Tensor:
                return loss_of(every.take(chosen), h[there], ra[there])

            yield forward, len(chosen)

    def validate() -> float:
        with torch.no_grad():
            return float(loss_of(every, h, ra))

    rates = dict.fromkeys(("level", "trust", "technology"), 1.0)
    _learn(network, "harvest", stage, rates, seed, batches, validate, watch, recipe.mixed)


def _yield_slopes(network: Paper, part: Samples) -> Tensor:
    """L6 of the yield: it must not fall with GPP, with the year, nor with soil organic carbon; gC m-2."""
    one = part.take(torch.arange(1))
    _, mean, sd = PAPER[PAPER_GPP]
    probe = Probe(one.days, one.carry, PAPER_GPP, mean, sd)
    total = torch.zeros(())
    for feature, grid in ((PAPER_GPP, SLOPE_GRID), (PAPER_YEAR, YEAR_GRID), (PAPER_SOC, SLOPE_GRID)):
        days, carry = varied(probe, feature, grid)
        out, _ = network(days, carry)
        total = total + falling(means(out.harvest, len(grid))) / losses.SD["yield"]
    return total


def tune_fluxes(
    network: Closed | Paper | Plain,
    places: Sequence[Lesson],
    validation: Sequence[Lesson],
    recipe: NetworkRecipe,
    seed: int,
    watch: Watch,
    weights: Mapping[str, float] | None = None,
    probe: Probe | None = None,
) -> None:
    """Step 5: fluxes of towers; Ra, Rh (and NEE) at 50, 20 (and 50) % of the rate, responses of `probe` kept."""
    stage = recipe.stages.towers
    knowing = recipe.knowledge
    shares = {"gru_ra": 0.5, "head_ra": 0.5, "gru_rh": 0.2, "head_rh": 0.2, "gru_nee": 0.5, "head_nee": 0.5,
              "gru_flux": 0.5, "head_flux": 0.5}  # fmt: skip
    rates = shares if knowing else dict.fromkeys(("basis", *FLUX_MODULES), 1.0)
    held: dict[str, tuple[Samples, Tensor | None]] = {}

    def renew() -> None:
        network.eval()
        found = samples(network, places, weights)
        with torch.no_grad():  # GRU_Basis is frozen: what it makes of the days is kept
            held[""] = found, network.basis_of(found.days, found.carry)[0] if knowing else None

    renew()
    checked = samples(network, validation)
    curves = _curves(network, probe) if knowing and probe is not None and recipe.band > 0 else []

    def run(part: Samples, h: Tensor | None) -> Outputs:
        if h is None:
            out: Outputs = network(part.days, part.carry)[0]
            return out
        return network.after_basis(part.days, part.carry, h, part.carry["basis"])[0]

    def batches(rng: np.random.Generator, epoch: int) -> Iterator[Batch]:
        if epoch and epoch % RENEW == 0:
            renew()
            network.train()
        every, h = held[""]
        order = torch.from_numpy(rng.permutation(len(every.place)))
        for at in range(0, len(order), stage.batch):
            chosen = order[at : at + stage.batch]
            kept = curves[int(rng.integers(len(curves)))] if curves and epoch > 0 else None

            def forward(chosen: Tensor = chosen, kept: Curve | None = kept) -> Tensor:
                part = every.take(chosen)
                out = run(part, None if h is None else h[chosen])
                if not knowing:
                    return losses.plain_errors(out, part.targets)
                loss = losses.towers(out, part.days, part.targets) + losses.balance(out, part.days)
                if kept is not None:
                    shaped = network.after_basis(kept.days, kept.carry, kept.h, kept.carry["basis"])[0]
                    shape = paper_drift if isinstance(network, Paper) else drift
                    loss = loss + recipe.band * shape(shaped, kept)
                return loss

            yield forward, len(chosen)

    def validate() -> float:
        with torch.no_grad():
            out = network(checked.days, checked.carry)[0]
            reco, nee = checked.targets.reco, checked.targets.nee
            assert reco is not None
            assert nee is not None
            return float(
                losses.masked_mean(losses.squares(out.ra + out.rh, reco, losses.SD["reco"]), reco)
                + losses.masked_mean(losses.squares(out.nee, nee, losses.SD["nee"]), nee)
            )

    _learn(network, "towers", stage, rates, seed, batches, validate, watch, recipe.mixed)


def _curves(network: Closed | Paper | Plain, probe: Probe) -> list[Curve]:
    kept = []
    with torch.no_grad():
        for feature, grid in PAPER_GRIDS if isinstance(network, Paper) else CLOSED_GRIDS:
            days, carry = varied(probe, feature, grid)
            h, basis = network.basis_of(days, carry)
            out, _ = network.after_basis(days, carry, h, basis)
            ra, rh = means(out.ra, len(grid)), means(out.rh, len(grid))
            kept.append(Curve(feature, days, carry, h, len(grid), ra, rh))
    return kept
