"""Detects that the last reader of a pipe or socket is gone, without writing to it.

On Linux epoll reports an error or hang-up event for every descriptor that it watches, even with an empty event mask.
On other systems, and when no descriptor is left for epoll, the descriptor is polled every five seconds.
"""

import asyncio
import select
import sys
from collections.abc import Callable
from typing import Final

POLL_S: Final = 5.0


def watch_hangup(loop: asyncio.AbstractEventLoop, fd: int, on_hangup: Callable[[], object]) -> Callable[[], None]:
    """Call ``on_hangup()`` once when no process can read any more what is written to ``fd``. Returns a stop function.

    A file or a device without readers never hangs up.
    """
    if sys.platform == "linux":
        try:
            return _watch_by_event(loop, fd, on_hangup)
        except PermissionError:  # epoll watches neither a file nor /dev/null
            return lambda: None
        except OSError:
            pass
    return _watch_by_polling(loop, fd, on_hangup)


if sys.platform == "linux":

    def _watch_by_event(
        loop: asyncio.AbstractEventLoop, fd: int, on_hangup: Callable[[], object]
    ) -> Callable[[], None]:
        """Raises OSError."""
        events = select.epoll()
        try:
            events.register(fd, 0)
        except BaseException:
            events.close()
            raise

        def stop() -> None:
            if not events.closed:
                loop.remove_reader(events.fileno())
                events.close()

        def hung_up() -> None:
            stop()
            on_hangup()

        loop.add_reader(events.fileno(), hung_up)
        return stop


def _watch_by_polling(loop: asyncio.AbstractEventLoop, fd: int, on_hangup: Callable[[], object]) -> Callable[[], None]:
    timer: asyncio.Handle | None = None
    polled = select.poll()
    polled.register(fd, 0)

    def check() -> None:
        nonlocal timer
        if any(event & (select.POLLERR | select.POLLHUP) for _, event in polled.poll(0)):
            on_hangup()
        else:
            timer = loop.call_later(POLL_S, check)

    def stop() -> None:
        if timer is not None:
            timer.cancel()

    timer = loop.call_soon(check)
    return stop
