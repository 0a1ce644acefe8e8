"""Downloads against a local server: whole, cut off, slow, refused, changed."""

import hashlib
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lab.engines.docker import fetching
from lab.errors import Interrupted, LabError, TimedOut
from lab.plan import StepContext

DATA = b"0123456789abcdef" * 20_000
SUM = hashlib.sha256(DATA).hexdigest()


@dataclass
class Server:
    """A file server that can break off, refuse Range, or answer something else."""

    url: str = ""
    data: bytes = DATA
    ranges: bool = True
    status: int = 200
    kind: str = "application/octet-stream"
    cuts: list[int] = field(default_factory=list)
    """After how many bytes the next answers break off."""
    hold: threading.Event | None = None
    """Waits for it in the middle of an answer."""
    asked: list[str | None] = field(default_factory=list)
    """The Range header of each request, and its path."""
    paths: list[str] = field(default_factory=list)


@contextmanager
def serving(server: Server):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            wanted = self.headers.get("Range")
            server.asked.append(wanted)
            server.paths.append(self.path)
            if server.status != 200:
                self.send_response(server.status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.ranges else 0
            if begin >= len(server.data) > 0:
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = server.data[begin:]
            self.send_response(206 if begin else 200)
            self.send_header("Content-Type", server.kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            cut = server.cuts.pop(0) if server.cuts else len(body)
            self.wfile.write(body[:cut])
            self.wfile.flush()
            if server.hold:
                server.hold.wait(20)
            self.close_connection = True

        def log_message(self, *_args):
            """Say nothing."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    server.url = f"http://127.0.0.1:{httpd.server_address[1]}"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join(5)


@pytest.fixture
def server():
    with serving(Server()) as found:
        yield found


@pytest.fixture
def wish(server, tmp_path):
    return fetching.Wish(f"{server.url}/k3d", tmp_path / "bin" / "k3d", SUM, program=True)


def fetch(wish, context=None, environ=None, timeout=30.0):
    fetching.fetch(wish, environ or {}, context or StepContext(), timeout=timeout)


def left(wish) -> list[str]:
    return sorted(path.name for path in wish.place.parent.iterdir())


def test_a_file_arrives_whole_executable_and_alone(wish):
    told = []
    fetch(wish, StepContext(progress=lambda done, total: told.append((done, total))))
    assert wish.place.read_bytes() == DATA
    assert wish.place.stat().st_mode & 0o777 == 0o700
    assert left(wish) == ["k3d"]
    assert told[-1] == (len(DATA), len(DATA))
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_what_broke_off_goes_on_where_it_was(server, wish):
    server.cuts = [1000, 5000]
    fetch(wish)
    assert wish.place.read_bytes() == DATA
    assert server.asked == [None, "bytes=1000-", "bytes=6000-"]


def test_what_a_killed_run_left_is_used(server, wish):
    wish.part.parent.mkdir()
    wish.part.write_bytes(DATA[:7777])
    fetch(wish)
    assert wish.place.read_bytes() == DATA
    assert server.asked == ["bytes=7777-"]


def test_a_whole_part_needs_no_byte_more(wish):
    wish.part.parent.mkdir()
    wish.part.write_bytes(DATA)
    fetch(wish)
    assert wish.place.read_bytes() == DATA
    assert left(wish) == ["k3d"]


def test_a_server_without_range_sends_all_of_it_again(server, wish):
    server.ranges, server.cuts = False, [1000]
    fetch(wish)
    assert wish.place.read_bytes() == DATA


def test_a_part_of_another_file_is_thrown_away_once(server, wish):
    wish.part.parent.mkdir()
    wish.part.write_bytes(b"x" * 5000)
    fetch(wish)
    assert wish.place.read_bytes() == DATA
    assert server.asked == ["bytes=5000-", None]


def test_a_wrong_checksum_shows_both_and_leaves_nothing(server, wish):
    server.data = b"something else"
    with pytest.raises(LabError) as caught:
        fetch(wish)
    assert caught.value.code == "LAB-FETCH-05"
    assert SUM in caught.value.evidence
    assert hashlib.sha256(b"something else").hexdigest() in caught.value.evidence
    assert left(wish) == []


def test_a_damaged_file_stays_until_the_right_one_is_whole(server, wish):
    wish.place.parent.mkdir()
    wish.place.write_bytes(b"old")
    server.data = b"something else"
    with pytest.raises(LabError):
        fetch(wish)
    assert wish.place.read_bytes() == b"old"


@pytest.mark.parametrize(("status", "words"), [(404, "no such file"), (403, "refuses"), (401, "login")])
def test_a_refusal_names_the_address_and_the_setting(server, wish, status, words):
    server.status = status
    with pytest.raises(LabError, match=words) as caught:
        fetch(wish)
    assert wish.url in caught.value.evidence
    assert "downloads.base" in caught.value.hint
    assert len(server.asked) == 1


def test_a_server_in_trouble_is_asked_three_times(server, wish):
    server.status = 503
    with pytest.raises(LabError) as caught:
        fetch(wish)
    assert caught.value.code == "LAB-FETCH-02"
    assert "HTTP 503" in caught.value.evidence
    assert len(server.asked) == 3


def test_a_web_page_is_no_file(server, wish):
    server.kind, server.data = "text/html; charset=utf-8", b"<html>Please log in</html>"
    with pytest.raises(LabError, match="web page") as caught:
        fetch(wish)
    assert caught.value.code == "LAB-FETCH-04"
    assert left(wish) == []


def test_nobody_there_is_said_so(tmp_path, server):
    gone = server.url.rpartition(":")[0] + ":9"  # the discard port: nothing listens
    with pytest.raises(LabError, match="does not give") as caught:
        fetch(fetching.Wish(f"{gone}/k3d", tmp_path / "k3d", SUM))
    assert "refused" in caught.value.evidence
    assert "--bundle" in caught.value.hint


def test_a_name_that_does_not_exist_is_said_so(tmp_path):
    with pytest.raises(LabError) as caught:
        fetch(fetching.Wish("http://no-such-host.invalid/k3d", tmp_path / "k3d", SUM))
    assert caught.value.code == "LAB-FETCH-02"
    assert "no-such-host.invalid" in caught.value.problem


def test_a_server_that_trickles_ends_with_the_time_limit(server, wish):
    server.cuts = [100] * 100_000
    with pytest.raises(TimedOut) as caught:
        fetch(wish, timeout=0.5)
    assert "bytes are here" in caught.value.evidence
    assert wish.part.stat().st_size > 0


def test_ctrl_c_ends_it_and_keeps_what_came(wish):
    stop = threading.Event()
    context = StepContext(stop, progress=lambda _done, _total: stop.set())
    with pytest.raises(Interrupted):
        fetch(wish, context)
    assert 0 < wish.part.stat().st_size < len(DATA)
    assert not wish.place.exists()


def test_a_silent_connection_counts_as_broken(server, wish, monkeypatch):
    monkeypatch.setattr(fetching, "_SILENCE", 0.2)
    server.hold = threading.Event()
    server.cuts = [10, 10, 10, 10]
    server.ranges = False
    with pytest.raises(LabError) as caught:
        fetch(wish)
    server.hold.set()
    assert "timed out" in caught.value.evidence


def test_a_folder_that_cannot_be_written_is_named(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="cannot be written") as caught:
        fetch(fetching.Wish(f"{server.url}/k3d", tmp_path / "file" / "k3d", SUM))
    assert str(tmp_path / "file") in caught.value.problem


def test_a_full_disk_is_called_by_its_name(server):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")

    class Full(fetching.Wish):
        @property
        def part(self):
            return full

    with pytest.raises(LabError, match="disk is full"):
        fetch(Full(f"{server.url}/k3d", Path("/tmp/k3d-never"), SUM))


def test_the_proxy_of_the_environment_is_used(server, tmp_path):
    wish = fetching.Wish("http://files.example.invalid/k3d", tmp_path / "k3d", SUM)
    fetch(wish, environ={"http_proxy": server.url})
    assert server.paths == ["http://files.example.invalid/k3d"]
    with pytest.raises(LabError):
        fetch(
            fetching.Wish("http://files.example.invalid/k3d", tmp_path / "other", SUM),
            environ={"HTTP_PROXY": server.url, "NO_PROXY": "example.invalid"},
        )


def test_this_machine_needs_no_proxy(wish):
    fetch(wish, environ={"http_proxy": "http://127.0.0.1:9"})
    assert wish.place.read_bytes() == DATA
