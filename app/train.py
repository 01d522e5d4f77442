"""Training by a recipe: reads measurements, trains, scores on held-out data, writes the checkpoint with its card."""

from __future__ import annotations

import hashlib
import subprocess
import tomllib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal, TypeVar

import numpy as np
from fieldflux.models.card import Card, DataUsed, Domain, Score
from fieldflux.models.checkpoint import read_checkpoint, write_checkpoint
from fieldflux.models.contract import Floats
from fieldflux.models.processes.agroecosystem.calibrate import (
    CalibrationRecipe,
    Progress,
    SiteRecord,
    calibrate,
    crops_trained,
)
from fieldflux.models.processes.agroecosystem.model import ANNUAL, DAILY, NEEDS, Agroecosystem
from fieldflux.models.processes.agroecosystem.parameters import CROP_NAMES, NAMES
from fieldflux.models.registry import SHIPPED, Registry
from fieldflux.tiles.measurements import Tower, read_towers, tower_forcing, with_monthly_rain
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .cardscores import with_former

Told = Callable[[float, str], None]
Span = Annotated[int | str, Field(description="a calendar year, or 'first/last' as ISO dates")]
Days = dict[str, tuple[Span, ...]]

NORMAL_90 = 1.6449  # two-sided 90 % quantile of the normal distribution


R = TypeVar("R", bound=BaseModel)


class BadRecipe(ValueError):
    """A training recipe that cannot be followed."""


class Data(BaseModel):
    """A file that the training reads."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    source: str
    licence: str


class Recipe(BaseModel):
    """A recipe of the family "agroecosystem"."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: Literal["agroecosystem"]
    name: str
    version: str
    train: Days
    interval: Days = Field(default_factory=dict)
    check: Days = Field(default_factory=dict)
    calibration: CalibrationRecipe = CalibrationRecipe()
    data: tuple[Data, ...] = ()


def read_recipe(path: Path) -> Recipe:
    """The recipe of a TOML file. Raises BadRecipe, naming the entry that is wrong."""
    return recipe_of_kind(Recipe, path)


