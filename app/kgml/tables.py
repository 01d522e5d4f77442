"""Tables of experiments: text for people, CSV for programs."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from .sums import Sums, total

Result = dict[str, Any]
Score = Literal["r2", "rmse", "bias"]


def sums_in(result: Result, variable: str, gpp: str) -> Sums:
    """A result's sums of one variable over all its places."""
    rows = [row for row in result["rows"] if (row["variable"], row["gpp"]) == (variable, gpp)]
    return total(Sums(**row["sums"]) for row in rows)


def places_in(result: Result, variable: str, gpp: str) -> list[Sums]:
    """The same of each place apart."""
    rows = [row for row in result["rows"] if (row["variable"], row["gpp"]) == (variable, gpp)]
    places = dict.fromkeys(row["place"] for row in rows)
    return [total(Sums(**row["sums"]) for row in rows if row["place"] == place) for place in places]


def variables_in(results: Sequence[Result]) -> list[tuple[str, str]]:
    """(variable, GPP) that results have rows of, in the order of their first appearance."""
    return list(dict.fromkeys((row["variable"], row["gpp"]) for r in results for row in r["rows"]))


def spread(results: Sequence[Result], variable: str, gpp: str, score: Score) -> tuple[float, ...]:
    """A score (of all replicates' days together, least and greatest of one replicate)."""
    each = [sums_in(r, variable, gpp) for r in results]
    of_each = [float(getattr(one, score)) for one in each if one.n]
    return (float(getattr(total(each), score)), min(of_each), max(of_each)) if of_each else (float("nan"),) * 3


def write_csv(path: Path, head: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    """A CSV file; numbers with four digits."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows([f"{v:.4g}" if isinstance(v, float) else v for v in row] for row in rows)
    return path


def as_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown."""
    cells = [[f"{v:.2f}" if isinstance(v, float) else str(v) for v in row] for row in rows]
    widths = [max(len(row[k]) for row in [list(head), *cells]) for k in range(len(head))]

    def line(row: Sequence[str]) -> str:
        return "| " + " | ".join(v.ljust(w) for v, w in zip(row, widths, strict=True)) + " |"

    return "\n".join([line(head), "|" + "|".join("-" * (w + 2) for w in widths) + "|", *map(line, cells)]) + "\n"


def median(values: Sequence[float]) -> float:
    """Of the values that are numbers; the upper one of the two in the middle."""
    ordered = sorted(v for v in values if v == v)
    return ordered[len(ordered) // 2] if ordered else float("nan")
