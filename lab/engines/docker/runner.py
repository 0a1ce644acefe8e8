"""GitLab Runner in a container; its jobs are containers beside it, made through Docker's socket (contracts C).

It is started only when GitLab answers and its token exists: three refusals put a runner to sleep (contracts C.1).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from lab import assets
from lab.causes import Evidence
from lab.engines.base import LogSource
from lab.engines.docker import containers, images, sizes
from lab.engines.docker.network import Network
from lab.engines.docker.site import Site
from lab.errors import UsageError
from lab.model import Check
from lab.plan import Needed, Probe, Satisfied, Step, StepContext

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TOKEN = "runner-token"  # noqa: S105 - the name under which wiring keeps it
_FILE = "/etc/gitlab-runner/config.toml"
_SOCKET = "/var/run/docker.sock"
_STOP = 35
"""Seconds until running jobs are given up; the runner's own shutdown_timeout is 30."""
_JOBS = "com.gitlab.gitlab-runner.runner.id"
"""Label that the runner puts on containers and volumes of its jobs; the value begins the runner's token."""
_RUNNERS = "runners"
"""Fact with the shortened tokens of every runner this lab had: `reset` makes a new one, the old one's volumes stay."""
_SHORT = 9
"""Characters of a token in that label (helpers.ShortenToken)."""


class Runner:
    """The container, its config.toml, and what its jobs leave behind."""

    def __init__(self, site: Site, network: Network) -> None:
        self._site = site
        self._network = network

    def steps(self) -> Sequence[Step]:
        """The container runs again after a stop; the first time wiring attaches it, when there is a token."""
        return [
            Step(
                "runner.container", f"Runner's container {self._site.names.runner}", self._probe, self._act,
                ("gitlab.token", "pull.runner", "pull.helper", "dind"),
                f"docker start {self._site.names.runner}",
            )
        ]  # fmt: skip

    def attach(self, token: str) -> None:
        """Give the runner its token and (re)start it; a restart clears the pause after refusals."""
        container = self._site.ours("containers", self._site.names.runner)
        if container is not None and container.labels.get(containers.CONFIG) != self._digest():
            containers.remove(self._site, self._site.names.runner, patience=_STOP)
            container = None
        container = container or self._create()
        self._site.state.put_fact(_RUNNERS, {"tokens": sorted({*self._known(), shortened(token)})})
        containers.put(self._site, container, _FILE, self._configuration(token))
        with self._site.daemon.asking(f"start {container.name}"):
            container.restart(timeout=_STOP)

    def health(self) -> Sequence[Check]:
        """Whether the container runs with the present configuration."""
        seen = self._wrong()
        return [Check("engine.runner", "Runner", not seen, seen or self._site.names.runner, "invoke up")]

    def evidence(self) -> Sequence[Evidence]:
        """What the runner has said since its container was started."""
        container = containers.running(self._site, self._site.names.runner)
        if container is None:
            return ()
        text = containers.tail(self._site, container, since=container.attrs["State"]["StartedAt"])
        return [Evidence("runner", text, container.name)]

    def stop(self) -> str:
        """End the runner; jobs that run get half a minute."""
        return "runner" if containers.stop(self._site, self._site.names.runner, patience=_STOP) else ""

    def down(self) -> str:
        """Remove the container and containers of jobs that were cut off; its configuration stays."""
        removed = containers.remove(self._site, self._site.names.runner, patience=_STOP)
        for container in self._jobs("containers", all=True):
            with self._site.daemon.asking(f"remove {container.name}"):
                container.remove(v=True, force=True)
        return removed

    def purge(self) -> str:
        """Remove the configuration and the volumes that jobs kept their caches in."""
        removed = [containers.remove_volume(self._site, self._site.names.runner_config)]
        for volume in self._jobs("volumes"):
            with self._site.daemon.asking(f"remove volume {volume.name}"):
                volume.remove(force=True)
            removed.append(f"volume {volume.name}")
        return ", ".join(filter(None, removed))

    def logs(self) -> Mapping[str, LogSource]:
        """What the runner says; jobs have their traces in GitLab."""
        return {"runner": containers.log(self._site, self._site.names.runner)}

    def _jobs(self, kind: str, **more: Any) -> list[Any]:
        """Containers or volumes of the jobs of this lab's runners."""
        known = self._known()
        if not known:
            return []
        with self._site.daemon.asking(f"list {kind} of jobs"):
            found = getattr(self._site.daemon.client, kind).list(filters={"label": _JOBS}, **more)
        return [thing for thing in found if shortened(_label(thing)) in known]

    def _known(self) -> set[str]:
        """The shortened tokens of the runners that this lab had and has."""
        token, fact = self._site.state.secret(TOKEN), self._site.state.fact(_RUNNERS) or {}
        return {*fact.get("tokens", ()), shortened(token or "")} - {""}

    def _wanted(self) -> dict[str, Any]:
        """What the container is created from."""
        return {
            "image": images.reference(self._site, "runner"),
            "volumes": [f"{self._site.names.runner_config}:/etc/gitlab-runner", f"{_SOCKET}:{_SOCKET}"],
            "network": self._site.names.network,
        }

    def _digest(self) -> str:
        return containers.digest(**self._wanted())

    def _create(self) -> Any:
        containers.volume(self._site, self._site.names.runner_config)
        with self._site.daemon.asking("create the runner's container"):
            return self._site.daemon.client.containers.create(
                name=self._site.names.runner, detach=True, **self._wanted(),
                restart_policy={"Name": "unless-stopped"},
                labels={**self._site.labels, containers.CONFIG: self._digest()},
            )  # fmt: skip

    def _configuration(self, token: str) -> str:
        """config.toml as GitLab Runner reads it."""
        text = assets.render(
            "runner/config.toml",
            name=self._site.settings.name,
            url=self._site.gitlab,
            token=token,
            executor="docker",
            concurrent=sizes.of(self._site).runner_concurrent,
            image=images.reference(self._site, "docker-cli"),
            helper=images.reference(self._site, "helper"),
            network=self._site.names.network,
            extra_hosts=json.dumps([f"{self._site.host}:{self._network.gitlab}"]),
            volumes=json.dumps(["/cache", f"{self._site.names.dind}:/etc/docker:ro"]),
            environment=json.dumps([f"{name}={value}" for name, value in images.build_arguments(self._site).items()]),
        )
        return checked(text)

    def _wrong(self) -> str:
        """Why the runner cannot work; empty when it can."""
        container = self._site.ours("containers", self._site.names.runner)
        if container is None:
            return "there is no container"
        if container.labels.get(containers.CONFIG) != self._digest():
            return "it was made from other settings"
        token = self._site.state.secret(TOKEN) or ""
        other = differs(_parsed(self._configuration(token)), _parsed(containers.take(self._site, container, _FILE)))
        if other:
            return f"config.toml is not as wanted: {other}"
        return "" if containers.state(container) == "running" else f"it is {containers.state(container)}"

    def _probe(self, _context: StepContext) -> Probe:
        if not self._site.state.secret(TOKEN):
            return Satisfied("not attached yet: its token is made after GitLab answers")
        wrong = self._wrong()
        return Needed(wrong) if wrong else Satisfied(self._site.names.runner)

    def _act(self, _context: StepContext) -> str:
        self.attach(self._site.state.secret(TOKEN) or "")
        return "started"


