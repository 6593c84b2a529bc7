"""The errors in the output of a process, with complete stack traces and counted repeats, and the last summary of a test
run or a build. Pure; bounded for any output.

Most output has no errors, so each batch is first searched for a few words that all errors use; only then are its lines
examined one by one.
"""

import re
from bisect import bisect, insort
from collections import deque
from functools import cache, lru_cache

from brummer.logs.error_grammars import GRAMMARS, NOTHING, Grammar, openers
from brummer.logs.levels import FIELDS, WORDS, level_of
from brummer.logs.line_levels import LineLevels, Stretches
from brummer.logs.output import Batch, Line, Stream
from brummer.logs.test_summaries import SummaryOfTests, may_be_in

MAX_GROUPS = 100
"""Different errors that one run remembers: the latest."""
MAX_RANGES = 1_000
"""Appearances of errors whose lines are known."""
MAX_NUMBER = 1 << 62
MAX_LINES = 200
"""The longest error that is kept whole; a test runner's report of a large comparison is longer."""
PREFIX_LINES = 4
"""Before the first line of an error: a place, the source line, a caret and a blank one."""
HEADING_REACH = 50
"""Lines between the name of a file and the last complaint of a linter about it."""
ERROR_WITHIN = 400
"""Characters of a line that are matched: some expressions take time that grows with the square."""
MAX_SAME_LENGTH = 10_000
"""Characters of an error whose exact text is remembered."""
EXCERPT_LINES = 8
EXCERPT_LENGTH = 200
UNSEEN_S = 5.0
"""An error that comes back after this time is news again: it has probably been worked on."""
MAX_NEWS = 20
"""In that time: a list of more different errors is of no use."""

_START_WORDS = ("start", "rerun")
_START_PLACES = ("://localhost", "://127.0.0.1", "://[::1]")
"""Cheap to search for: nearly no batch of ordinary lines has one."""
_START = re.compile(
    r"Started server process \[|\bRestarting\b|\[nodemon\] (?:re)?starting|\[tsx\] rerunning|[Ss]tartup complete"
    r"|https?://(?:localhost|127\.0\.0\.1|\[::1\]):\d+/?(?:[\s)\"']|$)"
)
"""What servers and watchers print when they begin anew: uvicorn, Flask, node, nodemon, tsx; or the URL of the server.
A URL with a path is of a request.
"""

_WORDS = (
    *("err", "fail", "exception", "traceback", "panic", "fatal", "crit", "sever"),
    *('  file "', "___", ".go:", ".kt:"),
)
_NEGATIONS = ("not found", "not ok")
_SIGNS = ("✘", "✖", "●")
_LEVEL_WORDS = tuple(word for word in (*WORDS, *FIELDS) if not any(known in word for known in _WORDS))
"""What names a level, and is no word of an error."""
_NUMBER = re.compile(r"\d+|0x[0-9a-f]+")
_STAMP = re.compile(r"^\W*\d{2,4}[-/:.][\d:.,TZ/+ -]+\]?\s*")
_LIBRARY = re.compile(
    r"node_modules|^node:|[/\\](?:site|dist)-packages|[/\\]lib[/\\]python\d|/rustc/|/\.cargo/|/go/pkg/mod/|/usr/(?:local/)?go/"
)
_EXPLAINS_A_LOG_LINE = {"python", "python_group", "java", "javascript", "go_panic", "rust_panic"}

_Key = tuple[str, str | None]
_Found = tuple[str, list[Line]]
"""The name of a grammar, and the lines."""


class ErrorGroup:
    """One error, however often it came. ``first_n`` and ``last_n`` number the lines of its first appearance; ``where``
    is FILE:LINE, ``excerpt`` its first lines, or its last ones if the cause is there.
    """

    def __init__(self, tool: str, lines: list[Line]) -> None:
        grammar = GRAMMARS[tool]
        text = "\n".join(line.text[:ERROR_WITHIN] for line in lines)
        self.at = lines[0].at
        self.first_n = lines[0].n
        self.last_n = lines[-1].n
        self.count = 1
        self.seen_at_s = 0.0
        self.title = _title(grammar, text)
        self.where = _where(grammar, text)
        self.excerpt = _excerpt(text, last=grammar.last)
        self.is_aftermath = grammar.is_aftermath

    def __repr__(self) -> str:
        return f"<ErrorGroup {self.title!r} at {self.where}, {self.count} times>"

    @property
    def key(self) -> _Key:
        """Equal for the same error with other numbers."""
        return _NUMBER.sub("0", self.title), self.where


