"""One simulated machine with its programs, and the faults that can be injected."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Coroutine
from random import Random
from typing import Any, Final

import msgspec

from brummer.contract.tools import CALL_ANSWER_S
from brummer.settings.limits import DEFAULTS, Limits
from brummer.testing.memory_sockets import NO_FAULTS, Connection, Faults, SocketHolder, failure
from brummer.testing.process_table import Machine, Process
from brummer.testing.simulated_loop import SimulatedLoop
from brummer.testing.simulation.clients import Asked, HttpClient, SimulatedClient, StdioClient
from brummer.testing.simulation.parts import (
    DIRECTORY,
    FOREIGN_HOST,
    HTTP_PORT,
    Executions,
    Foreign,
    Job,
    SimulatedInstance,
    SimulatedSurroundings,
    Stranger,
)
from brummer.testing.simulation.trace import Trace

INSTANCES: Final = 3
MIB: Final = 1 << 20
SHARED: Final = 0.1
"""Schedules in which other machines may write in the instances directory."""
PROGRESS: Final = 0.2
"""Calls that want to hear of their progress."""
WAIT_S: Final = 10.0
"""``timeout_s`` and ``wait_s`` of calls that wait."""


class Active(msgspec.Struct, eq=False):
    """A fault, active or ended. ``target``: the affected program, empty for all."""

    kind: str
    target: str
    began_s: float
    ended_s: float | None = None


class Defect(Exception):
    """An exception that no code of Brummer expects."""


class SystemFault(msgspec.Struct, eq=False):
    """While it lasts, these system calls of this process fail with error ``number``, each with this likelihood.

    An instance that starts meanwhile has the same fault. A hub has not: its client would only start it again.
    """

    process: Process
    calls: frozenset[str]
    number: int
    likelihood: float
    is_inherited: bool = False

    def hits(self, process: Process) -> bool:
        return process is self.process or (self.is_inherited and process.name == self.process.name)


class World:
    """Made in its loop. ``rng`` makes all random choices."""

    def __init__(self, loop: SimulatedLoop, seed: int) -> None:
        self.loop = loop
        self.rng = Random(seed)  # noqa: S311 — one seed is one run
        self.trace = Trace(loop.time)
        self.machine = Machine(loop, self.rng)
        self.machine.fault = self._fault
        self.machine.disk.has_events = self.rng.random() >= SHARED
        self.work = Executions(self.trace, loop.time)
        self.limits = _limits(self.rng)
        self.surroundings = SimulatedSurroundings()
        self.instances = [
            SimulatedInstance(f"project{number}", self.work, self.trace, self.limits) for number in range(INSTANCES)
        ]
        self.foreign = Foreign(self.work, self.trace)
        self.strangers: list[Stranger] = []
        arguments = self.machine, self.limits, self.surroundings, self.trace
        self.clients: list[SimulatedClient] = [
            StdioClient("ann", *arguments, HTTP_PORT),
            HttpClient("bob", *arguments, HTTP_PORT + 1),
        ]
        self.faults: list[Active] = []
        self.happened: Counter[str] = Counter()
        """How often each kind of fault really occurred."""
        self.system_faults: list[SystemFault] = []
        self.cut_rate = 0.0
        self.dropped: set[int] = set()
        self.numbers = itertools.count(1)
        self.not_run: list[tuple[str, float, float]] = []
        """(hub or "all", from, to): when a hub, or everything, was not run."""
        self.stalled: list[tuple[str, float, float]] = []
        """(process, from, to): when the requests on a connection that it had opened did not arrive."""
        self._keeper = self.machine.spawn("keeper")
        network = self.machine.network
        network.plan = self._plan
        network.on_fault = self._note_of_network
        network.is_up = self._is_up
        network.drops = lambda address: address[1] in self.dropped

    # Life.

    async def start(self) -> None:
        self._keeper.files.mkdir(DIRECTORY.parent)
        self._keeper.files.mkdir(DIRECTORY, 0o700)
        for instance in self.instances:
            instance.start(self.machine.spawn(instance.id))
        self.foreign.start(self.machine.spawn("docs"))
        for client in self.clients:
            client.start_hub()

    async def kill(self, program: SimulatedInstance | Foreign) -> None:
        process, generation = program.process, program.generation
        if process is None:
            return
        self.trace(program.id, "is killed")
        program.over(process, generation)
        await process.kill()

    async def kill_hub(self, client: SimulatedClient) -> None:
        hub = client.hub
        if hub is None or hub.process.is_dead:
            return
        self.trace(hub.name, "is killed")
        client.hub = None
        await hub.process.kill()
        client.lose_hub()

    # What fails.

    def begin(self, kind: str, target: str = "") -> Active:
        fault = Active(kind, target, self.loop.time())
        self.faults.append(fault)
        self.happened[kind.partition(" of ")[0]] += 1
        self.trace("fault", f"{kind} {target}".rstrip())
        return fault

    def end(self, fault: Active) -> None:
        fault.ended_s = self.loop.time()
        self.trace("fault", f"end of {fault.kind} {fault.target}".rstrip())

    def _fault(self, process: Process, call: str) -> None:
        for fault in self.system_faults:
            if call in fault.calls and fault.hits(process) and self.rng.random() < fault.likelihood:
                self.happened[f"call: {call}"] += 1
                if call == "thread":
                    raise RuntimeError("can't start new thread")
                if fault.number < 0:
                    raise Defect(call)
                raise failure(fault.number)

    def _note_of_network(self, connection: Connection, what: str) -> None:
        self.happened[f"bytes: {what}"] += 1
        if what == "stall":
            now_s = self.loop.time()
            self.stalled.append((getattr(connection.opener, "name", ""), now_s, now_s + connection.faults.stall_s))
        self.trace("network", f"connection {connection.number}: {what}")

    def _is_up(self, host: str) -> bool:
        if host == FOREIGN_HOST:
            return self.surroundings.network.is_online
        return self.surroundings.network.loopback

    def _plan(self, holder: SocketHolder, _: tuple[str, int]) -> Faults:
        rng = self.rng
        if rng.random() >= self.cut_rate:
            return NO_FAULTS
        at = rng.choice((rng.randrange(1, 600), rng.randrange(1, 6000)))
        kind = rng.choice(("requests", "answers", "requests", "answers", "silent", "stall", "delay"))
        self.begin(f"connection {kind}", getattr(holder, "name", ""))
        match kind:
            case "requests":
                return Faults(cut_requests_at=at, resets=rng.random() < 0.5)  # noqa: PLR2004
            case "answers":
                return Faults(cut_answers_at=at, resets=rng.random() < 0.5)  # noqa: PLR2004
            case "silent":
                return Faults(silent_at=at)
            case "stall":
                return Faults(stalls_at=at, stall_s=rng.choice((0.5, 3.0, 8.0)))
        return Faults(delay_s=rng.choice((0.005, 0.1, 0.6)))

    def end_connection_faults(self) -> None:
        """Connections lose their planned faults; silent ones are closed."""
        for connection in self.machine.network.connections.values():
            _heal(connection)

    # State.

    def target(self, name: str) -> SimulatedInstance | Foreign:
        return self.foreign if name == self.foreign.id else next(each for each in self.instances if each.id == name)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task of the simulation itself."""
        return self.loop.create_task(work)


