"""A hub learns of its parent's death, also where the parent can't be looked up."""

import asyncio
import errno
import os
from collections.abc import Callable

import msgspec
import pytest

from brummer.host import parent, pids
from brummer.host.pids import ProcessIdentity, own_identity
from brummer.testing.virtual_time import VirtualLoop

NUMBER = 4711


def hidden(_: int) -> ProcessIdentity:
    raise PermissionError(errno.EPERM, "Operation not permitted")


def invisible(_: int) -> None:
    return None


def of_another_namespace(pid: int) -> ProcessIdentity:
    own = own_identity()
    return msgspec.structs.replace(own, pid=pid, pid_namespace=own.pid_namespace + 1)


@pytest.mark.parametrize("look", [hidden, invisible, of_another_namespace])
def test_the_death_of_a_parent_that_cannot_be_looked_up_is_noticed(
    look: Callable[[int], ProcessIdentity | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    parents = [NUMBER]
    monkeypatch.setattr(parent, "PID", NUMBER)
    monkeypatch.setattr(os, "getppid", lambda: parents[-1])
    monkeypatch.setattr(pids, "identify", look)

    async def main() -> None:
        died = asyncio.Event()
        stop = parent.watch_parent(asyncio.get_running_loop(), died.set)
        await asyncio.sleep(100)
        assert not died.is_set()
        parents.append(1)
        async with asyncio.timeout(2 * parent.PARENT_POLL_S):
            await died.wait()
        stop()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())


async def test_a_parent_that_died_while_we_were_starting_is_noticed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parent, "PID", NUMBER)
    died = asyncio.Event()
    stop = parent.watch_parent(asyncio.get_running_loop(), died.set)
    async with asyncio.timeout(30):
        await died.wait()
    stop()
