"""What a drag over a log copies: exactly the text of its lines."""

import asyncio
import base64
import re
import shlex
from pathlib import Path

import pytest
from textual.drivers.headless_driver import HeadlessDriver
from textual.geometry import Offset

from brummer.views.log_lines import left_out
from brummer.views.terminal import copying
from brummer.views.terminal.cells import columns_of
from brummer.views.terminal.copying import Point, Selected, between, clipboard_programs, copy_by, word_at
from brummer.views.terminal.kept_lines import KeptLines
from brummer.views.terminal.lines import DRAG_S, Lines
from tests.unit.terminal_support import LogApp, drag, line, log_on_screen, rows, some_lines

HEAD = 2
"""Columns in front of the text of a line, without time and name."""
ROCKET = "👩\u200d🚀"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was sent to the terminal's clipboard (OSC 52), decoded."""
    texts: list[str] = []

    def write(_: HeadlessDriver, data: str) -> None:
        texts.extend(base64.b64decode(each).decode() for each in re.findall(r"\x1b\]52;c;([^\x07]*)\x07", data))

    monkeypatch.setattr(HeadlessDriver, "write", write)
    return texts


@pytest.mark.parametrize(
    ("start", "end", "copied"),
    [
        ((HEAD, 0), (HEAD + 4, 0), "alpha"),
        ((HEAD + 4, 0), (HEAD, 0), "alpha"),
        ((HEAD + 2, 0), (HEAD + 1, 1), "pha\nbe"),
        ((HEAD + 1, 1), (HEAD + 2, 0), "pha\nbe"),
        ((0, 0), (30, 2), "alpha\nbeta\ngamma"),
        ((HEAD + 2, 1), (38, 1), "ta"),
        ((HEAD, 1), (5, 8), "beta\ngamma"),
        ((HEAD, 0), (0, 1), "alpha\n"),
    ],
)
@pytest.mark.promise("a-drag-copies-the-text")
async def test_a_drag_copies_what_it_covers_on_release(
    sent: list[str], start: tuple[int, int], end: tuple[int, int], copied: str
) -> None:
    async with log_on_screen() as (log, pilot):
        log.append([line(1, "alpha"), line(2, "beta"), line(3, "gamma")])
        await pilot.pause()
        await drag(pilot, start, end)
        assert sent == [copied]
        assert log.selected_text == copied, "it stays selected"


@pytest.mark.promise("a-drag-copies-the-text")
async def test_neither_times_nor_names_nor_marks_are_copied(sent: list[str]) -> None:
    async with log_on_screen() as (log, pilot):
        log.shows_times = log.shows_names = True
        log.append([line(1, "alpha", level="error"), line(2, "beta", "web")])
        await pilot.pause()
        assert rows(log)[0].startswith("✖ ")
        assert rows(log)[0].endswith(" dev alpha")
        await drag(pilot, (0, 0), (39, 1))
        assert sent == ["alpha\nbeta"]


@pytest.mark.promise("a-drag-copies-the-text")
async def test_of_a_wrapped_line_no_row_end_is_copied(sent: list[str]) -> None:
    async with log_on_screen((20, 6)) as (log, pilot):
        log.wraps = True
        log.append([line(1, "abcdefghijklmnopqrstuvwxyz0123456789ABCDEF"), line(2, "next")])
        await pilot.pause()
        await drag(pilot, (HEAD + 10, 0), (HEAD + 1, 2))
        assert sent == ["klmnopqrstuvwxyz0123456789"[:26]]
        await drag(pilot, (HEAD, 0), (18, 0), (19, 0))
        assert sent[1:] == ["abcdefghijklmnopq"], "beyond the row is its last character"
        await drag(pilot, (HEAD, 2), (HEAD, 3))
        assert sent[2:] == ["89ABCDEF\nn"]


@pytest.mark.promise("a-drag-copies-the-text")
async def test_a_character_is_copied_whole_from_each_of_its_cells(sent: list[str]) -> None:
    clusters = ["漢", "e\u0301", "👍🏽", "🇩🇪", ROCKET, "❤\ufe0f", "\t", "\u202e", "\u200b"]
    async with log_on_screen() as (log, pilot):
        log.append([line(n, f"a{cluster}b") for n, cluster in enumerate(clusters)])
        await pilot.pause()
        for row, cluster in enumerate(clusters):
            last = HEAD + columns_of(f"a{cluster}b") - 1
            await drag(pilot, (HEAD, row), (last, row))
            assert sent.pop() == f"a{cluster}b"
            for column in range(HEAD + 1, last):
                await drag(pilot, (HEAD, row), (column, row))
                await drag(pilot, (last, row), (column, row))
                assert sent[-2:] == [f"a{cluster}", f"{cluster}b"]


