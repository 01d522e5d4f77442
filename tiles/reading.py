"""Reading a polygon: sums over its cells, from the store where it is complete and else from cells that are run now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from fieldflux.models.variables import variable
from numpy.typing import NDArray

from .aggregate import Floats, Numbers, quantum, rounded, with_derived
from .cells import Year, start
from .cellsums import sums_of_cells
from .collect import Collector
from .layout import Layout, days_in, split
from .packing import Counts
from .question import PARTS, SeriesRequest, Source, Unanswerable, has_members, read_groups
from .spatial import MOST_CELLS, Cells
from .store import Under, YearData
from .sums import DailySums, Part, daily_sums, member_sums, part_of_cells, parts_of_store, yearly_sum
from .whole import Cut, cut_by_chunks, sums_by_chunks
from .zonal import Coverage

Names: TypeAlias = tuple[str, ...]
Held: TypeAlias = Mapping[tuple[int, Names, bool], tuple[DailySums, ...]]
"""(year, variables, of the members) -> sums over a polygon's cells, read together with those of others (see `many`)."""

CropSums: TypeAlias = list[tuple[int, float, float, float]]
"""(code, weight, weight with a yield, weighted sum of yields) of each crop."""


class Reader:
    """What is read of one polygon, year by year. `from_store`, `computed`: the years that come from either.

    held: sums that are there already. Raises what running cells raises, and Unanswerable (not-computed-yet).
    """

    def __init__(self, source: Source, cover: Coverage, request: SeriesRequest, held: Held | None = None) -> None:
        self._source, self._cover, self._request, self._years = source, cover, request, request.years
        self._held = held or {}
        self.snapshot = source.store.snapshot if source.store is not None else ""
        lacking = {y: lacking_chunks(source, cover, y) for y in self._years}
        self.from_store = tuple(y for y in self._years if not lacking[y])
        self.computed = tuple(y for y in self._years if lacking[y])
        self._run: dict[int, YearSums] = {}
        if self.computed:
            self._run = self._compute(lacking)

    def days(self, daily: Names, with_members: bool) -> dict[str, Numbers]:
        """Each daily variable, and those it is made of, over all the days."""
        found: dict[str, Numbers] = {}
        card, covered = self._source.card, self._cover.effective_cells
        for group in read_groups(daily, card):
            each = self._joined(group, True) if with_members and has_members(group, card) else None
            found |= numbers_of(group, self._joined(group, False)[0], each, covered)
        return found

    def years_of(self, name: str, with_members: bool) -> Numbers:
        """A yearly variable over the calendar years."""
        mean, weight = self._yearly(name, None)
        by_member = None
        if with_members:
            by_member = np.stack([self._yearly(name, m)[0] for m in range(self._source.card.members)]) * quantum(name)
        return Numbers(rounded(name, mean), weight / self._cover.effective_cells, by_member)

    def cells(self, name: str) -> list[Cells]:
        """A daily variable cell by cell, year by year. Raises Unanswerable (over-limit) for a very large polygon."""
        if self._cover.cells > MOST_CELLS:
            raise Unanswerable(
                "over-limit",
                f"Statistics over cells look at each of them: at most {MOST_CELLS:,} cells, and the polygon has "
                f"{self._cover.cells:,}. Ask for mean and total only, or for smaller parts.",
                limit="statistic_cells",
                given=self._cover.cells,
                allowed=MOST_CELLS,
            )
        found = []
        for year in self._years:
            first, last = self._ends(year)
            if year in self._run:
                span = slice(first.timetuple().tm_yday - 1, last.timetuple().tm_yday)
                found.append(Cells(self._run[year].cells[name][span], self._cover.fraction))
                continue
            parts = list(self._parts(year))
            counts = np.concatenate([p.days((name,))[0][:, p.weights > 0] for p in parts], axis=1)
            found.append(Cells(counts, np.concatenate([p.weights[p.weights > 0] for p in parts])))
        return found

    def cell_years(self, name: str) -> tuple[Floats, list[Floats]]:
        """A yearly variable cell by cell [Y, C], and the weights [C] of each year."""
        values, weights = [], []
        for year in self._years:
            if year in self._run:
                values.append(self._run[year].cell_years[name].astype(np.float64))
                weights.append(self._cover.fraction)
                continue
            parts = list(self._parts(year))
            values.append(np.concatenate([p.year(name, None)[p.weights > 0] for p in parts]).astype(np.float64))
            weights.append(np.concatenate([p.weights[p.weights > 0] for p in parts]))
        return np.stack(values), weights

    def crops(self, year: int, with_yield: bool) -> CropSums:
        """Crops on the covered area."""
        if with_yield and year in self._run:
            return self._run[year].crops
        kept: CropSums = self._kept(("crops", year, with_yield), lambda: self._crop_sums(year, with_yield), _rows)
        return kept

    def flagged(self, year: int) -> dict[str, float] | None:
        """Name -> share of the covered area that the model flagged in a year; None where that is not known."""
        if year in self._run:
            return self._run[year].flagged

        def read() -> dict[str, float] | None:
            store, cover = self._source.store, self._cover
            assert store is not None
            window = cover.window
            flags = store.read_flags(window, year)
            at = (cover.rows - window.row0, cover.cols - window.col0)
            return None if flags is None else _shares({n: cells[at] for n, cells in flags.items()}, cover)

        kept: dict[str, float] | None = self._kept(("flagged", year), read, lambda f: 100 * len(f or ()))
        return kept

    # one group, one year

    def _joined(self, names: Names, of_members: bool) -> list[DailySums]:
        """Sums over all days: of the mean, or of each member."""
        parts = [self._daily(names, of_members, year) for year in self._years]
        if len(parts) == 1:
            return list(parts[0])
        return [
            DailySums(np.concatenate([p.sums for p in each], axis=1), np.concatenate([p.weight for p in each]))
            for each in zip(*parts, strict=True)
        ]

    def _ends(self, year: int) -> tuple[date, date]:
        return ends_in(self._request, year)

    def _daily(self, names: Names, of_members: bool, year: int) -> tuple[DailySums, ...]:
        first, last = self._ends(year)
        if year in self._run:
            span = slice(first.timetuple().tm_yday - 1, last.timetuple().tm_yday)
            run = self._run[year].daily[names, of_members]
            return tuple(DailySums(held.sums[:, span], held.weight[span]) for held in run)
        here = self._held.get((year, names, of_members))
        if here is not None:
            return here

        def read() -> tuple[DailySums, ...]:
            store, cut = self._source.store, self._cut
            assert store is not None
            if cut is not None:
                return sums_by_chunks(store, cut, names, first, last, of_members)
            cover, owner = self._cover, np.zeros(self._cover.cells, np.int64)
            return sums_of_cells(store, names, self._under, cover.fraction, owner, 1, first, last, of_members)[0]

        kept: tuple[DailySums, ...] = self._kept(
            ("days", names, of_members, first, last), read, lambda s: sum(x.nbytes for x in s)
        )
        return kept

    def _yearly(self, name: str, member: int | None) -> tuple[Floats, Floats]:
        sums = []
        for year in self._years:
            if year in self._run:
                sums.append(self._run[year].yearly[name, member])
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

    def _crop_sums(self, year: int, with_yield: bool) -> CropSums:
        cube = self._source.cube
        crops = self._source.memory.get(("crops", cube.hash, year), lambda: cube.crops(year), lambda a: int(a.nbytes))
        if with_yield:
            return yield_by_crop(self._parts(year), crops, self._source)
        w, cover = cube.window, self._cover
        # Codes are of 0 to 255.
        codes = crops[cover.rows - w.row0, cover.cols - w.col0]
        weights = np.bincount(codes, cover.fraction)
        return [(c, float(weights[c]), 0.0, 0.0) for c in np.flatnonzero(np.bincount(codes)).tolist()]

    # where from

    @cached_property
    def _cut(self) -> Cut | None:
        """The polygon in chunks of the store, where it is large."""
        source = self._source
        assert source.store is not None
        return cut_by_chunks(source.store, self._cover, source.mask(), source.cube.window)

    @cached_property
    def _under(self) -> Under:
        store = self._source.store
        assert store is not None
        return store.squares_under(self._cover.rows, self._cover.cols)

    def _parts(self, year: int) -> Iterator[Part]:
        store = self._source.store
        assert store is not None
        return parts_of_store(store, self._cover, year, *self._ends(year))

    def _kept(self, key: tuple[Any, ...], make: Callable[[], Any], size: Callable[[Any], int]) -> Any:
        """What was read of this polygon, kept until the store changes."""
        place = (self.snapshot, self._source.cube.hash, self._source.card.weights_sha256, self._cover.key)
        return self._source.memory.get(("series", *place, *key), make, lambda v: 300 + size(v))

    def _compute(self, lacking: Mapping[int, tuple[tuple[int, int, int], ...]]) -> dict[int, YearSums]:
        source, cover = self._source, self._cover
        chunks = tuple(c for y in self.computed for c in lacking[y]) if source.store is not None else ()
        work = work_of(source, cover, self.computed)
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
        kept: dict[int, YearSums] = {}

        def run() -> YearSums:
            if not kept:
                kept.update(run_years(source, cover, self.computed))
            return kept[year]

        found: dict[int, YearSums] = {}
        for year in self.computed:
            found[year] = source.memory.get((*key, year), run, lambda s: s.nbytes)
        return found


