"""Protected branches: which names are protected, and who may push or merge there (contracts B.8)."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from lab.emulator.database import Database
from lab.emulator.gitlab.model import ADMIN, DEVELOPER, MAINTAINER, NO_ACCESS

LEVELS = {NO_ACCESS: "No one", DEVELOPER: "Developers + Maintainers", MAINTAINER: "Maintainers", ADMIN: "Admins"}
_KIND = "gitlab.protected_branches"


@dataclass
class ProtectedBranch:
    """One rule; ``name`` may hold ``*``."""

    id: int
    project_id: int
    name: str
    push_access_level: int = MAINTAINER
    merge_access_level: int = MAINTAINER
    allow_force_push: bool = False

    def matches(self, branch: str) -> bool:
        """Whether the rule covers ``branch``."""
        return matches(self.name, branch)

    def shown(self) -> dict[str, Any]:
        """The API form."""
        return {
            "id": self.id,
            "name": self.name,
            "push_access_levels": [_level(self.id * 2 - 1, self.push_access_level)],
            "merge_access_levels": [_level(self.id * 2, self.merge_access_level)],
            "allow_force_push": self.allow_force_push,
        }


class ProtectedBranches:
    """Every rule, in memory and in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rules = {int(key): ProtectedBranch(**body) for key, body in database.all(_KIND)}

    def of(self, project_id: int) -> list[ProtectedBranch]:
        """The rules of a project, oldest first."""
        return [rule for _, rule in sorted(self._rules.items()) if rule.project_id == project_id]

    def named(self, project_id: int, name: str) -> ProtectedBranch | None:
        """The rule with exactly this name."""
        return next((rule for rule in self.of(project_id) if rule.name == name), None)

    def create(self, project_id: int, name: str, **more: Any) -> ProtectedBranch:
        """Add a rule; the caller has checked that the name is free."""
        rule = ProtectedBranch(self._database.next_id(_KIND), project_id, name, **more)
        self.save(rule)
        return rule

    def save(self, rule: ProtectedBranch) -> None:
        """Store a changed rule."""
        self._rules[rule.id] = rule
        self._database.put(_KIND, rule.id, asdict(rule))

    def remove(self, rule: ProtectedBranch) -> None:
        """Drop a rule."""
        self._rules.pop(rule.id, None)
        self._database.delete(_KIND, rule.id)

    def forget(self, project_id: int) -> None:
        """Drop the rules of a project that goes away."""
        for rule in self.of(project_id):
            self.remove(rule)

    def matching(self, project_id: int, branch: str) -> list[ProtectedBranch]:
        """The rules that cover a branch."""
        return [rule for rule in self.of(project_id) if rule.matches(branch)]

    def protects(self, project_id: int, branch: str) -> bool:
        """Whether a branch is protected."""
        return bool(self.matching(project_id, branch))

    def may_push(self, project_id: int, branch: str, level: int) -> bool:
        """Whether ``level`` suffices; the most permissive rule decides, "no one" stops administrators too."""
        return any(
            rule.push_access_level != NO_ACCESS and level >= rule.push_access_level
            for rule in self.matching(project_id, branch)
        )

    def may_merge(self, project_id: int, branch: str, level: int) -> bool:
        """As `may_push`, for merging."""
        return any(
            rule.merge_access_level != NO_ACCESS and level >= rule.merge_access_level
            for rule in self.matching(project_id, branch)
        )

    def may_force(self, project_id: int, branch: str) -> bool:
        """Whether history may be rewritten there."""
        return any(rule.allow_force_push for rule in self.matching(project_id, branch))


def matches(pattern: str, name: str) -> bool:
    """Whether ``name`` fits a pattern in which ``*`` stands for any characters, slashes too."""
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    return re.fullmatch(expression, name) is not None


def _level(number: int, level: int) -> dict[str, Any]:
    return {
        "id": number,
        "access_level": level,
        "access_level_description": LEVELS[level],
        "deploy_key_id": None,
        "user_id": None,
        "group_id": None,
    }
