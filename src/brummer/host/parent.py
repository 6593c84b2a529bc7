"""The death of our parent process, also while we start."""

import os
from typing import TYPE_CHECKING, Final

from brummer import PARENT_PID as PID

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, TimerHandle
    from collections.abc import Callable

PARENT_POLL_S: Final = 1.0
"""A hub must end within two seconds."""


def watch_parent(loop: "AbstractEventLoop", on_exit: "Callable[[], None]") -> "Callable[[], None]":
    """Call ``on_exit()`` once when the parent has died, also during our start. Returns a stop function.

    Process 1 of a container, and a parent outside of the container, are not watched: they can't die before us.
    """
    stop = _watch_by_identity(loop, on_exit) or _watch_by_polling(loop, on_exit)
    if os.getppid() != PID:  # another process may have its pid by now
        stop()
        return loop.call_soon(on_exit).cancel
    return stop


def _watch_by_identity(loop: "AbstractEventLoop", on_exit: "Callable[[], None]") -> "Callable[[], None] | None":
    """None if it can't be identified: /proc hides it, because it is another user's, or shows another namespace."""
    from brummer.host.exits import watch_exit  # noqa: PLC0415 — see above, as for the next
    from brummer.host.pids import identify  # noqa: PLC0415

    try:
        identity = identify(PID) if PID > 1 else None
        return None if identity is None else watch_exit(loop, identity, on_exit).close
    except (OSError, ValueError):
        return None


def _watch_by_polling(loop: "AbstractEventLoop", on_exit: "Callable[[], None]") -> "Callable[[], None]":
    timer: TimerHandle | None = None

    def poll() -> None:
        nonlocal timer
        if os.getppid() == PID:
            timer = loop.call_later(PARENT_POLL_S, poll)
        else:
            on_exit()

    def stop() -> None:
        if timer is not None:
            timer.cancel()

    timer = loop.call_later(PARENT_POLL_S, poll) if PID > 1 else None
    return stop
