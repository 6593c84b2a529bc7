"""``make chaos``: five instances, one hub, calls without a pause; for five minutes (``SECONDS=…``) all goes wrong.

kill -9, SIGSTOP, restarts, resets of connections, records and whole directories that vanish, rubbish in their place.
What must hold all the time are the promises of DESIGN §1: no call hangs, none reaches the wrong instance, none runs
twice; what an answer says of the work is true; the hub lives. The instances count what they ran, in files that survive
them. The exit status is 1 when a promise was broken; ``SEED=…`` repeats the choices. ``--no-report`` leaves
reports/chaos.md as it is.
"""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from processes import BRUM, environment, wait_for_record
from tables import Report, median, percentile

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.integration.scenarios.counting import executions
from tests.integration.scenarios.stdio import Client

COUNTING: Final = Path(__file__).parent.parent / "tests" / "integration" / "scenarios" / "counting.py"
NAMES: Final = ("web", "api", "worker", "docs", "mail")
WORKERS: Final = 4
"""For each instance."""

DEADLINE_S: Final = 30.0
LATE_S: Final = 5.0
"""How late a deadline may fire with all of this on a small machine."""

LONG_STOP_S: Final = 60.0
RECOVERED_S: Final = 10.0
"""For all links to be ready, once nothing goes wrong any more."""

LOST_ITS_MEMORY: Final = frozenset({"kill -9", "restart"})
"""Only after these may an instance not know what came of a call; and while it is stopped nobody can ask it."""


@dataclass(slots=True)
class Event:
    """A fault of one instance, in seconds since the start; ``ended`` once it can be expected to work again."""

    kind: str
    began: float
    ended: float = float("inf")
    ready_after_s: float | None = None


@dataclass(slots=True)
class Asked:
    """A call that changes something, and what was said of it."""

    project: str
    number: int
    asked: float
    answered: float = float("inf")
    error: dict[str, Any] | None = None


@dataclass
class Instance:
    """One project, its present process, and what has befallen it."""

    folder: Path
    name: str
    process: subprocess.Popen[bytes] | None = None
    port: int = 0
    faulty: bool = False
    events: list[Event] = field(default_factory=list)

    @property
    def project(self) -> Path:
        return self.folder / self.name

    async def start(self) -> None:
        self.process = self._spawned()
        record = await asyncio.to_thread(wait_for_record, self.folder, self.process.pid)
        self.port = int(record["url"].split(":")[2].split("/")[0])

    def _spawned(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, str(COUNTING), str(self.project)]
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, env=environment(self.folder), stdout=quiet, stderr=quiet)

    def send(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)

    async def end(self, number: signal.Signals) -> None:
        assert self.process
        self.send(number)
        await asyncio.to_thread(self.process.wait, 20)


