import itertools
import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.cells import cell_len
from shapes import fits

from lab.console import Console
from lab.console.schema import schema
from lab.errors import UsageError
from lab.journal import Run, Span
from lab.timings import show, show_run
from lab.timings.change import WHOLE, changes
from lab.timings.chart import chart
from lab.timings.page import Chapter, page
from lab.timings.path import critical

SVG = "{http://www.w3.org/2000/svg}"


def span(name, start, end, *needs, state="done", title=""):
    return Span(name, title or name, needs, start, end, state)


def run(*spans, parallel=8, task="up", engine="embedded", outcome="done", **more):
    seconds = max((item.end for item in spans), default=0.0)
    found = Run(Path("x.jsonl"), task, 1_800_000_000.0, engine, "d", "b", parallel, outcome, seconds=seconds)
    return replace(found, spans=tuple(spans), **more)


def names(found):
    return [link.span.name for link in critical(found)]


DIAMOND = run(
    span("a", 0, 1), span("quick", 1, 2, "a"), span("slow", 1, 5, "a"), span("end", 5, 6, "quick", "slow"),
    span("aside", 0, 4),
)  # fmt: skip


def test_the_path_goes_through_the_slower_branch():
    assert names(DIAMOND) == ["a", "slow", "end"]


def test_it_ends_with_the_step_that_ended_last_and_not_with_the_last_in_the_list():
    assert names(run(span("a", 0, 9), span("b", 0, 1), span("c", 1, 2, "b"))) == ["a"]


def test_a_wait_for_a_slot_is_part_of_the_path():
    found = run(span("a", 0, 3), span("b", 0, 2), span("c", 2, 5), parallel=2)
    links = critical(found)
    assert [link.span.name for link in links] == ["b", "c"]
    assert (links[1].waited, links[1].freed_by, links[1].ready) == (2, "b", 0)


def test_with_slots_enough_a_late_start_is_nobodys_fault():
    links = critical(run(span("a", 0, 3), span("b", 0, 2), span("c", 2, 5), parallel=3))
    assert [(link.span.name, link.freed_by) for link in links] == [("c", "")]


def test_a_slot_matters_only_from_the_moment_at_which_the_step_could_have_run():
    found = run(
        span("a", 0, 4), span("b", 0, 6), span("c", 4, 5, "a"), span("d", 5, 7, "a"), span("e", 7, 8, "d"), parallel=2
    )
    links = critical(found)
    assert [link.span.name for link in links] == ["a", "c", "d", "e"]
    assert [(link.span.name, link.waited) for link in links if link.freed_by] == [("d", 1)]


def test_one_slot_makes_every_step_critical():
    found = run(span("a", 0, 1), span("b", 1, 2), span("c", 2, 3), parallel=1)
    assert names(found) == ["a", "b", "c"]


def test_steps_of_no_length_do_not_go_round_in_circles():
    assert names(run(span("a", 1, 1), span("b", 1, 1, "a"), span("c", 1, 1, "b"))) in (["a"], ["a", "b", "c"])
    assert names(run(span("a", 1, 1, "b"), span("b", 1, 1, "a"))) in (["a"], ["b", "a"], ["a", "b"])
    assert critical(run()) == []


def test_a_needed_step_that_never_ran_is_passed_over():
    assert names(run(span("b", 0, 1, "gone"))) == ["b"]


@pytest.mark.parametrize("width", [80, 120])
def test_the_chart_keeps_to_its_width(width):
    long = span("z" * 50, 6, 7, "end", state="failed", title="A title that is much longer than any room for it " * 4)
    found = run(*DIAMOND.spans, long, outcome="failed", error="a problem " * 30)
    lines = list(chart(found, critical(found), changes(found, [found]), width))
    assert max(map(len, lines)) <= width
    rows = [line for line in lines if "█" in line or "▒" in line][:-1]
    assert {len(row) for row in rows} == {max(map(len, rows))}
    assert len(rows) == 6
    failed = next(row for row in rows if "zzz" in row)
    assert failed.startswith("◆ ✗ failed")


