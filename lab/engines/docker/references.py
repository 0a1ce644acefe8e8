"""Image references and mirrors: how one image is called here, upstream, and where a mirror keeps it. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from lab.errors import UsageError
from lab.forms import MIRROR

HUB = "docker.io"
"""What Docker calls its Hub in references; the API answers at `HUB_API`."""
HUB_API = "registry-1.docker.io"
_ALIASES = (HUB_API, "index.docker.io", "hub.docker.com", "docker.com")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:[._/-]+[a-z0-9]+)*")
_TAG = re.compile(r"\w[\w.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Reference:
    """One image: ``registry/repository:tag``, perhaps with a digest that its contents must have."""

    registry: str
    repository: str
    tag: str
    digest: str = ""

    @property
    def name(self) -> str:
        """What the image is called on this machine; Docker Hub's part is left out, as Docker does it."""
        if self.registry == HUB:
            return f"{self.repository.removeprefix('library/')}:{self.tag}"
        return f"{self.repository_name}:{self.tag}"

    @property
    def repository_name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def version(self) -> str:
        """What a registry is asked for: the digest when there is one, else the tag."""
        return self.digest or self.tag

    @property
    def pulled(self) -> str:
        """What the engine calls the image when it has pulled it."""
        return f"{self.repository_name}@{self.digest}" if self.digest else self.name

    def __str__(self) -> str:
        return f"{self.name}@{self.digest}" if self.digest else self.name


@dataclass(frozen=True)
class Mirror:
    """Where images of one registry come from instead."""

    scheme: str
    host: str
    """With the port."""
    prefix: str = ""
    """Put before the repository, without slashes at its ends."""

    @property
    def url(self) -> str:
        """Base URL of its API; the prefix belongs to the repositories and not to this."""
        return f"{self.scheme}://{self.host}"


def parse(text: str, key: str = "image") -> Reference:
    """The reference that ``text`` means; ``python:3`` is ``docker.io/library/python:3``, no tag is ``latest``.

    A digest without a tag gets a tag made of the digest, so that the image has a name here.

    Raises:
        UsageError: it is no reference; ``key`` names where it stands.
    """
    rest, _, digest = text.strip().partition("@")
    path, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        path, tag = rest, f"sha256-{digest[7:19]}" if digest else "latest"
    registry, slash, repository = path.partition("/")
    if not slash or not ("." in registry or ":" in registry or registry == "localhost"):
        registry, repository = HUB, path
    if registry in _ALIASES:
        registry = HUB
    if registry == HUB and "/" not in repository:
        repository = f"library/{repository}"
    if not (_REPOSITORY.fullmatch(repository) and _TAG.fullmatch(tag) and (not digest or _DIGEST.fullmatch(digest))):
        raise UsageError(
            "LAB-IMAGE-01", f"{key} is not the name of an image.", evidence=f"it is {text!r}",
            hint="Such as registry.example.com/group/name:tag, in lower case, perhaps with @sha256:...",
        )  # fmt: skip
    return Reference(registry, repository, tag, digest)


def mirrors(settings: Mapping[str, str]) -> dict[str, Mirror]:
    """The mirrors by the registry that they stand in for.

    Raises:
        UsageError: a name is no registry's, or a value no ``[http://]host[:port][/prefix]``.
    """
    return {_registry(name): _mirror(name, value) for name, value in settings.items()}


def mirrored(reference: Reference, known: Mapping[str, Mirror]) -> Reference:
    """The same image where the mirror keeps it; unchanged when its registry has none."""
    mirror = known.get(reference.registry)
    if mirror is None:
        return reference
    path = f"{mirror.prefix}/{reference.repository}" if mirror.prefix else reference.repository
    return replace(reference, registry=mirror.host, repository=path)


def _registry(name: str) -> str:
    if name in _ALIASES:
        return HUB
    if "." not in name and ":" not in name and name != "localhost":
        raise UsageError(
            "LAB-IMAGE-02", f"mirrors: {name} is not a registry's host.",
            hint="Keys are hosts as image names carry them: docker.io, quay.io, ghcr.io, registry.gitlab.com ...",
        )  # fmt: skip
    return name


def _mirror(name: str, value: str) -> Mirror:
    found = re.fullmatch(MIRROR.pattern, value.strip())
    if not found:
        raise UsageError(
            "LAB-IMAGE-03", f"mirrors: {name} needs a mirror as HOST[:PORT][/PREFIX].", evidence=f"it is {value!r}",
            hint="Such as mirror.example.com, or http://10.0.0.5:5000/dockerhub for one without TLS.",
        )  # fmt: skip
    return Mirror((found[1] or "https").lower(), found[2].lower(), (found[3] or "").strip("/").lower())
