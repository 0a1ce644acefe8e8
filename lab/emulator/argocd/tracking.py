"""How a live object says which Application it belongs to: the tracking annotation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lab.emulator.argocd.objects import Key, annotations_of, key_of

TRACKING_ID = "argocd.argoproj.io/tracking-id"


@dataclass(frozen=True)
class TrackingId:
    """``<application>:<group>/<kind>:<namespace>/<name>``.

    A cluster-scoped object carries the Application's destination namespace (util/argo/resource_tracking.go).
    """

    application: str
    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.application}:{self.group}/{self.kind}:{self.namespace}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> TrackingId | None:
        """The id in ``text``, or None when it has another form."""
        parts = text.split(":", 2)
        if len(parts) != 3 or parts[1].count("/") != 1 or parts[2].count("/") != 1:
            return None
        return cls(parts[0], *parts[1].split("/"), *parts[2].split("/"))

    @classmethod
    def of(cls, obj: dict[str, Any]) -> TrackingId | None:
        """The id that ``obj`` carries, or None."""
        return cls.parse(str(annotations_of(obj).get(TRACKING_ID, "")))

    def describes(self, obj: dict[str, Any]) -> bool:
        """Whether ``obj`` is the object the id was made for, and not a copy made by some controller."""
        key = key_of(obj)
        return (key.namespace in ("", self.namespace)) and (key.name, key.group, key.kind) == (
            self.name,
            self.group,
            self.kind,
        )


def mark(obj: dict[str, Any], application: str, destination: str) -> None:
    """Write the tracking annotation of ``application`` into ``obj``; a CustomResourceDefinition too."""
    key: Key = key_of(obj)
    value = TrackingId(application, key.group, key.kind, key.namespace or destination, key.name)
    metadata = obj.setdefault("metadata", {})
    metadata["annotations"] = {**(metadata.get("annotations") or {}), TRACKING_ID: str(value)}


def owner(obj: dict[str, Any]) -> str | None:
    """The Application that manages ``obj``, or None; an annotation copied from another object does not count."""
    found = TrackingId.of(obj)
    return found.application if found and found.describes(obj) else None
