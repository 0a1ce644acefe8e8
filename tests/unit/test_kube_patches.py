from __future__ import annotations

import pytest
from kube_cases import changed, config_map, definition, deployment, store_in, widget

from lab.emulator.kube import jsonpatch
from lab.emulator.kube.errors import StatusError
from lab.emulator.kube.patches import merge
from lab.emulator.kube.schema import of_resource
from lab.emulator.kube.strategic import apply as strategic

DEPLOYMENT = of_resource("apps", "v1", "Deployment")
POD = of_resource("", "v1", "Pod")


def patched(target, patch, shape=POD):
    return strategic(shape, target, patch)


def test_merge_patch_removes_nulls_and_replaces_lists():
    assert merge({"a": {"b": 1, "c": 2}, "l": [1, 2]}, {"a": {"b": None, "d": 3}, "l": [3]}) == {
        "a": {"c": 2, "d": 3},
        "l": [3],
    }


def test_strategic_merges_items_by_their_key():
    target = {"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}}
    patch = {"spec": {"containers": [{"name": "b", "image": "2"}, {"name": "c", "image": "3"}]}}
    assert patched(target, patch)["spec"]["containers"] == [
        {"name": "a", "image": "1"},
        {"name": "b", "image": "2"},
        {"name": "c", "image": "3"},
    ]


@pytest.mark.parametrize(
    ("patch", "left"),
    [
        ([{"$patch": "delete", "name": "a"}], ["b"]),
        ([{"$patch": "replace"}, {"name": "z"}], ["z"]),
        ([], ["a", "b"]),
    ],
)
def test_directives_of_lists(patch, left):
    target = {"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}
    assert [one["name"] for one in patched(target, {"spec": {"containers": patch}})["spec"]["containers"]] == left


def test_directives_of_maps():
    target = {"spec": {"nodeSelector": {"a": "1", "b": "2"}, "securityContext": {"runAsUser": 1}}}
    after = patched(target, {"spec": {"nodeSelector": {"$patch": "replace", "c": "3"}}})
    assert after["spec"]["nodeSelector"] == {"c": "3"}
    after = patched(target, {"spec": {"securityContext": {"$patch": "delete"}}})
    assert after["spec"]["securityContext"] == {}


def test_retain_keys_drop_the_other_kinds_of_a_union():
    target = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert patched(target, patch, DEPLOYMENT)["spec"]["strategy"] == {"type": "Recreate"}


def test_the_order_of_items_can_be_set():
    target = {"spec": {"containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}}
    patch = {
        "spec": {
            "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}],
            "containers": [{"name": "a", "image": "2"}],
        }
    }
    assert [one["name"] for one in patched(target, patch)["spec"]["containers"]] == ["c", "b", "a"]


def test_lists_of_scalars_merge_and_lose_what_is_named():
    target = {"metadata": {"finalizers": ["a", "b"]}}
    assert patched(target, {"metadata": {"finalizers": ["b", "c"]}})["metadata"]["finalizers"] == ["a", "b", "c"]
    after = patched(target, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}})
    assert after["metadata"]["finalizers"] == ["b"]


def test_lists_without_a_key_are_replaced():
    target = {"spec": {"containers": [{"name": "a", "args": ["1", "2"]}]}}
    after = patched(target, {"spec": {"containers": [{"name": "a", "args": ["3"]}]}})
    assert after["spec"]["containers"][0]["args"] == ["3"]


def test_an_item_without_its_key_is_refused():
    with pytest.raises(StatusError, match="does not contain declared merge key: name"):
        patched({"spec": {"containers": []}}, {"spec": {"containers": [{"image": "x"}]}})


@pytest.mark.parametrize(
    ("operation", "after"),
    [
        ({"op": "add", "path": "/list/1", "value": "x"}, {"list": ["a", "x", "b"], "map": {"a/b": 1}}),
        ({"op": "add", "path": "/list/-", "value": "x"}, {"list": ["a", "b", "x"], "map": {"a/b": 1}}),
        ({"op": "replace", "path": "/list/0", "value": "x"}, {"list": ["x", "b"], "map": {"a/b": 1}}),
        ({"op": "remove", "path": "/map/a~1b"}, {"list": ["a", "b"], "map": {}}),
        ({"op": "move", "from": "/map", "path": "/other"}, {"list": ["a", "b"], "other": {"a/b": 1}}),
        ({"op": "copy", "from": "/list/0", "path": "/map/c"}, {"list": ["a", "b"], "map": {"a/b": 1, "c": "a"}}),
        ({"op": "test", "path": "/list/0", "value": "a"}, {"list": ["a", "b"], "map": {"a/b": 1}}),
    ],
)
def test_json_patch(operation, after):
    assert jsonpatch.apply({"list": ["a", "b"], "map": {"a/b": 1}}, [operation]) == after


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        ({"op": "test", "path": "/a", "value": 2}, "testing value /a failed: test failed"),
        ({"op": "remove", "path": "/b"}, "Unable to remove nonexistent key: b"),
        ({"op": "replace", "path": "/b/c", "value": 1}, "doc is missing path: /b/c"),
        ({"op": "jump", "path": "/a"}, "Unexpected kind: jump"),
    ],
)
def test_a_json_patch_that_does_not_fit(operation, message):
    with pytest.raises(StatusError) as caught:
        jsonpatch.apply({"a": 1}, [operation])
    assert caught.value.code == 422
    assert message in caught.value.message


def test_patches_through_the_store(tmp_path):
    store = store_in(tmp_path)
    store.create("apps", "deployments", deployment())
    env = {"spec": {"template": {"spec": {"containers": [{"name": "main", "env": [{"name": "A", "value": "1"}]}]}}}}
    made = store.patch("apps", "deployments", "default", "web", env, kind="strategic")
    assert made["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:1"
    assert made["metadata"]["generation"] == 2
    operation = [{"op": "replace", "path": "/spec/replicas", "value": 4}]
    assert store.patch("apps", "deployments", "default", "web", operation, kind="json")["spec"]["replicas"] == 4
    stale = {"metadata": {"resourceVersion": "1", "labels": {"a": "b"}}}
    with pytest.raises(StatusError) as caught:
        store.patch("apps", "deployments", "default", "web", stale)
    assert caught.value.reason == "Conflict"


def test_custom_resources_take_no_strategic_patch(tmp_path):
    store = store_in(tmp_path)
    store.create("apiextensions.k8s.io", "customresourcedefinitions", definition())
    store.create("example.com", "widgets", widget())
    with pytest.raises(StatusError) as caught:
        store.patch("example.com", "widgets", "default", "w", {"spec": {"size": 2}}, kind="strategic")
    assert (caught.value.code, caught.value.reason) == (415, "UnsupportedMediaType")


def test_a_patch_cannot_change_identity(tmp_path):
    store = store_in(tmp_path)
    made = store.create("", "configmaps", config_map())
    body = {"metadata": {"creationTimestamp": "2001-01-01T00:00:00Z", "generation": 9}, "data": {"a": "1"}}
    after = store.patch("", "configmaps", "default", "c", body)
    assert after["metadata"]["creationTimestamp"] == made["metadata"]["creationTimestamp"]
    assert "generation" not in after["metadata"]
    with pytest.raises(StatusError, match="Precondition failed: UID in precondition"):
        store.update("", "configmaps", changed(made, "metadata.uid", "other"))
