"""The live area on a real pseudo-terminal: what a person sees, and in which state the terminal is left."""

from __future__ import annotations

import re
import textwrap

import pytest
from screen import on_terminal

BEGIN = """
import os, sys, threading
from lab.console import Console
from lab.errors import LabError
from lab.main import main
from lab.plan import Needed, Outcome, Satisfied, Step, run
from lab.waiting import Pending

console = Console(environ=os.environ)
told = threading.Event()  # the test has said "go on"
threading.Thread(target=lambda: (os.read(9, 1), told.set()), daemon=True).start()

def ready():
    return "ready" if told.is_set() else Pending("/-/readiness answers 502")

def wait(context):
    context.wait("GitLab", ready, timeout=30)
    return "GitLab answers"

def step(name, title, act, *needs):
    return Step(name, title, lambda _c: Needed("not there"), act, needs)

image = step("image", "Image pulled", lambda _c: "240 MB")
gitlab = step("gitlab", "GitLab answers", wait, "image")
last = step("last", "Project root/hichat", lambda _c: "created, id 1", "gitlab")
"""
RUN = """
with console.live(3):
    run([image, gitlab, last], on_event=console.event)
console.line("3 actions done.")
"""


def program(code: str, **options):
    return on_terminal(BEGIN + textwrap.dedent(code), **{"columns": 100, **options})


def test_a_waiting_step_says_what_it_waits_for_and_leaves_one_line():
    with program(RUN) as found:
        found.until("1 running")
        seen = [re.sub(r" [\d.]+ s", " N s", line) for line in found.screen.visible()]
        assert seen == [
            "✓ done        N s  Image pulled                                 240 MB",
            "… waiting        N s  GitLab answers                               GitLab: /-/readiness answers",
            "                                                                   502",
            "  1 done, 1 running, 1 to come; N s so far",
        ]
        found.go_on()
        assert found.end() == 0
        words = [line.split()[:2] for line in found.screen.visible()]
        assert words == [["✓", "done"], ["✓", "done"], ["✓", "done"], ["3", "actions"]]
        assert not found.screen.hidden


def test_the_area_of_a_program_that_is_killed_leaves_a_cursor():
    with program(RUN) as found:
        found.until("… waiting")
        assert not found.screen.hidden
        assert "\x1b[?25l" not in found.output, "what hides the cursor cannot show it again after a kill -9"
        found.go_on()
        found.end()


def test_an_error_stands_below_a_closed_area():
    code = """
    def broken(_c):
        raise KeyError("metadata")
    def work(lab):
        lab.console.mask(["s3cret-value"])
        with lab.console.live(2):
            run([gitlab2, step("bad", "Webhook", broken, "gitlab")], on_event=lab.console.event)
        raise LabError("LAB-X-01", "Webhook: KeyError s3cret-value", evidence="seen", hint="invoke up")
    gitlab2 = step("gitlab", "GitLab answers", wait)
    sys.exit(main(work, os.environ))
    """
    with program(code) as found:
        found.until("… waiting")
        found.go_on()
        assert found.end() == 1
        seen = found.screen.visible()
        assert seen[-3:] == ["✗ Error  Webhook: KeyError [masked] [LAB-X-01]", "    seen", "  → invoke up"]
        assert [line.split()[1] for line in seen[:-3] if line[:1] in "✓✗"] == ["done", "failed"]
        assert not any("waiting" in line or "running" in line for line in seen)


def test_an_exception_inside_closes_the_area():
    code = """
    try:
        with console.live():
            console.note("T3 no delivery yet")
            told.wait(30)
            raise RuntimeError("torn")
    except RuntimeError as error:
        console.line(f"caught {error}")
    """
    with program(code) as found:
        found.until("T3 no delivery yet")
        found.go_on()
        assert found.end() == 0
        assert found.screen.visible() == ["caught torn"]


def test_ctrl_c_leaves_a_clean_terminal(tmp_path):
    code = """
    def work(lab):
        with lab.console.live(3):
            run([image, gitlab, last], stop=lab.stop_event, on_event=lab.console.event)
    sys.exit(main(work, os.environ))
    """
    with program(code, LAB_HOME=str(tmp_path)) as found:
        found.until("… waiting")
        found.type("\x03")
        assert found.end() == 130
        seen = found.screen.visible()
        assert [line.split()[1] for line in seen if line[:1] in "✓-✗"] == ["done", "stopped", "skipped", "Error"]
        assert not any("… waiting" in line or "^C" in line or "so far" in line for line in seen)
        assert not found.screen.hidden


