"""Calls that change something, through two hubs, under every fault that once broke a promise; and their check.

Each project has one fault of its own; in the last one several meet. The instances record what they ran and when, so
each answer can be compared with the truth:

- ``ok``: the call ran once, here and nowhere else;
- ``not_executed``: it never ran;
- ``unknown``: it ran at most once, and the hub can't know: that run of the instance has ended, the instance could not
  be asked before the deadline, or its ledger had to forget;
- a cancelled call ran at most once;
- no call begins after its answer, and none that may have begun is called retryable.
"""

import asyncio
import contextlib
import dataclasses
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from brummer.testing.fault_proxy import FaultProxy, FaultScript, ProxyFaults, no_faults
from tests.integration.scenarios.counting import beginnings, publish, record_of
from tests.integration.scenarios.stdio import Cancelled, Client

COUNTING: Final = Path(__file__).parent / "counting.py"
CGROUPS: Final = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))

DEADLINE_S: Final = 12.0
"""Of a call here, in place of half a minute, so that stopped instances outlast it. A call whose connections are cut can
be asked about some ten times until then, and one time in four in vain.
"""

HUB: Final = f"""
import sys
from brummer.hub import router
assert router.CALL_ANSWER_S > {DEADLINE_S}
router.CALL_ANSWER_S = {DEADLINE_S}
from brummer.__main__ import main
sys.argv = ["brum", "--mcp"]
sys.exit(main())
"""

HUBS: Final = 2
WORKERS: Final = 4
"""For each project and hub."""

UP_TO_BYTES: Final = 4_000
"""Bytes of some four calls: no cut connection lives longer."""

PAUSE_S: Final = 0.3
"""The pause of a worker between two calls, on average."""

CANCELLED: Final = 0.08
"""Share of calls that their client cancels within a second."""

STOPPED_S: Final = (0.3, 2.0, 15.0)
"""Shorter than anything, long enough to be suspected, longer than the deadline."""

STARTS_S: Final = 30.0
"""The time for an instance to start on a busy machine."""

DELIVERED_S: Final = 1.0
"""A cancellation that was sent this long before its instance went on lay in the instance's socket by then."""

ASKABLE_S: Final = 4.0
"""How long after it went on an instance may still have missed a deadline: its link must be checked first."""


@dataclass(slots=True)
class Asked:
    """One call. Times are CLOCK_MONOTONIC, which is one for all processes here."""

    number: int
    hub: int
    takes_s: float
    asked_s: float
    answered_s: float = float("inf")
    outcome: str = ""
    error: dict[str, Any] = field(default_factory=dict)

    def overlaps(self, began_s: float, ended_s: float) -> bool:
        return began_s <= self.answered_s and self.asked_s <= ended_s


@dataclass(slots=True)
class Event:
    """A fault of one instance, from its beginning until the instance could work again."""

    kind: str
    began_s: float
    ended_s: float = float("inf")


@dataclass
class Project:
    """One instance, its faults, and what was asked of it. ``script`` gives the faults of its connections."""

    folder: Path
    name: str
    script: Callable[[random.Random], FaultScript] | None = None
    settings: dict[str, str] = field(default_factory=dict)
    disturb: "Callable[[Project, random.Random], Awaitable[None]] | None" = None
    ledger_forgets: bool = False
    process: subprocess.Popen[bytes] | None = None
    proxies: list[FaultProxy] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    cgroup: Path | None = None

    @property
    def path(self) -> Path:
        return self.folder / self.name

    async def start(self) -> None:
        """A new run."""
        process = self.process = self._spawned()
        assert process.stdout is not None
        async with asyncio.timeout(STARTS_S):
            line = await asyncio.to_thread(process.stdout.readline)
        assert line, f"{self.name} did not start"
        process.stdout.close()

    def _spawned(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(COUNTING), str(self.path)]
        environment = {**os.environ, "BRUMMER_INSTANCES_DIR": str(self.folder / "instances"), **self.settings}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def record(self) -> dict[str, Any]:
        assert self.process is not None
        return record_of(self.folder / "instances", self.process.pid)

    def announce(self) -> None:
        """Publish the present run to each hub, at the hub's own proxy."""
        record = self.record()
        for hub, proxy in enumerate(self.proxies):
            proxy.address = _address_of(record)
            publish(self.folder / f"seen-by-{hub}", record, url=f"http://127.0.0.1:{proxy.port}/mcp")

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    @contextlib.contextmanager
    def event(self, kind: str) -> Iterator[None]:
        event = Event(kind, time.monotonic())
        self.events.append(event)
        try:
            yield
        finally:
            event.ended_s = time.monotonic()


