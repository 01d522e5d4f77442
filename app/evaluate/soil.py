"""Soil carbon of long-term experiments: what can be scored, and why the rest cannot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fieldflux.models.contract import Model
from fieldflux.tiles.measurements import read_soil_series


def soil_skipped(model: Model, data_dir: Path) -> list[str]:
    """A sentence for each group of experiments that cannot be run, with what is missing; [] without any experiment.

    A run needs daily weather with all the model's inputs, a dated management and a soil for each plot. No folder of
    measurements holds all of them for an experiment yet: their weather has temperature and rain only.
    """
    series = read_soil_series(data_dir)
    if not series:
        return ["Soil carbon: no soc/lte_soc_timeseries.csv in this folder."]
    sites = sorted({s.site for s in series})
    with_weather = _weather_sites(data_dir)
    lacking = [name for name in model.needs.daily if name not in ("tmax", "tmin", "precip", "tmean")]
    near = [s for s in sites if any(_same(s, w) for w in with_weather)]
    far = [s for s in sites if s not in near]
    sentences = []
    if near:
        sentences.append(
            f"Soil carbon of {', '.join(near)}: no forcing. Their weather holds daily temperature and rain, but not "
            f"{', '.join(lacking)}, which the model needs; nothing is filled in."
        )
    if far:
        sentences.append(f"Soil carbon of {', '.join(far)}: no forcing. This folder holds no weather of these places.")
    return sentences


def _weather_sites(data_dir: Path) -> Sequence[str]:
    import pandas as pd
    from fieldflux.tiles.measurements.tables import find

    path = find(data_dir, "weather/midwest_lte_sites_daily_tmax_tmin_precip.csv.gz")
    return [] if path is None else sorted(pd.read_csv(path, usecols=["site"])["site"].astype(str).unique())


def _same(experiment: str, station: str) -> bool:
    """Whether a weather station, such as "Ithaca_NE", is that of an experiment, such as "Ithaca2" or "IthacaNE"."""
    place = station.rsplit("_", 1)[0].lower().replace("south", "s")
    return experiment.lower().rstrip("0123456789").startswith(place)
