"""Images on a real engine: pulled, mirrored, refused in a registry's words, cached, stocked, carried in a bundle."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import secrets
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
from docker_lab import inventory
from ports import free_ports
from standins import images as stand_ins
from standins.images import StandIn

from lab import plan
from lab.engines.docker import bundle, containers, downloads, images, mirrors, stock, store, supplies
from lab.engines.docker.cache import Cache
from lab.engines.docker.network import Network
from lab.engines.docker.pins import Pin
from lab.engines.docker.site import Site
from lab.errors import LabError, UsageError
from lab.plan import Satisfied, StepContext
from lab.settings import Settings
from lab.state import State
from lab.waiting import Pending, wait_until

# The cache's certificate is signed by itself and names the container, which a test outside its network asks by address.
pytestmark = pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
ROOT = Path(__file__).parents[2]
MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


class Registry:
    """A registry of the test's own, with tiny images in it."""

    def __init__(self, client: docker.DockerClient, name: str) -> None:
        self.client, self.name = client, name
        self.image = StandIn("registry").tag
        stand_ins.ensure(client, StandIn("registry"))
        (self.port,) = free_ports(1)
        self.host = f"localhost:{self.port}"
        self.container = client.containers.run(
            self.image, name=f"{name}-registry", detach=True, ports={"5000/tcp": ("127.0.0.1", self.port)},
            labels={"gitops-lab.test": name},
        )  # fmt: skip
        wait_until("the registry", lambda: answers(f"http://{self.host}/v2/"), timeout=30)

    def push(self, repository: str, tag: str = "1", *, size: int = 200_000, arch: str = "") -> str:
        """Put an image there; it is nowhere else afterwards. Returns its name."""
        reference = f"{self.host}/{repository}"
        with io.BytesIO() as data:
            with tarfile.open(fileobj=data, mode="w") as archive:
                entry = tarfile.TarInfo("content")
                entry.size = size
                archive.addfile(entry, io.BytesIO(secrets.token_bytes(size)))
            self.client.api.import_image_from_data(data.getvalue(), repository=reference, tag=tag)
        if arch:
            self._index(reference, repository, tag, arch)
        else:
            self._send(reference, tag)
        return f"{reference}:{tag}"

    def close(self) -> None:
        self.container.remove(force=True, v=True)

    def _send(self, reference: str, tag: str) -> None:
        for line in self.client.images.push(reference, tag=tag, stream=True, decode=True):
            assert "error" not in line, line
        self.client.images.remove(f"{reference}:{tag}")

    def _index(self, reference: str, repository: str, tag: str, arch: str) -> None:
        """The image behind an index that offers it for another processor only."""
        self._send(reference, tag)
        url = f"http://{self.host}/v2/{repository}/manifests/{tag}"
        found = requests.get(url, headers={"Accept": MANIFESTS}, timeout=10)
        kind = found.headers["Content-Type"]
        entry = {
            "mediaType": kind, "size": len(found.content), "digest": found.headers["Docker-Content-Digest"],
            "platform": {"os": "linux", "architecture": arch},
        }  # fmt: skip
        index = "application/vnd.docker.distribution.manifest.list.v2+json"
        document = {"schemaVersion": 2, "mediaType": index, "manifests": [entry]}
        said = requests.put(url, data=json.dumps(document), headers={"Content-Type": index}, timeout=10)
        assert said.status_code == 201, said.text


def answers(url: str) -> bool | Pending:
    try:
        return requests.get(url, timeout=5, verify=False).ok or Pending("it answers badly")
    except (requests.ConnectionError, requests.exceptions.InvalidURL) as error:
        return Pending(str(error))


def mine(client: docker.DockerClient, name: str) -> set[str]:
    """Everything of this test on the engine, which others use too."""
    return {thing for things in inventory(client).values() for thing in things if name in thing}


@pytest.fixture
def name() -> str:
    return f"i{secrets.token_hex(3)}"


@pytest.fixture
def registry(engine: docker.DockerClient, name: str) -> Iterator[Registry]:
    made = Registry(engine, name)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def pins(registry: Registry, name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Pin, ...]:
    """A table as small as it can be, under names that nobody else on this engine has."""
    table = (
        Pin("gitlab", registry.push(f"{name}/tool", size=3_000_000), "host", 3, 4, "runs here"),
        Pin("cache", registry.push(f"{name}/cache"), "host", 1, 1, "the cache"),
        Pin("python", registry.push(f"{name}/base"), "dind", 1, 1, "a base image", "project"),
        Pin("argocd", registry.push(f"{name}/pod"), "node", 1, 1, "runs on nodes"),
    )
    use(monkeypatch, *table)
    return table


