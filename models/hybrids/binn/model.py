"""BINN behind the contract: soil carbon at rest under a record's climate, its processes, and what management changes.

The model has no day and no year: all its outputs are static, so a batch is a cube's whole record, `predict` speaks of
all of it, and there is no memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import torch
from fieldflux.models.card import Card
from fieldflux.models.checkpoint import Checkpoint
from fieldflux.models.contract import Floats, Forcing, Needs, Prediction, Response, Scenario, State, check_inputs
from fieldflux.models.processes.soilcarbon.environment import Modifiers, modifiers
from fieldflux.models.processes.soilcarbon.inputs import SoilForcing
from fieldflux.models.processes.soilcarbon.observe import stock
from fieldflux.models.processes.soilcarbon.six_processes import six_processes
from fieldflux.models.processes.soilcarbon.steady import steady_state
from torch import Tensor

from .network import Ensemble, ensemble_of
from .place import Place, place_of
from .scenario import respond
from .served import LAYERS, NEEDS, OUTPUTS, PROCESSES, STOCKS


@dataclass(frozen=True, slots=True, eq=False)
class Binn:
    """An ensemble of networks before one soil-carbon model."""

    ensemble: Ensemble

    @property
    def card(self) -> Card:
        return self.ensemble.card

    @property
    def needs(self) -> Needs:
        return NEEDS

    @property
    def outputs(self) -> tuple[str, ...]:
        return OUTPUTS

    @property
    def members(self) -> int:
        return self.ensemble.members

    def initial_state(self, forcing: Forcing) -> State:
        """Nothing: the model has no memory."""
        return State(forcing.start - timedelta(days=1), {})

    def predict(self, forcing: Forcing, state: State | None = None) -> Prediction:  # noqa: ARG002
        """Soil carbon at rest under the mean climate of the forcing, which is of whole years.

        Raises MissingInputs; ValueError for a part of a year.
        """
        place, parameters, inputs, factors, pools = self._rest(forcing)
        with torch.no_grad():
            told = six_processes(pools, parameters, inputs, cap=self.ensemble.cap, given=factors)
            values = {name: stock(pools, top, bottom) for name, top, bottom in (*STOCKS, *LAYERS)}
            values |= {name: getattr(told, of) for name, of in PROCESSES}
        years = forcing.years[: forcing.end.year - forcing.start.year + 1]
        return Prediction(
            start=forcing.start,
            daily={},
            years=years[-1:],
            annual={name: self._members(v)[..., None].astype(np.float32) for name, v in values.items()},
            state=State(forcing.end, {}),
            flags=place.flags,
        )

    def respond(self, forcing: Forcing, scenario: Scenario) -> Response:
        """What `scenario` makes of soil carbon from its rest on, with steps of a year.

        Raises ValueError for values outside their ranges (see `scenario.check`).
        """
        place, parameters, inputs, _, pools = self._rest(forcing)
        return respond(scenario, forcing, place, parameters, inputs, pools, self.members, self.ensemble.cap)

    def _rest(self, forcing: Forcing) -> tuple[Place, Tensor, SoilForcing, Modifiers, Tensor]:
        """The cells; then parameters [M*C, 21], forcing, factors and pools [M*C, 7, 20], members one after the other.

        Raises MissingInputs, ValueError.
        """
        check_inputs(self.card.id, NEEDS, forcing.names(), "the forcing")
        first, last = forcing.start, forcing.end
        if (first.month, first.day, last.month, last.day) != (1, 1, 12, 31):
            raise ValueError(
                f"The soil's climate is of whole years, but the forcing runs from {first} to {last}: give it from "
                f"1 January to 31 December."
            )
        place = place_of(forcing, self.ensemble.covariates)
        if self.ensemble.network.recipe.coordinates:
            raise ValueError("This network was trained with coordinates, which cubes do not give: serve another one.")
        parameters = self.ensemble.parameters(place.x)
        m = parameters.shape[0]
        parameters = parameters.reshape(-1, parameters.shape[2])
        inputs = repeated(place.forcing, m)
        with torch.no_grad():
            factors = modifiers(parameters, inputs, self.ensemble.cap)
            return place, parameters, inputs, factors, steady_state(parameters, inputs, given=factors)

    def _members(self, values: Tensor) -> Floats:
        return values.reshape(self.members, -1).numpy()


def repeated(forcing: SoilForcing, times: int) -> SoilForcing:
    """The same cells, one member after the other, on the same climate rows."""
    row = torch.arange(forcing.cells) if forcing.row is None else forcing.row
    return SoilForcing(
        forcing.temperature,
        forcing.water,
        forcing.litter.repeat(times, 1),
        forcing.bedrock.repeat(times),
        forcing.active_layer.repeat(times),
        forcing.oxygen,
        forcing.nitrogen,
        row.repeat(times),
    )


def load(checkpoint: Checkpoint, device: str) -> Binn:  # noqa: ARG001
    """The model of a checkpoint. Raises BadCheckpoint. It runs on the processor, whatever the device."""
    return Binn(ensemble_of(checkpoint))
