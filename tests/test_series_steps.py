"""Seasons and periods, statistics over cells, and what models flag: by hand, from the store and from cells run now."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest
from fieldflux.tiles.cube import Cube
from fieldflux.tiles.grid import Window
from fieldflux.tiles.run import run
from fieldflux.tiles.series import Series, SeriesRequest, Source, series
from fieldflux.tiles.spatial import UnknownStatistic, statistic
from fieldflux.tiles.steps import Steps
from fieldflux.tiles.store import Store, create_store
from fieldflux.tiles.zonal import Shape, read_shape
from hypothesis import given
from hypothesis import strategies as st

from .serving import square
from .toy_cube import UNKNOWN, build_toy
from .toy_model import ToyModel, card

YEARS = (2019, 2020)
FIELD = (100, 128, 3, 4)
"""First row and column, rows and columns."""


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Cube:
    return build_toy(tmp_path_factory.mktemp("cube") / "toy.zarr", YEARS)


@pytest.fixture(scope="module")
def store(cube: Cube, tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = create_store(tmp_path_factory.mktemp("store") / "toy", ToyModel(), cube)
    assert run(ToyModel(), cube, made).faults == []
    return made


@pytest.fixture(scope="module", params=["store", "now"])
def source(request: pytest.FixtureRequest, cube: Cube, store: Store) -> Source:
    model = ToyModel()
    return Source(cube, card(), store if request.param == "store" else None, lambda: model)


def field(cube: Cube) -> Shape:
    row, col, rows, cols = FIELD
    return read_shape(square(cube, row, col, rows, cols, inset=0.2))


def asked(
    source: Source, variables: tuple[str, ...], step: str, *wanted: str | dict[str, float], **more: date
) -> Series:
    first, last = more.get("first", date(2019, 1, 1)), more.get("last", date(2020, 12, 31))
    cube = source.cube
    assert isinstance(cube, Cube)
    statistics = tuple(statistic(s) for s in wanted)
    return series(
        SeriesRequest(field(cube), first, last, variables, step, statistics=statistics),  # type: ignore[arg-type]
        source,
    )


@given(st.dates(date(1999, 1, 1), date(2030, 12, 31)), st.integers(0, 900))
def test_seasons_hold_every_day_once_in_their_own_months(first: date, more: int) -> None:
    last = date.fromordinal(first.toordinal() + more)
    steps = Steps.of("season", first, last)
    assert steps.lengths.sum() == more + 1
    names = {12: "DJF", 1: "DJF", 2: "DJF", 3: "MAM", 4: "MAM", 5: "MAM", 6: "JJA", 7: "JJA", 8: "JJA"}
    for label, start, length, whole in zip(
        steps.labels(), steps.starts.tolist(), steps.lengths.tolist(), steps.whole.tolist(), strict=True
    ):
        end = date.fromordinal(start.toordinal() + length - 1)
        for day in (start, end):
            year = day.year + (day.month == 12)
            assert label == f"{year}-{names.get(day.month, 'SON')}"
        before, after = (date.fromordinal(d.toordinal() + k) for d, k in ((start, -1), (end, 1)))
        complete = names.get(before.month, "SON") != label[5:] and names.get(after.month, "SON") != label[5:]
        assert whole == complete


def test_seasons_and_the_period_are_sums_of_their_days(source: Source) -> None:
    days, seasons = asked(source, ("nee",), "day"), asked(source, ("nee", "yield"), "season")
    assert seasons.labels()[:3] == ["2019-DJF", "2019-MAM", "2019-JJA"]
    assert seasons.labels()[-1] == "2021-DJF"
    assert seasons.whole.tolist() == [False, *[True] * 7, False]
    assert "partial_steps" in seasons.flags
    values = days.values["nee"].value
    assert seasons.values["nee"].value[1] == pytest.approx(values[59:151].sum(), abs=1e-9)
    winter = values[365 - 31 : 365 + 60].sum()
    assert seasons.values["nee"].value[4] == pytest.approx(winter, abs=1e-9)
    period = asked(source, ("nee",), "period", first=date(2019, 4, 1), last=date(2020, 3, 31))
    assert period.labels() == ["2019-04-01/2020-03-31"]
    assert period.values["nee"].unit == "gC m-2"
    assert period.values["nee"].value[0] == pytest.approx(values[90 : 90 + 366].sum(), abs=1e-9)
    assert period.values["nee"] is period.summary["nee"]
    assert "partial_steps" not in period.flags
    # The interval of the sum is that of summed members: wider than if the errors of days cancelled.
    low, high = period.values["nee"].low, period.values["nee"].high
    assert low is not None
    assert high is not None
    days_low = days.values["nee"].low
    assert days_low is not None
    apart = np.sqrt(np.sum((values - days_low)[90 : 90 + 366] ** 2))
    assert period.values["nee"].value[0] - low[0] > apart


def test_statistics_are_over_the_cells_by_area(source: Source, store: Store) -> None:
    wanted = ("std", "min", "max", "q05", "q50", {"quantile": 0.975})
    cover = asked(source, ("nee",), "day").coverage
    weights = cover.fraction / cover.fraction.sum()
    window = Window(64, 160, 96, 160)
    cells = store.read_days("nee", window, date(2019, 1, 1), date(2020, 12, 31)).astype(np.float64)
    cells = cells[:, cover.rows - window.row0, cover.cols - window.col0]
    by_season = np.stack([cells[a:b].sum(axis=0) for a, b in ((0, 59), (59, 151))])
    for step, of_cells in (("day", cells), ("season", by_season)):
        found = asked(source, ("nee",), step, *wanted).values["nee"].statistics
        assert list(found) == ["std", "min", "max", "q05", "q50", "q97.5"]
        n = len(of_cells)
        mean = of_cells @ weights
        std = np.sqrt(((of_cells - mean[:, None]) ** 2) @ weights)
        assert found["std"][:n] == pytest.approx(std, abs=2e-5)
        assert found["min"][:n] == pytest.approx(of_cells.min(axis=1), abs=2e-5)
        assert found["max"][:n] == pytest.approx(of_cells.max(axis=1), abs=2e-5)
        for name, p in (("q05", 0.05), ("q50", 0.5), ("q97.5", 0.975)):
            for t in (0, n - 1):
                order = np.argsort(of_cells[t])
                reached = np.cumsum(weights[order])
                value = of_cells[t][order][np.searchsorted(reached, p - 1e-9)]
                assert found[name][t] == pytest.approx(value, abs=2e-5)
    annual = asked(source, ("yield",), "year", "min", "max").annual["yield"]
    yields = store.read_year("yield", window, 2019)[cover.rows - window.row0, cover.cols - window.col0]
    assert annual.statistics["max"][0] == pytest.approx(yields.max(), abs=1e-4)
    assert annual.statistics["min"][0] == pytest.approx(yields.min(), abs=1e-4)


def test_what_is_no_statistic_is_told() -> None:
    for wrong in ("median", "q5", "q00", "q100", {"quantile": 0.0}, {"quantile": 1.0}, {"quantil": 0.5}):
        with pytest.raises(UnknownStatistic, match="There is no statistic"):
            statistic(wrong)  # type: ignore[arg-type]


def test_what_the_model_flags_comes_with_its_share(source: Source, cube: Cube) -> None:
    shape = read_shape(square(cube, UNKNOWN[0], UNKNOWN[1], 1, 2, inset=0.0))
    found = series(SeriesRequest(shape, date(2019, 1, 1), date(2020, 12, 31), ("nee",), "month"), source)
    assert found.flagged[2019] == {}
    flagged = found.flagged[2020]
    assert flagged is not None
    assert flagged == {"crop_unknown": pytest.approx(0.5, abs=1e-3)}
    assert "model_flags_not_kept" not in found.flags


def test_a_store_of_before_flags_were_kept_says_so(cube: Cube, tmp_path: Path) -> None:
    old = create_store(tmp_path / "old", ToyModel(), cube)
    run(ToyModel(), cube, old, years=(2019,))
    for file in (tmp_path / "old" / "flags" / "2019").iterdir():
        file.unlink()
    source = Source(cube, card(), old)
    found = series(SeriesRequest(field(cube), date(2019, 1, 1), date(2019, 12, 31), ("nee",), "year"), source)
    assert "model_flags_not_kept" in found.flags
    assert found.flagged == {2019: None}
    assert np.isfinite(found.values["nee"].value).all()
