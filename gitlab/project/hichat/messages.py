"""Where the messages are kept: in Redis, or in this process where the platform has no real Redis."""

from __future__ import annotations

import threading
from collections import deque
from typing import Protocol

from hichat import redis
from hichat.settings import Address

KEY = "hichat:messages"
KEPT = 100  # messages; older ones are forgotten


class Unavailable(Exception):
    """Messages cannot be read or written now; the text says why."""


class Messages(Protocol):
    """What the page needs of a store."""

    def add(self, text: str) -> None:
        """Keep a message; raises Unavailable."""

    def latest(self) -> list[str]:
        """Messages, newest first; raises Unavailable."""


class RedisMessages:
    """Messages in a Redis list: they outlive this pod and are the same in every replica."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def add(self, text: str) -> None:
        """Keep a message; raises Unavailable."""
        self._run(("LPUSH", KEY, text), ("LTRIM", KEY, "0", str(KEPT - 1)))

    def latest(self) -> list[str]:
        """Messages, newest first; raises Unavailable."""
        (reply,) = self._run(("LRANGE", KEY, "0", str(KEPT - 1)))
        return [str(text) for text in reply] if isinstance(reply, list) else []

    def _run(self, *batch: tuple[str, ...]) -> list[object]:
        try:
            return redis.commands(self._address, *batch)
        except (OSError, redis.RedisError) as error:
            raise Unavailable(str(error)) from error


class MemoryMessages:
    """Messages of this process alone: a new pod starts without any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._texts: deque[str] = deque(maxlen=KEPT)

    def add(self, text: str) -> None:
        """Keep a message."""
        with self._lock:
            self._texts.appendleft(text)

    def latest(self) -> list[str]:
        """Messages, newest first."""
        with self._lock:
            return list(self._texts)


def messages_for(address: Address) -> Messages:
    """The store for these settings."""
    return MemoryMessages() if address.simulated else RedisMessages(address)
