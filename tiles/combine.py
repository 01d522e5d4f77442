"""The sum over many polygons: means, totals and crops of all their land, each piece of it counted once, and how sure.

Amounts add up: a mean is weighted by the area that has values, a total is the sum of the totals. Intervals do not:
errors of different fields hang together. Where they are the members' spread, each member is summed over the fields
before the spread is taken. Where they are calibrated on held-out sites, half widths are put together by how alike the
errors of two places were found to be (`IntervalRule.between`); where that was not measured they are added up, as if
all fields erred together. The width is then never below that of independent errors, nor above that of common ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import shapely
from fieldflux.models.card import Between, Card
from fieldflux.models.correlation import common, independent, over_places

from .aggregate import Floats, Values
from .series import CropShare, Series
from .shape import Shape
from .zonal import Coverage, geodesic_area_ha

How: TypeAlias = Literal["common", "measured", "members"]

LEAST_HA = 1e-4
"""Two outlines overlap by more than this, or only meet along an edge: 1 m2."""


@dataclass(frozen=True, slots=True)
class Together:
    """How the errors of fields were put together, of one variable: how, and the evidence where there is any."""

    how: How
    between: Between | None = None

    def sentence(self) -> str:
        """What a reader should know of it."""
        if self.how == "members":
            return "Each member of the ensemble is summed over the fields first; the interval is of these sums."
        if self.between is None:
            return (
                "Errors of all fields are taken to be the same, the careful end: how alike they are was not measured "
                "(or not by enough years, or not for this level). The half widths of the fields are added up."
            )
        classes = ", ".join(
            f"{rho:.2f} from {km:g} km on ({n} pairs of {years} years)"
            for km, rho, n, years in zip(
                self.between.from_km, self.between.correlation, self.between.pairs, self.between.years, strict=True
            )
        )
        return (
            f"Correlation of errors by distance: {classes}, the upper end of what was measured on {self.between.data}; "
            f"nearer fields are taken to err together."
        )


@dataclass(frozen=True, slots=True)
class Hows:
    """By variable with intervals: how the errors of fields were put together over steps, and over all the time."""

    steps: Mapping[str, Together]
    period: Mapping[str, Together]


def counted_once(shapes: Sequence[Shape]) -> list[Shape | None]:
    """What of each polygon no earlier one covers: itself where they do not overlap, None where nothing is left."""
    outlines = np.array([shape.geometry for shape in shapes], dtype=object)
    one, other = shapely.STRtree(outlines).query(outlines, predicate="intersects")
    found: list[Shape | None] = list(shapes)
    for k in np.unique(one[other < one]).tolist():
        earlier = shapely.union_all(outlines[other[(one == k) & (other < k)]])
        if geodesic_area_ha(_areas(shapely.intersection(outlines[k], earlier))) > LEAST_HA:
            rest = _areas(shapely.difference(outlines[k], earlier))
            found[k] = Shape(rest, shapes[k].flags) if geodesic_area_ha(rest) > LEAST_HA else None
    return found


def _areas(geometry: Any) -> Any:
    """Its polygons alone, without the lines and points where outlines touch."""
    return shapely.union_all([g for g in shapely.get_parts(geometry) if shapely.get_dimensions(g) == 2])


def combined(found: Sequence[Series], places: Floats, card: Card) -> tuple[Series, Hows]:
    """One series of all of the same question, in the units that they have; and how its intervals were made.

    found: of polygons that do not overlap (`counted_once`), one or more. places: [F, 2] longitude, latitude.
    A step's value is of the fields that have one; `valid_fraction` tells of how much of the land that is.
    Statistics over cells are not put together. A series alone is itself.
    """
    first = found[0]
    covered = np.array([s.coverage.covered_m2 for s in found])
    parts = [(s.values, s.annual, s.summary) for s in found]
    each = [{name: [of[k][name] for of in parts] for name in parts[0][k]} for k in range(3)]
    hows = [{name: how for name, v in of.items() if (how := _how(v, card, first.request.level))} for of in each]
    told = Hows({**hows[0], **hows[1]}, hows[2])
    if len(found) == 1:
        return first, told
    values, annual, summary = (
        {name: _summed(v, covered, places, how.get(name), card) for name, v in of.items()}
        for of, how in zip(each, hows, strict=True)
    )
    whole = replace(
        first,
        request=replace(first.request, geometry=None),
        coverage=_land([s.coverage for s in found]),
        values=values,
        annual=annual,
        summary=summary,
        crops=_crops(found, covered),
        from_store=tuple(sorted({year for s in found for year in s.from_store})),
        computed=tuple(sorted({year for s in found for year in s.computed})),
        flags=tuple(dict.fromkeys(flag for s in found for flag in s.flags)),
        flagged={year: _flagged([s.flagged.get(year) for s in found], covered) for year in first.years},
    )
    return whole, told


def _how(each: Sequence[Values], card: Card, level: float) -> Together | None:
    """None where there are no intervals."""
    bases = {b for v in each for b in v.basis}
    if not bases:
        return None
    if all(b.method != "conformal" for b in bases):
        return Together("members")
    rules = card.intervals.get(each[0].variable, {})
    betweens = [rules[b.rule].between if b.rule in rules else None for b in bases]
    one = betweens[0]
    if one is not None and level in one.levels and all(b == one for b in betweens):
        return Together("measured", one)
    return Together("common")


def _summed(each: Sequence[Values], covered: Floats, places: Floats, how: Together | None, card: Card) -> Values:
    value = np.stack([v.value for v in each])
    there = ~np.isnan(value)
    weight = np.where(there, covered[:, None] * np.stack([v.valid_fraction for v in each]), 0.0)
    area = weight.sum(axis=0)
    fraction, days = area / covered.sum(), np.stack([v.valid_days for v in each])
    mean = _over(np.where(there, weight * value, 0.0).sum(axis=0), area)
    totals = None if each[0].total is None else np.stack([np.asarray(v.total) for v in each])
    total = None if totals is None else np.where(area > 0, np.nansum(totals, axis=0), np.nan)
    made = replace(
        each[0],
        value=mean,
        valid_fraction=np.where(fraction > 1 - 1e-9, 1.0, fraction),
        low=None,
        high=None,
        total=total,
        total_low=None,
        total_high=None,
        basis=(),
        # Full where all are, none where none has any.
        valid_days=np.where(days.max(axis=0) > 0, np.maximum(days.min(axis=0), 1), 0),
        statistics={},
        members=None,
    )
    if how is None or not all(v.low is not None or _sure(v, card) for v in each):
        return made
    share = _share_of_members(each, weight) if how.how == "members" else None

    def half(ends: Sequence[Floats | None], of: Floats, by: Floats | float) -> Floats:
        """Half the width of the sum below or above: the ends of each field, None where nothing is unsure."""
        arms = np.stack([np.zeros(of.shape[1]) if e is None else np.abs(e - v) for e, v in zip(ends, of, strict=True)])
        arms = np.where(there, arms * by, 0.0)
        if share is not None:
            return np.asarray(np.maximum(arms.sum(axis=0) * share, over_places(arms, places, independent)))
        return over_places(arms, places, common if how.between is None else how.between.at)

    low, high = (_over(half(ends, value, weight), area) for ends in ([v.low for v in each], [v.high for v in each]))
    made = replace(
        made, low=np.round(mean - low, 9), high=np.round(mean + high, 9), basis=next(v.basis for v in each if v.basis)
    )
    if total is not None and totals is not None:
        below = half([v.total_low for v in each], totals, 1.0)
        above = half([v.total_high for v in each], totals, 1.0)
        made = replace(made, total_low=total - below, total_high=total + above)
    return made


def _over(amount: Floats, area: Floats) -> Floats:
    """Amount per area, NaN where there is none; to 9 decimals, far below what a figure is rounded to."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.round(np.where(area > 0, amount / area, np.nan), 9) + 0.0)


