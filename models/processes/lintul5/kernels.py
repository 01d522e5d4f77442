"""The whole season as one compiled function, forward and backward: a vector of cells at a time, day after day.

Backward, a block's days are run again and their morning states kept in a small buffer, then gone through in reverse
with the adjoint equations. So nothing but its inputs has to be remembered of a season, and the buffer stays in cache.

All arguments are 64-bit integers: addresses, counts, strides in bytes. Callers own the memory and see to its size.
Arrays are contiguous with the cells last; cells are padded to whole vectors.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import llvmlite.binding as llvm  # type: ignore[import-untyped]  # comes with numba
from llvmlite import ir

from . import parameters as p_
from .crops import Crop
from .step import OUTPUT, STATE, Variant, build_step
from .trace import Graph, Tracer, Value, adjoint
from .vectors import INT, LONG, Builder, Kind, Term, at, emit, load, spread, store
from .weather_step import COLUMN, GIVEN, build_weather

FORWARD = ("first", "last", "days", "cells", "rows", "state", "table", "weather", "weather_stride", "row", "layout",
           "sow", "daily", "daily_stride", "outputs", "output_strides", "after")  # fmt: skip
BACKWARD = (*FORWARD[:14], "slopes", "slope_strides", "after_slope", "state_slope", "table_slope", "daily_slope",
            "daily_slope_stride", "mornings")  # fmt: skip
WEATHER = ("first", "last", "elements", "given", "columns")
CONTIGUOUS, SHARED, SCATTERED = range(3)  # how the weather rows of a vector's cells lie

Function = Callable[..., None]


@dataclass(frozen=True, eq=False)
class Kernels:
    """The compiled functions of a crop: arguments are those of FORWARD and BACKWARD. They let go of the interpreter."""

    forward: Function
    backward: Function
    lanes: int


@lru_cache(maxsize=32)
def kernels(crop: Crop, variant: Variant, single: bool) -> Kernels:
    """Compile (half a second, the first time in a process). single: in float32, else float64.

    The backward function takes twice as long to compile: it is when it is first called, so never to serve.
    """
    kind = Kind(4 if single else 8)
    module = ir.Module(name="season")
    _forward(module, kind, crop, variant)
    (forward,) = _compile(module, {"forward": FORWARD})

    def backward(*given: int) -> None:
        _backward_kernel(crop, variant, single)(*given)

    return Kernels(forward, backward, kind.lanes)


@lru_cache(maxsize=32)
def _backward_kernel(crop: Crop, variant: Variant, single: bool) -> Function:
    module = ir.Module(name="season_backward")
    _backward(module, Kind(4 if single else 8), crop, variant)
    (backward,) = _compile(module, {"backward": BACKWARD})
    return backward


@lru_cache(maxsize=32)
def weather_kernel(crop: Crop, single: bool) -> Function:
    """The compiled preparation of weather: arguments are those of WEATHER."""
    module = ir.Module(name="weather")
    _weather(module, Kind(4 if single else 8), crop)
    (weather,) = _compile(module, {"weather": WEATHER})
    return weather


def _compile(module: Any, functions: dict[str, tuple[str, ...]]) -> list[Function]:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=2
    )
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    passes = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
    passes.getModulePassManager().run(parsed, passes)
    engine = llvm.create_mcjit_compiler(parsed, machine)
    engine.finalize_object()

    def bind(name: str, arguments: tuple[str, ...]) -> Function:
        code = ctypes.CFUNCTYPE(None, *([ctypes.c_int64] * len(arguments)))(engine.get_function_address(name))

        def call(*given: int, owner: Any = engine) -> None:  # the engine owns the code, so it must live as long
            assert owner is not None
            code(*given)

        return call

    return [bind(name, arguments) for name, arguments in functions.items()]


@dataclass(frozen=True)
class Day:
    """The day's equations, recorded: its inputs, the states that change, all results and outputs."""

    graph: Graph
    state: list[Value]
    table: list[Value]
    daily: Value
    after: list[Value]
    outputs: list[Value]
    live: list[int]


def _record(crop: Crop, variant: Variant) -> Day:
    graph = Graph()
    state, table = graph.inputs("state", len(STATE)), graph.inputs("table", p_.COUNT)
    weather = graph.inputs("weather", len(COLUMN))
    day, sow, daily = graph.inputs("day", 3)
    after, outputs = build_step(crop, variant)(Tracer(graph), state, table, weather, day, sow, daily)
    live = [i for i, (value, before) in enumerate(zip(after, state, strict=True)) if value.place != before.place]
    return Day(graph, state, table, daily, after, outputs, live)


