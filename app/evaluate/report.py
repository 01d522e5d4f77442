"""What an evaluation found: rows of scores, what was left out and why, as text, JSON, CSV and a model card's scores."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any

from fieldflux.models.card import Score
from fieldflux.models.scores import Scores

TRAINED = "trained on"
GIVEN = {
    "towers": ": the tower's GPP is given to the model, so that NEE is partly an identity (Reco - given GPP)",
    "county": ": the satellite's GPP is given to the model",
    "yields": ": the satellite's GPP is given to the model",
}
METRICS = ("rmse", "nse", "r2", "bias")


@dataclass(frozen=True, slots=True)
class Row:
    """Scores of one variable on one split, beside floors on exactly the same values.

    part: "towers", "county", "soil" or "yields". split: how these values stand to the training. step: "day", "year" or
    "trend".
    gpp: "own" where the model makes its GPP, "given" where the measured one was handed to it, "" where neither applies.
    crop: crop of the values, or "all". floors: name -> scores. spread: standard deviation of RMSE over members.
    """

    part: str
    split: str
    place: str
    variable: str
    unit: str
    step: str
    gpp: str
    crop: str
    scores: Scores
    floors: Mapping[str, Scores]
    data: str
    spread: float | None = None
    note: str = ""

    @property
    def held_out(self) -> bool:
        return not self.split.startswith(TRAINED)


Cell = str | float | int | None


@dataclass(frozen=True, slots=True)
class Table:
    """What is no score of a variable: checks, distributions, curves.

    name: of its file `<name>.csv`. columns: their names. lines: values, None where undefined. in_text: whether the
    report's text shows it, or its file alone.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    lines: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    in_text: bool = True


@dataclass(frozen=True, slots=True)
class Report:
    """An evaluation. notes: how to read it. skipped: what was not scored, and why. files: tables and plots written.

    tables: what is no score of a variable.

    unknown: what is not known of the towers that were run, and what was taken instead -> their sites.
    """

    model: str
    title: str
    made: datetime
    data: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    unknown: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()

    def select(self, **wanted: str) -> list[Row]:
        """Rows whose fields are as given: select(variable="nee", gpp="own")."""
        return [row for row in self.rows if all(getattr(row, name) == value for name, value in wanted.items())]


def to_scores(report: Report) -> tuple[Score, ...]:
    """Scores for the model's card: RMSE, NSE and bias of every held-out row of a tower or county."""
    return tuple(
        Score(
            variable=row.variable,
            metric=metric,
            value=round(getattr(row.scores, metric), 4),
            unit=row.unit if metric in ("rmse", "bias") else "1",
            split=split_of(row),
            data=row.data,
            n=row.scores.n,
            spread=None if row.spread is None or metric != "rmse" else round(row.spread, 4),
            baseline={
                name: round(getattr(floor, metric), 4)
                for name, floor in row.floors.items()
                if math.isfinite(getattr(floor, metric))
            },
        )
        for row in report.rows
        if row.held_out and (row.crop == "all" or row.part in ("county", "yields")) and row.scores.n > 1
        for metric in ("rmse", "nse", "bias")
        if math.isfinite(getattr(row.scores, metric))
    )


def split_of(row: Row) -> str:
    """The split of a row in the words of a card."""
    gpp = {"own": ", own GPP", "given": ", given measured GPP", "": ""}[row.gpp]
    crop = "" if row.crop == "all" else f", {row.crop}"
    return f"{row.split}: {row.place}{crop}{gpp}, by {row.step}"


# --- JSON and CSV ----------------------------------------------------------------------------------------


def as_json(report: Report) -> str:
    """The whole report; a number that is not defined is null."""
    return json.dumps(_plain(asdict(report)), indent=2) + "\n"


def as_csv(report: Report) -> str:
    """One line per row; floors as columns `<floor>_rmse` and so on; an undefined number is empty."""
    floors = list(dict.fromkeys(name for row in report.rows for name in row.floors))
    names = [f.name for f in fields(Scores)]
    columns = ["part", "split", "place", "variable", "unit", "step", "gpp", "crop", *names, "spread"]
    columns += [f"{_slug(floor)}_{metric}" for floor in floors for metric in METRICS] + ["data", "note"]
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    for row in report.rows:
        line = {c: getattr(row, c) for c in columns[:8]} | {n: _cell(getattr(row.scores, n)) for n in names}
        line |= {"spread": _cell(row.spread), "data": row.data, "note": row.note}
        for floor, scores in row.floors.items():
            line |= {f"{_slug(floor)}_{metric}": _cell(getattr(scores, metric)) for metric in METRICS}
        writer.writerow(line)
    return out.getvalue()


