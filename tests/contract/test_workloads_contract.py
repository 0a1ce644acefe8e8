"""The cluster at work as kubectl users see it: rollouts, logs, failures, deletion, services and ingress."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import textwrap
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.waiting import Pending, wait_until


def _kubectls() -> list[str]:
    """Every kubectl at hand that is not older than the cluster allows (one minor version, here 1.31 and later)."""
    found = {str(path) for path in Path("/usr/lib/google-cloud-sdk/bin").glob("kubectl.1.*")}
    found |= {path for path in [shutil.which("kubectl")] if path}
    return sorted(path for path in found if _minor(path) >= 31)


def _minor(path: str) -> int:
    done = subprocess.run(
        [path, "version", "--client", "-o", "json"], capture_output=True, text=True, check=False, timeout=20
    )
    return int(json.loads(done.stdout)["clientVersion"]["minor"].rstrip("+")) if done.returncode == 0 else 0


KUBECTLS = _kubectls()
pytestmark = [pytest.mark.needs("kubernetes"), pytest.mark.skipif(not KUBECTLS, reason="needs kubectl")]

CODE = textwrap.dedent("""
    import http.server, os, signal, threading, time
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = os.environ["ANSWER"].encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        def log_message(self, *arguments):
            print("GET", self.path, flush=True)
    host, port = os.environ.get("HOST", "0.0.0.0"), int(os.environ.get("PORT", 8080))
    server = http.server.ThreadingHTTPServer((host, port), Handler)
    def drain():
        time.sleep(0.3)
        server.shutdown()
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=drain).start())
    print("listening", flush=True)
    server.serve_forever(0.05)
""")


@pytest.fixture(scope="module")
def image(target, tmp_path_factory) -> Iterator[str]:
    """An image with Python: from the lab's registry on the emulator, the target's elsewhere."""
    if target.image:
        yield target.image
        return
    import gitlab

    root = gitlab.Gitlab(target.gitlab, private_token=target.root_token, keep_base_url=True, timeout=30)
    project = root.projects.create({"name": f"workloads-{secrets.token_hex(4)}", "visibility": "public"})
    folder = tmp_path_factory.mktemp("image")
    (folder / "Dockerfile").write_text('FROM python:3.12-alpine\nCMD ["python"]\n')
    name = f"{target.registry}/{project.path_with_namespace}:1"
    env = {
        **os.environ,
        "HOME": str(folder),
        "LAB_REGISTRY": target.registry,
        "LAB_DOCKER_STORE": str(folder / "store"),
    }
    docker = [sys.executable, "-m", "lab.emulator.docker"]
    for arguments, stdin in (
        (["login", "--username", "root", "--password-stdin", target.registry], target.root_password),
        (["build", "--tag", name, str(folder)], ""),
        (["push", name], ""),
    ):
        subprocess.run([*docker, *arguments], input=stdin, env=env, text=True, check=True, timeout=60)
    yield name
    project.delete()


class Kubectl:
    """kubectl in one namespace."""

    def __init__(self, program: str, target: Any, namespace: str, home: Path) -> None:
        self._argv = [program, "--kubeconfig", str(target.kubeconfig), "--namespace", namespace]
        self._env = {"PATH": "/usr/bin:/bin", "HOME": str(home)}

    def __call__(self, *arguments: str, stdin: str = "", check: bool = True) -> str:
        done = subprocess.run(
            [*self._argv, *arguments],
            input=stdin,
            env=self._env,
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0 or not check, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout + ("" if check else done.stderr)

    def json(self, *arguments: str) -> dict[str, Any]:
        return json.loads(self("get", *arguments, "-o", "json"))

    def until(self, what: str, probe: Any) -> Any:
        """The probe's first true answer."""
        return wait_until(what, lambda: probe() or Pending(self("get", "pods,events", check=False)), timeout=40)


@pytest.fixture(params=KUBECTLS, ids=lambda path: Path(path).name)
def kubectl(request, target, tmp_path) -> Iterator[Kubectl]:
    namespace = f"work-{secrets.token_hex(4)}"
    tool = Kubectl(request.param, target, namespace, tmp_path)
    tool("create", "namespace", namespace)
    yield tool
    tool("delete", "namespace", namespace, "--wait=false")


