"""Random calls of two hubs to an instance that is slow, stopped, cut off, forgetful and restarted, in virtual time.

The answer of a call must be true: ``ok``, it ran once; ``not_executed``, never; ``unknown``, at most once, and only for
a reason. No call begins after its answer.
"""

import asyncio
import socket
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

import msgspec
import pytest

from brummer.calls.caller import Caller
from brummer.core.errors import BrummerError
from brummer.instance.keyed_calls import KeyedCalls
from brummer.instance.ledger import Ledger
from brummer.link.call import Call
from brummer.link.link import Link
from brummer.link.state import LinkState
from brummer.link.target import Target
from brummer.pool.pool import Pool
from brummer.settings.limits import DEFAULTS, Limits
from brummer.wire.http.server import Exchange, HttpRequest, HttpServer
from brummer.wire.mcp import identity
from brummer.wire.mcp.server import McpServer, ToolCall
from brummer.wire.mcp.streamable_http import StreamableHttp
from brummer.wire.mcp.tools import Tool, ToolTable

from .fakes import seeded
from .virtual_world import TOKEN, in_virtual_time

LIMITS = Limits(in_flight_per_instance=4, waiting_per_instance=4)
DEADLINES_S = (0.5, 3.0, 20.0)
SETTLE_S = 200.0


class _Run(msgspec.Struct):
    number: int
    takes_s: float


@dataclass
class Faults:
    """The state of the instance; the test changes it during the run."""

    ways_s: tuple[float, ...] = (0.0,)
    """The longest time until a request is read."""
    lost: float = 0.0
    """The share of answers that get lost with their connection."""
    held: bool = False
    """Answers are held back while their connection lasts."""
    tells_hang_ups: bool = True
    """False: behind a proxy, which keeps connections open that its client has closed."""


class Instance:
    """The instance of one project, over all its runs. ``began_s`` has every start of each call's work."""

    def __init__(self, rng: Random, entries: int) -> None:
        self.rng = rng
        self.entries = entries
        self.faults = Faults()
        self.began_s: defaultdict[int, list[float]] = defaultdict(list)
        self.loop = asyncio.get_running_loop()
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.runs = 0
        self._server: HttpServer | None = None
        self._calls: KeyedCalls | None = None

    async def start(self) -> Target:
        listener = socket.create_server(("127.0.0.1", 0))
        self.runs += 1
        generation = f"generation-{self.runs}"
        definition = {"name": "run", "description": "", "inputSchema": {"type": "object"}}
        ledger = Ledger(max_entries=self.entries)
        calls = KeyedCalls(ToolTable([Tool(definition, _Run, self._run)]), frozenset(), ledger, clock=self.loop.time)

        def prove(request: HttpRequest) -> tuple[int, bytes]:
            told = {"ledger_position": ledger.position, "clock_s": self.loop.time()}
            return identity.answer(TOKEN, "shop-1", generation, request.target, **told)  # type: ignore[arg-type]

        mcp = McpServer(calls, name="virtual", version="0", instructions="")
        front = StreamableHttp(mcp, token=TOKEN, routes={identity.PATH: prove})
        self._calls, self._server = (
            calls,
            HttpServer(partial(self._handle, front), body_limit_bytes=1 << 20, admit=front.admit),
        )
        await self._server.start([listener])
        return Target("shop-1", generation, "127.0.0.1", listener.getsockname()[1], TOKEN)

    async def die(self) -> None:
        assert self._server
        assert self._calls
        await self._server.close()
        await self._calls.close()
        self.goes_on.set()

    def drop_connections(self) -> None:
        assert self._server
        for connection in list(self._server.connections):
            connection.abort()

    async def _handle(self, front: Callable[[Exchange], Awaitable[None]], exchange: Exchange) -> None:
        faults = self.faults
        is_call = not exchange.request.target.startswith(identity.PATH)
        if is_call:
            await asyncio.sleep(self.rng.choice(faults.ways_s))
            if not faults.tells_hang_ups:
                exchange.peer_hung_up = lambda: False  # type: ignore[method-assign]
        await self.goes_on.wait()
        if is_call and self.rng.random() < faults.lost:
            exchange.respond = lambda *_: exchange.connection.abort()  # type: ignore[method-assign]
        if is_call and faults.held:
            exchange.respond = lambda *_: None  # type: ignore[method-assign]
        await front(exchange)

    async def _run(self, arguments: _Run, _: ToolCall) -> object:
        self.began_s[arguments.number].append(self.loop.time())
        await asyncio.sleep(arguments.takes_s)
        return {"number": arguments.number}


