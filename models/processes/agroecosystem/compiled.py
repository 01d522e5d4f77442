"""The day's step compiled by numba for CPU runs: one cell after another, all its days in registers and cache.

The same source as the torch engine (`step.py`), in float64. Compiled once per machine, then read from numba's cache;
releases the GIL.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
from fieldflux.models.contract import Floats
from numba import get_num_threads, njit
from numba.np.unsafe import ndarray as tuples

from .inputs import AUTUMN
from .step import (
    FIELD,
    GPP_IN,
    OUTPUT,
    STATE,
    WEATHER,
    YTD_GPP,
    YTD_HARVEST,
    YTD_RA,
    YTD_RH,
    build_decayed,
    build_smooth_least,
    build_step,
)

Kernel = Callable[..., None]
FEWEST_CELLS = 32  # a thread's share: with fewer, another thread costs more than it saves
# an intrinsic of numba: array [n] -> tuple of n, whose length must be known when compiling
to_fixed_tuple: Any = tuples.to_fixed_tuple
step: Any = None  # what `run` calls: bound when it is compiled


@njit()  # type: ignore[untyped-decorator]
def _exp(x: float) -> float:
    return math.exp(x)


@njit()  # type: ignore[untyped-decorator]
def _log(x: float) -> float:
    return math.log(x)


@njit()  # type: ignore[untyped-decorator]
def _sqrt(x: float) -> float:
    return math.sqrt(x)


@njit()  # type: ignore[untyped-decorator]
def _relu(x: float) -> float:
    # written so that NaN stays NaN: a missing input must not become a number
    return 0.0 if x < 0.0 else x


@njit()  # type: ignore[untyped-decorator]
def _least(a: float, b: float) -> float:
    return b if b < a else (a if b == b else b)


@njit()  # type: ignore[untyped-decorator]
def _gate(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x)) if x > -700.0 else 0.0


@njit()  # type: ignore[untyped-decorator]
def _given(a: float, b: float) -> float:
    return a if a == a else b


def compute(state: Floats, *arguments: Any) -> None:
    """Run all cells through the kernel, whose arguments these are, in as many threads as numba may use."""
    run, cells = kernel(), state.shape[1]
    threads = max(1, min(get_num_threads(), cells // FEWEST_CELLS))
    if threads == 1:
        run(state, *arguments, 0, cells)
        return
    edges = [cells * i // threads for i in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda part: run(state, *arguments, *part), pairwise(edges)))


@lru_cache(maxsize=1)
def kernel() -> Kernel:
    """The compiled kernel; see `_build` for its arguments."""
    here = Path(__file__).parent
    sources = b"".join((here / name).read_bytes() for name in ("step.py", "parameters.py", "inputs.py", "compiled.py"))
    return _build(hashlib.sha256(sources).hexdigest())


def _build(stamp: str) -> Kernel:
    """Compile for sources of that stamp, which is part of numba's cache key: numba itself looks at one file only."""
    smooth_least, decayed = njit()(build_smooth_least(_sqrt, _relu)), njit()(build_decayed(_exp))
    day = njit()(build_step(_exp, _log, _relu, _least, _least, _gate, _given, smooth_least, decayed))
    states, weathers, fields, outputs = len(STATE), len(WEATHER), len(FIELD), len(OUTPUT)
    missing = np.float32(np.nan)

    def run(
        state: Any,  # [M, C, S] float64, changed in place
        weather: Any,  # [W, D, K] float64
        row: Any,  # [C] weather row
        gpp: Any,  # [G, D] given GPP
        unit: Any,  # [C, Y] its row, or -1
        day_of_year: Any,  # [D]
        year: Any,  # [D] column of the calendar year
        closes: Any,  # [D] 1 on 31 December
        crop: Any,  # [C, Y]
        sow: Any,
        harvest: Any,
        switch: Any,
        irrigated: Any,
        removed: Any,
        tillage: Any,
        table: Any,  # [M, crops, P]
        soil: Any,  # [C, 5]
        out: Any,  # [outputs, M, C, D] float32, or of no days where only the state at the end is wanted
        closed: Any,  # [4, M, C, years closed] float64: gpp, ra, rh, harvested carbon of each year that ends
        begin: int,  # the cells to run, `end` excluded
        end: int,
    ) -> None:
        assert len(stamp) > 0
        members = state.shape[0]
        days, years = weather.shape[1], crop.shape[1]
        keep = out.shape[3] > 0
        columns = np.empty(weathers)
        field = np.zeros(fields)
        for c in range(begin, end):
            ground = to_fixed_tuple(soil[c], 5)
            for m in range(members):
                s = to_fixed_tuple(state[m, c], states)
                ends = 0
                season = -1
                p = table[m, 0]
                for d in range(days):
                    doy = day_of_year[d]
                    y = year[d]
                    k = y
                    if doy > switch[c, y] and y + 1 < years:
                        k = y + 1
                    kind = crop[c, k]
                    if k != season:
                        season = k
                        p = table[m, kind if kind >= 0 else 0]
                    active = 0.0
                    sown = 0.0
                    reaped = 0.0
                    if kind >= 0:
                        first, last = sow[c, k], harvest[c, k]
                        if last == 0:
                            active = 1.0
                            if k == y and doy == first:
                                sown = 1.0
                        elif k > y:
                            if first > AUTUMN and doy >= first - AUTUMN:
                                active = 1.0
                                if doy == first - AUTUMN:
                                    sown = 1.0
                        elif doy <= last and (first > AUTUMN or doy >= first):
                            active = 1.0
                            if doy == first:
                                sown = 1.0
                            if doy == last:
                                reaped = 1.0
                    field[0], field[1], field[2] = active, sown, reaped
                    field[3], field[4], field[5] = irrigated[c, k], removed[c, k], tillage[c, k]
                    columns[:] = weather[row[c], d]
                    if unit[c, y] >= 0:
                        columns[GPP_IN] = gpp[unit[c, y], d]
                    s, o = step(s, to_fixed_tuple(columns, weathers), p, ground, to_fixed_tuple(field, fields))
                    known = crop[c, y] >= 0
                    for v in range(outputs if keep else 0):
                        out[v, m, c, d] = o[v] if known else missing
                    if closes[d] == 1:
                        if known:
                            closed[0, m, c, ends] = s[YTD_GPP]
                            closed[1, m, c, ends] = s[YTD_RA]
                            closed[2, m, c, ends] = s[YTD_RH]
                            closed[3, m, c, ends] = s[YTD_HARVEST]
                        else:
                            closed[:, m, c, ends] = missing
                        ends += 1
                        for i in range(states):
                            state[m, c, i] = s[i]
                        state[m, c, YTD_GPP : YTD_HARVEST + 1] = 0.0
                        s = to_fixed_tuple(state[m, c], states)
                for i in range(states):
                    state[m, c, i] = s[i]

    # A compiled function in a closure would give numba's cache another key in every process, and so never a hit. As a
    # global of `run` it is no part of the key; `stamp`, which is, stands for its sources.
    bound = FunctionType(run.__code__, {**globals(), "step": day}, "run", None, run.__closure__)
    compiled: Kernel = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "arcp", "nsz"})(bound)
    return compiled
