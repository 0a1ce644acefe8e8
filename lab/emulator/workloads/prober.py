"""The probes and the postStart hook of one container instance (pkg/kubelet/prober)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lab.emulator.workloads import actions, probes
from lab.emulator.workloads.program import Program

if TYPE_CHECKING:
    from lab.emulator.workloads.pod import Pod


class Prober:
    """Asks a container how it is, from its start to its end.

    ``fail`` is called at most once, with the reason, the text of the Killing event and the grace in seconds.
    """

    def __init__(self, pod: Pod, spec: dict[str, Any], program: Program, fail: Callable[[str, float], None]) -> None:
        self.started = "startupProbe" not in spec
        self.ready = False
        self.failed = False
        self._pod = pod
        self._spec = spec
        self._program = program
        self._fail = fail
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        """Start to ask; the process has just been started."""
        hook = (self._spec.get("lifecycle") or {}).get("postStart")
        if hook:
            self._spawn(self._post_start(hook))
        if self.started:
            self._begin_others()
        else:
            self._watch("startup")

    def end(self) -> None:
        """Ask no more."""
        current = asyncio.current_task()
        for task in self._tasks:
            if task is not current:
                task.cancel()
        self._tasks.clear()
        self.ready = False

    def _begin_others(self) -> None:
        self.ready = "readinessProbe" not in self._spec
        for kind in ("readiness", "liveness"):
            if f"{kind}Probe" in self._spec:
                self._watch(kind)

    def _spawn(self, work: Any) -> None:
        self._tasks.append(asyncio.create_task(work, name=f"probing {self._pod.name}/{self._spec['name']}"))

    def _watch(self, kind: str) -> None:
        probe = self._spec[f"{kind}Probe"]
        timing = probes.Timing.of(probe)

        async def attempt() -> probes.Outcome:
            return await self.act(probe, timing.timeout)

        def settled(result: bool) -> None:
            self._settled(kind, probe, result=result)

        def failed(text: str) -> None:
            self._event("Warning", "Unhealthy", f"{kind.capitalize()} probe failed: {text}")

        eager = not self._pod.node.config.upstream
        self._spawn(probes.watch(kind, timing, attempt, settled, failed, eager=eager))

    def _settled(self, kind: str, probe: dict[str, Any], *, result: bool) -> None:
        if kind == "readiness":
            if self.ready != result:
                self.ready = result
                self._pod.publish()
        elif kind == "startup" and result:
            self.started = True
            self._begin_others()
            self._pod.publish()
        elif not result:
            text = f"Container {self._spec['name']} failed {kind} probe, will be restarted"
            self._kill(text, float(probe.get("terminationGracePeriodSeconds") or self._pod.grace))

    async def _post_start(self, hook: dict[str, Any]) -> None:
        success, text = await self.act(hook, self._pod.grace)
        if not success and self._program.alive:
            self._event("Warning", "FailedPostStartHook", f"PostStartHook failed: {text}")
            self._kill("FailedPostStartHook", self._pod.grace)

    def _kill(self, text: str, grace: float) -> None:
        if not self.failed:
            self.failed = True
            self._fail(text, grace)

    def _event(self, kind: str, reason: str, message: str) -> None:
        self._pod.node.event(self._pod.current(), kind, reason, message, self._spec["name"])

    async def act(self, action: dict[str, Any], timeout: float) -> probes.Outcome:
        """Carry out a probe's or hook's action in the container, for at most ``timeout`` seconds."""
        return await actions.attempt(
            action,
            self._pod.current(),
            self._pod.ports,
            timeout=timeout,
            session=self._pod.node.session,
            execute=self._program.execute,
        )
