"""Predictions of one year become the packed arrays of a block or a chunk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cells import Batch
from .layout import FLUXES, Layout, days_in
from .manifest import Record, code_version, now
from .packing import FILL, Counts, Number, did_not_fit, minus, over_year, pack, plus, spread
from .store import YearData


class Collector:
    """Collects the batches of one year over a square of `side` x `side` cells.

    at: position in the square, row by row, of each cell that is run.
    """

    def __init__(self, layout: Layout, side: int, year: int, at: NDArray[np.int64]) -> None:
        self._layout, self._year, self._at = layout, year, at
        days, members = days_in(year), layout.members
        self._daily = {n: np.full((days, side, side), FILL, np.int16) for n in layout.daily}
        self._yearly = {n: np.full((side, side), np.nan, np.float32) for n in layout.yearly}
        self._member_daily = {n: np.full((members, days, side, side), FILL, np.int16) for n in layout.member_daily}
        self._member_yearly = {n: np.full((members, side, side), np.nan, np.float32) for n in layout.member_yearly}
        self._flagged: dict[str, NDArray[np.bool_]] = {}
        self._square = (side, side)
        self.flags: Counter[str] = Counter()
        self.saturated: Counter[str] = Counter()
        self.outside: Counter[str] = Counter()
        self.missing = 0

    def add(self, batch: Batch) -> None:
        """Pack a batch and write it to all its cells."""
        flat = self._at[batch.cells]
        cells_of = np.bincount(batch.group).astype(np.int64)
        prediction = batch.prediction
        for name, flag in prediction.flags.items():
            self._tell(self.flags, name, cells_of[flag].sum())
            self._flagged.setdefault(name, np.zeros(self._square, bool)).reshape(-1)[flat] = flag[batch.group]
        alone = self._layout.members == 1
        mean = {n: a[0] if alone else a.mean(axis=0) for n, a in prediction.daily.items()}
        yearly = {
            n: a[0, :, 0] if alone else a[:, :, 0].mean(axis=0, dtype=np.float64) for n, a in prediction.annual.items()
        }
        counts = self._pack(mean, self._layout.daily, cells_of)
        lacking = (next(iter(counts.values())) == FILL).any(axis=0) if counts else np.isnan(next(iter(yearly.values())))
        self.missing += int(cells_of[lacking].sum())
        for name, packed in counts.items():
            spread(packed, batch.group, flat, self._daily[name].reshape(len(packed), -1))
        self._put_yearly(counts, yearly, batch, flat, self._yearly)
        if alone:
            return
        for m in range(self._layout.members):
            daily = {n: a[m] for n, a in prediction.daily.items() if n in FLUXES or n in self._layout.member_daily}
            counts = self._pack(daily, tuple(daily), cells_of, " of members")
            for name in self._layout.member_daily:
                spread(counts[name], batch.group, flat, self._member_daily[name][m].reshape(len(counts[name]), -1))
            own = {n: a[m, :, 0] for n, a in prediction.annual.items()}
            self._put_yearly(counts, own, batch, flat, {n: a[m] for n, a in self._member_yearly.items()})

    def data(self) -> YearData:
        """What was collected."""
        return YearData(self._daily, self._yearly, self._member_daily, self._member_yearly, self._flagged)

    def record(self, name: str, cells: int, computed: int, seconds: float) -> Record:
        """What was collected, in numbers."""
        return Record(
            name=name,
            year=self._year,
            made=now(),
            seconds=round(seconds, 3),
            cells=cells,
            computed=computed,
            flags=dict(self.flags),
            missing=self.missing,
            saturated=dict(self.saturated),
            outside=dict(self.outside),
            code=code_version(),
        )

    def _pack(
        self, daily: dict[str, NDArray[Any]], names: Sequence[str], cells_of: Number, of: str = ""
    ) -> dict[str, Counts]:
        """[day, group] counts. What did not fit is told under the variable's name and `of`."""
        identities = set(FLUXES) <= set(names)
        counts: dict[str, Counts] = {}
        for name in names:
            if identities and name in ("reco", "nee"):
                continue
            counts[name], lost, outside = pack(name, daily[name])
            self._tell(self.saturated, name + of, lost @ cells_of)
            self._tell(self.outside, name + of, outside @ cells_of)
        if identities:
            gpp, ra, rh = (counts[n] for n in ("gpp", "ra", "rh"))
            reco = counts["reco"] = plus(ra, rh)
            nee = counts["nee"] = minus(reco, gpp)
            self._tell(self.saturated, "reco" + of, did_not_fit(ra, rh, reco) @ cells_of)
            self._tell(self.saturated, "nee" + of, did_not_fit(reco, gpp, nee) @ cells_of)
        return {n: counts[n] for n in names}

    def _put_yearly(
        self,
        counts: dict[str, Counts],
        annual: dict[str, NDArray[Any]],
        batch: Batch,
        flat: NDArray[np.int64],
        into: dict[str, NDArray[np.float32]],
    ) -> None:
        values = {f"{n}_year": over_year(n, c) for n, c in counts.items() if f"{n}_year" in into}
        values |= {n: annual[n] for n in self._layout.annual if n in annual}
        if set(FLUXES) <= set(counts) and "yield" in annual:
            # From what is stored, so that anyone who sums the days finds the year.
            gpp, ra, nee = (over_year(n, counts[n]) for n in ("gpp", "ra", "nee"))
            harvest = annual["yield"].astype(np.float64)
            if "residue" in into:
                values["residue"] = gpp - ra - harvest
            if "delta_soc" in into:
                values["delta_soc"] = -nee - harvest
        for name, found in values.items():
            into[name].reshape(-1)[flat] = found[batch.group]

    @staticmethod
    def _tell(counter: Counter[str], name: str, number: Any) -> None:
        if number:
            counter[name] += int(number)
