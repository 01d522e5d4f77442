"""Weather and soil of DSSAT's field experiments: daily tables of a station's years, and layers made into two zones."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .dssattables import Text, day, number, read_text
from .tables import Array, BadMeasurements

STARTED = 0.3  # m; the upper zone of the water that a field starts with
DEEPEST = 1.5  # m; what lies deeper is not averaged
NITROGEN_PER_CARBON = 0.1  # of soil organic matter, g g-1
_WORDS = re.compile(r"[A-Za-z]{2,}.*[A-Za-z]{2,}.*[A-Za-z]{2,}")  # a sentence, not a row of data taken out
RELEASED = 0.02  # of the organic nitrogen of 0-0.3 m in a year: 1-3 % (Brady and Weil, The nature of soils, ch. 13)


@dataclass(frozen=True, slots=True, eq=False)
class FieldWeather:
    """days: [D] datetime64, one after the other. tmin, tmax: degC. srad: MJ m-2 d-1. precip: mm d-1. vapour: kPa and
    wind: m s-1, NaN where they were not measured. Missing numbers are NaN. notes: what the files say of themselves."""

    days: np.ndarray[tuple[int], np.dtype[np.datetime64]]
    tmin: Array
    tmax: Array
    srad: Array
    precip: Array
    vapour: Array
    wind: Array
    latitude: float
    longitude: float
    elevation: float
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FieldSoil:
    """A profile as two zones can hold it. wilting, capacity, saturation: m3 m-3, means to its depth, at most 1.5 m.
    depth: m that roots can reach. start, start_below: share of the available water, 0 to 1, above and below 0.3 m on
    the first day; NaN where it was not measured. n_mineral: g m-2 on the first day. n_organic: g m-2 that organic
    matter releases in a year, 2 % of the nitrogen of 0-0.3 m at C:N 10, an estimate; NaN without carbon."""

    name: str
    wilting: float
    capacity: float
    saturation: float
    depth: float
    start: float
    start_below: float
    n_mineral: float
    n_organic: float
    notes: tuple[str, ...]


def read_station(folder: Path, station: str, first: np.datetime64, last: np.datetime64) -> FieldWeather | None:
    """The weather of the days from first to last; None where no file is there or none has the first day.

    station: a file's name without ending, or its first four letters; the files of later years are taken where the
    first ends too early. Days that no file has are NaN, and told. Raises BadMeasurements.
    """
    code = station[:4]
    begin, end = (int(str(d)[:4]) for d in (first, last))
    names = [f"{code}{year % 100:02d}01.WTH" for year in range(begin, end + 1)]
    if len(station) == 8:
        names = [f"{station}.WTH", *(n for n in names if n != f"{station}.WTH")]
    paths = [folder / name for name in names if (folder / name).is_file()]
    if not paths:
        return None
    days = np.arange(first, last + np.timedelta64(1, "D"))
    values = {name: np.full(days.size, np.nan) for name in ("SRAD", "TMAX", "TMIN", "RAIN", "DEWP", "WIND")}
    notes: list[str] = []
    place = (np.nan, np.nan, np.nan)
    for path in paths:
        text = read_text(path)
        used = _fill(text, days, values)
        if used and np.isnan(place[0]):
            place = _station_place(text)
        if used:
            notes += [f"{path.name} says: {comment}" for comment in text.comments if _WORDS.search(comment)]
    if not np.isfinite(values["TMAX"][0]):
        return None
    lost = np.isnan(np.stack([values[n] for n in ("SRAD", "TMAX", "TMIN", "RAIN")])).any(0)
    if lost.any():
        notes.append(f"{lost.sum()} of {days.size} days of weather are missing, {days[lost][0]} to {days[lost][-1]}.")
    dew = values["DEWP"]
    return FieldWeather(
        days, values["TMIN"], values["TMAX"], values["SRAD"], values["RAIN"],
        0.6108 * np.exp(17.27 * dew / (dew + 237.3)), values["WIND"] / 86.4, *place, tuple(notes),
    )  # fmt: skip


def _fill(text: Text, days: np.ndarray[tuple[int], np.dtype[np.datetime64]], values: dict[str, Array]) -> int:
    """Put a file's rows where nothing is yet; how many were put."""
    used = 0
    try:
        for section in text.sections:
            for table in section.having("DATE", "SRAD", "TMAX"):
                for row in table.numbers():
                    place = int((day(row.get("DATE")) - days[0]).astype(int)) if row.get("DATE") else -1
                    if not 0 <= place < days.size or np.isfinite(values["TMAX"][place]):
                        continue
                    used += 1
                    for name, column in values.items():
                        column[place] = number(row.get(name))
    except ValueError as error:
        raise BadMeasurements(f"The weather file {text.path} cannot be understood: {error}.") from error
    return used


