"""Who may call: signed tokens, verified here, so that calls go on while the platform's server is away.

A token is a JWT signed with Ed25519: ``kid`` names the key, ``aud`` is ``zone/endpoint``, ``exp`` and ``jti`` are
demanded. A token is verified once and then known by a digest until it expires; the list of revoked tokens is read
again when its file changes.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from time import monotonic, time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from model_platform_runner.errors import CallError, StartError

_KNOWN_TOKENS = 4096
_LOOK_SECONDS = 1.0  # how often, at most, the file of revoked tokens is looked at


class Tokens:
    """Verifies the tokens of one endpoint.

    Raises
    ------
    StartError
        ``failed_start``: a public key is not one.
    """

    def __init__(self, audience: str, public_keys: Mapping[str, str], revoked_file: Path | None) -> None:
        self._audience = audience
        self._keys = {kid: _public_key(kid, text) for kid, text in public_keys.items()}
        self._revoked = _Revoked(revoked_file)
        self._known: dict[bytes, tuple[float, str]] = {}  # digest of the header: when its token expires, its jti

    def check(self, authorization: bytes | None) -> None:
        """Accept an ``Authorization`` header.

        Raises
        ------
        CallError
            ``unauthenticated`` (401), saying whether the token is missing, expired, revoked, for another endpoint
            or not genuine; never repeating it.
        """
        digest = hashlib.sha256(authorization or b"").digest()
        expires, identity = self._known.get(digest) or self._verified(authorization or b"", digest)
        if expires <= time():
            self._known.pop(digest, None)
            raise self._refusal("The token has expired: ask for a new one.", "the token has expired")
        if identity in self._revoked.identities():
            raise self._refusal("The token has been revoked: ask for a new one.", "the token has been revoked")

    def _verified(self, authorization: bytes, digest: bytes) -> tuple[float, str]:
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer" or not token.strip():
            raise self._refusal("This endpoint needs a token: send it as 'Authorization: Bearer <token>'.", None)
        known = self._claims(token.strip())
        if len(self._known) >= _KNOWN_TOKENS:
            self._known.pop(next(iter(self._known)))  # the one that has been known longest
        self._known[digest] = known
        return known

    def _claims(self, token: bytes) -> tuple[float, str]:
        try:
            key = self._keys.get(jwt.get_unverified_header(token).get("kid", ""))
            if key is None:
                raise self._refusal("The token was signed with a key that this endpoint does not know.", "unknown key")
            # The expiry is compared on every call, so that a token that is known expires as well.
            demanded: Any = {"require": ["exp", "aud", "jti"], "verify_iat": False, "verify_exp": False}
            claims = jwt.decode(token, key, algorithms=["EdDSA"], audience=self._audience, options=demanded)
            return float(claims["exp"]), str(claims["jti"])
        except (jwt.InvalidAudienceError, jwt.MissingRequiredClaimError) as error:
            if isinstance(error, jwt.MissingRequiredClaimError) and error.claim != "aud":
                raise self._refusal(
                    "The token lacks a claim: exp, aud and jti are needed.", "a claim is missing"
                ) from None
            wrong = f"The token is not for this endpoint ({self._audience})."
            raise self._refusal(wrong, "the token is for another endpoint") from None
        except (jwt.InvalidTokenError, UnicodeDecodeError, ValueError, TypeError):
            raise self._refusal("The token is not genuine: its form or signature is wrong.", "invalid token") from None

    def _refusal(self, message: str, problem: str | None) -> CallError:
        challenge = f'Bearer realm="{self._audience}"'
        if problem:
            challenge += f', error="invalid_token", error_description="{problem}"'
        return CallError(401, "unauthenticated", message, headers=[(b"www-authenticate", challenge.encode())])


class _Revoked:
    """The identities (jti) of revoked tokens, as a file lists them; what cannot be read changes nothing."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._identities: frozenset[str] = frozenset()
        self._seen: tuple[int, ...] = ()
        self._next_look = 0.0

    def identities(self) -> frozenset[str]:
        if self._file is not None and monotonic() >= self._next_look:
            self._next_look = monotonic() + _LOOK_SECONDS
            self._look(self._file)
        return self._identities

    def _look(self, file: Path) -> None:
        try:
            status = file.stat()
            seen = (status.st_mtime_ns, status.st_ino, status.st_size)
            if seen != self._seen:
                self._identities = frozenset(str(each) for each in json.loads(file.read_bytes()))
                self._seen = seen
        except (OSError, ValueError, TypeError):
            return  # not there yet, or being written: looked at again in a second


def _public_key(kid: str, text: str) -> Ed25519PublicKey:
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return Ed25519PublicKey.from_public_bytes(raw)
    except ValueError as error:
        raise StartError("failed_start", f'The public key "{kid}" is not an Ed25519 key.') from error
