"""``k3s agent``: joins the cluster as a ready node. It runs no pods: the scheduler binds them to the server."""

from __future__ import annotations

import asyncio
import signal
import socket
from argparse import Namespace
from typing import Any

import aiohttp

from k3s_node.arguments import VERSION
from k3s_node.server import address, derived
from k3s_node.speech import say
from lab.emulator.kube.objects import timestamp

_HEARTBEAT = 10.0
"""Seconds between two reports, as the kubelet's."""
_RETRY = 2.0


async def run(arguments: Namespace) -> None:
    """Report the node until SIGTERM; raises ValueError without a server to join."""
    if not arguments.server or not arguments.token:
        raise ValueError("--server and --token are required")
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    headers = {"Authorization": f"Bearer {derived(arguments.token)}"}
    async with aiohttp.ClientSession(arguments.server, headers=headers) as session:
        registered = False
        while not stopping.is_set():
            try:
                await _report(session)
                if not registered:
                    say(f"Successfully registered node {socket.gethostname()}")
                registered = True
            except aiohttp.ClientError as error:
                say(f"failed to reach {arguments.server}: {error}", "error")
            waiting = asyncio.create_task(stopping.wait())
            await asyncio.wait({waiting}, timeout=_HEARTBEAT if registered else _RETRY)


async def _report(session: aiohttp.ClientSession) -> None:
    name = socket.gethostname()
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}}
    async with session.post("/api/v1/nodes", json=node, ssl=False) as answer:
        if answer.status not in (201, 409):
            answer.raise_for_status()
    kind = {"Content-Type": "application/merge-patch+json"}
    async with session.patch(
        f"/api/v1/nodes/{name}/status", json={"status": _status(name)}, headers=kind, ssl=False
    ) as answer:
        answer.raise_for_status()


def _status(name: str) -> dict[str, Any]:
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"}
    now = timestamp()
    return {
        "conditions": [{**ready, "lastHeartbeatTime": now, "lastTransitionTime": now}],
        "addresses": [{"type": "InternalIP", "address": address()}, {"type": "Hostname", "address": name}],
        "nodeInfo": {
            "kubeletVersion": VERSION, "osImage": f"K3s {VERSION}", "kubeProxyVersion": VERSION, "machineID": "",
            "systemUUID": "", "bootID": "", "kernelVersion": "", "containerRuntimeVersion": "containerd://2.1.5-k3s1",
            "operatingSystem": "linux", "architecture": "amd64",
        },
    }  # fmt: skip
