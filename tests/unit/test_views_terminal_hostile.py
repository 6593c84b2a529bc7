"""Lines that want to do more than be read: they are drawn as text, and the terminal gets none of their sequences."""

import re

import pytest
from textual.drivers.headless_driver import HeadlessDriver

from brummer.contract.texts import compact
from brummer.logs.output import Line
from brummer.views.log_lines import LogLine, page_of
from tests.unit.terminal_support import AT, LogApp, log_is_shown, log_on_screen, rows

HOSTILE = [
    "[red]markup[/] [@click=app.quit]click[/] [link=https://evil.example]link[/link]",
    "\x1b]52;c;ZXZpbA==\x07clipboard",
    "\x1b[2J\x1b[H\x1b[?1049l\x1b[31mcleared",
    "\x1b]0;title\x07\x1b]8;;https://evil.example\x1b\\link",
    "\x1bPq#0\x1b\\sixel \x9b2Jc1",
    "NUL \x00 bell \x07 back \x08\x08\x08 up \x1b[A delete \x7f",
    "reversed \u202eenil\u202c isolated \u2067x\u2069 mark \u200f",
    "zero\u200bwidth \ufeff\u2060\u00ad\U000e0041",
    "lines\r\nends\u2028and\u2029more\x85",
    "x" * 16_384,
    "\u0301" * 5_000,
    "a" + "\u0301" * 5_000,
    "👩\u200d" * 3_000,
    "\u202e" * 2_000,
    "\t" * 9_000,
    "\ud800 lone",
    "",
]
OURS = re.compile(
    r"\x1b\[[0-9;]*[mHJK]"  # styles, places, and what is cleared
    r"|\x1b\]22;[a-z]*\x07"  # the shape of the pointer
)
"""What Textual itself writes while it draws."""


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that a terminal would get."""
    data: list[str] = []
    monkeypatch.setattr(HeadlessDriver, "is_headless", property(lambda self: False))
    monkeypatch.setattr(HeadlessDriver, "write", lambda self, text: data.append(text))
    return data


def raw(n: int, text: str) -> LogLine:
    """As no answer of an instance has it: nothing was taken out of it."""
    return LogLine(n, AT, "[red]\x1b[31mevil\u202e", text, coloured=text)


@pytest.mark.parametrize("wraps", ["wrapped", "in one row"])
@pytest.mark.promise("lines-are-only-text")
async def test_the_terminal_gets_no_sequence_of_a_line(written: list[str], wraps: str) -> None:
    async with log_on_screen((80, 24)) as (log, pilot):
        log.wraps, log.shows_names, log.shows_times = wraps == "wrapped", True, True
        for n, text in enumerate(HOSTILE):
            written.clear()
            log.clear()
            log.append([raw(n, text), LogLine(n + 1, AT, "dev", f"the end of {n}")])
            await log_is_shown(log, f"the end of {n}")
            await pilot.pause()
            shown = "".join(written)
            assert f"the end of {n}" in shown
            left = OURS.sub("", shown)
            assert "\x1b" not in left, ascii(re.findall("\x1b.{0,20}", left))
            assert not set(left) & set(
                "\x00\x07\x08\x7f\x85\x9b\t\r\u202e\u202c\u2067\u2069\u200b\ufeff\u2060\u2028\u2029"
            )
            assert "\ud800" not in left


async def test_each_row_is_as_wide_as_the_screen_whatever_stands_in_it() -> None:
    async with log_on_screen((80, 24)) as (log, pilot):
        for wraps in (True, False):
            log.wraps = wraps
            log.clear()
            log.append([raw(n, text) for n, text in enumerate(HOSTILE)])
            await pilot.pause()
            for row in range(0, log.virtual_size.height, 20):
                log.scroll_to(y=row, animate=False, force=True)
                assert {log.render_line(y).cell_length for y in range(24)} == {80}


async def test_markup_is_text() -> None:
    async with log_on_screen((90, 24)) as (log, pilot):
        log.append([LogLine(1, AT, "dev", HOSTILE[0])])
        await pilot.pause()
        assert rows(log)[0] == f"  {HOSTILE[0]}"
        await pilot.click(offset=(25, 0))
        assert isinstance(pilot.app, LogApp)
        assert pilot.app.is_running


async def test_what_an_answer_brings_is_drawn_as_plain_text() -> None:
    answer = compact({"lines": [Line(n, "dev", "stdout", AT, text) for n, text in enumerate(HOSTILE[:4], 1)]})
    async with log_on_screen((80, 24)) as (log, pilot):
        log.append(page_of(answer, continues=False))
        await pilot.pause()
        assert rows(log)[1:4] == ["  clipboard", "  cleared", "  link"]


async def test_without_colours_all_is_still_told_apart(monkeypatch: pytest.MonkeyPatch, written: list[str]) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with log_on_screen((80, 24)) as (log, pilot):
        log.append(
            [LogLine(1, AT, "dev", "broken", "error", coloured="\x1b[32mbroken"), LogLine(2, AT, "dev", "found it")]
        )
        log.find("found")
        await pilot.pause()
        styles = set(re.findall(r"\x1b\[([0-9;]*)m", "".join(written)))
        codes = {int(code) for style in styles for code in style.split(";") if code}
        assert codes <= {0, 1, 2, 4, 7, 39, 49}, "no colours"
        assert 7 in codes, "what is found is reversed"
        assert rows(log)[0] == "✖ broken"
