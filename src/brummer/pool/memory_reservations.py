"""Memory for large answers: they pass one after the other rather than all at once.

An answer is in memory several times on its way. If its size is known before it is read, it waits for memory before
that: in the kernel's buffers, and in the instance. If the size is not known (chunks, an event stream), the answer waits
once a part of it has arrived, and asks for its largest possible size. So an admitted answer has all the memory that it
will need, and no answer waits for more while it holds some: there is no deadlock. First come, first served.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from brummer.core.memory import COPIES, SHED_AGAIN_S, Memory
from brummer.wire.http.connection import OnGranted

LOOKS: Final = 3
"""`SHED_AGAIN_S` apart, though no other answer holds memory: that of the last one is released only when its client has
read it.
"""

PASSED_S: Final = 0.05
"""After it was delivered its copies are still there, until the client's pipe has taken it."""

UNKNOWN_PASSED_S: Final = 0.2
"""The same for an answer of unknown size: a foreign server's result is copied once more, in the tasks of its call."""


class Reservation:
    """The memory that one answer waits for, or has."""

    def __init__(
        self, reservations: "MemoryReservations", size_bytes: int, least_bytes: int, on_granted: OnGranted
    ) -> None:
        self._reservations = reservations
        self.size_bytes = size_bytes
        self.least_bytes = least_bytes
        self.on_granted = on_granted
        self.taken_bytes = 0
        self.looks = 0

    @property
    def enough_bytes(self) -> int:
        """The size that is accepted if the whole size does not fit although no other answer holds memory."""
        return max(self.least_bytes, self.size_bytes // 2) if self.looks < LOOKS else self.least_bytes

    def release(self) -> None:
        self._reservations.release(self)


class MemoryReservations:
    """Of one hub: a `brummer.wire.http.connection.Reservations`."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._loop = asyncio.get_running_loop()
        self.reserved_bytes = 0
        self._waiting: deque[Reservation] = deque()
        self._next_look: asyncio.TimerHandle | None = None

    @property
    def queued(self) -> int:
        """Answers that wait for memory."""
        return len(self._waiting)

    def reserve(self, size_bytes: int, on_granted: OnGranted, least_bytes: int | None = None) -> Callable[[], None]:
        """Calls ``on_granted`` once with the granted size; it may call before returning.

        The granted size is ``size_bytes``. If that does not fit although no other answer holds memory, it is the free
        size, or 0 if the free size is less than ``least_bytes`` (default: ``size_bytes``). Call the returned function
        when the answer was delivered, or is not needed any more.
        """
        reservation = Reservation(self, size_bytes, size_bytes if least_bytes is None else least_bytes, on_granted)
        self._waiting.append(reservation)
        self._let_in()
        return reservation.release

    def release(self, reservation: Reservation) -> None:
        if reservation.taken_bytes:
            passes_s = PASSED_S if reservation.least_bytes == reservation.size_bytes else UNKNOWN_PASSED_S
            self._loop.call_later(passes_s, self._came_free, reservation.taken_bytes)
            reservation.taken_bytes = 0
        elif reservation in self._waiting:
            self._waiting.remove(reservation)

    def _came_free(self, size_bytes: int) -> None:
        self.reserved_bytes -= size_bytes
        self._let_in()

    def _look(self) -> None:
        self._next_look = None
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting:
            first = self._waiting[0]
            fits_bytes = self._fitting(first)
            if fits_bytes < first.size_bytes:
                if self.reserved_bytes or self._next_look is not None:
                    return  # another answer leaves, or the timer fires
                if fits_bytes < first.enough_bytes and first.looks < LOOKS:
                    first.looks += 1
                    self._next_look = self._loop.call_later(SHED_AGAIN_S, self._look)
                    return
            self._waiting.popleft()
            granted_bytes = fits_bytes if fits_bytes >= first.least_bytes else 0
            first.taken_bytes = COPIES * granted_bytes
            self.reserved_bytes += first.taken_bytes
            first.on_granted(granted_bytes)

    def _fitting(self, reservation: Reservation) -> int:
        """How many bytes of the answer fit now."""
        needed_bytes = self.reserved_bytes + COPIES * reservation.size_bytes
        left_bytes = self._memory.left_bytes(self._loop.time(), needed_bytes) - self.reserved_bytes
        return max(0, min(reservation.size_bytes, left_bytes // COPIES))