@pytest.mark.parametrize(
    "text", ["x0" * 8192, "漢" * 5461, ROCKET * 1489, "a\u0301" * 5461], ids=["ascii", "wide", "emoji", "accents"]
)
@pytest.mark.parametrize("wraps", ["wrapped", "in one row"])
@pytest.mark.promise("a-drag-copies-the-text")
async def test_a_line_of_16_kib_is_copied_whole(sent: list[str], text: str, wraps: str) -> None:
    async with log_on_screen((60, 12)) as (log, pilot):
        log.wraps = wraps == "wrapped"
        log.append([line(1, "before"), line(2, text), line(3, "after")])
        await pilot.pause()
        await pilot.press("home")
        await pilot.mouse_down(offset=Offset(HEAD, 0))
        await pilot.hover(offset=Offset(HEAD, 1))
        log.scroll_to(y=log.max_scroll_y, animate=False, force=True)
        bottom = min(11, log.virtual_size.height - 1)
        await pilot.hover(offset=Offset(30, bottom))
        await pilot.mouse_up(offset=Offset(30, bottom))
        assert sent == [f"before\n{text}\nafter"]


@pytest.mark.parametrize(("start", "over", "last"), [(0, 9, 12), (30, 0, 20)], ids=["down", "up"])
async def test_a_drag_over_the_edge_scrolls_until_it_ends(sent: list[str], start: int, over: int, last: int) -> None:
    async with log_on_screen((30, 10)) as (log, pilot):
        log.styles.margin = (2, 0)
        log.append(some_lines(1, 40))
        await pilot.pause()
        log.follow = start > 0
        log.scroll_to(y=start, animate=False, force=True)
        began, first_column, last_column = log.scroll_offset.y + 1, HEAD, HEAD + 6
        if start:
            first_column, last_column = last_column, first_column
        await pilot.mouse_down(offset=Offset(first_column, 2))
        await pilot.hover(offset=Offset(last_column, over))
        async with asyncio.timeout(20):
            while f"line {last}" not in log.selected_text.split("\n"):
                await asyncio.sleep(0)
        await pilot.hover(offset=Offset(last_column, 4))
        at = log.scroll_offset
        await pilot.pause(3 * DRAG_S)
        assert log.scroll_offset == at, "inside the edges it stands"
        await pilot.mouse_up(offset=Offset(last_column, 4))
        first, end = sorted((began, at.y + 3))
        assert sent == ["\n".join(f"line {n}" for n in range(first, end + 1))]


async def test_the_wheel_scrolls_while_the_button_is_pressed(sent: list[str]) -> None:
    async with log_on_screen((30, 5)) as (log, pilot):
        log.append(some_lines(1, 40))
        await pilot.pause()
        await pilot.press("home")
        await pilot.mouse_down(offset=Offset(HEAD, 0))
        await pilot.hover(offset=Offset(HEAD + 6, 4))
        log.scroll_to(y=20, animate=False, force=True)
        await pilot.mouse_up(offset=Offset(HEAD + 6, 4))
        assert sent == ["\n".join(f"line {n}" for n in range(1, 26))]


@pytest.mark.promise("a-drag-copies-the-text")
async def test_what_is_selected_stays_the_same_while_lines_come_and_go(sent: list[str]) -> None:
    async with log_on_screen((30, 5), KeptLines(max_lines=50)) as (log, pilot):
        log.append(some_lines(1, 48))
        await pilot.pause()
        await pilot.mouse_down(offset=Offset(HEAD, 1))
        await pilot.hover(offset=Offset(HEAD + 6, 2))
        seen = rows(log)
        log.append(some_lines(49, 60))
        assert len(log.lines) == 50
        assert rows(log) == seen, "the log stands still under the pointer"
        await pilot.mouse_up(offset=Offset(HEAD + 6, 2))
        assert sent == ["line 45\nline 46"]
        assert rows(log)[-1] == "  line 60", "afterwards it follows as before"
        log.prepend([])
        log.append(some_lines(61, 100))
        assert log.lines[0].n == 51
        assert log.selected_text == "", "what is no longer kept can't be copied again"


async def test_a_click_copies_nothing_and_ends_the_selection(sent: list[str]) -> None:
    async with log_on_screen() as (log, pilot):
        log.append([line(1, "alpha")])
        await pilot.pause()
        await drag(pilot, (HEAD, 0), (HEAD + 3, 0))
        await pilot.click(offset=(HEAD, 0))
        assert log.selected_text == ""
        await pilot.click(offset=(HEAD, 5), button=3)
        assert sent == ["alph"]


