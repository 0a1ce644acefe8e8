"""The only door to the Kubernetes store: live objects, dry runs, applies and deletions, and who manages what."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from typing import Any

from lab.emulator.argocd.objects import Key, annotations_of, key_of
from lab.emulator.argocd.tracking import TRACKING_ID, owner
from lab.emulator.kube.decoding import decode
from lab.emulator.kube.errors import StatusError
from lab.emulator.kube.resources import Resource
from lab.emulator.kube.store import Change, Options, Store

MANAGER = "argocd-controller"
"""Field manager of everything that Argo CD writes (common.ArgoCDSSAManager)."""
NAMESPACE = "argocd"
GROUP = "argoproj.io"
_DRY_RUN = Options(manager=MANAGER, dry_run=True, validation="Ignore", force=True)


class Cluster:
    """Reads and writes through the store, and keeps an index of the objects that carry a tracking annotation.

    Objects that the reading methods return are the store's own: read-only.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._managed: dict[str, set[Key]] = {}
        self._unsubscribe: Callable[[], None] | None = None
        self._listener: Callable[[Change], None] | None = None
        self._kinds: dict[tuple[str, str], Resource] = {}
        self._kinds_generation = -1

    def start(self, listener: Callable[[Change], None]) -> None:
        """Index what is there and report every later change to ``listener``, after the index knows it."""
        self._listener = listener
        self._unsubscribe = self.store.subscribe(self._changed)
        for resource in self.store.resources:
            for obj in self.store.select(resource.group, resource.plural):
                self._index(obj, present=True)

    def stop(self) -> None:
        """End the subscription."""
        if self._unsubscribe is not None:
            self._unsubscribe()

    def _changed(self, change: Change) -> None:
        if change.old is not None:
            self._index(change.old, present=False)
        self._index(change.object, present=change.type != "DELETED")
        if self._listener is not None:
            self._listener(change)

    def _index(self, obj: dict[str, Any], *, present: bool) -> None:
        name = owner(obj) if TRACKING_ID in annotations_of(obj) else None
        if name is None:
            return
        keys = self._managed.setdefault(name, set())
        if present:
            keys.add(key_of(obj))
        else:
            keys.discard(key_of(obj))

    def resource(self, group: str, kind: str) -> Resource | None:
        """The served resource of a kind, or None."""
        if self._kinds_generation != self.store.resources.generation:
            self._kinds = {(resource.group, resource.kind): resource for resource in self.store.resources}
            self._kinds_generation = self.store.resources.generation
        return self._kinds.get((group, kind))

    def namespaced(self, group: str, kind: str) -> bool | None:
        """Whether a kind lives in namespaces; None when it is not served."""
        found = self.resource(group, kind)
        return found.namespaced if found else None

    def get(self, key: Key) -> dict[str, Any] | None:
        """The live object, or None."""
        found = self.resource(key.group, key.kind)
        return self.store.find(key.group, found.plural, key.namespace, key.name) if found else None

    def managed(self, application: str) -> dict[Key, dict[str, Any]]:
        """The live objects that carry the tracking annotation of ``application``."""
        found = ((key, self.get(key)) for key in sorted(self._managed.get(application, ())))
        return {key: obj for key, obj in found if obj is not None}

    def dependents(self, obj: dict[str, Any]) -> list[dict[str, Any]]:
        """The live objects that name ``obj`` as an owner."""
        keys = self.store.shelf.dependents(str((obj.get("metadata") or {}).get("uid") or ""))
        return [found for key in keys if (found := self.store.shelf.at(key)) is not None]

    def owner_of(self, obj: dict[str, Any]) -> dict[str, Any] | None:
        """The object that ``obj`` names as its first owner, when it is still there."""
        for reference in (obj.get("metadata") or {}).get("ownerReferences") or []:
            key = self.store.shelf.by_uid(str(reference.get("uid")))
            return self.store.shelf.at(key) if key else None
        return None

    def predicted(self, target: dict[str, Any]) -> dict[str, Any] | None:
        """What the object would be after an apply; None when the server would refuse it."""
        try:
            return self.store.apply(_without_status(target), manager=MANAGER, force=True, options=_DRY_RUN)
        except StatusError:
            return None

    def apply(
        self,
        target: dict[str, Any],
        *,
        replace: bool = False,
        server_side: bool = False,
        force: bool = False,
        validate: bool = True,
        dry_run: bool = False,
    ) -> tuple[str, str]:
        """Make the object so; returns ``Synced`` or ``SyncFailed`` and kubectl's line about it."""
        key = key_of(target)
        options = Options(manager=MANAGER, dry_run=dry_run, validation="Strict" if validate else "Ignore", force=True)
        before = self.get(key)
        try:
            if not server_side:
                self._decoded(target, options)
            after = self._write(target, before, options, replace=replace, force=force)
        except StatusError as error:
            return "SyncFailed", error.message
        found = self.resource(key.group, key.kind)
        name = (
            f"{(found.singular_name if found else key.kind.lower())}{'.' + key.group if key.group else ''}/{key.name}"
        )
        return "Synced", f"{name} {_verb(before, after, replace=replace, server_side=server_side)}" + (
            " (dry run)" if dry_run else ""
        )

    def _decoded(self, target: dict[str, Any], options: Options) -> None:
        """Complain of what is no such object as the server does with a client's apply: before any typed merge.

        Argo CD sends its manifests with sorted keys, so unknown fields are listed in that order.
        """
        found = self.resource(key_of(target).group, str(target["kind"]))
        if found is not None and target["apiVersion"] == found.api_version:
            decode(found, json.loads(json.dumps(_without_status(target), sort_keys=True)), options)

    def _write(
        self, target: dict[str, Any], before: dict[str, Any] | None, options: Options, *, replace: bool, force: bool
    ) -> dict[str, Any]:
        """Apply or replace; with ``force`` an object that cannot be changed so is deleted and made anew."""
        key, wanted = key_of(target), _without_status(target)
        found = self.resource(key.group, key.kind)
        try:
            if replace and before is not None and found is not None:
                return self.store.update(key.group, found.plural, wanted, options=options)
            return self.store.apply(wanted, manager=MANAGER, force=True, options=options)
        except StatusError as error:
            kept = key.kind in ("Namespace", "CustomResourceDefinition")
            if error.code != 422 or not force or before is None or found is None or kept or options.dry_run:
                raise
        self.store.delete(key.group, found.plural, key.namespace or None, key.name)
        return self.store.apply(wanted, manager=MANAGER, force=True, options=options)

    def delete(self, obj: dict[str, Any], propagation: str) -> str:
        """Ask for the deletion of a live object; returns why not, or an empty string."""
        key = key_of(obj)
        found = self.resource(key.group, key.kind)
        if found is None or obj["metadata"].get("deletionTimestamp"):
            return ""
        try:
            self.store.delete(key.group, found.plural, key.namespace or None, key.name, propagation=propagation)
        except StatusError as error:
            return "" if error.code == 404 else error.message
        return ""

    def applications(self) -> list[dict[str, Any]]:
        """The Applications that are reconciled: those in namespace argocd."""
        return list(self.store.select(GROUP, "applications", NAMESPACE))

    def application(self, name: str) -> dict[str, Any] | None:
        """A copy of an Application, or None."""
        try:
            return self.store.get(GROUP, "applications", NAMESPACE, name)
        except StatusError:
            return None

    def write_application(self, app: dict[str, Any]) -> None:
        """Store a changed Application, unless it is gone or nothing changed."""
        app["metadata"].pop("resourceVersion", None)
        try:
            self.store.update(GROUP, "applications", app, options=Options(manager="argocd-application-controller"))
        except StatusError as error:
            if error.code != 404:
                raise

    def annotate_application(self, name: str, annotation: str, value: str) -> None:
        """Set an annotation of an Application, as argocd-server does."""
        body = {"metadata": {"annotations": {annotation: value}}}
        try:
            self.store.patch(GROUP, "applications", NAMESPACE, name, body, options=Options(manager="argocd-server"))
        except StatusError as error:
            if error.code != 404:
                raise

    def project(self, name: str) -> dict[str, Any] | None:
        """An AppProject, or None."""
        return self.store.find(GROUP, "appprojects", NAMESPACE, name)

    def secrets(self, namespace: str) -> Iterable[dict[str, Any]]:
        """The Secrets of a namespace that say what they are for."""
        return self.store.select("", "secrets", namespace, labels="argocd.argoproj.io/secret-type")

    def secret(self, namespace: str, name: str) -> dict[str, Any] | None:
        """One Secret, or None."""
        return self.store.find("", "secrets", namespace, name)

    def setting(self, config_map: str, name: str) -> str | None:
        """A key of one of Argo CD's ConfigMaps, or None."""
        found = self.store.find("", "configmaps", NAMESPACE, config_map) or {}
        value = (found.get("data") or {}).get(name)
        return None if value is None else str(value)

    def ensure(self, obj: dict[str, Any]) -> None:
        """Create an object unless one of its name is there."""
        found = self.resource(key_of(obj).group, str(obj["kind"]))
        if found is None:
            raise LookupError(f"the cluster does not serve {obj['apiVersion']} {obj['kind']}")
        if self.get(key_of(obj)) is None:
            self.store.create(found.group, found.plural, obj, options=Options(manager="argocd-installer"))

    def event(self, obj: dict[str, Any], kind: str, reason: str, message: str) -> None:
        """Record a Kubernetes Event about an Application."""
        self.store.record_event(obj, kind, reason, message, "argocd-application-controller")


def encoded(data: dict[str, str]) -> dict[str, str]:
    """A Secret's ``data`` from plain text."""
    return {name: base64.b64encode(value.encode()).decode() for name, value in data.items()}


def _without_status(obj: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in obj.items() if name != "status"}


def _verb(before: dict[str, Any] | None, after: dict[str, Any], *, replace: bool, server_side: bool) -> str:
    if before is None:
        return "serverside-applied" if server_side else "created"
    if replace:
        return "replaced"
    if server_side:
        return "serverside-applied"
    return (
        "unchanged"
        if before["metadata"].get("resourceVersion") == after["metadata"].get("resourceVersion")
        else "configured"
    )
