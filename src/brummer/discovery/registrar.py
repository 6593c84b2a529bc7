"""The owner's side: hold the life lock, publish the record, keep it published, withdraw it.

The lock comes first and goes last, so a record without a held lock is a record of the dead. The record file has one
writer and is replaced whole, so readers need no lock. While the instance lives, it checks every two to four seconds
that its file is still there: an rm, or a cleaner of runtime directories, costs at most five seconds. It does not watch
the directory for that: inotify instances are few (128 per user), and the user's dev servers need them more.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from brummer.core.errors import BrummerError
from brummer.discovery.record import (
    LIMIT_BYTES,
    Record,
    Trouble,
    decode,
    displayable,
    encode,
    file_name,
    instance_id_for,
)
from brummer.host.directories import DirectoryUnusable, private_directory, real_path
from brummer.host.files import FileRefused, read_bounded, write_atomically
from brummer.host.locks import FileLock, LocksUnsupported, LockTimeout, holder_pid, is_locked
from brummer.host.real_system import REAL
from brummer.host.system import Files, System

_log = logging.getLogger(__name__)

ENDING_S: Final = 20.0
"""For the run before to stop its scripts: as long as people wait for `brum down`."""
LOCK_WAIT_S: Final = 0.25
"""A hub's check holds the lock for microseconds; an owner holds it longer."""
CHECK_S: Final = (2.0, 4.0)
_PORTS: Final = 1 << 16

_Signature = tuple[int, int, int]


class AlreadyRunning(BrummerError):
    """An instance of this project runs already. What it has not published yet is None."""

    code = "already_running"

    def __init__(self, directory: str, *, url: str | None, pid: int | None, name: str | None) -> None:
        super().__init__(
            f"{name or 'An instance'} already runs in {directory}"
            f" (pid {pid or 'unknown'}, {url or 'not listening yet'})."
            " Use it, stop it, or give the second one a name.",
            directory=directory,
            url=url,
            pid=pid,
            name=name,
        )
        self.directory = directory
        self.url = url
        self.pid = pid
        self.name = name


class StillEnding(BrummerError):
    """The run before was asked to end, and has not stopped its scripts in time; ``context`` has its pid."""

    code = "still_ending"
    transient = True

    def __init__(self, pid: int | None) -> None:
        super().__init__(
            f"The run before (pid {pid or 'unknown'}) is still stopping its scripts."
            " Try again later, or end them at once: brum down --kill.",
            pid=pid,
        )


def lock_path(directory: Path, instance_id: str) -> Path:
    """The life lock: held by the owner from before it publishes until after it withdraws."""
    return directory / f"{instance_id}.lock"


