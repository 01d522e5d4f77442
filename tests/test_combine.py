"""The sum over many fields: what adds up, what is counted once, and how wide its interval may be."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import httpx
import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pytest
import xarray as xr
from fieldflux.app.cli import app
from fieldflux.app.client import Client
from fieldflux.app.openapi.shapes import SHAPES
from fieldflux.app.settings import Jobs
from fieldflux.models.card import Between, Card, IntervalRule
from fieldflux.models.correlation import (
    LEAST_YEARS,
    Pairs,
    common,
    coverage_of_sums,
    fit_between,
    independent,
    over_places,
    with_between,
)
from fieldflux.models.intervals import Residuals, fit_rule
from fieldflux.tiles.combine import combined, counted_once
from fieldflux.tiles.cube import open_cube
from fieldflux.tiles.many import many_series
from fieldflux.tiles.series import Series, SeriesRequest, Source, Values
from fieldflux.tiles.shape import Shape, read_shape
from fieldflux.tiles.store import open_store
from fieldflux.tiles.zonal import geodesic_area_ha
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from shapely.geometry import Polygon, mapping
from typer.testing import CliRunner

from .serving import Json, serving, settings_of, toy_home, toy_registry
from .toy_cube import GRID, WINDOW

YEARS = (date(2019, 1, 1), date(2020, 12, 31))
FAR = Between(from_km=(1.5, 4.0), correlation=(0.6, 0.2), measured=(0.5, 0.1), pairs=(90, 80), years=(12, 11),
              levels=(0.9,), data="made-up counties")  # fmt: skip


def rule(between: Between | None = None) -> IntervalRule:
    return IntervalRule(floor_constant=20.0, floor_slope=0.1, quantiles={0.8: 1.5, 0.9: 2.0}, groups=20, n=400,
                        between=between)  # fmt: skip


RULES = {"gpp": {"year": rule()}, "nee": {"year": rule(FAR)}, "yield": {"year": rule(FAR)}}
"""gpp: calibrated, not measured between places; nee, yield: measured; reco: the members' spread."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_home(tmp_path_factory.mktemp("home"), years=(2019, 2020))


@pytest.fixture(scope="module")
def source(home: Path) -> Source:
    (path,) = (home / "stores").glob("*/*.zarr")
    model = toy_registry(home / "checkpoints").toy
    card = model.card.model_copy(update={"intervals": RULES})
    return Source(open_cube(home / "cubes" / "toy.zarr"), card, open_store(path), lambda: model)


def on_grid(x: float, y: float, wide: float, high: float) -> Shape:
    """A square of the toy cube, by columns and rows from its corner."""
    at = np.array([(x, y), (x + wide, y), (x + wide, y + high), (x, y + high)]) + np.array([WINDOW.col0, WINDOW.row0])
    lon, lat = GRID.to_lonlat(GRID.x0 + at[:, 0] * GRID.size, GRID.y0 - at[:, 1] * GRID.size)
    return read_shape(Polygon(np.column_stack([lon, lat])))


def asked(
    shapes: Sequence[Shape], source: Source, step: str = "year", level: float = 0.9, first: date = YEARS[0]
) -> list[Series]:
    names = ("gpp", "nee", "reco", "yield")
    request = SeriesRequest(None, first, YEARS[1], names, step, level=level)  # type: ignore[arg-type]
    found = many_series(shapes, request, source)
    assert all(isinstance(one, Series) for one in found)
    return [one for one in found if isinstance(one, Series)]


def places(shapes: Sequence[Shape]) -> np.ndarray:
    return np.array([shape.geometry.centroid.coords[0] for shape in shapes])


def parts_of(found: Series) -> list[Values]:
    return [*found.values.values(), *found.annual.values(), *found.summary.values()]


def widths(v: Values) -> np.ndarray:
    """Half the width, times the area."""
    assert v.low is not None
    assert v.high is not None
    return (v.high - v.low) / 2 * v.valid_fraction


