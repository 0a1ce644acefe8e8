"""Command-line flags as Docker's CLI reads them (spf13/pflag)."""

from __future__ import annotations

from dataclasses import dataclass, field

from lab.emulator.docker.errors import DockerError

USAGE_EXIT = 125
"""What Docker ends with for a flag that it does not know."""


@dataclass(frozen=True)
class Flag:
    """A flag: ``long`` name, one-letter ``short`` name, and whether it stands alone."""

    long: str
    short: str = ""
    boolean: bool = False


@dataclass
class Parsed:
    """The flags that were given, by long name, and the other arguments."""

    values: dict[str, list[str]] = field(default_factory=dict)
    arguments: list[str] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        """Every value of a flag, in order."""
        return self.values.get(name, [])

    def last(self, name: str) -> str | None:
        """The value that counts when a flag is given once or several times."""
        values = self.all(name)
        return values[-1] if values else None

    def on(self, name: str) -> bool:
        """Whether a boolean flag is set."""
        return self.last(name) == "true"


def parse(arguments: list[str], flags: tuple[Flag, ...], *, interspersed: bool = True) -> Parsed:
    """Parse ``arguments``; with ``interspersed`` flags may follow arguments.

    Raises:
        DockerError: an unknown flag or a missing or bad value, in pflag's words.
    """
    longs = {flag.long: flag for flag in flags}
    shorts = {flag.short: flag for flag in flags if flag.short}
    parsed = Parsed()
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            parsed.arguments += rest
            break
        if word.startswith("--"):
            _long(word, longs, rest, parsed)
        elif word.startswith("-") and word != "-":
            _short(word, shorts, rest, parsed)
        else:
            parsed.arguments.append(word)
            if not interspersed:
                parsed.arguments += rest
                break
    return parsed


def _long(word: str, longs: dict[str, Flag], rest: list[str], parsed: Parsed) -> None:
    name, equals, value = word[2:].partition("=")
    flag = longs.get(name)
    if flag is None:
        raise DockerError(f"unknown flag: --{name}", exit_code=USAGE_EXIT)
    if not equals:
        if not flag.boolean and not rest:
            raise DockerError(f"flag needs an argument: --{name}", exit_code=USAGE_EXIT)
        value = "true" if flag.boolean else rest.pop(0)
    _store(flag, value, parsed)


def _short(word: str, shorts: dict[str, Flag], rest: list[str], parsed: Parsed) -> None:
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        flag = shorts.get(letter)
        if flag is None:
            raise DockerError(f"unknown shorthand flag: '{letter}' in {word}", exit_code=USAGE_EXIT)
        if letters.startswith("="):
            value, letters = letters[1:], ""
        elif flag.boolean:
            value = "true"
        elif letters:
            value, letters = letters, ""
        elif rest:
            value = rest.pop(0)
        else:
            raise DockerError(f"flag needs an argument: '{letter}' in {word}", exit_code=USAGE_EXIT)
        _store(flag, value, parsed)


def _store(flag: Flag, value: str, parsed: Parsed) -> None:
    if flag.boolean:
        if value.lower() not in {"true", "false", "1", "0", "t", "f"}:
            raise DockerError(f'invalid argument "{value}" for "--{flag.long}" flag', exit_code=USAGE_EXIT)
        value = "true" if value.lower() in {"true", "1", "t"} else "false"
    parsed.values.setdefault(flag.long, []).append(value)