async def test_a_double_click_copies_a_word_and_a_triple_click_the_line(sent: list[str]) -> None:
    async with log_on_screen() as (log, pilot):
        log.append([line(1, "at shop/cellar.py:10 in main")])
        await pilot.pause()
        await pilot.double_click(offset=(HEAD + 8, 0))
        await pilot.pause()
        assert sent == ["shop/cellar.py:10"]
        await pilot.triple_click(offset=(HEAD + 8, 0))
        await pilot.pause()
        assert sent[-1] == "at shop/cellar.py:10 in main"


async def test_without_a_selection_the_lines_on_the_screen_are_copied(sent: list[str]) -> None:
    async with log_on_screen((20, 3)) as (log, pilot):
        assert isinstance(pilot.app, LogApp)
        log.copy()
        assert sent == [], "there is nothing"
        log.append([*some_lines(1, 9), line(10, "longer than a row of this screen"), left_out(3)])
        await pilot.pause()
        log.copy()
        assert sent == ["line 9\nlonger than a row of this screen\n── 3 lines of flood are left out here ──"]
        await drag(pilot, (HEAD, 0), (HEAD + 3, 0))
        log.copy()
        assert sent[1:] == ["line", "line"]
        await pilot.pause()
        assert [message.text for message in pilot.app.messages if isinstance(message, Lines.Copied)] == sent


async def test_hidden_lines_are_not_copied(sent: list[str]) -> None:
    async with log_on_screen() as (log, pilot):
        log.append([line(1, "alpha"), line(2, "beta")])
        await pilot.pause()
        log.hide_above()
        log.append([line(3, "gamma")])
        assert len(log.lines) == 4
        await drag(pilot, (HEAD, 0), (30, 5))
        assert sent[0].endswith("\ngamma")
        assert "beta" not in sent[0]


async def test_a_lone_surrogate_does_not_end_the_view(sent: list[str]) -> None:
    async with log_on_screen() as (log, pilot):
        log.append([line(1, "a\ud800b")])
        await pilot.pause()
        log.copy()
        assert sent == ["a?b"]


def test_what_is_between_two_characters_is_the_same_from_both_sides() -> None:
    one, other = Point(3, 4, 5), Point(3, 1, 2)
    assert between(one, other) == between(other, one) == Selected((3, 1), (3, 5))
    assert Selected((1, 2), (3, 4)).span_in(2, 9) == (0, 9)
    assert Selected((1, 2), (3, 4)).span_in(4, 9) == (0, 0)


@pytest.mark.parametrize(("offset", "word"), [(0, "at"), (1, "at"), (2, ""), (4, "x.py"), (99, "")])
def test_a_word_stands_between_blanks(offset: int, word: str) -> None:
    text = "at x.py"
    assert word_at(5, text, offset).text(lambda place: text, 5, 6) == word


@pytest.mark.parametrize(
    ("environ", "platform", "programs"),
    [
        ({}, "linux", []),
        ({}, "darwin", ["pbcopy"]),
        ({"DISPLAY": ":0"}, "linux", ["xclip", "xsel"]),
        ({"DISPLAY": ":0", "WAYLAND_DISPLAY": "wayland-0"}, "linux", ["wl-copy", "xclip", "xsel"]),
        ({"DISPLAY": "localhost:10.0", "SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"}, "linux", []),
        ({"SSH_TTY": "/dev/ttys001"}, "darwin", []),
    ],
)
def test_a_terminal_that_ignores_what_is_sent_is_not_the_only_way(
    environ: dict[str, str], platform: str, programs: list[str]
) -> None:
    assert [program[0] for program in clipboard_programs(environ, platform)] == programs


def test_the_first_program_that_takes_the_text_gets_it(tmp_path: Path) -> None:
    into = tmp_path / "clipboard"
    takes = ["sh", "-c", f"cat > {shlex.quote(str(into))}"]
    assert copy_by([[str(tmp_path / "missing")], ["false"], takes, ["false"]], "one\ntwo \u202e漢")
    assert into.read_text(encoding="utf-8") == "one\ntwo \u202e漢"
    assert not copy_by([["false"]], "lost")
    assert not copy_by([], "lost")


def test_a_program_that_waits_for_ever_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "PROGRAM_S", 0.05)
    assert not copy_by([["sleep", "60"]], "text")


async def test_what_is_copied_also_goes_to_the_clipboard_of_this_machine(sent: list[str]) -> None:
    got = asyncio.Queue[str]()
    loop = asyncio.get_running_loop()

    def clipboard(text: str) -> None:
        loop.call_soon_threadsafe(got.put_nowait, text)

    async with log_on_screen(clipboard=clipboard) as (log, pilot):
        log.append([line(1, "alpha")])
        await pilot.pause()
        log.copy()
        async with asyncio.timeout(20):
            assert await got.get() == "alpha"
        assert sent == ["alpha"]
