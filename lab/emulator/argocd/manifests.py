"""The objects that a folder of a repository describes (reposerver/repository: the ``directory`` source)."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping
from typing import Any

import yaml
from yaml.scanner import ScannerError

from lab.emulator.argocd import globs
from lab.emulator.argocd.errors import SourceError

_MANIFEST = re.compile(r"^.*\.(yaml|yml|json|jsonnet)$")
_SKIP_FILE = b"+argocd:skip-file-rendering"
_KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MAXIMUM = 10 * 1024 * 1024
"""Bytes of manifests per source (reposerver.max.combined.directory.manifests.size)."""


def source_type(source: Mapping[str, Any], files: Mapping[str, bytes]) -> str:
    """``Directory``, ``Kustomize``, ``Helm`` or ``Plugin``, from the spec or else from the files of the folder."""
    for key, name in (("chart", "Helm"), ("helm", "Helm"), ("kustomize", "Kustomize"), ("plugin", "Plugin")):
        if source.get(key):
            return name
    if source.get("directory"):
        return "Directory"
    if "Chart.yaml" in files:
        return "Helm"
    return "Kustomize" if any(name in files for name in _KUSTOMIZATIONS) else "Directory"


def wanted(path: str, directory: Mapping[str, Any]) -> bool:
    """Whether the file at ``path`` (relative to the source's folder) passes ``recurse``, ``include``, ``exclude``."""
    if "/" in path and not directory.get("recurse"):
        return False
    if not _MANIFEST.match(posixpath.basename(path)):
        return False
    exclude, include = directory.get("exclude") or "", directory.get("include") or ""
    if exclude and globs.matches(exclude, path):
        return False
    return not include or globs.matches(include, path)


def load(files: Mapping[str, bytes], directory: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The objects of the wanted files, in path order; lists are taken apart.

    Raises:
        SourceError: a file cannot be read, or holds something that is no object.
    """
    chosen = {path: files[path] for path in sorted(files) if wanted(path, directory)}
    if sum(map(len, chosen.values())) > MAXIMUM:
        raise SourceError("exceeded max combined manifest file size")
    objects: list[dict[str, Any]] = []
    for path, body in chosen.items():
        if _SKIP_FILE in body:
            continue
        if path.endswith(".jsonnet"):
            raise SourceError(f"not emulated: jsonnet ({path})")
        parsed = _json(path, body) if path.endswith(".json") else _yaml(path, body)
        objects += [item for document in parsed for item in _flattened(document)]
    return objects


def _json(path: str, body: bytes) -> list[Any]:
    name = posixpath.basename(path)
    try:
        return [json.loads(body)]
    except ValueError as error:
        if str(error).startswith("Extra data"):
            raise SourceError(
                f'Found multiple objects in "{name}". Only single objects are allowed in JSON files.',
                "FailedPrecondition",
            ) from None
        raise SourceError(f'Failed to unmarshal "{name}": {error}', "FailedPrecondition") from None


def _yaml(path: str, body: bytes) -> list[Any]:
    documents: list[Any] = []
    try:
        # extend keeps what came before an error: it decides below between a broken manifest and somebody's other file
        documents.extend(_object(document) for document in yaml.load_all(body, Loader=_LOADER) if document is not None)
    except (yaml.YAMLError, TypeError) as error:
        looks_like_object = all(mark in body for mark in (b"apiVersion:", b"kind:", b"metadata:"))
        if documents or looks_like_object:
            text = _explained(error, body) if isinstance(error, yaml.YAMLError) else str(error)
            raise SourceError(
                f'Failed to unmarshal "{posixpath.basename(path)}": failed to unmarshal manifest: {text}',
                "FailedPrecondition",
            ) from None
    return documents


def _explained(error: yaml.YAMLError, body: bytes) -> str:
    """What sigs.k8s.io/yaml says: libyaml's problem, and a line counted from the start of its document.

    Its ``fail`` adds one to a scanner's line (counted from 0), and none to a parser's.
    """
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or re.sub(r"\s+", " ", str(error))
    line = 0
    if mark is not None:
        before = body.decode(errors="replace").splitlines()[: mark.line]
        separators = [number for number, text in enumerate(before) if text.startswith("---")]
        line = mark.line - (separators[-1] + 1 if separators else 0)
        line += isinstance(error, ScannerError) and line > 0
    where = f"line {line}: " if line else ""
    return f"error converting YAML to JSON: yaml: {where}{problem}"


def _object(document: Any) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise TypeError("json: cannot unmarshal into Go value of type map[string]interface {}")
    if not document.get("kind"):
        raise TypeError(f"Object 'Kind' is missing in '{_excerpt(document)}'")
    return dict(_plain(document))


def _excerpt(document: dict[str, Any]) -> str:
    text = json.dumps(document, default=str, separators=(",", ":"))
    return text if len(text) < 200 else text[:200] + "..."


def _plain(value: Any) -> Any:
    """JSON from YAML: dates become text, keys become strings, as Go's decoder does it."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (str, int, float, bool)) else _date(value)


def _date(value: Any) -> str:
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    return text.replace("+00:00", "Z")


def _flattened(document: Any) -> list[dict[str, Any]]:
    if isinstance(document, dict) and str(document.get("kind", "")).endswith("List") and "items" in document:
        return [item for item in document["items"] or [] if isinstance(item, dict)]
    return [document] if isinstance(document, dict) and document else []
