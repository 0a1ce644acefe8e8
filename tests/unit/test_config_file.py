import json
import re
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from lab import forms, settings
from lab.config import edit, facts, origins, scalars, schema, template
from lab.engines.docker import images
from lab.errors import UsageError

SAMPLES = [
    "",
    "# nothing\n",
    "ports:\nproject:\n",
    "engine: embedded\nparallel: 2\n",
    "engine: null\nports: {app: null}\n",
    "project: {path: a/b/c, source: ../x, image: null, variables: {A: b}}\n",
    "timeouts: {start: 0.5, smoke: 7}\n",
    "emulator: {profile: upstream}\n",
    "name: x\ndomain: dev.example.com\nmirrors: {docker.io: 'http://m:5000/p', 'a:1': m}\n",
    "project: {namespace: team-a, health: /a/b}\n",
]
WRONG = [
    "engine: podman\n",
    "parallel: 0\n",
    "parallel: 1.5\n",
    "parallel: true\n",
    "parallel: two\n",
    "ports: 3\n",
    "ports: {app: 70000}\n",
    "ports: {web: 1}\n",
    "port: {app: 1}\n",
    "project: {path: hichat}\n",
    "project: {path: /hichat/}\n",
    "project: {branch: 3}\n",
    "project: {variables: {A: 1}}\n",
    "project: {variables: [A]}\n",
    "timeouts: {sync: 0}\n",
    "timeouts: {sync: long}\n",
    "emulator: {profile: slow}\n",
    "- a\n",
    "name: My Lab\n",
    "domain: x.localhost\n",
    "domain: a..b\n",
    "project: {namespace: A}\n",
    "project: {deployment: a.b}\n",
    "project: {health: live}\n",
    "mirrors: {hub: m.example.com}\n",
    "mirrors: {docker.io: 'a b'}\n",
]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "lab.yaml"


def put(file: Path, before: str, key: str, word: str) -> str:
    file.write_bytes(before.encode())
    edit.put(file, key, word, {})
    return file.read_bytes().decode()


# facts


def test_every_setting_and_group_has_a_sentence():
    known = [setting.key for group in facts.groups() for setting in group.settings]
    assert sorted(known) == sorted(settings.keys())
    for group in facts.groups():
        assert group.about.endswith(".")
        for setting in group.settings:
            assert re.fullmatch(r".{10,}\.", setting.about), setting.key


# init


def test_the_new_file_changes_nothing(file):
    template.init(file)
    assert settings.load(file, {}) == settings.Settings()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("key", list(settings.keys()))
def test_each_default_in_the_new_file_is_the_real_one_when_its_mark_is_taken_away(file, key):
    group, _, name = key.rpartition(".")
    pattern = re.compile(rf"^({'  ' if group else ''})# ({name}:.*)$", re.MULTILINE)
    head, mark, tail = template.text().partition(f"\n{group}:\n") if group else ("", "", template.text())
    live, count = pattern.subn(r"\1\2", tail, count=1)
    assert count == 1
    file.write_text(head + mark + live)
    assert settings.load(file, {}) == settings.Settings()
    assert [value.key for value in origins.values(file, {}) if value.origin != "default"] == (
        [] if facts.find(key).default is None else [key]
    )


def test_the_block_for_china_can_be_used_as_it_stands(file):
    lines = [line[5:] for line in template.text().splitlines() if line.startswith("#    ")]
    found = settings.parse("\n".join(lines), file, {})
    assert set(found.mirrors) == {"docker.io", "ghcr.io", "quay.io"}
    assert len(images.selected(found, "host", "node")) > len(found.images) == 2


def test_each_setting_stands_below_its_sentence():
    text = template.text()
    for group in facts.groups():
        for setting in group.settings:
            assert re.search(rf"# {re.escape(setting.about)}.*\n *# {setting.name}:", text), setting.key
    assert (
        "# Where the lab runs; `auto` decides once and remembers. One of: auto, docker, embedded.\n# engine: auto"
        in text
    )
    assert max(map(len, text.splitlines())) <= 120


def test_a_file_that_is_there_is_kept_unless_forced(file):
    file.write_text("engine: embedded\n")
    with pytest.raises(UsageError, match="exists already"):
        template.init(file)
    assert file.read_text() == "engine: embedded\n"
    template.init(file, force=True)
    assert file.read_text() == template.text()


