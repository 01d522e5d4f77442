"""Links for GIS programs, with accounts on: every OGC door opens by an address alone, and nothing else does."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import xarray as xr
from fieldflux.app.accounts.commands import keys_app
from fieldflux.app.accounts.doors import ENTRANCES
from fieldflux.app.accounts.tokens import Signer
from fieldflux.app.accounts.who import DOORS, SCOPES
from fieldflux.app.database import Database, database_url
from fieldflux.app.settings import Jobs
from fieldflux.tiles.store import open_store
from owslib.wmts import WebMapTileService
from pystac import Catalog
from typer.testing import CliRunner

from .serving import Json, serving, settings_of, square, toy_home, toy_registry
from .test_accounts import Served, code_of

COLLECTION = "toy~toy~1"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_home(tmp_path_factory.mktemp("links"), years=(2019, 2020))


@pytest.fixture(scope="module")
def served(home: Path) -> Iterator[Served]:
    from fieldflux.app.accounts.keys import Hasher
    from fieldflux.app.accounts.secret import secret_of

    database = Database(database_url("", home))
    settings = settings_of(home, accounts=True, jobs=Jobs(workers=0))
    with serving(settings, toy_registry(home / "checkpoints")) as client:
        yield Served(client, database, Hasher(secret_of(home)))
    database.close()


@pytest.fixture(scope="module")
def owner(served: Served) -> str:
    return served.key("acme", *SCOPES)


@pytest.fixture(scope="module")
def field(served: Served, owner: str, home: Path) -> Json:
    """A registered field of the owner's: its id, and a place in it."""
    from fieldflux.tiles.cube import open_cube

    shape = square(open_cube(home / "cubes" / "toy.zarr"), 95, 120, 3, 3)
    feature = {"type": "Feature", "id": "north", "geometry": shape, "properties": {}}
    made = served.ask("POST", "/v1/fields", owner, json=feature).raise_for_status().json()
    lon, lat = (sum(p[i] for p in shape["coordinates"][0][:4]) / 4 for i in (0, 1))
    return {"id": made["features"][0]["id"], "lon": lon, "lat": lat}


def link(served: Served, key: str, *doors: str, **more: object) -> Json:
    reply = served.ask("POST", "/v1/links", key, json={"name": "QGIS", "doors": doors, **more})
    assert reply.status_code == 201, reply.text
    found: Json = reply.json()
    assert reply.headers["cache-control"] == "no-store"
    return found


def followed(client: httpx.Client, address: str) -> httpx.Response:
    """An address as it was told, and nothing else: no key."""
    reply = client.get(address)
    assert reply.status_code == 200, (address, reply.text[:300])
    assert not reply.headers.get("cache-control", "").startswith("public")
    return reply


def hrefs(document: Any) -> Iterator[str]:
    if isinstance(document, dict):
        for name, value in document.items():
            if name == "href" and isinstance(value, str):
                yield value
            else:
                yield from hrefs(value)
    elif isinstance(document, list):
        for value in document:
            yield from hrefs(value)


def test_wmts_opens_by_its_address(served: Served, owner: str) -> None:
    made = link(served, owner, "maps")
    address = made["addresses"]["wmts"]
    xml = followed(served.client, address).text
    base = str(served.client.base_url).rstrip("/")
    for found in re.findall(r'(?:xlink:href|template)="([^"]+)"', xml):
        assert not found.startswith(base) or "token=fft_" in found, found
    # As QGIS reads it: capabilities, then tiles, by keys and values and by the template.
    service = WebMapTileService(address, xml=xml.encode())
    layer = service.contents[f"{COLLECTION}~gpp"]
    tile = service.gettile(
        layer=layer.id, tilematrixset="WebMercatorQuad", tilematrix="8", row=94, column=61, format="image/png"
    )
    assert tile.read()[:4] == b"\x89PNG"
    template = next(r["template"] for r in layer.resourceURLs if r["format"] == "image/png")
    holes = {"Style": "default", "Time": "2020-07-01", "TileMatrixSet": "WebMercatorQuad", "TileMatrix": "8"}
    for hole, value in {**holes, "TileRow": "94", "TileCol": "61"}.items():
        template = template.replace(f"{{{hole}}}", value)
    assert followed(served.client, template).content[:4] == b"\x89PNG"
    legend = layer.styles["default"]["legend"].replace("&amp;", "&")
    assert followed(served.client, legend).status_code == 200


