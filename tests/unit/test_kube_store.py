from __future__ import annotations

import pytest
from kube_cases import changed, config_map, definition, deployment, pod, reopened, store_in, widget

from lab.emulator.kube.admission import shown
from lab.emulator.kube.errors import StatusError
from lab.emulator.kube.store import Change, Options


def refused(code, reason, call, *args, **kwargs):
    with pytest.raises(StatusError) as caught:
        call(*args, **kwargs)
    assert (caught.value.code, caught.value.reason) == (code, reason), caught.value
    return caught.value


def test_a_new_object_gets_identity_defaults_and_a_version(tmp_path):
    store = store_in(tmp_path)
    made = store.create("apps", "deployments", deployment())
    meta = made["metadata"]
    assert meta["namespace"] == "default"
    assert len(meta["uid"]) == 36
    assert meta["creationTimestamp"].endswith("Z")
    assert meta["generation"] == 1
    assert int(meta["resourceVersion"]) == store.shelf.version
    spec = made["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
    assert spec["progressDeadlineSeconds"] == 600
    container = spec["template"]["spec"]["containers"][0]
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert container["terminationMessagePath"] == "/dev/termination-log"
    assert spec["template"]["spec"]["restartPolicy"] == "Always"


def test_errors_carry_reason_and_details(tmp_path):
    store = store_in(tmp_path)
    store.create("apps", "deployments", deployment())
    error = refused(409, "AlreadyExists", store.create, "apps", "deployments", deployment())
    assert error.status() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'deployments.apps "web" already exists',
        "reason": "AlreadyExists",
        "details": {"name": "web", "group": "apps", "kind": "deployments"},
        "code": 409,
    }
    error = refused(404, "NotFound", store.get, "", "pods", "default", "none")
    assert error.message == 'pods "none" not found'
    error = refused(404, "NotFound", store.create, "", "configmaps", config_map(), namespace="nowhere")
    assert error.message == 'namespaces "nowhere" not found'


