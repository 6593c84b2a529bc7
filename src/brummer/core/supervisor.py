"""Runs each long task in a restart loop of its own, so no failure ends a task for good, and no failure is silent.

A failure is logged, kept as a problem while it may recur, and followed by a pause that doubles each time.
A callback of the loop that raises is logged and kept in the same way.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from brummer.core.errors import BrummerError

TASK_BASE_S: Final = 0.1
"""A short shortage, such as of descriptors or memory, is often over by then."""
TASK_CAP_S: Final = 30.0
CALM_S: Final = 6.0
"""A task that runs for so long counts as recovered: each is active at least once in the five seconds of a heartbeat."""
STABLE_S: Final = 60.0
"""Twice the longest pause. After a run of this length the pauses begin anew; a failed callback is reported for it."""

_log = logging.getLogger(__name__)


class Failure(msgspec.Struct, frozen=True):
    """The last failure of a task or a callback. ``code`` is that of a `BrummerError`; ``count``: failures in a row."""

    name: str
    code: str
    detail: str
    since_s: float
    until_s: float
    count: int


class Supervisor:
    """Runs all long tasks of a program. Made on the running loop; it also records the loop's failed callbacks."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._failures: dict[str, Failure] = {}
        self._loop.set_exception_handler(self._callback_failed)

    def start(self, name: str, work: Callable[[], Awaitable[object]], *, may_end: bool = False) -> asyncio.Task[None]:
        """Await ``work()`` repeatedly until the task is cancelled; with ``may_end`` until it returns."""
        task = self._loop.create_task(self._keep(name, work, may_end=may_end), name=name)
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)
        return task

    async def close(self) -> None:
        """Cancel all tasks, and wait until they have ended."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def failures(self) -> list[Failure]:
        """The failures of tasks that wait for a restart, or that have not run long enough to count as recovered."""
        self._failures = {name: each for name, each in self._failures.items() if self._loop.time() < each.until_s}
        return list(self._failures.values())

    async def _keep(self, name: str, work: Callable[[], Awaitable[object]], *, may_end: bool) -> None:
        task, pause_s = asyncio.current_task(), TASK_BASE_S / 2
        while True:
            began_s, error = self._loop.time(), None
            try:
                await work()
            except (Exception, asyncio.CancelledError) as raised:  # noqa: BLE001 — the barrier: it is started again
                error = raised
            if (may_end and error is None) or (task and task.cancelling()):  # also if the work caught the cancellation
                return
            pause_s = TASK_BASE_S if self._loop.time() - began_s >= STABLE_S else min(TASK_CAP_S, 2 * pause_s)
            self._note(name, error or RuntimeError("it has ended"), pause_s + CALM_S)
            await asyncio.sleep(pause_s)

    def _callback_failed(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The name ends before the callback's arguments, which may be anything and differ each time."""
        name = context["message"].partition("(")[0].partition("<")[0].strip()
        self._note(name, context.get("exception") or RuntimeError(name), STABLE_S)

    def _note(self, name: str, error: BaseException, for_s: float) -> None:
        """Record the failure. It is logged as a warning only if its text differs from the last one's."""
        now_s, detail = self._loop.time(), str(error) or type(error).__name__
        known = next((each for each in self.failures() if each.name == name), Failure(name, "", "", now_s, now_s, 0))
        code = error.code if isinstance(error, BrummerError) else "task_failed"
        self._failures[name] = Failure(name, code, detail, known.since_s, now_s + for_s, known.count + 1)
        log = _log.debug if known.detail == detail else _log.warning
        log("%s failed: %s", name, detail, exc_info=None if isinstance(error, BrummerError | OSError) else error)
