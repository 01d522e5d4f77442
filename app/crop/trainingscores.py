"""From the folds of a training: intervals that hold where a network has not been, and scores for the card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from fieldflux.app.evaluate.yieldfloors import COUNTY_TREND
from fieldflux.models.card import IntervalRule, Score
from fieldflux.models.correlation import Pairs, sum_scores, with_between
from fieldflux.models.hybrids.crop.learn import yields_of
from fieldflux.models.hybrids.crop.seasonnet import SeasonNetwork, carbon, grow
from fieldflux.models.hybrids.crop.served import Kind
from fieldflux.models.intervals import Residuals, coverage_across_groups, coverage_scores, fit_rule
from fieldflux.models.registry import Registry
from fieldflux.models.scores import member_spread, score
from numpy.typing import NDArray

from .county import CountyYear, harvest_day, lessons_of
from .forecasting import earlier_years, forecast_rows
from .training import CropLessons
from .trainrecipe import TrainRecipe

Ensembles = dict[str, list[SeasonNetwork]]
Rules = dict[str, dict[str, IntervalRule]]
Array = NDArray[np.float64]
LEADS = (150, 120, 90, 60, 30)
"""Days from the issue of a forecast to the harvest at which its interval is set."""
FAR_KM = 150.0
"""Counties nearer than this lie side by side or nearly so."""


def calibrated(
    recipe: TrainRecipe, lessons: Sequence[CropLessons], folds: Sequence[Ensembles]
) -> tuple[Rules, dict[str, dict[str, object]], tuple[Score, ...]]:
    """Rules of the card; rules of forecasts by days to harvest; scores of what the folds left out."""
    rules: Rules = {}
    scores: list[Score] = []
    parts = left_out(recipe, lessons, folds)
    harvests = _harvests(parts)
    said = f"county years of {recipe.folds} folds of left-out years"
    rule, sums = with_between(harvests, fit_rule(harvests.residuals, data=said), (0.0, FAR_KM), said)
    rules["yield"] = {"year": rule}
    scores += coverage_scores(coverage_across_groups(harvests.residuals), "yield", "year", said)
    scores += sum_scores(sums, "yield", said)
    for name, unit in (("biomass", "gC m-2"), ("grain", "gC m-2"), ("lai", "m2 m-2")):
        found = _fields(recipe, lessons, folds, name)
        if found is None:
            continue
        said = "days of measured experiments at left-out places"
        residuals, alone = found
        nothing = (residuals.members == 0.0).all(axis=0)
        # outside the season no crop stands: sure, unless something was measured where all members had nothing
        sure = {"zero_is_sure": not bool((residuals.observed[nothing] > 0.0).any())}
        rules[name] = {"day": fit_rule(residuals, data=said).model_copy(update=sure)}
        scores += coverage_scores(coverage_across_groups(residuals), name, "day", said)
        scores += _scores_of(residuals, alone, name, unit, said)
    forecasts = {}
    for lead in LEADS:
        residuals = _forecasts(recipe, lessons, folds, lead)
        rule = fit_rule(residuals, data=f"forecasts {lead} days before harvest, years left out")
        forecasts[str(lead)] = rule.model_dump(mode="json")
        scores += coverage_scores(
            coverage_across_groups(residuals, (0.9,)),
            "yield",
            "year",
            f"forecasts {lead} days before harvest, left-out years",
        )
    return rules, forecasts, tuple(scores)


@dataclass(frozen=True, slots=True, eq=False)
class LeftOut:
    """County years of a crop that a fold left out, and its networks' yields of them [M, n], t ha-1."""

    kind: Kind
    rows: Sequence[CountyYear]
    made: Array


def left_out(recipe: TrainRecipe, lessons: Sequence[CropLessons], folds: Sequence[Ensembles]) -> list[LeftOut]:
    """By crop and fold."""
    found = []
    for one in lessons:
        at = one.fold_of_year(recipe.folds)
        for f, networks in enumerate(folds):
            rows = [r for r in one.rows if at[r.year] == f]
            if not rows:
                continue
            with torch.inference_mode():
                made = yields_of(networks[one.kind.name], lessons_of(one.kind, rows))[0]
            found.append(LeftOut(one.kind, rows, made.double().numpy()))
    return found


def _harvests(parts: Sequence[LeftOut]) -> Pairs:
    """Yields of left-out years, gC m-2; a group is a year, in which counties err together."""
    rows = [(part.kind, r) for part in parts for r in part.rows]
    residuals = Residuals(
        np.array([str(r.year) for _, r in rows]),
        np.array([r.observed * kind.market.carbon_m2(1.0) for kind, r in rows]),
        np.concatenate([part.made * part.kind.market.carbon_m2(1.0) for part in parts], axis=1),
    )
    places = [(r.record.longitude, float(np.mean(r.record.points["latitude"]))) for _, r in rows]
    return Pairs(
        residuals, np.array([r.year for _, r in rows]), np.array([kind.name for kind, _ in rows]), np.array(places)
    )


