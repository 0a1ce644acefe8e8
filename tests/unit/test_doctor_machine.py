"""The door to the machine that we run on, and what is mended through it."""

import json
import os
import shlex
import socket
import stat
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import UnixStreamServer

import pytest

from lab import doctor
from lab.doctor.machine import Reply, ThisMachine
from lab.doctor.recorded import Recorded
from lab.engines.ports import HostFiles, Owner, owners
from lab.settings import PortSettings, Settings

MACHINES = Path(__file__).parents[1] / "fixtures/machines"
DOCKER = {
    "/version": {"Version": "29.1.3", "ApiVersion": "1.52", "MinAPIVersion": "1.44"},
    "/info": {"OperatingSystem": "Debian", "CgroupVersion": "2", "Driver": "overlay2", "Architecture": "x86_64"},
    "/networks": [{"Name": "bridge", "IPAM": {"Config": [{"Subnet": "172.17.0.0/16"}]}}],
    "/containers/json?all=1": [],
}


class Engine(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(DOCKER.get(self.path, {})).encode()
        self.send_response(200 if self.path in DOCKER else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - the server's name for it; nobody reads the body

    def log_message(self, *_words):
        pass

    def address_string(self):
        return "local"


@pytest.fixture
def served(tmp_path):
    """Servers on a Unix socket and on TCP that answer as Docker does."""
    unix = UnixStreamServer(str(tmp_path / "docker.sock"), Engine)
    tcp = HTTPServer(("127.0.0.1", 0), Engine)
    threads = [threading.Thread(target=server.serve_forever, args=(0.01,)) for server in (unix, tcp)]
    for thread in threads:
        thread.start()
    yield f"unix://{tmp_path}/docker.sock", f"127.0.0.1:{tcp.server_port}"
    for server in (unix, tcp):
        server.shutdown()
        server.server_close()
    for thread in threads:
        thread.join(10)


@pytest.fixture
def here(tmp_path):
    root = tmp_path / "clone"
    root.mkdir()
    return ThisMachine(root, root, {"HOME": str(tmp_path), "DOCKER_HOST": f"unix://{tmp_path}/docker.sock"})


class Counting(Recorded):
    """Notes which processes' handles were listed."""

    def __init__(self, recording):
        super().__init__(recording)
        self.listed = []

    def names(self, path):
        self.listed += [path] if path.endswith("/fd") else []
        return super().names(path)


def examine(machine, engine, **ports):
    found = doctor.examine(machine, Settings(ports=PortSettings(**ports)), engine=engine)
    return {finding.id: finding for finding in found}


def test_files_folders_and_room(here, tmp_path):
    (tmp_path / "clone/a").write_text("text")
    (tmp_path / "clone/b").symlink_to("a")
    assert here.read(f"{here.root}/a") == "text"
    assert here.read(f"{here.root}/none") is None
    assert here.names(here.root) == ["a", "b"]
    assert here.names("/none") == []
    assert here.link(f"{here.root}/b") == "a"
    assert here.link(f"{here.root}/a") is None
    entry = here.entry(f"{here.root}/a")
    assert entry.uid == os.getuid()
    assert entry.writable
    assert here.entry("/none") is None
    assert 0 < here.space(f"{here.root}/not/yet").free <= here.space(here.root).total


def test_programs(here):
    assert here.run(["sh", "-c", "echo out; exit 3"], 5).code == 3
    assert here.run(["git", "--version"], 5).text.startswith("git version ")
    assert here.run(["no-such-program-here"], 5) is None
    assert here.run(["sleep", "60"], 0.05) is None


@pytest.mark.parametrize("way", [0, 1])
def test_the_engine_is_asked_over_its_socket_and_over_tcp(here, served, way):
    address = served[0] if way == 0 else f"tcp://{served[1]}"
    reply = here.engine(address, "/version", 5)
    assert json.loads(reply.body) == DOCKER["/version"]
    assert here.engine(address, "/nothing", 5).status == 404


def test_an_engine_that_is_not_there_says_why(here, tmp_path):
    assert here.engine(f"unix://{tmp_path}/none.sock", "/version", 5) == "No such file or directory"


def test_http_answers_have_a_date_and_errors_are_texts(here, served):
    reply = here.fetch("HEAD", f"http://{served[1]}/version", {}, 5)
    assert isinstance(reply, Reply)
    assert reply.headers["date"].endswith("GMT")
    assert here.fetch("GET", f"http://{served[1]}/nothing", {}, 5).status == 404
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert "refused" in here.fetch("GET", f"http://127.0.0.1:{closed.getsockname()[1]}/", {}, 5)


def test_names(here):
    assert "127.0.0.1" in here.resolve("localhost")
    assert here.resolve("a..b") == []


def test_the_docker_engine_of_a_machine_is_examined_over_its_socket(here, served):
    assert served
    found = examine(here, "docker")
    assert found["docker.reachable"].state == "ok"
    assert found["docker.version"].measured == "Docker 29.1.3, API 1.44 to 1.52"
    assert found["docker.storage"].measured == "overlay2"


def test_a_taken_port_of_this_machine_is_found_with_its_owner(here):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        found = examine(here, "embedded", app=port)
        assert found["port.app"].stops_up
        assert f"Port {port} is in use: process {os.getpid()} has it: " in found["port.app"].measured
        assert owners([port, 1], HostFiles())[port].pid == os.getpid()
    assert examine(here, "embedded", app=port)["port.app"].state == "ok"


def test_owners_of_several_ports_are_found_in_one_pass():
    machine = Recorded.load(MACHINES / "debian-without-docker.json")
    assert set(owners([5050, 8929, 9999], machine)) == {5050, 8929}
    recording = json.loads((MACHINES / "debian-without-docker.json").read_text())
    only = Counting(recording)
    assert doctor.blocking(only, Settings(), "embedded") == []
    assert only.listed == [], "the lab's own ports are known from its own file"
    del recording["files"]["/home/anna/lab/.lab/embedded.json"]
    only = Counting(recording)
    assert doctor.blocking(only, Settings(), "embedded") == []
    assert only.listed == ["/proc/2211/fd"], "the lab's own process is looked at first, and once for all ports"
    recording["files"]["/home/anna/lab/.lab/embedded/lock"] = "damaged"
    assert doctor.blocking(Recorded(recording), Settings(), "embedded") == [], "its command line names this lab"
    recording["home"] = "/home/anna/other"
    other = [finding.id for finding in doctor.blocking(Recorded(recording), Settings(), "embedded")]
    assert other == ["port.gitlab", "port.registry", "port.kubernetes", "port.argocd", "port.app"]
    assert owners([8443], Recorded.load(MACHINES / "port-5050-taken.json")) == {8443: Owner(None)}


def test_nothing_is_changed_by_looking(here, tmp_path):
    examine(here, "embedded")
    doctor.blocking(here, Settings(), "embedded")
    assert [path.name for path in tmp_path.rglob("*")] == ["clone"]


def test_fix_mends_modes_leftovers_and_line_ends_of_this_clone(here):
    subprocess.run(["git", "init", "-q", here.root], check=True, timeout=30)
    subprocess.run(["git", "-C", here.root, "config", "core.autocrlf", "true"], check=True, timeout=30)
    secrets = Path(here.home, ".lab/secrets")
    secrets.mkdir(parents=True)
    for name in ("root-token", ".abcd_123"):
        (secrets / name).write_text("x")
        (secrets / name).chmod(0o644)
    secrets.chmod(0o755)
    before = examine(here, "embedded")
    fixable = ["clone.line-endings", "lab.folder", "lab.leftovers"]
    assert [finding.id for finding in before.values() if finding.fixable] == fixable
    done = doctor.mend(here, Settings(), list(before.values()))
    assert any("core.autocrlf is input" in line for line in done)
    assert stat.S_IMODE((secrets / "root-token").stat().st_mode) == 0o600
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert not (secrets / ".abcd_123").exists()
    after = examine(here, "embedded")
    assert {after[name].state for name in fixable} == {"ok"}
    assert doctor.mend(here, Settings(), list(after.values())) == []


def test_nothing_of_a_lab_that_runs_is_swept_away(here):
    folder = Path(here.home, ".lab/embedded")
    folder.mkdir(parents=True)
    (folder / "ready").touch()
    with subprocess.Popen(["sh", "-c", "read line; : lab.emulator"], stdin=subprocess.PIPE) as process:
        (folder / "lock").write_text(str(process.pid))
        assert examine(here, "embedded")["lab.leftovers"].state == "ok"
        process.communicate(timeout=10)
    assert "embedded/ready" in examine(here, "embedded")["lab.leftovers"].measured


def test_mending_a_recorded_machine():
    machine = Recorded.load(MACHINES / "wsl2-native-docker-stopped.json")
    done = doctor.mend(machine, Settings(), doctor.examine(machine, Settings(), engine="docker"))
    assert len(done) == len(machine.changes) == 6
    assert "chmod 600 /home/anna/lab/.lab/secrets/root-token" in machine.changes
    assert "rm /home/anna/lab/.lab/embedded/ready" in machine.changes
    assert "git -C /home/anna/lab config core.autocrlf input" in machine.changes


@pytest.mark.parametrize("path", sorted(MACHINES.glob("*.json")), ids=lambda path: path.stem)
@pytest.mark.parametrize("engine", ["docker", "embedded"])
def test_the_script_is_a_shell_script_with_every_remedy(path, engine):
    found = doctor.examine(Recorded.load(path), Settings(), engine=engine)
    text = doctor.script(found)
    subprocess.run(["sh", "-n"], input=text, text=True, check=True, timeout=30)
    for finding in found:
        assert (f"# {finding.id}: " in text) == (finding.state in ("warning", "problem"))


def test_of_several_ways_the_script_runs_only_the_first():
    found = doctor.examine(Recorded.load(MACHINES / "port-5050-taken.json"), Settings(), engine="embedded")
    lines = doctor.script(found).splitlines()
    assert "export LAB_PORTS_REGISTRY=15050" in lines
    assert "# kill 4711" in lines
    assert "kill 4711" not in lines


def test_a_process_cannot_put_commands_into_the_script():
    recording = json.loads((MACHINES / "port-5050-taken.json").read_text())
    recording["files"]["/proc/4711/cmdline"] = "python3\0-c\0import x\ntouch /tmp/never\r\033[2Jtouch /tmp/never\0"
    found = doctor.examine(Recorded(recording), Settings(), engine="embedded")
    commands = [line for line in doctor.script(found).splitlines() if not line.startswith("#")]
    assert not [line for line in commands if "never" in line]
    assert "python3 -c import x touch /tmp/never [2Jtouch" in next(f for f in found if f.id == "port.registry").measured


def test_paths_with_blanks_are_quoted():
    found = doctor.examine(Recorded.load(MACHINES / "wsl2-docker-desktop.json"), Settings(), engine="embedded")
    clone = next(line for line in doctor.script(found).splitlines() if line.startswith("git clone"))
    assert shlex.split(clone) == ["git", "clone", "/mnt/c/Users/Anna Berg/lab", "~/lab"]
