"""Runs of the torch engine over whole batches without gradients: a GPU's way, and the check of the compiled one."""

from __future__ import annotations

import numpy as np
import torch
from fieldflux.models.contract import Floats
from numpy.typing import NDArray

from .inputs import Seasons
from .rolled import Batch, roll, torch_day
from .step import OUTPUT


def roll_on_device(
    device: str,
    table: Floats,
    arrays: Floats,
    weather: Floats,
    row: NDArray[np.generic],
    gpp: Floats,
    unit: NDArray[np.int64],
    seasons: Seasons,
    soil: Floats,
    day_of_year: NDArray[np.int64],
    year: NDArray[np.int64],
    closes: NDArray[np.bool_],
    keep: bool,
    dtype: torch.dtype = torch.float32,
) -> tuple[Floats, Floats, Floats]:
    """Outputs [V, M, C, D] float32 (of no days unless `keep`), closed years [4, M, C, years], state [M, C, S]."""
    members, cells, states = arrays.shape
    day = torch_day()

    def put(values: NDArray[np.generic], kind: torch.dtype = dtype) -> torch.Tensor:
        return torch.as_tensor(np.ascontiguousarray(values)).to(device=device, dtype=kind)

    whole = torch.int64
    kinds = np.maximum(seasons.crop, 0)
    last = [d for d in range(len(day_of_year)) if closes[d]]
    ends = [int(year[d]) for d in last]
    out = np.empty((len(OUTPUT), members, cells, len(day_of_year) if keep else 0), dtype=np.float32)
    closed = np.empty((4, members, cells, len(ends)))
    after = np.empty_like(arrays)
    batch = Batch(
        weather=put(weather), row=put(row, whole), gpp=put(gpp), unit=put(unit, whole), crop=put(seasons.crop, whole),
        sow=put(seasons.sow, whole), harvest=put(seasons.harvest, whole), switch=put(seasons.switch, whole),
        irrigated=put(seasons.irrigated), removed=put(seasons.removed), tillage=put(seasons.tillage),
        soil=put(soil).T, day_of_year=day_of_year.tolist(), year=year.tolist(), closes=closes.tolist(),
    )  # fmt: skip
    unknown = seasons.crop < 0
    with torch.inference_mode():
        for m in range(members):
            parameters = put(np.moveaxis(table[m][kinds], -1, 0))  # [P, C, Y]
            state, outputs, sums = roll(day, put(arrays[m]).T, parameters, batch)
            after[m] = state.T.double().cpu().numpy()
            closed[:, m] = sums[:, ends].double().permute(0, 2, 1).cpu().numpy()
            if keep:
                out[:, m] = outputs.permute(0, 2, 1).float().cpu().numpy()
    for column, y in enumerate(ends):
        closed[:, :, unknown[:, y], column] = np.nan
    if keep and unknown.any():
        out[np.broadcast_to(unknown[:, year][None, None], out.shape)] = np.nan
    assert after.shape[-1] == states
    return out, closed, after