class PrintedErrors:
    """The errors of one run. `read` and `settle` return the new ones. ``last_at``: the time of the last error;
    ``since_start``: how many came after the run, or the server that it watches and starts anew, has last begun.
    ``levels`` of its process learns which lines belong to errors, as soon as they are read, and which may name a level.
    """

    def __init__(self, levels: LineLevels | None = None) -> None:
        self._levels = levels or LineLevels()
        self.first: ErrorGroup | None = None
        self.last: ErrorGroup | None = None
        self.last_at = ""
        self.count = 0
        self.since_start = 0
        self._start_n = 0
        self._groups: dict[_Key, ErrorGroup] = {}
        self._same: dict[tuple[str, ...], _Key] = {}
        self._ranges: list[tuple[int, int]] = []
        self._readers: dict[Stream, _ErrorReader] = {}
        self._summary = SummaryOfTests()
        self._news_since_s = 0.0
        self._news = 0

    def __repr__(self) -> str:
        return f"<PrintedErrors {self.count} errors, first {self.first!r}>"

    @property
    def groups(self) -> list[ErrorGroup]:
        """The latest comes last."""
        return list(self._groups.values())

    @property
    def summary(self) -> str | None:
        """The result that the last test run or build printed."""
        return self._summary.text

    @property
    def is_open(self) -> bool:
        """Lines that belong to the last error may still come."""
        return any(reader.is_open for reader in self._readers.values())

    def owns(self, n: int) -> bool:
        """A line of this run belongs to one of its last errors."""
        position = bisect(self._ranges, (n, MAX_NUMBER)) - 1
        return position >= 0 and n <= self._ranges[position][1]

    def read(self, batch: Batch, now: float) -> list[ErrorGroup]:
        """The errors that these lines complete and that are news, in order. ``now`` in seconds, of any clock."""
        lower = batch.text.lower()
        if may_be_in(lower):
            self._summary.read(batch.text)
        self._read_start(batch, lower)
        if (reader := self._readers.get(batch.stream)) is None:
            reader = self._readers[batch.stream] = _ErrorReader(self._levels.errors_of(batch.stream))
        is_read = reader.is_open or _has_a_word_of_an_error(lower)
        if is_read or any(map(lower.__contains__, _LEVEL_WORDS)):
            self._levels.may_name(batch.lines[0].n, batch.lines[-1].n)
        if not is_read:
            reader.skip(batch.lines)
            return []
        return self._news_among(reader.read(batch.lines), now)

    def _read_start(self, batch: Batch, lower: str) -> None:
        is_named = any(map(lower.__contains__, _START_WORDS))
        if is_named or ("://" in lower and any(map(lower.__contains__, _START_PLACES))):
            starts = [line.n for line in batch.lines if _START.search(line.text[:ERROR_WITHIN])]
            if starts:
                self._start_n, self.since_start = starts[-1], 0

    def settle(self, now: float) -> list[ErrorGroup]:
        """No more lines belong to the last error; returned if it is news."""
        return self._news_among([found for reader in self._readers.values() for found in reader.end()], now)

    def _news_among(self, found: list[_Found], now: float) -> list[ErrorGroup]:
        return [group for tool, lines in found if (group := self._note(tool, lines, now))]

    def _note(self, tool: str, lines: list[Line], now: float) -> ErrorGroup | None:
        """Count it; returned when it is news."""
        group = self._group_of(tool, lines)
        if group.is_aftermath and self.count:
            return None
        is_fresh = group.seen_at_s == 0.0 or now - group.seen_at_s >= UNSEEN_S
        self.count += 1
        self.last, self.last_at = group, lines[0].at
        self.since_start += lines[0].n > self._start_n
        insort(self._ranges, (lines[0].n, lines[-1].n))
        del self._ranges[:-MAX_RANGES]
        if self.first is None or (self.first.is_aftermath and not group.is_aftermath):
            self.first = group
        group.seen_at_s = now
        self._groups.pop(group.key, None)
        self._groups[group.key] = group
        if len(self._groups) > MAX_GROUPS:
            del self._groups[next(iter(self._groups))]
        return group if is_fresh and self._may_publish(now) else None

    def _group_of(self, tool: str, lines: list[Line]) -> ErrorGroup:
        """The known group, with one more in its count, or a new one. A flood of one error costs one look-up each."""
        texts = tuple(line.text for line in lines)
        if (key := self._same.get(texts)) is None or key not in self._groups:
            group = ErrorGroup(tool, lines)
            if len(self._same) >= MAX_GROUPS:
                self._same.clear()
            key = group.key
            if sum(map(len, texts)) <= MAX_SAME_LENGTH:
                self._same[texts] = key
            if key not in self._groups:
                return group
        known = self._groups[key]
        known.count += 1
        return known

    def _may_publish(self, now: float) -> bool:
        if now - self._news_since_s >= UNSEEN_S:
            self._news_since_s, self._news = now, 0
        self._news += 1
        return self._news <= MAX_NEWS