class Chaos:
    """The run: the world, what is done to it, and what its answers were."""

    def __init__(self, folder: Path, client: Client, instances: list[Instance], rng: random.Random) -> None:
        self.folder = folder
        self.client = client
        self.instances = instances
        self.problems: list[str] = []
        self.asked: list[Asked] = []
        self.outcomes: Counter[str] = Counter()
        self.took_ms: list[float] = []
        self.faults: Counter[str] = Counter()
        self._rng = rng
        self._number = 0
        self._started = time.monotonic()
        self._ends = float("inf")
        self._healing: set[asyncio.Task[None]] = set()

    def now(self) -> float:
        return time.monotonic() - self._started

    # Calls.

    async def work(self, instance: Instance) -> None:
        """One worker: calls until the end, of which two thirds change something."""
        while self.now() < self._ends:
            kind = self._rng.choice((self._count, self._count, self._read, self._wait))
            try:
                await kind(instance)
            except TimeoutError:
                self.problems.append(f"{self.now():.1f} s: a call to {instance.name} hangs")
            await asyncio.sleep(self._rng.uniform(0.0, 0.05))

    async def _count(self, instance: Instance) -> None:
        self._number += 1
        asked = Asked(instance.name, self._number, self.now())
        self.asked.append(asked)
        ms = self._rng.choice((0, 0, 1, 20, 200))
        content = await self._timed(DEADLINE_S, instance, asked.number, ms)
        asked.answered, asked.error = self.now(), content.get("error")
        if asked.error is None and (content["project"], content["n"]) != (instance.name, asked.number):
            self.problems.append(f"{instance.name} was asked for {asked.number}, and {content} came back")

    async def _timed(self, deadline_s: float, instance: Instance, number: int, ms: float) -> dict[str, Any]:
        began = time.monotonic()
        content = await self.client.call_in(instance.name, "count", n=number, ms=ms)
        self._note("count", content, began, deadline_s)
        return content

    async def _read(self, instance: Instance) -> None:
        began = time.monotonic()
        content = await self.client.call("scripts_list", instance=instance.name)
        self._note("read", content, began, DEADLINE_S)
        if "error" not in content and [script["name"] for script in content["scripts"]] != [instance.name]:
            self.problems.append(f"{instance.name} was asked, and another answered: {content}")

    async def _wait(self, instance: Instance) -> None:
        seconds = self._rng.choice((0.0, 0.1, 1.0))
        began = time.monotonic()
        content = await self.client.call("wait_for", instance=instance.name, log="never", timeout_s=seconds)
        self._note("wait", content, began, DEADLINE_S + seconds)

    def _note(self, kind: str, content: dict[str, Any], began: float, deadline_s: float) -> None:
        took_s = time.monotonic() - began
        if took_s > deadline_s + LATE_S:
            self.problems.append(f"a {kind} took {took_s:.1f} s, {deadline_s} s were allowed")
        error = content.get("error")
        if error is None:
            self.outcomes["ok"] += 1
            self.took_ms.append(took_s * 1000)
            return
        self.outcomes[f"{error['code']} ({error['outcome']})"] += 1
        if not {"code", "message", "retryable", "retry_after_s", "outcome", "context"} <= error.keys():
            self.problems.append(f"an error without its fields: {error}")
        if error["code"] in ("internal", "not_found", "no_instances", "ambiguous_instance", "cancelled"):
            self.problems.append(f"{self.now():.1f} s: {error['code']}: {error['message'][:200]}")

    # Faults.

    async def break_things(self, seconds: float) -> None:
        """One fault after the other, several at a time, until the time is over; then wait until all are mended."""
        kinds: list[Callable[[Instance], Awaitable[None]]] = [
            *(self._kill, self._kill, self._stop, self._stop, self._restart),
            *(self._reset, self._reset, self._delete_record, self._delete_directory, self._litter),
        ]
        ends = self.now() + seconds
        if seconds > 2 * LONG_STOP_S:
            self._befall(self.instances[0], self._stop_long)
        while self.now() < ends:
            await asyncio.sleep(self._rng.uniform(0.1, 2.0))
            whole = [instance for instance in self.instances if not instance.faulty]
            if whole:
                self._befall(self._rng.choice(whole), self._rng.choice(kinds))
        if self._healing:
            await asyncio.wait(self._healing)

    def _befall(self, instance: Instance, fault: Callable[[Instance], Awaitable[None]]) -> None:
        async def run() -> None:
            instance.faulty = True
            try:
                await fault(instance)
            finally:
                instance.faulty = False

        task = asyncio.create_task(run())
        self._healing.add(task)
        task.add_done_callback(self._healing.discard)

    @contextlib.contextmanager
    def _event(self, instance: Instance, kind: str) -> Iterator[Event]:
        self.faults[kind] += 1
        event = Event(kind, self.now())
        instance.events.append(event)
        yield event
        event.ended = self.now()

    async def _until_ready(self, instance: Instance, event: Event) -> None:
        began = time.monotonic()
        while time.monotonic() - began < RECOVERED_S:
            links = [link for name, link in (await self.client.links()).items() if name.startswith(f"{instance.name}-")]
            if [link["state"] for link in links] == ["ready"]:
                event.ready_after_s = time.monotonic() - began
                return
            await asyncio.sleep(0.01)
        self.problems.append(f"{self.now():.1f} s: {instance.name} is not ready {RECOVERED_S} s after {event.kind}")

    async def _kill(self, instance: Instance) -> None:
        with self._event(instance, "kill -9") as event:
            await instance.end(signal.SIGKILL)
            await asyncio.sleep(self._rng.choice((0.0, 0.0, 1.0, 5.0)))
            await instance.start()
            await self._until_ready(instance, event)

    async def _restart(self, instance: Instance) -> None:
        with self._event(instance, "restart") as event:
            await instance.end(signal.SIGTERM)
            await instance.start()
            await self._until_ready(instance, event)

    async def _stop(self, instance: Instance) -> None:
        await self._stop_for(instance, "SIGSTOP", self._rng.choice((0.2, 1.0, 3.0, 8.0)))

    async def _stop_long(self, instance: Instance) -> None:
        await self._stop_for(instance, f"SIGSTOP for {LONG_STOP_S:.0f} s", LONG_STOP_S)

    async def _stop_for(self, instance: Instance, kind: str, seconds: float) -> None:
        with self._event(instance, kind) as event:
            instance.send(signal.SIGSTOP)
            try:
                await asyncio.sleep(seconds)
            finally:
                instance.send(signal.SIGCONT)
            await self._until_ready(instance, event)

    async def _reset(self, instance: Instance) -> None:
        """The kernel breaks every connection to the instance, on both sides (CONFIG_INET_DIAG_DESTROY)."""
        ss = shutil.which("ss")
        if ss is None:
            return
        with self._event(instance, "connections reset") as event:
            command = (ss, "--no-header", "-K", "dst", "127.0.0.1", "dport", "=", str(instance.port))
            done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False)
            if not done.stdout.strip():
                self.faults["connections reset, in vain"] += 1
            await self._until_ready(instance, event)

    async def _delete_record(self, instance: Instance) -> None:
        with self._event(instance, "record deleted") as event:
            for path in (self.folder / "instances").glob(f"{instance.name}-*.json"):
                path.unlink(missing_ok=True)
            await self._until_ready(instance, event)

    async def _delete_directory(self, instance: Instance) -> None:
        with self._event(instance, "directory deleted") as event:
            await asyncio.to_thread(shutil.rmtree, self.folder / "instances", ignore_errors=True)
            await self._until_ready(instance, event)

    async def _litter(self, instance: Instance) -> None:
        """Rubbish under the record's own name; its owner sets it right."""
        with self._event(instance, "record overwritten") as event:
            rubbish = self._rng.choice((b"", b"{", b"\x00" * 4096, b'{"version": 1}', b"[]" * 100_000))
            for path in (self.folder / "instances").glob(f"{instance.name}-*.json"):
                path.write_bytes(rubbish)
            await self._until_ready(instance, event)

    # The end.

    def finish(self) -> None:
        self._ends = self.now()

    def judge(self) -> None:
        """What the instances have counted against what was said."""
        ran = {instance.name: executions(instance.project) for instance in self.instances}
        events = {instance.name: instance.events for instance in self.instances}
        for asked in self.asked:
            times = ran[asked.project].pop(asked.number, 0)
            outcome = "ok" if asked.error is None else asked.error["outcome"]
            allowed = {"ok": (1,), "not_executed": (0,), "failed": (1,)}.get(outcome, (0, 1))
            if times not in allowed:
                self.problems.append(f"{asked.project}: {asked.number} was {outcome}, and ran {times} times: {asked}")
            if outcome == "unknown" and not any(_excuses(event, asked) for event in events[asked.project]):
                self.problems.append(f"{asked.project}: {asked.number} is unknown for no reason: {asked.error}")
        for name, unasked in ran.items():
            if unasked:
                self.problems.append(f"{name} ran what nobody has asked for: {unasked}")


