"""Outlines: TopoJSON, GeoJSON, shapefiles, GeoPackages, as shapely geometries in longitude and latitude."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import BadSource, existing


@dataclass(frozen=True, slots=True)
class Feature:
    """A named outline. id: as in the file, as text; geometry: shapely, WGS 84."""

    id: str
    properties: Mapping[str, Any]
    geometry: Any


def read_topojson(path: Path | str, layer: str | None = None) -> list[Feature]:
    """Polygons of a TopoJSON layer (the first one where none is named).

    https://github.com/topojson/topojson-specification: arcs are shared; a negative number n means arc ~n, reversed.
    Raises BadSource with the layers there are.
    """
    file = existing(path, "outline file")
    try:
        topology = json.loads(file.read_text())
        if topology.get("type") != "Topology":
            raise BadSource(f"{file} is no TopoJSON: its type is '{topology.get('type')}', not 'Topology'.")
        objects = topology["objects"]
        if layer is not None and layer not in objects:
            raise BadSource(f"{file} has no layer '{layer}'; its layers are: {', '.join(objects)}.")
        arcs = _arcs(topology)
        chosen = objects[layer if layer is not None else next(iter(objects))]
        found = chosen.get("geometries", [chosen])
        return [
            Feature(str(g.get("id", k)), g.get("properties", {}), _polygon(g, arcs))
            for k, g in enumerate(found)
            if g.get("type") in ("Polygon", "MultiPolygon")
        ]
    except (OSError, KeyError, IndexError, TypeError, AttributeError, StopIteration, json.JSONDecodeError) as error:
        raise BadSource(f"{file} cannot be read as TopoJSON: {error!r}. The file may be cut off.") from error


def read_outlines(path: Path | str, layer: str | None = None) -> list[Feature]:
    """Polygons of any vector file: TopoJSON by its content, everything else through geopandas.

    Raises BadSource where it holds no polygons or names no reference system.
    """
    file = existing(path, "outline file")
    if file.suffix.lower() in (".json", ".topojson") and '"Topology"' in _start(file):
        return read_topojson(file, layer)
    import geopandas

    try:
        table = geopandas.read_file(file, **({"layer": layer} if layer else {}))
    except Exception as error:  # pyogrio, fiona and GDAL each raise their own
        raise BadSource(
            f"{file} cannot be read as outlines: {error}. Give TopoJSON, GeoJSON, a GeoPackage or a shapefile."
        ) from error
    if table.crs is None:
        raise BadSource(f"{file} names no reference system. A shapefile needs its .prj beside it.")
    table = table.to_crs("EPSG:4326")
    ids = table["id"] if "id" in table.columns else table.index
    columns = [c for c in table.columns if c != table.geometry.name]
    records = table[columns].to_dict("records")
    found = [
        Feature(str(i), record, geometry)
        for i, record, geometry in zip(ids, records, table.geometry, strict=True)
        if geometry is not None and geometry.geom_type in ("Polygon", "MultiPolygon")
    ]
    if not found:
        raise BadSource(f"{file} holds no polygons.")
    return found


def find(features: Sequence[Feature], wanted: str, file: Path | str) -> Feature:
    """The feature of an id. Raises BadSource with the first ids there are."""
    for feature in features:
        if feature.id == wanted:
            return feature
    some = ", ".join(f.id for f in features[:8])
    raise BadSource(f"{file} has no outline with the id '{wanted}'; its {len(features)} ids begin: {some}.")


def on_grid(geometry: Any, crs: str) -> Any:
    """The geometry, from longitude and latitude to a plane."""
    from fieldflux.tiles.grid import transformer
    from shapely import transform

    def project(points: Any) -> Any:
        return np.column_stack(transformer("EPSG:4326", crs).transform(points[:, 0], points[:, 1]))

    return transform(geometry, project)


def _arcs(topology: Mapping[str, Any]) -> list[Any]:
    quantised = topology.get("transform")
    arcs = []
    for arc in topology["arcs"]:
        points = np.asarray(arc, float)[:, :2]
        if quantised:
            points = np.cumsum(points, axis=0) * quantised["scale"] + quantised["translate"]
        arcs.append(points)
    return arcs


def _polygon(geometry: Mapping[str, Any], arcs: Sequence[Any]) -> Any:
    from shapely import MultiPolygon, Polygon, make_valid

    def ring(numbers: Sequence[int]) -> Any:
        parts = [arcs[n] if n >= 0 else arcs[~n][::-1] for n in numbers]
        return np.concatenate([parts[0], *(p[1:] for p in parts[1:])])

    groups = [geometry["arcs"]] if geometry["type"] == "Polygon" else geometry["arcs"]
    rings = [[r for r in map(ring, group) if len(r) >= 4] for group in groups]
    polygons = [Polygon(group[0], group[1:]) for group in rings if group]
    whole = polygons[0] if len(polygons) == 1 else MultiPolygon(polygons)
    return whole if whole.is_valid else make_valid(whole)


def _start(file: Path) -> str:
    with file.open(encoding="utf-8", errors="replace") as stream:
        return stream.read(4096)
