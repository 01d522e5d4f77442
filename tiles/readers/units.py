"""Units of weather files, turned into those of the vocabulary."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import BadSource

Floats = NDArray[np.float64]
Change = Callable[[Floats], Floats]

HUMIDITY = MappingProxyType({"relative_humidity": "%", "vapour_pressure": "kPa", "dewpoint": "degC"})
"""Quantities that are read to derive the vapour pressure deficit, and their units."""


def _times(factor: float) -> Change:
    return lambda values: values * factor


_TEMPERATURE: dict[str, Change] = {
    "degC": _times(1.0),
    "K": lambda values: values - 273.15,
    "degF": lambda values: (values - 32.0) / 1.8,
}
_PRESSURE: dict[str, Change] = {"kPa": _times(1.0), "hPa": _times(0.1), "Pa": _times(1e-3)}
_RADIATION: dict[str, Change] = {
    "MJ m-2 d-1": _times(1.0),
    "kJ m-2 d-1": _times(1e-3),
    "J m-2 d-1": _times(1e-6),
    "W m-2": _times(0.0864),
}
_RAIN: dict[str, Change] = {
    "mm d-1": _times(1.0),
    "kg m-2 d-1": _times(1.0),
    "kg m-2 s-1": _times(86400.0),
    "cm d-1": _times(10.0),
    "m d-1": _times(1000.0),
    "in d-1": _times(25.4),
}
_SPEED: dict[str, Change] = {
    "m s-1": _times(1.0),
    "km h-1": _times(1 / 3.6),
    "mph": _times(0.44704),
    "kn": _times(0.514444),
}
CHANGES: MappingProxyType[str, dict[str, Change]] = MappingProxyType(
    {
        **dict.fromkeys(("tmean", "tmin", "tmax", "dewpoint"), _TEMPERATURE),
        **dict.fromkeys(("vpd", "vapour_pressure"), _PRESSURE),
        **dict.fromkeys(("srad", "rnet"), _RADIATION),
        **dict.fromkeys(("precip", "irrigation"), _RAIN),
        "wind": _SPEED,
        "co2": {"ppm": _times(1.0), "mol mol-1": _times(1e6)},
        "relative_humidity": {"%": _times(1.0), "1": _times(100.0)},
    }
)
"""Quantity -> unit in a file -> how to turn it into the unit of the vocabulary."""


def convert(name: str, values: Any, unit: str) -> Floats:
    """Values of a quantity from `unit` to that of the vocabulary. Raises BadSource with the units there are."""
    if name not in CHANGES:
        raise BadSource(f"'{name}' is no weather quantity. Those that are read: {', '.join(sorted(CHANGES))}.")
    known = CHANGES[name]
    if unit not in known:
        raise BadSource(f"The unit '{unit}' of {name} is not known. Give one of: {', '.join(known)}.")
    return known[unit](np.asarray(values, np.float64))
