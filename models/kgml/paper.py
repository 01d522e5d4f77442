"""The published network (Liu et al. 2024, Nature Communications 15:357): hierarchical GRU, residue by mass balance.

Written from the paper's equations and a description of its public code; no line of that code is here. Ra, Rh and NEE
are predicted side by side: they close only as far as the losses made them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .gru import GRU
from .inputs import PAPER, PAPER_DAYS, Days
from .network import Carry, Outputs, mlp, packed, start_dense, unpacked, zeros

HIDDEN = 64
RESIDUE_DAYS = (298, 299)  # counted from 0


@dataclass(frozen=True, slots=True)
class Scale:
    """Mean and standard deviation of an output; of the two respirations with the paper's negative sign."""

    mean: float
    sd: float


RA, RH, NEE = Scale(-1.35840, 2.58334), Scale(-0.97472, 0.85668), Scale(-0.52354, 2.99425)
# not printed in the paper: of our own synthetic runs, gC m-2 yr-1
YIELD, RESIDUE = Scale(300.0, 150.0), Scale(400.0, 200.0)


class Paper(nn.Module):
    """The published network, 161,413 parameters."""

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        inputs = len(PAPER)
        self.basis = GRU(inputs, HIDDEN, 2, dropout)
        self.attention = nn.Sequential(*mlp(HIDDEN), nn.Tanh())
        self.yields = mlp(HIDDEN)
        self.gru_ra = GRU(HIDDEN + inputs, HIDDEN)
        self.head_ra = nn.Linear(HIDDEN, 1)
        self.gru_rh = GRU(HIDDEN + inputs + 1, HIDDEN, 2, dropout)
        self.head_rh = nn.Linear(HIDDEN, 1)
        self.gru_nee = GRU(2 + inputs, HIDDEN)
        self.head_nee = nn.Linear(HIDDEN, 1)
        self.drop = nn.Dropout(dropout)
        start_dense(self)

    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.parameters()).device

    def fresh(self, days: Days) -> dict[str, Tensor]:
        """Hidden states of nothing."""
        return {
            "basis": zeros(days, 2, HIDDEN), "ra": zeros(days, 1, HIDDEN), "rh": zeros(days, 2, HIDDEN),
            "nee": zeros(days, 1, HIDDEN),
        }  # fmt: skip

    def basis_of(self, days: Days, carry: Carry) -> tuple[Tensor, Tensor]:
        """[B, D, H] hidden state of each day, and the memory after the last one."""
        h, last = self.basis(days.x, unpacked(carry["basis"]))
        return h, packed(last)

    def forward(self, days: Days, carry: Carry | None = None) -> tuple[Outputs, dict[str, Tensor]]:
        """Run a whole year of PAPER_DAYS days."""
        carry = self.fresh(days) if carry is None else carry
        return self.after_basis(days, carry, *self.basis_of(days, carry))

    def after_basis(self, days: Days, carry: Carry, h: Tensor, basis: Tensor) -> tuple[Outputs, dict[str, Tensor]]:
        """All that follows GRU_Basis, whose hidden states `h` may have been kept from before."""
        if days.x.shape[1] != PAPER_DAYS:
            raise ValueError(f"The paper's network runs years of {PAPER_DAYS} days; it was given {days.x.shape[1]}.")
        alpha = torch.softmax(self.attention(self.drop(h)), dim=1)
        harvest = _physical(self.yields((alpha * h).sum(1))[:, 0], YIELD)

        y, ra_last = self.gru_ra(torch.cat([self.drop(h), days.x], dim=2), unpacked(carry["ra"]))
        ra_z = self.head_ra(self.drop(y))
        ra = _physical(ra_z[..., 0], RA)
        residue = torch.relu(days.gpp.sum(1) + ra.sum(1) - harvest)  # eq. 10; ra is negative here

        left = (residue - RESIDUE.mean) / RESIDUE.sd
        marked = torch.zeros(PAPER_DAYS, device=ra.device, dtype=ra.dtype)
        marked[list(RESIDUE_DAYS)] = 1.0
        fed = left[:, None, None] * marked[None, :, None]
        z, rh_last = self.gru_rh(torch.cat([fed, self.drop(h), days.x], dim=2), unpacked(carry["rh"]))
        rh_z = self.head_rh(self.drop(z))

        n, nee_last = self.gru_nee(torch.cat([ra_z, rh_z, days.x], dim=2), unpacked(carry["nee"]))
        nee = _physical(self.head_nee(self.drop(n))[..., 0], NEE)
        memory = {"basis": basis, "ra": packed(ra_last), "rh": packed(rh_last), "nee": packed(nee_last)}
        return Outputs(-ra, -_physical(rh_z[..., 0], RH), nee, harvest, residue), memory


def _physical(z: Tensor, scale: Scale) -> Tensor:
    return scale.mean + scale.sd * z
