"""Carbon statements over HTTP and on the command line: signed, the same again, never changed, no evidence."""

from __future__ import annotations

import asyncio
import base64
import csv
import hashlib
import io
import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import httpx
import numpy as np
import pytest
import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from fieldflux.app.cli import app
from fieldflux.app.client import AsyncClient, Client
from fieldflux.app.settings import Limits, Settings
from fieldflux.models.registry import Registry
from fieldflux.tiles.cube import Cube, open_cube
from typer.testing import CliRunner

from .serving import Json, serving, settings_of, square, toy_home, toy_registry
from .test_soil_served import build

TILLED: Json = {"years": 10, "baseline": {"tillage": "high"}, "project": {"tillage": "none"}}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("statements")
    build(found / "cubes" / "soils.zarr")
    return found


@pytest.fixture(scope="module")
def cube(home: Path) -> Cube:
    return open_cube(home / "cubes" / "soils.zarr")


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[httpx.Client]:
    """With the shipped soil-carbon model, over a small cube of synthetic inputs."""
    with serving(Settings(home=home, demo=False, model="binn-soil-carbon"), Registry()) as found:
        yield found


@pytest.fixture(scope="module")
def two(cube: Cube) -> list[Json]:
    shapes = [square(cube, 4161, 9985 + 3 * i, 2, 2) for i in range(2)]
    return [{"type": "Feature", "id": name, "geometry": g} for name, g in zip(("north", "south"), shapes, strict=True)]


@pytest.fixture(scope="module")
def made(client: httpx.Client, two: list[Json]) -> Json:
    return make(client, features=two, scenario=TILLED)


def make(client: httpx.Client, **body: object) -> Json:
    reply = client.post("/v1/statements", json=body)
    assert reply.status_code == 201, reply.text
    assert reply.headers["location"] == f"/v1/statements/{reply.json()['id']}"
    found: Json = reply.json()
    return found


def refused(client: httpx.Client, status: int, code: str, **body: object) -> Json:
    reply = client.post("/v1/statements", json=body)
    assert reply.status_code == status, reply.text
    assert reply.json()["type"] == f"/problems/{code}"
    found: Json = reply.json()
    return found


def test_anyone_can_check_the_signature(client: httpx.Client, made: Json) -> None:
    """Without this project's code: canonical JSON, a detached JWS, and the public key."""
    sent = client.get(f"/v1/statements/{made['id']}")
    assert sent.content == rfc8785.dumps(made)
    (key,) = client.get("/.well-known/jwks.json").json()["keys"]
    header, empty, signature = made["signature"]["jws"].split(".")
    assert empty == ""
    assert json.loads(decoded(header)) == {"alg": "Ed25519", "kid": key["kid"]}
    content = rfc8785.dumps({k: v for k, v in made.items() if k != "signature"})
    assert hashlib.sha256(content).hexdigest() == made["signature"]["sha256"]
    public = Ed25519PublicKey.from_public_bytes(decoded(key["x"]))
    said = f"{header}.{base64.urlsafe_b64encode(content).decode().rstrip('=')}".encode()
    public.verify(decoded(signature), said)
    with pytest.raises(InvalidSignature):
        public.verify(decoded(signature), said + b"A")
    assert "d" not in key
    thumb = {name: key[name] for name in ("crv", "kty", "x")}
    digest = hashlib.sha256(json.dumps(thumb, sort_keys=True, separators=(",", ":")).encode()).digest()
    assert base64.urlsafe_b64encode(digest).decode().rstrip("=") == key["kid"]


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_the_numbers_are_those_of_the_scenarios(client: httpx.Client, made: Json, two: list[Json]) -> None:
    for feature, field in zip(two, made["fields"], strict=True):
        assert field["id"] == feature["id"]
        changes = []
        for tillage in ("high", "none"):
            asked = {"geometry": feature["geometry"], "years": 10, "tillage": tillage, "model": "binn-soil-carbon"}
            said = client.post("/v1/soil/scenario", json=asked).raise_for_status().json()
            changes.append(said["columns"]["soc_change_30"]["total"]["value"][-1])
        assert field["baseline"]["tc"] == pytest.approx(changes[0], rel=1e-4)
        assert field["project"]["tc"] == pytest.approx(changes[1], rel=1e-4)
        assert field["delta_soc"]["tc"] == pytest.approx(changes[1] - changes[0], rel=1e-3)
        assert field["delta_soc"]["tco2e"] == pytest.approx(field["delta_soc"]["tc"] * 44 / 12, rel=1e-6)
        assert field["delta_soc"]["tc"] > 0  # less tillage: more carbon
        assert field["complete"]
    total = made["total"]
    assert total["delta_soc"]["tc"] == pytest.approx(sum(f["delta_soc"]["tc"] for f in made["fields"]), abs=1e-5)
    # The error that all fields have in common does not average out, and is squared with the unit.
    errors = [f["standard_error"]["tco2e"] for f in made["fields"]]
    assert np.hypot(*errors) < total["standard_error"]["tco2e"] <= sum(errors) * (1 + 1e-9)
    assert total["variance"]["model"] == pytest.approx((44 / 12 * total["standard_error"]["tc"]) ** 2, rel=1e-6)
    by_rho = [r["standard_error_tco2e"] for r in total["sensitivity"] if r["correlation"] == "fields"]
    assert by_rho == sorted(by_rho)
    paired = [r["standard_error_tco2e"] for r in total["sensitivity"] if r["correlation"] == "scenarios"]
    assert paired == sorted(paired, reverse=True)
    cut = total["deduction_inputs"]
    left = total["delta_soc"]["tco2e"] - cut["t"] * total["standard_error"]["tco2e"]
    assert cut["left_tco2e"] == pytest.approx(max(0.0, left), abs=1e-2)


