"""A private PostgreSQL for tests: a cluster in a temp folder, reached over a socket there, gone at the end."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class NoPostgres(RuntimeError):
    """There is no PostgreSQL that can be started here; the message says why."""


def programs() -> Path:
    """The folder of initdb and pg_ctl. Raises NoPostgres."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).parent] if on_path else []
    # Debian keeps them off the path, by version.
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: -float(p.parent.name))
    for folder in folders:
        if (folder / "initdb").is_file() and (folder / "pg_ctl").is_file():
            return folder
    raise NoPostgres("no initdb and pg_ctl on the path or in /usr/lib/postgresql: install postgresql")


@contextmanager
def cluster() -> Iterator[str]:
    """The address of a fresh, empty database. Raises NoPostgres."""
    programs()
    home = Path(tempfile.mkdtemp(prefix="ff-pg-"))
    if os.geteuid() == 0:
        user = _unprivileged()
        os.chown(home, user.pw_uid, user.pw_gid)

    try:
        _run(home, "initdb", "-D", str(home / "data"), "-U", "fieldflux", "-A", "trust", "-E", "UTF8", "--no-sync")
        _start(home)
        try:
            yield f"postgresql://fieldflux@/postgres?host={home}"
        finally:
            _stop(home)
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def away(address: str) -> Iterator[None]:
    """While it lasts, the cluster of this database is down."""
    home = Path(address.rsplit("host=", 1)[1])
    _stop(home)
    try:
        yield
    finally:
        _start(home)


def _start(home: Path) -> None:
    options = f"-c listen_addresses='' -c unix_socket_directories='{home}' -c fsync=off -c max_connections=60"
    _run(home, "pg_ctl", "start", "-D", str(home / "data"), "-w", "-t", "30", "-l", str(home / "log"), "-o", options)


def _stop(home: Path) -> None:
    _run(home, "pg_ctl", "stop", "-D", str(home / "data"), "-m", "immediate", "-w")


def _run(home: Path, program: str, *arguments: str) -> None:
    # It refuses to run as root: then as Debian's user for it, or as nobody.
    user = _unprivileged() if os.geteuid() == 0 else None
    done = subprocess.run(
        [str(programs() / program), *arguments],
        cwd=home,
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
        extra_groups=[] if user else None,
        env={**os.environ, "HOME": str(home), "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=60,
    )
    if done.returncode:
        raise NoPostgres(f"{program} failed: {done.stderr.decode(errors='replace').strip()[-300:]}")


def new_database(address: str) -> str:
    """A further, empty database of a cluster; its address."""
    import psycopg

    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
    return address.replace("/postgres?", f"/{name}?")


def _unprivileged() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise NoPostgres("PostgreSQL does not run as root, and there is no user 'postgres' or 'nobody'")
