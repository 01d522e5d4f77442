"""One trial of an experiment: draw a sample of places, tune a network on it, score it on places held out.

Towers and counties are apart: each trial starts from the pre-trained weights of its arm, so that a sample of one does
not lend to the other. Step 4 (fluxes taught again after the yields) falls away with that.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fieldflux.app.evaluate.yieldsplit import UNSEEN, YieldSplit, split_yields
from fieldflux.models.contract import Floats
from fieldflux.models.crops import CROPS
from fieldflux.models.kgml.blind import BlindClosed, BlindPlain
from fieldflux.models.kgml.closed import Closed
from fieldflux.models.kgml.inputs import CLOSED
from fieldflux.models.kgml.lessons import Lesson, walk
from fieldflux.models.kgml.network import Carry, Outputs
from fieldflux.models.kgml.paper import Paper
from fieldflux.models.kgml.plain import Plain
from fieldflux.models.kgml.recipe import NetworkRecipe
from fieldflux.models.kgml.steps import Synthetic, Taught, Watch, build, pretrain, probe_of, tune_fluxes, tune_yields
from fieldflux.models.processes.agroecosystem.model import Agroecosystem
from fieldflux.tiles.measurements import Tower
from fieldflux.tiles.measurements.panel import PANEL_CROPS, CountyRecord
from numpy.typing import NDArray
from torch import Tensor

from .budget import ALL, Arm, Budget, Trial
from .places import county_lessons, tower_lessons
from .recipe import KgmlRecipe
from .sums import Sums, sums_of, total

PROBED, PROBED_SPAN = 4, 2  # runs of the probe of responses, and years before it

AnyNetwork = Closed | Paper | Plain


@dataclass(frozen=True, slots=True, eq=False)
class Grounds:
    """What trials rest on. towers, counties: lessons that learn from nothing yet; learn, check: name -> years to learn
    from, and to choose the epoch by. folds: groups of towers held out together. unseen: counties held out."""

    taught: Taught
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    towers: tuple[Lesson, ...]
    counties: tuple[Lesson, ...]
    learn: Mapping[str, tuple[int, ...]]
    check: Mapping[str, tuple[int, ...]]
    folds: tuple[tuple[str, ...], ...]
    unseen: frozenset[str]


def tower_grounds(
    towers: Sequence[Tower], process: Agroecosystem, recipe: KgmlRecipe
) -> tuple[tuple[Lesson, ...], dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """Lessons of the towers that the recipe trains on, and their years to learn from and to check by."""
    lessons, learn, check = [], {}, {}
    for tower in towers:
        if tower.site not in recipe.train:
            continue
        own, checked = recipe.train[tower.site], recipe.validation.get(tower.site, ())
        for one in tower_lessons(tower, process, "closed", (*own, *checked)):
            lessons.append(replace(one, train=()))
            learn[one.name] = tuple(y for y in one.train if y in own)
            check[one.name] = tuple(y for y in one.train if y in checked)
    return tuple(lessons), learn, check


def county_grounds(
    panel: Sequence[CountyRecord],
    process: Agroecosystem,
    recipe: KgmlRecipe,
    budget: Budget,
    split: YieldSplit | None = None,
) -> tuple[tuple[Lesson, ...], dict[str, tuple[int, ...]], dict[str, tuple[int, ...]], frozenset[str]]:
    """Lessons of the counties with yields, their years to learn from and to check by, and the unseen counties."""
    split = split or split_yields(panel)
    years = split.train_counties(panel)
    known = [one for one in panel if any(np.isfinite(v).any() for v in one.yields.values())]
    unseen = frozenset(one.fips for one in known if all(split.part(one.fips, y) == UNSEEN for y in one.years))
    every = {one.fips: one.years for one in known}
    fewer = [one if one.fips in unseen else _of_points(one, budget.points) for one in known]
    lessons = county_lessons(fewer, process, "closed", every)
    checking = set(recipe.validation_years)
    learn = {
        one.name: tuple([y for y in years.get(one.group, ()) if y not in checking][-budget.county_years :])
        for one in lessons
    }
    check = {one.name: tuple(y for y in years.get(one.group, ()) if y in checking) for one in lessons}
    return tuple(_alone(one) for one in lessons), learn, check, unseen


def _alone(one: Lesson) -> Lesson:
    """The lesson without what earlier years yielded, which the plain network is never told."""
    days = {y: replace(d, expected=torch.full_like(d.expected, torch.nan)) for y, d in one.days.items()}
    return replace(one, days=days, train=())


def _of_points(record: CountyRecord, count: int) -> CountyRecord:
    """The county with some of its points, from the first to the last."""
    have = len(record.points["latitude"])
    kept = np.unique(np.linspace(0, have - 1, min(count, have)).round().astype(np.int64))
    return replace(record, points={name: values[kept] for name, values in record.points.items()})


def network_of(arm: Arm, recipe: NetworkRecipe, seed: int) -> AnyNetwork:
    """A network of an arm with fresh weights."""
    if arm.gpp:
        return build(recipe, seed)
    torch.manual_seed(seed)
    if arm.structure:
        return BlindClosed(recipe.hidden, recipe.dropout)
    return BlindPlain(len(CLOSED), recipe.hidden, recipe.dropout)


def prepare(arm: Arm, grounds: Grounds, budget: Budget, base: NetworkRecipe, path: Path) -> None:
    """Pre-train an arm and keep its weights; nothing where they are kept already.

    The closed network that makes its own GPP learns everything at once in step 1 too: its yield is a share of a growth
    that it does not know before.
    """
    if path.exists():
        return
    begun = time.monotonic()
    recipe = arm.recipe(budget, base)
    network = network_of(arm, recipe, budget.seed)
    synthetic = Synthetic(grounds.taught, grounds.train, grounds.validation[: budget.checked], recipe)
    first, second, pace = recipe.stages.yield_and_ra, recipe.stages.fluxes, recipe.pace
    if not arm.knowledge:
        both = first.model_copy(update={"epochs": first.epochs + second.epochs})
        pretrain(network, synthetic, "everything", both, budget.seed, Watch())
    else:
        step = "everything" if arm.structure and not arm.gpp else "yield_and_ra"
        pretrain(network, synthetic, step, first, budget.seed, Watch(), lambda e: pace.start * pace.growth**e)
        pretrain(network, synthetic, "fluxes", second, budget.seed, Watch())
    part = path.with_suffix(".part")
    torch.save({"network": network.state_dict(), "seconds": time.monotonic() - begun}, part)
    os.replace(part, path)


def started(arm: Arm, recipe: NetworkRecipe, seed: int, path: Path) -> AnyNetwork:
    """A network as an arm begins to be tuned: from its pre-trained weights, or fresh."""
    network = network_of(arm, recipe, seed)
    if arm.pretrained:
        network.load_state_dict(torch.load(path, weights_only=True)["network"])
    network.eval()
    return network


def attempt(trial: Trial, grounds: Grounds, budget: Budget, base: NetworkRecipe, pretrained: Path, path: Path) -> None:
    """Do a trial and keep its result; nothing where it is kept already."""
    if path.exists():
        return
    begun = time.monotonic()
    recipe = trial.arm.recipe(budget, base)
    seed = budget.seed + 1000 * (trial.replicate + 1)
    network = started(trial.arm, recipe, seed, pretrained)
    if trial.part == "towers":
        held = held_groups(grounds, budget, trial.replicate)
        away = [one for one in grounds.towers if one.group in held]
        drawn = _draw({one.group for one in grounds.towers} - held, trial, budget)
        learn, check = _sets(grounds, grounds.towers, drawn)
        if learn:
            probe = None
            if recipe.knowledge and recipe.band > 0 and trial.arm.pretrained:
                synthetic = Synthetic(grounds.taught, grounds.train, grounds.validation, recipe)
                probe = probe_of(network, synthetic, grounds.validation[:PROBED], PROBED_SPAN)
            tune_fluxes(network, learn, check, recipe, seed, Watch(), _weights(learn), probe)
        rows = score_towers(network, away)
    else:
        away = [one for one in grounds.counties if one.group in grounds.unseen and _own(one, grounds.counties)]
        drawn = _draw({one.group for one in grounds.counties} - grounds.unseen, trial, budget)
        learn, check = _sets(grounds, grounds.counties, drawn)
        if learn:
            tune_yields(network, learn, check, recipe, seed, Watch(), _weights(learn))
        rows = score_counties(network, away)
    result = {
        "part": trial.part, "arm": trial.arm.name, "size": trial.size, "replicate": trial.replicate,
        "drawn": list(drawn), "seconds": round(time.monotonic() - begun, 2),
        "rows": [{**row, "sums": asdict(row["sums"])} for row in rows],
    }  # fmt: skip
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result))
    os.replace(part, path)


def held_groups(grounds: Grounds, budget: Budget, replicate: int) -> frozenset[str]:
    """Groups that a replicate holds out: folds of the recipe in turn, so that some replicates hold out every one."""
    step = max(len(grounds.folds) // budget.hold, 1)
    return frozenset(g for k, fold in enumerate(grounds.folds) if k % step == replicate % step for g in fold)


def _draw(pool: set[str], trial: Trial, budget: Budget) -> tuple[str, ...]:
    """The sample: of one replicate the smaller samples are in the larger ones, whatever the arm."""
    order = np.random.default_rng([budget.seed, trial.replicate]).permutation(sorted(pool))
    return tuple(str(name) for name in (order if trial.size == ALL else order[: trial.size]))


def _sets(grounds: Grounds, lessons: Sequence[Lesson], drawn: Sequence[str]) -> tuple[list[Lesson], list[Lesson]]:
    """Lessons of the drawn places to learn from, and to choose the epoch by: no other place helps a small sample.

    Where none of them has a year to check by, the years to learn from do.
    """
    mine = [one for one in lessons if one.group in drawn]
    learn = [replace(one, train=grounds.learn[one.name]) for one in mine if grounds.learn[one.name]]
    check = [replace(one, train=grounds.check[one.name]) for one in mine if grounds.check[one.name]]
    return learn, check or learn


def _weights(lessons: Sequence[Lesson]) -> dict[str, float]:
    """Each site-year's weight: one over the root of its group's years, as in the training of the served model."""
    years: dict[str, int] = {}
    for one in lessons:
        years[one.group] = years.get(one.group, 0) + len(one.train)
    return {one.name: years[one.group] ** -0.5 for one in lessons}


def _own(one: Lesson, lessons: Sequence[Lesson]) -> bool:
    """Whether a lesson has the process model's GPP: where a county has two, that is the one named "own"."""
    return one.name.endswith(" own") or not any(other.name == f"{one.group} own" for other in lessons)


