"""DaemonSets: one pod on every node, which is one pod (pkg/controller/daemon)."""

from __future__ import annotations

from lab.emulator.kube.errors import StatusError
from lab.emulator.workloads import revisions
from lab.emulator.workloads.cluster import DAEMON_SETS, NODES, PODS, Cluster
from lab.emulator.workloads.objects import Obj, available_in, pod_is_active, pod_is_ready, terminating
from lab.emulator.workloads.queue import WorkQueue
from lab.emulator.workloads.replicasets import pod_from_template
from lab.emulator.workloads.scheduling import fits

COMPONENT = "daemonset-controller"


class DaemonSets:
    """Keeps one pod of each daemon set on the node."""

    def __init__(self, cluster: Cluster, queue: WorkQueue, node: str) -> None:
        self._cluster = cluster
        self._node = node
        self._queue = queue

    def reconcile(self, namespace: str, name: str) -> None:
        """Bring one daemon set's pod and status in line with its spec."""
        owner = self._cluster.find(DAEMON_SETS, namespace, name)
        if owner is None or terminating(owner):
            return
        update, known = revisions.synchronise(self._cluster, owner)
        node = self._cluster.store.find(*NODES, None, self._node)
        wanted = node is not None and fits(owner["spec"]["template"]["spec"], node)
        pods = self._cluster.claimed(PODS, owner)
        self._step(owner, pods, update, wanted=wanted)
        self._status(owner, update, known, wanted=wanted)

    def _step(self, owner: Obj, pods: list[Obj], update: Obj, *, wanted: bool) -> None:
        finished = [pod for pod in pods if not pod_is_active(pod) and not terminating(pod)]
        active = [pod for pod in pods if pod_is_active(pod)]
        for pod in [*finished, *(active if not wanted else active[1:])]:
            self._delete(owner, pod)
        if not wanted or finished:
            return
        if not active:
            if not any(terminating(pod) for pod in pods):
                self._create(owner, update)
            return
        old = active[0]["metadata"]["labels"].get(revisions.LABEL) != revisions.hash_of(update)
        if old and (owner["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate") == "RollingUpdate":
            self._delete(owner, active[0])

    def _create(self, owner: Obj, update: Obj) -> None:
        pod = pod_from_template(owner["spec"]["template"], owner, generateName=f"{owner['metadata']['name']}-")
        labels = pod["metadata"].setdefault("labels", {})
        labels.update({revisions.LABEL: revisions.hash_of(update), "pod-template-generation": _generation(owner)})
        try:
            made = self._cluster.create(PODS, pod)
        except StatusError as error:
            self._cluster.event(owner, "Warning", "FailedCreate", f"Error creating: {error.message}", COMPONENT)
            self._queue.add_after(("daemonsets", owner["metadata"]["namespace"], owner["metadata"]["name"]), 1.0)
            return
        self._cluster.event(owner, "Normal", "SuccessfulCreate", f"Created pod: {made['metadata']['name']}", COMPONENT)

    def _delete(self, owner: Obj, pod: Obj) -> None:
        self._cluster.delete(PODS, pod)
        self._cluster.event(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}", COMPONENT)

    def _status(self, owner: Obj, update: Obj, known: list[Obj], *, wanted: bool) -> None:
        fresh = self._cluster.find(DAEMON_SETS, owner["metadata"]["namespace"], owner["metadata"]["name"])
        if fresh is None:
            return
        pods = [pod for pod in self._cluster.owned(PODS, fresh) if pod_is_active(pod)]
        waits = [available_in(pod, int(fresh["spec"].get("minReadySeconds") or 0)) for pod in pods]
        soon = [wait for wait in waits if wait]
        if soon:
            self._queue.add_after(("daemonsets", fresh["metadata"]["namespace"], fresh["metadata"]["name"]), min(soon))
        available = sum(wait == 0 for wait in waits)
        hashes = [pod["metadata"]["labels"].get(revisions.LABEL) for pod in pods]
        status: Obj = {
            "currentNumberScheduled": len(pods) if wanted else 0,
            "desiredNumberScheduled": int(wanted),
            "numberMisscheduled": 0 if wanted else len(pods),
            "numberReady": sum(map(pod_is_ready, pods)),
            "observedGeneration": fresh["metadata"].get("generation", 1),
        }
        more = {
            "updatedNumberScheduled": hashes.count(revisions.hash_of(update)),
            "numberAvailable": available,
            "numberUnavailable": int(wanted) - available,
        }
        status.update({key: value for key, value in more.items() if value > 0})
        self._cluster.put_status(DAEMON_SETS, fresh, status)
        revisions.prune(self._cluster, fresh, known, {revisions.name_of(update), *(each for each in hashes if each)})


def _generation(owner: Obj) -> str:
    return str((owner["metadata"].get("annotations") or {}).get("deprecated.daemonset.template.generation", "1"))
