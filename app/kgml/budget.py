"""What the experiments may cost, and what is compared: frozen, so that a result says what it was made with."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import product
from typing import Literal

from fieldflux.models.kgml.recipe import NetworkRecipe, Stage, Stages
from pydantic import BaseModel, ConfigDict, Field

Part = Literal["towers", "counties"]
ALL = -1  # a sample's size: every place that is not held out


class Budget(BaseModel):
    """Pre-training, fine-tuning and the sizes of samples.

    first, second: the two steps of pre-training (yield and Ra, then the fluxes); without the five steps both epochs are
    spent on everything at once. longer: epochs of networks that were not pre-trained, by those of the others; the
    paper's is 2. checked: synthetic runs that choose the epoch. points, county_years: of a county to learn from, at
    most; the latest years. hold: how many folds of towers a replicate holds out. test_runs: synthetic runs that are
    scored in each split. family: other teachers that a run is repeated with, of which family_runs are.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 11
    first: Stage = Stage(epochs=8, rate=3e-3, every=4, batch=96, runs=192, span=4)
    second: Stage = Stage(epochs=7, rate=3e-3, every=4, batch=96, runs=192, span=4)
    counties: Stage = Stage(epochs=20, rate=3e-3, decay=0.6, every=8, patience=10, batch=64)
    towers: Stage = Stage(epochs=14, rate=2e-3, decay=0.6, every=6, patience=7, batch=24)
    longer: int = Field(default=2, ge=1)
    checked: int = Field(default=96, ge=1)
    points: int = Field(default=2, ge=1)
    county_years: int = Field(default=12, ge=1)
    tower_sizes: tuple[int, ...] = (0, 1, 2, 4, ALL)
    county_sizes: tuple[int, ...] = (0, 1, 2, 5, 10, 20, ALL)
    replicates: int = Field(default=3, ge=1)
    ablation_sizes: dict[Part, tuple[int, int]] = {"towers": (1, ALL), "counties": (5, ALL)}
    ablation_replicates: dict[Part, int] = {"towers": 3, "counties": 2}
    hold: int = Field(default=2, ge=1)
    synthetic_first: Stage = Stage(epochs=14, rate=3e-3, every=5, patience=14, batch=96, runs=480, span=6)
    synthetic_second: Stage = Stage(epochs=12, rate=3e-3, every=4, patience=12, batch=96, runs=384, span=6)
    test_runs: int = Field(default=400, ge=1)
    family: int = Field(default=10, ge=2)
    family_runs: int = Field(default=120, ge=1)

    def digest(self, *more: str) -> str:
        """Of the budget and of what else a result rests on."""
        return hashlib.sha256("\n".join([self.model_dump_json(), *more]).encode()).hexdigest()[:12]


QUICK = Budget(
    first=Stage(epochs=1, rate=3e-3, batch=8, runs=8, span=1),
    second=Stage(epochs=1, rate=3e-3, batch=8, runs=8, span=1),
    counties=Stage(epochs=1, rate=2e-3, batch=64),
    towers=Stage(epochs=1, rate=2e-3, batch=16),
    checked=4,
    tower_sizes=(0, 1, ALL),
    county_sizes=(0, 1, ALL),
    replicates=1,
    ablation_sizes={"towers": (1, ALL), "counties": (1, ALL)},
    ablation_replicates={"towers": 1, "counties": 1},
    points=1,
    county_years=2,
    synthetic_first=Stage(epochs=1, rate=3e-3, batch=8, runs=8, span=1),
    synthetic_second=Stage(epochs=1, rate=3e-3, batch=8, runs=8, span=1),
    test_runs=6,
    family=2,
    family_runs=4,
)


@dataclass(frozen=True, slots=True)
class Arm:
    """One of the 16 models. structure: the closed network; without, the plain one."""

    gpp: bool = True
    pretrained: bool = True
    structure: bool = True
    knowledge: bool = True

    @property
    def name(self) -> str:
        """ "gpp+pretrained+structure+knowledge", or what of it is switched on; "none"."""
        return "+".join(name for name in Arm.__slots__ if getattr(self, name)) or "none"

    def recipe(self, budget: Budget, base: NetworkRecipe) -> NetworkRecipe:
        """How it is trained. GPP is hidden by the network itself (models/kgml/blind.py): the losses may know it."""
        epochs = 1 if self.pretrained else budget.longer
        stages = Stages(
            yield_and_ra=budget.first,
            fluxes=budget.second,
            county_yields=_stretched(budget.counties, epochs),
            towers=_stretched(budget.towers, epochs),
        )
        variant: Literal["closed", "plain"] = "closed" if self.structure else "plain"
        return base.model_copy(
            update={
                "variant": variant, "gpp": True, "pretrained": self.pretrained, "knowledge": self.knowledge,
                "noisy": base.noisy if self.gpp else 0.0, "stages": stages,
            }
        )  # fmt: skip


KGML = Arm()
PURE_ML = Arm(pretrained=False, structure=False, knowledge=False)
ARMS = tuple(Arm(*switches) for switches in product((True, False), repeat=4))


def _stretched(stage: Stage, times: int) -> Stage:
    return stage.model_copy(update={name: getattr(stage, name) * times for name in ("epochs", "every", "patience")})


@dataclass(frozen=True, slots=True)
class Trial:
    """One network tuned on a drawn sample of `size` places (ALL: every one) and scored on the held-out ones."""

    part: Part
    arm: Arm
    size: int
    replicate: int

    @property
    def name(self) -> str:
        """Name of its result's file."""
        return f"{self.part}-{self.arm.name}-{'all' if self.size == ALL else self.size}-{self.replicate}"
