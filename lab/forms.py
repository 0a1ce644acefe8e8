"""What the text of a setting must look like, where its type alone does not say it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"


@dataclass(frozen=True)
class Form:
    """A pattern for the whole text, and the same in words: "must be ..."."""

    pattern: str
    wanted: str

    def fits(self, text: str) -> bool:
        """Whether the text has this form."""
        return re.fullmatch(self.pattern, text) is not None


FORMS: Mapping[str, Form] = {
    # "k3d-NAME-server-0" must be a host name, and k3d takes 32 characters for a cluster's (contracts E.1)
    "name": Form(r"[a-z0-9](?:[a-z0-9-]{0,22}[a-z0-9])?", "a DNS label of at most 24 characters, such as lab"),
    # *.localhost is loopback for whoever asks, inside a container the container itself (contracts H.101)
    "domain": Form(
        rf"(?!(?:.*\.)?localhost$){_LABEL}(?:\.{_LABEL})*", "a domain in lower case such as lab.test, not localhost"
    ),
    "project.namespace": Form(_LABEL, "a DNS label: at most 63 of a-z, 0-9 and - (not at its ends)"),
    "project.deployment": Form(_LABEL, "a DNS label: at most 63 of a-z, 0-9 and - (not at its ends)"),
    "project.health": Form(r"/\S*", "a path that begins with /"),
}
"""By the key of the setting."""

REGISTRY = Form(r"(?:[a-z0-9-]+\.)+[a-z0-9-]+(?::\d+)?|[a-z0-9-]+:\d+|localhost", "a registry's host such as docker.io")
"""The names below `mirrors`."""
MIRROR = Form(
    r"(?:(https?)://)?([a-zA-Z0-9.-]+(?::\d+)?)(/[a-zA-Z0-9._/-]*)?", "a mirror as [http://]HOST[:PORT][/PREFIX]"
)
"""The values below `mirrors`: scheme, host with port, prefix."""


def unfit(mirrors: Mapping[str, str]) -> Iterator[tuple[str, str, Form]]:
    """Key, value and wanted form of each mirror that has another one."""
    for registry, mirror in mirrors.items():
        if not REGISTRY.fits(registry):
            yield f"mirrors.{registry}", registry, REGISTRY
        elif not MIRROR.fits(mirror.strip()):
            yield f"mirrors.{registry}", mirror, MIRROR
