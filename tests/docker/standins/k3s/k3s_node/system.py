"""What k3s leaves in kube-system beside CoreDNS: Traefik, its install jobs, and the node's line in ``NodeHosts``."""

from __future__ import annotations

from typing import Any

from lab.emulator.kube.objects import timestamp
from lab.emulator.kube.store import Store
from lab.emulator.workloads.platform import Machine

_JOBS = ("helm-install-traefik-crd", "helm-install-traefik")


def furnish(store: Store, machine: Machine) -> None:
    """Make what is missing, and add the node to ``NodeHosts`` as k3s' node controller does."""
    _node_hosts(store, machine)
    if store.find("", "services", "kube-system", "traefik") is None:
        store.create("", "services", _service(), namespace="kube-system")
    for name in _JOBS:
        if store.find("batch", "jobs", "kube-system", name) is None:
            made = store.create("batch", "jobs", _job(name), namespace="kube-system")
            store.update("batch", "jobs", {**made, "status": _done()}, subresource="status")


def _node_hosts(store: Store, machine: Machine) -> None:
    found = store.get("", "configmaps", "kube-system", "coredns")
    lines = (found["data"].get("NodeHosts") or "").splitlines()
    kept = [line for line in lines if line.split()[1:] != [machine.name]]
    hosts = "\n".join([*kept, f"{machine.address} {machine.name}"]) + "\n"
    store.patch("", "configmaps", "kube-system", "coredns", {"data": {"NodeHosts": hosts}})


def _service() -> dict[str, Any]:
    ports = [
        {"name": "web", "port": 80, "targetPort": "web"}, {"name": "websecure", "port": 443, "targetPort": "websecure"},
    ]  # fmt: skip
    labels = {"app.kubernetes.io/name": "traefik"}
    return {
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "traefik", "namespace": "kube-system", "labels": labels},
        "spec": {"type": "LoadBalancer", "selector": labels, "ports": ports},
    }  # fmt: skip


def _job(name: str) -> dict[str, Any]:
    container = {"name": "helm", "image": "rancher/klipper-helm:v0.9.14-build20260210"}
    spec = {"restartPolicy": "OnFailure", "containers": [container]}
    meta = {"name": name, "namespace": "kube-system", "labels": {"helmcharts.helm.cattle.io/chart": name[13:]}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {"template": {"spec": spec}}}


def _done() -> dict[str, Any]:
    now = timestamp()
    both = [
        {"type": kind, "status": "True", "lastProbeTime": now, "lastTransitionTime": now}
        for kind in ("SuccessCriteriaMet", "Complete")
    ]
    return {"startTime": now, "completionTime": now, "succeeded": 1, "conditions": both}
