"""What a runner gets with a job: the document of contracts C.2."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from lab.emulator.ci.model import Job, Pipeline
from lab.emulator.ci.scope import dependencies
from lab.emulator.ci.store import Store
from lab.emulator.ci.variables import Variable, expanded, values
from lab.emulator.config import Config
from lab.emulator.gitlab.model import Project

FAILURE_REASONS = [
    "unknown_failure", "script_failure", "api_failure", "stuck_or_timeout_failure", "runner_system_failure",
    "runner_unsupported", "job_execution_timeout", "image_pull_failure", "runner_configuration_error",
    "runner_external_dependency_failure", "runner_interrupted", "job_canceled",
]  # fmt: skip
_TOKEN_PREFIXES = ["glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glft-", "glimt-", "glagent-", "glsoat-", "glffct-"]
_DEFAULT_DEPTH = 20


def payload(config: Config, store: Store, project: Project, job: Job, scope: list[Variable]) -> dict[str, Any]:
    """The job for its runner; ``scope`` are its variables (`scope.Scope.of_job`)."""
    pipeline = store.pipelines[job.pipeline_id]
    variables = expanded(scope)
    options = job.options
    return {
        "id": job.id,
        "token": job.token,
        "allow_git_fetch": project.data.get("build_git_strategy", "fetch") == "fetch",
        "job_info": _job_info(project, pipeline, job),
        "git_info": _git_info(config, project, pipeline, job, values(variables)),
        "runner_info": {"timeout": job.timeout, "runner_session_url": None},
        "inputs": [],
        "variables": [variable.payload() for variable in variables],
        "steps": _steps(job),
        "image": options.get("image"),
        "services": options.get("services") or [],
        "artifacts": _artifacts(options.get("artifacts") or {}),
        "cache": [_cache(entry, pipeline) for entry in options.get("cache") or []],
        "credentials": [
            {"type": "registry", "url": config.registry, "username": "gitlab-ci-token", "password": job.token}
        ],
        "dependencies": [found for found in map(_dependency, dependencies(store, job)) if found],
        "features": {
            "trace_sections": True,
            "token_mask_prefixes": _TOKEN_PREFIXES,
            "failure_reasons": FAILURE_REASONS,
        },
        "secrets": {},
        "hooks": [],
    }


def _job_info(project: Project, pipeline: Pipeline, job: Job) -> dict[str, Any]:
    namespace = (project.data.get("namespace") or {}).get("id", 1)
    waited = (job.started_at or 0) - (job.queued_at or job.started_at or 0)
    return {
        "id": job.id,
        "name": job.name,
        "stage": job.stage,
        "pipeline_id": pipeline.id,
        "project_id": project.id,
        "project_name": project.path_with_namespace.rpartition("/")[2],
        "project_full_path": project.path_with_namespace,
        "namespace_id": namespace,
        "root_namespace_id": namespace,
        "organization_id": 1,
        "instance_id": "00000000-0000-0000-0000-000000000000",
        "instance_uuid": "00000000-0000-0000-0000-000000000000",
        "user_id": job.user.get("id") or 0,
        "time_in_queue_seconds": int(max(waited, 0)),
        "project_jobs_running_on_instance_runners_count": "0",
        "queue_size": 0,
        "queue_depth": 0,
    }


def _git_info(config: Config, project: Project, pipeline: Pipeline, job: Job, known: dict[str, str]) -> dict[str, Any]:
    """Source: GitLab app/presenters/ci/build_runner_presenter.rb, refspecs."""
    url = urlsplit(config.gitlab_url)
    depth = _depth(known.get("GIT_DEPTH"), project)
    branch, tag = (
        ("", "") if depth == 0 else (pipeline.ref if not pipeline.tag else None, pipeline.ref if pipeline.tag else None)
    )
    refspecs = [f"+{persistent_ref(pipeline)}:{persistent_ref(pipeline)}"]
    if branch is not None:
        refspecs.append(f"+refs/heads/{branch or '*'}:refs/remotes/origin/{branch or '*'}")
    if tag is not None:
        refspecs.append(f"+refs/tags/{tag or '*'}:refs/tags/{tag or '*'}")
    return {
        "repo_url": f"{url.scheme}://gitlab-ci-token:{job.token}@{url.netloc}/{project.path_with_namespace}.git",
        "repo_object_format": "sha1",
        "ref": pipeline.ref,
        "sha": pipeline.sha,
        "before_sha": pipeline.before_sha,
        "ref_type": "tag" if pipeline.tag else "branch",
        "refspecs": refspecs,
        "depth": depth,
        "protected": pipeline.protected,
    }


def persistent_ref(pipeline: Pipeline) -> str:
    """The ref that holds a pipeline's commit while its branch may move on or vanish."""
    return f"refs/pipelines/{pipeline.id}"


def _depth(variable: str | None, project: Project) -> int:
    for value in (variable, project.data.get("ci_default_git_depth")):
        if value is not None and str(value).isdigit():
            return int(value)
    return _DEFAULT_DEPTH


def _steps(job: Job) -> list[dict[str, Any]]:
    options = job.options
    steps = [
        {
            "name": "script",
            "script": [*(options.get("before_script") or []), *(options.get("script") or [])],
            "timeout": job.timeout,
            "when": "on_success",
            "allow_failure": False,
        }
    ]
    if options.get("after_script"):
        steps.append(
            {
                "name": "after_script",
                "script": options["after_script"],
                "timeout": job.timeout,
                "when": "always",
                "allow_failure": True,
            }
        )
    return steps


def _artifacts(artifacts: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    if artifacts.get("paths") or artifacts.get("untracked"):
        found.append(
            {
                "name": artifacts.get("name"),
                "untracked": bool(artifacts.get("untracked", False)),
                "paths": artifacts.get("paths"),
                "exclude": artifacts.get("exclude"),
                "when": artifacts.get("when"),
                "expire_in": artifacts.get("expire_in"),
                "artifact_type": "archive",
                "artifact_format": "zip",
            }
        )
    for report, paths in (artifacts.get("reports") or {}).items():
        found.append(
            {
                "name": f".{report}",
                "untracked": False,
                "paths": [paths] if isinstance(paths, str) else paths,
                "when": "always",
                "expire_in": artifacts.get("expire_in"),
                "artifact_type": report,
                "artifact_format": "gzip",
            }
        )
    return found


def _cache(cache: dict[str, Any], pipeline: Pipeline) -> dict[str, Any]:
    """Protected and other refs have caches of their own: the key's suffix tells them apart."""
    suffix = "protected" if pipeline.protected else "non_protected"
    key = cache.get("key") or "default"
    text = key if isinstance(key, str) else f"{key.get('prefix', '')}files"
    return {
        "key": f"{text}-{suffix}" if not cache.get("unprotect") else text,
        "untracked": bool(cache.get("untracked", False)),
        "policy": cache.get("policy") or "pull-push",
        "paths": cache.get("paths") or [],
        "when": cache.get("when") or "on_success",
        "fallback_keys": cache.get("fallback_keys") or [],
    }


def _dependency(job: Job) -> dict[str, Any] | None:
    archive = next((a for a in job.artifacts if a["file_type"] == "archive"), None)
    if archive is None:
        return None
    file = {"filename": archive["filename"], "size": archive["size"]}
    return {"id": job.id, "token": job.token, "name": job.name, "artifacts_file": file}
