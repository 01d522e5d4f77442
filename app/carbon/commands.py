"""`fieldflux verify` and `fieldflux statements …`: for verifiers, and for whoever keeps a server's signing keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from fieldflux.app.settings import Settings

statements_app = typer.Typer(
    help="Carbon statements: the keys that sign them. `fieldflux verify` checks one.", no_args_is_help=True
)
Home = Annotated[Path | None, typer.Option(help="Work folder.", show_default=".fieldflux")]
LONGEST = 16_000_000


def verify(
    statement: Annotated[Path, typer.Argument(help="The statement's file, as the server gave it.", dir_okay=False)],
    keys: Annotated[
        Path | None, typer.Option(help="Public keys of who signed it (jwks.json), got by a way you trust.")
    ] = None,
    server: Annotated[
        str, typer.Option(help="Or the server whose keys are trusted: they are fetched from it, and nothing is sent.")
    ] = "",
    recompute: Annotated[
        bool, typer.Option("--recompute/--signature-only", help="Compute it again from the work folder's inputs.")
    ] = True,
    home: Home = None,
) -> None:
    """Check a carbon statement: that nothing was changed since it was signed, and that its numbers come out again.

    Without --keys and --server, the keys are those of the work folder. Ends with 0 where all is well, else with 1.

    Example: `fieldflux verify statement.json --server https://flux.example.org --home .fieldflux`
    """
    from fieldflux.app.workspace import Workspace

    from .verify import check_form, verified

    settings = Settings(home=home) if home is not None else Settings()
    said = check_form(_json(statement, "statement"))
    found = verified(said, _keys(settings, keys, server), Workspace(settings) if recompute else None)
    typer.echo(f"signature     {'good' if found.signed else 'BAD'}: {found.why}")
    typer.echo(f"recomputation {found.outcome.replace('_', ' ')}: {found.told}")
    for one in found.differences[:20]:
        typer.echo(f"  {one['where']}: stated {_short(one['stated'])}, found {_short(one['found'])}")
    if found.count > 20:
        typer.echo(f"  and {found.count - 20} more")
    if not (found.signed and (found.good or not recompute)):
        raise typer.Exit(1)


@statements_app.command("keys")
def list_keys(home: Home = None) -> None:
    """Print the public keys as a JWK set, with those that are retired.

    Example: `fieldflux statements keys > jwks.json`
    """
    import json

    from .book import current_key, public_keys

    settings, database = _opened(home)
    current_key(database, _secret(settings))
    typer.echo(json.dumps({"keys": public_keys(database)}, indent=2))
    database.close()


@statements_app.command("renew-key")
def renew(home: Home = None) -> None:
    """Retire the key that signs now and make another. Statements that were signed before stay good.

    Example: `fieldflux statements renew-key`
    """
    from .book import renew_key

    settings, database = _opened(home)
    made = renew_key(database, _secret(settings))
    database.close()
    typer.echo(f"Statements are signed with {made.kid} from now on.", err=True)


def _opened(home: Path | None) -> tuple[Settings, Any]:
    from fieldflux.app.database import Database, database_url

    settings = Settings(home=home) if home is not None else Settings()
    return settings, Database(database_url(settings.database_url, settings.home))


def _secret(settings: Settings) -> Any:
    from fieldflux.app.accounts.secret import secret_of

    return secret_of(settings.home, settings.secret.get_secret_value())


def _keys(settings: Settings, given: Path | None, server: str) -> list[dict[str, Any]]:
    if given is not None and server:
        raise _refused("Give --keys or --server, not both.")
    if given is not None:
        return _listed(_json(given, "keys"), str(given))
    if server:
        import httpx

        address = f"{server.rstrip('/')}/.well-known/jwks.json"
        try:
            answer = httpx.get(address, timeout=30, follow_redirects=True).raise_for_status()
            return _listed(answer.json(), address)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise _refused(f"The keys cannot be had from {address}: {error}.") from error
    from fieldflux.app.database import Database, database_url

    from .book import public_keys

    database = Database(database_url(settings.database_url, settings.home))
    try:
        return public_keys(database)
    finally:
        database.close()


def _listed(content: Any, where: str) -> list[dict[str, Any]]:
    keys = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise _refused(f"{where} is no JWK set: it has no list `keys`.")
    return keys


def _json(path: Path, what: str) -> Any:
    import orjson

    try:
        if path.stat().st_size > LONGEST:
            raise _refused(f"The {what} {path} has more than {LONGEST:,} bytes.")
        return orjson.loads(path.read_bytes())
    except OSError as error:
        raise _refused(f"The {what} {path} cannot be read: {error.strerror}.") from error
    except orjson.JSONDecodeError as error:
        raise _refused(f"The {what} {path} is not JSON: {error}.") from error


def _short(value: Any) -> str:
    return str(value)[:60]


def _refused(sentence: str) -> Exception:
    # It brings the server's libraries, which no other command should wait for.
    from fieldflux.app.problems import Refused

    return Refused("invalid-request", sentence)
