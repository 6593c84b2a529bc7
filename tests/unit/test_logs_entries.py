"""Paging back through lines, in the memory of an instance and in its journal."""

import random

import pytest

from brummer.core.errors import InvalidArguments
from brummer.logs.bounded_log import BoundedLog
from brummer.logs.entries import Entries
from brummer.logs.journal.reader import JournalEntries
from brummer.logs.output import Line, size_of

AT = "2026-11-30T12:00:00.000Z"
LIMIT = 20_000
"""Bytes, so that older lines are dropped."""


def printed(seed: int) -> BoundedLog[Line]:
    """The output of a quiet script and of one that floods, with numbers that were never kept."""
    rng, log = random.Random(seed), BoundedLog[Line]("generation-1", LIMIT, size_of)
    while log.last_n < 1_500:
        process = rng.choice(["quiet", "flood", "flood", "flood"])
        if process == "flood" and rng.random() < 0.1:
            log.skip(process, rng.randint(1, 50))
        count = rng.randint(1, 8)
        log.extend([Line(log.last_n + 1 + at, process, "stdout", AT, f"{process} {at}") for at in range(count)])
    return log


def as_journal(log: BoundedLog[Line]) -> JournalEntries[Line]:
    return JournalEntries(log.generation, list(log.after(0)))


KINDS = {"memory": lambda log: log, "journal": as_journal}


def pages(entries: Entries[Line], process: str | None, limit: int, ending: str = "") -> list[list[int]]:
    """All pages, the newest first, as one that scrolls up asks for them."""

    def wanted(line: Line) -> bool:
        return line.text.endswith(ending)

    found = [entries.read(None, limit, wanted, process=process)]
    cursor = found[0].cursor
    while found[-1].entries and (len(found) == 1 or found[-1].more):
        page = entries.earlier(found[-1].entries[0].n, cursor, limit, wanted, process=process)
        assert (page.cursor, page.cursor_reset, page.dropped) == (cursor, False, 0)
        assert page.before == (page.entries[0].n if page.more else None)
        found.append(page)
    return [[line.n for line in page.entries] for page in found]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("process", [None, "quiet", "flood", "unknown"])
@pytest.mark.parametrize(("limit", "ending"), [(1, ""), (7, ""), (5_000, ""), (3, " 2")])
def test_paging_back_gives_each_kept_line_once_and_says_when_there_are_no_more(
    kind: str, process: str | None, limit: int, ending: str
) -> None:
    log = printed(1)
    kept = [line.n for line in log.after(0, process) if line.text.endswith(ending)]
    found = pages(KINDS[kind](log), process, limit, ending)
    assert [n for page in reversed(found) for n in page] == kept
    assert all(len(page) == limit for page in found[:-2])


@pytest.mark.parametrize("kind", KINDS)
def test_a_number_before_all_lines_or_after_them_gives_none_or_the_last(kind: str) -> None:
    entries = KINDS[kind](printed(2))
    first, last = next(iter(entries.after(0))), next(iter(entries.newest()))
    assert not entries.earlier(first.n, None, 5).entries
    beyond = entries.earlier(last.n + 1_000, None, 5)
    assert (beyond.entries[-1], beyond.more) == (last, True)


@pytest.mark.parametrize("kind", KINDS)
def test_the_cursor_of_a_page_without_one_goes_on_after_it_and_loses_no_line(kind: str) -> None:
    entries = KINDS[kind](printed(3))
    kept = [line.n for line in entries.after(0)]
    page = entries.earlier(kept[40], None, 10)
    assert [line.n for line in page.entries] == kept[30:40]
    assert [line.n for line in entries.read(page.cursor, 5_000).entries] == kept[40:]


@pytest.mark.parametrize("kind", KINDS)
def test_a_number_of_another_run_gives_nothing_and_says_so(kind: str) -> None:
    entries = KINDS[kind](printed(4))
    page = entries.earlier(800, "another.900.3", 10)
    assert (page.entries, page.cursor_reset, page.more, page.before) == ([], True, False, None)
    assert not entries.read(page.cursor, 10).cursor_reset
    with pytest.raises(InvalidArguments):
        entries.earlier(800, "nonsense", 10)


def test_one_line_is_given_though_it_is_larger_than_the_answer() -> None:
    entries = printed(5)
    page = entries.earlier(entries.last_n, None, 10, limit_size=1)
    assert (len(page.entries), page.more) == (1, True)
