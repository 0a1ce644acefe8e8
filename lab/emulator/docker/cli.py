"""Which command does what, and what is not emulated."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from lab.emulator.docker import oci
from lab.emulator.docker.errors import DockerError, NotEmulatedError
from lab.emulator.docker.flags import Flag, parse

NAME = "lab emulator"
VERSION = "28.2.2-lab"
"""The Docker CLI whose words are used here."""
API_VERSION = "1.50"
NOTICE = "the lab's emulated image builder: no Docker engine, no containers; it can login, build, tag, push and pull"
_GLOBAL = (
    Flag("config"),
    Flag("debug", "D", boolean=True),
    Flag("log-level", "l"),
    Flag("version", "v", boolean=True),
    Flag("help", "h", boolean=True),
    Flag("host", "H"),
    Flag("context", "c"),
    Flag("tls", boolean=True),
    Flag("tlsverify", boolean=True),
)
_FOREIGN = ("host", "context", "tls", "tlsverify")
Command = Callable[[list[str]], None]


def main() -> None:
    """Run the command line; the exit code is Docker's where it has one."""
    try:
        run(sys.argv[1:])
        sys.stdout.flush()
    except DockerError as error:
        sys.stdout.flush()
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:  # an unreadable file, a full disk
        sys.exit(f"Error: {error}")


def run(arguments: list[str]) -> None:
    """Run one command.

    Raises:
        DockerError: it failed, is unknown or is not emulated.
    """
    parsed = parse(arguments, _GLOBAL, interspersed=False)
    for name in _FOREIGN:
        if parsed.last(name):
            raise NotEmulatedError(f"docker --{name} ({NOTICE})")
    if folder := parsed.last("config"):
        os.environ["DOCKER_CONFIG"] = folder
    if parsed.on("version"):
        sys.stdout.write(f"Docker version {VERSION}, {NAME}\n")
        return
    words = parsed.arguments
    if not words or parsed.on("help") or words[0] == "help":
        sys.stdout.write(_usage())
        return
    words = _long_form(words)
    commands = _commands(words[0])
    if words[0] not in commands:
        raise NotEmulatedError(f"docker {words[0]} ({NOTICE})")
    if {"--help", "-h"} & set(words[1:]):
        sys.stdout.write(_usage())
        return
    commands[words[0]](words[1:])


def _long_form(words: list[str]) -> list[str]:
    """``docker image build`` and ``docker buildx build`` are ``docker build``, and so on."""
    groups = {
        "image": {"build": "build", "tag": "tag", "push": "push", "pull": "pull", "ls": "images", "list": "images",
                  "inspect": "inspect", "rm": "rmi"},
        "buildx": {"build": "build", "b": "build", "version": "version"},
        "builder": {"build": "build"},
        "system": {"info": "info"},
    }  # fmt: skip
    if words[0] not in groups:
        return words
    if len(words) == 1 or words[1] not in groups[words[0]]:
        raise NotEmulatedError(f"docker {' '.join(words[:2])} ({NOTICE})")
    return [groups[words[0]][words[1]], *words[2:]]


def _commands(name: str) -> dict[str, Command]:
    """The known commands; modules are imported only for the group that ``name`` belongs to."""
    if name in {"login", "logout"}:
        from lab.emulator.docker import session

        return {"login": session.login, "logout": session.logout}
    if name in {"info", "version"}:
        return {"info": info, "version": version}
    if name == "build":
        from lab.emulator.docker import build_command

        return {"build": build_command.build}
    if name in {"push", "pull"}:
        from lab.emulator.docker import exchange

        return {"push": exchange.push, "pull": exchange.pull}
    from lab.emulator.docker import images

    return {
        "tag": images.tag,
        "images": images.listing,
        "inspect": images.inspect,
        "rmi": images.remove,
    }


def _usage() -> str:
    return (
        f"Usage:  docker [OPTIONS] COMMAND\n\nThis is {NOTICE}.\n\n"
        "Commands:\n  build, images, info, inspect, login, logout, pull, push, rmi, tag, version\n"
    )


def info(arguments: list[str]) -> None:
    """Say what this is; succeeds at once, so that a job that waits for an engine goes on."""
    parsed = parse(arguments, (Flag("format", "f"),))
    registry = os.environ.get("LAB_REGISTRY") or os.environ.get("CI_REGISTRY")
    insecure = ["127.0.0.0/8", *([registry] if registry else [])]
    document = {
        "Name": NAME,
        "ServerVersion": VERSION,
        "Driver": "emulated",
        "OperatingSystem": "the host's",
        "OSType": "linux",
        "Architecture": oci.architecture(),
        "Containers": 0,
        "RegistryConfig": {"InsecureRegistryCIDRs": insecure[:1]},
        "Warnings": [NOTICE],
    }
    if template := parsed.last("format"):
        _print_template(template, document)
        return
    lines = [
        "Client:", f" Version:    {VERSION}", " Context:    default", "",
        "Server:", f" Server Version: {VERSION}", " Storage Driver: emulated", " Containers: 0",
        f" Operating System: {NAME}", " OSType: linux", f" Architecture: {oci.architecture()}",
        " Insecure Registries:", *(f"  {entry}" for entry in insecure), "",
    ]  # fmt: skip
    sys.stdout.write("\n".join(lines))
    sys.stderr.write(f"WARNING: this is {NOTICE}\n")


def version(arguments: list[str]) -> None:
    """Print the version that is emulated."""
    parsed = parse(arguments, (Flag("format", "f"),))
    side = {"Version": VERSION, "APIVersion": API_VERSION, "Os": "linux", "Arch": oci.architecture()}
    document = {"Client": side, "Server": {**side, "Platform": {"Name": NAME}}}
    if template := parsed.last("format"):
        _print_template(template, document)
        return
    rows = [
        f" Version:           {VERSION}",
        f" API version:       {API_VERSION}",
        f" OS/Arch:           linux/{side['Arch']}",
    ]
    sys.stdout.write("\n".join(["Client:", *rows, "", f"Server: {NAME} ({NOTICE})", *rows, ""]))


def _print_template(template: str, document: dict[str, object]) -> None:
    from lab.emulator.docker.template import render

    sys.stdout.write(render(template, document) + "\n")
