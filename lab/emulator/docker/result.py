"""What a stage is while it is built, what it needs from the build around it, and what becomes of it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lab.emulator.docker.dockerfile import Dockerfile, DockerfileError, Instruction
from lab.emulator.docker.layer import Layer
from lab.emulator.docker.store import Store
from lab.emulator.docker.tree import Tree

REMEDY = (
    "the emulated builder makes layers from files and runs nothing. Remedy: COPY ready-made files (built by an earlier "
    "job or kept in the repository), or build this layer where Docker runs, push it to the lab's registry and FROM it"
)


@dataclass
class Result:
    """What a stage is so far, and in the end."""

    config: dict[str, Any] = field(default_factory=dict)
    """``config`` of the OCI image configuration."""
    author: str | None = None
    layers: list[Layer] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    tree: Tree = field(default_factory=Tree)

    def copy(self) -> Result:
        """An independent copy, to build upon."""
        return Result(
            copy.deepcopy(self.config), self.author, list(self.layers), copy.deepcopy(self.history), self.tree.copy()
        )


@dataclass(frozen=True)
class Surroundings:
    """What a stage needs from the build around it."""

    file: Dockerfile
    store: Store
    global_arguments: dict[str, str]
    """``ARG``s before the first ``FROM``, with build arguments and platform names."""
    build_arguments: dict[str, str]
    consumed: set[str]
    """Names of build arguments that some ``ARG`` took; filled here."""
    time: int
    """Modification time of every file in a layer, seconds since 1970."""
    created: str
    """RFC 3339, for the history."""
    context: Callable[[], Tree]
    source: Callable[[str], Tree]
    """The tree of a stage or image named in ``--from``."""
    say: Callable[[str], None]


def require_runnable(file: Dockerfile, steps: list[Instruction]) -> None:
    """Raise DockerfileError for the first ``RUN`` before anything is done; further ones are named too."""
    found = [step for step in steps if step.keyword == "RUN"]
    if not found:
        return
    name = file.source.name
    lines = "\n".join(f"{name}:{step.line}: not emulated: RUN {step.value}" for step in found)
    raise DockerfileError(file.source, found[0].line, f"{lines}\n{REMEDY}")


def configuration(result: Result, around: Surroundings, architecture: str) -> dict[str, Any]:
    """The OCI image configuration of a finished stage."""
    document: dict[str, Any] = {
        "architecture": architecture,
        "os": "linux",
        "created": around.created,
        "config": {key: value for key, value in result.config.items() if value not in (None, [], {})},
        "rootfs": {"type": "layers", "diff_ids": [made.diff_id for made in result.layers]},
        "history": result.history,
    }
    if result.author:
        document["author"] = result.author
    return document
