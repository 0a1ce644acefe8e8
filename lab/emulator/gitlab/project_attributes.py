"""The attributes of a project that the API takes: their types and defaults (contracts B.6)."""

from __future__ import annotations

from typing import Any

from lab.emulator.gitlab.model import ApiError
from lab.emulator.gitlab.parameters import Parameters

_ACCESS = ("disabled", "private", "enabled")
_ACCESS_FIELDS = (
    "issues", "merge_requests", "wiki", "snippets", "forking", "analytics", "container_registry", "builds",
    "repository", "security_and_compliance", "releases", "environments", "feature_flags", "infrastructure",
    "monitor", "model_experiments", "model_registry",
)  # fmt: skip
_CHOICES: dict[str, tuple[str, ...]] = {
    "visibility": ("private", "internal", "public"),
    "merge_method": ("merge", "rebase_merge", "ff"),
    "squash_option": ("never", "always", "default_on", "default_off"),
    "auto_cancel_pending_pipelines": ("enabled", "disabled"),
    "build_git_strategy": ("fetch", "clone"),
    "ci_pipeline_variables_minimum_override_role": ("no_one_allowed", "developer", "maintainer", "owner"),
    "pages_access_level": ("disabled", "private", "enabled", "public"),
    **{f"{name}_access_level": _ACCESS for name in _ACCESS_FIELDS},
}
_BOOLEANS = {
    "shared_runners_enabled": True,
    "group_runners_enabled": True,
    "auto_devops_enabled": False,
    "lfs_enabled": False,
    "public_jobs": True,
    "only_allow_merge_if_pipeline_succeeds": False,
    "only_allow_merge_if_all_discussions_are_resolved": False,
    "remove_source_branch_after_merge": True,
    "request_access_enabled": True,
    "keep_latest_artifact": True,
    "ci_forward_deployment_enabled": True,
    "ci_forward_deployment_rollback_allowed": True,
    "ci_separated_caches": True,
    "ci_allow_fork_pipelines_to_run_in_parent_project": True,
    "restrict_user_defined_variables": False,
    "ci_push_repository_for_job_token_allowed": False,
    "ci_job_token_scope_enabled": False,
    "packages_enabled": True,
    "emails_enabled": True,
    "printing_merge_request_link_enabled": True,
    "resolve_outdated_diff_discussions": False,
    "autoclose_referenced_issues": True,
    "service_desk_enabled": False,
}
_NUMBERS = {"build_timeout": 3600, "ci_default_git_depth": 20, "ci_delete_pipelines_in_seconds": None}
_TEXTS = {
    "description": None,
    "ci_config_path": None,
    "merge_commit_template": None,
    "squash_commit_template": None,
    "suggestion_commit_message": None,
}
_LISTS = ("topics", "tag_list")

NOT_EMULATED = (
    "import_url", "template_name", "template_project_id", "use_custom_template", "mirror", "mirror_trigger_builds",
    "avatar", "container_expiration_policy_attributes",
)  # fmt: skip
"""Names that would change what a project holds or does, and cannot here."""
_SWITCHES = {
    "issues_enabled": "issues", "merge_requests_enabled": "merge_requests", "jobs_enabled": "builds",
    "wiki_enabled": "wiki", "snippets_enabled": "snippets", "container_registry_enabled": "container_registry",
}  # fmt: skip
"""Deprecated switches and the feature whose access level they stand for."""
ATTRIBUTES = (*_CHOICES, *_BOOLEANS, *_NUMBERS, *_TEXTS, *_LISTS)
"""Names that ``PUT /projects/:id`` takes besides name, path and default branch."""
UPDATE_ONLY = frozenset(
    {"ci_push_repository_for_job_token_allowed", "ci_default_git_depth", "keep_latest_artifact", "ci_separated_caches"}
    | {"ci_forward_deployment_enabled", "restrict_user_defined_variables"}
    | {"ci_pipeline_variables_minimum_override_role", "ci_delete_pipelines_in_seconds"}
)
"""Names that ``POST /projects`` ignores, as GitLab does (``update_params_at_least_one_of``)."""
DEFAULTS: dict[str, Any] = {
    **{f"{name}_access_level": "enabled" for name in _ACCESS_FIELDS},
    "visibility": "private",
    "merge_method": "merge",
    "squash_option": "default_off",
    "auto_cancel_pending_pipelines": "enabled",
    "build_git_strategy": "fetch",
    "ci_pipeline_variables_minimum_override_role": "developer",
    "pages_access_level": "private",
    **_BOOLEANS,
    **_NUMBERS,
    **_TEXTS,
    "topics": [],
    "tag_list": [],
    "archived": False,
    "import_status": "none",
    "import_error": None,
    "open_issues_count": 0,
    "star_count": 0,
    "forks_count": 0,
    "avatar_url": None,
    "repository_object_format": "sha1",
    "shared_with_groups": [],
}


def given_attributes(given: Parameters, ignored: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The attributes in a request, in their types.

    Raises ApiError 400 for values of another type, and for names that mean something which is not emulated.
    """
    for name in NOT_EMULATED:
        if given.get(name):
            raise ApiError.message(400, f"not emulated: {name}")
    found = {name: attribute(given, name) for name in ATTRIBUTES if name in given and name not in ignored}
    for switch, feature in _SWITCHES.items():
        if switch in given:
            found.setdefault(f"{feature}_access_level", "enabled" if given.boolean(switch) else "disabled")
    return found


def switches(data: dict[str, Any]) -> dict[str, bool]:
    """The deprecated switches, as the access levels in ``data`` have them."""
    return {switch: data.get(f"{feature}_access_level") != "disabled" for switch, feature in _SWITCHES.items()}


def attribute(given: Parameters, name: str) -> Any:
    """The value of one attribute in its type; raises ApiError 400 when it has another."""
    if name in _CHOICES:
        return given.choice(name, _CHOICES[name])
    if name in _BOOLEANS:
        return given.boolean(name)
    if name in _NUMBERS:
        return given.integer(name)
    if name in _LISTS:
        return given.strings(name) or []
    return given.get(name) and given.text(name)
