"""A bundle's file: a tar archive of packed images and downloads, with a manifest at its end.

It is written in one go without knowing sizes beforehand: each member's header is written when its data is there. A note
beside the unfinished file says which members are whole, so that a run that was cut off goes on behind them.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from lab.errors import UsageError

MANIFEST = "manifest.json"
FORMAT = 1
_BLOCK = 512
_CHUNK = 1 << 20


class Writer:
    """Writes a bundle; nothing stands at ``path`` before it is whole."""

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self._path = path
        self._about = dict(about)
        self._part = path.with_name(f"{path.name}.part")
        self._note = path.with_name(f"{path.name}.part.json")
        self._members: list[dict[str, Any]] = self._noted()

    def has(self, member: str, key: str) -> bool:
        """Whether an earlier run wrote this member from the same thing."""
        return any(found["member"] == member and found["key"] == key for found in self._members)

    def add(self, member: str, key: str, chunks: Iterable[bytes], **about: Any) -> int:
        """Write a member; returns its size in bytes.

        Args:
            member: its name in the archive.
            key: what it is made of (an image's id, a checksum).
            chunks: its data.
            about: what the manifest says of it.
        """
        found, begin = hashlib.sha256(), self._end()
        with self._open() as file:
            file.truncate(begin)
            file.seek(begin + _BLOCK)
            for chunk in chunks:
                found.update(chunk)
                file.write(chunk)
            size = file.tell() - begin - _BLOCK
            file.write(b"\0" * (-size % _BLOCK))
            end = file.tell()
            file.seek(begin)
            file.write(_header(member, size))
            file.flush()
            os.fsync(file.fileno())
        entry = {"member": member, "key": key, "size": size, "sha256": found.hexdigest(), **about}
        self._members = [other for other in self._members if other["member"] != member] + [{**entry, "end": end}]
        self._note.write_text(json.dumps({"about": self._about, "members": self._members}))
        return size

    def finish(self) -> int:
        """Add the manifest and give the file its name; returns its size in bytes."""
        members = [{name: value for name, value in found.items() if name != "end"} for found in self._members]
        text = json.dumps({"format": FORMAT, **self._about, "members": members}, indent=1).encode()
        begin = self._end()
        with self._open() as file:
            file.truncate(begin)
            file.seek(begin)
            file.write(_header(MANIFEST, len(text)) + text + b"\0" * (-len(text) % _BLOCK + 2 * _BLOCK))
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        self._part.replace(self._path)
        self._note.unlink()
        return size

    def _noted(self) -> list[dict[str, Any]]:
        """The members that are whole; none when the unfinished file is of another machine or gone."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            note = json.loads(self._note.read_text())
            if note["about"] == self._about and self._part.stat().st_size >= note["members"][-1]["end"]:
                return list(note["members"])
        return []

    def _end(self) -> int:
        return int(self._members[-1]["end"]) if self._members else 0

    def _open(self) -> IO[bytes]:
        return self._part.open("r+b" if self._part.exists() else "w+b")


class Reader:
    """Reads a bundle.

    Raises:
        UsageError: it is no bundle, or is not whole.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with tarfile.open(path, "r:") as archive:
                file = archive.extractfile(MANIFEST)
                self.manifest: dict[str, Any] = json.load(file or io.BytesIO())
                self._places = {member.name: (member.offset_data, member.size) for member in archive}
            whole = all(self._places[found["member"]][1] == found["size"] for found in self.members())
        except FileNotFoundError as error:
            raise UsageError(
                "LAB-BUNDLE-01", f"There is no file {path}.", hint="invoke bundle FILE makes one."
            ) from error
        except (OSError, tarfile.TarError, ValueError, KeyError, TypeError, EOFError) as error:
            raise self._bad(f"{type(error).__name__}: {error}") from error
        if not whole or self.manifest.get("format") != FORMAT:
            raise self._bad(f"format {self.manifest.get('format')!r}, this lab reads {FORMAT}")

    def members(self) -> list[dict[str, Any]]:
        """What the manifest says of each member."""
        return list(self.manifest["members"])

    def read(self, member: str) -> Iterator[bytes]:
        """A member's data in pieces."""
        begin, left = self._places[member]
        with self._path.open("rb") as file:
            file.seek(begin)
            while left and (chunk := file.read(min(_CHUNK, left))):
                left -= len(chunk)
                yield chunk

    def _bad(self, evidence: str) -> UsageError:
        return UsageError(
            "LAB-BUNDLE-02", f"{self._path} is no bundle of this lab, or was not copied whole.", evidence=evidence,
            hint="Copy it again, or make it anew: invoke bundle FILE",
        )  # fmt: skip


def _header(member: str, size: int) -> bytes:
    entry = tarfile.TarInfo(member)
    entry.size, entry.mode = size, 0o644
    return entry.tobuf(tarfile.GNU_FORMAT)
