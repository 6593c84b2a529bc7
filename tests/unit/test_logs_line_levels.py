"""Which lines of an answer are errors and warnings, in the memory of an instance and in its journal."""

import random
from collections.abc import Callable
from typing import Any, get_args, get_type_hints

import pytest

from brummer.cli.commands import logs
from brummer.contract.texts import compact, lines_of
from brummer.contract.tools import ReadLogs
from brummer.logs import line_levels, query
from brummer.logs.error_groups import PrintedErrors
from brummer.logs.journal.query import JournalLevels
from brummer.logs.journal.reader import JournalEntries
from brummer.logs.levels import LEVELS, level_of
from brummer.logs.line_levels import STRETCHES, Levels, Stretches
from brummer.logs.output import Batch, Line, Output

from . import tool_outputs

AT = 1_790_000_000.0
TRACE = """Traceback (most recent call last):
  File "/srv/app.py", line 3, in pie
    return shelf["pie"]
KeyError: 'pie'
"""


class Instance:
    """The output of some scripts, read as an instance reads it."""

    def __init__(self) -> None:
        self.output, self.levels = Output("generation-1"), Levels()

    def script(self, name: str = "dev") -> Callable[..., None]:
        errors = PrintedErrors(self.levels.of_process(name))

        def read(batch: Batch) -> None:
            errors.read(batch, 0.0)

        output = self.output.open(name, read)
        return lambda text, stream="stdout", at=AT: output.feed(stream, text.encode(), at)

    def answer(self, **wanted: Any) -> dict[str, Any]:
        asked = query.Wanted(**{"limit": 50_000, "limit_bytes": 1 << 26, **wanted})
        return compact(query.answer(self.output.log, asked, AT, self.levels, process=asked.process))

    def of_lines(self, **wanted: Any) -> dict[int, str | None]:
        return {line["n"]: line.get("level") for line in lines_of(self.answer(**wanted))}

    def journal(self, **wanted: Any) -> dict[int, str | None]:
        """As a black box tells it that has all lines."""
        kept = JournalEntries("generation-1", list(self.output.log.after(0)))
        asked = query.Wanted(**{"limit": 50_000, "limit_bytes": 1 << 26, **wanted})
        answer = compact(query.answer(kept, asked, AT, JournalLevels(kept), process=asked.process))
        return {line["n"]: line.get("level") for line in lines_of(answer)}


SAID = {
    "ordinary": None,
    "INFO started": None,
    "WARN slow": "warning",
    "main.py:3: UserWarning: old": "warning",
    "[warning] disk": "warning",
    '{"level":40,"msg":"slow"}': "warning",
    '{"level":50,"msg":"broken"}': "error",
    '{"Level":"Error","msg":"broken"}': "error",
    "severity=ALERT lost": "error",
    "lvl=crit lost": "error",
    "2026/11/30 12:00:00 [emerg] 7#7: bind() to 0.0.0.0:80": "error",
    "CRIT no space": "error",
    "[50] things": None,
    "DEBUG of an error": None,
}


@pytest.mark.parametrize("said", SAID)
def test_a_line_has_the_level_that_it_names_if_that_is_an_error_or_a_warning(said: str) -> None:
    instance = Instance()
    say = instance.script()
    say("before\n")
    say(f"{said}\n")
    say("after\n")
    assert instance.of_lines()[2] == SAID[said]
    assert instance.journal() == instance.of_lines()


@pytest.mark.promise("a-trace-is-one-error")
def test_every_line_of_a_stack_trace_has_the_level_of_its_error() -> None:
    instance = Instance()
    say = instance.script()
    say(f"ready\n{TRACE}on\n")
    assert list(instance.of_lines().values()) == [None, *["error"] * 4, None]
    assert instance.journal() == instance.of_lines()


def test_a_stack_trace_that_is_being_printed_is_one_from_its_first_line_on() -> None:
    instance = Instance()
    say = instance.script()
    for number, line in enumerate(TRACE.splitlines(keepends=True), start=1):
        say(line)
        assert list(instance.of_lines().values()) == ["error"] * number


def test_lines_of_the_other_stream_between_those_of_a_stack_trace_are_not_part_of_it() -> None:
    instance = Instance()
    say = instance.script()
    for line in TRACE.splitlines(keepends=True):
        say(line, "stderr")
        say("GET /\n", "stdout")
    assert list(instance.of_lines().values()) == ["error", None] * 4


def test_lines_that_lead_to_an_error_belong_to_it() -> None:
    """Known with the line that names the error, after they were printed."""
    instance = Instance()
    say = instance.script()
    say("served\n")
    for line in tool_outputs.NODE.strip("\n").splitlines(keepends=True):
        say(line)
    found = instance.of_lines()
    assert (found[1], found[2], found[4]) == (None, "error", "error")
    assert instance.journal() == found


