"""The recipe of a KGML training: networks, teaching set, which years teach, which check, which sites are held out."""

from __future__ import annotations

from typing import Annotated, Literal

from fieldflux.models.kgml.recipe import NetworkRecipe
from fieldflux.tiles.teaching import TeachingRecipe
from pydantic import BaseModel, ConfigDict, Field, model_validator

Years = Annotated[dict[str, tuple[int, ...]], Field(description="site -> calendar years")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Part):
    """A file that the training reads."""

    name: str
    source: str
    licence: str


class KgmlRecipe(_Part):
    """A recipe of the family "kgml".

    train, validation: days of towers to learn from, and to choose the epoch by; all others are held out. folds: groups
    of towers that are left out together, for scores at unseen sites and for the intervals. fold_members: networks per
    fold. validation_years: years of the training counties to choose the epoch of the yields by. plain: recipe of the
    networks without knowledge that are the floor at unseen sites: a file beside this one, with its folds and years.
    """

    family: Literal["kgml"]
    name: str
    version: str
    process: str = "agroecosystem/1"
    members: int = Field(default=5, ge=1, le=64)
    seed: int = 1
    network: NetworkRecipe = NetworkRecipe()
    teaching: TeachingRecipe = TeachingRecipe()
    train: Years
    validation: Years
    validation_years: tuple[int, ...] = (2014, 2015, 2020)
    folds: tuple[tuple[str, ...], ...] = ()
    fold_members: int = Field(default=2, ge=1)
    plain: str = ""
    data: tuple[Source, ...] = ()

    @model_validator(mode="after")
    def _enough(self) -> KgmlRecipe:
        if self.folds and not 2 <= self.fold_members <= self.members:
            raise ValueError(
                f"fold_members is {self.fold_members} and members {self.members}. The networks of a fold are the first "
                f"members without its towers, and intervals need the spread of at least 2 of them: give fold_members "
                f"from 2 to the number of members, or no folds."
            )
        return self

    @model_validator(mode="after")
    def _apart(self) -> KgmlRecipe:
        for site, years in self.train.items():
            both = set(years) & set(self.validation.get(site, ()))
            if both:
                raise ValueError(
                    f"Years {sorted(both)} of {site} are in [train] and in [validation]. Put each in one of them."
                )
        return self
