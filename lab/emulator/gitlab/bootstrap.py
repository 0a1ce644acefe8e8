"""What a new GitLab holds: its administrator, and the token that its operator chose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.emulator.gitlab import secret_values

if TYPE_CHECKING:
    from lab.emulator.gitlab.server import GitLab

TOKEN_NAME = "lab"  # noqa: S105 - the token's name, not its value
TOKEN_SCOPES = ["api", "sudo"]


def ensure_root(gitlab: GitLab) -> None:
    """Make user ``root`` once, with the configured password; install the configured token whenever it is unknown.

    The password counts on the first start only (contracts A.5); the token can be changed later, as one call of
    ``gitlab-rails runner`` would (contracts A.9).
    """
    with gitlab.database.transaction():
        root = gitlab.users.by_login("root")
        if root is None:
            password = gitlab.config.root_password or secret_values.new()
            root = gitlab.users.create("root", "Administrator", "admin@example.com", admin=True, password=password)
            gitlab.namespaces.create("user", "root", "Administrator", owner_id=root.id)
        value = gitlab.config.root_token
        known = gitlab.tokens.find(value) if value else None
        if value and (known is None or not known.active):
            if known:
                gitlab.tokens.forget(known)
            gitlab.tokens.create(root.id, TOKEN_NAME, TOKEN_SCOPES, value=value)
