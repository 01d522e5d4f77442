"""The days of a gated recurrent unit on a CPU in float32, compiled by numba: what `gru.py` runs in place of torch's.

Why not plain numba: a recurrent layer is a small matrix product per day, and a loop nest that numba vectorises by
itself keeps no tile of the product in registers. The tiles below are therefore written as vectors of eight lanes in
LLVM's own language (numba carries the compiler, so that no C compiler is needed); the loops around them are numba.
A tile of the forward pass is three rows (cells) by eight hidden units, all three gates: nine registers of sums, and
the gates are closed on them before they leave the processor. Backwards, the gradients of the weights are summed day
by day in the same loop, so that no day's gradients are ever written to memory. Multiplications and additions are fused
where the processor can; not-a-number stays not-a-number.

All arguments are 64-bit integers: addresses of float32 buffers, counts, and strides in bytes. The callers own the
buffers and see to their sizes; nothing is checked here.

Equations: Cho et al. (2014), doi:10.3115/v1/D14-1179, as in torch.nn.GRU (the reset gate acts after the product):
    r = s(Wir x + bir + Whr h + bhr);  z = s(Wiz x + biz + Whz h + bhz);  q = Whn h + bhn
    n = tanh(Win x + bin + r q);       h' = n + z (h - n)
tanh is the rational approximation of degree 13 over 6 of the Eigen library (MPL2), within 3e-7 of the true value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]  # comes with numba
from numba import njit, types
from numba.extending import intrinsic

LANES = 8
# A tile's sums, the vectors that it multiplies and one spread number must fit into the 16 vector registers of AVX2.
FORWARD_ROWS = 3  # cells x 3 gates (four would fill the registers to the last, and the compiler then spills)
BACKWARD_ROWS = 4  # cells x 2 vectors
WEIGHT_ROWS = 6  # rows of a weights' gradient x 2 vectors
DAY_PAD = 16  # floats between the cells' gradients of a day: rows a power of two apart share few places of the cache
_FLOAT, _LONG = ir.FloatType(), ir.IntType(64)
_VECTOR = ir.VectorType(_FLOAT, LANES)
_BOUND = 7.90531110763549805  # beyond it tanh is 1 in float32
_TOP = (-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08,
        1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03)  # fmt: skip
_BOTTOM = (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)

# an instruction builder of LLVM or a value made by one: llvmlite has no types
Builder = Any
Value = Any


def _constant(value: float) -> Value:
    return ir.Constant(_VECTOR, [ir.Constant(_FLOAT, value)] * LANES)


def _add(b: Builder, x: Value, y: Value) -> Value:
    return b.fadd(x, y, flags=("contract",))


def _sub(b: Builder, x: Value, y: Value) -> Value:
    return b.fsub(x, y, flags=("contract",))


def _mul(b: Builder, x: Value, y: Value) -> Value:
    return b.fmul(x, y, flags=("contract",))


def _at(b: Builder, address: Value, offset: Value | int, kind: Any) -> Value:
    shift = ir.Constant(_LONG, offset) if isinstance(offset, int) else offset
    return b.inttoptr(b.add(address, shift), kind.as_pointer())


def _load(b: Builder, address: Value, offset: Value | int = 0) -> Value:
    return b.load(_at(b, address, offset, _VECTOR), align=4)


def _store(b: Builder, value: Value, address: Value, offset: Value | int = 0) -> None:
    b.store(value, _at(b, address, offset, _VECTOR), align=4)


def _spread(b: Builder, address: Value, offset: Value) -> Value:
    """One float in all lanes."""
    one = b.insert_element(
        ir.Constant(_VECTOR, ir.Undefined), b.load(_at(b, address, offset, _FLOAT)), ir.Constant(_LONG, 0)
    )
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return b.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), zeros)


def _polynomial(b: Builder, x: Value, coefficients: tuple[float, ...]) -> Value:
    """By pairs (Estrin): a shorter chain of dependent operations than Horner's."""
    values = [_constant(c) for c in reversed(coefficients)]
    while len(values) > 1:
        pairs = [_add(b, _mul(b, high, x), low) for low, high in zip(values[::2], values[1::2], strict=False)]
        values = pairs + values[2 * len(pairs) :]
        x = _mul(b, x, x)
    return values[0]


