"""The checklist: every link of the loop, read-only, with the evidence beside it and what to do when it is broken."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from lab import argocd, pipeline, workload
from lab.cluster import SECRET
from lab.doors import Doors
from lab.errors import LabError, UsageError
from lab.facts import Broken, Facts, arrived, there
from lab.model import Check, Endpoints
from lab.remote import RemoteError, fetch
from lab.settings import Settings
from lab.state import State
from lab.wiring import hook, runner, tokens

Document = dict[str, Any]
_PARALLEL = 8
_HISTORY = 50
_HOOK = ("gitlab.settings", "argocd.settings", "hook")


def _gitlab_ready(facts: Facts) -> str:
    return f"GitLab {facts.doors.forge.get('/version')['version']} answers"


def _registry(facts: Facts) -> str:
    points = facts.doors.endpoints
    answer = fetch(f"{points.registry_route}/v2/", headers={"Host": points.registry})
    realm = answer.headers.get("www-authenticate", "")
    if answer.status != 401:
        raise Broken(f"/v2/ answers {answer.status}, 401 is the healthy answer")
    if f'realm="{points.gitlab}/' not in realm:
        raise Broken(f"the token realm is {realm or 'missing'}, not at {points.gitlab}")
    return f"401, {realm}"


def _runner(facts: Facts) -> str:
    rows = facts.doors.forge.rows(facts.doors.forge.at("runners"))
    if not rows:
        raise Broken("the project has no runner")
    awake = [row for row in rows if not row.get("paused")]
    if not awake:
        raise Broken(f"runner {rows[0]['id']} is paused")
    ages = [(runner.age(facts.doors.forge.get(f"/runners/{row['id']}")), row) for row in awake]
    seen = [(age, row) for age, row in ages if age is not None]
    if not seen:
        raise Broken("no runner has ever asked for jobs")
    age, row = min(seen, key=lambda pair: pair[0])
    if age > runner.FRESH:
        raise Broken(f"runner {row['id']} was last seen {age:.0f} s ago")
    return f"runner {row['id']} asked for jobs {age:.0f} s ago"


def _pipeline(facts: Facts) -> str:
    row = there(
        pipeline.of_commit(facts.doors.forge, facts.code(), facts.project.branch),
        f"no pipeline for {facts.code()[:8]}, the tip of {facts.project.branch}",
    )
    if row["status"] != "success":
        jobs = facts.doors.forge.jobs(row["id"])
        raise Broken(pipeline.progress(row, jobs))
    return f"pipeline {row['id']} of {facts.code()[:8]} succeeded"


def _tags(facts: Facts) -> str:
    if facts.project.image:
        return f"images go to {facts.project.image}, which the lab does not look into"
    names = pipeline.tags(facts.code(), facts.project.branch)
    found = {name: facts.doors.forge.tag(name) for name in names}
    missing = [name for name, tag in found.items() if tag is None]
    if missing:
        raise Broken("missing: " + ", ".join(missing))
    digests = {str((tag or {}).get("digest")) for tag in found.values()}
    if len(digests) > 1:
        raise Broken(f"{', '.join(names)} are not the same image")
    return f"{', '.join(names)}: {digests.pop()[:19]}"


def _clean(facts: Facts) -> str:
    commits = facts.doors.forge.commits(facts.code(), _HISTORY)
    for commit in commits:
        if str(commit.get("title", "")).startswith("chore: update image to"):
            raise Broken(f"{commit['id'][:8]} was made by a pipeline: {commit['title']}")
    return f"none of the last {len(commits)} commits was made by a pipeline"


def _config(facts: Facts) -> str:
    path = facts.project.image_file
    text = there(facts.doors.forge.file(path, facts.config()), f"{facts.project.config_branch} has no {path}")
    wanted = facts.code()[:8]
    lines = [line.strip() for line in text.splitlines() if line.strip().lstrip("- ").startswith("image:")]
    if not any(workload.tag(line.partition("image:")[2].strip().strip("\"'")) == wanted for line in lines):
        raise Broken(f"{path} says {'; '.join(lines) or 'nothing'}, wanted tag {wanted}")
    return f"{path} at {facts.config()[:8]} carries {wanted}"


def _hook(facts: Facts) -> str:
    forge, url = facts.doors.forge, facts.doors.endpoints.webhook
    row = next((row for row in forge.rows(forge.at("hooks")) if row["url"] == url), None)
    found = there(row, f"there is no webhook to {url}")
    if found.get("alert_status", "executable") != "executable":
        raise Broken(f"GitLab has switched the webhook off: {found['alert_status']}")
    last = hook.delivery(forge.hook_events(found["id"]))
    if last is None:
        proof = facts.state.fact("webhook-proof")
        if proof and proof["hook"] == found["id"]:
            return f"none in the last 7 days; proved with {proof['sha'][:8]}"
        raise Broken("nothing was delivered yet")
    after = str(last["request_data"].get("after"))[:8]
    if not hook.accepted(last):
        raise Broken(f"{after} was answered with {last.get('response_status')} {last.get('response_body', '')[:200]}")
    return f"{after} was answered with 200"


def _wired(*names: str) -> Callable[[Facts], str]:
    return lambda facts: facts.wired(*names)


def _logins(step: str) -> Callable[[Facts], str]:
    """A step that writes the deploy token somewhere: it can be compared only while the lab knows the token."""

    def look(facts: Facts) -> str:
        there(tokens.deploy_login(facts.state), "the lab does not know the deploy token (any more)")
        return facts.wired(step)

    return look


def _repository(facts: Facts) -> str:
    url = str(facts.application()["spec"].get("source", {}).get("repoURL"))
    wanted = argocd.repo_url(facts.doors.endpoints, facts.doors.settings)
    if url != wanted:
        raise Broken(f"the Application's repoURL is {url}, GitLab's is {wanted}")
    label = "argocd.argoproj.io/secret-type=repository"
    secrets = facts.doors.cluster.select(SECRET, argocd.NAMESPACE, labels=label)
    if not any(argocd.secret_value(secret, "url") == url for secret in secrets):
        raise Broken(f"no repository secret has exactly {url}")
    _logins("argocd.repository")(facts)
    return f"{url} in both"


def _synced(facts: Facts) -> str:
    return argocd.summary(arrived(argocd.synced(facts.application(), facts.config())))


def _healthy(facts: Facts) -> str:
    return argocd.summary(arrived(argocd.healthy(facts.application())))


def _pod(facts: Facts) -> str:
    facts.deployment()
    pod = arrived(facts.doors.application.rolled_out(facts.code()[:8]))
    return f"{pod['metadata']['name']} is Ready with {', '.join(workload.images(pod))}"


def _answers(facts: Facts) -> str:
    answer = arrived(facts.doors.application.answers())
    return f"{facts.doors.endpoints.app}{facts.project.health} answers {answer.status}"


@dataclass(frozen=True)
class _Item:
    id: str
    title: str
    look: Callable[[Facts], str]
    hint: str


_LIST = (
    _Item("gitlab.ready", "GitLab answers", _gitlab_ready, "invoke up"),
    _Item("registry.401", "The registry asks for a login", _registry, "invoke up"),
    _Item("runner.alive", "A runner asks for jobs", _runner, "invoke up; invoke logs runner"),
    _Item("pipeline.latest", "The newest commit's pipeline succeeded", _pipeline, "invoke logs pipeline"),
    _Item("registry.tags", "Its image has three tags", _tags, "invoke logs pipeline"),
    _Item("branch.master-clean", "The code branch holds people's commits only", _clean, "git revert that commit"),
    _Item("branch.config-sha", "The config branch carries its tag", _config, "invoke logs pipeline"),
    _Item("project.settings", "Project and variables are as wired", _wired("project", "variables"), "invoke up"),
    _Item("branch.protected", "Both branches are protected", _wired("branch.code", "branch.config"), "invoke up"),
    _Item(
        "token.config-branch",
        "The bot's token works, its variable holds it",
        _wired("token.config-branch"),
        "invoke up",
    ),
    _Item("token.deploy", "The deploy token works", _wired("token.deploy"), "invoke up"),
    _Item("hook.settings", "GitLab, hook and Argo CD are set for it", _wired(*_HOOK), "invoke up"),
    _Item("hook.delivered", "The last webhook was accepted", _hook, "invoke up proves it anew"),
    _Item("app.repository", "Argo CD reads the project by one URL", _repository, "invoke up"),
    _Item("app.settings", "The Application is as wired", _wired("application"), "invoke up"),
    _Item("pull.secret", "The namespace holds the login for pulls", _logins("pull-secret"), "invoke up"),
    _Item("app.synced", "Argo CD has synced the config branch", _synced, "kubectl -n argocd get applications"),
    _Item("app.healthy", "Argo CD finds it healthy", _healthy, "kubectl -n argocd get applications"),
    _Item("pod.image", "A Ready pod runs that tag", _pod, "kubectl get pods; invoke logs app"),
    _Item("app.answers", "The application answers", _answers, "invoke logs app"),
)
IDS: tuple[str, ...] = tuple(item.id for item in _LIST)


def checks(
    endpoints: Endpoints,
    settings: Settings,
    state: State,
    *,
    only: Sequence[str] = (),
    elsewhere: Sequence[str] = (),
    stop: threading.Event,
) -> list[Check]:
    """Look at every link (or those in ``only``) at once; nothing is changed.

    ``elsewhere`` holds ids of checks that somebody else makes, the engine's.

    Raises:
        UsageError: ``only`` names a check that exists neither here nor in ``elsewhere``.
    """
    valid = (*elsewhere, *IDS)
    unknown = [name for name in only if name not in valid]
    if unknown:
        raise UsageError("LAB-VER-03", f"There is no check {', '.join(unknown)}.", hint="Checks: " + ", ".join(valid))
    chosen = [item for item in _LIST if not only or item.id in only]
    facts = Facts(Doors.open(endpoints, settings), state)
    if not chosen:
        return []
    with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="check") as pool:
        return list(pool.map(lambda item: _check(item, facts, stop), chosen))


def _check(item: _Item, facts: Facts, stop: threading.Event) -> Check:
    if stop.is_set():
        return Check(item.id, item.title, None, "stopped", item.hint)
    try:
        return Check(item.id, item.title, True, item.look(facts))
    except RemoteError as error:
        # What a check is about may be down (then it failed); for the others it only stands in the way.
        own = item.id in ("gitlab.ready", "registry.401", "app.answers") or not error.transient
        return Check(item.id, item.title, False if own else None, _line(error), error.hint or item.hint)
    except LabError as error:
        return Check(item.id, item.title, False, error.problem, item.hint)


def _line(error: LabError) -> str:
    return " ".join(f"{error.problem} {error.evidence}".split())