def numbers_of(
    group: Names, mean: DailySums, members: Sequence[DailySums] | None, covered: float | Floats
) -> dict[str, Numbers]:
    """Variables that are valid together, and those made of them, from their sums over N days.

    covered: effective cells of the polygon, or of that of each day [N].
    """
    scale = np.array([(variable(n).step or 1.0, quantum(n)) for n in group])
    quanta = with_derived(dict(zip(group, np.rint(_quanta(mean.sums, mean.weight, scale)), strict=True)))
    of: dict[str, Floats] = {}
    if members is not None:
        sums, weight = np.stack([m.sums for m in members], axis=1), np.stack([m.weight for m in members])
        of = with_derived(dict(zip(group, _quanta(sums, weight, scale[:, None]), strict=True)))
    return {n: Numbers(q, mean.weight / covered, of.get(n)) for n, q in quanta.items()}


def ends_in(request: SeriesRequest, year: int) -> tuple[date, date]:
    """First and last day of a question that lie in a year."""
    return max(request.first, date(year, 1, 1)), min(request.last, date(year, 12, 31))


def work_of(source: Source, cover: Coverage, years: Sequence[int]) -> int:
    """Cells x years that have to be run for these years: from the first of the inputs on."""
    return cover.cells * (years[-1] - source.cube.years[0] + 1)


