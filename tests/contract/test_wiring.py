"""The wiring's steps against a lab's systems: each is made once, found again, and mended when it was broken."""

from __future__ import annotations

import dataclasses
import secrets
import stat
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from lab import argocd, checkout, git, plan, wiring
from lab.cluster import NAMESPACE, SECRET, SERVICE_ACCOUNT, Cluster
from lab.errors import UsageError
from lab.forge import Forge
from lab.model import Endpoints
from lab.settings import ProjectSettings, Settings
from lab.state import State
from lab.waiting import Pending, wait_until
from lab.wiring import hook, tokens

pytestmark = pytest.mark.needs("gitlab")
GITLAB = ("gitlab.settings", "project", "branch.code", "branch.config", "variables", "token.config-branch",
          "token.deploy")  # fmt: skip


SOMEONE = ["-c", "user.name=x", "-c", "user.email=x@x"]


class Bench:
    """A project of its own on the target, and the steps one wants of it."""

    def __init__(self, target, folder: Path, **project) -> None:
        name = f"w{secrets.token_hex(4)}"
        self.target = target
        self.settings = Settings(project=ProjectSettings(path=f"root/{name}", namespace=name, **project))
        self.state = State(folder / ".lab")
        webhook = f"{target.argocd}/api/webhook"
        self.endpoints = Endpoints(
            gitlab=target.gitlab, gitlab_route=target.gitlab, registry=target.registry,
            registry_route=f"http://{target.registry}", kubeconfig=target.kubeconfig, argocd=target.argocd,
            webhook=webhook, app=target.app, root_token=target.root_token,
        )  # fmt: skip
        self.forge = Forge(self.endpoints, self.settings.project.path)
        self.cluster = Cluster(target.kubeconfig)

    def up(self, *names: str) -> dict[str, plan.Outcome]:
        """Run these steps only; raises the first error."""
        ready = plan.Step("endpoints", "", lambda _c: plan.Satisfied(), lambda _c: "")
        wired = wiring.steps(lambda: self.endpoints, self.settings, self.state, self.target.attach_runner)
        chosen = [ready, *(step for step in wired if step.name in names)]
        known = {step.name for step in chosen}
        chosen = [dataclasses.replace(step, needs=tuple(known & set(step.needs))) for step in chosen]
        outcomes = {outcome.step: outcome for outcome in plan.run(chosen)}
        for outcome in outcomes.values():
            if outcome.error:
                raise outcome.error
        return outcomes

    def acted(self, *names: str) -> set[str]:
        return {name for name, outcome in self.up(*names).items() if outcome.state == "done"}


@pytest.fixture
def bench(target, tmp_path):
    return Bench(target, tmp_path)


def test_a_second_run_acts_on_nothing(bench):
    assert bench.acted(*GITLAB) >= {"project", "branch.code", "branch.config", "token.config-branch", "token.deploy"}
    assert bench.acted(*GITLAB) == set()


def in_days(days: int) -> str:
    return (datetime.now(timezone.utc) + timedelta(days=days)).date().isoformat()


def active(bench, name: str = tokens.BOT) -> list[int]:
    rows = bench.forge.rows(bench.forge.at("access_tokens"))
    return [row["id"] for row in rows if row["name"] == name and row["active"]]


def variable(bench, key: str = tokens.VARIABLE) -> dict:
    return bench.forge.get(bench.forge.at("variables", key))


def test_a_token_whose_value_is_lost_is_revoked_and_replaced(bench):
    bench.up("project", "token.config-branch")
    before, value = active(bench), variable(bench)["value"]
    bench.state.drop_secret("config-branch-token")
    assert bench.acted("project", "token.config-branch") == {"token.config-branch"}
    assert len(active(bench)) == 1
    assert active(bench) != before
    assert variable(bench)["value"] == bench.state.secret("config-branch-token") != value


def test_a_token_made_just_before_a_kill_is_replaced(bench):
    """Created in GitLab, value never written: nobody can know it any more."""
    bench.up("project")
    data = {"name": tokens.BOT, "scopes": ["write_repository"], "access_level": 30,
            "expires_at": in_days(300)}  # fmt: skip
    bench.forge.create(bench.forge.at("access_tokens"), data)
    bench.up("project", "token.config-branch")
    assert len(active(bench)) == 1
    assert bench.acted("project", "token.config-branch") == set()


