"""The text tables that DSSAT's files are made of: sections, columns by their header's place, two-digit years.

A file has sections that begin with `*` in the first column, in them tables whose header begins with `@`; `!` begins a
comment. Values stand under the end of their header, a blank beside it or not; -99 (also -99.0, -99.9) and a lone `.`
are missing. Layout: DSSAT v4.8, vol. 2 (Hoogenboom et al.).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .tables import BadMeasurements

NAT = np.datetime64("NaT", "D")
PIVOT = 36  # two-digit years below it are of this century
REACH = 3  # columns that a value may end beside its header's end


@dataclass(frozen=True, slots=True)
class Table:
    """One table: names of its columns, where each ends, its rows as they are written, and their line numbers."""

    names: tuple[str, ...]
    ends: tuple[int, ...]
    rows: tuple[str, ...]
    lines: tuple[int, ...]

    def numbers(self) -> Iterator[dict[str, str]]:
        """The words of each row by the column whose end is nearest: for tables of numbers, which are written to the
        right but not always to the column. A word that is under no header drops; two under one raise ValueError."""
        for row, line in zip(self.rows, self.lines, strict=True):
            found: dict[str, str] = {}
            for word in re.finditer(r"\S+", row):
                off, name = min((abs(word.end() - end), name) for end, name in zip(self.ends, self.names, strict=True))
                if off > REACH:
                    continue
                if name in found:
                    raise ValueError(f"line {line} has two values, {found[name]} and {word[0]}, in the column {name}")
                found[name] = word[0]
            yield found

    def left(self) -> Iterator[dict[str, str]]:
        """Each row cut where the headers begin, for the one table whose values stand under their beginning."""
        starts = [end - len(name) for name, end in zip(self.names, self.ends, strict=True)]
        for row in self.rows:
            cuts = zip(self.names, (0, *starts[1:]), (*starts[1:], len(row)), strict=True)
            yield {name: row[a:b].strip() for name, a, b in cuts}

    def texts(self) -> Iterator[dict[str, str]]:
        """Each row cut at the headers' ends, for tables with words that hold blanks; a word that goes on past the end
        of its header stays whole. The last column takes the rest."""
        for row in self.rows:
            stops = []
            for end in self.ends[:-1]:
                while 0 < end < len(row) and row[end - 1] != " " and row[end] != " ":
                    end += 1
                stops.append(end)
            cuts = zip(self.names, (0, *stops), (*stops, len(row)), strict=True)
            yield {name: row[a:b].strip() for name, a, b in cuts}


@dataclass(frozen=True, slots=True)
class Section:
    """title: its first line without the star. tables: in their order. words: its lines outside of tables."""

    title: str
    tables: tuple[Table, ...]
    words: tuple[str, ...]

    def having(self, *names: str) -> Iterator[Table]:
        """The tables that have all these columns."""
        return (table for table in self.tables if set(names) <= set(table.names))


@dataclass(frozen=True, slots=True)
class Text:
    """A file: its sections and its comments, without the mark."""

    path: Path
    sections: tuple[Section, ...]
    comments: tuple[str, ...]

    def called(self, start: str) -> Section | None:
        """The first section whose title begins so."""
        return next((s for s in self.sections if s.title.startswith(start)), None)


def read_text(path: Path) -> Text:
    """A DSSAT file in its parts. Raises BadMeasurements where it cannot be read or has no section."""
    try:
        lines = path.read_text(encoding="latin-1").splitlines()
    except OSError as error:
        raise BadMeasurements(f"The DSSAT file {path} cannot be read: {error}.") from error
    sections: list[Section] = []
    comments: list[str] = []
    title: str | None = None
    tables: list[Table] = []
    words: list[str] = []
    header: tuple[tuple[str, ...], tuple[int, ...]] | None = None
    rows: list[str] = []
    places: list[int] = []

    def close_table() -> None:
        nonlocal header
        if header is not None:
            tables.append(Table(*header, tuple(rows), tuple(places)))
        header = None
        rows.clear()
        places.clear()

    def close_section() -> None:
        close_table()
        if title is not None:
            sections.append(Section(title, tuple(tables), tuple(words)))
        tables.clear()
        words.clear()

    for number, raw in enumerate(lines, 1):
        line = raw.replace("\x1a", "").rstrip()
        if not line.strip():
            continue
        if line.lstrip().startswith("!"):
            if comment := line.lstrip().lstrip("!").strip():
                comments.append(comment)
        elif line[0] in "*$":
            close_section()
            title = line[1:].strip()
        elif line[0] == "@":
            close_table()
            header = _header(line)
        elif header is None:
            words.append(line.strip())
        else:
            rows.append(line.split("!")[0].rstrip())
            places.append(number)
    close_section()
    if not sections:
        raise BadMeasurements(f"The file {path} has no section: a DSSAT file needs a line that begins with '*'.")
    return Text(path, tuple(sections), tuple(comments))


def _header(line: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names and ends; `@N` is N, `TNAME....` is TNAME, `...XCRD` XCRD; a header of two words (`SCS FAMILY`) is two."""
    found = [(m[0].strip("."), m.end()) for m in re.finditer(r"\S+", line.replace("@", " ", 1))]
    return tuple(name for name, _ in found), tuple(end for _, end in found)


def number(word: str | None) -> float:
    """A value, NaN where it is missing. Raises ValueError where it is no number.

    >>> number("-99"), number("2981."), number(".130")
    (nan, 2981.0, 0.13)
    """
    if word is None or word in ("", "."):
        return math.nan
    value = float(word)
    return math.nan if value in (-99.0, -99.9) else value


def day(word: str | None) -> np.datetime64:
    """A day written as YYDDD or YYYYDDD, NaT where it is missing. Raises ValueError for what is none.

    >>> str(day("82057")), str(day("2021001"))
    ('1982-02-26', '2021-01-01')
    """
    if word is None or not word.isdigit() or len(word) not in (5, 7):
        if word is None or word in ("", ".", "-99"):
            return NAT
        raise ValueError(f"'{word}' is no day: YYDDD or YYYYDDD is expected")
    year, of_year = int(word[:-3]), int(word[-3:])
    if len(word) == 5:
        year += 2000 if year < PIVOT else 1900
    if of_year < 1 or of_year > 366:
        return NAT
    return np.datetime64(f"{year:04d}-01-01", "D") + np.timedelta64(of_year - 1, "D")


def day_after(word: str | None, sowing: np.datetime64) -> np.datetime64:
    """A day of FileA, where it may be the day of the year alone: then the first such day from sowing on."""
    if word is None or number(word) != number(word):
        return NAT
    whole = word.rstrip(".")
    if len(whole) >= 5:
        return day(whole)
    year = sowing.astype("datetime64[Y]")
    for later in (0, 1):
        found = np.datetime64(year + later, "D") + np.timedelta64(int(whole) - 1, "D")
        if found >= sowing:
            return found
    return NAT