def recipe_of_kind(kind: type[R], path: Path) -> R:
    """The recipe of a TOML file, of any family. Raises BadRecipe, naming the entry that is wrong."""
    try:
        return kind.model_validate(tomllib.loads(path.read_text()))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadRecipe(f"The recipe {path} cannot be read: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the recipe"
        raise BadRecipe(f"The recipe {path} is not valid at '{where}': {first['msg']}.") from error


def family_of(path: Path) -> str:
    """The family that a recipe trains; "" where it does not say. Raises BadRecipe."""
    try:
        return str(tomllib.loads(path.read_text()).get("family", ""))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadRecipe(f"The recipe {path} cannot be read: {error}.") from error


def train(
    recipe_path: Path,
    out: Path,
    data_dir: Path,
    told: Told = lambda *_: None,
    work: Path | None = None,
    workers: int | None = None,
) -> Card:
    """Train by a recipe and write `out`/<name>/<version>; returns the card.

    The card's scores come from `fieldflux evaluate` on the same data, and from the coverage of the intervals; those
    that the card there before has besides (or the shipped one of the same name and version) stay in `former`.
    work, workers: of a long training, where it is kept to be gone on with (default `out`/.work/<name>-<version>), and
    how many processes share it. Raises BadRecipe, BadMeasurements.
    """
    before = _card_before(recipe_path, out)
    card = _trained(recipe_path, out, data_dir, told, work, workers)
    kept = with_former(card, before)
    if kept is card:
        return card
    folder = out / card.name / card.version
    return write_checkpoint(folder, kept, read_checkpoint(folder).weights)


def _card_before(recipe_path: Path, out: Path) -> Card | None:
    """The card that is in the place of the one to be made; else the shipped one of the same name and version."""
    recipe = tomllib.loads(recipe_path.read_text())
    wanted = recipe.get("name"), str(recipe.get("version"))
    return next((c for c in Registry((out, SHIPPED)).cards() if (c.name, c.version) == wanted), None)


def _trained(recipe_path: Path, out: Path, data_dir: Path, told: Told, work: Path | None, workers: int | None) -> Card:
    if family_of(recipe_path) == "kgml":
        from .kgml.training import read_kgml_recipe, read_plain, train_kgml

        kgml = read_kgml_recipe(recipe_path)
        plain = read_plain(recipe_path, kgml)
        folder = work or out / ".work" / f"{kgml.name}-{kgml.version}"
        return train_kgml(kgml, data_dir, folder, out, workers, told, plain)
    if family_of(recipe_path) == "binn":
        from .binn.recipe import read_binn_recipe
        from .binn.training import train_binn

        binn = read_binn_recipe(recipe_path)
        return train_binn(binn, data_dir, work or out / ".work" / f"{binn.name}-{binn.version}", out, told)
    if family_of(recipe_path) == "crop":
        from .crop.training import train_crop
        from .crop.trainrecipe import read_train_recipe

        crop = read_train_recipe(recipe_path)
        return train_crop(crop, data_dir, work or out / ".work" / f"{crop.name}-{crop.version}", out, told)
    recipe = read_recipe(recipe_path)
    told(0.0, "reading the towers")
    towers = _towers(data_dir)
    records = [_record(_tower(towers, site), spans) for site, spans in recipe.train.items()]
    card = _card(recipe, records, data_dir)

    def step(p: Progress) -> None:
        losses = ", ".join(f"{loss:.3f}" for loss in p.loss)
        told(0.9 * p.step / p.steps, f"step {p.step} of {p.steps}, losses {losses}")

    return finish(recipe, card, calibrate(records, recipe.calibration, card, step), out, data_dir, told)


def finish(recipe: Recipe, card: Card, table: Floats, out: Path, data_dir: Path, told: Told = lambda *_: None) -> Card:
    """Set the intervals of a calibrated table, score it on held-out data, write the checkpoint; returns its card."""
    from .evaluate import evaluate
    from .evaluate.report import to_scores

    towers = _towers(data_dir)
    folder = out / recipe.name / recipe.version
    model = Agroecosystem(card, table)
    told(0.9, "intervals")
    factors = interval_factors(model, towers, recipe.interval)
    card = card.model_copy(update={"interval": factors})
    coverage = interval_coverage(Agroecosystem(card, table), towers, recipe.check)
    write_checkpoint(folder, card, {"table": table})
    told(0.92, "evaluating on held-out data")
    with TemporaryDirectory() as tables:
        report = evaluate(f"{recipe.name}/{recipe.version}", data_dir, Path(tables), None, Registry((out,)))
    card = card.model_copy(update={"scores": (*to_scores(report), *coverage)})
    return write_checkpoint(folder, card, {"table": table})


def interval_factors(model: Agroecosystem, towers: Mapping[str, Tower], spans: Days) -> dict[str, float]:
    """Variable -> root mean square error of the ensemble's mean on those days, as a multiple of its members' spread."""
    return {
        name: round(float(np.sqrt((error**2).mean() / (spread**2).mean())), 2)
        for name, (error, spread) in _errors(model, towers, spans).items()
    }


def interval_coverage(model: Agroecosystem, towers: Mapping[str, Tower], spans: Days) -> tuple[Score, ...]:
    """Share of those days on which the widened 90 % interval holds the measured value."""
    where = "; ".join(f"{site} {', '.join(str(s) for s in of)}" for site, of in spans.items())
    return tuple(
        Score(
            variable=name,
            metric="coverage of the 90 % interval, daily",
            value=round(float((error <= NORMAL_90 * model.card.interval.get(name, 1.0) * spread).mean()), 4),
            unit="1",
            split=f"held-out years, not those that set the interval: {where}",
            data="flux towers",
            n=len(error),
        )
        for name, (error, spread) in _errors(model, towers, spans).items()
    )


def _errors(model: Agroecosystem, towers: Mapping[str, Tower], spans: Days) -> dict[str, tuple[Floats, Floats]]:
    """Variable -> |error of the ensemble's mean| and standard deviation of its members, of the spans' good days."""
    if model.members < 2:
        return {}
    found: dict[str, list[tuple[Floats, Floats]]] = {}
    for site, of in spans.items():
        tower = _tower(towers, site)
        inside = _inside(tower, of)
        prediction = model.predict(tower_forcing(tower))
        for name in ("gpp", "reco", "nee", "le", "h"):
            if name not in tower.observed:
                continue
            seen = tower.observed[name]
            scored = inside & tower.good[name] & np.isfinite(seen)
            values = prediction.daily[name][:, 0, scored].astype(np.float64)
            error = np.abs(values.mean(axis=0) - seen[scored])
            found.setdefault(name, []).append((error, values.std(axis=0, ddof=1)))
    joined = {name: tuple(np.concatenate(part) for part in zip(*parts, strict=True)) for name, parts in found.items()}
    return {name: (error, spread) for name, (error, spread) in joined.items() if len(error)}


def _towers(data_dir: Path) -> dict[str, Tower]:
    """Towers by site; where one has rain by the month only, its days are drawn (`with_monthly_rain`, seed 0)."""
    return {
        tower.site: tower if tower.monthly_precip is None else with_monthly_rain(tower)
        for tower in read_towers(data_dir)
    }


def _tower(towers: Mapping[str, Tower], site: str) -> Tower:
    if site not in towers:
        raise BadRecipe(f"The recipe names tower '{site}', which the data do not have; they have: {', '.join(towers)}.")
    return towers[site]


def _inside(tower: Tower, spans: Sequence[int | str]) -> NDArray[np.bool_]:
    """[day] True on the days of the spans."""
    days = tower.dates()
    inside = np.zeros(len(days), dtype=bool)
    for span in spans:
        first, last = _span(span)
        inside |= (days >= np.datetime64(first)) & (days <= np.datetime64(last))
    return inside


def _span(span: int | str) -> tuple[date, date]:
    if isinstance(span, int):
        return date(span, 1, 1), date(span, 12, 31)
    try:
        first, last = (date.fromisoformat(part) for part in span.split("/"))
    except ValueError as error:
        raise BadRecipe(f"'{span}' is neither a year nor a span 'first/last' of ISO dates.") from error
    return first, last


def _record(tower: Tower, spans: Sequence[int | str]) -> SiteRecord:
    inside = _inside(tower, spans)
    years = tuple(sorted({y for first, last in map(_span, spans) for y in range(first.year, last.year + 1)}))
    observed = {
        name: np.where(inside & tower.good[name], values, np.nan).astype(np.float64)
        for name, values in tower.observed.items()
    }
    weighed = tower.harvested.get("yield", np.full(len(tower.years), np.nan))
    harvested = {y: float(v) for y, v in zip(tower.years, weighed, strict=True) if y in years and np.isfinite(v)}
    return SiteRecord(tower.site, tower_forcing(tower), observed, years, harvested)


def _card(recipe: Recipe, records: Sequence[SiteRecord], data_dir: Path) -> Card:
    trained = crops_trained(records)
    untrained = [name for name in CROP_NAMES if name not in trained]
    faults = [
        f"{name}: no site trained it; its parameters are the defaults, with the shared soil parameters."
        for name in untrained
    ]
    return Card(
        name=recipe.name,
        version=recipe.version,
        title="Agro-ecosystem process model, calibrated at Mead, Bouldin Island and Gebesee",
        family=recipe.family,
        description=(
            "Daily carbon, water and energy of cropland: light-use efficiency, heat-sum phenology with sowing, harvest "
            "and cuts, four soil water layers, snow, litter, three soil carbon pools; SINDBAD's processes for crops. "
            "Each member is a calibration from another start on a bootstrap of the site-years. Soil carbon starts from "
            "the cell's measured stock: active and slow carbon in balance with the first years, the rest old."
        ),
        weights_sha256="",
        members=recipe.calibration.members,
        needs_daily=NEEDS.daily,
        needs_annual=NEEDS.annual,
        needs_static=NEEDS.static,
        optional=NEEDS.optional,
        outputs=(*DAILY, *ANNUAL),
        answers=("crop", "sowing_doy", "harvest_doy", "irrigated", "residue_removed", "tillage"),
        domain=Domain(
            crops=CROP_NAMES,
            climates="temperate cropland; trained in Nebraska (maize, soybean), California (alfalfa), Germany (wheat)",
            years="2002-2008 (Mead), 2019-2020 (US-Bi1), 2001-2010 (DE-Geb); CO2 near 370-415 ppm",
            ranges={
                "soc_content": (2.0, 60.0),
                "bulk_density": (0.9, 1.8),
                "field_capacity": (0.08, 0.5),
                "latitude": (25, 60),
            },
        ),
        data=tuple(used(data, data_dir) for data in recipe.data),
        splits={
            "train": "recipe.train",
            "held-out years": "all other days of the same towers; 2004 set the width of the intervals and nothing else",
            "unseen sites": "every other tower",
        },
        recipe={
            **recipe.model_dump(mode="json", exclude={"data"}),
            "parameters": list(NAMES),
        },
        known_faults=(
            *faults,
            "How far a field's slow soil carbon is from balance (eta_h) depends on its history, which is not known. "
            "What was fitted at the towers is left there; the members hold values around balance "
            f"(sd of the logarithm {recipe.calibration.history:g}). delta_soc is centred on no trend but the crop's.",
            "Intervals are the members' spread times a factor that fits the year as a whole: too narrow in fallow, "
            "when members agree.",
            "No nitrogen, pests, hail or lodging: a damaged year looks like a good one.",
            "Irrigation depths at the towers are not known; the model waters by a rule where a field is irrigated.",
            "A seed's carbon is taken from the litter, so that no import has to be accounted.",
            "Slow soil carbon starts in balance with the first years of the record: the trend that a field had before "
            "is not in its delta_soc.",
            "Litter and soil carbon were calibrated through respiration only, not against measured stocks.",
            "The energy balance is closed by one factor for all towers.",
        ),
        made=datetime.now(UTC).date().isoformat(),
        commit=commit_of("../models/processes"),
    )


def used(data: Data, data_dir: Path) -> DataUsed:
    """The file of a recipe with its checksum, where the folder has it."""
    found = sorted(data_dir.rglob(data.name))
    sha = hashlib.sha256(found[0].read_bytes()).hexdigest() if found else None
    return DataUsed(name=data.name, source=data.source, licence=data.licence, sha256=sha)


def commit_of(*parts: str) -> str:
    """Commit of the code that trains, with "+" where files of `parts` differ from it; empty outside a repository."""
    here = Path(__file__).parent
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True).stdout
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no", *parts],
            cwd=here, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head.strip() + ("+" if changed.strip() else "")


__all__ = ["BadRecipe", "Recipe", "interval_coverage", "interval_factors", "read_recipe", "train"]
