"""The settings of a crop experiment: a TOML file, checked."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .noise import KINDS, Kind


class BadCropRecipe(ValueError):
    """A recipe that cannot be read, with what is wrong with it."""


class Training(BaseModel):
    """One model's: rate of Adam at first, and its steps."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rate: float = Field(3e-3, gt=0.0, le=1.0)
    steps: int = Field(300, ge=1, le=100_000)


class CropRecipe(BaseModel):
    """One experiment's settings. Years are seasons of each of the three places."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    crop: Literal["maize", "soybean", "winter_wheat"] = "maize"
    truth: Literal["lintul5", "wofost"] = "lintul5"
    years: int = Field(68, ge=8, le=500, description="Seasons of each place.")
    trained: int = Field(48, ge=4, description="Of them, the first ones, for training; the others are the test.")
    seeds: int = Field(10, ge=1, le=100)
    spare: int = Field(4, ge=1, le=100, description="Draws, not among the seeds, on which rates and steps are chosen.")
    hidden: int = Field(32, ge=2, le=512)
    hold: float = Field(0.1, ge=0.0, description="Weight of the balance of growth.")
    kinds: tuple[Kind, ...] = KINDS
    levels: tuple[float, ...] = (0.0, 1.0, 2.0, 3.0)
    shares: tuple[float, ...] = (0.014, 0.028, 0.05, 0.1, 0.25, 1.0)
    share_noise: float = Field(1.0, ge=0.0, description="Level of noise on both, of the tests of scarcity and places.")
    training: dict[str, Training] = Field(default_factory=dict, description="By model; without one, the default.")

    def schedule(self, model: str) -> Training:
        """That model's training."""
        return self.training.get(model, Training(rate=3e-3, steps=300))


def read_crop_recipe(path: Path) -> CropRecipe:
    """Raises BadCropRecipe."""
    from .trials import TRAINED

    try:
        recipe = CropRecipe.model_validate(tomllib.loads(path.read_text()))
    except FileNotFoundError as error:
        raise BadCropRecipe(f"There is no recipe {path}.") from error
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise BadCropRecipe(f"The recipe {path} is not right: {error}") from error
    unknown = sorted(set(recipe.training) - set(TRAINED))
    if unknown:
        raise BadCropRecipe(
            f"The recipe {path} has a training for '{unknown[0]}'. The models that are trained: {', '.join(TRAINED)}."
        )
    if recipe.trained >= recipe.years:
        raise BadCropRecipe(
            f"The recipe {path} trains on {recipe.trained} of {recipe.years} years: none is left to test."
        )
    return recipe