def test_a_stale_version_conflicts_and_no_version_is_unconditional(tmp_path):
    store = store_in(tmp_path)
    first = store.create("", "configmaps", config_map(a="1"))
    store.update("", "configmaps", changed(first, "data.a", "2"))
    error = refused(409, "Conflict", store.update, "", "configmaps", changed(first, "data.a", "3"))
    assert error.message == (
        'Operation cannot be fulfilled on configmaps "c": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    loose = changed(first, "data.a", "4")
    del loose["metadata"]["resourceVersion"]
    assert store.update("", "configmaps", loose)["data"] == {"a": "4"}


def test_a_write_that_changes_nothing_makes_no_version(tmp_path):
    store = store_in(tmp_path)
    seen: list[Change] = []
    made = store.create("apps", "deployments", deployment())
    store.subscribe(seen.append)
    assert (
        store.update("apps", "deployments", made)["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    )
    assert seen == []


def test_status_and_spec_are_written_apart(tmp_path):
    store = store_in(tmp_path)
    made = store.create("apps", "deployments", {**deployment(), "status": {"replicas": 9}})
    assert made["status"] == {}
    both = changed(changed(made, "status.replicas", 1), "spec.replicas", 5)
    after = store.update("apps", "deployments", both, subresource="status")
    assert (after["spec"]["replicas"], after["status"]["replicas"], after["metadata"]["generation"]) == (1, 1, 1)
    both["metadata"]["resourceVersion"] = after["metadata"]["resourceVersion"]
    both["status"]["replicas"] = 7
    after = store.update("apps", "deployments", both)
    assert (after["spec"]["replicas"], after["status"]["replicas"], after["metadata"]["generation"]) == (5, 1, 2)


def test_labels_do_not_count_as_generation(tmp_path):
    store = store_in(tmp_path)
    made = store.create("apps", "deployments", deployment())
    after = store.update("apps", "deployments", changed(made, "metadata.labels", {"a": "b"}))
    assert after["metadata"]["generation"] == 1


def test_what_is_returned_is_a_copy(tmp_path):
    store = store_in(tmp_path)
    made = store.create("", "configmaps", config_map(a="1"))
    made["data"]["a"] = "changed"
    store.list("", "configmaps")[0]["data"]["a"] = "changed"
    assert store.get("", "configmaps", "default", "c")["data"] == {"a": "1"}


def test_dry_run_stores_nothing(tmp_path):
    store = store_in(tmp_path)
    made = store.create("", "configmaps", config_map(), options=Options(dry_run=True))
    assert made["metadata"]["uid"]
    assert store.find("", "configmaps", "default", "c") is None


def test_generated_names_are_unique_and_start_as_asked(tmp_path):
    store = store_in(tmp_path)
    found = {
        store.create("", "configmaps", {"metadata": {"generateName": "job-"}})["metadata"]["name"] for _ in range(20)
    }
    assert len(found) == 20
    assert all(name.startswith("job-") and len(name) == 9 for name in found)
    error = refused(422, "Invalid", store.create, "", "configmaps", {"metadata": {}})
    assert "name or generateName is required" in error.message


def test_changes_are_delivered_in_order_also_when_a_subscriber_writes(tmp_path):
    store = store_in(tmp_path)
    seen = []

    def react(change: Change) -> None:
        if change.type == "ADDED" and change.resource.plural == "configmaps":
            store.create("", "secrets", {"metadata": {"name": "s"}})

    store.subscribe(react)
    store.subscribe(lambda change: seen.append((change.resource.plural, change.version)))
    store.create("", "configmaps", config_map())
    assert [plural for plural, _ in seen] == ["configmaps", "secrets"]
    assert seen[0][1] < seen[1][1]


def test_objects_kinds_and_versions_survive_a_restart(tmp_path):
    store = store_in(tmp_path)
    store.create("apiextensions.k8s.io", "customresourcedefinitions", definition())
    store.create("example.com", "widgets", widget())
    newest = store.shelf.version
    again = reopened(tmp_path)
    assert again.get("example.com", "widgets", "default", "w")["spec"] == {"size": 1, "mode": "a"}
    assert again.shelf.version >= newest
    assert again.shelf.since(newest - 1) is None, "what an earlier run knew is gone"


def test_selectors(tmp_path):
    store = store_in(tmp_path, "other")
    for name, app, namespace in (("a", "x", "default"), ("b", "y", "default"), ("c", "x", "other")):
        store.create("", "pods", pod(name, app=app), namespace=namespace)

    def names(**selectors):
        return [one["metadata"]["name"] for one in store.list("", "pods", **selectors)]

    assert names(labels="app=x") == ["a", "c"]
    assert names(namespace="default", labels="app in (x,y),app!=y") == ["a"]
    assert names(labels="!app") == []
    assert names(labels="app notin (x)") == ["b"]
    assert names(fields="metadata.name=b,status.phase=Pending") == ["b"]
    assert names(fields="spec.nodeName!=") == []
    assert "field label not supported: spec.color" in refused(400, "BadRequest", names, fields="spec.color=red").message
    refused(400, "BadRequest", names, labels="a in x")


def test_a_definition_adds_a_kind_that_is_checked_pruned_and_defaulted(tmp_path):
    store = store_in(tmp_path)
    refused(404, "NotFound", store.list, "example.com", "widgets")
    store.create("apiextensions.k8s.io", "customresourcedefinitions", definition())
    crd = store.get("apiextensions.k8s.io", "customresourcedefinitions", None, "widgets.example.com")
    assert {one["type"]: one["status"] for one in crd["status"]["conditions"]} == {
        "NamesAccepted": "True",
        "Established": "True",
    }
    made = store.create("example.com", "widgets", widget(extra="gone"))
    assert made["spec"] == {"size": 1, "mode": "a"}
    error = refused(422, "Invalid", store.create, "example.com", "widgets", widget("x", size="big"))
    assert error.message == (
        'Widget.example.com "x" is invalid: spec.size: Invalid value: "string": '
        'spec.size in body must be of type integer: "string"'
    )
    error = refused(422, "Invalid", store.create, "example.com", "widgets", widget("x", mode="c"))
    assert 'spec.mode: Unsupported value: "c": supported values: "a", "b"' in error.message
    missing = changed(widget("x"), "spec", {})
    assert (
        "spec.size: Required value" in refused(422, "Invalid", store.create, "example.com", "widgets", missing).message
    )


def test_without_a_status_subresource_a_status_change_counts_as_generation(tmp_path):
    store = store_in(tmp_path)
    store.create("apiextensions.k8s.io", "customresourcedefinitions", definition())
    made = store.create("example.com", "widgets", {**widget(), "status": {"phase": "new"}})
    assert made["status"] == {"phase": "new"}
    after = store.update("example.com", "widgets", changed(made, "status.phase", "old"))
    assert after["metadata"]["generation"] == 2


def test_unknown_fields_warn_or_fail_and_are_never_stored(tmp_path):
    store = store_in(tmp_path)
    odd = changed(deployment(), "spec.template.spec.containers.0.imag", "x")
    warnings: list[str] = []
    made = store.create("apps", "deployments", odd, options=Options(warnings=warnings))
    assert warnings == ['unknown field "spec.template.spec.containers[0].imag"']
    assert "imag" not in made["spec"]["template"]["spec"]["containers"][0]
    error = refused(400, "BadRequest", store.create, "apps", "deployments", odd, options=Options(validation="Strict"))
    assert error.message == (
        'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: '
        'unknown field "spec.template.spec.containers[0].imag"'
    )


def test_a_wrong_type_is_named_as_the_decoder_names_it(tmp_path):
    store = store_in(tmp_path)
    error = refused(400, "BadRequest", store.create, "apps", "deployments", deployment(replicas="three"))
    assert error.message == (
        'Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal string '
        "into Go struct field DeploymentSpec.spec.replicas of type int32"
    )
    bad_label = changed(config_map(), "metadata.labels", {"a": 1})
    error = refused(400, "BadRequest", store.create, "", "configmaps", bad_label)
    assert "cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string" in error.message


def test_quantities_are_stored_in_their_canonical_form(tmp_path):
    store = store_in(tmp_path)
    resources = {"limits": {"cpu": "0.5", "memory": "1024Mi"}, "requests": {"cpu": "100m"}}
    made = store.create("", "pods", changed(pod(), "spec.containers.0.resources", resources))
    assert made["spec"]["containers"][0]["resources"] == {
        "limits": {"cpu": "500m", "memory": "1Gi"},
        "requests": {"cpu": "100m", "memory": "1Gi"},
    }
    assert made["status"]["qosClass"] == "Burstable"


def test_pods_take_over_the_pull_secrets_of_their_account(tmp_path):
    store = store_in(tmp_path)
    account = store.get("", "serviceaccounts", "default", "default")
    store.update("", "serviceaccounts", {**account, "imagePullSecrets": [{"name": "registry"}]})
    assert store.create("", "pods", pod())["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    error = refused(403, "Forbidden", store.create, "", "pods", changed(pod("q"), "spec.serviceAccountName", "nobody"))
    assert error.message == (
        'pods "q" is forbidden: error looking up service account default/nobody: serviceaccount "nobody" not found'
    )


def test_services_get_addresses_and_keep_them(tmp_path):
    store = store_in(tmp_path)
    body = {"metadata": {"name": "s"}, "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}}
    made = store.create("", "services", body)
    address = made["spec"]["clusterIP"]
    assert address.startswith("10.43.")
    assert made["spec"]["clusterIPs"] == [address]
    assert made["spec"]["ports"] == [{"port": 80, "targetPort": 80, "protocol": "TCP"}]
    again = store.update("", "services", {"metadata": {"name": "s", "namespace": "default"}, "spec": body["spec"]})
    assert again["spec"]["clusterIP"] == address
    refused(422, "Invalid", store.update, "", "services", changed(made, "spec.clusterIP", "10.43.9.9"))
    node = store.update("", "services", changed(made, "spec.type", "NodePort"))
    assert 30000 <= node["spec"]["ports"][0]["nodePort"] < 32768


def test_events_are_counted(tmp_path):
    store = store_in(tmp_path)
    made = store.create("", "pods", pod())
    for _ in range(3):
        store.record_event(
            made, "Warning", "BackOff", "Back-off restarting", "kubelet", field_path="spec.containers{main}"
        )
    (event,) = store.list("", "events", "default")
    assert (event["count"], event["type"], event["reason"]) == (3, "Warning", "BackOff")
    assert event["involvedObject"]["uid"] == made["metadata"]["uid"]
    assert event["involvedObject"]["fieldPath"] == "spec.containers{main}"
    selector = f"involvedObject.name=p,involvedObject.uid={made['metadata']['uid']},type!=Normal"
    assert len(store.list("", "events", "default", fields=selector)) == 1


@pytest.mark.parametrize(
    ("group", "plural", "name"), [("", "serviceaccounts", "default"), ("", "configmaps", "kube-root-ca.crt")]
)
def test_what_every_namespace_has_comes_back(tmp_path, group, plural, name):
    store = store_in(tmp_path)
    store.root_certificate = "PEM"
    store.create("", "namespaces", {"metadata": {"name": "team"}})
    first = store.get(group, plural, "team", name)
    store.delete(group, plural, "team", name)
    assert store.get(group, plural, "team", name)["metadata"]["uid"] != first["metadata"]["uid"]
    store.delete("", "namespaces", None, "team")
    assert store.find(group, plural, "team", name) is None


def test_a_kind_that_is_only_stored_says_so(tmp_path):
    store = store_in(tmp_path)
    warnings: list[str] = []
    policy = {"metadata": {"name": "p"}, "spec": {"podSelector": {}}}
    store.create("networking.k8s.io", "networkpolicies", policy, options=Options(warnings=warnings))
    assert warnings == ["not emulated: network policies are stored, but no traffic is filtered"]
    hook = {"metadata": {"name": "h"}, "webhooks": []}
    error = refused(
        501,
        "NotImplemented",
        store.create,
        "admissionregistration.k8s.io",
        "validatingwebhookconfigurations",
        hook,
    )
    assert error.message == "not emulated: admission webhooks (ValidatingWebhookConfiguration)"
    converted = changed(definition(), "spec.conversion", {"strategy": "Webhook"})
    refused(501, "NotImplemented", store.create, "apiextensions.k8s.io", "customresourcedefinitions", converted)


def test_a_custom_kind_is_served_in_each_of_its_versions(tmp_path):
    store = store_in(tmp_path)
    body = definition()
    (first,) = body["spec"]["versions"]
    body["spec"]["versions"] = [{**first, "name": "v1beta1", "storage": False}, first]
    store.create("apiextensions.k8s.io", "customresourcedefinitions", body)
    resource = store.resources.get("example.com", "widgets")
    assert resource.versions == ("v1", "v1beta1")
    old = {**widget(), "apiVersion": "example.com/v1beta1"}
    assert store.create("example.com", "widgets", old)["apiVersion"] == "example.com/v1"
    assert shown(resource, store.view("example.com", "widgets", "default", "w"), "v1beta1")["apiVersion"] == (
        "example.com/v1beta1"
    )
