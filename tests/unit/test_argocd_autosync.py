"""When a difference leads to a sync, and what happens to an operation that fails."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from lab.emulator.argocd import status
from lab.emulator.argocd.autosync import SelfHeal, decide
from lab.emulator.argocd.comparison import Comparison, Resource
from lab.emulator.argocd.objects import Key, now
from lab.emulator.argocd.project import resource_problem, spec_errors

SOURCE = {"repoURL": "http://h/r", "path": "k8s", "targetRevision": "k8s-config"}
NEW, OLD = "b" * 40, "a" * 40


def app(policy=None, state=None, **more):
    spec = {
        "source": SOURCE,
        "syncPolicy": {"automated": {"prune": True, "selfHeal": True} if policy is None else policy},
    }
    return {"metadata": {"name": "hichat"}, "spec": spec, "status": {"operationState": state} if state else {}, **more}


def differing(*, prune=False, status="OutOfSync", revision=NEW):
    obj = {"metadata": {"name": "x"}}
    key = Key("apps", "Deployment", "hichat", "x")
    return Comparison(status, revision, [Resource(key, None if prune else obj, obj, "OutOfSync")])


def ended(phase, revision=OLD, *, ago=1000.0, attempts=0, message="boom"):
    at = datetime.now(timezone.utc) - timedelta(seconds=ago)
    return {
        "phase": phase,
        "message": message,
        "finishedAt": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "operation": {"sync": {"autoHealAttemptsCount": attempts}},
        "syncResult": {"revision": revision, "source": SOURCE},
    }


def test_a_new_revision_is_synced_with_the_policy():
    operation = decide(app(state=ended("Succeeded")), differing(), SelfHeal()).operation
    assert operation["sync"] == {"source": SOURCE, "revision": NEW, "prune": True}
    assert operation["initiatedBy"] == {"automated": True}
    assert operation["retry"] == {"limit": 5}


@pytest.mark.parametrize(
    ("given", "comparison"),
    [
        (app({"enabled": False}), differing()),
        (app(operation={"sync": {}}), differing()),
        (app(), differing(status="Synced")),
        (app(), differing(status="Unknown")),
        (app({"selfHeal": True}), differing(prune=True)),
        (app({"prune": True}, ended("Succeeded", NEW)), differing()),
    ],
)
def test_nothing_to_do(given, comparison):
    decision = decide(given, comparison, SelfHeal())
    assert (decision.operation, decision.error, decision.retry_in) == (None, "", None)


def test_an_empty_block_means_on():
    assert decide(app({}), differing(), SelfHeal()).operation


def test_a_failed_revision_is_not_tried_again():
    decision = decide(app(state=ended("Failed", NEW)), differing(), SelfHeal())
    assert decision.operation is None
    assert decision.error == f"Failed last sync attempt to [{NEW}]: boom"


def test_a_failed_revision_is_tried_again_with_another_source():
    given = app(state=ended("Failed", NEW))
    given["status"]["operationState"]["syncResult"]["source"] = {**SOURCE, "path": "other"}
    assert decide(given, differing(), SelfHeal()).operation


def test_self_heal_syncs_only_what_differs_and_counts():
    operation = decide(app(state=ended("Succeeded", NEW)), differing(), SelfHeal()).operation
    assert operation["sync"]["resources"] == [{"kind": "Deployment", "name": "x", "group": "apps"}]
    assert operation["sync"]["autoHealAttemptsCount"] == 1


def test_self_heal_backs_off():
    decision = decide(app(state=ended("Succeeded", NEW, ago=1, attempts=2)), differing(), SelfHeal())
    assert decision.operation is None
    assert 3 < decision.retry_in <= 6
    assert [SelfHeal().delay(n) for n in (0, 1, 2, 3, 9)] == [0.0, 2.0, 6.0, 18.0, 300.0]


def test_nothing_left_in_git_wipes_out_nothing():
    decision = decide(app(), differing(prune=True), SelfHeal())
    assert decision.error == f"Skipping sync attempt to [{NEW}]: auto-sync will wipe out all resources"
    assert decide(app({"prune": True, "allowEmpty": True}), differing(prune=True), SelfHeal()).operation


def test_retry_delays_grow_to_a_limit():
    assert [status.retry_delay({}, n) for n in (0, 1, 2, 9)] == [5.0, 10.0, 20.0, 180.0]
    backoff = {"backoff": {"duration": "1m30s", "factor": 3, "maxDuration": "5m"}}
    assert [status.retry_delay(backoff, n) for n in (0, 1)] == [90.0, 270.0]
    assert status.seconds("nonsense", 7.0) == 7.0


def test_a_condition_keeps_its_time_while_it_stays_the_same():
    old = [
        {"type": "ComparisonError", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        {"type": "SyncError", "message": "s", "lastTransitionTime": "2026-01-01T00:00:00Z"},
    ]
    same = status.with_conditions(old, [("ComparisonError", "m")], ["ComparisonError"])
    assert same == old
    changed = status.with_conditions(old, [("ComparisonError", "n")], ["ComparisonError"])
    assert changed[0]["lastTransitionTime"] >= now()[:10]
    assert status.with_conditions(old, [], ["ComparisonError"]) == [old[1]]


PROJECT = {
    "metadata": {"name": "team"},
    "spec": {
        "sourceRepos": ["http://gitlab.lab.test:8929/root/*", "!http://gitlab.lab.test:8929/root/secret"],
        "destinations": [{"server": "*", "namespace": "team-*"}, {"server": "*", "namespace": "!team-b"}],
        "clusterResourceWhitelist": [{"group": "", "kind": "Namespace"}],
        "namespaceResourceBlacklist": [{"group": "", "kind": "Secret"}],
    },
}


def spec(url="http://gitlab.lab.test:8929/root/app.git", namespace="team-a", **more):
    destination = {"server": "https://kubernetes.default.svc", "namespace": namespace}
    return {"spec": {"project": "team", "source": {"repoURL": url, "path": "k8s"}, "destination": destination, **more}}


def test_a_permitted_application_has_no_errors():
    assert spec_errors(spec(), PROJECT) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            spec("http://elsewhere/root/app"),
            "application repo http://elsewhere/root/app is not permitted in project 'team'",
        ),
        (spec("http://gitlab.lab.test:8929/root/secret"), "is not permitted in project 'team'"),
        (spec(namespace="team-b"), "do not match any of the allowed destinations in project 'team'"),
        (spec(namespace="default"), "and namespace 'default' do not match any"),
        (spec(destination={"name": "prod", "namespace": "x"}), "there are no clusters with this name: prod"),
        (spec(destination={"namespace": "x"}), "Destination server missing from app spec"),
        (spec(source={"repoURL": "http://h/r"}), "spec.source.repoURL and either spec.source.path or"),
        (spec(sources=[{}]), "not emulated: spec.sources"),
    ],
)
def test_what_is_wrong_with_a_spec(given, message):
    assert message in " ".join(spec_errors(given, PROJECT))


def test_an_unknown_project():
    assert spec_errors(spec(), None) == ["Application referencing project team which does not exist"]


def test_kinds_that_a_project_permits():
    def problem(group, kind, *, namespaced=True):
        return resource_problem(PROJECT, Key(group, kind, "team-a" if namespaced else "", "x"), namespaced=namespaced)

    assert problem("apps", "Deployment") == ""
    assert problem("", "Secret") == "resource :Secret is not permitted in project team"
    assert problem("", "Namespace", namespaced=False) == ""
    assert "is not permitted" in problem("rbac.authorization.k8s.io", "ClusterRole", namespaced=False)
