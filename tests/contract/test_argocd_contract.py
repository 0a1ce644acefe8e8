"""Argo CD as its users meet it: Applications through the Kubernetes API, pushes through GitLab."""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

import pytest

from lab.waiting import Pending, wait_until

pytestmark = pytest.mark.needs("gitlab", "kubernetes", "argocd")
GROUP, VERSION = "argoproj.io", "v1alpha1"
TIMEOUT = 60


@dataclass
class Cluster:
    """The API clients of a target."""

    core: Any
    custom: Any

    def application(self, name: str) -> dict[str, Any]:
        return self.custom.get_namespaced_custom_object(GROUP, VERSION, "argocd", "applications", name)

    def patch(self, name: str, body: dict[str, Any]) -> None:
        self.custom.patch_namespaced_custom_object(GROUP, VERSION, "argocd", "applications", name, body)


@dataclass
class App:
    """One project with its Application."""

    cluster: Cluster
    project: Any
    name: str

    def commit(self, message: str, *actions: dict[str, str]) -> str:
        body = {"branch": "k8s-config", "commit_message": message, "actions": list(actions)}
        return str(self.project.commits.create(body).id)

    def status(self) -> dict[str, Any]:
        return self.cluster.application(self.name).get("status") or {}

    def until(self, what: str, probe) -> Any:
        def probed() -> Any:
            status = self.status()
            return probe(status) or Pending(json.dumps(status)[:2000])

        return wait_until(what, probed, timeout=TIMEOUT)

    def settled(self, revision: str) -> dict[str, Any]:
        def probe(status: dict[str, Any]) -> Any:
            sync, last = status.get("sync", {}), (status.get("history") or [{}])[-1]
            found = (sync.get("status"), sync.get("revision"), last.get("revision"))
            return found == ("Synced", revision, revision) and status

        return self.until(f"{self.name} synced to {revision}", probe)

    def condition(self, kind: str) -> str:
        return str(
            self.until(
                f"a {kind}",
                lambda status: next((c["message"] for c in status.get("conditions", []) if c["type"] == kind), None),
            )
        )


@pytest.fixture(scope="module")
def gl(target):
    import gitlab

    client = gitlab.Gitlab(target.gitlab, private_token=target.root_token, keep_base_url=True)
    client.auth()
    settings = client.settings.get()
    settings.allow_local_requests_from_web_hooks_and_services = True
    settings.save()
    return client


@pytest.fixture(scope="module")
def cluster(target):
    from kubernetes import client, config

    api = config.new_client_from_config(str(target.kubeconfig))
    yield Cluster(client.CoreV1Api(api), client.CustomObjectsApi(api))
    api.close()


def config_map(namespace: str, value: str) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "settings", "namespace": namespace},
            "data": {"value": value},
        }
    )


@pytest.fixture
def app(target, gl, cluster):
    name = f"argo-{secrets.token_hex(4)}"
    project = gl.projects.create({"name": name, "initialize_with_readme": False})
    made = App(cluster, project, name)
    made.commit("first", {"action": "create", "file_path": "k8s/settings.yaml", "content": config_map(name, "1")})
    token = project.deploytokens.create({"name": "argocd", "scopes": ["read_repository"]})
    webhook = cluster.core.read_namespaced_secret("argocd-secret", "argocd").data or {}
    shared = base64.b64decode(webhook.get("webhook.gitlab.secret", "")).decode()
    hook = {"url": f"{target.argocd}/api/webhook", "push_events": True, "enable_ssl_verification": False}
    project.hooks.create(hook | ({"token": shared} if shared else {}))
    cluster.core.create_namespaced_secret(
        "argocd",
        {
            "metadata": {
                "name": f"{name}-repository",
                "labels": {"argocd.argoproj.io/secret-type": "repository"},
            },
            "stringData": {
                "type": "git",
                "url": project.http_url_to_repo,
                "username": token.username,
                "password": token.token,
            },
        },
    )
    cluster.custom.create_namespaced_custom_object(
        GROUP,
        VERSION,
        "argocd",
        "applications",
        {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "Application",
            "metadata": {
                "name": name,
                "namespace": "argocd",
                "finalizers": ["resources-finalizer.argocd.argoproj.io"],
            },
            "spec": {
                "project": "default",
                "source": {"repoURL": project.http_url_to_repo, "path": "k8s", "targetRevision": "k8s-config"},
                "destination": {"server": "https://kubernetes.default.svc", "namespace": name},
                "syncPolicy": {
                    "automated": {"prune": True, "selfHeal": True},
                    "syncOptions": ["CreateNamespace=true"],
                },
            },
        },
    )
    yield made
    _remove(cluster, name)
    cluster.core.delete_namespaced_secret(f"{name}-repository", "argocd")
    cluster.core.delete_namespace(name)
    project.delete()


