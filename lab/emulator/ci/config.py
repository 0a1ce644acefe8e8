"""A checked configuration: stages, workflow and jobs in the form in which pipelines are made from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lab.emulator.ci import durations, keywords
from lab.emulator.ci.document import ConfigError
from lab.emulator.ci.shapes import flat

STAGES = ["build", "test", "deploy"]
DEFAULT_ONLY = {"refs": ["branches", "tags"]}
_SHARED = ("before_script", "image", "services", "after_script", "cache")


@dataclass
class Need:
    """One entry of ``needs``."""

    job: str
    artifacts: bool = True
    optional: bool = False


@dataclass
class JobConfig:
    """One visible job with everything it inherits."""

    name: str
    stage: str
    options: dict[str, Any]
    """``script``, ``before_script``, ``after_script`` (lists), ``image``, ``services``, ``artifacts``, ``cache``,
    ``retry``, ``timeout`` (seconds), ``dependencies``, ``environment``, ``coverage``."""
    variables: dict[str, Any]
    """YAML variables, the root's included."""
    tags: list[str]
    rules: list[dict[str, Any]] | None
    only: dict[str, Any] | None
    except_: dict[str, Any] | None
    when: str = "on_success"
    start_in: int | None = None
    allow_failure: bool = False
    allow_failure_codes: list[int] | None = None
    needs: list[Need] | None = None
    resource_group: str | None = None
    interruptible: bool = False
    parallel: int | None = None
    own_variables: dict[str, Any] = field(default_factory=dict)
    """Those of ``variables`` that the job itself names."""


@dataclass
class CiConfig:
    """A configuration file as a whole."""

    stages: list[str]
    jobs: list[JobConfig]
    variables: dict[str, Any] = field(default_factory=dict)
    workflow_rules: list[dict[str, Any]] | None = None
    name: str | None = None
    on_new_commit: str = "conservative"


def build(composed: dict[str, Any]) -> CiConfig:
    """Check a composed mapping (see `compose.compose`) and give it its form.

    Raises:
        ConfigError: with every error, GitLab's texts.
    """
    if errors := keywords.check(composed):
        raise ConfigError(*errors)
    workflow = composed.get("workflow") or {}
    config = CiConfig(
        stages=[".pre", *[s for s in composed.get("stages") or STAGES if s not in (".pre", ".post")], ".post"],
        jobs=[],
        variables=composed.get("variables") or {},
        workflow_rules=flat(workflow["rules"]) if "rules" in workflow else None,
        name=workflow.get("name"),
        on_new_commit=(workflow.get("auto_cancel") or {}).get("on_new_commit", "conservative"),
    )
    for name, job in composed.items():
        if name not in keywords.ROOT and not name.startswith("."):
            config.jobs.append(_job(name, job, composed, config))
    if errors := _logical_errors(config):
        raise ConfigError(*errors)
    return config


def _job(name: str, own: dict[str, Any], composed: dict[str, Any], config: CiConfig) -> JobConfig:
    job = _inherited(own, composed)
    when = job.get("when") or "on_success"
    failure = job.get("allow_failure")
    only = _policy(job.get("only"))
    if only is None and "rules" not in job and config.workflow_rules is None:
        only = DEFAULT_ONLY
    codes = flat(failure.get("exit_codes")) if isinstance(failure, dict) else None
    return JobConfig(
        name=name,
        stage=job.get("stage", "test"),
        options=_options(job),
        variables={**_inherited_variables(job, config), **(job.get("variables") or {})},
        tags=job.get("tags") or [],
        rules=flat(job["rules"]) if "rules" in job else None,
        only=only,
        except_=_policy(job.get("except")),
        when=when,
        start_in=durations.seconds(job.get("start_in", "")),
        allow_failure=when == "manual" if failure is None else failure is True,
        allow_failure_codes=codes,
        needs=[_need(need) for need in job["needs"]] if job.get("needs") is not None else None,
        resource_group=job.get("resource_group"),
        interruptible=bool(job.get("interruptible", False)),
        parallel=job.get("parallel"),
        own_variables=job.get("variables") or {},
    )


