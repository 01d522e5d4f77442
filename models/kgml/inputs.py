"""From a forcing to what the networks read: days of one calendar year, as tensors. Both variants' features are here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import torch
from fieldflux.models.contract import Floats, Forcing, Integers
from fieldflux.models.processes.agroecosystem.inputs import (
    AUTUMN,
    derive_seasons,
    saturation_pressure,
    soc_stock,
)
from fieldflux.models.processes.agroecosystem.parameters import CROP_NAMES
from numpy.typing import NDArray
from torch import Tensor

SOC_REFERENCE = 8000.0  # gC m-2 of 0-30 cm, about the mean of Corn Belt cropland
YEAR_MEAN, YEAR_SD = 2009.5, 5.18813
YEAR_RANGE = (1980.0, 2025.0)  # beyond it, technology stands still: no trend is drawn out
OTHER_CROPS = (*range(1, 62), *range(66, 78), *range(204, 255))  # cultivated codes of the Cropland Data Layer

# name, mean, standard deviation: fixed, of no data set, near those of the paper's synthetic data where it has them
CLOSED: tuple[tuple[str, float, float], ...] = (
    ("srad", 15.0, 7.5),              # MJ m-2 d-1
    ("tmean", 11.0, 11.0),            # degC
    ("trange", 10.0, 4.0),            # tmax - tmin, K
    ("vpd", 0.6, 0.5),                # kPa
    ("rain", 0.5, 0.8),               # log(1 + mm d-1)
    ("gpp", 2.9, 5.8),                # gC m-2 d-1
    ("measured", 0.5, 0.5),           # 1 where GPP is a satellite's or a tower's, 0 where the process model made it
    ("maize", 0.3, 0.5),
    ("soybean", 0.3, 0.5),
    ("winter_wheat", 0.1, 0.5),
    ("alfalfa", 0.1, 0.5),
    ("standing", 0.5, 0.5),           # 1 between sowing and harvest
    ("dated", 0.5, 0.5),              # 1 where sowing and harvest are known
    ("age", 0.3, 0.5),                # days since sowing / 100 while standing
    ("irrigated", 0.25, 0.5),
    ("tillage", 0.5, 0.5),
    ("bulk_density", 1.38, 0.13),     # Mg m-3
    ("field_capacity", 0.30, 0.05),   # m3 m-3
    ("wilting_point", 0.165, 0.05),   # m3 m-3
    ("ksat", 2.8, 1.2),               # log(mm h-1)
)  # fmt: skip

# Liu et al. 2024, as printed by the authors' notebook: order, mean, standard deviation
PAPER: tuple[tuple[str, float, float], ...] = (
    ("RADN", 15.0531, 7.3265), ("TMAX_AIR", 17.1940, 12.2140), ("TDIF_AIR", 9.9766, 3.9206),
    ("HMAX_AIR", 1.43317, 0.86492), ("HDIF_AIR", 0.42118, 0.29767), ("WIND", 373.316, 144.322),
    ("PRECN", 2.80376, 7.20961), ("Crop_Type", 3.00077, 2.0), ("GPP", 2.88921, 5.75792),
    ("Year", YEAR_MEAN, YEAR_SD), ("TBKDS", 1.38507, 0.10334), ("TSAND", 165.738, 179.753),
    ("TSILT", 591.159, 161.251), ("TFC", 0.298815, 0.042005), ("TWP", 0.165358, 0.048926),
    ("TKSat", 30.9435, 38.1884), ("TSOC", 17.0822, 19.6327), ("TPH", 6.23786, 0.48147), ("TCEC", 20.1704, 8.91454),
)  # fmt: skip
VAPOUR_RANGE = 0.42118 / 1.43317  # daily range of vapour pressure by its maximum: a ratio of the paper's means
PAPER_DAYS = 365
GPP, MEASURED = 5, 6


@dataclass(frozen=True, slots=True, eq=False)
class Days:
    """B cells over D consecutive days of one calendar year.

    x: [B, D, F] features, z-scored. gpp: [B, D], gC m-2 d-1. standing: [B, D], 1 between sowing and harvest, NaN where
    the dates are unknown. event: [B], the day of harvest among the D, -1 for none. weighed: [B], whether a harvest of
    this year brings a yield. crop: [B, 4], the crop of the year. year: [B], z-scored. soc: [B], stock of 0-30 cm by
    SOC_REFERENCE. removed: [B], fraction of straw taken off. expected: [B], the harvest that earlier years let expect,
    gC m-2, NaN where unknown. length: [B] days that count (the rest is padding).
    """

    x: Tensor
    gpp: Tensor
    standing: Tensor
    event: Tensor
    weighed: Tensor
    crop: Tensor
    year: Tensor
    soc: Tensor
    removed: Tensor
    expected: Tensor
    length: Tensor

    @property
    def cells(self) -> int:
        return int(self.x.shape[0])

    def to(self, device: str | torch.device) -> Days:
        """The same on a device."""
        return Days(*(getattr(self, name).to(device) for name in Days.__slots__))

    def take(self, chosen: Tensor) -> Days:
        """Some of the cells."""
        return Days(*(getattr(self, name)[chosen] for name in Days.__slots__))


def joined(parts: list[Days]) -> Days:
    """Cells of several batches as one; shorter ones are padded at the end with their last day."""
    longest = max(part.x.shape[1] for part in parts)

    def padded(values: Tensor) -> Tensor:
        lacking = longest - values.shape[1]
        return values if lacking == 0 else torch.cat([values, values[:, -1:].expand(-1, lacking, *values.shape[2:])], 1)

    def one(name: str) -> Tensor:
        values = [getattr(part, name) for part in parts]
        return torch.cat([padded(v) for v in values] if name in ("x", "gpp", "standing") else values)

    return Days(*(one(name) for name in Days.__slots__))


def closed_days(forcing: Forcing, gpp: Floats, measured: Floats, year: int) -> Days:
    """The days of `year` in a forcing, for the closed variant and the plain network beside it.

    gpp, measured: [C, D] over the forcing's days: the GPP to use, and 1 where it is measured. Cells of a crop that is
    not known, or without dates, have standing and age 0 and dated 0.
    """
    part, days = _of_year(forcing, year)
    doy = _day_of_year(part)
    seasons = derive_seasons(part)
    k = part.years.index(year)
    last = len(part.years) - 1
    after = doy[None] > seasons.switch[:, k, None]  # [C, D]: the following year's season counts

    def in_force(values: NDArray[Any]) -> NDArray[Any]:
        following = values[:, min(k + 1, last), None]
        return np.where(after, following, values[:, k, None])

    crop, sow, harvest = in_force(seasons.crop), in_force(seasons.sow), in_force(seasons.harvest)
    autumn = sow > AUTUMN
    perennial = crop == CROP_NAMES.index("alfalfa")
    # days since sowing: a crop sown in the autumn before counts from there
    begun = np.where(autumn, np.where(after, sow - AUTUMN, sow - AUTUMN - 365), sow)
    standing = np.where(perennial, doy[None] >= sow, (doy[None] >= begun) & (after <= autumn) & (crop >= 0))
    standing &= np.where(after & ~perennial, autumn, doy[None] <= np.where(harvest == 0, 400, harvest))
    age = np.where(perennial, 100, doy[None] - begun + 1) * standing / 100.0
    dated = (crop >= 0).astype(np.float32)
    static = {n: np.asarray(v, dtype=np.float64) for n, v in part.static.items()}
    rows = part.weather
    shape = (part.cells, part.days)

    def daily(values: Floats) -> Floats:
        return np.asarray(values, dtype=np.float32)[rows]

    def cell(values: Floats) -> Floats:
        return np.broadcast_to(np.asarray(values, dtype=np.float32)[:, None], shape)

    columns: dict[str, NDArray[np.generic]] = {
        "srad": daily(part.daily["srad"]),
        "tmean": daily(part.daily["tmean"]),
        "trange": daily(part.daily["tmax"]) - daily(part.daily["tmin"]),
        "vpd": daily(part.daily["vpd"]),
        "rain": np.log1p(np.maximum(daily(part.daily["precip"]), 0.0)),
        "gpp": gpp[:, days],
        "measured": measured[:, days],
        **{name: crop == i for i, name in enumerate(CROP_NAMES)},
        "standing": standing,
        "dated": dated,
        "age": age,
        "irrigated": in_force(seasons.irrigated),
        "tillage": in_force(seasons.tillage),
        "bulk_density": cell(static["bulk_density"]),
        "field_capacity": cell(static["field_capacity"]),
        "wilting_point": cell(static["wilting_point"]),
        "ksat": cell(np.log(np.maximum(static["ksat"], 0.01))),
    }
    own = seasons.crop[:, k]
    event = np.where(own == CROP_NAMES.index("alfalfa"), _last_day(year), seasons.harvest[:, k])
    event = np.where((own >= 0) & (event >= doy[0]) & (event <= doy[-1]), event - doy[0], -1)
    return _days(
        _scaled(columns, CLOSED, shape), gpp[:, days], np.where(dated > 0, standing, np.nan), event, own,
        year, soc_stock(static), seasons.removed[:, k], _expected(part, k), shape,
    )  # fmt: skip


def paper_days(forcing: Forcing, gpp: Floats, year: int) -> Days:
    """The whole `year` as the published network reads it: 365 days (31 December of leap years is left out).

    Vapour pressure is that of the day mean, with a daily range of VAPOUR_RANGE of its maximum. Wind, texture, pH and
    cation exchange capacity stand at the training mean where the forcing does not have them.
    """
    part, days = _of_year(forcing, year)
    if part.days < PAPER_DAYS:
        raise ValueError(
            f"The paper's network runs whole calendar years, but of {year} the forcing has only {part.days} days. "
            f"Give it the whole year, or use the closed variant, which runs any days."
        )
    seasons = derive_seasons(part)
    k = part.years.index(year)
    rows = part.weather
    shape = (part.cells, PAPER_DAYS)

    def daily(values: Floats) -> Floats:
        return np.asarray(values, dtype=np.float32)[rows, :PAPER_DAYS]

    tmax, tmin = daily(part.daily["tmax"]), daily(part.daily["tmin"])
    mean = np.maximum(0.5 * (saturation_pressure(tmax) + saturation_pressure(tmin)) - daily(part.daily["vpd"]), 0.01)
    highest = mean / (1.0 - 0.5 * VAPOUR_RANGE)
    own = seasons.crop[:, k]
    code = np.select([own == 0, own == 1], [1.0, 5.0], 3.0)
    columns: dict[str, NDArray[np.generic]] = {
        "RADN": daily(part.daily["srad"]),
        "TMAX_AIR": tmax,
        "TDIF_AIR": tmax - tmin,
        "HMAX_AIR": highest,
        "HDIF_AIR": VAPOUR_RANGE * highest,
        "PRECN": daily(part.daily["precip"]),
        "Crop_Type": np.broadcast_to(code[:, None], shape),
        "GPP": gpp[:, days][:, :PAPER_DAYS],
        "Year": np.full(shape, float(year)),
    }
    if "wind" in part.daily:
        columns["WIND"] = 86.4 * daily(part.daily["wind"])
    for column, name in (
        ("TBKDS", "bulk_density"), ("TSAND", "sand"), ("TSILT", "silt"), ("TFC", "field_capacity"),
        ("TWP", "wilting_point"), ("TKSat", "ksat"), ("TSOC", "soc_content"), ("TPH", "ph"), ("TCEC", "cec"),
    ):  # fmt: skip
        if name in part.static:
            columns[column] = np.broadcast_to(np.asarray(part.static[name], dtype=np.float32)[:, None], shape)
    static = {n: np.asarray(v, dtype=np.float64) for n, v in part.static.items()}
    return _days(
        _scaled(columns, PAPER, shape), gpp[:, days][:, :PAPER_DAYS], np.ones(shape), np.full(part.cells, 299), own,
        year, soc_stock(static), seasons.removed[:, k], _expected(part, k), shape,
    )  # fmt: skip


def _days(
    x: NDArray[np.float32],
    gpp: Floats,
    standing: Floats,
    event: Integers,
    own: NDArray[np.int64],
    year: int,
    stock: Floats,
    removed: Floats,
    expected: Floats,
    shape: tuple[int, int],
) -> Days:
    def real(values: Floats) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))

    technology = (min(max(float(year), YEAR_RANGE[0]), YEAR_RANGE[1]) - YEAR_MEAN) / YEAR_SD
    return Days(
        x=torch.from_numpy(x),
        gpp=real(gpp),
        standing=real(standing),
        event=torch.from_numpy(event.astype(np.int64)),
        weighed=torch.from_numpy(own >= 0),
        crop=real(own[:, None] == np.arange(len(CROP_NAMES))),
        year=torch.full((shape[0],), technology),
        soc=real(stock / SOC_REFERENCE),
        removed=real(removed),
        expected=real(expected),
        length=torch.full((shape[0],), shape[1]),
    )


def _expected(forcing: Forcing, k: int) -> Floats:
    if "yield_expected" not in forcing.annual:
        return np.full(forcing.cells, np.nan)
    return np.asarray(forcing.annual["yield_expected"], dtype=np.float64)[:, k]


def _scaled(
    columns: dict[str, NDArray[np.generic]], scale: tuple[tuple[str, float, float], ...], shape: tuple[int, int]
) -> NDArray[np.float32]:
    x = np.zeros((*shape, len(scale)), dtype=np.float32)
    for i, (name, mean, sd) in enumerate(scale):
        if name in columns:
            x[..., i] = (np.asarray(columns[name], dtype=np.float32) - mean) / sd
            if name in ("TSAND", "TSILT", "TPH", "TCEC", "WIND"):
                x[..., i] = np.nan_to_num(x[..., i])
    return x


def calendar_years(forcing: Forcing) -> tuple[int, ...]:
    """The calendar years that the forcing's days touch."""
    return tuple(range(forcing.start.year, forcing.end.year + 1))


def span_of(forcing: Forcing, year: int) -> slice:
    """Where the days of a calendar year lie among the forcing's."""
    first = max((date(year, 1, 1) - forcing.start).days, 0)
    return slice(first, min((date(year, 12, 31) - forcing.start).days + 1, forcing.days))


def _of_year(forcing: Forcing, year: int) -> tuple[Forcing, slice]:
    days = span_of(forcing, year)
    if days.start >= days.stop:
        raise ValueError(f"The forcing from {forcing.start} to {forcing.end} has no day of {year}.")
    start = max(forcing.start, date(year, 1, 1))
    # the season of the year before is needed where a crop was sown in its autumn: AUTUMN in `sow` says so
    return (
        replace(
            forcing,
            start=start,
            daily={n: v[:, days] for n, v in forcing.daily.items()},
            gpp_given=None,
            gpp_unit=None,
        ),
        days,
    )


def _day_of_year(forcing: Forcing) -> NDArray[np.int64]:
    first = forcing.start.timetuple().tm_yday
    return np.arange(first, first + forcing.days, dtype=np.int64)


def _last_day(year: int) -> int:
    return date(year, 12, 31).timetuple().tm_yday
