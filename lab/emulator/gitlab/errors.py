"""How errors leave the API: one middleware for every part that adds routes."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from lab.emulator.gitlab.model import ApiError
from lab.emulator.gitlab.unserved import exists_upstream

log = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_JSON_OF_AIOHTTP = "application/json; charset=utf-8"


@web.middleware
async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Render ApiError as JSON, unknown API routes as an answer that names what is missing, the rest as 500."""
    response = await _answered(request, handler)
    if not response.prepared and response.headers.get("Content-Type") == _JSON_OF_AIOHTTP:
        response.headers["Content-Type"] = "application/json"  # as Grape writes it
    return response


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
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
    path = request.rel_url.raw_path  # as sent: a project's path counts as one part
    missing = f"not emulated: {request.method} {path}"
    if error.status in {404, 405} and exists_upstream(request.method, path):
        return web.json_response({"message": f"501 Not Implemented - {missing}"}, status=501)
    if error.status in {404, 405}:
        text = "404 Not Found" if error.status == 404 else "405 Not Allowed"
        return web.json_response({"error": text, "message": missing}, status=error.status, headers=_kept(error))
    return web.json_response({"error": f"{error.status} {error.reason}"}, status=error.status, headers=_kept(error))


def _kept(error: web.HTTPException) -> dict[str, str]:
    return {name: value for name, value in error.headers.items() if name in {"Location", "Allow", "WWW-Authenticate"}}


def _failed(request: web.Request, error: Exception) -> web.Response:
    log.error("%s %s failed", request.method, request.path, exc_info=error)
    if request.path.startswith("/api/"):
        return web.json_response({"message": "500 Internal Server Error"}, status=500)
    return web.Response(status=500, text="500 Internal Server Error")
