from __future__ import annotations

import threading
import time

import pytest
from cluster_wire import Objects, kubeconfig
from wire import wire

from lab.cluster import APPLICATION, DEPLOYMENT, MANAGER, SECRET, Cluster
from lab.remote import RemoteError

SECRET_PATH = "/api/v1/namespaces/argocd/secrets/argocd-secret"


@pytest.fixture
def fake():
    with wire() as served:
        yield served


@pytest.fixture
def objects(fake):
    return Objects(fake)


@pytest.fixture
def cluster(objects, fake, tmp_path):  # noqa: ARG001 - the objects serve discovery
    return Cluster(kubeconfig(tmp_path / "kubeconfig", fake.url), timeout=2)


def test_get_finds_and_misses(cluster, objects, fake):
    objects.put(SECRET_PATH, {"metadata": {"name": "argocd-secret"}, "data": {"a": "Yg=="}})
    assert cluster.get(SECRET, "argocd-secret", "argocd")["data"] == {"a": "Yg=="}
    objects.absent("/apis/apps/v1/namespaces/hichat/deployments/hichat")
    assert cluster.get(DEPLOYMENT, "hichat", "hichat") is None
    assert fake.seen[-1].headers["authorization"] == "Bearer secret-token"


def test_discovery_is_asked_once_and_nothing_is_cached_on_disk(cluster, objects, fake, tmp_path):
    objects.put(SECRET_PATH, {"metadata": {"name": "argocd-secret"}})
    for _ in range(3):
        cluster.get(SECRET, "argocd-secret", "argocd")
    assert len(fake.sent("GET", "/api/v1")) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["kubeconfig"]


def test_apply_is_server_side_with_our_manager(cluster, objects, fake):
    path = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/hichat"
    objects.absent(path)
    wanted = {
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
        "metadata": {"name": "hichat", "namespace": "argocd"}, "spec": {"project": "default"},
    }  # fmt: skip
    cluster.apply(wanted)
    sent = fake.sent("PATCH", path)[0]
    assert sent.headers["content-type"] == "application/apply-patch+yaml"
    assert sent.query["fieldManager"] == [MANAGER]
    assert sent.query["force"] in (["true"], ["True"])
    assert cluster.get(APPLICATION, "hichat", "argocd")["spec"] == {"project": "default"}


def test_patch_is_a_merge_patch(cluster, objects, fake):
    objects.put(SECRET_PATH, {"metadata": {"name": "argocd-secret"}, "data": {"tls.key": "eA=="}})
    cluster.patch(SECRET, "argocd-secret", "argocd", {"data": {"webhook.gitlab.secret": "eQ=="}})
    assert fake.sent("PATCH", SECRET_PATH)[0].headers["content-type"] == "application/merge-patch+json"
    assert objects.stored[SECRET_PATH]["data"] == {"tls.key": "eA==", "webhook.gitlab.secret": "eQ=="}


def test_select_passes_selectors(cluster, objects, fake):
    objects.put("/api/v1/namespaces/hichat/pods/a", {"metadata": {"name": "a"}})
    found = cluster.select(("v1", "Pod"), "hichat", labels="app=hichat", fields="status.phase=Running")
    assert [pod["metadata"]["name"] for pod in found] == ["a"]
    assert fake.seen[-1].query == {"labelSelector": ["app=hichat"], "fieldSelector": ["status.phase=Running"]}


def test_delete_says_whether_there_was_one(cluster, objects):
    objects.put(SECRET_PATH, {"metadata": {"name": "argocd-secret"}})
    assert cluster.delete(SECRET, "argocd-secret", "argocd") is True
    assert cluster.delete(SECRET, "argocd-secret", "argocd") is False


def test_logs_come_as_text_even_when_a_line_is_json(cluster, fake):
    fake.on("GET", "/api/v1/namespaces/hichat/pods/a/log", (200, '{"level": "info"}'))
    assert cluster.logs("a", "hichat", tail=5) == '{"level": "info"}'
    assert fake.seen[-1].query["tailLines"] == ["5"]
    fake.on("GET", "/api/v1/namespaces/hichat/pods/a/log", (200, "one\ntwo\nthree"))
    assert list(cluster.follow_logs("a", "hichat")) == ["one", "two", "three"]


def test_a_followed_log_that_says_nothing_ends_when_it_is_told_to(cluster, fake):
    silence, stop = threading.Event(), threading.Event()

    def log():
        yield "one\n"
        silence.wait(30)

    fake.on("GET", "/api/v1/namespaces/hichat/pods/a/log", (200, log()))
    lines = cluster.follow_logs("a", "hichat", stop=stop)
    assert next(lines) == "one"
    stop.set()
    began = time.monotonic()
    assert list(lines) == []
    assert time.monotonic() - began < 1
    silence.set()


def test_a_followed_log_whose_connection_breaks_says_so(cluster, fake):
    def log():
        yield "one\n"

    fake.headers["/api/v1/namespaces/hichat/pods/a/log"] = {"Content-Length": "100"}
    fake.on("GET", "/api/v1/namespaces/hichat/pods/a/log", (200, log()))
    with pytest.raises(RemoteError) as caught:
        list(cluster.follow_logs("a", "hichat"))
    assert caught.value.code == "LAB-KUBE-02"


def test_logs_of_a_container_that_waits_are_empty(cluster, fake):
    message = {"kind": "Status", "message": "container is waiting to start", "code": 400}
    fake.on("GET", "/api/v1/namespaces/hichat/pods/a/log", (400, message))
    assert cluster.logs("a", "hichat") == ""


def test_errors_carry_the_status_document(cluster, fake):
    fake.on("GET", SECRET_PATH, (403, {"kind": "Status", "reason": "Forbidden", "message": "secrets is forbidden"}))
    with pytest.raises(RemoteError) as raised:
        cluster.get(SECRET, "argocd-secret", "argocd")
    assert (raised.value.status, raised.value.evidence) == (403, "secrets is forbidden")
    assert not raised.value.transient


def test_an_unknown_kind_reads_as_absent(cluster):
    assert cluster.get(("argoproj.io/v1alpha1", "Rollout"), "x", "argocd") is None


def test_no_server_is_transient(tmp_path):
    cluster = Cluster(kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:9"), timeout=2)
    with pytest.raises(RemoteError) as raised:
        cluster.get(SECRET, "x", "y")
    assert raised.value.transient


def test_no_kubeconfig_says_so(tmp_path):
    with pytest.raises(RemoteError) as raised:
        Cluster(tmp_path / "kubeconfig").get(SECRET, "x", "y")
    assert raised.value.code == "LAB-KUBE-01"
