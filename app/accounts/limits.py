"""Token buckets, weighted by cost, and daily quotas; in memory, corrected by what other servers of the database saw.

Each process lets through what its own bucket holds. `meter.Meter` tells the database every two seconds what was used,
and corrects the bucket by what is there. So one server is exact; of n servers, each may let through what it believed
was left until it hears of the others: a caller who comes to all of them at once gets at most n times `burst`, which is
a debt from then on, so that the rate holds over time. Limits of addresses (accounts off) are of one process.

A request that costs more than `burst` is let through when the bucket is full, and leaves a debt: nothing that the
limits of requests allow is impossible.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from fieldflux.app.settings import Rates

MOST_CALLERS = 20_000
"""Callers whose buckets are kept. One that is forgotten begins with a full one, or with what the database says."""

_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a cost is allowed. refused: the policies that it would break; wait: seconds until it may be."""

    refused: tuple[str, ...] = ()
    wait: int = 0


@dataclass(slots=True)
class _Bucket:
    level: float
    filled: float
    day: int
    used: float
    pending: float = 0.0


GRANTED = Verdict()


class Allowances:
    """What each caller has left. Safe between threads."""

    def __init__(
        self, rates: Rates, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        """clock: seconds, never set back; wall: seconds since 1970, for days."""
        self.rates = rates
        self.policy = (
            f'"burst";q={int(rates.burst)};w={max(1, math.ceil(rates.burst / rates.per_second))}, '
            f'"day";q={int(rates.daily)};w={_DAY}'
        )
        self._clock = clock
        self._wall = wall
        self._lock = Lock()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, who: str, cost: float, *, begun: bool = False) -> Verdict:
        """Take a cost from a caller's allowance, if it is there. begun: it is a part of a request that took some
        already, and whose bucket therefore is not full."""
        rates = self.rates
        with self._lock:
            now = self._clock()
            bucket = self._bucket(who, now)
            if bucket.used + cost > rates.daily:
                return Verdict(("day",), self._till_midnight())
            needed = min(cost, rates.burst - (self._slack() if begun else 0.0))
            if bucket.level < needed:
                return Verdict(("burst",), max(1, math.ceil((needed - bucket.level) / rates.per_second)))
            bucket.level -= cost
            bucket.used += cost
            bucket.pending += cost
            return GRANTED

    def left(self, who: str) -> str:
        """The header field `RateLimit` for a caller: what is left of each policy, and seconds until it is whole."""
        with self._lock:
            bucket = self._bucket(who, self._clock())
            level, used = bucket.level, bucket.used
        rates = self.rates
        whole = math.ceil((rates.burst - level) / rates.per_second)
        return (
            f'"burst";r={max(0, int(level))};t={whole}, '
            f'"day";r={max(0, int(rates.daily - used))};t={self._till_midnight()}'
        )

    def state(self, who: str) -> tuple[float, float]:
        """Units in the bucket (below 0: a debt), and units used today, as far as this process knows."""
        with self._lock:
            bucket = self._bucket(who, self._clock())
            return bucket.level, bucket.used

    def collect(self) -> dict[str, float]:
        """What each caller used since it was asked last: what the database has to be told."""
        with self._lock:
            found = {who: bucket.pending for who, bucket in self._buckets.items() if bucket.pending}
            for who in found:
                self._buckets[who].pending = 0.0
            return found

    def correct(self, who: str, level: float, used: float, day: int) -> None:
        """Set a caller to what the database holds, less what was used since `collect`.

        day: the one that `used` is of, in days since 1970.
        """
        with self._lock:
            now = self._clock()
            bucket = self._bucket(who, now)
            bucket.level = level - bucket.pending
            if day == bucket.day:
                bucket.used = used + bucket.pending

    def _bucket(self, who: str, now: float) -> _Bucket:
        day = int(self._wall()) // _DAY
        bucket = self._buckets.get(who)
        if bucket is None:
            bucket = self._buckets[who] = _Bucket(self.rates.burst, now, day, 0.0)
            if len(self._buckets) > MOST_CALLERS:
                self._buckets.popitem(last=False)
            return bucket
        self._buckets.move_to_end(who)
        bucket.level = min(self.rates.burst, bucket.level + (now - bucket.filled) * self.rates.per_second)
        bucket.filled = now
        if bucket.day != day:
            bucket.day, bucket.used = day, 0.0
        return bucket

    def _slack(self) -> float:
        # What requests of one caller that began meanwhile may have taken from a full bucket.
        return min(0.1 * self.rates.burst, 50.0)

    def _till_midnight(self) -> int:
        return _DAY - int(self._wall()) % _DAY
