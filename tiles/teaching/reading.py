"""A finished teaching set, as a trainer reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from fieldflux.models.contract import Forcing
from numpy.typing import NDArray

from .recipe import BadTeaching, TeachingRecipe
from .runs import Rows, Runs, co2_of_years, whole_record, year_of_weather

ABOUT, RUNS, WEATHER, CHUNKS = "about.json", "runs.npz", "weather.npy", "chunks"
FORMAT = 1
DAILY = ("gpp", "ra", "rh")
TEST_SHARE, VALIDATION_SHARE = 0.1, 0.05

Indices = NDArray[np.int64]
Half = NDArray[np.float16]


@dataclass(frozen=True, slots=True, eq=False)
class Teaching:
    """Runs of a family of process models: what went in, and the daily fluxes and harvests that came out.

    sources: [run] index in source_names. groups: [source] place; sources of one lie together. teacher: [run] number of
    its parameter set. refused: how many runs were drawn anew, by reason.
    """

    years: tuple[int, ...]
    runs: int
    sources: Indices
    source_names: tuple[str, ...]
    groups: tuple[str, ...]
    teacher: Indices
    recipe: TeachingRecipe
    refused: Mapping[str, int]
    inputs: Runs
    weather: Rows
    daily: Mapping[str, Half]
    annual: Mapping[str, NDArray[np.float32]]
    co2: Mapping[int, Rows]
    starts: Mapping[int, int]

    def forcing(self, runs: Indices, year: int) -> Forcing:
        """The inputs of one calendar year, cells = runs, with the teacher's GPP as given GPP.

        Weather rows are shared by runs that drew the same year of the same source. Annual inputs are those of the year
        and of the one after it; after the last year, its own again. Raises BadTeaching for another year.
        """
        y = self._year(year)
        rows, weather = np.unique(self.inputs.rows[runs, y], return_inverse=True)
        columns = [y, min(y + 1, len(self.years) - 1)]
        unit = np.arange(len(runs))
        return Forcing(
            start=date(year, 1, 1),
            years=(year, year + 1),
            daily=year_of_weather(self.weather, rows, year, self.co2[year]),
            weather=weather.astype(np.int64),
            annual={name: values[runs][:, columns] for name, values in self.inputs.annual.items()},
            static={name: values[runs] for name, values in self.inputs.static.items()},
            gpp_given=self._days("gpp", runs, year),
            gpp_unit=np.stack([unit, unit], axis=1),
        )

    def targets(self, runs: Indices, year: int) -> dict[str, NDArray[np.float32]]:
        """What the teacher made of a year: "gpp", "ra", "rh" (and what the recipe kept beside) [n, D], gC m-2 d-1;
        "yield" and "residue" [n], gC m-2 yr-1, NaN where there is none."""
        y = self._year(year)
        daily = {name: self._days(name, runs, year) for name in self.daily}
        return daily | {name: values[runs, y] for name, values in self.annual.items()}

    def usual_harvest(self, runs: Indices, year: int) -> NDArray[np.float64]:
        """[n] mean harvest of the same crop in the run's other years, gC m-2; NaN where it has none."""
        y = self._year(year)
        crop = np.asarray(self.inputs.annual["crop"])[runs]
        harvest = np.asarray(self.annual["yield"], dtype=np.float64)[runs]
        same = (crop == crop[:, [y]]) & np.isfinite(harvest)
        same[:, y] = False
        count = same.sum(axis=1)
        total = np.where(same, harvest, 0.0).sum(axis=1)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    def record(self, runs: Indices) -> Forcing:
        """All the years of some runs at once, as the teacher read them: without given GPP."""
        return whole_record(self.inputs.of(runs), self.weather, self.years)

    def split(self, seed: int = 0) -> tuple[Indices, Indices, Indices]:
        """Runs to train on, to validate on and to test on; every run is in one of them.

        Test: all runs of whole groups of sources, at least a tenth of all runs, so that neither their weather nor their
        soils are trained on; the three bands of Iowa are groups and neighbours, and less of a test than the others.
        Validation: of the others those of a twentieth of the teachers, in weather that is trained on. Raises
        BadTeaching with fewer than two groups or two teachers.
        """
        rng = np.random.default_rng(seed)
        group = np.array(self.groups)[self.sources]
        names = np.unique(group)
        teachers = np.unique(self.teacher)
        if len(names) < 2 or len(teachers) < 2:
            raise BadTeaching(
                f"A split needs runs of at least two places and two teachers; this set has {len(names)} and "
                f"{len(teachers)}. Make one with more runs."
            )
        held: list[str] = []
        for name in rng.permutation(names)[: len(names) - 1]:
            share = float((group == name).mean())
            # a place that most runs are in is no test, but the training itself
            if share < 2.5 * TEST_SHARE:
                held.append(str(name))
            if float(np.isin(group, held).mean()) >= TEST_SHARE:
                break
        test = np.isin(group, held or names[:1])
        new = rng.choice(teachers, max(1, round(VALIDATION_SHARE * len(teachers))), replace=False)
        validation = ~test & np.isin(self.teacher, new)
        train = ~test & ~validation
        return np.flatnonzero(train), np.flatnonzero(validation), np.flatnonzero(test)

    def _year(self, year: int) -> int:
        if year not in self.years:
            raise BadTeaching(f"The teaching set has the years {self.years[0]} to {self.years[-1]}; asked for: {year}.")
        return self.years.index(year)

    def _days(self, name: str, runs: Indices, year: int) -> NDArray[np.float32]:
        first = self.starts[year]
        return np.asarray(self.daily[name][runs, first : self.starts[year + 1]], np.float32)


