"""Every finding from the readings of a machine, with its remedy."""

import hashlib
import json
import re
import threading
from functools import cache
from pathlib import Path
from typing import ClassVar

import pytest

from lab import doctor
from lab.doctor import checks_docker
from lab.doctor.recorded import Recorded
from lab.errors import Interrupted, MachineError
from lab.settings import Settings

MACHINES = Path(__file__).parents[1] / "fixtures/machines"
NAMES = sorted(path.stem for path in MACHINES.glob("*.json"))


def machine(name):
    return Recorded.load(MACHINES / f"{name}.json")


@cache
def findings(name, engine):
    return {finding.id: finding for finding in doctor.examine(machine(name), Settings(), engine=engine)}


# machine, engine, finding, state, part of what was measured, part of the remedy, whether it stops `up`
TABLE = [
    ("arm-board", "docker", "tool.git", "problem", "not installed", "$ sudo apt-get install -y git", True),
    ("cgroup-v1", "embedded", "tool.git", "problem", "2.25.1; 2.31 is needed", "ppa:git-core/ppa", True),
    ("port-5050-taken", "embedded", "tool.python", "warning", "3.15.0", "3.10 to 3.14", False),
    ("wsl2-docker-desktop", "embedded", "tool.venv", "warning",
     "/usr/bin/python3", "$ cd '/mnt/c/Users/Anna Berg/lab'\n$ python3 -m venv .venv", False),
    ("wsl1", "docker", "system.kernel", "problem", "WSL 1", "wsl --set-version Ubuntu-22.04 2", True),
    ("wsl1", "embedded", "system.kernel", "problem", "WSL 1", "wsl --set-version", False),
    ("wsl2-native-docker", "docker", "system.kernel", "ok",
     "WSL 2 (2.6.1.0), Ubuntu 24.04.3 LTS, kernel 6.6.87.2", "", False),
    ("debian-without-docker", "embedded", "system.kernel", "ok", "Debian GNU/Linux 13 (trixie)", "", False),
    ("wsl2-native-docker", "docker", "wsl.network", "ok", "nat", "", False),
    ("wsl2-native-docker-stopped", "embedded", "wsl.network", "ok", "mirrored: WSL shares Windows'", "", False),
    ("wsl1", "docker", "wsl.network", "unknown", "no wslinfo", "wsl --update", False),
    ("wsl2-native-docker-stopped", "docker", "wsl.systemd", "warning", "no systemd", "[boot]\\nsystemd=true", False),
    ("wsl2-docker-desktop", "docker", "wsl.systemd", "ok", "Docker Desktop starts from Windows", "", False),
    ("wsl2-docker-desktop", "embedded", "clone.place", "problem",
     "/mnt/c/Users/Anna Berg/lab is on a Windows drive (9p)",
     "$ git clone '/mnt/c/Users/Anna Berg/lab' ~/lab", False),
    ("wsl2-docker-desktop", "embedded", "clone.line-endings", "problem",
     ".gitlab-ci.yml, tasks.py (core.autocrlf true)", "git diff --quiet HEAD\n$ git rm --cached -rq .", False),
    ("wsl2-native-docker-stopped", "embedded", "clone.line-endings", "warning",
     "core.autocrlf is true", "$ git -C /home/anna/lab config core.autocrlf input", False),
    ("skewed-clock", "docker", "system.clock", "problem", "2520 s behind", "$ sudo hwclock --hctosys", False),
    ("wsl2-native-docker-stopped", "docker", "system.clock", "unknown", "no server", "", False),
    ("ubuntu-4gb", "docker", "system.cpu", "warning", "1 processor:", "two", False),
    ("ubuntu-4gb", "docker", "system.memory", "problem",
     "3.8 GiB and 0 MiB swap", "$ sudo fallocate -l 4G /swapfile", True),
    ("ubuntu-4gb", "embedded", "system.memory", "ok", "2.3 GiB available", "", False),
    ("wsl2-docker-desktop", "docker", "system.memory", "warning",
     "3.7 GiB and 1.0 GiB swap",
     "In %UserProfile%\\.wslconfig on Windows, then run there: wsl --shutdown\n[wsl2]\nmemory=6GB\nswap=4GB\n", False),
    ("full-disk", "docker", "disk.free", "problem", "9120 files", "$ docker builder prune", True),
    ("full-disk", "embedded", "disk.free", "problem",
     "115 MiB free of 233.6 GiB at /home/anna/lab", "$ du -xh", True),
    ("wsl2-docker-desktop", "docker", "disk.free", "unknown", "a disk of its own", "$ docker system df", False),
    ("full-disk", "docker", "disk.eviction", "problem", "1% free", "$ docker image prune --all", False),
    ("ubuntu-4gb", "docker", "system.inotify", "warning",
     "128 instances, 122865 watches", "max_user_instances=1280\\nfs.inotify.max_user_watches=655360", False),
    ("wsl2-native-docker", "docker", "system.inotify", "ok", "1280 instances", "", False),
    ("wsl2-native-docker-stopped", "embedded", "lab.folder", "problem",
     "others may read /home/anna/lab/.lab, ", "$ chmod 600 /home/anna/lab/.lab/secrets/root-token", False),
    ("wsl2-native-docker-stopped", "embedded", "lab.leftovers", "warning",
     "/secrets/.k2x_91ab, /home/anna/lab/.lab/embedded/ready",
     "$ rm -f /home/anna/lab/.lab/secrets/.k2x_91ab", False),
    ("debian-without-docker", "embedded", "lab.leftovers", "ok", "nothing left", "", False),
    ("ubuntu-4gb", "docker", "port.gitlab", "problem", "Port 8929 is in use: container gitlab has it",
     "$ docker stop gitlab", True),
    ("port-5050-taken", "embedded", "port.registry", "problem",
     "Port 5050 is in use: process 4711 has it: /home/anna/pgadmin/bin/python3",
     "ports.registry in lab.yaml, or\n$ export LAB_PORTS_REGISTRY=15050\nOr end that program:\n$ kill 4711", True),
    ("wsl2-docker-desktop", "docker", "port.kubernetes", "problem",
     "Port 6550 is in use: container k3d-mycluster-serverlb", "LAB_PORTS_KUBERNETES", True),
    ("port-5050-taken", "embedded", "port.argocd", "problem",
     "Port 8443 is in use: a process of another user", "$ sudo ss -ltnp 'sport = :8443'", True),
    ("wsl2-docker-desktop", "docker", "port.app", "problem",
     "Port 8088 is in use: container k3d-mycluster-serverlb", "docker stop", True),
    ("debian-without-docker", "embedded", "port.registry", "ok", "5050 is the lab's own, process 2211", "", False),
    ("docker-no-permission", "docker", "docker.reachable", "problem",
     "Permission denied", "$ sudo usermod -aG docker anna", True),
    ("wsl2-native-docker-stopped", "docker", "docker.reachable", "problem",
     "Connection refused", "$ sudo service docker start", True),
    ("debian-without-docker", "docker", "docker.reachable", "problem",
     "No such file", "$ invoke up --engine embedded", True),
    ("rootless-docker", "docker", "docker.reachable", "ok", "unix:///run/user/1000/docker.sock answers", "", False),
    ("cgroup-v1", "docker", "docker.version", "problem", "Docker 20.10.7, API 1.12 to 1.41", "get.docker.com", True),
    ("wsl2-native-docker", "docker", "docker.version", "ok", "Docker 29.1.3, API 1.44 to 1.52", "", False),
    ("wsl2-docker-desktop", "docker", "docker.kind", "ok",
     "Docker Desktop: containers are in a machine of their own", "", False),
    ("ufw-and-vpn", "docker", "docker.kind", "ok", "native, on Ubuntu 24.04.3 LTS", "", False),
    ("rootless-docker", "docker", "docker.rootless", "problem",
     "cpu, memory, pids (cpuset is missing)", "Delegate=cpu cpuset io memory pids", True),
    ("cgroup-v1", "docker", "docker.cgroup", "warning", "version 1", "systemd.unified_cgroup_hierarchy=1", False),
    ("wsl2-native-docker", "docker", "docker.cgroup", "ok", "version 2", "", False),
    ("cgroup-v1", "docker", "docker.storage", "warning", "vfs", '{"storage-driver": "overlay2"}', False),
    ("arm-board", "docker", "docker.architecture", "problem",
     "gitlab/gitlab-ce", "$ invoke up --engine embedded", True),
    ("ubuntu-4gb", "docker", "docker.quota", "warning", "3 of 100 pulls left", "$ docker login", False),
    ("corporate-proxy", "docker", "docker.quota", "unknown", "407 Proxy Authentication Required", "", False),
    ("ufw-and-vpn", "docker", "docker.quota", "ok", "98 of 100 pulls left", "", False),
    ("ubuntu-4gb", "docker", "earlier.packages", "warning",
     "GitLab (package), gitlab-runner (package)",
     "disable --now gitlab-runsvdir\n$ sudo systemctl disable --now gitlab-runner", False),
    ("ubuntu-4gb", "docker", "earlier.clusters", "warning",
     "running: container gitlab (gitlab/gitlab-ce:17.2.1-ce.0), kind cluster kind",
     "$ docker stop kind-control-plane", False),
    ("wsl2-docker-desktop", "docker", "earlier.clusters", "warning",
     "running: k3d cluster mycluster", "$ k3d cluster stop mycluster", False),
    ("wsl2-native-docker-stopped", "docker", "net.dns", "warning",
     "not resolved by 10.255.255.254", "[wsl2]\ndnsTunneling=true", False),
    ("corporate-proxy", "docker", "net.dns", "ok", "the proxy does that", "", False),
    ("wsl2-docker-desktop", "docker", "net.hosts", "warning",
     "gitlab.lab.test is 172.28.98.14, argocd.lab.test is 172.28.98.14", "/etc/hosts", False),
    ("corporate-proxy", "embedded", "net.proxy", "problem",
     "no_proxy and NO_PROXY lack 127.0.0.1", "$ export NO_PROXY=localhost,127.0.0.1,.corp.example", False),
    ("corporate-proxy", "docker", "net.proxy", "problem",
     ".lab.test, gitlab.lab.test, .svc, .cluster.local, 10.42.0.0/16, 10.43.0.0/16",
     ".svc,.cluster.local,10.42.0.0/16,10.43.0.0/16", False),
    ("corporate-proxy", "docker", "docker.proxy", "warning", "Docker has none", "docker.service.d/proxy.conf", False),
    ("wsl2-docker-desktop", "docker", "docker.proxy", "ok", "none of its own", "", False),
    ("ubuntu-4gb", "docker", "docker.pools", "problem",
     "0 of Docker's networks are free", "$ docker network prune", True),
    ("ufw-and-vpn", "docker", "docker.pools", "ok", "30 of Docker's networks are free", "", False),
    ("ufw-and-vpn", "docker", "net.overlap", "warning",
     "10.0.0.0/8 by tun0 covers pods (10.42.0.0/16)", "$ ip route", False),
    ("ufw-and-vpn", "docker", "net.firewall", "warning",
     "ufw is active", "$ sudo ufw allow from 172.16.0.0/12", False),
]  # fmt: skip


