"""How errors leave the API: one middleware for every part that adds routes."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from lab.emulator.gitlab.model import ApiError

log = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Render ApiError as JSON, unknown API routes as GitLab's 404 that names what is missing, the rest as 500."""
    try:
        return await handler(request)
    except ApiError as error:
        return web.json_response(error.body, status=error.status)
    except web.HTTPException as error:
        if not request.path.startswith("/api/"):
            raise
        return _routing(request, error)
    except (ConnectionResetError, OSError) as error:
        if request.transport is None or request.transport.is_closing():
            raise
        return _failed(request, error)
    except Exception as error:  # noqa: BLE001 - the last resort of a server: the request fails, the process lives
        return _failed(request, error)


def _routing(request: web.Request, error: web.HTTPException) -> web.Response:
    if error.status == 404:
        missing = f"not emulated: {request.method} {request.path}"
        return web.json_response({"error": "404 Not Found", "message": missing}, status=404)
    if error.status == 405:
        missing = f"not emulated: {request.method} {request.path}"
        return web.json_response({"error": "405 Not Allowed", "message": missing}, status=405)
    return web.json_response({"error": f"{error.status} {error.reason}"}, status=error.status, headers=_kept(error))


def _kept(error: web.HTTPException) -> dict[str, str]:
    return {name: value for name, value in error.headers.items() if name in {"Location", "Allow", "WWW-Authenticate"}}


def _failed(request: web.Request, error: Exception) -> web.Response:
    log.error("%s %s failed", request.method, request.path, exc_info=error)
    if request.path.startswith("/api/"):
        return web.json_response({"message": "500 Internal Server Error"}, status=500)
    return web.Response(status=500, text="500 Internal Server Error")
