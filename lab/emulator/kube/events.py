"""Kubernetes Events: recorded with counts, as client-go's recorder does, and forgotten after an hour.

Source: k8s.io/client-go tools/record/events_cache.go, kube-apiserver --event-ttl (1h).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from lab.emulator.kube.errors import StatusError
from lab.emulator.kube.objects import Object, name_of, namespace_of, reference, timestamp
from lab.emulator.kube.shelf import Key, key_of

if TYPE_CHECKING:
    from lab.emulator.kube.store import Store

_TTL = 3600
_AT_MOST = 2000


class Recorder:
    """Writes Events; a repetition within the hour raises a count."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[tuple[str, ...], str] = {}
        self._swept = 0.0

    def record(self, obj: Object, kind: str, reason: str, message: str, component: str, *, field_path: str) -> None:
        """See `Store.record_event`."""
        involved = reference(obj)
        if field_path:
            involved["fieldPath"] = field_path
        namespace = namespace_of(obj) or "default"
        identity = (namespace, involved.get("uid", ""), involved.get("kind", ""), name_of(obj), field_path,
                    kind, reason, message, component)  # fmt: skip
        shelf, resource = self._store.shelf, self._store.resources.get("", "events")
        known = shelf.get("", "events", namespace, self._known.get(identity, ""))
        now = timestamp()
        if known is not None:
            new = {**known, "metadata": dict(known["metadata"]), "count": known.get("count", 1) + 1,
                   "lastTimestamp": now}  # fmt: skip
            shelf.put(resource, new)
            return
        if shelf.get("", "namespaces", "", namespace) is None:
            return  # nobody can see an event of a namespace that is gone
        self._sweep()
        name = f"{name_of(obj)}.{time.time_ns():x}"
        self._known[identity] = name
        event = {
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": namespace},
            "involvedObject": involved, "reason": reason, "message": message[:1024],
            "source": {"component": component}, "firstTimestamp": now, "lastTimestamp": now, "count": 1,
            "type": kind, "reportingComponent": component, "reportingInstance": "",
        }  # fmt: skip
        if component == "kubelet":
            event["source"] = {"component": "kubelet", "host": "lab"}
            event["reportingInstance"] = "lab"
        self._put(event, namespace)

    def _put(self, event: Object, namespace: str) -> None:
        try:
            self._store.create("", "events", event, namespace=namespace)
        except StatusError as error:
            if error.code != 403:  # a namespace that is being removed takes no events, as upstream
                raise

    def _sweep(self) -> None:
        """Forget events that are older than an hour, and the oldest of too many; looks at most once a minute."""
        shelf, now = self._store.shelf, time.time()
        if now - self._swept < 60 and shelf.count("", "events") < _AT_MOST:
            return
        self._swept = now
        resource = self._store.resources.get("", "events")
        horizon = timestamp(now - _TTL)
        rows = sorted(shelf.rows("", "events"), key=_last_seen)
        stale: list[Key] = [key_of(resource, one) for one in rows if _last_seen(one) < horizon]
        stale = stale or [key_of(resource, one) for one in rows[: max(0, len(rows) - _AT_MOST + _AT_MOST // 10)]]
        for key in stale:
            found = shelf.at(key)
            if found is not None:
                shelf.remove(resource, found)
        gone = {key[3] for key in stale}
        self._known = {identity: name for identity, name in self._known.items() if name not in gone}


def _last_seen(event: Object) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"])
