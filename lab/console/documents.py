"""The JSON documents of a run's events; `schema` describes them and all others."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lab.plan import Event

_PAUSE = 0.5
"""Seconds between two documents about the same transfer; an engine reports many a second."""


@dataclass
class Documents:
    """Makes documents of events, and leaves out those that say next to nothing."""

    clock: Callable[[], float] = time.monotonic
    _told: dict[str, float] = field(default_factory=dict)

    def of(self, event: Event) -> dict[str, Any] | None:
        """The document of an event; None for bytes that come soon after others."""
        found: dict[str, Any] = {
            "type": "step", "step": event.step.name, "event": event.kind, "detail": event.detail
        }  # fmt: skip
        if event.kind == "progress":
            if not self._due(event):
                return None
            found |= {"done": event.done, "total": event.total}
        if event.outcome:
            found |= {"state": event.outcome.state, "seconds": round(event.outcome.seconds, 3)}
            if event.outcome.error:
                found["error"] = event.outcome.error.code
        return found

    def _due(self, event: Event) -> bool:
        now, last = self.clock(), self._told.get(event.step.name)
        if last is None or now - last >= _PAUSE or 0 < event.total <= event.done:
            self._told[event.step.name] = now
            return True
        return False


def masked(value: Any, secrets: list[str]) -> Any:
    """A JSON value in which no string contains a secret."""
    if isinstance(value, str):
        return hide(value, secrets)
    if isinstance(value, dict):
        return {name: masked(one, secrets) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [masked(one, secrets) for one in value]
    return value


def hide(text: str, secrets: list[str]) -> str:
    """``text`` with every secret replaced."""
    for secret in secrets:
        text = text.replace(secret, "[masked]")
    return text
