"""The HTTP API over a real server: answers, caching, headers, background work, documentation."""

from __future__ import annotations

import concurrent.futures
import io
import json
import shutil
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import httpx
import numpy as np
import pytest
from fieldflux.app.settings import Settings
from fieldflux.app.workspace import Workspace
from fieldflux.models.variables import VARIABLES
from fieldflux.tiles.cube import Cube
from fieldflux.tiles.grid import Window
from fieldflux.tiles.store import Store
from PIL import Image

from .serving import Json, serving, settings_of, square, toy_home, toy_registry

FIELD = (100, 130)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def workspace(home: Path) -> Workspace:
    return Workspace(settings_of(home), toy_registry(home / "checkpoints"))


@pytest.fixture(scope="module")
def cube(workspace: Workspace) -> Cube:
    return workspace.cube()


@pytest.fixture(scope="module")
def store(workspace: Workspace) -> Store:
    found = workspace.store(workspace.place())
    assert found is not None
    return found


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[httpx.Client]:
    with serving(settings_of(home), toy_registry(home / "checkpoints")) as found:
        yield found


def series(client: httpx.Client, geometry: Json, **more: object) -> Json:
    reply = client.post("/v1/series", json={"geometry": geometry, **more})
    assert reply.status_code == 200, reply.text
    found: Json = reply.json()
    return found


# Series


def test_a_field_of_one_cell_is_that_cell(client: httpx.Client, cube: Cube, store: Store) -> None:
    row, col = FIELD
    found = series(client, square(cube, row, col), first="2020-02-28", last="2020-03-02", variables=["gpp", "et"])
    assert found["time"] == ["2020-02-28", "2020-02-29", "2020-03-01", "2020-03-02"]
    window = Window(row, row + 1, col, col + 1)
    for name in ("gpp", "et"):
        stored = store.read_days(name, window, date(2020, 2, 28), date(2020, 3, 2))[:, 0, 0]
        assert found["values"][name] == pytest.approx(stored.tolist(), abs=1e-5)
    assert found["units"] == {"gpp": "gC m-2 d-1", "et": "mm d-1"}
    assert found["cell_count"] == 1
    assert found["effective_cells"] == pytest.approx(1.0, abs=1e-3)
    assert found["area_ha"] == pytest.approx(6.25, rel=0.01)
    assert found["coverage"] == 1.0
    assert found["origin"] == "store"
    assert found["model"] == "toy/1"
    assert found["cube_hash"] == cube.hash
    assert found["weights_sha256"] == store.weights_sha256
    assert found["snapshot"] == store.snapshot
    assert found["synthetic"] is True
    assert "Made in code" in found["statement"]
    assert len(found["notes"]) == len(found["flags"])
    assert "synthetic_inputs" in found["flags"]


def test_identities_hold_in_the_text_of_the_answer(client: httpx.Client, cube: Cube) -> None:
    found = series(client, square(cube, *FIELD, 3, 4), years=[2019], variables=["gpp", "ra", "rh", "reco", "nee"])
    v = {name: np.rint(np.array(column) * 1e5).astype(np.int64) for name, column in found["values"].items()}
    assert len(v["gpp"]) == 365
    assert (v["reco"] == v["ra"] + v["rh"]).all()
    assert (v["nee"] == v["reco"] - v["gpp"]).all()


def test_years_are_sums_of_days_and_carry_yields_and_crops(client: httpx.Client, cube: Cube) -> None:
    where = square(cube, *FIELD, 2, 2)
    days = series(client, where, years=[2019, 2020], variables=["nee"])
    years = series(client, where, years=[2019, 2020], variables=["nee", "yield", "delta_soc"], step="year")
    assert years["time"] == ["2019", "2020"]
    assert years["units"] == {"nee": "gC m-2", "yield": "gC m-2 yr-1", "delta_soc": "gC m-2 yr-1"}
    by_year = [sum(days["values"]["nee"][:365]), sum(days["values"]["nee"][365:])]
    assert years["values"]["nee"] == pytest.approx(by_year, abs=1e-6)
    assert years["days"] == [365, 366]
    soil = [-n - y for n, y in zip(years["values"]["nee"], years["values"]["yield"], strict=True)]
    assert years["values"]["delta_soc"] == pytest.approx(soil, abs=0.6)
    crops = [c for c in years["crops"] if c["year"] == 2020]
    assert sum(c["fraction"] for c in crops) == pytest.approx(1.0)
    assert {c["name"] for c in crops} <= {"maize", "soybean"}
    assert crops[0]["yield"]["bu ac-1"] > 0
    assert years["totals"]["yield"]["unit"] == "tC yr-1"
    assert years["totals"]["yield"]["value"][0] == pytest.approx(years["values"]["yield"][0] * 4 * 0.0625, rel=1e-3)


