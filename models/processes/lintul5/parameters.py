"""What may differ from cell to cell: 14 crop parameters that can be learned, and the soil.

A table is [COUNT, C], one row for each of `NAMES`. Defaults of crop parameters come from the crop, those of the soil
from SIMPLACE's. Ranges are those of WOFOST's varieties and of SIMPLACE's presets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .crops import Crop


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. low, high: its range; of crop parameters as factors on the crop's own value if `relative`."""

    name: str
    meaning: str
    unit: str
    low: float
    high: float
    relative: bool = False


# fmt: off
LEARNED: tuple[Parameter, ...] = (
    Parameter("rue_factor", "factor on radiation-use efficiency", "1", 0.6, 1.4),
    Parameter("tsum1", "thermal time from emergence to flowering", "degC d", 0.7, 1.4, relative=True),
    Parameter("tsum2", "thermal time from flowering to maturity", "degC d", 0.7, 1.3, relative=True),
    Parameter("tsumem", "thermal time from sowing to emergence", "degC d", 0.7, 1.4, relative=True),
    Parameter("sla_factor", "factor on specific leaf area", "1", 0.7, 1.3),
    Parameter("rgrl", "relative growth of young leaves", "(degC d)-1", 0.5, 1.5, relative=True),
    Parameter("extinction_factor", "factor on the extinction of light in the canopy", "1", 0.8, 1.2),
    Parameter("rdrl", "death of leaves by drought", "d-1", 0.0, 0.1),
    Parameter("death_factor", "factor on the death of leaves by age", "1", 0.5, 1.5),
    Parameter("rdmcr", "deepest rooting of the crop", "m", 0.6, 1.6, relative=True),
    Parameter("rri", "daily advance of the root front", "m d-1", 0.5, 2.0, relative=True),
    Parameter("depnr", "crop group of drought sensitivity", "1", 3.0, 5.0),
    Parameter("cfet", "factor on the canopy's demand for water", "1", 0.8, 1.2),
    Parameter("tdwi", "mass of the seed", "g m-2", 0.5, 2.0, relative=True),
)
SOIL: tuple[tuple[str, str, str, float], ...] = (
    ("air_dry", "water content, air-dry", "m3 m-3", 0.15),
    ("wilting", "water content at wilting point", "m3 m-3", 0.20),
    ("capacity", "water content at field capacity", "m3 m-3", 0.35),
    ("saturation", "water content at saturation", "m3 m-3", 0.45),
    ("start", "water content of the rooted zone on the first day, held between wilting and capacity", "m3 m-3", 0.30),
    ("start_below", "the same below the roots", "m3 m-3", 0.30),
    ("air_needed", "air content below which roots lack oxygen", "m3 m-3", 0.07),
    ("ksub", "greatest percolation", "mm d-1", 10.0),
    ("runoff_share", "share of the rain that runs off", "1", 0.0),
    ("drying", "evaporation of a drying soil", "d-0.5", 2.0),
    ("rdmso", "rootable depth of the soil", "m", 1.5),
    ("n_organic", "nitrogen that can mineralise in the season", "g m-2", 50.0),
    ("n_mineral", "mineral nitrogen on the first day", "g m-2", 0.0),
    ("mineralisation", "share of n_organic mineralised a day", "d-1", 0.01),
)
# fmt: on
NAMES: tuple[str, ...] = (*(p.name for p in LEARNED), *(name for name, _, _, _ in SOIL))
COUNT = len(NAMES)
(RUE, TSUM1, TSUM2, TSUMEM, SLA, RGRL, EXTINCTION, RDRL, DEATH, RDMCR, RRI, DEPNR, CFET, TDWI, AIR_DRY, WILTING,
 CAPACITY, SATURATION, START, START_BELOW, AIR_NEEDED, KSUB, RUNOFF_SHARE, DRYING, RDMSO, N_ORGANIC, N_MINERAL,
 MINERALISATION) = range(COUNT)  # fmt: skip


def defaults(crop: Crop) -> tuple[float, ...]:
    """The crop's own value of each of NAMES, the soil's default for the soil."""
    own = (1.0, crop.tsum1, crop.tsum2, crop.tsumem, 1.0, crop.juvenile, 1.0, crop.dry_death, 1.0, crop.deepest,
           crop.advance, crop.depletion, crop.canopy_demand, crop.seed)  # fmt: skip
    return (*own, *(value for _, _, _, value in SOIL))


def table(
    crop: Crop, cells: int, given: Mapping[str, Tensor | float] | None = None, dtype: torch.dtype = torch.float32
) -> Tensor:
    """[COUNT, cells] the defaults, with what is `given` by name, one value or [cells], in its place. Differentiable.

    Raises ValueError for names that there are not.
    """
    given = given or {}
    unknown = [name for name in given if name not in NAMES]
    if unknown:
        raise ValueError(f"LINTUL5 has no parameter {unknown[0]!r}. It has: {', '.join(NAMES)}.")
    rows = [
        torch.as_tensor(given.get(name, value), dtype=dtype) for name, value in zip(NAMES, defaults(crop), strict=True)
    ]
    return torch.stack([row.expand(cells) for row in rows])


def ranges(crop: Crop, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """([14], [14]) the least and greatest values of the learned parameters."""
    own = defaults(crop)
    low = [p.low * (own[i] if p.relative else 1.0) for i, p in enumerate(LEARNED)]
    high = [p.high * (own[i] if p.relative else 1.0) for i, p in enumerate(LEARNED)]
    return torch.tensor(low, dtype=dtype), torch.tensor(high, dtype=dtype)
