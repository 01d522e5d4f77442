"""A store of made-up but packed, compressed numbers, for benchmarks of reading: no model is run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fieldflux.models.card import Card, Domain
from fieldflux.models.contract import Forcing
from fieldflux.tiles.grid import Block, Grid, Window
from fieldflux.tiles.layout import days_in
from fieldflux.tiles.manifest import Record
from fieldflux.tiles.packing import minus, plus
from fieldflux.tiles.store import Store, YearData, create_store

WINDOW = Window(4096, 4608, 10240, 10752)
OUTPUTS = ("gpp", "ra", "rh", "reco", "nee", "et", "yield", "delta_soc")


@dataclass(frozen=True)
class SyntheticCube:
    """What a store asks of a cube, without inputs."""

    window: Window = WINDOW
    grid: Grid = Grid()  # noqa: RUF009
    years: tuple[int, ...] = (2020,)
    id: str = "synthetic"
    title: str = "Synthetic"
    statement: str = "Made in code for benchmarks."
    synthetic: bool = True
    licence: str = "Apache-2.0"
    hash: str = "0" * 64

    def available(self) -> Mapping[str, str]:
        return {}

    def mask(self) -> Any:
        return np.ones(self.window.shape, bool)

    def crops(self, _: int) -> Any:
        return np.ones(self.window.shape, np.int16)

    def forcing(self, rows: Any, cols: Any, years: Sequence[int]) -> Forcing:
        raise NotImplementedError("A synthetic store is only read.")


@dataclass(frozen=True)
class Named:
    """What a store asks of a model."""

    card: Card
    members: int
    outputs: tuple[str, ...] = OUTPUTS


def synthetic_model(members: int) -> Any:
    return Named(
        Card(
            name="synthetic",
            version="1",
            title="Synthetic",
            family="none",
            description="Made in code for benchmarks.",
            weights_sha256="0" * 64,
            members=members,
            needs_daily=(),
            needs_annual=(),
            needs_static=(),
            outputs=OUTPUTS,
            domain=Domain(crops=(), climates="", years=""),
        ),
        members,
    )


def year_data(store: Store, block: Block, year: int) -> YearData:
    """Fields with seasons and a little noise: compresses as real output does, about fourfold."""
    n, days = store.grid.block, days_in(year)
    rng = np.random.default_rng(block.row * 1000 + block.col)
    season = np.clip(np.sin((np.arange(days) - 100) / 190 * np.pi), 0, None)[:, None, None]
    field = np.kron(rng.uniform(0.6, 1.2, (n // 4, n // 4)), np.ones((4, 4)))[None]
    noise = rng.normal(0, 0.15, (days, 1, 1))

    def packed(scale: float) -> Any:
        return np.round(np.clip(season * field * scale * (1 + noise), 0, None) / 0.002).astype(np.int16)

    gpp, ra, rh = packed(16.0), packed(7.0), packed(3.0)
    rh += np.int16(100)
    reco = plus(ra, rh)
    nee = minus(reco, gpp)
    daily = {"gpp": gpp, "ra": ra, "rh": rh, "reco": reco, "nee": nee, "et": packed(5.0)}
    daily = {v: daily[v] if v in daily else np.zeros_like(gpp) for v in store.layout.daily}
    plane = (field[0] * 300).astype(np.float32)
    yearly = dict.fromkeys(store.layout.yearly, plane)
    members = range(store.members if store.members > 1 else 0)
    return YearData(
        daily,
        yearly,
        {v: np.stack([daily[v] + np.int16(5 * m) for m in members]) for v in store.layout.member_daily},
        {v: np.stack([plane + m for m in members]) for v in store.layout.member_yearly},
    )


def timed(work: Callable[[], Any], rounds: int = 40) -> tuple[float, float, float]:
    """Milliseconds: median and 99th percentile of the wall clock, median of the processor."""
    work()
    wall, cpu = [], []
    for _ in range(rounds):
        a, b = time.perf_counter(), time.process_time()
        work()
        wall.append(1e3 * (time.perf_counter() - a))
        cpu.append(1e3 * (time.process_time() - b))
    return float(np.median(wall)), float(np.percentile(wall, 99)), float(np.median(cpu))


def make_store(folder: Path, members: int = 1) -> Store:
    """A year of `WINDOW`, written block by block."""
    cube, model = SyntheticCube(), synthetic_model(members)
    store = create_store(folder / "store", model, cube)
    for block in store.window.blocks(store.grid):
        record = Record(name=block.name, year=2020, made="now", seconds=0, cells=65536, computed=65536)
        store.write_block(block, 2020, year_data(store, block, 2020), record, None)
    return store


def row(name: str, numbers: tuple[float, float, float], note: str = "", width: int = 44) -> None:
    """Print a line of a table."""
    p50, p99, cpu = numbers
    print(f"{name:<{width}}{p50:>9.2f}{p99:>9.2f}{cpu:>9.2f}{1000 / max(cpu, 1e-3):>9.0f}  {note}")
