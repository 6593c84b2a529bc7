"""Is the owner of a record dead? Only proof counts; and what the dead left behind is removed.

Proof is: the process with that identity is gone (same boot, same pid namespace), or the machine has booted since (on
a file system that no other machine shares), or the life lock was given up (another pid namespace, where a pid says
nothing). An owner without proof is alive.

Removing a record races with a new owner that publishes under the same name. So the file is moved aside first; only
then is it certain which file that is. The wrong one is put back, within microseconds, and should the hub be killed
just there, its owner publishes it again. That needs no lock, so a stopped hub blocks no other process.
"""

import contextlib
from pathlib import Path
from typing import Literal

from brummer.discovery.record import LIMIT_BYTES, Record, decode, file_name
from brummer.discovery.registrar import lock_path
from brummer.host.files import FileRefused, is_abandoned, read_bounded, temporary_name
from brummer.host.locks import was_released
from brummer.host.real_system import REAL
from brummer.host.system import Files, System

OwnerVerdict = Literal["alive", "dead", "elsewhere"]
"""elsewhere: another boot, perhaps of another machine that shares the directory; its loopback is not ours."""


def judge(directory: Path, record: Record, *, is_shared: bool | None = None, system: System = REAL) -> OwnerVerdict:
    """``is_shared``: whether other machines may write in this directory; None: ask the file system. Costs 20 µs."""
    processes, identity = system.processes, record.identity
    if not processes.same_boot(identity):
        if is_shared is None:
            is_shared = not system.filesystems.filesystem_has_events(directory)
        return "elsewhere" if is_shared else "dead"
    if processes.same_namespace(identity):
        return "alive" if processes.is_running(identity) else "dead"
    return "dead" if was_released(lock_path(directory, record.instance_id), record.pid, system) else "alive"


def living_record(directory: Path, instance_id: str, system: System = REAL) -> Record | None:
    """The record of this instance if it runs; one whose owner is proven dead is removed.

    The caller makes sure that the directory is private.
    """
    record = _read(directory / file_name(instance_id), file_name(instance_id), system.files)
    if record is None:
        return None
    verdict = judge(directory, record, system=system)
    if verdict == "dead":
        reap(directory, record, system)
    return record if verdict == "alive" else None


def living_records(directory: Path, system: System = REAL) -> list[Record]:
    """The records of all instances that live, by their ids."""
    ids = sorted(path.stem for path in directory.glob("*.json"))
    return [record for record in (living_record(directory, each, system) for each in ids) if record]


def reap(directory: Path, record: Record, system: System = REAL) -> bool:
    """Remove the file of this record, whose owner is proven dead; False when it is there and can't be removed."""
    path = directory / file_name(record.instance_id)
    files = system.files
    aside = path.with_name(temporary_name(path.name, system))
    if _read(path, path.name, files) != record:
        return True
    try:
        files.replace(path, aside)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    if _read(aside, path.name, files) != record:
        with contextlib.suppress(OSError):  # a newer record is there; its owner restores it within five seconds
            files.link(aside, path)
    with contextlib.suppress(OSError):  # `sweep` tries again
        files.unlink(aside)
    return True


def _read(path: Path, name: str, files: Files) -> Record | None:
    try:
        found = decode(read_bounded(path, LIMIT_BYTES, files), name)
    except (OSError, FileRefused):
        return None
    return found if isinstance(found, Record) else None


def sweep(directory: Path, system: System = REAL) -> int:
    """Remove temporary files of dead writers. Returns how many."""
    swept = 0
    with contextlib.suppress(OSError), system.files.scandir(directory) as entries:
        for entry in entries:
            if entry.name.endswith(".tmp") and is_abandoned(Path(entry.path), system):
                with contextlib.suppress(OSError):
                    system.files.unlink(Path(entry.path))
                    swept += 1
    return swept


def does_not_exist(path: Path, files: Files = REAL.files) -> bool:
    """It is certain that nothing is there; a directory that we may not enter leaves it open."""
    try:
        files.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