class _ErrorReader:
    """Collects the lines of each error in one stream. ``numbers`` of these lines."""

    def __init__(self, numbers: Stretches) -> None:
        self._numbers = numbers
        self._tool: str | None = None
        self._lines: list[Line] = []
        self._blanks: list[Line] = []
        self._is_closed = False
        self._before: deque[Line] = deque(maxlen=HEADING_REACH)

    @property
    def is_open(self) -> bool:
        return self._tool is not None

    def skip(self, lines: list[Line]) -> None:
        """Lines without an error; they may lead to one."""
        self._before.extend(lines[-HEADING_REACH:])

    def read(self, lines: list[Line]) -> list[_Found]:
        found: list[_Found] = []
        for line in lines:
            if self._tool is None or not self._takes(self._tool, line):
                found += self.end()
                self._open(line)
        return found

    def end(self) -> list[_Found]:
        if self._tool is None:
            return []
        found = (self._tool, self._lines)
        self._tool, self._lines, self._blanks, self._is_closed = None, [], [], False
        return [found]

    def _open(self, line: Line) -> None:
        tool = None
        if _may_hold_an_error(line.text):
            tool = _opened_by(line.text[:ERROR_WITHIN]) or ("log" if level_of(line.text) == "error" else None)
        if tool is None:
            self._before.append(line)
        else:
            self._tool, self._lines = tool, [*self._leading_lines(GRAMMARS[tool]), line]
            self._note_numbers(self._lines)

    def _leading_lines(self, grammar: Grammar) -> list[Line]:
        if grammar.heading != NOTHING:
            heading = _compiled(grammar.heading)
            return next(([line] for line in reversed(self._before) if heading.match(line.text[:ERROR_WITHIN])), [])
        if grammar.prefix == NOTHING:
            return []
        near = list(self._before)[-PREFIX_LINES:]
        prefix = _compiled(grammar.prefix)
        return next((near[at:] for at, line in enumerate(near) if prefix.match(line.text[:ERROR_WITHIN])), [])

    def _takes(self, tool: str, line: Line) -> bool:
        grammar, head = GRAMMARS[tool], line.text[:ERROR_WITHIN]
        if not head.strip():
            self._blanks.append(line)
            return len(self._blanks) <= grammar.blanks
        if tool == "log" and (explanation := _opened_by(head)) in _EXPLAINS_A_LOG_LINE:
            self._tool = explanation
        elif not self._belongs(grammar, head):
            return False
        self._lines += [*self._blanks, line]
        self._note_numbers([*self._blanks, line])
        if len(self._lines) > MAX_LINES:  # the last line stays: up to there its lines belong to it
            del self._lines[MAX_LINES - 1 : -1]
        self._blanks = []
        return True

    def _note_numbers(self, lines: list[Line]) -> None:
        for line in lines:
            self._numbers.add(line.n, line.n)

    def _belongs(self, grammar: Grammar, text: str) -> bool:
        if self._is_closed:
            self._is_closed = not _compiled(grammar.joins).match(text)
            return not self._is_closed
        if _compiled(grammar.closes).match(text):
            self._is_closed = True
            return True
        if len(self._lines) <= grammar.takes and not self._blanks and not _opened_by(text):
            return True
        return _compiled(grammar.continues).match(text) is not None


def _may_hold_an_error(text: str) -> bool:
    """An error may begin in these lines."""
    return _has_a_word_of_an_error(text.lower())


def _has_a_word_of_an_error(lower: str) -> bool:
    has = lower.__contains__
    if any(map(has, _WORDS)) or (has("not ") and any(map(has, _NEGATIONS))):
        return True
    return not lower.isascii() and any(map(has, _SIGNS))


@lru_cache(16)
def _opened_by(text: str) -> str | None:
    match = openers().match(text)
    return match.lastgroup if match else None


def _title(grammar: Grammar, text: str) -> str:
    for pattern in grammar.titles:
        if match := _compiled(pattern).search(text):
            return ": ".join(part.strip() for part in match.groups() if part)[:EXCERPT_LENGTH]
    first, _, _ = text.strip().partition("\n")
    return _STAMP.sub("", first)[:EXCERPT_LENGTH]


def _where(grammar: Grammar, text: str) -> str | None:
    places = [match.groups() for pattern in grammar.places for match in _compiled(pattern).finditer(text)]
    if grammar.last:
        places.reverse()
    own = (place for place in places if not _LIBRARY.search(place[0]))
    place = next(own, None) or next(iter(places), None)
    return ":".join(place) if place else None


def _excerpt(text: str, *, last: bool) -> list[str]:
    shown = [line[:EXCERPT_LENGTH] for line in text.split("\n") if line.strip()]
    if len(shown) <= EXCERPT_LINES:
        return shown
    left_out = f"[… {len(shown) - EXCERPT_LINES + 1} lines]"
    if last:
        return [shown[0], left_out, *shown[2 - EXCERPT_LINES :]]
    return [*shown[: EXCERPT_LINES - 1], left_out]


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.MULTILINE)
