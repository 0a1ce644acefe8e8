"""The cluster's ingress controller: an HTTP listener that passes requests to ready endpoints.

Answers of its own are Traefik's: 404 ``404 page not found`` without a rule, 503 without an endpoint, 502 when the
endpoint fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import aiohttp
from aiohttp import web
from yarl import URL

from lab.emulator import tls
from lab.emulator.component import Listener
from lab.emulator.config import Config
from lab.emulator.workloads.cluster import ENDPOINTS, INGRESSES, SERVICES, Cluster
from lab.emulator.workloads.endpoints import targets
from lab.emulator.workloads.routes import Route, choose, routes

if TYPE_CHECKING:
    Socket: TypeAlias = "aiohttp.ClientWebSocketResponse[Any] | web.WebSocketResponse"

log = logging.getLogger(__name__)

_HOP_BY_HOP = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
    "upgrade", "proxy-connection",
}  # fmt: skip
_CONNECT = 5.0
_DEFAULT_NAME = "TRAEFIK DEFAULT CERT"
"""Name in the certificate that Traefik signs itself; clients that check it are refused."""
_CHUNK = 65536


class Ingress:
    """Serves the Ingress objects on the application's port."""

    def __init__(self, config: Config, cluster: Cluster, serves: Callable[[], bool]) -> None:
        self._cluster = cluster
        self._serves = serves
        self._table: list[Route] | None = None
        self._turn: dict[tuple[str, str], int] = {}
        self._config = config
        self._listeners: list[Listener] = []
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Listen; raises OSError when the port is taken."""
        # A connection per request: an idle one might be closed by its pod just when it is used again.
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=timeout, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        )
        self._listeners.append(Listener(self._app("web"), self._config.bind, self._config.app_port))
        if self._config.ingress_tls_port:
            context = await asyncio.to_thread(tls.server_context, self._config.data / "traefik", [_DEFAULT_NAME])
            secure = Listener(self._app("websecure"), self._config.bind, self._config.ingress_tls_port, context)
            self._listeners.append(secure)
        for each in self._listeners:
            await each.start()

    def _app(self, entry_point: str) -> web.Application:
        app = web.Application(client_max_size=1 << 40)

        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._handle(request, entry_point)

        app.router.add_route("*", "/{path:.*}", handle)
        return app

    async def stop(self) -> None:
        """Close the listeners and every connection."""
        for each in self._listeners:
            await each.stop()
        if self._session:
            await self._session.close()

    def changed(self) -> None:
        """Read the rules again before the next request."""
        self._table = None

    async def _handle(self, request: web.Request, entry_point: str) -> web.StreamResponse:
        if not self._serves():
            if request.transport:
                request.transport.abort()
            return web.Response(status=503)
        if self._table is None:
            self._table = routes(self._cluster.store.select(*INGRESSES))
        route = choose(self._table, request.host, request.path, entry_point)
        if route is None:
            return _plain(404, "404 page not found")
        candidates = self._candidates(route)
        if candidates is None:
            return _plain(404, "404 page not found")
        if not candidates:
            return _plain(503, "no available server")
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._websocket(request, candidates)
        return await self._forward(request, candidates)

    def _candidates(self, route: Route) -> list[tuple[str, int]] | None:
        """The ready endpoints of a route, rotated; None when its service or port does not exist."""
        service = self._cluster.store.find(*SERVICES, route.namespace, route.service)
        if service is None:
            return None
        ports = service["spec"].get("ports") or ()
        port = next((each for each in ports if route.port in (each.get("name"), each["port"])), None)
        if port is None:
            return None
        found = targets(self._cluster.store.find(*ENDPOINTS, route.namespace, route.service), port)
        key = (route.namespace, route.service)
        turn = self._turn[key] = (self._turn.get(key, -1) + 1) % max(1, len(found))
        return found[turn:] + found[:turn]

    async def _forward(self, request: web.Request, candidates: list[tuple[str, int]]) -> web.StreamResponse:
        assert self._session  # noqa: S101 - set before the listener answers
        data = request.content if request.body_exists else None
        for address, port in candidates:
            url = f"http://{address}:{port}{request.raw_path}"
            try:
                response = await self._session.request(
                    request.method, _raw(url), headers=_headers(request), data=data,
                    allow_redirects=False,
                )  # fmt: skip
            except aiohttp.ClientConnectorError:
                continue  # refused: nothing was sent, another endpoint may take it
            except (aiohttp.ClientError, asyncio.TimeoutError) as error:
                log.info("%s %s: %s", request.method, url, error)
                return _plain(502, "Bad Gateway")
            async with response:
                return await _copy(request, response)
        return _plain(502, "Bad Gateway")

    async def _websocket(self, request: web.Request, candidates: list[tuple[str, int]]) -> web.StreamResponse:
        assert self._session  # noqa: S101 - set before the listener answers
        offered = [
            each.strip() for each in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if each.strip()
        ]
        headers = [(key, value) for key, value in _headers(request) if not key.lower().startswith("sec-websocket-")]
        for address, port in candidates:
            url = _raw(f"http://{address}:{port}{request.raw_path}")
            try:
                there = await self._session.ws_connect(
                    url, protocols=offered, headers=headers, max_msg_size=0, autoping=False
                )
            except aiohttp.ClientConnectorError:
                continue
            except aiohttp.WSServerHandshakeError as error:
                return _plain(error.status, error.message)
            except (aiohttp.ClientError, asyncio.TimeoutError) as error:
                log.info("websocket %s: %s", url, error)
                return _plain(502, "Bad Gateway")
            return await _relay(request, there)
        return _plain(502, "Bad Gateway")


def _raw(url: str) -> URL:
    """``url`` as it stands: what a client sent encoded stays encoded the same way."""
    return URL(url, encoded=True)


def _plain(status: int, text: str) -> web.Response:
    headers = {"X-Content-Type-Options": "nosniff"} if status == 404 else {}
    return web.Response(status=status, text=text + "\n" if status == 404 else text, headers=headers)


def _headers(request: web.Request) -> list[tuple[str, str]]:
    """The request's headers for the endpoint, with what a proxy adds."""
    dropped = {each.strip().lower() for each in request.headers.get("Connection", "").split(",")} | _HOP_BY_HOP
    added = {
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-real-ip",
        "x-forwarded-server",
    }
    kept = [(key, value) for key, value in request.headers.items() if key.lower() not in dropped | added]
    remote = request.remote or ""
    host, _, port = request.host.partition(":")
    kept += [
        ("X-Forwarded-For", remote), ("X-Forwarded-Host", request.host),
        ("X-Forwarded-Port", port or ("443" if request.secure else "80")), ("X-Forwarded-Proto", request.scheme),
        ("X-Forwarded-Server", host), ("X-Real-Ip", remote),
    ]  # fmt: skip
    return kept


