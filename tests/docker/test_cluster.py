"""The k3d cluster on a real engine with the real k3d: made, healed, kept, removed. Argo CD from upstream's manifest."""

from __future__ import annotations

import dataclasses
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml
from docker_lab import CACHE, Missing, downloads, inventory
from hub import Hub
from ports import free_ports
from standins.images import ROOT, StandIn

from lab import plan
from lab.cluster import CONFIG_MAP, Cluster
from lab.engines.docker import images, sizes
from lab.engines.docker.argocd_install import ArgoCdInstall
from lab.engines.docker.cluster import K3dCluster
from lab.engines.docker.network import Network
from lab.engines.docker.site import Site
from lab.errors import LabError
from lab.plan import Outcome, Satisfied, Step, StepContext
from lab.settings import ClusterSettings, DownloadSettings, PortSettings, Settings, TimeoutSettings
from lab.state import State
from lab.waiting import Pending, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]
KEPT = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept", "namespace": "default"}}


class World:
    """A network, a container in GitLab's place, and the cluster."""

    def __init__(self, home: Path, hub: Hub, base: str, engine: docker.DockerClient) -> None:
        self.engine, self.home = engine, home
        kubernetes, argocd, app = free_ports(3)
        self.settings = Settings(
            name=f"c{home.name[-1]}{os.getpid():x}",
            size="small",
            mirrors=hub.mirrors,
            ports=PortSettings(kubernetes=kubernetes, argocd=argocd, app=app),
            timeouts=TimeoutSettings(cluster=240, start=30),
            downloads=DownloadSettings(base=base),
        )
        self.state = State(home / ".lab")

    def site(self) -> Site:
        path = f"{CACHE / 'bin'}:{os.environ['PATH']}"
        return Site(self.settings, self.state, {**os.environ, "PATH": path, "HOME": str(self.home)})

    def set(self, **settings: Any) -> None:
        self.settings = dataclasses.replace(self.settings, **settings)

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def kubernetes(self) -> Cluster:
        return Cluster(self.home / ".lab/kubeconfig")

    def container(self, part: str) -> Any:
        """``server-0`` or ``serverlb``."""
        return self.engine.containers.get(f"k3d-{self.name}-{part}")

    def gitlab(self) -> Step:
        """A container with GitLab's name and alias, which is all that the cluster needs of it."""

        def act(_context: StepContext) -> str:
            network = self.engine.networks.get(self.name)
            container = self.engine.containers.create(
                StandIn("redis").tag, ["sleep", "3600"], entrypoint="", name=f"{self.name}-gitlab",
                labels={"gitops-lab": self.name}, stop_signal="SIGKILL",
            )  # fmt: skip
            self.engine.networks.get("bridge").disconnect(container)
            network.connect(container, aliases=[f"gitlab.{self.settings.domain}"])
            container.start()
            return "started"

        def probe(_context: StepContext) -> plan.Probe:
            found = self.site().ours("containers", f"{self.name}-gitlab")
            return Satisfied() if found is not None else plan.Needed("it does not exist")

        return Step("gitlab", "GitLab's place", probe, act, ("network",))

    def steps(self, *, argocd: bool = False) -> list[Step]:
        site = self.site()
        parts = [K3dCluster(site), *([ArgoCdInstall(site)] if argocd else [])]
        pulls = [step for step in images.steps(site) if step.name.startswith("pull.k3")]
        # The cluster comes after the cache, which may have its images, and works without.
        pulls.append(Step("cache", "No cache", lambda _context: Satisfied(), lambda _context: ""))
        own = [step for part in (Network(site), *parts) for step in part.steps()]
        return [*pulls, self.gitlab(), *own]

    def outcomes(self, *, argocd: bool = False) -> dict[str, Outcome]:
        return {outcome.step: outcome for outcome in plan.run(self.steps(argocd=argocd))}

    def up(self, *, argocd: bool = False) -> dict[str, str]:
        """Run every step; returns what those that acted have done."""
        found = self.outcomes(argocd=argocd)
        errors = [str(outcome.error) for outcome in found.values() if outcome.error]
        assert not errors, "\n".join(errors)
        return {name: outcome.detail for name, outcome in found.items() if outcome.state == "done"}

    def refused(self) -> LabError:
        """Run every step; returns the error that ended it."""
        error = next(outcome.error for outcome in self.outcomes().values() if outcome.state == "failed")
        assert error
        return error

    def down(self) -> str:
        site = self.site()
        said = [part.down() for part in (ArgoCdInstall(site), K3dCluster(site))]
        for container in self.engine.containers.list(all=True, filters={"name": f"^{self.name}-gitlab$"}):
            container.remove(force=True)
        return " ".join([*said, Network(site).down()])

    def lookup(self, *resolver: str) -> str:
        """What the server node's nslookup says about GitLab's name."""
        return self.container("server-0").exec_run(["nslookup", "gitlab.lab.test", *resolver]).output.decode()

    def address(self, container: Any) -> str:
        container.reload()
        return container.attrs["NetworkSettings"]["Networks"][self.name]["IPAddress"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, hub: Hub, engine: docker.DockerClient) -> Iterator[World]:
    """One cluster for the tests of this file; each begins with whatever the one before has left."""
    try:
        with downloads() as base:
            world = World(tmp_path_factory.mktemp("cluster"), hub, base, engine)
            try:
                yield world
            finally:
                world.down()
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    """A cluster that serves, with an object in it that only a new cluster loses."""
    before = shared.settings
    shared.up()
    shared.kubernetes.apply(KEPT)
    yield shared
    shared.settings = before


