"""DayCent schedule files: dated field operations in blocks of repeated years, and the crop seasons that they make.

Format: the DayCent manual (Hartman, Parton et al., Natural Resource Ecology Laboratory, Colorado State University). A
header with the first and last year; then blocks, each with its last year, the number of years after which its events
repeat, and lines `year-of-the-block day-of-year EVENT what`, ended by `-999 -999 X`. `#` begins a comment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from fieldflux.models.crops import ALFALFA, MAIZE, SOYBEAN

from .management import Season
from .tables import BadMeasurements

_EVENT = re.compile(r"^\s*(\d+)\s+(\d+)\s+([A-Z]{4})\b\s*(\S*)")
_HEAD = re.compile(r"^\s*(\S+)\s+(Starting year|Last year|Repeats # years|Block)\b")

# What a crop is in DayCent's crop file: C1..C6 are maize of rising yield, SYBN soybean, ALF alfalfa.
CROPS: MappingProxyType[str, int] = MappingProxyType(
    {**{f"C{k}": MAIZE.cdl[0] for k in range(1, 8)}, "SYBN": SOYBEAN.cdl[0], "ALF": ALFALFA.cdl[0]}
)
# Comments in the schedules name C (field cultivator), D (row cultivator), I (tandem disk), K (mouldboard plough),
# P (plough), SHRD (shredding); of the others the letters rise with depth, and B is the sowing of no-till plots alone.
TILLAGE: MappingProxyType[str, float] = MappingProxyType(
    {
        **dict.fromkeys(("NOTILL", "NDRIL", "HERB", "SHRD", "A", "B"), 0.0),
        **dict.fromkeys(("C", "D", "E", "F", "G", "H", "I", "J"), 0.5),
        **dict.fromkeys(("K", "P"), 1.0),
    }
)
# Fraction of straw taken with the harvest: G grain alone, G75S grain and 75 % of the straw, SIL the whole plant.
SILAGE = 0.95
_AMOUNT = re.compile(r"([\d.]+)N")
_IGNORED = ("LAST", "PLTM", "FERT", "FRST", "SENM", "CROP", "HARV", "CULT", "IRIG")


class NotASeason(ValueError):
    """Management that the vocabulary's annual inputs cannot say."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One dated field operation: event is DayCent's word (CROP, PLTM, CULT, HARV, IRIG ...), what its argument."""

    year: int
    doy: int
    event: str
    what: str


def read_schedule(path: Path) -> tuple[Operation, ...]:
    """Every operation of a schedule file, its blocks rolled out over the calendar, in order of time.

    Operations of one day keep the order of the file. Raises BadMeasurements where the file is no schedule.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise BadMeasurements(f"The schedule {path} cannot be read: {error}.") from error
    first: int | None = None
    last = repeats = 0
    block: list[Operation] = []
    found: list[Operation] = []
    for line in lines:
        text = line.split("#")[0] if "#" in line and "Repeats" not in line else line
        if head := _HEAD.match(text):
            value, what = head.groups()
            if what == "Block":
                block = []
            elif what == "Starting year":
                first = _whole(value, line, path)
            elif what == "Last year":
                last = _whole(value, line, path)
            else:
                repeats = _whole(value, line, path)
        elif event := _EVENT.match(text):
            of, doy, name, argument = event.groups()
            block.append(Operation(int(of), int(doy), name, argument))
        elif text.strip().startswith("-999"):
            if first is None or repeats < 1:
                raise BadMeasurements(
                    f"The schedule {path} ends a block before it gave a starting year and the years of a repeat."
                )
            found += _rolled_out(block, first, last, repeats)
            first, block = last + 1, []
    if not found:
        raise BadMeasurements(
            f"{path} holds no field operation. A DayCent schedule has lines such as '1 110 CROP C6' in blocks that end "
            f"with '-999 -999 X'."
        )
    return tuple(sorted(found, key=lambda o: (o.year, o.doy)))


def _whole(text: str, line: str, path: Path) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadMeasurements(f"The schedule {path} has '{line.strip()}' where a year or a count must stand.") from None


def _rolled_out(block: Sequence[Operation], first: int, last: int, repeats: int) -> list[Operation]:
    by_turn: dict[int, list[Operation]] = {}
    for operation in block:
        by_turn.setdefault(operation.year, []).append(operation)
    return [
        Operation(year, o.doy, o.event, o.what)
        for year in range(first, last + 1)
        for o in by_turn.get((year - first) % repeats + 1, ())
    ]


