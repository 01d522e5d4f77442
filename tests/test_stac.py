"""STAC documents, by pystac and the schemas that it brings; links and assets lead somewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pystac
import pytest
from pystac.extensions.datacube import DatacubeExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.render import RenderExtension

from .serving import serving, settings_of, toy_home, toy_registry


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    home = toy_home(tmp_path_factory.mktemp("home"))
    with serving(settings_of(home), toy_registry(home / "checkpoints")) as found:
        yield found


@pytest.fixture(scope="module")
def told(client: httpx.Client) -> dict[str, Any]:
    child = next(link for link in client.get("/v1/stac").json()["links"] if link["rel"] == "child")
    found: dict[str, Any] = client.get(child["href"]).json()
    return found


def core_only(document: dict[str, Any]) -> dict[str, Any]:
    """Without the extensions, whose schemas are not on this machine: these are read by pystac's classes below."""
    return {**document, "stac_extensions": []}


def test_documents_are_valid_stac(client: httpx.Client, told: dict[str, Any]) -> None:
    for document in (client.get("/v1/stac").json(), core_only(told)):
        assert pystac.validation.validate_dict(document)


def test_pystac_reads_the_collection_and_its_extensions(client: httpx.Client, told: dict[str, Any]) -> None:
    catalog = pystac.Catalog.from_dict(client.get("/v1/stac").json())
    assert catalog.id == "fieldflux"
    collection = pystac.Collection.from_dict(told)
    cube = client.get("/v1/cubes/toy").json()
    assert collection.id == "toy~toy~1"
    assert collection.extent.spatial.bboxes[0] == pytest.approx(cube["bounds"])
    first, last = collection.extent.temporal.intervals[0]
    assert (first.year, last.year) == (2019, 2021)  # type: ignore[union-attr]
    assert cube["statement"] in collection.description
    assert told["fieldflux:synthetic"] is True

    datacube = DatacubeExtension.ext(collection)
    assert set(datacube.dimensions) == {"x", "y", "time"}
    assert datacube.dimensions["x"].extent[1] - datacube.dimensions["x"].extent[0] == 50 * 250  # type: ignore[attr-defined]
    assert datacube.variables["gpp"].unit == "gC m-2 d-1"  # type: ignore[index]
    assert datacube.variables["yield"].dimensions == ["y", "x"]  # type: ignore[index]
    renders = RenderExtension.ext(collection).renders
    assert renders["gpp"].rescale == [[0, 25]]
    assert renders["nee"].colormap_name == "balance"
    assert ProjectionExtension.summaries(collection).code == ["EPSG:5070"]


def test_links_and_assets_lead_somewhere(client: httpx.Client, told: dict[str, Any]) -> None:
    hrefs = {link["href"] for link in told["links"]} | {
        asset["href"] for name, asset in told["assets"].items() if name != "zarr"
    }
    for href in hrefs:
        assert client.get(href).status_code == 200, href
    assert client.get(told["assets"]["zarr"]["href"] + "/zarr.json").json()["zarr_format"] == 3
    listed = client.get("/v1/stac/collections").json()["collections"]
    assert [c["id"] for c in listed] == [told["id"]]
    missing = client.get("/v1/stac/collections/toy~toy~9")
    assert (missing.status_code, missing.json()["type"]) == (404, "/problems/unknown-collection")
