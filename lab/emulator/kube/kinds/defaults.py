"""Defaults of the built-in kinds other than pods.

Source: pkg/apis/*/v1/defaults.go and the registries' strategies (v1.33).
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from lab.emulator.kube.kinds import beginnings, pod_defaults
from lab.emulator.kube.objects import Object

_RBAC = "rbac.authorization.k8s.io"


def apply(group: str, plural: str, obj: Object, *, creating: bool) -> None:
    """Fill in what the kind defaults; ``creating`` also sets what a new object's status begins with."""
    always = _DEFAULTS.get((group, plural))
    if always:
        always(obj)
    if creating:
        beginnings.apply(group, plural, obj)


def _spec(obj: Object) -> Object:
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        spec = obj["spec"] = {}
    return spec


def _fill(target: Object, **values: Any) -> None:
    for name, value in values.items():
        target.setdefault(name, value)


def _deployment(obj: Object) -> None:
    spec = _spec(obj)
    _fill(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    strategy = spec.setdefault("strategy", {})
    _fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _fill(strategy.setdefault("rollingUpdate", {}), maxUnavailable="25%", maxSurge="25%")
    pod_defaults.template(spec.setdefault("template", {}))


def _replica_set(obj: Object) -> None:
    spec = _spec(obj)
    _fill(spec, replicas=1)
    if "template" in spec:
        pod_defaults.template(spec["template"])


def _replication_controller(obj: Object) -> None:
    _replica_set(obj)
    labels = ((obj["spec"].get("template") or {}).get("metadata") or {}).get("labels")
    if labels:
        _fill(obj["spec"], selector=dict(labels))


def _stateful_set(obj: Object) -> None:
    spec = _spec(obj)
    _fill(spec, replicas=1, podManagementPolicy="OrderedReady", revisionHistoryLimit=10)
    strategy = spec.setdefault("updateStrategy", {})
    _fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _fill(strategy.setdefault("rollingUpdate", {}), partition=0)
    _fill(spec.setdefault("persistentVolumeClaimRetentionPolicy", {}), whenDeleted="Retain", whenScaled="Retain")
    for claim in spec.get("volumeClaimTemplates") or []:
        _fill(claim, apiVersion="v1", kind="PersistentVolumeClaim")
        _claim(claim)
        claim["status"] = {"phase": "Pending"}
    pod_defaults.template(spec.setdefault("template", {}))


def _daemon_set(obj: Object) -> None:
    spec = _spec(obj)
    _fill(spec, revisionHistoryLimit=10)
    strategy = spec.setdefault("updateStrategy", {})
    _fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _fill(strategy.setdefault("rollingUpdate", {}), maxUnavailable=1, maxSurge=0)
    pod_defaults.template(spec.setdefault("template", {}))


def _job(obj: Object) -> None:
    _job_spec(_spec(obj))


def _job_spec(spec: Object) -> None:
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    _fill(spec, parallelism=1, backoffLimit=6, completionMode="NonIndexed", suspend=False, manualSelector=False)
    if not spec["manualSelector"]:
        del spec["manualSelector"]
    spec.setdefault("podReplacementPolicy", "Failed" if "podFailurePolicy" in spec else "TerminatingOrFailed")
    pod_defaults.template(spec.setdefault("template", {}))


def _cron_job(obj: Object) -> None:
    spec = _spec(obj)
    _fill(spec, concurrencyPolicy="Allow", suspend=False, successfulJobsHistoryLimit=3, failedJobsHistoryLimit=1)
    job = spec.setdefault("jobTemplate", {}).setdefault("spec", {})
    pod_defaults.template(job.setdefault("template", {}))


def _pod(obj: Object) -> None:
    pod_defaults.pod_spec(_spec(obj))
    pod_defaults.pod(obj["spec"])


def _service(obj: Object) -> None:
    spec = _spec(obj)
    _fill(spec, type="ClusterIP", sessionAffinity="None")
    for port in spec.get("ports") or []:
        _fill(port, protocol="TCP")
        if not port.get("targetPort"):
            port["targetPort"] = port.get("port", 0)
    if spec["type"] == "ExternalName":
        return
    _fill(spec, internalTrafficPolicy="Cluster", ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack")
    if spec["type"] in ("NodePort", "LoadBalancer"):
        _fill(spec, externalTrafficPolicy="Cluster")
    if spec["type"] == "LoadBalancer":
        _fill(spec, allocateLoadBalancerNodePorts=True)
    if spec["sessionAffinity"] == "ClientIP":
        _fill(spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {}), timeoutSeconds=10800)


def _secret(obj: Object) -> None:
    _fill(obj, type="Opaque")
    for key, value in (obj.pop("stringData", None) or {}).items():
        obj.setdefault("data", {})[key] = base64.b64encode(value.encode()).decode()


def _namespace(obj: Object) -> None:
    obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"]["name"]


def _claim(obj: Object) -> None:
    _fill(_spec(obj), volumeMode="Filesystem")


def _volume(obj: Object) -> None:
    _fill(_spec(obj), persistentVolumeReclaimPolicy="Retain", volumeMode="Filesystem")


def _endpoints(obj: Object) -> None:
    for subset in obj.get("subsets") or []:
        for port in subset.get("ports") or []:
            _fill(port, protocol="TCP")


def _endpoint_slice(obj: Object) -> None:
    for port in obj.get("ports") or []:
        _fill(port, name="", protocol="TCP")


def _network_policy(obj: Object) -> None:
    spec = _spec(obj)
    if "policyTypes" not in spec:
        spec["policyTypes"] = ["Ingress"] + (["Egress"] if spec.get("egress") else [])
    for rule in (spec.get("ingress") or []) + (spec.get("egress") or []):
        for port in rule.get("ports") or []:
            _fill(port, protocol="TCP")


def _binding(obj: Object) -> None:
    if obj.get("roleRef"):
        obj["roleRef"]["apiGroup"] = obj["roleRef"].get("apiGroup") or _RBAC
    for subject in obj.get("subjects") or []:
        if subject.get("kind") in ("User", "Group"):
            _fill(subject, apiGroup=_RBAC)


def _autoscaler(obj: Object) -> None:
    spec = _spec(obj)
    _fill(spec, minReplicas=1)
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]


