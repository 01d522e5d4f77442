"""Colour ramps, made of a few control colours interpolated in OKLab, where equal steps look equal.

Sequential ramps rise or fall steadily in lightness, so they survive colour blindness and grey printing; the diverging
one runs from teal to orange through near-white, which the common colour blindnesses keep apart.
OKLab: Ottosson (2020), https://bottosson.github.io/posts/oklab/.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import numpy as np
from fieldflux.models.variables import Variable
from numpy.typing import NDArray

from .when import Anomaly, Difference, Span, When, days_of, periods_of

Floats = NDArray[np.float64]
Bytes8 = NDArray[np.uint8]

NODATA = 0
"""Index of the transparent entry; colours are 1 to 255, so that a diverging ramp has a middle: 128."""
COLOURS = 255
FULL_DAYS = 100
"""A year's sum is shown up to as much as this many days at the highest rate shown."""

CONTROL: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {
        "viridis": (
            *("#440154", "#482878", "#3e4989", "#31688e", "#26828e"),
            *("#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"),
        ),
        "greens": ("#f6f1dc", "#d5df9c", "#97c26a", "#4f9f4d", "#1c763f", "#094d33", "#042a23"),
        "heat": ("#fdf4dc", "#fbd48c", "#f3a14f", "#df673d", "#b73447", "#7d184d", "#420a3c"),
        "water": ("#f1f5ea", "#c3e3da", "#82c7cf", "#459fc4", "#2873ae", "#244787", "#1c2150"),
        "soil": ("#f7efdd", "#e2c998", "#c49b62", "#9b6b3f", "#6f452b", "#46291d", "#231310"),
        # As in matplotlib, for readers who expect them: a few of their colours, joined in OKLab.
        "cividis": ("#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#fee838"),
        "magma": (
            *("#180f3d", "#440f76", "#721f81", "#9e2f7f"),
            *("#cd4071", "#f1605d", "#fd9668", "#feca8d", "#fcfdbf"),
        ),
        "grays": ("#f7f7f7", "#1c1c1c"),
        "balance": (
            *("#00353a", "#01585b", "#1a7f7c", "#5ca8a0", "#a5cfc7", "#f3f3ee"),
            *("#f2c9a0", "#e0985a", "#bd6822", "#8b4409", "#552804"),
        ),
    }
)
DIVERGING = frozenset({"balance"})
MOST_STEPS = 32
"""Classes of a stepped style: more cannot be told apart."""


class UnknownStyle(ValueError):
    """A palette that does not exist, or a range that is none."""


@dataclass(frozen=True, slots=True)
class Style:
    """How values become colours: a ramp over [low, high] in the variable's unit.

    Values outside are drawn in the colour of the nearer end. A diverging palette is centred at zero: `scale` is then
    symmetric, so that equal amounts of either sign are equally strong. steps: number of classes of one colour each that
    `scale` is cut into; 0 for none.
    """

    palette: str
    low: float
    high: float
    reverse: bool = False
    steps: int = 0

    def __post_init__(self) -> None:
        if self.palette not in CONTROL:
            raise UnknownStyle(f"There is no palette '{self.palette}'. The palettes are: {', '.join(sorted(CONTROL))}.")
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise UnknownStyle(
                f"The range of a map is two finite numbers, the lower first, not {self.low:g}, {self.high:g}."
            )
        if self.steps and not 2 <= self.steps <= MOST_STEPS:
            raise UnknownStyle(f"A map has 2 to {MOST_STEPS} steps of colour, or 0 for a ramp; not {self.steps}.")

    @property
    def name(self) -> str:
        """The palette, with "_r" where it is turned round."""
        return self.palette + ("_r" if self.reverse else "")

    @property
    def diverging(self) -> bool:
        return self.palette in DIVERGING

    @property
    def scale(self) -> tuple[float, float]:
        """Values of the ramp's first and last colour."""
        if not self.diverging:
            return self.low, self.high
        reach = max(abs(self.low), abs(self.high))
        return -reach, reach

    def index(self, values: NDArray[np.floating]) -> Bytes8:
        """Palette entries of `values`, any shape: 1 to 255, 0 where a value is NaN."""
        low, high = self.scale
        if self.steps:
            classes = np.clip(np.floor((values - low) * (self.steps / (high - low))), 0, self.steps - 1)
            position = classes * ((COLOURS - 1) / (self.steps - 1)) + 1.5
        else:
            position = (values - low) * ((COLOURS - 1) / (high - low)) + 1.5
        clipped = np.clip(position, 1, COLOURS)
        # min and max of numpy keep NaN, and NaN has no integer
        return np.where(np.isnan(clipped), NODATA, clipped).astype(np.uint8)

    def colours(self) -> Bytes8:
        """[256, 4] red, green, blue, alpha: the transparent entry, then the ramp."""
        return _colours(self.palette, self.reverse)

    def hex(self, value: float) -> str:
        """Colour of one value, "#rrggbb"."""
        red, green, blue, _ = self.colours()[int(self.index(np.array([value]))[0])]
        return f"#{red:02x}{green:02x}{blue:02x}"


