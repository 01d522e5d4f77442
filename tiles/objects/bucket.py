"""Objects by their names, below an address in an object store. What goes wrong is a sentence, without credentials."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from fieldflux.tiles.folder import StoreAway

SCHEMES = ("s3", "gs", "az")
_ADDRESS = re.compile(r"(?P<scheme>[a-z][a-z0-9]*)://(?P<rest>.*)")


class BadAddress(ValueError):
    """An address that names no place in an object store."""


def is_address(text: object) -> bool:
    """Whether it is the address of an object store, and not a path.

    >>> is_address("s3://bucket/prefix"), is_address("/data/stores/a.zarr")
    (True, False)
    """
    return isinstance(text, str) and _ADDRESS.match(text) is not None


class Bucket:
    """The objects below an address. Safe between threads.

    Credentials, region and endpoint are those of the standard variables of the environment (AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL; GOOGLE_*, AZURE_*), or of the machine's own role.
    """

    def __init__(self, address: str) -> None:
        """Raises BadAddress, StoreAway where obstore is not installed."""
        self.address = address.rstrip("/")
        found = _ADDRESS.fullmatch(self.address)
        if found is None or found["scheme"] not in SCHEMES or not found["rest"]:
            raise BadAddress(
                f"'{_shown(address)}' is no address in an object store. They are as in s3://bucket/prefix, "
                f"gs://bucket/prefix, az://container/prefix."
            )
        if "@" in found["rest"] or "?" in found["rest"]:
            raise BadAddress(
                f"The address {_shown(address)} holds more than a bucket and a prefix. Credentials come from the "
                f"environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), where no log shows them."
            )
        self._store = _opened(self.address)

    def get(self, at: str) -> bytes:
        """A whole object. Raises FileNotFoundError, StoreAway."""
        import obstore

        with _faults(self.address):
            return bytes(obstore.get(self._store, at).bytes())

    def ranges(self, at: str, starts: Sequence[int], ends: Sequence[int]) -> list[bytes]:
        """Parts of an object, fetched at the same time. Raises FileNotFoundError, StoreAway."""
        import obstore

        with _faults(self.address):
            return [bytes(b) for b in obstore.get_ranges(self._store, at, starts=starts, ends=ends, coalesce=0)]

    def stream(self, at: str) -> Iterator[bytes]:
        """A whole object, part by part. Raises FileNotFoundError, StoreAway."""
        import obstore

        with _faults(self.address):
            for blob in obstore.get(self._store, at).stream(min_chunk_size=2**20):
                yield bytes(blob)

    def put(self, at: str, content: bytes | Path) -> None:
        """Write an object: it is there whole, or not at all. Raises StoreAway."""
        import obstore

        with _faults(self.address):
            obstore.put(self._store, at, content)

    def sizes(self, below: str) -> dict[str, int]:
        """Names and sizes of all objects below a prefix. Raises StoreAway."""

        def listed() -> Iterator[tuple[str, int]]:
            for page in self._store.list(prefix=below):
                for found in page:
                    yield found["path"], found["size"]

        with _faults(self.address):
            return dict(listed())


def _opened(address: str) -> Any:
    try:
        import obstore.store
    except ModuleNotFoundError as error:
        raise StoreAway(
            f"{address} lies in an object store, and the package that reads those is not installed: "
            f"pip install 'fieldflux[objects]'."
        ) from error
    import os

    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    if endpoint is not None and not re.match(r"https?://[^/]", endpoint):
        raise BadAddress(
            f"AWS_ENDPOINT_URL is '{_shown(endpoint)}', which is no address of a server. Give one as in "
            f"http://objects:7070, or unset the variable for Amazon's own."
        )
    try:
        return obstore.store.from_url(  # type: ignore[call-overload]
            address,
            # What does not answer in this time is away: who asks is told so, and when to come back.
            client_options={
                "timeout": "30s",
                "connect_timeout": "2s",
                "allow_http": (endpoint or "").startswith("http://"),
            },
            retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=10)},
        )
    except Exception as error:  # obstore raises its own kinds, some of them plain ones of Python
        raise BadAddress(f"The address {_shown(address)} cannot be used: {type(error).__name__}.") from None


class _faults:
    """Turns obstore's errors, whose text may hold requests and addresses inside a network, into sentences."""

    def __init__(self, address: str) -> None:
        self._address = address

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        import obstore.exceptions as known

        if error is None or isinstance(error, StoreAway):
            return
        if not isinstance(error, Exception) and kind.__name__ != "PanicException":  # a fault in obstore's own code
            return
        text = str(error)
        if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in text:
            return
        raise StoreAway(f"The object store {self._address} cannot be read: {_why(error, text, known)}") from None


def _why(error: BaseException, text: str, known: Any) -> str:
    if "NoSuchBucket" in text:
        return "there is no such bucket. Make it, or correct the address."
    refused = (known.PermissionDeniedError, known.UnauthenticatedError, PermissionError)
    if isinstance(error, refused) or "InvalidAccessKeyId" in text or "SignatureDoesNotMatch" in text:
        return "it refuses these credentials. Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY and what they may do."
    if "credential" in text.lower() or "169.254.169.254" in text:
        return "there are no credentials. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role."
    status = re.search(r"status code: (\d{3})", text)
    if status is not None:
        return f"it answers with status {status[1]}."
    return "it does not answer."


def _shown(address: str) -> str:
    """An address without what may be a password in it."""
    return re.sub(r"//[^/@]*@", "//…@", address)[:200].split("?")[0]
