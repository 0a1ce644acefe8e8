"""HorizontalPodAutoscalers: their targets are found, but nothing is measured, and so nothing is scaled."""

from __future__ import annotations

from lab.emulator.workloads.cluster import DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, Cluster, Kind
from lab.emulator.workloads.objects import Obj, terminating, with_condition

AUTOSCALERS: Kind = ("autoscaling", "horizontalpodautoscalers")
_TARGETS: dict[str, Kind] = {"Deployment": DEPLOYMENTS, "StatefulSet": STATEFUL_SETS, "ReplicaSet": REPLICA_SETS}
_FOUND = "the HPA controller was able to get the target's current scale"
_LOST = "the HPA controller was unable to get the target's current scale: "
_IDLE = "not emulated: nothing is measured, so nothing is scaled"


class Autoscalers:
    """Writes what is known of the target (pkg/controller/podautoscaler/horizontal.go, v1.33)."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def reconcile(self, namespace: str, name: str) -> None:
        """Bring one autoscaler's status up to date."""
        scaler = self._cluster.find(AUTOSCALERS, namespace, name)
        if scaler is None or terminating(scaler):
            return
        kind = _TARGETS.get(scaler["spec"]["scaleTargetRef"]["kind"])
        if kind is None:
            return  # a kind of somebody's own: nothing is known of its scale
        wanted = scaler["spec"]["scaleTargetRef"]["name"]
        target = self._cluster.find(kind, namespace, wanted)
        before = (scaler.get("status") or {}).get("conditions") or []
        if target is None:
            text = f'{_LOST}{kind[1]}.{kind[0]} "{wanted}" not found'
            lost = _condition("AbleToScale", "False", "FailedGetScale", text)
            self._write(scaler, {"desiredReplicas": 0, "conditions": with_condition(before, lost)})
            return
        able = _condition("AbleToScale", "True", "SucceededGetScale", _FOUND)
        idle = _condition("ScalingActive", "False", "NotEmulated", _IDLE)
        replicas = int((target.get("status") or {}).get("replicas") or 0)
        conditions = with_condition(with_condition(before, able), idle)
        self._write(scaler, {"currentReplicas": replicas, "desiredReplicas": replicas, "conditions": conditions})

    def _write(self, scaler: Obj, status: Obj) -> None:
        self._cluster.put_status(AUTOSCALERS, scaler, status)

    def of(self, target: Obj) -> list[str]:
        """Names of the autoscalers in the target's namespace that mean it."""
        rows = self._cluster.store.select(*AUTOSCALERS, target["metadata"]["namespace"])
        wanted = (target["kind"], target["metadata"]["name"])
        references = [(row["metadata"]["name"], row["spec"]["scaleTargetRef"]) for row in rows]
        return [name for name, reference in references if (reference["kind"], reference["name"]) == wanted]


def _condition(kind: str, status: str, reason: str, message: str) -> Obj:
    return {"type": kind, "status": status, "reason": reason, "message": message}
