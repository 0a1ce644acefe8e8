"""The values that must not be in the archive, from every place in which the lab and its user keep some."""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from lab import argocd
from lab.cluster import SECRET
from lab.doors import Doors
from lab.support.subject import Subject

_NAME = re.compile(r"(?i)token|passw|secret|credential|api_?key|access_?key|private|cookie|auth")
_OPEN = (
    "name", "namespace", "project", "type", "url", "username", "email", "insecure", "enableLfs", "enableOCI",
    "ca.crt", "tls.crt", "server",
)  # fmt: skip
"""Keys of Kubernetes secrets with values that are no secret, and that say what one looks for."""
_PLAIN = ("true", "false", "admin", "root", "none", "null")
_KUBECONFIG = re.compile(r"(?m)^\s*(?:client-key-data|token|password):\s*\"?([^\s\"]+)")
_VARIABLES = re.compile(r"(?m)^(\s*)variables:[^\n]*\n((?:(?:\1\s+[^\n]*|\s*)(?:\n|\Z))*)")
_PAIR = re.compile(r"(?m)^\s*[^\s:#]+\s*:\s*(.+?)\s*$")


def local(subject: Subject) -> Iterator[str]:
    """Secrets of `.lab/`, lab.yaml, the environment and the kubeconfig; none of them has to be readable."""
    folder = subject.state.folder
    for path in sorted((folder / "secrets").glob("*")):
        with contextlib.suppress(OSError):
            yield path.read_bytes().decode(errors="replace")
    yield from _variables(subject)
    for name, value in subject.environ.items():
        if _NAME.search(name) and value.lower() not in _PLAIN and not _is_path(value):
            yield value
    with contextlib.suppress(Exception):  # the engine may be of another version, or no longer known
        yield from _kubeconfig(subject.engine().endpoints().kubeconfig.read_text(errors="replace"))


def gitlab(subject: Subject) -> Iterator[str]:
    """The values of the project's CI/CD variables.

    Raises:
        LabError: GitLab does not answer.
    """
    forge = _doors(subject).forge
    yield from (str(row.get("value") or "") for row in forge.rows(forge.at("variables")))


def kubernetes(subject: Subject) -> Iterator[str]:
    """The values of the secrets in the lab's namespaces.

    Raises:
        LabError: Kubernetes does not answer.
    """
    for namespace in (subject.settings().project.namespace, argocd.NAMESPACE):
        for secret in _doors(subject).cluster.select(SECRET, namespace):
            yield from _secret(secret)


def _doors(subject: Subject) -> Doors:
    return Doors.open(subject.engine().endpoints(), subject.settings())


def _variables(subject: Subject) -> Iterator[str]:
    """`project.variables`, also out of a lab.yaml that is wrong elsewhere."""
    with contextlib.suppress(Exception):
        yield from subject.settings().project.variables.values()
    with contextlib.suppress(OSError):
        for block in _VARIABLES.finditer(subject.file.read_text(errors="replace")):
            for value in _PAIR.findall(block.group(2)):
                yield value.strip("'\"")
    with contextlib.suppress(yaml.YAMLError):
        given = yaml.safe_load(subject.environ.get("LAB_PROJECT_VARIABLES", ""))
        yield from map(str, given.values() if isinstance(given, dict) else ())


def _is_path(value: str) -> bool:
    """SSH_AUTH_SOCK and its like."""
    with contextlib.suppress(OSError, ValueError):
        return value.startswith("/") and Path(value).exists()
    return False


def _kubeconfig(text: str) -> Iterator[str]:
    for value in _KUBECONFIG.findall(text):
        yield value
        with contextlib.suppress(ValueError):
            yield base64.b64decode(value, validate=True).decode(errors="replace")


def _secret(secret: Mapping[str, Any]) -> Iterator[str]:
    for key in secret.get("data") or {}:
        value = argocd.secret_value(dict(secret), key)
        if key not in _OPEN and value.lower() not in _PLAIN:
            yield value
