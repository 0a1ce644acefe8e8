"""Pods as processes: life, probes, volumes, environment, logs, failures. Real store, real small processes."""

from __future__ import annotations

import asyncio
import base64
import os
from pathlib import Path

import pytest
from eventually import until
from workloads_world import REGISTRY, container, play, pod, running, script, service

from lab.emulator.kube.errors import StatusError

FOREVER = "import time; print('up', flush=True); time.sleep(600)"


def state_of(found, index=0):
    return found["status"].get("containerStatuses", [{"state": {}}])[index]


def condition(found, kind):
    return next((each["status"] for each in found["status"].get("conditions", []) if each["type"] == kind), None)


def is_ready(found):
    return condition(found, "Ready") == "True"


def waiting(found):
    return state_of(found)["state"].get("waiting", {}).get("reason")


def test_a_pod_runs_is_probed_answers_and_has_a_complete_status(tmp_path: Path):
    async def test(cluster):
        cluster.create("", "pods", pod("web", container(readinessProbe={"httpGet": {"path": "/", "port": "http"}})))
        found = await cluster.until("ready", lambda: is_ready(cluster.pod("web")) and cluster.pod("web"))
        status = found["status"]
        assert found["spec"]["nodeName"] == "lab"
        assert status["phase"] == "Running"
        assert status["podIP"] == status["hostIP"] == "127.0.0.1"
        assert status["qosClass"] == "BestEffort"
        assert status["startTime"]
        kinds = {each["type"] for each in status["conditions"] if each["lastTransitionTime"]}
        assert kinds >= {"PodScheduled", "Initialized", "ContainersReady", "Ready"}
        first = state_of(found)
        assert (first["ready"], first["started"], first["restartCount"]) == (True, True, 0)
        assert first["imageID"].startswith(f"{REGISTRY}/root/app@sha256:")
        assert first["containerID"]
        assert first["state"]["running"]["startedAt"]
        reasons = [reason for reason, _ in cluster.events("web")]
        assert reasons == ["Scheduled", "Pulling", "Pulled", "Created", "Started"]

    play(test, tmp_path)


def test_an_ended_pod_with_policy_never_has_succeeded_or_failed(tmp_path: Path):
    async def test(cluster):
        cluster.create("", "pods", pod("good", script("print('done')"), restartPolicy="Never"))
        cluster.create("", "pods", pod("bad", script("raise SystemExit(3)"), restartPolicy="Never"))
        good = await cluster.until(
            "good", lambda: cluster.pod("good")["status"].get("phase") == "Succeeded" and cluster.pod("good")
        )
        bad = await cluster.until(
            "bad", lambda: cluster.pod("bad")["status"].get("phase") == "Failed" and cluster.pod("bad")
        )
        assert state_of(good)["state"]["terminated"]["reason"] == "Completed"
        assert state_of(bad)["state"]["terminated"]["exitCode"] == 3
        assert state_of(bad)["state"]["terminated"]["reason"] == "Error"
        assert await cluster.log("good") == "done\n"

    play(test, tmp_path)


def test_a_crashing_container_backs_off_and_keeps_its_previous_log(tmp_path: Path):
    async def test(cluster):
        cluster.create("", "pods", pod("crash", script("import os; print('try', flush=True); raise SystemExit(1)")))
        found = await cluster.until(
            "back-off", lambda: waiting(cluster.pod("crash")) == "CrashLoopBackOff" and cluster.pod("crash")
        )
        first = state_of(found)
        assert first["restartCount"] == 1
        assert first["state"]["waiting"]["message"].startswith(
            "back-off 1s restarting failed container=app pod=crash_default("
        )
        assert first["lastState"]["terminated"]["exitCode"] == 1
        assert found["status"]["phase"] == "Running"
        assert await cluster.log("crash") == "try\n"
        assert await cluster.log("crash", previous=True) == "try\n"
        await cluster.until("more", lambda: state_of(cluster.pod("crash"))["restartCount"] >= 2)
        assert any(reason == "BackOff" for reason, _ in cluster.events("crash"))

    play(test, tmp_path)


def test_the_upstream_profile_has_the_real_back_off(tmp_path: Path):
    async def test(cluster):
        cluster.create("", "pods", pod("crash", script("raise SystemExit(1)")))
        await cluster.until("back-off", lambda: waiting(cluster.pod("crash")) == "CrashLoopBackOff")
        text = state_of(cluster.pod("crash"))["state"]["waiting"]["message"]
        assert text.startswith("back-off 10s restarting failed container=app")

    play(test, tmp_path, profile="upstream")


