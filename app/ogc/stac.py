"""STAC 1.1: a catalogue, and a collection for each cube and model with its dimensions, maps and files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fieldflux.app.look import Look
from fieldflux.app.picture import default_of, style_of, when_of
from fieldflux.app.workspace import Place
from fieldflux.models.variables import VARIABLES

from .places import id_of

if TYPE_CHECKING:
    from fieldflux.tiles.store import Store

VERSION = "1.1.0"
EXTENSIONS = (
    "https://stac-extensions.github.io/datacube/v2.2.0/schema.json",
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/render/v2.0.0/schema.json",
)


def catalog(root: str, api: str, collections: list[Place]) -> dict[str, Any]:
    """root: address of the catalogue. api: address of the service."""
    return {
        "type": "Catalog",
        "stac_version": VERSION,
        "id": "fieldflux",
        "title": "Fieldflux",
        "description": "Daily carbon fluxes, crop yield and soil-carbon change on 250 m cells, by model.",
        "conformsTo": ["https://api.stacspec.org/v1.0.0/core", "https://api.stacspec.org/v1.0.0/collections"],
        "links": [
            _link(root, "self"),
            _link(root, "root"),
            _link(f"{root}/collections", "data"),
            _link(f"{api}/openapi.json", "service-desc", "application/vnd.oai.openapi+json;version=3.0"),
            _link(f"{api}/docs", "service-doc", "text/html"),
            *(
                _link(f"{root}/collections/{id_of(place)}", "child", title=f"{place.cube.title} · {place.card.title}")
                for place in collections
            ),
        ],
    }


def collection(root: str, api: str, place: Place, store: Store | None) -> dict[str, Any]:
    """A cube and a model. store: what is computed of them, if anything."""
    cube, card, own = place.cube, place.card, f"{root}/collections/{id_of(place)}"
    years = cube.years
    begin, end = f"{years[0]}-01-01T00:00:00Z", f"{years[-1]}-12-31T23:59:59Z"
    west, south, east, north = cube.bounds_lonlat()
    xmin, ymin, xmax, ymax = cube.window.bounds(cube.grid)
    rows, cols = cube.window.shape
    code = cube.grid.crs
    x_and_y = {"type": "spatial", "step": cube.grid.size, "reference_system": int(code.partition(":")[2])}
    dimensions = {
        "x": {**x_and_y, "axis": "x", "extent": [xmin, xmax], "description": "easting, edges of the cells"},
        "y": {**x_and_y, "axis": "y", "extent": [ymin, ymax], "description": "northing, edges of the cells"},
        "time": {"type": "temporal", "extent": [begin, end], "step": "P1D", "description": "local standard day"},
    }
    variables = {
        v.name: {
            "dimensions": ["time", "y", "x"] if v.period == "day" else ["y", "x"],
            "type": "data",
            "description": v.long_name + (f"; {v.sign}" if v.sign else ""),
            "unit": v.unit,
            "extent": [v.low, v.high],
        }
        for v in (VARIABLES[name] for name in card.outputs)
    }
    licence = cube.licence or "other"
    return {
        "type": "Collection",
        "stac_version": VERSION,
        "stac_extensions": list(EXTENSIONS),
        "id": id_of(place),
        "title": f"{cube.title} · {card.title}",
        "description": f"{card.description} {cube.statement}",
        "keywords": ["carbon flux", "crop yield", "soil carbon", *card.outputs],
        "license": licence if " " not in licence else "other",
        "providers": [{"name": "Fieldflux", "roles": ["processor", "host"], "url": api}],
        "extent": {"spatial": {"bbox": [[west, south, east, north]]}, "temporal": {"interval": [[begin, end]]}},
        "summaries": {"proj:code": [code], "gsd": [cube.grid.size]},
        "cube:dimensions": dimensions,
        "cube:variables": variables,
        "proj:code": code,
        "proj:bbox": [xmin, ymin, xmax, ymax],
        "proj:shape": [rows, cols],
        "proj:transform": [cube.grid.size, 0.0, xmin, 0.0, -cube.grid.size, ymax],
        "renders": _renders(place),
        "fieldflux:synthetic": cube.synthetic,
        "fieldflux:cube_hash": cube.hash,
        "fieldflux:model": card.id,
        "fieldflux:weights_sha256": card.weights_sha256,
        "fieldflux:snapshot": store.snapshot if store else None,
        "assets": _assets(api, place, store),
        "item_assets": {},
        "links": [
            _link(own, "self"),
            _link(root, "root"),
            _link(root, "parent"),
            _link(f"{api}/v1/models/{card.id}", "about", title="Card of the model"),
            *(
                _link(f"{api}/v1/tiles/{v}/tilejson.json?{_query(place)}", "tilejson", title=VARIABLES[v].long_name)
                for v in card.outputs
            ),
            {
                **_link(f"{api}/v1/wmts/1.0.0/WMTSCapabilities.xml?{_query(place)}", "wmts", "application/xml"),
                "wmts:layer": [id_of(place, VARIABLES[name]) for name in card.outputs],
            },
        ],
    }  # fmt: skip


def _renders(place: Place) -> dict[str, Any]:
    found = {}
    for name in place.card.outputs:
        v = VARIABLES[name]
        style = style_of(v, Look(), when_of(place, v, default_of(place, v)))
        found[name] = {
            "title": f"{v.long_name}, {v.unit}",
            "assets": ["zarr"],
            "rescale": [list(style.scale)],
            "colormap_name": style.name,
            "minmax_zoom": [3, 16],
        }
    return found


def _assets(api: str, place: Place, store: Store | None) -> dict[str, Any]:
    query = _query(place)
    tiles = {
        f"tiles-{name}": {
            "href": f"{api}/v1/tiles/{name}/tilejson.json?{query}",
            "type": "application/json",
            "title": f"Map tiles: {VARIABLES[name].long_name} (TileJSON)",
            "roles": ["visual", "tiles"],
        }
        for name in place.card.outputs
    }
    statement = {
        "href": f"{api}/v1/cubes/{place.cube.id}",
        "type": "application/json",
        "title": "Where the inputs come from",
        "roles": ["metadata", "statement"],
    }
    if store is None:
        return {"statement": statement, **tiles}
    zarr = {
        "href": f"{api}/v1/stores/{id_of(place)}/zarr",
        "type": "application/vnd+zarr",
        "title": "All values: a Zarr v3 hierarchy with a group for each year",
        "roles": ["data"],
    }
    return {"zarr": zarr, "statement": statement, **tiles}


def _query(place: Place) -> str:
    from urllib.parse import urlencode

    return urlencode({"cube": place.cube.id, "model": place.card.id})


def _link(href: str, rel: str, type: str = "application/json", title: str = "") -> dict[str, Any]:
    return {"href": href, "rel": rel, "type": type, **({"title": title} if title else {})}
