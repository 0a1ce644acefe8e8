"""A machine out of a JSON file: readings in the very form in which real machines give them, played back.

about     one sentence: what machine this was
facts     the fields of `Facts`
home, root, environ, now
files     path -> text;  links: path -> target;  folders are whatever has a file, link or entry below it
entries   path -> [mode in octal, uid, writable]
space     path -> [bytes, free bytes, files, free files], valid for everything below the path
commands  command line -> [exit code, text]; any other program is "not installed"
taken     "host:port" -> why it cannot be bound
engine    address -> {API path: document}, or the text of the error
http      "METHOD url" -> {status, headers, body}, or the text of the error; anything else is unreachable
names     host name -> addresses
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.doctor.machine import Entry, Facts, Reply, Said, Space


class Recorded:
    """Plays a recording back; changes are noted in `changes` and change the recording."""

    def __init__(self, recording: Mapping[str, Any]) -> None:
        self._recording = recording
        self._files: dict[str, str] = dict(recording.get("files", {}))
        self._links: Mapping[str, str] = recording.get("links", {})
        self._entries = {
            path: Entry(int(mode, 8), uid, writable)
            for path, (mode, uid, writable) in recording.get("entries", {}).items()
        }
        self.home: str = recording["home"]
        self.root: str = recording["root"]
        self.environ: Mapping[str, str] = recording.get("environ", {})
        self.facts = Facts(**recording["facts"])
        self.changes: list[str] = []

    @classmethod
    def load(cls, path: Path) -> Recorded:
        """Read a recording."""
        return cls(json.loads(path.read_text()))

    def read(self, path: str) -> str | None:
        """A file's text, or None."""
        return self._files.get(path)

    def names(self, path: str) -> list[str]:
        """The entries of a folder."""
        below = path.rstrip("/") + "/"
        known = [*self._files, *self._links, *self._entries]
        return sorted({name[len(below) :].split("/")[0] for name in known if name.startswith(below)})

    def link(self, path: str) -> str | None:
        """Where a symbolic link points, or None."""
        return self._links.get(path)

    def entry(self, path: str) -> Entry | None:
        """Mode and owner, or None."""
        return self._entries.get(path)

    def space(self, path: str) -> Space | None:
        """Room at the nearest recorded parent."""
        known: Mapping[str, list[int]] = self._recording.get("space", {})
        near = [place for place in known if path == place or path.startswith(place.rstrip("/") + "/")]
        return Space(*known[max(near, key=len)]) if near else None

    def run(self, argv: Sequence[str], timeout: float) -> Said | None:  # noqa: ARG002 - recorded programs are instant
        """What a program said; git's settings change as on the real machine."""
        line = shlex.join(argv)
        said = self._recording.get("commands", {}).get(line)
        if said:
            self.changes += [line] if said[0] == 0 and not said[1] else []
            return Said(*said)
        return None

    def refusal(self, host: str, port: int) -> str:
        """Why a port cannot be bound."""
        return str(self._recording.get("taken", {}).get(f"{host}:{port}", ""))

    def engine(self, address: str, path: str, timeout: float) -> Reply | str:  # noqa: ARG002
        """The recorded document of an engine's API."""
        known = self._recording.get("engine", {}).get(address, "No such file or directory")
        if isinstance(known, str):
            return known
        return Reply(200, {}, json.dumps(known[path])) if path in known else Reply(404)

    def fetch(self, method: str, url: str, headers: Mapping[str, str], timeout: float) -> Reply | str:  # noqa: ARG002
        """The recorded answer."""
        known = self._recording.get("http", {}).get(f"{method} {url}", "Network is unreachable")
        return known if isinstance(known, str) else Reply(**known)

    def resolve(self, name: str) -> list[str]:
        """The recorded addresses."""
        return list(self._recording.get("names", {}).get(name, []))

    def now(self) -> float:
        """The recorded time."""
        return float(self._recording["now"])

    def chmod(self, path: str, mode: int) -> None:
        """Note a change of permissions."""
        before = self._entries[path]
        self._entries[path] = Entry(mode, before.uid, before.writable)
        self.changes.append(f"chmod {mode:o} {path}")

    def remove(self, path: str) -> None:
        """Note that a file was removed."""
        self._files.pop(path, None)
        self._entries.pop(path, None)
        self.changes.append(f"rm {path}")
