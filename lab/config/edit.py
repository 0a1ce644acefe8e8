"""One setting changed in lab.yaml, and nothing else: comments, order and form stay as they are.

The change is made in the text. A change counts only if the new text, read again, differs from the old one in
exactly this key, and only if the settings accept it; so a form that is not understood here ends in an error that says
what to write by hand, never in a damaged file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab import files, settings
from lab.config import facts
from lab.config.scalars import scalar, typed
from lab.errors import UsageError

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r|\Z)")


def put(path: Path, key: str, word: str, environ: Mapping[str, str]) -> str:
    """Set a key to what ``word`` means; an empty word means the default. Returns what there is to say about it.

    Raises:
        UsageError: there is no such key, the value does not fit, or the file cannot be changed safely.
    """
    setting = _setting(key, path)
    value = typed(setting, word)
    old = read(path)
    new = changed(old, setting, value, path)
    if new != old:
        files.replace(path, new.encode())
    said = f"{key}: {scalar(value)}" if value is not None else f"{key} has its default"
    beaten = settings.variable(key)
    return f"{said}   ({path.name}{f'; but the variable {beaten} is set and beats it' if beaten in environ else ''})"


def read(path: Path) -> str:
    """The file's text; empty when there is none.

    Raises:
        UsageError: it is no text.
    """
    try:
        return path.read_bytes().decode() if path.exists() else ""
    except UnicodeDecodeError as error:
        raise UsageError("LAB-CONF-01", f"{path.name} is not UTF-8 text.", evidence=str(error)) from error


def changed(text: str, setting: facts.Setting, value: Any, path: Path) -> str:
    """The text with one setting changed.

    Raises:
        UsageError: the result would not be valid, or the text has a form that cannot be changed safely.
    """
    group = setting.key.rpartition(".")[0]
    wanted = settings.document(text, path)
    inner = wanted.setdefault(group, {}) if group else wanted
    if inner is None:
        inner = wanted[group] = {}
    if isinstance(inner, dict):
        inner[setting.name] = value
    settings.parse(yaml.safe_dump(wanted), path, {})  # says what is wrong with the value or with the rest of the file
    place = _Place(text, group, setting.name, scalar(value))
    for candidate in place.candidates():
        if _says(candidate, wanted, path):
            return candidate
    raise UsageError(
        "LAB-CONF-07",
        f"{path.name}: {setting.key} cannot be changed without touching more than its value.",
        evidence="Its place in the file uses a form of YAML that this task leaves alone (anchors, several lines).",
        hint=f"Write it with an editor: {setting.key} is to be {scalar(value)}",
    )


def _setting(key: str, path: Path) -> facts.Setting:
    below = [setting.key for group in facts.groups() if group.name == key for setting in group.settings]
    if below:
        raise UsageError("LAB-CONF-08", f"{key} is a group of settings.", hint=f"Name one of {', '.join(below)}.")
    if (key + ".").startswith("project.variables."):
        raise UsageError(
            "LAB-CONF-09",
            "Variables may hold passwords, and a command line is seen by everybody on this machine.",
            hint=f"Write them into {path} below project: variables:",
        )
    setting = facts.find(key)
    if setting is None:
        raise settings.unknown(key, path.name)
    return setting


def _says(text: str, wanted: dict[str, Any], path: Path) -> bool:
    try:
        return settings.document(text, path) == wanted
    except UsageError:
        return False


@dataclass(frozen=True)
class _Place:
    """Where a key belongs in a text."""

    text: str
    group: str
    name: str
    scalar: str

    def candidates(self) -> Iterator[str]:
        """Texts that may be the right one, the nicest first."""
        root = yaml.compose(self.text, yaml.SafeLoader)
        if not isinstance(root, yaml.MappingNode):
            yield from self._into_nothing()
        elif not self.group:
            yield from self._into(root, 0, len(self.text))
        else:
            pairs = [pair for pair in root.value if pair[0].value == self.group]
            if pairs:
                yield from self._into_group(root, *pairs[-1])
            elif root.flow_style:
                yield from self._into_flow(root, f"{self.group}: {{{self.name}: {self.scalar}}}")
            else:
                yield from self._new_group(root.start_mark.column)

    def _into_nothing(self) -> Iterator[str]:
        """A file without any live key."""
        if self.group:
            yield from self._new_group(0)
        else:
            yield from self._beside_comment(0, len(self.text), 0)
            yield self._insert(len(self.text), f"{self.name}: {self.scalar}")

    def _new_group(self, column: int) -> Iterator[str]:
        header = " " * column + f"{self.group}:"
        with_header = self._insert(len(self.text), header)
        place = _Place(with_header, self.group, self.name, self.scalar)
        yield place._insert(len(with_header), f"{' ' * (column + 2)}{self.name}: {self.scalar}")

    def _into_group(self, root: yaml.MappingNode, header: yaml.Node, node: yaml.Node) -> Iterator[str]:
        first, last = header.end_mark.index, self._end_of_group(root, header)
        if isinstance(node, yaml.MappingNode):
            yield from self._into(node, first, last)
        elif node.start_mark.index == node.end_mark.index:  # `ports:` with nothing but comments below
            column = header.start_mark.column + 2
            yield from self._beside_comment(first, last, column)
            yield self._insert(self._line_end(node.end_mark.index), f"{' ' * column}{self.name}: {self.scalar}")
        else:  # `ports: null`
            yield self._replace(node, f"{{{self.name}: {self.scalar}}}")

    def _end_of_group(self, root: yaml.MappingNode, header: yaml.Node) -> int:
        """Where the next key of the same level begins."""
        later = [key.start_mark.index for key, _ in root.value if key.start_mark.index > header.start_mark.index]
        return min(later, default=len(self.text))

    def _into(self, node: yaml.MappingNode, first: int, last: int) -> Iterator[str]:
        """Into a mapping that has keys, or ``{}``."""
        values = [value for key, value in node.value if key.value == self.name]
        if values:
            yield self._replace(values[-1], self.scalar)
        elif node.flow_style:
            yield from self._into_flow(node, f"{self.name}: {self.scalar}")
        else:
            column = node.value[0][0].start_mark.column
            line = f"{' ' * column}{self.name}: {self.scalar}"
            yield from self._beside_comment(first, last, column)
            end = _last_leaf(node).end_mark  # of a value in several lines it is the beginning of the next line
            yield self._insert(self._line_end(end.index) if end.column else end.index, line)
            yield self._insert(len(self.text), line)

    def _into_flow(self, node: yaml.MappingNode, pair: str) -> Iterator[str]:
        at = node.value[-1][1].end_mark.index if node.value else node.start_mark.index + 1
        yield self.text[:at] + (", " if node.value else "") + pair + self.text[at:]

    def _beside_comment(self, first: int, last: int, column: int) -> Iterator[str]:
        """Below the line that holds this key commented out, as `config.init` writes it."""
        commented = re.compile(rf"[ ]{{{column}}}#[ ]?{re.escape(self.name)}:(?:\s|$)")
        for line in _LINE.finditer(self.text, self._line_end(first) if first else 0, last):
            if commented.match(line.group()):
                yield self._insert(line.end(), f"{' ' * column}{self.name}: {self.scalar}")

    def _replace(self, node: yaml.Node, new: str) -> str:
        """Another value in the place of a plain one; the text as it is where the value is not plain."""
        first, last = node.start_mark.index, node.end_mark.index
        old = self.text[first:last]
        if not isinstance(node, yaml.ScalarNode) or re.match(r"[&*!|>]", old) or re.search(r"[\r\n]", old):
            return self.text
        return self.text[:first] + (new if old else f" {new}") + self.text[last:]

    def _insert(self, at: int, line: str) -> str:
        """A line of its own at the beginning of a line or at the end of the text."""
        eol = "\r\n" if "\r\n" in self.text else "\n"
        before, after = self.text[:at], self.text[at:]
        if before and not before.endswith(("\n", "\r", "\ufeff")):
            return f"{before}{eol}{line}{after}"
        return f"{before}{line}{eol}{after}"

    def _line_end(self, index: int) -> int:
        """Where the line behind this place begins."""
        match = _LINE.match(self.text, index)
        return match.end() if match else len(self.text)


def _last_leaf(node: yaml.Node) -> yaml.Node:
    if isinstance(node, yaml.MappingNode) and node.value and not node.flow_style:
        return _last_leaf(node.value[-1][1])
    return node
