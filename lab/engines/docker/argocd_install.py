"""Argo CD in the cluster: upstream's manifest, the lab's parameters, and the ways in.

Two field managers share the objects: one for upstream's manifest, one for the lab's own keys. Applying the manifest
again, or a newer one, then takes nothing of ours away (contracts F.1).
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone

from lab import argocd, symptoms, workload
from lab.argocd import NAMESPACE
from lab.causes import Evidence
from lab.cluster import DEFINITION, DEPLOYMENT, MANAGER, POD, STATEFUL_SET, Cluster, Document
from lab.engines.base import LogSource
from lab.engines.docker import argocd_manifest, containers, downloads, images, sizes
from lab.engines.docker.argocd_manifest import Manifest
from lab.engines.docker.cluster import check, troubles
from lab.engines.docker.site import Site
from lab.errors import TimedOut, UsageError
from lab.model import Check
from lab.plan import Needed, Probe, Satisfied, Step, StepContext
from lab.remote import Answer, RemoteError, fetch, patient
from lab.waiting import Pending, wait_until

MANIFEST_MANAGER = "lab-argocd-manifest"
_FILE = "argo-cd"
_RESTART = 5.0
"""Seconds that a restart of argocd-server within its process may take."""
_REDIS = 'secret "argocd-redis" not found'
_FACT = "argocd-manifest"
_PARAMETERS, _INGRESS = "k8s/argocd/parameters.yaml", "k8s/argocd/ingress.yaml"
_PART_OF = "app.kubernetes.io/part-of=argocd"
_APPLY = 60.0
"""Seconds for a request: the largest definition has 380 kB."""
_UNKNOWN_EVENT = "Unknown webhook event"
"""What Argo CD's receiver says, with 400, to a request without an event (contracts F.4)."""
_LOGS = {
    "argocd": "argocd-server",
    "argocd-controller": "argocd-application-controller",
    "argocd-repo": "argocd-repo-server",
}


