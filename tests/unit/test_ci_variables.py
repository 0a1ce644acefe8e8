"""Variables: expansion, precedence, protection, masking rule."""

from __future__ import annotations

import pytest

from lab.emulator.ci.predefined import slug
from lab.emulator.ci.variables import Variable, expand_text, expanded, from_yaml, merged, values
from lab.emulator.ci.variables_api import _validate
from lab.emulator.gitlab.model import ApiError


def test_references_are_followed_unknown_ones_stay():
    found = values(expanded(from_yaml({"A": "$B/x", "B": "${C}", "C": "1", "D": "$NOBODY $$HOME", "E": "%C%"})))
    assert found == {"A": "1/x", "B": "1", "C": "1", "D": "$NOBODY $$HOME", "E": "1"}


def test_raw_and_file_values_are_neither_expanded_nor_copied():
    rows = [Variable("R", "$A", raw=True), Variable("A", "1"), Variable("F", "$A", file=True), Variable("X", "$R $F")]
    assert values(expanded(rows)) == {"R": "$A", "A": "1", "F": "$A", "X": "$R $F"}


def test_a_value_that_refers_to_itself_ends():
    assert values(expanded(from_yaml({"A": "$B", "B": "$A!"})))["A"] == "$A!"
    assert values(expanded(from_yaml({"PATH": "$PATH:/x"})))["PATH"] == "$PATH:/x"


def test_yaml_scalars_become_text():
    assert values(from_yaml({"A": True, "B": 1, "C": None, "D": {"value": "x", "expand": False}})) == {
        "A": "true", "B": "1", "C": "", "D": "x",
    }  # fmt: skip


def test_later_groups_win():
    assert values(merged([Variable("A", "1"), Variable("B", "1")], [Variable("A", "2")])) == {"A": "2", "B": "1"}


def test_outside_of_jobs_unknown_names_become_empty():
    assert expand_text("review/$REF-$NOBODY", {"REF": "a"}) == "review/a-"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Feature/ABC_1", "feature-abc-1"), ("-a-", "a"), ("x" * 80, "x" * 63), ("a" * 62 + "/b", "a" * 62)],
)
def test_slug(text, expected):
    assert slug(text) == expected


def row(**more):
    base = {"key": "KEY", "value": "abcdefgh", "masked": True, "raw": False, "environment_scope": "*"}
    return {**base, **more}


@pytest.mark.parametrize("value", ["abcdefgh", "glpat-abc_DEF=+/@:.~", "12345678"])
def test_maskable_values(value):
    _validate(row(value=value), [])


@pytest.mark.parametrize("value", ["short", "with blank here", "pa$$word1", "new\nline12"])
def test_values_that_cannot_be_masked(value):
    with pytest.raises(ApiError) as caught:
        _validate(row(value=value), [])
    assert caught.value.body == {"message": {"value": ["is invalid"]}}
    _validate(row(value=value, masked=False), [])


def test_raw_values_may_hold_special_characters_but_no_blanks():
    _validate(row(value="pa$$word1", raw=True), [])
    with pytest.raises(ApiError):
        _validate(row(value="pa $word1", raw=True), [])


def test_a_key_is_taken_once_for_each_scope():
    with pytest.raises(ApiError) as caught:
        _validate(row(), [row()])
    assert caught.value.body == {"message": {"key": ["(KEY) has already been taken"]}}
    _validate(row(environment_scope="production"), [row()])
