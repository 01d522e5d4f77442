"""The steady state: the carbon in each pool and layer when as much comes in as is respired."""

from __future__ import annotations

from torch import Tensor

from .balance import balance
from .environment import Cap, Modifiers
from .inputs import SoilForcing
from .layers import THICKNESS, table
from .solver import Engine, Soil, solve


def steady_state(
    parameters: Tensor,
    forcing: SoilForcing,
    *,
    cap: Cap = "published",
    given: Modifiers | None = None,
    soil: Soil = "blocks",
    engine: Engine = "auto",
) -> Tensor:
    """[C, 7, 20] carbon of each pool (`layers.POOLS`) and layer, gC m-3; 0 below the bedrock, never negative.

    parameters: [C, 21] physical, in the order of `parameters.NAMES`; precision and device of the computation.
    cap: of the water scalar; "smooth" keeps a gradient where the published one has none. given: modifiers to use
    instead of the climate's. soil, engine: how to solve, see `solver.solve`.
    Differentiable once with respect to parameters, litter and `given`. Cells with NaN inputs come back NaN; other
    values are not checked here (`SoilForcing.check`). Raises ValueError where shapes do not fit.
    """
    terms = balance(parameters, forcing, cap, given)
    mass = solve(terms.rate, terms.shares, terms.conductance, terms.source, terms.layers, soil=soil, engine=engine)
    return mass / table(THICKNESS, mass)
