"""Regular expressions from agents, with a bound on the time they may take.

A catastrophic pattern such as ``(a+)+$`` holds the loop for ever, and a thread would hold the interpreter
just the same. But `re` looks for signals every 4,096 steps, and a handler that raises ends the search. So a
timer of CPU time (ITIMER_VIRTUAL: 4 ms ticks, not used by anything else, silent while we sleep) is armed
around each search.

The bound holds in the main thread of a POSIX system, where an instance runs its loop. Elsewhere there is no
bound, and only the lines' own limit (16 KiB) helps.
"""

import re
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

from brummer.core.errors import InvalidArguments

BUDGET_S = 0.2
"""For one search through all of the output: ordinary patterns take 10 ms for 10,000 lines."""
MAX_LENGTH = 1_000

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
        if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
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
            raise PatternTooSlow(
                f"{self._argument} takes too long; avoid nested repetition such as (a+)+, and sets of thousands",
                argument=self._argument,
                pattern=self.source,
                budget_s=budget_s,
            ) from None
