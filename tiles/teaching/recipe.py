"""What a teaching set is made of: a frozen recipe, so that the same recipe and data give the same set."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Rotation = Literal["corn_soy", "soy_corn", "corn_soy_random", "wheat", "alfalfa"]


class BadTeaching(ValueError):
    """A recipe that cannot be followed, or a folder that is not what it should be."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(_Part):
    """What a run's means over its years must keep to, gC m-2 yr-1; one that does not is drawn anew and counted."""

    harvest: dict[str, tuple[float, float]] = {
        "maize": (100.0, 900.0),
        "soybean": (40.0, 400.0),
        "winter_wheat": (60.0, 700.0),
        "alfalfa": (80.0, 1100.0),
    }
    """Crop -> least and greatest mean harvest."""
    gpp: tuple[float, float] = (250.0, 2600.0)
    ra_share: tuple[float, float] = (0.25, 0.75)
    """Respiration of the plants as a share of GPP."""
    delta_soc: tuple[float, float] = (-300.0, 300.0)


class TeachingRecipe(_Part):
    """Recipe of a teaching set.

    The paper's design (Liu et al. 2024) is 10335 runs over 2001-2018, thirds of maize-soybean, soybean-maize and random
    rotations in IL, IA and IN; winter wheat, alfalfa, irrigation, other climates and a family of teachers are ours.
    """

    seed: int = 0
    runs: int = Field(default=10335, ge=1)
    years: tuple[int, int] = (2001, 2018)
    """First and last calendar year."""
    teacher: str = "agroecosystem/1"
    per_teacher: int = Field(default=35, ge=1, le=500)
    """Runs that share one set of the teacher's parameters."""
    member: int | None = Field(default=None, ge=0)
    """The calibrated member from which every teacher is moved; a random one for each where not given."""
    scatter: float = Field(default=0.35, ge=0)
    """Standard deviation of the teachers around the calibrated members, in logits of the learned bounds."""
    eta_h_scatter: float = Field(default=0.3, ge=0)
    """Of the start of slow soil carbon, in logarithms around balance (1)."""
    constants_scatter: float = Field(default=0.15, ge=0)
    """Of the respiration and turnover constants, in logarithms."""
    rotations: dict[Rotation, float] = {
        "corn_soy": 0.25,
        "soy_corn": 0.25,
        "corn_soy_random": 0.25,
        "wheat": 0.125,
        "alfalfa": 0.125,
    }
    elsewhere: float = Field(default=0.25, ge=0, le=1)
    """Share of runs with weather from outside the Corn Belt, where the folder has any."""
    estimated: float = Field(default=0.3, gt=0, le=1)
    """Weight of weather whose radiation was estimated, against 1 for measured."""
    irrigated: float = Field(default=0.22, ge=0, le=1)
    irrigated_dry: float = Field(default=0.8, ge=0, le=1)
    """Share irrigated where June to August bring less than 1 mm a day."""
    also: tuple[Literal["soil_moisture"], ...] = ()
    """Daily variables kept beside gpp, ra and rh."""
    tries: int = Field(default=12, ge=1)
    """Teachers that a chunk may use up until all its runs are within the limits."""
    limits: Limits = Field(default_factory=Limits)

    @model_validator(mode="after")
    def _sound(self) -> TeachingRecipe:
        if self.years[1] < self.years[0]:
            raise ValueError(f"years must be the first and the last year, rising; given: {self.years}.")
        total = sum(self.rotations.values())
        if abs(total - 1.0) > 1e-6 or min(self.rotations.values()) < 0:
            raise ValueError(f"rotations must be shares that sum to 1; given: {self.rotations}, sum {total:.4g}.")
        return self

    @property
    def chunks(self) -> int:
        """Chunks of `per_teacher` runs; the last may be smaller."""
        return -(-self.runs // self.per_teacher)

    def digest(self) -> str:
        """Sha256 of the recipe; a field that later versions add, and that is None, leaves it as it was."""
        told = self.model_dump(mode="json", exclude_none=True)
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def read_recipe(path: Path) -> TeachingRecipe:
    """The recipe of a TOML file, table [teaching]. Raises BadTeaching with the first fault."""
    try:
        given = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadTeaching(f"The recipe {path} cannot be read: {error}.") from error
    if set(given) != {"teaching"}:
        raise BadTeaching(f"The recipe {path} must hold one table, [teaching]; it holds: {', '.join(given) or 'none'}.")
    try:
        return TeachingRecipe.model_validate(given["teaching"])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"]) or "the table"
        raise BadTeaching(f"The recipe {path} is not valid: {where}: {first['msg']}.") from error
