"""The parts of the controllers and the kubelet that are pure functions."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

from lab.emulator.workloads import expansion, logs, podstatus, ports, probes, rootfs, routes
from lab.emulator.workloads.backoff import Backoff, go_duration
from lab.emulator.workloads.environment import port_variables, service_variables
from lab.emulator.workloads.program import command
from lab.emulator.workloads.queue import WorkQueue
from lab.emulator.workloads.resources import qos_class
from lab.emulator.workloads.rollout import fence_posts, new_replicas, proportional, removable, scaled, template_hash
from lab.emulator.workloads.unenforced import unenforced


@pytest.mark.parametrize(
    ("surge", "unavailable", "replicas", "expected"),
    [
        ("25%", "25%", 1, (1, 0)),
        ("25%", "25%", 10, (3, 2)),
        (0, 0, 3, (0, 1)),
        ("0%", "10%", 3, (0, 1)),
        (2, "100%", 4, (2, 4)),
        (None, None, 5, (0, 1)),
    ],
)
def test_surge_rounds_up_and_unavailable_down_and_one_of_them_moves(surge, unavailable, replicas, expected):
    assert fence_posts(surge, unavailable, replicas) == expected


def test_text_that_is_no_percentage_is_refused():
    with pytest.raises(ValueError, match="IntOrString"):
        scaled("many", 3, up=True)


def test_a_new_set_grows_as_far_as_the_surge_allows():
    assert new_replicas(desired=3, new=0, total=3, surge=1) == 1
    assert new_replicas(desired=3, new=1, total=4, surge=1) == 1
    assert new_replicas(desired=3, new=2, total=3, surge=1) == 3
    assert new_replicas(desired=3, new=5, total=5, surge=1) == 3


def test_unavailable_new_pods_protect_the_old_ones():
    assert removable(desired=3, total=4, new=1, new_available=0, max_unavailable=0) == 0
    assert removable(desired=3, total=4, new=1, new_available=1, max_unavailable=0) == 1
    assert removable(desired=3, total=4, new=1, new_available=0, max_unavailable=1) == 1


def test_scaling_spreads_over_sets_and_keeps_the_sum():
    assert proportional([6, 2], 12) == [9, 3]
    assert sum(proportional([3, 3, 3], 10)) == 10
    assert proportional([], 3) == []


def test_a_hash_ignores_what_a_client_leaves_empty_and_sees_the_rest():
    plain = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "x", "image": "y"}]}}
    padded = {**plain, "metadata": {"labels": {"a": "b"}, "creationTimestamp": None}}
    assert template_hash(plain) == template_hash(padded)
    assert template_hash(plain) != template_hash(plain, collisions=1)
    assert template_hash(plain) != template_hash({"spec": plain["spec"]})
    assert set(template_hash(plain)) <= set("bcdfghjklmnpqrstvwxz2456789")


def test_back_off_doubles_to_its_cap_and_forgets():
    backoff = Backoff(10, 35)
    assert backoff.delay(1000) == 0
    assert [backoff.advance(1000 + step) for step in range(4)] == [10, 20, 35, 35]
    assert backoff.delay(1004) == 35
    assert backoff.delay(1003 + 71) == 0


@pytest.mark.parametrize(
    ("seconds", "text"), [(10, "10s"), (80, "1m20s"), (300, "5m0s"), (0.5, "500ms"), (1.25, "1.25s"), (3600, "1h0m0s")]
)
def test_durations_are_printed_as_go_does(seconds, text):
    assert go_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)-$(B)", "1-$(B)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A ${A} $", "$A ${A} $"),
        ("$(A", "$(A"),
    ],
)
def test_references_expand_as_in_kubernetes(text, expected):
    assert expansion.expand(text, {"A": "1"}) == expected


def test_a_verdict_needs_its_thresholds_in_a_row():
    verdict = probes.Verdict(probes.Timing(success_threshold=2, failure_threshold=3), result=None)
    assert [verdict.observe(success=True), verdict.observe(success=True)] == [False, True]
    assert verdict.result is True
    assert [verdict.observe(success=each) for each in (False, False, True, False, False, False)][-1]
    assert verdict.result is False


class Clock:
    """An event loop's time, which passes only by sleeping."""

    def __init__(self) -> None:
        self._now = 0.0

    def time(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        self._now += seconds


@pytest.mark.parametrize("eager", [True, False])
def test_a_probe_is_asked_again_at_once_only_when_eager(eager, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(probes, "asyncio", SimpleNamespace(get_running_loop=lambda: clock, sleep=clock.sleep))
    times: list[float] = []
    settled: list[bool] = []
    complaints: list[str] = []

    async def attempt() -> probes.Outcome:
        times.append(clock.time())
        return len(times) >= 3, "refused"

    timing = probes.Timing(period=10, failure_threshold=9)
    asyncio.run(probes.watch("startup", timing, attempt, settled.append, complaints.append, eager=eager))
    assert settled == [True]
    assert complaints == ([] if eager else ["refused", "refused"])
    step = probes.EAGER_INTERVAL
    assert times == pytest.approx([step, 2 * step, 3 * step] if eager else [0, 10, 20])


def rule(*paths, host=""):
    entries = [
        {"path": path, "pathType": kind, "backend": {"service": {"name": name, "port": {"number": 80}}}}
        for path, kind, name in paths
    ]
    return {"host": host, "http": {"paths": entries}} if host else {"http": {"paths": entries}}


def table(*rules, **spec):
    return routes.routes([{"metadata": {"namespace": "n", "name": "i"}, "spec": {"rules": list(rules), **spec}}])


ROUTER = "traefik.ingress.kubernetes.io/router."


@pytest.mark.parametrize(
    ("notes", "where"),
    [
        ({}, ["web", "websecure"]),
        ({"entrypoints": "web"}, ["web"]),
        ({"entrypoints": "websecure", "tls": "true"}, ["websecure"]),
        ({"tls": "true"}, ["websecure"]),
        ({"entrypoints": "other"}, []),
    ],
)
def test_annotations_say_at_which_entry_points_a_route_is_served(notes, where):
    meta = {"namespace": "n", "name": "i", "annotations": {ROUTER + key: value for key, value in notes.items()}}
    found = routes.routes([{"metadata": meta, "spec": {"rules": [rule(("/", "Prefix", "any"))]}}])
    assert [point for point in routes.ENTRY_POINTS if routes.choose(found, "a.test", "/x", point)] == where


def test_a_priority_beats_a_longer_rule():
    low = {
        "metadata": {"namespace": "n", "name": "low"},
        "spec": {"rules": [rule(("/a/long", "Prefix", "low"), host="a.test")]},
    }
    meta = {"namespace": "n", "name": "high", "annotations": {f"{ROUTER}priority": "1000"}}
    high = {"metadata": meta, "spec": {"rules": [rule(("/", "Prefix", "high"))]}}
    for ingresses in ([low, high], [high, low]):
        chosen = routes.choose(routes.routes(ingresses), "a.test", "/a/long")
        assert chosen
        assert chosen.service == "high"


def test_a_pod_with_an_address_of_its_own_keeps_its_ports():
    pod = {"metadata": {}, "spec": {"containers": [{"ports": [{"name": "web", "containerPort": 80}]}]}, "status": {}}
    assert ports.real_port(pod, 80, {80: 21000}) == 21000
    pod["status"]["podIP"] = "10.42.0.7"
    assert (ports.real_port(pod, "web"), ports.real_port(pod, 9090)) == (80, 9090)


@pytest.mark.parametrize(
    ("host", "path", "service"),
    [
        ("a.test", "/", "root"),
        ("a.test:8088", "/api", "api"),
        ("a.test", "/api/", "api"),
        ("a.test", "/api/v1", "v1"),
        ("a.test", "/apix", "root"),
        ("a.test", "/exact", "exact"),
        ("a.test", "/exact/", "root"),
        ("A.TEST", "/", "root"),
        ("x.wild.test", "/", "wild"),
        ("x.y.wild.test", "/", "any"),
        ("other", "/", "any"),
        ("[::1]:8088", "/", "any"),
    ],
)
def test_routes_prefer_the_longer_match(host, path, service):
    found = table(
        rule(("/", "Prefix", "any")),
        rule(("/", "Prefix", "root"), ("/api", "Prefix", "api"), ("/api/v1", "ImplementationSpecific", "v1"),
             ("/exact", "Exact", "exact"), host="a.test"),
        rule(("/", "Prefix", "wild"), host="*.wild.test"),
    )  # fmt: skip
    chosen = routes.choose(found, host, path)
    assert chosen
    assert chosen.service == service


def test_no_rule_no_route_and_a_default_backend_takes_the_rest():
    assert routes.choose(table(rule(("/", "Prefix", "a"), host="a.test")), "b.test", "/") is None
    backend = {"service": {"name": "rest", "port": {"name": "http"}}}
    chosen = routes.choose(table(rule(("/a", "Prefix", "a")), defaultBackend=backend), "x", "/b")
    assert chosen
    assert (chosen.service, chosen.port) == ("rest", "http")


def test_another_controllers_class_is_not_served():
    assert not table(rule(("/", "Prefix", "a")), ingressClassName="nginx")
    assert table(rule(("/", "Prefix", "a")), ingressClassName="traefik")


POD = {
    "metadata": {"annotations": {ports.ANNOTATION: "0=21001,8080=21001,9090=21002"}},
    "spec": {
        "containers": [{"name": "a", "ports": [{"name": "http", "containerPort": 8080}, {"containerPort": 9090}]}]
    },
}


@pytest.mark.parametrize(
    ("wanted", "real"), [("http", 21001), (8080, 21001), (9090, 21002), (5000, 21001), ("x", None)]
)
def test_ports_are_translated_and_what_nobody_declares_is_the_first_containers(wanted, real):
    assert ports.real_port(POD, wanted) == real


def test_a_declared_port_without_a_process_is_nowhere():
    pod = {"metadata": {}, "spec": POD["spec"]}
    assert ports.real_port(pod, 8080) is None


def test_port_annotation_survives_nonsense():
    assert ports.parse_ports("8080=1,x=2,9=,") == {8080: 1}


def test_containers_learn_their_ports():
    assert port_variables(POD["spec"]["containers"][0], {8080: 21001, 9090: 21002}) == {
        "PORT": "21001",
        "PORT_HTTP": "21001",
        "PORT_9090": "21002",
    }


def test_services_are_announced_as_kubernetes_does():
    service = {
        "metadata": {"name": "my-db"},
        "spec": {"clusterIP": "10.43.0.9", "ports": [{"name": "sql", "port": 3306, "protocol": "TCP"}]},
    }
    found = service_variables([(service, {"sql": ("127.0.0.1", 21500)})])
    assert found["MY_DB_SERVICE_HOST"] == "127.0.0.1"
    assert found["MY_DB_SERVICE_PORT"] == found["MY_DB_SERVICE_PORT_SQL"] == "21500"
    assert found["MY_DB_PORT_3306_TCP"] == "tcp://127.0.0.1:21500"
    headless = {**service, "spec": {**service["spec"], "clusterIP": "None"}}
    assert service_variables([(headless, {"sql": ("127.0.0.1", 1)})]) == {}


def test_commands_replace_what_the_image_says():
    image = {"Entrypoint": ["run"], "Cmd": ["default"]}
    assert command({}, image, {}) == ["run", "default"]
    assert command({"args": ["$(A)"]}, image, {"A": "x"}) == ["run", "x"]
    assert command({"command": ["own"]}, image, {}) == ["own"]


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"memory": "1024Mi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}, "Burstable"),
    ],
)
def test_quality_of_service(resources, expected):
    assert qos_class({"containers": [{"resources": resources}]}) == expected


