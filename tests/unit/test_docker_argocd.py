"""Argo CD's installation against a pretended Kubernetes: order, managers, what is noticed, what counts as an answer."""

import dataclasses
import hashlib
import os
import ssl
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cluster_wire
import pytest
import yaml
from cluster_wire import Objects, kubeconfig
from docker_wire import engine as pretended
from wire import wire

from lab.cluster import MANAGER
from lab.emulator import tls
from lab.engines.docker import argocd_install, argocd_manifest, downloads
from lab.engines.docker.argocd_install import MANIFEST_MANAGER, ArgoCdInstall
from lab.engines.docker.site import Site
from lab.errors import LabError, TimedOut
from lab.plan import Needed, Satisfied, StepContext
from lab.remote import RemoteError, fetch
from lab.settings import PortSettings, Settings, TimeoutSettings
from lab.state import State

REAL = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gitops-lab-ci/argocd/v3.5.1/install.yaml"
"""Where .ci/engine puts upstream's manifest."""
PART_OF = {"app.kubernetes.io/part-of": "argocd"}
KINDS = {
    "apis/apiextensions.k8s.io/v1": [("CustomResourceDefinition", "customresourcedefinitions", False)],
    "apis/apps/v1": [("Deployment", "deployments", True), ("StatefulSet", "statefulsets", True)],
}
BASE = "/api/v1/namespaces/argocd"
APPS = "/apis/apps/v1/namespaces/argocd"
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/applications.argoproj.io"
INGRESSES = "/apis/networking.k8s.io/v1/namespaces/argocd/ingresses"
UNKNOWN = (400, "Unknown webhook event\n")


def workload(kind: str, name: str, image: str) -> dict:
    containers = [{"name": "main", "image": image, "imagePullPolicy": "Always"}]
    template = {"spec": {"containers": containers, "initContainers": [{"name": "copy", "image": image}]}}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "labels": PART_OF},
            "spec": {"template": template}}  # fmt: skip


MANIFEST = [
    workload("Deployment", "argocd-server", "quay.io/argoproj/argocd:v3.5.1"),
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cmd-params-cm", "labels": PART_OF}},
    {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
     "metadata": {"name": "applications.argoproj.io", "labels": PART_OF}, "spec": {"group": "argoproj.io"}},
    workload("Deployment", "argocd-dex-server", "ghcr.io/dexidp/dex:v2.45.0"),
    workload("StatefulSet", "argocd-application-controller", "quay.io/argoproj/argocd:v3.5.1"),
]  # fmt: skip
ORDER = [
    "/api/v1/namespaces/argocd", CRD, f"{BASE}/configmaps/argocd-cmd-params-cm",
    f"{APPS}/deployments/argocd-server", f"{APPS}/deployments/argocd-dex-server",
    f"{APPS}/statefulsets/argocd-application-controller",
]  # fmt: skip


@pytest.fixture
def fake():
    with wire() as served:
        yield served


@pytest.fixture
def objects(fake, monkeypatch):
    monkeypatch.setattr(cluster_wire, "KINDS", {**cluster_wire.KINDS, **KINDS})
    found = Objects(fake)
    for path in (*ORDER, f"{INGRESSES}/argocd", f"{INGRESSES}/argocd-webhook"):
        found.absent(path)
    fake.on("GET", f"{BASE}/pods", (200, {"items": []}))
    return found


@pytest.fixture
def docker():
    with pretended() as found:
        yield found


@pytest.fixture
def install(tmp_path, fake, objects, docker, monkeypatch):  # noqa: ARG001 - the objects serve discovery
    text = yaml.safe_dump_all(MANIFEST).encode()
    checksum = (("any", hashlib.sha256(text).hexdigest()),)
    monkeypatch.setattr(
        downloads, "FILES", tuple(dataclasses.replace(file, checksums=checksum) for file in downloads.FILES)
    )
    state = State(tmp_path / ".lab")
    kubeconfig(state.path("kubeconfig"), fake.url)
    site = Site(Settings(size="small", timeouts=TimeoutSettings(cluster=0.4)), state, docker.environ)
    path = state.path(next(file.place for file in downloads.FILES if file.name == "argo-cd"))
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text)
    return ArgoCdInstall(site)


