"""Towers: daily fluxes on the days that a model was not trained on, and the sums of its years."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from fieldflux.models.contract import Model
from fieldflux.models.crops import CROP_OF_CDL
from fieldflux.models.scores import Scores, member_spread, score
from fieldflux.models.variables import VARIABLES
from fieldflux.tiles.measurements import Tower
from numpy.typing import NDArray

from . import floors
from .report import TRAINED, Row
from .runs import NotRun, Run, run_tower
from .split import ORDER, splits, training_days

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Told = Callable[[float, str], None]

OWN = ("nee", "gpp", "reco", "le", "h")
GIVEN = ("nee", "reco")
YEARLY = ("gpp", "reco", "nee", "yield", "delta_soc")
ALL = "all"
WHOLE_YEAR = 360
FEWEST_DAYS = 30
FEWEST_YEARS = 3


@dataclass(frozen=True, slots=True)
class TowerResult:
    """Rows of scores, what was left out, and the runs by site for plots."""

    rows: tuple[Row, ...]
    skipped: tuple[str, ...]
    notes: tuple[str, ...]
    runs: Mapping[str, tuple[Run, ...]] = field(default_factory=dict)
    splits: Mapping[str, Mapping[str, Mask]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """One tower's days of one split, for one variable: what is pooled into a row."""

    site: str
    crop: Array
    predicted: Array
    observed: Array
    floors: Mapping[str, Array]
    note: str


def evaluate_towers(model: Model, towers: Sequence[Tower], told: Told) -> TowerResult:
    """Scores at every tower where the model runs, by split, place and crop; beside floors on the same days."""
    training = training_days(model.card, towers)
    notes, skipped = _notes(training), []
    runs: dict[str, tuple[Run, ...]] = {}
    for i, tower in enumerate(towers):
        told(0.6 * i / len(towers), f"running {tower.site}")
        found = []
        for given in (False, True):
            if given and ("gpp" not in tower.observed or "gpp_given" not in model.needs.optional):
                continue
            try:
                found.append(run_tower(model, tower, given))
            except NotRun as reason:
                skipped.append(str(reason))
                break
        if found:
            runs[tower.site] = tuple(found)
    of_tower = {tower.site: splits(tower, training, towers) for tower in towers}
    rows: list[Row] = []
    kinds = [("own", v) for v in OWN] + [("given", v) for v in GIVEN]
    for i, (gpp, variable) in enumerate(kinds):
        told(0.6 + 0.35 * i / len(kinds), f"scoring {variable}, {gpp} GPP")
        rows += _daily_rows(towers, runs, of_tower, training, gpp, variable)
    rows += _yearly_rows(towers, runs, of_tower, training)
    rows.sort(key=lambda row: (row.step != "day", row.gpp != "own", ORDER.index(row.split)))
    return TowerResult(tuple(rows), tuple(skipped), tuple(notes), runs, of_tower)


def _notes(training: Mapping[str, Mask] | None) -> list[str]:
    notes = [
        "NSE is 1 - SS_res / SS_tot; r2 is the squared correlation, which forgives bias and scale. "
        "Bias is model less measurement. nee is positive to the atmosphere.",
        "Days with less than 80 % measured half hours, and the years that the data's note drops, are not scored. "
        "Every row and its floors are scored on the same days.",
        "Sums of years hold all days, gap-filled ones too. delta_soc of a tower is -(sum of nee) - weighed yield.",
        "Published zero-shot scores on croplands unseen in training (CarbonBench medians; other days, other towers, "
        "satellite reflectance as input, so no floor here): NEE R2 0.42, RMSE 2.2; GPP R2 0.62 to 0.68; Reco R2 0.66.",
    ]
    notes += [f"Floor '{name}': {text}" for name, text in floors.DESCRIBED.items()]
    if training is None:
        notes.append(
            "The card's recipe does not say which days the model was trained on: these scores may be of training data, "
            "and only the floor 'other fields' can be made."
        )
    return notes


