"""``docker login`` and ``logout``."""

from __future__ import annotations

import sys
from contextlib import closing

from lab.emulator.docker.client import RegistryClient
from lab.emulator.docker.credentials import HUB_KEY, Credentials, key_of
from lab.emulator.docker.errors import DockerError
from lab.emulator.docker.flags import Flag, parse

_LOGIN = (Flag("username", "u"), Flag("password", "p"), Flag("password-stdin", boolean=True))


def login(arguments: list[str]) -> None:
    """Check a user name and a password against a registry's token service, and keep them.

    Raises:
        DockerError: refused, unreachable, or not enough given.
    """
    parsed = parse(arguments, _LOGIN)
    domain = _server(parsed.arguments, "login")
    username, password = parsed.last("username"), parsed.last("password")
    if password is not None:
        sys.stderr.write("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n")
    if parsed.on("password-stdin"):
        if password is not None:
            raise DockerError("conflicting options: cannot specify both --password and --password-stdin")
        if not username:
            raise DockerError("the --password-stdin option requires --username to be set")
        password = sys.stdin.read().rstrip("\r\n")
    credentials = Credentials.of_user()
    known = credentials.get(domain)
    if not username and not password and known:
        username, password = known
    if not username or not password:
        raise DockerError("Error: Cannot perform an interactive login from a non TTY device")
    check(domain, username, password)
    credentials.put(domain, username, password)
    sys.stderr.write(
        f"\nWARNING! Your credentials are stored unencrypted in '{credentials.path}'.\n"
        "Configure a credential helper to remove this warning. See\n"
        "https://docs.docker.com/go/credential-store/\n\n"
    )
    sys.stdout.write("Login Succeeded\n")


def check(domain: str, username: str, password: str) -> None:
    """Do the handshake that ``docker login`` does: ``/v2/``, the token service, ``/v2/`` again."""
    host = "registry-1.docker.io" if domain == "docker.io" else domain
    with closing(RegistryClient(host, [], (username, password))) as client:
        try:
            client.ping().read()
        except DockerError as error:
            raise DockerError(f"Error response from daemon: {error}") from error


def logout(arguments: list[str]) -> None:
    """Forget a login."""
    domain = _server(parse(arguments, ()).arguments, "logout")
    shown = domain if key_of(domain) != HUB_KEY else HUB_KEY
    if not Credentials.of_user().drop(domain):
        sys.stdout.write(f"Not logged in to {shown}\n")
        return
    sys.stdout.write(f"Removing login credentials for {shown}\n")


def _server(arguments: list[str], command: str) -> str:
    """The registry's ``host:port``; an address is accepted and shortened, as Docker does."""
    if len(arguments) > 1:
        raise DockerError(f"docker: 'docker {command}' requires at most 1 argument")
    if not arguments:
        return "docker.io"
    if key_of(arguments[0]) == HUB_KEY or arguments[0] == HUB_KEY:
        return "docker.io"
    return arguments[0].split("://", 1)[-1].split("/", 1)[0]
