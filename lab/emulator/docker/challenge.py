"""The ``WWW-Authenticate`` header of a registry.

Source: distribution's auth/challenge and the token specification.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlencode

_PARAMETER = re.compile(r'([a-zA-Z_]+)="([^"]*)"|([a-zA-Z_]+)=([^",\s]+)')


def bearer(header: str | None) -> dict[str, str] | None:
    """The parameters of a Bearer challenge (``realm``, ``service``, ``scope`` ...), or None."""
    scheme, _, rest = (header or "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    return {match[1] or match[3]: match[2] or match[4] for match in _PARAMETER.finditer(rest)}


def token_address(parameters: dict[str, str], scopes: list[str], account: str | None = None) -> str:
    """The address to fetch a token from."""
    query = [("account", account)] if account else []
    query += [("scope", scope) for scope in scopes]
    if service := parameters.get("service"):
        query.append(("service", service))
    return f"{parameters['realm']}?{urlencode(query)}" if query else parameters["realm"]


def token_of(body: bytes) -> str | None:
    """The token in the answer of a token service, or None."""
    try:
        document: Any = json.loads(body)
    except ValueError:
        return None
    token = document.get("token") or document.get("access_token") if isinstance(document, dict) else None
    return token if isinstance(token, str) else None


def messages(body: bytes) -> list[str]:
    """The errors of a registry's answer in Docker's form, ``code: message`` with the code in lower case."""
    try:
        errors = json.loads(body).get("errors") or []
        return [f"{str(e.get('code', '')).lower().replace('_', ' ')}: {e.get('message', '')}" for e in errors]
    except (ValueError, AttributeError):
        return []
