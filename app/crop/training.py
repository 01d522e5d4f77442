"""The training of the served hybrid crop model: members, folds for intervals and scores, the checkpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from fieldflux.app.evaluate.yieldsplit import TRAINING, split_yields
from fieldflux.app.kgml.clock import Clock
from fieldflux.app.train import BadRecipe, Data, commit_of, used
from fieldflux.models.card import Card, DataUsed, Domain
from fieldflux.models.checkpoint import write_checkpoint
from fieldflux.models.hybrids.crop.learn import fit
from fieldflux.models.hybrids.crop.model import weights_of
from fieldflux.models.hybrids.crop.seasonnet import SeasonNetwork
from fieldflux.models.hybrids.crop.served import ANSWERS, FAMILY, KINDS, NEEDS, OUTPUTS, Kind
from fieldflux.tiles.measurements import read_panel

from .county import CountyYear, county_years, lessons_of
from .trainingfields import MeasuredFields, measured_fields
from .trainrecipe import TrainRecipe

Told = Callable[[float, str], None]
Ensembles = dict[str, list[SeasonNetwork]]


def train_crop(recipe: TrainRecipe, data: Path, work: Path, out: Path, told: Told = lambda *_: None) -> Card:
    """Train by a recipe and write `out`/<name>/<version>; returns the card.

    work: where networks lie as they are done; the same call goes on from there. Raises BadRecipe, BadMeasurements.
    """
    from .trainingscores import calibrated, scored

    torch.set_num_threads(1)
    work.mkdir(parents=True, exist_ok=True)
    clock = Clock(work / "seconds.json")
    told(0.0, "reading counties and field experiments")
    lessons = lessons_for(data)
    with clock.stage("members"):
        networks: Ensembles = {}
        for i, one in enumerate(lessons):
            told(0.05 + 0.15 * i, f"members, {one.kind.name}")
            networks[one.kind.name] = members_of(recipe, one, work, None)
    folder = out / recipe.name / recipe.version
    card = card_of(recipe, lessons, data)
    write_checkpoint(folder, card, weights_of(networks))
    folds: list[Ensembles] = []
    for fold in range(recipe.folds):
        told(0.5 + 0.35 * fold / recipe.folds, f"fold {fold + 1} of {recipe.folds}")
        with clock.stage("folds"):
            folds.append({one.kind.name: members_of(recipe, one, work, fold) for one in lessons})
    told(0.85, "intervals")
    rules, forecast_rules, unseen = calibrated(recipe, lessons, folds)
    card = card.model_copy(update={"intervals": rules, "recipe": {**card.recipe, "forecast_intervals": forecast_rules}})
    write_checkpoint(folder, card, weights_of(networks))
    told(0.9, "scoring on held-out counties and years")
    with TemporaryDirectory() as tables, clock.stage("scores"):
        scores = scored(folder, data, Path(tables))
    taken = {**card.recipe, "seconds": clock.seconds()}
    card = card.model_copy(update={"scores": (*scores, *unseen), "recipe": taken})
    return write_checkpoint(folder, card, weights_of(networks))


@dataclass(frozen=True, slots=True, eq=False)
class CropLessons:
    """What there is to learn of one crop. rows: county years of the training part. fields: measured, or None."""

    kind: Kind
    rows: Sequence[CountyYear]
    fields: MeasuredFields | None

    def fold_of_year(self, folds: int) -> dict[int, int]:
        """Year -> the fold that leaves it out: by turns, so that every fold has old and new years."""
        return {year: i % folds for i, year in enumerate(sorted({r.year for r in self.rows}))}

    def fold_of_place(self, folds: int) -> dict[str, int]:
        """Place of experiments -> the fold that leaves it out; a single place is always learned from."""
        places = [] if self.fields is None else sorted(set(self.fields.places))
        return {place: i % folds for i, place in enumerate(places)} if len(places) > 1 else {}


def lessons_for(data: Path) -> list[CropLessons]:
    """Lessons of every crop: the same counties and years as the other models learn from. Raises BadRecipe."""
    panel = read_panel(data)
    split = split_yields(panel)
    found = []
    for kind in KINDS:
        rows = [r for r in county_years(panel, kind, data) if split.part(r.record.fips, r.year) == TRAINING]
        if not rows:
            raise BadRecipe(
                f"The folder {data} has no county with daily weather and yields of {kind.name}: its layout is that of "
                f"fieldflux.tiles.measurements.panelweather and .yields."
            )
        found.append(CropLessons(kind, rows, measured_fields(kind, data)))
    return found


def members_of(recipe: TrainRecipe, lessons: CropLessons, work: Path, fold: int | None) -> list[SeasonNetwork]:
    """The networks of a crop, of all training rows or without a fold's years and places; kept in `work`."""
    rows, fields = lessons.rows, lessons.fields
    if fold is not None:
        years, places = lessons.fold_of_year(recipe.folds), lessons.fold_of_place(recipe.folds)
        rows = [r for r in rows if years[r.year] != fold]
        away = [p for p, f in places.items() if f == fold]
        fields = None if fields is None else fields.at(away, inside=False)
    count = recipe.members if fold is None else recipe.fold_members
    found = []
    for m in range(count):
        seed = 1000 * recipe.seed + 100 * (0 if fold is None else fold + 1) + m
        kind = lessons.kind
        torch.manual_seed(seed)
        network = SeasonNetwork(kind, recipe.network.hidden, recipe.network.wide)
        mark = hashlib.sha256(recipe.model_dump_json(exclude={"data", "members"}).encode()).hexdigest()[:8]
        kept = work / f"{kind.name}-{seed}-{mark}.pt"
        if kept.exists():
            network.load_state_dict(torch.load(kept, weights_only=True))
        else:
            learn, check = parted(rows, recipe.check, seed)
            fit(
                network, recipe.training, lessons_of(kind, learn), lessons_of(kind, check),
                None if fields is None else fields.fields, seed,
            )  # fmt: skip
            part = kept.with_suffix(".part")
            torch.save(network.state_dict(), part)
            part.replace(kept)
        found.append(network.eval())
    return found


