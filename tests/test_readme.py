"""A first start, as in the README: the demo landscape is built by the server itself, and every example works."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fieldflux.app.settings import Settings

from .serving import serving

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server that was started in an empty folder and has built the demo; nothing of it is computed yet."""
    with serving(Settings(home=tmp_path_factory.mktemp("first"), fill=False)) as found:
        first = found.get("/v1/status").json()
        assert first["state"] == "building"
        assert "demo" in first["message"]
        assert found.get("/livez").status_code == 200
        until = time.monotonic() + 120
        while (status := found.get("/v1/status").json())["state"] == "building" and time.monotonic() < until:
            time.sleep(0.2)
        assert status["state"] == "ready", status
        yield found


def examples() -> list[str]:
    """The curl commands of the README."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.S)
    found = []
    for block in blocks:
        found += re.findall(r"^curl .*?(?=^curl |\Z)", block, re.S | re.M)
    return found


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
def test_every_curl_of_the_readme_works(client: httpx.Client, tmp_path: Path) -> None:
    found = examples()
    assert len(found) >= 8
    for command in found:
        said = command.replace("localhost:8000", f"127.0.0.1:{client.base_url.port}").replace("curl -s", "curl -sf", 1)
        done = subprocess.run(
            ["sh", "-c", said], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, (command, done)
        assert done.stdout or list(tmp_path.iterdir()), command


def test_the_python_of_the_readme_works(client: httpx.Client, capsys: pytest.CaptureFixture[str]) -> None:
    """One block after the other, as a reader would type them."""
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert len(blocks) == 2
    assert len([line for line in blocks[0].splitlines() if line]) == 5
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block.replace("localhost:8000", f"127.0.0.1:{client.base_url.port}"), names)
    assert "nee_total" in capsys.readouterr().out
    assert list(names["data"]["nee"].dims) == ["feature", "time"]
    assert sorted(names["mine"].geometry.area) == pytest.approx(sorted(names["some"].geometry.area))
    assert sorted(names["table"]["nee"]) == pytest.approx(sorted(names["data"]["nee"].values.ravel()), abs=1e-2)
    names["flux"].close()


def test_the_demo_says_that_it_is_synthetic(client: httpx.Client) -> None:
    fields = client.get("/v1/cubes/demo/fields").json()["features"]
    assert len(fields) > 500
    ask = {"geometry": fields[0], "years": [2018], "variables": ["gpp", "reco", "nee"], "step": "year"}
    found = client.post("/v1/series", json=ask).json()
    assert found["synthetic"] is True
    assert "SYNTHETIC" in found["statement"]
    assert "synthetic_inputs" in found["flags"]
    assert found["values"]["nee"][0] == pytest.approx(found["values"]["reco"][0] - found["values"]["gpp"][0], abs=1e-9)
    assert "SYNTHETIC" in client.get("/v1/tiles/gpp/tilejson.json").json()["attribution"]


def test_commands_of_the_readme_exist() -> None:
    from fieldflux.app.cli import app
    from typer.main import get_command

    names = set(re.findall(r"^fieldflux (\w+)", README, re.M))
    assert {"serve", "run", "series", "tile", "models", "train", "evaluate", "cube"} <= names
    assert names <= set(get_command(app).commands)  # type: ignore[attr-defined]
