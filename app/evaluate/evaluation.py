"""One evaluation: which parts, in which order, and what is written where."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fieldflux.models.card import Card
from fieldflux.models.contract import MissingInputs, Model
from fieldflux.models.registry import Registry
from fieldflux.tiles.measurements import Tower, read_towers
from fieldflux.tiles.measurements.panelsoil import read_surveys

from .county import CountyResult, evaluate_county
from .distribution import DistributionResult, evaluate_distribution
from .report import Report, Row, Table, as_csv, as_json, as_text, table_csv
from .responses import ResponseResult, evaluate_responses
from .soil import SoilResult, evaluate_soil
from .towers import TowerResult, evaluate_towers
from .yields import YieldResult, evaluate_yields

if TYPE_CHECKING:
    from fieldflux.tiles.cube import Cube

PARTS = ("towers", "county", "soil", "yields", "responses", "distribution")
ADAMS = 17001
Progress = Callable[[float, str], None]


class Models(Protocol):
    """Where models come from: a `Registry`, or a stand-in of the same shape."""

    def card(self, model: str) -> Card: ...

    def load(self, model: str, device: str = "cpu") -> Model: ...


class OutputNotWritten(ValueError):
    """A folder for tables and plots that cannot be written."""


class UnknownPart(ValueError):
    """A part of the evaluation that does not exist."""


def evaluate(
    model_id: str,
    data_dir: Path,
    out: Path,
    only: Sequence[str] | None = None,
    registry: Models | None = None,
    progress: Progress | None = None,
    cube: Cube | None = None,
) -> Report:
    """Score a model on a folder of measurements and write tables (text, JSON, CSV) and plots (PNG) into `out`.

    only: some of PARTS; default all. progress: called with the fraction done and what is being done. cube: the input
    cube of the county; default, Adams County built from `data_dir` where its files are there.
    A part whose measurements are not in the folder is left out, and the report says so.
    Raises UnknownPart, UnknownModel, BadCheckpoint, BadMeasurements, BadSplit, OutputNotWritten.
    """
    parts = tuple(only) if only else PARTS
    for part in parts:
        if part not in PARTS:
            raise UnknownPart(f"There is no part '{part}' of an evaluation. The parts are: {', '.join(PARTS)}.")
    told = progress or _quiet
    told(0.0, "loading the model")
    model = (registry or Registry()).load(model_id)
    with _writing(out):
        # Before minutes of work: a folder that cannot be written should be known at once.
        out.mkdir(parents=True, exist_ok=True)
        (out / "report.txt").write_text("")

    rows: list[Row] = []
    notes: list[str] = []
    skipped: list[str] = []
    files: list[str] = []
    tables: list[Table] = []
    unknown: dict[str, tuple[str, ...]] = {}
    if "towers" in parts:
        towers = read_towers(data_dir)
        result = evaluate_towers(model, towers, lambda f, doing: told(0.05 + 0.55 * f, doing))
        rows, notes, skipped = list(result.rows), list(result.notes), list(result.skipped)
        unknown = _unknown(towers, result)
        if not towers:
            skipped.append(f"Towers: no file of towers in {data_dir}. Their layout is in fieldflux.tiles.measurements.")
        with _writing(out):
            files += _tower_plots(out, result, towers)
    if "county" in parts:
        county = _county(model, data_dir, cube, lambda f, doing: told(0.6 + 0.3 * f, doing))
        rows += county.rows
        notes += county.notes
        skipped += county.skipped
        with _writing(out):
            files += _county_plots(out, county)
    if "soil" in parts:
        soil = evaluate_soil(model, data_dir, lambda f, doing: told(0.9 + 0.05 * f, doing))
        rows += soil.rows
        notes += soil.notes
        skipped += soil.skipped
        tables += soil.tables
        with _writing(out):
            files += _soil_plot(out, soil)
    if "yields" in parts:
        yields = _yields(model, data_dir, lambda f, doing: told(0.9 + 0.05 * f, doing))
        rows += yields.rows
        notes += yields.notes
        skipped += yields.skipped
        tables += yields.tables
        with _writing(out):
            files += _yield_plot(out, yields)
    if "responses" in parts:
        responses = evaluate_responses(model, data_dir, lambda f, doing: told(0.95 + 0.02 * f, doing))
        notes += responses.notes
        skipped += responses.skipped
        tables += responses.tables
        with _writing(out):
            files += _response_plot(out, responses)
    if "distribution" in parts:
        spread = _distribution(model, data_dir, cube, lambda f, doing: told(0.97 + 0.02 * f, doing))
        notes += spread.notes
        skipped += spread.skipped
        tables += spread.tables
        with _writing(out):
            files += _distribution_plot(out, spread)
    report = Report(
        model=model.card.id,
        title=model.card.title,
        made=datetime.now(UTC).replace(microsecond=0),
        data=data_dir.name or str(data_dir),
        rows=tuple(rows),
        notes=tuple(dict.fromkeys(notes)),
        skipped=tuple(skipped),
        unknown=unknown,
        tables=tuple(tables),
    )
    told(0.99, "writing")
    with _writing(out):
        files += _skill_plot(out, report)
        for table in tables:
            (out / f"{table.name}.csv").write_text(table_csv(table), encoding="utf-8")
            files.append(f"{table.name}.csv")
        report = replace(report, files=("report.txt", "report.json", "scores.csv", *files))
        (out / "report.txt").write_text(as_text(report), encoding="utf-8")
        (out / "report.json").write_text(as_json(report), encoding="utf-8")
        (out / "scores.csv").write_text(as_csv(report), encoding="utf-8")
    told(1.0, "done")
    return report


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputNotWritten(
            f"Tables and plots cannot be written into {out}: {error.strerror or error}. Choose another folder."
        ) from error


def _unknown(towers: Sequence[Tower], result: TowerResult) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for tower in towers:
        for what in tower.missing if tower.site in result.runs else ():
            found[what] = (*found.get(what, ()), tower.site)
    return found


def _quiet(fraction: float, doing: str) -> None:
    """Tell nobody."""


def _county(model: Model, data_dir: Path, cube: Cube | None, told: Progress) -> CountyResult:
    try:
        with _cube(cube, data_dir, told) as found:
            return evaluate_county(model, found, data_dir, ADAMS, told)
    except (MissingInputs, NoCube) as error:
        return CountyResult((), (f"County: {error}",), ())


def _distribution(model: Model, data_dir: Path, cube: Cube | None, told: Progress) -> DistributionResult:
    try:
        with _cube(cube, data_dir, told) as found:
            return evaluate_distribution(model, found, told, read_surveys(data_dir))
    except (MissingInputs, NoCube) as error:
        return DistributionResult((), (), (f"Distribution of delta_soc: {error}",))


class NoCube(ValueError):
    """The county's cube cannot be built from a folder of measurements."""


