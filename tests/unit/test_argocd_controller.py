"""Applications from git to the cluster, with a real git server and a real store."""

from __future__ import annotations

import asyncio
import json

import pytest
from argocd_world import NAMESPACE, config_map, deployment, run

from lab.emulator.argocd.objects import now
from lab.emulator.argocd.server import ArgoCd
from lab.emulator.kube.errors import StatusError

MANUAL: dict = {}


def test_an_application_becomes_synced_and_is_recorded():
    async def scenario(world):
        world.secret()
        sha = world.git.commit({"k8s/ns.yaml": NAMESPACE, "k8s/a.yaml": config_map("a", "1"), "README.md": "kind: x"})
        world.create()
        await world.settled(sha)
        status = world.status()
        assert world.store.get("", "configmaps", "hichat", "a")["data"] == {"value": "1"}
        assert status["operationState"]["phase"] == "Succeeded"
        assert status["operationState"]["message"] == "successfully synced (all tasks run)"
        assert status["operationState"]["syncResult"]["revision"] == sha
        assert [r["message"] for r in status["operationState"]["syncResult"]["resources"]] == [
            "namespace/hichat created",
            "configmap/a created",
        ]
        assert status["health"]["status"] == "Healthy"
        assert [entry["revision"] for entry in status["history"]] == [sha]
        assert status["history"][0]["id"] == 0
        assert {(r["kind"], r["status"]) for r in status["resources"]} == {
            ("Namespace", "Synced"),
            ("ConfigMap", "Synced"),
        }
        assert "operation" not in world.application()
        tracking = world.store.get("", "configmaps", "hichat", "a")["metadata"]["annotations"]
        assert tracking["argocd.argoproj.io/tracking-id"] == "hichat:/ConfigMap:hichat/a"
        namespace = world.store.get("", "namespaces", None, "hichat")["metadata"]["annotations"]
        assert namespace["argocd.argoproj.io/tracking-id"] == "hichat:/Namespace:hichat/hichat"

    run(scenario)


def test_a_webhook_brings_the_next_commit_and_prunes_what_is_gone():
    async def scenario(world):
        world.secret()
        first = world.git.commit(
            {"k8s/ns.yaml": NAMESPACE, "k8s/a.yaml": config_map("a", "1"), "k8s/b.yaml": config_map("b", "1")}
        )
        world.create()
        await world.settled(first)
        second = world.git.commit({"k8s/a.yaml": config_map("a", "2"), "k8s/b.yaml": None})
        world.argocd.webhook.received(world.push_payload(second))
        await world.settled(second)
        assert world.store.get("", "configmaps", "hichat", "a")["data"] == {"value": "2"}
        assert world.store.find("", "configmaps", "hichat", "b") is None
        assert [entry["id"] for entry in world.status()["history"]] == [0, 1]
        log = (world.config.data / "argocd" / "server.log").read_text()
        for line in ("Received push event repo: ", "refreshing app from webhook", "Requested app 'hichat' refresh"):
            assert line in log

    run(scenario)


def test_a_push_to_another_branch_refreshes_nothing():
    async def scenario(world):
        world.secret()
        sha = world.git.commit({"k8s/ns.yaml": NAMESPACE})
        world.create()
        await world.settled(sha)
        before = world.application()["metadata"]["resourceVersion"]
        asked = world.git.requests
        world.argocd.webhook.received(world.push_payload(sha, "master"))
        world.argocd.webhook.received(
            {**world.push_payload(sha), "project": {"web_url": "http://10.0.0.1/root/hichat", "default_branch": "m"}}
        )
        assert world.application()["metadata"]["resourceVersion"] == before
        assert world.git.requests == asked

    run(scenario)


def test_what_is_marked_stays_when_its_file_goes():
    async def scenario(world):
        world.secret()
        first = world.git.commit(
            {
                "k8s/ns.yaml": NAMESPACE,
                "k8s/a.yaml": config_map("a", "1"),
                "k8s/keep.yaml": config_map("keep", "1", **{"argocd.argoproj.io/sync-options": "Prune=false"}),
            }
        )
        world.create()
        await world.settled(first)
        second = world.git.commit({"k8s/ns.yaml": None, "k8s/keep.yaml": None})
        world.argocd.webhook.received(world.push_payload(second))

        def skipped():
            state = world.status().get("operationState") or {}
            results = (state.get("syncResult") or {}).get("resources") or []
            return {r["name"] for r in results if (r["status"], r["message"]) == ("PruneSkipped", "ignored (no prune)")}

        await world.until("skipped", lambda: skipped() == {"hichat", "keep"})
        assert world.status()["history"][-1]["revision"] == second
        assert world.store.find("", "configmaps", "hichat", "keep")
        assert world.store.find("", "namespaces", None, "hichat")

    run(scenario)


