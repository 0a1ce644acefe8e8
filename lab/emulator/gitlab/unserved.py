"""Which REST resources GitLab has: a request for one that is not served here must not look like "does not exist".

Clients read 404 as "there is no such thing" (deletion counts it as done, and some drop the body), so what GitLab has
and the emulator has not answers 501. Source: GitLab doc/api/api_resources.md, Free tier; what takes a licence is
missing from a community edition as well and stays 404.
"""

from __future__ import annotations

_TOP = frozenset(
    """admin application applications avatar broadcast_messages bulk_imports deploy_keys deploy_tokens events features
    groups hooks import integrations internal issues issues_statistics job jobs keys lint markdown merge_requests
    namespaces notification_settings packages pages personal_access_tokens projects registry runners search sidekiq
    snippets suggestions templates todos topics usage_data user user_counts users version web_commits""".split()  # noqa: SIM905 - words read better than quotes
)
_BELOW = {
    "projects": frozenset(
        """access_requests access_tokens alert_management_alerts archive avatar badges boards catalog ci
        cluster_agents clusters commits custom_attributes debian_distributions deploy_keys deploy_tokens deployments
        environments error_tracking events export feature_flags feature_flags_user_lists fork forks groups hooks
        housekeeping import import_project_members integrations invitations invited_groups issues issues_statistics
        job_token_scope jobs labels languages members merge_requests milestones notification_settings packages pages
        pipeline pipeline_schedules pipelines protected_branches protected_tags ref registry releases remote_mirrors
        repository repository_size resource_groups restore runners search secure_files services share share_locations
        snapshot snippets star starrers statistics statuses storage templates terraform transfer transfer_locations
        trigger triggers unarchive unstar uploads users variables wikis""".split()  # noqa: SIM905 - words read better than quotes
    ),
    "groups": frozenset(
        """access_requests access_tokens archive avatar badges boards clusters custom_attributes dependency_proxy
        deploy_tokens descendant_groups export groups integrations invitations invited_groups issues
        issues_statistics labels members merge_requests milestones notification_settings packages
        projects registry releases restore runners search share subgroups transfer transfer_locations tokens
        unarchive uploads user_contributions variables wikis""".split()  # noqa: SIM905 - words read better than quotes
    ),
    "users": frozenset(
        """activate approve associations_count ban block contributed_projects custom_attributes deactivate
        disable_two_factor emails events follow followers following gpg_keys identities impersonation_tokens keys
        memberships personal_access_tokens project_deploy_keys projects reject starred_projects status
        support_pin unban unblock unfollow""".split()  # noqa: SIM905 - words read better than quotes
    ),
}
_RARE_METHODS = {"PATCH", "OPTIONS", "TRACE"}


def exists_upstream(method: str, path: str) -> bool:
    """Whether GitLab Free has a resource at ``path`` (``/api/v4/projects/1/issues``), so that it is missing here."""
    parts = [part for part in path.removeprefix("/api/v4/").split("/") if part]
    if not path.startswith("/api/v4/") or not parts or method in _RARE_METHODS:
        return False
    below = _BELOW.get(parts[0])
    return parts[0] in _TOP if below is None or len(parts) < 3 else parts[2] in below
