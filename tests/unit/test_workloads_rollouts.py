"""Deployments, replica sets, stateful and daemon sets; services and the ingress under a rolling update."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import aiohttp
from aiohttp import web as aioweb
from workloads_world import REGISTRY, container, deployment, ingress, play, pod, script, service


def get(cluster, plural="deployments", name="web", group="apps"):
    return cluster.store.get(group, plural, "default", name)


def is_ready(found):
    conditions = found["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def status(cluster, plural="deployments", name="web"):
    return get(cluster, plural, name).get("status", {})


def complete(cluster, name="web"):
    """As ``kubectl rollout status`` judges it."""
    found = get(cluster, name=name)
    now, replicas = found.get("status", {}), found["spec"]["replicas"]
    return (
        now.get("observedGeneration", 0) >= found["metadata"]["generation"]
        and now.get("updatedReplicas", 0) == now.get("replicas", 0) == now.get("availableReplicas", 0) == replicas
    )


def condition(found, kind):
    return next((each for each in found.get("status", {}).get("conditions", []) if each["type"] == kind), {})


def change(cluster, answer, **spec):
    found = get(cluster)
    found["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = answer
    found["spec"].update(spec)
    cluster.store.update("apps", "deployments", found)


async def dialled(port):
    """A connection to a port that opens in a moment."""
    for _ in range(100):
        with contextlib.suppress(OSError):
            return await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0.02)
    raise AssertionError(f"nobody listens on {port}")


async def stand(cluster, **options):
    """A deployment behind a service and an ingress, ready."""
    cluster.create("", "services", service())
    cluster.create("networking.k8s.io", "ingresses", ingress())
    cluster.create("apps", "deployments", deployment(**options))
    await cluster.until("ready", lambda: complete(cluster))
    await cluster.until("served", lambda: cluster.store.get("", "endpoints", "default", "web").get("subsets"))


def test_a_rolling_update_drops_no_request(tmp_path: Path):
    async def test(cluster):
        await stand(cluster, replicas=2)
        answers: list[tuple[int, str]] = []

        async def load() -> None:
            while True:
                answers.append(await cluster.get("/x"))

        clients = [asyncio.create_task(load()) for _ in range(4)]
        change(cluster, "two")
        await cluster.until("rolled out", lambda: complete(cluster) and len(cluster.pods()) == 2)
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        assert {code for code, _ in answers} == {200}
        assert {text for _, text in answers} <= {"one /x", "two /x"}
        assert (await cluster.get("/x"))[1] == "two /x"

    play(test, tmp_path)


def test_revisions_rollback_and_history(tmp_path: Path):
    async def test(cluster):
        await stand(cluster, revisionHistoryLimit=1)
        first = cluster.store.list("apps", "replicasets", "default")[0]
        assert first["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
        assert first["metadata"]["labels"]["pod-template-hash"] == first["metadata"]["name"].rpartition("-")[2]
        assert first["spec"]["selector"]["matchLabels"]["pod-template-hash"]
        owner = first["metadata"]["ownerReferences"][0]
        assert (owner["kind"], owner["controller"]) == ("Deployment", True)
        change(cluster, "two")
        await cluster.until("second", lambda: complete(cluster) and len(cluster.pods()) == 1)
        change(cluster, "one")
        await cluster.until("back", lambda: complete(cluster) and len(cluster.pods()) == 1)
        sets = {each["metadata"]["name"]: each for each in cluster.store.list("apps", "replicasets", "default")}
        again = sets[first["metadata"]["name"]]
        assert again["metadata"]["uid"] == first["metadata"]["uid"], "the same template is the same replica set"
        assert again["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
        assert again["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"] == "1"
        assert get(cluster)["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
        change(cluster, "three")
        await cluster.until("third", lambda: complete(cluster))
        await cluster.until("cleaned", lambda: len(cluster.store.list("apps", "replicasets", "default")) == 2)
        assert (await cluster.get())[1] == "three /"

    play(test, tmp_path)


def test_a_broken_image_leaves_the_old_pod_and_exceeds_the_deadline(tmp_path: Path):
    async def test(cluster):
        await stand(cluster, progressDeadlineSeconds=2, minReadySeconds=0)
        found = get(cluster)
        found["spec"]["template"]["spec"]["containers"][0]["image"] = f"{REGISTRY}/root/missing:2"
        cluster.store.update("apps", "deployments", found)
        await cluster.until(
            "deadline", lambda: condition(get(cluster), "Progressing").get("reason") == "ProgressDeadlineExceeded"
        )
        assert condition(get(cluster), "Progressing")["status"] == "False"
        assert condition(get(cluster), "Available")["status"] == "True"
        assert (await cluster.get())[1] == "one /"
        now = status(cluster)
        assert (now["replicas"], now["updatedReplicas"], now["availableReplicas"], now["unavailableReplicas"]) == (
            2,
            1,
            1,
            1,
        )

    play(test, tmp_path)


def test_recreate_never_has_two_generations(tmp_path: Path):
    async def test(cluster):
        cluster.create("apps", "deployments", deployment(strategy={"type": "Recreate"}))
        await cluster.until("ready", lambda: complete(cluster))
        seen: set[int] = set()
        stop = cluster.store.subscribe(lambda _: seen.add(len(cluster.pods())))
        change(cluster, "two")
        await cluster.until("rolled", lambda: complete(cluster))
        stop()
        assert max(seen) == 1
        assert 0 in seen

    play(test, tmp_path)


def test_scaling_pausing_and_resuming(tmp_path: Path):
    async def test(cluster):
        await stand(cluster)
        found = get(cluster)
        found["spec"]["replicas"] = 3
        cluster.store.update("apps", "deployments", found)
        await cluster.until("three", lambda: complete(cluster) and len(cluster.pods()) == 3)
        ports = {
            address
            for subset in cluster.store.get("", "endpoints", "default", "web")["subsets"]
            for address in [subset["ports"][0]["port"]]
        }
        assert len(ports) == 3
        change(cluster, "two", paused=True)
        await cluster.until(
            "paused", lambda: condition(get(cluster), "Progressing").get("reason") == "DeploymentPaused"
        )
        assert len(cluster.store.list("apps", "replicasets", "default")) == 1
        change(cluster, "two", paused=False)
        await cluster.until("resumed", lambda: complete(cluster) and len(cluster.pods()) == 3)
        change(cluster, "two", replicas=0)
        await cluster.until("none", lambda: not cluster.pods() and complete(cluster))
        assert (await cluster.get())[0] == 503

    play(test, tmp_path)


def test_a_deleted_pod_is_replaced_and_an_orphan_adopted(tmp_path: Path):
    async def test(cluster):
        await stand(cluster)
        old = cluster.pods()[0]
        cluster.store.delete("", "pods", "default", old["metadata"]["name"])
        await cluster.until(
            "replaced",
            lambda: (
                complete(cluster)
                and [each for each in cluster.pods() if each["metadata"]["uid"] != old["metadata"]["uid"]]
                and len(cluster.pods()) == 1
            ),
        )
        labels = cluster.pods()[0]["metadata"]["labels"]
        cluster.create("", "pods", pod("stray", container(), labels=labels))
        await cluster.until("surplus removed", lambda: len(cluster.pods()) == 1)
        cluster.store.delete("apps", "deployments", "default", "web")
        await cluster.until("all gone", lambda: not cluster.pods() and not cluster.store.list("apps", "replicasets"))

    play(test, tmp_path)


def test_readiness_decides_who_gets_requests(tmp_path: Path):
    async def test(cluster):
        await stand(cluster)
        folder = next((cluster.config.data / "pods").glob("*-*-*-*-*")) / "rootfs/app/app/flags"
        found = get(cluster)
        found["spec"]["template"]["spec"]["containers"][0]["readinessProbe"].update(failureThreshold=1)
        cluster.store.update("apps", "deployments", found)
        await cluster.until("rolled", lambda: complete(cluster) and len(cluster.pods()) == 1)
        uid = cluster.pods()[0]["metadata"]["uid"]
        folder = cluster.config.data / "pods" / uid / "rootfs/app/app/flags"
        (folder / "sick").touch()
        await cluster.until("unready", lambda: not is_ready(cluster.pods()[0]))
        await cluster.until(
            "out", lambda: "addresses" not in cluster.store.get("", "endpoints", "default", "web")["subsets"][0]
        )
        assert (await cluster.get())[0] == 503
        (folder / "sick").unlink()
        await cluster.until("ready again", lambda: is_ready(cluster.pods()[0]))
        await cluster.until(
            "in", lambda: "addresses" in cluster.store.get("", "endpoints", "default", "web")["subsets"][0]
        )
        assert (await cluster.get())[0] == 200

    play(test, tmp_path)


def test_min_ready_seconds_delay_availability(tmp_path: Path):
    async def test(cluster):
        cluster.create("apps", "deployments", deployment(minReadySeconds=2))
        await cluster.until("ready", lambda: status(cluster).get("readyReplicas") == 1)
        assert "availableReplicas" not in status(cluster)
        await cluster.until("available", lambda: status(cluster).get("availableReplicas") == 1)

    play(test, tmp_path)


def test_endpoint_slices_mirror_endpoints(tmp_path: Path):
    async def test(cluster):
        await stand(cluster, replicas=2)

        def slices():
            return cluster.store.list("discovery.k8s.io", "endpointslices", "default")

        def ready():
            return [one["conditions"]["ready"] for each in slices() for one in each["endpoints"]]

        await cluster.until("both endpoints", lambda: ready() == [True, True])
        assert {each["metadata"]["labels"]["kubernetes.io/service-name"] for each in slices()} == {"web"}
        cluster.store.delete("", "services", "default", "web")
        await cluster.until("gone", lambda: not cluster.store.list("", "endpoints", "default"))
        await cluster.until("slices gone", lambda: not slices())

    play(test, tmp_path)


def test_the_ingress_without_rule_without_service_and_with_bodies(tmp_path: Path):
    async def test(cluster):
        assert await cluster.get() == (404, "404 page not found\n")
        cluster.create("networking.k8s.io", "ingresses", ingress(host="app.test"))
        assert (await cluster.get("/", Host="app.test"))[0] == 404
        cluster.create("", "services", service())
        assert (await cluster.get("/", Host="app.test"))[0] == 503
        cluster.create("apps", "deployments", deployment())
        await cluster.until("ready", lambda: complete(cluster))
        await cluster.until("served", lambda: cluster.store.get("", "endpoints", "default", "web").get("subsets"))
        assert await cluster.get("/a%20b?c=%2F", Host="app.test:8088") == (200, "one /a%20b?c=%2F")
        assert (await cluster.get("/", Host="other.test"))[0] == 404
        found = get(cluster, "ingresses", group="networking.k8s.io")
        assert found["status"]["loadBalancer"]["ingress"] == [{"ip": "127.0.0.1"}]
        url = f"http://127.0.0.1:{cluster.config.app_port}/echo"
        data = b"x" * 300_000
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, data=data, headers={"Host": "app.test"}) as response,
        ):
            assert await response.read() == data

    play(test, tmp_path)


def test_websockets_pass_through_the_ingress(tmp_path: Path):
    async def echo(request):
        socket = aioweb.WebSocketResponse(protocols=("chat",))
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data.upper())
        return socket

    async def test(cluster):
        app = aioweb.Application()
        app.router.add_get("/ws", echo)
        runner = aioweb.AppRunner(app)
        await runner.setup()
        site = aioweb.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        plain = service()
        del plain["spec"]["selector"]
        cluster.create("", "services", plain)
        subset = {"addresses": [{"ip": "127.0.0.1"}], "ports": [{"port": port}]}
        cluster.create(
            "", "endpoints", {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web"}, "subsets": [subset]}
        )
        cluster.create("networking.k8s.io", "ingresses", ingress())
        url = f"http://127.0.0.1:{cluster.config.app_port}/ws"
        async with aiohttp.ClientSession() as session, session.ws_connect(url, protocols=("chat",)) as socket:
            assert socket.protocol == "chat"
            await socket.send_str("hello")
            assert (await socket.receive_str(timeout=5)) == "HELLO"
        await runner.cleanup()

    play(test, tmp_path)


def test_pods_reach_each_other_through_service_variables(tmp_path: Path):
    code = (
        "import os, urllib.request as u\n"
        "host, port = os.environ['WEB_SERVICE_HOST'], os.environ['WEB_SERVICE_PORT']\n"
        "print(u.urlopen(f'http://{host}:{port}/hi').read().decode())\n"
    )

    async def test(cluster):
        await stand(cluster)
        cluster.create("", "pods", pod("client", script(code), restartPolicy="Never"))
        await cluster.until("done", lambda: cluster.pod("client")["status"].get("phase") == "Succeeded")
        assert await cluster.log("client") == "one /hi\n"

    play(test, tmp_path)


def stateful(replicas=2):
    template = {
        "metadata": {"labels": {"app": "db"}},
        "spec": {"containers": [container(env=[{"name": "ANSWER", "value": "one"}])]},
    }
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    spec = {
        "serviceName": "db",
        "replicas": replicas,
        "selector": {"matchLabels": {"app": "db"}},
        "template": template,
        "volumeClaimTemplates": [claim],
    }
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": spec}


def test_stateful_sets_are_ordered_named_and_keep_their_claims(tmp_path: Path):
    async def test(cluster):
        order: list[str] = []
        stop = cluster.store.subscribe(
            lambda change: (
                change.type == "ADDED"
                and change.resource.plural == "pods"
                and order.append(change.object["metadata"]["name"])
            )
        )
        cluster.create("apps", "statefulsets", stateful())
        await cluster.until("ready", lambda: status(cluster, "statefulsets", "db").get("readyReplicas") == 2)
        assert order == ["db-0", "db-1"]
        claims = [each["metadata"]["name"] for each in cluster.store.list("", "persistentvolumeclaims", "default")]
        assert claims == ["data-db-0", "data-db-1"]
        first = status(cluster, "statefulsets", "db")
        assert first["currentRevision"] == first["updateRevision"]
        found = get(cluster, "statefulsets", "db")
        found["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = "two"
        order.clear()
        cluster.store.update("apps", "statefulsets", found)
        await cluster.until(
            "updated",
            lambda: (
                status(cluster, "statefulsets", "db").get("updateRevision") != first["updateRevision"]
                and status(cluster, "statefulsets", "db")["currentRevision"]
                == status(cluster, "statefulsets", "db")["updateRevision"]
            ),
        )
        assert order == ["db-1", "db-0"]
        assert [each["revision"] for each in cluster.store.list("apps", "controllerrevisions", "default")] in (
            [1, 2],
            [2, 1],
        )
        found = get(cluster, "statefulsets", "db")
        found["spec"]["replicas"] = 0
        cluster.store.update("apps", "statefulsets", found)
        await cluster.until("none", lambda: not cluster.pods())
        assert len(cluster.store.list("", "persistentvolumeclaims", "default")) == 2
        stop()

    play(test, tmp_path)


def test_daemon_sets_have_one_pod_on_the_node(tmp_path: Path):
    async def test(cluster):
        template = {
            "metadata": {"labels": {"app": "agent"}},
            "spec": {"containers": [container(env=[{"name": "ANSWER", "value": "one"}])]},
        }
        spec = {"selector": {"matchLabels": {"app": "agent"}}, "template": template}
        cluster.create(
            "apps",
            "daemonsets",
            {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent"}, "spec": spec},
        )
        await cluster.until("ready", lambda: status(cluster, "daemonsets", "agent").get("numberAvailable") == 1)
        old = cluster.pods()[0]["metadata"]["uid"]
        found = get(cluster, "daemonsets", "agent")
        found["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = "two"
        cluster.store.update("apps", "daemonsets", found)
        await cluster.until(
            "replaced", lambda: [each for each in cluster.pods() if each["metadata"]["uid"] != old and is_ready(each)]
        )
        await cluster.until("status", lambda: status(cluster, "daemonsets", "agent").get("updatedNumberScheduled") == 1)

    play(test, tmp_path)


def test_load_balancers_have_an_address_and_node_ports_answer(tmp_path: Path):
    async def test(cluster):
        await stand(cluster)
        found = get(cluster, "services", group="")
        found["spec"]["type"] = "LoadBalancer"
        cluster.store.update("", "services", found)
        await cluster.until(
            "address", lambda: get(cluster, "services", group="")["status"]["loadBalancer"].get("ingress")
        )
        port = get(cluster, "services", group="")["spec"]["ports"][0]["nodePort"]
        reader, writer = await dialled(port)
        writer.write(b"GET /n HTTP/1.0\r\n\r\n")
        assert (await reader.read()).endswith(b"one /n")
        writer.close()
        await writer.wait_closed()

    play(test, tmp_path)


def test_kinds_without_a_controller_say_so(tmp_path: Path):
    async def test(cluster):
        template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "x", "image": "x"}]}}
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"}, "spec": {"template": template}}
        cluster.create("batch", "jobs", job)
        assert ("NotEmulated", "not emulated: Jobs are stored, but no pods are made for them") in cluster.events("once")

    play(test, tmp_path)
