"""Weather as the model reads it: given per weather row and day, prepared once for all cells that share a row."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from fieldflux.models.processes.soilcarbon.threads import in_threads
from torch import Tensor

from .crops import Crop
from .kernels import weather_kernel
from .operations import TorchOperations
from .weather_step import COLUMN, GIVEN, build_weather

Engine = Literal["compiled", "torch"]
SPEED = 2.0  # m s-1, of wind where none is measured


@dataclass(frozen=True, slots=True)
class Weather:
    """columns: [COLUMN, days * rows (padded)], days before rows. missing: [rows] whether a value was missing."""

    columns: Tensor
    rows: int
    days: int
    missing: Tensor


def prepare(
    crop: Crop,
    *,
    t_min: Tensor,
    t_max: Tensor,
    radiation: Tensor,
    rain: Tensor,
    day_of_year: Tensor,
    latitude: Tensor | float,
    vapour: Tensor | None = None,
    wind: Tensor | None = None,
    altitude: Tensor | float = 0.0,
    co2: Tensor | float = 370.0,
    irrigation: Tensor | None = None,
    nitrogen: Tensor | None = None,
    engine: Engine = "compiled",
) -> Weather:
    """Prepare daily weather [R, D] of R weather rows for a crop.

    t_min, t_max: degC. radiation: MJ m-2 d-1. rain, irrigation: mm d-1. vapour: kPa; where none is given, that of air
    saturated at t_min. wind: m s-1; where none is given, 2. nitrogen: fertiliser, g m-2 d-1. day_of_year: [D] or
    [R, D]. latitude (degrees), altitude (m), co2 (ppm): one or [R]. No gradients flow to weather.
    On another device than the processor the torch operations are used, and the season is simulated there.
    Rows with missing values (NaN) are marked; what is computed of them comes out as NaN.
    Raises ValueError where the shapes do not fit.
    """
    rows, days = t_min.shape
    for name, given in (("t_max", t_max), ("radiation", radiation), ("rain", rain), ("vapour", vapour), ("wind", wind),
                        ("irrigation", irrigation), ("nitrogen", nitrogen)):  # fmt: skip
        if given is not None and given.shape != t_min.shape:
            raise ValueError(f"{name} has the shape {tuple(given.shape)}, but t_min has {tuple(t_min.shape)}.")
    kind, device = t_min.dtype, t_min.device
    if device.type != "cpu":
        engine = "torch"  # the compiled engine is the processor's
    with torch.no_grad():
        if vapour is None:
            vapour = 0.6108 * torch.exp(17.27 * t_min / (t_min + 237.3))
        above, photoperiod = _sky(crop, _column(latitude, t_min), day_of_year.to(t_min))
        height = _column(altitude, t_min)
        gamma: Tensor | float = 0.000662 * 1013.0
        if bool((height != 0.0).any()):
            gamma = gamma * torch.exp(-0.034 * height / (0.5 * (t_min + t_max) + 273.0))
        named: dict[str, Tensor | float | None] = {
            "t_min": t_min, "t_max": t_max, "radiation": radiation, "rain": rain, "vapour": vapour,
            "wind": SPEED if wind is None else wind, "irrigation": irrigation, "nitrogen": nitrogen,
            "co2": _column(co2, t_min), "above": above, "photoperiod": photoperiod, "psychrometric": gamma,
        }  # fmt: skip
        lanes = 64 // t_min.element_size()
        elements = -(-rows * days // lanes) * lanes
        given_all = torch.ones(len(GIVEN), elements, dtype=kind, device=device)
        missing = torch.zeros(rows, dtype=torch.bool, device=device)
        for i, name in enumerate(GIVEN):
            value = named[name]
            view = given_all[i, : rows * days].view(days, rows)
            if isinstance(value, Tensor):
                view.copy_(value.expand(rows, days).T)
                missing |= torch.isnan(value).any(dim=1)
            else:
                view.fill_(0.0 if value is None else value)
        if engine == "torch":
            columns = [v.expand(elements) for v in build_weather(crop)(TorchOperations(), given_all.unbind(0))]
            return Weather(torch.stack(columns), rows, days, missing)
        columns_out = torch.empty(len(COLUMN), elements, dtype=kind)
        run = weather_kernel(crop, kind == torch.float32)
        source, target = given_all.data_ptr(), columns_out.data_ptr()
        in_threads(lambda low, high: run(low, high, elements, source, target), elements // lanes)
    return Weather(columns_out, rows, days, missing)


def _column(value: Tensor | float, like: Tensor) -> Tensor:
    """[R, 1] of one value or [R]."""
    return torch.as_tensor(value, dtype=like.dtype, device=like.device).reshape(-1, 1)


def _sky(crop: Crop, latitude: Tensor, day_of_year: Tensor) -> tuple[Tensor, Tensor | float]:
    """Radiation above the air, J m-2 d-1, and the day length that plants see, h: each [R or 1, D]."""
    phi = latitude * (math.pi / 180.0)
    sine = -math.sin(23.45 * math.pi / 180.0) * torch.cos((2.0 * math.pi / 365.0) * (day_of_year + 10.0))
    a, b = torch.sin(phi) * sine, torch.cos(phi) * torch.sqrt(1.0 - sine * sine)
    b = b.clamp(min=1e-6)
    ratio = (a / b).clamp(-1.0, 1.0)
    length = 12.0 + (24.0 / math.pi) * torch.asin(ratio)
    seconds = 3600.0 * (length * a + (24.0 / math.pi) * b * torch.sqrt(1.0 - ratio * ratio))
    sun = 1370.0 * (1.0 + 0.033 * torch.cos((2.0 * math.pi / 365.0) * day_of_year))
    above = (sun * seconds).clamp(min=1e-4)
    if len(crop.photoperiod) == 1:
        return above, 12.0
    seen = ((math.sin(4.0 * math.pi / 180.0) + a) / b).clamp(-1.0, 1.0)
    return above, 12.0 + (24.0 / math.pi) * torch.asin(seen)
