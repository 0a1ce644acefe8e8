"""Values as they are typed, written and shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lab.config import facts
from lab.errors import UsageError

MASK = "[masked]"


def scalar(value: Any) -> str:
    """A value as YAML on one line, quoted where that is needed, valid inside and outside of ``{}``."""
    plain = dict(value) if isinstance(value, Mapping) else str(value) if isinstance(value, Path) else value
    dumped = yaml.safe_dump([plain], default_flow_style=True, width=1_000_000, allow_unicode=True)
    return dumped.strip()[1:-1]


def typed(setting: facts.Setting, word: str) -> Any:
    """What a word on the command line means: a text for a setting that holds one, else what YAML makes of it.

    Raises:
        UsageError: the word has more than one line, or characters that cannot be seen.
    """
    if not word.isprintable():
        raise UsageError("LAB-CONF-06", f"The value of {setting.key} must be one line of visible characters.")
    if not word:
        return None
    if setting.kind in (str, Path):
        return word
    try:
        return yaml.safe_load(word)
    except yaml.YAMLError:
        return word  # the settings say what they expect instead


def shown(value: Any) -> str:
    """A value for people; the values of variables are masked, as they may be passwords."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={MASK}" for name in value)
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
