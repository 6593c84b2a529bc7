"""The basic link: what `BRUMMER_USE_ROBUST_NETWORKING=false` gives, and what it does not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from brummer.calls.basic import BasicLink
from brummer.core.errors import ConnectionRefused
from brummer.link.errors import OutcomeUnknown
from brummer.link.state import LinkState
from brummer.link.target import Target
from brummer.wire.http.server import Exchange
from brummer.wire.mcp.server import CALL_KEY

from .fakes import TOKEN, FakeInstance
from .test_link import tool_call, unused_port


@contextlib.asynccontextmanager
async def running(target: Target) -> AsyncIterator[BasicLink]:
    link = BasicLink(target)
    task = asyncio.create_task(link.run())
    try:
        yield link
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.promise("rollback")
async def test_every_call_has_a_new_connection_and_no_key() -> None:
    async with FakeInstance() as instance, running(instance.target) as link:
        await link.settled()
        for number in range(3):
            result = msgspec.json.decode(await link.call(tool_call({"n": number})))
            assert result["structuredContent"] == {"n": number}
        assert all(CALL_KEY not in call["params"]["_meta"] for call in instance.calls)
        assert link.state is LinkState.READY
        assert instance.probes == 0


async def test_a_call_to_an_instance_that_is_not_there_fails_at_once() -> None:
    async with running(Target("shop-00000000", "generation-1", "127.0.0.1", unused_port(), TOKEN)) as link:
        with pytest.raises(ConnectionRefused):
            await link.call(tool_call())
        assert link.status().as_json()["last_error"]["code"] == "connection_refused"


@pytest.mark.promise("rollback")
async def test_a_lost_call_is_never_sent_again_and_unknown_if_it_may_have_changed_something() -> None:
    async with FakeInstance() as instance, running(instance.target) as link:

        async def lose(_: Exchange, __: dict[str, Any]) -> None:
            instance.drop_connections()

        instance.answer = lose
        with pytest.raises(OutcomeUnknown):
            await link.call(tool_call())
        assert len(instance.calls) == 1
