"""``brum down``: stop scripts, or everything with the instance itself."""

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path

from brummer.cli.paint import shortened
from brummer.cli.process_table import processes_of
from brummer.cli.project import CallFailed, Project, with_project
from brummer.cli.say import say
from brummer.core.errors import BrummerError
from brummer.discovery.record import Record
from brummer.host.exits import signal_process, watch_exit
from brummer.host.pids import same_namespace


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
        known = await project.instance()
        if isinstance(known.record, Record):
            await end_instance(known.record, timeout_s, kill=kill)
            print(f"{known.record.name} is down")
        return 0

    return with_project(place, name, end)


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
        raise OutOfReach(f"{record.name} runs in another container (pid {record.pid} there): end it from inside")
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
