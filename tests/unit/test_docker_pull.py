"""Pulls against a pretended engine: what is asked, told, remembered, and said when it fails."""

import gzip
import io
import threading

import pytest
from docker_wire import engine as pretended
from docker_wire import layers

from lab import plan
from lab.console import Console
from lab.engines.docker import bundle, downloads, images, store, supplies
from lab.engines.docker.bundle_file import Reader
from lab.engines.docker.pins import PINS, Pin
from lab.engines.docker.references import parse
from lab.engines.docker.site import Site
from lab.engines.docker.supplies import Supplies
from lab.errors import Interrupted, LabError, MachineError, TimedOut, UsageError
from lab.plan import Needed, Satisfied, StepContext
from lab.settings import Settings, TimeoutSettings
from lab.state import State

RUNNER = "docker.io/gitlab/gitlab-runner:v19.3.0"
DIGEST = "sha256:" + "ab" * 32


@pytest.fixture
def engine():
    with pretended() as found:
        yield found


@pytest.fixture
def site(engine, tmp_path):
    return make(engine, tmp_path)


def make(engine, tmp_path, **settings):
    return Site(Settings(**settings), State(tmp_path / ".lab"), engine.environ)


def step(site, name="runner"):
    return next(step for step in images.steps(site) if step.name == f"pull.{name}")


def act(site, name="runner", context=None):
    return step(site, name).act(context or StepContext())


def pulls(engine):
    return [asked for asked in engine.asked if "/images/create" in asked]


def test_an_absent_image_is_pulled_with_its_bytes_as_progress(engine, site):
    engine.hub[RUNNER] = layers(1000, 3000)
    told = []
    found = step(site)
    assert found.probe(StepContext()) == Needed("it is not here")
    said = found.act(StepContext(progress=lambda done, total: told.append((done, total))))
    assert "4 kB pulled from docker.io" in said
    assert told[-1] == (4000, 4000)
    assert isinstance(found.probe(StepContext()), Satisfied)
    assert "platform=linux%2Famd64" in pulls(engine)[0]


def test_a_second_run_pulls_nothing(engine, site):
    engine.have(RUNNER)
    outcomes = plan.run([step(site)])
    assert [outcome.state for outcome in outcomes] == ["satisfied"]
    assert not pulls(engine)


def test_every_image_that_docker_runs_has_a_step(site):
    names = [step.name for step in images.steps(site)]
    assert names[0] == "pull.gitlab"
    assert set(names) == {
        "pull.gitlab", "pull.runner", "pull.helper", "pull.k3s", "pull.k3d-proxy", "pull.k3d-tools",
        "pull.docker-cli", "pull.docker-dind", "pull.cache",
    }  # fmt: skip


def test_the_helper_is_of_this_machine(engine, site, tmp_path):
    assert images.helper_reference(site).endswith("gitlab-runner-helper:x86_64-v19.3.0")
    engine.arch = "arm64"
    assert images.helper_reference(make(engine, tmp_path)).endswith("gitlab-runner-helper:arm64-v19.3.0")


def test_a_machine_that_nothing_is_published_for_is_refused(engine, site):
    engine.arch = "riscv64"
    with pytest.raises(MachineError, match="riscv64") as caught:
        images.steps(site)
    assert "embedded" in caught.value.hint


def test_three_pulls_at_once_and_no_more(engine, site):
    together = threading.Barrier(3)  # passes only when three pulls run at once
    steps = [found for found in images.steps(site) if found.name != "pull.cache"]
    for found in steps[:6]:
        name = parse(found.explain.removeprefix("docker pull ").splitlines()[0])
        engine.hub[f"{name.repository_name}:{name.tag}"] = [lambda: together.wait(20) and None, *layers(10)]
    outcomes = plan.run(steps[:6], parallel=8)
    assert [(outcome.state, outcome.detail) for outcome in outcomes if outcome.state != "done"] == []
    assert max(engine.at_once) == 3


