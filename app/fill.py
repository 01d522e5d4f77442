"""The demo's first start: a process beside the server builds the cube, computes its store, and tells how far it is.

A process, not a thread: the model takes all cores for minutes, and tiles should not wait for it.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Literal

import numpy as np

from .runs import Pace
from .settings import Settings
from .workspace import DEMO, Place, Workspace

if TYPE_CHECKING:
    from fieldflux.models.contract import Model
    from fieldflux.tiles.store import Store

log = logging.getLogger("fieldflux")


@dataclass(frozen=True, slots=True)
class Status:
    """How far the filling is. message: one sentence for people, empty where all is done. progress: 0 to 1."""

    state: Literal["ready", "building", "computing", "failed"]
    message: str = ""
    progress: float | None = None
    seconds_left: float | None = None


READY = Status("ready")


class Filler:
    """Runs the process, and listens to it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._status = READY
        self._lock = Lock()
        self._process: subprocess.Popen[str] | None = None
        self._listener: Thread | None = None
        self._stopping = False

    @property
    def status(self) -> Status:
        return self._status

    @property
    def running(self) -> bool:
        return self._status.state in ("building", "computing")

    def start(self) -> None:
        """Start the process. Returns at once."""
        self._status = Status("building", "The demo landscape is being prepared.", 0.0)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fieldflux.app.fill"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl-C in a terminal goes to the whole group; the server ends this process itself, and cleanly.
            start_new_session=True,
        )
        assert self._process.stdin is not None
        try:
            # Not on the command line, which every user of this machine can see: the database's address may hold a
            # password.
            self._process.stdin.write(f"{self._settings.model_dump_json()}\n")
            self._process.stdin.flush()
        except OSError:
            # It died at once, which the listener tells.
            log.warning("the process that prepares the demo could not be told its settings")
        self._listener = Thread(target=self._listen, args=(self._process,), name="fill", daemon=True)
        self._listener.start()

    def fail(self, sentence: str) -> None:
        """What /readyz shall say where the process could not even be started."""
        self._status = Status("failed", sentence)

    def stop(self) -> None:
        """Ask the process to stop after what it has in hand, and wait for it. What it finished is kept."""
        self._stopping = True
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._listener is not None:
            self._listener.join(timeout=5)

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            try:
                self._status = Status(**json.loads(line))
            except (ValueError, TypeError):
                log.info("fill: %s", line.rstrip())
        code = process.wait()
        if code and not self._stopping and self._status.state != "failed":
            self._status = Status("failed", f"The demo landscape could not be computed: its process ended with {code}.")
        if self._status.state == "failed":
            log.error("%s", self._status.message)


def wanted(workspace: Workspace) -> bool:
    """Whether the demo has to be built or its store completed."""
    from fieldflux.tiles.folder import StoreAway

    settings = workspace.settings
    if not settings.demo or settings.cubes:
        return False
    paths = workspace.cube_paths()
    if DEMO not in paths:
        return not paths
    if not settings.fill:
        return False
    place = workspace.place(DEMO)
    try:
        store = workspace.store(place)
    except StoreAway:
        return False
    if store is None:
        return True
    # One that lies elsewhere is filled from there.
    return not store.waits and not all(store.complete(block, year) for block in store.blocks for year in store.years)


def fill(workspace: Workspace, report: Callable[[Status], None], cancel: Event) -> None:
    """Build the demo cube where it is missing, and compute what its store lacks; `report` gets each Status."""
    from fieldflux.tiles.run import Progress, RunStopped, run
    from fieldflux.tiles.sources.demo import build_demo

    home = workspace.settings.home
    if DEMO not in workspace.cube_paths():
        building = "The demo landscape is being built"
        report(Status("building", f"{building}.", 0.0))
        build_demo(
            home / "cubes" / f"{DEMO}.zarr",
            progress=lambda done, doing: report(Status("building", f"{building}: {doing}.", done)),
        )
    if cancel.is_set():
        return
    if not workspace.settings.fill:
        report(READY)
        return
    report(Status("computing", "The model is being loaded.", 0.0))
    place = workspace.place(DEMO)
    store = workspace.store_to_fill(place)
    model = workspace.model(place.card.id)
    _middle_first(model, place, store, report, cancel)
    if cancel.is_set():
        return
    computing = "The demo landscape is being computed"
    report(Status("computing", f"{computing}: its soils are spun up first, for some minutes.", 0.0))

    pace = Pace()

    def told(progress: Progress) -> None:
        left = pace.left(progress)
        years = f"{progress.blocks_done} of {progress.blocks_total} years done"
        spinning = progress.spin_up
        doing = years if spinning is None else f"its soils are spun up first, {spinning:.0%} of them so far"
        share = progress.cells_done / max(progress.cells_total, 1) if spinning is None else spinning
        report(Status("computing", f"{computing}: {doing}.", share, None if left is None else round(left, 1)))

    done = run(model, place.cube, store, progress=told, cancel=cancel)
    if done.faults:
        raise RunStopped(done.faults[0])
    if not done.cancelled:
        report(READY)


def _middle_first(model: Model, place: Place, store: Store, report: Callable[[Status], None], cancel: Event) -> None:
    """Compute one chunk in the middle, of the first year: spinning up all cells takes minutes, one chunk seconds.

    The run computes it once more, and says the same. Faults are the run's to tell.
    """
    from contextlib import closing

    from fieldflux.tiles.ondemand import ChunkQueue

    year, occupied = store.years[0], store.occupied
    if not occupied.any() or (store.computed(year) & occupied).any():
        return
    report(Status("computing", f"The demo landscape is being computed: the middle of {year} first, some seconds.", 0.0))
    chunks = np.argwhere(occupied)
    row, col = chunks[np.abs(chunks - chunks.mean(axis=0)).max(axis=1).argmin()].tolist()
    with closing(ChunkQueue(store, place.cube, model)) as queue:
        queue.request(row, col, year)
        while not queue.wait(0.2) and not cancel.is_set():
            pass


def main() -> int:
    """Settings are the first line of standard input, as JSON."""
    settings = Settings(**json.loads(sys.stdin.readline()))
    cancel = Event()

    def hear() -> None:
        # The server closes our standard input when it stops, or when it dies.
        sys.stdin.read()
        cancel.set()

    Thread(target=hear, daemon=True).start()
    if hasattr(os, "nice"):  # not on Windows
        os.nice(10)  # who looks at the map comes first
    try:
        fill(Workspace(settings), _tell, cancel)
    except ValueError as error:
        _tell(Status("failed", str(error)))
        return 1
    return 0


def _tell(status: Status) -> None:
    said: Mapping[str, object] = asdict(status)
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    sys.exit(main())
