"""The sample application, run as the process it is in a pod, against fake Redis and MySQL servers on sockets."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest
from ports import free_port

from lab.waiting import Pending, wait_until

PROJECT = Path(__file__).parents[2] / "gitlab" / "project"
SHA = "a1b2c3d4e5" * 4
SIMULATED = {"REDIS_SIMULATED": "true", "MYSQL_SIMULATED": "true"}


class App:
    """A running HiChat."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port

    def request(
        self, method: str, path: str, body: str | None = None, **headers: str
    ) -> tuple[int, str, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read().decode(), {k.lower(): v for k, v in response.getheaders()}
        finally:
            connection.close()

    def raw(self, data: bytes) -> bytes:
        """What the server answers to bytes that may be no request at all."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while part := connection.recv(4096):
                answer += part
            return answer

    def send(self, message: str) -> int:
        form = urlencode({"message": message})
        return self.request("POST", "/", form, **{"Content-Type": "application/x-www-form-urlencoded"})[0]

    def health(self) -> dict[str, str]:
        status, body, _ = self.request("GET", "/health")
        assert status == 200
        return json.loads(body)

    def stop(self) -> tuple[int, str]:
        """Send SIGTERM; the exit code and everything that was written."""
        self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate(timeout=20)
        return self.process.returncode, output


@contextmanager
def hichat(**environment: str) -> Iterator[App]:
    process = subprocess.Popen(
        [sys.executable, "-B", "-u", "-m", "hichat"],
        cwd=PROJECT,
        env={
            "PATH": os.environ["PATH"],
            "HOST": "127.0.0.1",
            "PORT": "0",
            "COMMIT_SHA": SHA,
            "DRAIN_MILLISECONDS": "0",
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    try:
        line = process.stdout.readline()
        found = re.search(r"port (\d+)$", line.strip())
        assert found, line + process.stdout.read()
        yield App(process, int(found[1]))
    finally:
        process.kill()
        process.communicate(timeout=10)


@contextmanager
def server(answer: Callable[[socketserver.StreamRequestHandler], None]) -> Iterator[int]:
    """A TCP server on a free port that handles each connection with `answer`."""

    class Handler(socketserver.StreamRequestHandler):
        timeout = 10

        def handle(self) -> None:
            answer(self)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield listening.server_address[1]
        finally:
            listening.shutdown()
            thread.join(10)


def redis_server() -> Callable[[socketserver.StreamRequestHandler], None]:
    """As much of Redis as the application uses; strict about the protocol."""
    lists: dict[bytes, list[bytes]] = {}

    def run(words: list[bytes]) -> bytes:
        name, *rest = words
        if name == b"PING":
            return b"+PONG\r\n"
        values = lists.setdefault(rest[0], [])
        if name == b"LPUSH":
            values.insert(0, rest[1])
            return b":%d\r\n" % len(values)
        if name == b"LTRIM":
            del values[int(rest[2]) + 1 :]
            return b"+OK\r\n"
        if name == b"LRANGE":
            part = values[int(rest[1]) : int(rest[2]) + 1]
            return b"*%d\r\n" % len(part) + b"".join(b"$%d\r\n%s\r\n" % (len(v), v) for v in part)
        return b"-ERR unknown command '%s'\r\n" % name

    def answer(connection: socketserver.StreamRequestHandler) -> None:
        while line := connection.rfile.readline():
            assert line.startswith(b"*")
            words = []
            for _ in range(int(line[1:])):
                size = int(connection.rfile.readline()[1:])
                words.append(connection.rfile.read(size + 2)[:-2])
            connection.wfile.write(run(words))

    return answer


def mysql_greeting(version: bytes) -> Callable[[socketserver.StreamRequestHandler], None]:
    packet = b"\x0a" + version + b"\0" + b"\x08\0\0\0" + b"a" * 8 + b"\0" + b"\xff\xff" + b"\0" * 20

    def answer(connection: socketserver.StreamRequestHandler) -> None:
        data = len(packet).to_bytes(3, "little") + b"\0" + packet
        connection.wfile.write(data[:6])  # a greeting may arrive in pieces
        connection.wfile.flush()
        connection.wfile.write(data[6:])

    return answer


def writes(data: bytes) -> Callable[[socketserver.StreamRequestHandler], None]:
    return lambda connection: connection.wfile.write(data) and None


def redis_at(port: int) -> dict[str, str]:
    return {"REDIS_SERVICE_HOST": "127.0.0.1", "REDIS_SERVICE_PORT": str(port), "MYSQL_SIMULATED": "true"}


def mysql_at(port: int) -> dict[str, str]:
    return {"MYSQL_SERVICE_HOST": "127.0.0.1", "MYSQL_SERVICE_PORT": str(port), "REDIS_SIMULATED": "true"}


def test_version_is_the_commit_of_the_image() -> None:
    with hichat(**SIMULATED) as app:
        assert app.request("GET", "/version")[:2] == (200, SHA + "\n")


def test_simulated_dependencies_are_named_as_such() -> None:
    with hichat(**SIMULATED) as app:
        assert app.health() == {"status": "ok", "version": SHA, "redis": "simulated", "mysql": "simulated"}
        status, text, _ = app.request("GET", "/")
        assert status == 200
        assert "Redis is simulated here" in text


def test_messages_are_kept_in_memory_where_redis_is_simulated() -> None:
    with hichat(**SIMULATED) as app:
        assert app.send("first") == 303
        assert app.send("second") == 303
        text = app.request("GET", "/")[1]
        assert text.index("<li>second</li>") < text.index("<li>first</li>")


def test_messages_live_in_redis_and_outlive_the_process() -> None:
    with server(redis_server()) as port:
        with hichat(**redis_at(port)) as app:
            assert app.health()["redis"] == "ok"
            assert app.send("grüß dich, 世界") == 303
        with hichat(**redis_at(port)) as app:
            status, text, _ = app.request("GET", "/")
            assert status == 200
            assert "<li>grüß dich, 世界</li>" in text
            assert "simulated" not in text


def test_only_the_newest_hundred_messages_are_kept() -> None:
    with server(redis_server()) as port, hichat(**redis_at(port)) as app:
        for number in range(102):
            app.send(f"message {number}.")
        text = app.request("GET", "/")[1]
        assert text.count("<li>") == 100
        assert "message 1." not in text
        assert "message 101." in text


def test_what_people_write_is_escaped() -> None:
    with hichat(**SIMULATED) as app:
        app.send("<script>alert('x')</script> $commit")
        text = app.request("GET", "/")[1]
        assert "<script>" not in text
        assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt; $commit" in text


def test_redis_down_is_degraded_and_not_dead() -> None:
    with hichat(**redis_at(free_port())) as app:
        health = app.health()
        assert health["status"] == "degraded"
        assert health["redis"].startswith("down: ")
        assert app.request("GET", "/live")[0] == 200
        status, text, _ = app.request("GET", "/")
        assert (status, "Messages cannot be read now" in text) == (503, True)
        assert app.send("lost") == 503


@pytest.mark.parametrize(
    "reply",
    [
        b"-NOAUTH Authentication required.\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"$5\r\nab",
        b"*x\r\n",
        b"*9999999\r\n",
        b"",
    ],
)
def test_a_redis_that_answers_nonsense_is_down(reply: bytes) -> None:
    with server(writes(reply)) as port, hichat(**redis_at(port)) as app:
        assert app.health()["status"] == "degraded"
        assert app.request("GET", "/")[0] == 503
        assert "Traceback" not in app.stop()[1]


def test_a_redis_that_hangs_costs_a_second_and_no_more() -> None:
    release = threading.Event()
    with server(lambda _connection: release.wait(30) and None) as port, hichat(**redis_at(port)) as app:
        health = app.health()
        release.set()
        assert "timed out" in health["redis"]


def test_health_reports_the_version_that_mysql_greets_with() -> None:
    with server(mysql_greeting(b"8.4.6")) as port, hichat(**mysql_at(port)) as app:
        assert app.health() == {"status": "ok", "version": SHA, "redis": "simulated", "mysql": "8.4.6"}


@pytest.mark.parametrize(
    ("packet", "words"),
    [
        (b"\x17\0\0\0\xff\x10\x04Too many connections", "Too many connections"),
        (b"\x05\0\0\0hello", "not a MySQL greeting"),
        (b"\x20\0\0", "hung up"),
    ],
)
def test_a_mysql_that_refuses_is_reported_in_its_words(packet: bytes, words: str) -> None:
    with server(writes(packet)) as port, hichat(**mysql_at(port)) as app:
        health = app.health()
        assert health["status"] == "degraded"
        assert words in health["mysql"]


def test_dependencies_are_not_asked_for_every_probe() -> None:
    asked = []

    def count(connection: socketserver.StreamRequestHandler) -> None:
        asked.append(1)
        mysql_greeting(b"8.4.6")(connection)

    with server(count) as port, hichat(**mysql_at(port)) as app:
        for _ in range(5):
            app.health()
    assert len(asked) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"garbage\r\n\r\n",
        b"\xff\xfe\x00 /\x1b[31m HTTP/9.9\r\n\r\n",
        b"GET /" + b"x" * 70000 + b" HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 99999\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 7\r\n\r\n\xff\xfe=%zz",
        b"DELETE / HTTP/1.1\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\n\r\n",
        b"GET /nothing HTTP/1.1\r\n\r\n",
    ],
)
def test_a_bad_request_gets_an_error_and_leaves_no_traceback(data: bytes) -> None:
    with hichat(**SIMULATED) as app:
        answer = app.raw(data)
        assert re.match(rb"HTTP/1\.0 (4\d\d|501) |(4\d\d|505) ", answer), answer
        assert app.request("GET", "/live")[0] == 200
        output = app.stop()[1]
        assert "Traceback" not in output
        assert "\x1b" not in output


def test_an_empty_message_is_refused() -> None:
    with hichat(**SIMULATED) as app:
        assert app.send("   ") == 400
        assert "<li>" not in app.request("GET", "/")[1]


def test_head_has_no_body() -> None:
    with hichat(**SIMULATED) as app:
        status, body, headers = app.request("HEAD", "/version")
        assert (status, body, headers["content-length"]) == (200, "", str(len(SHA) + 1))


def test_probes_stay_out_of_the_log_and_requests_are_in_it() -> None:
    with hichat(**SIMULATED) as app:
        app.health()
        app.request("GET", "/live")
        app.request("GET", "/version")
        output = app.stop()[1]
        assert '"GET /version HTTP/1.1" 200' in output
        assert "/health" not in output
        assert "/live" not in output


def test_sigterm_lets_a_running_request_end() -> None:
    began, release = threading.Event(), threading.Event()

    def slow(connection: socketserver.StreamRequestHandler) -> None:
        connection.rfile.readline()
        began.set()
        release.wait(10)
        connection.wfile.write(b"*0\r\n")

    answers = []
    with server(slow) as port, hichat(**redis_at(port)) as app:
        asking = threading.Thread(target=lambda: answers.append(app.request("GET", "/")[0]))
        asking.start()
        assert began.wait(10)
        app.process.send_signal(signal.SIGTERM)
        assert app.process.stdout
        assert "stopping" in app.process.stdout.readline()
        release.set()
        asking.join(10)
        assert answers == [200]
        assert app.process.wait(10) == 0


def test_it_still_serves_for_a_moment_after_sigterm() -> None:
    with hichat(**SIMULATED, DRAIN_MILLISECONDS="60000") as app:
        app.process.send_signal(signal.SIGTERM)
        assert app.process.stdout
        assert "stopping" in app.process.stdout.readline()
        assert app.request("GET", "/version")[0] == 200


def test_it_ends_by_itself_after_sigterm() -> None:
    with hichat(**SIMULATED, DRAIN_MILLISECONDS="100") as app:
        code, output = app.stop()
        assert code == 0
        assert "Traceback" not in output


@pytest.mark.parametrize(
    ("environment", "words"), [({"PORT": "eighty"}, "PORT is no number: 'eighty'"), ({"PORT": "70000"}, "cannot start")]
)
def test_a_bad_setting_is_named(environment: dict[str, str], words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-B", "-m", "hichat"],
        cwd=PROJECT,
        env={"PATH": os.environ["PATH"], "HOST": "127.0.0.1", **environment},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_named() -> None:
    with hichat(**SIMULATED) as first:
        with pytest.raises(AssertionError, match="cannot start"), hichat(**SIMULATED, PORT=str(first.port)):
            pass
        wait_until("the first still serves", lambda: True if first.health() else Pending("no answer"), timeout=5)
