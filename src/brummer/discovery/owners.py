"""Is the owner of a record dead? Only proof counts; and what the dead left behind is removed.

Proof is: the process with that identity is gone (same boot, same pid namespace), or the machine has booted since (on
a file system that no other machine shares), or the life lock can be taken (another pid namespace, where a pid says
nothing). An owner who can't be judged is alive.

Removing a record is a race with a new owner who publishes under the same name. So the file is first moved aside; only
then is it certain which file that is. The wrong one is put back, within microseconds, and should the hub be killed
just there, its owner publishes it again. That needs no lock, so a hub that is stopped holds up nobody.
"""

import contextlib
import os
from pathlib import Path
from typing import Literal

from brummer.discovery.record import LIMIT_BYTES, Record, decode, file_name
from brummer.discovery.registrar import lock_path
from brummer.host.files import FileRefused, is_abandoned, read_bounded, temporary_name
from brummer.host.locks import is_locked
from brummer.host.pids import is_running, same_boot, same_namespace

Verdict = Literal["alive", "dead", "elsewhere"]
"""elsewhere: another boot, perhaps of another machine that shares the directory; its loopback is not ours."""


def judge(directory: Path, record: Record, *, is_shared: bool) -> Verdict:
    """``is_shared``: other machines may write in this directory. Costs 20 µs."""
    if not same_boot(record.identity):
        return "elsewhere" if is_shared else "dead"
    if same_namespace(record.identity):
        return "alive" if is_running(record.identity) else "dead"
    return "dead" if is_locked(lock_path(directory, record.instance_id)) is False else "alive"


def reap(directory: Path, record: Record) -> bool:
    """Remove the file of this record, whose owner is proven dead; False when it is there and can't be removed."""
    path = directory / file_name(record.instance_id)
    aside = path.with_name(temporary_name(path.name))
    if _read(path, path.name) != record:
        return True
    try:
        path.rename(aside)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    if _read(aside, path.name) == record:
        aside.unlink()
    else:
        _put_back(aside, path)
    return True


def _put_back(aside: Path, path: Path) -> None:
    """Unless a still newer one is there by now. Its owner would restore it within five seconds in any case."""
    with contextlib.suppress(OSError):
        path.hardlink_to(aside)
    aside.unlink()


def _read(path: Path, name: str) -> Record | None:
    try:
        found = decode(read_bounded(path, LIMIT_BYTES), name)
    except (OSError, FileRefused):
        return None
    return found if isinstance(found, Record) else None


def sweep(directory: Path) -> int:
    """Remove temporary files whose writers died before they were done; says how many."""
    swept = 0
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.endswith(".tmp") and is_abandoned(Path(entry.path)):
                with contextlib.suppress(OSError):
                    Path(entry.path).unlink()
                    swept += 1
    return swept


def does_not_exist(path: Path) -> bool:
    """It is certain that nothing is there; a directory that we may not enter leaves it open."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
