"""The files that towers come from, one reader each: a folder in, its towers out, [] where the file is not there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from fieldflux.tiles.atmosphere import saturation_pressure

from .assemble import Parts, all_years, build, calendar, onto, place_of, standing
from .management import eu_seasons, mead_seasons
from .places import MEAD_SOIL
from .tables import Array, BadMeasurements, dates, find, numbers, read_table
from .tower import Days, Tower

if TYPE_CHECKING:
    import pandas as pd

UMOL_TO_GC = 12.011e-6 * 86400.0
W_TO_MJ = 0.0864

FLUXNET = "flux/fluxnet2015_cropland_daily.csv.gz"
FLUXNET_SITES = "flux/fluxnet2015_cropland_sites.csv"
MEAD = "flux/us-ne_daily_flux_and_forcing_2001_2011.csv.gz"
MEAD_1 = "flux/us-ne1_fluxnet2015_subset_daily_2001_2011.csv.gz"
BI1_FORCING = "flux/us-bi1_forcing_halfhourly_2018_2021.csv.gz"
BI1_FLUX = "flux/us-bi1_flux_halfhourly_2018_2021.csv.gz"
TW3 = "flux/us-tw3_daily_2013_2018.csv.gz"
MONTHLY = "flux/cropland_monthly_2001_2016.csv.gz"

HAILED = ("US-Ne1", "US-Ne2")
_DAILY = ("site", "date", "NEE", "GPP_NT", "NEE_QC", "TA_mean", "TA_min", "TA_max", "VPD_mean", "SW_IN")


def fluxnet(data_dir: Path) -> list[Tower]:
    """FLUXNET2015 croplands: fluxes, temperature, VPD, radiation; rain only by month; crops of the European ones."""
    table = _table(data_dir, FLUXNET, _DAILY)
    places = _sites(data_dir)
    if table is None or not places:
        return []
    seasons = eu_seasons(data_dir)
    rain = _monthly(data_dir)
    towers = []
    for name, part in table.groupby("site"):
        site = str(name)
        days, on = calendar(dates(part, "date", data_dir / FLUXNET))
        forcing, observed, quality = _fluxnet_columns(part, on)
        known = seasons.get(site) or standing(place_of(site), all_years(days))
        notes = [
            "No wind, net radiation, latent or sensible heat.",
            "No daily rain: precip is NaN; monthly rain of a gridded product is in monthly_precip.",
        ]
        if not known:
            notes.append("The crops grown are not documented in this folder: crop is NaN.")
        parts = Parts(site, *_where(places, site), days, forcing, observed, (FLUXNET,), quality, known)
        towers.append(build(replace(parts, notes=notes, monthly_rain=rain.get(site))))
    return towers


def mead(data_dir: Path) -> list[Tower]:
    """The three Mead fields 2001-2011 with rain and wind; heat fluxes and net radiation of US-Ne1."""
    needed = (*_DAILY, "precip_prism_mm", "wind_ms", "crop", "irrigated")
    table = _table(data_dir, MEAD, needed, text=("crop",))
    places = _sites(data_dir)
    if table is None or not places:
        return []
    seasons = mead_seasons(data_dir, table)
    towers = []
    for name, part in table.groupby("site"):
        site = str(name)
        days, on = calendar(dates(part, "date", data_dir / MEAD))
        forcing, observed, quality = _fluxnet_columns(part, on)
        forcing["precip"] = on(part["precip_prism_mm"].to_numpy(np.float64))
        forcing["wind"] = on(part["wind_ms"].to_numpy(np.float64))
        sources: tuple[str, ...] = (MEAD,)
        if site == "US-Ne1" and _add_energy(data_dir, days, forcing, observed, quality):
            sources = (MEAD, MEAD_1)
        notes: tuple[str, ...] = (
            "Rain is PRISM's, the same for the three fields. Irrigation depths are unknown: irrigation is NaN.",
            "Wind of 2001 to 2006 is one series for the three fields.",
            "Maize without recorded dates has those of US-Ne1 in that year; soybean 20 May and 7 October.",
        )
        if site in HAILED:
            notes += ("Hail took the crop of 2010: its yield and late season test no model without hail.",)
        parts = Parts(site, *_where(places, site), days, forcing, observed, sources, quality, seasons.get(site, {}))
        towers.append(build(replace(parts, notes=notes, soil=MEAD_SOIL.get(site, {}))))
    return towers


def _add_energy(
    data_dir: Path, days: Days, forcing: dict[str, Array], observed: dict[str, Array], quality: dict[str, Array]
) -> bool:
    fluxes = (("le", "LE_F_MDS"), ("h", "H_F_MDS"))
    table = _table(data_dir, MEAD_1, ("TIMESTAMP", "NETRAD", *(f"{n}{s}" for _, n in fluxes for s in ("", "_QC"))))
    if table is None:
        return False
    table = table.replace(-9999, np.nan)
    stamp = table.assign(day=table["TIMESTAMP"].astype(int).astype(str))
    on = onto(days, dates(stamp, "day", data_dir / MEAD_1, "%Y%m%d"))
    forcing["rnet"] = on(table["NETRAD"].to_numpy(np.float64)) * W_TO_MJ
    for ours, theirs in fluxes:
        observed[ours] = on(table[theirs].to_numpy(np.float64))
        quality[ours] = on(table[f"{theirs}_QC"].to_numpy(np.float64))
    return True


def bouldin(data_dir: Path) -> list[Tower]:
    """US-Bi1, alfalfa, from half hours: NEE, heat fluxes, LAI and soil moisture; no partitioned GPP or Reco."""
    import pandas as pd

    stamp = ("TIMESTAMP_END",)
    weather = _table(data_dir, BI1_FORCING, (*stamp, "TA_F", "SW_IN_F", "eair", "WS_F", "SWC_F_MDS_1", "LAI"), stamp)
    flux = _table(data_dir, BI1_FLUX, (*stamp, "P_F", "LE_F_MDS", "H_F_MDS", "NETRAD", "NEE_VUT_REF"), stamp)
    if weather is None or flux is None:
        return []
    half = weather.merge(flux, on="TIMESTAMP_END", how="outer", validate="one_to_one")
    half["vpd"] = np.maximum(
        saturation_pressure(half["TA_F"].to_numpy(np.float64)) - half["eair"].to_numpy(np.float64), 0.0
    )
    # The stamp is the end of the half hour: its middle, 15 minutes earlier, lies in the day it belongs to.
    half["day"] = (pd.to_datetime(half["TIMESTAMP_END"]) - pd.Timedelta(minutes=15)).dt.floor("D")
    groups = half.drop(columns="TIMESTAMP_END").groupby("day")
    whole = groups.size() >= 47
    mean = groups.mean()[whole]
    days, on = calendar(mean.index.to_numpy().astype("datetime64[D]"))

    def column(name: str, factor: float = 1.0) -> Array:
        return on(mean[name].to_numpy(np.float64) * factor)

    forcing = {
        "tmean": column("TA_F"),
        "tmin": on(groups["TA_F"].min()[whole].to_numpy(np.float64)),
        "tmax": on(groups["TA_F"].max()[whole].to_numpy(np.float64)),
        "precip": on(groups["P_F"].sum()[whole].to_numpy(np.float64)),
        "srad": column("SW_IN_F", W_TO_MJ),
        "vpd": column("vpd"),
        "wind": column("WS_F"),
        "rnet": column("NETRAD", W_TO_MJ),
    }
    observed = {
        "nee": column("NEE_VUT_REF", UMOL_TO_GC),
        "le": column("LE_F_MDS"),
        "h": column("H_F_MDS"),
        "lai": column("LAI"),
        "soil_moisture": column("SWC_F_MDS_1"),
    }
    notes = (
        "NEE is not partitioned: no GPP or Reco. It carries no quality flag: every whole day is scored.",
        "Irrigation (floods, a shallow water table) and the days of cutting are unknown.",
        "Soil moisture is that of one shallow probe. Measured LE + H is about 0.75 of the available energy.",
    )
    seasons = standing(place_of("US-Bi1"), all_years(days))
    parts = Parts("US-Bi1", 38.0991, -121.4993, -8.0, days, forcing, observed, (BI1_FORCING, BI1_FLUX))
    return [build(replace(parts, seasons=seasons, notes=notes))]


def twitchell(data_dir: Path) -> list[Tower]:
    """US-Tw3, alfalfa: FLUXNET2015's 2013-2014 with rain, wind, net radiation and heat fluxes of another file."""
    extra = _table(data_dir, TW3, ("date", "WS", "NETRAD", "LE_PI_F", "H_PI_F", "ET", "gridMET_prcp"))
    base = [tower for tower in fluxnet(data_dir) if tower.site == "US-Tw3"]
    if extra is None or not base:
        return []
    tower = base[0]
    on = onto(tower.dates(), dates(extra, "date", data_dir / TW3))

    def column(name: str) -> Array:
        return on(extra[name].to_numpy(np.float64))

    weather = {"precip": column("gridMET_prcp"), "wind": column("WS"), "rnet": column("NETRAD") * W_TO_MJ}
    energy = {"le": column("LE_PI_F"), "h": column("H_PI_F"), "et": column("ET")}
    notes = (
        "Rain is gridMET's. The file goes to 2018, but air temperature only to 2014: its sonic one is far too warm.",
        "Irrigation and the days of cutting are unknown.",
        *(note for note in tower.missing if note.startswith("Soil")),
    )
    return [
        replace(
            tower,
            forcing={**tower.forcing, **weather},
            observed={**tower.observed, **energy},
            good={**tower.good, **{name: np.isfinite(values) for name, values in energy.items()}},
            monthly_precip=None,
            missing=notes,
            sources=(*tower.sources, TW3),
        )
    ]


