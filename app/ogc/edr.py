"""OGC API – EDR 1.1: a collection for each cube and model, and questions of it as those of /v1/series."""

from __future__ import annotations

from datetime import date
from typing import Any

from fieldflux.app.address import asked, names_of
from fieldflux.app.ask import Ask
from fieldflux.app.problems import Refused
from fieldflux.app.workspace import Place
from fieldflux.models.variables import VARIABLES

from .places import id_of
from .tilesets import CRS84, link
from .times import period_name

FORMATS = {
    "CoverageJSON": "covjson",
    "GeoJSON": "geojson",
    "CSV": "csv",
    "JSON": "json",
    "NetCDF": "netcdf",
    "Parquet": "parquet",
}
"""By EDR's names; each is also known by the name that /v1/series has for it."""
QUERIES = {
    "position": "POINT(longitude latitude): the cell that holds it",
    "area": "POLYGON or MULTIPOLYGON: the mean over it, cells weighted by the exact area covered",
    "locations": "A registered field",
}
CONFORMANCE = (
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-common-2/1.0/conf/collections",
    "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf/core",
    "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf/json",
    "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf/covjson",
)
"""What tests/test_ogc.py tests, and no more."""


def landing(root: str, api: str) -> dict[str, Any]:
    return {
        "title": "Fieldflux: series by place",
        "description": "Series of carbon fluxes, yields and soil carbon of points, areas and fields, as OGC API – EDR.",
        "links": [
            link(root, "self"),
            link(f"{api}/openapi.json", "service-desc", "application/vnd.oai.openapi+json;version=3.0"),
            link(f"{api}/docs", "service-doc", "text/html"),
            link(f"{root}/conformance", "conformance"),
            link(f"{root}/collections", "data"),
        ],
    }


def collections(root: str, places: list[Place]) -> dict[str, Any]:
    return {
        "links": [link(f"{root}/collections", "self")],
        "collections": [collection(root, place) for place in places],
    }


def collection(root: str, place: Place) -> dict[str, Any]:
    own = f"{root}/collections/{id_of(place)}"
    years = place.cube.years
    outputs = [VARIABLES[name] for name in place.card.outputs]
    return {
        "id": id_of(place),
        "title": f"{place.cube.title} · {place.card.title}",
        "description": f"{place.card.description} {place.cube.statement}",
        "links": [link(own, "self"), *(link(f"{own}/{query}", "data", title=QUERIES[query]) for query in QUERIES)],
        "extent": {
            "spatial": {"bbox": [list(place.cube.bounds_lonlat())], "crs": CRS84},
            "temporal": {
                "interval": [[f"{years[0]}-01-01T00:00:00Z", f"{years[-1]}-12-31T23:59:59Z"]],
                "values": [f"R/{years[0]}-01-01/P1D"],
                "trs": "http://www.opengis.net/def/uom/ISO-8601/0/Gregorian",
            },
        },
        "data_queries": {query: _query(own, query, text) for query, text in QUERIES.items()},
        "crs": [CRS84],
        "output_formats": list(FORMATS),
        "parameter_names": {
            v.name: {
                "type": "Parameter",
                "id": v.name,
                "description": v.long_name + (f"; {v.sign}" if v.sign else ""),
                "data-type": "float",
                "unit": {"label": v.unit, "symbol": v.unit},
                "observedProperty": {"id": v.standard_name or v.name, "label": v.long_name},
                "measurementType": {"method": v.over_time, "duration": "P1D" if v.period == "day" else "P1Y"},
            }
            for v in outputs
        },
    }


def _query(own: str, query: str, text: str) -> dict[str, Any]:
    about = {
        "title": text,
        "query_type": query,
        "output_formats": list(FORMATS),
        "default_output_format": "CoverageJSON",
        "crs_details": [{"crs": "CRS84", "wkt": 'GEOGCS["WGS 84 (CRS84)"]'}],
    }
    return {"link": {"href": f"{own}/{query}", "rel": "data", "variables": about}}


def format_name(f: str) -> str:
    """The name that /v1/series has for a format. Raises Refused (not-acceptable)."""
    known = {name.lower(): ours for name, ours in FORMATS.items()} | {ours: ours for ours in FORMATS.values()}
    if not f:
        return "covjson"
    if f.lower() not in known:
        raise Refused(
            "not-acceptable",
            f"There is no format f={f[:40]!r}; those there are: {', '.join(FORMATS)}.",
            allowed=list(FORMATS),
        )
    return known[f.lower()]


def question(place: Place, datetime: str, parameters: str, step: str, **of: Any) -> Ask:
    """The question to /v1/series. of: `geometry` or `fields`.

    Raises Refused (invalid-dates), BadMoment, RequestValidationError.
    """
    from fieldflux.tiles.when import ends, parse

    years = place.cube.years
    first, last = date(years[0], 1, 1), date(years[-1], 12, 31)
    if datetime:
        first, last = ends(parse(period_name(datetime, years)))
    names = names_of(parameters) or place.card.outputs
    about = {"cube": place.cube.id, "model": place.card.id}
    return asked(first=first, last=last, variables=names, step=step, **about, **of)


def cell_at(place: Place, coords: str) -> dict[str, Any]:
    """The cell that holds a position, as a GeoJSON polygon. Raises Refused (invalid-geometry, outside-cube)."""
    point = _read(coords, ("Point",), "POINT(-93.65 42.03)")
    grid, window = place.cube.grid, place.cube.window
    x, y = grid.from_lonlat(point.x, point.y)
    row, col = (int(n) for n in grid.cell_at(x, y)) if abs(float(x)) < 1e9 and abs(float(y)) < 1e9 else (-1, -1)
    if not (window.row0 <= row < window.row1 and window.col0 <= col < window.col1):
        west, south, east, north = place.cube.bounds_lonlat()
        raise Refused(
            "outside-cube",
            f"The position {point.x:g}, {point.y:g} lies outside the cube '{place.cube.id}', which covers longitudes "
            f"{west:.3f} to {east:.3f} and latitudes {south:.3f} to {north:.3f}.",
        )
    # Drawn a little inside its edges, so that rounding adds no slivers of its neighbours.
    west, north = grid.x0 + (col + 1e-4) * grid.size, grid.y0 - (row + 1e-4) * grid.size
    east, south = west + (1 - 2e-4) * grid.size, north - (1 - 2e-4) * grid.size
    lon, lat = grid.to_lonlat([west, east, east, west, west], [south, south, north, north, south])
    return {"type": "Polygon", "coordinates": [[[float(a), float(b)] for a, b in zip(lon, lat, strict=True)]]}


def area_of(coords: str) -> dict[str, Any]:
    """An area as GeoJSON; it is checked as any other geometry later. Raises Refused (invalid-geometry)."""
    from shapely.geometry import mapping

    found: dict[str, Any] = mapping(_read(coords, ("Polygon", "MultiPolygon"), "POLYGON((…))"))
    return found


def _read(coords: str, kinds: tuple[str, ...], example: str) -> Any:
    from shapely import from_wkt
    from shapely.errors import ShapelyError

    try:
        found = from_wkt(coords)
    except ShapelyError as error:
        raise Refused("invalid-geometry", f"`coords` is not WKT, such as {example}: {error}.") from None
    if found is None or found.geom_type not in kinds or found.is_empty:
        raise Refused("invalid-geometry", f"`coords` is WKT such as {example}; given: {coords[:60]}.")
    return found
