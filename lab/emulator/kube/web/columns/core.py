"""Columns of the core kinds."""

from __future__ import annotations

from typing import Any

from lab.emulator.kube.objects import Object
from lab.emulator.kube.web.columns.column import (
    AGE,
    NAME,
    NONE,
    UNKNOWN,
    UNSET,
    Column,
    age,
    at,
    containers,
    label_text,
    shortened,
    since,
    text,
)
from lab.emulator.kube.web.columns.pod import POD

_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def _modes(modes: Any) -> str:
    return ",".join(_MODES.get(mode, mode) for mode in modes or [])


def _external_ip(obj: Object) -> str:
    spec = obj.get("spec") or {}
    extra = spec.get("externalIPs") or []
    if spec.get("type") == "LoadBalancer":
        given = [
            one.get("ip") or one.get("hostname") for one in at(obj, "status", "loadBalancer", "ingress", default=[])
        ]
        return ",".join([*filter(None, given), *extra]) or "<pending>"
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName") or NONE)
    return ",".join(extra) or NONE


def _ports(obj: Object) -> str:
    listed = []
    for port in at(obj, "spec", "ports", default=[]):
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        listed.append(f"{port['port']}{node}/{port.get('protocol', 'TCP')}")
    return ",".join(listed) or NONE


def _endpoints(obj: Object) -> str:
    found = []
    for subset in obj.get("subsets") or []:
        for port in subset.get("ports") or []:
            found += [f"{address['ip']}:{port['port']}" for address in subset.get("addresses") or []]
        if not subset.get("ports"):
            found += [address["ip"] for address in subset.get("addresses") or []]
    return shortened(found, 3) or NONE


def _claim_phase(obj: Object) -> str:
    return "Terminating" if obj["metadata"].get("deletionTimestamp") else str(at(obj, "status", "phase", default=""))


def _volume_claim(obj: Object) -> str:
    claim = at(obj, "spec", "claimRef")
    return f"{claim.get('namespace')}/{claim.get('name')}" if claim else ""


def _last_seen(obj: Object) -> str:
    series = at(obj, "series", "lastObservedTime")
    return since(series or obj.get("lastTimestamp") or obj.get("firstTimestamp") or obj.get("eventTime"))


def _target(obj: Object) -> str:
    involved = obj.get("involvedObject") or {}
    kind, name = str(involved.get("kind") or "").lower(), involved.get("name")
    return f"{kind}/{name}" if name else kind


def _source(obj: Object) -> str:
    source = obj.get("source") or {}
    component = source.get("component") or obj.get("reportingComponent") or ""
    host = source.get("host") or obj.get("reportingInstance") or ""
    return f"{component}, {host}" if host else component


def _node_status(obj: Object) -> str:
    ready = next((one for one in at(obj, "status", "conditions", default=[]) if one["type"] == "Ready"), None)
    status = ["Unknown" if not ready else "Ready" if ready["status"] == "True" else "NotReady"]
    if at(obj, "spec", "unschedulable"):
        status.append("SchedulingDisabled")
    return ",".join(status)


def _roles(obj: Object) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = obj["metadata"].get("labels") or {}
    found = [key[len(prefix) :] for key in labels if key.startswith(prefix)]
    if labels.get("kubernetes.io/role"):
        found.append(labels["kubernetes.io/role"])
    return ",".join(sorted(filter(None, found))) or NONE


def _address(kind: str) -> Any:
    def read(obj: Object) -> str:
        addresses = at(obj, "status", "addresses", default=[])
        return next((str(one["address"]) for one in addresses if one["type"] == kind), NONE)

    return read


def _info(key: str) -> Any:
    return lambda obj: at(obj, "status", "nodeInfo", key) or UNKNOWN


def _quota(*, limits: bool) -> Any:
    def read(obj: Object) -> str:
        hard, used = at(obj, "status", "hard", default={}), at(obj, "status", "used", default={})
        names = [name for name in sorted(hard) if name.startswith("limits.") == limits]
        return ", ".join(f"{name}: {used.get(name, '0')}/{hard[name]}" for name in names)

    return read


_TEMPLATE = ("spec", "template", "spec")

