"""The lab's tasks: flags in, exit code out. `invoke` alone lists them in groups; `invoke --help TASK` explains one."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from invoke import Argument, Collection, Context, Exit, Task, task

if TYPE_CHECKING:
    from lab.app import Lab

GROUPS = {
    "start": ("up", "pull", "bundle", "clone", "env", "creds", "status", "open", "hosts"),
    "every day": ("follow", "smoke", "verify", "logs", "timings", "stop", "start"),
    "own project": ("adopt",),
    "settings": ("config.init", "config.show", "config.set", "config.schema"),
    "when it breaks": ("doctor", "explain", "heal", "support", "reset", "down"),
}


class WordTask(Task[Any]):
    """A task with one optional word behind its name, `clone [DIR]`.

    Invoke knows only words that must be there. So the word is required when the command line has it, and has its
    default when it has not. These tasks' flags take no values: whatever is no flag and no task is the word.
    """

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """The arguments, with the word's default taken away when the word is there."""
        arguments = list(super().get_arguments(ignore_unknown_help))
        names = {name for group in GROUPS.values() for name in group}
        words = sys.argv[sys.argv.index(self.name) + 1 :] if self.name in sys.argv else []
        own = list(itertools.takewhile(lambda word: word not in names, words))
        for argument in arguments:
            if argument.positional and any(not word.startswith("-") for word in own):
                argument.default = None
        return arguments


def _run(work: Callable[[Lab], Any], *, as_json: bool = False) -> None:
    try:
        from lab.main import main  # noqa: PLC0415 - `invoke --list` must not wait for it

        code = main(work, os.environ, as_json=as_json)
    except KeyboardInterrupt:  # before main could take care of it; Invoke itself would end with 1
        raise Exit("Interrupted.", code=130) from None
    if code:
        raise Exit(code=code)


@task(default=True)
def tasks(_c: Context) -> None:
    """List the tasks in groups."""
    from lab.main import list_tasks  # noqa: PLC0415 - as in _run

    groups = {group: [(name, namespace[name].__doc__) for name in names] for group, names in GROUPS.items()}
    list_tasks(groups, os.environ)


@task(
    help={
        "engine": "auto, docker or embedded; decided once and remembered",
        "plan": "look, print what would be done, do nothing",
        "explain": "show for each step what a person would have typed",
        "timings": "draw the run and its critical path at the end",
        "bundle": "a file made by `invoke bundle`: everything comes from it and nothing from a network",
        "json": "one event per line",
    }
)
def up(  # noqa: PLR0917 - Invoke wants flags as plain arguments
    _c: Context,
    engine: str = "",
    plan: bool = False,
    explain: bool = False,
    timings: bool = False,
    bundle: str = "",
    json: bool = False,
) -> None:
    """Build the lab, or repair it; does only what is missing."""
    _run(lambda lab: lab.up(engine, dry=plan, explain=explain, timed=timings, bundle=bundle), as_json=json)


@task(help={"list": "only show what there is, with sizes", "json": "one event per line"})
def pull(_c: Context, list_: bool = False, json: bool = False) -> None:
    """Download everything that the Docker engine needs; start nothing."""
    _run(lambda lab: lab.pull(listing=list_), as_json=json)


@task(positional=["file"], help={"file": "such as lab.tar", "json": "one event per line"})
def bundle(_c: Context, file: str, json: bool = False) -> None:
    """Write everything that the Docker engine needs into one file, for machines without a network."""
    _run(lambda lab: lab.bundle(file), as_json=json)


@task(
    iterable=["only"],
    help={"only": "an id such as hook.delivered; may be repeated", "json": "one check per line", "junit": "XML file"},
)
def verify(_c: Context, only: list[str], json: bool = False, junit: str = "") -> None:
    """Check every link of the loop without changing anything."""
    _run(lambda lab: lab.verify(only, junit), as_json=json)


@task(
    klass=WordTask,
    positional=["commit"],
    help={"commit": "a commit of the code branch; default: the next push", "json": "one hop per line"},
)
def follow(_c: Context, commit: str = "", json: bool = False) -> None:
    """Watch a push travel to its pod, hop by hop, with times."""
    _run(lambda lab: lab.follow(commit), as_json=json)


@task(help={"message": "commit message", "timeout": "seconds", "json": "one hop per line"})
def smoke(_c: Context, message: str = "", timeout: str = "", json: bool = False) -> None:
    """Push a commit and wait until its pod answers."""
    _run(lambda lab: lab.smoke(message, timeout), as_json=json)


@task(klass=WordTask, positional=["folder"], help={"folder": "where to put it; default: the project's name"})
def clone(_c: Context, folder: str = "") -> None:
    """Check the project out, ready to push."""
    _run(lambda lab: lab.clone(folder))


@task
def env(_c: Context) -> None:
    """Print what `eval "$(invoke env)"` needs for kubectl."""
    _run(lambda lab: lab.env())


@task(help={"json": "one JSON document"})
def status(_c: Context, json: bool = False) -> None:
    """Show where everything is and how it is."""
    _run(lambda lab: lab.status(), as_json=json)


