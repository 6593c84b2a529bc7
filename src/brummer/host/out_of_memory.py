"""How many processes the kernel has killed for lack of memory. Linux only."""

import contextlib

import msgspec


class OomKills(msgspec.Struct, frozen=True):
    """Counts of two sources can't be compared: a process may be moved into another control group."""

    source: str
    kills: int


def oom_kills() -> OomKills | None:
    """So far: in our control group, where it counts (version 2), else on this machine. None where that is not counted.

    Two small files: 0.1 ms.
    """
    for path in (_events_of_our_group(), "/proc/vmstat"):
        with contextlib.suppress(OSError, ValueError), open(path, "rb") as file:
            for line in file:
                name, _, count = line.partition(b" ")
                if name == b"oom_kill":
                    return OomKills(path, int(count))
    return None


def _events_of_our_group() -> str:
    with contextlib.suppress(OSError), open("/proc/self/cgroup", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("0::"):
                return f"/sys/fs/cgroup{line[3:].strip().rstrip('/')}/memory.events"
    return ""
