"""Soil carbon under other management, from its rest on: what a plough, taken residue or added carbon change.

The networks were fitted to soils as they are, so the present management is in their parameters, and the soil rests
under it. A scenario therefore counts by what it changes: turnover by the ratio of its tillage factors to the present
ones, litter by the ratio of what residue stays, and what is added. With nothing changed, nothing moves.
"""

from __future__ import annotations

from typing import get_args

import numpy as np
import torch
from fieldflux.models.contract import Forcing, Response, Scenario, Tillage
from fieldflux.models.processes.soilcarbon.environment import Cap, climate_factors
from fieldflux.models.processes.soilcarbon.inputs import SoilForcing
from fieldflux.models.processes.soilcarbon.layers import THICKNESS, table
from fieldflux.models.processes.soilcarbon.litter import EXUDED, QUALITY, ROOT, SHOOT
from fieldflux.models.processes.soilcarbon.management import tillage
from fieldflux.models.processes.soilcarbon.observe import stock
from fieldflux.models.processes.soilcarbon.parameters import Q10, W_SCALING
from fieldflux.models.processes.soilcarbon.transient import run
from numpy.typing import NDArray
from torch import Tensor

from .place import Place, mean_of
from .served import STOCKS

MOST_YEARS = 100
MOST_ADDED = 2000.0  # gC m-2 yr-1
PLANTING = 125  # day of the year: 5 May
ABOVE_GROUND = SHOOT / (SHOOT + ROOT + EXUDED)  # of what maize leaves
RECENT = 3  # last years of a record whose management is the present one
TILLAGES: tuple[Tillage, ...] = get_args(Tillage)


def check(scenario: Scenario) -> None:
    """Raise ValueError for values outside their ranges."""
    if not 1 <= scenario.years <= MOST_YEARS:
        raise ValueError(f"A scenario has 1 to {MOST_YEARS} years; given: {scenario.years}.")
    for name in ("tillage", "tillage_now"):
        given = getattr(scenario, name)
        if given is not None and given not in TILLAGES:
            raise ValueError(f"`{name}` is one of {', '.join(TILLAGES)}; given: '{given}'.")
    for name in ("residue_removed", "residue_now"):
        share = getattr(scenario, name)
        if share is not None and not 0.0 <= share <= 1.0:
            raise ValueError(f"`{name}` is a share from 0 to 1; given: {share:g}.")
    if not 0.0 <= scenario.added_carbon <= MOST_ADDED:
        raise ValueError(
            f"`added_carbon` is from 0 to {MOST_ADDED:g} gC m-2 yr-1; given: {scenario.added_carbon:g}. Litter that is "
            f"taken away is `residue_removed`."
        )


def respond(
    scenario: Scenario,
    forcing: Forcing,
    place: Place,
    parameters: Tensor,
    inputs: SoilForcing,
    pools: Tensor,
    members: int,
    cap: Cap,
) -> Response:
    """The course of C cells in M members. parameters, inputs, pools: [M*C, ...], members one after the other.

    Tillage and residue are of crops: elsewhere they change nothing. Raises ValueError (see `check`).
    """
    check(scenario)
    flags = dict(place.flags)
    cropland = torch.from_numpy(place.cropland)
    turnover = _turnover(scenario, forcing, parameters, inputs, cropland, members, cap, flags)
    litter = _litter(scenario, forcing, place, inputs, members, flags)
    if not place.cropland.all():
        flags["not_cropland"] = ~place.cropland
    thick = table(THICKNESS, pools)

    def seen(now: Tensor) -> Tensor:
        return torch.stack([*(stock(now, a, b) for _, a, b in STOCKS), (now * thick).sum((1, 2))], 1)

    lacking = ~torch.from_numpy(place.known).repeat(members)
    whole = torch.where(lacking[:, None, None], torch.zeros_like(pools), pools)
    with torch.no_grad():
        course = run(
            whole, parameters, inputs, scenario.years, litter=litter.expand(scenario.years, -1, -1),
            factors=None if turnover is None else turnover[None], cap=cap, observe=seen,
        )  # fmt: skip
        states = torch.cat([seen(whole)[None], course.seen])
    states[:, lacking] = torch.nan

    def split(values: Tensor) -> NDArray[np.float64]:
        """[member, cell, year] of [year, M*C]."""
        return np.moveaxis(values.reshape(len(values), members, -1).numpy(), 0, -1)

    total = split(states[:, :, -1])
    return Response(
        stocks={name: split(states[:, :, k]) for k, (name, _, _) in enumerate(STOCKS)},
        entered=split(course.entered),
        respired=split(course.respired),
        stored=np.diff(total, axis=2),
        flags=flags,
    )


