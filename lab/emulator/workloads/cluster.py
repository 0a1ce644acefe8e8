"""The controllers' view of the store: reads that may find nothing, and writes only where something changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lab.emulator.kube.errors import StatusError
from lab.emulator.kube.objects import copied, owner_reference, uid_of
from lab.emulator.kube.selectors import label_selector
from lab.emulator.kube.store import Change, Store
from lab.emulator.workloads.objects import Obj, controller_of, is_controlled_by, terminating

Kind = tuple[str, str]
"""Group and plural of a resource."""

PODS: Kind = ("", "pods")
SERVICES: Kind = ("", "services")
ENDPOINTS: Kind = ("", "endpoints")
NODES: Kind = ("", "nodes")
SECRETS: Kind = ("", "secrets")
CONFIG_MAPS: Kind = ("", "configmaps")
CLAIMS: Kind = ("", "persistentvolumeclaims")
VOLUMES: Kind = ("", "persistentvolumes")
DEPLOYMENTS: Kind = ("apps", "deployments")
REPLICA_SETS: Kind = ("apps", "replicasets")
STATEFUL_SETS: Kind = ("apps", "statefulsets")
DAEMON_SETS: Kind = ("apps", "daemonsets")
REVISIONS: Kind = ("apps", "controllerrevisions")
INGRESSES: Kind = ("networking.k8s.io", "ingresses")
SLICES: Kind = ("discovery.k8s.io", "endpointslices")


class Cluster:
    """What a controller does with the API; all calls are synchronous and see the latest state."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def find(self, kind: Kind, namespace: str | None, name: str) -> Obj | None:
        """The object, or None."""
        try:
            return self.store.get(*kind, namespace, name)
        except StatusError as error:
            if error.code == 404:
                return None
            raise

    def owned(self, kind: Kind, owner: Obj) -> list[Obj]:
        """The objects of the owner's namespace that it manages."""
        rows = self.store.select(*kind, owner["metadata"]["namespace"])
        return [copied(each) for each in rows if is_controlled_by(each, owner)]

    def claimed(self, kind: Kind, owner: Obj) -> list[Obj]:
        """`owned`, after adopting orphans that the owner's selector matches and releasing what it no longer does."""
        matches = label_selector(owner["spec"]["selector"])
        result = []
        for each in list(self.store.select(*kind, owner["metadata"]["namespace"])):
            matched = matches(each["metadata"].get("labels") or {})
            if is_controlled_by(each, owner):
                if matched:
                    result.append(copied(each))
                elif not terminating(owner):
                    others = [one for one in each["metadata"]["ownerReferences"] if one["uid"] != uid_of(owner)]
                    self._own(kind, each, others)
            elif matched and not (controller_of(each) or terminating(each) or terminating(owner)):
                references = each["metadata"].get("ownerReferences") or []
                result.append(self._own(kind, each, [*references, owner_reference(owner)]))
        return result

    def _own(self, kind: Kind, obj: Obj, references: list[Obj]) -> Obj:
        return self.update(kind, {**obj, "metadata": {**obj["metadata"], "ownerReferences": references}})

    def create(self, kind: Kind, obj: Obj) -> Obj:
        """Create ``obj`` in its own namespace; raises StatusError."""
        return self.store.create(*kind, obj, namespace=obj["metadata"].get("namespace"))

    def update(self, kind: Kind, obj: Obj, subresource: str | None = None) -> Obj:
        """Write ``obj`` back; raises StatusError (409 when it is stale)."""
        return self.store.update(*kind, obj, subresource=subresource)

    def put_status(self, kind: Kind, obj: Obj, status: dict[str, Any]) -> bool:
        """Write the status when it differs from the object's; returns whether it did."""
        if status == obj.get("status"):
            return False
        self.update(kind, {**obj, "status": status}, "status")
        return True

    def delete(self, kind: Kind, obj: Obj, grace: int | None = None) -> None:
        """Delete the object; nothing happens when it is gone already."""
        metadata = obj["metadata"]
        extra: dict[str, Any] = {} if grace is None else {"grace": grace}
        try:
            self.store.delete(*kind, metadata.get("namespace"), metadata["name"], **extra)
        except StatusError as error:
            if error.code != 404:
                raise

    def event(self, obj: Obj, kind: str, reason: str, message: str, component: str) -> None:
        """Record a Kubernetes event (``kind`` is Normal or Warning) about ``obj``."""
        self.store.record_event(obj, kind, reason, message, component)

    def subscribe(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Have every change passed to ``callback``; the result unsubscribes."""
        return self.store.subscribe(callback)