def test_a_mirror_is_asked_and_the_image_gets_its_own_name(engine, tmp_path):
    site = make(engine, tmp_path, mirrors={"docker.io": "mirror.example.com/hub"})
    engine.hub["mirror.example.com/hub/gitlab/gitlab-runner:v19.3.0"] = layers(10)
    assert "from mirror.example.com" in act(site)
    assert list(engine.images) == ["gitlab/gitlab-runner:v19.3.0"]
    assert "docker tag mirror.example.com/hub/gitlab/gitlab-runner:v19.3.0" in step(site).explain


def test_the_mirrors_name_stays_when_it_was_there_before(engine, tmp_path):
    site = make(engine, tmp_path, mirrors={"docker.io": "mirror.example.com"})
    there = "mirror.example.com/gitlab/gitlab-runner:v19.3.0"
    engine.have(there)
    engine.hub[there] = layers(10)
    act(site)
    assert sorted(engine.images) == ["gitlab/gitlab-runner:v19.3.0", there]


def test_the_mirrors_name_of_a_killed_pull_is_taken_away_with_the_image(engine, tmp_path):
    site = make(engine, tmp_path, mirrors={"docker.io": "mirror.example.com"})
    mirrored = "mirror.example.com/gitlab/gitlab-runner:v19.3.0"
    engine.hub[mirrored] = (500, "dial tcp 1.2.3.4:443: connect: connection refused")
    with pytest.raises(LabError):
        act(site)
    engine.have(mirrored)  # the engine was done, and the lab was killed before it could give it its name
    assert store.remove(site) == f"image {mirrored}"
    assert not engine.images


def test_an_override_is_pulled_and_used(engine, tmp_path):
    site = make(engine, tmp_path, images={"runner": "registry.example.com/own/runner:1"})
    engine.hub["registry.example.com/own/runner:1"] = layers(10)
    act(site)
    assert images.reference(site, "runner") == "registry.example.com/own/runner:1"
    assert "registry.example.com/own/runner:1" in engine.images


def test_a_digest_is_what_is_asked_for_and_what_counts(engine, tmp_path):
    site = make(engine, tmp_path, images={"runner": f"gitlab/gitlab-runner:v19.3.0@{DIGEST}"})
    engine.have(RUNNER, RepoDigests=["gitlab/gitlab-runner@sha256:" + "cd" * 32])
    assert "another digest" in step(site).probe(StepContext()).why
    engine.hub[f"docker.io/gitlab/gitlab-runner@{DIGEST}"] = layers(10)
    act(site)
    assert isinstance(step(site).probe(StepContext()), Satisfied)
    assert images.reference(site, "runner") == "gitlab/gitlab-runner:v19.3.0"


def test_an_image_for_another_processor_is_not_taken(engine, site):
    engine.have(RUNNER, Architecture="arm64")
    assert step(site).probe(StepContext()) == Needed("it is for arm64, and this engine is amd64")
    engine.hub[RUNNER] = layers(10)
    engine.attributes[RUNNER] = {"Architecture": "arm64"}
    with pytest.raises(LabError, match="for arm64"):
        act(site)


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        ("toomanyrequests: You have reached your unauthenticated pull rate limit.", "LAB-IMAGE-11", "429"),
        ("write /var/lib/docker/tmp/x: no space left on device", "LAB-IMAGE-12", "disk is full"),
        ("no matching manifest for linux/arm64/v8 in the manifest list entries", "LAB-IMAGE-13", "architecture"),
        ("manifest for gitlab/gitlab-runner:v19.3.0 not found: manifest unknown", "LAB-IMAGE-14", "has no"),
        (
            'Get "https://10.0.0.1:5000/v2/": http: server gave HTTP response to HTTPS client',
            "LAB-IMAGE-15",
            "plain HTTP",
        ),
        (
            (
                'Get "https://registry-1.docker.io/v2/": tls: failed to verify certificate: x509: certificate signed '
                "by unknown authority"
            ),
            "LAB-IMAGE-16",
            "certificate",
        ),
        (
            (
                "pull access denied for x, repository does not exist or may require 'docker login': denied: requested "
                "access to the resource is denied"
            ),
            "LAB-IMAGE-18",
            "login",
        ),
        ("Head https://x/v2/: unauthorized: authentication required", "LAB-IMAGE-18", "login"),
        (
            (
                'Get "https://registry-1.docker.io/v2/": dial tcp: lookup registry-1.docker.io on 127.0.0.53:53: '
                "no such host"
            ),
            "LAB-IMAGE-19",
            "resolved",
        ),
        ("proxyconnect tcp: dial tcp 10.1.1.1:3128: connect: connection refused", "LAB-IMAGE-20", "proxy"),
        ("dial tcp 1.2.3.4:443: connect: connection refused", "LAB-IMAGE-21", "does not answer"),
        (
            "net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)",
            "LAB-IMAGE-21",
            "does not answer",
        ),
        ("filesystem layer verification failed for digest sha256:abc", "LAB-IMAGE-22", "damaged"),
        ("received unexpected HTTP status: 502 Bad Gateway", "LAB-IMAGE-23", "nonsense"),
        (
            "error parsing HTTP 403 response body: invalid character '<' looking for beginning of value",
            "LAB-IMAGE-23",
            "",
        ),
        ("something nobody has seen before", "LAB-IMAGE-10", "could not be pulled"),
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_a_failure_names_image_reason_and_next_action(engine, site, *, said, code, words, late):
    engine.hub[RUNNER] = [*layers(10)[:2], {"errorDetail": {"message": said}, "error": said}] if late else (500, said)
    with pytest.raises(LabError) as caught:
        act(site)
    expected = "LAB-DOCKER-08" if code == "LAB-IMAGE-10" and not late else code
    assert caught.value.code == expected
    assert "gitlab/gitlab-runner:v19.3.0" in caught.value.problem
    assert words in caught.value.problem or expected == "LAB-DOCKER-08"
    assert caught.value.hint
    assert said[:40] in caught.value.evidence


