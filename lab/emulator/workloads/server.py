"""Puts the controllers, the kubelet and the ingress together and feeds them with what changes in the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

import aiohttp

from lab.emulator.children import Children
from lab.emulator.component import Tasks
from lab.emulator.config import Config
from lab.emulator.images import pull
from lab.emulator.kube.store import Change
from lab.emulator.workloads import claims, ingress_status, scheduling, system, unserved
from lab.emulator.workloads.autoscalers import AUTOSCALERS, Autoscalers
from lab.emulator.workloads.cluster import (
    CLAIMS,
    CONFIG_MAPS,
    DAEMON_SETS,
    DEPLOYMENTS,
    ENDPOINTS,
    INGRESSES,
    NODES,
    PODS,
    REPLICA_SETS,
    SECRETS,
    SERVICES,
    STATEFUL_SETS,
    Cluster,
    Kind,
)
from lab.emulator.workloads.daemonsets import DaemonSets
from lab.emulator.workloads.deployments import Deployments
from lab.emulator.workloads.images import Images, Puller
from lab.emulator.workloads.ingress import Ingress
from lab.emulator.workloads.kubelet import Kubelet
from lab.emulator.workloads.node import Node
from lab.emulator.workloads.objects import Obj, controller_of
from lab.emulator.workloads.platform import Platform
from lab.emulator.workloads.ports import PortPool
from lab.emulator.workloads.processes import Processes
from lab.emulator.workloads.proxy import ServiceProxy
from lab.emulator.workloads.queue import WorkQueue
from lab.emulator.workloads.replicasets import ReplicaSets
from lab.emulator.workloads.rootfs import install_tools
from lab.emulator.workloads.services import Services
from lab.emulator.workloads.statefulsets import StatefulSets

if TYPE_CHECKING:
    from lab.emulator.kube.server import ApiServer

_OWNERS = {
    "Deployment": "deployments",
    "ReplicaSet": "replicasets",
    "StatefulSet": "statefulsets",
    "DaemonSet": "daemonsets",
}
_OWN_QUEUE: dict[Kind, str] = {
    DEPLOYMENTS: "deployments",
    REPLICA_SETS: "replicasets",
    STATEFUL_SETS: "statefulsets",
    DAEMON_SETS: "daemonsets",
    SERVICES: "services",
    CLAIMS: "claims",
    INGRESSES: "ingresses",
    AUTOSCALERS: "autoscalers",
}


class Workloads:
    """The cluster's controllers and its node."""

    def __init__(
        self, config: Config, api: ApiServer, *, pull: Puller = pull, platform: Platform | None = None
    ) -> None:
        self._pull = pull
        self._config = config
        self._api = api
        self._tasks = Tasks()
        self._cluster = Cluster(api.store)
        self._queue = WorkQueue(self._reconcile)
        ports = PortPool()
        self._platform: Platform = platform or Processes(config.registry, ports)
        self._ingress = Ingress(config, self._cluster, self._platform.serves_ingress)
        self._proxy = ServiceProxy(config, self._cluster, ports, self._tasks, self._platform)
        self._children = Children(config.data / "pods" / "children")
        self._session: aiohttp.ClientSession | None = None
        self._kubelet: Kubelet | None = None
        self._unsubscribe: Callable[[], None] = lambda: None
        self._controllers: dict[str, Callable[[str, str], None]] = {}
        self._autoscalers = Autoscalers(self._cluster)

    async def start(self) -> None:
        """Begin to reconcile and open the ingress; raises OSError when its port is taken."""
        self._children.sweep()
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        node = Node(
            config=self._config,
            cluster=self._cluster,
            children=self._children,
            session=self._session,
            images=Images(self._config.data / "images", self._session, self._pull),
            platform=self._platform,
            service_variables=self._proxy.variables,
            settled=self._queue.settled,
        )
        machine = self._platform.machine
        install_tools(node.tools)
        kubelet = self._kubelet = Kubelet(node)
        await asyncio.to_thread(kubelet.clean)
        await asyncio.to_thread(claims.clean, self._cluster, self._config.data)
        self._controllers = {
            "deployments": Deployments(self._cluster, self._queue).reconcile,
            "replicasets": ReplicaSets(self._cluster, self._queue).reconcile,
            "statefulsets": StatefulSets(self._cluster, self._queue).reconcile,
            "daemonsets": DaemonSets(self._cluster, self._queue, machine.name).reconcile,
            "services": Services(self._cluster, machine.address).reconcile,
            "proxy": self._proxy.reconcile,
            "claims": claims.Claims(self._cluster, self._config.data).reconcile,
            "ingresses": ingress_status.IngressStatus(
                self._cluster, machine.address, tls=bool(self._config.ingress_tls_port)
            ).reconcile,
            "autoscalers": self._autoscalers.reconcile,
            "scheduler": scheduling.Scheduler(self._cluster, machine.name).reconcile,
            "kubelet": kubelet.reconcile,
        }
        self._api.pod_logs = kubelet.logs
        self._unsubscribe = self._cluster.subscribe(self._changed)
        scheduling.register(self._cluster, machine)
        claims.ensure_class(self._cluster)
        ingress_status.ensure_class(self._cluster)
        system.ensure(self._cluster, self._platform.system)
        self._resume()
        await self._ingress.start()

    async def stop(self) -> None:
        """End every pod's processes and close the ingress."""
        self._unsubscribe()
        self._queue.stop()
        if self._kubelet:
            await self._kubelet.stop()
        await self._ingress.stop()
        await self._proxy.stop()
        await self._tasks.cancel()
        if self._session:
            await self._session.close()

    def _resume(self) -> None:
        """Look at everything that is there: an earlier emulator may have ended at any moment."""
        for kind in (*_OWN_QUEUE, PODS):
            for obj in self._cluster.store.select(*kind):
                self._enqueue(kind, obj)

    def _reconcile(self, key: Hashable) -> None:
        assert isinstance(key, tuple)  # noqa: S101 - every key is made here
        controller, namespace, name = key
        self._controllers[controller](namespace, name)

    def _changed(self, change: Change) -> None:
        kind = (change.resource.group, change.resource.plural)
        self._enqueue(kind, change.object)
        if change.type == "ADDED":
            unserved.announce(self._cluster, kind, change.object)
        if change.old is not None and kind == PODS:
            self._services_of(change.old)
            if change.type == "DELETED":
                self._deployment_of(change.object)

    def _enqueue(self, kind: Kind, obj: Obj) -> None:
        metadata = obj["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        if kind in _OWN_QUEUE:
            self._queue.add((_OWN_QUEUE[kind], namespace, name))
        if kind in (INGRESSES, SERVICES):
            self._ingress.changed()
        if kind in (SERVICES, ENDPOINTS):
            self._queue.add(("proxy", namespace, name))
        if kind == PODS:
            self._pod_changed(obj)
        elif kind in (CONFIG_MAPS, SECRETS, CLAIMS) and self._kubelet:
            self._kubelet.configuration_changed(namespace)
        if kind in (CLAIMS, NODES):
            self._reschedule(namespace)
        if kind in (DEPLOYMENTS, STATEFUL_SETS):
            for scaler in self._autoscalers.of(obj):
                self._queue.add(("autoscalers", namespace, scaler))
        self._owner_of(obj)

    def _pod_changed(self, pod: Obj) -> None:
        metadata = pod["metadata"]
        key = metadata["namespace"], metadata["name"]
        self._services_of(pod)  # before the kubelet: a pod that ends leaves its services first
        self._queue.add(("kubelet" if pod["spec"].get("nodeName") else "scheduler", *key))
        if controller_of(pod) is None:
            self._adopters(pod)
        for volume in pod["spec"].get("volumes") or ():
            if "persistentVolumeClaim" in volume:
                self._queue.add(("claims", key[0], volume["persistentVolumeClaim"]["claimName"]))

    def _services_of(self, pod: Obj) -> None:
        labels = (pod["metadata"].get("labels") or {}).items()
        namespace = pod["metadata"]["namespace"]
        for service in self._cluster.store.select(*SERVICES, namespace):
            selector = (service["spec"].get("selector") or {}).items()
            if selector and selector <= labels:
                self._queue.add(("services", namespace, service["metadata"]["name"]))

    def _adopters(self, pod: Obj) -> None:
        """Whoever may adopt a pod without a controller."""
        namespace = pod["metadata"]["namespace"]
        for kind in (REPLICA_SETS, STATEFUL_SETS, DAEMON_SETS):
            for each in self._cluster.store.select(*kind, namespace):
                self._queue.add((_OWN_QUEUE[kind], namespace, each["metadata"]["name"]))

    def _owner_of(self, obj: Obj) -> None:
        reference = controller_of(obj)
        if reference is None or reference["kind"] not in _OWNERS:
            return
        namespace = obj["metadata"].get("namespace", "")
        self._queue.add((_OWNERS[reference["kind"]], namespace, reference["name"]))

    def _deployment_of(self, pod: Obj) -> None:
        """A deployment with strategy Recreate waits for the end of pods that its replica set no longer counts."""
        reference = controller_of(pod)
        if reference and reference["kind"] == "ReplicaSet":
            found = self._cluster.store.find(*REPLICA_SETS, pod["metadata"]["namespace"], reference["name"])
            if found is not None:
                self._owner_of(found)

    def _reschedule(self, namespace: str) -> None:
        for pod in self._cluster.store.select(*PODS, namespace or None):
            if not pod["spec"].get("nodeName"):
                self._queue.add(("scheduler", pod["metadata"]["namespace"], pod["metadata"]["name"]))