def _excuses(event: Event, asked: Asked) -> bool:
    overlaps = event.began <= asked.answered and asked.asked <= event.ended
    return overlaps and (event.kind in LOST_ITS_MEMORY or event.kind.startswith("SIGSTOP"))


async def chaos(report: Report, folder: Path, seconds: float, seed: int) -> list[str]:
    instances = [Instance(folder, name) for name in NAMES]
    for instance in instances:
        instance.project.mkdir()
        (instance.project / "Procfile").write_text(f"{instance.name}: true\n")
    try:
        await asyncio.gather(*(instance.start() for instance in instances))
        async with Client.running(BRUM, "--mcp", env=environment(folder)) as client:
            while [link["state"] for link in (await client.links()).values()] != ["ready"] * len(NAMES):
                await asyncio.sleep(0.01)
            run = Chaos(folder, client, instances, random.Random(seed))
            workers = [asyncio.create_task(run.work(instance)) for instance in instances for _ in range(WORKERS)]
            await run.break_things(seconds)
            await settle(run)
            run.finish()
            await asyncio.wait(workers)
            for worker in workers:
                worker.result()
            if client.process.returncode is not None:
                run.problems.append(f"the hub ended with {client.process.returncode}")
            late = [message for message in client.unasked if "id" in message]
            run.problems += [f"{len(late)} answers came too late"] * bool(late)
    finally:
        for instance in instances:
            if instance.process is not None:
                instance.send(signal.SIGCONT)
                await instance.end(signal.SIGTERM)
    run.judge()
    tell(report, run, seconds, seed)
    return run.problems


