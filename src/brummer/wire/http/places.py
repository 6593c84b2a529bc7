"""Decides which connections a server keeps: proven and unproven ones have limits of their own. Pure.

When all unproven places are taken, the next connection replaces the oldest one whose request was refused, or was served
without a proof. If there is none, it replaces the oldest one whose request is not complete, once that had `GRACE_S` to
send it: a head may come in pieces. Until then the next connection waits in the kernel's queue, which keeps the bytes
that its client sends. So a flood delays a client that can prove itself only for a moment.
"""

from collections.abc import Iterator
from typing import Final, Generic, TypeVar

GRACE_S: Final = 0.1
"""From a connection to its first request. Programs send at once, but on a busy machine they may wait for a core."""

C = TypeVar("C")


class Places(Generic[C]):
    """``now_s``: any monotonic clock."""

    def __init__(self, *, proven: int, unproven: int, grace_s: float = GRACE_S) -> None:
        self.grace_s = grace_s
        self.proven_limit = proven
        self._unproven_limit = max(1, unproven)
        self._silent: dict[C, float] = {}  # since when; the oldest first
        self._heard: dict[C, None] = {}  # the oldest first
        self._proven: dict[C, None] = {}

    def __repr__(self) -> str:
        return f"<Places {len(self._proven)} proven, {len(self._heard)} heard, {len(self._silent)} silent>"

    def __len__(self) -> int:
        return len(self._proven) + self._unproven

    def __iter__(self) -> Iterator[C]:
        """All connections; the set may change during the iteration."""
        return iter([*self._proven, *self._heard, *self._silent])

    def __contains__(self, connection: object) -> bool:
        return connection in self._proven or connection in self._silent or connection in self._heard

    @property
    def _unproven(self) -> int:
        return len(self._silent) + len(self._heard)

    def wait_s(self, now_s: float) -> float:
        """How long the next connection must wait before `make_room` and `add`; 0 if it need not wait."""
        if self._heard or self._unproven < self._unproven_limit:
            return 0.0
        return max(0.0, next(iter(self._silent.values())) + self.grace_s - now_s)

    def make_room(self) -> C | None:
        """Remove and return the connection that the next one replaces; None if a place is free."""
        if self._unproven < self._unproven_limit:
            return None
        group = self._heard or self._silent
        oldest = next(iter(group))
        self.remove(oldest)
        return oldest

    def add(self, connection: C, now_s: float) -> None:
        """Add a new connection, unproven."""
        self._silent[connection] = now_s

    def hear(self, connection: C) -> None:
        """Its request is there, or was refused; if it is unproven, it is now among the first to be replaced."""
        if self._silent.pop(connection, None) is not None:
            self._heard[connection] = None

    def prove(self, connection: C) -> bool:
        """Move it to the proven ones. False if these have no place left; then it stays unproven."""
        if connection in self._proven:
            return True
        if len(self._proven) >= self.proven_limit:
            return False
        self.remove(connection)
        self._proven[connection] = None
        return True

    def remove(self, connection: C) -> None:
        """Remove any connection, also one that is not here."""
        self._silent.pop(connection, None)
        self._heard.pop(connection, None)
        self._proven.pop(connection, None)