def use(monkeypatch: pytest.MonkeyPatch, *table: Pin) -> None:
    for module in (images, bundle, supplies):
        monkeypatch.setattr(module, "PINS", table)
    monkeypatch.setattr(downloads, "FILES", ())
    monkeypatch.setattr(supplies.K3d, "present", lambda _k3d: None)


@pytest.fixture
def site(tmp_path, name: str, pins: tuple[Pin, ...]) -> Iterator[Site]:  # noqa: ARG001 - the table counts
    with lab(tmp_path, name) as made:
        yield made


@contextlib.contextmanager
def lab(tmp_path, name: str, **settings: Any) -> Iterator[Site]:
    made = Site(Settings(name=name, **settings), State(tmp_path / ".lab"), {})
    try:
        yield made
    finally:
        cache, network = Cache(made), Network(made)
        cache.down(), cache.purge(), network.down()
        store.remove(made)
        made.daemon.client.close()


def run(steps, *names: str) -> list[plan.Outcome]:
    chosen = [step for step in steps if step.name in names] if names else list(steps)
    outcomes = plan.run(chosen)
    failed = next((outcome.error for outcome in outcomes if outcome.error), None)
    if failed:
        raise failed
    return outcomes


def one(site: Site, image: str, context: StepContext | None = None) -> str:
    """Pull one image as the lab's GitLab."""
    changed = replace(site, settings=replace(site.settings, images={"gitlab": image}))
    step = next(step for step in images.steps(changed) if step.name == "pull.gitlab")
    try:
        return step.act(context or StepContext())
    finally:
        changed.daemon.client.close()


def test_a_pull_leaves_the_image_and_removing_leaves_nothing(engine, site, pins):
    before, told = mine(engine, site.settings.name), []
    assert one(site, pins[0].image, StepContext(progress=lambda done, total: told.append((done, total))))
    assert pins[0].image in inventory(engine)["images"]
    assert told[-1][0] == told[-1][1] > 2_900_000
    assert [outcome.state for outcome in run(images.steps(site), "pull.gitlab")] == ["satisfied"]
    assert store.remove(site) == f"image {pins[0].image}"
    assert mine(engine, site.settings.name) == before


def test_an_image_that_was_there_before_survives(engine, site, pins):
    engine.images.pull(pins[0].image)
    run(images.steps(site), "pull.gitlab")
    assert store.remove(site) == ""
    engine.images.remove(pins[0].image)  # fails when it is gone


def test_an_image_that_a_stranger_uses_survives(engine, site, pins):
    run(images.steps(site), "pull.gitlab")
    stranger = engine.containers.create(pins[0].image, command="x")
    try:
        assert store.remove(site) == f"{pins[0].image} left, it is in use"
    finally:
        stranger.remove()
        engine.images.remove(pins[0].image)


def test_a_mirror_with_a_prefix_gives_the_image_its_upstream_name(engine, tmp_path, registry, name):
    registry.push(f"mirrored/{name}/tool")
    wanted = f"upstream.invalid/{name}/tool:1"
    with lab(tmp_path, name, mirrors={"upstream.invalid": f"http://{registry.host}/mirrored"}) as site:
        assert registry.host in one(site, wanted)
        here = {tag for tag in inventory(engine)["images"] if name in tag}
        assert here == {wanted}


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_digest_is_pulled_found_again_and_removed_whole(engine, tmp_path, registry, name, *, mirrored):
    registry.push(f"{name}/tool")
    url = f"http://{registry.host}/v2/{name}/tool/manifests/1"
    digest = requests.head(url, headers={"Accept": MANIFESTS}, timeout=10).headers["Docker-Content-Digest"]
    host = "upstream.invalid" if mirrored else registry.host
    settings = {"mirrors": {"upstream.invalid": f"http://{registry.host}"}} if mirrored else {}
    before = mine(engine, name)
    with lab(tmp_path, name, images={"gitlab": f"{host}/{name}/tool:1@{digest}"}, **settings) as site:
        assert [outcome.state for outcome in run(images.steps(site), "pull.gitlab")] == ["done"]
        assert [outcome.state for outcome in run(images.steps(site), "pull.gitlab")] == ["satisfied"]
        assert images.reference(site, "gitlab") == f"{host}/{name}/tool:1"
        assert mine(engine, name) - before == {f"{host}/{name}/tool:1"}
        store.remove(site)
        assert mine(engine, name) == before
        assert not [image for image in engine.images.list(all=True) if f"{name}/tool" in str(image.attrs)]