def test_images_that_cannot_be_pulled(tmp_path: Path):
    async def test(cluster):
        cluster.create("", "pods", pod("gone", container(image=f"{REGISTRY}/root/missing:1")))
        cluster.create("", "pods", pod("odd", container(image="127.0.0.1:5050/UPPER:1")))
        await cluster.until("ErrImagePull", lambda: waiting(cluster.pod("gone")) == "ErrImagePull")
        await cluster.until("back-off", lambda: waiting(cluster.pod("gone")) == "ImagePullBackOff")
        await cluster.until("invalid", lambda: waiting(cluster.pod("odd")) == "InvalidImageName")
        found = cluster.pod("gone")
        assert found["status"]["phase"] == "Pending"
        assert "Back-off pulling image" in state_of(found)["state"]["waiting"]["message"]
        reasons = {reason for reason, _ in cluster.events("gone")}
        assert reasons >= {"Pulling", "Failed", "BackOff"}
        with pytest.raises(StatusError, match="waiting to start: trying and failing to pull image") as caught:
            await cluster.log("gone")
        assert caught.value.code == 400

    play(test, tmp_path)


def test_what_a_container_refers_to_is_waited_for(tmp_path: Path):
    code = (
        "import os; print(os.environ['A'], os.environ['B'], os.environ['X_c'], os.environ['NAME'], os.environ['ALL'])"
    )

    async def test(cluster):
        env = [
            {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "a"}}},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "b"}}},
            {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "ALL", "value": "$(A)-$(B)-$(NONE)"},
            {"name": "OPTIONAL", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "a", "optional": True}}},
        ]
        source = [{"prefix": "X_", "configMapRef": {"name": "conf"}}]
        cluster.create("", "pods", pod("p", script(code, env=env, envFrom=source), restartPolicy="Never"))
        await cluster.until("config error", lambda: waiting(cluster.pod("p")) == "CreateContainerConfigError")
        assert state_of(cluster.pod("p"))["state"]["waiting"]["message"] == 'configmap "conf" not found'
        meta = {"apiVersion": "v1", "metadata": {"name": "conf"}}
        cluster.create("", "configmaps", {**meta, "kind": "ConfigMap", "data": {"a": "1", "c": "3"}})
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sec"}}
        cluster.create("", "secrets", {**secret, "data": {"b": base64.b64encode(b"2").decode()}})
        await cluster.until("done", lambda: cluster.pod("p")["status"]["phase"] == "Succeeded")
        assert await cluster.log("p") == "1 2 3 p 1-2-$(NONE)\n"

    play(test, tmp_path)


def test_volumes_are_files_and_follow_their_source(tmp_path: Path):
    serve = (
        "import os, time\n"
        "root = os.environ['CONF']\n"
        "print(open(root + '/key').read(), open(os.environ['SEC']).read(), flush=True)\n"
        "open(os.environ['DATA'] + '/kept', 'a').write('x')\n"
        "while open(root + '/key').read() != 'new': time.sleep(0.02)\n"
        "print('saw new', flush=True); time.sleep(600)\n"
    )

    async def test(cluster):
        meta = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "conf"}}
        made = cluster.create("", "configmaps", {**meta, "data": {"key": "old"}})
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sec"}, "stringData": {"pw": "hush"}}
        cluster.create("", "secrets", secret)
        claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        disk = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "disk"}, "spec": claim}
        cluster.create("", "persistentvolumeclaims", disk)
        volumes = [
            {"name": "c", "configMap": {"name": "conf"}},
            {"name": "s", "secret": {"secretName": "sec"}},
            {"name": "d", "persistentVolumeClaim": {"claimName": "disk"}},
            {"name": "e", "emptyDir": {}},
        ]
        mounts = [
            {"name": "c", "mountPath": "/etc/conf"},
            {"name": "s", "mountPath": "/etc/sec/pw", "subPath": "pw"},
            {"name": "d", "mountPath": "/data"},
            {"name": "e", "mountPath": "/scratch"},
        ]
        env = [
            {"name": "CONF", "value": "/etc/conf"},
            {"name": "SEC", "value": "/etc/sec/pw"},
            {"name": "DATA", "value": "/data"},
        ]
        cluster.create(
            "",
            "pods",
            pod("p", script(serve, env=env, volumeMounts=mounts), volumes=volumes, terminationGracePeriodSeconds=0),
        )
        await cluster.until("running", lambda: "running" in state_of(cluster.pod("p"))["state"])
        made["data"]["key"] = "new"
        lines = cluster.api.pod_logs("default", "p", None, follow=True)
        seen = b""
        async for part in lines:
            if b"hush" in part and cluster.store.get("", "configmaps", "default", "conf")["data"]["key"] == "old":
                cluster.store.update("", "configmaps", made)
            seen += part
            if b"saw new" in seen:
                break
        assert seen == b"old hush\nsaw new\n"
        bound = cluster.store.get("", "persistentvolumeclaims", "default", "disk")
        assert bound["status"]["phase"] == "Bound"
        folder = Path(
            cluster.store.get("", "persistentvolumes", None, bound["spec"]["volumeName"])["spec"]["hostPath"]["path"]
        )
        assert (folder / "kept").read_text() == "x"
        cluster.store.delete("", "persistentvolumeclaims", "default", "disk")
        assert os.path.exists(folder), "a claim in use stays"  # noqa: ASYNC240, PTH110 - a test may block
        cluster.store.delete("", "pods", "default", "p")
        await cluster.until("claim gone", lambda: not cluster.store.list("", "persistentvolumeclaims", "default"))
        await cluster.until("files gone", lambda: not folder.exists())

    play(test, tmp_path)


