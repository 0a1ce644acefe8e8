"""The shapes of the documents that `--json` prints, field by field, with a sentence for each."""

from __future__ import annotations

from typing import Any

from lab.console.steps import MARKS

Schema = dict[str, Any]
_OUTCOMES = [state for state in MARKS if state not in ("waiting", "running")]


def _text(about: str) -> Schema:
    return {"type": "string", "description": about}


def _texts(about: str) -> Schema:
    return {"type": "array", "items": {"type": "string"}, "description": about}


def _map(about: str) -> Schema:
    return {"type": "object", "additionalProperties": {"type": "string"}, "description": about}


def _rows(about: str, **fields: Schema) -> Schema:
    return {"type": "array", "items": described(fields), "description": about}


def _count(about: str) -> Schema:
    return {"type": "integer", "minimum": 0, "description": about}


def _seconds(about: str) -> Schema:
    return {"type": "number", "minimum": 0, "description": f"Seconds: {about}"}


def _flag(about: str) -> Schema:
    return {"type": "boolean", "description": about}


def _choice(about: str, *values: str) -> Schema:
    return {"enum": list(values), "description": about}


_STEP = _text("The step's stable name, such as `branch.code`.")
_DETAIL = _text("What happened, in one line.")
_TITLE = _text("For people.")
_CODE = _text("Stable code, such as LAB-PORT-01; `invoke explain` knows it.")
_ENGINE = _choice("Where the lab runs.", "docker", "embedded")
_HINT = _text("The next thing to do; empty where there is none.")


def described(fields: Schema) -> Schema:
    """A JSON object with these fields and no others; a name that ends with ``?`` may be absent."""
    return {
        "type": "object",
        "properties": {name.rstrip("?"): field for name, field in fields.items()},
        "required": [name for name in fields if not name.endswith("?")],
        "additionalProperties": False,
    }


def _event(name: str, about: str, **more: Schema) -> tuple[str, Schema]:
    return about, {"step": _STEP, "event": {"const": name}, "detail": _DETAIL, **more}


