"""Checks of the built-in kinds: field errors in upstream's words."""

from __future__ import annotations

from lab.emulator.kube.errors import Cause
from lab.emulator.kube.objects import Object
from lab.emulator.kube.resources import Resource


def metadata(resource: Resource, obj: Object) -> list[Cause]:
    """What is wrong with an object's metadata."""
    return []


def service_early(obj: Object) -> list[Cause]:
    return []


def check(group: str, plural: str, obj: Object) -> list[Cause]:
    return []


def check_change(group: str, plural: str, new: Object, old: Object) -> list[Cause]:
    return []
