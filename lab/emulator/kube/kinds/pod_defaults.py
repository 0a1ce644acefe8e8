"""Defaults of pods and pod templates.

Source: pkg/apis/core/v1/defaults.go, plugin/pkg/admission/{serviceaccount,defaulttolerationseconds,priority} (v1.33).
"""

from __future__ import annotations

from typing import Any

from lab.emulator.kube.objects import Object

_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_MODE = 420  # 0644
_TOLERATED = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def template(found: Object) -> None:
    """Defaults of a pod template."""
    found.setdefault("metadata", {})
    pod_spec(found.setdefault("spec", {}))


def pod_spec(spec: Object) -> None:
    """Defaults that pods and templates share."""
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for name in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(name) or []:
            _container(container, host_network=bool(spec.get("hostNetwork")))
    for volume in spec.get("volumes") or []:
        _volume(volume)


def pod(spec: Object) -> None:
    """Defaults of a pod itself, beside `pod_spec`; the last ones are what admission adds."""
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("serviceAccountName", "default")
    spec["serviceAccount"] = spec["serviceAccountName"]
    spec.setdefault("priority", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    tolerations = spec.setdefault("tolerations", [])
    for key in _TOLERATED:
        if not any(_tolerates(one, key) for one in tolerations):
            tolerations.append({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})


def _tolerates(toleration: Object, key: str) -> bool:
    return toleration.get("key") in (key, None, "") and toleration.get("effect") in ("NoExecute", None, "")


def _container(container: Object, *, host_network: bool) -> None:
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("imagePullPolicy", pull_policy(str(container.get("image") or "")))
    resources = container.setdefault("resources", {})
    for name, limit in (resources.get("limits") or {}).items():
        resources.setdefault("requests", {}).setdefault(name, limit)
    for port in container.get("ports") or []:
        port.setdefault("protocol", "TCP")
        if host_network:
            port.setdefault("hostPort", port.get("containerPort", 0))
    for variable in container.get("env") or []:
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference is not None:
            reference.setdefault("apiVersion", "v1")
    for name in _PROBES:
        if container.get(name) is not None:
            _probe(container[name])
    for hook in (container.get("lifecycle") or {}).values():
        if isinstance(hook, dict) and "httpGet" in hook:
            _http_get(hook["httpGet"])


def pull_policy(image: str) -> str:
    """``Always`` for an image without a tag or with ``latest``, else ``IfNotPresent``."""
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return "Always" if not digest and tag in ("", "latest") else "IfNotPresent"


def _probe(probe: Object) -> None:
    for name, value in (("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)):
        probe.setdefault(name, value)
    if "httpGet" in probe:
        _http_get(probe["httpGet"])
    if "grpc" in probe:
        probe["grpc"].setdefault("service", "")


def _http_get(action: Object) -> None:
    action.setdefault("path", "/")
    action.setdefault("scheme", "HTTP")


def _volume(volume: Object) -> None:
    if set(volume) <= {"name"}:
        volume["emptyDir"] = {}
    for kind in ("secret", "configMap", "downwardAPI", "projected"):
        if kind in volume:
            volume[kind].setdefault("defaultMode", _MODE)
    if "hostPath" in volume:
        volume["hostPath"].setdefault("type", "")
    for source in (volume.get("projected") or {}).get("sources") or []:
        if "serviceAccountToken" in source:
            source["serviceAccountToken"].setdefault("expirationSeconds", 3600)
        _field_refs(source.get("downwardAPI"))
    _field_refs(volume.get("downwardAPI"))
    claim = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
    if claim:
        claim.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")


def _field_refs(source: Any) -> None:
    for item in (source or {}).get("items") or []:
        if "fieldRef" in item:
            item["fieldRef"].setdefault("apiVersion", "v1")


def quality(spec: Object) -> str:
    """The pod's QoS class (pkg/apis/core/helper/qos/qos.go)."""
    containers = (spec.get("containers") or []) + (spec.get("initContainers") or [])
    requests = [(one.get("resources") or {}).get("requests") or {} for one in containers]
    limits = [(one.get("resources") or {}).get("limits") or {} for one in containers]
    if not any(requests) and not any(limits):
        return "BestEffort"
    names = ("cpu", "memory")
    if all(limit.get(name) and limit.get(name) == request.get(name)
           for limit, request in zip(limits, requests, strict=True) for name in names):  # fmt: skip
        return "Guaranteed"
    return "Burstable"