def _station_place(text: Text) -> tuple[float, float, float]:
    for section in text.sections:
        for table in section.having("LAT", "LONG"):
            for row in table.numbers():
                return tuple(number(row.get(name)) for name in ("LAT", "LONG", "ELEV"))  # type: ignore[return-value]
    raise BadMeasurements(f"The weather file {text.path} has no line of the station with LAT and LONG.")


@dataclass(frozen=True, slots=True, eq=False)
class Layers:
    """Layers from the top down. bottom: m. The others [n]: wilting point, field capacity, saturation, m3 m-3; rooting
    0 to 1; density Mg m-3; carbon g kg-1. Missing numbers are NaN."""

    bottom: Array
    wilting: Array
    capacity: Array
    saturation: Array
    rooting: Array
    density: Array
    carbon: Array

    @property
    def top(self) -> Array:
        """[n] m."""
        return np.concatenate([[0.0], self.bottom[:-1]])


def read_profiles(folder: Path) -> dict[str, Layers]:
    """All profiles of the folder's .SOL files by their name. Raises BadMeasurements."""
    profiles: dict[str, Layers] = {}
    for path in sorted(folder.glob("*.SOL")):
        text = read_text(path)
        for section in text.sections:
            name = section.title.split()[0] if section.title.split() else ""
            table = next(section.having("SLB", "SLLL", "SDUL", "SSAT"), None)
            if table is None or name in profiles:
                continue
            try:
                rows = [{key: number(word) for key, word in row.items() if key in _LAYER} for row in table.numbers()]
            except ValueError:
                continue  # a profile of the library with a fault that no experiment may ever ask for
            rows = [row for row in rows if np.isfinite(row.get("SLB", np.nan))]
            if rows:
                of = {key: np.array([row.get(key, np.nan) for row in rows]) for key in _LAYER}
                profiles[name] = Layers(of["SLB"] / 100.0, of["SLLL"], of["SDUL"], of["SSAT"], of["SRGF"], of["SBDM"],
                                        10.0 * of["SLOC"])  # fmt: skip
    return profiles


_LAYER = ("SLB", "SLLL", "SDUL", "SSAT", "SRGF", "SBDM", "SLOC")


def two_zones(name: str, layers: Layers, bottom: Array, water: Array, nitrogen: Array) -> FieldSoil:
    """A profile and what was measured in it at the start: bottom [k] m, water [k] m3 m-3, mineral nitrogen [k] mg kg-1.

    Raises ValueError where the layers have no water limits.
    """
    known = np.isfinite(layers.wilting) & np.isfinite(layers.capacity) & np.isfinite(layers.saturation)
    if not known.any():
        raise ValueError(f"the profile {name} has no layer with SLLL, SDUL and SSAT")
    notes: list[str] = []
    rooted = layers.bottom[known & ~(layers.rooting <= 0.0)]
    depth = float(rooted.max()) if rooted.size else float(layers.bottom.max())
    thick = np.where(known, np.clip(np.minimum(layers.bottom, DEEPEST) - layers.top, 0.0, None), 0.0)

    def mean(values: Array, weight: Array) -> float:
        ok = np.isfinite(values) & (weight > 0)
        return float((values[ok] * weight[ok]).sum() / weight[ok].sum()) if ok.any() else np.nan

    above = np.clip(np.minimum(layers.bottom, STARTED) - layers.top, 0.0, None) * known
    under = np.clip(thick - above, 0.0, None)
    start, below = np.nan, np.nan
    n_mineral = 0.0
    if bottom.size:
        middle = 0.5 * (layers.top + layers.bottom)
        at = np.minimum(np.searchsorted(bottom, middle), bottom.size - 1)
        share = (water[at] - layers.wilting) / np.clip(layers.capacity - layers.wilting, 0.01, None)
        room = layers.capacity - layers.wilting
        start, below = (mean(share * room, w) / mean(room, w) for w in (above, under))
        if start > 1.0 or below > 1.0 or start < 0.0 or below < 0.0:
            notes.append(f"Water at the start, {start:.2f} and {below:.2f} of the available, was held within 0 and 1.")
        start, below = (float(np.clip(v, 0.0, 1.0)) for v in (start, below))
        density = np.where(np.isfinite(layers.density), layers.density, 1.4)
        n_mineral = float(np.nansum(nitrogen[at] * density * thick))
    carbon = mean(np.where(layers.carbon > 0.0, layers.carbon, np.nan) * layers.density, above)  # 0: never measured
    n_organic = 1000.0 * carbon * STARTED * NITROGEN_PER_CARBON * RELEASED
    wilting, capacity, saturation = (mean(v, thick) for v in (layers.wilting, layers.capacity, layers.saturation))
    return FieldSoil(name, wilting, capacity, saturation, depth, start, below, n_mineral, n_organic, tuple(notes))
