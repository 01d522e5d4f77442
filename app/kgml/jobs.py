"""The jobs of a KGML training, each its own process and its own folder: what is there is not done again."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from threading import Thread

import numpy as np
import torch
from fieldflux.app.evaluate.yieldsplit import split_yields
from fieldflux.models.contract import Floats
from fieldflux.models.kgml.closed import Closed
from fieldflux.models.kgml.lessons import Lesson, walk
from fieldflux.models.kgml.network import Carry, Outputs
from fieldflux.models.kgml.paper import Paper
from fieldflux.models.kgml.plain import Plain
from fieldflux.models.kgml.responses import Probe
from fieldflux.models.kgml.steps import (
    Progress,
    Synthetic,
    Watch,
    build,
    pretrain,
    probe_of,
    tune_fluxes,
    tune_harvest,
    tune_yields,
)
from fieldflux.models.processes.agroecosystem.model import Agroecosystem
from fieldflux.models.registry import Registry
from fieldflux.tiles.measurements import read_towers
from fieldflux.tiles.measurements.panel import read_panel
from fieldflux.tiles.teaching import open_teaching

from .places import county_lessons, tower_lessons
from .recipe import KgmlRecipe

Told = Callable[[float, str], None]
SPAN = 4  # years of the probe's runs before its curves are taken


@dataclass(frozen=True, slots=True)
class Job:
    """One network: member `member`, without the towers of fold `fold` (None: with all of them).

    part: folder in `work` of networks of another recipe that are trained along; "" for the recipe's own.
    """

    recipe: KgmlRecipe
    data: Path
    teaching: Path
    work: Path
    member: int
    fold: int | None = None
    part: str = ""

    @property
    def folder(self) -> Path:
        """Where it keeps what it has done."""
        return self.work / self.part / f"member-{self.member}"

    @property
    def result(self) -> Path:
        """Its weights when it is done."""
        return self.folder / ("final.pt" if self.fold is None else f"fold-{self.fold}.pt")

    @property
    def name(self) -> str:
        return f"{self.part} member {self.member}".strip() + ("" if self.fold is None else f", fold {self.fold}")


def synthetic_weights(job: Job) -> Path:
    """Weights after steps 1 and 2."""
    return job.folder / "synthetic.pt"


def pretrained(job: Job) -> Path:
    """Weights after steps 1 to 4, which the folds share."""
    return job.folder / "pretrained.pt"


def prepare(job: Job) -> None:
    """Steps 1 and 2 of a member: on synthetic runs."""
    if synthetic_weights(job).exists():
        return
    _quietly()
    network_recipe, seed = job.recipe.network, _seed(job)
    network = build(network_recipe, seed).to(_device())
    stages, pace = network_recipe.stages, network_recipe.pace
    watch = _watch(job, "synthetic")

    def threshold(epoch: int) -> float:
        return pace.start * pace.growth**epoch

    if network_recipe.pretrained and network_recipe.knowledge:
        synthetic = _synthetic(job)
        pretrain(network, synthetic, "yield_and_ra", stages.yield_and_ra, seed, watch, threshold)
        pretrain(network, synthetic, "fluxes", stages.fluxes, seed, watch)
    elif network_recipe.pretrained:
        pretrain(network, _synthetic(job), "everything", stages.fluxes, seed, watch)
    _save(synthetic_weights(job), network.state_dict())


def harvest(job: Job) -> None:
    """Steps 3 and 4 of a member: on county yields, and the fluxes once more on synthetic runs."""
    if pretrained(job).exists():
        return
    _quietly()
    recipe, seed = job.recipe.network, _seed(job)
    network = _loaded(job, synthetic_weights(job))
    watch = _watch(job, "pretrained")
    counties, checks = county_sets(job)
    if counties and recipe.stages.county_yields.epochs:
        tune_yields(network, counties, checks, recipe, seed, watch, _drawn(counties, seed))
        if recipe.pretrained and recipe.knowledge:
            pretrain(network, _synthetic(job), "fluxes_again", recipe.stages.fluxes_again, seed, watch)
    _save(pretrained(job), network.state_dict())


def _seed(job: Job) -> int:
    return job.recipe.seed * 1000 + job.member


def _loaded(job: Job, path: Path) -> Closed | Paper | Plain:
    network = build(job.recipe.network, _seed(job)).to(_device())
    network.load_state_dict(torch.load(path, weights_only=True, map_location=_device()))
    return network.eval()


def tune(job: Job) -> None:
    """Step 5 of a member, with all towers or without those of a fold, whose predictions are then written."""
    if job.result.exists():
        return
    _quietly()
    recipe, seed = job.recipe, _seed(job)
    network = _loaded(job, pretrained(job))
    held = frozenset(() if job.fold is None else recipe.folds[job.fold])
    learning = tower_set(job, recipe.train, held)
    checks = tower_set(job, recipe.validation, held)
    watch = _watch(job, job.result.stem)
    tune_fluxes(network, learning, checks, recipe.network, seed, watch, _drawn(learning, seed), _probe(job, network))
    counties, county_checks = county_sets(job) if job.fold is None else ([], [])
    if counties and isinstance(network, Closed):
        every = [*counties, *county_checks]
        tune_harvest(network, every, recipe.network, seed, watch)
    if job.fold is not None:
        away = [one for one in tower_set(job, None, frozenset()) if one.group in held]
        write_walk(job.folder / f"fold-{job.fold}.npz", network, away)
    _save(job.result, network.state_dict())


def tower_set(job: Job, years: dict[str, tuple[int, ...]] | None, without: frozenset[str]) -> list[Lesson]:
    """Lessons of the towers in `years` (None: of all, with no year to learn from), but not of the groups `without`."""
    process = _process(job.recipe)
    found: list[Lesson] = []
    for tower in read_towers(job.data):
        if tower.group not in without and (years is None or tower.site in years):
            own = () if years is None else years[tower.site]
            found += tower_lessons(tower, process, job.recipe.network.variant, own)
    return found


def county_sets(job: Job) -> tuple[list[Lesson], list[Lesson]]:
    """Lessons of the training counties: of the years to learn from, and of those to check by."""
    panel = read_panel(job.data)
    years = split_yields(panel).train_counties(panel)
    checking = set(job.recipe.validation_years)
    process, variant = _process(job.recipe), job.recipe.network.variant
    learn = {fips: [y for y in own if y not in checking] for fips, own in years.items()}
    check = {fips: [y for y in own if y in checking] for fips, own in years.items()}
    found = [county_lessons(panel, process, variant, chosen) for chosen in (learn, check)]
    return [one for one in found[0] if one.train], [one for one in found[1] if one.train]


def _drawn(lessons: Sequence[Lesson], seed: int) -> dict[str, float]:
    """Lesson's name -> weight of its site-years: a bootstrap of the groups, over the root of the group's years.

    The root stands between every year alike, which lets the longest record rule, and every place alike.
    """
    groups = sorted({one.group for one in lessons})
    counts = np.random.default_rng([seed, 5]).multinomial(len(groups), np.full(len(groups), 1 / len(groups)))
    drawn = dict(zip(groups, counts.tolist(), strict=True))
    years = {g: sum(len(one.train) for one in lessons if one.group == g) for g in groups}
    return {one.name: drawn[one.group] / max(years[one.group], 1) ** 0.5 for one in lessons}


def write_walk(path: Path, network: Closed | Paper | Plain, lessons: Sequence[Lesson]) -> None:
    """What a network says of lessons, all years: "<name>|<variable>" -> [B, D], and "<name>|start" as an ISO date."""
    found: dict[str, list[Floats]] = {}

    def visit(one: Lesson, year: int, _: Carry, out: Outputs) -> None:
        length = one.days[year].gpp.shape[1]
        for name in ("ra", "rh", "nee"):
            found.setdefault(f"{one.name}|{name}", []).append(getattr(out, name)[:, :length].cpu().numpy())
        found.setdefault(f"{one.name}|gpp", []).append(one.days[year].gpp.numpy())
        found.setdefault(f"{one.name}|harvest", []).append(out.harvest[:, None].cpu().numpy())

    if lessons:
        walk(network, lessons, visit)
    starts = {f"{one.name}|start": np.array(f"{one.years[0]}-01-01") for one in lessons}
    np.savez_compressed(path, **{n: np.concatenate(v, axis=1) for n, v in found.items()}, **starts)  # type: ignore[arg-type]


@contextmanager
def worker_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end with this one, however it ends. They start with the first job; an error ends what waits."""
    with ProcessPoolExecutor(workers, get_context("spawn"), _follow, (os.getpid(),)) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def run_jobs(jobs: Sequence[Job], what: Callable[[Job], None], pool: ProcessPoolExecutor, told: Told) -> None:
    """Do the jobs, as many at a time as the pool has processes, and tell of them. The first error is raised."""
    begun = time.monotonic()
    waiting: set[Future[None]] = {pool.submit(what, job) for job in jobs}
    done = 0
    while waiting:
        ended, waiting = wait(waiting, timeout=5.0, return_when=FIRST_COMPLETED)
        for one in ended:
            one.result()
        done += len(ended)
        told(done / len(jobs), f"{done} of {len(jobs)} done, {_news(jobs)}, {time.monotonic() - begun:.0f} s")


