"""The cluster's entries in a person's own kubeconfig, which the lab touches only when told to.

k3d can do this too, but rewrites the file on every removal, asked or not, and fails when KUBECONFIG lists two files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from lab import files
from lab.errors import UsageError

_LISTS = ("clusters", "users", "contexts")


def join(path: Path | None, text: str) -> None:
    """Add the entries of kubeconfig ``text`` to a file; the current context stays unless there is none."""
    if path is None:
        return
    ours, theirs = yaml.safe_load(text), _read(path)
    for key in _LISTS:
        names = [entry["name"] for entry in ours[key]]
        theirs[key] = [entry for entry in theirs.get(key) or [] if entry["name"] not in names] + ours[key]
    theirs["current-context"] = theirs.get("current-context") or ours["current-context"]
    _write(path, theirs)


def joined(path: Path | None, ours: Path) -> bool:
    """Whether the file has the entries of kubeconfig ``ours``; without a file there is nothing to do."""
    if path is None:
        return True
    theirs, wanted = _read(path), _read(ours)
    return all(entry in (theirs.get(key) or []) for key in _LISTS for entry in wanted.get(key) or [])


def leave(path: Path | None, cluster: str) -> None:
    """Take the entries of a k3d cluster out of a file; everything else stays."""
    if path is None or not path.exists():
        return
    theirs, names = _read(path), (f"k3d-{cluster}", f"admin@k3d-{cluster}")
    kept: dict[str, Any] = {
        key: [entry for entry in theirs.get(key) or [] if entry["name"] not in names] for key in _LISTS
    }
    if all(kept[key] == (theirs.get(key) or []) for key in _LISTS):
        return
    if theirs.get("current-context") in names:
        kept["current-context"] = next((entry["name"] for entry in kept["contexts"]), "")
    _write(path, {**theirs, **kept})


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {"apiVersion": "v1", "kind": "Config"}
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise _unusable(path, str(error)) from error
    if not isinstance(found, dict):
        raise _unusable(path, f"it holds a {type(found).__name__}")
    return found


def _unusable(path: Path, seen: str) -> UsageError:
    return UsageError(
        "LAB-K3D-06", f"{path} is no kubeconfig; it was not touched.", evidence=seen[:600],
        hint="Mend it, or let the lab keep to its own: invoke config.set cluster.kubeconfig false",
    )  # fmt: skip


def _write(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.replace(path, yaml.safe_dump(document, sort_keys=False).encode())
