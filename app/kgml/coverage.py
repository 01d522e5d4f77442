"""Intervals from errors at unseen groups, and how much of what was measured there they hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from fieldflux.app.evaluate.report import Table
from fieldflux.app.evaluate.yields import YieldPoints
from fieldflux.app.evaluate.yieldsplit import UNSEEN
from fieldflux.models.card import IntervalRule, Score
from fieldflux.models.crops import CROPS
from fieldflux.models.intervals import (
    LEVELS,
    Covered,
    Residuals,
    coverage_across_groups,
    coverage_scores,
    fit_rule,
    over_steps,
)
from fieldflux.tiles.measurements import Tower, read_towers

from .folds import NOT_IN_DOMAIN, Part, Unseen, daily_part, yearly_part

Pool = Literal["own", "given", "either"]
Step = Literal["day", "month", "year"]
AS_RECO = ("ra", "rh")
ENOUGH = 9
"""Groups without which a 90 % interval promises nothing."""
JUDGED, BAND = 0.9, (0.88, 0.97)
"""Where the share inside the 90 % intervals should be."""
POOLS: Mapping[Pool, str] = {
    "own": "the process model's GPP fed in",
    "given": "measured GPP fed in",
    "either": "the process model's GPP fed in where it runs the tower's crops, elsewhere the measured one",
}


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Held-out pairs of one variable at one step. pool: whose GPP was fed in; "" where that does not matter.

    data: in words, what the pairs are.
    """

    variable: str
    step: Step
    pool: str
    residuals: Residuals
    data: str

    @property
    def groups(self) -> int:
        return len(np.unique(self.residuals.group))

    def only(self, groups: Iterable[str]) -> Residuals:
        """The pairs of some groups."""
        return self.residuals.only(np.isin(self.residuals.group, list(groups)))


@dataclass(frozen=True, slots=True)
class Coverage:
    """Coverage of one piece of evidence: level -> share, each group inside intervals that the others set.

    firm: whether the rules were corrected for few groups (`rule_of`). own: the share counted only at groups whose runs
    had the process model's GPP; {} where there are none.
    """

    evidence: Evidence
    firm: bool
    covered: Mapping[float, Covered]
    own: Mapping[float, float] = field(default_factory=dict)


# --- evidence --------------------------------------------------------------------------------------------


def tower_evidence(
    found: Sequence[Unseen], data_dir: Path, pool: Pool, yields: Residuals | None = None
) -> tuple[Evidence, ...]:
    """Pairs of nee, reco, gpp and delta_soc at unseen towers of the domain, by day, month and year.

    Months: 80 % of their days may be scored. Years: `observed_years`. gpp is the process model's, whatever the pool,
    and not made for "given". delta_soc: see `_delta`. yields: pairs of unseen counties, gC m-2. A piece with one group
    is left out.
    """
    towers = {tower.site: tower for tower in read_towers(data_dir)}
    runs = [one for one in found if one.fold is not None and one.site not in NOT_IN_DOMAIN]
    pieces = []
    for variable in ("nee", "reco") if pool == "given" else ("nee", "reco", "gpp"):
        kind: Pool = "own" if variable == "gpp" else pool
        chosen = _chosen(runs, kind)
        days = [p for u in chosen if (p := daily_part(u, towers[u.site], variable)) is not None]
        years = [p for u in chosen if (p := yearly_part(u, towers[u.site], variable)) is not None]
        by_step: dict[Step, Residuals | None] = {"day": _joined(days), "month": _months(days), "year": _joined(years)}
        pieces += [_piece(variable, step, kind, residuals, chosen) for step, residuals in by_step.items()]
    chosen = _chosen(runs, pool)
    parts = [p for u in chosen if (p := _delta(u, towers[u.site], yields)) is not None]
    pieces.append(_piece("delta_soc", "year", pool, _joined(parts), chosen, yields is not None))
    return tuple(one for one in pieces if one is not None)