def _heal(connection: Connection) -> None:
    if connection.is_over:
        return
    connection.faults = NO_FAULTS
    for flow in (connection.requests, connection.answers):
        flow.cut_at = flow.stalls_at = None
    if connection.is_silent:
        connection.give_up()


def _limits(rng: Random) -> Limits:
    """The default limits, or tight ones, so that calls reach them."""
    if rng.random() < 0.5:  # noqa: PLR2004
        return DEFAULTS
    return msgspec.structs.replace(
        DEFAULTS,
        connections=rng.choice((4, 6, 12, 64)),
        in_flight=rng.choice((4, 16, 256)),
        in_flight_per_instance=rng.choice((1, 2, 8)),
        waiting_per_instance=rng.choice((1, 4, 16)),
        queued_per_instance=rng.choice((0, 2, 8, 256)),
        parked=rng.choice((0, 1, 4, 128)),
        ledger_entries=rng.choice((1, 2, 10, 1000)),
        ledger_bytes=rng.choice((64_000, 32 * MIB)),
        ledger_age_s=rng.choice((1.0, 30.0, 600.0)),
    )


def new_call(
    world: World, client: SimulatedClient, tool: str, target: str, job: Job
) -> tuple[Asked, dict[str, Any]] | None:
    """The call that the client will make, and its arguments; None while it has no hub."""
    hub = client.hub
    if hub is None:
        return None
    program = world.target(target)
    arguments: dict[str, Any] = {"instance": target}
    deadline_s, mutating, sent_tool = CALL_ANSWER_S, False, tool
    match tool:
        case "scripts_run" | "scripts_restart":
            arguments |= {"name": str(job), "timeout_s": WAIT_S}
            deadline_s, mutating = CALL_ANSWER_S + WAIT_S, True
        case "scripts_stop":
            arguments |= {"name": str(job)}
            deadline_s = 60.0
        case "wait_for":
            arguments |= {"process": str(job), "timeout_s": WAIT_S}
            deadline_s = CALL_ANSWER_S + WAIT_S
        case "logs_tail":
            waits = {"wait_s": WAIT_S} if job.takes_s else {}
            arguments |= {"process": str(job), **waits}
            deadline_s = 40.0 + sum(waits.values())
        case "scripts_status":
            arguments |= {"name": str(job)}
            deadline_s = 40.0
        case "count" | "peek":
            arguments |= {"tool": tool, "arguments": {"name": str(job)}}
            sent_tool, mutating, deadline_s = "instance_call", tool == "count", 130.0
    now_s = world.loop.time()
    progress = world.rng.random() < PROGRESS
    asked = Asked(
        job.number, client.name, sent_tool, tool, target, mutating, deadline_s, now_s, hub, program.generation, progress
    )
    return asked, arguments
