"""Recorded equations as LLVM instructions on vectors of cells. numba's compiler does the rest: no C compiler is needed.

Each operation becomes one instruction on `lanes` cells at once; multiplications and additions fuse where the processor
can. exp is Cephes' (Moshier), within 2 units in the last place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]  # comes with numba

from .trace import Graph, Value

Builder = Any  # llvmlite has no types
Term = Any
LONG, INT = ir.IntType(64), ir.IntType(32)
_FLAGS = ("contract", "nsz")


@dataclass(frozen=True)
class Kind:
    """Vectors of `lanes` numbers of 4 or 8 bytes. Sixteen floats fill a cache line, so that lines are written once."""

    bytes: int

    @property
    def lanes(self) -> int:
        return 64 // self.bytes

    @property
    def number(self) -> Any:
        return ir.FloatType() if self.bytes == 4 else ir.DoubleType()

    @property
    def vector(self) -> Any:
        return ir.VectorType(self.number, self.lanes)

    def constant(self, value: float) -> Term:
        return ir.Constant(self.vector, [ir.Constant(self.number, value)] * self.lanes)


def at(b: Builder, address: Term, offset: Term | int, kind: Any) -> Term:
    """Pointer to what lies `offset` bytes behind an address."""
    shift = ir.Constant(LONG, offset) if isinstance(offset, int) else offset
    return b.inttoptr(b.add(address, shift), kind.as_pointer())


def load(b: Builder, kind: Kind, address: Term, offset: Term | int = 0) -> Term:
    return b.load(at(b, address, offset, kind.vector), align=kind.bytes)


def store(b: Builder, kind: Kind, value: Term, address: Term, offset: Term | int = 0) -> None:
    b.store(value, at(b, address, offset, kind.vector), align=kind.bytes)


def spread(b: Builder, kind: Kind, value: Term) -> Term:
    """One number in all lanes."""
    one = b.insert_element(ir.Constant(kind.vector, ir.Undefined), value, ir.Constant(INT, 0))
    zeros = ir.Constant(ir.VectorType(INT, kind.lanes), [0] * kind.lanes)
    return b.shuffle_vector(one, ir.Constant(kind.vector, ir.Undefined), zeros)


def intrinsic(b: Builder, kind: Kind, name: str) -> Term:
    """A function of one vector that LLVM brings along."""
    full = f"llvm.{name}.v{kind.lanes}f{8 * kind.bytes}"
    return b.module.declare_intrinsic(full, fnty=ir.FunctionType(kind.vector, [kind.vector]))


def exponential(b: Builder, kind: Kind, x: Term) -> Term:
    k = kind.constant
    low, high = (-87.0, 88.0) if kind.bytes == 4 else (-708.0, 709.0)

    def add(u: Term, v: Term) -> Term:
        return b.fadd(u, v, flags=("contract",))

    def mul(u: Term, v: Term) -> Term:
        return b.fmul(u, v, flags=("contract",))

    def polynomial(u: Term, coefficients: Sequence[float]) -> Term:
        value = k(coefficients[0])
        for c in coefficients[1:]:
            value = add(mul(value, u), k(c))
        return value

    # ordered comparisons are false for not-a-number, which therefore passes
    x = b.select(b.fcmp_ordered("<", x, k(low)), k(low), x)
    x = b.select(b.fcmp_ordered(">", x, k(high)), k(high), x)
    n = b.call(intrinsic(b, kind, "rint"), [mul(x, k(1.4426950408889634))])
    if kind.bytes == 4:
        r = add(add(x, mul(n, k(-0.693359375))), mul(n, k(2.12194440e-4)))
        p = polynomial(r, (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1,
                           5.0000001201e-1))  # fmt: skip
        y = add(add(mul(p, mul(r, r)), r), k(1.0))
        whole = ir.VectorType(INT, kind.lanes)
        bits = b.fptosi(n, whole)
        shift, bias = 23, 127
        one: Any = INT
    else:
        r = add(add(x, mul(n, k(-6.93145751953125e-1))), mul(n, k(-1.42860682030941723212e-6)))
        square = mul(r, r)
        p = mul(r, polynomial(square, (1.26177193074810590878e-4, 3.02994407707441961300e-2, 1.0)))
        q = polynomial(square, (3.00198505138664455042e-6, 2.52448340349684104192e-3, 2.27265548208155028766e-1, 2.0))
        y = add(mul(b.fdiv(p, b.fsub(q, p)), k(2.0)), k(1.0))
        whole = ir.VectorType(LONG, kind.lanes)
        # the low bits of n + 1.5 * 2**52 are n: processors before AVX-512 convert doubles one by one
        bits = b.bitcast(b.fadd(n, k(6755399441055744.0)), whole)
        shift, bias = 52, 1023
        one = LONG
    biased = b.add(bits, ir.Constant(whole, [ir.Constant(one, bias)] * kind.lanes))
    power = b.bitcast(b.shl(biased, ir.Constant(whole, [ir.Constant(one, shift)] * kind.lanes)), kind.vector)
    return mul(y, power)


def emit(
    b: Builder, kind: Kind, graph: Graph, results: Sequence[Value], inputs: Mapping[tuple[str, int], Term]
) -> list[Term]:
    """Instructions that compute the results; inputs by (group, place in it)."""
    terms: dict[int, Term] = {}
    for place in graph.used(results):
        name, arguments = graph.operations[place]
        if name == "constant":
            terms[place] = kind.constant(arguments[0])
            continue
        if name == "input":
            terms[place] = inputs[arguments]
            continue
        t = [terms[argument] for argument in arguments]
        match name:
            case "add":
                terms[place] = b.fadd(*t, flags=_FLAGS)
            case "sub":
                terms[place] = b.fsub(*t, flags=_FLAGS)
            case "mul":
                terms[place] = b.fmul(*t, flags=_FLAGS)
            case "div":
                terms[place] = b.fdiv(*t, flags=_FLAGS)
            case "exp":
                terms[place] = exponential(b, kind, t[0])
            case "sqrt":
                terms[place] = b.call(intrinsic(b, kind, "sqrt"), t)
            case "least":
                terms[place] = b.select(b.fcmp_ordered("<", t[1], t[0]), t[1], t[0])
            case "most":
                terms[place] = b.select(b.fcmp_ordered("<", t[0], t[1]), t[1], t[0])
            case "less":
                terms[place] = b.fcmp_ordered("<", *t)
            case "both":
                terms[place] = b.and_(*t)
            case "where":
                terms[place] = b.select(*t)
            case _:
                raise TypeError(f"No instruction is written for the operation {name!r}.")
    return [terms[value.place] for value in results]
