"""Stores in an object store: copied there and back, served from there, while the network fails in all its ways."""

from __future__ import annotations

import filecmp
import io
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from threading import Event
from typing import TypeVar

import numpy as np
import obstore.store
import pytest
import xarray as xr
from fieldflux.app.cli import app
from fieldflux.app.problems import problem_of
from fieldflux.app.settings import Settings
from fieldflux.tiles.cube import Cube, open_cube
from fieldflux.tiles.folder import StoreAway
from fieldflux.tiles.grid import Window
from fieldflux.tiles.manifest import BadStore, WrongStore
from fieldflux.tiles.objects.bucket import BadAddress, Bucket
from fieldflux.tiles.objects.contents import PAGE
from fieldflux.tiles.objects.follow import Followed
from fieldflux.tiles.objects.pages import Pages
from fieldflux.tiles.objects.pull import pull, verify
from fieldflux.tiles.objects.push import push
from fieldflux.tiles.run import run
from fieldflux.tiles.store import Store, StoreReadOnly, create_store, open_store
from typer.testing import CliRunner
from zarr.storage import ObjectStore as ObjectStorage

from .objectstore import KEY, SECRET, ObjectStore, object_store
from .serving import serving, settings_of, square, toy_home, toy_registry
from .toy_model import ToyModel

FIRST, LAST = date(2019, 6, 1), date(2019, 8, 2)
TOY = "s3://fluxes/toy"
ROOM = 1 << 28
Found = TypeVar("Found")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_home(tmp_path_factory.mktemp("objects"), years=(2019, 2020), run_years=(2019,))


@pytest.fixture(scope="module")
def local(home: Path) -> Store:
    return open_store(next((home / "stores").glob("*/*.zarr")))


@pytest.fixture(scope="module")
def remote(local: Store) -> Iterator[ObjectStore]:
    """A server that holds the store at `TOY`."""
    with object_store() as server:
        assert push(local.path, TOY).finished
        yield server


@pytest.fixture(autouse=True)
def _well(remote: ObjectStore) -> Iterator[None]:
    yield
    remote.damage = lambda _path, body: body


def followed(address: str, folder: Path, room: int = ROOM) -> Followed:
    return Followed(address, Pages(folder, room), every=0.05)


@pytest.fixture
def distant(remote: ObjectStore, tmp_path: Path) -> Iterator[Store]:  # noqa: ARG001
    """The store at `TOY`, with nothing kept of it."""
    one = followed(TOY, tmp_path / "kept")
    store = one.store()
    assert store is not None
    yield store
    one.close()


def test_what_is_read_from_an_object_store_is_what_lies_on_the_disk(local: Store, distant: Store) -> None:
    w = local.window
    assert (distant.snapshot, distant.edition, distant.records()) == (local.snapshot, local.edition, local.records())
    assert distant.waits
    odd = Window(w.row0 + 3, w.row0 + 37, w.col0 - 2, w.col0 + 51)
    for name in local.daily:
        for window in (w, odd):
            np.testing.assert_array_equal(
                distant.read_packed(name, window, FIRST, LAST), local.read_packed(name, window, FIRST, LAST)
            )
        for level in local.levels:
            coarse = Window(*(n >> level for n in (w.row0, w.row1, w.col0, w.col1)))
            np.testing.assert_array_equal(
                distant.read_counts(name, FIRST, coarse, level), local.read_counts(name, FIRST, coarse, level)
            )
    for name in local.variables:
        np.testing.assert_array_equal(distant.read_year(name, w, 2019), local.read_year(name, w, 2019))
    for a, b in zip(*(s.read_members(("gpp", "rh"), odd, FIRST, LAST) for s in (distant, local)), strict=True):
        np.testing.assert_array_equal(a, b)
    rows, cols = (n.ravel() for n in np.meshgrid(np.arange(8), np.arange(8), indexing="ij"))
    for names, members in ((["nee"], False), (["gpp", "ra", "rh"], True)):
        both = (s.read_chunk_sums(names, rows, cols, FIRST, LAST, members) for s in (distant, local))
        for a, b in zip(*both, strict=True):
            np.testing.assert_array_equal(a, b)
    under = local.squares_under(np.arange(90, 99), np.arange(120, 129))
    for names, members in ((("gpp", "ra"), True), (("gpp", "nee"), False)):
        both_squares = (list(s.read_squares(names, under, 2019, members)) for s in (distant, local))
        for one, other in zip(*both_squares, strict=True):
            for a, b in zip(one.counts, other.counts, strict=True):
                np.testing.assert_array_equal(a, b)
    flags, theirs = distant.read_flags(w, 2019), local.read_flags(w, 2019)
    assert (flags is None) == (theirs is None)
    assert {n: f.tolist() for n, f in (flags or {}).items()} == {n: f.tolist() for n, f in (theirs or {}).items()}
    state, own = (s.state(local.blocks[0], 2019) for s in (distant, local))
    assert (state is None) == (own is None)
    with pytest.raises(StoreReadOnly, match="fieldflux stores push"):
        distant.forget(local.blocks[0], 2019)


