"""What can be set: lab.yaml and LAB_* variables, read once into frozen values.

A variable beats the file, the file beats the default. The variable of ``project.branch`` is ``LAB_PROJECT_BRANCH``.
Every error names the key by its path and, for an unknown key, the nearest valid one.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from lab import forms
from lab.errors import UsageError

T = TypeVar("T")


@dataclass(frozen=True)
class ProjectSettings:
    """The project that goes through the loop."""

    path: str = "root/hichat"
    """Group and name on GitLab."""
    source: Path | None = None
    """A local git repository to take instead of the sample; relative to lab.yaml."""
    branch: str = "master"
    """The code branch."""
    config_branch: str = "k8s-config"
    """The branch that the pipeline writes and Argo CD reads."""
    manifests: str = "k8s"
    """Folder of the manifests in both branches."""
    image_file: str = "k8s/hichat.yaml"
    """The manifest whose image the pipeline sets."""
    deployment: str = "hichat"
    """The Deployment that carries the image."""
    namespace: str = "hichat"
    """Kubernetes namespace of the application."""
    health: str = "/health"
    """Path that answers 200 when the application serves."""
    image: str | None = None
    """Image name without tag; default is the project's own registry ($CI_REGISTRY_IMAGE)."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """More CI/CD variables, for example DOCKERHUB_USERNAME; stored masked where GitLab allows it."""

    @property
    def name(self) -> str:
        """The last part of `path`; also the Application's name."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class PortSettings:
    """Ports on 127.0.0.1."""

    gitlab: int = 8929
    """GitLab: pages, API and git."""
    registry: int = 5050
    """The container registry."""
    kubernetes: int = 6550
    """The Kubernetes API, with TLS."""
    argocd: int = 8443
    """Argo CD, with TLS."""
    app: int = 8088
    """The cluster's ingress, behind which the application answers."""


@dataclass(frozen=True)
class ClusterSettings:
    """The Kubernetes cluster of the Docker engine."""

    agents: int = 0
    """Nodes beside the server node."""
    kubeconfig: bool = False
    """Whether ``~/.kube/config`` gets the cluster too; the lab itself uses a kubeconfig of its own."""


@dataclass(frozen=True)
class DownloadSettings:
    """Where files come from that are no images."""

    base: str | None = None
    """A server that holds k3d and Argo CD's manifest, such as https://files.example.com/lab; default is upstream."""


@dataclass(frozen=True)
class TimeoutSettings:
    """Upper bounds in seconds."""

    start: float = 60
    """A component answers after its start."""
    gitlab: float = 900
    """GitLab answers; its first boot takes minutes."""
    cluster: float = 600
    """The cluster and Argo CD answer."""
    pull: float = 3600
    """One image or file is downloaded."""
    pipeline: float = 900
    """A pipeline ends."""
    sync: float = 300
    """Argo CD reacts, syncs, and the new pod answers."""
    smoke: float = 1200
    """The whole of `smoke`."""


@dataclass(frozen=True)
class EmulatorSettings:
    """The embedded engine."""

    profile: Literal["fast", "upstream"] = "fast"
    """``upstream`` adds the real systems' delays."""


