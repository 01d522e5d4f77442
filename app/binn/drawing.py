"""Which soils each network learns from: draws of whole blocks, so that members differ as places do."""

from __future__ import annotations

import numpy as np
import torch
from fieldflux.models.hybrids.binn.fit import Sample
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def drawn(group: NDArray[np.int64], among: Mask, seed: int, check: float = 0.0) -> Sample:
    """As many blocks as there are `among` the soils, drawn with replacement; a share of blocks is kept to check with.

    group: [n] block of each soil. The check blocks are never drawn. Same seed, same draw.
    """
    draw = np.random.default_rng(seed)
    blocks = draw.permutation(np.unique(group[among]))
    apart = round(check * len(blocks))
    kept = np.sort(blocks[apart:])
    times = np.bincount(np.searchsorted(kept, draw.choice(kept, len(kept))), minlength=len(kept))
    here = np.flatnonzero(among & np.isin(group, kept))
    learn = np.repeat(here, times[np.searchsorted(kept, group[here])])
    checked = np.flatnonzero(among & np.isin(group, blocks[:apart]))
    return Sample(torch.from_numpy(learn), torch.from_numpy(checked))


def all_of(group: NDArray[np.int64], among: Mask, seed: int, check: float = 0.0) -> Sample:
    """All soils once, less the check blocks."""
    blocks = np.random.default_rng(seed).permutation(np.unique(group[among]))
    apart = np.isin(group, blocks[: round(check * len(blocks))]) & among
    return Sample(torch.from_numpy(np.flatnonzero(among & ~apart)), torch.from_numpy(np.flatnonzero(apart)))
