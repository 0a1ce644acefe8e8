"""What COPY and ADD put where.

Source: Dockerfile reference, COPY; moby/buildkit frontend/dockerfile/dockerfile2llb/convert.go.
"""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, replace

from lab.emulator.docker.tree import DIRECTORY, FILE, HostFile, Node, Tree, of_archive

_OCTAL_LIMIT = 0o7777


class CopyError(ValueError):
    """A COPY or ADD that cannot be done; the message is BuildKit's where it has one."""


@dataclass(frozen=True)
class Attributes:
    """What ``--chown`` and ``--chmod`` ask for."""

    uid: int = 0
    gid: int = 0
    mode: int | None = None

    def applied(self, node: Node) -> Node:
        """``node`` with these attributes."""
        mode = node.mode if self.mode is None or node.kind not in {FILE, DIRECTORY} else self.mode
        return replace(node, uid=self.uid, gid=self.gid, mode=mode)


@dataclass
class Copy:
    """One COPY or ADD into ``tree``; `entries` becomes the layer."""

    tree: Tree
    workdir: str
    destination: str
    attributes: Attributes
    unpack: bool = False
    """Whether archives are unpacked (ADD)."""

    def __post_init__(self) -> None:
        self.entries: dict[str, Node] = {}

    def run(self, source: Tree, patterns: list[str], origin: str) -> dict[str, Node]:
        """Copy what ``patterns`` match in ``source`` (named ``origin`` in errors); returns the layer's entries.

        Raises:
            CopyError: nothing matches, or the destination cannot take it.
        """
        if len(patterns) > 1 and not self._is_folder_name:
            raise CopyError(
                "When using COPY with more than one source file, the destination must be a directory and end with a /"
            )
        for pattern in patterns:
            matches = source.match(pattern)
            if not matches:
                name = posixpath.normpath("/" + pattern)
                raise CopyError(
                    "failed to compute cache key: failed to calculate checksum of ref "
                    f'lab::{origin}: "{name}": not found'
                )
            for path in matches:
                self._one(source, path, several=len(matches) > 1)
        return self.entries

    @property
    def _is_folder_name(self) -> bool:
        return self.destination.endswith(("/", "/.")) or self.destination in {".", ".."}

    @property
    def _target(self) -> str:
        return self.tree.resolve(posixpath.join(self.workdir, self.destination))

    def _one(self, source: Tree, path: str, *, several: bool) -> None:
        name = posixpath.basename(path)
        path = source.resolve(path)
        node = source.nodes.get(path)
        if node is None:
            raise CopyError(f'"/{path}": not found (a symbolic link that leads nowhere)')
        target = self._target
        if node.kind == DIRECTORY:
            self._folder(target)
            for rest, below in source.walk(path):
                self._put(posixpath.join(target, rest), below)
        elif self.unpack and (archive := _archive(node)):
            self._folder(target)
            self._unpack(target, archive)
        elif self._is_folder_name or several or self._exists_as_folder(target):
            self._folder(target)
            self._put(posixpath.join(target, name), node)
        else:
            self._put(target, node)

    def _unpack(self, target: str, archive: tarfile.TarFile) -> None:
        try:
            for rest, below in of_archive(archive):
                self._put(posixpath.join(target, rest), below, keep=self.attributes == Attributes())
        except (tarfile.TarError, ValueError, EOFError, OSError) as error:
            raise CopyError(f"failed to unpack archive: {error}") from error

    def _exists_as_folder(self, path: str) -> bool:
        node = self.tree.nodes.get(path)
        return node is not None and node.kind == DIRECTORY

    def _put(self, path: str, node: Node, *, keep: bool = False) -> None:
        """Add one node; ``keep`` leaves owner and mode (an archive's own)."""
        parent, _, name = path.rpartition("/")
        path = posixpath.join(self.tree.resolve(parent), name)
        if node.kind == DIRECTORY and (there := self.tree.nodes.get(self.tree.resolve(path))) is not None:
            if there.kind != DIRECTORY:
                raise CopyError(f"cannot copy to non-directory: /{path}")
            path = self.tree.resolve(path)
        elif node.kind != DIRECTORY and self._exists_as_folder(path):
            raise CopyError(f"cannot replace to directory /{path} with file")
        self._folder(posixpath.dirname(path))
        self._add(path, node if keep else self.attributes.applied(node))

    def _folder(self, path: str) -> None:
        """Make ``path`` and what is missing above it."""
        for made in _missing(self.tree, path):
            self._add(made, Node(DIRECTORY, 0o755, self.attributes.uid, self.attributes.gid))

    def _add(self, path: str, node: Node) -> None:
        self.tree.put(path, node)
        self.entries[path] = node


def make_folder(tree: Tree, path: str) -> dict[str, Node]:
    """Make ``path`` in ``tree`` as WORKDIR does; returns what was missing."""
    made = dict.fromkeys(_missing(tree, tree.resolve(path)), Node(DIRECTORY, 0o755))
    for folder, node in made.items():
        tree.put(folder, node)
    return made


def _missing(tree: Tree, path: str) -> Iterable[str]:
    parts = path.split("/") if path else []
    for count in range(1, len(parts) + 1):
        folder = "/".join(parts[:count])
        node = tree.nodes.get(folder)
        if node is None:
            yield folder
        elif node.kind != DIRECTORY:
            raise CopyError(f"cannot copy to non-directory: /{folder}")


def _archive(node: Node) -> tarfile.TarFile | None:
    """``node`` as an archive when ADD would unpack it: tar, plain or compressed."""
    if node.content is None:
        return None
    try:
        if isinstance(node.content, HostFile):
            return tarfile.open(node.content.path)
        return tarfile.open(fileobj=node.content.open())
    except (tarfile.TarError, EOFError):
        return None


def attributes(chown: str | None, chmod: str | None, tree: Tree) -> tuple[Attributes, list[str]]:
    """Read ``--chown`` and ``--chmod``; names are looked up in the image's own ``/etc/passwd`` and ``/etc/group``.

    Returns:
        The attributes, and the names that the image does not know (their number is then 0).

    Raises:
        CopyError: the mode is not octal.
    """
    unknown: list[str] = []
    uid = gid = 0
    if chown:
        user, colon, group = chown.partition(":")
        uid, gid = _user(tree, user, unknown)
        if colon and group:
            gid = _group(tree, group, unknown)
    return Attributes(uid, gid, _mode(chmod) if chmod else None), unknown


def _mode(text: str) -> int:
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= _OCTAL_LIMIT:
        raise CopyError(f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777")
    return mode


def _user(tree: Tree, name: str, unknown: list[str]) -> tuple[int, int]:
    if name.isdecimal():
        return int(name), int(name)
    for line in (tree.read("etc/passwd") or "").splitlines():
        fields = line.split(":")
        if fields[0] == name and len(fields) > 3:
            return int(fields[2]), int(fields[3])
    if name != "root":
        unknown.append(name)
    return 0, 0


def _group(tree: Tree, name: str, unknown: list[str]) -> int:
    if name.isdecimal():
        return int(name)
    for line in (tree.read("etc/group") or "").splitlines():
        fields = line.split(":")
        if fields[0] == name and len(fields) > 2:
            return int(fields[2])
    if name != "root":
        unknown.append(name)
    return 0