def checked(text: str) -> str:
    """The text of config.toml, which the runner would not start with otherwise.

    Raises:
        UsageError: it is no TOML.
    """
    try:
        tomllib.loads(text)
    except ValueError as error:
        raise UsageError(
            "LAB-RUNNER-09", "runner/config.toml is not valid TOML.", evidence=str(error),
            hint="Mend it; `git diff runner/config.toml` shows what was changed.",
        ) from error  # fmt: skip
    return text


def shortened(token: str) -> str:
    """A runner's token as the labels of its jobs carry it."""
    return token.removeprefix("glrt-")[:_SHORT]


def _label(thing: Any) -> str:
    attributes = thing.attrs
    return str(((attributes.get("Config") or attributes).get("Labels") or {}).get(_JOBS, ""))


def differs(wanted: Any, found: Any, where: str = "") -> str:
    """The first key of ``wanted`` that ``found`` does not hold, as a path; empty when it holds all of them.

    The runner itself may add keys, when its token is rotated for example.
    """
    if isinstance(wanted, dict):
        below = found if isinstance(found, dict) else {}
        seen = (differs(value, below.get(key), f"{where}.{key}") for key, value in wanted.items())
        return next(filter(None, seen), "")
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        seen = (differs(*pair, where) for pair in zip(wanted, found, strict=True))
        return next(filter(None, seen), "")
    return "" if wanted == found else where.lstrip(".")


def _parsed(text: str | None) -> dict[str, Any]:
    try:
        return dict(tomllib.loads(text or ""))
    except ValueError:
        return {}
