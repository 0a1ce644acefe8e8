"""The stand-ins of k3s and its helpers, in a cluster that the real k3d makes of them: they must not be blind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import docker
import pytest
from docker_lab import ARGOCD, CACHE
from hub import GATEWAY, Hub
from k3d_cluster import K3S, REGISTRY, K3dCluster
from standin_world import World, logged, output, put
from standins import images

from lab.waiting import Pending, wait_until

PYTHON = "library/python:3.13.15-alpine3.24"
SITE = (
    "import http.server, os; os.chdir('/tmp'); open('index.html', 'w').write(os.uname().nodename);"
    "http.server.HTTPServer(('', 8000), http.server.SimpleHTTPRequestHandler).serve_forever()"
)


@pytest.fixture(scope="module")
def cluster(engine: docker.DockerClient, hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[K3dCluster]:
    world = World(engine)
    made = K3dCluster(world, hub)
    try:
        made.create(tmp_path_factory.mktemp("k3d"))
        yield made
        made.delete()
    finally:
        world.close()


def eventually(what: str, look: Callable[[], Any]) -> Any:
    """Wait half a minute for a true answer; other answers are shown when it does not come."""
    return wait_until(
        what, lambda: seen if (seen := look()) and not isinstance(seen, str) else Pending(str(seen)), timeout=30
    )


def deployment(name: str, image: str, **container: Any) -> dict[str, Any]:
    labels = {"app": name}
    spec = {"containers": [{"name": name, "image": image, "command": ["python3", "-c", SITE], **container}]}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}},
    }  # fmt: skip


def service(name: str) -> dict[str, Any]:
    ports = [{"port": 80, "targetPort": 8000}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": ports},
    }


def ingress(name: str, to: str, path: str = "/", host: str = "", **router: str) -> dict[str, Any]:
    backend = {"service": {"name": to, "port": {"number": 80}}}
    rule = {
        "http": {"paths": [{"path": path, "pathType": "Prefix", "backend": backend}]},
        **({"host": host} if host else {}),
    }
    notes = {f"traefik.ingress.kubernetes.io/router.{key}": value for key, value in router.items()}
    meta = {"name": name, "annotations": notes}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta, "spec": {"rules": [rule]}}


def custom(**files: str) -> dict[str, Any]:
    meta = {"name": "coredns-custom", "namespace": "kube-system"}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": meta,
        "data": {key.replace("_", "."): text for key, text in files.items()},
    }


def test_k3d_makes_a_cluster_with_ready_nodes(cluster: K3dCluster) -> None:
    nodes = cluster.kubectl(
        "get", "nodes", "-o", "jsonpath={range .items[*]}{.metadata.name} {.status.nodeInfo.kubeletVersion};{end}"
    )
    assert nodes == "".join(f"k3d-{cluster.name}-{role}-0 v1.34.9+k3s1;" for role in ("agent", "server"))
    cluster.kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=20s")
    assert "Complete" in cluster.kubectl("get", "jobs", "--namespace", "kube-system", "helm-install-traefik")


def test_a_pod_has_its_own_image_name_and_address_and_is_reached_through_the_load_balancer(cluster: K3dCluster) -> None:
    cluster.apply(deployment("web", f"{REGISTRY}/{PYTHON}"), service("web"), ingress("web", "web", host="web.test"))
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    name = cluster.kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].metadata.name}")
    answered = eventually(
        "the pod to answer", lambda: seen if (seen := cluster.get("/", "web.test"))[0] == 200 else str(seen)
    )
    assert answered == (200, name)
    assert cluster.get("/", "other.test")[0] == 404
    assert "10.42.0." in cluster.kubectl("get", "pods", "-l", "app=web", "-o", "wide")
    assert (
        name
        in output(
            cluster.server, "curl", "-s", cluster.kubectl("get", "svc", "web", "-o", "jsonpath={.spec.clusterIP}")
        )[1]
    )


def test_the_longest_rule_wins_and_entry_points_are_kept_apart(cluster: K3dCluster) -> None:
    cluster.apply(
        service("nobody"),
        ingress("all", "nobody", path="/a"),
        ingress("longer", "nothing", path="/a/longer"),
        ingress("first", "nothing", path="/", host="high.test", priority="1000"),
        ingress("beaten", "nobody", path="/a/very/long/path/that/would/win", host="high.test"),
        ingress("secure", "nobody", path="/secure", entrypoints="websecure", tls="true"),
    )
    answers = {path: cluster.get(path, "x.test")[0] for path in ("/a/x", "/a/longer", "/secure")}
    assert answers == {"/a/x": 503, "/a/longer": 404, "/secure": 404}  # 503: a service without pods; 404: no service
    assert cluster.get("/a/very/long/path/that/would/win", "high.test")[0] == 404
    assert cluster.get_with_tls("/secure") == "no available server"


def test_an_image_that_cannot_be_had_shows_only_the_last_endpoints_error(cluster: K3dCluster) -> None:
    """Upstream's trap: the mirror's 404 is hidden by the registry itself, asked last and with TLS."""
    cluster.apply(deployment("missing", f"{REGISTRY}/no/such:1"), deployment("untold", f"{cluster.untold}/{PYTHON}"))
    for app in ("missing", "untold"):
        why = "jsonpath={.items[0].status.containerStatuses[0].state.waiting.message}"
        text = cluster.until("HTTPS client", "get", "pods", "-l", f"app={app}", "-o", why)
        assert "http: server gave HTTP response to HTTPS client" in text
    log = output(cluster.server, "cat", "/var/lib/rancher/k3s/agent/containerd/containerd.log")[1]
    assert f"{REGISTRY}/no/such:1: not found" in log  # only there
    cluster.kubectl("delete", "deployment", "missing", "untold")


def test_registries_are_read_once_when_k3s_starts(cluster: K3dCluster) -> None:
    before = output(cluster.server, "cat", "/etc/rancher/k3s/registries.yaml")[1]
    put(cluster.server, "/etc/rancher/k3s/registries.yaml", "mirrors: {}\n")
    try:
        code, text = output(cluster.server, "crictl", "pull", f"{REGISTRY}/library/redis:8.2.3-alpine")
    finally:
        put(cluster.server, "/etc/rancher/k3s/registries.yaml", before)
    assert code == 0, text


def test_an_imported_image_is_present(cluster: K3dCluster) -> None:
    stand_in = images.standing_in_for(f"docker.io/{PYTHON}")
    name = f"{cluster.world.name}/imported:1"
    cluster.world.client.images.get(stand_in.tag).tag(*name.split(":"))
    try:
        cluster.load(name)
    finally:
        cluster.world.client.images.remove(name)
    cluster.apply(deployment("imported", name, imagePullPolicy="Never"))
    cluster.kubectl("rollout", "status", "deployment/imported", "--timeout=60s")


def test_pods_find_containers_aliases_and_services(cluster: K3dCluster) -> None:
    assert "10.43.0.1" in cluster.address("kubernetes.default.svc.cluster.local")
    assert "192.0.2.7" in cluster.address("alias.lab.test")  # NodeHosts, which k3d wrote
    live = cluster.world.client.networks.get(cluster.world.network.id).attrs["Containers"].values()
    addresses = [each["IPv4Address"].partition("/")[0] for each in live]
    assert any(address in cluster.address("gitlab.lab.test").partition("Name:")[2] for address in addresses)
    assert "NXDOMAIN" in cluster.address("nosuch.default.svc.cluster.local")


def test_no_pod_starts_without_k3s_own_images(cluster: K3dCluster) -> None:
    """What a lab that brought only its own images into a place without a network would see."""
    block = ("OUTPUT", "-d", GATEWAY, "-j", "REJECT")
    assert output(cluster.server, "crictl", "rmi", "rancher/mirrored-pause:3.6")[0] == 0
    assert output(cluster.server, "iptables", "-I", *block)[0] == 0
    try:
        cluster.apply(deployment("alone", f"{REGISTRY}/{PYTHON}"))
        reason = (
            "get",
            "events",
            "--field-selector=reason=FailedCreatePodSandBox",
            "-o",
            "jsonpath={.items[*].message}",
        )
        cluster.until('failed to get sandbox image "rancher/mirrored-pause:3.6"', *reason)
    finally:
        output(cluster.server, "iptables", "-D", *block)
    cluster.kubectl("rollout", "status", "deployment/alone", "--timeout=60s")
    cluster.kubectl("delete", "deployment", "alone")


def test_names_and_the_ingress_are_as_alive_as_their_pods(cluster: K3dCluster) -> None:
    for workload, works in (
        ("coredns", lambda: "10.43.0.1" in cluster.address("kubernetes.default.svc.cluster.local")),
        ("traefik", lambda: output(cluster.server, "curl", "-s", "-m", "3", "http://localhost/")[0] == 0),
    ):
        scale = ("scale", "deployment", workload, "--namespace", "kube-system")
        assert works()
        cluster.kubectl(*scale, "--replicas=0")
        eventually("its end", lambda works=works: not works())
        cluster.kubectl(*scale, "--replicas=1")
        eventually("its return", works)


def test_names_added_for_pods_are_the_pods_only(cluster: K3dCluster) -> None:
    cluster.apply(custom(lab_server="extra.test:53 {\n  hosts {\n    192.0.2.9 one.extra.test\n  }\n}\n"))
    eventually("the name", lambda: "192.0.2.9" in (seen := cluster.address("one.extra.test")) or seen)
    assert output(cluster.server, "getent", "hosts", "one.extra.test")[0] != 0
    cluster.apply(custom(lab_override="hosts {\n  192.0.2.10 two.extra.test\n}\n"))
    eventually("the refusal", lambda: "only be used once" in (seen := cluster.server.logs().decode()) or seen[-300:])
    assert "192.0.2.9" in cluster.address("one.extra.test")  # the old configuration is still in force
    cluster.kubectl("delete", "configmap", "coredns-custom", "--namespace", "kube-system")


def test_an_unknown_flag_ends_k3s(world: World) -> None:
    for flag, words in (
        ("--no-such-flag", "flag provided but not defined"),
        ("--kubelet-arg=no-such=1", "unknown flag"),
    ):
        container = world.run(K3S, "server", flag)
        assert container.wait(timeout=30)["StatusCode"] == 1
        assert words in container.logs().decode()


def test_argocd_lives_by_its_manifest_alone(cluster: K3dCluster) -> None:
    manifest = CACHE / f"argocd/{ARGOCD}/install.yaml"
    if not manifest.exists():
        pytest.skip(f"no {manifest}; run .ci/engine")
    assert "argoproj" not in cluster.kubectl("api-resources")
    cluster.kubectl("create", "namespace", "argocd")
    cluster.apply(text=manifest.read_text(), namespace="argocd")
    hook = ingress("hook", "argocd-server", path="/api/webhook", entrypoints="web")
    hook["metadata"]["namespace"] = "argocd"
    cluster.apply(hook)
    ns = ("--namespace", "argocd")
    for part in (
        "deployment/argocd-server",
        "deployment/argocd-repo-server",
        "statefulset/argocd-application-controller",
    ):
        cluster.kubectl("rollout", "status", part, *ns, "--timeout=120s")
    assert cluster.get("/api/webhook")[0] == 307  # without server.insecure
    cluster.kubectl("patch", "configmap", "argocd-cmd-params-cm", *ns, "-p", '{"data": {"server.insecure": "true"}}')
    assert cluster.get("/api/webhook")[0] == 307  # read only when the pod starts
    cluster.kubectl("rollout", "restart", "deployment/argocd-server", *ns)
    cluster.kubectl("rollout", "status", "deployment/argocd-server", *ns, "--timeout=60s")
    eventually("the new pod", lambda: cluster.get("/api/webhook") == (400, "Unknown webhook event\n"))
    _reconciles_with_the_pods_resolver(cluster, ns)


def _reconciles_with_the_pods_resolver(cluster: K3dCluster, ns: tuple[str, ...]) -> None:
    source = {"repoURL": "http://git.extra.test:5050/root/x.git", "path": ".", "targetRevision": "x"}
    spec = {
        "project": "default", "source": source,
        "destination": {"server": "https://kubernetes.default.svc", "namespace": "default"},
    }  # fmt: skip
    app = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "x", "namespace": "argocd"},
        "spec": spec,
    }
    cluster.apply(app)
    condition = ("get", "application", "x", *ns, "-o", "jsonpath={.status.conditions[*].message}")
    refresh = ("annotate", "application", "x", *ns, "--overwrite", "argocd.argoproj.io/refresh=hard")
    cluster.until("no such host", *condition)
    registry = output(cluster.server, "getent", "hosts", "gitlab.lab.test")[1].split()[0]
    cluster.apply(custom(git_server=f"git.extra.test:53 {{\n  hosts {{\n    {registry} git.extra.test\n  }}\n}}\n"))
    cluster.kubectl(*refresh)
    cluster.until("repository not found", *condition)
    _scale_to_nothing(cluster, "deployment/argocd-repo-server")
    cluster.kubectl(*refresh)
    cluster.until("connection refused", *condition)
    _scale_to_nothing(cluster, "statefulset/argocd-application-controller")
    cluster.kubectl(*refresh)
    noted = cluster.kubectl("get", "application", "x", *ns, "-o", "jsonpath={.metadata.annotations}")
    assert "argocd.argoproj.io/refresh" in noted  # nobody was there to take it up


def _scale_to_nothing(cluster: K3dCluster, workload: str) -> None:
    cluster.kubectl("scale", workload, "--namespace", "argocd", "--replicas=0")
    label = f"app.kubernetes.io/name={workload.partition('/')[2]}"
    names = ("get", "pods", "--namespace", "argocd", "-l", label, "-o", "jsonpath={.items[*].metadata.name}")
    eventually("the end of the pods", lambda: cluster.kubectl(*names) == "")


def test_a_restarted_node_has_its_state_and_has_lost_what_k3d_wrote(cluster: K3dCluster) -> None:
    assert "alias.lab.test" in output(cluster.server, "cat", "/etc/hosts")[1]
    cluster.server.restart(timeout=20)
    cluster.until("web", "get", "deployments")
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert "alias.lab.test" not in output(cluster.server, "cat", "/etc/hosts")[1]
    assert "NXDOMAIN" in cluster.address("alias.lab.test")
    assert "Address" in cluster.address("gitlab.lab.test").partition("Name:")[2]
    eventually("the application", lambda: cluster.get("/", "web.test")[0] == 200)


def test_the_proxy_takes_up_a_changed_configuration_but_no_nonsense(world: World) -> None:
    world.run("docker.io/library/registry:2.8.3", alias="behind", environment={"REGISTRY_HTTP_ADDR": "0.0.0.0:5050"})
    values = "ports:\n  {}.tcp: [{}]\nsettings:\n  workerConnections: 64\n"
    proxy = world.run("ghcr.io/k3d-io/k3d-proxy:5.9.0", files={"/etc/confd/values.yaml": values.format(5051, "behind")})
    logged(proxy, "start worker processes")

    def answers() -> bool:
        return output(proxy, "curl", "-sf", "http://localhost:5050/v2/")[0] == 0

    assert not answers()
    put(proxy, "/etc/confd/values.yaml", values.format(5050, "behind"))
    eventually("the new port", answers)
    put(proxy, "/etc/confd/values.yaml", values.format(5052, "no-such-host"))
    logged(proxy, "host not found in upstream")
    assert answers()
