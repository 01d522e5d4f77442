"""The whole training of KGML-ag-Carbon: teaching set, members, folds, intervals, scores, checkpoint."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from fieldflux.app.evaluate.yieldsplit import split_yields
from fieldflux.app.train import BadRecipe, Data, commit_of, recipe_of_kind, used
from fieldflux.models.card import Card, DataUsed, Domain, Score
from fieldflux.models.checkpoint import write_checkpoint
from fieldflux.models.contract import Floats
from fieldflux.models.kgml.inputs import CLOSED, PAPER
from fieldflux.models.kgml.model import ANNUAL, DAILY, NEEDS, weights_of
from fieldflux.models.kgml.steps import build
from fieldflux.models.processes.agroecosystem.model import Agroecosystem
from fieldflux.models.processes.agroecosystem.parameters import CROP_NAMES, NAMES
from fieldflux.models.registry import Registry
from fieldflux.tiles.measurements.panel import read_panel
from fieldflux.tiles.teaching import teach

from .clock import Clock
from .jobs import Job, Told, harvest, prepare, pretrained, run_jobs, synthetic_weights, tune, worker_pool
from .recipe import KgmlRecipe

PLAIN = "plain"  # folder of the floor's networks in the work folder
SECONDS = "seconds.json"


def read_kgml_recipe(path: Path) -> KgmlRecipe:
    """The recipe of a TOML file. Raises BadRecipe, naming the entry that is wrong."""
    return recipe_of_kind(KgmlRecipe, path)


def read_plain(path: Path, recipe: KgmlRecipe) -> KgmlRecipe | None:
    """The recipe that the recipe of the file `path` names as `plain`; None where it names none.

    Raises BadRecipe where that is not the floor of this training: other folds, towers, years or process model.
    """
    if not recipe.plain:
        return None
    plain = read_kgml_recipe(path.parent / recipe.plain)
    for name in ("process", "folds", "train", "validation", "validation_years"):
        if getattr(plain, name) != getattr(recipe, name):
            raise BadRecipe(
                f"The recipe {path.parent / recipe.plain} has another '{name}' than {path}, which names it as its "
                f"floor: the two would be scored on different days. Make them the same."
            )
    return plain


def train_kgml(
    recipe: KgmlRecipe,
    data: Path,
    work: Path,
    out: Path,
    workers: int | None = None,
    told: Told = lambda *_: None,
    plain: KgmlRecipe | None = None,
) -> Card:
    """Train by a recipe and write `out`/<name>/<version>; returns the card.

    work: where the teaching set and all that was done lie; the same call goes on from there. workers: processes, one
    thread each; default one per core. plain: recipe of the floor's networks, see `read_plain`. A file "stop" in `work`
    ends it at the next epoch. Raises BadTeaching, BadMeasurements, Cancelled.
    """
    train_networks(recipe, data, work, workers, part_of(told, 0.0, 0.9), plain)
    return finish(recipe, data, work, out, part_of(told, 0.9, 1.0), plain)


def train_networks(
    recipe: KgmlRecipe,
    data: Path,
    work: Path,
    workers: int | None = None,
    told: Told = lambda *_: None,
    plain: KgmlRecipe | None = None,
) -> None:
    """All networks of a training: the members, the folds, the folds of the floor. What is there is not done again."""
    work.mkdir(parents=True, exist_ok=True)
    clock, taught = Clock(work / SECONDS), work / "teaching"
    if recipe.network.pretrained or (plain and plain.network.pretrained):
        with clock.stage("teaching set"):
            teach(recipe.teaching, data, taught, part_of(told, 0.0, 0.05))
    members = [Job(recipe, data, taught, work, m) for m in range(recipe.members)]
    stages = [
        ("steps 1 and 2", members, prepare, synthetic_weights, 0.4),
        ("steps 3 and 4", members, harvest, pretrained, 0.6),
        ("step 5 and harvest", members, tune, _result, 0.65),
        ("folds", fold_jobs(recipe, data, taught, work), tune, _result, 0.8),
    ]
    if plain:
        seeds = [Job(plain, data, taught, work, m, part=PLAIN) for m in range(plain.fold_members)]
        stages += [
            ("plain network", seeds, prepare, synthetic_weights, 0.8),
            ("plain network", seeds, harvest, pretrained, 0.85),
            ("plain network", fold_jobs(plain, data, taught, work, PLAIN), tune, _result, 1.0),
        ]
    begun = 0.05
    with worker_pool(workers or os.cpu_count() or 1) as pool:
        for name, jobs, what, done, ended in stages:
            missing = [job for job in jobs if not done(job).exists()]
            if missing:
                with clock.stage(name):
                    run_jobs(missing, what, pool, part_of(told, begun, ended, f"{name}: "))
            begun = ended


def fold_jobs(recipe: KgmlRecipe, data: Path, taught: Path, work: Path, part: str = "") -> list[Job]:
    """A job for each fold and each of its members."""
    return [
        Job(recipe, data, taught, work, member, fold, part)
        for fold in range(len(recipe.folds))
        for member in range(recipe.fold_members)
    ]


def part_of(told: Told, first: float, last: float, before: str = "") -> Told:
    """Tells of a part of the whole, from `first` to `last` of it."""
    return lambda fraction, doing: told(first + (last - first) * fraction, before + doing)


def _result(job: Job) -> Path:
    return job.result


def finish(
    recipe: KgmlRecipe,
    data: Path,
    work: Path,
    out: Path,
    told: Told = lambda *_: None,
    plain: KgmlRecipe | None = None,
) -> Card:
    """From the networks' files: intervals from the folds, scores beside floors, the checkpoint with its card."""
    from fieldflux.app.evaluate import evaluate
    from fieldflux.app.evaluate.report import to_scores

    from .folds import read_folds
    from .unseen import at_unseen_sites

    clock, table = Clock(work / SECONDS), _table(recipe)
    networks = []
    for member in range(recipe.members):
        network = build(recipe.network, 0)
        network.load_state_dict(torch.load(work / f"member-{member}" / "final.pt", weights_only=True))
        networks.append(network.eval())
    panel = read_panel(data)
    card = _card(recipe, data, split_yields(panel).train_counties(panel), plain)
    weights = weights_of(networks, table)
    folder = out / recipe.name / recipe.version
    write_checkpoint(folder, card, weights)
    told(0.1, "scoring on held-out data")
    with TemporaryDirectory() as tables, clock.stage("scores"):
        parts = ("towers", "county", "yields")
        report = evaluate(f"{recipe.name}/{recipe.version}", data, Path(tables), parts, Registry((out,)))
    scores: tuple[Score, ...] = tuple(to_scores(report))
    if recipe.folds:
        told(0.7, "scoring at unseen sites")
        with clock.stage("scores at unseen sites"):
            floor = read_folds(work / PLAIN, plain, data) if plain else ()
            rules, unseen = at_unseen_sites(recipe, data, work, out, part_of(told, 0.7, 1.0), floor)
        card = card.model_copy(update={"intervals": rules})
        scores += unseen
    taken = {**card.recipe, "seconds": clock.seconds()}
    return write_checkpoint(folder, card.model_copy(update={"scores": scores, "recipe": taken}), weights)


