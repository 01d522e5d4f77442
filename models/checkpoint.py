"""Checkpoints: `<root>/<name>/<version>/` with `weights.safetensors` and `card.json`. Data, never code."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from .card import Card
from .contract import Floats

WEIGHTS = "weights.safetensors"
CARD = "card.json"


class BadCheckpoint(ValueError):
    """A checkpoint that is missing, damaged or not what its card says."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights by name, with their card."""

    card: Card
    weights: Mapping[str, Floats]


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read and verify a checkpoint.

    Raises BadCheckpoint, saying what is wrong with which file, if the card does not parse, the weights do not, or their
    sha256 is not the card's.
    """
    card = read_card(folder)
    path = folder / WEIGHTS
    try:
        blob = path.read_bytes()
    except OSError as error:
        raise BadCheckpoint(f"The weights of model '{card.id}' cannot be read: {path}: {error.strerror}.") from error
    found = hashlib.sha256(blob).hexdigest()
    if found != card.weights_sha256:
        raise BadCheckpoint(
            f"The weights of model '{card.id}' are not those of its card: {path} has sha256 {found[:16]}…, "
            f"the card says {card.weights_sha256[:16]}…. Restore the file, or train the model again."
        )
    try:
        weights = load(blob)
    except (SafetensorError, ValueError) as error:
        raise BadCheckpoint(f"The weights of model '{card.id}' are no safetensors file: {path}: {error}.") from error
    return Checkpoint(card, weights)


def read_card(folder: Path) -> Card:
    """The card of a checkpoint, without its weights. Raises BadCheckpoint."""
    path = folder / CARD
    try:
        return Card.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadCheckpoint(f"There is no readable model card at {path}: {error.strerror}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"]) or "the file"
        raise BadCheckpoint(f"The model card {path} is not valid: {where}: {first['msg']}.") from error


def write_checkpoint(folder: Path, card: Card, weights: Mapping[str, Floats]) -> Card:
    """Write weights and card, each by an atomic rename; returns the card with the weights' sha256 filled in."""
    folder.mkdir(parents=True, exist_ok=True)
    blob = save({name: np.ascontiguousarray(array) for name, array in sorted(weights.items())})
    card = card.model_copy(update={"weights_sha256": hashlib.sha256(blob).hexdigest()})
    _write(folder / WEIGHTS, blob)
    _write(folder / CARD, (card.model_dump_json(indent=2) + "\n").encode())
    return card


def _write(path: Path, blob: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(handle, "wb") as file:
        file.write(blob)
    os.chmod(name, 0o644)
    os.replace(name, path)
