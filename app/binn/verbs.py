"""The experiments with the sampler and with long-term experiments, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fieldflux.models.hybrids.binn.network import load_ensemble
from fieldflux.models.registry import SHIPPED

from .longtermtables import longterm
from .recipe import read_binn_recipe
from .siteruntables import QUICK, SOILS, sampler_experiment

Told = Callable[[float, str], None]
SAMPLER, LONGTERM = "binn-sampler", "binn-longterm"
NAMES = (SAMPLER, LONGTERM)
FEW = 12  # soils, where it shall be quick


def with_checkpoint(name: str, data: Path, work: Path, out: Path, recipe: Path, quick: bool, told: Told) -> list[Path]:
    """Make one of NAMES with the shipped checkpoint: tables (text, CSV) and plots in `out`, which is there.

    recipe: by which a network is trained on the sampler's soils, to compare the time. work: what is kept for going on.
    Raises BadRecipe, BadMeasurements, BadProfile, BadCheckpoint.
    """
    ensemble = load_ensemble(SHIPPED / "binn-soil-carbon" / "1")
    if name == LONGTERM:
        return longterm(data, out, ensemble, told)
    soils, budget = (FEW, QUICK) if quick else (SOILS, None)
    return sampler_experiment(data, work, out, ensemble, read_binn_recipe(recipe), told, soils=soils, budget=budget)
