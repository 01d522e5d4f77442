"""Many clients at once, tiles and series mixed: errors and times. Not a test: it says what it found.

    python -m tests.benchmarks.load FOLDER [--clients 200] [--seconds 120]

Starts its own server over the cube and store of `served.make_home`. Each client sends one request after the other over
its own connection: three tiles of random days and places, then a field's year. Ends with 1 if any answer was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from fieldflux.tiles.mercator import tile_at

from .served import YEAR, make_home
from .side_by_side import centre, places, running


@dataclass
class Found:
    """What was seen: milliseconds by kind of request, and what went wrong, how often."""

    times: dict[str, list[float]] = field(default_factory=lambda: {"tile": [], "series": []})
    wrong: Counter[str] = field(default_factory=Counter)


async def one_client(
    url: str, number: int, until: float, lonlat: tuple[float, float], fields: Any, found: Found
) -> None:
    chosen = random.Random(number)
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        turn = 0
        while time.monotonic() < until:
            turn += 1
            kind = "series" if turn % 4 == 0 else "tile"
            begun = time.perf_counter()
            try:
                if kind == "series":
                    ask = {"geometry": chosen.choice(fields), "years": [YEAR], "variables": ["nee"]}
                    answer = await client.post("/v1/series", json=ask)
                    good = answer.status_code == 200 and len(answer.json()["values"]["nee"]) == 366
                else:
                    day = date.fromordinal(date(YEAR, 1, 1).toordinal() + chosen.randrange(366))
                    lon, lat = (v + chosen.uniform(-0.3, 0.3) for v in lonlat)
                    at = tile_at(lon, lat, chosen.randint(8, 12))
                    answer = await client.get(f"/v1/tiles/nee/{day}/{at.z}/{at.x}/{at.y}.png")
                    good = answer.status_code == 200 and answer.content.startswith(b"\x89PNG")
                if not good:
                    found.wrong[f"{kind}: {answer.status_code} {answer.text[:120]}"] += 1
            except httpx.HTTPError as error:
                found.wrong[f"{kind}: {type(error).__name__}"] += 1
            found.times[kind].append(1e3 * (time.perf_counter() - begun))


async def load(url: str, clients: int, seconds: float, lonlat: tuple[float, float], fields: Sequence[Any]) -> Found:
    found = Found()
    until = time.monotonic() + seconds
    await asyncio.gather(*(one_client(url, i, until, lonlat, fields, found) for i in range(clients)))
    return found


def main() -> int:
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    given.add_argument("folder", type=Path)
    given.add_argument("--clients", type=int, default=200)
    given.add_argument("--seconds", type=float, default=120.0)
    given.add_argument("--port", type=int, default=8651)
    asked = given.parse_args()
    store = make_home(asked.folder)
    fields = places(store, 500)
    command = [sys.executable, "-m", "tests.benchmarks.served", str(asked.folder)]
    with running(command, asked.port, "/livez") as server:
        begun, cpu = time.monotonic(), server.cpu()
        url = f"http://127.0.0.1:{server.port}"
        found = asyncio.run(load(url, asked.clients, asked.seconds, centre(store), fields))
        took, cpu = time.monotonic() - begun, server.cpu() - cpu
        count = sum(map(len, found.times.values()))
        print(f"{asked.clients} clients, {took:.0f} s: {count:,} requests, {count / took:.0f} a second")
        print(f"server: {1e3 * cpu / count:.2f} ms of processor time per request, {server.megabytes():.0f} MB")
        for kind, times in found.times.items():
            p50, p99 = np.percentile(times, [50, 99])
            print(f"{kind}: {len(times):,}, p50 {p50:.0f} ms, p99 {p99:.0f} ms, longest {max(times):.0f} ms")
        print(f"errors: {sum(found.wrong.values())}", *(f"\n  {n} x {what}" for what, n in found.wrong.most_common(10)))
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
