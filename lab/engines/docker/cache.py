"""A pull-through cache of Docker Hub for those that keep no images of their own: Docker daemons in jobs, and nodes.

Without it every job would download its base images again. It is a registry (distribution) on the lab's network; nobody
depends on it: a Docker daemon and a node go on to the next address when it does not answer. With a stock it asks
nobody itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lab.engines.base import LogSource
from lab.engines.docker import certificate, containers, images, mirrors, stock
from lab.engines.docker.site import Site
from lab.model import Check
from lab.plan import Needed, Probe, Satisfied, Step, StepContext

_DIND = "/lab-dind"
_CERTIFICATE, _KEY = "/lab-cache.crt", "/lab-cache.key"
_STOP = 5


class Cache:
    """The container, its volume, and the daemon.json that leads jobs to it."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._name = site.names.cache

    def steps(self) -> Sequence[Step]:
        """The container runs; the volume that jobs mount at /etc/docker says where it is."""
        return [
            Step(
                "cache", f"Cache of images {self._name}", self._probe, self._act, ("network", "pull.cache"),
                self._typed(),
            ),
            Step(
                "dind", "daemon.json for the Docker daemons in jobs", self._probe_dind, self._act_dind, ("cache",),
                f"docker cp daemon.json {self._name}:{_DIND}/daemon.json\n"
                f"docker cp cache.crt {self._name}:{_DIND}/certs.d/{mirrors.cache_host(self._site)}/ca.crt",
            ),
        ]  # fmt: skip

    def health(self) -> Sequence[Check]:
        """Whether the container runs; without it the lab works, only slower."""
        container = self._site.ours("containers", self._name)
        if container is None:
            return [Check("engine.cache", "Cache of images", False, "there is no container", "invoke up")]
        state = containers.state(container)
        if state == "running":
            upstream = mirrors.cache_upstream(self._site) or "its stock"
            return [Check("engine.cache", "Cache of images", True, f"{self._name}, from {upstream}")]
        if state != "restarting":
            return [Check("engine.cache", "Cache of images", False, f"it is {state}", "invoke up")]
        hint = "It begins when it reaches what it mirrors; without a network, run `invoke pull` while there is one."
        return [Check("engine.cache", "Cache of images", False, f"{state}: {self._last_words(container)}", hint)]

    def stop(self) -> str:
        """End it; what it keeps stays."""
        return "cache" if containers.stop(self._site, self._name, patience=_STOP) else ""

    def down(self) -> str:
        """Remove the container; the volumes stay."""
        return containers.remove(self._site, self._name, patience=_STOP)

    def purge(self) -> str:
        """Remove what it kept."""
        volumes = (self._name, self._site.names.dind)
        return ", ".join(filter(None, (containers.remove_volume(self._site, name) for name in volumes)))

    def logs(self) -> Mapping[str, LogSource]:
        """What was asked of it."""
        return {"cache": containers.log(self._site, self._name)}

    def create(self) -> Any:
        """The container as it should be, not started; the volumes with it. One made otherwise is replaced."""
        container = self._site.ours("containers", self._name)
        if container is not None and container.labels.get(containers.CONFIG) == self._digest():
            return container
        if container is not None:
            containers.remove(self._site, self._name, patience=_STOP)
        for name in (self._name, self._site.names.dind):
            containers.volume(self._site, name)
        with self._site.daemon.asking(f"create {self._name}"):
            return self._site.daemon.client.containers.create(
                name=self._name, detach=True, **self._wanted(),
                restart_policy={"Name": "unless-stopped"},
                labels={**self._site.labels, containers.CONFIG: self._digest()},
            )  # fmt: skip

    def _last_words(self, container: Any) -> str:
        """Why it ended: a registry panics when it cannot reach what it mirrors, and its stack comes after that."""
        lines = containers.tail(self._site, container, 60).strip().splitlines()
        said = next((line for line in reversed(lines) if line.startswith("panic:")), lines[-1] if lines else "")
        return said[:300]

    def _typed(self) -> str:
        """What a person would have typed for the container."""
        wanted = self._wanted()
        options = [f"-v {volume}" for volume in wanted["volumes"]]
        options += [f"-e {name}={value}" for name, value in wanted["environment"].items()]
        return (
            f"docker create --name {self._name} --network {wanted['network']} {' '.join(options)} {wanted['image']}\n"
            f"docker cp cache.crt {self._name}:{_CERTIFICATE} && docker cp cache.key {self._name}:{_KEY}\n"
            f"docker start {self._name}"
        )

    def _wanted(self) -> dict[str, Any]:
        """What the container is created from; its name is its address on the network, nothing is published."""
        upstream = mirrors.cache_upstream(self._site)
        return {
            "image": images.reference(self._site, "cache"),
            "environment": {
                "REGISTRY_HTTP_TLS_CERTIFICATE": _CERTIFICATE,
                "REGISTRY_HTTP_TLS_KEY": _KEY,
                **({"REGISTRY_PROXY_REMOTEURL": upstream} if upstream else {}),
            },
            "network": self._site.names.network,
            "volumes": [f"{self._name}:{stock.STORAGE}", f"{self._site.names.dind}:{_DIND}"],
        }

    def _digest(self) -> str:
        return containers.digest(**self._wanted(), certificate=certificate.of(self._site).certificate)

    def _probe(self, _context: StepContext) -> Probe:
        container = self._site.ours("containers", self._name)
        if container is None:
            return Needed("it does not exist")
        if container.labels.get(containers.CONFIG) != self._digest():
            return Needed("it was made from other settings")
        state = containers.state(container)
        # Without a network a registry that mirrors ends at once, and Docker starts it again until there is one.
        if state not in ("running", "restarting"):
            return Needed(f"it is {state}")
        lacking = stock.missing(self._site, container) if stock.on(self._site) else []
        return Needed(f"{len(lacking)} images of the stock are not in it") if lacking else Satisfied(state)

    def _act(self, context: StepContext) -> str:
        container, own = self.create(), certificate.of(self._site)
        containers.put(self._site, container, _CERTIFICATE, own.certificate)
        containers.put(self._site, container, _KEY, own.key)
        if stock.on(self._site):
            stock.fill(self._site, container, context)
        containers.start(self._site, container)
        return f"from {mirrors.cache_upstream(self._site) or 'its stock'}"

    def _shared(self) -> dict[str, str]:
        """What Docker daemons in jobs find at /etc/docker, by path."""
        return {
            "daemon.json": mirrors.daemon_json(self._site),
            f"certs.d/{mirrors.cache_host(self._site)}/ca.crt": certificate.of(self._site).certificate,
        }

    def _probe_dind(self, _context: StepContext) -> Probe:
        container = self._site.ours("containers", self._name)
        if container is None:
            return Needed("it does not exist")
        for path, text in self._shared().items():
            if containers.take(self._site, container, f"{_DIND}/{path}") != text:
                return Needed(f"{path} is not as it should be")
        return Satisfied()

    def _act_dind(self, _context: StepContext) -> str:
        container = self._site.ours("containers", self._name)
        for path, text in self._shared().items():
            containers.put(self._site, container, path, text, mode=0o644, below=_DIND)
        return f"Docker Hub through {mirrors.cache_url(self._site)}"
