"""Reads and renders the files of k8s/, gitlab/ and runner/: what a learner reads is what the lab uses."""

from __future__ import annotations

from pathlib import Path
from string import Template

ROOT = Path(__file__).resolve().parent.parent


def folder(relative: str) -> Path:
    """The path of a folder or file of this repository, such as ``gitlab/project``."""
    return ROOT / relative


def text(relative: str) -> str:
    """The content of a file as it is."""
    return folder(relative).read_text(encoding="utf-8")


def render(relative: str, **values: object) -> str:
    """The content of a file with each ``${name}`` replaced; ``$$`` stands for one dollar sign.

    Raises:
        KeyError: the file asks for a value that was not given.
    """
    return Template(text(relative)).substitute({name: str(value) for name, value in values.items()})
