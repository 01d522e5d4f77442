"""Series of a polygon: daily, monthly or yearly means over its cells, with intervals and totals.

The mean of a day is taken over the cells that have a value, by covered area, in 64-bit floats. It is then rounded once,
to a hundredth of the variable's digits, and all that follows is made of the rounded days: months and years are their
exact sums, and `reco = ra + rh`, `nee = reco - gpp` hold exactly in every figure written down.

An interval is of the ensemble: each member is averaged and summed first, so that errors which are shared by cells and
days stay shared, and the spread is taken last. How wide it is for that spread, the model's card says (see `bounds`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from fieldflux.models.card import Card
from fieldflux.models.contract import Model
from fieldflux.models.crops import CROP_OF_CDL
from fieldflux.models.variables import Variable, variable
from numpy.typing import NDArray

from .bounds import Basis, check_level, ends, half_widths
from .cells import Year, start
from .collect import Collector
from .layout import Layout, days_in, split
from .lru import Lru
from .store import Store, YearData
from .sums import DailySums, Part, daily_sums, part_of_cells, parts_of_store, yearly_sum
from .surface import CubeLike
from .zonal import FLAGS as SHAPE_FLAGS
from .zonal import Coverage, Limits, Shape, coverage

Floats: TypeAlias = NDArray[np.float64]
Step: TypeAlias = Literal["day", "month", "year"]

LEVEL = 0.90
"""Level of an interval where no other is asked for."""
PARTS = ("gpp", "ra", "rh")
DERIVED = ("reco", "nee")
FLUXES = (*PARTS, *DERIVED)
CARBON = "gC m-2"

FLAGS: MappingProxyType[str, str] = MappingProxyType(
    {
        **SHAPE_FLAGS,
        "partial_steps": "The first or last month or year is cut by the dates asked for; it is the sum or mean of the "
        "days inside (see `days`).",
        "year_beyond_dates": "A yearly value is of its whole calendar year, also where the dates cut it.",
        "missing_days": "Some days have no value in any cell; steps with such a day are null.",
        "partly_valid": "Some covered cells have no value, such as cells whose crop the model does not know; means and "
        "totals are of the others (see `valid_fraction`).",
        "no_uncertainty": "The model is a single member, so there is no interval.",
        "no_interval_for_some": "The members of some variables are not kept, or are all the same, so these have no "
        "interval.",
        "interval_not_calibrated": "Some intervals are the ensemble's own spread, not widened by what held-out data "
        "show (see `interval_basis`).",
        "interval_scaled": "Some intervals are of sums over more days than were calibrated: taken as if errors did not "
        "cancel between days, months or years, so rather too wide (see `interval_basis`).",
        "interval_few_groups": "Too few held-out sites for this level: the interval is as wide as the largest error "
        "seen at them, relative to the spread, and may hold less often than it says (see `interval_basis`).",
        "synthetic_inputs": "The inputs were made in code; no real place or field is described.",
    }
)
"""What the flags of a `Series` mean."""


class Unanswerable(ValueError):
    """A question that cannot be answered as it stands.

    code: "invalid-dates", "unknown-variable", "over-limit" or "not-computed-yet". members: what a program may want to
    know. `chunks`, with "not-computed-yet": (year, chunk row, chunk column) that would have to be computed.
    """

    def __init__(
        self, code: str, sentence: str, chunks: tuple[tuple[int, int, int], ...] = (), **members: object
    ) -> None:
        super().__init__(sentence)
        self.code = code
        self.chunks = chunks
        self.members = members


class Inputs(CubeLike, Protocol):
    """What a series asks of a cube."""

    def crops(self, year: int) -> NDArray[np.int16]: ...


@dataclass(frozen=True, slots=True)
class SeriesRequest:
    """A question: which land, which days (both included), which variables, at which step; intervals at which level."""

    geometry: Mapping[str, Any] | Shape | Any
    first: date
    last: date
    variables: tuple[str, ...] = ("gpp", "reco", "nee")
    step: Step = "day"
    interval: bool = True
    level: float = LEVEL


@dataclass(frozen=True, slots=True)
class Source:
    """Where answers come from: a cube, a model's card and, where there are any, its store and the model itself.

    model: loads the model; called only when cells have to be run. memory: keeps coverages and sums.
    live_cell_years: most cells x years that are run while a caller waits. cell_days: most that are read.
    """

    cube: Inputs
    card: Card
    store: Store | None = None
    model: Callable[[], Model] | None = None
    memory: Lru = field(default_factory=lambda: Lru(32 << 20))
    limits: Limits = field(default_factory=Limits)
    live_cell_years: int = 2_000
    cell_days: int = 400_000_000


@dataclass(frozen=True, slots=True)
class Values:
    """A variable over steps of time.

    value: [T], NaN where there is none. low, high: [T], the interval at the request's level, or None.
    basis: what the width of the interval rests on.
    valid_fraction: [T] share of the covered area whose cells have a value.
    total: [T] of the area with values, in `total_unit`: value x valid_fraction x covered area; None where the variable
    is not a sum of carbon. total_low, total_high: its interval.
    """

    variable: str
    unit: str
    value: Floats
    valid_fraction: Floats
    low: Floats | None = None
    high: Floats | None = None
    total: Floats | None = None
    total_low: Floats | None = None
    total_high: Floats | None = None
    total_unit: str | None = None
    basis: tuple[Basis, ...] = ()


@dataclass(frozen=True, slots=True)
class CropShare:
    """A crop's share of the covered area in a year and, where yields were asked for, its mean yield.

    code: of the Cropland Data Layer. yield_carbon: gC m-2 yr-1 harvested; t_ha, bu_ac: at market moisture.
    """

    year: int
    code: int
    name: str | None
    fraction: float
    yield_carbon: float | None = None
    t_ha: float | None = None
    bu_ac: float | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """An answer.

    starts: [T] first day of each step; days: [T] days in it that were asked for; whole: [T] whether these are all.
    values: daily variables, by name. years, annual: yearly variables of the calendar years touched.
    summary: every variable over all the days (daily) or years (yearly) asked for; arrays of one value.
    crops: by year, largest share first. from_store, computed: years that came from either.
    """

    request: SeriesRequest
    coverage: Coverage
    starts: NDArray[np.datetime64]
    days: NDArray[np.int64]
    whole: NDArray[np.bool_]
    values: Mapping[str, Values]
    years: tuple[int, ...]
    annual: Mapping[str, Values]
    summary: Mapping[str, Values]
    crops: tuple[CropShare, ...]
    from_store: tuple[int, ...]
    computed: tuple[int, ...]
    snapshot: str
    flags: tuple[str, ...]

    @property
    def origin(self) -> str:
        """ "store", "computed" (on the spot), or "both"."""
        if not self.computed:
            return "store"
        return "both" if self.from_store else "computed"

    def labels(self) -> list[str]:
        """Steps as ISO 8601: "2020-07-01", "2020-07" or "2020"."""
        unit: Literal["D", "M", "Y"] = {"day": "D", "month": "M", "year": "Y"}[self.request.step]  # type: ignore[assignment]
        found: list[str] = np.datetime_as_string(self.starts, unit=unit).tolist()
        return found


def series(request: SeriesRequest, source: Source) -> Series:
    """Answer a question. Raises what `check_request` does, BadGeometry, and what reading and running raise.

    Everything that can be refused is refused before anything is read.
    """
    daily, annual = check_request(request, source)
    cover = cover_of(request, source)
    years = tuple(range(request.first.year, request.last.year + 1))
    _check_size(request, source, cover, daily)
    reader = _Reader(source, cover, request, years)
    steps = _Steps.of(request)
    members = source.card.members if request.interval else 1

    quanta, weights, of_members = reader.days(daily, members)
    values: dict[str, Values] = {}
    summary: dict[str, Values] = {}
    everything = steps.one()
    for name in daily:
        v = variable(name)
        numbers = (quanta[name], weights[name] / cover.effective_cells, of_members.get(name))
        values[name] = _aggregate(v, *numbers, steps, request.step, cover, source.card, request.level)
        summary[name] = _aggregate(v, *numbers, everything, "total", cover, source.card, request.level)
    annual_values: dict[str, Values] = {}
    for name in annual:
        v = variable(name)
        one_each = _Steps(np.arange(len(years)), np.ones(len(years), np.int64))
        together = _Steps(np.zeros(1, np.int64), np.array([len(years)]))
        numbers = reader.years_of(name, members)
        annual_values[name] = _aggregate(v, *numbers, one_each, "year", cover, source.card, request.level)
        summary[name] = _aggregate(v, *numbers, together, "total", cover, source.card, request.level)
    everything_told = [*values.values(), *annual_values.values()]
    bases = {b for v in (*everything_told, *summary.values()) for b in v.basis}
    return Series(
        request,
        cover,
        steps.starts_of(request),
        steps.lengths,
        steps.whole(request),
        values,
        years,
        annual_values,
        summary,
        reader.crops("yield" in annual),
        reader.from_store,
        reader.computed,
        reader.snapshot,
        tuple(_flags(request, source, cover, steps, everything_told, bases, bool(annual))),
    )


def cover_of(request: SeriesRequest, source: Source) -> Coverage:
    """The cells that a question is about. Raises BadGeometry."""
    cube, memory = source.cube, source.memory
    mask = memory.get(("mask", cube.hash), cube.mask, lambda a: int(a.nbytes))
    return coverage(
        request.geometry, cube.grid, cube.window, mask, limits=source.limits, memory=memory, place=cube.hash
    )


def check_request(request: SeriesRequest, source: Source) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Daily and yearly variables of a question. Raises UnknownVariable, UncalibratedLevel, Unanswerable."""
    years = source.cube.years
    if request.last < request.first:
        raise Unanswerable(
            "invalid-dates",
            f"The last day, {request.last}, lies before the first, {request.first}. Exchange them.",
        )
    if request.first.year < years[0] or request.last.year > years[-1]:
        raise Unanswerable(
            "invalid-dates",
            f"The days {request.first} to {request.last} are not all in the inputs, which cover {years[0]}-01-01 to "
            f"{years[-1]}-12-31. Choose days in that time.",
            allowed=[f"{years[0]}-01-01", f"{years[-1]}-12-31"],
        )
    names = tuple(dict.fromkeys(request.variables))
    if not names:
        raise Unanswerable(
            "unknown-variable", f"No variable is asked for. There are: {', '.join(source.card.outputs)}."
        )
    for name in names:
        variable(name)
        if name not in source.card.outputs:
            raise Unanswerable(
                "unknown-variable",
                f"The model '{source.card.id}' gives no '{name}'; it gives: {', '.join(source.card.outputs)}.",
            )
    if request.interval:
        check_level(source.card, names, request.level)
    return (
        tuple(n for n in names if variable(n).period == "day"),
        tuple(n for n in names if variable(n).period == "year"),
    )


