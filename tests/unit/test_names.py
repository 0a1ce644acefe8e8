"""The tasks `hosts` and `open`: which names, in which files, and the URL that is opened."""

from __future__ import annotations

import io

import pytest

from lab import hosts
from lab.console import Console
from lab.errors import UsageError
from lab.names import Names
from lab.settings import Settings
from lab.state import State


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "hosts"
    path.write_text("127.0.0.1 localhost\n")
    monkeypatch.setattr(hosts, "find", lambda **_: (hosts.HostsFile(path),))
    return path


def names(tmp_path, stream: io.StringIO, *, engine: str) -> Names:
    state = State(tmp_path / ".lab")
    state.put_fact("engine", {"name": engine})

    def endpoints():
        raise AssertionError("nobody asks where the lab answers")

    return Names(Settings(domain="class.test"), state, {}, Console(stream=stream), endpoints)


def test_the_names_are_those_of_the_domain_that_is_set(tmp_path, file):
    stream = io.StringIO()
    lab = names(tmp_path, stream, engine="docker")
    lab.hosts(write=False, remove=False)
    assert "127.0.0.1 gitlab.class.test" in stream.getvalue()
    lab.hosts(write=True, remove=False)
    assert "127.0.0.1 gitlab.class.test\n" in file.read_text()
    lab.hosts(write=False, remove=True)
    assert file.read_text() == "127.0.0.1 localhost\n"


def test_the_embedded_engine_needs_none_and_writes_none(tmp_path, file):
    stream = io.StringIO()
    names(tmp_path, stream, engine="embedded").hosts(write=True, remove=False)
    assert hosts.NOT_NEEDED in stream.getvalue()
    assert file.read_text() == "127.0.0.1 localhost\n"


def test_write_and_remove_exclude_each_other(tmp_path, file):
    with pytest.raises(UsageError) as caught:
        names(tmp_path, io.StringIO(), engine="docker").hosts(write=True, remove=True)
    assert caught.value.code == "LAB-FLAG-03"
    assert file.read_text() == "127.0.0.1 localhost\n"


@pytest.mark.usefixtures("file")
def test_a_place_that_does_not_exist_is_refused_with_those_that_do(tmp_path):
    lab = names(tmp_path, io.StringIO(), engine="embedded")
    lab.endpoints = lambda: None
    with pytest.raises(UsageError) as caught:
        lab.open("registry")
    assert "gitlab|argocd|app" in caught.value.hint