def _tanh(b: Builder, x: Value) -> Value:
    # ordered comparisons are false for NaN, which therefore passes
    x = b.select(b.fcmp_ordered("<", x, _constant(-_BOUND)), _constant(-_BOUND), x)
    x = b.select(b.fcmp_ordered(">", x, _constant(_BOUND)), _constant(_BOUND), x)
    square = _mul(b, x, x)
    return b.fdiv(_mul(b, x, _polynomial(b, square, _TOP)), _polynomial(b, square, _BOTTOM))


def _sigmoid(b: Builder, x: Value) -> Value:
    half = _constant(0.5)
    return _add(b, _mul(b, _tanh(b, _mul(b, x, half)), half), half)


def _loop(b: Builder, count: Value, carried: list[Value], body: Callable[[Value, list[Value]], list[Value]]) -> Any:
    """Emit `for i in range(count): carried = body(i, carried)`; gives the last carried values."""
    before = b.block
    head, inside, after = (b.append_basic_block(name) for name in ("head", "inside", "after"))
    b.branch(head)
    b.position_at_end(head)
    i = b.phi(_LONG)
    kept = [b.phi(value.type) for value in carried]
    i.add_incoming(ir.Constant(_LONG, 0), before)
    for phi, value in zip(kept, carried, strict=True):
        phi.add_incoming(value, before)
    b.cbranch(b.icmp_signed("<", i, count), inside, after)
    b.position_at_end(inside)
    new = body(i, kept)
    i.add_incoming(b.add(i, ir.Constant(_LONG, 1)), b.block)
    for phi, value in zip(kept, new, strict=True):
        phi.add_incoming(value, b.block)
    jump = b.branch(head)
    # unrolled, the loop's loads move up and its sums no longer fit into the registers; a loop's node names itself first
    node = b.module.add_metadata([b.module.add_metadata(["llvm.loop.unroll.disable"])])
    node.operands = (node, *node.operands)
    jump.set_metadata("llvm.loop", node)
    b.position_at_end(after)
    return kept


def _product(
    b: Builder, left: list[Value], right: Value, count: Value, columns: int, sums: list[list[Value]]
) -> list[list[Value]]:
    """sums[row][column] + left[row][0:count] @ right [count, columns * 8 lanes], right contiguous."""

    def body(i: Value, flat: list[Value]) -> list[Value]:
        offset = b.shl(i, ir.Constant(_LONG, 2))
        start = b.add(right, b.mul(i, ir.Constant(_LONG, columns * LANES * 4)))
        ahead = [_load(b, start, c * LANES * 4) for c in range(columns)]
        spread = [_spread(b, row, offset) for row in left]
        return [
            _add(b, _mul(b, spread[r], ahead[c]), flat[r * columns + c])
            for r in range(len(left))
            for c in range(columns)
        ]

    flat = _loop(b, count, [value for row in sums for value in row], body)
    return [flat[r * columns : (r + 1) * columns] for r in range(len(left))]


def _rows(b: Builder, address: Value, stride: Value, rows: int) -> list[Value]:
    return [b.add(address, b.mul(stride, ir.Constant(_LONG, r))) for r in range(rows)]


def _forward_tile(rows: int, keep: bool) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def tile(typingctx, x, xs, nx, h, hs, nh, w, bias, y, ys, gates, gs, first):  # type: ignore[no-untyped-def]  # noqa: ARG001
        """One day of `rows` cells and eight units, the first at byte `first` of a row of h, y and gates (r, z, n, q).

        x [rows, nx], h and y [rows, nh], gates [rows, 4, nh]: addresses of the first row, and strides xs, hs, ys, gs.
        w: [nx + nh, 3 gates, 8]; bias: [4, 8] of r, z, n (its input's part), q.
        """

        def build(context: Any, b: Builder, signature: Any, args: Any) -> Any:  # noqa: ARG001
            x, xs, nx, h, hs, nh, w, bias, y, ys, gates, gs, first = args
            starts = [_load(b, bias, g * LANES * 4) for g in range(4)]
            sums = _product(b, _rows(b, x, xs, rows), w, nx, 3, [starts[:3] for _ in range(rows)])
            before = _rows(b, h, hs, rows)
            inner = b.add(w, b.mul(nx, ir.Constant(_LONG, 3 * LANES * 4)))
            both = _product(b, before, inner, nh, 3, [[s[0], s[1], starts[3]] for s in sums])
            wide = b.shl(nh, ir.Constant(_LONG, 2))
            out, kept = _rows(b, y, ys, rows), _rows(b, gates, gs, rows)
            # gate by gate, not row by row: the rows' chains of operations then run beside each other
            resets = [_sigmoid(b, now[0]) for now in both]
            updates = [_sigmoid(b, now[1]) for now in both]
            news = [_tanh(b, _add(b, _mul(b, r, now[2]), s[2])) for r, now, s in zip(resets, both, sums, strict=True)]
            for row in range(rows):
                r, z, n, q = resets[row], updates[row], news[row], both[row][2]
                _store(b, _add(b, _mul(b, z, _sub(b, _load(b, before[row], first), n)), n), out[row], first)
                if keep:
                    place = b.add(kept[row], first)
                    for value in (r, z, n, q):
                        _store(b, value, place)
                        place = b.add(place, wide)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 13), build

    return tile


