"""The Kubernetes manifests of a repository: which Deployment carries the application, and what surrounds it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

import yaml

from lab import argocd
from lab.adopt.finding import Finding
from lab.adopt.repository import Repository

USUAL_FOLDER = "k8s"
_FOLDERS = ("k8s", "kubernetes", "manifests", "deploy", "deployment", "deployments", "kube", "infra")
_IMAGE_LINE = re.compile(r"^[ ]*(?:-[ ]+)?image:[ ]*[\"']?([^\s\"'#]+)")
_OWN = ("Namespace", "Application")
"""Kinds whose namespace says nothing about where the application lives."""
_SERVANTS = re.compile(
    r"mysql|mariadb|postgres|redis|valkey|mongo|rabbitmq|kafka|memcached|adminer|elasticsearch|nginx"
)
_PUBLIC = ("docker.io", "quay.io", "ghcr.io", "gcr.io", "registry.k8s.io", "public.ecr.aws", "mcr.microsoft.com")
_LARGEST = 200
_NOT_SYNCED = argocd.EXCLUDE.strip("{}").split(",")

Document = dict[str, Any]


@dataclass(frozen=True)
class Manifest:
    """One object in one file, relative to the repository's root."""

    file: str
    body: Document

    @property
    def kind(self) -> str:
        """``Deployment`` and so on."""
        return str(self.body.get("kind"))

    @property
    def name(self) -> str:
        """Its name."""
        return str(_mapping(self.body.get("metadata")).get("name"))

    @property
    def namespace(self) -> str:
        """The namespace that it names, or empty."""
        return str(_mapping(self.body.get("metadata")).get("namespace") or "")

    @property
    def template(self) -> Document:
        """A Deployment's pod template."""
        return _mapping(self.spec.get("template"))

    @property
    def spec(self) -> Document:
        """Its specification."""
        return _mapping(self.body.get("spec"))

    @property
    def pod_labels(self) -> Document:
        """The labels of a Deployment's pods."""
        return _mapping(_mapping(self.template.get("metadata")).get("labels"))

    @property
    def container(self) -> Document:
        """Its first container."""
        return first(_mapping(self.template.get("spec")).get("containers"))


@dataclass(frozen=True)
class Manifests:
    """What was found in the folder that Argo CD would read."""

    folder: str
    """Relative to the repository's root."""
    objects: tuple[Manifest, ...]
    deployment: Manifest | None
    image: str
    """The Deployment's image without registry and tag, which the pipeline looks for; empty when there is none yet."""
    top: str = ""
    """The application's folder."""
    broken: tuple[Finding, ...] = ()

    @property
    def image_file(self) -> str:
        """The file whose image the pipeline is to set; empty when there is no Deployment."""
        return self.deployment.file if self.deployment else ""

    @property
    def misplaced(self) -> bool:
        """Whether they lie among the code: Argo CD reads a whole folder, and the pipeline copies one."""
        return bool(self.deployment) and self.folder == self.top

    def of(self, kind: str) -> list[Manifest]:
        """The objects of a kind."""
        return [each for each in self.objects if each.kind == kind]

    @property
    def health(self) -> str:
        """The path that the readiness or another HTTP probe asks, or empty."""
        container = self.deployment.container if self.deployment else {}
        for probe in ("readinessProbe", "startupProbe", "livenessProbe"):
            path = _mapping(_mapping(container.get(probe)).get("httpGet")).get("path")
            if path:
                return "/" + str(path).lstrip("/")
        return ""

    @property
    def port(self) -> int | None:
        """The container's first port."""
        number = first((self.deployment.container if self.deployment else {}).get("ports")).get("containerPort")
        return number if isinstance(number, int) else None

    @property
    def refuses_root(self) -> bool:
        """Whether Kubernetes would not start a container that runs as root."""
        if self.deployment is None:
            return False
        pod = _mapping(_mapping(self.deployment.template.get("spec")).get("securityContext"))
        return bool({**pod, **_mapping(self.deployment.container.get("securityContext"))}.get("runAsNonRoot"))

    @property
    def namespace(self) -> str:
        """The namespace of the Deployment, or empty."""
        return self.deployment.namespace if self.deployment else ""