def parted(rows: Sequence[CountyYear], share: float, seed: int) -> tuple[list[CountyYear], list[CountyYear]]:
    """To learn from, and to stop by: whole years, since counties of one year share their weather."""
    years = sorted({r.year for r in rows})
    order = np.random.default_rng(seed).permutation(len(years))
    held = {years[int(i)] for i in order[: max(1, round(share * len(years)))]}
    return [r for r in rows if r.year not in held], [r for r in rows if r.year in held]


def card_of(recipe: TrainRecipe, lessons: Sequence[CropLessons], data: Path) -> Card:
    """What is known of the checkpoint before it is scored."""
    seen: dict[str, list[int]] = {}
    for one in lessons:
        for row in one.rows:
            seen.setdefault(row.record.fips, []).append(row.year)
    places = {o.kind.name: sorted(set(o.fields.places)) for o in lessons if o.fields is not None}
    return Card(
        name=recipe.name,
        version=recipe.version,
        title="Hybrid crop model: LINTUL5 and networks",
        family=FAMILY,
        description=(
            "LINTUL5 (water-limited; maize, soybean, winter wheat with vernalisation and day length), after the "
            "DL-informed model of Shi et al. 2025 (arXiv 2504.16141). A network of the place (soil, latitude, sowing, "
            "year, expected yield) gives a season's 14 parameters; an LSTM over the weather so far gives the next five "
            "days' factor on radiation-use efficiency, 0.7 to 1.3. Both were trained end to end through LINTUL5 on "
            "county yields, the calendar's maturity, and measured biomass, grain and leaf area of field experiments. "
            "What is said of a day uses no later day, so a forecast is the same model with other weather to come. "
            "Where a yield is expected from earlier years, the season moves the yield off it; else the yield is a "
            "share of the grain."
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
            crops=tuple(kind.name for kind in KINDS),
            climates="the Corn Belt (Iowa and Illinois); field experiments from Minnesota to Florida and Hawaii",
            years="yields 1980-2020, experiments 1975-1999; no trend is carried beyond 2022",
            ranges={
                "latitude": (29.0, 46.0), "field_capacity": (0.08, 0.45), "wilting_point": (0.03, 0.3),
                "bulk_density": (0.9, 1.8),
            },
        ),
        data=tuple(
            used(Data(**one.model_dump()), data) if one.name != "dssat" else DataUsed(**one.model_dump())
            for one in recipe.data
        ),
        splits={
            "train": "recipe.train_counties; every fed, undamaged treatment of the experiments at "
            + "; ".join(f"{crop}: {', '.join(at)}" for crop, at in places.items()),
            "held out": "the counties and years that no model here is trained on",
            "left out by folds": f"{recipe.folds} folds of training years and of places of experiments, "
            f"{recipe.fold_members} networks each: they set the intervals and score the fields",
        },
        recipe={
            **recipe.model_dump(mode="json", exclude={"data"}),
            "train_counties": {fips: sorted(set(years)) for fips, years in sorted(seen.items())},
        },
        known_faults=FAULTS,
        made=datetime.now(UTC).date().isoformat(),
        commit=commit_of("../models/hybrids", "../models/processes/lintul5", "../app/crop"),
    )  # fmt: skip


FAULTS = (
    "Yields of counties, not of fields: a field differs from its county by more than the interval tells, which was set "
    "by counties in years that were left out.",
    "Where the expected yield is not given, the level of a yield is that of Iowa and Illinois for its soil, latitude "
    "and year (flag assumed_yield_expected).",
    "Winter wheat was learned from one county of Illinois and one experiment in Kansas: no spatial test.",
    "The weights of measured fields and of parameters that leave the crop's own were raised, and maize's thermal times "
    "laid around American varieties, after the folds' scores at left-out places (and a first table of held-out yields) "
    "had been seen; yields at held-out counties and years, a little better before (maize 0.86 and 1.39 t ha-1, soybean "
    "0.31 and 0.42), had no say in it.",
    "Intervals of biomass, grain and leaf area come of ten places of experiments and are wide: one place sets them, "
    "and they are open in winter too, when nothing stands.",
    "At left-out places of experiments, biomass, grain and leaf area of maize are a little worse than of LINTUL5 as it "
    "comes, and so is the grain of soybean.",
    "Forecasts at held-out years do not get better towards the harvest, and the county's line is better than they are: "
    "what a season's weather adds was learned on five places, and in Iowa on three years.",
    "No nitrogen, pests, hail, lodging or flooded stands; soil below 0.3 m is taken to be as the soil above it, 1.5 m "
    "deep.",
    "Irrigated fields are given all the water that they ask for.",
    "The harvest is on the day that is given; grain that is not ripe then is counted as it is (flag unripe).",
    "A season's soil water begins at field capacity on 1 January (winter wheat: half of it on 1 August), whatever "
    "stood before.",
    "Rain of the Iowa counties is 1.5 times too high in 2017 and too low from 2020, in training as in the scores.",
    "The year's trend was learned to 2020 and stands still from 2022.",
)
