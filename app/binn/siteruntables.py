"""The experiment "binn-sampler": posteriors at measured soils, and how BINN's processes and time compare with them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import astuple
from pathlib import Path

import numpy as np
from fieldflux.app.kgml.tables import as_table, write_csv
from fieldflux.models.hybrids.binn.network import Ensemble
from fieldflux.models.processes.soilcarbon.parameters import NAMES

from .agreement import Agreement, agreements, identified, processes_by
from .recipe import BinnRecipe
from .sampler import PROCESSES, BadProfile, Budget, Likelihood, Posterior, processes_at
from .siteruns import posteriors, profile_of, soils_with_profiles
from .sites import SoilTable, forcing_of, soil_table
from .training import train_members

Told = Callable[[float, str], None]
SOILS, SEED = 60, 1
QUICK = Budget(ensembles=2, walkers=64, burn=20, keep=20)


def sampler_experiment(
    data: Path, work: Path, out: Path, ensemble: Ensemble, recipe: BinnRecipe, told: Told,
    *, likelihood: Likelihood = "published", soils: int = SOILS, budget: Budget | None = None,
) -> list[Path]:  # fmt: skip
    """binn_sampler.txt, binn_sampler_soils.csv (convergence, fit, processes of each soil), binn_sampler_parameters.csv
    (what the soils tell of each parameter), binn_sampler_agreement.csv.

    work: where posteriors are kept, so that the same call goes on. Raises BadMeasurements, BadProfile.
    """
    table = soil_table(data, recipe.datasets)
    if table is None:
        raise BadProfile(f"The folder {data} has no measured soils with their counties.")
    chosen = soils_with_profiles(table, soils, SEED)
    chosen = chosen.where(np.asarray(np.isfinite(chosen.x).all(axis=1), np.bool_))
    given = budget or Budget()
    kept = work / "binn-sampler"
    found = posteriors(chosen, SEED, given, likelihood, kept, lambda f, said: told(0.9 * f, said))
    told(0.9, "comparing")
    forcing = forcing_of(chosen).tensors()
    processes = processes_by(chosen, forcing, found, ensemble, SEED)
    lines = agreements(processes, SEED)
    seconds = times(chosen, found, ensemble, recipe)
    rows = [
        (
            str(chosen.soils.dataset[i]), str(chosen.soils.site[i]), len(profile_of(chosen, i).density),
            float(p.rhat.max()), float(p.ess.min()), "yes" if p.converged else "no", p.accepted, p.seconds,
            float(np.sqrt(np.mean(np.log(p.fitted / profile_of(chosen, i).density) ** 2))),
            *map(float, p.at_mean), *map(float, p.processes_sd), *map(float, processes["BINN"][i]),
        )
        for i, p in enumerate(found)
    ]  # fmt: skip
    head = (
        "dataset", "site", "layers", "greatest_rhat", "least_ess", "converged", "accepted", "cpu_seconds",
        "rms_ln_misfit", *PROCESSES, *(f"{n}_sd" for n in PROCESSES), *(f"{n}_binn" for n in PROCESSES),
    )  # fmt: skip
    parameter_rows = [
        (name, float(np.mean([p.shrunk[k] for p in found])), float(np.max([p.shrunk[k] for p in found])),
         float(np.std([p.mean[k] for p in found])), "yes" if identified(found)[k] else "no")
        for k, name in enumerate(NAMES)
    ]  # fmt: skip
    parameter_head = ("parameter", "mean_shrinkage", "greatest_shrinkage", "sd_of_means_over_soils", "identified")
    agreement_head = ("first", "second", "process", "r", "low", "high", "beyond_climate")
    agreement_rows = [astuple(a) for a in lines]
    out.mkdir(parents=True, exist_ok=True)
    return [
        write_csv(out / "binn_sampler_soils.csv", head, rows),
        write_csv(out / "binn_sampler_parameters.csv", parameter_head, parameter_rows),
        write_csv(out / "binn_sampler_agreement.csv", agreement_head, agreement_rows),
        _text(out / "binn_sampler.txt", chosen, found, lines, parameter_rows, seconds, given, likelihood),
    ]


def times(
    table: SoilTable, found: Sequence[Posterior], ensemble: Ensemble, recipe: BinnRecipe
) -> list[tuple[str, float]]:
    """CPU seconds of each way on these soils: sampling them; a network of the recipe trained on them, with its
    predictions; predictions of the finished ensemble."""
    forcing = forcing_of(table).tensors()
    alone = recipe.model_copy(update={"members": 1})
    start = time.process_time()
    train_members(alone, table)
    trained = time.process_time() - start
    start = time.process_time()
    for p in ensemble.parameters(table.x):
        processes_at(p, forcing, ensemble.cap)
    predicted = time.process_time() - start
    return [
        ("sampling", float(sum(p.seconds for p in found))),
        ("one network trained on the same soils", trained),
        (f"processes by the {ensemble.members} members of the finished ensemble", predicted),
    ]


def _text(
    path: Path, table: SoilTable, found: Sequence[Posterior], lines: Sequence[Agreement],
    parameters: Sequence[tuple[object, ...]], seconds: Sequence[tuple[str, float]], budget: Budget,
    likelihood: Likelihood,
) -> Path:  # fmt: skip
    n = len(table)
    converged = sum(p.converged for p in found)
    sets = ", ".join(f"{name} {c}" for name, c in zip(*np.unique(table.soils.dataset, return_counts=True), strict=True))
    sampling = seconds[0][1]
    pairs = list(dict.fromkeys((a.first, a.second) for a in lines))
    grid = [
        (f"{a} - {b}", *(f"{one.r:.2f}" for one in lines if (one.first, one.second) == (a, b)),
         *(f"{one.low:.2f} to {one.high:.2f}; beyond climate {one.beyond:.2f}" for one in lines
           if (one.first, one.second, one.process) == (a, b, "mean")))
        for a, b in pairs
    ]  # fmt: skip
    prior_like = [str(row[0]) for row in parameters if row[4] == "no"]
    text = [
        f"The 21 parameters sampled at {n} mineral soils ({sets}), one of each 2-degree block, seed {SEED}; likelihood "
        f"'{likelihood}'. {budget.ensembles} ensembles of {budget.walkers} walkers, {budget.burn} steps left out and "
        f"{budget.keep} kept: {budget.solves} solves a soil.",
        f"Converged (R-hat < 1.05 and 100 effective draws or more, of every parameter): {converged} of {n}. Greatest "
        f"R-hat {max(float(p.rhat.max()) for p in found):.3f}, least effective number of draws "
        f"{min(float(p.ess.min()) for p in found):.0f}.",
        f"Of the prior's spread less than 5 % is gone, mean over soils, for {len(prior_like)} of {len(NAMES)} "
        f"parameters: {', '.join(prior_like)}.",
        "",
        "Pearson r of processes over the soils (mean: with 90 % by drawing soils). BINN was trained on these soils "
        "among others; the PRODA network did not see the soil's block. 'same parameters' is a model without inference, "
        "all parameters at the middle of their ranges: what climate and litter alone make agree.",
        "",
        as_table(("pair", *PROCESSES, "mean", "of the mean"), grid),
        as_table(
            ("CPU time", "s", "s per soil", "sampling takes times as long"),
            [(what, value, value / n, sampling / value if value else float("nan")) for what, value in seconds],
        ),
    ]
    path.write_text("\n".join(text) + "\n")
    return path
