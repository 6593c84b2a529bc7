"""Starts an instance in the background, in a session of its own, so that it survives its terminal."""

import asyncio
import contextlib
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from brummer.cli.messages import say
from brummer.cli.project import Project
from brummer.cli.project_place import project_directory
from brummer.core.errors import BrummerError
from brummer.discovery.directory import instances_directory, log_directory
from brummer.discovery.record import Record, instance_id_for
from brummer.discovery.registrar import ENDING_S, lock_path
from brummer.host.directories import private_directory
from brummer.host.directory_watch import DirectoryWatch
from brummer.host.exits import watch_exit
from brummer.host.locks import is_locked
from brummer.host.pids import identify

LOG_LIMIT_BYTES: Final = 1 << 20
"""An instance logs few lines. A larger log is truncated when the next instance starts."""

TAIL_BYTES: Final = 4096


LINES_SHOWN: Final = 10
"""Of the log of an instance that did not start."""

NOTICE_S: Final = 2.0
"""After this the command says what it waits for."""

PUBLISHED_S: Final = ENDING_S + 15.0
"""An instance publishes its record within half a second; a machine that swaps needs longer. Before that it waits for
the scripts of the previous run.
"""
RECHECK_S: Final = 5.0
"""For changes whose event was missed."""
POLL_S: Final = 0.1
"""The same where the file system gives no events."""


class NotStarted(BrummerError):
    """The instance could not be started; the message has the last line of its log."""

    code = "not_started"


class Background:
    """A started instance. Blocks for disk access: use it in a thread."""

    def __init__(
        self,
        project: Path,
        name: str | None,
        *,
        environment: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> None:
        """``environment``: None: ours. ``options``: further ones of ``brum``."""
        self.log = _log_path(instance_id_for(project, name))
        log = _opened(self.log)
        try:
            self._begins_at = os.lseek(log, 0, os.SEEK_END)
            # -P: a file of the project must not replace a module of Brummer.
            command = [sys.executable, "-P", "-m", "brummer", "--no-tui", "-d", str(project)]
            self._process = subprocess.Popen(
                [*command, *(["--name", name] if name else []), *options],
                cwd=project,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # the output of the scripts, which the instance keeps
                stderr=log,
                start_new_session=True,
            )
        finally:
            os.close(log)
        self.identity = identify(self._process.pid)
        """None if it has ended already."""

    @property
    def pid(self) -> int:
        return self._process.pid

    def end(self) -> None:
        """End it because another instance was faster: it must not replace that one later."""
        self._process.terminate()
        self._process.wait()

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def last_words(self) -> str:
        """The last line of its log; empty without one."""
        return next(iter(self.last_lines(1)), "").removeprefix("brum: ")

    def last_lines(self, count: int) -> list[str]:
        """The last lines of its log, oldest first."""
        with self.log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(self._begins_at, size - TAIL_BYTES))
            lines = log.read().decode("utf-8", "replace").split("\n")
        return [line for line in lines if line.strip()][-count:]


async def start_in_background(project: Project, scripts: Sequence[str]) -> None:
    """As `started_in_background`, and say so."""
    record, started = await started_in_background(project, scripts, say=say)
    say(f"{record.name} runs in the background ({record.directory}); brum down ends it, its log is {started.log}")


async def started_in_background(
    project: Project,
    scripts: Sequence[str] = (),
    *,
    environment: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
    say: Callable[[str], object] = lambda _: None,
) -> tuple[Record, Background]:
    """Start an instance and wait until it is published; if another one is faster, its record is returned. ``say`` what
    it waits for, if that takes long. Raises NotStarted, NothingToRun, and NotFound for the name of a script before
    anything starts.
    """
    starting = partial(Background, environment=environment, options=options)
    directory, started = await asyncio.to_thread(_start, project, scripts, starting)
    loop = asyncio.get_running_loop()
    notice = loop.call_later(NOTICE_S, lambda: say(_waits_for(started)))
    try:
        async with asyncio.timeout(PUBLISHED_S):
            record = await _published(project, directory, started)
    except TimeoutError:
        raise NotStarted(f"the instance does not start; its log is {started.log}") from None
    finally:
        notice.cancel()
    if record is None:
        words = await asyncio.to_thread(started.last_words)
        lines = await asyncio.to_thread(started.last_lines, LINES_SHOWN)
        what = f"the instance ended at once: {words or 'it logged nothing'} (log: {started.log})"
        raise NotStarted(what, last_lines=lines, log=str(started.log))
    if record.pid != started.pid:
        await asyncio.to_thread(started.end)
    return record, started


def _start(
    project: Project, scripts: Sequence[str], starting: Callable[[Path, str | None], Background]
) -> tuple[Path, Background]:
    from brummer.instance.scripts import ScriptList

    directory = project_directory(project.place)
    listing = ScriptList(directory)
    for script in scripts:
        listing.find(script)
    return directory, starting(directory, project.name)


async def _published(project: Project, directory: Path, started: Background) -> Record | None:
    """The record of the instance, or of another one that was faster; None if no instance will come.

    Changes of the instances directory and the end of the process wake it up.
    """
    instances, loop, changed = instances_directory(os.environ), asyncio.get_running_loop(), asyncio.Event()
    lock = lock_path(instances, instance_id_for(directory, project.name))
    watch = DirectoryWatch(loop, instances, lambda _: changed.set())
    ended = watch_exit(loop, started.identity, changed.set) if started.identity else None
    try:
        while (record := project.find()) is None and (not started.has_ended or is_locked(lock)):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S if watch.kind == "polling" else RECHECK_S):
                    await changed.wait()
            changed.clear()
            watch.verify()
        return record or project.find()  # another instance may have been faster
    finally:
        watch.close()
        if ended:
            ended.close()


def _waits_for(started: Background) -> str:
    """The last line of the instance's log; if it has ended, another instance has the lock."""
    if started.has_ended:
        return "waiting for the instance that another command has just started"
    return started.last_words() or "waiting for the instance"


def _log_path(instance_id: str) -> Path:
    """Raises DirectoryUnusable."""
    directory = log_directory(os.environ)
    private_directory(directory)
    return directory / f"{instance_id}.log"


def _opened(log: Path) -> int:
    """Opened for appending: two instances that start at once must not overwrite each other's lines."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, stat.S_IRUSR | stat.S_IWUSR)
    if os.fstat(descriptor).st_size > LOG_LIMIT_BYTES:
        os.ftruncate(descriptor, 0)
    return descriptor
