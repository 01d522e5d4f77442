"""Runs from the command line: a model over a cube, with a progress bar, stopped cleanly by Ctrl-C."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .problems import Refused
from .settings import Settings
from .stopping import stopping
from .workspace import Workspace, registry_of

if TYPE_CHECKING:
    from fieldflux.models.contract import Model
    from fieldflux.tiles.grid import Block
    from fieldflux.tiles.run import Progress, RunReport
    from fieldflux.tiles.store import Store
    from rich.console import Console


@dataclass(frozen=True, slots=True)
class Order:
    """What to run: a cube by id or path, a model, years and blocks (None and () for all), processes, torch device."""

    cube: str
    model: str = ""
    years: tuple[int, ...] | None = None
    blocks: tuple[str, ...] = ()
    workers: int = 1
    device: str = "cpu"


def run_order(settings: Settings, order: Order, console: Console) -> RunReport:
    """Run it. Raises Refused, and what `tiles.run.run` raises."""
    from fieldflux.tiles.run import run
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn
    from rich.progress import Progress as Bar

    path = Path(order.cube)
    if "/" in order.cube or path.suffix == ".zarr":
        settings = settings.model_copy(update={"cubes": (path.absolute(), *settings.cubes)})
    workspace = Workspace(settings)
    place = workspace.place(path.name.removesuffix(".zarr"), order.model)
    store = workspace.store_to_fill(place)
    blocks = blocks_named(store, order.blocks)
    model = workspace.registry.load(place.card.id, order.device)
    console.print(
        f"{place.card.id} over the cube '{place.cube.id}', into {store.path}", highlight=False, soft_wrap=True
    )

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[left]}"))
    with Bar(*columns, console=console) as bar, stopping(console) as cancel:
        task = bar.add_task("spinning up", total=None, left="")
        pace = Pace()

        def told(p: Progress) -> None:
            seconds = pace.left(p)
            left = "" if seconds is None else f"{duration(seconds)} left"
            bar.update(
                task,
                completed=p.cells_done,
                total=p.cells_total,
                left=left,
                description=f"{p.blocks_done} of {p.blocks_total} blocks and years",
            )

        return run(
            model,
            place.cube,
            store,
            blocks,
            order.years,
            order.workers,
            told,
            cancel,
            load=partial(load_model, settings, place.card.id, order.device),
        )


def load_model(settings: Settings, model: str, device: str) -> Model:
    """The model, in a worker process."""
    return registry_of(settings).load(model, device)


def blocks_named(store: Store, names: tuple[str, ...]) -> list[Block] | None:
    """Blocks by their names; None for all. Raises Refused with the names there are."""
    if not names:
        return None
    known = {block.name: block for block in store.blocks}
    unknown = [name for name in names if name not in known]
    if unknown:
        listed = ", ".join(list(known)[:20]) + (", …" if len(known) > 20 else "")
        raise Refused("invalid-request", f"There is no block '{unknown[0]}'. The blocks are: {listed}.")
    return [known[name] for name in names]


def duration(seconds: float) -> str:
    """Seconds in words.

    >>> duration(3725)
    '1 h 2 min'
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class Pace:
    """Time left, by the pace since the first cells were done: what comes before them, such as spin-up, comes once."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def left(self, p: Progress) -> float | None:
        """Seconds, or None until there is a pace."""
        if self._first is None:
            if p.cells_done:
                self._first = p.seconds, p.cells_done
            return None
        seconds, cells = p.seconds - self._first[0], p.cells_done - self._first[1]
        return seconds / cells * (p.cells_total - p.cells_done) if cells and seconds > 1 else None