@intrinsic  # type: ignore[untyped-decorator]
def _slopes(typingctx, gates, h, dy, carry, dg, total, nh):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """One day of one cell, backwards through the gates.

    gates [4, nh] (r, z, n, q), h [nh] the state before the day, dy [nh]. carry [nh]: in, the gradient to the day's
    state from later days; out, its part that goes to h past the gates. dg [4, nh]: gradient to the sums under n, r, z,
    and to q. total [4, nh]: dg is added to it.
    """

    def build(context: Any, b: Builder, signature: Any, args: Any) -> Any:  # noqa: ARG001
        gates, h, dy, carry, dg, total, nh = args
        wide = b.shl(nh, ir.Constant(_LONG, 2))
        one = _constant(1.0)

        def body(i: Value, none: list[Value]) -> list[Value]:
            at = b.mul(i, ir.Constant(_LONG, LANES * 4))
            place = b.add(gates, at)
            read = []
            for _ in range(4):
                read.append(_load(b, place))
                place = b.add(place, wide)
            r, z, n, q = read
            d = _add(b, _load(b, dy, at), _load(b, carry, at))
            dz = _mul(b, _mul(b, d, _sub(b, _load(b, h, at), n)), _mul(b, z, _sub(b, one, z)))
            dn = _mul(b, _mul(b, d, _sub(b, one, z)), _sub(b, one, _mul(b, n, n)))
            dq = _mul(b, dn, r)
            dr = _mul(b, _mul(b, dq, q), _sub(b, one, r))
            _store(b, _mul(b, d, z), carry, at)
            place, sums = b.add(dg, at), b.add(total, at)
            for value in (dn, dr, dz, dq):
                _store(b, value, place)
                _store(b, _add(b, _load(b, sums), value), sums)
                place, sums = b.add(place, wide), b.add(sums, wide)
            return none

        _loop(b, b.lshr(nh, ir.Constant(_LONG, 3)), [], body)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 7), build


def _backward_tile(rows: int) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def tile(typingctx, d, ds, count, w, carry, cs):  # type: ignore[no-untyped-def]  # noqa: ARG001
        """carry [rows, 16] += d [rows, count] @ w [count, 16]."""

        def build(context: Any, b: Builder, signature: Any, args: Any) -> Any:  # noqa: ARG001
            d, ds, count, w, carry, cs = args
            out = _rows(b, carry, cs, rows)
            sums = [[_load(b, row, c * LANES * 4) for c in range(2)] for row in out]
            for row, values in zip(out, _product(b, _rows(b, d, ds, rows), w, count, 2, sums), strict=True):
                for c, value in enumerate(values):
                    _store(b, value, row, c * LANES * 4)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), build

    return tile


