"""Where an experiment reads and keeps things, and by what recipe and budget."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fieldflux.models.processes.agroecosystem.model import Agroecosystem
from fieldflux.models.registry import Registry

from .budget import Arm, Budget, Trial
from .recipe import KgmlRecipe

# of a recipe, what no trial rests on
_NO_MATTER = {"members", "fold_members", "name", "version", "data", "teaching", "plain"}


class BadExperiment(ValueError):
    """An experiment that cannot be made."""


@dataclass(frozen=True, slots=True)
class Setting:
    """data: the measurements. teaching: the synthetic runs. work: what is kept for going on."""

    recipe: KgmlRecipe
    budget: Budget
    data: Path
    teaching: Path
    work: Path

    @property
    def kept(self) -> Path:
        """The folder of results that rest on this recipe, budget and teaching set."""
        about = (self.teaching / "about.json").read_text()
        recipe = self.recipe.model_dump_json(exclude=_NO_MATTER)
        return self.work / f"trials-{self.budget.digest(recipe, about)}"

    def weights(self, arm: Arm) -> Path:
        """Pre-trained weights of an arm."""
        return self.kept / f"pretrained-{arm.name}.pt"

    def result(self, trial: Trial) -> Path:
        """Where a trial keeps its result."""
        return self.kept / f"{trial.name}.json"


def process_of(recipe: KgmlRecipe) -> Agroecosystem:
    """The process model of a recipe."""
    process = Registry().load(recipe.process)
    if not isinstance(process, Agroecosystem):
        raise BadExperiment(f"A KGML recipe's process must be an agro-ecosystem model; '{recipe.process}' is none.")
    return process