def _turnover(
    scenario: Scenario,
    forcing: Forcing,
    parameters: Tensor,
    inputs: SoilForcing,
    cropland: Tensor,
    members: int,
    cap: Cap,
    flags: dict[str, NDArray[np.bool_]],
) -> Tensor | None:
    """[M*C, 7, 20] factors on turnover against the present; None where tillage does not change."""
    if scenario.tillage is None or scenario.tillage == scenario.tillage_now:
        return None
    now = _tillage_now(scenario, forcing, flags)
    # A factor acts in its months: their weight in the year's decomposition is their warmth and water.
    months = torch.stack([
        climate_factors(parameters[:, Q10].log(), parameters[:, W_SCALING], inputs.month(m), cap)[0]
        for m in range(inputs.months)
    ])  # fmt: skip
    total = months.sum(0)
    weight = torch.where(total > 0.0, months / total, torch.full_like(months, 1.0 / inputs.months))

    def yearly(kind: Tillage) -> Tensor:
        monthly = tillage(kind, torch.tensor([PLANTING]), inputs.months)[:, 0]
        return torch.einsum("mcl,mpl->cpl", weight, monthly.to(weight))

    after, before = yearly(scenario.tillage), torch.ones(parameters.shape[0], 7, weight.shape[2]).to(weight)
    for kind in TILLAGES:
        here = torch.from_numpy(now == kind).repeat(members)
        if bool(here.any()):
            before[here] = yearly(kind)[here]
    ratio = after / before
    return torch.where(cropland.repeat(members)[:, None, None], ratio, torch.ones_like(ratio))


def _tillage_now(scenario: Scenario, forcing: Forcing, flags: dict[str, NDArray[np.bool_]]) -> NDArray[np.str_]:
    """[C] the present tillage: as told, or of the record's last years (0 none, 0.5 reduced, 1 ploughed)."""
    if scenario.tillage_now is not None:
        return np.full(forcing.cells, scenario.tillage_now)
    told = _recent(forcing, "tillage")
    unknown = ~np.isfinite(told)
    if unknown.any():
        flags["assumed_tillage"] = unknown
    told = np.where(unknown, 0.5, told)
    return np.where(told < 0.25, "none", np.where(told < 0.75, "low", "high"))


def _litter(
    scenario: Scenario,
    forcing: Forcing,
    place: Place,
    inputs: SoilForcing,
    members: int,
    flags: dict[str, NDArray[np.bool_]],
) -> Tensor:
    """[M*C, 4] yearly litter under the scenario, gC m-2 yr-1."""
    litter = inputs.litter
    if scenario.residue_removed is not None:
        if scenario.residue_now is not None:
            now = np.full(forcing.cells, scenario.residue_now)
        else:
            told = _recent(forcing, "residue_removed")
            unknown = ~np.isfinite(told) & place.cropland
            if unknown.any():
                flags["assumed_residue"] = unknown
            now = np.nan_to_num(told)
        ratio = (1.0 - ABOVE_GROUND * scenario.residue_removed) / (1.0 - ABOVE_GROUND * now)
        ratio = np.where(place.cropland, ratio, 1.0)
        litter = litter * torch.from_numpy(ratio).repeat(members)[:, None]
    added = scenario.added_carbon * torch.tensor((0.0, *QUALITY), dtype=litter.dtype)
    return litter + added


def _recent(forcing: Forcing, name: str) -> NDArray[np.float64]:
    """[C] mean of a yearly input over the last years of the forcing; NaN where there is none."""
    years = forcing.end.year - forcing.start.year + 1
    if name not in forcing.annual:
        return np.full(forcing.cells, np.nan)
    return mean_of(forcing.annual[name][:, max(0, years - RECENT) : years])
