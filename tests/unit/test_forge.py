from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from wire import Wire, wire

from lab.forge import Forge, words
from lab.model import Endpoints
from lab.remote import RemoteError, fetch, patient
from lab.waiting import Pending

P = "/api/v4/projects/root%2Fhichat"


def endpoints(url: str, kubeconfig: Path = Path("/nowhere"), **changes: str) -> Endpoints:
    values = {
        "gitlab": "http://gitlab.lab.test:8929", "gitlab_route": url, "registry": "gitlab.lab.test:5050",
        "registry_route": url, "argocd": "https://localhost:8443", "webhook": "https://argocd.lab.test/api/webhook",
        "app": url, "root_token": "glpat-secret-value",
    }  # fmt: skip
    return Endpoints(kubeconfig=kubeconfig, **{**values, **changes})


@pytest.fixture
def fake():
    with wire() as served:
        yield served


@pytest.fixture
def forge(fake: Wire) -> Forge:
    return Forge(endpoints(fake.url), "root/hichat", timeout=2)


def test_paths_are_encoded_and_the_token_is_sent(fake, forge):
    fake.on("GET", f"{P}/repository/branches/feature%2Fx", (200, {"commit": {"id": "a" * 40}}))
    assert forge.head("feature/x") == "a" * 40
    assert fake.seen[0].headers["private-token"] == "glpat-secret-value"


def test_a_missing_thing_is_none_but_a_server_error_is_not(fake, forge):
    fake.on("GET", P, (404, {"message": "404 Project Not Found"}))
    assert forge.project() is None
    fake.on("GET", P, (502, "<html>bad gateway</html>"))
    with pytest.raises(RemoteError) as raised:
        forge.project()
    assert raised.value.status == 502
    assert raised.value.transient


@pytest.mark.parametrize(
    ("answer", "code", "text"),
    [
        ((400, {"message": {"path": ["has already been taken"]}}), "LAB-GITLAB-05", "path has already been taken"),
        ((401, {"message": "401 Unauthorized"}), "LAB-GITLAB-02", "401 Unauthorized"),
        ((403, {"error": "insufficient_scope", "scope": "api"}), "LAB-GITLAB-03", "insufficient_scope"),
        ((422, {"message": ["Name is invalid", "Level is wrong"]}), "LAB-GITLAB-05", "Name is invalid, Level is wrong"),
        ((429, "Retry later"), "LAB-GITLAB-06", "Retry later"),
        ((500, {"message": "500 Internal Server Error"}), "LAB-GITLAB-07", "500 Internal"),
    ],
)
def test_each_error_shape_becomes_one_line(fake, forge, answer, code, text):
    fake.on("POST", f"{P}/hooks", answer)
    with pytest.raises(RemoteError) as raised:
        forge.create(forge.at("hooks"), {"url": "x"})
    assert raised.value.code == code
    assert text in raised.value.evidence
    assert "glpat" not in str(raised.value)
    assert len(fake.seen) == 1, "one attempt: who waits decides on the next"


def test_no_answer_is_transient_and_named():
    forge = Forge(endpoints("http://127.0.0.1:9"), "root/hichat", timeout=2)
    with pytest.raises(RemoteError) as raised:
        forge.project()
    assert raised.value.code == "LAB-GITLAB-01"
    assert "onnection refused" in raised.value.evidence
    assert "Max retries" not in raised.value.evidence
    assert raised.value.transient


def test_links_to_the_identity_are_not_followed(fake, forge):
    """The server's own links name gitlab.lab.test, which does not resolve here."""
    fake.on("GET", f"{P}/hooks", (200, [{"id": 1}]))
    assert forge.rows(forge.at("hooks")) == [{"id": 1}]
    assert fake.seen[0].query["per_page"] == ["100"]


def test_skipped_pipelines_are_left_out(fake, forge):
    rows = [{"id": 3, "status": "skipped"}, {"id": 2, "status": "running"}]
    fake.on("GET", f"{P}/pipelines", (200, rows))
    assert [row["id"] for row in forge.pipelines(sha="a")] == [2]
    assert fake.seen[0].query["sha"] == ["a"]


def test_removing_what_is_gone_is_fine(fake, forge):
    fake.on("DELETE", f"{P}/hooks/3", (404, {"message": "404 Not Found"}))
    forge.remove(forge.at("hooks", 3))
    fake.on("DELETE", f"{P}/hooks/3", (204, ""))
    forge.remove(forge.at("hooks", 3))


def test_a_file_comes_as_text(fake, forge):
    fake.on("GET", f"{P}/repository/files/k8s%2Fhichat.yaml/raw", (200, "image: x\n"))
    assert forge.file("k8s/hichat.yaml", "k8s-config") == "image: x\n"
    assert fake.seen[0].query["ref"] == ["k8s-config"]


def test_words_reads_bytes_too():
    assert words(b"Retry\n later") == "Retry later"


def test_patience_turns_an_outage_into_pending(fake, forge):
    fake.on("GET", P, (503, "Service Unavailable"))
    assert isinstance(patient(forge.project)(), Pending)
    fake.on("GET", P, (403, {"message": "403 Forbidden"}))
    with pytest.raises(RemoteError):
        patient(forge.project)()


def test_patience_ends_with_an_outage_that_lasts(fake, forge):
    now = [0.0]
    asked = patient(forge.project, outage=60, clock=lambda: now[0])
    fake.on("GET", P, (503, "Service Unavailable"))
    assert isinstance(asked(), Pending)
    now[0] = 59
    assert isinstance(asked(), Pending)
    fake.on("GET", P, (200, {"id": 1}))
    assert asked() == {"id": 1}
    fake.on("GET", P, (503, "Service Unavailable"))
    now[0] = 100
    assert isinstance(asked(), Pending), "an answer in between starts the count anew"
    now[0] = 161
    with pytest.raises(RemoteError):
        asked()


def test_fetch_sends_host_and_login(fake):
    fake.on("GET", "/health", (401, "no"))
    answer = fetch(f"{fake.url}/health?x=1", headers={"Host": "hichat.local"}, login=("u", "p"))
    assert (answer.status, answer.text) == (401, "no")
    assert fake.seen[0].headers["host"] == "hichat.local"
    assert fake.seen[0].headers["authorization"] == "Basic dTpw"


def test_threads_that_need_the_heavy_packages_at_once_all_get_whole_ones():
    """In a fresh process: requests' modules import each other, and both clients import requests."""
    script = (
        "import threading; from lab.remote import load; errors = []\n"
        "def need(*names):\n"
        "    try: load(*names)\n"
        "    except ImportError as error: errors.append(error)\n"
        "wanted = [('gitlab', 'requests'), ('kubernetes.dynamic',), ('requests',)] * 4\n"
        "threads = [threading.Thread(target=need, args=names) for names in wanted]\n"
        "[thread.start() for thread in threads]; [thread.join() for thread in threads]\n"
        "assert not errors, errors\n"
    )
    for _ in range(3):
        subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
