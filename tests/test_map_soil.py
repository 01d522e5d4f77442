"""The web map with a model that has no days: what it shows of the soil is what the API tells."""

from __future__ import annotations

from pathlib import Path

import pytest
from fieldflux.app.settings import Settings

from .conftest import ROOT
from .serving import serving
from .test_map import CHROMIUM, FLAGS, number
from .test_soil_served import MODEL, build, place

sync_api = pytest.importorskip("playwright.sync_api", reason="needs the package playwright (extra dev)")

pytestmark = pytest.mark.browser


def test_the_soil_of_a_cell_and_what_would_change(tmp_path: Path) -> None:
    if not CHROMIUM or not (ROOT / "app" / "web" / "dist" / "index.html").exists():
        pytest.skip("needs Chromium and the built web map")
    build(tmp_path / "cubes" / "soils.zarr")
    where = place(3, 3)
    lon, lat = (sum(p[i] for p in where["coordinates"][0][:4]) / 4 for i in (0, 1))
    with serving(Settings(home=tmp_path, model=MODEL, demo=False)) as http, sync_api.sync_playwright() as p:
        told = http.post("/v1/soil/profile", json={"geometry": where}).json()
        browser = p.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1000, "height": 660})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        camera = f"at={lat:.4f},{lon:.4f},13&cell={lon:.5f} {lat:.5f}"
        page.goto(f"{str(http.base_url).rstrip('/')}/#cube=soils&model=binn-soil-carbon&map=soc_30&{camera}")
        page.wait_for_selector("#soil-processes", timeout=90_000)
        assert page.locator("#lasting").inner_text().endswith("one value for all times.")
        assert not page.locator("#slider").is_visible()
        stock = number(page.locator("#result .headline b").first.inner_text().split("\u2009")[0].split(" ")[0])
        assert stock == pytest.approx(told["stocks"]["soc_30"]["value"], rel=1e-3)
        assert len(page.locator("#soil-processes tr").all()) == 9
        page.select_option("#soil-tillage", "none")
        page.click("#soil-run")
        page.wait_for_selector("#soil-answer .headline", timeout=60_000)
        assert "would gain" in page.locator("#soil-answer .headline").inner_text()
        browser.close()
    assert errors == []