def test_plain_xarray_opens_what_was_pushed(local: Store, remote: ObjectStore) -> None:  # noqa: ARG001
    bucket = obstore.store.from_url(f"{TOY}/{local.edition}", client_options={"allow_http": True})
    with xr.open_zarr(ObjectStorage(bucket, read_only=True), group="2019", mask_and_scale=False) as group:
        some = group["gpp"].sel(time=slice(str(FIRST), str(LAST))).values
    np.testing.assert_array_equal(some, local.read_packed("gpp", local.window, FIRST, LAST))


def test_bytes_of_a_file_are_the_same_wherever_pages_end(local: Store, distant: Store) -> None:
    at = max((p for p in local.path.glob("2019/**/c/**/*") if p.is_file()), key=lambda p: p.stat().st_size)
    whole, file = at.read_bytes(), distant.view.files.open(at.relative_to(local.path).as_posix())
    rng = np.random.default_rng(3)
    edges = [0, 1, PAGE - 1, PAGE, PAGE + 1, len(whole) - 1, len(whole), *rng.integers(0, len(whole), 10).tolist()]
    for offset in edges:
        for size in (0, 1, 100, PAGE, len(whole)):
            assert file.read(size, offset) == whole[offset : offset + size]


def test_a_push_is_resumed_adds_and_disturbs_no_reader(home: Path, remote: ObjectStore, tmp_path: Path) -> None:
    address, cancel, cube = "s3://fluxes/growing", Event(), open_cube(home / "cubes" / "toy.zarr")
    root, toy = tmp_path / "growing", ToyModel(members=1)
    own = create_store(root, toy, cube)
    assert run(toy, cube, own, own.blocks[:1], [2019]).faults == []

    stopped = push(root, address, lambda done, of: cancel.set() if done > of / 3 else None, cancel)
    assert not stopped.finished
    assert 0 < stopped.sent < stopped.files
    one = followed(address, tmp_path / "kept")
    assert one.store() is None  # half of it is nothing yet
    rest = push(root, address)
    assert rest.finished
    assert 0 < rest.sent <= stopped.files - stopped.sent + 1
    assert push(root, address).sent == 1  # the root's metadata, which is small
    store = soon(one.store)
    assert store is not None
    before = store.read_packed("gpp", store.window, FIRST, LAST)
    assert store.complete(store.blocks[0], 2019)
    assert not store.complete(store.blocks[1], 2019)

    assert run(toy, cube, own, own.blocks[1:2], [2019]).faults == []
    more = push(root, address)
    assert 1 < more.sent < more.files
    assert soon(lambda: store.complete(store.blocks[1], 2019))
    assert (store.edition, store.snapshot) == (own.edition, own.snapshot) == (more.edition, more.snapshot)
    np.testing.assert_array_equal(*(s.read_packed("nee", s.window, FIRST, LAST) for s in (store, own)))

    # Computed again, it is another edition, beside the one that is there.
    own.forget(own.blocks[0], 2019)
    assert run(toy, cube, own, own.blocks[:1], [2019]).faults == []
    again = push(root, address)
    assert again.edition not in ("", more.edition)
    assert again.sent == again.files
    assert soon(lambda: store.edition == again.edition)
    same = own.blocks[0].window(own.grid)
    np.testing.assert_array_equal(store.read_packed("gpp", same, FIRST, LAST), before[:, :32, :32])
    one.close()
    assert Bucket(address).sizes(f"{more.edition}/2019/gpp")

    # And back, with a stop on the way.
    back, cancel = tmp_path / "back.zarr", Event()
    begun = pull(address, lambda _: back, lambda done, of: cancel.set() if done > of / 3 else None, cancel)
    assert not begun.finished
    assert not (back / "manifest.json").exists()
    ended = pull(address, lambda _: back)
    assert ended.finished
    assert 0 < ended.fetched < ended.files
    assert differing(root, back) == []
    shard = next(p.relative_to(back).as_posix() for p in back.glob("2019/gpp/c/**/*") if p.is_file())
    (back / shard).write_bytes(b"other")
    assert pull(address, lambda _: back).fetched == 1  # what was damaged here is fetched again
    remote.damage = lambda path, body: body[:-1] + b"?" if path.endswith(shard) else body
    assert verify(address) == (ended.files, [shard])
    (back / shard).unlink()
    with pytest.raises(BadStore, match="is not what was pushed"):
        pull(address, lambda _: back)
    assert not (back / shard).exists()


