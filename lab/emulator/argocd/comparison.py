"""Desired against live: which objects differ, and how healthy the whole is (controller/state.go)."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from lab.emulator.argocd import health
from lab.emulator.argocd import status as app_status
from lab.emulator.argocd.cluster import Cluster
from lab.emulator.argocd.health import Health
from lab.emulator.argocd.objects import (
    COMPARE_OPTIONS,
    Key,
    group_version,
    hooks,
    key_of,
    option,
    options,
    skipped,
    wave,
)
from lab.emulator.argocd.tracking import TrackingId, mark, owner

EXCLUDED = {("", "Endpoints"), ("discovery.k8s.io", "EndpointSlice"), ("coordination.k8s.io", "Lease")}
"""Kinds that Argo CD leaves alone as installed (``resource.exclusions`` of argocd-cm since 3.0)."""
SYNCED, OUT_OF_SYNC, UNKNOWN = "Synced", "OutOfSync", "Unknown"


@dataclass
class Resource:
    """One object of an Application: as git wants it, as it is, and whether the two differ."""

    key: Key
    target: dict[str, Any] | None
    live: dict[str, Any] | None
    status: str | None = None
    """`SYNCED`, `OUT_OF_SYNC`, `UNKNOWN`, or None for what does not count."""
    health: Health | None = None

    @property
    def prune(self) -> bool:
        """Whether the object is live but no longer wanted."""
        return self.target is None and self.live is not None

    def document(self) -> dict[str, Any]:
        """The entry in ``status.resources``."""
        obj = self.live or self.target or {}
        found: dict[str, Any] = {"version": group_version(obj)[1], "kind": self.key.kind, "name": self.key.name}
        optional = {
            "group": self.key.group,
            "namespace": self.key.namespace,
            "status": self.status,
            "health": self.health.document() if self.health else None,
            "requiresPruning": self.prune,
            "requiresDeletionConfirmation": "confirm" in (option(obj, "Prune"), option(obj, "Delete")),
            "syncWave": wave(self.target or {}),
        }
        return found | {name: value for name, value in optional.items() if value}


@dataclass
class Comparison:
    """What one comparison found."""

    status: str
    revision: str
    resources: list[Resource] = field(default_factory=list)
    hooks: list[dict[str, Any]] = field(default_factory=list)
    conditions: app_status.Conditions = field(default_factory=list)
    health: Health = field(default_factory=lambda: Health(health.HEALTHY))
    source_type: str = ""


def compare(
    cluster: Cluster, app: dict[str, Any], wanted: Iterable[dict[str, Any]], revision: str, source_type: str
) -> Comparison:
    """Compare the objects that a source describes with the cluster; reads only."""
    name = app["metadata"]["name"]
    targets, conditions = normalized(cluster, app, wanted)
    resources = {key: Resource(key, target, cluster.get(key)) for key, target in targets.items() if not hooks(target)}
    for key, live in cluster.managed(name).items():
        if key not in resources and not hooks(live) and not live["metadata"].get("ownerReferences"):
            resources[key] = Resource(key, None, live)
    rules = (app.get("spec") or {}).get("ignoreDifferences") or []
    for resource in resources.values():
        conditions += _shared(name, resource)
        resource.status = _status(cluster, resource, rules)
        resource.health = _health(resource)
    ordered = sorted(resources.values(), key=lambda r: r.key)
    return Comparison(
        status=OUT_OF_SYNC if any(map(_counts, ordered)) else SYNCED,
        revision=revision,
        resources=ordered,
        hooks=[target for target in targets.values() if hooks(target)],
        conditions=conditions,
        health=overall(ordered),
        source_type=source_type,
    )


def unreadable(cluster: Cluster, app: dict[str, Any], revision: str, message: str) -> Comparison:
    """The comparison when the source gives no objects: live objects are shown, nothing is known about them."""
    live = cluster.managed(app["metadata"]["name"])
    resources = [Resource(key, None, obj, UNKNOWN, None) for key, obj in sorted(live.items())]
    for resource in resources:
        resource.health = _health(resource)
    return Comparison(
        status=UNKNOWN,
        revision=revision,
        resources=resources,
        conditions=[(app_status.COMPARISON_ERROR, message)],
        health=overall(resources),
    )


def normalized(
    cluster: Cluster, app: dict[str, Any], wanted: Iterable[dict[str, Any]]
) -> tuple[dict[Key, dict[str, Any]], app_status.Conditions]:
    """The wanted objects with namespace and tracking annotation set, by key; the last of equal ones stays."""
    name, destination = app["metadata"]["name"], ((app.get("spec") or {}).get("destination") or {}).get("namespace", "")
    targets: dict[Key, dict[str, Any]] = {}
    seen: dict[Key, int] = {}
    conditions: app_status.Conditions = []
    for original in wanted:
        obj = copy.deepcopy(original)
        metadata = obj["metadata"] = dict(obj.get("metadata") or {})
        if cluster.namespaced(*_group_kind(obj)) is False:
            metadata.pop("namespace", None)
        elif not metadata.get("namespace"):
            metadata["namespace"] = destination
        if not metadata.get("name") and not metadata.get("generateName"):
            conditions.append((app_status.COMPARISON_ERROR, f"Failed to load target state: {obj['kind']} has no name"))
            continue
        mark(obj, name, destination)
        key = key_of(obj)
        if (key.group, key.kind) in EXCLUDED:
            message = f"Resource {key.group}/{key.kind} {key.name} is excluded in the settings"
            conditions.append((app_status.EXCLUDED, message))
            continue
        seen[key] = seen.get(key, 0) + 1
        targets[key] = obj
        if not metadata.get("namespace") and cluster.namespaced(*_group_kind(obj)):
            message = f"Namespace for {key.name} {_gvk(obj)} is missing."
            conditions.append((app_status.INVALID_SPEC, message))
    conditions += [
        (app_status.REPEATED, f"Resource {key} appeared {count} times among application resources.")
        for key, count in seen.items()
        if count > 1
    ]
    return targets, conditions


def overall(resources: Iterable[Resource]) -> Health:
    """Health of the whole: the worst of the live parts; Missing when nothing is live."""
    counted = [r for r in resources if not (r.live and health.ignored(r.live))]
    parts = [r.health for r in counted if r.health]
    worst = health.aggregate(parts)
    if counted and not any(r.live for r in counted):
        return Health(health.MISSING)
    causes = [r for r in counted if r.health and r.health.status == worst != health.HEALTHY]
    return Health(worst, _because(causes))


def _because(causes: list[Resource]) -> str:
    if not causes:
        return ""
    names = []
    for resource in causes[:3]:
        key = resource.key
        kind = f"{key.group}/{key.kind}" if key.group else key.kind
        names.append(f"{kind}:{key.namespace}/{key.name}" if key.namespace else f"{kind}:{key.name}")
    more = f" and {len(causes) - 3} more" if len(causes) > 3 else ""
    return "Caused by " + ", ".join(names) + more


def _status(cluster: Cluster, resource: Resource, rules: list[dict[str, Any]]) -> str | None:
    target, live = resource.target, resource.live
    if target is not None and skipped(target):
        return None
    if live is not None and not _self_referenced(resource):
        return None
    if target is None or live is None:
        return OUT_OF_SYNC
    predicted = cluster.predicted(target)
    if predicted is None:  # the server refuses it; what is live cannot be what is wanted
        return OUT_OF_SYNC
    return SYNCED if comparable(predicted, rules) == comparable(live, rules) else OUT_OF_SYNC


def _self_referenced(resource: Resource) -> bool:
    """Whether the live object is the one meant, and not a copy that carries another object's annotation."""
    found = TrackingId.of(resource.live or {})
    return resource.target is not None or found is None or found.describes(resource.live or {})


