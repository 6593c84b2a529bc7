"""``make soak``: mixed calls through one hub to three instances for an hour, or ``SECONDS=…``; nothing may grow.

Calls come as an agent's do: in bursts, with pauses, some waiting, some cancelled. Now and then everything is quiet;
what is compared are quiet moments, the first and the last. It fails when a link was not ready all the time, when it
left the connection that it began with, when a call failed, or when something grew beyond the bounds below.
``--no-report`` leaves reports/soak.md as it is.
"""

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from processes import BRUM, environment, wait_for_record
from tables import Report, median, percentile

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.integration.scenarios.stdio import Client

NAMES: Final = ("web", "api", "worker")
PROCFILE: Final = "lines: while true; do echo tick; sleep 0.2; done\nnoop: true\n"
WORKERS: Final = 12
WARM_UP_S: Final = 5.0
QUIET_S: Final = 7.0
"""Spare connections close after five seconds of idleness (`brummer.pool.connections.SPARE_IDLE_S`)."""

SAMPLE_EVERY_S: Final = 5.0
ROWS: Final = 24
GROWTH_HUB_MIB: Final = 8.0
"""An allocator keeps what a burst has needed; a leak of a hundred bytes a call is three times that in an hour."""

GROWTH_INSTANCE_MIB: Final = 24.0
"""Beside that its output buffer and its ledger fill up to their bounds."""

GROWTH_HANDLES: Final = 1
"""Descriptors and sockets: one may be just opening or closing."""

GROWTH_THREADS: Final = min(32, (os.cpu_count() or 1) + 4)
"""The default executor starts as many, each when it is first needed, and keeps them (`concurrent.futures`)."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One process at one moment."""

    resident_mib: float
    descriptors: int
    sockets: int
    threads: int


def sample(pid: int) -> Sample:
    descriptors = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            descriptors.append(str(entry.readlink()))
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    sockets = sum(target.startswith("socket:") for target in descriptors)
    return Sample(int(status["VmRSS"].split()[0]) / 1024, len(descriptors), sockets, int(status["Threads"]))


