"""The only door to python-gitlab: the REST API around one project as plain documents, its errors with a next action.

python-gitlab is imported with the first request. Its client follows links built from the external URL unless told to
keep its own address, has no time limit of its own, and waits minutes on 429 (contracts G.1): all three are set here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from lab.model import Endpoints
from lab.remote import RemoteError, cause, load

if TYPE_CHECKING:
    import gitlab

T = TypeVar("T")
Document = dict[str, Any]
_SHOWN = 600
_HINTS = {
    401: "The root token is not valid (any more): `invoke up` makes GitLab and the lab agree again.",
    403: "The token's role or scope is too small for this.",
    429: "GitLab limits the rate of requests; wait a minute and run it again.",
}


class Forge:
    """GitLab's API around one project; may be shared by threads, each gets a client of its own.

    Args:
        endpoints: where GitLab is and the root token.
        project: path with namespace, ``root/hichat``.
        timeout: seconds for each request.
    """

    def __init__(self, endpoints: Endpoints, project: str, *, timeout: float = 10.0) -> None:
        self._endpoints = endpoints
        self._timeout = timeout
        self._local = threading.local()
        self.project_path = project

    def at(self, *parts: object) -> str:
        """The API path of a thing of the project: ``at("hooks", 3)``."""
        return "/".join(["/projects", *(quote(str(part), safe="") for part in (self.project_path, *parts))])

    def get(self, path: str, **query: Any) -> Any:
        """GET a document; raises RemoteError for every status but 2xx."""
        return self._call("GET", path, lambda client: client.http_get(path, query_data=query, **_BOUNDED))

    def find(self, path: str, **query: Any) -> Any | None:
        """GET a document, or None where GitLab says 404 (also: not visible for this token)."""
        try:
            return self.get(path, **query)
        except RemoteError as error:
            if error.status == 404:
                return None
            raise

    def rows(self, path: str, *, limit: int = 100, **query: Any) -> list[Document]:
        """GET the first ``limit`` (at most 100) rows of a list."""
        selected = {**query, "per_page": limit}
        return self._call(
            "GET", path, lambda client: list(client.http_list(path, query_data=selected, get_all=False, **_BOUNDED))
        )

    def create(self, path: str, data: Mapping[str, Any]) -> Any:
        """POST."""
        return self._call("POST", path, lambda client: client.http_post(path, post_data=dict(data), **_BOUNDED))

    def update(self, path: str, data: Mapping[str, Any]) -> Any:
        """PUT."""
        return self._call("PUT", path, lambda client: client.http_put(path, post_data=dict(data), **_BOUNDED))

    def remove(self, path: str) -> None:
        """DELETE; already gone is fine."""
        try:
            self._call("DELETE", path, lambda client: client.http_delete(path, **_BOUNDED))
        except RemoteError as error:
            if error.status != 404:
                raise

    def purge(self, path: str, full_path: str) -> None:
        """Remove a project that is already marked for deletion, for good; GitLab wants its present full path."""
        query = {"permanently_remove": "true", "full_path": full_path}
        self._call("DELETE", path, lambda client: client.http_delete(path, query_data=query, **_BOUNDED))

    def text(self, path: str, **query: Any) -> str:
        """GET something that is no JSON, as text."""

        def ask(client: gitlab.Gitlab) -> str:
            answer = client.http_request("get", path, query_data=query, **_BOUNDED)
            return answer.content.decode(errors="replace")

        return self._call("GET", path, ask)

    def project(self) -> Document | None:
        """The project, or None."""
        return self.find(self.at())

    def branch(self, name: str) -> Document | None:
        """A branch with its commit, or None. Unlike the list of branches it is never cached (contracts B.7)."""
        return self.find(self.at("repository", "branches", name))

    def head(self, branch: str) -> str | None:
        """The SHA a branch points to, or None."""
        found = self.branch(branch)
        return str(found["commit"]["id"]) if found else None

    def commit(self, revision: str) -> Document | None:
        """A commit by SHA or name, or None."""
        return self.find(self.at("repository", "commits", revision))

    def commits(self, branch: str, limit: int = 20) -> list[Document]:
        """A branch's newest commits first; empty when there is no such branch."""
        try:
            return self.rows(self.at("repository", "commits"), limit=limit, ref_name=branch)
        except RemoteError as error:
            if error.status == 404:
                return []
            raise

    def file(self, path: str, revision: str) -> str | None:
        """A file's text in a revision, or None."""
        try:
            return self.text(self.at("repository", "files", path) + "/raw", ref=revision)
        except RemoteError as error:
            if error.status == 404:
                return None
            raise

    def pipelines(self, **query: Any) -> list[Document]:
        """Pipelines, newest first; ``skipped`` rows of ``[skip ci]`` commits are left out (contracts B.16)."""
        rows = self.rows(self.at("pipelines"), limit=20, **query)
        return [row for row in rows if row["status"] != "skipped"]

    def jobs(self, pipeline: int) -> list[Document]:
        """A pipeline's jobs in the order of their creation."""
        rows = self.rows(self.at("pipelines", pipeline, "jobs"))
        return sorted(rows, key=lambda row: int(row["id"]))

    def trace(self, job: int) -> str:
        """A job's log as the runner wrote it, with colours and section marks."""
        return self.text(self.at("jobs", job, "trace"))

    def hook_events(self, hook: int) -> list[Document]:
        """The last deliveries of a webhook, newest first (at most 20: contracts B.14)."""
        return self.rows(self.at("hooks", hook, "events"), limit=20)

    def tag(self, name: str, image: str = "") -> Document | None:
        """A tag of the project's registry (``image`` "" is the project's root image), or None."""
        for repository in self.rows(self.at("registry", "repositories")):
            if repository["name"] == image:
                return self.find(self.at("registry", "repositories", repository["id"], "tags", name))
        return None

    def _client(self) -> gitlab.Gitlab:
        client: gitlab.Gitlab | None = getattr(self._local, "client", None)
        if client is None:
            library, requests = load("gitlab", "requests")
            session = requests.Session()
            session.trust_env = False  # a proxy from the environment cannot reach 127.0.0.1, and .netrc is not ours
            made: gitlab.Gitlab = library.Gitlab(
                self._endpoints.gitlab_route,
                private_token=self._endpoints.root_token,
                timeout=self._timeout,
                keep_base_url=True,
                session=session,
            )
            self._local.client = client = made
        return client

    def _call(self, verb: str, path: str, ask: Callable[[gitlab.Gitlab], T]) -> T:
        client = self._client()
        library, requests = load("gitlab", "requests")
        try:
            return ask(client)
        except library.GitlabError as error:
            raise _refused(verb, path, error.response_code, error.error_message) from error
        except requests.RequestException as error:
            raise RemoteError(
                "LAB-GITLAB-01",
                f"GitLab does not answer at {self._endpoints.gitlab_route}.",
                status=None,
                evidence=f"{verb} {path}: {cause(error)}"[:_SHOWN],
                hint="`invoke status` shows what runs; `invoke up` starts what does not.",
            ) from error


# One attempt per request: who waits decides on the next one, with a deadline and a stop event.
_BOUNDED: dict[str, Any] = {"obey_rate_limit": False, "retry_transient_errors": False, "max_retries": 0}


def _refused(verb: str, path: str, status: int | None, message: object) -> RemoteError:
    code = {401: "LAB-GITLAB-02", 403: "LAB-GITLAB-03", 404: "LAB-GITLAB-04", 429: "LAB-GITLAB-06"}.get(status or 0)
    if code is None:
        code = "LAB-GITLAB-07" if status is None or status >= 500 else "LAB-GITLAB-05"
    return RemoteError(
        code,
        f"GitLab answered {status} to {verb} {path}.",
        status=status,
        evidence=words(message)[:_SHOWN],
        hint=_HINTS.get(status or 0, ""),
    )


def words(message: object) -> str:
    """An error body's message in one line; GitLab has texts, lists, and lists per field (contracts B.1)."""
    if isinstance(message, bytes):
        return " ".join(message.decode(errors="replace").split())
    if isinstance(message, Mapping):
        return "; ".join(f"{key} {words(value)}" for key, value in message.items())
    if isinstance(message, (list, tuple)):
        return ", ".join(words(item) for item in message)
    return str(message)