def _counts(resource: Resource) -> bool:
    ignored = resource.prune and "IgnoreExtraneous" in options(resource.live, COMPARE_OPTIONS)
    return resource.status == OUT_OF_SYNC and not ignored


def _health(resource: Resource) -> Health | None:
    if resource.target is not None and skipped(resource.target):
        return None
    return health.assess(resource.live) if resource.live is not None else Health(health.MISSING)


def _shared(name: str, resource: Resource) -> app_status.Conditions:
    other = owner(resource.live) if resource.live else None
    if other in (None, name):
        return []
    key = resource.key
    message = f"{key.kind}/{key.name} is part of applications argocd/{name} and {str(other).replace('_', '/')}"
    return [(app_status.SHARED, message)]


def comparable(obj: dict[str, Any], rules: list[dict[str, Any]]) -> dict[str, Any]:
    """``obj`` without what the server writes and without what ``ignoreDifferences`` names."""
    found = {name: value for name, value in obj.items() if name != "status"}
    server = ("managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink")
    found["metadata"] = {name: value for name, value in obj["metadata"].items() if name not in server}
    paths = _ignored_paths(rules, obj)
    if paths:
        found = copy.deepcopy(found)
    for path in paths:
        _drop(found, path)
    return found


def respecting(target: dict[str, Any], live: dict[str, Any], rules: list[dict[str, Any]]) -> dict[str, Any]:
    """``target`` without what ``ignoreDifferences`` names, so that an apply leaves the live values alone."""
    found = copy.deepcopy(target)
    for path in _ignored_paths(rules, live):
        _drop(found, path)
    return found


def unsupported(cluster: Cluster, app: dict[str, Any]) -> str:
    """What of the settings for comparing is not emulated; empty when all of it is."""
    method = cluster.setting("argocd-cm", "application.resourceTrackingMethod") or "annotation"
    if method != "annotation":
        return f"not emulated: application.resourceTrackingMethod {method}; use annotation"
    for rule in (app.get("spec") or {}).get("ignoreDifferences") or []:
        for name in ("jqPathExpressions", "managedFieldsManagers"):
            if rule.get(name):
                return f"not emulated: ignoreDifferences.{name}; use jsonPointers"
    return ""


def _ignored_paths(rules: list[dict[str, Any]], obj: dict[str, Any]) -> list[list[str]]:
    """The JSON pointers of the rules that apply to ``obj``, taken apart."""
    pointers = [str(pointer) for rule in rules if _applies(rule, obj) for pointer in rule.get("jsonPointers") or []]
    return [[part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]] for text in pointers]


def _applies(rule: dict[str, Any], obj: dict[str, Any]) -> bool:
    key = key_of(obj)
    given = {"group": key.group, "kind": key.kind, "namespace": key.namespace, "name": key.name}
    return all(rule.get(name) in (None, "", "*", value) for name, value in given.items())


def _drop(value: Any, path: list[str]) -> None:
    for part in path[:-1]:
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return
    if isinstance(value, dict) and path:
        value.pop(path[-1], None)
    elif isinstance(value, list) and path and path[-1].isdigit() and int(path[-1]) < len(value):
        del value[int(path[-1])]


def _group_kind(obj: dict[str, Any]) -> tuple[str, str]:
    return group_version(obj)[0], str(obj.get("kind"))


def _gvk(obj: dict[str, Any]) -> str:
    group, version = group_version(obj)
    return f"{group}/{version}, Kind={obj.get('kind')}"
