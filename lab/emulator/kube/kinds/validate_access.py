"""Checks of roles and bindings (pkg/apis/rbac/validation, v1.33)."""

from __future__ import annotations

from lab.emulator.kube.errors import Cause
from lab.emulator.kube.kinds import names
from lab.emulator.kube.objects import Object

_RBAC = "rbac.authorization.k8s.io"


def role(obj: Object) -> list[Cause]:
    """What is wrong with a role."""
    causes = []
    for index, rule in enumerate(obj.get("rules") or []):
        path = f"rules[{index}]"
        if not rule.get("verbs"):
            causes.append(Cause.required(f"{path}.verbs", "verbs must contain at least one value"))
        if rule.get("nonResourceURLs"):
            if obj["kind"] == "Role":
                detail = "namespaced rules cannot apply to non-resource URLs"
                causes.append(Cause.invalid(f"{path}.nonResourceURLs", rule["nonResourceURLs"], detail))
            continue
        if not rule.get("apiGroups"):
            causes.append(Cause.required(f"{path}.apiGroups", "resource rules must supply at least one api group"))
        if not rule.get("resources"):
            causes.append(Cause.required(f"{path}.resources", "resource rules must supply at least one resource"))
    return causes


def binding(obj: Object) -> list[Cause]:
    """What is wrong with a binding."""
    reference = obj.get("roleRef") or {}
    causes = []
    if reference.get("apiGroup") != _RBAC:
        causes.append(Cause.unsupported("roleRef.apiGroup", reference.get("apiGroup") or "", (_RBAC,)))
    kinds = ("Role", "ClusterRole") if obj["kind"] == "RoleBinding" else ("ClusterRole",)
    if reference.get("kind") not in kinds:
        causes.append(Cause.unsupported("roleRef.kind", reference.get("kind") or "", kinds))
    if not reference.get("name"):
        causes.append(Cause.required("roleRef.name"))
    for index, subject in enumerate(obj.get("subjects") or []):
        causes += _subject(subject, f"subjects[{index}]", namespaced=obj["kind"] == "RoleBinding")
    return causes


def _subject(subject: Object, path: str, *, namespaced: bool) -> list[Cause]:
    causes = [] if subject.get("name") else [Cause.required(f"{path}.name")]
    kind = subject.get("kind")
    if kind == "ServiceAccount":
        if subject.get("name"):
            causes += [Cause.invalid(f"{path}.name", subject["name"], problem)
                       for problem in names.subdomain(subject["name"])]  # fmt: skip
        if not subject.get("namespace") and not namespaced:
            causes.append(Cause.required(f"{path}.namespace"))
    elif kind not in ("User", "Group"):
        causes.append(Cause.unsupported(f"{path}.kind", kind or "", ("ServiceAccount", "User", "Group")))
    return causes


def binding_change(new: Object, old: Object) -> list[Cause]:
    """The role that is bound stays."""
    if new.get("roleRef") == old.get("roleRef"):
        return []
    shown = ", ".join(f'{key}:"{(new.get("roleRef") or {}).get(name, "")}"'
                      for key, name in (("APIGroup", "apiGroup"), ("Kind", "kind"), ("Name", "name")))  # fmt: skip
    return [Cause("roleRef", f"Invalid value: rbac.RoleRef{{{shown}}}: cannot change roleRef")]
