"""Made-up weather of a temperate year for the crop model: the same for the same seed, no real place."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def made_up(rows: int, days: int = 365, seed: int = 0, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Arguments of `prepare`: [rows, days] each, of days from 1 January on."""
    g = torch.Generator().manual_seed(seed)
    day = torch.arange(1, days + 1, dtype=dtype)
    season = -torch.cos(2.0 * math.pi * (day - 15.0) / 365.0)

    def normal() -> Tensor:
        return torch.randn(rows, days, generator=g, dtype=dtype)

    def even() -> Tensor:
        return torch.rand(rows, days, generator=g, dtype=dtype)

    t, span = 10.0 + 12.0 * season + 3.0 * normal(), 8.0 + 4.0 * even()
    radiation = (13.0 + 9.0 * season + 3.0 * normal()).clamp(1.0, 35.0)
    rain = torch.where(even() < 0.3, -7.0 * torch.log(even().clamp(min=1e-6)), 0.0)
    low = t - 0.5 * span
    vapour = 0.6108 * torch.exp(17.27 * low / (low + 237.3))
    return {
        "t_min": low, "t_max": t + 0.5 * span, "radiation": radiation, "rain": rain, "vapour": vapour,
        "wind": 1.0 + 3.0 * even(), "day_of_year": day,
    }  # fmt: skip


def peer_model(crop: Any, latitude: float, sow: int, limits: str, dtype: torch.dtype, smooth: bool = False) -> Any:
    """torchcrop's model with this crop's settings, sown on a day of the year."""
    import torchcrop

    def number(value: Any) -> Tensor:
        return torch.as_tensor(value, dtype=dtype)

    name = "wheat" if crop.name.startswith("winter_wheat") else crop.name
    parameters = torchcrop.CropParameters.from_crop_name(name).to(dtype=dtype)
    parameters.iopt = number({"potential": 1.0, "water": 2.0, "nitrogen": 3.0}[limits])
    if len(crop.vernal) > 1:
        parameters.idsl, parameters.tsumem = number(2.0), number(crop.tsumem)
        parameters.phottb, parameters.vernrt = number(crop.photoperiod), number(crop.vernal)
        parameters.vbase, parameters.versat = number(crop.vernal_base), number(crop.vernal_full)
        parameters.minimal_vernalisation_factor = number(crop.vernal_least)
    site = torchcrop.SiteParameters().to(dtype=dtype)
    site.latitude, site.altitude, site.idpl = number(latitude), number(0.0), number(float(sow))
    soil = torchcrop.SoilParameters().to(dtype=dtype)
    return torchcrop.Lintul5Model(parameters, soil, site, smooth=smooth, grain_heat_stress=False)


def peer_weather(weather: dict[str, Tensor]) -> Any:
    """The same weather as torchcrop reads it."""
    import torchcrop

    mean = 0.5 * (weather["t_min"] + weather["t_max"])
    columns = [weather[name] for name in ("t_min", "t_max", "radiation", "rain", "vapour", "wind")]
    return torchcrop.WeatherDriver(torch.stack([weather["day_of_year"].expand_as(mean), mean, *columns], dim=-1))
