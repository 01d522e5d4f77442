"""The losses of the five steps (Liu et al. 2024; L1-L8), over physical outputs. Means leave missing days out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import relu

from .inputs import Days
from .network import Outputs

# Standard deviations that make errors of different outputs comparable; those of the paper's z-scores
SD = {"ra": 2.58334, "rh": 0.85668, "nee": 2.99425, "reco": 2.9, "yield": 150.0}
DEAD_BAND = 0.01  # of the respiration, within which the balance of a day may be off


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """What a batch should give. [B, D] ra, rh, nee, reco, gC m-2 d-1; harvest [B], gC m-2; NaN: nothing to learn from.

    weight: [B], of each sample. owner: [B], samples of one owner are averaged before their harvest is compared.
    """

    ra: Tensor | None = None
    rh: Tensor | None = None
    nee: Tensor | None = None
    reco: Tensor | None = None
    harvest: Tensor | None = None
    weight: Tensor | None = None
    owner: Tensor | None = None

    def to(self, device: torch.device | str) -> Targets:
        """The same on a device."""
        return Targets(*(None if v is None else v.to(device) for v in (getattr(self, n) for n in Targets.__slots__)))

    def take(self, chosen: Tensor) -> Targets:
        """Some of the samples."""
        return Targets(*(None if v is None else v[chosen] for v in (getattr(self, n) for n in Targets.__slots__)))


def masked_mean(errors: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean of errors [B, D] over the days whose target is there; with weights [B], of the samples' means."""
    there = ~torch.isnan(target)
    kept = torch.where(there, errors, torch.zeros_like(errors))
    if weight is None:
        return kept.sum() / there.sum().clamp(min=1)
    count = there.sum(1)
    each = kept.sum(1) / count.clamp(min=1)
    share = weight * (count > 0)
    return (share * each).sum() / share.sum().clamp(min=1e-9)


def squares(value: Tensor, target: Tensor, sd: float) -> Tensor:
    """Squared errors in units of sd; 0 where the target is missing: NaN must not enter the graph, even masked."""
    there = ~torch.isnan(target)
    return torch.where(there, (value - torch.where(there, target, value.detach())) / sd, torch.zeros_like(value)) ** 2


def fluxes(out: Outputs, targets: Targets) -> Tensor:
    """L1: squared errors of Ra, Rh and NEE, equally weighted."""
    total = out.ra.new_zeros(())
    for name in ("ra", "rh", "nee"):
        target = getattr(targets, name)
        if target is not None:
            value = getattr(out, name)
            total = total + masked_mean(squares(value, target, SD[name]), target, targets.weight)
    return total


def balance(out: Outputs, days: Days) -> Tensor:
    """L2: what GPP = Ra + Rh - NEE lacks beyond 1 % of the respiration, gC m-2 d-1. 0 for the closed variant."""
    respired = out.ra + out.rh
    return relu((days.gpp - respired + out.nee).abs() - DEAD_BAND * respired.abs()).mean()


def self_paced(out: Outputs, targets: Targets, threshold: float) -> Tensor:
    """L3: squared errors of Ra and of the yield, of those samples only whose own is below the threshold."""
    total = out.ra.new_zeros(())
    if targets.ra is not None:
        each = squares(out.ra, targets.ra, SD["ra"]).mean(1)
        total = total + (each * (each.detach() < threshold)).mean()
    if targets.harvest is not None:
        each = squares(out.harvest, targets.harvest, SD["yield"])
        total = total + (each * (each.detach() < threshold)).mean()
    return total


def county_yields(out: Outputs, targets: Targets, threshold: float) -> Tensor:
    """L4: squared errors of the counties' means over their points, those below the threshold."""
    assert targets.harvest is not None
    assert targets.owner is not None
    there = ~torch.isnan(targets.harvest)
    owners, index = torch.unique(targets.owner[there], return_inverse=True)
    zero = out.harvest.new_zeros(len(owners))
    count = zero.index_add(0, index, torch.ones_like(out.harvest[there])).clamp(min=1)
    mean = zero.index_add(0, index, out.harvest[there]) / count
    target = zero.index_add(0, index, targets.harvest[there]) / count
    each = ((mean - target) / SD["yield"]) ** 2
    weight = torch.ones_like(zero)
    if targets.weight is not None:
        weight = zero.index_add(0, index, targets.weight[there]) / count
    return (weight * each * (each.detach() < threshold)).sum() / weight.sum().clamp(min=1e-9)


def relative_yields(harvest: Tensor, targets: Targets) -> Tensor:
    """Squared logarithms of modelled by reported yields of counties, so that every crop's errors count alike."""
    assert targets.harvest is not None
    assert targets.owner is not None
    owners, index = torch.unique(targets.owner, return_inverse=True)
    zero = harvest.new_zeros(len(owners))
    mean, target = zero.index_add(0, index, harvest), zero.index_add(0, index, targets.harvest)
    # a crop that failed in the model alone is one error among many, not the only one
    return torch.log(mean.clamp(min=1e-3) / target).clamp(-1.0, 1.0).square().mean()


def yield_bounds(out: Outputs, days: Days) -> Tensor:
    """L5: a yield above half of the GPP, or below zero, in units of its standard deviation."""
    return (relu(out.harvest - 0.5 * days.gpp.sum(1)) + relu(-out.harvest)).mean() / SD["yield"]


def towers(out: Outputs, days: Days, targets: Targets) -> Tensor:
    """L8: Reco where it is measured, once more as Rh where nothing stands, and NEE where it is to be learned.

    The paper splits the year by date (days 1-105 and 301-365 are winter): right for maize and soybean, wrong where
    wheat is green in March. Here the field's own calendar decides; where it is not known, GPP below 0.5 gC m-2 d-1.
    """
    total = out.ra.new_zeros(())
    if targets.reco is not None:
        total = total + masked_mean(squares(out.ra + out.rh, targets.reco, SD["reco"]), targets.reco, targets.weight)
        bare = torch.where(torch.isnan(days.standing), days.gpp < 0.5, (days.standing == 0) & (days.gpp < 1.0))
        winter = torch.where(bare, targets.reco, torch.full_like(targets.reco, torch.nan))
        total = total + 0.5 * masked_mean(squares(out.rh, winter, SD["reco"]), winter, targets.weight)
    if targets.nee is not None:
        total = total + masked_mean(squares(out.nee, targets.nee, SD["nee"]), targets.nee, targets.weight)
    return total


def plain_errors(out: Outputs, targets: Targets) -> Tensor:
    """Squared errors of everything that there is a target for: the training of the floors."""
    total = fluxes(out, targets)
    if targets.reco is not None:
        total = total + masked_mean(squares(out.ra + out.rh, targets.reco, SD["reco"]), targets.reco, targets.weight)
    if targets.harvest is not None:
        there = ~torch.isnan(targets.harvest)
        each = squares(out.harvest, targets.harvest, SD["yield"])
        total = total + each.sum() / there.sum().clamp(min=1)
    return total


__all__ = ["SD", "Targets", "balance", "county_yields", "fluxes", "masked_mean", "plain_errors", "relative_yields",
           "self_paced", "squares", "towers", "yield_bounds"]  # fmt: skip
