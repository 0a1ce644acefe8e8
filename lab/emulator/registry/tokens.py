"""The registry's tokens: signed by GitLab, checked by the registry (contracts D.1).

``cryptography`` is imported when the first token is made or checked: the start of the process does not pay for it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import secrets
import threading
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

AUDIENCE = "container_registry"
ISSUER = "omnibus-gitlab-issuer"
LEEWAY = 60
"""Seconds that clocks may differ [DIST registry/auth/token/token.go Leeway]."""
_EARLIER = 5
"""Seconds before its making from which a token counts [GitLab json_web_token/token.rb]."""
_BITS = 2048


class TokenError(Exception):
    """A token that the registry refuses."""


class Key:
    """The key pair, made once and kept as a file with mode 0600."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    @cached_property
    def _private(self) -> RSAPrivateKey:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        try:
            key = serialization.load_pem_private_key(self._path.read_bytes(), None)
        except FileNotFoundError:
            key = rsa.generate_private_key(65537, _BITS)
            pem = key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            self._write(pem)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise TypeError(f"{self._path}: not an RSA key")
        return key

    def prepare(self) -> None:
        """Load or make the key now; takes about a tenth of a second, for a thread."""
        with self._lock:
            _ = self.identifier

    @cached_property
    def identifier(self) -> str:
        """The key's id in token headers: a fingerprint in libtrust's form."""
        from cryptography.hazmat.primitives import serialization

        der = self._private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        text = base64.b32encode(hashlib.sha256(der).digest()[:30]).decode()
        return ":".join(text[at : at + 4] for at in range(0, len(text), 4))

    def sign(self, claims: dict[str, Any]) -> str:
        """``claims`` as a signed token (RS256)."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        header = {"typ": "JWT", "alg": "RS256", "kid": self.identifier}
        payload = f"{_pack(header)}.{_pack(claims)}"
        signature = self._private.sign(payload.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{payload}.{_encode(signature)}"

    def claims(self, token: str) -> dict[str, Any]:
        """The claims of a token with a good signature; raises `TokenError`."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        try:
            payload, _, signature = token.rpartition(".")
            header, _, body = payload.partition(".")
            if json.loads(_decode(header)).get("alg") != "RS256":
                raise TokenError("not signed with RS256")
            self._private.public_key().verify(_decode(signature), payload.encode(), padding.PKCS1v15(), hashes.SHA256())
            return dict(json.loads(_decode(body)))
        except (ValueError, AttributeError, TypeError, binascii.Error, InvalidSignature) as error:
            raise TokenError("malformed or badly signed") from error

    def _write(self, content: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".tmp")
        temporary.unlink(missing_ok=True)
        temporary.touch(mode=0o600)
        temporary.write_bytes(content)
        temporary.replace(self._path)


def issue(
    key: Key,
    *,
    subject: str | None,
    kind: str,
    user: dict[str, Any],
    access: list[dict[str, Any]],
    lifetime: float,
) -> str:
    """A token that GitLab would give: ``access`` lists what it allows, ``user`` says to whom; it lives seconds."""
    now = int(time.time())
    lasting = {"iat": now, "nbf": now - _EARLIER, "exp": now + int(lifetime)}
    return key.sign(
        {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": subject or "",
            **lasting,
            "jti": secrets.token_hex(16),
            "auth_type": kind,
            "access": access,
            "user": key.sign({"user_info": user, **lasting, "jti": secrets.token_hex(16)}),
        }
    )


def check(key: Key, token: str, now: float | None = None) -> list[dict[str, Any]]:
    """What a token allows: its ``access`` claim.

    Raises:
        TokenError: signature, issuer, audience or time is wrong.
    """
    claims = key.claims(token)
    moment = time.time() if now is None else now
    try:
        if claims["iss"] != ISSUER or claims["aud"] != AUDIENCE:
            raise TokenError("for somebody else")
        if moment > float(claims["exp"]) + LEEWAY:
            raise TokenError("expired")
        if moment < float(claims["nbf"]) - LEEWAY:
            raise TokenError("not to be used before a later time")
        return [dict(entry) for entry in claims.get("access") or []]
    except (KeyError, TypeError, ValueError) as error:
        raise TokenError("incomplete") from error


def _pack(document: dict[str, Any]) -> str:
    return _encode(json.dumps(document, separators=(",", ":")).encode())


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
