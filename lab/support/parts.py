"""Parts of a support archive, collected side by side; one that fails or hangs leaves its error and spoils no other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from lab.errors import Interrupted, LabError

SECONDS = 30.0
"""For all parts together; what has come until then is taken."""
_LOOK = 0.05

Texts = Iterator[tuple[str, str]]
"""File names, relative to the part's folder, with what stands in them."""


@dataclass(frozen=True)
class Part:
    """A folder of the archive, or with the name "" its root."""

    name: str
    collect: Callable[[], Texts]


@dataclass
class _Collected:
    part: Part
    texts: list[tuple[str, str]] = field(default_factory=list)
    error: str = ""
    done: threading.Event = field(default_factory=threading.Event)

    def work(self) -> None:
        try:
            for name, text in self.part.collect():
                self.texts.append((f"{self.part.name}/{name}", text))
        except LabError as error:
            self.error = str(error)
        except Exception as error:  # noqa: BLE001 - half a lab answers with anything; the rest of the archive matters
            self.error = f"{type(error).__name__}: {error}"
        self.done.set()


def collect(parts: Sequence[Part], stop: threading.Event, *, seconds: float = SECONDS) -> list[tuple[str, str]]:
    """Every file of every part; one that failed or was not ready in time adds ``<name>/ERROR.txt``.

    Raises:
        Interrupted: ``stop`` was set.
    """
    deadline = time.monotonic() + seconds
    under_way = [_Collected(part) for part in parts]
    for collected in under_way:
        # Daemons: a system that never answers must not keep the task from ending.
        threading.Thread(target=collected.work, daemon=True).start()
    for collected in under_way:
        while not collected.done.wait(_LOOK) and time.monotonic() < deadline:
            if stop.is_set():
                raise Interrupted
    return [text for collected in under_way for text in _texts(collected, seconds)]


def _texts(collected: _Collected, seconds: float) -> list[tuple[str, str]]:
    error = collected.error if collected.done.is_set() else f"Not ready within {seconds:g} s."
    told = [(f"{collected.part.name}/ERROR.txt", error + "\n")] if error else []
    return [*collected.texts, *told]
