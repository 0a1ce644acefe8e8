"""The Docker engine: its components as one, in the order in which they depend on each other."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from lab.causes import Evidence
from lab.engines.base import LogSource
from lab.engines.docker import images, store
from lab.engines.docker.argocd_install import ArgoCdInstall
from lab.engines.docker.cache import Cache
from lab.engines.docker.cluster import K3dCluster
from lab.engines.docker.component import Component
from lab.engines.docker.gitlab import GitLab
from lab.engines.docker.network import Network
from lab.engines.docker.runner import Runner
from lab.engines.docker.site import Site
from lab.errors import LabError
from lab.model import Check, Endpoints
from lab.plan import Step


class DockerEngine:
    """The real systems, in containers."""

    name = "docker"
    about = (
        "GitLab CE with its registry, a privileged runner, k3s made by k3d, and Argo CD, in containers. The first time "
        "takes as long as the downloads and GitLab's first boot."
    )
    forge_ready: tuple[str, ...] = ("gitlab.token",)
    runner_ready: tuple[str, ...] = ("runner.container",)
    # Wiring opens all its clients at once, when root's token is known; GitLab is the last to be ready anyway.
    cluster_ready: tuple[str, ...] = ("argocd", "gitlab.token")

    def __init__(self, site: Site) -> None:
        self._site = site

    @functools.cached_property
    def network(self) -> Network:
        """The network."""
        return Network(self._site)

    @functools.cached_property
    def gitlab(self) -> GitLab:
        """GitLab with its registry."""
        return GitLab(self._site, self.network)

    @functools.cached_property
    def runner(self) -> Runner:
        """The runner."""
        return Runner(self._site, self.network)

    @functools.cached_property
    def components(self) -> tuple[Component, ...]:
        """All of them; what another one needs stands before it."""
        return (
            self.network,
            Cache(self._site),
            self.gitlab,
            self.runner,
            K3dCluster(self._site),
            ArgoCdInstall(self._site),
        )

    def steps(self) -> Sequence[Step]:
        """Every image, then every component."""
        return [*images.steps(self._site), *(step for part in self.components for step in part.steps())]

    def endpoints(self) -> Endpoints:
        """Identities as they stand in the network, routes on 127.0.0.1."""
        ports = self._site.settings.ports
        return Endpoints(
            gitlab=self._site.gitlab,
            gitlab_route=f"http://127.0.0.1:{ports.gitlab}",
            registry=self._site.registry,
            registry_route=f"http://127.0.0.1:{ports.registry}",
            kubeconfig=self._site.state.folder / "kubeconfig",
            argocd=f"https://localhost:{ports.argocd}",
            webhook=f"http://{self._site.names.balancer}/api/webhook",
            app=f"http://localhost:{ports.app}",
            root_token=self.gitlab.access.token(),
        )

    def attach_runner(self, token: str) -> None:
        """Write config.toml and start the runner."""
        self.runner.attach(token)

    def health(self) -> list[Check]:
        """Every component's own view, asked for at once."""
        with ThreadPoolExecutor(len(self.components)) as pool:
            return [check for found in pool.map(_health, self.components) for check in found]

    def evidence(self) -> Sequence[Evidence]:
        """The runner's log since its start; GitLab's step looks at its own."""
        return self.runner.evidence()

    def stop(self) -> str:
        """Pause everything; nothing is lost."""
        return _said("Stopped", self._each(lambda part: part.stop()), "Nothing of this lab was running.")

    def down(self) -> str:
        """Remove containers, cluster and network; volumes, images and downloads stay."""
        return _said("Removed", self._each(lambda part: part.down()), "There was nothing to remove.")

    def has_data(self) -> bool:
        """Whether GitLab has a volume."""
        return self._site.ours("volumes", f"{self._site.names.gitlab}-data") is not None

    def purge(self, *, images: bool) -> str:
        """Remove the volumes, and with ``images`` the images that the lab pulled."""
        removed = self._each(lambda part: part.purge())
        if images:
            removed.append(_remove_images(self._site))
        return _said("Removed", removed, "There were no data.")

    def logs(self) -> Mapping[str, LogSource]:
        """Every log of every component."""
        return {name: source for part in self.components for name, source in part.logs().items()}

    def _each(self, work: Callable[[Component], str]) -> list[str]:
        """Ask every component, the dependent ones first."""
        return list(self._words(work))

    def _words(self, work: Callable[[Component], str]) -> Iterator[str]:
        for part in reversed(self.components):
            yield work(part)


def _health(part: Component) -> Sequence[Check]:
    try:
        return part.health()
    except LabError as error:
        name = type(part).__name__.lower()
        return [Check(f"engine.{name}", type(part).__name__, False, error.problem, error.hint)]


def _remove_images(site: Site) -> str:
    return store.remove(site)


def _said(verb: str, parts: Sequence[str], otherwise: str) -> str:
    said = ", ".join(filter(None, parts))
    return f"{verb} {said}." if said else otherwise
