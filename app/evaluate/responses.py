"""Response checks: what a model answers as one input leaves its range, step by step, and whether that can be right."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fieldflux.models.card import Card
from fieldflux.models.contract import Forcing, MissingInputs, Model, check_inputs
from fieldflux.models.variables import VARIABLES as VOCABULARY
from numpy.typing import NDArray

from .probes import VARIABLES, Answers, Axis, Point, Probe, ask, axes_for, own_gpp, synthetic_probe, tower_probes
from .report import Table

Array = NDArray[np.float64]
Told = Callable[[float, str], None]

FALL = 0.001
"""Largest relative fall of a curve that must not fall: above it float32 sums of a year are not to blame."""
SMALL = 0.05
"""A step below this share of the curve's level is no jump."""
SHARE = 0.5
"""A step is cut into PARTS equal parts, the part with most of it again, up to ROUNDS times. A curve that is only steep
spreads it over the parts, and what one of them holds falls below this share; a jump stays in one."""
PARTS, ROUNDS = 8, 4
# (input, variable, sign): with more of the input there must not be less (+1) or more (-1) of the variable.
MONOTONE = (("soc_content", "rh", 1), ("gpp_given", "yield", 1), ("residue_removed", "delta_soc", -1))
FLAG = "outside_domain"


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """One input varied at one probe.

    x: [point]. values: variable -> [member, point], per year. flags: name -> [point]. trained: range; source: where it
    is from, "card" or "declared".
    """

    probe: str
    axis: Axis
    x: Array
    trained: tuple[float, float]
    source: str
    values: Mapping[str, Array]
    flags: Mapping[str, NDArray[np.bool_]]

    @property
    def inside(self) -> NDArray[np.bool_]:
        """[point] whether it lies in the trained range."""
        return (self.x >= self.trained[0]) & (self.x <= self.trained[1])


@dataclass(frozen=True, slots=True)
class Check:
    """One question with a yes or no. number: what was measured; limit: what it may be at most. passed: None where it
    is information only."""

    probe: str
    axis: str
    variable: str
    what: str
    number: float
    limit: float | None
    passed: bool | None
    about: str = ""


@dataclass(frozen=True, slots=True)
class ResponseResult:
    tables: tuple[Table, ...]
    notes: tuple[str, ...]
    skipped: tuple[str, ...]
    curves: tuple[Curve, ...] = ()
    checks: tuple[Check, ...] = ()


def evaluate_responses(
    model: Model, data_dir: Path, told: Told, probes: Sequence[Probe] | None = None
) -> ResponseResult:
    """Vary each input of a made-up field, and of the Mead towers where they are in the folder, and check the answers.

    probes: others instead.
    """
    chosen = list(probes) if probes is not None else [synthetic_probe(), *tower_probes(data_dir)]
    curves: list[Curve] = []
    checks: list[Check] = []
    skipped: list[str] = []
    for i, probe in enumerate(chosen):
        told(i / len(chosen), f"responses at {probe.name}")
        try:
            check_inputs(model.card.id, model.needs, probe.forcing.names(), f"the probe '{probe.name}'")
            found = respond(model, probe)
        except (MissingInputs, ValueError) as error:
            skipped.append(f"Responses at {probe.name}: {error}")
            continue
        curves += found
        checks += check(model, probe, found)
    notes = _notes(chosen, checks) if checks else ()
    return ResponseResult(_tables(curves, checks), notes, tuple(skipped), tuple(curves), tuple(checks))


def respond(model: Model, probe: Probe) -> list[Curve]:
    """The curves of one probe. Raises what the model raises."""
    axes = axes_for(model.needs, probe)
    points: list[Point] = [(axis, value) for axis in axes for value in axis.values]
    own = own_gpp(model, probe) if any(a.kind == "gpp" for a in axes) and "gpp" in model.outputs else None
    answers = ask(model, probe, points, own)
    curves, at = [], 0
    for axis in axes:
        part = slice(at, at + len(axis.values))
        at = part.stop
        trained, source = range_of(axis, model.card)
        values = {name: found[:, part] for name, found in answers.values.items()}
        flags = {name: flag[part] for name, flag in answers.flags.items()}
        curves.append(Curve(probe.name, axis, np.array(axis.values), trained, source, values, flags))
    return curves


