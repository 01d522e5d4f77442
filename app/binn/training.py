"""The training of BINN: members on draws of blocks, the same in folds for scores and intervals, the checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from fieldflux.app.kgml.clock import Clock
from fieldflux.app.train import BadRecipe, Data, commit_of, used
from fieldflux.models.card import Card, Domain, IntervalRule, Score
from fieldflux.models.checkpoint import write_checkpoint
from fieldflux.models.hybrids.binn.covariates import Covariates
from fieldflux.models.hybrids.binn.fit import fit
from fieldflux.models.hybrids.binn.lessons import Lessons
from fieldflux.models.hybrids.binn.network import FAMILY, Binn, weights_of
from fieldflux.models.hybrids.binn.served import ANSWERS, NEEDS, OUTPUTS

from .drawing import drawn
from .heldout import HeldOut, held_out, interval_rules, rules_covered, scores_of
from .recipe import BinnRecipe
from .sites import SoilTable, soil_table
from .soils import covariates_of, lessons_of
from .splits import block_of, blocks

Told = Callable[[float, str], None]


def table_of(recipe: BinnRecipe, data: Path) -> SoilTable:
    """The mineral soils of the recipe's sets. Raises BadMeasurements; BadRecipe without any."""
    table = soil_table(data, recipe.datasets)
    if table is None or not len(table.mineral()):
        raise BadRecipe(
            f"The folder {data} has no soils of {', '.join(recipe.datasets)} with their counties: its layout is that "
            f"of fieldflux.tiles.measurements.soilfiles and .counties."
        )
    return table.mineral()


def lessons_for(recipe: BinnRecipe, table: SoilTable) -> Lessons:
    """What the recipe's networks learn from: layers at their middles for the published loss, by their means else."""
    return lessons_of(table, "middle" if recipe.training.loss == "smooth-l1" else "mean")


def train_members(recipe: BinnRecipe, table: SoilTable, work: Path | None = None, told: Told = lambda *_: None) -> Binn:
    """All members, each on its own draw of all blocks. work: folder to go on from."""
    group = block_of(table.soils.latitude, table.soils.longitude)
    everywhere = np.ones(len(table), np.bool_)
    check = recipe.check if recipe.training.patience else 0.0
    samples = [drawn(group, everywhere, 1000 * recipe.seed + m, check) for m in range(recipe.members)]
    network = Binn(recipe.network, covariates_of(table), recipe.members, recipe.seed)
    kept = None if work is None else work / "members.pt"
    fit(network, lessons_for(recipe, table), samples, recipe.training, recipe.seed, kept, told)
    return network


def train_binn(recipe: BinnRecipe, data: Path, work: Path, out: Path, told: Told = lambda *_: None) -> Card:
    """Train by a recipe and write `out`/<name>/<version>; returns the card.

    work: where what was done lies; the same call goes on from there. Raises BadRecipe, BadMeasurements.
    """
    torch.set_num_threads(1)
    work.mkdir(parents=True, exist_ok=True)
    clock = Clock(work / "seconds.json")
    told(0.0, "reading the soils")
    table = table_of(recipe, data)
    with clock.stage("members"):
        network = train_members(recipe, table, work, lambda f, said: told(0.05 + 0.35 * f, f"members: {said}"))
    found: list[HeldOut] = []
    soils = table.soils
    for k, seed in enumerate(recipe.split_seeds):
        split = blocks(soils.latitude, soils.longitude, seed, recipe.folds)
        begun, part = 0.4 + 0.55 * k / len(recipe.split_seeds), 0.55 / len(recipe.split_seeds)
        with clock.stage("folds"):
            found.append(
                held_out(
                    recipe, table, split, work,
                    lambda f, said, b=begun, p=part, s=seed: told(b + p * f, f"blocks, draw {s}: {said}"),  # type: ignore[misc]
                )
            )  # fmt: skip
    told(0.96, "scores")
    several = recipe.fold_members > 1
    rules = interval_rules(found, table) if several else {}
    scores = (*scores_of(found, table), *(rules_covered(found, table) if several else ()))
    card = card_of(recipe, table, network.covariates, data, clock, rules, scores, smearing(found, table))
    return write_checkpoint(out / recipe.name / recipe.version, card, weights_of(network))


