"""The project itself: packages, layers, dependencies, containers."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("models", "tiles", "app")
# What starting the server or asking for help must not load: each of these costs tenths of a second, torch whole ones.
HEAVY = ("torch", "geopandas", "rasterio", "matplotlib", "sklearn", "xarray", "numba", "pandas")

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def python_packages() -> set[str]:
    folders = {p.parent for room in ROOMS for p in (ROOT / room).rglob("__init__.py") if "node_modules" not in p.parts}
    return {"fieldflux." + ".".join(f.relative_to(ROOT).parts) for f in folders}


def test_every_package_is_listed_in_pyproject() -> None:
    listed = PROJECT["tool"]["setuptools"]["packages"]
    assert len(listed) == len(set(listed))
    assert set(listed) == python_packages()


def test_every_folder_with_modules_is_a_package() -> None:
    modules = {p.parent for room in ROOMS for p in (ROOT / room).rglob("*.py") if "node_modules" not in p.parts}
    assert [f for f in modules if not (f / "__init__.py").exists()] == []


def imported(path: Path) -> set[str]:
    """Absolute names of the rooms that a module imports, wherever in it."""
    package = ("fieldflux", *path.relative_to(ROOT).parts[:-1])
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            names = [".".join((*base, *(node.module or "").split("."))).strip(".")]
            found |= {*names, *(f"{names[0]}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize(("room", "forbidden"), [("models", ("tiles", "app")), ("tiles", ("app",))])
def test_data_flows_one_way(room: str, forbidden: tuple[str, ...]) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sorted((ROOT / room).rglob("*.py"))
        for name in sorted(imported(path))
        if name.startswith(tuple(f"fieldflux.{other}" for other in forbidden))
    ]
    assert wrong == []


def test_top_level_holds_nothing_else() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    top = {line.split("/")[0] for line in tracked.stdout.splitlines()}
    expected = {"app", "models", "tiles", "docker", "tests", "pyproject.toml", "README.md", "Makefile", "LICENSE"}
    assert {name for name in top if not name.startswith(".")} <= expected


def test_help_and_the_server_module_load_nothing_heavy() -> None:
    code = (
        f"import sys; import fieldflux.app.cli, fieldflux.app.server; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env={**os.environ}
    )
    assert done.stdout.strip() == ""


def test_every_dependency_gives_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    lines = re.findall(r'^  "[\w.\-\[\]]+[><=~][^"]*",?(.*)$', text, re.M)
    assert len(lines) > 20
    reasonless = [line for line in lines if not line.strip().startswith("#")]
    # Plain development tools need none.
    assert len(reasonless) <= 10


def test_containers_run_without_root_and_say_how_they_are() -> None:
    for name in ("Dockerfile", "Dockerfile.cuda"):
        text = (ROOT / "docker" / name).read_text()
        final = text[text.rindex("\nFROM ") :]
        assert re.search(r"^USER (?!root)\w+", final, re.M)
        assert "HEALTHCHECK" in final
        assert "/livez" in final


def test_every_page_that_a_page_names_exists() -> None:
    pages = [ROOT / "README.md", *(ROOT / "models" / "checkpoints").glob("*/*/EVALUATION.md")]
    assert len(pages) > 3
    for page in pages:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.relative_to(ROOT)} names {link}"


def test_every_model_has_a_page_of_its_evaluation_that_the_readme_names() -> None:
    readme = (ROOT / "README.md").read_text()
    for card in (ROOT / "models" / "checkpoints").glob("*/*/card.json"):
        page = card.with_name("EVALUATION.md").relative_to(ROOT)
        assert f"({page})" in readme, page
