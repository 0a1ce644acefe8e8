"""Commits and files of remote repositories, through git (the repo server's checkout, without a work tree)."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import posixpath
import shutil
import signal
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver

from lab.emulator.argocd import refs
from lab.emulator.argocd.credentials import Repository
from lab.emulator.argocd.errors import SourceError

_TIMEOUT = 90.0
"""Seconds for one git command (ARGOCD_EXEC_TIMEOUT)."""
Files = dict[str, bytes]


class Git:
    """Fetches commits into bare repositories under ``folder``; they are a cache and are dropped at start."""

    def __init__(self, folder: Path, *, program: str = "git", resolver: AbstractResolver | None = None) -> None:
        """``program`` fetches in place of git, ``resolver`` finds the hosts of repositories."""
        self._folder = folder
        self._program = program
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None
        self._locks: dict[str, asyncio.Lock] = {}

    async def start(self) -> None:
        """Drop what an earlier process fetched (it may have died while writing) and open a client session."""
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Cookies and proxies of the user's environment have no business here.
        connector = aiohttp.TCPConnector(resolver=self._resolver)
        self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    async def stop(self) -> None:
        """Close the client session."""
        if self._session is not None:
            await self._session.close()

    async def resolve(self, repository: Repository, revision: str) -> str:
        """The commit that ``revision`` names now. Raises `SourceError`."""
        if not repository.url.startswith(("http://", "https://")):
            raise SourceError(f"not emulated: git repositories other than http and https ({repository.url})")
        if refs.is_sha(revision):
            return revision
        if self._session is None:
            raise SourceError("context canceled")
        return (await refs.advertised(self._session, repository)).resolve(revision)

    async def files(self, repository: Repository, commit: str, path: str) -> Files:
        """The files below ``path`` at ``commit``, by path relative to it. Raises `SourceError`."""
        folder = _checked(path)
        key = hashlib.sha256(repository.url.encode()).hexdigest()[:16]
        async with self._locks.setdefault(key, asyncio.Lock()):
            store = self._folder / f"{key}.git"
            await self._ensure(store, repository, commit)
            entries = await self._entries(store, commit, folder)
            if not entries:
                raise await self._absent(store, commit, path, folder)
            return await self._contents(store, commit, folder, entries)

    async def _ensure(self, store: Path, repository: Repository, commit: str) -> None:
        if not (store / "HEAD").exists():
            await _git(["init", "--quiet", "--bare", "--template=", str(store)], self._folder)
        code, _, _ = await _run(["cat-file", "-e", f"{commit}^{{commit}}"], store)
        if code == 0:
            return
        arguments = ["fetch", "--quiet", "--depth=1", "--no-tags", "--no-write-fetch-head", repository.url, commit]
        code, _, errors = await _run(arguments, store, _login(repository), program=self._program)
        if code:
            command = "`git fetch origin " + commit + " --tags --force --prune` failed exit status " + str(code)
            raise SourceError(f"failed to fetch {commit}: {command}: {errors.strip()}", "Internal")

    @staticmethod
    async def _entries(store: Path, commit: str, folder: str) -> list[tuple[str, str, str]]:
        """(mode, object, path) of every file below ``folder``."""
        where = ["--", f"{folder}/"] if folder else []
        listing = await _git(["ls-tree", "-r", "-z", "--full-tree", commit, *where], store)
        found = []
        for line in filter(None, listing.split(b"\0")):
            meta, _, name = line.partition(b"\t")
            mode, kind, identity = meta.decode().split()
            path = name.decode(errors="surrogateescape")
            if kind == "blob":
                found.append((mode, identity, posixpath.relpath(path, folder) if folder else path))
        return found

    @staticmethod
    async def _absent(store: Path, commit: str, path: str, folder: str) -> SourceError:
        code, _, _ = await _run(["cat-file", "-e", f"{commit}:{folder}"], store)
        if not folder:
            return SourceError(f"{path or '.'}: the repository is empty at {commit}")
        return SourceError(f"{path}: app path is not a directory" if code == 0 else f"{path}: app path does not exist")

    @staticmethod
    async def _contents(store: Path, commit: str, folder: str, entries: list[tuple[str, str, str]]) -> Files:
        wanted = [entry for entry in entries if _is_interesting(entry[2]) and "\n" not in entry[2]]
        lines = [
            identity if mode != "120000" else f"{commit}:{posixpath.join(folder, path)}"
            for mode, identity, path in wanted
        ]
        request = "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape")
        answer = await _git(["cat-file", "--batch", "--follow-symlinks"], store, given=request)
        return _read_batch(answer, [path for _, _, path in wanted])


def _is_interesting(path: str) -> bool:
    """Whether the file can matter: a manifest, or the mark of another kind of source."""
    return path.endswith((".yaml", ".yml", ".json", ".jsonnet")) or posixpath.basename(path) == "Kustomization"


def _read_batch(answer: bytes, paths: list[str]) -> Files:
    """Take ``git cat-file --batch --follow-symlinks`` apart."""
    found: Files = {}
    position = 0
    for path in paths:
        end = answer.index(b"\n", position)
        words = answer[position:end].split()
        position = end + 1
        if words[0] in (b"symlink", b"dangling", b"loop", b"notdir"):
            position += int(words[1]) + 1
            if words[0] == b"symlink":
                raise SourceError(f"repository contains out-of-bounds symlinks. file: {path}")
        elif words[-1] != b"missing":
            size = int(words[2])
            if words[1] == b"blob":
                found[path] = answer[position : position + size]
            position += size + 1
    return found


def _checked(path: str) -> str:
    """``path`` below the root without dots; empty for the root. Raises `SourceError`."""
    if path.startswith("/"):
        raise SourceError(f"{path}: app path is absolute")
    clean = posixpath.normpath(path or ".")
    if clean == ".." or clean.startswith("../"):
        raise SourceError(f"{path}: app path outside root")
    return "" if clean == "." else clean


def _login(repository: Repository) -> dict[str, str]:
    """Settings for one fetch, as environment and not as arguments, which other users could read."""
    settings = {"http.sslVerify": "false"} if repository.insecure else {}
    if authorization := repository.authorization():
        settings["http.extraHeader"] = f"Authorization: {authorization}"
    env = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings.items()):
        env |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return env


def _environment(home: Path) -> dict[str, str]:
    """An environment without the user's git: no configuration, no prompt, no agent, no proxy."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "GIT_OPTIONAL_LOCKS": "0",
    }


