import errno
import os
import shutil
import stat

import pytest

from lab import files


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_contents_are_replaced_and_the_mode_stays(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o654)
    files.replace(path, b"new")
    assert (path.read_bytes(), mode(path)) == (b"new", 0o654)
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_keeps_the_old_contents_until_it_opens_the_file_again(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        files.replace(path, b"new")
        assert reader.read() == b"old"


def test_a_new_file_is_for_its_owner_only(tmp_path):
    files.replace(tmp_path / "file", b"new")
    assert mode(tmp_path / "file") == 0o600


def test_extended_attributes_stay(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    try:
        os.setxattr(path, "user.lab", b"kept")
    except OSError:
        pytest.skip("this file system has no extended attributes")
    files.replace(path, b"new")
    assert os.getxattr(path, "user.lab") == b"kept"


def deny(*_args, **_more):
    raise PermissionError(errno.EPERM, "Operation not permitted")


def test_a_drive_that_keeps_no_attributes_is_written_all_the_same(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o600)  # what a new file has: nothing needs to be set
    monkeypatch.setattr(shutil, "copystat", deny)
    files.replace(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_mode_that_cannot_be_kept_leaves_the_file_as_it_is(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o644)
    monkeypatch.setattr(shutil, "copystat", deny)
    with pytest.raises(PermissionError, match="mode cannot be kept"):
        files.replace(path, b"new")
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"old", [path])