@contextmanager
def _loop(b: Builder, first: Term, last: Term, reverse: bool = False) -> Any:
    """Instructions inside are repeated with a counter from first to before last, or back."""
    entry = b.block
    head, body, done = (b.append_basic_block(name) for name in ("head", "body", "done"))
    b.branch(head)
    b.position_at_end(head)
    i = b.phi(LONG)
    i.add_incoming(last if reverse else first, entry)
    b.cbranch(b.icmp_signed(">", i, first) if reverse else b.icmp_signed("<", i, last), body, done)
    b.position_at_end(body)
    yield b.sub(i, ir.Constant(LONG, 1)) if reverse else i
    b_next = b.sub(i, ir.Constant(LONG, 1)) if reverse else b.add(i, ir.Constant(LONG, 1))
    i.add_incoming(b_next, b.block)
    b.branch(head)
    b.position_at_end(done)


def _function(module: Any, name: str, arguments: tuple[str, ...]) -> tuple[Builder, dict[str, Term]]:
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [LONG] * len(arguments)), name)
    return ir.IRBuilder(function.append_basic_block("entry")), dict(zip(arguments, function.args, strict=True))


def _entry(b: Builder, address: Term, place: int) -> Term:
    """One of a list of 64-bit integers."""
    return b.load(at(b, address, 8 * place, LONG))


def _rows(b: Builder, kind: Kind, address: Term, stride: Term, count: int, offset: Term) -> list[Term]:
    """One vector of each row of an array [count, cells]."""
    return [load(b, kind, b.add(address, b.mul(stride, ir.Constant(LONG, i))), offset) for i in range(count)]


def _weather_of(b: Builder, kind: Kind, a: dict[str, Term], block: Term, day: Term, buffer: Term) -> list[Term]:
    """The day's weather columns of a block's cells. weather: [columns, days, rows]."""
    size = ir.Constant(LONG, kind.bytes)
    line = a["weather_stride"]
    start = b.add(a["weather"], b.mul(day, b.mul(a["rows"], size)))
    row_at = b.add(a["row"], b.mul(block, ir.Constant(LONG, 4 * kind.lanes)))
    layout = b.load(at(b, a["layout"], b.mul(block, ir.Constant(LONG, 4)), INT))
    one_by_one, together = b.append_basic_block("scattered"), b.append_basic_block("together")
    shared, contiguous = b.append_basic_block("shared"), b.append_basic_block("contiguous")
    done = b.append_basic_block("loaded")
    b.cbranch(b.icmp_signed("==", layout, ir.Constant(INT, SCATTERED)), one_by_one, together)

    def put(column: int, value: Term) -> None:
        store(b, kind, value, buffer, 64 * column)

    def first_row() -> Term:
        return b.mul(b.sext(b.load(at(b, row_at, 0, INT)), LONG), size)

    def column_at(column: int) -> Term:
        return b.add(start, b.mul(line, ir.Constant(LONG, column)))

    b.position_at_end(together)
    b.cbranch(b.icmp_signed("==", layout, ir.Constant(INT, SHARED)), shared, contiguous)
    b.position_at_end(contiguous)
    offset = first_row()
    for column in range(len(COLUMN)):
        put(column, load(b, kind, column_at(column), offset))
    b.branch(done)
    b.position_at_end(shared)
    offset = first_row()
    for column in range(len(COLUMN)):
        put(column, spread(b, kind, b.load(at(b, column_at(column), offset, kind.number))))
    b.branch(done)
    b.position_at_end(one_by_one)
    offsets = [b.mul(b.sext(b.load(at(b, row_at, 4 * lane, INT)), LONG), size) for lane in range(kind.lanes)]
    for column in range(len(COLUMN)):
        value: Term = ir.Constant(kind.vector, ir.Undefined)
        for lane, offset in enumerate(offsets):
            number = b.load(at(b, column_at(column), offset, kind.number))
            value = b.insert_element(value, number, ir.Constant(INT, lane))
        put(column, value)
    b.branch(done)
    b.position_at_end(done)
    return [load(b, kind, buffer, 64 * column) for column in range(len(COLUMN))]


