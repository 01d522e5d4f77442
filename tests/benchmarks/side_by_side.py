"""Side by side with TiTiler on one machine, one server process each, over HTTP: tiles, fields, counties.

    python -m tests.benchmarks.side_by_side FOLDER [--peers VENV] [--rounds 40]

The same numbers are served by us from the store, by titiler.core from a COG of one day, by titiler.xarray from a Zarr
copy of the year. VENV is made with the packages in `PEERS` where it is not there; it is no part of the project.
Columns: median and 99th percentile of the client's clock, and processor time of the server per request: the number to
look at where the machine does other work. The client is the standard library's, one connection, one request at a time.
"Nothing" is a request that a server answers without work: what HTTP itself costs there. "New" asks for another day or
polygon each time, "again" for what our server may have kept; the peers keep nothing.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import shapely
from fieldflux.tiles.mercator import tile_at
from fieldflux.tiles.store import Store

from .served import YEAR, make_home
from .synthetic import WINDOW

DAY = date(YEAR, 7, 15)
DAYS = 366
PEERS = ("titiler.core", "titiler.xarray", "zarr>=3", "fsspec", "uvicorn[standard]")


@dataclass(frozen=True)
class Server:
    """A server process and its address."""

    pid: int
    port: int

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def megabytes(self) -> float:
        """Memory that it holds now, millions of bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024 / 1e6


@dataclass(frozen=True)
class Answer:
    status: int
    content: bytes


class Client:
    """One connection, kept open."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=300)

    def get(self, path: str, **parameters: str) -> Answer:
        return self._ask("GET", f"{path}?{urlencode(parameters)}" if parameters else path)

    def post(self, path: str, body: Any, **parameters: str) -> Answer:
        path = f"{path}?{urlencode(parameters)}" if parameters else path
        return self._ask("POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        self._connection.request(method, path, body, {"Accept-Encoding": "gzip", **(headers or {})})
        found = self._connection.getresponse()
        return Answer(found.status, found.read())


@contextmanager
def running(command: Sequence[str], port: int, ready: str) -> Iterator[Server]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*command, str(port)], env=environment)
    try:
        until = time.monotonic() + 180
        while True:
            try:
                Client(port).get(ready)
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"{command} does not answer at port {port}") from None
                time.sleep(0.2)
        yield Server(process.pid, port)
    finally:
        process.terminate()
        process.wait(30)


Ask = Callable[[Client, int], Answer]

WARM = 3
"""Requests before those that are measured."""


def measured(what: str, server: Server, ask: Ask, rounds: int, note: str = "") -> float:
    """Print a row; server's seconds of processor time per request. ask: sends request number i."""
    client, wall = Client(server.port), []
    for i in range(WARM):
        found = ask(client, i)
        assert found.status == 200, (what, found.status, found.content[:500])
    before = server.cpu()
    for i in range(WARM, WARM + rounds):
        begun = time.perf_counter()
        assert ask(client, i).status == 200
        wall.append(1e3 * (time.perf_counter() - begun))
    cpu = (server.cpu() - before) / rounds
    p50, p99 = np.percentile(wall, [50, 99])
    print(f"| {what} | {p50:.1f} | {p99:.1f} | {1e3 * cpu:.2f} | {1 / max(cpu, 1e-9):.0f} | {note} |", flush=True)
    return cpu


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    given.add_argument("folder", type=Path)
    given.add_argument("--peers", type=Path)
    given.add_argument("--rounds", type=int, default=40)
    given.add_argument("--requests", type=int, default=10_000, help="after which memory is looked at")
    given.add_argument("--port", type=int, default=8641)
    asked = given.parse_args()
    store = make_home(asked.folder)
    python = peers_python(asked.peers or asked.folder / "peers")
    cog, zarr = as_cog(store, asked.folder / "day.tif"), as_zarr(store, asked.folder / "year.zarr")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {store.window.shape} cells, {DAYS} days\n")
    print("| what | p50 ms | p99 ms | server cpu ms | per cpu second | |\n|---|---|---|---|---|---|")
    ours = [sys.executable, "-m", "tests.benchmarks.served", str(asked.folder)]
    theirs = [str(python), str(Path(__file__).with_name("peers.py"))]
    with running(ours, asked.port, "/livez") as us, running(theirs, asked.port + 1, "/docs") as them:
        nothing(us, them, asked.rounds)
        tiles(store, us, them, cog, zarr, asked.rounds)
        series(store, us, them, cog, zarr, asked.rounds)
        memory(store, us, asked.requests)


def peers_python(folder: Path) -> Path:
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PEERS], check=True)
    return python


# The same numbers, as the peers read them


def as_cog(store: Store, path: Path) -> Path:
    import rasterio
    from rasterio.shutil import copy

    if not path.exists():
        plain = path.with_suffix(".plain.tif")
        values = store.read_packed("nee", store.window, DAY, DAY)[0].astype(np.float32) * 0.002
        profile: dict[str, Any] = {"driver": "GTiff", "dtype": "float32", "count": 1, "crs": store.grid.crs}
        profile |= {"height": values.shape[0], "width": values.shape[1], "tiled": True}
        with rasterio.open(plain, "w", transform=rasterio.Affine(*store.grid.affine(store.window)), **profile) as file:
            file.write(values, 1)
        copy(plain, path, driver="COG", compress="ZSTD", predictor="YES", overview_resampling="AVERAGE")
        plain.unlink()
    return path