@pytest.mark.parametrize(("times", "tries"), [(2, 3), (5, 3)])
def test_what_may_pass_is_tried_three_times(engine, site, times, tries):
    said = "received unexpected HTTP status: 503 Service Unavailable"
    answers = [[{"error": said}]] * times + [layers(10)]

    class Flaky(dict):
        def get(self, *_key):
            return answers.pop(0)

    engine.hub = Flaky()
    if times < tries:
        act(site)
    else:
        with pytest.raises(LabError, match="nonsense"):
            act(site)
    assert len(pulls(engine)) == tries


def test_what_does_not_pass_is_not_tried_again(engine, site):
    with pytest.raises(LabError, match="has no"):
        act(site)
    assert len(pulls(engine)) == 1


def test_an_engine_that_goes_away_is_not_mistaken_for_a_registry(engine, site):
    def gone():
        raise ConnectionResetError(104, "Connection reset by peer")

    engine.hub[RUNNER] = [*layers(1000)[:2], gone]
    with pytest.raises(LabError) as caught:
        act(site)
    assert caught.value.code in ("LAB-DOCKER-01", "LAB-IMAGE-08", "LAB-IMAGE-09"), caught.value


def test_a_mirror_that_fails_is_called_a_mirror(engine, tmp_path):
    site = make(engine, tmp_path, mirrors={"docker.io": "mirror.example.com"})
    said = "dial tcp: lookup mirror.example.com: no such host"
    engine.hub["mirror.example.com/gitlab/gitlab-runner:v19.3.0"] = (500, said)
    with pytest.raises(LabError, match=r"The name mirror\.example\.com cannot be resolved") as caught:
        act(site)
    assert "mirror of docker.io in lab.yaml" in caught.value.hint


def test_an_engine_that_ends_in_the_middle_is_not_a_success(engine, site):
    engine.hub[RUNNER] = layers(10)
    engine.hub[RUNNER].append({"error": ""})  # keeps the pretended engine from having the image
    with pytest.raises(LabError, match="the image is not here") as caught:
        act(site)
    assert caught.value.code == "LAB-IMAGE-09"


def test_an_answer_that_is_no_json_is_told(engine, site):
    engine.hub[RUNNER] = [b"<html>", b"nonsense\r\n"]
    with pytest.raises(LabError) as caught:
        act(site)
    assert caught.value.code in ("LAB-IMAGE-08", "LAB-IMAGE-23")
    assert "gitlab/gitlab-runner" in caught.value.problem