def test_nothing_in_the_folder_wipes_out_nothing():
    async def scenario(world):
        world.secret()
        first = world.git.commit({"k8s/ns.yaml": NAMESPACE, "k8s/a.yaml": config_map("a", "1")})
        world.create()
        await world.settled(first)
        second = world.git.commit({"k8s/ns.yaml": None, "k8s/a.yaml": None, "k8s/notes.txt": "nothing"})
        world.argocd.webhook.received(world.push_payload(second))
        text = await world.until("guard", lambda: world.condition("SyncError"))
        assert text == f"Skipping sync attempt to [{second}]: auto-sync will wipe out all resources"
        assert world.store.find("", "configmaps", "hichat", "a")

    run(scenario)


def test_changes_by_hand_are_undone_at_once():
    async def scenario(world):
        world.secret()
        sha = world.git.commit({"k8s/ns.yaml": NAMESPACE, "k8s/a.yaml": config_map("a", "1")})
        world.create()
        await world.settled(sha)
        world.store.patch("", "configmaps", "hichat", "a", {"data": {"value": "by hand"}})
        await world.until(
            "healed", lambda: world.store.get("", "configmaps", "hichat", "a")["data"] == {"value": "1"}, seconds=3
        )
        await world.until("synced", lambda: world.status()["sync"]["status"] == "Synced")
        assert world.status()["operationState"]["operation"]["sync"]["autoHealAttemptsCount"] == 1
        world.store.delete("", "configmaps", "hichat", "a")
        await world.until("back off, then healed", lambda: world.store.find("", "configmaps", "hichat", "a"), seconds=8)
        assert len(world.status()["history"]) == 1

    run(scenario)


def test_fields_that_git_does_not_set_belong_to_others():
    async def scenario(world):
        world.secret()
        sha = world.git.commit({"k8s/ns.yaml": NAMESPACE, "k8s/a.yaml": config_map("a", "1")})
        world.create()
        await world.settled(sha)
        world.store.patch("", "configmaps", "hichat", "a", {"data": {"extra": "x"}, "metadata": {"labels": {"l": "v"}}})
        await world.look_again()
        assert world.status()["sync"]["status"] == "Synced"
        assert world.store.get("", "configmaps", "hichat", "a")["data"] == {"extra": "x", "value": "1"}

    run(scenario)


def test_a_resting_application_writes_nothing_and_asks_nobody():
    async def scenario(world):
        world.secret()
        sha = world.git.commit({"k8s/ns.yaml": NAMESPACE, "k8s/app.yaml": deployment("nginx:1")})
        world.create()
        await world.settled(sha)
        for _ in range(20):
            await asyncio.sleep(0)
        writes: list = []
        stop = world.store.subscribe(writes.append)
        asked = world.git.requests
        quiet = asyncio.Event()
        asyncio.get_running_loop().call_later(0.3, quiet.set)
        await quiet.wait()
        stop()
        assert [(w.type, w.resource.kind, w.object["metadata"]["name"]) for w in writes] == []
        assert world.git.requests == asked

    run(scenario)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"no secret": True},
            (
                "Failed to load target state: failed to generate manifest for source 1 of 1: rpc error: code = Unknown "
                "desc = failed to list refs: authentication required: HTTP Basic: Access denied. ..."
            ),
        ),
        ({"path": "nowhere"}, "rpc error: code = Unknown desc = nowhere: app path does not exist"),
        ({"targetRevision": "no-branch"}, "unable to resolve 'no-branch' to a commit SHA"),
        ({"path": "kustomized"}, "not emulated: source type Kustomize"),
        ({"path": "broken"}, 'code = FailedPrecondition desc = Failed to unmarshal "a.yaml"'),
        ({"repoURL": "http://127.0.0.1:9/root/x.git"}, "dial tcp 127.0.0.1:9: connect: connection refused"),
        ({"repoURL": "git@host:root/x.git"}, "not emulated: git repositories other than http"),
    ],
)
def test_what_is_wrong_with_a_source_stands_in_a_condition(change, text):
    async def scenario(world):
        source = {name: value for name, value in change.items() if name != "no secret"}
        if source == change:
            world.secret()
        world.git.commit(
            {
                "k8s/ns.yaml": NAMESPACE,
                "kustomized/kustomization.yaml": "resources: []",
                "broken/a.yaml": config_map("a", "1") + "\n---\n{{",
            }
        )
        world.create(**source)
        assert text in await world.until("condition", lambda: world.condition("ComparisonError"))
        assert world.status()["sync"]["status"] == "Unknown"
        assert world.status()["health"]["status"] == "Healthy"
        assert "operation" not in world.application()

    run(scenario)


