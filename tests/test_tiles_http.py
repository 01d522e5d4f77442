"""Tiles over HTTP: formats, times, styles, addresses that name the content, pictures that must not change."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import rasterio
from fieldflux.app.workspace import Workspace
from fieldflux.tiles.grid import Window
from fieldflux.tiles.mercator import tile_at
from fieldflux.tiles.run import run
from fieldflux.tiles.store import Store
from PIL import Image

from .serving import serving, settings_of, toy_home, toy_registry

Z = 11


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def workspace(home: Path) -> Workspace:
    return Workspace(settings_of(home), toy_registry(home / "checkpoints"))


@pytest.fixture(scope="module")
def store(workspace: Workspace) -> Store:
    found = workspace.store(workspace.place())
    assert found is not None
    return found


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[httpx.Client]:
    with serving(settings_of(home), toy_registry(home / "checkpoints")) as found:
        yield found


@pytest.fixture(scope="module")
def address(store: Store) -> str:
    lon, lat = (float(v) for v in store.grid.to_lonlat(*store.grid.centres(98, 125)))
    at = tile_at(lon, lat, Z)
    return f"{Z}/{at.x}/{at.y}"


def fetch(client: httpx.Client, path: str, **query: object) -> httpx.Response:
    reply = client.get(path, params={k: str(v) for k, v in query.items()})
    assert reply.status_code == 200, reply.text
    return reply


def numbers(reply: httpx.Response) -> np.ndarray:
    return np.asarray(np.load(io.BytesIO(reply.content)))


def pixels(reply: httpx.Response) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(reply.content)).convert("RGBA"))


# Formats


def test_numpy_geotiff_and_picture_show_the_same(client: httpx.Client, address: str) -> None:
    raw = numbers(fetch(client, f"/v1/tiles/nee/2020-07-15/{address}.npy"))
    assert (raw.shape, raw.dtype) == ((256, 256), np.float32)
    reply = fetch(client, f"/v1/tiles/nee/2020-07-15/{address}.tif")
    assert reply.headers["content-type"] == "image/tiff; application=geotiff"
    with rasterio.open(io.BytesIO(reply.content)) as file:
        np.testing.assert_array_equal(file.read(1), raw)
        assert file.crs.to_epsg() == 3857
        assert np.isnan(file.nodata)
        assert file.units == ("gC m-2 d-1",)
        assert file.tags()["model"] == "toy/1"
        assert file.tags()["snapshot"] == reply.headers["X-Fieldflux-Snapshot"]
        assert "Made in code" in file.tags()["statement"]
        z, x, y = (int(part) for part in address.split("/"))
        side = 2 * 20037508.342789244 / 2**z
        assert file.bounds.left == pytest.approx(x * side - 20037508.342789244)
        assert file.bounds.top == pytest.approx(20037508.342789244 - y * side)
        assert file.res == pytest.approx((side / 256, side / 256))
    drawn = pixels(fetch(client, f"/v1/tiles/nee/2020-07-15/{address}.png"))
    np.testing.assert_array_equal(drawn[..., 3] > 0, ~np.isnan(raw))


def test_values_are_those_of_the_cells_under_the_pixels(client: httpx.Client, address: str, store: Store) -> None:
    raw = numbers(fetch(client, f"/v1/tiles/gpp/2020-07-15/{address}.npy"))
    z, x, y = (int(part) for part in address.split("/"))
    j, i = np.meshgrid(np.arange(256), np.arange(256))
    world = 256 << z
    lon = (x * 256 + j + 0.5) / world * 360 - 180
    lat = np.degrees(np.arctan(np.sinh(np.pi * (1 - 2 * (y * 256 + i + 0.5) / world))))
    px, py = store.grid.from_lonlat(lon, lat)
    col, row = (px - store.grid.x0) / store.grid.size, (store.grid.y0 - py) / store.grid.size
    w = store.window
    inside = (row >= w.row0) & (row < w.row1) & (col >= w.col0) & (col < w.col1)
    # pixels whose centre is not within a hundredth of a cell of an edge
    clear = inside & (np.abs(row % 1 - 0.5) < 0.49) & (np.abs(col % 1 - 0.5) < 0.49)
    cells = store.read_days("gpp", w, date(2020, 7, 15), date(2020, 7, 15))[0]
    expected = cells[row[clear].astype(int) - w.row0, col[clear].astype(int) - w.col0]
    np.testing.assert_array_equal(raw[clear], expected)
    assert np.isfinite(expected).sum() > 5000


def test_twice_the_pixels(client: httpx.Client, address: str) -> None:
    large = fetch(client, f"/v1/tiles/gpp/2020-07-15/{address}@2x.png")
    assert pixels(large).shape == (512, 512, 4)
    assert large.content == fetch(client, f"/v1/tiles/gpp/2020-07-15/{address}.png", size=512).content
    z, x, y = (int(part) for part in address.split("/"))
    quarter = fetch(client, f"/v1/tiles/gpp/2020-07-15/{z + 1}/{2 * x}/{2 * y}.npy")
    np.testing.assert_array_equal(
        numbers(fetch(client, f"/v1/tiles/gpp/2020-07-15/{address}@2x.npy"))[:256, :256], numbers(quarter)
    )


@pytest.mark.parametrize("row", ["-1", "1@3x", "x", "1@2x@2x", "999999999999"])
def test_rows_that_are_none(client: httpx.Client, row: str) -> None:
    refused = client.get(f"/v1/tiles/gpp/2020-07-15/11/1/{row}.png")
    assert (refused.status_code, refused.json()["type"]) == (404, "/problems/invalid-tile")


@pytest.mark.parametrize("when", ["2020-07-15", "2020"])
def test_neighbours_share_an_edge(client: httpx.Client, address: str, when: str) -> None:
    """Four tiles and the larger one that they make up agree on every pixel: nothing is shifted or lost at an edge."""
    z, x, y = (int(part) for part in address.split("/"))
    whole = numbers(fetch(client, f"/v1/tiles/gpp/{when}/{z}/{x}/{y}@2x.npy"))
    parts = [
        [numbers(fetch(client, f"/v1/tiles/gpp/{when}/{z + 1}/{2 * x + i}/{2 * y + j}.npy")) for i in (0, 1)]
        for j in (0, 1)
    ]
    np.testing.assert_array_equal(whole, np.block(parts))


def test_a_tile_says_what_it_holds(client: httpx.Client, address: str, store: Store) -> None:
    told = fetch(client, f"/v1/tiles/gpp/2020-07/{address}.webp").headers
    assert {k: told[f"X-Fieldflux-{k}"] for k in ("Variable", "Time", "Unit", "Model", "Cube", "Synthetic")} == {
        "Variable": "gpp",
        "Time": "2020-07",
        "Unit": "gC m-2",
        "Model": "toy/1",
        "Cube": "toy",
        "Synthetic": "yes",
    }
    assert told["X-Fieldflux-Snapshot"] == store.snapshot


# Times


def test_a_month_is_the_sum_of_its_days(client: httpx.Client, address: str) -> None:
    month = numbers(fetch(client, f"/v1/tiles/gpp/2020-02/{address}.npy"))
    days = [numbers(fetch(client, f"/v1/tiles/gpp/2020-02-{d:02}/{address}.npy")) for d in range(1, 30)]
    np.testing.assert_allclose(month, np.sum(np.array(days, np.float64), axis=0), rtol=1e-5, atol=1e-4)
    mean = numbers(fetch(client, f"/v1/tiles/soil_moisture/2020-02-01..2020-02-02/{address}.npy"))
    two = [numbers(fetch(client, f"/v1/tiles/soil_moisture/2020-02-0{d}/{address}.npy")) for d in (1, 2)]
    np.testing.assert_allclose(mean, np.mean(two, axis=0), rtol=1e-5)


def test_differences_and_anomalies(client: httpx.Client, address: str) -> None:
    years = {y: numbers(fetch(client, f"/v1/tiles/nee/{y}/{address}.npy")) for y in (2019, 2020, 2021)}
    both = fetch(client, f"/v1/tiles/nee/2020/minus/2019/{address}.npy")
    np.testing.assert_allclose(numbers(both), years[2020] - years[2019], rtol=1e-6)
    assert both.content == fetch(client, f"/v1/tiles/nee/2020/{address}.npy", minus=2019).content
    anomaly = fetch(client, f"/v1/tiles/nee/2020/{address}.npy", anomaly=1)
    assert anomaly.headers["X-Fieldflux-Time"] == "2020/anomaly/2019..2021"
    expected = years[2020] - np.mean(list(years.values()), axis=0)
    np.testing.assert_allclose(numbers(anomaly), expected, rtol=1e-4, atol=1e-3)
    of_two = fetch(client, f"/v1/tiles/nee/2020/{address}.npy", anomaly="2019..2020")
    np.testing.assert_allclose(numbers(of_two), (years[2020] - years[2019]) / 2, rtol=1e-4, atol=1e-3)
    # In the picture, what became more of a source is orange, what became more of a sink is teal.
    drawn = pixels(fetch(client, f"/v1/tiles/nee/2020/minus/2019/{address}.png", range="-50,50")).astype(int)
    change = numbers(both)
    assert (drawn[change > 10][:, 0] > drawn[change > 10][:, 2]).all()
    assert (drawn[change < -10][:, 0] < drawn[change < -10][:, 2]).all()
    assert (change > 10).any() or (change < -10).any()


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("gpp/2020-13", "2020-13"),
        ("gpp/yesterday", "a month (2021-07)"),
        ("gpp/2020-03..2020-01", "exchange"),
        ("gpp/2018", "2019-01-01 to 2021-12-31"),
        ("gpp/2021-12..2022-01", "2019-01-01 to 2021-12-31"),
        ("yield/2020-07", "one value a year"),
        ("gpp/2020/minus/2020-07-15", "gC m-2 d-1"),
    ],
)
def test_times_that_cannot_be_shown(client: httpx.Client, address: str, path: str, says: str) -> None:
    refused = client.get(f"/v1/tiles/{path}/{address}.png")
    assert (refused.status_code, refused.json()["type"]) == (422, "/problems/invalid-dates")
    assert says in refused.json()["detail"]


# Styles


def test_a_style_is_on_the_tile_and_on_its_legend(client: httpx.Client, address: str) -> None:
    asked = {"colormap": "cividis_r", "range": "0,30", "steps": 5}
    legend = fetch(client, "/v1/legend/gpp.json", **asked).json()
    assert (legend["palette"], legend["low"], legend["high"], len(legend["classes"])) == ("cividis_r", 0, 30, 5)
    plain = client.get(f"/v1/tiles/gpp/2020-07-15/{address}.png")
    styled = fetch(client, f"/v1/tiles/gpp/2020-07-15/{address}.png", **asked)
    assert styled.headers["ETag"] != plain.headers["ETag"]
    drawn = pixels(styled)
    raw = numbers(fetch(client, f"/v1/tiles/gpp/2020-07-15/{address}.npy"))
    for c in legend["classes"]:
        inside = (raw > c["low"] + 1e-3) & (raw < c["high"] - 1e-3)
        assert {"#{:02x}{:02x}{:02x}".format(*p) for p in drawn[inside][:, :3]} <= {c["color"]}
    shown = {"#{:02x}{:02x}{:02x}".format(*p) for p in drawn[drawn[..., 3] > 0][:, :3]}
    assert len(shown) > 1
    assert shown <= {c["color"] for c in legend["classes"]}
    svg = fetch(client, "/v1/legend/gpp.svg", **asked).text
    assert all(c["color"] in svg for c in legend["classes"])
    assert Image.open(io.BytesIO(fetch(client, "/v1/legend/gpp.png", **asked).content)).size == (720, 172)


@pytest.mark.parametrize("asked", [{"colormap": "rainbow"}, {"style": "x"}, {"range": "5,1"}, {"steps": "1"}])
def test_a_style_that_is_none_is_refused_with_those_there_are(
    client: httpx.Client, address: str, asked: dict[str, str]
) -> None:
    for path in (f"/v1/tiles/gpp/2020/{address}.png", "/v1/tiles/gpp/tilejson.json", "/v1/legend/gpp.svg"):
        refused = client.get(path, params=asked)
        assert (refused.status_code, refused.json()["type"]) == (422, "/problems/unknown-style")
        assert {"default", "viridis", "balance_r"} <= set(refused.json()["allowed"])


def test_the_registry_of_styles_is_what_tiles_take(client: httpx.Client, address: str) -> None:
    told = fetch(client, "/v1/styles").json()
    assert told["variables"]["gpp"]["own"]["day"]["range"] == [0, 25]
    for palette in told["palettes"]:
        fetch(client, f"/v1/tiles/gpp/2020/{address}.png", style=palette["name"] + told["reversed"])
    own = fetch(client, "/v1/styles/nee").json()["own"]
    legend = fetch(client, "/v1/legend/nee.json", when="2020", minus="2019").json()
    assert own["difference of years"]["range"] == [legend["low"], legend["high"]]
    assert legend["of"] == "sum of 2020 less sum of 2019"
    assert legend["unit"] == "gC m-2"


# Addresses that name the content


def test_tilejson_leads_to_tiles_that_may_be_kept(client: httpx.Client, address: str, store: Store) -> None:
    told = fetch(client, "/v1/tiles/gpp/tilejson.json", when="2020-07", minus="2019-07", scale=2, format="webp").json()
    assert told["edition"] == store.edition
    assert f"/v1/snapshots/{store.edition}/tiles/gpp/2020-07/" in told["tiles"][0]
    assert told["legend"]["of"] == "sum of 2020-07 less sum of 2019-07"
    assert told["valid_range"] == [-60 * 31, 60 * 31]
    assert told["time"]["interval"] == "P1D"
    assert client.get(told["legend_url"]).headers["content-type"] == "image/svg+xml"
    z, x, y = address.split("/")
    kept = client.get(told["tiles"][0].replace("{z}", z).replace("{x}", x).replace("{y}", y))
    assert kept.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert Image.open(io.BytesIO(kept.content)).size == (512, 512)
    assert kept.headers["X-Fieldflux-Time"] == "2020-07/minus/2019-07"


def test_latest_leads_to_the_last_day_and_the_present_content(client: httpx.Client, address: str, store: Store) -> None:
    for path, end in (
        (f"/v1/tiles/gpp/latest/{address}.png", f"/{store.edition}/tiles/gpp/2021-12-31/{address}.png"),
        (f"/v1/tiles/yield/latest/{address}.png", f"/{store.edition}/tiles/yield/2021/{address}.png"),
        (f"/v1/snapshots/latest/tiles/gpp/2020/{address}@2x.tif", f"/{store.edition}/tiles/gpp/2020/{address}@2x.tif"),
    ):
        reply = client.get(path, params={"steps": 4})
        assert reply.status_code == 307
        where = urlsplit(reply.headers["Location"])
        assert where.path.endswith(end)
        assert "steps=4" in where.query
        assert "max-age=60" in reply.headers["Cache-Control"]
        assert "immutable" in client.get(reply.headers["Location"]).headers["Cache-Control"]
    # A tile that is none is refused at once.
    refused = client.get("/v1/tiles/gpp/latest/10/-1/379.png")
    assert (refused.status_code, refused.json()["type"]) == (404, "/problems/invalid-tile")


def test_a_snapshot_that_is_gone_is_told(tmp_path: Path, address: str) -> None:
    home = toy_home(tmp_path, run_years=(2019,))
    registry = toy_registry(home / "checkpoints")
    with serving(settings_of(home), registry) as client:
        url = fetch(client, "/v1/tiles/gpp/tilejson.json", when="2019").json()["tiles"][0]
        z, x, y = address.split("/")
        url = url.replace("{z}", z).replace("{x}", x).replace("{y}", y)
        before = client.get(url)
        assert "immutable" in before.headers["Cache-Control"]
        workspace = Workspace(settings_of(home), registry)
        place = workspace.place()
        store = workspace.store(place)
        assert store is not None
        edition = store.edition
        for block in store.blocks:
            store.forget(block, 2019)
        assert run(registry.toy, place.cube, store).faults == []
        assert store.edition != edition
        fresh = Store(store.path, store.manifest).edition
        # The server looks for what others wrote once a second.
        until = time.monotonic() + 30
        while (gone := client.get(url)).status_code == 200 and time.monotonic() < until:
            time.sleep(0.2)
        assert gone.status_code == 410
        assert gone.json()["type"] == "/problems/gone"
        assert edition in gone.json()["detail"]
        assert gone.json()["edition"] == fresh
        assert client.get(url.replace(edition, fresh)).content == before.content
        assert client.get(url.replace(edition, "nonsense")).status_code == 404


def test_what_was_asked_before_is_answered_before_anything_is_read(client: httpx.Client, address: str) -> None:
    for path in (f"/v1/tiles/gpp/2020-05..2020-08/{address}.png", f"/v1/tiles/gpp/2020/minus/2019/{address}.tif"):
        first = fetch(client, path)
        again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert first.headers["Cache-Control"] == "public, no-cache"
        assert "draw" not in again.headers["Server-Timing"]


# Pictures that must not change by accident

GOLDEN = Path(__file__).parent / "golden"
PICTURES = {
    "day": ("gpp/2020-07-15", {}),
    "year": ("nee/2020", {}),
    "month": ("et/2020-07", {}),
    "difference": ("delta_soc/2020/minus/2019", {}),
    "anomaly": ("gpp/2020", {"anomaly": "1"}),
    "stepped": ("soil_moisture/2020-07-15", {"colormap": "viridis_r", "steps": "6"}),
}


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_pictures_are_as_they_were(client: httpx.Client, address: str, name: str) -> None:
    """Pixel by pixel; rounding at the edge of a colour may move a few of them by one entry of the palette."""
    path, query = PICTURES[name]
    reply = fetch(client, f"/v1/tiles/{path}/{address}.png", **query)
    if os.environ.get("FIELDFLUX_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        (GOLDEN / f"{name}.png").write_bytes(reply.content)
    drawn = pixels(reply).astype(int)
    kept = np.asarray(Image.open(GOLDEN / f"{name}.png").convert("RGBA")).astype(int)
    np.testing.assert_array_equal(drawn[..., 3], kept[..., 3])
    change = np.abs(drawn - kept).max(axis=-1)
    assert (change > 0).mean() < 0.01, f"{name} changed; FIELDFLUX_GOLDEN=1 draws the pictures anew"
    assert len(np.unique(drawn.reshape(-1, 4), axis=0)) > 4


def test_the_whole_window_is_on_a_tile(client: httpx.Client, store: Store) -> None:
    w = store.window
    lon, lat = (
        float(v) for v in store.grid.to_lonlat(*store.grid.centres((w.row0 + w.row1) / 2, (w.col0 + w.col1) / 2))
    )
    at = tile_at(lon, lat, 4)
    raw = numbers(fetch(client, f"/v1/tiles/gpp/2020-07-15/4/{at.x}/{at.y}.npy"))
    assert np.isfinite(raw).any()
    cells = store.read_days("gpp", Window(w.row0, w.row1, w.col0, w.col1), date(2020, 7, 15), date(2020, 7, 15))
    assert np.nanmin(cells) <= np.nanmin(raw) <= np.nanmax(raw) <= np.nanmax(cells)
