"""What a pod asks for that a process on the user's own account cannot be given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_POD = ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "runtimeClassName", "hostAliases", "dnsConfig")
_CONTEXT = (
    "privileged", "runAsUser", "runAsGroup", "runAsNonRoot", "readOnlyRootFilesystem", "allowPrivilegeEscalation",
    "capabilities", "seccompProfile", "seLinuxOptions", "appArmorProfile", "procMount", "fsGroup",
    "supplementalGroups", "sysctls",
)  # fmt: skip


def unenforced(spec: dict[str, Any]) -> list[str]:
    """The settings of a pod's spec that have no effect here, each once, by name."""
    return list(dict.fromkeys(_found(spec)))


def _found(spec: dict[str, Any]) -> Iterator[str]:
    yield from (key for key in _POD if spec.get(key))
    containers = [*(spec.get("initContainers") or ()), *spec["containers"]]
    for each in (spec, *containers):
        context = each.get("securityContext") or {}
        yield from (f"securityContext.{key}" for key in _CONTEXT if key in context)
    for each in containers:
        limits = (each.get("resources") or {}).get("limits") or {}
        yield from (f"resources.limits.{key}" for key in limits)
        if not spec.get("hostNetwork") and any(port.get("hostPort") for port in each.get("ports") or ()):
            yield "ports.hostPort"
        if any(mount.get("readOnly") for mount in each.get("volumeMounts") or ()):
            yield "volumeMounts.readOnly"