def _piece(
    variable: str, step: Step, pool: Pool, residuals: Residuals | None, chosen: Sequence[Unseen], drawn: bool = False
) -> Evidence | None:
    if residuals is None or len(np.unique(residuals.group)) < 2:
        return None
    words = _words(variable, step, pool, residuals, chosen, drawn)
    return Evidence(variable, step, pool, residuals, words)


def _chosen(runs: Sequence[Unseen], pool: Pool) -> list[Unseen]:
    """Runs of the pool. A tower with any year under the process model's GPP is an "own" one of the pool "either"."""
    own = [one for one in runs if one.source == "own" and np.isfinite(one.gpp).any()]
    given = [one for one in runs if one.source == "given"]
    with_own = {one.group for one in own}
    return {"own": own, "given": given, "either": own + [one for one in given if one.group not in with_own]}[pool]


def _delta(one: Unseen, tower: Tower, yields: Residuals | None) -> Part | None:
    """Years of delta_soc = -(sum of NEE) - harvest, of crops whose yield the networks give; None where there is none.

    The harvest is the weighed one. Hardly a tower weighed those of these crops; elsewhere it is the predicted one with
    an error drawn (seeded by the site) from `yields`, so that the pair has the errors of both. Without `yields`, years
    without a weighed harvest are left out.
    """
    nee = yearly_part(one, tower, "nee")
    if nee is None:
        return None
    known = {c for crop in CROPS.values() for c in crop.cdl}
    errors = np.empty(0) if yields is None else yields.observed - yields.members.mean(axis=0)
    rng = np.random.default_rng([7, *one.site.encode()])
    weighed = tower.harvested.get("yield", np.full(len(tower.years), np.nan))
    keep, harvest, members = [], [], []
    for k, when in enumerate(nee.when):
        year = when.astype(object).year
        predicted = one.harvest[:, one.years.index(year)]
        taken = float(weighed[tower.years.index(year)])
        if not np.isfinite(taken) and len(errors):
            taken = float(predicted.mean() + rng.choice(errors))
        if tower.annual["crop"][tower.years.index(year)] in known and np.isfinite([*predicted, taken]).all():
            keep.append(k)
            harvest.append(taken)
            members.append(-nee.members[:, k] - predicted)
    if not keep:
        return None
    observed = -nee.observed[keep] - np.array(harvest)
    return Part(one.site, one.group, nee.when[keep], np.stack(members, axis=1), observed, {})


def _joined(parts: Sequence[Part]) -> Residuals | None:
    if not parts:
        return None
    return Residuals(
        np.concatenate([np.full(len(p.observed), p.group) for p in parts]),
        np.concatenate([p.observed for p in parts]),
        np.concatenate([p.members for p in parts], axis=1),
    )


def _months(parts: Sequence[Part]) -> Residuals | None:
    """Months of each tower by itself: two towers of a group have the same days."""
    found = []
    for p in parts:
        daily = Residuals(np.full(len(p.observed), p.group), p.observed, p.members)
        try:
            found.append(over_steps(daily, p.when, "month"))
        except ValueError:
            continue  # no month with days enough: the tower has no say
    if not found:
        return None
    return Residuals(
        np.concatenate([one.group for one in found]),
        np.concatenate([one.observed for one in found]),
        np.concatenate([one.members for one in found], axis=1),
    )


def _words(variable: str, step: Step, pool: Pool, residuals: Residuals, chosen: Sequence[Unseen], drawn: bool) -> str:
    groups = np.unique(residuals.group).tolist()
    text = f"{step}s at towers left out of the training, {POOLS[pool]}"
    if variable == "gpp":
        text = f"{step}s of the process model's GPP at towers"
    text += f"; {len(groups)} groups: {', '.join(groups)}"
    if pool != "given" and {"US-Ne1", "US-Bi1"} & {one.site for one in chosen}:
        text += ". The process model's GPP was calibrated at Mead and US-Bi1, so there it is not unseen"
    if variable == "delta_soc":
        text += ". Measured: -(sum of NEE) - weighed harvest"
        if drawn:
            text += "; where none was weighed, predicted harvest with an error drawn from unseen counties"
    return text


