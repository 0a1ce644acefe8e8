"""The runner's ``config.toml`` (contracts C.4)."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

log = logging.getLogger(__name__)


_NOT_EMULATED = (
    "pre_get_sources_script", "post_get_sources_script", "builds_dir", "cache_dir", "output_limit", "custom_build_dir",
)  # fmt: skip
"""Keys of a section that would change what a job does; the runner says that it passes over them."""


@dataclass(frozen=True)
class Entry:
    """One ``[[runners]]`` section."""

    name: str
    url: str
    """GitLab's address, no trailing slash."""
    token: str = field(repr=False)
    executor: str = "shell"
    limit: int = 0
    """Jobs at once; 0 means no limit of its own."""
    clone_url: str = ""
    environment: tuple[str, ...] = ()
    """``KEY=value`` for every job."""
    pre_build_script: str = ""
    post_build_script: str = ""
    shell: str = ""


@dataclass(frozen=True)
class Settings:
    """The file as a whole."""

    concurrent: int = 1
    check_interval: float = 3.0
    """Seconds between two requests when GitLab does not hold them."""
    entries: tuple[Entry, ...] = ()


def read(path: Path) -> Settings:
    """The settings; none when there is no file.

    Raises:
        ValueError: the file is no TOML, or a value has the wrong type.
    """
    try:
        document = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return Settings()
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: {error}") from error
    try:
        entries = tuple(_entry(section) for section in document.get("runners", []))
        concurrent = int(document.get("concurrent", 1))
        interval = float(document.get("check_interval") or 3)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error
    if concurrent < 1:
        raise ValueError(f"{path}: concurrent must be at least 1")
    return Settings(concurrent, interval, tuple(entry for entry in entries if _usable(entry)))


def _entry(section: dict[str, Any]) -> Entry:
    for key in _NOT_EMULATED:
        if section.get(key):
            log.warning("runner %s: not emulated: %s", section.get("name", ""), key)
    return Entry(
        name=str(section.get("name", "")),
        url=str(section["url"]).rstrip("/"),
        token=os.path.expandvars(str(section["token"])),
        executor=str(section.get("executor", "shell")),
        limit=int(section.get("limit", 0)),
        clone_url=str(section.get("clone_url", "")).rstrip("/"),
        environment=tuple(str(item) for item in section.get("environment", ())),
        pre_build_script=str(section.get("pre_build_script", "")),
        post_build_script=str(section.get("post_build_script", "")),
        shell=str(section.get("shell", "")),
    )


def _usable(entry: Entry) -> bool:
    if entry.executor != "shell":
        log.error("runner %s: not emulated: executor %s", entry.name, entry.executor)
    return entry.executor == "shell"
