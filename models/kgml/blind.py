"""Networks that do not see GPP, for the ablation: their features hold its mean, and the closed one makes its own.

Days come with their GPP all the same: the losses may know what a network may not see.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from .closed import Closed
from .gru import GRU
from .inputs import CLOSED, GPP, MEASURED, Days
from .network import Carry, Outputs, packed, start_dense, unpacked, zeros
from .plain import Plain

SCALE = 5.0  # gC m-2 d-1, of the GPP that the closed network makes


def unseen(days: Days) -> Days:
    """The same days with GPP, and whether it was measured, at their means in the features."""
    x = days.x.clone()
    x[..., GPP] = 0.0
    x[..., MEASURED] = 0.0
    return replace(days, x=x)


class BlindPlain(Plain):
    """The plain network without GPP among its features."""

    def basis_of(self, days: Days, carry: Carry) -> tuple[Tensor, Tensor]:
        """As Plain's."""
        return super().basis_of(unseen(days), carry)

    def after_basis(self, days: Days, carry: Carry, h: Tensor, basis: Tensor) -> tuple[Outputs, dict[str, Tensor]]:
        """As Plain's."""
        return super().after_basis(unseen(days), carry, h, basis)


class BlindClosed(Closed):
    """The closed network without GPP: a GRU more makes GPP >= 0, with which the balance, harvest and residue close.

    So NEE is its own, and still Ra + Rh minus a GPP. The names of the added modules are those that the training steps
    teach together with the fluxes.
    """

    def __init__(self, hidden: int = 32, dropout: float = 0.2) -> None:
        super().__init__(hidden, dropout)
        self.gru_nee = GRU(hidden + len(CLOSED), hidden)
        self.head_nee = nn.Linear(hidden, 1)
        start_dense(self.head_nee)

    def fresh(self, days: Days) -> dict[str, Tensor]:
        """Memory of nothing."""
        return {**super().fresh(days), "gpp": zeros(days, 1, self.hidden)}

    def basis_of(self, days: Days, carry: Carry) -> tuple[Tensor, Tensor]:
        """As Closed's."""
        return super().basis_of(unseen(days), carry)

    def after_basis(self, days: Days, carry: Carry, h: Tensor, basis: Tensor) -> tuple[Outputs, dict[str, Tensor]]:
        """As Closed's, with GPP made here."""
        blind = unseen(days)
        y, last = self.gru_nee(torch.cat([self.drop(h), blind.x], dim=2), unpacked(carry["gpp"]))
        made = SCALE * softplus(self.head_nee(self.drop(y)))[..., 0]
        out, memory = super().after_basis(replace(blind, gpp=made), carry, h, basis)
        return out, {**memory, "gpp": packed(last)}
