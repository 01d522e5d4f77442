"""Measurements that models are held against: flux towers, county yields, soil-carbon experiments.

Every reader takes one folder, laid out as below, and gives typed frozen objects in the vocabulary's names and units.
A file that is not there is not an error: its part is absent. A file that is there but cannot be understood raises
`BadMeasurements` with the file, the column and what was expected.

Layout of a folder of measurements (`.csv` or `.csv.gz`; first row = column names; an empty cell = missing):

    flux/own_sites.csv   one row per tower of yours. Needed: site, latitude, longitude. Optional: title, elevation,
                         utc_offset, group (towers of one group are one place and are held out together), and the soil:
                         bulk_density, sand, silt, clay, field_capacity, wilting_point, ksat, soc_content.
    flux/own_daily.csv   one row per tower and local standard day. Needed: site, date (YYYY-MM-DD). The other columns
                         are daily variables of the vocabulary in its units: forcing (tmean, tmin, tmax, precip, srad,
                         vpd, wind, rnet, irrigation, co2) and observed (nee, gpp, reco, le, h, et, lai,
                         soil_moisture). `<observed>_qc`, 0..1, is the measured fraction: days below 0.8 are not scored.
    flux/own_years.csv   one row per tower and year. Needed: site, year, crop (code of the Cropland Data Layer).
                         Optional: sowing_doy, harvest_doy, irrigated, residue_removed, tillage, yield (gC m-2).
    flux/...             the files of FLUXNET2015, Mead, US-Bi1 and US-Tw3 named in `sources`, read as published.
    yield/us_county_yields.csv.gz   Needed: fips, year, crop, yield_t_ha (t/ha at market moisture). Optional: county.
    weather/..., kgml_da/...        daily weather of the yield panel's counties, named in `panelweather`, as published.
    soc/lte_soc_timeseries.csv      Needed: site, Year, treatment, soc_g_m2 (gC m-2).
    soc/lte_sites.csv               Needed: site, lat, lon.
    soc/lte_management/<site>/      <treatment>.sch, a DayCent schedule of each plot, and soils.in, its soil layers.
    crop/dssat/<crop>/              field experiments in DSSAT's files, of maize, soybean and wheat: EXP.??X, .??T
                         and .??A; with crop/dssat/weather/*.WTH and crop/dssat/soil/*.SOL. See `dssat`.
    weather/midwest_lte_sites_daily_tmax_tmin_precip.csv.gz   weather of these sites. Needed: site (<place>_<state>),
                         date, tmax_c, tmin_c, precip_mm.
"""

from __future__ import annotations

from .gpp import CountyGpp, read_county_gpp
from .panel import CountyRecord, bearing, county_forcing, read_panel, stack
from .soilcarbon import SoilSeries, read_soil_series
from .tables import BadMeasurements
from .tower import Tower, tower_forcing
from .towers import read_towers
from .weather import with_monthly_rain
from .yields import Yields, read_yields

__all__ = [
    "BadMeasurements",
    "CountyGpp",
    "CountyRecord",
    "SoilSeries",
    "Tower",
    "Yields",
    "bearing",
    "county_forcing",
    "read_county_gpp",
    "read_panel",
    "read_soil_series",
    "read_towers",
    "read_yields",
    "stack",
    "tower_forcing",
    "with_monthly_rain",
]
