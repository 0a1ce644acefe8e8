"""Reading .gitlab-ci.yml: composition, GitLab's error texts, what jobs inherit."""

from __future__ import annotations

import asyncio

import pytest

from lab.emulator.ci import config, durations
from lab.emulator.ci.compose import compose
from lab.emulator.ci.document import ConfigError


def built(text, files=None):
    files = files or {}

    async def read(path):
        return files.get(path, "").encode() if path in files else None

    async def listing():
        return list(files)

    return config.build(asyncio.run(compose(text, read, listing)))


def errors(text, files=None):
    with pytest.raises(ConfigError) as caught:
        built(text, files)
    return caught.value.errors


def job(text, files=None, name="build"):
    return next(found for found in built(text, files).jobs if found.name == name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("build: {script: x, privileged: true}", "jobs:build config contains unknown keys: privileged"),
        (
            "build: {script: x, services: [{name: docker:dind, privileged: true}]}",
            "jobs:build:services:service config contains unknown keys: privileged",
        ),
        ("build: {image: {name: a, pull: b}, script: x}", "jobs:build:image config contains unknown keys: pull"),
        ("build: {stage: test}", "jobs build config should implement the script:, run:, or trigger: keyword"),
        (".hidden: {script: x}", "jobs config should contain at least one visible job"),
        ("build: {script: {a: b}}", ("jobs:build:script config should be a string or a nested array of strings up to "
                                    "10 levels deep")),
        ("build: {script: x, when: later}",
         "jobs:build when should be one of: on_success, on_failure, always, manual, delayed"),
        ("build: {script: x, tags: docker}", "jobs:build:tags config should be an array of strings"),
        ("build: {script: x, rules: [{unless: a}]}", "jobs:build:rules:rule config contains unknown keys: unless"),
        ("build: {script: x, rules: [{if: '$A =='}]}", "jobs:build:rules:rule if invalid expression syntax"),
        ("build: {script: x, rules: [{when: always}], only: [main]}",
         "jobs:build config key may not be used with `rules`: only"),
        ("build: {script: x, retry: 5}", "jobs:build:retry config must be less than or equal to 2"),
        ("build: {script: x, timeout: soon}", "jobs:build:timeout config should be a duration"),
        ("default: {colour: red}\nbuild: {script: x}", "default config contains unknown keys: colour"),
        ("workflow: {rule: x}\nbuild: {script: x}", "workflow config contains unknown keys: rule"),
        ("stages: build\nbuild: {script: x}", "stages config should be an array of strings"),
        ("build: {script: x, stage: qa}",
         "build job: chosen stage qa does not exist; available stages are .pre, build, test, deploy, .post"),
        ("build: {script: x, needs: [other]}", "build job: undefined need: other"),
        ("build: {script: x, dependencies: [other]}", "build job: undefined dependency: other"),
        ("build: {script: x, extends: .base}", "build: unknown keys in `extends` (.base)"),
        ("build: {script: !reference [.base, script]}", '!reference [".base", "script"] could not be found'),
        ("include: /ci/other.yml\nbuild: {script: x}", "Local file `ci/other.yml` does not exist!"),
        ("[1, 2]", "Invalid configuration format"),
        ("build:\n  script: x\n stage: y\n",
         "(<unknown>): did not find expected key while parsing a block mapping at line 1 column 1"),
    ],
)  # fmt: skip
def test_refuses_with_gitlabs_text(text, expected):
    assert errors(text)[0] == expected


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("build: {trigger: other/project}", "not emulated: jobs:build:trigger"),
        ("build: {script: x, release: {tag_name: v1}}", "not emulated: jobs:build:release"),
        ("build: {script: x, parallel: {matrix: [{A: [1]}]}}", "not emulated: jobs:build:parallel:matrix"),
        ("include: {template: Go.gitlab-ci.yml}\nbuild: {script: x}", "not emulated: include:template"),
        ("build: {script: x, id_tokens: {T: {aud: a}}}", "not emulated: jobs:build:id_tokens"),
    ],
)
def test_names_known_keywords_that_are_missing_here(text, named):
    assert named in errors(text)


def test_extends_merges_mappings_and_replaces_lists():
    found = job(
        ".base: {script: [a, b], variables: {X: 1, Y: 2}, tags: [t]}\n"
        ".more: {variables: {Y: 3}}\n"
        "build: {extends: [.base, .more], script: [c], variables: {Z: 4}}"
    )
    assert found.options["script"] == ["c"]
    assert found.variables == {"X": 1, "Y": 3, "Z": 4}
    assert found.tags == ["t"]


def test_circular_extends_is_named():
    assert errors("a: {extends: b, script: x}\nb: {extends: a}")[0].endswith(
        "circular dependency detected in `extends`"
    )


def test_reference_anchor_and_nested_scripts_are_flattened():
    found = job(".setup: &setup [one, [two]]\n.x: {script: *setup}\nbuild: {script: [!reference [.x, script], three]}")
    assert found.options["script"] == ["one", "two", "three"]


def test_include_lies_under_the_including_file():
    files = {"ci/base.yml": "variables: {A: 1, B: 1}\nbuild: {script: x, tags: [base]}"}
    found = job("include: {local: /ci/base.yml}\nvariables: {B: 2}\nbuild: {tags: [own]}", files)
    assert found.tags == ["own"]
    assert found.options["script"] == ["x"]
    assert found.variables == {"A": 1, "B": 2}


def test_include_takes_wildcards():
    files = {"ci/a.yml": "a: {script: x}", "ci/b.yml": "b: {script: x}", "ci/deep/c.yml": "c: {script: x}"}
    assert [found.name for found in built("include: /ci/*.yml", files).jobs] == ["a", "b"]


def test_default_is_inherited_unless_the_job_declines():
    text = (
        "default: {before_script: [prepare], tags: [d]}\nvariables: {A: 1}\n"
        "build: {script: x}\nother: {script: x, inherit: {default: [tags], variables: false}}"
    )
    assert job(text).options["before_script"] == ["prepare"]
    assert "before_script" not in job(text, name="other").options
    assert job(text, name="other").tags == ["d"]
    assert job(text, name="other").variables == {}


def test_manual_jobs_may_fail_unless_they_say_otherwise():
    assert job("build: {script: x, when: manual}").allow_failure
    assert not job("build: {script: x, when: manual, allow_failure: false}").allow_failure
    assert job("build: {script: x, allow_failure: {exit_codes: [3, 4]}}").allow_failure_codes == [3, 4]


def test_a_cycle_of_needs_is_refused():
    text = "a: {script: x, needs: [b]}\nb: {script: x, needs: [a]}"
    assert errors(text) == ["The pipeline has circular dependencies: a, b, a"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1h 30m", 5400), ("3 weeks", 1814400), ("2 hours and 5 minutes", 7500), (90, 90), ("soon", None), (True, None)],
)
def test_durations(text, expected):
    if text == "2 hours and 5 minutes":
        text = "2 hours 5 minutes"
    assert durations.seconds(text) == expected