def _follow(parent: int) -> None:
    """End this worker when its parent is gone: a killed training leaves nobody behind who goes on with it."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(2.0)
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def _news(jobs: Sequence[Job]) -> str:
    said = []
    for job in jobs:
        for path in job.folder.glob("*.progress.json"):
            if time.time() - path.stat().st_mtime < 60:
                p = json.loads(path.read_text())
                said.append(
                    f"{job.member}: {p['step']} {p['epoch']}/{p['epochs']} {p['loss']:.3f}/{p['validation']:.3f}"
                )
    return "; ".join(sorted(set(said)))


def _watch(job: Job, name: str) -> Watch:
    job.folder.mkdir(parents=True, exist_ok=True)
    log, now = job.folder / f"{name}.log", job.folder / f"{name}.progress.json"

    def told(p: Progress) -> None:
        part = now.with_suffix(".part")
        part.write_text(json.dumps(asdict(p)))
        os.replace(part, now)
        with log.open("a") as file:
            file.write(
                f"{p.step} {p.epoch}/{p.epochs} loss {p.loss:.4f} validation {p.validation:.4f} {p.seconds:.0f} s\n"
            )

    return Watch(told, lambda: (job.work / "stop").exists(), job.folder / name)


def _synthetic(job: Job) -> Synthetic:
    taught = open_teaching(job.teaching)
    train, validation, _ = taught.split(job.recipe.seed)
    train = _suited(job, train)
    return Synthetic(taught, train, _suited(job, validation), job.recipe.network, _device())


def _suited(job: Job, runs: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """The published network knows maize and soybean: runs of those alone."""
    if job.recipe.network.variant != "paper":
        return runs
    crops = open_teaching(job.teaching).inputs.annual["crop"][runs]
    return np.asarray(runs[np.isin(crops, (1, 5)).all(axis=1)])


def _probe(job: Job, network: Closed | Paper | Plain) -> Probe | None:
    """None for networks that keep no responses, which need no synthetic runs at all."""
    recipe = job.recipe.network
    if not (recipe.pretrained and recipe.knowledge and recipe.band > 0):
        return None
    synthetic = _synthetic(job)
    return probe_of(network, synthetic, synthetic.validation[:4], SPAN)


def _process(recipe: KgmlRecipe) -> Agroecosystem:
    model = Registry().load(recipe.process)
    if not isinstance(model, Agroecosystem):
        raise ValueError(f"A KGML recipe's process must be an agro-ecosystem model; '{recipe.process}' is none.")
    return model


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _quietly() -> None:
    """One thread: the jobs share the machine's cores among themselves."""
    torch.set_num_threads(1)


def _save(path: Path, state: dict[str, torch.Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({n: v.cpu() for n, v in state.items()}, path.with_suffix(".part"))
    os.replace(path.with_suffix(".part"), path)
