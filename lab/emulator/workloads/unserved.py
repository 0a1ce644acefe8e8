"""Says in an event on an object that nothing acts on it here: kinds without a controller, fields without effect."""

from __future__ import annotations

from lab.emulator.workloads.cluster import VOLUMES, Cluster, Kind
from lab.emulator.workloads.objects import Obj

COMPONENT = "emulator"
PROVISIONED = "pv.kubernetes.io/provisioned-by"
KINDS: dict[Kind, str] = {
    ("batch", "jobs"): "Jobs are stored, but no pods are made for them",
    ("batch", "cronjobs"): "CronJobs are stored, but never run",
    ("", "replicationcontrollers"): "ReplicationControllers are stored, but no pods are made for them",
    ("autoscaling", "horizontalpodautoscalers"): "HorizontalPodAutoscalers are stored, but nothing is scaled",
    ("networking.k8s.io", "networkpolicies"): "NetworkPolicies are stored, but no traffic is filtered",
    VOLUMES: "PersistentVolumes made by hand are stored, but no claim binds to them",
}


def announce(cluster: Cluster, kind: Kind, obj: Obj) -> None:
    """Record the event for a new object of a kind that has no controller."""
    text = KINDS.get(kind)
    provisioned = kind == VOLUMES and PROVISIONED in (obj["metadata"].get("annotations") or {})
    if text and not provisioned:
        cluster.event(obj, "Warning", "NotEmulated", f"not emulated: {text}", COMPONENT)
