"""The recipe of a BINN: its network, its training, the soils it learns from, how it is held against others."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from fieldflux.app.train import BadRecipe
from fieldflux.models.hybrids.binn.recipe import NetworkRecipe, TrainingRecipe
from pydantic import BaseModel, ConfigDict, Field, ValidationError


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
    try:
        return BinnRecipe.model_validate(tomllib.loads(path.read_text()))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadRecipe(f"The recipe {path} cannot be read: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the recipe"
        raise BadRecipe(f"The recipe {path} is not valid at '{where}': {first['msg']}.") from error
