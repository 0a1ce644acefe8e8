"""``docker build``: from a Dockerfile and a context to an image in the store."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from lab.emulator.docker import oci
from lab.emulator.docker.bases import Bases
from lab.emulator.docker.copying import CopyError
from lab.emulator.docker.credentials import Credentials
from lab.emulator.docker.dockerfile import Dockerfile, DockerfileError, Instruction, Stage, parse
from lab.emulator.docker.errors import DockerError
from lab.emulator.docker.expand import Expander, ExpansionError
from lab.emulator.docker.patterns import Ignore
from lab.emulator.docker.progress import Progress, Step
from lab.emulator.docker.references import InvalidReferenceError, Reference
from lab.emulator.docker.result import Result, Surroundings, configuration, require_runnable
from lab.emulator.docker.stage import StageBuilder
from lab.emulator.docker.store import Image, Store, manifest_of
from lab.emulator.docker.tree import Tree, of_folder


@dataclass(frozen=True)
class Options:
    """What the command line of ``docker build`` says."""

    context: Path
    file: Path
    text: str | None = None
    """The Dockerfile itself when it came on standard input."""
    tags: tuple[Reference, ...] = ()
    arguments: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    target: str | None = None
    pull: bool = False


class Build:
    """One build."""

    def __init__(self, options: Options, store: Store, credentials: Credentials, progress: Progress) -> None:
        self._options = options
        self._store = store
        self._bases = Bases(store, credentials, pull=options.pull)
        self._progress = progress
        self._done: dict[int, Result] = {}
        self._images: dict[str, Tree] = {}
        self._consumed: set[str] = set()
        epoch = options.arguments.get("SOURCE_DATE_EPOCH") or os.environ.get("SOURCE_DATE_EPOCH") or ""
        self._time = int(epoch) if epoch.isdecimal() else 0
        now = time.gmtime(self._time if epoch.isdecimal() else time.time())
        self._created = time.strftime("%Y-%m-%dT%H:%M:%SZ", now)
        self._platform = f"linux/{oci.architecture()}"

    def run(self) -> Image:
        """Build, store and name the image.

        Raises:
            DockerError: with Docker's words; a `DockerfileError` shows the line as well.
        """
        file = self._file
        stage = self._target_stage(file)
        needed = self._needed(file, stage)
        require_runnable(file, [step for each in needed for step in each.instructions])
        for each in needed:
            self._done[each.number] = self._stage(file, each)
        return self._export(file, stage)

    @cached_property
    def _file(self) -> Dockerfile:
        name = self._options.file.name
        with self._progress.step(f"[internal] load build definition from {name}") as step:
            text = self._options.text
            if text is None:
                try:
                    text = self._options.file.read_text()
                except FileNotFoundError as error:
                    raise DockerError(
                        f"failed to solve: failed to read dockerfile: open {name}: no such file or directory"
                    ) from error
                except (OSError, UnicodeDecodeError) as error:
                    raise DockerError(f"failed to solve: failed to read dockerfile: {error}") from error
            step.say(f"transferring dockerfile: {len(text.encode())}B done")
            file = parse(text, self._shown_name)
            if file.syntax:
                step.say(f"syntax {file.syntax}: the emulated builder reads the file itself")
        return file

    @property
    def _shown_name(self) -> str:
        try:
            return str(self._options.file.relative_to(self._options.context))
        except ValueError:
            return str(self._options.file)

    @cached_property
    def _context(self) -> Tree:
        with self._progress.step("[internal] load build context") as step:
            tree = of_folder(self._options.context, self._ignore())
            step.say(f"transferring context: {sum(node.size for node in tree.nodes.values())}B done")
        return tree

    def _ignore(self) -> Ignore:
        own = self._options.file.with_name(self._options.file.name + ".dockerignore")
        for path in (own, self._options.context / ".dockerignore"):
            if path.is_file():
                try:
                    return Ignore(path.read_text())
                except ValueError as error:
                    raise DockerError(f"failed to solve: {path.name}: {error}") from error
        return Ignore("")

    @cached_property
    def _globals(self) -> dict[str, str]:
        """Arguments that ``FROM`` sees."""
        found = dict(self._platform_arguments)
        for step in self._file.arguments:
            try:
                words = Expander(found, self._file.escape).words(step.value)
            except ExpansionError as error:
                raise DockerfileError(self._file.source, step.line, str(error)) from error
            for word in words:
                name, _, default = word.partition("=")
                if name in self._options.arguments:
                    self._consumed.add(name)
                found[name] = self._options.arguments.get(name, default)
        return found

    @property
    def _platform_arguments(self) -> dict[str, str]:
        found = {"TARGETSTAGE": self._options.target or "default"}
        for side in ("TARGET", "BUILD"):
            found |= {
                f"{side}PLATFORM": self._platform,
                f"{side}OS": "linux",
                f"{side}ARCH": oci.architecture(),
                f"{side}VARIANT": "",
            }
        return found

    def _target_stage(self, file: Dockerfile) -> Stage:
        if self._options.target is None:
            return file.stages[-1]
        stage = file.stage(self._options.target)
        if stage is None:
            raise DockerError(f'failed to solve: target stage "{self._options.target}" could not be found')
        return stage

    def _needed(self, file: Dockerfile, stage: Stage) -> list[Stage]:
        """``stage`` and the stages it depends on, in order; others are not built."""
        numbers = {stage.number}
        for each in reversed(file.stages[: stage.number + 1]):
            if each.number in numbers:
                numbers |= self._dependencies(file, each)
        return [each for each in file.stages if each.number in numbers]

    def _dependencies(self, file: Dockerfile, stage: Stage) -> set[int]:
        names = [self._base_name(stage)]
        names += [origin for step in stage.instructions if (origin := step.flag("from"))]
        return {
            other.number for name in names if (other := file.stage(name)) is not None and other.number < stage.number
        }

    def _base_name(self, stage: Stage) -> str:
        try:
            return Expander(self._globals, self._file.escape).word(stage.base)
        except ExpansionError as error:
            raise DockerfileError(self._file.source, stage.line, str(error)) from error

    def _stage(self, file: Dockerfile, stage: Stage) -> Result:
        base = self._base_name(stage)
        if not base:
            raise DockerfileError(file.source, stage.line, f"base name ({stage.base}) should not be blank")
        self._check_platform(stage)
        total = 1 + sum(step.keyword in {"ADD", "COPY", "WORKDIR"} for step in stage.instructions)
        with self._progress.step(f"[{stage.name} 1/{total}] FROM {base}") as step:
            result = self._base(file, stage, base, step)
        builder = StageBuilder(self._surroundings(file, stage), result)
        triggers = builder.triggers(stage.line)
        require_runnable(file, triggers)
        count = 1
        for instruction in [*triggers, *stage.instructions]:
            count = self._apply(builder, stage, instruction, count, total)
        return result

    def _apply(self, builder: StageBuilder, stage: Stage, step: Instruction, count: int, total: int) -> int:
        """Apply one instruction; those that make files get a line of progress. Returns the new count."""
        if step.keyword not in {"ADD", "COPY", "WORKDIR"}:
            builder.apply(step, self._progress.warn)
            return count
        if step.keyword in {"ADD", "COPY"} and not step.flag("from"):
            _ = self._context  # loaded now, so that its step does not stand inside this one
        with self._progress.step(f"[{stage.name} {count + 1}/{total}] {step}") as shown:
            builder.apply(step, shown.say)
        return count + 1

    def _check_platform(self, stage: Stage) -> None:
        wanted = Expander(self._globals, self._file.escape).word(stage.platform or "")
        if wanted and wanted != self._platform:
            problem = f"not emulated: platform {wanted} (this machine is {self._platform})"
            raise DockerfileError(self._file.source, stage.line, problem)

    def _surroundings(self, file: Dockerfile, stage: Stage) -> Surroundings:
        return Surroundings(
            file=file,
            store=self._store,
            global_arguments=self._globals,
            build_arguments=self._options.arguments,
            consumed=self._consumed,
            time=self._time,
            created=self._created,
            context=lambda: self._context,
            source=lambda name: self._source(file, stage, name),
            say=self._progress.warn,
        )

    def _base(self, file: Dockerfile, stage: Stage, name: str, step: Step) -> Result:
        """What a stage starts from: an earlier stage, or an image."""
        earlier = file.stage(name)
        if earlier is not None and earlier.number < stage.number and not name.isdecimal():
            return self._done[earlier.number].copy()
        try:
            return self._bases.start(name, self._created, step.say)
        except InvalidReferenceError as error:
            problem = f'failed to parse stage name "{name}": {error}'
            raise DockerfileError(file.source, stage.line, problem) from error

    def _source(self, file: Dockerfile, stage: Stage, name: str) -> Tree:
        """The files that ``--from=name`` stands for."""
        other = file.stage(name)
        if other is not None and other.number < stage.number:
            return self._done[other.number].tree
        if other is not None:
            raise CopyError(f"circular dependency detected on stage: {name}")
        if name not in self._images:
            self._images[name] = self._bases.files(name, self._progress.warn)
        return self._images[name]

    def _export(self, file: Dockerfile, stage: Stage) -> Image:
        with self._progress.step("exporting to image") as step:
            result = self._done[stage.number]
            if self._options.labels:
                result.config.setdefault("Labels", {}).update(self._options.labels)
            around = self._surroundings(file, stage)
            config = oci.encode(configuration(result, around, oci.architecture()))
            descriptor = oci.Descriptor(oci.CONFIG, self._store.add(config), len(config))
            step.say("exporting layers done")
            image = self._store.put_image(manifest_of(descriptor, [made.blob for made in result.layers]))
            step.say(f"writing image {image.id} done")
            for reference in self._options.tags:
                self._store.tag(reference, image.digest)
                step.say(f"naming to {reference} done")
        unused = sorted(set(self._options.arguments) - self._consumed - _PREDEFINED)
        if unused:
            self._progress.warn(f"[Warning] One or more build-args [{' '.join(unused)}] were not consumed")
        return image


_PREDEFINED = {
    name
    for word in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (word, word.lower())
} | {"SOURCE_DATE_EPOCH", "BUILDKIT_INLINE_CACHE"}
