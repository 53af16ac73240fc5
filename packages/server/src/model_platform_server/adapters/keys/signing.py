"""The ed25519 key that signs endpoint tokens, in a file of mode 0600."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)


class SigningKeys:
    """One key, made once. Its id is a digest of the public key, so that a new key is a new id."""

    def __init__(self, path: Path) -> None:
        self._key = _load(path) if path.exists() else _create(path)
        raw = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self._id = hashlib.sha256(raw).hexdigest()[:16]
        self._public = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    def public_keys(self) -> Mapping[str, str]:
        """Key id to public key, base64url without padding."""
        return {self._id: self._public}

    def sign_endpoint_token(self, audience: str, token_id: str, subject: str, expires_at: dt.datetime) -> str:
        """A signed JWT (EdDSA) for one endpoint."""
        import jwt  # noqa: PLC0415  # it brings certificates, and much else that a start need not wait for

        claims = {"aud": audience, "jti": token_id, "sub": subject, "exp": int(expires_at.timestamp())}
        return jwt.encode(claims, self._key, algorithm="EdDSA", headers={"kid": self._id})


def _load(path: Path) -> Ed25519PrivateKey:
    key = load_pem_private_key(path.read_bytes(), password=None)
    assert isinstance(key, Ed25519PrivateKey)
    return key


def _create(path: Path) -> Ed25519PrivateKey:
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    beside = path.with_suffix(".new")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)
    return key
