import errno
import itertools
import os
import shlex
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lab import files, hosts, wsl
from lab.errors import MachineError, UsageError

NAMES = hosts.names("lab.test")
BEGIN, END = b"# BEGIN gitops-lab\n", b"# END gitops-lab"
BLOCK = BEGIN + b"127.0.0.1 gitlab.lab.test\n127.0.0.1 argocd.lab.test\n127.0.0.1 app.lab.test\n" + END
COMMAND = "sudo python -m invoke hosts --write"


@pytest.fixture
def make(tmp_path):
    def write(text: bytes = b"127.0.0.1 localhost\n", name: str = "hosts", eol: bytes = b"\n") -> hosts.HostsFile:
        path = tmp_path / name
        path.write_bytes(text)
        return hosts.HostsFile(path, eol)

    return write


def write(*found, wanted=NAMES):
    return hosts.write(found, wanted, command=COMMAND)


def remove(*found):
    return hosts.remove(found, NAMES, command=COMMAND)


def test_the_block_comes_and_goes_and_the_file_is_what_it_was(make):
    file = make(b"127.0.0.1 localhost\n")
    assert write(file) == [f"{file.path}: names written"]
    assert file.path.read_bytes() == b"127.0.0.1 localhost\n" + BLOCK + b"\n"
    assert hosts.inspect(file, NAMES).missing == ()
    remove(file)
    assert file.path.read_bytes() == b"127.0.0.1 localhost\n"
    assert hosts.inspect(file, NAMES).missing == NAMES


@pytest.mark.parametrize("eol", [b"\n", b"\r\n"])
def test_any_bytes_survive_writing_and_removing(make, eol):
    pieces = [b"", b"a", b"\n", b"\r\n", b"\r", b"\xff# \xe4\n", b"\xef\xbb\xbf"]
    for parts in itertools.product(pieces, repeat=3):
        before = b"".join(parts)
        file = make(before, eol=eol)
        write(file)
        assert before in file.path.read_bytes()
        once = file.path.read_bytes()
        write(file)
        assert file.path.read_bytes() == once, before
        remove(file)
        assert file.path.read_bytes() == before, before


def test_a_second_writing_does_not_touch_the_file(make):
    file = make()
    write(file)
    before = file.path.stat()
    assert write(file) == [f"{file.path}: has every name"]
    after = file.path.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_windows_line_ends_and_byte_order_mark_stay(make):
    before = b"\xef\xbb\xbf# Copyright (c) Microsoft\r\n127.0.0.1 localhost"
    file = make(before)
    write(file)
    assert file.path.read_bytes() == before + b"\r\n" + BLOCK.replace(b"\n", b"\r\n")
    remove(file)
    assert file.path.read_bytes() == before


def test_an_empty_windows_file_gets_windows_line_ends(make):
    file = make(b"", eol=b"\r\n")
    write(file)
    assert file.path.read_bytes() == BLOCK.replace(b"\n", b"\r\n") + b"\r\n"


def test_a_block_of_another_domain_is_replaced_where_it_stands(make):
    file = make(b"one\n" + BLOCK + b"\n10.0.0.1 later\n")
    write(file, wanted=hosts.names("class.test"))
    assert file.path.read_bytes() == b"one\n" + BLOCK.replace(b"lab.test", b"class.test") + b"\n10.0.0.1 later\n"
    remove(file)
    assert file.path.read_bytes() == b"one\n10.0.0.1 later\n"


def test_lines_added_behind_the_block_stay_when_it_goes(make):
    file = make(b"127.0.0.1 localhost")
    write(file)
    file.path.write_bytes(file.path.read_bytes() + b"\n10.0.0.1 later\n")
    remove(file)
    assert file.path.read_bytes() == b"127.0.0.1 localhost\n10.0.0.1 later\n"


def test_a_name_that_another_line_gives_needs_none_of_ours(make):
    file = make(b"127.0.0.1 localhost GitLab.lab.test # mine\n")
    assert hosts.inspect(file, NAMES).missing == NAMES[1:]
    write(file)
    assert file.path.read_bytes().lower().count(b"gitlab.lab.test") == 1
    said = remove(file)
    assert "other lines name gitlab.lab.test" in said[1]