def test_a_pull_that_stands_still_ends_with_the_time_limit(engine, tmp_path):
    site = make(engine, tmp_path, timeouts=TimeoutSettings(pull=0.3))
    go = threading.Event()
    engine.hub[RUNNER] = [*layers(1000)[:2], lambda: go.wait(20) and None]
    with pytest.raises(TimedOut, match="gitlab-runner") as caught:
        act(site)
    go.set()
    assert "downloading" in caught.value.evidence
    assert "timeouts.pull" in caught.value.hint


def test_ctrl_c_ends_a_pull_at_once(engine, site):
    go, stop = threading.Event(), threading.Event()
    engine.hub[RUNNER] = [*layers(1000)[:2], lambda: go.wait(20) and None]

    def told(done, _total):
        if done:
            stop.set()

    with pytest.raises(Interrupted):
        act(site, context=StepContext(stop, progress=told))
    go.set()


def test_what_the_lab_pulled_is_removed_and_what_was_there_stays(engine, site):
    engine.have("docker.io/rancher/k3s:v1.34.9-k3s1")
    engine.hub[RUNNER] = layers(10)
    plan.run([step(site), step(site, "k3s")])
    assert store.remove(site) == "image gitlab/gitlab-runner:v19.3.0"
    assert list(engine.images) == ["rancher/k3s:v1.34.9-k3s1"]
    assert store.remove(site) == ""


def test_an_image_of_an_earlier_version_is_removed_too(engine, site, tmp_path):
    engine.hub[RUNNER] = layers(10)
    act(site)
    newer = make(engine, tmp_path, images={"runner": "gitlab/gitlab-runner:v19.4.0"})
    engine.hub["docker.io/gitlab/gitlab-runner:v19.4.0"] = layers(10)
    act(newer)
    assert len(engine.images) == 2
    store.remove(newer)
    assert not engine.images


def test_a_pull_that_was_killed_is_still_the_labs(engine, site):
    engine.hub[RUNNER] = (500, "dial tcp 1.2.3.4:443: connect: connection refused")
    with pytest.raises(LabError):
        act(site)
    engine.have(RUNNER)  # the engine went on by itself
    assert store.remove(site) == "image gitlab/gitlab-runner:v19.3.0"


def test_an_image_in_use_elsewhere_is_left(engine, site):
    engine.hub[RUNNER] = layers(10)
    act(site)
    engine.used.add("gitlab/gitlab-runner:v19.3.0")
    assert store.remove(site) == "gitlab/gitlab-runner:v19.3.0 left, it is in use"
    assert engine.images


def test_an_image_that_somebody_replaced_is_left(engine, site):
    engine.hub[RUNNER] = layers(10)
    act(site)
    engine.have(RUNNER, Id="sha256:" + "9" * 64)
    assert "was replaced since" in store.remove(site)
    assert engine.images


def test_an_image_that_was_removed_by_hand_is_pulled_again_and_forgotten_once(engine, site):
    engine.hub[RUNNER] = layers(10)
    act(site)
    engine.images.clear()
    assert isinstance(step(site).probe(StepContext()), Needed)
    act(site)
    engine.images.clear()
    assert store.remove(site) == ""


@pytest.mark.parametrize("name", ["gitlabb", "traefik"])
def test_an_image_that_cannot_be_set_is_an_error(engine, tmp_path, name):
    with pytest.raises(UsageError, match=name):
        images.steps(make(engine, tmp_path, images={name: "x:1"}))


def test_the_table_shows_what_is_here(engine, site):
    engine.have(RUNNER)
    with io.StringIO() as said:
        Supplies(site, Console(stream=said)).show()
        lines = {line.split()[0]: line for line in said.getvalue().splitlines() if line.startswith("  ")}
    assert " here " in lines["runner"]
    assert " absent " in lines["gitlab"]
    assert " absent " in lines["k3d"]
    assert {pin.name for pin in PINS} < set(lines)


def test_the_table_needs_no_docker(tmp_path):
    site = Site(Settings(), State(tmp_path / ".lab"), {"DOCKER_HOST": "tcp://docker.example.com:2375"})
    with io.StringIO() as said:
        Supplies(site, Console(stream=said)).show()
        assert "is on another machine" in said.getvalue()
        assert "gitlab/gitlab-ce" in said.getvalue()


