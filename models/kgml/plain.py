"""The floor without knowledge: a plain two-layer GRU for the fluxes, and one with attention for the yield."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .gru import GRU
from .inputs import CLOSED, Days
from .network import Carry, Outputs, mlp, packed, start_dense, unpacked, zeros
from .paper import NEE, RA, RH, YIELD


class Plain(nn.Module):
    """Two GRUs that share nothing: one gives Ra, Rh and NEE of a day, one the yield of a year. No balance, no residue.

    `inputs` is the number of features, those of either variant.
    """

    def __init__(self, inputs: int = len(CLOSED), hidden: int = 64, dropout: float = 0.2) -> None:
        super().__init__()
        self.hidden = hidden
        self.gru_flux = GRU(inputs, hidden, 2, dropout)
        self.head_flux = nn.Linear(hidden, 3)
        self.basis = GRU(inputs, hidden, 2, dropout)
        self.attention = nn.Sequential(*mlp(hidden), nn.Tanh())
        self.yields = mlp(hidden)
        self.drop = nn.Dropout(dropout)
        start_dense(self)

    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.parameters()).device

    def fresh(self, days: Days) -> dict[str, Tensor]:
        """Hidden states of nothing."""
        return {"basis": zeros(days, 2, self.hidden), "flux": zeros(days, 2, self.hidden)}

    def basis_of(self, days: Days, carry: Carry) -> tuple[Tensor, Tensor]:
        """[B, D, H] hidden state of each day of the yield's GRU, and the memory after the last one."""
        h, last = self.basis(days.x, unpacked(carry["basis"]))
        return h, packed(last)

    def forward(self, days: Days, carry: Carry | None = None) -> tuple[Outputs, dict[str, Tensor]]:
        """Run the days from a memory (none: a fresh one)."""
        carry = self.fresh(days) if carry is None else carry
        return self.after_basis(days, carry, *self.basis_of(days, carry))

    def after_basis(self, days: Days, carry: Carry, h: Tensor, basis: Tensor) -> tuple[Outputs, dict[str, Tensor]]:
        """The fluxes, and the yield from the hidden states `h` of its GRU."""
        alpha = torch.softmax(self.attention(self.drop(h)), dim=1)
        harvest = YIELD.mean + YIELD.sd * self.yields((alpha * h).sum(1))[:, 0]
        y, last = self.gru_flux(days.x, unpacked(carry["flux"]))
        ra, rh, nee = self.head_flux(self.drop(y)).unbind(dim=2)
        memory = {"basis": basis, "flux": packed(last)}
        ra, rh, nee = -(RA.mean + RA.sd * ra), -(RH.mean + RH.sd * rh), NEE.mean + NEE.sd * nee
        return Outputs(ra, rh, nee, harvest, torch.zeros_like(harvest)), memory