# show


def test_each_value_is_shown_with_its_origin(file):
    file.write_text("# c\nports:\n  app: 9000\n  gitlab: 9001\n\nproject: {branch: trunk,\n  health: }\n")
    found = {value.key: value for value in origins.values(file, {"LAB_PORTS_GITLAB": "9002", "LAB_OTHER": "x"})}
    assert list(found) == list(settings.keys())
    assert (found["ports.app"].value, found["ports.app"].origin) == (9000, "lab.yaml line 3")
    assert (found["ports.gitlab"].value, found["ports.gitlab"].origin) == (
        9002,
        "environment variable LAB_PORTS_GITLAB",
    )
    assert found["project.branch"].origin == "lab.yaml line 6"
    assert found["project.health"].origin == "default"
    assert (found["parallel"].value, found["parallel"].origin) == (8, "default")


def test_what_a_merge_brings_is_shown_where_it_stands(file):
    file.write_text("timeouts: &t\n  sync: 5\n  smoke: 6\nemulator: {}\n")
    assert {value.key: value.origin for value in origins.values(file, {})}["timeouts.sync"] == "lab.yaml line 2"
    file.write_text("timeouts:\n  <<: {sync: 5}\n  smoke: 6\n")
    found = {value.key: (value.value, value.origin) for value in origins.values(file, {})}
    assert found["timeouts.sync"] == (5.0, "lab.yaml line 2")


def test_of_a_key_given_twice_the_last_counts(file):
    file.write_text("parallel: 2\nparallel: 3\n")
    value = next(value for value in origins.values(file, {}) if value.key == "parallel")
    assert (value.value, value.origin) == (3, "lab.yaml line 2")


def test_without_a_file_everything_is_default(file):
    assert {value.origin for value in origins.values(file, {})} == {"default"}


def test_values_are_shown_for_people_and_those_of_variables_masked():
    assert scalars.shown({"DOCKERHUB_PASSWORD": "s3cret", "B": "x"}) == "DOCKERHUB_PASSWORD=[masked], B=[masked]"
    assert [scalars.shown(value) for value in (None, 60.0, 8, "a", Path("/x"))] == ["", "60", "8", "a", "/x"]


# schema


def accepts(part: Mapping, value: object) -> bool:
    """The part of JSON Schema that the document uses; an unknown word is an error, so that nothing goes unchecked."""
    types = {"string": str, "boolean": bool, "integer": int, "number": (int, float), "object": dict, "null": type(None)}
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    checks = {
        "type": lambda names: any(
            isinstance(value, types[name]) and not (isinstance(value, bool) and name in ("integer", "number"))
            for name in names if isinstance(names, list)
        ) or (isinstance(names, str) and isinstance(value, types[names])),
        "enum": lambda values: value in values,
        "minimum": lambda least: not number or value >= least,
        "exclusiveMinimum": lambda least: not number or value > least,
        "maximum": lambda most: not number or value <= most,
        "pattern": lambda pattern: not isinstance(value, str) or re.search(pattern, value) is not None,
        "properties": lambda parts: not isinstance(value, dict)
        or all(accepts(parts[key], below) for key, below in value.items() if key in parts),
        "propertyNames": lambda rest: not isinstance(value, dict) or all(accepts(rest, key) for key in value),
        "additionalProperties": lambda rest: not isinstance(value, dict)
        or all(rest and accepts(rest, value[key]) for key in value if key not in part.get("properties", {})),
    }  # fmt: skip
    told = {"$schema", "title", "description", "default"}
    return all(checks[word](given) for word, given in part.items() if word not in told)


@pytest.mark.parametrize("text", [*SAMPLES, *WRONG, template.text()])
def test_the_schema_accepts_what_the_lab_accepts(file, text):
    try:
        settings.parse(text, file, {})
        valid = True
    except UsageError:
        valid = False
    assert accepts(schema.schema(), yaml.safe_load(text)) is valid
    assert valid is (text not in WRONG)


def test_the_schema_describes_every_key():
    document = json.loads(json.dumps(schema.schema()))
    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for key in list(settings.keys()):
        part = document
        for name in key.split("."):
            assert part["additionalProperties"] is False
            part = part["properties"][name]
        assert part["description"]
        assert accepts(part, part["default"]), key
    assert document["properties"]["engine"]["enum"] == ["auto", "docker", "embedded", None]
    assert document["properties"]["ports"]["properties"]["app"]["maximum"] == 65535


