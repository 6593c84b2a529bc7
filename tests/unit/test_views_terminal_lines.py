"""A log on the screen: what it shows, and where it stands."""

import asyncio
from collections.abc import Callable

import pytest
from textual.events import MouseScrollDown, MouseScrollUp

from brummer.logs.text import colour_of
from brummer.views.log_lines import LogLine, note
from brummer.views.terminal.kept_lines import KeptLines
from brummer.views.terminal.lines import Lines
from brummer.views.terminal.scrolled_lines import FLOOD_PICTURE_S
from tests.unit.terminal_support import LogApp, line, log_is_shown, log_on_screen, rows, send, some_lines, texts


async def test_the_newest_lines_are_at_the_bottom() -> None:
    async with log_on_screen() as (log, pilot):
        log.append(some_lines(1, 30))
        await pilot.pause()
        assert texts(log) == [f"line {n}" for n in range(21, 31)]
        log.append([line(31)])
        await log_is_shown(log, "line 31")
        assert texts(log)[0] == "line 22"
        assert log.follow


async def test_a_few_lines_stand_at_the_top() -> None:
    async with log_on_screen() as (log, pilot):
        log.append(some_lines(1, 2))
        await pilot.pause()
        assert rows(log) == ["  line 1", "  line 2", *[""] * 8]


async def test_who_looks_up_is_held_there_and_new_lines_are_counted_below() -> None:
    async with log_on_screen() as (log, pilot):
        log.append(some_lines(1, 30))
        await pilot.pause()
        await pilot.press("up")
        seen = texts(log)
        assert seen[0] == "line 20"
        assert not log.follow
        log.append([*some_lines(31, 90), note("one"), line(91)])
        assert log.unseen == 61, "a note is no line"
        log.follow = False
        assert texts(log) == seen
        await pilot.press("end")
        assert texts(log)[-1] == "line 91"
        assert log.follow
        assert log.unseen == 0


async def test_it_follows_again_when_the_end_is_reached_by_scrolling() -> None:
    async with log_on_screen() as (log, pilot):
        log.append(some_lines(1, 30))
        await pilot.pause()
        await pilot.press("pageup", "up", "pagedown")
        assert not log.follow
        await pilot.press("pagedown")
        assert log.follow


async def test_each_change_of_following_and_of_the_count_is_told() -> None:
    async with log_on_screen() as (log, pilot):
        assert isinstance(pilot.app, LogApp)
        log.append(some_lines(1, 30))
        await pilot.pause()
        assert pilot.app.took(Lines.Moved) == 0
        await pilot.press("up")
        assert pilot.app.took(Lines.Moved) == 1
        log.append([line(31)])
        assert log.lines[-1].n == 31
        await pilot.pause()
        assert pilot.app.took(Lines.Moved) == 1


async def test_the_oldest_lines_go_when_there_are_too_many_and_what_follows_stays_at_the_end() -> None:
    async with log_on_screen(kept=KeptLines(max_lines=50)) as (log, _):
        for first in range(1, 400, 40):
            log.append(some_lines(first, first + 39))
            assert log.lines[-1].n == first + 39
        assert [line.n for line in log.lines] == list(range(351, 401))
        assert texts(log) == [f"line {n}" for n in range(391, 401)]


async def test_a_wrapped_line_goes_on_in_the_next_row_under_its_text() -> None:
    async with log_on_screen((20, 4)) as (log, pilot):
        log.wraps = True
        log.append([line(1, "abcdefghijklmnopqrstuvwxyz")])
        await pilot.pause()
        assert rows(log)[:2] == ["  abcdefghijklmnopq", "  rstuvwxyz"]
        log.shows_names = True
        assert rows(log)[:2] == ["  dev abcdefghijklm", "      nopqrstuvwxyz"]