def state(**kind):
    return {"name": "a", "state": kind, "lastState": {}, "ready": False}


@pytest.mark.parametrize(
    ("policy", "status", "expected"),
    [
        ("Always", state(waiting={"reason": "ContainerCreating"}), "Pending"),
        ("Always", state(running={}), "Running"),
        ("Always", state(terminated={"exitCode": 1}), "Running"),
        ("Never", state(terminated={"exitCode": 1}), "Failed"),
        ("Never", state(terminated={"exitCode": 0}), "Succeeded"),
        ("OnFailure", state(terminated={"exitCode": 1}), "Running"),
        ("OnFailure", state(terminated={"exitCode": 0}), "Succeeded"),
    ],
)
def test_phases(policy, status, expected):
    assert podstatus.phase({"restartPolicy": policy}, [], [status]) == expected


def test_paths_stay_inside_the_view(tmp_path: Path):
    (tmp_path / "etc").symlink_to("/outside")
    (tmp_path / "up").symlink_to("../../..")
    assert rootfs.inside(tmp_path, "/etc/passwd") == tmp_path / "outside/passwd"
    assert rootfs.inside(tmp_path, "/up/x") == tmp_path / "x"
    assert rootfs.inside(tmp_path, "/../../x") == tmp_path / "x"
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="symbolic links"):
        rootfs.inside(tmp_path, "/loop")