def test_it_says_what_it_is_and_what_it_was_made_of(client: httpx.Client, made: Json, cube: Cube) -> None:
    words = " ".join(made["in_words"])
    assert words.startswith("No credits are issued")
    assert "are not evidence" in words
    assert "synthetic" in words
    assert "no yields" in words
    assert made["use_class"] == "planning"
    skill = made["model"]["skill"]
    assert not skill["better_than_floors"]
    assert all(row["floors"] for row in skill["scores"] if row["metric"] == "rmse")
    card = client.get("/v1/models/binn-soil-carbon/1").json()
    assert made["model"]["weights_sha256"] == card["weights_sha256"]
    assert made["inputs"]["cube_hash"] == cube.hash
    assert made["inputs"]["synthetic"]
    for field in made["fields"]:
        assert hashlib.sha256(rfc8785.dumps(field["geometry"])).hexdigest() == field["geometry_sha256"]
    (rules,) = client.get("/v1/statements/rulesets").json()["rulesets"]
    assert rules["sha256"] == made["ruleset"]["sha256"]
    assert made["request"]["scenario"]["project"]["tillage"] == "none"


def test_the_same_scenarios_differ_by_nothing_at_all(client: httpx.Client, two: list[Json]) -> None:
    same = {"years": 10, "baseline": {"tillage": "none"}, "project": {"tillage": "none"}}
    total = make(client, features=two, scenario=same)["total"]
    assert total["delta_soc"] == {"tc": 0, "tco2e": 0}
    assert total["standard_error"] == {"tc": 0, "tco2e": 0}
    assert total["deduction_inputs"]["unc"] is None


def test_correlations_and_sampling_are_taken_as_given(client: httpx.Client, two: list[Json], made: Json) -> None:
    independent = {"fields": 0.0, "years": 0.0, "scenarios": 0.5}
    sampling = {"variance_tco2e2": 100.0, "df": 5}
    found = make(client, features=two, scenario=TILLED, correlation=independent, sampling=sampling)["total"]
    assert found["delta_soc"] == made["total"]["delta_soc"]
    assert found["standard_error"]["tco2e"] < made["total"]["standard_error"]["tco2e"]
    variance = found["variance"]
    assert found["standard_error"]["tco2e"] ** 2 == pytest.approx(variance["model"] + 100.0, rel=1e-6)
    assert variance["model"] == max(variance["model_by_correlation"], variance["model_as_eq_64"])
    assert round(found["deduction_inputs"]["t"], 3) == 0.457


