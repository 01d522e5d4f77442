"""Series of a polygon: means over its cells by day, month, season, year or period, with intervals and totals.

The mean of a day is taken over the cells that have a value, by covered area, in 64-bit floats. It is then rounded once,
to a hundredth of the variable's digits, and all that follows is made of the rounded days: months and years are their
exact sums, and `reco = ra + rh`, `nee = reco - gpp` hold exactly in every figure written down.

An interval is of the ensemble: each member is averaged and summed first, so that errors which are shared by cells and
days stay shared, and the spread is taken last. How wide it is for that spread, the model's card says (see `bounds`).

Its parts: `question` (what may be asked), `reading` (sums over cells, from the store or run now), `steps` and
`aggregate` (from days to months), `spatial` (statistics over cells), `caveats` (what to know about an answer), `many`
(many polygons at once).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from fieldflux.models.crops import CROP_OF_CDL
from fieldflux.models.variables import variable
from numpy.typing import NDArray

from .aggregate import Over, Runs, Values, aggregate, quantum
from .caveats import FLAGS, MODEL_FLAGS, caveats, model_flag
from .question import LEVEL, Inputs, SeriesRequest, Source, Unanswerable, check_request, check_size, cover_of
from .reading import Held, Reader, run_years
from .spatial import Statistic, daily_statistics, step_statistics, value_statistics
from .steps import Step, Steps
from .together import Ready
from .zonal import Coverage

__all__ = [
    "FLAGS",
    "LEVEL",
    "MODEL_FLAGS",
    "CropShare",
    "Inputs",
    "Series",
    "SeriesRequest",
    "Source",
    "Step",
    "Unanswerable",
    "Values",
    "check_request",
    "cover_of",
    "model_flag",
    "run_years",
    "series",
]


@dataclass(frozen=True, slots=True)
class CropShare:
    """A crop's share of the covered area in a year and, where yields were asked for, its mean yield.

    code: of the Cropland Data Layer. yield_carbon: gC m-2 yr-1 harvested; t_ha, bu_ac: at market moisture.
    valid: share of the covered area that has a yield.
    """

    year: int
    code: int
    name: str | None
    fraction: float
    yield_carbon: float | None = None
    t_ha: float | None = None
    bu_ac: float | None = None
    valid: float = 0.0


@dataclass(frozen=True, slots=True)
class Series:
    """An answer.

    starts: [T] first day of each step; days: [T] days in it that were asked for; whole: [T] whether these are all.
    values: daily variables, by name. years, annual: yearly variables of the calendar years touched.
    summary: every variable over all the days (daily) or years (yearly) asked for; arrays of one value.
    crops: by year, largest share first. from_store, computed: years that came from either.
    flagged: year -> flag of the model -> share of the covered area; None where the store did not keep them.
    """

    request: SeriesRequest
    coverage: Coverage
    steps: Steps
    values: Mapping[str, Values]
    years: tuple[int, ...]
    annual: Mapping[str, Values]
    summary: Mapping[str, Values]
    crops: tuple[CropShare, ...]
    from_store: tuple[int, ...]
    computed: tuple[int, ...]
    snapshot: str
    flags: tuple[str, ...]
    flagged: Mapping[int, Mapping[str, float] | None] = field(default_factory=dict)

    @property
    def starts(self) -> NDArray[np.datetime64]:
        return self.steps.starts

    @property
    def days(self) -> NDArray[np.int64]:
        return self.steps.lengths

    @property
    def whole(self) -> NDArray[np.bool_]:
        return self.steps.whole

    @property
    def origin(self) -> str:
        """ "store", "computed" (on the spot), or "both"."""
        if not self.computed:
            return "store"
        return "both" if self.from_store else "computed"

    def year_ends(self) -> tuple[NDArray[np.datetime64], NDArray[np.datetime64]]:
        """[Y] first and last days that yearly values stand for: of the calendar years, or of the whole record."""
        if self.request.record is not None:
            first, last = (np.array([day], "M8[D]") for day in self.request.record)
            return first, last
        firsts, nexts = (np.array([f"{year + k}-01-01" for year in self.years], "M8[D]") for k in (0, 1))
        return firsts, nexts - 1

    def labels(self) -> list[str]:
        """Steps as ISO 8601: "2020-07-01", "2020-07" or "2020"; a season as "2020-DJF", a period as "first/last"."""
        return self.steps.labels()


def series(request: SeriesRequest, source: Source, held: Held | None = None, ready: Ready | None = None) -> Series:
    """Answer a question. Raises what `check_request` does, BadGeometry, and what reading and running raise.

    Everything that can be refused is refused before anything is read. held: sums that were read already;
    ready: what was made of them.
    """
    daily, annual = check_request(request, source)
    cover = cover_of(request, source)
    check_size(request, source, cover.cells, daily)
    reader = Reader(source, cover, request, held)
    steps = Steps.of(request.step, request.first, request.last)
    with_members = request.interval and source.card.members > 1
    card, level = source.card, request.level

    numbers = reader.days(daily, with_members) if ready is None else {}
    values: dict[str, Values] = {}
    summary: dict[str, Values] = {}
    over: Over = {"day": "day", "year": "year", "period": "total"}.get(request.step, "month")  # type: ignore[assignment]
    everything = Runs.together(request.days)
    for name in daily:
        if ready is not None:
            values[name], summary[name] = ready[name]
            continue
        v = variable(name)
        values[name] = aggregate(v, numbers[name], steps, over, cover, card, level)
        # Of the whole period there is one figure, under both names.
        whole = request.step == "period"
        summary[name] = values[name] if whole else aggregate(v, numbers[name], everything, "total", cover, card, level)
    annual_values: dict[str, Values] = {}
    for name in annual:
        v, of_years = variable(name), reader.years_of(name, with_members)
        annual_values[name] = aggregate(v, of_years, Runs.each(len(request.years)), "year", cover, card, level)
        together = Runs.together(len(request.years))
        summary[name] = aggregate(v, of_years, together, "total", cover, card, level)
    _with_statistics(values, annual_values, request, reader, steps)
    told = [*values.values(), *annual_values.values()]
    flagged = {year: reader.flagged(year) for year in request.years}
    return Series(
        request,
        cover,
        steps,
        values,
        request.years,
        annual_values,
        summary,
        _crops(reader, request.years, cover.effective_cells, "yield" in annual),
        reader.from_store,
        reader.computed,
        reader.snapshot,
        tuple(caveats(request, source, cover, steps, told, summary.values(), bool(annual), flagged)),
        flagged,
    )


def _with_statistics(
    values: dict[str, Values], annual: dict[str, Values], request: SeriesRequest, reader: Reader, steps: Steps
) -> None:
    """Put the statistics over cells beside the means, where any are asked for."""
    wanted: Sequence[Statistic] = [s for s in request.statistics if s.of_cells]
    if not wanted:
        return
    for name in values:
        v = variable(name)
        cells, step = reader.cells(name), v.step or 1.0
        found = (
            daily_statistics(cells, wanted, step)
            if request.step == "day"
            else step_statistics(cells, v.over_time, steps, wanted, step)
        )
        values[name] = _beside(values[name], found)
    for name in annual:
        of_years, weights = reader.cell_years(name)
        annual[name] = _beside(annual[name], value_statistics(of_years, weights, wanted))


def _beside(values: Values, found: Mapping[str, NDArray[np.float64]]) -> Values:
    q = quantum(values.variable)
    return replace(values, statistics={name: np.rint(of * q) / q + 0.0 for name, of in found.items()})


def _crops(reader: Reader, years: Sequence[int], covered: float, with_yield: bool) -> tuple[CropShare, ...]:
    """Crops on the covered area, year by year, largest share first."""
    found: list[CropShare] = []
    for year in years:
        shares = [_share(year, covered, *row) for row in reader.crops(year, with_yield)]
        found += sorted(shares, key=lambda s: -s.fraction)
    return tuple(found)


def _share(year: int, covered: float, code: int, weight: float, valid: float, yields: float) -> CropShare:
    crop = CROP_OF_CDL.get(code)
    name = crop.name if crop else None
    if valid <= 0:
        return CropShare(year, code, name, round(weight / covered, 6))
    carbon = yields / valid
    t_ha, bu_ac = (crop.t_ha(carbon), crop.bu_ac(carbon)) if crop else (None, None)
    return CropShare(
        year,
        code,
        name,
        round(weight / covered, 6),
        round(carbon, 3),
        None if t_ha is None else round(t_ha, 4),
        None if bu_ac is None else round(bu_ac, 3),
        valid / covered,
    )