def smearing(found: Sequence[HeldOut], table: SoilTable) -> dict[str, float]:
    """Stock -> mean of measured over predicted at held-out soils (Duan 1983): times it, a prediction of the middle
    becomes one of the mean."""
    return {
        name: round(float(np.mean([one.smearing(name, table) for one in found])), 4) for name in ("soc_30", "soc_100")
    }


def card_of(
    recipe: BinnRecipe,
    table: SoilTable,
    covariates: Covariates,
    data: Path,
    clock: Clock,
    rules: dict[str, dict[str, IntervalRule]],
    scores: tuple[Score, ...],
    smear: dict[str, float],
) -> Card:
    """What is known of the checkpoint."""
    sets, count = np.unique(table.soils.dataset, return_counts=True)
    improved = recipe.network.encoder == "additive"
    return Card(
        name=recipe.name,
        version=recipe.version,
        title=f"BINN soil carbon: CLM5's seven pools in twenty layers, parameters by {recipe.network.encoder} networks",
        family=FAMILY,
        description=(
            "The steady state of CLM5's vertically resolved soil carbon, whose 21 parameters networks give from "
            "climate, topsoil and land use, after BINN (Xu, Tao et al. 2025)"
            + (", with ScIReN's additive curves" if improved else "")
            + f". Trained through the solver on {len(table)} mineral soils: "
            + ", ".join(f"{s} {n}" for s, n in zip(sets.tolist(), count.tolist(), strict=True))
            + ". A member is a network of its own start and its own draw of 2-degree blocks."
        ),
        weights_sha256="",
        members=recipe.members,
        needs_daily=NEEDS.daily,
        needs_annual=NEEDS.annual,
        needs_static=NEEDS.static,
        optional=NEEDS.optional,
        outputs=OUTPUTS,
        answers=ANSWERS,
        domain=Domain(
            crops=(),
            climates="the conterminous United States east of the Rockies and irrigated valleys where maize is grown",
            years="soils sampled mostly 2010-2012; climate means of 2008-2018",
            ranges={c.name: (round(c.low, 4), round(c.high, 4)) for c in covariates.numbers},
        ),
        intervals=rules,
        data=tuple(used(Data(**one.model_dump()), data) for one in recipe.data),
        splits={
            "train": f"every mineral soil; {recipe.members} draws of 2-degree blocks",
            "held out": f"{recipe.folds} folds of 2-degree blocks, draws {list(recipe.split_seeds)}; a fold's networks "
            f"({recipe.fold_members}) saw no soil of its blocks",
        },
        recipe={
            **recipe.model_dump(mode="json", exclude={"data"}),
            "covariates": [c.model_dump(mode="json") for c in covariates.columns],
            "smearing": smear,
            "seconds": clock.seconds(),
        },
        scores=scores,
        known_faults=FAULTS,
        made=datetime.now(UTC).date().isoformat(),
        commit=commit_of("../models/hybrids", "../models/processes/soilcarbon", "../app/binn"),
    )


FAULTS = (
    "Learned from county means and land use: what differs within a county is not explained. A perfect value for each "
    "county and use would explain about a third of the variance of logarithms.",
    "Trained on logarithms: a prediction is the middle of what is likely, not the mean; over areas, multiply by the "
    "card's recipe.smearing, or totals come out low.",
    "Steady state: cropland that still loses or gains carbon is fitted as if it stood still, with too fast a turnover.",
    "Stocks alone cannot tell turnover from carbon input, nor one pool's turnover from another's share: read single "
    "parameters as one of many ways to explain the stocks (see the experiment binn-recovery).",
    "Litter is made from county maize yields, or from a climate proxy: every rotation is given the same input.",
    "Organic soils are outside: 12 % of carbon or more within 0.3 m.",
    "At 0-30 cm boosting, a forest, a plain network and a dense encoder on the same covariates are a little better at "
    "held-out blocks (experiment binn-blocks): curves follow no interactions. At 1 m and at left-out states this model "
    "is better when told the mean climate and litter of all soils: its litter rises with maize yield where measured "
    "carbon does not.",
)
