"""The files that a repository lacks, ready to be put there: files of gitlab/ with the project's names in them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lab import assets, files
from lab.adopt import dockerfile, pipeline
from lab.adopt.manifests import USUAL_FOLDER, Manifest, Manifests, first
from lab.adopt.repository import Repository
from lab.adopt.stacks import USUAL_PORT, Source, Stack
from lab.errors import UsageError

_TEMPLATES = "gitlab/adopt"
_USER = 10001


@dataclass(frozen=True)
class Offer:
    """One file."""

    name: str
    """Relative to the repository's root."""
    text: str


@dataclass(frozen=True)
class Profile:
    """What is known of the application, and what the loop is to be told about it."""

    repository: Repository
    stack: Stack | None
    source: Source
    manifests: Manifests
    config_branch: str

    @property
    def dockerfile(self) -> str | None:
        """The Dockerfile's text, or None."""
        return self.repository.read(self.repository.at(dockerfile.NAME))

    @property
    def buildable(self) -> bool:
        """Whether there is an image to build: a Dockerfile, or a template that fits."""
        return self.dockerfile is not None or self.stack is not None

    @property
    def port(self) -> int:
        """Where the container listens: as the Dockerfile says, else the manifests, else the program."""
        return (dockerfile.port(self.dockerfile or "") or self.manifests.port or self.source.port) or USUAL_PORT

    @property
    def health(self) -> str:
        """The path to ask: what the manifests ask, what stands in the program, what the framework has."""
        found = self.manifests.health or self.source.health or (self.stack.health if self.stack else "")
        return found or "/"

    @property
    def folder(self) -> str:
        """The folder of the manifests."""
        return self.repository.at(USUAL_FOLDER) if self.manifests.misplaced else self.manifests.folder

    @property
    def image_file(self) -> str:
        """The manifest that carries the image, where it is or will be."""
        if self.manifests.deployment is None:
            return f"{self.folder}/{_free('deployment.yaml', self)}"
        return f"{self.folder}/{self.manifests.image_file.rpartition('/')[2]}"

    @property
    def deployment(self) -> str:
        """The Deployment's name."""
        return self.manifests.deployment.name if self.manifests.deployment else self.repository.slug

    @property
    def namespace(self) -> str:
        """The namespace: the one that the manifests name, else one of the project's own."""
        return self.manifests.namespace or self.repository.slug

    def settings(self) -> dict[str, str]:
        """The keys of lab.yaml that make the lab take this project; none while there is nothing to build."""
        if not self.buildable:
            return {}
        return {
            "project.path": f"root/{self.repository.slug}",
            "project.source": str(self.repository.root),
            "project.branch": self.repository.branch,
            "project.manifests": self.folder,
            "project.image_file": self.image_file,
            "project.deployment": self.deployment,
            "project.namespace": self.namespace,
            "project.health": self.health,
        }


def offers(profile: Profile) -> Iterator[Offer]:
    """Every file that is missing and that a template exists for; none where nobody knows what is to be built."""
    repository = profile.repository
    if not profile.buildable:
        return
    if profile.dockerfile is None and profile.stack:
        values = {"port": profile.port, **profile.stack.values}
        yield Offer(repository.at(dockerfile.NAME), _render(profile.stack.template, values))
        if ".dockerignore" not in repository.names:
            manifests = profile.folder.removeprefix(f"{repository.folder}/")
            yield Offer(repository.at(".dockerignore"), _render("dockerignore", {"manifests": manifests}))
    yield from _kubernetes(profile)
    if pipeline.NAME not in repository.all_names:
        yield Offer(
            pipeline.NAME,
            pipeline.general(
                title=repository.slug,
                name=repository.slug,
                image=profile.manifests.image or profile.deployment,
                image_file=profile.image_file,
                manifests=profile.folder,
                config_branch=profile.config_branch,
                context=repository.folder or ".",
            ),
        )


def takes_port(stack: Stack) -> bool:
    """Whether the command that starts the program passes PORT on, so that the program need not read it."""
    template = assets.text(f"{_TEMPLATES}/{stack.template}")
    return "$$PORT" in template or "$PORT" in stack.values.get("command", "")


def write(repository: Repository, wanted: list[Offer]) -> Iterator[Offer]:
    """Put the files there, none in the place of another; gives each that was written.

    Raises:
        UsageError: the folder may not be written, or something lies in the way.
    """
    for offer in wanted:
        path = repository.root / offer.name
        try:
            _put(path, offer.text, repository.root)
        except OSError as error:
            raise UsageError(
                "LAB-ADOPT-06", f"{offer.name} cannot be written; nothing was replaced.", evidence=str(error),
                hint="What was written before it stays; mend this and run the same again.",
            ) from error  # fmt: skip
        yield offer


def _put(path: Path, text: str, root: Path) -> None:
    """Write a new file; raises OSError when something lies there, or when its folder is a link that leads out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.parent.resolve().is_relative_to(root):
        raise OSError(f"{path.parent} leads out of the repository")
    if path.exists() or path.is_symlink():
        raise FileExistsError(17, "It exists already", str(path))
    staged = files.stage(path, text.encode())
    staged.chmod(0o644)  # whoever builds or deploys must be able to read it
    files.swap(staged, path)


def _kubernetes(profile: Profile) -> Iterator[Offer]:
    """Deployment, Service and Ingress, fitted to those of them that are there."""
    manifests, name = profile.manifests, profile.deployment
    values = {"name": name, "namespace": profile.namespace}
    if manifests.deployment is None:
        user = dockerfile.user(profile.dockerfile or "") or _USER
        memory = profile.stack.memory if profile.stack else "256Mi"
        rest = {"port": profile.port, "health": profile.health, "memory": memory, "user": user}
        yield Offer(profile.image_file, _render("k8s/deployment.yaml", {**values, **rest}))
    services = [each for each in manifests.of("Service") if _leads_to(each, manifests)]
    service, port = (services[0].name, first(services[0].spec.get("ports")).get("port", 80)) if services else (name, 80)
    if not services:
        labels = manifests.deployment.pod_labels if manifests.deployment else {}
        rest = {"selector": json.dumps(labels or {"app": name}), "port": profile.port}
        yield Offer(
            f"{profile.folder}/{_free('service.yaml', profile)}", _render("k8s/service.yaml", {**values, **rest})
        )
    if not manifests.of("Ingress"):
        rest = {"service": service, "service_port": port}
        yield Offer(
            f"{profile.folder}/{_free('ingress.yaml', profile)}", _render("k8s/ingress.yaml", {**values, **rest})
        )


def _leads_to(service: Manifest, manifests: Manifests) -> bool:
    """Whether a Service selects the Deployment's pods."""
    if manifests.deployment is None:
        return True
    labels, selector = manifests.deployment.pod_labels, service.spec.get("selector")
    return isinstance(selector, dict) and bool(selector) and all(labels.get(key) == selector[key] for key in selector)


def _free(name: str, profile: Profile) -> str:
    """A file name that is not taken in the manifests' folder."""
    taken = profile.repository.all_names
    return name if f"{profile.folder}/{name}" not in taken else f"{profile.repository.slug}-{name}"


def _render(template: str, values: Mapping[str, object]) -> str:
    return assets.render(f"{_TEMPLATES}/{template}", **values)
