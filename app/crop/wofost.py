"""A truth of another structure: WOFOST 7.2, limited by water, run by pcse for the same draws as LINTUL5.

WOFOST grows by photosynthesis and respiration, ages leaves in classes and has a water balance of its own; LINTUL5
grows by light use. So a model that contains LINTUL5 is wrong here in its equations, not in its parameters only.
Parameters are those of CGMS's grain maize and winter wheat, read from the demonstration data base that pcse brings
along (extra `peers`). About three seasons a CPU-second: each draw is kept in a file, with the checksum of what
went in and of what came out.
"""

from __future__ import annotations

import datetime
import hashlib
import io
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from fieldflux.models.processes.lintul5 import parameters as p_
from fieldflux.models.processes.lintul5.crops import crop_named

from .places import CHANNELS, HIDDEN, WINDOW, Draw

VARIETY = {"maize": (2, 2614), "winter_wheat": (1, 2496)}
"""Numbers of crop and variety in the data base."""
STAND = ("WLV", "WST", "WSO")  # kg ha-1, what lives
Told = Callable[[float], None]


class NoWofost(RuntimeError):
    """pcse is missing, or has no such crop."""


def wofost_biomass(crop: str, drawn: Draw, kept: Path, told: Told) -> tuple[np.ndarray, np.ndarray]:
    """(living biomass above the ground, g m-2; stage, 0 to 2), each [C, days], float32.

    kept: the file that the draw is read from or written to. Raises NoWofost.
    """
    version, given = wofost_parameters(crop)
    key = _key(crop, drawn, version, given)
    if kept.exists():
        with np.load(kept) as file:
            found = file["biomass"], file["stage"]
            if str(file["inputs"]) == key and str(file["outputs"]) == _checksum(*found):
                return found
    count, days = drawn.weather["t_min"].shape
    biomass, stage = np.zeros((count, days), np.float32), np.zeros((count, days), np.float32)
    part = kept.with_suffix(".part.npz")
    begin = 0
    if part.exists():
        with np.load(part) as file:
            if str(file["inputs"]) == key and str(file["outputs"]) == _checksum(file["biomass"], file["stage"]):
                begin = int(file["done"])
                biomass, stage = file["biomass"].copy(), file["stage"].copy()
    kept.parent.mkdir(parents=True, exist_ok=True)
    for cell in range(begin, count):
        biomass[cell], stage[cell] = _season(crop, drawn, cell, given)
        told((cell + 1) / count)
        if (cell + 1) % 25 == 0 and cell + 1 < count:
            _save(part, biomass, stage, key, cell + 1)
    _save(kept, biomass, stage, key, count)
    part.unlink(missing_ok=True)
    return biomass, stage


def _save(path: Path, biomass: np.ndarray, stage: np.ndarray, key: str, done: int) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, biomass=biomass, stage=stage, inputs=key, outputs=_checksum(biomass, stage), done=done
    )  # fmt: skip
    new = path.with_name(path.name + ".new")
    new.write_bytes(buffer.getvalue())
    new.replace(path)


