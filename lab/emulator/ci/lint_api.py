"""REST: ``ci/lint``, which judges a configuration without running it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml
from aiohttp import web

from lab.emulator.ci.create import Checked, RefusedError, Request
from lab.emulator.ci.document import ConfigError
from lab.emulator.gitlab.model import DEVELOPER, ZERO_SHA, ApiError, Caller, Project
from lab.emulator.gitlab.parameters import Parameters

if TYPE_CHECKING:
    from lab.emulator.ci.server import Ci


class LintApi:
    """Routes ``GET`` and ``POST /projects/:id/ci/lint``."""

    def __init__(self, ci: Ci) -> None:
        self._ci = ci
        ci.gitlab.app.router.add_get("/api/v4/projects/{id}/ci/lint", self.existing)
        ci.gitlab.app.router.add_post("/api/v4/projects/{id}/ci/lint", self.content)

    async def existing(self, request: web.Request) -> web.Response:
        """Judge the project's own configuration at a ref."""
        caller, project = self._ci.gitlab.access.project(request, DEVELOPER)
        query = request.query
        ref = query.get("content_ref") or query.get("sha") or query.get("ref") or project.default_branch or "HEAD"
        path = project.data.get("ci_config_path") or ".gitlab-ci.yml"
        body = await self._ci.gitlab.repositories.read(project, ref, path)
        text = "" if body is None else body.decode(errors="replace")
        jobs = query.get("include_jobs") == "true"
        return await self._answer(caller, project, ref, text, include_jobs=jobs)

    async def content(self, request: web.Request) -> web.Response:
        """Judge the configuration that is sent."""
        caller, project = self._ci.gitlab.access.project(request, DEVELOPER)
        body = await Parameters.of(request)
        body.require("content")
        ref = body.text("ref") or project.default_branch or "HEAD"
        text = body.text("content")
        return await self._answer(caller, project, ref, text, include_jobs=body.boolean("include_jobs"))

    async def _answer(
        self, caller: Caller, project: Project, ref: str, text: str, *, include_jobs: bool
    ) -> web.Response:
        answer: dict[str, Any] = {"valid": False, "merged_yaml": None, "errors": [], "warnings": [], "includes": []}
        if not text.strip():
            answer["errors"] = ["Please provide content of .gitlab-ci.yml"]
            return web.json_response(answer)
        try:
            checked = await self._check(caller, project, ref, text)
        except ConfigError as error:
            answer["errors"] = error.errors
        except RefusedError as error:
            answer |= {"valid": True, "warnings": error.errors}
        else:
            merged = yaml.safe_dump(checked.composed, sort_keys=False)
            answer |= {"valid": True, "merged_yaml": f"---\n{merged}"}
            if include_jobs:
                answer["jobs"] = [_job(job.body()) for job in checked.jobs]
        return web.json_response(answer)

    async def _check(self, caller: Caller, project: Project, ref: str, text: str) -> Checked:
        sha = await self._ci.gitlab.repositories.resolve(project, ref)
        if sha is None and ref != "HEAD":
            raise ApiError.not_found("Reference")
        request = Request(ref, tag=False, sha=sha or ZERO_SHA, source="push", user=self._ci.user(caller))
        pipeline = await self._ci.creator.seed(project, request)
        return await self._ci.creator.check(project, pipeline, text)


def _job(job: dict[str, Any]) -> dict[str, Any]:
    options = job["options"]
    return {
        "name": job["name"],
        "stage": job["stage"],
        "before_script": options.get("before_script", []),
        "script": options.get("script", []),
        "after_script": options.get("after_script", []),
        "tag_list": job["tag_list"],
        "when": job["when"],
        "allow_failure": job["allow_failure"],
        "environment": (options.get("environment") or {}).get("name"),
        "needs": job["needs"],
    }
