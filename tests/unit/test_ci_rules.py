"""Expressions, globs, rules, only and except."""

from __future__ import annotations

import pytest

from lab.emulator.ci import expression, patterns, rules
from lab.emulator.ci.config import JobConfig

VARIABLES = {"CI_COMMIT_BRANCH": "master", "EMPTY": "", "PATTERN": "/^MAS/i", "TEXT": "a.b"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('$CI_COMMIT_BRANCH == "master"', True),
        ("$CI_COMMIT_BRANCH != 'master'", False),
        ("$CI_COMMIT_BRANCH", True),
        ("$EMPTY", False),
        ("$MISSING == null", True),
        ('$EMPTY == ""', True),
        ("$MISSING =~ /x/", False),
        ("$MISSING !~ /x/", True),
        ("$CI_COMMIT_BRANCH =~ /^mas/", True),
        ("$CI_COMMIT_BRANCH =~ /MASTER/i", True),
        ("$CI_COMMIT_BRANCH =~ $PATTERN", True),
        ("$MISSING && $EMPTY || $CI_COMMIT_BRANCH", True),
        ("$CI_COMMIT_BRANCH && ($MISSING || $EMPTY)", False),
        (r"'a/b' =~ /a\/b/", True),
    ],
)
def test_expressions(text, expected):
    assert expression.evaluate(text, VARIABLES) is expected


@pytest.mark.parametrize("text", ["", "$A ==", "== $A", "$A = 'x'", "($A", "$A $B", "'open"])
def test_wrong_expressions_are_refused(text):
    with pytest.raises(expression.ExpressionError):
        expression.parse(text)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("src/*.py", "src/a.py", True),
        ("src/*.py", "src/deep/a.py", False),
        ("src/**/*.py", "src/deep/er/a.py", True),
        ("src/**/*.py", "src/a.py", True),
        ("**/*.md", "README.md", True),
        ("*.{js,css}", "a.css", True),
        ("Dockerfile", "sub/Dockerfile", False),
        ("k8s/**/*", "k8s/app.yaml", True),
        ("[ab].txt", "b.txt", True),
        ("[!ab].txt", "b.txt", False),
    ],
)
def test_globs(pattern, path, expected):
    assert patterns.any_match([pattern], [path]) is expected


def job(**more):
    return JobConfig(
        name="j", stage="test", options={}, variables={}, tags=[], rules=more.pop("rules", None),
        only=more.pop("only", None), except_=more.pop("except_", None), **more,
    )  # fmt: skip


def facts(**more):
    base = {"ref": "master", "tag": False, "source": "push", "project_path": "root/app", "variables": VARIABLES}
    return rules.Facts(**{**base, **more})


def test_the_first_matching_rule_decides():
    found = job(rules=[{"if": "$MISSING", "when": "never"}, {"if": "$CI_COMMIT_BRANCH", "when": "manual"}, {}])
    assert rules.decide(found, facts()).when == "manual"
    assert not rules.decide(job(rules=[{"if": "$MISSING"}]), facts()).included
    assert not rules.decide(job(rules=[{"when": "never"}]), facts()).included
    assert not rules.decide(job(rules=[]), facts()).included


def test_changes_compare_paths_and_are_true_without_anything_to_compare():
    found = job(rules=[{"changes": ["docs/**/*"]}])
    assert rules.decide(found, facts(changed=["docs/a.md"])).included
    assert not rules.decide(found, facts(changed=["src/a.py"])).included
    assert rules.decide(found, facts(changed=None)).included
    assert rules.decide(job(rules=[{"changes": {"paths": ["$TEXT"]}}]), facts(changed=["a.b"])).included


def test_exists_looks_at_the_commits_files():
    found = job(rules=[{"exists": ["**/Dockerfile"]}])
    assert rules.decide(found, facts(files=["x/Dockerfile"])).included
    assert not rules.decide(found, facts(files=["x/Containerfile"])).included


def test_workflow_rules_give_variables_or_no_pipeline():
    found = [{"if": "$CI_COMMIT_BRANCH == 'k8s-config'", "when": "never"}, {"variables": {"A": "1"}}]
    assert rules.workflow(found, facts()) == (True, {"A": "1"})
    assert rules.workflow(found, facts(variables={"CI_COMMIT_BRANCH": "k8s-config"}))[0] is False
    assert rules.workflow([], facts())[0] is False
    assert rules.workflow(None, facts())[0] is True


@pytest.mark.parametrize(
    ("only", "given", "expected"),
    [
        ({"refs": ["master"]}, {}, True),
        ({"refs": ["main"]}, {}, False),
        ({"refs": ["/^mas/"]}, {}, True),
        ({"refs": ["branches"]}, {"tag": True}, False),
        ({"refs": ["tags"]}, {"tag": True, "ref": "v1"}, True),
        ({"refs": ["web"]}, {"source": "web"}, True),
        ({"refs": ["schedules"]}, {}, False),
        ({"refs": ["master@root/app"]}, {}, True),
        ({"refs": ["master@other/app"]}, {}, False),
        ({"variables": ["$EMPTY", "$CI_COMMIT_BRANCH"]}, {}, True),
        ({"refs": ["master"], "changes": ["a/*"]}, {"changed": ["b/x"]}, False),
    ],
)
def test_only(only, given, expected):
    assert rules.decide(job(only=only), facts(**given)).included is expected


def test_except_wins_over_only():
    both = job(only={"refs": ["branches"]}, except_={"refs": ["master"]})
    assert not rules.decide(both, facts()).included
    assert rules.decide(both, facts(ref="other")).included
