"""The runner's stand-in: containers exactly as config.toml says, GitLab's protocol, and nothing left behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import docker
import pytest
from docker.models.containers import Container
from hub import Hub
from standin_world import World, logged, output, put
from standins import images
from test_standin_gitlab import MAKE_TOKEN, TOKEN, gitlab, ready

from lab.waiting import Pending, wait_until

IMAGE = "docker.io/gitlab/gitlab-runner:v19.3.0"
HELPER = "registry.gitlab.com/gitlab-org/gitlab-runner/gitlab-runner-helper:x86_64-v19.3.0"
CLI, DIND = "docker.io/library/docker:29.7.2-cli", "docker.io/library/docker:29.7.2-dind"
SOCKET = {"/var/run/docker.sock": {"bind": "/var/run/docker.sock"}}
JOB = "com.gitlab.gitlab-runner.job.id"


class Forge:
    """A GitLab with one project and one runner."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.runners: list[Container] = []
        self.gitlab = gitlab(world)
        ready(self.gitlab)
        assert output(self.gitlab, "gitlab-rails", "runner", MAKE_TOKEN)[0] == 0
        self.project = self.api("POST", "projects", name="p", initialize_with_readme=True)["id"]
        made = self.api("POST", "user/runners", runner_type="instance_type")
        self.runner_id, self.token = made["id"], made["token"]
        for upstream in (HELPER, CLI, DIND):
            images.ensure(world.client, images.standing_in_for(upstream))

    def api(self, method: str, path: str, **body: object) -> Any:
        code, text = output(
            self.gitlab, "curl", "-s", "-X", method, f"http://localhost:8929/api/v4/{path}",
            "-H", f"PRIVATE-TOKEN: {TOKEN}", "-H", "Content-Type: application/json", "-d", json.dumps(body),
        )  # fmt: skip
        assert code == 0, text
        return json.loads(text)

    def configuration(self, **changes: object) -> str:
        """config.toml for this GitLab, with keys of [runners.docker] changed; None leaves one out."""
        address = self.address()
        keys: dict[str, object] = {
            "image": images.standing_in_for(CLI).tag,
            "helper_image": images.standing_in_for(HELPER).tag,
            "privileged": True,
            "network_mode": self.world.name,
            "extra_hosts": [f"gitlab.lab.test:{address}"],
            "pull_policy": ["if-not-present"],
            "volumes": ["/cache"],
            **changes,
        }
        lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items() if value is not None]
        return "\n".join([
            "concurrent = 2", "check_interval = 1", "[[runners]]", 'name = "test"', f'token = "{self.token}"',
            'url = "http://gitlab.lab.test:8929"', 'executor = "docker"', "[runners.docker]", *lines,
        ])  # fmt: skip

    def start(self, **changes: object) -> Container:
        """Start a runner; its name for GitLab comes from the network."""
        files = {"/etc/gitlab-runner/config.toml": self.configuration(**changes)}
        self.runners.append(self.world.run(IMAGE, files=files, volumes=SOCKET))
        return self.runners[-1]

    def push(self, job: str) -> int:
        """Commit a pipeline of one job; answers the job's id."""
        jobs, tree = f"projects/{self.project}/jobs", f"projects/{self.project}/repository/tree"
        known = {each["id"] for each in self.api("GET", jobs)}
        action = "update" if ".gitlab-ci.yml" in {each["path"] for each in self.api("GET", tree)} else "create"
        actions = [{"action": action, "file_path": ".gitlab-ci.yml", "content": job}]
        commits = f"projects/{self.project}/repository/commits"
        self.api("POST", commits, branch="main", commit_message="x", actions=actions)

        def look() -> int | Pending:
            new = {each["id"] for each in self.api("GET", jobs)} - known
            return new.pop() if new else Pending("no job")

        return wait_until("the job", look, timeout=20)

    def ended(self, job: int, timeout: float = 90) -> tuple[str, str]:
        """Wait for the job's end; answers its status and its trace."""

        def look() -> str | Pending:
            status = self.api("GET", f"projects/{self.project}/jobs/{job}")["status"]
            return status if status in ("success", "failed", "canceled") else Pending(f"{status}: {self.trace(job)}")

        return wait_until("the job's end", look, timeout=timeout), self.trace(job)

    def trace(self, job: int) -> str:
        url = f"http://localhost:8929/api/v4/projects/{self.project}/jobs/{job}/trace"
        return output(self.gitlab, "curl", "-s", "-H", f"PRIVATE-TOKEN: {TOKEN}", url)[1]

    def containers(self, job: int) -> dict[str, dict[str, Any]]:
        """The job's containers by their kind."""
        found = self.world.client.containers.list(all=True, filters={"label": f"{JOB}={job}"})
        return {each.labels["com.gitlab.gitlab-runner.type"]: each.attrs for each in found}

    def address(self) -> str:
        self.gitlab.reload()
        address: str = self.gitlab.attrs["NetworkSettings"]["Networks"][self.world.name]["IPAddress"]
        return address

    def close(self) -> None:
        """Remove what jobs left: their caches."""
        label = f"com.gitlab.gitlab-runner.runner.id={self.token.removeprefix('glrt-')[:9]}"
        for container in self.world.client.containers.list(all=True, filters={"label": label}):
            container.remove(force=True, v=True)
        for volume in self.world.client.volumes.list(filters={"label": label}):
            volume.remove(force=True)


@pytest.fixture(scope="module")
def gitlab_with_project(engine: docker.DockerClient) -> Iterator[Forge]:
    world = World(engine)
    forge = Forge(world)
    yield forge
    forge.close()
    world.close()


