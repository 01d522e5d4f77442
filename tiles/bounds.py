"""The ends of intervals: how wide a step's interval is, and what that width rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any, Literal, TypeAlias

import numpy as np
from fieldflux.models.card import Card
from fieldflux.models.intervals import LEVELS, half_width, listed, step_for, steps_in
from fieldflux.models.variables import Variable
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Method: TypeAlias = Literal["conformal", "factor", "spread"]


class UncalibratedLevel(ValueError):
    """A level at which intervals are asked for and cannot be had. code, members: as a problem over HTTP."""

    code = "unknown-level"

    def __init__(self, sentence: str, allowed: Sequence[float]) -> None:
        super().__init__(sentence)
        self.members: dict[str, object] = {"allowed": list(allowed)}


@dataclass(frozen=True, slots=True)
class Basis:
    """What the width of some steps' intervals rests on.

    method: "conformal", by the card's rule for held-out groups; "factor", the members' spread as of a normal
    distribution, times the card's factor; "spread", that spread alone.
    steps: how many of the values have it. Of "conformal" alone are the others: rule, the step it was calibrated for
    ("day", "month", "year", or the whole "record"); scaled, whether it was carried to sums over more days than that;
    groups and pairs it was calibrated with; data, what these are; promised, whether the groups suffice for the level.
    """

    method: Method
    steps: int
    rule: str = ""
    scaled: bool = False
    groups: int = 0
    pairs: int = 0
    data: str = ""
    promised: bool = False


def check_level(card: Card, variables: Sequence[str], level: float) -> None:
    """Raise UncalibratedLevel unless all intervals of these variables can be had at the level."""
    for name in variables:
        of = logarithm_of(name) if logarithm_of(name) in card.intervals else name
        rules = tuple(card.intervals.get(of, {}).values())
        allowed = [a for a in (rules[0].quantiles if rules else LEVELS) if all(a in r.quantiles for r in rules)]
        if level not in allowed:
            raise UncalibratedLevel(
                f"Intervals of '{name}' can be had at the levels {listed(allowed)}, given: {level:g}. "
                f"Ask for one of these, or without intervals."
                if allowed
                else f"The card of '{card.id}' has no level that all rules of '{name}' share: ask without intervals.",
                allowed,
            )


def interval(
    card: Card, v: Variable, value: Floats, members: Floats, lengths: NDArray[np.int64], level: float, quantum: float
) -> tuple[tuple[Floats, Floats] | None, tuple[Basis, ...]]:
    """Low and high [T] of a variable over T steps (see `ends`), and what they rest on; arguments as of `half_widths`.

    Where the card has a rule for the variable's logarithm ("ln_soc_30"), the interval is of that: from value / k to
    value x k.
    """
    rule = card.intervals.get(logarithm_of(v.name), {}).get("year")
    if rule is None or v.period != "static":
        half, basis = half_widths(card, v, value, members, lengths, level)
        return ends(value, half, quantum, v.low), basis
    with np.errstate(invalid="ignore", divide="ignore"):
        logs, spread = np.log(value), np.std(np.log(members), axis=0, ddof=1)
        factor = np.exp(half_width(rule, logs, spread, level))
        low, high = (np.rint(of * quantum) / quantum for of in (value / factor, value * factor))
    one = Basis("conformal", value.size, "record", False, rule.groups, rule.n, rule.data, rule.reaches(level))
    return (low, high), (one,)


def logarithm_of(name: str) -> str:
    """Name of the rule for the logarithm of a variable."""
    return f"ln_{name}"


def half_widths(
    card: Card, v: Variable, value: Floats, members: Floats, lengths: NDArray[np.int64], level: float
) -> tuple[Floats, tuple[Basis, ...]]:
    """Half the width [T] of the intervals of a variable over T steps, and what they rest on.

    value: [T] over the steps, members: [M, T] of each member, both in the variable's unit over the step. lengths: [T]
    days of each step, or years for a yearly variable. See `step_for` on steps that have no rule of their own.
    """
    spread = _spread(members)
    rules = card.intervals.get(v.name, {})
    half = np.empty_like(spread)
    found: list[Basis] = []
    alike = bool((lengths == lengths[:1]).all())
    for length in lengths[:1] if alike else np.unique(lengths):
        at: Any = slice(None) if alike else lengths == length
        count = lengths.size if alike else int(at.sum())
        step, many = _rule_over(card, v, int(length))
        if step is None:
            factor = card.interval.get(v.name)
            half[at] = z(level) * (1.0 if factor is None else factor) * spread[at]
            found.append(Basis("spread" if factor is None else "factor", count))
            continue
        rule = rules[step]
        # A sum over several steps is taken as that many times their mean, for which the rule is.
        half[at] = many * half_width(rule, value[at] / many, spread[at] / many, level)
        beyond = many > 1.0 or (v.over_time != "sum" and int(length) > _longest(v, step))
        found.append(Basis("conformal", count, step, beyond, rule.groups, rule.n, rule.data, rule.reaches(level)))
    return half, _joined(found)


def _spread(members: Floats) -> Floats:
    """[T] standard deviation over members [M, T], divisor M - 1: as np.std, without what that takes for few numbers."""
    deviation = members - members.sum(axis=0) / len(members)
    return np.asarray(np.sqrt((deviation * deviation).sum(axis=0) / (len(members) - 1)))


def ends(value: Floats, half: Floats, quantum: float, lowest: float) -> tuple[Floats, Floats] | None:
    """Low and high [T] of intervals around `value`, in steps of 1 / quantum, not below 0 where `lowest` is not.

    None where no step has any width: members that share an input, such as one GPP for all, say nothing of its error,
    and an interval from a value to itself would promise that there is none.
    """
    low, high = (np.rint(end * quantum) / quantum + 0.0 for end in (value - half, value + half))
    if not (low < high).any() and not np.isnan(low).all():
        return None
    return (np.maximum(low, 0.0) if lowest >= 0 else low), high


def z(level: float) -> float:
    """Half width of the central part of a normal distribution, in standard deviations: 1.645 for 0.9."""
    return NormalDist().inv_cdf((1 + level) / 2)


def as_plain(bases: Sequence[Basis]) -> list[dict[str, Any]]:
    """For an answer: what is not empty of each."""
    conformal = ("rule", "scaled", "groups", "pairs", "data", "promised")
    return [
        {"method": b.method, "steps": b.steps}
        | ({name: getattr(b, name) for name in conformal} if b.method == "conformal" else {})
        for b in bases
    ]


def _rule_over(card: Card, v: Variable, length: int) -> tuple[str | None, float]:
    """The step whose rule holds for so many days (years, of a yearly variable), and how often it is taken."""
    rules = card.intervals.get(v.name, {})
    if v.period != "day":
        return ("year", float(length)) if "year" in rules else (None, 1.0)
    step = step_for(rules, length)
    if step is None or v.over_time != "sum":
        return step, 1.0
    return step, steps_in(step, length)


def _longest(v: Variable, step: str) -> int:
    return {"day": 1, "month": 31, "year": 366}[step] if v.period == "day" else 1


def _joined(bases: Sequence[Basis]) -> tuple[Basis, ...]:
    """The same kinds once, with all their steps."""
    if len(bases) == 1:
        return tuple(bases)
    steps: dict[Basis, int] = {}
    for b in bases:
        kind = replace(b, steps=0)
        steps[kind] = steps.get(kind, 0) + b.steps
    return tuple(replace(kind, steps=n) for kind, n in steps.items())
