"""Root's password and access token: what GitLab's API cannot give to somebody who has neither (contracts A.5, A.9)."""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

from lab import assets
from lab.engines.docker import containers
from lab.engines.docker.site import Site
from lab.errors import LabError
from lab.plan import Needed, Probe, Satisfied, Step, StepContext
from lab.remote import RemoteError, fetch
from lab.waiting import Pending

ROOT_PASSWORD, ROOT_TOKEN = "root-password", "root-token"
TOKEN_NAME = "lab"  # noqa: S105 - a name
_SCRIPT = "/tmp/lab-root-token.rb"  # noqa: S108 - inside GitLab's container
_GIT = 998
"""User ``git`` in the image (contracts A.1); `gitlab-rails runner` runs as it."""
_RAILS = 600
"""Seconds for one `gitlab-rails runner`, which starts Rails: a minute on a good machine."""
_EXPIRES = timedelta(days=30)
_LETTERS = string.ascii_letters.translate(str.maketrans("", "", "aeiouAEIOUlI")) + "23456789"


class RootAccess:
    """Both secrets, and the step that makes GitLab accept the token."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def password(self) -> str:
        """Root's password; made once, and used by GitLab's first start only."""
        return self._secret(ROOT_PASSWORD, new_password)

    def token(self) -> str:
        """Root's access token; known before GitLab is, because the lab chooses it."""
        return self._secret(ROOT_TOKEN, _new_token)

    def step(self) -> Step:
        """GitLab accepts the token, and will for a month at least."""
        return Step(
            "gitlab.token", "Root's access token", self._probe_token, self._act_token, ("gitlab.ready",),
            f"docker exec {self._site.names.gitlab} gitlab-rails runner root-token.rb",
        )  # fmt: skip

    def _secret(self, name: str, make: Callable[[], str]) -> str:
        found = self._site.state.secret(name)
        if not found:
            found = make()
            self._site.state.put_secret(name, found)
        return found

    def _probe_token(self, _context: StepContext) -> Probe:
        found = self._own_token()
        if found is None:
            return Needed("GitLab does not accept it")
        ends = date.fromisoformat(found["expires_at"]) if found.get("expires_at") else date.max
        if ends - date.today() < _EXPIRES:  # noqa: DTZ011 - GitLab counts days
            return Needed(f"it ends on {ends}")
        return Satisfied(f"valid until {ends}")

    def _own_token(self) -> dict[str, Any] | None:
        url = f"http://127.0.0.1:{self._site.settings.ports.gitlab}/api/v4/personal_access_tokens/self"
        answer = fetch(url, headers={"PRIVATE-TOKEN": self.token()}, timeout=30)
        if answer.status == 200:
            return dict(answer.json())
        if answer.status in (401, 403):
            return None
        raise RemoteError(
            "LAB-GITLAB-22", f"GitLab answers {answer.status} when asked about root's token.", status=answer.status,
            evidence=answer.text[:300], hint="invoke logs gitlab",
        )  # fmt: skip

    def _act_token(self, context: StepContext) -> str:
        """One start of Rails; the script travels as a file, so that the token is on no command line."""
        self._site.state.put_secret(ROOT_TOKEN, _new_token())
        container = self._site.ours("containers", self._site.names.gitlab)
        if container is None:
            raise LabError("LAB-GITLAB-23", "GitLab's container has gone.", hint="invoke up")
        script = assets.render("gitlab/root-token.rb", name=TOKEN_NAME, token=self.token())
        containers.put(self._site, container, _SCRIPT, script, owner=_GIT)
        context.report("gitlab-rails runner starts Rails, a minute")
        try:
            ran = self._site.daemon.execute(container, "timeout", str(_RAILS), "gitlab-rails", "runner", _SCRIPT)
        finally:
            self._site.daemon.execute(container, "rm", "-f", _SCRIPT)
        if ran.code:
            raise LabError(
                "LAB-GITLAB-24", "GitLab could not make root's access token.",
                evidence=ran.output.replace(self.token(), "[masked]")[-2000:], hint="invoke logs gitlab",
            )  # fmt: skip
        return context.wait("GitLab to accept the token", self._accepted, timeout=60)

    def _accepted(self) -> str | Pending:
        return "made" if self._own_token() else Pending("it is refused")


def new_password() -> str:
    """A password that GitLab takes: no word that its seed refuses can be in it (contracts A.5)."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(6)) for _ in range(4))


def _new_token() -> str:
    return f"glpat-{secrets.token_urlsafe(24)}"
