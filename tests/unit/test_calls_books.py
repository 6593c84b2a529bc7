"""Random calls to an instance that plays tricks, in virtual time: each has one end, and nothing stays held for it."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec
import pytest

from brummer.calls.caller import Caller
from brummer.core.errors import BrummerError
from brummer.core.memory import Memory
from brummer.link.call import Call
from brummer.link.link import Link
from brummer.link.state import LinkState
from brummer.pool.memory_reservations import MemoryReservations
from brummer.pool.pool import Pool
from brummer.settings.limits import Limits
from brummer.wire.http import connection
from brummer.wire.http.server import Exchange
from brummer.wire.mcp.server import CALL_KEY, CLIENT_GONE

from .fakes import JSON, FakeInstance, seeded
from .virtual_world import in_virtual_time

LARGE = 2_000
LIMITS = Limits(
    connections=6, in_flight=6, in_flight_per_instance=3, waiting_per_instance=2, queued_per_instance=8, parked=6
)
EVENTS = [(b"content-type", b"text/event-stream")]
PROGRESS = b'data: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}\n\n'

Answering = Callable[["Trickster", Exchange, bytes], Coroutine[Any, Any, None]]


class Trickster:
    """An instance with a ledger, which answers in every way that is wrong, and in some that are right."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.ran: Counter[int] = Counter()
        self.ledger: dict[str, int] = {}
        self.fake = FakeInstance(answer=self._answer)

    async def _answer(self, exchange: Exchange, message: dict[str, Any]) -> None:
        params = message["params"]
        number = params["arguments"]["number"]
        key = params["_meta"][CALL_KEY]
        if key not in self.ledger or params["arguments"]["repeatable"]:
            self.ledger[key] = number
            self.ran[number] += 1
        padding = "x" * self.rng.choice([0, 0, LARGE])
        result = {"structuredContent": {"number": number}, "padding": padding, "isError": False}
        answer = msgspec.json.encode({"jsonrpc": "2.0", "id": message["id"], "result": result})
        await self.rng.choice(ANSWERS)(self, exchange, answer)


async def plainly(_: Trickster, exchange: Exchange, answer: bytes) -> None:
    exchange.respond(200, answer, JSON)


async def slowly(it: Trickster, exchange: Exchange, answer: bytes) -> None:
    await asyncio.sleep(it.rng.choice([0.1, 1.0, 8.0]))
    exchange.respond(200, answer, JSON)


async def never(_: Trickster, exchange: Exchange, __: bytes) -> None:
    gone = asyncio.Event()
    exchange.on_peer_gone(gone.set)
    await gone.wait()


async def as_events(it: Trickster, exchange: Exchange, answer: bytes) -> None:
    exchange.start_stream(200, EVENTS)
    for _ in range(it.rng.randint(0, 3)):
        exchange.send(PROGRESS)
        await asyncio.sleep(it.rng.choice([0.0, 0.2]))
    exchange.send(b"data: %b\n\n" % answer)
    await asyncio.sleep(it.rng.choice([0.0, 0.2, 1.0]))
    exchange.end()


async def as_events_that_break_off(it: Trickster, exchange: Exchange, answer: bytes) -> None:
    exchange.start_stream(200, EVENTS)
    exchange.send(PROGRESS)
    exchange.send((b"data: %b\n\n" % answer)[: it.rng.choice([10, len(answer) + 8])])
    exchange.connection.abort()


async def not_at_all(_: Trickster, exchange: Exchange, __: bytes) -> None:
    exchange.connection.abort()


async def by_half(_: Trickster, exchange: Exchange, answer: bytes) -> None:
    exchange.connection.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(answer), answer[:-20]))
    exchange.connection.abort()


async def for_somebody_else(_: Trickster, exchange: Exchange, __: bytes) -> None:
    exchange.respond(200, b'{"jsonrpc":"2.0","id":4711,"result":{"structuredContent":{"number":-1}}}', JSON)


async def twice(_: Trickster, exchange: Exchange, answer: bytes) -> None:
    exchange.respond(200, answer, JSON)
    exchange.respond(200, answer, JSON)


async def and_hanging_up(_: Trickster, exchange: Exchange, answer: bytes) -> None:
    exchange.connection.keep_alive = False
    exchange.respond(200, answer, JSON)


async def with_a_status(it: Trickster, exchange: Exchange, _: bytes) -> None:
    exchange.respond(it.rng.choice([302, 401, 500, 503]), b"<html>", [(b"location", b"/elsewhere")])


async def with_an_error(it: Trickster, exchange: Exchange, answer: bytes) -> None:
    exchange.respond(200, b'%b"error":{"code":-32603,"message":"oops"}}' % answer[: answer.index(b'"result"')], JSON)


async def after_a_hundred(_: Trickster, exchange: Exchange, answer: bytes) -> None:
    exchange.connection.write(b"HTTP/1.1 102 Processing\r\n\r\n")
    exchange.respond(200, answer, JSON)


async def not_in_utf_8(_: Trickster, exchange: Exchange, answer: bytes) -> None:
    exchange.respond(200, answer.replace(b"number", b"numb\xffr"), JSON)


async def in_other_words(_: Trickster, exchange: Exchange, __: bytes) -> None:
    exchange.connection.write(b"SSH-2.0-OpenSSH_9.6\r\n")