Row = dict[str, Any]


def score_towers(network: AnyNetwork, lessons: Sequence[Lesson]) -> list[Row]:
    """Rows of daily Reco and NEE of each lesson, "given" (the tower's GPP) and "own" (the process model's) apart, and
    of "balance": what GPP - Ra - Rh + NEE is off from zero, over the same days; gC m-2 d-1.

    NEE with the tower's GPP is little more than Reco: their difference is what is given.
    """
    given = {one.name.rsplit(" ", 1)[0]: one for one in lessons if one.name.endswith(" given")}
    found: dict[tuple[str, str], list[Sums]] = {}

    def visit(one: Lesson, year: int, _: Carry, out: Outputs) -> None:
        length = one.days[year].gpp.shape[1]
        site, kind = one.name.rsplit(" ", 1)
        reco, nee = one.reco[year], one.nee[year]
        if kind == "own" and site in given and year in given[site].nee:
            nee = torch.where(torch.isnan(reco), torch.full_like(reco, torch.nan), given[site].nee[year])
        ra, rh, made = (getattr(out, n)[:, :length] for n in ("ra", "rh", "nee"))
        off = (one.days[year].gpp - ra - rh + made).abs()
        zero = torch.where(torch.isnan(nee), nee, torch.zeros_like(nee))
        for name, seen, modelled in (("reco", reco, ra + rh), ("nee", nee, made), ("balance", zero, off)):
            found.setdefault((one.name, name), []).append(sums_of(_array(seen), _array(modelled)))

    if lessons:
        walk(network, lessons, visit)
    groups = {one.name: one.group for one in lessons}
    return [
        {"place": lesson.rsplit(" ", 1)[0], "group": groups[lesson], "variable": name,
         "gpp": lesson.rsplit(" ", 1)[1], "sums": total(parts)}
        for (lesson, name), parts in found.items()
    ]  # fmt: skip


def score_counties(network: AnyNetwork, lessons: Sequence[Lesson]) -> list[Row]:
    """Rows of each county's yield of each crop, t ha-1: the mean over the points that bear it, and the reported one."""
    found: dict[tuple[str, str], list[Sums]] = {}

    def visit(one: Lesson, year: int, _: Carry, out: Outputs) -> None:
        seen = one.harvest[year]
        crops = one.days[year].crop.argmax(1)
        for k, crop in enumerate(PANEL_CROPS):
            here = (crops == k) & ~torch.isnan(seen)
            if here.any():
                unit = CROPS[crop].carbon_m2(1.0)
                pair = (seen[here].mean() / unit, out.harvest[here].mean() / unit)
                found.setdefault((one.group, crop), []).append(sums_of(_array(pair[0][None]), _array(pair[1][None])))

    if lessons:
        walk(network, lessons, visit)
    return [
        {"place": fips, "group": fips, "variable": f"yield of {crop}", "gpp": "own", "sums": total(parts)}
        for (fips, crop), parts in found.items()
    ]


def _array(values: Tensor) -> Floats:
    return np.asarray(values.detach().numpy())
