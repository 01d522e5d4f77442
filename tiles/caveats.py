"""What a reader of an answer should know: flags of a series, and what each means in a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from fieldflux.models.variables import of_record

from .aggregate import Values
from .bounds import logarithm_of
from .question import SeriesRequest, Source
from .steps import Steps
from .zonal import FLAGS as SHAPE_FLAGS
from .zonal import Coverage

FLAGS: MappingProxyType[str, str] = MappingProxyType(
    {
        **SHAPE_FLAGS,
        "partial_steps": "The first or last month, season or year is cut by the dates asked for; it is the sum or mean "
        "of the days inside (see `days`).",
        "year_beyond_dates": "A yearly value is of its whole calendar year, also where the dates cut it.",
        "missing_days": "Some days have no value in any cell; steps with such a day are null.",
        "partly_valid": "Some covered cells have no value, such as cells whose crop the model does not know; means and "
        "totals are of the others (see `valid_fraction`).",
        "no_uncertainty": "The model is a single member, so there is no interval.",
        "no_interval_for_some": "The members of some variables are not kept, or are all the same, so these have no "
        "interval.",
        "middle_value": "Some values are the middle of what is likely, not the mean, since errors are of logarithms: a "
        "sum over large areas comes out low (the model's card tells by how much).",
        "interval_not_calibrated": "Some intervals are the ensemble's own spread, not widened by what held-out data "
        "show (see `interval_basis`).",
        "interval_scaled": "Some intervals are of sums over more days than were calibrated: taken as if errors did not "
        "cancel between days, months or years, so rather too wide (see `interval_basis`).",
        "interval_few_groups": "Too few held-out sites for this level: the interval is as wide as the largest error "
        "seen at them, relative to the spread, and may hold less often than it says (see `interval_basis`).",
        "whole_record": "Soil at rest under the mean climate of all years of the inputs (see `record`): one value for "
        "the place, whatever days were asked for; no change over time.",
        "synthetic_inputs": "The inputs were made in code; no real place or field is described.",
        "mixed_crops": "Several crops were harvested: a yield in t ha-1 is the mean of theirs by area, each at its "
        "market moisture; bushels of different crops are not added up, and null (see `crops` for each).",
        "model_flags_not_kept": "The store was made before it kept what the model flags, so such flags are not known "
        "here.",
    }
)
"""What the flags of a `Series` mean."""

ASSUMED = "assumed_"
"""Begins the names of flags for inputs that were assumed."""

MODEL_FLAGS: MappingProxyType[str, str] = MappingProxyType(
    {
        "crop_unknown": "The model does not know the crop; there is no value.",
        "weather_missing": "A day of the weather is missing; there is no value.",
        "soil_missing": "A soil property that the model needs is missing; there is no value.",
        "outside_domain": "The soil or place lies outside the range that the model was made for.",
        "gpp_missing": "Given gross primary production was missing on some days; the model filled them with its own.",
        "not_cropland": "Tillage and residue are of crops; here, where none are grown, they change nothing.",
        "crop_failed": "Simulated growth gave no harvest to speak of: the crop failed, in the model or in truth.",
        "unripe": "In the simulation the crop was not mature on its day of harvest; the yield is what stood then.",
        "weather_outside_domain": "On some days, weather lay outside the range that the model was trained on.",
    }
)
"""What the flags mean that models set, cell by cell and year by year."""


def model_flag(name: str) -> str:
    """The sentence for a model's flag; one that the table lacks is told by its name."""
    if name.startswith(ASSUMED):
        return (
            f"The inputs do not tell the {name.removeprefix(ASSUMED).replace('_', ' ')}; a usual value was taken, the "
            f"mean of the places that the model was trained on where it was trained with it."
        )
    return MODEL_FLAGS.get(name, f"The model flagged '{name}'; its card may say more.")


def caveats(
    request: SeriesRequest,
    source: Source,
    cover: Coverage,
    steps: Steps,
    told: Sequence[Values],
    summary: Iterable[Values],
    has_annual: bool,
    flagged: Mapping[int, Mapping[str, float] | None],
) -> Iterator[str]:
    """Flags that hold, in the order of their weight for a reader. told: variables over steps and years."""
    yield from cover.flags
    if not steps.whole.all():
        yield "partial_steps"
    cut = (request.first.month, request.first.day) != (1, 1) or (request.last.month, request.last.day) != (12, 31)
    if has_annual and cut:
        yield "year_beyond_dates"
    if any(np.isnan(v.value).any() for v in told):
        yield "missing_days"
    if any((v.valid_fraction < 1).any() for v in told):
        yield "partly_valid"
    if source.card.members == 1:
        yield "no_uncertainty"
    elif request.interval:
        if any(v.low is None for v in told):
            yield "no_interval_for_some"
        bases = {b for v in (*told, *summary) for b in v.basis}
        if any(logarithm_of(v.variable) in source.card.intervals for v in told):
            yield "middle_value"
        if any(b.method == "spread" for b in bases):
            yield "interval_not_calibrated"
        if any(b.scaled for b in bases):
            yield "interval_scaled"
        if any(b.method == "conformal" and not b.promised for b in bases):
            yield "interval_few_groups"
    if of_record(source.card.outputs):
        yield "whole_record"
    if any(of_year is None for of_year in flagged.values()):
        yield "model_flags_not_kept"
    if source.cube.synthetic:
        yield "synthetic_inputs"
