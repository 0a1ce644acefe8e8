"""The webhook from GitLab to Argo CD: one secret on both sides, one branch, and a proof with a real push."""

from __future__ import annotations

import hashlib
import itertools
import secrets
import time
from typing import Any

from lab import argocd, git, symptoms
from lab.causes import Evidence
from lab.errors import LabError
from lab.plan import Needed, Probe, Satisfied, Step, StepContext
from lab.remote import RemoteError, patient
from lab.waiting import Pending
from lab.wiring.context import Wiring
from lab.wiring.tokens import bot_remote

_SECRET, _PROOF = "webhook-secret", "webhook-proof"
_CACHED = 90.0
"""Seconds: other processes of GitLab see a changed setting up to 60 s later (contracts B.4)."""
_RESENDS = (0.3, 3.0, 10.0)
"""Seconds after a delivery that failed until it is sent again; later ones come every `_SLOWLY`."""
_SLOWLY = 15.0
"""GitLab allows five in a minute (contracts B.2)."""
_REFRESH = 60.0
"""Polling asks every 120 s: what is seen within 60 s came from the webhook."""
_SUBJECT = "chore: prove the webhook [skip ci]"
PERSON = git.Person("lab", "lab@lab.test")

Document = dict[str, Any]


def steps(lab: Wiring, after: tuple[str, ...]) -> list[Step]:
    """Argo CD's settings, the hook, and the proof that it is delivered and understood."""
    branch = lab.project.config_branch
    return [
        Step(
            "argocd.settings",
            "Argo CD's settings and the webhook's secret",
            lambda _context: _probe_settings(lab),
            lambda _context: _act_settings(lab),
            after,
            "kubectl -n argocd patch secret argocd-secret --type merge "
            '-p \'{"stringData": {"webhook.gitlab.secret": "..."}}\'',
        ),
        Step(
            "hook",
            f"Webhook to Argo CD for branch {branch}",
            lambda _context: _probe_hook(lab),
            lambda context: _act_hook(lab, context),
            ("project", "gitlab.settings", "argocd.settings"),
            'curl -H "PRIVATE-TOKEN: $TOKEN" -d url=$ARGOCD/api/webhook -d push_events=true '
            f"-d push_events_branch_filter={branch} -d token=... $GITLAB/api/v4/projects/ID/hooks",
        ),
        Step(
            "hook.delivered",
            f"A push to {branch} is delivered and wakes Argo CD",
            lambda _context: _probe_proof(lab),
            lambda context: _act_proof(lab, context),
            ("hook", "application", "token.config-branch"),
            f'git commit --allow-empty -m "{_SUBJECT}" && git push origin {branch}\n'
            'curl -H "PRIVATE-TOKEN: $TOKEN" $GITLAB/api/v4/projects/ID/hooks/HOOK/events\n'
            f"kubectl -n argocd get application {lab.project.name} -o jsonpath='{{.status.sync.revision}}'",
        ),
    ]


def find(lab: Wiring) -> Document | None:
    """The hook that posts to Argo CD, or None."""
    rows = lab.forge.rows(lab.forge.at("hooks"))
    return next((row for row in rows if row["url"] == lab.endpoints.webhook), None)


def _secret(lab: Wiring) -> str:
    value = lab.state.secret(_SECRET)
    if not value:
        value = secrets.token_urlsafe(24)
        lab.state.put_secret(_SECRET, value)
    return value


def _probe_settings(lab: Wiring) -> Probe:
    secret = lab.state.secret(_SECRET)
    if not secret:
        return Needed("no secret was made yet")
    for wanted in argocd.server_settings(lab.endpoints, secret):
        kind, name = (wanted["apiVersion"], wanted["kind"]), wanted["metadata"]["name"]
        live = lab.cluster.get(kind, name, argocd.NAMESPACE)
        found = argocd.difference({"data": wanted.get("data", {})}, live)
        if found:
            return Needed(f"{kind[1]} {name}: {found}")
    return Satisfied("as in k8s/argocd/settings.yaml")


