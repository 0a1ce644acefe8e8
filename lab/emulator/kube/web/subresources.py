"""Requests below an object: scale, logs, bindings, evictions, tokens; what is not emulated says so."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

from aiohttp import web

from lab.emulator.kube import disruption, jsonpatch, patches
from lab.emulator.kube.errors import (
    STALE,
    Cause,
    StatusError,
    bad_request,
    conflict,
    invalid,
    not_emulated,
    unsupported_media,
)
from lab.emulator.kube.objects import Object
from lab.emulator.kube.resources import Resource, no_such_resource
from lab.emulator.kube.store import Store
from lab.emulator.kube.web.columns.column import seconds, selector_text
from lab.emulator.kube.web.rendering import answer
from lab.emulator.kube.web.requests import Target, body_of, content_of, flag, options_of, parsed_json, parsed_yaml
from lab.emulator.kube.web.verbs import APPLY, PATCHES

PodLogs = Callable[..., AsyncIterator[bytes]]
_UNDONE = {"exec": "kubectl exec", "attach": "kubectl attach", "portforward": "kubectl port-forward",
           "proxy": "kubectl proxy", "ephemeralcontainers": "kubectl debug", "resize": "pod resize"}  # fmt: skip


class Subresources:
    """Answers requests below an object."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.pod_logs: PodLogs | None = None

    async def serve(self, request: web.Request, target: Target) -> web.StreamResponse:
        """Answer, or raise 404 for a subresource that the kind lacks and 501 for one that is not emulated."""
        resource, name = target.resource, target.subresource
        if name == "scale" and (resource.scale or resource.custom is not None):
            return await self._scale(request, target)
        if (resource.group, resource.plural) == ("", "pods"):
            if name == "log":
                return await self._log(request, target)
            if name == "binding":
                return await self._bind(request, target)
            if name == "eviction":
                return await self._evict(request, target)
        if (resource.group, resource.plural, name) == ("", "namespaces", "finalize"):
            raise not_emulated("namespaces/finalize: a namespace goes by itself when it is empty")
        if (resource.group, resource.plural, name) == ("", "serviceaccounts", "token"):
            raise not_emulated("tokens of service accounts")
        if name in _UNDONE and not resource.group and resource.plural in ("pods", "services", "nodes"):
            self._store.view(resource.group, resource.plural, target.namespace, target.name)
            raise not_emulated(f"{_UNDONE[name]} ({resource.plural}/{name})")
        raise no_such_resource()

    async def _scale(self, request: web.Request, target: Target) -> web.Response:
        resource = target.resource
        found = self._store.get(resource.group, resource.plural, target.namespace, target.name)
        paths = _scale_paths(resource, target.version)
        scale = _scale_of(found, paths)
        if request.method == "GET":
            return answer(scale)
        kind = request.headers.get("Content-Type", "").partition(";")[0].strip()
        options = options_of(request, target, applying=kind == APPLY)
        if request.method == "PUT":
            wanted = await body_of(request)
        else:
            wanted = self._patched_scale(scale, kind, await content_of(request))
        if not isinstance(wanted, dict):
            raise bad_request("the body is not a Scale object")
        replicas = (wanted.get("spec") or {}).get("replicas", 0)
        if isinstance(replicas, bool) or not isinstance(replicas, int):
            raise bad_request('Scale in version "v1" cannot be handled as a Scale: json: cannot unmarshal string into '
                              "Go struct field ScaleSpec.spec.replicas of type int32")  # fmt: skip
        if replicas < 0:
            raise _negative(target, replicas)
        version = (wanted.get("metadata") or {}).get("resourceVersion")
        if version and version != found["metadata"]["resourceVersion"]:
            raise conflict(resource.group, resource.plural, target.name, STALE)
        _put(found, paths["replicas"], replicas)
        options = replace(options, version=resource.version)
        changed = self._store.update(resource.group, resource.plural, found, options=options)
        return answer(_scale_of(changed, paths))

    def _patched_scale(self, scale: Object, kind: str, content: bytes) -> Any:
        if kind == APPLY:
            return patches.merge(scale, parsed_yaml(content))
        if kind not in PATCHES:
            raise unsupported_media([*PATCHES, APPLY])
        body = parsed_json(content)
        return jsonpatch.apply(scale, body) if PATCHES[kind] == "json" else patches.merge(scale, body)

    async def _log(self, request: web.Request, target: Target) -> web.StreamResponse:
        if request.method != "GET":
            raise no_such_resource()
        self._store.view("", "pods", target.namespace, target.name)
        if self.pod_logs is None:
            raise not_emulated("logs of pods that no kubelet runs")
        query = request.query
        follow = flag(query, "follow")
        chunks = self.pod_logs(
            target.namespace, target.name, query.get("container") or None, follow=follow,
            previous=flag(query, "previous"), tail_lines=_integer(query, "tailLines"), since_seconds=_since(query),
            timestamps=flag(query, "timestamps"),
        )  # fmt: skip
        limit = _integer(query, "limitBytes")
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        if not follow:
            # Collected before the headers go out, so that an error can still be answered as one.
            text = b"".join([chunk async for chunk in chunks])
            return web.Response(body=text if limit is None else text[:limit], content_type="text/plain")
        await response.prepare(request)
        async for chunk in chunks:
            await response.write(chunk)
        return response

    async def _bind(self, request: web.Request, target: Target) -> web.Response:
        body = await body_of(request) or {}
        node = (body.get("target") or {}).get("name")
        pod = self._store.get("", "pods", target.namespace, target.name)
        if pod["spec"].get("nodeName"):
            why = f'pod {target.name} is already assigned to node "{pod["spec"]["nodeName"]}"'
            raise conflict("", "pods/binding", target.name, why)
        pod["spec"]["nodeName"] = node
        self._store.update("", "pods", pod, options=options_of(request, target))
        return answer(
            {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, status=201
        )

    async def _evict(self, request: web.Request, target: Target) -> web.Response:
        body = await body_of(request) or {}
        given = body.get("deleteOptions") or {}
        disruption.check(self._store, self._store.view("", "pods", target.namespace, target.name))
        self._store.delete("", "pods", target.namespace, target.name, grace=given.get("gracePeriodSeconds"),
                           options=options_of(request, target))  # fmt: skip
        return answer(
            {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, status=201
        )


def _negative(target: Target, replicas: int) -> StatusError:
    cause = Cause.invalid("spec.replicas", replicas, "must be greater than or equal to 0")
    return invalid("autoscaling", "Scale", target.name, [cause])


def _scale_paths(resource: Resource, version: str) -> dict[str, str]:
    """Where a kind keeps its replicas and its selector, as dotted paths."""
    if resource.custom is None:
        return {"replicas": "spec.replicas", "status": "status.replicas", "selector": "spec.selector"}
    one = next(one for one in resource.custom["versions"] if one["name"] == version)
    given = (one.get("subresources") or {}).get("scale")
    if not given:
        raise no_such_resource()
    return {"replicas": given["specReplicasPath"].lstrip("."), "status": given["statusReplicasPath"].lstrip("."),
            "selector": str(given.get("labelSelectorPath") or "").lstrip(".")}  # fmt: skip


def _read(obj: Any, path: str) -> Any:
    for key in filter(None, path.split(".")):
        obj = obj.get(key) if isinstance(obj, dict) else None
    return obj if path else None


def _put(obj: Object, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for key in parents:
        obj = obj.setdefault(key, {})
    obj[last] = value


def _scale_of(obj: Object, paths: dict[str, str]) -> Object:
    meta = {key: obj["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")}
    status: Object = {"replicas": _read(obj, paths["status"]) or 0}
    selector = _read(obj, paths["selector"])
    if isinstance(selector, dict):
        structured = selector if {"matchLabels", "matchExpressions"} & set(selector) else {"matchLabels": selector}
        status["selector"] = selector_text(structured)
    elif selector:
        status["selector"] = selector
    return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": meta,
            "spec": {"replicas": _read(obj, paths["replicas"]) or 0}, "status": status}  # fmt: skip


def _integer(query: Any, name: str) -> int | None:
    if not query.get(name):
        return None
    try:
        return int(query[name])
    except ValueError:
        raise bad_request(f'strconv.ParseInt: parsing "{query[name]}": invalid syntax') from None


def _since(query: Any) -> int | None:
    given = _integer(query, "sinceSeconds")
    if given is None and query.get("sinceTime"):
        at = seconds(query["sinceTime"])
        return None if at is None else max(1, int(time.time() - at) + 1)
    return given
