"""The sum over the features of an answer: the land of all of them, each piece of it counted once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .collection import Collection, Combined, Feature, Given

if TYPE_CHECKING:
    from fieldflux.tiles.series import Series
    from fieldflux.tiles.shape import Shape

NAME = "combined"


@dataclass(frozen=True, slots=True)
class Part:
    """What a feature adds to the sum. place: longitude, latitude. overlap_ha: what of it earlier features cover.

    series: None where nothing is left of it.
    """

    index: int
    place: tuple[float, float]
    overlap_ha: float
    series: Series | None


def parts_of(asked: Collection, features: Sequence[Feature], once: Sequence[Shape | None]) -> list[Part]:
    """The parts of those features that have an answer. once: what of each of these is not covered by earlier ones
    (see `tiles.combine.counted_once`); where that is not all of it, the rest is read by itself.

    Raises what reading and running raise for all of them.
    """
    from fieldflux.tiles.many import many_series
    from fieldflux.tiles.series import Series
    from fieldflux.tiles.shape import BadGeometry
    from fieldflux.tiles.units import in_units
    from fieldflux.tiles.zonal import geodesic_area_ha

    there = answered(features)
    rests = [rest for (_, own), rest in zip(there, once, strict=True) if rest is not None and rest is not own]
    read = iter(many_series(rests, asked.request, asked.source) if rests else ())
    parts = []
    for (feature, own), rest in zip(there, once, strict=True):
        found = feature.series
        overlap = 0.0
        if rest is not own:
            overlap = geodesic_area_ha(own.geometry) - (0.0 if rest is None else geodesic_area_ha(rest.geometry))
            again = None if rest is None else next(read)
            if again is not None and not isinstance(again, Series | BadGeometry):
                continue
            found = in_units(again, asked.units) if isinstance(again, Series) else None
        lon, lat = (own if rest is None else rest).geometry.centroid.coords[0]
        parts.append(Part(feature.given.index, (lon, lat), overlap, found))
    return parts


def answered(features: Sequence[Feature]) -> list[tuple[Feature, Shape]]:
    """The features that have an answer, with their shapes."""
    return [(f, f.given.shape) for f in features if f.series is not None and f.given.shape is not None]


def sum_of(asked: Collection, parts: Sequence[Part], indexes: Sequence[int]) -> Feature:
    """The sum over parts, one or more, as one more feature. indexes: those of all features."""
    from fieldflux.tiles.combine import combined

    series = [part.series for part in parts if part.series is not None]
    places = np.array([part.place for part in parts if part.series is not None])
    whole, hows = combined(series, places, asked.place.card)
    left_out = sorted(set(indexes) - {part.index for part in parts})
    told = Combined(len(parts), tuple(left_out), sum(part.overlap_ha for part in parts), hows)
    return Feature(Given(max(indexes) + 1, NAME, None), whole, combined=told)


def combined_of(asked: Collection, features: Sequence[Feature]) -> Feature:
    """The sum over those features that have an answer, one or more. Raises as `parts_of`."""
    from fieldflux.tiles.combine import counted_once

    once = counted_once([shape for _, shape in answered(features)])
    return sum_of(asked, parts_of(asked, features, once), [f.given.index for f in features])
