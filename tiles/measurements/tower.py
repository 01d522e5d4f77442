"""A flux tower as data, and the inputs of a model's run at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np
from fieldflux.models.contract import Forcing
from numpy.typing import NDArray

from .tables import Array

Days = NDArray[np.datetime64]
Mask = NDArray[np.bool_]

FORCING = ("tmean", "tmin", "tmax", "precip", "srad", "vpd", "wind", "rnet", "irrigation", "co2")
OBSERVED = ("nee", "gpp", "reco", "le", "h", "et", "lai", "soil_moisture")
YEARLY = ("crop", "sowing_doy", "harvest_doy", "irrigated", "residue_removed", "tillage")
SOIL = ("bulk_density", "sand", "silt", "clay", "field_capacity", "wilting_point", "ksat", "soc_content")


@dataclass(frozen=True, slots=True, eq=False)
class Tower:
    """One flux tower over consecutive local standard days.

    group: towers of one group stand in one place; holding one of them out is no spatial test.
    forcing, observed: variable -> [day], NaN where missing. good: observed variable -> [day], True where it may be
    scored (measured enough, in a year that is not dropped). annual: variable -> [year] over `years`; a winter crop is
    sown in the autumn before its year, and its sowing_doy is then greater than its harvest_doy. static: variable ->
    value. harvested: yield -> [year] where it was weighed, gC m-2. monthly_precip: [year, month], mm d-1, of a gridded
    product, where the tower has no daily rain. missing: what is not known or was declared, in sentences.
    """

    site: str
    title: str
    group: str
    latitude: float
    longitude: float
    elevation: float | None
    utc_offset: float
    start: date
    years: tuple[int, ...]
    forcing: Mapping[str, Array]
    annual: Mapping[str, Array]
    static: Mapping[str, float]
    observed: Mapping[str, Array]
    good: Mapping[str, Mask]
    harvested: Mapping[str, Array] = field(default_factory=dict)
    monthly_precip: Array | None = None
    missing: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    @property
    def days(self) -> int:
        return len(self.forcing["tmean"])

    def dates(self) -> Days:
        """[day] datetime64[D]."""
        return np.datetime64(self.start, "D") + np.arange(self.days)

    def year_of_day(self) -> NDArray[np.int64]:
        """[day] calendar year."""
        return years_of(self.dates())

    def crop_of_day(self) -> Array:
        """[day] code of the crop of the day's calendar year, NaN where unknown."""
        return self.annual["crop"][self.year_of_day() - self.years[0]]


def years_of(days: Days) -> NDArray[np.int64]:
    """Calendar year of each day."""
    return days.astype("datetime64[Y]").astype(np.int64) + 1970


def tower_forcing(
    tower: Tower, years: Sequence[int] | None = None, given_gpp: bool = False, days: tuple[date, date] | None = None
) -> Forcing:
    """The inputs of a run of one cell at a tower.

    years: consecutive calendar years, default all; only the days that the tower has of them. days: first and last day
    instead. given_gpp: hand the measured GPP to the model, its negative values (night noise of the partitioning) as 0,
    NaN where missing and in years of which no day may be scored. Inputs that are nowhere known at the tower are left
    out, not handed over as NaN.
    Raises ValueError where the years are not consecutive or not the tower's, or GPP is asked for and was not measured.
    """
    first, last = days if days is not None else _span(tower, years)
    begin = max((first - tower.start).days, 0)
    end = min((last - tower.start).days + 1, tower.days)
    if begin >= end:
        has = tower.dates()
        raise ValueError(f"Tower {tower.site} has no day between {first} and {last}; it has {has[0]} to {has[-1]}.")
    if given_gpp and "gpp" not in tower.observed:
        raise ValueError(f"Tower {tower.site} has no GPP that could be given to a model. Run it with its own.")
    part = slice(begin, end)
    touched = tuple(int(y) for y in np.unique(tower.year_of_day()[part]))
    in_years = slice(touched[0] - tower.years[0], touched[-1] - tower.years[0] + 1)
    return Forcing(
        start=tower.dates()[begin].item(),
        years=touched,
        daily={
            name: values[None, part].astype(np.float32)
            for name, values in tower.forcing.items()
            if np.isfinite(values[part]).any()
        },
        weather=np.zeros(1, np.int64),
        annual={name: values[None, in_years].astype(np.float32) for name, values in tower.annual.items()},
        static={name: np.array([value], np.float32) for name, value in tower.static.items()},
        gpp_given=_given_gpp(tower)[None, part].astype(np.float32) if given_gpp else None,
        gpp_unit=np.zeros((1, len(touched)), np.int64) if given_gpp else None,
    )


def _given_gpp(tower: Tower) -> Array:
    of_day = tower.year_of_day()
    usable = np.isin(of_day, np.unique(of_day[tower.good["gpp"]]))
    return np.where(usable, np.maximum(tower.observed["gpp"], 0.0), np.nan)


def _span(tower: Tower, years: Sequence[int] | None) -> tuple[date, date]:
    chosen = sorted(years) if years is not None else list(tower.years)
    if chosen != list(range(chosen[0], chosen[-1] + 1)):
        raise ValueError(f"A run at a tower needs consecutive years, but these were given: {chosen}.")
    has = tower.years
    if chosen[0] < has[0] or chosen[-1] > has[-1]:
        raise ValueError(
            f"Tower {tower.site} has the years {has[0]} to {has[-1]}, but {chosen[0]} to {chosen[-1]} were asked for."
        )
    return date(chosen[0], 1, 1), date(chosen[-1], 12, 31)
