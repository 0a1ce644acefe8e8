"""Reads the table: one YAML file per area, one entry per cause.

An entry::

    LAB-REG-01:
      title:                        # one sentence
        en: ...
        zh: ...
      signs:
        - {in: [pod, event], text: a regular expression}
      cause: ...                    # as title; so are look and remedy
      see: [LAB-APP-01, docker.cgroup]

``strict: true`` in a sign keeps it from text of unknown origin; ``heals``, ``machine``, ``normal`` and ``vague`` are
those of `Cause`. Codes that the lab's own code raises need title and remedy only; codes that one remedy serves share an
entry:
``LAB-FLAG-01 LAB-FLAG-02:``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lab.causes.cause import KINDS, Cause, Sign, Words

_FOLDER = Path(__file__).with_name("table")
_FIELDS = {"title", "cause", "look", "remedy", "signs", "heals", "machine", "normal", "vague", "see"}
# The C loader is ten times as fast, but not in every installation of PyYAML.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@functools.cache
def every() -> tuple[Cause, ...]:
    """The whole table, in the order of its files; read at first use.

    Raises:
        ValueError: an entry is not as it must be, or a code has two.
    """
    found: dict[str, Cause] = {}
    for path in sorted(_FOLDER.glob("*.yaml")):
        for codes, entry in yaml.load(path.read_text(encoding="utf-8"), _Loader).items():  # noqa: S506 - a safe loader
            for code in codes.split():
                if code in found:
                    raise ValueError(f"{path.name}: {code} has an entry already")
                found[code] = _cause(code, entry)
    return tuple(found.values())


def find(code: str) -> Cause | None:
    """The entry of a code in any case, or None."""
    return next((cause for cause in every() if cause.code == code.strip().upper()), None)


def _cause(code: str, entry: Mapping[str, Any]) -> Cause:
    unknown = set(entry) - _FIELDS
    if unknown:
        raise ValueError(f"{code}: unknown {', '.join(sorted(unknown))}")
    title, cause, look, remedy = (_words(code, name, entry.get(name)) for name in ("title", "cause", "look", "remedy"))
    return Cause(
        code, title, cause, look, remedy,
        signs=tuple(_sign(code, sign) for sign in entry.get("signs", ())),
        see=tuple(entry.get("see", ())),
        **{name: entry[name] for name in ("heals", "machine", "normal", "vague") if name in entry},
    )  # fmt: skip


def _words(code: str, name: str, value: Mapping[str, str] | None) -> Words:
    if value is None and name in ("cause", "look"):
        return Words("", "")
    if value is None or set(value) != {"en", "zh"}:
        raise ValueError(f"{code}: {name} must have en and zh")
    return Words(value["en"].strip(), value["zh"].strip())


def _sign(code: str, sign: Mapping[str, Any]) -> Sign:
    kinds = frozenset(sign["in"])
    if not kinds or kinds - set(KINDS):
        raise ValueError(f"{code}: a sign is in {', '.join(sorted(kinds - set(KINDS)))}")
    return Sign(kinds, re.compile(sign["text"], re.MULTILINE), bool(sign.get("strict")))