corners = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=6, unique=True
)  # of squares of 6 x 6 cells, in each of which a field may lie


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(corners, st.sampled_from(["month", "year", "period"]), st.randoms())
def test_a_sum_is_that_of_its_parts_in_any_order_and_as_sure_as_their_errors_allow(
    source: Source, at: list[tuple[int, int]], step: str, random: object
) -> None:
    shapes = [on_grid(6 * i + 5.3, 6 * j + 10.4, 2.0 + (i % 3), 1.5 + (j % 3)) for i, j in at]
    found = asked(shapes, source, step)
    whole, hows = combined(found, places(shapes), source.card)
    covered = np.array([one.coverage.covered_m2 for one in found])
    assert whole.coverage.covered_m2 == pytest.approx(covered.sum())
    assert whole.coverage.fraction.sum() == pytest.approx(whole.coverage.effective_cells)
    calibrated = {"gpp": "common", "nee": "measured", "reco": "members", "yield": "measured"}
    by_spread = {"gpp": "members", "nee": "members", "reco": "members", "yield": "measured"}
    assert {name: how.how for name, how in hows.steps.items()} == (by_spread if step == "month" else calibrated)
    assert {name: how.how for name, how in hows.period.items()} == calibrated
    for k, v in enumerate(parts_of(whole)):
        each = [parts_of(one)[k] for one in found]
        amounts = np.array([c * e.valid_fraction * np.nan_to_num(e.value) for c, e in zip(covered, each, strict=True)])
        assert v.value * v.valid_fraction * covered.sum() == pytest.approx(amounts.sum(axis=0), rel=1e-7, abs=1e-3)
        if v.total is not None:
            assert v.total == pytest.approx(np.sum([np.nan_to_num(e.total) for e in each], axis=0), rel=1e-12)
            assert v.total == pytest.approx(v.value * v.valid_fraction * covered.sum() / 1e6, rel=1e-7, abs=1e-9)
        arms = np.array([c * widths(e) for c, e in zip(covered, each, strict=True)])
        least, most = over_places(arms, places(shapes), independent), over_places(arms, places(shapes), common)
        assert most == pytest.approx(arms.sum(axis=0))
        half = widths(v) * covered.sum()
        tolerance = 1e-6 * (1 + most)
        assert (least - tolerance <= half).all()
        assert (half <= most + tolerance).all()
    order = list(range(len(shapes)))
    random.shuffle(order)  # type: ignore[attr-defined]
    other, _ = combined([found[i] for i in order], places(shapes)[order], source.card)
    for v, w in zip(parts_of(whole), parts_of(other), strict=True):
        for name in ("value", "low", "high", "total", "total_low", "total_high"):
            one, two = getattr(v, name), getattr(w, name)
            assert (one is None) == (two is None)
            assert one is None or one == pytest.approx(two, rel=1e-9, abs=2e-9)
    assert [(c.year, c.code) for c in whole.crops] == [(c.year, c.code) for c in other.crops]
    for year in whole.years:
        assert sum(c.fraction for c in whole.crops if c.year == year) == pytest.approx(1.0, abs=1e-4)


def test_one_field_alone_is_itself_and_nearly_so_beside_a_speck(source: Source) -> None:
    shapes = [on_grid(10.2, 12.1, 4.0, 3.0), on_grid(30.2, 12.1, 0.01, 0.01)]
    found = asked(shapes, source)
    alone, hows = combined(found[:1], places(shapes[:1]), source.card)
    assert alone is found[0]
    assert set(hows.steps) == set(hows.period) == {"gpp", "nee", "reco", "yield"}
    both, _ = combined(found, places(shapes), source.card)
    for v, one in zip(parts_of(both), parts_of(found[0]), strict=True):
        assert v.value == pytest.approx(one.value, rel=1e-3, abs=1e-2)
        assert widths(v) == pytest.approx(widths(one), rel=1e-2, abs=1e-2)


def test_a_field_without_a_value_adds_land_and_no_error(source: Source) -> None:
    shapes = [on_grid(10.2, 12.1, 4.0, 3.0), on_grid(20.1, 20.1, 0.8, 0.8), on_grid(30.2, 12.1, 2.0, 3.0)]
    found = asked(shapes, source, first=date(2020, 1, 1))
    assert np.isnan(found[1].values["nee"].value).all()  # its crop is none that the model knows
    whole, _ = combined(found, places(shapes), source.card)
    others, _ = combined([found[0], found[2]], places([shapes[0], shapes[2]]), source.card)
    for v, w in zip(parts_of(whole), parts_of(others), strict=True):
        for name in ("value", "low", "high", "total", "total_low", "total_high"):
            assert (getattr(v, name) is None) == (getattr(w, name) is None)
            assert getattr(v, name) is None or getattr(v, name) == pytest.approx(getattr(w, name))
        assert (v.valid_fraction < 1).all()
        assert (w.valid_fraction == 1).all()
    nothing, _ = combined([found[1], found[1]], places([shapes[1], shapes[1]]), source.card)
    for name in ("gpp", "reco"):
        assert np.isnan(nothing.values[name].value).all()
        assert np.isnan(nothing.values[name].total).all()  # type: ignore[arg-type]