def range_of(axis: Axis, card: Card) -> tuple[tuple[float, float], str]:
    """The range in which a model was trained, from its card where that gives one in the axis' own terms."""
    if axis.how == "set" and axis.name in card.domain.ranges:
        low, high = card.domain.ranges[axis.name]
        return (float(low), float(high)), "card"
    return axis.usual, "declared"


# --- checks ----------------------------------------------------------------------------------------------


def check(model: Model, probe: Probe, curves: Sequence[Curve]) -> list[Check]:
    """Every check of one probe's curves; where a step outside the range is large, the model is asked again in it."""
    found = [one for curve in curves for one in _monotone(curve)]
    found += [_values(curve) for curve in curves]
    found += _jumps(model, probe, curves)
    found += _flags(model.card, probe.forcing, curves)
    return found


def largest_fall(values: Array) -> float:
    """Largest fall of a curve below what it had reached, relative to that; over all members, of [member, point].

    >>> largest_fall(np.array([[1.0, 2.0, 1.5, 3.0]]))
    0.25
    """
    reached = np.maximum.accumulate(values, axis=1)
    return float(np.max((reached - values) / np.maximum(np.abs(reached), 1e-9)))


def _monotone(curve: Curve) -> list[Check]:
    found = []
    for name, variable, sign in MONOTONE:
        if name != curve.axis.name or variable not in curve.values:
            continue
        values = curve.values[variable]
        if not np.isfinite(values).all():
            values = values[:, np.isfinite(values).all(axis=0)]
        if values.shape[1] < 2:
            continue
        # delta_soc has no zero to be relative to: its fall is measured against its own range.
        scale = max(float(np.ptp(values)), 1.0)
        fall = (
            largest_fall(values) if sign > 0 else float(np.max(values - np.minimum.accumulate(values, axis=1))) / scale
        )
        word = "does not fall" if sign > 0 else "does not rise"
        found.append(
            Check(curve.probe, curve.axis.label, variable, f"{word} as {name} rises", fall, FALL, fall <= FALL)
        )
    return found


def _values(curve: Curve) -> Check:
    given = np.all([np.isfinite(v).all(axis=0) for v in curve.values.values()], axis=0)
    lacking = int((curve.inside & ~given).sum())
    outside = int((~curve.inside & ~given).sum())
    about = f"and none at {outside} of {int((~curve.inside).sum())} points outside" if outside else ""
    what = "points inside the range without a value"
    return Check(curve.probe, curve.axis.label, "all", what, float(lacking), 0.0, lacking == 0, about)


