"""What the doctor says, and the form in which a check is written down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.model import Finding, FindingState

if TYPE_CHECKING:
    from lab.doctor.view import View

ENGINES = ("docker", "embedded")


@dataclass(frozen=True)
class Seen:
    """The part of a finding that depends on the machine."""

    state: FindingState
    measured: str
    remedy: str = ""
    fixable: bool = False
    stops_up: bool = True
    """False: this problem, unlike others of the same check, does not keep `up` from working."""


@dataclass(frozen=True)
class Check:
    """A precondition and how to look at it."""

    id: str
    title: str
    why: str
    look: Callable[[View], Seen]
    engines: tuple[str, ...] = ENGINES
    """The engines to which it matters."""
    stops_up: bool = False
    """Whether a problem here keeps `up` from working. Such a check must be quick: `up` runs it first."""

    def finding(self, seen: Seen) -> Finding:
        """The whole of it."""
        stops = self.stops_up and seen.stops_up and seen.state == "problem"
        return Finding(self.id, self.title, seen.state, seen.measured, self.why, seen.remedy, seen.fixable, stops)


def commands(*lines: str) -> str:
    """A remedy made of commands."""
    return "\n".join(f"$ {line}" for line in lines)


def wslconfig(*lines: str) -> str:
    """A remedy that is a setting of WSL itself, ready to be pasted on Windows."""
    return "\n".join(("In %UserProfile%\\.wslconfig on Windows, then run there: wsl --shutdown", "[wsl2]", *lines))