def test_intervals_hold_the_value_and_are_of_the_members(client: httpx.Client, cube: Cube) -> None:
    found = series(client, square(cube, *FIELD, 2, 2), years=[2019], variables=["gpp"], step="month")
    low, high = found["intervals"]["gpp"]["low"], found["intervals"]["gpp"]["high"]
    assert found["interval_level"] == 0.9
    assert len(low) == 12
    assert all(a <= v <= b for a, v, b in zip(low, found["values"]["gpp"], high, strict=True))
    assert high[6] > low[6]
    asked = {"years": [2019], "variables": ["gpp"], "step": "month", "intervals": False}
    without = series(client, square(cube, *FIELD, 2, 2), **asked)
    assert without["values"] == found["values"]
    assert without["intervals"].get("gpp") is None


def test_a_field_that_the_store_lacks_is_computed_and_equals_the_store(
    cube: Cube, client: httpx.Client, tmp_path: Path
) -> None:
    where, ask = square(cube, *FIELD, 2, 3), {"years": [2020, 2021], "variables": ["gpp", "nee", "soc"]}
    stored = series(client, where, **ask)
    bare = toy_home(tmp_path, run_years=())
    with serving(settings_of(bare), toy_registry(bare / "checkpoints")) as other:
        found = series(other, where, **ask)
        again = series(other, where, **ask)
    assert found["origin"] == "computed"
    assert found["snapshot"] is None
    assert found["computed_years"] == [2020, 2021]
    assert found["values"] == stored["values"]
    assert again["values"] == stored["values"]


def test_a_region_that_must_be_computed_is_queued_and_comes(cube: Cube, tmp_path: Path) -> None:
    bare = toy_home(tmp_path, run_years=())
    ask = {"geometry": square(cube, 80, 110, 16, 16), "years": [2019], "variables": ["gpp"], "step": "year"}
    with serving(settings_of(bare, limits={"live_cell_years": 100}), toy_registry(bare / "checkpoints")) as client:
        refused = client.post("/v1/series", json=ask)
        assert refused.status_code == 503
        assert refused.json()["type"] == "/problems/not-computed-yet"
        assert int(refused.headers["Retry-After"]) > 0
        until = time.monotonic() + 60
        while (reply := client.post("/v1/series", json=ask)).status_code == 503 and time.monotonic() < until:
            time.sleep(0.3)
        assert reply.status_code == 200
        assert reply.json()["origin"] == "store"


def test_many_of_the_same_question_at_once_get_the_same_answer(cube: Cube, tmp_path: Path) -> None:
    bare = toy_home(tmp_path, run_years=())
    registry = toy_registry(bare / "checkpoints")
    ask = {"geometry": square(cube, *FIELD, 12, 12), "years": [2019], "variables": ["gpp"]}
    with serving(settings_of(bare), registry) as client, concurrent.futures.ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(lambda _: client.post("/v1/series", json=ask), range(6)))
    assert {r.status_code for r in replies} == {200}
    assert len({r.content for r in replies}) == 1
    # One year, computed once for all six; the server's warm-up runs one cell of its own.
    runs = [cells for cells in registry.toy.seen if cells > 1]
    assert len(runs) == 1
    assert len(registry.toy.seen) <= 2


def test_features_and_collections_of_one_are_taken(client: httpx.Client, cube: Cube) -> None:
    where = square(cube, *FIELD)
    feature = {"type": "Feature", "properties": {"name": "mine"}, "geometry": where}
    plain = series(client, where, years=[2019], step="year")
    assert series(client, feature, years=[2019], step="year") == plain
    assert series(client, {"type": "FeatureCollection", "features": [feature]}, years=[2019], step="year") == plain


