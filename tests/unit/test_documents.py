"""The README names every task and every setting; the licence and the changelog are what they say."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from lab import settings, verify

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SETTINGS = README.split("## Settings")[1].split("\n## ")[0]
GROUPS: dict[str, tuple[str, ...]] = runpy.run_path(str(ROOT / "tasks.py"))["GROUPS"]


@pytest.mark.parametrize("name", sorted({name for group in GROUPS.values() for name in group}))
def test_the_readme_names_every_task(name: str) -> None:
    assert re.search(rf"^\|[^|]*`{name}\b", README, re.MULTILINE)


@pytest.mark.parametrize("name", verify.IDS)
def test_the_readme_names_every_check(name: str) -> None:
    assert f"`{name}`" in README


def test_the_readme_names_every_setting_and_no_other() -> None:
    table = re.findall(r"^\| `([a-z_.]+)` \|", SETTINGS, re.MULTILINE)
    assert table == list(settings.keys())


def test_the_readme_has_the_quick_start_in_two_commands() -> None:
    assert "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/invoke up" in README
    assert ".venv/bin/pip install -e '.[test]' && .venv/bin/pytest" in README


def test_the_defaults_in_the_readme_are_the_real_ones() -> None:
    defaults = settings.load(ROOT / "no-such-file.yaml", {})
    for key, shown in re.findall(r"^\| `([a-z_.]+)` \| ([^|]*)\|", SETTINGS, re.MULTILINE):
        value: object = defaults
        for part in key.split("."):
            value = getattr(value, part)
        expected = "" if value in (None, {}) else f"{value:g}" if isinstance(value, float) else str(value)
        assert shown.strip().strip("`") == expected, key


def test_the_licence_is_the_whole_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_changelog_keeps_its_form() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    sections = set(re.findall(r"^### (.*)$", text, re.MULTILINE))
    assert sections <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert "## [Unreleased]" in text
