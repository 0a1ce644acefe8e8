"""The CustomResourceDefinitions of Argo CD's kinds (manifests/crds), as far as their schemas are checked here."""

from __future__ import annotations

from typing import Any

_TEXT, _YES_NO, _NUMBER = {"type": "string"}, {"type": "boolean"}, {"type": "integer"}


def _object(*required: str, **properties: Any) -> dict[str, Any]:
    """An object whose named fields are checked; others are kept as they are."""
    found: dict[str, Any] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return found | ({"properties": properties} if properties else {}) | ({"required": [*required]} if required else {})


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


_SOURCE = _object(
    "repoURL",
    repoURL=_TEXT,
    path=_TEXT,
    targetRevision=_TEXT,
    chart=_TEXT,
    directory=_object(recurse=_YES_NO, include=_TEXT, exclude=_TEXT),
)
_BACKOFF = _object(duration=_TEXT, factor=_NUMBER, maxDuration=_TEXT)
_RETRY = _object(limit=_NUMBER, refresh=_YES_NO, backoff=_BACKOFF)
_SYNC_POLICY = _object(
    automated=_object(enabled=_YES_NO, prune=_YES_NO, selfHeal=_YES_NO, allowEmpty=_YES_NO),
    syncOptions=_list(_TEXT),
    retry=_RETRY,
    managedNamespaceMetadata=_object(),
)
_APPLICATION = _object(
    "destination",
    "project",
    project=_TEXT,
    source=_SOURCE,
    destination=_object(server=_TEXT, name=_TEXT, namespace=_TEXT),
    syncPolicy=_SYNC_POLICY,
    ignoreDifferences=_list(_object("kind", kind=_TEXT, group=_TEXT, jsonPointers=_list(_TEXT))),
    revisionHistoryLimit=_NUMBER,
)
_SYNC = _object(
    revision=_TEXT,
    prune=_YES_NO,
    dryRun=_YES_NO,
    source=_SOURCE,
    syncOptions=_list(_TEXT),
    resources=_list(_object("kind", "name", kind=_TEXT, name=_TEXT, group=_TEXT, namespace=_TEXT)),
)
_OPERATION = _object(sync=_SYNC, initiatedBy=_object(username=_TEXT, automated=_YES_NO), retry=_RETRY)
_PROJECT = _object(
    sourceRepos=_list(_TEXT),
    destinations=_list(_object(server=_TEXT, name=_TEXT, namespace=_TEXT)),
    clusterResourceWhitelist=_list(_object("group", "kind", group=_TEXT, kind=_TEXT)),
    clusterResourceBlacklist=_list(_object("group", "kind", group=_TEXT, kind=_TEXT)),
    namespaceResourceWhitelist=_list(_object("group", "kind", group=_TEXT, kind=_TEXT)),
    namespaceResourceBlacklist=_list(_object("group", "kind", group=_TEXT, kind=_TEXT)),
)
_COLUMNS: list[dict[str, Any]] = [
    {"name": "Sync Status", "type": "string", "jsonPath": ".status.sync.status"},
    {"name": "Health Status", "type": "string", "jsonPath": ".status.health.status"},
    {"name": "Revision", "type": "string", "jsonPath": ".status.sync.revision", "priority": 10},
    {"name": "Project", "type": "string", "jsonPath": ".spec.project", "priority": 10},
]


def _definition(
    plural: str, kind: str, short: list[str], properties: dict[str, Any], columns: list[dict[str, Any]]
) -> dict[str, Any]:
    common = {"apiVersion": _TEXT, "kind": _TEXT, "metadata": {"type": "object"}}
    schema = {"type": "object", "required": ["metadata", "spec"], "properties": common | properties}
    version: dict[str, Any] = {"name": "v1alpha1", "served": True, "storage": True, "subresources": {}}
    version["schema"] = {"openAPIV3Schema": schema}
    labels = {"app.kubernetes.io/part-of": "argocd", "app.kubernetes.io/name": f"{plural}.argoproj.io"}
    names = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower(), "shortNames": short}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.argoproj.io", "labels": labels},
        "spec": {
            "group": "argoproj.io",
            "names": names,
            "scope": "Namespaced",
            "versions": [version | ({"additionalPrinterColumns": columns} if columns else {})],
        },
    }


DEFINITIONS = (
    _definition(
        "applications",
        "Application",
        ["app", "apps"],
        {"spec": _APPLICATION, "operation": _OPERATION, "status": _object()},
        _COLUMNS,
    ),
    _definition("appprojects", "AppProject", ["appproj", "appprojs"], {"spec": _PROJECT, "status": _object()}, []),
)
"""Neither kind has a status subresource: one update writes both (contracts F.7)."""
