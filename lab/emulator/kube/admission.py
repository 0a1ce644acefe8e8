"""What happens to an object between decoding and storing, and what storing it brings about.

Defaults, checks, the isolation of ``status``, generations, and the small controllers that a bare API server's
clients rely on: cluster IPs, a namespace's first objects, kinds from CustomResourceDefinitions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.emulator.kube import custom, networking
from lab.emulator.kube.custom_validation import check as check_custom
from lab.emulator.kube.errors import Cause, forbidden, invalid, not_found
from lab.emulator.kube.kinds import defaults, validation
from lab.emulator.kube.objects import Object, copied, deleting, name_of, namespace_of
from lab.emulator.kube.resources import Resource

if TYPE_CHECKING:
    from lab.emulator.kube.store import Store

_IMMORTAL = ("default", "kube-system", "kube-public")
_FREE_META = {("", "pods"), ("", "nodes")}


def restore(store: Store) -> None:
    """Know the custom kinds again after a restart, and take up deletions that were under way."""
    for definition in store.shelf.rows("apiextensions.k8s.io", "customresourcedefinitions"):
        store.resources.add(custom.resource_of(definition))
    store.collector.resume()


def namespace(store: Store, resource: Resource, new: Object) -> None:
    """Refuse a new object in a namespace that is missing or being removed."""
    if not resource.namespaced:
        return
    name = namespace_of(new)
    found = store.shelf.get("", "namespaces", "", name)
    if found is None:
        raise not_found("", "namespaces", name)
    if deleting(found):
        why = f"unable to create new content in namespace {name} because it is being terminated"
        cause = {"reason": "NamespaceTerminating", "message": f"namespace {name} is being terminated",
                 "field": "metadata.namespace"}  # fmt: skip
        raise forbidden(resource.group, resource.plural, name_of(new), why, causes=[cause])


def create(store: Store, resource: Resource, new: Object) -> None:
    """Complete and check a new object; raises 403 or 422."""
    defaults.apply(resource.group, resource.plural, new, creating=True)
    if (resource.group, resource.plural) == ("", "pods"):
        _service_account(store, new)
        _priority(store, new)
    elif (resource.group, resource.plural) == ("", "services"):
        _raise(resource, new, validation.service_early(new))
        networking.allocate(store, new, None)
    _raise(resource, new, _problems(resource, new, None))


def update(store: Store, resource: Resource, new: Object, old: Object, subresource: str | None) -> None:
    """Complete and check a changed object; raises 409 or 422."""
    if subresource == "status":
        return
    defaults.apply(resource.group, resource.plural, new, creating=False)
    if (resource.group, resource.plural) == ("", "services"):
        networking.allocate(store, new, old)
    if deleting(old):
        added = set(new["metadata"].get("finalizers") or ()) - set(old["metadata"].get("finalizers") or ())
        if added:
            detail = (
                f"no new finalizers can be added if the object is being deleted, found new finalizers {sorted(added)}"
            )
            raise invalid(resource.group, resource.kind, name_of(new), [Cause.forbidden("metadata.finalizers", detail)])
    _raise(resource, new, _problems(resource, new, old))


def _problems(resource: Resource, new: Object, old: Object | None) -> list[Cause]:
    causes = validation.metadata(resource, new)
    if resource.custom is not None:
        return causes + check_custom(resource, new)
    causes += validation.check(resource.group, resource.plural, new)
    if old is not None and not causes:
        causes += validation.check_change(resource.group, resource.plural, new, old)
    return causes


def _raise(resource: Resource, obj: Object, causes: list[Cause]) -> None:
    if causes:
        raise invalid(resource.group, resource.kind, name_of(obj), causes)


def _service_account(store: Store, pod: Object) -> None:
    """What the ServiceAccount admission does: the account must exist; its pull secrets become the pod's."""
    spec = pod["spec"]
    name = spec["serviceAccountName"]
    account = store.shelf.get("", "serviceaccounts", namespace_of(pod), name)
    if account is None:
        why = (f"error looking up service account {namespace_of(pod)}/{name}: "
               f'serviceaccount "{name}" not found')  # fmt: skip
        raise forbidden("", "pods", name_of(pod), why)
    if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
        spec["imagePullSecrets"] = copied(account["imagePullSecrets"])


_SYSTEM_PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


