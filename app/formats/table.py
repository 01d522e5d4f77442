"""An answer as one table: a row for each feature and step, and for each feature and year of yearly variables.

Yearly variables beside days or months have rows of their own (`step` is "year" there): no value is repeated for days
that it is not of, and none is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from fieldflux.app.answer import step_status, valid_days
from fieldflux.app.collection import Collection, Feature
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fieldflux.tiles.series import Series, Values


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, its unit where it has one, the variable it is of, and values [rows], NaN or None missing."""

    name: str
    values: NDArray[Any]
    unit: str = ""
    variable: str = ""

    @property
    def is_number(self) -> bool:
        return self.values.dtype.kind == "f"


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of the same length, in order."""

    columns: tuple[Column, ...]

    def __len__(self) -> int:
        return len(self.columns[0].values) if self.columns else 0


def table_of(asked: Collection, features: Sequence[Feature]) -> Table:
    """The answer as a table. A failed feature has one row, with its `status` and `problem`."""
    blocks: list[tuple[dict[str, Any], dict[str, Column]]] = []
    for feature in features:
        about = {"feature": feature.given.index, "id": "" if feature.given.id is None else str(feature.given.id)}
        if feature.series is None:
            assert feature.problem is not None
            said = {**about, "step": "", "time": "", "status": "FAILED", "problem": feature.problem.detail}
            blocks.append((said, {}))
            continue
        blocks += [(about, block) for block in _blocks(feature.series)]
    alone = asked.alone
    lengths = [len(next(iter(block.values())).values) if block else 1 for _, block in blocks]
    lead = [] if alone else ["feature", "id"]
    failed = any("problem" in about for about, _ in blocks)
    names: dict[str, Column] = {}
    for _, block in blocks:
        for name, column in block.items():
            names.setdefault(name, column)
    columns: list[Column] = []
    for name in [*lead, *(n for n in names if n not in lead), *(["problem"] if failed else [])]:
        kind = names[name].values.dtype if name in names else None
        parts = []
        for (about, block), n in zip(blocks, lengths, strict=True):
            if name in block:
                parts.append(block[name].values)
            elif name in about:
                parts.append(np.full(n, about[name], np.int64 if name == "feature" else object))
            elif kind is not None and kind.kind == "f":
                parts.append(np.full(n, np.nan))
            else:
                parts.append(np.full(n, None, object))
        like = names.get(name)
        joined = np.concatenate([p.astype(object) for p in parts] if _mixed(parts) else parts)
        columns.append(Column(name, joined, like.unit if like else "", like.variable if like else ""))
    return Table(tuple(columns))


def _mixed(parts: Sequence[NDArray[Any]]) -> bool:
    return len({p.dtype.kind for p in parts}) > 1


def _blocks(found: Series) -> list[dict[str, Column]]:
    request, steps = found.request, found.steps
    last = steps.starts + (steps.lengths - 1)
    totals = request.step != "day" or any(s.kind == "total" for s in request.statistics)
    blocks = []
    if found.values:
        valid = valid_days(found)
        blocks.append(
            _block(request.step, found.labels(), steps.starts, last, found.days, found.values, totals)
            | ({} if request.step == "day" else {"status": _column("status", step_status(found, valid))})
        )
    if found.annual:
        firsts, lasts = found.year_ends()
        days = (lasts - firsts).astype(np.int64) + 1
        labels = [str(year) for year in found.years]
        step = "year" if request.record is None else "record"
        annual = _block(step, labels, firsts, lasts, days, found.annual, True)
        cut = request.first != firsts[0].item() or request.last != lasts[-1].item()
        if request.step == "year" and found.values and not cut:
            # The same rows: years of both kinds of variables.
            blocks[0] |= {name: column for name, column in annual.items() if name not in blocks[0]}
        else:
            blocks.append(annual)
    return blocks


def _block(
    step: str,
    labels: Sequence[str],
    first: NDArray[np.datetime64],
    last: NDArray[np.datetime64],
    days: NDArray[np.int64],
    values: Any,
    totals: bool,
) -> dict[str, Column]:
    found = {
        "step": _column("step", [step] * len(labels)),
        "time": _column("time", labels),
        "first": Column("first", first.astype("M8[D]").astype(object)),
        "last": Column("last", last.astype("M8[D]").astype(object)),
        "days": Column("days", np.asarray(days).astype(object)),
    }
    for name, v in values.items():
        for column in _of(name, v, totals):
            found[column.name] = column
    return found


def _of(name: str, v: Values, totals: bool) -> list[Column]:
    found = [Column(name, v.value, v.unit, name)]
    if v.low is not None and v.high is not None:
        found += [Column(f"{name}_low", v.low, v.unit, name), Column(f"{name}_high", v.high, v.unit, name)]
    found += [Column(f"{name}_{s}", of, v.unit, name) for s, of in v.statistics.items()]
    if totals and v.total is not None and v.total_unit is not None:
        for end, of in (("", v.total), ("_low", v.total_low), ("_high", v.total_high)):
            if of is not None:
                found.append(Column(f"{name}_total{end}", np.round(of, 6), v.total_unit, name))
    found.append(Column(f"{name}_valid_fraction", np.round(v.valid_fraction, 6), "1", name))
    return found


def _column(name: str, values: Sequence[str]) -> Column:
    return Column(name, np.array(values, object))
