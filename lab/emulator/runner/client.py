"""The runner protocol, client's side (contracts C.1)."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from lab.emulator.runner.settings import Entry

VERSION, REVISION = "19.3.0", "emulated"
_FEATURES = (
    "variables", "artifacts", "cache", "shared", "upload_multiple_artifacts", "upload_raw_artifacts", "refspecs",
    "masking", "raw_variables", "artifacts_exclude", "multi_build_steps", "trace_reset", "trace_checksum",
    "trace_size", "cancelable", "return_exit_code", "cancel_gracefully",
)  # fmt: skip
_POLL = aiohttp.ClientTimeout(total=90, connect=5)
_CALL = aiohttp.ClientTimeout(total=30, connect=5)
_UPLOAD = aiohttp.ClientTimeout(total=600, connect=5)


@dataclass(frozen=True)
class Answer:
    """What GitLab said about a job: HTTP status, ``Job-Status`` header, and how much of the trace it holds."""

    status: int
    job_status: str = ""
    held: int | None = None


class RefusedError(Exception):
    """GitLab refuses the runner's token."""


class Client:
    """Calls for one ``[[runners]]`` entry. Every call may raise aiohttp.ClientError or asyncio.TimeoutError."""

    def __init__(self, session: aiohttp.ClientSession, entry: Entry, system_id: str) -> None:
        self._session = session
        self._entry = entry
        self._system_id = system_id
        self._api = f"{entry.url}/api/v4"
        self._last_update = ""
        self.news = False
        """Whether the last request for a job told of a changed queue."""

    async def request_job(self) -> dict[str, Any] | None:
        """A job, or None; GitLab holds the request while there is nothing new. Raises `RefusedError`."""
        body = {
            "info": self._info(),
            "token": self._entry.token,
            "system_id": self._system_id,
            "last_update": self._last_update,
        }
        async with self._session.post(f"{self._api}/jobs/request", json=body, timeout=_POLL) as response:
            if response.status == 403:
                raise RefusedError
            update = response.headers.get("X-GitLab-Last-Update", "")
            self.news, self._last_update = update != self._last_update, update
            if response.status != 201:
                await response.read()
                return None
            found: dict[str, Any] = await response.json()
            self._last_update = ""
            return found

    async def append_trace(self, job_id: int, token: str, start: int, data: bytes) -> Answer:
        """Send the trace's bytes from ``start`` on."""
        headers = {
            "JOB-TOKEN": token,
            "Content-Type": "text/plain",
            "Content-Range": f"{start}-{start + len(data) - 1}",
        }
        url = f"{self._api}/jobs/{job_id}/trace"
        async with self._session.patch(url, data=data, headers=headers, timeout=_CALL) as response:
            return _answer(response)

    async def update(self, job_id: int, token: str, **fields: Any) -> Answer:
        """Tell the job's state."""
        body = {"info": self._info(), "token": token, **fields}
        async with self._session.put(f"{self._api}/jobs/{job_id}", json=body, timeout=_CALL) as response:
            return _answer(response)

    async def upload(self, job_id: int, token: str, file: Path, name: str, query: dict[str, str]) -> int:
        """Upload artifacts; returns the HTTP status."""
        url = f"{self._api}/jobs/{job_id}/artifacts"
        with file.open("rb") as stream:
            form = aiohttp.FormData()
            form.add_field("file", stream, filename=name, content_type="application/octet-stream")
            headers = {"JOB-TOKEN": token}
            async with self._session.post(url, data=form, params=query, headers=headers, timeout=_UPLOAD) as response:
                await response.read()
                return response.status

    async def download(self, job_id: int, token: str, target: Path) -> int:
        """Download another job's artifacts into ``target``; returns the HTTP status."""
        url = f"{self._api}/jobs/{job_id}/artifacts"
        async with self._session.get(url, headers={"JOB-TOKEN": token}, timeout=_UPLOAD) as response:
            if response.status == 200:
                with target.open("wb") as file:
                    async for chunk in response.content.iter_chunked(1 << 16):
                        file.write(chunk)
            return response.status

    def _info(self) -> dict[str, Any]:
        return {
            "name": "gitlab-runner",
            "version": VERSION,
            "revision": REVISION,
            "platform": platform.system().lower(),
            "architecture": architecture(),
            "executor": self._entry.executor,
            "shell": "bash",
            "features": dict.fromkeys(_FEATURES, True),
            "config": {"gpus": ""},
        }


def architecture() -> str:
    """The machine's architecture in Go's words."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _answer(response: aiohttp.ClientResponse) -> Answer:
    held = response.headers.get("Range", "").rpartition("-")[2]
    return Answer(response.status, response.headers.get("Job-Status", ""), int(held) if held.isdigit() else None)
