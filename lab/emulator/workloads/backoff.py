"""Back-off of restarts and image pulls: it doubles, has a cap, and is forgotten after a quiet time.

The kubelet's numbers: first 10 s, at most 300 s, forgotten after twice that without trouble
(pkg/kubelet/kubelet.go, MaxContainerBackOff; client-go util/flowcontrol/backoff.go).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Backoff:
    """One container's (or image's) delay before the next attempt; seconds, monotonic times."""

    first: float = 10.0
    longest: float = 300.0
    _delay: float = 0.0
    _last: float = 0.0

    def delay(self, now: float) -> float:
        """How long an attempt has to wait that follows a failure at ``now``; 0 for the first one."""
        if now - self._last > 2 * self.longest:
            self._delay = 0.0
        return self._delay

    def advance(self, now: float) -> float:
        """Note that an attempt is made at ``now``; returns the delay that applies when it fails."""
        current = self.delay(now)
        self._delay = min(current * 2, self.longest) if current else self.first
        self._last = now
        return self._delay


def go_duration(seconds: float) -> str:
    """Seconds as Go prints a duration: ``10s``, ``1m20s``, ``500ms``, ``1.235s``."""
    if 0 < seconds < 1:
        return f"{round(seconds * 1000, 3):g}ms"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{round(rest, 3):g}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text
