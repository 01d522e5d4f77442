"""Series of polygons: exact means, identities to the last digit, intervals of aggregates, refusals."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import orjson
import pytest
from fieldflux.models.card import IntervalRule
from fieldflux.models.crops import MAIZE, SOYBEAN
from fieldflux.models.variables import UnknownVariable
from fieldflux.tiles.bounds import Basis, UncalibratedLevel, ends, z
from fieldflux.tiles.cells import run_cells
from fieldflux.tiles.cube import Cube
from fieldflux.tiles.grid import Window
from fieldflux.tiles.run import run
from fieldflux.tiles.series import Series, SeriesRequest, Source, Unanswerable, Values, series
from fieldflux.tiles.store import Store, create_store
from fieldflux.tiles.zonal import BadGeometry, coverage
from shapely.geometry import Polygon, box

from .toy_cube import GRID, UNKNOWN, WINDOW, build_toy
from .toy_model import ToyModel, card

FIELD = [(30.5, 10.25), (36.75, 10.5), (36.25, 14.5), (31.5, 14.0)]
"""Columns and rows from the window's corner."""
YEARS = (2019, 2020)
"""Years asked about; the cube has one more before them."""
FLUXES = ("gpp", "ra", "rh", "reco", "nee")
ALL = (*FLUXES, "et", "soil_moisture", "soc", "yield", "residue", "delta_soc")


def polygon(points: list[tuple[float, float]]) -> Polygon:
    at = np.array(points) + np.array([WINDOW.col0, WINDOW.row0])
    lon, lat = GRID.to_lonlat(GRID.x0 + at[:, 0] * GRID.size, GRID.y0 - at[:, 1] * GRID.size)
    return Polygon(np.column_stack([lon, lat]))


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Cube:
    return build_toy(tmp_path_factory.mktemp("cube") / "toy.zarr", (2018, *YEARS))


