"""Towers and counties that no network saw: scores beside floors, intervals from the errors, and their coverage.

found = read_folds(work, recipe, data)        what the folds' networks say of the towers that they did not see
unseen_rows(found, recipe, data)              scores by tower, group, all, median; floors fitted fold by fold
interval_rules(found, data, yields)           variable -> step -> rule, for a card
coverage_of(evidence_of(found, data, ...))    how much of what was measured such intervals hold
write_unseen(folder, ...)                     all of it as text, CSV and plots
at_unseen_sites(recipe, data, work, out)      the whole, after a training
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from fieldflux.app.evaluate.report import Report, Row, as_csv, as_text, table_csv, to_scores
from fieldflux.app.evaluate.yields import evaluate_yields
from fieldflux.models.card import IntervalRule, Score
from fieldflux.models.intervals import Residuals
from fieldflux.models.registry import Registry
from fieldflux.tiles.measurements import read_towers

from .coverage import (
    Coverage,
    Pool,
    Step,
    coverage_of,
    coverage_table,
    evidence_of,
    interval_rules,
    own_groups,
    scores_of,
    yield_residuals,
)
from .folds import Unseen, read_away, read_folds
from .recipe import KgmlRecipe
from .unseenfloors import DESCRIBED
from .unseenrows import unseen_rows

Told = Callable[[float, str], None]
POOLS: tuple[Pool, ...] = ("own", "either", "given")
KINDS: tuple[tuple[Step, ...], ...] = ((), ("day", "month", "year"))
NOTES = (
    "Each tower is run by the networks of the fold that left its group out; nothing of it is in their training, nor "
    "in that of the floors. Towers in no fold are run by the networks that learned from all others.",
    "own: the GPP fed in is the process model's, only in years whose crop it knows. given: the tower's own GPP, so "
    "that NEE is partly an identity. The two are never mixed in a row.",
    "The process model was calibrated at Mead, US-Bi1 and DE-Geb: with its GPP these places are not unseen.",
    "NSE is 1 - SS_res / SS_tot; bias is model less measurement. Rows and floors hold the same days. A median is taken "
    "of each number by itself. Published medians over croplands: NEE R2 0.42, RMSE 2.2; Reco R2 0.66.",
    "Crop 'modelled crops': the days that the process model runs, with it as a floor.",
)


@dataclass(frozen=True, slots=True)
class AtUnseen:
    """What was found. rules: for a card. served: coverage of these rules. others: of other pools and kinds of rule."""

    rows: tuple[Row, ...]
    rules: Mapping[str, Mapping[str, IntervalRule]]
    served: tuple[Coverage, ...]
    others: tuple[Coverage, ...]


def at_unseen_sites(
    recipe: KgmlRecipe,
    data: Path,
    work: Path,
    out: Path,
    told: Told = lambda *_: None,
    plain: Sequence[Unseen] = (),
) -> tuple[dict[str, dict[str, IntervalRule]], tuple[Score, ...]]:
    """Interval rules and scores for the card of a training; tables and plots go to `<work>/unseen`.

    out: where its checkpoint lies, whose card names the counties that it was trained on. plain: `read_folds` of a
    training of plain networks with the same folds, as a floor. The scores are those of groups, of all and of the
    median; those of single towers are in the tables. Raises ValueError where a fold is not done.
    """
    folder = work / "unseen"
    found = read_folds(work, recipe, data) + read_away(work, recipe, data, folder)
    model = Registry((out,)).load(f"{recipe.name}/{recipe.version}")
    points = evaluate_yields(model, data, lambda f, doing: told(0.3 * f, doing)).points
    result = unseen(found, recipe, data, yield_residuals(points), lambda f, doing: told(0.3 + 0.6 * f, doing), plain)
    write_unseen(folder, model.card.id, result, found, data)
    told(1.0, "done")
    kept = tuple(row for row in result.rows if row.place.startswith("median") or "pooled" in row.place)
    scores = to_scores(_report(model.card.id, kept, data, ()))
    return {name: dict(steps) for name, steps in result.rules.items()}, (*scores, *scores_of(result.served))


def unseen(
    found: Sequence[Unseen],
    recipe: KgmlRecipe,
    data: Path,
    yields: Residuals | None,
    told: Told = lambda *_: None,
    plain: Sequence[Unseen] = (),
    promised: Sequence[Step] = ("year",),
) -> AtUnseen:
    """Scores, rules from runs with the process model's GPP, and coverage. promised: see `interval_rules`."""
    rows = unseen_rows(found, recipe, data, told, plain)
    told(1.0, "intervals")
    pieces = {pool: evidence_of(found, data, yields, pool) for pool in POOLS}
    groups = own_groups(found)
    served = coverage_of(pieces["own"], groups, promised)
    others: list[Coverage] = []
    for pool in POOLS:
        of_pool = [one for one in pieces[pool] if pool == "own" or one.pool == pool]
        for kind in KINDS:
            others += [c for c in coverage_of(of_pool, groups, kind) if pool != "own" or not _served(c, promised)]
    return AtUnseen(rows, interval_rules(found, data, yields, promised=promised), served, tuple(others))


def _served(one: Coverage, promised: Sequence[Step]) -> bool:
    return one.firm == (one.evidence.step in promised)


# --- files -----------------------------------------------------------------------------------------------


def write_unseen(folder: Path, model: str, result: AtUnseen, found: Sequence[Unseen], data: Path) -> Report:
    """Write `unseen.txt`, `unseen_scores.csv`, `coverage.csv`, `coverage_others.csv` and plots into a folder."""
    from .unseenplots import plot_coverage, plot_scatter

    folder.mkdir(parents=True, exist_ok=True)
    towers = {tower.site: tower for tower in read_towers(data)}
    files = plot_scatter(folder, found, towers) + plot_coverage(folder, result.served)
    served = coverage_table(result.served)
    others = replace(
        coverage_table(result.others),
        name="coverage_others",
        title="The same by other pools and kinds of rule, not served",
        in_text=False,
    )
    run = {one.site for one in found}
    report = replace(
        _report(model, result.rows, data, ("unseen_scores.csv", *files)),
        tables=(served, others),
        skipped=tuple(
            f"{site}: its first year lacks a needed input, or no fold has it." for site in towers.keys() - run
        ),
    )
    (folder / "unseen.txt").write_text(as_text(report), encoding="utf-8")
    (folder / "unseen_scores.csv").write_text(as_csv(report), encoding="utf-8")
    for table in report.tables:
        (folder / f"{table.name}.csv").write_text(table_csv(table), encoding="utf-8")
    return report


def _report(model: str, rows: Sequence[Row], data: Path, files: Sequence[str]) -> Report:
    return Report(
        model=model,
        title="at towers and counties that were left out of the training",
        made=datetime.now(UTC).replace(microsecond=0),
        data=data.name or str(data),
        rows=tuple(rows),
        notes=(*NOTES, *(f"Floor '{name}': {text}" for name, text in DESCRIBED.items())),
        files=tuple(files),
    )


__all__ = [
    "AtUnseen",
    "Unseen",
    "at_unseen_sites",
    "coverage_of",
    "coverage_table",
    "evidence_of",
    "interval_rules",
    "read_away",
    "read_folds",
    "unseen",
    "unseen_rows",
    "write_unseen",
    "yield_residuals",
]
