"""LINTUL5 beside torchcrop, diffWOFOST, pcse and AquaCrop: seasons per CPU-second, memory.

python -m tests.benchmarks.lintul5 [--cells 8192] [--peer-cells 500] [--card CHECKPOINT]

One thread, CPU time. The peers come with the extra `peers`; one that is missing is said to be. torchcrop computes N, P
and K and keeps all diagnostics where LINTUL5 here computes what the run asks for; the other peers are other models:
diffWOFOST WOFOST 7.2 in double precision and 220 days, pcse LINTUL3, AquaCrop the FAO's. Gradients: see
`lintul5_gradients`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from fieldflux.models.card import Score
from fieldflux.models.processes.lintul5 import parameters as p_
from fieldflux.models.processes.lintul5.crops import MAIZE
from fieldflux.models.processes.lintul5.season import simulate
from fieldflux.models.processes.lintul5.step import Variant
from fieldflux.models.processes.lintul5.weather import prepare

from tests.benchmarks.carded import DATA, Line, keep
from tests.benchmarks.timing import seconds
from tests.crop_weather import made_up, peer_model, peer_weather

NAME = "lintul5-speed"
LATITUDE = 45.0
OURS = "here, float32, smooth, water"
PEERS = ("torchcrop", "diffWOFOST", "pcse LINTUL3", "AquaCrop")
WANTED = ("biomass", "lai", "grain")


def once(run: Callable[[], object]) -> float:
    """CPU time of one run, for what takes long."""
    start = time.process_time()
    run()
    return time.process_time() - start


def told(what: str, cells: int, forward: float, both: float | None) -> Line:
    """A line of the table, printed too. forward, both: CPU-seconds of all cells."""
    line = {
        "what": what, "cells": str(cells), "forward": f"{cells / forward:.4g}",
        "and_back": "" if both is None else f"{cells / both:.4g}", "megabytes": "",
    }  # fmt: skip
    print(f"{what:48s} {cells:6d} {line['forward']:>12s} {line['and_back']:>12s}", flush=True)
    return line


def ours(cells: int) -> Iterator[Line]:
    for dtype in (torch.float32, torch.float64):
        made = {name: value.to(dtype) for name, value in made_up(cells).items()}
        for mode, limits in (("smooth", "water"), ("smooth", "nitrogen"), ("hard", "water")):
            variant = Variant(mode, limits)  # type: ignore[arg-type]
            table = p_.table(MAIZE, cells, dtype=dtype)
            leaf = table.clone().requires_grad_()

            def season(at: torch.Tensor, made=made, variant=variant) -> torch.Tensor:  # type: ignore[no-untyped-def]
                weather = prepare(MAIZE, latitude=LATITUDE, **made)
                return simulate(MAIZE, weather, at, 110, variant=variant, outputs=WANTED).outputs

            forward = seconds(lambda at=table: season(at))  # type: ignore[misc]
            both = seconds(lambda at=leaf: torch.autograd.grad(season(at).sum(), at))  # type: ignore[misc]
            yield told(f"here, {str(dtype)[6:]}, {mode}, {limits}", cells, forward, both)
    weather = prepare(MAIZE, latitude=LATITUDE, **{n: v.float() for n, v in made_up(64).items()})  # type: ignore[arg-type]
    rows = torch.arange(cells) * 64 // cells
    table = p_.table(MAIZE, cells)
    leaf = table.clone().requires_grad_()

    def shared(at: torch.Tensor) -> torch.Tensor:
        return simulate(MAIZE, weather, at, 110, rows=rows, outputs=WANTED).outputs

    forward, both = seconds(lambda: shared(table)), seconds(lambda: torch.autograd.grad(shared(leaf).sum(), leaf))
    yield told("here, float32, smooth, water, 64 weather rows", cells, forward, both)


def torchcrop(cells: int) -> Line:
    made = {name: value.float() for name, value in made_up(cells).items()}
    model, weather = peer_model(MAIZE, LATITUDE, 111, "water", torch.float32), peer_weather(made)

    def forward() -> None:
        with torch.no_grad():
            model(weather, start_doy=1)

    def both() -> None:
        model.crop_params.tsum1 = torch.tensor(695.0, requires_grad=True)
        model(weather, start_doy=1).yield_.sum().backward()

    return told("torchcrop", cells, once(forward), once(both))


def diffwofost_season(cells: int, back: bool) -> None:
    """WOFOST 7.2 with its water balance, a window of 220 days, each cell its own thermal time to flowering."""
    from diffwofost.physical_models.config import ComputeConfig, Configuration
    from diffwofost.physical_models.crop.wofost72 import Wofost72
    from diffwofost.physical_models.engine import Engine
    from diffwofost.physical_models.soil import WaterbalanceFD
    from fieldflux.app.crop.places import draw
    from fieldflux.app.crop.wofost import season_inputs, wofost_parameters

    ComputeConfig.set_dtype(torch.float64)
    parameters, weather, calendar = season_inputs("maize", draw("maize", 2, 1), 0, wofost_parameters("maize")[1])
    # all cells must be mature on the same day, or the engine stops at the first
    sums = torch.full((cells,), float(parameters["TSUM1"]), dtype=torch.float64, requires_grad=back)
    parameters.set_override("TSUM1", sums, check=False)
    engine = Engine(Configuration(CROP=Wofost72, SOIL=WaterbalanceFD, OUTPUT_VARS=["TWSO"]))
    engine.setup(parameters, weather, calendar)
    engine.run_till_terminate()
    grain = [row["TWSO"] for row in engine.get_output() if row["TWSO"] is not None][-1]
    if back:
        grain.sum().backward()


def diffwofost(cells: int) -> Line:
    def forward() -> None:
        with torch.no_grad():
            diffwofost_season(cells, False)

    both = once(lambda: diffwofost_season(cells, True))
    return told("diffWOFOST", cells, once(forward), both)


def pcse(_: int) -> Line:
    import pcse
    import yaml
    from pcse.base import ParameterProvider
    from pcse.engine import Engine
    from pcse.input import CABOWeatherDataProvider, PCSEFileReader

    data = Path(pcse.__file__).parent / "tests" / "test_data"
    parts = {part: PCSEFileReader(str(data / f"lintul3_springwheat.{part}")) for part in ("soil", "site", "crop")}
    calendar = yaml.safe_load((data / "lintul3_springwheat.agro").read_text())["AgroManagement"]
    days = CABOWeatherDataProvider("NL1", str(data), ETmodel="P")

    def run() -> None:
        given = ParameterProvider(sitedata=parts["site"], soildata=parts["soil"], cropdata=parts["crop"])
        Engine(given, days, agromanagement=calendar, config="Lintul3.conf").run(days=300)

    return told("pcse LINTUL3", 1, seconds(run, 2), None)


def aquacrop(_: int) -> Line:
    os.environ.setdefault("DEVELOPMENT", "1")  # what the package asks for where it was not compiled
    from aquacrop import AquaCropModel, Crop, InitialWaterContent, Soil
    from aquacrop.utils import get_filepath, prepare_weather

    days = prepare_weather(get_filepath("champion_climate.txt"))

    def run() -> None:
        AquaCropModel(
            "1990/05/01", "1990/10/30", days, Soil("SandyLoam"), Crop("Maize", planting_date="05/01"),
            InitialWaterContent(value=["FC"]),
        ).run_model(till_termination=True)  # fmt: skip

    return told("AquaCrop", 1, seconds(run, 2), None)


def speed(cells: int, peer_cells: int) -> Iterator[Line]:
    print(f"{'seasons of 365 days per CPU-second':48s} {'cells':>6s} {'forward':>12s} {'and back':>12s}")
    yield from ours(cells)
    for name, run in (("torchcrop", torchcrop), ("diffwofost", diffwofost), ("pcse", pcse), ("aquacrop", aquacrop)):
        try:
            importlib.import_module(name)
        except ImportError:
            print(f"{name} is not installed")
            continue
        yield run(peer_cells)
    for what in ("here", "torchcrop", "diffWOFOST"):
        for count in (100, 400):
            done = subprocess.run(
                [sys.executable, "-m", "tests.benchmarks.lintul5", "--memory", what, "--cells", str(count)],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            said = done.stdout.strip()
            print(f"memory forward and back, {what}, {count} cells: {said or done.stderr.strip()[-80:]} MB", flush=True)
            if said:
                yield {"what": what, "cells": str(count), "forward": "", "and_back": "", "megabytes": said}


def scores_of(lines: Sequence[Line]) -> list[Score]:
    """Of a table's lines: seasons a CPU-second, forward and with gradients, beside those of the peers."""
    timed = {x["what"]: x for x in lines if not x["megabytes"]}
    cells = " and ".join(dict.fromkeys(x["cells"] for name, x in timed.items() if name in PEERS))
    return [
        Score(
            variable="biomass", metric=f"seasons a CPU-second, {said}", value=float(timed[OURS][column]), unit="1",
            split=f"python -m tests.benchmarks.lintul5: maize, {OURS}, weather prepared too, {timed[OURS]['cells']} "
            f"cells; peers at {cells}, which compute other things as well",
            data=DATA, n=1, baseline={p: float(timed[p][column]) for p in PEERS if p in timed and timed[p][column]},
        )
        for said, column in (("forward", "forward"), ("forward and backward", "and_back"))
    ]  # fmt: skip


