"""County yields: a model over every county with weather, against USDA yields, beside floors, by the panel's split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fieldflux.models.contract import Forcing, Model, check_inputs
from fieldflux.models.crops import CROPS
from fieldflux.models.scores import member_spread, score
from fieldflux.tiles.measurements import CountyRecord, bearing, county_forcing, read_panel, stack
from fieldflux.tiles.measurements.panel import PANEL_CROPS
from numpy.typing import NDArray

from .report import TRAINED, Cell, Row, Table
from .yieldfloors import DESCRIBED, YieldFloors, YieldTable, floors_of, tabulate
from .yieldsplit import HELD_OUT_YEARS, LONG, TRAINING, UNSEEN, YieldRecipe, YieldSplit, split_yields, trained_years
from .yieldsums import sums_covered, sums_table

Array = NDArray[np.float64]
Told = Callable[[float, str], None]

PARTS = (HELD_OUT_YEARS, UNSEEN, TRAINING)
NOT_TRAINED = "not trained on, training part of the floors"
ALL = "all counties"
UNIT = "t ha-1"
FEWEST = 3
BATCH = 8


@dataclass(frozen=True, slots=True, eq=False)
class YieldPoints:
    """A model's yields on the rows of a table. modelled: [member, n], t ha-1 at market moisture; NaN where not run.

    trained: [n] whether the model was trained on the row, by its card.
    """

    table: YieldTable
    gpp: str
    modelled: Array
    trained: NDArray[np.bool_]
    floors: YieldFloors


@dataclass(frozen=True, slots=True)
class YieldResult:
    """Rows of scores, how to read them, what was left out, and every county and year for plots and tables."""

    rows: tuple[Row, ...]
    skipped: tuple[str, ...]
    notes: tuple[str, ...]
    tables: tuple[Table, ...] = ()
    points: tuple[YieldPoints, ...] = ()


def evaluate_yields(
    model: Model,
    data_dir: Path,
    told: Told,
    recipe: YieldRecipe | None = None,
    panel: Sequence[CountyRecord] | None = None,
) -> YieldResult:
    """Yields of maize and soybean of every county and year, the mean over the cells that bear the crop.

    With the model's own GPP everywhere, and with the satellite's where there is one and the model takes it. The split
    is that of `recipe`; what a model was trained on, by its card, is marked so whatever the split says. panel: read
    from `data_dir` where it is not given. Raises MissingInputs, BadMeasurements, BadSplit.
    """
    told(0.0, "reading counties")
    panel = read_panel(data_dir) if panel is None else panel
    split = split_yields(panel, recipe)
    trained = trained_years(model.card)
    tables = {crop: tabulate(panel, split, crop) for crop in PANEL_CROPS}
    if not any(len(table.year) for table in tables.values()):
        return YieldResult((), ("County yields: no county with daily weather and yields in this folder.",), ())
    floors = {crop: floors_of(panel, split, table) for crop, table in tables.items()}
    given = [r for r in panel if r.gpp is not None] if "gpp_given" in model.needs.optional else []
    points: list[YieldPoints] = []
    for k, (gpp, records) in enumerate((("own", list(panel)), ("given", given))):
        if not records:
            continue
        run = run_panel(model, records, gpp == "given", _within(told, (0.1, 0.8)[k], (0.8, 1.0)[k]))
        for crop, table in tables.items():
            modelled = look_up(run, table, model.members)
            if np.isfinite(modelled).any():
                points.append(YieldPoints(table, gpp, modelled, _trained(trained, table), floors[crop]))
    rows = [row for one in points for row in rows_of(one, panel)]
    return YieldResult(
        tuple(rows),
        _silent(panel),
        _notes(split, panel, tables),
        (*_tables(points, floors, tables), *([sums_table(sums)] if (sums := sums_covered(points, panel)) else [])),
        tuple(points),
    )


def _within(told: Told, first: float, last: float) -> Told:
    return lambda fraction, doing: told(first + (last - first) * fraction, doing)


# --- running ---------------------------------------------------------------------------------------------

Run = Mapping[tuple[str, str, int], Array]


def run_panel(model: Model, panel: Sequence[CountyRecord], given_gpp: bool, told: Told) -> Run:
    """(fips, crop, year) -> [member] yield, t ha-1 at market moisture, of every year of every record.

    A model spins up on the first years of a record and then runs through all of it, so that those years are seen
    twice as weather; their yields are not. Raises MissingInputs.
    """
    batches = _batches(panel)
    found: dict[tuple[str, str, int], Array] = {}
    for k, batch in enumerate(batches):
        told(k / len(batches), f"running {len(batch)} counties, {'given' if given_gpp else 'own'} GPP")
        parts = [county_forcing(record, given_gpp=given_gpp) for record in batch]
        forcing = stack(parts)
        check_inputs(model.card.id, model.needs, forcing.names(), "the panel of counties")
        prediction = model.predict(forcing)
        harvest = np.asarray(prediction.annual["yield"], np.float64)  # [member, cell, year]
        first = np.cumsum([0] + [part.cells for part in parts])
        for record, start, end in zip(batch, first[:-1], first[1:], strict=True):
            found |= _county(record.fips, forcing, harvest, prediction.years, np.arange(start, end))
    return found


def _batches(panel: Sequence[CountyRecord]) -> list[list[CountyRecord]]:
    """Counties of the same years together, few enough that daily outputs stay small."""
    by_years: dict[tuple[int, ...], list[CountyRecord]] = {}
    for record in panel:
        by_years.setdefault(record.years, []).append(record)
    return [group[k : k + BATCH] for group in by_years.values() for k in range(0, len(group), BATCH)]


def _county(
    fips: str, forcing: Forcing, harvest: Array, years: Sequence[int], cells: NDArray[np.int64]
) -> dict[tuple[str, str, int], Array]:
    found = {}
    for i, year in enumerate(years):
        for crop in PANEL_CROPS:
            here = cells[bearing(forcing, crop, year)[cells]]
            found[fips, crop, year] = harvest[:, here, i].mean(axis=1) * CROPS[crop].t_ha(1.0)
    return found


def look_up(run: Run, table: YieldTable, members: int) -> Array:
    """[member, n] a run on the rows of a table; NaN where the county was not run."""
    missing = np.full(members, np.nan)
    rows = [run.get((str(f), table.crop, int(y)), missing) for f, y in zip(table.fips, table.year, strict=True)]
    return np.array(rows, np.float64).reshape(len(rows), members).T


def _trained(trained: Mapping[str, frozenset[int]], table: YieldTable) -> NDArray[np.bool_]:
    return np.array([int(y) in trained.get(str(f), ()) for f, y in zip(table.fips, table.year, strict=True)], bool)


# --- scoring ---------------------------------------------------------------------------------------------


def places(panel: Sequence[CountyRecord]) -> dict[str, frozenset[str]]:
    """Name -> counties that are scored together: all; the short records of each state; each long record."""
    found = {ALL: frozenset(r.fips for r in panel)}
    for record in panel:
        if len(record.years) < LONG:
            name = f"{record.state}, {record.years[0]}-{record.years[-1]}"
        else:
            name = f"{record.name}, {record.state}"
        found[name] = found.get(name, frozenset()) | {record.fips}
    return found


def rows_of(points: YieldPoints, panel: Sequence[CountyRecord]) -> list[Row]:
    """Scores of every part and place, beside the points' floors."""
    table, done = points.table, set()
    rows = []
    run = np.isfinite(points.modelled).all(axis=0)
    for part in PARTS:
        for seen in (False, True):
            within = (table.part == part) & (points.trained == seen) & run
            for place, counties in places(panel).items():
                chosen = within & np.isin(table.fips, list(counties))
                key = (part, seen, chosen.tobytes())
                if chosen.sum() >= FEWEST and key not in done:
                    done.add(key)
                    rows.append(_row(points, chosen, _split_name(part, seen), _place(place, table, chosen, panel)))
    return rows


