"""Branches and tags of a remote repository, asked over smart HTTP without a process (go-git's ls-remote)."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field

import aiohttp

from lab.emulator.argocd import semver
from lab.emulator.argocd.credentials import Repository
from lab.emulator.argocd.errors import SourceError

_TIMEOUT = aiohttp.ClientTimeout(total=15, connect=5)
_SHA = re.compile(r"^[0-9A-Fa-f]{40}$")
_SHORT_SHA = re.compile(r"^[0-9A-Fa-f]{7,}$")


@dataclass
class Refs:
    """What a repository advertises, in its order."""

    hashes: dict[str, str] = field(default_factory=dict)
    head: str | None = None
    """The ref that HEAD points to."""

    def resolve(self, revision: str) -> str:
        """The commit that ``revision`` (branch, tag, full ref, HEAD, version range, SHA) names.

        Raises:
            SourceError: there is no such revision.
        """
        if is_sha(revision):
            return revision
        wanted = revision or "HEAD"
        tags = [name.removeprefix("refs/tags/") for name in self.hashes if name.startswith("refs/tags/")]
        wanted = semver.highest(wanted, tags) or wanted
        if wanted == "HEAD" and self.head in self.hashes:
            return self.hashes[self.head]
        for name, commit in self.hashes.items():
            if wanted in (name, re.sub(r"^refs/(heads|tags)/", "", name)):
                return commit
        if _SHORT_SHA.match(wanted):
            raise SourceError(f"not emulated: an abbreviated commit SHA as revision ({wanted})")
        raise SourceError(f"unable to resolve '{wanted}' to a commit SHA: revision not found")


def is_sha(revision: str) -> bool:
    """Whether ``revision`` is a full commit SHA."""
    return _SHA.match(revision) is not None


async def advertised(session: aiohttp.ClientSession, repository: Repository) -> Refs:
    """Ask the repository for its refs.

    Raises:
        SourceError: with go-git's text: no access, no such repository, no connection.
    """
    authorization = repository.authorization()
    headers = {"User-Agent": "git/2.0 (argocd-emulator)"} | ({"Authorization": authorization} if authorization else {})
    url = f"{repository.url.strip().rstrip('/')}/info/refs"
    try:
        async with session.get(
            url,
            params={"service": "git-upload-pack"},
            headers=headers,
            timeout=_TIMEOUT,
            ssl=not repository.insecure,
        ) as response:
            body = await response.read()
            _check(response.status, body)
    except aiohttp.ClientError as error:
        address = f"{url}?service=git-upload-pack"
        raise SourceError(f'failed to list refs: Get "{address}": {_reason(error)}') from None
    except asyncio.TimeoutError:
        raise SourceError(f'failed to list refs: Get "{url}": context deadline exceeded') from None
    return parse(body)


def _check(status: int, body: bytes) -> None:
    if status == 200:
        return
    reason = body[:500].decode(errors="replace").strip()
    known = {401: "authentication required", 403: "authorization failed", 404: "repository not found"}
    text = known.get(status, f"unexpected client error: unexpected requesting status code: {status}")
    raise SourceError(f"failed to list refs: {text}" + (f": {reason}" if reason and status in known else ""))


def _reason(error: aiohttp.ClientError) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error.strerror or str(error.os_error)
        words = "connection refused" if "refused" in cause.lower() or "Connect call failed" in cause else cause
        return f"dial tcp {error.host}:{error.port}: connect: {words}"
    return str(error) or type(error).__name__


def parse(body: bytes) -> Refs:
    """Read a v0 advertisement (pkt-lines, gitprotocol-pack). Raises `SourceError` for anything else."""
    refs = Refs()
    for line in _lines(body):
        text, _, capabilities = line.partition(b"\0")
        if symref := re.search(rb"symref=HEAD:(\S+)", capabilities):
            refs.head = symref[1].decode()
        commit, _, name = text.decode(errors="replace").strip().partition(" ")
        if not is_sha(commit) or name in ("HEAD", "capabilities^{}"):
            continue
        peeled = name.removesuffix("^{}")
        refs.hashes[peeled] = commit
    return refs


def _lines(body: bytes) -> list[bytes]:
    lines, position = [], 0
    while position + 4 <= len(body):
        try:
            size = int(body[position : position + 4], 16)
        except ValueError:
            raise SourceError("failed to list refs: invalid advertisement: not a git server") from None
        if size >= 4:
            lines.append(body[position + 4 : position + size])
        position += max(size, 4)
    return lines
