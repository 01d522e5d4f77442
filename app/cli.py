"""The command line. Each command teaches what it needs; `fieldflux COMMAND --help` shows an example."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from .accounts.commands import keys_app
from .carbon.commands import statements_app, verify
from .settings import Settings
from .storecommands import stores_app

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    name="fieldflux",
    help="What a field does with its carbon: daily CO2 fluxes, crop yield and soil-carbon change on 250 m cells.\n\n"
    "`fieldflux serve` starts the map and the API with a demo landscape. Everything is kept in the work folder "
    "`.fieldflux` (`--home`, or FIELDFLUX_HOME). `fieldflux COMMAND --help` shows what a command needs, by example.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
cube_app = typer.Typer(
    help="Input cubes: weather, soils, crops and management of a region, on the grid.", no_args_is_help=True
)
app.add_typer(cube_app, name="cube")
app.add_typer(keys_app, name="keys")
app.add_typer(statements_app, name="statements")
app.add_typer(stores_app, name="stores")
app.command("verify")(verify)

Asked = TypeVar("Asked", bound=BaseModel)
HOME = "Work folder with cubes/, stores/ and checkpoints/."
Home = Annotated[Path | None, typer.Option(help=HOME, show_default=".fieldflux")]
CubeArgument = Annotated[str, typer.Argument(help="Cube: an id of the work folder, or a path.")]
CubeOption = Annotated[
    str, typer.Option(help="Cube: an id of the work folder, or a path. The first one of the folder if not given.")
]
ModelOption = Annotated[str, typer.Option(help="Model: name (its newest version) or name/version.")]
ModelArgument = Annotated[str, typer.Argument(help="Model: name (its newest version) or name/version.")]
Geometry = Annotated[Path, typer.Argument(help="GeoJSON file: a polygon or a feature. '-' for standard input.")]
Land = Annotated[
    Path,
    typer.Argument(help="GeoJSON file: a polygon, a feature or a collection of many. '-' for standard input."),
]
Level = Annotated[float, typer.Option(help="Level of the intervals: 0.5, 0.8, 0.9 or 0.95.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="File to write; standard output if not given.")]
Data = Annotated[
    Path | None, typer.Option(help="Folder of measurements and source files.", envvar="FIELDFLUX_DATA", file_okay=False)
]


def main() -> None:
    """Run the command line: a refusal is one sentence and exit code 2, a fault keeps its trace."""
    try:
        app()
    except ValueError as error:
        # Errors that Fieldflux raises on purpose are sentences for people.
        if not type(error).__module__.startswith("fieldflux."):
            raise
        _err().print(f"[bold red]fieldflux:[/] {_escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fieldflux {version('fieldflux')}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; 0.0.0.0 for all.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 for a free one.", show_default="8000")] = None,
    cube: Annotated[
        list[Path] | None,
        typer.Option(help="A cube to serve beside those of the work folder; the first one is the default. Repeatable."),
    ] = None,
    store: Annotated[
        list[str] | None,
        typer.Option(
            help="A store to serve beside those of the work folder: a path, or s3://bucket/prefix. Repeatable."
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Default model.", show_default="kgml-ag-carbon")] = None,
    home: Home = None,
    demo: Annotated[
        bool | None, typer.Option("--demo/--no-demo", help="Build the demo landscape where there is no cube.")
    ] = None,
) -> None:
    """Start the web map and the HTTP API.

    The first start builds a demo landscape and computes it in the background; the map is up meanwhile.

    Example: `fieldflux serve --port 8000 --cube cubes/adams.zarr`
    """
    from .listen import listen

    settings = _settings(
        host=host, port=port, cubes=_absolute(cube), stores=_places(store), model=model, home=home, demo=demo
    )
    listen(settings, _err())


@app.command()
def worker(home: Home = None) -> None:
    """Do jobs of servers that share this database and work folder, until Ctrl-C.

    With PostgreSQL (FIELDFLUX_DATABASE_URL) any number of them may run, on any machine that has the work folder.

    Example: `fieldflux worker --home /srv/fieldflux`
    """
    import logging

    from .jobs.worker import stand_alone

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    stand_alone(_settings(home=home))


@cube_app.command("build")
def cube_build(
    source: Annotated[str, typer.Argument(help="What to build: demo, adams, iowa, or a recipe file (TOML, JSON).")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the new cube.", show_default="<home>/cubes/<source>.zarr")
    ] = None,
    data: Data = None,
    home: Home = None,
) -> None:
    """Build an input cube.

    `demo` is made in code and needs no data. `adams` and `iowa` are made from a folder of real files (`--data`). A
    recipe makes one from your own weather, soil, crop and field files.

    Example: `fieldflux cube build adams --data ../shared/data`
    """
    from fieldflux.tiles.sources import build

    name = Path(source).stem
    path = out or _settings(home=home).home / "cubes" / f"{name}.zarr"
    path.parent.mkdir(parents=True, exist_ok=True)
    with _bar("building") as told:
        built = build(source, path, data, told)
    _err().print(f"The cube is at [bold]{built}[/]. Next: `fieldflux run {name}`, or `fieldflux serve`.")


@cube_app.command("list")
def cube_list(home: Home = None) -> None:
    """List the cubes of the work folder.

    Example: `fieldflux cube list`
    """
    from rich.table import Table

    from .workspace import Workspace

    workspace = Workspace(_settings(home=home))
    table = Table("cube", "title", "years", "cells", "origin")
    for name in workspace.cube_paths():
        found = workspace.cube(name)
        table.add_row(
            name,
            found.title,
            f"{found.years[0]}-{found.years[-1]}",
            f"{int(found.mask().sum()):,}",
            "synthetic" if found.synthetic else found.statement,
        )
    _out().print(table)


@app.command()
def run(
    cube: CubeArgument,
    model: ModelOption = "",
    years: Annotated[str, typer.Option(help="Years: 2018-2020 or 2018,2020; all if not given.")] = "",
    blocks: Annotated[str, typer.Option(help="Blocks by name, as in b016-039, ',' between; all if not given.")] = "",
    workers: Annotated[int, typer.Option(help="Processes, one core each.", min=1)] = 1,
    device: Annotated[str, typer.Option(help="Device of the model: cpu, cuda, cuda:1.")] = "cpu",
    home: Home = None,
) -> None:
    """Run a model over a cube, into its store in the work folder.

    Ctrl-C stops after the batch in hand; the same command goes on from there. A server that is up shows new blocks as
    they appear.

    Example: `fieldflux run demo --years 2018-2023 --workers 2`
    """
    from .runs import Order, run_order

    order = Order(cube, model, _years(years), tuple(b for b in blocks.split(",") if b), workers, device)
    report = run_order(_settings(home=home), order, _err())
    for sentence in report.sentences():
        _err().print(sentence, highlight=False)
    if report.faults:
        raise typer.Exit(1)
    if report.cancelled:
        raise typer.Exit(130)


@app.command()
def series(
    geometry: Land,
    first: Annotated[str | None, typer.Option(help="First day, as in 2020-01-01.")] = None,
    last: Annotated[str | None, typer.Option(help="Last day, included.")] = None,
    years: Annotated[str, typer.Option(help="Years instead of days: 2018-2020 or 2018,2020.")] = "",
    variables: Annotated[str, typer.Option(help="Variables, ',' between.")] = "gpp,reco,nee",
    step: Annotated[
        Literal["day", "month", "season", "year", "period"], typer.Option(help="Step of the answer.")
    ] = "day",
    statistics: Annotated[str, typer.Option(help="Over the cells, ',' between: std,min,max,q05,q95.")] = "",
    units: Annotated[str, typer.Option(help="Units, ',' between: nee:tCO2 ha-1,yield:bu ac-1.")] = "",
    level: Level = 0.9,
    combine: Annotated[
        bool, typer.Option("--combine", help="Of many features, also their sum, with an interval of its own.")
    ] = False,
    cube: CubeOption = "",
    model: ModelOption = "",
    format: Annotated[
        Literal["csv", "json", "ndjson", "parquet", "covjson", "netcdf"], typer.Option(help="Format of the answer.")
    ] = "csv",
    output: Output = None,
    home: Home = None,
) -> None:
    """Print the daily, monthly, seasonal or yearly values of a field or of many, as POST /v1/series gives them.

    What the store does not hold is computed on the spot. In CSV, lines that begin with # tell units and origin.

    Example: `fieldflux series field.geojson --years 2022 --variables nee,yield --step year`
    """
    from .answer import found_of, question
    from .ask import Ask
    from .collection import Collection, Feature, Given, collection, features_of
    from .formats.negotiate import FORMATS
    from .formats.write import written
    from .workspace import Workspace

    settings, name = _with_cube(_settings(home=home), cube)
    land = _shape(geometry)
    inside = land.get("features") if isinstance(land, dict) and land.get("type") == "FeatureCollection" else None
    many = isinstance(inside, list) and (combine or len(inside) != 1)
    ask = _asked(
        Ask,
        **{"features" if many else "geometry": land},
        combine=combine,
        first=first,
        last=last,
        years=_years(years),
        variables=tuple(v for v in variables.split(",") if v),
        step=step,
        statistics=tuple(s.strip() for s in statistics.split(",") if s.strip()),
        units=dict(_unit(part) for part in units.split(",") if part.strip()),
        level=level,
        cube=name,
        model=model,
    )
    if many:
        asked = collection(Workspace(settings), ask, most=len(inside or ()))
        features = features_of(asked)
    else:
        one = question(Workspace(settings), ask)
        about = Given(0, None, one.shape)
        asked = Collection(one.place, one.source, one.request, (about,), one.units, alone=True)
        features = [Feature(about, found_of(one))]
    content = written(asked, features, FORMATS[format])
    _write(content + b"\n" if format in ("json", "covjson") else content, output)


@app.command()
def forecast(
    geometry: Geometry,
    issue_day: Annotated[
        datetime,
        typer.Argument(help="Day on whose morning it is made, as in 2020-07-01.", formats=["%Y-%m-%d"]),
    ],
    level: Level = 0.9,
    cube: CubeOption = "",
    model: ModelOption = "",
    output: Output = None,
    home: Home = None,
) -> None:
    """Print a field's harvest as it is forecast on a day of its season, as the server's POST /v1/forecast gives it.

    JSON. Of each crop: day of harvest, yield with its interval as carbon (gC m-2) and at market moisture (t ha-1,
    bu ac-1), the yield that each earlier year's weather would make (t ha-1), and what stands on that day: biomass and
    grain in gC m-2, leaf area in m2 m-2, stage from 0 (sown) over 1 (flowering) to 2 (mature).

    Weather before the day is the season's own; from it on, that of each earlier year of the cube. A crop sown in
    autumn is forecast in the year of its harvest.

    Example: `fieldflux forecast field.geojson 2020-07-01`
    """
    import orjson

    from .forecast import ForecastAsk, forecast_of, forecast_question
    from .reply import dumps
    from .workspace import Workspace

    settings, name = _with_cube(_settings(home=home), cube)
    ask = _asked(
        ForecastAsk, geometry=_shape(geometry), issue_day=issue_day.date(), level=level, cube=name, model=model
    )
    workspace = Workspace(settings)
    found = forecast_of(workspace, forecast_question(workspace, ask, ask.geometry))
    _write(dumps(found, orjson.OPT_INDENT_2) + b"\n", output)


def _unit(given: str) -> tuple[str, str]:
    name, colon, unit = given.partition(":")
    if not colon:
        raise _refused(f"A unit is given as variable:unit, as in nee:tCO2 ha-1; given: '{given}'.")
    return name.strip(), unit.strip()


@app.command()
def tile(
    variable: Annotated[str, typer.Argument(help="Variable, as in gpp.")],
    when: Annotated[str, typer.Argument(help="Day, 2022-07-15, or year, 2022.")],
    at: Annotated[str, typer.Option(help="Tile that holds a place: longitude,latitude. Or its address: zoom/x/y.")],
    zoom: Annotated[int, typer.Option(help="Zoom, where --at is longitude,latitude.")] = 11,
    size: Annotated[int, typer.Option(help="Side in pixels: 256 or 512.")] = 512,
    style: Annotated[str, typer.Option(help="Palette instead of the variable's own.")] = "",
    cube: CubeOption = "",
    model: ModelOption = "",
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write: .png or .webp.")] = Path("tile.png"),
    home: Home = None,
) -> None:
    """Draw a map tile from what is in the store.

    Example: `fieldflux tile gpp 2022-07-15 --at -93.76,42.0 --zoom 11 -o gpp.png`
    """
    from .picture import draw
    from .workspace import Workspace

    formats: dict[str, Literal["png", "webp"]] = {".png": "png", ".webp": "webp"}
    fmt = formats.get(output.suffix.lower())
    if fmt is None:
        raise _refused(f"A tile is written as .png or .webp; given: {output}.")
    settings, name = _with_cube(_settings(home=home), cube)
    workspace = Workspace(settings)
    about = workspace.place(name, model)
    drawn = draw(workspace, about, variable, when, _tile_at(at, zoom), size, fmt, style)
    _write(drawn.content, output)
    if drawn.missing:
        _err().print(f"{len(drawn.missing)} parts are not computed: `fieldflux run {about.cube.id}` computes them.")


@app.command()
def models(
    name: Annotated[str, typer.Argument(help="Model whose card to show: name or name/version.")] = "",
    whole: Annotated[bool, typer.Option("--all", help="Every score of the card.")] = False,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    home: Home = None,
) -> None:
    """List the models, or show the card of one: what it needs and gives, its scores, its known faults.

    Example: `fieldflux models kgml-ag-carbon`
    """
    import orjson

    from .workspace import registry_of

    registry = registry_of(_settings(home=home))
    if name:
        card = registry.card(name)
        if json:
            typer.echo(card.model_dump_json(indent=2))
        else:
            from .showcard import show_card

            show_card(card, _out(), whole)
        return
    cards = registry.cards()
    if json:
        typer.echo(orjson.dumps([c.model_dump(mode="json") for c in cards], option=orjson.OPT_INDENT_2).decode())
        return
    from rich.table import Table

    table = Table("model", "title", "family", "members", "outputs")
    for card in cards:
        table.add_row(card.id, card.title, card.family, str(card.members), " ".join(card.outputs))
    _out().print(table)


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe of the training (TOML).", exists=True, dir_okay=False)],
    data: Data = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the checkpoint.", show_default="<home>/checkpoints")
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(help="Where a long training keeps what it has done.", show_default="<out>/.work", file_okay=False),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that share it; one per core if not given.")] = None,
    home: Home = None,
) -> None:
    """Train a model by a recipe, and write it as a checkpoint with its card.

    Stopped with Ctrl-C, the same command goes on from there where the training is a long one.

    Example: `fieldflux train recipes/agroecosystem.toml --data ../shared/data`
    """
    from .cardscores import told_of_former
    from .train import train as train_by

    folder = out or _settings(home=home).home / "checkpoints"
    with _bar("training") as told:
        card = train_by(recipe, folder, _given(data), told, work, workers)
    for stage, seconds in card.recipe.get("seconds", {}).items():
        typer.echo(f"{stage}: {seconds:.0f} s")
    for line in told_of_former(card, str(folder / card.id)):
        typer.echo(line)


@app.command()
def teach(
    recipe: Annotated[Path, typer.Argument(help="Recipe of the teaching set (TOML).", exists=True, dir_okay=False)],
    out: Annotated[Path, typer.Option(help="Folder of the teaching set.", file_okay=False)],
    data: Data = None,
) -> None:
    """Make a teaching set: synthetic runs of a process model, on which a network is pre-trained.

    Stopped with Ctrl-C, the same command goes on from there.

    Example: `fieldflux teach recipes/teaching.toml --data ../shared/data --out teaching`
    """
    from fieldflux.tiles.teaching import read_recipe
    from fieldflux.tiles.teaching import teach as make

    with _bar("teaching") as told:
        made = make(read_recipe(recipe), _given(data), out, told)
    refused = sum(made.refused.values())
    _err().print(
        f"{made.runs} runs of {len(made.years)} years are in [bold]{out}[/]; {refused} more were outside the recipe's "
        f"limits and drawn anew.",
        highlight=False,
    )


@app.command()
def experiment(
    name: Annotated[
        str,
        typer.Argument(
            help="What to do: small-samples, ablation, synthetic; binn-recovery, binn-blocks, "
            "binn-sampler, binn-longterm; crop-noise, crop-scarcity, crop-transfer, crop-schedules, crop-truth; "
            "crop-fields, crop-fields-noise, crop-fields-scarcity."
        ),
    ],
    data: Data = None,
    work: Annotated[Path, typer.Option(help="What is kept for going on.", file_okay=False)] = Path("experiments-work"),
    out: Annotated[Path, typer.Option(help="Folder for tables (text, CSV) and plots.")] = Path("experiments"),
    recipe: Annotated[
        Path | None,
        typer.Option(
            help="Recipe of the network (TOML).",
            show_default="models/recipes/kgml-ag-carbon.toml; of binn-...: binn.toml, of crop-...: crop-twin.toml, "
            "of crop-fields...: crop-fields.toml",
            dir_okay=False,
        ),
    ] = None,
    teaching: Annotated[
        Path | None, typer.Option(help="Folder of the teaching set.", show_default="<work>/teaching", file_okay=False)
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            help="For synthetic: weights of a variant, as closed=FILE or closed=WORK, the work folder of a training; "
            "else trained here. Repeatable; the mean of several of one variant is scored."
        ),
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that share the work.", min=1)] = 2,
    quick: Annotated[bool, typer.Option(help="Minutes instead of half an hour; shows only that it runs.")] = False,
    crop: Annotated[
        Literal["maize", "soybean", "winter_wheat"] | None,
        typer.Option(help="For crop-fields...: this crop alone.", show_default="all"),
    ] = None,
    card: Annotated[
        Path | None, typer.Option(help="Checkpoint whose card gets the scores: models/checkpoints/NAME/VERSION.")
    ] = None,
) -> None:
    """Make an experiment with KGML-ag-Carbon (what it gains from few measurements, and by which of its parts) or BINN.

    small-samples: against pure machine learning, as the sample of places grows. ablation: the 16 models of four
    switches. synthetic: against the process models that taught it. binn-recovery: are known parameters of the soil
    found again? binn-blocks: against simpler methods at held-out soils. binn-sampler: against Bayesian inference at
    measured soils, in processes and time. binn-longterm: soil carbon of long-term experiments, from the native state
    through cultivation. crop-noise, crop-scarcity, crop-transfer: hybrid crop models under noise, with few
    seasons, at unseen places of a known truth; crop-truth: grow that truth of all seeds before; crop-schedules: how
    rates and steps were chosen. crop-fields, crop-fields-noise, crop-fields-scarcity: the same models on measured
    field experiments, at places they did not learn from. Stopped with Ctrl-C, the same command goes on.

    Example: `fieldflux experiment small-samples --data ../shared/data --work work --out experiments`
    """
    from .kgml.cardscores import add_to_card
    from .kgml.experiments import experiment as make
    from .kgml.experiments import weights_given

    of_binn = name.startswith("binn-")
    of_crops = name.startswith("crop-")
    of_fields = name.startswith("crop-fields")
    own = "binn" if of_binn else "crop-fields" if of_fields else "crop-twin" if of_crops else "kgml-ag-carbon"
    chosen = recipe or Path(f"models/recipes/{own}.toml")
    given = weights_given(weights or [])
    with _bar(name) as told:
        if of_binn:
            from .binn.cardscores import add_to_card
            from .binn.experiments import binn_experiment

            made = binn_experiment(name, _given(data), work / name, out, chosen, quick, told)
        elif of_fields:
            from .crop.fieldcard import add_to_card
            from .crop.fieldreport import field_experiment

            made = field_experiment(name, _given(data), work / "crop-fields", out, chosen, crop, quick, told)
        elif of_crops:
            from .crop.experiments import crop_experiment
            from .crop.twincard import add_to_card

            made = crop_experiment(name, work / "crop", out, chosen, quick, told)
        else:
            folder = teaching or work / "teaching"
            made = make(name, _given(data), work, out, chosen, folder, told, workers, quick, given)
    for path in made:
        if path.suffix == ".txt":
            typer.echo(path.read_text())
    _err().print(f"Tables and plots are in [bold]{out}[/].")
    if card is not None:
        _err().print(f"{add_to_card(card, made)} scores are in the card of [bold]{card}[/].")


@app.command()
def evaluate(
    model: ModelArgument,
    data: Data = None,
    out: Annotated[Path, typer.Option(help="Folder for tables (text, JSON, CSV) and plots.")] = Path("evaluation"),
    only: Annotated[
        str,
        typer.Option(
            help="Some of its parts, ',' between: towers, county, soil, yields, responses, distribution; BINN: soils, "
            "processes, effects."
        ),
    ] = "",
    cube: Annotated[Path | None, typer.Option(help="Cube of the county; built from the data if not given.")] = None,
    home: Home = None,
) -> None:
    """Score a model on measurements, beside simple floors; print the table, write tables and plots.

    Your own measurements go into a folder laid out in the same way.

    Example: `fieldflux evaluate agroecosystem --data ../shared/data --out evaluation`
    """
    from fieldflux.tiles.cube import open_cube

    from .evaluate import evaluate as score
    from .evaluate.report import as_text
    from .workspace import registry_of

    parts = [part for part in only.split(",") if part]
    registry = registry_of(_settings(home=home))
    with _bar("evaluating") as told:
        report = score(model, _given(data), out, parts or None, registry, told, open_cube(cube) if cube else None)
    typer.echo(as_text(report))
    _err().print(f"Tables and plots are in [bold]{out}[/].")


def _settings(**given: Any) -> Settings:
    """Settings of the environment, with what the command line gives in their place."""
    return Settings(**{name: value for name, value in given.items() if value is not None})


def _absolute(paths: list[Path] | None) -> tuple[Path, ...] | None:
    return tuple(path.absolute() for path in paths) if paths else None


def _places(given: list[str] | None) -> tuple[Path | str, ...] | None:
    return tuple(one if "://" in one else Path(one).absolute() for one in given) if given else None


def _with_cube(settings: Settings, cube: str) -> tuple[Settings, str]:
    """Settings that hold the cube, where it is given by its path, and its id."""
    if "/" not in cube and not cube.endswith(".zarr"):
        return settings, cube
    path = Path(cube).absolute()
    return settings.model_copy(update={"cubes": (path, *settings.cubes)}), path.name.removesuffix(".zarr")


def _years(text: str) -> tuple[int, ...] | None:
    """Years of "2018-2020" or "2018,2020"; None of nothing."""
    years: list[int] = []
    for part in filter(None, text.replace(" ", "").split(",")):
        first, _, last = part.partition("-")
        if not (first.isdigit() and (last or first).isdigit()):
            raise _refused(f"Years are given as 2018-2020 or 2018,2020; given: {text}.")
        years += range(int(first), int(last or first) + 1)
    return tuple(years) or None


def _tile_at(place: str, zoom: int) -> tuple[int, int, int]:
    """Zoom, x and y of "11/491/760", or of the tile that holds "-93.6,42.0"."""
    from .picture import tile_at

    try:
        if "," in place:
            lon, lat = (float(part) for part in place.split(","))
            return tile_at(lon, lat, zoom)
        z, x, y = (int(part) for part in place.split("/"))
    except ValueError:
        raise _refused(f"A place is zoom/x/y, or longitude,latitude; given: {place}.") from None
    return z, x, y


def _given(data: Path | None) -> Path:
    if data is None:
        raise _refused("Say in which folder the measurements lie: --data, or FIELDFLUX_DATA.")
    if not data.is_dir():
        raise _refused(f"There is no folder {data}. Give the folder of measurements with --data.")
    return data


def _shape(path: Path) -> Any:
    """The GeoJSON of a file, or of standard input where the path is '-'."""
    import json

    text = sys.stdin.read() if str(path) == "-" else _read(path)
    try:
        return json.loads(text)
    except ValueError as error:
        raise _refused(f"{path} is not JSON: {error}.") from None


def _asked(kind: type[Asked], **given: Any) -> Asked:
    """A question of the command line, checked."""
    from .problems import first_wrong

    try:
        return kind(**given)
    except ValidationError as error:
        raise _refused(first_wrong(error)) from None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise _refused(f"{path} cannot be read: {error}.") from None


def _write(content: bytes, output: Path | None) -> None:
    if output is None:
        sys.stdout.buffer.write(content)
        return
    try:
        output.write_bytes(content)
    except OSError as error:
        raise _refused(f"{output} cannot be written: {error.strerror}.") from None


def _refused(sentence: str) -> ValueError:
    from .problems import Refused

    return Refused("invalid-request", sentence)


@contextmanager
def _bar(doing: str) -> Iterator[Callable[[float, str], None]]:
    """A progress bar, told of the fraction done and of what is being done."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=_err(), transient=True) as bar:
        task = bar.add_task(doing, total=1.0)
        yield lambda done, said: bar.update(task, completed=done, description=said)


def _out() -> Console:
    from rich.console import Console

    return Console()


def _err() -> Console:
    from rich.console import Console

    return Console(stderr=True)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