def style_of(
    variable: Variable,
    palette: str | None = None,
    shown: tuple[float, float] | None = None,
    *,
    when: When | None = None,
    steps: int = 0,
) -> Style:
    """The style of a variable: its palette and range from the vocabulary, unless given.

    palette: a name, with "_r" after it to turn it round. shown: lowest and highest value of the colours.
    when: what the map shows, a day's value (or the year's, where there is only that) unless given.
    In a diverging palette, what the land loses is orange and what it gains is teal, whatever the sign of the variable.
    Raises UnknownStyle.
    """
    low, high = range_of(variable, when) if shown is None else shown
    name = palette or ("balance" if isinstance(when, Difference | Anomaly) else variable.palette)
    reverse = False
    if not palette:
        reverse = name in DIVERGING and variable.sign != "to the atmosphere is positive"
    elif name.endswith("_r"):
        name, reverse = name.removesuffix("_r"), True
    return Style(name, float(low), float(high), reverse, steps)


def range_of(variable: Variable, when: When | None = None) -> tuple[float, float]:
    """Lowest and highest value that is shown by itself; of a difference, as much to either side of zero."""
    low, high = variable.shown
    period = periods_of(when)[0] if when is not None else None
    if variable.period == "day" and variable.over_time == "sum" and isinstance(period, Span | int):
        days = days_of(period)
        factor = days if days <= FULL_DAYS else FULL_DAYS * max(1.0, days / 366)
        low, high = low * factor, high * factor
    if isinstance(when, Difference | Anomaly):
        # Half of what is shown tells days and years apart; stocks change by little of what they are.
        reach = max(abs(low), abs(high)) if low < 0 else high - low
        reach *= 0.05 if variable.over_time == "last" else 0.5
        return -reach, reach
    return low, high


@cache
def ramp(palette: str) -> Bytes8:
    """[255, 3] the colours of a palette, low to high."""
    points = _oklab(np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in CONTROL[palette]], np.float64) / 255)
    at = np.linspace(0, len(points) - 1, COLOURS)
    known = np.arange(len(points))
    lab = np.stack([np.interp(at, known, points[:, k]) for k in range(3)], axis=1)
    return np.asarray(np.round(_srgb(lab) * 255), np.uint8)


@cache
def _colours(palette: str, reverse: bool) -> Bytes8:
    colours = np.zeros((256, 4), np.uint8)
    colours[1:, :3] = ramp(palette)[::-1] if reverse else ramp(palette)
    colours[1:, 3] = 255
    colours.flags.writeable = False
    return colours


LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def _oklab(srgb: Floats) -> Floats:
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return np.asarray(np.cbrt(linear @ LMS.T) @ LAB.T, np.float64)


def _srgb(lab: Floats) -> Floats:
    linear = (lab @ np.linalg.inv(LAB).T) ** 3 @ np.linalg.inv(LMS).T
    linear = np.clip(linear, 0, 1)
    return np.asarray(np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055), np.float64)


def lightness(palette: str) -> Floats:
    """[255] OKLab lightness of a palette's colours, 0 black to 1 white."""
    return _oklab(ramp(palette).astype(np.float64) / 255)[:, 0]