def _sure(v: Values, card: Card) -> bool:
    """Whether a field without an interval adds no error: it has no value, or nothing stands there and that is sure."""
    rules = card.intervals.get(v.variable, {}).values()
    known = v.value[~np.isnan(v.value)]
    return not known.size or (bool(rules) and all(r.zero_is_sure for r in rules) and not known.any())


def _share_of_members(each: Sequence[Values], weight: Floats) -> Floats:
    """[T] spread of the members' sums over the fields, as a share of the sum of their spreads."""
    nothing = np.zeros_like(next(v.members for v in each if v.members is not None))
    members = np.stack([nothing if v.members is None else v.members for v in each])
    amounts = np.where(weight[:, None] > 0, weight[:, None] * members, 0.0)
    apart = amounts.std(axis=1, ddof=1).sum(axis=0)
    together = amounts.sum(axis=0).std(axis=0, ddof=1)
    return np.asarray(np.divide(together, apart, out=np.ones_like(apart), where=apart > 0))


def _land(covers: Sequence[Coverage]) -> Coverage:
    """The land of all of them; a cell that several have a part of is one."""
    first = covers[0]
    at = np.concatenate([np.stack([c.rows, c.cols], axis=1) for c in covers])
    cells, which = np.unique(at, axis=0, return_inverse=True)
    fraction = np.zeros(len(cells))
    np.add.at(fraction, which.ravel(), np.concatenate([c.fraction for c in covers]))
    return replace(
        first,
        rows=cells[:, 0],
        cols=cells[:, 1],
        fraction=fraction,
        area_m2=sum(c.area_m2 for c in covers),
        inside_m2=sum(c.inside_m2 for c in covers),
        covered_m2=sum(c.covered_m2 for c in covers),
        geodesic_area_ha=sum(c.geodesic_area_ha for c in covers),
        flags=tuple(dict.fromkeys(flag for c in covers for flag in c.flags)),
        key="",
    )


