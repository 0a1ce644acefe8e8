"""Shapes of the sections that jobs, ``default`` and the root of ``.gitlab-ci.yml`` share, with GitLab's texts."""

from __future__ import annotations

from typing import Any

from lab.emulator.ci import durations

IMAGE = ("name", "entrypoint", "docker", "kubernetes", "ports", "pull_policy")
SERVICE = (*IMAGE, "command", "alias", "variables")
ARTIFACTS = ("name", "untracked", "paths", "reports", "when", "expire_in", "expose_as", "exclude", "public", "access")
RETRY_WHEN = (
    "always", "unknown_failure", "script_failure", "api_failure", "stuck_or_timeout_failure", "runner_system_failure",
    "runner_unsupported", "stale_schedule", "job_execution_timeout", "archived_failure", "unmet_prerequisites",
    "scheduler_failure", "data_integrity_failure", "stuck_pending",
)  # fmt: skip
_MISSING_REPORTS_EXCEPT = ("dotenv",)


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


def check_shared(place: str, section: dict[str, Any], errors: Errors) -> None:
    """Keywords that a job, ``default`` and (some of them) the root share."""
    for key in ("before_script", "after_script"):
        if section.get(key) is not None and not is_commands(section[key], 10):
            errors.add(f"{place}{key}", "config should be an array of strings or a nested array of strings up to 10 "
                                        "levels deep")  # fmt: skip
    _check_image(f"{place}image", section.get("image"), IMAGE, errors)
    services = section.get("services")
    if services is not None and not isinstance(services, list):
        errors.add(f"{place}services", "config should be a array")
    for service in services if isinstance(services, list) else []:
        _check_image(f"{place}services:service", service, SERVICE, errors)
    if section.get("tags") is not None and not is_strings(section["tags"]):
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
        if artifacts.get(key) is not None and not is_strings(artifacts[key]):
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


def is_strings(value: Any) -> bool:
    """Whether this is a list of strings."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def is_commands(value: Any, depth: int) -> bool:
    """Whether this is a string, or lists of strings nested at most ``depth`` deep."""
    if isinstance(value, list):
        return depth > 0 and all(is_commands(item, depth - 1) for item in value)
    return isinstance(value, str)


def flat(value: Any) -> list[Any]:
    """Nested lists as one; a single value as a list of one; None as none."""
    if isinstance(value, list):
        return [part for item in value for part in flat(item)]
    return [] if value is None else [value]
