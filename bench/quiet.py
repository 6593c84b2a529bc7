"""``make quiet``: a hub with twenty links and nothing to do, for ten minutes or ``SECONDS=…``.

It fails when the hub noted anything, dialled anything but its probes, or woke up more often than its heartbeat, the
wave of probes and the reading of the directory explain.
"""

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from discovery import consumption
from processes import StdioClient, hub, instance
from tables import Report

LINKS: Final = 20
DEFAULT_S: Final = 600.0
MINUTES: Final = 10
"""Rows in the table, each a tenth of the time."""

BEAT_S: Final = 5.0
RESCANS: Final = 2 / 60
"""The directory is read twice a minute (`brummer.discovery.registry.RESCAN_S`)."""

WAVE: Final = LINKS * 4 / 90
"""A probe for each link every ninety seconds (`brummer.link.prober.WAVE_S`): dial, ask, read, close."""

ALLOWED_WAKEUPS: Final = 1.5 * (1 / BEAT_S + RESCANS + WAVE)
"""A second, with room for what shares the process."""


async def status(client: StdioClient) -> dict[str, Any]:
    answer = json.loads(await client.call("hub_status", {}))
    content: dict[str, Any] = answer["result"]["structuredContent"]
    return content


async def measure(report: Report, folder: Path, seconds: float) -> list[str]:
    """Returns what was wrong, in sentences."""
    with contextlib.ExitStack() as stack:
        for number in range(LINKS):
            stack.enter_context(instance(folder, f"project{number}"))
        async with hub(folder) as client:
            while [link["state"] for link in (await status(client))["links"]] != ["ready"] * LINKS:
                await asyncio.sleep(0.1)
            before = await status(client)
            started = wakeups, cpu_s = consumption(client.pid)
            rows = []
            for minute in range(1, MINUTES + 1):
                await asyncio.sleep(seconds / MINUTES)
                last, last_cpu_s = consumption(client.pid)
                share = (last_cpu_s - cpu_s) / (seconds / MINUTES) * 100
                rows.append((minute, last - wakeups, (last - wakeups) / (seconds / MINUTES), share))
                wakeups, cpu_s = last, last_cpu_s
            after = await status(client)
    report.table(f"A hub with {LINKS} links and nothing to do", ("tenth", "wakeups", "wakeups/s", "CPU, %"), rows)
    per_second = (wakeups - started[0]) / seconds
    probes = seconds / 90 + 2
    wrong = [f"the hub noted {entry['kind']}: {entry['reasons']}" for entry in after["timeline"]]
    if per_second > ALLOWED_WAKEUPS:
        wrong.append(f"{per_second:.2f} wakeups/s, {ALLOWED_WAKEUPS:.2f} are explained")
    for old, new in zip(before["links"], after["links"], strict=True):
        if old["local_port"] != new["local_port"] or new["dials"] - old["dials"] > probes:
            wrong.append(f"{new['instance_id']} was dialled anew: {new['reason']}")
    return wrong


def main() -> int:
    seconds = float(os.environ.get("SECONDS", DEFAULT_S))
    report = Report("quiet")
    with tempfile.TemporaryDirectory(prefix="brummer-quiet-") as folder:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            wrong = runner.run(measure(report, Path(folder), seconds))
    report.write()
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
