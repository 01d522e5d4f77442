"""Field experiments in DSSAT's files: what was sown, applied and measured on each treatment, with its weather and soil.

    from fieldflux.tiles.measurements.dssat import read_fields
    for season in read_fields(data_dir):
        season.crop, season.place, season.biomass.day, season.biomass.mean     # days and g m-2

Layout under the folder: `crop/dssat/<crop>/` with EXP.??X (treatments and management), EXP.??T (series: CWAD biomass
kg ha-1, GWAD grain, LAID leaf area index), EXP.??A (dates and harvest), for crops maize, soybean and wheat;
`crop/dssat/weather/*.WTH` and `crop/dssat/soil/*.SOL`. Replicates of a day are averaged, their spread is kept.
Treatments without a series, weather or soil are left out; `read_fields` tells why in the notes it returns.
For arrays that models learn from see `fieldflux.app.crop.fieldinputs`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .dssatground import FieldSoil, FieldWeather, Layers, read_profiles, read_station, two_zones
from .dssatmanagement import Plan, applied, changed, plans
from .dssattables import Text, day, day_after, number, read_text
from .tables import Array, BadMeasurements

FOLDERS = {"maize": "maize", "soybean": "soybean", "wheat": "winter_wheat"}
ENDINGS = {"maize": "MZ", "soybean": "SB", "wheat": "WH"}
# The places of the experiments by the first four letters of their names: coordinates in the files are too often wrong
# (Castana's are those of Ames, Waipio's has the wrong sign) to tell which experiments share a place.
PLACES = {
    "UFGA": "Gainesville FL", "UFQU": "Quincy FL", "UFGW": "Greenwood FL", "IUAF": "Ames IA", "IUAM": "Ames IA",
    "IUCA": "Castana IA", "OHWO": "Wooster OH", "CLMO": "Morris MN", "IBWA": "Waipio HI", "KSAS": "Ashland KS",
}  # fmt: skip
SPOILT = re.compile(r"INSECT|DEFOL|DISEASE|\bCEW\b|HAIL", re.IGNORECASE)
AFTER = 10  # days of weather that a season keeps after the last measurement
LONGEST = 400


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """day: [n] datetime64. mean, spread (standard deviation of replicates, NaN of a single one): [n]. count: [n]."""

    day: NDArray[np.datetime64]
    mean: Array
    spread: Array
    count: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class FieldSeason:
    """One treatment of one experiment. crop: maize, soybean, winter_wheat. place: the town, the same for all
    experiments there. sowing, flowering, maturity: days, NaT where not known. plants: m-2. rows: m between rows.

    weather: from the first day (of the measured soil water, else of sowing) to 10 days after the last measurement;
    changes that the experiment made to it (a rain shelter) are in it. irrigation: [D] mm d-1 that reached the soil.
    nitrogen: [D] g m-2 d-1. biomass, grain: g m-2 of dry matter above ground. lai: m2 m-2.
    irrigation_known: False where the field was kept moist but amounts were not written down.
    damaged: insects, defoliation, disease or hail were part of the treatment; no crop model here knows of them.
    """

    crop: str
    experiment: str
    treatment: int
    title: str
    place: str
    cultivar: str
    sowing: np.datetime64
    flowering: np.datetime64
    maturity: np.datetime64
    plants: float
    rows: float
    weather: FieldWeather
    irrigation: Array
    nitrogen: Array
    irrigation_known: bool
    damaged: bool
    soil: FieldSoil
    biomass: Series
    grain: Series
    lai: Series
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """Such as UFGA8201-4."""
        return f"{self.experiment}-{self.treatment}"


@dataclass(frozen=True, slots=True)
class Fields:
    """What was read. left_out: crop and one sentence for each treatment or experiment that could not be used."""

    seasons: tuple[FieldSeason, ...]
    left_out: tuple[tuple[str, str], ...]

    def of(self, crop: str) -> tuple[FieldSeason, ...]:
        """The seasons of a crop."""
        return tuple(s for s in self.seasons if s.crop == crop)


def read_fields(data_dir: Path) -> Fields:
    """All treatments with measured biomass. None where the folder has no `crop/dssat`. Raises BadMeasurements."""
    root = data_dir / "crop" / "dssat"
    if not root.is_dir():
        return Fields((), ())
    profiles = read_profiles(root / "soil")
    seasons: list[FieldSeason] = []
    left_out: list[tuple[str, str]] = []
    for folder, crop in FOLDERS.items():
        for path in sorted((root / folder).glob(f"*.{ENDINGS[folder]}X")):
            found, lost = _experiment(root, path, crop, profiles)
            seasons += found
            left_out += [(crop, reason) for reason in lost]
    kept: list[FieldSeason] = []
    for season in seasons:
        if (first := next((k for k in kept if _same(k, season)), None)) is None:
            kept.append(season)
        else:
            reason = f"{season.name}: its biomass is that of {first.name}, the same plot in two files."
            left_out.append((season.crop, reason))
    return Fields(tuple(kept), tuple(left_out))


def _same(a: FieldSeason, b: FieldSeason) -> bool:
    """Whether two treatments of one place and sowing have the same numbers, as experiments that share a plot do."""
    if (a.place, a.crop, a.sowing, a.damaged) != (b.place, b.crop, b.sowing, b.damaged):
        return False
    common = np.isin(np.round(a.biomass.mean, 1), np.round(b.biomass.mean, 1))
    return bool(a.experiment != b.experiment and common.sum() >= max(3, 0.8 * a.biomass.day.size))


def _experiment(
    root: Path, path: Path, crop: str, profiles: Mapping[str, Layers]
) -> tuple[list[FieldSeason], list[str]]:
    series, harvest = (path.with_suffix(f"{path.suffix[:-1]}{kind}") for kind in "TA")
    if not series.is_file():
        return [], [f"{path.stem}: there is no {series.name} with measurements over the season."]
    try:
        file = read_text(path)
        measured = _series(read_text(series))
        ends = _ends(read_text(harvest)) if harvest.is_file() else {}
        planned = plans(file)
    except ValueError as error:
        if isinstance(error, BadMeasurements):
            raise
        raise BadMeasurements(f"The experiment {path} cannot be understood: {error}.") from error
    seasons, lost = [], []
    for plan in planned:
        try:
            season = _season(root, path.stem, crop, plan, measured, ends, profiles)
        except ValueError as error:
            lost.append(f"{path.stem}-{plan.treatment}: {error}.")
            continue
        seasons.append(season)
    return seasons, lost


def _season(
    root: Path, experiment: str, crop: str, plan: Plan, measured: Mapping[tuple[int, str], Series],
    ends: Mapping[int, Mapping[str, str]], profiles: Mapping[str, Layers],
) -> FieldSeason:  # fmt: skip
    """Raises ValueError with what is missing."""
    nothing = Series(np.empty(0, "datetime64[D]"), np.empty(0), np.empty(0), np.empty(0, np.int64))
    biomass, grain, lai = (measured.get((plan.treatment, name), nothing) for name in ("CWAD", "GWAD", "LAID"))
    if not biomass.day.size:
        raise ValueError("no biomass was measured over the season")
    first = plan.measured_from if plan.measured_from <= plan.sowing else plan.sowing
    if (plan.sowing - first).astype(int) > 60:
        first = plan.sowing
    last = max(s.day.max() for s in (biomass, grain, lai) if s.day.size) + np.timedelta64(AFTER, "D")
    if biomass.day.min() < plan.sowing or (last - first).astype(int) > LONGEST:
        raise ValueError(f"its measurements ({biomass.day.min()} to {biomass.day.max()}) do not follow the sowing, "
                         f"{plan.sowing}")  # fmt: skip
    weather = read_station(root / "weather", plan.station, first, last)
    if weather is None:
        raise ValueError(f"there is no weather of {plan.station} from {first} on")
    if plan.soil not in profiles:
        raise ValueError(f"there is no soil {plan.soil} in the folder")
    soil = two_zones(plan.soil, profiles[plan.soil], plan.water_bottom, plan.water, plan.mineral)
    weather = changed(weather, plan.changes)
    notes = [*plan.notes, *weather.notes, *soil.notes]
    end = ends.get(plan.treatment, {})
    place = PLACES.get(experiment[:4], experiment[:4])
    return FieldSeason(
        crop, experiment, plan.treatment, plan.title, place, plan.cultivar, plan.sowing,
        day_after(end.get("ADAT"), plan.sowing), day_after(end.get("MDAT"), plan.sowing), plan.plants, plan.rows,
        weather, applied(weather.days, plan.irrigation), applied(weather.days, plan.nitrogen), plan.irrigation_known,
        bool(SPOILT.search(plan.title)), soil, biomass, grain, lai, tuple(notes),
    )  # fmt: skip


def _series(text: Text) -> dict[tuple[int, str], Series]:
    """By treatment and column. kg ha-1 become g m-2."""
    values: dict[tuple[int, str], dict[np.datetime64, list[float]]] = {}
    for row in _rows(text, "DATE"):
        when = day(row.get("DATE"))
        for name, factor in (("CWAD", 0.1), ("GWAD", 0.1), ("LAID", 1.0)):
            value = factor * number(row.get(name))
            if np.isfinite(value) and value >= 0.0 and not np.isnat(when):
                key = int(number(row.get("TRNO"))), name
                values.setdefault(key, {}).setdefault(when, []).append(value)
    out = {}
    for key, by_day in values.items():
        days = sorted(by_day)
        out[key] = Series(
            np.array(days, "datetime64[D]"), np.array([np.mean(by_day[d]) for d in days]),
            np.array([np.std(by_day[d], ddof=1) if len(by_day[d]) > 1 else np.nan for d in days]),
            np.array([len(by_day[d]) for d in days], np.int64),
        )  # fmt: skip
    return out


def _ends(text: Text) -> dict[int, Mapping[str, str]]:
    return {int(number(row["TRNO"])): row for row in _rows(text, "TRNO")}


def _rows(text: Text, needed: str) -> Iterator[dict[str, str]]:
    for section in text.sections:
        for table in section.having("TRNO", needed):
            yield from (row for row in table.numbers() if np.isfinite(number(row.get("TRNO"))))
