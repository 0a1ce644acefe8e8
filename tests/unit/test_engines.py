import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lab.engines import choice
from lab.engines.embedded import EmbeddedEngine, _answer
from lab.engines.ports import require_free
from lab.errors import MachineError, UsageError
from lab.settings import Settings
from lab.state import State


@pytest.fixture
def state(tmp_path):
    return State(tmp_path / ".lab")


def nowhere(tmp_path):
    return {"DOCKER_HOST": f"unix://{tmp_path}/docker.sock"}


def test_auto_says_why_it_takes_the_embedded_engine(state, tmp_path):
    chosen = choice.choose("auto", state, nowhere(tmp_path))
    assert chosen.name == "embedded"
    assert f"no socket at {tmp_path}/docker.sock" in chosen.why


def test_docker_asked_for_and_absent_is_a_clear_error_and_not_a_silent_choice(state, tmp_path):
    with pytest.raises(MachineError) as caught:
        choice.choose("docker", state, nowhere(tmp_path))
    assert "--engine embedded" in caught.value.hint
    assert caught.value.exit_code == 3


def test_a_recorded_engine_is_kept(state, tmp_path):
    choice.record(choice.choose("embedded", state, {}), state)
    assert choice.choose("auto", state, nowhere(tmp_path)).name == "embedded"
    with pytest.raises(UsageError, match="runs on the embedded engine"):
        choice.choose("docker", state, {})


def test_an_engine_that_does_not_exist_is_refused_with_those_that_do(state):
    with pytest.raises(UsageError, match="no engine podman") as caught:
        choice.choose("podman", state, {})
    assert "embedded" in caught.value.hint


def test_a_damaged_record_is_decided_anew(state, tmp_path):
    state.put_fact("engine", {"name": "x"})
    chosen = choice.choose("auto", state, nowhere(tmp_path))
    choice.record(chosen, state)
    assert state.fact("engine")["name"] == "embedded"


@pytest.mark.parametrize("damage", ["", "{", '{"name": "x"}'])
def test_a_damaged_record_does_not_hide_a_lab_that_is_there(state, damage):
    (state.path("embedded")).mkdir()
    state.path("engine.json").write_text(damage)
    assert choice.recorded(state) == "embedded"
    assert choice.choose("auto", state, {}).name == "embedded"
    with pytest.raises(UsageError, match="runs on the embedded engine"):
        choice.choose("docker", state, {})


def test_a_docker_lab_is_known_by_its_network_or_its_kubeconfig(state):
    assert choice.recorded(state) == ""
    state.put_fact("network", {"subnet": "10.9.0.0/24"})
    assert choice.recorded(state) == "docker"
    state.put_fact("network", None)
    assert choice.recorded(state) == ""
    state.path("kubeconfig").write_text("")
    assert choice.recorded(state) == "docker"


def test_a_socket_without_permission_is_told_apart_from_no_docker(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may open every socket")
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        path.chmod(0)
        assert choice.docker_state({"DOCKER_HOST": f"unix://{path}"}).forbidden


@pytest.mark.parametrize(
    ("answer", "seen"), [(b"HTTP/1.0 200 OK\r\n\r\nOK", "answers"), (b"hello", "not as an engine")]
)
def test_docker_is_asked_whether_it_answers(tmp_path, answer, seen):
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve():
            client, _ = server.accept()
            with client:
                client.recv(1000)
                client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        assert seen in choice.docker_state({"DOCKER_HOST": f"unix://{path}"}).words
        thread.join(10)


def test_a_taken_port_names_its_owner_and_the_key_to_change():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with pytest.raises(MachineError) as caught:
            require_free("127.0.0.1", "registry", port)
    assert f"Port {port} is in use" in caught.value.problem
    assert f"process {os.getpid()}" in caught.value.evidence
    assert "ports.registry" in caught.value.hint
    require_free("127.0.0.1", "registry", port)


def test_the_embedded_engine_speaks_loopback_everywhere(state):
    points = EmbeddedEngine(Settings(), state).endpoints()
    assert points.gitlab == points.gitlab_route == "http://127.0.0.1:8929"
    assert points.registry == "127.0.0.1:5050"
    assert points.webhook == "https://127.0.0.1:8443/api/webhook"


def test_the_embedded_engine_has_two_logs(state):
    assert set(EmbeddedEngine(Settings(), state).logs()) == {"emulator", "argocd"}


class Refusing(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(401)
        self.end_headers()

    def log_message(self, *_args):
        """Say nothing."""


def test_a_401_is_the_healthy_answer_of_the_registry_alone():
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/"
        seen = {what: _answer(what, url) for what in ("registry", "gitlab")}
        server.shutdown()
        thread.join(10)
    assert seen == {"registry": None, "gitlab": f"{url} answered 401"}


@pytest.fixture
def answering(tmp_path):
    """An engine's socket that answers one ping."""
    path = tmp_path / "answering.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve():
            client, _ = server.accept()
            with client:
                client.recv(1000)
                client.sendall(b"HTTP/1.0 200 OK\r\n\r\nOK")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield {"DOCKER_HOST": f"unix://{path}"}
        thread.join(10)


def test_auto_takes_docker_when_it_answers_and_says_so(state, answering):
    chosen = choice.choose("auto", state, answering)
    assert chosen.name == "docker"
    assert "answers" in chosen.why


def test_an_engine_on_another_machine_is_not_taken_by_auto(state):
    chosen = choice.choose("auto", state, {"DOCKER_HOST": "ssh://elsewhere"})
    assert chosen.name == "embedded"
    assert "ssh://elsewhere" in chosen.why


def test_a_socket_without_permission_is_not_the_same_as_no_docker(state, tmp_path, monkeypatch):
    path = tmp_path / "docker.sock"
    path.touch()
    monkeypatch.setattr(choice.os, "access", lambda *_args: False)
    with pytest.raises(MachineError, match="no permission"):
        choice.choose("auto", state, {"DOCKER_HOST": f"unix://{path}"})