def yield_residuals(points: Sequence[YieldPoints], gpp: str = "own") -> Residuals | None:
    """Yields of counties that no network saw, gC m-2, a county a group; None where there is none.

    points: of `evaluate_yields`, with a model whose card says which counties it was trained on.
    """
    found: list[tuple[str, float, list[float]]] = []
    for one in points:
        if one.gpp != gpp:
            continue
        carbon = CROPS[one.table.crop].carbon_m2(1.0)
        away = (one.table.part == UNSEEN) & ~one.trained
        keep = away & np.isfinite(one.modelled).all(axis=0) & np.isfinite(one.table.observed)
        for i in np.flatnonzero(keep).tolist():
            members = [float(v) * carbon for v in one.modelled[:, i]]
            found.append((str(one.table.fips[i]), float(one.table.observed[i]) * carbon, members))
    if not found:
        return None
    group, observed, members_of = zip(*found, strict=True)
    return Residuals(np.array(group), np.array(observed), np.array(members_of).T)


# --- rules -----------------------------------------------------------------------------------------------


def interval_rules(
    found: Sequence[Unseen],
    data_dir: Path,
    yields_residuals: Residuals | None = None,
    pool: Pool = "own",
    more: Sequence[Evidence] = (),
    promised: Sequence[Step] = ("year",),
) -> dict[str, dict[str, IntervalRule]]:
    """Variable -> step -> rule, for a card's `intervals`: from errors at unseen groups.

    pool: whose GPP was fed in; "own" is what a field without a tower has, but only of towers whose crops the process
    model knows. yields_residuals: of unseen counties, gC m-2 (`yield_residuals`). more: further pairs, as of le or h;
    they go before what is made here. promised: see `rule_of`. ra and rh have never been measured by themselves: they
    take reco's rules.
    """
    pieces = [*evidence_of(found, data_dir, yields_residuals, pool), *more]
    rules: dict[str, dict[str, IntervalRule]] = {}
    for one in pieces:
        rules.setdefault(one.variable, {})[one.step] = rule_of(one, one.step in promised)
    for name in AS_RECO:
        if "reco" in rules:
            rules[name] = {
                step: rule.model_copy(update={"data": f"{name} is never measured alone; the rule of reco: {rule.data}"})
                for step, rule in rules["reco"].items()
            }
    return rules


def evidence_of(
    found: Sequence[Unseen], data_dir: Path, yields_residuals: Residuals | None, pool: Pool
) -> tuple[Evidence, ...]:
    """What the rules of `interval_rules` are fitted to."""
    pieces = tower_evidence(found, data_dir, pool, yields_residuals)
    if yields_residuals is None:
        return pieces
    counties = len(np.unique(yields_residuals.group))
    words = f"maize and soybean of {counties} counties left out of the training; those of a state share their years"
    return (*pieces, Evidence("yield", "year", "", yields_residuals, words))


def rule_of(one: Evidence, promised: bool) -> IntervalRule:
    """The rule of a piece of evidence.

    promised: `fit_rule` as it is, which counts the new field as one group more, of any errors. With K groups its level
    L is the pooled quantile L (K + 1) / K: of ten groups, 90 % is the 99th percentile, and with less than nine the
    worst day of all. Otherwise the pooled quantile L itself: nothing is promised for few groups, but left-out groups
    are covered at about the level, and the intervals of days are two to four times narrower.
    """
    k = one.groups
    if promised:
        few = "" if k >= ENOUGH else f". {k} groups are too few to promise 90 %: its factor is the largest score"
        return fit_rule(one.residuals, data=one.data + few)
    fitted = fit_rule(one.residuals, [level * k / (k + 1) for level in LEVELS])
    factors = dict(zip(LEVELS, fitted.quantiles.values(), strict=True))
    words = f"{one.data}. Factors without the correction for few groups: about the level on average, no promise"
    return fitted.model_copy(update={"quantiles": factors, "data": words})


