"""A walk through the map's main uses in a real browser: times, comparing, own fields, and what a file holds.

`FIELDFLUX_WALK=folder` keeps a video of it.
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import shapely
from PIL import Image

from .conftest import ROOT
from .test_map import DESKTOP, Seen, a_field, browser, server, totals, until

__all__ = ["browser", "server"]
pytestmark = pytest.mark.browser
AXE = ROOT / "app" / "web" / "node_modules" / "axe-core" / "axe.min.js"


def violations(page: Any) -> list[str]:
    """What axe finds that keeps people out, or is in their way."""
    assert AXE.exists(), "axe-core is not installed: `make web` installs it with the packages of the map."
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in found["violations"]]


def test_a_walk_through_the_main_uses(server: str, browser: Any, tmp_path: Path) -> None:
    kept = os.environ.get("FIELDFLUX_WALK")
    more = {"record_video_dir": kept, "record_video_size": DESKTOP} if kept else {}
    context = browser.new_context(viewport=DESKTOP, accept_downloads=True, **more)
    seen = Seen(context.new_page(), server)
    seen.watch()
    page = seen.open()
    try:
        assert violations(page) == []

        page.check("input[name=by][value=month]", force=True)
        until(page, lambda: seen.tiles("nee", "2022-07"))
        bar, last = (page.locator(at).bounding_box() for at in ("#when", "#play"))
        assert last["x"] + last["width"] <= bar["x"] + bar["width"], "the time bar overflows"
        page.check("input[name=by][value=span]", force=True)
        until(page, lambda: seen.tiles("nee", "2022-04-01..2022-09-30"))
        assert "when=2022-04-01..2022-09-30" in page.url

        page.check("input[name=by][value=day]", force=True)
        page.click("#compare-open")
        page.select_option("#compare", "swipe")
        page.wait_for_selector("#divider")
        page.focus("#divider")
        page.keyboard.press("Home")
        assert page.get_attribute("#divider", "aria-valuenow") == "0"
        page.select_option("#compare", "minus")
        page.wait_for_function("document.querySelector('#legend').textContent.includes(' less ')")
        page.select_option("#compare", "")
        assert page.locator("#swipe").is_hidden()

        _, geometry, (lon, lat) = a_field(server)
        page.fill("#find", f"{lat:.4f}, {lon:.4f}")
        page.keyboard.press("Enter")
        totals(page)
        assert page.locator("#result h2").inner_text() == "One 250 m cell"
        assert "sown" in (page.get_attribute(".calendar", "aria-label") or "")

        feature = {"type": "Feature", "geometry": geometry, "properties": {"name": "North forty"}}
        file = tmp_path / "north.geojson"
        file.write_text(json.dumps(feature))
        page.set_input_files("#file", file)
        page.wait_for_function("document.querySelector('#result h2')?.textContent === 'North forty'")
        totals(page)
        assert "mine=fld_" in page.url
        assert violations(page) == []
        page.click("[aria-label='Rename North forty']")
        page.fill(".edit input", "South forty")
        page.keyboard.press("Enter")
        page.wait_for_selector("[aria-label='Delete South forty']")
        assert [f["properties"]["name"] for f in httpx.get(f"{server}v1/fields").json()["items"]] == ["South forty"]

        overlapping = shapely.geometry.mapping(shapely.geometry.box(lon, lat, lon + 0.004, lat + 0.003))
        file.write_text(json.dumps({"type": "Feature", "geometry": overlapping, "properties": {"name": "Corner"}}))
        page.set_input_files("#file", file)
        page.wait_for_function("document.querySelector('#result h2')?.textContent === 'Corner'")
        totals(page)
        with page.expect_download() as download:
            page.click("text=Carbon statement")
        stated = json.loads(Path(download.value.path()).read_text())
        assert len(stated["fields"]) == 1
        assert stated["signature"]
        page.click(".mine [data-id=all] button")
        page.wait_for_function("document.querySelector('#result h2')?.textContent === '2 fields together'")
        totals(page)
        assert "which are counted once" in page.locator("#result .notes").inner_text()
        page.click("[aria-label='Delete Corner']")
        page.click(".mine .danger")
        page.wait_for_selector("[aria-label='Delete Corner']", state="detached")

        page.click("#tool-download")
        with page.expect_download() as download:
            page.click("text=GeoTIFF of the view")
        tiff = Image.open(io.BytesIO(Path(download.value.path()).read_bytes()))
        assert tiff.tag_v2[34735][-1] == 3857
        values = np.asarray(tiff)
        assert np.isfinite(values).any()
        assert np.nanmin(values) >= -60

        page.click("[aria-label='Delete South forty']")
        page.click(".mine .danger")
        until(page, lambda: httpx.get(f"{server}v1/fields").json()["items"] == [])
        page.click("#tool-about")
        assert "Known faults" in page.locator("#about").inner_text()
        page.keyboard.press("Escape")
        assert seen.errors == []
    finally:
        context.close()
