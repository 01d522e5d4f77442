"""Experiments on measured fields: places that no model learned from, noise, and few places to learn from.

Every model predicts the biomass of each season without having learned from its place. The trainings' predictions are
kept, one file for each model and setting, so that a broken-off experiment goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from fieldflux.models.hybrids.crop.members import Courses, Given
from fieldflux.tiles.measurements.dssat import Fields, read_fields
from torch import Tensor

from .fieldfloors import FLOORS, clocks_of, floor_of
from .fieldgiven import Noise, Split, given_of, noisy_weather, split_of
from .fieldinputs import FieldInputs, field_inputs
from .fieldmodels import MODELS, NETWORKS, Choice, chosen, field_model, lintul5, predicted, teacher
from .fieldrecipe import CROPS, BadFieldRecipe, CropName, FieldRecipe, read_field_recipe

NAMES = ("crop-fields", "crop-fields-noise", "crop-fields-scarcity")
QUIET = Noise()
Told = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of an experiment. level: what is varied, in words. places: to learn from, None: all others."""

    level: str
    noise: Noise = QUIET
    places: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """A model in a setting: biomass and grain [S, C, D] by seed (grain NaN for floors), and what was chosen."""

    crop: CropName
    setting: Setting
    model: str
    biomass: Tensor
    grain: Tensor
    choice: Choice | None


@dataclass(frozen=True, slots=True)
class Study:
    """What an experiment was made on and what came out."""

    name: str
    recipe: FieldRecipe
    inputs: dict[CropName, FieldInputs]
    splits: dict[CropName, Split]
    left_out: tuple[str, ...]
    results: tuple[Result, ...]


def field_study(
    name: str, data_dir: Path, work: Path, recipe_path: Path, crop: CropName | None, quick: bool, told: Told
) -> Study:
    """Make one of NAMES for a crop, or for all. Raises BadFieldRecipe, and where there are no field experiments."""
    if name not in NAMES:
        raise BadFieldRecipe(f"There is no experiment '{name}' on fields. Choose one of: {', '.join(NAMES)}.")
    recipe = read_field_recipe(recipe_path)
    if quick:
        recipe = recipe.model_copy(
            update={
                "seeds": 2,
                "steps": 2 * recipe.every,
                "network_steps": 2 * recipe.every,
                "teaching": 10,
                "levels": (3.0,),
            }
        )
    fields = read_fields(data_dir)
    if not fields.seasons:
        raise BadFieldRecipe(
            f"There are no field experiments in {data_dir}/crop/dssat. The layout is in tiles/measurements/dssat.py."
        )
    crops = [c for c in CROPS if fields.of(c) and crop in (None, c)]
    if not crops:
        raise BadFieldRecipe(f"There are no field experiments with {crop} in {data_dir}/crop/dssat.")
    inputs = {c: field_inputs(fields.of(c)) for c in crops}
    splits = {c: split_of(inputs[c]) for c in crops}
    todo = [(c, s, m) for c in crops for s in settings_of(name, recipe, splits[c]) for m in models_of(c)]
    results = []
    for i, (c, setting, model) in enumerate(todo):
        results.append(_remembered(work, fields, c, inputs[c], splits[c], setting, model, recipe))
        told((i + 1) / len(todo), f"{c}, {setting.level}, {model}")
    left_out = tuple(reason for c, reason in fields.left_out if c in crops)
    return Study(name, recipe, inputs, splits, left_out, tuple(results))


def settings_of(name: str, recipe: FieldRecipe, split: Split) -> Iterator[Setting]:
    """The rows of an experiment for a crop; the first of noise and the last of scarcity is the main experiment's."""
    if name == "crop-fields":
        yield Setting("all other places")
    elif name == "crop-fields-noise":
        yield Setting("all other places")
        yield from (Setting(f"inputs x {level:g}", Noise(inputs=level)) for level in recipe.levels)
        yield from (Setting(f"targets x {level:g}", Noise(targets=level)) for level in recipe.levels)
    else:
        others = len(split.names) - 1
        yield from (Setting(f"{k} of {others}", places=k) for k in recipe.places if k < others)
        yield Setting("all other places")


def models_of(crop: CropName) -> tuple[str, ...]:
    """Names of the models of a crop, floors first."""
    own = ("LINTUL5 IOPT 2", "LINTUL5 IOPT 3") + (("LINTUL5 day length",) if crop == "soybean" else ())
    return (*FLOORS, *own, *MODELS)


def trainings_of(split: Split, inputs: FieldInputs, setting: Setting, seeds: int) -> list[list[Tensor]]:
    """For each seed, the training [C] of each held-out label; of few places drawn anew for each, with 2 seasons at
    least, which the choices inside need."""
    out = []
    for seed in range(seeds):
        g = torch.Generator().manual_seed(seed)
        own = []
        for name in split.names:
            others = [other for other in split.names if other != name]
            while True:
                order = torch.randperm(len(others), generator=g)[: setting.places or len(others)]
                used = [others[k] for k in order.tolist()]
                training = torch.tensor([label in used for label in split.labels])
                if int(training.sum()) > 1:
                    break
            own.append(training)
        out.append(own)
    assert len(inputs.names) == len(split.labels)
    return out