@task
def creds(_c: Context) -> None:
    """Show users and passwords."""
    _run(lambda lab: lab.creds())


@task(
    klass=WordTask,
    positional=["component"],
    help={"component": "app, pipeline, argocd, emulator; on Docker gitlab, runner ...", "follow": "go on printing"},
)
def logs(_c: Context, component: str = "", follow: bool = False) -> None:
    """Show a component's log."""
    _run(lambda lab: lab.logs(component, follow=follow))


@task(
    auto_shortflags=False,  # -h is for help
    help={"last": "how many runs", "html": "write them to this file instead", "json": "one run per line"},
)
def timings(_c: Context, last: str = "1", html: str = "", json: bool = False) -> None:
    """Draw where the time of the last runs went."""
    _run(lambda lab: lab.timings(last=last, html=html), as_json=json)


@task(help={"json": "one finding per line", "fix": "mend what needs no root, print the rest as a script"})
def doctor(_c: Context, json: bool = False, fix: bool = False) -> None:
    """Check this machine: what the lab needs, and what mends it."""
    _run(lambda lab: lab.doctor(fix=fix), as_json=json)


@task(help={"json": "one event per line"})
def heal(_c: Context, json: bool = False) -> None:
    """Mend what is broken, after sleep or a restart too, and tell what it was."""
    _run(lambda lab: lab.heal(), as_json=json)


@task(klass=WordTask, positional=["code"], help={"code": "such as LAB-REG-01", "json": "one code per line"})
def explain(_c: Context, code: str = "", json: bool = False) -> None:
    """Say what a code means, what to look at and what mends it."""
    _run(lambda lab: lab.explain(code), as_json=json)


@task(
    klass=WordTask,
    positional=["file"],
    help={"file": "where to write it; default: beside lab.yaml", "json": "one JSON document"},
)
def support(_c: Context, file: str = "", json: bool = False) -> None:
    """Pack logs, events, settings and versions for somebody who helps, without secrets."""
    _run(lambda lab: lab.support(file), as_json=json)


@task(help={"yes": "do not ask"})
def reset(_c: Context, yes: bool = False) -> None:
    """Put project, branches and namespace back to the start."""
    _run(lambda lab: lab.reset(yes=yes))


@task
def stop(_c: Context) -> None:
    """Pause the lab; `start` continues."""
    _run(lambda lab: lab.stop())


@task
def start(_c: Context) -> None:
    """Continue after `stop` or a reboot."""
    _run(lambda lab: lab.up(task="start"))


@task(
    help={
        "purge": "remove the data too, after saving the project as a git bundle",
        "images": "with --purge: also the images that the lab pulled",
        "yes": "do not ask",
    }
)
def down(_c: Context, purge: bool = False, images: bool = False, yes: bool = False) -> None:
    """Remove processes and ports; commits and data stay."""
    _run(lambda lab: lab.down(purge=purge, images=images, yes=yes))


@task(help={"write": "bring them into the hosts files", "remove": "take them out again"})
def hosts(_c: Context, write: bool = False, remove: bool = False) -> None:
    """Show the lines that hosts files need for the lab's names."""
    _run(lambda lab: lab.names.hosts(write=write, remove=remove))


@task(name="open", positional=["place"], help={"place": "gitlab, argocd or app"})
def open_(_c: Context, place: str) -> None:
    """Open a place of the lab in the browser."""
    _run(lambda lab: lab.names.open(place))


@task(
    positional=["path"],
    help={
        "path": "your project's folder",
        "name": "the project's name; default: the folder's",
        "write": "add the missing files and name the project in lab.yaml; nothing is replaced or committed",
        "json": "one document per line",
    },
)
def adopt(_c: Context, path: str, name: str = "", write: bool = False, json: bool = False) -> None:
    """Look into a project of your own and offer what it lacks for the loop."""
    _run(lambda lab: lab.adoption.adopt(path, name=name, write=write), as_json=json)


@task(name="init", help={"force": "replace the lab.yaml that is there"})
def config_init(_c: Context, force: bool = False) -> None:
    """Write a lab.yaml with every setting, explained and commented out."""
    _run(lambda lab: lab.config.init(force=force))


@task(name="show", help={"json": "one setting per line"})
def config_show(_c: Context, json: bool = False) -> None:
    """Show every setting and where its value comes from."""
    _run(lambda lab: lab.config.show(), as_json=json)


@task(name="schema")
def config_schema(_c: Context) -> None:
    """Print the JSON Schema of lab.yaml, for editors."""
    _run(lambda lab: lab.config.schema())


@task(name="set", positional=["key", "value"], help={"key": "such as ports.app", "value": "empty for the default"})
def config_set(_c: Context, key: str, value: str) -> None:
    """Change one setting in lab.yaml; its comments stay."""
    _run(lambda lab: lab.config.set(key, value))


_CONFIG = (config_init, config_show, config_schema, config_set)
namespace = Collection(*(found for found in list(vars().values()) if isinstance(found, Task) and found not in _CONFIG))
namespace.add_collection(Collection("config", *_CONFIG))
