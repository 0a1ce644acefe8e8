"""REST: pipelines (contracts B.16)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from lab.emulator.ci.create import RefusedError, Request
from lab.emulator.ci.model import ALIVE, FINISHED, Pipeline
from lab.emulator.gitlab.model import DEVELOPER, OWNER, REPORTER, ApiError, Project
from lab.emulator.gitlab.paging import iso, page
from lab.emulator.gitlab.parameters import Parameters

if TYPE_CHECKING:
    from lab.emulator.ci.server import Ci

_ORDER = {"id": "id", "status": "status", "ref": "ref", "updated_at": "updated_at", "user_id": "user"}
_SCOPES: dict[str, tuple[str, ...]] = {"running": ("running",), "pending": ("pending",), "finished": (
    "success", "failed", "canceled")}  # fmt: skip
_CHOICES = {
    "status": {*ALIVE, *FINISHED, "manual"},
    "source": frozenset(
        """unknown push web trigger schedule api external pipeline chat webide merge_request_event
        external_pull_request_event parent_pipeline ondemand_dast_scan ondemand_dast_validation
        security_orchestration_policy container_registry_push duo_workflow
        pipeline_execution_policy_schedule""".split()  # noqa: SIM905 - words read better than quotes
    ),
    "sort": frozenset({"asc", "desc"}),
}  # fmt: skip
_NO_PERMISSION = (
    "You do not have sufficient permission to run a pipeline on '{}'. "
    "Please select a different branch or contact your administrator for assistance."
)


class PipelinesApi:
    """Routes under ``/projects/:id/pipelines``."""

    def __init__(self, ci: Ci) -> None:
        self._ci = ci
        self._access = ci.gitlab.access
        base = "/api/v4/projects/{id}"
        one = f"{base}/pipelines/{{pipeline:\\d+}}"
        routes = ci.gitlab.app.router
        routes.add_get(f"{base}/pipelines", self.index)
        routes.add_get(f"{base}/pipelines/latest", self.latest)
        routes.add_post(f"{base}/pipeline", self.create)
        routes.add_get(one, self.get)
        routes.add_delete(one, self.delete)
        routes.add_get(f"{one}/variables", self.variables)
        routes.add_get(f"{one}/jobs", self.jobs)
        routes.add_post(f"{one}/retry", self.retry)
        routes.add_post(f"{one}/cancel", self.cancel)

    async def index(self, request: web.Request) -> web.Response:
        """``GET pipelines``."""
        _, project = self._access.project(request, REPORTER)
        rows = self._filtered(self._ci.store.pipelines_of(project.id), request)
        return page(request, rows, lambda found: self._ci.present.pipeline_row(found, project))

    def _filtered(self, rows: list[Pipeline], request: web.Request) -> list[Pipeline]:
        query = request.query
        for name, allowed in _CHOICES.items():
            if name in query and query[name] not in allowed:
                raise ApiError(400, {"error": f"{name} does not have a valid value"})
        for name in ("sha", "ref", "status", "source", "name"):
            if name in query:
                rows = [row for row in rows if getattr(row, name) == query[name]]
        if "username" in query:
            rows = [row for row in rows if row.user.get("username") == query["username"]]
        if "yaml_errors" in query:
            rows = [row for row in rows if bool(row.yaml_errors) == (query["yaml_errors"] == "true")]
        for name, field in (("updated", "updated_at"), ("created", "created_at")):
            if f"{name}_after" in query:
                rows = [row for row in rows if iso(getattr(row, field)) > query[f"{name}_after"]]
            if f"{name}_before" in query:
                rows = [row for row in rows if iso(getattr(row, field)) < query[f"{name}_before"]]
        rows = self._in_scope(rows, query.get("scope"))
        order = query.get("order_by", "id")
        if order not in _ORDER:
            raise ApiError(400, {"error": "order_by does not have a valid value"})
        if order != "id" or query.get("sort") == "asc":
            rows = sorted(rows, key=lambda row: _sort_key(row, order), reverse=query.get("sort", "desc") != "asc")
        return rows

    @staticmethod
    def _in_scope(rows: list[Pipeline], scope: str | None) -> list[Pipeline]:
        if scope is None:
            return rows
        if scope in ("branches", "tags"):
            latest: dict[str, Pipeline] = {}
            for row in rows:
                if row.tag == (scope == "tags"):
                    latest.setdefault(row.ref, row)
            return list(latest.values())
        if scope not in _SCOPES:
            raise ApiError(400, {"error": "scope does not have a valid value"})
        return [row for row in rows if row.status in _SCOPES[scope]]

    async def latest(self, request: web.Request) -> web.Response:
        """``GET pipelines/latest``: of the ref's newest commit; 403 when there is none (contracts B.16)."""
        _, project = self._access.project(request, REPORTER)
        ref = request.query.get("ref") or project.default_branch or ""
        sha = await self._ci.gitlab.repositories.resolve(project, ref)
        rows = [p for p in self._ci.store.pipelines_of(project.id) if p.ref == ref and p.sha == sha]
        if not rows:
            raise ApiError.message(403, "403 Forbidden")
        return web.json_response(self._ci.present.pipeline(rows[0], project))

    async def create(self, request: web.Request) -> web.Response:
        """``POST pipeline``: a pipeline for a ref's newest commit."""
        caller, project = self._access.project(request, DEVELOPER)
        body = await Parameters.of(request)
        body.require("ref")
        if body.get("inputs"):
            raise ApiError(400, {"message": {"base": ["not emulated: inputs"]}})
        ref = body.text("ref")
        name = ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
        repositories = self._ci.gitlab.repositories
        sha = await repositories.resolve(project, f"refs/heads/{name}")
        tag = sha is None
        sha = sha or await repositories.resolve(project, f"refs/tags/{name}")
        if sha is None:
            raise ApiError(400, {"message": {"base": ["Reference not found"]}})
        protected = self._ci.protected(project, name, tag=tag)
        if protected and not self._ci.may_run_on(caller, project, name):
            raise ApiError(400, {"message": {"base": [_NO_PERMISSION.format(name)]}})
        wanted = Request(
            name, tag, sha, "api", self._ci.user(caller), variables=_variables(body.get("variables")),
            protected=protected,
        )  # fmt: skip
        try:
            pipeline = await self._ci.creator.create(project, wanted)
        except RefusedError as error:
            raise ApiError(400, {"message": {"base": error.errors}}) from error
        return web.json_response(self._ci.present.pipeline(pipeline, project), status=201)

    async def get(self, request: web.Request) -> web.Response:
        """``GET pipelines/:id``."""
        _, project = self._access.project(request, REPORTER)
        return web.json_response(self._ci.present.pipeline(self._one(request, project), project))

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE pipelines/:id`` (owner)."""
        _, project = self._access.project(request, OWNER)
        self._ci.store.delete_pipeline(self._one(request, project))
        return web.Response(status=204)

    async def variables(self, request: web.Request) -> web.Response:
        """``GET pipelines/:id/variables``: those the pipeline was given."""
        _, project = self._access.project(request, DEVELOPER)
        rows = self._one(request, project).variables
        return web.json_response([{"variable_type": "env_var", "raw": False, **row} for row in rows])

    async def jobs(self, request: web.Request) -> web.Response:
        """``GET pipelines/:id/jobs``."""
        _, project = self._access.project(request, REPORTER)
        pipeline = self._one(request, project)
        retried = request.query.get("include_retried") == "true"
        rows = in_scope(self._ci.store.jobs_of(pipeline.id, retried=retried), request)
        return page(request, rows[::-1], lambda found: self._ci.present.job(found, project))

    async def retry(self, request: web.Request) -> web.Response:
        """``POST pipelines/:id/retry``: the failed and canceled jobs again."""
        caller, project = self._access.project(request, DEVELOPER)
        pipeline = self._one(request, project)
        self._ci.engine.retry_pipeline(pipeline, self._ci.user(caller))
        return web.json_response(self._ci.present.pipeline(pipeline, project), status=201)

    async def cancel(self, request: web.Request) -> web.Response:
        """``POST pipelines/:id/cancel``."""
        _, project = self._access.project(request, DEVELOPER)
        pipeline = self._one(request, project)
        self._ci.engine.cancel_pipeline(pipeline)
        return web.json_response(self._ci.present.pipeline(pipeline, project))

    def _one(self, request: web.Request, project: Project) -> Pipeline:
        pipeline = self._ci.store.pipelines.get(int(request.match_info["pipeline"]))
        if pipeline is None or pipeline.project_id != project.id:
            raise ApiError.not_found("Pipeline")
        return pipeline


def in_scope(jobs: list[Any], request: web.Request) -> list[Any]:
    """Jobs with one of the statuses in ``scope`` or ``scope[]``; all without it."""
    wanted = request.query.getall("scope[]", []) or request.query.getall("scope", [])
    allowed = ("created", "waiting_for_resource", "preparing", "pending", "running", "success", "failed", "canceling",
               "canceled", "skipped", "manual", "scheduled", "waiting_for_callback")  # fmt: skip
    if any(name not in allowed for name in wanted):
        raise ApiError(400, {"error": "scope does not have a valid value"})
    return [job for job in jobs if not wanted or job.status in wanted]


def _sort_key(row: Pipeline, order: str) -> Any:
    return row.user.get("id") or 0 if order == "user_id" else getattr(row, order)


def _variables(rows: Any) -> list[dict[str, Any]]:
    if rows is None:
        return []
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "key" in row for row in rows):
        raise ApiError(400, {"error": "variables is invalid"})
    return [{"key": str(row["key"]), "value": str(row.get("value", "")),
             "variable_type": row.get("variable_type") or "env_var"} for row in rows]  # fmt: skip
