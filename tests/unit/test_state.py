import subprocess
import sys

import pytest

from lab.errors import UsageError
from lab.state import State


def mode(path):
    return path.stat().st_mode & 0o777


def test_secrets_are_private_files_below_a_private_folder(tmp_path):
    state = State(tmp_path / ".lab")
    state.put_secret("token", "s3cret")
    assert mode(tmp_path / ".lab") == 0o700
    assert mode(tmp_path / ".lab/secrets/token") == 0o600
    assert State(tmp_path / ".lab").secret("token") == "s3cret"
    assert state.secrets() == ["s3cret"]


def test_a_dropped_secret_is_gone(tmp_path):
    state = State(tmp_path)
    state.put_secret("token", "x")
    state.drop_secret("token")
    state.drop_secret("token")
    assert state.secret("token") is None


def test_facts_survive_and_replace_each_other(tmp_path):
    State(tmp_path).put_fact("engine", {"name": "a"})
    State(tmp_path).put_fact("engine", {"name": "b"})
    assert State(tmp_path).fact("engine") == {"name": "b"}
    assert State(tmp_path).fact("other") is None


def test_only_one_process_holds_the_lab(tmp_path):
    held = State(tmp_path)
    code = (
        "import sys; from pathlib import Path; from lab.state import State; from lab.errors import UsageError\n"
        "try:\n  with State(Path(sys.argv[1])).lock(): print('got it')\nexcept UsageError as e: print(e)"
    )
    with held.lock():
        with pytest.raises(UsageError, match="Another task"), State(tmp_path).lock():
            pass
        out = subprocess.run(
            [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, timeout=30, check=True
        )
        assert "LAB-LOCK-01" in out.stdout
    out = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, timeout=30, check=True)
    assert out.stdout == "got it\n"


@pytest.mark.parametrize("text", ['{"na', "[]", "", "5", "\x00"])
def test_a_damaged_fact_counts_as_absent(tmp_path, text):
    (tmp_path / "engine.json").write_text(text)
    assert State(tmp_path).fact("engine") is None


def test_a_secret_is_told_before_it_is_kept(tmp_path):
    told = []
    State(tmp_path / ".lab", told.append).put_secret("token", "s3cret")
    assert told == ["s3cret"]
