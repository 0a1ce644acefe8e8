"""The Kubernetes API as its official clients use it: kubectl 1.31 to 1.33 and the Python client."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.waiting import Pending, wait_until

pytestmark = pytest.mark.needs("kubernetes")
FOLDER = Path("/usr/lib/google-cloud-sdk/bin")
VERSIONS = ("1.31", "1.32", "1.33")

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: example.invalid/web:1
        ports: [{containerPort: 80}]
        env: [{name: A, value: "1"}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: red}
"""

DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %(plural)s.contract.example.com}
spec:
  group: contract.example.com
  scope: Namespaced
  names: {plural: %(plural)s, kind: %(kind)s}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {size: {type: integer}, parts: {type: array, items: {type: string}}}}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
"""


class Kubectl:
    """One kubectl with its own cache, in a namespace of its own."""

    def __init__(self, binary: str, kubeconfig: Path, cache: Path, namespace: str) -> None:
        self.binary, self.namespace = binary, namespace
        self._env = {
            **os.environ, "KUBECONFIG": str(kubeconfig), "KUBECACHEDIR": str(cache), "HOME": str(cache),
        }  # fmt: skip

    def run(self, *arguments: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [self.binary, "-n", self.namespace, *arguments],
            input=stdin, capture_output=True, text=True, check=False, timeout=60, env=self._env,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        return self.run(*arguments, stdin=stdin).stdout.strip()

    def fails(self, *arguments: str, stdin: str = "") -> str:
        done = self.run(*arguments, stdin=stdin, check=False)
        assert done.returncode != 0, f"{arguments} succeeded: {done.stdout}"
        return done.stderr.strip()

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "-o", "json"))


def _binary(version: str) -> str | None:
    path = FOLDER / f"kubectl.{version}"
    if path.exists():
        return str(path)
    found = shutil.which("kubectl")
    if not found:
        return None
    done = subprocess.run([found, "version", "--client", "-o", "json"], capture_output=True, timeout=20, check=False)
    minor = json.loads(done.stdout)["clientVersion"]["minor"].rstrip("+") if done.returncode == 0 else ""
    return found if f"1.{minor}" == version else None


@pytest.fixture(params=VERSIONS)
def kubectl(request, target, tmp_path) -> Iterator[Kubectl]:
    binary = _binary(request.param)
    if not binary:
        pytest.skip(f"no kubectl {request.param} here")
    client = Kubectl(binary, target.kubeconfig, tmp_path / "cache", f"contract-{secrets.token_hex(4)}")
    client("create", "namespace", client.namespace)
    yield client
    client("delete", "namespace", client.namespace, "--wait=false")


@pytest.fixture
def api(target) -> Iterator[Any]:
    """The Python client and a namespace."""
    from kubernetes import client, config

    loaded = config.new_client_from_config(str(target.kubeconfig))
    core = client.CoreV1Api(loaded)
    namespace = f"contract-{secrets.token_hex(4)}"
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=namespace)))

    def furnished() -> bool | Pending:
        names = [one.metadata.name for one in core.list_namespaced_service_account(namespace).items]
        return True if "default" in names else Pending(f"service accounts: {names}")

    wait_until("the namespace's account", furnished, timeout=20)
    yield loaded, namespace
    core.delete_namespace(namespace)
    loaded.close()


def test_apply_is_idempotent_and_prunes_what_a_manifest_drops(kubectl):
    first = kubectl("apply", "-f", "-", stdin=MANIFEST)
    assert "deployment.apps/web created" in first
    assert kubectl("apply", "-f", "-", stdin=MANIFEST).count("unchanged") == 3
    env = kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.template.spec.containers[0].env[*].name}")
    assert env == "A"
    without = MANIFEST.replace('        env: [{name: A, value: "1"}]\n', "").replace("red", "blue")
    applied = kubectl("apply", "-f", "-", stdin=without)
    assert "deployment.apps/web configured" in applied
    assert "service/web unchanged" in applied
    assert kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.template.spec.containers[0].env}") == ""
    assert kubectl("get", "configmap", "settings", "-o", "jsonpath={.data.colour}") == "blue"


def test_what_get_wrote_can_be_applied(kubectl):
    kubectl("apply", "-f", "-", stdin=MANIFEST)
    listed = kubectl("get", "configmap", "settings", "-o", "yaml")
    assert kubectl("apply", "-f", "-", stdin=listed).startswith("configmap/settings ")
    whole = kubectl("get", "configmaps", "-o", "yaml")
    assert "configmap/settings " in kubectl("apply", "-f", "-", stdin=whole)
    assert kubectl("get", "configmap", "settings", "-o", "jsonpath={.data}") == '{"colour":"red"}'


def test_server_side_apply_conflicts_name_the_other_manager(kubectl):
    kubectl("apply", "--server-side", "-f", "-", stdin=MANIFEST)
    kubectl("scale", "deployment", "web", "--replicas=0")
    kubectl("patch", "configmap", "settings", "-p", '{"data":{"colour":"green"}}')
    error = kubectl.fails("apply", "--server-side", "-f", "-", stdin=MANIFEST)
    assert 'Apply failed with 1 conflict: conflict with "kubectl-patch" using v1' in error
    assert ".data.colour" in error
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=MANIFEST)
    assert kubectl("get", "configmap", "settings", "-o", "jsonpath={.data.colour}") == "red"


def test_diff_shows_what_apply_would_change(kubectl):
    kubectl("apply", "-f", "-", stdin=MANIFEST)
    done = kubectl.run("diff", "-f", "-", stdin=MANIFEST.replace("web:1", "web:2"), check=False)
    assert done.returncode == 1, done.stderr
    changed = [line[0] + line[1:].strip(" -") for line in done.stdout.splitlines() if "image: example.invalid" in line]
    assert changed == ["-image: example.invalid/web:1", "+image: example.invalid/web:2"]
    assert kubectl.run("diff", "-f", "-", stdin=MANIFEST, check=False).returncode == 0


def test_an_unknown_field_is_refused(kubectl):
    error = kubectl.fails("apply", "-f", "-", stdin=MANIFEST.replace("replicas: 0", "replica: 0"))
    assert 'strict decoding error: unknown field "spec.replica"' in error


def test_create_of_the_common_kinds(kubectl):
    created = [
        ("deployment", "d", "--image=example.invalid/x:1", "--replicas=0", "--port=80"),
        ("secret", "generic", "s", "--from-literal=a=b"),
        ("secret", "docker-registry", "r", "--docker-server=x:5050", "--docker-username=u", "--docker-password=p"),
        ("configmap", "c", "--from-literal=a=b"),
        ("serviceaccount", "robot"),
        ("service", "clusterip", "svc", "--tcp=80:8080"),
        ("ingress", "i", "--rule=app.localhost/*=svc:80"),
        ("role", "reader", "--verb=get", "--resource=pods"),
        ("rolebinding", "readers", "--role=reader", "--serviceaccount=default:robot"),
        ("poddisruptionbudget", "p", "--min-available=1", "--selector=app=d"),
    ]
    for arguments in created:
        assert kubectl("create", *arguments).endswith("created")
    secret = kubectl.json("get", "secret", "r")
    assert secret["type"] == "kubernetes.io/dockerconfigjson"
    deployment = kubectl.json("get", "deployment", "d")
    assert deployment["spec"]["template"]["spec"]["containers"][0]["ports"] == [
        {"containerPort": 80, "protocol": "TCP"}
    ]
    path = kubectl.json("get", "ingress", "i")["spec"]["rules"][0]["http"]["paths"][0]
    assert (path["path"], path["pathType"], path["backend"]["service"]["port"]) == ("/", "Prefix", {"number": 80})
    assert "horizontalpodautoscaler.autoscaling/d autoscaled" in kubectl("autoscale", "deployment", "d", "--max=3")
    assert 'error: failed to create deployment: deployments.apps "d" already exists' in kubectl.fails(
        "create", "deployment", "d", "--image=x"
    )


def test_changing_objects(kubectl):
    kubectl("apply", "-f", "-", stdin=MANIFEST)
    kubectl("label", "deployment", "web", "tier=front")
    assert "already has a value" in kubectl.fails("label", "deployment", "web", "tier=back")
    kubectl("annotate", "deployment", "web", "note=x")
    kubectl("set", "image", "deployment/web", "web=example.invalid/web:9")
    kubectl("set", "env", "deployment/web", "B=2")
    kubectl("patch", "deployment", "web", "--type=json", "-p", '[{"op":"add","path":"/metadata/labels/x","value":"y"}]')
    kubectl("patch", "deployment", "web", "--type=merge", "-p", '{"spec":{"revisionHistoryLimit":3}}')
    kubectl("scale", "deployment", "web", "--replicas=0", "--current-replicas=0")
    found = kubectl.json("get", "deployment", "web")
    assert found["metadata"]["labels"] == {"tier": "front", "x": "y", "app": "web"}
    assert found["spec"]["revisionHistoryLimit"] == 3
    container = found["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "example.invalid/web:9"
    assert [one["name"] for one in container["env"]] == ["A", "B"]
    kubectl("label", "deployment", "web", "tier-")
    assert "tier" not in kubectl.json("get", "deployment", "web")["metadata"]["labels"]


def test_reading_objects(kubectl):
    kubectl("apply", "-f", "-", stdin=MANIFEST)
    lines = kubectl("get", "deployments").splitlines()
    assert lines[0].split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert lines[1].split()[:2] == ["web", "0/0"]
    assert "example.invalid/web:1" in kubectl("get", "deploy", "-o", "wide")
    assert "deployment.apps/web" in kubectl("get", "all", "-l", "app=web", "-o", "name").splitlines()
    described = kubectl("describe", "deployment", "web")
    assert "RollingUpdateStrategy:  25% max unavailable, 25% max surge" in described
    assert "80/TCP" in described
    assert "FIELD: replicas <integer>" in kubectl("explain", "deployment.spec.replicas")
    assert 'deployments.apps "none" not found' in kubectl.fails("get", "deployment", "none")
    assert kubectl("get", "configmap", "none", "--ignore-not-found") == ""
    assert kubectl("auth", "can-i", "create", "pods") == "yes"
    assert "the server doesn't have a resource type" in kubectl.fails("get", "nonsense")


def test_waiting_and_deleting(kubectl):
    kubectl("apply", "-f", "-", stdin=MANIFEST)
    kubectl("wait", "deployment/web", "--for=jsonpath={.spec.replicas}=0", "--timeout=10s")
    kubectl("delete", "configmap", "settings", "--wait=true", "--timeout=20s")
    kubectl("delete", "-f", "-", "--ignore-not-found", "--timeout=20s", stdin=MANIFEST)
    assert kubectl("get", "deployments,services,configmaps", "-l", "app=web", "-o", "name") == ""


def test_a_custom_kind(kubectl):
    plural = f"things{secrets.token_hex(3)}"
    names = {"plural": plural, "kind": plural.capitalize()}
    kubectl("apply", "-f", "-", stdin=DEFINITION % names)
    try:
        kubectl("wait", f"crd/{plural}.contract.example.com", "--for=condition=Established", "--timeout=20s")
        thing = {"apiVersion": "contract.example.com/v1", "kind": names["kind"], "metadata": {"name": "t"}}
        kubectl("apply", "-f", "-", stdin=json.dumps({**thing, "spec": {"size": 3, "parts": ["a", "b"]}}))
        assert kubectl("get", plural).splitlines()[1].split() == ["t", "3"]
        kubectl("patch", plural, "t", "--type=merge", "--subresource=status", "-p", '{"status":{"ok":true}}')
        changed = kubectl("apply", "-f", "-", stdin=json.dumps({**thing, "spec": {"size": 3, "parts": ["c"]}}))
        assert "configured" in changed
        found = kubectl.json("get", plural, "t")
        assert (found["spec"]["parts"], found["status"], found["metadata"]["generation"]) == (["c"], {"ok": True}, 2)
        assert "FIELDS:" in kubectl("explain", f"{plural}.spec")
    finally:
        kubectl("delete", "crd", f"{plural}.contract.example.com", "--timeout=20s")


def test_events_are_listed(kubectl):
    body = {
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "type": "Warning", "reason": "Testing",
        "message": "hello", "count": 2, "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": kubectl.namespace, "apiVersion": "v1"},
        "source": {"component": "contract"},
    }  # fmt: skip
    kubectl("create", "-f", "-", stdin=json.dumps(body))
    lines = kubectl("get", "events").splitlines()
    assert lines[0].split() == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert lines[1].split()[1:] == ["Warning", "Testing", "pod/p", "hello"]
    assert "Testing" in kubectl("events")


def test_the_typed_client_creates_reads_changes_and_deletes(api):
    from kubernetes import client
    from kubernetes.client.rest import ApiException

    loaded, namespace = api
    apps = client.AppsV1Api(loaded)
    labels = {"app": "d"}
    container = client.V1Container(name="c", image="example.invalid/x:1")
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels=labels), spec=client.V1PodSpec(containers=[container])
    )
    spec = client.V1DeploymentSpec(replicas=0, selector=client.V1LabelSelector(match_labels=labels), template=template)
    body = client.V1Deployment(metadata=client.V1ObjectMeta(name="d"), spec=spec)
    made = apps.create_namespaced_deployment(namespace, body)
    assert (made.spec.strategy.type, made.metadata.generation) == ("RollingUpdate", 1)
    with pytest.raises(ApiException) as caught:
        apps.create_namespaced_deployment(namespace, body)
    status = json.loads(caught.value.body)
    assert (caught.value.status, status["reason"], status["details"]["kind"]) == (409, "AlreadyExists", "deployments")
    apps.patch_namespaced_deployment("d", namespace, {"metadata": {"labels": {"x": "y"}}})
    assert apps.read_namespaced_deployment("d", namespace).metadata.labels == {"x": "y"}
    apps.patch_namespaced_deployment_scale("d", namespace, {"spec": {"replicas": 0}})
    assert apps.read_namespaced_deployment_scale("d", namespace).status.selector == "app=d"
    apps.delete_namespaced_deployment("d", namespace)
    with pytest.raises(ApiException) as caught:
        apps.read_namespaced_deployment("d", namespace)
    assert caught.value.status == 404


def test_every_typed_list_can_be_read(api):
    from kubernetes import client

    loaded, _ = api
    readers = [
        client.CoreV1Api(loaded).list_pod_for_all_namespaces,
        client.CoreV1Api(loaded).list_service_for_all_namespaces,
        client.CoreV1Api(loaded).list_endpoints_for_all_namespaces,
        client.CoreV1Api(loaded).list_event_for_all_namespaces,
        client.CoreV1Api(loaded).list_node,
        client.CoreV1Api(loaded).list_namespace,
        client.CoreV1Api(loaded).list_config_map_for_all_namespaces,
        client.CoreV1Api(loaded).list_secret_for_all_namespaces,
        client.CoreV1Api(loaded).list_persistent_volume_claim_for_all_namespaces,
        client.AppsV1Api(loaded).list_deployment_for_all_namespaces,
        client.AppsV1Api(loaded).list_replica_set_for_all_namespaces,
        client.AppsV1Api(loaded).list_stateful_set_for_all_namespaces,
        client.NetworkingV1Api(loaded).list_ingress_for_all_namespaces,
        client.NetworkingV1Api(loaded).list_ingress_class,
        client.DiscoveryV1Api(loaded).list_endpoint_slice_for_all_namespaces,
        client.StorageV1Api(loaded).list_storage_class,
        client.ApiextensionsV1Api(loaded).list_custom_resource_definition,
    ]
    for read in readers:
        assert read().metadata.resource_version


def test_a_typed_watch_sees_changes_from_a_version_on(api):
    from kubernetes import client, watch

    loaded, namespace = api
    core = client.CoreV1Api(loaded)
    version = core.list_namespaced_secret(namespace).metadata.resource_version
    seen: list[tuple[str, str]] = []
    watcher = watch.Watch()

    def follow() -> None:
        for event in watcher.stream(
            core.list_namespaced_secret, namespace, resource_version=version, timeout_seconds=20
        ):
            seen.append((event["type"], event["object"].metadata.name))
            if event["type"] == "DELETED":
                watcher.stop()

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    core.create_namespaced_secret(namespace, {"metadata": {"name": "s"}})
    core.patch_namespaced_secret("s", namespace, {"metadata": {"labels": {"a": "b"}}})
    core.delete_namespaced_secret("s", namespace)
    thread.join(30)
    assert seen == [("ADDED", "s"), ("MODIFIED", "s"), ("DELETED", "s")]


def test_a_watch_from_long_ago_is_told_to_list_again(api):
    from kubernetes import client, watch
    from kubernetes.client.rest import ApiException

    loaded, namespace = api
    core = client.CoreV1Api(loaded)
    with pytest.raises(ApiException) as caught:
        list(watch.Watch().stream(core.list_namespaced_secret, namespace, resource_version="1", timeout_seconds=3))
    assert caught.value.status == 410


def test_the_dynamic_client_applies_and_meets_conflicts(api, tmp_path):
    from kubernetes import dynamic
    from kubernetes.dynamic.exceptions import ConflictError

    loaded, namespace = api
    maps = dynamic.DynamicClient(loaded, cache_file=str(tmp_path / "cache")).resources.get(
        api_version="v1", kind="ConfigMap"
    )
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": namespace}}
    made = maps.server_side_apply(body={**body, "data": {"a": "1"}}, field_manager="one")
    assert made.data.a == "1"
    with pytest.raises(ConflictError) as caught:
        maps.server_side_apply(body={**body, "data": {"a": "2"}}, field_manager="two", force_conflicts=False)
    assert json.loads(caught.value.body)["details"]["causes"][0]["reason"] == "FieldManagerConflict"
    maps.server_side_apply(body={**body, "data": {"a": "2"}}, field_manager="two", force_conflicts=True)
    owners = [entry.manager for entry in maps.get(name="c", namespace=namespace).metadata.managedFields]
    assert owners == ["two"]


def test_without_the_token_nothing_is_shown(target):
    import ssl
    import urllib.error
    import urllib.request

    import yaml

    server = yaml.safe_load(target.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    request = urllib.request.Request(f"{server}/api/v1/secrets", headers={"Authorization": "Bearer wrong"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10, context=ssl._create_unverified_context())
    body = json.loads(caught.value.read())
    assert (caught.value.code, body["kind"], body["reason"]) == (401, "Status", "Unauthorized")
    caught.value.close()
