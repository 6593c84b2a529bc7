"""Process groups: who is in one, signal it, and how its leader ended.

**A leader is reaped last.** The kernel gives a number to nobody else while a process, even a zombie, has it
as its pid or its group. So as long as the leader is our unreaped child, a signal to its group can't reach a
stranger; `peek_exit` learns the exit status and leaves the zombie in place. Where the system has no waitid
(macOS before Python 3.13) the leader is reaped when it is seen dead, and then only the other members keep the
number.
"""

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING

from brummer.host.pids import ProcessIdentity, identify

if TYPE_CHECKING:
    from collections.abc import Iterator

if sys.platform == "linux":

    def _pids_in(group: int) -> "Iterator[int]":
        for name in os.listdir("/proc"):
            if name.isdigit() and _group_of(name) == group:
                yield int(name)

    def _group_of(pid: str) -> int | None:
        try:
            with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
                return int(file.read(4096).rpartition(b")")[2].split()[2])
        except (FileNotFoundError, ProcessLookupError, PermissionError, IndexError):
            return None  # it died while we looked, or is hidden from us

else:
    import array

    from brummer.host.libc import check, function

    _PROC_PGRP_ONLY = 2

    def _pids_in(group: int) -> "Iterator[int]":
        pids = array.array("i", bytes(4 * 4096))
        address, _ = pids.buffer_info()
        filled = check(function("proc_listpids")(_PROC_PGRP_ONLY, group, address, 4 * len(pids)))
        yield from (pid for pid in pids[: filled // 4] if pid)


def members(group: int) -> list[ProcessIdentity]:
    """The living processes of a group; a zombie is not living. Looks at every process (5 ms for 500): use a
    thread. Raises OSError where no descriptor is left for that.
    """
    return [identity for pid in _pids_in(group) if (identity := identify(pid))]


def zombies_of(parent: int) -> set[int]:
    """Its dead children that nobody has waited for yet; none are found but on Linux. Looks at every process, too."""
    if sys.platform != "linux":
        return set()
    return {int(name) for name in os.listdir("/proc") if name.isdigit() and _is_zombie_of(name, parent)}


def _is_zombie_of(pid: str, parent: int) -> bool:
    with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
        state, ppid, *_ = file.read(4096).rpartition(b")")[2].split()
        return state == b"Z" and int(ppid) == parent
    return False


def signal_group(group: int, number: signal.Signals) -> None:
    """Signal all members that we may signal; quiet when there are none."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def end_group(group: int, number: signal.Signals = signal.SIGTERM) -> None:
    """Ask all members to end. A stopped process can only hear it when it is continued."""
    signal_group(group, number)
    signal_group(group, signal.SIGCONT)


def kill_group(group: int) -> None:
    """Nobody forks out of this: the kernel starts a fork over when a signal is waiting for its caller."""
    signal_group(group, signal.SIGKILL)


def peek_exit(pid: int) -> int | None:
    """The exit code of a dead child of ours, or minus the signal that killed it; None while it lives."""
    if not hasattr(os, "waitid"):
        reaped, status = os.waitpid(pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if reaped else None
    exit_ = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if exit_ is None:
        return None
    return exit_.si_status if exit_.si_code == os.CLD_EXITED else -exit_.si_status
