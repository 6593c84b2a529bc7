"""Calls that wait for a link to become ready, in the order in which they came."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from brummer.core.errors import BrummerError
from brummer.link.call import Call
from brummer.link.deadline import Deadline


@dataclass(slots=True)
class _Until:
    due_s: float


class Parking:
    """Woken by events only: `release` lets all of them go on, `fail` those that can't be helped any more."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[asyncio.Future[None], Call]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self, call: Call, timeout_s: float | None) -> bool:
        """True when released, False after ``timeout_s``. Raises the error that `fail` gave it.

        ``timeout_s`` None: the caller enforces the call's own deadline.
        """
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[None] = loop.create_future()
        entry = (waiting, call)
        self._waiting.append(entry)
        try:
            with contextlib.nullcontext() if timeout_s is None else Deadline(loop, _Until(loop.time() + timeout_s)):
                await waiting
        except TimeoutError:
            return False
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)
        return True

    def release(self) -> None:
        while self._waiting:
            waiting, _ = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)

    def fail(self, error_for: Callable[[Call], BrummerError | None]) -> None:
        for waiting, call in self._waiting:
            error = error_for(call)
            if error is not None and not waiting.done():
                waiting.set_exception(error)
