"""Probes: their thresholds as a state machine, and the loop that runs one probe of a container.

Source: pkg/kubelet/prober/worker.go, prober.go (v1.33).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

Outcome = tuple[bool, str]
"""Whether an attempt succeeded, and the text that an event carries when it did not."""

EAGER_INTERVAL = 0.05


@dataclass(frozen=True)
class Timing:
    """A probe's times in seconds and its thresholds, with Kubernetes' defaults."""

    initial_delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    success_threshold: int = 1
    failure_threshold: int = 3

    @classmethod
    def of(cls, probe: Mapping[str, Any]) -> Timing:
        """The timing of a probe in a pod's spec."""
        return cls(
            float(probe.get("initialDelaySeconds") or 0),
            float(probe.get("periodSeconds") or 10),
            float(probe.get("timeoutSeconds") or 1),
            int(probe.get("successThreshold") or 1),
            int(probe.get("failureThreshold") or 3),
        )


class Verdict:
    """Counts outcomes in a row; the result changes when a threshold is reached."""

    def __init__(self, timing: Timing, *, result: bool | None) -> None:
        self._timing = timing
        self._run = 0
        self._last: bool | None = None
        self.result = result
        """True, False, or None while nothing is decided."""

    def observe(self, *, success: bool) -> bool:
        """Note an outcome; returns whether it settles the result (a threshold is reached), changed or not."""
        self._run = self._run + 1 if success is self._last else 1
        self._last = success
        threshold = self._timing.success_threshold if success else self._timing.failure_threshold
        if self._run < threshold:
            return False
        self.result = success
        return True


async def watch(
    kind: str,
    timing: Timing,
    attempt: Callable[[], Awaitable[Outcome]],
    settled: Callable[[bool], None],
    failed: Callable[[str], None],
    *,
    eager: bool,
) -> None:
    """Run a probe until cancelled; a startup probe ends with its first success.

    ``settled`` is told each result that a threshold confirms, ``failed`` the text of each failed attempt.
    With ``eager`` the schedule begins a period later, and until then and beside it a startup or readiness probe is
    tried every 50 ms until its first success, without counting the failures. So a rollout is as fast as the
    process is, and no process is blamed for not listening in its first moment.
    """
    loop = asyncio.get_running_loop()
    verdict = Verdict(timing, result=kind == "liveness" or None)
    hurry = eager and kind != "liveness"
    due = loop.time() + timing.initial_delay + (timing.period if eager else 0)
    while True:
        now = loop.time()
        if now < due:
            await asyncio.sleep(min(EAGER_INTERVAL, due - now) if hurry else due - now)
        success, text = await attempt()
        scheduled = loop.time() >= due
        if scheduled:
            due = max(due + timing.period, loop.time())
        hurry = hurry and not success
        if not (success or scheduled):
            continue
        if not success:
            failed(text)
        if verdict.observe(success=success):
            settled(success)
            if success and kind == "startup":
                return