# set


@pytest.mark.parametrize(
    ("before", "key", "word", "after"),
    [
        ("", "parallel", "4", "parallel: 4\n"),
        ("", "ports.app", "9000", "ports:\n  app: 9000\n"),
        ("# note\n", "ports.app", "9000", "# note\nports:\n  app: 9000\n"),
        ("engine: auto", "ports.app", "9000", "engine: auto\nports:\n  app: 9000"),
        ("engine: auto # why\nparallel: 2\n", "engine", "embedded", "engine: embedded # why\nparallel: 2\n"),
        ("ports:\n  app: 1 # a\n\n  gitlab: 2\n", "ports.app", "9", "ports:\n  app: 9 # a\n\n  gitlab: 2\n"),
        ("ports:\n    app: 1\n# end\n", "ports.gitlab", "9", "ports:\n    app: 1\n    gitlab: 9\n# end\n"),
        ("ports:\n  app: 1\nengine: auto\n", "ports.gitlab", "9", "ports:\n  app: 1\n  gitlab: 9\nengine: auto\n"),
        ("ports:\n  app:   # later\n", "ports.app", "9", "ports:\n  app: 9   # later\n"),
        ("ports: # none\nengine: auto\n", "ports.app", "9", "ports: # none\n  app: 9\nengine: auto\n"),
        ("ports: null # x\n", "ports.app", "9", "ports: {app: 9} # x\n"),
        ("ports: {}\n", "ports.app", "9", "ports: {app: 9}\n"),
        ("ports: {app: 1, gitlab: 2}\n", "ports.app", "9", "ports: {app: 9, gitlab: 2}\n"),
        ("ports: {app: 1} # x\n", "ports.gitlab", "9", "ports: {app: 1, gitlab: 9} # x\n"),
        ("{engine: auto}\n", "ports.gitlab", "9", "{engine: auto, ports: {gitlab: 9}}\n"),
        ("engine: 'auto'\r\nports:\r\n  app: 1\r\n", "ports.gitlab", "9",
         "engine: 'auto'\r\nports:\r\n  app: 1\r\n  gitlab: 9\r\n"),
        ("\ufeffengine: auto\n", "engine", "embedded", "\ufeffengine: embedded\n"),
        ("\ufeff", "engine", "embedded", "\ufeffengine: embedded\n"),
        ("---\nparallel: 2\n", "engine", "embedded", "---\nparallel: 2\nengine: embedded\n"),
        ("parallel: 2\nparallel: 3\n", "parallel", "4", "parallel: 2\nparallel: 4\n"),
        ('project: {branch: "a"}\n', "project.branch", "b, c", "project: {branch: 'b, c'}\n"),
        ("project:\n  variables:\n    A: b\n    C: d\n", "project.branch", "x",
         "project:\n  variables:\n    A: b\n    C: d\n  branch: x\n"),
        ("project:\n  branch: x\n", "project.branch", "2026", "project:\n  branch: '2026'\n"),
        ("project:\n  branch: x\n", "project.image_file", "#a: b", "project:\n  branch: x\n  image_file: '#a: b'\n"),
        ("project:\n  image: a/b\n", "project.image", "", "project:\n  image: null\n"),
        ("ports: {app: abc} # was wrong\n", "ports.app", "9", "ports: {app: 9} # was wrong\n"),
        ("timeouts: {sync: 1}\n", "timeouts.sync", "0.5", "timeouts: {sync: 0.5}\n"),
        ("project: {source: x}\n", "project.source", "/my path", "project: {source: /my path}\n"),
        ("ports:\n  # the port\n  # app: 8088\n  gitlab: 1\n", "ports.app", "9",
         "ports:\n  # the port\n  # app: 8088\n  app: 9\n  gitlab: 1\n"),
        ("project:\n  variables:\n    A: |\n      # branch: no\n", "project.branch", "x",
         "project:\n  variables:\n    A: |\n      # branch: no\n  branch: x\n"),
        ("project:\n  variables:\n    A: |\n      text\nengine: auto\n", "project.branch", "x",
         "project:\n  variables:\n    A: |\n      text\n  branch: x\nengine: auto\n"),
        ("engine: auto\n...\n", "parallel", "4", "engine: auto\nparallel: 4\n...\n"),
    ],
)  # fmt: skip
def test_one_value_changes_and_everything_else_stays(file, before, key, word, after):
    assert put(file, before, key, word) == after