def test_uses_that_the_model_is_no_evidence_for_are_refused(client: httpx.Client, two: list[Json]) -> None:
    for use in ("inventory", "grower_payment", "credit_component"):
        said = refused(client, 422, "use-not-supported", features=two, scenario=TILLED, use_class=use)
        assert said["allowed"] == ["planning"]
        assert said["lacking"]
    assert any("of the effect of tillage" in sentence for sentence in said["lacking"])


def test_it_comes_out_again_and_a_changed_byte_is_seen(client: httpx.Client, made: Json) -> None:
    said = client.get(f"/v1/statements/{made['id']}/verification").json()
    assert said["good"]
    assert said["recomputation"]["outcome"] == "identical"
    assert all(said["recomputation"]["same"].values())
    forged = deepcopy(made)
    forged["total"]["delta_soc"]["tco2e"] += 1.0
    found = client.post("/v1/statements/verify", json=forged).json()
    assert not found["signature"]["ok"]
    assert found["recomputation"]["outcome"] == "different"
    (place,) = found["recomputation"]["differences"]
    assert place["where"] == "/total/delta_soc/tco2e"
    assert place["found"] == made["total"]["delta_soc"]["tco2e"]
    for change in ({"type": "x"}, {"fields": []}, {"signature": {"jws": "a.b.c"}}, {"request": {}}, {"total": None}):
        found = client.post("/v1/statements/verify", json={**made, **change})
        assert found.status_code in (200, 422), found.text
        assert found.status_code == 422 or not found.json()["good"]
    other = {**made, "model": {**made["model"], "weights_sha256": "0" * 64}}
    found = client.post("/v1/statements/verify", json=other).json()["recomputation"]
    assert found["same"]["weights"] is False
    assert "weights" in found["says"]


def test_a_correction_is_another_statement(client: httpx.Client, two: list[Json], made: Json) -> None:
    first = make(client, features=two[:1], scenario=TILLED)
    told = {"supersedes": first["id"], "reason": "geometry_change"}
    second = make(client, features=two[1:], scenario=TILLED, **told)
    assert second["version"] == 2
    assert second["supersedes"] == {
        "id": first["id"],
        "sha256": first["signature"]["sha256"],
        "reason": "geometry_change",
    }
    before = client.get(f"/v1/statements/{first['id']}")
    assert before.json() == first
    assert before.headers["link"] == f'</v1/statements/{second["id"]}>; rel="successor-version"'
    again = client.get(f"/v1/statements/{first['id']}", headers={"If-None-Match": before.headers["etag"]})
    assert again.status_code == 304
    said = refused(client, 409, "superseded", features=two, scenario=TILLED, **told)
    assert said["superseded_by"] == second["id"]
    refused(client, 404, "unknown-statement", features=two, scenario=TILLED, supersedes="stm_x", reason="true_up")
    refused(client, 422, "invalid-request", features=two, scenario=TILLED, supersedes=first["id"])
    listed = {s["id"]: s for s in client.get("/v1/statements").json()["items"]}
    assert listed[first["id"]]["superseded_by"] == second["id"]
    assert listed[made["id"]]["superseded_by"] is None
    current = client.get("/v1/statements", params={"superseded": False}).json()["items"]
    assert first["id"] not in {s["id"] for s in current}
    assert client.get(f"/v1/statements/{second['id']}/verification").json()["good"]
    for method in ("PUT", "PATCH", "DELETE"):
        assert client.request(method, f"/v1/statements/{first['id']}").status_code == 405


def test_the_same_key_makes_one_statement(client: httpx.Client, two: list[Json]) -> None:
    key = {"Idempotency-Key": "season 1"}
    body = {"features": two[:1], "scenario": TILLED}
    replies = [client.post("/v1/statements", json=body, headers=key) for _ in range(2)]
    assert [r.status_code for r in replies] == [201, 200]
    assert replies[0].content == replies[1].content
    other = client.post("/v1/statements", json={**body, "name": "other"}, headers=key)
    assert other.status_code == 422
    assert other.json()["type"] == "/problems/idempotency-mismatch"