@dataclass(frozen=True)
class Settings:
    """Every setting with its default."""

    engine: Literal["auto", "docker", "embedded"] = "auto"
    """Where the lab runs; ``auto`` decides once and remembers."""
    name: str = "lab"
    """Name of the lab's containers, volumes, network and cluster on the Docker engine, and their label."""
    domain: str = "lab.test"
    """GitLab is ``gitlab.<domain>`` inside the lab's network, on the Docker engine."""
    size: Literal["auto", "small", "medium", "large"] = "auto"
    """How much memory the lab may use; ``auto`` decides by what the machine has."""
    parallel: int = 8
    """How many steps run at the same time at most."""
    mirrors: Mapping[str, str] = field(default_factory=dict)
    """Where images come from instead of docker.io, quay.io and so on."""
    images: Mapping[str, str] = field(default_factory=dict)
    """Other images than the pinned ones, by the names that `invoke pull --list` shows."""
    project: ProjectSettings = field(default_factory=ProjectSettings)
    ports: PortSettings = field(default_factory=PortSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    downloads: DownloadSettings = field(default_factory=DownloadSettings)
    timeouts: TimeoutSettings = field(default_factory=TimeoutSettings)
    emulator: EmulatorSettings = field(default_factory=EmulatorSettings)


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """Read lab.yaml (absent is fine) and the LAB_* variables of ``environ``.

    Raises:
        UsageError: the file is no YAML mapping, or a key is unknown or ill-typed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        text = ""
    except UnicodeDecodeError as error:
        raise UsageError("LAB-CONF-01", f"{path.name} is not UTF-8 text.", evidence=str(error)) from error
    return parse(text, path, environ)


def parse(text: str, path: Path, environ: Mapping[str, str]) -> Settings:
    """The settings that a file with this text gives; ``path`` is its name and what a source is relative to.

    Raises:
        UsageError: as `load`.
    """
    raw = document(text, path)
    for key in keys():
        if variable(key) in environ:
            _set(raw, key, environ[variable(key)])
    settings = _build(Settings, raw, "", path.name)
    _check(settings, path)
    if settings.project.source:
        source = (path.parent / settings.project.source).resolve()
        settings = replace(settings, project=replace(settings.project, source=source))
    return settings


def variable(key: str) -> str:
    """The environment variable of a setting, ``LAB_PORTS_APP`` for ``ports.app``."""
    return "LAB_" + key.replace(".", "_").upper()


def keys(cls: type = Settings, prefix: str = "") -> Iterator[str]:
    """The path of every setting, ``ports.gitlab`` and so on, in the order of this file."""
    hints = typing.get_type_hints(cls)
    for item in fields(cls):
        if is_dataclass(hints[item.name]):
            yield from keys(typing.cast("type", hints[item.name]), f"{prefix}{item.name}.")
        else:
            yield prefix + item.name


def document(text: str, path: Path) -> dict[str, Any]:
    """What the text says, not yet checked against the keys.

    Raises:
        UsageError: the text is no YAML mapping.
    """
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError("LAB-CONF-01", f"{path.name} is not valid YAML.", evidence=str(error)) from error
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise UsageError("LAB-CONF-01", f"{path.name} must hold keys and values, not a {type(raw).__name__}.")
    return raw


def _set(raw: dict[str, Any], key: str, text: str) -> None:
    """Put a variable's text where the file's value would stand, typed as YAML would type it."""
    *parents, last = key.split(".")
    for parent in parents:
        if raw.get(parent) is None:
            raw[parent] = {}
        raw = raw[parent]
        if not isinstance(raw, dict):
            return  # the file is wrong here, and `_build` says how
    try:
        raw[last] = yaml.safe_load(text) if text else None
    except yaml.YAMLError:
        raw[last] = text  # right for a text, and for anything else `_build` says what is expected


def _build(cls: type[T], raw: dict[str, Any], prefix: str, file: str) -> T:
    known = [item.name for item in fields(typing.cast("Any", cls))]
    for key in raw:
        if key not in known:
            raise unknown(f"{prefix}{key}", file)
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for name in known:
        if raw.get(name) is None:
            continue  # an empty key is as good as none: every setting has a default
        hint, value, path = hints[name], raw[name], f"{prefix}{name}"
        if is_dataclass(hint):
            if not isinstance(value, dict):
                raise _wrong(path, value, "a group of keys", file)
            values[name] = _build(typing.cast("type[Any]", hint), value, f"{path}.", file)
        else:
            values[name] = _convert(hint, value, path, file)
    return cls(**values)


def _convert(hint: Any, value: Any, path: str, file: str) -> Any:
    if typing.get_origin(hint) is Literal:
        if value in typing.get_args(hint):
            return value
        raise _wrong(path, value, "one of " + ", ".join(map(str, typing.get_args(hint))), file)
    kinds = typing.get_args(hint) or (hint,)
    if Path in kinds and isinstance(value, str):
        return Path(value).expanduser()
    if float in kinds and isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
        return float(value)
    if bool in kinds:
        if isinstance(value, bool):
            return value
        raise _wrong(path, value, "true or false", file)
    if int in kinds and isinstance(value, int) and not isinstance(value, bool) and value >= least(path):
        return value
    if typing.get_origin(hint) is not None and isinstance(value, dict):
        if all(isinstance(part, str) for pair in value.items() for part in pair):
            return dict(value)
        names = ", ".join(str(name) for name, text in value.items() if not isinstance(text, str))
        # the values may be passwords, so only the names are shown
        raise _wrong(path, value, "names and texts (quote numbers)", file, seen=f"no text: {names or 'a name'}")
    if str in kinds and isinstance(value, str) and typing.get_origin(hint) is not Mapping:
        return value
    wanted = {int: f"a whole number above {least(path) - 1}", float: "a number above 0", str: "a text", Path: "a path"}
    raise _wrong(path, value, wanted.get(kinds[0], "names and texts"), file)


def least(path: str) -> int:
    """The smallest value of a whole number."""
    return 0 if path == "cluster.agents" else 1


def unknown(path: str, file: str) -> UsageError:
    """The error about a key that does not exist, with the nearest one that does."""
    valid = list(keys()) + [item.name for item in fields(Settings)]
    near = difflib.get_close_matches(path, valid, n=1, cutoff=0.4)
    hint = f"Did you mean {near[0]}?" if near else "Valid keys: " + ", ".join(keys())
    return UsageError("LAB-CONF-02", f"{file}: unknown key {path}.", hint=hint)


def _wrong(path: str, value: Any, wanted: str, file: str, *, seen: str = "") -> UsageError:
    return UsageError("LAB-CONF-03", f"{file}: {path} must be {wanted}.", evidence=seen or f"it is {value!r}")


def _check(settings: Settings, path: Path) -> None:
    """What a type cannot say: forms of texts, distinct ports and branches, a full project path."""
    ports = {item.name: getattr(settings.ports, item.name) for item in fields(settings.ports)}
    for name, port in ports.items():
        if port > 65535:
            raise _wrong(f"ports.{name}", port, "a port, 1 to 65535", path.name)
        twin = next((other for other in ports if other != name and ports[other] == port), None)
        if twin:
            raise UsageError("LAB-CONF-04", f"{path.name}: ports.{name} and ports.{twin} are both {port}.")
    _check_forms(settings, path)
    if "/" not in settings.project.path.strip("/"):
        raise _wrong("project.path", settings.project.path, "a group and a name such as root/hichat", path.name)
    if settings.project.branch == settings.project.config_branch:
        raise UsageError(
            "LAB-CONF-10",
            f"{path.name}: project.branch and project.config_branch are both {settings.project.branch}.",
            hint="The pipeline writes the config branch and people the code branch; they must differ.",
        )


def _check_forms(settings: Settings, path: Path) -> None:
    for key, form in forms.FORMS.items():
        value: Any = settings
        for part in key.split("."):
            value = getattr(value, part)
        if not form.fits(value):
            raise _wrong(key, value, form.wanted, path.name)
    for key, text, form in forms.unfit(settings.mirrors):
        raise _wrong(key, text, form.wanted, path.name)
