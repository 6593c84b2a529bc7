"""An event loop with no system below it: time jumps, sockets and files are objects, callbacks belong to processes.

Theory of operation: a callback runs in the context in which it was scheduled, and that context names a simulated
process (`PROCESS`). The loop checks it before it runs the callback: a stopped process keeps its callbacks for later,
and a callback without a process belongs to the kernel. Time moves only when no callback is ready, and then at once to
the next timer. No code here asks the real system for anything, so the same schedule gives the same run.
"""

# It replaces the inner turn of `asyncio.BaseEventLoop`, whose parts have been the same from Python 3.11 on.
# ruff: noqa: SLF001
# mypy: disable-error-code="override, attr-defined, assignment"

import asyncio
import contextvars
import errno
import heapq
import os
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from brummer.testing.virtual_time import Stuck

START_S: Final = 1000.0
"""Not 0: code that takes a missing time for "long ago" fails at once."""

KERNEL: Final = contextvars.Context()
"""The context of callbacks that belong to no process."""

RESOLUTION_S: Final = 1e-9

STEPS: Final = 150_000
"""A schedule of two minutes takes some 10,000; more steps at one moment are an endless loop."""


class Owner(Protocol):
    """A simulated process, as the loop sees it. ``is_running`` False: `defer` takes its callbacks."""

    is_running: bool
    is_dead: bool

    def defer(self, handle: asyncio.Handle) -> None: ...
    def add_task(self, task: asyncio.Task[Any]) -> None: ...
    def start_thread(self) -> float:
        """How long the work takes. Raises RuntimeError if no thread can be started."""


PROCESS: Final[contextvars.ContextVar[Owner | None]] = contextvars.ContextVar("process", default=None)


class Pollable:
    """Something with a descriptor that may become readable or writable; level-triggered, as for epoll(7)."""

    __slots__ = ("_due_read", "_due_write", "fd", "loop", "reader", "writer")

    def __init__(self, loop: "SimulatedLoop", fd: int) -> None:
        self.loop = loop
        self.fd = fd
        self.reader: tuple[Callable[..., object], tuple[Any, ...], contextvars.Context] | None = None
        self.writer: tuple[Callable[..., object], tuple[Any, ...], contextvars.Context] | None = None
        self._due_read = self._due_write = False

    def fileno(self) -> int:
        return self.fd

    def can_read(self) -> bool:
        raise NotImplementedError

    def can_write(self) -> bool:
        raise NotImplementedError

    def poll(self) -> None:
        """Its state may have changed: schedule the callbacks that wait for it."""
        if self.reader is not None and not self._due_read and self.can_read():
            self._due_read = True
            self.loop.call_soon(self._on_read, context=self.reader[2])
        if self.writer is not None and not self._due_write and self.can_write():
            self._due_write = True
            self.loop.call_soon(self._on_write, context=self.writer[2])

    def _on_read(self) -> None:
        self._due_read = False
        if self.reader is not None and self.can_read():
            self.reader[0](*self.reader[1])
            self.poll()

    def _on_write(self) -> None:
        self._due_write = False
        if self.writer is not None and self.can_write():
            self.writer[0](*self.writer[1])
            self.poll()


class _Handle(asyncio.Handle):
    """An `asyncio.Handle` that asks for no debug mode: a schedule makes some 4,000."""

    __slots__ = ()

    def __init__(self, callback: Any, args: Any, loop: "SimulatedLoop", context: contextvars.Context | None) -> None:
        _fill(self, callback, args, loop, context)

    def cancel(self) -> None:
        self._cancelled = True


class _Timer(asyncio.TimerHandle):
    """As `_Handle`."""

    __slots__ = ()

    def __init__(
        self, when: float, callback: Any, args: Any, loop: "SimulatedLoop", context: contextvars.Context | None
    ) -> None:
        _fill(self, callback, args, loop, context)
        self._when = when
        self._scheduled = True

    def cancel(self) -> None:
        self._cancelled = True
        self._callback = self._args = None  # the heap keeps it until its time comes


def _fill(
    handle: asyncio.Handle, callback: Any, args: Any, loop: "SimulatedLoop", context: contextvars.Context | None
) -> None:
    handle._context = contextvars.copy_context() if context is None else context
    handle._loop = loop
    handle._callback = callback
    handle._args = args
    handle._cancelled = False
    handle._repr = handle._source_traceback = None