def kept(world: World) -> bool:
    return world.kubernetes.get(CONFIG_MAP, "kept", "default") is not None


def test_a_cluster_is_what_the_file_says_and_is_left_alone_then(world: World) -> None:
    server, balancer = world.container("server-0"), world.container("serverlb")
    for node in (server, balancer):
        assert node.labels["gitops-lab"] == world.name
        assert list(node.attrs["NetworkSettings"]["Networks"]) == [world.name]
    bound = [entry for entries in balancer.attrs["HostConfig"]["PortBindings"].values() for entry in entries]
    assert {entry["HostIp"] for entry in bound} == {"127.0.0.1"}
    ports = world.settings.ports
    assert {int(entry["HostPort"]) for entry in bound} == {ports.kubernetes, ports.argocd, ports.app}
    assert server.attrs["HostConfig"]["Memory"] == sizes.of(world.site()).node_memory
    assert world.up() == {}


def test_secrets_are_for_their_owner_and_nothing_is_left_elsewhere(world: World) -> None:
    token = world.container("server-0").labels["k3d.cluster.token"]
    config = world.home / ".lab/kubeconfig"
    assert config.stat().st_mode & 0o777 == 0o600
    assert yaml.safe_load(config.read_text())["clusters"][0]["cluster"]["server"].startswith("https://127.0.0.1:")
    for path in (world.home / ".lab").rglob("*"):
        assert path.is_dir() or token not in path.read_text(errors="replace"), path
    assert token not in K3dCluster(world.site())._nodes.log()
    assert not (world.home / ".kube").exists()
    assert not (world.home / ".config").exists()


def test_a_killed_node_is_started_and_nothing_is_lost(world: World) -> None:
    world.container("server-0").kill()
    wait_until("the node's end", lambda: ended(world), timeout=20)
    assert "started" in world.up()["cluster"]
    assert kept(world)


def ended(world: World) -> bool | Pending:
    status = world.container("server-0").status
    return True if status == "exited" else Pending(status)


def test_stop_and_up_lose_nothing(world: World) -> None:
    assert K3dCluster(world.site()).stop() == f"cluster {world.name}"
    assert K3dCluster(world.site()).stop() == ""
    assert "started" in world.up()["cluster"]
    assert kept(world)
    assert world.up() == {}


def test_a_paused_node_goes_on(world: World) -> None:
    world.container("server-0").pause()
    assert list(world.up()) == ["cluster"]
    assert kept(world)


def test_a_load_balancer_that_hangs_is_restarted_and_nothing_else(world: World) -> None:
    before = world.container("server-0").attrs["State"]["StartedAt"]
    world.container("serverlb").exec_run(["sh", "-c", "kill -STOP -1"])
    world.set(timeouts=TimeoutSettings(cluster=240, start=3))
    assert world.up()["cluster"] == "looked after; restarting the load balancer"
    assert world.container("server-0").attrs["State"]["StartedAt"] == before


