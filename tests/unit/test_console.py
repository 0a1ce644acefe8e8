import io
import json

from lab.console import Console
from lab.errors import LabError
from lab.model import Check, Hop
from lab.plan import Event, Outcome, Step


def console(**options):
    stream = io.StringIO()
    return Console(stream=stream, **options), stream


STEP = Step("a", "Build it", lambda _c: None, lambda _c: "")


def test_an_outcome_has_symbol_word_time_and_reason():
    out, stream = console()
    out.event(Event("ended", STEP, "made", Outcome("a", "done", "made", 1.5)))
    assert stream.getvalue().split() == ["✓", "done", "1.50", "s", "Build", "it", "made"]


def test_json_mode_prints_nothing_but_documents():
    out, stream = console(as_json=True)
    out.line("for people")
    out.event(Event("ended", STEP, "made", Outcome("a", "failed", "made", 1.5, LabError("LAB-X", "no"))))
    out.checks([Check("a.b", "A", ok=False, evidence="none", hint="do")])
    out.hop(Hop("T0", "push", 0.0, "abc"))
    out.error(LabError("LAB-X", "no", evidence="e", hint="h"))
    documents = [json.loads(text) for text in stream.getvalue().splitlines()]
    assert [document["type"] for document in documents] == ["step", "check", "hop", "error"]
    assert documents[0]["error"] == "LAB-X"
    assert documents[3]["exit_code"] == 1


def test_an_error_shows_problem_evidence_and_next_action():
    out, stream = console()
    out.error(LabError("LAB-X", "Port 5050 is in use.", evidence="process 7", hint="End it."))
    assert [line.strip() for line in stream.getvalue().splitlines()] == [
        "✗ Error  Port 5050 is in use. [LAB-X]",
        "process 7",
        "→ End it.",
    ]


def test_secrets_are_masked_in_every_line():
    out, stream = console(secrets=["s3cret"])
    out.line("token s3cret")
    out.error(LabError("X", "s3cret", evidence="s3cret", hint="s3cret"))
    assert "s3cret" not in stream.getvalue()


def test_a_failed_check_shows_what_to_try():
    out, stream = console()
    out.checks([Check("a.b", "A", ok=False, evidence="none", hint="invoke up")])
    assert "✗ failed" in stream.getvalue()
    assert "try: invoke up" in stream.getvalue()


def test_errors_go_where_no_pipe_reads_them(capsys):
    Console().error(LabError("LAB-X", "no"))
    Console().line("yes")
    out, err = capsys.readouterr()
    assert "LAB-X" in err
    assert out == "yes\n"