def attempt(
    crop: CropName, inputs: FieldInputs, split: Split, setting: Setting, model: str, recipe: FieldRecipe, fields: Fields
) -> Result:
    """Train and predict: one model in one setting, all places and seeds."""
    seeds, mass = recipe.seeds, recipe.mass[crop]
    given = given_of(inputs, mass, setting.noise, range(seeds))
    held = [split.held(name) for name in split.names]
    trainings = trainings_of(split, inputs, setting, seeds)
    if model in FLOORS:
        biomass = _floors(model, crop, inputs, given, split, setting, trainings, held)
        return Result(crop, setting, model, biomass, torch.full_like(biomass, torch.nan), None)
    if model.startswith("LINTUL5 IOPT") or model == "LINTUL5 day length":
        made = _as_it_comes(model, crop, inputs, given, setting, recipe, fields)
        grown = (made.biomass, made.grain)
        biomass, grain = (v if v.shape[0] == seeds else v.expand(seeds, -1, -1) for v in grown)
        return Result(crop, setting, model, biomass, grain, None)
    teach = teacher(inputs, given, recipe, crop)
    own = field_model(model, inputs, given, recipe, crop)
    choice = chosen(own, inputs, given, split, trainings[0], 0, teach)
    made = predicted(own, given, trainings, held, range(seeds), choice, teach)
    return Result(crop, setting, model, made.biomass, made.grain, choice)


def _as_it_comes(
    model: str, crop: CropName, inputs: FieldInputs, given: Given, setting: Setting, recipe: FieldRecipe, fields: Fields
) -> Courses:
    if crop == "soybean" and model != "LINTUL5 day length":
        inputs = field_inputs(fields.of(crop), american=False)
        given = given_of(inputs, given.mass, setting.noise, range(recipe.seeds))
    return lintul5(inputs, given, "nitrogen" if model.endswith("3") else "water")


def _floors(
    model: str, crop: CropName, inputs: FieldInputs, given: Given, split: Split, setting: Setting,
    trainings: list[list[Tensor]], held: list[Tensor],
) -> Tensor:  # fmt: skip
    noisy = setting.noise.inputs > 0.0
    seeds = len(trainings)
    weathers = [noisy_weather(inputs, setting.noise.inputs, s) for s in range(seeds)] if noisy else [inputs.given]
    clocks = clocks_of(inputs, weathers * (1 if noisy else given.read.shape[0]), crop)
    predict = floor_of(model, clocks, given, inputs, split)
    out = torch.full((seeds, *inputs.measured.biomass.shape), torch.nan)
    fixed = model != "boosting" and given.read.shape[0] == 1 and setting.places is None
    for seed in range(1 if fixed else seeds):
        for place, training, away in zip(split.names, trainings[seed], held, strict=True):
            draw = seed if given.read.shape[0] > 1 else 0
            made = predict(place, training, away.nonzero()[:, 0].numpy(), draw, seed)
            out[seed, away] = torch.tensor(made, dtype=torch.float32)
    return out[:1].expand(seeds, -1, -1) if fixed else out


def _remembered(
    work: Path, fields: Fields, crop: CropName, inputs: FieldInputs, split: Split, setting: Setting, model: str,
    recipe: FieldRecipe,
) -> Result:  # fmt: skip
    of_networks = {"network_steps", "teaching", "copies"} if model not in NETWORKS else set()
    settings = recipe.model_dump(exclude={"levels", "places", *of_networks}) | {"crop": crop, "names": inputs.names}
    sums = [float(torch.nan_to_num(v).double().sum()) for v in (inputs.measured.biomass, inputs.seasons.features)]
    key = hashlib.sha256(json.dumps([settings, sums], sort_keys=True).encode()).hexdigest()[:12]
    folder = work / f"{crop}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{setting.level} - {model}.npz".replace(" ", "_")
    if path.is_file():
        with np.load(path) as kept:
            choice = Choice(*(tuple(v) for v in json.loads(str(kept["choice"])))) if str(kept["choice"]) else None
            return Result(crop, setting, model, torch.tensor(kept["biomass"]), torch.tensor(kept["grain"]), choice)
    result = attempt(crop, inputs, split, setting, model, recipe, fields)
    made = result.choice
    written = json.dumps([made.strength, made.extra, made.steps, made.error]) if made else ""
    new = path.with_suffix(".new.npz")
    np.savez_compressed(new, biomass=result.biomass.numpy(), grain=result.grain.numpy(), choice=written)
    new.replace(path)
    return result
