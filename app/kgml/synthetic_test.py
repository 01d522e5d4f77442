"""The test on synthetic runs: networks against their teachers on runs that they never saw.

"unseen places": sources of weather and soils that were not trained on (Teaching.split's test). "unseen runs": other
teachers, in weather that was trained on. Beside the networks: the climatology by crop and day of year, the mean of the
family of teachers, which a network that cannot see a teacher's parameters can hardly pass, and the own teacher again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fieldflux.models.contract import Floats
from fieldflux.models.kgml.network import Carry
from fieldflux.models.kgml.recipe import NetworkRecipe, Stages, Variant
from fieldflux.models.kgml.steps import Synthetic, Taught, Watch, build, pretrain
from fieldflux.models.processes.agroecosystem.inputs import crop_index
from fieldflux.tiles.teaching import Teaching, open_teaching
from numpy.typing import NDArray

from .budget import Budget
from .family import family_mean, same_teacher
from .setting import BadExperiment, Setting, process_of
from .shares import Told, share
from .sums import Sums, sums_of, total
from .synthetic_plot import plot_synthetic
from .tables import as_table, write_csv
from .trials import AnyNetwork

Runs = NDArray[np.int64]
VARIANTS: tuple[Variant, ...] = ("closed", "paper", "plain")
CLIMATOLOGY, FAMILY, AGAIN = "climatology", "family of teachers", "teacher again"
SPIN_UP = 2
BATCH = 200  # runs that go through the years together
DAILY = ("ra", "rh", "nee")
MAIZE_SOYBEAN = (1, 5)


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """What a year of n runs is said to be: ra, rh, nee [n, D], harvest [n], gC m-2."""

    ra: Floats
    rh: Floats
    nee: Floats
    harvest: Floats


Says = Callable[[Runs], Callable[[int], Made]]
"""Of runs: what a model says of one year after the other, from the first one on."""


def synthetic_test(
    setting: Setting, given: Mapping[Variant, Sequence[Path]], out: Path, workers: int, told: Told
) -> list[Path]:
    """synthetic.csv, synthetic.txt and synthetic.png in `out`.

    given: files of weights of a variant (of the recipe's width), whose mean is scored; variants without any are
    pre-trained here, at the budget's cost, and kept. Raises BadExperiment for weights of another shape.
    """
    paths: dict[str, tuple[Path, ...]] = {variant: tuple(files) for variant, files in given.items()}
    chosen = [(label, paths.get(label, ())) for label in (*VARIANTS, CLIMATOLOGY, FAMILY, AGAIN)]
    missing = [one for one in chosen if not _result(setting, *one).exists()]
    share(_do, setting, [[one] for one in missing], workers, told, (0.0, 1.0), "synthetic test", len(missing),
          lambda: sum(_result(setting, *one).exists() for one in missing))  # fmt: skip
    return _write(out, {label: json.loads(_result(setting, label, path).read_text()) for label, path in chosen})


def _result(setting: Setting, label: str, given: Sequence[Path]) -> Path:
    """Given weights are scored anew when they are others or their files change."""
    about = "\n".join(f"{path.resolve()} {path.stat().st_mtime_ns}" for path in given)
    mark = f"-{hashlib.sha256(about.encode()).hexdigest()[:12]}" if given else ""
    return setting.kept / f"synthetic-{label.replace(' ', '-')}{mark}.json"


def _do(setting: Setting, chosen: list[tuple[str, tuple[Path, ...]]]) -> None:
    torch.set_num_threads(1)
    taught = open_teaching(setting.teaching)
    train, validation, test = taught.split(setting.recipe.seed)
    budget = setting.budget
    rng = np.random.default_rng([budget.seed, 7])
    # runs that chose the epoch of a training here are no test of it; those of given weights may have
    others = validation[budget.checked :] if len(validation) > budget.checked else validation
    splits = {
        name: np.sort(rng.choice(runs, min(budget.test_runs, len(runs)), replace=False))
        for name, runs in (("unseen places", test), ("unseen runs", others))
    }
    for label, given in chosen:
        rows: list[dict[str, Any]] = []
        for split, runs in splits.items():
            if label in (FAMILY, AGAIN):
                runs = runs[:: max(1, len(runs) // budget.family_runs)]
                family = budget.family if label == FAMILY else 0
                rows += _rows(split, score(taught, runs, _process(setting, taught, family), family))
            elif label == CLIMATOLOGY:
                rows += _rows(split, score(taught, runs, _climatology(taught, train)))
            else:
                variant: Variant = next(v for v in VARIANTS if v == label)
                networks = _networks(setting, variant, given, taught, train, validation)
                rows += _rows(split, score(taught, runs, of_networks(networks, taught, _recipe(setting, variant))))
        target = _result(setting, label, given)
        target.with_suffix(".part").write_text(json.dumps(rows))
        os.replace(target.with_suffix(".part"), target)


def _rows(split: str, scores: Mapping[tuple[str, str], Sums]) -> list[dict[str, Any]]:
    return [{"split": split, "crops": c, "variable": v, "sums": asdict(s)} for (c, v), s in scores.items()]


def score(taught: Teaching, runs: Runs, says: Says, family: int = 0) -> dict[tuple[str, str], Sums]:
    """Sums by ("all" or "maize and soybean", variable): daily ra, rh, nee, gC m-2 d-1; their yearly sums, the yield,
    the residue (GPP - Ra - yield of the year) and delta_soc, gC m-2 yr-1; "balance", |GPP - Ra - Rh + NEE| of a day;
    "overdrawn", what was respired and harvested over all years without having been fixed, gC m-2 yr-1.

    The means of the last two are their bias. family: how many teachers a mean is of; its own error is taken out.
    """
    both = _maize_and_soybean(taught, runs)
    found: dict[tuple[str, str], list[Sums]] = {}

    def keep(variable: str, seen: Floats, modelled: Floats, which: NDArray[np.bool_]) -> None:
        for name, own in (("all", np.ones(len(seen), bool)), ("maize and soybean", which)):
            found.setdefault((name, variable), []).append(sums_of(seen[own], modelled[own]))

    for at in range(0, len(runs), BATCH):
        part, which = runs[at : at + BATCH], both[at : at + BATCH]
        year_by_year = says(part)
        grown = np.zeros(len(part))
        for year in taught.years:
            truth, made = taught.targets(part, year), year_by_year(year)
            length = made.ra.shape[1]
            gpp, ra, rh = (truth[name][:, :length].astype(np.float64) for name in ("gpp", "ra", "rh"))
            daily = {"ra": ra, "rh": rh, "nee": ra + rh - gpp}
            for name, seen in daily.items():
                keep(name, seen, getattr(made, name), which)
                keep(f"yearly {name}", seen.sum(1), getattr(made, name).sum(1), which)
            keep("yield", truth["yield"], made.harvest, which)
            residue = gpp.sum(1) - made.ra.sum(1) - made.harvest
            keep("residue", truth["residue"], np.where(np.isnan(truth["yield"]), np.nan, residue), which)
            reaped = np.nan_to_num(truth["yield"])
            keep("delta_soc", -daily["nee"].sum(1) - reaped, -made.nee.sum(1) - np.nan_to_num(made.harvest), which)
            keep("balance", np.zeros_like(gpp), np.abs(gpp - made.ra - made.rh + made.nee), which)
            grown += gpp.sum(1) - made.ra.sum(1) - np.nan_to_num(made.harvest)
        keep("overdrawn", np.zeros(len(part)), np.maximum(-grown, 0.0) / len(taught.years), which)
    scores = {key: total(parts) for key, parts in found.items()}
    if not family:
        return scores
    # E[(truth - mean of K)^2] = variance (1 + 1/K), where the truth is one more of the family
    shrink = family / (family + 1)
    return {k: Sums(s.n, s.observed, s.observed2, s.error, s.error2 * shrink) for k, s in scores.items()}


def _maize_and_soybean(taught: Teaching, runs: Runs) -> NDArray[np.bool_]:
    """[run] whether it bears nothing else."""
    return np.asarray(np.all(np.isin(taught.inputs.annual["crop"][runs], MAIZE_SOYBEAN), axis=1), dtype=np.bool_)


def of_networks(networks: Sequence[AnyNetwork], taught: Taught, recipe: NetworkRecipe) -> Says:
    """What networks say in the mean, after a spin-up on the first two years, with the teacher's GPP."""

    def says(runs: Runs) -> Callable[[int], Made]:
        synthetic = Synthetic(taught, runs, runs, recipe)
        carries: list[Carry | None] = [None] * len(networks)

        def of_year(year: int) -> Made:
            said = []
            with torch.inference_mode():
                days, _ = synthetic.year(runs, year, None)
                for k, network in enumerate(networks):
                    out, carries[k] = network(days, carries[k])
                    said.append(out)
            return Made(*(np.mean([getattr(o, n).numpy() for o in said], axis=0, dtype=float) for n in Made.__slots__))

        for year in taught.years[:SPIN_UP]:
            of_year(year)
        return of_year

    return says


def _climatology(taught: Teaching, train: Runs) -> Says:
    """The mean of the training runs by crop of the year and day of year; the yield by crop."""
    some = train[:: max(1, len(train) // 1000)]
    shape = (4, 366)
    sums = {name: np.zeros(shape) for name in DAILY}
    days, harvest, years = np.zeros(shape), np.zeros(4), np.zeros(4)
    crops = crop_index(taught.inputs.annual["crop"])
    for y, year in enumerate(taught.years):
        truth, crop = taught.targets(some, year), crops[some, y]
        parts = {**truth, "nee": truth["ra"] + truth["rh"] - truth["gpp"]}
        length = truth["ra"].shape[1]
        for k in range(4):
            here = crop == k
            for name in DAILY:
                sums[name][k, :length] += parts[name][here].sum(0)
            days[k, :length] += here.sum()
            weighed = truth["yield"][here]
            harvest[k] += np.nansum(weighed)
            years[k] += np.isfinite(weighed).sum()
    mean = {name: v / np.maximum(days, 1) for name, v in sums.items()}
    reaped = harvest / np.maximum(years, 1)

    def says(runs: Runs) -> Callable[[int], Made]:
        def of_year(year: int) -> Made:
            crop = crops[runs, taught.years.index(year)]
            length = taught.starts[year + 1] - taught.starts[year]
            ra, rh, nee = (mean[name][crop, :length] for name in DAILY)
            return Made(ra, rh, nee, reaped[crop])

        return of_year

    return says


def _process(setting: Setting, taught: Teaching, family: int) -> Says:
    """The mean of other teachers with the run's own GPP, or, of a family of none, its own teacher once more."""
    model = process_of(setting.recipe)

    def says(runs: Runs) -> Callable[[int], Made]:
        rng = np.random.default_rng([setting.budget.seed, 8])
        if family:
            mean = family_mean(setting.teaching, taught, model, runs, family, rng)
        else:
            mean = same_teacher(setting.teaching, taught, model, runs)

        def of_year(year: int) -> Made:
            days = slice(taught.starts[year], taught.starts[year + 1])
            ra, rh = mean["ra"][:, days], mean["rh"][:, days]
            gpp = taught.targets(runs, year)["gpp"]
            return Made(ra, rh, ra + rh - gpp, mean["yield"][:, taught.years.index(year)])

        return of_year

    return says


def _recipe(setting: Setting, variant: Variant) -> NetworkRecipe:
    budget: Budget = setting.budget
    stages = Stages(yield_and_ra=budget.synthetic_first, fluxes=budget.synthetic_second)
    knowing = variant != "plain"
    return setting.recipe.network.model_copy(
        update={"variant": variant, "gpp": True, "pretrained": True, "knowledge": knowing, "stages": stages}
    )


def _networks(
    setting: Setting, variant: Variant, given: Sequence[Path], taught: Teaching, train: Runs, validation: Runs
) -> list[AnyNetwork]:
    """Of given weights, or one that is pre-trained here."""
    if not given:
        return [_pretrained(setting, variant, taught, train, validation)]
    found: list[AnyNetwork] = []
    for path in given:
        network = build(_recipe(setting, variant), setting.budget.seed)
        try:
            network.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
        except RuntimeError as error:
            raise BadExperiment(
                f"The weights {path} are not those of the {variant} variant with a width of "
                f"{setting.recipe.network.hidden}. Give the recipe that they were trained by."
            ) from error
        found.append(network.eval())
    return found


def _pretrained(setting: Setting, variant: Variant, taught: Teaching, train: Runs, validation: Runs) -> AnyNetwork:
    """Closed and paper by steps 1 and 2, plain on everything at once; kept."""
    recipe, budget = _recipe(setting, variant), setting.budget
    network = build(recipe, budget.seed)
    own = setting.kept / f"synthetic-{variant}.pt"
    if own.exists():
        network.load_state_dict(torch.load(own, weights_only=True))
        return network.eval()

    def suited(runs: Runs) -> Runs:
        """The published network knows maize and soybean: runs of those alone."""
        kept = runs[_maize_and_soybean(taught, runs)] if variant == "paper" else runs
        return np.asarray(kept if len(kept) else runs)

    synthetic = Synthetic(taught, suited(train), suited(validation[: budget.checked]), recipe)
    pace = recipe.pace
    # what is broken off goes on at its epoch
    watch = Watch(folder=setting.kept / f"synthetic-{variant}")
    first, second = recipe.stages.yield_and_ra, recipe.stages.fluxes
    if recipe.knowledge:
        pretrain(network, synthetic, "yield_and_ra", first, budget.seed, watch, lambda e: pace.start * pace.growth**e)
        pretrain(network, synthetic, "fluxes", second, budget.seed, watch)
    else:
        both = first.model_copy(update={"epochs": first.epochs + second.epochs})
        pretrain(network, synthetic, "everything", both, budget.seed, watch)
    torch.save(network.state_dict(), own.with_suffix(".part"))
    os.replace(own.with_suffix(".part"), own)
    return network.eval()


def _write(out: Path, results: Mapping[str, list[dict[str, Any]]]) -> list[Path]:
    head = ("model", "split", "crops", "variable", "n", "r2", "rmse", "bias")
    rows = []
    for label, found in results.items():
        for row in found:
            s = Sums(**row["sums"])
            rows.append((label, row["split"], row["crops"], row["variable"], s.n, s.r2, s.rmse, s.bias))
    written = write_csv(out / "synthetic.csv", head, rows)
    of = {(r[0], r[1], r[2], r[3]): r for r in rows}
    variables = ("ra", "rh", "nee", "yield", "residue", "yearly ra", "yearly rh", "yearly nee", "delta_soc")
    lines: list[list[object]] = []
    for split in dict.fromkeys(r[1] for r in rows):
        for crops in dict.fromkeys(r[2] for r in rows):
            for label in results:
                if label == "paper" and crops == "all":
                    continue  # it knows maize and soybean only
                own = [of.get((label, split, crops, name)) for name in (*variables, "balance", "overdrawn")]
                said = [f"{r[5]:.3f} ({r[6]:.3g})" if r is not None else "" for r in own[:-2]]
                lines.append([split, crops, label, *said, *(f"{r[7]:.3g}" if r is not None else "" for r in own[-2:])])
    columns = ["split", "crops", "model", *variables, "mass balance", "overdrawn"]
    text = out / "synthetic.txt"
    text.write_text(
        "R2 (RMSE) against the teacher on unseen runs; daily values in gC m-2 d-1, yearly ones in gC m-2 yr-1. The "
        "family of teachers: the mean of other parameter sets with the run's own GPP, about the best that can be said "
        "without seeing the teacher's parameters. Teacher again: the run's own parameter set with its own GPP "
        "given, which is not quite the run: what of the family's error is the process model's. Mass balance: mean "
        "|GPP - Ra - Rh + NEE|, gC m-2 d-1. Overdrawn: carbon respired and harvested over the years without having "
        "been fixed, gC m-2 yr-1.\n\n" + as_table(columns, lines)
    )
    return [written, text, *plot_synthetic(out, {key: row[5] for key, row in of.items()}, list(results))]