def test_a_token_with_less_than_thirty_days_is_replaced(bench):
    bench.up("project", "token.config-branch")
    data = {"name": tokens.BOT, "scopes": ["write_repository"], "access_level": 30,
            "expires_at": in_days(20)}  # fmt: skip
    row = bench.forge.create(bench.forge.at("access_tokens"), data)
    bench.state.put_secret("config-branch-token", row["token"])
    bench.state.put_fact("config-branch-token", {"id": row["id"], "username": "lab-bot"})
    assert bench.acted("project", "token.config-branch") == {"token.config-branch"}
    assert row["id"] not in active(bench)
    assert len(active(bench)) == 1


def test_a_variable_that_was_changed_is_put_back_without_a_new_token(bench):
    bench.up("project", "token.config-branch")
    before = active(bench)
    bench.forge.update(bench.forge.at("variables", tokens.VARIABLE), {"value": "something-else", "protected": False})
    assert bench.acted("project", "token.config-branch") == {"token.config-branch"}
    assert active(bench) == before
    found = variable(bench)
    assert (found["masked"], found["protected"]) == (True, True)
    assert found["value"] == bench.state.secret("config-branch-token")


def test_a_revoked_deploy_token_is_replaced(bench):
    bench.up("project", "token.deploy")
    known = bench.state.fact("deploy-token")
    bench.forge.remove(bench.forge.at("deploy_tokens", known["id"]))
    assert bench.acted("project", "token.deploy") == {"token.deploy"}
    assert bench.state.fact("deploy-token")["id"] != known["id"]


@pytest.mark.parametrize(
    ("step", "branch", "level"), [("branch.code", "master", 40), ("branch.config", "k8s-config", 30)]
)
def test_protection_is_put_back(bench, step, branch, level):
    bench.up("project", step)
    bench.forge.remove(bench.forge.at("protected_branches", branch))
    other = 30 if level == 40 else 40
    bench.forge.create(bench.forge.at("protected_branches"), {"name": branch, "push_access_level": other})
    assert bench.acted("project", step) == {step}
    rule = bench.forge.get(bench.forge.at("protected_branches", branch))
    assert [item["access_level"] for item in rule["push_access_levels"]] == [level]


def test_the_bot_may_write_the_config_branch_and_not_the_code(bench):
    bench.up("project", "branch.code", "branch.config", "token.config-branch", "source", "push")
    login = tokens.bot_login(bench.state)
    bot = git.Remote(bench.endpoints.gitlab, bench.endpoints.gitlab_route, bench.settings.project.path, "bot",
                     login.password)  # fmt: skip
    person = git.Person("bot", "bot@lab.test")
    with git.scratch() as path:
        git.git("fetch", "-q", bot.url, "refs/heads/master:refs/tip", cwd=path, remote=bot)
        git.push(path, bot, "refs/tip", "k8s-config")
    assert bench.forge.head("k8s-config") == bench.forge.head("master")
    assert git.append(bot, "k8s-config", "x [skip ci]", person) == bench.forge.head("k8s-config")
    with pytest.raises(Exception, match=r"LAB-GIT-01") as raised:
        git.append(bot, "master", "x", person)
    assert "protected" in raised.value.evidence


def test_the_sample_is_one_commit_and_later_commits_stay(bench):
    steps = ("project", "branch.code", "source", "push")
    bench.up(*steps)
    assert len(bench.forge.commits("master")) == 1
    sha = git.append(git.as_root(bench.endpoints, bench.settings.project.path), "master", "mine",
                     git.Person("me", "me@lab.test"), {"a.txt": "a\n"})  # fmt: skip
    assert bench.acted(*steps) == set()
    assert bench.forge.head("master") == sha


def own(folder: Path, text: str = "FROM scratch\n") -> Path:
    path = folder / "own"
    (path / "k8s").mkdir(parents=True)
    (path / "Dockerfile").write_text(text)
    (path / ".gitlab-ci.yml").write_text("build:\n  script: ['true']\n")
    (path / "k8s" / "hichat.yaml").write_text("image: hichat:latest\n")

    for words in (
        ["init", "-q", "-b", "master"],
        ["add", "-A"],
        [*SOMEONE, "commit", "-q", "-m", "one"],
        [*SOMEONE, "commit", "-q", "--allow-empty", "-m", "two"],
    ):
        subprocess.run(["git", *words], cwd=path, check=True)
    return path


