"""Predefined variables, as GitLab gives them to rules and to jobs.

Sources: GitLab doc/ci/variables/predefined_variables.md, lib/gitlab/ci/variables/builder.rb.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from lab.emulator.ci.model import Job, Pipeline, Runner
from lab.emulator.ci.variables import Variable
from lab.emulator.config import Config
from lab.emulator.gitlab.model import Project
from lab.emulator.gitlab.paging import iso
from lab.emulator.gitlab.version import REVISION, VERSION

FEATURES = ""
"""Licensed features: a Community Edition has none."""


def server(config: Config) -> list[Variable]:
    """About this GitLab."""
    url = urlsplit(config.gitlab_url)
    major, minor, patch = VERSION.split(".")
    api = f"{config.gitlab_url}/api"
    port = url.port or (443 if url.scheme == "https" else 80)
    return _public(
        CI="true", GITLAB_CI="true", CI_SERVER="yes", CI_SERVER_URL=config.gitlab_url, CI_SERVER_HOST=url.hostname,
        CI_SERVER_FQDN=url.netloc, CI_SERVER_PORT=port, CI_SERVER_PROTOCOL=url.scheme,
        CI_SERVER_SHELL_SSH_HOST=url.hostname,
        CI_SERVER_SHELL_SSH_PORT="22", CI_SERVER_NAME="GitLab", CI_SERVER_VERSION=VERSION,
        CI_SERVER_VERSION_MAJOR=major, CI_SERVER_VERSION_MINOR=minor, CI_SERVER_VERSION_PATCH=patch,
        CI_SERVER_REVISION=REVISION, GITLAB_FEATURES=FEATURES, CI_API_V4_URL=f"{api}/v4",
        CI_API_GRAPHQL_URL=f"{api}/graphql", CI_TEMPLATE_REGISTRY_HOST="registry.gitlab.com",
    )  # fmt: skip


def project(config: Config, found: Project) -> list[Variable]:
    """About the project and its registry."""
    path = found.path_with_namespace
    namespace, _, name = path.rpartition("/")
    data = found.data
    namespace_id = (data.get("namespace") or {}).get("id", "")
    variables = _public(
        CI_PROJECT_ID=found.id, CI_PROJECT_NAME=name, CI_PROJECT_TITLE=data.get("name", name),
        CI_PROJECT_DESCRIPTION=data.get("description") or "", CI_PROJECT_PATH=path, CI_PROJECT_PATH_SLUG=slug(path),
        CI_PROJECT_NAMESPACE=namespace, CI_PROJECT_NAMESPACE_SLUG=slug(namespace), CI_PROJECT_NAMESPACE_ID=namespace_id,
        CI_PROJECT_ROOT_NAMESPACE=path.split("/")[0], CI_PROJECT_URL=f"{config.gitlab_url}/{path}",
        CI_PROJECT_VISIBILITY=data.get("visibility", "private"), CI_PROJECT_REPOSITORY_LANGUAGES="",
        CI_PROJECT_CLASSIFICATION_LABEL="", CI_DEFAULT_BRANCH=found.default_branch or "",
        CI_CONFIG_PATH=data.get("ci_config_path") or ".gitlab-ci.yml",
    )  # fmt: skip
    if data.get("container_registry_access_level", "enabled") != "disabled":
        variables += _public(CI_REGISTRY=config.registry, CI_REGISTRY_IMAGE=f"{config.registry}/{path.lower()}")
    return variables


def commit(pipeline: Pipeline) -> list[Variable]:
    """About the commit and the ref."""
    found = pipeline.commit
    message = str(found.get("message", ""))
    title, _, description = message.partition("\n")
    variables = _public(
        CI_COMMIT_SHA=pipeline.sha, CI_COMMIT_SHORT_SHA=pipeline.sha[:8], CI_COMMIT_BEFORE_SHA=pipeline.before_sha,
        CI_COMMIT_REF_NAME=pipeline.ref, CI_COMMIT_REF_SLUG=slug(pipeline.ref), CI_COMMIT_MESSAGE=message,
        CI_COMMIT_TITLE=title, CI_COMMIT_DESCRIPTION=description.lstrip("\n") if len(title) <= 100 else message,
        CI_COMMIT_REF_PROTECTED=str(pipeline.protected).lower(),
        CI_COMMIT_TIMESTAMP=found.get("committed_date") or "",
        CI_COMMIT_AUTHOR=f"{found.get('author_name', '')} <{found.get('author_email', '')}>",
    )  # fmt: skip
    if pipeline.tag:
        return [*variables, *_public(CI_COMMIT_TAG=pipeline.ref, CI_COMMIT_TAG_MESSAGE=found.get("tag_message", ""))]
    return [*variables, *_public(CI_COMMIT_BRANCH=pipeline.ref)]


def pipeline(config: Config, found: Pipeline, path: str) -> list[Variable]:
    """About the pipeline and who caused it."""
    variables = _public(
        CI_PIPELINE_ID=found.id, CI_PIPELINE_IID=found.iid, CI_PIPELINE_SOURCE=found.source,
        CI_PIPELINE_URL=f"{config.gitlab_url}/{path}/-/pipelines/{found.id}", CI_PIPELINE_NAME=found.name or "",
        CI_PIPELINE_CREATED_AT=iso(found.created_at)[:19] + "Z",
    )  # fmt: skip
    if found.source in ("api", "trigger"):
        variables += _public(CI_PIPELINE_TRIGGERED="true") if found.source == "trigger" else []
    return variables


def user(found: Mapping[str, Any]) -> list[Variable]:
    """About who started the job."""
    return _public(
        GITLAB_USER_ID=found.get("id") or "", GITLAB_USER_LOGIN=found.get("username") or "",
        GITLAB_USER_NAME=found.get("name") or "", GITLAB_USER_EMAIL=found.get("email") or "",
    )  # fmt: skip


def job(found: Job, when: str) -> list[Variable]:
    """About a job, as far as rules may see it too (no token, no id)."""
    variables = _public(
        CI_JOB_NAME=found.name, CI_JOB_NAME_SLUG=slug(found.name), CI_JOB_STAGE=found.stage,
        CI_JOB_GROUP_NAME=re.sub(r"([\b\s:]+((\[.*\])|(\d+[\s:\/\\]+\d+))){1,3}\s*\Z", "", found.name).strip(),
        CI_NODE_TOTAL=found.parallel_total or 1,
    )  # fmt: skip
    if found.parallel_index:
        variables += _public(CI_NODE_INDEX=found.parallel_index)
    if when == "manual":
        variables += _public(CI_JOB_MANUAL="true")
    environment = found.options.get("environment")
    if environment:
        variables += _public(CI_ENVIRONMENT_NAME=environment.get("name", ""),
                             CI_ENVIRONMENT_SLUG=slug(environment.get("name", ""), 24),
                             CI_ENVIRONMENT_ACTION="start",
                             CI_ENVIRONMENT_TIER=environment.get("deployment_tier", ""),
                             CI_ENVIRONMENT_URL=environment.get("url", ""))  # fmt: skip
    return variables


def running(config: Config, found: Job, path: str, runner: Runner) -> list[Variable]:
    """What exists only once a runner has taken the job: ids, tokens, the runner."""
    token = found.token
    url = urlsplit(config.gitlab_url)
    repository = f"{url.scheme}://gitlab-ci-token:{token}@{url.netloc}/{path}.git"
    return [
        *_public(
            CI_JOB_ID=found.id, CI_JOB_URL=f"{config.gitlab_url}/{path}/-/jobs/{found.id}",
            CI_JOB_STARTED_AT=iso(found.started_at)[:19] + "Z", CI_JOB_TIMEOUT=found.timeout or 3600,
            CI_REGISTRY_USER="gitlab-ci-token", CI_RUNNER_ID=runner.id, CI_RUNNER_DESCRIPTION=runner.description,
            CI_RUNNER_TAGS=json.dumps(runner.tag_list),
        ),
        Variable("CI_JOB_TOKEN", token, public=False, masked=True),
        Variable("CI_REGISTRY_PASSWORD", token, public=False, masked=True),
        Variable("CI_REPOSITORY_URL", repository, public=False),
        Variable("CI_DEPENDENCY_PROXY_USER", "gitlab-ci-token"),
        Variable("CI_DEPENDENCY_PROXY_PASSWORD", token, public=False, masked=True),
    ]  # fmt: skip


def slug(text: str, longest: int = 63) -> str:
    """Lower case, everything but letters and digits as ``-``, none at the ends, at most 63 characters."""
    return re.sub(r"[^a-z0-9]", "-", text.lower())[:longest].strip("-")


def _public(**values: object) -> list[Variable]:
    return [Variable(key, "" if value is None else str(value)) for key, value in values.items()]
