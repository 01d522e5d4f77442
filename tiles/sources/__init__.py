"""Builders of input cubes: from the embedded demo landscape, from known data sets, from a user's own files."""

from __future__ import annotations

from pathlib import Path

from fieldflux.tiles.cubefile import Progress

from .progress import quiet

NAMES = ("demo", "adams", "iowa")
"""Cubes that are built by name."""


class UnknownCube(ValueError):
    """A name that is neither a known cube nor a recipe file."""


def build(
    what: Path | str, out: Path | str | None = None, data_dir: Path | str | None = None, progress: Progress = quiet
) -> Path:
    """Build an input cube and return where it is.

    what: "demo", "adams", "iowa", or the path of a recipe (TOML or JSON, see `recipe.py`). out: the folder to write,
    "<id>.zarr" here where it is not given. data_dir: folder of the measurements that "adams" and "iowa" are made from.
    Raises UnknownCube, BadSource (a file that is missing or wrong), BadRecipe, CubeNotWritten.
    """
    name = str(what)
    if name == "demo":
        from .demo import build_demo

        return build_demo(out or "demo.zarr", progress=progress)
    if name in NAMES:
        if data_dir is None:
            raise UnknownCube(
                f"The cube '{name}' is made from measurements: say in which folder they lie (--data or FIELDFLUX_DATA)."
            )
        from .counties import build_adams, build_iowa

        builder = build_adams if name == "adams" else build_iowa
        return builder(data_dir, out or f"{name}.zarr", progress)
    if Path(name).suffix.lower() not in (".toml", ".json"):
        raise UnknownCube(
            f"There is no cube '{name}' to build. The names are {', '.join(NAMES)}; anything else is the path of a "
            f"recipe that ends in .toml or .json."
        )
    from .recipe import build_from_files

    return build_from_files(name, out, progress)
