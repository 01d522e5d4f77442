"""Inference at many soils: which ones, and their posteriors kept in files so that a broken-off run goes on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np

from .sampler import BadProfile, Budget, Likelihood, Posterior, Profile, infer
from .sites import SoilTable, forcing_of
from .splits import block_of

Told = Callable[[float, str], None]

FEWEST = 2  # layers


def soils_with_profiles(table: SoilTable, count: int, seed: int) -> SoilTable:
    """Mineral soils with two or more layers of known carbon, of each 2-degree block the one with most layers.

    Blocks in a drawn order, `count` at most; soils with as many layers are drawn among. Layers without carbon, or
    deeper than the soil was found to be, do not count. Raises BadProfile where there is none.
    """
    mineral = table.mineral()
    soils = mineral.soils
    layers = np.array([len(_profile(mineral, i)[0]) for i in range(len(mineral))])
    draw = np.random.default_rng(seed)
    rank = layers + draw.uniform(0.0, 0.5, len(mineral))
    block = block_of(soils.latitude, soils.longitude)
    best = [int(at[rank[at].argmax()]) for at in (np.flatnonzero(block == b) for b in np.unique(block))]
    best = [i for i in best if layers[i] >= FEWEST]
    if not best:
        raise BadProfile("None of these soils has two layers of known carbon: inference needs profiles.")
    kept = np.zeros(len(mineral), np.bool_)
    kept[draw.permutation(best)[:count]] = True
    return mineral.where(kept)


def profile_of(table: SoilTable, i: int) -> Profile:
    """The layers of soil i. Raises BadProfile."""
    return Profile(*_profile(table, i))


def _profile(table: SoilTable, i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from fieldflux.models.processes.soilcarbon.layers import BOTTOM

    soils = table.soils
    of = soils.owner == i
    top, bottom, density = soils.top[of], soils.bottom[of], soils.density[of]
    end = soils.soil_depth[i] if np.isfinite(soils.soil_depth[i]) else BOTTOM[-1]
    good = (np.nan_to_num(density) > 0.0) & (top >= 0.0) & (bottom > top) & (top < end) & (bottom <= BOTTOM[-1])
    return top[good], bottom[good], density[good]


def posteriors(
    table: SoilTable, seed: int, budget: Budget, likelihood: Likelihood, kept: Path, told: Told
) -> list[Posterior]:
    """One of each soil of the table, read where an earlier run of the same kind kept it, else sampled and kept."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = []
    try:
        kept.mkdir(parents=True, exist_ok=True)
        for i in range(len(table)):
            told(i / len(table), f"sampling soil {i + 1} of {len(table)}")
            found.append(_one(table, i, seed, budget, likelihood, kept))
    finally:
        torch.set_num_threads(threads)
    return found


def _one(table: SoilTable, i: int, seed: int, budget: Budget, likelihood: Likelihood, kept: Path) -> Posterior:
    profile = profile_of(table, i)
    here = np.zeros(len(table), np.bool_)
    here[i] = True
    forcing = forcing_of(table.where(here)).tensors()
    rests_on = (profile.top, profile.bottom, profile.density, *(
        np.asarray(v) for v in (forcing.temperature, forcing.water, forcing.litter, forcing.bedrock)
    ))  # fmt: skip
    name = hashlib.sha256(repr((seed, likelihood, sorted(asdict(budget).items()))).encode())
    for value in rests_on:
        name.update(np.ascontiguousarray(value).tobytes())
    path = kept / f"{name.hexdigest()[:20]}.npz"
    if path.exists():
        with np.load(path) as read:
            return Posterior(**{f.name: read[f.name][()] for f in fields(Posterior)})
    # the soil's own seed, so that its draws do not depend on which others are sampled
    posterior = infer(profile, forcing, seed + int(name.hexdigest()[:8], 16), budget, likelihood)
    unfinished = path.with_name(f"{path.stem}.{os.getpid()}.npz")
    np.savez(unfinished, **{f.name: getattr(posterior, f.name) for f in fields(Posterior)})
    unfinished.replace(path)
    return posterior
