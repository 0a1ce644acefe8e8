"""What a request asks for: the object its path names, its options and its body.

Source: apiserver pkg/endpoints/request/requestinfo.go, pkg/endpoints/handlers (v0.33).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from lab.emulator.kube.errors import Cause, StatusError, bad_request, invalid, unsupported_media
from lab.emulator.kube.resources import Resource, Resources, no_such_resource
from lab.emulator.kube.store import Options

LIMIT = 3 * 1024 * 1024
"""Bytes in a request's body; upstream refuses more with 413."""

_JSON = "application/json"
_YAML = "application/yaml"
_PROTOBUF = "application/vnd.kubernetes.protobuf"


@dataclass(frozen=True)
class Target:
    """What the path of a resource request names."""

    resource: Resource
    version: str
    namespace: str
    """Empty for cluster-wide kinds and for requests over all namespaces."""
    name: str = ""
    subresource: str = ""
    rest: str = ""
    """What follows the subresource, as ``proxy`` has it."""

    @property
    def api_version(self) -> str:
        """``apiVersion`` of what is answered."""
        return self.resource.api_version_of(self.version)


def target_of(resources: Resources, group: str, version: str, parts: list[str]) -> Target:
    """The target of a path after ``/api/v1/`` or ``/apis/GROUP/VERSION/``.

    Raises:
        StatusError: 404, no kind is served there.
    """
    namespace = ""
    if parts[0] == "namespaces" and len(parts) >= 3 and parts[2] not in ("status", "finalize"):
        namespace, parts = parts[1], parts[2:]
    resource = resources.get(group, parts[0])
    if version not in resource.versions or bool(namespace) > resource.namespaced:
        raise no_such_resource()
    name = parts[1] if len(parts) > 1 else ""
    if name and resource.namespaced and not namespace:
        raise no_such_resource()
    subresource = parts[2] if len(parts) > 2 else ""
    return Target(resource, version, namespace, name, subresource, "/".join(parts[3:]))


def flag(query: Any, name: str) -> bool:
    """A boolean query parameter; ``?watch`` without a value counts as true."""
    return name in query and query[name].lower() not in ("false", "0")


def options_of(request: web.Request, target: Target | None, *, applying: bool = False) -> Options:
    """The write options that a request carries.

    Raises:
        StatusError: 422, an option's value is unknown or a required one is missing.
    """
    query = request.query
    dry_run = query.getall("dryRun", [])
    kind = {"POST": "CreateOptions", "PUT": "UpdateOptions", "PATCH": "PatchOptions"}.get(
        request.method, "DeleteOptions"
    )
    causes = []
    if any(one not in ("All", "") for one in dry_run):
        causes.append(Cause.unsupported("dryRun", dry_run, ["All"]))
    manager = query.get("fieldManager", "")
    if applying and not manager:
        causes.append(Cause.required("fieldManager", "is required for apply patch"))
    if request.method == "PATCH" and not applying and "force" in query:
        causes.append(Cause.forbidden("force", "may not be specified for non-apply patch"))
    if len(manager) > 128:
        causes.append(Cause.too_long("fieldManager", 128))
    validation = query.get("fieldValidation") or "Warn"
    if validation not in ("Ignore", "Warn", "Strict"):
        causes.append(Cause.unsupported("fieldValidation", validation, ["Ignore", "Strict", "Warn"]))
    if causes:
        raise invalid("meta.k8s.io", kind, "", causes)
    return Options(
        manager=manager or _default_manager(request),
        dry_run="All" in dry_run,
        validation=validation,
        force=flag(query, "force"),
        version=target.version if target else "",
    )


def _default_manager(request: web.Request) -> str:
    agent = request.headers.get("User-Agent", "")
    return agent.partition("/")[0][:128] or "unknown"


async def body_of(request: web.Request) -> Any:
    """The body as a JSON value, whatever its encoding; None when there is none.

    Raises:
        StatusError: 400 it cannot be read; 413 it is too long; 415 an unknown encoding.
    """
    content = await content_of(request)
    if not content:
        return None
    kind = request.headers.get("Content-Type", _JSON).partition(";")[0].strip()
    if kind == _PROTOBUF:
        from lab.emulator.kube.web import protobuf  # noqa: PLC0415 - only kubectl create sends it

        return protobuf.decode(content)
    if kind in (_JSON, ""):
        return parsed_json(content)
    if kind == _YAML:
        return parsed_yaml(content)
    raise unsupported_media([_JSON, _YAML, _PROTOBUF])


async def content_of(request: web.Request) -> bytes:
    """The body's bytes; raises 413 when there are too many."""
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        message = f"Request entity too large: limit is {LIMIT}"
        raise StatusError(413, "RequestEntityTooLarge", message) from None


def parsed_json(content: bytes) -> Any:
    """A JSON document; raises 400."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"couldn't get version/kind; json parse error: {error}") from None


def parsed_yaml(content: bytes) -> Any:
    """A YAML (or JSON) document; raises 400."""
    if content.lstrip()[:1] == b"{":
        return parsed_json(content)
    import yaml  # noqa: PLC0415 - JSON is what nearly every client sends

    try:
        return yaml.load(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - a safe loader
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise bad_request(f"error decoding YAML: {error}") from None
