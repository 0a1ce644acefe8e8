"""Which pending job a runner gets, and how runners wait for one."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

from lab.emulator.ci.model import Job, Runner
from lab.emulator.ci.store import Store

SharedRunners = Callable[[int], bool]


class Queue:
    """Pending jobs; a change wakes every runner that waits.

    ``value`` is what `X-GitLab-Last-Update` carries: a runner that sends the present value back has seen this queue.
    """

    def __init__(self, store: Store, shared_runners: SharedRunners) -> None:
        self._store = store
        self._shared_runners = shared_runners
        self._waiting: set[asyncio.Future[None]] = set()
        self._epoch = secrets.token_hex(8)
        self._tick = 0

    @property
    def value(self) -> str:
        """Changes whenever there may be something new for a runner."""
        return f"{self._epoch}-{self._tick}"

    def changed(self) -> None:
        """Wake everybody who waits."""
        self._tick += 1
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def wait(self, seconds: float) -> bool:
        """Wait for a change; returns whether there was one."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            done, _ = await asyncio.wait({future}, timeout=seconds)
        finally:
            self._waiting.discard(future)
        return bool(done)

    def pick(self, runner: Runner) -> Job | None:
        """The oldest pending job that ``runner`` may run; it stays pending."""
        return next((job for job in self._store.alive() if job.status == "pending" and self.fits(runner, job)), None)

    def fits(self, runner: Runner, job: Job) -> bool:
        """Whether ``runner`` may run ``job``: kind, project, tags, protection."""
        if runner.paused or not self._serves(runner, job.project_id):
            return False
        if runner.access_level == "ref_protected" and not self._store.pipelines[job.pipeline_id].protected:
            return False
        return set(job.tag_list) <= set(runner.tag_list) if job.tag_list else runner.run_untagged

    def _serves(self, runner: Runner, project_id: int) -> bool:
        if runner.runner_type == "project_type":
            return project_id in runner.project_ids
        return self._shared_runners(project_id)
