"""GitLab's stand-in: it boots, hides, refuses and remembers as the omnibus image does."""

from __future__ import annotations

import json
from collections.abc import Iterator

import docker
import pytest
from docker.models.containers import Container
from standin_world import World, logged, output, put

from lab.waiting import Pending, wait_until

IMAGE = "docker.io/gitlab/gitlab-ce:19.3.0-ce.0"
CLIENT = "docker.io/library/docker:29.7.2-cli"
URLS = "external_url 'http://gitlab.lab.test:8929'\nregistry_external_url 'http://gitlab.lab.test:5050'\n"
PASSWORD = "Kx7-mQz!41pw"
TOKEN = "glpat-abcdefghijklmnop1234"
MAKE_TOKEN = f"""
token = User.find_by_username('root').personal_access_tokens.create(
  scopes: ['api', 'sudo'], name: 'lab', expires_at: 365.days.from_now)
token.set_token('{TOKEN}')
token.save!
"""


def gitlab(world: World, config: str = URLS, password: str = PASSWORD, **options: object) -> Container:
    environment = {"GITLAB_ROOT_PASSWORD": password, "STANDIN_BOOT_SECONDS": "1"} if password else {}
    return world.run(
        IMAGE,
        alias="gitlab.lab.test",
        files={"/etc/gitlab/gitlab.rb": config},
        environment=environment,
        **options,
    )


def status(container: Container, path: str, *arguments: str) -> str:
    """The HTTP status that a container gets from GitLab, and the body."""
    url = path if path.startswith("http") else f"http://gitlab.lab.test:8929{path}"
    return output(container, "curl", "-s", "-w", " %{http_code}", *arguments, url)[1]


def ready(container: Container) -> None:
    def look() -> bool | Pending:
        seen = status(container, "http://localhost:8929/-/readiness")
        return True if seen.endswith(" 200") else Pending(seen)

    wait_until("readiness", look, timeout=60)


@pytest.fixture(scope="module")
def shared(engine: docker.DockerClient) -> Iterator[Container]:
    """A GitLab that no test of it changes."""
    world = World(engine)
    container = gitlab(world)
    ready(container)
    yield container
    world.close()


def test_boots_answers_and_keeps_everything_in_its_volumes(world: World) -> None:
    volumes = {world.volume(): {"bind": path} for path in ("/etc/gitlab", "/var/opt/gitlab", "/var/log/gitlab")}
    first = gitlab(world, volumes=volumes)
    logged(first, "gitlab Reconfigured!")
    ready(first)
    assert output(first, "gitlab-rails", "runner", MAKE_TOKEN)[0] == 0
    made = status(first, "/api/v4/projects", "-H", f"PRIVATE-TOKEN: {TOKEN}", "-d", "name=kept")
    assert made.endswith(" 201"), made
    first.stop(timeout=30)
    first.reload()
    assert first.attrs["State"]["ExitCode"] == 0
    assert "gracefully" in first.logs().decode()
    first.remove()
    second = world.run(IMAGE, alias="gitlab.lab.test", volumes=volumes)
    ready(second)
    kept = status(second, "/api/v4/projects/root%2Fkept", "-H", f"PRIVATE-TOKEN: {TOKEN}")
    assert json.loads(kept.removesuffix(" 200"))["http_url_to_repo"] == "http://gitlab.lab.test:8929/root/kept.git"
    assert "initial_root_password" not in output(second, "ls", "/etc/gitlab")[1]


def test_answers_502_while_rails_boots(world: World) -> None:
    booting = world.run(
        IMAGE,
        files={"/etc/gitlab/gitlab.rb": URLS},
        environment={"GITLAB_ROOT_PASSWORD": PASSWORD, "STANDIN_BOOT_SECONDS": "10"},
    )
    logged(booting, "gitlab Reconfigured!")
    assert status(booting, "http://localhost:8929/api/v4/version").endswith(" 502")
    assert output(booting, "gitlab-healthcheck", "--fail", "--max-time", "10")[0] != 0


