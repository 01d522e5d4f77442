"""The sum over the features of an answer: the land of all of them, each piece of it counted once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .collection import Collection, Combined, Feature, Given

NAME = "combined"


def combined_of(asked: Collection, features: Sequence[Feature]) -> Feature:
    """The sum over those features that have an answer, one or more.

    Where outlines overlap, the later one is read again without what earlier ones cover; a part that cannot be read is
    told in `not_counted`. Raises what reading and running raise for all of them.
    """
    from fieldflux.tiles.combine import combined, counted_once
    from fieldflux.tiles.many import many_series
    from fieldflux.tiles.series import Series
    from fieldflux.tiles.shape import BadGeometry
    from fieldflux.tiles.units import in_units
    from fieldflux.tiles.zonal import geodesic_area_ha

    there = [f for f in features if f.series is not None and f.given.shape is not None]
    whole = [f.given.shape for f in there if f.given.shape is not None]
    once = counted_once(whole)
    cut = [k for k, (one, own) in enumerate(zip(once, whole, strict=True)) if one is not None and one is not own]
    parts = many_series([p for k in cut if (p := once[k]) is not None], asked.request, asked.source) if cut else []
    read = dict(zip(cut, parts, strict=True))
    series, shapes, overlap = [], [], 0.0
    left_out = [f.given.index for f in features if f.series is None]
    for k, (feature, shape) in enumerate(zip(there, once, strict=True)):
        overlap += 0.0 if shape is whole[k] else geodesic_area_ha(whole[k].geometry)
        if shape is None:
            continue
        overlap -= 0.0 if shape is whole[k] else geodesic_area_ha(shape.geometry)
        found = read.get(k, feature.series)
        if isinstance(found, Series):
            series.append(in_units(found, asked.units) if k in read else found)
            shapes.append(shape)
        elif not isinstance(found, BadGeometry):
            left_out.append(feature.given.index)
    places = np.array([shape.geometry.centroid.coords[0] for shape in shapes])
    one, hows = combined(series, places, asked.place.card)
    told = Combined(len(features) - len(left_out), tuple(sorted(left_out)), overlap, hows)
    return Feature(Given(len(features), NAME, None), one, combined=told)
