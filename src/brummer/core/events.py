"""Events: code publishes a frozen event for each fact, and subscribers get it, to log, trace or count it. Pure.

Logic publishes and knows no subscriber. Subscribers count from the start, in a `Histogram` or a `collections.Counter`;
`brummer.core.metrics` describes what the numbers mean, and is imported only if metrics are asked for.
"""

import logging
from bisect import bisect_left
from collections.abc import Callable
from typing import Final, Generic, TypeVar

E = TypeVar("E")

_log = logging.getLogger(__name__)

RECOVERY_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 60.0, 300.0)
"""From a restart on this machine to a server that a person has to start again; 3 s is what a wake may take."""

CALL_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
"""The loop's own clock ticks in milliseconds; 30 s is `CALL_ANSWER_S`: what a call that waits for nothing may take."""


class Hook(Generic[E]):
    """Subscribers are called in the order in which they came, in the publisher's own turn: they must return at once."""

    __slots__ = ("_subscribers",)

    def __init__(self) -> None:
        self._subscribers: tuple[tuple[Callable[[E], object]], ...] = ()

    @property
    def subscribers(self) -> int:
        """Their number. It is no ``__len__``, because an empty hook would be false in ``hook or Hook()``."""
        return len(self._subscribers)

    def subscribe(self, subscriber: Callable[[E], object]) -> Callable[[], None]:
        """Return a function that ends the subscription; calling it twice is allowed."""
        entry = (subscriber,)
        self._subscribers += (entry,)

        def end() -> None:
            self._subscribers = tuple(each for each in self._subscribers if each is not entry)

        return end

    def publish(self, event: E) -> None:
        """Call all subscribers. A failure of one affects neither the publisher nor the others."""
        for (subscriber,) in self._subscribers:
            try:
                subscriber(event)
            except Exception:  # noqa: BLE001 — the barrier: a listener must not stop the publisher
                _log.exception("a subscriber failed")


class Histogram:
    """Counts in fixed buckets; ``bounds_s`` are their upper edges, and one more takes the rest."""

    __slots__ = ("bounds_s", "counts", "sum_s")

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        self.bounds_s = bounds_s
        self.counts = [0] * (len(bounds_s) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds_s, seconds)] += 1
        self.sum_s += seconds

    @property
    def total(self) -> int:
        return sum(self.counts)
