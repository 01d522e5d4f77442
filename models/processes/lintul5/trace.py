"""Records what equations compute, and writes down the equations of their gradient.

Run once over `Value`s instead of numbers, the equations leave a list of operations, each kept once, constants folded.
`adjoint` adds to it the operations of the reverse pass: the chain rule applied from the last operation to the first.
Choices (`less`, `where`, `least`, `most`) are followed, their switching points are not: those of LINTUL5 that matter
are written as shares of a day, see `step`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Number = int | float


@dataclass(slots=True)
class Graph:
    """The recorded operations: (name, arguments). Arguments are places of earlier operations."""

    operations: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    known: dict[tuple[str, tuple[Any, ...]], int] = field(default_factory=dict)

    def add(self, name: str, *arguments: Any) -> Value:
        key = (name, arguments)
        place = self.known.get(key)
        if place is None:
            place = self.known[key] = len(self.operations)
            self.operations.append(key)
        return Value(self, place)

    def constant(self, number: Number) -> Value:
        return self.add("constant", float(number))

    def inputs(self, group: str, count: int) -> list[Value]:
        return [self.add("input", group, i) for i in range(count)]

    def used(self, results: Sequence[Value]) -> list[int]:
        """Places of all operations that the results need, in order."""
        wanted = {value.place for value in results}
        for place in range(max(wanted, default=-1), -1, -1):
            if place in wanted:
                name, arguments = self.operations[place]
                if name not in ("constant", "input"):
                    wanted.update(arguments)
        return sorted(wanted)


@dataclass(frozen=True, slots=True)
class Value:
    """What one operation gives."""

    graph: Graph
    place: int

    @property
    def number(self) -> float | None:
        name, arguments = self.graph.operations[self.place]
        return arguments[0] if name == "constant" else None

    def of(self, other: Value | Number) -> Value:
        return other if isinstance(other, Value) else self.graph.constant(other)

    def __add__(self, other: Value | Number) -> Value:
        other = self.of(other)
        a, b = self.number, other.number
        if a is not None and b is not None:
            return self.of(a + b)
        if a == 0.0:
            return other
        if b == 0.0:
            return self
        return self.graph.add("add", self.place, other.place)

    __radd__ = __add__

    def __sub__(self, other: Value | Number) -> Value:
        other = self.of(other)
        a, b = self.number, other.number
        if a is not None and b is not None:
            return self.of(a - b)
        if b == 0.0:
            return self
        if self.place == other.place:
            return self.of(0.0)
        return self.graph.add("sub", self.place, other.place)

    def __rsub__(self, other: Number) -> Value:
        return self.of(other) - self

    def __neg__(self) -> Value:
        return self.of(0.0) - self

    def __mul__(self, other: Value | Number) -> Value:
        other = self.of(other)
        a, b = self.number, other.number
        if a is not None and b is not None:
            return self.of(a * b)
        if a == 0.0 or b == 0.0:
            return self.of(0.0)
        if a == 1.0:
            return other
        if b == 1.0:
            return self
        return self.graph.add("mul", self.place, other.place)

    __rmul__ = __mul__

    def __truediv__(self, other: Value | Number) -> Value:
        other = self.of(other)
        a, b = self.number, other.number
        if b is not None:
            return self * (1.0 / b)
        if a == 0.0:
            return self.of(0.0)
        return self.graph.add("div", self.place, other.place)

    def __rtruediv__(self, other: Number) -> Value:
        return self.of(other) / self


@dataclass(frozen=True, slots=True)
class Tracer:
    """`Operations` that are recorded in a graph."""

    graph: Graph

    def of(self, x: Value | Number) -> Value:
        return x if isinstance(x, Value) else self.graph.constant(x)

    def exp(self, x: Value | Number) -> Value:
        x = self.of(x)
        return self.of(math.exp(x.number)) if x.number is not None else self.graph.add("exp", x.place)

    def sqrt(self, x: Value | Number) -> Value:
        x = self.of(x)
        return self.of(math.sqrt(x.number)) if x.number is not None else self.graph.add("sqrt", x.place)

    def least(self, x: Value | Number, y: Value | Number) -> Value:
        x, y = self.of(x), self.of(y)
        if x.number is not None and y.number is not None:
            return self.of(min(x.number, y.number))
        return self.graph.add("least", x.place, y.place)

    def most(self, x: Value | Number, y: Value | Number) -> Value:
        x, y = self.of(x), self.of(y)
        if x.number is not None and y.number is not None:
            return self.of(max(x.number, y.number))
        return self.graph.add("most", x.place, y.place)

    def less(self, x: Value | Number, y: Value | Number) -> Value:
        return self.graph.add("less", self.of(x).place, self.of(y).place)

    def both(self, a: Value, b: Value) -> Value:
        return self.graph.add("both", a.place, b.place)

    def where(self, mask: Value, x: Value | Number, y: Value | Number) -> Value:
        x, y = self.of(x), self.of(y)
        return x if x.place == y.place else self.graph.add("where", mask.place, x.place, y.place)


def adjoint(graph: Graph, results: Sequence[Value], given: Sequence[Value], inputs: Sequence[Value]) -> list[Value]:
    """Values of the gradient by each of `inputs`, where `given` is that by each of `results`."""
    o = Tracer(graph)
    zero = graph.constant(0.0)
    slope: dict[int, Value] = {}

    def put(place: int, value: Value) -> None:
        slope[place] = slope[place] + value if place in slope else value

    for result, value in zip(results, given, strict=True):
        put(result.place, value)
    for place in range(max(result.place for result in results), -1, -1):
        name, arguments = graph.operations[place]
        if place not in slope or name in ("constant", "input", "less", "both"):
            continue
        g = slope[place]
        if g.number == 0.0:
            continue
        own = Value(graph, place)
        values = [Value(graph, at) for at in arguments]
        match name, values:
            case "add", [x, y]:
                put(x.place, g)
                put(y.place, g)
            case "sub", [x, y]:
                put(x.place, g)
                put(y.place, -g)
            case "mul", [x, y]:
                put(x.place, g * y)
                put(y.place, g * x)
            case "div", [x, y]:
                part = g / y
                put(x.place, part)
                put(y.place, -(part * own))
            case "exp", [x]:
                put(x.place, g * own)
            case "sqrt", [x]:
                put(x.place, 0.5 * g / own)
            case "least", [x, y]:
                second = o.less(y, x)
                put(x.place, o.where(second, zero, g))
                put(y.place, o.where(second, g, zero))
            case "most", [x, y]:
                second = o.less(x, y)
                put(x.place, o.where(second, zero, g))
                put(y.place, o.where(second, g, zero))
            case "where", [mask, x, y]:
                put(x.place, o.where(mask, g, zero))
                put(y.place, o.where(mask, zero, g))
            case _:
                raise TypeError(f"No gradient is written down for the operation {name!r}.")
    return [slope.get(value.place, zero) for value in inputs]
