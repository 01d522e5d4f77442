"""Putting a tower together: its calendar, its soil, its quality masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from fieldflux.tiles.atmosphere import co2_of

from .management import Season
from .places import CDL, PLACES, TEXTURES, Place
from .tables import Array
from .tower import FORCING, SOIL, YEARLY, Days, Tower, years_of

GOOD_FRACTION = 0.8

# Years whose fluxes are not to be used: the towers' start (2001 at Mead) and bad gap filling.
DROPPED: Mapping[str, tuple[int, ...]] = {"US-Ne1": (2001, 2013), "US-Ne2": (2001, 2002, 2013), "US-Ne3": (2001, 2013)}


@dataclass(frozen=True, slots=True)
class Parts:
    """What a source knows of one tower. quality: observed variable -> [day] measured fraction, 0..1."""

    site: str
    latitude: float
    longitude: float
    utc_offset: float
    days: Days
    forcing: Mapping[str, Array]
    observed: Mapping[str, Array]
    sources: tuple[str, ...]
    quality: Mapping[str, Array] = field(default_factory=dict)
    seasons: Mapping[int, Season] = field(default_factory=dict)
    soil: Mapping[str, float] = field(default_factory=dict)
    notes: Sequence[str] = ()
    monthly_rain: Mapping[tuple[int, int], float] | None = None
    place: Place | None = None


def place_of(site: str) -> Place:
    """What is declared of a tower; a loam of which nothing is known where the tower is new."""
    unknown = Place(site, site, "loam", 12.0, "declared, since nothing is known of this tower's soil")
    return PLACES.get(site, unknown)


def build(parts: Parts) -> Tower:
    """The tower, with NaN for all that no source knows."""
    place = parts.place or place_of(parts.site)
    days = parts.days
    years = all_years(days)
    of_day = years_of(days)
    nothing = np.full(len(days), np.nan)
    forcing = {name: parts.forcing.get(name, nothing) for name in FORCING}
    if "co2" not in parts.forcing:
        air = co2_of(days)
        forcing["co2"] = nothing if air is None else air
    kept = ~np.isin(of_day, DROPPED.get(parts.site, ()))
    sure = np.ones(len(days))
    yearly = [parts.seasons.get(year, Season()) for year in years]
    static, soil_note = _static(parts.latitude, place, parts.soil)
    return Tower(
        site=parts.site,
        title=place.title,
        group=place.group,
        latitude=parts.latitude,
        longitude=parts.longitude,
        elevation=place.elevation,
        utc_offset=parts.utc_offset,
        start=days[0].item(),
        years=years,
        forcing=forcing,
        annual={name: np.array([getattr(season, name) for season in yearly], np.float64) for name in YEARLY},
        static=static,
        observed=dict(parts.observed),
        good={
            name: np.isfinite(values) & kept & (parts.quality.get(name, sure) >= GOOD_FRACTION)
            for name, values in parts.observed.items()
        },
        harvested={"yield": np.array([season.harvested for season in yearly], np.float64)},
        monthly_precip=None if parts.monthly_rain is None else _by_month(parts.monthly_rain, years),
        missing=(*parts.notes, soil_note),
        sources=parts.sources,
    )


def standing(place: Place, years: Sequence[int]) -> dict[int, Season]:
    """Seasons of towers whose name is their crop: alfalfa and orchards stand all year; others have no dated season."""
    if place.cover not in CDL:
        return {}
    stands = place.cover in ("alfalfa", "orchard")
    season = Season(
        crop=float(CDL[place.cover]),
        sowing_doy=1.0 if stands else np.nan,
        harvest_doy=365.0 if stands else np.nan,
        irrigated=1.0 if place.group == "Delta" else np.nan,
        residue_removed=0.0 if stands else np.nan,
        tillage=0.0 if stands else np.nan,
    )
    return dict.fromkeys(years, season)


def calendar(given: Days) -> tuple[Days, Callable[[Array], Array]]:
    """All days from the first to the last given, and how to lay a column of the given rows onto them."""
    days = np.arange(given.min(), given.max() + 1)
    return days, onto(days, given)


def onto(days: Days, given: Days) -> Callable[[Array], Array]:
    """How to lay a column of rows at the days `given` onto `days`; NaN where there is no row."""
    where = (given - days[0]).astype(np.int64)
    inside = (where >= 0) & (where < len(days))

    def laid(values: Array) -> Array:
        out = np.full(len(days), np.nan)
        out[where[inside]] = values[inside]
        return out

    return laid


def all_years(days: Days) -> tuple[int, ...]:
    """Calendar years that the days touch."""
    first, last = (int(year) for year in years_of(days[[0, -1]]))
    return tuple(range(first, last + 1))


def _static(latitude: float, place: Place, measured: Mapping[str, float]) -> tuple[dict[str, float], str]:
    texture = TEXTURES[place.texture]
    static = {
        "latitude": latitude,
        "bulk_density": texture.bulk_density,
        "sand": texture.sand,
        "clay": texture.clay,
        "field_capacity": texture.field_capacity,
        "wilting_point": texture.wilting_point,
        "ksat": texture.ksat,
        "soc_content": place.soc,
    } | dict(measured)
    static["silt"] = 1000.0 - static["sand"] - static["clay"]
    if place.elevation is not None:
        static["elevation"] = place.elevation
    declared = [name for name in SOIL if name not in (*measured, "silt")]
    if not declared:
        return static, "Soil: all values given."
    return static, f"Soil not measured: {', '.join(declared)}; taken as {place.texture} ({place.soil_from})."


def _by_month(rain: Mapping[tuple[int, int], float], years: Sequence[int]) -> Array:
    return np.array([[rain.get((year, month), np.nan) for month in range(1, 13)] for year in years])
