"""Shapes of the JSON answers, as JSON schemas: they describe, and tests hold every answer against them.

They are no models: an answer is written as it is made, and not checked or built again on its way out. Members that are
named without `opt` are always there; an answer may grow, so others are allowed.
"""

from __future__ import annotations

from typing import Any, TypeAlias

Schema: TypeAlias = dict[str, Any]

TEXT: Schema = {"type": "string"}
URL: Schema = {"type": "string", "description": "An address"}
NUMBER: Schema = {"type": "number"}
WHOLE: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}
ANY: Schema = {}
NAMES: Schema = {"type": "array", "items": TEXT}
YEARS: Schema = {"type": "array", "items": WHOLE}
NUMBERS: Schema = {"type": "array", "items": NUMBER}
TIME: Schema = {"type": "string", "format": "date-time"}
DAY: Schema = {"type": "string", "format": "date"}


def maybe(schema: Schema) -> Schema:
    """Or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def many(schema: Schema, says: str = "") -> Schema:
    return {"type": "array", "items": schema} | ({"description": says} if says else {})


def by_name(schema: Schema, says: str = "") -> Schema:
    return {"type": "object", "additionalProperties": schema} | ({"description": says} if says else {})


def said(schema: Schema, says: str) -> Schema:
    return schema | {"description": says}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def thing(says: str, opt: dict[str, Schema] | None = None, /, **members: Schema) -> Schema:
    """An object; `members` are always there, `opt` are not."""
    return {"type": "object", "description": says, "properties": members | (opt or {}), "required": list(members)}


COLUMN = many(maybe(NUMBER), "Over `time`; null where there is no value")
LINKS = many(thing("A link", {"rel": TEXT, "type": TEXT, "title": TEXT}, href=URL))
BASIS = many(
    thing(
        "What the width of some steps' intervals rests on",
        {"rule": TEXT, "scaled": FLAG, "groups": WHOLE, "pairs": WHOLE, "data": TEXT, "promised": FLAG},
        method={"enum": ["conformal", "factor", "spread"]},
        steps=said(WHOLE, "How many of the values have it"),
    )
)
BETWEEN = by_name(thing("Ends of the intervals", low=COLUMN, high=COLUMN), "By variable; at `interval_level`")
TOTALS = by_name(
    thing("Of the land with values", {"low": COLUMN, "high": COLUMN}, unit=TEXT, value=COLUMN), "By variable, tonnes"
)
FIGURE = thing(
    "One figure over all the time asked for",
    {
        "low": maybe(NUMBER),
        "high": maybe(NUMBER),
        "interval_basis": BASIS,
        "total": maybe(NUMBER),
        "total_unit": TEXT,
        "total_low": maybe(NUMBER),
        "total_high": maybe(NUMBER),
    },
    unit=TEXT,
    value=maybe(NUMBER),
    valid_fraction=NUMBER,
)
CROP = thing(
    "A crop of a year, by its share of the area",
    {"yield": ANY},
    year=WHOLE,
    code=said(WHOLE, "Of the Cropland Data Layer"),
    name=maybe(TEXT),
    fraction=NUMBER,
)
STATUS: Schema = {"enum": ["OK", "PARTIAL", "FAILED"]}
OF_POLYGON: dict[str, Schema] = {
    "values": by_name(COLUMN, "By variable"),
    "valid_fraction": by_name(COLUMN, "Share of the covered area whose cells have a value"),
    "summary": by_name(FIGURE),
    "crops": many(CROP),
    "area_ha": said(NUMBER, "Geodesic, of the outline"),
    "cell_count": WHOLE,
    "effective_cells": NUMBER,
    "covered_ha": NUMBER,
    "coverage": said(NUMBER, "Share of the outline that lies on cells with inputs"),
    "flags": NAMES,
    "notes": said(NAMES, "A sentence for each flag"),
}
OF_POLYGON_IF_ASKED: dict[str, Schema] = {
    "intervals": BETWEEN,
    "interval_basis": by_name(BASIS),
    "totals": TOTALS,
    "statistics": by_name(ANY, "Over the cells, by variable and name"),
    "model_flags": ANY,
    "years": said({"type": "object"}, "Yearly variables, of the calendar years, where the step is another"),
    "record": said(YEARS, "First and last year of the climate that values of the whole record are of"),
    "valid_days": said(many(WHOLE), "Days of each step, longer than a day, on which every variable has a value"),
}
OF_ALL: dict[str, Schema] = {
    "time": said(NAMES, "ISO 8601: a day, a month, a year, '2020-DJF', or first/last"),
    "step": {"enum": ["day", "month", "season", "year", "period"]},
    "first": DAY,
    "last": DAY,
    "units": by_name(TEXT),
    "signs": by_name(TEXT, "What a positive value means"),
    "weighting": TEXT,
    "model": TEXT,
    "weights_sha256": TEXT,
    "cube": TEXT,
    "cube_hash": TEXT,
    "statement": said(TEXT, "What the inputs are"),
    "synthetic": FLAG,
    "licence": TEXT,
    "snapshot": said(TEXT, "Of the store; empty where all was computed now"),
}

OF_STEPS: dict[str, Schema] = {
    "days": said(many(WHOLE), "Days of each step, longer than a day, that were asked for"),
    "whole": said(many(FLAG), "Whether these are all days of the step"),
}
STEP_STATUS = said(many(STATUS), "Of each step that is longer than a day")
PLACE = thing("Cells under a field", cube=TEXT, cells=WHOLE, effective_cells=NUMBER, covered_fraction=NUMBER)
FIELD = thing(
    "A field, a GeoJSON Feature",
    {"bbox": NUMBERS, "overlaps": many(ANY), "duplicates": many(ANY), "values": ANY},
    type={"const": "Feature"},
    id=TEXT,
    geometry=maybe(thing("GeoJSON", {"coordinates": ANY}, type=TEXT)),
    properties=maybe({"type": "object"}),
    external_id=maybe(TEXT),
    version=WHOLE,
    valid_from=TEXT,
    created=TIME,
    updated=TIME,
    area_ha=NUMBER,
    coverage=maybe(PLACE),
    flags=NAMES,
    notes=NAMES,
)
COST = thing(
    "What a job takes, as it was planned",
    {
        "note": TEXT,
        "features": WHOLE,
        "cells": WHOLE,
        "blocks": WHOLE,
        "work_seconds_range": said(maybe(NUMBERS), "Within which 90 % of jobs are taken to lie"),
        "seconds": maybe(NUMBER),
        "seconds_range": maybe(NUMBERS),
        "units": said(NUMBER, "Of rate limits, as in GET /v1/usage"),
        "pace": said(ANY, "What batches took here, for one second expected, and how many were measured"),
    },
    work_seconds=maybe(NUMBER),
)
JOB = thing(
    "A job",
    {"cost": ANY, "rejected": many(ANY), "webhook": ANY, "eta": maybe(TEXT), "seconds_left": maybe(NUMBER)},
    id=TEXT,
    kind={"enum": ["series", "run", "export"]},
    name=TEXT,
    state=said(TEXT, "queued, running, paused, done, partial, failed or cancelled"),
    message=TEXT,
    created=TIME,
    started=maybe(TIME),
    finished=maybe(TIME),
    progress=thing("By what is done", unit=TEXT, done=WHOLE, total=WHOLE, fraction=NUMBER),
    counts=by_name(WHOLE),
    links=by_name(ANY),
)
LEGEND = thing(
    "A legend",
    {"of": TEXT, "sign": TEXT, "classes": many(ANY)},
    variable=TEXT,
    title=TEXT,
    unit=TEXT,
    palette=TEXT,
    diverging=FLAG,
    low=NUMBER,
    high=NUMBER,
    stops=many(thing("A colour", value=NUMBER, color=TEXT)),
    ticks=many(thing("A label", value=NUMBER, label=TEXT)),
)
LANDING = thing("An entrance of an OGC API", {"description": TEXT}, title=TEXT, links=LINKS)
CONFORMANCE = thing("What is conformed to", conformsTo=NAMES)
COLLECTION = thing("A collection of an OGC API", {"extent": ANY, "data_queries": ANY}, id=TEXT, title=TEXT, links=LINKS)
STAC = thing(
    "A STAC collection",
    {"cube:dimensions": ANY, "cube:variables": ANY, "assets": ANY},
    type={"const": "Collection"},
    stac_version=TEXT,
    id=TEXT,
    description=TEXT,
    license=TEXT,
    extent=thing("Where and when", spatial=ANY, temporal=ANY),
    links=LINKS,
)
CUBE = thing(
    "Inputs: where and when",
    {"sources": many(ANY), "notes": NAMES, "crops": many(ANY)},
    id=TEXT,
    title=TEXT,
    statement=TEXT,
    synthetic=FLAG,
    licence=TEXT,
    hash=TEXT,
    years=YEARS,
    bounds=NUMBERS,
    center=NUMBERS,
    inputs=by_name(TEXT, "Unit of each"),
)
FEATURES = thing("GeoJSON", {"more": FLAG}, type={"const": "FeatureCollection"}, features=many(ANY))
STYLE = thing("Styles of a variable", {"styles": NAMES}, variable=TEXT, default=TEXT, own=by_name(ANY))
QUEUE = thing("Chunks computed on demand", waiting=WHOLE, running=WHOLE, done=WHOLE, failed=many(ANY))
KEY = thing("A key, without its secret", {"secret": TEXT, "key": TEXT}, id=TEXT)
COVERAGE_JSON = thing("CoverageJSON", {"domain": ANY, "parameters": ANY, "ranges": ANY}, type=TEXT)


def page(item: Schema, says: str) -> Schema:
    """A page of a list with a cursor."""
    return thing(says, items=many(item), next=said(maybe(TEXT), "Cursor of the next page; null at the end"))


TOGETHER = by_name(
    thing(
        "How the errors of fields were put together",
        {"between": said(ANY, "What was measured: correlation by distance, with pairs and years")},
        how=said(
            {"enum": ["common", "measured", "members"]},
            "common: half widths added up; measured: by a correlation that falls with the distance; members: each "
            "member of the ensemble summed first",
        ),
        says=TEXT,
    ),
    "By variable with intervals",
)
COMBINED = thing(
    "The sum over all features with a series; null where none has one. Members as of a feature: `totals` are sums, "
    "`values` means by area of all land, crops those of all land",
    {**OF_POLYGON, **OF_POLYGON_IF_ASKED, "step_status": STEP_STATUS},
    index=said(WHOLE, "One more than the last feature's"),
    id={"const": "combined"},
    status=STATUS,
    counted=said(WHOLE, "Features in the sum"),
    not_counted=said(many(WHOLE), "Features that are not in it, since they have no series, by their index"),
    overlap_ha=said(NUMBER, "Land under several outlines, beyond the once that it counts"),
    errors_together=thing("Why the intervals are as wide as they are", steps=TOGETHER, period=TOGETHER),
)


SHAPES: dict[str, Schema] = {
    "Series": thing(
        "Series of one polygon",
        OF_POLYGON_IF_ASKED | OF_STEPS | {"interval_level": maybe(NUMBER), "status": STEP_STATUS},
        **OF_ALL,
        **OF_POLYGON,
    ),
    "ManySeries": thing(
        "Series of many polygons",
        OF_STEPS | {"interval_level": maybe(NUMBER), "combined": maybe(COMBINED)},
        **OF_ALL,
        status=STATUS,
        counts=by_name(WHOLE),
        features=many(
            thing(
                "A polygon's series, or the problem with it",
                {**OF_POLYGON, **OF_POLYGON_IF_ASKED, "step_status": STEP_STATUS, "problem": ANY, "id": ANY},
                index=WHOLE,
                status=STATUS,
            )
        ),
    ),
    "NoSeries": thing(
        "Many polygons of which none has a series: the problem with each",
        status={"enum": ["FAILED", "PARTIAL"]},
        counts=by_name(WHOLE),
        features=many(thing("The problem with a polygon", {"id": ANY}, index=WHOLE, status=TEXT, problem=ANY)),
        notes=by_name(TEXT),
    ),
    "Field": FIELD,
    "Fields": page(ref("Field"), "Fields"),
    "Registered": thing(
        "What became of each feature",
        {"notes": NAMES},
        created=WHOLE,
        updated=WHOLE,
        unchanged=WHOLE,
        rejected=WHOLE,
        features=many(thing("A feature", {"id": TEXT, "flags": NAMES, "problem": ANY}, index=WHOLE, status=TEXT)),
    ),
    "FieldVersions": thing(
        "Outlines of a field over time",
        id=TEXT,
        versions=many(thing("An outline", version=WHOLE, valid_from=TEXT, valid_to=maybe(TEXT), current=FLAG)),
    ),
    "Job": JOB,
    "JobCost": thing(
        "What a job would cost",
        kind={"enum": ["series", "run", "export"]},
        unit=said(TEXT, "What its items are"),
        items=WHOLE,
        cost=COST,
        rejected=said(many(ANY), "Features that would fail, with their problems"),
    ),
    "Jobs": page(ref("Job"), "Jobs"),
    "JobResults": thing(
        "Results so far; the sum over all features once the job is done, where it was asked for",
        {"combined": COMBINED},
        state=TEXT,
        complete=FLAG,
        items=many(ANY),
        next=maybe(TEXT),
        notes=by_name(ANY),
    ),
    "Items": page(ANY, "A page"),
    "TileJSON": thing(
        "TileJSON 3",
        {"attribution": TEXT, "legend": ref("Legend"), "time": ANY, "center": NUMBERS},
        tilejson={"const": "3.0.0"},
        tiles=many(URL),
        bounds=NUMBERS,
        minzoom=WHOLE,
        maxzoom=WHOLE,
        variable=TEXT,
        unit=TEXT,
        snapshot=TEXT,
    ),
    "Legend": LEGEND,
    "Style": STYLE,
    "Styles": thing("Styles and palettes", default=TEXT, palettes=many(ANY), variables=by_name(ANY)),
    "Landing": LANDING,
    "Conformance": CONFORMANCE,
    "Collection": COLLECTION,
    "Collections": thing("Collections", {"links": LINKS}, collections=many(ref("Collection"))),
    "TileSet": thing("A tileset", {"links": LINKS, "title": TEXT}, crs=TEXT),
    "TileSets": thing("Tilesets", {"links": LINKS}, tilesets=many(ANY)),
    "TileMatrixSets": thing("Grids of tiles", tileMatrixSets=many(thing("A grid", id=TEXT, links=LINKS))),
    "TileMatrixSet": thing("A grid of tiles", {"title": TEXT}, id=TEXT, crs=ANY, tileMatrices=many(ANY)),
    "Coverage": COVERAGE_JSON,
    "FeatureCollection": FEATURES,
    "StacCatalog": thing("A STAC catalog", type={"const": "Catalog"}, stac_version=TEXT, id=TEXT, links=LINKS),
    "StacCollection": STAC,
    "StacCollections": thing("STAC collections", {"links": LINKS}, collections=many(ref("StacCollection"))),
    "Stores": thing(
        "Stores as Zarr", stores=many(thing("A store", id=TEXT, cube=TEXT, model=TEXT, snapshot=TEXT, zarr=URL))
    ),
    "Variables": thing(
        "What is served",
        variables=many(
            thing(
                "A variable",
                {"sign": maybe(TEXT), "standard_name": maybe(TEXT)},
                name=TEXT,
                long_name=TEXT,
                unit=TEXT,
                units=by_name(TEXT, "Over a day, a month, a year, a period"),
                period=TEXT,
                over_time=TEXT,
                range=many(maybe(NUMBER)),
                digits=WHOLE,
            )
        ),
    ),
    "Models": thing(
        "Models",
        {"default": maybe(TEXT)},
        models=many(thing("A model", id=TEXT, title=TEXT, members=WHOLE, outputs=NAMES, weights_sha256=TEXT, card=URL)),
    ),
    "ModelCard": thing(
        "A model's card",
        {"scores": many(ANY), "data": many(ANY), "splits": ANY, "domain": ANY, "intervals": ANY},
        name=TEXT,
        version=TEXT,
        title=TEXT,
        weights_sha256=TEXT,
        members=WHOLE,
        outputs=NAMES,
        known_faults=many(ANY),
        licence=TEXT,
    ),
    "Cube": CUBE,
    "Cubes": thing("Cubes", {"default": maybe(TEXT), "damaged": many(ANY)}, cubes=many(ref("Cube"))),
    "Limits": {
        "type": "object",
        "description": "Each limit by its name, and what it is of",
        "properties": {"descriptions": by_name(TEXT, "What each limit is of")},
        "required": ["descriptions"],
    },
    "Feature": thing("A GeoJSON Feature", {"properties": ANY}, type=TEXT),
    "Calendar": thing(
        "Crops of a polygon with their days",
        cube=TEXT,
        synthetic=FLAG,
        years=YEARS,
        seasons=many(thing("A season", year=WHOLE, code=WHOLE, name=maybe(TEXT), fraction=NUMBER)),
    ),
    "SoilProfile": thing(
        "Soil carbon of a polygon by layers, with what it follows from",
        {"interval_level": maybe(NUMBER), "total": ANY},
        depth=thing("Layers from the top down", unit=TEXT, top=NUMBERS, bottom=NUMBERS),
        stock=thing("Of each layer", unit=TEXT),
        density=thing("Of each layer", unit=TEXT),
        processes=by_name(ANY),
        area_ha=NUMBER,
        flags=NAMES,
        notes=NAMES,
        model=TEXT,
        cube=TEXT,
        cube_hash=TEXT,
    ),
    "SoilScenario": thing(
        "The soil's course under other management, against its present one",
        {"interval_level": maybe(NUMBER)},
        year=YEARS,
        columns=by_name(ANY),
        balance=thing("Carbon entered, respired and stored", unit=TEXT),
        scenario=ANY,
        against=TEXT,
        area_ha=NUMBER,
        flags=NAMES,
        notes=NAMES,
        model=TEXT,
        cube=TEXT,
        cube_hash=TEXT,
    ),
    "Forecast": thing(
        "Yields of a polygon's crops, as seen on a day of the season",
        {"interval_level": maybe(NUMBER)},
        issue_day=DAY,
        weather=thing("What was known, and the earlier years whose weather follows", known_until=DAY, years=YEARS),
        crops=many(
            thing(
                "A crop, the largest area first",
                {"cdl": ANY, "moisture": NUMBER, "interval_basis": ANY, "now": ANY},
                crop=TEXT,
                area_fraction=NUMBER,
                harvest=DAY,
                days_to_harvest=NUMBER,
                by_weather_year=NUMBERS,
            )
        ),
        area_ha=NUMBER,
        flags=NAMES,
        notes=NAMES,
        model=TEXT,
        cube=TEXT,
        cube_hash=TEXT,
    ),
    "Key": KEY,
    "Keys": page(ref("Key"), "Keys"),
    "Token": thing("A token for the addresses of map tiles", token=TEXT, expires=TIME, scopes=NAMES),
    "Link": thing(
        "A link: a token for addresses, and the addresses to begin with",
        id=TEXT,
        name=TEXT,
        link=said(NAMES, "What it is for"),
        token=TEXT,
        expires=TIME,
        addresses=by_name(URL),
    ),
    "Usage": thing("What was asked for, day by day", items=many(ANY), total=ANY, costs=ANY, first=DAY, last=DAY),
    "Alive": thing("The process answers", status=TEXT),
    "Ready": thing(
        "Whether it can do its work",
        {"fill": ANY, "queue": QUEUE},
        status=TEXT,
        checks=many(thing("A check", {"detail": TEXT}, what=TEXT, name=TEXT, ok=FLAG)),
    ),
    "Status": thing(
        "What the server is doing",
        {"progress": maybe(NUMBER), "seconds_left": maybe(NUMBER), "queue": QUEUE},
        state=TEXT,
        message=TEXT,
        cube=maybe(TEXT),
        model=maybe(TEXT),
        snapshot=maybe(TEXT),
    ),
    "Version": thing("Versions", fieldflux=TEXT, python=TEXT, libraries=by_name(maybe(TEXT))),
}