def step(install, name):
    return next(found for found in install.steps() if found.name == name)


def manifest(install, context=None):
    """Apply it; the definition is established as soon as it is there."""
    return step(install, "argocd.manifest").act(context or StepContext())


def established(objects, value="True"):
    objects.put(CRD, {"metadata": {"name": "applications.argoproj.io", "labels": PART_OF},
                      "status": {"conditions": [{"type": "Established", "status": value}]}})  # fmt: skip


def applied(fake):
    """Path and field manager of every apply, in order."""
    return [(request.path, request.query["fieldManager"][0]) for request in fake.seen if request.method == "PATCH"]


def test_definitions_come_first_and_parameters_before_the_server(install, objects, fake):
    established(objects)
    assert manifest(install) == "5 objects applied"
    paths = [path for path, _ in applied(fake)]
    parameters = f"{BASE}/configmaps/argocd-cmd-params-cm"
    assert set(paths[:2]) == set(ORDER[:2])
    assert paths[2:4] == [parameters, parameters]
    assert set(paths[4:]) == set(ORDER[3:])
    assert objects.stored[parameters]["data"] == {"server.insecure": "true"}


def test_upstreams_keys_and_ours_have_managers_of_their_own(install, objects, fake):
    established(objects)
    manifest(install)
    parameters = f"{BASE}/configmaps/argocd-cmd-params-cm"
    managers = Counter(applied(fake))
    assert managers[parameters, MANIFEST_MANAGER] == managers[parameters, MANAGER] == 1
    assert {manager for path, manager in applied(fake) if path != parameters} == {MANIFEST_MANAGER}


def test_what_the_loop_does_not_need_has_no_pods_and_no_image_is_asked_for_twice(install, objects):
    established(objects)
    manifest(install)
    server, dex = (objects.stored[f"{APPS}/deployments/{name}"] for name in ("argocd-server", "argocd-dex-server"))
    assert (server["spec"]["replicas"], dex["spec"]["replicas"]) == (1, 0)
    containers = server["spec"]["template"]["spec"]
    assert {item["imagePullPolicy"] for part in containers.values() for item in part} == {"IfNotPresent"}
    assert server["metadata"]["namespace"] == "argocd"


def test_a_second_look_is_satisfied_and_applies_nothing(install, objects, fake):
    established(objects)
    found = step(install, "argocd.manifest")
    assert found.probe(StepContext()) == Needed("it was not installed yet")
    manifest(install)
    before = len(applied(fake))
    assert isinstance(found.probe(StepContext()), Satisfied)
    assert len(applied(fake)) == before


@pytest.fixture
def impatient(monkeypatch):
    """Nothing restarts here that a check had to wait for."""
    monkeypatch.setattr(argocd_install, "_RESTART", 0.0)


@pytest.mark.parametrize(
    ("path", "change", "why"),
    [
        (f"{BASE}/configmaps/argocd-cmd-params-cm", None, "ConfigMap argocd-cmd-params-cm is missing"),
        (f"{BASE}/configmaps/argocd-cmd-params-cm", {"data": {}}, "data.server.insecure is missing"),
        (f"{APPS}/deployments/argocd-server", {"spec": {"replicas": 0}}, "Deployment argocd-server has other images"),
        (f"{APPS}/deployments/argocd-server",
         {"spec": {"replicas": 1, "template": {"spec": {"containers": [{"image": "quay.io/argoproj/argocd:v3.4.7"}]}}}},
         "Deployment argocd-server has other images"),
    ],
)  # fmt: skip
def test_what_somebody_changed_is_noticed(install, objects, path, change, why):
    established(objects)
    manifest(install)
    if change is None:
        del objects.stored[path]
    else:
        objects.stored[path] = {**objects.stored[path], **change}
    found = step(install, "argocd.manifest").probe(StepContext())
    assert isinstance(found, Needed)
    assert why in found.why


def test_another_pinned_version_or_image_is_installed_anew(install, objects, monkeypatch):
    established(objects)
    manifest(install)
    newer = tuple(dataclasses.replace(file, version="v9.9.9") for file in downloads.FILES)
    monkeypatch.setattr(downloads, "FILES", newer)
    assert step(install, "argocd.manifest").probe(StepContext()) == Needed("another version was installed")


