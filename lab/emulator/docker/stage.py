"""Builds one stage: what each instruction does to configuration and files.

Sources: Dockerfile reference; moby/buildkit frontend/dockerfile/dockerfile2llb/convert.go.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from typing import Any, ClassVar

from lab.emulator.docker import layer as layers
from lab.emulator.docker import oci
from lab.emulator.docker.copying import Copy, attributes, make_folder
from lab.emulator.docker.dockerfile import DockerfileError, Instruction, instruction
from lab.emulator.docker.expand import Expander
from lab.emulator.docker.result import Result, Surroundings, require_runnable
from lab.emulator.docker.tree import Node, Tree

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SHELL = ["/bin/sh", "-c"]
_NANOSECONDS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?\Z")
_PORTS = 65535


class StageBuilder:
    """Applies instructions to a `Result`."""

    def __init__(self, around: Surroundings, result: Result) -> None:
        self._around = around
        self._arguments: dict[str, str] = {}
        self._result = result
        self._config = result.config
        self._emptied: str | None = (result.config.get("Labels") or {}).get(oci.BASE_LABEL)
        self._shell: list[str] = list(self._config.get("Shell") or _SHELL)
        self._command_is_own = False
        self._say = around.say
        environment = self._config.setdefault("Env", [])
        if not any(entry.startswith("PATH=") for entry in environment):  # as BuildKit does for every image
            environment.append(f"PATH={DEFAULT_PATH}")

    def triggers(self, line: int) -> list[Instruction]:
        """The base's ONBUILD instructions, which run now and are not inherited further."""
        found = self._config.pop("OnBuild", None) or []
        return [instruction(self._around.file.source, line, text) for text in found]

    def apply(self, step: Instruction, say: Callable[[str], None]) -> None:
        """Apply one instruction.

        Raises:
            DockerfileError: it cannot be done; names file and line.
        """
        self._say = say
        try:
            self._handlers[step.keyword](self, step)
        except ValueError as error:  # of expansion, of copying, of a pattern
            raise DockerfileError(self._around.file.source, step.line, str(error)) from error

    @property
    def _environment(self) -> dict[str, str]:
        return dict(entry.partition("=")[::2] for entry in self._config["Env"])

    def _expander(self) -> Expander:
        return Expander({**self._arguments, **self._environment}, self._around.file.escape)

    def _fail(self, step: Instruction, problem: str) -> DockerfileError:
        return DockerfileError(self._around.file.source, step.line, problem)

    def _record(self, step: Instruction, entries: dict[str, Node] | None = None) -> None:
        """Add to the history, and a layer when there is something for one."""
        entry: dict[str, Any] = {
            "created": self._around.created,
            "created_by": str(step),
            "comment": "built by the lab's emulator",
        }
        if entries:
            self._result.layers.append(layers.write(self._around.store, entries, self._around.time))
        else:
            entry["empty_layer"] = True
        self._result.history.append(entry)

    def _check_flags(self, step: Instruction, known: set[str], missing: set[str]) -> None:
        for name in step.flags:
            if name in missing:
                raise self._fail(step, f"not emulated: {step.keyword} --{name}")
            if name not in known:
                raise self._fail(step, f"unknown flag: --{name}")

    # Files

    def _copy(self, step: Instruction) -> None:
        self._check_flags(step, {"from", "chown", "chmod", "link"}, {"parents", "exclude"})
        origin = step.flag("from")
        origin = self._expander().word(origin) if origin else None
        source = self._around.source(origin) if origin else self._around.context()
        self._transfer(step, source, origin or "context", unpack=False)

    def _add(self, step: Instruction) -> None:
        self._check_flags(step, {"chown", "chmod", "link"}, {"keep-git-dir", "checksum", "exclude", "unpack"})
        for word in self._words(step)[:-1]:
            if re.match(r"(https?|git|ssh|ftp)://|git@", word):
                raise self._fail(step, f"not emulated: ADD of a URL ({word}); fetch it in a job and COPY it")
        self._transfer(step, self._around.context(), "context", unpack=True)

    def _words(self, step: Instruction) -> list[str]:
        expander = self._expander()
        return [expander.word(w) for w in step.words] if step.words is not None else expander.words(step.value)

    def _transfer(self, step: Instruction, source: Tree, origin: str, *, unpack: bool) -> None:
        words = self._words(step)
        if len(words) < 2:
            problem = "requires at least two arguments, but only one was provided. Destination could not be determined"
            raise self._fail(step, f"{step.keyword} {problem}")
        expander = self._expander()
        chown, chmod = (expander.word(step.flag(flag) or "") for flag in ("chown", "chmod"))
        asked, unknown = attributes(chown, chmod, self._result.tree)
        for name in unknown:
            if not self._emptied:
                raise self._fail(step, f"unable to convert uid/gid chown string to host mapping: {name}: no such user")
            self._say(f"not emulated: user or group {name!r} of {self._emptied} is unknown here and recorded as 0")
        work = Copy(self._result.tree, self._config.get("WorkingDir") or "/", words[-1], asked, unpack)
        self._record(step, work.run(source, words[:-1], origin))

    def _workdir(self, step: Instruction) -> None:
        folder = self._expander().word(step.value)
        path = posixpath.normpath(posixpath.join("/", self._config.get("WorkingDir") or "/", folder))
        self._config["WorkingDir"] = path
        self._record(step, make_folder(self._result.tree, path))

    def _run(self, step: Instruction) -> None:
        require_runnable(self._around.file, [step])

    # Variables

    def _arg(self, step: Instruction) -> None:
        for word in self._expander().words(step.value):
            name, equals, default = word.partition("=")
            if name in self._around.build_arguments:
                self._around.consumed.add(name)
                self._arguments[name] = self._around.build_arguments[name]
            elif equals:
                self._arguments[name] = default
            elif name in self._around.global_arguments:
                self._arguments[name] = self._around.global_arguments[name]
        self._record(step)

    def _env(self, step: Instruction) -> None:
        for name, value in self._pairs(step):
            kept = [entry for entry in self._config["Env"] if entry.partition("=")[0] != name]
            position = len(kept)
            if len(kept) < len(self._config["Env"]):
                position = [entry.partition("=")[0] for entry in self._config["Env"]].index(name)
            self._config["Env"] = [*kept[:position], f"{name}={value}", *kept[position:]]
        self._record(step)

    def _label(self, step: Instruction) -> None:
        self._config.setdefault("Labels", {}).update(self._pairs(step))
        self._record(step)

    def _pairs(self, step: Instruction) -> list[tuple[str, str]]:
        """``NAME=value ...``, or the old form ``NAME value``."""
        expander = self._expander()
        first, _, rest = step.value.partition(" ")
        if "=" not in first and not first.startswith(('"', "'")):
            if not rest.strip():
                raise self._fail(step, f"{step.keyword} must have two arguments")
            return [(expander.word(first), expander.word(rest.strip()))]
        pairs = []
        for word in expander.words(step.value):
            name, equals, value = word.partition("=")
            if not equals:
                raise self._fail(step, f"Syntax error - can't find = in {word!r}. Must be of the form: name=value")
            if not name:
                raise self._fail(step, f"{step.keyword} names can not be blank")
            pairs.append((name, value))
        return pairs

    # Processes

    def _command(self, step: Instruction) -> list[str]:
        return step.words if step.words is not None else [*self._shell, step.value]

    def _cmd(self, step: Instruction) -> None:
        self._config["Cmd"] = self._command(step)
        self._command_is_own = True
        self._record(step)

    def _entrypoint(self, step: Instruction) -> None:
        self._config["Entrypoint"] = self._command(step)
        if not self._command_is_own:
            self._config.pop("Cmd", None)
        self._record(step)

    def _set_shell(self, step: Instruction) -> None:
        if not step.words:
            raise self._fail(step, "SHELL requires the arguments to be in JSON form")
        self._shell = self._config["Shell"] = step.words
        self._record(step)

    def _user(self, step: Instruction) -> None:
        self._config["User"] = self._expander().word(step.value)
        self._record(step)

    def _stopsignal(self, step: Instruction) -> None:
        self._config["StopSignal"] = self._expander().word(step.value)
        self._record(step)

    def _healthcheck(self, step: Instruction) -> None:
        kind, _, rest = step.value.partition(" ")
        if kind.upper() == "NONE":
            self._config["Healthcheck"] = {"Test": ["NONE"]}
        elif kind.upper() == "CMD" and rest.strip():
            command = instruction(self._around.file.source, step.line, f"CMD {rest.strip()}")
            test = ["CMD", *command.words] if command.words is not None else ["CMD-SHELL", command.value]
            self._config["Healthcheck"] = {"Test": test, **self._timings(step)}
        else:
            raise self._fail(step, f"unknown type {kind!r} in HEALTHCHECK (try CMD)")
        self._record(step)

    def _timings(self, step: Instruction) -> dict[str, int]:
        names = {"interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod"}
        names["start-interval"] = "StartInterval"
        self._check_flags(step, {*names, "retries"}, set())
        found = {}
        for flag, key in names.items():
            if text := step.flag(flag):
                parts = _DURATION.findall(text)
                if not parts or "".join(a + b for a, b in parts) != text:
                    raise self._fail(step, f'time: invalid duration "{text}"')
                found[key] = int(sum(float(amount) * _NANOSECONDS[unit] for amount, unit in parts))
        if retries := step.flag("retries"):
            if not retries.isdecimal():
                raise self._fail(step, f"--retries: {retries!r} is no number")
            found["Retries"] = int(retries)
        return found

    # Declarations

    def _expose(self, step: Instruction) -> None:
        ports = self._config.setdefault("ExposedPorts", {})
        for word in self._expander().words(step.value):
            match = _PORT.match(word.lower())
            first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
            if not match or not first <= last <= _PORTS:
                raise self._fail(step, f"invalid containerPort: {word}")
            ports.update({f"{port}/{match[3] or 'tcp'}": {} for port in range(first, last + 1)})
        self._record(step)

    def _volume(self, step: Instruction) -> None:
        for word in self._words(step):
            if not word:
                raise self._fail(step, "VOLUME specified can not be an empty string")
            self._config.setdefault("Volumes", {})[word] = {}
        self._record(step)

    def _maintainer(self, step: Instruction) -> None:
        self._result.author = step.value
        self._record(step)

    def _onbuild(self, step: Instruction) -> None:
        trigger = instruction(self._around.file.source, step.line, step.value)
        if trigger.keyword in {"ONBUILD", "FROM", "MAINTAINER"}:
            raise self._fail(step, f"{trigger.keyword} isn't allowed as an ONBUILD trigger")
        self._config.setdefault("OnBuild", []).append(step.value)
        self._record(step)

    _handlers: ClassVar[dict[str, Callable[[StageBuilder, Instruction], None]]] = {
        "ADD": _add,
        "ARG": _arg,
        "CMD": _cmd,
        "COPY": _copy,
        "ENTRYPOINT": _entrypoint,
        "ENV": _env,
        "EXPOSE": _expose,
        "HEALTHCHECK": _healthcheck,
        "LABEL": _label,
        "MAINTAINER": _maintainer,
        "ONBUILD": _onbuild,
        "RUN": _run,
        "SHELL": _set_shell,
        "STOPSIGNAL": _stopsignal,
        "USER": _user,
        "VOLUME": _volume,
        "WORKDIR": _workdir,
    }
