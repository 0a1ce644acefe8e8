"""Three kinds of patches: JSON patch, JSON merge patch (RFC 7386) and strategic merge patch."""

from __future__ import annotations

from typing import Any

from lab.emulator.kube import jsonpatch, strategic
from lab.emulator.kube.errors import bad_request, unsupported_media
from lab.emulator.kube.objects import Object, copied
from lab.emulator.kube.resources import Resource
from lab.emulator.kube.shapes import shape_of


def patched(resource: Resource, old: Object, body: Any, kind: str) -> Object:
    """A copy of ``old`` with a patch of ``kind`` (json, merge, strategic) laid over it.

    Raises:
        StatusError: 400 the patch cannot be read; 415 strategic on a custom kind; 422 a JSON patch does not fit.
    """
    if kind == "json":
        return jsonpatch.apply(old, body)
    if not isinstance(body, dict):
        raise bad_request("error decoding patch: json: cannot unmarshal into Go value of type map[string]interface {}")
    if kind == "merge":
        return dict(merge(old, body))
    if resource.custom is not None:
        kinds = ("json-patch+json", "merge-patch+json", "apply-patch+yaml")
        raise unsupported_media([f"application/{one}" for one in kinds])
    return dict(strategic.apply(shape_of(resource), old, body))


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return copied(patch)
    found = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merge(found.get(key), value)
    return found
