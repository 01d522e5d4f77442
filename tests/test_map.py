"""The web map in a real browser, on a real server with a small synthetic cube: what people do, with mouse and keys."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from PIL import Image

from .conftest import ROOT

sync_api = pytest.importorskip("playwright.sync_api", reason="needs the package playwright (extra dev)")

pytestmark = pytest.mark.browser

CHROMIUM = os.environ.get("FIELDFLUX_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
YEARS = (2021, 2022)
DESKTOP = {"width": 1000, "height": 660}
PHONE = {"width": 380, "height": 800}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a running server whose cube is a corner of the demo landscape: 16 x 16 cells, two years."""
    if not (ROOT / "app" / "web" / "dist" / "index.html").exists():
        pytest.skip("the web map is not built: make web")
    home = tmp_path_factory.mktemp("home")
    _small_cube(home / "cubes" / "corner.zarr")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    fieldflux = Path(sys.executable).with_name("fieldflux")
    # the quickest model: these tests are of the map
    command = [str(fieldflux), "serve", "--port", str(port), "--home", str(home), "--model", "agroecosystem"]
    log = (home / "log").open("w+")
    with subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=home) as process:
        url = f"http://127.0.0.1:{port}/"
        try:
            _wait_for(url, process, log)
            yield url
        finally:
            process.terminate()
            process.wait(timeout=20)


def _small_cube(path: Path) -> None:
    from fieldflux.tiles.cubefile import About, CubeWriter
    from fieldflux.tiles.grid import Window
    from fieldflux.tiles.landscape import make_landscape

    land = make_landscape(7, window=Window(4160, 4176, 10080, 10096), years=YEARS)
    path.parent.mkdir(parents=True)
    about = About("corner", "Corner of the demo landscape", "Made in code.", "Apache-2.0", synthetic=True)
    with CubeWriter(path, about, land.grid, land.window, land.years) as cube:
        cube.weather(land.weather, land.weather_lon, land.weather_lat)
        cube.weather_index(land.weather_index)
        for name, values in land.static.items():
            cube.static(name, values)
        for name, values in land.annual.items():
            cube.annual(name, values)
        cube.fields(land.fields)
        cube.finish()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Any) -> None:
    for _ in range(300):
        try:
            if httpx.get(f"{url}livez", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        if process.poll() is not None:
            break
        time.sleep(0.1)
    log.seek(0)
    pytest.fail(f"The server did not start:\n{log.read()[-3000:]}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not CHROMIUM:
        pytest.skip("no chromium: apt-get install chromium, or set FIELDFLUX_CHROMIUM to a Chrome")
    with sync_api.sync_playwright() as p:
        started = p.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield started
        started.close()


@dataclass
class Seen:
    """What a page did: addresses asked for, with their answers; errors on its console."""

    page: Any
    url: str
    statuses: dict[str, int] = field(default_factory=dict)
    hosts: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)

    def watch(self) -> None:
        def told(message: Any) -> None:
            if message.type == "error":
                self.errors.append(message.text)

        def asked(request: Any) -> None:
            parts = urlsplit(request.url)
            if parts.scheme in ("http", "https", "ws", "wss"):
                self.hosts.add(parts.netloc)

        self.page.on("console", told)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", asked)
        self.page.on("response", lambda r: self.statuses.__setitem__(urlsplit(r.url).path, r.status))

    def open(self, hash: str = "") -> Any:
        self.page.goto(f"{self.url}{hash}")
        self.page.wait_for_selector("body[data-ready=yes]", timeout=60_000)
        return self.page

    def tiles(self, variable: str, when: str) -> list[int]:
        return [s for path, s in self.statuses.items() if path.startswith(f"/v1/tiles/{variable}/{when}/")]


@pytest.fixture
def seen(server: str, browser: Any, request: pytest.FixtureRequest) -> Iterator[Seen]:
    """A page that is watched; at the end, it must have asked only its own server, and have logged no error."""
    size = getattr(request, "param", DESKTOP)
    context = browser.new_context(viewport=size, has_touch=size is PHONE, timezone_id="America/Los_Angeles")
    found = Seen(context.new_page(), server)
    found.watch()
    yield found
    context.close()
    assert found.hosts == {urlsplit(server).netloc}
    assert found.errors == []


def share_in_colour(page: Any) -> float:
    """Share of the middle of the map that has a vivid colour: background, borders and names have none."""
    picture = Image.open(io.BytesIO(page.screenshot(clip={"x": 500, "y": 150, "width": 350, "height": 300})))
    pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)
    return float((np.ptp(pixels, axis=1) > 24).mean())


