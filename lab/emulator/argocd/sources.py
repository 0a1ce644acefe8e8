"""From an Application's source to the objects it describes, with the caches that keep a resting app cheap."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from lab.emulator.argocd import manifests
from lab.emulator.argocd.cluster import NAMESPACE, Cluster
from lab.emulator.argocd.credentials import Repository, find
from lab.emulator.argocd.errors import SourceError
from lab.emulator.argocd.git import Git


@dataclass(frozen=True)
class Rendered:
    """The objects of a source at one commit."""

    revision: str
    source_type: str
    objects: list[dict[str, Any]]


class Sources:
    """Resolves revisions and renders sources; one rendering per Application is remembered."""

    def __init__(self, cluster: Cluster, git: Git) -> None:
        self._cluster = cluster
        self._git = git
        self._rendered: dict[str, tuple[str, Rendered]] = {}

    def forget(self, application: str) -> None:
        """Drop what is remembered of an Application."""
        self._rendered.pop(application, None)

    def repository(self, url: str) -> Repository:
        """The repository at ``url`` with the login that belongs to it."""
        return find(self._cluster.secrets(NAMESPACE), url)

    async def render(self, application: str, source: dict[str, Any], revision: str, *, fresh: bool = False) -> Rendered:
        """The objects of ``source`` at ``revision`` (a branch, tag or SHA). ``fresh`` ignores what is remembered.

        Raises:
            SourceError: the repository, the revision, the folder or a file is not as it should be.
        """
        repository = self.repository(str(source.get("repoURL") or ""))
        commit = await self._git.resolve(repository, revision)
        cache_key = json.dumps([commit, source], sort_keys=True)
        known = self._rendered.get(application)
        if known and known[0] == cache_key and not fresh:
            return known[1]
        if source.get("chart"):
            raise SourceError("not emulated: Helm charts; use a folder of manifests")
        files = await self._git.files(repository, commit, str(source.get("path") or "."))
        kind = manifests.source_type(source, files)
        if kind != "Directory":
            raise SourceError(f"not emulated: source type {kind}; use a folder of manifests")
        directory = source.get("directory") or {}
        if directory.get("jsonnet"):
            raise SourceError("not emulated: jsonnet")
        rendered = Rendered(commit, kind, manifests.load(files, directory))
        self._rendered[application] = (cache_key, rendered)
        return rendered
