"""Waiters for a link to become ready, in order of arrival. They are called by events only, never by a timer."""

from collections.abc import Callable
from typing import Protocol

from brummer.core.errors import BrummerError
from brummer.link.call import Call
from brummer.link.errors import COME_BACK_S, Refused


class Parked(Protocol):
    """A waiter. Neither method may raise."""

    @property
    def call(self) -> Call: ...

    def on_ready(self) -> None:
        """The link is ready, and the waiter is out of the queue."""

    def on_hopeless(self, error: BrummerError) -> None:
        """To wait is of no use, and the waiter is out of the queue."""


class Parking:
    """Of one link."""

    def __init__(self) -> None:
        self._waiting: dict[Parked, None] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, waiter: Parked) -> None:
        self._waiting[waiter] = None

    def remove(self, waiter: Parked) -> None:
        """Without effect if it does not wait."""
        self._waiting.pop(waiter, None)

    def release(self) -> None:
        """The link is ready."""
        for waiter in list(self._waiting):  # one that waits again at once is not called again
            if self._waiting.pop(waiter, self) is None:
                waiter.on_ready()

    def fail(self, error_for: Callable[[Call], BrummerError | None]) -> None:
        """``error_for`` returns why a call need not wait any more; None: it goes on waiting."""
        for waiter in list(self._waiting):
            if waiter in self._waiting and (error := error_for(waiter.call)) is not None:
                self.remove(waiter)
                waiter.on_hopeless(error)

    def refuse(self, refusal: Refused, closed_s: float) -> None:
        """The server refuses for ``closed_s`` more: calls that were not sent and can't wait so long get the refusal."""

        def error_for(call: Call) -> Refused | None:
            waits = refusal.transient and closed_s <= min(COME_BACK_S, call.deadline_s)
            return None if waits or call.was_sent else refusal.after(round(closed_s, 3) or None)

        self.fail(error_for)
