"""What the models of an experiment on fields are given: draws of noise, and which seasons are held out together.

Noise of level m: on the weather of training and test, m x 10 % of each input's standard deviation over all days; on
what training sees of biomass, grain and leaf area, m x 5 % of the greatest of each. Tests are always against the
measurement as it was made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from fieldflux.models.hybrids.crop.inputs import DAYS
from fieldflux.models.hybrids.crop.members import Given
from torch import Tensor

from .fieldinputs import FieldInputs, prepared, read_from_sowing

INPUT_NOISE, TARGET_NOISE = 0.10, 0.05
STEP = 10  # days of a step of the networks: biomass was measured every one to three weeks
LEAST = {"radiation": 0.5, "rain": 0.0, "vapour": 0.01, "wind": 0.1}
FOLDS = 3  # inside a training, at most


@dataclass(frozen=True, slots=True)
class Noise:
    """Levels of noise on the weather and on what was measured."""

    inputs: float = 0.0
    targets: float = 0.0


@dataclass(frozen=True, slots=True)
class Split:
    """labels: [C] what is held out together. spatial: whether labels are places. what: in words."""

    labels: tuple[str, ...]
    spatial: bool
    what: str

    @property
    def names(self) -> tuple[str, ...]:
        """The labels, each once."""
        return tuple(dict.fromkeys(self.labels))

    def held(self, name: str) -> Tensor:
        """[C] whether a season has this label."""
        return torch.tensor([label == name for label in self.labels])


def split_of(inputs: FieldInputs) -> Split:
    """By place; where there is one alone, by the nitrogen that was given; where that does not differ, by season."""
    if len(set(inputs.places)) > 1:
        return Split(inputs.places, True, "one place left out")
    given = [f"{10.0 * float(n):.0f} kg N ha-1" for n in inputs.given["nitrogen"].sum(1)]
    if len(set(given)) > 1:
        return Split(tuple(given), False, "one nitrogen level left out, at the same place: no test of other places")
    return Split(inputs.names, False, "one treatment left out, at the same place: no test of other places")


def inner_folds(inputs: FieldInputs, split: Split, training: Tensor) -> list[Tensor]:
    """[C] seasons that are held out for choices inside a training, 2 or 3 times: whole places, or what `split` holds
    out; of one alone, experiments or treatments. Every season of the training is held out once.

    Raises ValueError for a training of one season.
    """
    inside = [i for i in range(len(inputs.names)) if bool(training[i])]
    for labels in (split.labels, inputs.experiments, inputs.names):
        sizes: dict[str, int] = {}
        for i in inside:
            sizes[labels[i]] = sizes.get(labels[i], 0) + 1
        if len(sizes) > 1:
            break
    else:
        raise ValueError(f"A training of {len(inside)} season has nothing to hold out for choices.")
    bins: list[list[str]] = [[] for _ in range(min(FOLDS, len(sizes)))]
    for label in sorted(sizes, key=lambda name: (-sizes[name], name)):
        min(bins, key=lambda b: sum(sizes[x] for x in b)).append(label)
    return [torch.tensor([bool(training[i]) and label in chosen for i, label in enumerate(labels)]) for chosen in bins]


def noisy_weather(inputs: FieldInputs, level: float, seed: int) -> dict[str, Tensor]:
    """The daily weather with noise, kept possible: no negative rain, the minimum not above the maximum."""
    g = torch.Generator().manual_seed(seed)
    out = dict(inputs.given)
    for name in ("t_min", "t_max", "radiation", "rain", "vapour", "wind"):
        value = inputs.given[name]
        out[name] = value + level * INPUT_NOISE * value.std() * torch.randn(value.shape, generator=g)
        if name in LEAST:
            out[name] = out[name].clamp(min=LEAST[name])
    out["t_min"], out["t_max"] = torch.minimum(out["t_min"], out["t_max"]), torch.maximum(out["t_min"], out["t_max"])
    return out


def moved_weather(inputs: FieldInputs, copy: int, seed: int) -> dict[str, Tensor]:
    """The weather as other seasons might have had it: +-3 degC, 0.6-1.4 of the rain, 0.9-1.1 of the radiation."""
    g = torch.Generator().manual_seed(1000 * seed + copy)
    count = len(inputs.names)

    def even(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, generator=g)

    out = dict(inputs.given)
    warmer = even(-3.0, 3.0)
    for name in ("t_min", "t_max"):
        out[name] = out[name] + warmer
    out["vapour"] = out["vapour"] * torch.exp(0.06 * warmer)
    out["rain"], out["radiation"] = out["rain"] * even(0.6, 1.4), out["radiation"] * even(0.9, 1.1)
    return out


def given_of(inputs: FieldInputs, mass: float, noise: Noise, seeds: Sequence[int]) -> Given:
    """One draw of noise for each of the seeds; one in all where there is no noise."""
    draws = list(seeds) if noise.inputs or noise.targets else [0]
    weathers = [noisy_weather(inputs, noise.inputs, s) if noise.inputs else inputs.given for s in draws]
    m = inputs.measured
    seen = {name: torch.stack([_noisy(getattr(m, name), noise.targets, 7919 * (s + 1) + k) for s in draws])
            for k, name in enumerate(("biomass", "grain", "lai"))}  # fmt: skip
    return given_with(inputs, mass, weathers, seen)


def given_with(
    inputs: FieldInputs, mass: float, weathers: Sequence[dict[str, Tensor]], seen: dict[str, Tensor]
) -> Given:
    """The same with weathers of one's own; seen: biomass, grain and lai, each [K, C, D]."""
    s, m, days = inputs.seasons, inputs.measured, inputs.measured.biomass.shape[1]
    count = len(inputs.names)
    sow = s.sow.long()
    reads = [read_from_sowing(w, sow, days) for w in weathers]
    coarse = torch.stack([_pooled(r) for r, _ in reads])
    light = torch.stack([_pooled(r[..., None])[..., 0] for _, r in reads])
    clock = torch.arange(coarse.shape[2]) * STEP / 100.0 - 1.0
    read = torch.cat([coarse, clock[None, None, :, None].expand(len(weathers), count, -1, 1)], dim=-1)
    joined = {name: torch.cat([w[name] for w in weathers]) for name in weathers[0]}
    weather = prepared(list(inputs.crops) * len(weathers), joined)
    stage = torch.full_like(m.biomass, torch.nan)
    for when, target in ((m.flowering, 1.0), (0.5 * (m.flowering + m.maturity), 1.5), (m.maturity, 2.0)):
        for i in range(count):
            if float(when[i]) < days:
                stage[i, int(when[i])] = target
    at = _days_of([*seen["biomass"], *seen["grain"], *seen["lai"], stage])
    found = {
        name: v.gather(2, at[None].expand(v.shape[0], -1, -1)) for name, v in {**seen, "stage": stage[None]}.items()
    }
    length = at.amax(1) - sow
    return Given(
        read, torch.cat([s.statics, inputs.field], dim=1), (length // STEP + 1).clamp(1, read.shape[2]), weather,
        light, s.table, s.sow, at, _first(found["biomass"], at), _first(found["grain"], at), _first(found["lai"], at),
        _first(found["stage"], at)[0], mass, STEP,
    )  # fmt: skip


def _pooled(steps: Tensor) -> Tensor:
    """[C, T, F] means over STEP days of means over five; a last half one stands for a whole."""
    times = STEP // DAYS
    lack = -steps.shape[1] % times
    whole = torch.cat([steps, steps[:, -1:].expand(-1, lack, -1)], dim=1)
    return whole.view(steps.shape[0], -1, times, steps.shape[2]).mean(2)


def longer(given: Given, copies: int) -> Given:
    """Given of K = 1 x copies draws as one draw of copies x C seasons, for a teacher that knows every season."""
    k, c = given.read.shape[:2]
    if k != copies:
        raise ValueError(f"{copies} draws are expected, but there are {k}.")
    flat = {name: getattr(given, name).reshape(1, k * c, -1) for name in ("biomass", "grain", "lai", "radiation")}
    flat |= {"at": given.at.repeat(k, 1), "stage": given.stage.repeat(k, 1)}
    return replace(
        given, read=given.read.reshape(1, k * c, *given.read.shape[2:]), static=given.static.repeat(k, 1),
        length=given.length.repeat(k), table=given.table.repeat(1, k), sow=given.sow.repeat(k),
        **flat,
    )  # fmt: skip


def _noisy(values: Tensor, level: float, seed: int) -> Tensor:
    known = ~torch.isnan(values)
    if not level or not bool(known.any()):
        return values
    g = torch.Generator().manual_seed(seed)
    return values + level * TARGET_NOISE * values[known].max() * torch.randn(values.shape, generator=g)


def _days_of(values: Sequence[Tensor]) -> Tensor:
    """[C, P] the days of each season on which any of [C, D] has a number; the last one again up to the most."""
    known = ~torch.isnan(torch.stack(list(values))).all(0)
    most = max(1, int(known.sum(1).max()))
    rows = []
    for row in known:
        own = row.nonzero()[:, 0] if bool(row.any()) else torch.zeros(1, dtype=torch.long)
        rows.append(torch.cat([own, own[-1:].expand(most - len(own))]))
    return torch.stack(rows)


def _first(values: Tensor, at: Tensor) -> Tensor:
    """Values [K, C, P] with NaN where their day stands a second time."""
    again = torch.zeros_like(at, dtype=torch.bool)
    again[:, 1:] = at[:, 1:] == at[:, :-1]
    return values.masked_fill(again[None], torch.nan)
