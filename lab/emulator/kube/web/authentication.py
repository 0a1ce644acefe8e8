"""Who may talk to the API: the administrator's bearer token, and for the rest upstream's refusals.

Source: apiserver pkg/endpoints/filters/{authentication,authorization}.go, its responsewriters (v0.33).
"""

from __future__ import annotations

import hmac
import json
import secrets
from pathlib import Path

from aiohttp import web

from lab.emulator.kube.errors import StatusError, not_emulated

PUBLIC = ("/healthz", "/livez", "/readyz", "/version", "/.well-known")


def token_of(path: Path) -> str:
    """The administrator's token, kept in ``path`` (0600); made on the first start."""
    try:
        found = path.read_text().strip()
    except OSError:
        found = ""
    if not found:
        found = secrets.token_urlsafe(32)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = path.with_suffix(".tmp")
        temporary.unlink(missing_ok=True)
        temporary.touch(mode=0o600)
        temporary.write_text(found)
        temporary.replace(path)
    return found


class Authentication:
    """Checks a request's token."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def check(self, request: web.Request) -> None:
        """Let the administrator pass.

        Raises:
            StatusError: 401 a wrong token; 403 no token and a path that anonymous callers may not see;
                501 a request in somebody else's name, as nobody else's rights are known.
        """
        if any(name.lower().startswith("impersonate-") for name in request.headers):
            raise not_emulated("impersonation (kubectl --as)")
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token:
            if hmac.compare_digest(token.strip().encode(), self._token):
                return
            raise StatusError(401, "Unauthorized", "Unauthorized")
        if scheme:
            raise StatusError(401, "Unauthorized", "Unauthorized")
        if not request.path.startswith(PUBLIC):
            raise _anonymous(request)


def _anonymous(request: web.Request) -> StatusError:
    user = 'User "system:anonymous" cannot'
    parts = request.path.strip("/").split("/")
    start = {"api": 2, "apis": 3}.get(parts[0], 99)
    verb = request.method.lower()
    if len(parts) <= start:
        return StatusError(403, "Forbidden", f"forbidden: {user} {verb} path {json.dumps(request.path)}", {})
    group = parts[1] if start == 3 else ""
    rest, place = parts[start:], " at the cluster scope"
    if rest[0] == "namespaces" and len(rest) >= 3:
        place, rest = f' in the namespace "{rest[1]}"', rest[2:]
    name = rest[1] if len(rest) > 1 else ""
    verbs = {"get": "get" if name else "list", "post": "create", "put": "update", "delete": "delete" if name else
             "deletecollection"}  # fmt: skip
    subject = f'{rest[0]}.{group} "{name}"' if group and name else f'{rest[0]} "{name}"' if name else (
        f"{rest[0]}.{group}" if group else rest[0])  # fmt: skip
    message = (f'{subject} is forbidden: {user} {verbs.get(verb, verb)} resource "{rest[0]}" in API group '
               f'"{group}"{place}')  # fmt: skip
    details = {key: value for key, value in (("name", name), ("group", group), ("kind", rest[0])) if value}
    return StatusError(403, "Forbidden", message, details)
