"""What a map shows in time: a day, a year, any span of days, or one of these less another.

A span is a sum, a mean or a last value, as the vocabulary aggregates the variable; so is a year. Of a variable with one
value a year, a span of years is their mean, whose unit stays "per year".
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import date
from typing import TypeAlias

from fieldflux.models.variables import Variable

FORMS = "a day (2021-07-15), a month (2021-07), a year (2021) or a span of them (2021-04-01..2021-09-30)"
_DAY, _MONTH, _YEAR = (re.compile(p) for p in (r"\d{4}-\d{2}-\d{2}", r"\d{4}-\d{2}", r"\d{4}"))


class BadMoment(ValueError):
    """A time that cannot be read, or that the variable does not have."""


@dataclass(frozen=True, slots=True)
class Span:
    """Days from `first` to `last`, both included: more than one, and not just one calendar year."""

    first: date
    last: date

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    def __str__(self) -> str:
        if self.first.day == 1 and self.last == _end_of_month(self.first):
            return f"{self.first:%Y-%m}"
        if whole_years(self):
            return f"{self.first.year}..{self.last.year}"
        return f"{self.first}..{self.last}"


Period: TypeAlias = date | int | Span
"""A day, a calendar year, or a span."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One period less another."""

    of: Period
    minus: Period

    def __str__(self) -> str:
        return f"{self.of}/minus/{self.minus}"


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A period less the mean of the same days in the years `first` to `last`."""

    of: Period
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.of}/anomaly/{self.first}..{self.last}"

    def normal(self) -> tuple[Period, ...]:
        """The periods whose mean is taken away: those of the same days that lie wholly within the years."""
        begin, end = ends(self.of)
        moved = ((y, y + end.year - begin.year) for y in range(self.first, self.last + 1))
        return tuple(between(_in_year(begin, first), _in_year(end, last)) for first, last in moved if last <= self.last)


When: TypeAlias = Period | Difference | Anomaly


def parse(text: str) -> Period:
    """A period from its name.

    >>> str(parse("2020-02")), parse("2019-01..2019-12"), parse("2020-02").days
    ('2020-02', 2019, 29)

    Raises BadMoment.
    """
    parts = text.split("..")
    if len(parts) > 2:
        raise BadMoment(f"'{text[:40]}' is not {FORMS}.")
    found = [_span(part, text) for part in parts]
    first, last = found[0][0], found[-1][1]
    if last < first or found[-1][0] < found[0][0]:
        raise BadMoment(f"'{text[:40]}' ends before it begins: exchange {parts[0]} and {parts[1]}.")
    return between(first, last)


def between(first: date, last: date) -> Period:
    """The days from `first` to `last`, as a day or a year where they are one."""
    if first == last:
        return first
    if (first.month, first.day, last.month, last.day) == (1, 1, 12, 31) and first.year == last.year:
        return first.year
    return Span(first, last)


def ends(period: Period) -> tuple[date, date]:
    """First and last day."""
    if isinstance(period, Span):
        return period.first, period.last
    if isinstance(period, date):
        return period, period
    return date(period, 1, 1), date(period, 12, 31)


def days_of(period: Period) -> int:
    """Number of days."""
    first, last = ends(period)
    return (last - first).days + 1


def whole_years(period: Period) -> bool:
    """Whether it begins on 1 January and ends on 31 December."""
    first, last = ends(period)
    return (first.month, first.day, last.month, last.day) == (1, 1, 12, 31)


def pieces(period: Period) -> tuple[Period, ...]:
    """The period as calendar years where it covers them whole, and days or spans within a year elsewhere."""
    first, last = ends(period)
    return tuple(
        between(max(first, date(y, 1, 1)), min(last, date(y, 12, 31))) for y in range(first.year, last.year + 1)
    )


def periods_of(when: When) -> tuple[Period, ...]:
    """All the periods that are read for it."""
    if isinstance(when, Difference):
        return when.of, when.minus
    if isinstance(when, Anomaly):
        return when.of, *when.normal()
    return (when,)


def years_of(when: When) -> tuple[int, ...]:
    """The calendar years that are read for it, ascending."""
    found = {ends(piece)[0].year for period in periods_of(when) for piece in pieces(period)}
    return tuple(sorted(found))


def is_plain(when: When) -> bool:
    """Whether it is a day or a year, which the store holds as they are."""
    return isinstance(when, date | int)


def check(v: Variable, when: When) -> None:
    """Raise BadMoment where the variable has no such value, or the two sides of a difference have different units."""
    if v.period == "static" and not isinstance(when, int):
        raise BadMoment(f"'{v.name}' has one value for the whole record: there is nothing to compare in time.")
    for period in periods_of(when):
        if v.period != "day" and not whole_years(period):
            year = ends(period)[0].year
            raise BadMoment(f"'{v.name}' has one value a year: ask for {year} instead of {period}.")
    if isinstance(when, Difference) and unit_of(v, when.of) != unit_of(v, when.minus):
        raise BadMoment(
            f"'{v.name}' of {when.of} is in {unit_of(v, when.of)}, that of {when.minus} in {unit_of(v, when.minus)}: "
            f"take a day from a day, or a longer period from another one."
        )
    if isinstance(when, Anomaly) and not when.normal():
        raise BadMoment(f"No {when.of} lies wholly within {when.first} to {when.last}: name more years.")


def unit_of(v: Variable, when: When) -> str:
    """Unit of what the map shows."""
    period = periods_of(when)[0]
    return v.unit if isinstance(period, date) else v.unit_over("total")


def words_of(v: Variable, when: When) -> str:
    """How the days became one value: "sum of 2021-07"; empty for a day or a year's own value."""
    if isinstance(when, Difference):
        return f"{_of(v, when.of)} less {_of(v, when.minus)}"
    if isinstance(when, Anomaly):
        return f"{_of(v, when.of)} less the mean of {when.first}–{when.last}"
    return "" if isinstance(when, date) or (v.period != "day" and isinstance(when, int)) else _of(v, when)


def _of(v: Variable, period: Period) -> str:
    if isinstance(period, date) or (v.period != "day" and isinstance(period, int)):
        return str(period)
    kind = "mean" if v.period != "day" else v.over_time
    return {"sum": f"sum of {period}", "mean": f"mean of {period}", "last": f"end of {period}"}[kind]


def _span(part: str, text: str) -> tuple[date, date]:
    try:
        if _DAY.fullmatch(part):
            day = date.fromisoformat(part)
            return day, day
        if _MONTH.fullmatch(part):
            first = date.fromisoformat(f"{part}-01")
            return first, _end_of_month(first)
        if _YEAR.fullmatch(part):
            return date(int(part), 1, 1), date(int(part), 12, 31)
    except ValueError as error:
        raise BadMoment(f"'{text[:40]}' is not a date: {error}.") from None
    raise BadMoment(f"'{text[:40]}' is not {FORMS}.")


def _end_of_month(day: date) -> date:
    return day.replace(day=calendar.monthrange(day.year, day.month)[1])


def _in_year(day: date, year: int) -> date:
    # The end of February stays the end of February.
    if (day.month, day.day) == (2, 29) and not calendar.isleap(year):
        return date(year, 2, 28)
    return day.replace(year=year)
