"""The variables that a job sees, in GitLab's order of precedence (lowest first).

predefined < YAML (root, then job) < dotenv of earlier jobs < instance < groups, outermost first < project < pipeline
variables < manual ones.
Source: GitLab doc/ci/variables/_index.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lab.emulator.ci import predefined
from lab.emulator.ci.model import Job, Pipeline, Runner
from lab.emulator.ci.patterns import wildcard_matches
from lab.emulator.ci.status import base_name
from lab.emulator.ci.store import INSTANCE, Owner, Store
from lab.emulator.ci.variables import Variable, expand_text, from_yaml, merged, values
from lab.emulator.config import Config
from lab.emulator.gitlab.model import Project

DeployToken = Callable[[int], "tuple[str, str] | None"]
Groups = Callable[[Project], "list[int]"]


class Scope:
    """Collects variables for rules and for jobs."""

    def __init__(self, config: Config, store: Store, deploy_token: DeployToken, groups: Groups) -> None:
        """``groups`` answers the ids of the groups that a project lies in, outermost first."""
        self._config = config
        self._store = store
        self._deploy_token = deploy_token
        self._groups = groups

    def of_pipeline(self, project: Project, pipeline: Pipeline, root: dict[str, Any]) -> list[Variable]:
        """For ``workflow: rules`` and ``include: rules``: no job yet."""
        return merged(
            self._common(project, pipeline),
            from_yaml(root),
            *self._stored(project, pipeline, environment=""),
            given(pipeline.variables),
        )

    def of_job(self, project: Project, pipeline: Pipeline, job: Job, *, runner: Runner | None = None) -> list[Variable]:
        """For a job's rules, and with ``runner`` for its payload."""
        path = project.path_with_namespace
        common = [*self._common(project, pipeline), *predefined.user(job.user), *predefined.job(job, job.when)]
        yaml = given(job.variables)
        environment = (job.options.get("environment") or {}).get("name", "")
        if "$" in environment:
            environment = expand_text(environment, values(merged(common, yaml)))
            common.append(Variable("CI_ENVIRONMENT_NAME", environment))
        if runner:
            common += predefined.running(self._config, job, path, runner)
            common += self._deploy_variables(project.id)
        return merged(
            common,
            yaml,
            self._dotenv(job),
            *self._stored(project, pipeline, environment),
            given(pipeline.variables),
            given(job.manual_variables),
        )

    def _common(self, project: Project, pipeline: Pipeline) -> list[Variable]:
        return [
            *predefined.server(self._config),
            *predefined.project(self._config, project),
            *predefined.pipeline(self._config, pipeline, project.path_with_namespace),
            *predefined.commit(pipeline),
            *predefined.user(pipeline.user),
        ]

    def _stored(self, project: Project, pipeline: Pipeline, environment: str) -> list[list[Variable]]:
        """What was set for the instance, for the groups around the project, and for the project itself."""
        owners = [INSTANCE, *(Owner("group", group) for group in self._groups(project)), Owner("project", project.id)]
        return [self._variables_of(owner, pipeline, environment) for owner in owners]

    def _variables_of(self, owner: Owner, pipeline: Pipeline, environment: str) -> list[Variable]:
        """Protected ones only on protected refs; of several scopes the most specific one that fits."""
        found = []
        rows = self._store.variables(owner)
        for row in sorted(rows, key=lambda r: len(r["environment_scope"].replace("*", ""))):
            if row["protected"] and not pipeline.protected:
                continue
            if row["environment_scope"] == "*" or wildcard_matches(row["environment_scope"], environment):
                found.append(
                    Variable(
                        row["key"],
                        row["value"] or "",
                        public=False,
                        masked=row["masked"],
                        raw=row["raw"],
                        file=row["variable_type"] == "file",
                    )
                )
        return found

    def _deploy_variables(self, project_id: int) -> list[Variable]:
        token = self._deploy_token(project_id)
        if token is None:
            return []
        return [
            Variable("CI_DEPLOY_USER", token[0]),
            Variable("CI_DEPLOY_PASSWORD", token[1], public=False, masked=True),
        ]

    def _dotenv(self, job: Job) -> list[Variable]:
        found: list[Variable] = []
        for earlier in dependencies(self._store, job):
            found += [Variable(key, value) for key, value in earlier.dotenv.items()]
        return found


def given(rows: list[dict[str, Any]]) -> list[Variable]:
    """Variables given by the API, push options or the configuration."""
    return [
        Variable(
            str(row["key"]),
            str(row.get("value", "")),
            raw=bool(row.get("raw")),
            public=row.get("public", True),
            file=row.get("variable_type") == "file",
        )
        for row in rows
    ]


def dependencies(store: Store, job: Job) -> list[Job]:
    """The earlier jobs whose artifacts ``job`` gets: ``dependencies``, else ``needs``, else all earlier stages."""
    earlier = [j for j in store.jobs_of(job.pipeline_id) if j.id != job.id]
    if job.needs is not None:
        names = {need["job"] for need in job.needs if need.get("artifacts", True)}
        earlier = [j for j in earlier if j.name in names or base_name(j) in names]
    else:
        earlier = [j for j in earlier if j.stage_index < job.stage_index]
    wanted = job.options.get("dependencies")
    if wanted is not None:
        earlier = [j for j in earlier if j.name in wanted or base_name(j) in wanted]
    return earlier
