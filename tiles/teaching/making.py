"""Making a teaching set: runs of a family of process models, chunk by chunk, into a folder."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fieldflux.models.card import Card
from fieldflux.models.contract import Floats, Prediction
from fieldflux.models.crops import CROPS
from fieldflux.models.processes.agroecosystem.model import Agroecosystem
from fieldflux.models.registry import Registry
from fieldflux.tiles.files import disk_faults, write_whole
from fieldflux.tiles.sources.progress import quiet
from numpy.typing import NDArray

from .reading import ABOUT, CHUNKS, DAILY, FORMAT, RUNS, WEATHER, Teaching, days_in, open_teaching
from .recipe import BadTeaching, Limits, TeachingRecipe
from .runs import Rows, Runs, draw_rows, joined, weather_table, whole_record
from .seasons import Kinds, sample_kinds, sample_seasons
from .soils import sample_soils
from .teachers import draw_teacher
from .weather import Source, read_sources

Progress = Callable[[float, str], None]
DRY_SUMMER = 1.0  # mm d-1
HEAT_CLASSES = 6
CALIBRATED_HEAT = 1990.0  # K d, May to September above 8 degC, of the Mead towers


class TeachingStopped(ValueError):
    """The making of a teaching set was stopped on request."""


def teach(
    recipe: TeachingRecipe,
    data_dir: Path,
    folder: Path,
    progress: Progress = quiet,
    cancelled: Callable[[], bool] = lambda: False,
) -> Teaching:
    """Make the teaching set of a recipe from a folder of measurements, of which it takes the weather alone.

    What is in `folder` already is kept: the same call goes on where it was stopped. About 60 bytes per run and day.
    Raises BadTeaching where the folder holds the set of another recipe or other weather, the teacher is no
    agro-ecosystem model, or too many runs are refused; TeachingStopped.
    """
    progress(0.0, "reading weather")
    return teach_with(recipe, read_sources(data_dir), folder, progress, cancelled)


def teach_with(
    recipe: TeachingRecipe,
    sources: Sequence[Source],
    folder: Path,
    progress: Progress = quiet,
    cancelled: Callable[[], bool] = lambda: False,
) -> Teaching:
    """As `teach`, with the weather given."""
    model = Registry().load(recipe.teacher)
    if not isinstance(model, Agroecosystem):
        raise BadTeaching(f"The teacher must be an agro-ecosystem model; '{recipe.teacher}' is none.")
    years = tuple(range(recipe.years[0], recipe.years[1] + 1))
    table, of_row, leap = weather_table(sources)
    calibrated = _members(np.asarray(model.table), recipe)
    plan = _Plan(recipe, model.card, calibrated, tuple(sources), years, table, of_row, leap)
    with disk_faults("the teaching set", folder):
        _begin(plan, folder)
        if not (folder / RUNS).is_file():
            kept = {name: _open(folder / f"{name}.npy", recipe.runs, days_in(years)) for name in _daily(recipe)}
            for chunk in range(recipe.chunks):
                path = folder / CHUNKS / f"{chunk:05d}.npz"
                if not path.is_file():
                    if cancelled():
                        raise TeachingStopped(
                            f"Stopped after {chunk} of {recipe.chunks} chunks of the teaching set in {folder}. The "
                            f"same command goes on from there."
                        )
                    _write_chunk(plan, chunk, kept, path, folder)
                made = min((chunk + 1) * recipe.per_teacher, recipe.runs)
                progress((chunk + 1) / recipe.chunks, f"running the teachers: {made} of {recipe.runs} runs")
            _finish(plan, folder)
    return open_teaching(folder)


def _members(table: Floats, recipe: TeachingRecipe) -> Floats:
    if recipe.member is None:
        return table
    if recipe.member >= len(table):
        raise BadTeaching(
            f"The recipe's member is {recipe.member}; the members of '{recipe.teacher}' are 0 to {len(table) - 1}."
        )
    return table[recipe.member : recipe.member + 1]


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    recipe: TeachingRecipe
    card: Card
    calibrated: Floats
    sources: tuple[Source, ...]
    years: tuple[int, ...]
    table: Rows
    of_row: NDArray[np.int64]
    leap: NDArray[np.bool_]

    def chances(self) -> Floats:
        """[source] chance of each. Places count by the root of their source years, so that 35 neighbouring counties do
        not outweigh all others; a place's sources share its chance."""
        elsewhere = np.array([s.elsewhere for s in self.sources])
        weight = np.zeros(len(self.sources))
        for group in sorted({s.group for s in self.sources}):
            for estimated in (False, True):
                own = [k for k, s in enumerate(self.sources) if (s.group, s.estimated) == (group, estimated)]
                if own:
                    count = sum(len(self.sources[k].years) for k in own)
                    weight[own] = np.sqrt(count) / len(own) * (self.recipe.estimated if estimated else 1.0)
        shares = np.zeros(len(self.sources))
        for there, share in ((elsewhere, self.recipe.elsewhere), (~elsewhere, 1.0 - self.recipe.elsewhere)):
            shares += np.where(there, weight, 0.0) / max(weight[there].sum(), 1e-9) * share
        return np.asarray(shares / shares.sum())

    def places(self, rng: np.random.Generator, n: int) -> NDArray[np.int64]:
        """[n] sources of one class of summer heat, since the runs of a chunk share a teacher and its varieties."""
        chances = self.chances()
        order = np.argsort([s.summer_heat for s in self.sources], kind="stable")
        below = np.cumsum(chances[order]) - 0.5 * chances[order]
        classes = np.empty(len(order), np.int64)
        classes[order] = np.minimum((below * HEAT_CLASSES).astype(np.int64), HEAT_CLASSES - 1)
        own = classes == classes[rng.choice(len(chances), p=chances)]
        within = np.where(own, chances, 0.0)
        return np.asarray(rng.choice(len(chances), n, p=within / within.sum()))

    def draw(self, rng: np.random.Generator, source: NDArray[np.int64], kinds: Kinds) -> Runs:
        """Runs in the weather of some sources, of some rotations: years of weather, soil, dates and management."""
        n = len(source)
        dry = np.array([s.summer_rain < DRY_SUMMER for s in self.sources])[source]
        irrigated = np.where(dry, self.recipe.irrigated_dry, self.recipe.irrigated)
        soil = sample_soils(rng, n)
        latitude = np.array([s.latitude for s in self.sources])[source]
        return Runs(
            source,
            draw_rows(rng, source, self.years, self.of_row, self.leap),
            sample_seasons(rng, kinds, irrigated, len(self.years)),
            {"latitude": latitude} | soil,
        )


