"""Many polygons at once: the answers of one by one, none lost, parts that add up to the whole."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import httpx
import numpy as np
import pytest
from fieldflux.tiles.cube import Cube
from fieldflux.tiles.many import many_series
from fieldflux.tiles.series import Series, SeriesRequest, Source, series
from fieldflux.tiles.store import open_store
from fieldflux.tiles.zonal import BadGeometry, read_shape
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shapely.geometry import LineString, Polygon
from shapely.ops import split as cut

from .serving import Json, serving, settings_of, square, toy_registry
from .toy_cube import GRID, HOLE, UNKNOWN, WINDOW
from .toy_model import ToyModel, card
from .toy_world import cube, home

__all__ = ["cube", "home"]

YEAR = (date(2020, 1, 1), date(2020, 12, 31))


@pytest.fixture(scope="module")
def source(home: Path, cube: Cube) -> Source:
    (path,) = (home / "stores").glob("*/*.zarr")
    model = toy_registry(home / "checkpoints").toy
    return Source(cube, model.card, open_store(path), lambda: model)


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[httpx.Client]:
    with serving(settings_of(home), toy_registry(home / "checkpoints")) as found:
        yield found


def on_grid(points: list[tuple[float, float]]) -> Polygon:
    """Columns and rows from the window's corner."""
    at = np.array(points) + np.array([WINDOW.col0, WINDOW.row0])
    lon, lat = GRID.to_lonlat(GRID.x0 + at[:, 0] * GRID.size, GRID.y0 - at[:, 1] * GRID.size)
    return Polygon(np.column_stack([lon, lat]))


def feature(geometry: Json | None, name: str | int | None = None) -> Json:
    return {"type": "Feature", "properties": {}, "geometry": geometry} | ({} if name is None else {"id": name})


@pytest.mark.parametrize("step", ["day", "season"])
def test_company_changes_no_answer(source: Source, step: str) -> None:
    rng = np.random.default_rng(3)
    shapes = []
    for _ in range(25):
        x, y = rng.uniform(5, 40, 2)
        w, h = rng.uniform(0.3, 7, 2)
        shapes.append(read_shape(on_grid([(x, y), (x + w, y + 0.2), (x + w - 0.1, y + h), (x, y + h)])))
    shapes.append(shapes[0])
    request = SeriesRequest(None, *YEAR, ("nee", "gpp", "et", "yield"), step)  # type: ignore[arg-type]
    together = many_series(shapes, request, source)
    alone_source = Source(source.cube, source.card, source.store, source.model)
    assert len(together) == len(shapes)
    for shape, found in zip(shapes, together, strict=True):
        alone = series(SeriesRequest(shape, *YEAR, request.variables, request.step), alone_source)
        assert isinstance(found, Series)
        assert found.coverage.fraction.tolist() == alone.coverage.fraction.tolist()
        for name in ("nee", "gpp", "et"):
            a, b = found.values[name], alone.values[name]
            # sums in another order may fall to the other side of a rounding
            assert a.value == pytest.approx(b.value, abs=1.01e-5 * found.days.max())
            assert a.valid_fraction == pytest.approx(b.valid_fraction, abs=1e-12)
            if b.low is not None:
                assert a.low == pytest.approx(b.low, abs=1e-3)
        assert np.array_equal(found.annual["yield"].value, alone.annual["yield"].value)
        assert found.flags == alone.flags
        assert found.crops == alone.crops


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_totals_of_parts_add_up_to_the_total_of_the_whole(source: Source, data: st.DataObject) -> None:
    n = data.draw(st.integers(3, 7))
    angles = np.sort(np.array(data.draw(st.lists(st.floats(0, 6.28), min_size=n, max_size=n, unique=True))))
    radii = data.draw(st.lists(st.floats(2.0, 11.0), min_size=n, max_size=n))
    middle = (25.0 + data.draw(st.floats(-8, 8)), 28.0 + data.draw(st.floats(-8, 8)))
    corners = [(middle[0] + r * np.cos(a), middle[1] + r * np.sin(a)) for a, r in zip(angles, radii, strict=True)]
    field = on_grid(corners)
    if not field.is_valid or field.area < 1e-6:
        return
    west, south, east, north = field.bounds
    parts = [field]
    for _ in range(data.draw(st.integers(1, 3))):
        a, b = (data.draw(st.floats(0.1, 0.9)) for _ in range(2))
        line = LineString([(west + a * (east - west), south - 0.1), (west + b * (east - west), north + 0.1)])
        parts = [piece for part in parts for piece in cut(part, line).geoms]
    # An edge between two corners is drawn on the plane of degrees: parts of it are the same line.
    request = SeriesRequest(None, *YEAR, ("nee", "gpp"), "year")
    whole, *found = many_series([read_shape(p) for p in (field, *parts)], request, source)
    assert isinstance(whole, Series)
    answered = [f for f in found if isinstance(f, Series)]
    assert len(answered) == len(found)
    areas = sum(f.coverage.covered_m2 for f in answered)
    # An edge is projected in pieces, which fall elsewhere once it is cut: 0.1 mm along it, at most 1 mm on 250 m.
    edge = GRID.size * Polygon(corners).length
    assert areas == pytest.approx(whole.coverage.covered_m2, rel=2e-6, abs=1e-4 * edge)
    gpp = whole.values["gpp"].total
    assert gpp is not None
    for name, parts_of_it in (("gpp", 1), ("nee", 3)):
        total = whole.values[name].total
        assert total is not None
        # The rounding that is stated: each day's mean of gpp, ra and rh to 1e-5 gC m-2, on the land of whole and parts.
        allowed = 366 * 2 * parts_of_it * 0.5e-5 * whole.coverage.covered_m2 / 1e6 + 4e-6 * float(gpp[0])
        parts_total = sum(float(np.nansum(f.values[name].total)) for f in answered)  # type: ignore[arg-type]
        assert parts_total == pytest.approx(float(total[0]), abs=allowed)


