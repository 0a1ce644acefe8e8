"""Errors of the distribution API, as JSON with a code.

Source: distribution registry/api/errcode and registry/api/v2/errors.go.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

log = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

VERSION_HEADER = {"Docker-Distribution-Api-Version": "registry/2.0", "X-Content-Type-Options": "nosniff"}
_KINDS = {
    "BLOB_UNKNOWN": (404, "blob unknown to registry"),
    "BLOB_UPLOAD_INVALID": (404, "blob upload invalid"),
    "BLOB_UPLOAD_UNKNOWN": (404, "blob upload unknown to registry"),
    "DIGEST_INVALID": (400, "provided digest did not match uploaded content"),
    "MANIFEST_BLOB_UNKNOWN": (400, "blob unknown to registry"),
    "MANIFEST_INVALID": (400, "manifest invalid"),
    "MANIFEST_UNKNOWN": (404, "manifest unknown"),
    "NAME_INVALID": (400, "invalid repository name"),
    "NAME_UNKNOWN": (404, "repository name not known to registry"),
    "PAGINATION_NUMBER_INVALID": (400, "invalid number of results requested"),
    "RANGE_INVALID": (416, "invalid content range"),
    "SIZE_INVALID": (400, "provided length did not match content length"),
    "TAG_INVALID": (400, "manifest tag did not match URI"),
    "UNAUTHORIZED": (401, "authentication required"),
    "UNSUPPORTED": (405, "The operation is unsupported."),
    "UNKNOWN": (500, "unknown error"),
}


class DistributionError(Exception):
    """An answer that is not a success; ``code`` is one of the specification's."""

    def __init__(
        self,
        code: str,
        *,
        detail: Any = None,
        status: int | None = None,
        message: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        usual_status, usual_message = _KINDS[code]
        super().__init__(code)
        self.code = code
        self.status = status or usual_status
        self.message = message or usual_message
        self.detail = detail
        self.headers = headers or {}

    def response(self) -> web.Response:
        """The error as an HTTP answer."""
        entry = {"code": self.code, "message": self.message}
        if self.detail is not None or self.code == "UNAUTHORIZED":  # distribution shows null there
            entry["detail"] = self.detail
        return web.json_response({"errors": [entry]}, status=self.status, headers=self.headers)


@web.middleware
async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Render errors as the specification has them; unknown routes too."""
    try:
        return await handler(request)
    except DistributionError as error:
        return error.response()
    except web.HTTPMethodNotAllowed:
        return DistributionError("UNSUPPORTED").response()
    except web.HTTPNotFound:
        missing = f"not emulated: {request.method} {request.path}"
        return web.json_response({"errors": [{"code": "NOT_FOUND", "message": missing}]}, status=404)
    except ConnectionResetError:
        raise
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        return DistributionError("UNKNOWN").response()


async def add_version(_request: web.Request, response: web.StreamResponse) -> None:
    """Put the registry's version header on every answer."""
    response.headers.update(VERSION_HEADER)
