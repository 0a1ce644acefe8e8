"""The first trip round the loop: push the code branch, let the pipeline succeed, see the application answer."""

from __future__ import annotations

import re
from typing import Any

from lab import argocd, assets, git, pipeline, source, symptoms
from lab.errors import CheckFailed, LabError, UsageError
from lab.plan import Needed, Probe, Satisfied, Step, StepContext
from lab.remote import RemoteError, patient
from lab.waiting import Pending
from lab.wiring.context import Wiring

_APPEARS = 15.0
"""Seconds until GitLab has made the pipeline of a push; its post-receive job runs in the background."""
_SAMPLE = "gitlab/project"
_TRAILER = re.compile(r"^Source-Commit: ([0-9a-f]{40})$", re.MULTILINE)
_HISTORY = 50
"""How many commits of a branch are looked at."""
AUTHOR = git.Person("GitOps Lab", "lab@lab.test", "2026-01-01T00:00:00Z")

Document = dict[str, Any]


def steps(lab: Wiring) -> list[Step]:
    """Source, push, first pipeline, and the application's answer at the end."""
    project = lab.project
    return [
        Step(
            "source",
            "The project to push",
            lambda context: _probe_source(lab, context),
            lambda _context: "",
            (),
            "git ls-tree " + (project.branch if lab.owned else "HEAD:" + _SAMPLE),
        ),
        Step(
            "push",
            f"Branch {project.branch} pushed",
            lambda _context: _probe_push(lab),
            lambda _context: _act_push(lab),
            ("source", "project", "branch.code", "branch.config", "token.config-branch", "variables"),
            f"git push $GITLAB/{project.path}.git {project.branch}",
        ),
        Step(
            "pipeline",
            f"First pipeline, which makes {project.config_branch}",
            lambda _context: _probe_pipeline(lab),
            lambda context: _act_pipeline(lab, context),
            ("push", "runner", "hook"),
            f'curl -H "PRIVATE-TOKEN: $TOKEN" "$GITLAB/api/v4/projects/ID/pipelines?ref={project.branch}"',
        ),
        Step(
            "live",
            "Synced, healthy, answering",
            lambda _context: _probe_live(lab),
            lambda context: _act_live(lab, context),
            ("hook.delivered",),
            f"kubectl -n argocd get application {project.name}\nkubectl -n {project.namespace} rollout status "
            f"deployment/{project.deployment}\ncurl $APP{project.health}",
        ),
    ]


def _probe_source(lab: Wiring, context: StepContext) -> Probe:
    if lab.project.source is None:
        return Satisfied(f"the sample in {_SAMPLE}")
    found = source.inspect(lab.project)
    for line in found.hosts:
        context.report(line)
    if found.hosts:
        return Satisfied(f"{found.summary}; hard-coded hosts: " + "; ".join(found.hosts))
    return Satisfied(found.summary)


def _probe_push(lab: Wiring) -> Probe:
    head = lab.forge.head(lab.project.branch)
    if head is None:
        return Needed("it does not exist on GitLab")
    path = lab.project.source
    if path is None or git.git("cat-file", "-e", f"{head}^{{commit}}", cwd=path, check=False).code == 0:
        return Satisfied(f"at {head[:8]}")
    tip = git.git("rev-parse", f"refs/heads/{lab.project.branch}", cwd=path).stdout.strip()
    if lab.forge.commit(tip) is not None:
        return Satisfied(f"at {head[:8]}, ahead of {path}")
    raise UsageError(
        "LAB-SOURCE-05",
        f"{lab.project.path} on GitLab holds another history than {path}.",
        evidence=f"GitLab is at {head[:8]}, the source at {tip[:8]}; neither knows the other's commit.",
        hint="Choose another project.path, or `invoke reset` to start over. The lab never pushes with force.",
    )


def _act_push(lab: Wiring) -> str:
    remote, branch = git.as_root(lab.endpoints, lab.project.path), lab.project.branch
    if lab.project.source is not None:
        git.push(lab.project.source, remote, f"refs/heads/{branch}", branch)
        return f"pushed {lab.project.source} with its history"
    with git.snapshot(assets.folder(_SAMPLE), "feat: HiChat in small", AUTHOR) as (path, sha):
        git.push(path, remote, sha, branch)
    return f"pushed the sample as {sha[:8]}"


def _holds_manifest(lab: Wiring) -> bool:
    return lab.forge.file(lab.project.image_file, lab.project.config_branch) is not None


def _lost(lab: Wiring, head: str) -> str | None:
    """Which commit of the code the config branch was set back to although a later one was deployed, or None.

    Its history tells: a revert is a commit on top and is left alone, a branch that was moved back has lost commits.
    Only the sample's pipeline is known to leave `Source-Commit` in each of them.
    """
    if lab.owned:
        return None
    messages = [str(commit.get("message", "")) for commit in lab.forge.commits(lab.project.config_branch, _HISTORY)]
    recorded = [found.group(1) for found in map(_TRAILER.search, messages) if found]
    if not recorded or head in recorded:
        return None
    older = {commit["id"] for commit in lab.forge.commits(lab.project.branch, _HISTORY)}
    return recorded[0] if recorded[0] in older else None


def _probe_pipeline(lab: Wiring) -> Probe:
    project = lab.project
    if not _holds_manifest(lab):
        return Needed(f"{project.config_branch} does not hold {project.image_file} yet")
    head = lab.forge.head(project.branch)
    row = pipeline.of_commit(lab.forge, head, project.branch) if head else None
    if row and row["status"] not in pipeline.ENDED:
        return Needed(f"pipeline {row['id']} {row['status']}")
    if row and row["status"] == "failed" and pipeline.lost_its_runner(lab.forge.jobs(row["id"])):
        return Needed(f"pipeline {row['id']} lost its runner")
    if row and row["status"] == "success" and (back := _lost(lab, row["sha"])):
        return Needed(f"{project.config_branch} was set back to {back[:8]}, {row['sha'][:8]} had been deployed")
    return Satisfied(f"{project.config_branch} holds {project.image_file}")


