"""Access and token reviews: the one user, the administrator, may do everything."""

from __future__ import annotations

import hmac
from typing import Any

from aiohttp import web

from lab.emulator.kube.resources import no_such_resource
from lab.emulator.kube.web.discovery import REVIEWS
from lab.emulator.kube.web.rendering import answer
from lab.emulator.kube.web.requests import body_of

USER = {"username": "system:admin", "groups": ["system:masters", "system:authenticated"]}


def is_review(group: str, plural: str) -> bool:
    """Whether the plural is one of the kinds that are answered and not stored."""
    return any(plural == name for name, _, _ in REVIEWS.get(group, ()))


async def serve(request: web.Request, group: str, plural: str, token: str) -> web.Response:
    """Answer a review; raises 404 for anything but POST."""
    if request.method != "POST":
        raise no_such_resource()
    body = await body_of(request) or {}
    kind = next(kind for name, kind, _ in REVIEWS[group] if name == plural)
    spec = body.get("spec") or {}
    answered = {"kind": kind, "apiVersion": f"{group}/v1", "metadata": {"creationTimestamp": None}, "spec": spec,
                "status": _status(kind, spec, token)}  # fmt: skip
    if kind == "SelfSubjectReview":
        del answered["spec"]
    return answer(answered, status=201)


def _status(kind: str, spec: dict[str, Any], token: str) -> dict[str, Any]:
    if kind == "SelfSubjectReview":
        return {"userInfo": USER}
    if kind == "TokenReview":
        known = hmac.compare_digest(str(spec.get("token") or "").encode(), token.encode())
        return {"authenticated": True, "user": USER, "audiences": ["https://kubernetes.default.svc.cluster.local"]} if (
            known) else {"user": {}, "error": "[invalid bearer token]"}  # fmt: skip
    if kind == "SelfSubjectRulesReview":
        rule = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
        return {"resourceRules": [rule], "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                "incomplete": False}  # fmt: skip
    masters = kind == "SelfSubjectAccessReview" or "system:masters" in (spec.get("groups") or ()) or (
        spec.get("user") == USER["username"])  # fmt: skip
    return {"allowed": True} if masters else {"allowed": False}