def manifests(image: str, host: str, answer: str = "one", replicas: int = 2) -> str:
    container = {
        "name": "app", "image": image, "command": ["python", "-c", CODE], "env": [{"name": "ANSWER", "value": answer}],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
    }  # fmt: skip
    labels = {"app": "web"}
    documents = [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels},
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
         "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": "http"}]}},
        {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "web"}, "spec": {"rules": [
            {"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {
                "service": {"name": "web", "port": {"number": 80}}}}]}}]}},
    ]  # fmt: skip
    return "\n".join(json.dumps(each) for each in documents)


def ask(target: Any, host: str) -> tuple[int, str]:
    request = urllib.request.Request(target.app + "/", headers={"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.needs("ingress")
def test_rollout_under_load_history_undo_restart_and_logs(target, image, kubectl):
    host = f"{secrets.token_hex(4)}.test"
    assert ask(target, host) == (404, "404 page not found\n")
    kubectl("apply", "-f", "-", stdin=manifests(image, host))
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=40s")
    kubectl.until("the ingress", lambda: ask(target, host) == (200, "one"))

    answers: list[tuple[int, str]] = []
    ended = threading.Event()

    def load() -> None:
        while not ended.is_set():
            answers.append(ask(target, host))

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        kubectl("set", "env", "deployment/web", "ANSWER=two")
        kubectl("rollout", "status", "deployment/web", "--timeout=40s")
        kubectl.until("only the new answer", lambda: {ask(target, host) for _ in range(4)} == {(200, "two")})
    finally:
        ended.set()
        for thread in threads:
            thread.join(20)
    assert set(answers) <= {(200, "one"), (200, "two")}, "no request was dropped"

    assert kubectl("rollout", "history", "deployment/web").split()[-4:] == ["1", "<none>", "2", "<none>"]
    kubectl("rollout", "undo", "deployment/web")
    kubectl("rollout", "status", "deployment/web", "--timeout=40s")
    found = kubectl.json("deployment", "web")
    assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
    assert len(kubectl.json("replicasets")["items"]) == 2, "an old template is an old replica set"
    kubectl("rollout", "restart", "deployment/web")
    kubectl("rollout", "status", "deployment/web", "--timeout=40s")
    kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=20s")
    kubectl.until("the log's first line", lambda: "listening" in kubectl("logs", "deployment/web"))
    ask(target, host)
    described = kubectl("describe", "pods", "--selector=app=web")
    for text in ("Successfully assigned", "Created container", "Started container", "ContainersReady"):
        assert text in described


@pytest.mark.needs("ingress")
def test_scaling_and_graceful_deletion(target, image, kubectl):
    host = f"{secrets.token_hex(4)}.test"
    kubectl("apply", "-f", "-", stdin=manifests(image, host, replicas=1))
    kubectl("rollout", "status", "deployment/web", "--timeout=40s")
    kubectl("scale", "deployment/web", "--replicas=3")
    kubectl("wait", "--for=jsonpath={.status.readyReplicas}=3", "deployment/web", "--timeout=40s")
    first = kubectl.json("pods")["items"][0]["metadata"]["name"]
    begun = time.monotonic()
    kubectl("delete", "pod", first)
    assert time.monotonic() - begun >= 0.3, "kubectl waits until the process has drained"
    kubectl("rollout", "status", "deployment/web", "--timeout=40s")
    names = [
        each["metadata"]["name"]
        for each in kubectl.json("pods")["items"]
        if "deletionTimestamp" not in each["metadata"]
    ]
    assert len(names) == 3
    assert first not in names
    kubectl("scale", "deployment/web", "--replicas=0")
    kubectl("wait", "--for=delete", "pod", "--selector=app=web", "--timeout=40s")
    kubectl.until("no endpoint", lambda: ask(target, host)[0] == 503)


def run(kubectl: Kubectl, name: str, image: str, code: str, **spec: Any) -> None:
    container = {"name": "main", "image": image, "command": ["python", "-c", code]}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container], **spec}}
    kubectl("apply", "-f", "-", stdin=json.dumps(body))