def _daily_rows(
    towers: Sequence[Tower],
    runs: Mapping[str, tuple[Run, ...]],
    of_tower: Mapping[str, Mapping[str, Mask]],
    training: Mapping[str, Mask] | None,
    gpp: str,
    variable: str,
) -> list[Row]:
    chosen = [(t, r) for t in towers for r in runs.get(t.site, ()) if r.gpp == gpp and variable in r.daily]
    chosen = [(t, r) for t, r in chosen if variable in t.observed]
    fitted = None if training is None else floors.regressions(towers, training, variable, gpp == "given")
    parts: dict[str, list[_Part]] = {}
    for tower, run in chosen:
        floor = _floors(tower, towers, training, variable, fitted)
        for split, mask in of_tower[tower.site].items():
            keep = mask & tower.good[variable] & np.isfinite(run.mean(variable))
            for values in floor.values():
                keep &= np.isfinite(values)
            if keep.sum() < FEWEST_DAYS:
                continue
            part = _Part(
                tower.site,
                tower.crop_of_day()[keep],
                run.daily[variable][:, keep],
                tower.observed[variable][keep],
                {name: values[keep] for name, values in floor.items()},
                run.note,
            )
            parts.setdefault(split, []).append(part)
    rows = []
    for split, of_split in parts.items():
        rows += [_row([part], split, part.site, ALL, variable, gpp) for part in of_split]
        if len(of_split) > 1:
            rows.append(_row(of_split, split, f"{len(of_split)} towers pooled", ALL, variable, gpp))
        crops = _crops(of_split)
        if len(crops) > 1 and split != TRAINED:
            rows += [
                _row(_of_crop(of_split, codes), split, "pooled", name, variable, gpp) for name, codes in crops.items()
            ]
    return rows


def _floors(
    tower: Tower,
    towers: Sequence[Tower],
    training: Mapping[str, Mask] | None,
    variable: str,
    fitted: floors.Regressions | None,
) -> dict[str, Array]:
    found: dict[str, Array] = {}
    if training is not None:
        mean = floors.climatology(tower, towers, training, variable)
        if mean is not None:
            found[floors.CLIMATOLOGY] = mean
    if fitted is not None:
        found |= fitted.predict(tower)
    neighbours = floors.other_fields(tower, towers, variable) if tower.group == "Mead" else None
    if neighbours is not None:
        found[floors.OTHER_FIELDS] = neighbours
    return found


def _row(parts: Sequence[_Part], split: str, place: str, crop: str, variable: str, gpp: str) -> Row:
    members = np.concatenate([p.predicted for p in parts], axis=1)
    observed = np.concatenate([p.observed for p in parts])
    shared = [name for name in parts[0].floors if all(name in p.floors for p in parts)]
    return Row(
        part="towers",
        split=split,
        place=place,
        variable=variable,
        unit=VARIABLES[variable].unit,
        step="day",
        gpp=gpp,
        crop=crop,
        scores=score(members.mean(axis=0), observed),
        floors={name: score(np.concatenate([p.floors[name] for p in parts]), observed) for name in shared},
        data=", ".join(dict.fromkeys(p.site for p in parts)),
        spread=member_spread(members, observed),
        note="; ".join(dict.fromkeys(p.note for p in parts if p.note)),
    )


def _crops(parts: Sequence[_Part]) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for part in parts:
        for code in np.unique(part.crop[np.isfinite(part.crop)]).astype(int):
            if int(code) in CROP_OF_CDL:
                found.setdefault(CROP_OF_CDL[int(code)].name, set()).add(int(code))
    return found


def _of_crop(parts: Sequence[_Part], codes: set[int]) -> list[_Part]:
    chosen = []
    for part in parts:
        keep = np.isin(part.crop, list(codes))
        if keep.any():
            chosen.append(
                _Part(
                    part.site,
                    part.crop[keep],
                    part.predicted[:, keep],
                    part.observed[keep],
                    {name: values[keep] for name, values in part.floors.items()},
                    part.note,
                )
            )
    return chosen


# --- years -----------------------------------------------------------------------------------------------


