"""What gitlab-rails may do to the data: one small JSON call for each thing, over a socket that only root can open."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from aiohttp import web

from lab.emulator.gitlab import secret_values
from lab.emulator.gitlab.server import GitLab
from lab.emulator.gitlab.tokens import Token

_USER_FIELDS = {"name", "email", "admin", "state"}


class Door:
    """The calls, by name: ``POST /CALL`` with a JSON object as arguments, answered with JSON."""

    def __init__(self, gitlab: GitLab) -> None:
        self._gitlab = gitlab
        self.app = web.Application()
        self.app.router.add_post("/{call}", self._answer)

    async def _answer(self, request: web.Request) -> web.Response:
        calls = {
            "users": self.users,
            "save_user": self.save_user,
            "tokens": self.tokens,
            "save_token": self.save_token,
            "revoke_token": self.revoke_token,
            "settings": self.settings,
            "save_settings": self.save_settings,
        }
        return web.json_response(calls[request.match_info["call"]](**await request.json()))

    def users(self) -> list[dict[str, Any]]:
        return [{key: value for key, value in asdict(user).items() if key != "password"} for user in self._all_users()]

    def save_user(self, id: int, changes: dict[str, Any]) -> None:  # noqa: A002 - the column's name
        user = next(user for user in self._all_users() if user.id == id)
        if password := changes.pop("password", None):
            user.password = secret_values.password_digest(password)
        for key in _USER_FIELDS & set(changes):
            setattr(user, key, changes[key])
        self._gitlab.users.save(user)

    def tokens(self) -> list[dict[str, Any]]:
        return [asdict(token) for token in self._gitlab.tokens.all()]

    def save_token(self, id: int | None, changes: dict[str, Any], value: str | None) -> dict[str, Any]:  # noqa: A002
        tokens = self._gitlab.tokens
        if id is None:
            token, _ = tokens.create(**changes, value=value or "")
            return asdict(token)
        token = tokens.get(id)
        assert token, id
        for key, new in changes.items():
            setattr(token, key, new)
        if value:
            self._set_value(token, value)
        tokens.save(token)
        return asdict(token)

    def revoke_token(self, id: int) -> None:  # noqa: A002
        token = self._gitlab.tokens.get(id)
        assert token, id
        self._gitlab.tokens.revoke(token)

    def settings(self) -> dict[str, Any]:
        return self._gitlab.settings.shown()

    def save_settings(self, changes: dict[str, Any]) -> None:
        self._gitlab.settings.change(changes)

    def _set_value(self, token: Token, value: str) -> None:
        index = self._gitlab.tokens._by_digest  # the emulator itself never gives a token another value
        index.pop(token.digest, None)
        token.digest = secret_values.digest(value)
        index[token.digest] = token

    def _all_users(self) -> list[Any]:
        return list(self._gitlab.users.all())
