"""Errors as the Kubernetes API reports them: a ``Status`` object with code, reason and details.

Source: k8s.io/apimachinery pkg/api/errors/errors.go and pkg/util/validation/field/errors.go (v0.33).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class StatusError(Exception):
    """An answer that is not a success; `status` is its body."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def status(self) -> dict[str, Any]:
        """The ``Status`` object (v1) that a client receives."""
        body: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        body["message"] = self.message
        if self.reason:
            body["reason"] = self.reason
        if self.details:
            body["details"] = self.details
        return {**body, "code": self.code}


@dataclass(frozen=True)
class Cause:
    """One thing that is wrong with an object: a field error in upstream's words."""

    field: str
    message: str
    reason: str = "FieldValueInvalid"

    @classmethod
    def required(cls, field: str, detail: str = "") -> Cause:
        """A field that must be there and is not."""
        return cls(field, "Required value" + (f": {detail}" if detail else ""), "FieldValueRequired")

    @classmethod
    def invalid(cls, field: str, value: Any, detail: str) -> Cause:
        """A value that is wrong."""
        return cls(field, f"Invalid value: {_shown(value)}: {detail}")

    @classmethod
    def unsupported(cls, field: str, value: Any, valid: Sequence[str]) -> Cause:
        """A value that is none of an enumeration's."""
        choices = ", ".join(f'"{one}"' for one in valid)
        return cls(field, f"Unsupported value: {_shown(value)}: supported values: {choices}", "FieldValueNotSupported")

    @classmethod
    def too_long(cls, field: str, most: int) -> Cause:
        """A text that exceeds ``most`` bytes."""
        return cls(field, f"Too long: may not be more than {most} bytes", "FieldValueTooLong")

    @classmethod
    def duplicate(cls, field: str, value: Any) -> Cause:
        """A value that must be unique and is not."""
        return cls(field, f"Duplicate value: {_shown(value)}", "FieldValueDuplicate")

    @classmethod
    def forbidden(cls, field: str, detail: str) -> Cause:
        """A value that may not be set here."""
        return cls(field, f"Forbidden: {detail}", "FieldValueForbidden")

    @classmethod
    def not_found(cls, field: str, value: Any) -> Cause:
        """A reference to something that is not there."""
        return cls(field, f"Not found: {_shown(value)}", "FieldValueNotFound")


def _shown(value: Any) -> str:
    """A value as Go's ``%q``, ``%v`` or ``%#v`` prints it."""
    if isinstance(value, dict):
        return "map[string]string{" + ", ".join(f"{json.dumps(k)}:{_shown(v)}" for k, v in sorted(value.items())) + "}"
    if isinstance(value, list):
        return "[]string{" + ", ".join(_shown(one) for one in value) + "}"
    return json.dumps(value, ensure_ascii=False)


def qualified(group: str, plural: str) -> str:
    """A resource as messages name it: ``pods`` or ``deployments.apps``."""
    return f"{plural}.{group}" if group else plural


def _details(group: str, kind: str, name: str, **more: Any) -> dict[str, Any]:
    details: dict[str, Any] = {}
    if name:
        details["name"] = name
    if group:
        details["group"] = group
    details["kind"] = kind
    return {**details, **more}


def not_found(group: str, plural: str, name: str) -> StatusError:
    """404: no such object."""
    message = f'{qualified(group, plural)} "{name}" not found'
    return StatusError(404, "NotFound", message, _details(group, plural, name))


def already_exists(group: str, plural: str, name: str) -> StatusError:
    """409: the name is taken."""
    message = f'{qualified(group, plural)} "{name}" already exists'
    return StatusError(409, "AlreadyExists", message, _details(group, plural, name))


def conflict(group: str, plural: str, name: str, why: str) -> StatusError:
    """409: the write was based on something that is not so."""
    message = f'Operation cannot be fulfilled on {qualified(group, plural)} "{name}": {why}'
    return StatusError(409, "Conflict", message, _details(group, plural, name))


STALE = "the object has been modified; please apply your changes to the latest version and try again"


def invalid(group: str, kind: str, name: str, causes: Sequence[Cause]) -> StatusError:
    """422: an object's fields are wrong."""
    texts = list(dict.fromkeys(f"{cause.field}: {cause.message}" for cause in causes))
    joined = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    listed = [{"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes]
    message = f'{qualified(group, kind)} "{name}" is invalid: {joined}'
    return StatusError(422, "Invalid", message, _details(group, kind, name, causes=listed))


def forbidden(
    group: str, plural: str, name: str, why: str, *, causes: Sequence[dict[str, str]] | None = None
) -> StatusError:
    """403: not allowed, for the reason ``why``."""
    shown = f'{qualified(group, plural)} "{name}"' if name else qualified(group, plural)
    more = {"causes": list(causes)} if causes else {}
    return StatusError(403, "Forbidden", f"{shown} is forbidden: {why}", _details(group, plural, name, **more))


def bad_request(message: str) -> StatusError:
    """400."""
    return StatusError(400, "BadRequest", message)


def method_not_allowed(group: str, plural: str, verb: str) -> StatusError:
    """405: the resource has no such verb."""
    message = f"{verb} is not supported on resources of kind {json.dumps(qualified(group, plural))}"
    return StatusError(405, "MethodNotAllowed", message, _details(group, plural, ""))


def unsupported_media(accepted: Sequence[str]) -> StatusError:
    """415: a body in none of the accepted media types."""
    listed = ", ".join(accepted)
    message = f"the body of the request was in an unknown format - accepted media types include: {listed}"
    return StatusError(415, "UnsupportedMediaType", message)


def expired(message: str) -> StatusError:
    """410: a resource version that is no longer known."""
    return StatusError(410, "Expired", message)


def not_emulated(what: str) -> StatusError:
    """501: what this emulator does not do, named."""
    return StatusError(501, "NotImplemented", f"not emulated: {what}")