def _jumps(model: Model, probe: Probe, curves: Sequence[Curve]) -> list[Check]:
    """Whether a large step outside the range is a jump or only steep: the model is asked again within it."""
    suspects: list[tuple[Curve, str, int]] = []
    found: list[Check] = []
    for curve in curves:
        if curve.inside.all():
            continue
        for variable, values in curve.values.items():
            sized = largest_step(curve, values.mean(axis=0))
            if sized is None:
                continue
            at, relative, ratio = sized
            if relative > SMALL:
                suspects.append((curve, variable, at))
            else:
                about = f"largest step {relative:.1%} of the level, {ratio:.1f} x the steepest inside"
                found.append(Check(curve.probe, curve.axis.label, variable, _JUMP, 0.0, SHARE, True, about))
    if not suspects:
        return found
    own = own_gpp(model, probe) if any(curve.axis.kind == "gpp" for curve, _, _ in suspects) else None
    ends = [(float(curve.x[at]), float(curve.x[at + 1])) for curve, _, at in suspects]
    shares = np.ones(len(suspects))
    for _ in range(ROUNDS):
        open_ones = [k for k in range(len(suspects)) if shares[k] > SHARE]
        if not open_ones:
            break
        asked = list(dict.fromkeys((id(suspects[k][0]), ends[k]) for k in open_ones))
        axis_of = {id(curve): curve.axis for curve, _, _ in suspects}
        points = [(axis_of[key], v) for key, span in asked for v in axis_of[key].between(*span, PARTS)]
        answers = ask(model, probe, points, own)
        for k in open_ones:
            curve, variable, _ = suspects[k]
            first = asked.index((id(curve), ends[k])) * (PARTS + 1)
            part, share = largest_part(answers.values[variable][:, first : first + PARTS + 1].mean(axis=0))
            shares[k] *= share
            ends[k] = points[first + part][1], points[first + part + 1][1]
    for (curve, variable, at), share, end in zip(suspects, shares, ends, strict=True):
        sized = largest_step(curve, curve.values[variable].mean(axis=0))
        relative, ratio = (sized[1], sized[2]) if sized else (np.nan, np.nan)
        where = f"{curve.x[at]:g}..{curve.x[at + 1]:g}" if share <= SHARE else f"{end[0]:.5g}..{end[1]:.5g}"
        about = f"largest step {relative:.0%} of the level, {ratio:.1f} x the steepest inside, at {where}"
        share = float(share)
        found.append(Check(curve.probe, curve.axis.label, variable, _JUMP, share, SHARE, share <= SHARE, about))
    return found


_JUMP = "no jump outside: share of the largest step that stays in one part, cut again and again"


def largest_step(curve: Curve, values: Array) -> tuple[int, float, float] | None:
    """Of the steps with an end outside the range: where the largest begins, its size relative to the curve's level
    inside, and its steepness over that of the steepest step inside (NaN without one). None without a value."""
    axis = np.log(curve.x) if curve.axis.log else curve.x
    steps, slopes = np.abs(np.diff(values)), np.abs(np.diff(values) / np.diff(axis))
    both = curve.inside[1:] & curve.inside[:-1]
    level = np.abs(values[curve.inside])
    level = level[np.isfinite(level)]
    out = np.where(both, np.nan, steps)
    if not np.isfinite(out).any() or level.size == 0:
        return None
    at = int(np.nanargmax(out))
    within = slopes[both & np.isfinite(slopes)]
    ratio = float(np.nanmax(np.where(both, np.nan, slopes)) / within.max()) if within.size and within.max() else np.nan
    return at, float(out[at] / max(float(level.max()), 1e-9)), ratio


def largest_part(values: Array) -> tuple[int, float]:
    """Where the largest step of a curve begins, and its share in the sum of all steps.

    >>> largest_part(np.array([0.0, 1.0, 2.0, 6.0, 8.0]))
    (2, 0.5)
    """
    steps = np.abs(np.diff(values))
    at = int(np.argmax(steps))
    return at, float(steps[at] / steps.sum()) if steps.sum() > 0 else 0.0


def _flags(card: Card, forcing: Forcing, curves: Sequence[Curve]) -> list[Check]:
    found = []
    ranges = {name: limits for name, limits in card.domain.ranges.items() if name in forcing.static}
    for curve in curves:
        name = curve.axis.name
        if curve.axis.kind == "static" and name in ranges:
            flag = curve.flags.get(FLAG, np.zeros(len(curve.x), bool))
            others = any(
                ((np.asarray(forcing.static[n]) < low) | (np.asarray(forcing.static[n]) > high)).any()
                for n, (low, high) in ranges.items()
                if n != name
            )
            wrong = int((flag != (~curve.inside | others)).sum())
            what = f"points where '{FLAG}' is not what the card's range says"
            about = "" if FLAG in curve.flags else "the model gives no such flag"
            found.append(Check(curve.probe, curve.axis.label, "all", what, float(wrong), 0.0, wrong == 0, about))
            continue
        telling = [n for n, flag in curve.flags.items() if "domain" in n and flag.any() and not flag.all()]
        outside = int((~curve.inside).sum())
        if outside:
            raised = np.any([curve.flags[n] for n in telling], axis=0) if telling else np.zeros(len(curve.x), bool)
            what = "points outside the usual range without a domain flag"
            about = f"of {outside}; the card gives no range" + (f"; flags: {', '.join(telling)}" if telling else "")
            silent = float((~raised & ~curve.inside).sum())
            found.append(Check(curve.probe, curve.axis.label, "all", what, silent, None, None, about))
    return found


