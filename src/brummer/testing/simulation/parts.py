"""The programs of a simulation, each with the real code above the system: an instance, a foreign server, a hub."""

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from brummer.contract.tools import READ_ONLY
from brummer.core.errors import BrummerError
from brummer.core.lost_calls import LOST_CALL_GRACE_S
from brummer.core.memory import Memory
from brummer.core.supervisor import Supervisor
from brummer.discovery.record import Record
from brummer.discovery.registrar import Registrar, last_port
from brummer.hub.black_box import BlackBoxes
from brummer.hub.service import Hub, hub_on
from brummer.instance.keyed_calls import KeyedCalls
from brummer.instance.ledger import Ledger
from brummer.link.state import LinkState, Transition
from brummer.network.monitor import Sources
from brummer.network.snapshot import Snapshot
from brummer.settings.limits import Limits
from brummer.settings.servers import Server
from brummer.settings.table import Settings
from brummer.testing.memory_sockets import MemoryListener, MemorySocket
from brummer.testing.process_table import MemoryDescriptors, Pipe, Process, pipe
from brummer.testing.simulation.trace import Trace
from brummer.wire.http.server import Exchange, HttpRequest, HttpServer
from brummer.wire.mcp import eras, identity
from brummer.wire.mcp.server import McpServer, ToolCall
from brummer.wire.mcp.stdio import StdioServer
from brummer.wire.mcp.streamable_http import StreamableHttp
from brummer.wire.mcp.tools import Tool, ToolTable

DIRECTORY: Final = Path("/run/brummer")
TOKEN: Final = "t" * 43
HTTP_TOKEN: Final = "h" * 43
HTTP_PORT: Final = 7700
FOREIGN_HOST: Final = "203.0.113.7"
FOREIGN_PORT: Final = 9000
PROGRESS_S: Final = 1.0
RESTART_S: Final = 1.0
"""How often a long job reports progress."""


class Job(msgspec.Struct):
    """The content of a call, in one string argument: number, duration, and size of the answer."""

    number: int
    takes_s: float
    size_bytes: int

    def __str__(self) -> str:
        return f"job-{self.number}-{round(self.takes_s * 1000)}-{self.size_bytes}"

    @classmethod
    def read(cls, text: str) -> "Job":
        _, number, takes_ms, size = text.split("-")
        return cls(int(number), int(takes_ms) / 1000, int(size))


class Ran(msgspec.Struct):
    """One execution of a job. ``ended``: how it ended, if it is over."""

    number: int
    where: str
    generation: str
    started_s: float
    progress_s: float = 0.0
    """When it last reported progress."""
    ended: str = ""


class Executions:
    """All executions in one simulation, in every program."""

    def __init__(self, trace: Trace, now_s: Callable[[], float]) -> None:
        self._trace = trace
        self._now_s = now_s
        self.runs: dict[int, list[Ran]] = {}

    async def do(self, job: Job, where: str, generation: str, process: Process, call: ToolCall | None) -> object:
        process.check("run")  # the code of a killed process has no effect
        ran = Ran(job.number, where, generation, self._now_s())
        self.runs.setdefault(job.number, []).append(ran)
        self._trace(where, f"runs job {job.number}")
        try:
            left_s = job.takes_s
            while left_s > PROGRESS_S:
                await asyncio.sleep(PROGRESS_S)
                left_s -= PROGRESS_S
                if call is not None:
                    ran.progress_s = self._now_s()
                    call.report_progress(job.takes_s - left_s, job.takes_s)
            await asyncio.sleep(left_s)
        except asyncio.CancelledError:
            ran.ended = "killed" if process.is_dead else "cancelled"
            raise
        ran.ended = "done"
        return {"by": where, "number": job.number, "filler": "x" * job.size_bytes}


class _Named(msgspec.Struct):
    name: str = ""
    process: str = ""


