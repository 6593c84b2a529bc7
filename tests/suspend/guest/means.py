"""How each scenario takes the guest away, and the moment from which its programs ran again.

That moment is the kernel's own: it says "Restarting tasks" right before it lets programs run again, and before that
nobody could have noticed anything. A message is stamped in the kernel's time, so a message of our own, written after
the wake, relates that to CLOCK_BOOTTIME. Between the hardware's wake and this there are the devices, some 0.1 s here.
"""

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.suspend.guest.host import Host

POWER: Final = Path("/sys/power")
ALARM: Final = Path("/sys/class/rtc/rtc0/wakealarm")
AWAY_S: Final = 8
"""Longer than any deadline of a probe, and than a heartbeat."""

RECORD_BYTES: Final = 8192
"""The longest that /dev/kmsg hands out; a shorter buffer is an error."""

THAWED: Final = "Restarting tasks"
MARKER: Final = "brummer: what time is it?\n"
"""A line that does not end could still grow, and is not handed out."""


@dataclass(frozen=True)
class Away:
    """CLOCK_BOOTTIME in seconds: before it all, and when programs ran again."""

    left_s: float
    back_s: float


def boottime_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class KernelLog:
    """The kernel's messages from now on."""

    def __init__(self) -> None:
        self._file = os.open("/dev/kmsg", os.O_RDWR | os.O_NONBLOCK)
        os.lseek(self._file, 0, os.SEEK_END)

    def when(self, text: str) -> float:
        """The CLOCK_BOOTTIME of the last message since that contains this."""
        now_s = boottime_s()
        os.write(self._file, MARKER.encode())
        stamps: dict[str, float] = {}
        while record := self._read():
            header, _, message = record.partition(";")
            stamps |= {known: int(header.split(",")[2]) / 1e6 for known in (text, MARKER) if known in message}
        return now_s - (stamps[MARKER] - stamps[text])

    def _read(self) -> str:
        try:
            return os.read(self._file, RECORD_BYTES).decode(errors="replace")
        except BlockingIOError:
            return ""

    def close(self) -> None:
        os.close(self._file)


def _suspend() -> Away:
    """Returns once we are back. Raises OSError when the kernel refuses."""
    log = KernelLog()
    left_s = boottime_s()
    try:
        (POWER / "state").write_text("mem")
        return Away(left_s, log.when(THAWED))
    finally:
        log.close()


def _s3(_: Host) -> Away:
    (POWER / "mem_sleep").write_text("deep")
    ALARM.write_text("0")
    ALARM.write_text(f"+{AWAY_S}")
    return _suspend()


def _ext(host: Host) -> Away:
    (POWER / "mem_sleep").write_text("deep")
    ALARM.write_text("0")
    host.want("wake", AWAY_S)
    return _suspend()


def _core(_: Host) -> Away:
    (POWER / "mem_sleep").write_text("deep")
    (POWER / "pm_test").write_text("core")
    try:
        return _suspend()
    finally:
        (POWER / "pm_test").write_text("none")


def _s2idle(host: Host) -> Away:
    """QEMU's alarm does not end this one, and without the button's driver nothing would."""
    subprocess.run(["insmod", "/button.ko"], check=True)
    (POWER / "mem_sleep").write_text("s2idle")
    host.want("press", AWAY_S)
    return _suspend()


def _vmpause(host: Host) -> Away:
    left_s = boottime_s()
    host.want("pause", AWAY_S)
    return Away(left_s, boottime_s())


def _setclock(_: Host) -> Away:
    left_s = boottime_s()
    time.clock_settime(time.CLOCK_REALTIME, time.time() + 3600)
    return Away(left_s, left_s)


MEANS: Final[dict[str, Callable[[Host], Away]]] = {
    "s3": _s3,
    "ext": _ext,
    "core": _core,
    "s2idle": _s2idle,
    "vmpause": _vmpause,
    "setclock": _setclock,
}
