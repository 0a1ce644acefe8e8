"""GitLab, K3s and a registry, each alone in a container of testcontainers, for the contract suite.

The images are those of the lab's own table: their stand-ins, or with LAB_UPSTREAM=1 the upstream ones. Then run
tests/docker/test_contract.py alone: both kinds go by the same names on the engine.

Each system is given as the LAB_TARGET_* variables that tests/conftest.py reads.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import requests
import yaml
from hub import Hub
from ports import free_ports
from standin_world import output
from standins import images
from testcontainers.community.k3s import K3SContainer
from testcontainers.core.config import ConnectionMode, testcontainers_config
from testcontainers.core.container import DockerContainer

from lab import assets
from lab.engines.docker import references, sizes
from lab.engines.docker.pins import PINS
from lab.engines.docker.root_access import new_password
from lab.waiting import Pending, wait_until

UPSTREAM = os.environ.get("LAB_UPSTREAM") == "1"
BOOT = 900 if UPSTREAM else 60
"""Seconds until a system answers; the real GitLab takes minutes."""
Variables = dict[str, str]

testcontainers_config.ryuk_disabled = True  # its image may not be here; each container below ends with its `with`
# Ports are published on this loopback, also where this machine is a container and testcontainers would look elsewhere.
testcontainers_config.connection_mode_override = ConnectionMode.docker_host
testcontainers_config.tc_host_override = "127.0.0.1"


class K3s(K3SContainer):
    """A node with its ingress, on this machine's loopback."""

    def __init__(self, image: str, registries: str) -> None:
        super().__init__(image)
        del self.env["K3S_URL"]  # the address of a server to join, for k3s; this one is the server
        self.with_command("server")  # with Traefik, unlike testcontainers
        self.with_copy_into_container(registries.encode(), "/etc/rancher/k3s/registries.yaml")
        self.api, self.app = _publish(self, "6443/tcp", "80/tcp")

    def _connect(self) -> None:
        """Wait for a Ready node and for Traefik; testcontainers would wait for a line in the log."""
        ready = ("kubectl", "wait", "--for=condition=Ready", "node", "--all", "--timeout=1s")

        def look() -> bool | Pending:
            code, text = output(self.get_wrapped_container(), *ready)
            return True if code == 0 and "condition met" in text else Pending(text[-500:])

        wait_until("a Ready node", look, timeout=BOOT)
        _answers(f"http://127.0.0.1:{self.app}/", 404)

    def config_yaml(self) -> str:
        """The kubeconfig for this machine."""
        text = output(self.get_wrapped_container(), "cat", "/etc/rancher/k3s/k3s.yaml")[1]
        return text.replace("127.0.0.1:6443", f"127.0.0.1:{self.api}")


@contextmanager
def gitlab(client: docker.DockerClient) -> Iterator[Variables]:
    """GitLab with its registry and root's token, configured by the lab's own files."""
    container = DockerContainer(_image(client, "gitlab"), shm_size="256m")
    web, registry = free_ports(2)
    container.ports = {f"{port}/tcp": ("127.0.0.1", port) for port in (web, registry)}
    url, password, token = f"http://127.0.0.1:{web}", new_password(), f"glpat-{secrets.token_urlsafe(24)}"
    configuration = assets.render(
        "gitlab/gitlab.rb", external_url=url, registry_url=f"http://127.0.0.1:{registry}",
        **sizes.SIZES[0].gitlab_values(),
    )  # fmt: skip
    container.with_env("GITLAB_ROOT_PASSWORD", password)
    container.with_copy_into_container(configuration.encode(), "/etc/gitlab/gitlab.rb")
    script = assets.render("gitlab/root-token.rb", name="contract", token=token)
    container.with_copy_into_container(script.encode(), "/tmp/root-token.rb")
    with container:
        _answers(f"{url}/-/readiness", 200)
        code, text = output(container.get_wrapped_container(), "gitlab-rails", "runner", "/tmp/root-token.rb")
        assert code == 0, text
        yield {
            "LAB_TARGET_GITLAB": url,
            "LAB_TARGET_REGISTRY": f"127.0.0.1:{registry}",
            "LAB_TARGET_TOKEN": token,
            "LAB_TARGET_PASSWORD": password,
            "LAB_TARGET_CALLBACK": _gateway(container),
        }


@contextmanager
def k3s(client: docker.DockerClient, hub: Hub, folder: Path) -> Iterator[Variables]:
    """A Kubernetes of one node with an ingress; ``folder`` gets its kubeconfig."""
    mirrors = {} if UPSTREAM else {name: {"endpoint": [url]} for name, url in hub.mirrors.items()}
    with K3s(_image(client, "k3s"), yaml.safe_dump({"mirrors": mirrors})) as container:
        (folder / "kubeconfig").write_text(container.config_yaml())
        yield {
            "LAB_TARGET_KUBECONFIG": str(folder / "kubeconfig"),
            "LAB_TARGET_APP": f"http://127.0.0.1:{container.app}",
            "LAB_TARGET_IMAGE": _pin("python").name,
        }


@contextmanager
def registry(client: docker.DockerClient) -> Iterator[Variables]:
    """A registry that knows no users."""
    container = DockerContainer(_image(client, "cache"))
    container.with_env("REGISTRY_STORAGE_DELETE_ENABLED", "true")
    (port,) = _publish(container, "5000/tcp")
    with container:
        _answers(f"http://127.0.0.1:{port}/v2/", 200)
        yield {"LAB_TARGET_REGISTRY": f"127.0.0.1:{port}"}


def _pin(name: str) -> references.Reference:
    return references.parse(next(pin.image for pin in PINS if pin.name == name))


def _image(client: docker.DockerClient, name: str) -> str:
    """The image of one of the lab's pins, on the engine."""
    pin = _pin(name)
    if not UPSTREAM:
        stand_in = images.standing_in_for(f"{pin.repository_name}:{pin.tag}")
        images.ensure(client, stand_in)
        return stand_in.tag
    pulled = client.images.pull(pin.repository_name, tag=pin.tag)
    assert not set(images.LABELS) & set(pulled.labels), f"{pin} was pulled from where stand-ins are"
    return pin.name


def _publish(container: DockerContainer, *inside: str) -> list[int]:
    """Publish these ports and no others, on loopback; answers where. testcontainers would publish on every address."""
    found = free_ports(len(inside))
    container.ports = {port: ("127.0.0.1", outside) for port, outside in zip(inside, found, strict=True)}
    return found


def _gateway(container: DockerContainer) -> str:
    """This machine's address on the container's network."""
    found = container.get_wrapped_container()
    found.reload()
    (network,) = found.attrs["NetworkSettings"]["Networks"].values()
    return str(network["Gateway"])


def _answers(url: str, status: int) -> None:
    def look() -> bool | Pending:
        try:
            seen = requests.get(url, timeout=5).status_code
        except requests.RequestException as error:
            return Pending(str(error)[:300])
        return True if seen == status else Pending(f"it answers {seen}")

    wait_until(f"{status} from {url}", look, timeout=BOOT)
