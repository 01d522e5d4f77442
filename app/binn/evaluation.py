"""The parts of an evaluation that are BINN's: held-out soils, the six processes, what covariates do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from fieldflux.app.evaluate.report import Cell, Row, Table
from fieldflux.models.card import Card
from fieldflux.models.hybrids.binn.network import Ensemble
from fieldflux.models.hybrids.binn.recipe import NetworkRecipe, TrainingRecipe
from fieldflux.models.scores import score

from .floors import every_method
from .heldout import LEVELS, SCORED, STOCKS, HeldOut, covered, floors_held_out, held_out, line, measured, scored
from .recipe import BinnRecipe
from .sites import SoilTable
from .splits import blocks
from .training import table_of

Told = Callable[[float, str], None]
FLOORS = ("mean", "ridge", "random forest", "boosting")
UNSEEN = "unseen 2-degree blocks"


def recipe_of(card: Card) -> BinnRecipe:
    """The recipe that a card keeps."""
    kept = {name: card.recipe[name] for name in BinnRecipe.model_fields if name in card.recipe and name != "data"}
    return BinnRecipe.model_validate(
        {
            **kept,
            "network": NetworkRecipe.model_validate(card.recipe["network"]),
            "training": TrainingRecipe.model_validate(card.recipe["training"]),
        }
    )


def soils_of(card: Card, data: Path) -> SoilTable:
    """The soils that the card's recipe learns from. Raises BadRecipe, BadMeasurements."""
    return table_of(recipe_of(card), data)


def scores_at_soils(
    card: Card, table: SoilTable, told: Told = lambda *_: None
) -> tuple[tuple[Row, ...], tuple[Table, ...], HeldOut]:
    """Rows beside floors, all and by land use, for networks of the card's recipe that did not see a soil's block."""
    recipe = recipe_of(card)
    torch.set_num_threads(1)
    split = blocks(table.soils.latitude, table.soils.longitude, recipe.split_seeds[0], recipe.folds)
    with TemporaryDirectory() as nothing:
        ours = held_out(recipe, table, split, Path(nothing), lambda f, said: told(0.6 * f, said), card.id)
    methods = {name: fit for name, fit in every_method().items() if name in FLOORS}
    floors = floors_held_out(table, split, methods, None, lambda f, said: told(0.6 + 0.4 * f, said))
    rows: list[Row] = []
    logs: list[tuple[Cell, ...]] = []
    for name in STOCKS:
        kept = scored(table, name)
        stock, smear = measured(table, name), {one.method: one.smearing(name, table) for one in (ours, *floors)}
        for use in ("all", *np.unique(table.soils.land_use[kept]).tolist()):
            here = kept if use == "all" else kept & (table.soils.land_use == use)
            if here.sum() < 20:
                continue
            of = {
                one.method: score(smear[one.method] * np.exp(one.log(name)[here]), stock[here])
                for one in (ours, *floors)
            }
            members = np.exp(ours.members[:, here, list(STOCKS).index(name)]) * smear[ours.method]
            each = [score(m, stock[here]).rmse for m in members]
            rows.append(
                Row(
                    "soils", UNSEEN, SCORED, name, "gC m-2", "record", "", str(use), of[ours.method],
                    {one.method: of[one.method] for one in floors}, f"{SCORED}, mineral soils",
                    float(np.std(each, ddof=1)) if len(each) > 1 else None,
                )
            )  # fmt: skip
        for one in (ours, *floors):
            found = line(one, table, name)
            cover = covered(one, table, name) if len(one.members) > 1 else {}
            shares = [cover[level].share if cover else None for level in LEVELS]
            logs.append(
                (name, one.method, found.log.n, found.log.nse, found.log.rmse, found.log.bias, found.train, *shares)
            )
    scale = Table(
        "log_scores",
        f"Logarithms of stocks at {UNSEEN} ({split.name}), and the share of pits inside the intervals",
        ("stock", "method", "n", "R2", "RMSE", "bias", "R2 in training", *(f"{100 * v:g} %" for v in LEVELS)),
        tuple(logs),
        ("Coverage: intervals that the other blocks set, blocks weighing the same, single pits.",),
    )
    return tuple(rows), (scale,), ours


def ensemble_in(model: object) -> Ensemble:
    """The ensemble inside a served BINN."""
    found = getattr(model, "ensemble", None)
    if not isinstance(found, Ensemble):
        raise TypeError("This part is of models with an ensemble of networks before the soil-carbon model.")
    return found