@intrinsic  # type: ignore[untyped-decorator]
def _weight_tile(typingctx, left, ls, right, rs, count, out, os):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """out [6, 16] += left [count, 6]^T @ right [count, 16]."""

    def build(context: Any, b: Builder, signature: Any, args: Any) -> Any:  # noqa: ARG001
        left, ls, right, rs, count, out, os = args
        rows = _rows(b, out, os, WEIGHT_ROWS)

        def body(i: Value, sums: list[Value]) -> list[Value]:
            ahead = [_load(b, b.add(right, b.mul(rs, i)), c * LANES * 4) for c in range(2)]
            start, new = b.add(left, b.mul(ls, i)), []
            for r in range(WEIGHT_ROWS):
                spread = _spread(b, start, ir.Constant(_LONG, 4 * r))
                new += [_add(b, _mul(b, spread, ahead[c]), sums[2 * r + c]) for c in range(2)]
            return new

        sums = _loop(b, count, [_load(b, row, c * LANES * 4) for row in rows for c in range(2)], body)
        for k, value in enumerate(sums):
            _store(b, value, rows[k // 2], k % 2 * LANES * 4)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 7), build


@intrinsic  # type: ignore[untyped-decorator]
def _copy_row(typingctx, source, target, nh):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """target [nh] = source [nh]."""

    def build(context: Any, b: Builder, signature: Any, args: Any) -> Any:  # noqa: ARG001
        source, target, nh = args

        def body(i: Value, none: list[Value]) -> list[Value]:
            at = b.mul(i, ir.Constant(_LONG, LANES * 4))
            _store(b, _load(b, source, at), target, at)
            return none

        _loop(b, b.lshr(nh, ir.Constant(_LONG, 3)), [], body)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), build


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _copy(source: int, source_row: int, target: int, target_row: int, cells: int, nh: int) -> None:
    for c in range(cells):
        _copy_row(source + c * source_row, target + c * target_row, nh)  # type: ignore[call-arg]


_keep_rows, _keep_row = _forward_tile(FORWARD_ROWS, True), _forward_tile(1, True)
_pass_rows, _pass_row = _forward_tile(FORWARD_ROWS, False), _forward_tile(1, False)
_back_rows, _back_row = _backward_tile(BACKWARD_ROWS), _backward_tile(1)


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def keep_days(
    days: int, low: int, high: int, chunk: int, nx: int, nh: int,
    x: int, x_row: int, x_day: int, states: int, state_day: int, gates: int, gate_day: int, w: int, bias: int,
) -> None:  # fmt: skip
    """One layer over all days for the cells low..high, keeping what the backward pass needs.

    x [cells, days, nx] by its strides; states [days + 1, cells, nh] with the first filled; gates [days, cells, 4, nh];
    w [nh / 8, nx + nh, 3, 8]; bias [nh / 8, 4, 8].
    """
    row = nh * 4
    for start in range(low, high, chunk):
        stop = min(start + chunk, high)
        for t in range(days):
            xt, ht, gt = x + t * x_day, states + t * state_day, gates + t * gate_day
            for j in range(nh // 8):
                wj, bj = w + j * (nx + nh) * 96, bias + j * 128
                c = start
                while c + FORWARD_ROWS <= stop:
                    _keep_rows(xt + c * x_row, x_row, nx, ht + c * row, row, nh, wj, bj,
                               ht + state_day + c * row, row, gt + 4 * c * row, 4 * row, j * 32)  # fmt: skip
                    c += FORWARD_ROWS
                while c < stop:
                    _keep_row(xt + c * x_row, x_row, nx, ht + c * row, row, nh, wj, bj,
                              ht + state_day + c * row, row, gt + 4 * c * row, 4 * row, j * 32)  # fmt: skip
                    c += 1


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _rows_times(d: int, d_row: int, count: int, w: int, width: int, out: int, out_row: int, cells: int) -> None:
    """out [cells, width] += d [cells, count] @ w, w [width / 16, count, 16]."""
    for j in range(width // 16):
        wj, oj = w + j * 64 * count, out + j * 64
        c = 0
        while c + BACKWARD_ROWS <= cells:
            _back_rows(d + c * d_row, d_row, count, wj, oj + c * out_row, out_row)
            c += BACKWARD_ROWS
        while c < cells:
            _back_row(d + c * d_row, d_row, count, wj, oj + c * out_row, out_row)
            c += 1


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _weights(d: int, d_row: int, count: int, x: int, x_row: int, width: int, out: int, cells: int) -> None:
    """out [count, width] += d [cells, count]^T @ x [cells, width]; count a multiple of 6, width of 16."""
    for k in range(0, count, WEIGHT_ROWS):
        for j in range(width // 16):
            _weight_tile(  # type: ignore[call-arg]
                d + 4 * k, d_row, x + j * 64, x_row, cells, out + 4 * k * width + j * 64, 4 * width
            )


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def back_days(
    days: int, low: int, high: int, chunk: int, nx: int, nh: int,
    states: int, state_day: int, gates: int, gate_day: int, dy: int, dy_row: int, dy_day: int, carry: int, w_hh: int,
    x: int, x_row: int, x_day: int, dx: int, dx_day: int, w_ih: int, day: int, d_bias: int, d_hh: int, d_ih: int,
) -> None:  # fmt: skip
    """One layer backwards over all days for the cells low..high. Sums are added to.

    states, gates: as kept. dy [cells, days, nh] by its strides. carry [cells, nh]: in, the gradient to the last state
    apart from dy; out, to the first. w_hh [nh / 16, 3 nh, 16]: recurrent weights of r, z, n.
    day: scratch of chunk * (4 nh + DAY_PAD). d_bias [chunks, 4, nh]: of n, r, z, q, each chunk of the cells apart.
    Where an address is 0, its work is left out: d_hh [3 nh, nh], of r, z, n; d_ih [3 nh, nx], of n, r, z, from
    x [cells, days, nx] by its strides; dx [days, cells, nx], from w_ih [nx / 16, 3 nh, 16], of n, r, z.
    nx and nh are multiples of 16.
    """
    row = nh * 4
    day_row = 4 * row + 4 * DAY_PAD
    for start in range(low, high, chunk):
        stop = min(start + chunk, high)
        cells = stop - start
        sums, past = d_bias + (start - low) // chunk * 4 * row, carry + start * row
        for t in range(days - 1, -1, -1):
            h, g, y = states + t * state_day + start * row, gates + t * gate_day + 4 * start * row, dy + t * dy_day
            for c in range(cells):
                _slopes(  # type: ignore[call-arg]
                    g + 4 * c * row, h + c * row, y + (start + c) * dy_row, past + c * row, day + c * day_row, sums, nh
                )
            _rows_times(day + row, day_row, 3 * nh, w_hh, nh, past, row, cells)
            if dx != 0:
                _rows_times(day, day_row, 3 * nh, w_ih, nx, dx + t * dx_day + 4 * start * nx, 4 * nx, cells)
            if d_hh != 0:
                _weights(day + row, day_row, 3 * nh, h, row, nh, d_hh, cells)
            if d_ih != 0:
                _weights(day, day_row, 3 * nh, x + t * x_day + start * x_row, x_row, nx, d_ih, cells)


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def pass_days(
    days: int, low: int, high: int, chunk: int, layers: int, nx: int, nh: int,
    x: int, x_row: int, x_day: int, y: int, y_row: int, y_day: int, last: int, state_layer: int, scratch: int,
    w: int, bias: int,
) -> None:  # fmt: skip
    """All layers over all days for the cells low..high, keeping nothing.

    x [cells, days, nx] and y [cells, days, nh] by their strides; last [layers, cells, nh]: in, the state before the
    first day; out, after the last. scratch [layers, 2, chunk, nh]. w: the layers' weights as of `keep_days`, one after
    another; bias [layers, nh / 8, 4, 8].
    """
    row = nh * 4
    half = chunk * row
    for start in range(low, high, chunk):
        stop = min(start + chunk, high)
        cells = stop - start
        for layer in range(layers):
            _copy(last + layer * state_layer + start * row, row, scratch + 2 * layer * half, row, cells, nh)
        for t in range(days):
            xt, xs, n, wl = x + t * x_day + start * x_row, x_row, nx, w
            for layer in range(layers):
                old = scratch + (2 * layer + t % 2) * half
                new = scratch + (2 * layer + 1 - t % 2) * half
                for j in range(nh // 8):
                    wj, bj = wl + j * (n + nh) * 96, bias + (layer * nh // 8 + j) * 128
                    c = 0
                    while c + FORWARD_ROWS <= cells:
                        _pass_rows(xt + c * xs, xs, n, old + c * row, row, nh, wj, bj, new + c * row, row, 0, 0, j * 32)
                        c += FORWARD_ROWS
                    while c < cells:
                        _pass_row(xt + c * xs, xs, n, old + c * row, row, nh, wj, bj, new + c * row, row, 0, 0, j * 32)
                        c += 1
                wl += nh * (n + nh) * 12
                xt, xs, n = new, row, nh
            _copy(xt, xs, y + t * y_day + start * y_row, y_row, cells, nh)
        for layer in range(layers):
            _copy(
                scratch + (2 * layer + days % 2) * half, row, last + layer * state_layer + start * row, row, cells, nh
            )
