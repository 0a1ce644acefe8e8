"""Every code of the lab is explained, in both languages, with commands and links that exist."""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path

import pytest

from lab import doctor, explain, follow, verify
from lab.causes import every, find
from lab.causes.cause import Cause

ROOT = Path(__file__).parents[2]
TASKS = {name for group in runpy.run_path(str(ROOT / "tasks.py"))["GROUPS"].values() for name in group}
CODE = re.compile(r"LAB-[A-Z0-9]+-[A-Z0-9]*[0-9]")
FIELDS = ("title", "cause", "look", "remedy")
CHECKS = {check.id for check in doctor.CHECKS}
SHARED = {"LAB-PORT-01"}
"""Raised by the lab's own code as well as recognised in texts: one problem, one code."""


def raised() -> dict[str, str]:
    """The codes in the lab's code, each with a place."""
    found = {f"LAB-FOLLOW-{hop}": "lab/follow.py" for hop in follow._TITLES}
    for path in (ROOT / "lab").rglob("*.py"):
        if {"emulator", "causes"} & set(path.relative_to(ROOT).parts):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and CODE.fullmatch(str(node.value)):
                found[str(node.value)] = str(path.relative_to(ROOT))
    return found


def texts(cause: Cause) -> list[str]:
    return [text for name in FIELDS for words in [getattr(cause, name)] for text in (words.en, words.zh) if text]


def test_every_code_has_an_entry():
    missing = {code: place for code, place in raised().items() if find(code) is None}
    assert missing == {}, "add title and remedy in English and Chinese to lab/causes/table/codes.yaml"


def test_every_entry_of_a_code_is_raised_somewhere():
    unused = {cause.code for cause in every() if not cause.signs} - set(raised())
    assert unused == set()


def test_a_cause_and_an_error_do_not_share_a_code():
    assert {cause.code for cause in every() if cause.signs} & set(raised()) == SHARED


@pytest.mark.parametrize("cause", every(), ids=lambda cause: cause.code)
def test_an_entry_is_whole(cause):
    assert CODE.fullmatch(cause.code)
    assert cause.title.en.endswith(".")
    assert cause.title.zh.endswith("。")
    assert cause.remedy.en
    for name in FIELDS:
        words = getattr(cause, name)
        assert bool(words.en) == bool(words.zh), name
        prose = [line for line in words.zh.splitlines() if not line.startswith(("$ ", "  "))]
        assert not prose or any(re.search("[\u4e00-\u9fff]", line) for line in prose), name
    if cause.signs:
        assert cause.cause.en
        assert cause.look.en or cause.normal


@pytest.mark.parametrize("cause", every(), ids=lambda cause: cause.code)
def test_both_languages_have_the_same_commands(cause):
    for name in FIELDS:
        english, chinese = (
            [line.split() for line in text.splitlines() if line.startswith("$ ")]
            for text in (getattr(cause, name).en, getattr(cause, name).zh)
        )
        assert [line[:2] for line in english] == [line[:2] for line in chinese], name


@pytest.mark.parametrize("cause", every(), ids=lambda cause: cause.code)
def test_the_first_line_of_a_remedy_stands_alone(cause):
    first = cause.remedy.en.splitlines()[0]
    assert not first.startswith("$ ")
    assert len(first) <= 130
    assert first.rstrip()[-1] in ".:"


@pytest.mark.parametrize("cause", every(), ids=lambda cause: cause.code)
def test_its_links_and_commands_exist(cause):
    for link in cause.see:
        assert link in CHECKS or link in verify.IDS or find(link), link
        assert link != cause.code
    for text in texts(cause):
        for task in re.findall(r"\$ invoke ([a-z.]+)", text):
            assert task in TASKS, task
        for check in re.findall(r"--only ([\w.-]+)", text):
            assert check in verify.IDS, check


@pytest.mark.parametrize("cause", every(), ids=lambda cause: cause.code)
def test_its_prose_fits_a_terminal(cause):
    for text in texts(cause):
        for line in text.splitlines():
            if not line.startswith(("$ ", "  ")):
                assert all(explain.columns(part) <= 78 for part in explain.wrapped(line, 76))


@pytest.mark.parametrize("path", [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")], ids=lambda path: path.name)
def test_codes_in_the_documents_exist(path):
    assert {code for code in CODE.findall(path.read_text()) if find(code) is None} == set()
