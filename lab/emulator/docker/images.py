"""``docker tag``, ``images``, ``inspect`` and ``rmi``."""

from __future__ import annotations

import json
import os
import sys
import time
from calendar import timegm
from pathlib import Path
from typing import Any

from lab.emulator.docker.errors import DockerError, NotEmulatedError
from lab.emulator.docker.flags import Flag, parse
from lab.emulator.docker.references import InvalidReferenceError, Reference
from lab.emulator.docker.references import parse as parse_reference
from lab.emulator.docker.store import Image, Store
from lab.emulator.docker.template import render

_UNITS = ("B", "kB", "MB", "GB", "TB")


def open_store() -> Store:
    """The image store: ``$LAB_DOCKER_STORE``, else a folder in the user's cache."""
    folder = os.environ.get("LAB_DOCKER_STORE")
    return Store(Path(folder) if folder else Path.home() / ".cache" / "lab-docker")


def tag(arguments: list[str]) -> None:
    """Give an image one more name."""
    words = parse(arguments, ()).arguments
    if len(words) != 2:
        raise DockerError(
            "docker: 'docker tag' requires 2 arguments\n\nUsage:  docker tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]"
        )
    store = open_store()
    image = store.require(words[0])
    try:
        target = parse_reference(words[1])
    except InvalidReferenceError as error:
        raise DockerError(f'Error parsing reference: "{words[1]}" is not a valid repository/tag: {error}') from error
    if target.digest:
        raise DockerError("refusing to create a tag with a digest reference")
    store.tag(target, image.digest)


def remove(arguments: list[str]) -> None:
    """Remove names; content stays in the store."""
    parsed = parse(arguments, (Flag("force", "f", boolean=True), Flag("no-prune", boolean=True)))
    if not parsed.arguments:
        raise DockerError("docker: 'docker rmi' requires at least 1 argument")
    store = open_store()
    for text in parsed.arguments:
        image = store.find(text)
        if image is None:
            if parsed.on("force"):
                continue
            raise DockerError(f"Error response from daemon: No such image: {reference_of(text).familiar}")
        named = store.by_reference(reference_of(text)) is not None
        for reference in [reference_of(text)] if named else store.names_of(image):
            store.untag(reference)
            sys.stdout.write(f"Untagged: {reference.familiar}\n")


def listing(arguments: list[str]) -> None:
    """List the images of the store."""
    flags = (
        Flag("quiet", "q", boolean=True),
        Flag("no-trunc", boolean=True),
        Flag("format"),
        Flag("all", "a", boolean=True),
    )
    parsed = parse(arguments, (*flags, Flag("digests", boolean=True)))
    store = open_store()
    wanted = reference_of(parsed.arguments[0], default_tag=None) if parsed.arguments else None
    rows = []
    for name in store.names():
        reference = parse_reference(name)
        if wanted and (reference.name != wanted.name or (wanted.tag and reference.tag != wanted.tag)):
            continue
        if image := store.by_reference(reference):
            rows.append(_row(reference, image, full=parsed.on("no-trunc")))
    if parsed.on("quiet"):
        sys.stdout.write("".join(f"{row['ID']}\n" for row in rows))
    elif (template := parsed.last("format")) and template != "table":
        sys.stdout.write("".join(f"{render(template, row)}\n" for row in rows))
    else:
        _table(rows)


def _row(reference: Reference, image: Image, *, full: bool) -> dict[str, str]:
    return {
        "Repository": reference.familiar_name,
        "Tag": reference.tag or "<none>",
        "ID": image.id if full else image.id.removeprefix("sha256:")[:12],
        "Digest": image.digest,
        "CreatedAt": image.config.get("created", ""),
        "CreatedSince": _age(image.config.get("created", "")),
        "Size": _size(image.size),
    }


def _table(rows: list[dict[str, str]]) -> None:
    titles = {"Repository": "REPOSITORY", "Tag": "TAG", "ID": "IMAGE ID", "CreatedSince": "CREATED", "Size": "SIZE"}
    widths = {key: max([len(title), *(len(row[key]) for row in rows)]) + 3 for key, title in titles.items()}
    for row in [titles, *rows]:
        sys.stdout.write("".join(row[key].ljust(widths[key]) for key in titles).rstrip() + "\n")


def _age(created: str) -> str:
    try:
        seconds = time.time() - timegm(time.strptime(created[:19], "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return "N/A"
    for length, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * length:
            return f"{int(seconds // length)} {unit} ago"
    return f"{int(seconds)} seconds ago"


def _size(count: float) -> str:
    for unit in _UNITS:
        if count < 1000 or unit == _UNITS[-1]:
            return f"{count:.3g}{unit}"
        count /= 1000
    return ""


def inspect(arguments: list[str]) -> None:
    """Print what is known of images."""
    parsed = parse(arguments, (Flag("format", "f"), Flag("type"), Flag("size", "s", boolean=True)))
    if not parsed.arguments:
        raise DockerError("docker: 'docker inspect' requires at least 1 argument")
    if parsed.last("type") not in {None, "image"}:
        raise NotEmulatedError(f"docker inspect --type {parsed.last('type')}")
    store = open_store()
    documents, missing = [], []
    for name in parsed.arguments:
        image = store.find(name)
        if image is None:
            missing.append(name)
        else:
            documents.append(_document(store, image))
    template = parsed.last("format")
    if template:
        sys.stdout.write("".join(f"{render(template, document)}\n" for document in documents))
    else:
        sys.stdout.write(json.dumps(documents, indent=4) + "\n")
    if missing:
        raise DockerError("\n".join(f"Error: No such object: {name}" for name in missing))


def _document(store: Store, image: Image) -> dict[str, Any]:
    names = store.names_of(image)
    return {
        "Id": image.id,
        "RepoTags": [name.familiar for name in names],
        "RepoDigests": sorted({f"{name.familiar_name}@{image.digest}" for name in names}),
        "Parent": "",
        "Comment": "built by the lab's emulator",
        "Created": image.config.get("created", ""),
        "Author": image.config.get("author", ""),
        "Config": image.config.get("config") or {},
        "Architecture": image.config.get("architecture", ""),
        "Os": image.config.get("os", ""),
        "Size": image.size,
        "RootFS": {"Type": "layers", "Layers": image.config["rootfs"]["diff_ids"]},
    }


def reference_of(text: str, *, default_tag: str | None = "latest") -> Reference:
    """Parse an argument; raises DockerError."""
    try:
        return parse_reference(text, default_tag=default_tag)
    except InvalidReferenceError as error:
        raise DockerError(str(error)) from error