def test_init_containers_run_in_order_before_the_others(tmp_path: Path):
    async def test(cluster):
        volumes = [{"name": "v", "emptyDir": {}}]
        mount = {"volumeMounts": [{"name": "v", "mountPath": "/v"}], "env": [{"name": "V", "value": "/v"}]}
        write = "import os; open(os.environ['V'] + '/order', 'a').write('{}')"
        init = [script(write.format("1"), "one", **mount), script(write.format("2"), "two", **mount)]
        main = script("import os; print(open(os.environ['V'] + '/order').read())", **mount)
        cluster.create("", "pods", pod("p", main, initContainers=init, volumes=volumes, restartPolicy="Never"))
        await cluster.until("done", lambda: cluster.pod("p")["status"].get("phase") == "Succeeded")
        assert await cluster.log("p") == "12\n"
        states = cluster.pod("p")["status"]["initContainerStatuses"]
        assert [each["state"]["terminated"]["exitCode"] for each in states] == [0, 0]

    play(test, tmp_path)


def test_a_failing_init_container_holds_the_pod(tmp_path: Path):
    async def test(cluster):
        cluster.create("", "pods", pod("p", container(), initContainers=[script("raise SystemExit(1)", "init")]))

        def held():
            statuses = cluster.pod("p")["status"].get("initContainerStatuses", [{"state": {}}])
            reason = statuses[0]["state"].get("waiting", {}).get("reason")
            return cluster.pod("p") if reason == "CrashLoopBackOff" else None

        found = await cluster.until("init back-off", held)
        assert found["status"]["phase"] == "Pending"
        assert waiting(found) == "PodInitializing"
        assert condition(found, "Initialized") == "False"

    play(test, tmp_path)


def test_several_containers_have_their_own_ports(tmp_path: Path):
    async def test(cluster):
        two = container("two", env=[{"name": "ANSWER", "value": "two"}])
        two["ports"] = [{"name": "other", "containerPort": 9090}]
        probe = {"httpGet": {"path": "/", "port": "http"}}
        cluster.create(
            "",
            "pods",
            pod("p", container(readinessProbe=probe), {**two, "readinessProbe": {"tcpSocket": {"port": "other"}}}),
        )
        found = await cluster.until("ready", lambda: is_ready(cluster.pod("p")) and cluster.pod("p"))
        assert [each["name"] for each in found["status"]["containerStatuses"]] == ["app", "two"]
        with pytest.raises(
            StatusError, match=r"a container name must be specified for pod p, choose one of: \[app two\]"
        ):
            await cluster.log("p")
        assert "listening" in await cluster.log("p", container="two")

    play(test, tmp_path)


def test_liveness_restarts_and_readiness_takes_out_of_service(tmp_path: Path):
    async def test(cluster):
        live = {"httpGet": {"path": "/sick", "port": "http"}, "periodSeconds": 1, "failureThreshold": 1}
        cluster.create("", "pods", pod("dead", container(livenessProbe=live), terminationGracePeriodSeconds=1))
        found = await cluster.until(
            "restart", lambda: state_of(cluster.pod("dead")).get("restartCount") and cluster.pod("dead")
        )
        texts = [text for _, text in cluster.events("dead")]
        assert "Liveness probe failed: HTTP probe failed with statuscode: 503" in texts
        assert "Container app failed liveness probe, will be restarted" in texts
        assert state_of(found)["lastState"]["terminated"]

    play(test, tmp_path)


