"""The node's agent: a worker for each pod that is bound to the node, and their logs."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from lab.emulator.kube.errors import StatusError, bad_request
from lab.emulator.workloads import logs
from lab.emulator.workloads.cluster import PODS
from lab.emulator.workloads.node import Node
from lab.emulator.workloads.objects import Obj, terminating
from lab.emulator.workloads.pod import Pod

STOP_GRACE = 0.25
"""Seconds that processes get when the emulator stops: `down` is to take a second."""


class Kubelet:
    """Runs the node's pods."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._pods: dict[str, Pod] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def reconcile(self, namespace: str, name: str) -> None:
        """Start or end the worker of one pod."""
        pod = self._node.cluster.find(PODS, namespace, name)
        uid = pod["metadata"]["uid"] if pod else None
        for other in list(self._pods.values()):
            if (other.namespace, other.name) == (namespace, name) and other.uid != uid:
                self._spawn(self._forget(other))
        if pod is None or pod["spec"].get("nodeName") != self._node.platform.machine.name:
            return
        worker = self._pods.get(pod["metadata"]["uid"])
        if terminating(pod):
            self._end(pod, worker)
        elif worker is None and (pod.get("status") or {}).get("phase") not in {"Succeeded", "Failed"}:
            worker = self._pods[pod["metadata"]["uid"]] = Pod(self._node, pod)
            worker.start()

    def _end(self, pod: Obj, worker: Pod | None) -> None:
        if worker is not None:
            worker.terminate()
            return
        metadata = pod["metadata"]
        with contextlib.suppress(StatusError):
            self._node.cluster.store.delete(
                *PODS, metadata["namespace"], metadata["name"], grace=0, uid=metadata["uid"]
            )

    async def _forget(self, pod: Pod) -> None:
        self._pods.pop(pod.uid, None)
        await pod.kill()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def configuration_changed(self, namespace: str) -> None:
        """A ConfigMap, Secret or claim of the namespace is new or different."""
        for pod in self._pods.values():
            if pod.namespace == namespace:
                pod.refresh_volumes()

    async def stop(self) -> None:
        """End every process; the pods are started again by the next emulator."""
        await asyncio.gather(*(pod.kill(STOP_GRACE, keep=True) for pod in self._pods.values()))
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._pods.clear()

    def clean(self) -> None:
        """Remove the folders of pods that no longer exist; blocking, at start."""
        known = {pod["metadata"]["uid"] for pod in self._node.cluster.store.select(*PODS)}
        for folder in self._node.folder.glob("*-*-*-*-*"):
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)

    # --- logs

    def logs(
        self,
        namespace: str,
        pod: str,
        container: str | None,
        *,
        follow: bool = False,
        previous: bool = False,
        tail_lines: int | None = None,
        since_seconds: float | None = None,
        timestamps: bool = False,
    ) -> AsyncIterator[bytes]:
        """A container's log as ``kubectl logs`` prints it.

        Raises:
            StatusError: at once; 404 no such pod, 400 no such container, or it has no log yet (texts as upstream).
        """
        found = self._node.cluster.store.get(*PODS, namespace, pod)
        status = _status_of(found, container)
        worker = self._pods.get(found["metadata"]["uid"]) or Pod(self._node, found)
        path = worker.log_path(status["name"], _instance(found, status, previous=previous))
        live = worker.container(status["name"])
        current = live.log if live and live.log and live.log.path == path and not live.log.closed else None
        since = None if since_seconds is None else time.time() - since_seconds
        return logs.read(path, current, follow=follow, tail=tail_lines, since=since, timestamps=timestamps)


def _status_of(pod: Obj, container: str | None) -> Obj:
    """The status of the wanted container; without a name, of the only one or the default one."""
    name, spec = pod["metadata"]["name"], pod["spec"]
    names = [each["name"] for each in spec["containers"]]
    init = [each["name"] for each in spec.get("initContainers") or ()]
    if not container:
        if len(names) > 1:
            extra = f" or one of the init containers: [{' '.join(init)}]" if init else ""
            choice = f"choose one of: [{' '.join(names)}]{extra}"
            raise bad_request(f"a container name must be specified for pod {name}, {choice}")
        container = names[0]
    if container not in names + init:
        raise bad_request(f"container {container} is not valid for pod {name}")
    status = pod.get("status") or {}
    for each in [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]:
        if each["name"] == container:
            return dict(each)
    raise bad_request(f'container "{container}" in pod "{name}" is waiting to start: ContainerCreating')


def _instance(pod: Obj, status: Obj, *, previous: bool) -> int:
    """Which instance's log is meant: the number of restarts before it."""
    name, pod_name, restarts = status["name"], pod["metadata"]["name"], int(status["restartCount"])
    waiting = status["state"].get("waiting")
    ran = (status.get("lastState") or {}).get("terminated")
    if previous:
        if not ran:
            raise bad_request(f'previous terminated container "{name}" in pod "{pod_name}" not found')
        return restarts if waiting else restarts - 1
    if waiting and not ran:
        why = waiting.get("reason") or "ContainerCreating"
        if why in {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}:
            raise bad_request(f'container "{name}" in pod "{pod_name}" is waiting to start: {_pull_text(why)}')
        raise bad_request(f'container "{name}" in pod "{pod_name}" is waiting to start: {why}')
    return restarts


def _pull_text(reason: str) -> str:
    return (
        "image can't be pulled"
        if reason in {"ErrImagePull", "ErrImageNeverPull"}
        else "trying and failing to pull image"
    )
