"""The command line of ``docker build``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from lab.emulator.docker import oci
from lab.emulator.docker.build import Build, Options
from lab.emulator.docker.credentials import Credentials
from lab.emulator.docker.dockerfile import DockerfileError
from lab.emulator.docker.errors import DockerError, NotEmulatedError
from lab.emulator.docker.flags import Flag, parse
from lab.emulator.docker.images import open_store
from lab.emulator.docker.progress import Progress
from lab.emulator.docker.references import InvalidReferenceError, Reference
from lab.emulator.docker.references import parse as parse_reference

_BUILD = (
    Flag("tag", "t"),
    Flag("file", "f"),
    Flag("build-arg"),
    Flag("label"),
    Flag("target"),
    Flag("no-cache", boolean=True),
    Flag("pull", boolean=True),
    Flag("platform"),
    Flag("quiet", "q", boolean=True),
    Flag("progress"),
    Flag("add-host"),
    Flag("network"),
    Flag("iidfile"),
    Flag("cache-from"),
    Flag("rm", boolean=True),
    Flag("force-rm", boolean=True),
    Flag("load", boolean=True),
    Flag("push", boolean=True),
    Flag("provenance"),
    Flag("sbom"),
)
_WITHOUT_EFFECT = {
    "add-host": "no RUN is ever executed",
    "network": "no RUN is ever executed",
    "cache-from": "there is no build cache",
    "no-cache": "there is no build cache",
    "provenance": "no attestation is made",
    "sbom": "no attestation is made",
}


def build(arguments: list[str]) -> None:
    """Build an image."""
    parsed = parse(arguments, _BUILD)
    if len(parsed.arguments) != 1:
        raise DockerError("docker: 'docker build' requires 1 argument\n\nUsage:  docker build [OPTIONS] PATH | URL | -")
    platform = parsed.last("platform")
    if platform and platform != f"linux/{oci.architecture()}":
        raise NotEmulatedError(f"--platform {platform} (this machine is linux/{oci.architecture()})")
    context, file, text = _inputs(parsed.arguments[0], parsed.last("file"))
    options = Options(
        context=context,
        file=file,
        text=text,
        tags=tuple(_tag_name(tag) for tag in parsed.all("tag")),
        arguments=_build_arguments(parsed.all("build-arg")),
        labels=dict(label.partition("=")[::2] for label in parsed.all("label")),
        target=parsed.last("target"),
        pull=parsed.on("pull"),
    )
    progress = Progress(quiet=parsed.on("quiet") or parsed.last("progress") in {"quiet", "none"})
    for flag in [name for name in _WITHOUT_EFFECT if parsed.last(name)]:
        progress.warn(f"--{flag} has no effect: {_WITHOUT_EFFECT[flag]}")
    store, credentials = open_store(), Credentials.of_user()
    try:
        image = Build(options, store, credentials, progress).run()
    except DockerfileError as error:
        raise DockerError(f"{error.where}\nERROR: failed to build: {error}") from error
    except DockerError as error:
        raise DockerError(f"ERROR: failed to build: {error}") from error
    if iidfile := parsed.last("iidfile"):
        Path(iidfile).write_text(image.id)
    if parsed.on("quiet"):
        sys.stdout.write(f"{image.id}\n")
    if parsed.on("push"):
        from lab.emulator.docker.exchange import push_image  # noqa: PLC0415 - HTTP costs a third of a build's time

        for reference in options.tags:
            push_image(store, image, reference, credentials, quiet=parsed.on("quiet"))


def _inputs(context: str, file: str | None) -> tuple[Path, Path, str | None]:
    """The context's folder, the Dockerfile's path, and its text when it comes on standard input."""
    if context == "-" or "://" in context or context.startswith("git@"):
        raise NotEmulatedError(f"a build context other than a folder ({context})")
    folder = Path(context)
    if not folder.is_dir():
        problem = "not a directory" if folder.exists() else "no such file or directory"
        raise DockerError(f"ERROR: failed to build: unable to prepare context: path {json.dumps(context)}: {problem}")
    folder = folder.resolve()
    if file == "-":
        return folder, folder / "Dockerfile", sys.stdin.read()
    return folder, Path(file).absolute() if file else folder / "Dockerfile", None


def _tag_name(text: str) -> Reference:
    try:
        return parse_reference(text)
    except InvalidReferenceError as error:
        raise DockerError(f'ERROR: failed to build: invalid tag "{text}": {error}') from error


def _build_arguments(given: list[str]) -> dict[str, str]:
    """``NAME=value``; a bare ``NAME`` takes its value from the environment, and is dropped when there is none."""
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if equals:
            found[name] = value
        elif name in os.environ:
            found[name] = os.environ[name]
    return found
