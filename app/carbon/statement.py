"""The document of a statement: its numbers, what they rest on, and in words what they are not."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from typing import Any

from fieldflux.app.problems import Refused
from fieldflux.app.workspace import Workspace

from .asked import StatementAsk, period_of
from .evidence import lacking, skill_of
from .figures import Account, Figures, account, card_of
from .land import Parcel
from .rulesets import Ruleset, ruleset
from .signing import canonical
from .uncertainty import Correlation, deducted, effective_number, of_members

KIND = "fieldflux/carbon-statement"
FORMAT = 1
QUANTUM = 6
"""Decimals of tonnes: what the numbers are rounded to before they are signed."""


@dataclass(frozen=True, slots=True)
class Before:
    """The statement that another one corrects. version: how many it was."""

    id: str
    sha256: str
    version: int


def check_use(workspace: Workspace, ask: StatementAsk, rules: Ruleset) -> None:
    """Refuse a use that the model or the inputs are no evidence for, before anything is computed.

    Raises Refused (use-not-supported), with what is lacking.
    """
    card = card_of(workspace, ask)
    place = workspace.place(ask.cube, card.id)
    paired = ask.scenario is not None
    changed = ask.scenario.changed() if ask.scenario else []
    yields = not paired and "yield" in card.outputs
    without = lacking(card, rules, ask.use_class, changed, place.cube.synthetic, paired, yields)
    if without:
        allowed = [u for u in rules.uses if not lacking(card, rules, u, changed, place.cube.synthetic, paired, yields)]
        raise Refused(
            "use-not-supported",
            f"A statement with {card.id} cannot be used as '{ask.use_class}' under {rules.id}: {' '.join(without)} "
            f"It can be used as: {', '.join(allowed)}.",
            lacking=without,
            allowed=allowed,
        )


def document(
    workspace: Workspace, ask: StatementAsk, land: Sequence[Parcel], id: str, created: str, before: Before | None = None
) -> dict[str, Any]:
    """A statement, without its signature. Raises Refused, NotYet, and what series and scenarios raise."""
    rules = ruleset(ask.ruleset, workspace.settings.home)
    check_use(workspace, ask, rules)
    found = account(workspace, ask, land)
    card, cube = found.place.card, found.place.cube
    correlation = ask.correlation.correlation()
    said: dict[str, Any] = {
        "type": KIND,
        "format": FORMAT,
        "id": id,
        "version": 1 if before is None else before.version + 1,
        "created": created,
        "name": ask.name,
        "supersedes": None if before is None else {"id": before.id, "sha256": before.sha256, "reason": ask.reason},
        "use_class": ask.use_class,
        "in_words": _words(ask, found, rules),
        "kind": "scenario" if ask.scenario else "period",
        "period": _period(ask),
        "request": _request(ask),
        "model": {
            "id": card.id,
            "title": card.title,
            "weights_sha256": card.weights_sha256,
            "commit": card.commit,
            "members": card.members,
            "licence": card.licence,
            "skill": skill_of(card).as_json(card),
            "domain": card.domain.model_dump(mode="json"),
            "known_faults": list(card.known_faults),
        },
        "inputs": {
            "cube": cube.id,
            "cube_hash": cube.hash,
            "record": [day.isoformat() for day in cube.record],
            "synthetic": cube.synthetic,
            "statement": cube.statement,
            "licence": cube.licence,
            "snapshot": found.snapshot,
            "origin": list(found.origin),
        },
        "ruleset": rules.as_json(),
        "software": dict(software()),
        "units": {
            "tc": "t C",
            "tco2e": f"t CO2e, t C x {rules.to_co2e:.6f}; variances by its square",
            "sign": "positive: the soil gains, and a project is better than its baseline",
        },
        "correlation": {
            **ask.correlation.model_dump(mode="json"),
            "says": "Taken, not measured: by itself the cautious end. `total.sensitivity` tells what others give.",
        },
        "fields": [_field(f, rules, correlation, ask.level) for f in found.fields],
        "notes": {flag: note for f in found.fields for flag, note in f.notes.items()},
        "total": _total(found, ask, rules, correlation),
    }
    said["request_sha256"] = hashlib.sha256(
        canonical(
            [
                said["request"],
                [p.sha256 for p in land],
                card.id,
                card.weights_sha256,
                cube.hash,
                found.snapshot,
                rules.sha256,
            ]
        )
    ).hexdigest()
    return said


@cache
def software() -> dict[str, str]:
    """Version and commit of the program, as they were when this process first asked: a working tree may move on."""
    from fieldflux.tiles.manifest import code_version

    name, _, commit = code_version().partition("+")
    return {
        "name": "fieldflux",
        "version": name,
        "commit": commit,
        "numpy": version("numpy"),
        "torch": version("torch"),
    }


def _request(ask: StatementAsk) -> dict[str, Any]:
    """What was asked; the land stands in `fields`."""
    left_out = {"geometry", "features", "fields", "supersedes", "reason"}
    said = ask.model_dump(mode="json", exclude=left_out, exclude_none=True)
    return {name: value for name, value in said.items() if value != ""}


def _period(ask: StatementAsk) -> dict[str, Any]:
    if ask.scenario is not None:
        return {"years": ask.scenario.years, "from": "the present, under whose management the soil is taken to rest"}
    assert ask.years is not None
    first, last = period_of(ask.years)
    return {"first": first.isoformat(), "last": last.isoformat(), "years": last.year - first.year + 1}


def _field(f: Figures, rules: Ruleset, correlation: Correlation, level: float) -> dict[str, Any]:
    error = f.error(correlation)
    parcel = f.parcel
    said: dict[str, Any] = {
        "index": parcel.index,
        "id": parcel.id,
        "external_id": parcel.external_id,
        "version": parcel.version,
        "geometry_sha256": parcel.sha256,
        "geometry": dict(parcel.geometry),
        "area_ha": round(f.area_ha, 4),
        "covered_ha": round(f.covered_ha, 4),
        "coverage": round(f.coverage, 6),
        "cell_count": f.cells,
        "valid_fraction": round(f.valid, 6),
        "complete": f.coverage > 1 - 1e-6 and f.valid > 1 - 1e-6,
        "flags": list(f.flags),
        "model_flags": dict(f.shares),
        "outside_domain": round(f.shares.get("outside_domain", 0.0), 6),
        "delta_soc": _both(f.gain, rules),
        "standard_error": _both(error, rules),
        "interval": _interval(f.gain, error, level, rules),
    }
    if f.baseline is not None and f.project is not None and f.stock is not None:
        said |= {
            "stock_now": {"tc": _q(f.stock)},
            "baseline": _both(f.baseline, rules),
            "project": _both(f.project, rules),
            "yields": None,
        }
    else:
        said |= {"yields": [dict(y) for y in f.yields] or None, "crops": [dict(crop) for crop in f.crops]}
    return said


def _total(found: Account, ask: StatementAsk, rules: Ruleset, correlation: Correlation) -> dict[str, Any]:
    import numpy as np

    gain, aware, printed = found.gain, found.error(correlation), found.printed_error(correlation)
    model = max(aware, printed) if rules.larger_of_both else aware
    sampling = ask.sampling
    variance = (model * rules.to_co2e) ** 2 + (sampling.variance_tco2e2 if sampling else 0.0)
    error = float(np.sqrt(variance)) / rules.to_co2e
    cut = deducted(gain * rules.to_co2e, error * rules.to_co2e, rules.probability, sampling.df if sampling else None)
    years = ask.scenario.years if ask.scenario else len(set(ask.years or ()))
    told = np.array([f.error(correlation) for f in found.fields])
    said: dict[str, Any] = {
        "fields": len(found.fields),
        "area_ha": _q(sum(f.area_ha for f in found.fields)),
        "covered_ha": _q(sum(f.covered_ha for f in found.fields)),
        "variable": found.variable,
        "delta_soc": _both(gain, rules),
        "per_year": _both(gain / years, rules),
        "per_ha_and_year": _both(gain / years / max(sum(f.covered_ha * f.valid for f in found.fields), 1e-9), rules),
        "standard_error": _both(error, rules),
        "interval": _interval(gain, error, ask.level, rules),
        "variance": {
            "unit": "tCO2e squared",
            "model": _q((model * rules.to_co2e) ** 2),
            "sampling": _q(sampling.variance_tco2e2) if sampling else None,
            "model_by_correlation": _q((aware * rules.to_co2e) ** 2),
            "model_as_eq_64": _q((printed * rules.to_co2e) ** 2),
            "of_the_ensemble_alone": _q((of_members(found.members) * rules.to_co2e) ** 2),
            "basis": list(found.basis),
        },
        "effective_fields": _q(effective_number(told, aware)),
        "sensitivity": _sensitivity(found, correlation, rules),
        "deduction_inputs": {
            "says": "Inputs of a deduction (Eq 74), for the project's own account. Nothing is credited here.",
            "probability": round(rules.probability, 9),
            "df": sampling.df if sampling else None,
            "t": round(cut.t, 6),
            "unc": None if cut.unc is None else round(cut.unc, 6),
            "left_tco2e": _q(cut.left),
            "left_tco2e_per_year": _q(cut.left / years),
        },
    }
    if ask.scenario is not None:
        said |= {
            "baseline": _both(sum(f.baseline or 0.0 for f in found.fields), rules),
            "project": _both(sum(f.project or 0.0 for f in found.fields), rules),
        }
    return said


def _sensitivity(found: Account, correlation: Correlation, rules: Ruleset) -> list[dict[str, Any]]:
    """What other correlations would give: data rarely tell which is right."""
    tried = [("fields", rho) for rho in (0.0, 0.3, 1.0)] + [("years", 0.0), ("years", 1.0)]
    tried += [("scenarios", rho) for rho in (0.0, 0.5, 0.9)] if found.changed else []
    rows = []
    for name, rho in tried:
        error = found.error(replace(correlation, **{name: rho}))
        rows.append({"correlation": name, "value": rho, "standard_error_tco2e": _q(error * rules.to_co2e)})
    return rows


def _words(ask: StatementAsk, found: Account, rules: Ruleset) -> list[str]:
    card, cube = found.place.card, found.place.cube
    words = [
        "No credits are issued by this statement, and none follow from it: it holds modelled numbers and what they "
        "rest on, for those who account for a project and those who verify it.",
        skill_of(card).sentence(card),
    ]
    if cube.synthetic:
        words.append(f"The inputs are synthetic ({cube.statement}): the numbers are of no real place.")
    if ask.use_class == "planning":
        words.append("It may be used for planning alone.")
    if ask.scenario is not None:
        words.append(
            "Both scenarios start from a soil at rest under its present management; a soil that gains or loses at "
            "present does not stand so. Climate and carbon input are the means of the record in both."
        )
        words.append(f"{card.id} gives no yields: leakage by a decline of production cannot be told from it.")
    else:
        words.append(
            "It is what the model says of years that have been. There is no baseline: it is no reduction and no "
            "removal. The change is of all carbon in soil and residue, to any depth."
        )
    words.append(
        "The model ran on cells of 250 m, each counted by the part of it that a field covers, not at points of "
        "sampling: for VM0042 that is a deviation which has to be shown to be conservative."
    )
    if ask.sampling is None:
        words.append("The variance of soil sampling is not in it.")
    words.append("N2O, CH4, fuel, lime, leakage and permanence are not in it.")
    if any(f.shares.get("outside_domain", 0.0) > 0 for f in found.fields):
        words.append("Parts of the land lie outside the range that the model was made for: see `outside_domain`.")
    if any(f.coverage < 1 - 1e-6 or f.valid < 1 - 1e-6 for f in found.fields):
        words.append(
            "Parts of the land have no values and are not counted: see `complete`, `coverage`, `valid_fraction`."
        )
    if rules.status:
        words.append(f"{rules.id}: {rules.status}")
    return words


def _both(tonnes: float, rules: Ruleset) -> dict[str, float]:
    return {"tc": _q(tonnes), "tco2e": _q(tonnes * rules.to_co2e)}


def _interval(gain: float, error: float, level: float, rules: Ruleset) -> dict[str, Any]:
    from .uncertainty import quantile

    half = quantile(0.5 + level / 2, None) * error
    low, high = _both(gain - half, rules), _both(gain + half, rules)
    return {"level": level, "low": low, "high": high, "basis": "normal, by the standard error"}


def _q(value: float) -> float:
    # No minus zero: it is written as 0.
    return round(float(value), QUANTUM) + 0.0


def fields_of(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The land of a statement as GeoJSON Features, to ask for it again."""
    return [{"type": "Feature", "id": f["id"], "properties": {}, "geometry": f["geometry"]} for f in said["fields"]]