# --- tables ----------------------------------------------------------------------------------------------


def _tables(curves: Sequence[Curve], checks: Sequence[Check]) -> tuple[Table, ...]:
    if not curves:
        return ()
    words = {True: "pass", False: "FAIL", None: "-"}
    table = Table(
        "response_checks",
        "Responses: checks",
        ("place", "input", "of", "check", "number", "limit", "result", "about"),
        tuple((c.probe, c.axis, c.variable, c.what, c.number, c.limit, words[c.passed], c.about) for c in checks),
        in_text=False,
    )
    columns = ("place", "input", "value", "inside", *VARIABLES, "flags")
    lines = tuple(
        (
            *(curve.probe, curve.axis.label, float(x), int(curve.inside[i])),
            *(float(curve.values[v][:, i].mean()) if v in curve.values else None for v in VARIABLES),
            " ".join(sorted(n for n, flag in curve.flags.items() if flag[i])),
        )
        for curve in curves
        for i, x in enumerate(curve.x)
    )
    summary = Table(
        "response_summary",
        "Responses: checks that passed, and the worst number of each kind",
        ("check", "passed", "of", "worst", "limit", "where"),
        tuple(_summary(checks)),
    )
    failed = Table(
        "response_failures",
        "Responses: checks that failed",
        ("place", "input", "of", "check", "number", "limit", "about"),
        tuple((c.probe, c.axis, c.variable, c.what, c.number, c.limit, c.about) for c in checks if c.passed is False),
    )
    shown = (summary, failed) if failed.lines else (summary,)
    return (*shown, table, Table("responses", "Responses: curves, per year", columns, lines, in_text=False))


def _summary(checks: Sequence[Check]) -> list[tuple[str | float | int | None, ...]]:
    lines: list[tuple[str | float | int | None, ...]] = []
    for variable, what in dict.fromkeys((c.variable, c.what) for c in checks):
        of = [c for c in checks if (c.variable, c.what) == (variable, what)]
        worst = max(of, key=lambda c: c.number)
        judged = [c for c in of if c.passed is not None]
        name = what if variable == "all" else f"{variable}: {what}"
        passed = sum(bool(c.passed) for c in judged) if judged else None
        where = f"{worst.axis}, {worst.probe}" if worst.number > 0 else ""
        lines.append((name, passed, len(of), worst.number, worst.limit, where))
    return lines


def _notes(probes: Sequence[Probe], checks: Sequence[Check]) -> tuple[str, ...]:
    judged = [c for c in checks if c.passed is not None]
    units = ", ".join(f"{v} {VOCABULARY[v].unit_over('year').removesuffix(' yr-1')} yr-1" for v in VARIABLES)
    return (
        f"Responses: {sum(bool(c.passed) for c in judged)} of {len(judged)} checks pass. Probes: "
        + "; ".join(f"{p.name} ({p.title})" for p in probes)
        + ".",
        "Responses: one input is changed at a time and all others are kept, also those that go with it in nature. Soil "
        "properties hold from the spin-up on; weather, management and given GPP change after it. Curves are means of "
        f"two years ({units}). Given GPP is a multiple of the model's own.",
        "Responses, jump: the largest step with an end outside the trained range (the card's, else a usual one) is cut "
        f"into {PARTS} parts, and the part that holds most of it again, up to {ROUNDS} times; it is a jump where more "
        f"than {SHARE:.0%} of it stays in one part. Steps below {SMALL:.0%} of the curve's level inside are none.",
    )


__all__ = ["Answers", "Check", "Curve", "ResponseResult", "evaluate_responses", "largest_fall", "largest_part"]