async def _copy(request: web.Request, response: aiohttp.ClientResponse) -> web.StreamResponse:
    answer = web.StreamResponse(status=response.status, reason=response.reason)
    for key, value in response.headers.items():
        if key.lower() not in _HOP_BY_HOP:
            answer.headers.add(key, value)
    await answer.prepare(request)
    try:
        async for chunk in response.content.iter_any():
            await answer.write(chunk)
    except (aiohttp.ClientError, asyncio.TimeoutError) as error:
        log.info("%s %s: the endpoint broke off: %s", request.method, request.path, error)
        if request.transport:
            request.transport.abort()  # the client must see that the answer is not whole
        return answer
    await answer.write_eof()
    return answer


async def _relay(request: web.Request, there: aiohttp.ClientWebSocketResponse[Any]) -> web.StreamResponse:
    """Pass websocket messages both ways until one side closes."""
    protocols = [there.protocol] if there.protocol else []
    here = web.WebSocketResponse(protocols=protocols, max_msg_size=0, autoping=False)
    await here.prepare(request)
    both = [asyncio.create_task(_messages(here, there)), asyncio.create_task(_messages(there, here))]
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)
        await there.close(code=here.close_code or 1000)
        await here.close(code=there.close_code or 1000)
    return here


async def _messages(source: Socket, target: Socket) -> None:
    async for message in source:
        with contextlib.suppress(ConnectionError):
            if message.type is aiohttp.WSMsgType.TEXT:
                await target.send_str(message.data)
            elif message.type is aiohttp.WSMsgType.BINARY:
                await target.send_bytes(message.data)
            elif message.type is aiohttp.WSMsgType.PING:
                await target.ping(message.data)
            elif message.type is aiohttp.WSMsgType.PONG:
                await target.pong(message.data)