def test_a_cell_of_an_unknown_crop_is_null_and_flagged(client: httpx.Client, cube: Cube) -> None:
    found = series(client, square(cube, 90, 120), years=[2020], variables=["gpp"], step="year")
    assert found["values"]["gpp"] == [None]
    assert "missing_days" in found["flags"]


def test_a_store_that_is_taken_away_is_not_missed(cube: Cube, tmp_path: Path) -> None:
    other = toy_home(tmp_path, run_years=(2019,))
    ask = {"years": [2019], "variables": ["gpp"], "step": "year"}
    with serving(settings_of(other), toy_registry(other / "checkpoints")) as client:
        before = series(client, square(cube, *FIELD), **ask)
        shutil.rmtree(other / "stores")
        after = series(client, square(cube, *FIELD), **ask)
    assert (before["origin"], after["origin"]) == ("store", "computed")
    assert after["values"] == before["values"]


# Tiles


def tile_of(lon: float, lat: float, z: int) -> tuple[int, int]:
    side = 2**z
    y = (1 - np.arcsinh(np.tan(np.radians(lat))) / np.pi) / 2
    return int((lon + 180) / 360 * side), int(y * side)


def middle(cube: Cube) -> tuple[float, float]:
    west, south, east, north = cube.bounds_lonlat()
    return (west + east) / 2, (south + north) / 2


@pytest.fixture(scope="module")
def address(cube: Cube) -> str:
    x, y = tile_of(*middle(cube), 11)
    return f"11/{x}/{y}"


@pytest.mark.parametrize("format", ["png", "webp"])
def test_a_tile_is_a_picture_with_a_tag(client: httpx.Client, address: str, format: str) -> None:
    reply = client.get(f"/v1/tiles/gpp/2020-07-15/{address}.{format}")
    assert reply.status_code == 200
    assert reply.headers["content-type"] == f"image/{format}"
    assert "X-Fieldflux-Missing" not in reply.headers
    picture = np.asarray(Image.open(io.BytesIO(reply.content)).convert("RGBA"))
    assert picture.shape == (256, 256, 4)
    assert 0.02 < (picture[..., 3] > 0).mean() < 1.0
    again = client.get(reply.request.url, headers={"If-None-Match": reply.headers["ETag"]})
    assert again.status_code == 304
    assert again.content == b""
    assert again.headers["ETag"] == reply.headers["ETag"]


def test_a_tile_of_a_snapshot_may_be_kept_for_ever_and_others_are_asked_for(
    client: httpx.Client, address: str, store: Store
) -> None:
    plain = client.get(f"/v1/tiles/nee/2020/{address}.png")
    assert plain.headers["Cache-Control"] == "public, no-cache"
    told = client.get("/v1/tiles/nee/tilejson.json", params={"when": "2020"}).json()
    z, x, y = address.split("/")
    url = told["tiles"][0].replace("{z}", z).replace("{x}", x).replace("{y}", y)
    kept = client.get(url)
    assert kept.content == plain.content
    assert "immutable" in kept.headers["Cache-Control"]
    old = client.get(f"/v1/tiles/nee/2020/{address}.png", params={"v": "0123"})
    assert "immutable" not in old.headers["Cache-Control"]
    assert told["snapshot"] == store.snapshot


def test_colours_of_a_tile_are_those_of_the_legend(client: httpx.Client, address: str) -> None:
    legend = client.get("/v1/legend/gpp.json").json()
    assert legend["unit"] == "gC m-2 d-1"
    first, last = legend["stops"][0], legend["stops"][-1]
    assert [first["value"], last["value"]] == list(VARIABLES["gpp"].shown)
    narrow = client.get(f"/v1/tiles/gpp/2020-07-15/{address}.png", params={"range": "-100,-50"})
    colours = np.asarray(Image.open(io.BytesIO(narrow.content)).convert("RGBA"))
    drawn = colours[colours[..., 3] > 0][:, :3]
    # Everything lies above the range: all of it has the last colour.
    assert {tuple(c) for c in drawn} == {tuple(int(last["color"][i : i + 2], 16) for i in (1, 3, 5))}


