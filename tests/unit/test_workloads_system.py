"""What a cluster runs of itself, and what it only stores."""

from __future__ import annotations

from pathlib import Path

from workloads_world import deployment, play

from lab.emulator.argocd import health


def test_the_systems_own_workloads_are_simulated_pods(tmp_path: Path):
    async def first(cluster):
        assert cluster.store.list("", "pods", "kube-system") == []
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}
        cluster.store.create("", "namespaces", namespace)

    async def second(cluster):
        def running() -> list[dict]:
            pods = cluster.store.list("", "pods", "kube-system")
            return [pod for pod in pods if (pod.get("status") or {}).get("phase") == "Running"]

        await cluster.until("the system's pods", lambda: len(running()) == 2)
        assert sorted(pod["spec"]["containers"][0]["name"] for pod in running()) == [
            "local-path-provisioner",
            "traefik",
        ]
        assert {pod["metadata"]["annotations"]["emulator.lab/simulated"] for pod in running()} == {"true"}

    play(first, tmp_path)
    play(second, tmp_path)


def test_a_volume_made_by_hand_says_that_no_claim_takes_it(tmp_path: Path):
    async def test(cluster):
        spec = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}
        cluster.store.create("", "persistentvolumes", {"metadata": {"name": "by-hand"}, "spec": spec})
        claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        cluster.store.create("", "persistentvolumeclaims", {"metadata": {"name": "disk"}, "spec": claim})

        def notes() -> list[str]:
            events = cluster.store.list("", "events")
            return [event["involvedObject"]["name"] for event in events if event["reason"] == "NotEmulated"]

        bound = lambda: "Bound" in str(cluster.store.list("", "persistentvolumeclaims", "default"))  # noqa: E731
        await cluster.until("bound", bound)
        assert notes() == ["by-hand"]

    play(test, tmp_path)


def test_an_autoscaler_knows_its_target_and_says_that_nothing_is_measured(tmp_path: Path):
    async def test(cluster):
        scalers = ("autoscaling", "horizontalpodautoscalers")
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
        body = {"metadata": {"name": "h"}, "spec": {"scaleTargetRef": target, "maxReplicas": 3}}
        cluster.store.create(*scalers, body)

        def conditions() -> dict[str, tuple[str, str]]:
            found = cluster.store.get(*scalers, "default", "h").get("status") or {}
            return {one["type"]: (one["status"], one["reason"]) for one in found.get("conditions") or []}

        await cluster.until("no target", lambda: conditions() == {"AbleToScale": ("False", "FailedGetScale")})
        scaler = cluster.store.get(*scalers, "default", "h")
        assert health.assess(scaler).status == health.DEGRADED
        cluster.create("apps", "deployments", deployment(replicas=2))
        able = {"AbleToScale": ("True", "SucceededGetScale"), "ScalingActive": ("False", "NotEmulated")}
        await cluster.until("target found", lambda: conditions() == able)

        def replicas() -> int:
            return cluster.store.get(*scalers, "default", "h")["status"].get("currentReplicas", 0)

        await cluster.until("replicas counted", lambda: replicas() == 2)
        assert health.assess(cluster.store.get(*scalers, "default", "h")).status == health.HEALTHY

    play(test, tmp_path)
