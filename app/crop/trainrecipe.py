"""The recipe of the served hybrid crop model: its network, its training, how it is held against what it did not see."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from fieldflux.app.train import recipe_of_kind
from fieldflux.models.hybrids.crop.learn import Training
from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Part):
    """A file or folder that the training reads."""

    name: str
    source: str
    licence: str


class Size(_Part):
    """Widths of the LSTM and of the network of the place."""

    hidden: int = Field(default=16, ge=2, le=256)
    wide: int = Field(default=16, ge=2, le=256)


class TrainRecipe(_Part):
    """A recipe of the family "crop".

    members: networks a crop, each with its own start and its own years to stop by. folds: of the training years and of
    the places of experiments, left out by turns. fold_members: networks of each. check: share of the training years
    that tell when to stop.
    """

    family: Literal["crop"]
    name: str
    version: str
    seed: int = 1
    members: int = Field(default=5, ge=1, le=64)
    folds: int = Field(default=5, ge=2)
    fold_members: int = Field(default=3, ge=2)
    check: float = Field(default=0.25, gt=0, lt=0.6)
    network: Size = Size()
    training: Training = Training()
    data: tuple[Source, ...] = ()


def read_train_recipe(path: Path) -> TrainRecipe:
    """The recipe of a TOML file. Raises BadRecipe, naming the entry that is wrong."""
    return recipe_of_kind(TrainRecipe, path)
