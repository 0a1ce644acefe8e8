from __future__ import annotations

import pytest
from kube_cases import changed, config_map, definition, deployment, store_in, widget

from lab.emulator.kube.errors import StatusError
from lab.emulator.kube.store import Options


def fields_of(obj, manager, operation="Apply"):
    entries = obj["metadata"]["managedFields"]
    return next(e["fieldsV1"] for e in entries if (e["manager"], e["operation"]) == (manager, operation))


def test_apply_creates_owns_and_is_idempotent(tmp_path):
    store = store_in(tmp_path)
    made = store.apply(config_map(a="1"), manager="one")
    assert fields_of(made, "one") == {"f:data": {"f:a": {}}}
    again = store.apply(config_map(a="1"), manager="one")
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


def test_defaults_are_owned_by_nobody(tmp_path):
    store = store_in(tmp_path)
    made = store.apply(deployment(), manager="one")
    assert made["spec"]["replicas"] == 1
    assert set(fields_of(made, "one")["f:spec"]) == {"f:selector", "f:template"}
    container = fields_of(made, "one")["f:spec"]["f:template"]["f:spec"]["f:containers"]['k:{"name":"main"}']
    assert container == {".": {}, "f:name": {}, "f:image": {}}


def test_another_managers_field_conflicts_until_forced(tmp_path):
    store = store_in(tmp_path)
    store.apply(config_map(a="1", b="1"), manager="one")
    with pytest.raises(StatusError) as caught:
        store.apply(config_map(a="2"), manager="two")
    assert (caught.value.code, caught.value.reason) == (409, "Conflict")
    assert caught.value.message == 'Apply failed with 1 conflict: conflict with "one": .data.a'
    assert caught.value.details == {
        "causes": [{"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.a"}]
    }
    made = store.apply(config_map(a="2"), manager="two", force=True)
    assert made["data"] == {"a": "2", "b": "1"}
    assert fields_of(made, "one") == {"f:data": {"f:b": {}}}


def test_a_conflict_with_an_update_names_version_and_time(tmp_path):
    store = store_in(tmp_path)
    made = store.apply(deployment(replicas=1), manager="one")
    store.update("apps", "deployments", changed(made, "spec.replicas", 3), options=Options(manager="kubectl-scale"))
    with pytest.raises(StatusError) as caught:
        store.apply(deployment(replicas=1), manager="one")
    assert caught.value.message.startswith(
        'Apply failed with 1 conflict: conflict with "kubectl-scale" using apps/v1 at 20'
    )
    assert caught.value.message.endswith(": .spec.replicas")


def test_the_same_value_is_shared(tmp_path):
    store = store_in(tmp_path)
    store.apply(config_map(a="1"), manager="one")
    made = store.apply(config_map(a="1"), manager="two")
    assert fields_of(made, "one") == fields_of(made, "two") == {"f:data": {"f:a": {}}}
    kept = store.apply(config_map(), manager="two")
    assert kept["data"] == {"a": "1"}, "the other manager still wants it"
    assert "data" not in store.apply(config_map(), manager="one")


def test_a_dropped_field_goes_unless_somebody_else_owns_it(tmp_path):
    store = store_in(tmp_path)
    full = changed(deployment(replicas=3), "metadata.labels", {"a": "1", "b": "2"})
    store.apply(full, manager="one")
    made = store.apply(changed(deployment(), "metadata.labels", {"a": "1"}), manager="one")
    assert made["metadata"]["labels"] == {"a": "1"}
    assert made["spec"]["replicas"] == 1, "back to the default"


def test_list_items_are_told_apart_by_their_keys(tmp_path):
    store = store_in(tmp_path)
    two = [{"name": "main", "image": "nginx:1"}, {"name": "side", "image": "redis:7"}]
    store.apply(changed(deployment(), "spec.template.spec.containers", two), manager="one")
    made = store.apply(deployment(image="nginx:2"), manager="one")
    containers = made["spec"]["template"]["spec"]["containers"]
    assert [(one["name"], one["image"]) for one in containers] == [("main", "nginx:2")]
    injected = [{"name": "proxy", "image": "envoy:1"}]
    store.apply(changed(deployment(), "spec.template.spec.containers", injected), manager="injector")
    made = store.apply(deployment(image="nginx:3"), manager="one")
    containers = made["spec"]["template"]["spec"]["containers"]
    assert sorted((one["name"], one["image"]) for one in containers) == [("main", "nginx:3"), ("proxy", "envoy:1")]