@pytest.mark.parametrize("row", TABLE, ids=lambda row: "-".join(row[:3]))
def test_finding(row):
    name, engine, check, state, measured, remedy, stops = row
    finding = findings(name, engine)[check]
    assert (finding.state, finding.stops_up) == (state, stops)
    assert measured in finding.measured
    assert remedy in finding.remedy
    assert bool(finding.remedy) == bool(remedy)


def test_every_check_is_in_the_table():
    assert {check.id for check in doctor.CHECKS} == {row[2] for row in TABLE}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("engine", ["docker", "embedded", None])
def test_whatever_is_wrong_says_why_and_what_to_do(name, engine):
    found = doctor.examine(machine(name), Settings(), engine=engine)
    assert [finding.id for finding in found] == [check.id for check in doctor.CHECKS]
    for finding in found:
        assert finding.why
        assert finding.measured
        assert finding.remedy or finding.state in ("ok", "unknown"), finding.id
        assert finding.state == "problem" or not finding.stops_up, finding.id
        assert "Error:" not in finding.measured, "a check failed instead of finding something"


def test_every_image_of_the_sample_is_held_against_the_processor():
    sample = Path(__file__).parents[2] / "gitlab/project"
    texts = [
        path.read_text() for path in (*sample.glob("k8s/*.yaml"), sample / ".gitlab-ci.yml", sample / "Dockerfile")
    ]
    pattern = r"^(?:\s*(?:- )?(?:image|name): |ARG PYTHON_IMAGE=)\"?([a-z0-9./-]+):[0-9][^\s]*"
    lines = re.findall(pattern, "\n".join(texts), re.MULTILINE)
    assert {"mysql", "redis", "docker", "python"} <= set(lines) <= set(checks_docker._IMAGES)