class Hub:
    """A hub's state for one instance."""

    def __init__(self, target: Target, rng: Random) -> None:
        self.pool = Pool(LIMITS)
        self.link = Link(target, system=seeded(rng), pool=self.pool)
        self.caller = Caller(self.link)
        self.running = asyncio.create_task(self.link.run())

    async def close(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        await self.caller.close()


@dataclass(eq=False)
class Made:
    """A call, its answer, and the time of the answer."""

    number: int
    call: Call
    is_cancelled: bool = False
    said: dict[str, Any] | None = None
    said_s: float = 0.0
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def say(self, result: bytes) -> None:
        assert self.said is None, "answered twice"
        assert not self.is_cancelled, "answered after it was cancelled"
        self.said, self.said_s = msgspec.json.decode(result), asyncio.get_running_loop().time()
        self.ended.set()


class Story:
    """One random schedule: call `play`, then `judge`."""

    def __init__(self, rng: Random, instance: Instance, hubs: list[Hub]) -> None:
        self.rng = rng
        self.instance = instance
        self.hubs = hubs
        self.made: list[Made] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.deaths = 0

    async def play(self, calls: int, happenings: dict[str, int]) -> None:
        for _ in range(calls):
            self.call()
            what = self.rng.choices([*happenings], [*happenings.values()])[0]
            await getattr(self, what)()
        await asyncio.gather(*self.tasks)
        self.instance.goes_on.set()
        await asyncio.sleep(SETTLE_S)

    def call(self) -> None:
        rng, number = self.rng, len(self.made)
        arguments = {"number": number, "takes_s": rng.choice([0.0, 0.0, 0.3, 5.0])}
        repeatable = rng.random() < 0.2
        made = Made(
            number, Call("tools/call", {"name": "run", "arguments": arguments}, repeatable, rng.choice(DEADLINES_S))
        )
        self.made.append(made)
        gives_up_s = rng.choice([None, None, None, 0.0, 0.2, 2.0])
        self.tasks.append(asyncio.create_task(self._carry(made, rng.choice(self.hubs).caller, gives_up_s)))

    async def _carry(self, made: Made, caller: Caller, gives_up_s: float | None) -> None:
        try:
            on_way = caller.fast_path(made.call, made.say)
        except BrummerError as error:
            made.say(msgspec.json.encode({"structuredContent": {"error": error.as_data()}}))
            return
        cancel = on_way.cancel if on_way else asyncio.create_task(self._long_way(made, caller)).cancel
        if gives_up_s is None:
            await made.ended.wait()
            return
        await asyncio.sleep(gives_up_s)
        if not made.ended.is_set():
            made.is_cancelled, made.said_s = True, asyncio.get_running_loop().time()
            cancel()

    async def _long_way(self, made: Made, caller: Caller) -> None:
        try:
            made.say(await caller.call(made.call))
        except BrummerError as error:
            made.say(msgspec.json.encode({"structuredContent": {"error": error.as_data()}}))

    # What may happen between two calls.

    async def nothing(self) -> None:
        await asyncio.sleep(0)

    async def a_while(self) -> None:
        await asyncio.sleep(self.rng.choice([0.01, 0.5, 4.0]))

    async def stop(self) -> None:
        """For a while the instance is stopped; its connections and their requests wait in the kernel."""
        if self.instance.goes_on.is_set():
            self.instance.goes_on.clear()
            self.tasks.append(asyncio.create_task(self._go_on(self.rng.choice([0.3, 5.0, 40.0]))))

    async def _go_on(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        self.instance.goes_on.set()

    async def cut(self) -> None:
        self.instance.drop_connections()

    async def restart(self) -> None:
        self.deaths += 1
        await self.instance.die()
        for hub in self.hubs:
            hub.link.owner_gone("it died")
        await asyncio.sleep(self.rng.choice([0.0, 1.0, 8.0]))
        target = await self.instance.start()
        for hub in self.hubs:
            hub.link.retarget(target, "a new run")

    # What must be true of it.

    def judge(self) -> None:
        for made in self.made:
            self._judge(made, self.instance.began_s[made.number])

    def _judge(self, made: Made, began_s: list[float]) -> None:
        ran, what = len(began_s), (made, began_s)
        if not made.call.repeatable:
            assert ran <= 1, what
        if self.instance.faults.tells_hang_ups or not made.is_cancelled:
            assert all(each_s <= made.said_s for each_s in began_s), what
        if made.is_cancelled:
            return
        assert made.said is not None, what
        error = made.said["structuredContent"].get("error")
        if error is None:
            assert ran >= 1, what
        elif error["outcome"] == "not_executed":
            assert ran == 0, what
        else:
            assert error["outcome"] == "unknown", what
            assert not error["retryable"], what
            assert error["retry_after_s"] is None, what
            assert error["code"] in {"deadline_exceeded", "call_forgotten", "outcome_unknown", "cancelled"}, what
            assert error["code"] != "outcome_unknown" or self.deaths, what


def play(seed: int, calls: int, happenings: dict[str, int], entries: int, faults: Faults) -> None:
    async def story() -> None:
        rng = Random(seed)
        instance = Instance(rng, entries)
        target = await instance.start()
        hubs = [Hub(target, rng) for _ in range(2)]
        for hub in hubs:
            await hub.link.settled()
            assert hub.link.state is LinkState.READY
        instance.faults = faults
        told = Story(rng, instance, hubs)
        try:
            async with asyncio.timeout(3600):
                await told.play(calls, happenings)
            told.judge()
        finally:
            for hub in hubs:
                await hub.close()
            await instance.die()
            await asyncio.sleep(1)

    try:
        in_virtual_time(story())
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise


@pytest.mark.parametrize("ways_s", [(0.0,), (0.01,), (0.4, 0.0)])
def test_a_call_whose_answer_was_held_back_until_a_thousand_others_had_ended_does_not_run_twice(
    ways_s: tuple[float, ...],
) -> None:
    async def story() -> None:
        instance = Instance(Random(1), DEFAULTS.ledger_entries)
        target = await instance.start()
        held, busy = Hub(target, Random(2)), Hub(target, Random(3))
        for hub in (held, busy):
            await hub.link.settled()
        instance.faults = Faults(held=True)
        calls = [Made(number, run(number, takes_s=0.0, deadline_s=60.0)) for number in range(4)]
        waiting = [asyncio.create_task(answer_of(held, made)) for made in calls]
        await asyncio.sleep(1)
        instance.faults = Faults()
        for number in range(100, 100 + DEFAULTS.ledger_entries + 10):
            await busy.caller.call(run(number, takes_s=0.0, deadline_s=60.0))
        instance.faults = Faults(ways_s=ways_s)
        instance.drop_connections()
        errors = await asyncio.gather(*waiting)
        assert {error and (error["code"], error["outcome"]) for error in errors} == {("call_forgotten", "unknown")}
        assert [len(instance.began_s[made.number]) for made in calls] == [1] * len(calls)
        for hub in (held, busy):
            await hub.close()
        await instance.die()
        await asyncio.sleep(1)

    in_virtual_time(story())


def run(number: int, *, takes_s: float, deadline_s: float) -> Call:
    arguments = {"number": number, "takes_s": takes_s}
    return Call("tools/call", {"name": "run", "arguments": arguments}, repeatable=False, deadline_s=deadline_s)


async def answer_of(hub: Hub, made: Made) -> dict[str, Any] | None:
    """The error in the answer, if there is one."""
    try:
        await hub.caller.call(made.call)
    except BrummerError as error:
        return error.as_data()
    return None


SEEDS = range(6)


@pytest.mark.parametrize("entries", [1, 3, 1000])
def test_a_call_runs_once_with_slow_requests_and_a_small_ledger(entries: int) -> None:
    faults = Faults(ways_s=(0.0, 0.0, 0.01, 0.4, 4.0), lost=0.3)
    for seed in SEEDS:
        play(seed, 40, {"nothing": 3, "a_while": 2, "cut": 1}, entries, faults)


@pytest.mark.parametrize("entries", [1, 1000])
def test_an_instance_that_was_stopped_begins_no_call_that_was_answered_meanwhile(entries: int) -> None:
    for seed in SEEDS:
        play(seed, 40, {"nothing": 4, "a_while": 2, "stop": 1, "cut": 1}, entries, Faults(lost=0.1))


def test_an_instance_behind_a_proxy_begins_no_call_after_its_deadline() -> None:
    faults = Faults(ways_s=(0.0, 0.0, 1.0, 30.0), lost=0.1, tells_hang_ups=False)
    for seed in SEEDS:
        play(seed, 40, {"nothing": 4, "a_while": 2, "stop": 1, "cut": 1}, 1000, faults)


def test_across_restarts_an_outcome_is_unknown_or_true() -> None:
    for seed in SEEDS:
        play(seed, 40, {"nothing": 6, "a_while": 3, "stop": 1, "cut": 1, "restart": 1}, 10, Faults(lost=0.2))
