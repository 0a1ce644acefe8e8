"""Reads a Dockerfile: directives, comments, continued lines, instructions, stages.

Sources: moby/buildkit frontend/dockerfile/parser and .../instructions; error texts are BuildKit's.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from lab.emulator.docker.errors import DockerError

KEYWORDS = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
]
_JSON_FORM = {"ADD", "CMD", "COPY", "ENTRYPOINT", "RUN", "SHELL", "VOLUME"}
_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$")
_DIRECTIVES = {"syntax", "escape", "check"}
_HEREDOC = re.compile(r"(?<!\S)\d*<<-?([\"']?)([a-zA-Z0-9_.]+)\1(?!\S)")
_FLAG = re.compile(r"--([a-zA-Z][a-zA-Z0-9-]*)(?:=(\S*))?(?:\s+|$)")
_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*\Z")
_CONTEXT_LINES = 2


class DockerfileError(DockerError):
    """Something wrong with a line of the Dockerfile; `where` shows the line."""

    def __init__(self, source: Source, line: int, problem: str, *, parsing: bool = False) -> None:
        text = f"dockerfile parse error on line {line}: {problem}" if parsing else problem
        super().__init__(f"failed to solve: {text}")
        self.where = f"{source.name}:{line}\n{source.excerpt(line)}"


@dataclass(frozen=True)
class Source:
    """A Dockerfile's name and lines, for messages."""

    name: str
    lines: tuple[str, ...]

    def excerpt(self, line: int) -> str:
        """The lines around ``line`` as BuildKit prints them."""
        rule = "-" * 20
        first, last = max(1, line - _CONTEXT_LINES), min(len(self.lines), line + _CONTEXT_LINES)
        rows = [f"{n:>4} | {'>>> ' if n == line else '    '}{self.lines[n - 1]}" for n in range(first, last + 1)]
        return "\n".join([rule, *rows, rule])


@dataclass(frozen=True)
class Instruction:
    """One instruction; ``value`` is what follows the keyword and its flags, before any expansion."""

    keyword: str
    line: int
    value: str
    flags: dict[str, list[str]] = field(default_factory=dict)
    words: list[str] | None = None
    """The JSON array of the exec form, else None."""

    def flag(self, name: str) -> str | None:
        """The last value of a flag, or None."""
        values = self.flags.get(name)
        return values[-1] if values else None

    def __str__(self) -> str:
        flags = "".join(f"--{name}={value} " for name, values in self.flags.items() for value in values)
        return f"{self.keyword} {flags}{self.value}"


@dataclass
class Stage:
    """One ``FROM`` and what follows it."""

    number: int
    name: str
    """Its alias, or ``stage-<number>``."""
    base: str
    platform: str | None
    line: int
    instructions: list[Instruction] = field(default_factory=list)


@dataclass
class Dockerfile:
    """A parsed Dockerfile."""

    source: Source
    escape: str
    syntax: str | None
    arguments: list[Instruction]
    """The ``ARG`` instructions before the first ``FROM``."""
    stages: list[Stage]

    def stage(self, name: str) -> Stage | None:
        """A stage by alias (case does not matter) or number."""
        for stage in self.stages:
            if name.lower() == stage.name or name == str(stage.number):
                return stage
        return None


def parse(text: str, name: str) -> Dockerfile:
    """Parse ``text``.

    Raises:
        DockerfileError: with file, line and excerpt.
        DockerError: there is no instruction or no stage at all.
    """
    text = text.removeprefix("\ufeff")
    source = Source(name, tuple(text.splitlines()))
    directives = _directives(source)
    escape = directives.get("escape", "\\")
    if escape not in {"\\", "`"}:
        raise DockerfileError(source, 1, f"invalid ESCAPE '{escape}'. Must be ` or \\", parsing=True)
    arguments: list[Instruction] = []
    stages: list[Stage] = []
    instructions = [instruction(source, number, line) for number, line in _logical_lines(source, escape)]
    if not instructions:
        raise DockerError("failed to solve: the Dockerfile cannot be empty")
    for step in instructions:
        if step.keyword == "FROM":
            stages.append(_stage(source, step, len(stages)))
        elif stages:
            stages[-1].instructions.append(step)
        elif step.keyword == "ARG":
            arguments.append(step)
        else:
            raise DockerfileError(source, step.line, "no build stage in current context", parsing=True)
    if not stages:
        raise DockerError("failed to solve: no build stage in current context")
    return Dockerfile(source, escape, directives.get("syntax"), arguments, stages)


