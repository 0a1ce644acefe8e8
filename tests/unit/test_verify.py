from __future__ import annotations

import threading
from xml.etree import ElementTree as ET

import pytest
from world import APP, CONFIG, HOOK_EVENTS, SHA, P, world

from lab import verify
from lab.errors import UsageError
from lab.junit import as_junit
from lab.model import Check


@pytest.fixture
def healthy(tmp_path):
    with world(tmp_path) as made:
        yield made


def look(made, *only: str) -> dict[str, Check]:
    found = verify.checks(made.endpoints, made.settings, made.state, only=only, stop=threading.Event())
    return {check.id: check for check in found}


def test_a_healthy_lab_passes_every_check_with_evidence_and_changes_nothing(healthy):
    found = look(healthy)
    assert tuple(found) == verify.IDS
    assert {check.id: check.evidence for check in found.values() if not check.ok} == {}
    assert all(check.evidence for check in found.values())
    assert {request.method for request in healthy.gitlab.seen + healthy.kube.seen} == {"GET"}


def test_what_several_checks_need_is_asked_for_once(healthy):
    look(healthy)
    assert len(healthy.gitlab.sent("GET", f"{P}/repository/branches/master")) == 1


BREAKS = {
    "registry.401": lambda made: made.gitlab.on("GET", "/v2/", (404, "")),
    "runner.alive": lambda made: made.gitlab.on("GET", "/api/v4/runners/3", (200, {"id": 3, "contacted_at": None})),
    "pipeline.latest": lambda made: made.pipeline("failed"),
    "registry.tags": lambda made: made.gitlab.on("GET", f"{P}/registry/repositories/2/tags/latest", (404, {})),
    "branch.master-clean": lambda made: made.gitlab.on(
        "GET", f"{P}/repository/commits", (200, [{"id": SHA, "title": "chore: update image to 12345678 [skip ci]"}])
    ),
    "branch.config-sha": lambda made: made.gitlab.on(
        "GET", f"{P}/repository/files/k8s%2Fhichat.yaml/raw", (200, "image: h:5050/root/hichat:latest\n")
    ),
    "project.settings": lambda made: made.gitlab.on("GET", P, (200, {"container_registry_access_level": "disabled"})),
    "branch.protected": lambda made: made.gitlab.on("GET", f"{P}/protected_branches/k8s-config", (404, {})),
    "token.config-branch": lambda made: made.gitlab.on("GET", f"{P}/access_tokens", (200, [])),
    "token.deploy": lambda made: made.gitlab.on("GET", f"{P}/deploy_tokens", (200, [])),
    "hook.settings": lambda made: made.objects.stored["/api/v1/namespaces/argocd/secrets/argocd-secret"].pop("data"),
    "hook.delivered": lambda made: made.delivery("500"),
    "app.repository": lambda made: made.objects.stored.pop("/api/v1/namespaces/argocd/secrets/hichat-repository"),
    "app.settings": lambda made: made.objects.stored[APP]["spec"].pop("syncPolicy"),
    "pull.secret": lambda made: made.objects.stored.pop("/api/v1/namespaces/hichat/secrets/gitlab-registry"),
    "app.synced": lambda made: made.application(sync="OutOfSync"),
    "app.healthy": lambda made: made.application(health="Degraded"),
    "pod.image": lambda made: made.workload(tag="00000000"),
    "app.answers": lambda made: made.gitlab.on("GET", "/health", (503, "starting")),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_one_broken_link_fails_its_own_check_only(healthy, broken):
    BREAKS[broken](healthy)
    found = look(healthy)
    assert [check.id for check in found.values() if check.ok is not True] == [broken]
    assert found[broken].evidence
    assert found[broken].hint


def test_a_refused_delivery_points_at_the_secrets(healthy):
    healthy.delivery("400")
    found = look(healthy)
    assert {check.id for check in found.values() if check.ok is not True} == {"hook.settings", "hook.delivered"}
    assert "secret" in found["hook.settings"].evidence


def test_a_deploy_token_that_the_lab_forgot_is_no_defect_of_the_checks(healthy):
    healthy.state.drop_secret("deploy-token")
    found = look(healthy)
    assert {check.id for check in found.values() if check.ok is not True} == {
        "token.deploy", "app.repository", "pull.secret",
    }  # fmt: skip


def test_a_paused_runner_is_called_so(healthy):
    healthy.gitlab.on("GET", f"{P}/runners", (200, [{"id": 3, "paused": True}]))
    assert "paused" in look(healthy, "runner.alive")["runner.alive"].evidence


def test_no_delivery_counts_as_proved_when_the_lab_has_proved_it_before(healthy):
    healthy.gitlab.on("GET", HOOK_EVENTS, (200, []))
    assert look(healthy, "hook.delivered")["hook.delivered"].ok is False
    healthy.state.put_fact("webhook-proof", {"hook": 5, "sha": CONFIG})
    assert look(healthy, "hook.delivered")["hook.delivered"].ok is True


def test_only_looks_at_what_was_asked_for(healthy):
    assert list(look(healthy, "app.answers")) == ["app.answers"]
    assert {request.path for request in healthy.gitlab.seen} == {"/health"}


def test_an_unknown_id_is_a_usage_error_that_lists_the_ids(healthy):
    for name in ("pod.imge", "engine.nothing"):
        with pytest.raises(UsageError) as raised:
            look(healthy, name)
        assert "pod.image" in raised.value.hint


def test_a_cluster_that_is_down_fails_nothing_else(healthy):
    healthy.endpoints.kubeconfig.unlink()
    found = look(healthy)
    assert {check.id for check in found.values() if check.ok is False} == set()
    unknown = {check.id for check in found.values() if check.ok is None}
    assert unknown == {
        "hook.settings", "app.repository", "app.settings", "app.synced", "app.healthy", "pod.image", "pull.secret",
    }  # fmt: skip


def test_junit_counts_and_survives_control_characters():
    text = as_junit(
        [
            Check("a.ok", "A", True, "fine \x1b[1m"),
            Check("b.bad", "B", False, "<broken> & \x00", "mend it"),
            Check("c.unknown", "C", None, "no cluster"),
        ]
    )
    suite = ET.fromstring(text)
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "1", "1")
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == "B: <broken> & "
    assert failure.text == "mend it"