@contextlib.contextmanager
def pretending(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """Something on a port that a registry ought to be on."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        do_HEAD = do_GET  # noqa: N815 - http.server's name

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield f"localhost:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join(10)


def saying(status: int, text: str, kind: str = "application/json") -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        data = text.encode()
        handler.send_response(200 if handler.path == "/v2/" and status != 502 else status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(data)

    return answer


def refusal(code: str, message: str) -> str:
    return json.dumps({"errors": [{"code": code, "message": message}]})


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (saying(429, refusal("TOOMANYREQUESTS", "You have reached your pull rate limit.")), "LAB-IMAGE-11"),
        (saying(401, refusal("UNAUTHORIZED", "authentication required")), "LAB-IMAGE-18"),
        (saying(404, refusal("MANIFEST_UNKNOWN", "manifest unknown")), "LAB-IMAGE-14"),
        (saying(502, "<html>Bad Gateway</html>", "text/html"), "LAB-IMAGE-23"),
        (saying(200, "<html>Please log in</html>", "text/html"), "LAB-IMAGE-23"),
    ],
)
def test_a_registry_that_refuses_is_quoted_and_explained(site, answer, code):
    with pretending(answer) as host:
        with pytest.raises(LabError) as caught:
            one(site, f"{host}/group/tool:1")
        assert caught.value.code == code, caught.value
        assert f"{host}/group/tool:1" in caught.value.problem
        assert caught.value.hint


def test_a_registry_that_is_not_there_and_a_name_that_leads_nowhere(site):
    (nobody,) = free_ports(1)
    with pytest.raises(LabError) as caught:
        one(site, f"localhost:{nobody}/group/tool:1")
    assert caught.value.code == "LAB-IMAGE-21", caught.value
    with pytest.raises(LabError) as caught:
        one(site, "registry.invalid/group/tool:1")
    assert caught.value.code in ("LAB-IMAGE-19", "LAB-IMAGE-21"), caught.value  # a proxy in between is asked instead


class Stalling:
    """A registry with one image whose layer stops in the middle until it may go on."""

    def __init__(self, arch: str) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        with io.BytesIO() as data:
            with tarfile.open(fileobj=data, mode="w") as archive:
                entry = tarfile.TarInfo("content")
                entry.size = 2_000_000
                archive.addfile(entry, io.BytesIO(secrets.token_bytes(entry.size)))
            layer = data.getvalue()
        kinds = "application/vnd.docker.container.image.v1+json", "application/vnd.docker.image.rootfs.diff.tar"
        config = {
            "architecture": arch, "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
        }  # fmt: skip
        self.blobs = {digest(blob): blob for blob in (json.dumps(config).encode(), layer)}
        parts = [
            {"mediaType": kind, "size": len(blob), "digest": name}
            for kind, (name, blob) in zip(kinds, self.blobs.items(), strict=True)
        ]
        self.kind = "application/vnd.docker.distribution.manifest.v2+json"
        self.manifest = json.dumps(
            {"schemaVersion": 2, "mediaType": self.kind, "config": parts[0], "layers": parts[1:]}
        ).encode()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        last = handler.path.rpartition("/")[2]
        blob = self.blobs.get(last)
        data = self.manifest if "/manifests/" in handler.path else blob or b"{}"
        handler.send_response(200)
        handler.send_header("Content-Type", "application/octet-stream" if blob else self.kind)
        handler.send_header("Docker-Content-Digest", digest(data))
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        if handler.command == "HEAD":
            return
        handler.wfile.write(data[:1_000_000])
        if len(data) > 1_000_000:
            self.begun.set()
            self.go.wait(60)
            with contextlib.suppress(OSError):  # whoever asked may have been killed
                handler.wfile.write(data[1_000_000:])


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


KILLED = """
import sys
from pathlib import Path
from lab.engines.docker import images
from lab.engines.docker.site import Site
from lab.plan import StepContext
from lab.settings import Settings
from lab.state import State
site = Site(Settings(name=sys.argv[1], images={"gitlab": sys.argv[2]}), State(Path(sys.argv[3])), {})
next(step for step in images.steps(site) if step.name == "pull.gitlab").act(StepContext())
"""


def test_a_pull_that_was_killed_goes_on_and_leaves_nothing(engine, tmp_path, name):
    registry = Stalling(engine.version()["Arch"])
    with pretending(registry.answer) as host:
        image = f"{host}/{name}/tool:1"
        command = [sys.executable, "-c", KILLED, name, image, str(tmp_path / ".lab")]
        with subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}) as process:
            assert registry.begun.wait(60), "no layer was asked for"
            process.kill()
        assert not mine(engine, name)
        registry.go.set()
        with lab(tmp_path, name, images={"gitlab": image}) as site:
            assert [outcome.state for outcome in run(images.steps(site), "pull.gitlab")] == ["done"]
            assert mine(engine, name) == {image}
            assert store.remove(site) == f"image {image}"
        assert not mine(engine, name)


def test_an_image_for_another_processor_only(site, registry, name):
    image = registry.push(f"{name}/other", arch="s390x")
    with pytest.raises(LabError) as caught:
        one(site, image)
    assert caught.value.code == "LAB-IMAGE-13", caught.value


def test_the_cache_keeps_what_it_fetched(engine, tmp_path, registry, name, monkeypatch):
    use(monkeypatch, Pin("cache", registry.image, "host", 1, 1, "the cache"))
    registry.push(f"library/{name}")
    settings = {"mirrors": {"docker.io": f"http://{registry.container.name}:5000"}}
    with lab(tmp_path, name, **settings) as site:
        cache, network = Cache(site), Network(site)
        run(network.steps())
        engine.networks.get(site.names.network).connect(registry.container)
        try:
            first = run(drop_pull(cache.steps()))
            again = run(drop_pull(cache.steps()))
            assert ([outcome.state for outcome in first], [outcome.state for outcome in again]) == (
                ["done", "done"], ["satisfied", "satisfied"],
            )  # fmt: skip
            container = engine.containers.get(site.names.cache)
            assert not container.ports.get("5000/tcp"), "nothing is published"
            assert json.loads(containers.take(site, container, "/lab-dind/daemon.json"))["registry-mirrors"][0] == (
                f"https://{site.names.cache}:5000"
            )
            assert fetch(site, f"library/{name}", "1")
            wait_until("the layer in the volume", lambda: kept(site, f"library/{name}"), timeout=30)
            registry.container.stop(timeout=1)
            assert fetch(site, f"library/{name}", "1")
            assert [check.ok for check in cache.health()] == [True]
            container.remove(force=True)
            assert [check.ok for check in cache.health()] == [False]
            run(drop_pull(cache.steps()))  # its upstream is gone, and a registry that mirrors begins only with it
            assert wait_until("the reason", lambda: complaint(cache), timeout=30)
            assert [outcome.state for outcome in run(drop_pull(cache.steps()))] == ["satisfied", "satisfied"]
            registry.container.start()
            wait_until("the cache", lambda: answers(f"https://{address(site)}/v2/"), timeout=30)
            registry.container.stop(timeout=1)
            assert fetch(site, f"library/{name}", "1"), "its volume kept it"
        finally:
            engine.networks.get(site.names.network).disconnect(registry.container, force=True)


def complaint(cache: Cache) -> bool | Pending:
    found = cache.health()[0]
    return (not found.ok and "panic: Get" in found.evidence) or Pending(found.evidence)


def drop_pull(steps):
    """Without the needs of other components' steps."""
    names = {step.name for step in steps}
    return [replace(step, needs=tuple(need for need in step.needs if need in names)) for step in steps]


def address(site: Site) -> str:
    container = site.daemon.client.containers.get(site.names.cache)
    return f"{container.attrs['NetworkSettings']['Networks'][site.names.network]['IPAddress']}:{mirrors.CACHE_PORT}"


def fetch(site: Site, repository: str, tag: str) -> int:
    """Read a whole image from the cache as a client does; returns the bytes of its layers."""

    def manifest() -> requests.Response | Pending:
        try:
            found = requests.get(
                f"https://{address(site)}/v2/{repository}/manifests/{tag}", headers={"Accept": MANIFESTS}, timeout=10,
                verify=False,
            )  # fmt: skip
        except (requests.ConnectionError, requests.exceptions.InvalidURL) as error:
            return Pending(f"{error}; {containers.tail(site, site.daemon.client.containers.get(site.names.cache), 60)}")
        return found if found.ok else Pending(f"{found.status_code} {found.text}")

    layers = wait_until(f"{repository} in the cache", manifest, timeout=30).json()["layers"]
    blobs = [
        requests.get(f"https://{address(site)}/v2/{repository}/blobs/{layer['digest']}", timeout=10, verify=False)
        for layer in layers
    ]
    assert all(blob.ok for blob in blobs)
    assert [len(blob.content) for blob in blobs] == [layer["size"] for layer in layers]
    return sum(len(blob.content) for blob in blobs)


def kept(site: Site, repository: str) -> bool | Pending:
    """Whether the cache has written the layers: it does so behind its answer. Each question makes it try again."""
    manifest = requests.get(
        f"https://{address(site)}/v2/{repository}/manifests/1", headers={"Accept": MANIFESTS}, timeout=10, verify=False
    ).json()
    container = site.daemon.client.containers.get(site.names.cache)
    for layer in manifest["layers"]:
        requests.get(f"https://{address(site)}/v2/{repository}/blobs/{layer['digest']}", timeout=10, verify=False)
        where = f"docker/registry/v2/repositories/{repository}/_layers/{layer['digest'].replace(':', '/')}/link"
        if containers.take(site, container, f"{stock.STORAGE}/{where}") is None:
            return Pending(f"{where} is not there")
    return True


def test_pull_brings_everything_and_the_cache_lives_on_it(engine, site, pins, registry, monkeypatch):
    use(monkeypatch, Pin("cache", registry.image, "host", 1, 1, "a real registry"), *pins[2:])
    run(supplies.Supplies(site, None).fetch())
    registry.container.stop(timeout=1)  # from here on there is no network
    cache = Cache(site)
    run(Network(site).steps())
    run(drop_pull(cache.steps()))
    assert [outcome.state for outcome in run(drop_pull(cache.steps()))] == ["satisfied", "satisfied"]
    for pin in pins[2:]:
        assert fetch(site, pin.image.partition("/")[2].removesuffix(":1"), "1") > 100_000
    copy = f"{address(site)}/{site.settings.name}/pod"
    engine.images.pull(copy, tag="1")  # Docker itself can read what was put there
    engine.images.remove(f"{copy}:1")
    assert f"https://{site.names.cache}:5000" in mirrors.registries_yaml(site)


def test_a_stock_whose_image_is_gone_says_what_brings_it_back(engine, site, pins, registry, monkeypatch):
    use(monkeypatch, Pin("cache", registry.image, "host", 1, 1, "a real registry"), *pins[2:])
    run(supplies.Supplies(site, None).fetch())
    engine.images.remove(pins[3].image)
    run(Network(site).steps())
    with pytest.raises(LabError, match="stock is not complete") as caught:
        run(drop_pull(Cache(site).steps()))
    assert "invoke pull" in caught.value.hint
    assert stock.on(site)


def test_a_bundle_carries_the_images_to_an_engine_without_them(engine, site, pins, registry, tmp_path):
    file = tmp_path / "lab.tar"
    before = mine(engine, site.settings.name)
    run(supplies.Supplies(site, None).pack(file))
    assert store.remove(site)
    assert mine(engine, site.settings.name) == before
    registry.container.stop(timeout=1)
    with lab(tmp_path / "there", site.settings.name) as there:
        assert {outcome.state for outcome in run(supplies.Supplies(there, None).unpack(file))} <= {"done", "satisfied"}
        assert {pin.image for pin in pins} <= inventory(engine)["images"]
        again = run(supplies.Supplies(there, None).unpack(file))
        assert {outcome.state for outcome in again} == {"satisfied"}
        probes = [step.probe(StepContext()) for step in images.steps(there)]
        assert all(isinstance(probe, Satisfied) for probe in probes), "up has nothing left to pull"
        store.remove(there)


def test_a_damaged_bundle_changes_nothing(engine, site, tmp_path):
    file = tmp_path / "lab.tar"
    run(supplies.Supplies(site, None).pack(file))
    store.remove(site)
    before, data = mine(engine, site.settings.name), bytearray(file.read_bytes())
    data[2000] ^= 0xFF
    file.write_bytes(data)
    with pytest.raises(LabError, match="is damaged"):
        run(supplies.Supplies(site, None).unpack(file), "load.gitlab")
    assert mine(engine, site.settings.name) == before


def test_a_bundle_for_other_versions_is_refused(site, pins, tmp_path, monkeypatch):
    file = tmp_path / "lab.tar"
    run(supplies.Supplies(site, None).pack(file))
    monkeypatch.setattr(images, "PINS", (*pins, Pin("redis", "example.com/new:2", "node", 1, 1, "new")))
    with pytest.raises(UsageError, match="other versions") as caught:
        supplies.Supplies(site, None).unpack(file)
    assert "example.com/new:2" in caught.value.evidence
