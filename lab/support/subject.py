"""What a support archive is about: one lab, of which any part may be broken or missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.doctor import Machine
from lab.engines.base import Engine
from lab.model import Check
from lab.settings import Settings
from lab.state import State


@dataclass(frozen=True)
class Subject:
    """The lab. What is a function here may raise; whoever asks says so in its part of the archive."""

    home: Path
    """Folder of lab.yaml."""
    file: Path
    """lab.yaml."""
    state: State
    environ: Mapping[str, str] = field(repr=False)
    machine: Machine
    settings: Callable[[], Settings]
    engine: Callable[[], Engine]
    checks: Callable[[], Sequence[Check]]
    """Those of `verify`."""