def _check_size(request: SeriesRequest, source: Source, cover: Coverage, daily: Sequence[str]) -> None:
    days = (request.last - request.first).days + 1
    given = cover.cells * days * max(len(_read_names(daily, source.card)), 1)
    if given > source.cell_days:
        raise Unanswerable(
            "over-limit",
            f"The question needs {given:,} values ({cover.cells:,} cells x {days:,} days x variables); at most "
            f"{source.cell_days:,} are read at once. Ask for a smaller area, fewer days or fewer variables.",
            limit="cell_days",
            given=given,
            allowed=source.cell_days,
        )


def _read_names(daily: Sequence[str], card: Card) -> tuple[str, ...]:
    """What is read for some daily variables: where the model gives the parts of nee, it is made of these."""
    fluxes = set(daily) & set(FLUXES)
    if not set(PARTS) <= set(card.outputs) or (len(fluxes) < 2 and not fluxes & set(DERIVED)):
        return tuple(daily)
    return (*PARTS, *(n for n in daily if n not in FLUXES))


# --- reading ---------------------------------------------------------------------------------------------------------


class _Reader:
    """Sums over a polygon's cells, year by year, from the store where it is complete and else from cells run now."""

    def __init__(self, source: Source, cover: Coverage, request: SeriesRequest, years: tuple[int, ...]) -> None:
        self._source, self._cover, self._request, self._years = source, cover, request, years
        self.snapshot = source.store.snapshot if source.store is not None else ""
        lacking = {y: self._lacking(y) for y in years}
        self.from_store = tuple(y for y in years if not lacking[y])
        self.computed = tuple(y for y in years if lacking[y])
        self._run: dict[int, _YearSums] = {}
        if self.computed:
            self._run = self._compute(lacking)

    def days(
        self, daily: tuple[str, ...], members: int
    ) -> tuple[dict[str, Floats], dict[str, Floats], dict[str, Floats]]:
        """For each daily variable, over all days: means in quanta [D], weight of valid cells [D], members [M, D]."""
        quanta: dict[str, Floats] = {}
        weights: dict[str, Floats] = {}
        of_members: dict[str, Floats] = {}
        names = _read_names(daily, self._source.card)
        together = set(PARTS) <= set(names)
        kept = PARTS if self._source.card.members > 1 else ()
        for group in ((PARTS,) if together else ()) + tuple((n,) for n in names if not together or n not in PARTS):
            means, weight = self._means(group, None)
            found = _with_derived({n: _rounded(n, mean) for n, mean in zip(group, means, strict=True)})
            quanta.update(found)
            weights.update(dict.fromkeys(found, weight))
            if members > 1 and set(group) <= set(kept):
                stack = [self._means(group, m)[0] for m in range(members)]
                scaled = {n: np.stack([s[i] for s in stack]) * _quantum(n) for i, n in enumerate(group)}
                of_members.update(_with_derived(scaled))
        return quanta, weights, of_members

    def years_of(self, name: str, members: int) -> tuple[Floats, Floats, Floats | None]:
        """A yearly variable: means in quanta [Y], valid share [Y], members [M, Y]."""
        mean, weight = self._yearly(name, None)
        by_member = None
        if members > 1:
            by_member = np.stack([self._yearly(name, m)[0] for m in range(members)]) * _quantum(name)
        return _rounded(name, mean), weight / self._cover.effective_cells, by_member

    def crops(self, with_yield: bool) -> tuple[CropShare, ...]:
        """Crops on the covered area, year by year, largest share first."""
        found: list[CropShare] = []
        for year in self._years:
            shares = self._kept(("crops", year), lambda y=year: self._crop_sums(y, False), _rows)  # type: ignore[misc]
            if with_yield:
                if year in self._run:
                    shares = self._run[year].crops
                else:
                    shares = self._kept(("yields", year), lambda y=year: self._crop_sums(y, True), _rows)  # type: ignore[misc]
            found += sorted(
                (_share(year, self._cover.effective_cells, *row) for row in shares), key=lambda s: -s.fraction
            )
        return tuple(found)

    # one variable, one member

    def _means(self, names: tuple[str, ...], member: int | None) -> tuple[list[Floats], Floats]:
        """Means [D] of variables that are valid together, in their units, and the weight of the valid cells [D]."""
        parts = [self._daily(names, member, year) for year in self._years]
        sums = np.concatenate([p.sums for p in parts], axis=1)
        weight = np.concatenate([p.weight for p in parts])
        with np.errstate(invalid="ignore", divide="ignore"):
            means = np.where(weight > 0, sums / weight, np.nan)
        return [mean * (variable(n).step or 1.0) for n, mean in zip(names, means, strict=True)], weight

    def _daily(self, names: tuple[str, ...], member: int | None, year: int) -> DailySums:
        first, last = max(self._request.first, date(year, 1, 1)), min(self._request.last, date(year, 12, 31))
        if year in self._run:
            held = self._run[year].days(names, member)
            span = slice(first.timetuple().tm_yday - 1, last.timetuple().tm_yday)
            return DailySums(held.sums[:, span], held.weight[span])
        kept: DailySums = self._kept(
            ("days", names, member, first, last),
            lambda: daily_sums(self._parts(year, first, last), names, member, (last - first).days + 1),
            lambda s: s.nbytes,
        )
        return kept

    def _yearly(self, name: str, member: int | None) -> tuple[Floats, Floats]:
        sums = []
        for year in self._years:
            if year in self._run:
                sums.append(self._run[year].year(name, member))
            else:
                sums.append(
                    self._kept(
                        ("year", name, member, year),
                        lambda y=year: yearly_sum(self._parts(y), name, member),  # type: ignore[misc]
                        lambda _: 100,
                    )
                )
        total, weight = np.array(sums).T
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(weight > 0, total / weight, np.nan), weight

    def _crop_sums(self, year: int, with_yield: bool) -> list[tuple[int, float, float, float]]:
        if not with_yield:
            codes = self._crop_codes(year)
            return [(int(c), float(self._cover.fraction[codes == c].sum()), 0.0, 0.0) for c in np.unique(codes)]
        return _yield_by_crop(self._parts(year), self._all_crops(year), self._source.cube)

    def _all_crops(self, year: int) -> NDArray[np.int16]:
        cube = self._source.cube
        return self._source.memory.get(("crops", cube.hash, year), lambda: cube.crops(year), lambda a: int(a.nbytes))

    def _crop_codes(self, year: int) -> NDArray[np.int16]:
        w = self._source.cube.window
        codes: NDArray[np.int16] = self._all_crops(year)[self._cover.rows - w.row0, self._cover.cols - w.col0]
        return codes

    # where from

    def _parts(self, year: int, first: date | None = None, last: date | None = None) -> Iterator[Part]:
        store = self._source.store
        assert store is not None
        begin, end = first or date(year, 1, 1), last or date(year, 12, 31)
        return parts_of_store(store, self._cover, year, begin, end)

    def _kept(self, key: tuple[Any, ...], make: Callable[[], Any], size: Callable[[Any], int]) -> Any:
        """What was read of this polygon, kept until the store changes."""
        place = (self.snapshot, self._source.cube.hash, self._source.card.weights_sha256, self._cover.key)
        return self._source.memory.get(("series", *place, *key), make, lambda v: 300 + size(v))

    def _lacking(self, year: int) -> tuple[tuple[int, int, int], ...]:
        """(year, chunk row, chunk column) under the polygon that the store does not hold."""
        store, cover = self._source.store, self._cover
        if store is None:
            return ((year, 0, 0),)
        n, w = store.grid.chunk, store.window
        there = store.computed(year)
        lacking = np.zeros(there.shape, bool)
        lacking[(cover.rows - w.row0) // n, (cover.cols - w.col0) // n] = True
        lacking &= ~there
        return tuple((year, int(i), int(j)) for i, j in np.argwhere(lacking))

    def _compute(self, lacking: Mapping[int, tuple[tuple[int, int, int], ...]]) -> dict[int, _YearSums]:
        source, cover = self._source, self._cover
        chunks = tuple(c for y in self.computed for c in lacking[y]) if source.store is not None else ()
        work = cover.cells * (self.computed[-1] - source.cube.years[0] + 1)
        key = ("run", source.cube.hash, source.card.id, source.card.weights_sha256, cover.key)
        if source.model is None or work > source.live_cell_years:
            why = (
                "no model is loaded to compute them now"
                if source.model is None
                else f"{cover.cells:,} cells x {work // cover.cells} years (from the first of the inputs) are more "
                f"than the {source.live_cell_years:,} that are computed while you wait"
            )
            raise Unanswerable(
                "not-computed-yet",
                f"Not all cells are computed for {_listed(self.computed)}, and {why}. Ask for a smaller area, ask "
                f"again later, or run the region.",
                chunks,
                years=list(self.computed),
            )
        kept: dict[int, _YearSums] = {}

        def run() -> _YearSums:
            if not kept:
                kept.update(run_years(source, cover, self.computed))
            return kept[year]

        found: dict[int, _YearSums] = {}
        for year in self.computed:
            found[year] = source.memory.get((*key, year), run, lambda s: s.nbytes)
        return found


@dataclass(frozen=True, slots=True)
class _YearSums:
    """All sums of a polygon over one year, of cells that were run by themselves."""

    daily: Mapping[tuple[str, int | None], DailySums]
    yearly: Mapping[tuple[str, int | None], tuple[float, float]]
    crops: list[tuple[int, float, float, float]]
    joint: Mapping[int | None, DailySums]

    def days(self, names: tuple[str, ...], member: int | None) -> DailySums:
        return self.joint[member] if len(names) == 3 else self.daily[names[0], member]

    def year(self, name: str, member: int | None) -> tuple[float, float]:
        return self.yearly[name, member]

    @property
    def nbytes(self) -> int:
        return sum(s.nbytes for s in (*self.daily.values(), *self.joint.values())) + 100 * len(self.yearly) + 500


def run_years(source: Source, cover: Coverage, years: Sequence[int]) -> dict[int, _YearSums]:
    """Run the cells of a polygon from the cube's first year on, and sum them over the polygon for `years`.

    Values are packed as a store packs them, so that they stay the same when the store holds them later.
    """
    assert source.model is not None
    model, cube = source.model(), source.cube
    daily, annual = split(model.outputs)
    layout = Layout(cube.grid, cube.window.block_aligned(cube.grid), daily, annual, model.members)
    side = int(np.ceil(np.sqrt(cover.cells)))
    state = start(model, cube, cover.rows, cover.cols)
    found: dict[int, _YearSums] = {}
    for year in range(cube.years[0], max(years) + 1):
        run = Year(model, cube, cover.rows, cover.cols, year, state)
        collector = Collector(layout, side, year, np.arange(cover.cells)) if year in years else None
        for batch in run:
            if collector is not None:
                collector.add(batch)
        state = run.state
        if collector is not None:
            crops = cube.crops(year) if "yield" in annual else None
            found[year] = _sum_year(collector.data(), layout, cover, year, crops, cube)
    return found


def _sum_year(
    data: YearData, layout: Layout, cover: Coverage, year: int, crops: NDArray[np.int16] | None, cube: Inputs
) -> _YearSums:
    part, days = part_of_cells(data, cover), days_in(year)
    of: list[int | None] = [None, *(range(layout.members) if layout.members > 1 else ())]
    daily = {}
    for member in of:
        for name in layout.daily if member is None else layout.member_daily:
            daily[name, member] = daily_sums(iter([part]), (name,), member, days)
    whole = set(PARTS) <= set(layout.daily)
    joint = {m: daily_sums(iter([part]), PARTS, m, days) for m in of} if whole else {}
    yearly = {(n, m): yearly_sum(iter([part]), n, m) for m in of for n in layout.annual}
    by_crop = [] if crops is None else _yield_by_crop(iter([part]), crops, cube)
    return _YearSums(daily, yearly, by_crop, joint)


def _yield_by_crop(
    parts: Iterator[Part], crops: NDArray[np.int16], cube: Inputs
) -> list[tuple[int, float, float, float]]:
    """(code, weight, weight with a yield, weighted sum of yields) of each crop."""
    sums: dict[int, NDArray[np.float64]] = {}
    w = cube.window
    for part in parts:
        covered = part.weights > 0
        codes = crops[part.rows[covered] - w.row0, part.cols[covered] - w.col0]
        weights, yields = part.weights[covered], part.year("yield", None)[covered].astype(np.float64)
        valid = ~np.isnan(yields)
        for code in np.unique(codes):
            here = codes == code
            row = [weights[here].sum(), weights[here & valid].sum(), (weights * yields)[here & valid].sum()]
            sums[int(code)] = sums.get(int(code), np.zeros(3)) + np.array(row)
    return [(code, float(a), float(b), float(c)) for code, (a, b, c) in sums.items()]


def _rows(table: Sequence[Any]) -> int:
    return 100 * len(table)


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
    )


