"""A new lab.yaml: every setting with its sentence and its default, all of them commented out."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

from lab import files
from lab.config import facts
from lab.config.scalars import scalar
from lab.errors import UsageError

_HEAD = """\
# Settings of the lab. What is commented out is the default: take "# " away in front of a key and change its value.
# A variable beats this file: ports.app is LAB_PORTS_APP. What holds, and why, is shown by: invoke config.show
# An editor checks this file and completes its keys with the schema from: invoke config.schema > lab.schema.json
# when the first line here is: # yaml-language-server: $schema=lab.schema.json
"""
_CHINA = """\
# In China, where upstream's registries are slow or closed: write these lines without "#" and the spaces behind it,
# instead of the two keys above. Public mirrors come and go; try one first:
# docker pull docker.m.daocloud.io/library/registry:2.8.3
#
#    mirrors:
#      docker.io: docker.m.daocloud.io
#      ghcr.io: ghcr.m.daocloud.io
#      quay.io: quay.m.daocloud.io
#    images:   # on Docker Hub there are these two as well
#      helper: gitlab/gitlab-runner-helper:x86_64-v19.3.0
#      argocd-redis: redis:8.2.3-alpine
#
# k3d and Argo CD's manifest come from GitHub; downloads.base below names another server for them.
"""
_AFTER = {"images": _CHINA}
"""What follows a setting."""
_WIDTH = 118


def init(path: Path, *, force: bool = False) -> None:
    """Write the commented file; a new one is for its owner only, since it may come to hold passwords.

    Raises:
        UsageError: there is a file already, and ``force`` is not given.
    """
    if path.exists() and not force:
        raise UsageError(
            "LAB-CONF-05",
            f"{path} exists already; it was not touched.",
            hint="Change one setting: invoke config.set KEY VALUE · begin anew: invoke config.init --force",
        )
    files.replace(path, text().encode())


def text() -> str:
    """The file's contents."""
    return "\n".join([_HEAD, *("\n".join(_group(group)) + "\n" for group in facts.groups())])


def _group(group: facts.Group) -> Iterator[str]:
    if group.name:
        yield from _comment(group.about, "")
        yield f"{group.name}:"
    indent = "  " if group.name else ""
    for setting in group.settings:
        choices = f" One of: {', '.join(setting.choices)}." if setting.choices else ""
        yield from _comment(setting.about + choices, indent)
        value = "" if setting.default is None else f" {scalar(setting.default)}"
        yield f"{indent}# {setting.name}:{value}"
        yield from _AFTER.get(setting.key, "").splitlines()


def _comment(sentence: str, indent: str) -> list[str]:
    return textwrap.wrap(sentence, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
