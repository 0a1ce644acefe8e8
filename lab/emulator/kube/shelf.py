"""Where the objects lie: in memory, written through to the database, with versions, indexes and a bounded history.

The part that etcd and the watch cache play for a real API server. Everything is synchronous: one call is one
step of the event loop, so that nobody sees half a write. A stored object is never changed in place; whoever
writes puts a new one.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lab.emulator.database import Database
from lab.emulator.kube.objects import Object, name_of, namespace_of
from lab.emulator.kube.resources import Resource

log = logging.getLogger(__name__)

Key = tuple[str, str, str, str]
"""Group, plural, namespace (empty for cluster-wide kinds) and name."""

ADDED, MODIFIED, DELETED = "ADDED", "MODIFIED", "DELETED"
_KIND = "kube"
_HISTORY = 1000


@dataclass(frozen=True)
class Change:
    """One write. ``object`` and ``old`` are the stored ones: read-only for everybody."""

    type: str
    """ADDED, MODIFIED or DELETED."""
    resource: Resource
    object: Object
    """The object after the write; of a removed one, its last state with the version of the removal."""
    old: Object | None
    version: int


def key_of(resource: Resource, obj: Object) -> Key:
    """The key that ``obj`` is stored under."""
    return resource.group, resource.plural, namespace_of(obj), name_of(obj)


class Shelf:
    """The stored objects of every kind."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rows: dict[tuple[str, str], dict[tuple[str, str], Object]] = {}
        self._uids: dict[str, Key] = {}
        self._dependents: dict[str, set[Key]] = {}
        self._subscribers: list[Callable[[Change], None]] = []
        self._pending: deque[Change] = deque()
        self._emitting = False
        self._history: deque[Change] = deque(maxlen=_HISTORY)
        self.version = 0
        """The newest resource version. It starts from the clock (milliseconds), so that a version of an earlier
        run is older than everything in the history."""
        self._load()
        self.oldest = self.version
        """A watch can begin at this version or a later one."""

    def _load(self) -> None:
        newest = 0
        for path, obj in self._database.all(_KIND):
            group, plural, namespace, name = path.split("/", 3)
            self._rows.setdefault((group, plural), {})[namespace, name] = obj
            self._index((group, plural, namespace, name), None, obj)
            newest = max(newest, int(obj["metadata"].get("resourceVersion") or 0))
        self.version = max(newest, int(time.time() * 1000))

    def get(self, group: str, plural: str, namespace: str, name: str) -> Object | None:
        """The stored object (read-only), or None."""
        return self._rows.get((group, plural), {}).get((namespace, name))

    def at(self, key: Key) -> Object | None:
        """The stored object (read-only) under ``key``, or None."""
        return self.get(*key)

    def by_uid(self, uid: str) -> Key | None:
        """The key of the object with this uid, or None."""
        return self._uids.get(uid)

    def dependents(self, uid: str) -> list[Key]:
        """The keys of the objects that name ``uid`` as an owner."""
        return sorted(self._dependents.get(uid, ()))

    def rows(self, group: str, plural: str, namespace: str = "") -> Iterator[Object]:
        """Stored objects (read-only) of a kind, of one namespace or of all, ordered by namespace and name."""
        rows = self._rows.get((group, plural), {})
        for place in sorted(rows):
            if not namespace or place[0] == namespace:
                yield rows[place]

    def count(self, group: str, plural: str) -> int:
        """How many objects of a kind there are."""
        return len(self._rows.get((group, plural), {}))

    def keys_in(self, namespace: str) -> list[Key]:
        """The keys of everything in a namespace."""
        return [
            (group, plural, place, name)
            for (group, plural), rows in self._rows.items()
            for place, name in sorted(rows)
            if place == namespace
        ]

    def put(self, resource: Resource, obj: Object) -> Object:
        """Store ``obj`` with the next version; the caller gives the document away."""
        key = key_of(resource, obj)
        old = self.at(key)
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        self._database.put(_KIND, "/".join(key), obj)
        self._rows.setdefault(key[:2], {})[key[2:]] = obj
        self._index(key, old, obj)
        self._emit(Change(MODIFIED if old else ADDED, resource, obj, old, self.version))
        return obj

    def remove(self, resource: Resource, obj: Object) -> Object:
        """Remove the stored ``obj``; returns its last state."""
        key = key_of(resource, obj)
        old = self._rows[key[:2]].pop(key[2:])
        self.version += 1
        self._database.delete(_KIND, "/".join(key))
        self._index(key, old, None)
        last = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}
        self._emit(Change(DELETED, resource, last, old, self.version))
        return last

    def _index(self, key: Key, old: Object | None, new: Object | None) -> None:
        if old:
            self._uids.pop(old["metadata"]["uid"], None)
            for owner in old["metadata"].get("ownerReferences") or []:
                known = self._dependents.get(owner["uid"], set())
                known.discard(key)
                if not known:
                    self._dependents.pop(owner["uid"], None)
        if new:
            self._uids[new["metadata"]["uid"]] = key
            for owner in new["metadata"].get("ownerReferences") or []:
                self._dependents.setdefault(owner["uid"], set()).add(key)

    def subscribe(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Call ``callback`` for every change from now on, in the order of versions; returns how to stop that.

        A write made inside a callback is delivered after the one that is being delivered.
        """
        self._subscribers.append(callback)

        def unsubscribe() -> None:
            if callback in self._subscribers:
                self._subscribers.remove(callback)

        return unsubscribe

    def _emit(self, change: Change) -> None:
        if len(self._history) == self._history.maxlen:
            self.oldest = self._history[0].version
        self._history.append(change)
        self._pending.append(change)
        if self._emitting:
            return
        self._emitting = True
        try:
            while self._pending:
                self._deliver(self._pending.popleft())
        finally:
            self._emitting = False

    def _deliver(self, change: Change) -> None:
        for callback in list(self._subscribers):
            try:
                callback(change)
            except Exception:  # noqa: PERF203 - one failing subscriber must not keep the change from the others
                log.exception("a subscriber failed on %s %s", change.type, change.resource.qualified)

    def since(self, version: int) -> list[Change] | None:
        """The changes after ``version``, oldest first; None when they are no longer known."""
        if version < self.oldest:
            return None
        return [change for change in self._history if change.version > version]
