"""Processes that outlive both an instance and its guard, as after ``killall -9 python3``, are ended before the next
instance of that project begins: they would have its ports, and no other program knows their origin.

A hidden file beside the record names the generation that runs, and its process. An instance that ends in order removes
it.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec

from brummer.core.errors import BrummerError
from brummer.host.files import read_bounded, write_atomically
from brummer.host.pids import ProcessIdentity, is_running, own_identity, same_namespace

_LIMIT_BYTES: Final = 4096

_log = logging.getLogger(__name__)


class _Owner(msgspec.Struct, frozen=True):
    generation: str
    process: ProcessIdentity


@contextlib.asynccontextmanager
async def succession(directory: Path, instance_id: str, generation: str) -> AsyncIterator[None]:
    """Used when the life lock is held. First ends what a dead generation has left, as its guard would have: that takes
    at most 2 s, and some milliseconds if nothing is left.
    """
    path = directory / f".{instance_id}.generation"
    await asyncio.to_thread(_begin, path, _Owner(generation, own_identity()))
    try:
        yield
    finally:
        await asyncio.to_thread(_end, path, generation)


def _begin(path: Path, own: _Owner) -> None:
    if before := _owner_in(path):
        _end_what_is_left(before)
    with contextlib.suppress(OSError):  # only the next instance needs it
        write_atomically(path, msgspec.json.encode(own), durable=False)


def _end(path: Path, generation: str) -> None:
    """Nothing is left. Without locks another instance may have begun by now."""
    owner = _owner_in(path)
    if owner is not None and owner.generation == generation:
        with contextlib.suppress(OSError):
            path.unlink()


def _owner_in(path: Path) -> _Owner | None:
    try:
        return msgspec.json.decode(read_bounded(path, _LIMIT_BYTES), type=_Owner)
    except (BrummerError, OSError, msgspec.DecodeError):
        return None


def _end_what_is_left(owner: _Owner) -> None:
    if not same_namespace(owner.process) or is_running(owner.process):
        return
    from brummer.process.guard_main import MARK, end_all, find  # noqa: PLC0415 - most instances end in order

    mark = MARK + owner.generation.encode()
    left, _ = find(set(), mark, set())
    if left:
        pids = sorted(pid for pid, _ in left)
        _log.warning("processes of the instance before this one still run, and are ended: %s", pids)
        end_all(set(), mark)