def test_a_view_is_a_copy_with_volumes_linked_in(tmp_path: Path):
    image, volume, view = tmp_path / "image", tmp_path / "volume", tmp_path / "view"
    (image / "app").mkdir(parents=True)
    (image / "app/main.py").write_text("original")
    volume.mkdir()
    (volume / "key").write_text("value")
    rootfs.build(image, view, [rootfs.Mount("/app/config", volume)])
    (view / "app/main.py").write_text("changed")
    assert (image / "app/main.py").read_text() == "original"
    assert (view / "app/config/key").read_text() == "value"
    mounts = [rootfs.Mount("/app/config", volume)]
    assert rootfs.translate(view, mounts, "/app/config/key") == str(volume / "key")
    assert rootfs.translate(view, mounts, "--file=/app/main.py") == f"--file={view}/app/main.py"
    assert rootfs.translate(view, mounts, "/app:/nowhere") == f"{view}/app:/nowhere"
    assert rootfs.translate(view, mounts, "a=/app/main.py") == "a=/app/main.py"


def test_log_lines_are_selected_and_rendered():
    data = b"2026-01-01T00:00:00.000000001Z stdout F one\n2026-01-01T00:00:05.000000001Z stdout P two\n"
    assert [logs.render(line, timestamps=False) for line in logs.select(data, None, None)] == [b"one\n", b"two"]
    assert [logs.render(line, timestamps=True) for line in logs.select(data, 1, None)] == [
        b"2026-01-01T00:00:05.000000001Z two"
    ]
    since = 1767225603.0
    assert len(list(logs.select(data, None, since))) == 1
    assert list(logs.select(data, 0, None)) == []


