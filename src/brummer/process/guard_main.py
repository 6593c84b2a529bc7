"""The guard's own program: started as a plain file, standard library only, outlives the instance by two
seconds at most.

Standard input is a pipe that only the instance holds open; on it come ``+GROUP`` and ``-GROUP`` lines. Its
end means that the instance is dead, however it died. Then everything that the instance started is ended: members
of the groups named last, every process whose environment has the instance's mark, even after setsid or a double fork,
and every descendant of those. TERM first, KILL after half a second. The guard exits at once if it finds nothing.

No other process is signalled: at the end of the pipe the named groups still are the instance's, since it
names each until it is empty. Later a group counts only while one of its known members still lives in it, and
a process is signalled through a descriptor opened before it was checked (Linux), so that a reused number
harms no other process.

On macOS the processes come from `brummer.host.macos.process_table`, a file that the guard is given by a descriptor of
its own. Apple's own programs hide their environment there; most of them are found by their session, in which a process
stays when it only leaves its group.

What escapes: a process that cleared its environment *and* left its session *and* whose parents are dead; and one that
runs as another user.
"""

# pathlib would double the start-up time of this program.
# ruff: noqa: PTH112, PTH123, PTH208

import contextlib
import functools
import os
import signal
import sys
import time

TYPE_CHECKING = False  # the module typing would double the start-up time, too
if TYPE_CHECKING:
    from brummer.host.macos.process_table import ProcessTable

KILL_AFTER_S = 0.5
GIVE_UP_AFTER_S = 1.8
SCAN_EVERY_S = 0.02
MARK = b"BRUMMER_PROCESS="
UNREADABLE = (FileNotFoundError, ProcessLookupError, PermissionError)
"""It is gone, or belongs to another user."""
MARKED = b"BRUMMER_"
"""In the environment of every process that an instance has started."""

Identity = tuple[int, int]
"""pid and start time."""
Status = tuple[int, int, int, int]
"""Process group, parent, start time, and session, which has the number of the script's group: its leader began both."""
Scan = tuple[dict[int, Status], dict[int, bytes]]
"""All living processes but this one, and the environments of those that instances have started; by pid."""


def main(generation: str) -> None:
    """Wait for the end of the pipe, then end everything that is registered or marked."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    os.chdir("/")
    groups = read_groups()
    if sys.platform == "darwin" or os.path.isdir("/proc/self"):
        with contextlib.suppress(OSError):  # the whole system has no descriptor left: end at least the groups
            end_all(groups, MARK + generation.encode())
            return
    end_groups(groups)


def read_groups() -> set[int]:
    """What is registered when the pipe ends. A torn last line is nothing."""
    groups: set[int] = set()
    with open(0, "rb") as pipe:
        for line in pipe:
            if line.endswith(b"\n"):
                (groups.add if line.startswith(b"+") else groups.discard)(int(line[1:]))
    return groups


def end_all(groups: set[int], mark: bytes, known: set[Identity] | None = None) -> None:
    """Until nothing is left to end, or for `GIVE_UP_AFTER_S`. ``known``: processes that end even if they have left the
    groups.
    """
    began = time.monotonic()
    asked: set[Identity] = set()
    known = known or set()
    while (waited := time.monotonic() - began) < GIVE_UP_AFTER_S:
        targets, groups = find(groups, mark, known)
        if not targets:
            return
        number = signal.SIGTERM if waited < KILL_AFTER_S else signal.SIGKILL
        for target in targets:
            if target not in asked or number == signal.SIGKILL:
                send(target, number)
        asked.update(targets)
        known.update(targets)
        time.sleep(SCAN_EVERY_S)


def scan() -> Scan:
    """Two small files for each process. Raises OSError if no descriptor is left for that."""
    if sys.platform == "darwin":
        return process_table().scan()
    living: dict[int, Status] = {}
    environments: dict[int, bytes] = {}
    own = str(os.getpid())
    for pid in os.listdir("/proc"):
        if not pid.isdigit() or pid == own:
            continue
        try:  # in one function, because it is done for every process
            with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
                fields = file.read().rpartition(b")")[2].split()
            if not fields or fields[0] in b"ZXx":
                continue
            living[int(pid)] = int(fields[2]), int(fields[1]), int(fields[19]), int(fields[3])
            with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
                environment = file.read()
        except UNREADABLE:
            continue
        if MARKED in environment:
            environments[int(pid)] = b"\0" + environment
    return living, environments


def find(
    groups: set[int], mark: bytes, known: set[Identity], seen: Scan | None = None
) -> tuple[list[Identity], set[int]]:
    """The living processes to end, and the groups that are still the instance's. Raises as `scan` does."""
    living, environments = seen or scan()
    alive_known = {pid for pid, started in known if pid in living and living[pid][2] == started}
    ours = numbers_of(alive_known, living) & groups if known else groups
    found = {pid for pid, (group, _, _, session) in living.items() if group in ours or session in ours}
    found |= alive_known
    found |= {pid for pid, environment in environments.items() if b"\0%b\0" % mark in environment}
    found |= descendants(found, living)
    return [(pid, living[pid][2]) for pid in found], numbers_of(found, living) & groups


def numbers_of(pids: set[int], living: dict[int, Status]) -> set[int]:
    """Of their groups and sessions."""
    return {number for pid in pids for number in (living[pid][0], living[pid][3])}


def descendants(ancestors: set[int], living: dict[int, Status]) -> set[int]:
    """The children of the ancestors, and theirs."""
    found: set[int] = set()
    newest = ancestors
    while newest:
        newest = {pid for pid, (_, parent, _, _) in living.items() if parent in newest} - found - ancestors
        found |= newest
    return found


def started_at(pid: int) -> int | None:
    """Its start time; None for what is gone. A zombie has one, too."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (*UNREADABLE, IndexError):
        return None


def send(target: Identity, number: signal.Signals) -> None:
    """Send SIGTERM or SIGKILL to this process, and to no other that has its number.

    A stopped process notices SIGTERM only when it is continued; SIGKILL ends it as it is.
    """
    if sys.platform == "darwin":
        process_table().send(target, number)
        return
    pid, started = target
    with contextlib.suppress(OSError):
        descriptor = os.pidfd_open(pid)
        try:
            if started_at(pid) == started:
                signal.pidfd_send_signal(descriptor, number)
                if number == signal.SIGTERM:
                    signal.pidfd_send_signal(descriptor, signal.SIGCONT)
        finally:
            os.close(descriptor)


def end_groups(groups: set[int]) -> None:
    """Without /proc: TERM, a pause, KILL. A stopped process notices TERM only when it is continued."""
    for number, pause_s in ((signal.SIGTERM, KILL_AFTER_S), (signal.SIGKILL, 0)):
        for group in tuple(groups):
            try:
                os.killpg(group, number)
                os.killpg(group, signal.SIGCONT)
            except OSError:
                groups.discard(group)
        time.sleep(pause_s if groups else 0)


@functools.cache
def process_table() -> "ProcessTable":
    """The process table of macOS. The guard can't import the package, so it reads its program from a descriptor."""
    if __name__ == "__main__":
        import runpy  # noqa: PLC0415 — not on Linux

        table: ProcessTable = runpy.run_path(sys.argv[2])["ProcessTable"]()
        return table
    from brummer.host.macos import process_table as module  # noqa: PLC0415 — as above

    return module.ProcessTable()


if __name__ == "__main__":
    main(sys.argv[1])