def test_a_spec_that_makes_no_sense_stands_in_a_condition_until_it_does():
    async def scenario(world):
        world.secret()
        sha = world.git.commit({"k8s/ns.yaml": NAMESPACE})
        world.create()
        await world.settled(sha)
        app = world.application()
        good = dict(app["spec"])
        app["spec"]["project"] = "missing"
        app["metadata"].pop("resourceVersion")
        world.store.update("argoproj.io", "applications", app)
        text = await world.until("condition", lambda: world.condition("InvalidSpecError"))
        assert text == "Application referencing project missing which does not exist"
        app["spec"] = {**good, "project": "default"}
        world.store.update("argoproj.io", "applications", app)
        await world.until("well again", lambda: world.status()["sync"]["status"] == "Synced")
        assert world.condition("InvalidSpecError") == ""

    run(scenario)


def test_an_object_that_the_cluster_refuses_fails_the_sync_once():
    async def scenario(world):
        world.secret()
        bad = config_map("a", "1").replace('"name": "a"', '"name": "a", "namespace": "nowhere"')
        sha = world.git.commit({"k8s/ns.yaml": NAMESPACE, "k8s/a.yaml": bad})
        world.create(policy={"automated": {"prune": True, "selfHeal": True}, "retry": {"limit": 0}})
        text = await world.until("condition", lambda: world.condition("SyncError"))
        assert text.startswith(f"Failed last sync attempt to [{sha}]: one or more objects failed to apply, reason: ")
        assert 'namespaces "nowhere" not found' in text
        assert world.status()["operationState"]["phase"] == "Failed"
        started = world.status()["operationState"]["startedAt"]
        await world.look_again()
        assert world.status()["operationState"]["startedAt"] == started
        good = world.git.commit({"k8s/a.yaml": config_map("a", "1")})
        world.argocd.webhook.received(world.push_payload(good))
        await world.settled(good)
        assert world.condition("SyncError") == ""

    run(scenario)


def test_failures_are_retried_with_a_growing_delay():
    async def scenario(world):
        world.secret()
        bad = config_map("a", "1").replace('"name": "a"', '"name": "a", "namespace": "nowhere"')
        world.git.commit({"k8s/ns.yaml": NAMESPACE, "k8s/a.yaml": bad})
        retry = {"limit": 1, "backoff": {"duration": "1s", "factor": 2, "maxDuration": "1m"}}
        world.create(policy={"automated": {}, "retry": retry})
        await world.until("first", lambda: world.status().get("operationState", {}).get("retryCount") == 1)
        assert "Retrying attempt #1 at " in world.status()["operationState"]["message"]
        assert world.status()["operationState"]["phase"] == "Running"
        await world.until("end", lambda: world.status()["operationState"]["phase"] == "Failed")
        assert world.status()["operationState"]["message"].endswith("(retried 1 times).")

    run(scenario)


def test_create_namespace_makes_one_that_is_never_pruned():
    async def scenario(world):
        world.secret()
        first = world.git.commit({"k8s/a.yaml": config_map("a", "1"), "k8s/b.yaml": config_map("b", "1")})
        world.create(policy={"automated": {"prune": True}, "syncOptions": ["CreateNamespace=true"]})
        await world.settled(first)
        assert "annotations" not in world.store.get("", "namespaces", None, "hichat")["metadata"]
        second = world.git.commit({"k8s/b.yaml": None})
        world.argocd.webhook.received(world.push_payload(second))
        await world.settled(second)
        assert world.store.find("", "configmaps", "hichat", "b") is None
        assert world.store.find("", "namespaces", None, "hichat")

    run(scenario)