def test_wsls_own_copies_of_windows_lines_are_enough(make):
    text = b"127.0.0.1 localhost\n" + b"".join(f"{line}\n".encode() for line in hosts.lines(NAMES))
    file = make(text)
    assert write(file) == [f"{file.path}: has every name"]
    assert file.path.read_bytes() == text


def test_a_line_with_another_address_is_reported_with_its_number_and_nothing_is_written(make):
    windows, linux = make(name="windows"), make(BLOCK + b"\n# a comment\n10.0.0.9  argocd.lab.test\n", name="linux")
    finding = hosts.inspect(linux, NAMES)
    assert finding.conflicts == (f"{linux.path}:7: 10.0.0.9  argocd.lab.test",)
    with pytest.raises(UsageError, match="another address") as caught:
        write(windows, linux)
    assert f"{linux.path}:7: 10.0.0.9  argocd.lab.test" in caught.value.evidence
    assert windows.path.read_bytes() == b"127.0.0.1 localhost\n"


@pytest.mark.parametrize("text", [b"# 10.0.0.9 gitlab.lab.test\n", b"10.0.0.9 mygitlab.lab.test # gitlab.lab.test\n"])
def test_comments_and_other_names_are_no_conflict(make, text):
    assert hosts.inspect(make(text), NAMES) == hosts.Finding(NAMES, (), ())


@pytest.mark.parametrize("text", [BEGIN, b"a\n" + END, END + b"\n" + BEGIN, BLOCK + b"\n" + BLOCK])
def test_damaged_marks_are_refused_with_their_lines(make, text):
    file = make(text)
    for action in (write, remove):
        with pytest.raises(UsageError, match="do not match") as caught:
            action(file)
        assert f"{file.path}:" in caught.value.evidence
    assert file.path.read_bytes() == text


def test_mode_and_attributes_stay_and_nothing_is_left_beside_the_file(make, tmp_path):
    file = make()
    file.path.chmod(0o640)
    write(file)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [file.path]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_owner_stays(make):
    file = make()
    os.chown(file.path, 1234, 2345)
    write(file)
    assert (file.path.stat().st_uid, file.path.stat().st_gid) == (1234, 2345)


def test_a_link_stays_a_link(make, tmp_path):
    file = make(name="real")
    (tmp_path / "link").symlink_to(file.path)
    write(hosts.HostsFile(tmp_path / "link"))
    assert (tmp_path / "link").is_symlink()
    assert BLOCK in file.path.read_bytes()


def test_a_mount_point_is_overwritten_in_place(make, monkeypatch):
    file = make()
    inode = file.path.stat().st_ino

    def busy(*_):
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(Path, "replace", busy)
    write(file)
    assert file.path.read_bytes().endswith(BLOCK + b"\n")
    assert file.path.stat().st_ino == inode
    assert list(file.path.parent.iterdir()) == [file.path]


def refuse(monkeypatch, function, path, error):
    real = getattr(files, function)

    def fake(*args):
        if path in args:
            raise error
        return real(*args)

    monkeypatch.setattr(files, function, fake)


@pytest.mark.parametrize("function", ["stage", "swap"])
@pytest.mark.parametrize("action", [write, remove])
def test_without_permission_nothing_is_half_done(make, tmp_path, monkeypatch, function, action):
    windows, linux = make(name="windows"), make(name="linux")
    if action is remove:
        write(windows, linux)
    before = (windows.path.read_bytes(), linux.path.read_bytes())
    refuse(monkeypatch, function, linux.path, PermissionError(errno.EACCES, "Permission denied", str(linux.path)))
    with pytest.raises(UsageError, match="belong to the administrator") as caught:
        action(windows, linux)
    assert caught.value.hint == COMMAND
    assert str(linux.path) in caught.value.evidence
    assert (windows.path.read_bytes(), linux.path.read_bytes()) == before
    assert sorted(tmp_path.iterdir()) == [linux.path, windows.path]


