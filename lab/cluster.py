"""The only door to the kubernetes client: objects in, objects out, as plain documents.

The package is imported with the first request (0.2 s). What a kind's URL is comes from the server's discovery.
"""

from __future__ import annotations

import functools
import json
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from lab.remote import RemoteError, cause, load

T = TypeVar("T")
Document = dict[str, Any]
Kind = tuple[str, str]
"""``apiVersion`` and ``kind``."""

NAMESPACE: Kind = ("v1", "Namespace")
SECRET: Kind = ("v1", "Secret")
POD: Kind = ("v1", "Pod")
NODE: Kind = ("v1", "Node")
SERVICE: Kind = ("v1", "Service")
CONFIG_MAP: Kind = ("v1", "ConfigMap")
EVENT: Kind = ("v1", "Event")
SERVICE_ACCOUNT: Kind = ("v1", "ServiceAccount")
DEPLOYMENT: Kind = ("apps/v1", "Deployment")
STATEFUL_SET: Kind = ("apps/v1", "StatefulSet")
INGRESS: Kind = ("networking.k8s.io/v1", "Ingress")
DEFINITION: Kind = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
APPLICATION: Kind = ("argoproj.io/v1alpha1", "Application")

MANAGER = "lab"
"""Field manager of everything the lab applies; not that of Argo CD's manifest, which would take our keys away."""
_SHOWN = 600
_LOOK = 0.1
"""Seconds between two looks at whether somebody wants a followed log to end."""
_PLAIN: dict[str, Any] = {"serializer": lambda _client, document: document}
"""Answers as the documents they are, without the client's wrapper around each level."""


class Cluster:
    """One Kubernetes API server; may be shared by threads.

    Args:
        kubeconfig: read with the first request, so that it may be written later than this object is made.
        timeout: seconds for each request.
    """

    def __init__(self, kubeconfig: Path, *, timeout: float = 10.0) -> None:
        self._kubeconfig = kubeconfig
        self._timeout = timeout
        self._lock = threading.Lock()
        self._dynamic: Any = None
        self._kinds: dict[Kind, Any] = {}

    def get(self, kind: Kind, name: str, namespace: str | None = None) -> Document | None:
        """One object, or None when it (or its kind) does not exist."""
        try:
            found: Document = self._call(
                f"get {kind[1]} {name}",
                lambda: self._client().get(self._resource(kind), name=name, namespace=namespace, **_PLAIN),
            )
        except RemoteError as error:
            if error.status == 404:
                return None
            raise
        return found

    def select(self, kind: Kind, namespace: str | None = None, *, labels: str = "", fields: str = "") -> list[Document]:
        """Objects of a kind, selected by label and field."""
        answer: Document = self._call(
            f"list {kind[1]}",
            lambda: self._client().get(
                self._resource(kind),
                namespace=namespace,
                label_selector=labels or None,
                field_selector=fields or None,
                **_PLAIN,
            ),
        )
        return list(answer.get("items") or [])

    def apply(self, manifest: Mapping[str, Any], *, manager: str = MANAGER) -> Document:
        """Server-side apply of one object; other managers' fields stay, conflicts are won."""
        metadata = manifest["metadata"]
        kind = (manifest["apiVersion"], manifest["kind"])
        return self._call(
            f"apply {kind[1]} {metadata['name']}",
            lambda: self._client().server_side_apply(
                self._resource(kind),
                body=dict(manifest),
                name=metadata["name"],
                namespace=metadata.get("namespace"),
                field_manager=manager,
                force_conflicts=True,
                **_PLAIN,
            ),
        )

    def apply_all(self, manifests: Sequence[Mapping[str, Any]], *, manager: str = MANAGER, parallel: int = 8) -> None:
        """Apply objects that do not need each other, some at a time.

        Raises:
            RemoteError: the first one of them that was refused; others may have been applied.
        """
        with ThreadPoolExecutor(parallel, thread_name_prefix="apply") as pool:
            for done in [pool.submit(self.apply, manifest, manager=manager) for manifest in manifests]:
                done.result()

    def patch(self, kind: Kind, name: str, namespace: str | None, change: Mapping[str, Any]) -> Document:
        """JSON merge patch."""
        return self._call(
            f"patch {kind[1]} {name}",
            lambda: self._client().patch(
                self._resource(kind),
                body=dict(change),
                name=name,
                namespace=namespace,
                content_type="application/merge-patch+json",
                field_manager=MANAGER,
                **_PLAIN,
            ),
        )

    def delete(self, kind: Kind, name: str, namespace: str | None = None, *, propagation: str = "Background") -> bool:
        """Delete one object; answers whether there was one."""
        try:
            self._call(
                f"delete {kind[1]} {name}",
                lambda: self._client().delete(
                    self._resource(kind), name=name, namespace=namespace, propagation_policy=propagation, **_PLAIN
                ),
            )
        except RemoteError as error:
            if error.status != 404:
                raise
            return False
        return True

    def logs(self, pod: str, namespace: str, *, tail: int = 20, previous: bool = False) -> str:
        """The end of a pod's log; empty when there is none (yet)."""
        query = [("tailLines", tail), ("previous", str(previous).lower())]
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        try:
            answer = self._call(
                f"logs {pod}", lambda: self._client().request("get", path, query_params=query, serialize=False)
            )
        except RemoteError as error:
            if error.status in (400, 404):
                return ""
            raise
        data = answer.data
        return data.decode(errors="replace") if isinstance(data, bytes) else str(data)

    def follow_logs(
        self, pod: str, namespace: str, *, tail: int = 20, stop: threading.Event | None = None
    ) -> Iterator[str]:
        """A pod's log line by line, until its container ends or ``stop`` is set.

        A silent container ends it as well, after an hour: no read waits for ever. A read cannot be interrupted, so a
        thread of its own does the reading.

        Raises:
            RemoteError: Kubernetes refuses, or the connection broke.
        """
        query = [("tailLines", tail), ("follow", "true")]
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        answer = self._call(
            f"logs {pod}",
            lambda: self._client().request(
                "get", path, query_params=query, serialize=False, _request_timeout=(self._timeout, 3600)
            ),
        )
        lines: queue.SimpleQueue[str | Exception | None] = queue.SimpleQueue()
        threading.Thread(target=_read_lines, args=(answer, lines.put), name="log", daemon=True).start()
        while stop is None or not stop.is_set():
            try:
                line = lines.get(timeout=_LOOK)
            except queue.Empty:
                continue
            if isinstance(line, Exception):
                self._call(f"logs {pod}", functools.partial(_raise, line))
            if not isinstance(line, str):
                return
            yield line

    def events(self, name: str, namespace: str) -> list[Document]:
        """What happened to an object, oldest first."""
        found = self.select(EVENT, namespace, fields=f"involvedObject.name={name}")
        return sorted(found, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))

    def _resource(self, kind: Kind) -> Any:
        with self._lock:
            if kind not in self._kinds:
                self._kinds[kind] = self._connected().resources.get(api_version=kind[0], kind=kind[1])
            return self._kinds[kind]

    def _client(self) -> Any:
        with self._lock:
            return self._connected()

    def _connected(self) -> Any:
        if self._dynamic is None:
            self._dynamic = _connect(self._kubeconfig, self._timeout)
        return self._dynamic

    def _call(self, what: str, ask: Callable[[], T]) -> T:
        if not self._kubeconfig.exists():
            raise RemoteError(
                "LAB-KUBE-01", f"There is no kubeconfig at {self._kubeconfig}.", status=None, hint="invoke up"
            )
        urllib3, client, dynamic = load("urllib3", "kubernetes.client.exceptions", "kubernetes.dynamic.exceptions")
        try:
            return ask()
        except client.ApiException as error:
            evidence = _message(error.body) or str(error.reason)
            if not error.status:  # a TLS failure
                raise _silent(what, evidence) from error
            raise RemoteError(
                "LAB-KUBE-03",
                f"Kubernetes answered {error.status} to {what}.",
                status=error.status,
                evidence=evidence,
                hint="`invoke up` mends what the lab has wired; `invoke logs emulator` says more.",
            ) from error
        except dynamic.ResourceNotFoundError as error:
            raise RemoteError(
                "LAB-KUBE-04",
                f"Kubernetes does not know this kind: {what}.",
                status=404,
                evidence=str(error),
                hint="`invoke up` installs what the lab needs.",
            ) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _silent(what, cause(error)) from error


