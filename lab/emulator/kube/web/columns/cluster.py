"""Columns of networking, storage, access control, autoscaling and the API's own kinds."""

from __future__ import annotations

from typing import Any

from lab.emulator.kube.objects import Object
from lab.emulator.kube.web.columns.column import (
    AGE,
    NAME,
    NONE,
    UNSET,
    Column,
    at,
    number,
    selector_text,
    shortened,
    text,
)


def _hosts(obj: Object) -> str:
    found = [rule["host"] for rule in at(obj, "spec", "rules", default=[]) if rule.get("host")]
    return shortened(found, 3) or "*"


def _addresses(obj: Object) -> str:
    given = at(obj, "status", "loadBalancer", "ingress", default=[])
    return ",".join(filter(None, (one.get("ip") or one.get("hostname") for one in given)))


def _parameters(obj: Object) -> str:
    found = at(obj, "spec", "parameters")
    if not found:
        return NONE
    group = f".{found['apiGroup']}" if found.get("apiGroup") else ""
    return f"{found['kind']}{group}/{found['name']}"


def _slice_ports(obj: Object) -> str:
    listed = [str(one.get("port") or one.get("name") or "*") for one in obj.get("ports") or []]
    return shortened(listed, 3) or UNSET


def _slice_endpoints(obj: Object) -> str:
    return shortened([a for one in obj.get("endpoints") or [] for a in one.get("addresses") or []], 3) or UNSET


def _subjects(kind: str) -> Any:
    def read(obj: Object) -> str:
        found = [one for one in obj.get("subjects") or [] if one["kind"] == kind]
        names = [f"{one.get('namespace')}/{one['name']}" if kind == "ServiceAccount" else one["name"] for one in found]
        return ", ".join(names)

    return read


_BINDING = (
    NAME, text("Role", lambda o: f"{at(o, 'roleRef', 'kind')}/{at(o, 'roleRef', 'name')}"), AGE,
    text("Users", _subjects("User"), wide=True), text("Groups", _subjects("Group"), wide=True),
    text("ServiceAccounts", _subjects("ServiceAccount"), wide=True),
)  # fmt: skip


def _role_created(obj: Object) -> str:
    return str(obj["metadata"].get("creationTimestamp") or "")


def _class_name(obj: Object) -> str:
    name = str(obj["metadata"]["name"])
    default = (obj["metadata"].get("annotations") or {}).get("storageclass.kubernetes.io/is-default-class") == "true"
    return f"{name} (default)" if default else name


def _metric(spec: Object, current: Object) -> str:
    kind = spec.get("type", "")
    detail = spec.get("resource") or {}
    target = detail.get("target") or {}
    now = at(current, "resource", "current") or {}
    if kind == "Resource" and "averageUtilization" in target:
        shown = f"{now['averageUtilization']}%" if "averageUtilization" in now else "<unknown>"
        return f"{detail.get('name')}: {shown}/{target['averageUtilization']}%"
    if kind == "Resource":
        return f"{detail.get('name')}: {now.get('averageValue', '<unknown>')}/{target.get('averageValue', '<auto>')}"
    return "<unknown type>"


def _targets(obj: Object) -> str:
    specs = at(obj, "spec", "metrics", default=[])
    states = at(obj, "status", "currentMetrics", default=[])
    listed = [_metric(one, states[i] if i < len(states) else {}) for i, one in enumerate(specs)]
    if not listed:
        return NONE
    return ", ".join(listed[:2]) + (f" + {len(listed) - 2} more..." if len(listed) > 2 else "")


def _budget(key: str) -> Any:
    def read(obj: Object) -> str:
        value = at(obj, "spec", key)
        return "N/A" if value is None else str(value)

    return read


def _yes(value: Any) -> str:
    return "true" if value else "false"


def _available(obj: Object) -> str:
    found = next((one for one in at(obj, "status", "conditions", default=[]) if one["type"] == "Available"), None)
    if not found:
        return "Unknown"
    return "True" if found["status"] == "True" else f"False ({found.get('reason', '')})"


_RBAC, _STORAGE, _ADMISSION = "rbac.authorization.k8s.io", "storage.k8s.io", "admissionregistration.k8s.io"