def test_health_is_hidden_from_others_than_the_whitelist(world: World, shared: Container) -> None:
    other = world.run(CLIENT, "sleep", "300")
    world.client.networks.get(shared.labels["gitops-lab.test"]).connect(other)
    assert status(other, "/-/readiness") == " 404"
    assert status(other, "/health_check") == " 404"
    assert status(other, "/api/v4/version").endswith(" 401")
    assert status(other, "http://gitlab.lab.test:5050/v2/").endswith(" 401")


def test_whitelist_opens_health_and_a_changed_file_needs_a_reconfigure(world: World) -> None:
    container = gitlab(world)
    ready(container)
    other = world.run(CLIENT, "sleep", "300")
    put(container, "/etc/gitlab/gitlab.rb", URLS + "gitlab_rails['monitoring_whitelist'] = ['0.0.0.0/0']\n")
    assert status(other, "/-/readiness") == " 404"
    code, text = output(container, "gitlab-ctl", "reconfigure")
    assert code == 0, text
    assert status(other, "/-/readiness").endswith(" 200")


@pytest.mark.parametrize(
    ("config", "password", "message"),
    [
        (URLS + "puma['worker_processes' = 0", PASSWORD, "SyntaxError"),
        (URLS + "gitlabrails['a'] = 1", PASSWORD, "Reading unsupported config value gitlabrails"),
        ("external_url 'gitlab.lab.test'", PASSWORD, "must include a schema and FQDN"),
        (URLS, "short", "initial_root_password: Length is too short"),
        (URLS, "my-gitlab-2026", "must not contain commonly used combinations of words and letters"),
    ],
)
def test_wrong_configuration_ends_the_container(world: World, config: str, password: str, message: str) -> None:
    container = gitlab(world, config, password)
    assert container.wait(timeout=60)["StatusCode"] != 0
    assert message in container.logs().decode()


def test_failed_seed_leaves_no_administrator_behind(world: World) -> None:
    volumes = {world.volume(): {"bind": "/var/opt/gitlab"}}
    assert gitlab(world, password="my-gitlab-2026", volumes=volumes).wait(timeout=60)["StatusCode"] != 0
    second = gitlab(world, volumes=volumes)
    ready(second)
    code, text = output(second, "gitlab-rails", "runner", MAKE_TOKEN)
    assert code == 1
    assert "NoMethodError" in text


def test_data_of_a_version_too_old_end_the_container(world: World) -> None:
    files = {"/etc/gitlab/gitlab.rb": URLS, "/var/opt/gitlab/gitlab-rails/VERSION": "18.11.0"}
    container = world.run(IMAGE, files=files)
    assert container.wait(timeout=60)["StatusCode"] != 0
    assert "It is required to upgrade to the latest 19.2.x version first" in container.logs().decode()


def test_port_8080_belongs_to_puma(world: World) -> None:
    container = gitlab(world, "external_url 'http://gitlab.lab.test:8080'\n")
    logged(container, "ddress already in use")


def test_without_a_password_one_is_made_and_written_down(world: World) -> None:
    container = gitlab(world, password="")
    logged(container, "gitlab Reconfigured!")
    assert "Password: " in output(container, "cat", "/etc/gitlab/initial_root_password")[1]
    assert output(container, "stat", "-c", "%a", "/etc/gitlab/initial_root_password")[1] == "600\n"
    assert output(container, "touch", "-d", "2 days ago", "/etc/gitlab/initial_root_password")[0] == 0
    assert output(container, "gitlab-ctl", "reconfigure")[0] == 0
    assert "initial_root_password" not in output(container, "ls", "/etc/gitlab")[1], (
        "the first one after a day removes it"
    )


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("User.find_by_username('root').personal_acces_tokens", "NoMethodError"),
        ("User.find_by_usename('root')", "NoMethodError"),
        ("Usr.first", "NameError"),
        (MAKE_TOKEN.replace("365", "400"), "Expiration date must be before"),
        (MAKE_TOKEN.replace("'sudo'", "'root'"), "Scopes can only contain available scopes"),
        ("puts (", "SyntaxError"),
    ],
)
def test_wrong_rails_code_fails(shared: Container, code: str, error: str) -> None:
    exit_code, text = output(shared, "gitlab-rails", "runner", code)
    assert exit_code == 1
    assert error in text
