"""The settings of a crop experiment: a TOML file, checked."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class BadCropRecipe(ValueError):
    """A recipe that cannot be read, with what is wrong with it."""


class CropRecipe(BaseModel):
    """One experiment's settings. Years are seasons of each of the three places."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    crop: Literal["maize", "soybean", "winter_wheat"] = "maize"
    years: int = Field(68, ge=8, le=500, description="Seasons of each place.")
    trained: int = Field(48, ge=4, description="Of them, the first ones, for training; the others are the test.")
    seeds: int = Field(10, ge=1, le=100)
    rounds: int = Field(200, ge=1)
    hidden: int = Field(32, ge=2, le=512)
    rate: float = Field(3e-3, gt=0.0)
    hold: float = Field(0.1, ge=0.0, description="Weight of the physical residual.")
    noise: tuple[float, ...] = (0.0, 1.0, 2.0, 3.0)
    shares: tuple[float, ...] = (0.014, 0.028, 0.05, 0.1, 0.25, 1.0)


def read_crop_recipe(path: Path) -> CropRecipe:
    """Raises BadCropRecipe."""
    try:
        recipe = CropRecipe.model_validate(tomllib.loads(path.read_text()))
    except FileNotFoundError as error:
        raise BadCropRecipe(f"There is no recipe {path}.") from error
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise BadCropRecipe(f"The recipe {path} is not right: {error}") from error
    if recipe.trained >= recipe.years:
        raise BadCropRecipe(
            f"The recipe {path} trains on {recipe.trained} of {recipe.years} years: none is left to test."
        )
    return recipe
