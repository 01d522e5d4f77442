"""`datetime` of OGC APIs and `TIME` of WMTS, as the names of times that the rest of Fieldflux has."""

from __future__ import annotations


def period_name(given: str, years: tuple[int, ...]) -> str:
    """A day, month, year or span by Fieldflux's name; ends of an interval that are open are those of `years`.

    >>> period_name("2020-05-01T00:00:00Z/..", (2019, 2020))
    '2020-05-01..2020-12-31'
    """
    if "/" not in given:
        return given.split("T")[0]
    first, _, last = given.partition("/")
    begin = f"{years[0]}-01-01" if first in ("", "..") else first.split("T")[0]
    end = f"{years[-1]}-12-31" if last in ("", "..") else last.split("T")[0]
    return begin if begin == end else f"{begin}..{end}"
