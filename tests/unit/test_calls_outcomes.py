"""Every call ends in exactly one word, whatever befell it; and every transition of its link is told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from brummer.calls import refusals
from brummer.calls.caller import CallEnded, Caller
from brummer.core.errors import BrummerError
from brummer.core.events import Hook
from brummer.link.call import Call
from brummer.link.link import Link
from brummer.link.state import LinkState, Transition
from brummer.wire.http.server import Exchange

from .fakes import FakeInstance, answer_with_arguments, respond


class Watched:
    """A link and its caller, with everything that they told."""

    def __init__(self, instance: FakeInstance) -> None:
        transitions: Hook[Transition] = Hook()
        ended: Hook[CallEnded] = Hook()
        self.moves: list[Transition] = []
        self.calls: list[CallEnded] = []
        transitions.subscribe(self.moves.append)
        ended.subscribe(self.calls.append)
        self.link = Link(instance.target, transitions=transitions)
        self.caller = Caller(self.link, ended=ended)

    async def ending(self, *, repeatable: bool = False, deadline_s: float = 5.0) -> str:
        made = Call("tools/call", {"name": "scripts_run", "arguments": {}}, repeatable, deadline_s)
        before = len(self.calls)
        with contextlib.suppress(BrummerError):
            await self.caller.call(made)
        assert len(self.calls) == before + 1
        assert (self.calls[-1].key, self.calls[-1].tool) == (made.key, "scripts_run")
        return self.calls[-1].ending


@contextlib.asynccontextmanager
async def watched(instance: FakeInstance) -> AsyncIterator[Watched]:
    made = Watched(instance)
    task = asyncio.create_task(made.link.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await made.caller.close()


async def test_a_call_at_rest_is_ok_and_one_before_the_link_is_ready_was_parked() -> None:
    async with FakeInstance() as instance, watched(instance) as link:
        assert await link.ending() == "parked"
        assert await link.ending() == "ok"
        assert [(move.instance_id, move.after) for move in link.moves] == [
            (instance.instance_id, LinkState.CONNECTING),
            (instance.instance_id, LinkState.READY),
        ]


async def test_a_tool_that_fails_is_no_failure_of_the_link() -> None:
    async def fails(exchange: Exchange, message: dict[str, Any]) -> None:
        respond(exchange, message, {"content": [], "isError": True})

    async with FakeInstance(answer=fails) as instance, watched(instance) as link:
        assert await link.ending() == "tool_error"
        assert link.calls[0].code == ""


@pytest.mark.parametrize(("repeatable", "ending"), [(False, "reattached"), (True, "resent")])
async def test_a_call_whose_connection_was_lost_says_how_it_was_saved(*, repeatable: bool, ending: str) -> None:
    async def drops_once(exchange: Exchange, message: dict[str, Any]) -> None:
        instance.answer = answer_with_arguments
        instance.drop_connections()

    async with FakeInstance() as instance, watched(instance) as link:
        await link.ending()
        instance.answer = drops_once
        assert await link.ending(repeatable=repeatable) == ending


async def test_silence_and_cancellation_and_another_run_are_distinguished(monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(exchange: Exchange, message: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    async with FakeInstance() as instance, watched(instance) as link:
        await link.ending()
        instance.answer = silent
        assert await link.ending(deadline_s=0.05) == "unknown"
        assert await link.ending(deadline_s=0.05, repeatable=True) == "deadline"
        instance.called.clear()
        task = asyncio.create_task(link.ending())
        await instance.called.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert link.calls[-1].ending == "cancelled"
        instance.called.clear()
        task = asyncio.create_task(link.ending())
        await instance.called.wait()
        link.link.owner_gone("process died")
        assert await task == "unknown"
        monkeypatch.setattr(refusals, "PARK_S", 0.01)
        assert await link.ending() == "unavailable"
        assert link.calls[-1].code == "instance_unavailable"
