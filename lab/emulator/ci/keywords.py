"""Which keywords ``.gitlab-ci.yml`` may hold, with GitLab's error texts.

Sources: GitLab lib/gitlab/ci/config/entry/*.rb, lib/gitlab/config/entry/validators.rb. A keyword that GitLab knows and
that is missing here is an error too, ``not emulated: ...``: it never does nothing in silence.
"""

from __future__ import annotations

from typing import Any

from lab.emulator.ci import durations, expression
from lab.emulator.ci.shapes import Errors, check_shared, flat, is_commands, is_strings

ROOT = ("default", "include", "before_script", "image", "services", "after_script", "variables", "stages", "cache",
        "workflow", "spec")  # fmt: skip
DEFAULT = ("before_script", "image", "services", "after_script", "interruptible", "timeout", "retry", "tags",
           "artifacts", "cache", "hooks", "id_tokens", "identity")  # fmt: skip
JOB = (
    "tags", "script", "image", "services", "start_in", "artifacts", "cache", "dependencies", "before_script",
    "after_script", "hooks", "coverage", "retry", "parallel", "timeout", "release", "id_tokens", "publish", "pages",
    "manual_confirmation", "run", "secrets", "dast_configuration", "identity", "inputs", "extends", "stage", "only",
    "except", "rules", "variables", "inherit", "allow_failure", "when", "needs", "resource_group", "environment",
    "interruptible",
)  # fmt: skip
RULE = ("if", "changes", "exists", "when", "start_in", "allow_failure", "variables", "needs", "auto_cancel",
        "interruptible")  # fmt: skip
WHEN = ("on_success", "on_failure", "always", "manual", "delayed")
RULE_WHEN = ("on_success", "on_failure", "always", "never", "manual", "delayed")

_MISSING_IN_DEFAULT = ("hooks", "id_tokens", "identity")
_MISSING_IN_JOB = ("trigger", "release", "id_tokens", "secrets", "run", "pages", "publish", "dast_configuration",
                   "identity", "inputs", "hooks")  # fmt: skip


def check(config: dict[str, Any]) -> list[str]:
    """All errors of a composed configuration, in the order in which GitLab prints them."""
    errors = Errors()
    jobs = {name: value for name, value in config.items() if name not in ROOT}
    _check_root(config, errors)
    for name, job in jobs.items():
        if not _is_job(name, job):
            errors.add(f"jobs {name}", "config should implement the script:, run:, or trigger: keyword")
    if not any(not name.startswith(".") for name in jobs):
        errors.add("jobs", "config should contain at least one visible job")
    for name, job in jobs.items():
        if not name.startswith(".") and _is_job(name, job):
            _check_job(name, job, errors)
    return errors.texts


def _is_job(name: str, job: Any) -> bool:
    if name.startswith("."):
        return True
    return isinstance(job, dict) and any(key in job for key in ("script", "run", "trigger"))


def _check_root(config: dict[str, Any], errors: Errors) -> None:
    if "spec" in config:
        errors.missing("spec")
    default = config.get("default")
    if default is not None and not errors.unknown_keys("default", default, DEFAULT):
        errors.add("default", "config should be a hash")
    for key in _MISSING_IN_DEFAULT:
        if isinstance(default, dict) and default.get(key) is not None:
            errors.missing(f"default:{key}")
    for place, section in (("", config), ("default:", default)):
        if isinstance(section, dict):
            check_shared(place, section, errors)
    _check_variables("variables", config.get("variables"), errors)
    if "stages" in config and not is_strings(config["stages"]):
        errors.add("stages", "config should be an array of strings")
    if "workflow" in config:
        _check_workflow(config["workflow"], errors)


def _check_workflow(workflow: Any, errors: Errors) -> None:
    if not errors.unknown_keys("workflow", workflow, ("rules", "name", "auto_cancel")):
        errors.add("workflow", "config should be a hash")
        return
    _check_rules("workflow:rules", workflow.get("rules"), errors, ("always", "never"))
    cancel = workflow.get("auto_cancel")
    if errors.unknown_keys("workflow:auto_cancel", cancel, ("on_new_commit", "on_job_failure")):
        if "on_job_failure" in cancel:
            errors.missing("workflow:auto_cancel:on_job_failure")
        if cancel.get("on_new_commit", "none") not in ("conservative", "interruptible", "none"):
            errors.add("workflow:auto_cancel", "on new commit must be one of: conservative, interruptible, none")


