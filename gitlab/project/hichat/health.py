"""How HiChat and what it depends on are doing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from hichat import mysql, redis
from hichat.settings import Address, Settings

FRESH = 5.0  # seconds that an answer is believed: probes come more often than dependencies need to be asked


class Dependency:
    """One dependency: asks it now and then, and remembers the answer in between."""

    def __init__(self, address: Address, ask: Callable[[Address], str]) -> None:
        self._address = address
        self._ask = ask
        self._lock = threading.Lock()
        self._asked = float("-inf")
        self._answer = ""
        self._well = False

    def state(self) -> tuple[bool, str]:
        """Whether it can be used, and in words: its own answer, "simulated", or what went wrong."""
        if self._address.simulated:
            return True, "simulated"
        with self._lock:
            if time.monotonic() - self._asked > FRESH:
                self._well, self._answer = self._try()
                self._asked = time.monotonic()
            return self._well, self._answer

    def _try(self) -> tuple[bool, str]:
        try:
            return True, self._ask(self._address)
        except (OSError, redis.RedisError, mysql.MysqlError) as error:
            return False, f"down: {error}"


class Health:
    """What /health reports.

    A dependency that is down makes HiChat "degraded", not dead: the answer stays 200. Restarting this pod would not
    bring Redis back, and taking every pod out of service for it would turn half a failure into a whole one.
    """

    def __init__(self, settings: Settings) -> None:
        self._commit = settings.commit
        self._dependencies = {
            "redis": Dependency(settings.redis, _ping),
            "mysql": Dependency(settings.mysql, mysql.server_version),
        }

    def report(self) -> dict[str, str]:
        """The body of /health: status "ok" or "degraded", the version, and a word on each dependency."""
        states = {name: dependency.state() for name, dependency in self._dependencies.items()}
        status = "ok" if all(well for well, _ in states.values()) else "degraded"
        return {"status": status, "version": self._commit, **{name: words for name, (_, words) in states.items()}}


def _ping(address: Address) -> str:
    reply = redis.command(address, "PING")
    return "ok" if reply == "PONG" else f"unexpected: {reply}"