class ArgoCdInstall:
    """The manifest's objects, and the ingresses in front of the server."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def steps(self) -> Sequence[Step]:
        """Everything applied; everything available and reachable."""
        version, port = downloads.version(_FILE), self._site.settings.ports.argocd
        return [
            Step(
                "argocd.manifest", f"Argo CD {version} installed", self._probe_manifest, self._act_manifest,
                ("cluster",),
                "kubectl create namespace argocd\n"
                "kubectl apply --namespace argocd --server-side --force-conflicts --filename .lab/.../install.yaml\n"
                f"kubectl apply --server-side --filename {_PARAMETERS}",
            ),
            Step(
                "argocd", f"Argo CD answers on https://localhost:{port} and for GitLab's webhook",
                self._probe, self._act, ("argocd.manifest", "cluster.names"),
                f"kubectl apply --server-side --filename {_INGRESS}\n"
                f"curl --insecure https://localhost:{port}/healthz\n"
                f"curl --header 'Host: {self._site.names.balancer}' {self._webhook}",
            ),
        ]  # fmt: skip

    def health(self) -> Sequence[Check]:
        """Whether all of it is available and reachable.

        argocd-server restarts itself for a moment when its secret changes (contracts F.2): one refusal says little.
        """
        try:
            seen: str | Pending = wait_until("Argo CD", self._seen, timeout=_RESTART, interval=0.2)
        except TimedOut as error:
            seen = Pending(error.evidence.removeprefix("last seen: "))
        return [check("engine.argocd", "Argo CD", seen)]

    def _seen(self) -> str | Pending:
        try:
            return self._serves()
        except RemoteError as error:
            return Pending(error.problem)

    def stop(self) -> str:
        """It stops with the cluster."""
        return ""

    def down(self) -> str:
        """It goes with the cluster."""
        if self._site.state.fact(_FACT):
            self._site.state.put_fact(_FACT, None)
        return ""

    def purge(self) -> str:
        """It keeps nothing outside the cluster."""
        return ""

    def logs(self) -> Mapping[str, LogSource]:
        """The server, the controller and the repository server."""
        return {name: functools.partial(self._log, part) for name, part in _LOGS.items()}

    def _probe_manifest(self, _context: StepContext) -> Probe:
        noted, cluster = self._site.state.fact(_FACT) or {}, self._cluster()
        if noted.get("digest") != self._digest:
            return Needed("another version was installed" if noted else "it was not installed yet")
        for kind, names in noted["names"].items():
            version, _, name = kind.partition(" ")
            namespace = None if name in argocd_manifest.CLUSTER_WIDE else NAMESPACE
            found = cluster.select((version, name), namespace, labels=_PART_OF)
            live = {item["metadata"]["name"]: item for item in found}
            for wanted in names:
                if wanted not in live:
                    return Needed(f"{name} {wanted} is missing")
                expected = noted["parts"].get(wanted) if version == "apps/v1" else None
                if expected and argocd_manifest.part(live[wanted]) != expected:
                    return Needed(f"{name} {wanted} has other images or replicas")
        other = self._differs(cluster, self._parameters())
        return Needed(other) if other else Satisfied(f"{sum(map(len, noted['names'].values()))} objects")

    def _act_manifest(self, context: StepContext) -> str:
        path = downloads.fetch(self._site, _FILE, context)
        manifest = argocd_manifest.read(path, self._images, extras=self._extras)
        namespace: Document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        self._apply(context, "namespace and definitions", [namespace, *manifest.definitions])
        context.wait(
            "Argo CD's definitions to be established", patient(lambda: self._established(manifest)),
            timeout=self._site.settings.timeouts.cluster,
        )  # fmt: skip
        self._apply(context, "accounts, rights, settings and services", manifest.others)
        self._apply(context, "parameters", self._parameters(), manager=MANAGER)  # read when the server starts
        self._apply(context, "workloads", manifest.workloads)
        summary = manifest.summary()
        self._site.state.put_fact(_FACT, {"digest": self._digest, **summary})
        return f"{sum(map(len, summary['names'].values()))} objects applied"

    def _apply(
        self, context: StepContext, what: str, documents: Sequence[Document], *, manager: str = MANIFEST_MANAGER
    ) -> None:
        """Apply, through a restart of the cluster if need be: applying twice changes nothing."""

        def applied() -> bool:
            self._cluster(_APPLY).apply_all(documents, manager=manager)
            return True

        context.report(f"applying {what}")
        context.wait(f"Argo CD's {what} to be applied", patient(applied), timeout=self._site.settings.timeouts.cluster)

    def _established(self, manifest: Manifest) -> bool | Pending:
        cluster = self._cluster()
        for definition in manifest.definitions:
            name = definition["metadata"]["name"]
            live = cluster.get(DEFINITION, name) or {}
            conditions = (live.get("status") or {}).get("conditions") or []
            if not any(item["type"] == "Established" and item["status"] == "True" for item in conditions):
                return Pending(f"{name} is not established")
        return True

    def _probe(self, _context: StepContext) -> Probe:
        other = self._differs(self._cluster(), self._ingresses())
        if other:
            return Needed(other)
        seen = self._serves()
        return Needed(seen.observation) if isinstance(seen, Pending) else Satisfied(seen)

    def _act(self, context: StepContext) -> str:
        timeout = self._site.settings.timeouts.cluster
        self._apply(context, "ingresses", self._ingresses(), manager=MANAGER)
        hint = "`invoke logs argocd` shows the server; images that cannot be pulled are named above."
        context.wait(
            "Argo CD to become available", patient(self._available), timeout=timeout, hint=hint,
            diagnose=self._evidence,
        )  # fmt: skip
        if self._redirects():
            context.report("restarting argocd-server: it was started with other parameters")
            self._roll("argocd-server")
        return context.wait("Argo CD to answer", patient(self._serves), timeout=timeout, hint=hint)

    def _evidence(self) -> list[Evidence]:
        """What is wrong with Argo CD's pods; that the first ones wait for redis to make its secret is not wrong."""
        return [seen for seen in symptoms.of_namespace(self._cluster(), NAMESPACE) if _REDIS not in seen.text]

    def _serves(self) -> str | Pending:
        """The version once all parts are available and both ways in answer as they should."""
        unavailable = self._available()
        if isinstance(unavailable, Pending):
            return unavailable
        pages = self._get(f"https://127.0.0.1:{self._site.settings.ports.argocd}/healthz")
        if isinstance(pages, Pending):
            return pages
        if pages.status != 200:
            return Pending(f"the pages' route answers {pages.status}: {pages.text[:200].strip()}")
        hook = self._get(self._webhook, host=self._site.names.balancer)
        if isinstance(hook, Pending):
            return hook
        if hook.status != 400 or _UNKNOWN_EVENT not in hook.text:  # a redirect counts as delivered for GitLab
            return Pending(f"the webhook's route answers {hook.status}: {hook.text[:200].strip()}")
        return f"{downloads.version(_FILE)} answers, its webhook too"

    def _available(self) -> bool | Pending:
        cluster = self._cluster()
        live = [*cluster.select(DEPLOYMENT, NAMESPACE, labels=_PART_OF)]
        live += cluster.select(STATEFUL_SET, NAMESPACE, labels=_PART_OF)
        waiting = [item["metadata"]["name"] for item in live if workload.not_rolled_out(item)]
        if not live:
            return Pending("it is not installed")
        if waiting:
            return Pending("; ".join([f"not available: {', '.join(waiting)}", *troubles(cluster, NAMESPACE)]))
        return True

    def _redirects(self) -> bool:
        answer = self._get(self._webhook, host=self._site.names.balancer)
        return isinstance(answer, Answer) and 300 <= answer.status < 400

    def _roll(self, deployment: str) -> None:
        """Start a Deployment's pods anew, as `kubectl rollout restart` does it."""
        annotations = {"kubectl.kubernetes.io/restartedAt": datetime.now(timezone.utc).isoformat(timespec="seconds")}
        change = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
        self._cluster().patch(DEPLOYMENT, deployment, NAMESPACE, change)

    def _get(self, url: str, *, host: str = "") -> Answer | Pending:
        try:
            return fetch(url, headers={"Host": host} if host else None)
        except RemoteError as error:
            return Pending(f"{error.problem} {error.evidence}")

    def _differs(self, cluster: Cluster, wanted: Sequence[Document]) -> str:
        """The first of the lab's own documents that the cluster does not hold, and why; empty when it holds all."""
        for document in wanted:
            name = document["metadata"]["name"]
            live = cluster.get(argocd_manifest.kind_of(document), name, NAMESPACE)
            why = argocd.difference(document, live)
            if why:
                return f"{document['kind']} {name}: {why}"
        return ""

    def _log(self, part: str, follow: bool, stop: threading.Event) -> Iterator[str]:
        cluster = self._cluster()
        pod = workload.newest(cluster.select(POD, NAMESPACE, labels=f"app.kubernetes.io/name={part}"))
        if pod is None:
            raise UsageError("LAB-LOGS-06", f"{part} has no pod.", hint="invoke up")
        name = pod["metadata"]["name"]
        if not follow:
            yield from cluster.logs(name, NAMESPACE, tail=200).splitlines()
            return
        yield from cluster.follow_logs(name, NAMESPACE, tail=200, stop=stop)

    def _cluster(self, timeout: float = 10.0) -> Cluster:
        return Cluster(self._site.state.folder / "kubeconfig", timeout=timeout)

    def _parameters(self) -> list[Document]:
        return argocd.documents(_PARAMETERS)

    def _ingresses(self) -> list[Document]:
        return argocd.documents(_INGRESS, webhook_host=self._site.names.balancer)

    @property
    def _webhook(self) -> str:
        return f"http://127.0.0.1:{self._site.settings.ports.app}/api/webhook"

    @property
    def _images(self) -> Mapping[str, str]:
        return images.node_references(self._site.settings)

    @property
    def _extras(self) -> bool:
        return sizes.of(self._site).argocd_extras

    @property
    def _digest(self) -> str:
        return containers.digest(version=downloads.version(_FILE), images=self._images, extras=self._extras)