def test_too_little_room_is_said_before_anything_is_pulled(engine, site, tmp_path, monkeypatch):
    engine.root = str(tmp_path)
    monkeypatch.setattr(supplies, "PINS", (*PINS, Pin("huge", "example.com/huge:1", "node", 1, 10**9, "huge")))
    with pytest.raises(MachineError, match="too little room") as caught:
        Supplies(site, None).fetch()
    assert str(tmp_path) in caught.value.evidence
    assert not pulls(engine)


def test_a_disk_that_cannot_be_seen_is_left_to_docker(engine, site):
    assert [step.name for step in Supplies(site, None).fetch()][-3:] == ["download.k3d", "download.argo-cd", "stock"]
    assert not pulls(engine)


def test_a_k3d_that_fits_on_the_path_is_not_downloaded(site, tmp_path):
    program = tmp_path / "k3d"
    program.write_text(f"""#!/bin/sh\necho '{{"k3d": "{downloads.version("k3d")}"}}'\n""")
    program.chmod(0o755)
    there = Site(site.settings, site.state, {**site.environ, "PATH": str(tmp_path)})
    assert "download.k3d" not in [step.name for step in Supplies(there, None).fetch()]
    assert "download.k3d" in [step.name for step in Supplies(there, None).pack(tmp_path / "lab.tar")]


def test_what_was_only_pulled_can_be_removed_too(engine, site):
    assert Supplies(site, None).remove() == ""
    engine.hub[RUNNER] = layers(10)
    act(site)
    assert "image gitlab/gitlab-runner:v19.3.0" in Supplies(site, None).remove()
    assert not engine.images
    assert not site.state.folder.exists()


@pytest.mark.parametrize("place", [".", "no/such/folder/lab.tar"])
def test_a_bundle_needs_a_place(engine, site, tmp_path, place):
    with pytest.raises(UsageError, match="cannot be a bundle"):
        Supplies(site, None).pack(tmp_path / place)
    assert not pulls(engine)


def test_a_credential_helper_that_is_not_there_is_called_by_its_name(engine, site, tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text('{"credsStore": "desktop.exe-that-is-not-here"}')
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))  # the SDK looks there by itself
    engine.hub[RUNNER] = layers(10)
    with pytest.raises(LabError) as caught:
        act(site)
    assert caught.value.code == "LAB-IMAGE-17", caught.value
    assert "credsStore" in caught.value.hint


def bundled(site, path, monkeypatch):
    """Write a bundle of what is here, without downloads."""
    monkeypatch.setattr(downloads, "FILES", ())
    step = bundle.write(site, path, ())
    assert isinstance(step.probe(StepContext()), Needed)
    return step.act(StepContext())


def test_a_bundle_is_written_from_what_is_here_and_a_second_time_too(engine, site, tmp_path, monkeypatch):
    for pin in PINS:
        engine.have(pin.image.format(machine="x86_64"))
    bundled(site, tmp_path / "lab.tar", monkeypatch)
    bundled(site, tmp_path / "lab.tar", monkeypatch)
    reader = Reader(tmp_path / "lab.tar")
    assert {found["pin"] for found in reader.members()} == {pin.name for pin in PINS}
    assert (
        gzip.decompress(b"".join(reader.read("images/runner.tar.gz"))) == b'{"saved": "gitlab/gitlab-runner:v19.3.0"}'
    )


def test_a_bundle_that_cannot_be_written_is_not_dockers_fault(engine, site, tmp_path, monkeypatch):
    for pin in PINS:
        engine.have(pin.image.format(machine="x86_64"))
    (tmp_path / "lab.tar.part").symlink_to("/dev/full")
    with pytest.raises(LabError, match=r"lab\.tar cannot be written") as caught:
        bundled(site, tmp_path / "lab.tar", monkeypatch)
    assert caught.value.code == "LAB-BUNDLE-09"


def test_an_image_that_vanished_before_it_was_written_is_named(site, tmp_path, monkeypatch):
    with pytest.raises(LabError, match="gitlab-ce"):
        bundled(site, tmp_path / "lab.tar", monkeypatch)
    assert not (tmp_path / "lab.tar").exists()