def _check_job(name: str, job: dict[str, Any], errors: Errors) -> None:
    place = f"jobs:{name}"
    errors.unknown_keys(place, job, (*JOB, "trigger"))
    for key in _MISSING_IN_JOB:
        if job.get(key) is not None:
            errors.missing(f"{place}:{key}")
    if "rules" in job:
        if clash := [key for key in ("only", "except", "start_in") if job.get(key) is not None]:
            errors.add(place, f"config key may not be used with `rules`: {', '.join(clash)}")
        _check_rules(f"{place}:rules", job["rules"], errors, RULE_WHEN)
    if job.get("when") is not None and job["when"] not in WHEN:
        errors.add(place, f"when should be one of: {', '.join(WHEN)}")
    if job.get("allow_failure") is not None and not isinstance(job["allow_failure"], (bool, dict)):
        errors.add(place, "allow failure should be a hash or a boolean value")
    if job.get("dependencies") is not None and not is_strings(job["dependencies"]):
        errors.add(place, "dependencies should be an array of strings")
    if job.get("resource_group") is not None and not isinstance(job["resource_group"], str):
        errors.add(place, "resource group should be a string")
    if job.get("when") == "delayed" and durations.seconds(job.get("start_in", "")) is None:
        errors.add(place, "start in should be a duration")
    if not is_commands(job.get("script", []), 10):
        errors.add(f"{place}:script", "config should be a string or a nested array of strings up to 10 levels deep")
    if "stage" in job and not isinstance(job["stage"], str):
        errors.add(f"{place}:stage", "config should be a string")
    _check_variables(f"{place}:variables", job.get("variables"), errors)
    check_shared(f"{place}:", job, errors)
    _check_only(place, job, errors)
    _check_parallel(place, job.get("parallel"), errors)
    _check_environment(place, job.get("environment"), errors)
    _check_needs(place, job.get("needs"), errors)


def _check_rules(place: str, rules: Any, errors: Errors, when: tuple[str, ...]) -> None:
    if rules is None:
        return
    if not isinstance(rules, list) or not all(isinstance(rule, (dict, list)) for rule in rules):
        errors.add(place, "config should be an array containing hashes and arrays of hashes")
        return
    for rule in flat(rules):
        errors.unknown_keys(f"{place}:rule", rule, RULE)
        if rule.get("when") is not None and rule["when"] not in when:
            errors.add(f"{place}:rule", f"when unknown value: {rule['when']}")
        if "if" in rule and not _is_expression(rule["if"]):
            errors.add(f"{place}:rule", "if invalid expression syntax")
        if "auto_cancel" in rule:
            errors.missing(f"{place}:rule:auto_cancel")
        changes, exists = rule.get("changes"), rule.get("exists")
        if isinstance(changes, dict) and "compare_to" in changes:
            errors.missing(f"{place}:rule:changes:compare_to")
        if isinstance(exists, dict) and "project" in exists:
            errors.missing(f"{place}:rule:exists:project")


def _check_variables(place: str, variables: Any, errors: Errors) -> None:
    if variables is None:
        return
    if not isinstance(variables, dict):
        errors.add(place, "config should be a hash of key value pairs")
        return
    for key, value in variables.items():
        if isinstance(value, list):
            errors.add(f"{place}:{key}", "config must be either a string or a hash")
        elif isinstance(value, dict) and (bad := set(value) - {"value", "description", "options", "expand"}):
            errors.add(f"{place}:{key}", f"config uses invalid data keys: {', '.join(sorted(bad))}")


def _check_only(place: str, job: dict[str, Any], errors: Errors) -> None:
    for key in ("only", "except"):
        policy = job.get(key)
        if isinstance(policy, dict):
            errors.unknown_keys(f"{place}:{key}", policy, ("refs", "kubernetes", "variables", "changes"))
            if "kubernetes" in policy:
                errors.missing(f"{place}:{key}:kubernetes")
        elif policy is not None and not is_strings([policy] if isinstance(policy, str) else policy):
            errors.add(f"{place}:{key}", "config should be an array of strings or regular expressions using re2 syntax")


def _check_parallel(place: str, parallel: Any, errors: Errors) -> None:
    if isinstance(parallel, dict):
        errors.missing(f"{place}:parallel:matrix")
    elif parallel is not None and (isinstance(parallel, bool) or not isinstance(parallel, int)):
        errors.add(f"{place}:parallel", "config should be an integer or a hash")
    elif isinstance(parallel, int) and not 1 <= parallel <= 200:
        errors.add(f"{place}:parallel", "config must be greater than or equal to 1" if parallel < 1 else
                   "config must be less than or equal to 200")  # fmt: skip


def _check_environment(place: str, environment: Any, errors: Errors) -> None:
    if isinstance(environment, dict):
        allowed = ("name", "url", "action", "on_stop", "auto_stop_in", "kubernetes", "deployment_tier")
        errors.unknown_keys(f"{place}:environment", environment, allowed)
        for key in ("action", "on_stop", "auto_stop_in", "kubernetes"):
            if key in environment:
                errors.missing(f"{place}:environment:{key}")


def _check_needs(place: str, needs: Any, errors: Errors) -> None:
    if needs is None:
        return
    if not isinstance(needs, list):
        errors.add(f"{place}:needs", "config can only be a hash or an array")
        return
    for need in needs:
        if isinstance(need, dict):
            for key in ("pipeline", "project", "ref", "parallel"):
                if key in need:
                    errors.missing(f"{place}:needs:{key}")


def _is_expression(value: Any) -> bool:
    try:
        expression.parse(str(value))
    except expression.ExpressionError:
        return False
    return True