def observed_years(tower: Tower, variable: str) -> Array:
    """[year] measured sum of a calendar year, gC m-2; NaN where it cannot be known.

    Fluxes are sums of all days, gap-filled ones included, of years with at least 360 days and of which some day may be
    scored. yield is what was weighed. delta_soc is -sum(nee) - yield.
    """
    if variable == "yield":
        return tower.harvested["yield"]
    if variable == "delta_soc":
        return -observed_years(tower, "nee") - tower.harvested["yield"]
    out = np.full(len(tower.years), np.nan)
    if variable in tower.observed:
        of_day = tower.year_of_day()
        for i, year in enumerate(tower.years):
            values = tower.observed[variable][of_day == year]
            if np.isfinite(values).sum() >= WHOLE_YEAR and tower.good[variable][of_day == year].any():
                out[i] = np.nansum(values)
    return out


def modelled_years(tower: Tower, run: Run, variable: str) -> Array:
    """[member, year] the model's sums of calendar years, gC m-2; NaN where a day is missing."""
    if variable in run.annual:
        return run.annual[variable]
    values, of_day = run.daily[variable], tower.year_of_day()
    out = np.full((values.shape[0], len(tower.years)), np.nan)
    for i, year in enumerate(tower.years):
        days = values[:, of_day == year]
        if days.shape[1] >= WHOLE_YEAR:
            out[:, i] = days.sum(axis=1)
    return out


def _yearly_rows(
    towers: Sequence[Tower],
    runs: Mapping[str, tuple[Run, ...]],
    of_tower: Mapping[str, Mapping[str, Mask]],
    training: Mapping[str, Mask] | None,
) -> list[Row]:
    rows = []
    for variable in YEARLY:
        pooled: dict[str, list[tuple[Tower, Array, Array, Array, str]]] = {}
        for tower in towers:
            run = next((r for r in runs.get(tower.site, ()) if r.gpp == "own"), None)
            if run is None or (variable not in run.daily and variable not in run.annual):
                continue
            observed, modelled = observed_years(tower, variable), modelled_years(tower, run, variable)
            floor = _mean_of_training_years(tower, towers, training, variable)
            for split, mask in of_tower[tower.site].items():
                of_day = tower.year_of_day()
                share = np.array([mask[of_day == year].mean() for year in tower.years])
                keep = (share > 0.5) & np.isfinite(observed) & np.isfinite(modelled).all(axis=0)
                if keep.any():
                    pooled.setdefault(split, []).append(
                        (tower, modelled[:, keep], observed[keep], floor[keep], run.note)
                    )
        for split, parts in pooled.items():
            observed = np.concatenate([p[2] for p in parts])
            if len(observed) < FEWEST_YEARS:
                continue
            members = np.concatenate([p[1] for p in parts], axis=1)
            floor = np.concatenate([p[3] for p in parts])
            floor_scores: dict[str, Scores] = {}
            if np.isfinite(floor).all():
                floor_scores = {"mean of training years": score(floor, observed)}
            rows.append(
                Row(
                    part="towers",
                    split=split,
                    place=f"{len(parts)} towers pooled" if len(parts) > 1 else parts[0][0].site,
                    variable=variable,
                    unit="gC m-2 yr-1",
                    step="year",
                    gpp="own",
                    crop=ALL,
                    scores=score(members.mean(axis=0), observed),
                    floors=floor_scores,
                    data=", ".join(p[0].site for p in parts),
                    spread=member_spread(members, observed),
                    note="; ".join(dict.fromkeys(p[4] for p in parts if p[4])),
                )
            )
    return rows


def _mean_of_training_years(
    tower: Tower, towers: Sequence[Tower], training: Mapping[str, Mask] | None, variable: str
) -> Array:
    """[year] mean of the training years' sums of the year's crop, over all training towers; else of all their crops."""
    if training is None:
        return np.full(len(tower.years), np.nan)
    by_crop: dict[float, list[float]] = {}
    for other in towers:
        trained = np.array([training[other.site][other.year_of_day() == y].mean() > 0.5 for y in other.years])
        for crop, value in zip(other.annual["crop"][trained], observed_years(other, variable)[trained], strict=True):
            if np.isfinite(value):
                by_crop.setdefault(float(crop), []).append(float(value))
    everything = [value for values in by_crop.values() for value in values]
    if not everything:
        return np.full(len(tower.years), np.nan)
    return np.array([np.mean(by_crop.get(float(crop), everything)) for crop in tower.annual["crop"]])