DOCUMENTS: dict[str, list[tuple[str, Schema]]] = {
    "engine": [("`up`: the engine that is used.", {"name": _ENGINE, "why": _text("Why this one.")})],
    "step": [
        (
            "`up --explain`: one step, nothing is done.",
            {
                "event": {"const": "explained"}, "step": _STEP, "title": _TITLE, "needs": _texts("Steps before it."),
                "explain": _text("What a person would have typed."),
            },
        ),
        _event("started", "`up`: a step begins; it looks before it acts."),
        _event("waiting", "`up`: what a step waits for right now; comes when it changes."),
        _event("diagnosis", "`up`: a known cause of a wait: its code, the problem and the remedy."),
        _event(
            "progress", "`up`: bytes that have come, about twice a second.",
            done=_count("Bytes that are there."), total=_count("Bytes in all; 0 while nobody knows."),
        ),
        _event(
            "ended", "`up`: a step's end.",
            state=_choice("`satisfied`: nothing to do. `needed`, `unknown`: only with --plan.", *_OUTCOMES),
            seconds=_seconds("what it took."),
            **{"error?": _CODE},
        ),
    ],
    "check": [
        (
            "`verify`: one check.",
            {
                "id": _text("Stable name, such as `hook.delivered`."), "title": _TITLE,
                "ok": {"type": ["boolean", "null"], "description": "null: it could not be checked."},
                "evidence": _text("What was seen."), "hint": _HINT,
            },
        ),
    ],
    "hop": [
        (
            "`follow`, `smoke`: a commit has come one hop further.",
            {
                "id": _choice("Which hop.", "T0", "T1", "T2", "T3", "T4", "T5"), "title": _TITLE,
                "seconds": _seconds("since the hop before."), "evidence": _text("What was seen."),
            },
        ),
    ],
    "diagnosis": [
        (
            "`follow`, `smoke`: a known cause of a wait.",
            {"code": _CODE, "detail": _text("Code, problem and remedy in one line.")},
        ),
    ],
    "waiting": [("`follow`, `smoke`: a hop has not come yet.", {"seen": _text("What was seen instead.")})],
    "result": [
        (
            "`up`: its end, also where a step failed.",
            {
                "actions": _count("Steps that acted, or with --plan would act."), "steps": _count("All steps."),
                "dry": _flag("Whether this was only a look (--plan)."),
            },
        ),
        ("`smoke`: the commit has arrived.", {"seconds": _seconds("from push to answer.")}),
        (
            "`adopt`: its end.",
            {"ready": _flag("Whether the loop would work."), "next": _texts("Commands that are left to do.")},
        ),
    ],
    "status": [
        (
            "`status`: the whole of it.",
            {
                "engine": _ENGINE, "healthy": _flag("Whether everything answers."),
                "gitlab": _text("URL."), "registry": _text("host:port as image names have it."),
                "argocd": _text("URL."), "app": _text("URL."), "kubeconfig": _text("Path of a file."),
                "rows": _map("The table that people get: title and text."),
            },
        ),
    ],
    "finding": [
        (
            "`doctor`: one precondition.",
            {
                "id": _text("Stable name, such as `docker.cgroup`."), "title": _TITLE,
                "state": _choice("How it is.", "ok", "unknown", "warning", "problem"),
                "measured": _text("What was seen."), "why": _text("Why it matters."),
                "remedy": _text("Lines; those that begin with `$ ` are commands."),
                "fixable": _flag("Whether --fix mends it."), "stops_up": _flag("Whether `up` cannot work."),
            },
        ),
        (
            "`adopt`: one thing that the loop needs of a repository.",
            {
                "id": _text("Stable name, such as `dockerfile.user`."),
                "level": _choice("How it is.", "ok", "missing", "wrong", "note"), "text": _text("What was seen."),
                "where": _text("File, or file:line."), "hint": _HINT,
            },
        ),
    ],
    "broken": [("`heal`: a step that is not as it should be.", {"step": _STEP, "why": _text("What the look found.")})],
    "since": [("`heal`: why the engine may have ended.", {"text": _text("In one sentence.")})],
    "healed": [
        (
            "`heal`: what became of a broken step.",
            {
                "step": _STEP, "before": _text("What was found."), "after": _text("What was done, or what failed."),
                "mended": _flag("Whether it is as it should be now."),
            },
        ),
    ],
    "machine": [
        (
            "`heal`: something about this machine that only a person can mend.",
            {"id": _text("Stable name, such as `system.clock`."), "measured": _text("What was seen.")},
        ),
    ],
    "heal": [
        (
            "`heal`: its end.",
            {
                "mended": _texts("Steps that were mended."), "checks": _count("Checks that were made."),
                "failed": _texts("Ids of checks that do not pass."),
            },
        ),
    ],
    "timings": [
        (
            "`timings`, `up --timings`: one run.",
            {
                "task": _text("What ran."), "engine": _ENGINE, "began": _seconds("since 1970."),
                "outcome": _choice(
                    "`unfinished`: killed, or it still runs.", "done", "failed", "interrupted", "unfinished"
                ),
                "seconds": _seconds("of the run."), "parallel": _count("Steps at once at most; 0 for a journey."),
                "critical": _texts("The steps or hops of the critical path, in order."),
                "steps": _rows(
                    "What ran, in the order of its start.", step=_STEP, start=_seconds("since the run began."),
                    end=_seconds("since the run began."), state=_text("As in `step`; `unfinished`: cut off."),
                    critical=_flag("Whether it is part of the critical path."),
                    waited_for_slot=_seconds("that it was ready and had to wait for a free slot."),
                ),
                "changes": _rows(
                    "What took clearly longer or shorter than it did before.", name=_text("A step, or the whole run."),
                    seconds=_seconds("in this run."), usual=_seconds("median of earlier runs."),
                    factor={"type": "number", "description": "How many times as long."}, runs=_count("Earlier runs."),
                ),
            },
        ),
    ],
    "support": [
        (
            "`support`: the archive.",
            {
                "file": _text("Where it is."), "files": _texts("What is in it."),
                "parts": _map("Each part with the number of its files, and why there are no more."),
            },
        ),
    ],
    "explanation": [
        (
            "`explain`: one code.",
            {
                "code": _CODE, "language": _choice("Of the texts.", "en", "zh"), "title": _TITLE,
                "cause": _text("Why it happens."), "look": _text("Which evidence to look for."),
                "remedy": _text("What mends it."), "see": _texts("Related codes and checks."),
            },
        ),
    ],
    "repository": [
        (
            "`adopt`: what it looks at.",
            {
                "root": _text("Its folder."), "folder": _text("The project's folder in it."),
                "kind": _text("Such as `bare`."), "branch": _text("Its code branch."), "commits": _count("How many."),
                "stack": {"type": ["string", "null"], "description": "What it is written with, if recognised."},
                "port": _count("Where it listens."), "health": _text("Path that tells its health."),
            },
        ),
    ],
    "offer": [
        (
            "`adopt`: a file that the repository lacks.",
            {"file": _text("Its path."), "text": _text("Its contents."), "written": _flag("Whether it is there now.")},
        ),
    ],
    "settings": [
        (
            "`adopt`: what lab.yaml is to say.",
            {"file": _text("Its path."), "values": _map("Keys and values."), "written": _flag("Whether it does now.")},
        ),
    ],
    "image": [
        (
            "`pull --list`: an image that the Docker engine needs.",
            {
                "name": _text("Short name, as in `images` of lab.yaml."), "image": _text("Its reference."),
                "place": _choice("Who pulls it.", "host", "node", "dind"),
                "state": _choice("Whether it is here; empty where nobody knows.", "here", "absent", ""),
                "download_mb": _count("MB to download, about."), "unpacked_mb": _count("MB on disk, about."),
                "about": _text("What it is for."),
            },
        ),
    ],
    "mended": [("`doctor --fix`: something was mended.", {"what": _text("What was done.")})],
    "script": [("`doctor --fix`: what is left to do, as a shell script.", {"text": _text("The script.")})],
    "setting": [
        (
            "`config.show`: one setting.",
            {"key": _text("Such as `ports.app`."), "value": _text("As in lab.yaml."), "origin": _text("Where from.")},
        ),
    ],
    "error": [
        (
            "Any task: it failed; this is the last document.",
            {
                "code": _CODE, "problem": _text("What is wrong, in one sentence."),
                "evidence": _text("What was seen; may have several lines."), "hint": _HINT,
                "exit_code": {
                    "enum": [1, 2, 3, 4, 130],
                    "description": "1 failed, 2 usage, 3 the machine cannot run it, 4 timed out, 130 interrupted.",
                },
            },
        ),
    ],
}  # fmt: skip
"""Types of documents, their shapes with a sentence each, their fields; a field with ``?`` may be absent."""
