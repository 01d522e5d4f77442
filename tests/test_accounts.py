"""Accounts over HTTP: keys, scopes, tokens, and that no route shows one tenant's things to another."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fieldflux.app.accounts import keys
from fieldflux.app.accounts.commands import keys_app
from fieldflux.app.accounts.keys import Hasher
from fieldflux.app.accounts.secret import Secret, secret_of
from fieldflux.app.accounts.tokens import Signer
from fieldflux.app.accounts.who import SCOPES
from fieldflux.app.database import Database, database_url
from fieldflux.app.listen import check_open
from fieldflux.app.problems import Refused
from fieldflux.app.settings import Jobs, Settings
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from .serving import Json, serving, settings_of, toy_home, toy_registry

OPEN = {"/livez", "/readyz", "/version", "/.well-known/jwks.json"}
SQUARE: Json = {
    "type": "Polygon",
    "coordinates": [[[-93.66, 42.03], [-93.65, 42.03], [-93.65, 42.036], [-93.66, 42.036], [-93.66, 42.03]]],
}


@dataclass(frozen=True)
class Served:
    """A server with accounts on, and what makes keys for it."""

    client: httpx.Client
    database: Database
    hasher: Hasher

    def key(self, tenant: str, *scopes: str, days: int | None = 1) -> str:
        return keys.create(self.database, self.hasher, tenant, "test", scopes or SCOPES, days)[1]

    def ask(self, method: str, path: str, key: str = "", **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return self.client.request(method, path, headers=headers, **more)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = toy_home(tmp_path_factory.mktemp("home"), run_years=(2020,))
    settings = settings_of(home, accounts=True, jobs=Jobs(workers=0))
    database = Database(database_url("", home))
    with serving(settings, toy_registry(home / "checkpoints")) as client:
        yield Served(client, database, Hasher(secret_of(home)))
    database.close()


@dataclass(frozen=True)
class Operation:
    """A route of the OpenAPI description, with values for the parameters that it must have."""

    method: str
    path: str
    query: dict[str, Any]
    places: dict[str, str]

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    def address(self, **known: str) -> str:
        values = {
            **self.places,
            "field": "fld_x",
            "job": "job_x",
            "key": "key_x",
            "location": "fld_x",
            "statement": "stm_x",
        }
        values |= known
        return re.sub(r"\{(\w+)\}", lambda m: values[m[1]], self.path)


def operations(client: httpx.Client) -> list[Operation]:
    found = []
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        for method, about in methods.items():
            given = about.get("parameters", ())
            query = {p["name"]: value_of(p) for p in given if p["in"] == "query" and p.get("required")}
            places = {p["name"]: value_of(p) for p in given if p["in"] == "path"}
            found.append(Operation(method.upper(), path, query, places))
    return found


def value_of(parameter: Json) -> str:
    """One that the description allows: its first choice, its example, or a number."""
    schema = parameter["schema"]
    return str((schema.get("enum") or schema.get("examples") or ["1"])[0])


def code_of(reply: httpx.Response) -> str:
    assert reply.headers["content-type"] == "application/problem+json", (reply.request.url, reply.status_code)
    return str(reply.json()["type"]).removeprefix("/problems/")


def test_every_route_needs_a_key(served: Served) -> None:
    every = operations(served.client)
    assert len(every) > 50
    for operation in every:
        for key in ("", "ff_" + "0" * 60, "nonsense"):
            reply = served.ask(operation.method, operation.address(), key, params=operation.query)
            if operation.path in OPEN:
                assert reply.status_code in (200, 503), operation
                continue
            assert reply.status_code == 401, (operation, key)
            assert code_of(reply) == ("invalid-key" if key else "no-key")
            assert reply.headers["www-authenticate"].startswith('Bearer realm="fieldflux"')


def test_every_route_needs_its_scope(served: Served) -> None:
    """With all scopes but one, the routes that need that one are refused; each route needs one."""
    lacking = {scope: served.key("acme", *(set(SCOPES) - {scope})) for scope in SCOPES}
    needed: dict[str, set[str]] = {}
    for operation in operations(served.client):
        if operation.path in OPEN:
            continue
        for scope, key in lacking.items():
            reply = served.ask(operation.method, operation.address(), key, params=operation.query)
            if reply.status_code == 403 and operation.path != "/metrics":
                assert code_of(reply) == "missing-scope"
                assert reply.json()["scope"] in SCOPES
                assert 'error="insufficient_scope"' in reply.headers["www-authenticate"]
                needed.setdefault(operation.name, set()).add(scope)
            elif operation.path == "/metrics":
                assert reply.status_code == 403
    for operation in operations(served.client):
        if operation.path in OPEN or operation.path == "/metrics":
            continue
        scopes = needed[operation.name]
        if operation.path.startswith(("/v1/keys", "/v1/links")):
            assert scopes == {"admin"}, operation
        elif operation.path.startswith("/v1/jobs"):
            assert "jobs" in scopes, operation
        elif operation.name == "POST /v1/statements":
            assert scopes == {"statements"}, operation
        elif operation.path.startswith("/v1/fields") and operation.method != "GET":
            assert scopes == {"fields"}, operation
        else:
            assert scopes == {"read"}, operation


def test_without_accounts_nothing_asks_for_a_key(tmp_path: Path) -> None:
    with serving(settings_of(tmp_path, jobs=Jobs(workers=0))) as client:
        every = operations(client)
        assert len(every) > 50
        for operation in every:
            for headers in ({}, {"Authorization": "Bearer nonsense"}):
                reply = client.request(operation.method, operation.address(), params=operation.query, headers=headers)
                assert reply.status_code not in (401, 403), operation
                assert "www-authenticate" not in reply.headers


def test_tenants_see_nothing_of_each_other(served: Served) -> None:
    ours, theirs = served.key("acme"), served.key("rival")
    feature = {"type": "Feature", "id": "north", "geometry": SQUARE, "properties": {}}
    field = served.ask("POST", "/v1/fields", ours, json=feature).json()["features"][0]["id"]
    sent = {"kind": "series", "query": {}, "years": [2020], "variables": ["gpp"]}
    reply = served.ask("POST", "/v1/jobs", ours, json=sent)
    assert reply.status_code in (200, 201, 202), reply.text
    job = reply.json()["id"]
    key = served.ask("GET", "/v1/keys", ours).json()["items"][0]["id"]
    collection = served.ask("GET", "/v1/edr/collections", ours).json()["collections"][0]["id"]
    west, south, east, north = served.ask("GET", "/v1/cubes/toy", ours).json()["bounds"]
    x, y = (west + east) / 2, (south + north) / 2
    corners = [[x, y], [x + 0.01, y], [x + 0.01, y + 0.01], [x, y + 0.01], [x, y]]
    about = {"geometry": {"type": "Polygon", "coordinates": [corners]}, "years": [2020]}
    statement = served.ask("POST", "/v1/statements", ours, json=about).json()["id"]
    ids = (field, job, key, statement)
    known = {"field": field, "job": job, "key": key, "location": field, "statement": statement}
    known["collection"] = collection
    kinds = ("field", "job", "key", "statement")

    tried: list[Operation] = []
    for operation in operations(served.client):
        if not re.search(r"\{(field|job|key|location|statement)\}", operation.path):
            continue
        tried.append(operation)
        body = feature if operation.method in ("PUT", "PATCH") else None
        address = operation.address(**known)
        reply = served.ask(operation.method, address, theirs, params=operation.query, json=body)
        assert reply.status_code == 404, (operation, reply.text)
        assert code_of(reply) in ("unknown-field", "unknown-job", "unknown-key", "unknown-statement"), operation
        # The sentence repeats what was asked for, and nothing else of the other tenant.
        for id in ids:
            assert id not in reply.text.replace(address, "").replace(f"'{id}'", ""), operation
    assert len(tried) >= 16
    # The same addresses are there for their owner: what was refused was the caller.
    for operation in tried:
        if operation.method == "GET":
            reply = served.ask("GET", operation.address(**known), ours, params=operation.query)
            assert reply.status_code < 300 or not code_of(reply).startswith("unknown-"), (operation, reply.text)
    corrected = {**about, "supersedes": statement, "reason": "true_up"}
    assert served.ask("POST", "/v1/statements", theirs, json=corrected).status_code == 404
    for path in ("/v1/fields", "/v1/jobs", "/v1/statements"):
        assert served.ask("GET", path, theirs).json() == {"items": [], "next": None}
    assert {k["tenant"] for k in served.ask("GET", "/v1/keys", theirs).json()["items"]} == {"rival"}
    assert served.ask("GET", "/v1/usage", theirs).json()["tenant"] == "rival"
    listed = served.ask("GET", f"/v1/edr/collections/{collection}/locations", theirs)
    assert listed.json()["features"] == []
    tile = "/v1/fields/tiles/10/245/379.mvt"
    assert len(served.ask("GET", tile, ours).content) > len(served.ask("GET", tile, theirs).content)
    job_of_theirs = served.ask("POST", "/v1/jobs", theirs, json={**sent, "dry_run": True})
    assert field not in job_of_theirs.text
    of_theirs = served.ask("POST", "/v1/series", theirs, json={"fields": [field], "years": [2020]}).json()
    assert of_theirs["features"][0]["status"] == "FAILED"
    # All is still there for its owner.
    for kind in kinds:
        assert served.ask("GET", f"/v1/{kind}s/{known[kind]}", ours).status_code == 200


def test_keys_are_made_used_and_revoked_over_http(served: Served) -> None:
    admin = served.key("farm", "read", "admin")
    made = served.ask("POST", "/v1/keys", admin, json={"name": "map", "scopes": ["read"], "days": 7}).json()
    assert made["key"].startswith("ff_")
    assert made["tenant"] == "farm"
    path = f"/v1/keys/{made['id']}"
    assert "key" not in served.ask("GET", path, admin).json()
    assert served.ask("GET", "/v1/variables", made["key"]).status_code == 200
    assert served.client.get("/v1/variables", headers={"X-API-Key": made["key"]}).status_code == 200
    revoked = served.ask("DELETE", path, admin).json()
    assert revoked["state"] == "revoked"
    refused = served.ask("GET", "/v1/variables", made["key"])
    assert refused.status_code == 401
    assert "was revoked at" in refused.json()["detail"]
    other = served.ask("POST", "/v1/keys", admin, json={"name": "x", "tenant": "acme"})
    assert other.status_code == 403
    assert served.ask("POST", "/v1/keys", admin, json={"name": "x", "scopes": ["fly"]}).status_code == 422
    operator = served.key("local")
    assert served.ask("POST", "/v1/keys", operator, json={"name": "x", "tenant": "acme"}).json()["tenant"] == "acme"
    assert len({k["tenant"] for k in served.ask("GET", "/v1/keys?tenant=*", operator).json()["items"]}) > 1


def test_an_expired_key_is_refused(served: Served) -> None:
    from fieldflux.app.accounts.tables import keys as table

    key, text = keys.create(served.database, served.hasher, "acme", "old", ["read"], 1)
    with served.database.begin() as connection:
        connection.execute(table.update().where(table.c.id == key.id).values(expires="2020-01-01T00:00:00.000Z"))
    reply = served.ask("GET", "/v1/variables", text)
    assert reply.status_code == 401
    assert "expired at 2020-01-01" in reply.json()["detail"]


def test_tokens_are_for_tiles_alone(served: Served) -> None:
    key = served.key("acme", "read")
    made = served.ask("POST", "/v1/tokens", key, json={"minutes": 5}).json()
    token = {"token": made["token"]}
    get = served.client.get
    tilejson = get("/v1/tiles/gpp/tilejson.json", params=token)
    assert tilejson.status_code == 200
    address = tilejson.json()["tiles"][0]
    assert "token=fft_" in address
    tile = get(address.replace("{time}", "2020-07-01").replace("{z}/{x}/{y}", "10/245/379"))
    assert tile.status_code == 200
    assert tile.headers["cache-control"].startswith(("private", "no-store"))
    assert get(tilejson.json()["legend_url"]).status_code == 200
    for path in ("/v1/variables", "/v1/fields", "/v1/usage", "/v1/keys", "/v1/series", "/metrics"):
        refused = get(path, params=token)
        assert refused.status_code == 401, path
        assert "for the GET of maps, stores and catalogues" in refused.json()["detail"]
    forged = made["token"][:-2] + ("AA" if not made["token"].endswith("AA") else "BB")
    assert get("/v1/tiles/gpp/tilejson.json", params={"token": forged}).status_code == 401
    signer = Signer(served.hasher.secret)
    id = signer.read(made["token"])
    assert id is not None
    old = signer.token(id[0], int(time.time()) - 1)
    assert "has expired" in get("/v1/tiles/gpp/tilejson.json", params={"token": old}).json()["detail"]
    assert served.ask("POST", "/v1/tokens", key, json={"minutes": 61}).status_code == 422


def test_signs_of_life_tell_strangers_no_names(served: Served) -> None:
    stranger, known = served.client.get("/readyz").json(), served.ask("GET", "/readyz", served.key("acme")).json()
    assert {"what", "ok"} == set().union(*stranger["checks"])
    assert {"database", "accounts", "jobs", "cube", "model"} <= {check["what"] for check in known["checks"]}


SECRET = Secret(b"s" * 32)


@given(st.text(max_size=80))
def test_no_text_is_a_key_or_a_token(text: str) -> None:
    assert Hasher(SECRET).hash("ff_" + text) is None
    assert Signer(SECRET).read("fft_" + text) is None


@given(st.integers(0, 62), st.sampled_from("0123456789abcdefghjkmnpqrstvwxyz"))
def test_a_changed_key_is_refused_and_another_secret_too(place: int, character: str) -> None:
    text = Hasher(SECRET).fresh()
    changed = text[:place] + character + text[place + 1 :]
    assert (Hasher(SECRET).hash(changed) is None) == (changed != text)
    assert Hasher(Secret(b"t" * 32)).hash(text) is None
    assert text not in str(Hasher(SECRET).hash(text))


def test_the_database_holds_no_key_and_the_secret_is_its_owners_alone(served: Served) -> None:
    text = served.key("acme")
    path = Path(served.database.url.removeprefix("sqlite:///"))
    kept = b"".join(file.read_bytes() for file in path.parent.glob("fieldflux.db*"))
    assert text[:-8].encode() not in kept
    assert (path.parent / "secret").stat().st_mode & 0o077 == 0


def test_the_command_line_makes_lists_and_revokes(tmp_path: Path) -> None:
    def run(*arguments: str) -> tuple[str, str]:
        done = CliRunner().invoke(keys_app, [*arguments, "--home", str(tmp_path)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout, done.stderr

    text, said = run("create", "web map", "--tenant", "acme", "--scope", "read", "--scope", "fields", "--days", "9")
    assert Hasher(secret_of(tmp_path)).hash(text.strip()) is not None
    id = said.split()[0]
    shown, _ = run("list", "--tenant", "acme")
    assert "active" in shown
    assert text.strip() not in shown
    run("revoke", id)
    assert "revoked" in run("list")[0]
    with pytest.raises(Refused, match="There is no key 'key_x'"):
        run("revoke", "key_x")
    with pytest.raises(Refused, match="'fly' is none"):
        run("create", "x", "--scope", "fly")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_an_open_network_needs_accounts_or_a_word(host: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="FIELDFLUX_OPEN=1 if that is meant"):
        check_open(Settings(home=tmp_path, host=host))
    for allowed in ({"accounts": True}, {"open": True}, {"host": "127.0.0.1"}, {"host": "localhost"}):
        check_open(Settings(**{"home": tmp_path, "host": host, **allowed}))  # type: ignore[arg-type]
