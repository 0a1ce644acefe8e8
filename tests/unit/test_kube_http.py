from __future__ import annotations

import asyncio
import io
import json
import ssl
import stat

import aiohttp
import pytest
from kube_cases import changed, config_map, definition, deployment, pod, running, served, widget

from lab.emulator.kube.errors import StatusError

CORE = "/api/v1/namespaces/default"
APPS = "/apis/apps/v1/namespaces/default"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


@served
async def test_who_may_not_come_in(client):
    tls = client.session.connector._ssl
    assert isinstance(tls, ssl.SSLContext)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as anonymous:
        async with anonymous.get(client.url + CORE + "/pods") as response:
            body = await response.json()
            assert (response.status, body["reason"]) == (403, "Forbidden")
            assert body["message"] == (
                'pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" '
                'in the namespace "default"'
            )
        async with anonymous.get(client.url + "/readyz") as response:
            assert (response.status, await response.text()) == (200, "ok")
        wrong = {"Authorization": "Bearer wrong"}
        async with anonymous.get(client.url + "/api", headers=wrong) as response:
            body = await response.json()
            assert (response.status, body["reason"], body["message"]) == (401, "Unauthorized", "Unauthorized")


@served
async def test_the_kubeconfig_is_secret_and_complete(client):
    path = client.folder / "kubeconfig"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((client.folder / "kubernetes" / "token").stat().st_mode) == 0o600
    found = json.loads(path.read_text())
    assert found["current-context"] == found["clusters"][0]["name"] == "lab"
    assert found["clusters"][0]["cluster"]["server"] == client.url


@served
async def test_discovery_in_both_forms(client):
    assert (await client.get("/api"))["versions"] == ["v1"]
    for path in ("/apis", "/apis/"):
        groups = [group["name"] for group in (await client.get(path))["groups"]]
        assert {"apps", "batch", "networking.k8s.io", "authorization.k8s.io"} <= set(groups)
    names = {one["name"]: one for one in (await client.get("/apis/apps/v1"))["resources"]}
    assert names["deployments"]["shortNames"] == ["deploy"]
    assert {"deployments/scale", "deployments/status"} <= set(names)
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
    document = await client.get("/apis", Accept=accept)
    assert document["kind"] == "APIGroupDiscoveryList"
    assert client.headers["Content-Type"].startswith("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroup")
    assert (await client.call("GET", "/apis/none.example/v1"))[0] == 404
    assert (await client.get("/version"))["minor"] == "33"


@served
async def test_openapi_offers_field_validation_and_schemas(client):
    paths = (await client.get("/openapi/v3"))["paths"]
    document = await client.get(paths["apis/apps/v1"]["serverRelativeURL"])
    patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert "fieldValidation" in [one["name"] for one in patch["parameters"]]
    assert patch["x-kubernetes-group-version-kind"] == {"group": "apps", "kind": "Deployment", "version": "v1"}
    schemas = document["components"]["schemas"]
    containers = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert "immutable" in client.headers["Cache-Control"]
    assert "definitions" in await client.get("/openapi/v2")
    before = paths["api/v1"]["serverRelativeURL"]
    await client.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition())
    paths = (await client.get("/openapi/v3"))["paths"]
    assert paths["api/v1"]["serverRelativeURL"] == before
    assert "apis/example.com/v1" in paths


@served
async def test_create_read_list_and_delete(client):
    made = await client.create(f"{CORE}/configmaps", config_map(a="1"))
    assert made["metadata"]["managedFields"][0]["operation"] == "Update"
    listed = await client.get(f"{CORE}/configmaps?labelSelector=none%3Dx")
    assert (listed["kind"], listed["items"]) == ("ConfigMapList", [])
    status, body = await client.call("DELETE", f"{CORE}/configmaps/c")
    assert (status, body["status"], body["details"]) == (
        200,
        "Success",
        {"name": "c", "kind": "configmaps", "uid": made["metadata"]["uid"]},
    )
    status, body = await client.call("GET", f"{CORE}/configmaps/c")
    assert (status, body["reason"]) == (404, "NotFound")


@served
async def test_a_deleted_collection_is_returned(client):
    for name in ("a", "b", "c"):
        await client.create(f"{CORE}/pods", pod(name, keep="no" if name != "c" else "yes"))
    status, body = await client.call("DELETE", f"{CORE}/pods?labelSelector=keep%3Dno")
    assert (status, [one["metadata"]["name"] for one in body["items"]]) == (200, ["a", "b"])
    assert [one["metadata"]["name"] for one in (await client.get(f"{CORE}/pods"))["items"]] == ["c"]