def beside_the_line(parts: Sequence[LeftOut], folds: int) -> list[Score]:
    """Yields of left-out years beside the county's line, by crop, where the line is known."""
    out = []
    for crop in dict.fromkeys(part.kind.name for part in parts):
        own = [part for part in parts if part.kind.name == crop]
        rows = [r for part in own for r in part.rows]
        line = np.array([r.expected for r in rows])
        known = np.isfinite(line)
        seen, made = np.array([r.observed for r in rows]), np.concatenate([part.made for part in own], axis=1)
        all_of, of_line = score(made.mean(axis=0)[known], seen[known]), score(line[known], seen[known])
        out += [
            Score(
                variable="yield", metric=metric, value=round(getattr(all_of, metric), 4), n=all_of.n,
                unit="1" if metric == "nse" else "t ha-1",
                split=f"left-out years of the training, {folds} folds that learn from years before and after: {crop}",
                data="USDA NASS county yields", baseline={COUNTY_TREND: round(getattr(of_line, metric), 4)},
                spread=round(member_spread(made[:, known], seen[known]) or 0.0, 4) if metric == "rmse" else None,
            )
            for metric in ("rmse", "nse", "bias")
        ]  # fmt: skip
    return out


def _forecasts(recipe: TrainRecipe, lessons: Sequence[CropLessons], folds: Sequence[Ensembles], lead: int) -> Residuals:
    """Yields of left-out years, gC m-2, forecast so many days before harvest; a group is a year. Members and earlier
    years are brought down to as many members as a fold has, with the mean and the spread that all of them have."""
    group, observed, columns = [], [], []
    for one in lessons:
        at = one.fold_of_year(recipe.folds)
        scale = one.kind.market.carbon_m2(1.0)
        for f, networks in enumerate(folds):
            rows = [r for r in one.rows if at[r.year] == f and earlier_years(r)]
            if not rows:
                continue
            cuts = [max(1, harvest_day(one.kind, r) - lead) for r in rows]
            for r, made in zip(rows, forecast_rows(one.kind, networks[one.kind.name], rows, cuts), strict=True):
                group.append(str(r.year))
                observed.append(r.observed * scale)
                columns.append(two_of(made * scale))
    return Residuals(np.array(group), np.array(observed), np.array(columns).T)


def two_of(values: np.ndarray) -> tuple[float, float]:
    """Two numbers with the mean and the standard deviation (divisor n - 1) of all of them."""
    off = float(np.std(values, ddof=1)) / np.sqrt(2.0)
    return float(values.mean()) - off, float(values.mean()) + off


def _fields(
    recipe: TrainRecipe, lessons: Sequence[CropLessons], folds: Sequence[Ensembles], name: str
) -> tuple[Residuals, Array] | None:
    """Measured courses at places that a fold left out, a group is a place and its crop; and LINTUL5 as it comes."""
    group, observed, members, alone = [], [], [], []
    for one in lessons:
        if one.fields is None:
            continue
        for place, f in one.fold_of_place(recipe.folds).items():
            away = one.fields.at([place])
            assert away is not None
            with torch.inference_mode():
                grown = grow(folds[f][one.kind.name], away.fields.part)
                plain = grow([SeasonNetwork(one.kind)], away.fields.part).course[name]
            made, seen = grown.course[name], away.fields.measured[name].double()
            if name == "grain":
                made, plain, seen = (x * one.kind.market.carbon for x in (made, plain, seen))
            elif name == "biomass":
                # measured biomass as carbon needs its share of grain: that of the model is taken for both
                made, _ = carbon(one.kind, made, grown.course["grain"])
                part = made.mean(0) / grown.course["biomass"].mean(0).clamp(min=1.0)
                plain, seen = plain * part, seen * part
            there = torch.isfinite(seen)
            group += [f"{one.kind.name}, {place}"] * int(there.sum())
            observed.append(seen[there].numpy())
            members.append(made[:, there].double().numpy())
            alone.append(plain[0][there].double().numpy())
    if len(set(group)) < 3:
        return None
    together = Residuals(np.array(group), np.concatenate(observed), np.concatenate(members, axis=1))
    return together, np.concatenate(alone)


def _scores_of(found: Residuals, alone: Array, name: str, unit: str, said: str) -> list[Score]:
    mean = found.members.mean(axis=0)
    out: list[Score] = []
    for crop in sorted({g.split(",")[0] for g in found.group.tolist()}):
        here = np.array([g.startswith(crop) for g in found.group.tolist()])
        seen, made = found.observed[here], mean[here]
        all_of, plain = score(made, seen), score(alone[here], seen)
        spread = round(member_spread(found.members[:, here], seen) or 0.0, 4)
        out += [
            Score(
                variable=name,
                metric=metric,
                value=round(getattr(all_of, metric), 4),
                unit="1" if metric == "nse" else unit,
                split=f"field experiments, left-out places: {crop}, by day",
                data=said,
                n=all_of.n,
                spread=spread if metric == "rmse" else None,
                baseline={"LINTUL5": round(getattr(plain, metric), 4)},
            )
            for metric in ("rmse", "nse", "bias")
        ]
    return out


def scored(folder: Path, data: Path, tables: Path) -> tuple[Score, ...]:
    """Scores of a written checkpoint at held-out counties and years, and of its forecasts."""
    from fieldflux.app.evaluate import evaluate
    from fieldflux.app.evaluate.report import to_scores

    from .forecastscores import to_scores as of_forecasts

    model = f"{folder.parent.name}/{folder.name}"
    report = evaluate(model, data, tables, None, Registry((folder.parent.parent,)))
    return (*to_scores(report), *(s for t in report.tables if t.name == "forecasts" for s in of_forecasts(t)))