def soon(look: Callable[[], Found], seconds: float = 20.0) -> Found:
    """What comes of looking again and again, until it is something."""
    until = time.monotonic() + seconds
    while not (found := look()) and time.monotonic() < until:
        time.sleep(0.02)
    return found


def differing(a: Path, b: Path) -> list[str]:
    names = {p.relative_to(root).as_posix() for root in (a, b) for p in root.rglob("*") if p.is_file()}
    _, differ, lacking = filecmp.cmpfiles(a, b, names, shallow=False)
    return sorted([*differ, *lacking])


def test_one_address_holds_one_store(home: Path, local: Store, tmp_path: Path) -> None:
    manifest = (local.path / "manifest.json").read_text()
    other = tmp_path / "other"
    shutil.copytree(local.path, other)
    (other / "manifest.json").write_text(manifest.replace(local.cube_hash, "0" * 64))
    with pytest.raises(WrongStore, match="Choose another place"):
        push(other, TOY)
    with pytest.raises(WrongStore, match="Choose another place"):
        pull(TOY, lambda _: other)
    (other / "manifest.json").write_text(manifest)
    (other / "generation").write_text("f" * 16)
    with pytest.raises(WrongStore, match="hold other numbers"):
        pull(TOY, lambda _: other)
    assert home.is_dir()


def test_a_byte_that_falls_over_on_the_way_is_fetched_again_or_told(
    local: Store, remote: ObjectStore, distant: Store
) -> None:
    hit: set[str] = set()

    def once(path: str, body: bytes) -> bytes:
        if "/c/" not in path or path in hit or len(body) < 100:
            return body
        hit.add(path)
        return body[:50] + bytes([body[50] ^ 1]) + body[51:]

    remote.damage = once
    got = distant.read_packed("gpp", local.window, FIRST, LAST)
    assert hit
    np.testing.assert_array_equal(got, local.read_packed("gpp", local.window, FIRST, LAST))
    remote.damage = lambda path, body: body[:50] + b"?" + body[51:] if "/c/" in path else body
    with pytest.raises(BadStore, match=r"2019/ra/c/0/\d/\d is not what was pushed"):
        distant.read_packed("ra", local.window, FIRST, LAST)


