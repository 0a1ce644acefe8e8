"""What the lab's pieces are for: each one taken away or bent breaks the loop, is named, and `up` puts it back.

A stand-in that were blind to one of them would let these tests fail.
"""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
from typing import Any

import docker
import pytest
from docker_lab import DockerLab
from ports import free_port

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]


def read(container: Any, path: str) -> str:
    chunks, _ = container.get_archive(path)
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
        file = archive.extractfile(archive.getmembers()[0])
        assert file
        return file.read().decode()


def write(container: Any, path: str, text: str) -> None:
    folder, _, name = path.rpartition("/")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(text.encode()), 0o600
        archive.addfile(entry, io.BytesIO(text.encode()))
    container.put_archive(folder, buffer.getvalue())


def bend(container: Any, path: str, pattern: str, replacement: str) -> None:
    """Change a file in a container; the pattern must be there."""
    before = read(container, path)
    after = re.sub(pattern, replacement, before, flags=re.MULTILINE)
    assert after != before, f"{path} does not hold {pattern}:\n{before}"
    write(container, path, after)


def mended(lab: DockerLab) -> None:
    """`up` finds something to do, and afterwards the whole loop is right again."""
    assert lab.up() >= 1
    assert [check for check in lab.checks() if check["ok"] is not True] == []
    lab.invoke("smoke", timeout=300)


CONFIG = "/etc/gitlab-runner/config.toml"


def test_without_network_and_hosts_a_job_does_not_find_gitlab(lab: DockerLab, engine: docker.DockerClient) -> None:
    runner = lab.container(engine, "runner")
    bend(runner, CONFIG, r"^ *(network_mode|extra_hosts) = .*$", "")
    runner.restart(timeout=5)
    output = lab.invoke("smoke", code=1, timeout=300)
    assert "gitlab.lab.test" in output
    assert re.search(r"LAB-[A-Z]+-\d+|LAB-FOLLOW-T1", output)
    mended(lab)


def test_another_gitlab_rb_is_noticed_and_gitlab_configured_anew(lab: DockerLab, engine: docker.DockerClient) -> None:
    gitlab = lab.container(engine, "gitlab")
    path = "/etc/gitlab/gitlab.rb"
    wanted = read(gitlab, path)
    bend(gitlab, path, r"^sidekiq\['concurrency'\] = .*$", "sidekiq['concurrency'] = 7")
    done = {one["step"]: one["detail"] for one in lab.documents("up", timeout=400) if one.get("state") == "done"}
    assert done["gitlab"] == "configured anew"
    assert read(gitlab, path) == wanted
    assert lab.up() == 0


def test_a_gitlab_rb_that_was_not_applied_to_the_end_is_applied(lab: DockerLab) -> None:
    (lab.home / ".lab/gitlab-rb.json").write_text('{"applied": false}')  # a failure or a kill in `reconfigure`
    done = {one["step"]: one["detail"] for one in lab.documents("up", timeout=400) if one.get("state") == "done"}
    assert done == {"gitlab": "configured anew"}
    assert lab.up() == 0


def test_without_the_mirror_a_node_cannot_pull(lab: DockerLab, engine: docker.DockerClient) -> None:
    node = lab.container(engine, "server-0")
    bend(node, "/etc/rancher/k3s/registries.yaml", r"http://gitlab\.lab\.test", "https://gitlab.lab.test")
    node.restart(timeout=10)
    lab.container(engine, "serverlb").restart(timeout=5)
    output = lab.invoke("smoke", "--timeout", "90", code=(1, 4), timeout=300)
    assert re.search(r"ImagePull|HTTP response to HTTPS|pull", output)
    mended(lab)


def test_another_hook_token_is_noticed(lab: DockerLab) -> None:
    subprocess.run(
        ["kubectl", "--kubeconfig", lab.kubeconfig, "-n", "argocd", "patch", "secret", "argocd-secret",
         "--type", "merge", "-p", '{"stringData": {"webhook.gitlab.secret": "another-one"}}'],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    assert [check["id"] for check in lab.checks() if check["ok"] is not True] != []
    mended(lab)


def test_another_port_moves_the_cluster_and_is_published_there_only(
    lab: DockerLab, engine: docker.DockerClient
) -> None:
    before = lab.ports["app"]
    lab.ports["app"] = free_port()
    try:
        mended(lab)
        published = lab.container(engine, "serverlb").ports["80/tcp"]
        assert published == [{"HostIp": "127.0.0.1", "HostPort": str(lab.ports["app"])}]
    finally:
        lab.ports["app"] = before
        mended(lab)
