"""Verification of a statement: whether its signature fits, and whether the same numbers come out again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from fieldflux.app.problems import Refused, problem_of
from fieldflux.app.workspace import Workspace
from pydantic import ValidationError

from .asked import StatementAsk
from .rulesets import ruleset
from .signing import BadSignature, check
from .statement import KIND, Before, document, fields_of

if TYPE_CHECKING:
    from .land import Parcel

Outcome: TypeAlias = Literal["identical", "within_tolerance", "different", "not_recomputed"]

TOLERANCE = 1e-5
"""Largest difference that another machine's arithmetic may make: of a number, or of 1 where that is more."""
SHOWN = 50
_NOT_COMPARED = frozenset({"id", "version", "created", "name", "supersedes", "software", "signature", "in_words"})
_OWN = ("type", "id", "version", "created", "request", "model", "inputs", "ruleset", "fields", "total")


@dataclass(frozen=True, slots=True)
class Verified:
    """What became of a verification. signed: whether the signature fits; key: its kid. why: a sentence on each.

    differences: where, what is stated and what came out; the first of them, `count` in all.
    """

    signed: bool
    key: str | None
    why: str
    outcome: Outcome
    told: str
    origin: Mapping[str, bool]
    differences: Sequence[Mapping[str, Any]] = ()
    count: int = 0

    @property
    def good(self) -> bool:
        return self.signed and self.outcome in ("identical", "within_tolerance")

    def as_json(self) -> dict[str, Any]:
        return {
            "signature": {"ok": self.signed, "kid": self.key, "says": self.why},
            "recomputation": {
                "outcome": self.outcome,
                "says": self.told,
                "same": dict(self.origin),
                "differences": [dict(d) for d in self.differences],
                "difference_count": self.count,
            },
            "good": self.good,
        }


def check_form(said: Any) -> Mapping[str, Any]:
    """Raises Refused (invalid-request) for what is no statement."""
    if not isinstance(said, Mapping) or said.get("type") != KIND:
        raise Refused("invalid-request", f"This is no statement: its `type` is not '{KIND}'.")
    missing = [name for name in _OWN if name not in said]
    if missing:
        raise Refused("invalid-request", f"The statement lacks {', '.join(missing)}.")
    return said


def verified(
    said: Mapping[str, Any], keys: Sequence[Mapping[str, Any]], workspace: Workspace | None = None
) -> Verified:
    """Verify a statement. keys: that are trusted (JWK). workspace: where it is computed again; not where None."""
    try:
        key, why = str(check(said, keys)["kid"]), "The signature fits: nothing was changed since it was signed."
        signed = True
    except BadSignature as error:
        signed, key, why = False, None, str(error)
    if workspace is None:
        return Verified(signed, key, why, "not_recomputed", "It was not computed again.", {})
    origin: dict[str, bool] = {}
    try:
        again = computed_again(workspace, said, origin)
    except (KeyError, TypeError, AttributeError, ValidationError):
        return Verified(signed, key, why, "not_recomputed", "What was asked for cannot be read from it.", origin)
    except ValueError as error:
        if problem_of(error) is None:
            raise
        return Verified(signed, key, why, "not_recomputed", f"It cannot be computed again here: {error}", origin)
    found = list(differences(_compared(said), _compared(again)))
    far = [d for d in found if not d["near"]]
    outcome: Outcome = "different" if far else "within_tolerance" if found else "identical"
    changed = [name for name, same in origin.items() if not same]
    told = {
        "identical": "Every number came out again.",
        "within_tolerance": f"Every number came out again, within {TOLERANCE:g}.",
        "different": f"{len(far)} values came out otherwise.",
        "not_recomputed": "",
    }[outcome]
    if changed:
        told += f" Not the same here as when it was made: {', '.join(changed)}."
    shown = [{k: v for k, v in d.items() if k != "near"} for d in (far or found)[:SHOWN]]
    return Verified(signed, key, why, outcome, told, origin, shown, len(far or found))


def computed_again(workspace: Workspace, said: Mapping[str, Any], origin: dict[str, bool]) -> dict[str, Any]:
    """The statement, made again from what it says of itself. origin: gets what is as it was, by name.

    Raises Refused, and what `statement.document` raises; KeyError, TypeError and others for what is no statement.
    """
    model, cube = said["model"]["id"], said["inputs"]["cube"]
    ask = StatementAsk.model_validate({**said["request"], "features": fields_of(said), "model": model, "cube": cube})
    place = workspace.place(cube, model)
    store = workspace.store(place)
    origin["weights"] = place.card.weights_sha256 == said["model"]["weights_sha256"]
    origin["cube"] = place.cube.hash == said["inputs"]["cube_hash"]
    if said["inputs"]["snapshot"] is not None:
        origin["snapshot"] = store is not None and store.snapshot == said["inputs"]["snapshot"]
    rules = ruleset(ask.ruleset, workspace.settings.home)
    origin["ruleset"] = rules.sha256 == said["ruleset"]["sha256"]
    before = None
    if said["supersedes"] is not None:
        before = Before(said["supersedes"]["id"], said["supersedes"]["sha256"], int(said["version"]) - 1)
    again = document(workspace, ask, _land(workspace, ask, said), said["id"], said["created"], before)
    origin["software"] = again["software"] == said["software"]
    return again


def _land(workspace: Workspace, ask: StatementAsk, said: Mapping[str, Any]) -> list[Parcel]:
    from fieldflux.tiles.zonal import Limits

    from .land import parcels

    limits = workspace.settings.limits
    found = parcels(ask, Limits(limits.vertices, limits.area_km2), limits.statement_features, None, "")
    return [
        replace(parcel, external_id=f.get("external_id"), version=f.get("version"))
        for parcel, f in zip(found, said["fields"], strict=True)
    ]


def differences(stated: Any, found: Any, where: str = "") -> Iterator[dict[str, Any]]:
    """What differs between two documents, by its place (a JSON Pointer); `near`: numbers within the tolerance."""
    if isinstance(stated, Mapping) and isinstance(found, Mapping):
        for name in {**stated, **found}:
            yield from differences(stated.get(name), found.get(name), f"{where}/{name}")
    elif isinstance(stated, list | tuple) and isinstance(found, list | tuple) and len(stated) == len(found):
        for i, (one, other) in enumerate(zip(stated, found, strict=True)):
            yield from differences(one, other, f"{where}/{i}")
    elif stated != found:
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (stated, found))
        near = numbers and abs(stated - found) <= TOLERANCE * max(1.0, abs(stated))
        yield {"where": where, "stated": stated, "found": found, "near": near}


def _compared(said: Mapping[str, Any]) -> dict[str, Any]:
    """What has to come out again; the request may have named no model and no cube."""
    kept = {name: value for name, value in said.items() if name not in _NOT_COMPARED}
    request = {k: v for k, v in said["request"].items() if k not in ("model", "cube", "name")}
    # The hash of the request has them in it.
    return {**kept, "request": request, "request_sha256": None}