@pytest.fixture
def forge(gitlab_with_project: Forge) -> Iterator[Forge]:
    """GitLab with a project; runners that a test starts are gone after it."""
    forge, forge.runners = gitlab_with_project, []
    yield forge
    for runner in forge.runners:
        runner.remove(force=True, v=True)


def test_job_runs_in_containers_as_the_configuration_says(forge: Forge) -> None:
    forge.start()
    job = forge.push("test: {script: ['grep gitlab.lab.test /etc/hosts', 'cat README.md', 'sleep 3']}")

    def look() -> dict[str, Any] | Pending:
        found = forge.containers(job)
        return found if "build" in found else Pending(str(list(found)))

    containers = wait_until("the job's containers", look, timeout=30)
    build = containers["build"]["HostConfig"]
    assert build["Privileged"] is True
    assert build["NetworkMode"] == forge.world.name
    assert f"gitlab.lab.test:{forge.address()}" in build["ExtraHosts"]
    status, trace = forge.ended(job)
    assert status == "success", trace
    assert "Getting source from Git repository" in trace
    assert not forge.containers(job), "containers are gone after the job"


def test_configuration_is_read_again_and_without_a_network_the_clone_fails(forge: Forge) -> None:
    runner = forge.start()
    job = forge.push("test: {script: ['true']}")
    assert forge.ended(job)[0] == "success"
    put(runner, "/etc/gitlab-runner/config.toml", forge.configuration(network_mode=None, extra_hosts=None))
    wait_until(
        "the new file",
        lambda: runner.logs().decode().count("Configuration loaded") == 2 or Pending("not read yet"),
        timeout=20,
    )
    status, trace = forge.ended(forge.push("test: {script: ['echo never seen']}"))
    assert status == "failed"
    assert "Could not resolve host: gitlab.lab.test" in trace
    assert "never seen" not in trace.replace("$ echo never seen", "")


def test_service_is_an_engine_that_the_job_reaches_by_name(forge: Forge, hub: Hub) -> None:
    forge.start()
    job = forge.push(f"""
test:
  image: {images.standing_in_for(CLI).tag}
  services:
    - name: {images.standing_in_for(DIND).tag}
      alias: docker
      entrypoint: [sh, -c]
      command: ['exec dockerd-entrypoint.sh --tls=false --insecure-registry="$REGISTRY"']
  variables: {{DOCKER_HOST: "tcp://docker:2375", DOCKER_TLS_CERTDIR: "", REGISTRY: "{hub.address}"}}
  script:
    - docker info
    - docker pull -q {hub.reference("docker.io/library/redis:8.2.3-alpine")}
  after_script: ['echo "it was a $CI_JOB_STATUS"']
""")
    status, trace = forge.ended(job)
    assert status == "success", trace
    assert hub.address in trace
    assert "it was a success" in trace
    assert "probably didn't start properly" not in trace


def test_failure_mask_and_pull_policy(forge: Forge) -> None:
    forge.start(allowed_pull_policies=["if-not-present"])
    forge.api("POST", f"projects/{forge.project}/variables", key="SECRET", value="hidden-value-1", masked=True)
    status, trace = forge.ended(forge.push("test: {script: ['echo \"it is $SECRET\"', 'exit 7']}"))
    assert status == "failed"
    assert "it is [MASKED]" in trace
    assert "ERROR: Job failed: exit code 7" in trace
    status, trace = forge.ended(
        forge.push("test: {image: {name: 'nowhere.invalid/x:1', pull_policy: always}, script: ['true']}")
    )
    assert status == "failed"
    assert "not one of the allowed_pull_policies" in trace
    status, trace = forge.ended(forge.push("test: {image: 'nowhere.invalid/x:1', script: ['true']}"))
    assert status == "failed"
    assert "failed to pull image" in trace


def test_cancelled_job_leaves_no_container(forge: Forge) -> None:
    forge.start()
    job = forge.push("test: {script: ['echo begun', 'sleep 300']}")
    wait_until(
        "the script", lambda: "\nbegun" in forge.trace(job).replace("\r", "") or Pending(forge.trace(job)), timeout=60
    )
    forge.api("POST", f"projects/{forge.project}/jobs/{job}/cancel")
    wait_until("no containers", lambda: not forge.containers(job) or Pending("some are there"), timeout=60)
    assert forge.ended(job)[0] == "canceled"


def test_three_refusals_put_the_runner_to_sleep(world: World) -> None:
    config = '[[runners]]\nname = "n"\nurl = "http://nowhere.invalid"\ntoken = "glrt-x"\nexecutor = "docker"\n'
    runner = world.run(
        IMAGE,
        files={"/etc/gitlab-runner/config.toml": f'check_interval = 1\n{config}[runners.docker]\nimage = "x"\n'},
        volumes=SOCKET,
    )
    log = logged(runner, "is unhealthy and will be disabled for 3600 seconds!")
    assert log.count("Checking for jobs... failed") == 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [("concurrent = 0", "concurrent"), ("concurrent =", "decoding"), ('[runners.docker]\nprivileged = "yes"', "types")],
)
def test_wrong_configuration_ends_the_runner(world: World, wrong: str, message: str) -> None:
    section = '[[runners]]\nname = "n"\nurl = "http://x"\ntoken = "t"\nexecutor = "docker"\n'
    text = section + wrong + '\nimage = "x"\n' if "docker" in wrong else wrong
    runner = world.run(IMAGE, files={"/etc/gitlab-runner/config.toml": text}, volumes=SOCKET)
    assert runner.wait(timeout=30)["StatusCode"] == 1
    assert message in runner.logs().decode()