def _crops(found: Sequence[Series], covered: Floats) -> tuple[CropShare, ...]:
    """Crops on all the land, by year, largest share first; a yield is the mean of those there are, by area."""
    parts: dict[tuple[int, int], list[tuple[float, CropShare]]] = {}
    for area, one in zip(covered.tolist(), found, strict=True):
        for share in one.crops:
            parts.setdefault((share.year, share.code), []).append((area, share))
    made = [_crop(each, float(covered.sum())) for each in parts.values()]
    return tuple(sorted(made, key=lambda c: (c.year, -c.fraction)))


def _crop(parts: Sequence[tuple[float, CropShare]], covered: float) -> CropShare:
    one = parts[0][1]
    grown = [(area * share.valid, share) for area, share in parts if share.yield_carbon is not None]
    valid = sum(area for area, _ in grown)

    def mean(name: str) -> float | None:
        each = [(area, getattr(share, name)) for area, share in grown]
        if not valid or any(value is None for _, value in each):
            return None
        return round(float(sum(area * value for area, value in each)) / valid, 4)

    return CropShare(
        one.year,
        one.code,
        one.name,
        round(sum(area * share.fraction for area, share in parts) / covered, 6),
        mean("yield_carbon"),
        mean("t_ha"),
        mean("bu_ac"),
        valid / covered,
    )


def _flagged(each: Sequence[Mapping[str, float] | None], covered: Floats) -> dict[str, float] | None:
    """Share of the land that the model flagged, of each flag; None where that of a field is not known."""
    known = [of_year for of_year in each if of_year is not None]
    if len(known) < len(each):
        return None
    names = sorted({name for of_year in known for name in of_year})
    shares = {name: np.array([of_year.get(name, 0.0) for of_year in known]) for name in names}
    return {name: float(share @ covered / covered.sum()) for name, share in shares.items()}