@pytest.mark.parametrize("key", [key for key in list(settings.keys()) if facts.find(key).kind is not Mapping])
def test_every_setting_can_be_set_in_the_new_file_below_its_commented_default(file, key):
    template.init(file)
    before, setting = template.text().splitlines(), facts.find(key)
    word = {int: "17", bool: "true", float: "17.5", str: "some/text", Path: "/some/where"}[setting.kind]
    word = {"domain": "x.test", "project.health": "/some"}.get(key, word)
    word = "some" if key in forms.FORMS and not forms.FORMS[key].fits(word) else word
    word = setting.choices[-1] if setting.choices else word
    edit.put(file, key, word, {})
    after = file.read_text().splitlines()
    added = [line for line in after if line not in before]
    assert len(after) == len(before) + 1
    assert [line.strip() for line in added] == [f"{setting.name}: {word}"]
    assert after[after.index(added[0]) - 1].strip().startswith(f"# {setting.name}:")
    assert {value.key: value for value in origins.values(file, {})}[key].origin.startswith("lab.yaml line")


def test_the_second_time_changes_the_same_line(file):
    template.init(file)
    edit.put(file, "ports.app", "9000", {})
    once = file.read_text()
    edit.put(file, "ports.app", "9001", {})
    assert file.read_text() == once.replace("  app: 9000\n", "  app: 9001\n")


@pytest.mark.parametrize(
    ("before", "key", "word", "problem"),
    [
        ("engine: auto\n", "ports.app", "abc", "ports.app must be a whole number"),
        ("engine: auto\n", "ports.app", "[1", "ports.app must be a whole number"),
        ("engine: auto\n", "ports.app", "5050", "are both 5050"),
        ("engine: auto\n", "project.path", "hichat", "must be a group and a name"),
        ("engine: auto\n", "engine", "podman", "engine must be one of"),
        ("engine: auto\n", "ports.ap", "1", "unknown key ports.ap"),
        ("engine: auto\n", "ports", "1", "ports is a group"),
        ("engine: auto\n", "project.variables", "{A: b}", "may hold passwords"),
        ("engine: auto\n", "project.variables.TOKEN", "s3cret", "may hold passwords"),
        ("engine: auto\n", "project.branch", "a\nb", "one line of visible characters"),
        ("nonsense: 1\n", "parallel", "4", "unknown key nonsense"),
        ("ports: 3\n", "ports.app", "4", "ports must be a group of keys"),
        ("a: [\n", "parallel", "4", "not valid YAML"),
        ("project: {branch: &x a, config_branch: *x}\n", "project.branch", "b", "without touching more"),
        ("project: {branch: &x a, config_branch: *x}\n", "project.config_branch", "b", "without touching more"),
        ("project:\n  branch: |-\n    a\n", "project.branch", "b", "without touching more"),
        ("project:\n  branch: a\n    b\n", "project.branch", "b", "without touching more"),
        ("project: !!map {branch: !!str a}\n", "project.branch", "b", "without touching more"),
        ("ports: &p {app: 1}\nengine: auto\n...\n", "timeouts.sync", "4", "without touching more"),
    ],
)
def test_what_is_not_valid_or_not_safe_leaves_the_file_as_it_is(file, before, key, word, problem):
    with pytest.raises(UsageError, match=re.escape(problem)) as caught:
        put(file, before, key, word)
    assert file.read_text() == before
    assert "s3cret" not in str(caught.value)
    assert [path.name for path in file.parent.iterdir()] == ["lab.yaml"]


def test_a_file_that_is_no_text_is_refused(file):
    file.write_bytes(b"engine: \xff")
    with pytest.raises(UsageError, match="not UTF-8"):
        edit.put(file, "parallel", "4", {})


def test_the_files_mode_stays_and_a_new_file_is_for_its_owner(file):
    edit.put(file, "parallel", "4", {})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o644)
    edit.put(file, "parallel", "5", {})
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


def test_a_variable_that_beats_the_file_is_mentioned(file):
    assert "LAB_PARALLEL is set" in edit.put(file, "parallel", "4", {"LAB_PARALLEL": "2"})
    assert edit.put(file, "parallel", "5", {}) == "parallel: 5   (lab.yaml)"
