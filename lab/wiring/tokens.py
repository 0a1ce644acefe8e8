"""The two logins that the loop uses: a bot that writes the config branch, a deploy token that only reads.

A token's value is shown once. It is written to `.lab/` before it is put to use; one whose value was lost is revoked by
id and replaced, and so is one that has less than 30 days to live.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import Any

from lab.git import Remote
from lab.plan import Needed, Probe, Satisfied, Step, StepContext
from lab.remote import RemoteError, fetch
from lab.state import State
from lab.wiring.context import Wiring
from lab.wiring.project import DEVELOPER, put_variable

BOT, DEPLOY = "lab-config-writer", "lab-deploy"
VARIABLE, OWN_VARIABLE = "CONFIG_BRANCH_TOKEN", "PERSONAL_ACCESS_TOKEN"
_BOT_SECRET, _DEPLOY_SECRET = "config-branch-token", "deploy-token"
_BOT_SCOPES, _DEPLOY_SCOPES = ["write_repository"], ["read_repository", "read_registry"]
_LIFETIME, _LEFT = timedelta(days=364), timedelta(days=30)

Document = dict[str, Any]


@dataclass(frozen=True)
class Login:
    """A token with the user name that goes with it."""

    id: int
    username: str
    password: str = field(repr=False)


def steps(lab: Wiring) -> list[Step]:
    """The bot's token with its variables, and the deploy token."""
    url = "$GITLAB/api/v4/projects/ID"
    return [
        Step(
            "token.config-branch",
            f"Token {BOT} as protected variable {VARIABLE}",
            lambda _context: _probe_bot(lab),
            lambda context: _act_bot(lab, context),
            ("project",),
            f'curl -H "PRIVATE-TOKEN: $TOKEN" -d name={BOT} -d access_level={DEVELOPER} -d scopes[]=write_repository '
            f"{url}/access_tokens\n"
            f'curl -H "PRIVATE-TOKEN: $TOKEN" -d key={VARIABLE} -d masked=true -d protected=true {url}/variables',
        ),
        Step(
            "token.deploy",
            f"Deploy token {DEPLOY} for pulls and Argo CD",
            lambda _context: _probe_deploy(lab),
            lambda context: _act_deploy(lab, context),
            ("project",),
            f'curl -H "PRIVATE-TOKEN: $TOKEN" -d name={DEPLOY} -d scopes[]=read_repository -d scopes[]=read_registry '
            f"{url}/deploy_tokens",
        ),
    ]


def bot_login(state: State) -> Login | None:
    """The bot's login as far as the lab remembers it."""
    return _remembered(state, _BOT_SECRET)


def deploy_login(state: State) -> Login | None:
    """The deploy token's login as far as the lab remembers it."""
    return _remembered(state, _DEPLOY_SECRET)


def bot_remote(lab: Wiring) -> Remote:
    """The project as the bot reaches it."""
    login = bot_login(lab.state)
    assert login  # noqa: S101 - the step token.config-branch came before
    return Remote(lab.endpoints.gitlab, lab.endpoints.gitlab_route, lab.project.path, login.username, login.password)


def _remembered(state: State, name: str) -> Login | None:
    password, known = state.secret(name), state.fact(name)
    return Login(int(known["id"]), str(known["username"]), password) if password and known else None


def _remember(state: State, name: str, row: Document, username: str) -> Login:
    # Value first: a value without its id is replaced on the next run, an id without its value would be as well.
    state.put_secret(name, row["token"])
    state.put_fact(name, {"id": row["id"], "username": username})
    return Login(int(row["id"]), username, row["token"])


def _refused(lab: Wiring, login: Login, service: str) -> str | None:
    """Try the login out where git does; None when it works."""
    url = f"{lab.endpoints.gitlab_route}/{lab.project.path}.git/info/refs?service={service}"
    answer = fetch(url, login=(login.username, login.password))
    if answer.status >= 500:
        raise RemoteError(
            "LAB-GITLAB-07",
            f"GitLab answered {answer.status} to git.",
            status=answer.status,
            evidence=answer.text[:200],
            hint="Run it again in a moment; `invoke logs emulator` says more.",
        )
    return None if answer.status == 200 else f"git is refused with {answer.status}"