def test_a_source_of_ones_own_keeps_its_history_and_gets_both_variables(target, tmp_path):
    bench = Bench(target, tmp_path, source=own(tmp_path))
    bench.up("project", "token.config-branch", "source", "push")
    assert [commit["title"] for commit in bench.forge.commits("master")] == ["two", "one"]
    assert variable(bench, tokens.OWN_VARIABLE)["value"] == variable(bench)["value"]
    assert bench.forge.project()["ci_push_repository_for_job_token_allowed"] is True
    assert bench.acted("project", "token.config-branch", "source", "push") == set()


def test_another_history_on_gitlab_is_never_overwritten(target, tmp_path):
    bench = Bench(target, tmp_path)
    bench.up("project", "source", "push")
    head = bench.forge.head("master")
    project = dataclasses.replace(bench.settings.project, source=own(tmp_path))
    bench.settings = dataclasses.replace(bench.settings, project=project)
    with pytest.raises(UsageError) as raised:
        bench.up("project", "source", "push")
    assert raised.value.code == "LAB-SOURCE-05"
    assert bench.forge.head("master") == head


def test_variables_from_the_settings_are_set_and_masked_by_name(target, tmp_path):
    values = {"DOCKERHUB_USERNAME": "somebody", "DOCKERHUB_PASSWORD": "pa$$word-long"}
    bench = Bench(target, tmp_path, image="docker.io/somebody/hichat", variables=values)
    bench.up("project", "variables")
    assert variable(bench, "IMAGE")["value"] == "docker.io/somebody/hichat"
    password = variable(bench, "DOCKERHUB_PASSWORD")
    assert (password["value"], password["masked"], password["raw"]) == ("pa$$word-long", True, True)
    assert variable(bench, "DOCKERHUB_USERNAME")["masked"] is False
    assert bench.acted("project", "variables") == set()


@pytest.mark.needs("kubernetes", "argocd")
def test_a_hook_that_was_changed_by_hand_is_put_back(bench):
    steps = ("gitlab.settings", "project", "argocd.settings", "hook")
    bench.up(*steps)
    assert bench.acted(*steps) == set()
    row = bench.forge.rows(bench.forge.at("hooks"))[0]
    assert (row["url"], row["push_events_branch_filter"]) == (bench.endpoints.webhook, "k8s-config")
    bench.forge.update(bench.forge.at("hooks", row["id"]), {"url": row["url"], "push_events_branch_filter": "master"})
    assert bench.acted(*steps) == {"hook"}
    bench.forge.remove(bench.forge.at("hooks", row["id"]))
    assert bench.acted(*steps) == {"hook"}
    assert len(bench.forge.rows(bench.forge.at("hooks"))) == 1


@pytest.mark.needs("kubernetes", "argocd")
def test_a_hook_whose_secret_was_changed_by_hand_gets_it_back_once_a_delivery_was_refused(bench):
    steps = ("gitlab.settings", "project", "argocd.settings", "hook", "source", "push")
    bench.up(*steps)
    row = bench.forge.rows(bench.forge.at("hooks"))[0]
    path = bench.forge.at("hooks", row["id"])
    everything = {"url": row["url"], "token": "another", "push_events_branch_filter": ""}
    bench.forge.update(path, everything)
    append = git.as_root(bench.endpoints, bench.settings.project.path), "master"
    git.append(*append, "one [skip ci]", git.Person("me", "me@lab.test"))
    refused = wait_until(
        "the refusal",
        lambda: next(filter(hook.refused, bench.forge.hook_events(row["id"])), Pending("none")),
        timeout=20,
    )
    assert str(refused["response_status"]) == "400"
    assert bench.acted(*steps) == {"hook"}
    bench.forge.create(f"{path}/test/push_events", {})
    last = hook.delivery(bench.forge.hook_events(row["id"]))
    assert last
    assert hook.accepted(last)


@pytest.mark.needs("kubernetes", "argocd")
def test_a_lost_webhook_secret_is_replaced_on_both_sides(bench):
    steps = ("gitlab.settings", "project", "argocd.settings", "hook")
    bench.up(*steps)
    bench.state.drop_secret("webhook-secret")
    assert bench.acted(*steps) == {"argocd.settings", "hook"}
    assert bench.acted(*steps) == set()


@pytest.mark.needs("kubernetes", "argocd")
def test_argocds_own_secrets_survive_ours(bench):
    before = bench.cluster.get(SECRET, "argocd-secret", argocd.NAMESPACE)["data"]
    bench.up("argocd.settings")
    after = bench.cluster.get(SECRET, "argocd-secret", argocd.NAMESPACE)["data"]
    mine = "webhook.gitlab.secret"
    assert {key: value for key, value in after.items() if key != mine} == {
        key: value for key, value in before.items() if key != mine
    }
    assert argocd.secret_value({"data": after}, mine) == bench.state.secret("webhook-secret")


