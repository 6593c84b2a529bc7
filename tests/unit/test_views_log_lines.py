import sys

import pytest

from brummer.contract.texts import compact
from brummer.logs.output import Line
from brummer.views.log_lines import LogLine, left_out, newest_of, note, page_of, unfolded

AT = "2026-11-30T19:04:03.123Z"


def folded(*texts: str, process: str = "dev", **more: object) -> dict[str, object]:
    """An answer with these lines, as an instance makes it."""
    lines = [Line(n, process, "stdout", AT, text) for n, text in enumerate(texts, 1)]
    return compact({"lines": lines, **more})


def test_a_folded_group_becomes_one_line_for_each_of_its_lines() -> None:
    assert unfolded(folded("one", "two")) == [LogLine(1, AT, "dev", "one"), LogLine(2, AT, "dev", "two")]


def test_each_line_of_a_group_has_its_own_time_and_the_level_of_the_group() -> None:
    answer = {
        "common": {"process": "dev", "stream": "stderr"},
        "lines": [
            {"n": 7, "at": AT, "text": "KeyError: 'bottle'\n  at shop", "after_ms": [0, 1_000], "level": "error"},
            {"n": 9, "at": AT, "text": "GET /"},
        ],
    }
    assert unfolded(answer) == [
        LogLine(7, AT, "dev", "KeyError: 'bottle'", "error"),
        LogLine(8, "2026-11-30T19:04:04.123Z", "dev", "  at shop", "error"),
        LogLine(9, AT, "dev", "GET /"),
    ]


def test_a_line_in_colours_keeps_them_beside_its_plain_text() -> None:
    (line,) = unfolded(folded("\x1b[32mready\x1b[0m in 3 ms"))
    assert line.text == "ready in 3 ms"
    assert line.coloured == "\x1b[32mready\x1b[0m in 3 ms"


def test_a_line_that_changes_its_colour_thousands_of_times_is_kept_without_colours() -> None:
    (line,) = unfolded(folded("\x1b[31mx" * 1_001))
    assert line.text == "x" * 1_001
    assert line.coloured == ""


def test_other_escape_sequences_and_controls_never_stay_in_a_line() -> None:
    (line,) = unfolded(folded("\x1b[2J\x1b]52;c;aGk=\x07a\x00b\x1b[31mc"))
    assert line.text == "a\ufffdbc"
    assert line.coloured == "a\ufffdb\x1b[31mc"


def test_a_line_of_brummer_itself_is_a_note() -> None:
    (line,) = unfolded({"lines": [{"n": 3, "process": "dev", "stream": "brum", "at": AT, "text": "stopped"}]})
    assert line == LogLine(3, AT, "dev", "stopped", note=True)


@pytest.mark.parametrize("odd", [{}, {"n": "4"}, {"n": 4, "level": "loud"}, {"n": 4, "level": ["error"], "text": 5}])
def test_members_of_another_shape_are_read_as_missing(odd: dict[str, object]) -> None:
    (line,) = unfolded({"lines": [odd]})
    assert line == LogLine(4 if odd.get("n") == 4 else 0, "", "", str(odd.get("text", "")))


def test_lines_that_are_lost_between_two_answers_are_told_in_front_of_the_lines() -> None:
    first, line = page_of(folded("on", dropped=12_040), continues=True)
    assert first == LogLine(0, AT, "", "── 12,040 lines of flood are left out here ──", note=True)
    assert line.text == "on"


def test_a_new_run_of_the_instance_is_told_and_what_came_before_it_is_no_loss() -> None:
    first, line = page_of(folded("on", dropped=3, cursor_reset=True), continues=True)
    assert first.text == "── the instance was started anew ──"
    assert line.text == "on"


def test_the_first_answer_has_no_notes_as_nothing_was_seen_before_it() -> None:
    assert [line.text for line in page_of(folded("on", dropped=3, omitted=9, cursor_reset=True), continues=False)] == [
        "on"
    ]


def test_of_a_flood_the_newest_lines_follow_a_note_on_those_between() -> None:
    answer = {"lines": [{"n": n, "process": "dev", "at": AT, "text": f"line {n}"} for n in (500, 501)]}
    assert [line.text for line in newest_of(answer, after_n=99)] == [left_out(400).text, "line 500", "line 501"]
    assert [line.text for line in newest_of(answer, after_n=499)] == ["line 500", "line 501"]
    assert [line.text for line in newest_of(answer, after_n=500)] == ["line 501"]
    assert newest_of(answer, after_n=501) == []


def test_a_note_alone_is_told_too() -> None:
    assert page_of({"lines": [], "dropped": 1}, continues=True) == [note("1 line is left out here")]
    assert left_out(2).text == "── 2 lines of flood are left out here ──"


def test_a_line_takes_a_fraction_of_the_memory_of_a_dict() -> None:
    """Names, levels and equal times are shared between lines; the text is what is left."""
    one, two = unfolded(
        {"lines": [{"n": n, "process": "".join("dev"), "at": "".join(AT), "text": "a"} for n in (1, 2)]}
    )
    assert one.script is two.script
    assert one.at is two.at
    assert sys.getsizeof(one) <= 72
    assert (
        sys.getsizeof(one) < sys.getsizeof({"n": 1, "at": AT, "process": "dev", "stream": "stdout", "text": "one"}) / 2
    )