def test_a_machine_as_it_should_be_has_nothing_to_say():
    assert {finding.state for finding in findings("wsl2-native-docker", "docker").values()} == {"ok"}
    assert {finding.state for finding in findings("debian-without-docker", "embedded").values()} == {"ok"}


def test_what_only_docker_needs_is_not_looked_at_for_the_embedded_engine():
    found = findings("ubuntu-4gb", "embedded")
    assert found["docker.pools"].measured == "not needed for the embedded engine"
    assert found["docker.pools"].state == "ok"
    assert found["system.inotify"].state == "ok"


@pytest.mark.parametrize(
    ("name", "docker"),
    [("ufw-and-vpn", True), ("debian-without-docker", False), ("docker-no-permission", True), ("wsl1", False)],
)
def test_without_an_engine_dockers_answer_decides(name, docker):
    """A socket without permission is no absent Docker."""
    assert ("not needed" not in findings(name, None)["docker.reachable"].measured) is docker


@pytest.mark.parametrize(
    ("name", "engine", "stops"),
    [
        ("port-5050-taken", "embedded", ["port.registry", "port.argocd"]),
        ("ubuntu-4gb", "docker", ["system.memory", "port.gitlab", "docker.pools"]),
        ("debian-without-docker", "embedded", []),
        ("wsl2-docker-desktop", "embedded", ["port.kubernetes", "port.app"]),
        ("rootless-docker", "docker", ["docker.rootless"]),
        ("corporate-proxy", "embedded", []),
    ],
)
def test_up_is_stopped_by_what_it_cannot_work_with_and_by_nothing_else(name, engine, stops):
    assert [finding.id for finding in doctor.blocking(machine(name), Settings(), engine)] == stops


