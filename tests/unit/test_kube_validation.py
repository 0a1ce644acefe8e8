from __future__ import annotations

import base64

import pytest
from kube_cases import changed, config_map, deployment, pod, store_in

from lab.emulator.kube import quantity
from lab.emulator.kube.errors import StatusError

INGRESS = {
    "metadata": {"name": "i"},
    "spec": {
        "rules": [
            {
                "host": "app.localhost",
                "http": {
                    "paths": [
                        {
                            "path": "/",
                            "pathType": "Prefix",
                            "backend": {"service": {"name": "web", "port": {"number": 80}}},
                        }
                    ]
                },
            }
        ]
    },
}
CLAIM = {
    "metadata": {"name": "data"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}
JOB = {
    "metadata": {"name": "j"},
    "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "b"}]}}},
}
SERVICE = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
SECRET = {"metadata": {"name": "s"}, "type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "e30="}}
CONTAINER = "spec.template.spec.containers.0"

INVALID = [
    ("apps", "deployments", deployment("Web"), "metadata.name", "a lowercase RFC 1123 subdomain must consist of"),
    (
        "apps",
        "deployments",
        deployment(replicas=-1),
        "spec.replicas",
        "Invalid value: -1: must be greater than or equal",
    ),
    ("apps", "deployments", changed(deployment(), "spec.selector", None), "spec.selector", "Required value"),
    (
        "apps",
        "deployments",
        changed(deployment(), "spec.selector.matchLabels", {"app": "other"}),
        "spec.template.metadata.labels",
        'Invalid value: map[string]string{"app":"web"}: `selector` does not match template `labels`',
    ),
    (
        "apps",
        "deployments",
        deployment(strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}),
        "spec.strategy.rollingUpdate.maxUnavailable",
        "Invalid value: 0: may not be 0 when `maxSurge` is 0",
    ),
    (
        "apps",
        "deployments",
        changed(deployment(), "spec.template.spec.restartPolicy", "Never"),
        "spec.template.spec.restartPolicy",
        'Unsupported value: "Never": supported values: "Always"',
    ),
    ("apps", "deployments", changed(deployment(), f"{CONTAINER}.image", ""), f"{CONTAINER}.image", "Required value"),
    (
        "apps",
        "deployments",
        changed(deployment(), f"{CONTAINER}.volumeMounts", [{"name": "none", "mountPath": "/x"}]),
        f"{CONTAINER}.volumeMounts.0.name",
        'Not found: "none"',
    ),
    (
        "apps",
        "deployments",
        changed(deployment(), f"{CONTAINER}.ports", [{"containerPort": 70000}]),
        f"{CONTAINER}.ports.0.containerPort",
        "Invalid value: 70000: must be between 1 and 65535, inclusive",
    ),
    (
        "apps",
        "deployments",
        changed(deployment(), f"{CONTAINER}.readinessProbe", {"periodSeconds": 1}),
        f"{CONTAINER}.readinessProbe",
        "Required value: must specify a handler type",
    ),
    (
        "",
        "pods",
        changed(pod(), "spec.containers.0.resources", {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
        "spec.containers.0.resources.requests",
        'Invalid value: "2": must be less than or equal to cpu limit of 1',
    ),
    ("", "pods", changed(pod(), "spec.containers", []), "spec.containers", "Required value"),
    (
        "",
        "pods",
        changed(pod(), "spec.containers", [{"name": "a", "image": "b"}] * 2),
        "spec.containers.1.name",
        'Duplicate value: "a"',
    ),
    ("", "namespaces", {"metadata": {"name": "a.b"}}, "metadata.name", "a lowercase RFC 1123 label must consist of"),
    ("", "services", changed(SERVICE, "metadata.name", "1s"), "metadata.name", "a DNS-1035 label must consist of"),
    ("", "services", changed(SERVICE, "spec.ports", []), "spec.ports", "Required value"),
    ("", "services", changed(SERVICE, "spec.type", "Odd"), "spec.type", 'Unsupported value: "Odd"'),
    (
        "",
        "services",
        changed(SERVICE, "spec.ports", [{"port": 80}, {"port": 81}]),
        "spec.ports.0.name",
        "Required value",
    ),
    ("", "configmaps", config_map(**{"a b": "x"}), "data[a b]", "a valid config key must consist of"),
    ("", "secrets", changed(SECRET, "data", {}), "data[.dockerconfigjson]", "Required value"),
    ("networking.k8s.io", "ingresses", changed(INGRESS, "spec", {}), "spec", "either `defaultBackend` or `rules`"),
    (
        "networking.k8s.io",
        "ingresses",
        changed(INGRESS, "spec.rules.0.http.paths.0.pathType", None),
        "spec.rules.0.http.paths.0.pathType",
        "Required value: pathType must be specified",
    ),
    (
        "networking.k8s.io",
        "ingresses",
        changed(INGRESS, "spec.rules.0.http.paths.0.path", "x"),
        "spec.rules.0.http.paths.0.path",
        'Invalid value: "x": must be an absolute path',
    ),
    (
        "",
        "persistentvolumeclaims",
        changed(CLAIM, "spec.accessModes", []),
        "spec.accessModes",
        "Required value: at least 1 access mode is required",
    ),
    (
        "batch",
        "jobs",
        changed(JOB, "spec.template.spec.restartPolicy", "Always"),
        "spec.template.spec.restartPolicy",
        'Required value: valid values: "OnFailure", "Never"',
    ),
]


@pytest.mark.parametrize(
    ("group", "plural", "body", "field", "message"), INVALID, ids=[f"{i[1]}-{i[3]}" for i in INVALID]
)
def test_what_is_invalid_is_named(tmp_path, group, plural, body, field, message):  # noqa: PLR0917 - a row of the table
    store = store_in(tmp_path)
    with pytest.raises(StatusError) as caught:
        store.create(group, plural, body)
    assert (caught.value.code, caught.value.reason) == (422, "Invalid"), caught.value.message
    causes = {cause["field"]: cause["message"] for cause in caught.value.details["causes"]}
    place = "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in field.split(".")).lstrip(".")
    place = field if "[" in field else place
    assert message in causes[place]
    kind = store.resources.get(group, plural).kind
    assert caught.value.message.startswith(
        f'{kind}{"." + group if group else ""} "{body["metadata"]["name"]}" is invalid: '
    )


def test_several_problems_are_listed_together(tmp_path):
    with pytest.raises(StatusError) as caught:
        store_in(tmp_path).create("", "pods", changed(pod(), "spec.containers", [{"name": "A"}]))
    assert caught.value.message.startswith('Pod "p" is invalid: [spec.containers[0].name: Invalid value: "A": ')
    assert caught.value.message.endswith("spec.containers[0].image: Required value]")


CHANGES = [
    (
        "apps",
        "deployments",
        deployment(),
        {"spec.selector.matchLabels": {"app": "x"}, "spec.template.metadata.labels": {"app": "x"}},
        "MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: field is immutable",
    ),
    ("", "pods", pod(), {"spec.hostname": "x"}, "spec: Forbidden: pod updates may not change fields other than"),
    ("", "secrets", SECRET, {"type": "Opaque"}, 'type: Invalid value: "Opaque": field is immutable'),
    (
        "",
        "configmaps",
        {**config_map(a="1"), "immutable": True},
        {"data": {"a": "2"}},
        "data: Forbidden: field is immutable when `immutable` is set",
    ),
    (
        "",
        "persistentvolumeclaims",
        CLAIM,
        {"spec.accessModes": ["ReadOnlyMany"]},
        "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName",
    ),
    (
        "batch",
        "jobs",
        JOB,
        {"spec.completionMode": "Indexed"},
        "spec.completionMode: Invalid value: field is immutable",
    ),
    ("", "services", SERVICE, {"spec.clusterIP": "10.43.7.7"}, "spec.clusterIPs[0]: Invalid value"),
]


@pytest.mark.parametrize(("group", "plural", "body", "changes", "message"), CHANGES, ids=[one[1] for one in CHANGES])
def test_what_may_not_change(tmp_path, group, plural, body, changes, message):  # noqa: PLR0917 - a row of the table
    store = store_in(tmp_path)
    made = store.create(group, plural, body)
    for path, value in changes.items():
        made = changed(made, path, value)
    with pytest.raises(StatusError) as caught:
        store.update(group, plural, made)
    assert caught.value.code == 422
    assert message in caught.value.message


def test_a_pods_image_may_change(tmp_path):
    store = store_in(tmp_path)
    made = store.create("", "pods", pod())
    assert store.update("", "pods", changed(made, "spec.containers.0.image", "nginx:2"))


def test_string_data_becomes_data(tmp_path):
    store = store_in(tmp_path)
    made = store.create("", "secrets", {"metadata": {"name": "s"}, "stringData": {"a": "b"}})
    assert made["data"] == {"a": base64.b64encode(b"b").decode()}
    assert "stringData" not in made
    assert made["type"] == "Opaque"


@pytest.mark.parametrize(
    ("given", "canonical"),
    [("1000m", "1"), ("0.5", "500m"), ("1024Mi", "1Gi"), ("1.5Gi", "1536Mi"), ("1000Mi", "1000Mi"), ("1000k", "1M"),
     ("1e3", "1e3"), ("0", "0"), ("100m", "100m"), ("2", "2"), ("0.1Gi", "107374182400m")],
)  # fmt: skip
def test_quantities(given, canonical):
    assert quantity.canonical(given) == canonical


@pytest.mark.parametrize("text", ["", "1 Gi", "ten", "1GiB", "--1"])
def test_what_is_no_quantity(text):
    with pytest.raises(ValueError, match="quantities must match the regular expression"):
        quantity.canonical(text)