async def settle(run: Chaos) -> None:
    """Nothing goes wrong any more: every link becomes ready, and every instance answers."""
    for instance in run.instances:
        event = Event("the end", run.now())
        await run._until_ready(instance, event)  # noqa: SLF001 — the same file
        content = await run.client.call("scripts_list", instance=instance.name)
        if "error" in content:
            run.problems.append(f"{instance.name} does not answer in the end: {content['error']}")


def tell(report: Report, run: Chaos, seconds: float, seed: int) -> None:
    rows: list[tuple[object, ...]] = []
    for kind in sorted({event.kind for instance in run.instances for event in instance.events}):
        events = [event for instance in run.instances for event in instance.events if event.kind == kind]
        ready = [event.ready_after_s * 1000 for event in events if event.ready_after_s is not None]
        rows.append((kind, len(events), median(ready) if ready else "", max(ready) if ready else ""))
    title = f"{len(NAMES)} instances, {len(NAMES) * WORKERS} callers, {seconds:.0f} s, seed {seed}"
    report.table(title, ("fault", "times", "ready after, ms (median)", "worst"), rows)
    outcomes = [(code, count) for code, count in run.outcomes.most_common()]
    report.table("Answers", ("outcome", "calls"), outcomes)
    took = run.took_ms or [0.0]
    counted = Counter("ok" if asked.error is None else asked.error["outcome"] for asked in run.asked)
    rows = [
        ("calls that change something", len(run.asked)),
        *((f"of these {outcome}", count) for outcome, count in counted.most_common()),
        ("p50 of answered calls, ms", percentile(took, 50)),
        ("p99 of answered calls, ms", percentile(took, 99)),
        ("longest answered call, ms", max(took)),
    ]
    report.table("Calls", ("what", "value"), rows)


def main(arguments: list[str]) -> int:
    seconds = float(os.environ.get("SECONDS", "300"))
    seed = int(os.environ.get("SEED", str(random.SystemRandom().randrange(10_000))))
    print(f"seed {seed}", flush=True)
    report = Report("chaos")
    with tempfile.TemporaryDirectory(prefix="brummer-chaos-") as folder:
        problems = asyncio.run(chaos(report, Path(folder), seconds, seed))
    rows = [(problem,) for problem in problems[:50]] or [("none",)]
    report.table("Promises broken", ("promise",), rows)
    if "--no-report" not in arguments:
        report.write()
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
