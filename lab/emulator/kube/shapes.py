"""The shape of a kind, whether built in or custom."""

from __future__ import annotations

from lab.emulator.kube.custom_validation import shape_of as custom_shape
from lab.emulator.kube.resources import Resource
from lab.emulator.kube.schema import ANY, Type, of_resource


def shape_of(resource: Resource, version: str = "") -> Type:
    """The shape of ``resource``'s objects in ``version`` (default: the stored one)."""
    if resource.custom is not None:
        return custom_shape(resource, version or resource.version)
    return of_resource(resource.group, version or resource.version, resource.kind) or ANY
