"""Evictions under disruption budgets."""

from __future__ import annotations

import asyncio

import pytest
from kube_cases import deployment, pod, running, store_in

from lab.emulator.kube import disruption
from lab.emulator.kube.errors import StatusError

READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


def ready_pods(store, count, *, replicas):
    owner = store.create("apps", "deployments", deployment("web", replicas=replicas))
    made = []
    for number in range(count):
        one = store.create("", "pods", pod(f"p{number}", node="lab", owner=owner, app="web"))
        made.append(store.update("", "pods", {**one, "status": READY}, subresource="status"))
    return made


def budget(store, name="b", **spec):
    body = {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec}}
    store.create("policy", "poddisruptionbudgets", body)


@pytest.mark.parametrize(
    ("spec", "needed"),
    [({"minAvailable": 3}, 3), ({"minAvailable": "67%"}, 3), ({"maxUnavailable": 0}, 3), ({"minAvailable": "100%"}, 3)],
)
def test_an_eviction_that_a_budget_forbids_is_put_off(tmp_path, spec, needed):
    store = store_in(tmp_path)
    pods = ready_pods(store, 3, replicas=3)
    budget(store, **spec)
    with pytest.raises(StatusError) as caught:
        disruption.check(store, pods[0])
    assert (caught.value.code, caught.value.reason) == (429, "TooManyRequests")
    assert caught.value.message == "Cannot evict pod as it would violate the pod's disruption budget."
    text = f"The disruption budget b needs {needed} healthy pods and has 3 currently"
    assert caught.value.details == {"causes": [{"reason": "DisruptionBudget", "message": text}]}


@pytest.mark.parametrize(
    "spec", [{"minAvailable": 2}, {"minAvailable": "50%"}, {"maxUnavailable": "34%"}, {"maxUnavailable": 1}]
)
def test_an_eviction_within_the_budget_passes(tmp_path, spec):
    store = store_in(tmp_path)
    pods = ready_pods(store, 3, replicas=3)
    budget(store, **spec)
    disruption.check(store, pods[0])


def test_pods_that_are_missing_count_against_a_share(tmp_path):
    store = store_in(tmp_path)
    pods = ready_pods(store, 2, replicas=3)
    budget(store, maxUnavailable=1)
    with pytest.raises(StatusError, match="would violate"):
        disruption.check(store, pods[0])


def test_a_pod_that_is_not_running_may_always_go(tmp_path):
    store = store_in(tmp_path)
    ready_pods(store, 1, replicas=1)
    budget(store, minAvailable=1)
    disruption.check(store, store.create("", "pods", pod("pending", app="web")))


def test_two_budgets_for_a_pod_are_an_error(tmp_path):
    store = store_in(tmp_path)
    pods = ready_pods(store, 2, replicas=2)
    budget(store, minAvailable=1)
    budget(store, "c", minAvailable=1)
    with pytest.raises(StatusError, match="more than one PodDisruptionBudget"):
        disruption.check(store, pods[0])


def test_the_api_asks_the_budget(tmp_path):
    async def scenario():
        async with running(tmp_path) as client:
            store = client.server.store
            ready_pods(store, 1, replicas=1)
            budget(store, minAvailable=1)
            wanted = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p0"}}
            path = "/api/v1/namespaces/default/pods/p0/eviction"
            status, body = await client.call("POST", path, wanted)
            assert (status, body["reason"]) == (429, "TooManyRequests")
            store.delete("policy", "poddisruptionbudgets", "default", "b")
            status, _ = await client.call("POST", path, wanted)
            assert status == 201

    asyncio.run(asyncio.wait_for(scenario(), 30))
