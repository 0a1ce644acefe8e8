"""The small HTML writer and the rendering of traces."""

from __future__ import annotations

from lab.emulator.pages.ansi import trace
from lab.emulator.pages.html import Markup, badge, element, facts, link, page, render, table, took, when


def test_text_is_escaped_and_markup_is_not():
    assert render("<b>&'\"") == "&lt;b&gt;&amp;&#x27;&quot;"
    assert element("p", "<i>", Markup("<i>x</i>"), title='"x"') == '<p title="&quot;x&quot;">&lt;i&gt;<i>x</i></p>'
    assert render([None, False, "a", [1, "<"]]) == "a1&lt;"


def test_attributes():
    assert element("div", class_="a", aria_label="b", id=None) == '<div class="a" aria-label="b"></div>'
    assert element("meta", name="x") == '<meta name="x">'


def test_a_link_never_carries_a_script():
    assert link("x", "javascript:alert(1)") == "x"
    assert link("x", "/a?b=c&d") == '<a href="/a?b=c&amp;d">x</a>'


def test_a_badge_always_says_the_word():
    assert badge("success") == '<span class="badge good">success</span>'
    assert badge("waiting_for_resource") == '<span class="badge busy">waiting for resource</span>'
    assert badge("whatever") == '<span class="badge plain">whatever</span>'


def test_tables_and_facts():
    assert "<th>A</th>" in table(["A"], [["<1>"]], empty="none")
    assert "&lt;1&gt;" in table(["A"], [["<1>"]], empty="none")
    assert table(["A"], [], empty="none") == '<p class="quiet">none</p>'
    assert facts([("a", ""), ("b", "x"), ("c", None)]) == "<dl><dt>b</dt><dd>x</dd></dl>"


def test_times():
    assert "21 Nov 04:22:01 UTC" in when("2026-11-21T04:22:01.123Z")
    assert when(None) == ""
    assert when("soon") == "soon"
    assert [took(value) for value in (None, 0.04, 0.44, 12.3, 185)] == ["", "40 ms", "0.4 s", "12 s", "3 min 5 s"]


def test_a_page_is_marked_and_allows_no_script():
    answer = page("<t>", "body", trail=[("a", "/")], product="Argo CD")
    assert "<strong>EMULATOR</strong>" in answer.text
    assert "<h1>&lt;t&gt;</h1>" in answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_a_trace_shows_colours_and_the_last_state_of_a_line():
    shown = trace(b"\x1b[0Ksection_start:123:step_script\r\x1b[0K\x1b[0K\x1b[36;1mRunning\x1b[0;m\n10%\r100%\r\n<x>\n")
    assert shown == '<pre class="trace"><span class="c6 b">Running</span>\n100%\n&lt;x&gt;\n</pre>'


def test_a_trace_survives_anything():
    assert "\x1b" not in trace(b"\xff\xfe\x1b[38;5;12mx\x1b]0;title\x07y\x1b[2Jz\x1b")
    assert "bytes before this are not shown" in trace(b"x" * (1024 * 1024 + 10))
