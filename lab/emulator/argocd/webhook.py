"""The webhook receiver: checks a GitLab hook and refreshes the Applications it concerns (contracts F.4, F.5)."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from lab.emulator.argocd import matching
from lab.emulator.argocd.cluster import NAMESPACE, Cluster
from lab.emulator.argocd.credentials import values
from lab.emulator.argocd.logs import Log
from lab.emulator.argocd.objects import annotations_of

PATHS = "argocd.argoproj.io/manifest-generate-paths"
REFRESH = "argocd.argoproj.io/refresh"
SECRET_KEY = "webhook.gitlab.secret"  # noqa: S105 - the name of the key, not a secret
_EVENTS = ("Push Hook", "Tag Push Hook", "System Hook")
_OTHER_SENDERS = {
    "X-Vss-Activityid": "Azure DevOps",
    "X-Gogs-Event": "Gogs",
    "X-GitHub-Event": "GitHub",
    "X-Hook-UUID": "Bitbucket",
    "X-Event-Key": "Bitbucket Server",
}
_MEGABYTE = 1024 * 1024


class Webhook:
    """Handles ``/api/webhook``; ``refresh`` is told the name of each Application that a push concerns."""

    def __init__(self, cluster: Cluster, log: Log, refresh: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._log = log
        self._refresh = refresh
        self._away_until = 0.0

    def away_for(self, seconds: float) -> None:
        """Answer nothing but 502 for a while."""
        self._away_until = time.monotonic() + seconds

    async def handle(self, request: web.Request) -> web.Response:
        """Answer as argocd-server does; 200 means only that the event was understood."""
        if time.monotonic() < self._away_until:
            return _refused(502, "Bad Gateway")
        for header, sender in _OTHER_SENDERS.items():
            if header in request.headers:
                return _refused(400, f"not emulated: webhooks of {sender}")
        if not request.headers.get("X-Gitlab-Event"):
            return _refused(400, "Unknown webhook event")
        if request.method != "POST":
            self._log.info("Webhook processing failed: invalid HTTP Method")
            return _refused(405, "Webhook processing failed")
        if not self._token_matches(request.headers.get("X-Gitlab-Token", "")):
            self._log.info("GitLab webhook token verification failed", security=3)
            return self._failed("X-Gitlab-Token validation failed")
        limit = self._limit()
        body = await _read(request, limit * _MEGABYTE)
        if not body:
            self._log.warning(
                f"Webhook processing failed: payload too large or corrupted (limit {limit} MB)", security=3
            )
            return _refused(400, f"Webhook processing failed: payload must be valid JSON under {limit} MB")
        return self._event(request.headers["X-Gitlab-Event"], body)

    def _event(self, event: str, body: bytes) -> web.Response:
        if event not in _EVENTS:
            return self._failed("event not defined to be parsed")
        try:
            payload = json.loads(body)
        except ValueError as error:
            return self._failed(str(error))
        if not isinstance(payload, dict):
            return self._failed("json: cannot unmarshal into Go value of type gitlab.PushEventPayload")
        kind = payload.get("event_name") or payload.get("object_kind")
        if event == "System Hook" and kind not in ("push", "tag_push"):
            return self._failed(f"unknown system hook event {kind}")
        self.received(payload)
        return web.Response(status=200)

    def _failed(self, reason: str) -> web.Response:
        self._log.info(f"Webhook processing failed: {reason}")
        return _refused(400, "Webhook processing failed")

    def received(self, payload: dict[str, Any]) -> None:
        """Refresh every Application whose source the push touches."""
        project = payload.get("project") or {}
        web_url, revision = str(project.get("web_url") or ""), matching.revision_of(str(payload.get("ref") or ""))
        head = project.get("default_branch") == revision
        changed = [file for commit in payload.get("commits") or [] for file in _files(commit)]
        self._log.info(f"Received push event repo: {web_url}, revision: {revision}, touchedHead: {str(head).lower()}")
        if not web_url:
            return
        pattern = matching.web_url_pattern(web_url)
        for app in self._cluster.applications():
            source = (app.get("spec") or {}).get("source") or {}
            url = str(source.get("repoURL") or "")
            if not matching.revision_touched(str(source.get("targetRevision") or ""), revision, touched_head=head):
                continue
            if not pattern.match(url):
                continue
            paths = matching.refresh_paths(annotations_of(app).get(PATHS, ""), str(source.get("path") or ""))
            if matching.files_touched(paths, changed):
                self._request(app["metadata"]["name"])

    def _request(self, name: str) -> None:
        self._log.info("refreshing app from webhook", application=name)
        self._cluster.annotate_application(name, REFRESH, "normal")
        self._refresh(name)
        self._log.info(f"Requested app '{name}' refresh", application=name)

    def _token_matches(self, given: str) -> bool:
        """Compare digests of the literal values: a line break at the end of the Secret's value counts."""
        wanted = self.secret()
        left, right = hashlib.sha512(given.encode()).digest(), hashlib.sha512(wanted.encode()).digest()
        return hmac.compare_digest(left, right)

    def secret(self) -> str:
        """``webhook.gitlab.secret`` of argocd-secret; ``$key`` and ``$secret:key`` refer to other values."""
        own = values(self._cluster.secret(NAMESPACE, "argocd-secret") or {})
        value = own.get(SECRET_KEY, "")
        if not value.startswith("$"):
            return value
        name, _, key = value[1:].strip().partition(":")
        if not key:
            return own.get(name, "").strip() or value
        return values(self._cluster.secret(NAMESPACE, name) or {}).get(key, value).strip()

    def _limit(self) -> int:
        text = self._cluster.setting("argocd-cm", "webhook.maxPayloadSizeMB") or "50"
        return int(text) if text.isdigit() else 50


async def _read(request: web.Request, limit: int) -> bytes:
    """The body; empty when it is larger than ``limit`` bytes."""
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > limit:
            return b""
    return bytes(body)


def _files(commit: dict[str, Any]) -> list[str]:
    return [str(file) for kind in ("added", "modified", "removed") for file in commit.get(kind) or []]


def _refused(status: int, text: str) -> web.Response:
    """Go's http.Error."""
    return web.Response(status=status, text=text + "\n", headers={"X-Content-Type-Options": "nosniff"})
