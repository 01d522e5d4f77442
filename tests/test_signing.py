"""Signatures and the book of statements: any document, both databases, many at once."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fieldflux.app.accounts.secret import Secret
from fieldflux.app.carbon import book
from fieldflux.app.carbon.asked import StatementAsk
from fieldflux.app.carbon.land import parcels
from fieldflux.app.carbon.signing import BadSignature, check, content_of, signed, signing_key
from fieldflux.app.carbon.verify import verified
from fieldflux.app.database import Database
from fieldflux.app.problems import Refused
from fieldflux.app.workspace import Workspace
from fieldflux.tiles.zonal import Limits
from hypothesis import given, settings
from hypothesis import strategies as st

from .serving import settings_of, square, toy_home, toy_registry

SECRET = Secret(b"s" * 32)
KEY = signing_key(SECRET, 1)
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), values, max_size=5))
@settings(max_examples=30, deadline=None)
def test_what_was_signed_can_be_checked_after_any_writing(document: dict[str, Any]) -> None:
    document.pop("signature", None)
    made = signed(document, KEY)
    for text in (json.dumps(made), json.dumps(made, indent=3, ensure_ascii=False, sort_keys=True)):
        read = json.loads(text)
        assert check(read, [KEY.public])["kid"] == KEY.kid
        with pytest.raises(BadSignature, match="was changed"):
            check({**read, "more": 1}, [KEY.public])
    for other in (signing_key(SECRET, 2), signing_key(Secret(b"t" * 32), 1)):
        with pytest.raises(BadSignature, match="not among"):
            check(made, [other.public])
        with pytest.raises(BadSignature):
            check(made, [{**other.public, "kid": KEY.kid}])


def test_a_large_document_and_no_document() -> None:
    large = {"fields": [{"value": i / 7, "name": f"field {i}"} for i in range(4_000)]}
    assert len(content_of(large)) > 150_000  # more than joserfc takes by itself
    made = signed(large, KEY)
    assert check(json.loads(json.dumps(made)), [KEY.public])
    none = {**made["signature"], "alg": "none", "jws": "eyJhbGciOiJub25lIn0.."}
    for wrong in (None, {}, {"jws": 1}, {"jws": "a.b.c"}, {"jws": "..", "kid": KEY.kid}, none):
        with pytest.raises(BadSignature):
            check({**large, "signature": wrong}, [KEY.public])
    with pytest.raises(BadSignature, match="`kid` or `sha256`"):
        check({**made, "signature": {**made["signature"], "sha256": "0" * 64}}, [KEY.public])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_home(tmp_path_factory.mktemp("home"), years=(2019, 2020))


def test_the_book_on_both_databases(database: Database, home: Path) -> None:
    """Made, found, corrected once by one of many at once; a key is made once."""
    workspace = Workspace(settings_of(home), toy_registry(home / "checkpoints"))
    cube = workspace.cube("toy")
    ask = StatementAsk(geometry=square(cube, 95, 120, 3, 3), years=(2019, 2020))

    def made(key: str | None = None, tenant: str = "acme", **more: Any) -> book.Made | Refused:
        chosen = ask.model_copy(update=more)
        land = parcels(chosen, Limits(), 10, database, tenant)
        try:
            return book.make(workspace, database, SECRET, tenant, chosen, land, key, f"body {more}")
        except Refused as error:
            return error

    with ThreadPoolExecutor(4) as pool:
        same = list(pool.map(lambda _: made("once"), range(4)))
        assert len({one.id for one in same if isinstance(one, book.Made)}) == 1
        assert sum(one.new for one in same if isinstance(one, book.Made)) == 1
        first = next(one for one in same if isinstance(one, book.Made))
        told = list(pool.map(lambda _: made(supersedes=first.id, reason="true_up"), range(4)))
    corrections = [one for one in told if isinstance(one, book.Made)]
    assert len(corrections) == 1
    assert {one.code for one in told if isinstance(one, Refused)} == {"superseded"}
    held = book.one(database, "acme", first.id)
    assert held.successor == corrections[0].id
    assert held.content == first.content
    assert verified(held.document, book.public_keys(database), workspace).good
    listed = book.page(database, "acme", 10, "", True)
    assert [one["id"] for one in listed] == sorted((first.id, corrections[0].id), reverse=True)
    assert [one["id"] for one in book.page(database, "acme", 10, "", False)] == [corrections[0].id]
    assert book.page(database, "acme", 10, listed[0]["id"], True) == listed[1:]
    assert book.page(database, "rival", 10, "", True) == []
    for act in (lambda: book.one(database, "rival", first.id), lambda: book._before(database, "rival", first.id)):
        with pytest.raises(Refused, match="There is no statement"):
            act()
    other = made("once", name="another")
    assert isinstance(other, Refused)
    assert other.code == "idempotency-mismatch"
    assert len(book.public_keys(database)) == 1
    renewed = book.renew_key(database, SECRET)
    assert [key.get("retired") is None for key in book.public_keys(database)] == [False, True]
    assert book.current_key(database, SECRET).kid == renewed.kid
    workspace.close()
