"""What a FileX of DSSAT plans for a treatment: cultivar, sowing, water, nitrogen, and what it changes of the weather.

A treatment names a level of each factor (cultivar CU, field FL, initial conditions IC, planting MP, irrigation MI,
fertiliser MF, changes of the environment ME, controls SM); level 0 is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .dssatground import FieldWeather
from .dssattables import NAT, Text, day, number
from .tables import Array

Applied = tuple[tuple[np.datetime64, float], ...]


@dataclass(frozen=True, slots=True)
class Change:
    """From `day` on a weather variable is added to (A), diminished (S), multiplied (M) or replaced (R)."""

    day: np.datetime64
    variable: str
    how: str
    amount: float


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """One treatment. water_bottom: [k] m, water: [k] m3 m-3, mineral: [k] mg kg-1 of ammonium and nitrate nitrogen,
    measured on measured_from (NaT: never). irrigation: mm, nitrogen: g m-2, by day."""

    treatment: int
    title: str
    cultivar: str
    station: str
    soil: str
    sowing: np.datetime64
    plants: float
    rows: float
    measured_from: np.datetime64
    water_bottom: Array
    water: Array
    mineral: Array
    irrigation: Applied
    irrigation_known: bool
    nitrogen: Applied
    changes: tuple[Change, ...]
    notes: tuple[str, ...]


def plans(text: Text) -> tuple[Plan, ...]:
    """All treatments. Raises ValueError where there are none, or where one names a level that is not there."""
    section = text.called("TREATMENTS")
    if section is None:
        raise ValueError("it has no section *TREATMENTS")
    table = next(section.having("N", "CU", "FL", "MP"), None)
    if table is None:
        raise ValueError("its treatments have no columns N, CU, FL and MP")
    return tuple(_plan(text, row) for row in table.texts() if row["N"].isdigit())


def _plan(text: Text, row: dict[str, str]) -> Plan:
    level = {name: int(row[name]) for name in ("CU", "FL", "IC", "MP", "MI", "MF", "ME", "SM") if row.get(name)}
    cultivar = _one(text, "CULTIVARS", "C", level.get("CU", 0), "INGENO")
    field = _one(text, "FIELDS", "L", level.get("FL", 0), "ID_SOIL")
    planting = _one(text, "PLANTING", "P", level.get("MP", 0), "PDATE")
    if not (cultivar and field and planting):
        raise ValueError(f"treatment {row['N']} names a cultivar, field or planting that the file does not have")
    initial = _one(text, "INITIAL", "C", level.get("IC", 0), "ICDAT")
    measured = list(_rows(text, "INITIAL", "C", level.get("IC", 0), "SH2O"))
    columns = [np.array([number(m.get(k)) for m in measured]) for k in ("ICBL", "SH2O", "SNH4", "SNO3")]
    known = np.isfinite(columns[0]) & np.isfinite(columns[1]) if measured else np.zeros(0, bool)
    control = _one(text, "SIMULATION", "N", level.get("SM", 0), "IRRIG", "FERTI")
    notes: list[str] = []
    water = _irrigation(text, level.get("MI", 0), notes)
    automatic = bool(control) and control.get("IRRIG", "").startswith(("A", "F"))
    if automatic:
        notes.append("The field was irrigated as it needed; amounts were not written down.")
    nitrogen = tuple(
        (day(r.get("FDATE")), 0.1 * number(r.get("FAMN")))
        for r in _rows(text, "FERTILIZERS", "F", level.get("MF", 0), "FAMN")
        if number(r.get("FAMN")) > 0.0
    )
    plants = [number(planting.get(name)) for name in ("PPOE", "PPOP")]
    sowing = day(planting.get("PDATE"))
    if np.isnat(sowing):
        raise ValueError(f"treatment {row['N']} has no day of sowing")
    return Plan(
        int(row["N"]), row.get("TNAME", ""), cultivar.get("CNAME") or cultivar.get("INGENO", ""),
        field.get("WSTA", ""), field.get("ID_SOIL", ""), sowing, next((p for p in plants if np.isfinite(p)), np.nan),
        number(planting.get("PLRS")) / 100.0, day(initial.get("ICDAT")) if initial and known.any() else NAT,
        columns[0][known] / 100.0, columns[1][known],
        np.nan_to_num(columns[2][known]) + np.nan_to_num(columns[3][known]), water, not automatic, nitrogen,
        tuple(_changes(text, level.get("ME", 0))), tuple(notes),
    )  # fmt: skip


def _irrigation(text: Text, level: int, notes: list[str]) -> Applied:
    head = _one(text, "IRRIGATION", "I", level, "EFIR")
    efficiency = number(head.get("EFIR")) if head else 1.0
    if not efficiency > 0.0:
        if head:
            notes.append("The efficiency of irrigation is given as none; it is taken as 1, as DSSAT does.")
        efficiency = 1.0
    given = []
    for row in _rows(text, "IRRIGATION", "I", level, "IRVAL"):
        amount = number(row.get("IRVAL"))
        if amount > 0.0:
            given.append((day(row.get("IDATE")), efficiency * amount))
    return tuple(given)


def _changes(text: Text, level: int) -> Iterator[Change]:
    section = text.called("ENVIRONMENT")
    tables = section.having("E", "ODATE") if section and level else ()
    for row in (row for table in tables for row in table.left() if row["E"] == str(level)):
        when = day(row.get("ODATE"))
        for column, variable in (("ERAIN", "precip"), ("ERAD", "srad"), ("EMAX", "tmax"), ("EMIN", "tmin")):
            word = row.get(column, "").replace(" ", "")
            if word[:1] in ("A", "S", "M", "R") and len(word) > 1:
                yield Change(when, variable, word[0], number(word[1:]))


def changed(weather: FieldWeather, changes: Sequence[Change]) -> FieldWeather:
    """The weather as the experiment made it; a change holds until the next of its variable."""
    made = {name: getattr(weather, name).copy() for name in ("precip", "srad", "tmax", "tmin")}
    for variable, values in made.items():
        own = sorted((c for c in changes if c.variable == variable), key=lambda c: c.day)
        for place, change in enumerate(own):
            until = own[place + 1].day if place + 1 < len(own) else weather.days[-1] + np.timedelta64(1, "D")
            on = (weather.days >= change.day) & (weather.days < until)
            before = getattr(weather, variable)[on]
            values[on] = {"A": before + change.amount, "S": before - change.amount, "M": before * change.amount,
                          "R": np.full_like(before, change.amount)}[change.how]  # fmt: skip
    return replace(weather, **made)


def applied(days: NDArray[np.datetime64], given: Applied) -> Array:
    """[D] amounts by day. What was given before the first day counts on it; what comes after the last drops."""
    out = np.zeros(days.size)
    for when, amount in given:
        place = max(0, int((when - days[0]).astype(int)))
        if place < days.size and not np.isnat(when):
            out[place] += amount
    return out


def _rows(text: Text, start: str, key: str, level: int, *needed: str) -> Iterator[dict[str, str]]:
    section = text.called(start)
    if section is None or level == 0:
        return
    for table in section.having(key, *needed):
        yield from (row for row in table.texts() if row[key] == str(level))


def _one(text: Text, start: str, key: str, level: int, *needed: str) -> dict[str, str]:
    return next(_rows(text, start, key, level, *needed), {})
