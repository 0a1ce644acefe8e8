"""A Docker engine at the wire for unit tests: images, pulls in chunks, refusals; what it does not know is a stray."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from lab.engines.docker.references import parse

Events = list[dict[str, Any] | bytes | Callable[[], None]]
"""What a pull answers: events, raw bytes, and things to do in between."""


def layers(*sizes: int) -> Events:
    """The events of a pull of layers with these sizes, each in two steps."""
    events: Events = [
        {"status": "Pulling fs layer", "progressDetail": {}, "id": f"layer{n}"} for n in range(len(sizes))
    ]
    for number, total in enumerate(sizes):
        layer = f"layer{number}"
        events += [
            {"status": "Downloading", "progressDetail": {"current": part, "total": total}, "id": layer}
            for part in (total // 2, total)
        ]
        events.append({"status": "Download complete", "progressDetail": {}, "id": layer})
        events.append({"status": "Pull complete", "progressDetail": {}, "id": layer})
    return events


@dataclass
class Engine:
    """A pretended engine; ``environ`` leads the lab to it."""

    url: str = ""
    arch: str = "amd64"
    memory: int = 8 * 1024**3
    root: str = "/nonexistent"
    """Where it keeps its data."""
    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By the name that Docker shows."""
    hub: dict[str, Events | tuple[int, str]] = field(default_factory=dict)
    """What a pull of ``registry/repository:tag`` answers; an image appears at the end of its events."""
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """More attributes of a pulled image, by the same name."""
    used: set[str] = field(default_factory=set)
    """Names of images that containers use."""
    asked: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    at_once: list[int] = field(default_factory=list)
    """How many pulls ran when one began."""
    running: int = 0

    @property
    def environ(self) -> Mapping[str, str]:
        return {"DOCKER_HOST": self.url, "DOCKER_CONFIG": "/nonexistent"}

    def have(self, name: str, **more: Any) -> None:
        """Put an image there."""
        self.images[parse(name).name] = {
            "Id": "sha256:" + f"{abs(hash(name)):x}".rjust(64, "0")[:64],
            "RepoTags": [parse(name).name], "RepoDigests": [], "Size": 5_000_000, "Architecture": self.arch, **more,
        }  # fmt: skip

    def find(self, name: str) -> dict[str, Any] | None:
        """By name, digest reference or id."""
        if name in {image["Id"] for image in self.images.values()}:
            return next(image for image in self.images.values() if image["Id"] == name)
        if "@" in name:
            return next((image for image in self.images.values() if name in image["RepoDigests"]), None)
        return self.images.get(parse(name).name)


@contextmanager
def engine() -> Iterator[Engine]:
    fake = Engine()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            path = re.sub(r"^/v\d+\.\d+", "", unquote(parts.path))
            self._query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            fake.asked.append(f"{self.command} {path}" + (f"?{parts.query}" if parts.query else ""))
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if path == "/version":
                return self._say(200, {"ApiVersion": "1.45", "MinAPIVersion": "1.24", "Arch": fake.arch})
            if path == "/info":
                return self._say(200, {"MemTotal": fake.memory, "Architecture": fake.arch, "DockerRootDir": fake.root})
            if (self.command, path) == ("POST", "/images/create"):
                return self._pull()
            found = re.fullmatch(r"/images/(.+?)(/json|/tag|/get)?", path)
            return self._image(found[1], found[2]) if found else self._stray(path)

        def _stray(self, path: str) -> None:
            fake.strays.append(f"{self.command} {path}")
            self._say(599, {"message": "not registered"})

        def _image(self, name: str, what: str | None) -> None:
            image = fake.find(name)
            if image is None:
                return self._say(404, {"message": f"No such image: {name}"})
            if self.command == "GET" and what == "/json":
                return self._say(200, image)
            if self.command == "GET" and what == "/get":
                return self._say(200, {"saved": name})
            if self.command == "POST" and what == "/tag":
                fake.images[parse(f"{self._query['repo']}:{self._query['tag']}").name] = image
                return self._say(201, None)
            if self.command == "DELETE":
                if name in fake.used and sum(other is image for other in fake.images.values()) == 1:
                    return self._say(409, {"message": "conflict: unable to remove: container 1 is using it"})
                fake.images.pop(parse(name).name, None)
                return self._say(200, [{"Untagged": name}])
            return self._stray(self.path)

        def _pull(self) -> None:
            with lock:
                fake.running += 1
                fake.at_once.append(fake.running)
            try:
                self._stream()
            finally:
                with lock:
                    fake.running -= 1

        def _stream(self) -> None:
            repository, version = self._query["fromImage"], self._query["tag"]
            name = f"{repository}@{version}" if version.startswith("sha256:") else f"{repository}:{version}"
            answer = fake.hub.get(name, (404, f"manifest for {name} not found: manifest unknown: manifest unknown"))
            if isinstance(answer, tuple):
                return self._say(answer[0], {"message": answer[1]})
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for event in answer:
                if callable(event):
                    event()
                    continue
                data = event if isinstance(event, bytes) else json.dumps(event).encode() + b"\r\n"
                self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                self.wfile.flush()
            if not any(isinstance(event, dict) and "error" in event for event in answer):
                digests = [name] if "@" in name else []
                fake.have(f"{repository}:x" if digests else name, RepoDigests=digests, **fake.attributes.get(name, {}))
            self.wfile.write(b"0\r\n\r\n")
            return None

        def _say(self, status: int, document: Any) -> None:
            data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = do_PUT = _serve  # noqa: N815 - http.server's names

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    fake.url = f"tcp://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
    assert not fake.strays, fake.strays
