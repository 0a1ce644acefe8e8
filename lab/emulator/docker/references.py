"""Image references: parsing and normalising as Docker does it.

Source: github.com/distribution/reference (regexp.go, normalize.go).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

DEFAULT_DOMAIN = "docker.io"
_OFFICIAL = "library/"

_DOMAIN_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?\Z")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*\Z")
"""What a repository's name looks like, without its host."""
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
DIGEST = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[0-9a-zA-Z=_-]+\Z")
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}\Z")
_NAME_LIMIT = 255


class InvalidReferenceError(ValueError):
    """A text that is no image reference; the message is Docker's."""


@dataclass(frozen=True)
class Reference:
    """A normalised image reference."""

    domain: str
    """Host and port, ``docker.io`` when the text named none."""
    path: str
    """Repository inside the registry, ``library/`` added for Docker Hub's official images."""
    tag: str | None = None
    digest: str | None = None

    @property
    def name(self) -> str:
        """Host and path, without tag."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The name as a person would type it."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        return self.path.removeprefix(_OFFICIAL)

    @property
    def selector(self) -> str:
        """What stands in a manifest's address: the digest, else the tag."""
        return self.digest or self.tag or "latest"

    @property
    def familiar(self) -> str:
        """The whole reference as a person would type it."""
        return self.familiar_name + self._suffix

    @property
    def host(self) -> str:
        """The host that serves it: Docker Hub's name and its registry differ."""
        return "registry-1.docker.io" if self.domain == DEFAULT_DOMAIN else self.domain

    def __str__(self) -> str:
        return self.name + self._suffix

    @property
    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(text: str, *, default_tag: str | None = "latest") -> Reference:
    """Parse ``text``; ``default_tag`` fills in when it names neither tag nor digest.

    Raises:
        InvalidReferenceError: it is no reference.
    """
    rest, at, digest = text.partition("@")
    if at and not DIGEST.match(digest):
        raise InvalidReferenceError("invalid reference format")
    if digest.startswith("sha256:") and not _SHA256.match(digest):
        raise InvalidReferenceError("invalid reference format")
    domain, path = _split_domain(rest)
    tag: str | None = None
    if ":" in path:
        path, _, tag = path.rpartition(":")
        if not TAG.match(tag):
            raise InvalidReferenceError("invalid reference format")
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = _OFFICIAL + path
    if not PATH.match(path):
        if path != path.lower() and PATH.match(path.lower()):
            raise InvalidReferenceError(f"invalid reference format: repository name ({path}) must be lowercase")
        raise InvalidReferenceError("invalid reference format")
    if not _DOMAIN.match(domain):
        raise InvalidReferenceError("invalid reference format")
    if len(path) > _NAME_LIMIT:
        raise InvalidReferenceError(f"repository name must not be more than {_NAME_LIMIT} characters")
    return Reference(domain, path, tag if tag or digest else default_tag, digest or None)


def _split_domain(text: str) -> tuple[str, str]:
    """Tell a host from the first part of a path: it has a dot or a port, or is ``localhost``."""
    first, slash, rest = text.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        return DEFAULT_DOMAIN, text
    return (DEFAULT_DOMAIN if first == "index.docker.io" else first), rest
