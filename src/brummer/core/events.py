"""Hooks: code publishes a frozen event for each fact, and subscribers get it. Pure.

Logic publishes and knows no subscriber; logs, metrics and traces subscribe.
"""

import logging
from collections.abc import Callable
from typing import Generic, TypeVar

E = TypeVar("E")

_log = logging.getLogger(__name__)


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
