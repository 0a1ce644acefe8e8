"""The deployed application: its rollout, its pods, its answer over HTTP, and what is wrong with it."""

from __future__ import annotations

import re
from typing import Any

from lab import workload
from lab.cluster import DEPLOYMENT, INGRESS, POD, Cluster
from lab.errors import CheckFailed
from lab.model import Endpoints
from lab.remote import Answer, RemoteError, fetch
from lab.settings import ProjectSettings, Settings
from lab.waiting import Pending

Document = dict[str, Any]
_SHA = re.compile(r"[0-9a-f]{40}")


class Application:
    """The Deployment named in the settings, with its pods and its ingress."""

    def __init__(self, cluster: Cluster, endpoints: Endpoints, settings: Settings) -> None:
        self._cluster = cluster
        self._endpoints = endpoints
        self._project: ProjectSettings = settings.project
        self._host: str | None = None

    def deployment(self) -> Document | None:
        """The Deployment, or None."""
        return self._cluster.get(DEPLOYMENT, self._project.deployment, self._project.namespace)

    def pods(self, deployment: Document) -> list[Document]:
        """The pods that the Deployment's selector takes."""
        return self._cluster.select(POD, self._project.namespace, labels=workload.selector(deployment))

    def rolled_out(self, tag: str | None = None) -> Document | Pending:
        """The newest Ready pod, once every replica is on the present template and (if given) carries ``tag``.

        Raises:
            CheckFailed: the pods can not come up: the image cannot be pulled, the program keeps ending.
        """
        found = self.deployment()
        if found is None:
            return Pending(f"no Deployment {self._project.deployment} in {self._project.namespace}")
        if tag and not workload.has_tag(found, tag):
            return Pending(f"the Deployment still has {', '.join(workload.images(found))}")
        why = workload.not_rolled_out(found)
        pods = self.pods(found)
        if why is None:
            ready = [pod for pod in pods if workload.ready(pod) and (not tag or workload.has_tag(pod, tag))]
            newest = workload.newest(ready)
            return newest or Pending("no Ready pod")
        current = [pod for pod in pods if workload.images(pod) == workload.images(found)]
        self._give_up_on(found, current)
        seen = next((text for text in map(workload.trouble, current) if text), None)
        return Pending(f"{why}; {seen}" if seen else why)

    def _give_up_on(self, deployment: Document, pods: list[Document]) -> None:
        """Raise when a pod of the present template will not come up by waiting longer."""
        failed = workload.progress_failed(deployment)
        for pod in pods:
            text = workload.trouble(pod)
            if text and (failed or workload.hopeless(pod)):
                raise CheckFailed(
                    "LAB-APP-01",
                    f"Pod {pod['metadata']['name']} does not come up: {text}",
                    evidence="\n".join(self.report()),
                    hint="Mend the application, commit and push.",
                )

    def obstacle(self) -> str:
        """What keeps any pod of the namespace from running, its neighbours too; empty when nothing does.

        Raises:
            CheckFailed: waiting longer does not help.
        """
        namespace = self._project.namespace
        pods = self._cluster.select(POD, namespace)
        stuck = workload.stuck(self._cluster.select(DEPLOYMENT, namespace), pods)
        if stuck is not None:
            name = stuck["metadata"]["name"]
            raise CheckFailed(
                "LAB-APP-01",
                f"Pod {name} does not come up: {workload.trouble(stuck)}",
                evidence="\n".join(self._about(name)),
                hint=f"kubectl -n {namespace} describe pod {name}\nMend it, commit and push.",
            )
        seen = ((pod["metadata"]["name"], workload.trouble(pod)) for pod in pods)
        return "; ".join(f"{name}: {text}" for name, text in seen if text)

    def ask(self, path: str | None = None, timeout: float = 5.0) -> Answer:
        """GET a path of the application through the ingress (default: its health path).

        Raises:
            RemoteError: the ingress does not answer.
        """
        headers = {"Host": self.host()} if self.host() else {}
        return fetch(self._endpoints.app + (path or self._project.health), headers=headers, timeout=timeout)

    def host(self) -> str:
        """The host of the first ingress rule of the namespace, or "" when every host is served (or nobody knows)."""
        if self._host is None:
            try:
                found = self._cluster.select(INGRESS, self._project.namespace)
            except RemoteError:
                return ""
            rules = [rule for ingress in found for rule in (ingress.get("spec") or {}).get("rules") or []]
            hosts = [str(rule.get("host") or "") for rule in rules]
            if not hosts:
                return ""  # none yet: ask again next time
            self._host = "" if "" in hosts else hosts[0].replace("*.", "any.")
        return self._host

    def answers(self) -> Answer | Pending:
        """The answer of the health path once it is 2xx."""
        try:
            answer = self.ask()
        except RemoteError as error:
            return Pending(error.evidence or error.problem)
        if 200 <= answer.status < 300:
            return answer
        return Pending(f"{self._project.health} answers {answer.status} {answer.text.strip()[:120]}".strip())

    def version(self) -> str | None:
        """What the sample answers at /version, the full SHA it was built from; None for a project of the user's."""
        if self._project.source is not None:
            return None
        try:
            answer = self.ask("/version")
        except RemoteError:
            return None
        text = answer.text.strip()
        return text if answer.status == 200 and _SHA.fullmatch(text) else None

    def report(self) -> list[str]:
        """What is wrong with the pods: container states, events, the end of the newest pod's log."""
        found = self.deployment()
        if found is None:
            return [f"There is no Deployment {self._project.deployment} in namespace {self._project.namespace}."]
        lines = [text for text in (workload.not_rolled_out(found), workload.progress_failed(found)) if text]
        pods = self.pods(found)
        pod = workload.newest([item for item in pods if workload.trouble(item)]) or workload.newest(pods)
        if pod is None:
            return [*lines, "It has no pods."]
        name = pod["metadata"]["name"]
        lines.append(f"pod {name}: {workload.trouble(pod) or ('Ready' if workload.ready(pod) else 'not Ready')}")
        return [*lines, *self._about(name)]

    def _about(self, pod: str) -> list[str]:
        """A pod's events and the end of its log."""
        namespace = self._project.namespace
        log = self._cluster.logs(pod, namespace, tail=10) or self._cluster.logs(pod, namespace, tail=10, previous=True)
        events = workload.event_lines(self._cluster.events(pod, namespace))
        return [*events, *(f"log: {line}" for line in log.splitlines())]