def test_an_interval_says_on_what_it_rests_and_is_careful_at_levels_that_did_not_hold(source: Source) -> None:
    shapes = [on_grid(4.2, 12.1, 4.0, 3.0), on_grid(40.2, 12.1, 4.0, 3.0)]
    found = asked(shapes, source)
    whole, hows = combined(found, places(shapes), source.card)
    narrow, common_ones = combined(asked(shapes, source, level=0.8), places(shapes), source.card)
    assert "made-up counties" in hows.steps["nee"].sentence()
    assert "0.20 from 4 km on (80 pairs of 11 years)" in hows.steps["nee"].sentence()
    assert common_ones.steps["nee"].how == "common"
    assert "careful" in common_ones.steps["nee"].sentence()
    covered = np.array([one.coverage.covered_m2 for one in found])
    arms = np.array([c * widths(e.annual["yield"]) for c, e in zip(covered, found, strict=True)])
    # 9 km apart: a fifth of the error in common
    expected = np.sqrt((arms**2).sum(axis=0) + 2 * 0.2 * arms[0] * arms[1])
    assert widths(whole.annual["yield"]) * covered.sum() == pytest.approx(expected, rel=1e-4)
    assert narrow.annual["yield"].low is not None


def test_land_under_several_outlines_is_counted_once(source: Source) -> None:
    one, other = on_grid(10.0, 10.0, 4.0, 4.0), on_grid(12.0, 10.0, 4.0, 4.0)
    beside, inside = on_grid(6.0, 10.0, 4.0, 4.0), on_grid(10.5, 11.0, 1.0, 1.0)
    once = counted_once([one, other, beside, inside])
    assert once[0] is one
    assert once[2] is beside
    assert once[3] is None
    assert once[1] is not None
    assert geodesic_area_ha(once[1].geometry) == pytest.approx(geodesic_area_ha(other.geometry) / 2, rel=1e-3)
    left = [shape for shape in once if shape is not None]
    whole, _ = combined(asked(left, source), places(left), source.card)
    (union,) = asked([on_grid(6.0, 10.0, 10.0, 4.0)], source)
    gpp, nee = (np.asarray(union.values[name].total) for name in ("gpp", "nee"))
    assert whole.values["gpp"].total == pytest.approx(gpp, rel=1e-4)
    assert whole.values["nee"].total == pytest.approx(nee, abs=1e-4 * float(gpp.max()))
    assert whole.coverage.covered_m2 == pytest.approx(union.coverage.covered_m2, rel=1e-4)


# --- how alike errors are ---------------------------------------------------------------------------------


def made_up(years: int, counties: int, shared: float, seed: int = 0) -> Pairs:
    """Errors of which `shared` is the same all over in a year; 40 km and more apart."""
    rng = np.random.default_rng(seed)
    at = np.column_stack([-95.0 + 0.5 * np.arange(counties), np.full(counties, 42.0)])
    year, place = np.repeat(np.arange(years), counties), np.tile(np.arange(counties), years)
    error = np.sqrt(shared) * rng.normal(0, 30, years)[year] + np.sqrt(1 - shared) * rng.normal(0, 30, year.size)
    members = 400 + rng.normal(0, 5, (3, year.size))
    residuals = Residuals(year.astype(str), members.mean(axis=0) + error, members)
    return Pairs(residuals, year, np.full(year.size, "maize"), at[place])


@pytest.mark.parametrize("shared", [0.0, 0.4, 0.8])
def test_what_errors_have_in_common_is_found_again_and_taken_with_care(shared: float) -> None:
    pairs = made_up(200, 6, shared)
    found = fit_between(pairs, fit_rule(pairs.residuals), (0.0, 100.0))
    assert found is not None
    assert found.years == (200, 200)
    assert sum(found.pairs) == 200 * 15
    assert found.measured == pytest.approx((shared, shared), abs=0.1)
    assert all(taken >= measured for taken, measured in zip(found.correlation, found.measured, strict=True))
    assert found.correlation[0] >= found.correlation[1]
    assert (
        found.at(np.array([0.0, 99.0, 100.0, 5000.0])).tolist()
        == [found.correlation[0]] * 2 + [found.correlation[1]] * 2
    )