def test_what_is_kept_is_checked_bounded_and_shared_by_processes(
    local: Store, remote: ObjectStore, tmp_path: Path
) -> None:
    kept = tmp_path / "shared"
    code = (
        "import sys; from pathlib import Path; import numpy as np; from datetime import date\n"
        "from fieldflux.tiles.objects.follow import Followed; from fieldflux.tiles.objects.pages import Pages\n"
        "one = Followed(sys.argv[1], Pages(Path(sys.argv[2]), 1 << 28)); store = one.store()\n"
        "days = date(2019, 1, 1), date(2019, 12, 31)\n"
        "for name in store.daily: print(name, int(store.read_packed(name, store.window, *days).sum(dtype=np.int64)))"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code, TOY, str(kept)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[0] for process in both]
    days = date(2019, 1, 1), date(2019, 12, 31)
    sums = {n: int(local.read_packed(n, local.window, *days).sum(dtype=np.int64)) for n in local.daily}
    assert said == ["".join(f"{name} {value}\n" for name, value in sums.items())] * 2

    # A third asks for nothing but what is at the address; a page that was damaged on the disk, once more.
    remote.asked.clear()
    one = followed(TOY, kept)
    store = one.store()
    assert store is not None
    np.testing.assert_array_equal(
        store.read_packed("gpp", store.window, *days), local.read_packed("gpp", store.window, *days)
    )
    one.close()
    assert {path for _, path, _ in remote.asked} == {"/fluxes/toy/store.json"}
    for page in kept.glob("??/*-0"):
        page.write_bytes(page.read_bytes()[:-1] + b"?")
    one = followed(TOY, kept)
    store = one.store()
    assert store is not None
    np.testing.assert_array_equal(
        store.read_packed("ra", store.window, *days), local.read_packed("ra", store.window, *days)
    )
    one.close()

    small = tmp_path / "small"
    one = followed(TOY, small, 2_000_000)
    store = one.store()
    assert store is not None
    for name in store.daily:
        for read in range(2):  # what was given up is fetched again
            got = store.read_packed(name, store.window, *days)
            np.testing.assert_array_equal(got, local.read_packed(name, store.window, *days), err_msg=f"{name} {read}")
    one.close()
    assert sum(p.stat().st_size for p in small.rglob("*") if p.is_file()) < 2_000_000 * 17 / 16


