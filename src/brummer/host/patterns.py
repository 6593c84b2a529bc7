"""Regular expressions from agents and from projects' files, with a bound on the time they may take.

A catastrophic pattern such as ``(a+)+$`` holds the loop for ever, and a thread would hold the interpreter
just the same. But `re` checks for signals every 4,096 steps, and a handler that raises ends the search. So a
timer of CPU time (ITIMER_VIRTUAL: 4 ms ticks, not used by anything else, silent while we sleep) is armed
around each search.

That bounds one search, to within some 10 ms: the signal comes with the system's tick, and `re` checks for it between
two steps, which take longer the longer the line is. A script may print a thousand lines a second, so the total is
bounded, too: see `Meter`.

The bounds hold in the main thread of a POSIX system, where an instance runs its loop. Elsewhere there is no bound, and
only the lines' own limit (16 KiB) helps. Settings files are read in another thread: there an expression that would take
seconds to compile is refused by its form.
"""

import functools
import re
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

from brummer.core.errors import InvalidArguments
from brummer.host.clocks import awake, busy

BUDGET_S = 0.2
"""For one search through all of the output: ordinary patterns take 10 ms for 10,000 lines."""
MAX_LENGTH = 1_000
WIDE_RANGES_MAX = 4
"""Wide ranges in sets, as ``[\\0-\\uffff]``: the compiler visits each character of them, which takes up to 10 ms."""
_WIDE_RANGE = r"-(?:[^\0-\x7f]|\\[0-9uUxN])"

PER_LINE_S = 2e-6
PER_CHARACTER_S = 0.1e-6
"""Time that every expression may take. Ordinary ones take 1 to 20 ns for each character; reading it takes as long."""
RESERVE_S = 0.2
"""Time that all expressions of one origin may take beyond that: enough for a server's start of a thousand lines, with
an expression that takes 1 µs for each character.
"""
REFILL = 0.01
"""The share of one processor that refills the reserve: too little to be noticed, and enough for a rare long line."""
TICK_S = 0.004
"""The resolution of the timer."""
REST_S = 5.0
"""The longest rest after a call with a slow expression: it bounds the share of the loop of an agent that repeats it."""

T = TypeVar("T")


class PatternTooSlow(InvalidArguments):
    """The expression backtracks for too long on the text that is there, or takes too long to be compiled: one of sets
    without regard to case goes through all of their characters.
    """


class _OutOfTime(Exception):
    pass


_armed = False


def _on_timer(_number: int, _frame: FrameType | None) -> None:
    if _armed:
        raise _OutOfTime


class Pattern:
    """A compiled expression. Raises InvalidArguments for one that is not valid, or that is too much to compile."""

    def __init__(self, source: str, *, argument: str) -> None:
        self.source = source
        self._argument = argument
        if len(source) > MAX_LENGTH:
            raise InvalidArguments(f"{argument} is longer than {MAX_LENGTH} characters", argument=argument)
        if len(re.findall(_WIDE_RANGE, source)) > WIDE_RANGES_MAX:
            raise self.too_slow(0.0)
        try:
            self._expression = self.within(BUDGET_S, lambda: re.compile(source))
        except (re.error, OverflowError, RecursionError) as error:
            raise InvalidArguments(
                f"{argument} is not a valid regular expression: {error}", argument=argument, pattern=source
            ) from None

    def matches(self, text: str) -> bool:
        """Somewhere in the text. Only under `within` is it bounded."""
        return self._expression.search(text) is not None

    def within(self, budget_s: float, search: Callable[[], T]) -> T:
        """The result of ``search()``, which must have no effects: it may be broken off at any place.

        Raises PatternTooSlow when it has used more CPU time.
        """
        global _armed  # noqa: PLW0603 - there is one timer per process
        if threading.current_thread() is not threading.main_thread():
            return search()
        if signal.getsignal(signal.SIGVTALRM) is not _on_timer:
            signal.signal(signal.SIGVTALRM, _on_timer)
        try:
            _armed = True
            signal.setitimer(signal.ITIMER_VIRTUAL, budget_s)
            try:
                return search()
            finally:
                _armed = False
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        except _OutOfTime:
            raise self.too_slow(budget_s) from None

    def too_slow(self, budget_s: float) -> PatternTooSlow:
        return PatternTooSlow(
            f"{self._argument} takes too long; avoid nested repetition such as (a+)+, .* twice, and sets of thousands",
            argument=self._argument,
            pattern=self.source,
            budget_s=budget_s,
        )