def test_missing_chunks_are_told_queued_and_then_drawn(address: str, tmp_path: Path) -> None:
    bare = toy_home(tmp_path, run_years=(2019,))
    with serving(settings_of(bare), toy_registry(bare / "checkpoints")) as client:
        before = client.get(f"/v1/tiles/gpp/2020-07-15/{address}.png")
        assert before.status_code == 200
        assert int(before.headers["X-Fieldflux-Missing"]) > 0
        assert before.headers["Cache-Control"] == "no-store"
        until = time.monotonic() + 60
        while time.monotonic() < until:
            now = client.get(f"/v1/tiles/gpp/2020-07-15/{address}.png")
            if "X-Fieldflux-Missing" not in now.headers:
                break
            time.sleep(0.3)
        assert "X-Fieldflux-Missing" not in now.headers
        assert now.headers["ETag"] != before.headers["ETag"]
        assert now.content != before.content
        assert client.get("/v1/status").json()["queue"]["done"] > 0


def test_a_tile_elsewhere_is_empty_and_one_off_the_matrix_is_refused(client: httpx.Client) -> None:
    elsewhere = client.get("/v1/tiles/gpp/2020-07-15/11/1023/700.png")
    assert elsewhere.status_code == 200
    assert not np.asarray(Image.open(io.BytesIO(elsewhere.content)).convert("RGBA"))[..., 3].any()
    off = client.get("/v1/tiles/gpp/2020-07-15/3/9/1.png")
    assert off.status_code == 404
    assert off.json()["type"] == "/problems/invalid-tile"


def test_tilejson_tells_a_map_all_that_it_needs(client: httpx.Client, cube: Cube) -> None:
    told = client.get("/v1/tiles/nee/tilejson.json").json()
    assert told["tilejson"] == "3.0.0"
    assert told["bounds"] == pytest.approx(list(cube.bounds_lonlat()))
    assert told["time"]["first"] == "2019-01-01"
    assert told["time"]["years"] == [2019, 2020, 2021]
    assert "/{time}/{z}/{x}/{y}.png" in told["tiles"][0]
    assert told["legend"]["diverging"] is True
    assert told["legend"]["stops"][0]["value"] == -told["legend"]["stops"][-1]["value"]
    assert told["synthetic"] is True
    assert cube.statement in told["attribution"]


# Catalogue


def test_the_catalogue_is_the_vocabulary_the_cards_and_the_cubes(client: httpx.Client, cube: Cube) -> None:
    variables = {v["name"]: v for v in client.get("/v1/variables").json()["variables"]}
    assert set(variables) == set(VARIABLES)
    assert variables["nee"]["unit"] == VARIABLES["nee"].unit
    assert variables["nee"]["units"]["year"] == "gC m-2"
    assert variables["gpp"]["served"] is True
    assert variables["lai"]["served"] is False
    models = client.get("/v1/models").json()
    assert models["default"] == "toy/1"
    assert client.get(models["models"][0]["card"]).json()["members"] == 2
    cubes = client.get("/v1/cubes").json()
    assert cubes["default"] == "toy"
    assert cubes["cubes"][0]["years"] == [2019, 2020, 2021]
    assert cubes["cubes"][0]["inputs"] == cube.available()
    assert {c["code"] for c in cubes["cubes"][0]["crops"]} == {1, 5, 24}
    limits = client.get("/v1/limits").json()
    assert limits["vertices"] == Settings().limits.vertices
    assert set(limits["descriptions"]) == set(limits) - {"descriptions"}


def test_the_catalogue_is_not_sent_twice(client: httpx.Client) -> None:
    for path in ("/v1/variables", "/v1/models", "/v1/cubes", "/v1/limits", "/v1/legend/nee.json"):
        first = client.get(path)
        again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
        assert again.status_code == 304, path


# Manners


def test_health_and_version(client: httpx.Client) -> None:
    assert client.get("/livez").json() == {"status": "alive"}
    ready = client.get("/readyz")
    assert ready.status_code == 200
    checks = ready.json()["checks"]
    assert {check["what"] for check in checks} == {"model", "cube", "store", "database", "jobs"}
    assert all(check["ok"] for check in checks)
    assert client.get("/version").json()["fieldflux"]
    status = client.get("/v1/status").json()
    assert status["state"] == "ready"
    assert status["busy"] is False


