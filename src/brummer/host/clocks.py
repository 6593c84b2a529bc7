"""The system's clocks, and a hint when one of them may have jumped. The module is a `brummer.core.clock.Clock`.

=======  ===============================  ===========================================
system   awake                            elapsed
=======  ===============================  ===========================================
Linux    CLOCK_MONOTONIC                  CLOCK_BOOTTIME
macOS    CLOCK_UPTIME_RAW                 CLOCK_MONOTONIC_RAW, which counts sleep there
=======  ===============================  ===========================================
"""

import asyncio
import contextlib
import functools
import os
import sys
import time
from collections.abc import Callable
from typing import Final

from brummer.core.clock import Reading

READ_TRIES: Final = 3
"""A preemption between two clocks would seem to be a sleep; the closest of three pairs is used."""

if sys.platform == "linux":

    def awake() -> float:
        """Seconds that stand still while the machine sleeps."""
        return time.clock_gettime(time.CLOCK_MONOTONIC)

    def elapsed() -> float:
        """Seconds that go on while the machine sleeps."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:

    def awake() -> float:
        """Seconds that stand still while the machine sleeps."""
        return time.clock_gettime(time.CLOCK_UPTIME_RAW)

    def elapsed() -> float:
        """Seconds that go on while the machine sleeps."""
        return time.clock_gettime(time.CLOCK_MONOTONIC_RAW)


def busy() -> float:
    """Seconds of a processor that the calling thread has used."""
    return time.thread_time()


def wall() -> float:
    """Seconds since 1970; it can be set."""
    return time.time()


def reading() -> Reading:
    """All clocks at one moment; some microseconds."""
    return min((_read() for _ in range(READ_TRIES)), key=lambda pair: pair[0])[1]


def _read() -> tuple[float, Reading]:
    """(how long it took, the reading)."""
    before, elapsed_s, wall_s, after = awake(), elapsed(), wall(), awake()
    return after - before, Reading((before + after) / 2, elapsed_s, wall_s, _suspends())


def _suspends() -> int:
    descriptor = _suspend_stats()
    if descriptor is None:
        return 0
    try:
        return int(os.pread(descriptor, 32, 0))
    except (OSError, ValueError):
        return 0


@functools.cache
def _suspend_stats() -> int | None:
    """Linux counts every suspend here, also one to idle, through which its clocks may go on; kept open for good."""
    if sys.platform != "linux":
        return None
    with contextlib.suppress(OSError):
        return os.open("/sys/power/suspend_stats/success", os.O_RDONLY | os.O_CLOEXEC)
    return None


OnFailed = Callable[[OSError], None]


class ClockHints:
    """Calls ``on_hint`` soon after a clock may have jumped, and sometimes when none has. Close it when done.

    It calls ``on_failed`` when no more hints will come.
    """

    def __init__(self, close: Callable[[], None]) -> None:
        self.close = close


if sys.platform == "linux":
    import ctypes
    import errno

    from brummer.host.libc import check, function
    from brummer.host.readers import read_when_ready

    _ABSTIME_AND_CANCEL_ON_SET: Final = 0x1 | 0x2
    _FAR_OFF_S: Final = 10**9
    """The timer itself is never to fire: only the cancellation is wanted, at a wake or when the clock is set."""

    class _TimeSpec(ctypes.Structure):
        _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))

    class _TimerSpec(ctypes.Structure):
        _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))

    def watch_clocks(loop: asyncio.AbstractEventLoop, on_hint: Callable[[], None], on_failed: OnFailed) -> ClockHints:
        """A timer on the wall clock that the kernel cancels when that clock jumps, as it does at every resume.

        No thread, no wakeup, no right needed. Raises OSError where the kernel has no such timer.
        Source: timerfd_create(2), TFD_TIMER_CANCEL_ON_SET; Python wraps it from 3.13 on.
        """
        descriptor = check(function("timerfd_create")(time.CLOCK_REALTIME, os.O_NONBLOCK | os.O_CLOEXEC))

        def arm() -> None:
            spec = _TimerSpec(_TimeSpec(0, 0), _TimeSpec(int(wall()) + _FAR_OFF_S, 0))
            check(function("timerfd_settime")(descriptor, _ABSTIME_AND_CANCEL_ON_SET, ctypes.byref(spec), None))

        def read() -> None:
            try:
                os.read(descriptor, 8)
            except OSError as error:
                if error.errno != errno.ECANCELED:
                    raise
            arm()
            on_hint()

        def close() -> None:
            loop.remove_reader(descriptor)
            os.close(descriptor)

        try:
            arm()
            read_when_ready(loop, descriptor, read, on_failed)
        except OSError:
            os.close(descriptor)
            raise
        return ClockHints(close)

else:
    from brummer.host.macos.library import system_library
    from brummer.host.macos.notifications import watch_notifications

    _NAMES: Final = (b"com.apple.powermanagement.systempowerstate", b"com.apple.system.clock_set")
    """kIOPMSystemPowerStateNotify and kNotifyClockSet."""

    def watch_clocks(
        loop: asyncio.AbstractEventLoop,
        on_hint: Callable[[], None],
        on_failed: OnFailed,  # noqa: ARG001 - the system does not tell
    ) -> ClockHints:
        """notify(3) posts at sleep, at wake, and when the clock is set."""
        return ClockHints(watch_notifications(loop, _NAMES, on_hint, system_library()))
