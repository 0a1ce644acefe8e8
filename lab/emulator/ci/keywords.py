"""Which keywords ``.gitlab-ci.yml`` may hold, with GitLab's error texts.

Sources: GitLab lib/gitlab/ci/config/entry/*.rb, lib/gitlab/config/entry/validators.rb. A keyword that GitLab knows and
that is missing here is an error too, ``not emulated: ...``: it never does nothing in silence.
"""

from __future__ import annotations

from typing import Any

from lab.emulator.ci import durations, expression

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
IMAGE = ("name", "entrypoint", "docker", "kubernetes", "ports", "pull_policy")
SERVICE = (*IMAGE, "command", "alias", "variables")
ARTIFACTS = ("name", "untracked", "paths", "reports", "when", "expire_in", "expose_as", "exclude", "public", "access")
RULE = ("if", "changes", "exists", "when", "start_in", "allow_failure", "variables", "needs", "auto_cancel",
        "interruptible")  # fmt: skip
WHEN = ("on_success", "on_failure", "always", "manual", "delayed")
RULE_WHEN = ("on_success", "on_failure", "always", "never", "manual", "delayed")
RETRY_WHEN = (
    "always", "unknown_failure", "script_failure", "api_failure", "stuck_or_timeout_failure", "runner_system_failure",
    "runner_unsupported", "stale_schedule", "job_execution_timeout", "archived_failure", "unmet_prerequisites",
    "scheduler_failure", "data_integrity_failure", "stuck_pending",
)  # fmt: skip

_MISSING_IN_JOB = ("trigger", "release", "id_tokens", "secrets", "run", "publish", "dast_configuration", "identity",
                   "inputs", "hooks")  # fmt: skip
_MISSING_REPORTS_EXCEPT = ("dotenv",)


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


class Errors:
    """Collects texts of the form ``place message``."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def add(self, place: str, message: str) -> None:
        """Note an error."""
        self.texts.append(f"{place} {message}")

    def missing(self, keyword: str) -> None:
        """Note a keyword that GitLab knows and that is not emulated."""
        self.texts.append(f"not emulated: {keyword}")

    def unknown_keys(self, place: str, value: Any, allowed: tuple[str, ...]) -> bool:
        """Note keys that are not allowed; returns whether ``value`` is a mapping at all."""
        if not isinstance(value, dict):
            return False
        if unknown := [str(key) for key in value if key not in allowed]:
            self.add(place, f"config contains unknown keys: {', '.join(unknown)}")
        return True


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
    for place, section in (("", config), ("default:", default)):
        if isinstance(section, dict):
            _check_shared(place, section, errors)
    _check_variables("variables", config.get("variables"), errors)
    if "stages" in config and not _strings(config["stages"]):
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
    if job.get("dependencies") is not None and not _strings(job["dependencies"]):
        errors.add(place, "dependencies should be an array of strings")
    if job.get("resource_group") is not None and not isinstance(job["resource_group"], str):
        errors.add(place, "resource group should be a string")
    if job.get("when") == "delayed" and durations.seconds(job.get("start_in", "")) is None:
        errors.add(place, "start in should be a duration")
    if not _commands(job.get("script", []), 10):
        errors.add(f"{place}:script", "config should be a string or a nested array of strings up to 10 levels deep")
    if "stage" in job and not isinstance(job["stage"], str):
        errors.add(f"{place}:stage", "config should be a string")
    _check_variables(f"{place}:variables", job.get("variables"), errors)
    _check_shared(f"{place}:", job, errors)
    _check_only(place, job, errors)
    _check_parallel(place, job.get("parallel"), errors)
    _check_environment(place, job.get("environment"), errors)
    _check_needs(place, job.get("needs"), errors)


def _check_shared(place: str, section: dict[str, Any], errors: Errors) -> None:
    """Keywords that a job, ``default`` and (some of them) the root share."""
    for key in ("before_script", "after_script"):
        if section.get(key) is not None and not _commands(section[key], 10):
            errors.add(f"{place}{key}", "config should be an array of strings or a nested array of strings up to 10 "
                                        "levels deep")  # fmt: skip
    _check_image(f"{place}image", section.get("image"), IMAGE, errors)
    services = section.get("services")
    if services is not None and not isinstance(services, list):
        errors.add(f"{place}services", "config should be a array")
    for service in services if isinstance(services, list) else []:
        _check_image(f"{place}services:service", service, SERVICE, errors)
    if section.get("tags") is not None and not _strings(section["tags"]):
        errors.add(f"{place}tags", "config should be an array of strings")
    if section.get("timeout") is not None and durations.seconds(section["timeout"]) is None:
        errors.add(f"{place}timeout", "config should be a duration")
    if section.get("interruptible") is not None and not isinstance(section["interruptible"], bool):
        errors.add(f"{place}interruptible", "config should be a boolean value")
    _check_retry(f"{place}retry", section.get("retry"), errors)
    _check_artifacts(f"{place}artifacts", section.get("artifacts"), errors)


def _check_image(place: str, image: Any, allowed: tuple[str, ...], errors: Errors) -> None:
    if image is None or isinstance(image, str):
        return
    if not errors.unknown_keys(place, image, allowed):
        errors.add(place, "config should be a hash or a string")
    elif not isinstance(image.get("name"), str):
        errors.add(place, "name should be a string")


def _check_artifacts(place: str, artifacts: Any, errors: Errors) -> None:
    if artifacts is None:
        return
    if not errors.unknown_keys(place, artifacts, ARTIFACTS):
        errors.add(place, "config should be a hash")
        return
    for key in ("paths", "exclude"):
        if artifacts.get(key) is not None and not _strings(artifacts[key]):
            errors.add(place, f"{key} should be an array of strings")
    if artifacts.get("when", "on_success") not in ("on_success", "on_failure", "always"):
        errors.add(place, "when should be one of: on_success, on_failure, always")
    for report in artifacts.get("reports") or {}:
        if report not in _MISSING_REPORTS_EXCEPT:
            errors.missing(f"{place}:reports:{report}")


def _check_retry(place: str, retry: Any, errors: Errors) -> None:
    if retry is None:
        return
    if not isinstance(retry, (int, dict)) or isinstance(retry, bool):
        errors.add(place, "config has to be either an integer or a hash")
        return
    errors.unknown_keys(place, retry, ("max", "when", "exit_codes"))
    times = retry.get("max", 0) if isinstance(retry, dict) else retry
    if isinstance(times, int) and times > 2:
        errors.add(place, "config must be less than or equal to 2" if retry is times else
                   "max must be less than or equal to 2")  # fmt: skip
    when = retry.get("when", []) if isinstance(retry, dict) else []
    if unknown := [w for w in ([when] if isinstance(when, str) else when) if w not in RETRY_WHEN]:
        errors.add(place, "when contains unknown values: " + ", ".join(map(str, unknown)))


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
        exists = rule.get("exists")
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
        elif policy is not None and not _strings([policy] if isinstance(policy, str) else policy):
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


def _strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _commands(value: Any, depth: int) -> bool:
    if isinstance(value, list):
        return depth > 0 and all(_commands(item, depth - 1) for item in value)
    return isinstance(value, str)


def flat(value: Any) -> list[Any]:
    """Nested lists as one; a single value as a list of one; None as none."""
    if isinstance(value, list):
        return [part for item in value for part in flat(item)]
    return [] if value is None else [value]