def _inherited(own: dict[str, Any], composed: dict[str, Any]) -> dict[str, Any]:
    """The job over ``default`` (and the root's deprecated global keywords), as its ``inherit`` allows."""
    default = {key: composed[key] for key in _SHARED if key in composed} | (composed.get("default") or {})
    allowed = (own.get("inherit") or {}).get("default", True)
    if isinstance(allowed, list):
        default = {key: value for key, value in default.items() if key in allowed}
    elif not allowed:
        default = {}
    return {**default, **own}


def _inherited_variables(job: dict[str, Any], config: CiConfig) -> dict[str, Any]:
    allowed = (job.get("inherit") or {}).get("variables", True)
    if isinstance(allowed, list):
        return {key: value for key, value in config.variables.items() if key in allowed}
    return config.variables if allowed else {}


def _options(job: dict[str, Any]) -> dict[str, Any]:
    retry = job.get("retry")
    environment = job.get("environment")
    options = {
        "script": flat(job.get("script")),
        "before_script": flat(job.get("before_script")),
        "after_script": flat(job.get("after_script")),
        "image": _image(job.get("image")),
        "services": [_image(service) for service in job.get("services") or []],
        "artifacts": job.get("artifacts"),
        "cache": [entry for entry in flat(job.get("cache")) if entry],
        "retry": {"max": retry} if isinstance(retry, int) else retry,
        "timeout": durations.seconds(job["timeout"]) if job.get("timeout") is not None else None,
        "dependencies": job.get("dependencies"),
        "environment": {"name": environment} if isinstance(environment, str) else environment,
        "coverage": job.get("coverage"),
    }
    # An empty list of dependencies has a meaning: no artifacts.
    return {key: value for key, value in options.items() if value is not None and (value or key == "dependencies")}


def _image(image: Any) -> dict[str, Any] | None:
    if isinstance(image, str):
        return {"name": image}
    return image if image is None else dict(image)


def _policy(policy: Any) -> dict[str, Any] | None:
    if policy is None or isinstance(policy, dict):
        return policy
    return {"refs": [policy] if isinstance(policy, str) else policy}


def _need(need: Any) -> Need:
    if isinstance(need, dict):
        return Need(str(need.get("job", "")), bool(need.get("artifacts", True)), bool(need.get("optional", False)))
    return Need(str(need))


def _logical_errors(config: CiConfig) -> list[str]:
    errors = []
    stage_of = {job.name: config.stages.index(job.stage) for job in config.jobs if job.stage in config.stages}
    for job in config.jobs:
        if job.stage not in config.stages:
            names = ", ".join(config.stages)
            errors.append(f"{job.name} job: chosen stage {job.stage} does not exist; available stages are {names}")
            continue
        for name in job.options.get("dependencies") or []:
            errors += _order_error(job.name, name, stage_of, "dependency", same_stage=False)
        for need in job.needs or []:
            errors += _order_error(job.name, need.job, stage_of, "need", same_stage=True)
    return errors or _cycle(config)


def _order_error(job: str, other: str, stage_of: dict[str, int], kind: str, *, same_stage: bool) -> list[str]:
    if other not in stage_of:
        return [f"{job} job: undefined {kind}: {other}"]
    if stage_of[other] > stage_of[job] or (stage_of[other] == stage_of[job] and not same_stage):
        where = "current or prior stages" if same_stage else "prior stages"
        return [f"{job} job: {kind} {other} is not defined in {where}"]
    return []


def _cycle(config: CiConfig) -> list[str]:
    needs = {job.name: [need.job for need in job.needs or []] for job in config.jobs}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for other in needs.get(name, []):
            if found := visit(other, (*path, name)):
                return found
        done.add(name)
        return []

    for job in config.jobs:
        if found := visit(job.name, ()):
            return [f"The pipeline has circular dependencies: {', '.join(found)}"]
    return []
