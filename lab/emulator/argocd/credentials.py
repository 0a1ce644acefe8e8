"""Which login belongs to a repository: the labelled Secrets of namespace argocd (contracts F.3)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from lab.emulator.argocd.matching import normalized_url, same_url

TYPE_LABEL = "argocd.argoproj.io/secret-type"
_SECRETS = ("username", "password", "bearerToken", "sshPrivateKey", "githubAppID", "gcpServiceAccountKey")


@dataclass(frozen=True)
class Repository:
    """A git repository and how to log in to it; without a Secret it is taken for a public one."""

    url: str
    username: str = ""
    password: str = field(default="", repr=False)
    bearer_token: str = field(default="", repr=False)
    insecure: bool = False
    project: str = ""

    def authorization(self) -> str | None:
        """The value of the Authorization header, or None. An empty user name is sent as ``x-access-token``."""
        if self.password or self.username:
            login = f"{self.username or 'x-access-token'}:{self.password}"
            return "Basic " + base64.b64encode(login.encode()).decode()
        return f"Bearer {self.bearer_token}" if self.bearer_token else None


def find(secrets: Iterable[dict[str, Any]], url: str) -> Repository:
    """The repository at ``url``: its own Secret, completed by the longest matching ``repo-creds`` template."""
    every = [(_type(secret), values(secret)) for secret in secrets]
    own = next((data for kind, data in every if kind == "repository" and same_url(data.get("url", ""), url)), None)
    repository = replace(_repository(own or {}), url=url)
    if own and any(own.get(name) for name in _SECRETS):
        return repository
    wanted = normalized_url(url)
    templates = [
        data
        for kind, data in every
        if kind == "repo-creds" and data.get("url") and wanted.startswith(normalized_url(data["url"]))
    ]
    if not templates:
        return repository
    best = _repository(max(templates, key=lambda data: len(data["url"])))
    return replace(best, url=url, insecure=best.insecure or repository.insecure, project=repository.project)


def values(secret: dict[str, Any]) -> dict[str, str]:
    """The decoded data of a Secret; values that are no base64 or no text are left out."""
    decoded = {name: _text(value) for name, value in (secret.get("data") or {}).items()}
    return {name: text for name, text in decoded.items() if text is not None}


def _text(value: Any) -> str | None:
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, TypeError, ValueError):
        return None


def _type(secret: dict[str, Any]) -> str:
    return str(((secret.get("metadata") or {}).get("labels") or {}).get(TYPE_LABEL, ""))


def _repository(data: dict[str, str]) -> Repository:
    return Repository(
        url=data.get("url", ""),
        username=data.get("username", ""),
        password=data.get("password", ""),
        bearer_token=data.get("bearerToken", ""),
        insecure=data.get("insecure") == "true",
        project=data.get("project", ""),
    )