# Faults.


def cuts(rng: random.Random) -> FaultScript:
    """Each connection ends at a random byte; before that its answers may be held back."""

    def faults(number: int) -> ProxyFaults:
        at, in_answers = rng.randint(1, UP_TO_BYTES), rng.random() < 0.6
        return ProxyFaults(
            cut_requests_at=None if in_answers else at,
            cut_answers_at=at if in_answers else None,
            resets=rng.random() < 0.5,
            stall_s=rng.choice((0.0, 0.0, 0.05, 0.3, 0.8)),
            delay_s=rng.choice((0.0, 0.0, 0.002, 0.05)),
            piece_bytes=rng.choice((None, None, None, 500)),
        )

    return faults


def cuts_and_repeats(rng: random.Random) -> FaultScript:
    """The instance may get all requests of a connection a second time: its ledger must still know them."""
    script = cuts(rng)

    def faults(number: int) -> ProxyFaults:
        return dataclasses.replace(script(number), repeats=rng.random() < 0.3)

    return faults


async def stop(project: Project, rng: random.Random) -> None:
    with project.event("stopped"):
        project.send(signal.SIGSTOP)
        try:
            await asyncio.sleep(rng.choice(STOPPED_S))
        finally:
            project.send(signal.SIGCONT)


async def freeze(project: Project, rng: random.Random) -> None:
    """Frozen by its control group, which no signal reports."""
    if project.cgroup is None:
        await stop(project, rng)
        return
    with project.event("frozen"):
        (project.cgroup / "cgroup.freeze").write_text("1")
        try:
            await asyncio.sleep(rng.choice(STOPPED_S))
        finally:
            (project.cgroup / "cgroup.freeze").write_text("0")


async def kill(project: Project, rng: random.Random) -> None:
    with project.event("killed"):
        assert project.process is not None
        project.process.kill()
        await asyncio.to_thread(project.process.wait)
        await asyncio.sleep(rng.choice((0.0, 0.5, 2.0)))
        await project.start()
        project.announce()


async def any_of_them(project: Project, rng: random.Random) -> None:
    await rng.choice((stop, freeze, kill))(project, rng)


def projects_in(folder: Path) -> list[Project]:
    small = {"BRUMMER_LEDGER_ENTRIES": "3"}
    return [
        Project(folder, "cut", cuts_and_repeats),
        Project(folder, "forgetful", cuts, small, ledger_forgets=True),
        Project(folder, "stopped", disturb=stop),
        Project(folder, "frozen", disturb=freeze),
        Project(folder, "killed", disturb=kill),
        Project(folder, "all", cuts, small, any_of_them, ledger_forgets=True),
    ]


# The run.


