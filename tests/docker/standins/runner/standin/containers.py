"""The containers of one job: names, labels and settings exactly as ``[runners.docker]`` and upstream have them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import secrets
from typing import Any

from configuration import Section
from engine import DockerError, Engine

from lab.emulator.runner.environment import Variables
from lab.emulator.runner.trace import Trace

PREFIX = "com.gitlab.gitlab-runner"
SHELL = (
    "for shell in /usr/local/bin/bash /usr/bin/bash /bin/bash /usr/local/bin/sh /usr/bin/sh /bin/sh; do\n"
    '  if [ -x "$shell" ]; then exec "$shell"; fi\ndone\necho "shell not found"; exit 1\n'
)
YELLOW, RESET = "\x1b[0;33m", "\x1b[0;m"


class ImagePullError(Exception):
    """No policy brought the image."""


class Containers:
    """Makes and removes what one job runs in."""

    def __init__(
        self, engine: Engine, section: Section, payload: dict[str, Any], variables: Variables, trace: Trace, **who: Any
    ) -> None:
        """``who``: ``number`` (the job's place among its project's) and ``system_id``."""
        self._engine, self._section, self._docker = engine, section, section.docker
        self._payload, self._variables, self._trace = payload, variables, trace
        self._number, self._system_id = who["number"], who["system_id"]
        self._short = section.entry.token.removeprefix("glrt-")[:9]
        project = payload["job_info"]["project_id"]
        self._unique = f"runner-{_rfc1123(self._short)}-project-{project}-concurrent-{self._number}"
        self._name = f"{self._unique}-{secrets.token_hex(8)}"
        self._made: list[str] = []
        self._links: list[str] = []
        self._binds: list[str] = []

    async def prepare(self) -> None:
        """The volumes of the job: the folder for builds, and those of the configuration."""
        self._binds = [await self._cache_volume("/builds")]
        for volume in self._docker.volumes:
            if ":" in volume:
                self._binds.append(self._variables.expand(volume))
            elif not self._docker.disable_cache:
                self._binds.append(await self._cache_volume(volume))

    async def services(self) -> None:
        """Start every service and wait for those with ports; one that does not come is shown, and the job goes on."""
        started = []
        for index, service in enumerate(self._payload.get("services") or []):
            started.append((str(service["name"]), await self._service(service, index)))
        timeout = self._docker.wait_for_services_timeout or 30
        if started and timeout > 0:
            self._trace.line(f"Waiting for services to be up and running (timeout {timeout} seconds)...")
            await asyncio.gather(*(self._wait_for(name, container, timeout) for name, container in started))

    async def helper(self) -> str:
        """The container that clones."""
        image = await self.ensure_image(self._docker.helper_image, [])
        return await self._create("predefined", image, {"Cmd": ["gitlab-runner-build"], **_interactive()})

    async def build(self) -> str:
        """The container of the job's own script."""
        wanted = self._payload.get("image") or {}
        name = self._variables.expand(wanted.get("name") or self._docker.image)
        self._trace.line(f"Using Docker executor with image {name} ...")
        image = await self.ensure_image(name, wanted.get("pull_policy") or [])
        body = {"Cmd": ["sh", "-c", SHELL], **_interactive()}
        if wanted.get("entrypoint"):
            body["Entrypoint"] = wanted["entrypoint"]
        return await self._create("build", image, body)

    async def remove(self) -> None:
        """Remove what was made; caches stay."""
        for container in reversed(self._made):
            with contextlib.suppress(DockerError):
                await self._engine.remove(container)

    async def ensure_image(self, name: str, wanted: list[str]) -> str:
        """The image by the policies in their order; raises `ImagePullError`."""
        allowed = self._docker.allowed_pull_policies or self._docker.pull_policy
        if forbidden := set(wanted) - set(allowed):
            raise ImagePullError(
                f"failed to pull image {name!r}: pull_policy ({', '.join(sorted(forbidden))}) defined in GitLab "
                f"pipeline config is not one of the allowed_pull_policies ({list(allowed)})"
            )
        problem = ""
        for policy in wanted or self._docker.pull_policy:
            self._trace.line(f"Using effective pull policy of [{policy}] for container {name}")
            try:
                if policy == "always" or (policy == "if-not-present" and not await self._engine.image(name)):
                    self._trace.line(f"Pulling docker image {name} ...")
                    await self._engine.pull(name, self._login(name))
                found = await self._engine.image(name)
                if found:
                    self._trace.line(f"Using docker image {found['Id']} for {name} ...")
                    return name
                problem = f"Error response from daemon: No such image: {name}"
            except DockerError as error:
                problem = str(error)
            self._trace.line(f"{YELLOW}WARNING: Failed to pull image with policy {policy!r}: {problem}{RESET}")
        policies = list(wanted or self._docker.pull_policy)
        raise ImagePullError(f"failed to pull image {name!r} with specified policies {policies}: {problem}")

    async def _service(self, service: dict[str, Any], index: int) -> str:
        name = self._variables.expand(str(service["name"]))
        self._trace.line(f"Starting service {name} ...")
        image = await self.ensure_image(name, service.get("pull_policy") or [])
        slug, aliases = _aliases(name)
        aliases += re.split(r"[ ,]+", service["alias"]) if service.get("alias") else []
        body: dict[str, Any] = {"Env": self._service_environment(service)}
        if service.get("command"):
            body["Cmd"] = service["command"]
        if service.get("entrypoint"):
            body["Entrypoint"] = service["entrypoint"]
        container = await self._create(f"{slug}-{index}", image, body, kind="service", aliases=aliases)
        await self._engine.call("POST", f"/containers/{container}/start")
        networks = (await self._engine.call("GET", f"/containers/{container}/json"))["NetworkSettings"]["Networks"]
        addresses = [each["IPAddress"] for each in networks.values() if each["IPAddress"]]
        self._links += [f"{alias}:{address}" for alias in aliases for address in addresses[:1]]
        return container

    def _service_environment(self, service: dict[str, Any]) -> list[str]:
        """The job's public variables, and the service's own."""
        public = {row["key"] for row in self._payload["variables"] if row.get("public")}
        values = {key: value for key, value in self._variables.all().items() if key in public}
        for row in service.get("variables") or []:
            values[row["key"]] = self._variables.expand(str(row["value"]))
        return [f"{key}={value}" for key, value in values.items()]

    async def _wait_for(self, name: str, container: str, timeout: float) -> None:
        found = await self._engine.call("GET", f"/containers/{container}/json")
        ports = [port.partition("/")[0] for port in found["Config"].get("ExposedPorts") or {} if port.endswith("/tcp")]
        problem = "" if ports else f"service {name!r} has no exposed ports"
        if ports:
            environment = [f"WAIT_FOR_SERVICE_TCP_ADDR={container[:12]}"]
            environment += [f"WAIT_FOR_SERVICE_{port}_TCP_PORT={port}" for port in ports]
            problem = await self._health_check(container, environment, timeout)
        if problem:
            self._trace.line(
                f"\n{YELLOW}*** WARNING:{RESET} Service {name} probably didn't start properly.\n\n"
                f"Health check error:\n{problem}\n\nService container logs:\n{await self._engine.logs(container)}\n"
                f"\n{YELLOW}*********{RESET}\n"
            )

    async def _health_check(self, service: str, environment: list[str], timeout: float) -> str:
        """Why the service did not come; empty when it did. The container that looks is on the job's network."""
        image = await self.ensure_image(self._docker.helper_image, [])
        body = {
            "Image": image,
            "Cmd": ["gitlab-runner-helper", "health-check"],
            "Env": environment,
            "Labels": self._labels("wait"),
            "HostConfig": {"NetworkMode": self._docker.network_mode or "default"},
        }
        if not self._docker.network_mode:  # the default bridge knows no names
            found = await self._engine.call("GET", f"/containers/{service}/json")
            address = found["NetworkSettings"]["IPAddress"]
            body["HostConfig"]["ExtraHosts"] = [f"{service[:12]}:{address}"]  # type: ignore[index]
        made = await self._engine.call("POST", "/containers/create", body, name=f"{self._name}-wait-{service[:12]}")
        self._made.append(made["Id"])
        await self._engine.call("POST", f"/containers/{made['Id']}/start")
        waiting = self._engine.call("POST", f"/containers/{made['Id']}/wait", wait=True)
        try:
            answer = await asyncio.wait_for(waiting, timeout)
        except asyncio.TimeoutError:
            return f"service {service[:12]!r} timeout"
        finally:
            await self._engine.remove(made["Id"])
        return "" if answer["StatusCode"] == 0 else f"health check ended with {answer['StatusCode']}"

    async def _create(
        self, suffix: str, image: str, body: dict[str, Any], *, kind: str = "", aliases: list[str] | None = None
    ) -> str:
        privileged = self._docker.privileged
        if kind == "service" and self._docker.services_privileged is not None:
            privileged = self._docker.services_privileged
        network = self._docker.network_mode
        document = {
            **body,
            "Image": image,
            "Labels": self._labels(kind or suffix),
            "HostConfig": {
                "Privileged": privileged,
                "NetworkMode": network or "default",
                "ExtraHosts": [*self._docker.extra_hosts, *([] if kind == "service" else self._links)],
                "Binds": self._binds,
                "ShmSize": self._docker.shm_size,
                "RestartPolicy": {"Name": "no"},
            },
        }
        if network and network not in {"bridge", "default", "host", "none"}:
            document["NetworkingConfig"] = {"EndpointsConfig": {network: {"Aliases": aliases or []}}}
        made = await self._engine.call("POST", "/containers/create", document, name=f"{self._name}-{suffix}")
        self._made.append(made["Id"])
        return str(made["Id"])

    async def _cache_volume(self, path: str) -> str:
        name = f"{self._unique}-cache-{hashlib.md5(path.encode(), usedforsecurity=False).hexdigest()}"
        if self._payload["git_info"].get("protected"):
            name += "-protected"
        await self._engine.call("POST", "/volumes/create", {"Name": name, "Labels": self._labels("cache")})
        return f"{name}:{path}"

    def _labels(self, kind: str) -> dict[str, str]:
        job, git = self._payload["job_info"], self._payload["git_info"]
        labels = {
            "type": kind,
            "job.id": self._payload["id"],
            "job.url": self._variables.get("CI_JOB_URL"),
            "job.sha": git["sha"],
            "job.before_sha": git.get("before_sha", ""),
            "job.ref": git["ref"],
            "project.id": job["project_id"],
            "project.runner_id": self._number,
            "pipeline.id": self._variables.get("CI_PIPELINE_ID"),
            "runner.id": self._short,
            "runner.local_id": 0,
            "runner.system_id": self._system_id,
            "managed": "true",
        }
        return {f"{PREFIX}.{key}": str(value) for key, value in labels.items()}

    def _login(self, image: str) -> dict[str, str] | None:
        """What the job may pull with: GitLab gives it credentials for its own registry."""
        host = image.partition("/")[0]
        for credential in self._payload.get("credentials") or []:
            if credential["type"] == "registry" and credential["url"] == host:
                return {"username": credential["username"], "password": credential["password"], "serveraddress": host}
        return None


def _interactive() -> dict[str, Any]:
    return dict.fromkeys(("AttachStdin", "AttachStdout", "AttachStderr", "OpenStdin", "StdinOnce"), True)


def _aliases(image: str) -> tuple[str, list[str]]:
    """The names that a service gets from its image: without registry's port and tag, slashes in two ways."""
    head, slash, rest = image.partition("@")[0].rpartition("/")
    path = re.sub(r":\d+", "", head) + slash + rest.partition(":")[0]
    return _rfc1123(path.replace("/", "__")), list(dict.fromkeys((path.replace("/", "__"), path.replace("/", "-"))))


def _rfc1123(text: str) -> str:
    return re.sub(r"[^a-z0-9-]", "", text.lower()).strip("-")