# --- from days to steps ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Steps:
    """How consecutive values fall into steps: [T] the first of each, and how many."""

    first: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @classmethod
    def of(cls, request: SeriesRequest) -> _Steps:
        days = np.arange(np.datetime64(request.first, "D"), np.datetime64(request.last, "D") + 1)
        unit = {"day": "D", "month": "M", "year": "Y"}[request.step]
        _, first, lengths = np.unique(days.astype(f"M8[{unit}]"), return_index=True, return_counts=True)
        return cls(first.astype(np.int64), lengths.astype(np.int64))

    def one(self) -> _Steps:
        return _Steps(np.zeros(1, np.int64), np.array([self.lengths.sum()]))

    def starts_of(self, request: SeriesRequest) -> NDArray[np.datetime64]:
        starts: NDArray[np.datetime64] = np.datetime64(request.first, "D") + self.first
        return starts

    def whole(self, request: SeriesRequest) -> NDArray[np.bool_]:
        unit = {"day": "D", "month": "M", "year": "Y"}[request.step]
        step = self.starts_of(request).astype(f"M8[{unit}]")
        full = ((step + 1).astype("M8[D]") - step.astype("M8[D]")).astype(np.int64)
        return np.asarray(full == self.lengths)


def _aggregate(
    v: Variable,
    quanta: Floats,
    valid_fraction: Floats,
    members: Floats | None,
    steps: _Steps,
    step: Literal["day", "month", "year", "total"],
    cover: Coverage,
    card: Card,
    level: float,
) -> Values:
    """One variable over steps: values in quanta [N] (members [M, N]) to `Values` [T]."""
    q = _quantum(v.name)
    value = np.rint(_over(v, quanta, steps)) / q + 0.0  # no "-0.0"
    fraction = np.add.reduceat(valid_fraction, steps.first) / steps.lengths
    # shares of a whole are sums of products: 0.9999999999 is whole
    fraction = np.where(fraction > 1 - 1e-9, 1.0, fraction)
    unit = _unit(v, step)
    low = high = None
    basis: tuple[Basis, ...] = ()
    if members is not None:
        half, basis = half_widths(card, v, value, _over(v, members, steps) / q, steps.lengths, level)
        open_ones = ends(value, half, q, v.low)
        low, high = open_ones if open_ones is not None else (None, None)
        basis = basis if open_ones is not None else ()
    if v.over_time != "sum" or not unit.startswith(CARBON):
        return Values(v.name, unit, value, fraction, low, high, basis=basis)
    tonnes = fraction * (cover.covered_m2 / 1e6)
    return Values(
        v.name,
        unit,
        value,
        fraction,
        low,
        high,
        value * tonnes,
        None if low is None else low * tonnes,
        None if high is None else high * tonnes,
        unit.replace(CARBON, "tC"),
        basis,
    )