def test_an_operation_asked_for_by_hand():
    async def scenario(world):
        world.secret()
        first = world.git.commit({"k8s/ns.yaml": NAMESPACE, "k8s/a.yaml": config_map("a", "1")})
        world.create(policy=MANUAL)
        await world.until("compared", lambda: world.status().get("sync", {}).get("status") == "OutOfSync")
        assert world.status()["health"]["status"] == "Missing"

        def ask(**sync):
            app = world.application()
            app["operation"] = {"initiatedBy": {"username": "admin"}, "sync": sync}
            app["metadata"].pop("resourceVersion")
            world.store.update("argoproj.io", "applications", app)

        ask()
        await world.settled(first)
        second = world.git.commit({"k8s/a.yaml": None, "k8s/b.yaml": config_map("b", "1")})
        ask(revision="k8s-config")
        await world.until("second", lambda: world.status()["history"][-1]["revision"] == second)
        messages = {r["name"]: r["message"] for r in world.status()["operationState"]["syncResult"]["resources"]}
        assert messages["a"] == "ignored (requires pruning)"
        ask(revision=first, source=world.application()["spec"]["source"])
        await world.until("rolled back", lambda: len(world.status()["history"]) == 3)
        assert [entry["revision"] for entry in world.status()["history"]] == [first, second, first]

    run(scenario)


def test_waves_wait_for_health():
    async def scenario(world):
        world.secret()
        sha = world.git.commit(
            {
                "k8s/ns.yaml": NAMESPACE,
                "k8s/app.yaml": deployment("nginx:1"),
                "k8s/after.yaml": config_map("after", "1", **{"argocd.argoproj.io/sync-wave": "1"}),
            }
        )
        world.create()

        def waiting():
            message = world.status().get("operationState", {}).get("message", "")
            return message.startswith("waiting for healthy state of apps/Deployment/hichat")

        await world.until("waiting", waiting)
        assert world.store.find("", "configmaps", "hichat", "after") is None
        live = world.store.get("apps", "deployments", "hichat", "hichat")
        live["status"] = {
            "observedGeneration": live["metadata"]["generation"],
            "replicas": 1,
            "updatedReplicas": 1,
            "readyReplicas": 1,
            "availableReplicas": 1,
        }
        world.store.update("apps", "deployments", live, subresource="status")
        await world.settled(sha)
        await world.until("healthy", lambda: world.status()["health"]["status"] == "Healthy")
        assert world.status()["summary"]["images"] == ["nginx:1"]

    run(scenario)


def test_hooks_are_named_as_missing():
    async def scenario(world):
        world.secret()
        hook = config_map("migrate", "1", **{"argocd.argoproj.io/hook": "PreSync"})
        world.git.commit({"k8s/ns.yaml": NAMESPACE, "k8s/hook.yaml": hook})
        world.create(policy={"automated": {}, "retry": {"limit": 0}})
        text = await world.until("condition", lambda: world.condition("SyncError"))
        assert "not emulated: resource hooks (ConfigMap/migrate is a PreSync hook)" in text

    run(scenario)


def test_an_object_of_two_applications_is_reported():
    async def scenario(world):
        world.secret()
        sha = world.git.commit({"k8s/ns.yaml": NAMESPACE, "k8s/a.yaml": config_map("a", "1")})
        world.create()
        await world.settled(sha)
        other = world.application()
        other["metadata"] = {"name": "other", "namespace": "argocd"}
        other["spec"]["syncPolicy"] = {}
        other.pop("status")
        world.store.create("argoproj.io", "applications", other)

        def conditions():
            status = world.store.get("argoproj.io", "applications", "argocd", "other").get("status") or {}
            return [c["message"] for c in status.get("conditions", []) if c["type"] == "SharedResourceWarning"]

        found = await world.until("warning", conditions)
        assert "ConfigMap/a is part of applications argocd/other and hichat" in found

    run(scenario)


