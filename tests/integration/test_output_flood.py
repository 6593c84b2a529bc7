"""A script that prints as fast as it can, beside a quiet server in the same project, and another project beside both.

``BRUMMER_FLOOD_S=30`` makes it as long as the promise; the suite's own run is shorter.
"""

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from brummer.contract.texts import lines_of
from tests.integration.programs import BRUM, Brum
from tests.integration.scenarios.stdio import Client

FLOOD_S: Final = float(os.environ.get("BRUMMER_FLOOD_S", "8"))
TICKS_PER_S: Final = 20
RSS_LIMIT_BYTES: Final = 160 * 1024 * 1024
"""The instance takes 45 MiB at rest; its output may take 8, and what is on the way some more."""
GROWTH_LIMIT_BYTES: Final = 40 * 1024 * 1024
LINE_BYTES: Final = 94
SAMPLED_MB_S: Final = 20.0
"""What is slower, on a busy machine, can be read in full."""
TIMES_SLOWER: Final = 5
"""A paired comparison on two busy processors; the instance that is flooded is not the one that is asked."""

FLOOD_PY: Final = """\
import os
lines = b"".join(b"GET /api/things/%06d 200 in 13 ms, a line of a hundred bytes as servers print them, so many\\n" % n
                 for n in range(10_000))
while True:
    view = memoryview(lines)
    while view:
        view = view[os.write(1, view):]
"""
QUIET_PY: Final = f"""\
import itertools, time
for tick in itertools.count():
    print(f"tick {{tick}}", flush=True)
    time.sleep({1 / TICKS_PER_S})
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="platform: memory is read from /proc")


async def pings(client: Client, instance: str, seconds: float, pause_s: float = 0.005) -> list[float]:
    """How long a call to it took, each time, in seconds."""
    took: list[float] = []
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        began = time.perf_counter()
        answer = await client.call("scripts_status", instance=instance)
        took.append(time.perf_counter() - began)
        assert "error" not in answer, answer
        await asyncio.sleep(pause_s)
    return took


def p99(took: list[float]) -> float:
    return statistics.quantiles(took, n=100)[98]


async def everything(client: Client, instance: str, process: str) -> tuple[list[str], int]:
    """All lines of a process, read page by page, and how many are gone."""
    texts: list[str] = []
    cursor: str | None = "none.0"
    gone = 0
    while True:
        page = await client.call("logs_tail", instance=instance, process=process, cursor=cursor, limit=5000)
        texts += [line["text"] for line in lines_of(page)]
        gone += page["dropped"]
        cursor = page["cursor"]
        if not page.get("more"):
            return texts, gone


def records(brum: Brum) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in brum.instances.glob("*.json")]


@pytest.fixture
def noisy(brum: Brum) -> Iterator[Path]:
    files = {
        "Procfile": f"flood: exec {sys.executable} -I flood.py\nquiet: exec {sys.executable} -I quiet.py\n",
        "flood.py": FLOOD_PY,
        "quiet.py": QUIET_PY,
    }
    project = brum.project("noisy", files)
    yield project
    assert brum.run("down", cwd=project).status == 0


@pytest.mark.promise("bulkheads", "a-flood-displaces-itself")
async def test_a_flood_is_bounded_and_harms_no_other(
    brum: Brum, noisy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = brum.instance(brum.project("calm", {"Procfile": "idle: sleep 600\n"})).id
    assert brum.run("up", "quiet", "--no-wait", cwd=noisy).status == 0
    instance = next(record for record in records(brum) if record["directory"] == str(noisy))
    instance_id = instance["instance_id"]
    memory = psutil.Process(instance["pid"])
    async with Client.running(BRUM, "--mcp", env=brum.environment) as client:
        await client.call("scripts_run", instance=instance_id, name="quiet", wait="none")

        async def both(seconds: float) -> tuple[list[float], list[float]]:
            """To the other instance, and to this one."""
            return await asyncio.gather(
                pings(client, other, seconds), pings(client, instance_id, seconds, pause_s=0.05)
            )

        before, _ = await both(FLOOD_S / 2)
        rss_before = memory.memory_info().rss
        busy_before = sum(memory.cpu_times()[:2])
        await client.call("scripts_run", instance=instance_id, name="flood", wait="none")
        began = time.monotonic()
        calls = asyncio.create_task(both(FLOOD_S))
        peak = 0
        while not calls.done():
            peak = max(peak, memory.memory_info().rss)
            await asyncio.wait([calls], timeout=0.2)
        during, own = calls.result()
        flooded_s = time.monotonic() - began
        busy = (sum(memory.cpu_times()[:2]) - busy_before) / flooded_s
        tail = await client.call("logs_tail", instance=instance_id, process="flood", limit=1)
        await client.call("scripts_stop", instance=instance_id, name="flood")
        await client.call("scripts_stop", instance=instance_id, name="quiet")
        quiet, quiet_gone = await everything(client, instance_id, "quiet")
        flood, flood_gone = await everything(client, instance_id, "flood")
    printed = tail["lines"][0]["n"]
    megabytes = printed * LINE_BYTES / 1e6
    with capsys.disabled():
        print(
            f"\nflood of {flooded_s:.0f} s: {printed / flooded_s:,.0f} lines/s ({megabytes / flooded_s:.0f} MB/s),"
            f" RSS {rss_before >> 20} -> at most {peak >> 20} MiB, {busy:.0%} of a processor;"
            f" {len(flood):,} lines kept, {flood_gone:,} dropped; quiet: {len(quiet)} lines, {quiet_gone} dropped;"
            f" p99 to the other instance {p99(before) * 1e3:.1f} -> {p99(during) * 1e3:.1f} ms,"
            f" to the flooded one {p99(own) * 1e3:.1f} ms"
        )
    assert quiet[: len(quiet)] == [f"tick {number}" for number in range(len(quiet))]
    assert quiet_gone == 0
    assert len(quiet) >= TICKS_PER_S * FLOOD_S / 2
    assert len(flood) + flood_gone >= printed - len(quiet)
    assert flood_gone > len(flood) > 0
    if megabytes / flooded_s > SAMPLED_MB_S:
        assert any("are not kept" in text for text in flood)
    assert peak < RSS_LIMIT_BYTES
    assert peak - rss_before < GROWTH_LIMIT_BYTES
    assert p99(during) < TIMES_SLOWER * max(p99(before), 0.005)