def test_exec_probes_and_hooks_run_beside_the_process(tmp_path: Path):
    hook = "import os; open(os.environ['FLAGS'] + '/{}', 'w')"

    async def test(cluster):
        spec = container(
            readinessProbe={"exec": {"command": ["python", "-c", "import os; os.stat(os.environ['FLAGS'] + '/hook')"]}},
            lifecycle={
                "postStart": {"exec": {"command": ["python", "-c", hook.format("hook")]}},
                "preStop": {"exec": {"command": ["python", "-c", "print('bye'); raise SystemExit(2)"]}},
            },
        )
        cluster.create("", "pods", pod("p", spec))
        await cluster.until("ready", lambda: is_ready(cluster.pod("p")))
        cluster.store.delete("", "pods", "default", "p")
        await cluster.until("gone", lambda: not cluster.pods())
        assert ("FailedPreStopHook", "PreStopHook failed: bye\n") in cluster.events("p")

    play(test, tmp_path)


def test_a_pod_that_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path):
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )

    async def test(cluster):
        cluster.create("", "pods", pod("deaf", script(code), terminationGracePeriodSeconds=1))
        await cluster.until("running", lambda: "running" in state_of(cluster.pod("deaf"))["state"])
        async for part in cluster.api.pod_logs("default", "deaf", None, follow=True):
            assert part == b"deaf\n"
            break
        cluster.store.delete("", "pods", "default", "deaf")
        assert cluster.pod("deaf")["metadata"]["deletionTimestamp"], "it lives on until its process has ended"
        await cluster.until("gone", lambda: not cluster.pods())

    play(test, tmp_path)


def test_force_deletion_ends_the_process_at_once(tmp_path: Path):
    code = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(os.getpid(), flush=True); time.sleep(600)"
    )

    async def test(cluster):
        cluster.create("", "pods", pod("p", script(code)))
        await cluster.until("running", lambda: "running" in state_of(cluster.pod("p"))["state"])
        pid = 0
        async for part in cluster.api.pod_logs("default", "p", None, follow=True):
            pid = int(part)
            break
        cluster.store.delete("", "pods", "default", "p", grace=0)
        assert not cluster.pods()

        def ended() -> bool:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return True
            return False

        await cluster.until("process gone", ended)

    play(test, tmp_path)


def test_following_a_log_ends_with_the_container(tmp_path: Path):
    code = "import time\nfor n in range(5): print(n, flush=True); time.sleep(0.02)"

    async def test(cluster):
        cluster.create("", "pods", pod("p", script(code), restartPolicy="Never"))
        await cluster.until(
            "started",
            lambda: "waiting" not in state_of(cluster.pod("p"))["state"] and state_of(cluster.pod("p"))["state"],
        )
        assert await asyncio.wait_for(cluster.log("p", follow=True), 10) == "0\n1\n2\n3\n4\n"
        assert await cluster.log("p", tail_lines=2) == "3\n4\n"
        assert (await cluster.log("p", timestamps=True)).split("\n")[0].endswith("Z 0")
        with pytest.raises(StatusError, match='previous terminated container "app" in pod "p" not found'):
            await cluster.log("p", previous=True)
        with pytest.raises(StatusError, match="container x is not valid for pod p"):
            await cluster.log("p", container="x")

    play(test, tmp_path)


def test_images_from_elsewhere_are_simulated_and_marked(tmp_path: Path):
    async def test(cluster):
        mysql = {
            "name": "mysql",
            "image": "mysql:8.4.6",
            "ports": [{"containerPort": 3306}],
            "readinessProbe": {"tcpSocket": {"port": 3306}},
        }
        cluster.create("", "services", service("mysql", 3306))
        cluster.create("", "pods", pod("mysql", mysql, labels={"app": "mysql"}))
        found = await cluster.until("ready", lambda: is_ready(cluster.pod("mysql")) and cluster.pod("mysql"))
        assert found["metadata"]["annotations"]["emulator.lab/simulated"] == "true"
        assert {"Simulated", "Scheduled"} == {reason for reason, _ in cluster.events("mysql")}
        assert "SIMULATED" in await cluster.log("mysql")
        code = (
            "import os, socket\n"
            "print(os.environ['MYSQL_SIMULATED'])\n"
            "address = os.environ['MYSQL_SERVICE_HOST'], int(os.environ['MYSQL_SERVICE_PORT'])\n"
            "print(socket.socket().connect_ex(address) != 0)"
        )
        cluster.create("", "pods", pod("client", script(code), restartPolicy="Never"))
        await cluster.until("client", lambda: cluster.pod("client")["status"].get("phase") == "Succeeded")
        assert await cluster.log("client") == "true\nTrue\n"

    play(test, tmp_path)


