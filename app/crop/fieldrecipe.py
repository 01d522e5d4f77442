"""The settings of the experiments on measured fields: a TOML file, checked."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

CropName = Literal["maize", "soybean", "winter_wheat"]
Limits = Literal["potential", "water", "nitrogen"]
CROPS: tuple[CropName, ...] = ("maize", "soybean", "winter_wheat")


class BadFieldRecipe(ValueError):
    """A recipe that cannot be read, with what is wrong with it."""


class Strengths(BaseModel):
    """What each penalty's strength is chosen from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    decay: tuple[float, ...] = Field(min_length=1)
    drift: tuple[float, ...] = Field(min_length=1)
    hold: tuple[float, ...] = Field(min_length=1)
    shift: tuple[float, ...] = Field(min_length=1)


class FieldRecipe(BaseModel):
    """One set of experiments; see the recipe's comments."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seeds: int = Field(10, ge=1, le=100)
    hidden: int = Field(16, ge=2, le=256)
    rate: float = Field(1e-2, gt=0.0)
    rate_parameters: float = Field(5e-2, gt=0.0)
    steps: int = Field(100, ge=1)
    network_steps: int = Field(200, ge=1)
    every: int = Field(10, ge=1)
    extras: tuple[float, ...] = Field((0.01, 0.1), min_length=1)
    copies: int = Field(2, ge=1, le=50)
    teaching: int = Field(150, ge=1)
    levels: tuple[float, ...] = (1.0, 2.0, 3.0)
    places: tuple[int, ...] = (1, 2, 4)
    limits: dict[CropName, Limits] = {"maize": "nitrogen", "soybean": "water", "winter_wheat": "nitrogen"}
    mass: dict[CropName, float] = {"maize": 2000.0, "soybean": 1000.0, "winter_wheat": 1500.0}
    strengths: Strengths = Strengths(decay=(1e-4, 1e-3), drift=(1e-3, 1e-2), hold=(0.01, 0.1), shift=(3e-5, 3e-4, 3e-3))


def read_field_recipe(path: Path) -> FieldRecipe:
    """Raises BadFieldRecipe."""
    try:
        recipe = FieldRecipe.model_validate(tomllib.loads(path.read_text()))
    except FileNotFoundError as error:
        raise BadFieldRecipe(f"There is no recipe {path}.") from error
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise BadFieldRecipe(f"The recipe {path} is not right: {error}") from error
    if set(recipe.limits) != set(CROPS) or set(recipe.mass) != set(CROPS):
        raise BadFieldRecipe(f"The recipe {path} must name {', '.join(CROPS)} in [limits] and in [mass].")
    for steps in (recipe.steps, recipe.network_steps):
        if steps % recipe.every:
            raise BadFieldRecipe(f"The recipe {path} makes {steps} steps, which {recipe.every} does not divide.")
    return recipe
