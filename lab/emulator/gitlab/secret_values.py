"""Secrets: how they are made, and how only their digests are kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets

_SCRYPT = {"n": 2**10, "r": 8, "p": 1}  # about 3 ms: a request must not hold the event loop longer


def new(prefix: str = "") -> str:
    """A new secret value, for example ``glpat-`` and 20 characters."""
    return prefix + secrets.token_urlsafe(15)


def digest(value: str) -> str:
    """The digest under which a token is stored; enough for random values of 120 bits."""
    return hashlib.sha256(value.encode()).hexdigest()


def password_digest(password: str) -> str:
    """``salt:key`` for a password chosen by a person."""
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}:{hashlib.scrypt(password.encode(), salt=salt, **_SCRYPT).hex()}"


def password_matches(password: str, stored: str) -> bool:
    """Whether ``password`` is the one that `password_digest` was given."""
    salt, _, key = stored.partition(":")
    if not key:
        return False
    return hmac.compare_digest(hashlib.scrypt(password.encode(), salt=bytes.fromhex(salt), **_SCRYPT).hex(), key)
