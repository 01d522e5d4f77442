"""WMTS 1.0.0 (OGC 07-057r7) capabilities: layers with their times, styles and legends, for QGIS and GDAL."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from fieldflux.app.drawn import Format
from fieldflux.app.look import DEFAULT_STYLE, Look
from fieldflux.app.picture import default_of, style_names, style_of, when_of
from fieldflux.app.workspace import Place
from fieldflux.models.variables import Variable

from .links import with_token
from .matrices import MERCATOR, SIDE, mercator
from .places import id_of
from .tilesets import limits

WMTS = "http://www.opengis.net/wmts/1.0"
OWS = "http://www.opengis.net/ows/1.1"
XLINK = "http://www.w3.org/1999/xlink"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
FORMATS: dict[str, Format] = {"image/png": "png", "image/webp": "webp"}
PREFIXES = {"": WMTS, "ows": OWS, "xlink": XLINK, "xsi": XSI}


def capabilities(
    root: str, legends: str, layers: Sequence[tuple[Place, Variable]], statement: str, token: str = ""
) -> bytes:
    """The document. root: address of the WMTS. legends: address of legends, `…/v1/legend`. token: that all addresses
    carry."""
    for prefix, uri in PREFIXES.items():
        ElementTree.register_namespace(prefix, uri)
    top = ElementTree.Element(
        _wmts("Capabilities"),
        {"version": "1.0.0", f"{{{XSI}}}schemaLocation": f"{WMTS} http://schemas.opengis.net/wmts/1.0/wmtsAll.xsd"},
    )
    service = _add(top, _ows("ServiceIdentification"))
    _add(service, _ows("Title"), "Fieldflux")
    _add(service, _ows("Abstract"), statement)
    _add(service, _ows("ServiceType"), "OGC WMTS")
    _add(service, _ows("ServiceTypeVersion"), "1.0.0")
    _operations(top, root)
    contents = _add(top, _wmts("Contents"))
    for place, v in layers:
        _layer(contents, root, legends, place, v)
    _matrix_set(contents)
    _add(top, _wmts("ServiceMetadataURL"), None, {f"{{{XLINK}}}href": f"{root}/1.0.0/WMTSCapabilities.xml"})
    for element in top.iter() if token else ():
        for name in (f"{{{XLINK}}}href", "template"):
            if name in element.attrib:
                element.attrib[name] = with_token(element.attrib[name], token)
    ElementTree.indent(top, " ")
    return _bytes(top)


def report(code: str, text: str, locator: str) -> bytes:
    """An exception report, as WMTS clients expect it in answer to key-value requests."""
    for prefix, uri in PREFIXES.items():
        ElementTree.register_namespace(prefix, uri)
    top = ElementTree.Element(_ows("ExceptionReport"), {"version": "1.1.0"})
    found = _add(top, _ows("Exception"), None, {"exceptionCode": code, **({"locator": locator} if locator else {})})
    _add(found, _ows("ExceptionText"), text)
    return _bytes(top)


def _bytes(top: Any) -> bytes:
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + bytes(ElementTree.tostring(top, "utf-8"))


def _operations(top: Any, root: str) -> None:
    operations = _add(top, _ows("OperationsMetadata"))
    for name in ("GetCapabilities", "GetTile"):
        operation = _add(operations, _ows("Operation"), None, {"name": name})
        http = _add(_add(operation, _ows("DCP")), _ows("HTTP"))
        get = _add(http, _ows("Get"), None, {f"{{{XLINK}}}href": f"{root}?"})
        constraint = _add(get, _ows("Constraint"), None, {"name": "GetEncoding"})
        _add(_add(constraint, _ows("AllowedValues")), _ows("Value"), "KVP")


def _layer(contents: Any, root: str, legends: str, place: Place, v: Variable) -> None:
    layer = _add(contents, _wmts("Layer"))
    west, south, east, north = place.cube.bounds_lonlat()
    _add(layer, _ows("Title"), f"{v.long_name} ({v.unit}) · {place.card.title}")
    _add(layer, _ows("Abstract"), f"{v.sign + '. ' if v.sign else ''}{place.cube.statement}")
    box = _add(layer, _ows("WGS84BoundingBox"))
    _add(box, _ows("LowerCorner"), f"{west!r} {south!r}")
    _add(box, _ows("UpperCorner"), f"{east!r} {north!r}")
    _add(layer, _ows("Identifier"), id_of(place, v))
    own = style_of(v, Look(), when_of(place, v, default_of(place, v)))
    for name in (DEFAULT_STYLE, *style_names()):
        title = f"{own.name}, the variable's own" if name == DEFAULT_STYLE else name
        style = _add(layer, _wmts("Style"), None, {"isDefault": "true"} if name == DEFAULT_STYLE else {})
        _add(style, _ows("Title"), title)
        _add(style, _ows("Identifier"), name)
        for media, ending in (("image/png", "png"), ("image/svg+xml", "svg")):
            href = f"{legends}/{v.name}.{ending}?style={name}&when={default_of(place, v)}"
            _add(style, _wmts("LegendURL"), None, {"format": media, f"{{{XLINK}}}href": href})
    for media in FORMATS:
        _add(layer, _wmts("Format"), media)
    years = place.cube.years
    dimension = _add(layer, _wmts("Dimension"))
    _add(dimension, _ows("Identifier"), "Time")
    _add(dimension, _ows("UOM"), "ISO8601")
    _add(dimension, _wmts("Default"), default_of(place, v))
    _add(dimension, _wmts("Current"), "true")
    if v.period == "day":
        _add(dimension, _wmts("Value"), f"{years[0]}-01-01/{years[-1]}-12-31/P1D")
    for year in years:
        _add(dimension, _wmts("Value"), str(year))
    linked = _add(layer, _wmts("TileMatrixSetLink"))
    _add(linked, _wmts("TileMatrixSet"), MERCATOR)
    every = _add(linked, _wmts("TileMatrixSetLimits"))
    for limit in limits(place, "WebMercatorQuad", mercator()):
        one = _add(every, _wmts("TileMatrixLimits"))
        _add(one, _wmts("TileMatrix"), limit["tileMatrix"])
        for key in ("MinTileRow", "MaxTileRow", "MinTileCol", "MaxTileCol"):
            _add(one, _wmts(key), str(limit[key[0].lower() + key[1:]]))
    for media, ending in FORMATS.items():
        where = f"{root}/1.0.0/{quote(id_of(place, v))}/{{Style}}/{{Time}}/{{TileMatrixSet}}"
        where += f"/{{TileMatrix}}/{{TileRow}}/{{TileCol}}.{ending}"
        _add(layer, _wmts("ResourceURL"), None, {"format": media, "resourceType": "tile", "template": where})


def _matrix_set(contents: Any) -> None:
    defined = mercator()
    found = _add(contents, _wmts("TileMatrixSet"))
    _add(found, _ows("Identifier"), defined["id"])
    _add(found, _ows("SupportedCRS"), "urn:ogc:def:crs:EPSG::3857")
    _add(found, _wmts("WellKnownScaleSet"), "urn:ogc:def:wkss:OGC:1.0:GoogleMapsCompatible")
    for matrix in defined["tileMatrices"]:
        one = _add(found, _wmts("TileMatrix"))
        _add(one, _ows("Identifier"), matrix["id"])
        _add(one, _wmts("ScaleDenominator"), repr(matrix["scaleDenominator"]))
        x, y = matrix["pointOfOrigin"]
        _add(one, _wmts("TopLeftCorner"), f"{x!r} {y!r}")
        for name, value in (("TileWidth", SIDE), ("TileHeight", SIDE)):
            _add(one, _wmts(name), str(value))
        _add(one, _wmts("MatrixWidth"), str(matrix["matrixWidth"]))
        _add(one, _wmts("MatrixHeight"), str(matrix["matrixHeight"]))


def _wmts(name: str) -> str:
    return f"{{{WMTS}}}{name}"


def _ows(name: str) -> str:
    return f"{{{OWS}}}{name}"


def _add(parent: Any, name: str, text: str | None = None, attributes: dict[str, str] | None = None) -> Any:
    child = ElementTree.SubElement(parent, name, attributes or {})
    child.text = text
    return child
