"""Long tasks: each runs in a restart loop of its own, so that no failure ends one for good, and none is silent.

A failure is logged, kept as a problem while it may come back, and followed by a pause that doubles each time.
A callback of the loop that raises is logged and kept in the same way.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from brummer.core.errors import BrummerError

BASE_S: Final = 0.1
"""What is short for a moment, such as descriptors or memory, is often there again by then."""
CAP_S: Final = 30.0
CALM_S: Final = 6.0
"""A task that runs for so long is well again: each does at least something in the five seconds of a heartbeat."""
STABLE_S: Final = 60.0
"""Twice the longest pause: then the pauses begin anew; and so long a callback that has failed is told of."""

_log = logging.getLogger(__name__)


class Failure(msgspec.Struct, frozen=True):
    """The last of a task or a callback. ``code`` is that of a `BrummerError`; ``count``: since it was well."""

    name: str
    code: str
    detail: str
    since_s: float
    until_s: float
    count: int


class TaskEnded(BrummerError):
    """A task that is to run for ever has returned, or was cancelled from within."""

    code = "task_failed"


class Supervisor:
    """Of all long tasks of a program; made on the running loop, whose failed callbacks it notes, too."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._failures: dict[str, Failure] = {}
        self._loop.set_exception_handler(self._callback_failed)

    def start(self, name: str, work: Callable[[], Awaitable[object]], *, may_end: bool = False) -> asyncio.Task[None]:
        """Await ``work()`` again and again until the task is cancelled; with ``may_end`` until it returns."""
        task = self._loop.create_task(self._keep(name, work, may_end=may_end), name=name)
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)
        return task

    async def close(self) -> None:
        """Cancel all, and wait until they have ended."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def failures(self) -> list[Failure]:
        """What waits to be started again, or runs again only since a moment."""
        now_s = self._loop.time()
        self._failures = {name: each for name, each in self._failures.items() if now_s < each.until_s}
        return list(self._failures.values())

    async def _keep(self, name: str, work: Callable[[], Awaitable[object]], *, may_end: bool) -> None:
        pause_s = BASE_S
        while True:
            began_s = self._loop.time()
            error: Exception = TaskEnded("it has ended")
            try:
                await work()
                if may_end:
                    return
            except asyncio.CancelledError:
                if (task := asyncio.current_task()) is None or task.cancelling():
                    raise
            except Exception as raised:  # noqa: BLE001 — the barrier: whatever it is, the task is started again
                error = raised
            if self._loop.time() - began_s >= STABLE_S:
                pause_s = BASE_S
            level = logging.WARNING if self._note(name, error, pause_s + CALM_S) else logging.DEBUG
            trace = None if isinstance(error, BrummerError | OSError) else error
            _log.log(level, "%s failed and is started again: %s", name, error, exc_info=trace)
            await asyncio.sleep(pause_s)
            pause_s = min(CAP_S, 2 * pause_s)

    def _callback_failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        loop.default_exception_handler(context)
        self._note(f"callback: {context['message']}", context.get("exception"), STABLE_S)

    def _note(self, name: str, error: BaseException | None, for_s: float) -> bool:
        """Whether it is news."""
        code = error.code if isinstance(error, BrummerError) else "task_failed"
        known = next((each for each in self.failures() if each.name == name), None)
        now_s, detail = self._loop.time(), str(error) or type(error).__name__
        since_s, count = (known.since_s, known.count + 1) if known else (now_s, 1)
        self._failures[name] = Failure(name, code, detail, since_s, now_s + for_s, count)
        return known is None or known.detail != detail
