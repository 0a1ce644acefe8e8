"""Checks of placement, policies, limits and what belongs to them, in upstream's words."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from kube_cases import changed, config_map, pod, store_in

from lab.emulator.kube.errors import StatusError

TERMS = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
NODE_AFFINITY = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}
PODS: list[tuple[dict[str, Any], str]] = [
    ({"tolerations": [{"operator": "Like", "key": "a"}]}, 'spec.tolerations[0].operator: Unsupported value: "Like"'),
    ({"tolerations": [{"value": "x"}]}, "operator must be Exists when `key` is empty"),
    (
        {"tolerations": [{"key": "a", "effect": "NoSchedule", "tolerationSeconds": 3}]},
        "effect must be 'NoExecute' when `tolerationSeconds` is set",
    ),
    ({"affinity": NODE_AFFINITY}, f"{TERMS}: Required value: must have at least one node selector term"),
    (
        {"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}]},
        "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
    ),
    ({"hostAliases": [{"ip": "x"}]}, 'spec.hostAliases[0].ip: Invalid value: "x": must be a valid IP address'),
    (
        {"securityContext": {"runAsUser": -5}},
        "spec.securityContext.runAsUser: Invalid value: -5: must be between 0 and",
    ),
    ({"activeDeadlineSeconds": 0}, "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647"),
    (
        {"volumes": [{"name": "v", "configMap": {"name": "c", "items": [{"key": "a", "path": "../x"}]}}]},
        "spec.volumes[0].configMap.items[0].path: Invalid value: \"../x\": must not contain '..'",
    ),
]


@pytest.mark.parametrize(("spec", "message"), PODS, ids=[next(iter(spec)) + str(n) for n, (spec, _) in enumerate(PODS)])
def test_a_pod_that_asks_for_nonsense_is_refused(tmp_path, spec, message):
    wanted = pod()
    wanted["spec"] |= copy.deepcopy(spec)
    with pytest.raises(StatusError) as caught:
        store_in(tmp_path).create("", "pods", wanted)
    assert caught.value.code == 422
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("spec.foo", "error converting fieldPath: field label not supported: spec.foo"),
        ("metadata.labels", "Unsupported value"),
        ("", "Required value"),
    ],
)
def test_the_downward_api_knows_its_fields(tmp_path, path, problem):
    wanted = pod()
    field = {"fieldRef": {"fieldPath": path}}
    wanted["spec"]["containers"][0]["env"] = [{"name": "A", "valueFrom": field}]
    with pytest.raises(StatusError) as caught:
        store_in(tmp_path).create("", "pods", wanted)
    assert "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: " in caught.value.message
    assert problem in caught.value.message


def test_the_downward_api_gives_labels_by_name(tmp_path):
    wanted = pod()
    field = {"fieldRef": {"fieldPath": "metadata.labels['app.kubernetes.io/name']"}}
    wanted["spec"]["containers"][0]["env"] = [{"name": "A", "valueFrom": field}]
    assert store_in(tmp_path).create("", "pods", wanted)


POD_TEMPLATE = {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "b"}]}}
OTHERS: list[tuple[str, str, dict[str, Any], str]] = [
    (
        "networking.k8s.io",
        "networkpolicies",
        {"spec": {"podSelector": {}, "policyTypes": ["Egres"]}},
        'spec.policyTypes[0]: Unsupported value: "Egres"',
    ),
    (
        "networking.k8s.io",
        "networkpolicies",
        {"spec": {"podSelector": {}, "ingress": [{"from": [{}]}]}},
        "spec.ingress[0].from[0]: Required value: must specify a peer",
    ),
    (
        "networking.k8s.io",
        "networkpolicies",
        {"spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.1"}}]}]}},
        'spec.ingress[0].from[0].ipBlock.cidr: Invalid value: "10.0.0.1": must be a valid CIDR value',
    ),
    (
        "scheduling.k8s.io",
        "priorityclasses",
        {"value": 2_000_000_000},
        "value: Forbidden: maximum allowed value of a user defined priority is 1000000000",
    ),
    ("", "resourcequotas", {"spec": {"hard": {"pods": "-1"}}}, "spec.hard[pods]: Invalid value"),
    (
        "",
        "limitranges",
        {"spec": {"limits": [{"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}}]}},
        "min value 2 is greater than max value 1",
    ),
    (
        "coordination.k8s.io",
        "leases",
        {"spec": {"leaseDurationSeconds": 0}},
        "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
    ),
    (
        "batch",
        "jobs",
        {"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": POD_TEMPLATE}},
        "spec.selector: Invalid value",
    ),
    (
        "batch",
        "cronjobs",
        {"spec": {"schedule": "TZ=UTC * * * * *", "jobTemplate": {"spec": {"template": POD_TEMPLATE}}}},
        "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
    ),
]


@pytest.mark.parametrize(
    ("group", "plural", "body", "message"), OTHERS, ids=[f"{o[1]}{n}" for n, o in enumerate(OTHERS)]
)
def test_a_policy_that_makes_no_sense_is_refused(tmp_path, group, plural, body, message):
    with pytest.raises(StatusError) as caught:
        store_in(tmp_path).create(group, plural, {"metadata": {"name": "o"}, **copy.deepcopy(body)})
    assert caught.value.code == 422
    assert message in caught.value.message


def test_a_volumes_source_may_not_change(tmp_path):
    store = store_in(tmp_path)
    spec = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/a"}}
    made = store.create("", "persistentvolumes", {"metadata": {"name": "v"}, "spec": spec})
    made = store.update("", "persistentvolumes", changed(made, "spec.persistentVolumeReclaimPolicy", "Delete"))
    with pytest.raises(StatusError, match=r"spec\.persistentvolumesource is immutable after creation"):
        store.update("", "persistentvolumes", changed(made, "spec.hostPath.path", "/b"))


def test_a_priority_may_not_change(tmp_path):
    store = store_in(tmp_path)
    made = store.create("scheduling.k8s.io", "priorityclasses", {"metadata": {"name": "high"}, "value": 5})
    with pytest.raises(StatusError, match="value: Forbidden: may not be changed in an update"):
        store.update("scheduling.k8s.io", "priorityclasses", changed(made, "value", 6))


def service(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], **spec}}


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            service(type="NodePort", ports=[{"port": 80, "nodePort": 80}]),
            (
                "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. "
                "The range of valid ports is 30000-32767"
            ),
        ),
        (
            service(type="NodePort", ports=[{"port": 80, "nodePort": 30123}]),
            "spec.ports[0].nodePort: Invalid value: 30123: provided port is already allocated",
        ),
        (service(externalIPs=["x"]), 'spec.externalIPs[0]: Invalid value: "x": must be a valid IP address'),
        (service(externalTrafficPolicy="Local"), "may only be set for externally-accessible services"),
        (service(loadBalancerSourceRanges=["1.2.3.0/24"]), "may only be used when `type` is 'LoadBalancer'"),
    ],
)
def test_a_service_that_cannot_be_reached_so_is_refused(tmp_path, wanted, message):
    store = store_in(tmp_path)
    taken = service(type="NodePort", ports=[{"port": 80, "nodePort": 30123}])
    store.create("", "services", {**taken, "metadata": {"name": "first"}})
    with pytest.raises(StatusError) as caught:
        store.create("", "services", wanted)
    assert caught.value.code == 422
    assert message in caught.value.message


def test_a_service_can_change_its_type_and_keep_its_node_port(tmp_path):
    store = store_in(tmp_path)
    made = store.create("", "services", service(type="NodePort", ports=[{"port": 80, "nodePort": 30123}]))
    made = store.update("", "services", changed(made, "spec.type", "LoadBalancer"))
    assert made["spec"]["ports"][0]["nodePort"] == 30123
    made = store.update("", "services", changed(made, "spec.type", "ClusterIP"))
    assert "externalTrafficPolicy" not in made["spec"]
    assert "nodePort" not in made["spec"]["ports"][0]


def test_a_pods_priority_comes_from_its_class(tmp_path):
    store = store_in(tmp_path)
    classes = ("scheduling.k8s.io", "priorityclasses")
    store.create(*classes, {"metadata": {"name": "high"}, "value": 500, "preemptionPolicy": "Never"})
    wanted = pod("a")
    wanted["spec"]["priorityClassName"] = "high"
    spec = store.create("", "pods", wanted)["spec"]
    assert (spec["priority"], spec["preemptionPolicy"]) == (500, "Never")
    assert store.create("", "pods", pod("b"))["spec"]["priority"] == 0
    store.create(*classes, {"metadata": {"name": "usual"}, "value": 7, "globalDefault": True})
    spec = store.create("", "pods", pod("c"))["spec"]
    assert (spec["priority"], spec["priorityClassName"]) == (7, "usual")
    wanted = pod("d")
    wanted["spec"]["priorityClassName"] = "system-node-critical"
    assert store.create("", "pods", wanted)["spec"]["priority"] == 2_000_001_000


def test_a_pod_of_an_unknown_priority_class_is_forbidden(tmp_path):
    wanted = pod()
    wanted["spec"]["priorityClassName"] = "nope"
    with pytest.raises(StatusError) as caught:
        store_in(tmp_path).create("", "pods", wanted)
    assert (caught.value.code, caught.value.message) == (
        403,
        'pods "p" is forbidden: no PriorityClass with name nope was found',
    )


@pytest.mark.parametrize("kind", ["merge", "strategic"])
def test_a_patch_renames_nothing(tmp_path, kind):
    store = store_in(tmp_path)
    store.create("", "configmaps", config_map("c"))
    with pytest.raises(StatusError) as caught:
        store.patch("", "configmaps", "default", "c", {"metadata": {"name": "z"}}, kind=kind)
    assert (caught.value.code, caught.value.message) == (
        400,
        "the name of the object (z) does not match the name on the URL (c)",
    )
    assert store.find("", "configmaps", "default", "z") is None
