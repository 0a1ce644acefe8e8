"""Lines made of cells, at the widths that people have."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from lab.console.layout import Cell, arrange, clean, cut, plain, wrap
from lab.console.quantities import Transfer, about, clock, size

HEAD = (Cell("✓ ok", 9, "green"), Cell("hook.settings", 22))
TEXT = "allow_local_requests_from_web_hooks_and_services is on; hook 1, executable"


def laid_out(*args, **options):
    return [plain(line) for line in arrange(*args, **options)]


def test_in_a_file_every_line_is_as_long_as_it_is():
    assert laid_out(HEAD, TEXT, width=None) == [f"✓ ok      hook.settings          {TEXT}"]


def test_a_text_goes_on_below_itself():
    assert laid_out(HEAD, TEXT, width=80) == [
        "✓ ok      hook.settings          allow_local_requests_from_web_hooks_and_",
        "                                 services is on; hook 1, executable",
    ]


def test_a_text_without_room_beside_its_head_goes_below_it():
    assert laid_out(HEAD, TEXT, width=60) == [
        "✓ ok      hook.settings",
        "            allow_local_requests_from_web_hooks_and_services",
        "            is on; hook 1, executable",
    ]


def test_a_head_that_is_too_long_is_wrapped_in_its_own_column():
    head = (Cell("✓ done", 11), Cell("Emulator on 127.0.0.1, ports 8929, 5050, 8443", 44))
    assert laid_out(head, "started, pid 7", width=40) == [
        "✓ done      Emulator on 127.0.0.1, ports",
        "            8929, 5050, 8443",
        "              started, pid 7",
    ]


def test_short_texts_stay_beside_their_heads_on_the_narrowest_terminal():
    assert laid_out((Cell("Engine:"),), "embedded", width=20) == ["Engine: embedded"]
    assert laid_out((), "no head at all", width=8) == ["no head", "at all"]


def test_at_most_so_many_lines_and_the_last_one_says_that_there_is_more():
    assert laid_out(HEAD, TEXT, width=60, most=2) == [
        "✓ ok      hook.settings",
        "            allow_local_requests_from_web_hooks_and_service…",
    ]
    assert laid_out(HEAD, TEXT, width=60, most=1) == ["✓ ok      hook.settings"]


@pytest.mark.parametrize("width", [36, 60, 80, 120])
@pytest.mark.parametrize(
    "text",
    [TEXT, "发布到集群的流水线正在运行、请稍候片刻、镜像还没有推送完成", "x" * 300, "a b\n\nc", "👩‍🚀 " * 40, ""],
)
def test_no_line_is_wider_than_the_terminal(width, text):
    head = (Cell("… waiting", 9), Cell("名字很长的步骤、它的标题有很多汉字", 22))
    assert max(cell_len(line) for line in laid_out(head, text, width=width)) <= width


def test_a_command_stays_whole_to_be_copied():
    command = "$ curl -X PUT -d allow_local_requests_from_web_hooks_and_services=true http://127.0.0.1:8929/api/v4"
    assert laid_out((Cell("", 3),), command, width=60) == [f"    {command}"]


def test_nothing_is_lost_by_wrapping():
    lines = laid_out(HEAD, TEXT, width=44)
    assert "".join(line.strip() for line in lines[1:]).replace(" ", "") == TEXT.replace(" ", "")


def test_wide_characters_are_cut_by_their_width():
    assert cut("流水线正在运行", 8) == "流水线…"
    assert cut("流水线", 6) == "流水线"


def test_what_moves_a_cursor_is_taken_out():
    assert clean("\x1b[31mred\x1b[0m\rover\x07 \tx") == "redover     x"
    assert wrap("a\nb", 10) == ["a", "b"]


@pytest.mark.parametrize(("count", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1200, "1.2 kB"), (2.6e9, "2.6 GB")])
def test_sizes(count, text):
    assert size(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.9, "0 s"), (42, "42 s"), (612, "10:12"), (3723, "1:02:03")])
def test_running_times(seconds, text):
    assert clock(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "1 s"), (42, "42 s"), (125, "2 min"), (7300, "2 h")])
def test_guessed_times(seconds, text):
    assert about(seconds) == text


def test_a_transfer_says_how_far_how_fast_and_how_long():
    transfer = Transfer()
    transfer.update(0, 2_600_000_000, now=0)
    transfer.update(1_200_000_000, 2_600_000_000, now=10)
    assert transfer.describe(now=10) == "46 %, 1.2 of 2.6 GB, 120 MB/s, 12 s left"


def test_a_transfer_that_stands_still_becomes_slower():
    transfer = Transfer()
    transfer.update(0, 1000, now=0)
    transfer.update(500, 1000, now=5)
    assert transfer.describe(now=50) == "50 %, 500 bytes of 1.0 kB, 10 bytes/s, 50 s left"


def test_a_transfer_without_a_total_and_one_that_begins_again():
    transfer = Transfer()
    transfer.update(5_000_000, 0, now=0)
    assert transfer.describe(now=0) == "5.0 MB"
    transfer.update(1_000, 0, now=1)
    assert transfer.describe(now=1) == "1.0 kB"