def describe_self(
    project: Path,
    *,
    generation: str,
    url: str,
    token: str,
    name: str | None = None,
    protocols: tuple[str, ...] = (),
    system: System = REAL,
) -> Record:
    """The record of this process as the instance of ``project``; ``name`` only for a further one there."""
    own = system.processes.own_identity()
    return Record(
        instance_id=instance_id_for(project, name),
        generation=generation,
        name=displayable(name or project.resolve().name or "/")[:200],
        directory=displayable(real_path(project)),
        url=url,
        pid=own.pid,
        start_token=own.start_token,
        boot_id=own.boot_id,
        pid_namespace=own.pid_namespace,
        time_namespace=own.time_namespace,
        net_namespace=system.processes.network_namespace(),
        started_at=datetime.fromtimestamp(system.clock.wall(), UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z"),
        token=token,
        protocols=protocols,
    )


class Registrar:
    """One instance's place in the directory.

    Use: ``acquire``, bind the port, ``publish``, run ``keep_published`` beside the server, ``unpublish``, and
    ``withdraw`` once no script runs any more.
    """

    def __init__(self, directory: Path, instance_id: str, system: System = REAL) -> None:
        self.directory = directory
        self._system = system
        self.instance_id = instance_id
        self.record: Record | None = None
        self.problem: BrummerError | None = None
        """Why the record is not published just now; None when it is."""
        self._lock: FileLock | None = None
        self._scripts_lock: FileLock | None = None
        self._writing = threading.Lock()
        self._written: _Signature | None = None
        self.find_troubles: Callable[[], tuple[Trouble, ...]] = tuple
        """The instance's own faults at this moment."""

    def __repr__(self) -> str:
        return f"<Registrar {self.instance_id} {'published' if self._written else 'not published'}>"

    @property
    def path(self) -> Path:
        return self.directory / file_name(self.instance_id)

    async def acquire(self) -> None:
        """Become the instance of this project. Waits 0.25 s at the most for one that lives, and 20 s for the scripts of
        one that ends: they have ports and files that ours will want.

        On a file system without locks it goes by the record alone. Raises AlreadyRunning, StillEnding,
        DirectoryUnusable.
        """
        private_directory(self.directory, files=self._system.files)
        self._refuse_if_owner_lives()
        try:
            self._lock = await FileLock.acquire(self._lock_path, LOCK_WAIT_S, self._system)
            await self._wait_for_previous_scripts()
        except LockTimeout as error:
            raise self._already_running() from error
        except LocksUnsupported as error:
            _log.warning("%s", error)
        except OSError as error:
            raise DirectoryUnusable.because_of(self.directory, error) from error

    async def _wait_for_previous_scripts(self) -> None:
        path = scripts_lock_path(self.directory, self.instance_id)
        if not is_locked(path, self._system):
            return
        _log.warning(
            "the run before (pid %s) is still stopping its scripts; waiting for that", holder_pid(path, self._system)
        )
        try:
            (await FileLock.acquire(path, ENDING_S, self._system)).release()
        except LockTimeout as error:
            raise StillEnding(error.holder_pid) from None

    async def publish(self, record: Record) -> None:
        """Write the record, the first or a changed one.

        Raises DirectoryUnusable, RecordInvalid, and ValueError for another instance's record.
        """
        if record.instance_id != self.instance_id:
            raise ValueError(f"{record.instance_id} is not {self.instance_id}")
        if self._system.filesystems.is_tmpfs(self.directory):
            self._publish(record)
        else:
            await asyncio.to_thread(self._publish, record)  # it waits for the disk

    def _publish(self, record: Record) -> None:
        with self._writing:
            self._write(record)

    def _write(self, record: Record) -> None:
        try:
            write_atomically(self.path, encode(record), system=self._system)
            self._written = self._signature()
        except OSError as error:
            raise DirectoryUnusable.because_of(self.directory, error) from error
        self.record = record
        with contextlib.suppress(OSError):  # it only helps the next run
            self._remember_port(record.port)

    def withdraw(self) -> None:
        """Nothing of this run is left: the next one may start. Never raises."""
        self.unpublish()
        if self._scripts_lock is not None:
            self._scripts_lock.release()
            self._scripts_lock = None

    def unpublish(self) -> None:
        """Remove the record if it is still ours, then release the life lock: no call is served any more. The next run
        still waits for the scripts of this one. Never raises.
        """
        with self._writing:
            record, self.record, self._written = self.record, None, None
            published = self._published()
            if record is not None and published is not None and published.generation == record.generation:
                with contextlib.suppress(OSError):
                    self._system.files.unlink(self.path)
        if self._lock is not None:
            with contextlib.suppress(BrummerError, OSError):  # no lock there: then the next run does not wait
                self._scripts_lock = FileLock.try_acquire(
                    scripts_lock_path(self.directory, self.instance_id), self._system
                )
            self._lock.release()
            self._lock = None

    async def keep_published(self) -> None:
        """Publish again, within five seconds, if files were removed or overwritten, or if the faults have changed. Runs
        until cancelled.
        """
        while True:
            await asyncio.sleep(self._system.random.uniform(*CHECK_S))
            troubles = self.find_troubles()
            if self.record is not None and self.record.troubles != troubles:
                self.record, self._written = msgspec.structs.replace(self.record, troubles=troubles), None
            if not self._is_intact():
                await asyncio.to_thread(self.check)

    def check(self) -> bool:
        """Check once, and publish again if necessary; False, with the reason in `problem`, if that failed."""
        try:
            with self._writing:
                self._restore()
        except (BrummerError, OSError) as error:
            self._note(_as_brummer_error(self.directory, error))
            return False
        self.problem = None
        return True

    def _restore(self) -> None:
        record = self.record
        if record is None or self._is_intact():
            return
        private_directory(self.directory, files=self._system.files)
        self._take_lock_again()
        if self._published() == record:
            self._written = self._signature()
        else:
            _log.info("publishing %s again: its file was removed or changed, or it has troubles", self.instance_id)
            self._write(record)

    def _is_intact(self) -> bool:
        locked = self._lock is None or self._lock.is_in_place()
        return locked and self._written is not None and self._signature() == self._written

    def _take_lock_again(self) -> None:
        """The lock file may be gone with its directory; then another run may have taken our place."""
        if self._lock is None or self._lock.is_in_place():
            return
        lock = FileLock.try_acquire(self._lock_path, self._system)
        if lock is None:
            raise self._already_running()
        self._lock.release()
        self._lock = lock

    def _note(self, problem: BrummerError) -> None:
        if self.problem is None or self.problem.message != problem.message:
            _log.warning("%s is not published: %s", self.instance_id, problem)
        self.problem = problem

    @property
    def _lock_path(self) -> Path:
        return lock_path(self.directory, self.instance_id)

    def _published(self) -> Record | None:
        try:
            found = decode(read_bounded(self.path, LIMIT_BYTES, self._system.files), self.path.name)
        except (OSError, FileRefused):
            return None
        return found if isinstance(found, Record) else None

    def _refuse_if_owner_lives(self) -> None:
        """Also when its lock file was removed, or when there are no locks here."""
        record, processes = self._published(), self._system.processes
        if record is None or record.identity == processes.own_identity():
            return
        if processes.same_namespace(record.identity) and processes.is_running(record.identity):
            raise self._already_running()

    def _already_running(self) -> AlreadyRunning:
        record = self._published()
        if record is None:
            return AlreadyRunning(self.instance_id, url=None, pid=holder_pid(self._lock_path, self._system), name=None)
        return AlreadyRunning(record.directory, url=record.url, pid=record.pid, name=record.name)

    def _remember_port(self, port: int) -> None:
        if last_port(self.directory, self.instance_id, self._system.files) != port:
            write_atomically(_port_path(self.directory, self.instance_id), b"%d\n" % port, system=self._system)

    def _signature(self) -> _Signature | None:
        try:
            status = self._system.files.lstat(self.path)
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size


def last_port(directory: Path, instance_id: str, files: Files = REAL.files) -> int | None:
    """The port this project had when it last ran: worth trying first, so that addresses stay."""
    try:
        port = int(read_bounded(_port_path(directory, instance_id), 16, files))
    except (OSError, FileRefused, ValueError):
        return None
    return port if 0 < port < _PORTS else None


def _port_path(directory: Path, instance_id: str) -> Path:
    """Hidden, so that it causes no scan."""
    return directory / f".{instance_id}.port"


def scripts_lock_path(directory: Path, instance_id: str) -> Path:
    """Hidden, as above: held while a run that has withdrawn its record stops its scripts."""
    return directory / f".{instance_id}.scripts"


def _as_brummer_error(directory: Path, error: BrummerError | OSError) -> BrummerError:
    return DirectoryUnusable.because_of(directory, error) if isinstance(error, OSError) else error
