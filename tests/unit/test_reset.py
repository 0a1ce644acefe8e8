from __future__ import annotations

import threading

import pytest
from world import APP, P, world

from lab import status
from lab.reset import reset

REPOSITORY = f"{P}/registry/repositories/2/tags"


@pytest.fixture
def made(tmp_path):
    with world(tmp_path) as found:
        yield found


def wipe(made) -> None:
    reset(made.endpoints, made.settings, made.state, stop=threading.Event(), report=lambda _text: None)


@pytest.fixture
def ready(made):
    """A project with one tag, and GitLab's soft delete: mark and rename, then purge under the new name."""
    state = {"marked": False, "gone": False}
    full = "root/hichat-deletion_scheduled-1"

    def show(_request):
        if state["gone"]:
            return 404, {"message": "404 Project Not Found"}
        more = {"marked_for_deletion_on": "2026-01-01"} if state["marked"] else {}
        return 200, {"id": 1, "path_with_namespace": full if state["marked"] else "root/hichat", **more}

    def delete(request):
        if not state["marked"]:
            state["marked"] = True
        elif request.query.get("full_path") == [full] and request.query.get("permanently_remove") == ["true"]:
            state["gone"] = True
        else:
            return 400, {"message": "`full_path` is incorrect."}
        return 202, {"message": "202 Accepted"}

    made.gitlab.on("GET", P, show)
    made.gitlab.on("GET", "/api/v4/projects/1", show)
    made.gitlab.on("DELETE", "/api/v4/projects/1", delete)
    made.gitlab.on("GET", REPOSITORY, (200, [{"name": "latest"}]))
    made.gitlab.on("DELETE", f"{REPOSITORY}/latest", (200, {}))
    made.objects.put("/api/v1/namespaces/hichat", {"kind": "Namespace", "metadata": {"name": "hichat"}})
    made.removed = state
    return made


def test_everything_of_the_project_goes_and_its_secrets_with_it(ready):
    ready.state.put_secret("config-branch-token", "x")
    ready.state.put_fact("webhook-proof", {"hook": 5, "sha": "a"})
    ready.state.put_secret("root-token", "stays")
    wipe(ready)
    assert ready.removed["gone"]
    assert APP not in ready.objects.stored
    assert "/api/v1/namespaces/hichat" not in ready.objects.stored
    assert ready.gitlab.sent("DELETE", f"{REPOSITORY}/latest"), "tags would keep the project from going"
    assert ready.state.secret("config-branch-token") is None
    assert ready.state.fact("webhook-proof") is None
    assert ready.state.secret("root-token") == "stays"


def test_a_reset_of_nothing_is_fine(ready):
    wipe(ready)
    wipe(ready)


def test_status_has_a_line_for_each_part(made):
    rows = dict(status.rows(made.endpoints, made.settings, made.state))
    assert rows["Last pipeline"].startswith("success")
    assert "Synced, Healthy" in rows["Argo CD"]
    assert "hichat-1 Ready" in rows["Pods"]
    made.endpoints.kubeconfig.unlink()
    rows = dict(status.rows(made.endpoints, made.settings, made.state))
    assert "no kubeconfig" in rows["Argo CD"]
    assert rows["Last pipeline"].startswith("success")


def test_credentials_name_what_a_person_logs_in_with(made):
    made.state.put_secret("root-password", "S3cret-pass")
    secret = {"kind": "Secret", "metadata": {"name": "x"}, "data": {"password": "cHc="}}
    made.objects.put("/api/v1/namespaces/argocd/secrets/argocd-initial-admin-secret", secret)
    found = dict(status.credentials(made.endpoints, made.settings, made.state))
    assert (found["GitLab password"], found["Argo CD password"]) == ("S3cret-pass", "pw")
