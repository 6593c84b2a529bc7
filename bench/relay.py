"""What the hub's care costs, and how fast an open breaker says no.

One run has the hub beside three programs that promise nothing: the relay that anybody writes first, with asyncio
streams; a relay on uvloop that copies bytes, the floor of all; and a featureless hub, which decodes and encodes what a
hub must, with the same libraries.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from hop import BURST, IN_FLIGHT, ROUNDS, calls_per_s, latencies_ms
from processes import StdioClient, hub, instance
from tables import Report, median, percentile

BARE = ("stdlib_relay.py", "bare_relay.py", "featureless_hub.py")
MEMBERS = b'"method":"tools/call","params":{"name":"scripts_status","arguments":{}}}'


@contextlib.asynccontextmanager
async def bare(program: str, record: dict[str, Any]) -> AsyncIterator[StdioClient]:
    port = record["url"].split(":")[2].split("/")[0]
    pipe = subprocess.PIPE
    _, client = await asyncio.get_running_loop().subprocess_exec(
        StdioClient,
        sys.executable,
        Path(__file__).with_name(program),
        port,
        record["token"],
        stdin=pipe,
        stdout=pipe,
        stderr=None,
    )
    try:
        await client.send_encoded(MEMBERS)
        yield client
    finally:
        await client.close()


async def run(report: Report, folder: Path) -> None:
    with instance(folder, "backend") as record:
        async with contextlib.AsyncExitStack() as stack:
            ways = {program: await stack.enter_async_context(bare(program, record)) for program in BARE}
            ways["hub"] = await stack.enter_async_context(hub(folder))
            p50: dict[str, list[float]] = {way: [] for way in ways}
            rate: dict[str, list[float]] = {way: [] for way in ways}
            for client in ways.values():
                await client.send_encoded(MEMBERS)
            for _ in range(ROUNDS):
                for way, client in ways.items():
                    p50[way].append(median(await latencies_ms(lambda c=client: c.send_encoded(MEMBERS))))  # type: ignore[misc]
                for way, client in ways.items():
                    rate[way].append(await calls_per_s([lambda c=client: c.send_encoded(MEMBERS)] * IN_FLIGHT))  # type: ignore[misc]
    rows: list[tuple[object, ...]] = [
        (
            way,
            median(p50[way]),
            round(median(rate[way])),
            median([ours / theirs for theirs, ours in zip(p50[way], p50["hub"], strict=True)]),
            median([theirs / ours for theirs, ours in zip(rate[way], rate["hub"], strict=True)]),
        )
        for way in ways
    ]
    title = f"What the hub's care costs ({ROUNDS} rounds; {BURST} calls, {IN_FLIGHT} in flight)"
    report.table(title, ("way", "p50 ms", "calls/s", "hub's p50 ×", "hub's calls/s ÷"), rows)
    await breaker(report, folder)


async def breaker(report: Report, folder: Path) -> None:
    """Three calls to a stopped instance end by their deadline and open its breaker; then it answers at once."""
    with instance(folder, "stopped") as record:
        async with hub(folder) as client:
            members = b'"method":"tools/call","params":{"name":"scripts_status","arguments":{"instance":"%b"}}}'
            members %= record["instance_id"].encode()
            await client.send_encoded(members)
            os.kill(record["pid"], signal.SIGSTOP)
            try:
                await asyncio.gather(*(client.send_encoded(members) for _ in range(4)))
                samples = []
                for _ in range(200):
                    started = time.perf_counter()
                    answer = await client.send_encoded(members)
                    samples.append((time.perf_counter() - started) * 1000)
                    assert b"breaker_open" in answer, answer
            finally:
                os.kill(record["pid"], signal.SIGCONT)
    report.table("An open breaker's answer, ms", ("p50", "p99"), [(median(samples), percentile(samples, 99))])


def measure(report: Report, folder: Path) -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(report, folder))