def test_a_node_that_has_lost_its_resolver_gets_it_back_and_nothing_is_lost(world: World) -> None:
    server = world.container("server-0")
    server.exec_run(["sh", "-c", "echo nameserver 127.0.0.9 > /etc/resolv.conf"])
    world.set(timeouts=TimeoutSettings(cluster=240, start=3))
    done = world.up()
    assert list(done) == ["cluster.names"]
    assert "stopping and starting the cluster" in done["cluster.names"]
    assert kept(world)


def test_a_lost_kubeconfig_is_written_again(world: World) -> None:
    (world.home / ".lab/kubeconfig").unlink()
    assert list(world.up()) == ["cluster"]
    assert kept(world)


def test_other_registries_reach_the_nodes_and_nothing_is_lost(world: World) -> None:
    world.set(mirrors={**world.settings.mirrors, "quay.io": "http://mirror.test:5000"})
    assert "nothing lost" in world.up()["cluster"]
    written = world.container("server-0").exec_run(["cat", "/etc/rancher/k3s/registries.yaml"]).output.decode()
    assert "http://mirror.test:5000" in str(yaml.safe_load(written)["mirrors"]["quay.io"]["endpoint"])
    assert kept(world)


def test_a_lost_load_balancer_means_a_new_cluster_which_is_said(world: World) -> None:
    world.container("serverlb").remove(force=True)
    said = world.up()["cluster"]
    assert "made anew" in said
    assert f"k3d-{world.name}-serverlb is missing" in said
    assert not kept(world)


def test_another_port_and_more_nodes_mean_a_new_cluster(world: World) -> None:
    (port,) = free_ports(1)
    world.set(ports=dataclasses.replace(world.settings.ports, app=port), cluster=ClusterSettings(agents=1))
    said = world.up()["cluster"]
    assert f"not at 127.0.0.1:{port}" in said
    assert f"k3d-{world.name}-agent-0 is missing" in said
    assert world.container("agent-0").labels["gitops-lab"] == world.name
    assert len(world.kubernetes.select(("v1", "Node"))) == 2
    assert world.up() == {}


def test_a_name_follows_its_container_when_addresses_are_swapped(world: World) -> None:
    gitlab = world.engine.containers.get(f"{world.name}-gitlab")
    everybody = [world.container("server-0"), world.container("serverlb"), gitlab]
    before = world.address(gitlab)
    for container in everybody:
        container.stop(timeout=5)
    for container in (world.container("serverlb"), world.container("server-0"), gitlab):
        container.start()  # as Docker does it after a restart, without k3d and in its own order
    now = world.address(gitlab)
    assert now != before
    world.up()
    assert f"Address: {now}" in world.lookup()
    assert f"Address: {now}" in world.lookup("10.43.0.10")
    assert kept(world)
    assert world.up() == {}


def test_a_resolver_that_was_led_astray_is_mended(world: World) -> None:
    wrong = {"lab.server": "lab.test:53 {\n    hosts {\n        192.0.2.1 gitlab.lab.test\n    }\n}\n"}
    world.kubernetes.patch(CONFIG_MAP, "coredns-custom", "kube-system", {"data": wrong})
    assert list(world.up()) == ["cluster.names"]
    assert "192.0.2.1" not in world.lookup("10.43.0.10")


def test_a_port_of_somebody_else_is_named_before_anything_is_removed(world: World) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        world.set(ports=dataclasses.replace(world.settings.ports, argocd=port))
        error = world.refused()
    assert error.code == "LAB-PORT-01"
    assert f"process {os.getpid()}" in error.evidence
    assert world.container("server-0").status == "running"


def test_a_port_taken_while_the_cluster_was_stopped_is_named_and_nothing_is_lost(world: World) -> None:
    K3dCluster(world.site()).stop()
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", world.settings.ports.app))
        server.listen()
        error = world.refused()
    assert error.code == "LAB-PORT-01"
    assert f"process {os.getpid()}" in error.evidence
    assert "started" in world.up()["cluster"]
    assert kept(world)


