"""A strict HTTP server for unit tests: what was not registered is answered with 599 and fails the test."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answer = tuple[int, Any]


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Wire:
    """Answers by method and path; a callable is asked each time, anything else is (status, document or text).

    An iterator of texts is sent as they come.
    """

    url: str = ""
    seen: list[Request] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    """More response headers by path."""
    routes: dict[tuple[str, str], Answer | Callable[[Request], Answer]] = field(default_factory=dict)

    def on(self, method: str, path: str, answer: Answer | Callable[[Request], Answer]) -> None:
        self.routes[method, path] = answer

    def sent(self, method: str, path: str) -> list[Request]:
        return [request for request in self.seen if (request.method, request.path) == (method, path)]

    def answer(self, request: Request) -> Answer:
        self.seen.append(request)
        route = self.routes.get((request.method, request.path))
        if route is None:
            self.strays.append(f"{request.method} {request.path}")
            return 599, {"message": "not registered"}
        return route(request) if callable(route) else route


@contextmanager
def wire(strict: bool = True) -> Iterator[Wire]:
    fake = Wire()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # one packet per answer: two would wait 40 ms for the client's delayed ACK

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {key.lower(): value for key, value in self.headers.items()}
            status, document = fake.answer(Request(self.command, parts.path, parse_qs(parts.query), headers, body))
            if isinstance(document, Iterator):
                self._stream(status, document)
                return
            text = document if isinstance(document, str) else json.dumps(document)
            self.send_response(status)
            self.send_header("Content-Type", "text/plain" if isinstance(document, str) else "application/json")
            data = b"" if status == 204 else text.encode()
            self.send_header("Content-Length", str(len(data)))
            for name, value in fake.headers.get(parts.path, {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)
            self.wfile.flush()

        def _stream(self, status: int, parts: Iterator[str]) -> None:
            """A text whose end is the end of the connection, part by part as they come."""
            self.send_response(status)
            self.send_header("Connection", "close")
            for name, value in fake.headers.get(urlsplit(self.path).path, {}).items():
                self.send_header(name, value)
            self.end_headers()
            for part in parts:
                self.wfile.write(part.encode())
                self.wfile.flush()

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - http.server's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
    assert not strict or not fake.strays, fake.strays
