"""The registry: lists, verifies and loads the models of one or more checkpoint folders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

from .card import Card
from .checkpoint import BadCheckpoint, Checkpoint, read_card, read_checkpoint
from .contract import Model

SHIPPED = Path(__file__).parent / "checkpoints"

# family -> module with `load(checkpoint, device) -> Model`; imported when first used, so that listing models is quick
FAMILIES: MappingProxyType[str, str] = MappingProxyType(
    {
        "binn": "fieldflux.models.hybrids.binn.model",
        "agroecosystem": "fieldflux.models.processes.agroecosystem.model",
        "kgml": "fieldflux.models.kgml.model",
        "crop": "fieldflux.models.hybrids.crop.model",
    }
)


class UnknownModel(ValueError):
    """A model that no checkpoint folder holds."""


@dataclass(frozen=True, slots=True)
class Registry:
    """Checkpoints found under `roots`; an earlier root hides the same name and version in a later one."""

    roots: Sequence[Path] = (SHIPPED,)

    def cards(self) -> list[Card]:
        """Cards of all models, by name and version. A damaged card raises BadCheckpoint."""
        return [read_card(folder) for _, folder in sorted(self._folders().items())]

    def card(self, model: str) -> Card:
        """The card of "name" (its newest version) or "name/version"."""
        return read_card(self._folder(model))

    def load(self, model: str, device: str = "cpu") -> Model:
        """Load "name" (its newest version) or "name/version" for a torch device.

        Raises UnknownModel with the models there are; BadCheckpoint where its files are damaged.
        """
        checkpoint = read_checkpoint(self._folder(model))
        family = checkpoint.card.family
        if family not in FAMILIES:
            raise BadCheckpoint(
                f"Model '{checkpoint.card.id}' is of family '{family}', which this version of Fieldflux does not know; "
                f"it knows: {', '.join(sorted(FAMILIES))}. Update Fieldflux, or remove the checkpoint."
            )
        load: Callable[[Checkpoint, str], Model] = import_module(FAMILIES[family]).load
        return load(checkpoint, device)

    def _folders(self) -> dict[tuple[str, int], Path]:
        found: dict[tuple[str, int], Path] = {}
        for root in self.roots:
            for card in root.glob("*/*/card.json"):
                folder = card.parent
                if folder.name.isdigit():
                    found.setdefault((folder.parent.name, int(folder.name)), folder)
        return found

    def _folder(self, model: str) -> Path:
        name, _, version = model.partition("/")
        folders = self._folders()
        matching = [key for key in folders if key[0] == name and (not version or str(key[1]) == version)]
        if not matching:
            known = ", ".join(f"{n}/{v}" for n, v in sorted(folders)) or "none"
            raise UnknownModel(f"There is no model '{model}'. The models here are: {known}.")
        return folders[max(matching)]
