"""CustomResourceDefinitions: the kinds they describe, and their status.

Source: k8s.io/apiextensions-apiserver pkg/controller/{status,establish} (v0.33).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from lab.emulator.kube.objects import Object, copied, deleting, timestamp
from lab.emulator.kube.resources import Reader, Resource

if TYPE_CHECKING:
    from lab.emulator.kube.store import Store


def resource_of(definition: Object) -> Resource:
    """The kind that a CustomResourceDefinition describes."""
    spec = definition["spec"]
    names = spec["names"]
    served = [version for version in spec["versions"] if version.get("served")]
    stored = next(version for version in spec["versions"] if version.get("storage"))
    others = sorted((version["name"] for version in served if version is not stored), key=version_rank)
    subresources = stored.get("subresources") or {}
    return Resource(
        spec["group"],
        (stored["name"], *others),
        names["plural"],
        names["kind"],
        singular=str(names.get("singular") or ""),
        namespaced=spec.get("scope") == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        status="status" in subresources,
        scale="scale" in subresources,
        custom=spec,
        selectable={
            one["jsonPath"].lstrip("."): _reader(one["jsonPath"]) for one in stored.get("selectableFields") or []
        },
    )


def version_rank(version: str) -> tuple[int, int, int, str]:
    """Sort key of versions, the preferred first: v2, v1, v1beta2, v1beta1, v1alpha1, others by name."""
    match = re.match(r"v(\d+)(?:(alpha|beta)(\d+))?\Z", version)
    if not match:
        return 3, 0, 0, version
    stage = {None: 0, "beta": 1, "alpha": 2}[match[2]]
    return stage, -int(match[1]), -int(match[3] or 0), ""


def _reader(path: str) -> Reader:
    keys = path.lstrip(".").split(".")

    def read(obj: Any) -> str:
        for key in keys:
            obj = obj.get(key) if isinstance(obj, dict) else None
        return "" if obj is None else str(obj).lower() if isinstance(obj, bool) else str(obj)

    return read


def establish(store: Store, definition: Object) -> None:
    """Serve the kind from now on, and say so in the definition's status."""
    if deleting(definition):
        return
    store.resources.add(resource_of(definition))
    new = copied(definition)
    now = timestamp()
    storage = next(version["name"] for version in new["spec"]["versions"] if version.get("storage"))
    earlier = new.get("status") or {}
    stored = list(dict.fromkeys([*(earlier.get("storedVersions") or []), storage]))
    times = {one["type"]: one["lastTransitionTime"] for one in earlier.get("conditions") or []}
    accepted = {"type": "NamesAccepted", "reason": "NoConflicts", "message": "no conflicts found"}
    established = {"type": "Established", "reason": "InitialNamesAccepted",
                   "message": "the initial names have been accepted"}  # fmt: skip
    new["status"] = {
        "conditions": [{**one, "status": "True", "lastTransitionTime": times.get(one["type"], now)}
                       for one in (accepted, established)],
        "acceptedNames": copied(new["spec"]["names"]),
        "storedVersions": stored,
    }  # fmt: skip
    store.update("apiextensions.k8s.io", "customresourcedefinitions", new, subresource="status")
