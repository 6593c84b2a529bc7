"""What the hub adds to a call: the same call straight to the instance and through the hub, in alternating rounds."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from processes import BareHttpClient, hub, instance, memory_mib
from tables import Report, median, percentile

ROUNDS, CALLS = 7, 500
IN_FLIGHT, BURST = 64, 6400
TOOL = "scripts_status"

Caller = Callable[[], Awaitable[bytes]]


async def latencies_ms(call: Caller) -> list[float]:
    samples = []
    for _ in range(CALLS):
        started = time.perf_counter()
        await call()
        samples.append((time.perf_counter() - started) * 1000)
    return samples


async def calls_per_s(callers: list[Caller]) -> float:
    async def work(call: Caller) -> None:
        for _ in range(BURST // len(callers)):
            await call()

    started = time.perf_counter()
    await asyncio.gather(*map(work, callers))
    return BURST / (time.perf_counter() - started)


async def run(report: Report, folder: Path) -> None:
    with instance(folder, "backend") as record:
        async with hub(folder) as client, contextlib.AsyncExitStack() as stack:
            direct = [await BareHttpClient.connect(record) for _ in range(IN_FLIGHT)]
            for connection in direct:
                stack.callback(connection.close)
            await client.call(TOOL, {})
            message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": TOOL, "arguments": {}}}
            request = direct[0].encode(message)

            members = b'"method":"tools/call","params":{"name":"%b","arguments":{}}}' % TOOL.encode()

            def through() -> "asyncio.Future[bytes]":
                return client.send_encoded(members)

            latency: dict[str, list[list[float]]] = {"direct": [], "hub": []}
            rate: dict[str, list[float]] = {"direct": [], "hub": []}
            for _ in range(ROUNDS):
                latency["direct"].append(await latencies_ms(lambda: direct[0].send_encoded(request)))
                latency["hub"].append(await latencies_ms(through))
            for _ in range(ROUNDS):
                rate["direct"].append(await calls_per_s([lambda c=c: c.send_encoded(request) for c in direct]))  # type: ignore[misc]
                rate["hub"].append(await calls_per_s([through] * IN_FLIGHT))
            tables(report, latency, rate)
            resident, unique = memory_mib(client.pid)
            instance_resident, instance_unique = memory_mib(record["pid"])
    rows = [("hub, after the load", resident, unique), ("instance, after the load", instance_resident, instance_unique)]
    report.table("Memory, MiB", ("process", "resident", "unique"), rows)


def tables(report: Report, latency: dict[str, list[list[float]]], rate: dict[str, list[float]]) -> None:
    p50 = {who: [median(samples) for samples in rounds] for who, rounds in latency.items()}
    p99 = {who: [percentile(samples, 99) for samples in rounds] for who, rounds in latency.items()}
    hops = [through - straight for straight, through in zip(p50["direct"], p50["hub"], strict=True)]
    ratios = [through / straight for straight, through in zip(p50["direct"], p50["hub"], strict=True)]
    rows: list[tuple[object, ...]] = [(who, median(p50[who]), median(p99[who])) for who in latency]
    rows.append(("hop = hub - direct", median(hops), ""))
    rows.append(("ratio = hub / direct", median(ratios), ""))
    report.table(f"One call at a time ({ROUNDS} rounds of {CALLS}), ms", ("way", "p50", "p99"), rows)
    shares = [through / straight for straight, through in zip(rate["direct"], rate["hub"], strict=True)]
    rows = [(who, round(median(values)), round(max(values))) for who, values in rate.items()]
    rows.append(("share = hub / direct", median(shares), ""))
    report.table(f"{IN_FLIGHT} in flight ({ROUNDS} rounds of {BURST}), calls/s", ("way", "median", "best"), rows)


def measure(report: Report, folder: Path) -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(report, folder))