def _over(v: Variable, values: Floats, steps: _Steps) -> Floats:
    """Values [..., N] over steps [..., T], as the vocabulary says. A step with a missing value is missing."""
    if v.over_time == "last":
        return np.asarray(values[..., steps.first + steps.lengths - 1])
    sums = np.add.reduceat(values, steps.first, axis=-1)
    return np.asarray(sums if v.over_time == "sum" else sums / steps.lengths)


def _unit(v: Variable, step: Literal["day", "month", "year", "total"]) -> str:
    unit = v.unit_over(step)
    return unit.removesuffix(" yr-1") if step == "total" and v.over_time == "sum" else unit


def _quantum(name: str) -> float:
    """Quanta in a unit of a variable: what its area means are rounded to, a hundredth of its last digit."""
    return float(10 ** (variable(name).digits + 2))


def _rounded(name: str, values: Floats) -> Floats:
    return np.asarray(np.rint(values * _quantum(name)))


def _with_derived(parts: dict[str, Floats]) -> dict[str, Floats]:
    """reco = ra + rh and nee = reco - gpp beside their parts; exact where these are whole numbers."""
    if not set(PARTS) <= set(parts):
        return parts
    reco = parts["ra"] + parts["rh"]
    return {**parts, "reco": reco, "nee": reco - parts["gpp"]}


def _flags(
    request: SeriesRequest,
    source: Source,
    cover: Coverage,
    steps: _Steps,
    told: Sequence[Values],
    bases: Iterable[Basis],
    has_annual: bool,
) -> Iterator[str]:
    yield from cover.flags
    if not steps.whole(request).all():
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
        if any(b.method == "spread" for b in bases):
            yield "interval_not_calibrated"
        if any(b.scaled for b in bases):
            yield "interval_scaled"
        if any(b.method == "conformal" and not b.promised for b in bases):
            yield "interval_few_groups"
    if source.cube.synthetic:
        yield "synthetic_inputs"


def _listed(years: Sequence[int]) -> str:
    return str(years[0]) if len(years) == 1 else f"{years[0]} to {years[-1]}"
