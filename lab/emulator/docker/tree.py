"""A file tree that exists only as an index: a build context, or what a stage's layers add up to."""

from __future__ import annotations

import os
import posixpath
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from lab.emulator.docker import oci
from lab.emulator.docker.patterns import Ignore, component, has_wildcard

FILE, DIRECTORY, LINK = "file", "directory", "link"
_LINKS = 40
"""Symbolic links followed in one path before it counts as a loop, as Linux has it."""


class Content(Protocol):
    """The bytes of a file."""

    def open(self) -> IO[bytes]:
        """Open for reading from the start."""


@dataclass(frozen=True)
class HostFile:
    """A file of this machine."""

    path: Path

    def open(self) -> IO[bytes]:
        """Open the file."""
        return self.path.open("rb")


@dataclass(frozen=True)
class ArchiveMember:
    """A file inside an open, seekable archive."""

    archive: tarfile.TarFile
    member: tarfile.TarInfo

    def open(self) -> IO[bytes]:
        """Open the member."""
        file = self.archive.extractfile(self.member)
        if file is None:
            raise OSError(f"{self.member.name}: no file")
        return file


@dataclass(frozen=True)
class Node:
    """A file, directory or symbolic link."""

    kind: str
    mode: int
    uid: int = 0
    gid: int = 0
    size: int = 0
    target: str = ""
    content: Content | None = None


ROOT = Node(DIRECTORY, 0o755)


class Tree:
    """Nodes by path; paths have no leading slash and the root is the empty path."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {"": ROOT}
        self._children: dict[str, set[str]] = {}

    def put(self, path: str, node: Node) -> None:
        """Add or replace a node; what lay under a directory that stops being one goes."""
        if node.kind != DIRECTORY and path in self.nodes:
            self.remove(path)
        self.nodes[path] = node
        while path:
            parent, _, name = path.rpartition("/")
            names = self._children.setdefault(parent, set())
            if name in names:
                break
            names.add(name)
            self.nodes.setdefault(parent, ROOT)
            path = parent

    def remove(self, path: str) -> None:
        """Remove a node and everything under it."""
        for name in list(self._children.get(path, ())):
            self.remove(posixpath.join(path, name))
        self.nodes.pop(path, None)
        parent, _, name = path.rpartition("/")
        self._children.get(parent, set()).discard(name)

    def children(self, path: str) -> list[str]:
        """Names directly under ``path``, sorted."""
        return sorted(self._children.get(path, ()))

    def copy(self) -> Tree:
        """An independent tree with the same nodes."""
        twin = Tree()
        twin.nodes = dict(self.nodes)
        twin._children = {path: set(names) for path, names in self._children.items()}
        return twin

    def resolve(self, path: str, *, last: bool = True) -> str:
        """``path`` with ``.``, ``..`` and symbolic links resolved, never above the root; ``last`` follows a final link.

        A part that does not exist stays as it is.
        """
        ahead = [part for part in path.split("/") if part not in {"", "."}][::-1]
        done: list[str] = []
        for _ in range(_LINKS + len(ahead) + path.count("/") * _LINKS):
            if not ahead:
                break
            part = ahead.pop()
            if part == "..":
                done = done[:-1]
                continue
            node = self.nodes.get("/".join([*done, part]))
            if node is None or node.kind != LINK or (not ahead and not last):
                done.append(part)
                continue
            if node.target.startswith("/"):
                done = []
            ahead += [p for p in node.target.split("/") if p not in {"", "."}][::-1]
        return "/".join(done)

    def match(self, pattern: str) -> list[str]:
        """The existing paths a COPY source stands for, sorted; raises ValueError for a bad pattern."""
        pattern = posixpath.normpath("/" + pattern).lstrip("/")
        if not has_wildcard(pattern):
            path = self.resolve(pattern)
            return [path] if path in self.nodes else []
        found = [""]
        for part in pattern.split("/"):
            expression = component(part)
            parents = [self.resolve(path) for path in found]
            found = [
                posixpath.join(parent, name)
                for parent in parents
                for name in self.children(parent)
                if expression.match(name)
            ]
        return sorted(found)

    def walk(self, path: str) -> Iterator[tuple[str, Node]]:
        """Everything under ``path`` as (relative path, node), parents first."""
        for name in self.children(path):
            below = posixpath.join(path, name)
            yield name, self.nodes[below]
            for rest, node in self.walk(below):
                yield f"{name}/{rest}", node

    def read(self, path: str) -> str | None:
        """The text of a file, or None."""
        node = self.nodes.get(self.resolve(path))
        if node is None or node.content is None:
            return None
        with node.content.open() as file:
            return file.read().decode(errors="replace")


def of_folder(root: Path, ignore: Ignore) -> Tree:
    """The tree of a build context, without what is ignored; sockets and devices are left out."""
    tree = Tree()
    _scan(tree, str(root), "", ignore)
    return tree


def _scan(tree: Tree, folder: str, prefix: str, ignore: Ignore) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            path = f"{prefix}{entry.name}"
            ignored = ignore.matches(path)
            is_folder = entry.is_dir(follow_symlinks=False)
            if not ignored and (node := _of_entry(entry)):
                tree.put(path, node)
            if is_folder and not (ignored and ignore.prunes):
                _scan(tree, entry.path, f"{path}/", ignore)


def _of_entry(entry: os.DirEntry[str]) -> Node | None:
    status = entry.stat(follow_symlinks=False)
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISDIR(status.st_mode):
        return Node(DIRECTORY, mode)
    if stat.S_ISLNK(status.st_mode):
        return Node(LINK, 0o777, target=str(Path(entry.path).readlink()))
    if stat.S_ISREG(status.st_mode):
        return Node(FILE, mode, size=status.st_size, content=HostFile(Path(entry.path)))
    return None


def of_archive(archive: tarfile.TarFile) -> Iterator[tuple[str, Node]]:
    """The members of an archive as nodes, hard links resolved; raises ValueError for a path that leads out."""
    seen: dict[str, Node] = {}
    for member in archive:
        path = inside(member.name)
        node = _of_member(archive, member, seen)
        if node is not None and path:
            seen[path] = node
            yield path, node


def inside(name: str) -> str:
    """An archive member's path without leading slash or dots; raises ValueError when it leads out of the root."""
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise ValueError(f"invalid path in archive: {name}")
    return "/".join(parts)


def _of_member(archive: tarfile.TarFile, member: tarfile.TarInfo, seen: dict[str, Node]) -> Node | None:
    mode = stat.S_IMODE(member.mode)
    if member.isdir():
        return Node(DIRECTORY, mode, member.uid, member.gid)
    if member.issym():
        return Node(LINK, 0o777, member.uid, member.gid, target=member.linkname)
    if member.islnk():
        return seen.get(inside(member.linkname))
    if member.isreg():
        return Node(FILE, mode, member.uid, member.gid, member.size, content=ArchiveMember(archive, member))
    return None


def apply_layer(tree: Tree, archive: tarfile.TarFile) -> None:
    """Lay an image's layer over ``tree``; whiteouts remove.

    Source: OCI image-spec layer.md, "Whiteouts".
    """
    added: set[str] = set()
    for path, node in of_archive(archive):
        parent, _, name = path.rpartition("/")
        if name == oci.OPAQUE:
            for child in tree.children(parent):
                if posixpath.join(parent, child) not in added:
                    tree.remove(posixpath.join(parent, child))
        elif name.startswith(oci.WHITEOUT):
            tree.remove(posixpath.join(parent, name[len(oci.WHITEOUT) :]))
        else:
            tree.put(path, node)
            added.add(path)