def test_a_definition_that_is_not_established_ends_the_wait_with_its_name(install, objects):
    established(objects, "False")
    with pytest.raises(TimedOut) as caught:
        manifest(install)
    assert "applications.argoproj.io is not established" in caught.value.evidence
    assert install._site.state.fact("argocd-manifest") is None


def test_a_busy_api_server_is_asked_again(install, objects, fake):
    established(objects)
    merge, left = fake.routes["PATCH", ORDER[0]], [1]

    def busy(request):
        left[0] -= 1
        return (503, {"message": "busy"}) if left[0] >= 0 else merge(request)

    fake.on("PATCH", ORDER[0], busy)
    assert manifest(install) == "5 objects applied"


def test_a_refusal_is_told_at_once(install, objects, fake):
    established(objects)
    fake.on("PATCH", ORDER[0], (403, {"message": "namespaces is forbidden"}))
    with pytest.raises(RemoteError) as caught:
        manifest(install)
    assert "forbidden" in caught.value.evidence


def test_a_damaged_manifest_is_no_traceback(tmp_path):
    path = tmp_path / "install.yaml"
    path.write_text("a: [")
    with pytest.raises(LabError) as caught:
        argocd_manifest.read(path, {}, extras=False)
    assert caught.value.code == "LAB-ARGO-02"


def test_other_images_replace_those_of_the_manifest(tmp_path):
    path = tmp_path / "install.yaml"
    path.write_text(yaml.safe_dump_all(MANIFEST))
    found = argocd_manifest.read(path, {"quay.io/argoproj/argocd:v3.5.1": "registry.lan/argocd:v3.5.1"}, extras=True)
    parts = found.summary()["parts"]
    assert parts["argocd-server"] == {"images": ["registry.lan/argocd:v3.5.1"], "replicas": 1}
    assert parts["argocd-dex-server"]["replicas"] == 1


@pytest.mark.skipif(not REAL.exists(), reason=f"upstream's manifest is not at {REAL}; .ci/engine fetches it")
def test_upstreams_own_manifest_is_understood():
    found = argocd_manifest.read(REAL, {}, extras=False)
    assert [len(found.definitions), len(found.others), len(found.workloads)] == [3, 49, 7]
    summary = found.summary()
    assert {name for name, part in summary["parts"].items() if part["replicas"] == 0} == set(argocd_manifest.EXTRAS)
    assert summary["parts"]["argocd-server"]["images"] == ["quay.io/argoproj/argocd:v3.5.1"]
    wide = {item["kind"] for item in (*found.definitions, *found.others) if "namespace" not in item["metadata"]}
    assert wide == set(argocd_manifest.CLUSTER_WIDE)


class Doors:
    """Traefik on two ports: what it answers, and the Host of each request."""

    def __init__(self) -> None:
        self.healthz, self.webhook = (200, "ok"), UNKNOWN
        self.hosts: list[str] = []

    def serve(self, context: ssl.SSLContext | None) -> ThreadingHTTPServer:
        doors = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                doors.hosts.append(self.headers["Host"])
                known = {"/healthz": doors.healthz, "/api/webhook": doors.webhook}
                status, text = known.get(self.path, (404, "404 page not found"))
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_args: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return server


@pytest.fixture
def doors(install, tmp_path):
    found = Doors()
    servers = [found.serve(tls.server_context(tmp_path / "tls", ["localhost", "127.0.0.1"])), found.serve(None)]
    ports = PortSettings(argocd=servers[0].server_address[1], app=servers[1].server_address[1])
    object.__setattr__(install._site, "settings", dataclasses.replace(install._site.settings, ports=ports))
    yield found
    for server in servers:
        server.shutdown()
        server.server_close()


def running(objects, *names, replicas=1):
    for name in names:
        spec = {"replicas": 1, "template": {"spec": {"containers": []}}}
        status = {
            "observedGeneration": 1,
            "updatedReplicas": replicas,
            "availableReplicas": replicas,
            "replicas": replicas,
        }
        metadata = {"name": name, "labels": PART_OF}
        objects.put(f"{APPS}/deployments/{name}", {"metadata": metadata, "spec": spec, "status": status})