def find(repository: Repository) -> Manifests:
    """Read every manifest of the application and choose the Deployment that is its own."""
    objects: list[Manifest] = []
    broken: list[Finding] = []
    for name in _candidates(repository):
        place = repository.at(name)
        text = repository.read(place) or ""
        try:
            objects += [
                Manifest(place, body) for body in yaml.safe_load_all(text) if isinstance(body, dict) and "kind" in body
            ]
        except (yaml.YAMLError, ValueError) as error:  # ValueError: the 30th of February
            if "kind:" in text and "{{" not in text:
                line = getattr(getattr(error, "problem_mark", None), "line", 0) + 1
                said = f"It is no YAML: {getattr(error, 'problem', error)}"
                broken.append(Finding("k8s.yaml", "wrong", said, f"{place}:{line}", "Mend it."))
    deployment = _choose([each for each in objects if each.kind == "Deployment"], repository)
    folder = deployment.file.rpartition("/")[0] if deployment else _folder(repository, objects)
    inside = tuple(each for each in objects if each.file.rpartition("/")[0] == folder)
    image = base(str(deployment.container.get("image", ""))) if deployment else ""
    return Manifests(folder, inside, deployment, image, repository.folder, tuple(broken))


def base(image: str) -> str:
    """The last part of an image's name, without tag and digest."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0]


def image_lines(text: str) -> list[tuple[int, str]]:
    """Number and image of each line that names one."""
    return [
        (number, match[1]) for number, line in enumerate(text.splitlines(), 1) if (match := _IMAGE_LINE.match(line))
    ]


def findings(manifests: Manifests, repository: Repository) -> Iterator[Finding]:
    """What is to be said about them."""
    yield from manifests.broken
    yield from _unusual(repository)
    for kind, why in (
        ("Deployment", "Kubernetes has nothing to run."),
        ("Service", "Nothing leads to the pods."),
        ("Ingress", "Nothing leads into the cluster."),
    ):
        found = manifests.of(kind)
        if not found:
            yield Finding(f"k8s.{kind.lower()}", "missing", f"There is no {kind}: {why}", manifests.folder or ".")
        elif kind != "Deployment":
            yield Finding(f"k8s.{kind.lower()}", "ok", ", ".join(each.name for each in found), found[0].file)
    if manifests.deployment:
        yield Finding("k8s.deployment", "ok", manifests.deployment.name, manifests.deployment.file)
        yield from _image(manifests, repository)
        yield from _probes(manifests.deployment)
    if manifests.misplaced:
        files = " ".join(dict.fromkeys(each.file for each in manifests.objects))
        usual = repository.at(USUAL_FOLDER)
        said = "The manifests lie among the code; Argo CD reads a folder and nothing else may be in it."
        yield Finding("k8s.folder", "wrong", said, manifests.image_file, f"mkdir -p {usual} && git mv {files} {usual}/")
    yield from _namespaces(manifests)
    yield from _hosts(manifests)
    yield from _registries(manifests, repository)


def _unusual(repository: Repository) -> Iterator[Finding]:
    """Forms of manifests that the loop does not render."""
    for name in repository.names:
        file = name.rpartition("/")[2]
        if file == "Chart.yaml":
            hint = f"helm template . > {USUAL_FOLDER}/app.yaml makes plain manifests of it."
            yield Finding(
                "k8s.helm", "note", "A Helm chart; the loop reads plain manifests.", repository.at(name), hint
            )
        elif file in ("kustomization.yaml", "kustomization.yml"):
            hint = f"kubectl kustomize . > {USUAL_FOLDER}/app.yaml makes plain manifests of it."
            said = "Kustomize; the loop sets the image in a plain manifest."
            yield Finding("k8s.kustomize", "note", said, repository.at(name), hint)


def _image(manifests: Manifests, repository: Repository) -> Iterator[Finding]:
    """The pipeline replaces every line that `sed` finds by the image's name, so there must be exactly one."""
    file, image = manifests.image_file, manifests.image
    wanted = re.compile(rf"image:.*{re.escape(image)}")
    rows = (repository.read(file) or "").splitlines()
    lines = [number for number, row in enumerate(rows, 1) if image and wanted.search(row)]
    place = f"{file}:{lines[0]}" if lines else file
    if len(lines) != 1:
        said = f"{len(lines)} lines name an image {image or '(none)'}; the pipeline sets exactly one."
        yield Finding("k8s.image", "wrong", said, place, "Give the application an image of a name of its own.")
    else:
        yield Finding("k8s.image", "ok", f"the pipeline can set {image}", place)