@pytest.mark.needs("kubernetes", "argocd")
def test_pull_and_repository_secrets_follow_the_deploy_token(bench):
    steps = ("project", "namespace", "token.deploy", "pull-secret", "argocd.repository")
    bench.up(*steps)
    namespace = bench.settings.project.namespace
    assert bench.acted(*steps) == set()
    account = bench.cluster.get(SERVICE_ACCOUNT, "default", namespace)
    assert {"name": "gitlab-registry"} in account["imagePullSecrets"]
    bench.forge.remove(bench.forge.at("deploy_tokens", bench.state.fact("deploy-token")["id"]))
    assert bench.acted(*steps) == {"token.deploy", "pull-secret", "argocd.repository"}
    name = f"{bench.settings.project.name}-repository"
    secret = bench.cluster.get(SECRET, name, argocd.NAMESPACE)
    assert argocd.secret_value(secret, "password") == bench.state.secret("deploy-token")
    bench.cluster.delete(SECRET, name, argocd.NAMESPACE)
    bench.cluster.delete(NAMESPACE, namespace)


@pytest.mark.needs("runner")
def test_a_lost_runner_is_made_anew(bench):
    bench.up("project", "runner")
    assert bench.acted("project", "runner") == set()
    first = bench.state.fact("runner-token")["id"]
    bench.forge.remove(f"/runners/{first}")
    assert bench.acted("project", "runner") == {"runner"}
    second = bench.state.fact("runner-token")["id"]
    bench.state.drop_secret("runner-token")
    assert bench.acted("project", "runner") == {"runner"}
    rows = bench.forge.rows(bench.forge.at("runners"))
    assert len(rows) == 1
    assert rows[0]["id"] not in (first, second)
    assert bench.forge.get(f"/runners/{rows[0]['id']}")["tag_list"] == ["docker"]


@pytest.mark.needs("runner")
def test_a_paused_runner_is_resumed(bench):
    bench.up("project", "runner")
    runner = bench.state.fact("runner-token")["id"]
    bench.forge.update(f"/runners/{runner}", {"paused": True})
    assert bench.acted("project", "runner") == {"runner"}
    assert bench.forge.get(f"/runners/{runner}")["paused"] is False
    assert bench.state.fact("runner-token")["id"] == runner


def test_a_clone_pushes_by_itself_and_holds_no_token(bench, tmp_path):
    bench.up("project", "branch.code", "source", "push")
    bench.state.put_secret("root-token", "glpat-replaced-later")
    folder = checkout.clone(bench.endpoints, bench.settings, bench.state, tmp_path / "work")
    bench.state.put_secret("root-token", bench.endpoints.root_token)
    (folder / "new.txt").write_text("x\n")
    alone = {
        "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "GIT_TERMINAL_PROMPT": "0",
        "GIT_CEILING_DIRECTORIES": str(tmp_path),  # no repository above the clone may ever be meant
    }  # fmt: skip
    for words in (["add", "-A"], [*SOMEONE, "commit", "-q", "-m", "by hand"], ["push", "-q"], ["pull", "-q"]):
        subprocess.run(["git", *words], cwd=folder, check=True, timeout=30, env=alone)
    assert bench.forge.commits("master")[0]["title"] == "by hand"
    everything = b"".join(path.read_bytes() for path in (folder / ".git").rglob("*") if path.is_file())
    assert bench.endpoints.root_token.encode() not in everything
    assert stat.S_IMODE((bench.state.folder / "secrets" / "root-token").stat().st_mode) == 0o600
    with pytest.raises(UsageError):
        checkout.clone(bench.endpoints, bench.settings, bench.state, folder)


def test_a_bundle_holds_every_branch(bench, tmp_path):
    assert checkout.bundle(bench.endpoints, bench.settings, bench.state, tmp_path / "none.bundle") is None
    bench.up("project", "branch.code", "source", "push")
    file = checkout.bundle(bench.endpoints, bench.settings, bench.state, tmp_path / "x.bundle")
    subprocess.run(["git", "clone", "-q", str(file), str(tmp_path / "back")], check=True, timeout=30)
    assert (tmp_path / "back" / "Dockerfile").exists()
