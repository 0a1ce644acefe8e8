"""One container of a pod over its restarts: image, process, probes, back-off, and its status.

Source: pkg/kubelet/kuberuntime (kuberuntime_container.go, kuberuntime_manager.go), v1.33.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

from lab.emulator.images import Image
from lab.emulator.kube.objects import timestamp
from lab.emulator.workloads.backoff import go_duration
from lab.emulator.workloads.environment import ConfigError
from lab.emulator.workloads.fetching import Fetcher
from lab.emulator.workloads.logs import Log
from lab.emulator.workloads.objects import Obj
from lab.emulator.workloads.patience import within
from lab.emulator.workloads.prober import Prober
from lab.emulator.workloads.program import Program, StartError

if TYPE_CHECKING:
    from lab.emulator.workloads.pod import Pod

_CREATING = {"waiting": {"reason": "ContainerCreating"}}
_INITIALIZING = {"waiting": {"reason": "PodInitializing"}}
_CONFIG_RETRY = 10.0
_LEAST_GRACE = 2.0
"""Seconds that a process gets however long the preStop hook took (minimumGracePeriodInSeconds)."""


class Container:
    """A container's life. `run` is cancelled when the pod ends; `stop` ends the process."""

    def __init__(self, pod: Pod, spec: dict[str, Any], *, init: bool, old: Obj | None) -> None:
        self.spec = spec
        self.name: str = spec["name"]
        self.init = init
        self.sidecar = init and spec.get("restartPolicy") == "Always"
        self._pod = pod
        self._node = pod.node
        self._backoff = pod.node.backoff()
        self._fetcher = Fetcher(pod, spec, self._wait_for)
        self._image_id = ""
        self._id = ""
        self._program: Program | None = None
        self._prober: Prober | None = None
        self.log: Log | None = None
        self.state: Obj = dict(_INITIALIZING if pod.has_init and not init else _CREATING)
        self.last: Obj = {}
        self.restarts = 0
        if old:
            self._take_up(old)

    def _take_up(self, old: Obj) -> None:
        """Continue the count of an earlier emulator's container, which ended with it."""
        self.restarts = int(old.get("restartCount", 0))
        self.last = old.get("lastState") or {}
        if "running" in old["state"]:
            self.restarts += 1
            self.last = {"terminated": {
                "exitCode": 255, "reason": "Unknown", "startedAt": old["state"]["running"].get("startedAt"),
                "finishedAt": timestamp(), "containerID": old.get("containerID", ""),
            }}  # fmt: skip
        elif "terminated" in old["state"]:
            self.state = old["state"]
            self.last = old.get("lastState") or {}

    # --- status

    @property
    def running(self) -> bool:
        """Whether the container counts as running."""
        return "running" in self.state

    @property
    def started(self) -> bool:
        """Whether it runs and its startup probe, if any, has succeeded."""
        return self.running and (self.simulated or (self._prober is not None and self._prober.started))

    @property
    def ready(self) -> bool:
        """Whether it may have requests."""
        if self.init and not self.sidecar:
            return (self.state.get("terminated") or {}).get("exitCode") == 0
        return self.started and (self.simulated or (self._prober is not None and self._prober.ready))

    @property
    def simulated(self) -> bool:
        """Whether no process runs for it because its image comes from elsewhere."""
        return self._node.platform.simulates(self.spec["image"])

    def status(self) -> Obj:
        """The container's status, complete as strict clients want it."""
        shown: Obj = {
            "name": self.name,
            "state": self.state,
            "lastState": self.last,
            "ready": self.ready,
            "restartCount": self.restarts,
            "image": self.spec["image"],
            "imageID": self._image_id,
            "started": self.started,
        }
        return {**shown, "containerID": self._id} if self._id else shown

    def _set(self, state: Obj) -> None:
        self.state = state
        self._pod.publish()

    def _wait_for(self, reason: str, message: str = "") -> None:
        self._set({"waiting": {"reason": reason, **({"message": message} if message else {})}})

    def _event(self, kind: str, reason: str, message: str) -> None:
        self._node.event(self._pod.current(), kind, reason, message, self.name)

    # --- life

    async def run(self) -> int:
        """Run the container until it has ended for good; returns its last exit code."""
        if self.simulated:
            return await self._simulate()
        while True:
            image = await self._fetcher.fetch()
            self._image_id = image.identity
            if not await self._start(image):
                continue
            code = await self._end()
            if not self._restarts_after(code):
                return code
            await self._pause()
            self.restarts += 1

    def _restarts_after(self, code: int) -> bool:
        if self.sidecar:
            return True
        policy = self._pod.spec.get("restartPolicy", "Always")
        if policy == "Always":
            return not self.init or code != 0
        return policy == "OnFailure" and code != 0

    async def _simulate(self) -> int:
        """Pretend, and say so: on the pod, in an event, in the log."""
        image = self.spec["image"]
        text = f"SIMULATED: image {image} is not from {self._node.config.registry}; no process runs and no port is open"
        self._image_id, self._id = f"simulated://{image}", f"simulated://{self._pod.uid}-{self.name}"
        self._event("Normal", "Simulated", text)
        self.log = Log(self._pod.log_path(self.name, self.restarts))
        self.log.write(text.encode())
        if self.init and not self.sidecar:
            self.log.close()
            moment = timestamp()
            self._set({"terminated": {
                "exitCode": 0, "reason": "Completed", "message": "simulated: nothing was run",
                "startedAt": moment, "finishedAt": moment, "containerID": self._id,
            }})  # fmt: skip
            return 0
        self._set({"running": {"startedAt": timestamp()}})
        await asyncio.get_running_loop().create_future()
        return 0

    # --- one instance

    async def _start(self, image: Image) -> bool:
        """Create and start the process; returns whether it is to be waited for (a failed start counts as an end)."""
        try:
            program = await Program.prepare(self._pod, self.spec, image)
        except ConfigError as error:
            self._event("Warning", "Failed", f"Error: {error}")
            self._wait_for("CreateContainerConfigError", str(error))
            await self._pod.nudged(_CONFIG_RETRY if self._node.config.upstream else 1.0)
            return False
        self._event("Normal", "Created", f"Created container: {self.name}")
        self._id = program.id
        self.log = Log(self._pod.log_path(self.name, self.restarts))
        self._pod.prune_logs(self.name, self.restarts)
        self._program = program
        try:
            await program.start(self.log)
        except StartError as error:
            self._event("Warning", "Failed", f"Error: {error}")
            return True
        self._event("Normal", "Started", f"Started container {self.name}")
        self._prober = Prober(self._pod, self.spec, program, self._unwell)
        self._prober.begin()
        self._set({"running": {"startedAt": program.started_at}})
        return True

    async def _end(self) -> int:
        """Wait for the process and note how it ended."""
        program = self._program
        assert program is not None  # noqa: S101 - `_start` has just set it
        try:
            code = await program.ended()
        finally:
            self._end_probes()
        terminated = program.terminated(self.spec)
        if self.log:
            self.log.close()
        self._set({"terminated": terminated})
        return code

    async def _pause(self) -> None:
        """CrashLoopBackOff: the first restart is immediate, the next ones wait longer and longer."""
        delay = self._backoff.delay(time.monotonic())
        ended = self.state
        if delay:
            pod = f"{self._pod.name}_{self._pod.namespace}({self._pod.uid})"
            self._event("Warning", "BackOff", f"Back-off restarting failed container {self.name} in pod {pod}")
            self.last = ended
            text = f"back-off {go_duration(delay)} restarting failed container={self.name} pod={pod}"
            self._wait_for("CrashLoopBackOff", text)
            await asyncio.sleep(delay)
        self._backoff.advance(time.monotonic())
        self.last = ended

    async def stop(self, grace: float) -> None:
        """End the process: the preStop hook, SIGTERM, and SIGKILL when the time is over."""
        program = self._program
        self._end_probes()
        if program is None or not program.alive:
            self._finish_simulation()
            return
        if self._prober is None or not self._prober.failed:
            self._event("Normal", "Killing", f"Stopping container {self.name}")
        begun = time.monotonic()
        if grace > 0:
            await self._pre_stop(grace)
        left = grace - (time.monotonic() - begun)
        await program.stop(max(min(grace, _LEAST_GRACE), left))
        self._set({"terminated": program.terminated(self.spec)})
        if self.log:
            self.log.close()

    async def _pre_stop(self, grace: float) -> None:
        hook = (self.spec.get("lifecycle") or {}).get("preStop")
        if not hook or self._prober is None:
            return
        with contextlib.suppress(asyncio.TimeoutError):
            success, text = await within(grace, self._prober.act(hook, grace))
            if not success:
                self._event("Warning", "FailedPreStopHook", f"PreStopHook failed: {text}")

    def _unwell(self, text: str, grace: float) -> None:
        """A probe has given the container up: it is stopped, and its end leads to a restart."""
        self._event("Normal", "Killing", text)
        self._pod.spawn(self.stop(grace))

    def _end_probes(self) -> None:
        if self._prober is not None:
            self._prober.end()

    def _finish_simulation(self) -> None:
        if self.simulated and self.running:
            started = self.state["running"]["startedAt"]
            self.state = {"terminated": {
                "exitCode": 0, "reason": "Completed", "startedAt": started, "finishedAt": timestamp(),
                "containerID": self._id,
            }}  # fmt: skip
        if self.log:
            self.log.close()
