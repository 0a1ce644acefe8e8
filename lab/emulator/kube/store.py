"""The objects of the cluster and what may be done with them: the API server without HTTP.

Synchronous: one call is one step of the event loop. What the methods return is the caller's own copy; what a
`Change` carries is shared and read-only. Errors are `StatusError` with upstream's codes, reasons and texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from lab.emulator.database import Database
from lab.emulator.kube import admission, apply, events, patches
from lab.emulator.kube.collection import Collector
from lab.emulator.kube.decoding import configuration, decode
from lab.emulator.kube.errors import (
    StatusError,
    already_exists,
    bad_request,
    not_found,
)
from lab.emulator.kube.managed import record_write
from lab.emulator.kube.notices import notice
from lab.emulator.kube.objects import Object, copied, metadata, name_of, namespace_of, new_uid, timestamp
from lab.emulator.kube.resources import Resource, Resources
from lab.emulator.kube.selectors import fields as field_predicate
from lab.emulator.kube.selectors import labels as label_predicate
from lab.emulator.kube.shelf import Change, Shelf
from lab.emulator.kube.writes import keep_metadata, name_it, place, preconditions, same_object, without_versions

__all__ = ["Change", "Options", "Store"]


@dataclass(frozen=True)
class Options:
    """How a write is to be done; the query parameters of a request."""

    manager: str = "kube-controller-manager"
    """Who writes, as ``metadata.managedFields`` records it."""
    dry_run: bool = False
    """Check and compute, store nothing."""
    validation: str = "Warn"
    """What an unknown or repeated field does: ``Ignore``, ``Warn`` or ``Strict``."""
    force: bool = False
    """Server-side apply takes fields over from other managers."""
    version: str = ""
    """Version that the request speaks; empty means the stored one."""
    warnings: list[str] = field(default_factory=list, compare=False)
    """Filled with what a client should be warned of."""


DEFAULT = Options()


class Store:
    """Every object of the cluster."""

    def __init__(self, database: Database) -> None:
        self.resources = Resources()
        self.shelf = Shelf(database)
        self.collector = Collector(self.shelf, self.resources)
        self.root_certificate = ""
        """PEM of the CA that namespaces publish as ConfigMap ``kube-root-ca.crt``; empty for none."""
        self._events = events.Recorder(self)
        admission.restore(self)
        self.shelf.subscribe(self._refurnish)

    def _refurnish(self, change: Change) -> None:
        """Put back what every namespace has when somebody deletes it."""
        gone = (change.resource.plural, name_of(change.object)) if change.type == "DELETED" else None
        if gone in (("serviceaccounts", "default"), ("configmaps", "kube-root-ca.crt")):
            admission.furnish(self, namespace_of(change.object))

    def get(self, group: str, plural: str, namespace: str | None, name: str) -> Object:
        """A copy of one object.

        Raises:
            StatusError: 404, no such object or kind.
        """
        return dict(copied(self.view(group, plural, namespace, name)))

    def view(self, group: str, plural: str, namespace: str | None, name: str) -> Object:
        """One object as it is stored: read-only and cheap; raises as `get`."""
        resource = self.resources.get(group, plural)
        found = self.shelf.get(group, plural, (namespace or "") if resource.namespaced else "", name)
        if found is None:
            raise not_found(group, plural, name)
        return found

    def find(self, group: str, plural: str, namespace: str | None, name: str) -> Object | None:
        """As `view`, but None when the object is absent."""
        return self.shelf.get(group, plural, namespace or "", name)

    def list(
        self, group: str, plural: str, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> list[Object]:
        """Copies of the objects that both selectors match, ordered by namespace and name.

        Raises:
            StatusError: 404 unknown kind; 400 a selector that cannot be read.
        """
        return [copied(obj) for obj in self.select(group, plural, namespace, labels=labels, fields=fields)]

    def select(
        self, group: str, plural: str, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> Iterable[Object]:
        """As `list`, but read-only objects as they are stored."""
        resource = self.resources.get(group, plural)
        matches = self.predicate(resource, labels=labels, fields=fields)
        rows = self.shelf.rows(group, plural, namespace or "")
        return [obj for obj in rows if matches(obj)] if matches else rows

    def predicate(self, resource: Resource, *, labels: str = "", fields: str = "") -> Callable[[Object], bool] | None:
        """A function that says whether both selectors match an object; None when they are empty."""
        if not labels and not fields:
            return None
        by_label = label_predicate(labels)
        by_field = field_predicate(fields, {"metadata.name": name_of, "metadata.namespace": namespace_of,
                                            **resource.selectable})  # fmt: skip
        return lambda obj: by_label(obj["metadata"].get("labels") or {}) and by_field(obj)

    def subscribe(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Call ``callback`` at once for every change from now on; returns a function that ends that."""
        return self.shelf.subscribe(callback)

    def create(
        self, group: str, plural: str, obj: Object, *, namespace: str | None = None, options: Options = DEFAULT
    ) -> Object:
        """Store a new object; ``obj`` is not changed. Returns a copy of what was stored.

        Raises:
            StatusError: 400 malformed; 403 the namespace is being removed; 404 no such kind or namespace;
                409 the name is taken; 422 invalid.
        """
        resource = self.resources.get(group, plural)
        new = decode(resource, obj, options)
        place(resource, new, namespace)
        return self._create(resource, new, options)

    def _create(self, resource: Resource, new: Object, options: Options, *, applied: bool = False) -> Object:
        meta = metadata(new)
        if meta.pop("resourceVersion", None):
            raise StatusError(500, "", "resourceVersion should not be set on objects to be created")
        name_it(resource, meta)
        admission.namespace(self, resource, new)
        for field_name in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"):
            meta.pop(field_name, None)
        meta["uid"], meta["creationTimestamp"] = new_uid(), timestamp()
        if resource.generation or resource.custom is not None:
            meta["generation"] = 1
        if resource.status and not applied:
            new.pop("status", None)
        if not applied:
            meta.pop("managedFields", None)
        admission.create(self, resource, new)
        notice(resource, new, options.warnings)
        if self.shelf.get(resource.group, resource.plural, namespace_of(new), name_of(new)):
            raise already_exists(resource.group, resource.plural, name_of(new))
        if not applied:
            record_write(resource, new, None, options)
        if options.dry_run:
            return new
        stored = self.shelf.put(resource, new)
        admission.created(self, resource, stored)
        self.collector.settle()
        return dict(copied(stored))

    def update(
        self, group: str, plural: str, obj: Object, *, subresource: str | None = None, options: Options = DEFAULT
    ) -> Object:
        """Replace an object, or only its ``status``; ``obj`` is not changed. Returns a copy of what is stored then.

        Without ``metadata.resourceVersion`` the write is unconditional. A write that changes nothing stores nothing.

        Raises:
            StatusError: 404 no such object; 409 ``resourceVersion`` or ``uid`` is not the stored one; 422 invalid.
        """
        resource = self.resources.get(group, plural)
        new = decode(resource, obj, options)
        old = self.view(group, plural, namespace_of(new), name_of(new))
        return self._update(resource, new, old, subresource, options)

    def _update(
        self,
        resource: Resource,
        new: Object,
        old: Object,
        subresource: str | None,
        options: Options,
        *,
        applied: bool = False,
    ) -> Object:
        """Store ``new`` in place of ``old``. With ``applied`` its managedFields are already computed."""
        same_object(resource, new, old)
        new = admission.merge_subresource(resource, new, old, subresource)
        keep_metadata(new, old)
        admission.update(self, resource, new, old, subresource)
        if not applied:
            record_write(resource, new, old, options, subresource)
        if without_versions(new) == without_versions(old):
            return dict(copied(old))
        admission.count_generation(resource, new, old)
        if options.dry_run:
            return new
        stored = self.shelf.put(resource, new)
        admission.updated(self, resource, stored, old)
        self.collector.after_update(resource, stored)
        self.collector.settle()
        return dict(copied(stored))

    def patch(
        self,
        group: str,
        plural: str,
        namespace: str | None,
        name: str,
        body: Any,
        *,
        kind: str = "merge",
        subresource: str | None = None,
        options: Options = DEFAULT,
    ) -> Object:
        """Change parts of an object. ``kind`` of patch: ``json``, ``merge`` or ``strategic``.

        Raises:
            StatusError: 400 malformed; 404; 409 a ``resourceVersion`` in the patch is stale; 415 a strategic merge
                on a custom resource; 422 the result is invalid or a JSON patch does not fit.
        """
        resource = self.resources.get(group, plural)
        old = self.view(group, plural, namespace, name)
        document = patches.patched(resource, admission.shown(resource, old, options.version), body, kind)
        new = decode(resource, document, options)
        if name_of(new) != name_of(old):
            text = f"the name of the object ({name_of(new)}) does not match the name on the URL ({name_of(old)})"
            raise bad_request(text)
        return self._update(resource, new, old, subresource, options)

    def apply(
        self,
        obj: Object,
        *,
        manager: str,
        force: bool = False,
        namespace: str | None = None,
        subresource: str | None = None,
        options: Options = DEFAULT,
    ) -> Object:
        """Server-side apply: make the fields in ``obj`` so, own them, and remove those no longer in it.

        Raises:
            StatusError: 404 unknown kind; 409 other managers own fields and ``force`` is off; 422 invalid.
        """
        resource = self.resources.of_kind(str(obj.get("apiVersion") or ""), str(obj.get("kind") or ""))
        options = replace(options, manager=manager, force=force)
        wanted = configuration(resource, obj, options)
        place(resource, wanted, namespace)
        old = self.shelf.get(resource.group, resource.plural, namespace_of(wanted), name_of(wanted))
        if old is None and subresource:
            raise not_found(resource.group, resource.plural, name_of(wanted))
        new = decode(resource, apply.applied(resource, wanted, old, options, subresource), options)
        if old is None:
            return self._create(resource, new, options, applied=True)
        return self._update(resource, new, old, subresource, options, applied=True)

    def delete(
        self,
        group: str,
        plural: str,
        namespace: str | None,
        name: str,
        *,
        propagation: str = "Background",
        grace: int | None = None,
        uid: str = "",
        resource_version: str = "",
        options: Options = DEFAULT,
    ) -> Object:
        """Ask for an object's deletion; returns its state after the request (or its last one, when it is gone).

        A pod on a node only gets a ``deletionTimestamp``: the kubelet deletes it again with ``grace=0``. Finalizers
        and ``propagation`` (Background, Foreground, Orphan) are honoured.

        Raises:
            StatusError: 403 a namespace that must stay; 404; 409 a precondition (``uid``, ``resource_version``) fails.
        """
        resource = self.resources.get(group, plural)
        found = self.view(group, plural, namespace, name)
        preconditions(resource, found, uid, resource_version)
        admission.delete(self, resource, found)
        if options.dry_run:
            return dict(copied(found))
        last = self.collector.delete(resource, found, propagation, grace)
        self.collector.settle()
        return dict(copied(last))

    def record_event(
        self, obj: Object, type: str, reason: str, message: str, component: str, *, field_path: str = ""  # noqa: A002 - the field's own name
    ) -> None:  # fmt: skip
        """Record a Kubernetes Event about ``obj``; a repetition raises the count of the earlier one.

        ``type`` is ``Normal`` or ``Warning``; ``field_path`` names a container as
        ``spec.containers{web}``.
        """
        self._events.record(obj, type, reason, message, component, field_path=field_path)
