"""Checks of ConfigMaps, Secrets and Events (pkg/apis/core/validation, v1.33)."""

from __future__ import annotations

import base64
import json

from lab.emulator.kube.errors import Cause
from lab.emulator.kube.kinds import names
from lab.emulator.kube.objects import Object

_LIMIT = 1024 * 1024
_REQUIRED = {"kubernetes.io/dockerconfigjson": ".dockerconfigjson", "kubernetes.io/dockercfg": ".dockercfg",
             "kubernetes.io/ssh-auth": "ssh-privatekey"}  # fmt: skip


def config_map(obj: Object) -> list[Cause]:
    """What is wrong with a ConfigMap."""
    data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    causes = []
    for kind, listed in (("data", data), ("binaryData", binary)):
        for key in listed:
            causes += [Cause.invalid(f"{kind}[{key}]", key, problem) for problem in names.config_key(key)]
    causes += [
        Cause.invalid(f"data[{key}]", key, "duplicate of key present in binaryData") for key in data if key in binary
    ]
    size = sum(len(value.encode()) for value in data.values()) + sum(len(value) * 3 // 4 for value in binary.values())
    if size > _LIMIT:
        causes.append(Cause.too_long("[]", _LIMIT))
    return causes


def _frozen(new: Object, old: Object, *keys: str) -> list[Cause]:
    if not old.get("immutable"):
        return []
    detail = "field is immutable when `immutable` is set"
    causes = [] if new.get("immutable") else [Cause.forbidden("immutable", detail)]
    return causes + [Cause.forbidden(key, detail) for key in keys if new.get(key) != old.get(key)]


def config_map_change(new: Object, old: Object) -> list[Cause]:
    """An immutable ConfigMap stays."""
    return _frozen(new, old, "data", "binaryData")


def secret(obj: Object) -> list[Cause]:
    """What is wrong with a Secret."""
    data = obj.get("data") or {}
    causes = [Cause.invalid(f"data[{key}]", key, problem) for key in data for problem in names.config_key(key)]
    if sum(len(value) * 3 // 4 for value in data.values()) > _LIMIT:
        causes.append(Cause.too_long("data", _LIMIT))
    kind = obj.get("type")
    needed = _REQUIRED.get(str(kind))
    if needed and needed not in data:
        causes.append(Cause.required(f"data[{needed}]"))
    elif needed and kind != "kubernetes.io/ssh-auth":
        causes += _json_object(data[needed], f"data[{needed}]")
    if kind == "kubernetes.io/tls":
        causes += [Cause.required(f"data[{key}]") for key in ("tls.crt", "tls.key") if key not in data]
    if kind == "kubernetes.io/basic-auth" and not {"username", "password"} & set(data):
        causes += [Cause.required(f"data[{key}]") for key in ("username", "password")]
    annotations = obj["metadata"].get("annotations") or {}
    if kind == "kubernetes.io/service-account-token" and not annotations.get("kubernetes.io/service-account.name"):
        causes.append(Cause.required("metadata.annotations[kubernetes.io/service-account.name]"))
    return causes


def _json_object(encoded: str, path: str) -> list[Cause]:
    try:
        found = json.loads(base64.b64decode(encoded))
    except ValueError:
        found = None
    if isinstance(found, dict):
        return []
    detail = "invalid character looking for beginning of value"
    return [Cause.invalid(path, "<secret contents redacted>", detail)]


def secret_change(new: Object, old: Object) -> list[Cause]:
    """The type stays, and so does everything in an immutable Secret."""
    causes = []
    if new.get("type") != old.get("type"):
        causes.append(Cause.invalid("type", new.get("type"), "field is immutable"))
    return causes + _frozen(new, old, "data")


def event(obj: Object) -> list[Cause]:
    """What is wrong with an Event."""
    involved = (obj.get("involvedObject") or {}).get("namespace") or ""
    namespace = obj["metadata"].get("namespace") or ""
    if involved != namespace and not (not involved and namespace in ("default", "kube-system")):
        detail = "does not match event.namespace"
        return [Cause.invalid("involvedObject.namespace", involved, detail)]
    return []