def open_teaching(folder: Path) -> Teaching:
    """The teaching set of a folder. Raises BadTeaching where there is none, or it is not finished."""
    try:
        about = json.loads((folder / ABOUT).read_text())
    except (OSError, ValueError) as error:
        raise BadTeaching(
            f"{folder} holds no teaching set: {ABOUT}: {error}. Make one with `fieldflux teach`."
        ) from error
    if about.get("format") != FORMAT:
        raise BadTeaching(f"{folder} was made by another version of Fieldflux. Make it again with `fieldflux teach`.")
    if not (folder / RUNS).is_file():
        raise BadTeaching(f"The teaching set in {folder} is not finished. The same `fieldflux teach` goes on with it.")
    recipe = TeachingRecipe.model_validate(about["recipe"])
    with np.load(folder / RUNS) as file:
        arrays = {name: file[name] for name in file.files}
    years = tuple(range(recipe.years[0], recipe.years[1] + 1))
    starts = {year: days_in(range(years[0], year)) for year in (*years, years[-1] + 1)}
    daily = {}
    for name in (*DAILY, *recipe.also):
        daily[name] = np.load(folder / f"{name}.npy", mmap_mode="r")
        if daily[name].shape != (recipe.runs, starts[years[-1] + 1]):
            raise BadTeaching(f"{folder / name}.npy is not of this teaching set. Make it again with `fieldflux teach`.")
    source = arrays["source"].astype(np.int64)
    inputs = Runs(source, arrays["rows"].astype(np.int64), _named(arrays, "annual/"), _named(arrays, "static/"))
    return Teaching(
        years=years,
        runs=recipe.runs,
        sources=source,
        source_names=tuple(s["name"] for s in about["sources"]),
        groups=tuple(s["group"] for s in about["sources"]),
        teacher=arrays["teacher"].astype(np.int64),
        recipe=recipe,
        refused=json.loads(str(arrays["refused"])),
        inputs=inputs,
        weather=np.load(folder / WEATHER),
        daily=daily,
        annual={name: arrays[name] for name in ("yield", "residue")},
        co2=co2_of_years(years),
        starts=starts,
    )


def days_in(years: Sequence[int]) -> int:
    """Days of some calendar years."""
    return sum((date(year + 1, 1, 1) - date(year, 1, 1)).days for year in years)


def _named(arrays: Mapping[str, NDArray[np.generic]], prefix: str) -> dict[str, NDArray[np.float64]]:
    return {name.removeprefix(prefix): v.astype(np.float64) for name, v in arrays.items() if name.startswith(prefix)}