class Traffic:
    """Some workers, each making one call after the other; `pause` them all for a quiet moment."""

    def __init__(self, client: Client, rng: random.Random) -> None:
        self.client = client
        self.calls: Counter[str] = Counter()
        self.errors: list[str] = []
        self.took_ms: list[float] = []
        self._rng = rng
        self._running = asyncio.Event()
        self._running.set()
        self._busy = 0
        self._tasks = [asyncio.create_task(self._work()) for _ in range(WORKERS)]

    async def _work(self) -> None:
        while True:
            await self._running.wait()
            self._busy += 1
            try:
                for _ in range(self._rng.randint(1, 20)):
                    await self._one(self._rng.choice(NAMES))
            finally:
                self._busy -= 1
            await asyncio.sleep(self._rng.uniform(0.0, 0.3))

    async def _one(self, name: str) -> None:
        tool, arguments = self._rng.choice(QUESTIONS)
        if self._rng.random() < 0.03:
            await self._cancelled(name)
            return
        asked = time.perf_counter()
        content = await self.client.call(tool, instance=name, **arguments)
        if tool not in ("wait_for", "scripts_run"):
            self.took_ms.append((time.perf_counter() - asked) * 1000)
        self.calls[tool] += 1
        if "error" in content:
            self.errors.append(f"{tool}: {content['error']['message']}")

    async def _cancelled(self, name: str) -> None:
        arguments = {"instance": name, "log": "never", "timeout_s": 60}
        number = self.client.send("tools/call", {"name": "wait_for", "arguments": arguments})
        await asyncio.sleep(self._rng.choice((0.0, 0.001, 0.05)))
        self.client.cancel(number)
        self.calls["cancelled"] += 1

    @contextlib.asynccontextmanager
    async def pause(self) -> AsyncIterator[None]:
        """Nothing is under way inside the block, and what was needed for it has been given back."""
        self._running.clear()
        while self._busy:
            await asyncio.sleep(0.01)
        await asyncio.sleep(QUIET_S)
        yield
        self._running.set()

    def check(self) -> None:
        """Raises what has ended a worker."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)


QUESTIONS: Final[list[tuple[str, dict[str, Any]]]] = [
    ("scripts_list", {}),
    ("scripts_status", {}),
    ("logs_tail", {"limit": 50}),
    ("logs_tail", {"process": "lines", "limit": 500}),
    ("logs_search", {"query": "tick", "limit": 20}),
    ("changes_since", {"limit": 20}),
    ("wait_for", {"process": "lines", "log": "tick", "since": "1h"}),
    ("wait_for", {"log": "never", "timeout_s": 0.05}),
    ("scripts_run", {"name": "lines", "wait": "none"}),
    ("scripts_run", {"name": "noop", "wait": "exit"}),
    ("instance_tools", {}),
]


@contextlib.contextmanager
def instances(folder: Path) -> Iterator[dict[str, int]]:
    """Started; yields pids by name."""
    processes = {}
    try:
        for name in NAMES:
            (folder / name).mkdir()
            (folder / name / "Procfile").write_text(PROCFILE)
            command = [BRUM, "--no-tui", "-d", str(folder / name), "lines"]
            quiet = subprocess.DEVNULL
            processes[name] = subprocess.Popen(command, env=environment(folder), stdout=quiet, stderr=quiet)
        for process in processes.values():
            wait_for_record(folder, process.pid)
        yield {name: process.pid for name, process in processes.items()}
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            process.wait(15)


class Soak:
    """The run: what was seen, and what is wrong with it."""

    def __init__(self, client: Client, pids: dict[str, int], traffic: Traffic) -> None:
        self.client = client
        self.pids = {"hub": client.process.pid, **pids}
        self.traffic = traffic
        self.quiet: dict[str, list[Sample]] = {name: [] for name in self.pids}
        self.rows: list[tuple[object, ...]] = []
        self.problems: list[str] = []
        self._ports: dict[str, int] = {}
        self._since_s: dict[str, float] = {}
        self._started = time.monotonic()

    async def look(self) -> None:
        """Add a row to the table, and see whether every link is what it was."""
        hub, links = sample(self.pids["hub"]), await self.client.links()
        took = self.traffic.took_ms or [0.0]
        self.rows.append(
            (
                f"{time.monotonic() - self._started:.0f}",
                self.traffic.calls.total(),
                percentile(took, 50),
                percentile(took, 99),
                hub.resident_mib,
                hub.descriptors,
                hub.sockets,
                hub.threads,
                sum(link["dials"] for link in links.values()),
                " ".join(str(link["local_port"]) for link in links.values()),
            )
        )
        self.traffic.took_ms = []
        for name, link in links.items():
            if link["state"] != "ready" or link["since_s"] < self._since_s.get(name, 0.0):
                self.problems.append(f"{name} was {link['state']} for {link['since_s']} s: {link['reason']}")
            if self._ports.setdefault(name, link["local_port"]) != link["local_port"]:
                self.problems.append(f"{name} left the connection that it began with")
                self._ports[name] = link["local_port"]
            self._since_s[name] = link["since_s"]

    async def look_at_quiet(self) -> None:
        async with self.traffic.pause():
            for name, pid in self.pids.items():
                self.quiet[name].append(sample(pid))
            for name, link in (await self.client.links()).items():
                if (link["connections"], link["in_flight"], link["parked"]) != (1, 0, 0):
                    self.problems.append(f"{name} is quiet, and has {link['connections']} connections")

    def verdicts(self) -> Iterator[tuple[object, ...]]:
        """First and last quiet moment of each process, and whether that is within bounds."""
        for name, (first, *_, last) in self.quiet.items():
            bounds = {
                "resident MiB": GROWTH_HUB_MIB if name == "hub" else GROWTH_INSTANCE_MIB,
                "descriptors": GROWTH_HANDLES,
                "sockets": GROWTH_HANDLES,
                "threads": GROWTH_THREADS,
            }
            values = ("resident_mib", "descriptors", "sockets", "threads")
            for (what, bound), value in zip(bounds.items(), values, strict=True):
                before, after = getattr(first, value), getattr(last, value)
                if after > before + bound:
                    self.problems.append(f"{name}: {what} grew from {before:.4g} to {after:.4g}")
                yield name, what, float(before), float(after), f"+{bound:g}", after <= before + bound


async def soak(report: Report, folder: Path, seconds: float, seed: int) -> list[str]:
    with instances(folder) as pids:
        async with Client.running(BRUM, "--mcp", env=environment(folder)) as client:
            while [link["state"] for link in (await client.links()).values()] != ["ready"] * len(NAMES):
                await asyncio.sleep(0.01)
            traffic = Traffic(client, random.Random(seed))
            run = Soak(client, pids, traffic)
            try:
                await asyncio.sleep(min(WARM_UP_S, seconds / 6))
                await run.look_at_quiet()
                ends = time.monotonic() + seconds - QUIET_S
                while time.monotonic() < ends:
                    await asyncio.sleep(min(SAMPLE_EVERY_S, seconds / 8))
                    await run.look()
                    traffic.check()
                await run.look_at_quiet()
            finally:
                await traffic.end()
            tell(report, run, seconds, seed)
            late = [message for message in client.unasked if "id" in message]
            problems = run.problems + [f"{len(late)} answers came too late"] * bool(late)
            return problems + sorted(set(traffic.errors))[:10]


def tell(report: Report, run: Soak, seconds: float, seed: int) -> None:
    header = ("s", "calls", "p50 ms", "p99 ms", "hub MiB", "descriptors", "sockets", "threads", "dials", "local ports")
    step = max(1, len(run.rows) // ROWS)
    title = f"{len(NAMES)} instances, {WORKERS} workers, {seconds:.0f} s, seed {seed}: the hub under load"
    report.table(title, header, run.rows[::step])
    calls = [(tool, count) for tool, count in sorted(run.traffic.calls.items())]
    report.table("Calls", ("tool", "calls"), [*calls, ("failed", len(run.traffic.errors))])
    verdicts = list(run.verdicts())
    report.table(
        "Quiet moments, the first and the last", ("process", "what", "first", "last", "bound", "held"), verdicts
    )
    p99 = [float(str(row[3])) for row in run.rows]
    report.table("Over the samples", ("what", "median", "worst"), [("p99 ms", median(p99), max(p99))])


def main(arguments: list[str]) -> int:
    seconds = float(os.environ.get("SECONDS", "3600"))
    seed = int(os.environ.get("SEED", str(random.SystemRandom().randrange(10_000))))
    report = Report("soak")
    with tempfile.TemporaryDirectory(prefix="brummer-soak-") as folder:
        problems = asyncio.run(soak(report, Path(folder), seconds, seed))
    rows = [(problem,) for problem in dict.fromkeys(problems)] or [("nothing",)]
    report.table("What is wrong", ("problem",), rows)
    if "--no-report" not in arguments:
        report.write()
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
