"""What a job gets from earlier jobs and leaves for later ones: artifacts over GitLab, caches on this machine."""

from __future__ import annotations

import asyncio
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from lab.emulator.runner import artifacts
from lab.emulator.runner.client import Client
from lab.emulator.runner.environment import Variables
from lab.emulator.runner.trace import Trace


class FilesError(Exception):
    """Artifacts could not be moved; the job fails as a failure of the system."""


@dataclass
class Files:
    """Moves one job's files."""

    payload: dict[str, Any]
    client: Client
    trace: Trace
    variables: Variables
    project: Path
    temporary: Path
    cache: Path

    async def download(self) -> None:
        """Unpack the artifacts of the jobs that this one depends on. Raises `FilesError`."""
        for found in self.payload.get("dependencies") or []:
            self.trace.notice(f"Downloading artifacts for {found['name']} ({found['id']})...")
            archive = self.temporary / f"dependency-{found['id']}.zip"
            try:
                status = await self.client.download(found["id"], found["token"], archive)
                if status != 200:
                    raise FilesError(f"downloading artifacts of job {found['id']}: GitLab answers {status}")
                await asyncio.to_thread(artifacts.unpack_zip, archive, self.project)
            except artifacts.UnsafeArchiveError as error:
                raise FilesError(f"unsafe path in the artifacts of job {found['id']}: {error}") from error
            except (aiohttp.ClientError, asyncio.TimeoutError, zipfile.BadZipFile) as error:
                raise FilesError(f"downloading artifacts of job {found['id']}: {error}") from error

    async def upload(self, entries: list[dict[str, Any]]) -> None:
        """Upload what the entries of the payload's ``artifacts`` name. Raises `FilesError`."""
        for entry in entries:
            self.trace.notice("Uploading artifacts...")
            wanted = {**entry, **{key: self._expanded(entry.get(key)) for key in ("paths", "exclude")}}
            members, notes = await asyncio.to_thread(self._members, wanted)
            for note in notes:
                self.trace.line(note)
            if members:
                await self._upload(entry, members)
            else:
                self.trace.error("ERROR: No files to upload")

    def _members(self, wanted: dict[str, Any]) -> tuple[list[Path], list[str]]:
        """The files, and what to say about each pattern. Runs in a thread: it must not touch the trace."""
        notes = []
        for pattern in wanted["paths"]:
            if count := len(artifacts.files(self.project, {"paths": [pattern]})):
                notes.append(f"{pattern}: found {count} matching artifact files and directories")
            else:
                hint = "Ensure that the artifact path is relative to the working directory"
                notes.append(f"WARNING: {pattern}: no matching files. {hint}")
        return artifacts.files(self.project, wanted), notes

    async def _upload(self, entry: dict[str, Any], members: list[Path]) -> None:
        kind, form = str(entry.get("artifact_type") or "archive"), str(entry.get("artifact_format") or "zip")
        target = self.temporary / f"upload-{kind}"
        if form == "gzip":
            await asyncio.to_thread(artifacts.pack_gzip, members, target)
        else:
            await asyncio.to_thread(artifacts.pack_zip, self.project, members, target)
        name = self.variables.expand(entry.get("name") or "").replace("/", "-") or "artifacts"
        query = {"artifact_format": form, "artifact_type": kind}
        if entry.get("expire_in"):
            query["expire_in"] = str(entry["expire_in"])
        name += ".gz" if form == "gzip" else ".zip"
        try:
            status = await self.client.upload(self.payload["id"], self.payload["token"], target, name, query)
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:
            raise FilesError(f"uploading artifacts: {error}") from error
        if status != 201:
            raise FilesError(f"uploading artifacts: GitLab answers {status}")
        self.trace.line(f'Uploading artifacts as "{kind}" to coordinator... 201 Created')

    async def restore_caches(self) -> None:
        """Unpack each cache that this machine has, the fallback keys' after its own."""
        for cache in self.payload.get("cache") or []:
            if "pull" not in (cache.get("policy") or "pull-push"):
                continue
            self.trace.notice(f"Checking cache for {self.variables.expand(cache['key'])}...")
            keys = [cache["key"], *(cache.get("fallback_keys") or [])]
            archive = next((path for path in map(self._cache_path, keys) if path.is_file()), None)
            if archive is None:
                self.trace.line("WARNING: Cache file does not exist")
                continue
            await asyncio.to_thread(artifacts.unpack_zip, archive, self.project)
            self.trace.notice("Successfully extracted cache")

    async def keep_caches(self, entries: list[dict[str, Any]]) -> None:
        """Store caches for later jobs on this machine."""
        for cache in entries:
            if "push" in (cache.get("policy") or "pull-push"):
                self.trace.line(await asyncio.to_thread(self._keep, cache))

    def _keep(self, cache: dict[str, Any]) -> str:
        """Store one cache; returns what to say about it. Runs in a thread."""
        members = artifacts.files(self.project, {**cache, "paths": self._expanded(cache.get("paths"))})
        key = self.variables.expand(cache["key"])
        if not members:
            return f"WARNING: no files for cache {key}"
        target = self._cache_path(cache["key"])
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(f".{self.payload['id']}")
        artifacts.pack_zip(self.project, members, partial)
        partial.replace(target)
        return f"Created cache {key} of {len(members)} files"

    def _cache_path(self, key: str) -> Path:
        name = "".join(c if c.isalnum() or c in "-_" else f"%{ord(c):x}" for c in self.variables.expand(key))
        return self.cache / f"{name}.zip"

    def _expanded(self, patterns: list[str] | None) -> list[str]:
        return [self.variables.expand(pattern) for pattern in patterns or []]
