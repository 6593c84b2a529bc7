"""A hub's inside and some instances in virtual time: the machine sleeps, instances hang, die and return, calls go.

The instances are the real thing but for their processes: server, identity, ledger. What a tool did is counted.
"""

import asyncio
import itertools
import socket
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from brummer.core.errors import BrummerError
from brummer.core.supervisor import Supervisor
from brummer.discovery.record import Record
from brummer.host.real_system import REAL
from brummer.hub.recovery import Recovery
from brummer.instance.keyed_calls import KeyedCalls
from brummer.link.call import Call
from brummer.link.link import Link
from brummer.link.state import LinkState
from brummer.network.monitor import Monitor, Sources
from brummer.network.snapshot import Snapshot
from brummer.peers.instance_entry import InstanceEntry
from brummer.peers.instances import Instances
from brummer.testing.virtual_time import VirtualClock, VirtualLoop
from brummer.wire.http.dialling import Address, SystemSockets
from brummer.wire.http.server import Exchange, HttpRequest, HttpServer
from brummer.wire.mcp import identity
from brummer.wire.mcp.server import McpServer, ToolCall
from brummer.wire.mcp.streamable_http import StreamableHttp
from brummer.wire.mcp.tools import Tool, ToolTable

TOKEN = "t" * 43
LO = Snapshot(loopback=True)
DOWN = Snapshot(loopback=False)
DEADLINE_S = 30.0
_generations = itertools.count(1)


def in_virtual_time(main: Coroutine[Any, Any, Any]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main)


class _Count(msgspec.Struct):
    number: int
    takes_s: float


class VirtualInstance:
    """One project's instance, over all its runs. ``ran`` counts what each call's number did."""

    def __init__(self, name: str) -> None:
        self.id = f"{name}-00000000"
        self.ran: Counter[int] = Counter()
        self.answers = asyncio.Event()
        self.answers.set()
        self.record: Record | None = None
        self._server: HttpServer | None = None
        self._calls: KeyedCalls | None = None

    async def start(self) -> Record:
        """A new run, on a port of its own."""
        listener = socket.create_server(("127.0.0.1", 0))
        generation = f"generation-{next(_generations)}"
        port = listener.getsockname()[1]
        definition = {"name": "count", "description": "", "inputSchema": {"type": "object"}}
        self._calls = KeyedCalls(ToolTable([Tool(definition, _Count, self._count)]), frozenset())
        mcp = McpServer(self._calls, name="virtual", version="0", instructions="")
        front = StreamableHttp(mcp, token=TOKEN, routes={identity.PATH: self._prove(generation)})

        async def handle(exchange: Exchange) -> None:
            await self.answers.wait()
            await front(exchange)

        self._server = HttpServer(handle, body_limit_bytes=1 << 20, admit=front.admit)
        await self._server.start([listener])
        self.record = _record(self.id, generation, port)
        return self.record

    async def die(self) -> Record:
        """As by kill -9: nothing more is said on any connection."""
        assert self._server
        assert self._calls
        assert self.record
        died, self.record = self.record, None
        await self._server.close()
        await self._calls.close()
        self.answers.set()
        return died

    def _prove(self, generation: str) -> Any:
        def prove(request: HttpRequest) -> tuple[int, bytes]:
            return identity.answer(TOKEN, self.id, generation, request.target)

        return prove

    async def _count(self, arguments: _Count, _: ToolCall) -> object:
        self.ran[arguments.number] += 1
        await asyncio.sleep(arguments.takes_s)
        return {"by": self.id, "number": arguments.number}


def _record(instance_id: str, generation: str, port: int) -> Record:
    return Record(
        instance_id=instance_id,
        generation=generation,
        name=instance_id,
        directory=f"/{instance_id}",
        url=f"http://127.0.0.1:{port}/mcp",
        pid=2**22 + 1,  # above the kernel's largest: nobody's
        start_token=1,
        boot_id="boot",
        pid_namespace=1,
        started_at="2026-11-24T12:00:00Z",
        token=TOKEN,
        protocols=(),
    )