def _buffer(b: Builder, kind: Kind, count: int) -> Term:
    """Address of room for `count` vectors on the stack."""
    room = b.alloca(ir.ArrayType(kind.vector, count))
    room.align = 64
    return b.ptrtoint(room, LONG)


def _inputs(**groups: list[Term]) -> dict[tuple[str, int], Term]:
    return {(group, i): term for group, terms in groups.items() for i, term in enumerate(terms)}


def _forward(module: Any, kind: Kind, crop: Crop, variant: Variant) -> None:
    day = _record(crop, variant)
    b, a = _function(module, "forward", FORWARD)
    stride = b.mul(a["cells"], ir.Constant(LONG, kind.bytes))
    state, columns = _buffer(b, kind, len(STATE)), _buffer(b, kind, len(COLUMN))
    places = [_entry(b, a["outputs"], i) for i in range(len(OUTPUT))]
    strides = [_entry(b, a["output_strides"], i) for i in range(len(OUTPUT))]
    with _loop(b, a["first"], a["last"]) as block:
        offset = b.mul(block, ir.Constant(LONG, 64))
        table = _rows(b, kind, a["table"], stride, p_.COUNT, offset)
        sow = load(b, kind, a["sow"], offset)
        for i, term in enumerate(_rows(b, kind, a["state"], stride, len(STATE), offset)):
            store(b, kind, term, state, 64 * i)
        with _loop(b, ir.Constant(LONG, 0), a["days"]) as d:
            given = _inputs(
                state=[load(b, kind, state, 64 * i) for i in range(len(STATE))], table=table,
                weather=_weather_of(b, kind, a, block, d, columns),
                day=[spread(b, kind, b.sitofp(d, kind.number)), sow,
                     load(b, kind, b.add(a["daily"], b.mul(d, a["daily_stride"])), _masked(b, a, offset))],
            )  # fmt: skip
            terms = emit(b, kind, day.graph, [*(day.after[i] for i in day.live), *day.outputs], given)
            for i, term in zip(day.live, terms, strict=False):
                store(b, kind, term, state, 64 * i)
            for place, step, term in zip(places, strides, terms[len(day.live) :], strict=True):
                # an output that nobody wants has no stride: it is written over and over into one spare vector
                here = b.select(b.icmp_signed("==", step, ir.Constant(LONG, 0)), ir.Constant(LONG, 0), offset)
                store(b, kind, term, b.add(place, b.mul(d, step)), here)
        for i in range(len(STATE)):
            store(b, kind, load(b, kind, state, 64 * i), b.add(a["after"], b.mul(stride, ir.Constant(LONG, i))), offset)
    b.ret_void()


def _masked(b: Builder, a: dict[str, Term], offset: Term) -> Term:
    """The cells' place in `daily`, which is one vector of ones where no factor is given."""
    return b.select(b.icmp_signed("==", a["daily_stride"], ir.Constant(LONG, 0)), ir.Constant(LONG, 0), offset)


