"""The 21 parameters of the soil-carbon model: meaning, unit, the ranges of two published studies, CLM5's default.

A parameter tensor is [C, 21] in physical units and in the order of `NAMES`, so that `p[:, Q10]` reads one. The ranges
of the two studies differ, so values between 0 and 1 from one of them mean something else in the other: exchange
physical values only. BINN: Xu, Tao et al. 2025; PRODA: Tao et al. 2020, doi:10.3389/fdata.2020.00017.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Study = Literal["binn", "proda"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. binn, proda: its (least, greatest) value in that study. default: of CLM5."""

    name: str
    meaning: str
    unit: str
    binn: tuple[float, float]
    proda: tuple[float, float]
    default: float


# fmt: off
PARAMETERS: tuple[Parameter, ...] = (
    Parameter("diffus", "diffusivity of mixing by soil life", "m2 yr-1", (3e-5, 5e-4), (3e-5, 5e-4), 1e-4),
    Parameter("cryo", "diffusivity of mixing by frost", "m2 yr-1", (3e-5, 1.6e-3), (3e-5, 1.6e-3), 5e-4),
    Parameter("q10", "factor on decomposition per 10 K", "1", (1.2, 3.0), (1.2, 3.0), 1.5),
    Parameter("efolding", "depth over which decomposition falls to 1/e", "m", (0.1, 1.0), (0.0, 1.0), 10.0),
    Parameter("taucwd", "turnover time of coarse wood", "yr", (1.0, 6.0), (1.0, 6.0), 3.33),
    Parameter("taul1", "turnover time of metabolic litter", "yr", (1e-4, 0.11), (0.0, 0.11), 0.0541),
    Parameter("taul2", "turnover time of cellulose and lignin litter", "yr", (0.1, 0.3), (0.1, 0.3), 0.2041),
    Parameter("tau4s1", "turnover time of active soil carbon", "yr", (1e-4, 0.5), (0.0, 1.0), 0.137),
    Parameter("tau4s2", "turnover time of slow soil carbon", "yr", (1.0, 10.0), (1.0, 50.0), 5.0),
    Parameter("tau4s3", "turnover time of passive soil carbon", "yr", (20.0, 400.0), (200.0, 1000.0), 222.2),
    Parameter("fl1s1", "share of decomposed metabolic litter that becomes active carbon", "1",
              (0.1, 0.8), (0.1, 0.8), 0.45),
    Parameter("fl2s1", "share of decomposed cellulose that becomes active carbon", "1", (0.2, 0.8), (0.2, 0.8), 0.5),
    Parameter("fl3s2", "share of decomposed lignin that becomes slow carbon", "1", (0.2, 0.8), (0.2, 0.8), 0.5),
    Parameter("fs1s2", "share of decomposed active carbon that becomes slow", "1", (1e-4, 0.4), (0.0, 0.4), 0.486),
    Parameter("fs1s3", "share of decomposed active carbon that becomes passive", "1", (1e-4, 0.1), (0.0, 0.05), 0.004),
    Parameter("fs2s1", "share of decomposed slow carbon that becomes active", "1", (0.1, 0.74), (0.1, 0.74), 0.42),
    Parameter("fs2s3", "share of decomposed slow carbon that becomes passive", "1", (1e-4, 0.1), (0.0, 0.1), 0.03),
    Parameter("fs3s1", "share of decomposed passive carbon that becomes active", "1", (1e-4, 0.9), (0.0, 0.9), 0.45),
    Parameter("fcwdl2", "share of decomposed coarse wood that becomes cellulose, the rest lignin", "1",
              (0.5, 1.0), (0.5, 1.0), 0.76),
    Parameter("w-scaling", "factor on the water scalar, before its cap at 1", "1", (1e-4, 5.0), (0.0, 5.0), 1.0),
    Parameter("beta", "share of litter input still below each further centimetre", "1",
              (0.5, 0.9999), (0.5, 0.9999), 0.95),
)
# fmt: on
NAMES: tuple[str, ...] = tuple(p.name for p in PARAMETERS)
COUNT = len(NAMES)
(
    DIFFUS, CRYO, Q10, EFOLDING, TAUCWD, TAUL1, TAUL2, TAUS1, TAUS2, TAUS3, FL1S1, FL2S1, FL3S2, FS1S2, FS1S3, FS2S1,
    FS2S3, FS3S1, FCWDL2, W_SCALING, BETA,
) = range(COUNT)  # fmt: skip
FRACTIONS = slice(FL1S1, FCWDL2 + 1)


def ranges(study: Study = "binn", dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """([21], [21]) the least and greatest physical values of a study."""
    pairs = [p.binn if study == "binn" else p.proda for p in PARAMETERS]
    low, high = torch.tensor(pairs, dtype=dtype).unbind(1)
    return low, high


def from_unit(unit: Tensor, study: Study = "binn") -> Tensor:
    """Physical values [..., 21] of values between 0 and 1 within a study's ranges. Differentiable; nothing is cut."""
    low, high = (side.to(unit) for side in ranges(study))
    return low + unit * (high - low)


def to_unit(physical: Tensor, study: Study = "binn") -> Tensor:
    """The inverse of `from_unit`; values outside the study's ranges come out below 0 or above 1."""
    low, high = (side.to(physical) for side in ranges(study))
    return (physical - low) / (high - low)


def clm5_defaults(sand: Tensor) -> Tensor:
    """[C, 21] CLM5's own parameters for soils of `sand` [C] percent, which sets how much active carbon becomes slow.

    Raises ValueError for sand outside 0..100. Some defaults lie outside the studies' ranges (efolding, fs1s2 of clays).
    """
    if not bool(((sand >= 0.0) & (sand <= 100.0)).all()):
        raise ValueError(
            f"Sand runs from {sand.min().item():g} to {sand.max().item():g}, but must be in percent, 0 to 100."
        )
    values = torch.tensor([p.default for p in PARAMETERS], dtype=sand.dtype, device=sand.device)
    out = values.repeat(sand.shape[0], 1)
    respired = 0.85 - 0.0068 * (100.0 - sand)
    out[:, FS1S2] = 1.0 - respired - 0.004
    return out
