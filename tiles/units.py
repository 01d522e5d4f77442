"""Units of answers: by name, from one table of factors; values, intervals, statistics and totals go along.

The table is this small because the vocabulary is: a library of units would know neither that a gram of carbon is 44/12
g of CO2, nor that a bushel is another mass of every crop, at its market moisture.

A unit is named without its time: days add "d-1", a year's harvest "yr-1", sums nothing. "CO2e" is taken for "CO2".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np
from fieldflux.models.crops import CROP_OF_CDL, M2_PER_ACRE
from fieldflux.models.variables import variable
from numpy.typing import NDArray

from .aggregate import Floats, Values
from .series import CropShare, Series

CO2_PER_C = 44.0 / 12.0
"""Mass of CO2 per mass of carbon, as greenhouse gas inventories and carbon markets count it (IPCC 2006)."""
GRAMS_PER_MOL = 12.011
SECONDS = 86_400.0
TONNES = 0.01
"""Tonnes per hectare of a gram per square metre."""

# Per unit of the vocabulary: gC m-2, mm, W m-2.
CARBON: MappingProxyType[str, float] = MappingProxyType(
    {
        "gC m-2": 1.0,
        "kgC ha-1": 10.0,
        "tC ha-1": TONNES,
        "gCO2 m-2": CO2_PER_C,
        "kgCO2 ha-1": 10.0 * CO2_PER_C,
        "tCO2 ha-1": TONNES * CO2_PER_C,
    }
)
WATER: MappingProxyType[str, float] = MappingProxyType({"mm": 1.0, "m3 ha-1": 10.0, "in": 1 / 25.4})
ENERGY: MappingProxyType[str, float] = MappingProxyType({"W m-2": 1.0, "MJ m-2": SECONDS / 1e6})
RATE = "umol m-2 s-1"
MARKET = ("t ha-1", "bu ac-1")


class UnknownUnit(ValueError):
    """A unit that a variable cannot be given in. code, members: as a problem over HTTP."""

    code = "unknown-unit"

    def __init__(self, sentence: str, allowed: Sequence[str]) -> None:
        super().__init__(sentence)
        self.members: dict[str, object] = {"allowed": list(allowed)}


def units_of(name: str) -> tuple[str, ...]:
    """Units in which a variable can be had; the first is its own. Raises UnknownVariable."""
    v = variable(name)
    if v.unit.startswith("gC m-2"):
        more = (RATE,) if v.unit.endswith(" d-1") else MARKET if name == "yield" else ()
        return (*CARBON, *more)
    if v.unit in ("mm d-1", "mm"):
        return tuple(WATER)
    if v.unit == "W m-2":
        return tuple(ENERGY)
    return (v.unit.removesuffix(" d-1"),)


def check_units(units: Mapping[str, str], variables: Sequence[str]) -> None:
    """Raise UnknownUnit (or UnknownVariable) unless each variable is asked for and can be had in its unit."""
    for name, unit in units.items():
        allowed = units_of(name)
        if name not in variables:
            raise UnknownUnit(
                f"A unit is given for '{name}', which is not among the variables asked for: {', '.join(variables)}. "
                f"Add it to `variables`, or leave its unit out.",
                variables,
            )
        if _plain(unit) not in allowed:
            raise UnknownUnit(
                f"'{name}' cannot be given in {unit[:60]!r}; it can in: {', '.join(allowed)} (the time is added by "
                f"itself; CO2e is taken for CO2).",
                allowed,
            )


def in_units(found: Series, units: Mapping[str, str]) -> Series:
    """An answer with some variables in other units, name -> unit. Raises what `check_units` does."""
    if not units:
        return found
    check_units(units, found.request.variables)
    values, annual, summary = dict(found.values), dict(found.annual), dict(found.summary)
    flags = list(found.flags)
    for name, unit in units.items():
        if _plain(unit) in MARKET:
            factors = [_market(found.crops, year, _plain(unit)) for year in found.years]
            if any(f.mixed for f in factors) and "mixed_crops" not in flags:
                flags.append("mixed_crops")
            by_year = np.array([f.per_gram for f in factors])
            grams = found.annual[name].value
            with np.errstate(invalid="ignore", divide="ignore"):
                over_all = np.array([np.sum(by_year * grams) / np.sum(grams)])
            annual[name] = _marketed(annual[name], unit, by_year, np.array([not f.mixed for f in factors]))
            summary[name] = _marketed(summary[name], unit, over_all, np.ones(1, bool))
            continue
        if name in values:
            values[name] = _converted(values[name], unit, found.days)
            summary[name] = _converted(summary[name], unit, np.array([found.request.days]))
        else:
            ones = np.ones(len(found.years), np.int64)
            annual[name], summary[name] = (_converted(v[name], unit, ones) for v in (annual, summary))
    return replace(found, values=values, annual=annual, summary=summary, flags=tuple(flags))


@dataclass(frozen=True, slots=True)
class _Market:
    """Of a year: market yield per gC m-2 harvested, NaN where there is none; whether several crops were harvested."""

    per_gram: float
    mixed: bool


def _market(crops: Sequence[CropShare], year: int, unit: str) -> _Market:
    here = [c for c in crops if c.year == year and c.valid > 0 and c.yield_carbon is not None]
    known = [(CROP_OF_CDL[c.code], c.valid * (c.yield_carbon or 0.0), c.valid) for c in here if c.code in CROP_OF_CDL]
    mixed = len({crop.name for crop, _, _ in known}) > 1
    if len(known) < len(here) or not known or (mixed and unit == "bu ac-1"):
        return _Market(math.nan, mixed)
    per_gram = [(crop.t_ha(1.0) if unit == "t ha-1" else crop.bu_ac(1.0)) for crop, _, _ in known]
    if None in per_gram:
        return _Market(math.nan, mixed)
    grams = [g for _, g, _ in known] if any(g > 0 for _, g, _ in known) else [area for _, _, area in known]
    return _Market(sum(k * g for k, g in zip(per_gram, grams, strict=True) if k is not None) / sum(grams), mixed)


def _marketed(v: Values, unit: str, per_gram: Floats, alone: NDArray[np.bool_]) -> Values:
    acres = 1e4 / M2_PER_ACRE
    per_tonne = per_gram / TONNES * (acres if unit == "bu ac-1" else 1.0)
    found = _scaled(v, unit + _time(v.unit), per_gram, per_tonne, unit.split()[0] + _time(v.unit))
    # What is spread over cells of several crops has no single factor.
    return replace(found, statistics={n: np.where(alone, s, np.nan) for n, s in found.statistics.items()})


def _converted(v: Values, unit: str, days: NDArray[np.int64]) -> Values:
    plain = _plain(unit)
    if plain == RATE:
        per = 1e6 / GRAMS_PER_MOL / SECONDS / (np.ones(days.size) if v.unit.endswith(" d-1") else days)
        return _scaled(v, unit, per, np.ones(1), v.total_unit)
    table = {**CARBON, **WATER, **ENERGY}
    factor = table.get(plain, 1.0)
    co2 = "CO2" in plain
    total = v.total_unit and v.total_unit.replace("tC", "tCO2e" if "CO2e" in unit else "tCO2", 1 if co2 else 0)
    # Energy is a mean in both units: MJ of an average day.
    time = " d-1" if plain == "MJ m-2" else _time(v.unit)
    return _scaled(v, unit + time, np.array([factor]), np.array([CO2_PER_C if co2 else 1.0]), total or None)


def _scaled(v: Values, unit: str, factor: Floats, of_total: Floats, total_unit: str | None) -> Values:
    digits = variable(v.variable).digits + 2
    known = factor[np.isfinite(factor) & (factor > 0)]
    places = 12 if not known.size else int(np.clip(digits - math.floor(math.log10(known.min())), 0, 12))

    def by(values: Floats | None) -> Floats | None:
        return None if values is None else np.round(values * factor, places) + 0.0

    def total(values: Floats | None) -> Floats | None:
        return None if values is None else values * of_total

    value = by(v.value)
    assert value is not None
    return replace(
        v,
        unit=unit,
        value=value,
        low=by(v.low),
        high=by(v.high),
        statistics={name: np.round(s * factor, places) + 0.0 for name, s in v.statistics.items()},
        total=total(v.total),
        total_low=total(v.total_low),
        total_high=total(v.total_high),
        total_unit=total_unit if v.total is not None else None,
    )


Time: TypeAlias = Literal["", " d-1", " yr-1"]


def _time(unit: str) -> Time:
    return " d-1" if unit.endswith(" d-1") else " yr-1" if unit.endswith(" yr-1") else ""


def _plain(unit: str) -> str:
    return unit.replace("CO2e", "CO2")
