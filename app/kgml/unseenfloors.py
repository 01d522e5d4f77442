"""Floors at towers that a fold left out: what anybody gets from the other towers, fitted fold by fold."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from fieldflux.app.evaluate.floors import CLIMATOLOGY, climatology, regressions
from fieldflux.app.evaluate.runs import INVENTED_RAIN, NotRun, Run, run_tower
from fieldflux.models.registry import Registry
from fieldflux.models.scores import Scores
from fieldflux.tiles.measurements import Tower
from numpy.typing import NDArray

from .recipe import KgmlRecipe

if TYPE_CHECKING:
    from .folds import Unseen

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Told = Callable[[float, str], None]

PROCESS = "process model"
PLAIN = "plain network"
PUBLISHED = "published zero-shot"
DESCRIBED: Mapping[str, str] = {
    CLIMATOLOGY: "mean by crop and day of year (+-7 days) over the training days of the other groups; of all crops "
    "where the crop is unknown or stood nowhere else.",
    "ridge": "ridge regression on weather of the day and of the past 7, 30 and 90 days, degree days, season, crop, "
    "irrigation, and the same GPP as the network has; training days of the other groups.",
    "boosting": "gradient boosting (200 trees) on the features of ridge.",
    PROCESS: "the agro-ecosystem model by itself, with the same GPP. It was calibrated at Mead, US-Bi1, DE-Geb, so "
    "that only elsewhere it is unseen.",
    PLAIN: "recurrent networks without balance, knowledge or pre-training, on the same folds; the mean of their seeds.",
    PUBLISHED: "CarbonBench: the best of nine published networks and trees at this tower, by its R2 (1 - SS_res / "
    "SS_tot), with satellite reflectance and without the tower's GPP; other days of the same tower.",
}
TARGETS = {"NEE_VUT_USTAR50": "nee", "GPP_NT_VUT_USTAR50": "gpp", "RECO_NT_VUT_USTAR50": "reco"}
FILE = Path("flux") / "carbonbench_cropland_baselines.csv"


@dataclass(frozen=True, slots=True, eq=False)
class Floors:
    """fitted: (site, source, variable) -> floor -> [day] over the tower's own days, NaN where it has none.

    calibrated: towers at which the process model was calibrated. rained: towers whose daily rain is invented.
    """

    fitted: Mapping[tuple[str, str, str], Mapping[str, Array]]
    calibrated: frozenset[str]
    rained: frozenset[str]

    def days(self, one: Unseen, variable: str) -> Mapping[str, Array]:
        """Floor -> [day] over the tower's own days."""
        return self.fitted.get((one.site, one.source, variable), {})


def floors_of(
    towers: Mapping[str, Tower],
    recipe: KgmlRecipe,
    folds: Mapping[str, int | None],
    told: Told,
    plain: Sequence[Unseen] = (),
) -> Floors:
    """Floors of nee and reco at every site of `folds` (site -> index of the recipe's fold, None: in none)."""
    process = Registry().load(recipe.process)
    runs: dict[tuple[str, str], Run] = {}
    for i, (site, tower) in enumerate(towers.items()):
        told(0.2 * i / len(towers), f"running the process model at {site}")
        for given in (False, True) if "gpp" in tower.observed else (False,):
            try:
                runs[site, "given" if given else "own"] = run_tower(process, tower, given)
            except NotRun:
                continue  # its crops are not those of the process model: rows say so by what they lack
    found: dict[tuple[str, str, str], dict[str, Array]] = {}
    held = list(dict.fromkeys(folds.values()))
    for i, fold in enumerate(held):
        told(0.2 + 0.8 * i / len(held), f"fitting floors, {i + 1} of {len(held)} folds")
        away = frozenset(recipe.folds[fold]) if fold is not None else frozenset()
        sites = [site for site, k in folds.items() if k == fold]
        for source in ("own", "given"):
            seen = [_with_gpp(t, runs.get((t.site, "own"))) if source == "own" else t for t in towers.values()]
            training = training_masks(seen, recipe, away)
            for variable in ("nee", "reco"):
                fitted = regressions(seen, training, variable, given_gpp=True)
                for tower in (t for t in seen if t.site in sites and "gpp" in t.observed and variable in t.observed):
                    floor = found.setdefault((tower.site, source, variable), {})
                    mean = climatology(tower, seen, training, variable)
                    floor |= {} if mean is None else {CLIMATOLOGY: mean}
                    floor |= {} if fitted is None else fitted.predict(tower)
                    run = runs.get((tower.site, source))
                    floor[PROCESS] = np.full(tower.days, np.nan) if run is None else run.mean(variable)
    for one in plain:
        for variable in ("nee", "reco"):
            tower = towers[one.site]
            before = (one.start - tower.start).days
            values = np.full(tower.days, np.nan)
            values[before : before + one.gpp.shape[1]] = getattr(one, variable).mean(axis=0)
            if (one.site, one.source, variable) in found:
                found[one.site, one.source, variable][PLAIN] = values
    rained = frozenset(site for (site, _), run in runs.items() if INVENTED_RAIN in run.note)
    without = {s for s, t in towers.items() if not np.isfinite(t.forcing["precip"]).any()}
    return Floors(found, frozenset(process.card.recipe.get("train", {})), rained | without)


def training_masks(towers: Sequence[Tower], recipe: KgmlRecipe, away: frozenset[str]) -> dict[str, Mask]:
    """Site -> [day] True in the recipe's years of [train], nowhere at towers of the groups `away`."""
    return {
        t.site: np.isin(t.year_of_day(), recipe.train.get(t.site, ())) & np.bool_(t.group not in away) for t in towers
    }


def _with_gpp(tower: Tower, run: Run | None) -> Tower:
    """The tower as if it had measured the process model's GPP, so that regressions are fed what networks are."""
    gpp = np.full(tower.days, np.nan) if run is None else run.mean("gpp")
    return replace(tower, observed={**tower.observed, "gpp": gpp})


def published(data_dir: Path) -> dict[tuple[str, str], Scores]:
    """(site, variable) -> the best published zero-shot score; {} where the file is not there.

    n is 1 and means nothing: the file does not give the number of days. Raises ValueError for a file without columns.
    """
    path = data_dir / FILE
    if not path.exists():
        return {}
    found: dict[tuple[str, str], Scores] = {}
    with path.open(newline="") as file:
        for line in csv.DictReader(file):
            variable = TARGETS.get(line["target"])
            if variable is None or not line["R2"] or not line["RMSE"]:
                continue
            nse, key = float(line["R2"]), (line["site"], variable)
            if key not in found or nse > found[key].nse:
                nan = float("nan")
                found[key] = Scores(1, float(line["RMSE"]), nan, nse, nan, 1 / (2 - nse), nan, nan)
    return found
