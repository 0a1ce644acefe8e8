"""A pipeline as the loop sees it, and the sample's own pipeline made to fit another project.

There is one such file in this repository, gitlab/project/.gitlab-ci.yml; what is offered differs from it in names only.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import yaml

from lab import assets
from lab.adopt.finding import Finding
from lab.adopt.repository import Repository

NAME = ".gitlab-ci.yml"
_SAMPLE = "gitlab/project/.gitlab-ci.yml"
_BUILD = re.compile(r"\b(?:docker|podman|nerdctl)\s+(?:buildx\s+|image\s+)?build\b|\bbuildah\b|\bkaniko\b|\bbuildctl\b")
_PUSH = re.compile(r"\bpush\b|--destination")
_GIT_PUSH = re.compile(r"\bpush\b.*(?:HEAD|refs/heads|\$CONFIG_BRANCH|\$\{CONFIG_BRANCH\})")
_SHORT = "CI_COMMIT_SHORT_SHA"


class _Loader(yaml.SafeLoader):
    """Takes GitLab's own tags for what they are: words that stand for something elsewhere."""


def _reference(loader: yaml.SafeLoader, node: yaml.SequenceNode) -> str:
    return "!reference " + ", ".join(map(str, loader.construct_sequence(node)))


_Loader.add_constructor("!reference", _reference)


def general(
    *, title: str, name: str, image: str, image_file: str, manifests: str, config_branch: str, context: str
) -> str:
    """The sample's pipeline for another project.

    Args:
        title: the project's name for people.
        name: the project's name in addresses.
        image: name of the image that stands in the manifest, without registry and tag.
        image_file: the manifest whose image it sets.
        manifests: the folder that goes to the config branch.
        config_branch: that branch.
        context: the folder that holds the Dockerfile.
    """
    tag = '--tag "$IMAGE:$CI_COMMIT_REF_SLUG" '
    words = {
        f"{tag}.": tag + shlex.quote(context),
        "image:.*hichat.*": f"image:.*{image}.*",
        "...hichat...": f"...{image}...",
        "k8s/hichat.yaml": shlex.quote(image_file),
        "hichat.yaml.new": shlex.quote(image_file.rpartition("/")[2] + ".new"),
        "k8s-config": config_branch,
        "k8s": shlex.quote(manifests),
        "HiChat": title,
        "hichat": name,
    }
    pattern = "|".join(rf"(?<!\w){re.escape(word)}(?![\w])" if word[0].isalnum() else re.escape(word) for word in words)
    return re.sub(pattern, lambda match: words[match.group()], assets.text(_SAMPLE))


def findings(repository: Repository, config_branch: str) -> Iterator[Finding]:
    """What is to be said about the pipeline, which exists."""
    text = repository.read(NAME) or ""
    try:
        document = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader with one more tag
    except (yaml.YAMLError, ValueError) as error:  # ValueError: the 30th of February
        line = getattr(getattr(error, "problem_mark", None), "line", 0) + 1
        said = f"It is no YAML: {getattr(error, 'problem', error)}"
        yield Finding("ci.yaml", "wrong", said, f"{NAME}:{line}", "Mend it.")
        return
    if not isinstance(document, dict) or not document:
        yield Finding("ci.yaml", "wrong", "It holds no jobs.", NAME, f"Look at {_SAMPLE}.")
        return
    if "include" in document:
        said = "What it includes was not looked at; the embedded engine includes local files only."
        yield Finding("ci.include", "note", said, _line(text, "include:"))
    yield from _jobs(text, list(_lines(document)), config_branch)


def _jobs(text: str, lines: list[str], config_branch: str) -> Iterator[Finding]:
    """The three things that the loop needs of a pipeline."""
    script = "\n".join(lines)
    if _BUILD.search(script):
        yield Finding("ci.build", "ok", "builds an image", NAME)
    else:
        yield Finding("ci.build", "missing", "No job builds an image.", NAME, f"See job build in {_SAMPLE}.")
    if not _PUSH.search(script):
        yield Finding("ci.push", "missing", "No job pushes an image.", NAME, f"See job build in {_SAMPLE}.")
    elif _SHORT not in text:
        said = f"No tag is made of ${_SHORT}; the lab knows a commit's image by these 8 characters."
        yield Finding(
            "ci.tag", "wrong", said, _line(text, "CI_COMMIT_SHA", "rev-parse"), f"See job build in {_SAMPLE}."
        )
    else:
        yield Finding("ci.tag", "ok", f"a tag is made of ${_SHORT}", _line(text, _SHORT))
    branches = (config_branch, "CONFIG_BRANCH")
    if "git" in script and _GIT_PUSH.search(script) and any(branch in text for branch in branches):
        yield Finding("ci.config-branch", "ok", f"commits to {config_branch}", _line(text, *branches))
    else:
        said = f"No job commits the new tag to branch {config_branch}, where Argo CD looks for it."
        yield Finding("ci.config-branch", "missing", said, NAME, f"Take job update-config from {_SAMPLE} over.")
    if "latest" in script and _SHORT not in text:
        yield Finding("ci.latest", "note", "A tag that moves changes no manifest, so nothing is deployed.", NAME)


def _lines(document: dict[Any, Any]) -> Iterator[str]:
    """Every line of every script, those of hidden jobs and of what anchors brought included."""
    for value in document.values():
        if isinstance(value, dict):
            for key in ("before_script", "script", "after_script"):
                yield from _flat(value.get(key))
    for key in ("before_script", "after_script"):
        yield from _flat(document.get(key))


def _flat(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _flat(each)


def _line(text: str, *words: str) -> str:
    """Where the first of the words stands."""
    for word in words:
        for number, line in enumerate(text.splitlines(), 1):
            if word in line.partition("#")[0]:
                return f"{NAME}:{number}"
    return NAME
