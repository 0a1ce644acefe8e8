"""Discovery and plain objects of a Kubernetes API on a `wire.Wire`: enough for reads, apply and merge patches."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml
from wire import Request, Wire

KINDS = {
    "api/v1": [("Namespace", "namespaces", False), ("Secret", "secrets", True), ("Pod", "pods", True),
               ("Event", "events", True), ("ServiceAccount", "serviceaccounts", True),
               ("ConfigMap", "configmaps", True)],
    "apis/apps/v1": [("Deployment", "deployments", True)],
    "apis/networking.k8s.io/v1": [("Ingress", "ingresses", True)],
    "apis/argoproj.io/v1alpha1": [("Application", "applications", True)],
}  # fmt: skip


def kubeconfig(path: Path, url: str) -> Path:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "lab",
        "clusters": [{"name": "lab", "cluster": {"server": url}}],
        "users": [{"name": "lab", "user": {"token": "secret-token"}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


class Objects:
    """Stored documents by URL path; serves discovery for `KINDS`."""

    def __init__(self, fake: Wire) -> None:
        self.stored: dict[str, dict[str, Any]] = {}
        self._fake = fake
        groups = [path.split("/")[1:] for path in KINDS if path.startswith("apis/")]
        fake.on("GET", "/version", (200, {"major": "1", "minor": "33", "gitVersion": "v1.33.0"}))
        fake.on("GET", "/apis", (200, {"kind": "APIGroupList", "groups": [
            {"name": group, "versions": [{"groupVersion": f"{group}/{version}", "version": version}],
             "preferredVersion": {"groupVersion": f"{group}/{version}", "version": version}}
            for group, version in groups]}))  # fmt: skip
        for path, kinds in KINDS.items():
            rows = [{"name": plural, "kind": kind, "namespaced": spaced, "singularName": "", "verbs": ["get", "list"]}
                    for kind, plural, spaced in kinds]  # fmt: skip
            fake.on("GET", f"/{path}", (200, {"kind": "APIResourceList", "resources": rows}))

    def put(self, path: str, document: dict[str, Any]) -> None:
        """Store an object and register its routes, its list's too."""
        self.stored[path] = document
        for method, answer in (("GET", self._get), ("PATCH", self._patch), ("DELETE", self._delete)):
            self._fake.on(method, path, answer)
        self._fake.on("GET", path.rpartition("/")[0], self._list)

    def absent(self, path: str) -> None:
        """Register the routes of an object that does not exist yet."""
        self.put(path, {})
        del self.stored[path]

    def _get(self, request: Request) -> tuple[int, Any]:
        if request.path not in self.stored:
            return 404, {"kind": "Status", "reason": "NotFound", "message": "not found", "code": 404}
        return 200, self.stored[request.path]

    def _list(self, request: Request) -> tuple[int, Any]:
        items = [item for path, item in self.stored.items() if path.rpartition("/")[0] == request.path]
        return 200, {"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}

    def _patch(self, request: Request) -> tuple[int, Any]:
        applied = request.headers["content-type"] == "application/apply-patch+yaml"
        if request.path not in self.stored and not applied:
            return 404, {"kind": "Status", "reason": "NotFound", "message": "not found", "code": 404}
        merged = _merge(self.stored.get(request.path, {}), request.json)
        self.put(request.path, merged)
        return 200, merged

    def _delete(self, request: Request) -> tuple[int, Any]:
        status = 200 if self.stored.pop(request.path, None) else 404
        return status, {"kind": "Status", "code": status}


def _merge(base: Any, change: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(change, dict):
        return copy.deepcopy(change)
    merged = dict(base)
    for key, value in change.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged
