"""Checks of network policies, quotas, limits, priorities and leases (pkg/apis/*/validation, v1.33)."""

from __future__ import annotations

from itertools import combinations

from lab.emulator.kube import quantity
from lab.emulator.kube.errors import Cause
from lab.emulator.kube.kinds import names
from lab.emulator.kube.objects import Object

_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_PEERS = ("podSelector", "namespaceSelector", "ipBlock")
_HIGHEST = 1_000_000_000
"""The highest priority that a user may define."""


def network_policy(obj: Object) -> list[Cause]:
    """What is wrong with a network policy."""
    spec = obj.get("spec") or {}
    causes = names.selector(spec.get("podSelector") or {}, "spec.podSelector")
    for index, kind in enumerate(spec.get("policyTypes") or []):
        if kind not in ("Ingress", "Egress"):
            causes.append(Cause.unsupported(f"spec.policyTypes[{index}]", kind, ("Egress", "Ingress")))
    for direction, side in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction) or []):
            path = f"spec.{direction}[{index}]"
            for number, peer in enumerate(rule.get(side) or []):
                causes += _peer(peer, f"{path}.{side}[{number}]")
            for number, port in enumerate(rule.get("ports") or []):
                causes += _policy_port(port, f"{path}.ports[{number}]")
    return causes


def _peer(peer: Object, path: str) -> list[Cause]:
    given = [key for key in _PEERS if peer.get(key) is not None]
    if not given:
        return [Cause.required(path, "must specify a peer")]
    if "ipBlock" not in given:
        return [cause for key in given for cause in names.selector(peer[key], f"{path}.{key}")]
    if len(given) > 1:
        return [Cause.forbidden(path, "may not specify both ipBlock and another peer")]
    block = peer["ipBlock"]
    cidr = block.get("cidr") or ""
    if not cidr:
        return [Cause.required(f"{path}.ipBlock.cidr")]
    if not names.is_cidr(cidr):
        return [Cause.invalid(f"{path}.ipBlock.cidr", cidr, _CIDR)]
    excepted = enumerate(block.get("except") or [])
    return [Cause.invalid(f"{path}.ipBlock.except[{i}]", one, _CIDR) for i, one in excepted if not names.is_cidr(one)]


def _policy_port(port: Object, path: str) -> list[Cause]:
    causes = []
    if port.get("protocol") not in ("SCTP", "TCP", "UDP"):
        causes.append(Cause.unsupported(f"{path}.protocol", port.get("protocol"), ("SCTP", "TCP", "UDP")))
    number = port.get("port")
    if isinstance(number, str):
        causes += [Cause.invalid(f"{path}.port", number, problem) for problem in names.port_name(number)]
    elif number is not None:
        causes += [Cause.invalid(f"{path}.port", number, problem) for problem in names.port(number)]
    elif port.get("endPort") is not None:
        causes.append(Cause.required(f"{path}.port", "must be specified when `endPort` is specified"))
    return causes


def priority_class(obj: Object) -> list[Cause]:
    """What is wrong with a priority class."""
    name, value, causes = obj["metadata"]["name"], obj.get("value") or 0, []
    if name.startswith("system-"):
        detail = "priority class names with 'system-' prefix are reserved for system use only"
        causes.append(Cause.forbidden("metadata.name", detail))
    if value > _HIGHEST:
        causes.append(Cause.forbidden("value", f"maximum allowed value of a user defined priority is {_HIGHEST}"))
    if obj.get("preemptionPolicy") not in (None, "Never", "PreemptLowerPriority"):
        valid = ("Never", "PreemptLowerPriority")
        causes.append(Cause.unsupported("preemptionPolicy", obj["preemptionPolicy"], valid))
    return causes


def priority_class_change(new: Object, old: Object) -> list[Cause]:
    """What may not change in a priority class."""
    found = []
    if (new.get("value") or 0) != (old.get("value") or 0):
        found.append(Cause.forbidden("value", "may not be changed in an update."))
    if new.get("preemptionPolicy") != old.get("preemptionPolicy"):
        detail = "field is immutable"
        found.append(Cause.invalid("preemptionPolicy", new.get("preemptionPolicy"), detail))
    return found


def quota(obj: Object) -> list[Cause]:
    """What is wrong with a resource quota."""
    causes = []
    for name, amount in ((obj.get("spec") or {}).get("hard") or {}).items():
        path = f"spec.hard[{name}]"
        if quantity.value(amount) < 0:
            causes.append(Cause.invalid(path, amount, "must be greater than or equal to 0"))
        if name in ("pods", "services", "secrets", "configmaps") and quantity.value(amount) % 1:
            causes.append(Cause.invalid(path, amount, "must be an integer"))
    return causes


def limit_range(obj: Object) -> list[Cause]:
    """What is wrong with a limit range."""
    causes = []
    seen: set[str] = set()
    for index, limit in enumerate((obj.get("spec") or {}).get("limits") or []):
        path, kind = f"spec.limits[{index}]", limit.get("type") or ""
        if kind in seen:
            causes.append(Cause.duplicate(f"{path}.type", kind))
        seen.add(kind)
        if kind == "Pod":
            detail = "may not be specified when `type` is 'Pod'"
            causes += [
                Cause.forbidden(f"{path}.{key}", detail) for key in ("default", "defaultRequest") if limit.get(key)
            ]
        causes += _ordered(limit, path)
    return causes


_ORDER = (("min", "min"), ("defaultRequest", "default request"), ("default", "default"), ("max", "max"))


def _ordered(limit: Object, path: str) -> list[Cause]:
    causes = []
    for (low, low_name), (high, high_name) in combinations(_ORDER, 2):
        for name, amount in (limit.get(low) or {}).items():
            most = (limit.get(high) or {}).get(name)
            if most is not None and quantity.value(amount) > quantity.value(most):
                detail = f"{low_name} value {amount} is greater than {high_name} value {most}"
                causes.append(Cause.invalid(f"{path}.{low}[{name}]", amount, detail))
    return causes


def lease(obj: Object) -> list[Cause]:
    """What is wrong with a lease."""
    spec, causes = obj.get("spec") or {}, []
    seconds, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if seconds is not None and seconds <= 0:
        causes.append(Cause.invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"))
    if transitions is not None and transitions < 0:
        causes.append(Cause.invalid("spec.leaseTransitions", transitions, "must be greater than or equal to 0"))
    return causes
