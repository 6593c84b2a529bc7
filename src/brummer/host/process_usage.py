"""What a process uses, CPU time and memory, and the numbers by which its relatives are known."""

import os
import sys
from collections.abc import Iterable
from typing import Final, NamedTuple

if sys.platform == "linux":
    from brummer.host.pids import stat_fields
else:
    from brummer.host.macos.processes import mac_processes


class ProcessUsage(NamedTuple):
    """One process at one moment. ``started``: as `brummer.host.pids.ProcessIdentity.start_token`.

    ``own_ticks``: its CPU time. ``waited_ticks``: the CPU time of the children that it has waited for, and of those
    that they had waited for; always 0 on macOS. ``resident_bytes``: shared pages count in each process. Both are None
    if the system hides them.
    """

    parent: int
    group: int
    session: int
    started: int
    is_zombie: bool
    own_ticks: int | None
    waited_ticks: int
    resident_bytes: int | None


if sys.platform == "linux":
    TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")
    _PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")

    def process_tokens() -> dict[int, int]:
        """All processes that we can see: pid → a number that is another one for another process with this pid, and may
        be another one for the same process. Costs 0.7 µs each, so it tells cheaply what is new. Raises OSError.
        """
        with os.scandir("/proc") as entries:
            return {int(entry.name): entry.inode() for entry in entries if entry.name.isdigit()}

    def usage_of(pid: int) -> ProcessUsage | None:
        """None if there is no such process. Costs 10 µs. Raises OSError."""
        fields = stat_fields(pid)
        if fields is None:
            return None
        state, parent, group, session, *_ = fields
        own_ticks, waited_ticks = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
        resident_bytes = int(fields[21]) * _PAGE_BYTES
        return ProcessUsage(
            int(parent),
            int(group),
            int(session),
            int(fields[19]),
            state in b"ZXx",
            own_ticks,
            waited_ticks,
            resident_bytes,
        )

else:
    TICKS_A_SECOND: Final = 100

    def process_tokens() -> dict[int, int]:
        """All processes: pid → start time. Raises OSError."""
        return mac_processes().start_times()

    def usage_of(pid: int) -> ProcessUsage | None:
        """None if there is no such process. Raises OSError."""
        found = mac_processes().usage(pid)
        return None if found is None else ProcessUsage(*found)


def total_of(usages: Iterable[ProcessUsage]) -> tuple[float | None, int | None]:
    """(CPU time in seconds, resident bytes) of these processes and of the children that they have waited for; None for
    what the system hides of all of them.
    """
    usages = list(usages)
    ticks = [each.own_ticks + each.waited_ticks for each in usages if each.own_ticks is not None]
    resident = [each.resident_bytes for each in usages if each.resident_bytes is not None]
    return sum(ticks) / TICKS_A_SECOND if ticks else None, sum(resident) if resident else None
