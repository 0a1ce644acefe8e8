"""HiChat over HTTP."""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from hichat import page
from hichat.health import Health
from hichat.messages import Messages, Unavailable, messages_for
from hichat.settings import Settings

LONGEST_FORM = 4096  # bytes
LONGEST_MESSAGE = 280  # characters


class Server(ThreadingHTTPServer):
    """Serves every request in a thread of its own and, when it closes, lets those that run come to their end."""

    daemon_threads = False
    request_queue_size = 64

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.health = Health(settings)
        self.messages: Messages = messages_for(settings.redis)
        super().__init__((settings.host, settings.port), Handler)

    def handle_error(self, _request: object, client_address: object) -> None:
        """Say in one line what went wrong with a request (a client that hung up, most often)."""
        print(f"{client_address}: {sys.exc_info()[1]!r}", file=sys.stderr, flush=True)


class Handler(BaseHTTPRequestHandler):
    """One request. It speaks HTTP/1.0, one request a connection, so that no idle connection holds up a shutdown."""

    server: Server
    server_version = "HiChat"
    sys_version = ""
    timeout = 10  # seconds that a client may take over its request
    error_message_format = "%(code)d %(message)s\n"
    error_content_type = "text/plain; charset=utf-8"

    def do_GET(self) -> None:
        """Answer a read."""
        path = _path(self.path)
        if path == "/":
            self._page()
        elif path == "/live":
            self._answer(200, "text/plain", "alive\n")
        elif path == "/health":
            self._answer(200, "application/json", json.dumps(self.server.health.report()) + "\n")
        elif path == "/version":
            self._answer(200, "text/plain", self.server.settings.commit + "\n")
        else:
            self.send_error(404)

    def do_HEAD(self) -> None:
        """Answer as to a read, without the body."""
        self.do_GET()

    def do_POST(self) -> None:
        """Take a message from the form on the page."""
        if _path(self.path) != "/":
            self.send_error(404)
            return
        message = self._message()
        if message is None:
            return
        try:
            self.server.messages.add(message)
        except Unavailable as reason:
            self._page(f"The message was not kept: {reason}")
            return
        self.send_response(303)
        self.send_header("Location", "/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _message(self) -> str | None:
        """The message in the request's form; None when the request was answered with an error instead."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            self.send_error(411)
            return None
        if len(length) > 9 or int(length) > LONGEST_FORM:
            self.send_error(413)
            return None
        fields = parse_qs(self.rfile.read(int(length)).decode(errors="replace"))
        message = " ".join(fields.get("message", [""])[0].split())[:LONGEST_MESSAGE]
        if not message:
            self.send_error(400, "there is no message in the form")
            return None
        return message

    def _page(self, note: str = "") -> None:
        messages: list[str] = []
        status = 503 if note else 200
        try:
            messages = self.server.messages.latest()
        except Unavailable as reason:
            status = 503
            note = note or f"Messages cannot be read now: {reason}"
        if self.server.settings.redis.simulated:
            note = "Redis is simulated here: messages live in this process and end with it."
        self._answer(status, "text/html", page.render(self.server.settings.commit, messages, note))

    def _answer(self, status: int, content_type: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{content_type}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, template: str, *arguments: object) -> None:
        """Write the access log to standard output, where `kubectl logs` finds it; probes are left out."""
        if _path(getattr(self, "path", "")) in {"/live", "/health"}:
            return
        line = f"{self.address_string()} {template % arguments}"
        print(line.encode("unicode_escape").decode(), flush=True)  # what a client sent must not steer a terminal


def _path(target: str) -> str:
    return target.partition("?")[0]
