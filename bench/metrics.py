"""What being watched costs: a hub with ``--metrics`` that is scraped all the time, beside one without, in one run.

Both stand over the same instance; rounds alternate, so that whatever else the machine does hits both.
"""

import asyncio
import contextlib
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

from hop import CALLS, ROUNDS, latencies_ms
from processes import StdioClient, hub, instance
from start import free_port, hub_ms
from tables import Report, median

MEMBERS = b'"method":"tools/call","params":{"name":"scripts_status","arguments":{}}}'
SCRAPE_S = 1.0
"""Fifteen times as often as Prometheus does by default."""

STARTS = 25
TOKEN = "bench"


@contextlib.asynccontextmanager
async def scraped(port: int) -> AsyncIterator[None]:
    async def scrape() -> None:
        while True:
            await asyncio.to_thread(fetch, port)
            await asyncio.sleep(SCRAPE_S)

    await asyncio.to_thread(fetch, port)  # the first one loads the library
    task = asyncio.create_task(scrape())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def fetch(port: int) -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return len(answer.read())


async def run(report: Report, folder: Path) -> None:
    port = free_port()
    with instance(folder, "backend"):
        flags, settings = ("--metrics", f"127.0.0.1:{port}"), {"BRUMMER_HTTP_TOKEN": TOKEN}
        async with hub(folder) as without, hub(folder, settings=settings, flags=flags) as watched:
            ways: dict[str, StdioClient] = {"without": without, "with --metrics": watched}
            p50: dict[str, list[float]] = {way: [] for way in ways}
            for client in ways.values():
                await latencies_ms(lambda c=client: c.send_encoded(MEMBERS))  # type: ignore[misc]
            async with scraped(port):
                for _ in range(2 * ROUNDS):
                    for way, client in ways.items():
                        p50[way].append(median(await latencies_ms(lambda c=client: c.send_encoded(MEMBERS))))  # type: ignore[misc]
    ratios = [ours / theirs for theirs, ours in zip(p50["without"], p50["with --metrics"], strict=True)]
    rows: list[tuple[object, ...]] = [(way, median(values)) for way, values in p50.items()]
    rows.append(("ratio, paired", median(ratios)))
    title = f"One call at a time through the hub, with and without metrics ({2 * ROUNDS} rounds of {CALLS}), p50 ms"
    report.table(title, ("hub", "p50"), rows)


def starts(report: Report, folder: Path) -> None:
    flags = ("--metrics", f"127.0.0.1:{free_port()}")
    took: dict[tuple[str, str], list[float]] = {}
    for _ in range(STARTS):
        for then in (None, "tools/list"):
            for way, given in (("without", ()), ("with --metrics", flags)):
                took.setdefault((way, then or "initialize"), []).append(hub_ms(folder, then, given))
    rows: list[tuple[object, ...]] = []
    for what in ("initialize", "tools/list"):
        without, watched = took["without", what], took["with --metrics", what]
        paired = median([ours - theirs for theirs, ours in zip(without, watched, strict=True)])
        rows.append((what, median(without), median(watched), paired))
    report.table(
        f"Process start → answer of a hub ({STARTS} starts), ms",
        ("to", "without", "with --metrics", "difference, paired"),
        rows,
    )


def measure(report: Report, folder: Path) -> None:
    import uvloop

    starts(report, folder)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(report, folder))
