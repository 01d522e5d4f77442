"""A statement as CSV for registries: a row for each field, and the row that counts, of all of them together."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

COLUMNS: tuple[str, ...] = (
    *("statement", "version", "supersedes", "created", "sha256", "row", "field", "external_id", "field_version"),
    *("geometry_sha256", "area_ha", "covered_ha", "complete", "kind", "first", "last", "years", "use_class"),
    *("baseline_tco2e", "project_tco2e", "delta_soc_tc", "delta_soc_tco2e", "standard_error_tco2e", "level"),
    *("low_tco2e", "high_tco2e", "t", "unc", "left_tco2e", "outside_domain", "flags", "model", "weights_sha256"),
    *("cube", "cube_hash", "snapshot", "synthetic", "ruleset", "software", "commit", "credits_issued"),
)


def as_csv(said: Mapping[str, Any]) -> str:
    """Errors of fields do not add up to that of all: only the last row, `total`, may be summed with other statements'.

    Empty where there is nothing to tell. Raises KeyError for what is no statement.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    shared = _shared(said)
    for f in said["fields"]:
        writer.writerow(
            {
                **shared,
                "row": "field",
                "field": _cell(f["id"]),
                "external_id": _cell(f["external_id"]),
                "field_version": f["version"],
                "geometry_sha256": f["geometry_sha256"],
                "complete": str(f["complete"]).lower(),
                "outside_domain": f["outside_domain"],
                "flags": " ".join([*f["flags"], *f["model_flags"]]),
                **_numbers(f),
            }
        )
    total = said["total"]
    cut = total["deduction_inputs"]
    whole = {"t": cut["t"], "unc": cut["unc"], "left_tco2e": cut["left_tco2e"]}
    complete = str(all(f["complete"] for f in said["fields"])).lower()
    writer.writerow({**shared, "row": "total", "complete": complete, **_numbers(total), **whole})
    return text.getvalue()


def _shared(said: Mapping[str, Any]) -> dict[str, Any]:
    period, inputs = said["period"], said["inputs"]
    return {
        "statement": said["id"],
        "version": said["version"],
        "supersedes": (said["supersedes"] or {}).get("id"),
        "created": said["created"],
        "sha256": said["signature"]["sha256"],
        "kind": said["kind"],
        "first": period.get("first"),
        "last": period.get("last"),
        "years": period["years"],
        "use_class": said["use_class"],
        "model": said["model"]["id"],
        "weights_sha256": said["model"]["weights_sha256"],
        "cube": inputs["cube"],
        "cube_hash": inputs["cube_hash"],
        "snapshot": inputs["snapshot"],
        "synthetic": str(inputs["synthetic"]).lower(),
        "ruleset": said["ruleset"]["id"],
        "software": said["software"]["version"],
        "commit": said["software"]["commit"],
        "credits_issued": 0,
    }


def _numbers(of: Mapping[str, Any]) -> dict[str, Any]:
    interval = of["interval"]
    return {
        "area_ha": of["area_ha"],
        "covered_ha": of["covered_ha"],
        "baseline_tco2e": of.get("baseline", {}).get("tco2e"),
        "project_tco2e": of.get("project", {}).get("tco2e"),
        "delta_soc_tc": of["delta_soc"]["tc"],
        "delta_soc_tco2e": of["delta_soc"]["tco2e"],
        "standard_error_tco2e": of["standard_error"]["tco2e"],
        "level": interval["level"],
        "low_tco2e": interval["low"]["tco2e"],
        "high_tco2e": interval["high"]["tco2e"],
    }


def _cell(given: Any) -> Any:
    """Text that no spreadsheet takes for a formula."""
    return f"'{given}" if isinstance(given, str) and given[:1] in "=+-@\t\r" else given