def test_what_is_not_enforced_is_named_once():
    spec = {
        "hostNetwork": True,
        "securityContext": {"runAsUser": 1},
        "containers": [{"securityContext": {"privileged": True, "runAsUser": 2}, "resources": {"limits": {"cpu": 1}}}],
    }
    assert unenforced(spec) == [
        "hostNetwork",
        "securityContext.runAsUser",
        "securityContext.privileged",
        "resources.limits.cpu",
    ]


def test_a_key_is_reconciled_once_per_turn_and_again_after_a_failure():
    seen: list[object] = []

    def reconcile(key: object) -> None:
        seen.append(key)
        if seen.count(key) == 1 and key == "bad":
            raise RuntimeError("once")

    async def scene() -> None:
        queue = WorkQueue(reconcile)
        for key in ("a", "b", "a", "bad"):
            queue.add(key)
        await asyncio.wait_for(queue.settled(), 5)
        assert seen == ["a", "b", "bad"]
        queue.add_after("again", 0.2)  # later than the first retry
        seen_before = len(seen)
        while len(seen) < seen_before + 2:  # noqa: ASYNC110 - the queue tells nobody
            await asyncio.sleep(0.01)
        assert seen[seen_before:] == ["bad", "again"]
        queue.add_after("later", 60)
        queue.stop()
        queue.add("never")
        await asyncio.sleep(0)
        assert "never" not in seen

    asyncio.run(asyncio.wait_for(scene(), 10))
