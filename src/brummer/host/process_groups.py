"""Process groups: signal one, and learn how its leader ended and what it has used.

**A leader is reaped last.** The kernel gives a number to no other process while a process, even a zombie, has it as its
pid or its group. So as long as the leader is our unreaped child, a signal to its group can't reach another process;
`peek_exit` learns the exit status and leaves the zombie in place.
"""

import contextlib
import os
import signal
import sys

from brummer.host.memory import MAXRSS_BYTES

if sys.platform == "darwin":
    from brummer.host.macos.library import system_library


def signal_group(group: int, number: signal.Signals) -> None:
    """Signal all members that we may signal; quiet when there are none."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def end_group(group: int, number: signal.Signals = signal.SIGTERM) -> None:
    """Ask all members to end. A stopped process gets the signal only when it is continued."""
    signal_group(group, number)
    signal_group(group, signal.SIGCONT)


def kill_group(group: int) -> None:
    """No member escapes by a fork: the kernel restarts a fork whose caller has a pending signal."""
    signal_group(group, signal.SIGKILL)


def peek_exit(pid: int) -> int | None:
    """The exit code of a dead child of ours, or minus the signal that killed it; None while it can't be waited for.

    macOS reports a death before the process can be waited for. Raises ChildProcessError if it was waited for already.
    """
    if sys.platform == "darwin":
        return system_library().peek_exit(pid)
    exit_ = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if exit_ is None:
        return None
    return exit_.si_status if exit_.si_code == os.CLD_EXITED else -exit_.si_status


def reap(pid: int) -> tuple[int, float, int]:
    """Wait for a child of ours: (exit code as `peek_exit`, CPU time in seconds, peak of resident memory in bytes).

    The CPU time is that of the child and of the children that it had waited for, and of those that they had waited for;
    the memory is that of the largest one of them. Linux counts our own peak as the child's: it had our memory before it
    loaded its program. Raises ChildProcessError if it was waited for already.
    """
    _, status, used = os.wait4(pid, 0)
    return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, used.ru_maxrss * MAXRSS_BYTES


def zombies_of(parent: int) -> set[int]:
    """Its dead children that no process has waited for yet. For process 1 of a container, so Linux only."""
    return {int(name) for name in os.listdir("/proc") if name.isdigit() and _is_zombie_of(name, parent)}


def _is_zombie_of(pid: str, parent: int) -> bool:
    with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
        state, ppid, *_ = file.read(4096).rpartition(b")")[2].split()
        return state == b"Z" and int(ppid) == parent
    return False
