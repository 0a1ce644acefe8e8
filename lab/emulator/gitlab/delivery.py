"""Sends webhooks and records what came back (contracts B.14)."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import re
import time
import uuid
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

from aiohttp import ClientError, ClientSession, ClientTimeout

from lab.emulator.gitlab.hooks import Hook
from lab.emulator.gitlab.journal import Journal
from lab.emulator.gitlab.local_network import BlockedError, UrlBlocker
from lab.emulator.gitlab.model import ZERO_SHA, Caller, Project, Push
from lab.emulator.gitlab.payload import push_payload
from lab.emulator.gitlab.protection import matches
from lab.emulator.gitlab.version import VERSION

if TYPE_CHECKING:
    from lab.emulator.gitlab.server import GitLab

log = logging.getLogger(__name__)

TIMEOUT = 10.0
"""Seconds that a target has to answer (``webhook_timeout``)."""
LARGEST_ANSWER = 8192
"""Bytes of an answer that are kept in the log."""
INTERNAL_ERROR = "internal error"


class Deliveries:
    """Decides which hooks a push fires, and sends them."""

    def __init__(self, gitlab: GitLab) -> None:
        self._gitlab = gitlab
        self.blocker = UrlBlocker(gitlab.settings, gitlab.config.gitlab_url)
        self._journal = Journal(gitlab.database, gitlab.projects, "gitlab.hook_jobs")
        self._session: ClientSession | None = None

    def recover(self) -> None:
        """Send what was not sent when the process was killed."""
        for entry, pushes, body in self._journal.left():
            hooks = [hook for push in pushes for hook in self._gitlab.hooks.of(push.project.id)]
            self._start(entry, pushes, [hook for hook in hooks if hook.id in body["hooks"]])

    async def stop(self) -> None:
        """Close connections."""
        if self._session:
            await self._session.close()

    def pushed(self, pushes: list[Push]) -> None:
        """Fire the hooks of a push in the background; more refs of one sort than the limit fire none."""
        if not pushes or self._gitlab.settings.get("silent_mode_enabled"):
            return
        limit = int(self._gitlab.settings.get("push_event_hooks_limit"))
        groups: dict[tuple[bool, str], list[Push]] = {}
        for push in pushes:
            groups.setdefault((push.branch is None, _change(push)), []).append(push)
        for group in groups.values():
            if len(group) > limit:
                log.info("a push moved %s refs of one sort: no webhooks (limit %s)", len(group), limit)
                continue
            for push in group:
                if hooks := [hook for hook in self._gitlab.hooks.of(push.project.id) if _wants(hook, push)]:
                    entry = self._journal.note([push], hooks=[hook.id for hook in hooks])
                    self._start(entry, [push], hooks)

    async def send(
        self, hook: Hook, trigger: str, name: str, payload: dict[str, Any], *, key: str = ""
    ) -> dict[str, Any]:
        """Post ``payload`` to the hook and record the delivery; ``name`` is the event's ("Push Hook").

        Never raises for what the target does: the recorded event says it. ``error`` in the answer holds the reason
        behind ``internal error``, which the API does not show.
        """
        body = json.dumps(payload, separators=(",", ":")).encode()
        headers = self._headers(hook, name, key or str(uuid.uuid4()), body)
        began = time.monotonic()
        status, answer, error = INTERNAL_ERROR, "", ""
        answer_headers: dict[str, str] = {}
        try:
            await self.blocker.check(hook.target, must_resolve=True)
            status, answer_headers, answer = await asyncio.wait_for(self._post(hook, headers, body), TIMEOUT)
        except BlockedError as reason:
            error = f"URL is blocked: {reason}"
        except (asyncio.TimeoutError, ClientError, OSError, ValueError) as reason:
            error = str(reason) or f"no answer within {TIMEOUT:.0f} s"
        event = {
            "url": hook.url,
            "trigger": trigger,
            "request_headers": {**headers, **_redacted(hook)},
            "request_data": payload,
            "response_headers": answer_headers,
            "response_body": answer,
            "execution_duration": round(time.monotonic() - began, 6),
            "response_status": status,
        }
        if error:
            log.warning("webhook %s to %s: %s", hook.id, hook.url, error)
        if self._gitlab.hooks.get(hook.project_id, hook.id):
            event = self._gitlab.hooks.record(hook, event)
        return {**event, "error": error}

    async def sample(self, project: Project, branch: str, user_id: int) -> dict[str, Any]:
        """The payload of a test: the last commits of a branch, as if pushed."""
        user = self._gitlab.users.get(user_id)
        head = f"refs/heads/{branch}"
        recent = await self._gitlab.repositories.log(project, "-3", "--first-parent", head)
        before = recent[-1].parents[0] if recent[-1].parents else ZERO_SHA
        caller = Caller("user", user.username if user else "", user_id=user_id)
        return await push_payload(self._gitlab, Push(project, head, before, recent[0].id, caller))

    def _start(self, entry: int, pushes: list[Push], hooks: list[Hook]) -> None:
        self._gitlab.tasks.spawn(self._fire(entry, pushes, hooks), f"webhooks of push {entry}")

    async def _fire(self, entry: int, pushes: list[Push], hooks: list[Hook]) -> None:
        for push in pushes:
            payload = await push_payload(self._gitlab, push)
            name, trigger = ("Push Hook", "push_hooks") if push.branch else ("Tag Push Hook", "tag_push_hooks")
            await asyncio.gather(*(self.send(hook, trigger, name, payload) for hook in hooks))
        self._journal.forget(entry)

    async def _post(self, hook: Hook, headers: dict[str, str], body: bytes) -> tuple[str, dict[str, str], str]:
        if self._session is None:
            self._session = ClientSession(timeout=ClientTimeout(total=TIMEOUT), trust_env=False)
        verify = None if hook.enable_ssl_verification else False
        options: dict[str, Any] = {} if verify is None else {"ssl": verify}
        async with self._session.post(
            hook.target, data=body, headers=headers, allow_redirects=False, **options
        ) as response:
            content = await response.content.read(LARGEST_ANSWER)
            return str(response.status), dict(response.headers), content.decode(errors="replace")

    def _headers(self, hook: Hook, name: str, key: str, body: bytes) -> dict[str, str]:
        event_id, now = str(uuid.uuid4()), str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"GitLab/{VERSION}",
            "Idempotency-Key": key,
            "X-Gitlab-Event": name,
            "X-Gitlab-Webhook-UUID": hook.uuid,
            "X-Gitlab-Instance": self._gitlab.config.gitlab_url,
            "X-Gitlab-Event-UUID": event_id,
            "webhook-id": event_id,
            "webhook-timestamp": now,
        }
        if hook.token:
            headers["X-Gitlab-Token"] = re.sub(r"[\r\n]", "", hook.token)
        if hook.signing_token:
            headers["webhook-signature"] = _signature(hook.signing_token, f"{event_id}.{now}.".encode() + body)
        return {**headers, **hook.custom_headers}


def _change(push: Push) -> str:
    if push.before == ZERO_SHA:
        return "created"
    return "removed" if push.after == ZERO_SHA else "updated"


def _wants(hook: Hook, push: Push) -> bool:
    """Whether the hook listens to this ref."""
    if push.branch is None:
        return hook.triggers.get("tag_push_events", False)
    return hook.triggers.get("push_events", False) and _branch_fits(hook, push.branch)


def _branch_fits(hook: Hook, branch: str) -> bool:
    pattern = hook.push_events_branch_filter
    if hook.branch_filter_strategy == "all_branches" or not pattern:
        return True
    if hook.branch_filter_strategy == "regex":
        return re.search(pattern, branch) is not None
    return matches(pattern, branch)


def _redacted(hook: Hook) -> dict[str, str]:
    """The secret headers as the delivery log shows them."""
    names = [*hook.custom_headers, *(["X-Gitlab-Token"] if hook.token else [])]
    return dict.fromkeys(names, "[REDACTED]")


def _signature(token: str, message: bytes) -> str:
    """The signature of the Standard Webhooks specification, version 1."""
    try:
        secret = b64decode(token.removeprefix("whsec_"), validate=True)
    except ValueError:
        secret = token.encode()
    return "v1," + b64encode(hmac.new(secret, message, hashlib.sha256).digest()).decode()
