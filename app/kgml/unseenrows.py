"""Scores at towers that a fold left out: each tower, each group, all of them, and the median, beside floors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from fieldflux.app.evaluate.report import Row
from fieldflux.models.scores import Scores, member_spread, score
from fieldflux.models.variables import VARIABLES
from fieldflux.tiles.measurements import read_towers
from numpy.typing import NDArray

from .folds import NOT_IN_DOMAIN, Part, Source, Unseen, daily_part, yearly_part
from .recipe import KgmlRecipe
from .unseenfloors import PROCESS, PUBLISHED, Floors, floors_of, published

Mask = NDArray[np.bool_]
Told = Callable[[float, str], None]

SPLIT = "unseen tower"
OUTSIDE = "unseen tower, outside the domain"
ALL = "all"
MODELLED = "modelled crops"
SCORED = ("nee", "reco")
FEWEST = {"day": 30, "year": 3}


@dataclass(frozen=True, slots=True)
class _Table:
    """What the rows of one table have in common."""

    split: str
    variable: str
    step: str
    source: Source
    published: Mapping[tuple[str, str], Scores]
    notes: Mapping[str, str] = field(default_factory=dict)


def unseen_rows(
    found: Sequence[Unseen],
    recipe: KgmlRecipe,
    data_dir: Path,
    told: Told = lambda _, __: None,
    plain: Sequence[Unseen] = (),
) -> tuple[Row, ...]:
    """Scores of nee and reco by tower, by group, of all towers pooled, and the median over towers; by day and year.

    Only days that may be scored; with given GPP only those on which it was measured, and years with 360 such days.
    Floors are fitted to the years of the recipe's [train] without the groups of the tower's fold, on the same inputs.
    The process model does not run every crop: rows of crop "modelled crops" hold the days that it runs, with it as a
    floor; those of crop "all" have it where it runs them all. plain: the same towers by a plain network, as a floor.
    Years: sums of all days, floors' sums as well.
    """
    towers = {tower.site: tower for tower in read_towers(data_dir)}
    fitted = floors_of(towers, recipe, {one.site: one.fold for one in found}, lambda f, d: told(0.8 * f, d), plain)
    known = published(data_dir)
    rows: list[Row] = []
    combined: list[tuple[Source, str]] = [("own", v) for v in SCORED] + [("given", v) for v in SCORED]
    for i, (source, variable) in enumerate(combined):
        told(0.8 + 0.2 * i / len(combined), f"scoring {variable}, {source} GPP")
        for split, inside in ((SPLIT, True), (OUTSIDE, False)):
            here = [u for u in found if u.source == source and (u.site not in NOT_IN_DOMAIN) == inside]
            notes = {u.site: _note(u, fitted) for u in here}
            days = [p for u in here if (p := daily_part(u, towers[u.site], variable, fitted)) is not None]
            years = [p for u in here if (p := yearly_part(u, towers[u.site], variable, fitted)) is not None]
            rows += _rows(days, _Table(split, variable, "day", source, known, notes))
            rows += _rows(years, _Table(split, variable, "year", source, {}, notes))
    return tuple(sorted(rows, key=lambda row: (row.step != "day", row.gpp != "own", row.split != SPLIT)))


def _note(one: Unseen, fitted: Floors) -> str:
    notes = []
    if one.site in NOT_IN_DOMAIN:
        notes.append(f"{NOT_IN_DOMAIN[one.site]}: outside the domain")
    if one.fold is None:
        notes.append("run by the networks that learned from all other towers")
    if one.site in fitted.calibrated:
        notes.append("the process model was calibrated here: its GPP and its scores are not of an unseen place")
    if one.site in fitted.rained:
        notes.append("daily rain invented from monthly means")
    return "; ".join(notes)


def _rows(parts: Sequence[Part], table: _Table) -> list[Row]:
    rows = _family(parts, ALL, table)
    process = [p.only(keep) for p in parts if (keep := _process_runs(p)).any()]
    if sum(len(p.observed) for p in process) < sum(len(p.observed) for p in parts):
        rows += _family(process, MODELLED, table)
    return rows


def _process_runs(part: Part) -> Mask:
    return np.isfinite(part.floors.get(PROCESS, np.full(len(part.observed), np.nan)))


def _family(parts: Sequence[Part], crop: str, table: _Table) -> list[Row]:
    """Rows of towers, of groups with several, of all, and their median."""
    alone = [_row([p], p.site, crop, table) for p in parts if len(p.observed) >= FEWEST[table.step]]
    of_group: dict[str, list[Part]] = {}
    for p in parts:
        of_group.setdefault(p.group, []).append(p)
    groups = {name: own for name, own in of_group.items() if len(own) > 1}
    pooled = [_row(own, f"{name}, {len(own)} towers pooled", crop, table) for name, own in groups.items()]
    rows = alone + pooled
    if len(of_group) > 1 and sum(len(p.observed) for p in parts) >= FEWEST[table.step]:
        rows.append(_row(parts, f"{len(parts)} towers of {len(of_group)} groups pooled", crop, table))
    if len(alone) > 1:
        rows.append(_median(alone))
    return rows


def _row(parts: Sequence[Part], place: str, crop: str, table: _Table) -> Row:
    members = np.concatenate([p.members for p in parts], axis=1) if _same_members(parts) else None
    mean = np.concatenate([p.members.mean(axis=0) for p in parts])
    observed = np.concatenate([p.observed for p in parts])
    shared = [n for n in parts[0].floors if all(n in p.floors and np.isfinite(p.floors[n]).all() for p in parts)]
    floors = {n: score(np.concatenate([p.floors[n] for p in parts]), observed) for n in shared}
    if len(parts) == 1 and crop == ALL and (parts[0].site, table.variable) in table.published:
        floors[PUBLISHED] = table.published[parts[0].site, table.variable]
    return Row(
        part="towers",
        split=table.split,
        place=place,
        variable=table.variable,
        unit=VARIABLES[table.variable].unit if table.step == "day" else "gC m-2 yr-1",
        step=table.step,
        gpp=table.source,
        crop=crop,
        scores=score(mean, observed),
        floors=floors,
        data=", ".join(p.site for p in parts),
        spread=None if members is None else member_spread(members, observed),
        note=table.notes.get(parts[0].site, "") if len(parts) == 1 else "",
    )


def _same_members(parts: Sequence[Part]) -> bool:
    return len({len(p.members) for p in parts}) == 1


def _median(rows: Sequence[Row]) -> Row:
    """The median of every score by itself; n is the sum. Floors that some row lacks are left out."""
    first = rows[0]
    shared = [name for name in first.floors if all(name in row.floors for row in rows)]
    spreads = [row.spread for row in rows if row.spread is not None]
    return Row(
        part=first.part,
        split=first.split,
        place=f"median of {len(rows)} towers",
        variable=first.variable,
        unit=first.unit,
        step=first.step,
        gpp=first.gpp,
        crop=first.crop,
        scores=_median_scores([row.scores for row in rows]),
        floors={name: _median_scores([row.floors[name] for row in rows]) for name in shared},
        data=", ".join(row.place for row in rows),
        spread=float(np.median(spreads)) if spreads else None,
    )


def _median_scores(scores: Sequence[Scores]) -> Scores:
    def middle(name: str) -> float:
        return float(np.median([getattr(one, name) for one in scores]))

    return Scores(
        n=sum(one.n for one in scores),
        **{name: middle(name) for name in ("rmse", "bias", "nse", "r2", "nnse", "observed", "observed_sd")},
    )