def _act_settings(lab: Wiring) -> str:
    # Merge patches: argocd-secret is filled by the server itself and must not be replaced (contracts F.2).
    for wanted in argocd.server_settings(lab.endpoints, _secret(lab)):
        kind, name = (wanted["apiVersion"], wanted["kind"]), wanted["metadata"]["name"]
        lab.cluster.patch(kind, name, argocd.NAMESPACE, {"data": wanted.get("data", {})})
    return "patched argocd-cm and argocd-secret"


def _wanted(lab: Wiring) -> Document:
    return {
        "url": lab.endpoints.webhook,
        "push_events": True,
        "tag_push_events": False,
        "push_events_branch_filter": lab.project.config_branch,
        "branch_filter_strategy": "wildcard",
        # Argo CD's own certificate is self-signed; the secret is what protects the receiver.
        "enable_ssl_verification": False,
    }


def _probe_hook(lab: Wiring) -> Probe:
    row = find(lab)
    if row is None:
        return Needed("it does not exist")
    wrong = [key for key, value in _wanted(lab).items() if row.get(key) != value]
    if wrong:
        return Needed(f"{', '.join(wrong)} not as wanted")
    if _switched_off(row):
        return Needed(f"GitLab has switched it off: {row['alert_status']}")
    # GitLab never shows a hook's token, so the lab remembers which one it has set, and for which hook.
    if lab.state.fact("webhook") != _remembered(lab, row):
        return Needed("the lab has not given it the present secret")
    last = delivery(lab.forge.hook_events(row["id"]))
    if last and refused(last):
        return Needed(f"Argo CD refused the last delivery with {last['response_status']}: the secrets may differ")
    return Satisfied(f"hook {row['id']}, {row.get('alert_status', 'executable')}")


def _switched_off(row: Document) -> bool:
    """Whether GitLab sends nothing there (for now), after too many failures."""
    return str(row.get("alert_status", "executable")) != "executable"


def _remembered(lab: Wiring, row: Document) -> Document:
    """Hook and secret as `.lab/webhook.json` keeps them; a digest tells whether the secret is still the same."""
    secret = lab.state.secret(_SECRET) or ""
    return {"hook": row["id"], "secret": hashlib.sha256(secret.encode()).hexdigest()[:16]}


def _act_hook(lab: Wiring, context: StepContext) -> str:
    data = {**_wanted(lab), "token": _secret(lab)}
    refusals: list[Evidence] = []

    def put() -> Document | Pending:
        row = find(lab)
        try:
            if row:
                return dict(lab.forge.update(lab.forge.at("hooks", row["id"]), data))
            return dict(lab.forge.create(lab.forge.at("hooks"), data))
        except RemoteError as error:
            if error.status == 422 and "url" in error.evidence.lower():
                refusals[:] = [Evidence("http", error.evidence, "GitLab")]
                return Pending(f"GitLab refuses the address: {error.evidence}")
            raise

    row = context.wait(
        "GitLab to accept the webhook's address", put, timeout=_CACHED, interval=0.2, longest=5,
        hint="Admin, Settings, Network, Outbound requests: local requests from webhooks must be allowed.",
        diagnose=lambda: refusals,
    )  # fmt: skip
    if _switched_off(row):
        # A test that is answered with 2xx switches it on again (contracts B.14); Argo CD ignores a push to this branch.
        lab.forge.create(lab.forge.at("hooks", row["id"], "test", "push_events"), {})
    lab.state.put_fact("webhook", _remembered(lab, row))
    return f"hook {row['id']} posts to {lab.endpoints.webhook}"


def delivery(events: list[Document], sha: str | None = None) -> Document | None:
    """The newest delivery of a push (with ``sha``: of the push that moved the branch to it), or None."""
    for event in events:
        data = event.get("request_data") or {}
        if data.get("object_kind") == "push" and sha in (None, data.get("after")):
            return event
    return None


def sent_at(event: Document) -> float | None:
    """When a delivery was sent, in seconds since 1970; GitLab says so since 19.0."""
    headers = {str(name).lower(): value for name, value in (event.get("request_headers") or {}).items()}
    text = str(headers.get("webhook-timestamp", ""))
    return float(text) if text.isdigit() else None