def test_the_table_for_registries(client: httpx.Client, two: list[Json], made: Json) -> None:
    reply = client.get(f"/v1/statements/{made['id']}/table.csv")
    assert reply.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(reply.text)))
    assert [row["row"] for row in rows] == ["field", "field", "total"]
    assert float(rows[2]["delta_soc_tco2e"]) == made["total"]["delta_soc"]["tco2e"]
    assert {row["sha256"] for row in rows} == {made["signature"]["sha256"]}
    assert {row["credits_issued"] for row in rows} == {"0"}
    odd = [{**two[0], "id": '=HYPERLINK("http://x")'}]
    said = make(client, features=odd, scenario=TILLED)
    assert "\"'=HYPERLINK" in client.get(f"/v1/statements/{said['id']}/table.csv").text


def test_land_counts_once_and_all_of_it_or_none(client: httpx.Client, cube: Cube, two: list[Json]) -> None:
    over = {"type": "Feature", "id": "over", "geometry": square(cube, 4162, 9985, 2, 2)}
    said = refused(client, 422, "fields-overlap", features=[*two, over], scenario=TILLED)
    assert said["indexes"] == [0, 2]
    away = {"type": "Feature", "id": "away", "geometry": square(cube, 4161, 10985, 2, 2)}
    said = refused(client, 422, "rejected-fields", features=[*two, away], scenario=TILLED)
    assert said["features"][0]["problem"]["type"] == "/problems/outside-cube"
    refused(client, 422, "outside-cube", geometry=away["geometry"], scenario=TILLED)
    bare = {"type": "Feature", "id": "bare", "geometry": square(cube, 4167, 9991)}
    said = refused(client, 422, "rejected-fields", features=[*two, bare], scenario=TILLED)
    assert [feature["id"] for feature in said["features"]] == ["bare"]
    crossed = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}
    refused(client, 422, "rejected-fields", features=[{"type": "Feature", "geometry": crossed}], scenario=TILLED)
    refused(client, 422, "invalid-geometry", geometry=crossed, scenario=TILLED)
    refused(client, 422, "invalid-request", geometry=crossed, scenario=TILLED, years=[2020])
    refused(client, 422, "unknown-ruleset", features=two, scenario=TILLED, ruleset="mine")
    refused(client, 404, "unknown-model", features=two, years=[2020], model="binn-soil-carbon")


def test_registered_fields_and_the_python_client(client: httpx.Client, two: list[Json]) -> None:
    with Client(str(client.base_url)) as flux:
        flux.register_fields({"type": "FeatureCollection", "features": [{**f, "properties": {}} for f in two]})
        ids = sorted(field["id"] for field in flux.fields())
        said = flux.make_statement(ids, scenario=TILLED, name="by id")
        assert [f["external_id"] for f in said["fields"]] == ["north", "south"]
        assert [f["version"] for f in said["fields"]] == [1, 1]
        assert flux.statement(said["id"]) == said
        assert flux.verify_statement(said)["good"]
        assert flux.verify_statement(said, recompute=False)["recomputation"]["outcome"] == "not_recomputed"
        assert said["id"] in {listed["id"] for listed in flux.statements()}
        table = flux.statement_table(said["id"])
        assert table.iloc[-1]["delta_soc_tc"] == said["total"]["delta_soc"]["tc"]
        shapes = [f["geometry"] for f in two]
        assert flux.make_statement(shapes, scenario=TILLED)["total"]["delta_soc"] == said["total"]["delta_soc"]
        assert flux.make_statement(shapes[0], scenario=TILLED)["total"]["fields"] == 1

    async def awaited() -> tuple[Json, int]:
        async with AsyncClient(str(client.base_url)) as other:
            found = await other.make_statement(ids, scenario=TILLED)
            assert (await other.verify_statement(await other.statement(found["id"])))["good"]
            return found, len([one async for one in other.statements()])

    found, count = asyncio.run(awaited())
    assert found["total"] == said["total"]
    assert count > 3


def test_verified_on_the_command_line(home: Path, client: httpx.Client, made: Json, tmp_path: Path) -> None:
    path, keys = tmp_path / "statement.json", tmp_path / "jwks.json"
    path.write_text(json.dumps(made, indent=2))  # the layout does not matter, the content does
    run = CliRunner().invoke
    found = run(app, ["verify", str(path), "--home", str(home)])
    assert found.exit_code == 0, found.output
    assert "Every number came out again" in found.output
    assert run(app, ["verify", str(path), "--server", str(client.base_url), "--home", str(home)]).exit_code == 0
    listed = run(app, ["statements", "keys", "--home", str(home)])
    keys.write_text(listed.stdout)
    alone = ["verify", str(path), "--keys", str(keys), "--signature-only", "--home", str(tmp_path / "elsewhere")]
    assert run(app, alone).exit_code == 0
    path.write_text(json.dumps({**made, "use_class": "inventory"}))
    bad = run(app, alone)
    assert bad.exit_code == 1
    assert "BAD" in bad.output
    keys.write_text('{"keys": []}')
    assert "not among the keys" in run(app, alone).output


