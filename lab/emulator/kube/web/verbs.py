"""The verbs on resources: list, get, create, update, patch, delete and delete a collection."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from aiohttp import web

from lab.emulator.kube import admission
from lab.emulator.kube.errors import (
    Cause,
    StatusError,
    bad_request,
    invalid,
    method_not_allowed,
    not_found,
    unsupported_media,
)
from lab.emulator.kube.objects import Object, metadata, name_of, namespace_of, uid_of
from lab.emulator.kube.resources import Resource
from lab.emulator.kube.store import Store
from lab.emulator.kube.web.rendering import Form, answer, form_of, list_body, object_body
from lab.emulator.kube.web.requests import (
    Target,
    body_of,
    content_of,
    flag,
    options_of,
    parsed_json,
    parsed_yaml,
)

APPLY = "application/apply-patch+yaml"
PATCHES = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
}
_CREATED_BY_PUT = {("", "endpoints"), ("", "events"), ("", "limitranges"), ("", "podtemplates"), ("", "services"),
                   ("coordination.k8s.io", "leases"), ("discovery.k8s.io", "endpointslices"),
                   ("rbac.authorization.k8s.io", "roles"), ("rbac.authorization.k8s.io", "clusterroles"),
                   ("rbac.authorization.k8s.io", "rolebindings"),
                   ("rbac.authorization.k8s.io", "clusterrolebindings")}  # fmt: skip
_RETURNED = {"pods", "services", "serviceaccounts", "persistentvolumes", "persistentvolumeclaims", "resourcequotas",
             "podtemplates"}  # fmt: skip


class Verbs:
    """Answers requests for resources from the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def collection(self, request: web.Request, target: Target) -> web.Response:
        """GET of a collection."""
        form = form_of(request)
        query, resource = request.query, target.resource
        self._check_version(query.get("resourceVersion", ""), query.get("resourceVersionMatch", ""))
        items = list(self._store.select(
            resource.group, resource.plural, target.namespace,
            labels=query.get("labelSelector", ""), fields=query.get("fieldSelector", ""),
        ))  # fmt: skip
        meta: dict[str, Any] = {"resourceVersion": str(self._store.shelf.version)}
        items = _page(items, query.get("limit", ""), query.get("continue", ""), meta)
        shown = [admission.shown(resource, item, target.version) for item in items]
        return answer(list_body(form, target, shown, meta), yaml=form.yaml)

    def _check_version(self, text: str, match: str) -> None:
        if match and not text:
            detail = "resourceVersionMatch is forbidden unless resourceVersion is provided"
            raise invalid("meta.k8s.io", "ListOptions", "", [Cause.forbidden("resourceVersionMatch", detail)])
        if not text or text == "0":
            return
        try:
            version = int(text)
        except ValueError:
            raise bad_request(f'invalid resourceVersion "{text}"') from None
        newest = self._store.shelf.version
        if version > newest:
            message = f"Too large resource version: {version}, current: {newest}"
            cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
            raise StatusError(504, "Timeout", message, {"causes": [cause], "retryAfterSeconds": 1})
        if match == "Exact" and version != newest:
            message = "The provided continue parameter is too old to display a consistent list result."
            raise StatusError(410, "Expired", message)

    async def get(self, request: web.Request, target: Target) -> web.Response:
        """GET of one object, or of its status."""
        found = self._store.view(target.resource.group, target.resource.plural, target.namespace, target.name)
        return self._answer(form_of(request), target, found)

    def _answer(
        self, form: Form, target: Target, obj: Object, *, status: int = 200, warnings: list[str] | None = None
    ) -> web.Response:
        shown = admission.shown(target.resource, obj, target.version)
        return answer(object_body(form, target, shown), status=status, yaml=form.yaml, warnings=warnings or ())

    async def create(self, request: web.Request, target: Target) -> web.Response:
        """POST to a collection."""
        form, options = form_of(request), options_of(request, target)
        if target.resource.namespaced and not target.namespace:
            raise method_not_allowed(target.resource.group, target.resource.plural, "create")
        body = _converted(target, await _object(request), options.version)
        made = self._store.create(target.resource.group, target.resource.plural, body, namespace=target.namespace,
                                  options=_stored(target, options))  # fmt: skip
        return self._answer(form, target, made, status=201, warnings=options.warnings)

    async def update(self, request: web.Request, target: Target) -> web.Response:
        """PUT of one object, or of its status."""
        form, options = form_of(request), options_of(request, target)
        body = _converted(target, await _object(request), options.version)
        _matches_path(target, body)
        group, plural = target.resource.group, target.resource.plural
        options = _stored(target, options)
        if self._store.find(group, plural, target.namespace, target.name) is None:
            if (group, plural) not in _CREATED_BY_PUT or target.subresource:
                raise not_found(group, plural, target.name)
            made = self._store.create(group, plural, body, namespace=target.namespace, options=options)
            return self._answer(form, target, made, status=201, warnings=options.warnings)
        _check_unconditional(target.resource, body)
        changed = self._store.update(group, plural, body, subresource=target.subresource or None, options=options)
        return self._answer(form, target, changed, warnings=options.warnings)

    async def patch(self, request: web.Request, target: Target) -> web.Response:
        """PATCH of one object or of its status, in any of the four kinds."""
        kind = request.headers.get("Content-Type", "").partition(";")[0].strip()
        content = await content_of(request)
        if kind == APPLY:
            return self._apply(request, target, content)
        if kind not in PATCHES:
            known = [one for one in PATCHES if target.resource.custom is None or "strategic" not in one]
            raise unsupported_media([*known, APPLY])
        form, options = form_of(request), options_of(request, target)
        changed = self._store.patch(
            target.resource.group, target.resource.plural, target.namespace, target.name, parsed_json(content),
            kind=PATCHES[kind], subresource=target.subresource or None, options=options,
        )  # fmt: skip
        return self._answer(form, target, changed, warnings=options.warnings)

    def _apply(self, request: web.Request, target: Target, content: bytes) -> web.Response:
        form, options = form_of(request), options_of(request, target, applying=True)
        body = parsed_yaml(content)
        if not isinstance(body, dict):
            raise bad_request("error decoding YAML: the body is not an object")
        if not body.get("apiVersion") or not body.get("kind"):
            raise bad_request("apiVersion and kind must be set in an apply patch")
        meta = metadata(body)
        meta.setdefault("name", target.name)
        _matches_path(target, body)
        exists = self._store.find(target.resource.group, target.resource.plural, target.namespace, target.name)
        made = self._store.apply(body, manager=options.manager, force=options.force, namespace=target.namespace,
                                 subresource=target.subresource or None, options=options)  # fmt: skip
        return self._answer(form, target, made, status=200 if exists else 201, warnings=options.warnings)

    async def delete(self, request: web.Request, target: Target) -> web.Response:
        """DELETE of one object."""
        form, options = form_of(request), options_of(request, target)
        given = await _delete_options(request)
        found = self._store.delete(
            target.resource.group, target.resource.plural, target.namespace, target.name,
            propagation=given["propagation"] or _default_propagation(target.resource), grace=given["grace"],
            uid=given["uid"], resource_version=given["version"],
            options=replace(options, dry_run=options.dry_run or given["dry_run"]),
        )  # fmt: skip
        gone = self._store.find(target.resource.group, target.resource.plural, target.namespace, target.name) is None
        if gone and target.resource.plural not in _RETURNED and not found["metadata"].get("deletionTimestamp"):
            details = {"name": target.name, "group": target.resource.group, "kind": target.resource.plural,
                       "uid": uid_of(found)}  # fmt: skip
            body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
                    "details": {key: value for key, value in details.items() if value}}  # fmt: skip
            return answer(body, yaml=form.yaml)
        return self._answer(form, target, found)

    async def delete_collection(self, request: web.Request, target: Target) -> web.Response:
        """DELETE of what the selectors match."""
        form, options = form_of(request), options_of(request, target)
        if target.resource.namespaced and not target.namespace:
            raise method_not_allowed(target.resource.group, target.resource.plural, "delete")
        given = await _delete_options(request)
        resource = target.resource
        items = self._store.list(resource.group, resource.plural, target.namespace,
                                 labels=request.query.get("labelSelector", ""),
                                 fields=request.query.get("fieldSelector", ""))  # fmt: skip
        for item in items:
            if self._store.find(resource.group, resource.plural, namespace_of(item), name_of(item)) is None:
                continue  # went with an earlier one of the collection
            self._store.delete(
                resource.group, resource.plural, namespace_of(item), name_of(item),
                propagation=given["propagation"] or _default_propagation(resource), grace=given["grace"],
                options=replace(options, dry_run=options.dry_run or given["dry_run"]),
            )  # fmt: skip
        meta = {"resourceVersion": str(self._store.shelf.version)}
        return answer(list_body(form, target, items, meta), yaml=form.yaml)


