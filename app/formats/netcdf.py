"""NetCDF-4 after CF-1.11: time series of stations, one per feature (a discrete sampling geometry)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from fieldflux.app.collection import Collection, Feature
from fieldflux.app.problems import Refused
from fieldflux.models.variables import VARIABLES
from numpy.typing import NDArray

from .table import table_of
from .text import about_of

if TYPE_CHECKING:
    from fieldflux.tiles.series import Series, Values

_EPOCH = np.datetime64("1970-01-01", "D")


def as_netcdf(asked: Collection, features: Sequence[Feature]) -> bytes:
    """Variables [station, time], yearly ones [station, year]; steps have bounds. Failed features, and
    the sum over all, are in the attribute `fieldflux`.

    Raises Refused (not-acceptable) where every feature failed: there is nothing to write then.
    """
    import xarray as xr

    answered = [f for f in features if f.series is not None and f.combined is None]
    if not answered:
        raise Refused(
            "not-acceptable", "Every feature failed, so there is no series to write. Ask for JSON to see why."
        )
    all_found = [f.series for f in answered if f.series is not None]
    one = all_found[0]
    stations = _stations(answered)
    data: dict[str, Any] = {}
    steps = one.steps
    if one.values:
        data |= _time("time", steps.starts, steps.starts + steps.lengths)
        for name in one.values:
            data |= _variables(name, [found.values[name] for found in all_found], "time")
    if one.annual:
        firsts, lasts = one.year_ends()
        data |= _time("year", firsts, lasts + 1)
        for name in one.annual:
            data |= _variables(name, [found.annual[name] for found in all_found], "year")
    coordinates = {name: data.pop(name) for name in ("time", "year") if name in data}
    whole = xr.Dataset({**stations, **data}, coords=coordinates, attrs=_attributes(asked, features, one))
    whole = whole.set_coords(["lat", "lon", "station_id"])
    buffer = io.BytesIO()
    plain = {str(name): {"_FillValue": None} for name in whole.variables if whole[name].dtype.kind != "f"}
    bounds = {
        name: {"_FillValue": None} for name in ("lat", "lon", "time", "year", "time_bnds", "year_bnds") if name in whole
    }
    whole.to_netcdf(buffer, engine="h5netcdf", encoding={**plain, **bounds})
    return buffer.getvalue()


def _stations(features: Sequence[Feature]) -> dict[str, Any]:
    points = [f.given.shape.geometry.representative_point() for f in features if f.given.shape is not None]
    names = [str(f.given.index if f.given.id is None else f.given.id) for f in features]
    covers = [f.series.coverage for f in features if f.series is not None]
    on = ("station",)
    return {
        "station_id": (on, np.array(names, object), {"cf_role": "timeseries_id", "long_name": "id of the feature"}),
        "lat": (
            on,
            np.array([p.y for p in points]),
            {"standard_name": "latitude", "units": "degrees_north", "long_name": "latitude of a point in the field"},
        ),
        "lon": (
            on,
            np.array([p.x for p in points]),
            {"standard_name": "longitude", "units": "degrees_east", "long_name": "longitude of a point in the field"},
        ),
        "area": (
            on,
            np.array([c.geodesic_area_ha * 1e4 for c in covers]),
            {"standard_name": "cell_area", "units": "m2", "long_name": "area of the field on the ellipsoid"},
        ),
        "coverage": (
            on,
            np.array([c.covered_fraction for c in covers]),
            {"units": "1", "long_name": "share of the field over cells with inputs"},
        ),
    }


def _time(name: str, first: NDArray[np.datetime64], following: NDArray[np.datetime64]) -> dict[str, Any]:
    begin, end = ((days.astype("M8[D]") - _EPOCH).astype(np.int32) for days in (first, following))
    about = {
        "standard_name": "time",
        "long_name": "first day of the step",
        "units": "days since 1970-01-01",
        "calendar": "standard",
        "bounds": f"{name}_bnds",
    } | ({"axis": "T"} if name == "time" else {})
    return {name: ((name,), begin, about), f"{name}_bnds": ((name, "nv"), np.stack([begin, end], axis=1))}


def _variables(name: str, all_values: Sequence[Values], on: str) -> dict[str, Any]:
    v, one = VARIABLES[name], all_values[0]
    how = {"sum": "sum", "mean": "mean", "last": "point"}[v.over_time]
    methods = f"area: mean {on}: {'mean' if one.unit.endswith('d-1') else how}"
    about: dict[str, Any] = {
        "long_name": v.long_name,
        "units": _udunits(one.unit),
        "cell_methods": methods,
        "coordinates": "lat lon station_id",
        "fieldflux_unit": one.unit,
    }
    if v.sign:
        about["comment"] = f"Sign: {v.sign}."
    if v.standard_name and one.unit == v.unit:
        about["standard_name"] = v.standard_name
    beside = [f"{name}_valid_fraction"]
    found: dict[str, Any] = {}
    extra: Mapping[str, list[NDArray[np.float64] | None]] = {
        f"{name}_low": [x.low for x in all_values],
        f"{name}_high": [x.high for x in all_values],
        **{f"{name}_{s}": [x.statistics.get(s) for x in all_values] for s in one.statistics},
    }
    for column, each in extra.items():
        if any(values is not None for values in each):
            what = column.removeprefix(f"{name}_")
            said = {"low": "lower end of the interval", "high": "upper end of the interval"}.get(
                what, f"{what} over the cells, by area"
            )
            found[column] = (
                ("station", on),
                np.stack([np.full(one.value.size, np.nan) if values is None else values for values in each]),
                {
                    "long_name": f"{v.long_name}, {said}",
                    "units": _udunits(one.unit),
                    "coordinates": "lat lon station_id",
                },
            )
            beside.append(column)
    found[f"{name}_valid_fraction"] = (
        ("station", on),
        np.stack([x.valid_fraction for x in all_values]),
        {
            "long_name": f"share of the covered area with {v.long_name}",
            "units": "1",
            "coordinates": "lat lon station_id",
        },
    )
    about["ancillary_variables"] = " ".join(beside)
    return {name: (("station", on), np.stack([x.value for x in all_values]), about), **found}


def _udunits(unit: str) -> str:
    """The unit as UDUNITS reads it: it knows mass, not what it is the mass of."""
    plain = unit.replace("CO2e", "").replace("CO2", "")
    for prefix in ("g", "kg", "t"):
        plain = plain.replace(f"{prefix}C ", f"{prefix} ") if plain.startswith(f"{prefix}C ") else plain
    plain = plain.replace("bu ac-1", "1")
    return plain.replace("yr-1", "year-1").replace("d-1", "day-1")


def _attributes(asked: Collection, features: Sequence[Feature], one: Series) -> dict[str, Any]:
    card, cube = asked.place.card, asked.place.cube
    about = about_of(asked, features, table_of(asked, features))
    return {
        "Conventions": "CF-1.11",
        "featureType": "timeSeries",
        "title": f"{card.title}: {cube.title}",
        "source": f"Fieldflux, model {card.id} (weights sha256 {card.weights_sha256}), cube {cube.id} ({cube.hash})",
        "history": f"Made from snapshot {one.snapshot or 'none'} of the store",
        "comment": cube.statement,
        "license": cube.licence,
        "fieldflux": orjson.dumps(about, option=orjson.OPT_SERIALIZE_NUMPY).decode(),
    }
