"""Learning that the last reader of a pipe or socket has gone, without writing to it.

Linux tells by an error or hang-up event, which epoll reports for any descriptor that it watches, even if nothing is
asked for. Elsewhere, and where there is no descriptor left for that, it is looked at every five seconds.
"""

import asyncio
import select
import sys
from collections.abc import Callable
from typing import Final

POLL_S: Final = 5.0


def watch_hangup(loop: asyncio.AbstractEventLoop, fd: int, on_hangup: Callable[[], object]) -> Callable[[], None]:
    """Call ``on_hangup()`` once when nobody can read any more what is written to ``fd``. Returns how to stop.

    A file or a device without readers never hangs up.
    """
    if sys.platform == "linux":
        try:
            return _watch_by_event(loop, fd, on_hangup)
        except PermissionError:  # what epoll does not watch: a file, /dev/null
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
    if not hasattr(select, "poll"):  # Windows
        return lambda: None
    timer: asyncio.Handle | None = None
    polled = select.poll()
    polled.register(fd, 0)

    def look() -> None:
        nonlocal timer
        if any(event & (select.POLLERR | select.POLLHUP) for _, event in polled.poll(0)):
            on_hangup()
        else:
            timer = loop.call_later(POLL_S, look)

    def stop() -> None:
        if timer is not None:
            timer.cancel()

    timer = loop.call_soon(look)
    return stop
