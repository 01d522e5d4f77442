"""`fieldflux stores`: looking after stores of outputs, and copying them to and from object stores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .stopping import stopping

if TYPE_CHECKING:
    from fieldflux.tiles.manifest import Manifest
    from fieldflux.tiles.objects.pull import Told
    from rich.console import Console

stores_app = typer.Typer(
    help="Stores of outputs: bring older ones up to date, copy them to and from object stores.", no_args_is_help=True
)

Address = Annotated[str, typer.Argument(help="Where it lies in the object store, as s3://bucket/prefix.")]


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


@stores_app.command("push")
def push_one(
    store: Annotated[Path, typer.Argument(help="Folder of the store.")],
    address: Address,
) -> None:
    """Copy a store into an object store, from where servers read it: FIELDFLUX_STORES=s3://bucket/prefix.

    Only what is lacking there is sent. It can be stopped at any time; the same command goes on. Servers see the new
    content when all of it is there, within ten seconds. Credentials are those of the environment (AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL; GOOGLE_* and AZURE_* for gs:// and az://).

    Example: `fieldflux stores push stores/adams.zarr s3://fluxes/adams`
    """
    from fieldflux.tiles.objects.push import push
    from rich.console import Console

    console = Console(stderr=True)
    with stopping(console) as cancel, _progress(console, "sent") as told:
        sent = push(store, address, told, cancel)
    if not sent.finished:
        console.print("Stopped. What was sent is kept; the same command goes on.", highlight=False)
        raise typer.Exit(130)
    console.print(
        f"{address}: {sent.sent} of {sent.files} files were sent ({sent.bytes / 1e6:.1f} MB), snapshot {sent.snapshot}."
        f" Other programs open {address}/{sent.edition}/ as Zarr.",
        highlight=False,
        soft_wrap=True,
    )


@stores_app.command("pull")
def pull_one(
    address: Address,
    folder: Annotated[Path | None, typer.Argument(help="Where to; its place in the work folder without.")] = None,
    home: Annotated[Path | None, typer.Option(help="Work folder.", show_default=".fieldflux")] = None,
) -> None:
    """Copy a store out of an object store, each file checked by its SHA-256.

    Only what is lacking is fetched. It can be stopped at any time; the same command goes on.

    Example: `fieldflux stores pull s3://fluxes/adams`
    """
    from fieldflux.tiles.objects.pull import pull
    from rich.console import Console

    from .settings import Settings
    from .workspace import store_folder

    console = Console(stderr=True)
    chosen: list[Path] = []

    def place(manifest: Manifest) -> Path:
        name, _, version = manifest.model.id.partition("/")
        inside = store_folder(manifest.cube.id, manifest.cube.hash, name, version, manifest.model.weights_sha256)
        chosen.append(folder or (home or Settings().home) / inside)
        return chosen[0]

    with stopping(console) as cancel, _progress(console, "there") as told:
        found = pull(address, place, told, cancel)
    if not found.finished:
        console.print("Stopped. What was fetched is kept; the same command goes on.", highlight=False)
        raise typer.Exit(130)
    console.print(
        f"{chosen[0]}: {found.fetched} of {found.files} files were fetched ({found.bytes / 1e6:.1f} MB); "
        f"snapshot {found.snapshot}.",
        highlight=False,
        soft_wrap=True,
    )


@stores_app.command("verify")
def verify_one(address: Address) -> None:
    """Read all of a pushed store and compare it with what was pushed, by SHA-256; exit code 1 where it differs.

    Example: `fieldflux stores verify s3://fluxes/adams`
    """
    from fieldflux.tiles.objects.pull import verify
    from rich.console import Console

    console = Console(stderr=True)
    with _progress(console, "read") as told:
        files, wrong = verify(address, told)
    for at in wrong:
        console.print(f"{address}: {at} is not what was pushed, or gone.", highlight=False, soft_wrap=True)
    if wrong:
        console.print("Delete these objects and push the store again: only what is lacking is sent.", highlight=False)
        raise typer.Exit(1)
    console.print(f"{address}: all {files} files are what was pushed.", highlight=False, soft_wrap=True)


@contextmanager
def _progress(console: Console, word: str) -> Iterator[Told]:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(word), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(word, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)