@contextmanager
def _cube(cube: Cube | None, data_dir: Path, told: Progress) -> Iterator[Cube]:
    """The given cube, or Adams County's, built for as long as it is needed. Raises NoCube."""
    if cube is not None:
        yield cube
        return
    from fieldflux.tiles.cube import open_cube
    from fieldflux.tiles.sources import build

    with tempfile.TemporaryDirectory() as folder:
        told(0.0, "building the cube of Adams County")
        try:
            built = open_cube(build("adams", Path(folder) / "adams.zarr", data_dir))
        except (OSError, ValueError) as error:
            raise NoCube(f"the cube of Adams County cannot be built: {error}") from error
        yield built


def _yields(model: Model, data_dir: Path, told: Progress) -> YieldResult:
    try:
        return evaluate_yields(model, data_dir, told)
    except MissingInputs as error:
        return YieldResult((), (f"County yields: {error}",), ())


def _tower_plots(out: Path, result: TowerResult, towers: Sequence[Tower]) -> list[str]:
    from .plots import plot_towers

    return plot_towers(out, result, towers)


def _county_plots(out: Path, result: CountyResult) -> list[str]:
    from .plots import plot_county

    return plot_county(out, result)


def _soil_plot(out: Path, result: SoilResult) -> list[str]:
    from .soilplots import plot_soil

    return plot_soil(out, result)


def _response_plot(out: Path, result: ResponseResult) -> list[str]:
    from .responseplots import plot_responses

    return plot_responses(out, result)


def _distribution_plot(out: Path, result: DistributionResult) -> list[str]:
    from .soilplots import plot_distribution

    return plot_distribution(out, result)


def _yield_plot(out: Path, result: YieldResult) -> list[str]:
    from .yieldplot import plot_yields

    return plot_yields(out, result)


def _skill_plot(out: Path, report: Report) -> list[str]:
    from .plots import plot_skill

    return plot_skill(out, report)