class SimulatedInstance:
    """One project's instance, over all its runs."""

    def __init__(self, name: str, work: Executions, trace: Trace, limits: Limits) -> None:
        self.id = f"{name}-00000000"
        self._work = work
        self._trace = trace
        self._limits = limits
        self._generations = itertools.count(1)
        self.process: Process | None = None
        self.generation = ""
        self.ended: list[tuple[str, float]] = []
        """(generation, time of the end) of each run that is over."""
        self.left_s: dict[str, float] = {}
        """When each generation withdrew or died: before that, no hub may report it gone."""
        self.forgot: Counter[str] = Counter()
        """Results that the ledger dropped, by generation."""
        self._end: asyncio.Event | None = None
        self.ledger: Ledger | None = None
        self.calls: KeyedCalls | None = None
        self.problem = ""
        self.left: list[str] = []

    def start(self, process: Process) -> None:
        self.process = process
        self.generation = f"{self.id[:8]}-run{next(self._generations)}"
        self._trace(self.id, f"starts as {self.generation}, pid {process.pid}")
        process.start(self._life(process, self.generation))

    async def _life(self, process: Process, generation: str) -> None:
        try:
            await self._serve(process, generation)
        except (BrummerError, OSError, RuntimeError) as error:
            self.problem = f"{type(error).__name__}"
            self._trace(self.id, f"{generation} could not serve: {self.problem}")
        if not process.is_dead:
            self.over(process, generation)
            self.left += [f"{generation} left {what}" for what in process.exit()]

    def over(self, process: Process, generation: str) -> None:
        if self.process is process:
            self.process = None
            self.left_s.setdefault(generation, process.loop.time())
            self.ended.append((generation, process.loop.time()))

    async def _serve(self, process: Process, generation: str) -> None:
        system = process.system
        self._end = ended = asyncio.Event()
        registrar, supervisor = Registrar(DIRECTORY, self.id, system), Supervisor()
        server: HttpServer | None = None
        calls: KeyedCalls | None = None
        try:
            await registrar.acquire()
            listener = _listen(process, last_port(DIRECTORY, self.id, system.files))
            record = _record(self.id, generation, listener.address[1], process)
            self.calls = calls = self._keyed_calls(process, generation)
            mcp = McpServer(calls, name="brummer", version="0", instructions="")
            front = StreamableHttp(mcp, token=TOKEN, routes={identity.PATH: self._prove(process, generation)})
            server = HttpServer(
                front, body_limit_bytes=self._limits.request_bytes, admit=front.admit, hung_up=MemorySocket.has_hung_up
            )
            await server.start([listener])  # type: ignore[list-item]
            await registrar.publish(record)
            supervisor.start("keep published", registrar.keep_published)
            await ended.wait()
        finally:
            await supervisor.close()
            self.left_s.setdefault(generation, process.loop.time())
            registrar.unpublish()
            if server is not None:
                await server.close()
            if calls is not None:
                await calls.close()
            registrar.withdraw()

    def _prove(self, process: Process, generation: str) -> Callable[[HttpRequest], tuple[int, bytes]]:
        ledger = self.ledger
        assert ledger is not None  # noqa: S101 — made before

        def prove(request: HttpRequest) -> tuple[int, bytes]:
            position, clock_s = ledger.position, process.system.clock.elapsed()
            return identity.answer(
                TOKEN, self.id, generation, request.target, ledger_position=position, clock_s=clock_s
            )

        return prove

    def _keyed_calls(self, process: Process, generation: str) -> KeyedCalls:
        limits = self._limits
        self.ledger = ledger = CountedLedger(limits, lambda: self.forgot.update([generation]))
        shed = lambda: ledger.shed(process.loop.time(), older_than_s=LOST_CALL_GRACE_S)  # noqa: E731
        memory = Memory(limits.memory_soft_bytes, limits.memory_hard_bytes, process.system.memory.resident_bytes, shed)
        return KeyedCalls(
            self._tools(process, generation), READ_ONLY, ledger, memory.admit, process.system.clock.elapsed
        )

    def _tools(self, process: Process, generation: str) -> ToolTable:
        async def do(arguments: _Named, call: ToolCall) -> object:
            job = Job.read(arguments.name or arguments.process)
            return await self._work.do(job, self.id, generation, process, call)

        return ToolTable([Tool({"name": name}, _Named, do) for name in CALLED])

    def end(self) -> None:
        """As by SIGTERM."""
        if self._end is not None:
            self._end.set()


CALLED: Final = ("scripts_run", "scripts_restart", "scripts_stop", "scripts_status", "logs_tail", "wait_for")


class CountedLedger(Ledger):
    """A `Ledger` that reports the results that it drops."""

    def __init__(self, limits: Limits, on_forgotten: Callable[[], object]) -> None:
        super().__init__(
            max_entries=limits.ledger_entries, max_bytes=limits.ledger_bytes, max_age_s=limits.ledger_age_s
        )
        self._on_forgotten = on_forgotten

    def _forget(self, now_s: float, max_age_s: float | None = None) -> None:
        before = len(self)
        super()._forget(now_s, max_age_s)
        for _ in range(before - len(self)):
            self._on_forgotten()


