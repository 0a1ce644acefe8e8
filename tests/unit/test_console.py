import io
import json

from shapes import fits

from lab.console import Cell, Console
from lab.console.documents import Documents
from lab.console.steps import Lines
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


def test_json_mode_prints_nothing_but_documents_of_the_schema():
    out, stream = console(as_json=True)
    out.line("for people")
    out.event(Event("ended", STEP, "made", Outcome("a", "failed", "made", 1.5, LabError("LAB-X", "no"))))
    out.checks([Check("a.b", "A", ok=False, evidence="none", hint="do")])
    out.hop(Hop("T0", "push", 0.0, "abc"))
    out.error(LabError("LAB-X", "no", evidence="e", hint="h"))
    documents = [json.loads(text) for text in stream.getvalue().splitlines()]
    assert all(map(fits, documents))
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


class Clock:
    """Seconds that pass when told."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_a_transfer_is_told_twice_a_second_and_at_its_end():
    clock = Clock()
    documents = Documents(clock)
    told = []
    for done in range(0, 101, 5):
        told.append(documents.of(Event("progress", STEP, done=done, total=100)))
        clock.now += 0.125
    told = [document for document in told if document]
    assert all(map(fits, told))
    assert [document["done"] for document in told] == [0, 20, 40, 60, 80, 100]


def test_in_a_file_a_wait_is_told_when_it_changes_and_now_and_then():
    clock = Clock()
    lines, said = Lines(clock), []
    for second in range(30):
        said += [(second, text) for _, text in lines.rows(Event("waiting", STEP, f"look {second // 10}"))]
        clock.now += 1
    assert said == [(2, "Build it: look 0"), (10, "Build it: look 1"), (20, "Build it: look 2")]


def test_in_a_file_a_transfer_is_told_every_ten_seconds():
    clock = Clock()
    lines, said = Lines(clock), []
    for second in range(31):
        event = Event("progress", STEP, done=second * 1_000_000, total=240_000_000)
        said += [text for _, text in lines.rows(event)]
        clock.now += 1
    assert said[0] == "Build it: 4 %, 10 of 240 MB, 1.0 MB/s, 4 min left"
    assert len(said) == 3


def test_a_known_cause_is_a_line_and_a_document():
    for options, wanted in (({}, "! cause"), ({"as_json": True}, '"diagnosis"')):
        out, stream = console(**options)
        out.event(Event("diagnosis", STEP, "LAB-REG-01: no login"))
        out.diagnosis("LAB-REG-01", "LAB-REG-01: no login")
        assert stream.getvalue().count(wanted) == 2
        assert stream.getvalue().count("LAB-REG-01: no login") == 2


def test_secrets_are_masked_before_lines_are_made_and_inside_documents():
    out, stream = console(secrets=['s3"cret\\value'])
    out.row((Cell("token"),), 's3"cret\\value')
    out.note('s3"cret\\value')
    assert stream.getvalue() == "token [masked]\n"
    out, stream = console(as_json=True, secrets=['s3"cret\\value'])
    out.document({"type": "status", "rows": {"a": ['s3"cret\\value']}})
    assert json.loads(stream.getvalue())["rows"] == {"a": ["[masked]"]}