@pytest.mark.parametrize("width", [80, 120])
def test_bars_lie_where_their_times_are(width):
    lines = list(chart(DIAMOND, critical(DIAMOND), None, width))
    bars = {name: next(line for line in lines if f" {name} " in line) for name in ("a", "quick", "slow", "end")}
    assert bars["a"].index("█") < bars["slow"].index("█") < bars["end"].index("█")
    assert bars["quick"].index("▒") == bars["slow"].index("█")
    assert abs(bars["slow"].count("█") - 4 * bars["a"].count("█")) <= 4
    assert "█" not in bars["quick"]


def test_wide_characters_count_as_two_columns():
    found = run(span("a", 0, 1, title="分支" * 20), span("b", 1, 2, "a", title="x"))
    lines = [line for line in chart(found, critical(found), None, 80) if "█" in line][:2]
    assert cell_len(lines[0]) == cell_len(lines[1]) <= 80


def test_a_wait_for_a_slot_is_drawn_and_said():
    found = run(span("a", 0, 3), span("b", 0, 2), span("c", 2, 5), parallel=2)
    lines = list(chart(found, critical(found), None, 80))
    assert any("·····" in line and line.startswith("◆") for line in lines)
    assert any("(waited 2.00 s for the slot of b)" in line for line in lines)


def test_a_run_that_was_killed_is_drawn():
    found = run(span("a", 0, 1), span("b", 1, 2, "a", state="unfinished"), outcome="unfinished")
    assert any("… cut off b" in line for line in chart(found, critical(found), None, 80))


def test_changes_compare_with_the_median():
    earlier = [run(span("a", 0, seconds), span("b", 0, 1)) for seconds in (1.0, 1.1, 50.0)]
    found = changes(run(span("a", 0, 2.2), span("b", 0, 1.05)), earlier)
    assert [(change.name, change.usual, change.runs) for change in found] == [("a", 1.1, 3), (WHOLE, 1.1, 3)]
    assert found[0].factor == pytest.approx(2.0)
    faster = changes(run(span("a", 0, 0.2), span("b", 0, 1)), earlier)
    assert [change.name for change in faster] == ["a"]
    assert faster[0].factor < 1


def test_looking_is_not_compared_with_acting_nor_one_engine_with_another():
    now = run(span("a", 0, 5))
    assert changes(now, [run(span("a", 0, 1, state="satisfied"))]) == []
    assert changes(now, [run(span("a", 0, 1), engine="docker")]) is None


def test_small_differences_are_noise():
    assert changes(run(span("a", 0, 0.09)), [run(span("a", 0, 0.01))]) == []
    assert changes(run(span("a", 0, 14)), [run(span("a", 0, 10))]) == []


def tree(text: str) -> ET.Element:
    return ET.fromstring(text.partition("\n")[2])


def test_the_page_is_well_formed_and_needs_nothing_else():
    odd = span("<b>&\"'", 0, 2, title="</title><script>alert(1)</script>")
    found = run(odd, span("c", 2, 5), parallel=1, error="<&>", outcome="failed")
    text = page([Chapter(found, critical(found), changes(found, [found])), Chapter(DIAMOND, critical(DIAMOND), None)])
    root = tree(text)
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert not tags & {"script", "link", "img", "iframe", "object"}
    assert not [name for element in root.iter() for name in element.attrib if name in ("src", "href")]
    assert "url(" not in text
    assert "@import" not in text
    assert "@media print" in text
    assert len(root.findall(f".//{SVG}svg")) == 2


def test_the_pages_bars_lie_inside_the_picture():
    late = run(span("a", 0, 1), span("b", 1, 1.0001, "a"))
    root = tree(page([Chapter(late, critical(late), None)]))
    width = float(root.find(f".//{SVG}svg").attrib["viewBox"].split()[2])
    bars = root.findall(f".//{SVG}rect")
    assert len(bars) == 2
    for bar in bars:
        assert float(bar.attrib["width"]) > 0
        assert float(bar.attrib["x"]) + float(bar.attrib["width"]) <= width


