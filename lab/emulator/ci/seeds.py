"""Jobs of a pipeline that is being made: what the configuration says, after its rules have been judged."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from lab.emulator.ci import rules
from lab.emulator.ci.config import JobConfig
from lab.emulator.ci.document import ConfigError
from lab.emulator.ci.model import Job, Pipeline, new_token
from lab.emulator.ci.scope import Scope, given
from lab.emulator.ci.status import base_name
from lab.emulator.ci.variables import expand_text, expanded, from_yaml, merged, values
from lab.emulator.gitlab.model import Project


@dataclass
class Seeds:
    """Makes the jobs of one pipeline; they have no ids yet."""

    scope: Scope
    project: Project
    pipeline: Pipeline
    extra: dict[str, Any]
    """Variables of the ``workflow`` rule that let the pipeline in."""
    facts: rules.Facts

    def jobs(self, found: JobConfig) -> list[Job]:
        """The jobs of one entry: none when its rules say so, several with ``parallel``."""
        job = _seed_job(self.pipeline, found, self.extra)
        scope = self.scope.of_job(self.project, self.pipeline, job)
        decision = rules.decide(found, replace(self.facts, variables=values(scope)))
        if not decision.included:
            return []
        rule = decision.rule
        job.when, job.start_in = decision.when, decision.start_in or found.start_in
        if isinstance(rule.get("allow_failure"), bool):
            job.allow_failure = rule["allow_failure"]
        job.interruptible = bool(rule.get("interruptible", job.interruptible))
        if "needs" in rule:
            job.needs = [{"job": n} if isinstance(n, str) else dict(n) for n in rule["needs"]]
        own = _own(found, self.extra)
        job.variables = _rows({**found.variables, **self.extra, **own, **(rule.get("variables") or {})})
        known = values(expanded(merged(scope, given(job.variables))))
        job.resource_group = expand_text(found.resource_group, known) if found.resource_group else None
        job.tag_list = [expand_text(tag, known) for tag in found.tags]
        return _parallel(job, found.parallel)


def _seed_job(pipeline: Pipeline, found: JobConfig, extra: dict[str, Any]) -> Job:
    return Job(
        id=0, pipeline_id=pipeline.id, project_id=pipeline.project_id, name=found.name, stage=found.stage,
        stage_index=0,
        options=found.options, variables=_rows({**found.variables, **extra, **_own(found, extra)}), when=found.when,
        start_in=found.start_in, allow_failure=found.allow_failure, allow_failure_codes=found.allow_failure_codes,
        needs=[asdict(need) for need in found.needs] if found.needs is not None else None, tag_list=found.tags,
        interruptible=found.interruptible, user=pipeline.user,
    )  # fmt: skip


def _own(found: JobConfig, extra: dict[str, Any]) -> dict[str, Any]:
    """The job's own variables, which win over those of ``workflow: rules: variables``."""
    return {key: value for key, value in found.own_variables.items() if key in extra}


def _rows(variables: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": v.key, "value": v.value, "raw": v.raw} for v in from_yaml(variables)]


def _parallel(job: Job, total: int | None) -> list[Job]:
    if not total:
        return [job]
    return [
        Job(
            **{
                **job.body(),
                "name": f"{job.name} {index}/{total}",
                "token": new_token(),
                "parallel_index": index,
                "parallel_total": total,
            }
        )
        for index in range(1, total + 1)
    ]


def check_needs(jobs: list[Job]) -> None:
    """Every need is in the pipeline; optional ones that are not are forgotten. Raises ConfigError."""
    names = {job.name for job in jobs} | {base_name(job) for job in jobs}
    for job in jobs:
        for name in [need["job"] for need in job.needs or [] if not need.get("optional")]:
            if name not in names:
                raise ConfigError(
                    f"'{job.name}' job needs '{name}' job, but '{name}' does not exist in the pipeline. "
                    "This might be because of the only, except, or rules keywords. "
                    "To need a job that sometimes does not exist in the pipeline, use needs:optional."
                )
        if job.needs is not None:
            job.needs = [need for need in job.needs if need["job"] in names]
