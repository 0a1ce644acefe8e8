"""The k3d program: found or refused, run with the right surroundings, and its failures explained. Recorded output."""

import fcntl
import json
import os
import threading
from pathlib import Path

import pytest
import yaml
from docker_wire import engine as pretended

from lab.engines.docker import cluster_config, cures, k3d, kubeconfig
from lab.engines.docker.cures import Cure
from lab.engines.docker.nodes import _other_ports, _plain
from lab.engines.docker.site import Site
from lab.errors import CheckFailed, Interrupted, LabError, TimedOut, UsageError
from lab.plan import StepContext
from lab.settings import Settings, TimeoutSettings
from lab.state import State

TOKEN = "USYzZveJOyUVCQLQTGEi"
VERSION = """#!/bin/sh
if [ "$1" = version ]; then echo '{"k3d":"%s","k3s":"v1.35.5-k3s1"}'; exit 0; fi
"""
NO_IMAGE = r"""
time="2026-11-21T12:57:24Z" level=info msg="Prep: Network"
time="2026-11-21T12:57:25Z" level=error msg="failed to create container for node 'k3d-lab-server-0': docker failed to pull image 'rancher/k3s:v1.34.9-k3s1': Error response from daemon: Get \"https://registry-1.docker.io/v2/\": dial tcp: lookup registry-1.docker.io on 10.255.255.53:53: no such host"
time="2026-11-21T12:57:25Z" level=error msg="Failed to create cluster >>> Rolling Back"
time="2026-11-21T12:57:25Z" level=error msg="docker failed to remove the container 'k3d-lab-serverlb': Error response from daemon: No such container: k3d-lab-serverlb"
time="2026-11-21T12:57:25Z" level=fatal msg="Cluster creation FAILED, all changes have been rolled back!"
"""  # noqa: E501 - recorded
PORT = """
time="2026-11-21T13:01:02Z" level=error msg="failed to start serverlb: driver failed programming external connectivity: Bind for 127.0.0.1:8443 failed: port is already allocated"
time="2026-11-21T13:01:02Z" level=fatal msg="Cluster creation FAILED, rollback deactivated."
"""  # noqa: E501 - recorded


@pytest.fixture
def engine():
    with pretended() as found:
        yield found


@pytest.fixture
def site(engine, tmp_path):
    return make(engine, tmp_path)


def make(engine, tmp_path, path="", **settings):
    environ = {**engine.environ, "PATH": f"{path or tmp_path / 'path'}"}
    return Site(Settings(**settings), State(tmp_path / ".lab"), environ)


