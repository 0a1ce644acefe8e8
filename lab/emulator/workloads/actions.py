"""What probes and lifecycle hooks do: HTTP requests, TCP connections, commands, sleeps.

Messages are the kubelet's and Go's own (pkg/probe/http, pkg/probe/tcp, net package).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp

from lab.emulator.workloads.objects import Obj
from lab.emulator.workloads.patience import within
from lab.emulator.workloads.ports import LOOPBACK, own_address, real_port
from lab.emulator.workloads.probes import Outcome

Execute = Callable[[list[str], float], Awaitable[tuple[int | None, str]]]
"""Runs a command in the container for at most so many seconds: exit code (None when time ran out), output."""


async def attempt(
    action: Mapping[str, Any],
    pod: Obj,
    ports: Mapping[int, int],
    *,
    timeout: float,
    session: aiohttp.ClientSession,
    execute: Execute,
) -> Outcome:
    """Carry out one probe or hook handler once; never raises for what the application does."""
    if "httpGet" in action:
        return await _http(action["httpGet"], pod, ports, timeout, session)
    if "tcpSocket" in action:
        return await _tcp(action["tcpSocket"], pod, ports, timeout)
    if "exec" in action:
        return await _exec(action["exec"].get("command") or [], timeout, execute)
    if "sleep" in action:
        await asyncio.sleep(float(action["sleep"]["seconds"]))
        return True, ""
    kinds = ", ".join(key for key in ("grpc",) if key in action) or "handler"
    return False, f"not emulated: {kinds} probes"


def _address(action: Mapping[str, Any], pod: Obj, ports: Mapping[int, int]) -> tuple[str, int | None]:
    """Where to connect; a host that the probe names is taken as it is, the pod's own ports are translated."""
    host = action.get("host")
    if host and host not in (LOOPBACK, "localhost"):
        return host, int(action["port"]) if isinstance(action["port"], int) else None
    return own_address(pod) or LOOPBACK, real_port(pod, action["port"], ports)


async def _http(
    action: Mapping[str, Any], pod: Obj, ports: Mapping[int, int], timeout: float, session: aiohttp.ClientSession
) -> Outcome:
    host, port = _address(action, pod, ports)
    if port is None:
        return False, f"no port of the container answers for {action['port']!r}"
    path = action.get("path") or "/"
    url = f"{action.get('scheme', 'HTTP').lower()}://{host}:{port}/{path.removeprefix('/')}"
    headers = {"User-Agent": "kube-probe/1.33", "Accept": "*/*"}
    headers.update({each["name"]: each["value"] for each in action.get("httpHeaders") or ()})
    limit = aiohttp.ClientTimeout(total=timeout)
    try:
        async with session.get(url, headers=headers, timeout=limit, allow_redirects=False, ssl=False) as response:
            if 200 <= response.status < 400:
                return True, ""
            return False, f"HTTP probe failed with statuscode: {response.status}"
    except asyncio.TimeoutError:
        why = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
    except aiohttp.ClientConnectorError as error:
        why = _dial(host, port, error.os_error)
    except aiohttp.ServerDisconnectedError:
        why = "EOF"
    except (aiohttp.ClientError, OSError, ValueError) as error:
        why = str(error)
    return False, f'Get "{url}": {why}'


async def _tcp(action: Mapping[str, Any], pod: Obj, ports: Mapping[int, int], timeout: float) -> Outcome:
    host, port = _address(action, pod, ports)
    if port is None:
        return False, f"no port of the container answers for {action['port']!r}"
    try:
        _, writer = await within(timeout, asyncio.open_connection(host, port))
    except asyncio.TimeoutError:
        return False, f"dial tcp {host}:{port}: i/o timeout"
    except OSError as error:
        return False, _dial(host, port, error)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True, ""


def _dial(host: str, port: int, error: OSError) -> str:
    texts: dict[type[OSError], str] = {
        ConnectionRefusedError: "connection refused",
        ConnectionResetError: "connection reset by peer",
    }
    return f"dial tcp {host}:{port}: connect: {texts.get(type(error), error.strerror or str(error))}"


async def _exec(command: list[str], timeout: float, execute: Execute) -> Outcome:
    code, output = await execute(command, timeout)
    if code is None:
        return False, f'command timed out: "{" ".join(command)}" timed out after {timeout:g}s'
    return code == 0, output
