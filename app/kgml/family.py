"""The irreducible part of the synthetic test: what other teachers of the family make of the same runs.

A network sees weather, soil, management and GPP, but not the parameters of the teacher. The mean of the family, given
the run's own GPP, is the best that can be said without them; a network that reads something of the teacher from the
course of its GPP may do better.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from fieldflux.models.contract import Floats
from fieldflux.models.processes.agroecosystem.model import Agroecosystem
from fieldflux.tiles.teaching import Teaching
from fieldflux.tiles.teaching.reading import CHUNKS
from numpy.typing import NDArray

Runs = NDArray[np.int64]


def teacher_table(folder: Path, taught: Teaching, teacher: int) -> Floats:
    """[crop, parameter] of one teacher of the set in `folder`."""
    chunk, tried = divmod(teacher, taught.recipe.tries)
    with np.load(folder / CHUNKS / f"{chunk:05d}.npz") as file:
        return np.asarray(file["teachers"][tried], dtype=np.float64)


def taught_by(model: Agroecosystem, table: Floats, taught: Teaching, runs: Runs) -> dict[str, Floats]:
    """Runs as another teacher would have made them with the GPP that they have: "ra", "rh" [n, D], "yield" [n, Y]."""
    record = taught.record(runs)
    unit = np.arange(len(runs))
    given = replace(
        record,
        gpp_given=np.concatenate([taught.targets(runs, year)["gpp"] for year in taught.years], axis=1),
        gpp_unit=np.repeat(unit[:, None], len(record.years), axis=1),
    )
    made = Agroecosystem(model.card, table[None]).predict(given)
    return {"ra": made.daily["ra"][0], "rh": made.daily["rh"][0], "yield": made.annual["yield"][0]}


def same_teacher(folder: Path, taught: Teaching, model: Agroecosystem, runs: Runs) -> dict[str, Floats]:
    """Each run once more by its own teacher, as `family_mean` gives it.

    Not quite the same: a process model whose GPP is given does not let a dry soil lower it, and so has other water.
    """
    days = taught.starts[taught.years[-1] + 1]
    found: dict[str, Floats] = {"ra": np.empty((len(runs), days)), "rh": np.empty((len(runs), days)),
                                "yield": np.empty((len(runs), len(taught.years)))}  # fmt: skip
    for teacher in np.unique(taught.teacher[runs]).tolist():
        here = taught.teacher[runs] == teacher
        made = taught_by(model, teacher_table(folder, taught, teacher), taught, runs[here])
        for name, values in made.items():
            found[name][here] = values
    return found


def family_mean(
    folder: Path, taught: Teaching, model: Agroecosystem, runs: Runs, count: int, rng: np.random.Generator
) -> dict[str, Floats]:
    """The mean of up to `count` other teachers, drawn from those that taught in the same places as each run (all, where
    none but its own did).

    "ra", "rh" [n, D], "yield" [n, Y], gC m-2; NaN where a run has no other teacher.
    """
    days = taught.starts[taught.years[-1] + 1]
    summed = {"ra": np.zeros((len(runs), days)), "rh": np.zeros((len(runs), days)),
              "yield": np.zeros((len(runs), len(taught.years)))}  # fmt: skip
    counted = np.zeros(len(runs))
    group = np.array(taught.groups)[taught.sources]
    for name in np.unique(group[runs]):
        here = np.flatnonzero(group[runs] == name)
        known = np.unique(taught.teacher[group == name])
        if len(known) < 2:
            known = np.unique(taught.teacher)
        for teacher in rng.choice(known, min(count + 1, len(known)), replace=False).tolist():
            others = here[(taught.teacher[runs[here]] != teacher) & (counted[here] < count)]
            if len(others):
                made = taught_by(model, teacher_table(folder, taught, teacher), taught, runs[others])
                for variable, values in made.items():
                    summed[variable][others] += values
                counted[others] += 1
    with np.errstate(invalid="ignore", divide="ignore"):
        return {name: np.where(counted[:, None] > 0, v / counted[:, None], np.nan) for name, v in summed.items()}
