"""Trains a stack of BINNs, each on its own soils, through the solver's adjoint; broken off, it goes on from there."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fieldflux.models.processes.soilcarbon.observe import soil_carbon
from fieldflux.models.processes.soilcarbon.steady import steady_state
from torch import Generator, Tensor

from .lessons import Lessons
from .losses import distance, penalty
from .network import Binn
from .recipe import TrainingRecipe

Told = Callable[[float, str], None]
KEEP_EVERY = 10  # epochs
CHUNK = 8192  # cells solved at once where no gradient is wanted


@dataclass(frozen=True, slots=True)
class Sample:
    """The soils (indices) that one network of the stack learns from, repeated as drawn, and those that tell it when to
    stop (may be empty)."""

    learn: Tensor
    check: Tensor


@dataclass(frozen=True, slots=True)
class Course:
    """losses: [E, K] mean loss of each epoch done in this call. epochs: [K] of the weights that were kept."""

    losses: Tensor
    epochs: Tensor


def predict(network: Binn, lessons: Lessons, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(soil carbon [K, B, 20] gC m-3, outputs [K, B, P], unit values [K, B, P]) at places [K, B] (indices)."""
    k, b = places.shape
    flat = places.flatten()
    outputs = network.outputs(lessons.x[places], lessons.place[places] if network.recipe.coordinates else None)
    unit = network.bounded(outputs)
    prescribed = None if lessons.prescribed is None else lessons.prescribed[places]
    physical = network.physical(unit, prescribed).flatten(0, 1)
    pools = steady_state(physical, lessons.forcing_at(flat), cap=network.recipe.cap)
    return soil_carbon(pools).reshape(k, b, -1), outputs, unit


