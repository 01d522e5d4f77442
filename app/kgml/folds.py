"""What a training's folds say of towers that they did not see: read from its files, and set beside measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from fieldflux.app.evaluate.towers import observed_years
from fieldflux.models.kgml.model import FAILED
from fieldflux.models.kgml.steps import build
from fieldflux.tiles.measurements import Tower, read_towers
from numpy.typing import NDArray

from .jobs import Job, tower_set, write_walk
from .places import ready, whole_forcing
from .recipe import KgmlRecipe
from .unseenfloors import PROCESS, Floors

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Source = Literal["own", "given"]

NOT_IN_DOMAIN: Mapping[str, str] = {
    "US-Twt": "flooded rice on drained peat",
    "US-Lin": "an orchard",
    # soc_content above what the models' cards call their domain (2-60 g kg-1): such cells are flagged
    "US-Tw2": "drained peat",
    "US-Tw3": "drained peat",
}
WHOLE_YEAR = 360
COMMON_YEAR = 365


@dataclass(frozen=True, slots=True, eq=False)
class Unseen:
    """M networks at one tower that none of them saw, over D consecutive days of Y whole calendar years.

    group: the towers that were left out with it are of this group or of others of its fold. source: whose GPP was fed
    in, the process model's ("own") or the tower's ("given"). start: first day, a 1 January. fold: index in the
    recipe's folds, None for networks that learned from all of them (the tower is in none).
    gpp, ra, rh, reco, nee: [M, D], gC m-2 d-1; reco = ra + rh, nee = reco - gpp (a plain network's is its own).
    harvest: [M, Y], gC m-2. NaN in years whose crop has no process model, where GPP is the process model's.
    """

    site: str
    group: str
    source: Source
    start: date
    fold: int | None
    gpp: Array
    ra: Array
    rh: Array
    reco: Array
    nee: Array
    harvest: Array

    @property
    def years(self) -> tuple[int, ...]:
        return tuple(range(self.start.year, self.start.year + self.harvest.shape[1]))

    def dates(self) -> NDArray[np.datetime64]:
        """[D] datetime64[D]."""
        return np.datetime64(self.start, "D") + np.arange(self.gpp.shape[1])


# --- reading ---------------------------------------------------------------------------------------------


def read_folds(work: Path, recipe: KgmlRecipe, data_dir: Path) -> tuple[Unseen, ...]:
    """Every tower of every fold, sorted by site, from `<work>/member-<m>/fold-<k>.npz` of the recipe's fold members.

    data_dir: measurements, which say what group a tower is of. Raises ValueError where a file is missing.
    """
    found = []
    groups = groups_of(data_dir)
    for k in range(len(recipe.folds)):
        files = [work / f"member-{m}" / f"fold-{k}.npz" for m in range(recipe.fold_members)]
        missing = [str(path) for path in files if not path.exists()]
        if missing:
            raise ValueError(f"Folds are not done: {', '.join(missing)} is not there. Resume the training first.")
        found += _read(files, recipe, groups, k)
    return tuple(sorted(found, key=lambda one: (one.site, one.source)))


def read_away(work: Path, recipe: KgmlRecipe, data_dir: Path, into: Path) -> tuple[Unseen, ...]:
    """Towers of no fold and no training, run by the members' `final.pt`, which have seen all towers of the recipe.

    into: folder for what they say; a file there that is newer than the weights is read, not made again.
    Raises ValueError where weights are missing.
    """
    known = {group for fold in recipe.folds for group in fold}
    groups = groups_of(data_dir)
    files = []
    for m in range(recipe.members):
        job = Job(recipe, data_dir, into, work, m)
        path = into / f"away-{m}.npz"
        if not job.result.exists():
            raise ValueError(f"Weights are not there: {job.result}. Resume the training first.")
        if not path.exists() or path.stat().st_mtime < job.result.stat().st_mtime:
            network = build(recipe.network, 0)
            network.load_state_dict(torch.load(job.result, weights_only=True, map_location="cpu"))
            network.eval()
            away = [one for one in tower_set(job, None, frozenset(known)) if _site(one.name) not in recipe.train]
            into.mkdir(parents=True, exist_ok=True)
            write_walk(path, network, away)
        files.append(path)
    return tuple(sorted(_read(files, recipe, groups, None), key=lambda one: (one.site, one.source)))


def groups_of(data_dir: Path) -> dict[str, str]:
    """Site -> group of every tower of a folder of measurements."""
    return {tower.site: tower.group for tower in read_towers(data_dir)}


def _site(name: str) -> str:
    return name.rsplit(" ", 1)[0]


def _read(files: Sequence[Path], recipe: KgmlRecipe, groups: Mapping[str, str], fold: int | None) -> list[Unseen]:
    members = [dict(np.load(path)) for path in files]
    found = []
    for name in sorted({key.split("|")[0] for key in members[0]}):
        site, source = _site(name), name.rsplit(" ", 1)[1]
        start = date.fromisoformat(str(members[0][f"{name}|start"]))
        values = {
            what: np.stack([np.asarray(one[f"{name}|{what}"][0], np.float64) for one in members])
            for what in ("gpp", "ra", "rh", "nee", "harvest")
        }
        years = values["harvest"].shape[1]
        for what in ("gpp", "ra", "rh", "nee"):
            values[what] = _real_days(values[what], start.year, years)
        if source == "own":
            values = _only_run(values, start, years)
        reco = values["ra"] + values["rh"]
        nee = values["nee"] if recipe.network.variant == "plain" else reco - values["gpp"]
        found.append(
            Unseen(
                site, groups[site], "own" if source == "own" else "given", start, fold, values["gpp"], values["ra"],
                values["rh"], reco, nee, values["harvest"],
            )
        )  # fmt: skip
    return found


def _real_days(values: Array, first: int, years: int) -> Array:
    """Years of 365 days (the published network's) as calendar years: 31 December of leap years is as the day before."""
    lengths = [(date(y + 1, 1, 1) - date(y, 1, 1)).days for y in range(first, first + years)]
    if values.shape[1] != COMMON_YEAR * years or sum(lengths) == values.shape[1]:
        return values
    parts = [np.pad(part, ((0, 0), (0, n - COMMON_YEAR)), mode="edge") for part, n in
             zip(np.split(values, years, axis=1), lengths, strict=True)]  # fmt: skip
    return np.concatenate(parts, axis=1)


def _only_run(values: Mapping[str, Array], start: date, years: int) -> dict[str, Array]:
    """Without the years that the process model did not run, or whose crop died in it: those the model flags itself."""
    out = {name: value.copy() for name, value in values.items()}
    year = (np.datetime64(start, "D") + np.arange(values["gpp"].shape[1])).astype("M8[Y]").astype(np.int64) + 1970
    for i, y in enumerate(range(start.year, start.year + years)):
        here = year == y
        if np.median(values["gpp"][:, here], axis=0).sum() < FAILED * here.sum() / 365.0:
            for name in ("gpp", "ra", "rh", "nee"):
                out[name][:, here] = np.nan
            out["harvest"][:, i] = np.nan
    return out


# --- beside measurements -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What is scored of one tower: n values of a variable at one step. members: [M, n]. floors: name -> [n]."""

    site: str
    group: str
    when: NDArray[np.datetime64]
    members: Array
    observed: Array
    floors: Mapping[str, Array]

    def only(self, keep: Mask) -> Part:
        """The values where keep [n] is True."""
        return Part(
            self.site, self.group, self.when[keep], self.members[:, keep], self.observed[keep],
            {name: values[keep] for name, values in self.floors.items()},
        )  # fmt: skip


def daily_part(one: Unseen, tower: Tower, variable: str, fitted: Floors | None = None) -> Part | None:
    """Days of a tower that may be scored; None where there is none."""
    if variable not in tower.good:
        return None
    at = _days_of(one, tower)
    good = tower.good[variable][at] & np.isfinite(tower.observed[variable][at])
    members = _of(one, variable)
    keep = good & np.isfinite(members).all(axis=0) & gpp_known(one, tower)
    floors = {} if fitted is None else {n: v[at] for n, v in fitted.days(one, variable).items()}
    keep &= np.logical_and.reduce([np.isfinite(v) for n, v in floors.items() if n != PROCESS] or [keep])
    whole = Part(one.site, one.group, one.dates(), members, tower.observed[variable][at], floors)
    return whole.only(keep) if keep.any() else None


def yearly_part(one: Unseen, tower: Tower, variable: str, fitted: Floors | None = None) -> Part | None:
    """Sums of a tower's calendar years, see `observed_years`; None where none is known."""
    if variable not in tower.observed:
        return None
    at = _days_of(one, tower)
    year = one.dates().astype("M8[Y]")
    measured = dict(zip(tower.years, observed_years(tower, variable), strict=True))
    floors = {} if fitted is None else fitted.days(one, variable)
    known = gpp_known(one, tower)
    years, members, observed = [], [], []
    sums: dict[str, list[float]] = {name: [] for name in floors}
    for y in one.years:
        here = year == np.datetime64(f"{y}", "Y")
        total = _of(one, variable)[:, here].sum(axis=1)
        if not np.isfinite([*total, measured.get(y, np.nan)]).all() or known[here].sum() < WHOLE_YEAR:
            continue
        years.append(np.datetime64(f"{y}-01-01", "D"))
        members.append(total)
        observed.append(measured[y])
        for name, values in floors.items():
            sums[name].append(float(values[at][here].sum()))
    if not years:
        return None
    return Part(
        one.site, one.group, np.array(years), np.stack(members, axis=1), np.array(observed),
        {name: np.array(values) for name, values in sums.items() if name == PROCESS or np.isfinite(values).all()},
    )  # fmt: skip


def gpp_known(one: Unseen, tower: Tower) -> Mask:
    """[D] where the GPP that was fed in is what `source` says: gaps of a given one were filled with the model's."""
    if one.source == "own":
        return np.asarray(np.isfinite(one.gpp).all(axis=0))
    forcing = whole_forcing(ready(tower), True)
    assert forcing.gpp_given is not None
    before = (one.start - forcing.start).days
    return np.asarray(np.isfinite(forcing.gpp_given[0, before : before + one.gpp.shape[1]]))


def _days_of(one: Unseen, tower: Tower) -> slice:
    before = (one.start - tower.start).days
    return slice(before, before + one.gpp.shape[1])


def _of(one: Unseen, variable: str) -> Array:
    return np.asarray({"gpp": one.gpp, "reco": one.reco, "nee": one.nee}[variable])