def _backward(module: Any, kind: Kind, crop: Crop, variant: Variant) -> None:
    day = _record(crop, variant)
    plain = _record(crop, variant)
    graph = day.graph
    after_slopes = graph.inputs("after_slope", len(STATE))
    output_slopes = graph.inputs("output_slope", len(OUTPUT))
    live = day.live
    slopes = adjoint(
        graph, [*(day.after[i] for i in live), *day.outputs], [*(after_slopes[i] for i in live), *output_slopes],
        [*(day.state[i] for i in live), *day.table, day.daily],
    )  # fmt: skip
    used = [i for i in range(p_.COUNT) if slopes[len(live) + i].number != 0.0]
    wanted = [*slopes[: len(live)], *(slopes[len(live) + i] for i in used), slopes[-1]]

    b, a = _function(module, "backward", BACKWARD)
    stride = b.mul(a["cells"], ir.Constant(LONG, kind.bytes))
    state, columns = _buffer(b, kind, len(STATE)), _buffer(b, kind, len(COLUMN))
    state_slope, table_slope = _buffer(b, kind, len(STATE)), _buffer(b, kind, p_.COUNT)
    places = [_entry(b, a["slopes"], i) for i in range(len(OUTPUT))]
    strides = [_entry(b, a["slope_strides"], i) for i in range(len(OUTPUT))]
    size = ir.Constant(LONG, 64 * len(live))
    with _loop(b, a["first"], a["last"]) as block:
        offset = b.mul(block, ir.Constant(LONG, 64))
        table = _rows(b, kind, a["table"], stride, p_.COUNT, offset)
        sow = load(b, kind, a["sow"], offset)

        def day_inputs(d: Term, block: Term = block, offset: Term = offset, sow: Term = sow) -> dict[str, list[Term]]:
            return {
                "weather": _weather_of(b, kind, a, block, d, columns),
                "day": [spread(b, kind, b.sitofp(d, kind.number)), sow,
                        load(b, kind, b.add(a["daily"], b.mul(d, a["daily_stride"])), _masked(b, a, offset))],
            }  # fmt: skip

        whole = _rows(b, kind, a["state"], stride, len(STATE), offset)
        for i, term in enumerate(whole):
            store(b, kind, term, state, 64 * i)
        with _loop(b, ir.Constant(LONG, 0), a["days"]) as d:
            morning = [load(b, kind, state, 64 * i) for i in range(len(STATE))]
            here = b.add(a["mornings"], b.mul(d, size))
            for k, i in enumerate(live):
                store(b, kind, morning[i], here, 64 * k)
            terms = emit(
                b,
                kind,
                plain.graph,
                [plain.after[i] for i in live],
                _inputs(state=morning, table=table, **day_inputs(d)),
            )
            for i, term in zip(live, terms, strict=True):
                store(b, kind, term, state, 64 * i)
        for i, term in enumerate(_rows(b, kind, a["after_slope"], stride, len(STATE), offset)):
            store(b, kind, term, state_slope, 64 * i)
        for i in range(p_.COUNT):
            store(b, kind, kind.constant(0.0), table_slope, 64 * i)
        with _loop(b, ir.Constant(LONG, 0), a["days"], reverse=True) as d:
            here = b.add(a["mornings"], b.mul(d, size))
            morning = list(whole)
            for k, i in enumerate(live):
                morning[i] = load(b, kind, here, 64 * k)
            incoming = []
            for place, step in zip(places, strides, strict=True):
                spot = b.select(b.icmp_signed("==", step, ir.Constant(LONG, 0)), ir.Constant(LONG, 0), offset)
                incoming.append(load(b, kind, b.add(place, b.mul(d, step)), spot))
            given = _inputs(
                state=morning, table=table, output_slope=incoming,
                after_slope=[load(b, kind, state_slope, 64 * i) for i in range(len(STATE))], **day_inputs(d),
            )  # fmt: skip
            terms = emit(b, kind, graph, wanted, given)
            for i, term in zip(live, terms, strict=False):
                store(b, kind, term, state_slope, 64 * i)
            for i, term in zip(used, terms[len(live) :], strict=False):
                store(b, kind, b.fadd(load(b, kind, table_slope, 64 * i), term), table_slope, 64 * i)
            spot = b.select(
                b.icmp_signed("==", a["daily_slope_stride"], ir.Constant(LONG, 0)), ir.Constant(LONG, 0), offset
            )
            store(b, kind, terms[-1], b.add(a["daily_slope"], b.mul(d, a["daily_slope_stride"])), spot)
        for name, source, count in (("state_slope", state_slope, len(STATE)), ("table_slope", table_slope, p_.COUNT)):
            for i in range(count):
                target = b.add(a[name], b.mul(stride, ir.Constant(LONG, i)))
                store(b, kind, load(b, kind, source, 64 * i), target, offset)
    b.ret_void()


def _weather(module: Any, kind: Kind, crop: Crop) -> None:
    """given [GIVEN, elements] -> columns [COLUMN, elements]; an element is a day of a weather row."""
    graph = Graph()
    results = build_weather(crop)(Tracer(graph), graph.inputs("given", len(GIVEN)))
    b, a = _function(module, "weather", WEATHER)
    stride = b.mul(a["elements"], ir.Constant(LONG, kind.bytes))
    with _loop(b, a["first"], a["last"]) as block:
        offset = b.mul(block, ir.Constant(LONG, 64))
        terms = emit(b, kind, graph, results, _inputs(given=_rows(b, kind, a["given"], stride, len(GIVEN), offset)))
        for i, term in enumerate(terms):
            store(b, kind, term, b.add(a["columns"], b.mul(stride, ir.Constant(LONG, i))), offset)
    b.ret_void()