def observed_by(network: Binn, lessons: Lessons, places: Tensor) -> Tensor:
    """[K, B, S] what each network of the stack predicts of the measurements at places [B] or [K, B]; no gradient."""
    network.eval()
    each = places if places.ndim == 2 else places.expand(network.stack, -1)
    step = max(1, CHUNK // network.stack)
    out = []
    with torch.no_grad():
        for part in torch.split(each, step, 1):  # type: ignore[no-untyped-call]
            soil, _, _ = predict(network, lessons, part)
            out.append(lessons.observed.of(soil.flatten(0, 1), part.flatten()).reshape(*part.shape, -1))
    return torch.cat(out, 1)


def fit(
    network: Binn,
    lessons: Lessons,
    samples: Sequence[Sample],
    recipe: TrainingRecipe,
    seed: int,
    kept: Path | None = None,
    told: Told = lambda *_: None,
) -> Course:
    """Train each network k of the stack on samples[k]. The same seed gives the same weights, broken off or not.

    kept: file for what was done, written every KEEP_EVERY epochs and at the end; a call that finds it goes on from it.
    Raises ValueError unless there is a sample with soils for every network.
    """
    if len(samples) != network.stack or not all(len(s.learn) for s in samples):
        raise ValueError(f"A stack of {network.stack} networks needs as many samples with soils; given {len(samples)}.")
    longest = max(len(s.learn) for s in samples)
    steps = max(1, longest // recipe.batch)
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    best = _Best(network, len(samples))
    begun = _resume(kept, network, optimiser, best)
    losses = []
    for epoch in range(begun, recipe.epochs):
        if recipe.patience and bool((epoch - best.epoch > recipe.patience).all()):
            break
        draw = Generator().manual_seed(seed * 1_000_003 + epoch)
        if hasattr(network.encoder, "noise"):
            network.encoder.noise = Generator().manual_seed(seed * 1_000_003 + epoch + 500_009)
        order = torch.stack([_shuffled(s.learn, steps * recipe.batch, draw) for s in samples])
        network.train()
        total = torch.zeros(len(samples), dtype=torch.float64)
        for step in range(steps):
            _set_rate(optimiser, recipe, (epoch * steps + step + 0.5) / (recipe.epochs * steps))
            places = order[:, step * recipe.batch : (step + 1) * recipe.batch]
            soil, outputs, unit = predict(network, lessons, places)
            seen = lessons.observed.of(soil.flatten(0, 1), places.flatten()).reshape(*places.shape, -1)
            loss = distance(seen, lessons.observed.value[places], recipe)
            optimiser.zero_grad()
            # networks share no weight, so the sum's gradient is each one's own
            (loss + penalty(network, outputs, unit, recipe)).sum().backward()  # type: ignore[no-untyped-call]
            _clip(network, recipe.clip)
            optimiser.step()
            total += loss.detach().double() / steps
        losses.append(total)
        if recipe.patience:
            best.look(network, epoch, _checked(network, lessons, samples, recipe))
        if kept is not None and ((epoch + 1) % KEEP_EVERY == 0 or epoch + 1 == recipe.epochs):
            _keep(kept, network, optimiser, best, epoch + 1)
        told((epoch + 1) / recipe.epochs, f"epoch {epoch + 1} of {recipe.epochs}, loss {float(total.mean()):.3f}")
    if recipe.patience:
        best.put(network)
    network.eval()
    return Course(
        torch.stack(losses) if losses else torch.empty(0, len(samples)),
        best.epoch + 1 if recipe.patience else torch.full((len(samples),), recipe.epochs),
    )


def _checked(network: Binn, lessons: Lessons, samples: Sequence[Sample], recipe: TrainingRecipe) -> Tensor:
    """[K] loss at the check soils of each network; those of its own training where it has none."""
    chosen = [s.check if len(s.check) else s.learn for s in samples]
    longest = max(len(c) for c in chosen)
    # padded by repeating the last soil, whose measurements are then hidden
    places = torch.stack([torch.cat((c, c[-1:].expand(longest - len(c)))) for c in chosen])
    value = lessons.observed.value[places].clone()
    for k, c in enumerate(chosen):
        value[k, len(c) :] = torch.nan
    return distance(observed_by(network, lessons, places), value, recipe)


class _Best:
    """The weights of each network's best epoch."""

    def __init__(self, network: Binn, stack: int) -> None:
        self.loss = torch.full((stack,), math.inf, dtype=torch.float64)
        self.epoch = torch.full((stack,), -1)
        self.weights = {name: value.clone() for name, value in network.state_dict().items()}

    def look(self, network: Binn, epoch: int, loss: Tensor) -> None:
        better = loss.double() < self.loss
        self.loss = torch.where(better, loss.double(), self.loss)
        self.epoch = torch.where(better, epoch, self.epoch)
        for name, value in network.state_dict().items():
            self.weights[name][better] = value[better]

    def put(self, network: Binn) -> None:
        network.load_state_dict(self.weights)


def _shuffled(learn: Tensor, count: int, draw: Generator) -> Tensor:
    """[count] the soils in a drawn order, again and again where there are too few."""
    rounds = -(-count // len(learn))
    return torch.cat([learn[torch.randperm(len(learn), generator=draw)] for _ in range(rounds)])[:count]


def _set_rate(optimiser: torch.optim.Optimizer, recipe: TrainingRecipe, done: float) -> None:
    """Once: up within the first tenth, then down on a cosine to a hundredth."""
    rate = recipe.rate
    if recipe.schedule == "once":
        rate *= done / 0.1 if done < 0.1 else 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * (done - 0.1) / 0.9))
    for group in optimiser.param_groups:
        group["lr"] = rate


def _clip(network: Binn, greatest: float) -> None:
    """Each network's gradient to that norm at most; a network whose gradient is not finite stands still this once."""
    grads = [p.grad for p in network.parameters() if p.grad is not None]
    norm = torch.stack([g.flatten(1).double().square().sum(1) for g in grads]).sum(0).sqrt()
    factor = (greatest / norm.clamp(min=greatest)) if greatest else torch.ones_like(norm)
    sound = torch.isfinite(norm)
    for g in grads:
        shape = (-1, *(1,) * (g.ndim - 1))
        g.copy_(torch.where(sound.reshape(shape), g * factor.reshape(shape).to(g), torch.zeros_like(g)))


def _keep(path: Path, network: Binn, optimiser: torch.optim.Optimizer, best: _Best, epoch: int) -> None:
    part = path.with_suffix(".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(
        {
            "epoch": epoch, "network": network.state_dict(), "optimiser": optimiser.state_dict(),
            "best": {"loss": best.loss, "epoch": best.epoch, "weights": best.weights},
        },
        part,
    )  # fmt: skip
    os.replace(part, path)


def _resume(path: Path | None, network: Binn, optimiser: torch.optim.Optimizer, best: _Best) -> int:
    if path is None or not path.exists():
        return 0
    found: dict[str, Any] = torch.load(path, weights_only=True)
    network.load_state_dict(found["network"])
    optimiser.load_state_dict(found["optimiser"])
    best.loss, best.epoch, best.weights = (found["best"][name] for name in ("loss", "epoch", "weights"))
    return int(found["epoch"])


def polish(network: Binn, lessons: Lessons, sample: Sample, recipe: TrainingRecipe, steps: int) -> float:
    """Go on with a single network on all soils of the sample at once, by L-BFGS, up to `steps` steps; returns the loss.

    Where labels have no scatter, steps on batches stop well before what can be known. Give a network in float64.
    Raises ValueError for a stack of several.
    """
    if network.stack != 1:
        raise ValueError(f"One network at a time is polished; given a stack of {network.stack}.")
    optimiser = torch.optim.LBFGS(
        network.parameters(), max_iter=steps, history_size=30, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )
    places = sample.learn[None]
    network.eval()  # batch norm, where there is one, as it was learned

    def closure() -> Tensor:
        optimiser.zero_grad()
        soil, outputs, unit = predict(network, lessons, places)
        seen = lessons.observed.of(soil[0], places[0])[None]
        loss = distance(seen, lessons.observed.value[places], recipe) + penalty(network, outputs, unit, recipe)
        loss.sum().backward()  # type: ignore[no-untyped-call]
        return loss.detach().sum()

    return float(optimiser.step(closure))  # type: ignore[no-untyped-call]