def test_argocd_is_there_when_both_ways_in_answer_as_themselves(install, objects, doors):
    running(objects, "argocd-server")
    found = step(install, "argocd")
    assert found.probe(StepContext()) == Needed("Ingress argocd: the object is missing")
    assert found.act(StepContext()) == "v3.5.1 answers, its webhook too"
    assert isinstance(found.probe(StepContext()), Satisfied)
    assert "k3d-lab-serverlb" in doors.hosts
    webhook = objects.stored[f"{INGRESSES}/argocd-webhook"]["spec"]["rules"][0]
    assert (webhook["host"], webhook["http"]["paths"][0]["path"]) == ("k3d-lab-serverlb", "/api/webhook")


@pytest.mark.parametrize(
    ("answers", "seen"),
    [
        (((404, "404 page not found"), UNKNOWN), "the pages' route answers 404"),
        (((307, ""), UNKNOWN), "the pages' route answers 307"),
        (((200, "ok"), (307, "")), "the webhook's route answers 307"),
        (((200, "ok"), (301, "")), "the webhook's route answers 301"),
        (((200, "ok"), (404, "404 page not found")), "the webhook's route answers 404"),
        (((200, "ok"), (400, "the application's own")), "the webhook's route answers 400"),
        (((200, "ok"), (200, "")), "the webhook's route answers 200"),
        (((200, "ok"), (503, "no available server")), "the webhook's route answers 503"),
    ],
)
@pytest.mark.usefixtures("impatient")
def test_another_answer_is_none(install, objects, doors, answers, seen):
    running(objects, "argocd-server")
    doors.healthz, doors.webhook = answers
    with pytest.raises(TimedOut) as caught:
        step(install, "argocd").act(StepContext())
    assert seen in caught.value.evidence
    assert seen in install.health()[0].evidence


def test_a_server_that_redirects_is_started_anew_with_its_parameters(install, objects, doors, fake):
    running(objects, "argocd-server")
    doors.webhook = (307, "")
    path = f"{APPS}/deployments/argocd-server"
    merge = fake.routes["PATCH", path]

    def restart(request):
        doors.webhook = UNKNOWN
        return merge(request)

    fake.on("PATCH", path, restart)
    assert "answers" in step(install, "argocd").act(StepContext())
    annotations = fake.sent("PATCH", path)[0].json["spec"]["template"]["metadata"]["annotations"]
    assert list(annotations) == ["kubectl.kubernetes.io/restartedAt"]


def test_parts_that_do_not_come_up_are_named_with_what_keeps_them(install, objects, doors, fake):
    running(objects, "argocd-server")
    running(objects, "argocd-repo-server", "argocd-redis", replicas=0)
    waiting = {"reason": "ImagePullBackOff", "message": "429 Too Many Requests"}
    pods = [{"metadata": {"name": f"{name}-1"}, "status": {"containerStatuses": [{"state": {"waiting": waiting}}]}}
            for name in ("argocd-repo-server", "argocd-redis")]  # fmt: skip
    fake.on("GET", f"{BASE}/pods", (200, {"items": pods}))
    fake.on("GET", f"{BASE}/events", (200, {"items": []}))
    with pytest.raises(TimedOut) as caught:
        step(install, "argocd").act(StepContext())
    assert "LAB-REG-08" in caught.value.evidence
    told = caught.value.evidence.splitlines()[0]
    assert "argocd-repo-server-1, argocd-redis-1: ImagePullBackOff: 429" in told
    assert "not available: argocd-repo-server, argocd-redis;" in told
    assert doors.hosts == []


def test_logs_are_those_of_the_newest_pod_and_of_none_is_said_so(install, fake):
    fake.on("GET", f"{BASE}/pods", (200, {"items": [{"metadata": {"name": "s-1", "creationTimestamp": "1"}}]}))
    fake.on("GET", f"{BASE}/pods/s-1/log", (200, "first\nsecond\n"))
    assert list(install.logs()["argocd"](False, threading.Event())) == ["first", "second"]
    fake.on("GET", f"{BASE}/pods", (200, {"items": []}))
    with pytest.raises(LabError) as caught:
        list(install.logs()["argocd-repo"](False, threading.Event()))
    assert caught.value.code == "LAB-LOGS-06"


def test_https_is_for_this_machine_only():
    with pytest.raises(ValueError, match="certificate"):
        fetch("https://example.com/")
