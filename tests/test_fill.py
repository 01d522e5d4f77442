"""The process that prepares the demo beside the server."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fieldflux.app.fill import READY, Filler
from fieldflux.app.settings import Settings


def command_lines() -> list[str]:
    """Of all processes of this machine, as `ps` shows them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="no /proc here")
def test_the_process_has_its_settings_and_shows_no_password(tmp_path: Path) -> None:
    url = "postgresql://me:open-sesame@127.0.0.1:1/nothing"
    # With a cube of that name and nothing to fill, it is ready at once: if it was told so.
    (tmp_path / "cubes" / "demo.zarr").mkdir(parents=True)
    settings = Settings(home=tmp_path, fill=False, database_url=url)  # type: ignore[call-arg]
    filler = Filler(settings)
    filler.start()
    try:
        lines = command_lines()
        # Between its fork and its exec the child still shows this process's command line.
        soon = time.monotonic() + 10
        while not any("fieldflux.app.fill" in line for line in lines) and time.monotonic() < soon:
            lines = command_lines()
        assert any("fieldflux.app.fill" in line for line in lines)
        assert not any("open-sesame" in line for line in lines)
        until = time.monotonic() + 120
        while filler.running and time.monotonic() < until:
            time.sleep(0.05)
        assert filler.status == READY
    finally:
        filler.stop()