def test_one_bad_feature_does_not_spoil_the_others(client: httpx.Client, cube: Cube) -> None:
    bow = {"type": "Polygon", "coordinates": [[[-93, 42], [-92, 43], [-92, 42], [-93, 43], [-93, 42]]]}
    far = {"type": "Polygon", "coordinates": [[[10, 50], [10.01, 50], [10.01, 50.01], [10, 50]]]}
    good = square(cube, 100, 130, 2, 2)
    edge = square(cube, 80, 102, 1, 4)
    hole = square(cube, HOLE.row1 - 1, 102, 2, 1)
    unknown = square(cube, UNKNOWN[0], UNKNOWN[1], 1, 2)
    features = [
        feature(good, "a"),
        feature(bow, "bow"),
        feature(edge, 7),
        feature(None),
        feature(far),
        feature(hole, "hole"),
        feature(unknown, "half"),
        feature(good, "again"),
    ]
    collection = {"type": "FeatureCollection", "features": features}
    body = {"variables": ["nee", "yield"], "years": [2020], "step": "month"}
    reply = client.post("/v1/series", json={"features": collection, **body})
    assert reply.status_code == 200, reply.text
    found = reply.json()
    told = found["features"]
    assert [f["id"] for f in told] == ["a", "bow", 7, None, None, "hole", "half", "again"]
    assert [f["index"] for f in told] == list(range(8))
    failed = ["OK", "FAILED", "OK", "FAILED", "FAILED", "PARTIAL", "PARTIAL", "OK"]
    assert [f["status"] for f in told] == failed
    assert found["status"] == "PARTIAL"
    assert found["counts"] == {"OK": 3, "PARTIAL": 2, "FAILED": 3}
    assert [f["problem"]["code"] for f in told if "problem" in f] == [
        "invalid-geometry",
        "invalid-geometry",
        "outside-cube",
    ]
    assert "crosses" in told[1]["problem"]["detail"]
    assert told[0]["values"] == told[7]["values"]
    one = client.post("/v1/series", json={"geometry": good, **body}).json()
    assert told[0]["values"] == one["values"]
    assert told[0]["totals"] == one["totals"]
    assert told[0]["years"] == one["years"]
    assert found["units"] == one["units"]
    assert found["weights_sha256"] == one["weights_sha256"]
    assert "partly_valid" in told[6]["flags"]
    assert set(told[6]["flags"]) <= set(found["notes"])
    listed = client.post("/v1/series", json={"features": features[:1], **body}).json()
    assert listed["status"] == "OK"
    nothing = client.post("/v1/series", json={"features": [feature(bow)], **body}).json()
    assert nothing["status"] == "FAILED"


def test_too_many_features_and_what_is_wrong_for_all_are_refused(client: httpx.Client, cube: Cube) -> None:
    good = feature(square(cube, 100, 130))
    many = client.post("/v1/series", json={"features": [good] * 101, "years": [2020]})
    assert many.status_code == 413
    assert (many.json()["limit"], many.json()["allowed"]) == ("series_features", 100)
    for body, code in (
        ({"features": [good], "variables": ["npp"]}, 404),
        ({"features": [good], "geometry": good}, 422),
        ({"years": [2020]}, 422),
        ({"features": {"type": "Feature"}}, 422),
        ({"features": [good], "units": {"nee": "furlong"}}, 422),
    ):
        reply = client.post("/v1/series", json=body)
        assert reply.status_code == code, reply.text
        assert reply.headers["content-type"] == "application/problem+json"


def test_fields_that_nobody_registered_fail_by_themselves(client: httpx.Client) -> None:
    reply = client.post("/v1/series", json={"fields": ["fld_nobody"], "years": [2020]})
    assert reply.status_code == 200, reply.text
    (told,) = reply.json()["features"]
    assert (told["status"], told["id"], told["problem"]["code"]) == ("FAILED", "fld_nobody", "unknown-field")


def test_registered_fields_are_answered_by_their_ids(client: httpx.Client, cube: Cube) -> None:
    outline = square(cube, 100, 130, 2, 3)
    made = client.post("/v1/fields", json=feature(outline) | {"properties": {}})
    assert made.status_code in (200, 201), made.text
    name = made.json()["features"][0]["id"]
    body = {"years": [2020], "step": "year", "variables": ["nee"]}
    found = client.post("/v1/series", json={"fields": [name, "fld_nobody"], **body}).json()
    assert [f["status"] for f in found["features"]] == ["OK", "FAILED"]
    one = client.post("/v1/series", json={"geometry": outline, **body}).json()
    assert found["features"][0]["values"] == one["values"]


def test_features_that_the_store_lacks_are_run_until_the_budget_is_spent(cube: Cube) -> None:
    model = ToyModel()
    shapes = [read_shape(on_grid([(20 + 2 * k, 20), (21 + 2 * k, 20), (21 + 2 * k, 21)])) for k in range(4)]
    request = SeriesRequest(None, *YEAR, ("nee",), "year")
    found = many_series(shapes, request, Source(cube, card(), None, lambda: model, live_cell_years=4))
    assert [isinstance(f, Series) for f in found] == [True, True, False, False]
    assert not isinstance(found[3], Series | BadGeometry)
    assert found[3].code == "not-computed-yet"
