"""GitLab itself and the project: outbound requests, the project, its protected branches, its own variables."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from lab.errors import UsageError
from lab.forge import Forge
from lab.plan import Needed, Probe, Satisfied, Step, StepContext
from lab.remote import RemoteError
from lab.settings import ProjectSettings
from lab.wiring.context import Wiring

DEVELOPER, MAINTAINER = 30, 40
_LOCAL = "allow_local_requests_from_web_hooks_and_services"
_JOB_TOKEN = "ci_push_repository_for_job_token_allowed"  # noqa: S105 - the name of a setting
_SECRET_NAME = re.compile(r"PASSWORD|TOKEN|SECRET|_KEY$", re.IGNORECASE)
_MASKABLE = re.compile(r"\S{8,}")


def steps(lab: Wiring, after: tuple[str, ...]) -> list[Step]:
    """Outbound requests, project, protection of both branches, variables from lab.yaml."""
    project = lab.project
    return [
        Step(
            "gitlab.settings",
            "GitLab may send webhooks to the local network",
            lambda _context: _probe_settings(lab),
            lambda _context: _act_settings(lab),
            after,
            'curl -X PUT -H "PRIVATE-TOKEN: $TOKEN" '
            f"-d {_LOCAL}=true -d outbound_local_requests_allowlist_raw=HOST $GITLAB/api/v4/application/settings",
        ),
        Step(
            "project",
            f"Project {project.path}",
            lambda _context: _probe_project(lab),
            lambda _context: _act_project(lab),
            after,
            f'curl -H "PRIVATE-TOKEN: $TOKEN" -d path={project.name} -d visibility=private $GITLAB/api/v4/projects',
        ),
        _protection(lab, "branch.code", project.branch, MAINTAINER, "maintainers"),
        _protection(lab, "branch.config", project.config_branch, DEVELOPER, "developers, that is the bot,"),
        Step(
            "variables",
            "CI/CD variables from lab.yaml",
            lambda _context: _probe_variables(lab),
            lambda _context: _act_variables(lab),
            ("project",),
            'curl -H "PRIVATE-TOKEN: $TOKEN" -d key=KEY -d value=... $GITLAB/api/v4/projects/ID/variables',
        ),
    ]


def _probe_settings(lab: Wiring) -> Probe:
    found = lab.forge.get("/application/settings")
    return Satisfied(f"{_LOCAL} is on") if found.get(_LOCAL) else Needed(f"{_LOCAL} is off, GitLab's default")


def _act_settings(lab: Wiring) -> str:
    # The host by name is let through before any look at its address, so it need not resolve yet (contracts B.4).
    host = lab.endpoints.webhook.split("/")[2].partition(":")[0]
    lab.forge.update("/application/settings", {_LOCAL: True, "outbound_local_requests_allowlist_raw": host})
    return f"local requests allowed, {host} on the allowlist"


def _wanted(lab: Wiring) -> dict[str, Any]:
    wanted: dict[str, Any] = {"container_registry_access_level": "enabled"}
    if lab.owned:
        wanted[_JOB_TOKEN] = True  # its pipeline may push with CI_JOB_TOKEN, as the seeds' does (contracts C.7)
    return wanted


def _probe_project(lab: Wiring) -> Probe:
    found = lab.forge.project()
    if not found:
        return Needed("it does not exist")
    wrong = [key for key, value in _wanted(lab).items() if found.get(key) not in (value, None)]
    if wrong:
        return Needed(f"{', '.join(wrong)} not as wanted")
    return Satisfied(f"id {found['id']}")


def _act_project(lab: Wiring) -> str:
    forge, project = lab.forge, lab.project
    found = forge.project()
    if not found:
        data: dict[str, Any] = {"name": project.name, "path": project.name, "visibility": "private"}
        data |= _namespace(forge, project.path.rpartition("/")[0])
        try:
            found = forge.create("/projects", data)
        except RemoteError as error:
            if "has already been taken" not in error.evidence:
                raise
            found = forge.get(forge.at())
    # The job-token switch is an update-only field (contracts B.6), so all of them are set by PUT.
    forge.update(forge.at(), _wanted(lab))
    return f"created, id {found['id']}"


def _namespace(forge: Forge, path: str) -> dict[str, Any]:
    """The namespace of a new project; one's own needs no mention, a missing top-level group is made."""
    if path == "root":
        return {}
    found = forge.find(f"/namespaces/{quote(path, safe='')}")
    if found:
        return {"namespace_id": found["id"]}
    if "/" in path:
        raise UsageError("LAB-GITLAB-08", f"GitLab has no group {path}.", hint="Create it, or change project.path.")
    return {"namespace_id": forge.create("/groups", {"name": path, "path": path, "visibility": "private"})["id"]}


def _protection(lab: Wiring, name: str, branch: str, level: int, who: str) -> Step:
    """A branch that exactly one role may push to; the rule may exist before the branch does."""

    def levels() -> list[int] | None:
        rule = lab.forge.find(lab.forge.at("protected_branches", branch))
        return None if rule is None else sorted(int(item["access_level"]) for item in rule["push_access_levels"])

    def probe(_context: StepContext) -> Probe:
        found = levels()
        if found is None:
            return Needed("it is not protected")
        return Satisfied(f"push level {level}") if found == [level] else Needed(f"push levels {found}, wanted {level}")

    def act(_context: StepContext) -> str:
        forge = lab.forge
        if levels() not in (None, [level]):
            forge.remove(forge.at("protected_branches", branch))  # levels of a rule can be changed with a licence only
        rule = {"name": branch, "push_access_level": level, "merge_access_level": level}
        try:
            forge.create(forge.at("protected_branches"), rule)
        except RemoteError as error:
            if error.status != 409:  # GitLab protects a new default branch by itself a moment after the push
                raise
        return f"{who} may push"

    return Step(
        name, f"Branch {branch} protected: {who} may push", probe, act, ("project",),
        f'curl -H "PRIVATE-TOKEN: $TOKEN" -d name={branch} -d push_access_level={level} '
        "$GITLAB/api/v4/projects/ID/protected_branches",
    )  # fmt: skip


def put_variable(forge: Forge, key: str, value: str, *, masked: bool, protected: bool) -> None:
    """Create or change a CI/CD variable; raw, so that a ``$`` in it stays one."""
    data = {"key": key, "value": value, "masked": masked, "protected": protected, "raw": True}
    if forge.find(forge.at("variables", key)):
        forge.update(forge.at("variables", key), data)
    else:
        forge.create(forge.at("variables"), data)


def _variables(lab: Wiring) -> dict[str, str]:
    wanted = dict(lab.project.variables)
    if lab.project.image:
        wanted["IMAGE"] = lab.project.image
    if lab.project.config_branch != ProjectSettings.config_branch:
        wanted["CONFIG_BRANCH"] = lab.project.config_branch  # the sample's pipeline has the default in it
    return wanted


def _probe_variables(lab: Wiring) -> Probe:
    wanted = _variables(lab)
    if not wanted:
        return Satisfied("none set")
    found = {row["key"]: row.get("value") for row in lab.forge.rows(lab.forge.at("variables"))}
    wrong = [key for key, value in wanted.items() if found.get(key) != value]
    return Needed(f"{', '.join(wrong)} missing or different") if wrong else Satisfied(", ".join(wanted))


def _act_variables(lab: Wiring) -> str:
    wanted = _variables(lab)
    for key, value in wanted.items():
        masked = bool(_SECRET_NAME.search(key) and _MASKABLE.fullmatch(value))
        put_variable(lab.forge, key, value, masked=masked, protected=False)
    return f"set {', '.join(wanted)}"
