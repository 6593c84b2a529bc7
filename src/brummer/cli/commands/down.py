"""``brum down``: stop scripts, or everything and the instance itself."""

import argparse
import asyncio
import contextlib
import shlex
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from brummer.cli import options
from brummer.cli.colour import shortened, some
from brummer.cli.messages import print_json, say
from brummer.cli.package_scripts import full_names, package_scripts
from brummer.cli.project import CallFailed, Project, failure, with_project
from brummer.contract.processes import processes_of
from brummer.contract.tools import COMMAND_LINE
from brummer.core.errors import BrummerError
from brummer.discovery.record import Record
from brummer.host.exits import signal_process, watch_exit
from brummer.host.locks import holder_pid, is_locked
from brummer.host.pids import identify, same_namespace
from brummer.host.process_facts import has_open

DETAILS: Final = "Without SCRIPT, in a package of a workspace: only the scripts of that package, while others run."

CHECK_S: Final = 0.02
"""The interval of checks of a lock, whose release is no event."""


class OutOfReach(BrummerError):
    """The instance's process can't be signalled from here."""

    code = "out_of_reach"


class StillRunning(BrummerError):
    """The instance has not ended in time."""

    code = "still_running"


def add_options(parser: argparse.ArgumentParser) -> None:
    options.add_project(parser)
    options.add_scripts(parser, "scripts to stop")
    parser.add_argument("--kill", action="store_true", help="kill an instance that hangs, and its scripts")
    parser.add_argument(
        "--timeout", type=options.duration, default=20.0, metavar="TIME", help="for the instance to end (default 20s)"
    )
    options.add_json(parser, "print JSON: what has ended")


def run(chosen: argparse.Namespace) -> int:
    """1 when an instance or script has not ended."""
    if chosen.kill and chosen.scripts:
        raise options.WrongArguments("--kill ends the whole instance, and takes no SCRIPT")

    async def end(project: Project) -> int:
        if chosen.scripts:
            return await _stop_all(project, await full_names(project, chosen.scripts), as_json=chosen.json)
        if not chosen.kill and (own := set((await package_scripts(project)).values())):
            running = await _running(project)
            if others := sorted(running - own):
                where = shlex.quote(project.instance().directory)
                say(f"scripts outside of this package go on: {some(others)}; brum down -d {where} ends all")
                return await _stop_all(project, sorted(running & own), as_json=chosen.json)
        if project.find() is None and (lock := await asyncio.to_thread(project.unpublished_lock)):
            await _end_holder(project, lock, chosen.timeout, kill=chosen.kill)
            if project.find() is None:
                print_json({"instance": None}) if chosen.json else print("it is down")
                return 0
        record = project.instance()
        await end_instance(record, chosen.timeout, kill=chosen.kill)
        if chosen.json:
            ended = {"instance_id": record.instance_id, "name": record.name, "pid": record.pid}
            print_json({"instance": {**ended, "directory": record.directory}})
        else:
            print(f"{record.name} is down")
        return 0

    return with_project(chosen, end)


async def _end_holder(project: Project, lock: Path, timeout_s: float, *, kill: bool) -> None:
    """Wait until the lock is free, or its holder has a record. Raises OutOfReach, StillRunning."""
    pid = holder_pid(lock)
    if kill and not (pid and await asyncio.to_thread(kill_holder, lock, pid)):
        raise OutOfReach(
            f"the instance that holds the lock (pid {pid}) can't be signalled from here: end it where it runs"
        )
    try:
        async with asyncio.timeout(timeout_s):
            while is_locked(lock) and project.find() is None:  # noqa: ASYNC110 - a lock
                await asyncio.sleep(CHECK_S)
    except TimeoutError:
        raise StillRunning(
            f"its scripts are still being stopped (pid {pid}); brum down --kill ends them at once"
        ) from None


def kill_holder(lock: Path, pid: int) -> bool:
    """Kill the process only if it has the lock's file open: the pid may be of another container. Whether it did."""
    identity = identify(pid)
    if identity is None or not has_open(pid, lock):
        return False
    with contextlib.suppress(PermissionError):
        return signal_process(identity, signal.SIGKILL)
    return False


async def _running(project: Project) -> set[str]:
    """The names of the scripts that run; none if the instance does not answer, so that it can still be ended."""
    with contextlib.suppress(BrummerError):
        return {each.name for each in processes_of(await project.call("scripts_status")) if each.runs}
    return set()


async def _stop_all(project: Project, scripts: Sequence[str], *, as_json: bool) -> int:
    """1 if one can't be stopped; the others are stopped all the same."""
    stopped, failures = [], []
    for script in scripts:
        try:
            answer = await project.call("scripts_stop", name=script, asked_by=COMMAND_LINE)
        except CallFailed as error:
            failures.append({"name": script, **failure(error)})
            say(error.message)
            continue
        stopped.append(answer)
        for process in [] if as_json else processes_of({"processes": [answer]}):
            already = " already" if answer.get("already_stopped") else ""
            print(f"{shortened(process.name)} is {process.outcome}{already}")
    if as_json:
        print_json({"processes": stopped, "failures": failures})
    return 1 if failures else 0


async def end_instance(record: Record, timeout_s: float, *, kill: bool) -> None:
    """Signal the process that wrote the record, and wait until it has ended. Raises OutOfReach, StillRunning."""
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
            signal_process(
                record.identity, signal.SIGCONT
            )  # a stopped process handles no other signal before it continues
    except PermissionError:
        raise OutOfReach(f"{record.name} (pid {record.pid}) belongs to another user") from None
