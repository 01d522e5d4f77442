"""The workspace: which cubes, models and stores this machine has; each opened when first needed, and kept.

    <home>/cubes/<cube>.zarr                                    input cubes
    <home>/stores/<cube>-<hash>/<model>-<version>-<hash>.zarr   outputs
    <home>/checkpoints/<name>/<version>/                        models trained here

A store's path holds the hashes of its cube and its model's weights: another cube or another model is another store, so
that numbers made from old inputs are never served as those of new ones.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, TypeAlias

from fieldflux.models.registry import SHIPPED, Registry
from fieldflux.tiles.lru import Lru

from .elsewhere import Elsewhere
from .problems import Refused
from .settings import Settings

if TYPE_CHECKING:
    from fieldflux.models.card import Card
    from fieldflux.models.contract import Model
    from fieldflux.tiles.cube import Cube
    from fieldflux.tiles.ondemand import ChunkQueue
    from fieldflux.tiles.store import Store

log = logging.getLogger("fieldflux")

DEMO = "demo"
MEMORY_BYTES = 32 << 20
PICTURES_BYTES = 16 << 20
ANSWERS_BYTES = 8 << 20
CHUNKS_BYTES = 40 << 20


Stamp: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Place:
    """A cube and a model: what every answer is about."""

    cube: Cube
    card: Card


class Workspace:
    """Cubes, models, stores and queues of one work folder. Safe to share between threads."""

    def __init__(self, settings: Settings, registry: Registry | None = None) -> None:
        self.settings = settings
        self.registry = registry or registry_of(settings)
        self._lock = Lock()
        self._loading = Lock()
        self._cubes: dict[Path, tuple[Stamp | None, Cube]] = {}
        self._models: dict[str, Model] = {}
        self._cards: dict[str, Card] = {}
        self._places: dict[tuple[str, str], Place] = {}
        self._stores: dict[Path, tuple[Stamp, Store]] = {}
        self.elsewhere = Elsewhere(settings, CHUNKS_BYTES)
        """Stores that lie in an object store."""
        self._queues: dict[Path, tuple[Store, ChunkQueue]] = {}
        self._verified: set[str] = set()
        self.memory = Lru(MEMORY_BYTES)
        """What drawing and reading keep: decoded squares, coverages, tables of colours."""
        self.pictures = Lru(PICTURES_BYTES)
        """Tiles as they were sent, by their tags."""
        self.answers = Lru(ANSWERS_BYTES)
        """Series of one polygon as they were sent, by what they depend on."""
        self.trouble = ""
        """What last went wrong in the background: a sentence, or empty."""

    # Cubes

    def cube_paths(self) -> dict[str, Path]:
        """Cubes by id: those of the settings, then those of the work folder, whether they can be read or not."""
        inside = sorted((self.settings.home / "cubes").glob("*.zarr"))
        found: dict[str, Path] = {}
        for path in (*self.settings.cubes, *inside):
            found.setdefault(path.name.removesuffix(".zarr"), path.absolute())
        return found

    def default_cube(self) -> str:
        """Id of the cube that is meant where none is named. Raises Refused (unknown-cube) where there is none."""
        paths = self.cube_paths()
        if self.settings.cube:
            return self.settings.cube
        if not paths:
            raise Refused(
                "unknown-cube",
                "There is no cube yet. The demo landscape is built when the server first starts; or build one with "
                "`fieldflux cube build`.",
            )
        return next(iter(paths))

    def cube(self, cube: str = "") -> Cube:
        """The cube of that id, or the default one.

        Raises Refused (unknown-cube) with the cubes there are; BadCube where it is damaged.
        """
        from fieldflux.tiles.cube import open_cube

        name = cube or self.default_cube()
        paths = self.cube_paths()
        path = paths.get(name)
        if path is None:
            raise Refused(
                "unknown-cube", f"There is no cube '{name[:80]}'. The cubes here are: {', '.join(paths) or 'none'}."
            )
        stamp = _stamp(path / "zarr.json")
        held = self._cubes.get(path)
        if held is None or held[0] != stamp:
            held = (stamp, open_cube(path))
            self._cubes[path] = held
        return held[1]

    def cube_is_open(self, cube: Cube) -> bool:
        """Whether the files of an open cube are still those that were opened."""
        held = self._cubes.get(cube.path)
        return held is not None and held[1].same_files(cube) and held[0] == _stamp(cube.path / "zarr.json")

    # Models

    def card(self, model: str = "") -> Card:
        """The card of "name" (newest version) or "name/version", or of the default model.

        Raises UnknownModel, BadCheckpoint.
        """
        name = model or self.settings.model
        held = self._cards.get(name)
        if held is None:
            held = self.registry.card(name)
            self._cards[name] = held
        return held

    def model(self, model: str = "") -> Model:
        """The model, loaded and verified once. It takes seconds the first time. Raises UnknownModel, BadCheckpoint."""
        name = self.card(model).id
        with self._loading:
            return self._load(name)

    def _load(self, name: str) -> Model:
        held = self._models.get(name)
        if held is None:
            held = self.registry.load(name)
            self._models[name] = held
        return held

    def place(self, cube: str = "", model: str = "") -> Place:
        """A cube and a model that can run on it; of a model without day or year, the cube as one record.

        Raises MissingInputs where the cube lacks what the model needs, and all that `cube` and `card` raise.
        """
        held = self._places.get((cube, model))
        # A cube that was built again is another one.
        if held is not None and self.cube_is_open(held.cube):
            return held
        from fieldflux.models.contract import Needs, check_inputs
        from fieldflux.models.variables import of_record

        found = Place(self.cube(cube), self.card(model))
        card = found.card
        needs = Needs(card.needs_daily, card.needs_annual, card.needs_static, card.optional)
        check_inputs(card.id, needs, found.cube.available(), f"the cube '{found.cube.id}'")
        if of_record(card.outputs):
            found = Place(found.cube.as_record(), card)
        self._places[cube, model] = found
        return found

    # Stores

    def store_path(self, place: Place) -> Path:
        cube, card = place.cube, place.card
        return self.settings.home / store_folder(cube.id, cube.hash, card.name, card.version, card.weights_sha256)

    def store(self, place: Place) -> Store | None:
        """The store of a cube and a model, or None where nothing was computed yet. Raises BadStore, StoreAway."""
        from fieldflux.tiles.folder import StoreAway

        away: StoreAway | None = None
        for where in (*self.settings.stores, self.store_path(place)):
            try:
                held = self._opened(where) if isinstance(where, Path) else self.elsewhere.store(where)
            except StoreAway as error:
                away = error
                continue
            if held is not None and self._fits(held, place):
                return held
        if away is not None:
            # It may be the one that is asked for: nothing is computed again because a network is down.
            raise away
        return None

    def _opened(self, path: Path) -> Store | None:
        from fieldflux.tiles.store import open_store

        stamp = _stamp(path / "manifest.json")
        if stamp is None:
            return None
        held = self._stores.get(path)
        if held is None or held[0] != stamp:
            held = (stamp, open_store(path, cache_bytes=CHUNKS_BYTES))
            self._stores[path] = held
        return held[1]

    def store_to_fill(self, place: Place) -> Store:
        """The store of this machine, made where there is none. Raises StoreReadOnly, StoreFull, BadStore."""
        found = self.own_store(place)
        if found is None:
            with self._loading:
                self._make(self.store_path(place), place)
            found = self.own_store(place)
            assert found is not None
        return found

    def own_store(self, place: Place) -> Store | None:
        """The store of this machine, which can be written; None where there is none. Raises BadStore."""
        for path in (*self.settings.stores, self.store_path(place)):
            held = self._opened(path) if isinstance(path, Path) else None
            if held is not None and self._fits(held, place):
                return held
        return None

    def _make(self, path: Path, place: Place) -> None:
        """Make a store beside its place, then move it there: what a full disk or a kill cuts short leaves nothing."""
        from fieldflux.tiles.files import disk_faults
        from fieldflux.tiles.store import create_store

        beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        try:
            create_store(beside, self._load(place.card.id), place.cube)
            with disk_faults("a new store", path):
                os.rename(beside, path)
        except ValueError:
            # Another process may have made it a moment ago.
            if not (path / "manifest.json").exists():
                raise
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def queue(self, place: Place) -> ChunkQueue:
        """The queue that computes missing chunks. It may load the model, which takes seconds: not on the event loop."""
        from fieldflux.tiles.files import StoreReadOnly
        from fieldflux.tiles.ondemand import ChunkQueue

        served = self.store(place)
        if served is not None and served.waits:
            raise StoreReadOnly(
                "This is not computed yet, and its store is only read here: it lies in an object store. "
                "`fieldflux run` computes it in the work folder, `fieldflux stores push` puts it there."
            )
        store = self.store_to_fill(place)
        model = self.model(place.card.id)
        key = self.store_path(place)
        with self._lock:
            held = self._queues.get(key)
            if held is not None and held[0] is store:
                return held[1]
            queue = ChunkQueue(store, place.cube, model)
            self._queues[key] = (store, queue)
        if held is not None:
            held[1].close()
        return queue

    def queues(self) -> Iterable[ChunkQueue]:
        with self._lock:
            return [queue for _, queue in self._queues.values()]

    def verify(self, model: str) -> Card:
        """The card of a model whose weights were read and are those of the card; once, then remembered.

        Raises UnknownModel, BadCheckpoint.
        """
        from fieldflux.models.checkpoint import read_checkpoint

        card = self.card(model)
        if card.id not in self._verified:
            for root in self.registry.roots:
                folder = root / card.name / card.version
                if folder.is_dir():
                    read_checkpoint(folder)
                    break
            self._verified.add(card.id)
        return card

    def close(self) -> None:
        """Stop the queues, and following stores elsewhere. What they finished is kept."""
        for queue in self.queues():
            queue.close()
        self.elsewhere.close()

    @staticmethod
    def _fits(store: Store, place: Place) -> bool:
        return store.cube_hash == place.cube.hash and store.weights_sha256 == place.card.weights_sha256


def store_folder(cube: str, cube_hash: str, model: str, version: str, weights_sha256: str) -> Path:
    """Where the store of a cube and a model lies in a work folder."""
    return Path("stores") / f"{cube}-{cube_hash[:12]}" / f"{model}-{version}-{weights_sha256[:12]}.zarr"


def _stamp(path: Path) -> Stamp | None:
    """What changes when a file is written again; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def registry_of(settings: Settings) -> Registry:
    """Checkpoints of the settings, of the work folder and those shipped."""
    return Registry((*settings.checkpoints, settings.home / "checkpoints", SHIPPED))