def until(page: Any, check: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "it did not happen in time"
        page.wait_for_timeout(200)


def number(text: str) -> float:
    return float(text.replace("−", "-").replace(",", ""))


def a_field(server: str) -> tuple[str, dict[str, Any], tuple[float, float]]:
    """Id, geometry and a point of the largest field."""
    import shapely

    collection = httpx.get(f"{server}v1/cubes/corner/fields").json()
    shapes = [(f, shapely.geometry.shape(f["geometry"])) for f in collection["features"]]
    found, shape = max(shapes, key=lambda pair: pair[1].area)
    point = shape.representative_point()
    return found["properties"]["id"], found["geometry"], (point.x, point.y)


def at(page: Any, lon: float, lat: float) -> tuple[float, float]:
    """Where a place lies on the screen, by the camera in the permalink."""
    found = re.search(r"at=([-\d.]+),([-\d.]+),([\d.]+)", page.url)
    assert found, page.url
    lat0, lon0, zoom = map(float, found.groups())
    side = 512 * 2**zoom
    size = page.viewport_size

    def y_of(degrees: float) -> float:
        return side * (0.5 - np.arctanh(np.sin(np.radians(degrees))) / (2 * np.pi))

    return size["width"] / 2 + side * (lon - lon0) / 360, size["height"] / 2 + y_of(lat) - y_of(lat0)


def totals(page: Any) -> list[dict[str, str]]:
    """Rows of the yearly table, by head."""
    page.wait_for_selector("#totals", timeout=90_000)
    heads = [h.split("\n")[0] for h in page.locator("#totals thead th").all_inner_texts()]
    rows = page.locator("#totals tbody tr").all()
    return [
        dict(zip(heads, [c.split("\n")[0] for c in r.locator("th,td").all_inner_texts()], strict=True)) for r in rows
    ]


def test_the_map_shows_tiles_and_says_that_they_are_synthetic(seen: Seen) -> None:
    page = seen.open()
    assert page.locator("#synthetic").inner_text() == "SYNTHETIC demo data, not real land"
    assert page.locator("#origin").inner_text() == "Corner of the demo landscape"
    until(page, lambda: share_in_colour(page) > 0.3, 120)
    shown = seen.tiles("nee", "2022-07-10")
    assert shown
    assert set(shown) <= {200, 304}
    legend = page.locator("#legend").inner_text()
    assert "To the atmosphere is positive" in legend
    assert re.sub(r"\s", "", legend).count("gCm−2d−1") == 1


def test_variable_and_day_are_chosen_with_mouse_and_keys(seen: Seen) -> None:
    page = seen.open()
    page.select_option("#variable", "gpp")
    page.fill("#day", "2021-06-30")
    page.keyboard.press("Enter")
    until(page, lambda: seen.tiles("gpp", "2021-06-30"))
    page.focus("#slider")
    page.keyboard.press("ArrowRight")
    assert page.input_value("#day") == "2021-07-01"
    assert page.get_attribute("#slider", "aria-valuetext") == "1 July 2021"
    page.keyboard.press("PageDown")
    assert page.input_value("#day") == "2021-06-01"
    until(page, lambda: seen.tiles("gpp", "2021-06-01"))
    page.select_option("#variable", "delta_soc")
    assert page.is_disabled("input[name=by][value=day]")
    until(page, lambda: seen.tiles("delta_soc", "2021"))
    assert "map=delta_soc&when=2021&" in page.url


def test_a_click_on_a_field_gives_its_chart_and_totals_as_the_api_tells_them(seen: Seen) -> None:
    field_id, geometry, point = a_field(seen.url)
    page = seen.open()
    page.wait_for_timeout(800)
    page.mouse.move(*at(page, *point))
    until(page, lambda: "gC" in page.locator("#tip-value").inner_text(), 90)
    lon, lat = point
    corners = [(lon - 1e-4, lat - 1e-4), (lon + 1e-4, lat - 1e-4), (lon + 1e-4, lat + 1e-4), (lon - 1e-4, lat - 1e-4)]
    there = {"type": "Polygon", "coordinates": [corners]}
    days = {"first": "2022-07-10", "last": "2022-07-10", "variables": ["nee"], "step": "day"}
    of_the_cell = httpx.post(f"{seen.url}v1/series", json={"geometry": there, **days}, timeout=90).json()
    told = number(page.locator("#tip-value b").inner_text())
    assert told == pytest.approx(of_the_cell["values"]["nee"][0], abs=0.06)
    page.mouse.click(*at(page, *point))
    rows = totals(page)
    assert f"field={field_id}" in page.url
    assert [row["Year"] for row in rows] == ["2021", "2022"]
    asked = {"geometry": geometry, "variables": ["gpp", "reco", "nee"], "step": "year"}
    told = httpx.post(f"{seen.url}v1/series", json=asked, timeout=90).json()
    for i, row in enumerate(rows):
        for head, name in (("GPP", "gpp"), ("Reco", "reco"), ("NEE", "nee")):
            assert number(row[head]) == pytest.approx(told["values"][name][i], abs=0.51)
        assert number(row["Harvest"]) > 0
        assert np.isfinite(number(row["ΔSOC"]))
    assert page.locator(".chart canvas").count() == 1
    assert "SYNTHETIC" in page.locator("#result").inner_text()
    page.select_option("#chart-variable", "lai")
    page.select_option("#chart-span", "2022")
    page.wait_for_function("document.querySelector('.keys').textContent.includes('m2')")
    page.focus(".chart")
    page.keyboard.press("ArrowRight")
    assert re.fullmatch(r"2022-01-01: LAI [\d.]+", page.locator("#live").text_content())
    page.keyboard.press("Enter")
    assert page.input_value("#day") == "2022-01-01"
    page.reload()
    # By now the map may hold these cells; its packed days are rounded to 0.002 gC m-2 each.
    for row, again in zip(rows, totals(page), strict=True):
        assert again.pop("Crop") == row.pop("Crop")
        assert [number(v) for v in again.values()] == pytest.approx([number(v) for v in row.values()], abs=1.01)
    assert page.input_value("#chart-variable") == "lai"


def test_a_field_is_drawn(seen: Seen) -> None:
    page = seen.open()
    page.wait_for_timeout(500)
    page.click("#draw")
    for x, y in ((600, 220), (740, 220), (740, 340), (600, 340)):
        page.mouse.click(x, y)
        page.wait_for_timeout(350)
    assert page.locator("#drawbar-hint").inner_text().startswith("4 corners.")
    page.keyboard.press("Enter")
    totals(page)
    assert page.locator("#result h2").inner_text() == "Drawn field"
    area = number(page.locator(".facts dd").first.inner_text().removesuffix(" ha"))
    assert area > 1
    with page.expect_download() as download:
        page.click("text=Daily CSV")
    lines = Path(download.value.path()).read_text().splitlines()
    assert lines[0].startswith("# SYNTHETIC")
    assert lines[1].startswith("time,gpp (gC m-2 d-1)")
    assert len(lines) == 2 + 365 + 365
    page.click("#draw")
    page.keyboard.press("Escape")
    assert page.locator("#drawbar").is_hidden()


def test_bare_land_gives_the_cell_below_it(seen: Seen) -> None:
    _, _, (lon, lat) = a_field(seen.url)
    page = seen.open(f"#cell={lon:.5f}+{lat:.5f}")
    totals(page)
    assert page.locator("#result h2").inner_text() == "One 250 m cell"
    assert page.locator(".facts dd").all_inner_texts() == ["6.25 ha", "1"]
    cell = re.search(r"cell=([-\d.]+)\+([\d.]+)", page.url)
    assert cell, page.url
    assert float(cell[1]) == pytest.approx(lon, abs=0.0025)
    assert float(cell[2]) == pytest.approx(lat, abs=0.0025)


def test_land_outside_is_refused_in_a_sentence(seen: Seen) -> None:
    page = seen.open("#drawn=-80+30,-79.99+30,-79.99+30.01")
    failure = page.wait_for_selector(".failure", timeout=60_000).inner_text()
    assert re.search(r"outside", failure)
    # The browser itself logs the refused request; nothing else.
    assert len([seen.errors.pop() for _ in list(seen.errors) if "422" in seen.errors[-1]]) >= 1


def test_all_of_it_with_the_keyboard(seen: Seen) -> None:
    page = seen.open()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Go to the list of fields"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "find"
    assert page.get_attribute("#find", "aria-expanded") == "true"
    page.keyboard.type("soybean")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    chosen = page.locator("#found [aria-selected=true]")
    assert chosen.get_attribute("id") == page.get_attribute("#find", "aria-activedescendant")
    name = chosen.locator("span").inner_text()
    assert chosen.locator("small").inner_text() == "soybean"
    page.keyboard.press("Enter")
    assert {row["Year"]: row["Crop"] for row in totals(page)}["2022"] == "soybean"
    assert page.locator("#result h2").inner_text() == name
    assert page.evaluate("document.activeElement.id") == "result"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "keep"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Close the result"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert page.locator("#result").is_hidden()
    assert page.evaluate("document.activeElement.className").startswith("maplibregl-canvas")


def test_the_map_is_moved_and_read_with_the_keyboard(seen: Seen) -> None:
    field_id, _, (lon, lat) = a_field(seen.url)
    page = seen.open(f"#at={lat:.4f},{lon:.4f},13.0")
    page.wait_for_timeout(800)
    page.focus("canvas.maplibregl-canvas")
    assert page.locator("#cross").is_visible()
    page.keyboard.press("Enter")
    totals(page)
    assert f"field={field_id}" in page.url
    page.focus("canvas.maplibregl-canvas")
    before = page.url
    page.keyboard.press("ArrowRight")
    until(page, lambda: page.url != before, 10)


def test_every_control_has_a_name(seen: Seen) -> None:
    page = seen.open()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, [role=combobox], [tabindex="0"]')]
        .filter((e) => e.checkVisibility())
        .filter((e) => !(e.getAttribute('aria-label') || e.labels?.length || e.textContent.trim() || e.title))
        .map((e) => e.outerHTML)"""
    )
    assert nameless == []


@pytest.mark.parametrize("seen", [PHONE], indirect=True)
def test_a_phone_of_380_pixels(seen: Seen) -> None:
    field_id, _, _ = a_field(seen.url)
    page = seen.open(f"#field={field_id}")
    totals(page)
    wide = """() => [document.documentElement.scrollWidth, ...[...document.querySelectorAll('.card, #panels, #notes')]
        .filter((e) => e.checkVisibility()).map((e) => Math.ceil(e.getBoundingClientRect().right))]"""
    assert max(page.evaluate(wide)) <= 380
    page.click(".result-head button")
    assert max(page.evaluate(wide)) <= 380
    tall = page.locator("#sheet").bounding_box()["height"]
    page.click("#grip")
    assert page.locator("#sheet").bounding_box()["height"] < tall
    assert page.get_attribute("#grip", "aria-expanded") == "false"


def test_the_build_names_no_private_registry() -> None:
    lock = json.loads((ROOT / "app" / "web" / "package-lock.json").read_text())
    hosts = {urlsplit(p["resolved"]).netloc for p in lock["packages"].values() if "resolved" in p}
    assert hosts == {"registry.npmjs.org"}
