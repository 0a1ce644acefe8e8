"""The webhook's step where GitLab has stopped to send: the emulator never does that, so a recorded answer stands in."""

from __future__ import annotations

import pytest
from world import P, world

from lab import wiring
from lab.plan import Needed, Satisfied, Step, StepContext
from lab.remote import RemoteError


@pytest.fixture
def made(tmp_path):
    with world(tmp_path) as found:
        yield found


def step(made) -> Step:
    steps = wiring.steps(lambda: made.endpoints, made.settings, made.state, lambda _token: None)
    return next(step for step in steps if step.name == "hook")


def switch_off(made, status: str) -> None:
    row = {**made.gitlab.routes["GET", f"{P}/hooks"][1][0], "alert_status": status}
    made.gitlab.on("GET", f"{P}/hooks", (200, [row]))
    made.gitlab.on("PUT", f"{P}/hooks/5", (200, row))


def test_a_hook_that_works_needs_nothing(made):
    assert isinstance(step(made).probe(StepContext()), Satisfied)


@pytest.mark.parametrize("status", ["disabled", "temporarily_disabled"])
def test_a_hook_that_gitlab_switched_off_is_switched_on_by_a_test(made, status):
    switch_off(made, status)
    found = step(made).probe(StepContext())
    assert isinstance(found, Needed)
    assert status in found.why
    made.gitlab.on("POST", f"{P}/hooks/5/test/push_events", (201, {"message": "201 Created"}))
    step(made).act(StepContext())
    assert len(made.gitlab.sent("POST", f"{P}/hooks/5/test/push_events")) == 1


def test_a_test_that_argocd_refuses_is_an_error_with_its_words(made):
    switch_off(made, "disabled")
    made.gitlab.on("POST", f"{P}/hooks/5/test/push_events", (422, {"message": "Webhook processing failed"}))
    with pytest.raises(RemoteError) as caught:
        step(made).act(StepContext())
    assert "processing failed" in caught.value.evidence
