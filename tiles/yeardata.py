"""What is written to a store at once: a year of a square of cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .packing import Counts


@dataclass(frozen=True, slots=True)
class YearData:
    """Packed outputs of one year over a square of cells (a block or a chunk).

    daily: name -> int16 [day, y, x]. yearly: name (annual, and "<daily>_year") -> float32 [y, x].
    member_daily: name -> int16 [member, day, y, x]. member_yearly: name -> float32 [member, y, x].
    flags: what the model flagged, name -> bool [y, x]; None where that is not known.
    """

    daily: Mapping[str, Counts]
    yearly: Mapping[str, NDArray[np.float32]]
    member_daily: Mapping[str, Counts] = field(default_factory=dict)
    member_yearly: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    flags: Mapping[str, NDArray[np.bool_]] | None = None
