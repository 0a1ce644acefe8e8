"""StatefulSets: numbered pods with claims of their own, one after the other (pkg/controller/statefulset)."""

from __future__ import annotations

import copy

from lab.emulator.kube.errors import StatusError
from lab.emulator.kube.objects import owner_reference
from lab.emulator.workloads import revisions
from lab.emulator.workloads.cluster import CLAIMS, PODS, STATEFUL_SETS, Cluster
from lab.emulator.workloads.objects import Obj, available_in, pod_is_ready, terminating
from lab.emulator.workloads.queue import WorkQueue
from lab.emulator.workloads.replicasets import pod_from_template

COMPONENT = "statefulset-controller"
POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"


def ordinal(pod: Obj, owner: Obj) -> int | None:
    """The pod's number, or None when its name is not one of the set's."""
    head, _, tail = pod["metadata"]["name"].rpartition("-")
    return int(tail) if head == owner["metadata"]["name"] and tail.isdecimal() else None


class StatefulSets:
    """Creates, updates and deletes the pods of stateful sets in order."""

    def __init__(self, cluster: Cluster, queue: WorkQueue) -> None:
        self._cluster = cluster
        self._queue = queue

    def reconcile(self, namespace: str, name: str) -> None:
        """Take one stateful set the next step."""
        owner = self._cluster.find(STATEFUL_SETS, namespace, name)
        if owner is None:
            return
        claimed = self._cluster.claimed(PODS, owner)
        pods = {number: pod for pod in claimed if (number := ordinal(pod, owner)) is not None}
        if terminating(owner):
            return
        update, known = revisions.synchronise(self._cluster, owner)
        current_name = (owner.get("status") or {}).get("currentRevision") or revisions.name_of(update)
        current = next((each for each in known if revisions.name_of(each) == current_name), update)
        self._step(owner, pods, current, update)
        self._status(owner, current, update, known)

    def _step(self, owner: Obj, pods: dict[int, Obj], current: Obj, update: Obj) -> None:
        """Create what is missing, delete what is too much, replace what is old: in order, one at a time."""
        first = int((owner["spec"].get("ordinals") or {}).get("start") or 0)
        wanted = range(first, first + int(owner["spec"].get("replicas", 1)))
        ordered = owner["spec"].get("podManagementPolicy", "OrderedReady") == "OrderedReady"
        for number in wanted:
            pod = pods.get(number)
            if pod is not None and (pod.get("status") or {}).get("phase") in {"Failed", "Succeeded"}:
                self._delete(owner, pod)
                return
            if pod is None:
                self._create(owner, number, self._revision_for(owner, number, current, update))
            if ordered and (pod is None or terminating(pod) or not self._available(owner, pod)):
                return
        surplus = sorted((number for number in pods if number not in wanted), reverse=True)
        for number in surplus:
            if not terminating(pods[number]):
                self._delete(owner, pods[number])
            if ordered:
                return
        if not surplus:
            self._replace(owner, pods, update, wanted)

    def _available(self, owner: Obj, pod: Obj) -> bool:
        wait = available_in(pod, int(owner["spec"].get("minReadySeconds") or 0))
        if wait:
            self._again(owner, wait)
        return wait == 0

    def _again(self, owner: Obj, delay: float) -> None:
        self._queue.add_after(("statefulsets", owner["metadata"]["namespace"], owner["metadata"]["name"]), delay)

    def _revision_for(self, owner: Obj, number: int, current: Obj, update: Obj) -> Obj:
        """A pod below the partition keeps the current revision; with RollingUpdate the others get the new one."""
        strategy = owner["spec"].get("updateStrategy") or {}
        if strategy.get("type", "RollingUpdate") != "RollingUpdate":
            return update
        partition = int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
        return current if number < partition else update

    def _create(self, owner: Obj, number: int, revision: Obj) -> None:
        name = f"{owner['metadata']['name']}-{number}"
        pod = pod_from_template(revisions.template_of(revision), owner, name=name)
        labels = pod["metadata"].setdefault("labels", {})
        labels.update({POD_NAME: name, POD_INDEX: str(number), revisions.LABEL: revisions.hash_of(revision)})
        pod["spec"].update(hostname=name, subdomain=owner["spec"].get("serviceName", ""))
        self._claims(owner, pod, number)
        try:
            self._cluster.create(PODS, pod)
        except StatusError as error:
            text = f"create Pod {name} in StatefulSet {owner['metadata']['name']} failed error: {error.message}"
            self._cluster.event(owner, "Warning", "FailedCreate", text, COMPONENT)
            self._again(owner, 1.0)
            return
        text = f"create Pod {name} in StatefulSet {owner['metadata']['name']} successful"
        self._cluster.event(owner, "Normal", "SuccessfulCreate", text, COMPONENT)

    def _claims(self, owner: Obj, pod: Obj, number: int) -> None:
        """Give the pod its own claims; they stay when it goes."""
        volumes = pod["spec"].setdefault("volumes", [])
        for template in owner["spec"].get("volumeClaimTemplates") or ():
            volume = template["metadata"]["name"]
            name = f"{volume}-{owner['metadata']['name']}-{number}"
            volumes[:] = [each for each in volumes if each["name"] != volume]
            volumes.append({"name": volume, "persistentVolumeClaim": {"claimName": name}})
            if self._cluster.find(CLAIMS, owner["metadata"]["namespace"], name) is None:
                labels = {**(template["metadata"].get("labels") or {}), **_selector_labels(owner)}
                metadata = {"name": name, "namespace": owner["metadata"]["namespace"], "labels": labels}
                if (owner["spec"].get("persistentVolumeClaimRetentionPolicy") or {}).get("whenDeleted") == "Delete":
                    metadata["ownerReferences"] = [{**owner_reference(owner), "controller": False}]
                claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata}
                self._cluster.create(CLAIMS, {**claim, "spec": copy.deepcopy(template["spec"])})
                pod_name, set_name = pod["metadata"]["name"], owner["metadata"]["name"]
                text = f"create Claim {name} Pod {pod_name} in StatefulSet {set_name} success"
                self._cluster.event(owner, "Normal", "SuccessfulCreate", text, COMPONENT)

    def _delete(self, owner: Obj, pod: Obj) -> None:
        self._cluster.delete(PODS, pod)
        text = f"delete Pod {pod['metadata']['name']} in StatefulSet {owner['metadata']['name']} successful"
        self._cluster.event(owner, "Normal", "SuccessfulDelete", text, COMPONENT)

    def _replace(self, owner: Obj, pods: dict[int, Obj], update: Obj, wanted: range) -> None:
        """Rolling update: from the highest number down, the next one only when the last one is available."""
        strategy = owner["spec"].get("updateStrategy") or {}
        if strategy.get("type", "RollingUpdate") != "RollingUpdate":
            return
        partition = int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
        for number in reversed(wanted):
            pod = pods.get(number)
            if number < partition or pod is None or terminating(pod):
                return
            if pod["metadata"]["labels"].get(revisions.LABEL) != revisions.hash_of(update):
                self._delete(owner, pod)
                return
            if not self._available(owner, pod):
                return

    def _status(self, owner: Obj, current: Obj, update: Obj, known: list[Obj]) -> None:
        fresh = self._cluster.find(STATEFUL_SETS, owner["metadata"]["namespace"], owner["metadata"]["name"])
        if fresh is None:
            return
        pods = [pod for pod in self._cluster.owned(PODS, fresh) if not terminating(pod)]
        waits = [available_in(pod, int(fresh["spec"].get("minReadySeconds") or 0)) for pod in pods]
        soon = [wait for wait in waits if wait]
        if soon:
            self._again(fresh, min(soon))
        hashes = [pod["metadata"]["labels"].get(revisions.LABEL) for pod in pods]
        updated = hashes.count(revisions.hash_of(update))
        ready = sum(map(pod_is_ready, pods))
        if updated == len(pods) == ready == int(fresh["spec"].get("replicas", 1)):
            current = update  # the rollout is complete
        status: Obj = {
            "observedGeneration": fresh["metadata"].get("generation", 1),
            "replicas": len(pods),
            "readyReplicas": ready,
            "availableReplicas": sum(wait == 0 for wait in waits),
            "currentReplicas": hashes.count(revisions.hash_of(current)),
            "updatedReplicas": updated,
            "currentRevision": revisions.name_of(current),
            "updateRevision": revisions.name_of(update),
            "collisionCount": 0,
        }
        optional = ("readyReplicas", "currentReplicas", "updatedReplicas")
        self._cluster.put_status(
            STATEFUL_SETS, fresh, {key: value for key, value in status.items() if value or key not in optional}
        )
        used = {revisions.name_of(current), revisions.name_of(update), *(each for each in hashes if each)}
        revisions.prune(self._cluster, fresh, known, used)


def _selector_labels(owner: Obj) -> dict[str, str]:
    return dict(owner["spec"]["selector"].get("matchLabels") or {})
