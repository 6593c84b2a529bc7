"""``brum down``: stop scripts, or everything with the instance itself."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from brummer.cli.colour import shortened
from brummer.cli.messages import say
from brummer.cli.process_table import processes_of
from brummer.cli.project import CallFailed, Project, with_project
from brummer.core.errors import BrummerError
from brummer.discovery.record import Record
from brummer.host.exits import signal_process, watch_exit
from brummer.host.locks import holder_pid, is_locked
from brummer.host.pids import identify, same_namespace

LOOK_S: Final = 0.02
"""Between two looks at a lock."""


class OutOfReach(BrummerError):
    """Its process cannot be signalled from here."""

    code = "out_of_reach"


class StillRunning(BrummerError):
    """It was asked to end, and has not."""

    code = "still_running"


def down(place: Path, name: str | None, scripts: Sequence[str], timeout_s: float, *, kill: bool) -> int:
    """Returns when what was to end is gone; 1 when it is not."""

    async def end(project: Project) -> int:
        if scripts:
            return max([await _stop(project, script) for script in scripts])
        if lock := await _unpublished(project):
            await _end_holder(project, lock, timeout_s, kill=kill)
            if await project.find() is None:
                print("it is down")
                return 0
        known = await project.instance()
        if isinstance(known.record, Record):
            await end_instance(known.record, timeout_s, kill=kill)
            print(f"{known.record.name} is down")
        return 0

    return with_project(place, name, end)


async def _unpublished(project: Project) -> Path | None:
    """The lock of one that was asked to end before, and still stops its scripts, or of one that starts."""
    if await project.find() is not None:
        return None
    return await asyncio.to_thread(project.ending)


async def _end_holder(project: Project, lock: Path, timeout_s: float, *, kill: bool) -> None:
    """Wait until the lock is free, or is that of one that is published now. Raises OutOfReach, StillRunning."""
    pid = holder_pid(lock)
    if kill and not (pid and await asyncio.to_thread(_kill_holder, lock, pid)):
        raise OutOfReach(f"the instance that ends (pid {pid}) can't be reached from here: end it where it runs")
    try:
        async with asyncio.timeout(timeout_s):
            while is_locked(lock) and await project.find() is None:  # noqa: ASYNC110 - a lock
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise StillRunning(
            f"its scripts are still being stopped (pid {pid}); brum down --kill ends them at once"
        ) from None


def _kill_holder(lock: Path, pid: int) -> bool:
    """Only who is seen to have the lock's file open: its pid may be that of another container."""
    identity = identify(pid)
    if identity is None or not _has_open(pid, lock):
        return False
    with contextlib.suppress(PermissionError):
        return signal_process(identity, signal.SIGKILL)
    return False


def _has_open(pid: int, path: Path) -> bool:
    """As /proc tells, where there is one."""
    with contextlib.suppress(OSError):
        wanted = path.stat()
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                if os.path.samestat(file.stat(), wanted):
                    return True
    return False


async def _stop(project: Project, script: str) -> int:
    try:
        answer = await project.call("scripts_stop", name=script, asked_by="command line")
    except CallFailed as error:
        say(error.message)
        return 1
    for process in processes_of({"processes": [answer]}):
        already = " already" if answer.get("already_stopped") else ""
        print(f"{shortened(process.name)} is {process.outcome}{already}")
    return 0


async def end_instance(record: Record, timeout_s: float, *, kill: bool) -> None:
    """Signal the very process that wrote the record, and wait until it has gone. Raises OutOfReach, StillRunning."""
    if not same_namespace(record.identity):
        raise OutOfReach(
            f"{record.name} runs in another container or namespace (pid {record.pid} there): end it from inside"
        )
    gone = asyncio.Event()
    watch = watch_exit(asyncio.get_running_loop(), record.identity, gone.set)
    try:
        _signal(record, kill=kill)
        async with asyncio.timeout(timeout_s):
            await gone.wait()
    except TimeoutError:
        raise StillRunning(
            f"{record.name} (pid {record.pid}) did not end within {timeout_s:g} s; brum down --kill ends it at once"
        ) from None
    finally:
        watch.close()


def _signal(record: Record, *, kill: bool) -> None:
    try:
        signal_process(record.identity, signal.SIGKILL if kill else signal.SIGTERM)
        if not kill:
            signal_process(record.identity, signal.SIGCONT)  # a stopped one hears nothing before it goes on
    except PermissionError:
        raise OutOfReach(f"{record.name} (pid {record.pid}) belongs to another user") from None
