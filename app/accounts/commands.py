"""`fieldflux keys …`: API keys on the command line, for whoever runs the server; it need not be up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from fieldflux.app.settings import Settings

keys_app = typer.Typer(
    help="API keys: who may use a server that runs with FIELDFLUX_ACCOUNTS=on.", no_args_is_help=True
)

Home = Annotated[Path | None, typer.Option(help="Work folder of the server.", show_default=".fieldflux")]
OneTenant = Annotated[str, typer.Option(help="Only of this tenant; all if not given.")]


@keys_app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    tenant: Annotated[
        str, typer.Option(help="Whose it is; 'local' is whoever runs the server, who may make keys for all.")
    ] = "local",
    scope: Annotated[
        list[str] | None,
        typer.Option(help="What it allows: read, fields, jobs, statements, admin. Repeatable.", show_default="read"),
    ] = None,
    days: Annotated[int, typer.Option(help="Days until it expires; 0 for never.", min=0)] = 365,
    home: Home = None,
) -> None:
    """Make a key. It is printed this once, to standard output, and kept as a hash only.

    Example: `fieldflux keys create "web map" --tenant acme --scope read --scope fields --days 90`
    """
    from fieldflux.app.database import Database, database_url

    from .keys import Hasher
    from .keys import create as make
    from .secret import secret_of

    settings = _settings(home)
    database = Database(database_url(settings.database_url, settings.home))
    hasher = Hasher(secret_of(settings.home, settings.secret.get_secret_value()))
    key, text = make(database, hasher, tenant, name, scope or ["read"], days or None)
    database.close()
    ends = f"expires {key.expires[:10]}" if key.expires else "never expires"
    typer.echo(f"{key.id} of '{key.tenant}': {', '.join(key.scopes)}; {ends}. It is not shown again:", err=True)
    typer.echo(text)


@keys_app.command("link")
def link(
    name: Annotated[str, typer.Argument(help="Who has it, or what for.")],
    tenant: Annotated[str, typer.Option(help="Whose fields and limits it has.")] = "local",
    door: Annotated[
        list[str] | None,
        typer.Option(help="What it is for: maps, fields, series, stac, stores. Repeatable.", show_default="maps"),
    ] = None,
    days: Annotated[int, typer.Option(help="Days until it expires.", min=1)] = 30,
    server: Annotated[str, typer.Option(help="Address of the server, as its users see it.")] = "http://localhost:8000",
    home: Home = None,
) -> None:
    """Make a link for QGIS and other programs that cannot send a key: addresses that read, and end.

    `fieldflux keys list` shows it, `fieldflux keys revoke` ends it.

    Example: `fieldflux keys link "QGIS, Anna" --tenant acme --door maps --door stac --days 90`
    """
    from fieldflux.app.database import Database, database_url

    from .doors import addresses
    from .keys import Hasher, create_link
    from .secret import secret_of
    from .tokens import Signer

    settings = _settings(home)
    secret = secret_of(settings.home, settings.secret.get_secret_value())
    database = Database(database_url(settings.database_url, settings.home))
    key, token = create_link(database, Hasher(secret), Signer(secret), tenant, name, door or ["maps"], days)
    database.close()
    typer.echo(f"{key.id} of '{key.tenant}': {', '.join(key.doors)}; expires {(key.expires or '')[:10]}.", err=True)
    for what, address in addresses(server, key.doors, token).items():
        typer.echo(f"{what}\t{address}")


@keys_app.command("list")
def list_keys(tenant: OneTenant = "", home: Home = None) -> None:
    """List keys, with their state and when each was last used.

    Example: `fieldflux keys list --tenant acme`
    """
    from fieldflux.app.database import Database, database_url, utc_now
    from rich.console import Console
    from rich.table import Table

    from .keys import listed

    settings = _settings(home)
    database = Database(database_url(settings.database_url, settings.home))
    now = utc_now()
    table = Table("id", "tenant", "name", "begins with", "scopes", "state", "expires", "last used")
    after = ""
    while found := listed(database, tenant or None, 500, after):
        for key in found:
            ends, last = (key.expires or "never")[:10], (key.last_used or "never")[:16]
            table.add_row(
                key.id, key.tenant, key.name, f"{key.hint}…", " ".join(key.scopes), key.state(now), ends, last
            )
        after = found[-1].id
    database.close()
    Console(width=None if typer.get_text_stream("stdout").isatty() else 200).print(table)


@keys_app.command("revoke")
def revoke(
    key: Annotated[str, typer.Argument(help="Id of the key, as in key_01kxyz.")],
    home: Home = None,
) -> None:
    """Revoke a key. Servers that are up refuse it within ten seconds.

    Example: `fieldflux keys revoke key_01kxyz`
    """
    from fieldflux.app.database import Database, database_url

    from .keys import revoke as end

    settings = _settings(home)
    database = Database(database_url(settings.database_url, settings.home))
    found = end(database, None, key)
    database.close()
    typer.echo(f"{found.id} ('{found.name}' of '{found.tenant}') is revoked since {found.revoked}.", err=True)


def _settings(home: Path | None) -> Settings:
    return Settings(home=home) if home is not None else Settings()
