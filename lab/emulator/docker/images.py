"""``docker tag``, ``push``, ``pull``, ``images``, ``inspect`` and ``rmi``."""

from __future__ import annotations

import json
import os
import sys
import time
from calendar import timegm
from pathlib import Path
from typing import Any

from lab.emulator.docker import oci, transfer
from lab.emulator.docker.client import RegistryError
from lab.emulator.docker.credentials import Credentials
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


def push(arguments: list[str]) -> None:
    """Upload an image, or all tags of a repository."""
    flags = (Flag("all-tags", "a", boolean=True), Flag("quiet", "q", boolean=True))
    parsed = parse(arguments, (*flags, Flag("disable-content-trust", boolean=True)))
    if len(parsed.arguments) != 1:
        raise DockerError("docker: 'docker push' requires 1 argument\n\nUsage:  docker push [OPTIONS] NAME[:TAG]")
    reference = _reference(parsed.arguments[0], default_tag=None if parsed.on("all-tags") else "latest")
    if reference.digest:
        raise DockerError("cannot push a digest reference")
    store, credentials = open_store(), Credentials.of_user()
    if parsed.on("all-tags"):
        if reference.tag:
            raise DockerError("tag can't be used with --all-tags/-a")
        references = [r for r in map(parse_reference, store.names()) if r.name == reference.name]
    else:
        references = [reference]
    found = [(each, image) for each in references if (image := store.by_reference(each))]
    if not found:
        raise DockerError(f"An image does not exist locally with the tag: {reference.familiar_name}")
    for each, image in found:
        push_image(store, image, each, credentials, quiet=parsed.on("quiet"))


def push_image(store: Store, image: Image, reference: Reference, credentials: Credentials, *, quiet: bool) -> None:
    """Push one name of an image and print what Docker prints."""

    def say(text: str) -> None:
        if not quiet:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()

    say(f"The push refers to repository [{reference.name}]")
    transfer.push(store, image, reference, credentials, say)
    if quiet:
        sys.stdout.write(f"{reference}\n")


def pull(arguments: list[str]) -> None:
    """Download an image."""
    flags = (Flag("quiet", "q", boolean=True), Flag("platform"), Flag("disable-content-trust", boolean=True))
    parsed = parse(arguments, flags)
    if len(parsed.arguments) != 1:
        raise DockerError(
            "docker: 'docker pull' requires 1 argument\n\nUsage:  docker pull [OPTIONS] NAME[:TAG|@DIGEST]"
        )
    platform = parsed.last("platform")
    if platform and platform != f"linux/{oci.architecture()}":
        raise NotEmulatedError(f"--platform {platform} (this machine is linux/{oci.architecture()})")
    name = _reference(parsed.arguments[0], default_tag=None)
    reference = _reference(parsed.arguments[0])
    quiet = parsed.on("quiet")

    def say(text: str) -> None:
        if not quiet:
            sys.stdout.write(text + "\n")

    if name.tag is None and name.digest is None:
        say("Using default tag: latest")
    say(f"{reference.selector}: Pulling from {reference.path}")
    try:
        image = transfer.pull(open_store(), reference, Credentials.of_user(), say)
    except RegistryError as error:
        raise DockerError(f"Error response from daemon: {_pull_problem(reference, error)}") from error
    say(f"Digest: {image.digest}")
    say(f"Status: Downloaded image for {reference.familiar}")
    sys.stdout.write(f"{reference}\n")


def _pull_problem(reference: Reference, error: RegistryError) -> str:
    """Docker's words (moby, distribution/errors.go)."""
    if error.status == 404:
        return f"manifest for {reference.familiar} not found: {error}"
    if str(error).startswith("denied:"):
        missing = "repository does not exist or may require 'docker login'"
        return f"pull access denied for {reference.familiar_name}, {missing}: {error}"
    return str(error)


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
            raise DockerError(f"Error response from daemon: No such image: {_reference(text).familiar}")
        named = store.by_reference(_reference(text)) is not None
        for reference in [_reference(text)] if named else store.names_of(image):
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
    wanted = _reference(parsed.arguments[0], default_tag=None) if parsed.arguments else None
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


def _reference(text: str, *, default_tag: str | None = "latest") -> Reference:
    try:
        return parse_reference(text, default_tag=default_tag)
    except InvalidReferenceError as error:
        raise DockerError(str(error)) from error