def test_a_renewed_key_leaves_old_statements_good(
    home: Path, client: httpx.Client, made: Json, two: list[Json]
) -> None:
    assert CliRunner().invoke(app, ["statements", "renew-key", "--home", str(home)]).exit_code == 0
    after = make(client, features=two[:1], scenario=TILLED)
    assert after["signature"]["kid"] != made["signature"]["kid"]
    keys = {key["kid"]: key for key in client.get("/.well-known/jwks.json").json()["keys"]}
    assert "retired" in keys[made["signature"]["kid"]]
    assert "retired" not in keys[after["signature"]["kid"]]
    assert client.get(f"/v1/statements/{made['id']}/verification?recompute=false").json()["signature"]["ok"]
    from fieldflux.app.accounts.secret import secret_of
    from fieldflux.app.carbon.signing import BadSignature, check, signed, signing_key

    old = signing_key(secret_of(home), 1)
    assert old.kid == made["signature"]["kid"]
    late = signed({k: v for k, v in after.items() if k != "signature"}, old)
    with pytest.raises(BadSignature, match="was retired"):
        check(late, list(keys.values()))


def test_a_period_of_the_record(tmp_path: Path) -> None:
    """Of a model that tells yearly changes: sums of years, yields, the snapshot; no baseline and so no credits."""
    home = toy_home(tmp_path, years=(2019, 2020), run_years=(2019, 2020))
    cube = open_cube(home / "cubes" / "toy.zarr")
    with serving(settings_of(home), toy_registry(home / "checkpoints")) as client:
        shape = square(cube, 95, 120, 3, 3)
        said = make(client, geometry=shape, years=[2019, 2020])
        asked = {"geometry": shape, "years": [2019, 2020], "variables": ["delta_soc", "yield"], "step": "year"}
        series = client.post("/v1/series", json=asked).json()
        total = series["totals"]["delta_soc"]
        assert said["total"]["delta_soc"]["tc"] == pytest.approx(sum(total["value"]), rel=1e-4)  # 1 cm of its outline
        half = sum(high - low for low, high in zip(total["low"], total["high"], strict=True)) / 2 / 1.6448536
        assert said["total"]["standard_error"]["tc"] == pytest.approx(half, rel=1e-3)
        yields = [y["tc"] for y in said["fields"][0]["yields"]]
        assert yields == pytest.approx(series["totals"]["yield"]["value"], rel=1e-4)
        assert said["inputs"]["snapshot"] == series["snapshot"]
        assert said["period"] == {"first": "2019-01-01", "last": "2020-12-31", "years": 2}
        assert "no baseline" in " ".join(said["in_words"])
        assert "baseline" not in said["total"]
        assert client.get(f"/v1/statements/{said['id']}/verification").json()["good"]
        refused(client, 422, "use-not-supported", geometry=shape, years=[2019], use_class="credit_component")
        refused(client, 422, "invalid-dates", geometry=shape, years=[2019, 2023])


def test_a_region_that_must_be_computed_is_queued_and_comes(tmp_path: Path) -> None:
    home = toy_home(tmp_path, years=(2019, 2020), run_years=())
    settings = settings_of(home, limits=Limits(live_cell_years=5))
    with serving(settings, toy_registry(home / "checkpoints")) as client:
        shape = square(open_cube(home / "cubes" / "toy.zarr"), 95, 120, 3, 3)
        body = {"geometry": shape, "years": [2020]}
        first = client.post("/v1/statements", json=body)
        assert first.status_code == 503, first.text
        assert first.json()["type"] == "/problems/not-computed-yet"
        assert int(first.headers["retry-after"]) > 0
        with Client(str(client.base_url)) as flux:
            assert flux.make_statement(shape, years=[2020])["inputs"]["snapshot"]  # asked again until it is there
