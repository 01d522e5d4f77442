"""LINTUL5 here beside torchcrop, day by day: the greatest difference of every state and flux.

python -m tests.benchmarks.lintul5_parity [--cells 24] [--card CHECKPOINT]

Made-up seasons of each crop, double precision, hard switches, torchcrop's constants, which are single. torchcrop
(extra `peers`) lets roots grow below the soil and takes their water from it; `Variant(overshoot=True)` does as well.
Without it the water balance is kept, and biomass differs: that is the last line of each crop. Stems and roots begin to
die at stage 1.5 here, and between 1.5 and 1.5001 in torchcrop: a season with a day in between is not close.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from fieldflux.models.card import Score
from fieldflux.models.processes.lintul5 import parameters as p_
from fieldflux.models.processes.lintul5.crops import MAIZE, SOYBEAN, WINTER_WHEAT_AUTUMN, Crop
from fieldflux.models.processes.lintul5.season import simulate
from fieldflux.models.processes.lintul5.step import Limits, Variant
from fieldflux.models.processes.lintul5.weather import prepare
from torch import Tensor

from tests.benchmarks.carded import DATA, Line, keep
from tests.benchmarks.lintul5_gradients import sowing
from tests.crop_weather import made_up, peer_model, peer_weather

NAME = "lintul5-parity"
CASES: tuple[tuple[Crop, Limits], ...] = (
    (MAIZE, "nitrogen"), (SOYBEAN, "water"), (WINTER_WHEAT_AUTUMN, "nitrogen"),
)  # fmt: skip
LATITUDE = 45.0
STATES = {"stage": "dvs", "lai": "lai", "grain": "wso", "leaf": "wlv", "stem": "wst", "root": "wrt", "depth": "rootd"}
FLUXES = {"transpiration": "tran", "evaporation": "evap", "drainage": "drain", "drought": "tranrf"}
CLOSE = 1e-5
GREATEST = "greatest relative difference from torchcrop on any day"
SHARE = f"share of seasons within {CLOSE:g} of torchcrop's greatest on every day"
INSIDE = "biomass, roots that end with the soil"


def apart(crop: Crop, limits: Limits, cells: int) -> dict[str, Tensor]:
    """Of every state and flux the greatest difference on any day of each season, as a share of torchcrop's greatest in
    any season, [cells]; INSIDE: that of biomass without overshoot. Raises ImportError without torchcrop."""
    made, sow = made_up(cells), sowing(crop)
    nitrogen = torch.zeros_like(made["rain"])
    nitrogen[:, sow + 30] = 4.0
    peer = peer_model(crop, LATITUDE, sow + 1, limits, torch.float64)
    peer.soil_params.nmini = torch.tensor(6.0, dtype=torch.float64)
    fertilizer = torch.stack([nitrogen, torch.zeros_like(nitrogen), torch.zeros_like(nitrogen)], dim=-1)
    with torch.no_grad():
        theirs = peer(peer_weather(made), start_doy=1, fertilizer=fertilizer)
    weather = prepare(crop, latitude=LATITUDE, nitrogen=nitrogen, **made)  # type: ignore[arg-type]
    table = p_.table(crop, cells, {"n_organic": 6.0}, dtype=torch.float64).float().double()
    ours = simulate(crop, weather, table, sow, variant=Variant("hard", limits, overshoot=True))
    inside = simulate(crop, weather, table, sow, variant=Variant("hard", limits), outputs=("biomass",))

    def days(parts: Sequence[object], name: str) -> Tensor:
        return torch.stack([getattr(part, name) for part in parts], dim=1)

    expected = {name: days(theirs.states[1:], other) for name, other in STATES.items()}
    expected |= {name: days(theirs.diagnostics, other) for name, other in FLUXES.items()}
    found = {name: _greatest(ours[name], values) for name, values in expected.items()}
    above = expected["leaf"] + expected["stem"] + expected["grain"]
    return found | {INSIDE: _greatest(inside["biomass"], above)}


def _greatest(ours: Tensor, theirs: Tensor) -> Tensor:
    return (ours - theirs).abs().amax(1) / theirs.abs().max()


def scores_of(lines: Sequence[Line]) -> list[Score]:
    """Of each crop's lines: the greatest difference of all states and fluxes, and the least share of seasons that are
    `CLOSE`; of biomass where the roots end with the soil, the greatest difference."""
    out = []
    for crop in dict.fromkeys(x["crop"] for x in lines):
        for inside in (False, True):
            own = [x for x in lines if x["crop"] == crop and (x["what"] == INSIDE) == inside]
            what = INSIDE if inside else "all states and fluxes"
            n = int(own[0]["seasons"])
            told = {GREATEST: max(float(x["difference"]) for x in own)}
            if not inside:
                told[SHARE] = min(int(x["close"]) for x in own) / n
            out += [
                Score(
                    variable="biomass", metric=metric, value=round(value, 8), unit="1", n=n, data=DATA,
                    split=f"python -m tests.benchmarks.lintul5_parity: {what}; {crop}, {own[0]['limits']}-limited; "
                    "float64, hard switches",
                )
                for metric, value in told.items()
            ]  # fmt: skip
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=24, help="Seasons of each crop.")
    parser.add_argument("--card", type=Path, help="Checkpoint that gets the table and whose card gets the scores.")
    given = parser.parse_args()
    torch.set_num_threads(1)
    lines: list[Mapping[str, str]] = []
    print(f"{given.cells} seasons of each crop; greatest difference, seasons within {CLOSE:g}")
    for crop, limits in CASES:
        for what, differences in apart(crop, limits, given.cells).items():
            greatest, close = float(differences.max()), int((differences < CLOSE).sum())
            lines.append({"crop": crop.name, "limits": limits, "seasons": str(given.cells), "what": what,
                          "difference": f"{greatest:.2g}", "close": str(close)})  # fmt: skip
            print(f"{crop.name:22s} {limits:9s} {what:40s} {greatest:8.1e} {close:6d}", flush=True)
    if given.card:
        keep(given.card, NAME, lines, scores_of)


if __name__ == "__main__":
    main()