@pytest.fixture
def lab(tmp_path):
    """A .lab with journals of three runs with steps and one without."""
    folder = tmp_path / "journal"
    folder.mkdir()
    for number, seconds in enumerate((1.0, 1.0, 4.0)):
        rows = [
            {"type": "run", "at": 0, "wall": 1.8e9 + number, "task": "up", "engine": "embedded", "settings": "d",
             "boot": "b"},
            {"type": "plan", "at": 0, "parallel": 2, "steps": [{"step": "a", "title": "A", "needs": []}]},
            {"type": "step", "at": 0, "step": "a", "event": "started"},
            {"type": "step", "at": seconds, "step": "a", "event": "ended", "state": "done", "detail": ""},
            {"type": "end", "at": seconds, "outcome": "done"},
        ]  # fmt: skip
        (folder / f"2026010{number}-up.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "20260109-stop.jsonl").write_text(json.dumps({**rows[0], "task": "stop"}))
    return tmp_path


def shown(folder, *, as_json=False, last="1", html=""):
    stream = StringIO()
    show(Console(as_json=as_json, stream=stream), folder, last=last, html=html)
    return stream.getvalue()


def test_the_newest_run_with_steps_is_shown_with_what_got_slower(lab):
    text = shown(lab)
    assert text.count("up on embedded") == 1
    assert "↑ slower  a: 4.00 s, median of 2 earlier runs 1.00 s, 4.0 times as long" in text


def test_more_runs_the_newest_last(lab):
    text = shown(lab, last="99")
    lengths = [line for line in text.splitlines() if line.startswith("up on")]
    assert ["1.00 s" in line for line in lengths] == [True, True, False]


def test_documents(lab):
    documents = [json.loads(line) for line in shown(lab, as_json=True, last="2").splitlines()]
    assert [document["type"] for document in documents] == ["timings"] * 2
    assert all(map(fits, documents))
    shape = next(shape for shape in schema()["oneOf"] if shape["properties"]["type"]["const"] == "timings")
    for rows in ("steps", "changes"):
        wanted = set(shape["properties"][rows]["items"]["properties"])
        assert {frozenset(row) for row in documents[1][rows]} == {frozenset(wanted)}
    assert documents[1]["critical"] == ["a"]
    assert documents[1]["steps"][0]["state"] == "done"
    assert {change["name"]: change["factor"] for change in documents[1]["changes"]} == {"a": 4.0, WHOLE: 4.0}


def test_the_page_is_written_where_a_person_said(lab, tmp_path):
    assert "1 run," in shown(lab, html=str(tmp_path / "t.html"))
    assert tree((tmp_path / "t.html").read_text()).find(f".//{SVG}svg") is not None
    with pytest.raises(UsageError, match="cannot be written"):
        shown(lab, html=str(tmp_path / "none/t.html"))


@pytest.mark.parametrize("last", ["0", "-1", "x", "", "1.5"])
def test_a_number_of_runs_that_is_none(lab, last):
    with pytest.raises(UsageError, match="above 0"):
        shown(lab, last=last)


def test_nothing_has_run_yet(tmp_path):
    with pytest.raises(UsageError, match="No run"):
        shown(tmp_path)
    assert list(tmp_path.iterdir()) == []
    stream = StringIO()
    show_run(Console(stream=stream), tmp_path)
    assert stream.getvalue() == ""


def test_a_plan_that_fills_its_slots_is_explained_by_them():
    """Ten steps of one second each, three at once: four rounds, whose chain has no holes."""
    rounds = itertools.product(range(4), range(3))
    found = run(*[span(f"s{at}{slot}", at, at + 1) for at, slot in rounds][:10], parallel=3)
    assert [link.span.start for link in critical(found)] == [0, 1, 2, 3]
