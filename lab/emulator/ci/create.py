"""Makes a pipeline from a commit: configuration, rules, jobs.

The order of the checks follows GitLab, app/services/ci/create_pipeline_service.rb and lib/gitlab/ci/pipeline/chain.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import Any

from lab.emulator.ci import rules
from lab.emulator.ci.compose import compose
from lab.emulator.ci.config import CiConfig, build
from lab.emulator.ci.document import ConfigError
from lab.emulator.ci.engine import Engine
from lab.emulator.ci.expression import ExpressionError
from lab.emulator.ci.model import Job, Pipeline
from lab.emulator.ci.payload import persistent_ref
from lab.emulator.ci.scope import Scope
from lab.emulator.ci.seeds import Seeds, check_needs
from lab.emulator.ci.store import Store
from lab.emulator.ci.variables import expand_text, values
from lab.emulator.gitlab.git import GitError
from lab.emulator.gitlab.model import ZERO_SHA, Project
from lab.emulator.gitlab.repositories import Repositories

SKIP = re.compile(r"\[(ci[ _-]skip|skip[ _-]ci)\]", re.IGNORECASE)
NO_JOBS = (
    "Pipeline will not run for the selected trigger. "
    "The rules configuration prevented any jobs from being added to the pipeline."
)
FILTERED = "Pipeline filtered out by workflow rules."
MISSING_CONFIG = "Missing CI config file"


class RefusedError(Exception):
    """No pipeline comes of it; ``errors`` say why."""

    def __init__(self, *errors: str) -> None:
        super().__init__("; ".join(errors))
        self.errors = list(errors)


@dataclass
class Request:
    """What a pipeline is wanted for."""

    ref: str
    tag: bool
    sha: str
    source: str
    user: dict[str, Any]
    before: str = ZERO_SHA
    variables: list[dict[str, Any]] = field(default_factory=list, repr=False)
    skip: bool = False
    """Save a skipped pipeline without jobs."""
    protected: bool = False


@dataclass
class Checked:
    """A configuration with the jobs that its rules let in; the pipeline is not stored."""

    config: CiConfig
    jobs: list[Job]
    composed: dict[str, Any]


class Creator:
    """Creates pipelines and checks configurations."""

    def __init__(self, store: Store, engine: Engine, scope: Scope, repositories: Repositories) -> None:
        self._store = store
        self._engine = engine
        self._scope = scope
        self._repositories = repositories

    async def create(self, project: Project, request: Request) -> Pipeline:
        """Store a pipeline with its jobs and start it.

        A broken configuration gives a failed pipeline with ``yaml_errors`` (for pushes; the API refuses instead).

        Raises:
            RefusedError: there is nothing to run.
        """
        pipeline = await self.seed(project, request)
        if request.skip:
            return self._store_alone(pipeline, "skipped")
        text = await self._text(project, request.sha)
        if text is None:
            raise RefusedError(MISSING_CONFIG)
        try:
            checked = await self.check(project, pipeline, text)
        except ConfigError as error:
            if request.source != "push":
                raise RefusedError(*error.errors) from error
            pipeline.yaml_errors, pipeline.failure_reason = error.errors[0], "config_error"
            return self._store_alone(pipeline, "failed")
        await self._keep_commit(project, pipeline)
        return self._store_whole(pipeline, checked)

    async def check(self, project: Project, pipeline: Pipeline, text: str) -> Checked:
        """Which jobs ``text`` gives for an unsaved pipeline.

        Raises:
            ConfigError: GitLab's texts.
            RefusedError: rules leave nothing.
        """

        async def read(path: str) -> bytes | None:
            return await self._repositories.read(project, pipeline.sha, path)

        async def files() -> list[str]:
            return await self._files(project, pipeline.sha)

        early = self._facts(project, pipeline, values(self._scope.of_pipeline(project, pipeline, {})))
        try:
            composed = await compose(text, read, files, lambda found: rules.include_wanted(found, early))
            config = build(composed)
            return Checked(config, await self._jobs(project, pipeline, config), composed)
        except ExpressionError as error:
            raise ConfigError(str(error)) from error

    async def _jobs(self, project: Project, pipeline: Pipeline, config: CiConfig) -> list[Job]:
        changed = None
        if rules.uses(config, "changes") and pipeline.before_sha != ZERO_SHA and not pipeline.tag:
            changed = await self._repositories.changed_paths(project, pipeline.before_sha, pipeline.sha)
        files = await self._files(project, pipeline.sha) if rules.uses(config, "exists") else []
        known = values(self._scope.of_pipeline(project, pipeline, config.variables))
        facts = self._facts(project, pipeline, known, changed, files)
        wanted, extra = rules.workflow(config.workflow_rules, facts)
        if not wanted:
            raise RefusedError(FILTERED)
        config.variables = {**config.variables, **extra}
        pipeline.on_new_commit = config.on_new_commit
        pipeline.name = expand_text(config.name, known) if config.name else None
        planting = Seeds(self._scope, project, pipeline, extra, facts)
        jobs = [job for found in config.jobs for job in planting.jobs(found)]
        if not jobs:
            raise RefusedError(NO_JOBS)
        check_needs(jobs)
        pipeline.stages = [stage for stage in config.stages if any(job.stage == stage for job in jobs)]
        return jobs

    async def seed(self, project: Project, request: Request) -> Pipeline:
        """A pipeline without an id that is not stored."""
        commit = await self._repositories.commit(project, request.sha) or {}
        return Pipeline(
            id=0, iid=0, project_id=project.id, sha=request.sha, ref=request.ref, tag=request.tag,
            before_sha=request.before, source=request.source, user=request.user, commit=commit,
            variables=request.variables, protected=request.protected, default_branch=project.default_branch,
        )  # fmt: skip

    async def _text(self, project: Project, sha: str) -> str | None:
        body = await self._repositories.read(project, sha, project.data.get("ci_config_path") or ".gitlab-ci.yml")
        return None if body is None else body.decode(errors="replace")

    async def _files(self, project: Project, sha: str) -> list[str]:
        listing = await self._repositories.git(project, "ls-tree", "-r", "-z", "--name-only", sha)
        return [name for name in listing.decode(errors="replace").split("\0") if name]

    @staticmethod
    def _facts(
        project: Project,
        pipeline: Pipeline,
        known: dict[str, str],
        changed: list[str] | None = None,
        files: list[str] | None = None,
    ) -> rules.Facts:
        path = project.path_with_namespace
        return rules.Facts(pipeline.ref, pipeline.tag, pipeline.source, path, known, changed, files or [])

    async def _keep_commit(self, project: Project, pipeline: Pipeline) -> None:
        """Hold the commit by a ref of its own, so that a runner can fetch it when the branch has moved on."""
        pipeline.id = self._store.next_id("ci_pipeline")
        try:
            await self._repositories.git(project, "update-ref", persistent_ref(pipeline), pipeline.sha)
        except GitError as error:
            raise RefusedError("Commit not found") from error

    def _store_alone(self, pipeline: Pipeline, status: str) -> Pipeline:
        pipeline.id = self._store.next_id("ci_pipeline")
        pipeline.iid = self._store.next_id(f"ci_pipeline_iid:{pipeline.project_id}")
        pipeline.status, pipeline.finished_at = status, time.time()
        self._store.save(pipeline)
        return pipeline

    def _store_whole(self, pipeline: Pipeline, checked: Checked) -> Pipeline:
        with self._store.transaction():
            pipeline.iid = self._store.next_id(f"ci_pipeline_iid:{pipeline.project_id}")
            self._store.save(pipeline)
            order = {stage: index for index, stage in enumerate(checked.config.stages)}
            for job in sorted(checked.jobs, key=lambda found: order[found.stage]):
                job.id, job.pipeline_id, job.stage_index = self._store.next_id("ci_job"), pipeline.id, order[job.stage]
                self._store.save(job)
                if job.resource_group:
                    self._engine.groups.ensure(pipeline.project_id, job.resource_group)
            if pipeline.source in ("push", "web", "api"):
                self._engine.cancel_redundant(pipeline)
            self._engine.process(pipeline)
        return pipeline