def _probes(deployment: Manifest) -> Iterator[Finding]:
    if "readinessProbe" not in deployment.container:
        said = "No readinessProbe: new pods get requests before they can answer."
        yield Finding("k8s.probes", "note", said, deployment.file, "Ask the health path by httpGet.")
    else:
        yield Finding("k8s.probes", "ok", "a readiness probe", deployment.file)


def _namespaces(manifests: Manifests) -> Iterator[Finding]:
    for each in manifests.of("Application"):
        said = "An Application in the folder that it watches would manage itself."
        yield Finding("k8s.application", "wrong", said, each.file, "Move it elsewhere; the lab has one of its own.")
    named = {each.namespace: each for each in manifests.objects if each.namespace and each.kind not in _OWN}
    if len(named) > 1:
        said = f"The objects name several namespaces: {', '.join(sorted(named))}."
        hint = "One application lives in one namespace: project.namespace."
        yield Finding("k8s.namespace", "wrong", said, list(named.values())[-1].file, hint)


def _hosts(manifests: Manifests) -> Iterator[Finding]:
    """An Ingress that answers for one name only."""
    for ingress in manifests.of("Ingress"):
        rules = ingress.spec.get("rules")
        rules = rules if isinstance(rules, list) else []
        hosts = [str(host) for rule in rules if (host := _mapping(rule).get("host"))]
        if hosts and len(hosts) == len(rules):
            said = f"It answers for {', '.join(hosts)} only, and so not for http://localhost:8088."
            yield Finding("k8s.host", "note", said, ingress.file, "A rule without a host answers for every name.")


def _registries(manifests: Manifests, repository: Repository) -> Iterator[Finding]:
    """Images from a registry that the cluster may not reach; the application's own is set anew by the pipeline."""
    for file in dict.fromkeys(each.file for each in manifests.objects):
        for number, image in image_lines(repository.read(file) or ""):
            registry = image.partition("/")[0] if "/" in image else ""
            foreign = ("." in registry or ":" in registry) and not registry.endswith(_PUBLIC)
            if foreign and not (file == manifests.image_file and base(image) == manifests.image):
                said = f"{image} comes from {registry}, which the cluster may not know."
                yield Finding("k8s.registry", "wrong", said, f"{file}:{number}", "Take it from a public registry.")


def _candidates(repository: Repository) -> list[str]:
    """YAML files where manifests are usually found, the likeliest folders first."""
    names = [name for name in repository.names if name.endswith((".yaml", ".yml")) and not name.startswith(".")]
    names = [name for name in names if not any(fnmatch(name.rpartition("/")[2], each) for each in _NOT_SYNCED)]
    return sorted(names, key=lambda name: (_likelihood(name), name))[:_LARGEST]


def _likelihood(name: str) -> int:
    parts = name.lower().split("/")[:-1]
    return min((_FOLDERS.index(part) for part in parts if part in _FOLDERS), default=len(_FOLDERS))


def _choose(deployments: list[Manifest], repository: Repository) -> Manifest | None:
    """The application among its databases: by name, else the first that is no well-known servant."""
    for each in deployments:
        if repository.slug in (each.name, base(str(each.container.get("image", "")))):
            return each
    own = [each for each in deployments if not _SERVANTS.fullmatch(base(str(each.container.get("image", ""))))]
    return own[0] if own else None


def _folder(repository: Repository, objects: list[Manifest]) -> str:
    folders = [folder for each in objects if (folder := each.file.rpartition("/")[0])]
    return folders[0] if folders else repository.at(USUAL_FOLDER)


def first(value: object) -> Document:
    """The first mapping of a list; empty when there is none."""
    return _mapping(value[0]) if isinstance(value, list) and value else {}


def _mapping(value: object) -> Document:
    return dict(value) if isinstance(value, Mapping) else {}
