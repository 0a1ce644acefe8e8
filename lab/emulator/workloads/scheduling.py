"""The scheduler of a cluster with one node, and that node's own record."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from lab.emulator.kube.objects import timestamp
from lab.emulator.workloads.cluster import CLAIMS, NODES, PODS, Cluster
from lab.emulator.workloads.objects import Obj, condition, expression_holds, terminating, with_condition
from lab.emulator.workloads.platform import Machine

COMPONENT = "default-scheduler"
_READY = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
)


class Scheduler:
    """Binds pods to the node, or says why it cannot."""

    def __init__(self, cluster: Cluster, node: str) -> None:
        self._cluster = cluster
        self._node = node

    def reconcile(self, namespace: str, name: str) -> None:
        """Bind one pod."""
        pod = self._cluster.find(PODS, namespace, name)
        if pod is None or pod["spec"].get("nodeName") or terminating(pod) or pod["spec"].get("schedulingGates"):
            return
        if pod["spec"].get("schedulerName", "default-scheduler") != "default-scheduler":
            return
        node = self._cluster.store.find(*NODES, None, self._node)
        why = "no nodes available to schedule pods" if node is None else self._obstacle(pod, node)
        if why:
            self._refuse(pod, why)
            return
        pod["spec"]["nodeName"] = self._node
        bound = self._cluster.update(PODS, pod, "binding")
        self._conclude(bound, {"type": "PodScheduled", "status": "True"})
        text = f"Successfully assigned {namespace}/{name} to {self._node}"
        self._cluster.event(bound, "Normal", "Scheduled", text, COMPONENT)

    def _obstacle(self, pod: Obj, node: Obj) -> str:
        if node["spec"].get("unschedulable"):
            return "0/1 nodes are available: 1 node(s) were unschedulable."
        if not fits(pod["spec"], node):
            return "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
        for volume in pod["spec"].get("volumes") or ():
            name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            if name:
                claim = self._cluster.store.find(*CLAIMS, pod["metadata"]["namespace"], name)
                if claim is None:
                    return f'0/1 nodes are available: persistentvolumeclaim "{name}" not found.'
                if (claim.get("status") or {}).get("phase") != "Bound":
                    return "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."
        return ""

    def _refuse(self, pod: Obj, why: str) -> None:
        old = condition(pod, "PodScheduled")
        if old and old.get("message") == why:
            return
        self._conclude(pod, {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why})
        self._cluster.event(pod, "Warning", "FailedScheduling", why, COMPONENT)

    def _conclude(self, pod: Obj, new: Obj) -> None:
        status = {"phase": "Pending", **(pod.get("status") or {})}
        self._cluster.put_status(
            PODS, pod, {**status, "conditions": with_condition(status.get("conditions") or [], new)}
        )


def fits(spec: Obj, node: Obj) -> bool:
    """Whether the node has what a pod's nodeSelector and required node affinity ask for."""
    labels = node["metadata"].get("labels") or {}
    if not (spec.get("nodeSelector") or {}).items() <= labels.items():
        return False
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    if not affinity:
        return True
    terms = affinity.get("nodeSelectorTerms") or ()
    names = {"metadata.name": node["metadata"]["name"]}
    return any(
        all(expression_holds(each, labels) for each in term.get("matchExpressions") or ())
        and all(expression_holds(each, names) for each in term.get("matchFields") or ())
        for term in terms
    )


def register(cluster: Cluster, machine: Machine) -> None:
    """Make the node's record, or bring it up to date after a restart."""
    node = cluster.find(NODES, None, machine.name)
    if node is None:
        node = cluster.create(NODES, _node(machine.name))
    capacity = _capacity()
    conditions = [
        {"type": kind, "status": value, "lastHeartbeatTime": timestamp(), "reason": reason, "message": text}
        for kind, value, reason, text in _READY
    ]
    before = (node.get("status") or {}).get("conditions") or []
    for each in conditions:
        before = with_condition(before, each)
    status = {
        "capacity": capacity,
        "allocatable": capacity,
        "conditions": before,
        "addresses": [
            {"type": "InternalIP", "address": machine.address},
            {"type": "Hostname", "address": machine.name},
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
        "nodeInfo": _info(node["metadata"]["uid"], machine),
    }
    cluster.put_status(NODES, node, status)


def _node(name: str) -> Obj:
    architecture = _architecture()
    labels = {
        "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": architecture,
        "beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": architecture,
        "node-role.kubernetes.io/control-plane": "true",
    }  # fmt: skip
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": {}}


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _capacity() -> dict[str, str]:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024
    return {"cpu": str(os.cpu_count() or 1), "memory": f"{pages}Ki", "pods": "110", "ephemeral-storage": "0"}


def _info(uid: str, machine: Machine) -> dict[str, str]:
    return {
        "machineID": uid.replace("-", ""), "systemUUID": uid, "bootID": _boot_id(),
        "kernelVersion": platform.release(), "osImage": machine.system,
        "containerRuntimeVersion": machine.runtime, "kubeletVersion": machine.version,
        "kubeProxyVersion": machine.version,
        "operatingSystem": "linux", "architecture": _architecture(),
    }  # fmt: skip


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
