"""The runner: made through the API (registration tokens are gone), attached by the engine, seen alive by GitLab."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from lab.plan import Needed, Probe, Satisfied, Step, StepContext
from lab.remote import RemoteError
from lab.waiting import Pending
from lab.wiring.context import Wiring

NAME, TAG = "lab", "docker"
_KEPT = "runner-token"
FRESH = 300.0
"""Seconds since the last contact; ``online`` lasts two hours after a runner has died (contracts B.15)."""

Document = dict[str, Any]


def steps(lab: Wiring, after: tuple[str, ...]) -> list[Step]:
    """One step: without a runner that asks for jobs, the entity in GitLab is worth nothing."""
    return [
        Step(
            "runner",
            f"Runner {NAME}: created, attached, alive",
            lambda _context: _probe(lab),
            lambda context: _act(lab, context),
            ("project", *after),
            'curl -H "PRIVATE-TOKEN: $TOKEN" -d runner_type=project_type -d project_id=ID '
            f"-d tag_list={TAG} -d run_untagged=true $GITLAB/api/v4/user/runners\n"
            "gitlab-runner register --non-interactive --url $GITLAB --token $RUNNER_TOKEN",
        )
    ]


def find(lab: Wiring) -> tuple[Document, str] | None:
    """The runner that the lab made, with its token; None when either is lost."""
    token, known = lab.state.secret(_KEPT), lab.state.fact(_KEPT)
    if not token or not known:
        return None
    row = lab.forge.find(f"/runners/{known['id']}")
    return (row, token) if row else None


def age(row: Document) -> float | None:
    """Seconds since the runner last asked for jobs, or None when it never did."""
    contacted = row.get("contacted_at")
    if not contacted:
        return None
    moment = datetime.fromisoformat(str(contacted).replace("Z", "+00:00"))
    return max(0.0, (datetime.now(timezone.utc) - moment).total_seconds())


def _wrong(row: Document) -> str | None:
    if row.get("paused"):
        return "it is paused"
    if TAG not in row.get("tag_list", []) or not row.get("run_untagged"):
        return "its tags are not as wanted"
    return None


def _probe(lab: Wiring) -> Probe:
    found = find(lab)
    if not found:
        return Needed("it does not exist, or its token is lost")
    row, _ = found
    seen = age(row)
    if why := _wrong(row):
        return Needed(why)
    if seen is None or seen > FRESH:
        return Needed("it has never asked for jobs" if seen is None else f"it was last seen {seen:.0f} s ago")
    return Satisfied(f"asked for jobs {seen:.0f} s ago")


def _act(lab: Wiring, context: StepContext) -> str:
    found = find(lab)
    if found and not _accepted(lab, found[1]):
        found = None
    done = "attached again"
    if found is None:
        found, done = _create(lab), "created and attached"
    row, token = found
    if _wrong(row):
        wanted = {"paused": False, "tag_list": [TAG], "run_untagged": True}
        lab.forge.update(f"/runners/{row['id']}", wanted)
    before = row.get("contacted_at")
    lab.attach_runner(token)

    def asked() -> str | Pending:
        now = lab.forge.get(f"/runners/{row['id']}")
        seen = age(now)
        if seen is not None and (now["contacted_at"] != before or seen < FRESH):
            return f"runner {row['id']} {done}"
        return Pending("it has not asked for jobs yet")

    return context.wait(
        "the runner's first request for a job",
        asked,
        timeout=lab.settings.timeouts.start,
        longest=0.25,
        hint="`invoke logs runner` shows what it says; three refusals make a runner pause for an hour.",
        diagnose=lab.engine_evidence,
    )


def _create(lab: Wiring) -> tuple[Document, str]:
    project = lab.forge.get(lab.forge.at())
    for row in lab.forge.rows(lab.forge.at("runners")):
        if row.get("description") == NAME:
            lab.forge.remove(f"/runners/{row['id']}")  # its token is lost: it can never work again
    data = {
        "runner_type": "project_type",
        "project_id": project["id"],
        "description": NAME,
        "tag_list": TAG,
        "run_untagged": True,
    }
    made = lab.forge.create("/user/runners", data)
    lab.state.put_secret(_KEPT, made["token"])
    lab.state.put_fact(_KEPT, {"id": made["id"]})
    return lab.forge.get(f"/runners/{made['id']}"), made["token"]


def _accepted(lab: Wiring, token: str) -> bool:
    """Whether GitLab still takes the token (a read, although it is a POST)."""
    try:
        lab.forge.create("/runners/verify", {"token": token})
    except RemoteError as error:
        if error.status == 403:
            return False
        raise
    return True