def lacking_chunks(source: Source, cover: Coverage, year: int) -> tuple[tuple[int, int, int], ...]:
    """(year, chunk row, chunk column) under the polygon that the store does not hold."""
    store = source.store
    if store is None:
        return ((year, 0, 0),)
    n, w = store.grid.chunk, store.window
    there = store.computed(year)
    rows, cols = (cover.rows - w.row0) // n, (cover.cols - w.col0) // n
    if there[rows, cols].all():
        return ()
    lacking = np.zeros(there.shape, bool)
    lacking[rows, cols] = True
    lacking &= ~there
    return tuple((year, int(i), int(j)) for i, j in np.argwhere(lacking))


@dataclass(frozen=True, slots=True)
class YearSums:
    """All sums of a polygon over one year, of cells that were run by themselves.

    daily: (variables, of the members) -> sums. yearly: (variable, member) -> (weighted sum, weight).
    cells: variable -> counts [D, C]; cell_years: variable -> [C]; in the order of the polygon's cells.
    """

    daily: Mapping[tuple[Names, bool], tuple[DailySums, ...]]
    yearly: Mapping[tuple[str, int | None], tuple[float, float]]
    crops: CropSums
    cells: Mapping[str, Counts]
    cell_years: Mapping[str, NDArray[np.float32]]
    flagged: dict[str, float] | None

    @property
    def nbytes(self) -> int:
        arrays: list[NDArray[Any]] = [*self.cells.values(), *self.cell_years.values()]
        sums = sum(s.nbytes for each in self.daily.values() for s in each)
        return sums + sum(a.nbytes for a in arrays) + 100 * len(self.yearly) + 500


