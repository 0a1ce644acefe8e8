"""REST: project hooks, their test, their deliveries and resending (contracts B.14)."""

from __future__ import annotations

import re
import time
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

from aiohttp import web

from lab.emulator.gitlab.hooks import TRIGGERS, Hook
from lab.emulator.gitlab.local_network import BlockedError
from lab.emulator.gitlab.model import MAINTAINER, ApiError, Caller, Project
from lab.emulator.gitlab.paging import page
from lab.emulator.gitlab.parameters import Parameters

if TYPE_CHECKING:
    from lab.emulator.gitlab.server import GitLab

SENDABLE = {"push_events": ("push_hooks", "Push Hook"), "tag_push_events": ("tag_push_hooks", "Tag Push Hook")}
_LIMIT, _WINDOW = 5, 60.0  # tests and resends that a user may ask for in a project in a minute
_STRATEGIES = ("wildcard", "regex", "all_branches")
_OK, _CLIENT, _SERVER = range(200, 300), range(400, 500), range(500, 600)
_STATUS_GROUPS = {"successful": _OK, "client_failure": _CLIENT, "server_failure": _SERVER}


class HooksApi:
    """The routes; maintainers only."""

    def __init__(self, gitlab: GitLab) -> None:
        self._gitlab = gitlab
        self._asked: defaultdict[tuple[str, int, str], deque[float]] = defaultdict(deque)
        router, base = gitlab.app.router, "/api/v4/projects/{id}/hooks"
        router.add_get(base, self.index)
        router.add_post(base, self.create)
        router.add_get(f"{base}/{{hook}}", self.show)
        router.add_put(f"{base}/{{hook}}", self.update)
        router.add_delete(f"{base}/{{hook}}", self.delete)
        router.add_post(f"{base}/{{hook}}/test/{{trigger}}", self.test)
        router.add_get(f"{base}/{{hook}}/events", self.events)
        router.add_post(f"{base}/{{hook}}/events/{{event}}/resend", self.resend)
        router.add_put(f"{base}/{{hook}}/custom_headers/{{key}}", self.put_header)
        router.add_delete(f"{base}/{{hook}}/custom_headers/{{key}}", self.delete_header)
        router.add_put(f"{base}/{{hook}}/url_variables/{{key}}", self.put_variable)
        router.add_delete(f"{base}/{{hook}}/url_variables/{{key}}", self.delete_variable)

    async def index(self, request: web.Request) -> web.Response:
        """``GET /projects/:id/hooks``."""
        _, project = self._gitlab.access.project(request, MAINTAINER)
        return page(request, self._gitlab.hooks.of(project.id), Hook.shown)

    async def create(self, request: web.Request) -> web.Response:
        """``POST /projects/:id/hooks``."""
        _, project = self._gitlab.access.project(request, MAINTAINER)
        given = await Parameters.of(request)
        given.require("url")
        hook = self._gitlab.hooks.create(project.id, given.text("url"))
        hook.triggers = {"push_events": True}
        await self._change(hook, given)
        return web.json_response(hook.shown(), status=201)

    async def show(self, request: web.Request) -> web.Response:
        """``GET /projects/:id/hooks/:hook_id``."""
        _, _, hook = self._hook(request)
        return web.json_response(hook.shown())

    async def update(self, request: web.Request) -> web.Response:
        """``PUT /projects/:id/hooks/:hook_id``; another address clears the token unless it is sent again."""
        _, _, hook = self._hook(request)
        given = await Parameters.of(request)
        if not given.values:
            raise ApiError(400, {"error": "No parameters provided"})
        if "url" in given and given.text("url") != hook.url:
            hook.url, hook.token, hook.signing_token, hook.url_variables = given.text("url"), "", "", {}
        await self._change(hook, given)
        return web.json_response(hook.shown())

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE /projects/:id/hooks/:hook_id``."""
        _, _, hook = self._hook(request)
        self._gitlab.hooks.remove(hook)
        return web.Response(status=204)

    async def test(self, request: web.Request) -> web.Response:
        """``POST .../test/:trigger``: sends at once; 201 only for an answer of 200 to 299."""
        caller, project, hook = self._hook(request)
        trigger = request.match_info["trigger"]
        if trigger not in TRIGGERS:
            raise ApiError(400, {"error": "trigger does not have a valid value"})
        self._limit("test", project, caller)
        if trigger not in SENDABLE:
            raise ApiError.message(422, f"not emulated: test of {trigger}")
        branch = project.default_branch
        if branch is None:
            raise ApiError.message(422, "Ensure the project has at least one commit.")
        payload = await self._gitlab.deliveries.sample(project, branch, caller.user_id or 0)
        event = await self._gitlab.deliveries.send(hook, *SENDABLE[trigger], payload)
        if event["response_status"].isdigit() and int(event["response_status"]) in _OK:
            return web.json_response({"message": "201 Created"}, status=201)
        raise ApiError.message(422, event["error"] or event["response_body"])

    async def events(self, request: web.Request) -> web.Response:
        """``GET .../events``: deliveries, newest first, at most 20 on a page."""
        _, _, hook = self._hook(request)
        given = await Parameters.of(request)
        if (given.integer("per_page") or 20) > 20:
            raise ApiError(400, {"error": "per_page does not have a valid value"})
        codes = _codes(given)
        rows = self._gitlab.hooks.event_ids(hook)
        if codes is not None:
            rows = [key for key in rows if self._event(hook, key)["response_status"] in codes]
        return page(request, rows, lambda key: _event_shown(self._event(hook, key)))

    async def resend(self, request: web.Request) -> web.Response:
        """``POST .../events/:event_id/resend``."""
        caller, project, hook = self._hook(request)
        self._limit("resend", project, caller)
        number = request.match_info["event"]
        event = self._event(hook, int(number) if number.isdigit() else 0)
        name = next(name for trigger, name in SENDABLE.values() if trigger == event["trigger"])
        key = event["request_headers"]["Idempotency-Key"]
        sent = await self._gitlab.deliveries.send(hook, event["trigger"], name, event["request_data"], key=key)
        if sent["error"]:
            raise ApiError.message(422, sent["error"])
        return web.json_response({"response_status": int(sent["response_status"])}, status=201)

    async def put_header(self, request: web.Request) -> web.Response:
        """``PUT .../custom_headers/:key``."""
        return await self._put_pair(request, "custom_headers")

    async def delete_header(self, request: web.Request) -> web.Response:
        """``DELETE .../custom_headers/:key``."""
        return self._delete_pair(request, "custom_headers")

    async def put_variable(self, request: web.Request) -> web.Response:
        """``PUT .../url_variables/:key``."""
        return await self._put_pair(request, "url_variables")

    async def delete_variable(self, request: web.Request) -> web.Response:
        """``DELETE .../url_variables/:key``."""
        return self._delete_pair(request, "url_variables")

    async def _put_pair(self, request: web.Request, attribute: str) -> web.Response:
        _, _, hook = self._hook(request)
        given = await Parameters.of(request)
        given.require("value")
        getattr(hook, attribute)[request.match_info["key"]] = given.text("value")
        self._gitlab.hooks.save(hook)
        return web.Response(status=204)

    def _delete_pair(self, request: web.Request, attribute: str) -> web.Response:
        _, _, hook = self._hook(request)
        if getattr(hook, attribute).pop(request.match_info["key"], None) is None:
            raise ApiError.not_found("Key")
        self._gitlab.hooks.save(hook)
        return web.Response(status=204)

    async def _change(self, hook: Hook, given: Parameters) -> None:
        """Take the given attributes over, check the result, and store it."""
        if given.text("custom_webhook_template"):
            raise ApiError(422, {"error": "not emulated: custom_webhook_template"})
        for name in ("token", "signing_token", "push_events_branch_filter", "name", "description"):
            if name in given:
                setattr(hook, name, given.text(name))
        if "branch_filter_strategy" in given:
            hook.branch_filter_strategy = given.choice("branch_filter_strategy", _STRATEGIES)
        if "enable_ssl_verification" in given:
            hook.enable_ssl_verification = given.boolean("enable_ssl_verification")
        hook.triggers |= {name: given.boolean(name) for name in TRIGGERS if name in given}
        for name in ("custom_headers", "url_variables"):
            if name in given:
                setattr(hook, name, _pairs(given.get(name), name))
        _check_filter(hook)
        try:
            await self._gitlab.deliveries.blocker.check(hook.target, must_resolve=False)
        except BlockedError:
            raise ApiError(422, {"error": "Invalid url given"}) from None
        self._gitlab.hooks.save(hook)

    def _event(self, hook: Hook, number: int) -> dict[str, Any]:
        event = self._gitlab.hooks.event(hook, number)
        if event is None:
            raise ApiError.message(404, "404 Not found")
        return event

    def _hook(self, request: web.Request) -> tuple[Caller, Project, Hook]:
        caller, project = self._gitlab.access.project(request, MAINTAINER)
        number = request.match_info["hook"]
        hook = self._gitlab.hooks.get(project.id, int(number)) if number.isdigit() else None
        if hook is None:
            raise ApiError.message(404, "404 Not found")
        return caller, project, hook

    def _limit(self, what: str, project: Project, caller: Caller) -> None:
        now, asked = time.monotonic(), self._asked[what, project.id, caller.username]
        while asked and asked[0] < now - _WINDOW:
            asked.popleft()
        if len(asked) >= _LIMIT:
            text = "This endpoint has been requested too many times. Try again later."
            raise ApiError(429, {"message": {"error": text}})
        asked.append(now)


def _check_filter(hook: Hook) -> None:
    pattern = hook.push_events_branch_filter
    try:
        broken = hook.branch_filter_strategy == "regex" and not re.compile(pattern)
    except re.error:
        broken = True
    if broken or (hook.branch_filter_strategy == "wildcard" and re.search(r"[\s~^:?\[\\]|\.\.", pattern)):
        raise ApiError(422, {"error": "Invalid branch filter given"})


def _pairs(value: Any, name: str) -> dict[str, str]:
    if not isinstance(value, list) or not all(isinstance(item, dict) and "key" in item for item in value):
        raise ApiError(400, {"error": f"{name} is invalid"})
    if len(value) > 20:
        raise ApiError(422, {"error": "Custom headers validation failed: must be no more than 20"})
    return {str(item["key"]): str(item.get("value", "")) for item in value}


def _codes(given: Parameters) -> set[str] | None:
    """The response statuses that the filter ``status`` lets through, None without a filter."""
    wanted = given.strings("status")
    if not wanted:
        return None
    codes = {"internal error"} if "server_failure" in wanted else set()
    for entry in wanted:
        if entry not in _STATUS_GROUPS and not entry.isdigit():
            raise ApiError(400, {"error": "status has an invalid value"})
        codes |= {str(code) for code in _STATUS_GROUPS.get(entry, [entry])}
    return codes


def _event_shown(event: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key != "time"}
