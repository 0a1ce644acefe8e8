"""The whole loop on a real Docker engine with the real k3d: only the contents of images are stand-ins."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import docker
import pytest
from docker_lab import DockerLab

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]


def version(lab: DockerLab) -> str:
    with urllib.request.urlopen(f"http://localhost:{lab.ports['app']}/version", timeout=10) as answer:
        return str(answer.read().decode())


def test_every_check_passes(lab: DockerLab) -> None:
    found = lab.checks()
    assert {"gitlab.ready", "registry.401", "runner.alive", "hook.delivered", "app.synced", "app.answers"} <= {
        check["id"] for check in found
    }
    assert [check for check in found if check["ok"] is not True] == []


def test_a_second_up_does_nothing(lab: DockerLab) -> None:
    assert lab.up() == 0


def test_smoke_brings_a_commit_to_its_pod(lab: DockerLab) -> None:
    before = version(lab)
    hops = [one for one in lab.documents("smoke", "--message", "Try it", timeout=300) if one["type"] == "hop"]
    assert [hop["id"] for hop in hops] == ["T0", "T1", "T2", "T3", "T4", "T5"]
    assert version(lab) != before


def test_nothing_is_published_beyond_loopback(lab: DockerLab, engine: docker.DockerClient) -> None:
    ours = engine.containers.list(filters={"label": f"gitops-lab={lab.name}"})
    assert len(ours) >= 5
    bindings = [one for each in ours for found in each.ports.values() for one in found or ()]
    assert {binding["HostIp"] for binding in bindings} == {"127.0.0.1"}
    assert {int(binding["HostPort"]) for binding in bindings} == set(lab.ports.values())


def test_jobs_are_privileged_and_know_gitlab(lab: DockerLab, engine: docker.DockerClient) -> None:
    """The containers of a running job, as the engine sees them."""
    gitlab = lab.container(engine, "gitlab").attrs["NetworkSettings"]["Networks"][lab.name]["IPAddress"]
    seen: dict[str, dict[str, Any]] = {}
    with lab.start("smoke", "--message", "Watched") as smoke:
        while smoke.poll() is None:
            for each in engine.containers.list(ignore_removed=True, filters={"network": lab.name}):
                kind = each.labels.get("com.gitlab.gitlab-runner.type", "")
                if kind in ("build", "predefined", "service"):  # not what only looks whether a service answers
                    seen[f"{kind} {each.name}"] = each.attrs["HostConfig"]
        output, _ = smoke.communicate()
    assert smoke.returncode == 0, output
    assert {name.split()[0] for name in seen} >= {"build", "service"}
    for name, host in seen.items():
        assert host["NetworkMode"] == lab.name, name
        assert f"gitlab.lab.test:{gitlab}" in (host["ExtraHosts"] or []), name
        assert host["Privileged"] is True or name.startswith("predefined"), name


def test_secrets_are_for_their_owner_and_on_no_command_line(lab: DockerLab) -> None:
    for path in (lab.home / ".lab/secrets").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert lab.kubeconfig.stat().st_mode & 0o777 == 0o600
    token = (lab.home / ".lab/secrets/root-token").read_text()
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert not [command for command in commands if token.encode() in command]


def test_kubectl_works_with_the_labs_own_kubeconfig(lab: DockerLab) -> None:
    done = subprocess.run(
        ["kubectl", "--kubeconfig", lab.kubeconfig, "get", "nodes", "-o", "json"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert [node["metadata"]["name"] for node in json.loads(done.stdout)["items"]] == [f"k3d-{lab.name}-server-0"]


def test_stop_and_start_lose_nothing(lab: DockerLab, engine: docker.DockerClient) -> None:
    before = version(lab)
    lab.invoke("stop", timeout=240)
    assert engine.containers.list(filters={"label": f"gitops-lab={lab.name}"}) == []
    lab.invoke("start", timeout=400)
    assert version(lab) == before
    assert lab.up() == 0


def test_a_restart_with_swapped_addresses_is_healed(lab: DockerLab, engine: docker.DockerClient) -> None:
    """What a restart of Docker or WSL does: containers come back by themselves, in any order, with other addresses."""
    parts = ("runner", "cache", "server-0", "serverlb", "gitlab")
    network = engine.networks.get(lab.name)
    for part in parts:
        lab.container(engine, part).stop(timeout=5)
    guests = []
    image = lab.container(engine, "cache").image.id
    for _ in range(3):  # somebody else takes the addresses that were free for a moment
        guest = engine.containers.create(image, entrypoint=["sleep", "1d"], network=lab.name)
        guest.start()
        guests.append(guest)
    try:
        for part in reversed(parts):
            lab.container(engine, part).start()
        lab.up()
        assert [check for check in lab.checks() if check["ok"] is not True] == []
        lab.invoke("smoke", timeout=300)
    finally:
        for guest in guests:
            guest.remove(force=True)
    assert network.name == lab.name


@pytest.mark.parametrize("part", ["gitlab", "runner", "cache", "server-0", "serverlb"])
def test_a_killed_container_is_noticed_and_mended(lab: DockerLab, engine: docker.DockerClient, part: str) -> None:
    container = lab.container(engine, part)
    container.update(restart_policy={"Name": "no"})
    container.kill()
    assert lab.up() >= 1
    assert [check for check in lab.checks() if check["ok"] is not True] == []


def test_paused_containers_are_named_and_go_on(lab: DockerLab, engine: docker.DockerClient) -> None:
    parts = ("gitlab", "runner", "cache", "server-0", "serverlb")
    for part in parts:
        lab.container(engine, part).pause()
    assert lab.invoke("status", timeout=240).count("is paused") == len(parts)
    assert lab.up() >= 1
    assert {lab.container(engine, part).status for part in parts} == {"running"}


def test_stop_ends_what_is_paused(lab: DockerLab, engine: docker.DockerClient) -> None:
    for part in ("gitlab", "runner", "cache"):
        lab.container(engine, part).pause()
    lab.invoke("stop", timeout=240)
    assert engine.containers.list(filters={"label": f"gitops-lab={lab.name}"}) == []
    lab.up()


@pytest.mark.parametrize("part", ["gitlab", "runner", "cache"])
def test_a_removed_container_is_made_again_with_its_data(
    lab: DockerLab, engine: docker.DockerClient, part: str
) -> None:
    before = version(lab)
    lab.container(engine, part).remove(force=True)
    assert lab.up() >= 1
    assert version(lab) == before
    assert [check for check in lab.checks() if check["ok"] is not True] == []