def _priority(store: Store, pod: Object) -> None:
    """What the Priority admission does: the class must exist; its value becomes the pod's (plugin/pkg/admission)."""
    spec = pod["spec"]
    classes = {name_of(one): one for one in store.shelf.rows("scheduling.k8s.io", "priorityclasses")}
    usual = next((name for name, one in classes.items() if one.get("globalDefault")), "")
    name = spec.get("priorityClassName") or usual
    if not name:
        return
    if name not in classes and name not in _SYSTEM_PRIORITIES:
        raise forbidden("", "pods", name_of(pod), f"no PriorityClass with name {name} was found")
    found = classes.get(name) or {"value": _SYSTEM_PRIORITIES.get(name)}
    policy = found.get("preemptionPolicy") or "PreemptLowerPriority"
    spec.update(priorityClassName=name, priority=int(found.get("value") or 0), preemptionPolicy=policy)


def merge_subresource(resource: Resource, new: Object, old: Object, subresource: str | None) -> Object:
    """The parts of ``new`` that this endpoint may write, the rest from ``old``."""
    if subresource == "status":
        meta = copied(old["metadata"])
        if (resource.group, resource.plural) in _FREE_META:
            for name in ("labels", "annotations"):
                meta.pop(name, None)
                if name in new["metadata"]:
                    meta[name] = new["metadata"][name]
        for name in ("resourceVersion", "managedFields"):
            if name in new["metadata"]:
                meta[name] = new["metadata"][name]
        found = {key: copied(value) for key, value in old.items() if key not in ("metadata", "status")}
        found["metadata"] = meta
        if "status" in new:
            found["status"] = new["status"]
        return found
    if resource.status:
        new.pop("status", None)
        if "status" in old:
            new["status"] = copied(old["status"])
    if (resource.group, resource.plural) == ("", "namespaces"):
        new["spec"] = copied(old.get("spec") or {})
    return new


def count_generation(resource: Resource, new: Object, old: Object) -> None:
    """Raise ``metadata.generation`` when what is asked for has changed."""
    if not resource.generation and resource.custom is None:
        return
    ignored = {"metadata", "apiVersion", "kind"} | ({"status"} if resource.status else set())
    before = {key: value for key, value in old.items() if key not in ignored}
    after = {key: value for key, value in new.items() if key not in ignored}
    if before != after:
        new["metadata"]["generation"] = int(old["metadata"].get("generation") or 0) + 1


def created(store: Store, resource: Resource, stored: Object) -> None:
    """What follows from a new object."""
    if resource.plural == "namespaces" and not resource.group:
        furnish(store, stored["metadata"]["name"])
    elif resource.plural == "customresourcedefinitions":
        custom.establish(store, stored)
    if stored["metadata"].get("ownerReferences"):
        store.collector.doubt(resource, stored)


def updated(store: Store, resource: Resource, stored: Object, old: Object) -> None:
    """What follows from a changed object."""
    if resource.plural == "customresourcedefinitions" and stored.get("spec") != old.get("spec"):
        custom.establish(store, stored)


def furnish(store: Store, name: str) -> None:
    """Give a namespace what the real system's controllers put into each; what is there stays."""
    found = store.find("", "namespaces", None, name)
    if found is None or deleting(found):
        return
    if store.find("", "serviceaccounts", name, "default") is None:
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        store.create("", "serviceaccounts", account, namespace=name)
    current = store.find("", "configmaps", name, "kube-root-ca.crt")
    if store.root_certificate and current is not None:
        if (current.get("data") or {}).get("ca.crt") != store.root_certificate:
            store.update("", "configmaps", {**current, "data": {"ca.crt": store.root_certificate}})
    elif store.root_certificate:
        meta = {"name": "kube-root-ca.crt",
                "annotations": {"kubernetes.io/description": "Contains a CA bundle that can be used to verify the "
                                "kube-apiserver when using internal endpoints such as the internal service IP or "
                                "kubernetes.default.svc. No other usage is guaranteed across distributions of "
                                "Kubernetes clusters."}}  # fmt: skip
        bundle = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta,
                  "data": {"ca.crt": store.root_certificate}}  # fmt: skip
        store.create("", "configmaps", bundle, namespace=name)


def delete(store: Store, resource: Resource, obj: Object) -> None:
    """Refuse the deletion of what must stay."""
    del store
    if resource.plural == "namespaces" and not resource.group and name_of(obj) in _IMMORTAL:
        raise forbidden("", "namespaces", name_of(obj), "this namespace may not be deleted")


def shown(resource: Resource, obj: Object, version: str) -> Object:
    """``obj`` as served in ``version``."""
    wanted = resource.api_version_of(version or resource.version)
    if obj["apiVersion"] == wanted:
        return obj
    if resource.custom is None:
        from lab.emulator.kube.kinds import conversion  # noqa: PLC0415 - one kind in a hundred requests

        return conversion.served(resource, obj, version)
    return {**obj, "apiVersion": wanted}
