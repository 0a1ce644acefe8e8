"""Every row of the causes table is produced once, and shown with its code and remedy where a person sees it."""

from __future__ import annotations

import io

import pytest
from causes_cases import CASES, CONTRACTS_K, GUIDES, HARMLESS, PAINS

from lab import plan
from lab.causes import KINDS, Evidence, diagnose, every, find, recognise
from lab.console import Console
from lab.waiting import Pending

WITH_SIGNS = [cause for cause in every() if cause.signs]


def waited(kind: str, text: str) -> tuple[str, plan.Outcome]:
    """What a person reads when a step waits in vain while a system says ``text``, and how the step ended."""
    stream = io.StringIO()

    def act(context: plan.StepContext) -> str:
        return context.wait("it", lambda: Pending("not yet"), timeout=0, diagnose=lambda: [Evidence(kind, text)])

    step = plan.Step("step", "Something", lambda _context: plan.Needed("it is not there"), act)
    outcomes = plan.run([step], on_event=Console(stream=stream).event)
    return stream.getvalue(), outcomes[0]


@pytest.mark.parametrize(("code", "kind", "text"), CASES)
def test_a_cause_is_shown_with_its_code_and_remedy(code, kind, text):
    cause = find(code)
    assert cause
    assert [found.code for found in recognise(kind, text)] == [code]
    printed, outcome = waited(kind, text)
    assert outcome.error
    if cause.normal:
        assert code not in printed + str(outcome.error)
        return
    remedy = cause.remedy.en.splitlines()[0]
    assert code in printed
    assert remedy in printed
    assert f"invoke explain {code}" in printed
    assert code in outcome.error.evidence
    assert remedy in outcome.error.hint


def test_every_cause_is_produced():
    assert {cause.code for cause in WITH_SIGNS} == {code for code, _kind, _text in CASES}


@pytest.mark.parametrize(("kind", "text"), HARMLESS)
def test_what_healthy_systems_say_is_no_cause(kind, text):
    assert [found.code for found in recognise(kind, text)] == []


@pytest.mark.parametrize(("text", "code"), [*CONTRACTS_K.items(), *GUIDES.items()])
def test_a_known_text_is_recognised_where_it_is_said(text, code):
    cause = find(code)
    assert cause
    kinds = {kind for sign in cause.signs for kind in sign.kinds}
    assert any(code in [found.code for found in recognise(kind, text)] for kind in kinds), kinds


def test_every_pain_has_a_cause():
    assert set(PAINS) == set(range(1, 26))
    assert {code for code in PAINS.values() if not (find(code) and find(code).signs)} == set()


def test_every_kind_of_evidence_is_used_and_explained():
    assert {kind for cause in WITH_SIGNS for sign in cause.signs for kind in sign.kinds} == set(KINDS)


def test_a_vague_cause_gives_way_to_a_precise_one():
    vague = Evidence("pod", 'ImagePullBackOff: Back-off pulling image "x:1"')
    precise = Evidence("event", "Failed: toomanyrequests: You have reached your pull rate limit")
    assert [found.code for found in diagnose([vague, precise])] == ["LAB-REG-08"]
    assert [found.code for found in diagnose([vague])] == ["LAB-REG-13"]


def test_what_cannot_heal_comes_first():
    heals = Evidence("docker", "write: no space left on device")
    never = Evidence("docker", "Bind for 127.0.0.1:5050 failed: port is already allocated")
    assert [found.code for found in diagnose([heals, never])] == ["LAB-PORT-01", "LAB-HOST-03"]


def test_the_line_that_told_is_kept_with_its_place():
    text = "first line\nfork: Cannot allocate memory\nlast line"
    (found,) = diagnose([Evidence("gitlab", text, "lab-gitlab")])
    assert found.evidence == "lab-gitlab: fork: Cannot allocate memory"


def test_of_a_long_line_the_part_that_told_is_shown():
    (found,) = diagnose(
        [Evidence("pod", "x" * 500 + " failed to fetch oauth token: GET /jwt: 401 Unauthorized" + "y" * 500)]
    )
    assert found.line.startswith("…x")
    assert "401 Unauthorized" in found.line
    assert len(found.line) <= 241


def test_only_the_end_of_a_long_log_is_looked_at():
    old = "fork: Cannot allocate memory\n"
    assert recognise("gitlab", old + "all is well\n" * 20_000) == []
    assert recognise("gitlab", "all is well\n" * 20_000 + old)


def test_a_kind_that_does_not_exist_is_a_mistake():
    with pytest.raises(ValueError, match="no kind of evidence"):
        recognise("gitlb", "x")
