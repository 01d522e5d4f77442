"""Take the README's picture of the map: `python -m tests.screenshot http://127.0.0.1:8000/ app/web/screenshot.png`.

`phone` and `dark` behind it make it of a phone, and in the dark. The server has to hold the demo landscape, computed.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from .test_map import CHROMIUM, FLAGS

VIEW = "#cube=demo&map=nee&when=2022-06-24&at=42.0800,-93.9000,11.6&field=demo-0651"


def main(url: str, path: str, *how: str) -> None:
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        size = {"width": 380, "height": 800} if "phone" in how else {"width": 1400, "height": 900}
        page = browser.new_page(viewport=size, color_scheme="dark" if "dark" in how else "light")
        page.goto(f"{url}{VIEW}")
        page.wait_for_selector("#totals", timeout=120_000)
        page.wait_for_timeout(4000)
        picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        browser.close()
    # A third of the bytes; median cut, Pillow's own choice, would spoil the ends of the legend.
    method = Image.Quantize.MAXCOVERAGE
    picture.quantize(256, method, kmeans=5, dither=Image.Dither.NONE).save(Path(path), optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
