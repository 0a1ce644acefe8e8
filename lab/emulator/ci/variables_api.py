"""REST: CI/CD variables of projects, groups and the instance (contracts B.13)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from aiohttp import web

from lab.emulator.ci.store import INSTANCE, Owner
from lab.emulator.gitlab.model import MAINTAINER, OWNER, ApiError
from lab.emulator.gitlab.paging import page
from lab.emulator.gitlab.parameters import Parameters

if TYPE_CHECKING:
    from lab.emulator.ci.server import Ci

_KEY = re.compile(r"[a-zA-Z0-9_]+")
_MASKABLE, _MASKABLE_RAW = re.compile(r"[a-zA-Z0-9_+=/@:.~-]{8,}"), re.compile(r"\S{8,}")
_SEVERAL = "There are multiple variables with provided parameters. Please use 'filter[environment_scope]'"


class VariablesApi:
    """Routes under ``/projects/:id/variables``, ``/groups/:id/variables`` and ``/admin/ci/variables``."""

    def __init__(self, ci: Ci) -> None:
        self._ci = ci
        routes = ci.gitlab.app.router
        for place in ("projects/{id}/variables", "groups/{group}/variables", "admin/ci/variables"):
            base = f"/api/v4/{place}"
            routes.add_get(base, self.index)
            routes.add_post(base, self.create)
            routes.add_get(f"{base}/{{key}}", self.get)
            routes.add_put(f"{base}/{{key}}", self.update)
            routes.add_delete(f"{base}/{{key}}", self.delete)

    async def index(self, request: web.Request) -> web.Response:
        """``GET variables``."""
        owner, rows = self._rows(request)
        return page(request, rows, lambda row: _shown(row, owner))

    async def create(self, request: web.Request) -> web.Response:
        """``POST variables``."""
        owner, rows = self._rows(request)
        body = await Parameters.of(request)
        body.require("key", "value")
        _refuse_foreign(body, owner)
        hidden = body.boolean("masked_and_hidden")
        row = {
            "variable_type": body.choice("variable_type", ("env_var", "file"), "env_var"),
            "key": body.text("key"),
            "value": body.text("value"),
            "hidden": hidden,
            "protected": body.boolean("protected"),
            "masked": hidden or body.boolean("masked"),
            "raw": body.boolean("raw"),
            "environment_scope": body.text("environment_scope", "*") or "*",
            "description": body.get("description"),
        }
        if hidden and body.boolean("masked"):
            raise ApiError(400, {"error": "masked, masked_and_hidden are mutually exclusive"})
        _validate(row, rows)
        self._ci.store.put_variables(owner, [*rows, row])
        return web.json_response(_shown(row, owner), status=201)

    async def get(self, request: web.Request) -> web.Response:
        """``GET variables/:key``."""
        owner, rows = self._rows(request)
        row = _find(rows, request.match_info["key"], await Parameters.of(request))
        return web.json_response(_shown(row, owner))

    async def update(self, request: web.Request) -> web.Response:
        """``PUT variables/:key``."""
        owner, rows = self._rows(request)
        body = await Parameters.of(request)
        _refuse_foreign(body, owner)
        row = _find(rows, request.match_info["key"], body)
        changed = dict(row)
        for name in ("value", "environment_scope", "description"):
            if name in body:
                changed[name] = body.text(name)
        for name in ("protected", "masked", "raw"):
            if name in body:
                changed[name] = body.boolean(name)
        if "variable_type" in body:
            changed["variable_type"] = body.choice("variable_type", ("env_var", "file"))
        if row["hidden"] and not changed["masked"]:
            raise ApiError.message(400, {"masked": ["The visibility of a hidden variable cannot be changed."]})
        others = [other for other in rows if other is not row]
        _validate(changed, others)
        self._ci.store.put_variables(owner, [changed if other is row else other for other in rows])
        return web.json_response(_shown(changed, owner))

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE variables/:key``."""
        owner, rows = self._rows(request)
        row = _find(rows, request.match_info["key"], await Parameters.of(request))
        self._ci.store.put_variables(owner, [other for other in rows if other is not row])
        return web.Response(status=204)

    def _rows(self, request: web.Request) -> tuple[Owner, list[dict[str, Any]]]:
        access = self._ci.gitlab.access
        if "id" in request.match_info:
            owner = Owner("project", access.project(request, MAINTAINER)[1].id)
        elif "group" in request.match_info:
            owner = Owner("group", access.group(request, OWNER).id)
        else:
            access.administrator(request)
            owner = INSTANCE
        return owner, self._ci.store.variables(owner)


def _refuse_foreign(body: Parameters, owner: Owner) -> None:
    """Scopes of group variables take a licence; the instance has neither scopes nor hidden variables."""
    if owner.kind != "project" and body.text("environment_scope", "*") not in {"", "*"}:
        raise ApiError.message(400, f"not emulated: environment_scope of a variable of the {owner.kind}")
    if owner == INSTANCE and body.boolean("masked_and_hidden"):
        raise ApiError.message(400, "not emulated: masked_and_hidden variables of the instance")


def _find(rows: list[dict[str, Any]], key: str, body: Parameters) -> dict[str, Any]:
    chosen = body.get("filter")
    scope = chosen.get("environment_scope") if isinstance(chosen, dict) else None
    found = [row for row in rows if row["key"] == key and scope in (None, row["environment_scope"])]
    if not found:
        raise ApiError.message(404, "404 Variable Not Found")
    if len(found) > 1:
        raise ApiError.message(409, _SEVERAL)
    return found[0]


def _validate(row: dict[str, Any], others: list[dict[str, Any]]) -> None:
    """GitLab app/models/concerns/ci/maskable.rb and app/models/ci/variable.rb. Raises ApiError 400."""
    errors: dict[str, list[str]] = {}
    key, value = row["key"], row["value"]
    if any((other["key"], other["environment_scope"]) == (key, row["environment_scope"]) for other in others):
        errors["key"] = [f"({key}) has already been taken"]
    if len(key) > 255:
        errors.setdefault("key", []).append("is too long (maximum is 255 characters)")
    if not _KEY.fullmatch(key):
        errors.setdefault("key", []).append("can contain only letters, digits and '_'.")
    if row["masked"] and not (_MASKABLE_RAW if row["raw"] else _MASKABLE).fullmatch(value):
        errors["value"] = ["is invalid"]
    if len(value) > 10_000:
        errors.setdefault("value", []).append("The encrypted value of the provided variable exceeds the limit")
    if errors:
        raise ApiError.message(400, errors)


def _shown(row: dict[str, Any], owner: Owner) -> dict[str, Any]:
    """A hidden variable's value is never given out again."""
    if owner == INSTANCE:
        return {key: value for key, value in row.items() if key not in {"hidden", "environment_scope"}}
    return {**row, "value": None} if row["hidden"] else row
