import asyncio
import contextlib
import os
import sys
from pathlib import Path

import pytest

from brummer.process.reaper import reap_orphans

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="platform: only there we are process 1")

WITHIN_S = 30


def dead_child() -> int:
    """A zombie of ours."""
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return pid


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_orphans_are_reaped_and_our_own_children_are_left_to_those_who_wait_for_them() -> None:
    orphan, own = await asyncio.to_thread(lambda: (dead_child(), dead_child()))
    reaping = asyncio.create_task(reap_orphans(lambda: {own}, every_s=0.01))
    async with asyncio.timeout(WITHIN_S):
        while await asyncio.to_thread(is_there, orphan):
            await asyncio.sleep(0)
    assert await asyncio.to_thread(is_there, own)
    reaping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reaping
    assert await asyncio.to_thread(os.waitpid, own, 0) == (own, 0)
