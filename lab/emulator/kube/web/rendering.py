"""How an answer looks: JSON or YAML, the object itself, only its metadata, or a table; one object or a list.

Source: apiserver pkg/endpoints/handlers/negotiation, pkg/endpoints/handlers/response.go (v0.33).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from lab.emulator.kube.errors import StatusError
from lab.emulator.kube.objects import Object
from lab.emulator.kube.web.requests import Target
from lab.emulator.kube.web.tables import table

_ANY = ("*/*", "application/*", "application/json")


@dataclass(frozen=True)
class Form:
    """The form that a client accepts."""

    shape: str = ""
    """Empty for the object itself, ``Table``, ``PartialObjectMetadata`` or ``PartialObjectMetadataList``."""
    yaml: bool = False
    include: str = "Metadata"
    """What a table's rows carry: ``Metadata``, ``Object`` or ``None``."""


def form_of(request: web.Request) -> Form:
    """The first form in the Accept header that the server can write.

    Raises:
        StatusError: 406, there is none.
    """
    accept = request.headers.get("Accept", "")
    include = request.query.get("includeObject") or "Metadata"
    for clause in accept.split(",") if accept else ["*/*"]:
        kind, *parameters = [part.strip() for part in clause.split(";")]
        given = dict(parameter.partition("=")[::2] for parameter in parameters)
        if kind in ("application/yaml", "text/yaml"):
            return Form(yaml=True, include=include)
        if kind not in _ANY and not (kind == "" and not accept):
            continue
        shape = given.get("as", "")
        if shape in ("", "Table", "PartialObjectMetadata", "PartialObjectMetadataList"):
            if shape and (given.get("g") != "meta.k8s.io" or given.get("v", "v1") != "v1"):
                continue
            return Form(shape, include=include)
    raise StatusError(406, "NotAcceptable", "only the following media types are accepted: application/json, "
                      "application/yaml")  # fmt: skip


def answer(body: Any, *, status: int = 200, yaml: bool = False, warnings: Iterable[str] = ()) -> web.Response:
    """A response with a JSON or YAML document; warnings become headers as kubectl prints them."""
    if yaml:
        import yaml as library  # noqa: PLC0415 - JSON is what nearly every client asks for

        text, kind = library.safe_dump(body, sort_keys=True).encode(), "application/yaml"
    else:
        text, kind = encoded(body), "application/json"
    response = web.Response(
        body=text, status=status, headers={"Content-Type": kind, "Cache-Control": "no-cache, private"}
    )
    for warning in warnings:
        response.headers.add("Warning", f"299 - {json.dumps(warning)}")
    return response


def encoded(body: Any) -> bytes:
    """Compact JSON with a line break at its end, as the server writes it."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def object_body(form: Form, target: Target, obj: Object, *, headers: bool = True) -> Any:
    """One object in the form asked for."""
    if form.shape == "Table" and obj.get("kind") != "Status":
        return table(target, [obj], form.include, str(obj["metadata"].get("resourceVersion", "")), headers=headers)
    if form.shape.startswith("PartialObjectMetadata"):
        return partial(obj)
    return obj


def list_body(form: Form, target: Target, items: list[Object], meta: dict[str, Any]) -> Any:
    """A list in the form asked for."""
    if form.shape == "Table":
        body = table(target, items, form.include, "")
        return {**body, "metadata": meta}
    if form.shape.startswith("PartialObjectMetadata"):
        return {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": meta,
                "items": [partial(item) for item in items]}  # fmt: skip
    kind = f"{target.resource.kind}List"
    if target.resource.custom is not None:
        kind = target.resource.custom["names"].get("listKind") or kind
        return {"apiVersion": target.api_version, "items": items, "kind": kind, "metadata": meta}
    bare = [{key: value for key, value in item.items() if key not in ("apiVersion", "kind")} for item in items]
    return {"kind": kind, "apiVersion": target.api_version, "metadata": meta, "items": bare}


def partial(obj: Object) -> Object:
    """Only the object's metadata."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