def peak() -> int:
    """kB that this program has held at most (Linux; getrusage would count the program that started it)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def memory(what: str, cells: int) -> None:
    made = {name: value.float() for name, value in made_up(cells).items()}
    before = peak()
    if what == "here":
        leaf = p_.table(MAIZE, cells).requires_grad_()
        season = simulate(MAIZE, prepare(MAIZE, latitude=LATITUDE, **made), leaf, 110, outputs=WANTED)  # type: ignore[arg-type]
        season["grain"][:, -1].sum().backward()
    elif what == "diffWOFOST":
        diffwofost_season(cells, True)
    else:
        model = peer_model(MAIZE, LATITUDE, 111, "water", torch.float32)
        model.crop_params.tsum1 = torch.tensor(695.0, requires_grad=True)
        model(peer_weather(made), start_doy=1).yield_.sum().backward()
    grown = peak() - before
    print(f"{grown / 1024:.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=8192)
    parser.add_argument("--peer-cells", type=int, default=500)
    parser.add_argument("--card", type=Path, help="Checkpoint that gets the table and whose card gets the scores.")
    parser.add_argument("--memory", choices=["here", "torchcrop", "diffWOFOST"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    os.environ["HOME"] = tempfile.mkdtemp()  # where pcse puts files when it is imported
    if given.memory:
        memory(given.memory, given.cells)
        return
    lines = list(speed(given.cells, given.peer_cells))
    if given.card:
        keep(given.card, NAME, lines, scores_of)


if __name__ == "__main__":
    main()