def instruction(source: Source, line: int, text: str) -> Instruction:
    """Parse one logical line; ``ONBUILD`` triggers come through here as well."""
    keyword, _, rest = text.partition(" ") if " " in text else text.partition("\t")
    keyword, rest = keyword.upper(), rest.strip()
    if keyword not in KEYWORDS:
        raise DockerfileError(source, line, f"unknown instruction: {keyword}{_guess(keyword)}", parsing=True)
    if keyword in {"ADD", "COPY", "RUN"} and (heredoc := _HEREDOC.search(rest)):
        raise DockerfileError(source, line, f"not emulated: heredoc {heredoc[0]} in {keyword}")
    flags: dict[str, list[str]] = {}
    if keyword in {"ADD", "COPY", "FROM", "HEALTHCHECK", "RUN"}:
        while match := _FLAG.match(rest):
            flags.setdefault(match[1], []).append("true" if match[2] is None else match[2])
            rest = rest[match.end() :]
    if not rest:
        raise DockerfileError(source, line, _empty(keyword), parsing=True)
    return Instruction(keyword, line, rest, flags, _exec_form(rest) if keyword in _JSON_FORM else None)


def _directives(source: Source) -> dict[str, str]:
    """Parser directives: comments at the very top of the form ``# key=value``."""
    found: dict[str, str] = {}
    for line in source.lines:
        match = _DIRECTIVE.match(line.strip())
        if not match or match[1].lower() not in _DIRECTIVES:
            break
        found[match[1].lower()] = match[2]
    return found


def _logical_lines(source: Source, escape: str) -> Iterator[tuple[int, str]]:
    """Instructions with their first line's number; comment and empty lines inside a continued one vanish."""
    continued = re.compile(rf"{re.escape(escape)}[ \t]*$")
    start, parts = 0, list[str]()
    for number, raw in enumerate(source.lines, start=1):
        line = raw.strip() if not parts else raw.rstrip()
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not parts:
            start = number
        if continued.search(line):
            parts.append(continued.sub("", line))
            continue
        yield start, "".join([*parts, line]).strip()
        parts = []
    if parts and (text := "".join(parts).strip()):
        yield start, text


def _stage(source: Source, step: Instruction, number: int) -> Stage:
    words = step.value.split()
    if len(words) == 1:
        name = f"stage-{number}"
    elif len(words) == 3 and words[1].lower() == "as":
        name = words[2].lower()
        if not _STAGE_NAME.match(name):
            raise DockerfileError(
                source,
                step.line,
                f'invalid name for build stage: "{words[2]}", name can\'t start with a number or contain symbols',
                parsing=True,
            )
    else:
        raise DockerfileError(source, step.line, "FROM requires either one or three arguments", parsing=True)
    unknown = set(step.flags) - {"platform"}
    if unknown:
        raise DockerfileError(source, step.line, f"unknown flag: --{min(unknown)}", parsing=True)
    return Stage(number, name, words[0], step.flag("platform"), step.line)


def _exec_form(text: str) -> list[str] | None:
    if not text.startswith("["):
        return None
    try:
        words = json.loads(text)
    except ValueError:
        return None
    return words if isinstance(words, list) and all(isinstance(word, str) for word in words) else None


def _empty(keyword: str) -> str:
    if keyword == "FROM":
        return "FROM requires either one or three arguments"
    if keyword in {"ADD", "COPY"}:
        return (
            f"{keyword} requires at least two arguments, but only one was provided. Destination could not be determined"
        )
    if keyword in {"ARG", "CMD", "ENTRYPOINT", "ENV", "EXPOSE", "LABEL", "RUN", "SHELL", "VOLUME"}:
        return f"{keyword} requires at least one argument"
    return f"{keyword} requires exactly one argument"


def _guess(keyword: str) -> str:
    near = difflib.get_close_matches(keyword, KEYWORDS, 1)
    return f" (did you mean {near[0]}?)" if near else ""
