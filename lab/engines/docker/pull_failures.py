"""Why a pull failed, told by the words of the engine and the registry; each reason with its next action."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lab.engines.docker.references import HUB, Reference
from lab.errors import LabError

PASSING = ("LAB-IMAGE-21", "LAB-IMAGE-22", "LAB-IMAGE-23")
"""Reasons that may be gone a moment later: no answer, a damaged layer, an error of the registry's own."""


@dataclass(frozen=True)
class Failure:
    """One reason; ``problem`` and ``hint`` may use ``{image}``, ``{registry}``, ``{login}`` and ``{mirror}``."""

    code: str
    words: re.Pattern[str]
    problem: str
    hint: str


def _any(*texts: str) -> re.Pattern[str]:
    return re.compile("|".join(texts), re.IGNORECASE)


_FAILURES = (
    Failure(
        "LAB-IMAGE-11",
        _any("toomanyrequests", "pull rate limit", "429 Too Many", "status: 429", "rate exceeded"),
        problem="{registry} refuses to give {image} for now: too many pulls from this address (429).",
        hint="Wait up to six hours, or {login}. {mirror}",
    ),
    Failure(
        "LAB-IMAGE-12",
        _any("no space left on device", "disk quota exceeded"),
        problem="The disk is full; {image} could not be stored.",
        hint="docker system df shows what takes the room; `invoke pull --list` shows what the lab needs.",
    ),
    Failure(
        "LAB-IMAGE-13",
        _any("no matching manifest", "no match for platform", "does not match the specified platform"),
        problem="{image} does not exist for this machine's architecture.",
        hint="Name another one under images: in lab.yaml, or: invoke up --engine embedded",
    ),
    Failure(
        "LAB-IMAGE-14",
        _any("manifest unknown", "manifest for .* not found", "name (unknown|not known)", ": not found"),
        problem="{registry} has no {image}.",
        hint="Check images: and mirrors: in lab.yaml; a mirror may not have it yet.",
    ),
    Failure(
        "LAB-IMAGE-15",
        _any("server gave HTTP response to HTTPS client"),
        problem="{registry} speaks plain HTTP, which Docker does not accept from it; {image} was not pulled.",
        hint='Add "insecure-registries": ["{registry}"] to /etc/docker/daemon.json and restart Docker.',
    ),
    Failure(
        "LAB-IMAGE-16",
        _any("x509:", "failed to verify certificate", "certificate signed by unknown"),
        problem="Docker does not trust the certificate of {registry}; {image} was not pulled.",
        hint="Behind a company's proxy, put its CA into /etc/docker/certs.d/{registry}/ca.crt. Is the clock right?",
    ),
    Failure(
        "LAB-IMAGE-17",
        _any("credentials store error", "docker-credential-", "error getting credentials"),
        problem="Docker's credential helper does not work, so {image} was not pulled.",
        hint="Remove credsStore from ~/.docker/config.json (on WSL it may name a Windows program), then docker login.",
    ),
    Failure(
        "LAB-IMAGE-18",
        _any("access denied", "unauthorized", "authentication required", "denied:", "403 Forbidden"),
        problem="{registry} refuses {image}: it does not exist there, or needs a login.",
        hint="Check the name; {login} when it is private.",
    ),
    Failure(
        "LAB-IMAGE-19",
        _any(r"lookup \S+", "no such host", "name resolution", "server misbehaving"),
        problem="The name {registry} cannot be resolved, so {image} was not pulled.",
        hint="Is there a network (a VPN, a proxy)? {mirror} Without any network: invoke up --bundle FILE",
    ),
    Failure(
        "LAB-IMAGE-20",
        _any("proxyconnect", "proxy error", "407 Proxy"),
        problem="The proxy that Docker is set to use does not let {image} through.",
        hint="Docker's daemon has proxy settings of its own: `docker info | grep -i proxy` shows them.",
    ),
    Failure(
        "LAB-IMAGE-21",
        _any(
            "connection refused", "network is unreachable", "no route to host", "i/o timeout", "Client.Timeout",
            "deadline exceeded", "TLS handshake timeout", "connection reset", "request canceled", r"\bEOF$",
        ),
        problem="{registry} does not answer, so {image} was not pulled.",
        hint="Run the same again; what was downloaded is kept. {mirror}",
    ),
    Failure(
        "LAB-IMAGE-22",
        _any("verification failed for digest", "unexpected commit digest", "digest mismatch"),
        problem="What {registry} sent for {image} is damaged: its digest is another one.",
        hint="Run the same again; if it stays, the mirror or a proxy on the way changes files.",
    ),
    Failure(
        "LAB-IMAGE-23",
        _any(r"status: 5\d\d", r"\b50[0234]\b", "unexpected HTTP", "error parsing HTTP", "invalid character '<'"),
        problem="{registry} answered with nonsense or an error of its own; {image} was not pulled.",
        hint="Run the same again. A page for logging into this network may be in between: open a browser.",
    ),
)  # fmt: skip


def explain(source: Reference, said: str, upstream: str) -> LabError | None:
    """The error for a pull that failed with these words, or None when they say nothing known.

    Args:
        source: what was pulled, from the mirror when there is one.
        said: the message of the engine, which quotes the registry's.
        upstream: the registry that the image is published in.
    """
    found = next((failure for failure in _FAILURES if failure.words.search(said)), None)
    if found is None:
        return None
    login = "docker login" if source.registry == HUB else f"docker login {source.registry}"
    mirror = (
        f"Set a mirror in lab.yaml, such as mirrors: {{{upstream}: HOST}}."
        if source.registry == upstream
        else f"{source.registry} is the mirror of {upstream} in lab.yaml: is it right?"
    )
    values = {"image": str(source), "registry": source.registry, "login": login, "mirror": mirror}
    return LabError(
        found.code, found.problem.format(**values), evidence=said.strip()[:600], hint=found.hint.format(**values)
    )
