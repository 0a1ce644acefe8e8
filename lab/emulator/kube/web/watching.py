"""Watches: a stream of changes from a version on, with bookmarks and an end.

Source: apiserver pkg/endpoints/handlers/watch.go, pkg/storage/cacher (v0.33).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from aiohttp import web

from lab.emulator.kube import admission
from lab.emulator.kube.errors import bad_request, expired
from lab.emulator.kube.objects import Object
from lab.emulator.kube.shelf import ADDED, DELETED, MODIFIED, Change
from lab.emulator.kube.store import Store
from lab.emulator.kube.web.rendering import Form, encoded, object_body
from lab.emulator.kube.web.requests import Target, flag

_BOOKMARK_EVERY = 60.0
_SHORTEST = 1800
_BACKLOG = 2000

Event = tuple[str, Object]


class Watches:
    """The open watches of a server; they end together when it stops."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[Event | None]] = set()

    def open(self) -> asyncio.Queue[Event | None]:
        """A queue for one watch; None in it means the end."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._queues.add(queue)
        return queue

    def close(self, queue: asyncio.Queue[Event | None]) -> None:
        """Forget a watch."""
        self._queues.discard(queue)

    def end(self) -> None:
        """End every watch."""
        for queue in self._queues:
            queue.put_nowait(None)


async def serve(request: web.Request, store: Store, target: Target, form: Form, watches: Watches) -> web.StreamResponse:
    """Answer a watch request until its time is over, the client leaves, or the server stops."""
    matches = store.predicate(
        target.resource,
        labels=request.query.get("labelSelector", ""),
        fields=_fields(request, target),
    )
    stream = _Stream(request, store, target, form, matches)
    queue = watches.open()
    unsubscribe = store.subscribe(lambda change: stream.offer(change, queue))
    try:
        first = stream.first()
        await stream.prepare()
        for event in first:
            await stream.send(event)
        await stream.follow(queue, flag(request.query, "allowWatchBookmarks"), timeout_of(request))
    except ConnectionError:
        pass  # the client has gone: nobody is left to tell
    finally:
        unsubscribe()
        watches.close(queue)
    return stream.response


def _fields(request: web.Request, target: Target) -> str:
    given = request.query.get("fieldSelector", "")
    if target.name:
        own = f"metadata.name={target.name}"
        return f"{given},{own}" if given else own
    return given


def timeout_of(request: web.Request) -> float:
    """Seconds that a watch lasts: as asked, else a random time of half an hour to an hour, as upstream."""
    text = request.query.get("timeoutSeconds", "")
    if text:
        try:
            return float(int(text)) or random.uniform(_SHORTEST, 2 * _SHORTEST)  # noqa: S311 - spreads reconnects
        except ValueError:
            raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None
    return random.uniform(_SHORTEST, 2 * _SHORTEST)  # noqa: S311 - spreads reconnects


class _Stream:
    """One watch."""

    def __init__(
        self, request: web.Request, store: Store, target: Target, form: Form,
        matches: Callable[[Object], bool] | None,
    ) -> None:  # fmt: skip
        self._request, self._store, self._target, self._form, self._matches = request, store, target, form, matches
        self._headers = True
        self._version = store.shelf.version
        self.response = web.StreamResponse(
            headers={"Content-Type": "application/json", "Cache-Control": "no-cache, private"}
        )

    async def prepare(self) -> None:
        """Send the headers."""
        self.response.enable_chunked_encoding()
        await self.response.prepare(self._request)

    def first(self) -> list[Event]:
        """What a watch begins with: the state, the changes since a version, or the error that it is too old."""
        text = self._request.query.get("resourceVersion", "")
        initial = flag(self._request.query, "sendInitialEvents")
        try:
            version = int(text or "0")
        except ValueError:
            raise bad_request(f'Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax') from None
        if version == 0 or initial:
            events = [(ADDED, obj) for obj in self._rows()]
            if initial and flag(self._request.query, "allowWatchBookmarks"):
                events.append(("BOOKMARK", self._bookmark(initial=True)))
            return events if initial or "sendInitialEvents" not in self._request.query else []
        changes = self._store.shelf.since(version)
        if changes is None:
            error = expired(f"too old resource version: {version} ({self._store.shelf.oldest})")
            return [("ERROR", error.status())]
        return [event for change in changes if (event := self._seen(change))]

    def _rows(self) -> list[Object]:
        target = self._target
        rows = self._store.shelf.rows(target.resource.group, target.resource.plural, target.namespace)
        return [obj for obj in rows if not self._matches or self._matches(obj)]

    def offer(self, change: Change, queue: asyncio.Queue[Event | None]) -> None:
        """Take a change up when it concerns the watch; a client that does not read is cut off."""
        event = self._seen(change)
        if event is None:
            return
        queue.put_nowait(None if queue.qsize() > _BACKLOG else event)

    def _seen(self, change: Change) -> Event | None:
        """The change as this watch sees it: an object that enters the selection is added, one that leaves deleted."""
        resource = self._target.resource
        if (change.resource.group, change.resource.plural) != (resource.group, resource.plural):
            return None
        if self._target.namespace and change.object["metadata"].get("namespace") != self._target.namespace:
            return None
        if self._matches is None:
            return change.type, change.object
        now = change.type != DELETED and self._matches(change.object)
        before = change.old is not None and self._matches(change.old)
        if now:
            return (MODIFIED if before else ADDED), change.object
        if not before or change.old is None:
            return None
        version = change.object["metadata"]["resourceVersion"]
        return DELETED, {**change.old, "metadata": {**change.old["metadata"], "resourceVersion": version}}

    async def send(self, event: Event) -> None:
        """Write one event."""
        kind, obj = event
        if kind == "ERROR":
            body: Any = obj
        else:
            self._version = max(self._version, int(obj["metadata"].get("resourceVersion") or 0))
            shown = admission.shown(self._target.resource, obj, self._target.version) if kind != "BOOKMARK" else obj
            if kind == "BOOKMARK" and self._form.shape == "Table":
                body = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"],
                        "columnDefinitions": None, "rows": []}  # fmt: skip
            else:
                body = object_body(self._form, self._target, shown, headers=self._headers)
            self._headers = False
        await self.response.write(encoded({"type": kind, "object": body}))

    async def follow(self, queue: asyncio.Queue[Event | None], bookmarks: bool, timeout: float) -> None:
        """Write what arrives until ``timeout`` seconds are over."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while (left := end - loop.time()) > 0:
            try:
                event = await asyncio.wait_for(queue.get(), min(left, _BOOKMARK_EVERY) if bookmarks else left)
            except asyncio.TimeoutError:
                if bookmarks:
                    await self.send(("BOOKMARK", self._bookmark()))
                continue
            if event is None:
                return
            await self.send(event)

    def _bookmark(self, *, initial: bool = False) -> Object:
        meta: Object = {"resourceVersion": str(self._store.shelf.version), "creationTimestamp": None}
        if initial:
            meta["annotations"] = {"k8s.io/initial-events-end": "true"}
        resource = self._target.resource
        return {"kind": resource.kind, "apiVersion": self._target.api_version, "metadata": meta}