def test_a_file_system_for_reading_only_is_no_matter_of_rights(make, monkeypatch):
    file = make()
    refuse(monkeypatch, "stage", file.path, OSError(errno.EROFS, "Read-only file system"))
    with pytest.raises(MachineError, match="cannot be changed"):
        write(file)


def test_a_person_without_rights_gets_the_command():
    code = (
        "import os, sys, pathlib; from lab import hosts; from lab.errors import UsageError\n"
        "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "try: hosts.write([hosts.HostsFile(pathlib.Path(sys.argv[1]))], ['a.test'], command='sudo this')\n"
        "except UsageError as error: print(error.code, error.hint)"
    )
    with tempfile.TemporaryDirectory() as folder:  # not tmp_path: others may not even enter pytest's folders
        Path(folder).chmod(0o755)
        path = Path(folder) / "hosts"
        path.write_bytes(b"127.0.0.1 localhost\n")
        path.chmod(0o444)
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.stdout == "LAB-HOSTS-01 sudo this\n", done.stderr
        assert path.read_bytes() == b"127.0.0.1 localhost\n"
        assert list(Path(folder).iterdir()) == [path]


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(MachineError, match="absent cannot be read"):
        hosts.inspect(hosts.HostsFile(tmp_path / "absent"), NAMES)


def test_on_wsl_windows_file_comes_first(tmp_path):
    found = hosts.find(inside_wsl=True, linux=tmp_path / "l", windows=tmp_path / "w")
    assert [file.path.name for file in found] == ["w", "l"]
    assert [file.path.name for file in hosts.find(inside_wsl=False, linux=tmp_path / "l")] == ["l"]


def test_both_systems_lines_and_what_is_missing_are_told(make):
    full, part = make(BLOCK, name="full"), make(b"10.1.1.1 app.lab.test\n127.0.0.1 gitlab.lab.test\n", name="part")
    text = "\n".join(hosts.describe(NAMES, [full, part]))
    assert text.count("    127.0.0.1 gitlab.lab.test") == 2
    assert "Linux: /etc/hosts" in text
    assert r"Windows: C:\Windows\System32\drivers\etc\hosts" in text
    assert f"{full.path}: has every name" in text
    assert f"{part.path}: missing argocd.lab.test, app.lab.test" in text
    assert f"{part.path}:1: 10.1.1.1 app.lab.test" in text


def test_the_command_for_linux_can_be_typed_as_it_is():
    command = hosts.elevated("--write", {"LAB_HOME": "/my lab", "LAB_PROJECT_VARIABLES": "s3cret"}, inside_wsl=False)
    assert shlex.split(command) == [
        "sudo", "env", "LAB_HOME=/my lab", sys.executable, "-B", "-m", "invoke", "hosts", "--write",
    ]  # fmt: skip


def test_the_command_for_wsl_asks_windows_and_linux_at_once():
    environ = {"WSL_DISTRO_NAME": "Ubuntu-24.04", "PWD": "/home/me/my $lab"}
    words = shlex.split(hosts.elevated("--remove", environ, inside_wsl=True))
    assert words[:3] == ["powershell.exe", "-NoProfile", "-Command"]
    start, _, arguments = words[3].partition('-ArgumentList "')
    assert start == "Start-Process wsl.exe -Verb RunAs "
    inner = shlex.split(arguments.removesuffix('"').replace("`$", "$"))
    assert inner[:6] == ["-d", "Ubuntu-24.04", "-u", "root", "--cd", "/home/me/my $lab"]
    assert inner[6:] == ["--", sys.executable, "-B", "-m", "invoke", "hosts", "--remove"]


@pytest.mark.parametrize(
    ("release", "expected"),
    [("5.15.167.4-microsoft-standard-WSL2\n", True), ("4.4.0-19041-Microsoft\n", True), ("6.8.0-45-generic\n", False)],
)
def test_wsl_is_known_by_its_kernel(tmp_path, release, expected):
    (tmp_path / "osrelease").write_text(release)
    assert wsl.inside(tmp_path / "osrelease") is expected
    assert not wsl.inside(tmp_path / "absent")