async def compressed(_: Trickster, exchange: Exchange, __: bytes) -> None:
    exchange.respond(200, b"\x1f\x8b\x08\0\0\0\0\0\0\0", [*JSON, (b"content-encoding", b"gzip")])


ANSWERS: list[Answering] = [
    *[plainly] * 6, slowly, never, as_events, as_events_that_break_off, not_at_all, by_half, for_somebody_else, twice,
    and_hanging_up, with_a_status, with_an_error, after_a_hundred, not_in_utf_8, in_other_words, compressed,
]  # fmt: skip


@dataclass(eq=False)
class Made:
    """A call, and what was said of it: results of the short way, the end of the long one."""

    number: int
    call: Call
    results: list[dict[str, Any]] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: bool = False

    def say(self, result: bytes) -> None:
        assert not self.cancelled, "answered after it was cancelled"
        self.results.append(msgspec.json.decode(result))
        self.ended.set()


class Books:
    """One link with its caller, and everything that may be held by a call."""

    def __init__(self, target: Any, rng: Random) -> None:
        self.rng = rng
        self.pool = Pool(LIMITS)
        self.reservations = MemoryReservations(Memory(1 << 40, 1 << 40, lambda: 0, lambda: None))
        self.link = Link(target, system=seeded(rng), pool=self.pool, reservations=self.reservations)
        self.caller = Caller(self.link)
        self.made: list[Made] = []
        self.tasks: list[asyncio.Task[None]] = []

    def make(self, number: int) -> None:
        rng = self.rng
        repeatable = rng.random() < 0.5
        params = {"name": "count", "arguments": {"number": number, "repeatable": repeatable}}
        call = Call("tools/call", params, repeatable, deadline_s=rng.choice([0.3, 3.0, 20.0]), flow=number % 3)
        call.waits, call.wait_s = rng.random() < 0.2, rng.choice([0.0, 1.0])
        call.on_notification = rng.choice([None, lambda _: None])
        made = Made(number, call)
        self.made.append(made)
        gives_up_s = rng.choice([None, None, 0.0, 0.05, 1.0])
        self.tasks.append(asyncio.create_task(self._carry(made, gives_up_s, rng.choice([None, CLIENT_GONE]))))

    async def _carry(self, made: Made, gives_up_s: float | None, why: str | None) -> None:
        on_way = self.caller.fast_path(made.call, made.say)
        cancel = on_way.cancel if on_way else asyncio.create_task(self._long_way(made)).cancel
        if gives_up_s is not None:
            await asyncio.sleep(gives_up_s)
            if not made.ended.is_set():
                made.cancelled = True
                cancel(why)
                return
        await made.ended.wait()

    async def _long_way(self, made: Made) -> None:
        try:
            made.say(await self.caller.call(made.call))
        except BrummerError as error:
            made.say(msgspec.json.encode({"structuredContent": {"error": error.as_data()}}))

    def held(self) -> dict[str, object]:
        pool, connections, caller = self.pool, self.link.connections, self.caller
        return {
            "slots": (pool.in_flight, pool.queued),
            "parked": (pool.parked, len(self.link.parking)),
            "busy": (len(connections.busy), sum(connections.dialling), pool.in_use),
            "wanted": pool.wanted,
            "waited for": caller.is_waited_for,
            "cancellations": len(caller.cancellations),
            "memory": (self.reservations.reserved_bytes, self.reservations.queued),
            "idle": pool.idle - len(connections.idle),
        }


NOTHING = {
    "slots": (0, 0),
    "parked": (0, 0),
    "busy": (0, 0, [0, 0, 0, 0]),
    "wanted": 0,
    "waited for": False,
    "cancellations": 0,
    "memory": (0, 0),
    "idle": 0,
}


def judge(made: Made, ran: int) -> None:
    if not made.call.repeatable:
        assert ran <= 1, f"call {made.number} ran {ran} times"
    assert len(made.results) == (0 if made.cancelled else 1), made
    for result in made.results:
        content = result["structuredContent"]
        if "error" not in content:
            assert (content["number"], ran > 0) == (made.number, True)
        elif content["error"]["outcome"] == "not_executed":
            assert ran == 0, content
        else:
            assert not content["error"]["retryable"], content


@pytest.mark.promise("one-answer")
@pytest.mark.parametrize("seed", range(30))
def test_every_call_gets_its_one_answer_and_nothing_stays_held(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LARGE_BYTES", LARGE)

    async def story() -> None:
        rng = Random(seed)
        trickster = Trickster(rng)
        async with trickster.fake as instance:
            books = Books(instance.target, rng)
            running = asyncio.create_task(books.link.run())
            await books.link.settled()
            assert books.link.state is LinkState.READY
            for number in range(60):
                books.make(number)
                await asyncio.sleep(rng.choice([0.0, 0.0, 0.0, 0.01, 0.5, 3.0]))
            async with asyncio.timeout(200):
                await asyncio.gather(*books.tasks)
            await asyncio.sleep(120)
            assert books.held() == NOTHING
            for made in books.made:
                judge(made, trickster.ran[made.number])
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await books.caller.close()
            assert (books.pool.connections, books.link.connections.size) == (0, 0)

    in_virtual_time(story())