def _table(recipe: KgmlRecipe) -> Floats:
    model = Registry().load(recipe.process)
    if not isinstance(model, Agroecosystem):
        raise BadRecipe(f"A KGML recipe's process must be an agro-ecosystem model; '{recipe.process}' is none.")
    return model.table


def _card(recipe: KgmlRecipe, data: Path, counties: dict[str, list[int]], plain: KgmlRecipe | None) -> Card:
    paper = recipe.network.variant == "paper"
    process = Registry().card(recipe.process)
    features = [name for name, _, _ in (PAPER if paper else CLOSED)]
    return Card(
        name=recipe.name,
        version=recipe.version,
        title=f"KGML-ag-Carbon, {recipe.network.variant} variant",
        family="kgml",
        description=(
            "Knowledge-guided hierarchical GRU after Liu et al. 2024 (Nature Communications 15:357). GPP is the given "
            "one (satellite, tower) or, where there is none, the process model's; networks give autotrophic and "
            "heterotrophic respiration and the harvest. "
            + (
                "The published network; its own NEE head is not served: NEE is Ra + Rh - GPP here."
                if paper
                else "Closed by construction: Ra, Rh >= 0, NEE = Ra + Rh - GPP, residue is what the harvest left, Rh "
                "is linear in soil organic carbon."
            )
            + " Water, energy and leaf area are the process model's."
        ),
        weights_sha256="",
        members=recipe.members,
        needs_daily=NEEDS.daily,
        needs_annual=NEEDS.annual,
        needs_static=NEEDS.static,
        optional=NEEDS.optional,
        outputs=(*DAILY, *ANNUAL),
        answers=("crop", "sowing_doy", "harvest_doy", "irrigated", "residue_removed", "tillage"),
        domain=Domain(
            crops=(*CROP_NAMES, "other crop"),
            climates="temperate cropland of the Corn Belt, the Sacramento delta and Europe between 38 and 55 degrees",
            years="fluxes 2001-2020, yields 1980-2020; CO2 near 345-415 ppm",
            ranges={
                **process.domain.ranges,
                "tmean": (-35.0, 38.0),
                "vpd": (0.0, 5.0),
                "srad": (0.0, 36.0),
                "precip": (0.0, 200.0),
            },
        ),
        interval={n: f for n, f in process.interval.items() if n in ("le", "h")},
        data=(
            *(used(Data(**one.model_dump()), data) for one in recipe.data),
            DataUsed(
                name=recipe.process, source="this project", licence=process.licence, used_for="teacher, GPP, water"
            ),
        ),
        splits={
            "train": "recipe.train",
            "held-out years": "years of the same towers in neither recipe.train nor recipe.validation",
            "unseen tower (left out by group)": "recipe.folds: networks that never saw the towers of their fold",
            "counties": "recipe.train_counties; all other counties and years are held out",
        },
        recipe={
            **recipe.model_dump(mode="json", exclude={"data", "train"}),
            "train": _seen(recipe),
            "train_counties": counties,
            "network": {**recipe.network.model_dump(mode="json"), "features": features},
            "parameters": list(NAMES),
            "plain": None
            if plain is None
            else plain.model_dump(mode="json", include={"name", "seed", "fold_members", "network"}),
        },
        known_faults=_faults(recipe),
        made=datetime.now(UTC).date().isoformat(),
        commit=commit_of("../models/kgml", "../app/kgml"),
    )


