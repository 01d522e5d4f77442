"""Steps of time: how days fall into months, seasons, years or the whole period, and what each step is called.

Seasons are those of meteorology: December to February, March to May, June to August, September to November. The winter
has the year of its January: December 2019 belongs to 2020-DJF.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Step: TypeAlias = Literal["day", "month", "season", "year", "period"]
STEPS: tuple[Step, ...] = ("day", "month", "season", "year", "period")
SEASONS = ("DJF", "MAM", "JJA", "SON")

Days: TypeAlias = NDArray[np.datetime64]


@dataclass(frozen=True, slots=True)
class Steps:
    """How the days `first_day` to `last_day` fall into T steps.

    first: [T] index of the first of their days that is in the step; lengths: [T] how many of them are.
    begin, end: [T] the days on which the whole step begins, and the next one begins: those of the calendar.
    """

    step: Step
    first: NDArray[np.int64]
    lengths: NDArray[np.int64]
    starts: Days
    begin: Days
    end: Days

    @classmethod
    @lru_cache(maxsize=64)
    def of(cls, step: Step, first_day: date, last_day: date) -> Steps:
        days = np.arange(np.datetime64(first_day, "D"), np.datetime64(last_day, "D") + 1)
        if step == "period":
            key = np.zeros(days.size, np.int64)
        elif step == "season":
            key = (days.astype("M8[M]").astype(np.int64) + 1) // 3
        else:
            key = days.astype(f"M8[{_UNITS[step]}]").astype(np.int64)
        keys, first, lengths = np.unique(key, return_index=True, return_counts=True)
        if step == "period":
            begin, end = days[:1], days[-1:] + 1
        elif step == "season":
            begin, end = ((3 * k - 1).astype("M8[M]").astype("M8[D]") for k in (keys, keys + 1))
        else:
            begin, end = (k.astype(f"M8[{_UNITS[step]}]").astype("M8[D]") for k in (keys, keys + 1))
        made = (first.astype(np.int64), lengths.astype(np.int64), days[first], begin, end)
        for array in made:
            array.flags.writeable = False
        return cls(step, *made)

    @property
    def whole(self) -> NDArray[np.bool_]:
        """[T] whether all days of the step are there."""
        return np.asarray((self.end - self.begin).astype(np.int64) == self.lengths)

    def labels(self) -> list[str]:
        """Steps in ISO 8601: "2020-07-01", "2020-07", "2020", "2020-03-01/2020-10-31"; of seasons, "2020-JJA"."""
        if self.step == "period":
            return [f"{self.starts[0]}/{self.starts[0] + self.lengths[0] - 1}"]
        if self.step == "season":
            january = self.begin.astype("M8[M]") + 1
            years = january.astype("M8[Y]").astype(np.int64) + 1970
            months = january.astype(np.int64) % 12
            return [f"{y}-{SEASONS[m // 3]}" for y, m in zip(years.tolist(), months.tolist(), strict=True)]
        return _as_text(self.step, self.starts.tobytes())


@lru_cache(maxsize=32)
def _as_text(step: Step, starts: bytes) -> list[str]:
    # Of a year of days, this takes longer than summing them up; the same years are asked for again and again.
    found: list[str] = np.datetime_as_string(np.frombuffer(starts, "M8[D]"), unit=_UNITS[step]).tolist()
    return found


def steps_at_most(step: Step, days: int) -> int:
    """The most steps that so many consecutive days can touch."""
    return {"day": days, "month": days // 28 + 2, "season": days // 90 + 2, "year": days // 365 + 2, "period": 1}[step]


_UNITS: dict[str, Literal["D", "M", "Y"]] = {"day": "D", "month": "M", "year": "Y"}
