"""Deletion: finalizers, grace, owners and their dependents, namespaces and kinds that drain.

What the real system spreads over the API server, the garbage collector and the namespace controller happens here
in one step: `Collector.settle` runs until nothing more follows from what was deleted.
Sources: apiserver pkg/registry/rest/delete.go, pkg/controller/garbagecollector, pkg/controller/namespace (v1.33).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

from lab.emulator.kube.objects import Object, copied, deleting, name_of, namespace_of, timestamp, uid_of
from lab.emulator.kube.resources import Resource, Resources
from lab.emulator.kube.shelf import Key, Shelf, key_of

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
CUSTOM_CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
_ABSENT_OWNER_DELAY = 0.5  # seconds; the real collector takes about as long to notice
_DEFAULT_GRACE = 30


class Collector:
    """Removes objects and what depends on them."""

    def __init__(self, shelf: Shelf, resources: Resources) -> None:
        self._shelf, self._resources = shelf, resources
        self._removed: deque[Object] = deque()
        self._draining: set[Key] = set()
        self._settling = False

    def resume(self) -> None:
        """Take up deletions that an earlier process began; once every kind is known."""
        for group, plural in (("", "namespaces"), ("apiextensions.k8s.io", "customresourcedefinitions")):
            resource = self._resources.get(group, plural)
            self._draining |= {key_of(resource, obj) for obj in self._shelf.rows(group, plural) if deleting(obj)}
        self.settle()

    def delete(self, resource: Resource, obj: Object, propagation: str, grace: int | None) -> Object:
        """Begin or complete the deletion of the stored ``obj``; returns its state afterwards."""
        new: Object = copied(obj)
        meta = new["metadata"]
        _choose_finalizers(meta, propagation)
        drains = _drains(resource)
        if resource.plural == "customresourcedefinitions" and CUSTOM_CLEANUP not in meta.get("finalizers", ()):
            meta.setdefault("finalizers", []).append(CUSTOM_CLEANUP)
        seconds = _grace(resource, obj, grace)
        if not seconds and not meta.get("finalizers") and not drains:
            return self._remove(resource, new)
        _mark(meta, seconds)
        if drains == "namespace":
            new["status"] = {**new.get("status", {}), "phase": "Terminating"}
        if resource.generation and not deleting(obj):
            meta["generation"] = meta.get("generation", 1) + 1
        if new != obj:
            new = self._shelf.put(resource, new)
        if drains:
            self._draining.add(key_of(resource, new))
        if FOREGROUND in meta.get("finalizers", ()) or ORPHAN in meta.get("finalizers", ()):
            self._dependents_first(resource, new)
        return new

    def after_update(self, resource: Resource, obj: Object) -> None:
        """Complete a deletion whose last finalizer an update has removed."""
        meta = obj["metadata"]
        if not deleting(obj) or meta.get("finalizers") or meta.get("deletionGracePeriodSeconds"):
            return
        if _drains(resource) != "namespace" or not (obj.get("spec") or {}).get("finalizers"):
            current = self._shelf.at(key_of(resource, obj))
            if current is not None and uid_of(current) == uid_of(obj):
                self._remove(resource, current)

    def doubt(self, resource: Resource, obj: Object) -> None:
        """Look in a moment whether the owners that a new object names exist."""
        owners = obj["metadata"].get("ownerReferences") or []
        if not owners or any(self._exists(owner, namespace_of(obj)) for owner in owners):
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        loop.call_later(_ABSENT_OWNER_DELAY, self._collect, key_of(resource, obj))

    def settle(self) -> None:
        """Delete what follows from earlier deletions, until nothing does."""
        if self._settling:
            return
        self._settling = True
        try:
            while True:
                if self._removed:
                    self._follow(self._removed.popleft())
                elif not self._drain_all():
                    return
        finally:
            self._settling = False

    def _drain_all(self) -> bool:
        happened = [self._drain(key) for key in sorted(self._draining)]  # each one, not only up to the first
        return any(happened)

    def _remove(self, resource: Resource, obj: Object) -> Object:
        last = self._shelf.remove(resource, obj)
        self._removed.append(last)
        key = key_of(resource, obj)
        self._draining.discard(key)
        if resource.plural == "customresourcedefinitions":
            self._resources.remove(obj["spec"]["group"], obj["spec"]["names"]["plural"])
        return last

    def _follow(self, gone: Object) -> None:
        for key in self._shelf.dependents(uid_of(gone)):
            self._collect(key)
        for owner in gone["metadata"].get("ownerReferences") or []:
            place = self._shelf.by_uid(owner["uid"])
            found = self._shelf.at(place) if place else None
            if place and found and FOREGROUND in (found["metadata"].get("finalizers") or ()):
                self._dependents_first(self._resources.get(place[0], place[1]), found)

    def _collect(self, key: Key) -> None:
        """Delete a dependent whose owners are all gone; drop the references to those that are."""
        obj = self._shelf.at(key)
        resource = self._resources.find(key[0], key[1])
        if obj is None or resource is None:
            return
        owners = obj["metadata"].get("ownerReferences") or []
        left = [owner for owner in owners if self._exists(owner, key[2])]
        if left == owners:
            return
        if left:
            new = copied(obj)
            new["metadata"]["ownerReferences"] = left
            self._shelf.put(resource, new)
        elif not deleting(obj):
            self.delete(resource, obj, "", None)
        self.settle()

    def _exists(self, owner: Object, namespace: str) -> bool:
        key = self._shelf.by_uid(owner["uid"])
        return key is not None and key[2] in ("", namespace)

    def _dependents_first(self, resource: Resource, owner: Object) -> None:
        """Foreground: delete what blocks the owner. Orphan: let the dependents go. Then drop the finalizer."""
        finalizers = owner["metadata"].get("finalizers") or []
        dependents = [key for key in self._shelf.dependents(uid_of(owner)) if key != key_of(resource, owner)]
        if ORPHAN in finalizers:
            for key in dependents:
                self._release(key, uid_of(owner))
            self._drop_finalizer(resource, owner, ORPHAN)
            return
        blocking = [key for key in dependents if self._blocks(key, uid_of(owner))]
        for key in blocking:
            found = self._shelf.at(key)
            kind = self._resources.find(key[0], key[1])
            if found is not None and kind is not None and not deleting(found):
                inner = "Foreground" if self._shelf.dependents(uid_of(found)) else "Background"
                self.delete(kind, found, inner, None)
        if not any(self._blocks(key, uid_of(owner)) for key in blocking):
            self._drop_finalizer(resource, owner, FOREGROUND)

    def _blocks(self, key: Key, uid: str) -> bool:
        found = self._shelf.at(key)
        owners = (found or {}).get("metadata", {}).get("ownerReferences") or []
        return any(owner["uid"] == uid and owner.get("blockOwnerDeletion") for owner in owners)

    def _release(self, key: Key, uid: str) -> None:
        new = copied(self._shelf.at(key))
        owners = [owner for owner in new["metadata"].get("ownerReferences") or [] if owner["uid"] != uid]
        new["metadata"]["ownerReferences"] = owners
        if not owners:
            del new["metadata"]["ownerReferences"]
        self._shelf.put(self._resources.get(key[0], key[1]), new)

    def _drop_finalizer(self, resource: Resource, obj: Object, finalizer: str) -> None:
        current = self._shelf.at(key_of(resource, obj))
        if current is None or uid_of(current) != uid_of(obj):
            return
        new = copied(current)
        left = [one for one in new["metadata"].get("finalizers") or [] if one != finalizer]
        new["metadata"]["finalizers"] = left
        if not left:
            del new["metadata"]["finalizers"]
            if not new["metadata"].get("deletionGracePeriodSeconds"):
                self._remove(resource, new)
                return
        self._shelf.put(resource, new)

    def _drain(self, key: Key) -> bool:
        """Delete what is in a namespace (or of a kind) that is being removed; True when something happened."""
        resource = self._resources.get(key[0], key[1])
        owner = self._shelf.at(key)
        if owner is None:
            self._draining.discard(key)
            return False
        version = self._shelf.version
        for inner in self._contents(key, owner):
            found = self._shelf.at(inner)
            kind = self._resources.find(inner[0], inner[1])
            if found is not None and kind is not None and not deleting(found):
                self.delete(kind, found, "Background", None)
        if not self._contents(key, owner):
            self._finish(resource, owner)
        return self._shelf.version != version

    def _contents(self, key: Key, owner: Object) -> list[Key]:
        if key[1] == "namespaces":
            return self._shelf.keys_in(name_of(owner))
        group, plural = owner["spec"]["group"], owner["spec"]["names"]["plural"]
        return [(group, plural, namespace_of(obj), name_of(obj)) for obj in self._shelf.rows(group, plural)]

    def _finish(self, resource: Resource, owner: Object) -> None:
        if resource.plural == "customresourcedefinitions":
            self._drop_finalizer(resource, owner, CUSTOM_CLEANUP)
            return
        self._draining.discard(key_of(resource, owner))
        new = copied(owner)
        new["spec"] = {}
        if new["metadata"].get("finalizers"):
            self._shelf.put(resource, new)
        else:
            self._remove(resource, new)


def _drains(resource: Resource) -> str:
    if resource.group == "" and resource.plural == "namespaces":
        return "namespace"
    return "kind" if resource.plural == "customresourcedefinitions" else ""


def _choose_finalizers(meta: Object, propagation: str) -> None:
    """The finalizer that stands for ``propagation``; an empty one leaves an earlier choice alone."""
    if not propagation:
        return
    left = [one for one in meta.get("finalizers") or [] if one not in (FOREGROUND, ORPHAN)]
    wanted = {"Foreground": FOREGROUND, "Orphan": ORPHAN}.get(propagation)
    left += [wanted] if wanted else []
    meta.pop("finalizers", None)
    if left:
        meta["finalizers"] = left


def _grace(resource: Resource, obj: Object, grace: int | None) -> int:
    """Seconds that a pod gets to end; 0 for everything else and for pods that no kubelet runs."""
    if resource.group or resource.plural != "pods":
        return 0
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    if not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
        return 0
    wanted = grace if grace is not None else int(spec.get("terminationGracePeriodSeconds") or _DEFAULT_GRACE)
    if grace is None and spec.get("terminationGracePeriodSeconds") == 0:
        wanted = 1  # upstream: zero in the spec is no request to skip the kubelet
    earlier = obj["metadata"].get("deletionGracePeriodSeconds")
    return wanted if earlier is None else min(wanted, earlier)


def _mark(meta: Object, seconds: int) -> None:
    if "deletionTimestamp" not in meta or seconds < meta.get("deletionGracePeriodSeconds", 0):
        meta["deletionTimestamp"] = timestamp(time.time() + seconds)
        meta["deletionGracePeriodSeconds"] = seconds
