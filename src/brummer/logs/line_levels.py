"""Which lines of output are errors and warnings, so that an answer can say it of each. Pure.

A line is one by its own words (`brummer.logs.levels`), or because it belongs to an error, as every line of a stack
trace does (`brummer.logs.error_groups`). To find the words takes some microseconds for a line, so it is not done when
lines are printed, but for those of an answer; and only where a quick look at the whole batch, when it was printed, has
seen a word that may mean something. Answers about ordinary output cost nothing more.
"""

from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence
from typing import Final

from brummer.logs.levels import Level, level_of
from brummer.logs.output import Line, Stream

STRETCHES: Final = 1_000
"""Rows of lines that are remembered, for each process and stream: the latest. The log of an instance has some 40,000
lines; older ones are judged by their own words alone.
"""

SERIOUS: Final = frozenset[Level]({"error", "warning"})


class Stretches:
    """A set of numbers that mostly come in rows: the latest `STRETCHES` rows. ``last_n`` is the largest.
    ``forgotten_n``: up to this number, others may have been in it.
    """

    __slots__ = ("_firsts", "_lasts", "forgotten_n", "last_n")

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self.forgotten_n = self.last_n = 0

    def __contains__(self, n: int) -> bool:
        return self.meets(n, n)

    def meets(self, first: int, last: int) -> bool:
        """A number from the first to the last is in it."""
        if self.last_n < first:
            return False
        position = bisect_right(self._firsts, last) - 1
        return position >= 0 and self._lasts[position] >= first

    def add(self, first: int, last: int) -> None:
        """These numbers. Those before the newest ones may come one by one only."""
        lasts = self._lasts
        if lasts and first == self.last_n + 1:
            lasts[-1] = self.last_n = last
            return
        if first > self.last_n:
            self._firsts.append(first)
            lasts.append(last)
            self.last_n = last
        elif first not in self:
            insort(self._firsts, first)
            insort(lasts, last)
        if len(lasts) > STRETCHES:
            self.forgotten_n = lasts[0]
            del self._firsts[0], lasts[0]


class LineLevels:
    """Of the lines of one process, over all its runs."""

    __slots__ = ("_errors", "_loud")

    def __init__(self) -> None:
        self._loud = Stretches()
        self._errors: dict[Stream, Stretches] = {}

    def may_name(self, first_n: int, last_n: int) -> None:
        """These lines were printed together, and one of them may name a level, or belong to an error."""
        self._loud.add(first_n, last_n)

    def errors_of(self, stream: Stream) -> Stretches:
        """The numbers of the lines of this stream that belong to an error."""
        return self._errors.setdefault(stream, Stretches())

    def is_in_an_error(self, line: Line) -> bool:
        errors = self._errors.get(line.stream)
        return errors is not None and line.n in errors

    def may_be_serious(self, first_n: int, last_n: int) -> bool:
        """One of these lines may be an error or a warning."""
        if self._loud.last_n < first_n:  # nearly every answer about ordinary output
            return False
        return self._is_loud(first_n, last_n) or any(each.meets(first_n, last_n) for each in self._errors.values())

    def of(self, line: Line) -> Level | None:
        if self.is_in_an_error(line):
            return "error"
        if not self._is_loud(line.n, line.n):
            return None
        level = level_of(line.text)
        return level if level in SERIOUS else None

    def _is_loud(self, first_n: int, last_n: int) -> bool:
        return first_n <= self._loud.forgotten_n or self._loud.meets(first_n, last_n)


class Levels:
    """Of all processes; a `brummer.logs.query.KnowsLevels`."""

    def __init__(self) -> None:
        self._processes: dict[str, LineLevels] = {}

    def of_process(self, name: str) -> LineLevels:
        if (levels := self._processes.get(name)) is None:
            levels = self._processes[name] = LineLevels()
        return levels

    def is_in_an_error(self, line: Line) -> bool:
        return (levels := self._processes.get(line.process)) is not None and levels.is_in_an_error(line)

    def of(self, lines: Sequence[Line]) -> Mapping[int, Level]:
        """See `brummer.logs.query.KnowsLevels`."""
        if not lines:
            return {}
        known, first_n, last_n = self._processes, lines[0].n, lines[-1].n
        for levels in known.values():
            if levels.may_be_serious(first_n, last_n):
                break
        else:
            return {}
        named = ((line.n, known[line.process].of(line)) for line in lines if line.process in known)
        return {n: level for n, level in named if level is not None}