@pytest.mark.parametrize(
    ("env", "address", "words"),
    [
        ({"AWS_ACCESS_KEY_ID": "AKIAOTHEROTHEROTHER0"}, TOY, "refuses these credentials"),
        ({}, "s3://no-such-bucket/toy", "no such bucket"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, TOY, "does not answer"),
        ({"AWS_ENDPOINT_URL": ""}, TOY, "AWS_ENDPOINT_URL is ''"),
    ],
)
def test_what_is_wrong_with_a_place_is_a_sentence_without_credentials(
    env: dict[str, str],
    address: str,
    words: str,
    remote: ObjectStore,  # noqa: ARG001
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    caplog.set_level(logging.DEBUG)
    one = followed(address, tmp_path)
    with pytest.raises((StoreAway, BadAddress), match=words) as raised:
        one.store()
    one.close()
    told = CliRunner().invoke(app, ["stores", "pull", address, str(tmp_path / "x")])
    assert words in str(told.exception)
    for text in (str(raised.value), str(told.exception), told.output, caplog.text):
        for secret in (SECRET, KEY, "AKIAOTHER"):
            assert secret not in text


def test_addresses_are_told_from_paths_and_hold_no_passwords() -> None:
    given = Settings(stores=os.pathsep.join(["s3://a/b", "/data/x.zarr", "gs://c"])).stores  # type: ignore[arg-type]
    assert given == ("s3://a/b", Path("/data/x.zarr"), "gs://c")
    assert Settings(**Settings(stores=given).model_dump(mode="json")).stores == given
    for wrong in ("s3://", "ftp://a/b", "s3://me:hunter2@bucket/x", "s3://bucket/x?secret=hunter2"):
        with pytest.raises(BadAddress) as raised:
            Bucket(wrong)
        told = problem_of(raised.value)
        assert told is not None
        assert told.kind.slug == "bad-store"
        assert "hunter2" not in told.detail


def test_a_server_serves_from_there_says_when_it_is_away_and_goes_on(
    home: Path, local: Store, remote: ObjectStore, tmp_path: Path
) -> None:
    other = toy_home(tmp_path / "home", years=(2019, 2020), run_years=())
    cube: Cube = open_cube(other / "cubes" / "toy.zarr")
    settings = settings_of(other, stores=(TOY,))
    registry = toy_registry(other / "checkpoints")
    ask = {"years": [2019], "variables": ["gpp", "nee"], "step": "month", "statistics": ["std"]}
    tile = "/v1/tiles/gpp/2019-07-01/10/149/356.npy"
    with serving(settings_of(home), toy_registry(home / "checkpoints")) as near:
        right = near.post("/v1/series", json={**ask, "geometry": square(cube, 95, 120, 3, 3)}).json()
        picture = near.get(tile).raise_for_status()
    with serving(settings, registry) as client:
        assert client.get("/readyz").json()["status"] == "ready"
        reply = client.post("/v1/series", json={**ask, "geometry": square(cube, 95, 120, 3, 3)})
        assert reply.json() == right
        assert client.get(tile).content == picture.content
        assert np.isfinite(np.load(io.BytesIO(picture.content))).any()
        zarr = client.get("/v1/stores").json()["stores"][0]["zarr"]
        with xr.open_zarr(zarr, group="2019", mask_and_scale=False) as group:
            some = group["gpp"].sel(time=slice(str(FIRST), str(LAST))).values
            np.testing.assert_array_equal(some, local.read_packed("gpp", local.window, FIRST, LAST))
        at = next(p for p in local.path.glob("2019/gpp/c/**/*") if p.is_file())
        path = f"{zarr}/{at.relative_to(local.path)}"
        whole = client.get(path)
        assert whole.content == at.read_bytes()
        assert client.get(path, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
        assert client.head(path).headers["content-length"] == str(at.stat().st_size)
        for asked, part in (("bytes=5-8", slice(5, 9)), ("bytes=-9", slice(-9, None)), ("bytes=7-", slice(7, None))):
            cut = client.get(path, headers={"Range": asked})
            assert (cut.status_code, cut.content) == (206, at.read_bytes()[part])
        assert client.get(path, headers={"Range": "bytes=99999999-"}).status_code == 416
        assert client.get(f"{zarr}/2019/gpp/c/0/77/0").status_code == 404

        remote.stop()
        # What is kept is answered; what is not is a problem that passes, and signs of life do not wait for it.
        assert client.post("/v1/series", json={**ask, "geometry": square(cube, 95, 120, 3, 3)}).json() == right
        new = {**ask, "geometry": square(cube, 100, 104, 4, 4), "years": [2019], "variables": ["et", "yield"]}
        away = client.post("/v1/series", json={**new, "step": "year", "statistics": []})
        assert (away.status_code, away.headers["content-type"]) == (503, "application/problem+json")
        assert away.json()["type"] == "/problems/store-away"
        assert int(away.headers["retry-after"]) > 0
        assert "does not answer" in away.json()["detail"]
        assert client.get("/v1/tiles/nee/2019-07-02/10/149/356.png").status_code == 503
        assert client.get("/livez").status_code == 200
        remote.start()
        assert client.post("/v1/series", json={**new, "step": "year", "statistics": []}).status_code == 200
        assert client.get("/v1/tiles/nee/2019-07-02/10/149/356.png").status_code == 200

    # Away from the beginning: nothing is computed instead, and it is opened when it is back.
    remote.stop()
    shutil.rmtree(other / "cache")
    with serving(settings, registry) as client:
        asked = {**ask, "geometry": square(cube, 95, 120, 3, 3)}
        assert client.post("/v1/series", json=asked).status_code == 503
        assert client.get("/readyz").status_code == 503
        remote.start()
        assert soon(lambda: client.get("/readyz").status_code == 200)
        assert client.post("/v1/series", json=asked).json() == right
    assert not (other / "stores").exists()