def _seen(recipe: KgmlRecipe) -> dict[str, list[int]]:
    """Site -> years that the training saw, be it to learn from or to choose the epoch by: neither is a test."""
    sites = [*recipe.train, *(s for s in recipe.validation if s not in recipe.train)]
    return {s: sorted({*recipe.train.get(s, ()), *recipe.validation.get(s, ())}) for s in sites}


def _faults(recipe: KgmlRecipe) -> tuple[str, ...]:
    found = [
        "GPP where none is given is the process model's, with its errors: it was calibrated at Mead, "
        "US-Bi1 and DE-Geb alone.",
        "Where the crop of the process model fails (crop_failed) or its GPP is low (soybean in the south, wheat in "
        "Europe), so are respiration and growth; the harvest follows what earlier years let expect, and delta_soc is "
        "then far too low: read it with a given GPP only.",
        "Yields with the process model's GPP are at best level with the line through the county's earlier yields.",
        "Soil organic carbon moves Rh through the measured stock only; the stock is not updated from year to year.",
        "The training years of a site and those that chose the epoch are both called trained.",
        "A harvest date is an input: where it is a typical one, the residue's pulse comes on that day.",
        "Alfalfa's cuts are counted at the end of the year, as one harvest.",
        "No nitrogen, cover crop, pests, hail or lodging: no data that teach them are here.",
        "Daily rain at most European towers is drawn from monthly means.",
    ]
    if recipe.network.variant == "closed":
        found.append(
            "At unseen towers the published network, twice as wide, is a little better in NEE and Reco (baseline "
            "'published network'); in yields and on the balance it is worse."
        )
    if recipe.network.variant == "paper":
        found.append("Knows maize and soybean only; pH, cation exchange and wind stand at their means where unknown.")
    return tuple(found)


__all__ = ["finish", "read_kgml_recipe", "read_plain", "train_kgml", "train_networks"]