@served
async def test_names_and_namespaces_must_agree_with_the_path(client):
    await client.create(f"{CORE}/configmaps", config_map())
    status, body = await client.call("PUT", f"{CORE}/configmaps/other", config_map())
    assert (status, body["message"]) == (
        400,
        "the name of the object (c) does not match the name on the URL (other)",
    )
    elsewhere = changed(config_map("d"), "metadata.namespace", "kube-system")
    status, body = await client.call("POST", f"{CORE}/configmaps", elsewhere)
    assert (status, body["message"]) == (
        400,
        "the namespace of the provided object does not match the namespace sent on the request",
    )
    status, body = await client.call("PUT", f"{CORE}/configmaps/none", config_map("none"))
    assert (status, body["reason"]) == (404, "NotFound")


@served
async def test_lists_come_in_pages(client):
    for name in "abcde":
        await client.create(f"{CORE}/secrets", {"metadata": {"name": name}})
    names, token = [], ""
    for _ in range(3):
        page = await client.get(f"{CORE}/secrets?limit=2&continue={token}")
        names += [one["metadata"]["name"] for one in page["items"]]
        token = page["metadata"].get("continue", "")
    assert (names, token) == (list("abcde"), "")


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("application/merge-patch+json", b'{"data":{"a":"2"}}', 200),
        ("application/json-patch+json", b'[{"op":"add","path":"/data/a","value":"2"}]', 200),
        ("application/strategic-merge-patch+json", b'{"data":{"a":"2"}}', 200),
        ("application/json", b'{"data":{"a":"2"}}', 415),
        ("application/merge-patch+json", b"{", 400),
    ],
)
def test_kinds_of_patches(tmp_path, kind, body, code):
    async def main():
        async with running(tmp_path) as client:
            await client.create(f"{CORE}/configmaps", config_map(a="1"))
            status, answered = await client.call("PATCH", f"{CORE}/configmaps/c", body, kind=kind)
            assert status == code, answered
            if code == 200:
                assert answered["data"] == {"a": "2"}

    asyncio.run(main())


@served
async def test_server_side_apply_over_http(client):
    path, kind = f"{APPS}/deployments/web", "application/apply-patch+yaml"
    status, body = await client.call("PATCH", path, deployment(), kind=kind)
    assert (status, body["reason"]) == (422, "Invalid")
    assert body["message"] == (
        'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'
    )
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\ndata:\n  a: '1'\n"
    status, body = await client.call("PATCH", f"{CORE}/configmaps/c?fieldManager=m", text, kind=kind)
    assert (status, body["data"]) == (201, {"a": "1"})
    status, body = await client.call("PATCH", f"{CORE}/configmaps/c?fieldManager=m", text, kind=kind)
    assert (status, body["metadata"]["managedFields"][0]["manager"]) == (200, "m")


@served
async def test_warnings_and_strictness(client):
    odd = {**config_map(), "colour": "red"}
    await client.create(f"{CORE}/configmaps", odd)
    assert client.headers.getall("Warning") == ['299 - "unknown field \\"colour\\""']
    status, body = await client.call("POST", f"{CORE}/configmaps?fieldValidation=Strict", odd)
    assert (status, 'unknown field "colour"' in body["message"]) == (400, True)
    status, body = await client.call("POST", f"{CORE}/configmaps?dryRun=All", config_map("dry"))
    assert status == 201
    assert (await client.call("GET", f"{CORE}/configmaps/dry"))[0] == 404
    status, body = await client.call("POST", f"{CORE}/configmaps?dryRun=Maybe", config_map("dry"))
    assert (status, body["reason"]) == (422, "Invalid")


@served
async def test_scale_reads_and_writes_replicas(client):
    await client.create(f"{APPS}/deployments", deployment())
    found = await client.get(f"{APPS}/deployments/web/scale")
    assert (found["kind"], found["spec"], found["status"]) == (
        "Scale",
        {"replicas": 1},
        {"replicas": 0, "selector": "app=web"},
    )
    status, found = await client.call("PUT", f"{APPS}/deployments/web/scale", changed(found, "spec.replicas", 4))
    assert (status, found["spec"]) == (200, {"replicas": 4})
    kind = "application/merge-patch+json"
    status, _ = await client.call("PATCH", f"{APPS}/deployments/web/scale", {"spec": {"replicas": 2}}, kind=kind)
    assert (await client.get(f"{APPS}/deployments/web"))["spec"]["replicas"] == 2
    status, body = await client.call("PUT", f"{APPS}/deployments/web/scale", changed(found, "spec.replicas", 5))
    assert (status, body["reason"]) == (409, "Conflict")


@served
async def test_tables_of_pods_and_custom_kinds(client):
    await client.create(f"{CORE}/pods", pod())
    table = await client.get(f"{CORE}/pods", Accept=TABLE)
    assert table["kind"] == "Table"
    columns = [one["name"] for one in table["columnDefinitions"]]
    assert columns[:5] == ["Name", "Ready", "Status", "Restarts", "Age"]
    assert all(isinstance(one["priority"], int) for one in table["columnDefinitions"])
    assert table["rows"][0]["cells"][:4] == ["p", "0/1", "Pending", "0"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    printer = [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}]
    body = definition(additionalPrinterColumns=printer)
    await client.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body)
    await client.create("/apis/example.com/v1/namespaces/default/widgets", widget(size=7))
    table = await client.get("/apis/example.com/v1/widgets", Accept=TABLE)
    assert [one["name"] for one in table["columnDefinitions"]] == ["Name", "Size"]
    assert table["rows"][0]["cells"] == ["w", 7]