def _storage_class(obj: Object) -> None:
    _fill(obj, reclaimPolicy="Delete", volumeBindingMode="Immediate")


def _priority_class(obj: Object) -> None:
    _fill(obj, preemptionPolicy="PreemptLowerPriority")


def _definition(obj: Object) -> None:
    spec = _spec(obj)
    names = spec.setdefault("names", {})
    _fill(names, singular=str(names.get("kind", "")).lower(), listKind=f"{names.get('kind', '')}List")
    names["singular"] = names["singular"] or str(names.get("kind", "")).lower()
    names["listKind"] = names["listKind"] or f"{names.get('kind', '')}List"
    _fill(spec.setdefault("conversion", {}), strategy="None")


_DEFAULTS: dict[tuple[str, str], Callable[[Object], None]] = {
    ("", "pods"): _pod,
    ("", "services"): _service,
    ("", "secrets"): _secret,
    ("", "namespaces"): _namespace,
    ("", "persistentvolumeclaims"): _claim,
    ("", "persistentvolumes"): _volume,
    ("", "endpoints"): _endpoints,
    ("", "replicationcontrollers"): _replication_controller,
    ("apps", "deployments"): _deployment,
    ("apps", "replicasets"): _replica_set,
    ("apps", "statefulsets"): _stateful_set,
    ("apps", "daemonsets"): _daemon_set,
    ("batch", "jobs"): _job,
    ("batch", "cronjobs"): _cron_job,
    ("networking.k8s.io", "networkpolicies"): _network_policy,
    ("discovery.k8s.io", "endpointslices"): _endpoint_slice,
    (_RBAC, "rolebindings"): _binding,
    (_RBAC, "clusterrolebindings"): _binding,
    ("autoscaling", "horizontalpodautoscalers"): _autoscaler,
    ("storage.k8s.io", "storageclasses"): _storage_class,
    ("scheduling.k8s.io", "priorityclasses"): _priority_class,
    ("apiextensions.k8s.io", "customresourcedefinitions"): _definition,
}
