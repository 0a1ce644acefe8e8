"""``docker push`` and ``pull``."""

from __future__ import annotations

import sys

from lab.emulator.docker import oci, transfer
from lab.emulator.docker.client import RegistryError
from lab.emulator.docker.credentials import Credentials
from lab.emulator.docker.errors import DockerError, NotEmulatedError
from lab.emulator.docker.flags import Flag, parse
from lab.emulator.docker.images import open_store, reference_of
from lab.emulator.docker.references import Reference
from lab.emulator.docker.references import parse as parse_reference
from lab.emulator.docker.store import Image, Store


def push(arguments: list[str]) -> None:
    """Upload an image, or all tags of a repository."""
    flags = (Flag("all-tags", "a", boolean=True), Flag("quiet", "q", boolean=True))
    parsed = parse(arguments, (*flags, Flag("disable-content-trust", boolean=True)))
    if len(parsed.arguments) != 1:
        raise DockerError("docker: 'docker push' requires 1 argument\n\nUsage:  docker push [OPTIONS] NAME[:TAG]")
    reference = reference_of(parsed.arguments[0], default_tag=None if parsed.on("all-tags") else "latest")
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
    name = reference_of(parsed.arguments[0], default_tag=None)
    reference = reference_of(parsed.arguments[0])
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
