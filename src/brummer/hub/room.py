"""Room in memory for large answers: they pass through one after the other rather than all at once.

An answer is in memory several times on its way. Its size is known before it is read, so it waits for its room in the
kernel's buffers, and in the instance. First come, first served.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from brummer.core.memory import COPIES, SHED_AGAIN_S, Memory
from brummer.wire.http_connection import OnTurn

LOOKS: Final = 3
"""`SHED_AGAIN_S` apart, though nobody else has room: what the last one took is given back only when its client has read
it.
"""

PASSED_S: Final = 0.05
"""After it was delivered its copies are still there, until the client's pipe has taken it."""


class _Passage:
    def __init__(self, room: "Room", needed_bytes: int, on_turn: OnTurn) -> None:
        self._room = room
        self.needed_bytes = needed_bytes
        self.on_turn = on_turn
        self.is_let_in = False
        self.looks = 0

    def leave(self) -> None:
        self._room.leave(self)


class Room:
    """Of one hub: a `brummer.wire.http_connection.Room`."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._loop = asyncio.get_running_loop()
        self._taken_bytes = 0
        self._waiting: deque[_Passage] = deque()
        self._next_look: asyncio.TimerHandle | None = None

    def ask(self, size_bytes: int, on_turn: OnTurn) -> Callable[[], None]:
        """``on_turn(True)`` when there is room, ``on_turn(False)`` when there is none though nobody else has any;
        perhaps at once. Call what this returns when the answer was delivered, or is not wanted any more.
        """
        passage = _Passage(self, COPIES * size_bytes, on_turn)
        self._waiting.append(passage)
        self._let_in()
        return passage.leave

    def leave(self, passage: _Passage) -> None:
        if passage.is_let_in:
            passage.is_let_in = False
            self._loop.call_later(PASSED_S, self._came_free, passage.needed_bytes)
        elif passage in self._waiting:
            self._waiting.remove(passage)

    def _came_free(self, size_bytes: int) -> None:
        self._taken_bytes -= size_bytes
        self._let_in()

    def _look(self) -> None:
        self._next_look = None
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting:
            first = self._waiting[0]
            fits = self._memory.has_room(self._loop.time(), self._taken_bytes + first.needed_bytes)
            if not fits and (self._taken_bytes or self._next_look is not None):
                return  # somebody leaves, or the time for a look comes
            if not fits and first.looks < LOOKS:
                first.looks += 1
                self._next_look = self._loop.call_later(SHED_AGAIN_S, self._look)
                return
            self._waiting.popleft()
            if fits:
                first.is_let_in = True
                self._taken_bytes += first.needed_bytes
            first.on_turn(fits)