def _listen(process: Process, port: int | None) -> MemoryListener:
    network = process.machine.network
    with contextlib.suppress(OSError):
        if port is not None:
            return network.listen(process, "127.0.0.1", port)
    return network.listen(process, "127.0.0.1")


def _record(instance_id: str, generation: str, port: int, process: Process) -> Record:
    own = process.identity
    return Record(
        instance_id=instance_id,
        generation=generation,
        name=instance_id.partition("-")[0],
        directory=f"/projects/{instance_id}",
        url=f"http://127.0.0.1:{port}/mcp",
        pid=own.pid,
        start_token=own.start_token,
        boot_id=own.boot_id,
        pid_namespace=own.pid_namespace,
        started_at="2026-11-24T12:00:00Z",
        token=TOKEN,
        protocols=eras.SUPPORTED,
    )


class Foreign:
    """A foreign server: no record, no proof, no ledger."""

    def __init__(self, work: Executions, trace: Trace) -> None:
        self.id = "docs"
        self._work = work
        self._trace = trace
        self._runs = itertools.count(1)
        self.process: Process | None = None
        self.ended: list[tuple[str, float]] = []
        self.generation = ""

    def start(self, process: Process) -> None:
        self.process = process
        self.generation = f"docs-run{next(self._runs)}"
        self._trace(self.id, f"starts as {self.generation}")
        process.start(self._serve(process, self.generation))

    def over(self, process: Process, generation: str) -> None:
        if self.process is process:
            self.process = None
            self.ended.append((generation, process.loop.time()))

    async def _serve(self, process: Process, generation: str) -> None:
        async def do(arguments: _Named, call: ToolCall) -> object:
            return await self._work.do(Job.read(arguments.name), self.id, generation, process, call)

        hints = {"count": {}, "peek": {"readOnlyHint": True}}
        schema = {"type": "object", "properties": {"name": {"type": "string"}}}
        tools = [
            Tool({"name": name, "inputSchema": schema, "annotations": hint}, _Named, do) for name, hint in hints.items()
        ]
        mcp = McpServer(ToolTable(tools), name="docs", version="1", instructions="")
        front = StreamableHttp(mcp, token="f" * 43, extra_hosts=frozenset({FOREIGN_HOST}))
        listener: Any = process.machine.network.listen(process, FOREIGN_HOST, FOREIGN_PORT)
        await HttpServer(front, body_limit_bytes=1 << 20, admit=front.admit, hung_up=MemorySocket.has_hung_up).start(
            [listener]
        )
        await asyncio.Event().wait()


class Stranger:
    """A program that has taken the port of an instance. It must never receive a call."""

    def __init__(self, name: str, trace: Trace, manner: str) -> None:
        self.name = name
        self._trace = trace
        self._manner = manner
        self.calls: list[bytes] = []

    async def serve(self, process: Process, port: int) -> None:
        async def handle(exchange: Exchange) -> None:
            if exchange.request.method == b"POST":
                self.calls.append(exchange.request.body)
            if self._manner == "silent":
                await asyncio.Event().wait()
            exchange.respond(
                404 if self._manner == "refuses" else 200, b"<html></html>", [(b"content-type", b"text/html")]
            )

        server = HttpServer(handle, body_limit_bytes=1 << 20, hung_up=MemorySocket.has_hung_up)
        try:
            await server.start([process.machine.network.listen(process, "127.0.0.1", port)])  # type: ignore[list-item]
        except OSError:
            return
        await asyncio.Event().wait()


class _NoBoxes(BlackBoxes):
    """There are no black boxes; the look-up takes a thread, as in the real class."""

    def __init__(self) -> None:
        super().__init__(lambda: DIRECTORY)

    def _box(self, instance_id: str) -> None:  # noqa: ARG002
        return None

    def _called(self, name: str) -> list[Any]:  # noqa: ARG002
        return []


class SimulatedSurroundings:
    """The sources of a hub's monitor."""

    def __init__(self) -> None:
        self.network = Snapshot(("192.168.1.5", None), carrier=True, loopback=True)
        self._clock_hints: dict[int, tuple[Callable[[], None], Any]] = {}
        self._network_hints: dict[int, tuple[Callable[[], None], Any]] = {}
        self._numbers = itertools.count(1)

    def sources(self, process: Process) -> Sources:
        def snapshot() -> Snapshot:
            process.check("network")
            return self.network

        return Sources(process.system.clock, snapshot, self._watch_clocks, self._watch_network)

    def _watch_clocks(self, loop: Any, on_hint: Callable[[], None], *_: Any) -> Any:
        return self._watch(self._clock_hints, loop, on_hint)

    def _watch_network(self, loop: Any, on_hint: Callable[[], None], *_: Any) -> Any:
        return self._watch(self._network_hints, loop, on_hint)

    def _watch(self, hints: dict[int, Any], loop: Any, on_hint: Callable[[], None]) -> "_Watch":
        import contextvars  # noqa: PLC0415

        number = next(self._numbers)
        context = contextvars.copy_context()
        hints[number] = lambda: loop.call_soon(on_hint, context=context)
        return _Watch(lambda: hints.pop(number, None))

    def hint_of_clocks(self) -> None:
        for hint in list(self._clock_hints.values()):
            hint()  # type: ignore[operator]

    def hint_of_network(self) -> None:
        for hint in list(self._network_hints.values()):
            hint()  # type: ignore[operator]


