"""The whole look at a repository: every finding, in the order of the loop."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from lab.adopt import dockerfile, manifests, pipeline, repository, stacks
from lab.adopt.finding import Finding
from lab.adopt.offers import Profile, takes_port
from lab.adopt.repository import Repository
from lab.source import hosts_in

_COMPOSE = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")


def profile(found: Repository, config_branch: str) -> Profile:
    """What is known of the application."""
    return Profile(found, stacks.recognise(found), stacks.source(found), manifests.find(found), config_branch)


def findings(known: Profile) -> Iterator[Finding]:
    """Every finding: git, Dockerfile, manifests, pipeline, hosts, health."""
    found = known.repository
    yield from repository.findings(found)
    if found.branch == known.config_branch:
        said = f"{found.branch} is the branch that the pipeline is to write; people work on another one."
        yield Finding("git.branch", "wrong", said, hint="git switch to the branch with the code")
    yield from _dockerfile(known)
    yield from manifests.findings(known.manifests, found)
    if pipeline.NAME in found.all_names:
        yield from pipeline.findings(found, known.config_branch)
    else:
        yield Finding("ci", "missing", "GitLab makes no pipeline without it.", pipeline.NAME)
    yield from _hosts(known)
    yield from _health(known)
    yield from _companions(found)


def _dockerfile(known: Profile) -> Iterator[Finding]:
    found = known.repository
    if known.dockerfile is not None:
        manifests_say = known.manifests.deployment
        yield from dockerfile.findings(
            found,
            port_known=known.manifests.port is not None,
            root_refused=manifests_say is None or known.manifests.refuses_root,
        )
        return
    elsewhere = [name for name in found.names if dockerfile.NAME.lower() in name.rpartition("/")[2].lower()]
    hint = f"git mv {found.at(elsewhere[0])} {found.at(dockerfile.NAME)}" if elsewhere else ""
    said = f"The pipeline builds an image from it ({known.stack.name if known.stack else 'no known stack'})."
    if not known.stack and not elsewhere:
        apps = stacks.applications(found)
        hint = f"invoke adopt {found.root / apps[0]}" if apps else "Write one; gitlab/adopt has examples."
    yield Finding("dockerfile", "missing", said, found.at(dockerfile.NAME), hint)


def _hosts(known: Profile) -> Iterator[Finding]:
    """Hosts that stand in the files that talk to GitLab, the registry or the cluster."""
    places = dict.fromkeys([pipeline.NAME, *(each.file for each in known.manifests.objects)])
    for place in places:
        text = known.repository.read(place) or ""
        own = {line for line, image in manifests.image_lines(text) if manifests.base(image) == known.manifests.image}
        for line, host in hosts_in(text):
            if place == known.manifests.image_file and line in own:
                continue  # the pipeline writes another image there
            said = f"{host} is written into it; in the lab GitLab and the registry have other names."
            hint = "Use GitLab's variables: $CI_REGISTRY, $CI_REGISTRY_IMAGE, $CI_PROJECT_URL."
            yield Finding("hosts", "wrong", said, f"{place}:{line}", hint if place == pipeline.NAME else "")


def _health(known: Profile) -> Iterator[Finding]:
    if known.health == "/" and not (known.stack and known.stack.health):
        said = "No health path was found; the lab will ask /, which must answer 200."
        yield Finding("health", "note", said, hint="invoke config.set project.health /PATH")
    else:
        yield Finding("health", "ok", known.health)
    if known.stack and known.dockerfile is None and not (known.source.reads_port or takes_port(known.stack)):
        said = f"Nothing in the program reads PORT, so it listens on {known.port} only; the embedded engine needs PORT."
        yield Finding("port", "note", said, hint="Let it listen where the variable PORT says.")


def _companions(found: Repository) -> Iterator[Finding]:
    """Databases and the like that run beside the application under Docker Compose, and have no manifest yet."""
    for name in _COMPOSE:
        place = found.at(name)
        try:
            document = yaml.safe_load((found.read(place) or "") if name in found.names else "")
        except (yaml.YAMLError, ValueError):
            continue
        services = document.get("services") if isinstance(document, dict) else None
        bought = [
            f"{service} ({each['image']})"
            for service, each in (services if isinstance(services, dict) else {}).items()
            if isinstance(each, dict) and "image" in each and "build" not in each
        ]
        if bought:
            said = f"Docker Compose starts {', '.join(bought)} too; the cluster needs manifests for them."
            hint = "gitlab/project/k8s has two to begin with: mysql.yaml, redis.yaml"
            yield Finding("compose", "note", said, place, hint)
