"""Rulesets: what a methodology asks for, as data with a version, a date and the equations they come from.

Shipped ones lie beside this module; an operator's own ones are TOML files in `rulesets/` of the work folder.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

from fieldflux.app.problems import Refused

DEFAULT = "verra:VM0042@2.2"


@dataclass(frozen=True, slots=True)
class Ruleset:
    """A ruleset, as its file has it.

    to_co2e: tonnes of CO2 of a tonne of carbon. probability: of the one-sided quantile of the deduction.
    uses: use of a statement -> what it needs, see `evidence.lacking`. metrics: scores by which a card validates an
    effect. larger_of_both: whether the larger variance of the two ways counts.
    """

    id: str
    title: str
    effective: date
    source: str
    status: str
    to_co2e: float
    probability: float
    larger_of_both: bool
    uses: Mapping[str, tuple[str, ...]]
    metrics: tuple[str, ...]
    sha256: str
    content: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """What a statement says of it."""
        return {
            "id": self.id,
            "title": self.title,
            "effective": self.effective.isoformat(),
            "source": self.source,
            "status": self.status,
            "sha256": self.sha256,
        }


def rulesets(home: Path | None = None) -> dict[str, Ruleset]:
    """All rulesets by their ids; those of the work folder beside the shipped ones, which keep their ids.

    Raises Refused (bad-ruleset) for a file that is none.
    """
    found: dict[str, Ruleset] = {}
    for name, content in _contents(home):
        read = _read(name, content)
        found.setdefault(read.id, read)
    return found


def ruleset(name: str, home: Path | None = None) -> Ruleset:
    """Raises Refused (unknown-ruleset)."""
    known = rulesets(home)
    if name not in known:
        raise Refused(
            "unknown-ruleset", f"There is no ruleset '{name[:60]}'. There are: {', '.join(known)}.", allowed=list(known)
        )
    return known[name]


def _contents(home: Path | None) -> Iterator[tuple[str, bytes]]:
    shipped = [entry for entry in (files("fieldflux.app.carbon") / "rules").iterdir() if entry.name.endswith(".toml")]
    for entry in sorted(shipped, key=lambda e: e.name):
        yield entry.name, entry.read_bytes()
    if home is not None:
        for path in sorted((home / "rulesets").glob("*.toml")):
            yield path.name, path.read_bytes()


def _read(name: str, content: bytes) -> Ruleset:
    try:
        said = tomllib.loads(content.decode())
        carbon, heavy = said["conversion"]["tco2e_per_tc"][1], said["conversion"]["tco2e_per_tc"][0]
        over, under = said["deduction"]["probability"]
        probability = over / under
        if not (0.5 < probability < 1.0 and heavy > carbon > 0):
            raise ValueError("the probability of the deduction lies between 1/2 and 1, and CO2 outweighs carbon")
        effective = date.fromisoformat(said["effective"])
        return Ruleset(
            said["id"],
            said["title"],
            effective,
            said["source"],
            said["status"],
            heavy / carbon,
            probability,
            bool(said["model_error"]["larger_of_both"]),
            {use: tuple(needs) for use, needs in said["uses"].items()},
            tuple(said["validation"]["metrics"]),
            hashlib.sha256(content).hexdigest(),
            said,
        )
    except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise Refused(
            "bad-ruleset", f"The ruleset {name} cannot be used: {what}. Compare it with a shipped one."
        ) from error