class _Watch:
    def __init__(self, close: Callable[[], object]) -> None:
        self.close = close


class HubRun:
    """One run of a hub, started by its client."""

    def __init__(
        self, name: str, process: Process, limits: Limits, surroundings: SimulatedSurroundings, trace: Trace
    ) -> None:
        self.name = name
        self.process = process
        self._trace = trace
        self._limits = limits
        self._surroundings = surroundings
        self.hub: Hub | None = None
        self.started_s = process.loop.time()
        self.ended: Counter[str] = Counter()
        self.keys: Counter[str] = Counter()
        self.gone: list[tuple[str, str, float]] = []
        """(instance, generation, when) of each run whose end the hub took for proven."""
        self.counted: Counter[tuple[str, str]] = Counter()
        """Counts by tool and instance."""
        self.is_over = False
        self.result: str | None = None

    async def serve(self, stdin: Pipe, stdout: Pipe, http_port: int) -> None:
        """Serve both fronts, until stdin ends."""
        process = self.process
        settings = Settings(
            servers=(
                Server("docs", f"http://{FOREIGN_HOST}:{FOREIGN_PORT}/mcp", {"authorization": f"Bearer {'f' * 43}"}),
            ),
            limits=self._limits,
        )
        environ = {"BRUMMER_INSTANCES_DIR": str(DIRECTORY)}
        sources = self._surroundings.sources(process)
        async with hub_on(
            process.system, settings, environ, Path("/projects"), sources=sources, black_boxes=_NoBoxes()
        ) as hub:
            self.hub = hub
            for hook in (hub.instances.transitions, hub.instances.calls_ended):
                hook.subscribe(lambda _: process.check("listener"))
            hub.instances.transitions.subscribe(self._note_transition)
            hub.instances.calls_ended.subscribe(self._count)
            front = StdioServer(
                hub.server,
                stdin=stdin.fd,
                stdout=stdout.fd,
                limit_bytes=self._limits.request_bytes,
                descriptors=MemoryDescriptors(process),
            )
            handler = StreamableHttp(hub.server, token=HTTP_TOKEN)
            http = HttpServer(
                handler,
                body_limit_bytes=self._limits.request_bytes,
                admit=handler.admit,
                hung_up=MemorySocket.has_hung_up,
            )
            await http.start([await self._listen(http_port)])
            await front.serve()
            await http.close()
        self.is_over = True

    async def _listen(self, port: int) -> Any:
        """As a service manager does: a hub over HTTP ends if it can't listen, and is started again."""
        while True:
            with contextlib.suppress(OSError):
                return self.process.machine.network.listen(self.process, "127.0.0.1", port)
            await asyncio.sleep(RESTART_S)

    def _note_transition(self, moved: Transition) -> None:
        what = f"{moved.instance_id}: {moved.before.value} -> {moved.after.value} ({moved.event.value})"
        self._trace(self.name, what)
        if moved.after is LinkState.GONE and self.hub is not None:
            link = next(entry.link for entry in self.hub.instances if entry.id == moved.instance_id)
            self.gone.append((moved.instance_id, link.target.generation, moved.at_s))

    def _count(self, call: Any) -> None:
        if not self.process.is_dead:
            self.ended[call.ending] += 1
            self.keys[call.key] += 1
            self.counted[call.tool, call.instance_id] += 1
            self._trace(self.name, f"call of {call.tool} to {call.instance_id} ended {call.ending} {call.code}")


def pipes(client: Process, hub: Process) -> tuple[Pipe, Pipe, Pipe, Pipe]:
    """(the client's end to write to, the hub's stdin, the hub's stdout, the client's end to read from)."""
    stdin, to_hub = pipe(hub, client)
    from_hub, stdout = pipe(client, hub)
    return to_hub, stdin, stdout, from_hub
