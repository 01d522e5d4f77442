"""OGC API – Tiles: collections (a variable of a cube and a model each), their tilesets, and links between them."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from fieldflux.app.picture import default_of
from fieldflux.app.workspace import Place
from fieldflux.models.variables import Variable

from .matrices import CELLS, MERCATOR, SetName, cells, crs_of, matrix_set, mercator
from .places import id_of

REL = "http://www.opengis.net/def/rel/ogc/1.0"
CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
Kind: TypeAlias = Literal["map", "coverage"]
FORMATS: dict[Kind, dict[str, str]] = {
    "map": {"png": "image/png", "webp": "image/webp"},
    "coverage": {"tif": "image/tiff; application=geotiff", "npy": "application/octet-stream"},
}

CONFORMANCE = (
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/landing-page",
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/json",
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/oas30",
    "http://www.opengis.net/spec/ogcapi-common-2/1.0/conf/collections",
    "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/tileset",
    "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/tilesets-list",
    "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/geodata-tilesets",
    "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/png",
    "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/tiff",
    "http://www.opengis.net/spec/tms/2.0/conf/tilematrixset",
    "http://www.opengis.net/spec/tms/2.0/conf/tilesetmetadata",
    "http://www.opengis.net/spec/tms/2.0/conf/json-tilematrixset",
    "http://www.opengis.net/spec/tms/2.0/conf/json-tilesetmetadata",
)
"""What tests/test_ogc.py tests, and no more."""


def link(href: str, rel: str, type: str = "application/json", title: str = "", **more: Any) -> dict[str, Any]:
    return {"href": href, "rel": rel, "type": type, **({"title": title} if title else {}), **more}


def landing(root: str, api: str) -> dict[str, Any]:
    """root: address of this interface. api: address of the service."""
    return {
        "title": "Fieldflux: tiles",
        "description": "Maps and values of carbon fluxes, yields and soil carbon, as OGC API – Tiles.",
        "links": [
            link(root, "self", title="This page"),
            link(f"{api}/openapi.json", "service-desc", "application/vnd.oai.openapi+json;version=3.0"),
            link(f"{api}/docs", "service-doc", "text/html"),
            link(f"{root}/conformance", "conformance"),
            link(f"{root}/conformance", f"{REL}/conformance"),
            link(f"{root}/collections", "data"),
            link(f"{root}/collections", f"{REL}/data"),
            link(f"{root}/tileMatrixSets", f"{REL}/tiling-schemes"),
        ],
    }


def conformance() -> dict[str, Any]:
    return {"conformsTo": list(CONFORMANCE)}


def collections(root: str, layers: list[tuple[Place, Variable]]) -> dict[str, Any]:
    return {
        "links": [link(f"{root}/collections", "self")],
        "collections": [collection(root, place, v) for place, v in layers],
    }


def collection(root: str, place: Place, v: Variable) -> dict[str, Any]:
    """A variable of a cube and a model."""
    own = f"{root}/collections/{id_of(place, v)}"
    return {
        "id": id_of(place, v),
        "title": f"{v.long_name} · {place.cube.title} · {place.card.title}",
        "description": f"{v.long_name}, {v.unit}. {v.sign + '. ' if v.sign else ''}{place.cube.statement}",
        "attribution": place.cube.statement,
        "extent": extent(place, v),
        "crs": [CRS84, "http://www.opengis.net/def/crs/EPSG/0/3857"],
        "links": [
            link(own, "self"),
            link(f"{own}/map/tiles", f"{REL}/tilesets-map", title="Pictures"),
            link(f"{own}/coverage/tiles", f"{REL}/tilesets-coverage", title="Values"),
        ],
    }


def extent(place: Place, v: Variable) -> dict[str, Any]:
    years = place.cube.years
    begin, end = f"{years[0]}-01-01T00:00:00Z", f"{years[-1]}-12-31T23:59:59Z"
    return {
        "spatial": {"bbox": [list(place.cube.bounds_lonlat())], "crs": CRS84},
        "temporal": {
            "interval": [[begin, end]],
            "trs": "http://www.opengis.net/def/uom/ISO-8601/0/Gregorian",
            "grid": {"resolution": "P1D" if v.period == "day" else "P1Y"},
        },
    }


def tilesets(root: str, place: Place, v: Variable, kind: Kind) -> dict[str, Any]:
    own = f"{root}/collections/{id_of(place, v)}/{kind}/tiles"
    names: tuple[SetName, ...] = (MERCATOR, CELLS)  # type: ignore[assignment]
    return {
        "links": [link(own, "self")],
        "tilesets": [
            {key: value for key, value in tileset(root, place, v, kind, name).items() if key in _BRIEF}
            | {"links": [link(f"{own}/{name}", "self")]}
            for name in names
        ],
    }


_BRIEF = ("title", "dataType", "crs", "tileMatrixSetURI", "boundingBox")


def tileset(root: str, place: Place, v: Variable, kind: Kind, name: SetName) -> dict[str, Any]:
    """What a tileset holds, where, and how its tiles are asked for."""
    from fieldflux.tiles.legend import meaning_of

    own = f"{root}/collections/{id_of(place, v)}/{kind}/tiles/{name}"
    grid = place.cube.grid
    defined = matrix_set(name, grid)
    west, south, east, north = place.cube.bounds_lonlat()
    where = f"{own}/{{tileMatrix}}/{{tileRow}}/{{tileCol}}"
    meaning = meaning_of(v)
    return {
        "title": f"{v.long_name}, {v.unit}",
        "description": f"{defined['title']}. Times: `datetime`, {default_of(place, v)} without.",
        "attribution": place.cube.statement,
        "dataType": kind,
        "crs": defined["crs"],
        "tileMatrixSetURI": defined.get("uri", f"{root}/tileMatrixSets/{name}"),
        "boundingBox": {"lowerLeft": [west, south], "upperRight": [east, north], "crs": CRS84},
        "tileMatrixSetLimits": limits(place, name, defined),
        "layers": [
            {
                "id": v.name,
                "title": v.long_name,
                "dataType": kind,
                "propertiesSchema": {
                    "type": "object",
                    "properties": {
                        v.name: {
                            "title": v.long_name,
                            "type": "number",
                            "x-ogc-unit": v.unit,
                            "minimum": meaning.low,
                            "maximum": meaning.high,
                        }
                    },
                },
            }
        ],
        "links": [
            link(own, "self"),
            link(f"{root}/tileMatrixSets/{name}", f"{REL}/tiling-scheme", title=defined["title"]),
            *(link(f"{where}?f={f}", "item", media, templated=True) for f, media in FORMATS[kind].items()),
        ],
    }


def limits(place: Place, name: SetName, defined: dict[str, Any]) -> list[dict[str, Any]]:
    """Which rows and columns of each matrix touch the cube."""
    from fieldflux.tiles.mercator import tile_at

    west, south, east, north = place.cube.bounds_lonlat()
    grid, window = place.cube.grid, place.cube.window
    found = []
    for matrix in defined["tileMatrices"]:
        if name == MERCATOR:
            z = int(matrix["id"])
            first, last = tile_at(west, north, z), tile_at(east, south, z)
            rows, cols = (first.y, last.y), (first.x, last.x)
        else:
            side = round(matrix["cellSize"] / grid.size) * matrix["tileWidth"]
            rows = (window.row0 // side, (window.row1 - 1) // side)
            cols = (window.col0 // side, (window.col1 - 1) // side)
        found.append(
            {
                "tileMatrix": matrix["id"],
                "minTileRow": rows[0],
                "maxTileRow": rows[1],
                "minTileCol": cols[0],
                "maxTileCol": cols[1],
            }
        )
    return found


def matrix_sets(root: str) -> dict[str, Any]:
    from fieldflux.tiles.grid import Grid

    return {
        "tileMatrixSets": [
            {
                "id": defined["id"],
                "title": defined["title"],
                "crs": defined["crs"],
                **({"uri": defined["uri"]} if "uri" in defined else {}),
                "links": [link(f"{root}/tileMatrixSets/{defined['id']}", "self")],
            }
            for defined in (mercator(), cells(Grid()))
        ]
    }


__all__ = ["CONFORMANCE", "collection", "collections", "conformance", "crs_of", "landing", "link", "matrix_sets"]
