"""GitLab CE with its registry in one container (contracts A).

``gitlab`` makes the container, ``gitlab.ready`` waits through its boot, the longest chain of the lab; nothing else
waits for it that need not. Root's password and token are in root_access.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lab import assets
from lab.causes import Evidence
from lab.engines.base import LogSource
from lab.engines.docker import containers, images, sizes
from lab.engines.docker.network import Network
from lab.engines.docker.root_access import RootAccess
from lab.engines.docker.site import Site
from lab.errors import LabError
from lab.model import Check
from lab.plan import Needed, Probe, Satisfied, Step, StepContext
from lab.remote import RemoteError, fetch
from lab.waiting import Pending

_FILE = "/etc/gitlab/gitlab.rb"
_EMBEDDED = "/opt/gitlab/embedded/bin"
"""Where the image has a curl in any case."""
_RECONFIGURED = "gitlab Reconfigured!"
_APPLYING = "gitlab-rb"
"""Fact that stands while the container holds a gitlab.rb that GitLab has not taken yet, after a failure or kill too."""
_STOP = 110
"""Seconds that GitLab gets to end its services."""
_RECONFIGURE = 600
"""Seconds for `gitlab-ctl reconfigure`."""
_RESTARTS = 3
_VOLUMES = {"config": "/etc/gitlab", "logs": "/var/log/gitlab", "data": "/var/opt/gitlab"}


class GitLab:
    """The container, its configuration, its boot and root's token."""

    def __init__(self, site: Site, network: Network) -> None:
        self._site = site
        self._network = network
        self.access = RootAccess(site)

    def steps(self) -> Sequence[Step]:
        """The container, its readiness, root's token."""
        ports, name = self._site.settings.ports, self._site.names.gitlab
        return [
            Step(
                "gitlab", f"GitLab's container {name}", self._probe, self._act, ("network", "pull.gitlab"),
                f"docker run --detach --name {name} --network {self._site.names.network} --network-alias "
                f"{self._site.host} --publish 127.0.0.1:{ports.gitlab}:{ports.gitlab} --publish "
                f"127.0.0.1:{ports.registry}:{ports.registry} --shm-size 256m --volume {name}-config:/etc/gitlab "
                f"--volume {name}-logs:/var/log/gitlab --volume {name}-data:/var/opt/gitlab "
                f"{images.reference(self._site, 'gitlab')}",
            ),
            Step(
                "gitlab.ready", "GitLab answers", self._probe_ready, self._act_ready, ("gitlab",),
                f"docker logs --follow {name}   # until: {_RECONFIGURED}\n"
                f"docker exec {name} curl --fail {self._inside}/-/readiness",
            ),
            self.access.step(),
        ]  # fmt: skip

    def health(self) -> Sequence[Check]:
        """Whether the container runs and GitLab answers inside."""
        seen = self._ready()
        return [Check("engine.gitlab", "GitLab", not isinstance(seen, Pending), _text(seen), "invoke up")]

    def stop(self) -> str:
        """End GitLab's services and the container."""
        return "GitLab" if containers.stop(self._site, self._site.names.gitlab, patience=_STOP) else ""

    def down(self) -> str:
        """Remove the container; the volumes keep everything."""
        return containers.remove(self._site, self._site.names.gitlab, patience=_STOP)

    def purge(self) -> str:
        """Remove configuration, logs and data."""
        removed = [containers.remove_volume(self._site, name) for name in self._volumes()]
        return ", ".join(filter(None, removed))

    def logs(self) -> Mapping[str, LogSource]:
        """GitLab's whole log."""
        return {"gitlab": containers.log(self._site, self._site.names.gitlab)}

    @property
    def _inside(self) -> str:
        return f"http://localhost:{self._site.settings.ports.gitlab}"

    def _volumes(self) -> dict[str, str]:
        return {f"{self._site.names.gitlab}-{part}": path for part, path in _VOLUMES.items()}

    def _configuration(self) -> str:
        """gitlab.rb as this lab's GitLab reads it."""
        return assets.render(
            "gitlab/gitlab.rb",
            external_url=self._site.gitlab,
            registry_url=f"http://{self._site.registry}",
            **sizes.of(self._site).gitlab_values(),
        )

    def _wanted(self) -> dict[str, Any]:
        """What the container is created from."""
        ports = self._site.settings.ports
        return {
            "image": images.reference(self._site, "gitlab"),
            "hostname": self._site.host,
            "ports": {f"{port}/tcp": ("127.0.0.1", port) for port in (ports.gitlab, ports.registry)},
            "shm_size": "256m",
            "mem_limit": sizes.of(self._site).gitlab_memory,
            "volumes": [f"{name}:{path}" for name, path in self._volumes().items()],
        }

    def _probe(self, _context: StepContext) -> Probe:
        container = self._site.ours("containers", self._site.names.gitlab)
        if container is None:
            return Needed("it does not exist")
        if container.labels.get(containers.CONFIG) != self._digest():
            return Needed("it was made from other settings")
        if containers.take(self._site, container, _FILE) != self._configuration():
            return Needed("gitlab.rb has changed")
        if self._site.state.fact(_APPLYING):
            return Needed("gitlab.rb was not applied")
        if containers.state(container) != "running":
            return Needed(f"it is {containers.state(container)}")
        return Satisfied(f"{self._site.gitlab}, {self._network.gitlab}")

    def _digest(self) -> str:
        return containers.digest(**self._wanted(), network=self._site.names.network, address=self._network.gitlab)

    def _act(self, context: StepContext) -> str:
        container = self._site.ours("containers", self._site.names.gitlab)
        if container is not None and container.labels.get(containers.CONFIG) != self._digest():
            context.report("ending the one made from other settings; its data stays")
            containers.remove(self._site, self._site.names.gitlab, patience=_STOP)
            container = None
        done = "started" if container is not None else "created"
        container = container or self._create()
        changed = containers.take(self._site, container, _FILE) != self._configuration()
        changed = changed or bool(self._site.state.fact(_APPLYING))
        if changed:
            self._site.state.put_fact(_APPLYING, {"applied": False})
            containers.put(self._site, container, _FILE, self._configuration())
        before = containers.state(container)
        if before != "running":
            containers.start(self._site, container)
        if before not in ("running", "paused"):
            self._site.state.put_fact(_APPLYING, None)  # a boot reads gitlab.rb
            return done
        if not changed:
            return "runs already" if before == "running" else "unpaused"
        context.report("gitlab-ctl reconfigure, some minutes")
        return self._reconfigure(container)

    def _create(self) -> Any:
        for name in self._volumes():
            containers.volume(self._site, name)
        endpoint = self._site.daemon.types.EndpointConfig(
            self._site.daemon.client.api._version,  # noqa: SLF001 - the SDK offers no public name for it
            aliases=[self._site.host],
            ipv4_address=self._network.gitlab,
        )
        with self._site.daemon.asking("create GitLab's container"):
            return self._site.daemon.client.containers.create(
                name=self._site.names.gitlab, detach=True, **self._wanted(),
                environment={"GITLAB_ROOT_PASSWORD": self.access.password()},
                network=self._site.names.network, networking_config={self._site.names.network: endpoint},
                restart_policy={"Name": "unless-stopped"},
                labels={**self._site.labels, containers.CONFIG: self._digest()},
            )  # fmt: skip

    def _reconfigure(self, container: Any) -> str:
        ran = self._site.daemon.execute(container, "timeout", str(_RECONFIGURE), "gitlab-ctl", "reconfigure")
        if ran.code:
            raise LabError(
                "LAB-GITLAB-20", "GitLab does not take its new configuration.", evidence=ran.output[-2000:],
                hint="Mend gitlab/gitlab.rb, then run `invoke up` again.",
            )  # fmt: skip
        self._site.state.put_fact(_APPLYING, None)
        return "configured anew"

    def _probe_ready(self, _context: StepContext) -> Probe:
        seen = self._ready()
        return Needed(seen.observation) if isinstance(seen, Pending) else Satisfied(seen)

    def _act_ready(self, context: StepContext) -> str:
        return context.wait(
            "GitLab to boot", self._booted, timeout=self._site.settings.timeouts.gitlab, interval=0.5, longest=3.0,
            hint="invoke logs gitlab · on a slow machine: invoke config.set timeouts.gitlab 1800",
            diagnose=self._evidence,
        )  # fmt: skip

    def _evidence(self) -> list[Evidence]:
        """GitLab's log of this start, for the causes that are known."""
        container = self._site.ours("containers", self._site.names.gitlab)
        if container is None:
            return []
        text = containers.tail(self._site, container, since=container.attrs["State"]["StartedAt"])
        return [Evidence("gitlab", text, container.name)]

    def _booted(self) -> str | Pending:
        """Ready, and configured since its start: services of an earlier boot answer before that (contracts A.6)."""
        seen = self._ready()
        if isinstance(seen, Pending):
            return seen
        container = self._site.ours("containers", self._site.names.gitlab)
        started = container.attrs["State"]["StartedAt"] if container is not None else ""
        if container is None or _RECONFIGURED not in containers.tail(self._site, container, 100_000, started):
            return Pending(f"the log does not say {_RECONFIGURED!r} yet")
        return seen

    def _ready(self) -> str | Pending:
        container = self._site.ours("containers", self._site.names.gitlab)
        if container is None:
            return Pending("there is no container")
        if containers.state(container) != "running":
            self._give_up(container)
            return Pending(f"the container is {containers.state(container)}")
        with self._site.daemon.asking("see what GitLab does"):
            processes = [" ".join(row) for row in container.top()["Processes"]]
        if any("gitlab-ctl reconfigure" in process or "cinc-client" in process for process in processes):
            return Pending(f"it configures itself: {self._last_words(container)}")
        asked = f"curl --silent --fail --max-time 5 {self._inside}/-/readiness"
        ran = self._site.daemon.execute(container, "sh", "-c", f"PATH=$PATH:{_EMBEDDED}; {asked}")
        if ran.code:
            return Pending(f"readiness: {ran.output.strip() or f'curl ends with {ran.code}'}")
        return self._answers()

    def _answers(self) -> str | Pending:
        """GitLab's API from here: a 401 proves that Rails answers (contracts A.6)."""
        try:
            status = fetch(f"http://127.0.0.1:{self._site.settings.ports.gitlab}/api/v4/version").status
        except RemoteError as error:
            return Pending(error.evidence)
        return "ready, and its API answers" if status == 401 else Pending(f"its API answers {status}")

    def _give_up(self, container: Any) -> None:
        if container.attrs.get("RestartCount", 0) >= _RESTARTS:
            raise LabError(
                "LAB-GITLAB-21", "GitLab's container ends again and again.",
                evidence=containers.tail(self._site, container, 15), hint="invoke logs gitlab",
            )  # fmt: skip

    def _last_words(self, container: Any) -> str:
        lines = [line.strip() for line in containers.tail(self._site, container, 5).splitlines()]
        return next((line[:100] for line in reversed(lines) if line), "")


def _text(seen: str | Pending) -> str:
    return seen.observation if isinstance(seen, Pending) else seen