class Run:
    """``calls`` calls to the projects in turn, until each is answered; then `judge`."""

    def __init__(self, folder: Path, calls: int, seed: int) -> None:
        self.projects = projects_in(folder)
        self.clients: list[Client] = []
        self.problems: list[str] = []
        self.took_s = 0.0
        self._folder = folder
        self._calls = calls
        self._seed = seed
        self._rng = random.Random(seed)

    async def go(self) -> None:
        began_s = time.monotonic()
        async with self._world():
            numbers = iter(range(self._calls))
            share = -(-self._calls // len(self.projects))
            numbered = [list(itertools.islice(numbers, share)) for _ in self.projects]
            await asyncio.gather(*map(self._exercise, self.projects, numbered))
            await asyncio.gather(*map(self._answers_in_the_end, self.projects))
        self.took_s = time.monotonic() - began_s
        late = [message for client in self.clients for message in client.unasked if "id" in message]
        cancelled = sum(asked.outcome == "cancelled" for project in self.projects for asked in project.asked)
        if len(late) > cancelled:
            self.problems.append(f"{len(late)} answers to nothing, {cancelled} calls were cancelled")

    @contextlib.asynccontextmanager
    async def _world(self) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            for project in self.projects:
                stack.push_async_callback(_end, project)
                await self._set_up(project, stack)
            for hub in range(HUBS):
                seen = str(self._folder / f"seen-by-{hub}")
                environment = {**os.environ, "BRUMMER_INSTANCES_DIR": seen}
                client = Client.running(sys.executable, "-c", HUB, env=environment)
                self.clients.append(await stack.enter_async_context(client))
            yield

    async def _set_up(self, project: Project, stack: contextlib.AsyncExitStack) -> None:
        project.path.mkdir()
        (project.path / "Procfile").write_text("none: true\n")
        await project.start()
        address = _address_of(project.record())
        for _ in range(HUBS):
            script = project.script(random.Random(self._rng.random())) if project.script else no_faults
            proxy = await stack.enter_async_context(FaultProxy(*address, script))
            project.proxies.append(proxy)
        project.announce()
        if project.name in ("frozen", "all"):
            project.cgroup = _cgroup(f"brummer-{os.getpid()}-{project.name}", project)

    async def _exercise(self, project: Project, numbers: Sequence[int]) -> None:
        rng = random.Random(self._rng.random())
        coming = iter(numbers)
        workers = [
            asyncio.create_task(self._work(project, hub, coming, random.Random(rng.random())))
            for hub in range(HUBS)
            for _ in range(WORKERS)
        ]
        disturbing = asyncio.create_task(self._disturb(project, random.Random(rng.random()), workers))
        await asyncio.gather(*workers)
        await disturbing

    async def _disturb(self, project: Project, rng: random.Random, workers: list[asyncio.Task[None]]) -> None:
        while project.disturb is not None and not all(worker.done() for worker in workers):
            await asyncio.wait(workers, timeout=rng.uniform(0.2, 1.5))
            await project.disturb(project, rng)
            if project.cgroup is not None and project.process is not None:
                (project.cgroup / "cgroup.procs").write_text(str(project.process.pid))

    async def _work(self, project: Project, hub: int, numbers: Iterator[int], rng: random.Random) -> None:
        for number in numbers:
            takes_s = rng.choice((0.0, 0.0, 0.0, 0.005, 0.05, 0.5))
            asked = Asked(number, hub, takes_s, time.monotonic())
            project.asked.append(asked)
            cancels_after_s = rng.uniform(0.0, 1.0) if rng.random() < CANCELLED else None
            arguments = {"n": number, "ms": takes_s * 1000, "size": rng.choice((0, 0, 300))}
            await self._ask(project, asked, arguments, cancels_after_s)
            await asyncio.sleep(rng.uniform(0.0, 2 * PAUSE_S))  # so that faults meet more than the first calls

    async def _ask(
        self, project: Project, asked: Asked, arguments: dict[str, Any], cancels_after_s: float | None
    ) -> None:
        client = self.clients[asked.hub]
        call = {"instance": project.name, "tool": "count", "arguments": arguments}
        sent = client.send("tools/call", {"name": "instance_call", "arguments": call})
        answer = asyncio.ensure_future(client.answer(sent))
        if cancels_after_s is not None:
            await asyncio.wait([answer], timeout=cancels_after_s)
            if not answer.done():
                client.cancel(sent)
                asked.answered_s = time.monotonic()
        try:
            content = (await answer)["result"]["structuredContent"]
        except Cancelled:
            asked.outcome = "cancelled"
            return
        except TimeoutError:
            self.problems.append(f"{project.name}: call {asked.number} hangs")
            asked.outcome = "hangs"
            return
        asked.answered_s = time.monotonic()
        asked.error = content.get("error", {})
        asked.outcome = asked.error["outcome"] if asked.error else "ok"
        if not asked.error and (content["n"], content["project"]) != (asked.number, project.name):
            self.problems.append(f"{project.name}: call {asked.number} got the answer {content}")

    async def _answers_in_the_end(self, project: Project) -> None:
        """After the last fault of an instance, both hubs reach it."""
        for proxy in project.proxies:
            proxy.script = no_faults
        for client in self.clients:
            async with asyncio.timeout(STARTS_S):
                while "error" in (content := await client.call("scripts_list", instance=project.name)):
                    await asyncio.sleep(0.1)  # a refusal says when to come back; this is often enough
            assert content["scripts"]

    # The judgement.

    def judge(self) -> list[str]:
        for project in self.projects:
            begun = beginnings(project.path)
            for asked in project.asked:
                for problem in broken(project, asked, begun.pop(asked.number, [])):
                    self.problems.append(f"{project.name}, seed {self._seed}: {problem}: {asked}")
            if begun:
                self.problems.append(f"{project.name} ran what it was not asked for: {begun}")
        return self.problems

    def rows(self) -> list[tuple[object, ...]]:
        """For a table: project, calls, outcomes, faults."""
        return [
            (
                project.name,
                len(project.asked),
                ", ".join(f"{name} {times}" for name, times in Counter(a.outcome for a in project.asked).most_common()),
                ", ".join(
                    f"{name} {times}"
                    for name, times in (
                        Counter(event.kind for event in project.events)
                        + sum((proxy.counts for proxy in project.proxies), Counter[str]())
                    ).items()
                ),
            )
            for project in self.projects
        ]


def broken(project: Project, asked: Asked, begun: Sequence[float]) -> Iterator[str]:
    """The promises that the answer to one call broke. ``begun``: the times at which the call ran."""
    allowed = {"ok": (1,), "not_executed": (0,)}.get(asked.outcome, (0, 1))
    if len(begun) not in allowed:
        yield f"was {asked.outcome} and ran {len(begun)} times"
    if asked.outcome not in ("ok", "not_executed", "unknown", "cancelled"):
        yield f"has the outcome {asked.outcome!r}"
    if asked.error.get("retryable") and asked.outcome != "not_executed":
        yield "may have run and is called retryable"
    if asked.outcome in ("unknown", "not_executed") and any(began_s > asked.answered_s for began_s in begun):
        yield "began after its answer"
    if asked.outcome == "cancelled":
        for event in project.events:
            was_delivered = event.began_s < asked.answered_s < event.ended_s - DELIVERED_S
            if event.kind != "killed" and was_delivered and any(began_s > event.ended_s for began_s in begun):
                yield "was cancelled while its instance did not run, and began afterwards"
    if asked.outcome == "unknown" and not _is_excused(project, asked):
        yield "is unknown for no reason"


def _is_excused(project: Project, asked: Asked) -> bool:
    if asked.error["code"] == "call_forgotten" and project.ledger_forgets:
        return True
    for event in project.events:
        until_s = event.ended_s if event.kind == "killed" else event.ended_s + ASKABLE_S
        if asked.overlaps(event.began_s, until_s) and (event.kind == "killed" or until_s >= asked.answered_s):
            return True
    return False


def _address_of(record: dict[str, Any]) -> tuple[str, int]:
    host, port = record["url"].removeprefix("http://").removesuffix("/mcp").split(":")
    return host, int(port)


def _cgroup(name: str, project: Project) -> Path | None:
    """A control group of its own with the project's instance in it; None if we may not make one."""
    for root in CGROUPS:
        group = root / name
        with contextlib.suppress(OSError):
            if not (root / "cgroup.controllers").exists():
                continue
            group.mkdir()
            assert project.process is not None
            (group / "cgroup.procs").write_text(str(project.process.pid))
            return group
    return None


async def _end(project: Project) -> None:
    if project.process is not None:
        with contextlib.suppress(ProcessLookupError):
            project.send(signal.SIGCONT)
            project.process.terminate()
        await asyncio.to_thread(project.process.wait)
    if project.cgroup is not None:
        for _ in range(100):  # the group is empty once the kernel has taken the process away
            with contextlib.suppress(OSError):
                project.cgroup.rmdir()
                return
            await asyncio.sleep(0.05)


async def exactly_once(folder: Path, calls: int, seed: int) -> Run:
    """Make so many calls and judge them; the returned run has the problems."""
    run = Run(folder, calls, seed)
    await run.go()
    run.judge()
    return run
