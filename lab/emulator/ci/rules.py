"""Which jobs a pipeline gets: ``rules``, ``workflow: rules``, ``only`` and ``except``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lab.emulator.ci import durations, expression, patterns
from lab.emulator.ci.config import CiConfig, JobConfig
from lab.emulator.ci.shapes import flat
from lab.emulator.ci.variables import expand_text, expanded, from_yaml, values

_SOURCES = {
    "push": "pushes", "web": "web", "api": "api", "schedule": "schedules", "trigger": "triggers",
    "pipeline": "pipelines", "external": "external", "chat": "chat", "merge_request_event": "merge_requests",
}  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """What rules are judged by."""

    ref: str
    tag: bool
    source: str
    project_path: str
    variables: dict[str, str] = field(repr=False)
    changed: list[str] | None = None
    """Paths changed by the push; None when there is nothing to compare with: then every ``changes`` is true."""
    files: list[str] = field(default_factory=list)
    """Paths of all files of the commit, filled when a rule uses ``exists``."""


@dataclass(frozen=True)
class Decision:
    """How a job takes part; ``rule`` holds the matching rule's attributes."""

    included: bool
    when: str = "on_success"
    rule: dict[str, Any] = field(default_factory=dict)

    @property
    def start_in(self) -> int | None:
        """Seconds of delay asked for by the rule."""
        return durations.seconds(self.rule["start_in"]) if self.rule.get("start_in") else None


def uses(config: CiConfig, key: str) -> bool:
    """Whether any rule needs the changed paths (``changes``) or the list of files (``exists``)."""
    sections: list[Any] = list(config.workflow_rules or [])
    for job in config.jobs:
        sections += [*(job.rules or []), job.only or {}, job.except_ or {}]
    return any(key in section for section in sections)


def workflow(rules: list[dict[str, Any]] | None, facts: Facts) -> tuple[bool, dict[str, Any]]:
    """Whether there is a pipeline at all, and the matching rule's variables."""
    if rules is None:
        return True, {}
    for rule in rules:
        if _rule_matches(rule, facts):
            return rule.get("when") != "never", rule.get("variables") or {}
    return False, {}


def decide(job: JobConfig, facts: Facts) -> Decision:
    """Whether and how ``job`` is in the pipeline; ``facts.variables`` include the job's own."""
    if job.rules is None:
        included = _only(job.only, facts) and not _except(job.except_, facts)
        return Decision(included, job.when)
    for rule in job.rules:
        if _rule_matches(rule, facts):
            when = rule.get("when") or job.when
            return Decision(when != "never", when, rule)
    return Decision(included=False)


def include_wanted(rules: Any, facts: Facts) -> bool:
    """Whether the ``rules`` of an ``include`` ask for it."""
    return rules is None or workflow(flat(rules), facts)[0]


def _rule_matches(rule: dict[str, Any], facts: Facts) -> bool:
    """All conditions of a rule hold."""
    if "if" in rule and not expression.evaluate(str(rule["if"]), facts.variables):
        return False
    if "changes" in rule and not _changes(rule["changes"], facts):
        return False
    return "exists" not in rule or _exists(rule["exists"], facts)


def _changes(changes: Any, facts: Facts) -> bool:
    if facts.changed is None:
        return True
    return patterns.any_match(_globs(changes, facts), facts.changed)


def _exists(exists: Any, facts: Facts) -> bool:
    return patterns.any_match(_globs(exists, facts), facts.files)


def _globs(value: Any, facts: Facts) -> list[str]:
    paths = value.get("paths") if isinstance(value, dict) else value
    known = values(expanded(from_yaml(dict(facts.variables))))
    return [expand_text(str(path), known).lstrip("/") for path in flat(paths)]


def _only(policy: dict[str, Any] | None, facts: Facts) -> bool:
    """All sections of ``only`` must hold."""
    if policy is None:
        return True
    refs = policy.get("refs", ["branches", "tags"] if "refs" not in policy else [])
    return (
        any(_ref(str(ref), facts) for ref in flat(refs))
        and ("variables" not in policy or any(_true(text, facts) for text in flat(policy["variables"])))
        and ("changes" not in policy or _changes(policy["changes"], facts))
    )


def _except(policy: dict[str, Any] | None, facts: Facts) -> bool:
    """One section of ``except`` is enough."""
    if policy is None:
        return False
    return (
        any(_ref(str(ref), facts) for ref in flat(policy.get("refs")))
        or any(_true(text, facts) for text in flat(policy.get("variables")))
        or ("changes" in policy and _changes(policy["changes"], facts))
    )


def _true(text: Any, facts: Facts) -> bool:
    return expression.evaluate(str(text), facts.variables)


def _ref(pattern: str, facts: Facts) -> bool:
    pattern, _, path = pattern.partition("@") if not pattern.startswith("/") else (pattern, "", "")
    if path and path != facts.project_path:
        return False
    if pattern == "branches":
        return not facts.tag
    if pattern == "tags":
        return facts.tag
    return pattern == _SOURCES.get(facts.source) or patterns.ref_matches(pattern, facts.ref)