def test_ogc_tiles_and_tilejson_open_by_their_addresses(served: Served, owner: str) -> None:
    made = link(served, owner, "maps")
    client = served.client
    landing = followed(client, made["addresses"]["ogc_tiles"]).json()
    data = next(x["href"] for x in landing["links"] if x["rel"] == "data")
    collections = followed(client, data).json()["collections"]
    own = next(c for c in collections if c["id"].endswith("~gpp"))
    sets = next(x["href"] for x in own["links"] if x["rel"].endswith("tilesets-map"))
    one = followed(client, followed(client, sets).json()["tilesets"][0]["links"][0]["href"]).json()
    item = next(x["href"] for x in one["links"] if x["rel"] == "item")
    address = item.replace("{tileMatrix}", "8").replace("{tileRow}", "94").replace("{tileCol}", "61")
    assert followed(client, address).headers["content-type"].startswith("image/")
    every = [h for document in (landing, own, one) for h in hrefs(document) if "/v1/" in h and "{" not in h]
    assert len(every) > 8
    for address in every:
        followed(client, address)
    tilejson = followed(client, made["addresses"]["tilejson"]).json()
    tile = tilejson["tiles"][0].replace("{time}", "2020-07-01").replace("{z}/{x}/{y}", "8/61/94")
    assert followed(client, tile).status_code == 200
    assert followed(client, tilejson["legend_url"]).status_code == 200


def test_edr_opens_by_its_address(served: Served, owner: str, field: Json) -> None:
    client = served.client
    made = link(served, owner, "series")
    landing = followed(client, made["addresses"]["edr"]).json()
    data = next(x["href"] for x in landing["links"] if x["rel"] == "data")
    collection = followed(client, data).json()["collections"][0]
    for address in hrefs(landing):
        if "/v1/" in address:
            followed(client, address)
    position = collection["data_queries"]["position"]["link"]["href"].split("?")[0]
    asked = {"coords": f"POINT({field['lon']} {field['lat']})", "datetime": "2020-07", "parameter-name": "gpp"}
    found = client.get(position, params={**asked, "token": made["token"]})
    assert found.status_code == 200, found.text
    assert found.json()["type"] in ("Coverage", "CoverageCollection")
    # Fields are another door.
    locations = f"/v1/edr/collections/{COLLECTION}/locations"
    refused = client.get(locations, params={"token": made["token"]})
    assert (refused.status_code, code_of(refused)) == (403, "missing-scope")
    assert refused.json()["door"] == "fields"
    token = {"token": link(served, owner, "fields")["token"]}
    assert [f["id"] for f in client.get(locations, params=token).json()["features"]] == [field["id"]]
    one = client.get(f"{locations}/{field['id']}", params={**token, "datetime": "2020-07", "parameter-name": "gpp"})
    assert one.status_code == 200


def test_stac_opens_by_its_address(served: Served, owner: str) -> None:
    client = served.client
    made = link(served, owner, "stac", "maps", "stores")
    catalog = followed(client, made["addresses"]["stac"]).json()
    assert Catalog.from_dict(catalog).id == "fieldflux"
    children = [x["href"] for x in catalog["links"] if x["rel"] == "child"]
    for child in children:
        told = followed(client, child).json()
        zarr = told["assets"]["zarr"]["href"]
        for address in hrefs(told):
            if "/v1/" in address:
                followed(client, f"{zarr}/zarr.json" if address == zarr else address)


def test_plain_xarray_reads_a_store_by_its_address(served: Served, owner: str, home: Path) -> None:
    made = link(served, owner, "stores")
    told = followed(served.client, made["addresses"]["stores"]).json()["stores"][0]
    local = open_store(next((home / "stores").glob("*/*.zarr")))
    with xr.open_zarr(told["zarr"], group="2019", mask_and_scale=False) as group:
        days = group["gpp"].isel(time=slice(150, 160)).values
    first, last = date(2019, 5, 31), date(2019, 6, 9)
    np.testing.assert_array_equal(days, local.read_packed("gpp", local.window, first, last))
    file = f"{told['zarr']}/zarr.json"
    for wrong, status in (
        (file.replace("/fft_", "/fft_x"), 401),
        (file.replace(f"/{made['token']}/", "/"), 401),
        (file.replace(made["token"], link(served, owner, "maps")["token"]), 403),
    ):
        assert served.client.get(wrong).status_code == status
        assert made["token"] not in served.client.get(wrong).json()["instance"]
    assert served.client.post(file).status_code == 401
    served.ask("DELETE", f"/v1/keys/{made['id']}", owner).raise_for_status()
    assert served.client.get(file).status_code == 401


def test_vector_tiles_of_fields_open_by_their_address(served: Served, field: Json) -> None:
    from fieldflux.tiles.mercator import tile_at

    at = tile_at(field["lon"], field["lat"], 11)
    sizes = []
    for tenant in ("acme", "rival"):
        made = link(served, served.key(tenant), "fields")
        told = followed(served.client, made["addresses"]["vector_tiles"]).json()
        tile = served.client.get(told["tiles"][0].replace("{z}/{x}/{y}", f"11/{at.x}/{at.y}"))
        sizes.append(len(tile.content))
    assert sizes[0] > 0
    assert sizes[1] == 0  # the other tenant has no field there


