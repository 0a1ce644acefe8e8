"""Pipelines, jobs and runners as they are kept."""

from __future__ import annotations

import secrets
import time
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

FINISHED = ("success", "failed", "canceled", "skipped")
ALIVE = ("created", "waiting_for_resource", "preparing", "pending", "running", "canceling", "manual", "scheduled")
ON_RUNNER = ("running", "canceling")

_T = TypeVar("_T", bound="Document")


def new_token() -> str:
    """A value for CI_JOB_TOKEN."""
    return f"glcbt-64_{secrets.token_urlsafe(15)}"


@dataclass
class Document:
    """Something that is kept as JSON."""

    def body(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)

    @classmethod
    def of(cls: type[_T], body: dict[str, Any]) -> _T:  # noqa: PYI019 - typing.Self is new in 3.11
        """The reverse of `body`; fields that an older version did not know get their defaults."""
        names = {item.name for item in fields(cls)}
        return cls(**{key: value for key, value in body.items() if key in names})


@dataclass
class Pipeline(Document):
    """One run of a configuration for one commit. Times are seconds since the epoch."""

    id: int
    iid: int
    project_id: int
    sha: str
    ref: str
    tag: bool
    before_sha: str
    source: str
    user: dict[str, Any]
    """``id``, ``username``, ``name``, ``email`` of who caused it."""
    commit: dict[str, Any]
    """API form of the commit."""
    status: str = "created"
    created_at: float = field(default_factory=time.time)
    updated_at: float = field(default_factory=time.time)
    started_at: float | None = None
    finished_at: float | None = None
    yaml_errors: str | None = None
    failure_reason: str | None = None
    variables: list[dict[str, Any]] = field(default_factory=list, repr=False)
    """Given by the API or push options: ``key``, ``value``, ``variable_type``, ``raw``."""
    stages: list[str] = field(default_factory=list)
    name: str | None = None
    protected: bool = False
    default_branch: str | None = None
    on_new_commit: str = "conservative"
    auto_canceled_by: int | None = None


@dataclass
class Job(Document):
    """One job of a pipeline."""

    id: int
    pipeline_id: int
    project_id: int
    name: str
    stage: str
    stage_index: int
    options: dict[str, Any]
    """See `config.JobConfig.options`."""
    variables: list[dict[str, Any]]
    """YAML variables as ``key``, ``value``, ``raw``."""
    status: str = "created"
    when: str = "on_success"
    start_in: int | None = None
    allow_failure: bool = False
    allow_failure_codes: list[int] | None = None
    needs: list[dict[str, Any]] | None = None
    tag_list: list[str] = field(default_factory=list)
    resource_group: str | None = None
    interruptible: bool = False
    parallel_index: int | None = None
    parallel_total: int | None = None
    token: str = field(default_factory=new_token, repr=False)
    user: dict[str, Any] = field(default_factory=dict)
    created_at: float = field(default_factory=time.time)
    queued_at: float | None = None
    scheduled_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    erased_at: float | None = None
    failure_reason: str | None = None
    exit_code: int | None = None
    runner_id: int | None = None
    system_id: str | None = None
    cancel_gracefully: bool = False
    timeout: int | None = None
    retried: bool = False
    retries: int = 0
    """How often it was retried by itself."""
    artifacts: list[dict[str, Any]] = field(default_factory=list)
    artifacts_expire_at: float | None = None
    coverage: float | None = None
    """Percent, as the job's ``coverage`` expression finds it in the trace."""
    dotenv: dict[str, str] = field(default_factory=dict, repr=False)
    manual_variables: list[dict[str, Any]] = field(default_factory=list, repr=False)
    auto_canceled_by: int | None = None
    contacted_at: float = 0.0

    @property
    def finished(self) -> bool:
        """Whether its status will not change by itself any more."""
        return self.status in FINISHED


@dataclass
class Runner(Document):
    """A runner as GitLab knows it."""

    id: int
    runner_type: str
    token: str = field(repr=False)
    description: str = ""
    project_ids: list[int] = field(default_factory=list)
    tag_list: list[str] = field(default_factory=list)
    run_untagged: bool = True
    locked: bool = False
    paused: bool = False
    access_level: str = "not_protected"
    maximum_timeout: int | None = None
    maintenance_note: str | None = None
    created_at: float = field(default_factory=time.time)
    created_by: int | None = None
    contacted_at: float | None = None
    managers: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By system id: ``id``, ``version``, ``platform``, ``executor``, ``contacted_at`` ..."""
