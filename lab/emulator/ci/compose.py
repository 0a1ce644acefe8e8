"""From files to one mapping: ``include: local``, ``!reference`` and ``extends``, in GitLab's order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from lab.emulator.ci.document import ConfigError, Reference, load
from lab.emulator.ci.patterns import any_match

Read = Callable[[str], Awaitable["bytes | None"]]
List = Callable[[], Awaitable["list[str]"]]
Wanted = Callable[[Any], bool]

_MAX_INCLUDES = 150
_MAX_DEPTH = 10
_FOREIGN = ("remote", "project", "template", "component", "artifact", "file")


async def compose(text: str, read: Read, files: List, wanted: Wanted = lambda _rules: True) -> dict[str, Any]:
    """The whole configuration of ``text``.

    Args:
        text: content of the configuration file.
        read: gives a file of the same commit, None when there is none.
        files: gives the paths of all files of the commit (for wildcards in ``include``).
        wanted: judges the ``rules`` of an include.

    Raises:
        ConfigError: with GitLab's texts.
    """
    config = await _Includes(read, files, wanted).expand(load(text))
    config = {key: _resolve(value, config, ()) for key, value in config.items()}
    return {key: extended(key, config) for key in config}


class _Includes:
    def __init__(self, read: Read, files: List, wanted: Wanted) -> None:
        self._read, self._files, self._wanted = read, files, wanted
        self._count = 0

    async def expand(self, config: dict[str, Any]) -> dict[str, Any]:
        """``config`` laid over everything it includes."""
        entries = config.pop("include", None)
        merged: dict[str, Any] = {}
        for entry in entries if isinstance(entries, list) else [] if entries is None else [entries]:
            for path in await self._paths(entry):
                merged = deep_merge(merged, await self._one(path))
        return deep_merge(merged, config)

    async def _paths(self, entry: Any) -> list[str]:
        if isinstance(entry, str):
            entry = {"remote" if entry.startswith(("http://", "https://")) else "local": entry}
        if not isinstance(entry, dict):
            raise ConfigError("include config should be a string or a hash")
        for kind in _FOREIGN:
            if kind in entry:
                raise ConfigError(f"not emulated: include:{kind}")
        if "inputs" in entry:
            raise ConfigError("not emulated: include:inputs")
        if not isinstance(entry.get("local"), str):
            raise ConfigError("include config must specify the file where to fetch the config from")
        if not self._wanted(entry.get("rules")):
            return []
        return await self._matching(entry["local"].lstrip("/"))

    async def _matching(self, path: str) -> list[str]:
        if not path.endswith((".yml", ".yaml")):
            raise ConfigError(f"Included file `{path}` does not have YAML extension!")
        if "*" not in path:
            return [path]
        return [name for name in await self._files() if any_match([path], [name])]

    async def _one(self, path: str) -> dict[str, Any]:
        self._count += 1
        if self._count > _MAX_INCLUDES:
            raise ConfigError(f"Maximum of {_MAX_INCLUDES} nested includes are allowed!")
        body = await self._read(path)
        if body is None:
            raise ConfigError(f"Local file `{path}` does not exist!")
        if not body.strip():
            raise ConfigError(f"Local file `{path}` is empty!")
        return await self.expand(load(body.decode(errors="replace")))


def deep_merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``over`` laid on ``base``; only mappings are merged, lists are replaced."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = deep_merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def _resolve(value: Any, config: dict[str, Any], above: tuple[Reference, ...]) -> Any:
    if isinstance(value, Reference):
        if value in above:
            raise ConfigError(f"{value} is part of a circular chain")
        return _resolve(_follow(value, config), config, (*above, value))
    if isinstance(value, dict):
        return {key: _resolve(item, config, above) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolve(item, config, above) for item in value]
    return value


def _follow(reference: Reference, config: dict[str, Any]) -> Any:
    if len(reference.path) < 1 or len(above_limit := reference.path) > _MAX_DEPTH:
        raise ConfigError(f"!reference tag {above_limit} is not valid")
    found: Any = config
    for part in reference.path:
        if not isinstance(found, dict) or part not in found:
            raise ConfigError(f"{reference} could not be found")
        found = found[part]
    return found


def extended(name: str, config: dict[str, Any], above: tuple[str, ...] = ()) -> Any:
    """The entry ``name`` laid over the entries its ``extends`` names; raises `ConfigError`."""
    entry = config[name]
    if not isinstance(entry, dict) or "extends" not in entry:
        return entry
    if name in above:
        raise ConfigError(f"{name}: circular dependency detected in `extends`")
    if len(above) >= _MAX_DEPTH:
        raise ConfigError(f"{name}: nesting too deep in `extends`")
    bases = entry["extends"] if isinstance(entry["extends"], list) else [entry["extends"]]
    bases = [str(base) for base in bases]
    if unknown := [base for base in bases if base not in config]:
        raise ConfigError(f"{name}: unknown keys in `extends` ({', '.join(unknown)})")
    if invalid := [base for base in bases if not isinstance(config[base], dict)]:
        raise ConfigError(f"{name}: invalid base hashes in `extends` ({', '.join(invalid)})")
    merged: dict[str, Any] = {}
    for base in bases:
        merged = deep_merge(merged, extended(base, config, (*above, name)))
    merged.pop("extends", None)
    return deep_merge(merged, entry)
