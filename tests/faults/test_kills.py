"""A kill at every step of the plan: the next `up` converges and loses nothing."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from driver import Driver, driven

from lab import wiring
from lab.engines.embedded import EmbeddedEngine
from lab.plan import order
from lab.settings import Settings
from lab.state import State

pytestmark = pytest.mark.timeout(240)


def plan_steps() -> list[str]:
    settings, state = Settings(), State(Path("/nonexistent"))
    engine = EmbeddedEngine(settings, state)
    steps = [*engine.steps(), *wiring.steps(engine.endpoints, settings, state, engine.attach_runner)]
    return [step.name for step in order(steps)]


def up_until(driver: Driver, step: str) -> None:
    """Run `up` and kill it, without a chance to clean up, when ``step`` has just started."""
    process = driver.start("up", "--json")
    assert process.stdout
    seen = []
    for line in process.stdout:
        document = json.loads(line)
        seen.append(document)
        if document.get("step") == step and document.get("event") == "started":
            os.killpg(process.pid, signal.SIGKILL)
            break
    else:
        raise AssertionError(f"step {step} never started: {seen[-3:]}")
    process.stdout.close()
    process.wait(20)


@pytest.mark.parametrize("step", plan_steps())
def test_up_killed_at_any_step_converges(step, tmp_path):
    with driven(tmp_path) as driver:
        up_until(driver, step)
        driver.invoke("up", timeout=120)
        assert driver.up() == 0
        driver.invoke("verify")


@pytest.mark.parametrize("step", plan_steps()[1::4])
def test_the_emulator_killed_at_a_step_is_healed(step, tmp_path):
    with driven(tmp_path) as driver:
        up_until(driver, step)
        pid = driver.emulator()
        assert pid
        os.kill(pid, signal.SIGKILL)
        driver.invoke("up", timeout=120)
        assert driver.up() == 0
        driver.invoke("verify")


def test_a_killed_lab_comes_back_with_its_commits(tmp_path):
    with driven(tmp_path) as driver:
        driver.invoke("up", timeout=120)
        driver.invoke("smoke")
        driver.invoke("clone", tmp_path / "before")
        pid = driver.emulator()
        assert pid
        os.kill(pid, signal.SIGKILL)
        driver.invoke("up", timeout=120)
        driver.invoke("verify")
        driver.invoke("clone", tmp_path / "after")
        heads = {driver.git(tmp_path / name, "rev-parse", "origin/master") for name in ("before", "after")}
        assert len(heads) == 1


def test_ctrl_c_ends_up_with_130_and_the_next_up_goes_on(tmp_path):
    with driven(tmp_path) as driver:
        process = driver.start("up", "--json")
        assert process.stdout
        for line in process.stdout:
            if json.loads(line).get("event") == "started":
                os.kill(process.pid, signal.SIGINT)
                break
        process.communicate(timeout=30)
        assert process.returncode == 130
        driver.invoke("up", timeout=120)
        driver.invoke("verify")


def test_two_ups_at_once(tmp_path):
    with driven(tmp_path) as driver:
        first = driver.start("up", "--json")
        assert first.stdout
        for line in first.stdout:
            if json.loads(line).get("event") == "started":
                break
        output = driver.invoke("up", code=2)
        assert "LAB-LOCK-01" in output
        first.communicate(timeout=90)
        assert first.returncode == 0