Handler = Callable[[web.Request, Target], Awaitable[web.Response]]


def _default_propagation(resource: Resource) -> str:
    """What happens to dependents when a request does not say (pkg/registry/*/strategy.go)."""
    orphaned = {("batch", "jobs"), ("", "replicationcontrollers")}
    return "Orphan" if (resource.group, resource.plural) in orphaned else ""


async def _object(request: web.Request) -> Object:
    body = await body_of(request)
    if not isinstance(body, dict):
        raise bad_request("the body of the request is empty" if body is None else "the body is not an object")
    return body


def _converted(target: Target, body: Object, version: str) -> Object:
    """A body in a version that is not the stored one, brought to that."""
    if target.resource.custom is None and version != target.resource.version:
        from lab.emulator.kube.kinds import conversion  # noqa: PLC0415 - one kind in a hundred requests

        return conversion.stored(target.resource, body, version)
    return body


def _stored(target: Target, options: Any) -> Any:
    return replace(options, version=target.resource.version) if target.resource.custom is None else options


def _matches_path(target: Target, body: Object) -> None:
    meta = metadata(body)
    if not meta.get("name"):
        raise bad_request("name must be provided")
    if meta["name"] != target.name:
        raise bad_request(f"the name of the object ({meta['name']}) does not match the name on the URL ({target.name})")
    if target.namespace and meta.get("namespace") and meta["namespace"] != target.namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    if target.namespace:
        meta["namespace"] = target.namespace


