"""README.zh-CN.md says what README.md says: the same sections, commands, tasks, settings, checks and figures."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENGLISH, CHINESE = ((ROOT / name).read_text() for name in ("README.md", "README.zh-CN.md"))
_HEADING = re.compile(r"^#{1,3} .*$", re.MULTILINE)
_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_NUMBER = re.compile(r"(?<![A-Za-z\d])\d+(?:\.\d+)*")


def sections(text: str) -> list[str]:
    """The text from each heading to the next, code blocks taken out (a `#` in them is no heading)."""
    plain = _BLOCK.sub("", text)
    starts = [match.start() for match in _HEADING.finditer(plain)] + [len(plain)]
    return [plain[first:last] for first, last in itertools.pairwise(starts)]


def code(text: str) -> list[str]:
    """Every code block without its comments; of a list of files only the paths count."""
    return ["\n".join(map(bare, block.splitlines())) for block in _BLOCK.findall(text)]


def bare(line: str) -> str:
    first = line.partition(" ")[0]
    return first if first and (ROOT / first).exists() else re.sub(r"(^|\s+)#.*", "", line)


def rows(text: str) -> list[list[str]]:
    """The cells of every row of every table."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def title(text: str) -> str:
    return text.partition("\n")[0]


PAIRS = list(zip(sections(ENGLISH), sections(CHINESE), strict=False))


def test_each_leads_to_the_other():
    assert "](README.zh-CN.md)" in ENGLISH.split("\n## ")[0]
    assert "](README.md)" in CHINESE.split("\n## ")[0]


def test_both_have_the_same_sections():
    levels = [[title(each).partition(" ")[0] for each in sections(text)] for text in (ENGLISH, CHINESE)]
    assert levels[0] == levels[1]


def test_code_blocks_are_the_same_but_for_their_comments():
    assert code(CHINESE) == code(ENGLISH)


@pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=[title(english) for english, _ in PAIRS])
def test_a_section_names_the_same_commands_tasks_and_settings(english, chinese):
    wanted, found = Counter(_SPAN.findall(english)), Counter(_SPAN.findall(chinese))
    assert (set(wanted - found), set(found - wanted)) == (set(), set()), "missing here, not there"


@pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=[title(english) for english, _ in PAIRS])
def test_a_section_holds_the_same_figures(english, chinese):
    wanted, found = (Counter(_NUMBER.findall(_SPAN.sub("", text))) for text in (english, chinese))
    assert (wanted - found, found - wanted) == (Counter(), Counter()), "missing here, not there"


@pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=[title(english) for english, _ in PAIRS])
def test_a_sections_tables_have_the_same_rows(english, chinese):
    wanted, found = rows(english), rows(chinese)
    assert [len(row) for row in found] == [len(row) for row in wanted]
    keys = [[_SPAN.findall(row[0]) for row in table] for table in (wanted, found)]
    assert keys[1] == keys[0], "tasks, settings and checks stand in the first column, in the same order"
    if "lab.yaml" in english and "LAB_HOME" in english:
        assert [row[1] for row in found[1:]] == [row[1] if row[1] != "default" else found[0][1] for row in wanted[1:]]


def test_the_chinese_text_is_chinese():
    for section in sections(CHINESE):
        prose = re.sub(r"`[^`\n]*`|[\s\d|#:*_.,()\[\]/<>-]", "", section)
        assert len(re.findall(r"[\u4e00-\u9fff]", prose)) > len(prose) / 10, title(section)