def test_require_names_the_first_reason_with_its_remedy_and_the_others():
    with pytest.raises(MachineError) as caught:
        doctor.require(machine("port-5050-taken"), Settings(), "embedded")
    error = caught.value
    assert (error.code, error.exit_code) == ("LAB-PORT-01", 3)
    assert "Port 5050 is in use: process 4711" in error.problem
    assert "ports.registry in lab.yaml" in error.evidence
    assert "Also: Port 8443 is in use" in error.evidence
    assert "[port.argocd]" in error.evidence
    with pytest.raises(MachineError, match="rootless") as caught:
        doctor.require(machine("rootless-docker"), Settings(), "docker")
    assert caught.value.code == "LAB-DOC-01"
    doctor.require(machine("debian-without-docker"), Settings(), "embedded")


@pytest.mark.parametrize("name", NAMES)
def test_no_password_of_a_proxy_is_shown(name):
    for engine in ("docker", "embedded"):
        found = list(findings(name, engine).values())
        assert "S3cret" not in json.dumps([vars(finding) for finding in found])
        assert "S3cret" not in doctor.script(found)


def test_a_container_of_the_lab_may_have_the_labs_port():
    recording = json.loads((MACHINES / "wsl2-docker-desktop.json").read_text())
    for container in recording["engine"]["unix:///var/run/docker.sock"]["/containers/json?all=1"]:
        container["Labels"]["k3d.cluster"] = "lab"
    found = {finding.id: finding for finding in doctor.examine(Recorded(recording), Settings(), engine="docker")}
    assert found["port.app"].state == found["earlier.clusters"].state == "ok"
    assert "the lab's own" in found["port.app"].measured


@pytest.mark.parametrize(
    ("no_proxy", "state"),
    [
        ("*", "ok"),
        ("localhost,127.0.0.0/8", "ok"),
        ("localhost, 127.0.0.1", "ok"),
        ("127.0.0.1", "problem"),
        ("", "problem"),
    ],
)
def test_what_no_proxy_covers(no_proxy, state):
    recording = json.loads((MACHINES / "corporate-proxy.json").read_text())
    recording["environ"] |= {"no_proxy": no_proxy, "NO_PROXY": no_proxy}
    found = {finding.id: finding for finding in doctor.examine(Recorded(recording), Settings(), engine="embedded")}
    assert found["net.proxy"].state == state