class Reserve:
    """CPU time that expressions may take beyond what their lines allow. It refills slowly."""

    def __init__(self, size_s: float) -> None:
        self._size_s = self._left_s = size_s
        self._at_s = 0.0

    def left_s(self, now_s: float) -> float:
        """``now_s`` is the loop's time."""
        self._left_s = min(self._size_s, self._left_s + max(0.0, now_s - self._at_s) * REFILL)
        self._at_s = now_s
        return self._left_s

    def pay(self, seconds: float) -> float:
        """Returns the part that it could not pay."""
        paid_s = min(seconds, self._left_s)
        self._left_s -= paid_s
        return seconds - paid_s


OF_FILES = Reserve(RESERVE_S)
OF_CALLS = Reserve(RESERVE_S)
"""One reserve for each origin on the loop, so that a project's file does not use up the time of agents' calls."""


class Meter:
    """Bounds the total time of all searches for one expression, for any number of lines: the time that those lines
    allow, a small reserve of its own, and the ``reserve`` that it shares. So a slow expression delays others only once.

    ``rests``: an expression that was too slow is refused only for a while: the next call may search less text.
    """

    def __init__(self, pattern: Pattern, reserve: Reserve, *, rests: bool = False) -> None:
        self.pattern = pattern
        self._own = Reserve(TICK_S)
        self._shared = reserve
        self._rests = rests
        self._rests_until_s = 0.0
        self.is_refused = False
        """It has used up its time."""

    def search(self, lines: int, characters: int, search: Callable[[], T], *, most_s: float = BUDGET_S) -> T:
        """The result of ``search()``, which searches so many lines and characters and may take ``most_s`` at once.

        Raises PatternTooSlow (see `Pattern.within`) if it takes more, while it rests, and for ever once `is_refused`.
        """
        now_s = awake()
        earned_s = lines * PER_LINE_S + characters * PER_CHARACTER_S
        budget_s = min(most_s, max(TICK_S, earned_s + self._own.left_s(now_s) + self._shared.left_s(now_s)))
        if self.is_refused or now_s < self._rests_until_s:
            raise self.pattern.too_slow(budget_s)
        began_s = busy()
        try:
            found = self.pattern.within(budget_s, search)
        except PatternTooSlow:
            self._pay(busy() - began_s - earned_s, now_s, is_over=True)
            raise
        if not self._pay(busy() - began_s - earned_s, now_s) and not found:
            raise self.pattern.too_slow(budget_s)
        return found

    def _pay(self, excess_s: float, now_s: float, *, is_over: bool = False) -> bool:
        """Pay the excess; False if the reserves are too small. ``is_over``: the search was stopped."""
        is_paid = excess_s <= 0 or self._shared.pay(self._own.pay(excess_s)) <= 0
        if self._rests and (is_over or not is_paid):
            self._rests_until_s = now_s + min(REST_S, excess_s / REFILL)
        elif not is_paid:
            self.is_refused = True
        return is_paid


@functools.lru_cache(maxsize=1_000)
def meter_of_call(source: str, argument: str) -> Meter:
    """The meter of an expression in an agent's call; a repeated call gets the same one. Raises InvalidArguments."""
    return Meter(Pattern(source, argument=argument), OF_CALLS, rests=True)


@functools.lru_cache(maxsize=1_000)
def meter_of_file(source: str, argument: str) -> Meter:
    """The meter of an expression in a project's file. All runs of a script have the same one, so a restart gives a slow
    expression no new time. Raises InvalidArguments.
    """
    return Meter(Pattern(source, argument=argument), OF_FILES)
