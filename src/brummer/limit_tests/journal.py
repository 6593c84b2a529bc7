"""The limit on an instance's journal on disk: the oldest runs are removed; the next instance can read the newest."""

import asyncio
import contextlib
import math
import sys
from pathlib import Path
from typing import Final

from brummer.limit_tests.answers import OK, LimitAnswer
from brummer.limit_tests.finding import Measured
from brummer.limit_tests.output import FLOOD_PY, TEXT_BYTES
from brummer.limit_tests.world import LimitTestWorld
from brummer.logs.journal.files import KEPT_BYTES
from brummer.logs.journal.retention import RUNS_OF_A_SCRIPT, stored_runs

RUNS_TIMES: Final = 1.2
"""The runs leave this multiple of the limit."""


async def size(world: LimitTestWorld, limit: int) -> Measured:
    """Bytes on disk for one project."""
    run_bytes = min(limit, KEPT_BYTES)
    runs = math.ceil(RUNS_TIMES * limit / run_bytes)
    flood = f"exec {sys.executable!r} -I flood.py {run_bytes // TEXT_BYTES} {TEXT_BYTES}"
    names = [f"flood{number // RUNS_OF_A_SCRIPT}" for number in range(runs)]
    files = {"Procfile": "".join(f"{name}: {flood}\n" for name in dict.fromkeys(names)), "flood.py": FLOOD_PY}
    most, run = 0, LimitAnswer(OK)
    async with world.direct(world.held_calls(), files, journal_bytes=limit) as (shop, client):
        box = world.black_box_of(shop)
        for name in names:
            run = await client.call("scripts_run", name=name, wait="exit")
            most = max(most, await asyncio.to_thread(size_bytes_of, box))
    most = max(most, await asyncio.to_thread(size_bytes_of, box))
    newest = f"{run.decoded()['process_id']}@{shop.record.generation}"
    removed = runs - len(await asyncio.to_thread(stored_runs, box))
    async with world.direct(world.held_calls()) as (_, client):
        past = await client.call("logs_tail", process=newest, limit=1)
        recovered = past.code == OK and len(past.decoded()["lines"]) == 1
    return Measured(limit, most, limit // 2, max(1, removed), "removed", {"removed": removed}, recovered)


def size_bytes_of(directory: Path) -> int:
    """Of all its files, without those that the instance removes meanwhile."""
    size_bytes = 0
    for path in directory.glob("*"):
        with contextlib.suppress(FileNotFoundError):
            size_bytes += path.stat().st_size
    return size_bytes