def test_the_second_ctrl_c_leaves_the_prompt_on_a_line_of_its_own(tmp_path):
    code = """
    def work(lab):
        with lab.console.live():
            lab.console.note("something that does not stop")
            threading.Event().wait(30)
    sys.exit(main(work, os.environ))
    """
    with program(code, LAB_HOME=str(tmp_path)) as found:
        found.until("does not stop")
        found.type("\x03\x03")
        assert found.end() == 130
        assert found.screen.column == 0
        assert not found.screen.hidden


def test_threads_print_whole_lines_above_the_area():
    code = """
    def speak(number):
        for turn in range(20):
            console.line(f"thread {number} turn {turn}")
            print(f"loose {number} turn {turn}", file=sys.stderr)
    with console.live():
        console.note("all of them")
        told.wait(30)
        threads = [threading.Thread(target=speak, args=(number,)) for number in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    """
    with program(code, rows=200) as found:
        found.until("all of them")
        found.go_on()
        assert found.end() == 0
        words = ("thread", "loose")
        wanted = sorted(f"{word} {number} turn {turn}" for word in words for number in range(4) for turn in range(20))
        assert sorted(found.screen.visible()) == wanted


@pytest.mark.parametrize(("columns", "rows"), [(60, 24), (100, 3), (150, 40), (44, 12)])
def test_a_window_that_changes_its_size_shows_each_line_once(columns, rows):
    code = """
    for number in range(5):
        console.line(f"line {number} " + "-" * 60)
    with console.live(3):
        run([image, gitlab, last], on_event=console.event)
    """
    with program(code) as found:
        found.until("1 running")
        found.resize(columns, rows)
        found.drawn_again("so far")
        found.go_on()
        assert found.end() == 0
        seen = " ".join(found.screen.visible())
        assert "… waiting" not in seen
        assert "so far" not in seen
        for word in ["created, id 1", *([f"line {number} " for number in range(5)] if rows > 20 else [])]:
            assert seen.count(word) == 1, word


def test_no_color_means_none():
    with program(RUN, NO_COLOR="1") as found:
        found.until("… waiting")
        found.go_on()
        assert found.end() == 0
        assert not re.search(r"\x1b\[[\d;]*m", found.output)
        assert "\x1b[1A" in found.output, "the area is drawn all the same"


@pytest.mark.parametrize("environ", [{"TERM": "dumb"}, {"TERM": ""}, {"CI": "true", "NO_COLOR": "1"}])
def test_where_lines_cannot_be_drawn_again_there_are_plain_lines(environ):
    with program(RUN, **environ) as found:
        found.until("Image pulled")
        found.go_on()
        assert found.end() == 0
        assert "\x1b" not in found.output
        assert [line.split()[1] for line in found.screen.visible()] == ["done", "done", "done", "actions"]


def test_a_run_that_is_over_in_a_moment_does_without_rich():
    code = """
    import lab.console.printer
    lab.console.printer._PATIENCE = 30
    with console.live(1):
        run([image], on_event=console.event)
    console.line(str("rich.live" in sys.modules))
    """
    with program(code) as found:
        assert found.end() == 0
        assert found.screen.visible()[-1] == "False"
        assert "\x1b[1A" not in found.output


def test_bytes_that_come_are_drawn_with_speed_and_rest():
    code = """
    def pull(context):
        for megabytes in range(121):
            context.progress(megabytes * 1_000_000, 240_000_000)
            told.wait(0.005)
        told.wait(30)
        return "240 MB"
    with console.live(1):
        run([step("image", "Image pulled", pull)], on_event=console.event)
    """
    with program(code, columns=120) as found:
        found.until("50 %, 120 of 240 MB, ")
        row = found.screen.visible()[0]
        assert re.search(r"^> running +\d+ s  Image pulled +50 %, 120 of 240 MB, [\d.]+ MB/s, \d+ (s|min) left$", row)
        found.go_on()
        assert found.end() == 0
        assert [line.split()[:2] for line in found.screen.visible()] == [["✓", "done"]]
