"""Brings a container's image: pull policy, events, ErrImagePull and ImagePullBackOff (pkg/kubelet/images)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lab.emulator.images import Image, PullError
from lab.emulator.workloads.backoff import go_duration
from lab.emulator.workloads.images import pull_policy, pull_secrets

if TYPE_CHECKING:
    from lab.emulator.workloads.pod import Pod

_SHOWN = 1.0
"""Seconds at most that ErrImagePull is there to be seen before it turns into ImagePullBackOff."""


class Fetcher:
    """Fetches the image of one container, again and again until it is there."""

    def __init__(self, pod: Pod, spec: dict[str, Any], wait_for: Callable[[str, str], None]) -> None:
        self._pod = pod
        self._spec = spec
        self._reference: str = spec["image"]
        self._wait_for = wait_for
        self._backoff = pod.node.backoff()

    def _event(self, kind: str, reason: str, message: str) -> None:
        self._pod.node.event(self._pod.current(), kind, reason, message, self._spec["name"])

    async def fetch(self) -> Image:
        """The image, sooner or later: failures are shown and tried again with back-off."""
        while True:
            try:
                return await self._image()
            except PullError as error:  # noqa: PERF203 - each attempt may fail
                self._complain(error)
                await self._pause(error)

    def _complain(self, error: PullError) -> None:
        if error.reason == "InvalidImageName":
            self._event("Warning", "InspectFailed", error.message)
        elif error.reason == "ErrImagePull":
            self._event("Warning", "Failed", f'Failed to pull image "{self._reference}": {error.message}')
        self._event("Warning", "Failed", f"Error: {error.reason}")
        self._wait_for(error.reason, error.message)

    async def _pause(self, error: PullError) -> None:
        delay = self._backoff.advance(time.monotonic())
        if error.reason == "ErrImagePull":
            await asyncio.sleep(min(_SHOWN, delay / 4))
            text = f'Back-off pulling image "{self._reference}"'
            self._event("Normal", "BackOff", text)
            self._event("Warning", "Failed", "Error: ImagePullBackOff")
            self._wait_for("ImagePullBackOff", f"{text}: {error.reason}: {error.message}")
        await self._pod.nudged(delay)

    async def _image(self) -> Image:
        policy = pull_policy(self._spec)
        image = self._pod.node.images.held(self._reference)
        if image is not None and policy != "Always":
            self._event("Normal", "Pulled", f'Container image "{self._reference}" already present on machine')
            return image
        if policy == "Never":
            text = f'Container image "{self._reference}" is not present with pull policy of Never'
            self._event("Warning", "ErrImageNeverPull", text)
            raise PullError("ErrImageNeverPull", text)
        return await self._pull()

    async def _pull(self) -> Image:
        credentials, missing = pull_secrets(self._pod.current(), self._pod.node.cluster)
        if missing:
            head = f"Unable to retrieve some image pull secrets ({', '.join(missing)})"
            text = f"{head}; attempting to pull the image may not succeed."
            self._pod.node.event(self._pod.current(), "Warning", "FailedToRetrieveImagePullSecret", text)
        self._event("Normal", "Pulling", f'Pulling image "{self._reference}"')
        begun = time.monotonic()
        image = await self._pod.node.images.pull(self._reference, credentials)
        took = go_duration(time.monotonic() - begun)
        text = f'Successfully pulled image "{self._reference}" in {took} ({took} including waiting).'
        self._event("Normal", "Pulled", text)
        return image