def _checksum(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _key(crop: str, drawn: Draw, version: str, given: dict[str, Any]) -> str:
    """The same for the same weather, soil, hidden quantities, crop and version of pcse."""
    text = f"{crop} {version} {sorted(given.items())} {drawn.sow}"
    arrays = [drawn.weather[name].numpy() for name in CHANNELS] + [drawn.unit.numpy(), drawn.soil.numpy()]
    return _checksum(np.frombuffer(text.encode(), np.uint8), *arrays)


@contextmanager
def _elsewhere() -> Iterator[None]:
    """pcse writes settings and logs into the home folder when it is imported: a passing one takes them."""
    before = os.environ.get("HOME")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HOME"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["HOME"]
            else:
                os.environ["HOME"] = before


def wofost_parameters(crop: str) -> tuple[str, dict[str, Any]]:
    """pcse's version, and WOFOST's parameters of the crop by name: numbers, and tables as x, y, x, y."""
    try:
        with _elsewhere():
            import pcse  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError as error:
        raise NoWofost("The truth 'wofost' needs pcse: pip install 'fieldflux[peers]'.") from error
    if crop not in VARIETY:
        raise NoWofost(f"There is no WOFOST truth of {crop}. There is one of: {', '.join(VARIETY)}.")
    number, variety = VARIETY[crop]
    script = (Path(pcse.__file__).parent / "tests" / "test_data" / "pcse_dump.sql").read_text()
    base = sqlite3.connect(":memory:")
    try:
        base.executescript(script)
        columns = "parameter_code, parameter_xvalue, parameter_yvalue"
        rows = [
            *base.execute(f"select {columns} from crop_parameter_value where crop_no = ?", (number,)),
            *base.execute(
                f"select {columns} from variety_parameter_value where crop_no = ? and variety_no = ?",
                (number, variety),
            ),
        ]
    finally:
        base.close()
    out: dict[str, Any] = {code: x for code, x, y in rows if y is None}
    tables: dict[str, list[tuple[float, float]]] = {}
    for code, x, y in sorted(row for row in rows if row[2] is not None):
        tables.setdefault(code.rsplit("_", 1)[0], []).append((float(x), float(y)))
    for name, knots in tables.items():  # what follows the last knot is zeros
        end = next((i for i, (a, b) in enumerate(pairwise(knots), 1) if b[0] <= a[0]), len(knots))
        out[name] = [value for knot in knots[:end] for value in knot]
    for code, table, last in (("EFF", "EFFTB", 40.0), ("KDIF", "KDIFTB", 2.0), ("SSA", "SSATB", 2.0)):
        if code in out:
            value = float(out.pop(code))
            out[table] = [0.0, value, last, value]
    return pcse.__version__, {**out, "DVSI": 0.0, "CRPRE": 0, "VERNRTB": [], "CO2": 370.0}


def _moved(crop: str, given: dict[str, Any], unit: np.ndarray) -> dict[str, Any]:
    """The parameters with what is hidden of one season: as factors, of LINTUL5's ranges."""
    own = crop_named(crop)
    relative = {
        "rue_factor": 1.0, "sla_factor": 1.0, "tsum1": own.tsum1, "tsum2": own.tsum2, "rdmcr": own.deepest,
    }  # fmt: skip
    low, high = (side.numpy() for side in p_.ranges(own))
    factor = {}
    for k, name in enumerate(HIDDEN):
        row = p_.NAMES.index(name)
        factor[name] = float(low[row] + unit[k] * (high[row] - low[row])) / relative[name]

    def scaled(table: list[float], by: float) -> list[float]:
        return [value * by if i % 2 else value for i, value in enumerate(table)]

    return {
        **given,
        "AMAXTB": scaled(given["AMAXTB"], factor["rue_factor"]),
        "EFFTB": scaled(given["EFFTB"], factor["rue_factor"]),
        "SLATB": scaled(given["SLATB"], factor["sla_factor"]), "TSUM1": given["TSUM1"] * factor["tsum1"],
        "TSUM2": given["TSUM2"] * factor["tsum2"], "RDMCR": given["RDMCR"] * factor["rdmcr"],
    }  # fmt: skip


def season_inputs(crop: str, drawn: Draw, cell: int, given: dict[str, Any]) -> tuple[Any, Any, list[Any]]:
    """(parameters, weather, calendar) of one season, as pcse's engine takes them. given: of `wofost_parameters`."""
    from pcse.base import (  # type: ignore[import-untyped,import-not-found,unused-ignore]
        ParameterProvider,
        WeatherDataContainer,
        WeatherDataProvider,
    )
    from pcse.util import reference_ET  # type: ignore[import-untyped,import-not-found,unused-ignore]

    first = datetime.date(2001, 1, 1) + datetime.timedelta(days=WINDOW[crop][0])
    days = drawn.weather["t_min"].shape[1]
    values = {name: drawn.weather[name][cell].tolist() for name in CHANNELS}
    latitude = float(drawn.latitude[cell])
    weather = WeatherDataProvider()
    weather.elevation = 0.0
    for d in range(days + 1):
        at, date = min(d, days - 1), first + datetime.timedelta(days=d)
        named = {
            "TMIN": values["t_min"][at], "TMAX": values["t_max"][at], "IRRAD": 1e6 * values["radiation"][at],
            "VAP": 10.0 * values["vapour"][at], "WIND": values["wind"][at],
        }  # fmt: skip
        open_water, bare, canopy = reference_ET(
            date, latitude, 0.0, *(named[k] for k in ("TMIN", "TMAX", "IRRAD", "VAP", "WIND")), 0.20, 0.56, "P"
        )
        record = WeatherDataContainer(
            LAT=latitude, LON=0.0, ELEV=0.0, DAY=date, RAIN=0.1 * values["rain"][at], E0=0.1 * open_water,
            ES0=0.1 * bare, ET0=0.1 * canopy, **named,
        )  # fmt: skip
        weather._store_WeatherDataContainer(record, date)
    wilting, capacity, depth = drawn.soil[cell].tolist()
    soil = {"SMW": wilting, "SMFCF": capacity, "SM0": capacity + 0.12, "CRAIRC": 0.07, "SOPE": 10.0, "KSUB": 1.0,
            "RDMSOL": 100.0 * depth}  # fmt: skip
    site = {"IFUNRN": 0, "NOTINF": 0.0, "SSI": 0.0, "SSMAX": 0.0, "SMLIM": capacity,
            "WAV": 100.0 * depth * (capacity - wilting)}  # fmt: skip
    calendar = {
        "crop_name": crop, "variety_name": crop, "crop_start_type": "sowing", "crop_end_type": "maturity",
        "crop_start_date": first + datetime.timedelta(days=drawn.sow), "crop_end_date": None,
        "max_duration": days - drawn.sow,
    }  # fmt: skip
    agro = [
        {first: {"CropCalendar": calendar, "TimedEvents": None, "StateEvents": None}},
        {first + datetime.timedelta(days=days): None},
    ]
    moved = _moved(crop, given, drawn.unit[cell].numpy())
    return ParameterProvider(cropdata=moved, soildata=soil, sitedata=site), weather, agro


def _season(crop: str, drawn: Draw, cell: int, given: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """([days] biomass, [days] stage) of one season. After maturity the crop stands as it is."""
    from pcse.models import Wofost72_WLP_CWB  # type: ignore[import-untyped,import-not-found,unused-ignore]

    parameters, weather, agro = season_inputs(crop, drawn, cell, given)
    first = datetime.date(2001, 1, 1) + datetime.timedelta(days=WINDOW[crop][0])
    days = drawn.weather["t_min"].shape[1]
    model = Wofost72_WLP_CWB(parameters, weather, agro, output_vars=("DVS", *STAND))
    biomass, stage = np.zeros(days, np.float32), np.zeros(days, np.float32)
    model.run(days=drawn.sow + 60)
    while not model.flag_terminate and (model.get_variable("DVS") or 0.0) < 2.0:
        model.run(days=10)
    mature = False
    for row in model.get_output():
        d = (row["day"] - first).days - 1  # a row is the state in the morning: what the day before has left
        if row["WSO"] is not None and 0 <= d < days and not mature:
            biomass[d:] = 0.1 * sum(row[name] for name in STAND)
            stage[d:] = max(row["DVS"], 0.0)
            mature = row["DVS"] >= 2.0
    return biomass, stage