def test_a_missing_program_is_a_start_error(tmp_path: Path):
    async def test(cluster):
        broken = {**container(), "command": ["no-such-program"]}
        cluster.create("", "pods", pod("p", broken, restartPolicy="Never"))
        found = await cluster.until(
            "failed", lambda: cluster.pod("p")["status"].get("phase") == "Failed" and cluster.pod("p")
        )
        terminated = state_of(found)["state"]["terminated"]
        assert (terminated["reason"], terminated["exitCode"]) == ("StartError", 128)
        assert 'exec: "no-such-program": executable file not found in $PATH' in terminated["message"]

    play(test, tmp_path)


def test_what_cannot_be_enforced_is_said_once(tmp_path: Path):
    async def test(cluster):
        cluster.create("", "pods", pod("p", container(securityContext={"privileged": True}), hostNetwork=True))
        await cluster.until("ready", lambda: is_ready(cluster.pod("p")))
        told = [text for reason, text in cluster.events("p") if reason == "NotEnforced"]
        assert told == ["not enforced by the emulator: hostNetwork, securityContext.privileged"]

    play(test, tmp_path)


def test_pods_go_on_after_a_restart_of_the_emulator(tmp_path: Path):
    async def scene() -> None:
        async with running(tmp_path) as cluster:
            cluster.create("", "pods", pod("p", script(FOREVER)))
            await cluster.until("running", lambda: is_ready(cluster.pod("p")))
            uid = cluster.pod("p")["metadata"]["uid"]
        async with running(tmp_path) as cluster:
            again = await cluster.until(
                "running again",
                lambda: (
                    state_of(cluster.pod("p"))["restartCount"] == 1 and is_ready(cluster.pod("p")) and cluster.pod("p")
                ),
            )
            assert again["metadata"]["uid"] == uid
            assert state_of(again)["lastState"]["terminated"]["reason"] == "Unknown"
            cluster.store.delete("", "pods", "default", "p")
        async with running(tmp_path) as cluster:
            await cluster.until("the deletion is finished", lambda: not cluster.pods())

    asyncio.run(asyncio.wait_for(scene(), 60))


def test_an_unschedulable_pod_says_why(tmp_path: Path):
    async def test(cluster):
        cluster.create("", "pods", pod("p", container(), nodeSelector={"disk": "ssd"}))
        await cluster.until("refused", lambda: condition(cluster.pod("p"), "PodScheduled") == "False")
        text = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
        assert ("FailedScheduling", text) in cluster.events("p")
        assert cluster.pod("p")["status"]["phase"] == "Pending"

    play(test, tmp_path)


def test_a_resting_cluster_writes_nothing(tmp_path: Path):
    async def test(cluster):
        probe = {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1}
        cluster.create(
            "", "pods", pod("web", container(readinessProbe=probe, livenessProbe=probe), labels={"app": "web"})
        )
        cluster.create("", "services", service())
        await cluster.until("ready", lambda: is_ready(cluster.pod("web")))
        await cluster.until("endpoints", lambda: "'addresses'" in str(cluster.store.list("", "endpoints", "default")))
        await cluster.workloads._queue.settled()
        before, probed = cluster.store.shelf.version, (await cluster.log("web")).count("GET /")

        async def rounds():
            return (await cluster.log("web")).count("GET /") - probed >= 4

        await until("two rounds of both probes", rounds)
        assert cluster.store.shelf.version == before

    play(test, tmp_path)


def test_a_pod_past_its_deadline_has_failed(tmp_path: Path):
    async def test(cluster):
        cluster.create(
            "", "pods", pod("late", script(FOREVER), activeDeadlineSeconds=1, terminationGracePeriodSeconds=1)
        )
        found = await cluster.until(
            "failed", lambda: cluster.pod("late")["status"].get("phase") == "Failed" and cluster.pod("late")
        )
        assert found["status"]["reason"] == "DeadlineExceeded"
        assert state_of(found)["state"]["terminated"]

    play(test, tmp_path)
