"""One evaluation: which parts, in which order, and what is written where."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fieldflux.models.card import Card
from fieldflux.models.contract import MissingInputs, Model
from fieldflux.models.registry import Registry
from fieldflux.tiles.measurements import Tower, read_towers
from fieldflux.tiles.measurements.panelsoil import read_surveys

from .county import evaluate_county
from .distribution import evaluate_distribution
from .report import Report, Row, Table, as_csv, as_json, as_text, table_csv
from .responses import evaluate_responses
from .soil import evaluate_soil
from .towers import TowerResult, evaluate_towers
from .yields import evaluate_yields

if TYPE_CHECKING:
    from fieldflux.tiles.cube import Cube

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


@dataclass(frozen=True, slots=True)
class Asked:
    """What a part is made from. cube: None where it is to be built. told: of the part's own progress."""

    model: Model
    data_dir: Path
    cube: Cube | None
    told: Progress


@dataclass(frozen=True, slots=True)
class Found:
    """What a part gives to the report. plot: writes its plots into a folder, and names them."""

    plot: Callable[[Path], list[str]]
    rows: Sequence[Row] = ()
    notes: Sequence[str] = ()
    skipped: Sequence[str] = ()
    tables: Sequence[Table] = ()
    unknown: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an evaluation, and from where to where the progress of the whole goes with it.

    families: of models that it is for; empty for all that have days.
    """

    name: str
    span: tuple[float, float]
    make: Callable[[Asked], Found]
    families: tuple[str, ...] = ()


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

    only: some of the parts; default all that are for the model's family (`parts_for`). progress: called with the
    fraction done and what is being done. cube: the input cube of the county; default, Adams County
    built from `data_dir` where its files are there.
    A part whose measurements are not in the folder is left out, and the report says so.
    Raises UnknownPart, UnknownModel, BadCheckpoint, BadMeasurements, BadSplit, OutputNotWritten.
    """
    told = progress or _quiet
    told(0.0, "loading the model")
    models = registry or Registry()
    known = parts_for(models.card(model_id).family)
    parts = tuple(only) if only else known
    for name in parts:
        if name not in known:
            raise UnknownPart(f"There is no part '{name}' of an evaluation. The parts are: {', '.join(known)}.")
    model = models.load(model_id)
    with _writing(out):
        # Before minutes of work: a folder that cannot be written should be known at once.
        out.mkdir(parents=True, exist_ok=True)
        (out / "report.txt").write_text("")

    found: list[Found] = []
    files: list[str] = []
    for part in (p for p in PARTS_OF if p.name in parts):
        asked = Asked(model, data_dir, cube, _between(told, *part.span))
        found.append(part.make(asked))
        with _writing(out):
            files += found[-1].plot(out)
    tables = [table for one in found for table in one.tables]
    report = Report(
        model=model.card.id,
        title=model.card.title,
        made=datetime.now(UTC).replace(microsecond=0),
        data=data_dir.name or str(data_dir),
        rows=tuple(row for one in found for row in one.rows),
        notes=tuple(dict.fromkeys(note for one in found for note in one.notes)),
        skipped=tuple(said for one in found for said in one.skipped),
        unknown={what: sites for one in found for what, sites in one.unknown.items()},
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


def _between(told: Progress, first: float, last: float) -> Progress:
    return lambda fraction, doing: told(first + (last - first) * fraction, doing)


class NoCube(ValueError):
    """The county's cube cannot be built from a folder of measurements."""


@contextmanager
def _cube(asked: Asked) -> Iterator[Cube]:
    """The given cube, or Adams County's, built for as long as it is needed. Raises NoCube."""
    if asked.cube is not None:
        yield asked.cube
        return
    from fieldflux.tiles.cube import open_cube
    from fieldflux.tiles.sources import build

    with tempfile.TemporaryDirectory() as folder:
        asked.told(0.0, "building the cube of Adams County")
        try:
            built = open_cube(build("adams", Path(folder) / "adams.zarr", asked.data_dir))
        except (OSError, ValueError) as error:
            raise NoCube(f"the cube of Adams County cannot be built: {error}") from error
        yield built


def _skill_plot(out: Path, report: Report) -> list[str]:
    from .plots import plot_skill

    return plot_skill(out, report)


def _towers(asked: Asked) -> Found:
    from .plots import plot_towers

    towers = read_towers(asked.data_dir)
    result = evaluate_towers(asked.model, towers, asked.told)
    absent = f"Towers: no file of towers in {asked.data_dir}. Their layout is in fieldflux.tiles.measurements."
    return Found(
        lambda out: plot_towers(out, result, towers),
        result.rows,
        result.notes,
        (*result.skipped, *(() if towers else (absent,))),
        unknown=_unknown(towers, result),
    )


def _county(asked: Asked) -> Found:
    from .plots import plot_county

    try:
        with _cube(asked) as cube:
            result = evaluate_county(asked.model, cube, asked.data_dir, ADAMS, asked.told)
    except (MissingInputs, NoCube) as error:
        return Found(_no_plot, skipped=(f"County: {error}",))
    return Found(lambda out: plot_county(out, result), result.rows, result.notes, result.skipped)


def _soil(asked: Asked) -> Found:
    from .soilplots import plot_soil

    result = evaluate_soil(asked.model, asked.data_dir, asked.told)
    return Found(lambda out: plot_soil(out, result), result.rows, result.notes, result.skipped, result.tables)


def _yields(asked: Asked) -> Found:
    from .yieldplot import plot_yields

    try:
        result = evaluate_yields(asked.model, asked.data_dir, asked.told)
    except MissingInputs as error:
        return Found(_no_plot, skipped=(f"County yields: {error}",))
    return Found(lambda out: plot_yields(out, result), result.rows, result.notes, result.skipped, result.tables)


def _responses(asked: Asked) -> Found:
    from .responseplots import plot_responses

    result = evaluate_responses(asked.model, asked.data_dir, asked.told)
    return Found(lambda out: plot_responses(out, result), (), result.notes, result.skipped, result.tables)


def _distribution(asked: Asked) -> Found:
    from .soilplots import plot_distribution

    try:
        with _cube(asked) as cube:
            result = evaluate_distribution(asked.model, cube, asked.told, read_surveys(asked.data_dir))
    except (MissingInputs, NoCube) as error:
        return Found(_no_plot, skipped=(f"Distribution of delta_soc: {error}",))
    return Found(lambda out: plot_distribution(out, result), (), result.notes, result.skipped, result.tables)


def _soils(asked: Asked) -> Found:
    from fieldflux.app.binn.evaluation import scores_at_soils, soils_of

    table = soils_of(asked.model.card, asked.data_dir)
    rows, tables, _ = scores_at_soils(asked.model.card, table, asked.told)
    note = (
        "Soils: networks of the card's recipe were trained anew without each fold of 2-degree blocks. Predictions are "
        "of the middle; in gC m-2 they are times the mean ratio of measured to predicted."
    )
    return Found(_no_plot, rows, (note,), table.left_out, tables)


def _processes(asked: Asked) -> Found:
    from fieldflux.app.binn.evaluation import ensemble_in, soils_of
    from fieldflux.app.binn.explain import plot_processes, processes_at, processes_table

    table = soils_of(asked.model.card, asked.data_dir)
    found = processes_at(ensemble_in(asked.model), table)
    return Found(lambda out: plot_processes(out, found, table), tables=processes_table(found, table))


def _effects(asked: Asked) -> Found:
    from fieldflux.app.binn.evaluation import ensemble_in, soils_of
    from fieldflux.app.binn.explain import curves, curves_tables, plot_curves

    ensemble = ensemble_in(asked.model)
    found = curves(ensemble, soils_of(asked.model.card, asked.data_dir))
    tables = curves_tables(found, ensemble.network.recipe.learned)
    return Found(lambda out: plot_curves(out, found), tables=tables)


def _harvests(asked: Asked) -> Found:
    from fieldflux.app.crop.evaluation import harvests_of

    rows, notes = harvests_of(asked.model, asked.data_dir, asked.told)
    return Found(_no_plot, rows, notes)


def _forecasts(asked: Asked) -> Found:
    from fieldflux.app.crop.evaluation import ensemble_in
    from fieldflux.app.crop.forecastscores import forecasts_of, plot_forecasts

    tables, notes = forecasts_of(ensemble_in(asked.model), asked.data_dir, asked.told)
    return Found(lambda out: plot_forecasts(out, tables[0]), (), notes, tables=tables)


def _no_plot(_out: Path) -> list[str]:
    return []


# In the order of the report; the spans are of the progress.
PARTS_OF = (
    Part("towers", (0.05, 0.6), _towers),
    Part("county", (0.6, 0.9), _county),
    Part("soil", (0.9, 0.93), _soil),
    Part("yields", (0.93, 0.95), _yields),
    Part("responses", (0.95, 0.97), _responses),
    Part("distribution", (0.97, 0.99), _distribution),
    Part("soils", (0.02, 0.9), _soils, ("binn",)),
    Part("processes", (0.9, 0.95), _processes, ("binn",)),
    Part("effects", (0.95, 0.99), _effects, ("binn",)),
    Part("harvests", (0.02, 0.6), _harvests, ("crop",)),
    Part("forecasts", (0.6, 0.99), _forecasts, ("crop",)),
)
PARTS = tuple(part.name for part in PARTS_OF if not part.families)


def parts_for(family: str) -> tuple[str, ...]:
    """Names of the parts for models of a family: its own where it has any, else those for models with days."""
    return tuple(part.name for part in PARTS_OF if family in part.families) or PARTS
