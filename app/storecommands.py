"""`fieldflux stores`: looking after stores of outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

stores_app = typer.Typer(help="Stores of outputs: bring older ones up to date.", no_args_is_help=True)


@stores_app.callback()
def _group() -> None:
    pass


@stores_app.command("update")
def update(
    stores: Annotated[
        list[Path] | None, typer.Argument(help="Folders of stores; all of the work folder if none.")
    ] = None,
    home: Annotated[Path | None, typer.Option(help="Work folder.", show_default=".fieldflux")] = None,
) -> None:
    """Make what newer stores keep beside their days, so that fields and counties are read sooner.

    Stores of before are read all the same, only slower. No number changes. Servers may go on meanwhile. It can be
    stopped at any time; the same command goes on where it stopped.

    Example: `fieldflux stores update`
    """
    from fieldflux.tiles.store import open_store
    from rich.console import Console
    from rich.progress import Progress

    from .settings import Settings

    root = home or Settings().home
    console = Console(stderr=True)
    chosen = stores or sorted((root / "stores").glob("*/*.zarr"))
    if not chosen:
        console.print(f"There is no store in {root / 'stores'}.", highlight=False)
        return
    for path in chosen:
        store = open_store(path)
        try:
            with Progress(console=console, transient=True) as bar:
                task = bar.add_task(path.name)
                made = store.bring_up_to_date(lambda done, of, t=task, b=bar: b.update(t, completed=done, total=of))  # type: ignore[misc]
        except KeyboardInterrupt:
            console.print("Stopped. What was made is kept; the same command goes on.", highlight=False)
            raise typer.Exit(130) from None
        said = f"{made} blocks and years were brought up to date" if made else "is up to date"
        console.print(f"{path}: {said}.", highlight=False, soft_wrap=True)
