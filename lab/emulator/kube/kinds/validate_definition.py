"""Checks of CustomResourceDefinitions (apiextensions-apiserver pkg/apis/apiextensions/validation, v0.33)."""

from __future__ import annotations

from lab.emulator.kube.errors import Cause
from lab.emulator.kube.kinds import names
from lab.emulator.kube.objects import Object


def definition(obj: Object) -> list[Cause]:
    """What is wrong with a definition."""
    spec = obj["spec"]
    group, named = spec.get("group") or "", spec.get("names") or {}
    causes = []
    expected = f"{named.get('plural', '')}.{group}"
    if obj["metadata"]["name"] != expected:
        causes.append(Cause.invalid("metadata.name", obj["metadata"]["name"],
                                    'must be spec.names.plural+"."+spec.group'))  # fmt: skip
    if not group:
        causes.append(Cause.required("spec.group"))
    elif "." not in group:
        causes.append(Cause.invalid("spec.group", group, "should be a domain with at least one dot"))
    else:
        causes += [Cause.invalid("spec.group", group, problem) for problem in names.subdomain(group)]
    if spec.get("scope") not in ("Cluster", "Namespaced"):
        causes.append(Cause.unsupported("spec.scope", spec.get("scope") or "", ("Cluster", "Namespaced")))
    for key in ("plural", "singular", "kind", "listKind"):
        if not named.get(key):
            causes.append(Cause.required(f"spec.names.{key}"))
        else:
            causes += [Cause.invalid(f"spec.names.{key}", named[key], problem)
                       for problem in names.label_1035(named[key].lower())]  # fmt: skip
    return causes + _versions(spec.get("versions") or [])


def _versions(versions: list[Object]) -> list[Cause]:
    if not versions:
        return [Cause.required("spec.versions", "must have exactly one version marked as storage version")]
    causes = []
    seen: set[str] = set()
    for index, version in enumerate(versions):
        path, name = f"spec.versions[{index}]", version.get("name") or ""
        causes += [Cause.invalid(f"{path}.name", name, problem) for problem in names.label_1035(name)]
        if name in seen:
            causes.append(Cause.invalid(f"{path}.name", name, "must be unique"))
        seen.add(name)
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if schema is None:
            causes.append(Cause.required(f"{path}.schema.openAPIV3Schema", "schemas are required"))
        elif schema.get("type") != "object":
            causes.append(Cause.required(f"{path}.schema.openAPIV3Schema.type", "must not be empty at the root")
                          if not schema.get("type") else
                          Cause.invalid(f"{path}.schema.openAPIV3Schema.type", schema["type"],
                                        "must be object at the root"))  # fmt: skip
    if sum(1 for version in versions if version.get("storage")) != 1:
        detail = "must have exactly one version marked as storage version"
        causes.append(Cause("spec.versions", f"Invalid value: {detail}"))
    return causes


def definition_change(new: Object, old: Object) -> list[Cause]:
    """What may not change in an established definition."""
    causes = []
    for path, key in (("spec.group", "group"), ("spec.scope", "scope")):
        if new["spec"].get(key) != old["spec"].get(key):
            causes.append(Cause.invalid(path, new["spec"].get(key), "field is immutable"))
    for key in ("kind", "plural"):
        given = new["spec"]["names"].get(key)
        if given != old["spec"]["names"].get(key):
            causes.append(Cause.invalid(f"spec.names.{key}", given, "field is immutable"))
    return causes