async def test_a_flood_is_drawn_at_most_four_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast the pages come; a slow machine draws less often, never more often."""
    async with log_on_screen() as (log, _):
        pictures = 0
        draws_line = log.render_line

        def counting(y: int) -> object:
            nonlocal pictures
            pictures += y == 0
            return draws_line(y)

        monkeypatch.setattr(log, "render_line", counting)
        loop, n = asyncio.get_running_loop(), 0
        began_s = loop.time()
        while loop.time() < began_s + 1:
            log.append(some_lines(n, n + 499))
            n += 500
            await asyncio.sleep(0.002)
        assert pictures <= (loop.time() - began_s) / FLOOD_PICTURE_S + 2
        await log_is_shown(log, f"line {n - 1}")


async def test_who_reads_in_a_flood_keeps_what_is_read_and_is_told_how_much_has_come() -> None:
    async with log_on_screen(kept=KeptLines(max_lines=50)) as (log, pilot):
        assert isinstance(pilot.app, LogApp)
        log.append(some_lines(1, 30))
        await pilot.pause()
        await pilot.press("up")
        seen = texts(log)
        log.append(some_lines(31, 50))
        for first in range(51, 1051, 100):
            log.append(some_lines(first, first + 99))
            assert log.lines[-1].n == 50, "later ones are only counted"
        assert texts(log) == seen
        assert log.unseen == 1020
        await pilot.press("end")
        await pilot.pause()
        assert pilot.app.took(Lines.ReachedEnd) == 1, "the newest lines must be asked for"
        assert not log.follow
        log.clear()
        log.append(some_lines(1046, 1050))
        assert log.follow
        assert log.unseen == 0
        await log_is_shown(log, "line 1050")
        assert pilot.app.took(Lines.ReachedEnd) == 0


async def test_who_scrolls_to_the_end_of_a_log_that_is_cut_off_wants_the_newest_lines() -> None:
    async with log_on_screen(kept=KeptLines(max_lines=20)) as (log, pilot):
        assert isinstance(pilot.app, LogApp)
        log.append(some_lines(1, 20))
        await pilot.pause()
        await pilot.press("up")
        log.append([line(21)])
        assert log.unseen == 1
        await pilot.press("down")
        await pilot.pause()
        assert pilot.app.took(Lines.ReachedEnd) == 1
        assert log.unseen == 1
        assert not log.follow


async def test_at_the_top_earlier_lines_are_wanted_and_what_is_seen_stays_when_they_come() -> None:
    async with log_on_screen() as (log, pilot):
        assert isinstance(pilot.app, LogApp)
        log.append(some_lines(101, 130))
        await pilot.pause()
        await pilot.press("up")
        assert pilot.app.took(Lines.ReachedTop) == 0
        await pilot.press("home")
        assert pilot.app.took(Lines.ReachedTop) == 1
        seen = texts(log)
        assert seen[0] == "line 101"
        log.prepend(some_lines(91, 100))
        assert texts(log) == seen
        await pilot.press("up")
        assert texts(log)[0] == "line 100"
        assert pilot.app.took(Lines.ReachedTop) == 0
        await pilot.press("home", "up")
        assert pilot.app.took(Lines.ReachedTop) == 2, "each attempt counts: an answer may be lost"
        log.prepend([])
        await pilot.press("up")
        assert pilot.app.took(Lines.ReachedTop) == 0, "there are none"


async def test_at_the_top_by_the_wheel_or_the_scroll_bar_earlier_lines_are_wanted_too() -> None:
    async with log_on_screen() as (log, pilot):
        assert isinstance(pilot.app, LogApp)
        log.append(some_lines(101, 113))
        await pilot.pause()
        send(pilot.app, MouseScrollUp, (5, 5))
        await pilot.pause()
        assert texts(log)[0] == "line 101"
        assert pilot.app.took(Lines.ReachedTop) == 1
        await pilot.press("end")
        log.scroll_to(y=0, animate=False)
        await pilot.pause()
        assert pilot.app.took(Lines.ReachedTop) == 1


async def test_earlier_lines_make_room_for_themselves_by_the_newest() -> None:
    async with log_on_screen(kept=KeptLines(max_lines=30)) as (log, pilot):
        assert isinstance(pilot.app, LogApp)
        log.append(some_lines(101, 130))
        await pilot.pause()
        await pilot.press("home")
        log.prepend(some_lines(81, 100))
        assert [log.lines[0].n, log.lines[-1].n] == [81, 110]
        await pilot.press("end")
        await pilot.pause()
        assert pilot.app.took(Lines.ReachedEnd) == 1


async def test_earlier_lines_do_not_move_a_log_that_follows() -> None:
    async with log_on_screen() as (log, pilot):
        log.append(some_lines(101, 130))
        await pilot.pause()
        log.prepend(some_lines(91, 100))
        assert texts(log)[-1] == "line 130"
        assert log.follow


async def test_the_wheel_moves_the_log_and_with_shift_sideways() -> None:
    async with log_on_screen() as (log, pilot):
        log.append([line(n, f"line {n} {'abcdefgh' * 6}") for n in range(1, 31)])
        await pilot.pause()
        for kind, shift, top in (
            (MouseScrollUp, False, "line 18 "),
            (MouseScrollDown, False, "line 21 "),
            (MouseScrollDown, True, "abcdefgh"),
            (MouseScrollUp, True, "line 21 "),
        ):
            send(pilot.app, kind, (5, 5), shift=shift)
            await pilot.pause()
            assert texts(log)[0].startswith(top)
        assert log.follow, "down again it follows"


async def test_long_lines_move_sideways_behind_their_marks() -> None:
    async with log_on_screen((20, 3)) as (log, pilot):
        log.append([line(1, "0123456789" * 4, level="error"), line(2, "漢字" * 12)])
        await pilot.pause()
        assert rows(log)[:2] == ["✖ 01234567890123456", "  漢字漢字漢字漢字"]
        log.focus()
        await pilot.press("right")
        assert rows(log)[:2] == ["✖ 89012345678901234", "  漢字漢字漢字漢字"]
        log.sideways(1)
        assert rows(log)[:2] == ["✖ 90123456789012345", "   字漢字漢字漢字漢"], "of half a character there is a blank"
        log.sideways(1000)
        assert rows(log)[:2] == ["✖ 123456789", "   漢字漢字漢字漢字"], "the longest one ends at the edge"
        await pilot.press("left", "left", "left", "left", "left", "left")
        assert rows(log)[0] == "✖ 01234567890123456"


async def test_a_resize_keeps_the_first_line_of_a_held_log_and_the_last_of_one_that_follows() -> None:
    async with log_on_screen((30, 8)) as (log, pilot):
        log.wraps = True
        log.append([line(n, f"line {n} {'x' * 40}") for n in range(1, 31)])
        await pilot.pause()
        await pilot.resize_terminal(60, 8)
        assert texts(log)[-1].startswith("line 30")
        log.go_to(12)
        log.scroll_to(y=11, animate=False, force=True)
        assert texts(log)[0].startswith("line 12")
        await pilot.resize_terminal(30, 5)
        assert texts(log)[0].startswith("line 12")
        assert not log.follow


async def test_times_are_those_of_this_place_and_can_be_switched_off(in_zone: Callable[[str], None]) -> None:
    in_zone("Asia/Kathmandu")
    async with log_on_screen() as (log, pilot):
        log.shows_times = True
        log.append([line(1), LogLine(2, "at some time", "dev", "odd"), note("a note without one")])
        await pilot.pause()
        assert rows(log)[:3] == [
            "  00:49:03 line 1",
            "           odd",
            "           ── a note without one ──",
        ]
        log.shows_times = False
        assert rows(log)[0] == "  line 1"


async def test_names_stand_in_a_column_that_grows_with_them_up_to_a_width() -> None:
    async with log_on_screen() as (log, pilot):
        log.shows_names = True
        log.append([line(1)])
        await pilot.pause()
        assert rows(log)[0] == "  dev line 1"
        log.append([line(2, script="worker"), line(3, script="very-long-name-of-a-script"), line(4, script="\u202e漢")])
        assert len(log.lines) == 4
        assert rows(log)[:4] == [
            "  dev          line 1",
            "  worker       line 2",
            "  very-long-n… line 3",
            "  \\u202e漢     line 4",
        ]


async def test_a_name_has_the_colour_that_it_has_in_all_commands() -> None:
    async with log_on_screen() as (log, pilot):
        log.shows_names = True
        names = ["dev", "web", "worker", "css", "api", "db", "[red]"]
        log.append([line(n, script=name) for n, name in enumerate(names)])
        await pilot.pause()
        for y, name in enumerate(names):
            style = next(segment.style for segment in log.render_line(y) if segment.text.startswith(name))
            assert style is not None
            assert style.color is not None
            code = style.color.number or 0
            assert (code + 30 if code < 8 else code + 82) == colour_of(name)


async def test_errors_and_warnings_have_a_mark_and_not_a_colour_alone() -> None:
    async with log_on_screen() as (log, pilot):
        log.append([line(1, level="error"), line(2, level="warning"), line(3), note("x")])
        await pilot.pause()
        assert rows(log)[:4] == ["✖ line 1", "! line 2", "  line 3", "  ── x ──"]
        assert [styles_of(log, y, "line") or styles_of(log, y, "x") for y in range(4)] == [
            "red",
            "yellow",
            "default",
            "dim",
        ]


def styles_of(log: Lines, y: int, text: str) -> str | None:
    """The colour in which this text is drawn, or what else makes it different."""
    for segment in log.render_line(y):
        if text in segment.text and segment.style is not None:
            style = segment.style
            if style.dim:
                return "dim"
            reverse = "reversed " if style.reverse else ""
            return reverse + (style.color.name if style.color else "none")
    return None


async def test_a_line_keeps_the_colours_of_its_script_but_hides_and_blinks_nothing() -> None:
    async with log_on_screen() as (log, pilot):
        coloured = "a \x1b[32mgreen\x1b[0m \x1b[8mhidden\x1b[0m \x1b[5mblinking\x1b[0m"
        log.append([line(1, "a green hidden blinking", coloured=coloured), line(2, "other text", coloured=coloured)])
        await pilot.pause()
        assert rows(log)[:2] == ["  a green hidden blinking", "  other text"]
        assert styles_of(log, 0, "green") == "color(2)"
        assert not any(
            segment.style and (segment.style.conceal or segment.style.blink) for segment in log.render_line(0)
        )
        assert styles_of(log, 1, "other") == "default", "colours of another text are not taken"


async def test_what_is_looked_for_is_shown_wherever_it_stands() -> None:
    async with log_on_screen() as (log, pilot):
        log.append([line(1, "one Error, one error"), line(2, "[red]error[/]"), line(3, "nothing")])
        await pilot.pause()
        log.find("error")
        assert [reversed_in(log, y) for y in range(3)] == [["Error", "error"], ["error"], []]
        log.find("Error")
        assert [reversed_in(log, y) for y in range(3)] == [["Error"], [], []], "capital letters are meant"
        log.find("[red]")
        assert reversed_in(log, 1) == ["[red]"], "it is no pattern"
        log.find("")
        assert [reversed_in(log, y) for y in range(3)] == [[], [], []]
        assert not log.find_next(1)


def reversed_in(log: Lines, y: int) -> list[str]:
    return [segment.text for segment in log.render_line(y) if segment.style and segment.style.reverse]


async def test_the_next_find_is_above_or_below_and_held_on_the_screen() -> None:
    async with log_on_screen() as (log, pilot):
        log.append([line(n, f"line {n} hit hit" if n in {5, 50} else f"line {n}") for n in range(1, 101)])
        await pilot.pause()
        log.find("hit")
        assert log.find_next(-1)
        assert not log.follow
        assert any(row.startswith("line 50 ") for row in texts(log))
        assert log.find_next(-1), "the other one in this line"
        assert any(row.startswith("line 50 ") for row in texts(log))
        assert log.find_next(-1)
        assert any(row.startswith("line 5 ") for row in texts(log))
        assert log.find_next(-1)
        assert not log.find_next(-1), "there are no more"
        for _ in range(3):
            assert log.find_next(1)
        assert not log.find_next(1)
        await pilot.press("home")
        assert log.find_next(1), "it begins again on the screen"
        assert any(row.startswith("line 5 ") for row in texts(log))


@pytest.mark.parametrize("wraps", ["wrapped", "in one row"])
async def test_a_find_far_in_a_long_line_is_brought_on_the_screen(wraps: str) -> None:
    async with log_on_screen((20, 5)) as (log, pilot):
        log.wraps = wraps == "wrapped"
        log.append([*some_lines(1, 9), line(10, "x" * 800 + "needle" + "x" * 800), *some_lines(11, 20)])
        await pilot.pause()
        log.find("needle")
        assert log.find_next(-1)
        shown = "".join(texts(log))
        assert "needle" in shown
        found = [
            segment for y in range(5) for segment in log.render_line(y) if segment.style and segment.style.underline
        ]
        assert "".join(segment.text for segment in found) == "needle", "it is the chosen one"


async def test_a_line_is_gone_to_by_its_number_and_marked() -> None:
    async with log_on_screen() as (log, pilot):
        log.append([*some_lines(1, 40), note("3 lines"), line(44), *some_lines(45, 90)])
        await pilot.pause()
        assert log.go_to(20)
        assert "line 20" in texts(log)
        assert reversed_in(log, texts(log).index("line 20")) == ["  "]
        assert not log.follow
        assert log.go_to(42), "the first one after it"
        assert "line 44" in texts(log)
        assert log.go_to(90)
        log.append([line(91)])
        assert log.lines[-1].n == 91
        assert "line 91" not in texts(log), "it is held there, also at the end"
        seen = texts(log)
        assert not log.go_to(92)
        assert texts(log) == seen


async def test_what_is_above_can_be_hidden_and_shown_again() -> None:
    async with log_on_screen() as (log, pilot):
        assert isinstance(pilot.app, LogApp)
        log.append(some_lines(1, 30))
        await pilot.pause()
        await pilot.press("up")
        log.hide_above()
        assert log.hidden == 30
        assert [row[:24] for row in texts(log)] == ["── the view was cleared "]
        log.append([line(31)])
        await log_is_shown(log, "line 31")
        assert len(texts(log)) == 2
        await pilot.press("home")
        assert pilot.app.took(Lines.ReachedTop) == 0
        assert not log.find_next(-1)
        log.find("line 7")
        assert not log.find_next(-1), "what is hidden is not found"
        log.show_above()
        assert texts(log)[-1] == "line 31"
        assert log.find_next(-1)
        log.hide_above()
        assert log.go_to(7), "who goes to a hidden line sees it"
        assert "line 7" in texts(log)
        assert log.hidden == 0


async def test_a_log_that_is_cut_off_gets_its_end_before_anything_is_hidden() -> None:
    async with log_on_screen(kept=KeptLines(max_lines=20)) as (log, pilot):
        assert isinstance(pilot.app, LogApp)
        log.append(some_lines(1, 20))
        await pilot.pause()
        await pilot.press("up")
        log.append([line(21)])
        log.hide_above()
        await pilot.pause()
        assert log.hidden == 0
        assert pilot.app.took(Lines.ReachedEnd) == 1


async def test_a_log_that_is_out_of_sight_keeps_its_place() -> None:
    async with log_on_screen((30, 8)) as (log, pilot):
        log.wraps = True
        log.append([line(n, f"line {n} {'x' * 40}") for n in range(1, 31)])
        await pilot.pause()
        log.go_to(12)
        seen = texts(log)
        log.display = False
        await pilot.pause()
        log.append([line(31)])
        await pilot.pause()
        log.display = True
        await pilot.pause()
        assert texts(log) == seen


async def test_lines_that_come_after_a_rest_wait_for_no_turn_of_the_loop() -> None:
    async with log_on_screen() as (log, _):
        log.append(some_lines(1, 3))
        assert texts(log)[:3] == ["line 1", "line 2", "line 3"]


async def test_lines_that_come_before_the_first_picture_are_shown() -> None:
    app = LogApp()
    app.log_lines.append(some_lines(1, 3))
    async with app.run_test(size=(40, 10)):
        await log_is_shown(app.log_lines, "line 3")