@pytest.mark.parametrize(
    ("route", "state", "measured"),
    [
        ("", "ok", "no route covers"),
        ("tun0\t00000000\t0100080A\t0003\t0\t0\t0\t00000080\t0\t0\t0\n", "warning", "tun0 takes all traffic"),
        ("tun0\t00002B0A\t0100080A\t0003\t0\t0\t0\t0000FFFF\t0\t0\t0\n", "warning", "10.43.0.0/16 by tun0 covers"),
        ("cni0\t00002A0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n", "ok", "no route covers"),
    ],
)  # fmt: skip
def test_routes_of_a_vpn(route, state, measured):
    recording = json.loads((MACHINES / "wsl2-native-docker.json").read_text())
    recording["files"]["/proc/net/route"] += route
    found = {finding.id: finding for finding in doctor.examine(Recorded(recording), Settings(), engine="docker")}
    assert found["net.overlap"].state == state
    assert measured in found["net.overlap"].measured


@pytest.mark.parametrize(("skew", "state"), [(0, "ok"), (4, "ok"), (-30, "warning"), (61, "problem")])
def test_clock(skew, state):
    recording = json.loads((MACHINES / "ufw-and-vpn.json").read_text())
    recording["now"] += skew
    found = {finding.id: finding for finding in doctor.examine(Recorded(recording), Settings(), engine="embedded")}
    assert found["system.clock"].state == state


def test_the_current_context_of_dockers_client_is_honoured():
    recording = json.loads((MACHINES / "rootless-docker.json").read_text())
    del recording["environ"]["DOCKER_HOST"]
    meta = {"Name": "rootless", "Endpoints": {"docker": {"Host": "unix:///run/user/1000/docker.sock"}}}
    folder = "/home/anna/.docker/contexts/meta/" + hashlib.sha256(b"rootless").hexdigest()
    recording["files"] |= {
        "/home/anna/.docker/config.json": json.dumps({"currentContext": "rootless"}),
        f"{folder}/meta.json": json.dumps(meta),
    }
    found = {finding.id: finding for finding in doctor.examine(Recorded(recording), Settings(), engine="docker")}
    assert found["docker.reachable"].measured == "unix:///run/user/1000/docker.sock answers"


def test_all_questions_to_an_engine_share_one_time_limit():
    class Slow(Recorded):
        given: ClassVar[list[float]] = []

        def engine(self, address, path, timeout):
            self.given.append(timeout)
            return super().engine(address, path, timeout)

    slow = Slow(json.loads((MACHINES / "wsl2-native-docker.json").read_text()))
    doctor.blocking(slow, Settings(), "docker")
    assert len(slow.given) == 4
    assert slow.given == sorted(slow.given, reverse=True)
    assert len(set(slow.given)) == 4, "each question has what the ones before it left"


class Hanging(Recorded):
    """A machine whose resolver never answers."""

    def __init__(self, recording):
        super().__init__(recording)
        self.released = threading.Event()

    def resolve(self, _name):
        self.released.wait(30)
        return []


def test_what_does_not_answer_in_time_is_unknown_and_holds_nothing_up(monkeypatch):
    monkeypatch.setattr(doctor, "_BOUND", {"docker": 0.3, "embedded": 0.3})
    hanging = Hanging(json.loads((MACHINES / "wsl2-native-docker.json").read_text()))
    try:
        found = {finding.id: finding for finding in doctor.examine(hanging, Settings(), engine="docker")}
    finally:
        hanging.released.set()
    assert found["net.dns"].state == "unknown"
    assert "no answer within 0.3 s" in found["net.dns"].measured
    assert found["net.proxy"].state == "ok"


def test_ctrl_c_ends_the_examination():
    stop = threading.Event()
    stop.set()
    hanging = Hanging(json.loads((MACHINES / "wsl2-native-docker.json").read_text()))
    try:
        with pytest.raises(Interrupted):
            doctor.examine(hanging, Settings(), engine="docker", stop=stop)
    finally:
        hanging.released.set()


def test_a_check_that_fails_is_unknown_and_hides_no_other():
    recording = json.loads((MACHINES / "wsl2-native-docker.json").read_text())
    recording["files"]["/proc/net/route"] = "Iface\neth0\tnonsense\t0\t0\t0\t0\t0\tnonsense\n"
    found = {finding.id: finding for finding in doctor.examine(Recorded(recording), Settings(), engine="docker")}
    assert found["net.overlap"].state == "unknown"
    assert found["net.firewall"].state == "ok"