# --- coverage --------------------------------------------------------------------------------------------


def coverage_of(
    pieces: Sequence[Evidence], own_groups: Iterable[str] = (), promised: Sequence[Step] = ("year",)
) -> tuple[Coverage, ...]:
    """Coverage of every piece with 3 groups or more, by rules as of `interval_rules`.

    own_groups: groups to be counted by themselves as well.
    """
    own = frozenset(own_groups)
    found = []
    for one in pieces:
        if one.groups < 3:
            continue
        firm = one.step in promised
        share = 1.0 if firm else (one.groups - 1) / one.groups  # the others are one group less
        raw = coverage_across_groups(one.residuals, [level * share for level in LEVELS])
        covered = {
            level: replace(c, level=level, promised=firm and c.promised)
            for level, c in zip(LEVELS, raw.values(), strict=True)
        }
        shares = {
            level: float(np.mean([s for name, s in c.of_group.items() if name in own]))
            for level, c in covered.items()
            if own & set(c.of_group)
        }
        found.append(Coverage(one, firm, covered, shares))
    return tuple(found)


def own_groups(found: Sequence[Unseen]) -> frozenset[str]:
    """Groups of towers that the process model gave a GPP."""
    return frozenset(one.group for one in found if one.source == "own" and np.isfinite(one.gpp).any())


def scores_of(coverages: Sequence[Coverage]) -> tuple[Score, ...]:
    """Coverage as scores of a card, which say by what kind of rule."""
    found: list[Score] = []
    for one in coverages:
        e = one.evidence
        if one.firm:
            found += coverage_scores(one.covered, e.variable, e.step, e.data)
            continue
        uncorrected = {level: replace(c, promised=True) for level, c in one.covered.items()}
        found += [
            score.model_copy(update={"split": f"{score.split}; factors without the correction for few groups"})
            for score in coverage_scores(uncorrected, e.variable, e.step, e.data)
        ]
    return tuple(found)


def coverage_table(coverages: Sequence[Coverage]) -> Table:
    """A line per variable, step, pool, kind of rule and level, with the 90 % intervals judged against `BAND`."""
    lines = []
    for one in coverages:
        e = one.evidence
        for level, c in one.covered.items():
            verdict = ("yes" if BAND[0] <= c.share <= BAND[1] else "no") if level == JUDGED else ""
            low, high = min(c.of_group.values()), max(c.of_group.values())
            lines.append(
                (
                    e.variable,
                    e.step,
                    e.pool or "-",
                    "corrected" if one.firm else "plain",
                    f"{100 * level:g} %",
                    c.share,
                    low,
                    high,
                    c.pairs,
                    one.own.get(level),
                    c.mean_width,
                    c.groups,
                    c.n,
                    "yes" if c.promised else "no",
                    verdict,
                )
            )
    return Table(
        "coverage",
        "Coverage of intervals at unseen groups, each inside intervals that the other groups set",
        ("variable", "step", "pool", "rule", "level", "share", "lowest group", "highest group", "of all pairs",
         "at own-GPP groups", "mean width", "groups", "n", "promised", "90 % in 88-97 %"),
        tuple(lines),
        (
            "share: mean over groups, each of the same weight. pool: whose GPP was fed in (own: the process model's; "
            "given: the tower's; either: own at groups where it runs, else given). Width: high less low, in the "
            "variable's unit over the step.",
            "rule: 'plain' takes the pooled quantile of the level; 'corrected' counts the unknown field as one group "
            "more, which promises the level from 9 groups on (90 %) or 19 (95 %) and else takes the largest score.",
        ),
    )  # fmt: skip
