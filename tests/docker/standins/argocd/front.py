"""argocd-server's port 8080: TLS and plain HTTP on one port, passed on to the node's emulator.

Without ``server.insecure`` (read when the pod starts) every plain request is redirected to https with 307, as upstream.
"""

from __future__ import annotations

import http.client
import http.server
import os
import socket
import socketserver
import ssl
import tempfile
import threading
from typing import Any

_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "content-length"}
_TLS_HANDSHAKE = b"\x16"


class Front(http.server.BaseHTTPRequestHandler):
    """Passes requests on to ``node``, or redirects those without TLS."""

    protocol_version = "HTTP/1.1"
    node = ("", 0)
    redirect = False

    def answer(self) -> None:
        """Handle a request of any method."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.redirect and not isinstance(self.connection, ssl.SSLSocket):
            host = self.headers.get("Host", "").partition(":")[0]
            self.reply(307, [("Location", f"https://{host}{self.path}")], b"")
            return
        node = http.client.HTTPConnection(*self.node, timeout=30)
        try:
            node.request(self.command, self.path, body or None, dict(self.kept(self.headers.items())))
            found = node.getresponse()
            self.reply(found.status, self.kept(found.getheaders()), found.read())
        except OSError as error:
            self.reply(502, [], f"{error}\n".encode())
        finally:
            node.close()

    def __getattr__(self, name: str) -> Any:
        """Every ``do_METHOD`` is `answer`."""
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    @staticmethod
    def kept(headers: Any) -> list[tuple[str, str]]:
        """The headers that concern both ends."""
        return [(key, value) for key, value in headers if key.lower() not in _HOP]

    def reply(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        """Send an answer."""
        self.send_response_only(status)
        for key, value in headers:
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """The node's log says what is to be said."""


class Server(http.server.ThreadingHTTPServer):
    """Tells TLS from plain HTTP by the first byte."""

    daemon_threads = True
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def server_bind(self) -> None:
        """Bind without a look-up of the machine's full name."""
        socketserver.TCPServer.server_bind(self)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve one connection."""
        try:
            request.settimeout(60)
            if request.recv(1, socket.MSG_PEEK) == _TLS_HANDSHAKE:
                request = self.tls.wrap_socket(request, server_side=True)
            super().finish_request(request, client_address)
        except OSError:
            return  # the client went away, or does not trust the certificate
        finally:
            request.close()


def start(node: tuple[str, int], certificate: bytes) -> None:
    """Serve in the background; ``certificate`` is PEM, key included."""
    Front.node = node
    Front.redirect = os.environ.get("ARGOCD_SERVER_INSECURE", "").lower() != "true"
    with tempfile.NamedTemporaryFile() as file:
        file.write(certificate)
        file.flush()
        Server.tls.load_cert_chain(file.name)
    server = Server(("", 8080), Front)
    threading.Thread(target=server.serve_forever, daemon=True).start()