def test_deleting_an_application_takes_its_objects_along_but_not_what_is_marked():
    async def scenario(world):
        world.secret()
        sha = world.git.commit({"k8s/ns.yaml": NAMESPACE, "k8s/a.yaml": config_map("a", "1")})
        world.create()
        world.store.patch(
            "argoproj.io", "applications", "argocd", "hichat",
            {"metadata": {"finalizers": ["resources-finalizer.argocd.argoproj.io"]}},
        )  # fmt: skip
        await world.settled(sha)
        world.store.delete("argoproj.io", "applications", "argocd", "hichat")
        await world.until("gone", lambda: not world.store.find("argoproj.io", "applications", "argocd", "hichat"))
        assert world.store.find("", "configmaps", "hichat", "a") is None
        assert world.store.find("", "namespaces", None, "hichat")

    run(scenario)


def test_deleting_without_the_finalizer_leaves_the_objects():
    async def scenario(world):
        world.secret()
        sha = world.git.commit({"k8s/ns.yaml": NAMESPACE, "k8s/a.yaml": config_map("a", "1")})
        world.create()
        await world.settled(sha)
        world.store.delete("argoproj.io", "applications", "argocd", "hichat")
        assert world.store.find("argoproj.io", "applications", "argocd", "hichat") is None
        assert world.store.find("", "configmaps", "hichat", "a")

    run(scenario)


def test_a_prune_that_asks_waits_for_the_approval():
    async def scenario(world):
        world.secret()
        asks = {"argocd.argoproj.io/sync-options": "Prune=confirm"}
        first = world.git.commit({"k8s/ns.yaml": NAMESPACE, "k8s/a.yaml": config_map("a", "1", **asks)})
        world.create()
        await world.settled(first)
        second = world.git.commit({"k8s/a.yaml": None})
        world.argocd.webhook.received(world.push_payload(second))

        def waiting():
            message = (world.status().get("operationState") or {}).get("message")
            return message == "waiting for pruning confirmation of /ConfigMap/a"

        await world.until("waiting", waiting)
        assert world.store.find("", "configmaps", "hichat", "a")
        approved = {"metadata": {"annotations": {"argocd.argoproj.io/deletion-approved": now()}}}
        world.store.patch("argoproj.io", "applications", "argocd", "hichat", approved)
        await world.settled(second)
        assert world.store.find("", "configmaps", "hichat", "a") is None

    run(scenario)


def test_kinds_that_are_excluded_are_named_and_left_alone():
    async def scenario(world):
        world.secret()
        lease = json.dumps({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}})
        sha = world.git.commit({"k8s/ns.yaml": NAMESPACE, "k8s/lease.yaml": lease})
        world.create()
        await world.settled(sha)
        assert world.condition("ExcludedResourceWarning") == (
            "Resource coordination.k8s.io/Lease l is excluded in the settings"
        )
        assert world.store.find("coordination.k8s.io", "leases", "hichat", "l") is None

    run(scenario)


def test_metadata_of_a_made_namespace():
    async def scenario(world):
        world.secret()
        sha = world.git.commit({"k8s/a.yaml": config_map("a", "1")})
        policy = {"automated": {}, "syncOptions": ["CreateNamespace=true"]}
        world.create(policy={**policy, "managedNamespaceMetadata": {"labels": {"team": "a"}}})
        await world.settled(sha)
        assert world.store.get("", "namespaces", None, "hichat")["metadata"]["labels"]["team"] == "a"

    run(scenario)


def test_an_operation_goes_on_after_a_restart():
    async def scenario(world):
        world.secret()
        sha = world.git.commit({"k8s/ns.yaml": NAMESPACE, "k8s/a.yaml": config_map("a", "1")})
        world.create(policy=MANUAL)
        await world.until("compared", lambda: world.status().get("sync", {}).get("status") == "OutOfSync")
        await world.argocd.stop()
        app = world.application()
        operation = {"sync": {"revision": sha, "source": app["spec"]["source"]}}
        app["operation"] = operation
        app["status"]["operationState"] = {"operation": operation, "phase": "Running", "startedAt": now()}
        app["metadata"].pop("resourceVersion")
        world.store.update("argoproj.io", "applications", app)
        again = ArgoCd(world.config, type("Api", (), {"store": world.store})())
        await again.start()
        try:
            await world.settled(sha)
        finally:
            await again.stop()

    run(scenario)