def _silent(what: str, seen: str) -> RemoteError:
    return RemoteError(
        "LAB-KUBE-02",
        "Kubernetes does not answer.",
        status=None,
        evidence=f"{what}: {seen}"[:_SHOWN],
        hint="`invoke status` shows what runs; `invoke up` starts what does not.",
    )


def _read_lines(answer: Any, tell: Callable[[str | Exception | None], None]) -> None:
    """Tell every line of a streamed answer, and at its end None or what broke it."""
    rest, broken = b"", None
    try:
        for chunk in answer.stream(1 << 16):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                tell(line.decode(errors="replace"))
    except Exception as error:  # noqa: BLE001 - it is raised again where the lines are read
        broken = error
    finally:
        answer.close()
    if rest:
        tell(rest.decode(errors="replace"))
    tell(broken)


def _raise(error: Exception) -> None:
    raise error


def _connect(kubeconfig: Path, timeout: float) -> Any:
    """A dynamic client whose every request, discovery's too, has a time limit.

    Its discovery cache is a file that is keyed by address only, so a new cluster starts with the old one's kinds
    (contracts G.2), and that two processes write at once. Discovery is four requests: the cache stays in memory,
    because the file's folder never exists.
    """
    client, config, dynamic = load("kubernetes.client", "kubernetes.config", "kubernetes.dynamic")

    plain: Any = dynamic.DynamicClient

    class Bounded(plain):  # type: ignore[misc]  # the package has no types
        def request(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
            params.setdefault("_request_timeout", timeout)
            return super().request(method, path, body=body, **params)

    settings = client.Configuration()
    config.load_kube_config(str(kubeconfig), client_configuration=settings, persist_config=False)
    settings.retries = False
    settings.proxy = None
    settings.connection_pool_maxsize = 16
    return Bounded(client.ApiClient(settings), cache_file=str(kubeconfig / "never"))


def _message(body: object) -> str:
    """The message of a Status document, or the body as it is."""
    try:
        status = json.loads(body if isinstance(body, (str, bytes)) else "")
        return str(status.get("message", status))[:_SHOWN]
    except (ValueError, AttributeError):
        return str(body or "")[:_SHOWN]
