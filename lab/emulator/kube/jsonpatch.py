"""JSON patch (RFC 6902) with the texts of the library that the API server uses.

Source: gopkg.in/evanphx/json-patch.v4; apiserver pkg/endpoints/handlers/patch.go (v0.33).
"""

from __future__ import annotations

from typing import Any

from lab.emulator.kube.errors import StatusError, bad_request
from lab.emulator.kube.objects import Object, copied

_REQUIRED = {"add": ("path", "value"), "remove": ("path",), "replace": ("path", "value"), "move": ("path", "from"),
             "copy": ("path", "from"), "test": ("path",)}  # fmt: skip


def apply(obj: Object, operations: Any) -> Object:
    """A copy of ``obj`` after every operation.

    Raises:
        StatusError: 400 the patch cannot be read; 422 an operation does not fit the object.
    """
    if not isinstance(operations, list):
        raise bad_request("error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    document = copied(obj)
    for operation in operations:
        document = _step(document, operation)
    return dict(document)


def _unfit(message: str) -> StatusError:
    return StatusError(422, "Invalid", f"the server rejected our request due to an error in our request: {message}", {})


def _step(document: Any, operation: Any) -> Any:
    name = operation.get("op") if isinstance(operation, dict) else None
    if name not in _REQUIRED:
        raise _unfit(f"Unexpected kind: {name}")
    missing = [key for key in _REQUIRED[name] if key not in operation]
    if missing:
        raise _unfit(f"{name} operation does not apply: missing {missing[0]}")
    path = operation["path"]
    if name == "test":
        found = _get(document, path, "test", missing_ok=True)
        if found != operation.get("value"):
            raise _unfit(f"testing value {path} failed: test failed")
        return document
    if name in ("move", "copy"):
        value = copied(_get(document, operation["from"], name))
        if name == "move":
            document = _set(document, operation["from"], "remove", None)
        return _set(document, path, "add", value)
    return _set(document, path, name, copied(operation.get("value")))


def _tokens(path: str) -> list[str]:
    if not path:
        return []
    if not isinstance(path, str) or not path.startswith("/"):
        raise _unfit(f"invalid path {path!r}")
    return [token.replace("~1", "/").replace("~0", "~") for token in path[1:].split("/")]


def _child(container: Any, token: str, where: str, verb: str) -> Any:
    if isinstance(container, dict) and token in container:
        return container[token]
    if isinstance(container, list):
        return container[_index(container, token, where, verb)]
    raise _unfit(f"{verb} operation does not apply: doc is missing path: {where}: missing value")


def _index(container: list[Any], token: str, where: str, verb: str, *, extra: int = 0) -> int:
    try:
        index = int(token)
    except ValueError:
        raise _unfit(f"{verb} operation does not apply: doc is missing path: {where}: missing value") from None
    if index < 0:
        index += len(container)
    if not 0 <= index < len(container) + extra:
        raise _unfit(f"{verb} operation does not apply: doc is missing path: {where}: invalid index referenced")
    return index


def _get(document: Any, path: str, verb: str, *, missing_ok: bool = False) -> Any:
    found = document
    for token in _tokens(path):
        if missing_ok and isinstance(found, dict) and token not in found:
            return None
        found = _child(found, token, path, verb)
    return found


def _set(document: Any, path: str, verb: str, value: Any) -> Any:
    tokens = _tokens(path)
    if not tokens:
        return value
    container = document
    for token in tokens[:-1]:
        container = _child(container, token, path, verb)
    last = tokens[-1]
    if isinstance(container, list):
        _set_item(container, last, path, verb, value)
    elif isinstance(container, dict):
        if verb != "add" and last not in container:
            detail = "Unable to remove nonexistent key: " + last if verb == "remove" else f"doc is missing key: {path}"
            raise _unfit(f"{verb} operation does not apply: {detail}: missing value")
        if verb == "remove":
            del container[last]
        else:
            container[last] = value
    else:
        raise _unfit(f"{verb} operation does not apply: doc is missing path: {path}: missing value")
    return document


def _set_item(container: list[Any], token: str, path: str, verb: str, value: Any) -> None:
    if verb == "add":
        at = len(container) if token == "-" else _index(container, token, path, verb, extra=1)  # noqa: S105 - RFC 6902
        container.insert(at, value)
    elif verb == "remove":
        del container[_index(container, token, path, verb)]
    else:
        container[_index(container, token, path, verb)] = value