def test_few_years_are_no_evidence_and_what_is_nearer_than_any_pair_errs_together() -> None:
    few = made_up(LEAST_YEARS - 1, 12, 0.2)
    rule_of_few, covered = with_between(few, fit_rule(few.residuals), (0.0,), "x")
    assert rule_of_few.between is None
    assert all(c.measured == c.common for c in covered)
    enough = made_up(20, 3, 0.2)
    found = fit_between(enough, fit_rule(enough.residuals), (0.0, 60.0))
    assert found is not None
    apart = fit_between(enough, fit_rule(enough.residuals), (30.0, 60.0))
    assert apart is not None
    assert apart.at(np.array([10.0])).tolist() == [1.0]
    with pytest.raises(ValidationError, match="do not rise"):
        Between(from_km=(1, 2), correlation=(0.1, 0.2), measured=(0, 0), pairs=(1, 1), years=(9, 9))
    with pytest.raises(ValueError, match="places"):
        Pairs(few.residuals, few.years, few.kinds, few.places[:3])


def test_sums_of_left_out_years_lie_inside_as_often_as_they_should() -> None:
    pairs = made_up(60, 8, 0.3, seed=4)
    (found,) = coverage_of_sums(pairs, (0.9,), (0.0,))
    assert (found.years, found.sums, found.pairs) == (60, 60, 480)
    assert found.independent < 0.8 < 0.87 <= found.measured <= found.common
    assert 0.4 < found.width < 0.95


def test_shipped_cards_say_how_alike_their_errors_are() -> None:
    from fieldflux.models.registry import Registry

    cards: list[Card] = Registry().cards()
    rules = {(c.id, name, step): r for c in cards for name, of in c.intervals.items() for step, r in of.items()}
    measured = {key for key, r in rules.items() if r.between is not None}
    assert measured == {("hybrid-crop/1", "yield", "year")}
    for key in measured:
        between = rules[key].between
        assert between is not None
        assert min(between.years) >= LEAST_YEARS
        assert between.data


# --- as it is asked for -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[httpx.Client]:
    with serving(settings_of(home, jobs=Jobs(workers=1, batch=2, nice=0)), toy_registry(home / "checkpoints")) as found:
        yield found


def feature(shape: Shape, name: str) -> Json:
    return {"type": "Feature", "id": name, "properties": {}, "geometry": mapping(shape.geometry)}


FAR_AWAY: Json = {"type": "Feature", "id": "far", "properties": {}, "geometry": {
    "type": "Polygon", "coordinates": [[[10, 50], [10.01, 50], [10.01, 50.01], [10, 50]]]}}  # fmt: skip


def test_a_sum_is_one_more_entry_in_every_format(client: httpx.Client) -> None:
    land = [on_grid(10, 10, 4, 4), on_grid(12, 10, 4, 4), on_grid(30, 10, 3, 3)]
    features = [feature(shape, name) for shape, name in zip(land, "abc", strict=True)]
    body = {"features": [*features, FAR_AWAY], "years": [2020], "step": "year", "variables": ["nee", "yield"]}
    plain = client.post("/v1/series", json=body).json()
    assert "combined" not in plain
    body |= {"combine": True, "units": {"nee": "tCO2e ha-1"}}
    reply = client.post("/v1/series", json=body)
    found = reply.json()
    components = {"components": {"schemas": SHAPES}}
    jsonschema.validate(found, {**SHAPES["ManySeries"], **components})
    assert (found["counts"], len(found["features"])) == ({"OK": 3, "PARTIAL": 0, "FAILED": 1}, 4)
    one = found["combined"]
    assert (one["status"], one["counted"], one["not_counted"]) == ("PARTIAL", 3, [3])
    assert one["overlap_ha"] == pytest.approx(50.0, rel=1e-2)
    assert one["area_ha"] == pytest.approx(
        sum(f["area_ha"] for f in found["features"][:3]) - one["overlap_ha"], abs=1e-3
    )
    assert one["errors_together"]["steps"]["nee"]["how"] == "members"
    total, mean = one["totals"]["nee"], one["values"]["nee"][0]
    assert total["value"][0] == pytest.approx(mean * one["covered_ha"] * one["valid_fraction"]["nee"][0], rel=1e-5)
    assert total["low"][0] < total["value"][0] < total["high"][0]
    assert sum(crop["fraction"] for crop in one["crops"]) == pytest.approx(1.0, abs=1e-4)

    def asked_as(f: str) -> bytes:
        made = client.post("/v1/series", json=body, params={"f": f})
        assert made.status_code == 200, made.text
        return made.content

    text = asked_as("csv").decode().splitlines()
    comments, rows = ([line for line in text if line.startswith("#") == known] for known in (True, False))
    (row,) = [r for r in csv.DictReader(rows) if r["id"] == "combined"]
    assert float(row["nee_total (tCO2e)"]) == pytest.approx(total["value"][0], abs=1e-6)
    assert any("combined: sum of 3 features, not of 3;" in line for line in comments)
    assert any("summed over the fields first" in line for line in comments)
    about, *lines = (json.loads(line) for line in asked_as("ndjson").splitlines())
    assert [line["id"] for line in lines] == ["a", "b", "c", "far", "combined"]
    assert about["about"]["features"][-1]["overlap_ha"] == one["overlap_ha"]
    table = pq.read_table(io.BytesIO(asked_as("parquet"))).to_pylist()
    assert table[-1]["nee_total"] == pytest.approx(total["value"][0], abs=1e-6)
    assert json.loads(asked_as("geojson"))["fieldflux:about"]["combined"]["totals"] == one["totals"]
    assert json.loads(asked_as("covjson"))["fieldflux:about"]["features"][-1]["summary"] == one["summary"]
    with xr.open_dataset(io.BytesIO(asked_as("netcdf")), engine="h5netcdf") as data:
        assert data.sizes["station"] == 3
        assert json.loads(data.attrs["fieldflux"])["features"][-1]["summary"] == one["summary"]


