"""Our variant: closed by construction. Ra, Rh >= 0; NEE = Ra + Rh - GPP; yield <= what grew; residue at the harvest.

After Liu et al. 2024 (Nature Communications 15:357), with these changes: Rh is linear in the stock of soil organic
carbon (first-order decay), so that it cannot fall where there is more; where no crop stands, Ra is no more than GPP;
the harvest takes a share of what grew since the last one, and the rest is residue from that day on (the paper: day 299,
from the sum of the whole year); attention sums over the days so far, with a range of e^16 between days (the paper's e^2
is nearly flat); dropout is locked over days.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from .gru import GRU
from .inputs import CLOSED, MEASURED, Days
from .network import Carry, Outputs, packed, start_dense, unpacked, zeros

FOCUS = 8.0  # attention logits lie within +-FOCUS
RESIDUE_SCALE = 300.0  # gC m-2
YIELD_SCALE = 250.0  # gC m-2
USUAL = 0.3  # how far one harvest moves the memory of the field's usual one
MOST_HARVESTED = 0.8  # of what grew
DRY = 3.0  # gC m-2 d-1, scale of Ra
DECAY = 1.0  # gC m-2 d-1, scale of Rh


class Locked(nn.Module):
    """Dropout whose mask stays the same over the days of a year (Gal & Ghahramani 2016); [B, D, H] or [B, H]."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """x, or in training x with a random share of its units at 0 and the others scaled up."""
        if not self.training or self.share == 0:
            return x
        shape = (x.shape[0], *[1] * (x.dim() - 2), x.shape[-1])
        return x * (torch.rand(shape, device=x.device, dtype=x.dtype) >= self.share) / (1.0 - self.share)


class Closed(nn.Module):
    """The closed network of one member. hidden: width of every GRU."""

    def __init__(self, hidden: int = 32, dropout: float = 0.2) -> None:
        super().__init__()
        inputs = len(CLOSED)
        self.hidden = hidden
        self.basis = GRU(inputs, hidden, 2)
        self.attention = _small(hidden)
        self.share = _small(hidden + 6)
        self.technology = nn.Parameter(torch.full((4,), -4.0))
        self.straw = nn.Parameter(torch.zeros(4))
        self.trust = nn.Parameter(torch.zeros(4))
        self.level = nn.Parameter(torch.zeros(4, 2))  # by crop, and by whose GPP it is: the process model's, measured
        self.gru_ra = GRU(hidden + inputs, hidden)
        self.head_ra = nn.Linear(hidden, 1)
        self.gru_rh = GRU(hidden + inputs + 3, hidden, 2)
        self.head_rh = nn.Linear(hidden, 2)
        self.drop = Locked(dropout)
        start_dense(self)
        with torch.no_grad():  # respiration starts near its mean, not at softplus(0)
            self.head_ra.bias.fill_(-0.8)
            self.head_rh.bias.fill_(-0.5)

    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.parameters()).device

    def fresh(self, days: Days) -> dict[str, Tensor]:
        """Memory of nothing."""
        h = self.hidden
        return {
            "basis": zeros(days, 2, h), "ra": zeros(days, 1, h), "rh": zeros(days, 2, h), "grown": zeros(days),
            "focus": zeros(days, h), "weight": zeros(days), "residue": zeros(days), "since": zeros(days),
            "usual": zeros(days, 4), "met": zeros(days, 4),
        }  # fmt: skip

    def basis_of(self, days: Days, carry: Carry) -> tuple[Tensor, Tensor]:
        """[B, D, H] hidden state of each day, and the memory after the last one."""
        h, last = self.basis(days.x, unpacked(carry["basis"]))
        return h, packed(last)

    def forward(self, days: Days, carry: Carry | None = None) -> tuple[Outputs, dict[str, Tensor]]:
        """Run the days from a memory (none: a fresh one)."""
        carry = self.fresh(days) if carry is None else carry
        return self.after_basis(days, carry, *self.basis_of(days, carry))

    def after_basis(self, days: Days, carry: Carry, h: Tensor, basis: Tensor) -> tuple[Outputs, dict[str, Tensor]]:
        """All that follows GRU_Basis, whose hidden states `h` may have been kept from before."""
        y, ra_last = self.gru_ra(torch.cat([self.drop(h), days.x], dim=2), unpacked(carry["ra"]))
        ra, moved = _of_plants(DRY * softplus(self.head_ra(self.drop(y)))[..., 0], days)

        harvested, left, _, after = self._harvest(days, carry, h, ra)
        fed, residue, since = self._litter(days, carry, left)
        z, rh_last = self.gru_rh(torch.cat([fed, self.drop(h), days.x], dim=2), unpacked(carry["rh"]))
        litter, soil = softplus(self.head_rh(self.drop(z))).unbind(dim=2)
        rh = DECAY * (litter + soil * days.soc[:, None]) + moved

        memory = {"basis": basis, "ra": packed(ra_last), "rh": packed(rh_last), **after}
        memory["residue"], memory["since"] = residue, since
        return Outputs(ra, rh, ra + rh - days.gpp, harvested, left), memory

    def harvest_of(self, days: Days, carry: Carry, h: Tensor, ra: Tensor) -> tuple[Tensor, Tensor]:
        """[B] harvested carbon, and the network's own estimate of grain, of days whose h and Ra are known already."""
        harvested, _, alone, _ = self._harvest(days, carry, h, ra)
        return harvested, alone

    def _harvest(
        self, days: Days, carry: Carry, h: Tensor, ra: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """Harvested and left carbon, the network's own estimate of grain [B], and what is carried on."""
        weight = torch.exp(FOCUS * torch.tanh(self.attention(self.drop(h)))[..., 0])  # [B, D]
        there = _counted(days)
        before = (torch.arange(there.shape[1], device=there.device)[None] <= days.event[:, None]).to(h.dtype) * there
        later = there - before
        growth = days.gpp - ra
        happened = days.event >= 0

        grown = carry["grown"] + (growth * before).sum(1)
        focus = carry["focus"] + torch.einsum("bd,bdh->bh", weight * before, h)
        mass = carry["weight"] + (weight * before).sum(1)
        context = focus / mass.clamp(min=1e-6)[:, None]
        trend = (softplus(self.technology) * days.crop).sum(1) * days.year
        known = ~torch.isnan(days.expected) & (days.expected > 0)
        expected = torch.where(known, days.expected, torch.full_like(days.expected, YIELD_SCALE))
        told = torch.stack([known.to(h.dtype), torch.log(expected / YIELD_SCALE)], dim=1)
        logit = self.share(torch.cat([self.drop(context), days.crop, told], dim=1))[:, 0]
        reaped = (happened & days.weighed).to(h.dtype) * torch.relu(grown)
        shift = ((days.crop @ self.level) * _source(days)).sum(1) + trend
        alone = MOST_HARVESTED * torch.sigmoid(logit + shift) * reaped
        # What earlier years yielded tells of soil and technology what no other input shows. Where it is known, the
        # harvest is that, moved by how this year's estimate, before level and trend, stands to those of earlier years.
        level = torch.log((MOST_HARVESTED * torch.sigmoid(logit) * reaped).clamp(min=1e-3))
        usual = (carry["usual"] * days.crop).sum(1)
        met = (carry["met"] * days.crop).sum(1)
        stands = torch.where(met > 0, level - usual, torch.zeros_like(level))
        trust = (torch.sigmoid(self.trust) * days.crop).sum(1)
        both = torch.where(known, expected * torch.exp((1.0 - trust) * stands), alone)
        grain = torch.where(reaped > 0, torch.minimum(both, MOST_HARVESTED * reaped), torch.zeros_like(both))
        straw = (torch.sigmoid(self.straw + 0.6) * days.crop).sum(1) * days.removed * (reaped - grain)
        harvested = grain + straw

        def on(carried: Tensor, within: Tensor) -> Tensor:
            kept = torch.where(happened.reshape(-1, *[1] * (carried.dim() - 1)), torch.zeros_like(carried), carried)
            return kept + within

        # without a harvest in these days everything is "later"
        after = {
            "grown": on(carry["grown"], (growth * later).sum(1)),
            "focus": on(carry["focus"], torch.einsum("bd,bdh->bh", weight * later, h)),
            "weight": on(carry["weight"], (weight * later).sum(1)),
        }
        seen = (reaped > 0).to(h.dtype)[:, None] * days.crop
        pace = torch.where(carry["met"] > 0, torch.full_like(seen, USUAL), torch.ones_like(seen))
        after["usual"] = carry["usual"] + seen * pace * (level[:, None] - carry["usual"])
        after["met"] = torch.maximum(carry["met"], seen)
        return harvested, reaped - harvested, alone, after

    def _litter(self, days: Days, carry: Carry, left: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, D, 3] residue of this day, of the last harvest, and years since it; and the last two after these days."""
        count = days.gpp.shape[1]
        day = torch.arange(count, device=left.device)[None]
        reaped = (days.event >= 0) & days.weighed
        at = torch.where(reaped, days.event, torch.full_like(days.event, count))[:, None]
        impulse = (day == at).to(left.dtype) * left[:, None]
        held = torch.where(day >= at, left[:, None], carry["residue"][:, None])
        since = torch.where(day >= at, (day - at).to(left.dtype), carry["since"][:, None] + day + 1.0)
        since = since.clamp(max=1000.0)
        fed = torch.stack([impulse / RESIDUE_SCALE, held / RESIDUE_SCALE, since / 365.0], dim=2)
        end = (days.length - 1)[:, None]
        return fed, held.gather(1, end)[:, 0], since.gather(1, end)[:, 0]


def _counted(days: Days) -> Tensor:
    """[B, D] 1 on days that are no padding."""
    return (torch.arange(days.gpp.shape[1], device=days.gpp.device)[None] < days.length[:, None]).to(days.x.dtype)


def _small(inputs: int) -> nn.Sequential:
    """inputs -> 32 -> 1 with ReLU: the paper's four layers are a fifth of a network of this size, for no gain."""
    return nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, 1))


def _of_plants(ra: Tensor, days: Days) -> tuple[Tensor, Tensor]:
    """Ra, and what is none: where no crop stands, plants (weeds, volunteers) respire no more than they take up."""
    bare = days.standing == 0  # unknown dates are NaN: no rule there
    kept = torch.where(bare, torch.minimum(ra, days.gpp), ra)
    return kept, ra - kept


def _source(days: Days) -> Tensor:
    """[B, 2] 1 where GPP is the process model's, 1 where it is measured, on the day of harvest."""
    _, mean, sd = CLOSED[MEASURED]
    at = days.event.clamp(min=0)[:, None]
    measured = days.x[..., MEASURED].gather(1, at)[:, 0] * sd + mean
    return torch.stack([1.0 - measured, measured], dim=1)