def test_a_link_reads_what_it_is_for_and_nothing_else(served: Served, owner: str, field: Json) -> None:
    tokens = {door: link(served, owner, door)["token"] for door in DOORS}
    paths = {door: next(iter(ENTRANCES[door].values())) for door in DOORS}
    for door, token in tokens.items():
        for other, path in paths.items():
            reply = served.client.get(path, params={"token": token})
            assert reply.status_code == (200 if other == door else 403), (door, other)
            assert token not in reply.text or other == door
        closed = ("/v1/fields", f"/v1/fields/{field['id']}", "/v1/keys", "/v1/usage", "/v1/jobs", "/v1/statements")
        for path in (*closed, "/v1/series", "/metrics"):
            assert served.client.get(path, params={"token": token}).status_code == 401, (door, path)
        for method in ("POST", "PUT", "DELETE"):
            assert served.client.request(method, paths[door], params={"token": token}).status_code == 401
        as_key = served.ask("GET", paths[door], token)
        assert (as_key.status_code, code_of(as_key)) == (401, "invalid-key")
    locations = f"/v1/edr/collections/{COLLECTION}/locations/{field['id']}"
    theirs = link(served, served.key("rival"), "fields")["token"]
    assert served.client.get(locations, params={"token": theirs, "datetime": "2020-07"}).status_code == 404


def test_links_are_listed_counted_and_revoked_as_keys_are(served: Served, owner: str) -> None:
    made = link(served, owner, "maps", days=3)
    listed = served.ask("GET", f"/v1/keys/{made['id']}", owner).json()
    assert listed["link"] == ["maps"]
    assert listed["scopes"] == ["read"]
    assert listed["expires"] == made["expires"]
    assert "token" not in listed
    address = made["addresses"]["tilejson"]
    followed(served.client, address)
    rival = served.key("rival")
    assert served.ask("DELETE", f"/v1/keys/{made['id']}", rival).status_code == 404
    assert served.ask("DELETE", f"/v1/keys/{made['id']}", owner).status_code == 200
    refused = served.client.get(address)
    assert (refused.status_code, code_of(refused)) == (401, "invalid-key")
    late = Signer(served.hasher.secret).token(made["id"], int(time.time()) - 1)
    assert "expired" in served.client.get("/v1/ogc", params={"token": late}).json()["detail"]
    assert served.ask("POST", "/v1/links", served.key("acme", "read"), json={"name": "x"}).status_code == 403
    for wrong in ({"doors": ["all"]}, {"doors": []}, {"days": 367}, {"name": ""}, {"tenant": "rival"}):
        assert served.ask("POST", "/v1/links", owner, json={"name": "x", **wrong}).status_code in (403, 422), wrong


def test_no_log_and_no_file_has_a_token(
    served: Served, owner: str, home: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # another test's server may have set up logging of its own, which keeps lines from the root logger
    named = [each for each in logging.root.manager.loggerDict.values() if isinstance(each, logging.Logger)]
    for logger in (each for each in named if each.name.split(".")[0] in ("fieldflux", "uvicorn")):
        monkeypatch.setattr(logger, "handlers", [*logger.handlers, caplog.handler])
        monkeypatch.setattr(logger, "disabled", False)
        monkeypatch.setattr(logger, "level", logging.DEBUG)
    with caplog.at_level(logging.DEBUG):
        made = link(served, owner, *DOORS)
        for address in made["addresses"].values():
            served.client.get(address)
            served.client.get(address.replace("/v1/", "/v1/no/"))
        served.client.get("/v1/tiles/gpp/2020/99/0/0.png", params={"token": made["token"]})
        for path in ("zarr/zarr.json", "zarr/no", "none"):
            served.client.get(f"/v1/stores/{made['token']}/{COLLECTION}/{path}")
    of_server = [r.getMessage() for r in caplog.records if not r.name.startswith(("httpx", "httpcore", "urllib3"))]
    assert of_server
    assert not [line for line in of_server if made["token"][4:30] in line]
    kept = b"".join(file.read_bytes() for file in home.glob("fieldflux.db*"))
    assert made["token"].split(".")[1].encode() not in kept
    assert owner.encode() not in followed(served.client, made["addresses"]["wmts"]).content


def test_made_on_the_command_line(served: Served, home: Path) -> None:
    root = str(served.client.base_url).rstrip("/")
    asked = ["link", "QGIS", "--tenant", "acme", "--door", "maps", "--server", root, "--home", str(home)]
    found = CliRunner().invoke(keys_app, asked)
    assert found.exit_code == 0, found.output
    lines = dict(line.split("\t") for line in found.stdout.splitlines() if "\t" in line)
    assert followed(served.client, lines["ogc_tiles"]).json()["links"]