def _fluxnet_columns(
    part: pd.DataFrame, on: Callable[[Array], Array]
) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
    def column(name: str, factor: float = 1.0) -> Array:
        return on(part[name].to_numpy(np.float64) * factor)

    forcing = {
        "tmean": column("TA_mean"),
        "tmin": column("TA_min"),
        "tmax": column("TA_max"),
        "srad": column("SW_IN"),
        "vpd": column("VPD_mean", 0.1),
    }
    observed = {"nee": column("NEE"), "gpp": column("GPP_NT"), "reco": column("NEE") + column("GPP_NT")}
    return forcing, observed, dict.fromkeys(observed, column("NEE_QC"))


def _sites(data_dir: Path) -> dict[str, tuple[float, float, float]]:
    table = _table(data_dir, FLUXNET_SITES, ("site", "lat", "lon", "utc_offset_h"))
    if table is None:
        return {}
    rows = zip(table["site"], table["lat"], table["lon"], table["utc_offset_h"], strict=True)
    return {str(site): (float(lat), float(lon), float(offset)) for site, lat, lon, offset in rows}


def _where(places: dict[str, tuple[float, float, float]], site: str) -> tuple[float, float, float]:
    if site not in places:
        raise BadMeasurements(f"There are days of the tower {site}, but {FLUXNET_SITES} has no row of it; add one.")
    return places[site]


def _monthly(data_dir: Path) -> dict[str, dict[tuple[int, int], float]]:
    table = _table(data_dir, MONTHLY, ("site", "month", "prec"), ("month",))
    found: dict[str, dict[tuple[int, int], float]] = {}
    if table is None:
        return found
    rain = numbers(table, "prec", data_dir / MONTHLY)
    for site, month, mean in zip(table["site"], table["month"], rain, strict=True):
        found.setdefault(str(site), {})[int(month[:4]), int(month[5:7])] = float(mean)
    return found


def _table(data_dir: Path, name: str, needed: Sequence[str], text: Sequence[str] = ()) -> pd.DataFrame | None:
    path = find(data_dir, name)
    return None if path is None else read_table(path, needed, (*text, "site", "date"))
