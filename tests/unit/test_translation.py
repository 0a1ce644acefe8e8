"""Each document in Chinese says what the English one says: sections, commands, tasks, settings, checks and figures."""

from __future__ import annotations

import importlib
import itertools
import re
import shlex
import sys
from collections import Counter
from pathlib import Path

import pytest
from invoke.parser import Parser

from lab import causes, verify

ROOT = Path(__file__).parents[2]
DOCUMENTS = {name: ((ROOT / name).read_text(), (ROOT / name.replace(".md", ".zh-CN.md")).read_text())
             for name in ("README.md", "docs/from-the-guide.md")}  # fmt: skip
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


PAIRS = [
    pytest.param(*pair, id=title(pair[0]))
    for texts in DOCUMENTS.values()
    for pair in zip(*map(sections, texts), strict=False)
]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_each_leads_to_the_other(name):
    english, chinese = (text.split("\n## ")[0] for text in DOCUMENTS[name])
    file = Path(name).name
    assert f"]({file.replace('.md', '.zh-CN.md')})" in english
    assert f"]({file})" in chinese


@pytest.mark.parametrize("name", DOCUMENTS)
def test_both_have_the_same_sections(name):
    english, chinese = ([title(each).partition(" ")[0] for each in sections(text)] for text in DOCUMENTS[name])
    assert chinese == english


@pytest.mark.parametrize("name", DOCUMENTS)
def test_code_blocks_are_the_same_but_for_their_comments(name):
    english, chinese = DOCUMENTS[name]
    assert code(chinese) == code(english)


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_a_section_names_the_same_commands_tasks_and_settings(english, chinese):
    wanted, found = Counter(_SPAN.findall(english)), Counter(_SPAN.findall(chinese))
    assert (set(wanted - found), set(found - wanted)) == (set(), set()), "missing here, not there"


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_a_section_holds_the_same_figures(english, chinese):
    wanted, found = (Counter(_NUMBER.findall(_SPAN.sub("", text))) for text in (english, chinese))
    assert (wanted - found, found - wanted) == (Counter(), Counter()), "missing here, not there"


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_a_sections_tables_have_the_same_rows(english, chinese):
    wanted, found = rows(english), rows(chinese)
    assert [len(row) for row in found] == [len(row) for row in wanted]
    keys = [[_SPAN.findall(row[0]) for row in table] for table in (wanted, found)]
    assert keys[1] == keys[0], "tasks, settings and checks stand in the first column, in the same order"
    if "LAB_HOME" in english:
        assert [row[1] for row in found[2:]] == [row[1] for row in wanted[2:]], "the settings' defaults"


@pytest.mark.parametrize(("_english", "chinese"), PAIRS)
def test_the_chinese_text_is_chinese(_english, chinese):
    prose = re.sub(r"`[^`\n]*`|[\s\d|#:*_.,()\[\]/<>-]", "", chinese)
    assert len(re.findall(r"[\u4e00-\u9fff]", prose)) > len(prose) / 10


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_inside_a_document_lead_somewhere(name):
    for text in DOCUMENTS[name]:
        headings = {
            re.sub(r"[^\w\- ]", "", title(each).lstrip("# ")).lower().replace(" ", "-") for each in sections(text)
        }
        assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings


def invoked() -> list[str]:
    """Every `invoke TASK ...` of the documents, in the text and in code blocks."""
    text = "".join(itertools.chain(*DOCUMENTS.values()))
    lines = re.findall(r"`(invoke [^`-][^`]*)`", text) + re.findall(r"^(invoke [^#\n]+)", text, re.MULTILINE)
    return sorted({line.strip() for line in lines})


@pytest.mark.parametrize("line", invoked())
def test_every_task_named_there_exists_and_its_line_parses(line, monkeypatch):
    words = shlex.split(line)
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.syspath_prepend(str(ROOT))
    tasks = importlib.import_module("tasks")
    parsed = Parser(contexts=tasks.namespace.to_contexts()).parse_argv(words[1:])
    assert [context.name for context in parsed] == [words[1]]
    assert not any(context.missing_positional_args for context in parsed)
    only = [argument.value for context in parsed for name, argument in context.args.items() if name == "only"]
    assert {each for value in only for each in value or []} <= set(verify.IDS)


def test_every_code_that_the_documents_name_can_be_explained():
    codes = set(re.findall(r"\bLAB-[A-Z0-9]+-[T0-9]+", "".join(itertools.chain(*DOCUMENTS.values()))))
    assert codes
    assert [code for code in sorted(codes) if causes.find(code) is None] == []


def test_the_page_names_what_people_of_the_guide_type():
    typed = [span for row in rows(DOCUMENTS["docs/from-the-guide.md"][0]) for span in _SPAN.findall(row[0])]
    for command in (
        "gitlab-ctl status", "gitlab-ctl reconfigure", "gitlab-rails runner", "gitlab-runner register",
        "docker compose up", "docker login", "argocd login", "argocd app get", "argocd app sync", "argocd app logs",
        "k3d cluster create", "k3d image import", "kubectl set image", "/etc/hosts",
        "kubectl -n argocd get secret argocd-initial-admin-secret",
    ):  # fmt: skip
        assert any(command in span for span in typed), command
