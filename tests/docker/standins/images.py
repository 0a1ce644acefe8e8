"""Stand-in images: each folder here holds a Dockerfile, whose comments say what it stands in for.

    # image: docker.io/library/redis:8.2.3-alpine     the upstream name, once for each
    # files: lab/emulator                             what else of the repository goes into the build context

``FROM standin/NAME`` means the stand-in of that folder. An image's tag is a digest of everything it is made of, so that
nothing is built twice and nobody gets a stale one.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import tarfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import docker
from docker.errors import APIError, BuildError, ImageNotFound

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
NAMESPACE = "gitops-lab-standin"
LABELS = {"gitops-lab.standin": "true"}
BASE = "base"
_NOT_IN_BASE = (
    "old",
    "proc/*",
    "sys/*",
    "dev/*",
    "run/*",
    "tmp/*",
    "var/lib/docker/*",
    "usr/share/doc/*",
    "usr/share/man/*",
)


class CannotBuildError(Exception):
    """An image that cannot be built, with the end of the build's output."""


@dataclass(frozen=True)
class StandIn:
    """One folder with a Dockerfile."""

    name: str

    @cached_property
    def dockerfile(self) -> str:
        return (HERE / self.name / "Dockerfile").read_text()

    @property
    def upstream(self) -> list[str]:
        """The image names that this one stands in for, with their registries."""
        return re.findall(r"^# image: (\S+)$", self.dockerfile, re.MULTILINE)

    @property
    def needs(self) -> list[str]:
        """The stand-ins that this one is built from."""
        return list(dict.fromkeys(re.findall(r"\bstandin/([\w-]+)", self.dockerfile)))

    @cached_property
    def files(self) -> dict[str, Path]:
        """The build context: the folder's own files at the top, other files of the repository at their path there."""
        found = {str(path.relative_to(HERE / self.name)): path for path in _files_below(HERE / self.name)}
        for name in re.findall(r"^# files: (\S+)$", self.dockerfile, re.MULTILINE):
            found |= {str(path.relative_to(ROOT)): path for path in _files_below(ROOT / name)}
        return found

    @cached_property
    def tag(self) -> str:
        """``gitops-lab-standin/NAME:DIGEST``."""
        digest = hashlib.sha256(" ".join(StandIn(name).tag for name in self.needs).encode())
        for name, path in sorted(self.files.items()):
            digest.update(f"{name} {path.stat().st_mode & 0o100} {path.stat().st_size} ".encode() + path.read_bytes())
        return f"{NAMESPACE}/{self.name}:{digest.hexdigest()[:12]}"


def every() -> list[StandIn]:
    """Every stand-in, none before what it is built from."""
    ordered: dict[str, StandIn] = {}

    def add(name: str) -> None:
        if name not in ordered:
            for other in StandIn(name).needs:
                add(other)
            ordered[name] = StandIn(name)

    for path in sorted(HERE.glob("*/Dockerfile")):
        add(path.parent.name)
    return list(ordered.values())


def standing_in_for(upstream: str) -> StandIn:
    """The stand-in for an upstream name; raises LookupError."""
    for stand_in in every():
        if upstream in stand_in.upstream:
            return stand_in
    raise LookupError(upstream)


def ensure(client: docker.DockerClient, stand_in: StandIn) -> bool:
    """Build the image unless it is there, after those that it needs; answers whether anything was built.

    Raises:
        CannotBuildError: the build failed.
    """
    try:
        client.images.get(stand_in.tag)
    except ImageNotFound:
        if stand_in.name == BASE:
            _make_base(client, stand_in)
        else:
            for name in stand_in.needs:
                ensure(client, StandIn(name))
            _build(client, stand_in)
        return True
    return False


def _build(client: docker.DockerClient, stand_in: StandIn) -> None:
    dockerfile = re.sub(r"\bstandin/([\w-]+)", lambda found: StandIn(found[1]).tag, stand_in.dockerfile)
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for name, path in stand_in.files.items():
            if name != "Dockerfile":
                tar.add(path, name, recursive=False, filter=_anonymous)
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(dockerfile.encode())
        tar.addfile(entry, io.BytesIO(dockerfile.encode()))
    context.seek(0)
    try:
        client.images.build(
            fileobj=context,
            custom_context=True,
            tag=stand_in.tag,
            labels=LABELS,
            network_mode="host",  # what a build downloads, the machine itself can reach
            rm=True,
            forcerm=True,
        )
    except BuildError as error:
        lines = "".join(line.get("stream", "") for line in error.build_log).splitlines()
        raise CannotBuildError(f"{stand_in.name}: {error}\n" + "\n".join(lines[-15:])) from error


def _make_base(client: docker.DockerClient, base: StandIn) -> None:
    """The base: from Docker Hub's Debian where it can be pulled, else from the tree that ``.ci/engine tree`` makes."""
    if not list(_cache().glob("trixie-*/.complete")):
        try:
            client.images.pull("debian", tag="trixie-slim")
        except APIError:
            pass
        else:
            _build(client, base)
            return
    made = subprocess.run([ROOT / ".ci/engine", "tree"], capture_output=True, text=True, timeout=600, check=False)
    if made.returncode:
        raise CannotBuildError(f"neither debian:trixie-slim nor a tree of its packages: {made.stderr.strip()}")
    exclude = [f"--exclude=./{name}" for name in _NOT_IN_BASE]
    with subprocess.Popen(["tar", "-C", made.stdout.strip(), *exclude, "-c", "."], stdout=subprocess.PIPE) as tar:
        repository, _, tag = base.tag.partition(":")
        changes = [f"LABEL {key}={value}" for key, value in LABELS.items()]
        client.api.import_image_from_stream(tar.stdout, repository=repository, tag=tag, changes=changes)
    if tar.returncode:
        client.images.remove(base.tag, force=True)
        raise CannotBuildError(f"tar of {made.stdout.strip()} ended with {tar.returncode}")


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gitops-lab-ci"


def _files_below(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return [file for file in sorted(path.rglob("*")) if file.is_file() and "__pycache__" not in file.parts]


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mode = 0o755 if entry.mode & 0o100 else 0o644
    return entry
