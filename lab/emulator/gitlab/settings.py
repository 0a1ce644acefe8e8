"""The instance's settings (contracts B.4): defaults, storage, and ``GET|PUT /application/settings``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from lab.emulator.database import Database
from lab.emulator.gitlab.model import ApiError
from lab.emulator.gitlab.parameters import Parameters, invalid

if TYPE_CHECKING:
    from lab.emulator.gitlab.server import GitLab

_KIND = "gitlab.settings"
DEFAULTS: dict[str, Any] = {
    "id": 1,
    "allow_local_requests_from_hooks_and_services": False,
    "allow_local_requests_from_web_hooks_and_services": False,
    "allow_local_requests_from_system_hooks": True,
    "outbound_local_requests_allowlist_raw": "",
    "outbound_local_requests_whitelist": [],
    "dns_rebinding_protection_enabled": True,
    "deny_all_requests_except_allowed": False,
    "signup_enabled": True,
    "require_admin_approval_after_user_signup": True,
    "password_authentication_enabled_for_web": True,
    "password_authentication_enabled_for_git": True,
    "container_registry_token_expire_delay": 5,
    "usage_ping_enabled": True,
    "version_check_enabled": True,
    "import_sources": [],
    "custom_http_clone_url_root": None,
    "default_branch_name": None,
    "default_branch_protection": 2,
    "default_project_visibility": "private",
    "default_group_visibility": "private",
    "default_snippet_visibility": "private",
    "default_projects_limit": 100_000,
    "default_artifacts_expire_in": "30 days",
    "auto_devops_enabled": False,
    "shared_runners_enabled": True,
    "require_personal_access_token_expiry": True,
    "push_event_hooks_limit": 3,
    "push_event_activities_limit": 3,
    "ci_max_total_yaml_size_bytes": 314_572_800,
    "deletion_adjourned_period": 30,
    "home_page_url": None,
    "after_sign_out_path": "",
    "max_artifacts_size": 100,
    "max_attachment_size": 100,
    "enforce_terms": False,
    "admin_mode": False,
    "silent_mode_enabled": False,
    "performance_bar_enabled": False,
    "gravatar_enabled": False,
    "session_expire_delay": 10_080,
    "user_default_external": False,
    "runner_token_expiration_interval": None,
    "project_runner_token_expiration_interval": None,
    "group_runner_token_expiration_interval": None,
    "allow_runner_registration_token": False,
    "valid_runner_registrars": ["project", "group"],
    "concurrent_github_import_jobs_limit": 1000,
}
_NOT_SETTABLE = frozenset({"id", "allow_local_requests_from_hooks_and_services", "outbound_local_requests_whitelist"})
"""The allowlist's array form is accepted and does nothing, as upstream (contracts B.4); the others are read-only."""
_IGNORED = frozenset({"outbound_local_requests_whitelist"})
_CREDENTIALS = frozenset({"private_token", "access_token", "sudo"})
"""What may stand in a query beside the settings."""


class Settings:
    """The settings' values; `get` serves the other parts."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._values: dict[str, Any] = {**DEFAULTS, **(database.get(_KIND, "1") or {})}

    def get(self, name: str) -> Any:
        """The value of a setting; raises KeyError for an unknown name."""
        return self._values[name]

    def shown(self) -> dict[str, Any]:
        """Every setting, in API form."""
        local = self._values["allow_local_requests_from_web_hooks_and_services"]
        entries = allowlist(self._values["outbound_local_requests_allowlist_raw"])
        derived = {"allow_local_requests_from_hooks_and_services": local, "outbound_local_requests_whitelist": entries}
        return {**self._values, **derived}

    def change(self, values: dict[str, Any]) -> None:
        """Store new values."""
        self._values |= values
        changed = {name: value for name, value in self._values.items() if value != DEFAULTS[name]}
        self._database.put(_KIND, "1", changed)


class SettingsApi:
    """The routes; administrators only."""

    def __init__(self, gitlab: GitLab) -> None:
        self._gitlab = gitlab
        gitlab.app.router.add_get("/api/v4/application/settings", self.show)
        gitlab.app.router.add_put("/api/v4/application/settings", self.update)

    async def show(self, request: web.Request) -> web.Response:
        """``GET /application/settings``."""
        self._gitlab.access.administrator(request)
        return web.json_response(self._gitlab.settings.shown())

    async def update(self, request: web.Request) -> web.Response:
        """``PUT /application/settings``; a name that is not known here is refused, or it would seem to be set."""
        self._gitlab.access.administrator(request)
        given = await Parameters.of(request)
        known = {name: _typed(given, name) for name in given.values if name in DEFAULTS and name not in _NOT_SETTABLE}
        if unknown := sorted(set(given.values) - set(DEFAULTS) - _IGNORED - _CREDENTIALS):
            raise ApiError.message(400, f"not emulated: settings {', '.join(unknown)}")
        if not known and not _IGNORED & set(given.values):
            names = ", ".join(sorted(set(DEFAULTS) - _NOT_SETTABLE))
            raise ApiError(400, {"error": f"{names} are missing, at least one parameter must be provided"})
        self._gitlab.settings.change(known)
        return web.json_response(self._gitlab.settings.shown())


def allowlist(raw: str) -> list[str]:
    """The entries of ``outbound_local_requests_allowlist_raw``, which any of newline, comma, blank, ``;`` separates."""
    for separator in ",;\r\n\t":
        raw = raw.replace(separator, " ")
    return raw.split()


def _typed(given: Parameters, name: str) -> Any:
    """A value in the type of the setting's default."""
    default = DEFAULTS[name]
    if isinstance(default, bool):
        return given.boolean(name)
    if isinstance(default, int):
        number = given.integer(name)
        if number is None:
            raise invalid(name)
        return number
    if isinstance(default, list):
        return given.strings(name) or []
    return None if given.get(name) is None else given.text(name)
