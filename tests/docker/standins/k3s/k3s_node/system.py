"""What k3s runs in kube-system beside CoreDNS, from images of its own that the node has to pull like any other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from k3s_node.speech import say
from lab.emulator.images import PullError
from lab.emulator.kube.objects import timestamp
from lab.emulator.kube.store import Store
from lab.emulator.workloads.objects import pod_is_ready, terminating
from lab.emulator.workloads.platform import Machine

NAMESPACE = "kube-system"
PAUSE = "rancher/mirrored-pause:3.6"
HELM = "rancher/klipper-helm:v0.11.1-build20260615"
DNS, TRAEFIK, BALANCER = "k8s-app=kube-dns", "app.kubernetes.io/name=traefik", "app=svclb-traefik"
"""Labels of the pods that the node does the work of."""
_JOBS = ("helm-install-traefik-crd", "helm-install-traefik")
_RETRY = 2.0
_MANAGER = "deploy@k3s"


class System:
    """Makes the workloads of kube-system, and knows which of them are ready."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._task: asyncio.Task[None] | None = None

    def serves(self, label: str) -> bool:
        """Whether a pod with the label is ready."""
        pods = self._store.select("", "pods", NAMESPACE, labels=label)
        return any(pod_is_ready(pod) and not terminating(pod) for pod in pods)

    def start(self, machine: Machine, pull: Callable[[str], Awaitable[Any]]) -> None:
        """Make what needs no help, and Traefik as soon as its installer's image is there."""
        _node_hosts(self._store, machine)
        for name, image in (
            ("local-path-provisioner", "rancher/local-path-provisioner:v0.0.36"),
            ("metrics-server", "rancher/mirrored-metrics-server:v0.8.1"),
        ):
            self._apply(_workload("Deployment", name, {"app": name}, image))
        for name in _JOBS:
            if self._store.find("batch", "jobs", NAMESPACE, name) is None:
                self._store.create("batch", "jobs", _job(name), namespace=NAMESPACE)
        self._task = asyncio.create_task(self._install(pull))

    async def stop(self) -> None:
        """Install no more."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _install(self, pull: Callable[[str], Awaitable[Any]]) -> None:
        """What the two jobs do."""
        while True:
            try:
                await pull(HELM)
                break
            except PullError as error:
                say(f"helm-install-traefik: {error.message}", "error")
                await asyncio.sleep(_RETRY)
        for name in _JOBS:
            job = self._store.get("batch", "jobs", NAMESPACE, name)
            if not (job.get("status") or {}).get("succeeded"):
                self._store.update("batch", "jobs", {**job, "status": _done()}, subresource="status")
        labels = dict([TRAEFIK.split("=")])
        self._apply(_workload("Deployment", "traefik", labels, "rancher/mirrored-library-traefik:3.7.4"))
        self._apply(_service(labels))
        balancer = dict([BALANCER.split("=")])
        self._apply(_workload("DaemonSet", "svclb-traefik", balancer, "rancher/klipper-lb:v0.4.17"))

    def _apply(self, obj: dict[str, Any]) -> None:
        self._store.apply(obj, manager=_MANAGER, force=True, namespace=NAMESPACE)


def _node_hosts(store: Store, machine: Machine) -> None:
    """The node's own line in ``NodeHosts``, as k3s' node controller keeps it."""
    found = store.get("", "configmaps", NAMESPACE, "coredns")
    lines = (found["data"].get("NodeHosts") or "").splitlines()
    kept = [line for line in lines if line.split()[1:] != [machine.name]]
    hosts = "\n".join([*kept, f"{machine.address} {machine.name}"]) + "\n"
    store.patch("", "configmaps", NAMESPACE, "coredns", {"data": {"NodeHosts": hosts}})


def _workload(kind: str, name: str, labels: dict[str, str], image: str) -> dict[str, Any]:
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": name, "image": image}]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    meta = {"name": name, "namespace": NAMESPACE, "labels": labels}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": meta, "spec": spec}


def _service(labels: dict[str, str]) -> dict[str, Any]:
    ports = [
        {"name": "web", "port": 80, "targetPort": "web"}, {"name": "websecure", "port": 443, "targetPort": "websecure"},
    ]  # fmt: skip
    meta = {"name": "traefik", "namespace": NAMESPACE, "labels": labels}
    spec = {"type": "LoadBalancer", "selector": labels, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}


def _job(name: str) -> dict[str, Any]:
    spec = {"restartPolicy": "OnFailure", "containers": [{"name": "helm", "image": HELM}]}
    labels = {"helmcharts.helm.cattle.io/chart": name.removeprefix("helm-install-")}
    meta = {"name": name, "namespace": NAMESPACE, "labels": labels}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {"template": {"spec": spec}}}


def _done() -> dict[str, Any]:
    now = timestamp()
    both = [
        {"type": kind, "status": "True", "lastProbeTime": now, "lastTransitionTime": now}
        for kind in ("SuccessCriteriaMet", "Complete")
    ]
    return {"startTime": now, "completionTime": now, "succeeded": 1, "conditions": both}
