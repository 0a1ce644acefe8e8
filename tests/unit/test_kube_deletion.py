from __future__ import annotations

import asyncio

import pytest
from kube_cases import changed, config_map, definition, deployment, pod, reopened, store_in, widget

from lab.emulator.kube.errors import StatusError


def alive(store, plural="pods", group=""):
    return [one["metadata"]["name"] for one in store.select(group, plural)]


def family(store):
    """A deployment, its replica set and that one's two pods."""
    top = store.create("apps", "deployments", deployment())
    middle = deployment("rs")
    middle["kind"] = "ReplicaSet"
    middle["metadata"]["ownerReferences"] = pod(owner=top)["metadata"]["ownerReferences"]
    middle = store.create("apps", "replicasets", middle)
    for name in ("p1", "p2"):
        store.create("", "pods", pod(name, owner=middle))
    return top


def test_dependents_follow_their_owner(tmp_path):
    store = store_in(tmp_path)
    family(store)
    store.delete("apps", "deployments", "default", "web")
    assert alive(store, "replicasets", "apps") == alive(store) == []


def test_orphans_stay_without_their_owner(tmp_path):
    store = store_in(tmp_path)
    family(store)
    store.delete("apps", "deployments", "default", "web", propagation="Orphan")
    assert store.find("apps", "deployments", "default", "web") is None
    (left,) = store.list("apps", "replicasets")
    assert "ownerReferences" not in left["metadata"]
    assert alive(store) == ["p1", "p2"]