def program(folder: Path, script: str, version: str = "v5.9.0") -> Path:
    """A program called k3d."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "k3d"
    path.write_text(VERSION % version + script)
    path.chmod(0o755)
    return path


def test_the_program_on_the_path_is_taken_when_its_minor_version_fits(site, tmp_path):
    found = program(tmp_path / "path", "", "v5.9.3")
    assert k3d.K3d(site).present() == found


@pytest.mark.parametrize("version", ["v5.8.3", "v4.4.8", "", "nonsense"])
def test_another_version_on_the_path_is_left_alone(site, tmp_path, version):
    program(tmp_path / "path", "", version)
    assert k3d.K3d(site).present() is None


@pytest.mark.parametrize("script", ["#!/bin/sh\necho hello\n", "#!/bin/sh\nexit 1\n", "not a program"])
def test_what_is_called_k3d_and_is_none_has_no_version(tmp_path, script):
    path = tmp_path / "k3d"
    path.write_text(script)
    path.chmod(0o755)
    assert k3d.version(path) == ""


def test_debug_lines_before_the_version_do_no_harm(tmp_path):
    path = tmp_path / "k3d"
    path.write_text('#!/bin/sh\necho "DEBU[0000] runtime docker"\necho \'{"k3d":"v5.9.0","k3s":"x"}\'\n')
    path.chmod(0o755)
    assert k3d.version(path) == "v5.9.0"


def test_without_a_program_nothing_is_run(site):
    with pytest.raises(LabError) as caught:
        k3d.K3d(site).start("lab", timeout=5)
    assert caught.value.code == "LAB-K3D-02"


def test_create_gives_k3d_the_engine_the_images_and_a_folder_of_its_own(site, tmp_path, engine, monkeypatch):
    monkeypatch.setenv("LOG_LEVEL", "debug")
    monkeypatch.setenv("KUBECONFIG", "/home/learner/.kube/config")
    seen = tmp_path / "seen"
    program(tmp_path / "path", f'env > {seen}; echo "$@" >> {seen}; cat "$4" >> {seen}; touch "$TMPDIR/left-over"\n')
    k3d.K3d(site).create("kind: Simple\n", timeout=20)
    text = seen.read_text()
    assert f"DOCKER_HOST={engine.url}" in text
    assert "LOG_COLORS=false" in text
    assert "LOG_LEVEL=info" in text
    assert "K3D_IMAGE_LOADBALANCER=ghcr.io/k3d-io/k3d-proxy:5.9.0" in text
    assert "K3D_IMAGE_TOOLS=ghcr.io/k3d-io/k3d-tools:5.9.0" in text
    assert "/home/learner/.kube/config" not in text
    assert f"cluster create --config {tmp_path}/.lab/k3d.yaml\nkind: Simple" in text
    assert sorted(path.name for path in (tmp_path / ".lab").iterdir()) == ["README", "k3d.yaml"]


def test_a_failure_names_its_cause_and_not_the_clearing_up(site, tmp_path):
    program(tmp_path / "path", f"cat <<'END'\n{NO_IMAGE}\nEND\nexit 1\n")
    with pytest.raises(CheckFailed) as caught:
        k3d.K3d(site).create("x: y\n", timeout=20)
    assert caught.value.code == "LAB-DNS-01"
    assert "rancher/k3s:v1.34.9-k3s1" in caught.value.evidence
    assert "rolled back" not in caught.value.evidence
    assert "No such container" not in caught.value.evidence


def test_a_taken_port_is_a_known_cause(site, tmp_path):
    program(tmp_path / "path", f"cat >&2 <<'END'\n{PORT}\nEND\nexit 1\n")
    with pytest.raises(LabError) as caught:
        k3d.K3d(site).create("x: y\n", timeout=20)
    assert caught.value.code == "LAB-PORT-01"
    assert "8443" in caught.value.evidence


def test_what_k3s_said_explains_what_k3d_does_not():
    fatal = "E1121 kubelet is configured to not run on a host using cgroup v1"
    assert k3d.failure("k3d cluster create", "", f"starting\n{fatal}\n").code == "LAB-NODE-01"
    assert k3d.failure("k3d cluster create", "", "inotify_init: too many open files").code == "LAB-HOST-02"


def test_an_unknown_failure_shows_every_complaint():
    output = (
        'time="x" level=warning msg="first"\ntime="x" level=info msg="quiet"\ntime="x" level=error msg="\\"second\\""\n'
    )
    error = k3d.failure("k3d cluster start", output, "the node's last words")
    assert error.code == "LAB-K3D-03"
    assert error.evidence == 'first\n"second"\nthe node\'s last words'


def test_a_program_that_hangs_is_ended_and_explained_by_the_node(site, tmp_path):
    program(tmp_path / "path", "exec sleep 60\n")
    with pytest.raises(TimedOut) as caught:
        k3d.K3d(site, lambda: "level=info msg=waiting").start("lab", timeout=0.3)
    assert "waiting" in caught.value.evidence
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    "text", [f"env: K3S_TOKEN={TOKEN}", f'"k3d.cluster.token":"{TOKEN}"', f"k3d.cluster.token:{TOKEN} x"]
)
def test_the_clusters_token_is_hidden(text):
    assert TOKEN not in k3d.hide(text)
    assert "[masked]" in k3d.hide(text)


def test_the_token_does_not_reach_an_error(site, tmp_path):
    program(tmp_path / "path", f"echo 'level=error msg=\"bad node [K3S_TOKEN={TOKEN} A=b]\"' >&2\nexit 1\n")
    with pytest.raises(LabError) as caught:
        k3d.K3d(site).start("lab", timeout=20)
    assert TOKEN not in str(caught.value)
    assert "bad node" in str(caught.value)


def test_an_earlier_k3d_that_is_still_at_work_is_waited_for(site, tmp_path):
    (tmp_path / ".lab").mkdir()
    told: list[str] = []
    with (tmp_path / ".lab/k3d.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        context = StepContext(report=lambda seen: (told.append(seen), fcntl.flock(lock, fcntl.LOCK_UN)))
        with k3d.K3d(site).alone(context):
            pass
    assert len(told) == 1
    assert "another k3d is at work" in told[0]


def test_waiting_for_an_earlier_k3d_is_bounded_and_ends_with_ctrl_c(engine, tmp_path):
    site = make(engine, tmp_path, timeouts=TimeoutSettings(cluster=0.1))
    (tmp_path / ".lab").mkdir()
    stopped = threading.Event()
    stopped.set()
    with (tmp_path / ".lab/k3d.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for context, error in ((StepContext(), TimedOut), (StepContext(stopped), Interrupted)):
            with pytest.raises(error), k3d.K3d(site).alone(context):
                pytest.fail("two at once")


def test_what_k3d_starts_holds_the_lock_by_itself(site, tmp_path):
    program(tmp_path / "path", 'sleep 30 < /dev/null > /dev/null 2>&1 & echo $! > "$TMPDIR/../sleeper"\n')
    runner = k3d.K3d(site)
    with runner.alone(StepContext()):
        runner.start("lab", timeout=20)
    pid = int((tmp_path / ".lab/sleeper").read_text())
    try:
        with (tmp_path / ".lab/k3d.lock").open("a") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.kill(pid, 9)


CONFIG = yaml.safe_dump({
    "apiVersion": "v1", "kind": "Config", "current-context": "k3d-lab",
    "clusters": [{"name": "k3d-lab", "cluster": {"server": "https://127.0.0.1:6550"}}],
    "users": [{"name": "admin@k3d-lab", "user": {"token": "t"}}],
    "contexts": [{"name": "k3d-lab", "context": {"cluster": "k3d-lab", "user": "admin@k3d-lab"}}],
})  # fmt: skip
OTHER = {
    "apiVersion": "v1", "kind": "Config", "current-context": "work", "preferences": {"colors": True},
    "clusters": [{"name": "work", "cluster": {"server": "https://work"}}],
    "users": [{"name": "work", "user": {"token": "w"}}],
    "contexts": [{"name": "work", "context": {"cluster": "work", "user": "work"}}],
}  # fmt: skip


def test_a_persons_kubeconfig_gets_our_entries_and_loses_only_those(tmp_path):
    path, ours = tmp_path / ".kube/config", tmp_path / "kubeconfig"
    ours.write_text(CONFIG)
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(OTHER))
    assert not kubeconfig.joined(path, ours)
    kubeconfig.join(path, CONFIG)
    assert kubeconfig.joined(path, ours)
    assert yaml.safe_load(path.read_text())["current-context"] == "work"
    kubeconfig.join(path, CONFIG.replace("6550", "7000"))
    assert not kubeconfig.joined(path, ours)
    assert len(yaml.safe_load(path.read_text())["clusters"]) == 2
    kubeconfig.leave(path, "lab")
    assert yaml.safe_load(path.read_text()) == OTHER


def test_a_new_kubeconfig_is_for_its_owner_only_and_points_at_the_cluster(tmp_path):
    path = tmp_path / ".kube/config"
    kubeconfig.join(path, CONFIG)
    assert path.stat().st_mode & 0o777 == 0o600
    assert yaml.safe_load(path.read_text())["current-context"] == "k3d-lab"
    kubeconfig.leave(path, "lab")
    assert yaml.safe_load(path.read_text())["contexts"] == []


def test_a_kubeconfig_that_is_none_is_not_touched(tmp_path):
    path = tmp_path / "config"
    for text in ("- a list\n", "{"):
        path.write_text(text)
        with pytest.raises(UsageError) as caught:
            kubeconfig.join(path, CONFIG)
        assert caught.value.code == "LAB-K3D-06"
        assert path.read_text() == text


def test_without_being_told_no_kubeconfig_is_looked_at(tmp_path):
    assert kubeconfig.joined(None, tmp_path / "absent")
    kubeconfig.join(None, CONFIG)
    kubeconfig.leave(None, "lab")
    kubeconfig.leave(tmp_path / "absent", "lab")
    assert list(tmp_path.iterdir()) == []


def test_cures_are_tried_in_order_until_one_helps():
    done: list[str] = []

    def attempt(timeout: float) -> None:
        done.append(f"waited {timeout:g}")
        if "second" not in done:
            raise TimedOut("LAB-TIME-01", "nothing came", evidence="last seen: nothing")

    offered = [Cure(name, lambda name=name: done.append(name)) for name in ("first", "second", "third")]
    told: list[str] = []
    tried = cures.wait(StepContext(report=told.append), attempt, offered, patience=1, limit=9)
    assert tried == ["first", "second"]
    assert done == ["waited 1", "first", "waited 1", "second", "waited 1"]
    assert told[0] == "first, because last seen: nothing"


def test_when_no_cure_helps_the_last_wait_tells():
    def attempt(timeout: float) -> None:
        raise TimedOut("LAB-TIME-01", f"{timeout:g}")

    with pytest.raises(TimedOut, match="9"):
        cures.wait(StepContext(), attempt, [Cure("x", lambda: None)], patience=1, limit=9)


def test_a_port_published_elsewhere_is_told():
    bindings = {"6443": [{"HostIp": "127.0.0.1", "HostPort": "6550"}], "80/tcp": [{"HostIp": "", "HostPort": "8088"}]}
    assert list(_other_ports(bindings, {6443: 6550})) == []
    assert list(_other_ports(bindings, {80: 8088})) == ["publishes port 80 at :8088, not at 127.0.0.1:8088"]
    assert list(_other_ports(bindings, {443: 8443})) == ["publishes port 443 at nowhere, not at 127.0.0.1:8443"]


def test_empty_parts_that_k3d_adds_are_no_difference():
    wanted = {"mirrors": {"docker.io": {"endpoint": ["http://lab-cache:5000"]}}}
    written = {
        "mirrors": {"docker.io": {"endpoint": ["http://lab-cache:5000"], "rewrite": {}}},
        "configs": {},
        "auths": {},
    }
    assert _plain(written) == _plain(wanted)
    assert _plain(json.loads('{"mirrors": {}}')) != _plain(wanted)


def test_a_dollar_sign_would_be_replaced_by_k3d_and_is_refused(engine, tmp_path):
    site = Site(Settings(), State(tmp_path / "costs$5" / ".lab"), engine.environ)
    with pytest.raises(UsageError) as caught:
        cluster_config.render(site)
    assert caught.value.code == "LAB-K3D-05"
    assert "costs$5" in caught.value.evidence


def test_the_file_for_k3d_is_the_settings(site):
    config = yaml.safe_load(cluster_config.render(site))
    assert (config["metadata"]["name"], config["network"], config["image"]) == (
        "lab",
        "lab",
        "rancher/k3s:v1.34.9-k3s1",
    )
    assert config["registries"]["config"] == str(site.state.folder / "registries.yaml")