COLUMNS: dict[tuple[str, str], tuple[Column, ...]] = {
    ("", "pods"): POD,
    ("", "namespaces"): (NAME, text("Status", lambda o: at(o, "status", "phase", default="")), AGE),
    ("", "services"): (
        NAME, text("Type", lambda o: at(o, "spec", "type", default="")),
        text("Cluster-IP", lambda o: at(o, "spec", "clusterIP") or NONE), text("External-IP", _external_ip),
        text("Port(s)", _ports), AGE,
        text("Selector", lambda o: label_text(at(o, "spec", "selector")), wide=True),
    ),
    ("", "configmaps"): (
        NAME, text("Data", lambda o: len(o.get("data") or {}) + len(o.get("binaryData") or {})), AGE,
    ),
    ("", "secrets"): (
        NAME, text("Type", lambda o: o.get("type", "")), text("Data", lambda o: len(o.get("data") or {})), AGE,
    ),
    ("", "serviceaccounts"): (NAME, text("Secrets", lambda o: len(o.get("secrets") or [])), AGE),
    ("", "endpoints"): (NAME, text("Endpoints", _endpoints), AGE),
    ("", "nodes"): (
        NAME, text("Status", _node_status), text("Roles", _roles), AGE,
        text("Version", lambda o: at(o, "status", "nodeInfo", "kubeletVersion", default="")),
        text("Internal-IP", _address("InternalIP"), wide=True), text("External-IP", _address("ExternalIP"), wide=True),
        text("OS-Image", _info("osImage"), wide=True), text("Kernel-Version", _info("kernelVersion"), wide=True),
        text("Container-Runtime", _info("containerRuntimeVersion"), wide=True),
    ),
    ("", "events"): (
        text("Last Seen", _last_seen), text("Type", lambda o: o.get("type", "")),
        text("Reason", lambda o: o.get("reason", "")), text("Object", _target),
        text("Subobject", lambda o: at(o, "involvedObject", "fieldPath", default=""), wide=True),
        text("Source", _source, wide=True), text("Message", lambda o: str(o.get("message") or "").strip()),
        text("First Seen", lambda o: since(o.get("firstTimestamp") or o.get("eventTime")), wide=True),
        text("Count", lambda o: at(o, "series", "count") or o.get("count") or 1, wide=True),
        Column("Name", "string", lambda o: o["metadata"]["name"], priority=1, format="name"),
    ),
    ("", "persistentvolumes"): (
        NAME, text("Capacity", lambda o: at(o, "spec", "capacity", "storage", default="")),
        text("Access Modes", lambda o: _modes(at(o, "spec", "accessModes"))),
        text("Reclaim Policy", lambda o: at(o, "spec", "persistentVolumeReclaimPolicy", default="")),
        text("Status", _claim_phase), text("Claim", _volume_claim),
        text("StorageClass", lambda o: at(o, "spec", "storageClassName", default="")),
        text("VolumeAttributesClass", lambda o: at(o, "spec", "volumeAttributesClassName") or UNSET),
        text("Reason", lambda o: at(o, "status", "reason", default="")), AGE,
        text("VolumeMode", lambda o: at(o, "spec", "volumeMode") or UNSET, wide=True),
    ),
    ("", "persistentvolumeclaims"): (
        NAME, text("Status", _claim_phase), text("Volume", lambda o: at(o, "spec", "volumeName", default="")),
        text("Capacity", lambda o: at(o, "status", "capacity", "storage", default="")),
        text("Access Modes", lambda o: _modes(at(o, "status", "accessModes"))),
        text("StorageClass", lambda o: at(o, "spec", "storageClassName", default="")),
        text("VolumeAttributesClass", lambda o: at(o, "spec", "volumeAttributesClassName") or UNSET), AGE,
        text("VolumeMode", lambda o: at(o, "spec", "volumeMode") or UNSET, wide=True),
    ),
    ("", "replicationcontrollers"): (
        NAME, Column("Desired", "integer", lambda o: at(o, "spec", "replicas", default=0)),
        Column("Current", "integer", lambda o: at(o, "status", "replicas", default=0)),
        Column("Ready", "integer", lambda o: at(o, "status", "readyReplicas", default=0)), AGE,
        text("Containers", containers("name", *_TEMPLATE), wide=True),
        text("Images", containers("image", *_TEMPLATE), wide=True),
        text("Selector", lambda o: label_text(at(o, "spec", "selector")), wide=True),
    ),
    ("", "resourcequotas"): (
        NAME, text("Request", _quota(limits=False)), text("Limit", _quota(limits=True)), AGE,
    ),
    ("", "podtemplates"): (
        NAME, text("Containers", containers("name", "template", "spec")),
        text("Images", containers("image", "template", "spec")),
        text("Pod Labels", lambda o: label_text(at(o, "template", "metadata", "labels"))),
    ),
}  # fmt: skip

__all__ = ["COLUMNS", "age"]