def test_ignored_differences_are_neither_seen_nor_overwritten():
    async def scenario(world):
        world.secret()
        first = world.git.commit({"k8s/ns.yaml": NAMESPACE, "k8s/a.yaml": config_map("a", "1")})
        world.create(policy={"automated": {"selfHeal": True}, "syncOptions": ["RespectIgnoreDifferences=true"]})
        app = world.application()
        app["spec"]["ignoreDifferences"] = [{"kind": "ConfigMap", "jsonPointers": ["/data/value"]}]
        app["metadata"].pop("resourceVersion")
        world.store.update("argoproj.io", "applications", app)
        await world.settled(first)
        world.store.patch("", "configmaps", "hichat", "a", {"data": {"value": "by hand"}})
        await world.look_again()
        assert world.status()["sync"]["status"] == "Synced"
        second = world.git.commit({"k8s/b.yaml": config_map("b", "1")})
        world.argocd.webhook.received(world.push_payload(second))
        await world.settled(second)
        assert world.store.get("", "configmaps", "hichat", "a")["data"] == {"value": "by hand"}

    run(scenario)


@pytest.mark.parametrize("force", [False, True])
def test_what_cannot_be_changed_is_made_anew_only_by_force(force, monkeypatch):
    async def scenario(world):
        made = json.loads(config_map("a", "1"))
        made["metadata"]["namespace"] = "argocd"
        assert world.argocd.cluster.apply(made) == ("Synced", "configmap/a created")
        before = world.store.get("", "configmaps", "argocd", "a")["metadata"]["uid"]
        apply = world.store.apply

        def refusing(obj, **more):
            if world.store.find("", "configmaps", "argocd", "a"):
                raise StatusError(422, "Invalid", 'ConfigMap "a" is invalid: data: Forbidden: field is immutable')
            return apply(obj, **more)

        monkeypatch.setattr(world.store, "apply", refusing)
        made["data"]["value"] = "2"
        result, message = world.argocd.cluster.apply(made, force=force)
        after = world.store.get("", "configmaps", "argocd", "a")["metadata"]["uid"]
        assert (result, before == after) == (("Synced", False) if force else ("SyncFailed", True))
        assert ("field is immutable" in message) is not force

    run(scenario)


def test_local_manifests_are_named_as_missing():
    async def scenario(world):
        world.create(policy=MANUAL)
        app = world.application()
        app["operation"] = {"sync": {"manifests": ["{}"]}}
        world.store.update("argoproj.io", "applications", app)
        await world.until("ended", lambda: (world.status().get("operationState") or {}).get("phase") == "Error")
        assert world.status()["operationState"]["message"] == "not emulated: operation.sync.manifests"

    run(scenario)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"project": None}, "spec.project"),
        ({"destination": None}, "spec.destination"),
        ({"source": {"repoURL": "http://h/r", "targetRevision": 1.0}}, "spec.source.targetRevision"),
        ({"syncPolicy": {"automated": {"prune": "yes"}}}, "spec.syncPolicy.automated.prune"),
    ],
)
def test_an_application_that_is_malformed_is_refused(change, text):
    async def scenario(world):
        world.create(policy=MANUAL)
        app = world.application()
        app["spec"] = {name: value for name, value in {**app["spec"], **change}.items() if value is not None}
        with pytest.raises(StatusError, match=text.replace(".", r"\.")) as caught:
            world.store.update("argoproj.io", "applications", app)
        assert caught.value.code == 422

    run(scenario)


def test_a_misspelt_field_is_refused_as_the_server_words_it():
    async def scenario(world):
        odd = config_map("a", "1").replace('"data"', '"datas"')
        world.secret()
        sha = world.git.commit({"k8s/ns.yaml": NAMESPACE, "k8s/a.yaml": odd})
        world.create(policy={"automated": {"prune": True, "selfHeal": True}, "retry": {"limit": 0}})
        text = await world.until("condition", lambda: world.condition("SyncError"))
        reason = (
            'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "datas"'
        )
        assert text == (f"Failed last sync attempt to [{sha}]: one or more objects failed to apply, reason: {reason}")

    run(scenario)
