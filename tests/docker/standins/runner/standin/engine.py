"""As much of the Docker API as jobs need, over the socket. Values travel in bodies and never on a command line."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import Callable
from typing import Any

import aiohttp

SOCKET = "/var/run/docker.sock"
_LONG = aiohttp.ClientTimeout(total=3600)
_SHORT = aiohttp.ClientTimeout(total=60)


class DockerError(Exception):
    """What the engine answered instead."""


class Engine:
    """Docker's engine behind the mounted socket."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(SOCKET, limit=0))

    async def close(self) -> None:
        """End open connections."""
        await self._session.close()

    async def call(self, method: str, path: str, body: Any = None, *, wait: bool = False, **query: str) -> Any:
        """One request; answers its JSON, or None. Raises `DockerError`."""
        url, timeout = f"http://docker{path}", _LONG if wait else _SHORT
        try:
            async with self._session.request(method, url, json=body, params=query, timeout=timeout) as response:
                text = await response.text()
        except aiohttp.ClientError as error:
            raise DockerError(f"Cannot connect to the Docker daemon at unix://{SOCKET}: {error}") from error
        if response.status >= 400:
            raise DockerError(f"Error response from daemon: {json.loads(text).get('message', text)}")
        return json.loads(text) if text.strip() else None

    async def image(self, reference: str) -> dict[str, Any] | None:
        """A local image, or None."""
        try:
            found: dict[str, Any] = await self.call("GET", f"/images/{reference}/json")
        except DockerError as error:
            if "No such image" in str(error):
                return None
            raise
        return found

    async def pull(self, reference: str, login: dict[str, str] | None) -> None:
        """Pull; raises `DockerError` with the daemon's reason."""
        path, _, tag = reference.rpartition(":") if ":" in reference.rpartition("/")[2] else (reference, "", "latest")
        headers = {}
        if login:
            headers["X-Registry-Auth"] = base64.urlsafe_b64encode(json.dumps(login).encode()).decode()
        url, query = "http://docker/images/create", {"fromImage": path, "tag": tag}
        async with self._session.post(url, params=query, headers=headers, timeout=_LONG) as response:
            text = await response.text()
        if response.status >= 400:
            raise DockerError(f"Error response from daemon: {json.loads(text).get('message', text)}")
        for line in text.splitlines():
            if "error" in (progress := json.loads(line)):
                raise DockerError(f"Error response from daemon: {progress['error']}")

    async def run(self, container: str, script: str, output: Callable[[bytes], None], end: asyncio.Event) -> int:
        """Start a container with ``script`` on its standard input; answers its exit code. ``end`` kills it."""
        reader, writer = await asyncio.open_unix_connection(SOCKET)
        try:
            writer.write(
                f"POST /containers/{container}/attach?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\n"
                "Host: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 101 " not in head and b" 200 " not in head:
                raise DockerError(f"attach: {head.splitlines()[0].decode()}")
            await self.call("POST", f"/containers/{container}/start")
            killer = asyncio.create_task(self._kill_at(container, end))
            writer.write(script.encode())
            writer.write_eof()
            await _demultiplex(reader, output)
            killer.cancel()
        finally:
            writer.close()
        answer = await self.call("POST", f"/containers/{container}/wait", wait=True)
        return int(answer["StatusCode"])

    async def _kill_at(self, container: str, end: asyncio.Event) -> None:
        await end.wait()
        await self.call("POST", f"/containers/{container}/kill")

    async def logs(self, container: str) -> str:
        """What a container has printed."""
        url = f"http://docker/containers/{container}/logs?stdout=1&stderr=1"
        async with self._session.get(url, timeout=_SHORT) as response:
            raw = await response.read()
        lines, place = [], 0
        while place + 8 <= len(raw):
            size = int.from_bytes(raw[place + 4 : place + 8], "big")
            lines.append(raw[place + 8 : place + 8 + size])
            place += 8 + size
        return b"".join(lines).decode(errors="replace")

    async def remove(self, container: str) -> None:
        """Remove a container with its anonymous volumes, running or not, there or not."""
        try:
            await self.call("DELETE", f"/containers/{container}", force="1", v="1")
        except DockerError as error:
            if "No such container" not in str(error):
                raise


async def _demultiplex(reader: asyncio.StreamReader, output: Callable[[bytes], None]) -> None:
    """Frames of eight bytes' head and a body, until the container has ended."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readexactly(8)
            output(await reader.readexactly(int.from_bytes(head[4:], "big")))