def test_every_answer_has_an_id_and_its_timings(client: httpx.Client, cube: Cube) -> None:
    reply = client.post("/v1/series", json={"geometry": square(cube, *FIELD), "years": [2019]})
    assert "series;dur=" in reply.headers["Server-Timing"]
    assert "total;dur=" in reply.headers["Server-Timing"]
    assert len(reply.headers["X-Request-Id"]) == 16
    given = client.get("/livez", headers={"X-Request-Id": "mine-1"})
    assert given.headers["X-Request-Id"] == "mine-1"
    unfit = client.get("/livez", headers={"X-Request-Id": "a b\tc" * 40})
    assert unfit.headers["X-Request-Id"] != "a b\tc" * 40


def test_json_is_compressed_where_asked_for_and_pictures_are_not(client: httpx.Client, address: str) -> None:
    zipped = client.get("/v1/variables", headers={"Accept-Encoding": "gzip"})
    plain = client.get("/v1/variables", headers={"Accept-Encoding": "identity"})
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert zipped.json() == plain.json()
    assert int(zipped.headers["Content-Length"]) < len(plain.content) / 3
    assert "Accept-Encoding" in plain.headers["Vary"]
    tile = client.get(f"/v1/tiles/gpp/2020-07-15/{address}.png", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in tile.headers


def test_only_listed_origins_may_call_from_a_browser(home: Path, client: httpx.Client) -> None:
    asked = {"Origin": "https://farm.example"}
    assert "Access-Control-Allow-Origin" not in client.get("/v1/limits", headers=asked).headers
    open_to = settings_of(home, cors=("https://farm.example",))
    with serving(open_to, toy_registry(home / "checkpoints")) as other:
        reply = other.get("/v1/limits", headers=asked)
        assert reply.headers["Access-Control-Allow-Origin"] == "https://farm.example"
        assert "ETag" in reply.headers["Access-Control-Expose-Headers"]
        stranger = other.get("/v1/limits", headers={"Origin": "https://other.example"})
        assert "Access-Control-Allow-Origin" not in stranger.headers


# Pages


def test_the_documentation_needs_no_other_host(client: httpx.Client) -> None:
    page = client.get("/docs").text
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    for name in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert client.get(f"/docs/{name}").status_code == 200
        assert f"docs/{name}" in page


def test_the_examples_of_the_documentation_work(client: httpx.Client, cube: Cube) -> None:
    described = client.get("/openapi.json").json()
    examples = described["components"]["schemas"]["Ask"]["examples"]
    assert len(examples) >= 2
    for example in examples:
        # They are of the demo landscape; here the toy cube stands for it.
        field = square(cube, *FIELD)
        many = {"features": [{"type": "Feature", "geometry": field}]}
        body = {**example, **({"geometry": field} if "geometry" in example else many)}
        body |= {"years": [2019]} if "years" in body else {"first": "2019-01-01", "last": "2020-12-31"}
        assert client.post("/v1/series", json=body).status_code == 200
    assert {"/v1/series", "/v1/tiles/{name}/{when}/{z}/{x}/{y}.{format}", "/readyz"} <= set(described["paths"])
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            assert operation.get("summary"), (path, method)


def test_problems_are_explained_where_their_type_points(client: httpx.Client) -> None:
    problem = client.get("/v1/models/nobody/1").json()
    page = client.get(problem["type"])
    assert page.status_code == 200
    assert problem["title"] in page.text


def test_the_map_is_served_or_its_absence_explained(client: httpx.Client) -> None:
    reply = client.get("/")
    assert reply.headers["content-type"].startswith("text/html")
    if reply.status_code == 503:
        assert "make web" in reply.text
    else:
        assert reply.status_code == 200
        assert client.get("/", headers={"If-None-Match": reply.headers["ETag"]}).status_code == 304


def test_files_outside_the_map_are_not_served(client: httpx.Client) -> None:
    for path in ("/../pyproject.toml", "/..%2f..%2fpyproject.toml", "/%2e%2e/%2e%2e/server.py", "/docs/..%2fcore.py"):
        reply = client.get(path)
        assert reply.status_code in (404, 503), path
        assert b"fieldflux.app" not in reply.content


def test_answers_are_json_that_others_can_read(client: httpx.Client, cube: Cube) -> None:
    reply = client.post("/v1/series", json={"geometry": square(cube, 90, 120), "years": [2020], "variables": ["gpp"]})

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    found = json.loads(reply.content, parse_constant=refuse)
    assert None in found["values"]["gpp"]