def _remove(cluster: Cluster, name: str) -> None:
    from kubernetes.client import ApiException

    try:
        cluster.custom.delete_namespaced_custom_object(GROUP, VERSION, "argocd", "applications", name)
    except ApiException as error:
        if error.status != 404:
            raise

    def gone() -> Any:
        try:
            return Pending(str(cluster.application(name)["metadata"].get("finalizers")))
        except ApiException as error:
            return error.status == 404

    wait_until(f"{name} to be gone", gone, timeout=TIMEOUT)


def head(app: App) -> str:
    return str(app.project.branches.get("k8s-config").commit["id"])


def test_an_application_syncs_what_the_branch_says(app):
    status = app.settled(head(app))
    assert status["operationState"]["phase"] == "Succeeded"
    assert status["history"][-1]["id"] == 0
    assert {(r["kind"], r["name"], r["status"]) for r in status["resources"]} == {("ConfigMap", "settings", "Synced")}
    app.until("healthy", lambda found: found["health"]["status"] == "Healthy")
    live = app.cluster.core.read_namespaced_config_map("settings", app.name)
    assert live.data == {"value": "1"}
    assert live.metadata.annotations["argocd.argoproj.io/tracking-id"] == f"{app.name}:/ConfigMap:{app.name}/settings"


def test_a_push_arrives_through_the_webhook(app):
    app.settled(head(app))
    sha = app.commit(
        "second", {"action": "update", "file_path": "k8s/settings.yaml", "content": config_map(app.name, "2")}
    )
    app.settled(sha)
    assert app.cluster.core.read_namespaced_config_map("settings", app.name).data == {"value": "2"}


def test_a_change_by_hand_is_undone(app):
    app.settled(head(app))
    app.cluster.core.patch_namespaced_config_map("settings", app.name, {"data": {"value": "by hand"}})

    def healed() -> Any:
        data = app.cluster.core.read_namespaced_config_map("settings", app.name).data
        return data == {"value": "1"} or Pending(str(data))

    wait_until("the change to be undone", healed, timeout=TIMEOUT)


def test_a_login_that_does_not_work_stands_in_a_condition(app):
    app.settled(head(app))
    body = {"stringData": {"password": "wrong"}}
    app.cluster.core.patch_namespaced_secret(f"{app.name}-repository", "argocd", body)
    app.cluster.patch(app.name, {"metadata": {"annotations": {"argocd.argoproj.io/refresh": "hard"}}})
    text = app.condition("ComparisonError")
    assert text.startswith("Failed to load target state: failed to generate manifest for source 1 of 1: rpc error: ")
    assert "authentication required" in text


def test_a_folder_that_is_not_there_stands_in_a_condition(app):
    app.settled(head(app))
    app.cluster.patch(app.name, {"spec": {"source": {"path": "nowhere"}}})
    assert "nowhere: app path does not exist" in app.condition("ComparisonError")


def test_the_last_object_is_not_wiped_out(app):
    app.settled(head(app))
    app.commit(
        "nothing left",
        {"action": "delete", "file_path": "k8s/settings.yaml"},
        {"action": "create", "file_path": "k8s/notes.txt", "content": "x"},
    )
    assert "auto-sync will wipe out all resources" in app.condition("SyncError")
    assert app.cluster.core.read_namespaced_config_map("settings", app.name)


def test_deletion_takes_the_objects_along(app):
    from kubernetes.client import ApiException

    app.settled(head(app))
    _remove(app.cluster, app.name)
    with pytest.raises(ApiException, match="404"):
        app.cluster.core.read_namespaced_config_map("settings", app.name)


@pytest.mark.parametrize(
    ("headers", "status", "text"),
    [
        ({}, 400, "Unknown webhook event"),
        ({"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": "surely wrong"}, 400, "Webhook processing failed"),
        ({"X-Gitlab-Event": "Pipeline Hook"}, 400, "Webhook processing failed"),
    ],
)
def test_hooks_that_are_refused(target, headers, status, text):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    request = urllib.request.Request(f"{target.argocd}/api/webhook", data=b"{}", headers=headers)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10, context=context)
    with caught.value as answer:
        assert (answer.code, answer.read().decode().strip()) == (status, text)
