"""The recipe of a BINN: its network, its training, the soils it learns from, how it is held against others."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from fieldflux.app.train import recipe_of_kind
from fieldflux.models.hybrids.binn.recipe import NetworkRecipe, TrainingRecipe
from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Part):
    """A file that the training reads."""

    name: str
    source: str
    licence: str


class BinnRecipe(_Part):
    """A recipe of the family "binn".

    members: networks, each of its own start and its own draw of the 2-degree blocks. datasets: sets of soils to learn
    from. folds: of the blocks, for scores and, with two `fold_members` or more (networks of each), intervals.
    split_seeds: of the draws of
    blocks into folds. check: share of the blocks in a network's training that tell it when to stop (where the training
    has patience).
    """

    family: Literal["binn"]
    name: str
    version: str
    members: int = Field(default=8, ge=1, le=64)
    seed: int = 1
    network: NetworkRecipe = NetworkRecipe()
    training: TrainingRecipe = TrainingRecipe()
    datasets: tuple[str, ...] = ("RaCA", "DSP4SH", "SoDaH", "Sanderman", "Marsden", "Mollisols")
    folds: int = Field(default=5, ge=2)
    fold_members: int = Field(default=5, ge=1)
    split_seeds: tuple[int, ...] = (0, 1, 2)
    check: float = Field(default=0.11, gt=0, lt=0.5)
    data: tuple[Source, ...] = ()


def read_binn_recipe(path: Path) -> BinnRecipe:
    """The recipe of a TOML file. Raises BadRecipe, naming the entry that is wrong."""
    return recipe_of_kind(BinnRecipe, path)