def test_logs_follow_previous_tail_and_their_errors(image, kubectl):
    run(
        kubectl,
        "count",
        image,
        "import time\nfor n in range(5): print(n, flush=True); time.sleep(0.1)",
        restartPolicy="Never",
    )
    kubectl.until("the container", lambda: kubectl.json("pod", "count")["status"]["phase"] != "Pending")
    assert kubectl("logs", "--follow", "count") == "0\n1\n2\n3\n4\n"
    kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/count", "--timeout=20s")
    assert kubectl("logs", "--tail=2", "count") == "3\n4\n"
    assert kubectl("logs", "--timestamps", "--tail=1", "count").endswith("Z 4\n")
    assert 'previous terminated container "main" in pod "count" not found' in kubectl(
        "logs", "-p", "count", check=False
    )
    assert "NotFound" in kubectl("logs", "none", check=False)


def waiting(kubectl: Kubectl, name: str) -> str:
    statuses = kubectl.json("pod", name)["status"].get("containerStatuses") or [{"state": {}}]
    return str((statuses[0]["state"].get("waiting") or {}).get("reason"))


def test_a_crash_loop_backs_off_and_shows_the_last_words(image, kubectl):
    run(kubectl, "crash", image, "print('last words'); raise SystemExit(7)")
    kubectl.until("the back-off", lambda: waiting(kubectl, "crash") == "CrashLoopBackOff")
    status = kubectl.json("pod", "crash")["status"]["containerStatuses"][0]
    assert status["lastState"]["terminated"]["exitCode"] == 7
    assert status["restartCount"] >= 1
    assert kubectl("logs", "-p", "crash") == "last words\n"
    assert "Back-off restarting failed container main in pod crash" in kubectl("describe", "pod", "crash")


def test_an_image_that_does_not_exist(target, kubectl):
    name = f"{target.registry or 'registry.invalid'}/root/no-such-project:1"
    run(kubectl, "gone", name, "")
    kubectl.until("a failed pull", lambda: waiting(kubectl, "gone") in {"ErrImagePull", "ImagePullBackOff"})
    kubectl.until("the back-off", lambda: waiting(kubectl, "gone") == "ImagePullBackOff")
    described = kubectl("describe", "pod", "gone")
    assert f'Failed to pull image "{name}"' in described
    assert "Error: ErrImagePull" in described
    kubectl.until(  # between two back-offs there is another attempt, whose words are others
        "the log's refusal", lambda: "trying and failing to pull image" in kubectl("logs", "gone", check=False)
    )


def test_a_missing_config_map_holds_the_container_until_it_comes(image, kubectl):
    code = "import os; print(os.environ['GREETING'])"
    container = {"name": "main", "image": image, "command": ["python", "-c", code],
                 "envFrom": [{"configMapRef": {"name": "settings"}}]}  # fmt: skip
    spec = {"containers": [container], "restartPolicy": "Never"}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "needy"}, "spec": spec}
    kubectl("apply", "-f", "-", stdin=json.dumps(body))
    kubectl.until("the error", lambda: waiting(kubectl, "needy") == "CreateContainerConfigError")
    kubectl("create", "configmap", "settings", "--from-literal=GREETING=hello")
    kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/needy", "--timeout=40s")
    assert kubectl("logs", "needy") == "hello\n"


def test_typed_clients_read_what_the_controllers_write(target, image, kubectl):
    from kubernetes import client, config

    host = f"{secrets.token_hex(4)}.test"
    kubectl("apply", "-f", "-", stdin=manifests(image, host))
    kubectl("rollout", "status", "deployment/web", "--timeout=40s")
    api = config.new_client_from_config(str(target.kubeconfig))
    with contextlib.closing(api):
        namespace = kubectl.json("deployment", "web")["metadata"]["namespace"]
        pods = client.CoreV1Api(api).list_namespaced_pod(namespace).items
        assert {pod.status.container_statuses[0].ready for pod in pods} == {True}
        assert {pod.metadata.owner_references[0].controller for pod in pods} == {True}
        deployment = client.AppsV1Api(api).read_namespaced_deployment("web", namespace)
        assert deployment.status.observed_generation == deployment.metadata.generation
        slices = client.DiscoveryV1Api(api).list_namespaced_endpoint_slice(namespace).items
        assert sum(len(each.endpoints) for each in slices) == 2
        client.CoreV1Api(api).list_namespaced_event(namespace)
        client.CoreV1Api(api).list_node()