def _split_name(part: str, seen: bool) -> str:
    if seen:
        return TRAINED if part == TRAINING else f"{TRAINED}, {part} of the floors"
    return NOT_TRAINED if part == TRAINING else part


def _place(place: str, table: YieldTable, chosen: NDArray[np.bool_], panel: Sequence[CountyRecord]) -> str:
    """The narrowest name of the counties that are really among the rows."""
    here = frozenset(table.fips[chosen].tolist())
    fitting = [name for name, counties in places(panel).items() if here <= counties]
    return fitting[-1] if place == ALL else place


def _row(points: YieldPoints, chosen: NDArray[np.bool_], split: str, place: str) -> Row:
    observed = points.table.observed[chosen]
    modelled = points.modelled[:, chosen]
    floors = {name: score(values[chosen], observed) for name, values in points.floors.values.items()}
    return Row(
        part="yields",
        split=split,
        place=place,
        variable="yield",
        unit=UNIT,
        step="year",
        gpp=points.gpp,
        crop=points.table.crop,
        scores=score(modelled.mean(axis=0), observed),
        floors={name: found for name, found in floors.items() if found.n},
        data="USDA NASS county yields",
        spread=member_spread(modelled, observed),
    )


# --- words and tables ------------------------------------------------------------------------------------


def _silent(panel: Sequence[CountyRecord]) -> tuple[str, ...]:
    silent = [r.name for r in panel if not any(np.isfinite(v).any() for v in r.yields.values())]
    return (f"County yields: none reported in the years with weather of {', '.join(silent)}.",) if silent else ()


