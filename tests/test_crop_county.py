"""County seasons of the served crop model: lessons, forecasts with earlier years' weather, LINTUL5 alone as a floor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fieldflux.app.crop import evaluation
from fieldflux.app.crop.county import county_years, harvest_day, lessons_of
from fieldflux.app.crop.evaluation import CALIBRATED, DEFAULT, WITH_LINE, floors_of_process
from fieldflux.app.crop.forecasting import earlier_years, forecast_rows
from fieldflux.app.crop.forecastscores import COLUMNS, plot_forecasts, to_scores
from fieldflux.app.crop.trainingscores import LeftOut, beside_the_line, two_of
from fieldflux.app.evaluate.report import Table
from fieldflux.models.hybrids.crop.learn import yields_of
from fieldflux.models.hybrids.crop.seasonnet import SeasonNetwork
from fieldflux.models.hybrids.crop.served import MAIZE
from fieldflux.tiles.measurements import CountyRecord

from .small_forcing import MAIZE as CODE
from .small_forcing import small_forcing

YEARS = tuple(range(2010, 2016))


@pytest.fixture(scope="module")
def record() -> CountyRecord:
    forcing = small_forcing([[CODE] * len(YEARS)], YEARS[0])
    weather = {n: np.asarray(v[0], np.float64) for n, v in forcing.daily.items()}
    weather["co2"] = np.full_like(weather["tmin"], 400.0)
    points = {n: np.repeat(np.asarray(v, np.float64), 2) for n, v in forcing.static.items()}
    reported = np.linspace(9.0, 11.0, len(YEARS))
    past = (np.arange(1980, 2010), np.linspace(6.0, 9.0, 30))
    both = {"maize": reported, "soybean": np.full(len(YEARS), np.nan)}
    dates = {name: np.full(len(YEARS), 125.0) for name in both}
    ends = {name: np.full(len(YEARS), 285.0) for name in both}
    history = {"maize": (np.append(past[0], YEARS), np.append(past[1], reported))}
    return CountyRecord(
        "19001", "Made-up", "Iowa", -93.0, YEARS, weather, points, both, history, None, dates, ends, (), ()
    )  # fmt: skip


def test_lessons_are_the_mean_over_a_countys_soils(record: CountyRecord, tmp_path: Path) -> None:
    rows = county_years([record], MAIZE, tmp_path)
    assert [r.year for r in rows] == list(YEARS)
    # the line through earlier reports rises with them
    assert all(8.5 < r.expected < 11.5 for r in rows)
    lessons = lessons_of(MAIZE, rows)
    assert lessons.part.cells == 2 * len(rows)
    with torch.no_grad():
        made, _ = yields_of([SeasonNetwork(MAIZE)], lessons)
        single, _ = yields_of([SeasonNetwork(MAIZE)], lessons.of(torch.tensor([3])))
    assert made.shape == (1, len(rows))
    assert float(single[0, 0]) == pytest.approx(float(made[0, 3]), rel=1e-5)


def test_a_forecast_narrows_to_the_harvest(record: CountyRecord, tmp_path: Path) -> None:
    networks = [SeasonNetwork(MAIZE).eval() for _ in range(2)]
    rows = county_years([record], MAIZE, tmp_path)[3:]
    assert earlier_years(rows[0]) == [2010, 2011, 2012]
    after = [harvest_day(MAIZE, r) + 1 for r in rows]
    early, late = (forecast_rows(MAIZE, networks, rows, cuts) for cuts in ([1] * len(rows), after))
    with torch.no_grad():
        own = yields_of(networks, lessons_of(MAIZE, rows))[0].numpy()
    for i, (before, done) in enumerate(zip(early, late, strict=True)):
        assert before.shape == done.shape == (2, 3 + i)
        assert before.std() > 0.0
        np.testing.assert_allclose(done, np.repeat(own[:, [i]], 3 + i, axis=1), rtol=1e-5)
    two = np.array(two_of(early[0]))
    assert two.mean() == pytest.approx(early[0].mean())
    assert two.std(ddof=1) == pytest.approx(early[0].std(ddof=1))


def test_left_out_years_are_scored_beside_the_line_where_there_is_one(record: CountyRecord, tmp_path: Path) -> None:
    rows = county_years([record], MAIZE, tmp_path)
    rows[0] = replace(rows[0], expected=float("nan"))
    made = np.array([[r.observed + off for r in rows] for off in (0.2, 0.4)])
    parts = [LeftOut(MAIZE, rows[:2], made[:, :2]), LeftOut(MAIZE, rows[2:], made[:, 2:])]
    rmse, _, bias = beside_the_line(parts, 2)
    line = np.sqrt(np.mean([(r.expected - r.observed) ** 2 for r in rows[1:]]))
    assert (rmse.value, bias.value, rmse.n) == (pytest.approx(0.3), pytest.approx(0.3), len(rows) - 1)
    assert rmse.baseline == {"county trend": pytest.approx(line, abs=1e-4)}


def test_lintul5_alone_is_a_floor_that_no_held_out_row_enters(
    record: CountyRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "SEEDS", 1)
    rows = county_years([record], MAIZE, tmp_path)
    training = np.array([r.year < 2014 for r in rows])
    observed, line = (np.array([getattr(r, n) for r in rows]) for n in ("observed", "expected"))
    found = floors_of_process(MAIZE, rows, training, observed, line)
    assert set(found) == {DEFAULT, CALIBRATED, DEFAULT + WITH_LINE, CALIBRATED + WITH_LINE}
    for values in found.values():
        assert np.isnan(values[training]).all()
        assert np.isfinite(values[~training]).all()
    again = floors_of_process(MAIZE, rows, training, np.where(training, observed, 99.0), line)
    for name, values in found.items():
        np.testing.assert_allclose(again[name][~training], values[~training], rtol=1e-5, err_msg=name)
    assert not np.allclose(found[CALIBRATED], found[DEFAULT], equal_nan=True)


def test_forecasts_become_scores_and_a_figure(tmp_path: Path) -> None:
    line = ("maize", "held-out years", "1 July", 12, 1.0, 0.1, 0.5, 1.2, 1.1, 0.9, 3.0, 0.05)
    table = Table("forecasts", "", COLUMNS, (line, (*line[:2], "1 August", *line[3:])))
    rmse, coverage, *_ = to_scores(table)
    assert (rmse.value, rmse.n, rmse.baseline) == (1.0, 12, {"county trend": 1.2, "climatology": 1.1})
    assert coverage.value == 0.9
    assert plot_forecasts(tmp_path, table) == ["forecasts.png"]
    assert (tmp_path / "forecasts.png").stat().st_size > 5_000
