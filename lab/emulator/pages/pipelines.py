"""Pages of CI: pipelines, their jobs, and what a job printed."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from aiohttp import web

from lab.emulator.pages.ansi import trace
from lab.emulator.pages.html import Child, Markup, badge, code, element, facts, link, table, took, when
from lab.emulator.pages.site import Place, Site, missing, project_page

_RELOAD = 3
"""Seconds between reloads while something is still running."""
_ENDED = ("success", "failed", "canceled", "skipped", "manual")
_LISTED = 100


class PipelinePages:
    """Reads what CI shows in its API."""

    def __init__(self, site: Site) -> None:
        self._ci = site.ci

    async def pipelines(self, place: Place) -> web.Response:
        """Every pipeline, or the one that the path names."""
        if place.rest:
            return self._pipeline(place)
        rows = [_row(place, pipeline) for pipeline in self._ci.pipelines_of(place.project.id)[:_LISTED]]
        head = ["Pipeline", "Status", "Branch", "Commit", "Started by", "Created", "Took"]
        listed = table(head, rows, empty="No pipeline has run yet.")
        return project_page(place, "Pipelines", "Pipelines", listed, reload=_RELOAD)

    def _pipeline(self, place: Place) -> web.Response:
        found = next((p for p in self._ci.pipelines_of(place.project.id) if str(p["id"]) == place.rest), None)
        if found is None:
            return missing(f"There is no pipeline {place.rest} in {place.project.path_with_namespace}.")
        jobs = self._ci.jobs_of(found["id"])
        pairs: list[tuple[str, Child]] = [
            ("Status", badge(found["status"])),
            ("Branch", found["ref"]),
            ("Commit", _commit(place, found["sha"])),
            ("Started by", found.get("source")),
            ("Created", when(found.get("created_at"))),
            ("Took", took(found.get("duration"))),
        ]
        errors = found.get("yaml_errors")
        problem = element("div", badge("yaml invalid", tone="bad"), " ", errors, class_="note") if errors else None
        reload = None if found["status"] in _ENDED else _RELOAD
        return project_page(
            place, "Pipelines", f"Pipeline #{found['id']}", facts(pairs), problem,
            element("h2", "Jobs"), _stages(place, jobs), reload=reload,
        )  # fmt: skip

    async def jobs(self, place: Place) -> web.Response:
        """One job with its trace, or the jobs of the newest pipelines."""
        number, _, action = place.rest.partition("/")
        if not number:
            return self._list(place)
        found = self._job(place, number)
        if found is None:
            return missing(f"There is no job {number} in {place.project.path_with_namespace}.")
        output = self._ci.trace(found["id"])
        if action == "raw":
            return web.Response(text=output.decode(errors="replace"), headers={"X-Content-Type-Options": "nosniff"})
        return self._shown(place, found, output)

    def _shown(self, place: Place, found: dict[str, Any], output: bytes) -> web.Response:
        pipeline = found["pipeline"]
        runner = found.get("runner") or {}
        pairs: list[tuple[str, Child]] = [
            ("Status", [badge(found["status"]), " ", (found.get("failure_reason") or "").replace("_", " ")]),
            ("Stage", found["stage"]),
            ("Pipeline", link(f"#{pipeline['id']}", f"{place.base}/-/pipelines/{pipeline['id']}")),
            ("Commit", _commit(place, pipeline["sha"])),
            ("Runner", runner.get("description") or (f"#{runner['id']}" if runner else "none yet")),
            ("Started", when(found.get("started_at"))),
            ("Took", took(found.get("duration"))),
        ]
        raw = element("p", link("raw", f"{place.base}/-/jobs/{found['id']}/raw"))
        text = trace(output) if output else element("p", "The job has printed nothing yet.", class_="quiet")
        reload = None if found["status"] in _ENDED else _RELOAD
        return project_page(place, "Pipelines", found["name"], facts(pairs), raw, text, reload=reload)

    def _list(self, place: Place) -> web.Response:
        pipelines = self._ci.pipelines_of(place.project.id)[:20]
        jobs = [job for pipeline in pipelines for job in self._ci.jobs_of(pipeline["id"])]
        rows = [(_job_link(place, job), badge(job["status"]), job["stage"], took(job.get("duration"))) for job in jobs]
        listed = table(["Job", "Status", "Stage", "Took"], rows, empty="No job has run yet.")
        return project_page(place, "Pipelines", "Jobs", listed, reload=_RELOAD)

    def _job(self, place: Place, number: str) -> dict[str, Any] | None:
        return next(
            (
                job
                for pipeline in self._ci.pipelines_of(place.project.id)
                for job in self._ci.jobs_of(pipeline["id"])
                if str(job["id"]) == number
            ),
            None,
        )


def _row(place: Place, pipeline: dict[str, Any]) -> tuple[Child, ...]:
    return (
        link(f"#{pipeline['id']}", f"{place.base}/-/pipelines/{pipeline['id']}"),
        badge(pipeline["status"]),
        pipeline["ref"],
        _commit(place, pipeline["sha"]),
        pipeline.get("source"),
        when(pipeline.get("created_at")),
        took(pipeline.get("duration")),
    )


def _stages(place: Place, jobs: list[dict[str, Any]]) -> Markup:
    columns = []
    for stage, members in groupby(jobs, key=lambda job: job["stage"]):
        lines = [
            element("p", badge(job["status"]), " ", _job_link(place, job), " ", took(job.get("duration")))
            for job in members
        ]
        columns.append(element("section", element("h3", stage), *lines, class_="stage"))
    nothing = element("p", "This pipeline has no jobs.", class_="quiet")
    return element("div", *columns, class_="stages") if columns else nothing


def _job_link(place: Place, job: dict[str, Any]) -> Markup:
    return link(job["name"], f"{place.base}/-/jobs/{job['id']}")


def _commit(place: Place, sha: str) -> Markup:
    return link(code(sha[:8]), f"{place.base}/-/commit/{sha}")
