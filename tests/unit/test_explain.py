"""The task `explain`: any code, in any case, in the reader's language; a wrong one is answered with the nearest."""

from __future__ import annotations

import io
import json

import pytest

from lab import explain
from lab.causes import every
from lab.console import Console
from lab.errors import UsageError
from lab.main import main


def explained(code: str, **environ: str) -> str:
    stream = io.StringIO()
    explain.explain(code, environ, Console(stream=stream))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("environ", "spoken"),
    [
        ({}, "en"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "zh_TW.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": ""}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LAB_LANG": "en"}, "en"),
        ({"LANG": "en_US.UTF-8", "LAB_LANG": "zh"}, "zh"),
        ({"LAB_LANG": "ZH"}, "zh"),
        ({"LAB_LANG": "fr", "LANG": "zh_CN"}, "en"),
    ],
)
def test_the_language_is_the_readers(environ, spoken):
    assert explain.language(environ) == spoken


def test_a_cause_is_explained_with_evidence_remedy_and_links():
    text = explained("LAB-REG-04")
    assert text.startswith("LAB-REG-04  The registry does not let the node pull the image.")
    for heading in ("Cause", "Look at", "What to do", "See also"):
        assert f"\n{heading}\n" in text
    assert "  $ invoke verify --only pull.secret --only token.deploy\n" in text
    assert "pull.secret" in text.rpartition("See also")[2]


def test_a_cause_is_explained_in_chinese():
    text = explained("LAB-REG-04", LAB_LANG="zh")
    assert text.startswith("LAB-REG-04  节点没有权限拉取镜像。")
    assert [heading for heading in ("原因", "排查", "解决", "相关") if f"\n{heading}\n" not in text] == []
    assert "  $ invoke up\n" in text


@pytest.mark.parametrize("code", ["lab-reg-04", " LAB-REG-04 ", "Lab-Reg-04"])
def test_case_and_blanks_do_not_matter(code):
    assert explained(code) == explained("LAB-REG-04")


@pytest.mark.parametrize(
    ("wrong", "near"), [("LAB-REG-4", "LAB-REG-04"), ("reg-01", "LAB-REG-01"), ("LAB-RUNER-01", "LAB-RUNNER-01")]
)
def test_a_wrong_code_is_answered_with_the_nearest(wrong, near):
    with pytest.raises(UsageError) as caught:
        explained(wrong)
    assert caught.value.code == "LAB-EXPLAIN-01"
    assert near in caught.value.hint


def test_nonsense_is_answered_with_the_way_to_all_codes():
    with pytest.raises(UsageError) as caught:
        explained("?")
    assert caught.value.hint == "invoke explain lists all codes."


@pytest.mark.parametrize("spoken", ["en", "zh"])
def test_alone_it_lists_every_code_with_its_title(spoken):
    lines = explained("", LAB_LANG=spoken).splitlines()
    assert [line.split()[0] for line in lines] == sorted(cause.code for cause in every())
    assert all(cause.title.of(spoken) in explained("", LAB_LANG=spoken) for cause in every())


def test_programs_get_one_document_for_each_code():
    stream = io.StringIO()
    explain.explain("LAB-REG-04", {"LAB_LANG": "zh"}, Console(as_json=True, stream=stream))
    document = json.loads(stream.getvalue())
    assert document["type"] == "explanation"
    assert document["code"] == "LAB-REG-04"
    assert document["language"] == "zh"
    assert "pull.secret" in document["see"]


def test_commands_are_never_broken_over_lines():
    for cause in every():
        text = explained(cause.code)
        commands = [line for line in cause.look.en.splitlines() + cause.remedy.en.splitlines() if line[:2] == "$ "]
        assert [command for command in commands if f"  {command.rstrip()}\n" not in text] == []


def test_chinese_lines_do_not_begin_with_a_sign_that_ends_a_sentence():
    parts = list(explain.wrapped("请检查网络。然后再试一次。完成。", 10))
    assert "".join(parts) == "请检查网络。然后再试一次。完成。"
    assert all(explain.columns(part) <= 12 for part in parts)
    assert not any(part[0] == "。" for part in parts)


def test_a_long_word_is_kept_whole():
    assert list(explain.wrapped("see https://example.org/a/very/long/address now", 12)) == [
        "see", "https://example.org/a/very/long/address", "now",
    ]  # fmt: skip


def test_a_wrong_code_is_a_usage_error_on_the_command_line(tmp_path, capsys):
    assert main(lambda lab: lab.explain("LAB-REG-4"), {"LAB_HOME": str(tmp_path)}) == 2
    assert "Did you mean LAB-REG-04" in capsys.readouterr().err


def test_it_needs_no_lab(tmp_path, capsys):
    (tmp_path / "lab.yaml").write_text("wrong: [")
    assert main(lambda lab: lab.explain("lab-conf-01"), {"LAB_HOME": str(tmp_path), "LAB_LANG": "zh"}) == 0
    assert "解决" in capsys.readouterr().out