def as_zarr(store: Store, path: Path) -> Path:
    """One variable [time, y, x], chunks of 73 x 64 x 64: between the layouts for maps and for series."""
    import rioxarray  # noqa: F401
    import xarray as xr

    if not path.exists():
        rows, cols = store.window.shape
        size, _, west, _, step, north = store.grid.affine(store.window)
        values = store.read_packed("nee", store.window, date(YEAR, 1, 1), date(YEAR, 12, 31)).astype(np.float32) * 0.002
        coords = {
            "time": np.arange(f"{YEAR}-01-01", f"{YEAR + 1}-01-01", dtype="M8[D]").astype("M8[ns]"),
            "y": north + step * (np.arange(rows) + 0.5),
            "x": west + size * (np.arange(cols) + 0.5),
        }
        data = xr.DataArray(values, coords, ("time", "y", "x"), name="nee").rio.write_crs(store.grid.crs)
        # titiler.xarray opens with xarray's defaults, which read a grid mapping only where it is named as a coordinate
        data.encoding.pop("grid_mapping", None)
        data.to_dataset().to_zarr(path, zarr_format=3, encoding={"nee": {"chunks": (73, 64, 64)}}, consolidated=True)
    return path


# What is asked


def centre(store: Store) -> tuple[float, float]:
    x, y = store.grid.centres((WINDOW.row0 + WINDOW.row1) // 2, (WINDOW.col0 + WINDOW.col1) // 2)
    lon, lat = store.grid.to_lonlat(x, y)
    return float(lon), float(lat)


def rectangle(store: Store, cells: float, row: float = 256.0, col: float = 256.0) -> dict[str, Any]:
    """`cells` on a side, around a place in the window, not along the grid; GeoJSON."""
    x, y = store.grid.centres(WINDOW.row0 + row, WINDOW.col0 + col)
    half = cells * store.grid.size / 2
    lon, lat = store.grid.to_lonlat([x - half, x + half], [y - half, y + half])
    found: dict[str, Any] = shapely.geometry.mapping(shapely.box(lon[0], lat[0], lon[1], lat[1]))
    return found


def places(store: Store, count: int, cells: float = 3.2) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [rectangle(store, cells, *rng.uniform(20, 490, 2)) for _ in range(count)]


def nothing(us: Server, them: Server, rounds: int) -> None:
    measured("nothing: fieldflux", us, lambda c, _: c.get("/livez"), rounds)
    measured("nothing: titiler", them, lambda c, _: c.get("/docs"), rounds)


def tiles(store: Store, us: Server, them: Server, cog: Path, zarr: Path, rounds: int) -> None:
    lon, lat = centre(store)
    new, again = "target: p50 <= 10 ms", "target: p50 <= 3 ms, >= 300 per cpu second"
    look = {"rescale": "-8,8", "colormap_name": "rdbu"}
    for z in (8, 9, 10, 11, 12):
        at = tile_at(lon, lat, z)
        around = [(at.x + i % 2, at.y + i // 2 % 2) if z > 9 else (at.x, at.y) for i in range(4)]

        def ours(new: bool, client: Client, i: int, z: int = z, around: Any = around) -> Answer:
            x, y = around[i % 4]
            day = DAY - timedelta(days=i) if new else DAY
            return client.get(f"/v1/tiles/nee/{day}/{z}/{x}/{y}.png")

        def theirs(kind: str, client: Client, i: int, z: int = z, around: Any = around) -> Answer:
            x, y = around[i % 4]
            # A COG holds one day; of Zarr, another day each time.
            sel = f"time={DAY - timedelta(days=i)}"
            where = {"url": str(cog)} if kind == "cog" else {"url": str(zarr), "variable": "nee", "sel": sel}
            return client.get(f"/{kind}/tiles/WebMercatorQuad/{z}/{x}/{y}.png", **where, **look)

        measured(f"tile z{z}, new: fieldflux", us, lambda c, i, t=ours: t(True, c, i), rounds, new)  # type: ignore[misc]
        measured(f"tile z{z}, again: fieldflux", us, lambda c, i, t=ours: t(False, c, i), rounds, again)  # type: ignore[misc]
        measured(f"tile z{z}: titiler.core, COG", them, lambda c, i, t=theirs: t("cog", c, i), rounds)  # type: ignore[misc]
        measured(f"tile z{z}: titiler.xarray, Zarr", them, lambda c, i, t=theirs: t("zarr", c, i), rounds)  # type: ignore[misc]


def series(store: Store, us: Server, them: Server, cog: Path, zarr: Path, rounds: int) -> None:
    fields, counties = places(store, 1000), [rectangle(store, 190.0, 240 + 4 * i, 250 + 3 * i) for i in range(8)]
    year = {"years": [YEAR], "variables": ["nee"], "intervals": False}
    for what, shapes, n, target in (
        ("field-year", fields, 5 * rounds, "target: p50 <= 3 ms, >= 400 per second"),
        ("county-year", counties, len(counties) - WARM, "target: <= 60 ms"),
    ):

        def ours(client: Client, i: int, shapes: Any = shapes) -> Answer:
            return client.post("/v1/series", {"geometry": shapes[i % len(shapes)], **year})

        def theirs(kind: str, client: Client, i: int, shapes: Any = shapes) -> Answer:
            where = {"url": str(cog)} if kind == "cog" else {"url": str(zarr), "variable": "nee"}
            body = {"type": "Feature", "properties": {}, "geometry": shapes[i % len(shapes)]}
            return client.post(f"/{kind}/statistics", body, **where)

        measured(f"{what}, {DAYS} days, new: fieldflux", us, ours, n, target)
        measured(f"{what}, {DAYS} days, again: fieldflux", us, ours, n, target)
        few = max(2, min(n, rounds) // 10)
        measured(f"{what}, {DAYS} days: titiler.xarray", them, lambda c, i, t=theirs: t("zarr", c, i), few)  # type: ignore[misc]
        note = f"a year of COGs is {DAYS} such requests"
        measured(f"{what}, ONE day: titiler.core, COG", them, lambda c, i, t=theirs: t("cog", c, i), few, note)  # type: ignore[misc]
    ensembles(us, fields, rounds)
    in_one_process(fields, zarr)


def ensembles(us: Server, fields: list[dict[str, Any]], rounds: int) -> None:
    """Three variables with intervals of an ensemble of five: what no peer answers."""
    asked = {"years": [YEAR], "variables": ["gpp", "reco", "nee"]}
    target = "target: p50 <= 3 ms, >= 400 per second"
    many = 5 * rounds

    def one(client: Client, i: int) -> Answer:
        # From the end: not those asked for above.
        return client.post("/v1/series", {"geometry": fields[-1 - i], **asked})

    measured("field-year, 3 variables, intervals of 5 members, new", us, one, many, target)
    measured("the same, again", us, one, many, target)
    for what, more in (("1 variable", {"variables": ["nee"], "intervals": False}), ("3 variables, intervals", {})):

        def thousand(client: Client, shift: int, more: Any = more) -> Answer:
            # Each time a metre or so further: polygons that were never seen.
            features = [{"type": "Feature", "properties": {}, "geometry": _moved(f, 1e-5 * shift)} for f in fields]
            for k in range(0, 1000, 100):
                found = client.post("/v1/series", {"features": features[k : k + 100], **asked, **more})
            assert gzip.decompress(found.content).count(b'"status":"OK"') >= 100
            return found

        measured(f"1,000 field-years, {what}, 10 requests, new", us, thousand, 3, "target: <= 2.5 s")
        measured("the same, again", us, thousand, 3, "target: <= 2.5 s")


def _moved(shape: dict[str, Any], east: float) -> dict[str, Any]:
    return {**shape, "coordinates": [[[x + east, y] for x, y in ring] for ring in shape["coordinates"]]}


def in_one_process(fields: list[dict[str, Any]], zarr: Path) -> None:
    """What a scientist would write, without a server: the whole year in memory, exactextract over its 366 bands."""
    import geopandas
    import xarray as xr
    from exactextract import exact_extract

    begun = time.process_time()
    data = xr.open_zarr(zarr)["nee"].load()
    frame = geopandas.GeoDataFrame(geometry=[shapely.geometry.shape(f) for f in fields], crs=4326)
    frame = frame.to_crs(data.rio.crs)
    found = exact_extract(data.rio.write_crs(data.rio.crs), frame.head(5), ["mean"], output="pandas")
    assert found.shape == (5, DAYS)
    spent = time.process_time() - begun
    print(f"| 5 field-years: xarray + exactextract, no server | | | {1e3 * spent:.0f} | | all 5, with reading |")


def memory(store: Store, us: Server, requests: int) -> None:
    lon, lat = centre(store)
    fields = places(store, 200)
    rng = np.random.default_rng(1)
    client, begun = Client(us.port), us.megabytes()
    for i in range(requests):
        if i % 4 == 0:
            found = client.post("/v1/series", {"geometry": fields[i % 200], "years": [YEAR], "variables": ["nee"]})
        else:
            z = int(rng.integers(8, 13))
            at = tile_at(lon + rng.uniform(-0.3, 0.3), lat + rng.uniform(-0.3, 0.3), z)
            day = date.fromordinal(date(YEAR, 1, 1).toordinal() + int(rng.integers(0, 366)))
            found = client.get(f"/v1/tiles/nee/{day}/{z}/{at.x}/{at.y}.png")
        assert found.status == 200, found.content
    print(f"\nmemory: {begun:.0f} MB, after {requests:,} requests {us.megabytes():.0f} MB (target: <= 400 MB)")


if __name__ == "__main__":
    main()