def is_proof(commit: Document) -> bool:
    """Whether a commit of the config branch is the lab's own, which repeats the trailers of the one below it."""
    return commit.get("title") == _SUBJECT


def accepted(event: Document) -> bool:
    """Whether a delivery was answered with 200; a redirect counts as success for GitLab, but not here (B.14)."""
    return str(event.get("response_status")) == "200"


def refused(event: Document) -> bool:
    """Whether the receiver did not want a delivery (4xx), as it does with the wrong secret."""
    return str(event.get("response_status")).startswith("4")


def _probe_proof(lab: Wiring) -> Probe:
    hook = find(lab)
    if hook is None:
        return Needed("there is no webhook")
    last = delivery(lab.forge.hook_events(hook["id"]))
    if last and not accepted(last):
        return Needed(f"the last delivery was answered with {last.get('response_status')}")
    known = lab.state.fact(_PROOF)
    if known and known["hook"] == hook["id"]:
        return Satisfied(f"proved with {known['sha'][:8]}")
    return Needed("no delivery was proved yet")


class Resends:
    """When a failed delivery is to be sent again: soon at first, then as often as GitLab allows."""

    def __init__(self) -> None:
        self._pauses = itertools.chain(_RESENDS, itertools.repeat(_SLOWLY))
        self._next: float | None = None

    def due(self, now: float) -> bool:
        """Whether to send again at this moment, in monotonic seconds; the first call is when the failure was seen."""
        due = self._next is not None and now >= self._next
        if due or self._next is None:
            self._next = now + next(self._pauses)
        return due


def _act_proof(lab: Wiring, context: StepContext) -> str:
    branch, hook = lab.project.config_branch, find(lab)
    if hook is None:
        raise LabError("LAB-HOOK-01", "The webhook has gone.", hint="invoke up")
    sha = git.append(bot_remote(lab), branch, f"{_SUBJECT}\n\n{{trailers}}", PERSON)
    context.report(f"pushed {sha[:8]} to {branch}")
    resends = Resends()

    def delivered() -> Document | Pending:
        event = delivery(lab.forge.hook_events(hook["id"]), sha)
        if event is None:
            return Pending(f"no delivery for {sha[:8]} yet")
        if accepted(event):
            return event
        # Argo CD restarts itself for a moment when its secret changes, and GitLab never retries (contracts F.2, B.14).
        if resends.due(time.monotonic()):
            lab.forge.create(lab.forge.at("hooks", hook["id"], "events", event["id"], "resend"), {})
        return Pending(f"answered {event.get('response_status')} {str(event.get('response_body'))[:200]}")

    context.wait(
        f"the webhook for {sha[:8]} to be delivered", patient(delivered), timeout=lab.settings.timeouts.sync,
        hint="400 means that the secret differs; internal error means that GitLab could not or would not connect.",
        diagnose=lambda: symptoms.of_webhook(lab.doors, sha),
    )  # fmt: skip
    context.wait(
        f"Argo CD's refresh to {sha[:8]}", patient(lambda: _refreshed(lab, sha)), timeout=_REFRESH,
        hint="Argo CD matches by host: the payload's project.web_url must name the same one as "
        f"{argocd.repo_url(lab.endpoints, lab.settings)}.",
        diagnose=lambda: [*symptoms.of_webhook(lab.doors, sha), *symptoms.of_sync(lab.doors)],
    )  # fmt: skip
    lab.state.put_fact(_PROOF, {"hook": hook["id"], "sha": sha})
    return f"{sha[:8]} delivered with 200, Argo CD compares with it"


def _refreshed(lab: Wiring, sha: str) -> str | Pending:
    app = argocd.find(lab.cluster, lab.settings)
    if app is None:
        return Pending("there is no Application")
    seen = argocd.revision(app)
    if seen == sha:
        return seen
    newer = [commit["id"] for commit in lab.forge.commits(lab.project.config_branch)]
    if sha in newer and seen in newer[: newer.index(sha)]:
        return seen  # a pipeline has pushed on top meanwhile
    return Pending("; ".join([f"Argo CD is at {seen[:8] or 'no revision'}", *argocd.conditions(app)]))
