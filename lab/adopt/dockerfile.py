"""A Dockerfile as the loop sees it: are its bases pinned, does it name its port and leave root, does it build here?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lab.adopt.finding import Finding
from lab.adopt.repository import Repository

NAME = "Dockerfile"


@dataclass(frozen=True)
class Instruction:
    """One instruction with its continued lines."""

    line: int
    keyword: str
    value: str


def instructions(text: str) -> list[Instruction]:
    """The instructions of a Dockerfile, without comments."""
    found: list[Instruction] = []
    begun: tuple[int, str] | None = None
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        first, before = begun or (number, "")
        joined = f"{before} {line.removesuffix(chr(92)).strip()}".strip()
        begun = (first, joined) if line.endswith("\\") else None
        if begun is None:
            keyword, _, value = joined.partition(" ")
            found.append(Instruction(first, keyword.upper(), value.strip()))
    return found


def port(text: str) -> int | None:
    """The first port of the last stage's EXPOSE."""
    for each in _last_stage(instructions(text)):
        number = re.match(r"(\d+)", each.value)
        if each.keyword == "EXPOSE" and number:
            return int(number[1])
    return None


def user(text: str) -> int | None:
    """The number of the user that it runs as, when it names one that is not root."""
    found = [each for each in _last_stage(instructions(text)) if each.keyword == "USER"]
    number = found[-1].value.partition(":")[0] if found else ""
    return int(number) if number.isdigit() and number != "0" else None


def findings(repository: Repository, *, port_known: bool, root_refused: bool) -> Iterator[Finding]:
    """What is to be said about the Dockerfile, which exists.

    Args:
        repository: where it is.
        port_known: whether the manifests say where the container listens.
        root_refused: whether the manifests demand another user than root.
    """
    place = repository.at(NAME)
    text = repository.read(place) or ""
    found = instructions(text)
    if not any(each.keyword == "FROM" for each in found):
        yield Finding("dockerfile.from", "wrong", "It has no FROM.", place, "Begin it with FROM and a pinned image.")
        return
    yield Finding("dockerfile", "ok", f"port {port(text)}" if port(text) else "present", place)
    yield from (
        Finding("dockerfile.pinned", "note", f"{image} is not pinned; each build may bring another one.",
                f"{place}:{line}", "Give it a full version tag.")
        for line, image in _loose(found)
    )  # fmt: skip
    if port(text) is None:
        hint = "Add EXPOSE with the port that it listens on."
        yield Finding("dockerfile.port", "note" if port_known else "wrong", "It names no port.", place, hint)
    yield from _user(found, place, root_refused=root_refused)
    runs = [each for each in found if each.keyword == "RUN"]
    if runs:
        said = f"RUN ({len(runs)} in all) is not emulated: this image builds on the Docker engine only."
        yield Finding("dockerfile.run", "note", said, f"{place}:{runs[0].line}")


def _last_stage(found: list[Instruction]) -> list[Instruction]:
    starts = [number for number, each in enumerate(found) if each.keyword == "FROM"]
    return found[starts[-1] :] if starts else []


def _loose(found: list[Instruction]) -> Iterator[tuple[int, str]]:
    """Base images that have no tag or `latest`; a stage's own name and a variable are none of them."""
    stages = {"scratch"}
    for each in found:
        if each.keyword != "FROM":
            continue
        words = [word for word in each.value.split() if not word.startswith("--")]
        image = words[0] if words else ""
        tag = image.rpartition("/")[2].partition(":")[2]
        if image.lower() not in stages and "$" not in image and "@" not in image and tag in ("", "latest"):
            yield each.line, image
        if len(words) == 3:
            stages.add(words[2].lower())


def _user(found: list[Instruction], place: str, *, root_refused: bool) -> Iterator[Finding]:
    """Kubernetes refuses to start root, or a user that is no number, where `runAsNonRoot` stands."""
    users = [each for each in _last_stage(found) if each.keyword == "USER"]
    user = users[-1].value.partition(":")[0] if users else "root"
    where = f"{place}:{users[-1].line}" if users else place
    hint = "Add USER 10001:10001 before CMD, and see to it that this user may read the files."
    if user in ("root", "0"):
        said = "It runs as root" + ("; the manifests demand another user." if root_refused else ".")
        yield Finding("dockerfile.user", "wrong" if root_refused else "note", said, where, hint)
    elif not user.isdigit():
        said = f"USER {user} is a name; Kubernetes can check runAsNonRoot on a number only."
        yield Finding("dockerfile.user", "note", said, where, "Write its number.")
