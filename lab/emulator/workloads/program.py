"""The process of one container instance: what is run, where, with which environment, and how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.emulator.images import Image
from lab.emulator.kube.objects import timestamp
from lab.emulator.workloads import logs
from lab.emulator.workloads.environment import ConfigError, pod_variables
from lab.emulator.workloads.expansion import expand
from lab.emulator.workloads.objects import Obj
from lab.emulator.workloads.patience import within
from lab.emulator.workloads.platform import Layout

if TYPE_CHECKING:
    from lab.emulator.workloads.pod import Pod

_MESSAGE_LIMIT = 2048


class StartError(Exception):
    """The process could not be started; the message is containerd's."""


class Program:
    """One process; made by `prepare`, run by `start`."""

    def __init__(self, pod: Pod, layout: Layout) -> None:
        self.id = f"lab://{secrets.token_hex(32)}"
        self.started_at = timestamp()
        self._pod = pod
        self._layout = layout
        self._process: asyncio.subprocess.Process | None = None
        self._ended: asyncio.Task[int] | None = None
        self._failure = ""
        self._log: logs.Log | None = None
        self._finished_at = ""

    @classmethod
    async def prepare(cls, pod: Pod, spec: Mapping[str, Any], image: Image) -> Program:
        """Lay out the container's files and work out its command.

        Raises:
            ConfigError: the spec refers to something missing, or there is no command.
        """
        variables = environment(pod, spec, image.config)
        argv = command(spec, image.config, variables)
        try:
            layout = await pod.node.platform.lay_out(pod, spec, image, argv, variables)
        except OSError as error:
            raise ConfigError(f"cannot lay out the container's files: {error}") from error
        return cls(pod, layout)

    async def start(self, log: logs.Log) -> None:
        """Start the process, its output going to ``log``; raises StartError."""
        self._log = log
        self.started_at = timestamp()
        try:
            if self._layout.missing:
                raise FileNotFoundError(self._layout.missing)
            self._process = await self._spawn(self._layout.argv)
        except OSError as error:
            self._finished_at = timestamp()
            self._failure = _start_failure(self._layout.argv[0], self._layout.missing, error)
            self._layout.close()
            raise StartError(self._failure) from error
        self._ended = asyncio.create_task(self._watch(self._process), name=f"process of {self._pod.name}")

    async def _spawn(self, argv: list[str]) -> asyncio.subprocess.Process:
        children, layout = self._pod.node.children, self._layout
        return await children.spawn(argv, cwd=layout.folder, env=layout.env, stdout=asyncio.subprocess.PIPE)

    async def _watch(self, process: asyncio.subprocess.Process) -> int:
        """Copy the output until the process ends; what it left running ends with it, as in a container."""
        assert process.stdout  # noqa: S101 - spawned with a pipe
        assert self._log  # noqa: S101 - `start` has set it
        copying = asyncio.create_task(logs.copy(process.stdout, self._log))
        try:
            code = await process.wait()
            self._pod.node.children.forget(process)
            await asyncio.wait({copying}, timeout=2.0)  # a descendant that left the group may keep the pipe open
            self._pod.node.children.close_pipes(process)
        finally:
            copying.cancel()
            self._layout.close()
        self._finished_at = timestamp()
        return code if code >= 0 else 128 - code

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._ended is not None and not self._ended.done()

    async def ended(self) -> int:
        """Wait for the end; returns the exit code (128 for a process that never started)."""
        return 128 if self._ended is None else await asyncio.shield(self._ended)

    async def stop(self, grace: float) -> None:
        """SIGTERM, SIGKILL after ``grace`` seconds, and wait until the process is gone."""
        if self._process is not None and self._ended is not None:
            await self._pod.node.children.end(self._process, grace)
            await asyncio.shield(self._ended)

    def terminated(self, spec: Mapping[str, Any]) -> Obj:
        """The ``terminated`` state of the instance."""
        if self._failure:
            return {
                "exitCode": 128, "reason": "StartError", "message": self._failure,
                "startedAt": "1970-01-01T00:00:00Z", "finishedAt": self._finished_at, "containerID": self.id,
            }  # fmt: skip
        code = self._ended.result() if self._ended and self._ended.done() else 137
        state: Obj = {"exitCode": code, "reason": "Error" if code else "Completed"}
        if code and spec.get("terminationMessagePolicy") == "FallbackToLogsOnError" and self._log:
            state["message"] = _last_words(self._log.path)
        return {
            **state, "startedAt": self.started_at, "finishedAt": self._finished_at or timestamp(),
            "containerID": self.id,
        }  # fmt: skip

    async def execute(self, argv: list[str], timeout: float) -> tuple[int | None, str]:
        """Run a command in the container's surroundings; the exit code is None when time ran out."""
        wanted = self._layout.command(argv)
        if wanted is None:
            name = argv[0] if argv else ""
            return 127, f'exec: "{name}": executable file not found in $PATH'
        children = self._pod.node.children
        process = await self._spawn(wanted)
        try:
            output, _ = await within(timeout, process.communicate())
        except asyncio.TimeoutError:
            return None, ""
        finally:
            await asyncio.shield(children.end(process, 0.0))
            children.close_pipes(process)
        return process.returncode, output[:10240].decode(errors="replace")


def command(spec: Mapping[str, Any], settings: Mapping[str, Any], variables: Mapping[str, str]) -> list[str]:
    """The command line: the pod's command replaces entrypoint and cmd, its args replace cmd.

    Raises:
        ConfigError: neither names a command.
    """
    given = [expand(each, variables) for each in spec.get("command") or ()]
    args = [expand(each, variables) for each in spec.get("args") or ()]
    head = given or list(settings.get("Entrypoint") or ())
    tail = args or ([] if given else list(settings.get("Cmd") or ()))
    if not head + tail:
        raise ConfigError("no command specified")
    return head + tail


def environment(pod: Pod, spec: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, str]:
    """Every variable of the container, the later source winning; raises ConfigError."""
    image = dict(each.split("=", 1) for each in settings.get("Env") or () if "=" in each)
    services = pod.node.service_variables(pod.namespace)
    current = pod.current()
    own = pod_variables(current, spec, pod.lookup, {**services, **image})
    return pod.node.platform.variables(pod, spec, {**services, **image, **own})


def _start_failure(program: str, missing: str, error: OSError) -> str:
    if missing.startswith("/"):
        why = f'exec: "{missing}": stat {missing}: no such file or directory'
    elif missing:
        why = f'exec: "{missing}": executable file not found in $PATH'
    else:
        why = f"exec {program}: {(error.strerror or str(error)).lower()}"
    return (
        "failed to create containerd task: failed to create shim task: OCI runtime create failed: "
        f"runc create failed: unable to start container process: {why}: unknown"
    )


def _last_words(path: Path) -> str:
    with contextlib.suppress(OSError):
        lines = logs.select(path.read_bytes()[-65536:], 80, None)
        return b"".join(logs.render(line, timestamps=False) for line in lines)[-_MESSAGE_LIMIT:].decode(
            errors="replace"
        )
    return ""
