"""The network between covariates and physical parameters, and the ensemble of a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from fieldflux.models.card import Card
from fieldflux.models.checkpoint import BadCheckpoint, Checkpoint, read_checkpoint
from fieldflux.models.contract import Floats
from fieldflux.models.processes.soilcarbon.inputs import SoilForcing
from fieldflux.models.processes.soilcarbon.parameters import COUNT, NAMES, from_unit, ranges
from fieldflux.models.processes.soilcarbon.steady import steady_state
from pydantic import ValidationError
from torch import Generator, Tensor, nn

from .covariates import Covariates
from .encoders import Additive, Dense
from .recipe import Cap, NetworkRecipe

FAMILY = "binn"
REACH = 3.0  # an output between -3 and 3 covers a parameter's range, as in ScIReN
COLDEST, WARMER = 10.0, 99.0  # the published temperature: 10 + 99 sigmoid(theta)
# times, lengths and small shares: their ranges span a factor of 5 to 1000
BY_FACTORS = ("diffus", "cryo", "efolding", "taucwd", "tau4s2", "tau4s3", "fs1s3", "fs2s3")


class Binn(nn.Module):
    """K networks of one kind, stacked."""

    learned: Tensor

    def __init__(self, recipe: NetworkRecipe, covariates: Covariates, stack: int, seed: int) -> None:
        super().__init__()
        draw = Generator().manual_seed(seed)
        self.recipe, self.covariates, self.stack = recipe, covariates, stack
        outputs = len(recipe.learned)
        self.encoder: Additive | Dense
        if recipe.encoder == "additive":
            self.encoder = Additive(covariates, outputs, recipe.knots, stack, draw)
        else:
            self.encoder = Dense(
                covariates, outputs, recipe.hidden, recipe.embedding, recipe.coordinates, recipe.dropout, stack, draw
            )
        self.theta = nn.Parameter(torch.zeros(stack, 1, 1)) if recipe.bound == "sigmoid" else None
        self.register_buffer("learned", torch.tensor([NAMES.index(name) for name in recipe.learned]), persistent=False)

    def outputs(self, x: Tensor, place: Tensor | None = None) -> Tensor:
        """[K, B, P] unbounded, of covariates x [K, B, F] in their units."""
        kind = next(self.parameters()).dtype
        found: Tensor = self.encoder(self.covariates.scaled(x).to(kind), None if place is None else place.to(kind))
        return found

    def bounded(self, outputs: Tensor) -> Tensor:
        """[K, B, P] of outputs the places within the ranges, 0..1."""
        if self.theta is not None:
            return torch.sigmoid(outputs / (COLDEST + WARMER * torch.sigmoid(self.theta)))
        return (outputs / (2.0 * REACH) + 0.5).clamp(0.0, 1.0)

    def physical(self, unit: Tensor, prescribed: Tensor | None = None) -> Tensor:
        """[K, B, 21] float64 physical parameters of unit values [K, B, P] of the learned ones.

        prescribed: [K, B, 21] or [B, 21] physical values of the others; None: the middle of their ranges.
        """
        shape = (*unit.shape[:2], COUNT)
        middle = torch.full(shape, 0.5, dtype=torch.float64, device=unit.device)
        others = self._in_range(middle) if prescribed is None else prescribed.to(middle).expand(shape)
        return others.index_copy(
            2,
            self.learned,
            self._in_range(middle.index_copy(2, self.learned, unit.double())).index_select(2, self.learned),
        )

    def _in_range(self, unit: Tensor) -> Tensor:
        """[..., 21] physical values of unit values [..., 21]."""
        if self.recipe.scale == "linear":
            return from_unit(unit)
        low, high = (side.to(unit) for side in ranges())
        by_factors = torch.tensor([name in BY_FACTORS for name in NAMES], device=unit.device)
        return torch.where(by_factors, low * (high / low) ** unit, low + unit * (high - low))


@dataclass(frozen=True)
class Ensemble:
    """The members of a checkpoint. `covariates` says which columns, in which units and order."""

    network: Binn
    card: Card

    @property
    def covariates(self) -> Covariates:
        return self.network.covariates

    @property
    def cap(self) -> Cap:
        """Of the water scalar, with which the members were trained: `steady_state` and the others must have it."""
        return self.network.recipe.cap

    @property
    def members(self) -> int:
        return self.network.stack

    def parameters(self, x: Tensor | Floats, place: Tensor | None = None) -> Tensor:
        """[M, C, 21] float64 physical parameters of each member at places with covariates x [C, F], in their units.

        place: [C, 2] longitude and latitude, degrees, for networks that were trained with them. A place with a missing
        covariate has NaN parameters. Raises ValueError for another number of columns.
        """
        given = torch.from_numpy(np.ascontiguousarray(x)) if isinstance(x, np.ndarray) else x
        each = given.double().expand(self.members, *given.shape)
        at = None if place is None else place.expand(self.members, *place.shape)
        with torch.no_grad():
            found = self.network.physical(self.network.bounded(self.network.outputs(each, at)))
        lacking = ~torch.isfinite(given).all(-1)
        return found.masked_fill(lacking[None, :, None], torch.nan)

    def steady(self, x: Tensor | Floats, forcing: SoilForcing, place: Tensor | None = None) -> Tensor:
        """[M, C, 7, 20] steady-state carbon of each member, gC m-3, under forcing of the same C places."""
        return torch.stack([steady_state(p, forcing, cap=self.cap) for p in self.parameters(x, place)])


def weights_of(network: Binn) -> dict[str, Floats]:
    """Weights by name, as a checkpoint keeps them; the first axis of each is the member."""
    return {name: value.detach().cpu().numpy() for name, value in network.state_dict().items()}


def ensemble_of(checkpoint: Checkpoint) -> Ensemble:
    """The ensemble of a checkpoint that was read. Raises BadCheckpoint."""
    card = checkpoint.card
    try:
        recipe = NetworkRecipe.model_validate(card.recipe["network"])
        covariates = Covariates.model_validate({"columns": card.recipe["covariates"]})
    except (KeyError, ValidationError) as error:
        raise BadCheckpoint(f"The card of model '{card.id}' does not describe its network: {error}.") from error
    network = Binn(recipe, covariates, card.members, 0)
    try:
        network.load_state_dict({name: torch.from_numpy(np.array(v)) for name, v in checkpoint.weights.items()})
    except RuntimeError as error:
        raise BadCheckpoint(f"The weights of model '{card.id}' do not fit its card: {error}.") from error
    return Ensemble(network.eval(), card)


def load_ensemble(folder: Path) -> Ensemble:
    """The ensemble in a checkpoint's folder (`models/checkpoints/binn-soil-carbon/1`). Raises BadCheckpoint."""
    return ensemble_of(read_checkpoint(folder))