def _begin(plan: _Plan, folder: Path) -> None:
    """Lay out the folder, or check that it is this recipe's."""
    path = folder / ABOUT
    digest = hashlib.sha256(plan.table.tobytes()).hexdigest()
    if path.is_file():
        about = json.loads(path.read_text())
        if about.get("format") != FORMAT or about.get("digest") != plan.recipe.digest():
            raise BadTeaching(f"{folder} holds the teaching set of another recipe. Choose another folder.")
        if about.get("weather") != digest:
            raise BadTeaching(
                f"{folder} was begun with other weather. Choose another folder, or the data it began with."
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise BadTeaching(f"{folder} is not empty and holds no teaching set. Choose another folder.")
    (folder / CHUNKS).mkdir()
    write_whole(folder / WEATHER, _npy(plan.table), folder)
    about = {
        "format": FORMAT,
        "digest": plan.recipe.digest(),
        "recipe": plan.recipe.model_dump(mode="json"),
        "weather": digest,
        "teacher": {"model": plan.card.id, "weights_sha256": plan.card.weights_sha256},
        "sources": [
            {
                "name": s.name,
                "group": s.group,
                "years": list(s.years),
                "latitude": round(s.latitude, 3),
                "elsewhere": s.elsewhere,
                "estimated": s.estimated,
                "note": s.note,
            }
            for s in plan.sources
        ],
    }
    # The last file to appear: a folder without it is not begun.
    write_whole(path, json.dumps(about, indent=1).encode(), folder)


def _write_chunk(plan: _Plan, chunk: int, kept: dict[str, Any], path: Path, root: Path) -> None:
    recipe = plan.recipe
    first = chunk * recipe.per_teacher
    wanted = min(recipe.per_teacher, recipe.runs - first)
    rng = np.random.default_rng([recipe.seed, chunk])
    refused: Counter[str] = Counter()
    taken: list[Runs] = []
    teachers, of_run, harvest, residue = [], [], [], []
    done = 0
    places, kinds = plan.places(rng, wanted), sample_kinds(rng, recipe.rotations, wanted)
    heat = np.array([s.summer_heat for s in plan.sources])
    for attempt in range(recipe.tries):
        if attempt and attempt % 4 == 0:
            # a place where nothing grows must not hold up the others
            places = plan.places(rng, len(places))
        warmth = float(np.clip(heat[places].mean() / CALIBRATED_HEAT, 0.6, 1.1))
        teacher = draw_teacher(
            rng, plan.calibrated, warmth, recipe.scatter, recipe.eta_h_scatter, recipe.constants_scatter
        )
        runs = plan.draw(rng, places, kinds)
        made = Agroecosystem(plan.card, teacher[None]).predict(whole_record(runs, plan.table, plan.years))
        good, why = judge(made, runs, recipe.limits)
        refused += why
        count = int(good.sum())
        at = slice(first + done, first + done + count)
        for name, array in kept.items():
            array[at] = made.daily[name][0, good]
        taken.append(runs.of(good))
        teachers.append(teacher)
        of_run += [attempt] * count
        harvest.append(made.annual["yield"][0, good])
        residue.append(made.annual["residue"][0, good])
        done += count
        places, kinds = places[~good], kinds[~good]
        if done == wanted:
            break
    else:
        told = ", ".join(f"{name} {n}" for name, n in refused.most_common())
        raise BadTeaching(
            f"After {recipe.tries} teachers chunk {chunk} has only {done} of {wanted} runs within the recipe's limits "
            f"(refused: {told}). Widen the limits, or lower the scatter."
        )
    for array in kept.values():
        array.flush()
    runs = joined(taken)
    arrays: dict[str, NDArray[Any]] = {
        "source": runs.source.astype(np.int16),
        "rows": runs.rows.astype(np.int32),
        "teacher": np.array([chunk * recipe.tries + k for k in of_run], np.int32),
        "yield": np.concatenate(harvest),
        "residue": np.concatenate(residue),
        "teachers": np.stack(teachers),
        "refused": np.array(json.dumps(refused)),
    }
    arrays |= {f"annual/{name}": values for name, values in runs.annual.items()}
    arrays |= {f"static/{name}": values for name, values in runs.static.items()}
    write_whole(path, _npz(arrays), root)


def judge(made: Prediction, runs: Runs, limits: Limits) -> tuple[NDArray[np.bool_], Counter[str]]:
    """[run] whether a run is within the limits, and how many were not, by the first reason that each has."""
    years = made.annual["yield"].shape[-1]
    gpp, ra, rh = (made.daily[name][0].astype(np.float64).sum(axis=1) / years for name in ("gpp", "ra", "rh"))
    harvest = made.annual["yield"][0].astype(np.float64)
    total = harvest.mean(axis=1)
    reasons: dict[str, NDArray[np.bool_]] = {
        "not a number": ~np.isfinite(gpp + ra + rh + total),
        "gpp": _outside(gpp, limits.gpp),
        "ra": _outside(ra / np.maximum(gpp, 1e-9), limits.ra_share),
        "delta_soc": _outside(made.annual["delta_soc"][0].mean(axis=1), limits.delta_soc),
    }
    for name, range_ in limits.harvest.items():
        own = np.isin(runs.annual["crop"], CROPS[name].cdl)
        mean = np.where(own, harvest, 0.0).sum(axis=1) / np.maximum(own.sum(axis=1), 1)
        reasons[f"harvest of {name}"] = own.any(axis=1) & _outside(mean, range_)
    bad = np.zeros(len(gpp), bool)
    why: Counter[str] = Counter()
    for name, here in reasons.items():
        why[name] += int((here & ~bad).sum())
        bad |= here
    return ~bad, +why


def _outside(values: Floats, limits: tuple[float, float]) -> NDArray[np.bool_]:
    return np.asarray(~((values >= limits[0]) & (values <= limits[1])))


def _finish(plan: _Plan, folder: Path) -> None:
    parts: list[dict[str, Any]] = []
    for chunk in range(plan.recipe.chunks):
        with np.load(folder / CHUNKS / f"{chunk:05d}.npz") as file:
            parts.append({name: file[name] for name in file.files})
    refused: Counter[str] = Counter()
    for part in parts:
        refused += Counter(json.loads(str(part.pop("refused"))))
        part.pop("teachers")
    arrays = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    arrays["refused"] = np.array(json.dumps(dict(refused)))
    write_whole(folder / RUNS, _npz(arrays), folder)
    shutil.rmtree(folder / ".unfinished", ignore_errors=True)


def _daily(recipe: TeachingRecipe) -> tuple[str, ...]:
    return (*DAILY, *recipe.also)


def _open(path: Path, runs: int, days: int) -> Any:
    if path.is_file():
        return np.lib.format.open_memmap(path, mode="r+")
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(runs, days))


def _npy(array: NDArray[Any]) -> bytes:
    blob = io.BytesIO()
    np.save(blob, array)
    return blob.getvalue()


def _npz(arrays: dict[str, Any]) -> bytes:
    blob = io.BytesIO()
    np.savez(blob, **arrays)
    return blob.getvalue()
