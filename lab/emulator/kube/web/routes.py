"""From a path to what answers it."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from lab.emulator.kube.errors import StatusError, method_not_allowed
from lab.emulator.kube.resources import no_such_resource
from lab.emulator.kube.store import Store
from lab.emulator.kube.web import reviews, watching
from lab.emulator.kube.web.authentication import Authentication
from lab.emulator.kube.web.discovery import VERSION, Discovery, etag
from lab.emulator.kube.web.openapi import MINIMAL_V2, V2_PROTOBUF, OpenApi
from lab.emulator.kube.web.rendering import answer, form_of
from lab.emulator.kube.web.requests import LIMIT, Target, flag, target_of
from lab.emulator.kube.web.subresources import Subresources
from lab.emulator.kube.web.verbs import Verbs

log = logging.getLogger(__name__)

_HEALTH = ("/healthz", "/livez", "/readyz")


class Routes:
    """The API server's paths as an aiohttp application."""

    def __init__(self, store: Store, token: str, address: str, version: str = VERSION["gitVersion"]) -> None:
        self._store, self._token, self._address = store, token, address
        major, minor, _ = version.removeprefix("v").split(".", 2)
        self._version = {**VERSION, "gitVersion": version, "major": major, "minor": minor}
        self._authentication = Authentication(token)
        self._discovery = Discovery(store.resources)
        self._openapi = OpenApi(store.resources)
        self._verbs = Verbs(store)
        self.subresources = Subresources(store)
        self.watches = watching.Watches()
        self.app = web.Application(client_max_size=LIMIT, middlewares=[_errors])
        self.app.router.add_route("*", "/{path:.*}", self._serve)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self._authentication.check(request)
        path = request.path.rstrip("/") or "/"
        parts = path.strip("/").split("/")
        if parts[0] == "api":
            return await self._api(request, parts[1:])
        if parts[0] == "apis":
            return await self._apis(request, parts[1:])
        if parts[0] == "openapi":
            return await self._documents(request, parts[1:])
        return self._other(request, path, parts)

    async def _api(self, request: web.Request, parts: list[str]) -> web.StreamResponse:
        if not parts:
            return self._root(request, core=True)
        if parts[0] != "v1":
            raise no_such_resource()
        if len(parts) == 1:
            return answer(self._discovery.resource_list("", "v1"))
        return await self._resource(request, "", "v1", parts[1:])

    async def _apis(self, request: web.Request, parts: list[str]) -> web.StreamResponse:
        if not parts:
            return self._root(request, core=False)
        if len(parts) == 1:
            return answer(self._discovery.group(parts[0]))
        if len(parts) == 2:
            return answer(self._discovery.resource_list(*parts))
        return await self._resource(request, parts[0], parts[1], parts[2:])

    def _root(self, request: web.Request, *, core: bool) -> web.Response:
        accept = request.headers.get("Accept", "")
        for version in ("v2", "v2beta1"):
            kind = f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
            if kind in accept.replace(" ", ""):
                body = self._discovery.aggregated(core=core, version=version)
                response = answer(body)
                response.headers["Content-Type"] = kind
                response.headers["ETag"] = etag(body)
                response.headers["Vary"] = "Accept"
                return response
        return answer(self._discovery.api_versions(self._address) if core else self._discovery.group_list())

    async def _resource(self, request: web.Request, group: str, version: str, parts: list[str]) -> web.StreamResponse:
        namespaced = parts[0] == "namespaces" and len(parts) == 3
        if reviews.is_review(group, parts[2] if namespaced else parts[0]):
            return await reviews.serve(request, group, parts[2] if namespaced else parts[0], self._token)
        target = target_of(self._store.resources, group, version, parts)
        if target.subresource and not (target.subresource == "status" and target.resource.status):
            return await self.subresources.serve(request, target)
        if request.method in ("GET", "HEAD") and flag(request.query, "watch") and not target.subresource:
            return await watching.serve(request, self._store, target, form_of(request), self.watches)
        return await self._verb(request, target)(request, target)

    def _verb(self, request: web.Request, target: Target) -> Callable[..., Awaitable[web.StreamResponse]]:
        verbs = self._verbs
        if target.name:
            known = {"GET": verbs.get, "HEAD": verbs.get, "PUT": verbs.update, "PATCH": verbs.patch,
                     "DELETE": verbs.delete}  # fmt: skip
            if target.subresource:
                known.pop("DELETE")
        else:
            known = {"GET": verbs.collection, "HEAD": verbs.collection, "POST": verbs.create,
                     "DELETE": verbs.delete_collection}  # fmt: skip
        found = known.get(request.method)
        if found is None:
            raise method_not_allowed(target.resource.group, target.resource.plural, request.method.lower())
        return found

    async def _documents(self, request: web.Request, parts: list[str]) -> web.Response:
        if parts == ["v2"]:
            if "proto-openapi.spec.v2" in request.headers.get("Accept", ""):
                return web.Response(body=MINIMAL_V2, headers={"Content-Type": V2_PROTOBUF})
            return answer(await asyncio.to_thread(self._openapi.second))
        if parts == ["v3"]:
            return answer(self._openapi.index())
        if parts[:1] != ["v3"] or len(parts) not in (3, 4):
            raise no_such_resource()
        group = parts[2] if len(parts) == 4 else ""
        digest, packed = await asyncio.to_thread(self._openapi.document, group, parts[-1])
        headers = {"ETag": f'"{digest}"', "Vary": "Accept", "Content-Type": "application/json"}
        if request.query.get("hash") == digest:
            headers["Cache-Control"] = "public, immutable"
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            return web.Response(body=packed, headers={**headers, "Content-Encoding": "gzip"})
        return web.Response(body=gzip.decompress(packed), headers=headers)

    def _other(self, request: web.Request, path: str, parts: list[str]) -> web.Response:
        if path == "/":
            return answer({"paths": self._paths()})
        if path == "/version":
            return answer(self._version)
        if path.startswith(_HEALTH):
            return _health(request, path)
        if path in ("/metrics", "/logs", "/debug") or parts[0] in ("metrics", "debug", "logs"):
            raise StatusError(501, "NotImplemented", f"not emulated: {path}")
        raise no_such_resource()

    def _paths(self) -> list[str]:
        found = ["/.well-known/openid-configuration", "/api", "/api/v1", "/apis", "/apis/"]
        for group, versions in self._store.resources.groups().items():
            if group:
                found += [f"/apis/{group}", *(f"/apis/{group}/{version}" for version in versions)]
        return [*found, *_HEALTH, "/openapi/v2", "/openapi/v3", "/openapi/v3/", "/version"]


def _health(request: web.Request, path: str) -> web.Response:
    name = path.strip("/").split("/")[0]
    if "verbose" in request.query:
        return web.Response(text=f"[+]ping ok\n[+]log ok\n[+]etcd ok\n{name} check passed\n")
    return web.Response(text="ok", content_type="text/plain")


@web.middleware
async def _errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Render errors as Status bodies."""
    try:
        return await handler(request)
    except StatusError as error:
        return answer(error.status(), status=error.code)
    except web.HTTPException:
        raise
    except ConnectionError:
        raise
    except Exception:
        log.exception("%s %s", request.method, request.path)
        failed = StatusError(500, "InternalError", "Internal error occurred: see the emulator's log")
        return answer(failed.status(), status=500)