def _notes(split: YieldSplit, panel: Sequence[CountyRecord], tables: Mapping[str, YieldTable]) -> tuple[str, ...]:
    name = {r.fips: f"{r.name} ({r.fips})" for r in panel}
    reported = {fips for table in tables.values() for fips in table.fips.tolist()}
    held = ", ".join(name[f] for f in sorted(split.counties & reported))
    recipe = split.recipe
    return (
        f"County yields: {len(reported)} counties, t ha-1 at market moisture, the mean over a few soils. Held out: "
        f"{held} in all years (seed {recipe.seed}); of the others the years {_listed(recipe.short_years)} where there "
        f"are less than {LONG} years of weather, else {_listed(recipe.long_years)}. NSE over all counties holds the "
        f"trend of decades and the soils of counties, which the soils given here do not tell apart.",
        *(f"Floor '{floor}' of yields: {text}" for floor, text in DESCRIBED.items()),
    )


def _listed(years: Sequence[int]) -> str:
    return ", ".join(map(str, years))


def _tables(
    points: Sequence[YieldPoints], floors: Mapping[str, YieldFloors], tables: Mapping[str, YieldTable]
) -> tuple[Table, ...]:
    spreads = tuple(
        (crop, part, floor, int((tables[crop].part == part).sum()), spread)
        for crop, found in floors.items()
        for (floor, part), spread in found.spread.items()
    )
    names = list(DESCRIBED)
    lines = tuple(
        _line(p, i, names) for p in points for i in np.flatnonzero(np.isfinite(p.modelled).all(axis=0)).tolist()
    )
    columns = ("fips", "year", "crop", "split", "gpp", "observed", "modelled", "lowest_member", "highest_member")
    return (
        Table(
            "yield_floors_spread",
            "Floors of county yields: standard deviation of RMSE over fits [t ha-1]",
            ("crop", "split", "floor", "n", "spread"),
            spreads,
        ),
        Table(
            "yields_by_county",
            "County yields [t ha-1]",
            (*columns, *(name.replace(" ", "_") for name in names)),
            lines,
            in_text=False,
        ),
    )


def _line(points: YieldPoints, i: int, floors: Sequence[str]) -> tuple[Cell, ...]:
    table, members = points.table, points.modelled[:, i]
    split = _split_name(str(table.part[i]), bool(points.trained[i]))
    known = [points.floors.values.get(name) for name in floors]
    return (
        str(table.fips[i]),
        int(table.year[i]),
        table.crop,
        split,
        points.gpp,
        float(table.observed[i]),
        *(float(value) for value in (members.mean(), members.min(), members.max())),
        *(None if values is None else _known(values[i]) for values in known),
    )


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
