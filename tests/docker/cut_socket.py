"""A socket between a lab and its Docker engine that can be cut, as an engine that ends in the middle does it."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path


class CutSocket:
    """Passes everything on to an engine until `cut`; afterwards nobody answers."""

    def __init__(self, path: Path, engine: str = "/var/run/docker.sock") -> None:
        self.address = f"unix://{path}"
        self._path, self._engine = path, engine
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._server: socket.socket | None = None

    def mend(self) -> None:
        """Listen (again)."""
        self._path.unlink(missing_ok=True)
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(self._path))
        server.listen(64)
        self._server = server
        threading.Thread(target=self._accept, args=(server,), daemon=True).start()

    def cut(self) -> None:
        """Close every connection and stop listening."""
        self._path.unlink(missing_ok=True)
        with self._lock:
            server, self._server = self._server, None
            for each in [*([server] if server else []), *self._open]:
                _close(each)
            self._open = []

    def _accept(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = server.accept()
                engine = socket.socket(socket.AF_UNIX)
                engine.connect(self._engine)
                with self._lock:
                    if self._server is not server:  # it was cut in between
                        _close(client)
                        _close(engine)
                        return
                    self._open += [client, engine]
                for pair in ((client, engine), (engine, client)):
                    threading.Thread(target=_pass, args=pair, daemon=True).start()


def _pass(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _close(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
