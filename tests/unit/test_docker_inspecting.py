import json
from pathlib import Path

import pytest
from wire import wire

from lab.engines.docker.inspecting import inspected
from lab.engines.docker.site import Site
from lab.errors import LabError
from lab.settings import Settings
from lab.state import State

V = "/v1.45"


@pytest.fixture
def engine():
    with wire() as fake:
        container = {"Id": "c1", "Name": "/mine-gitlab", "Config": {"Tty": True}, "State": {"Status": "exited"}}
        fake.on("GET", "/version", (200, {"ApiVersion": "1.45", "MinAPIVersion": "1.24"}))
        fake.on("GET", f"{V}/version", (200, {"Version": "29.0.0"}))
        fake.on("GET", f"{V}/info", (200, {"NCPU": 2}))
        fake.on("GET", f"{V}/containers/json", (200, [{"Id": "c1"}]))
        fake.on("GET", f"{V}/containers/c1/json", (200, container))
        fake.on("GET", f"{V}/containers/c1/logs", (200, "2026-01-01T00:00:00Z booting\n"))
        fake.on("GET", f"{V}/networks", (200, [{"Id": "n1", "Name": "mine"}]))
        fake.on("GET", f"{V}/networks/n1", (200, {"Id": "n1", "Name": "mine"}))
        fake.on("GET", f"{V}/volumes", (200, {"Volumes": [{"Name": "mine-cache"}]}))
        yield fake


def site(engine) -> Site:
    environ = {"DOCKER_HOST": engine.url.replace("http", "tcp"), "DOCKER_CONFIG": "/nonexistent"}
    return Site(Settings(name="mine"), State(Path("/nonexistent")), environ)


def test_everything_that_carries_our_label_is_described_also_what_has_ended(engine):
    texts = dict(inspected(site(engine)))
    assert set(texts) == {
        "info.json", "version.json", "container-mine-gitlab.json", "network-mine.json", "volume-mine-cache.json",
        "mine-gitlab.log",
    }  # fmt: skip
    assert json.loads(texts["container-mine-gitlab.json"])["State"]["Status"] == "exited"
    assert "booting" in texts["mine-gitlab.log"]
    assert engine.sent("GET", f"{V}/containers/json")[0].query["all"] == ["1"]
    for path in ("containers/json", "networks", "volumes"):
        (request,) = engine.sent("GET", f"{V}/{path}")
        assert json.loads(request.query["filters"][0]) == {"label": ["gitops-lab=mine"]}


def test_a_log_that_cannot_be_read_spoils_no_other_part(engine):
    engine.on("GET", f"{V}/containers/c1/logs", (500, {"message": "log driver is broken"}))
    texts = dict(inspected(site(engine)))
    assert "log driver is broken" in texts["mine-gitlab.log"]
    assert "volume-mine-cache.json" in texts


def test_what_came_before_a_refusal_is_kept(engine):
    engine.on("GET", f"{V}/containers/json", (500, {"message": "no"}))
    found = inspected(site(engine))
    assert [next(found)[0], next(found)[0]] == ["info.json", "version.json"]
    with pytest.raises(LabError, match="list the lab's containers"):
        next(found)