def _act_pipeline(lab: Wiring, context: StepContext) -> str:
    project, forge = lab.project, lab.forge
    head = forge.head(project.branch)
    if head is None:
        raise LabError("LAB-PIPE-04", f"Branch {project.branch} has gone from GitLab.", hint="invoke up")
    row = _first(lab, context, head)
    undone = not _holds_manifest(lab) or _lost(lab, head)  # what a pipeline that succeeded had committed
    if row["status"] in pipeline.ENDED and (row["status"] != "success" or undone):
        context.report(f"pipeline {row['id']} {row['status']}, starting another one")
        row = _another(lab, row)
    try:
        _wait_for(lab, context, row)
    except CheckFailed as error:
        if not _holds_manifest(lab):
            raise
        # Not the lab's business: somebody's commit does not build, and what was deployed before stays.
        return f"pipeline {row['id']} did not succeed: {error.problem} What was deployed stays."
    if not _holds_manifest(lab):
        raise LabError(
            "LAB-PIPE-05",
            f"The pipeline succeeded, but {project.config_branch} does not hold {project.image_file}.",
            evidence="\n".join([*(f"{job['name']}: {job['status']}" for job in forge.jobs(row["id"])), *_hosts(lab)]),
            hint="A job of .gitlab-ci.yml has to commit the manifests with the new image to that branch.",
        )
    return f"pipeline {row['id']} succeeded"


def _hosts(lab: Wiring) -> list[str]:
    """Hosts that stand in the project's files: a job that talks to one of them may believe that it has pushed."""
    if not lab.owned:
        return []
    return [f"hard-coded host: {line}" for line in source.inspect(lab.project).hosts]


def _another(lab: Wiring, row: Document) -> Document:
    """A new pipeline of the code branch's tip; where GitLab refuses, what was wrong with the one before."""
    forge = lab.forge
    try:
        return dict(forge.create(forge.at("pipeline"), {"ref": lab.project.branch}))
    except RemoteError as error:
        if error.status != 400:
            raise
        raise pipeline.failure(forge, row, forge.jobs(row["id"])) from error


def _wait_for(lab: Wiring, context: StepContext, row: Document) -> None:
    """Wait for a pipeline to succeed; one whose runner ended meanwhile is retried once."""
    forge = lab.forge

    def attempt() -> None:
        context.wait(
            f"pipeline {row['id']}", patient(lambda: pipeline.ended(forge, row["id"])),
            timeout=lab.settings.timeouts.pipeline, longest=0.25, hint=f"See {row.get('web_url', '')}.",
            diagnose=lambda: symptoms.of_pipeline(forge, row["id"]),
        )  # fmt: skip

    try:
        attempt()
    except CheckFailed:
        if not pipeline.lost_its_runner(forge.jobs(row["id"])):
            raise
        context.report(f"pipeline {row['id']} lost its runner, trying again")
        forge.create(forge.at("pipelines", row["id"], "retry"), {})
        attempt()


def _first(lab: Wiring, context: StepContext, sha: str) -> Document:
    """The commit's pipeline; started by hand when the push has made none."""
    forge, branch = lab.forge, lab.project.branch

    def look() -> Document | Pending:
        return pipeline.of_commit(forge, sha, branch) or Pending(f"no pipeline for {sha[:8]} yet")

    try:
        return context.wait(f"the pipeline of {sha[:8]}", patient(look), timeout=_APPEARS)
    except LabError as error:
        if error.exit_code != 4:  # only a deadline is answered by starting one
            raise
    try:
        return dict(forge.create(forge.at("pipeline"), {"ref": branch}))
    except RemoteError as error:
        if error.status != 400:
            raise
        raise LabError(
            "LAB-PIPE-06", "GitLab makes no pipeline for this project.", evidence=error.evidence,
            hint="Look at .gitlab-ci.yml: does it exist, and do its rules take this branch?",
        ) from error  # fmt: skip


def _state(lab: Wiring) -> str | Pending:
    """One look at the end of the loop: Argo CD, then the pods, then the answer."""
    head = lab.forge.head(lab.project.config_branch)
    app = argocd.find(lab.cluster, lab.settings)
    synced = argocd.synced(app, head or "")
    if isinstance(synced, Pending):
        return synced
    for seen in (argocd.healthy(app), lab.application.rolled_out()):
        if isinstance(seen, Pending):
            obstacle = lab.application.obstacle()
            return Pending(f"{seen.observation}; {obstacle}") if obstacle else seen
    answer = lab.application.answers()
    if isinstance(answer, Pending):
        return answer
    return f"{argocd.summary(app or {})}; {lab.project.health} answers {answer.status}"


def _probe_live(lab: Wiring) -> Probe:
    try:
        seen = _state(lab)
    except RemoteError:
        raise
    except LabError as error:
        return Needed(error.problem)
    return Needed(seen.observation) if isinstance(seen, Pending) else Satisfied(seen)


def _act_live(lab: Wiring, context: StepContext) -> str:
    head = lab.forge.head(lab.project.config_branch)
    app = argocd.find(lab.cluster, lab.settings)
    if head and app:
        argocd.nudge(lab.cluster, app, head)
    return context.wait(
        "the application to be synced, healthy and answering", patient(lambda: _state(lab)),
        timeout=lab.settings.timeouts.sync, longest=0.25, hint="`invoke verify` names the part that does not work.",
        diagnose=lambda: symptoms.of_deployment(lab.doors),
    )  # fmt: skip
