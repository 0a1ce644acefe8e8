"""Project hooks and the log of their deliveries (contracts B.14)."""

from __future__ import annotations

import time
import uuid
from dataclasses import asdict, dataclass, field
from typing import Any

from lab.emulator.database import Database
from lab.emulator.gitlab.paging import iso

TRIGGERS = (
    "push_events", "tag_push_events", "issues_events", "confidential_issues_events", "merge_requests_events",
    "note_events", "confidential_note_events", "job_events", "pipeline_events", "wiki_page_events",
    "deployment_events", "feature_flag_events", "releases_events", "milestone_events", "emoji_events",
    "resource_access_token_events", "repository_update_events", "vulnerability_events",
)  # fmt: skip
EVENTS_KEPT = 200
"""Deliveries remembered for each hook; GitLab keeps those of seven days."""
_EVENT_AGE = 7 * 86400
_KIND = "gitlab.hooks"


@dataclass
class Hook:
    """A project's webhook; secrets are kept, since they are sent, but never shown."""

    id: int
    project_id: int
    url: str
    token: str = field(default="", repr=False)
    signing_token: str = field(default="", repr=False)
    name: str | None = None
    description: str | None = None
    triggers: dict[str, bool] = field(default_factory=dict)
    push_events_branch_filter: str = ""
    branch_filter_strategy: str = "wildcard"
    enable_ssl_verification: bool = True
    custom_headers: dict[str, str] = field(default_factory=dict, repr=False)
    url_variables: dict[str, str] = field(default_factory=dict, repr=False)
    created_at: str = ""
    uuid: str = ""

    @property
    def target(self) -> str:
        """The address with its variables (``{name}``) filled in."""
        url = self.url
        for key, value in self.url_variables.items():
            url = url.replace(f"{{{key}}}", value)
        return url

    def shown(self) -> dict[str, Any]:
        """The API form."""
        return {
            "id": self.id,
            "url": self.url,
            "name": self.name,
            "description": self.description,
            "created_at": self.created_at,
            **{name: self.triggers.get(name, False) for name in TRIGGERS},
            "enable_ssl_verification": self.enable_ssl_verification,
            "alert_status": "executable",
            "disabled_until": None,
            "url_variables": [{"key": key} for key in self.url_variables],
            "push_events_branch_filter": self.push_events_branch_filter,
            "branch_filter_strategy": self.branch_filter_strategy,
            "custom_webhook_template": None,
            "custom_headers": [{"key": key} for key in self.custom_headers],
            "project_id": self.project_id,
        }


class Hooks:
    """Every hook, in memory and in the database; deliveries in the database only."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._hooks = {int(key): Hook(**body) for key, body in database.all(_KIND)}
        self._deliveries: dict[int, dict[int, float]] = {}  # per hook: event id -> when, in their order

    def of(self, project_id: int) -> list[Hook]:
        """The hooks of a project, oldest first."""
        return [hook for _, hook in sorted(self._hooks.items()) if hook.project_id == project_id]

    def get(self, project_id: int, hook_id: int) -> Hook | None:
        """A hook of a project."""
        hook = self._hooks.get(hook_id)
        return hook if hook and hook.project_id == project_id else None

    def create(self, project_id: int, url: str) -> Hook:
        """A new hook, not yet saved."""
        hook_id = self._database.next_id(_KIND)
        return Hook(hook_id, project_id, url, created_at=iso(), uuid=str(uuid.uuid4()))

    def save(self, hook: Hook) -> None:
        """Store a new or changed hook."""
        self._hooks[hook.id] = hook
        self._database.put(_KIND, hook.id, asdict(hook))

    def remove(self, hook: Hook) -> None:
        """Drop a hook and its deliveries."""
        self._hooks.pop(hook.id, None)
        with self._database.transaction():
            self._database.delete(_KIND, hook.id)
            for key in self._known(hook):
                self._database.delete(_log(hook), key)
        self._deliveries.pop(hook.id, None)

    def events(self, hook: Hook) -> list[dict[str, Any]]:
        """The deliveries of the last seven days, newest first."""
        return [event for key in self.event_ids(hook) if (event := self.event(hook, key))]

    def event_ids(self, hook: Hook) -> list[int]:
        """Ids of the deliveries of the last seven days, newest first; `event` reads one."""
        oldest = time.time() - _EVENT_AGE
        return [key for key, when in reversed(self._known(hook).items()) if when >= oldest]

    def event(self, hook: Hook, event_id: int) -> dict[str, Any] | None:
        """One delivery."""
        found: dict[str, Any] | None = self._database.get(_log(hook), event_id)
        return found

    def record(self, hook: Hook, event: dict[str, Any]) -> dict[str, Any]:
        """Store a delivery and give it an id; the oldest go when there are too many."""
        stored = {"id": self._database.next_id("gitlab.hook_events"), "time": time.time(), **event}
        with self._database.transaction():
            self._database.put(_log(hook), stored["id"], stored)
            known = self._known(hook)
            known[stored["id"]] = stored["time"]
            while len(known) > EVENTS_KEPT:
                oldest = next(iter(known))
                del known[oldest]
                self._database.delete(_log(hook), oldest)
        return stored

    def _known(self, hook: Hook) -> dict[int, float]:
        """Which deliveries are stored; read once, since their bodies are large."""
        if hook.id not in self._deliveries:
            rows = [(int(key), float(body["time"])) for key, body in self._database.all(_log(hook))]
            self._deliveries[hook.id] = dict(sorted(rows))
        return self._deliveries[hook.id]


def _log(hook: Hook) -> str:
    return f"gitlab.hook_events.{hook.id}"
