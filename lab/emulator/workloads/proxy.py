"""kube-proxy's part: a local listener per service port that passes connections to the ready endpoints.

Cluster IPs lead nowhere here, so that pods are told ``127.0.0.1`` and the listener's port. While a service has no
ready endpoint nobody listens: a connection is refused, as on a real cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from lab.emulator.component import Tasks
from lab.emulator.config import Config
from lab.emulator.workloads.cluster import DAEMON_SETS, DEPLOYMENTS, ENDPOINTS, PODS, SERVICES, STATEFUL_SETS, Cluster
from lab.emulator.workloads.endpoints import targets
from lab.emulator.workloads.environment import service_variables, shell_name
from lab.emulator.workloads.objects import Obj
from lab.emulator.workloads.platform import Platform
from lab.emulator.workloads.ports import PortPool

log = logging.getLogger(__name__)

_CHUNK = 65536
_Key = tuple[str, str, str, str]
"""Namespace and name of a service, name of its port, and the role: cluster, node or balancer."""


class _Forward:
    """The listener of one service port."""

    def __init__(self, host: str, port: int) -> None:
        self.port = port
        self.targets: list[tuple[str, int]] = []
        self.published: tuple[str, int] | None = None
        self._host = host
        self._next = 0
        self._server: asyncio.Server | None = None
        self._lock = asyncio.Lock()

    async def adjust(self) -> None:
        """Listen exactly while there are targets; raises OSError when the port cannot be had."""
        async with self._lock:
            if self.targets and self._server is None:
                self._server = await asyncio.start_server(self._serve, self._host, self.port)
            elif not self.targets and self._server is not None:
                self._server.close()
                self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(len(self.targets)):
            self._next = (self._next + 1) % max(1, len(self.targets))
            with contextlib.suppress(OSError, IndexError):
                there = await asyncio.open_connection(*self.targets[self._next])
                try:
                    await asyncio.gather(_pump(reader, there[1]), _pump(there[0], writer))
                finally:
                    await _close(there[1])
                break
        await _close(writer)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction, and pass on its end."""
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


class ServiceProxy:
    """All service ports of the cluster."""

    def __init__(self, config: Config, cluster: Cluster, ports: PortPool, tasks: Tasks, platform: Platform) -> None:
        self._config = config
        self._platform = platform
        self._cluster = cluster
        self._ports = ports
        self._tasks = tasks
        self._forwards: dict[_Key, _Forward] = {}

    def reconcile(self, namespace: str, name: str) -> None:
        """Have the service's ports lead to its ready endpoints."""
        service = self._cluster.store.find(*SERVICES, namespace, name)
        found = self._cluster.store.find(*ENDPOINTS, namespace, name)
        wanted = {} if service is None else self._wanted(service)
        for key in [key for key in self._forwards if key[:2] == (namespace, name)]:
            forward = self._forwards[key]
            if key in wanted and wanted[key][1] in (0, forward.port):
                continue
            del self._forwards[key]
            forward.targets = []
            self._tasks.spawn(self._drop(key, forward), f"proxy of {namespace}/{name}")
        for key, (port, number) in wanted.items():
            forward = self._forward(key, number)
            if service is not None and key[3] == "cluster":
                self._publish(service, port)
            forward.targets = targets(found, port)
            self._tasks.spawn(self._adjust(key, forward), f"proxy of {namespace}/{name}")

    def _wanted(self, service: Obj) -> dict[_Key, tuple[Obj, int]]:
        """The listeners that a service wants, each with its service port and number (0 is any)."""
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        result: dict[_Key, tuple[Obj, int]] = {}
        if (namespace, name) == ("default", "kubernetes"):
            return result
        for port in service["spec"].get("ports") or ():
            if port.get("protocol", "TCP") != "TCP":
                continue
            found = [("cluster", 0)]
            if port.get("nodePort"):
                found.append(("node", int(port["nodePort"])))
            if service["spec"].get("type") == "LoadBalancer":
                found.append(("balancer", int(port["port"])))
            for role, number in found:
                result[namespace, name, port.get("name", ""), role] = port, number
        return result

    def _forward(self, key: _Key, number: int = 0) -> _Forward:
        if key not in self._forwards:
            host = self._config.bind if number else self._platform.inside
            self._forwards[key] = _Forward(host, number or self._ports.reserve())
        return self._forwards[key]

    def _publish(self, service: Obj, port: Obj) -> tuple[str, int]:
        """Where pods reach a service port."""
        metadata, address = service["metadata"], service["spec"].get("clusterIP")
        forward = self._forward((metadata["namespace"], metadata["name"], port.get("name", ""), "cluster"))
        if address in (None, "", "None"):
            return self._platform.inside, forward.port
        if forward.published not in (None, (address, int(port["port"]))):
            self._platform.withdraw(*forward.published, forward.port)
        forward.published = address, int(port["port"])
        return self._platform.publish(*forward.published, forward.port)

    async def _adjust(self, key: _Key, forward: _Forward) -> None:
        try:
            await forward.adjust()
        except OSError as error:
            service = self._cluster.store.find(*SERVICES, *key[:2])
            if service is not None:
                text = f"not emulated: port {forward.port} of this machine: {error.strerror or error}"
                self._cluster.event(service, "Warning", "PortNotAvailable", text, "service-proxy")

    async def _drop(self, key: _Key, forward: _Forward) -> None:
        await forward.adjust()
        if forward.published:
            self._platform.withdraw(*forward.published, forward.port)
        if key[3] == "cluster":
            self._ports.release([forward.port])

    def variables(self, namespace: str) -> dict[str, str]:
        """What pods of ``namespace`` learn about services, ``<NAME>_SIMULATED`` included."""
        services: list[tuple[Obj, dict[str, tuple[str, int]]]] = []
        result: dict[str, str] = {}
        for service in self._cluster.store.select(*SERVICES, namespace):
            name = service["metadata"]["name"]
            ports = service["spec"].get("ports") or ()
            services.append((service, {each.get("name", ""): self._publish(service, each) for each in ports}))
            if self._simulated(service):
                result[f"{shell_name(name)}_SIMULATED"] = "true"
        kubernetes = self._cluster.store.find(*SERVICES, "default", "kubernetes")
        if kubernetes is not None:
            services = [each for each in services if each[0]["metadata"]["uid"] != kubernetes["metadata"]["uid"]]
            address = kubernetes["spec"]["clusterIP"], 443
            services.append((kubernetes, {"https": self._platform.publish(*address, self._config.kubernetes_port)}))
        return result | service_variables(services)

    def _simulated(self, service: Obj) -> bool:
        """Whether all that the service selects is simulated.

        Templates count as well as pods: an application and its database start at the same time.
        """
        selector = (service["spec"].get("selector") or {}).items()
        namespace = service["metadata"]["namespace"]
        owners = (DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS)
        templates = [
            each["spec"]["template"] for kind in owners for each in self._cluster.store.select(*kind, namespace)
        ]
        candidates = [*templates, *self._cluster.store.select(*PODS, namespace)]
        chosen = [each for each in candidates if selector and selector <= (_labels(each)).items()]
        return bool(chosen) and all(self._is_simulated(each["spec"]) for each in chosen)

    def _is_simulated(self, spec: Obj) -> bool:
        return all(self._platform.simulates(each["image"]) for each in spec["containers"])

    async def stop(self) -> None:
        """Close every listener."""
        for forward in self._forwards.values():
            forward.targets = []
            with contextlib.suppress(OSError):
                await forward.adjust()


def _labels(obj: Obj) -> dict[str, str]:
    return (obj.get("metadata") or {}).get("labels") or {}