def _expires_soon(row: Document) -> bool:
    day = row.get("expires_at")
    today = datetime.now(timezone.utc).date()
    return bool(day) and date.fromisoformat(str(day)[:10]) - today < _LEFT


def _unusable(lab: Wiring, login: Login | None, rows: list[Document], scopes: list[str], service: str) -> str | None:
    """Why a token has to be replaced, or None."""
    if login is None:
        return "its value is not known" if rows else "it does not exist"
    row = next((row for row in rows if row["id"] == login.id), None)
    if row is None:
        return "it does not exist (any more)"
    if set(row["scopes"]) != set(scopes):
        return f"its scopes are {', '.join(row['scopes'])}"
    if _expires_soon(row):
        return f"it expires on {row['expires_at']}"
    return _refused(lab, login, service)


def _bot_rows(lab: Wiring) -> list[Document]:
    rows = lab.forge.rows(lab.forge.at("access_tokens"))
    return [row for row in rows if row["name"] == BOT and row.get("active", True) and not row.get("revoked")]


def _bot_unusable(lab: Wiring) -> str | None:
    rows = [row for row in _bot_rows(lab) if row.get("access_level") == DEVELOPER]
    return _unusable(lab, bot_login(lab.state), rows, _BOT_SCOPES, "git-receive-pack")


def _keys(lab: Wiring) -> list[str]:
    return [VARIABLE, OWN_VARIABLE] if lab.owned else [VARIABLE]


def _probe_bot(lab: Wiring) -> Probe:
    why = _bot_unusable(lab)
    if why:
        return Needed(why)
    login = bot_login(lab.state)
    for key in _keys(lab):
        row = lab.forge.find(lab.forge.at("variables", key)) or {}
        if not login or row.get("value") != login.password:
            return Needed(f"variable {key} is missing or holds another value")
        if not (row.get("masked") and row.get("protected")):
            return Needed(f"variable {key} is not masked and protected")
    return Satisfied(f"token {login.id if login else ''} works, {' and '.join(_keys(lab))} hold it")


def _act_bot(lab: Wiring, context: StepContext) -> str:
    done = "kept"
    if why := _bot_unusable(lab):
        context.report(why)
        for row in _bot_rows(lab):
            lab.forge.remove(lab.forge.at("access_tokens", row["id"]))
        expires = datetime.now(timezone.utc).date() + _LIFETIME
        data = {"name": BOT, "scopes": _BOT_SCOPES, "access_level": DEVELOPER, "expires_at": expires.isoformat()}
        row = lab.forge.create(lab.forge.at("access_tokens"), data)
        # GitLab takes any user name beside a project token; the name tells people who pushed.
        _remember(lab.state, _BOT_SECRET, row, "lab-bot")
        done = f"created, valid until {row.get('expires_at')}"
    login = bot_login(lab.state)
    assert login  # noqa: S101 - remembered a line above
    for key in _keys(lab):
        put_variable(lab.forge, key, login.password, masked=True, protected=True)
    return f"token {login.id} {done}; {' and '.join(_keys(lab))} set"


def _deploy_rows(lab: Wiring) -> list[Document]:
    rows = lab.forge.rows(lab.forge.at("deploy_tokens"))
    return [row for row in rows if row["name"] == DEPLOY and not row.get("revoked") and not row.get("expired")]


def _probe_deploy(lab: Wiring) -> Probe:
    login = deploy_login(lab.state)
    why = _unusable(lab, login, _deploy_rows(lab), _DEPLOY_SCOPES, "git-upload-pack")
    return Needed(why) if why else Satisfied(f"{login.username if login else ''} may read")


def _act_deploy(lab: Wiring, _context: StepContext) -> str:
    for row in _deploy_rows(lab):
        lab.forge.remove(lab.forge.at("deploy_tokens", row["id"]))
    row = lab.forge.create(lab.forge.at("deploy_tokens"), {"name": DEPLOY, "scopes": _DEPLOY_SCOPES})
    login = _remember(lab.state, _DEPLOY_SECRET, row, row["username"])
    return f"created {login.username}"