@served
async def test_only_metadata_on_request(client):
    accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    found = await client.get("/api/v1/namespaces", Accept=accept)
    assert found["kind"] == "PartialObjectMetadataList"
    assert set(found["items"][0]) == {"kind", "apiVersion", "metadata"}


@served
async def test_unknown_encodings(client):
    status, body = await client.call("GET", "/api/v1/namespaces", Accept="application/cbor")
    assert (status, body["reason"]) == (406, "NotAcceptable")
    status, body = await client.call("POST", f"{CORE}/configmaps", b"x", kind="text/plain")
    assert (status, body["reason"]) == (415, "UnsupportedMediaType")
    text = await client.get("/api/v1/namespaces/default", Accept="application/yaml")
    assert "kind: Namespace" in text
    long = io.BytesIO(b"x" * (3 * 1024 * 1024 + 1))
    async with client.session.post(f"{client.url}{CORE}/configmaps", data=long) as response:
        body = await response.json()
        assert (response.status, body["reason"]) == (413, "RequestEntityTooLarge")


@served
async def test_what_is_not_emulated_says_so(client):
    await client.create(f"{CORE}/pods", pod())
    for path in ("exec", "attach", "portforward", "proxy"):
        status, body = await client.call("POST", f"{CORE}/pods/p/{path}")
        assert (status, body["message"].startswith("not emulated: kubectl ")) == (501, True)
    status, body = await client.call("GET", "/metrics")
    assert (status, body["message"]) == (501, "not emulated: /metrics")
    status, body = await client.call("POST", f"{CORE}/serviceaccounts/default/token", {"spec": {}})
    assert status == 501
    assert (await client.call("GET", f"{CORE}/pods/p/nonsense"))[0] == 404
    status, body = await client.call("POST", f"{CORE}/pods/p", pod())
    assert (status, body["reason"]) == (405, "MethodNotAllowed")


@served
async def test_logs_come_from_whoever_runs_the_pods(client):
    await client.create(f"{CORE}/pods", pod())
    asked = {}

    def logs(namespace, name, container, **options):
        asked.update(options, place=(namespace, name, container))
        if options["previous"]:
            raise StatusError(400, "BadRequest", 'previous terminated container "main" in pod "p" not found')

        async def chunks():
            yield b"one\n"
            yield b"two\n"

        return chunks()

    client.server.pod_logs = logs
    assert await client.get(f"{CORE}/pods/p/log?tailLines=5&timestamps=true&follow=true") == "one\ntwo\n"
    assert (asked["place"], asked["tail_lines"], asked["timestamps"], asked["follow"]) == (
        ("default", "p", None),
        5,
        True,
        True,
    )
    assert await client.get(f"{CORE}/pods/p/log?container=main&limitBytes=5") == "one\nt"
    status, body = await client.call("GET", f"{CORE}/pods/p/log?previous=true")
    assert (status, body["reason"]) == (400, "BadRequest")


@served
async def test_reviews_of_the_administrator(client):
    asked = {"kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": {"verb": "create", "resource": "pods"}}}
    made = await client.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", asked)
    assert made["status"] == {"allowed": True}
    made = await client.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
    assert made["status"]["userInfo"]["username"] == "system:admin"


@served
async def test_a_client_certificate_free_server_speaks_tls_with_its_own_authority(client):
    async with aiohttp.ClientSession() as stranger:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await stranger.get(client.url + "/readyz")


@served
async def test_nobody_acts_in_somebody_elses_name(client):
    status, body = await client.call("GET", f"{CORE}/pods", Impersonate_User="bob")
    assert (status, body["message"]) == (501, "not emulated: impersonation (kubectl --as)")


@served
async def test_options_that_exclude_each_other(client):
    await client.create(f"{CORE}/configmaps", config_map("kept"))
    both = {"propagationPolicy": "Orphan", "orphanDependents": True}
    status, body = await client.call("DELETE", f"{CORE}/configmaps/kept", both)
    assert (status, body["reason"]) == (422, "Invalid")
    assert "orphanDependents and deletionPropagation cannot be both set" in body["message"]
    status, body = await client.call("GET", f"{CORE}/configmaps?resourceVersionMatch=Exact")
    assert (status, body["message"]) == (
        422,
        (
            'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: '
            "resourceVersionMatch is forbidden unless resourceVersion is provided"
        ),
    )
    await client.get(f"{CORE}/configmaps/kept")
