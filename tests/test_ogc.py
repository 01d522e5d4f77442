"""OGC interfaces: WMTS as GIS programs read it, OGC API – Tiles, EDR, and the store's files over HTTP."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import morecantile
import numpy as np
import pytest
import rasterio
import xarray as xr
from fieldflux.app.workspace import Workspace
from fieldflux.tiles.grid import Window
from fieldflux.tiles.mercator import tile_at
from fieldflux.tiles.store import Store
from owslib.wmts import WebMapTileService
from PIL import Image

from .serving import Json, serving, settings_of, toy_home, toy_registry

LAYER = "toy~toy~1~gpp"
DAY = "2020-07-15"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def store(home: Path) -> Store:
    workspace = Workspace(settings_of(home), toy_registry(home / "checkpoints"))
    found = workspace.store(workspace.place())
    assert found is not None
    return found


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[httpx.Client]:
    with serving(settings_of(home), toy_registry(home / "checkpoints")) as found:
        yield found


@pytest.fixture(scope="module")
def at(store: Store) -> Any:
    lon, lat = (float(v) for v in store.grid.to_lonlat(*store.grid.centres(98, 125)))
    return tile_at(lon, lat, 11)


def fetch(client: httpx.Client, path: str, **query: object) -> httpx.Response:
    reply = client.get(path, params={k: str(v) for k, v in query.items()})
    assert reply.status_code == 200, reply.text
    return reply


def linked(document: Json, rel: str) -> Json:
    found: Json = next(link for link in document["links"] if link["rel"].endswith(rel))
    return found


# WMTS


def test_owslib_opens_the_wmts_and_fetches_a_tile(client: httpx.Client, at: Any) -> None:
    service = WebMapTileService(f"{client.base_url}/v1/wmts")
    assert LAYER in service.contents
    layer = service.contents[LAYER]
    told = fetch(client, "/v1/cubes/toy").json()
    assert layer.boundingBoxWGS84 == pytest.approx(told["bounds"])
    assert told["statement"] in layer.abstract
    assert {"default", "viridis", "balance_r"} <= set(layer.styles)
    assert layer.styles["default"]["isDefault"]
    assert layer.dimensions["Time"]["default"] == "2021-07-15"
    assert "2019-01-01/2021-12-31/P1D" in layer.dimensions["Time"]["values"]
    assert client.get(layer.styles["viridis"]["legend"]).status_code == 200
    matrix = service.tilematrixsets["WebMercatorQuad"].tilematrix["11"]
    assert (matrix.matrixwidth, matrix.tilewidth) == (2048, 256)
    limits = layer.tilematrixsetlinks["WebMercatorQuad"].tilematrixlimits["11"]
    assert limits.mintilerow <= at.y <= limits.maxtilerow
    assert limits.mintilecol <= at.x <= limits.maxtilecol
    asked = {"layer": LAYER, "tilematrixset": "WebMercatorQuad", "tilematrix": "11", "row": at.y, "column": at.x}
    ours = fetch(client, f"/v1/tiles/gpp/{DAY}/11/{at.x}/{at.y}.png", style="viridis")
    tile = service.gettile(**asked, style="viridis", format="image/png", Time=DAY)
    assert tile.read() == ours.content
    # By addresses as well, from the template that the capabilities give.
    template = next(u for u in layer.resourceURLs if u["format"] == "image/png")["template"]
    names = {"Style": "viridis", "Time": DAY, "TileMatrixSet": "WebMercatorQuad", "TileMatrix": 11}
    for name, value in {**names, "TileRow": at.y, "TileCol": at.x}.items():
        template = template.replace(f"{{{name}}}", str(value))
    assert client.get(template).content == ours.content


def test_gdal_reads_the_wmts_as_a_picture(client: httpx.Client, at: Any) -> None:
    """What `Layer > Add WMTS` of GIS programs does."""
    where = f"WMTS:{client.base_url}/v1/wmts/1.0.0/WMTSCapabilities.xml,layer={LAYER}"
    with rasterio.Env(GDAL_HTTP_TIMEOUT="20"), rasterio.open(where) as file:
        assert file.crs.to_epsg() == 3857
        bounds = at.bounds()
        window = rasterio.windows.from_bounds(*bounds, file.transform)
        found = file.read(window=window, out_shape=(file.count, 256, 256))
    assert found.shape[0] in (3, 4)
    assert (found[-1] > 0).any()


def test_the_capabilities_are_of_the_schema_in_kind_and_order(client: httpx.Client) -> None:
    """Element order of wmtsGetCapabilities_response.xsd, which strict readers insist on."""
    top = ElementTree.fromstring(fetch(client, "/v1/wmts", SERVICE="WMTS", REQUEST="GetCapabilities").content)
    order = {
        "Capabilities": ["ServiceIdentification", "OperationsMetadata", "Contents", "ServiceMetadataURL"],
        "Layer": ["Title", "Abstract", "WGS84BoundingBox", "Identifier", "Style", "Format", "Dimension",
                  "TileMatrixSetLink", "ResourceURL"],
        "Style": ["Title", "Identifier", "LegendURL"],
        "Dimension": ["Identifier", "UOM", "Default", "Current", "Value"],
        "TileMatrixSet": ["Identifier", "SupportedCRS", "WellKnownScaleSet", "TileMatrix"],
        "TileMatrix": ["Identifier", "ScaleDenominator", "TopLeftCorner", "TileWidth", "TileHeight", "MatrixWidth",
                       "MatrixHeight"],
    }  # fmt: skip
    seen = set()
    for element in top.iter():
        name = element.tag.split("}")[1]
        children = [child.tag.split("}")[1] for child in element]
        if name in order and children:
            seen.add(name)
            assert list(dict.fromkeys(children)) == order[name], name
            assert children == sorted(children, key=order[name].index), name
    assert seen == set(order)


@pytest.mark.parametrize(
    ("changed", "status", "says"),
    [
        ({"LAYER": "nothing"}, 404, "nothing"),
        ({"LAYER": ""}, 400, "LAYER"),
        ({"TILEROW": "x"}, 400, "TILEROW"),
        ({"TILEMATRIX": "3"}, 404, "from 0 to 7"),
        ({"FORMAT": "image/gif"}, 400, "image/gif"),
        ({"TIME": "soon"}, 422, "soon"),
        ({"STYLE": "pretty"}, 422, "pretty"),
        ({"REQUEST": "GetFeatureInfo"}, 400, "GetFeatureInfo"),
        ({"SERVICE": "WMS"}, 400, "WMS"),
    ],
)
def test_wmts_reports_what_is_wrong(
    client: httpx.Client, at: Any, changed: dict[str, str], status: int, says: str
) -> None:
    asked = {"SERVICE": "WMTS", "REQUEST": "GetTile", "VERSION": "1.0.0", "LAYER": LAYER, "STYLE": "default",
             "FORMAT": "image/png", "TILEMATRIXSET": "WebMercatorQuad", "TILEMATRIX": "11", "TILEROW": at.y,
             "TILECOL": at.x}  # fmt: skip
    refused = client.get("/v1/wmts", params={**asked, **changed})
    assert refused.status_code == status
    assert refused.headers["content-type"] == "application/xml"
    report = ElementTree.fromstring(refused.content)
    assert report.tag.endswith("ExceptionReport")
    assert says in "".join(report.itertext())


# OGC API – Tiles


def test_a_client_finds_its_way_from_the_landing_page_to_a_tile(client: httpx.Client, at: Any, store: Store) -> None:
    landing = fetch(client, "/v1/ogc").json()
    for rel in ("self", "service-desc", "service-doc", "conformance", "data", "tiling-schemes"):
        assert client.get(linked(landing, rel)["href"]).status_code == 200, rel
    listed = client.get(linked(landing, "/data")["href"]).json()["collections"]
    assert {c["id"] for c in listed} == {f"toy~toy~1~{name}" for name in store.variables}
    own = client.get(linked(next(c for c in listed if c["id"] == LAYER), "self")["href"]).json()
    assert own["extent"]["temporal"]["interval"] == [["2019-01-01T00:00:00Z", "2021-12-31T23:59:59Z"]]
    for rel, format, media in (("tilesets-map", "png", "image/png"), ("tilesets-coverage", "tif", "image/tiff")):
        tilesets = client.get(linked(own, rel)["href"]).json()["tilesets"]
        assert len(tilesets) == 2
        first = client.get(linked(tilesets[0], "self")["href"]).json()
        template = linked(first, "item")
        assert template["templated"] is True
        assert template["type"].startswith(media)
        href = template["href"]
        for name, value in {"tileMatrix": 11, "tileRow": at.y, "tileCol": at.x}.items():
            href = href.replace(f"{{{name}}}", str(value))
        tile = client.get(href, params={**dict(httpx.URL(href).params), "datetime": f"{DAY}T00:00:00Z"})
        assert tile.content == fetch(client, f"/v1/tiles/gpp/{DAY}/11/{at.x}/{at.y}.{format}").content
        defined = client.get(linked(first, "tiling-scheme")["href"]).json()
        assert defined["id"] == "WebMercatorQuad"
        limit = next(one for one in first["tileMatrixSetLimits"] if one["tileMatrix"] == "11")
        assert limit["minTileRow"] <= at.y <= limit["maxTileRow"]
        assert limit["minTileCol"] <= at.x <= limit["maxTileCol"]


def test_declared_classes_are_those_that_are_tested_here(client: httpx.Client) -> None:
    declared = fetch(client, "/v1/ogc/conformance").json()["conformsTo"]
    ends = [re.sub(r".*/spec/", "", uri) for uri in declared]
    # Each of them by a test of this file: common and tiles by the one above, matrix sets by the one below.
    assert ends == [
        *(f"ogcapi-common-1/1.0/conf/{name}" for name in ("core", "landing-page", "json", "oas30")),
        "ogcapi-common-2/1.0/conf/collections",
        *(f"ogcapi-tiles-1/1.0/conf/{name}" for name in ("core", "tileset", "tilesets-list", "geodata-tilesets")),
        *(f"ogcapi-tiles-1/1.0/conf/{name}" for name in ("png", "tiff")),
        *(f"tms/2.0/conf/{name}" for name in ("tilematrixset", "tilesetmetadata")),
        *(f"tms/2.0/conf/{name}" for name in ("json-tilematrixset", "json-tilesetmetadata")),
    ]


def test_matrix_sets_are_those_that_morecantile_knows(client: httpx.Client, store: Store) -> None:
    ids = [s["id"] for s in fetch(client, "/v1/ogc/tileMatrixSets").json()["tileMatrixSets"]]
    assert ids == ["WebMercatorQuad", "FieldfluxCells"]
    ours = fetch(client, "/v1/ogc/tileMatrixSets/WebMercatorQuad").json()
    theirs = morecantile.tms.get("WebMercatorQuad")
    for matrix, other in zip(ours["tileMatrices"], theirs.tileMatrices, strict=False):
        assert matrix["id"] == other.id
        assert matrix["scaleDenominator"] == pytest.approx(other.scaleDenominator, rel=1e-9)
        assert matrix["cellSize"] == pytest.approx(other.cellSize, rel=1e-9)
        assert matrix["pointOfOrigin"] == pytest.approx(list(other.pointOfOrigin), rel=1e-9)
        assert matrix["matrixWidth"] == other.matrixWidth
    parsed = morecantile.TileMatrixSet.model_validate(fetch(client, "/v1/ogc/tileMatrixSets/FieldfluxCells").json())
    assert parsed.crs.to_epsg() == 5070
    finest = parsed.tileMatrices[-1]
    assert (finest.cellSize, list(finest.pointOfOrigin)) == (250.0, [store.grid.x0, store.grid.y0])


@pytest.mark.parametrize(("matrix", "level"), [(4, 0), (3, 1), (2, 2)])
def test_tiles_of_the_cells_own_set_are_not_resampled(
    client: httpx.Client, store: Store, matrix: int, level: int
) -> None:
    base = f"/v1/ogc/collections/{LAYER}/coverage/tiles/FieldfluxCells/{matrix}/0/0"
    raw = np.load(io.BytesIO(fetch(client, base, f="npy", datetime=DAY).content))
    w = store.window
    inside = raw[w.row0 >> level : w.row1 >> level, w.col0 >> level : w.col1 >> level]
    if level == 0:
        cells = store.read_days("gpp", w, date(2020, 7, 15), date(2020, 7, 15))[0]
        np.testing.assert_array_equal(inside, cells)
    assert np.isfinite(inside).sum() == np.isfinite(raw).sum() > 0
    with rasterio.open(io.BytesIO(fetch(client, base, f="tif", datetime=DAY).content)) as file:
        np.testing.assert_array_equal(file.read(1), raw)
        assert file.crs.to_epsg() == 5070
        assert file.res == (250.0 * 2**level, 250.0 * 2**level)
        assert (file.bounds.left, file.bounds.top) == (store.grid.x0, store.grid.y0)
    picture = fetch(client, base.replace("coverage", "map"), datetime=DAY)
    assert (np.asarray(Image.open(io.BytesIO(picture.content)).convert("RGBA"))[..., 3] > 0).sum() == np.isfinite(
        raw
    ).sum()


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("collections/none", 404, "unknown-collection"),
        ("collections/toy~toy~1~lai", 404, "unknown-collection"),
        (f"collections/{LAYER}/map/tiles/WebMercatorQuad/2/9/0", 404, "invalid-tile"),
        (f"collections/{LAYER}/map/tiles/FieldfluxCells/5/0/0", 404, "invalid-tile"),
        (f"collections/{LAYER}/map/tiles/FieldfluxCells/4/99/0", 404, "invalid-tile"),
        (f"collections/{LAYER}/map/tiles/WebMercatorQuad/2/1/0?f=tif", 406, "not-acceptable"),
        (f"collections/{LAYER}/map/tiles/WorldCRS84Quad/2/1/0", 422, "invalid-request"),
        (f"collections/{LAYER}/map/tiles/WebMercatorQuad/2/1/0?datetime=2030-01-01", 422, "invalid-dates"),
    ],
)
def test_what_is_not_there(client: httpx.Client, path: str, status: int, kind: str) -> None:
    refused = client.get(f"/v1/ogc/{path}")
    assert (refused.status_code, refused.json()["type"]) == (status, f"/problems/{kind}")


# The store's files


def test_xarray_opens_a_store_over_http(client: httpx.Client, store: Store) -> None:
    told = fetch(client, "/v1/stores").json()["stores"][0]
    assert told["complete"] == [2019, 2020, 2021]
    data = xr.open_zarr(told["zarr"], group="2020", chunks=None)
    w = store.window
    theirs = data["gpp"].sel(time=DAY).values
    ours = store.read_days("gpp", w, date(2020, 7, 15), date(2020, 7, 15))[0]
    np.testing.assert_allclose(theirs, ours, atol=1e-6)
    coarse = xr.open_zarr(told["zarr"], group="2020/level2", chunks=None)
    assert coarse["gpp"].shape == (366, w.shape[0] // 4, w.shape[1] // 4)


def test_attributes_place_every_level(client: httpx.Client) -> None:
    """`proj:`, `spatial:` and `multiscales` of the zarr-conventions, against coordinates that xarray reads."""
    zarr = fetch(client, "/v1/stores").json()["stores"][0]["zarr"]
    top = client.get(f"{zarr}/2020/zarr.json").json()["attributes"]
    assert {c["name"] for c in top["zarr_conventions"]} == {"multiscales", "proj:", "spatial"}
    assert top["proj:code"] == "EPSG:5070"
    layout = top["multiscales"]["layout"]
    assert [part["asset"] for part in layout] == [".", "level1", "level2", "level3", "level4"]
    for k, part in enumerate(layout):
        assert part.get("derived_from") == (None if k == 0 else layout[k - 1]["asset"])
        data = xr.open_zarr(zarr, group=f"2020/{part['asset']}".removesuffix("/."), chunks=None)
        a, _, c, _, e, f = part["spatial:transform"]
        assert part["spatial:shape"] == [data.sizes["y"], data.sizes["x"]]
        np.testing.assert_allclose(data["x"].values, c + a * (np.arange(data.sizes["x"]) + 0.5))
        np.testing.assert_allclose(data["y"].values, f + e * (np.arange(data.sizes["y"]) + 0.5))
        own = client.get(f"{zarr}/2020/{part['asset']}/zarr.json".replace("/./", "/")).json()["attributes"]
        assert own["spatial:transform"] == part["spatial:transform"]
        assert own["spatial:bbox"] == [c, f + e * part["spatial:shape"][0], c + a * part["spatial:shape"][1], f]


def test_ranges_of_a_shard_and_tags(client: httpx.Client) -> None:
    zarr = fetch(client, "/v1/stores").json()["stores"][0]["zarr"]
    shard = f"{zarr}/2020/gpp/c/0/0/0"
    whole = client.get(shard)
    assert whole.status_code == 200
    end = client.get(shard, headers={"Range": "bytes=-68"})
    assert (end.status_code, end.content) == (206, whole.content[-68:])
    assert end.headers["Content-Range"].endswith(f"/{len(whole.content)}")
    assert client.get(shard, headers={"If-None-Match": whole.headers["ETag"]}).status_code == 304
    assert int(client.head(shard).headers["Content-Length"]) == len(whole.content)
    assert client.get(shard, headers={"Range": f"bytes={len(whole.content)}-"}).status_code == 416


@pytest.mark.parametrize(
    "path",
    ["manifest.json", "epoch", "../../../cubes/toy.zarr/zarr.json", "2020/../manifest.json", "states/2019/x",
     "blocks/2020/b002-003.json", "%2e%2e/%2e%2e/checkpoints", "2020//gpp/zarr.json", "2020/gpp/c/9/9/9",
     "2020/gpp/c/0/0/0/", "/etc/passwd", "2020/gpp/zarr.json%00", "occupied.npy", "overlay/2020/zarr.json"],
)  # fmt: skip
def test_no_other_file_is_served(client: httpx.Client, path: str) -> None:
    refused = client.get(f"/v1/stores/toy~toy~1/zarr/{path}")
    assert refused.status_code == 404
    assert refused.headers["content-type"] == "application/problem+json"


# OGC API – EDR

EDR = "/v1/edr/collections/toy~toy~1"


def place_at(store: Store, row: float, col: float) -> tuple[float, float]:
    lon, lat = store.grid.to_lonlat(store.grid.x0 + col * 250.0, store.grid.y0 - row * 250.0)
    return float(lon), float(lat)


def test_edr_describes_its_collections(client: httpx.Client, store: Store) -> None:
    landing = fetch(client, "/v1/edr").json()
    declared = client.get(linked(landing, "conformance")["href"]).json()["conformsTo"]
    assert "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf/core" in declared
    listed = client.get(linked(landing, "data")["href"]).json()["collections"]
    own = client.get(linked(listed[0], "self")["href"]).json()
    assert own == listed[0]
    assert set(own["parameter_names"]) == set(store.variables)
    assert own["parameter_names"]["gpp"]["unit"]["symbol"] == "gC m-2 d-1"
    assert set(own["data_queries"]) == {"position", "area", "locations"}


def test_a_position_is_the_cell_that_holds_it(client: httpx.Client, store: Store) -> None:
    lon, lat = place_at(store, 100.8, 130.1)
    asked = {"coords": f"POINT({lon} {lat})", "parameter-name": "gpp,nee", "datetime": "2020-02-28/2020-03-02"}
    reply = fetch(client, f"{EDR}/position", **asked)
    assert reply.headers["content-type"] == "application/prs.coverage+json"
    covjson = reply.json()
    coverage = covjson["coverages"][0] if covjson["type"] == "CoverageCollection" else covjson
    stored = store.read_days("gpp", Window(100, 101, 130, 131), date(2020, 2, 28), date(2020, 3, 2))[:, 0, 0]
    assert coverage["ranges"]["gpp"]["values"] == pytest.approx(stored.tolist(), abs=1e-5)
    assert len(coverage["domain"]["axes"]["t"]["values"]) == 4
    table = fetch(client, f"{EDR}/position", **asked, f="CSV").text
    assert "2020-02-29" in table
    same = fetch(client, f"{EDR}/position", **{**asked, "datetime": "2020-02-28T00:00:00Z/2020-03-02T23:00:00Z"})
    assert same.json() == covjson


def test_an_area_and_a_registered_field_are_as_series_has_them(client: httpx.Client, store: Store) -> None:
    ring = [place_at(store, r, c) for r, c in ((100, 130), (100, 134), (103, 134), (103, 130), (100, 130))]
    geometry = {"type": "Polygon", "coordinates": [[list(p) for p in ring]]}
    body = {"geometry": geometry, "first": "2020-01-01", "last": "2020-12-31", "variables": ["nee"], "step": "month"}
    theirs = client.post("/v1/series", json=body).json()
    wkt = "POLYGON((" + ", ".join(f"{a!r} {b!r}" for a, b in ring) + "))"
    asked = {"parameter-name": "nee", "datetime": "2020", "step": "month", "f": "JSON"}
    assert fetch(client, f"{EDR}/area", coords=wkt, **asked).json() == theirs
    feature = {"type": "Feature", "properties": {}, "geometry": geometry}
    made = client.post("/v1/fields", json=feature)
    assert made.status_code in (200, 201), made.text
    listed = fetch(client, f"{EDR}/locations").json()
    assert listed["more"] is False
    name = listed["features"][0]["id"]
    reply = fetch(client, f"{EDR}/locations/{name}", **{**asked, "f": "CoverageJSON"}).json()
    coverage = reply["coverages"][0] if reply["type"] == "CoverageCollection" else reply
    assert coverage["ranges"]["nee"]["values"] == pytest.approx(theirs["values"]["nee"])


@pytest.mark.parametrize(
    ("path", "query", "status", "kind"),
    [
        ("position", {"coords": "POINT(0 0)"}, 422, "outside-cube"),
        ("position", {"coords": "POINT(0)"}, 422, "invalid-geometry"),
        ("position", {"coords": "LINESTRING(0 0, 1 1)"}, 422, "invalid-geometry"),
        ("position", {}, 422, "invalid-request"),
        ("area", {"coords": "POLYGON((0 0, 0 1, 1 1, 0 0))", "f": "GRIB"}, 406, "not-acceptable"),
        ("area", {"coords": "POLYGON((0 0, 0 1, 1 1, 0 0))", "datetime": "soon"}, 422, "invalid-dates"),
        ("locations/fld_none", {}, 404, "unknown-field"),
    ],
)
def test_edr_says_what_is_wrong(client: httpx.Client, path: str, query: dict[str, str], status: int, kind: str) -> None:
    refused = client.get(f"{EDR}/{path}", params=query)
    assert (refused.status_code, refused.json()["type"]) == (status, f"/problems/{kind}"), refused.text
