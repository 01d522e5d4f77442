"""The numbers of a statement over a period of the record: yearly changes of each field, their errors and yields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from fieldflux.app.problems import Refused
from fieldflux.models.card import Card
from fieldflux.models.variables import VARIABLES
from numpy.typing import NDArray

from .asked import StatementAsk
from .evidence import CHANGE, skill_of
from .figures import Z90, Account, Figures, NotYet, at, card_of, without
from .land import Parcel, refused

if TYPE_CHECKING:
    from fieldflux.app.collection import Feature
    from fieldflux.app.workspace import Place, Workspace

Floats = NDArray[np.float64]


def of_period(workspace: Workspace, ask: StatementAsk, found: Sequence[Parcel]) -> Account:
    """Work them out. Raises Refused, NotYet, and what series raise."""
    from fieldflux.app.ask import Ask
    from fieldflux.app.collection import collection, features_of

    card = card_of(workspace, ask)
    names = (CHANGE, *(("yield",) if "yield" in card.outputs else ()))
    series = Ask(
        features=tuple(parcel.feature for parcel in found),
        years=ask.years,
        variables=names,
        step="year",
        level=0.9,
        cube=ask.cube,
        model=card.id,
    )
    asked = collection(workspace, series, most=len(found))
    features = features_of(asked)
    late = [f for f in features if f.problem and f.problem.kind.slug == "not-computed-yet"]
    if late and late[0].problem:
        raise NotYet(late[0].problem.detail, asked, sorted({chunk for f in late for chunk in f.chunks}))
    failed = [
        {"index": p.index, "id": p.id, "problem": f.problem.body(at(p))}
        for p, f in zip(found, features, strict=True)
        if f.problem is not None
    ]
    if failed and ask.geometry is not None and (alone := features[0].problem):
        raise Refused(alone.kind.slug, alone.detail, **alone.members)
    if failed:
        raise refused(failed)
    error, conformal = skill_of(card).error, _has_rule(features)
    accounts, rejected = [], []
    for parcel, feature in zip(found, features, strict=True):
        made = _of_period(parcel, feature, asked.place, 0.0 if conformal or error is None else error)
        if made is None:
            rejected.append(without(parcel, f"it has years without a value of {VARIABLES[CHANGE].long_name}"))
        else:
            accounts.append(made)
    if rejected:
        raise refused(rejected)
    first = next(f.series for f in features if f.series is not None)
    return Account(
        asked.place,
        tuple(accounts),
        CHANGE,
        _period_basis(card, conformal),
        tuple(sorted({f.series.origin for f in features if f.series is not None})),
        first.snapshot or None,
    )


def _has_rule(features: Sequence[Feature]) -> bool:
    """Whether all intervals rest on held-out sites."""
    values = [f.series.annual[CHANGE] for f in features if f.series is not None]
    return all(v.basis and all(b.method == "conformal" for b in v.basis) for v in values)


def _period_basis(card: Card, conformal: bool) -> tuple[str, ...]:
    if conformal:
        rule = card.intervals[CHANGE]["year"]
        kept = "" if rule.reaches(0.9) else " Too few for 90 %: the largest of their scores is taken."
        return (f"Half the 90 % interval of each year / {Z90:.4f}; calibrated at {rule.groups} held-out groups.{kept}",)
    spread = f"The spread of {card.members} members in each year."
    skill = skill_of(card)
    if skill.error is None:
        return (spread, "No error against measurements: the card has none, so the standard error is too small.")
    return (spread, f"{skill.error:.4g} gC m-2 in each year, the largest RMSE on the card ({skill.split}).")


def _of_period(parcel: Parcel, feature: Feature, place: Place, error: float) -> Figures | None:
    from fieldflux.app.answer import as_answer

    assert feature.series is not None
    series, body = feature.series, as_answer(place, feature.series)
    v, cover = series.annual[CHANGE], series.coverage
    if v.total is None or not np.isfinite(v.total).all():
        return None
    spread = np.zeros(len(v.total))
    if v.total_low is not None and v.total_high is not None:
        spread = (v.total_high - v.total_low) / (2 * Z90)
    told = error * cover.covered_m2 * v.valid_fraction / 1e6
    yields: list[Mapping[str, Any]] = []
    if "yield" in series.annual:
        of = series.annual["yield"]
        ends = (of.total, of.total_low, of.total_high)
        yields = [
            {"year": year, **{end: _tonnes(column, i) for end, column in zip(("tc", "low", "high"), ends, strict=True)}}
            for i, year in enumerate(series.years)
        ]
    return Figures(
        parcel,
        float(v.total.sum()),
        np.hypot(spread, told),
        np.empty(0),
        cover.geodesic_area_ha,
        cover.covered_m2 / 1e4,
        cover.covered_fraction,
        cover.cells,
        float(v.valid_fraction.min()),
        tuple(flag for flag in body["flags"] if flag not in body["model_flags"]),
        dict(zip(body["flags"], body["notes"], strict=True)),
        {name: told["share"] for name, told in body["model_flags"].items()},
        yields=yields,
        crops=body["crops"],
    )


def _tonnes(column: Floats | None, at: int) -> float | None:
    return None if column is None or not np.isfinite(column[at]) else round(float(column[at]), 6)