@pytest.mark.promise("a-trace-is-one-error")
@pytest.mark.parametrize("tool", [name for name in dir(tool_outputs) if name.isupper()])
def test_what_is_chosen_by_level_is_what_has_the_level(tool: str) -> None:
    instance = Instance()
    say = instance.script()
    say(f"before\n{getattr(tool_outputs, tool)}\nafter\nWARN slow\n")
    found = instance.of_lines()
    assert {n for n, level in found.items() if level == "error"} == set(instance.of_lines(level="error"))
    assert {n for n, level in found.items() if level} == set(instance.of_lines(level="warning"))
    assert instance.journal() == found
    assert instance.journal(level="warning") == {n: level for n, level in found.items() if level}


def test_an_answer_folds_lines_of_one_level_and_names_a_level_that_all_have_once() -> None:
    instance = Instance()
    say = instance.script()
    say(f"one\ntwo\n{TRACE}three\n")
    assert [(each["n"], each.get("level")) for each in instance.answer()["lines"]] == [
        (1, None),
        (3, "error"),
        (7, None),
    ]
    say("WARN 1\n", "stderr")
    say("WARN 2\n", "stdout")
    warnings = instance.answer(before=10, limit=2)
    assert warnings["common"] == {"process": "dev", "level": "warning"}
    assert [each.get("level") for each in lines_of(warnings)] == ["warning"] * 2


def test_ordinary_output_costs_no_look_at_any_line(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def noted(text: str) -> str:
        looked.append(text)
        return level_of(text)

    monkeypatch.setattr(line_levels, "level_of", noted)
    instance = Instance()
    say = instance.script()
    say("a warning\n")
    for _ in range(100):
        say('127.0.0.1 - - "GET /products/7 HTTP/1.1" 200 in 3 ms\n')
    instance.answer(limit=100)
    assert looked == []
    instance.answer(limit=101)
    assert looked == ["a warning"]


def test_a_page_from_anywhere_has_the_levels_of_the_whole_output_whether_an_instance_or_a_journal_gives_it() -> None:
    rng, instance = random.Random(3), Instance()
    scripts = [instance.script(name) for name in ("dev", "api", "web")]
    outputs = [getattr(tool_outputs, name) for name in dir(tool_outputs) if name.isupper()]
    for _ in range(300):
        say, text = rng.choice(scripts), rng.choice([*outputs, "ordinary\n", "WARN slow\n", "GET /\nGET /a\n", TRACE])
        say(text)
    whole = instance.of_lines()
    for _ in range(60):
        wanted = {"before": rng.randint(1, len(whole)), "limit": rng.choice([1, 3, 40])}
        expected = {n: whole[n] for n in instance.of_lines(**wanted)}
        assert instance.of_lines(**wanted) == expected
        assert instance.journal(**wanted) == expected


def test_lines_whose_marks_are_forgotten_are_judged_by_their_own_words() -> None:
    instance = Instance()
    say, other = instance.script(), instance.script("other")
    say(TRACE)
    for _ in range(STRETCHES + 10):
        other("x\n")
        say("WARN slow\n")
        say("y\n")
        say(TRACE)
    found = instance.of_lines()
    assert [found[n] for n in (1, 2, 3, 4, 6)] == ["error", None, None, "error", "warning"]
    last = max(found)
    assert [found[n] for n in (last - 3, last - 1)] == ["error", "error"]


@pytest.mark.parametrize("seed", range(5))
def test_rows_of_numbers_are_a_set(seed: int) -> None:
    rng, stretches, numbers, n = random.Random(seed), Stretches(), set[int](), 0
    for _ in range(800):
        if rng.random() < 0.2 and n > 60:
            back = rng.randint(n - 50, n)
            stretches.add(back, back)
            numbers.add(back)
        else:
            first = n + rng.choice([1, 1, 2, 5])
            n = first + rng.randint(0, 4)
            stretches.add(first, n)
            numbers.update(range(first, n + 1))
    assert {each for each in range(n + 10) if each in stretches} == numbers
    for _ in range(500):
        first = rng.randint(1, n)
        last = first + rng.randint(0, 12)
        assert stretches.meets(first, last) == bool(numbers & set(range(first, last + 1)))


def test_rows_are_bounded_and_say_up_to_where_they_have_forgotten() -> None:
    stretches = Stretches()
    for n in range(1, 2 * STRETCHES + 1):
        stretches.add(2 * n, 2 * n)
    assert (stretches.forgotten_n, 2 in stretches, 4 * STRETCHES in stretches) == (2 * STRETCHES, False, True)


def test_a_line_of_ours_has_the_level_that_it_names() -> None:
    kept = JournalEntries("g", [Line(1, "dev", "brum", "2026-11-30T12:00:00.000Z", "ERROR: it was not started")])
    assert JournalLevels(kept).of(kept.entries) == {1: "error"}


def test_the_command_the_tools_and_the_grammar_of_levels_know_the_same_words() -> None:
    wanted = get_args(get_args(get_type_hints(ReadLogs)["level"])[0])
    assert logs.LEVELS == wanted == LEVELS