async def _git(arguments: list[str], cwd: Path, *, given: bytes = b"") -> bytes:
    code, output, errors = await _run(arguments, cwd, given=given)
    if code:
        raise SourceError(f"`git {arguments[0]}` failed exit status {code}: {errors.strip()}", "Internal")
    return output


async def _run(
    arguments: list[str], cwd: Path, extra: dict[str, str] | None = None, *, given: bytes = b"", program: str = "git"
) -> tuple[int, bytes, str]:
    """Run git; returns exit status, output and error text. A command that hangs is killed and raises `SourceError`."""
    settings = ["-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "credential.helper=", "-c", "core.hooksPath="]
    process = await asyncio.create_subprocess_exec(
        program, *settings, *arguments, cwd=cwd, env=_environment(cwd) | (extra or {}), start_new_session=True,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    timed_out = asyncio.Event()
    timer = asyncio.get_running_loop().call_later(_TIMEOUT, _kill, process, timed_out)
    try:
        output, errors = await process.communicate(given)
    finally:
        timer.cancel()
        if process.returncode is None:
            _kill(process, timed_out)
            await process.wait()
    if timed_out.is_set():
        raise SourceError(f"`git {arguments[0]}` failed timeout after {_TIMEOUT:.0f}s", "DeadlineExceeded")
    return _code(process), output, errors.decode(errors="replace")


def _code(process: Any) -> int:
    return process.returncode if process.returncode is not None else -1


def _kill(process: asyncio.subprocess.Process, killed: asyncio.Event) -> None:
    """End git and the transport helper it started."""
    killed.set()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