@pytest.fixture(scope="module")
def store(cube: Cube, tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = create_store(tmp_path_factory.mktemp("store") / "toy", ToyModel(), cube)
    assert run(ToyModel(), cube, made).faults == []
    return made


@pytest.fixture(scope="module")
def source(cube: Cube, store: Store) -> Source:
    return Source(cube, card(), store, ToyModel)


def ask(
    source: Source,
    variables: tuple[str, ...] = ALL,
    step: str = "day",
    first: date = date(2019, 1, 1),
    last: date = date(2020, 12, 31),
    points: list[tuple[float, float]] = FIELD,
) -> Series:
    return series(SeriesRequest(polygon(points), first, last, variables, step), source)  # type: ignore[arg-type]


def exact(values: np.ndarray) -> list[Decimal | None]:
    """Numbers as they are written in JSON."""
    return [None if v is None else Decimal(repr(v)) for v in orjson.loads(orjson.dumps(values, option=16))]


def test_a_day_is_the_weighted_mean_of_the_stored_cells(source: Source, store: Store, cube: Cube) -> None:
    found = ask(source, ("gpp", "et", "soc"))
    cover = coverage(polygon(FIELD), GRID, cube.window, cube.mask())
    assert cover.cells > 20
    assert found.coverage.effective_cells == pytest.approx(cover.fraction.sum())
    window = Window(70, 125, 100, 150)
    for name, digits in (("gpp", 5), ("et", 5), ("soc", 2)):
        cells = store.read_days(name, window, date(2019, 1, 1), date(2020, 12, 31)).astype(np.float64)
        cells = cells[:, cover.rows - window.row0, cover.cols - window.col0]
        expected = (cells * cover.fraction).sum(axis=1) / cover.fraction.sum()
        values = found.values[name]
        assert values.value == pytest.approx(expected, abs=0.55 * 10.0**-digits, rel=1e-6)
        assert np.all(values.valid_fraction == 1.0)
    assert found.labels()[:2] == ["2019-01-01", "2019-01-02"]
    assert found.labels()[-1] == "2020-12-31"
    assert len(found.labels()) == 731


@pytest.mark.parametrize("step", ["day", "month", "year"])
def test_the_identities_hold_in_every_figure_written_down(source: Source, step: str) -> None:
    found = ask(source, FLUXES, step)
    for values in (found.values, found.summary):
        gpp, ra, rh, reco, nee = (exact(values[n].value) for n in FLUXES)
        assert all(a + b == c for a, b, c in zip(ra, rh, reco, strict=True))  # type: ignore[operator]
        assert all(a - b == c for a, b, c in zip(reco, gpp, nee, strict=True))  # type: ignore[operator]


def test_what_is_asked_beside_it_changes_no_figure(source: Source) -> None:
    alone, beside = ask(source, ("nee",)), ask(source, ALL)
    assert np.array_equal(alone.values["nee"].value, beside.values["nee"].value)


def test_days_add_up_to_months_and_years_exactly(source: Source) -> None:
    days, months, years = (ask(source, ("nee", "soil_moisture", "soc"), s) for s in ("day", "month", "year"))
    of_days = exact(days.values["nee"].value)
    assert sum(of_days[:31]) == exact(months.values["nee"].value)[0]  # type: ignore[arg-type]
    assert sum(exact(months.values["nee"].value)[12:]) == exact(years.values["nee"].value)[1]  # type: ignore[arg-type]
    assert sum(of_days) == exact(days.summary["nee"].value)[0]  # type: ignore[arg-type]
    assert months.labels()[13] == "2020-02"
    assert months.days[13] == 29
    mean = days.values["soil_moisture"].value[:31].mean()
    assert months.values["soil_moisture"].value[0] == pytest.approx(mean, abs=0.51e-5)
    assert years.values["soc"].value[0] == days.values["soc"].value[364]
    assert [s.values["nee"].unit for s in (days, months, years)] == ["gC m-2 d-1", "gC m-2", "gC m-2"]


def test_totals_are_the_mean_times_the_area(source: Source) -> None:
    found = ask(source, ("nee", "et", "soc", "yield"), "year")
    area_m2 = found.coverage.covered_m2
    assert area_m2 == pytest.approx(found.coverage.fraction.sum() * 62_500)
    nee = found.values["nee"]
    assert nee.total_unit == "tC"
    assert nee.total == pytest.approx(nee.value * area_m2 / 1e6, rel=1e-15)
    assert found.annual["yield"].total_unit == "tC yr-1"
    assert found.summary["yield"].unit == "gC m-2"
    assert found.summary["yield"].value[0] == pytest.approx(found.annual["yield"].value.sum())
    assert found.values["et"].total is None
    assert found.values["soc"].total is None


def test_two_halves_of_a_field_add_up_to_it(source: Source) -> None:
    field = polygon([(30, 10), (36, 10), (36, 14), (30, 14)])
    west_end, south, east_end, north = field.bounds
    cut = west_end + 0.4 * (east_end - west_end)
    whole, west, east = (
        series(SeriesRequest(part, date(2019, 1, 1), date(2020, 12, 31), ("nee", "yield"), "year"), source)
        for part in (
            field,
            field.intersection(box(west_end, south, cut, north)),
            field.intersection(box(cut, south, east_end, north)),
        )
    )
    for values in ("values", "annual"):
        for name, of_whole in getattr(whole, values).items():
            parts = getattr(west, values)[name].total + getattr(east, values)[name].total
            assert of_whole.total == pytest.approx(parts, rel=2e-5)


def test_cells_run_now_and_the_store_say_the_same(source: Source, cube: Cube) -> None:
    live = Source(cube, card(), None, ToyModel)
    for step in ("day", "year"):
        stored, computed = ask(source, step=step), ask(live, step=step)
        assert (stored.origin, computed.origin) == ("store", "computed")
        assert computed.computed == YEARS
        for name in (*stored.values, *stored.annual):
            a = {**stored.values, **stored.annual}[name]
            b = {**computed.values, **computed.annual}[name]
            assert np.array_equal(a.value, b.value), name
            assert (a.low is None) == (b.low is None)
            if a.low is not None and b.low is not None:
                assert a.low == pytest.approx(b.low, abs=1e-5)
        assert stored.crops == computed.crops


def test_years_that_the_store_lacks_are_run(cube: Cube, source: Source, tmp_path: Path) -> None:
    part = create_store(tmp_path / "part", ToyModel(), cube)
    run(ToyModel(), cube, part, years=(2018, 2019))
    model = ToyModel()
    both = Source(cube, card(), part, lambda: model)
    found = ask(both)
    assert (found.origin, found.from_store, found.computed) == ("both", (2019,), (2020,))
    assert np.array_equal(found.values["nee"].value, ask(source).values["nee"].value)
    ran = len(model.seen)
    ask(both, step="month")
    assert len(model.seen) == ran, "a second question about the same cells runs nothing"


def test_what_would_take_too_long_to_run_is_refused_with_its_chunks(cube: Cube, tmp_path: Path) -> None:
    empty = create_store(tmp_path / "empty", ToyModel(), cube)

    def never() -> ToyModel:
        raise AssertionError("the model must not be loaded")

    for source in (Source(cube, card(), empty, never, live_cell_years=40), Source(cube, card(), empty, None)):
        with pytest.raises(Unanswerable, match="Not all cells are computed for 2020") as refused:
            ask(source, first=date(2020, 3, 1))
        assert refused.value.code == "not-computed-yet"
        # columns 130 to 136, rows 80 to 84 of the grid; chunks of 8 cells from column 96 and row 64
        assert refused.value.chunks == ((2020, 2, 4), (2020, 2, 5))


def test_members_that_are_all_the_same_give_no_interval() -> None:
    value = np.array([3.0, np.nan, 5.0])
    assert ends(value, np.array([1e-12, np.nan, 0.0]), 100.0, 0.0) is None
    found = ends(value, np.array([0.0, np.nan, 6.0]), 100.0, 0.0)
    assert found is not None
    low, high = found
    assert low[[0, 2]].tolist() == [3.0, 0.0]
    assert high[[0, 2]].tolist() == [3.0, 11.0]


def test_intervals_are_of_the_aggregate_of_each_member(source: Source, cube: Cube) -> None:
    calibrated = replace(source, card=card().model_copy(update={"interval": {"nee": 2.0}}))
    found = ask(calibrated, ("nee", "gpp", "et", "yield"), "year")
    cover = found.coverage
    cells = run_cells(ToyModel(), cube, cover.rows, cover.cols, YEARS)
    share = cover.fraction / cover.fraction.sum()
    sums = np.einsum("mcd,c->md", cells.daily["nee"].astype(np.float64)[:, :, :365], share).sum(axis=1)
    nee = found.values["nee"]
    assert nee.low is not None
    assert nee.high is not None
    half = z(0.9) * 2.0 * np.std(sums, ddof=1)
    assert half > 5
    assert nee.high[0] - nee.value[0] == pytest.approx(half, rel=2e-3)
    assert nee.value[0] - nee.low[0] == pytest.approx(half, rel=2e-3)
    # errors that all days share do not average out
    days = ask(calibrated, ("nee",), "day").values["nee"]
    assert days.high is not None
    assert nee.high[0] - nee.value[0] > np.sqrt(np.sum((days.high - days.value)[:365] ** 2))
    yields = np.einsum("mcy,c->my", cells.annual["yield"].astype(np.float64), share)
    annual = found.annual["yield"]
    assert annual.high is not None
    assert annual.high - annual.value == pytest.approx(z(0.9) * np.std(yields, axis=0, ddof=1), rel=1e-3)
    assert found.values["et"].low is None
    assert {"no_interval_for_some", "interval_not_calibrated"} <= set(found.flags)
    gpp = ask(calibrated, ("gpp",)).values["gpp"]
    assert gpp.low is not None
    assert gpp.low.min() >= 0


def rules(*steps: str, constant: float = 1.0, groups: int = 24) -> dict[str, IntervalRule]:
    """Factors that grow with the step, so that a test sees which rule was taken."""
    factors = {"day": 1.0, "month": 10.0, "year": 100.0}
    return {
        step: IntervalRule(
            floor_constant=constant * factors[step],
            floor_slope=0.0,
            quantiles={0.5: 1.0, 0.8: 1.5, 0.9: 2.0},
            groups=groups,
            n=1000,
            data="made up",
        )
        for step in steps
    }


def half_of(values: Values) -> np.ndarray:
    assert values.high is not None
    return values.high - values.value


def test_each_step_takes_the_rule_that_was_calibrated_for_it(source: Source) -> None:
    kept = {"nee": rules("day", "month", "year"), "gpp": rules("day", "month", "year", constant=1e3)}
    ruled = replace(source, card=card().model_copy(update={"intervals": kept}))
    for step, floor in (("day", 1.0), ("month", 10.0), ("year", 100.0)):
        nee = ask(ruled, ("nee", "gpp"), step).values["nee"]
        plain = half_of(ask(source, ("nee",), step).values["nee"]) / z(0.9)
        # the spread of the aggregate beside the floor of the step
        assert half_of(nee) == pytest.approx(2.0 * np.hypot(plain, floor), rel=1e-3)
        assert nee.low is not None
        assert nee.value - nee.low == pytest.approx(half_of(nee), rel=1e-6)
        assert nee.basis == (Basis("conformal", len(nee.value), step, False, 24, 1000, "made up", True),)
    years = ask(ruled, ("nee", "gpp"), "year")
    gpp = years.values["gpp"]
    assert gpp.low is not None
    assert gpp.low.max() == 0.0, "what is taken up is never negative"
    assert nee.low.min() < 0
    # both years together: as twice their mean, with errors that do not cancel
    together = years.summary["nee"]
    assert half_of(together)[0] == pytest.approx(half_of(nee).sum(), rel=0.05)
    assert [(b.rule, b.scaled) for b in together.basis] == [("year", True)]
    assert "interval_scaled" in years.flags
    assert not {"interval_not_calibrated", "interval_few_groups"} & set(years.flags)


def test_steps_that_are_cut_take_a_shorter_rule_or_none(source: Source) -> None:
    kept = {"nee": rules("day", "month"), "yield": rules("year", groups=5)}
    ruled = replace(source, card=card().model_copy(update={"intervals": kept}))
    found = ask(ruled, ("nee", "gpp", "yield"), "month", date(2019, 11, 15), date(2020, 2, 29))
    nee = found.values["nee"]
    assert [(b.steps, b.rule, b.scaled) for b in nee.basis] == [(1, "day", True), (3, "month", False)]
    assert half_of(nee)[0] >= 16 * 2.0 * 1.0
    assert half_of(nee)[1] < 2.0 * 10.0 * 1.5
    yields = found.annual["yield"]
    assert [(b.rule, b.scaled, b.promised) for b in yields.basis] == [("year", False, False)]
    assert {"interval_few_groups", "interval_not_calibrated", "interval_scaled"} <= set(found.flags)
    assert [b.method for b in found.values["gpp"].basis] == ["spread"]
    # a rule for years says nothing about days
    yearly = replace(source, card=card().model_copy(update={"intervals": {"nee": rules("year")}}))
    assert [b.method for b in ask(yearly, ("nee",), "day").values["nee"].basis] == ["spread"]


def test_the_level_is_one_that_was_calibrated(source: Source) -> None:
    ruled = replace(source, card=card().model_copy(update={"intervals": {"nee": rules("day")}, "interval": {"gpp": 2}}))
    period = (date(2019, 7, 1), date(2019, 7, 31))

    def at(level: float, *variables: str) -> Series:
        return series(SeriesRequest(polygon(FIELD), *period, variables, level=level), ruled)

    narrow, wide = at(0.5, "nee", "gpp"), at(0.8, "nee", "gpp")
    assert half_of(wide.values["nee"]) == pytest.approx(1.5 * half_of(narrow.values["nee"]), rel=1e-3)
    assert half_of(wide.values["gpp"]) == pytest.approx(z(0.8) / z(0.5) * half_of(narrow.values["gpp"]), rel=1e-2)
    assert [b.method for b in wide.values["gpp"].basis] == ["factor"]
    assert half_of(at(0.95, "gpp").values["gpp"]).max() > 0
    with pytest.raises(UncalibratedLevel, match=r"'nee' can be had at the levels 0\.5, 0\.8 and 0\.9, given: 0\.95"):
        at(0.95, "gpp", "nee")
    with pytest.raises(UncalibratedLevel, match=r"'gpp' .* 0\.5, 0\.8, 0\.9 and 0\.95, given: 0\.7") as refused:
        at(0.7, "gpp")
    assert refused.value.members == {"allowed": [0.5, 0.8, 0.9, 0.95]}
    assert refused.value.code == "unknown-level"


def test_a_single_member_has_no_interval(cube: Cube) -> None:
    alone = Source(cube, card(1), None, lambda: ToyModel(members=1))
    found = ask(alone, ("nee", "yield"), "year")
    assert found.values["nee"].low is None
    assert found.annual["yield"].high is None
    assert "no_uncertainty" in found.flags


def test_a_cell_without_values_is_left_out_and_told(source: Source) -> None:
    row, col = UNKNOWN[0] - WINDOW.row0, UNKNOWN[1] - WINDOW.col0
    pair = [(col, row), (col + 2, row), (col + 2, row + 1), (col, row + 1)]
    half = ask(source, ("nee", "yield"), "year", points=pair, first=date(2018, 1, 1))
    assert half.values["nee"].valid_fraction == pytest.approx([1.0, 1.0, 0.5], abs=1e-3)
    assert half.annual["yield"].valid_fraction == pytest.approx([1.0, 1.0, 0.5], abs=1e-3)
    assert "partly_valid" in half.flags
    total = half.values["nee"].total
    assert total is not None
    assert total[2] == pytest.approx(half.values["nee"].value[2] * 62_500 / 1e6, rel=2e-3)

    shrunk = [(col + 0.1, row + 0.1), (col + 0.9, row + 0.1), (col + 0.9, row + 0.9), (col + 0.1, row + 0.9)]
    none = ask(source, ("nee", "yield"), "month", points=shrunk, first=date(2019, 12, 1))
    assert not np.isnan(none.values["nee"].value[0])
    assert np.isnan(none.values["nee"].value[1:]).all()
    assert np.isnan(none.annual["yield"].value).tolist() == [False, True]
    assert np.isnan(none.summary["nee"].value).all()
    assert {"missing_days", "smaller_than_cell"} <= set(none.flags)
    assert orjson.dumps(none.values["nee"].value[1:3], option=orjson.OPT_SERIALIZE_NUMPY) == b"[null,null]"


def test_cut_months_and_years_are_told(source: Source) -> None:
    found = ask(source, ("nee", "yield"), "month", date(2019, 11, 15), date(2020, 2, 29))
    assert found.labels() == ["2019-11", "2019-12", "2020-01", "2020-02"]
    assert found.days.tolist() == [16, 31, 31, 29]
    assert found.whole.tolist() == [False, True, True, True]
    assert found.starts[0] == np.datetime64("2019-11-15")
    assert {"partial_steps", "year_beyond_dates"} <= set(found.flags)
    whole = ask(source, ("nee", "yield"), "month")
    assert not {"partial_steps", "year_beyond_dates"} & set(whole.flags)
    assert np.array_equal(found.annual["yield"].value, whole.annual["yield"].value)
    one = ask(source, ("nee",), "day", date(2020, 2, 29), date(2020, 2, 29))
    assert one.values["nee"].value[0] == ask(source, ("nee",)).values["nee"].value[365 + 59]


def test_crops_and_their_market_yields(source: Source) -> None:
    found = ask(source, ("yield",), "year")
    of_2019 = [c for c in found.crops if c.year == 2019]
    assert sum(c.fraction for c in of_2019) == pytest.approx(1, abs=1e-5)
    assert {c.name for c in of_2019} == {"maize", "soybean"}
    carbon = sum(c.fraction * c.yield_carbon for c in of_2019)  # type: ignore[operator]
    assert carbon == pytest.approx(found.annual["yield"].value[0], rel=1e-4)
    for share in of_2019:
        crop = MAIZE if share.code == 1 else SOYBEAN
        assert share.yield_carbon is not None
        assert share.t_ha == pytest.approx(crop.t_ha(share.yield_carbon), rel=1e-4)
        assert share.bu_ac == pytest.approx(crop.bu_ac(share.yield_carbon), rel=1e-4)
    assert ask(source, ("nee",)).crops[0].yield_carbon is None


def test_a_large_polygon_is_read_in_squares(source: Source, monkeypatch: pytest.MonkeyPatch, cube: Cube) -> None:
    from fieldflux.tiles import sums

    points = [(2.5, 2.5), (48.5, 4.0), (44.0, 52.0), (8.0, 50.5)]
    whole = ask(source, points=points)
    monkeypatch.setattr(sums, "SIDE", 16)
    assert (
        sum(1 for _ in sums.parts_of_store(source.store, whole.coverage, 2019, date(2019, 1, 1), date(2019, 12, 31)))
        > 8
    )  # type: ignore[arg-type]
    squares = ask(Source(cube, card(), source.store), points=points)
    for name in whole.values:
        assert squares.values[name].value == pytest.approx(
            whole.values[name].value, abs=1.1e-5 if name != "soc" else 0.011
        )


def refusal(source: Source, **asked: object) -> Unanswerable:
    with pytest.raises(Unanswerable) as refused:
        ask(source, **asked)  # type: ignore[arg-type]
    assert str(refused.value).endswith(".")
    return refused.value


def test_what_cannot_be_answered(source: Source) -> None:
    reversed_days = refusal(source, first=date(2020, 1, 2), last=date(2020, 1, 1))
    assert (reversed_days.code, "before the first" in str(reversed_days)) == ("invalid-dates", True)
    outside = refusal(source, last=date(2021, 1, 1))
    assert outside.members == {"allowed": ["2018-01-01", "2020-12-31"]}
    assert refusal(source, variables=("le",)).code == "unknown-variable"
    assert refusal(source, variables=()).code == "unknown-variable"
    large = refusal(replace(source, cell_days=1000))
    assert (large.code, large.members["allowed"]) == ("over-limit", 1000)
    with pytest.raises(UnknownVariable):
        ask(source, ("npp",))
    with pytest.raises(BadGeometry):
        ask(source, points=[(-500, 0), (-490, 0), (-490, 10)])
