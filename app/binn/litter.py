"""Carbon that enters soils as litter each year: the model's own rules, see `models.processes.soilcarbon.litter`."""

from __future__ import annotations

from fieldflux.models.processes.soilcarbon.litter import (
    CARBON,
    EXUDED,
    GRAIN,
    MOISTURE,
    QUALITY,
    RETURNED,
    ROOT,
    SHOOT,
    WOODY,
    Array,
    litter,
    maize_return,
    miami,
)

__all__ = [
    "CARBON",
    "EXUDED",
    "GRAIN",
    "MOISTURE",
    "QUALITY",
    "RETURNED",
    "ROOT",
    "SHOOT",
    "WOODY",
    "Array",
    "litter",
    "maize_return",
    "miami",
]
