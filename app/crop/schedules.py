"""How long and how fast each model is trained: what was best on the validation of spare draws, which no score uses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .experiments import truth_of
from .noise import Noise
from .recipe import CropRecipe, Training
from .trials import TRAINED, Split, Trial, split, trained
from .twin import Twin, spoilt

FIRST_SPARE = 90  # seed of the first spare draw
# fmt: off
GRID: dict[str, tuple[tuple[float, int], ...]] = {
    "LINTUL5 calibrated": ((3e-2, 100), (1e-1, 100), (2e-1, 100)),
    "LSTM": ((2e-2, 400), (2e-2, 700), (1e-2, 700)),
    "LSTM pre-trained": ((1e-2, 250), (1e-2, 400), (2e-2, 250), (2e-2, 400)),
    "LSTM with physics": ((1e-2, 400), (2e-2, 400), (1e-2, 700)),
    "LSTM to LINTUL5": ((3e-3, 150), (1e-2, 150), (2e-2, 150), (1e-2, 300)),
}
"""(rate, steps) tried: few, since each is trained on every spare draw."""
# fmt: on
CONDITIONS = ((1.0, 1.0), (3.0, 1.0), (1.0, 0.05))
"""Level of noise on both, share of the seasons."""


def choose(recipe: CropRecipe, work: Path, out: Path, quick: bool, told: Callable[[float, str], None]) -> list[Path]:
    """A table of the validation's root mean square error, g m-2, mean over the spare draws, of each model, rate and
    number of steps, under each of CONDITIONS; the best of each model, by the mean over conditions, is marked."""
    cases: dict[tuple[float, float], list[tuple[Twin, Split, int]]] = {}
    for seed in range(FIRST_SPARE, FIRST_SPARE + recipe.spare):
        truth = truth_of(recipe, work, seed, lambda _: None)
        for level, share in CONDITIONS:
            noise = Noise("both", level)
            twin = spoilt(truth, noise, recipe.trained, seed)
            cases.setdefault((level, share), []).append((twin, split(twin, Trial(noise, share, None, seed)), seed))
    head = " ".join(f"{f'noise {level:g}, {100 * share:g} %':>16s}" for level, share in CONDITIONS)
    lines = [
        f"{recipe.crop}, truth {recipe.truth}, {recipe.spare} spare draws: validation RMSE, g m-2",
        f"{'':20s} {'rate':>7s} {'steps':>6s} {head}",
    ]
    todo = [(name, Training(rate=rate, steps=steps)) for name in TRAINED for rate, steps in GRID[name]]
    todo = [(name, plan) for name, plan in todo if not quick or (plan.rate, plan.steps) == GRID[name][0]]
    table: dict[str, list[tuple[float, str]]] = {}
    for i, (name, plan) in enumerate(todo):
        found = [sum(trained(recipe, *case[:2], name, plan, case[2])[1] for case in same) / len(same)
                 for same in cases.values()]  # fmt: skip
        numbers = " ".join(f"{value:16.1f}" for value in found)
        line = f"{name:20s} {plan.rate:7.3g} {plan.steps:6d} {numbers}"
        table.setdefault(name, []).append((sum(found) / len(found), line))
        told((i + 1) / len(todo), f"{i + 1} of {len(todo)}")
    for rows in table.values():
        best = min(rows)
        lines += [f"{line}{'  <- taken' if (score, line) == best else ''}" for score, line in rows]
    path = out / f"crop-schedules-{recipe.truth}.txt"
    path.write_text("\n".join(lines) + "\n")
    return [path]