class FarSockets:
    """Every name leads to this machine, so a server can be on another machine by its name alone. Counts attempts."""

    def __init__(self) -> None:
        self.connecting = self.most_connecting = 0

    @staticmethod
    async def addresses(_: str, port: int) -> list[Address]:
        return [(socket.AF_INET, ("127.0.0.1", port))]

    async def connect(self, family: int, address: tuple[str, int], descriptors: int) -> socket.socket:
        self.connecting += 1
        self.most_connecting = max(self.most_connecting, self.connecting)
        try:
            await asyncio.sleep(0.001)
            return await SystemSockets.connect(family, address, descriptors)
        finally:
            self.connecting -= 1


class World:
    """One machine. Made by `world`."""

    def __init__(self, count: int, rng: Random) -> None:
        self.loop = asyncio.get_running_loop()
        self.rng = rng
        self.clock = VirtualClock(self.loop)
        self.network = LO
        self.supervisor = Supervisor()
        self.sockets = FarSockets()
        system = msgspec.structs.replace(REAL, sockets=self.sockets)
        self.instances = Instances(Path("/"), supervisor=self.supervisor, system=system)
        self.projects = [VirtualInstance(f"project{number}") for number in range(count)]
        self.recovery = Recovery(self.instances, self._rescan, self.clock, rng=rng)
        self.scans = 0
        self.rescan_error: Exception | None = None
        self.paused_s = 0.0
        sources = Sources(self.clock, lambda: self.network, self._watch_clocks, self._watch_network)
        self.monitor = Monitor(self.recovery.on_event, sources=sources)
        self._clock_hint: Any = None
        self._network_hint: Any = None

    async def _rescan(self) -> None:
        if self.rescan_error is not None:
            raise self.rescan_error
        self.scans += 1

    def _watch_clocks(self, _: object, on_hint: Any, __: object) -> Any:
        self._clock_hint = on_hint
        return _Open()

    def _watch_network(self, _: object, on_hint: Any, __: object) -> Any:
        self._network_hint = on_hint
        return _Open()

    # What happens.

    def sleep(self, seconds: float) -> None:
        """The whole machine: nobody's timers move."""
        self.clock.asleep_s += seconds
        self._clock_hint()

    def pause(self, seconds: float) -> None:
        """Nobody here is run; every timer that falls into it is late."""
        assert isinstance(self.loop, VirtualLoop)
        self.paused_s += seconds
        self.loop.stand_still(seconds)

    def change_network(self, network: Snapshot) -> None:
        self.network = network
        self._network_hint()

    async def start(self, project: VirtualInstance) -> None:
        self.instances.appeared(await project.start())

    async def kill(self, project: VirtualInstance, noticed_after_s: float) -> None:
        died = await project.die()
        await asyncio.sleep(noticed_after_s)
        self.instances.gone(died, "its process died")

    async def call(self, project: VirtualInstance, number: int, takes_s: float) -> dict[str, Any]:
        """``{"answer": …}`` or ``{"error": code, "outcome": …}``, and how long it took in awake time."""
        known = self.known(project)
        params = {"name": "count", "arguments": {"number": number, "takes_s": takes_s}}
        call = Call("tools/call", params, repeatable=False, deadline_s=DEADLINE_S)
        began_s = self.loop.time()
        try:
            result = msgspec.json.decode(await known.caller.call(call))
        except BrummerError as error:
            said = {"error": error.code, "outcome": error.outcome}
        else:
            content = result["structuredContent"]
            failure = content.get("error")
            said = {"error": failure["code"], "outcome": failure["outcome"]} if failure else {"answer": content}
        return {**said, "took_s": self.loop.time() - began_s}

    # How it stands.

    def known(self, project: VirtualInstance) -> InstanceEntry:
        return next(known for known in self.instances if known.id == project.id)

    def links(self) -> list[Link]:
        return [entry.robust for entry in self.instances if entry.robust is not None]

    async def all_ready(self, within_s: float) -> None:
        async with asyncio.timeout(within_s):
            while any(link.state is not LinkState.READY for link in self.links()):
                await asyncio.sleep(0.01)


class _Open:
    def close(self) -> None:
        pass


@asynccontextmanager
async def world(count: int, seed: int) -> AsyncIterator[World]:
    """With all instances up and every link ready."""
    made = World(count, Random(seed))
    made.monitor.start(made.supervisor)
    try:
        for project in made.projects:
            await made.start(project)
        await made.all_ready(5)
        yield made
    finally:
        await made.recovery.close()
        await made.instances.close()
        await made.supervisor.close()
        for project in made.projects:
            if project.record is not None:
                await project.die()
        await asyncio.sleep(1)  # what was being accepted just then is closed, too