def _check_unconditional(resource: Resource, body: Object) -> None:
    """Kinds that cannot be overwritten without saying which version one has seen."""
    strict = resource.custom is not None or resource.plural in ("leases", "customresourcedefinitions")
    if strict and not metadata(body).get("resourceVersion"):
        cause = Cause("metadata.resourceVersion", "Invalid value: 0x0: must be specified for an update")
        raise invalid(resource.group, resource.kind, name_of(body), [cause])


async def _delete_options(request: web.Request) -> dict[str, Any]:
    body = await body_of(request) or {}
    if not isinstance(body, dict):
        raise bad_request("the body is not a DeleteOptions object")
    query = request.query
    conditions = body.get("preconditions") or {}
    grace = body.get("gracePeriodSeconds")
    if grace is None and query.get("gracePeriodSeconds"):
        grace = int(query["gracePeriodSeconds"])
    propagation = body.get("propagationPolicy") or query.get("propagationPolicy") or ""
    orphan = body.get("orphanDependents", query.get("orphanDependents"))
    if propagation and orphan is not None:
        detail = "orphanDependents and deletionPropagation cannot be both set"
        raise invalid("meta.k8s.io", "DeleteOptions", "", [Cause.invalid("propagationPolicy", propagation, detail)])
    if orphan is not None:
        propagation = "Orphan" if orphan in (True, "true") else "Background"
    if propagation not in ("", "Background", "Foreground", "Orphan"):
        raise _bad_propagation(propagation)
    return {
        "propagation": propagation, "grace": grace, "uid": conditions.get("uid") or "",
        "version": conditions.get("resourceVersion") or "",
        "dry_run": "All" in (body.get("dryRun") or []) or flag(query, "dryRun"),
    }  # fmt: skip


def _bad_propagation(value: str) -> StatusError:
    cause = Cause.unsupported("propagationPolicy", value, ["Foreground", "Background", "Orphan", "nil"])
    return invalid("meta.k8s.io", "DeleteOptions", "", [cause])


def _page(items: list[Object], limit: str, token: str, meta: dict[str, Any]) -> list[Object]:
    """One page of a list; ``meta`` gets the token of the next one."""
    if token:
        try:
            place = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
            start = (place["namespace"], place["name"])
        except (ValueError, KeyError, TypeError):
            raise bad_request("continue key is not valid: illegal base64 data") from None
        meta["resourceVersion"] = str(place.get("rv") or meta["resourceVersion"])
        items = [item for item in items if (namespace_of(item), name_of(item)) > start]
    try:
        most = int(limit or "0")
    except ValueError:
        raise bad_request(f'strconv.ParseInt: parsing "{limit}": invalid syntax') from None
    if most <= 0 or len(items) <= most:
        return items
    last = items[most - 1]
    place = {
        "v": "meta.k8s.io/v1",
        "rv": meta["resourceVersion"],
        "namespace": namespace_of(last),
        "name": name_of(last),
    }
    meta["continue"] = base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")
    meta["remainingItemCount"] = len(items) - most
    return items[:most]