def table_csv(table: Table) -> str:
    """A table as CSV; an undefined value is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows([value if isinstance(value, str) else _cell(value) for value in line] for line in table.lines)
    return out.getvalue()


def _slug(name: str) -> str:
    return name.replace(" ", "_")


def _cell(value: float | int | None) -> str:
    if value is None or not math.isfinite(value):
        return ""
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return None if isinstance(value, float) and not math.isfinite(value) else value


# --- text ------------------------------------------------------------------------------------------------


def as_text(report: Report) -> str:
    """Tables for a person: one per part, step and source of GPP, with the floors' RMSE and NSE beside the model's."""
    lines = [
        f"Evaluation of {report.model}: {report.title}",
        f"Data: {report.data}. Made {report.made:%Y-%m-%d %H:%M} UTC.",
    ]
    lines += ["", *(f"* {note}" for note in report.notes)]
    tables = dict.fromkeys((row.part, row.step, row.gpp) for row in report.rows)
    for part, step, gpp in tables:
        rows = [row for row in report.rows if (row.part, row.step, row.gpp) == (part, step, gpp)]
        lines += ["", _heading(part, step, gpp), *_table(rows)]
        for note in dict.fromkeys(row.note for row in rows if row.note):
            lines.append(f"  {note}: {', '.join(dict.fromkeys(r.data for r in rows if r.note == note))}")
    for table in report.tables:
        if table.in_text and table.lines:
            body = [[_text(value) for value in line] for line in table.lines]
            lines += ["", table.title, *_aligned([list(table.columns), *body])]
            lines += [f"  {note}" for note in table.notes]
    if report.unknown:
        lines += ["", "Not known of the towers, and what was taken instead"]
        lines += [f"* {', '.join(sites)}: {what}" for what, sites in report.unknown.items()]
    if report.skipped:
        lines += ["", "Not scored", *(f"* {reason}" for reason in report.skipped)]
    if report.files:
        lines += ["", "Files: " + ", ".join(report.files)]
    return "\n".join(lines) + "\n"


def _heading(part: str, step: str, gpp: str) -> str:
    of = {"towers": "Towers", "county": "County", "soil": "Soil carbon", "yields": "County yields"}.get(part, part)
    how = {
        "own": ": the model makes its own GPP",
        "given": GIVEN.get(part, ""),
        "": "",
    }[gpp]
    return f"{of}, by {step}{how}"


def _table(rows: Sequence[Row]) -> list[str]:
    floors = list(dict.fromkeys(name for row in rows for name in row.floors))
    head = ["split", "place", "crop", "variable", "n", "RMSE", "NSE", "r2", "bias", "spread"]
    head += [f"{floor} RMSE (NSE)" for floor in floors]
    body = []
    for row in rows:
        s = row.scores
        line = [
            row.split,
            row.place,
            row.crop,
            f"{row.variable} [{row.unit}]",
            str(s.n),
            _number(s.rmse),
            _number(s.nse),
        ]
        line += [_number(s.r2), _number(s.bias), "" if row.spread is None else _number(row.spread)]
        line += [_beside(row.floors.get(floor)) for floor in floors]
        body.append(line)
    kept = [i for i in range(len(head)) if any(line[i] for line in body)]
    return _aligned([[line[i] for i in kept] for line in (head, *body)])


def _beside(scores: Scores | None) -> str:
    if scores is None or scores.n == 0:
        return ""
    return f"{_number(scores.rmse)} ({_number(scores.nse)})"


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 20 else f"{value:.2f}"


def _text(value: Cell) -> str:
    if isinstance(value, float):
        return f"{value:.2g}" if 0 < abs(value) < 0.1 else _number(value)
    return "-" if value is None else str(value)


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    words = 4

    def row(line: Iterable[str]) -> str:
        cells = [c.ljust(w) if i < words else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))]
        return "  ".join(cells).rstrip()

    return [row(lines[0]), "  ".join("-" * width for width in widths), *(row(line) for line in lines[1:])]