def test_a_sum_of_nothing_is_none_and_that_of_one_polygon_is_it(client: httpx.Client) -> None:
    body = {"years": [2020], "step": "month", "variables": ["nee"], "combine": True}
    nothing = client.post("/v1/series", json={"features": [FAR_AWAY], **body}).json()
    assert (nothing["status"], nothing["combined"]) == ("FAILED", None)
    field = on_grid(20.3, 30.1, 3, 2)
    found = client.post("/v1/series", json={"features": [feature(field, "a")], **body}).json()
    for name in ("values", "totals", "intervals", "summary", "area_ha", "crops"):
        assert found["combined"][name] == found["features"][0][name]
    alone = client.post("/v1/series", json={"geometry": mapping(field.geometry), **body})
    assert alone.status_code == 200
    assert alone.json()["totals"] == found["combined"]["totals"]


def test_a_job_a_client_and_the_command_line_give_the_same_sum(
    client: httpx.Client, home: Path, tmp_path: Path
) -> None:
    land = [on_grid(10 + 1.5 * k, 10.2, 3, 2 + k % 3) for k in range(5)]  # each over its neighbours
    features = [feature(shape, f"f{k}") for k, shape in enumerate(land)]
    asked_for = {"years": [2019, 2020], "variables": ["nee", "gpp"], "step": "month", "combine": True}
    want = client.post("/v1/series", json={"features": [*features, FAR_AWAY], **asked_for}).json()["combined"]
    assert want["overlap_ha"] > 40
    flux = Client(str(client.base_url))
    job = flux.wait(flux.submit([*features, FAR_AWAY], **asked_for))
    assert job.state == "done"
    found = flux.results(job)
    assert found.shared["combined"] == want
    assert len(found.features) == 6
    whole = json.loads(client.get(f"/v1/jobs/{job.id}/results.json").content)
    assert whole["combined"] == want
    assert [f["index"] for f in whole["features"]] == list(range(6))
    rows = pq.read_table(io.BytesIO(client.get(f"/v1/jobs/{job.id}/results.parquet").content)).to_pylist()
    assert [r["nee_total"] for r in rows if r["id"] == "combined"] == want["totals"]["nee"]["value"]
    one = flux.series([shape.geometry for shape in land], **asked_for).combined  # type: ignore[arg-type]
    assert one is not None
    frame = one.to_pandas()
    assert frame["nee_total_high"].tolist() == want["totals"]["nee"]["high"]
    assert one.shared["not_counted"] == []
    assert "synthetic_inputs" in one.notes
    with pytest.raises(ValueError, match="Send a job"):
        flux.series([shape.geometry for shape in land] * 21, **asked_for)  # type: ignore[arg-type]
    (tmp_path / "land.json").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    said = CliRunner().invoke(
        app,
        ["series", str(tmp_path / "land.json"), "--years", "2019,2020", "--variables", "nee,gpp", "--step", "month",
         "--combine", "--format", "json", "--home", str(home), "--cube", "toy", "--model", "toy"],
    )  # fmt: skip
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)["combined"]["totals"] == want["totals"]
