import os
import shlex
from pathlib import Path

import pytest

from lab import browser, hosts, wsl
from lab.errors import LabError, UsageError
from lab.model import Endpoints
from lab.waiting import Pending, wait_until

URL = "http://127.0.0.1:8929/a?x=1&y=it's"


def endpoints(gitlab: str) -> Endpoints:
    return Endpoints(
        gitlab=gitlab, gitlab_route="http://127.0.0.1:8929", registry="r", registry_route="r", kubeconfig=Path("k"),
        argocd="https://localhost:8443", webhook="w", app="http://localhost:8088", root_token="t",
    )  # fmt: skip


class Machine:
    """Records what is started; each program has a result: an exit code, None (still running) or an error."""

    def __init__(self, **programs):
        self.programs = programs
        self.started = []

    def which(self, name):
        return name if name in self.programs else None

    def launch(self, argv, *, patience, cwd):
        assert patience > 0
        assert cwd is None or cwd == wsl.SYSTEM
        self.started.append(argv)
        result = self.programs[argv[0]]
        if isinstance(result, Exception):
            raise result
        return result

    def show(self, environ=None, *, inside_wsl=False):
        return browser.show(URL, environ or {}, inside_wsl=inside_wsl, which=self.which, launch=self.launch)


def test_without_desktop_and_browser_nothing_is_started():
    machine = Machine(**{"xdg-open": 0})
    assert machine.show() is None
    assert machine.started == []


@pytest.mark.parametrize("display", ["DISPLAY", "WAYLAND_DISPLAY"])
def test_a_desktop_opens_it(display):
    machine = Machine(**{"xdg-open": 0})
    assert machine.show({display: ":0"}) == "xdg-open"
    assert machine.started == [["xdg-open", URL]]


def test_a_browser_that_stays_in_the_foreground_has_taken_it():
    machine = Machine(firefox=None)
    assert machine.show({"BROWSER": "firefox"}) == "firefox"


def test_the_persons_browser_comes_before_the_desktops():
    machine = Machine(**{"xdg-open": 0, "my browser": 0})
    environ = {"BROWSER": "absent:'my browser' --new %s x", "DISPLAY": ":0"}
    assert machine.show(environ) == "my browser"
    assert machine.started == [["my browser", "--new", URL, "x"]]


@pytest.mark.parametrize("result", [3, LabError("LAB-CMD-04", "cannot be started")])
def test_a_way_that_fails_is_followed_by_the_next(result):
    machine = Machine(**{"broken": result, "xdg-open": 0})
    assert machine.show({"BROWSER": "broken", "DISPLAY": ":0"}) == "xdg-open"
    assert [argv[0] for argv in machine.started] == ["broken", "xdg-open"]


def test_on_wsl_windows_browser_comes_first():
    machine = Machine(wslview=0, firefox=0)
    assert machine.show({"BROWSER": "firefox"}, inside_wsl=True) == "wslview"
    assert machine.started == [["wslview", URL]]


def test_on_wsl_powershell_gets_the_url_in_quotes_of_its_own():
    machine = Machine(**{"powershell.exe": 0})
    assert machine.show(inside_wsl=True) == "powershell.exe"
    assert machine.started[0][-1] == "Start-Process 'http://127.0.0.1:8929/a?x=1&y=it''s'"


def test_on_wsl_without_windows_path_the_programs_are_found_where_they_lie():
    powershell = "/mnt/c/Windows/System32/WindowsPowerShell/v1.0/powershell.exe"
    machine = Machine(**{powershell: 0})
    assert machine.show(inside_wsl=True) == "powershell.exe"


def test_on_wsl_cmd_gets_its_own_characters_escaped():
    machine = Machine(**{"powershell.exe": 1, "cmd.exe": 0})
    assert machine.show(inside_wsl=True) == "cmd.exe"
    assert machine.started[1] == ["cmd.exe", "/c", "start", "", "http://127.0.0.1:8929/a?x=1^&y=it's"]


def test_a_real_program_gets_the_url(tmp_path):
    got, program = tmp_path / "got", tmp_path / "my-browser"
    program.write_text(f'#!/bin/sh\nprintf %s "$1" > {shlex.quote(str(got))}.new && mv {got}.new {got}\n')
    program.chmod(0o755)
    assert browser.show(URL, {"BROWSER": str(program)}, inside_wsl=False) == "my-browser"
    assert wait_until("the URL", lambda: got.exists() or Pending("nothing"), timeout=10)
    assert got.read_text() == URL


def test_gitlab_is_opened_by_name_only_where_the_browser_knows_it(tmp_path):
    file = hosts.HostsFile(tmp_path / "hosts")
    points = endpoints("http://gitlab.lab.test:8929")
    assert browser.address("gitlab", points, file) == "http://127.0.0.1:8929"  # no such file
    file.path.write_text("127.0.0.1 localhost\n")
    assert browser.address("gitlab", points, file) == "http://127.0.0.1:8929"
    file.path.write_text("127.0.0.1 gitlab.lab.test\n")
    assert browser.address("gitlab", points, file) == "http://gitlab.lab.test:8929"


def test_every_place_has_an_address(tmp_path):
    points, file = endpoints("http://127.0.0.1:18929"), hosts.HostsFile(tmp_path / "absent")
    assert [browser.address(place, points, file) for place in browser.PLACES] == [
        "http://127.0.0.1:18929", "https://localhost:8443", "http://localhost:8088",
    ]  # fmt: skip


@pytest.mark.parametrize("place", ["", "grafana"])
def test_another_place_is_refused_with_the_valid_ones(tmp_path, place):
    with pytest.raises(UsageError) as caught:
        browser.address(place, endpoints("http://127.0.0.1"), hosts.HostsFile(tmp_path / os.devnull))
    assert caught.value.hint == "invoke open gitlab|argocd|app"