def test_a_cluster_of_somebody_else_is_neither_taken_nor_touched(world: World) -> None:
    world.down()
    label = {"app": "k3d", "k3d.cluster": world.name, "k3d.role": "server"}
    foreign = world.engine.containers.create(StandIn("redis").tag, name=f"k3d-{world.name}-server-0", labels=label)
    volume = world.engine.volumes.create(f"k3d-{world.name}-images", labels={"k3d.cluster": world.name})
    try:
        assert world.refused().code == "LAB-K3D-04"
        with pytest.raises(LabError, match="not this lab's"):
            K3dCluster(world.site()).down()
        with pytest.raises(LabError, match="not this lab's"):
            K3dCluster(world.site()).stop()
        foreign.reload()
    finally:
        foreign.remove(force=True)
    assert K3dCluster(world.site()).down() == ""
    volume.reload()  # still there: nothing says that it is the lab's
    volume.remove()


KILLED = """
import pathlib, pickle, sys
from lab.engines.docker.cluster import K3dCluster
from lab.engines.docker.site import Site
from lab.plan import StepContext
from lab.state import State
settings, folder, environ = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())
site = Site(settings, State(folder), environ)
next(step for step in K3dCluster(site).steps() if step.name == "cluster").act(StepContext())
"""


@pytest.mark.parametrize("when", ["tools", "server-0", "serverlb"])
def test_killed_in_the_middle_of_the_creation_the_next_run_converges(world: World, when: str) -> None:
    K3dCluster(world.site()).down()
    process = begin(world)
    try:
        name = f"k3d-{world.name}-{when}"
        wait_until(f"container {name}", lambda: there(world, name, process), timeout=60, longest=0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    assert "cluster" in world.up()
    assert world.up() == {}
    helpers = world.engine.containers.list(all=True, filters={"name": f"k3d-{world.name}-tools"})
    assert helpers == []


def begin(world: World) -> subprocess.Popen[bytes]:
    """A process of its own that makes the cluster."""
    path = world.home / "site.pickle"
    path.write_bytes(pickle.dumps((world.settings, world.state.folder, dict(world.site().environ))))
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", KILLED, str(path)], env=environ, stderr=subprocess.DEVNULL)


def there(world: World, name: str, process: subprocess.Popen[bytes]) -> bool | Pending:
    assert process.poll() is None, "it ended before it could be killed"
    found = world.engine.containers.list(all=True, filters={"name": f"^{name}$"}, ignore_removed=True)
    return True if found else Pending("not yet")


def test_a_persons_kubeconfig_gets_the_cluster_when_told_to(world: World) -> None:
    world.set(cluster=ClusterSettings(kubeconfig=True))
    world.up()
    personal = world.home / ".kube/config"
    try:
        assert yaml.safe_load(personal.read_text())["current-context"] == f"k3d-{world.name}"
        assert world.up() == {}
        K3dCluster(world.site()).down()
        assert yaml.safe_load(personal.read_text())["contexts"] == []
    finally:
        personal.unlink()
        personal.parent.rmdir()


def test_down_leaves_the_engine_as_it_was(world: World) -> None:
    world.down()
    before = mine(world)
    world.up()
    assert world.down() == f" cluster {world.name} network {world.name}"
    assert mine(world) == before
    assert not (world.home / ".lab/kubeconfig").exists()


def mine(world: World) -> dict[str, set[str]]:
    """The lab's share of the inventory, by its name; other tests may run beside this one."""
    found = inventory(world.engine)
    return {kind: {name for name in names if world.name in name} for kind, names in found.items()}


def test_argocd_is_installed_reached_and_left_alone_then(world: World) -> None:
    done = world.up(argocd=True)
    assert done["argocd.manifest"] == "59 objects applied"
    assert done["argocd"] == "v3.5.1 answers, its webhook too"
    assert world.up(argocd=True) == {}
    assert K3dCluster(world.site()).health()[0].ok
    assert ArgoCdInstall(world.site()).health()[0].ok


def test_argocds_parameters_are_kept_and_a_server_without_them_is_restarted(world: World) -> None:
    world.up(argocd=True)
    world.kubernetes.patch(CONFIG_MAP, "argocd-cmd-params-cm", "argocd", {"data": {"server.insecure": None}})
    pods = world.kubernetes.select(("v1", "Pod"), "argocd", labels="app.kubernetes.io/name=argocd-server")
    for pod in pods:
        world.kubernetes.delete(("v1", "Pod"), pod["metadata"]["name"], "argocd")
    assert set(world.up(argocd=True)) <= {"argocd.manifest", "argocd"}
    assert world.up(argocd=True) == {}
