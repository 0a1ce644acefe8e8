"""Small things that every component does with a container: files in and out, its log, its end."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import PurePosixPath
from typing import Any

from lab.engines.base import LogSource
from lab.engines.docker.daemon import DockerError
from lab.engines.docker.site import Site
from lab.errors import UsageError

CONFIG = "gitops-lab.config"
"""Label with a digest of what a container was created from."""
_TAIL = 200
_ACTIVE = ("running", "restarting", "paused")


def digest(**what: Any) -> str:
    """A short fingerprint of what a container is created from; another one means: create it anew."""
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()[:16]


def put(
    site: Site, container: Any, path: str, text: str, *, mode: int = 0o600, owner: int = 0, below: str = ""
) -> None:
    """Write one file into a container, running or not; its volumes count.

    Its folder must exist; with ``below``, only that folder must, and ``path`` is relative to it.

    Files travel this way and not by bind mounts, which Docker Desktop resolves in another machine.
    """
    where, data = PurePosixPath(path), text.encode()
    folder, name = (below, path) if below else (str(where.parent), where.name)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode, entry.uid, entry.gid = len(data), mode, owner, owner
        archive.addfile(entry, io.BytesIO(data))
    with site.daemon.asking(f"write {path} into {container.name}"):
        container.put_archive(folder, buffer.getvalue())


def take(site: Site, container: Any, path: str) -> str | None:
    """The text of a file in a container, running or not; None when there is none."""
    try:
        with site.daemon.asking(f"read {path} in {container.name}"):
            chunks, _ = container.get_archive(path)
            packed = io.BytesIO(b"".join(chunks))
    except DockerError as error:
        if error.status == 404:
            return None
        raise
    with tarfile.open(fileobj=packed) as archive:
        member = next((entry for entry in archive if entry.isfile()), None)
        file = archive.extractfile(member) if member else None
        return file.read().decode(errors="replace") if file else None


def state(container: Any) -> str:
    """``running``, ``exited``, ``restarting``, ``paused``, ``created`` or ``dead``, as of the last reading."""
    return str(container.attrs["State"]["Status"])


def tail(site: Site, container: Any, lines: int = _TAIL, since: str | None = None) -> str:
    """The end of a container's log; with ``since`` (RFC 3339) nothing older."""
    with site.daemon.asking(f"read the log of {container.name}"):
        found = container.logs(tail=lines, **({"since": _seconds(since)} if since else {}))
    return str(found.decode(errors="replace"))


def log(site: Site, name: str) -> LogSource:
    """A container's log as `invoke logs` wants it."""

    def lines(follow: bool, stop: threading.Event) -> Iterator[str]:
        container = site.ours("containers", name)
        if container is None:
            raise UsageError("LAB-LOGS-05", f"There is no container {name}.", hint="invoke up")
        if not follow:
            yield from tail(site, container).splitlines()
            return
        with site.daemon.asking(f"follow the log of {name}"):
            stream = container.logs(stream=True, follow=True, tail=_TAIL)
            threading.Thread(target=_close_when, args=(stop, stream), daemon=True).start()
            yield from _lines(stream)

    return lines


def running(site: Site, name: str) -> Any | None:
    """A container of the lab when it runs, else None."""
    container = site.ours("containers", name)
    return container if container is not None and state(container) == "running" else None


def start(site: Site, container: Any) -> None:
    """Make a container run: let go on what somebody has paused, which Docker refuses to start."""
    with site.daemon.asking(f"start {container.name}"):
        if state(container) == "paused":
            container.unpause()
        else:
            container.start()


def stop(site: Site, name: str, *, patience: int) -> bool:
    """End a container of the lab, also one that is paused or is started again and again; whether there was work."""
    container = site.ours("containers", name)
    if container is None or state(container) not in _ACTIVE:
        return False
    with site.daemon.asking(f"stop {name}"):
        container.stop(timeout=patience)
    return True


def remove(site: Site, name: str, *, patience: int = 30) -> str:
    """End and remove a container of the lab; returns what was removed, empty when there was none."""
    container = site.ours("containers", name)
    if container is None:
        return ""
    with site.daemon.asking(f"remove container {name}"):
        if state(container) in _ACTIVE:
            container.stop(timeout=patience)
        container.remove(v=True, force=True)
    return f"container {name}"


def volume(site: Site, name: str) -> Mapping[str, Any]:
    """Make sure that a volume of the lab exists."""
    found = site.ours("volumes", name)
    if found is None:
        with site.daemon.asking(f"create volume {name}"):
            found = site.daemon.client.volumes.create(name, labels=site.labels)
    return dict(found.attrs)


def remove_volume(site: Site, name: str) -> str:
    """Remove a volume of the lab with what is in it; returns what was removed, empty when there was none."""
    found = site.ours("volumes", name)
    if found is None:
        return ""
    with site.daemon.asking(f"remove volume {name}"):
        found.remove()
    return f"volume {name}"


def _seconds(moment: str) -> float:
    """RFC 3339 with nanoseconds, as Docker writes it, in seconds since 1970."""
    whole = moment.partition(".")[0].rstrip("Z")
    return datetime.fromisoformat(whole).replace(tzinfo=timezone.utc).timestamp()


def _close_when(stop: threading.Event, stream: Any) -> None:
    stop.wait()
    stream.close()


def _lines(stream: Any) -> Iterator[str]:
    rest = b""
    for chunk in stream:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace") for line in whole)
    if rest:
        yield rest.decode(errors="replace")
