"""Resource groups: one job of a group at a time, in the order that its process mode asks for (contracts B.18)."""

from __future__ import annotations

import time
from typing import Any

from lab.emulator.ci.model import ON_RUNNER, Job
from lab.emulator.ci.store import Store

MODES = ("unordered", "oldest_first", "newest_first", "newest_ready_first")
_UPCOMING = ("created", "scheduled", "waiting_for_resource")


class ResourceGroups:
    """Who holds a group's only resource, and who is next. The holder is found from the jobs' states."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def ensure(self, project_id: int, key: str) -> dict[str, Any]:
        """The group's row; it appears with the first pipeline that names it."""
        groups = self._store.groups(project_id)
        found = next((group for group in groups if group["key"] == key), None)
        if found is None:
            now = time.time()
            found = {"id": self._store.next_id("ci_resource_group"), "key": key, "process_mode": "unordered",
                     "created_at": now, "updated_at": now}  # fmt: skip
            self._store.put_groups(project_id, [*groups, found])
        return found

    def current(self, project_id: int, key: str) -> Job | None:
        """The job that holds the resource."""
        return next(
            (j for j in self._members(project_id, key) if j.status in ("pending", "preparing", *ON_RUNNER)), None
        )

    def next(self, project_id: int, key: str) -> Job | None:
        """The waiting job whose turn it is, when the resource is free."""
        if self.current(project_id, key):
            return None
        upcoming = self.upcoming(project_id, key)
        return upcoming[0] if upcoming and upcoming[0].status == "waiting_for_resource" else None

    def upcoming(self, project_id: int, key: str) -> list[Job]:
        """The jobs that still want the resource, in the order of the process mode.

        GitLab, app/models/ci/resource_group.rb: the ``..._first`` modes also count jobs whose turn in their own
        pipeline has not come, so that a newer pipeline waits for an older one (or the reverse).
        """
        mode = self.ensure(project_id, key)["process_mode"]
        jobs = self._members(project_id, key)
        if mode in ("unordered", "newest_ready_first"):
            jobs = [job for job in jobs if job.status == "waiting_for_resource"]
        else:
            jobs = [job for job in jobs if job.status in _UPCOMING]
        sign = -1 if mode.startswith("newest") else 1
        return sorted(jobs, key=lambda j: (sign * j.pipeline_id, j.status != "waiting_for_resource", j.id))

    def _members(self, project_id: int, key: str) -> list[Job]:
        return [job for job in self._store.alive() if (job.project_id, job.resource_group) == (project_id, key)]