def run_years(source: Source, cover: Coverage, years: Sequence[int]) -> dict[int, YearSums]:
    """Run the cells of a polygon from the cube's first year on, and sum them over the polygon for `years`.

    Values are packed as a store packs them, so that they stay the same when the store holds them later.
    """
    assert source.model is not None
    model, cube = source.model(), source.cube
    daily, annual = split(model.outputs)
    layout = Layout(cube.grid, cube.window.block_aligned(cube.grid), daily, annual, model.members)
    side = int(np.ceil(np.sqrt(cover.cells)))
    state = start(model, cube, cover.rows, cover.cols)
    found: dict[int, YearSums] = {}
    for year in range(cube.years[0], max(years) + 1):
        run = Year(model, cube, cover.rows, cover.cols, year, state)
        collector = Collector(layout, side, year, np.arange(cover.cells)) if year in years else None
        for batch in run:
            if collector is not None:
                collector.add(batch)
        state = run.state
        if collector is not None:
            crops = cube.crops(year) if "yield" in annual else None
            found[year] = _sum_year(collector.data(), layout, cover, year, crops, source)
    return found


def _sum_year(
    data: YearData, layout: Layout, cover: Coverage, year: int, crops: NDArray[np.int16] | None, source: Source
) -> YearSums:
    part, days, n = part_of_cells(data, cover), days_in(year), cover.cells
    groups: list[Names] = [(name,) for name in layout.daily]
    if set(PARTS) <= set(layout.daily):
        groups.append(PARTS)
    daily: dict[tuple[Names, bool], tuple[DailySums, ...]] = {}
    for names in groups:
        daily[names, False] = (daily_sums([part], names, days),)
        if layout.members > 1 and set(names) <= set(layout.member_daily):
            daily[names, True] = member_sums([part], names, days, layout.members)
    of: list[int | None] = [None, *(range(layout.members) if layout.members > 1 else ())]
    yearly = {(name, m): yearly_sum([part], name, m) for m in of for name in layout.annual}
    return YearSums(
        daily,
        yearly,
        [] if crops is None else yield_by_crop([part], crops, source),
        {name: data.daily[name].reshape(days, -1)[:, :n].copy() for name in layout.daily},
        {name: data.yearly[name].reshape(-1)[:n].copy() for name in layout.annual},
        None if data.flags is None else _shares({k: f.reshape(-1)[:n] for k, f in data.flags.items()}, cover),
    )


def yield_by_crop(parts: Iterable[Part], crops: NDArray[np.int16], source: Source) -> CropSums:
    """Weights and sums of yields of each crop; crops: [row, col] codes of the cube's window."""
    sums: dict[int, NDArray[np.float64]] = {}
    w = source.cube.window
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


def _shares(flags: Mapping[str, NDArray[np.bool_]], cover: Coverage) -> dict[str, float]:
    """Share of the covered area of each flag of its cells [C]; those of none are left out."""
    areas = {name: float(cover.fraction[cells].sum()) for name, cells in flags.items()}
    return {name: area / cover.effective_cells for name, area in areas.items() if area > 0}


def _quanta(sums: Floats, weight: Floats, scale: Floats) -> Floats:
    """Means [variable, ..., D] in quanta, not rounded, of sums of counts; NaN where nothing has a weight.

    scale: [variable, ..., 2] the unit of a count, and the quanta in a unit.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        # Nothing by nothing is NaN.
        return np.asarray(sums / weight * scale[..., :1] * scale[..., 1:])


def _rows(table: Sequence[Any]) -> int:
    return 100 * len(table)


def _listed(years: Sequence[int]) -> str:
    return str(years[0]) if len(years) == 1 else f"{years[0]} to {years[-1]}"
