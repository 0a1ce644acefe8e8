"""One pod on the node: volumes, init containers, containers, status, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

from lab.emulator.kube.errors import StatusError
from lab.emulator.kube.objects import timestamp
from lab.emulator.workloads import podstatus, volumes
from lab.emulator.workloads.cluster import PODS, Kind
from lab.emulator.workloads.container import Container
from lab.emulator.workloads.environment import ConfigError
from lab.emulator.workloads.node import Node
from lab.emulator.workloads.objects import Obj
from lab.emulator.workloads.patience import cancelled, within
from lab.emulator.workloads.ports import ANNOTATION, SIMULATED, format_ports
from lab.emulator.workloads.resources import qos_class

log = logging.getLogger(__name__)

KEPT_LOGS = 2
"""Instances of a container whose logs are kept: the current and the previous one."""


class Pod:
    """A pod's worker. `start` once; then either it runs to its end by itself, or `terminate` or `kill` ends it."""

    def __init__(self, node: Node, pod: Obj) -> None:
        self.node = node
        self.spec: dict[str, Any] = pod["spec"]
        self.uid: str = pod["metadata"]["uid"]
        self.name: str = pod["metadata"]["name"]
        self.namespace: str = pod["metadata"]["namespace"]
        self.has_init = bool(self.spec.get("initContainers"))
        self.folder: Path = node.folder / self.uid
        self.places: dict[str, Path] = {}
        self.ports: dict[int, int] = {}
        self.address = ""
        self._known = pod
        self._sandbox = False
        self._verdict: dict[str, str] = {}
        self._ending: asyncio.Task[None] | None = None
        self._main: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._waiting: set[asyncio.Future[None]] = set()
        self._closed = False
        old = {each["name"]: each for key in ("initContainerStatuses", "containerStatuses")
               for each in (pod.get("status") or {}).get(key) or ()}  # fmt: skip
        self._restarted = bool(old)
        self._init = [
            Container(self, spec, init=True, old=old.get(spec["name"]))
            for spec in self.spec.get("initContainers") or ()
        ]
        self._containers = [
            Container(self, spec, init=False, old=old.get(spec["name"])) for spec in self.spec["containers"]
        ]

    # --- what containers ask for

    def current(self) -> Obj:
        """The pod as the API has it now, or as it was last when it is gone."""
        found = self.node.cluster.store.find(*PODS, self.namespace, self.name)
        if found is not None and found["metadata"]["uid"] == self.uid:
            self._known = found
        return self._known

    def lookup(self, kind: Kind, name: str) -> Obj | None:
        """An object of the pod's namespace."""
        return self.node.cluster.store.find(*kind, self.namespace, name)

    @property
    def grace(self) -> float:
        """Seconds between SIGTERM and SIGKILL."""
        value = self.spec.get("terminationGracePeriodSeconds")
        return 30.0 if value is None else float(value)

    def container_ports(self, spec: Mapping[str, Any]) -> dict[int, int]:
        """The container's declared ports with the real ones; 0 is what the first container listens on without one."""
        declared = {int(port["containerPort"]) for port in spec.get("ports") or ()}
        if spec["name"] == self.spec["containers"][0]["name"] and not declared:
            declared = {0}
        return {port: real for port, real in self.ports.items() if port in declared}

    def log_path(self, container: str, restarts: int) -> Path:
        """File of a container instance's log."""
        return self.folder / "logs" / container / f"{restarts}.log"

    def prune_logs(self, container: str, restarts: int) -> None:
        """Drop the logs of instances before the previous one."""
        for path in (self.folder / "logs" / container).glob("*.log*"):
            number = path.name.partition(".")[0]
            if number.isdecimal() and int(number) <= restarts - KEPT_LOGS:
                path.unlink(missing_ok=True)

    def container(self, name: str) -> Container | None:
        """The container of that name."""
        return next((each for each in [*self._containers, *self._init] if each.name == name), None)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something that must go on when the container that asked for it ends."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def nudge(self) -> None:
        """Something that the pod may wait for has changed."""
        for waiter in self._waiting:
            _wake(waiter)

    async def nudged(self, timeout: float) -> None:
        """Wait for a `nudge`, at most ``timeout`` seconds."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiting.add(waiter)
        timer = loop.call_later(timeout, _wake, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiting.discard(waiter)

    # --- life

    def start(self) -> None:
        """Begin to run the pod."""
        self._main = asyncio.create_task(self._run(), name=f"pod {self.namespace}/{self.name}")
        self._main.add_done_callback(self._ran)

    def _ran(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            log.error("pod %s/%s failed", self.namespace, self.name, exc_info=error)
            self.node.event(self.current(), "Warning", "FailedSync", f"error syncing pod: {error}")

    async def _run(self) -> None:
        await self._admit()
        self.publish()
        deadline = self.spec.get("activeDeadlineSeconds")
        if deadline is None:
            await self._live()
            return
        try:
            await within(float(deadline), self._live())
        except asyncio.TimeoutError:
            await self._exceed()

    async def _exceed(self) -> None:
        text = "Pod was active on the node longer than the specified deadline"
        self._verdict = {"phase": "Failed", "reason": "DeadlineExceeded", "message": text}
        self.node.event(self.current(), "Normal", "DeadlineExceeded", text)
        await asyncio.gather(*(each.stop(self.grace) for each in [*self._containers, *self._init]))
        self.publish()

    async def _live(self) -> None:
        await self._set_up_volumes()
        self._sandbox = True
        self.publish()
        if not await self._initialise():
            self.publish()
            return
        await self._together([each for each in self._containers if not self._is_over(each)])
        await asyncio.gather(*(each.stop(self.grace) for each in self._init if each.sidecar))
        self.publish()

    def _is_over(self, container: Container) -> bool:
        return "terminated" in container.state and self.spec.get("restartPolicy") == "Never"

    def real(self) -> list[Container]:
        """The containers that a process runs for."""
        return [each for each in self._containers + self._init if not each.simulated]

    async def _admit(self) -> None:
        """Get an address and write down what people and services need to know."""
        self.address = await self.node.platform.admit(self)
        real = self.real()
        wanted = {ANNOTATION: format_ports(self.ports)} if self.ports else {}
        if len(real) < len(self._containers) + len(self._init):
            wanted[SIMULATED] = "true"
        annotations = self.current()["metadata"].get("annotations") or {}
        if wanted.items() - annotations.items():
            body = {"metadata": {"annotations": wanted}}
            self.node.cluster.store.patch(*PODS, self.namespace, self.name, body)
        if self._restarted:
            text = "Pod sandbox changed, it will be killed and re-created."
            self.node.event(self.current(), "Normal", "SandboxChanged", text)
        elif real and (found := self.node.platform.ignored(self.spec)):
            text = f"not enforced by the emulator: {', '.join(found)}"
            self.node.event(self.current(), "Normal", "NotEnforced", text)

    async def _set_up_volumes(self) -> None:
        """Prepare every volume; what is missing is waited for, as the kubelet does."""
        for volume in self.spec.get("volumes") or ():
            while True:
                try:
                    self.places[volume["name"]] = self._prepare(volume)
                    break
                except ConfigError as error:
                    text = f'MountVolume.SetUp failed for volume "{volume["name"]}" : {error}'
                    self.node.event(self.current(), "Warning", "FailedMount", text)
                    await self.nudged(10.0)

    def _prepare(self, volume: dict[str, Any]) -> Path:
        if all(each.simulated for each in self._containers + self._init):
            return self.folder  # nobody will look into it
        folder = self.folder / "volumes"
        return volumes.prepare(self.current(), volume, folder, self.node.config.data, self.lookup)

    def refresh_volumes(self) -> None:
        """Bring the files of ConfigMaps and Secrets up to date; one that is gone keeps its last files."""
        for volume in self.spec.get("volumes") or ():
            if volume["name"] in self.places and any(key in volume for key in ("configMap", "secret", "projected")):
                with contextlib.suppress(ConfigError):
                    self._prepare(volume)
        self.nudge()

    async def _initialise(self) -> bool:
        """Run the init containers in order; returns whether the containers may start."""
        for container in self._init:
            if container.sidecar:
                self.spawn(self._sidecar(container))
                while not container.started:
                    await self.nudged(0.2)
            elif await container.run() != 0:
                return False
        return True

    async def _sidecar(self, container: Container) -> None:
        await container.run()

    async def _together(self, containers: list[Container]) -> None:
        tasks = [asyncio.create_task(each.run(), name=f"container {self.name}/{each.name}") for each in containers]
        try:
            await asyncio.gather(*tasks)
        finally:
            await cancelled(tasks)

    # --- status

    def publish(self) -> None:
        """Write the pod's status when it differs from what the API has."""
        if self._closed:
            return
        pod = self.node.cluster.find(PODS, self.namespace, self.name)
        if pod is None or pod["metadata"]["uid"] != self.uid:
            return
        with contextlib.suppress(StatusError):  # a write that lost a race is made up for by the next one
            self.node.cluster.put_status(PODS, pod, self._status(pod))
        self.nudge()

    def _status(self, pod: Obj) -> Obj:
        before = pod.get("status") or {}
        init = [each.status() for each in self._init]
        main = [each.status() for each in self._containers]
        phase = self._verdict.get("phase") or podstatus.phase(self.spec, init, main)
        status: Obj = {
            **{key: before[key] for key in ("nominatedNodeName", "resize", "observedGeneration") if key in before},
            "phase": phase,
            "conditions": podstatus.conditions(pod, phase, init, main, sandbox=self._sandbox),
            "hostIP": self.node.platform.machine.address,
            "hostIPs": [{"ip": self.node.platform.machine.address}],
            "startTime": before.get("startTime") or timestamp(),
            **self._verdict,
        }
        if self._sandbox:
            status.update(podIP=self.address, podIPs=[{"ip": self.address}])
        if init:
            status["initContainerStatuses"] = init
        return {**status, "containerStatuses": main, "qosClass": before.get("qosClass") or qos_class(self.spec)}

    # --- end

    def terminate(self) -> None:
        """End the pod because its deletion was asked for; a second call may only make it quicker."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._terminate(), name=f"end of pod {self.namespace}/{self.name}")

    async def _terminate(self) -> None:
        pod = self.current()
        grace = float(pod["metadata"].get("deletionGracePeriodSeconds") or 0)
        await self._cancel()
        await self.node.settled()  # services have let go of the pod before it hears of its end
        await asyncio.gather(*(each.stop(grace) for each in self._containers))
        await asyncio.gather(*(each.stop(grace) for each in self._init))
        self.publish()
        await self._close()
        with contextlib.suppress(StatusError):
            self.node.cluster.store.delete(*PODS, self.namespace, self.name, grace=0, uid=self.uid)

    async def kill(self, grace: float = 0.0, *, keep: bool = False) -> None:
        """End the pod at once, without a word to the API; ``keep`` leaves its files for a later start."""
        self._closed = True
        if self._ending is not None:
            await cancelled([self._ending])
        await self._cancel()
        await asyncio.gather(*(each.stop(grace) for each in [*self._containers, *self._init]))
        await self._close(keep=keep)

    async def _cancel(self) -> None:
        await cancelled([task for task in (self._main, *self._tasks) if task is not None])

    async def _close(self, *, keep: bool = False) -> None:
        self._closed = True
        self.node.platform.release(self)
        if not keep:
            await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
