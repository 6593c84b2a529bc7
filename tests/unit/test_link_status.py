"""What a link reports of itself: its numbers, and which answers measure it."""

import asyncio

import pytest

from brummer.link.state import LinkState
from brummer.link.status import LastError
from brummer.link.target import Target
from brummer.wire.http.server import Exchange

from .fakes import TOKEN, FakeInstance, answer_with_arguments
from .test_link import eventually, reached, running, tool_call, unused_port


class Gated(FakeInstance):
    """Proves itself at once, and answers calls when the gate is open."""

    def __init__(self) -> None:
        super().__init__(answer=answer_with_arguments)
        self.gate = asyncio.Event()

    async def _handle(self, exchange: Exchange) -> None:
        if exchange.request.method == b"POST":
            await self.gate.wait()
        await super()._handle(exchange)


async def test_the_dial_that_makes_a_link_ready_and_every_probe_measure_it() -> None:
    async with FakeInstance() as instance, running(instance.target) as link:
        assert link.status().rtt_ms is None
        assert link.status().latency_ms == {"p50": None, "p90": None, "p99": None}
        await reached(link, LinkState.READY)
        (opened_s,) = link.health.latencies_s
        opened_ms = round(opened_s * 1000, 3)
        assert link.status().rtt_ms == opened_ms
        assert link.status().latency_ms == {"p50": opened_ms, "p90": opened_ms, "p99": opened_ms}
        await link.check()
        assert (instance.probes, len(link.health.latencies_s)) == (2, 2)


@pytest.mark.parametrize("waits", [False, True])
async def test_an_answered_call_is_a_proof_of_life_and_does_not_measure_the_link(*, waits: bool) -> None:
    async with FakeInstance() as instance, running(instance.target) as link:
        await reached(link, LinkState.READY)
        before, proven_s = link.status(), link.health.last_proof_s
        call = tool_call()
        call.waits = waits
        await link.call(call)
        after = link.status()
        assert link.health.last_proof_s > proven_s
        assert (after.rtt_ms, after.latency_ms, after.quality) == (before.rtt_ms, before.latency_ms, 1.0)


async def test_a_call_is_in_flight_until_it_is_answered() -> None:
    async with Gated() as instance, running(instance.target) as link:
        calls = [asyncio.create_task(link.call(tool_call({"n": n}))) for n in range(3)]
        await eventually(lambda: link.status().in_flight == 3)
        status = link.status()
        assert (status.state, status.connections, status.parked) == ("ready", 3, 0)
        assert status.dials >= status.connections
        assert status.local_port in {connection.local_port for connection in link.connections.all}
        instance.gate.set()
        await asyncio.gather(*calls)
        assert link.status().in_flight == 0


async def test_a_link_that_can_not_be_dialled_says_why_how_often_and_when_it_tries_again() -> None:
    target = Target("shop-00000000", "generation-1", "127.0.0.1", unused_port(), TOKEN)
    async with running(target) as link:
        await eventually(lambda: link.status().next_retry_s is not None)
        status = link.status()
        assert isinstance(status.last_error, LastError)
        assert status.last_error.code == "connection_refused"
        assert status.detail == status.last_error.message
        assert (status.attempts, status.connections, status.rtt_ms) == (link.attempts, 0, None)
        assert status.attempts >= 1
        assert status.quality == round(link.health.quality, 3) != 1.0
