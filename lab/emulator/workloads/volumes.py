"""A pod's volumes as folders on this machine.

Files of ConfigMaps and Secrets change all at once, as the kubelet's AtomicWriter does it: they are links into
``..data``, which is itself a link that is replaced.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lab.emulator.workloads.cluster import CLAIMS, CONFIG_MAPS, SECRETS, Kind
from lab.emulator.workloads.environment import ConfigError, Lookup, content, pod_fields_file
from lab.emulator.workloads.expansion import expand
from lab.emulator.workloads.objects import Obj
from lab.emulator.workloads.resources import resource_field
from lab.emulator.workloads.rootfs import Mount, inside

CLAIM_FOLDERS = "volumes"
Files = dict[str, tuple[bytes, int]]
"""Relative path -> content and mode."""

_SOURCES: tuple[tuple[str, str, Kind, str], ...] = (
    ("configMap", "name", CONFIG_MAPS, "configmap"),
    ("secret", "secretName", SECRETS, "secret"),
)


def claim_folder(data: Path, claim: Obj) -> Path:
    """Where the files of a PersistentVolumeClaim lie."""
    metadata = claim["metadata"]
    return data / CLAIM_FOLDERS / f"{metadata['namespace']}_{metadata['name']}_{metadata['uid']}"


def prepare(pod: Obj, volume: Mapping[str, Any], folder: Path, data: Path, lookup: Lookup) -> Path:
    """Make a volume ready below ``folder`` and return its place.

    Raises:
        ConfigError: with the text of the kubelet's FailedMount event, without its head.
    """
    place: Path = folder / volume["name"]
    if "persistentVolumeClaim" in volume:
        return _claim(volume["persistentVolumeClaim"]["claimName"], data, lookup)
    if "emptyDir" in volume:
        place.mkdir(parents=True, exist_ok=True)
        return place
    files = projected(pod, volume, lookup)
    if files is None:
        kinds = ", ".join(key for key in volume if key != "name") or "unknown"
        raise ConfigError(f"not emulated: {kinds} volumes")
    write(place, files)
    return place


def _claim(name: str, data: Path, lookup: Lookup) -> Path:
    claim = lookup(CLAIMS, name)
    if claim is None:
        raise ConfigError(f'persistentvolumeclaim "{name}" not found')
    folder: Path = claim_folder(data, claim)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def projected(pod: Obj, volume: Mapping[str, Any], lookup: Lookup) -> Files | None:
    """The files of a configMap, secret, downwardAPI or projected volume; None for another kind.

    Raises:
        ConfigError: something it refers to is missing.
    """
    if "projected" not in volume:
        return _source(pod, volume, lookup, _mode(volume))
    mode = int(volume["projected"].get("defaultMode") or 0o644)
    files: Files = {}
    for source in volume["projected"].get("sources") or ():
        found = _source(pod, source, lookup, mode)
        if found is None:
            raise ConfigError(f"not emulated: a projected {', '.join(source)}")
        files.update(found)
    return files


def _mode(volume: Mapping[str, Any]) -> int:
    source: dict[str, Any] = next((volume[key] for key in ("configMap", "secret", "downwardAPI") if key in volume), {})
    return int(source.get("defaultMode") or 0o644)


def _source(pod: Obj, source: Mapping[str, Any], lookup: Lookup, mode: int) -> Files | None:
    for key, name_key, kind, word in _SOURCES:
        if key in source:
            wanted = source[key]
            name = wanted.get(name_key) or wanted.get("name") or ""
            found = lookup(kind, name)
            if found is None:
                if wanted.get("optional"):
                    return {}
                raise ConfigError(f'{word} "{name}" not found')
            return _items(wanted, content(kind, found), mode, word)
    if "downwardAPI" in source:
        return _downward(pod, source["downwardAPI"].get("items") or (), mode)
    return None


def _items(wanted: Mapping[str, Any], values: Mapping[str, bytes], mode: int, word: str) -> Files:
    if not wanted.get("items"):
        return {key: (value, mode) for key, value in values.items()}
    files: Files = {}
    for item in wanted["items"]:
        if item["key"] not in values:
            if wanted.get("optional"):
                continue
            raise ConfigError(
                f"{word} references non-existent {'config' if word == 'configmap' else 'secret'} key: {item['key']}"
            )
        files[item["path"]] = (values[item["key"]], int(item.get("mode") or mode))
    return files


def _downward(pod: Obj, items: Iterable[Mapping[str, Any]], mode: int) -> Files:
    files: Files = {}
    for item in items:
        if "fieldRef" in item:
            text = pod_fields_file(pod, item["fieldRef"]["fieldPath"])
        else:
            text = resource_field(pod, pod["spec"]["containers"][0], item["resourceFieldRef"])
        files[item["path"]] = (text.encode(), int(item.get("mode") or mode))
    return files


def write(place: Path, files: Files) -> bool:
    """Make ``place`` hold exactly ``files``, all at once; returns whether anything changed."""
    place.mkdir(parents=True, exist_ok=True)
    current = place / "..data"
    if current.is_symlink() and _held(current) == {path: value for path, (value, _) in files.items()}:
        return False
    old = current.readlink() if current.is_symlink() else None
    fresh = place / f"..{time.strftime('%Y_%m_%d_%H_%M_%S')}.{time.time_ns() % 10**9}"
    for path, (value, mode) in files.items():
        target = _below(fresh, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch(mode=0o600)
        target.write_bytes(value)
        target.chmod(mode & 0o777 | 0o400)  # the folder above all volumes is closed to others
    fresh.mkdir(exist_ok=True)
    temporary = place / "..data_tmp"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(fresh.name)
    temporary.replace(current)
    _link_names(place, {path.split("/", 1)[0] for path in files})
    if old:
        shutil.rmtree(place / old, ignore_errors=True)
    return True


def _below(folder: Path, path: str) -> Path:
    if path.startswith("/") or ".." in path.split("/"):
        raise ConfigError(f"invalid path in volume: {path}")
    return folder / path


def _held(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _link_names(place: Path, names: set[str]) -> None:
    for name in names:
        link = place / name
        if not link.is_symlink():
            link.symlink_to(f"..data/{name}")
    for entry in place.iterdir():
        if not entry.name.startswith("..") and entry.name not in names:
            entry.unlink()


def mounts(container: Mapping[str, Any], places: Mapping[str, Path], variables: Mapping[str, str]) -> list[Mount]:
    """The container's mounts of prepared volumes.

    Raises:
        ConfigError: a subPath leaves its volume, or a volume is not there.
    """
    result = []
    for mount in container.get("volumeMounts") or ():
        source = places.get(mount["name"])
        if source is None:
            raise ConfigError(f'volume "{mount["name"]}" is not prepared')
        sub = mount.get("subPath") or expand(mount.get("subPathExpr") or "", variables)
        if sub:
            if sub.startswith("/") or ".." in sub.split("/"):
                raise ConfigError(f'failed to prepare subPath for volumeMount "{mount["name"]}" of container')
            source = inside(source, sub)
            if not source.exists():
                source.mkdir(parents=True)
        result.append(Mount(mount["mountPath"], source))
    return result
