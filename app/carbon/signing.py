"""Signatures of statements: Ed25519 over canonical JSON (RFC 8785), as detached JWS (RFC 7515), keys as JWK (RFC 8037).

joserfc makes and reads JWS and JWK, so that any JOSE library can check a statement; rfc8785 writes the canonical form.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fieldflux.app.accounts.secret import Secret
from fieldflux.app.problems import Refused

if TYPE_CHECKING:
    from joserfc.jwk import OKPKey

EXACT = 2**53 - 1
"""Largest whole number up to which JSON holds all."""
MEMBER = "signature"
"""Member of a statement that holds its signature, and is not signed."""
ALGORITHM = "Ed25519"
"""The name that RFC 9864 gives it; `EdDSA` left the curve open."""


class BadSignature(ValueError):
    """A signature that does not fit; the sentence says why."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key. kid: its thumbprint (RFC 7638). public: its JWK, as it is published."""

    kid: str
    public: Mapping[str, str]
    _key: OKPKey = field(repr=False, compare=False)

    def sign(self, content: bytes) -> str:
        """The detached JWS of some bytes."""
        from joserfc import jws

        whole = jws.serialize_compact({"alg": ALGORITHM, "kid": self.kid}, content, self._key, algorithms=[ALGORITHM])
        header, _, signature = whole.split(".")
        return f"{header}..{signature}"


def signing_key(secret: Secret, generation: int) -> SigningKey:
    """The key of a server's secret: all servers of a database have the same one. generation: counts its renewals."""
    from joserfc.jwk import OKPKey

    private = secret.derive(f"statements {generation}")
    key = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "d": _text(private), "x": _text(_public(private))})
    kid = key.thumbprint()
    return SigningKey(kid, {"kty": "OKP", "crv": "Ed25519", "x": _text(_public(private)), "kid": kid, "use": "sig",
                            "alg": ALGORITHM}, key)  # fmt: skip


def canonical(content: Any) -> bytes:
    """Canonical JSON. Raises Refused (invalid-request) for numbers or texts that JSON cannot hold exactly."""
    import rfc8785

    try:
        return rfc8785.dumps(_doubles(content))
    except (rfc8785.CanonicalizationError, UnicodeError, OverflowError) as error:
        raise Refused("invalid-request", f"This cannot be written as canonical JSON: {str(error)[:200]}.") from error


def content_of(statement: Mapping[str, Any]) -> bytes:
    """What of a statement is signed: all but the signature."""
    return canonical({name: value for name, value in statement.items() if name != MEMBER})


def digest_of(content: bytes) -> str:
    """SHA-256 of the signed bytes, by which a statement is named in others."""
    return hashlib.sha256(content).hexdigest()


def signed(statement: Mapping[str, Any], key: SigningKey) -> dict[str, Any]:
    """The statement with its signature."""
    content = content_of(statement)
    said = {"jws": key.sign(content), "kid": key.kid, "alg": ALGORITHM, "sha256": digest_of(content)}
    return {**statement, MEMBER: {**said, "signs": "RFC 8785 form of this document without `signature`"}}


def check(statement: Mapping[str, Any], keys: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Check a statement's signature; the key (JWK) that made it. keys: that are trusted, with `retired` where they are.

    Raises BadSignature where there is none, its key is not among them or was retired before, or a byte was changed.
    """
    from joserfc import jws
    from joserfc.errors import JoseError
    from joserfc.jwk import OKPKey

    said = statement.get(MEMBER)
    if not isinstance(said, Mapping) or not isinstance(said.get("jws"), str):
        raise BadSignature("The statement has no signature.")
    parts = said["jws"].split(".")
    if len(parts) != 3 or parts[1]:
        raise BadSignature("The signature is not a detached JWS (header..signature).")
    known = {key.get("kid"): key for key in keys}
    found = known.get(said.get("kid"))
    if found is None:
        raise BadSignature(
            f"It is signed with the key '{str(said.get('kid'))[:60]}', which is not among the keys given."
        )
    try:
        content = content_of(statement)
        public = OKPKey.import_key({name: found[name] for name in ("kty", "crv", "x")})
        registry = jws.JWSRegistry(algorithms=[ALGORITHM])
        # How large a statement may be is for those who took it in.
        registry.max_payload_length = 2 * len(content)
        read = jws.deserialize_compact(f"{parts[0]}.{_text(content)}.{parts[2]}", public, registry=registry)
    except (JoseError, ValueError, KeyError) as error:
        raise BadSignature("The signature does not fit: the statement was changed after it was signed.") from error
    if read.headers().get("kid") != found["kid"] or digest_of(content) != said.get("sha256"):
        raise BadSignature("The signature does not fit what stands beside it: `kid` or `sha256` was changed.")
    retired = found.get("retired")
    if retired is not None and str(statement.get("created", "")) >= str(retired):
        raise BadSignature(f"It is of {statement.get('created')}, but its key was retired at {retired}.")
    return found


def _doubles(content: Any) -> Any:
    """Whole numbers beyond 2^53 as the doubles that JSON has for them: a large one is read back as an integer."""
    if isinstance(content, Mapping):
        return {name: _doubles(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_doubles(value) for value in content]
    if isinstance(content, int) and not isinstance(content, bool) and abs(content) > EXACT:
        return float(content)
    return content


def _public(private: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")
