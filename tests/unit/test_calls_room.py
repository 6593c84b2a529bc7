"""An answer that finds no memory in the hub: the instance keeps it, so the hub asks for it again."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from brummer.core.errors import NoRoom
from brummer.link.state import LinkEvent, LinkState
from brummer.wire.http import connection
from brummer.wire.http.connection import OnGranted
from brummer.wire.http.server import Exchange
from brummer.wire.mcp.server import CALL_KEY

from .fakes import FakeInstance, respond
from .test_link import reached, running, tool_call
from .virtual_world import in_virtual_time

DEADLINE_S = 5.0
LARGE_BYTES = 100_000
"""More than one read, so that the answer is parsed, and small enough for the socket."""


@pytest.fixture(autouse=True)
def small_answers_need_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LARGE_BYTES", LARGE_BYTES)


class ShortMemory:
    """A `brummer.wire.http.connection.Reservations` that has no room for the first answers."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals

    def reserve(self, size_bytes: int, on_granted: OnGranted, least_bytes: int | None = None) -> Callable[[], None]:
        self.refusals -= 1
        on_granted(0 if self.refusals >= 0 else size_bytes)
        return lambda: None


async def answer_at_length(exchange: Exchange, message: dict[str, Any]) -> None:
    respond(exchange, message, {"structuredContent": {"text": "x" * LARGE_BYTES}, "isError": False})


def keys(instance: FakeInstance) -> list[str]:
    return [message["params"]["_meta"][CALL_KEY] for message in instance.calls]


def test_an_answer_without_room_is_asked_for_again_under_its_key() -> None:
    async def story() -> None:
        async with (
            FakeInstance(answer=answer_at_length) as instance,
            running(instance.target, reservations=ShortMemory(2)) as link,
        ):
            result = msgspec.json.decode(await link.call(tool_call(deadline_s=DEADLINE_S)))
            assert len(result["structuredContent"]["text"]) == LARGE_BYTES
            assert (len(keys(instance)), len(set(keys(instance)))) == (3, 1)
            assert len(link.connections.busy) == 0
            assert LinkEvent.CONNECTION_LOST not in {moved.event for moved in link.history}

    in_virtual_time(story())


def test_on_the_short_way_it_is_asked_for_again_too() -> None:
    async def story() -> None:
        async with (
            FakeInstance(answer=answer_at_length) as instance,
            running(instance.target, reservations=ShortMemory(1)) as link,
        ):
            await reached(link, LinkState.READY)
            results = link.caller.loop.create_future()
            assert link.caller.fast_path(tool_call(deadline_s=DEADLINE_S), results.set_result) is not None
            assert b"structuredContent" in await results
            assert (len(keys(instance)), len(set(keys(instance)))) == (2, 1)

    in_virtual_time(story())


def test_without_room_until_its_deadline_its_outcome_is_unknown() -> None:
    async def story() -> None:
        memory = ShortMemory(1_000)
        async with (
            FakeInstance(answer=answer_at_length) as instance,
            running(instance.target, reservations=memory) as link,
        ):
            began_s = link.caller.loop.time()
            with pytest.raises(NoRoom) as caught:
                await link.call(tool_call(deadline_s=DEADLINE_S))
            assert (caught.value.outcome, caught.value.retryable) == ("unknown", False)
            assert DEADLINE_S - 1 <= link.caller.loop.time() - began_s <= DEADLINE_S

    in_virtual_time(story())


def test_a_call_that_may_be_repeated_fails_without_room() -> None:
    async def story() -> None:
        async with (
            FakeInstance(answer=answer_at_length) as instance,
            running(instance.target, reservations=ShortMemory(1)) as link,
        ):
            with pytest.raises(NoRoom):
                await link.call(tool_call(repeatable=True, deadline_s=DEADLINE_S))
            assert len(instance.calls) == 1

    in_virtual_time(story())