class SimulatedLoop(asyncio.BaseEventLoop):
    """Its time begins at `START_S`. Raises `Stuck` if no callback would ever run again."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = START_S
        self.pollables: dict[int, Pollable] = {}
        self.failures: list[str] = []
        """Exceptions that reached the loop: defects, each of them."""
        self.steps = 0
        self._timers: list[tuple[float, int, _Timer]] = []
        self._threads: set[Callable[[], None]] = set()
        """The work of each simulated thread that has not ended."""
        """A heap. Tuples, because Python compares them without a call of its own for each pair."""
        self._timers_set = 0
        self.own_tasks: list[asyncio.Task[Any]] = []
        """Tasks of the simulation itself, in the order of their start."""
        self.set_task_factory(_make_task)  # type: ignore[arg-type]
        self._handlers: dict[Owner | None, Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]] = {}

    def time(self) -> float:
        return self.now_s

    def stand_still(self, seconds: float) -> None:
        """Let time pass in which nothing runs: every timer in that time is late."""
        self.now_s += seconds

    def set_exception_handler(self, handler: Any) -> None:
        """Each process has a handler of its own."""
        self._handlers[PROCESS.get()] = handler

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Log nothing: `call_exception_handler` has recorded it."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        failed = context.get("handle")
        process = PROCESS.get() if failed is None else failed._context.get(PROCESS)
        if process is not None and process.is_dead:
            return
        error = context.get("exception")
        self.failures.append(context["message"] if error is None else f"{context['message']}: {error!r}")
        if (handler := self._handlers.get(process)) is not None:
            handler(self, context)

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = _Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Timers of one time are called in the order in which they were set."""
        handle = _Timer(when, callback, args, self, context)
        self._timers_set += 1
        heapq.heappush(self._timers, (when, self._timers_set, handle))
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.now_s + delay, callback, *args, context=context)

    def run_later(self, delay_s: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """Schedule it in the kernel: it happens even if a process is stopped or killed."""
        return self.call_at(self.now_s + delay_s, callback, *args, context=KERNEL)

    def requeue(self, handles: list[asyncio.Handle]) -> None:
        """Deferred callbacks are ready now."""
        self._ready.extend(handles)

    def timers_of(self, process: Owner) -> list[str]:
        """The timers that are set and will run in this process. A thread is none: the end of a program waits for it."""
        handles = (handle for _, _, handle in self._timers if not handle._cancelled)
        own = (handle._callback for handle in handles if handle._context.get(PROCESS) is process)
        return [repr(callback) for callback in own if callback not in self._threads]

    # The methods that asyncio requires of a loop.

    def _run_once(self) -> None:
        """All turns until the loop is stopped: asyncio calls this again and again, and a turn here is short."""
        ready = self._ready
        while not self._stopping:
            self._take_due()
            for _ in range(len(ready)):
                handle = ready.popleft()
                if handle._cancelled:
                    continue
                context = handle._context
                process = context.get(PROCESS)
                if process is not None and not process.is_running:
                    process.defer(handle)
                    continue
                self.steps += 1
                try:
                    context.run(handle._callback, *handle._args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:  # noqa: BLE001 — as `asyncio.Handle` does
                    self._callback_failed(handle, error)
            if self.steps > STEPS:
                raise Stuck(f"{STEPS} callbacks have run, the last at {self.now_s:.3f} s")

    def _take_due(self) -> None:
        """Make the due timers ready, after time has moved if nothing is ready."""
        ready, timers = self._ready, self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        if not ready:
            if not timers:
                raise Stuck("every task waits, and no timer is set")
            self.now_s = max(self.now_s, timers[0][0])
        end_s = self.now_s + RESOLUTION_S
        while timers and timers[0][0] <= end_s:
            ready.append(heapq.heappop(timers)[2])

    def _callback_failed(self, handle: asyncio.Handle, error: BaseException) -> None:
        what = asyncio.format_helpers._format_callback_source(handle._callback, handle._args)
        self.call_exception_handler({"message": f"Exception in callback {what}", "exception": error, "handle": handle})

    def close(self) -> None:
        super().close()
        self._timers.clear()

    def _write_to_self(self) -> None:
        pass

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(self, _: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """A simulated thread: the work is done later, in one piece."""
        process = PROCESS.get()
        takes_s = process.start_thread() if process is not None else 0.0
        done = self.create_future()

        def work() -> None:
            self._threads.remove(work)
            if done.cancelled():
                return
            try:
                result = func(*args)
            except BaseException as error:  # noqa: BLE001 — the waiting task gets it
                done.set_exception(error)
            else:
                done.set_result(result)

        self._threads.add(work)
        self.call_later(takes_s, work)
        return done

    def add_reader(self, fd: Any, callback: Callable[..., object], *args: Any) -> None:
        pollable = self._pollable(fd)
        pollable.reader = callback, args, contextvars.copy_context()
        pollable.poll()

    def remove_reader(self, fd: Any) -> bool:
        pollable = self._pollable(fd)
        was, pollable.reader = pollable.reader, None
        return was is not None

    def add_writer(self, fd: Any, callback: Callable[..., object], *args: Any) -> None:
        pollable = self._pollable(fd)
        pollable.writer = callback, args, contextvars.copy_context()
        pollable.poll()

    def remove_writer(self, fd: Any) -> bool:
        pollable = self._pollable(fd)
        was, pollable.writer = pollable.writer, None
        return was is not None

    def _pollable(self, fd: Any) -> Pollable:
        found = fd if isinstance(fd, Pollable) else self.pollables.get(fd)
        if found is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return found

    async def connect_accepted_socket(self, protocol_factory: Any, sock: Any, **_: Any) -> Any:
        """A transport for a socket in memory."""
        protocol = protocol_factory()
        return sock.transport(protocol), protocol


def _make_task(loop: SimulatedLoop, coroutine: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
    task = asyncio.Task(coroutine, loop=loop, **options)
    process = PROCESS.get()
    if process is not None:
        process.add_task(task)
    else:
        loop.own_tasks.append(task)
    return task