def test_ports_are_keyed_by_number_and_defaulted_protocol(tmp_path):
    store = store_in(tmp_path)
    ports = [{"name": "a", "port": 80}, {"name": "b", "port": 81}]
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": ports}}
    made = store.apply(body, manager="one")
    assert set(fields_of(made, "one")["f:spec"]["f:ports"]) == {
        'k:{"port":80,"protocol":"TCP"}',
        'k:{"port":81,"protocol":"TCP"}',
    }
    made = store.apply(changed(body, "spec.ports", ports[1:]), manager="one")
    assert [one["port"] for one in made["spec"]["ports"]] == [81]


def test_a_dropped_struct_goes_with_its_defaults(tmp_path):
    store = store_in(tmp_path)
    probe = {"httpGet": {"path": "/health", "port": 80}}
    probed = changed(deployment(), "spec.template.spec.containers.0.readinessProbe", probe)
    made = store.apply(probed, manager="one")
    assert made["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["periodSeconds"] == 10
    made = store.apply(deployment(), manager="one")
    assert "readinessProbe" not in made["spec"]["template"]["spec"]["containers"][0]


def test_an_unknown_field_or_a_repeated_item_is_refused(tmp_path):
    store = store_in(tmp_path)
    with pytest.raises(StatusError) as caught:
        store.apply(changed(deployment(), "spec.foo", 1), manager="one")
    assert caught.value.code == 500
    assert caught.value.message == (
        "failed to create typed patch object (default/web; apps/v1, Kind=Deployment): "
        ".spec.foo: field not declared in schema"
    )
    twice = [{"name": "main", "image": "a"}, {"name": "main", "image": "b"}]
    with pytest.raises(StatusError, match=r'duplicate entries for key \[name="main"\]'):
        store.apply(changed(deployment(), "spec.template.spec.containers", twice), manager="one")
    with pytest.raises(StatusError, match=r"metadata\.managedFields must be nil"):
        store.apply(changed(config_map(), "metadata.managedFields", [{"manager": "x"}]), manager="one")


def test_an_update_takes_fields_over_and_records_removals(tmp_path):
    store = store_in(tmp_path)
    made = store.apply(config_map(a="1", b="1"), manager="one")
    body = changed(made, "data", {"a": "2"})
    after = store.update("", "configmaps", body, options=Options(manager="editor"))
    assert fields_of(after, "editor", "Update") == {"f:data": {"f:a": {}}}
    assert not any(entry["manager"] == "one" for entry in after["metadata"]["managedFields"])


def test_status_has_managers_of_its_own(tmp_path):
    store = store_in(tmp_path)
    made = store.apply(deployment(), manager="one")
    after = store.update(
        "apps", "deployments", changed(made, "status.replicas", 2), subresource="status", options=Options(manager="c")
    )
    entry = next(one for one in after["metadata"]["managedFields"] if one["manager"] == "c")
    assert (entry["subresource"], entry["fieldsV1"]) == ("status", {"f:status": {"f:replicas": {}}})
    again = store.apply(deployment(), manager="one")
    assert again["status"]["replicas"] == 2


def test_lists_of_custom_resources_are_atomic(tmp_path):
    store = store_in(tmp_path)
    store.create("apiextensions.k8s.io", "customresourcedefinitions", definition())
    store.apply(widget(tags=["a", "b"]), manager="one")
    made = store.apply(widget(tags=["c"]), manager="one")
    assert made["spec"]["tags"] == ["c"]
    assert fields_of(made, "one") == {"f:spec": {"f:size": {}, "f:tags": {}}}
    with pytest.raises(StatusError, match=r"conflict with \"one\": \.spec\.tags"):
        store.apply(widget(tags=["d"]), manager="two")


def test_finalizers_and_owners_merge(tmp_path):
    store = store_in(tmp_path)
    store.apply(changed(config_map(), "metadata.finalizers", ["a/one"]), manager="one")
    made = store.apply(changed(config_map(), "metadata.finalizers", ["a/two"]), manager="two")
    assert sorted(made["metadata"]["finalizers"]) == ["a/one", "a/two"]


def test_apply_with_dry_run_shows_the_result_and_stores_nothing(tmp_path):
    store = store_in(tmp_path)
    store.apply(config_map(a="1"), manager="one")
    shown = store.apply(config_map(a="2"), manager="one", options=Options(dry_run=True))
    assert shown["data"] == {"a": "2"}
    assert store.get("", "configmaps", "default", "c")["data"] == {"a": "1"}


def test_an_empty_list_of_managers_resets_them(tmp_path):
    store = store_in(tmp_path)
    made = store.apply(config_map(a="1"), manager="one")
    after = store.update("", "configmaps", changed(made, "metadata.managedFields", [{}]))
    assert "managedFields" not in after["metadata"]