def seasons(operations: Sequence[Operation], years: Sequence[int]) -> Mapping[int, Season]:
    """Year -> crop season, for every one of `years`; a season belongs to the year of its harvest.

    Sowing is PLTM, or CROP where that is missing. Tillage is the deepest since the last harvest (0 none, 0.5 reduced,
    1 ploughed), in the growing crop too. Irrigated: 1 in a year with an IRIG event.
    Raises NotASeason where a year has no harvest, two crops, a crop that the models do not know, manure or grazing.
    """
    wanted = set(years)
    found: dict[int, Season] = {}
    crop, sown, deepest = "", 0, 0.0
    irrigated = {o.year for o in operations if o.event == "IRIG"}
    for o in operations:
        if o.year > max(wanted):
            break
        here = o.year in wanted
        if o.event not in _IGNORED and here:
            raise NotASeason(f"{o.event} {o.what} in {o.year} is not among the vocabulary's inputs")
        if o.event == "CULT":
            if o.what not in TILLAGE:
                raise NotASeason(f"the tillage '{o.what}' of {o.year} is not known")
            deepest = max(deepest, TILLAGE[o.what])
        elif o.event == "CROP":
            if here and o.what not in CROPS:
                raise NotASeason(f"{o.what} in {o.year} is not a crop of the models")
            crop, sown = o.what, o.doy
        elif o.event == "PLTM":
            sown = o.doy
        elif o.event == "HARV" and here and crop in CROPS:
            if o.year in found and CROPS[crop] != ALFALFA.cdl[0]:
                raise NotASeason(f"{o.year} has two harvests")
            found[o.year] = Season(
                crop=float(CROPS[crop]),
                sowing_doy=float(sown),
                harvest_doy=float(o.doy),
                irrigated=float(o.year in irrigated),
                residue_removed=_removed(o.what),
                tillage=deepest,
            )
            deepest = 0.0
        elif o.event == "HARV":
            deepest = 0.0
    bare = sorted(wanted - set(found))
    if bare:
        raise NotASeason(f"{bare[0]} has no harvest" + (f" ({len(bare)} such years)" if len(bare) > 1 else ""))
    return found


def nitrogen(operations: Sequence[Operation], years: Sequence[int]) -> float:
    """Mean fertiliser nitrogen of `years`, gN m-2 yr-1, from FERT events such as "(16.5N,1.0F)"."""
    wanted = set(years)
    amounts = [_AMOUNT.search(o.what) for o in operations if o.event == "FERT" and o.year in wanted]
    return sum(float(found[1]) for found in amounts if found) / len(wanted)


def _removed(harvest: str) -> float:
    if harvest == "SIL":
        return SILAGE
    straw = re.fullmatch(r"G(\d+)S", harvest)
    if straw:
        return int(straw[1]) / 100
    if harvest in ("G", "H", "MOW"):
        return 0.0
    raise NotASeason(f"what the harvest '{harvest}' leaves on the field is not known")


def read_layers(path: Path, depth_cm: float = 30.0) -> dict[str, float]:
    """Soil of the upper 30 cm from a DayCent soil file, mean by thickness, in the vocabulary's names and units.

    Columns: top and bottom [cm], bulk density [g cm-3], field capacity, wilting point [m3 m-3], evaporation and root
    weights, sand, clay, organic matter [1], lowest water, saturated conductivity [cm s-1], pH. Raises BadMeasurements.
    """
    try:
        table = np.array([[float(v) for v in line.split()] for line in path.read_text().splitlines() if line.strip()])
    except (OSError, ValueError) as error:
        raise BadMeasurements(f"The soil layers {path} cannot be read as a table of numbers: {error}.") from error
    if table.ndim != 2 or table.shape[1] != 13:
        raise BadMeasurements(f"The soil layers {path} must have 13 columns in every line (DayCent's soils.in).")
    thickness = np.clip(np.minimum(table[:, 1], depth_cm) - table[:, 0], 0.0, None)
    mean = (table * thickness[:, None]).sum(axis=0) / thickness.sum()
    sand, clay = 1000.0 * mean[7], 1000.0 * mean[8]
    return {
        "bulk_density": float(mean[2]),
        "field_capacity": float(mean[3]),
        "wilting_point": float(mean[4]),
        "sand": float(sand),
        "clay": float(clay),
        "silt": float(1000.0 - sand - clay),
        "ksat": float(mean[11] * 36000.0),
        "ph": float(mean[12]),
    }


__all__ = ["CROPS", "TILLAGE", "NotASeason", "Operation", "nitrogen", "read_layers", "read_schedule", "seasons"]
