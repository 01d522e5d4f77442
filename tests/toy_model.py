"""A small real model for tests of the engine: a carbon pool and a bucket of water, two members, no training."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from fieldflux.models.card import Card, Domain
from fieldflux.models.contract import Forcing, Needs, Prediction, State

NEEDS = Needs(("tmean", "srad", "precip"), ("crop",), ("clay", "soc_content"), ("gpp_given", "tillage"))
OUTPUTS = ("gpp", "ra", "rh", "reco", "nee", "et", "soil_moisture", "soc", "yield", "residue", "delta_soc")
KNOWN = (1, 5)


def card(members: int = 2, weights: str = "a" * 64) -> Card:
    return Card(
        name="toy",
        version="1",
        title="Toy model",
        family="toy",
        description="For tests.",
        weights_sha256=weights,
        members=members,
        needs_daily=NEEDS.daily,
        needs_annual=NEEDS.annual,
        needs_static=NEEDS.static,
        optional=NEEDS.optional,
        outputs=OUTPUTS,
        domain=Domain(crops=("maize", "soybean"), climates="any", years="any"),
    )


@dataclass
class ToyModel:
    """gpp = light use x radiation where it is warm; ra is half of it; rh decays a pool that residue feeds.

    extreme: a factor on gpp that makes it too large to be packed. seen: cells that `predict` was given, batch by batch.
    """

    members: int = 2
    extreme: float = 1.0
    weights: str = "a" * 64

    def __post_init__(self) -> None:
        self.seen: list[int] = []
        self.spun_up: list[tuple[int, ...]] = []

    @property
    def card(self) -> Card:
        return card(self.members, self.weights)

    @property
    def needs(self) -> Needs:
        return NEEDS

    @property
    def outputs(self) -> tuple[str, ...]:
        return OUTPUTS

    def initial_state(self, forcing: Forcing) -> State:
        years = tuple(y for y in forcing.years if y <= forcing.end.year)
        self.spun_up.append(years)
        shape = (self.members, forcing.cells)
        warm = np.nanmean(forcing.daily["tmean"], axis=1)[forcing.weather]
        share = np.mean(forcing.annual["crop"][:, : len(years)] == 1, axis=1)
        pool = np.broadcast_to(forcing.static["soc_content"] * 300.0 + warm + 10 * share, shape)
        water = np.full(shape, 0.25)
        return State(forcing.start - timedelta(days=1), {"pool": pool.copy(), "water": water})

    def predict(self, forcing: Forcing, state: State | None = None) -> Prediction:
        state = state or self.initial_state(forcing)
        if state.day != forcing.start - timedelta(days=1):
            raise ValueError(f"The state is of {state.day}, the batch starts on {forcing.start}.")
        self.seen.append(forcing.cells)
        m, c, days = self.members, forcing.cells, forcing.days
        dates = forcing.dates()
        year_of = dates.astype("M8[Y]").astype(int) + 1970
        pool, water = state.arrays["pool"].copy(), state.arrays["water"].copy()
        out = {n: np.empty((m, c, days), np.float32) for n in OUTPUTS[:8]}
        years = tuple(y for y in forcing.years if y <= forcing.end.year)  # without the next year's inputs
        crops = forcing.annual["crop"][:, : len(years)]
        tillage = forcing.annual.get("tillage", np.zeros_like(crops))
        known = np.isin(crops, KNOWN).all(axis=1)
        factor = (1.0 + 0.05 * np.arange(m))[:, None] * self.extreme
        tmean, srad, precip = (forcing.daily[n][forcing.weather] for n in NEEDS.daily)
        year_index = year_of - forcing.years[0]
        annual = {n: np.zeros((m, c, len(years))) for n in ("yield", "residue", "delta_soc")}
        for d in range(days):
            y = year_index[d]
            t = tmean[:, d]
            use = np.where(crops[:, y] == 1, 0.6, 0.4)
            gpp = factor * use * srad[:, d] * np.clip(t / 25.0, 0.0, 1.0)
            if forcing.gpp_given is not None and forcing.gpp_unit is not None:
                unit = forcing.gpp_unit[:, y]
                given = forcing.gpp_given[np.maximum(unit, 0), d]
                gpp = np.where((unit >= 0) & ~np.isnan(given), factor * given, gpp)
            gpp = np.where(known, gpp, np.nan)
            ra = 0.5 * gpp
            rh = pool * 2e-4 * 2.0 ** ((t - 15.0) / 10.0) * (1 + tillage[:, y]) + 0 * gpp
            et = np.clip(water - 0.05, 0.0, None) * srad[:, d] * 0.4 + 0 * gpp
            water = np.clip(water + (precip[:, d] - et) / 1000.0, 0.02, 0.02 + forcing.static["clay"] / 1000.0)
            pool = pool + 0.3 * gpp - rh
            # In the precision of the outputs, in which the identities have to hold.
            gpp32, ra32, rh32 = (a.astype(np.float32) for a in (gpp, ra, rh))
            reco = ra32 + rh32
            values = (gpp32, ra32, rh32, reco, reco - gpp32, et, water + 0 * gpp, pool + 0 * gpp)
            for name, value in zip(OUTPUTS, values, strict=False):
                out[name][:, :, d] = value
            annual["yield"][:, :, y] += 0.2 * gpp
            annual["residue"][:, :, y] += gpp - ra - 0.2 * gpp
            annual["delta_soc"][:, :, y] += gpp - reco - 0.2 * gpp
        return Prediction(
            start=forcing.start,
            daily=out,
            years=years,
            annual={n: a.astype(np.float32) for n, a in annual.items()},
            state=State(date.fromisoformat(str(dates[-1])), {"pool": pool, "water": water}),
            flags={"crop_unknown": ~known},
        )
