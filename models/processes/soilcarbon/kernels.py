"""The soil-carbon model's inner loops compiled by numba for CPUs: one cell after another, float64 in the registers.

`solve` and `solve_transposed` are the equations of `solver.py`, which explains them; `climate` those of
`environment.py`. Arrays are float64 and contiguous. All let go of the interpreter.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def climate(
    log_q10: Any,  # [C]
    scaling: Any,  # [C]
    temperature: Any,  # [R, M, L]
    water: Any,
    oxygen: Any,  # [R, M, L], or empty: 1
    nitrogen: Any,
    row: Any,  # [C]
    mean: Any,  # [C, 1 or 2, L] out: soil, litter
    slopes: Any,  # [C, 2 or 4, L] out: by log_q10, by scaling; or empty: not wanted
    curve: float,  # of the cap; 1: the published one
    low: int,
    high: int,
) -> None:
    months, layers = temperature.shape[1], temperature.shape[2]
    kinds, wanted = mean.shape[1], slopes.shape[0] > 0
    has_oxygen, smooth = oxygen.shape[0] > 0, curve < 1.0
    sums = np.empty((6, layers))
    for c in range(low, high):
        sums[:] = 0.0
        r, q, w = row[c], log_q10[c], scaling[c]
        for m in range(months):
            for j in range(layers):
                warmth = (temperature[r, m, j] - 25.0) * 0.1
                wet = water[r, m, j]
                factor = math.exp(q * warmth)
                if has_oxygen:
                    factor *= oxygen[r, m, j]
                x: Any = w * wet
                if smooth:
                    total = 1.0 + x
                    root = math.sqrt(total * total - 4.0 * curve * x)
                    y = 2.0 * x / (total + root)
                    slope = (1.0 - y) / root  # dy / dx, by differentiating curve y² - (1 + x) y + x = 0
                else:
                    y = 1.0 if x > 1.0 else x  # so that NaN stays NaN
                    slope = 0.0 if x > 1.0 else 1.0
                by_scaling = factor * slope * wet
                factor *= y
                by_q10 = factor * warmth
                sums[0, j] += factor
                sums[1, j] += by_q10
                sums[2, j] += by_scaling
                if kinds == 2:
                    n = nitrogen[r, m, j]
                    sums[3, j] += n * factor
                    sums[4, j] += n * by_q10
                    sums[5, j] += n * by_scaling
        share = 1.0 / months
        for k in range(kinds):
            for j in range(layers):
                mean[c, k, j] = sums[3 * k, j] * share
                if wanted:
                    slopes[c, k, j] = sums[3 * k + 1, j] * share
                    slopes[c, kinds + k, j] = sums[3 * k + 2, j] * share


@njit(cache=True, nogil=True, error_model="numpy", inline="always")  # type: ignore[untyped-decorator]
def _stays(rate: Any, shares: Any, down: Any, up: Any, c: int, n: int, shift: float, stay: Any) -> None:
    """stay[j, 3 a + b]: time that carbon, put into soil pool a of layer j, spends in pool b there before it leaves
    upwards or for good; trips further down included."""
    below = np.zeros(9)  # of carbon that enters the layer below in pool a: share that comes back up in pool b
    lost = np.zeros(3)  # and share that never does
    f01, f02, f10, f12, f20 = shares[c, 3], shares[c, 4], shares[c, 5], shares[c, 6], shares[c, 7]
    for j in range(n - 1, -1, -1):
        k0, k1, k2 = rate[c, 4, j], rate[c, 5, j], rate[c, 6, j]
        d, u = down[j], up[j]
        w01, w02 = k0 * f01 + d * below[1], k0 * f02 + d * below[2]
        w10, w12 = k1 * f10 + d * below[3], k1 * f12 + d * below[5]
        w20, w21 = k2 * f20 + d * below[6], d * below[7]
        l0 = k0 * (1.0 - f01 - f02) + shift + d * lost[0]
        l1 = k1 * (1.0 - f10 - f12) + shift + d * lost[1]
        l2 = k2 * (1.0 - f20) + shift + d * lost[2]
        e0, e1, e2 = l0 + u, l1 + u, l2 + u
        t0, t1, t2 = e0 + w01 + w02, e1 + w10 + w12, e2 + w20 + w21
        a00 = e1 * t2 + w10 * t2 + w12 * (e2 + w20)
        a11 = e0 * t2 + w01 * t2 + w02 * (e2 + w21)
        a22 = e0 * t1 + w02 * t1 + w01 * (e1 + w12)
        a01, a02 = w01 * t2 + w02 * w21, w02 * t1 + w01 * w12
        a10, a12 = w10 * t2 + w12 * w20, w12 * t0 + w10 * w02
        a20, a21 = w20 * t1 + w21 * w10, w21 * t0 + w20 * w01
        one = 1.0 / (e0 * a00 + e1 * a01 + e2 * a02)
        a00, a01, a02 = a00 * one, a01 * one, a02 * one
        a10, a11, a12 = a10 * one, a11 * one, a12 * one
        a20, a21, a22 = a20 * one, a21 * one, a22 * one
        stay[j, 0], stay[j, 1], stay[j, 2] = a00, a01, a02
        stay[j, 3], stay[j, 4], stay[j, 5] = a10, a11, a12
        stay[j, 6], stay[j, 7], stay[j, 8] = a20, a21, a22
        below[1], below[2] = u * a01, u * a02
        below[3], below[5] = u * a10, u * a12
        below[6], below[7] = u * a20, u * a21
        lost[0] = a00 * l0 + a01 * l1 + a02 * l2
        lost[1] = a10 * l0 + a11 * l1 + a12 * l2
        lost[2] = a20 * l0 + a21 * l1 + a22 * l2


@njit(cache=True, nogil=True, error_model="numpy", inline="always")  # type: ignore[untyped-decorator]
def _paths(conductance: Any, thickness: Any, c: int, n: int, down: Any, up: Any) -> None:
    """Rates at which carbon leaves each layer for the next one below and above, yr-1."""
    up[0] = 0.0
    for j in range(n - 1):
        g = conductance[c, j]
        down[j] = g / thickness[j]
        up[j + 1] = g / thickness[j + 1]
    down[n - 1] = 0.0


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def solve(
    rate: Any,  # [C, 7, L] yr-1
    shares: Any,  # [C, 9]
    conductance: Any,  # [C, L - 1] m yr-1
    source: Any,  # [C, 7, L] gC m-2 yr-1
    shift: float,  # yr-1
    layers: Any,  # [C]
    thickness: Any,  # [L] float64
    mass: Any,  # [C, 7, L] out, gC m-2
    low: int,
    high: int,
) -> None:
    deepest = rate.shape[2]
    down, up, held, stay = np.empty(deepest), np.empty(deepest), np.empty((3, deepest)), np.empty((deepest, 9))
    pivot, flow = np.empty(deepest), np.empty((7, deepest))
    for c in range(low, high):
        n = layers[c]
        for p in range(7):
            for j in range(n, deepest):
                mass[c, p, j] = 0.0
        _paths(conductance, thickness, c, n, down, up)
        wood = shares[c, 8]
        for j in range(n):
            k = rate[c, 0, j]
            held0 = source[c, 0, j] / (k + shift)
            mass[c, 0, j] = held0
            flow[0, j] = k * held0
        for p in range(1, 4):
            gets = 0.0 if p == 1 else (wood if p == 2 else 1.0 - wood)
            lost, carried = 0.0, 0.0  # of carbon that enters the layer below: share lost; what comes up from there
            for j in range(n - 1, -1, -1):
                gone = rate[c, p, j] + shift + down[j] * lost
                one = 1.0 / (gone + up[j])
                enters = source[c, p, j] + gets * flow[0, j] + carried
                held[0, j], pivot[j] = enters, one
                carried, lost = enters * one * up[j], gone * one
            before = 0.0
            for j in range(n):
                before = (held[0, j] + (down[j - 1] * before if j else 0.0)) * pivot[j]
                mass[c, p, j] = before
                flow[p, j] = rate[c, p, j] * before
        _stays(rate, shares, down, up, c, n, shift, stay)
        f1, f2, f3 = shares[c, 0], shares[c, 1], shares[c, 2]
        x0, x1, x2 = 0.0, 0.0, 0.0
        for j in range(n - 1, -1, -1):
            x0 += source[c, 4, j] + f1 * flow[1, j] + f2 * flow[2, j]
            x1 += source[c, 5, j] + f3 * flow[3, j]
            x2 += source[c, 6, j]
            held[0, j], held[1, j], held[2, j] = x0, x1, x2
            y0 = x0 * stay[j, 0] + x1 * stay[j, 3] + x2 * stay[j, 6]
            y1 = x0 * stay[j, 1] + x1 * stay[j, 4] + x2 * stay[j, 7]
            y2 = x0 * stay[j, 2] + x1 * stay[j, 5] + x2 * stay[j, 8]
            x0, x1, x2 = up[j] * y0, up[j] * y1, up[j] * y2
        y0, y1, y2 = 0.0, 0.0, 0.0
        for j in range(n):
            d = down[j - 1] if j else 0.0
            x0, x1, x2 = held[0, j] + d * y0, held[1, j] + d * y1, held[2, j] + d * y2
            y0 = x0 * stay[j, 0] + x1 * stay[j, 3] + x2 * stay[j, 6]
            y1 = x0 * stay[j, 1] + x1 * stay[j, 4] + x2 * stay[j, 7]
            y2 = x0 * stay[j, 2] + x1 * stay[j, 5] + x2 * stay[j, 8]
            mass[c, 4, j], mass[c, 5, j], mass[c, 6, j] = y0, y1, y2


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def solve_transposed(
    rate: Any,
    shares: Any,
    conductance: Any,
    shift: float,
    layers: Any,
    thickness: Any,
    mass: Any,  # [C, 7, L] the solution
    given: Any,  # [C, 7, L] dJ / dmass
    by_rate: Any,  # [C, 7, L] out, dJ / drate
    by_shares: Any,  # [C, 9] out
    by_conductance: Any,  # [C, L - 1] out
    by_source: Any,  # [C, 7, L] out; the adjoint itself
    low: int,
    high: int,
) -> None:
    deepest = rate.shape[2]
    down, up, held, stay = np.empty(deepest), np.empty(deepest), np.empty((3, deepest)), np.empty((deepest, 9))
    pivot, worth = np.empty(deepest), np.zeros((7, deepest))  # worth: of a gram put into pool and layer
    for c in range(low, high):
        n = layers[c]
        _paths(conductance, thickness, c, n, down, up)
        _stays(rate, shares, down, up, c, n, shift, stay)
        x0, x1, x2 = 0.0, 0.0, 0.0
        for j in range(n - 1, -1, -1):
            d = down[j]
            x0, x1, x2 = given[c, 4, j] + d * x0, given[c, 5, j] + d * x1, given[c, 6, j] + d * x2
            held[0, j], held[1, j], held[2, j] = x0, x1, x2
            x0, x1, x2 = (
                stay[j, 0] * x0 + stay[j, 1] * x1 + stay[j, 2] * x2,
                stay[j, 3] * x0 + stay[j, 4] * x1 + stay[j, 5] * x2,
                stay[j, 6] * x0 + stay[j, 7] * x1 + stay[j, 8] * x2,
            )
        y0, y1, y2 = 0.0, 0.0, 0.0
        for j in range(n):
            u = up[j]
            x0, x1, x2 = held[0, j] + u * y0, held[1, j] + u * y1, held[2, j] + u * y2
            y0 = stay[j, 0] * x0 + stay[j, 1] * x1 + stay[j, 2] * x2
            y1 = stay[j, 3] * x0 + stay[j, 4] * x1 + stay[j, 5] * x2
            y2 = stay[j, 6] * x0 + stay[j, 7] * x1 + stay[j, 8] * x2
            worth[4, j], worth[5, j], worth[6, j] = y0, y1, y2
        f1, f2, f3 = shares[c, 0], shares[c, 1], shares[c, 2]
        for p in range(1, 4):
            to, share = (5, f3) if p == 3 else (4, f1 if p == 1 else f2)
            lost, carried = 0.0, 0.0
            for j in range(n - 1, -1, -1):
                gone = rate[c, p, j] + shift + down[j] * lost
                one = 1.0 / (gone + up[j])
                value = given[c, p, j] + rate[c, p, j] * share * worth[to, j] + down[j] * carried
                held[0, j], pivot[j] = value, one
                carried, lost = value * one, gone * one
            before = 0.0
            for j in range(n):
                before = (held[0, j] + up[j] * before) * pivot[j]
                worth[p, j] = before
        wood = shares[c, 8]
        for j in range(n):
            k = rate[c, 0, j]
            worth[0, j] = (given[c, 0, j] + k * (wood * worth[2, j] + (1.0 - wood) * worth[3, j])) / (k + shift)

        f01, f02, f10 = shares[c, 3], shares[c, 4], shares[c, 5]
        f12, f20 = shares[c, 6], shares[c, 7]
        sums = np.zeros(9)
        for j in range(n):
            a0, a1, a2, a3 = worth[0, j], worth[1, j], worth[2, j], worth[3, j]
            a4, a5, a6 = worth[4, j], worth[5, j], worth[6, j]
            m0, m1, m2, m3 = mass[c, 0, j], mass[c, 1, j], mass[c, 2, j], mass[c, 3, j]
            m4, m5, m6 = mass[c, 4, j], mass[c, 5, j], mass[c, 6, j]
            by_rate[c, 0, j] = m0 * (wood * a2 + (1.0 - wood) * a3 - a0)
            by_rate[c, 1, j] = m1 * (f1 * a4 - a1)
            by_rate[c, 2, j] = m2 * (f2 * a4 - a2)
            by_rate[c, 3, j] = m3 * (f3 * a5 - a3)
            by_rate[c, 4, j] = m4 * (f01 * a5 + f02 * a6 - a4)
            by_rate[c, 5, j] = m5 * (f10 * a4 + f12 * a6 - a5)
            by_rate[c, 6, j] = m6 * (f20 * a4 - a6)
            sums[0] += rate[c, 1, j] * m1 * a4
            sums[1] += rate[c, 2, j] * m2 * a4
            sums[2] += rate[c, 3, j] * m3 * a5
            sums[3] += rate[c, 4, j] * m4 * a5
            sums[4] += rate[c, 4, j] * m4 * a6
            sums[5] += rate[c, 5, j] * m5 * a4
            sums[6] += rate[c, 5, j] * m5 * a6
            sums[7] += rate[c, 6, j] * m6 * a4
            sums[8] += rate[c, 0, j] * m0 * (a2 - a3)
        for i in range(9):
            by_shares[c, i] = sums[i]
        for j in range(n - 1):
            total, above, under = 0.0, 1.0 / thickness[j], 1.0 / thickness[j + 1]
            for p in range(1, 7):
                total += (mass[c, p, j] * above - mass[c, p, j + 1] * under) * (worth[p, j + 1] - worth[p, j])
            by_conductance[c, j] = total
        for j in range(n - 1, deepest - 1):
            by_conductance[c, j] = 0.0
        for p in range(7):
            for j in range(n):
                by_source[c, p, j] = worth[p, j]
            for j in range(n, deepest):
                by_rate[c, p, j] = 0.0
                by_source[c, p, j] = 0.0
