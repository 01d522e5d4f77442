"""A model's runs at a tower: whole record, its own GPP and the tower's, members apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
from fieldflux.models.contract import MissingInputs, Model, check_inputs
from fieldflux.tiles.measurements import Tower, tower_forcing, with_monthly_rain
from numpy.typing import NDArray

Array = NDArray[np.float64]
INVENTED_RAIN = "daily rain invented from monthly means"
OTHER, OTHER_CODE = "other crop", 44  # code of "other crops" in the Cropland Data Layer
RUN_AS_OTHER = "years of unknown crop run as 'other crop'"


class NotRun(ValueError):
    """Why a model could not be run at a tower, in a sentence."""


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """daily: variable -> [member, day] over the tower's own days, NaN where the run does not reach.

    annual: variable -> [member, year] over the tower's years. note: what the reader of its scores should know.
    """

    gpp: str
    daily: Mapping[str, Array]
    annual: Mapping[str, Array]
    note: str

    def mean(self, variable: str) -> Array:
        """[day] mean over members."""
        return np.asarray(self.daily[variable].mean(axis=0), np.float64)


def run_tower(model: Model, tower: Tower, given_gpp: bool) -> Run:
    """Run from the tower's first 1 January, spun up on its own weather, to its last day.

    Years whose crop is unknown run as "other crop" where GPP is given and the model knows such.
    Where the tower has no daily rain and the model needs it, rain is drawn from monthly means (`with_monthly_rain`).
    Raises NotRun.
    """
    note = ""
    unknown = np.isnan(tower.annual["crop"])
    if given_gpp and unknown.any() and OTHER in model.card.domain.crops:
        tower = replace(tower, annual={**tower.annual, "crop": np.where(unknown, OTHER_CODE, tower.annual["crop"])})
        note = RUN_AS_OTHER
    if "precip" in model.needs.daily and not np.isfinite(tower.forcing["precip"]).any():
        tower = with_monthly_rain(tower)
        note = "; ".join(part for part in (note, INVENTED_RAIN) if part)
    begins = tower.start if (tower.start.month, tower.start.day) == (1, 1) else date(tower.start.year + 1, 1, 1)
    try:
        forcing = tower_forcing(tower, given_gpp=given_gpp, days=(begins, tower.dates()[-1].item()))
        check_inputs(model.card.id, model.needs, forcing.names(), f"the tower {tower.site}")
        found = model.predict(forcing)
    except (MissingInputs, ValueError) as error:
        raise NotRun(f"{tower.site}: {error}") from error
    before = (begins - tower.start).days
    daily = {}
    for name, values in found.daily.items():
        daily[name] = np.full((values.shape[0], tower.days), np.nan)
        daily[name][:, before : before + values.shape[2]] = values[:, 0]
    annual = {}
    for name, values in found.annual.items():
        annual[name] = np.full((values.shape[0], len(tower.years)), np.nan)
        for i, year in enumerate(found.years):
            annual[name][:, tower.years.index(year)] = values[:, 0, i]
    if not any(np.isfinite(values).any() for values in daily.values()):
        flags = ", ".join(name for name, cells in found.flags.items() if cells.any()) or "no flag"
        raise NotRun(f"{tower.site}: the model gives no value on any day ({flags}); see the tower's crops and weather.")
    return Run("given" if given_gpp else "own", daily, annual, note)
