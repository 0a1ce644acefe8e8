"""``config.toml``, as strict about types as the real runner's decoder; what it does not know, it passes over too."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomllib

from lab.emulator.runner.settings import Entry

_TYPES: dict[str, Any] = {
    "privileged": bool,
    "services_privileged": bool,
    "network_mode": str,
    "image": str,
    "helper_image": str,
    "extra_hosts": list,
    "volumes": list,
    "allowed_pull_policies": list,
    "pull_policy": (str, list),
    "wait_for_services_timeout": int,
    "shm_size": int,
    "disable_cache": bool,
}
_POLICIES = {"always", "if-not-present", "never"}
_HELPER = "registry.gitlab.com/gitlab-org/gitlab-runner/gitlab-runner-helper:x86_64-v19.3.0"


class ConfigurationError(ValueError):
    """A file that the runner cannot load."""


@dataclass(frozen=True)
class DockerSection:
    """``[runners.docker]``."""

    image: str
    privileged: bool = False
    services_privileged: bool | None = None
    network_mode: str = ""
    helper_image: str = _HELPER
    extra_hosts: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ("/cache",)
    pull_policy: tuple[str, ...] = ("always",)
    allowed_pull_policies: tuple[str, ...] = ()
    wait_for_services_timeout: int = 30
    shm_size: int = 0
    disable_cache: bool = False


@dataclass(frozen=True)
class Section:
    """One ``[[runners]]`` with the docker executor."""

    entry: Entry
    docker: DockerSection
    request_concurrency: int = 1
    unhealthy_limit: int = 3
    unhealthy_seconds: float = 3600.0


@dataclass(frozen=True)
class Configuration:
    """The whole file."""

    concurrent: int = 1
    check_interval: float = 3.0
    shutdown_timeout: float = 30.0
    sections: tuple[Section, ...] = field(default=())


def read(path: Path) -> Configuration:
    """Read the file; raises `ConfigurationError` or FileNotFoundError."""
    try:
        document = tomllib.loads(path.read_text())
        sections = tuple(_section(each) for each in document.get("runners", []))
        concurrent = int(document.get("concurrent", 1))
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise ConfigurationError(f"decoding configuration file: {error}") from error
    if concurrent < 1:
        raise ConfigurationError("concurrent value 0: at least 1 is needed")
    interval = float(document.get("check_interval") or 3)
    return Configuration(concurrent, interval, float(document.get("shutdown_timeout") or 30), sections)


def _section(raw: dict[str, Any]) -> Section:
    if raw.get("executor") != "docker":
        raise ConfigurationError(f"not in the stand-in: executor {raw.get('executor')!r}")
    entry = Entry(
        name=str(raw.get("name", "")),
        url=str(raw["url"]).rstrip("/"),
        token=os.path.expandvars(str(raw["token"])),
        executor="docker",
        limit=int(raw.get("limit", 0)),
        clone_url=str(raw.get("clone_url", "")).rstrip("/"),
        environment=tuple(raw.get("environment", ())),
    )
    return Section(
        entry,
        _docker(raw["docker"]),
        max(1, int(raw.get("request_concurrency", 1))),
        int(raw.get("unhealthy_requests_limit") or 3),
        seconds(str(raw.get("unhealthy_interval") or "1h")),
    )


def _docker(raw: dict[str, Any]) -> DockerSection:
    found: dict[str, Any] = {}
    for key, kind in _TYPES.items():
        if key not in raw:
            continue
        if not isinstance(raw[key], kind) or (kind is int and isinstance(raw[key], bool)):
            raise ConfigurationError(f"toml: incompatible types: runners.docker.{key} is {raw[key]!r}")
        value = [raw[key]] if key == "pull_policy" and isinstance(raw[key], str) else raw[key]
        found[key] = tuple(value) if isinstance(value, list) else value
    section = DockerSection(**found)
    if unknown := set(section.pull_policy + section.allowed_pull_policies) - _POLICIES:
        raise ConfigurationError(f"unsupported pull_policy config: {', '.join(sorted(unknown))}")
    return section


def seconds(duration: str) -> float:
    """A duration in Go's words, ``1h30m`` or ``30s``."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(h|m|s)", duration)
    if not parts or "".join(a + b for a, b in parts) != duration:
        raise ConfigurationError(f"time: invalid duration {duration!r}")
    return sum(float(number) * {"h": 3600, "m": 60, "s": 1}[unit] for number, unit in parts)