COLUMNS: dict[tuple[str, str], tuple[Column, ...]] = {
    ("networking.k8s.io", "ingresses"): (
        NAME, text("Class", lambda o: at(o, "spec", "ingressClassName") or (o["metadata"].get("annotations") or {}).get(
            "kubernetes.io/ingress.class", NONE)),
        text("Hosts", _hosts), text("Address", _addresses),
        text("Ports", lambda o: "80, 443" if at(o, "spec", "tls") else "80"), AGE,
    ),
    ("networking.k8s.io", "ingressclasses"): (
        NAME, text("Controller", lambda o: at(o, "spec", "controller", default="")),
        text("Parameters", _parameters), AGE,
    ),
    ("networking.k8s.io", "networkpolicies"): (
        NAME, text("Pod-Selector", lambda o: selector_text(at(o, "spec", "podSelector"))), AGE,
    ),
    ("discovery.k8s.io", "endpointslices"): (
        NAME, text("AddressType", lambda o: o.get("addressType", "")), text("Ports", _slice_ports),
        text("Endpoints", _slice_endpoints), AGE,
    ),
    (_RBAC, "rolebindings"): _BINDING,
    (_RBAC, "clusterrolebindings"): _BINDING,
    (_RBAC, "roles"): (NAME, Column("Created At", "date", _role_created)),
    (_RBAC, "clusterroles"): (NAME, Column("Created At", "date", _role_created)),
    ("", "limitranges"): (NAME, Column("Created At", "date", _role_created)),
    ("coordination.k8s.io", "leases"): (
        NAME, text("Holder", lambda o: at(o, "spec", "holderIdentity", default="")), AGE,
    ),
    ("apiextensions.k8s.io", "customresourcedefinitions"): (NAME, Column("Created At", "date", _role_created)),
    ("apiregistration.k8s.io", "apiservices"): (
        NAME, text("Service", lambda o: f"{at(o, 'spec', 'service', 'namespace')}/{at(o, 'spec', 'service', 'name')}"
                   if at(o, "spec", "service") else "Local"), text("Available", _available), AGE,
    ),
    (_STORAGE, "storageclasses"): (
        Column("Name", "string", _class_name, format="name"), text("Provisioner", lambda o: o.get("provisioner", "")),
        text("ReclaimPolicy", lambda o: o.get("reclaimPolicy", "Delete")),
        text("VolumeBindingMode", lambda o: o.get("volumeBindingMode", "Immediate")),
        text("AllowVolumeExpansion", lambda o: _yes(o.get("allowVolumeExpansion"))), AGE,
    ),
    ("scheduling.k8s.io", "priorityclasses"): (
        NAME, number("Value", lambda o: o.get("value", 0)),
        Column("Global-Default", "boolean", lambda o: bool(o.get("globalDefault"))), AGE,
        text("PreemptionPolicy", lambda o: o.get("preemptionPolicy", "PreemptLowerPriority")),
    ),
    ("autoscaling", "horizontalpodautoscalers"): (
        NAME, text("Reference", lambda o: f"{at(o, 'spec', 'scaleTargetRef', 'kind')}/"
                                          f"{at(o, 'spec', 'scaleTargetRef', 'name')}"),
        text("Targets", _targets), text("MinPods", lambda o: str(at(o, "spec", "minReplicas") or UNSET)),
        text("MaxPods", lambda o: at(o, "spec", "maxReplicas", default=0)),
        text("Replicas", lambda o: at(o, "status", "currentReplicas", default=0)), AGE,
    ),
    ("policy", "poddisruptionbudgets"): (
        NAME, text("Min Available", _budget("minAvailable")), text("Max Unavailable", _budget("maxUnavailable")),
        number("Allowed Disruptions", lambda o: at(o, "status", "disruptionsAllowed", default=0)), AGE,
    ),
    (_ADMISSION, "validatingwebhookconfigurations"): (
        NAME, number("Webhooks", lambda o: len(o.get("webhooks") or [])), AGE,
    ),
    (_ADMISSION, "mutatingwebhookconfigurations"): (
        NAME, number("Webhooks", lambda o: len(o.get("webhooks") or [])), AGE,
    ),
}  # fmt: skip