def test_foreground_waits_for_the_dependents(tmp_path):
    store = store_in(tmp_path)
    top = store.create("apps", "deployments", deployment())
    store.create("", "pods", pod("p", node="lab", owner=top))
    store.delete("apps", "deployments", "default", "web", propagation="Foreground")
    waiting = store.get("apps", "deployments", "default", "web")
    assert waiting["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert waiting["metadata"]["deletionTimestamp"]
    assert store.get("", "pods", "default", "p")["metadata"]["deletionTimestamp"]
    store.delete("", "pods", "default", "p", grace=0)
    assert store.find("apps", "deployments", "default", "web") is None


def test_a_dependent_of_two_owners_stays_with_the_one_left(tmp_path):
    store = store_in(tmp_path)
    first, second = (store.create("", "configmaps", config_map(name)) for name in ("first", "second"))
    body = config_map("child")
    references = [pod(owner=owner)["metadata"]["ownerReferences"][0] for owner in (first, second)]
    body["metadata"]["ownerReferences"] = [{**one, "controller": False} for one in references]
    store.create("", "configmaps", body)
    store.delete("", "configmaps", "default", "first")
    left = store.get("", "configmaps", "default", "child")
    assert [one["name"] for one in left["metadata"]["ownerReferences"]] == ["second"]


def test_an_object_of_an_absent_owner_is_collected(tmp_path):
    async def scenario():
        store = store_in(tmp_path)
        gone = asyncio.Event()
        store.subscribe(lambda change: gone.set() if change.type == "DELETED" else None)
        owner = store.create("", "configmaps", config_map())
        store.delete("", "configmaps", "default", "c")
        gone.clear()
        store.create("", "pods", pod(owner=owner))
        await asyncio.wait_for(gone.wait(), 5)
        assert alive(store) == []

    asyncio.run(scenario())


def test_a_finalizer_holds_an_object_until_it_is_removed(tmp_path):
    store = store_in(tmp_path)
    made = store.create("", "configmaps", changed(config_map(), "metadata.finalizers", ["example.com/hold"]))
    held = store.delete("", "configmaps", "default", "c")
    assert held["metadata"]["deletionTimestamp"]
    with pytest.raises(StatusError, match="no new finalizers can be added"):
        store.update("", "configmaps", changed(held, "metadata.finalizers", ["example.com/hold", "example.com/new"]))
    held["metadata"]["finalizers"] = []
    store.update("", "configmaps", held)
    assert store.find("", "configmaps", "default", "c") is None
    assert made["metadata"]["uid"]


def test_a_pod_on_a_node_ends_gracefully(tmp_path):
    store = store_in(tmp_path)
    store.create("", "pods", pod(node="lab"))
    first = store.delete("", "pods", "default", "p")
    assert first["metadata"]["deletionGracePeriodSeconds"] == 30
    shorter = store.delete("", "pods", "default", "p", grace=5)
    assert shorter["metadata"]["deletionGracePeriodSeconds"] == 5
    longer = store.delete("", "pods", "default", "p", grace=60)
    assert longer["metadata"]["deletionGracePeriodSeconds"] == 5
    store.delete("", "pods", "default", "p", grace=0)
    assert alive(store) == []


def test_a_pod_without_a_node_goes_at_once(tmp_path):
    store = store_in(tmp_path)
    store.create("", "pods", pod())
    store.delete("", "pods", "default", "p")
    assert alive(store) == []


def test_preconditions(tmp_path):
    store = store_in(tmp_path)
    made = store.create("", "configmaps", config_map())
    with pytest.raises(StatusError) as caught:
        store.delete("", "configmaps", "default", "c", uid="other")
    assert caught.value.message == (
        'Operation cannot be fulfilled on configmaps "c": Precondition failed: '
        f"UID in precondition: other, UID in object meta: {made['metadata']['uid']}"
    )
    store.delete("", "configmaps", "default", "c", uid=made["metadata"]["uid"])


def test_a_namespace_drains_and_takes_nothing_new(tmp_path):
    store = store_in(tmp_path, "team")
    store.create("", "configmaps", config_map(), namespace="team")
    store.create("", "pods", pod(node="lab"), namespace="team")
    state = store.delete("", "namespaces", None, "team")
    assert state["status"]["phase"] == "Terminating"
    with pytest.raises(StatusError) as caught:
        store.create("", "configmaps", config_map("late"), namespace="team")
    assert (caught.value.code, caught.value.details["causes"][0]["reason"]) == (403, "NamespaceTerminating")
    assert caught.value.message == (
        'configmaps "late" is forbidden: unable to create new content in namespace team because it is being terminated'
    )
    assert store.find("", "configmaps", "team", "c") is None
    assert store.find("", "namespaces", None, "team"), "a pod is still ending"
    store.delete("", "pods", "team", "p", grace=0)
    assert store.find("", "namespaces", None, "team") is None


def test_a_namespace_that_was_draining_goes_on_after_a_restart(tmp_path):
    store = store_in(tmp_path, "team")
    store.create("", "pods", pod(node="lab"), namespace="team")
    store.delete("", "namespaces", None, "team")
    again = reopened(tmp_path)
    again.delete("", "pods", "team", "p", grace=0)
    assert again.find("", "namespaces", None, "team") is None


def test_system_namespaces_stay(tmp_path):
    with pytest.raises(StatusError) as caught:
        store_in(tmp_path).delete("", "namespaces", None, "default")
    assert caught.value.message == 'namespaces "default" is forbidden: this namespace may not be deleted'


def test_a_definition_goes_with_its_objects(tmp_path):
    store = store_in(tmp_path)
    store.create("apiextensions.k8s.io", "customresourcedefinitions", definition())
    store.create("example.com", "widgets", changed(widget(), "metadata.finalizers", ["example.com/hold"]))
    store.delete("apiextensions.k8s.io", "customresourcedefinitions", None, "widgets.example.com")
    held = store.get("example.com", "widgets", "default", "w")
    assert held["metadata"]["deletionTimestamp"]
    held["metadata"].pop("finalizers")
    store.update("example.com", "widgets", held)
    assert store.find("apiextensions.k8s.io", "customresourcedefinitions", None, "widgets.example.com") is None
    assert store.resources.find("example.com", "widgets") is None
